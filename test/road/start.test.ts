// Servers that start, when they are asked for and how many at a time, and that are stopped when nobody uses them.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { alive, tempDir, until } from '../support/files.ts';
import { node, startProxy, type ProxySetup, type Servers } from '../support/proxy.ts';

const good = node('server.mjs');
const IDLE_MS = 300_000;

async function start(t: TestContext, servers: Servers, setup: ProxySetup = {}) {
  const clock = fakeClock();
  const proxy = await startProxy(t, servers, { clock, ...setup });
  const statusOf = async (name = 'x'): Promise<string> => (await proxy.status())[name].status;
  /** Lets it become idle, `ms` from now, and its process end. */
  const idle = async (ms = IDLE_MS): Promise<void> => {
    await clock.run(ms);
    await proxy.flow(async () => (await statusOf()) === 'stopped', 'the idle stop');
  };
  return { clock, proxy, statusOf, idle };
}

// ---- starting

test('fifty requests at the same moment start an idle server once, and all are answered', async (t) => {
  const { proxy, idle } = await start(t, { x: good });
  await proxy.becomes('x', 'running');
  await idle();
  const answers = await Promise.all(Array.from({ length: 50 }, (_, k) => proxy.tool('x', 'echo', { k })));
  assert.deepEqual(answers.map(({ k }) => k), Array.from({ length: 50 }, (_, k) => k));
  assert.equal(proxy.spawned('x').length, 2);
});

test('requests that come while a server starts are written after its handshake, in the order in which they came', async (t) => {
  const gate = join(tempDir(t), 'gate');
  const { proxy } = await start(t, { x: node('server.mjs', '--start-when', gate) });
  const waiting = [];
  for (let k = 0; k < 10; k++) {
    waiting.push(proxy.tool('x', 'echo', { k }));
    await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === k + 1);
  }
  writeFileSync(gate, '');
  await Promise.all(waiting);
  const received = proxy.received('x').map((line) => JSON.parse(line));
  assert.deepEqual(received.slice(0, 3).map(({ method }) => method), ['server/discover', 'initialize', 'notifications/initialized']);
  assert.deepEqual(received.slice(3).map(({ params }) => params.arguments.k), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('the handshake offers 2025-11-25, says who the proxy is and declares what every client can refuse', async (t) => {
  const { proxy } = await start(t, { x: good });
  await proxy.tool('x', 'echo');
  const [, initialize, initialized] = proxy.received('x').map((line) => JSON.parse(line));
  const { protocolVersion, capabilities, clientInfo } = initialize.params;
  assert.equal(protocolVersion, '2025-11-25');
  assert.deepEqual(capabilities, { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} });
  assert.equal(clientInfo.name, '@prompty-app/mcp-proxy');
  assert.deepEqual([initialized.method, 'id' in initialized], ['notifications/initialized', false]);
});

test('after fifty seconds of waiting a request is told to come back; the start goes on', async (t) => {
  const gate = join(tempDir(t), 'gate');
  const { proxy, clock, statusOf } = await start(t, { x: node('server.mjs', '--start-when', gate) });
  const early = proxy.call('x', 'tools/list', {}, { id: 'early' });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  await clock.run(10_000);
  const late = proxy.tool('x', 'echo', { late: true });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 2);
  await clock.run(40_000);
  const reply = await early;
  assert.deepEqual([reply.status, reply.headers['retry-after']], [503, '5']);
  assert.deepEqual(reply.json(), {
    jsonrpc: '2.0',
    id: 'early',
    error: { code: -32603, message: 'Server "x" is still starting', data: { source: 'mcp-proxy', reason: 'starting' } },
  });
  assert.equal(await statusOf(), 'starting');
  writeFileSync(gate, '');
  assert.deepEqual(await late, { late: true });
  assert.equal(proxy.spawned('x').length, 1);
});

test('a handshake that takes more than three minutes is a failure', async (t) => {
  const { proxy, clock, statusOf } = await start(t, { x: { ...node('hangs-in-handshake.mjs'), maxRestarts: 0 } });
  await until(() => proxy.spawned('x').length === 1, 'the start');
  const before = clock.now();
  await clock.run(120_000);
  await proxy.flow(() => proxy.spawned('x').length === 2, 'the start without a probe');
  await clock.run(before + 179_999 - clock.now());
  assert.equal(await statusOf(), 'starting');
  const waiting = proxy.call('x', 'tools/list');
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  await clock.run(1);
  assert.equal((await waiting).status, 503);
  const { status, error } = (await proxy.status())['x'];
  assert.deepEqual([status, error], ['error', 'did not finish its handshake in 180000 ms']);
});

for (const [how, error] of [
  ['1999-01-01', /protocol version/],
  ['error', /refused initialize \(-32000: not today\)/],
  ['null', /initialize/],
  ['empty', /protocol version/],
] as const) {
  test(`a server that answers initialize with ${how} has failed`, async (t) => {
    const { proxy } = await start(t, { x: { ...node('bad-initialize.mjs', how), maxRestarts: 0 } });
    assert.match((await proxy.becomes('x', 'error')).error, error);
    await proxy.flow(() => !alive(proxy.spawned('x')[0]!), 'the end of its process');
  });
}

for (const version of ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']) {
  test(`a server that answers initialize with ${version} works`, async (t) => {
    const { proxy } = await start(t, { x: node('server.mjs', '--version', version) });
    assert.deepEqual(await proxy.tool('x', 'echo', { version }), { version });
  });
}

test('so many servers start at the same time and no more; who is asked for goes first', async (t) => {
  const gates = tempDir(t);
  const names = ['a', 'b', 'c', 'd', 'e'];
  const servers = Object.fromEntries(names.map((name) => [name, node('server.mjs', '--start-when', join(gates, name))]));
  const { proxy } = await start(t, servers, { limits: { startConcurrency: 2 } });
  const started = (): string => proxy.logged('spawn').map(({ server }) => server).join('');
  const next = async (finished: string, expected: string): Promise<void> => {
    writeFileSync(join(gates, finished), '');
    await proxy.becomes(finished, 'running');
    await until(() => started() === expected, () => `${expected}, but ${started()}`);
  };
  await until(() => started() === 'ab', 'the first two');
  assert.ok(Object.values(await proxy.status()).every(({ status }) => status === 'starting'));
  const asked = proxy.tool('e', 'echo', { asked: true });
  await proxy.becomes('e', ({ pendingRequests }: any) => pendingRequests === 1);
  await next('b', 'abe');
  const opened = await proxy.listen('d');
  await next('a', 'abed');
  await next('d', 'abedc');
  writeFileSync(join(gates, 'e'), '');
  assert.deepEqual(await asked, { asked: true });
  await opened.close();
});

test('a server that fails, hangs, is misspelt or is no server at all keeps no other from starting and answering', async (t) => {
  const proxy = await startProxy(t, {
    misspelt: { command: 'no-such-program-anywhere' },
    hangs: node('hangs-in-handshake.mjs'),
    fails: node('dies-at-start.mjs'),
    nul: { command: 'sh', args: ['-c', 'exit 0'] },
    directory: { command: tempDir(t) },
    remote: { url: 'http://elsewhere' },
    x: good,
  });
  assert.deepEqual(await proxy.tool('x', 'echo', { a: 1 }), { a: 1 });
  assert.equal((await proxy.status())['hangs'].status, 'starting');
});

// ---- idle

test('a server that nobody uses for five minutes is stopped, and the next request starts it again', async (t) => {
  const { proxy, clock, statusOf, idle } = await start(t, { x: good });
  const { pid } = await proxy.tool('x', 'pid');
  await clock.run(IDLE_MS - 1);
  assert.equal(await statusOf(), 'running');
  await idle(1);
  assert.equal(alive(pid), false);
  assert.equal((await proxy.status())['x'].error, undefined);
  const again = await proxy.tool('x', 'pid');
  assert.notEqual(again.pid, pid);
});

test('a request puts the idle stop off; a ping and a look at the status do not', async (t) => {
  const { proxy, clock, statusOf } = await start(t, { x: good });
  await proxy.becomes('x', 'running');
  await clock.run(200_000);
  await proxy.tool('x', 'echo');
  await clock.run(200_000);
  assert.equal(await statusOf(), 'running');
  await proxy.call('x', 'ping');
  await proxy.watch();
  await clock.run(100_000);
  await proxy.flow(async () => (await statusOf()) === 'stopped', 'the idle stop');
});

test('a call in flight or an open stream keeps a server; when they are over, the five minutes begin', async (t) => {
  const { proxy, clock, statusOf } = await start(t, { x: good }, { limits: { requestTimeoutMs: 0 } });
  await proxy.becomes('x', 'running');
  const stream = await proxy.listen('x');
  await clock.run(2 * IDLE_MS);
  assert.equal(await statusOf(), 'running');
  const held = proxy.tool('x', 'hold', { key: 'k' });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  await stream.close();
  await clock.run(2 * IDLE_MS);
  assert.equal(await statusOf(), 'running');
  await proxy.tool('x', 'release', { key: 'k' });
  await held;
  await clock.run(IDLE_MS - 1);
  assert.equal(await statusOf(), 'running');
  await clock.run(1);
  await proxy.flow(async () => (await statusOf()) === 'stopped', 'the idle stop');
});

test('opening a stream starts an idle server', async (t) => {
  const { proxy, idle } = await start(t, { x: good });
  await proxy.becomes('x', 'running');
  await idle();
  await proxy.listen('x');
  await proxy.becomes('x', 'running');
});

test('a ping is answered without a process, and starts none', async (t) => {
  const { proxy, statusOf, idle } = await start(t, { x: good, broken: { command: 'no-such-program-anywhere', maxRestarts: 0 } });
  await proxy.becomes('x', 'running');
  await idle();
  assert.deepEqual((await proxy.call('x', 'ping')).json(), { jsonrpc: '2.0', id: 1, result: {} });
  assert.equal(await statusOf(), 'stopped');
  const { error } = (await proxy.call('broken', 'ping')).json();
  assert.equal(error.code, -32603, 'but a server that failed is not well');
});

test('with an idle timeout of 0 nothing is ever idle', async (t) => {
  const { proxy, clock, statusOf } = await start(t, { x: good }, { limits: { idleTimeoutMs: 0 } });
  await proxy.becomes('x', 'running');
  await clock.run(86_400_000);
  assert.equal(await statusOf(), 'running');
});

test('a request that comes while an idle server is being stopped is served by the next process', async (t) => {
  const { proxy, clock, statusOf } = await start(t, { x: node('deaf-to-stdin.mjs') });
  await proxy.becomes('x', 'running');
  await clock.run(IDLE_MS);
  assert.equal(await statusOf(), 'running', 'the idle stop is under way');
  const answer = proxy.tool('x', 'poke');
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  assert.equal(proxy.spawned('x').length, 1);
  await proxy.flow(() => proxy.spawned('x').length === 2, 'the next process');
  assert.deepEqual(await answer, { ok: true });
});
