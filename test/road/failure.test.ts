// Servers that die, in whatever way: what their callers are told, when they come back, and when they are given up.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { alive, tempDir, until } from '../support/files.ts';
import type { Reply } from '../support/http.ts';
import { endOf, node, startProxy, type ProxySetup, type Servers } from '../support/proxy.ts';

const good = node('server.mjs');

async function start(t: TestContext, servers: Servers, setup: ProxySetup = {}) {
  const clock = fakeClock();
  const proxy = await startProxy(t, servers, { clock, ...setup });
  const statusOf = async (): Promise<string> => (await proxy.status())['x'].status;
  return { clock, proxy, statusOf };
}

test('calls in flight when a server is killed are answered once each, with HTTP status 200, and are not tried again', async (t) => {
  const { proxy, clock } = await start(t, { x: good });
  await proxy.becomes('x', 'running');
  const stream = await proxy.stream('x', 'tools/call', { name: 'progress', arguments: { steps: 1, hold: 'k' } }, { id: 's', progressToken: 1 });
  const plain = proxy.call('x', 'tools/call', { name: 'hold', arguments: { key: 'k' } }, { id: 'p' });
  const streamed = proxy.call('x', 'tools/call', { name: 'hold', arguments: { key: 'k' } }, { id: 'o', headers: { Accept: 'text/event-stream' } });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 3);
  await proxy.tool('x', 'echo'); // by now the child has read the others
  process.kill(proxy.spawned('x')[0]!, 'SIGKILL');

  const reply = await plain;
  assert.equal(reply.status, 200);
  const { id, error } = reply.json();
  assert.deepEqual([id, error.code, error.message], ['p', -32603, 'Server "x" exited (signal SIGKILL)']);
  assert.deepEqual(error.data, { source: 'mcp-proxy', reason: 'child_exited', signal: 'SIGKILL' });
  assert.equal(await endOf(stream), 'end');
  assert.match(stream.raw.toString(), /"id":"s","error":\{"code":-32603/);
  assert.match((await streamed).text, /^event: message\ndata: \{"jsonrpc":"2\.0","id":"o","error":\{"code":-32603.*\n\n$/);

  const waiting = proxy.tool('x', 'journal');
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  await clock.run(1_000);
  const { messages } = await waiting;
  assert.deepEqual(messages.map(({ method }: any) => method), ['initialize', 'notifications/initialized', 'tools/call']);
  assert.equal(proxy.received('x').filter((line) => line.includes('"hold"')).length, 3);
});

for (const [what, entry, message, data] of [
  ['exits with a code', node('dies-in-call.mjs', 7), 'Server "x" exited (code 7)', { exitCode: 7, stderr: 'fatal: poke went wrong' }],
  ['exits with code 0', node('dies-in-call.mjs', 0), 'Server "x" exited (code 0)', { exitCode: 0, stderr: 'fatal: poke went wrong' }],
  ['exits with half an answer', node('half-line-then-exit.mjs'), 'Server "x" exited (code 0)', { exitCode: 0 }],
  ['closes its stdout and lives on', node('closes-stdout.mjs'), 'Server "x" closed its stdout', {}],
  ['closes its stdin and lives on', node('closes-stdin.mjs'), 'Server "x" closed its stdin', {}],
] as const) {
  test(`a call to a server that ${what} is answered at once, and a new process serves the next`, async (t) => {
    const clock = fakeClock();
    const proxy = await startProxy(t, { x: { ...entry, maxRestarts: 1 } }, { clock });
    await proxy.becomes('x', 'running');
    let reply: Reply | undefined;
    void proxy.call('x', 'tools/call', { name: 'poke' }).then((answer) => (reply = answer));
    const { status, error } = await proxy.flow(() => reply, 'the answer').then((reply) => ({ status: reply!.status, error: reply!.json().error }));
    assert.equal(status, 200);
    assert.deepEqual([error.code, error.message, error.data], [-32603, message, { source: 'mcp-proxy', reason: 'child_exited', ...data }]);
    await proxy.flow(() => proxy.spawned('x').length === 2, 'the next process');
    assert.equal(alive(proxy.spawned('x')[0]!), false);
  });
}

test('restarts come after 1, 2, 4, 8, 16, 30 and 30 seconds, and then the server is given up', async (t) => {
  const { proxy, clock, statusOf } = await start(t, { x: { ...node('dies-in-handshake.mjs'), maxRestarts: 7 } });
  for (const [k, seconds] of [1, 2, 4, 8, 16, 30, 30].entries()) {
    const { status, error } = await proxy.becomes('x', ({ restartCount }: any) => restartCount === k + 1);
    assert.deepEqual([status, error], ['restarting', 'exited with code 1']);
    await until(() => !alive(proxy.spawned('x').at(-1)!), 'the end of the process');
    await clock.run(seconds * 1_000 - 1);
    assert.equal(proxy.spawned('x').length, k + 1);
    await clock.run(1);
    assert.equal(proxy.spawned('x').length, k + 2);
  }
  await proxy.becomes('x', 'error');
  await clock.run(86_400_000);
  assert.equal(await statusOf(), 'error');
  assert.equal(proxy.spawned('x').length, 8);
});

for (const [chance, ms] of [[0, 800], [0.25, 900], [1, 1_200]] as const) {
  test(`chance moves the first restart to ${ms} ms`, async (t) => {
    const { proxy, clock } = await start(t, { x: node('dies-in-handshake.mjs') }, { random: () => chance });
    await proxy.becomes('x', 'restarting');
    await clock.run(ms - 1);
    assert.equal(proxy.spawned('x').length, 1);
    await clock.run(1);
    assert.equal(proxy.spawned('x').length, 2);
  });
}

for (const [what, entry, starts] of [
  ['maxRestarts: 2', { maxRestarts: 2 }, 3],
  ['maxRestarts: 0', { maxRestarts: 0 }, 1],
  ['autoRestart: false', { autoRestart: false }, 1],
] as const) {
  test(`with ${what}, a server that never starts is started ${starts} times; then requests get 503 with the reason at once`, async (t) => {
    const proxy = await startProxy(t, { x: { ...node('dies-in-handshake.mjs', 'cannot find the database'), ...entry } }, { limits: { backoffFirstMs: 1 } });
    const waiting = await proxy.call('x', 'tools/list', {}, { id: 'w' });
    await proxy.becomes('x', 'error');
    for (const reply of [waiting, await proxy.call('x', 'tools/list', {}, { id: 'w' })]) {
      assert.equal(reply.status, 503);
      assert.deepEqual(reply.json(), {
        jsonrpc: '2.0',
        id: 'w',
        error: {
          code: -32603,
          message: 'Server "x" is not available: exited with code 1',
          data: { source: 'mcp-proxy', reason: 'unavailable', stderr: 'cannot find the database' },
        },
      });
    }
    assert.equal(proxy.spawned('x').length, starts);
  });
}

test('a command that cannot be started takes the same steps, and requests are told why', async (t) => {
  const proxy = await startProxy(t, { x: { command: 'no-such-program-anywhere' }, y: { command: tempDir(t), maxRestarts: 0 } }, { limits: { backoffFirstMs: 1 } });
  const reply = await proxy.call('x', 'tools/list');
  assert.deepEqual([reply.status, reply.json().error.message], [503, 'Server "x" is not available: spawn ENOENT']);
  assert.equal((await proxy.status())['x'].restartCount, 3);
  assert.equal((await proxy.becomes('y', 'error')).error, 'spawn EACCES');
});

test('a server that was given up is tried once more by the first request after a minute, and no more than once', async (t) => {
  const { proxy, clock, statusOf } = await start(t, { x: { ...node('dies-in-handshake.mjs'), maxRestarts: 0 } });
  await proxy.becomes('x', 'error');
  await clock.run(59_999);
  assert.equal((await proxy.call('x', 'tools/list')).status, 503);
  assert.equal(proxy.spawned('x').length, 1);
  await clock.run(1);
  const replies = await Promise.all([1, 2, 3].map(() => proxy.call('x', 'tools/list')));
  assert.deepEqual(replies.map(({ status }) => status), [503, 503, 503]);
  assert.equal(proxy.spawned('x').length, 2);
  assert.equal(await statusOf(), 'error');
  assert.equal((await proxy.call('x', 'tools/list')).status, 503);
  assert.equal(proxy.spawned('x').length, 2, 'the minute begins anew');
});

test('if that attempt succeeds, everything is forgotten', async (t) => {
  const memory = join(tempDir(t), 'memory');
  const { proxy, clock } = await start(t, { x: { ...node('dies-once.mjs', memory), maxRestarts: 0 } });
  await proxy.becomes('x', 'error');
  await clock.run(60_000);
  const reader = await proxy.watch();
  const answer = proxy.tool('x', 'poke');
  assert.equal((await reader.delta())['x'].status, 'starting');
  assert.deepEqual(await answer, { ok: true });
  const { status, restartCount, error } = (await proxy.status())['x'];
  assert.deepEqual([status, restartCount, error], ['running', undefined, undefined]);
});

test('restarts in a row are counted until the server has run for a minute', async (t) => {
  const { proxy, clock } = await start(t, { x: { ...good, maxRestarts: 2 } });
  const dies = async (restartCount: number | undefined, status: string): Promise<void> => {
    await proxy.becomes('x', 'running');
    process.kill(proxy.spawned('x').at(-1)!, 'SIGKILL');
    const now = await proxy.becomes('x', status);
    assert.equal(now.restartCount, restartCount);
    await clock.run(4_000);
  };
  await dies(1, 'restarting');
  await dies(2, 'restarting');
  await proxy.becomes('x', 'running');
  await clock.run(60_000);
  assert.equal((await proxy.status())['x'].restartCount, undefined);
  await dies(1, 'restarting');
  await dies(2, 'restarting');
  await dies(2, 'error');
});

test('a request that comes during the backoff waits for the restart', async (t) => {
  const { proxy, clock } = await start(t, { x: good });
  await proxy.becomes('x', 'running');
  process.kill(proxy.spawned('x')[0]!, 'SIGKILL');
  await proxy.becomes('x', 'restarting');
  const answer = proxy.tool('x', 'echo', { a: 1 });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  await clock.run(999);
  assert.equal(proxy.spawned('x').length, 1);
  await clock.run(1);
  assert.deepEqual(await answer, { a: 1 });
});

test('one server that dies over and over disturbs no other', async (t) => {
  const proxy = await startProxy(t, { x: { ...node('dies-after-handshake.mjs'), maxRestarts: 1_000 }, y: good }, { limits: { backoffFirstMs: 0, backoffMaxMs: 0 } });
  const { pid } = await proxy.tool('y', 'pid');
  await until(() => proxy.spawned('x').length > 3, 'a few restarts');
  assert.equal((await proxy.tool('y', 'pid')).pid, pid);
  assert.match((await proxy.becomes('x', ({ error }: any) => error)).stderr, /^lost the database$/);
});
