// The revision without a handshake (2026-07-28): what a modern client says of itself, which methods it has, and what its
// answers look like, whatever the child behind them speaks. Messages are bytes: what is judged is read where it lies,
// what changes is spliced in.

import { ProxyError } from '../base/errors.ts';
import { memberOf, members, OPEN, resultLayoutOf, splice, valueOf, type Edit, type Member, type ResultLayout, type Span } from '../wire/envelope.ts';
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

/** Reads the `_meta` of a request that claims this revision, or says what it lacks (R-100 (1), R-48). */
export function readEnvelope(request: RpcRequest): Envelope | ProxyError {
  const clientCapabilities = metaOf(request, META.clientCapabilities);
  if (clientCapabilities === undefined) return new ProxyError('bad_envelope', `Missing _meta: ${META.clientCapabilities}`);
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

/** The capabilities that are the first word of their methods. */
const FAMILIES = new Set(['tools', 'prompts', 'resources']);

/** Whether the child does not declare what a request needs, so that it need not be asked (R-104, after a start). */
export function lacksCapability(method: string, { era, revision, capabilities }: Profile): boolean {
  const family = method.slice(0, method.indexOf('/'));
  if (FAMILIES.has(family)) return !isObject(capabilities[family]);
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
 * A child's answer with all that a modern result has; `serverInfo`: JSON text, one character a byte; `top`: the members of the
 * answer, where they are known. An error passes as it is.
 */
export function stampResult(answer: Buffer, method: string, serverInfo: string | undefined, top = members(answer, MAX_MEMBERS)): Buffer {
  const at = memberOf(top, 'result');
  const result = at && resultLayoutOf(answer, at, MAX_MEMBERS);
  return result === undefined ? answer : splice(answer, stamps(answer, result, method, serverInfo));
}

const identities = new WeakMap<Profile, { readonly info: string | undefined }>();

/** The identity of a child as JSON text (one character a byte), whichever way it tells it; `undefined` where it does not. Read once per handshake. */
export function serverInfoOf(profile: Profile): string | undefined {
  let known = identities.get(profile);
  if (known === undefined) identities.set(profile, (known = { info: readServerInfo(profile) }));
  return known.info;
}

function readServerInfo({ era, raw }: Profile): string | undefined {
  const result = members(raw, MAX_MEMBERS);
  const info = era === 'modern' ? memberOf(inside(raw, memberOf(result, '_meta')), META.serverInfo) : memberOf(result, 'serverInfo');
  const value = valueOf(raw, info);
  return isObject(value) && typeof value['name'] === 'string' && typeof value['version'] === 'string' ? raw.toString('latin1', info?.at, info?.end) : undefined;
}

/** The DiscoverResult of a child; a legacy one's is what its InitializeResult says (C.2, R-107). */
export function discoverResult(profile: Profile): Buffer {
  const raw = profile.era === 'modern' ? profile.raw : initializeResult(profile, undefined);
  const list = members(raw, MAX_MEMBERS);
  const legacy = (name: string): boolean => name === 'protocolVersion' || name === 'serverInfo';
  const rest = profile.era === 'modern' ? raw : splice(raw, without(raw, { at: 0, end: raw.length }, list, legacy));
  const layout = resultLayoutOf(rest, { at: 0, end: rest.length }, MAX_MEMBERS);
  return layout === undefined ? rest : splice(rest, stamps(rest, layout, 'server/discover', serverInfoOf(profile)));
}

/** The edits that complete a result. `serverInfo`: JSON text, one character a byte. */
export function stamps(raw: Buffer, { at, list, meta }: ResultLayout, method: string, serverInfo: string | undefined): Edit[] {
  const wanted = [RESULT_TYPE];
  if (CACHEABLE.has(method) && isComplete(valueOf(raw, memberOf(list, 'resultType')))) wanted.push(TTL_MS, CACHE_SCOPE);
  if (method === 'server/discover') wanted.push(VERSIONS);
  if (serverInfo === undefined) return filled(raw, at, list, wanted);
  const metaAt = memberOf(list, '_meta');
  if (metaAt === undefined || raw[metaAt.at] !== OPEN) return filled(raw, at, list, [...wanted, { name: '_meta', text: `{"${META.serverInfo}":${serverInfo}}`, isValid: never }]);
  return [...filled(raw, at, list, wanted), ...filled(raw, metaAt.at, meta, [{ name: META.serverInfo, text: serverInfo, isValid: isObject }])];
}

/** A member that an object must have, what it is where the child has not said it or said something else. */
interface Wanted {
  readonly name: string;
  readonly text: string;
  readonly isValid: (value: unknown) => boolean;
}

const never = (): boolean => false;
const isComplete = (type: unknown): boolean => typeof type !== 'string' || type === 'complete';
const RESULT_TYPE: Wanted = { name: 'resultType', text: '"complete"', isValid: (value) => typeof value === 'string' };
const TTL_MS: Wanted = { name: 'ttlMs', text: '0', isValid: (value) => Number.isSafeInteger(value) && (value as number) >= 0 };
const CACHE_SCOPE: Wanted = { name: 'cacheScope', text: '"private"', isValid: (value) => value === 'public' || value === 'private' };
const VERSIONS: Wanted = { name: 'supportedVersions', text: JSON.stringify([MODERN.version]), isValid: never };

/** The edits that give the object at `at` its wanted members where it lacks them or has something else there. */
function filled(raw: Buffer, at: number, list: readonly Member[], wanted: readonly Wanted[]): Edit[] {
  const edits: Edit[] = [];
  let added = '';
  for (const { name, text, isValid } of wanted) {
    const member = memberOf(list, name);
    if (member === undefined) added += `"${name}":${text},`;
    else if (!isValid(valueOf(raw, member))) edits.push({ at: member.at, end: member.end, text });
  }
  if (added === '') return edits;
  // In front: should a member beyond those looked at have the same name, the child's is the last and counts.
  return [{ at: at + 1, end: at + 1, text: list.length > 0 ? added : added.slice(0, -1) }, ...edits];
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
