// The revision without a handshake (2026-07-28): what a modern client says of itself, which methods it has, and what its
// answers look like, whatever the child behind them speaks. Messages are bytes: what is judged is read where it lies,
// what changes is spliced in.

import { ProxyError } from '../base/errors.ts';
import { memberOf, members, OPEN, splice, valueOf, type Edit, type Member, type Span } from '../wire/envelope.ts';
import { isObject, metaOf, type RpcRequest } from '../wire/jsonrpc.ts';
import { urlRequests, type InputRequest } from './input.ts';
import { initializeResult, type Profile } from './legacy.ts';
import { META, severityOf } from './methods.ts';
import { legacyRevision, MODERN, type Era } from './revisions.ts';
import { inside, MAX_MEMBERS, without } from './text.ts';

/** What a request says of its client. */
export interface Envelope {
  readonly clientCapabilities: Readonly<Record<string, unknown>>;
  /** The severity from which on the client wants log messages of this request; `undefined`: none. */
  readonly logLevel: number | undefined;
}

/** Reads `_meta`, or says what it lacks (R-100 (1), R-48). */
export function readEnvelope(request: RpcRequest): Envelope | ProxyError {
  const missing = [META.protocolVersion, META.clientCapabilities].filter((key) => memberOf(request.layout.meta, key) === undefined);
  if (missing.length > 0) return new ProxyError('bad_envelope', `Missing _meta: ${missing.join(', ')}`);
  const clientCapabilities = metaOf(request, META.clientCapabilities);
  if (!isObject(clientCapabilities)) return new ProxyError('bad_envelope', `Invalid _meta: ${META.clientCapabilities} must be an object`);
  const level = metaOf(request, META.logLevel);
  const logLevel = severityOf(level);
  if (level !== undefined && logLevel === undefined) return new ProxyError('bad_envelope', `Invalid _meta: ${META.logLevel} is no log level`);
  return { clientCapabilities, logLevel };
}

const LEGACY_ONLY = new Set(['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe', 'tasks/list', 'tasks/result']);

/** Whether a request belongs to the revisions with a handshake alone (R-104, before a start). */
export function isLegacyOnly(method: string): boolean {
  return LEGACY_ONLY.has(method);
}

/** Whether the child does not declare what a request needs, so that it need not be asked (R-104, after a start). */
export function lacksCapability(method: string, { era, revision, capabilities }: Profile): boolean {
  const family = /^(tools|prompts|resources)\//.exec(method)?.[1];
  if (family !== undefined) return !isObject(capabilities[family]);
  if (method === 'completion/complete') return !isObject(capabilities['completions']) && legacyRevision(revision)?.completions !== false;
  return era === 'legacy' && method.startsWith('tasks/'); // another kind of task, and hidden
}

/** The methods whose results say how long they may be kept (caching, "Cacheable Results"). */
export const CACHEABLE: ReadonlySet<string> = new Set([
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
]);

/**
 * A child's answer with all that a modern result has; `serverInfo`: JSON text; `top`: the members of the
 * answer, where they are known. An error passes as it is.
 */
export function stampResult(answer: Buffer, method: string, serverInfo: Buffer | undefined, top = members(answer, MAX_MEMBERS)): Buffer {
  const result = memberOf(top, 'result');
  return result === undefined || answer[result.at] !== OPEN ? answer : splice(answer, stamps(answer, result.at, method, serverInfo));
}

const identities = new WeakMap<Profile, { readonly info: Buffer | undefined }>();

/** The identity of a child as JSON text, whichever way it tells it; `undefined` where it does not. Read once per handshake. */
export function serverInfoOf(profile: Profile): Buffer | undefined {
  const known = identities.get(profile) ?? { info: readServerInfo(profile) };
  identities.set(profile, known);
  return known.info;
}

function readServerInfo({ era, raw }: Profile): Buffer | undefined {
  const result = members(raw, MAX_MEMBERS);
  const info = era === 'modern' ? memberOf(inside(raw, memberOf(result, '_meta')), META.serverInfo) : memberOf(result, 'serverInfo');
  const value = valueOf(raw, info);
  return isObject(value) && typeof value['name'] === 'string' && typeof value['version'] === 'string' ? raw.subarray(info?.at, info?.end) : undefined;
}

/** The DiscoverResult of a child; a legacy one's is what its InitializeResult says (C.2, R-107). */
export function discoverResult(profile: Profile): Buffer {
  const raw = profile.era === 'modern' ? profile.raw : initializeResult(profile, undefined);
  const list = members(raw, MAX_MEMBERS);
  const legacy = (name: string): boolean => name === 'protocolVersion' || name === 'serverInfo';
  const rest = profile.era === 'modern' ? raw : splice(raw, without(raw, { at: 0, end: raw.length }, list, legacy, () => false));
  return splice(rest, stamps(rest, 0, 'server/discover', serverInfoOf(profile)));
}

/** The edits that complete the result that begins at `at`. */
function stamps(raw: Buffer, at: number, method: string, serverInfo: Buffer | undefined): Edit[] {
  const list = members(raw, MAX_MEMBERS, at);
  const type = valueOf(raw, memberOf(list, 'resultType'));
  const wanted: Wanted[] = [['resultType', '"complete"', (value) => typeof value === 'string']];
  if (CACHEABLE.has(method) && (typeof type !== 'string' || type === 'complete')) {
    wanted.push(['ttlMs', '0', (value) => Number.isSafeInteger(value) && (value as number) >= 0]);
    wanted.push(['cacheScope', '"private"', (value) => value === 'public' || value === 'private']);
  }
  if (method === 'server/discover') wanted.push(['supportedVersions', JSON.stringify([MODERN.version]), () => false]);
  if (serverInfo === undefined) return filled(raw, at, list, wanted);
  const info = serverInfo.toString('latin1');
  const meta = memberOf(list, '_meta');
  if (meta !== undefined && raw[meta.at] === OPEN) {
    const inMeta = filled(raw, meta.at, inside(raw, meta), [[META.serverInfo, info, isObject]]);
    return [...filled(raw, at, list, wanted), ...inMeta];
  }
  return filled(raw, at, list, [...wanted, ['_meta', `{"${META.serverInfo}":${info}}`, () => false]]);
}

type Wanted = readonly [name: string, text: string, isValid: (value: unknown) => boolean];

/** The edits that give the object at `at` its wanted members where it lacks them or has something else there. */
function filled(raw: Buffer, at: number, list: readonly Member[], wanted: readonly Wanted[]): Edit[] {
  const edits: Edit[] = [];
  const added: string[] = [];
  for (const [name, text, isValid] of wanted) {
    const member = memberOf(list, name);
    if (member === undefined) added.push(`"${name}":${text}`);
    else if (!isValid(valueOf(raw, member))) edits.push({ at: member.at, end: member.end, text });
  }
  // In front: should a member beyond those looked at have the same name, the child's is the last and counts.
  if (added.length > 0) edits.push({ at: at + 1, end: at + 1, text: added.join(',') + (list.length > 0 ? ',' : '') });
  return edits;
}

/** A child's error for a modern client, or what the client has to be asked instead. */
export type Fault =
  | { readonly is: 'error'; readonly answer: Buffer; /** The HTTP status while no head was sent. */ readonly status: 200 | 400 | 404 }
  | { readonly is: 'ask'; readonly requests: readonly InputRequest[] };

/** Methods whose -32601 is about what they name, not about themselves. */
const IN_BAND = new Set(['tools/call', 'prompts/get', 'resources/read', 'completion/complete']);

/** Translates the error of a child (C.2, R-104, R-105); `undefined`: the answer is none. `top`: its members, where they are known. */
export function modernFault(answer: Buffer, from: Era, method: string, top = members(answer, MAX_MEMBERS)): Fault | undefined {
  const error = memberOf(top, 'error');
  if (error === undefined) return undefined;
  const list = inside(answer, error);
  const at = memberOf(list, 'code');
  const code = valueOf(answer, at);
  const passed = (status: 200 | 400 | 404, out = answer): Fault => ({ is: 'error', answer: out, status });
  if (at === undefined || typeof code !== 'number') return passed(200);
  if (code === -32601) return passed(IN_BAND.has(method) ? 200 : 404);
  if (from === 'legacy' && code === -32002) return passed(200, splice(answer, [{ at: at.at, end: at.end, text: '-32602' }]));
  const requests = from === 'legacy' && code === -32042 ? urlRequests(answer, memberOf(list, 'data')) : [];
  if (requests.length > 0) return { is: 'ask', requests };
  // A legacy child means something of its own by the codes that this revision reserves.
  const foreign = from === 'legacy' ? code <= -32020 && code >= -32099 : code === -32020 || code === -32022;
  return foreign ? passed(200, badAnswer(answer, error)) : passed(code === -32021 ? 400 : 200);
}

/** An error response that wraps the error which the client could not understand or mend. */
export function badAnswer(answer: Buffer, error: Span): Buffer {
  const text = JSON.stringify(new ProxyError('bad_answer', 'The server answered with an error of another revision of MCP').toRpc()); // ends in data
  const original = answer.toString('latin1', error.at, error.end);
  return splice(answer, [{ at: error.at, end: error.end, text: `${text.slice(0, -2)},"originalError":${original}}}` }]);
}
