// One look at a POST decides which dialect it speaks (R-60, first match wins). Pure: the body and the headers that
// matter go in, a verdict comes out, and nothing is remembered for the next request.

import { ProxyError } from '../base/errors.ts';
import { isObject, metaOf, type Batch, type Malformed, type RpcMessage, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import { META } from './methods.ts';
import { isModern, legacyRevision, MODERN } from './revisions.ts';

export type Verdict =
  /** The simple dialect. `accepted` is the status for what needs no answer: an MCP client expects 202. */
  | { readonly is: 'simple'; readonly body: RpcRequest | RpcNotification | Batch; readonly accepted: 202 | 204 }
  /** Opens a session. */
  | { readonly is: 'initialize'; readonly request: RpcRequest }
  /** Of 2026-07-28: stands alone, and says in `_meta` and in its headers what it is. */
  | { readonly is: 'modern'; readonly body: RpcRequest | RpcNotification }
  /** Belongs to a session. */
  | { readonly is: 'session'; readonly session: string; readonly body: RpcMessage | Batch }
  | { readonly is: 'refused'; readonly error: ProxyError; readonly idText: string | undefined };

/** The headers that tell dialects apart. */
export interface Evidence {
  /** `MCP-Protocol-Version`, without white space around it */
  readonly version: string | undefined;
  /** `Mcp-Session-Id` */
  readonly session: string | undefined;
}

const CLAIM = META.protocolVersion;
const CAPABILITIES = META.clientCapabilities;

/** `POST /:server/mcp`. */
export function classify(body: RpcMessage | Batch | Malformed, evidence: Evidence): Verdict {
  const { session, version } = evidence;
  const accepted = legacyRevision(version) === undefined ? 204 : 202;
  if (body.kind === 'malformed') return refused(malformedError(body), body.idText);
  if (body.kind === 'batch') {
    const problem = batchProblem(body, version);
    if (problem !== undefined) return refused(problem);
    return session === undefined ? { is: 'simple', body, accepted } : { is: 'session', session, body };
  }
  if (body.kind === 'response') return session === undefined ? refused(strayResponse()) : { is: 'session', session, body };

  const idText = idTextOf(body);
  const claim = metaOf(body, CLAIM);
  if (body.kind === 'request' && body.method === 'initialize' && !(typeof claim === 'string' && isModern(claim) && isObject(metaOf(body, CAPABILITIES)))) {
    if (!isModern(version)) return { is: 'initialize', request: body };
    return refused(new ProxyError('header_mismatch', 'Header mismatch: MCP-Protocol-Version names a revision without initialize'), idText);
  }
  if (claim !== undefined) {
    if (typeof claim !== 'string') return refused(new ProxyError('bad_envelope', `Invalid _meta: ${CLAIM} must be a string`), idText);
    if (version !== undefined && version !== claim) {
      return refused(new ProxyError('header_mismatch', 'Header mismatch: MCP-Protocol-Version differs from _meta'), idText);
    }
    if (legacyRevision(claim) !== undefined && session !== undefined) return { is: 'session', session, body };
    if (claim === MODERN.version) return { is: 'modern', body };
    const data = { supported: [MODERN.version], requested: claim };
    return refused(new ProxyError('unsupported_version', 'Unsupported protocol version', { data }), idText);
  }
  if (isModern(version)) {
    if (body.kind === 'notification') return { is: 'modern', body };
    const missing = metaOf(body, CAPABILITIES) === undefined ? `${CLAIM}, ${CAPABILITIES}` : CLAIM;
    return refused(new ProxyError('bad_envelope', `Missing _meta: ${missing}`), idText);
  }
  if (session !== undefined) return { is: 'session', session, body };
  if (version !== undefined && legacyRevision(version) === undefined) return refused(badVersion(version), idText);
  return { is: 'simple', body, accepted };
}

/** `POST /:server/message` without a session: always the simple dialect, always answered inline. */
export function classifyInline(body: RpcMessage | Batch | Malformed, version: string | undefined): Verdict {
  const accepted = legacyRevision(version) === undefined ? 204 : 202;
  if (isModern(version)) return refused(badVersion(String(version)), idTextOf(body));
  if (body.kind === 'malformed') return refused(malformedError(body), body.idText);
  if (body.kind === 'response') return refused(strayResponse());
  const problem = body.kind === 'batch' ? batchProblem(body, undefined) : undefined;
  return problem === undefined ? { is: 'simple', body, accepted } : refused(problem);
}

/** The id under which a request is refused, as it was written, where one could be read. */
export function idTextOf(body: RpcMessage | Batch | Malformed): string | undefined {
  return body.kind === 'request' || body.kind === 'malformed' ? body.idText : undefined;
}

/** What a client is told about text that is no message. */
export function malformedError({ why, detail }: Malformed): ProxyError {
  return why === 'json' ? new ProxyError('parse_error', `Parse error: ${detail}`) : invalid(detail);
}

/** What a client is told about a response that nobody can have asked it for. */
export function strayResponse(): ProxyError {
  return invalid('a response belongs to a session, and this request names none');
}

/** What a client is told about a version that no session here can have negotiated. */
export function badVersion(version: string): ProxyError {
  return new ProxyError('bad_version', `Unsupported protocol version: ${version.slice(0, 40)}`);
}

function batchProblem({ messages }: Batch, version: string | undefined): ProxyError | undefined {
  if (messages.some((message) => 'method' in message && message.method === 'initialize')) {
    return invalid('initialize must not be part of a batch');
  }
  const modern = isModern(version) || messages.some((message) => message.kind !== 'malformed' && metaOf(message, CLAIM) !== undefined);
  return modern ? invalid('this revision has no batches') : undefined;
}

function invalid(detail: string): ProxyError {
  return new ProxyError('invalid_request', `Invalid Request: ${detail}`);
}

function refused(error: ProxyError, idText?: string): Verdict {
  return { is: 'refused', error, idText };
}
