// JSON-RPC 2.0 messages: raw bytes beside a parsed envelope. A message is parsed once, to judge it; what goes on
// are its bytes, so the layout of the members that may have to change is kept with it.

import { Buffer, isUtf8 } from 'node:buffer';
import { areDistinct, duplicate, elements, layoutOf, lookalike, memberOf, members, OPEN, OPEN_ARRAY, opening, scalarOf, splice, spliceInPlace, valueOf, type Edit, type Layout, type Member } from './envelope.ts';

export type Id = string | number;

interface Envelope {
  /** The message as it came. */
  readonly raw: Buffer;
  readonly layout: Layout;
}

export interface RpcRequest extends Envelope {
  readonly kind: 'request';
  readonly id: Id;
  /** The id as it was written, one character a byte: `1`, `"1"`, `1.0` and `9007199254740993` all return as they came. */
  readonly idText: string;
  readonly method: string;
}

export interface RpcNotification extends Envelope {
  readonly kind: 'notification';
  readonly method: string;
}

export interface RpcResponse extends Envelope {
  readonly kind: 'response';
  readonly id: Id | null;
  /** The `result` or `error` member, parsed whenever it is asked for; the bytes are in `raw`. */
  readonly result?: unknown;
  readonly error?: unknown;
}

export type RpcMessage = RpcRequest | RpcNotification | RpcResponse;

/** Text that is no message. `json`: not even JSON; `shape`: JSON, but not JSON-RPC 2.0. */
export interface Malformed {
  readonly kind: 'malformed';
  readonly why: 'json' | 'shape';
  readonly detail: string;
  /** The id as written, where one could be read. */
  readonly idText: string | undefined;
}

/** A JSON-RPC batch, element by element. */
export interface Batch {
  readonly kind: 'batch';
  readonly messages: readonly (RpcMessage | Malformed)[];
}

export interface ReadBounds {
  /** Elements of one batch. */
  readonly maxBatch: number;
  /** Members of a message, of its `params` and of its `_meta`, each. */
  readonly maxMembers: number;
}

/** From this size on a message is big: an answer is passed on unjudged, and its id set in place. */
export const BIG_BYTES = 16 * 1024;

/** Reads one JSON text: a message, a batch, or the reason why it is neither. Never throws. */
export function readMessage(text: Buffer, bounds: ReadBounds): RpcMessage | Batch | Malformed {
  const raw = text[0] === 0xef && text[1] === 0xbb && text[2] === 0xbf ? text.subarray(3) : text; // a byte order mark
  if (!isUtf8(raw)) return malformed('json', 'not valid UTF-8');
  const layout = layoutOf(raw, bounds.maxMembers);
  if (layout === undefined) return malformed('json', 'not valid JSON');
  if (opening(raw) !== OPEN_ARRAY) return toMessage(raw, layout, bounds);
  const spans = elements(raw, bounds.maxBatch);
  if (spans.length === 0) return malformed('shape', 'an empty batch');
  if (spans.length > bounds.maxBatch) return malformed('shape', `a batch of more than ${bounds.maxBatch} messages`);
  const messages = spans.map(({ at, end }) => {
    const element = raw.subarray(at, end);
    return toMessage(element, layoutOf(element, bounds.maxMembers) as Layout, bounds);
  });
  return { kind: 'batch', messages };
}

/** How long something in parts is. */
export function bytesOf(parts: readonly Buffer[]): number {
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  return bytes;
}

/** A message that came in parts, in one piece. */
export function joined(parts: readonly Buffer[]): Buffer {
  return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
}

/** Whether parts are UTF-8 together, where each has a few bytes at least: a character may lie across a cut. */
export function areUtf8(parts: readonly Buffer[]): boolean {
  let cut: Buffer = Buffer.alloc(0); // what the part before has of a character
  for (const part of parts) {
    const from = cut.length === 0 ? 0 : charBytes(cut[0] as number) - cut.length;
    let to = part.length;
    for (let at = to - 1; at >= from; at--) {
      if (((part[at] as number) & 0xc0) === 0x80) continue; // not the first byte of a character
      if (charBytes(part[at] as number) > to - at) to = at;
      break;
    }
    if (cut.length > 0 && !isUtf8(Buffer.concat([cut, part.subarray(0, from)]))) return false;
    if (!isUtf8(part.subarray(from, to))) return false;
    cut = part.subarray(to);
  }
  return cut.length === 0;
}

/** How many bytes a character of UTF-8 has, by its first one (RFC 3629, section 3). */
function charBytes(first: number): number {
  return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/** The parsed `params` of a message with its strings decoded, or an empty object. */
export function paramsOf({ raw, layout }: RpcMessage): Record<string, unknown> {
  return (valueOf(raw, memberOf(layout.top, 'params')) as Record<string, unknown> | undefined) ?? {};
}

/** One member of `params` with its strings decoded; `undefined` where there is none. */
export function paramOf({ raw, layout }: RpcMessage, name: string): unknown {
  return valueOf(raw, memberOf(layout.params, name));
}

/** The same, where it is no object and no list. */
export function wordOf({ raw, layout }: RpcMessage, name: string): unknown {
  return scalarOf(raw, memberOf(layout.params, name));
}

/** One member of `params._meta`. */
export function metaOf({ raw, layout }: RpcMessage, name: string): unknown {
  return valueOf(raw, memberOf(layout.meta, name));
}

/** A member's value as it was written, one character a byte. */
export function textOf(raw: Buffer, member: Member): string {
  return raw.toString('latin1', member.at, member.end);
}

/** A success response to the request whose id was written as `idText`; a Buffer is the result's JSON text. */
export function encodeResult(idText: string, result: unknown): Buffer {
  return encode(idText, 'result', result);
}

/** An error response; `idText` is `null`, or nothing (2026-07-28), where the id could not be read. */
export function encodeError(idText: string, error: unknown): Buffer {
  return encode(idText, 'error', error);
}

/** An answer under the id of whoever asked (`id` says where it stands and what it becomes). A big one is changed where it lies. */
export function addressed(answer: Buffer, id: Edit): Buffer {
  return answer.length < BIG_BYTES ? splice(answer, [id]) : spliceInPlace(answer, id);
}

/** A response under another id. */
export function withId(response: Buffer, idText: string): Buffer {
  const id = memberOf(members(response, Infinity), 'id');
  return id === undefined ? response : splice(response, [{ at: id.at, end: id.end, text: idText }]);
}

/** A request or, without an id, a notification of the proxy itself. */
export function encodeCall(method: string, params: unknown, id?: number): Buffer {
  return Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
}

function encode(idText: string, member: 'result' | 'error', value: unknown): Buffer {
  // The id is a Latin-1 view of UTF-8 bytes, the value is text: each is encoded in its own way.
  return Buffer.concat([
    Buffer.from(`{"jsonrpc":"2.0",${idText === '' ? '' : `"id":${idText},`}"${member}":`, 'latin1'),
    value instanceof Buffer ? value : Buffer.from(JSON.stringify(value)),
    Buffer.from('}'),
  ]);
}

function toMessage(raw: Buffer, layout: Layout, bounds: ReadBounds): RpcMessage | Malformed {
  const { top, isPlain } = layout;
  if (opening(raw) !== OPEN) return malformed('shape', 'expected a JSON object');
  const idMember = memberOf(top, 'id');
  const id = scalarOf(raw, idMember);
  const isOne = idMember === top.findLast(({ name }) => name === 'id');
  const idText = idMember !== undefined && isOne && isId(id) ? textOf(raw, idMember) : undefined;
  const wrong = (detail: string) => malformed('shape', detail, idText);

  const version = memberOf(top, 'jsonrpc');
  const method = memberOf(top, 'method');
  const params = memberOf(top, 'params');
  const result = memberOf(top, 'result');
  const error = memberOf(top, 'error');
  const found = countOf(idMember) + countOf(version) + countOf(method) + countOf(params) + countOf(result) + countOf(error);
  const problem = crowded(top, bounds, TOP, found === top.length) ?? (scalarOf(raw, version) === '2.0' ? undefined : '"jsonrpc" must be "2.0"');
  if (problem !== undefined) return wrong(problem);

  if (method === undefined) {
    if ((result === undefined) === (error === undefined)) return wrong('neither a request, a notification nor a response');
    if (id !== null && !isId(id)) return wrong('the id of a response must be a string, an integer or null');
    return result === undefined
      ? { kind: 'response', raw, layout, id, get error() { return valueOf(raw, error); } }
      : { kind: 'response', raw, layout, id, get result() { return valueOf(raw, result); } };
  }

  const name = scalarOf(raw, method);
  if (typeof name !== 'string') return wrong('"method" must be a string');
  if (result !== undefined || error !== undefined) return wrong('a message with a method has neither a result nor an error');
  if (params !== undefined && raw[params.at] !== OPEN) return wrong('"params" must be an object');
  const nested = crowded(layout.params, bounds, PARAMS, isPlain && areDistinct(layout.params, '_meta'))
    ?? crowded(layout.meta, bounds, META, isPlain && areDistinct(layout.meta, 'progressToken'));
  if (nested !== undefined) return wrong(nested);

  if (idMember === undefined) return { kind: 'notification', raw, layout, method: name };
  if (idText === undefined || !isId(id)) return wrong('the id of a request must be a string or an integer');
  return { kind: 'request', raw, layout, id, idText, method: name };
}

/** The names by which a message is judged and routed: a member that is called nearly so is refused even without the other. */
const TOP = ['jsonrpc', 'id', 'method', 'params', 'result', 'error'];
const PARAMS = ['_meta'];
const META = ['progressToken'];

/** What is wrong with the names of an object, if anything: the child may read another of two equal or similar ones than we did. `areFine`: not with the names. */
function crowded(list: readonly Member[], bounds: ReadBounds, own: readonly string[], areFine: boolean): string | undefined {
  if (list.length > bounds.maxMembers) return `more than ${bounds.maxMembers} members`;
  if (areFine) return undefined;
  const twice = duplicate(list);
  if (twice !== undefined) return `duplicate member "${Buffer.from(twice, 'latin1')}"`;
  const similar = lookalike(list, own);
  return similar === undefined ? undefined : `member "${Buffer.from(similar, 'latin1')}" may be taken for another`;
}

function countOf(member: Member | undefined): number {
  return member === undefined ? 0 : 1;
}

function malformed(why: Malformed['why'], detail: string, idText?: string): Malformed {
  return { kind: 'malformed', why, detail, idText };
}

/** Whether a value may be the id of a request: a string or an integer, never null (MCP, base protocol). */
function isId(value: unknown): value is Id {
  return typeof value === 'string' || (typeof value === 'number' && Number.isInteger(value));
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
