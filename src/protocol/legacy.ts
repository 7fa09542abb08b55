// The vocabulary of the legacy handshake (2025-11-25, basic/lifecycle): what the proxy declares to a child, what it
// learns from one, and what it tells a client.

import { memberOf, members, OPEN, removal, splice, type Edit, type Span } from '../wire/envelope.ts';
import { isObject, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import { CLIENT_META, RETRY_PARAMS } from './methods.ts';
import { legacyRevision, negotiated, PREFERRED_LEGACY, type Era } from './revisions.ts';
import { elementsOf, inside, MAX_MEMBERS, without } from './text.ts';

/** What the handshake learned about a running child. */
export interface Profile {
  readonly era: Era;
  readonly revision: string;
  readonly capabilities: Readonly<Record<string, unknown>>;
  /** The InitializeResult as the child wrote it. */
  readonly raw: Buffer;
}

/** Roots without `listChanged`: no client re-scopes a process that others share. */
const CAPABILITIES = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} };

export interface Implementation {
  readonly name: string;
  readonly version: string;
}

/** The params of the `initialize` that a shared child gets; `capabilities` replace the default. */
export function initializeParams(clientInfo: Implementation, capabilities: unknown = CAPABILITIES): unknown {
  return { protocolVersion: PREFERRED_LEGACY.version, capabilities, clientInfo };
}

/** The params that a child of one session gets: those of its client, at a version that the proxy can carry, and without its progress token. */
export function forwardedParams(params: Readonly<Record<string, unknown>>): unknown {
  const { _meta: meta, protocolVersion } = params;
  return { ...params, _meta: isObject(meta) ? { ...meta, progressToken: undefined } : meta, protocolVersion: negotiated(protocolVersion).version };
}

/** Reads a child's InitializeResult, or says what is wrong with it. */
export function readInitializeResult(result: unknown, raw: Buffer): Profile | string {
  if (!isObject(result)) return 'answered initialize with something that is no object';
  const revision = legacyRevision(result['protocolVersion']);
  if (revision === undefined) return 'answered initialize with a protocol version that the proxy does not know';
  if (members(raw, MAX_MEMBERS).length > MAX_MEMBERS) return `answered initialize with more than ${MAX_MEMBERS} members`;
  const capabilities = isObject(result['capabilities']) ? result['capabilities'] : {};
  return { era: revision.era, revision: revision.version, capabilities, raw };
}

/**
 * The InitializeResult for a client: the child's own, at the version that this client asked for and without tasks.
 * It is the child's text with two changes, however deep the rest of it is.
 */
export function initializeResult({ raw }: Profile, requested: unknown): Buffer {
  const { version } = negotiated(requested);
  const list = members(raw, MAX_MEMBERS);
  const at = memberOf(list, 'protocolVersion') as Span;
  const edits: Edit[] = [{ at: at.at, end: at.end, text: JSON.stringify(version) }];
  const capabilities = memberOf(list, 'capabilities');
  if (capabilities === undefined) edits.push({ at: 1, end: 1, text: '"capabilities":{},' });
  else if (raw[capabilities.at] !== OPEN) edits.push({ at: capabilities.at, end: capabilities.end, text: '{}' });
  else edits.push(...without(raw, capabilities, inside(raw, capabilities), (name) => name === 'tasks'));
  return splice(raw, edits);
}

/** Whether two children declare the same capabilities, to the letter. */
export function sameCapabilities(a: Profile, b: Profile): boolean {
  const [x, y] = [a, b].map(({ raw }) => memberOf(members(raw, MAX_MEMBERS), 'capabilities'));
  if (x === undefined || y === undefined) return x === y;
  return a.raw.subarray(x.at, x.end).equals(b.raw.subarray(y.at, y.end));
}

/** A tools/list answer without the tools' `execution`: tasks are hidden where a process is shared (R-135). */
export function withoutExecution(raw: Buffer): Buffer {
  if (!raw.includes('"execution"')) return raw;
  const tools = memberOf(inside(raw, memberOf(members(raw, MAX_MEMBERS), 'result')), 'tools');
  return splice(raw, elementsOf(raw, tools).flatMap((tool) => without(raw, tool, inside(raw, tool), (name) => name === 'execution')));
}

/**
 * The edits that make a client's message one for a legacy child, which must not see how a modern client speaks; an emptied `_meta`
 * goes with its keys. Unless the child is this client's own, a call is no task either: nobody could ask for its result.
 */
export function legacyEdits({ method, layout }: RpcRequest | RpcNotification, isOwn = false): Edit[] {
  const isPlain = method === 'tools/call' && !isOwn;
  const hidden = (name: string): boolean => RETRY_PARAMS.has(name) || (isPlain && name === 'task');
  const modernMeta = layout.meta.some(({ name }) => CLIENT_META.has(name));
  if (!modernMeta && !layout.params.some(({ name }) => hidden(name))) return [];
  const params = memberOf(layout.top, 'params') as Span;
  const meta = memberOf(layout.params, '_meta');
  const inMeta = meta === undefined ? [] : removal(meta, layout.meta, (name) => CLIENT_META.has(name));
  const drop = (name: string): boolean => hidden(name) || (name === '_meta' && inMeta === undefined);
  return [...(inMeta ?? []), ...(removal(params, layout.params, drop) ?? [{ at: params.at, end: params.end, text: '{}' }])];
}
