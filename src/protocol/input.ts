// Input that a call needs of its client (2026-07-28, mrtr): how it is asked for in a result on behalf of a legacy child,
// how a modern child's question is read, and how an answer and the retry that brings it are judged.

import { createRequire } from 'node:module';
import { ProxyError } from '../base/errors.ts';
import { duplicate, memberOf, members, OPEN, QUOTE, splice, valueOf, type Member, type Span } from '../wire/envelope.ts';
import { isObject, paramsOf, type RpcRequest } from '../wire/jsonrpc.ts';
import { CLIENT_REQUESTS, RETRY_PARAMS } from './methods.ts';
import { elementsOf, inside, latin1, MAX_MEMBERS, without } from './text.ts';

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
export function urlRequests(answer: Buffer, data: Span | undefined): InputRequest[] {
  const entries = elementsOf(answer, memberOf(inside(answer, data), 'elicitations'));
  const complete = entries.every((entry) => {
    const { mode, url, message } = Object(valueOf(answer, entry)) as Record<string, unknown>;
    return mode === 'url' && typeof url === 'string' && typeof message === 'string';
  });
  if (!complete) return [];
  return entries.map(({ at, end }, k) => ({ key: inputKey('elicitation/create', k + 1), method: 'elicitation/create', params: answer.subarray(at, end) }));
}

/** What a child needs before it goes on with a call. */
export interface InputRequired {
  readonly inputRequests: readonly InputRequest[];
  readonly requestState: Buffer | undefined;
}

/** Reads an `input_required` result (mrtr); `undefined` is any other answer, told apart without a parse; an error, a malformed one. */
export function readInputRequired(answer: Buffer): InputRequired | ProxyError | undefined {
  if (!answer.includes('"input_required"')) return undefined;
  const list = inside(answer, memberOf(members(answer, MAX_MEMBERS), 'result'));
  if (valueOf(answer, memberOf(list, 'resultType')) !== 'input_required') return undefined;
  const [asked, state] = [memberOf(list, 'inputRequests'), memberOf(list, 'requestState')];
  const entries = inside(answer, asked);
  const inputRequests = entries.map((entry) => inputRequest(answer, entry)).filter((request) => request !== undefined);
  const isWhole = inputRequests.length === entries.length && duplicate(entries) === undefined && (asked === undefined || answer[asked.at] === OPEN);
  const asks = entries.length > 0 || state !== undefined;
  if (!isWhole || !asks || (state !== undefined && answer[state.at] !== QUOTE)) {
    return new ProxyError('bad_answer', 'The server asks for input in a way that MCP does not know');
  }
  return { inputRequests, requestState: state && answer.subarray(state.at, state.end) };
}

function inputRequest(raw: Buffer, entry: Member): InputRequest | undefined {
  const list = inside(raw, entry);
  const method = valueOf(raw, memberOf(list, 'method'));
  const params = memberOf(list, 'params');
  if (typeof method !== 'string' || !CLIENT_REQUESTS.has(method) || (params !== undefined && raw[params.at] !== OPEN)) return undefined;
  return { key: Buffer.from(entry.name, 'latin1').toString(), method, params: params && raw.subarray(params.at, params.end) };
}

/** The params of an elicitation as a legacy client needs them: a URL has an id there (Q2). */
export function withElicitationId(params: Buffer, id: string): Buffer {
  const list = members(params, MAX_MEMBERS);
  if (valueOf(params, memberOf(list, 'mode')) !== 'url' || memberOf(list, 'elicitationId') !== undefined) return params;
  return splice(params, [{ at: 1, end: 1, text: `"elicitationId":${JSON.stringify(id)},` }]);
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
  const own = (name: string): boolean => name !== '_meta' && !RETRY_PARAMS.has(name);
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

/** JSON text with the members of every object in one order. @throws RangeError some thousand levels deep */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`;
}
