// The simple dialect's event streams as they are on the wire: a call that has something to say before its answer, and
// GET /:server/sse; and clients that leave.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { connect, openSse, post } from '../support/http.ts';
import { endOf, errorOf, messages, nextMessage, node, startProxy } from '../support/proxy.ts';

const proxy = await startProxy({ after }, { x: node('server.mjs'), 'żółć & co': node('server.mjs'), off: { ...node('server.mjs'), disabled: true } });
const host = `127.0.0.1:${proxy.port}`;
const mcp = proxy.url('/x/mcp');

const call = (name: string, args: object = {}, id: unknown = 1): object => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } });

// ---- JSON or a stream

const JSON_TYPE = 'application/json';
const ACCEPTS: readonly [accept: string | undefined, quick: 'json' | 'sse' | 406, progress: 'json' | 'sse' | 406][] = [
  [undefined, 'json', 'json'],
  ['*/*', 'json', 'json'],
  [JSON_TYPE, 'json', 'json'],
  ['application/*;q=0.1', 'json', 'json'],
  ['application/json, text/event-stream', 'json', 'sse'],
  ['text/event-stream, application/json;q=0.1', 'json', 'sse'],
  ['TEXT/EVENT-STREAM; q=0.5 , */*', 'json', 'sse'],
  ['text/event-stream', 'sse', 'sse'],
  ['text/event-stream;q=0, application/json', 'json', 'json'],
  ['application/json;q=0, text/event-stream', 'sse', 'sse'],
  ['text/html', 406, 406],
  ['text/*', 406, 406],
  ['application/json;q=0', 406, 406],
  ['application/json;q=0, */*', 406, 406],
  ['text/event-stream;q=0', 406, 406],
];

for (const [accept, quick, progress] of ACCEPTS) {
  test(`Accept: ${accept ?? '(none)'} gets ${quick} for an answer alone, ${progress} for one with progress before it`, async () => {
    const headers = { 'Content-Type': JSON_TYPE, ...(accept !== undefined && { Accept: accept }) };
    for (const [kind, params] of [[quick, {}], [progress, { progressToken: 'tok' }]] as const) {
      const body = JSON.stringify({ jsonrpc: '2.0', id: 'q', method: 'tools/call', params: { name: 'progress', arguments: { steps: 2 }, _meta: params } });
      const stream = await openSse(mcp, headers, { method: 'POST', body });
      assert.equal(await endOf(stream), 'end');
      const answer = '{"jsonrpc":"2.0","id":"q","result":{"content":[{"type":"text","text":"done"}]}}';
      if (kind === 406) {
        assert.equal(stream.status, 406);
        const { id, error } = JSON.parse(stream.raw.toString());
        assert.deepEqual([id, error.code, error.data.reason], ['q', -32000, 'not_acceptable']);
        continue;
      }
      assert.equal(stream.status, 200);
      assert.equal(stream.headers['content-type'], kind === 'json' ? JSON_TYPE : 'text/event-stream');
      const step = (n: number) => `event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"tok","progress":${n},"total":2,"message":"step ${n} of 2"}}\n\n`;
      const steps = 'progressToken' in params ? step(1) + step(2) : '';
      assert.equal(stream.raw.toString(), kind === 'json' ? answer : `${steps}event: message\ndata: ${answer}\n\n`);
    }
  });
}

test('a stream that answers a request has the headers that keep every buffer on the way open', async () => {
  const stream = await proxy.stream('x', 'tools/call', { name: 'progress', arguments: { steps: 1 } }, { progressToken: 1 });
  assert.equal(stream.headers['cache-control'], 'no-cache, no-transform');
  assert.equal(stream.headers['x-accel-buffering'], 'no');
  await endOf(stream);
});

test('a refusal before anything was sent is JSON under its own status even for a client that reads only streams', async () => {
  const reply = await post(proxy.url('/off/mcp'), call('echo'), { Accept: 'text/event-stream' });
  assert.deepEqual(errorOf(reply), [503, 1, -32603, 'unavailable']);
});

test('initialize is JSON wherever JSON is taken', async () => {
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } };
  const reply = await post(mcp, { jsonrpc: '2.0', id: 1, method: 'initialize', params }, { Accept: 'text/event-stream, application/json' });
  assert.equal(reply.headers['content-type'], JSON_TYPE);
});

// ---- the stream of what a server sends

for (const [path, accept, simple] of [
  ['/x/sse', 'text/event-stream', false],
  ['/x/sse', 'application/json, text/event-stream;q=0.1', false],
  ['/x/sse', 'text/event-stream;q=0', true],
  ['/x/sse?endpoint=json', 'text/event-stream', true],
  ['/x/sse?endpoint=uri', '*/*', false],
  ['/x/sse?endpoint=other', 'text/event-stream', false],
  ['/x/sse?endpoint=other', '*/*', true],
] as const) {
  test(`GET ${path} with Accept: ${accept} announces ${simple ? 'a JSON object' : 'a URI with a session'} (R-120)`, async (t) => {
    const stream = await openSse(proxy.url(path), { Accept: accept });
    t.after(() => stream.close());
    assert.match((await stream.event('endpoint')).data, simple ? /^\{"uri":"http:[^"]*\/x\/message"\}$/ : /^\/x\/message\?sessionId=[0-9a-f]{32}$/);
  });
}

for (const accept of [undefined, '*/*', 'text/html']) {
  test(`GET /x/sse with Accept: ${accept ?? '(none)'} begins with the endpoint event, whose data is JSON with the URL to post to`, async (t) => {
    const stream = await openSse(proxy.url('/x/sse'), accept === undefined ? {} : { Accept: accept });
    t.after(() => stream.close());
    await stream.event('endpoint');
    assert.equal(stream.raw.toString(), `event: endpoint\ndata: {"uri":"http://${host}/x/message"}\n\n`);
    assert.equal(stream.status, 200);
    assert.equal(stream.headers['content-type'], 'text/event-stream');
    assert.equal(stream.headers['cache-control'], 'no-cache, no-transform');
    assert.equal(stream.headers['x-accel-buffering'], 'no');
    const { uri } = JSON.parse((stream.all[0] as { data: string }).data);
    assert.deepEqual((await post(uri, call('echo', { b: 2 }))).json().result.structuredContent, { b: 2 });
  });
}

test('the URL in the endpoint event has the host that the client asked for, and the name in percent encoding', async (t) => {
  const path = `/${encodeURIComponent('żółć & co')}`;
  const stream = await openSse(proxy.url(`${path}/sse`), { Host: `localhost:${proxy.port}` });
  t.after(() => stream.close());
  const { uri } = JSON.parse((await stream.event('endpoint')).data);
  assert.equal(uri, `http://localhost:${proxy.port}/%C5%BC%C3%B3%C5%82%C4%87%20%26%20co/message`);
  assert.equal((await post(uri, call('echo'))).status, 200);
});

test('PUBLIC_URL gives the endpoint its scheme and host, and a base path goes in front', async (t) => {
  const behind = await startProxy(t, { 'a b': { url: 'http://elsewhere' } }, { auth: { publicUrl: new URL('https://mcp.example.com:8443') }, basePath: '/mcp' });
  const stream = await openSse(behind.url('/a%20b/sse'));
  t.after(() => stream.close());
  assert.equal((await stream.event('endpoint')).data, '{"uri":"https://mcp.example.com:8443/mcp/a%20b/message"}');
});

test('what the child announces comes as a message event; what is posted meanwhile is answered inline and not on the stream', async () => {
  const stream = await proxy.listen('x');
  assert.deepEqual((await post(proxy.url('/x/message'), call('echo', { c: 3 }))).json().result.structuredContent, { c: 3 });
  await proxy.tool('x', 'changed', { what: 'tools' });
  await stream.event('message');
  const [, event] = stream.raw.toString().split('\n\n');
  assert.equal(event, 'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}');
  assert.equal(messages(stream).length, 1);
});

test('a raw carriage return in a message is white space to JSON and the end of a line to a reader, so it never gets out', async () => {
  const stream = await proxy.listen('x');
  const line = '{"jsonrpc":"2.0",\r"method":"notifications/made/up",\r"params":{"a"\r:\r1}\r}';
  await proxy.tool('x', 'raw', { lines: [line] });
  assert.deepEqual(await nextMessage(stream), { jsonrpc: '2.0', method: 'notifications/made/up', params: { a: 1 } });
  const progress = '{"jsonrpc":"2.0","method":"notifications/progress","params":\r{"progressToken":$TOKEN,"progress":1\r}}';
  const answer = '{"jsonrpc":"2.0","id":$ID,\r"result":{"content":[]}}';
  const answering = await proxy.stream('x', 'tools/call', { name: 'raw', arguments: { quiet: true, lines: [progress, answer] } }, { progressToken: 7 });
  assert.equal(await endOf(answering), 'end');
  assert.equal(answering.raw.includes('\r'), false);
  assert.deepEqual(messages(answering), [
    { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 7, progress: 1 } },
    { jsonrpc: '2.0', id: 1, result: { content: [] } },
  ]);
});

test('a stream without an event for fifteen seconds gets a comment, and an event puts it off', async (t) => {
  const clock = fakeClock();
  const quiet = await startProxy(t, { x: node('server.mjs') }, { clock });
  await quiet.becomes('x', 'running');
  const stream = await quiet.listen('x');
  const answering = quiet.stream('x', 'tools/call', { name: 'progress', arguments: { steps: 1, hold: 'k' } }, { progressToken: 1 });
  const call = await answering;
  await call.event('message');
  await clock.run(14_999);
  assert.deepEqual([stream.comments, call.comments], [[], []]);
  await clock.run(1);
  assert.deepEqual(await stream.next(), { comment: 'keep-alive' });
  assert.deepEqual(await call.next(), { comment: 'keep-alive' });
  assert.ok(stream.raw.toString().endsWith('\n\n: keep-alive\n\n'));

  await clock.run(10_000);
  await quiet.tool('x', 'changed', { what: 'tools' });
  await stream.event('message');
  await clock.run(14_999);
  assert.equal(stream.comments.length, 1);
  await clock.run(1);
  assert.deepEqual(await stream.next(), { comment: 'keep-alive' });
  await quiet.tool('x', 'release', { key: 'k' });
  assert.equal(await endOf(call), 'end');
});

test('the endpoint event comes at once, while the server is still starting', async (t) => {
  const slow = await startProxy(t, { x: node('hangs-in-handshake.mjs') });
  const before = performance.now();
  const stream = await slow.listen('x');
  assert.ok(performance.now() - before < 1_000);
  assert.equal((await slow.status())['x'].status, 'starting');
  await stream.close();
});

test('a server that failed still opens its stream: endpoint, then what is wrong', async (t) => {
  const failed = await startProxy(t, { x: { command: 'no-such-program-anywhere', maxRestarts: 0 } });
  await failed.becomes('x', 'error');
  const stream = await openSse(failed.url('/x/sse'));
  t.after(() => stream.close());
  await stream.event('error');
  assert.equal(stream.raw.toString(), `event: endpoint\ndata: {"uri":"${failed.origin}/x/message"}\n\nevent: error\ndata: {"error":"spawn ENOENT"}\n\n`);
});

test('a crash is an error event on a stream that stays open, and after the restart it hears that lists may have changed', async (t) => {
  const crashing = await startProxy(t, { x: node('server.mjs') }, { limits: { backoffFirstMs: 1 } });
  const stream = await crashing.listen('x');
  await crashing.call('x', 'tools/call', { name: 'die', arguments: { code: 9 } });
  assert.deepEqual(await stream.event('error'), { event: 'error', data: '{"error":"exited with code 9"}' });
  const changed = [(await nextMessage(stream)).method, (await nextMessage(stream)).method, (await nextMessage(stream)).method];
  assert.deepEqual(changed.sort(), ['prompts', 'resources', 'tools'].map((what) => `notifications/${what}/list_changed`));
  await crashing.tool('x', 'notify', { method: 'notifications/alive' });
  assert.equal((await nextMessage(stream)).method, 'notifications/alive');
});

for (const [what, next] of [
  ['removed', {}],
  ['disabled', { x: { ...node('server.mjs'), disabled: true } }],
] as const) {
  test(`when the server is ${what}, its streams get a close event and end; those of others do not`, async (t) => {
    const changing = await startProxy(t, { x: node('server.mjs'), y: node('server.mjs') });
    await changing.becomes('x', 'running');
    const [gone, kept] = [await changing.listen('x'), await changing.listen('y')];
    assert.equal((await changing.configure({ ...next, y: node('server.mjs') })).status, 200);
    assert.equal(await endOf(gone), 'end');
    assert.ok(gone.raw.toString().endsWith('\n\nevent: close\ndata: {}\n\n'));
    await changing.tool('y', 'notify', { method: 'notifications/alive' });
    assert.equal((await nextMessage(kept)).method, 'notifications/alive');
  });
}

// ---- clients that leave

for (const [how, leave] of [
  ['closes its connection', 'close'],
  ['resets its connection', 'abort'],
] as const) {
  for (const accept of ['application/json', 'text/event-stream']) {
    test(`when a client that waits for ${accept} ${how}, its call is cancelled at the child`, async (t) => {
      const key = `never ${how} ${accept}`;
      const before = (await proxy.status())['x'].pendingRequests;
      const waiting = await proxy.open('x', 'tools/call', { name: 'progress', arguments: { steps: 1, hold: key }, _meta: { progressToken: 1 } }, { Accept: accept });
      t.after(() => waiting.abort());
      if (accept === 'text/event-stream') await waiting.until((text) => text.includes('notifications/progress'));

      waiting[leave]();
      await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === before);
      const { messages: seen } = await proxy.tool('x', 'journal');
      const held = seen.find(({ params }: any) => params?.arguments?.hold === key);
      const cancelled = seen.filter(({ method }: any) => method === 'notifications/cancelled');
      assert.equal(cancelled.at(-1).params.requestId, held.id);
    });
  }
}

test('a client that only closes its side of the connection still gets its answer', async () => {
  const body = JSON.stringify(call('sleep', { ms: 200 }));
  const connection = await connect(proxy.port);
  connection.write(`POST /x/mcp HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  connection.end();
  const bytes = await connection.until((text) => text.includes('done'));
  assert.match(bytes.toString(), /HTTP\/1\.1 200 OK/);
  connection.close();
});
