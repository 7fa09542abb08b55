// The revision without a handshake (2026-07-28): what a modern client's request must be, and what its answers look
// like, whatever the child behind them speaks. Messages are bytes: what is judged is read where it lies, what changes
// is spliced in.

import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import { createRequire } from 'node:module';
import { ProxyError } from '../base/errors.ts';
import { duplicate, elements, memberOf, members, removal, splice, type Edit, type Member, type Span } from '../wire/envelope.ts';
import { isObject, paramsOf, type RpcRequest } from '../wire/jsonrpc.ts';
import { initializeResult, type Profile } from './legacy.ts';
import { META, severityOf } from './methods.ts';
import { legacyRevision, MODERN, type Era } from './revisions.ts';

/** Members of an object of an answer, or elements of an array, that are looked at; what is behind them passes unchanged. */
export const MAX_MEMBERS = 10_000;
const MAX_DEPTH = 64; // of a property whose argument is mirrored in a header
const OPEN = 0x7b;

/** What a request says of its client. */
export interface Envelope {
  readonly clientCapabilities: Readonly<Record<string, unknown>>;
  /** The severity from which on the client wants log messages of this request; `undefined`: none. */
  readonly logLevel: number | undefined;
}

/** Reads `_meta`, or says what it lacks (R-100 (1), R-48). */
export function readEnvelope({ raw, layout }: RpcRequest): Envelope | ProxyError {
  const missing = [META.protocolVersion, META.clientCapabilities].filter((key) => memberOf(layout.meta, key) === undefined);
  if (missing.length > 0) return new ProxyError('bad_envelope', `Missing _meta: ${missing.join(', ')}`);
  const clientCapabilities = valueOf(raw, memberOf(layout.meta, META.clientCapabilities));
  if (!isObject(clientCapabilities)) return new ProxyError('bad_envelope', `Invalid _meta: ${META.clientCapabilities} must be an object`);
  const level = memberOf(layout.meta, META.logLevel);
  const logLevel = severityOf(valueOf(raw, level));
  if (level !== undefined && logLevel === undefined) return new ProxyError('bad_envelope', `Invalid _meta: ${META.logLevel} is no log level`);
  return { clientCapabilities, logLevel };
}

/** The member of `params` that `Mcp-Name` repeats (http, "Standard Request Headers"; tasks extension, "Routing Headers"). */
const NAMES = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  ['tasks/get', 'taskId'],
  ['tasks/update', 'taskId'],
  ['tasks/cancel', 'taskId'],
]);

/** Whether the headers say what the body says (R-100 (2) to (4), R-101); that the versions agree is row 9 of R-60. */
export function checkHeaders({ raw, layout, method }: RpcRequest, headers: IncomingHttpHeaders): ProxyError | undefined {
  if (headers['mcp-protocol-version'] === undefined) return mismatch('MCP-Protocol-Version is missing');
  if (headers['mcp-method'] === undefined) return mismatch('Mcp-Method is missing');
  if (plain(headers['mcp-method']) !== method) return mismatch('Mcp-Method differs from the method of the body');
  const source = NAMES.get(method);
  if (source === undefined) return undefined;
  if (headers['mcp-name'] === undefined) return source === 'taskId' ? undefined : mismatch('Mcp-Name is missing');
  const name = decoded(headers['mcp-name']);
  if (name === undefined) return mismatch('Mcp-Name cannot be decoded');
  return name === valueOf(raw, memberOf(layout.params, source)) ? undefined : mismatch(`Mcp-Name differs from params.${source}`);
}

/** An argument that a client repeats in `Mcp-Param-<header>`: the chain of `properties` keys that leads to it. */
export interface ParamHeader {
  readonly header: string;
  readonly path: readonly string[];
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/; // RFC 9110, section 5.6.2
const MIRRORED: ReadonlySet<unknown> = new Set(['string', 'integer', 'boolean']);
/** Keywords with schemas by name: there a name is not a keyword. */
const NAME_MAPS = new Set(['properties', 'patternProperties', 'dependentSchemas', '$defs', 'definitions']);
/** Keywords with values of the instance: there nothing is a keyword. */
const DATA = new Set(['const', 'enum', 'default', 'examples']);

/** The `x-mcp-header` declarations of a tool; none if one of them is invalid, as clients refuse such a tool (http, "Schema Extension"). */
export function paramHeaders(tool: unknown): ParamHeader[] {
  const found = new Map<string, ParamHeader>();
  /** Schemas to look at; no path: not reachable by `properties` alone. */
  const schemas: [schema: unknown, path: readonly string[] | undefined][] = [[isObject(tool) ? tool['inputSchema'] : undefined, []]];
  for (const [schema, path] of schemas) {
    if (Array.isArray(schema)) for (const each of schema) schemas.push([each, undefined]);
    if (!isObject(schema)) continue;
    const header = schema['x-mcp-header'];
    if (header !== undefined) {
      if (path === undefined || path.length === 0 || !MIRRORED.has(schema['type'])) return [];
      if (typeof header !== 'string' || !TOKEN.test(header) || found.has(header.toLowerCase())) return [];
      found.set(header.toLowerCase(), { header, path });
    }
    for (const [keyword, value] of Object.entries(schema)) {
      if (DATA.has(keyword)) continue;
      if (!NAME_MAPS.has(keyword)) schemas.push([value, undefined]);
      else if (isObject(value)) {
        const reachable = keyword === 'properties' && path !== undefined && path.length < MAX_DEPTH;
        for (const [name, sub] of Object.entries(value)) schemas.push([sub, reachable ? [...path, name] : undefined]);
      }
    }
  }
  return [...found.values()];
}

/** Whether the mirrored arguments of a call are those of its headers (R-103); an object on the way that names one twice is refused (R-5). */
export function checkParamHeaders(declared: readonly ParamHeader[], { raw, layout }: RpcRequest, headers: IncomingHttpHeaders): ProxyError | undefined {
  const seen = new Map<number, Member[]>();
  for (const { header, path } of declared) {
    let value = memberOf(layout.params, 'arguments');
    for (const key of path) {
      if (value === undefined) break;
      const list: Member[] = seen.get(value.at) ?? members(raw, MAX_MEMBERS, value.at);
      if (!seen.has(value.at)) {
        if (list.length > MAX_MEMBERS) return new ProxyError('invalid_request', `Invalid Request: arguments of more than ${MAX_MEMBERS} members`);
        if (duplicate(list) !== undefined) return new ProxyError('invalid_request', 'Invalid Request: duplicate member in arguments');
        seen.set(value.at, list);
      }
      value = memberOf(list, latin1(key));
    }
    const text = value === undefined ? 'null' : raw.toString('utf8', value.at, value.end);
    if (text === 'null') continue;
    const claimed = headers[`mcp-param-${header.toLowerCase()}`];
    if (claimed === undefined) return mismatch(`Mcp-Param-${header} is missing`);
    const said = decoded(claimed);
    if (said === undefined) return mismatch(`Mcp-Param-${header} cannot be decoded`);
    if (!mirrors(said, text)) return mismatch(`Mcp-Param-${header} differs from the argument`);
  }
  return undefined;
}

/** Whether a header says what the JSON text of an argument says; integers may be written in more than one way. */
function mirrors(said: string, text: string): boolean {
  if (text.startsWith('"')) return said === JSON.parse(text);
  if (said === text) return true; // true, false, and any number: to the letter, so that no digit is lost
  return Number.isSafeInteger(Number(text)) && /^-?\d+(\.0+)?$/.test(said) && Number(said) === Number(text);
}

/** The value of a header; `undefined` if it has characters that none may have. */
function plain(header: string | string[]): string | undefined {
  return /^[\t -~]*$/.test(String(header)) ? String(header).trim() : undefined;
}

/** The text that a header carries (http, "Value Encoding"); `undefined`: no plain value, or not strictly the Base64 of UTF-8. */
function decoded(header: string | string[]): string | undefined {
  const text = plain(header);
  const base64 = text === undefined ? undefined : /^=\?base64\?(.*)\?=$/.exec(text)?.[1];
  if (base64 === undefined) return text;
  const bytes = Buffer.from(base64, 'base64');
  return bytes.toString('base64') === base64 && isUtf8(bytes) ? bytes.toString() : undefined;
}

function mismatch(detail: string): ProxyError {
  return new ProxyError('header_mismatch', `Header mismatch: ${detail}`);
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
  return era === 'legacy' && method.startsWith('tasks/'); // another kind of task, and hidden (R-135)
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
 * A child's answer with all that a modern result has (R-106, R-107); `serverInfo`: JSON text; `top`: the members of the
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
  const meta = era === 'modern' ? memberOf(result, '_meta') : undefined;
  const info = era === 'modern' ? meta && memberOf(members(raw, MAX_MEMBERS, meta.at), META.serverInfo) : memberOf(result, 'serverInfo');
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
    const inMeta = filled(raw, meta.at, members(raw, MAX_MEMBERS, meta.at), [[META.serverInfo, info, isObject]]);
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
  const list = members(answer, MAX_MEMBERS, error.at);
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

/** A request of a server inside a result: `params` is its JSON text. */
export interface InputRequest {
  readonly key: string;
  readonly method: string;
  readonly params: Buffer | undefined;
}

/** The key of the n-th input request of a call, from 1: `elicitation-1`. */
export function inputKey(method: string, n: number): string {
  return `${method.slice(0, method.indexOf('/'))}-${n}`;
}

/** The InputRequiredResult that asks these (mrtr; P1): without what only a connection gives a meaning to. */
export function inputRequired(requests: readonly InputRequest[], requestState: string | undefined): Buffer {
  const asked = requests.map(({ key, method, params }) => {
    const text = params === undefined ? '' : `,"params":${inputParams(method, params)}`;
    return `${latin1(JSON.stringify(key))}:{"method":${latin1(JSON.stringify(method))}${text}}`;
  });
  const state = requestState === undefined ? '' : `,"requestState":${latin1(JSON.stringify(requestState))}`;
  return Buffer.from(`{"resultType":"input_required","inputRequests":{${asked.join(',')}}${state}}`, 'latin1');
}

function inputParams(method: string, params: Buffer): string {
  const drop = (name: string): boolean => name === 'elicitationId' && method === 'elicitation/create';
  const dropMeta = (name: string): boolean => name === 'progressToken' || name === 'io.modelcontextprotocol/related-task';
  return splice(params, without(params, { at: 0, end: params.length }, members(params, MAX_MEMBERS), drop, dropMeta)).toString('latin1');
}

/** What a legacy child wants opened before it is called again (-32042); nothing if it does not say it in full. */
function urlRequests(answer: Buffer, data: Span | undefined): InputRequest[] {
  const list = data && memberOf(members(answer, MAX_MEMBERS, data.at), 'elicitations');
  const entries = list === undefined ? [] : elements(answer, MAX_MEMBERS, list.at);
  const complete = entries.every((entry) => {
    const { mode, url, message } = Object(valueOf(answer, entry)) as Record<string, unknown>;
    return mode === 'url' && typeof url === 'string' && typeof message === 'string';
  });
  if (!complete) return [];
  return entries.map(({ at, end }, k) => ({ key: inputKey('elicitation/create', k + 1), method: 'elicitation/create', params: answer.subarray(at, end) }));
}

/** What is wrong with a client's answer to an input request of this method (schema: ElicitResult, CreateMessageResult, ListRootsResult). */
export function inputResponseProblem(method: string, value: unknown): string | undefined {
  if (!isObject(value)) return 'must be an object';
  const { action, content, role, model, roots } = value;
  if (method === 'elicitation/create') {
    if (action !== 'accept' && action !== 'decline' && action !== 'cancel') return 'action must be accept, decline or cancel';
    const isField = (field: unknown): boolean =>
      ['string', 'number', 'boolean'].includes(typeof field) || (Array.isArray(field) && field.every((each) => typeof each === 'string'));
    const fields = isObject(content ?? {}) && Object.values(content ?? {}).every(isField);
    return fields ? undefined : 'content must be an object of strings, numbers, booleans and lists of strings';
  }
  if (method === 'sampling/createMessage') {
    if (role !== 'user' && role !== 'assistant') return 'role must be user or assistant';
    if (typeof model !== 'string') return 'model must be a string';
    const blocks: unknown[] = Array.isArray(content) ? content : [content];
    return blocks.every((block) => isObject(block) && typeof block['type'] === 'string') ? undefined : 'content must be one or more content blocks';
  }
  const isRoot = (root: unknown): boolean => isObject(root) && typeof root['uri'] === 'string' && root['uri'].startsWith('file://');
  return Array.isArray(roots) && roots.every(isRoot) ? undefined : 'roots must be a list of file:// URIs';
}

/**
 * What two requests for the same call have in common (P3): a digest of method and params, but not of `_meta` and of what
 * a retry adds. Canonical, as clients build a retry anew; a digest, as the params that it stands for may have 10 MiB.
 */
export function retryKey(request: RpcRequest): string {
  const own = (name: string): boolean => name !== '_meta' && name !== 'inputResponses' && name !== 'requestState';
  const params = Object.fromEntries(Object.entries(paramsOf(request)).filter(([name]) => own(name)));
  let text: string;
  try {
    text = canonical(params);
  } catch {
    // Nested too deep: then to the letter.
    text = request.layout.params.filter(({ name }) => own(name)).map(({ nameAt, end }) => request.raw.toString('latin1', nameAt, end)).sort().join();
  }
  // Loaded only for the first call that asks its client: it is a megabyte of memory.
  const { createHash } = createRequire(import.meta.url)('node:crypto') as typeof import('node:crypto');
  return createHash('sha256').update(`${JSON.stringify(request.method)}${text}`).digest('base64');
}

/**
 * The edits that take members out of an object and others out of its `_meta`, commas and all; an emptied `_meta` goes.
 * `add`: new members. An object with more members than were looked at keeps what it has.
 */
export function without(
  raw: Buffer,
  object: Span,
  list: readonly Member[],
  drop: (name: string) => boolean,
  dropMeta: (name: string) => boolean,
  add = '',
): Edit[] {
  const added = add === '' ? [] : [{ at: object.at + 1, end: object.at + 1, text: add + (list.length > 0 ? ',' : '') }];
  if (raw.subarray(list.at(-1)?.end ?? object.at + 1, object.end - 1).some((byte) => byte > 0x20)) return added;
  const meta = memberOf(list, '_meta');
  const inMeta = meta === undefined || drop('_meta') ? [] : removal(meta, members(raw, MAX_MEMBERS, meta.at), dropMeta);
  const cut = removal(object, list, (name) => drop(name) || (name === '_meta' && inMeta === undefined));
  if (cut === undefined) return [{ at: object.at, end: object.end, text: `{${add}}` }];
  return [...added, ...cut, ...(inMeta ?? [])]; // what is added before what is cut at the same place
}

/** The value that is written there; `undefined` where there is none, or nothing that is JSON. */
export function valueOf(raw: Buffer, at: Span | undefined): unknown {
  try {
    return at === undefined ? undefined : (JSON.parse(raw.toString('utf8', at.at, at.end)) as unknown);
  } catch {
    return undefined;
  }
}

/** Text as it is spliced: one character a byte of its UTF-8. */
export function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}

/** JSON text with the members of every object in one order. @throws RangeError some thousand levels deep */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`;
}
