// What a child is found to speak: whatever it does when it is asked, its callers only wait.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alive, until } from '../support/files.ts';
import { fakeClock } from '../support/clock.ts';
import { node, startProxy } from '../support/proxy.ts';

const methods = (lines: readonly string[]): string[] => lines.map((line) => JSON.parse(line).method);
const handshake = ['server/discover', 'initialize', 'notifications/initialized', 'tools/call'];

for (const [how, silentMs, spawns, heard] of [
  ['-32601', 0, 1, handshake],
  ['-32602', 0, 1, handshake],
  ['-32022', 0, 1, handshake],
  ['0', 0, 1, handshake],
  ['empty', 0, 1, handshake],
  ['never', 5_000, 1, handshake],
  ['exit', 0, 2, handshake],
  ['wedge', 120_000, 2, ['server/discover', 'initialize', ...handshake.slice(1)]],
] as const) {
  test(`a call to a legacy server whose answer to server/discover is "${how}" is answered, after ${spawns === 1 ? 'one start' : 'two starts'} (T-104, T-104a)`, async (t) => {
    const clock = fakeClock();
    const proxy = await startProxy(t, { x: node('probed.mjs', how) }, { clock, limits: { startWaitMs: 200_000 } });
    let result: unknown;
    const call = proxy.tool('x', 'poke').then((answer) => (result = answer));
    await until(() => proxy.received('x').length > 0, 'the probe');
    await clock.run(silentMs);
    await proxy.flow(() => result, 'the answer');
    await call;
    assert.deepEqual(result, { probed: spawns === 1, how });
    assert.equal(proxy.spawned('x').length, spawns);
    if (spawns === 2) assert.equal(alive(proxy.spawned('x')[0]!), false);
    assert.deepEqual(methods(proxy.received('x')), heard);
    const { status, restartCount, error } = (await proxy.status())['x'];
    assert.deepEqual([status, restartCount, error], ['running', undefined, undefined]);
    assert.equal(proxy.logged('failed').length, 0);
  });
}

test('nothing of a client is written before the handshake is over, whatever way it takes (R-14)', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('probed.mjs', 'never') }, { clock });
  const calls = [proxy.tool('x', 'poke'), proxy.tool('x', 'poke')];
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 2);
  await until(() => proxy.received('x').length === 1, 'the probe');
  await clock.run(4_999);
  assert.deepEqual(methods(proxy.received('x')), ['server/discover']);
  await clock.run(1);
  await Promise.all(calls);
  assert.deepEqual(methods(proxy.received('x')), [...handshake, 'tools/call']);
});

test('what the configuration says is not tried', async (t) => {
  const both = node('server.mjs', '--modern');
  const proxy = await startProxy(t, { x: { ...both, protocol: 'legacy' }, y: { ...both, protocol: 'modern' } });
  for (const name of ['x', 'y']) await proxy.becomes(name, 'running');
  await until(() => proxy.received('x').length === 2, 'the whole handshake');
  assert.deepEqual([methods(proxy.received('x')), methods(proxy.received('y'))], [['initialize', 'notifications/initialized'], ['server/discover']]);
});

test('a modern server never sees initialize (T-105)', async (t) => {
  const proxy = await startProxy(t, { x: node('server.mjs', '--modern'), y: node('server.mjs', '--modern-only') });
  for (const name of ['x', 'y']) {
    await proxy.becomes(name, 'running');
    assert.deepEqual(methods(proxy.received(name)), ['server/discover']);
    assert.deepEqual(proxy.logged('running').flatMap(({ server, message }) => (server === name ? [message] : [])), ['running (MCP 2026-07-28)']);
  }
});

test('an entry that says what its server speaks is not asked, and not doubted', async (t) => {
  const dual = node('server.mjs', '--modern');
  const proxy = await startProxy(t, { x: { ...dual, protocol: 'legacy' }, y: { ...dual, protocol: 'modern' }, z: { ...node('server.mjs'), protocol: 'modern', maxRestarts: 0 } });
  for (const [name, heard] of [['x', ['initialize', 'notifications/initialized', 'tools/list']], ['y', ['server/discover', 'tools/list']]] as const) {
    await proxy.call(name, 'tools/list');
    assert.deepEqual(methods(proxy.received(name)), heard);
  }
  assert.equal((await proxy.becomes('z', 'error')).error, 'answered server/discover with nothing usable');
  assert.deepEqual(methods(proxy.received('z')), ['server/discover']);
});
