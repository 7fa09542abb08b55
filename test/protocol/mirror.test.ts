import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkHeaders, checkParamHeaders, paramHeaders } from '../../src/protocol/mirror.ts';
import type { RpcRequest } from '../../src/wire/jsonrpc.ts';
import { nested } from '../wire/nasty.ts';
import { asking, verdict } from './requests.ts';

const VERSION = '2026-07-28';
const mismatch = (detail: string) => [400, -32020, `Header mismatch: ${detail}`];

test('the standard headers must say what the body says', () => {
  const call = asking('tools/call', '"name":"fetch","arguments":{"name":"other"}');
  const odd = asking('tools/call', '"name":"żółw"');
  const none = asking('tools/call', '"arguments":{}');
  const read = asking('resources/read', '"uri":"file:///a b"');
  const list = asking('tools/list', '');
  const task = asking('tasks/get', '"taskId":"t1"');
  const base64 = (text: string) => `=?base64?${Buffer.from(text).toString('base64')}?=`;
  const cases: [body: RpcRequest, method: string | undefined, name: string | undefined, expected: unknown][] = [
    [list, 'tools/list', undefined, undefined],
    [list, ' tools/list\t', 'ignored', undefined],
    [list, undefined, undefined, mismatch('Mcp-Method is missing')],
    ...['', 'TOOLS/LIST', 'tools/call', 'tools/list, tools/list', 'tools/list\u00a0', '\ufefftools/list', base64('tools/list')].map(
      (method): [RpcRequest, string, undefined, unknown] => [list, method, undefined, mismatch('Mcp-Method differs from the method of the body')],
    ),
    [call, 'tools/call', 'fetch', undefined],
    [call, 'tools/call', '  fetch\t', undefined],
    [call, 'tools/call', base64('fetch'), undefined],
    [call, 'tools/call', undefined, mismatch('Mcp-Name is missing')],
    ...['', 'Fetch', 'other', 'fetch, fetch', base64('Fetch'), base64(' fetch'), '=?BASE64?ZmV0Y2g=?=', 'ZmV0Y2g=', '=?base64??='].map(
      (name): [RpcRequest, string, string, unknown] => [call, 'tools/call', name, mismatch('Mcp-Name differs from params.name')],
    ),
    // Padding, alphabet, left-over bits, no UTF-8, control characters, bytes that are not ASCII.
    ...['=?base64?ZmV0Y2g?=', '=?base64?ZmV0!2g=?=', '=?base64?ZmV0Y2h=?=', '=?base64?_-8=?=', '=?base64?/w==?=', 'fet\u0000ch', 'fetch\u007f', '\u00c5\u00bc'].map(
      (name): [RpcRequest, string, string, unknown] => [call, 'tools/call', name, mismatch('Mcp-Name cannot be decoded')],
    ),
    [odd, 'tools/call', base64('żółw'), undefined],
    [none, 'tools/call', undefined, mismatch('Mcp-Name is missing')],
    [none, 'tools/call', 'fetch', mismatch('Mcp-Name differs from params.name')],
    [asking('tools/call', '"name":7'), 'tools/call', '7', mismatch('Mcp-Name differs from params.name')],
    [asking('prompts/get', '"name":"p"'), 'prompts/get', 'p', undefined],
    [asking('prompts/get', '"name":"p"'), 'prompts/get', 'q', mismatch('Mcp-Name differs from params.name')],
    [read, 'resources/read', 'file:///a b', undefined],
    [read, 'resources/read', 'file:///a', mismatch('Mcp-Name differs from params.uri')],
    [asking('resources/read', '"uri":"=?base64?x?="'), 'resources/read', base64('=?base64?x?='), undefined],
    [asking('resources/read', '"uri":"=?base64?eA==?="'), 'resources/read', '=?base64?eA==?=', mismatch('Mcp-Name differs from params.uri')],
    [asking('resources/read', '"uri":"=?base64?x"'), 'resources/read', '=?base64?x', undefined],
    ...['tasks/get', 'tasks/update', 'tasks/cancel'].flatMap((method): [RpcRequest, string, string | undefined, unknown][] => [
      [asking(method, '"taskId":"t1"'), method, undefined, undefined],
      [asking(method, '"taskId":"t1"'), method, 't1', undefined],
      [asking(method, '"taskId":"t1"'), method, 't2', mismatch('Mcp-Name differs from params.taskId')],
    ]),
  ];
  for (const [body, method, name, expected] of cases) {
    const headers = { 'mcp-protocol-version': VERSION, ...(method === undefined ? {} : { 'mcp-method': method }), ...(name === undefined ? {} : { 'mcp-name': name }) };
    assert.deepEqual(verdict(checkHeaders(body, headers)), expected, `${body.raw} ${method} ${name}`);
  }
  assert.deepEqual(verdict(checkHeaders(task, { 'mcp-method': 'x' })), mismatch('MCP-Protocol-Version is missing'));
});

const tool = (properties: unknown, more: object = {}) => ({ name: 't', inputSchema: { type: 'object', properties, ...more } });
const mirrored = (header: unknown, type: unknown = 'string') => ({ type, 'x-mcp-header': header });

test('arguments are mirrored as the schema of the tool declares, or not at all', () => {
  const all = "!#$%&'*+-.^_`|~09AZaz";
  const valid: [declared: unknown, expected: unknown][] = [
    [tool({ a: mirrored('A'), b: mirrored('B-b', 'integer'), c: mirrored('c', 'boolean'), d: { type: 'string' } }), [['A', 'a'], ['B-b', 'b'], ['c', 'c']]],
    [tool({ a: { type: 'object', properties: { b: { properties: { 'ż': mirrored('deep') } } } } }), [['deep', 'a', 'b', 'ż']]],
    [tool({ a: mirrored(all) }), [[all, 'a']]],
    // Here it is the name of an argument, or data, and no annotation.
    [tool({ 'x-mcp-header': { type: 'string' }, properties: mirrored('p') }), [['p', 'properties']]],
    [tool({ a: { default: mirrored('x'), enum: [mirrored('x')], const: mirrored('x'), examples: [mirrored('x')] }, b: mirrored('x') }), [['x', 'b']]],
    [tool({ a: mirrored('x') }, { $defs: { 'x-mcp-header': { type: 'string' } } }), [['x', 'a']]],
    [tool({ a: true, b: null, c: 'x', d: [] }), []],
    ...[undefined, null, 'x', [], {}, { inputSchema: null }, { inputSchema: [] }, tool(null), tool([])].map((each): [unknown, unknown] => [each, []]),
  ];
  for (const [declared, expected] of valid) {
    assert.deepEqual(paramHeaders(declared).map(({ header, path }) => [header, ...path]), expected, JSON.stringify(declared));
  }
  const bad = mirrored('Bad');
  const invalid: unknown[] = [
    ...['', ' ', 'a b', 'a:', 'a\r\n', 'ż', 'a/b', '(a)', null, 1, true, {}, ['A']].map((header) => tool({ a: mirrored(header) })),
    ...['number', 'object', 'array', 'null', ['string'], ['string', 'null'], undefined, null].map((type) => tool({ a: { 'x-mcp-header': 'A', type } })),
    tool({ a: mirrored('Same'), b: { properties: { c: mirrored('sAME') } } }),
    tool({}, { 'x-mcp-header': 'Root', type: 'string' }),
    ...['items', 'contains', 'additionalProperties', 'not', 'if', 'then', 'else', 'propertyNames', 'unevaluatedItems', 'x-vendor'].flatMap((keyword) => [
      tool({ a: { [keyword]: bad } }),
      tool({ a: { [keyword]: { properties: { b: bad } } } }),
    ]),
    ...['oneOf', 'anyOf', 'allOf', 'prefixItems', 'items'].map((keyword) => tool({ a: { [keyword]: [{}, { properties: { b: bad } }] } })),
    ...['$defs', 'definitions', 'patternProperties', 'dependentSchemas'].map((keyword) => tool({ a: mirrored('A') }, { [keyword]: { b: bad } })),
  ];
  for (const declared of invalid) {
    const withValid = structuredClone(declared) as { inputSchema: { properties: Record<string, unknown> } };
    withValid.inputSchema.properties['good'] = mirrored('Good');
    assert.deepEqual(paramHeaders(withValid), [], JSON.stringify(declared));
  }
});

test('the schema of a tool may be as deep as it likes', () => {
  const deep = (levels: number) => JSON.parse(`${'{"properties":{"a":'.repeat(levels)}{"type":"string","x-mcp-header":"A"}${'}}'.repeat(levels)}`) as unknown;
  assert.deepEqual(paramHeaders({ inputSchema: deep(64) }).map(({ path }) => path.length), [64]);
  assert.deepEqual(paramHeaders({ inputSchema: deep(65) }), []);
  assert.deepEqual(paramHeaders({ inputSchema: deep(100_000) }), []);
  assert.deepEqual(paramHeaders({ inputSchema: { anyOf: JSON.parse(nested(100_000, '[', ']')) } }), []);
});

test('a mirrored argument must be in its header, and nothing else is asked of the headers', () => {
  const declared = [{ header: 'Region', path: ['region'] }, { header: 'Deep', path: ['a', 'ż'] }];
  const region = (header: string | undefined) => (header === undefined ? {} : { 'mcp-param-region': header });
  const [missing, differs, undecodable] = ['is missing', 'differs from the argument', 'cannot be decoded'].map((what) => mismatch(`Mcp-Param-Region ${what}`));
  const equal: [value: string, ...headers: (string | undefined)[]][] = [
    ['null', undefined, 'ignored', '\u0000'],
    ['"us"', 'us', ' us ', '=?base64?dXM=?='],
    ['"\\u0075s"', 'us'],
    ['""', '', '=?base64??='],
    ['" padded "', '=?base64?IHBhZGRlZCA=?='],
    ['"Hello, 世界"', '=?base64?SGVsbG8sIOS4lueVjA==?='],
    ['"line1\\nline2"', '=?base64?bGluZTEKbGluZTI=?='],
    ['"=?base64?literal?="', '=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?='],
    ['"SGVsbG8="', 'SGVsbG8='],
    ['"42"', '42'],
    ['true', 'true'],
    ['false', 'false'],
    ['42', '42', '42.0', '42.00', '=?base64?NDI=?='],
    ['42.0', '42', '42.0'],
    ['4.2e1', '42', '4.2e1'],
    ['-7', '-7', '-7.0'],
    ['0', '0', '-0', '0.0'],
    ['1.5', '1.5'],
    ['9007199254740991', '9007199254740991', '9007199254740991.0'],
    ['9007199254740993', '9007199254740993'],
  ];
  const unequal: [value: string, ...headers: string[]][] = [
    ['"us"', 'US', 'eu', '', '"us"', 'us, us', '=?base64?VVM=?='],
    ['"42"', '42.0'],
    ['true', 'True', '1', 'false', ''],
    ['42', '43', '0x2a', '4.2e1', '42.1', '42.00000000000000000001', '+42', '42.', '', '42 42'],
    ['1.5', '1.50', '1'],
    ['9007199254740993', '9007199254740992', '9007199254740993.0'],
    ['{}', '[object Object]', ''],
    ['["a"]', 'a'],
  ];
  const check = (args: string, headers: object) => verdict(checkParamHeaders(declared, asking('tools/call', `"name":"t","arguments":${args}`), { ...headers }));
  for (const [value, ...headers] of equal) for (const header of headers) assert.equal(check(`{"region":${value}}`, region(header)), undefined, `${value} ${header}`);
  for (const [value, ...headers] of unequal) {
    assert.deepEqual(check(`{"region":${value}}`, {}), missing, value);
    for (const header of headers) assert.deepEqual(check(`{"region":${value}}`, region(header)), differs, `${value} ${header}`);
    for (const header of ['\u0000', 'ż', '=?base64?dXM?=', '=?base64?dX!M=?=']) assert.deepEqual(check(`{"region":${value}}`, region(header)), undecodable, header);
  }
  for (const args of ['{}', 'null', '"x"', '[]', '{"a":null}', '{"a":"x"}', '{"a":{}}', '{"a":{"ż":null}}', '{"b":{"region":"x"}}']) {
    assert.equal(check(args, { 'mcp-param-region': 'x', 'mcp-param-other': '\u0000' }), undefined, args);
  }
  assert.equal(check('{"a":{"x":"{","ż":"y"}}', { 'mcp-param-deep': 'y' }), undefined);
  assert.deepEqual(check('{"a":{"ż":"y"}}', {}), mismatch('Mcp-Param-Deep is missing'));
  assert.equal(verdict(checkParamHeaders(declared, asking('tools/call', '"name":"t"'), {})), undefined);
});

test('arguments that name a mirrored one twice are refused, as the child may read the other', () => {
  const declared = [{ header: 'Deep', path: ['a', 'b'] }];
  const headers = { 'mcp-param-deep': '1' };
  const check = (args: string, mirroredHere = declared) => verdict(checkParamHeaders(mirroredHere, asking('tools/call', `"arguments":${args}`), headers))?.slice(0, 2);
  for (const args of ['{"a":{"b":1},"a":{"b":2}}', '{"a":{"b":1,"\\u0062":2}}', '{"x":1,"x":1,"a":{"b":1}}']) {
    assert.deepEqual(check(args), [400, -32600], args);
    assert.equal(check(args, []), undefined, args); // nothing is mirrored, nothing is compared
  }
  assert.equal(check('{"a":{"b":1},"c":{"d":1,"d":2}}'), undefined);
  assert.deepEqual(check(`{${Array.from({ length: 10_001 }, (_, k) => `"k${k}":0`).join()}}`), [400, -32600]);
});
