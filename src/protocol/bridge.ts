// A legacy client in front of a modern child (C.3): its requests get the envelope of 2026-07-28, and what comes back
// is put in the words of its own revision. Messages are bytes: what changes is spliced.

import { ProxyError } from '../base/errors.ts';
import { memberOf, members, OPEN, OPEN_ARRAY, QUOTE, removal, splice, valueOf, type Edit, type Member, type Span } from '../wire/envelope.ts';
import { isObject, textOf, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import type { Profile } from './legacy.ts';
import { CLIENT_META, META, RETRY_PARAMS } from './methods.ts';
import { badAnswer, CACHEABLE, serverInfoOf } from './modern.ts';
import { MODERN, negotiated } from './revisions.ts';
import { elementsOf, inside, latin1, MAX_MEMBERS, without } from './text.ts';

const TASKS = 'io.modelcontextprotocol/tasks';

/** What a session knows of its client. */
export interface Identity {
  readonly clientInfo: unknown;
  /** As `modernCapabilities` makes them. */
  readonly clientCapabilities: Readonly<Record<string, unknown>>;
  readonly logLevel: string | undefined;
}

/** The `_meta` members that say all this, to be made once and used for every request of a session. */
export function envelopeOf({ clientInfo, clientCapabilities, logLevel }: Identity): string {
  const meta = {
    [META.protocolVersion]: MODERN.version,
    [META.clientInfo]: clientInfo,
    [META.clientCapabilities]: clientCapabilities,
    [META.logLevel]: logLevel,
  };
  return latin1(JSON.stringify(meta).slice(1, -1));
}

/** The edits that make a legacy client's message one for a modern child. */
export function envelopeEdits(message: RpcRequest | RpcNotification, envelope: string): Edit[] {
  const { raw, layout } = message;
  const meta = memberOf(layout.params, '_meta');
  if (meta === undefined || raw[meta.at] !== OPEN) return paramsEdits(message, (name) => name === '_meta', `"_meta":{${envelope}}`);
  return without(raw, meta, layout.meta, (name) => CLIENT_META.has(name), undefined, envelope);
}

/** The edits that make a call one that is sent again (Q3), with the clients' results by key and the state as the child wrote it. */
export function retryEdits(call: RpcRequest, results: readonly (readonly [key: string, result: Buffer])[], requestState: Buffer | undefined): Edit[] {
  const responses = results.map(([key, result]) => `${latin1(JSON.stringify(key))}:${result.toString('latin1')}`).join();
  const added = [
    ...(responses === '' ? [] : [`"inputResponses":{${responses}}`]),
    ...(requestState === undefined ? [] : [`"requestState":${requestState.toString('latin1')}`]),
  ];
  return paramsEdits(call, (name) => RETRY_PARAMS.has(name), added.join());
}

/** The edits that take members out of the params of a message and put others in. */
function paramsEdits({ raw, layout }: RpcRequest | RpcNotification, drop: (name: string) => boolean, added: string): Edit[] {
  const params = memberOf(layout.top, 'params');
  if (params !== undefined) return without(raw, params, layout.params, drop, undefined, added);
  const { end } = layout.top.at(-1) as Member;
  return [{ at: end, end, text: `,"params":{${added}}` }];
}

/** The capabilities of a legacy client as a modern one declares them: roots without `listChanged`, and no tasks of either kind. */
export function modernCapabilities(legacy: unknown): Record<string, unknown> {
  const { roots, tasks: _, extensions, ...rest } = isObject(legacy) ? legacy : {};
  const kept = isObject(extensions) ? Object.fromEntries(Object.entries(extensions).filter(([name]) => name !== TASKS)) : undefined;
  return { ...rest, ...(isObject(roots) ? { roots: {} } : {}), ...(kept === undefined ? {} : { extensions: kept }) };
}

/** The InitializeResult that a DiscoverResult amounts to, at the version that the client asked for. */
export function initializeResultOf(profile: Profile, requested: unknown, serverName: string): Buffer {
  const { raw } = profile;
  const list = members(raw, MAX_MEMBERS);
  const instructions = memberOf(list, 'instructions');
  const info = serverInfoOf(profile) ?? latin1(JSON.stringify({ name: serverName, version: '0' }));
  const { version } = negotiated(requested);
  const text = [
    `"protocolVersion":"${version}"`,
    `"capabilities":${serverCapabilities(raw, memberOf(list, 'capabilities'))}`,
    `"serverInfo":${info}`,
    ...(instructions === undefined ? [] : [`"instructions":${textOf(raw, instructions)}`]),
  ];
  return Buffer.from(`{${text.join(',')}}`, 'latin1');
}

function serverCapabilities(raw: Buffer, at: Span | undefined): string {
  if (at === undefined || raw[at.at] !== OPEN) return '{}';
  const own = raw.subarray(at.at, at.end);
  const list = members(own, MAX_MEMBERS);
  const extensions = memberOf(list, 'extensions');
  const inExtensions = extensions && removal(extensions, inside(own, extensions), (name) => name === TASKS);
  const drop = (name: string): boolean => name === 'tasks' || (name === 'extensions' && extensions !== undefined && inExtensions === undefined);
  return splice(own, [...without(own, { at: 0, end: own.length }, list, drop), ...(inExtensions ?? [])]).toString('latin1');
}

/** A modern child's answer as one of a legacy server (C.3); one that no legacy client understands becomes an error. */
export function legacyResult(answer: Buffer, method: string): Buffer | ProxyError {
  const top = members(answer, MAX_MEMBERS);
  const error = memberOf(top, 'error');
  if (error !== undefined) {
    const code = valueOf(answer, memberOf(inside(answer, error), 'code'));
    return code === -32020 || code === -32021 || code === -32022 ? badAnswer(answer, error) : answer;
  }
  const result = memberOf(top, 'result');
  const list = inside(answer, result);
  if (result === undefined || list.length === 0) return answer;
  const type = memberOf(list, 'resultType');
  const is = type === undefined ? 'complete' : valueOf(answer, type);
  if (is !== 'complete') return new ProxyError('bad_answer', `Unexpected ${typeof is === 'string' ? is.slice(0, 40) : 'kind of'} result`);

  const structured = method === 'tools/call' ? memberOf(list, 'structuredContent') : undefined;
  const unfit = structured !== undefined && answer[structured.at] !== OPEN ? structured : undefined;
  const block = unfit && textBlock(answer, unfit, memberOf(list, 'content'));
  const drop = (name: string): boolean =>
    name === 'resultType' ||
    (CACHEABLE.has(method) && (name === 'ttlMs' || name === 'cacheScope')) ||
    (unfit !== undefined && name === 'structuredContent');
  return splice(answer, [
    ...without(answer, result, list, drop, (name) => name === META.serverInfo, block?.member),
    ...(block?.edits ?? []),
    ...(method === 'tools/list' ? toolEdits(answer, memberOf(list, 'tools')) : []),
  ]);
}

/** How a text block with the JSON of a structured content gets into `content`: not at all if one is there. */
function textBlock(raw: Buffer, structured: Span, content: Span | undefined): { readonly edits: Edit[]; readonly member?: string } {
  const json = raw.toString('utf8', structured.at, structured.end);
  const text = latin1(`{"type":"text","text":${JSON.stringify(json)}}`);
  if (content === undefined) return { edits: [], member: `"content":[${text}]` };
  if (raw[content.at] !== OPEN_ARRAY) return { edits: [{ at: content.at, end: content.end, text: `[${text}]` }] };
  const blocks = elementsOf(raw, content);
  const bare = json.replace(/\s+/g, '');
  const holds = blocks.some((block) => {
    const said = valueOf(raw, memberOf(inside(raw, block), 'text'));
    return typeof said === 'string' && (said.replace(/\s+/g, '') === bare || (raw[structured.at] === QUOTE && said === valueOf(raw, structured)));
  });
  return { edits: holds ? [] : [{ at: content.end - 1, end: content.end - 1, text: (blocks.length > 0 ? ',' : '') + text }] };
}

/** The edits that take out of tools what makes a legacy client refuse the whole list. */
function toolEdits(raw: Buffer, tools: Span | undefined): Edit[] {
  const edits: Edit[] = [];
  for (const tool of elementsOf(raw, tools)) {
    const list = inside(raw, tool);
    const output = memberOf(list, 'outputSchema');
    if (output !== undefined && !isPlainSchema(raw, output)) edits.push(...without(raw, tool, list, (name) => name === 'outputSchema'));
    for (const property of propertiesOf(raw, memberOf(list, 'inputSchema'))) {
      const value = raw.toString('latin1', property.at, Math.min(property.end, property.at + 6));
      if (value === 'true') edits.push({ at: property.at, end: property.end, text: '{}' });
      if (value === 'false') edits.push({ at: property.at, end: property.end, text: '{"not":{}}' });
    }
  }
  return edits;
}

/** Whether legacy clients take a schema: an object whose properties are objects. */
function isPlainSchema(raw: Buffer, schema: Span): boolean {
  const list = inside(raw, schema);
  const properties = memberOf(list, 'properties');
  if (valueOf(raw, memberOf(list, 'type')) !== 'object' || (properties !== undefined && raw[properties.at] !== OPEN)) return false;
  return propertiesOf(raw, schema).every(({ at }) => raw[at] === OPEN);
}

function propertiesOf(raw: Buffer, schema: Span | undefined): Member[] {
  return inside(raw, memberOf(inside(raw, schema), 'properties'));
}
