// What a server says of its own accord, and who hears it; and what becomes of readers that do not read.

import assert from 'node:assert/strict';
import { after, test, type TestContext } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { until } from '../support/files.ts';
import { connect, post, type Connection } from '../support/http.ts';
import { endOf, messages, nextMessage, node, startProxy, type TestProxy } from '../support/proxy.ts';

const shared = await startProxy({ after }, { x: node('server.mjs'), quiet: node('server.mjs', '--no-logging'), few: node('server.mjs', '--capabilities', '{"tools":{}}') });

/** What all these streams get up to and without a marker that comes last; the streams are read side by side. */
async function heard(proxy: TestProxy, server: string, ...streams: readonly Awaited<ReturnType<TestProxy['listen']>>[]): Promise<any[][]> {
  await proxy.tool(server, 'notify', { method: 'notifications/marker' });
  return Promise.all(
    streams.map(async (stream) => {
      const got = [];
      for (let next = await nextMessage(stream); next.method !== 'notifications/marker'; next = await nextMessage(stream)) got.push(next);
      return got;
    }),
  );
}

const texts = (got: any[]): unknown[] => got.map(({ params }) => params.data);
const sse = { headers: { Accept: 'text/event-stream' } };

// ---- change notifications

for (const what of ['tools', 'prompts', 'resources']) {
  test(`notifications/${what}/list_changed reaches every stream of its server once, and no other server's`, async () => {
    const [one, two, other] = [await shared.listen('x'), await shared.listen('x'), await shared.listen('few')];
    await shared.tool('x', 'changed', { what });
    const expected = [{ jsonrpc: '2.0', method: `notifications/${what}/list_changed` }];
    assert.deepEqual(await heard(shared, 'x', one, two), [expected, expected]);
    assert.deepEqual(await heard(shared, 'few', other), [[]]);
  });
}

test('it does not come on the answer of a call that runs meanwhile', async () => {
  const stream = await shared.stream('x', 'tools/call', { name: 'changed', arguments: { what: 'tools' } });
  assert.equal(await endOf(stream), 'end');
  assert.equal(stream.headers['content-type'], 'application/json');
});

test('an unknown notification goes to every stream, unless it is about one task, uri, token, elicitation or request', async () => {
  const stream = await shared.listen('x');
  const notify = (method: string, params?: object) => shared.tool('x', 'notify', { method, params });
  await notify('notifications/vendor', { a: [1] });
  await notify('vendor/thing');
  await notify('notifications/tasks/status', { taskId: 't' });
  await notify('notifications/vendor', { uri: 'test://x' });
  await notify('notifications/vendor', { progressToken: 1 });
  await notify('notifications/elicitation/complete', { elicitationId: 'e' });
  await notify('notifications/cancelled', { requestId: 1 });
  assert.deepEqual(await heard(shared, 'x', stream), [[
    { jsonrpc: '2.0', method: 'notifications/vendor', params: { a: [1] } },
    { jsonrpc: '2.0', method: 'vendor/thing' },
  ]]);
});

test('a reader that has left is missed by nobody', async () => {
  const [leaving, staying] = [await shared.listen('x'), await shared.listen('x')];
  await leaving.close();
  await shared.tool('x', 'changed', { what: 'tools' });
  assert.equal((await heard(shared, 'x', staying))[0]!.length, 1);
});

// ---- resources

test('a resource is subscribed to once at the child, however many ask, at the same time or later', async () => {
  const subscribe = { jsonrpc: '2.0', method: 'resources/subscribe', params: { uri: 'test://note' } };

  const answers = (await post(shared.url('/x/mcp'), [{ ...subscribe, id: 1 }, { ...subscribe, id: '1' }])).json();
  assert.deepEqual(answers, [{ jsonrpc: '2.0', id: 1, result: {} }, { jsonrpc: '2.0', id: '1', result: {} }]);
  assert.deepEqual((await shared.call('x', 'resources/subscribe', { uri: 'test://note' })).json().result, {});
  const asked = async (method: string) => (await shared.tool('x', 'journal')).messages.filter((message: any) => message.method === method).length;
  assert.equal(await asked('resources/subscribe'), 1);

  assert.deepEqual((await shared.call('x', 'resources/unsubscribe', { uri: 'test://never' })).json().result, {});
  assert.equal(await asked('resources/unsubscribe'), 0);
  assert.deepEqual((await shared.call('x', 'resources/unsubscribe', { uri: 'test://note' })).json().result, {});
  assert.equal(await asked('resources/unsubscribe'), 1);
  assert.deepEqual((await shared.tool('x', 'journal')).subscribed, []);
});

test('a subscription that the child refuses is not held: its error is passed on, and the next one asks again', async () => {
  for (let n = 1; n <= 2; n++) {
    const { error } = (await shared.call('few', 'resources/subscribe', { uri: 'test://note' })).json();
    assert.deepEqual(error, { code: -32601, message: 'method not found: resources/subscribe' });
    const asked = (await shared.tool('few', 'journal')).messages.filter(({ method }: any) => method === 'resources/subscribe');
    assert.equal(asked.length, n);
  }
});

test('a subscription that the child has not answered is a call in flight: it is counted, bounded, waited for, and ends with the child', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('never-answers.mjs') }, { clock, limits: { maxPending: 2, requestTimeoutMs: 0 } });
  await proxy.becomes('x', 'running');
  const subscribed = ['a', 'a'].map((uri, id) => proxy.call('x', 'resources/subscribe', { uri }, { id }));
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 2);
  assert.equal((await proxy.call('x', 'resources/subscribe', { uri: 'a' })).status, 503, 'one too many');
  await clock.run(600_000);
  assert.equal((await proxy.status())['x'].status, 'running', 'not idle');
  process.kill(proxy.spawned('x')[0]!, 'SIGKILL');
  const replies = await Promise.all(subscribed);
  assert.deepEqual(replies.map((reply) => [reply.status, reply.json().id, reply.json().error.data.reason]), [[200, 0, 'child_exited'], [200, 1, 'child_exited']]);
});

for (const method of ['resources/subscribe', 'resources/unsubscribe']) {
  test(`${method} without a uri is -32602`, async () => {
    for (const params of [undefined, {}, { uri: 1 }, { uri: null }]) {
      const { id, error } = (await shared.call('x', method, params)).json();
      assert.deepEqual([id, error.code], [1, -32602]);
    }
  });
}

test('every stream hears that a resource was updated, whether it was subscribed to or not', async () => {
  const streams = [await shared.listen('x'), await shared.listen('x')];
  await shared.tool('x', 'updated', { uri: 'test://folder/page' });
  const expected = [{ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://folder/page' } }];
  assert.deepEqual(await heard(shared, 'x', ...streams), [expected, expected]);
});

// ---- log lines

test('a log line during the only call goes to that call, if it can be said there, and then to nobody else', async () => {
  const stream = await shared.listen('x');
  const call = await shared.stream('x', 'tools/call', { name: 'log', arguments: { text: 'mine' } });
  assert.equal(await endOf(call), 'end');
  const [line, answer] = messages(call);
  assert.deepEqual(line, { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', logger: 'fixture', data: 'mine' } });
  assert.equal(answer.id, 1);
  assert.deepEqual(await heard(shared, 'x', stream), [[]]);
});

test('a log line during the only call goes to every stream, if the caller takes JSON only', async () => {
  const streams = [await shared.listen('x'), await shared.listen('x')];
  await shared.tool('x', 'log', { text: 'yours' });
  assert.deepEqual((await heard(shared, 'x', ...streams)).map(texts), [['yours'], ['yours']]);
});

test('a log line while several calls run, or none, goes to every stream and to no call', async () => {
  const streams = [await shared.listen('x'), await shared.listen('x')];
  const held = shared.call('x', 'tools/call', { name: 'hold', arguments: { key: 'log' } }, sse);
  await shared.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  const second = await shared.call('x', 'tools/call', { name: 'log', arguments: { text: 'several' } }, sse);
  await shared.tool('x', 'release', { key: 'log' });
  for (const { text } of [second, await held]) assert.doesNotMatch(text, /notifications/);
  await shared.tool('x', 'log', { text: 'none', late: true });
  assert.deepEqual((await heard(shared, 'x', ...streams)).map(texts), [['several', 'none'], ['several', 'none']]);
});

test('the log level that a simple client sets is every simple client\'s: less severe lines are left out of the streams', async (t) => {
  const proxy = await startProxy(t, { x: node('server.mjs') });
  const levels = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];
  await proxy.becomes('x', 'running');
  const stream = await proxy.listen('x');
  const said = async (): Promise<unknown[]> => {
    for (const level of levels) await proxy.tool('x', 'log', { level, text: level });
    return texts((await heard(proxy, 'x', stream))[0]!);
  };
  assert.deepEqual(await said(), levels);
  for (const [k, level] of [...levels.entries()].reverse()) {
    assert.deepEqual((await proxy.call('x', 'logging/setLevel', { level })).json().result, {});
    assert.deepEqual(await said(), levels.slice(k));
    assert.equal((await proxy.tool('x', 'journal')).level, level, 'more verbose than before: the child has to know');
  }
  await proxy.call('x', 'logging/setLevel', { level: 'error' });
  assert.deepEqual(await said(), levels.slice(4));
  assert.equal((await proxy.tool('x', 'journal')).level, 'debug', 'less verbose: the streams are filtered, the child is left alone');
});

test('a log level that there is none of is -32602, and a server without logging knows no such method', async () => {
  for (const level of ['loud', 'INFO', '', 3, null, undefined, '__proto__']) {
    assert.equal((await shared.call('x', 'logging/setLevel', { level })).json().error.code, -32602, String(level));
  }
  const { error } = (await shared.call('quiet', 'logging/setLevel', { level: 'info' })).json();
  assert.equal(error.code, -32601);
});

// ---- a new process

test('a new process after a crash has the subscriptions and the level of the old one, and readers hear that lists may have changed', async (t) => {
  const proxy = await startProxy(t, { x: node('server.mjs') }, { limits: { backoffFirstMs: 1 } });
  const stream = await proxy.listen('x');
  await proxy.call('x', 'resources/subscribe', { uri: 'test://note' });
  await proxy.call('x', 'resources/subscribe', { uri: 'test://gone' });
  await proxy.call('x', 'resources/unsubscribe', { uri: 'test://gone' });
  await proxy.call('x', 'logging/setLevel', { level: 'debug' });
  await proxy.call('x', 'tools/call', { name: 'die' });

  const { messages: seen, level, subscribed } = await proxy.tool('x', 'journal');
  assert.deepEqual([level, subscribed], ['debug', ['test://note']]);
  assert.deepEqual(seen.slice(0, 2).map(({ method }: any) => method), ['initialize', 'notifications/initialized']);
  const methods = (await heard(proxy, 'x', stream))[0]!.map(({ method }) => method);
  assert.deepEqual(methods.sort(), ['prompts', 'resources', 'tools'].map((what) => `notifications/${what}/list_changed`));
});

test('a process that only was idle comes back without a word to readers, with the level that was set', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('server.mjs') }, { clock });
  await proxy.becomes('x', 'running');
  await proxy.call('x', 'logging/setLevel', { level: 'debug' });
  assert.equal((await proxy.tool('x', 'journal')).level, 'debug'); // it has answered, and nothing is under way
  await clock.run(300_000);
  await proxy.flow(async () => (await proxy.status())['x'].status === 'stopped', 'the idle stop');
  const stream = await proxy.listen('x');
  assert.equal((await proxy.tool('x', 'journal')).level, 'debug');
  assert.deepEqual(await heard(proxy, 'x', stream), [[]]);
});

// ---- readers that do not read

/** A reader of GET /:server/sse that takes what the kernel takes for it, and no more. */
async function stuckReader(t: TestContext, proxy: TestProxy, path: string): Promise<Connection> {
  const reader = await connect(proxy.port);
  t.after(() => reader.abort());
  reader.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
  await reader.until((text) => text.includes('endpoint'));
  reader.socket.pause();
  return reader;
}

test('a reader that falls behind is cut off when the next event is due; the others get everything, and calls go on', async (t) => {
  const [count, bytes] = [250, 100_000];
  const proxy = await startProxy(t, { x: node('floods-stdout.mjs', count, bytes) }, { limits: { sseQueueBytes: 2 ** 20 } });
  const stuck = await stuckReader(t, proxy, '/x/sse');
  const reader = await proxy.listen('x');
  await proxy.tool('x', 'poke');
  for (let n = 1; n <= count; n++) assert.equal((await nextMessage(reader)).params.data.n, n);
  assert.equal((await proxy.call('x', 'tools/list')).status, 200);
  stuck.socket.resume();
  assert.notEqual(await endOf(stuck), 'closed');
  assert.ok(stuck.received.length < count * bytes);
});

test('a caller that does not read its progress is cut off, and its call is cancelled', async (t) => {
  const proxy = await startProxy(t, { x: node('server.mjs') }, { limits: { sseQueueBytes: 2 ** 20 } });
  await proxy.becomes('x', 'running');
  const params = { name: 'progress', arguments: { steps: 100_000, hold: 'k' }, _meta: { progressToken: 't'.repeat(200) } };
  const stuck = await proxy.open('x', 'tools/call', params, { Accept: 'text/event-stream' });
  t.after(() => stuck.abort());
  stuck.socket.pause();
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 0);
  const { messages: seen } = await proxy.tool('x', 'journal', { until: 'notifications/cancelled' });
  assert.equal(seen.at(-2).params.requestId, seen[3].id);
});

test('one event that is larger than the bound is no crime', async (t) => {
  const proxy = await startProxy(t, { x: node('floods-stdout.mjs', 3, 5 * 2 ** 20) }, { limits: { sseQueueBytes: 1_000 } });
  const reader = await proxy.listen('x');
  await proxy.tool('x', 'poke');
  assert.equal((await nextMessage(reader)).params.data.text.length, 5 * 2 ** 20);
});

test('a reader that takes nothing for a minute of what is there for it is cut off; one that waits for nothing is not', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('floods-stdout.mjs', 200, 100_000) }, { clock, limits: { sseQueueBytes: 2 ** 30, idleTimeoutMs: 0 } });
  await proxy.becomes('x', 'running');
  const stuck = await stuckReader(t, proxy, '/x/sse');
  const reader = await proxy.listen('x');
  await proxy.tool('x', 'poke');
  for (let n = 1; n <= 200; n++) await nextMessage(reader);
  for (let now = 0; now <= 90_000; now += 15_000) await clock.run(15_000);
  stuck.socket.resume();
  assert.notEqual(await endOf(stuck), 'closed');
  assert.ok(stuck.received.length < 200 * 100_000);
  assert.ok(reader.comments.length >= 5);
  assert.equal(await Promise.race([reader.ended, clock.run(15_000).then(() => 'open')]), 'open');
});

test('a child that answers a call and then floods stops no other server from answering', async (t) => {
  const proxy = await startProxy(t, { x: node('floods-stdout.mjs'), y: node('server.mjs') });
  await proxy.tool('x', 'poke');
  for (let n = 0; n < 20; n++) assert.equal((await proxy.tool('y', 'echo', { n })).n, n);
  await until(async () => (await proxy.status())['x'].status === 'running', 'the flooding server still running');
});
