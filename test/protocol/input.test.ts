import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProxyError } from '../../src/base/errors.ts';
import { inputKey, inputRequired, inputResponseProblem, readInputRequired, retryKey, withElicitationId } from '../../src/protocol/input.ts';
import { nested } from '../wire/nasty.ts';
import { asking, request } from './requests.ts';

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

test('what a child needs before it goes on is read where it stands', () => {
  const read = (result: string) => {
    const got = readInputRequired(Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${result}}`));
    if (got === undefined || got instanceof ProxyError) return got?.toRpc().code;
    return [got.requestState?.toString(), ...got.inputRequests.map(({ key, method, params }) => [key, method, params?.toString()])];
  };
  const type = '"resultType":"input_required"';
  const roots = '{"method":"roots/list"}';
  const cases: [result: string, expected: unknown][] = [
    ['{"content":[]}', undefined],
    ['{"resultType":"complete","content":[{"type":"text","text":"input_required"}]}', undefined],
    ['{"resultType":"complete","x":"input_required"}', undefined],
    ['"input_required"', undefined],
    [`{${type},"requestState":"\\u0041ż"}`, ['"\\u0041ż"']],
    [`{${type},"requestState":"s","inputRequests":{}}`, ['"s"']],
    [`{"inputRequests":{ "k\\u0031ż" : {"params":{"mode":"form", "a":1e400},"method":"elicitation/create"} , "b":${roots}},${type}}`,
      [undefined, ['k1ż', 'elicitation/create', '{"mode":"form", "a":1e400}'], ['b', 'roots/list', undefined]]],
    [`{${type},"requestState":"","inputRequests":{"":{"method":"sampling/createMessage","params":{}}}}`, ['""', ['', 'sampling/createMessage', '{}']]],
    [`{${type}}`, -32603],
    [`{${type},"inputRequests":{}}`, -32603],
    ...['null', '7', '{}'].map((state): [string, unknown] => [`{${type},"inputRequests":{"a":${roots}},"requestState":${state}}`, -32603]),
    ...['null', '[]', '"x"', `{"a":${roots},"\\u0061":${roots}}`, '{"a":null}', '{"a":{}}', '{"a":{"method":7}}', '{"a":{"method":"tools/call"}}', '{"a":{"method":"roots/list","params":[]}}'].map(
      (asked): [string, unknown] => [`{${type},"requestState":"s","inputRequests":${asked}}`, -32603],
    ),
  ];
  for (const [result, expected] of cases) assert.deepEqual(read(result), expected, result);
  assert.equal(readInputRequired(Buffer.from('{"error":{"code":1,"message":"input_required","data":"input_required"}}')), undefined);
});

test('a URL that a legacy client is to open has an id, and nothing else gets one', () => {
  const cases: [params: string, expected: string][] = [
    ['{"mode":"url","url":"https://ż"}', '{"elicitationId":"e1","mode":"url","url":"https://ż"}'],
    ['{ "mode":"url"}', '{"elicitationId":"e1", "mode":"url"}'],
    ['{"mode":"url","elicitationId":"own"}', '{"mode":"url","elicitationId":"own"}'],
    ['{"mode":"form"}', '{"mode":"form"}'],
    ['{"message":"m"}', '{"message":"m"}'],
    ['{}', '{}'],
  ];
  for (const [params, expected] of cases) assert.equal(withElicitationId(Buffer.from(params), 'e1').toString(), expected);
});
