// The headers that repeat what the body of a modern request says (2026-07-28, http): the standard ones, and those that a
// tool declares for its arguments.

import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import { ProxyError } from '../base/errors.ts';
import { duplicate, memberOf, type Member } from '../wire/envelope.ts';
import { isObject, paramOf, type RpcRequest } from '../wire/jsonrpc.ts';
import { inside, latin1, MAX_MEMBERS } from './text.ts';

const MAX_DEPTH = 64; // of a property whose argument is mirrored

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
export function checkHeaders(request: RpcRequest, headers: IncomingHttpHeaders): ProxyError | undefined {
  const { method } = request;
  if (headers['mcp-protocol-version'] === undefined) return mismatch('MCP-Protocol-Version is missing');
  if (headers['mcp-method'] === undefined) return mismatch('Mcp-Method is missing');
  if (plain(headers['mcp-method']) !== method) return mismatch('Mcp-Method differs from the method of the body');
  const source = NAMES.get(method);
  if (source === undefined) return undefined;
  if (headers['mcp-name'] === undefined) return source === 'taskId' ? undefined : mismatch('Mcp-Name is missing');
  const name = decoded(headers['mcp-name']);
  if (name === undefined) return mismatch('Mcp-Name cannot be decoded');
  return name === paramOf(request, source) ? undefined : mismatch(`Mcp-Name differs from params.${source}`);
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

/** Whether the mirrored arguments of a call are those of its headers; an object on the way that names one twice is refused. */
export function checkParamHeaders(declared: readonly ParamHeader[], { raw, layout }: RpcRequest, headers: IncomingHttpHeaders): ProxyError | undefined {
  const seen = new Map<number, Member[]>();
  for (const { header, path } of declared) {
    let value = memberOf(layout.params, 'arguments');
    for (const key of path) {
      if (value === undefined) break;
      const list: Member[] = seen.get(value.at) ?? inside(raw, value);
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
  const base64 = text?.startsWith('=?') ? /^=\?base64\?(.*)\?=$/.exec(text)?.[1] : undefined;
  if (base64 === undefined) return text;
  const bytes = Buffer.from(base64, 'base64');
  return bytes.toString('base64') === base64 && isUtf8(bytes) ? bytes.toString() : undefined;
}

function mismatch(detail: string): ProxyError {
  return new ProxyError('header_mismatch', `Header mismatch: ${detail}`);
}
