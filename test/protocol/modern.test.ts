import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProxyError } from '../../src/base/errors.ts';
import type { Profile } from '../../src/protocol/legacy.ts';
import { META, methodNotFound } from '../../src/protocol/methods.ts';
import {
  checkHeaders,
  checkParamHeaders,
  discoverResult,
  inputKey,
  inputRequired,
  inputResponseProblem,
  isLegacyOnly,
  lacksCapability,
  modernFault,
  paramHeaders,
  readEnvelope,
  retryKey,
  serverInfoOf,
  stampResult,
} from '../../src/protocol/modern.ts';
import { readMessage, type RpcRequest } from '../../src/wire/jsonrpc.ts';
import { nested, SPACES } from '../wire/nasty.ts';

const VERSION = '2026-07-28';
const INFO = '{"name":"żółw","version":"1.0"}';

function request(text: string): RpcRequest {
  const message = readMessage(Buffer.from(text), { maxBatch: 1, maxMembers: 1_000 });
  assert.equal(message.kind, 'request', text);
  return message as RpcRequest;
}

/** A request of that method with these members of `params`, as JSON text. */
const asking = (method: string, params: string) => request(`{"jsonrpc":"2.0","id":1,"method":"${method}","params":{${params}}}`);
const withMeta = (meta: string) => asking('tools/list', `"_meta":{${meta}}`);
const profile = (era: 'legacy' | 'modern', raw: string, revision = era === 'modern' ? VERSION : '2025-11-25'): Profile => ({
  era,
  revision,
  capabilities: Object(JSON.parse(raw)).capabilities ?? {},
  raw: Buffer.from(raw),
});

/** What came of a check: nothing, or status, code and message. */
const verdict = (problem: ProxyError | undefined) => (problem === undefined ? undefined : [problem.status, problem.toRpc().code, problem.message]);
const mismatch = (detail: string) => [400, -32020, `Header mismatch: ${detail}`];

test('the envelope of a request is its capabilities and its log level', () => {
  const version = `"${META.protocolVersion}":"${VERSION}"`;
  const capabilities = `"${META.clientCapabilities}":`;
  const cases: [meta: string, expected: unknown][] = [
    [`${version},${capabilities}{}`, { clientCapabilities: {}, logLevel: undefined }],
    [`${capabilities}{"roots":{},"x":"ż"},"${META.logLevel}":"debug",${version}`, { clientCapabilities: { roots: {}, x: 'ż' }, logLevel: 0 }],
    [`${version},${capabilities}{},"${META.logLevel}":"emergency","${META.clientInfo}":7`, { clientCapabilities: {}, logLevel: 7 }],
    ['"progressToken":1', [400, -32602, `Missing _meta: ${META.protocolVersion}, ${META.clientCapabilities}`]],
    [version, [400, -32602, `Missing _meta: ${META.clientCapabilities}`]],
    [`${capabilities}{}`, [400, -32602, `Missing _meta: ${META.protocolVersion}`]],
    ...['null', '[]', '"x"', '1', 'true'].map((value): [string, unknown] => [`${version},${capabilities}${value}`, [400, -32602, `Invalid _meta: ${META.clientCapabilities} must be an object`]]),
    ...['null', '"loud"', '"Debug"', '""', '1', '{}'].map((level): [string, unknown] => [`${version},${capabilities}{},"${META.logLevel}":${level}`, [400, -32602, `Invalid _meta: ${META.logLevel} is no log level`]]),
  ];
  for (const [meta, expected] of cases) {
    const got = readEnvelope(withMeta(meta));
    assert.deepEqual(got instanceof ProxyError ? verdict(got) : got, expected, meta);
  }
  assert.ok(readEnvelope(request('{"jsonrpc":"2.0","id":1,"method":"m"}')) instanceof ProxyError);
});

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

test('a method that is not there is told before the start, after it, or by the child', () => {
  for (const method of ['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe', 'tasks/list', 'tasks/result']) assert.equal(isLegacyOnly(method), true, method);
  const modern = ['server/discover', 'tools/list', 'tools/call', 'prompts/list', 'prompts/get', 'resources/list', 'resources/read', 'resources/templates/list'];
  const others = [...modern, 'completion/complete', 'subscriptions/listen', 'tasks/get', 'tasks/update', 'tasks/cancel', 'vendor/method', 'constructor', ''];
  for (const method of others) assert.equal(isLegacyOnly(method), false, method);

  const having = (capabilities: string, era: 'legacy' | 'modern' = 'modern', revision?: string) => profile(era, `{"capabilities":${capabilities}}`, revision);
  for (const family of ['tools', 'prompts', 'resources']) {
    for (const method of [`${family}/list`, `${family}/vendor`]) {
      assert.equal(lacksCapability(method, having(`{"${family}":{}}`)), false);
      for (const none of ['{}', `{"${family}":null}`, `{"${family}":true}`]) assert.equal(lacksCapability(method, having(none)), true, none);
    }
  }
  const completing: [Profile, boolean][] = [
    [having('{"completions":{}}'), false],
    [having('{}'), true],
    [having('{}', 'legacy', '2025-03-26'), true],
    [having('{}', 'legacy', '2024-11-05'), false], // the capability did not exist yet
  ];
  for (const [child, lacks] of completing) assert.equal(lacksCapability('completion/complete', child), lacks);
  assert.equal(lacksCapability('tasks/get', having('{"tasks":{}}', 'legacy')), true);
  assert.equal(lacksCapability('tasks/get', having('{}')), false);
  for (const method of ['server/discover', 'subscriptions/listen', 'vendor/method', 'toolsx/list', 'tools']) assert.equal(lacksCapability(method, having('{}')), false, method);
  assert.deepEqual(verdict(methodNotFound('x/y', 404)), [404, -32601, 'Method not found: x/y']);
});

const TYPE = '"resultType":"complete"';
const STAMP = `"_meta":{"${META.serverInfo}":${INFO}}`;

test('a result gets what a modern one has, and keeps what it has', () => {
  const info = `"${META.serverInfo}"`;
  const cache = '"ttlMs":0,"cacheScope":"private"';
  const cases: [method: string, result: string, expected: string][] = [
    ['tools/call', '{}', `{${TYPE},${STAMP}}`],
    ['tools/call', '{"content":[]}', `{${TYPE},${STAMP},"content":[]}`],
    ['tools/call', '{"resultType":"complete","ttlMs":-1}', `{${STAMP},"resultType":"complete","ttlMs":-1}`],
    ['tools/call', '{"resultType":"input_required","requestState":"x"}', `{${STAMP},"resultType":"input_required","requestState":"x"}`],
    ['tools/call', '{"resultType":"task"}', `{${STAMP},"resultType":"task"}`],
    ['tools/call', '{"resultType":null}', `{${STAMP},${TYPE}}`],
    ['x/y', `{"_meta":{},${TYPE}}`, `{${STAMP},${TYPE}}`],
    ['x/y', `{${TYPE},"_meta":{"a":9007199254740993}}`, `{${TYPE},"_meta":{${info}:${INFO},"a":9007199254740993}}`],
    ['x/y', `{${TYPE},"_meta":{${info}:{"name":"own"}}}`, `{${TYPE},"_meta":{${info}:{"name":"own"}}}`],
    ...['null', '"x"', '[]', '1'].map((bad): [string, string, string] => ['x/y', `{${TYPE},"_meta":{${info}:${bad},"a":1}}`, `{${TYPE},"_meta":{${info}:${INFO},"a":1}}`]),
    ...['null', '"x"', '[]', '1', '[{}]'].map((bad): [string, string, string] => ['x/y', `{${TYPE},"_meta":${bad},"a":1}`, `{${TYPE},${STAMP},"a":1}`]),
    ...['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'resources/read'].flatMap((method): [string, string, string][] => [
      [method, '{"nextCursor":"c"}', `{${TYPE},${cache},${STAMP},"nextCursor":"c"}`],
      [method, '{"ttlMs":60000,"cacheScope":"public"}', `{${TYPE},${STAMP},"ttlMs":60000,"cacheScope":"public"}`],
      [method, '{"resultType":"input_required"}', `{${STAMP},"resultType":"input_required"}`],
      [method, '{"resultType":7}', `{${cache},${STAMP},${TYPE}}`],
      ...['-1', '1.5', '"5"', 'null', '1e400', '[]'].map((ttl): [string, string, string] => [method, `{"ttlMs":${ttl},"cacheScope":"private"}`, `{${TYPE},${STAMP},${cache}}`]),
      ...['"Public"', '""', 'null', '{}'].map((scope): [string, string, string] => [method, `{"ttlMs":0,"cacheScope":${scope}}`, `{${TYPE},${STAMP},${cache}}`]),
    ]),
    ['server/discover', '{"supportedVersions":["2025-11-25","2026-07-28"]}', `{${TYPE},${cache},${STAMP},"supportedVersions":["2026-07-28"]}`],
  ];
  for (const [method, result, expected] of cases) {
    for (const space of SPACES) {
      const answer = (text: string) => `{"jsonrpc":"2.0","id":1,"result":${space}${text}${space}}`;
      assert.equal(stampResult(Buffer.from(answer(result)), method, Buffer.from(INFO)).toString(), answer(expected), `${method} ${result}`);
      assert.equal(stampResult(Buffer.from(answer(expected)), method, Buffer.from(INFO)).toString(), answer(expected)); // once is enough
    }
  }
});

test('without an identity none is made up, and what is no result passes as it came', () => {
  const stamped = stampResult(Buffer.from('{"id":1,"result":{"_meta":{"a":1}},"jsonrpc":"2.0"}'), 'x/y', undefined);
  assert.equal(stamped.toString(), `{"id":1,"result":{${TYPE},"_meta":{"a":1}},"jsonrpc":"2.0"}`);
  for (const rest of ['"error":{"code":1,"message":"m"}', '"result":null', '"result":[]', '"result":"{}"', '"result":1']) {
    const answer = Buffer.from(`{"jsonrpc":"2.0","id":1,${rest}}`);
    assert.equal(stampResult(answer, 'tools/list', Buffer.from(INFO)), answer, rest);
  }
  for (const nonsense of ['', '{', '{"result":{', '{"result":{"_meta":{', '[]', 'x']) stampResult(Buffer.from(nonsense), 'tools/list', Buffer.from(INFO));
});

test('a child is known by the name that it gives, each era in its place', () => {
  const told = (era: 'legacy' | 'modern', raw: string) => serverInfoOf(profile(era, raw))?.toString();
  const meta = (info: string) => `{"capabilities":{},"_meta":{"${META.serverInfo}":${info}}}`;
  assert.equal(told('legacy', `{"serverInfo":${INFO},"_meta":{}}`), INFO);
  assert.equal(told('modern', meta(INFO)), INFO);
  assert.equal(told('modern', `{"serverInfo":${INFO}}`), undefined);
  assert.equal(told('legacy', meta(INFO)), undefined);
  for (const bad of ['null', '"x"', '{}', '{"name":"x"}', '{"name":1,"version":"1"}', '[]']) {
    assert.equal(told('legacy', `{"serverInfo":${bad}}`), undefined, bad);
    assert.equal(told('modern', meta(bad)), undefined, bad);
  }
});

test('every child can be discovered: a modern one as it says, a legacy one by what it said at initialize', () => {
  const discovered = (era: 'legacy' | 'modern', raw: string) => JSON.parse(discoverResult(profile(era, raw)).toString()) as unknown;
  const common = { resultType: 'complete', ttlMs: 0, cacheScope: 'private', supportedVersions: [VERSION] };
  const identity = { [META.serverInfo]: JSON.parse(INFO) as unknown };
  const capabilities = { tools: { listChanged: true }, logging: {}, resources: { subscribe: true }, experimental: { tasks: {} } };
  assert.deepEqual(
    discovered('legacy', JSON.stringify({ protocolVersion: '2025-06-18', capabilities: { ...capabilities, tasks: {} }, serverInfo: JSON.parse(INFO), instructions: 'ż', _meta: { a: 1 } })),
    { ...common, capabilities, instructions: 'ż', _meta: { a: 1, ...identity } },
  );
  assert.deepEqual(discovered('legacy', `{"protocolVersion":"2024-11-05"}`), { ...common, capabilities: {} });
  assert.deepEqual(discovered('legacy', `{"protocolVersion":"2024-11-05","serverInfo":7,"capabilities":[]}`), { ...common, capabilities: {} });
  const own = { resultType: 'complete', ttlMs: 5, cacheScope: 'public', capabilities: { extensions: { 'io.modelcontextprotocol/tasks': {} } }, _meta: identity };
  assert.deepEqual(discovered('modern', JSON.stringify({ supportedVersions: ['2025-11-25', VERSION], ...own })), { ...own, supportedVersions: [VERSION] });
  assert.deepEqual(discovered('modern', `{"supportedVersions":["${VERSION}"],"capabilities":{}}`), { ...common, capabilities: {} });
});

test("a child's error is put in the words of the modern revision, with its HTTP status", () => {
  const error = (code: string, more = '') => `{"code":${code},"message":"ż"${more}}`;
  const answer = (text: string) => `{"jsonrpc":"2.0","id":"1","error":${text}}`;
  const wrapped = (text: string) =>
    answer(`{"code":-32603,"message":"The server answered with an error of another revision of MCP","data":{"source":"mcp-proxy","reason":"bad_answer","originalError":${text}}}`);
  const same = [-32700, -32600, -32602, -32603, -32000, -32001, -32019, -32100, 1, 0];
  const reserved = [-32020, -32021, -32022, -32023, -32042, -32050, -32099];
  const cases: [era: 'legacy' | 'modern', code: string, status: number, to: (text: string) => string][] = [
    ...same.flatMap((code) => (['legacy', 'modern'] as const).map((era): [typeof era, string, number, typeof answer] => [era, `${code}`, 200, answer])),
    ...reserved.map((code): ['legacy', string, number, typeof wrapped] => ['legacy', `${code}`, 200, wrapped]),
    ['legacy', '-32002', 200, (text) => answer(text.replace('-32002', '-32602'))],
    ['modern', '-32002', 200, answer],
    ['modern', '-32020', 200, wrapped],
    ['modern', '-32022', 200, wrapped],
    ['modern', '-32021', 400, answer],
    ...[-32023, -32042, -32099].map((code): ['modern', string, number, typeof answer] => ['modern', `${code}`, 200, answer]),
    ['modern', '"x"', 200, answer],
    ['legacy', 'null', 200, answer],
  ];
  for (const [era, code, status, to] of cases) {
    for (const more of ['', ',"data":{"requiredCapabilities":{"x":9007199254740993},"code":-32002}', ',"data":null']) {
      const got = modernFault(Buffer.from(answer(error(code, more))), era, 'tools/call');
      assert.ok(got?.is === 'error', `${era} ${code}`);
      assert.deepEqual([got.status, got.answer.toString()], [status, to(error(code, more))], `${era} ${code}`);
    }
  }
  const missing = answer(error('-32601'));
  for (const era of ['legacy', 'modern'] as const) {
    for (const method of ['tools/call', 'prompts/get', 'resources/read', 'completion/complete', 'tools/list', 'vendor/x', 'server/discover', 'tasks/get']) {
      const got = modernFault(Buffer.from(missing), era, method);
      assert.ok(got?.is === 'error');
      assert.equal(got.status, ['tools/call', 'prompts/get', 'resources/read', 'completion/complete'].includes(method) ? 200 : 404, method);
      assert.equal(got.answer.toString(), missing);
    }
  }
  assert.equal(modernFault(Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"error":{"code":-32002}}}'), 'legacy', 'x'), undefined);
  assert.deepEqual(modernFault(Buffer.from('{"error":1}'), 'legacy', 'x')?.is, 'error');
});

test('a legacy child that wants URLs opened has its client asked for them', () => {
  const fault = (data: string) => modernFault(Buffer.from(`{"jsonrpc":"2.0","id":1,"error":{"code":-32042,"message":"m","data":${data}}}`), 'legacy', 'tools/call');
  const got = fault('{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://a","message":"ż"}, {"message":"n","mode":"url","url":"https://b","x":1e400}]}');
  assert.ok(got?.is === 'ask');
  assert.equal(
    inputRequired(got.requests, undefined).toString(),
    '{"resultType":"input_required","inputRequests":{"elicitation-1":{"method":"elicitation/create","params":{"mode":"url","url":"https://a","message":"ż"}},' +
      '"elicitation-2":{"method":"elicitation/create","params":{"message":"n","mode":"url","url":"https://b","x":1e400}}}}',
  );
  const modern = Buffer.from('{"error":{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url","url":"u","message":"m"}]}}}');
  assert.deepEqual(modernFault(modern, 'modern', 'tools/call'), { is: 'error', answer: modern, status: 200 });
  for (const data of ['null', '{}', '[]', '{"elicitations":null}', '{"elicitations":[]}', '{"elicitations":[1]}', '{"elicitations":[{"mode":"form","url":"u","message":"m"}]}', '{"elicitations":[{"mode":"url","url":"u"}]}']) {
    const wrong = fault(data);
    assert.ok(wrong?.is === 'error', data);
    assert.equal((JSON.parse(wrong.answer.toString()) as { error: { code: number } }).error.code, -32603);
  }
});

test('what a call needs is asked in one result, without what only a connection gives a meaning to', () => {
  const asked = (method: string, n: number, params?: string) => ({ key: inputKey(method, n), method, params: params === undefined ? undefined : Buffer.from(params) });
  const requests = [
    asked('elicitation/create', 1, '{"mode":"url","elicitationId":"e","_meta":{"progressToken":1,"io.modelcontextprotocol/related-task":{}},"url":"https://ż"}'),
    asked('sampling/createMessage', 2, '{ "elicitationId" : 7, "_meta" : { "progressToken":1, "traceparent":"t" } , "maxTokens":9007199254740993}'),
    asked('roots/list', 3),
    asked('elicitation/create', 4, '{"elicitationId":"e"}'),
  ];
  assert.equal(
    inputRequired(requests, 'st"ż').toString(),
    '{"resultType":"input_required","inputRequests":{"elicitation-1":{"method":"elicitation/create","params":{"mode":"url","url":"https://ż"}},' +
      '"sampling-2":{"method":"sampling/createMessage","params":{ "elicitationId" : 7, "_meta" : {"traceparent":"t" } , "maxTokens":9007199254740993}},' +
      '"roots-3":{"method":"roots/list"},"elicitation-4":{"method":"elicitation/create","params":{}}},"requestState":"st\\"ż"}',
  );
});

test("a client's answer to an input request is looked at before a child gets it", () => {
  const text = { type: 'text', text: 'x' };
  const cases: [method: string, good: unknown[], bad: unknown[]][] = [
    [
      'elicitation/create',
      [{ action: 'accept' }, { action: 'decline', content: null }, { action: 'cancel', x: 1 }, { action: 'accept', content: { a: 's', b: 1, c: true, d: ['x'], e: [] } }],
      [{}, { action: 'Accept' }, { action: 1 }, { action: 'accept', content: 'x' }, { action: 'accept', content: [] }, ...[null, {}, [1], [['x']]].map((a) => ({ action: 'accept', content: { a } }))],
    ],
    [
      'sampling/createMessage',
      [{ role: 'assistant', model: 'm', content: text }, { role: 'user', model: '', content: [text, { type: 'tool_use' }], stopReason: 'endTurn' }],
      [{}, { role: 'system', model: 'm', content: text }, { role: 'user', content: text }, ...[undefined, null, 'x', [1], [text, {}]].map((content) => ({ role: 'user', model: 'm', content }))],
    ],
    ['roots/list', [{ roots: [] }, { roots: [{ uri: 'file:///a', name: 'a' }] }], [{}, { roots: {} }, { roots: [1] }, { roots: [{}] }, { roots: [{ uri: 'http://a' }] }]],
  ];
  for (const [method, good, bad] of cases) {
    for (const value of good) assert.equal(inputResponseProblem(method, value), undefined, JSON.stringify(value));
    for (const value of [...bad, undefined, null, 'accept', []]) assert.equal(typeof inputResponseProblem(method, value), 'string', `${method} ${JSON.stringify(value)}`);
  }
});

test('a retry is known as the call that it repeats, however it is written, and no other call is', () => {
  const params = '"name":"t","arguments":{"a":1,"b":[1,{"c":"ż","d":null}]}';
  const key = retryKey(asking('tools/call', params));
  const equal = [
    `${params},"_meta":{"progressToken":7}`,
    `"requestState":"x","inputResponses":{"a":{}},${params}`,
    '"arguments":{ "b":[1.0,{"d":null,"c":"\\u017c"}], "a":1e0 },"name":"\\u0074"',
  ];
  for (const each of equal) assert.equal(retryKey(asking('tools/call', each)), key, each);
  const other = [
    '', '"name":"t"', '"name":"u","arguments":{"a":1,"b":[1,{"c":"ż","d":null}]}', '"name":"t","arguments":{"a":2,"b":[1,{"c":"ż","d":null}]}',
    '"name":"t","arguments":{"a":1,"b":[{"c":"ż","d":null},1]}', '"name":"t","arguments":{"a":1,"b":[1,{"c":"ż"}]}', `${params},"x":1`,
    '"name":"t","arguments":{"a":1,"b":[1,{"c":"ż","d":null}],"_meta":1}', `${params},"__proto__":{}`,
  ];
  const keys = [key, retryKey(asking('prompts/get', params)), ...other.map((each) => retryKey(asking('tools/call', each)))];
  assert.equal(new Set(keys).size, keys.length);
  assert.equal(retryKey(request('{"jsonrpc":"2.0","id":1,"method":"x"}')), retryKey(request('{"jsonrpc":"2.0","id":2,"method":"x","params":{"_meta":{}}}')));

  const deep = `"a":${nested(100_000, '[', ']')},"b":1`;
  assert.equal(retryKey(asking('tools/call', `"b":1,"requestState":"x",${deep.replace(',"b":1', '')}`)), retryKey(asking('tools/call', deep)));
  assert.notEqual(retryKey(asking('tools/call', deep.replace('"b":1', '"b":2'))), retryKey(asking('tools/call', deep)));
});
