// A server that gets another configuration, is restarted by hand, disabled or removed, in whatever state it is.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { alive, group, until } from '../support/files.ts';
import { post, request } from '../support/http.ts';
import { endOf, errorOf, nextMessage, node, startProxy, type TestProxy } from '../support/proxy.ts';

const good = node('server.mjs');
const off = { ...good, disabled: true };

const pidOf = async (proxy: TestProxy, server: string): Promise<number> => (await proxy.tool(server, 'pid')).pid;

// ---- restart

test('POST /api/servers/:server/restart replaces the process after the calls in flight, and clears what went wrong before', async (t) => {
  const proxy = await startProxy(t, { 'x y': good, broken: { command: 'no-such-program-anywhere', maxRestarts: 1 } }, { limits: { backoffFirstMs: 0 } });
  const pid = await pidOf(proxy, 'x y');
  const slow = proxy.tool('x y', 'sleep', { ms: 1_000 });
  await proxy.becomes('x y', ({ pendingRequests }: any) => pendingRequests === 1);
  const reply = await request(proxy.url('/api/servers/x%20y/restart'), { method: 'POST' });
  assert.deepEqual([reply.status, reply.text], [202, '']);
  const next = await pidOf(proxy, 'x y');
  assert.notEqual(next, pid);
  assert.equal((await slow).content[0].text, 'done');
  assert.deepEqual(group(pid), []);

  const failed = await proxy.becomes('broken', 'error');
  assert.equal(failed.restartCount, 1);
  const reader = await proxy.watch();
  assert.equal((await post(proxy.url('/api/servers/broken/restart'), {})).status, 202);
  const { broken } = await reader.delta();
  assert.deepEqual([broken.status, broken.restartCount], ['restarting', undefined]);
});

test('restart of what is not there is 404, of what is disabled 503, and by another method 405', async (t) => {
  const proxy = await startProxy(t, { off });
  for (const name of ['y', '__proto__', 'constructor']) {
    assert.deepEqual(errorOf(await post(proxy.url(`/api/servers/${name}/restart`), {})), [404, null, -32600, 'unknown_server']);
  }
  assert.equal((await post(proxy.url('/api/servers/off/restart'), {})).status, 503);
  const reply = await request(proxy.url('/api/servers/off/restart'));
  assert.deepEqual([reply.status, reply.headers.allow], [405, 'POST']);
});

// ---- draining

test('on a change, calls in flight have ten seconds, new ones wait for the new process, and what did not finish is told why', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: good, y: good }, { clock });
  const [pid] = [await pidOf(proxy, 'x'), await pidOf(proxy, 'y')];
  const never = proxy.call('x', 'tools/call', { name: 'hold', arguments: { key: 'k' } }, { id: 'never' });
  const streaming = await proxy.stream('x', 'tools/call', { name: 'progress', arguments: { steps: 1, hold: 'k' } }, { id: 's', progressToken: 1 });
  await streaming.event('message');
  const slow = proxy.tool('x', 'sleep', { ms: 1_000 });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 3);
  const other = proxy.tool('y', 'hold', { key: 'k' });

  assert.deepEqual((await proxy.configure({ x: node('server.mjs', '--name', 'new'), y: good })).json().restarted, ['x']);
  assert.equal((await slow).content[0].text, 'done');
  const next = pidOf(proxy, 'x');
  await clock.run(9_999);
  assert.equal((await proxy.status())['x'].status, 'restarting');
  assert.equal((await proxy.status())['x'].pendingRequests, 3);
  assert.deepEqual(proxy.spawned('x'), [pid]);
  await clock.run(1);
  const data = { source: 'mcp-proxy', reason: 'reconfigured' };
  const reply = await never;
  assert.equal(reply.status, 200);
  assert.deepEqual(reply.json(), { jsonrpc: '2.0', id: 'never', error: { code: -32603, message: 'Server "x" was reconfigured', data } });
  const last = await nextMessage(streaming);
  assert.deepEqual([last.id, last.error.data], ['s', data]);
  assert.equal(await endOf(streaming), 'end');
  await proxy.flow(() => proxy.spawned('x').length === 2, 'the new process');
  assert.notEqual(await next, pid);
  await proxy.tool('y', 'release', { key: 'k' });
  assert.equal((await other).content[0].text, 'done');
});

for (const [what, servers] of [['removed', {}], ['disabled', { x: off }]] as const) {
  test(`when a server is ${what}, calls in flight may finish, and new ones are refused at once`, async (t) => {
    const clock = fakeClock();
    const proxy = await startProxy(t, { x: good }, { clock });
    await proxy.becomes('x', 'running');
    const slow = proxy.call('x', 'tools/call', { name: 'sleep', arguments: { ms: 1_000 } });
    const never = proxy.call('x', 'tools/call', { name: 'hold', arguments: { key: 'k' } });
    await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 2);
    await proxy.configure(servers);
    assert.equal((await proxy.call('x', 'tools/list')).status, what === 'removed' ? 404 : 503);
    assert.equal((await slow).json().result.content[0].text, 'done');
    await clock.run(10_000);
    const reply = await never;
    assert.equal(reply.status, 200);
    assert.equal(reply.json().error.code, -32603);
    await proxy.flow(() => !alive(proxy.spawned('x')[0]!), 'the end of the process');
  });
}

test('a change while the server starts kills that start and begins the new one; who waits goes on waiting', async (t) => {
  const proxy = await startProxy(t, { x: node('hangs-in-handshake.mjs') });
  const waiting = proxy.tool('x', 'echo', { a: 1 });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  const [first] = proxy.spawned('x');
  await proxy.configure({ x: good });
  assert.deepEqual(await waiting, { a: 1 });
  assert.equal(alive(first!), false);
});

test('of many changes in a row the last one counts, and there are never two processes of one server', async (t) => {
  const version = (n: number) => ({ x: { ...good, env: { VERSION: String(n) } } });
  const proxy = await startProxy(t, version(0));
  for (let n = 1; n <= 10; n++) {
    await proxy.configure(n % 3 === 0 ? {} : n % 5 === 0 ? { x: off } : version(n));
    if (n % 2 === 0) await until(() => proxy.log.length > 0, 'a turn');
  }
  await proxy.configure(version(11));
  assert.equal((await proxy.tool('x', 'env', { name: 'VERSION' })).value, '11');
  await until(() => proxy.spawned('x').filter(alive).length === 1, 'one process');
});

for (const [what, servers, status] of [['removed', {}, 404], ['disabled', { x: off }, 503]] as const) {
  for (const [state, entry] of [
    ['starting', node('hangs-in-handshake.mjs')],
    ['restarting', node('dies-at-start.mjs')],
    ['error', { ...node('dies-at-start.mjs'), maxRestarts: 0 }],
  ] as const) {
    test(`a server that is ${what} while its status is ${state} is not started any more, and who waits for it is told`, async (t) => {
      const clock = fakeClock();
      const proxy = await startProxy(t, { x: entry }, { clock });
      await proxy.becomes('x', state);
      const waiting = state === 'error' ? undefined : proxy.call('x', 'tools/list', {}, { id: 'w' });
      if (waiting) await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
      await proxy.configure(servers);
      const reply = await waiting;
      if (reply) assert.deepEqual([reply.status, reply.json().id, reply.json().error.data.reason], [503, 'w', 'unavailable']);
      assert.equal((await proxy.call('x', 'tools/list')).status, status);
      const spawned = proxy.spawned('x');
      await clock.run(100_000);
      await until(() => !spawned.some(alive), 'the end of its processes');
      assert.deepEqual(proxy.spawned('x'), spawned);
      if (what === 'disabled') assert.deepEqual(await proxy.status().then(({ x }) => [x.status, x.error, x.restartCount]), ['stopped', undefined, undefined]);
    });
  }
}

for (const state of ['restarting', 'error'] as const) {
  test(`a change starts a server at once whose status is ${state}, and what went wrong before is forgotten`, async (t) => {
    const clock = fakeClock();
    const proxy = await startProxy(t, { x: { ...node('dies-at-start.mjs'), maxRestarts: state === 'error' ? 0 : 3 } }, { clock });
    await proxy.becomes('x', state);
    const reader = await proxy.watch();
    await proxy.configure({ x: good });
    const { x } = await reader.delta();
    assert.deepEqual([x.status, x.restartCount], ['restarting', undefined]);
    assert.deepEqual((await reader.delta())['x'].status, 'running');
  });
}

test('a server that comes back while its old process is still leaving waits for it', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('deaf-to-signals.mjs') }, { clock });
  await proxy.becomes('x', 'running');
  await proxy.configure({});
  await clock.run(100);
  await proxy.configure({ x: good });
  const answer = proxy.tool('x', 'echo', { back: true });
  await clock.run(3_000);
  assert.equal(proxy.spawned('x').length, 1, 'the old process is deaf and needs four seconds');
  await clock.run(900);
  await until(() => !alive(proxy.spawned('x')[0]!), 'the end of the old process');
  await proxy.flow(() => proxy.spawned('x').length === 2, 'the new process');
  assert.deepEqual(group(proxy.spawned('x')[0]!), []);
  assert.deepEqual(await answer, { back: true });
});
