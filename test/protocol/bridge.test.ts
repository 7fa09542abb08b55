import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProxyError } from '../../src/base/errors.ts';
import { envelopeEdits, envelopeOf, initializeResultOf, legacyResult, modernCapabilities, retryEdits } from '../../src/protocol/bridge.ts';
import type { Profile } from '../../src/protocol/legacy.ts';
import { META } from '../../src/protocol/methods.ts';
import { splice } from '../../src/wire/envelope.ts';
import { SPACES } from '../wire/nasty.ts';
import { request } from './requests.ts';

const INFO = { name: 'żółw', version: '1.0' };
const KEYS = [META.protocolVersion, META.clientInfo, META.clientCapabilities, META.logLevel];

const sent = (text: string, envelope: string) => splice(Buffer.from(text), envelopeEdits(request(text), envelope)).toString();

test('the envelope says who the client is, what it can, and which messages it wants', () => {
  const read = (text: string) => JSON.parse(`{${Buffer.from(text, 'latin1').toString()}}`) as unknown;
  const identity = { clientInfo: INFO, clientCapabilities: { roots: {} }, logLevel: undefined };
  const expected = { [META.protocolVersion]: '2026-07-28', [META.clientInfo]: INFO, [META.clientCapabilities]: { roots: {} } };
  assert.deepEqual(read(envelopeOf(identity)), expected);
  assert.deepEqual(read(envelopeOf({ ...identity, logLevel: 'info' })), { ...expected, [META.logLevel]: 'info' });
  assert.deepEqual(read(envelopeOf({ clientInfo: undefined, clientCapabilities: {}, logLevel: undefined })), { [META.protocolVersion]: '2026-07-28', [META.clientCapabilities]: {} });
});

test("a legacy client's request gets its envelope, whatever it has there already: every choice of members", () => {
  const envelope = envelopeOf({ clientInfo: INFO, clientCapabilities: {}, logLevel: 'debug' });
  const utf8 = Buffer.from(envelope, 'latin1').toString();
  const inMeta = [`"${META.protocolVersion}":"1"`, '"progressToken":9007199254740993', `"io.modelcontextprotocol\\/log\\u004cevel":{"a":[1,"}"]}`, '"ż":"\\u0030"', `"${META.serverInfo}":1`];
  const inParams = ['"name":"x"', '"requestState":"own"', '"arguments":{"_meta":1e400}'];
  for (const space of ['', ' ', '\n']) {
    for (const params of subsets(inParams)) {
      for (const meta of ['absent', 'null', '[]', '7', ...subsets(inMeta)]) {
        const at = params.length % 2;
        const list = [...params];
        if (meta !== 'absent') list.splice(at, 0, `"_meta":${space}${typeof meta === 'string' ? meta : `{${space}${meta.join(`${space},${space}`)}${space}}`}`);
        const text = `{"jsonrpc":"2.0","method":"m","params":${space}{${list.join(`${space},${space}`)}${space}}${space},"id":1}`;
        const kept = Array.isArray(meta) ? meta.filter((member) => !/protocolVersion|u004c/.test(member)) : [];
        const got = sent(text, envelope).replaceAll(/[ \n](?=[^"]*("[^"]*"[^"]*)*$)/g, '');
        const whole = `"_meta":{${[utf8, ...kept].join()}}`;
        const expected = [...params];
        expected.splice(Array.isArray(meta) ? at : 0, 0, whole);
        assert.equal(got, `{"jsonrpc":"2.0","method":"m","params":{${expected}},"id":1}`, text);
      }
    }
  }
  assert.equal(sent('{"jsonrpc":"2.0","id":1,"method":"m"}', envelope), `{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{${utf8}}}}`);
});

test('a call is sent again with the results and the state as they were written', () => {
  const answer = Buffer.from('{"action":"accept","content":{"a":"ż","b":9007199254740993}}');
  const state = Buffer.from('"\\u0041ż"');
  const responses = `"inputResponses":{"k\\"ż":${answer},"l":{}}`;
  type Again = readonly [results: [string, Buffer][], requestState: Buffer | undefined];
  const both: Again = [[['k"ż', answer], ['l', Buffer.from('{}')]], state];
  const cases: [params: string, again: Again, expected: string][] = [
    ['"name":"t"', both, `"_meta":{E},${responses},"requestState":"\\u0041ż","name":"t"`],
    ['"name":"t"', [both[0], undefined], `"_meta":{E},${responses},"name":"t"`],
    ['"name":"t"', [[], state], '"_meta":{E},"requestState":"\\u0041ż","name":"t"'],
    ['', both, `"_meta":{E},${responses},"requestState":"\\u0041ż"`],
    // What belonged to the round before is gone.
    ['"requestState":"old","inputResponses":{"a":1}', [[], state], '"_meta":{E},"requestState":"\\u0041ż"'],
    ['"requestState":"old","_meta":{},"inputResponses":{}', both, `${responses},"requestState":"\\u0041ż","_meta":{E}`],
    ['"a":1,"requestState":"old","b":2,"_meta":{"progressToken":1}', [both[0], undefined], `${responses},"a":1,"b":2,"_meta":{E,"progressToken":1}`],
  ];
  /** The call again, and on its way to the child. */
  const again = (text: string, what: Again) => sent(splice(Buffer.from(text), retryEdits(request(text), ...what)).toString(), 'E');
  for (const [params, what, expected] of cases) {
    assert.equal(again(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{${params}}}`, what), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{${expected}}}`);
  }
  assert.equal(again('{"jsonrpc":"2.0","id":1,"method":"m"}', [[], state]), '{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{E},"requestState":"\\u0041ż"}}');
});

test('edits of the id and of the progress token go together with those of the envelope', () => {
  const text = `{"id":1,"jsonrpc":"2.0","method":"m","params":{"_meta":{"${KEYS[0]}":1,"progressToken":"t","${KEYS[1]}":2}}}`;
  const message = request(text);
  const id = message.layout.top.find(({ name }) => name === 'id')!;
  const token = message.layout.meta.find(({ name }) => name === 'progressToken')!;
  const edits = [{ at: id.at, end: id.end, text: '41' }, { at: token.at, end: token.end, text: '42' }, ...envelopeEdits(message, 'E')];
  assert.equal(splice(message.raw, edits).toString(), '{"id":41,"jsonrpc":"2.0","method":"m","params":{"_meta":{E,"progressToken":42}}}');
});

test('the capabilities of a legacy client are those of a modern one, but for tasks and changes of roots', () => {
  const cases: [legacy: unknown, modern: unknown][] = [
    [{}, {}],
    [{ roots: { listChanged: true }, sampling: { tools: {} }, elicitation: {}, experimental: { x: {} } }, { roots: {}, sampling: { tools: {} }, elicitation: {}, experimental: { x: {} } }],
    [{ tasks: { list: {} }, elicitation: { form: {}, url: {} }, vendor: 1 }, { elicitation: { form: {}, url: {} }, vendor: 1 }],
    [{ extensions: { 'io.modelcontextprotocol/tasks': {}, 'io.modelcontextprotocol/ui': { a: 1 } } }, { extensions: { 'io.modelcontextprotocol/ui': { a: 1 } } }],
    [{ roots: null, extensions: 7 }, {}],
    ...[undefined, null, 'x', [], 1].map((each): [unknown, unknown] => [each, {}]),
  ];
  for (const [legacy, modern] of cases) assert.deepEqual(modernCapabilities(legacy), modern);
});

test('a legacy client is told at initialize what a modern child says when it is discovered', () => {
  const initialized = (raw: string, requested: unknown) => {
    const profile: Profile = { era: 'modern', revision: '2026-07-28', capabilities: {}, raw: Buffer.from(raw) };
    return initializeResultOf(profile, requested, 'ż"s').toString();
  };
  const caps = (text: string) => `{"supportedVersions":[],"capabilities":${text}}`;
  const rest = '"serverInfo":{"name":"ż\\"s","version":"0"}';
  assert.equal(
    initialized(`{"ttlMs":1,"capabilities":{"tools":{ "listChanged":true},"resources":{"subscribe":true}},"instructions":"\\u017c","_meta":{"${META.serverInfo}":{"version":"1","name":"n"}}}`, '2025-06-18'),
    '{"protocolVersion":"2025-06-18","capabilities":{"tools":{ "listChanged":true},"resources":{"subscribe":true}},"serverInfo":{"version":"1","name":"n"},"instructions":"\\u017c"}',
  );
  for (const requested of ['2024-11-05', '2025-03-26', '2025-11-25']) assert.equal(initialized(caps('{}'), requested), `{"protocolVersion":"${requested}","capabilities":{},${rest}}`);
  const tasks = '"io.modelcontextprotocol/tasks":{"a":[1]}';
  const cases: [own: string, shown: string][] = [
    ['null', '{}'],
    ['{"tasks":{}}', '{}'],
    [`{"extensions":{${tasks}}}`, '{}'],
    [`{"extensions":{},"tasks":1,"a":2}`, '{"extensions":{},"a":2}'],
    [`{"tools":{},"extensions":{"x":1,${tasks},"y":2},"tasks":{},"logging":{}}`, '{"tools":{},"extensions":{"x":1,"y":2},"logging":{}}'],
    [`{"extensions":{${tasks}},"tools":{}}`, '{"tools":{}}'],
  ];
  for (const requested of ['2026-07-28', '1999-01-01', undefined, 7]) {
    for (const [own, shown] of cases) assert.equal(initialized(caps(own), requested), `{"protocolVersion":"2025-11-25","capabilities":${shown},${rest}}`, own);
  }
  assert.equal(initialized('{}', undefined), `{"protocolVersion":"2025-11-25","capabilities":{},${rest}}`);
});

const answer = (result: string) => `{"jsonrpc":"2.0","id":1,"result":${result}}`;

test('a result loses what only a modern client knows, and nothing else', () => {
  const info = `"${META.serverInfo}":{"name":"n"}`;
  const cases: [method: string, modern: string, legacy: string][] = [
    ['x/y', '{}', '{}'],
    ['x/y', '{"resultType":"complete"}', '{}'],
    ['x/y', `{"resultType":"complete","_meta":{${info}}}`, '{}'],
    ['x/y', `{"a":1,"resultType":"complet\\u0065","_meta":{${info},"x":9007199254740993},"b":2}`, '{"a":1,"_meta":{"x":9007199254740993},"b":2}'],
    ['x/y', `{"_meta":{},"a":1}`, '{"_meta":{},"a":1}'],
    ['x/y', `{"_meta":null,"a":1}`, '{"_meta":null,"a":1}'],
    ['x/y', `{"_meta":{${info}},"ttlMs":7,"cacheScope":"public"}`, '{"ttlMs":7,"cacheScope":"public"}'], // no hint of the protocol here
    ...['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'resources/read', 'server/discover'].map((method): [string, string, string] => [
      method, `{"cacheScope":"public","nextCursor":"c","resultType":"complete","ttlMs":5,"_meta":{${info}}}`, '{"nextCursor":"c"}',
    ]),
  ];
  for (const [method, modern, legacy] of cases) {
    for (const space of SPACES) {
      const got = legacyResult(Buffer.from(answer(space + modern + space)), method);
      assert.equal(got.toString(), answer(space + legacy + space), `${method} ${modern}`);
    }
  }
  const many = Array.from({ length: 10_001 }, (_, k) => `"k${k}":${k}`).join();
  for (const own of [`{${many},"resultType":"complete"}`, `{"resultType":"complete",${many}}`]) {
    assert.equal(legacyResult(Buffer.from(answer(own)), 'x/y').toString(), answer(own)); // more than is looked at stays whole
  }
  for (const nonsense of ['', '{', '{"result":{', '{"result":{"resultType":"complete"', '{"result":{"_meta":{', '[]']) legacyResult(Buffer.from(nonsense), 'tools/list');
});

test('a result of any other type is one that a legacy client cannot take', () => {
  for (const [type, words] of [['"task"', 'Unexpected task result'], ['"input_required"', 'Unexpected input_required result'], ['null', 'Unexpected kind of result'], ['{}', 'Unexpected kind of result']] as const) {
    const got = legacyResult(Buffer.from(answer(`{"resultType":${type}}`)), 'tools/call');
    assert.ok(got instanceof ProxyError);
    assert.deepEqual([got.status, got.toRpc().code, got.message], [200, -32603, words]);
  }
});

test('tools that would make a legacy client refuse the list are mended, and the others stay as they were written', () => {
  const fine = [
    '{"name":"a","inputSchema":{"type":"object"}}',
    '{"name":"a","inputSchema":{"type":"object","properties":{"x":{"const":true},"y":{ "type":"string" }}},"outputSchema":{"type":"object"}}',
    '{"outputSchema":{"properties":{"true":{}},"type":"obj\\u0065ct"},"name":"a"}',
    '{"name":"a","outputSchema":{"type":"object","properties":{},"items":true}}',
    '{"name":"a","inputSchema":{"properties":{"x":{"properties":{"y":true}},"z":"trueish","n":null}}}',
    '7',
    '{}',
  ];
  const mended: [tool: string, to: string][] = [
    ...['"array"', '["object"]', '["object","null"]', 'null', '{}'].map((type): [string, string] => [`{"name":"a","outputSchema":{"type":${type}},"b":1e400}`, '{"name":"a","b":1e400}']),
    ...['{"anyOf":[{"type":"object"}]}', 'true', '[]', '{"type":"object","properties":[]}', '{"type":"object","properties":null}', '{"properties":{"a":{},"b":true},"type":"object"}', '{"type":"object","properties":{"a":[]}}'].map(
      (schema): [string, string] => [`{"outputSchema":${schema},"name":"a"}`, '{"name":"a"}'],
    ),
    ['{"outputSchema":{}}', '{}'],
    ['{"inputSchema":{"type":"object","properties":{"a":true,"b":false,"c":{"x":true}}},"outputSchema":{}}', '{"inputSchema":{"type":"object","properties":{"a":{},"b":{"not":{}},"c":{"x":true}}}}'],
  ];
  const list = (tools: readonly string[]) => answer(`{"resultType":"complete","tools":[ ${tools.join(' , ')} ],"ttlMs":0}`);
  const want = (tools: readonly string[]) => answer(`{"tools":[ ${tools.join(' , ')} ]}`);
  const before = [...fine, ...mended.map(([tool]) => tool)];
  assert.equal(legacyResult(Buffer.from(list(before)), 'tools/list').toString(), want([...fine, ...mended.map(([, to]) => to)]));
  assert.equal(legacyResult(Buffer.from(list(before)), 'vendor/list').toString(), answer(`{"tools":[ ${before.join(' , ')} ],"ttlMs":0}`));
  for (const tools of ['null', '{}', '"x"', '[]']) assert.equal(legacyResult(Buffer.from(answer(`{"tools":${tools}}`)), 'tools/list').toString(), answer(`{"tools":${tools}}`));
});

test('structured content that is no object becomes text, unless it is there as text', () => {
  const block = (text: string) => `{"type":"text","text":${JSON.stringify(text)}}`;
  const image = '{"type":"image","data":"[1]"}';
  const cases: [modern: string, legacy: string][] = [
    ['{"structuredContent":{"a":[1]},"content":[]}', '{"structuredContent":{"a":[1]},"content":[]}'],
    ...['[]', '[1,"ż\\n"]', '"x"', '9007199254740993', '1e400', 'true', 'null'].flatMap((json): [string, string][] => [
      [`{"content":[],"structuredContent":${json}}`, `{"content":[${block(json)}]}`],
      [`{"structuredContent":${json},"content":[${image}],"isError":false}`, `{"content":[${image},${block(json)}],"isError":false}`],
      [`{"structuredContent":${json},"content":[${block('see above')}]}`, `{"content":[${block('see above')},${block(json)}]}`],
      [`{"content":[${image},${block(` ${json}\n`)}],"structuredContent":${json}}`, `{"content":[${image},${block(` ${json}\n`)}]}`],
      [`{"structuredContent":${json},"resultType":"complete"}`, `{"content":[${block(json)}]}`],
      [`{"a":1,"structuredContent":${json}}`, `{"content":[${block(json)}],"a":1}`],
      [`{"content":null,"structuredContent":${json}}`, `{"content":[${block(json)}]}`],
    ]),
    [`{"structuredContent":[1, {"a" : 2}],"content":[${block('[\n  1,\n  {\n    "a": 2\n  }\n]')}]}`, `{"content":[${block('[\n  1,\n  {\n    "a": 2\n  }\n]')}]}`],
    [`{"structuredContent":"say \\"x\\"","content":[${block('say "x"')}]}`, `{"content":[${block('say "x"')}]}`],
    [`{"structuredContent":[],"content":[7,{"text":7},${image}]}`, `{"content":[7,{"text":7},${image},${block('[]')}]}`],
  ];
  for (const [modern, legacy] of cases) {
    const got = legacyResult(Buffer.from(answer(modern)), 'tools/call').toString();
    assert.equal(got, answer(legacy), modern);
    JSON.parse(got);
  }
  const elsewhere = answer('{"structuredContent":[]}');
  assert.equal(legacyResult(Buffer.from(elsewhere), 'prompts/get').toString(), elsewhere);
});

test('errors that only a modern client can mend are wrapped, and all others pass', () => {
  const error = (code: string) => `{"code":${code},"message":"ż","data":{"requiredCapabilities":{"sampling":{}}}}`;
  const response = (text: string) => `{"jsonrpc":"2.0","id":1,"error":${text}}`;
  for (const code of ['-32020', '-32021', '-32022']) {
    const got = JSON.parse(legacyResult(Buffer.from(response(error(code))), 'tools/call').toString()) as { error: { code: number; data: object } };
    assert.equal(got.error.code, -32603);
    assert.deepEqual(got.error.data, { source: 'mcp-proxy', reason: 'bad_answer', originalError: JSON.parse(error(code)) });
  }
  for (const code of ['-32602', '-32601', '-32002', '-32042', '-32099', '1', '"-32021"', 'null']) {
    const raw = Buffer.from(response(error(code)));
    assert.equal(legacyResult(raw, 'tools/call'), raw);
  }
});

function subsets<T>(list: readonly T[]): T[][] {
  return Array.from({ length: 2 ** list.length }, (_, mask) => list.filter((_, k) => mask & (1 << k)));
}
