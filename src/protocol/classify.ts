// One look at a POST decides which dialect it speaks (R-60, first match wins). Pure: the body and the headers that
// matter go in, a verdict comes out, and nothing is remembered for the next request.

import { ProxyError } from '../base/errors.ts';
import type { Batch, Malformed, RpcMessage, RpcNotification, RpcRequest } from '../wire/jsonrpc.ts';
import { legacyRevision } from './revisions.ts';

export type Verdict =
  | { readonly is: 'request'; readonly request: RpcRequest }
  /** `status` is what accepts it: an MCP client expects 202. */
  | { readonly is: 'notification'; readonly notification: RpcNotification; readonly status: 202 | 204 }
  | { readonly is: 'batch'; readonly batch: Batch; readonly status: 202 | 204 }
  | { readonly is: 'refused'; readonly error: ProxyError; readonly idText: string | undefined };

/** `version` is the value of the `MCP-Protocol-Version` header. */
export function classify(body: RpcMessage | Batch | Malformed, version: string | undefined): Verdict {
  const status = legacyRevision(version?.trim()) === undefined ? 204 : 202;
  switch (body.kind) {
    case 'malformed':
      return { is: 'refused', error: malformedError(body), idText: body.idText };
    case 'batch':
      if (body.messages.some((message) => 'method' in message && message.method === 'initialize')) {
        return { is: 'refused', error: invalid('initialize must not be part of a batch'), idText: undefined };
      }
      return { is: 'batch', batch: body, status };
    case 'response':
      return { is: 'refused', error: strayResponse(), idText: undefined };
    case 'request':
      return { is: 'request', request: body };
    case 'notification':
      return { is: 'notification', notification: body, status };
  }
}

/** What a client is told about text that is no message. */
export function malformedError({ why, detail }: Malformed): ProxyError {
  return why === 'json' ? new ProxyError('parse_error', `Parse error: ${detail}`) : invalid(detail);
}

/** What a client is told about a response that nobody can have asked it for. */
export function strayResponse(): ProxyError {
  return invalid('a response belongs to a session, and this request names none');
}

function invalid(detail: string): ProxyError {
  return new ProxyError('invalid_request', `Invalid Request: ${detail}`);
}
