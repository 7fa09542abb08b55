import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Diff } from '../../src/config/diff.ts';
import type { Limits } from '../../src/config/limits.ts';
import type { Config, ServerConfig } from '../../src/config/schema.ts';
import { Fleet } from '../../src/relay/fleet.ts';
import { launchOf, noon, starts, testWorld } from '../child/world.ts';
import { turns as eventLoop } from '../support/clock.ts';
import { alive, group, tempDir, until } from '../support/files.ts';
import { FakeExchange, Reader } from './fakes.ts';

const posix = { skip: process.platform === 'win32' };

type Entry = readonly [name: string, fixture: string, args?: readonly string[], over?: Partial<ServerConfig>];

/** A fleet of real processes on a fake clock. */
function muster(t: TestContext, { limits = {}, secrets = [] }: { limits?: Partial<Limits>; secrets?: readonly string[] } = {}) {
  const clock = noon();
  const world = testWorld(clock, { limits });
  const dir = tempDir(t);
  const file = (name: string): string => join(dir, `${name}.starts`);
  const names = new Set<string>();
  const told: (readonly [name: string, urgent: boolean])[] = [];
  const fleet = new Fleet({
    world,
    env: { INHERITED: 'yes' },
    secrets,
    clientInfo: { name: 'proxy', version: '1.0.0' },
    onStatus: (name, urgent) => told.push([name, urgent]),
  });
  let closed: Promise<true> | undefined;
  t.after(async () => {
    closed ??= fleet.close().then(() => true);
    fleet.kill();
    await until(() => (clock.advance(100), Promise.race([closed!, false])), 'the end of the fleet');
    for (const name of names) for (const pid of starts(file(name))) await until(() => group(pid).length === 0, `the end of ${name}`);
  });
  const it = {
    fleet,
    world,
    clock,
    told,
    apply: (...entries: readonly Entry[]): Diff => {
      const servers = new Map<string, ServerConfig>();
      for (const [name, fixture, args = [], over = {}] of entries) {
        names.add(name);
        const { config } = launchOf(fixture, args, over);
        servers.set(name, { ...config, env: { STARTS: file(name), ...config.env } });
      }
      return fleet.apply({ servers, ignored: [] } satisfies Config);
    },
    close: (): Promise<true> => (closed ??= fleet.close().then(() => true)),
    starts: (name: string) => starts(file(name)),
    /** Names of the servers whose processes were spawned, in order. */
    spawned: (): string[] => world.entries.filter(({ event }) => event === 'spawn').map(({ server }) => server),
    status: (name: string) => fleet.statusOf(name)?.status,
    send: (name: string, method: string, params: object = {}): FakeExchange => {
      const exchange = new FakeExchange({ jsonrpc: '2.0', id: 1, method, params });
      fleet.get(name).dispatch(exchange, exchange.request);
      return exchange;
    },
    call: (name: string, tool: string, args: object = {}): FakeExchange => it.send(name, 'tools/call', { name: tool, arguments: args }),
    listen: (name: string): Reader => {
      const reader = new Reader();
      fleet.get(name).join(reader);
      fleet.get(name).wake();
      return reader;
    },
    reaches: (name: string, status: string) => until(() => it.status(name) === status, () => `${name} to be "${status}", it is "${it.status(name)}"`),
    /** The same, while the clock goes on in small steps. */
    reachesInTime: (name: string, status: string) => until(() => (it.status(name) === status || clock.advance(25), it.status(name) === status), () => `${name} to be "${status}"`),
    running: (...names: string[]) => Promise.all(names.map((name) => it.reaches(name, 'running'))),
  };
  return it;
}

const NOTHING: Diff = { started: [], stopped: [], restarted: [], kept: [] };

async function settled(exchange: FakeExchange): Promise<any> {
  await until(() => exchange.answers.length > 0, 'an answer');
  return exchange.outcome;
}

// ---- who is there

test('nothing starts before the fleet is started, then every enabled server does, and names keep the order of the configuration', async (t) => {
  const it = muster(t);
  const diff = it.apply(['b', 'server.mjs'], ['off', 'server.mjs', [], { disabled: true }], ['a', 'server.mjs'], ['2', 'server.mjs']);
  assert.deepEqual(diff, { ...NOTHING, started: ['b', 'a', '2'], kept: ['off'] });
  await eventLoop();
  assert.deepEqual(it.spawned(), []);
  assert.deepEqual(it.fleet.names(), ['b', 'off', 'a', '2']);
  assert.deepEqual(it.fleet.enabled(), ['b', 'a', '2']);
  it.fleet.start();
  await it.running('b', 'a', '2');
  assert.equal(it.status('off'), 'stopped');
  assert.deepEqual(it.spawned(), ['b', 'a', '2']);
  assert.equal(it.fleet.statusOf('none'), undefined);
});

test('a name that is not configured is unknown, a disabled server is not available, and neither starts anything', (t) => {
  const it = muster(t);
  it.apply(['off', 'server.mjs', [], { disabled: true }]);
  it.fleet.start();
  assert.throws(() => it.fleet.get('none'), { reason: 'unknown_server', status: 404, message: 'Unknown server: none' });
  for (const name of ['__proto__', 'constructor', 'toString', '']) assert.throws(() => it.fleet.get(name), { reason: 'unknown_server' });
  assert.throws(() => it.fleet.get('off'), { reason: 'unavailable', status: 503, message: 'Server "off" is not available: it is disabled' });
  assert.throws(() => it.fleet.restart('none'), { reason: 'unknown_server' });
  assert.deepEqual(it.spawned(), []);
});

test('one server that cannot run costs the others nothing', async (t) => {
  const it = muster(t);
  it.apply(
    ['dies', 'dies-at-start.mjs'],
    ['hangs', 'hangs-in-handshake.mjs'],
    ['missing', '', [], { command: '/no/such/program', args: [] }],
    ['remote', '', [], { command: undefined, args: [] }],
    ['good', 'server.mjs'],
  );
  it.fleet.start();
  await it.running('good');
  assert.equal(it.status('remote'), 'error');
  assert.equal(it.fleet.statusOf('remote')?.error, 'remote servers are not supported');
  assert.deepEqual((await settled(it.call('good', 'echo', { n: 1 }))).result.structuredContent, { n: 1 });
  assert.deepEqual(it.send('remote', 'tools/list').answers, [['unavailable', 'Server "remote" is not available: remote servers are not supported']]);
});

// ---- a turn to start

test('no more servers than START_CONCURRENCY are in their handshake, and one that somebody asks for goes before the rest', async (t) => {
  const dir = tempDir(t);
  const go = (name: string): string => join(dir, name);
  const it = muster(t, { limits: { startConcurrency: 2 } });
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  it.apply(...names.map((name) => [name, 'server.mjs', ['--start-when', go(name)]] as const));
  it.fleet.start();
  await until(() => it.starts('a').length + it.starts('b').length === 2, 'the first two');
  await eventLoop();
  assert.deepEqual(it.spawned(), ['a', 'b']);
  assert.deepEqual(names.map(it.status), Array(6).fill('starting'));
  const asked = it.call('e', 'echo', { e: 1 });
  const watched = it.listen('d');
  for (const [name, next] of [['b', 'd'], ['a', 'e'], ['e', 'c'], ['c', 'f']] as const) {
    writeFileSync(go(name), '');
    await it.running(name);
    assert.equal(it.spawned().at(-1), next, `after ${name}`);
  }
  assert.deepEqual(it.spawned(), ['a', 'b', 'd', 'e', 'c', 'f']);
  assert.deepEqual((await settled(asked)).result.structuredContent, { e: 1 });
  assert.deepEqual(watched.take(), []);
});

test('servers that hang keep one that somebody asks for waiting no longer than a turn takes', async (t) => {
  const it = muster(t, { limits: { startConcurrency: 2 } });
  it.apply(...Array.from({ length: 4 }, (_, k) => [`hangs${k}`, 'hangs-in-handshake.mjs'] as const), ['good', 'server.mjs']);
  it.fleet.start();
  await until(() => it.spawned().length === 2, 'the first two');
  const asked = it.call('good', 'echo');
  await it.clock.run(9_999);
  assert.equal(it.spawned().length, 2);
  await it.clock.run(1);
  assert.deepEqual(it.spawned(), ['hangs0', 'hangs1', 'good', 'hangs2']);
  await settled(asked);
});

// ---- a changed configuration

test('a configuration is taken over by touching what it changes and nothing else', async (t) => {
  const it = muster(t);
  it.apply(['same', 'server.mjs'], ['args', 'server.mjs'], ['env', 'server.mjs', [], { env: { A: '1', B: '2' } }], ['gone', 'server.mjs'], ['off', 'server.mjs']);
  it.fleet.start();
  await it.running('same', 'args', 'env', 'gone', 'off');
  const held = it.call('same', 'hold', { key: 'k' });
  const reader = it.listen('same');
  const removed = it.listen('gone');
  const disabled = it.listen('off');

  const diff = it.apply(
    ['new', 'server.mjs'],
    ['same', 'server.mjs', [], { autoRestart: false, maxRestarts: 9 }],
    ['args', 'server.mjs', ['--name', 'other']],
    ['env', 'server.mjs', [], { env: { B: '2', A: '1' } }], // another order is no change
    ['off', 'server.mjs', [], { disabled: true }],
  );
  assert.deepEqual(diff, { started: ['new'], stopped: ['off', 'gone'], restarted: ['args'], kept: ['same', 'env'] });
  assert.deepEqual(['new', 'same', 'args', 'env', 'off', 'gone'].map(it.status), ['starting', 'running', 'restarting', 'running', 'stopped', undefined]);
  assert.throws(() => it.fleet.get('gone'), { reason: 'unknown_server' });
  await it.reaches('new', 'running');
  await it.reachesInTime('args', 'running');
  for (const [name, count] of Object.entries({ same: 1, env: 1, args: 2, gone: 1, off: 1, new: 1 })) assert.equal(it.starts(name).length, count, name);
  await until(() => (it.clock.advance(25), group(it.starts('gone')[0]!).length + group(it.starts('off')[0]!).length === 0), 'the end of those that were stopped');
  for (const stream of [removed, disabled]) assert.deepEqual([stream.take(), stream.ended], [['close {}'], 1]);
  assert.deepEqual([reader.take(), reader.ended, held.answers], [[], 0, []]);
  assert.equal((await settled(it.send('args', 'initialize'))).result.serverInfo.name, 'other');
  const said = it.world.entries.filter(({ event }) => event === 'config_applied').map(({ message }) => message);
  assert.equal(said[1], 'configuration applied: started new; stopped off, gone; restarted args');
});

test('a configuration that changes nothing is no news', async (t) => {
  const it = muster(t);
  it.apply(['a', 'server.mjs']);
  it.fleet.start();
  await it.running('a');
  it.told.length = 0;
  assert.deepEqual(it.apply(['a', 'server.mjs']), { ...NOTHING, kept: ['a'] });
  assert.deepEqual(it.told, []);
  assert.equal(it.world.entries.filter(({ event }) => event === 'config_applied').length, 1);
  await eventLoop();
  assert.equal(it.starts('a').length, 1);
});

test('a changed maxRestarts counts at once, without a new process', async (t) => {
  const it = muster(t);
  it.apply(['a', 'server.mjs', [], { maxRestarts: 5 }]);
  it.fleet.start();
  await it.running('a');
  it.apply(['a', 'server.mjs', [], { maxRestarts: 0 }]);
  await settled(it.call('a', 'die'));
  assert.equal(it.status('a'), 'error');
});

test('calls in flight at a server that is removed or disabled have ten seconds, those who wait for it none', async (t) => {
  for (const entries of [[], [['a', 'server.mjs', [], { disabled: true }]]] as readonly (readonly Entry[])[]) {
    const it = muster(t);
    it.apply(['a', 'server.mjs']);
    it.fleet.start();
    await it.running('a');
    const held = it.call('a', 'hold', { key: 'k' });
    await settled(it.call('a', 'echo')); // so the other one has reached the child, too
    it.apply(...entries);
    await it.clock.run(9_999);
    assert.deepEqual(held.answers, []);
    await it.clock.run(1);
    assert.deepEqual(held.answers, [['reconfigured', 'Server "a" was reconfigured']]);
  }

  const it = muster(t);
  it.apply(['a', 'hangs-in-handshake.mjs']);
  it.fleet.start();
  await until(() => it.starts('a').length === 1, 'its process');
  const waits = it.call('a', 'echo');
  it.apply();
  assert.deepEqual(waits.answers, [['unavailable', 'Server "a" is not available: it was removed']]);
});

test('every change of the set is told at once', async (t) => {
  const it = muster(t);
  it.fleet.start();
  const urgent = (): string[] => [...new Set(it.told.splice(0).flatMap(([name, urgent]) => (urgent ? [name] : [])))];
  it.apply(['a', 'server.mjs'], ['off', 'server.mjs', [], { disabled: true }]);
  assert.ok(urgent().includes('a'));
  await it.running('a');
  urgent();
  it.apply(['off', 'server.mjs', [], { disabled: true }], ['remote', '', [], { command: undefined, args: [] }]);
  assert.deepEqual(urgent().sort(), ['a', 'remote']);
  it.apply(['off', 'server.mjs']);
  assert.deepEqual(urgent().sort(), ['off', 'remote']);
  it.apply(['off', 'server.mjs', [], { disabled: true }]);
  assert.deepEqual(urgent(), ['off']);
  it.apply(['off', 'server.mjs', [], { disabled: true }], ['off too', 'server.mjs', [], { disabled: true }]);
  assert.deepEqual(urgent(), ['off too']);
});

test('a running server whose entry becomes one that cannot run is told to be in error, and one that can run again to be starting', async (t) => {
  const it = muster(t);
  it.fleet.start();
  it.apply(['a', 'server.mjs']);
  await it.running('a');
  it.told.length = 0;
  it.apply(['a', '', [], { command: undefined, args: [] }]);
  assert.deepEqual([it.status('a'), it.fleet.statusOf('a')?.error], ['error', 'remote servers are not supported']);
  assert.ok(it.told.some(([name, urgent]) => name === 'a' && urgent), 'the change is told');
  await until(() => (it.clock.advance(25), group(it.starts('a')[0]!).length === 0), 'the end of its process');
  it.apply(['a', 'server.mjs']);
  await it.reachesInTime('a', 'running');
});

test('a server that failed and whose entry then becomes one that cannot run shows the new reason', async (t) => {
  const it = muster(t);
  it.fleet.start();
  it.apply(['a', 'dies-at-start.mjs', [], { maxRestarts: 0 }]);
  await it.reaches('a', 'error');
  it.apply(['a', '', [], { command: undefined, args: [] }]);
  assert.equal(it.fleet.statusOf('a')?.error, 'remote servers are not supported');
});

test('a changed server that had given up, or waits for its next attempt, is started at once', async (t) => {
  for (const maxRestarts of [0, 3]) {
    const it = muster(t);
    it.fleet.start();
    it.apply(['a', 'dies-at-start.mjs', [], { maxRestarts }]);
    await it.reaches('a', maxRestarts === 0 ? 'error' : 'restarting');
    it.apply(['a', 'server.mjs', [], { maxRestarts }]);
    await it.running('a');
    assert.equal(it.fleet.statusOf('a')?.restartCount, undefined);
  }
});

test('a server that is changed while it starts is started anew, and requests that wait go on waiting', async (t) => {
  const it = muster(t);
  it.fleet.start();
  it.apply(['a', 'hangs-in-handshake.mjs']);
  const waits = it.call('a', 'echo', { n: 1 });
  await until(() => it.starts('a').length === 1, 'its process');
  it.apply(['a', 'server.mjs']);
  await it.reachesInTime('a', 'running');
  assert.deepEqual((await settled(waits)).result.structuredContent, { n: 1 });
  assert.deepEqual(group(it.starts('a')[0]!), []);
});

// ---- a server that comes back

test('a server that is removed and added again while its old process lives starts when that is gone, as it is configured now', posix, async (t) => {
  const it = muster(t);
  it.fleet.start();
  it.apply(['a', 'deaf-to-signals.mjs']);
  await it.running('a');
  it.apply();
  assert.equal(it.fleet.statusOf('a'), undefined);
  await it.clock.run(1_000);
  assert.deepEqual(it.apply(['a', 'server.mjs', ['--name', 'second']]), { ...NOTHING, started: ['a'] });
  assert.equal(it.status('a'), 'starting');
  assert.equal(it.fleet.statusOf('a')?.lastUsed, '2026-01-01T12:00:01.000Z');
  const waits = it.send('a', 'initialize');
  await it.clock.run(2_999);
  assert.equal(alive(it.starts('a')[0]!), true);
  assert.equal(it.spawned().length, 1);
  await it.clock.run(1);
  await it.reachesInTime('a', 'running');
  assert.deepEqual(group(it.starts('a')[0]!), []);
  assert.equal((await settled(waits)).result.serverInfo.name, 'second');
  assert.equal(it.spawned().length, 2);
});

test('a server that comes and goes as often as it likes is one process in the end, or none', posix, async (t) => {
  for (const last of ['there', 'gone', 'disabled'] as const) {
    const it = muster(t);
    it.fleet.start();
    it.apply(['a', 'deaf-to-stdin.mjs']);
    await it.running('a');
    for (let k = 0; k < 5; k++) {
      it.apply();
      it.apply(['a', 'deaf-to-stdin.mjs', [String(k)], { disabled: k % 2 === 0 }]);
    }
    if (last === 'gone') it.apply();
    if (last === 'disabled') it.apply(['a', 'deaf-to-stdin.mjs', [], { disabled: true }]);
    if (last === 'there') it.apply(['a', 'deaf-to-stdin.mjs', ['last']]);
    await it.clock.run(2_000);
    await until(() => (it.clock.advance(25), group(it.starts('a')[0]!).length === 0), 'the end of the first process');
    if (last === 'there') await it.reachesInTime('a', 'running');
    await it.clock.run(10_000);
    await eventLoop();
    assert.equal(it.status('a'), { there: 'running', gone: undefined, disabled: 'stopped' }[last]);
    assert.equal(it.spawned().length, last === 'there' ? 2 : 1);
  }
});

test('a server that is disabled and enabled during its drain keeps its calls in flight, and new ones get the new process', async (t) => {
  const it = muster(t);
  it.fleet.start();
  it.apply(['a', 'server.mjs']);
  await it.running('a');
  const held = it.call('a', 'sleep', { ms: 30 });
  await settled(it.call('a', 'echo'));
  it.apply(['a', 'server.mjs', [], { disabled: true }]);
  it.apply(['a', 'server.mjs']);
  const waits = it.call('a', 'pid');
  assert.deepEqual((await settled(held)).result.content, [{ type: 'text', text: 'done' }]);
  await it.reachesInTime('a', 'running');
  assert.equal((await settled(waits)).result.structuredContent.pid, it.starts('a')[1]);
});

const becomesIsolated = (it: ReturnType<typeof muster>, ...args: string[]): Diff => it.apply(['a', 'server.mjs', args, { isolation: 'session' }]);
for (const [what, change] of [
  ['becomes isolated and is changed once more', (it: ReturnType<typeof muster>) => [becomesIsolated(it), becomesIsolated(it, '--name', 'again')]],
  ['becomes isolated and is restarted by the operator', (it: ReturnType<typeof muster>) => [becomesIsolated(it), it.fleet.restart('a')]],
  ['is removed, and comes back isolated,', (it: ReturnType<typeof muster>) => [it.apply(), becomesIsolated(it)]],
] as const) {
  test(`a server that ${what} while its calls finish still ends its shared sessions`, async (t) => {
    const it = muster(t);
    it.fleet.start();
    it.apply(['a', 'server.mjs']);
    await it.running('a');
    let ended = 0;
    it.fleet.get('a').join({ holder: {}, open: true, hear() {}, onServerEnd: () => ended++ });
    const held = it.call('a', 'sleep', { ms: 30 });
    await settled(it.call('a', 'echo'));
    change(it);
    await settled(held);
    assert.equal(ended, 1);
  });
}

// ---- restart by the operator

test('a restart is a new process, clears the failure, and touches nobody else', async (t) => {
  const memory = join(tempDir(t), 'memory');
  const it = muster(t);
  it.fleet.start();
  it.apply(['a', 'dies-once.mjs', [memory], { maxRestarts: 0 }], ['b', 'server.mjs']);
  await it.reaches('a', 'error');
  await it.running('b');
  it.fleet.restart('a');
  assert.equal(it.status('a'), 'restarting');
  await it.running('a');
  assert.deepEqual([it.fleet.statusOf('a')?.error, it.starts('a').length, it.starts('b').length], [undefined, 2, 1]);
});

// ---- the end

test('a close refuses what is new, gives calls in flight five seconds, ends streams and processes all at once, and leaves nothing', posix, async (t) => {
  const it = muster(t);
  it.fleet.start();
  const names = ['a', 'b', 'c'];
  it.apply(...names.map((name) => [name, 'server.mjs'] as const), ['deaf', 'deaf-to-signals.mjs'], ['deaf too', 'deaf-to-signals.mjs'], ['leaving', 'deaf-to-signals.mjs']);
  await it.running(...names, 'deaf', 'deaf too', 'leaving');
  it.apply(...names.map((name) => [name, 'server.mjs'] as const), ['deaf', 'deaf-to-signals.mjs'], ['deaf too', 'deaf-to-signals.mjs']);
  const held = names.map((name) => it.call(name, 'hold', { key: 'k' }));
  const streams = names.map(it.listen);
  await settled(it.call('a', 'echo'));
  const processes = [...names, 'deaf', 'deaf too', 'leaving'].map((name) => it.starts(name)[0]!);
  const before = it.clock.now();
  const closed = it.close();
  assert.throws(() => it.fleet.get('a'), { reason: 'shutdown', status: 503 });
  assert.throws(() => it.fleet.get('none'), { reason: 'shutdown' });
  await it.clock.run(4_999);
  assert.deepEqual(held.flatMap(({ answers }) => answers), []);
  await it.clock.run(1);
  for (const exchange of held) assert.deepEqual(exchange.answers, [['shutdown', 'Shutting down']]);
  for (const stream of streams) assert.deepEqual([stream.take(), stream.ended], [['close {}'], 1]);
  await until(() => (it.clock.advance(25), Promise.race([closed, false])), 'the end of the fleet');
  assert.ok(it.clock.now() - before <= 10_000, 'within ten seconds');
  assert.deepEqual(processes.filter(alive), []);
  assert.equal(it.clock.pending, 0);
});

test('a close waits for the processes of servers that were removed before it, and shortens what their calls still have', posix, async (t) => {
  const it = muster(t, { limits: { goneAfterKillMs: 60_000 } }); // the clock must not run out on a kernel that is slow to end them
  it.fleet.start();
  it.apply(['deaf', 'deaf-to-signals.mjs'], ['busy', 'server.mjs']);
  await it.running('deaf', 'busy');
  const held = it.call('busy', 'hold', { key: 'k' });
  await settled(it.call('busy', 'echo'));
  it.apply();
  const closed = it.close();
  await it.clock.run(3_999);
  assert.equal(await Promise.race([closed, 'open']), 'open');
  assert.equal(alive(it.starts('deaf')[0]!), true);
  await it.clock.run(1_001);
  assert.deepEqual(held.answers, [['shutdown', 'Shutting down']]);
  await until(() => (it.clock.advance(25), Promise.race([closed, false])), 'the end of the fleet');
  assert.deepEqual([...it.starts('deaf'), ...it.starts('busy')].filter(alive), []);
});

test('a close in the middle of starts, waits and drains is over when nothing is left, and nothing starts after it', async (t) => {
  const it = muster(t, { limits: { startConcurrency: 2 } });
  it.fleet.start();
  it.apply(['dies', 'dies-at-start.mjs']);
  await it.reaches('dies', 'restarting');
  it.apply(['dies', 'dies-at-start.mjs'], ['hangs', 'hangs-in-handshake.mjs'], ['good', 'server.mjs'], ['waits', 'server.mjs'], ['off', 'server.mjs', [], { disabled: true }]);
  await it.running('good');
  const waiting = it.call('hangs', 'poke');
  const closed = it.close();
  assert.deepEqual(waiting.answers, [['shutdown', 'Shutting down']]);
  await until(() => (it.clock.advance(25), Promise.race([closed, false])), 'the end of the fleet');
  const spawned = it.spawned().length;
  it.apply(['new', 'server.mjs'], ['good', 'server.mjs', ['--name', 'x']]);
  await it.clock.run(100_000);
  assert.equal(it.spawned().length, spawned);
  assert.deepEqual(it.fleet.names().flatMap(it.starts).filter(alive), []);
});

test('kill ends every process at once, those of removed servers too', posix, async (t) => {
  const it = muster(t);
  it.fleet.start();
  it.apply(['a', 'deaf-to-signals.mjs'], ['b', 'leaves-grandchild.mjs', ['deaf']]);
  await it.running('a', 'b');
  it.apply(['b', 'leaves-grandchild.mjs', ['deaf']]);
  it.fleet.kill();
  await until(() => group(it.starts('a')[0]!).length + group(it.starts('b')[0]!).length === 0, 'the end of both groups');
});

// ---- secrets

test('the values of an entry’s own env and the secrets of the proxy are shown nowhere, those of a new configuration from then on', async (t) => {
  const it = muster(t, { secrets: ['proxy-secret', undefined as unknown as string, 'short'] });
  it.fleet.start();
  const said = 'old-secret new-secret proxy-secret short yes';
  it.apply(['a', 'dies-at-start.mjs', [said], { env: { KEY: 'old-secret' }, maxRestarts: 0 }]);
  await it.reaches('a', 'error');
  assert.equal(it.fleet.statusOf('a')?.stderr, '*** new-secret *** short yes');
  it.apply(['a', 'dies-at-start.mjs', [said], { env: { KEY: 'new-secret' }, maxRestarts: 0 }]);
  await until(() => it.starts('a').length === 2, 'the second process');
  await it.reaches('a', 'error');
  assert.equal(it.fleet.statusOf('a')?.stderr, 'old-secret *** *** short yes');
  assert.deepEqual((await settled(it.send('a', 'tools/list'))), 'unavailable');
});

test('children get the inherited environment under that of their entry', async (t) => {
  const it = muster(t);
  it.fleet.start();
  it.apply(['a', 'server.mjs'], ['b', 'server.mjs', [], { env: { INHERITED: 'no' } }]);
  const value = async (name: string): Promise<unknown> => (await settled(it.call(name, 'env', { name: 'INHERITED' }))).result.structuredContent.value;
  assert.deepEqual([await value('a'), await value('b')], ['yes', 'no']);
});
