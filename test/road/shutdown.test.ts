// The end: calls in flight have their time, everybody is told, and nothing is left.

import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { alive, group, until } from '../support/files.ts';
import { connect, openSse, request } from '../support/http.ts';
import { endOf, messages, nextMessage, node, startProxy } from '../support/proxy.ts';

const good = node('server.mjs');
const ERROR = { code: -32603, message: 'Shutting down', data: { source: 'mcp-proxy', reason: 'shutdown' } };

test('calls in flight have five seconds; what has finished by then is answered, the rest is told that the proxy shuts down', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: good, y: good }, { clock });
  for (const name of ['x', 'y']) await proxy.becomes(name, 'running');
  const never = proxy.call('x', 'tools/call', { name: 'hold', arguments: { key: 'k' } }, { id: 'never' });
  const stream = await proxy.stream('x', 'tools/call', { name: 'progress', arguments: { steps: 1, hold: 'k' } }, { id: 's', progressToken: 1 });
  await stream.event('message');
  const slow = proxy.tool('y', 'sleep', { ms: 1_000 });
  for (const [name, pending] of [['x', 2], ['y', 1]] as const) await proxy.becomes(name, (status: any) => status.pendingRequests === pending);

  const ending = proxy.proxy.close();
  assert.equal((await slow).content[0].text, 'done');
  await clock.run(4_999);
  assert.equal(messages(stream).length, 1, 'not before the five seconds are over');
  await clock.run(1);
  const reply = await never;
  assert.equal(reply.status, 200);
  assert.deepEqual(reply.json(), { jsonrpc: '2.0', id: 'never', error: ERROR });
  assert.equal(await endOf(stream), 'end');
  assert.deepEqual(messages(stream).at(-1), { jsonrpc: '2.0', id: 's', error: ERROR });
  await proxy.close();
  await ending;
});

test('calls that wait for a start are told so at once', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('hangs-in-handshake.mjs') }, { clock });
  const waiting = proxy.call('x', 'tools/list', {}, { id: 'w' });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  const ending = proxy.proxy.close();
  const { id, error } = (await waiting).json();
  assert.deepEqual([id, error], ['w', ERROR]);
  assert.equal(clock.now(), 0);
  await proxy.close();
  await ending;
});

test('streams of servers get a close event and end; the status stream ends', async (t) => {
  const proxy = await startProxy(t, { x: good, starting: node('hangs-in-handshake.mjs'), broken: { command: 'no-such-program-anywhere', maxRestarts: 0 } });
  await proxy.becomes('x', 'running');
  await proxy.becomes('broken', 'error');
  const streams = [await proxy.listen('x'), await proxy.listen('starting'), await proxy.listen('broken')];
  const status = await proxy.watch();
  await proxy.close();
  for (const stream of streams) {
    assert.equal(await endOf(stream), 'end');
    assert.ok(stream.raw.toString().endsWith('event: close\ndata: {}\n\n'));
  }
  assert.equal(await endOf(status), 'end');
});

test('a new request on an open connection is refused with 503, whatever it is about', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: good }, { clock });
  await proxy.becomes('x', 'running');
  const held = proxy.call('x', 'tools/call', { name: 'hold', arguments: { key: 'k' } });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  const ending = proxy.proxy.close();
  for (const [method, path, body] of [
    ['POST', '/x/mcp', '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'],
    ['POST', '/x/message', '{"jsonrpc":"2.0","method":"notifications/x"}'],
    ['GET', '/x/sse', ''],
    ['GET', '/api/servers', ''],
    ['POST', '/api/config', '{"mcpServers":{}}'],
    ['POST', '/api/servers/x/restart', '{}'],
    ['GET', '/health', ''],
  ] as const) {
    const agent = new http.Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const reply = await request(proxy.url(path), { method, headers: { 'Content-Type': 'application/json' }, agent, ...(body && { body }) });
    assert.equal(reply.status, 503, path);
    assert.deepEqual(reply.json().error, ERROR);
    assert.equal(reply.headers.connection, 'close');
  }
  await proxy.close();
  assert.equal((await held).json().error.data.reason, 'shutdown');
  await ending;
});

test('a set of servers that heed nothing is gone within ten seconds, side by side, and no timer is left', async (t) => {
  const clock = fakeClock();
  const names = ['a', 'b', 'c', 'd'];
  const proxy = await startProxy(t, { ...Object.fromEntries(names.map((name) => [name, node('deaf-to-signals.mjs')])), x: good, hangs: node('hangs-in-handshake.mjs') }, { clock });
  for (const name of [...names, 'x']) await proxy.becomes(name, 'running');
  const held = proxy.call('x', 'tools/call', { name: 'hold', arguments: { key: 'k' } });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  await proxy.close();
  await held;
  assert.ok(clock.now() <= 10_000, `${clock.now()} ms`);
  assert.equal(clock.pending, 0);
});

test('in real time, too', async (t) => {
  const names = ['a', 'b', 'c', 'd'];
  const proxy = await startProxy(t, Object.fromEntries(names.map((name) => [name, node('deaf-to-signals.mjs')])));
  for (const name of names) await proxy.becomes(name, 'running');
  const before = performance.now();
  await proxy.close();
  assert.ok(performance.now() - before < 10_000);
});

test('a proxy that is idle ends at once', async (t) => {
  const proxy = await startProxy(t, { x: good, y: good, off: { ...good, disabled: true }, broken: { command: 'no-such-program-anywhere' } });
  for (const name of ['x', 'y']) await proxy.becomes(name, 'running');
  const stopping = performance.now();
  await proxy.close();
  assert.ok(performance.now() - stopping < 1_500, 'no rung of the ladder was needed');
});

test('the end may come in any state of a server, and may be asked for twice', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(
    t,
    {
      backoff: node('dies-at-start.mjs'),
      crashing: node('leaves-grandchild.mjs', 'deaf'),
      draining: good,
      idle: node('deaf-to-stdin.mjs'),
      removed: node('deaf-to-signals.mjs'),
      error: { command: 'no-such-program-anywhere', maxRestarts: 0 },
      hangs: node('hangs-in-handshake.mjs'),
      remote: { url: 'http://elsewhere' },
    },
    { clock, limits: { startConcurrency: 8 } },
  );
  for (const name of ['crashing', 'draining', 'idle', 'removed']) await proxy.becomes(name, 'running');
  await proxy.becomes('backoff', 'restarting');
  await proxy.becomes('error', 'error');
  await proxy.call('crashing', 'tools/call', { name: 'die' });
  void proxy.call('draining', 'tools/call', { name: 'hold', arguments: { key: 'k' } });
  await proxy.becomes('draining', ({ pendingRequests }: any) => pendingRequests === 1);
  const { draining: _, removed: __, ...rest } = {
    backoff: node('dies-at-start.mjs'),
    crashing: node('leaves-grandchild.mjs', 'deaf'),
    idle: node('deaf-to-stdin.mjs'),
    error: { command: 'no-such-program-anywhere', maxRestarts: 0 },
    hangs: node('hangs-in-handshake.mjs'),
    remote: { url: 'http://elsewhere' },
    draining: good,
    removed: good,
  };
  await proxy.configure({ ...rest, draining: node('server.mjs', '--name', 'new') });
  const spawned = proxy.spawned().length;
  const [one, two] = [proxy.proxy.close(), proxy.proxy.close()];
  assert.equal(one, two);
  await proxy.close();
  await one;
  assert.equal(proxy.spawned().length, spawned, 'nothing was started on the way out');
  assert.equal(clock.pending, 0);
});

test('no change of the configuration starts anything after the end', async (t) => {
  const proxy = await startProxy(t, { x: good });
  await proxy.becomes('x', 'running');
  await proxy.close();
  await proxy.proxy.reload({ mcpServers: { y: good } }).catch(() => {});
  assert.deepEqual(proxy.spawned('y'), []);
});

test('a body that is still coming keeps nobody waiting', async (t) => {
  const proxy = await startProxy(t, { x: good });
  await proxy.becomes('x', 'running');
  const connection = await connect(proxy.port);
  t.after(() => connection.close());
  connection.write('POST /x/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"jsonrpc"');
  await proxy.call('x', 'ping');
  await proxy.close();
  assert.notEqual(await endOf(connection), 'closed');
});

test('two proxies in one process know nothing of each other', async (t) => {
  const [one, two] = [await startProxy(t, { x: good }), await startProxy(t, { x: good })];
  const [first, second] = [(await one.tool('x', 'pid')).pid, (await two.tool('x', 'pid')).pid];
  assert.notEqual(first, second);
  const stream = await openSse(two.url('/x/sse'));
  t.after(() => stream.close());
  await one.close();
  await until(() => group(first).length === 0, 'the end of the first');
  assert.ok(alive(second));
  await two.tool('x', 'changed', { what: 'tools' });
  assert.equal((await nextMessage(stream)).method, 'notifications/tools/list_changed');
});
