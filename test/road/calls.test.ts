// Calls there and back: ids, bytes, and what a child does not get to see.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { connectEra, FRONTS } from '../support/eras.ts';
import { post } from '../support/http.ts';
import { node, startProxy } from '../support/proxy.ts';
import { openSession } from '../support/session.ts';

const proxy = await startProxy({ after }, { x: node('server.mjs'), big: node('server.mjs'), alone: { ...node('server.mjs'), isolation: 'session' }, odd: node('reuses-ids.mjs'), chatty: node('talks-nonsense.mjs') });
const mcp = proxy.url('/x/mcp');
/** Where a claim of a revision in `_meta` decides nothing. */
const inline = proxy.url('/x/message');
const toolCall = (id: string, name: string, args: string, meta = ''): string =>
  `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}","arguments":${args}${meta}}}`;

// ---- ids

test('every id comes back as it was written, whatever its type and digits', async () => {
  const ids = ['1', '"1"', '0', '-1', '-0', '1.0', '1e2', '9007199254740993', '""', '"ż 🦊"', '"\\u0041"', '"a\\"b\\\\"', '"\\ud83e\\udd8a"', '"__proto__"', '"\\ud800"', '123456789012345678901234567890'];
  for (const id of ids) {
    const reply = await post(mcp, toolCall(id, 'echo', '{"a":1}'));
    assert.equal(reply.status, 200, id);
    assert.ok(reply.text.startsWith(`{"jsonrpc":"2.0","id":${id},"result":`), `${id}: ${reply.text}`);
  }
});

test('the ids 1 and "1" in flight at the same time are two calls, and each caller gets its own answer', async () => {
  const answers = await Promise.all(['1', '"1"', '1', '"1"'].map((id, k) => post(mcp, toolCall(id, 'echo', `{"k":${k}}`))));
  assert.deepEqual(answers.map((reply) => [reply.json().id, reply.json().result.structuredContent.k]), [[1, 0], ['1', 1], [1, 2], ['1', 3]]);
});

test('a hundred callers that use the same few ids at once get exactly their own answers', async () => {
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, k) => (await post(mcp, toolCall(String(k % 3), 'echo', `{"k":${k}}`))).json()),
  );
  assert.deepEqual(answers.map(({ id, result }) => [id, result.structuredContent.k]), answers.map((_, k) => [k % 3, k]));
});

test('the child sees integer ids, each of them once', async () => {
  await Promise.all([1, 1, '1', 2].map((id) => proxy.tool('x', 'echo', {}, { id })));
  const ids = (await proxy.tool('x', 'journal')).messages.flatMap(({ id, method }: any) => (method === undefined || id === undefined ? [] : id));
  assert.ok(ids.every(Number.isInteger));
  assert.equal(new Set(ids).size, ids.length);
});

test('a child that answers ids that nobody asked, or one twice, answers nobody else', async () => {
  for (const id of [1, '2', 3]) assert.deepEqual(await proxy.tool('odd', 'poke', {}, { id }), { text: 'right' });
});

// ---- bytes

test('numbers, key order and escapes of a result survive, wherever the child puts the id', async () => {
  for (const place of [0, 1, 2]) {
    const { text } = await proxy.call('x', 'tools/call', { name: 'unsafe', arguments: { place } }, { id: 'u' });
    const members = ['"jsonrpc":"2.0"', '"result":{"content":[],"structuredContent":{"integer":9007199254740993,"float":1e400,"id":-0.10,"2":2,"1":1}}'];
    members.splice(place, 0, '"id":"u"');
    assert.equal(text, `{${members.join(',')}}`);
  }
});

test('a request reaches the child as it was written, but for its id', async () => {
  const rest = '"method":"tools\/call","jsonrpc":"2.0","params":{"name":"echo", "arguments":{"integer":9007199254740993,"float":1e400,"b":1,"a":"\\u00e9\\/é","2":0.10,"1":-0}}}';
  assert.equal((await post(mcp, `{"id":"mine",${rest}`)).status, 200);
  const line = proxy.received('x').findLast((text) => text.endsWith(rest));
  assert.match(line ?? '', /^\{"id":\d+,/);
});

for (const unicode of [false, true]) {
  for (const bytes of [100, 16_383, 16_384, 16_385, 2 * 2 ** 20]) {
    test(`${bytes} bytes of ${unicode ? '3-byte characters' : 'ASCII'} go through in both directions`, async () => {
      const text = (await proxy.tool('big', 'big', { bytes, unicode })).content[0].text;
      assert.equal(Buffer.byteLength(text), bytes);
      const sent = unicode ? '€'.repeat(bytes / 3) : 'x'.repeat(bytes);
      assert.equal((await proxy.tool('big', 'echo', { sent }, { id: 'ż€' })).sent, sent);
    });
  }
}

test('an answer in a form that no serialiser would give it is found, small or large', async () => {
  for (const padding of ['', 'x'.repeat(20_000)]) {
    for (const form of [
      (result: string) => `  { "id" : $ID , "jsonrpc" : "2.0" , "result" : ${result} }  `,
      (result: string) => `{"result":${result},"id":$ID,"jsonrpc":"2.0"}`,
      (result: string) => `{"\\u0069d":$ID,"result":${result},"jsonrpc":"2.0"}`,
      (result: string) => `{"x":{"id":1},"jsonrpc":"2.0","result":${result},"id":$ID}`,
      (result: string) => `[{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":$ID,"result":${result}}]`,
    ]) {
      const line = form(`{"content":[],"padding":"${padding}\\"id\\":7"}`);
      const reply = await proxy.call('x', 'tools/call', { name: 'raw', arguments: { quiet: true, lines: [line] } }, { id: 'mine' });
      const { id, result } = reply.json();
      assert.deepEqual([id, result.padding], ['mine', `${padding}"id":7`], line.slice(0, 100));
    }
  }
});

for (const cut of [1, 2]) {
  test(`a 3-byte character of which ${cut} arrived first is one character`, async () => {
    assert.equal((await proxy.tool('x', 'split', { cut })).content[0].text, 'a€€€z');
  });
}

test('white space and line ends between the tokens of a request do not end its line at the child', async () => {
  const reply = await post(mcp, '\r\n{ "jsonrpc" :\n"2.0",\r\n\t"id": "n",\n"method":"tools/call","params":{"name":\n"echo","arguments":{\r"a":"\\n"}}}\n');
  assert.deepEqual([reply.json().id, reply.json().result.structuredContent], ['n', { a: '\n' }]);
});

test('whatever a child writes to stdout beside its messages disturbs no call', async () => {
  for (const id of [1, 'two']) assert.deepEqual(await proxy.tool('chatty', 'poke', {}, { id }), { ok: true });
});

test('a result of ten megabytes is one line of the child and one answer', async () => {
  assert.equal((await proxy.tool('big', 'big', { bytes: 10 * 2 ** 20 })).content[0].text.length, 10 * 2 ** 20);
});

test('a big result, which a child writes in parts, is whole for every client, whether it is answered by JSON, in a stream or in a batch', async (t) => {
  const ask = (id: unknown): object => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'big', arguments: { bytes: 300_000, unicode: true } } });
  const isWhole = (id: unknown, { result, ...rest }: any): void => {
    assert.deepEqual([rest, result.content[0].text === '€'.repeat(100_000)], [{ jsonrpc: '2.0', id }, true]);
  };
  for (const front of FRONTS) {
    for (const server of ['big', 'alone']) {
      const call = (await connectEra(t, proxy, front, { server })).request('tools/call', { name: 'big', arguments: { bytes: 300_000, unicode: true } });
      isWhole(call.id, await call.answer());
    }
  }
  const session = await openSession(t, proxy, 'big', { version: '2025-03-26' });
  for (const [path, headers] of [['/big/mcp', session.headers], ['/big/message', {}]] as const) {
    for (const accept of ['application/json', 'text/event-stream']) {
      for (const ids of [['ż'], [1, '1']]) {
        const reply = await post(proxy.url(path), ids.length === 1 ? ask(ids[0]) : ids.map(ask), { ...headers, Accept: accept });
        const answers = accept === 'application/json' ? [reply.json()].flat() : Array.from(reply.text.matchAll(/^data: (\{.*)$/gm), ([, data]) => JSON.parse(data!));
        assert.equal(answers.length, ids.length);
        ids.forEach((id, k) => isWhole(id, answers[k]));
      }
    }
  }
});

// ---- what a legacy child must not see

test('the keys by which a modern client speaks are taken out of a request; everything else of it stays, byte for byte', async () => {
  const modern = ['protocolVersion', 'clientInfo', 'clientCapabilities', 'logLevel'].map((key) => `"io.modelcontextprotocol/${key}":{"a":[1,"}"]}`);
  const cases: readonly [params: string, seen: string][] = [
    [`{"name":"journal","_meta":{${modern.join(',')}}}`, '{"name":"journal"}'],
    [`{"_meta":{${modern[0]}},"name":"journal"}`, '{"name":"journal"}'],
    [`{"name":"journal","_meta":{${modern[0]},"traceparent":"00-1",${modern[1]},"tracestate":"s","baggage":"b",${modern[2]}}}`, '{"name":"journal","_meta":{"traceparent":"00-1","tracestate":"s","baggage":"b"}}'],
    ['{"inputResponses":{"k":{}},"name":"journal","requestState":"X","z":1.0}', '{"name":"journal","z":1.0}'],
    [`{ "name" : "journal" , "requestState" : "X" , "_meta" : { ${modern[3]} , "x/y" : 1 } }`, ''],
  ];
  for (const [params, expected] of cases) {
    const reply = await post(inline, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`);
    const seen = reply.json().result.structuredContent.messages.at(-1);
    assert.deepEqual(seen.params, JSON.parse(expected || '{"name":"journal","_meta":{"x/y":1}}'), params);
  }
});

test('a request whose params held nothing but such keys arrives with empty params', async () => {
  const reply = await post(mcp, '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"requestState":"X","_meta":{"io.modelcontextprotocol/logLevel":"info"}}}');
  assert.equal(reply.status, 200);
  const seen = (await proxy.tool('x', 'journal')).messages.findLast(({ method }: any) => method === 'tools/list');
  assert.deepEqual(seen.params, {});
});

// ---- notifications of clients

test('a notification that belongs to one client, or is a request without its id, ends at the proxy; any other reaches the child', async () => {
  const consumed = [
    'notifications/initialized', 'notifications/cancelled', 'notifications/progress', 'notifications/roots/list_changed', 'notifications/tasks/status',
    'initialize', 'ping', 'tools/list', 'tools/call', 'resources/list', 'resources/templates/list', 'resources/read', 'resources/subscribe',
    'resources/unsubscribe', 'prompts/list', 'prompts/get', 'completion/complete', 'logging/setLevel', 'tasks/list',
  ]; // prettier-ignore
  const before = (await proxy.tool('x', 'journal')).messages.length;
  for (const method of consumed) assert.equal((await proxy.notify('x', method, { requestId: 1, progressToken: 1 })).status, 204, method);
  for (const method of ['notifications/vendor/thing', 'vendor/thing', 'notifications/tools/list_changed']) await proxy.notify('x', method, {});
  const seen = (await proxy.tool('x', 'journal', { until: 'notifications/tools/list_changed' })).messages.slice(before);
  assert.deepEqual(seen.map(({ method }: any) => method), ['notifications/vendor/thing', 'vendor/thing', 'notifications/tools/list_changed', 'tools/call']);
});

test('a notification, too, loses the keys of a modern client and nothing else', async () => {
  await post(inline, '{"jsonrpc":"2.0","method":"notifications/modern","params":{"a":1.0,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","b":2}},"x":"\\u0041"}');
  await proxy.tool('x', 'journal', { until: 'notifications/modern' });
  assert.ok(proxy.received('x').includes('{"jsonrpc":"2.0","method":"notifications/modern","params":{"a":1.0,"_meta":{"b":2}},"x":"\\u0041"}'));
});

test('a notification never starts a server and never waits for one', async (t) => {
  const clock = fakeClock();
  const idle = await startProxy(t, { x: node('server.mjs'), broken: { command: 'no-such-program-anywhere', maxRestarts: 0 } }, { clock });
  await idle.becomes('x', 'running');
  await clock.run(300_000);
  await idle.flow(async () => (await idle.status())['x'].status === 'stopped', 'the idle stop');
  assert.equal((await idle.notify('x', 'notifications/vendor', {})).status, 204);
  assert.equal((await idle.notify('broken', 'notifications/vendor', {})).status, 204);
  assert.equal((await idle.status())['x'].status, 'stopped');
  assert.ok(!(await idle.tool('x', 'journal')).messages.some(({ method }: any) => method === 'notifications/vendor'));
});

test('a notification that a client sends to cancel "its" id cancels nothing: everybody counts from 1', async () => {
  const held = proxy.tool('x', 'hold', { key: 'h' }, { id: 1 });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  assert.equal((await proxy.notify('x', 'notifications/cancelled', { requestId: 1 })).status, 204);
  await proxy.tool('x', 'release', { key: 'h' });
  assert.equal((await held).content[0].text, 'done');
});
