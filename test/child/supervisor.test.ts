import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { ProxyError } from '../../src/base/errors.ts';
import type { LogEntry } from '../../src/base/log.ts';
import type { Link } from '../../src/child/handshake.ts';
import { reaperOf } from '../../src/child/reaper.ts';
import { Supervisor, type Failure, type Launch } from '../../src/child/supervisor.ts';
import { Turns } from '../../src/child/turns.ts';
import type { Profile } from '../../src/protocol/legacy.ts';
import { encodeCall, type RpcMessage } from '../../src/wire/jsonrpc.ts';
import { turns as eventLoop } from '../support/clock.ts';
import { alive, fixture, group, tempDir, until } from '../support/files.ts';
import { launchOf, launchScript, noon, starts, testWorld, type WorldOptions } from './world.ts';

const posix = { skip: process.platform === 'win32' };

interface Options extends WorldOptions {
  readonly turns?: Turns;
}

/** A supervisor on a fake clock with real processes, and all that it tells. */
function supervise(t: TestContext, launch: Launch, { turns = new Turns(4), ...options }: Options = {}) {
  const clock = noon();
  const world = testWorld(clock, options);
  const file = join(tempDir(t), 'starts');
  const statuses: string[] = [];
  const told = {
    ups: [] as { readonly link: Link; readonly profile: Profile }[],
    lines: [] as string[],
    early: [] as RpcMessage[],
    drains: [] as { readonly ms: number; done(): void }[],
    downs: [] as ProxyError[],
    refusals: [] as ProxyError[],
    failures: [] as Failure[],
  };
  const withFile = (other: Launch): Launch => ({ ...other, env: { ...other.env, STARTS: file } });
  const supervisor = new Supervisor('fs', withFile(launch), world, turns, {
    onStatus: () => void statuses.push(now()),
    onUp: (link, profile) => told.ups.push({ link, profile }),
    onLine: (parts) => told.lines.push(Buffer.concat(parts).toString()),
    onEarly: (message) => told.early.push(message),
    onDrain: (ms, done) => told.drains.push({ ms, done }),
    onDown: (error) => told.downs.push(error),
    onRefuse: (error) => told.refusals.push(error),
    onFailure: (failure) => told.failures.push(failure),
  });
  const now = (): string => `${supervisor.status} ${supervisor.restarts}`;
  let ended = false;
  t.after(async () => {
    ended = true;
    const stopped = supervisor.stop(0).then(() => true);
    supervisor.kill();
    await until(() => {
      told.drains.forEach(({ done }) => done());
      clock.advance(25);
      return Promise.race([stopped, false]);
    }, 'the end of the supervisor');
    for (const pid of starts(file)) await until(() => group(pid).length === 0, 'the end of its processes');
  });
  const it = {
    supervisor,
    world,
    clock,
    ...told,
    launch: (other: Launch) => void (supervisor.launch = withFile(other)),
    /** Statuses with the restarts in a row, each only where it differs from the one before. */
    statuses: () => statuses.filter((status, k) => status !== statuses[k - 1]),
    /** How often something about its status was told. */
    told: () => statuses.length,
    log: (event: string) => world.entries.filter((entry) => entry.event === event),
    /** How many processes were spawned. */
    spawns: () => it.log('spawn').length,
    /** Process ids that the fixtures have left. */
    starts: () => starts(file),
    /** Waits, without moving the clock, until this is the status with its restarts. */
    reaches: (status: string) => until(() => now() === status, () => `"${status}", it is "${now()}"`),
    /** Waits for it while the stop ladder of the process that is on its way out goes on. */
    reachesAfterStop: (status: string) =>
      until(() => {
        if (now() !== status && !ended) clock.advance(25);
        return now() === status;
      }, () => `"${status}", it is "${now()}"`),
    call: (name: string, args: object = {}) => void it.ups.at(-1)!.link.write(encodeCall('tools/call', { name, arguments: args }, 99)),
  };
  return it;
}

/** A launch of what is known to be legacy: there is no probe, and so no second process for a start. */
const legacy = (launch: Launch): Launch => ({ ...launch, config: { ...launch.config, protocol: 'legacy' } });

/** Starts it and waits until it runs. */
async function runs(it: ReturnType<typeof supervise>): Promise<void> {
  it.supervisor.start();
  const ups = it.ups.length;
  await until(() => it.ups.length > ups, 'its handshake');
}

// ---- up

test('a server is starting until its handshake is done, then it is running and what it writes is passed on', async (t) => {
  const it = supervise(t, launchOf('server.mjs'));
  assert.equal(it.supervisor.status, 'stopped');
  assert.equal(it.supervisor.start(), undefined);
  assert.equal(it.supervisor.status, 'starting');
  assert.equal(it.supervisor.running, false);
  await until(() => it.ups.length === 1, 'its handshake');
  assert.equal(it.supervisor.running, true);
  assert.deepEqual(it.statuses(), ['starting 0', 'running 0']);
  assert.equal(it.ups[0]!.profile.revision, '2025-11-25');
  assert.deepEqual(it.lines, []);
  it.call('echo', { text: 'hello' });
  await until(() => it.lines.length === 1, 'an answer');
  assert.match(it.lines[0]!, /hello/);
  assert.equal(it.log('running')[0]!.message, 'running (MCP 2025-11-25)');
});

test('a bug that a message of the server meets costs that message alone, and is in the log', async (t) => {
  const it = supervise(t, launchOf('server.mjs'));
  await runs(it);
  const heard: string[] = [];
  it.lines.push = (line: string) => {
    if (heard.push(line) === 1) throw new TypeError('a bug');
    return 0;
  };
  it.call('echo', { text: 'first' });
  it.call('echo', { text: 'second' });
  await until(() => heard.length === 2, 'both answers');
  assert.equal(it.supervisor.status, 'running');
  assert.deepEqual(it.log('internal').map(({ level, message }) => [level, message.split('\n')[0]]), [['error', 'internal error at a message of the server: TypeError: a bug']]);
});

test('a bug in one step of its life does not keep a server from the next', async (t) => {
  const it = supervise(t, launchOf('server.mjs'));
  await runs(it);
  it.drains.push = () => {
    throw new TypeError('a bug');
  };
  it.supervisor.restart(); // nobody drains it now
  assert.equal(it.supervisor.status, 'restarting');
  process.kill(-it.starts()[0]!, 'SIGKILL');
  await it.reachesAfterStop('running 0');
  assert.deepEqual(it.log('internal').map(({ level, message }) => [level, message.split('\n')[0]]), [['error', 'internal error after "restart": TypeError: a bug']]);
});

test('a start of what starts, runs or waits already is no second process', async (t) => {
  const it = supervise(t, launchOf('server.mjs'));
  for (let k = 0; k < 3; k++) assert.equal(it.supervisor.start(), undefined);
  await eventLoop();
  assert.equal(it.supervisor.start(), undefined);
  await until(() => it.ups.length === 1, 'its handshake');
  assert.equal(it.supervisor.start(), undefined);
  await eventLoop();
  assert.equal(it.spawns(), 1);
  assert.equal(it.starts().length, 1);
});

test('what a server says before its handshake is done is told apart, nonsense is kept, and none of it disturbs the handshake', async (t) => {
  const it = supervise(t, launchOf('talks-nonsense.mjs'));
  await runs(it);
  assert.deepEqual(it.early.map(({ kind }) => kind), it.early.map(() => 'notification'));

  const asks = supervise(t, launchOf('asks-the-client.mjs'));
  await runs(asks);
  assert.deepEqual(asks.early.map((message) => message.kind === 'request' && [message.id, message.method]), [['ping ż', 'ping']]);
  await until(() => asks.lines.length === 4, 'what it asks after its handshake');
});

test('the answer to initialize counts in a batch as well, with what else is in it', async (t) => {
  const welcome = { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 's', version: '1' } };
  const it = supervise(
    t,
    legacy(launchScript(`process.stdin.once('data', (line) => {
      const { id } = JSON.parse(line);
      const news = (data) => ({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data } });
      console.log(JSON.stringify([news('before'), { jsonrpc: '2.0', id, result: ${JSON.stringify(welcome)} }, 'nonsense', news('after')]));
      process.stdin.on('end', process.exit);
    });`)),
  );
  await runs(it);
  assert.equal(it.ups[0]!.profile.revision, '2025-06-18');
  assert.equal(it.early.length, 2);
});

// ---- failures and their delays

test('a server that fails at every start is restarted after 1, 2 and 4 s, then it is in error, and each failure is told', async (t) => {
  const it = supervise(t, legacy(launchOf('dies-at-start.mjs', ['cannot find the database'])));
  it.supervisor.start();
  for (const [restarts, ms] of [[1, 1_000], [2, 2_000], [3, 4_000]] as const) {
    await it.reaches(`restarting ${restarts}`);
    assert.equal(it.spawns(), restarts);
    await it.clock.run(ms - 1);
    assert.equal(it.spawns(), restarts);
    await it.clock.run(1);
    assert.equal(it.spawns(), restarts + 1);
  }
  await it.reaches('error 3');
  await it.clock.run(1_000_000);
  assert.equal(it.spawns(), 4);
  assert.equal(it.clock.pending, 0);
  assert.deepEqual(it.statuses(), ['starting 0', 'restarting 1', 'restarting 2', 'restarting 3', 'error 3']);
  const at = ['12:00:00', '12:00:01', '12:00:03', '12:00:07'].map((time) => `2026-01-01T${time}.000Z`);
  const stderr = 'cannot find the database';
  assert.deepEqual(it.failures, at.map((at) => ({ message: 'exited with code 1', at, stderr })));
  assert.deepEqual(it.supervisor.failure, it.failures[3]);
  assert.deepEqual(it.refusals.map(({ reason, status, message, data }) => [reason, status, message, data]), [
    ['unavailable', 503, 'Server "fs" is not available: exited with code 1', { stderr }],
  ]);
  assert.deepEqual(it.downs, []);
  assert.deepEqual(it.log('failed').map(({ level, server, message }) => `${level} ${server} ${message}`), [
    'warn fs exited with code 1, restart 1 of 3 in 1.0 s',
    'warn fs exited with code 1, restart 2 of 3 in 2.0 s',
    'warn fs exited with code 1, restart 3 of 3 in 4.0 s',
    'error fs exited with code 1, given up after 3 restarts',
  ]);
});

for (const [random, ms] of [[0, 800], [0.25, 900], [0.999_999, 1_200]] as const) {
  test(`where chance says ${random} the delay of a second is ${ms} ms`, async (t) => {
    const it = supervise(t, legacy(launchOf('dies-at-start.mjs')), { random: () => random });
    it.supervisor.start();
    await it.reaches('restarting 1');
    await it.clock.run(ms - 1);
    assert.equal(it.spawns(), 1);
    await it.clock.run(1);
    assert.equal(it.spawns(), 2);
  });
}

for (const [over, why] of [[{ autoRestart: false }, 'autoRestart is off'], [{ maxRestarts: 0 }, 'maxRestarts is 0']] as const) {
  test(`a server with ${JSON.stringify(over)} is not restarted`, async (t) => {
    const it = supervise(t, launchOf('dies-at-start.mjs', [], over));
    it.supervisor.start();
    await it.reaches('error 0');
    assert.equal(it.clock.pending, 0);
    assert.equal(it.log('failed')[0]!.message, `exited with code 1, not restarted (${why})`);
  });
}

test('60 s of running make a server forget its restarts, not a millisecond sooner, and that is told', async (t) => {
  const it = supervise(t, launchOf('dies-once.mjs', [join(tempDir(t), 'memory')]));
  it.supervisor.start();
  await it.reaches('restarting 1');
  assert.notEqual(it.supervisor.failure, undefined);
  await it.clock.run(1_000);
  await it.reaches('running 1');
  assert.equal(it.supervisor.failure, undefined);
  await it.clock.run(30_000);
  it.supervisor.start(); // whoever needs it meanwhile does not put it off
  await it.clock.run(29_999);
  assert.equal(it.supervisor.restarts, 1);
  await it.clock.run(1);
  assert.equal(it.supervisor.restarts, 0);
  assert.deepEqual(it.statuses(), ['starting 0', 'restarting 1', 'running 1', 'running 0']);
});

test('restarts of a server that dies again before it was healthy go on counting', async (t) => {
  const it = supervise(t, launchOf('dies-in-call.mjs'));
  await runs(it);
  for (const [restarts, ms] of [[1, 1_000], [2, 2_000], [3, 4_000]] as const) {
    it.call('poke');
    await it.reaches(`restarting ${restarts}`);
    await it.clock.run(ms);
    await it.reaches(`running ${restarts}`);
    await it.clock.run(59_999);
  }
  it.call('poke');
  await it.reaches('error 3');
});

test('a handshake that is not done in time is a failure, and its process is stopped before the next one starts', async (t) => {
  const it = supervise(t, legacy(launchOf('hangs-in-handshake.mjs')));
  it.supervisor.start();
  await until(() => it.starts().length === 1, 'its process');
  await it.clock.run(100_000);
  it.supervisor.start(); // whoever needs it meanwhile does not put it off
  await it.clock.run(79_999);
  assert.equal(it.supervisor.status, 'starting');
  await it.clock.run(1);
  assert.equal(it.supervisor.status, 'restarting');
  assert.equal(it.failures[0]!.message, 'did not finish its handshake in 180000 ms');
  await until(() => {
    it.clock.advance(25);
    return it.spawns() === 2;
  }, 'the next one');
  assert.deepEqual(group(it.starts()[0]!), []);
});

for (const [how, message] of [
  ['error', 'refused initialize (-32000: not today)'],
  ['null', 'answered initialize with something that is no object'],
  ['empty', 'answered initialize with a protocol version that the proxy does not know'],
  ['1999-01-01', 'answered initialize with a protocol version that the proxy does not know'],
  ['2026-07-28', 'answered initialize with a protocol version that the proxy does not know'],
] as const) {
  test(`a handshake that is answered with ${how} is a failure like a death: the process is stopped, and restarted later`, async (t) => {
    const it = supervise(t, launchOf('bad-initialize.mjs', [how]));
    it.supervisor.start();
    await it.reaches('restarting 1');
    assert.equal(it.failures[0]!.message, message);
    await until(() => {
      it.clock.advance(25);
      return it.spawns() === 2;
    }, 'the restart');
    assert.deepEqual(group(it.starts()[0]!), []);
    assert.deepEqual(it.ups, []);
  });
}

// ---- the era (R-8 to R-13); the handshake has its own tests

const probed = (how: string, ...args: string[]): Launch => launchOf('probed.mjs', [how, ...args]);

/** The methods that a process has been sent, in all its lives. */
function journal(t: TestContext, launch: Launch): { readonly launch: Launch; methods(): string[] } {
  const file = join(tempDir(t), 'journal');
  return {
    launch: { ...launch, env: { ...launch.env, JOURNAL: file } },
    methods: () => readFileSync(file, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line).method),
  };
}

for (const [how, ...args] of [['-32601'], ['-32602'], ['-32022', '{"supported":["2025-11-25"]}'], ['empty']] as const) {
  test(`a server that answers the probe with ${[how, ...args].join(' ')} is legacy, and after a restart it is not probed again`, async (t) => {
    const { launch, methods } = journal(t, probed(how, ...args));
    const it = supervise(t, launch);
    await runs(it);
    await until(() => methods().length === 3, 'all of its handshake');
    process.kill(it.starts()[0]!, 'SIGKILL');
    await it.reaches('restarting 1');
    await it.clock.run(1_000);
    await it.reaches('running 1');
    assert.deepEqual(it.ups.map(({ profile }) => profile.era), ['legacy', 'legacy']);
    assert.equal(it.spawns(), 2);
    await until(() => methods().length === 5, 'all of it');
    assert.deepEqual(methods(), ['server/discover', ...Array(2).fill(['initialize', 'notifications/initialized']).flat()]);
  });
}

test('a modern server hears server/discover and nothing else before its first call, at every start (T-105)', async (t) => {
  const { launch, methods } = journal(t, launchOf('server.mjs', ['--modern']));
  const it = supervise(t, launch);
  await runs(it);
  const { profile } = it.ups[0]!;
  assert.deepEqual([profile.era, profile.revision, JSON.parse(profile.raw.toString()).supportedVersions], ['modern', '2026-07-28', ['2026-07-28']]);
  assert.equal(it.log('running')[0]!.message, 'running (MCP 2026-07-28)');
  process.kill(it.starts()[0]!, 'SIGKILL');
  await it.reaches('restarting 1');
  await it.clock.run(1_000);
  await it.reaches('running 1');
  assert.deepEqual(methods(), ['server/discover', 'server/discover']);
});

test('a server that exits on the probe is started once more without it, which is no restart, and is not probed after that (R-12)', async (t) => {
  const { launch, methods } = journal(t, probed('exit'));
  const it = supervise(t, launch);
  it.supervisor.start();
  await until(() => {
    it.clock.advance(25);
    return it.ups.length === 1;
  }, 'its handshake');
  assert.deepEqual(it.statuses(), ['starting 0', 'running 0']);
  assert.deepEqual([it.failures, it.spawns()], [[], 2]);
  assert.match(it.log('respawn')[0]!.message, /^exited with code 0 before it answered server\/discover/);
  assert.deepEqual(group(it.starts()[0]!), []);
  process.kill(it.starts()[1]!, 'SIGKILL');
  await it.reaches('restarting 1');
  await it.clock.run(1_000);
  await it.reaches('running 1');
  assert.equal(it.spawns(), 3);
  assert.deepEqual(methods().filter((method) => method !== 'notifications/initialized'), ['server/discover', 'initialize', 'initialize']);
});

test('a server that exits with a probe and without one has failed once, and both are tried at its next start', async (t) => {
  const it = supervise(t, launchOf('dies-at-start.mjs', ['no database'], { maxRestarts: 1 }));
  it.supervisor.start();
  for (const [status, spawns] of [['restarting 1', 2], ['error 1', 4]] as const) {
    await until(() => {
      it.clock.advance(25);
      return `${it.supervisor.status} ${it.supervisor.restarts}` === status;
    }, status);
    assert.equal(it.spawns(), spawns);
  }
  assert.deepEqual(it.failures.map(({ message, stderr }) => [message, stderr]), Array(2).fill(['exited with code 1', 'no database']));
});

test('a program that cannot be spawned is not tried again without a probe', async (t) => {
  const it = supervise(t, launchOf('', [], { command: '/no/such/program', args: [], maxRestarts: 0 }));
  it.supervisor.start();
  await it.reaches('error 0');
  assert.equal(it.spawns(), 1);
});

test('a server that never answers the probe gets initialize 5 s later, and is probed again at its next start (R-13)', async (t) => {
  const { launch, methods } = journal(t, probed('never'));
  const it = supervise(t, launch);
  it.supervisor.start();
  for (const restarts of [0, 1]) {
    await until(() => methods().filter((method) => method === 'server/discover').length === restarts + 1, 'the probe');
    await it.clock.run(4_999);
    assert.equal(it.supervisor.status, restarts === 0 ? 'starting' : 'restarting');
    await it.clock.run(1);
    await it.reaches(`running ${restarts}`);
    if (restarts === 0) it.call('poke');
    if (restarts === 0) await until(() => it.lines.length === 1, 'an answer');
    process.kill(it.starts().at(-1)!, 'SIGKILL');
    await it.reaches(`restarting ${restarts + 1}`);
    await it.clock.run(1_000 * 2 ** restarts);
  }
});

test('a server that is wedged by the probe is started without it after two thirds of the time for a start, and works (R-11, T-104a)', async (t) => {
  const it = supervise(t, probed('wedge'));
  it.supervisor.start();
  await until(() => it.starts().length === 1, 'its process');
  await it.clock.run(119_999);
  assert.equal(it.log('respawn').length, 0);
  await it.clock.run(1);
  await until(() => {
    it.clock.advance(25);
    return it.ups.length === 1;
  }, 'its handshake');
  assert.deepEqual(it.statuses(), ['starting 0', 'running 0']);
  assert.deepEqual([it.failures, it.spawns(), it.ups[0]!.profile.era], [[], 2, 'legacy']);
  assert.deepEqual(group(it.starts()[0]!), []);
});

test('the start of a server that hangs with a probe and without one has 180 s in all', async (t) => {
  const it = supervise(t, launchOf('hangs-in-handshake.mjs', [], { maxRestarts: 0 }));
  it.supervisor.start();
  const before = it.clock.now();
  await until(() => it.starts().length === 1, 'its process');
  await it.clock.run(120_000);
  await until(() => {
    it.clock.advance(25);
    return it.starts().length === 2;
  }, 'its second process');
  await it.clock.run(before + 179_999 - it.clock.now());
  assert.equal(it.supervisor.status, 'starting');
  await it.clock.run(1);
  assert.equal(it.supervisor.status, 'error');
  assert.equal(it.failures[0]!.message, 'did not finish its handshake in 180000 ms');
});

for (const [how, era] of [['late', 'modern'], ['late-refusal', 'modern'], ['late-dual', 'legacy']] as const) {
  test(`a probe that is answered after initialize was written (${how}): the server is ${era} (R-11)`, async (t) => {
    const it = supervise(t, probed(how));
    it.supervisor.start();
    await until(() => it.starts().length === 1, 'its process');
    await it.clock.run(5_000);
    await it.reaches('running 0');
    assert.deepEqual([it.ups[0]!.profile.era, it.spawns()], [era, 1]);
  });
}

test('a server that knows only other modern versions has failed, without another try', async (t) => {
  const { launch, methods } = journal(t, probed('-32022', '{"supported":["2027-01-01"]}'));
  const it = supervise(t, { ...launch, config: { ...launch.config, maxRestarts: 0 } });
  it.supervisor.start();
  await it.reaches('error 0');
  assert.equal(it.failures[0]!.message, 'has no protocol version in common with the proxy');
  assert.deepEqual(methods(), ['server/discover']);
});

test('what the operator says is not tried: "legacy" is never probed, "modern" never initialized', async (t) => {
  for (const [protocol, args, first] of [['legacy', ['--modern'], 'initialize'], ['modern', ['--modern'], 'server/discover'], ['modern', [], 'server/discover']] as const) {
    const { launch, methods } = journal(t, launchOf('server.mjs', args, { maxRestarts: 0, protocol }));
    const it = supervise(t, launch);
    it.supervisor.start();
    await it.reaches(args.length === 0 ? 'error 0' : 'running 0');
    assert.equal(methods()[0], first);
    assert.equal(methods().includes('initialize'), protocol === 'legacy');
    assert.deepEqual(it.failures.map(({ message }) => message), args.length === 0 ? ['answered server/discover with nothing usable'] : []);
  }
});

test('what was found out about a server is forgotten when it fails, and when somebody restarts or stops it; not when it was idle', async (t) => {
  const { launch, methods } = journal(t, launchOf('server.mjs'));
  const it = supervise(t, launch);
  const firsts = (): string[] => methods().filter((_, k, all) => k === 0 || all[k - 1] === 'notifications/initialized');
  await runs(it);
  it.supervisor.idle();
  await it.reachesAfterStop('stopped 0');
  await runs(it);
  it.supervisor.restart();
  it.drains.at(-1)!.done();
  await it.reachesAfterStop('running 0');
  void it.supervisor.stop(0);
  it.drains.at(-1)!.done();
  it.supervisor.start();
  await it.reachesAfterStop('running 0');
  await until(() => methods().filter((method) => method === 'notifications/initialized').length === 4, 'all of it');
  assert.deepEqual(firsts(), ['server/discover', 'initialize', 'server/discover', 'server/discover']);

  // The upgrade of a legacy server to one that is modern only costs one failed start.
  it.launch({ ...launch, config: { ...launch.config, args: [fixture('server.mjs'), '--modern-only'] } });
  it.call('die');
  await it.reaches('restarting 1');
  await it.clock.run(1_000);
  await it.reaches('restarting 2');
  assert.match(it.failures.at(-1)!.message, /^refused initialize \(-32022/);
  await until(() => {
    it.clock.advance(25);
    return it.supervisor.running;
  }, 'its next start');
  assert.equal(it.ups.at(-1)!.profile.era, 'modern');
});

test('a server that is stopped, or restarted, on its way to a start without a probe obeys', async (t) => {
  for (const what of ['stop', 'restart'] as const) {
    const it = supervise(t, launchOf('hangs-in-handshake.mjs'));
    it.supervisor.start();
    await until(() => it.starts().length === 1, 'its process');
    it.clock.advance(120_000);
    assert.equal(it.log('respawn').length, 1);
    it.launch(launchOf('server.mjs'));
    if (what === 'stop') void it.supervisor.stop(0);
    else it.supervisor.restart();
    await it.reachesAfterStop(what === 'stop' ? 'stopped 0' : 'running 0');
    assert.equal(it.spawns(), what === 'stop' ? 1 : 2);
  }
});

test('a start without a probe keeps the turn of the one before it', async (t) => {
  const turns = new Turns(1);
  const first = supervise(t, probed('exit'), { turns });
  const second = supervise(t, launchOf('server.mjs'), { turns, entries: first.world.entries });
  first.supervisor.start();
  second.supervisor.start();
  await until(() => {
    first.clock.advance(25);
    return second.supervisor.running;
  }, 'the other one');
  assert.deepEqual(first.log('spawn').map(({ pid }) => pid), [...first.starts(), ...second.starts()]);
});

// ---- half-open

test('after a server has given up a start is refused for 60 s, then it is one attempt, whose failure is told once', async (t) => {
  const it = supervise(t, legacy(launchOf('dies-at-start.mjs', [], { maxRestarts: 0 })));
  it.supervisor.start();
  await it.reaches('error 0');
  for (let attempt = 2; attempt <= 4; attempt++) {
    await it.clock.run(59_999);
    assert.equal(it.supervisor.start()?.reason, 'unavailable');
    assert.equal(it.spawns(), attempt - 1);
    await it.clock.run(1);
    assert.equal(it.spawns(), attempt - 1); // nobody asks: nothing starts
    assert.equal(it.supervisor.start(), undefined);
    assert.equal(it.supervisor.status, 'starting');
    await it.reaches('error 0');
    assert.equal(it.spawns(), attempt);
    assert.equal(it.failures.length, attempt);
    assert.equal(it.refusals.length, attempt);
  }
});

test('an attempt after giving up that succeeds clears the count and the failure', async (t) => {
  const dir = tempDir(t);
  const it = supervise(t, launchOf('dies-once.mjs', [join(dir, 'memory')], { maxRestarts: 0 }));
  it.supervisor.start();
  await it.reaches('error 0');
  await it.clock.run(60_000);
  assert.equal(it.supervisor.start(), undefined);
  await it.reaches('running 0');
  assert.equal(it.supervisor.failure, undefined);
});

// ---- a running server is lost

for (const [how, args, message, data] of [
  ['exits', { code: 3, stderr: 'fatal: disk full\n' }, 'Server "fs" exited (code 3)', { exitCode: 3, stderr: 'fatal: disk full' }],
  ['exits without a word', { code: 0 }, 'Server "fs" exited (code 0)', { exitCode: 0 }],
  ['is killed', { signal: 'SIGKILL' }, 'Server "fs" exited (signal SIGKILL)', { signal: 'SIGKILL' }],
] as const) {
  test(`when a running server ${how}, those whose calls it cost are told once, with what is known`, posix, async (t) => {
    const it = supervise(t, launchOf('server.mjs'));
    await runs(it);
    it.call('die', args);
    await it.reaches('restarting 1');
    assert.deepEqual(it.downs.map((error) => [error.reason, error.status, error.message, error.data]), [['child_exited', 200, message, data]]);
    assert.equal(it.failures.length, 1);
    assert.deepEqual(it.refusals, []);
  });
}

test('a line that is too long costs the server its process, with a reason of its own', async (t) => {
  const it = supervise(t, launchOf('long-line.mjs', ['1001']), { limits: { maxLineBytes: 1_000 } });
  await runs(it);
  it.call('poke');
  await it.reaches('restarting 1');
  assert.deepEqual(it.downs.map(({ reason, message }) => [reason, message]), [['line_too_long', 'Server "fs" sent a line of more than 1000 bytes']]);
  await until(() => {
    it.clock.advance(25);
    return it.spawns() === 2;
  }, 'the restart');
  assert.deepEqual(group(it.starts()[0]!), []);
});

test('a server that closes its stdout, or its stdin, and lives is lost like one that exited', posix, async (t) => {
  for (const [name, message] of [
    ['closes-stdout.mjs', 'Server "fs" closed its stdout'],
    ['closes-stdin.mjs', 'Server "fs" closed its stdin'],
  ] as const) {
    const it = supervise(t, launchOf(name));
    await runs(it);
    it.call('poke');
    await until(() => {
      it.clock.advance(25);
      return it.downs.length > 0 && it.spawns() === 2;
    }, 'its restart');
    assert.deepEqual(it.downs.map((error) => [error.reason, error.message]), [['child_exited', message]]);
    assert.deepEqual(group(it.starts()[0]!), []);
  }
});

test('no process is started while anything of the group of the one before it lives', posix, async (t) => {
  const it = supervise(t, launchOf('leaves-grandchild.mjs', ['deaf']));
  await runs(it);
  it.call('die');
  await it.reaches('restarting 1');
  const [old] = it.starts();
  // The ladder for what is left takes 4 s, the delay of the restart only one.
  await it.clock.run(3_999);
  assert.equal(group(old!).length, 1);
  assert.equal(it.spawns(), 1);
  await it.clock.run(1);
  await until(() => group(old!).length === 0, 'the end of the group');
  await it.clock.run(500);
  assert.equal(it.spawns(), 2);
  await it.reaches('running 1');
});

// ---- restart

test('a restart of a running server drains it first, for 10 s at most, and starts the next process when the old one is gone', async (t) => {
  const it = supervise(t, launchOf('server.mjs'));
  await runs(it);
  it.supervisor.restart();
  assert.equal(it.supervisor.status, 'restarting');
  assert.equal(it.supervisor.running, false);
  assert.deepEqual(it.drains.map(({ ms }) => ms), [10_000]);
  await it.clock.run(60_000);
  assert.equal(alive(it.starts()[0]!), true); // whoever drains it says when
  it.drains[0]!.done();
  await it.reachesAfterStop('running 0');
  assert.equal(it.spawns(), 2);
  assert.deepEqual(group(it.starts()[0]!), []);
  assert.deepEqual(it.downs, []);
  assert.deepEqual(it.statuses(), ['starting 0', 'running 0', 'restarting 0', 'running 0']);
});

test('a restart has its full time again after a stop that had less', async (t) => {
  const it = supervise(t, launchOf('server.mjs'));
  await runs(it);
  void it.supervisor.stop(5);
  it.supervisor.restart();
  assert.deepEqual(it.drains.map(({ ms }) => ms), [5, 10_000]);
});

test('a restart takes the new launch, and the running process keeps the old one until then', async (t) => {
  const it = supervise(t, launchOf('server.mjs', ['--version', '2025-03-26']));
  await runs(it);
  it.launch(launchOf('server.mjs', ['--version', '2024-11-05']));
  await eventLoop();
  assert.equal(it.spawns(), 1);
  it.supervisor.restart();
  it.drains[0]!.done();
  await it.reachesAfterStop('running 0');
  assert.deepEqual(it.ups.map(({ profile }) => profile.revision), ['2025-03-26', '2024-11-05']);
});

test('a restart of a server in its handshake kills that start and begins a new one', async (t) => {
  const it = supervise(t, launchOf('hangs-in-handshake.mjs'));
  it.supervisor.start();
  await until(() => it.starts().length === 1, 'its process');
  it.launch(launchOf('server.mjs'));
  it.supervisor.restart();
  await it.reachesAfterStop('running 0');
  assert.equal(it.spawns(), 2);
  assert.deepEqual(group(it.starts()[0]!), []);
  assert.deepEqual([it.drains, it.failures], [[], []]);
});

test('a restart of a server that is being stopped waits for the end of the old process', posix, async (t) => {
  const it = supervise(t, launchOf('deaf-to-stdin.mjs'));
  await runs(it);
  const stopped = it.supervisor.stop(0);
  it.drains[0]!.done();
  assert.equal(it.supervisor.status, 'stopped');
  it.supervisor.restart();
  assert.equal(it.supervisor.status, 'restarting');
  await it.clock.run(1_999);
  assert.equal(it.spawns(), 1);
  await it.reachesAfterStop('running 0');
  assert.equal(it.spawns(), 2);
  assert.deepEqual(group(it.starts()[0]!), []);
  assert.equal(await Promise.race([stopped, 'not stopped']), 'not stopped');
});

test('a restart of a server that waits for its next attempt, or has given up, is at once and clears its count', async (t) => {
  for (const [over, status] of [[{}, 'restarting 1'], [{ maxRestarts: 0 }, 'error 0']] as const) {
    const it = supervise(t, launchOf('dies-once.mjs', [join(tempDir(t), 'memory')], over));
    it.supervisor.start();
    await it.reaches(status);
    it.supervisor.restart();
    await it.reaches('running 0');
    assert.equal(it.clock.pending, 0);
  }
});

test('a restart of a stopped server is a start', async (t) => {
  const it = supervise(t, launchOf('server.mjs'));
  it.supervisor.restart();
  await it.reaches('running 0');
  assert.deepEqual(it.statuses(), ['restarting 0', 'running 0']);
});

test('a server that dies while it is drained was to go anyway: nothing is counted, and those who wait go on waiting', async (t) => {
  const it = supervise(t, launchOf('server.mjs', [], { maxRestarts: 0 }));
  await runs(it);
  it.supervisor.restart();
  const told = it.told();
  it.call('die', { code: 5 });
  await until(() => it.failures.length === 1, 'its death');
  assert.equal(it.told(), told + 1); // its status has an error now
  await it.reachesAfterStop('running 0');
  assert.deepEqual(it.downs.map(({ message }) => message), ['Server "fs" exited (code 5)']);
  assert.deepEqual(it.refusals, []);
  assert.match(it.log('failed')[0]!.message, /^exited with code 5, while it was being stopped$/);
  assert.equal(it.spawns(), 2);
});

// ---- stop, idle, kill

test('a stop is over when nothing of the process group is left, from whatever state', posix, async (t) => {
  const launches: Readonly<Record<string, (it: ReturnType<typeof supervise>) => Promise<unknown> | void>> = {
    'stopped 0': () => {},
    'starting 0': (it) => {
      it.supervisor.start();
      return until(() => it.starts().length === 1, 'its process');
    },
    'running 0': (it) => runs(it),
    'restarting 1': async (it) => {
      await runs(it);
      it.call('die');
      await it.reaches('restarting 1');
    },
    'error 0': async (it) => {
      await runs(it);
      it.call('die');
      await it.reaches('error 0');
    },
  };
  for (const [status, prepare] of Object.entries(launches)) {
    const launch =
      status === 'starting 0' ? launchOf('hangs-in-handshake.mjs') : launchOf('leaves-grandchild.mjs', [], { maxRestarts: status === 'error 0' ? 0 : 3 });
    const it = supervise(t, launch);
    await prepare(it);
    assert.equal(`${it.supervisor.status} ${it.supervisor.restarts}`, status);
    const stopped = it.supervisor.stop(1_234).then(() => true);
    assert.equal(it.supervisor.status, 'stopped', status);
    assert.deepEqual(it.drains.map(({ ms }) => ms), status === 'running 0' ? [1_234] : []);
    it.drains[0]?.done();
    await until(() => {
      it.clock.advance(25);
      return Promise.race([stopped, false]);
    }, `the end of one that was "${status}"`);
    for (const pid of it.starts()) assert.deepEqual(group(pid), []);
    assert.equal(reaperOf(it.world)?.pid, undefined);
    assert.deepEqual(it.refusals.length, status === 'error 0' ? 1 : 0);
    const spawns = it.spawns();
    await it.clock.run(1_000_000);
    assert.equal(it.spawns(), spawns);
  }
});

test('every stop of one that is being stopped is over at the same time, and a later one at once', async (t) => {
  const it = supervise(t, launchOf('server.mjs'));
  await runs(it);
  const all = Promise.all([it.supervisor.stop(10), it.supervisor.stop(20)]).then(() => true);
  assert.deepEqual(it.drains.map(({ ms }) => ms), [10, 20]);
  it.drains[1]!.done();
  await until(() => {
    it.clock.advance(25);
    return Promise.race([all, false]);
  }, 'its end');
  await it.supervisor.stop(0);
});

test('an idle server counts as running until its process is gone, and the next start is a first one', posix, async (t) => {
  const it = supervise(t, launchOf('deaf-to-stdin.mjs'));
  await runs(it);
  it.supervisor.idle();
  assert.equal(it.supervisor.status, 'running');
  assert.equal(it.supervisor.running, false);
  assert.deepEqual(it.drains, []);
  await it.clock.run(1_999);
  assert.equal(it.supervisor.status, 'running');
  await it.reachesAfterStop('stopped 0');
  assert.deepEqual(group(it.starts()[0]!), []);
  await runs(it);
  assert.deepEqual(it.statuses(), ['starting 0', 'running 0', 'stopped 0', 'starting 0', 'running 0']);
  assert.deepEqual([it.downs, it.failures], [[], []]);
  assert.match(it.log('idle')[0]!.message, /idle/);
});

test('a start that comes during an idle stop waits for the end of the old process and is not lost', posix, async (t) => {
  const it = supervise(t, launchOf('deaf-to-stdin.mjs'));
  await runs(it);
  it.supervisor.idle();
  assert.equal(it.supervisor.start(), undefined);
  assert.equal(it.supervisor.status, 'starting');
  await it.clock.run(1_999);
  assert.equal(it.spawns(), 1);
  await it.reachesAfterStop('running 0');
  assert.equal(it.spawns(), 2);
});

test('kill ends the process group at once', posix, async (t) => {
  const it = supervise(t, launchOf('leaves-grandchild.mjs', ['deaf']));
  await runs(it);
  const [pid] = it.starts();
  it.supervisor.kill();
  await until(() => group(pid!).length === 0, 'its end');
});

// ---- turns

test('only as many as there are turns are in their handshake, and a failed one gives its turn back before its next attempt', async (t) => {
  const turns = new Turns(1);
  const first = supervise(t, legacy(launchOf('hangs-in-handshake.mjs')), { turns, limits: { startTimeoutMs: 5_000 } });
  const second = supervise(t, launchOf('server.mjs'), { turns });
  first.supervisor.start();
  second.supervisor.start();
  await until(() => first.starts().length === 1, 'the first process');
  assert.deepEqual([second.supervisor.status, second.spawns()], ['starting', 0]);
  await first.clock.run(5_000);
  assert.equal(first.supervisor.status, 'restarting');
  await second.reaches('running 0');
});

test('a start that takes more than ten seconds goes on, but keeps nobody waiting any more', async (t) => {
  const turns = new Turns(1);
  const gone = join(tempDir(t), 'go');
  const first = supervise(t, legacy(launchOf('server.mjs', ['--start-when', gone])), { turns });
  const [second, third] = [supervise(t, legacy(launchOf('hangs-in-handshake.mjs')), { turns }), supervise(t, launchOf('server.mjs'), { turns })];
  for (const it of [first, second, third]) it.supervisor.start();
  await until(() => first.starts().length === 1, 'the first process');
  await first.clock.run(9_999);
  assert.equal(second.spawns(), 0);
  await first.clock.run(1);
  assert.deepEqual([second.spawns(), third.spawns()], [1, 0]);
  writeFileSync(gone, '');
  await first.reaches('running 0');
  await eventLoop();
  assert.equal(third.spawns(), 0, 'a turn is given back once');
  void second.supervisor.stop(0);
  await third.reaches('running 0');
});

test('a server that is stopped while it waits for its turn leaves the line and never starts', async (t) => {
  const turns = new Turns(1);
  const first = supervise(t, launchOf('hangs-in-handshake.mjs'), { turns });
  const [second, third] = [supervise(t, launchOf('server.mjs'), { turns }), supervise(t, launchOf('server.mjs'), { turns })];
  for (const it of [first, second, third]) it.supervisor.start();
  await until(() => first.starts().length === 1, 'the first process');
  await second.supervisor.stop(0);
  void first.supervisor.stop(0);
  await third.reaches('running 0');
  assert.equal(second.spawns(), 0);
});

test('a server that is restarted while it waits keeps its place, and one in a hurry goes first', async (t) => {
  const options = { turns: new Turns(1), entries: [] as LogEntry[] };
  const first = supervise(t, launchOf('hangs-in-handshake.mjs'), options);
  const [a, b, c] = [1, 2, 3].map(() => supervise(t, launchOf('server.mjs'), options));
  for (const it of [first, a!, b!, c!]) it.supervisor.start();
  await until(() => first.starts().length === 1, 'the first process');
  a!.supervisor.restart();
  c!.supervisor.hurry();
  void first.supervisor.stop(0);
  await Promise.all([a, b, c].map((it) => it!.reaches('running 0')));
  assert.deepEqual(first.log('spawn').map(({ pid }) => pid), [first, c, a, b].map((it) => it!.starts()[0]));
});

// ---- what is said about a failure, and what is not

test('a program that is not there is named in the log with the PATH that was searched, and to nobody else', posix, async (t) => {
  const dir = tempDir(t);
  const launch = launchOf('', [], { command: 'no-such-program', args: ['--token', 'argument'], env: { PATH: dir }, maxRestarts: 0 });
  const it = supervise(t, { ...launch, redact: (text) => text });
  it.supervisor.start();
  await it.reaches('error 0');
  assert.deepEqual(it.failures[0]!.message, 'spawn ENOENT');
  assert.equal(it.supervisor.unavailable().message, 'Server "fs" is not available: spawn ENOENT');
  const [entry] = it.log('spawn_failed');
  assert.equal(entry!.level, 'error');
  assert.equal(entry!.message, `cannot start no-such-program: not found in PATH ${dir}:${dirname(process.execPath)}`);
  const toOthers = JSON.stringify([it.failures, it.refusals, it.supervisor.unavailable().toRpc()]);
  for (const word of ['no-such-program', dir, 'argument']) assert.equal(toOthers.includes(word), false, word);
  for (const { level, message } of it.world.entries) if (level !== 'debug') assert.equal(message.includes('argument'), false, message);
});

test('a command with its arguments in it is not there, and the log says where those belong', posix, async (t) => {
  const it = supervise(t, launchOf('', [], { command: 'node server.mjs', env: { PATH: '/bin' }, maxRestarts: 0 }));
  it.supervisor.start();
  await it.reaches('error 0');
  assert.match(it.log('spawn_failed')[0]!.message, /^cannot start node server\.mjs \(arguments belong in "args"\): not found in PATH \/bin:/);
});

test('a program that must not be executed is named in the log, without a PATH', posix, async (t) => {
  const file = join(tempDir(t), 'program');
  writeFileSync(file, '', { mode: 0o644 });
  const it = supervise(t, launchOf('', [], { command: file, args: [], maxRestarts: 0 }));
  it.supervisor.start();
  await it.reaches('error 0');
  assert.equal(it.supervisor.failure?.message, 'spawn EACCES');
  assert.equal(it.log('spawn_failed')[0]!.message, `cannot start ${file}`);
});

test('a program that cannot be spawned goes through the same restarts as one that dies', async (t) => {
  const it = supervise(t, launchOf('', [], { command: '/no/such/program', args: [] }));
  it.supervisor.start();
  for (const [restarts, ms] of [[1, 1_000], [2, 2_000], [3, 4_000]] as const) {
    await it.reaches(`restarting ${restarts}`);
    await it.clock.run(ms);
  }
  await it.reaches('error 3');
  assert.deepEqual(it.failures.map(({ message }) => message), Array(4).fill('spawn ENOENT'));
});

const SECRET = 'sk-0123456789abcdef';

test('values of its environment and other secrets are shown nowhere, whatever a server does with them', async (t) => {
  const other = 'a secret of the proxy';
  const launch = launchScript(
    `const { SECRET, OTHER } = process.env;
     console.error('on stderr ' + SECRET + ' ' + OTHER);
     process.stdin.once('data', (line) => {
       const { id } = JSON.parse(line);
       console.log('no message ' + SECRET);
       console.log(JSON.stringify({ jsonrpc: '2.0', id, error: { code: 1, message: 'bad ' + SECRET + ' ' + OTHER } }));
     });`,
    { env: { SECRET }, maxRestarts: 0 },
    [other],
  );
  const it = supervise(t, legacy({ ...launch, config: { ...launch.config, args: [...launch.config.args, SECRET, other] }, env: { OTHER: other } }));
  it.supervisor.start();
  await it.reaches('error 0');
  assert.equal(it.failures[0]!.message, 'refused initialize (1: bad *** ***)');
  assert.deepEqual(it.failures[0]!.stderr.split('\n').sort(), ['no message ***', 'on stderr *** ***']);
  const all = JSON.stringify([it.failures, it.refusals, it.refusals.map((error) => error.toRpc()), it.world.entries]);
  for (const secret of [SECRET, other]) assert.equal(all.includes(secret), false);
});

test('a secret is not shown in halves either, wherever what is shown of an error is cut', async (t) => {
  for (const before of [0, 100, 181, 185, 190, 195, 199, 200, 1_000]) {
    const launch = launchScript(
      `process.stdin.once('data', (line) => {
         const { id } = JSON.parse(line);
         console.log(JSON.stringify({ jsonrpc: '2.0', id, error: { code: 1, message: 'x'.repeat(${before}) + process.env.SECRET } }));
       });`,
      { env: { SECRET }, maxRestarts: 0 },
    );
    const it = supervise(t, legacy(launch));
    it.supervisor.start();
    await it.reaches('error 0');
    const { message } = it.failures[0]!;
    assert.ok(message.length < 500);
    assert.equal(message.includes(SECRET.slice(0, 6)), false, message);
  }
});

test('a secret that comes in two pieces is not shown in halves in the log', async (t) => {
  const it = supervise(
    t,
    launchScript(
      `const { SECRET } = process.env;
       const { writeSync } = require('fs');
       require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
         const { id, method } = JSON.parse(line);
         if (method === 'initialize') console.log(JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion: '2025-11-25', capabilities: {} } }));
         if (method === 'first') writeSync(2, 'first ' + SECRET.slice(0, 9));
         if (method === 'second') writeSync(2, SECRET.slice(9) + ' second\\n');
         if (id !== undefined && method !== 'initialize') console.log(JSON.stringify({ jsonrpc: '2.0', id, result: {} }));
       }).on('close', () => process.exit(1));`,
      { env: { SECRET } },
    ),
  );
  await runs(it);
  const { link } = it.ups[0]!;
  const shown = (): string => it.log('stderr').map(({ message }) => message).join('\n');
  for (const [k, method] of ['first', 'second'].entries()) {
    link.write(encodeCall(method, {}, k + 10));
    await until(() => it.lines.length === k + 1, 'its answer');
    await eventLoop(); // what it wrote to stderr before the answer has been read as well
  }
  await until(() => shown().includes('second'), 'all of it');
  assert.equal(shown().includes(SECRET.slice(0, 9)) || shown().includes(SECRET.slice(9)), false, shown());
});

test('of a line on stderr that does not end the beginning is logged, once, and never half a secret', async (t) => {
  const bound = 65_536;
  for (const before of [bound - 10, bound, 2 * bound - 10]) {
    const it = supervise(
      t,
      launchScript(
        `const { writeSync } = require('fs');
         const say = (text) => { for (let left = Buffer.from(text); left.length > 0; ) left = left.subarray(writeSync(2, left)); };
         say('begins ' + 'y'.repeat(${before} - 7) + process.env.SECRET + 'y'.repeat(${bound}) + process.env.SECRET + '\\n');
         say('next\\nunfinished');
         setTimeout(() => say(' line\\nlast\\n'), 20);
         process.stdin.on('end', process.exit).resume();`,
        { env: { SECRET } },
      ),
    );
    it.supervisor.start();
    const shown = (): string[] => it.log('stderr').map(({ message }) => message);
    await until(() => shown().includes('last'), 'all of it');
    assert.deepEqual(shown().map((line) => line.slice(0, 10)), ['begins yyy', 'next', 'unfinished', 'last']);
    assert.equal(/[0-9]/.test(shown().join('')), false);
  }
});

test('a secret that is longer than what is kept of stderr, or said over and over, is not shown in parts', async (t) => {
  for (const [length, times, after] of [[80_000, 1, 'the reason'], [10_000, 30, 'the reason'], [80_000, 1, '']] as const) {
    const secret = 's3cr3t-'.repeat(length / 7);
    const launch = launchScript(
      `const say = (text) => { for (let left = Buffer.from(text); left.length > 0; ) left = left.subarray(require('fs').writeSync(2, left)); };
       for (let n = 0; n < ${times}; n++) say(process.env.SECRET + '\\n');
       say('${after}');
       process.exit(1);`,
      { maxRestarts: 0, env: { SECRET: secret } },
    );
    const it = supervise(t, legacy(launch));
    it.supervisor.start();
    await it.reaches('error 0');
    const { stderr } = it.failures[0]!;
    assert.ok(stderr.endsWith(after));
    assert.equal(stderr.includes('s3cr3t'), false, stderr.slice(0, 100));
  }
});

test('what a process says on its way out is shown without the secrets that it was started with, which may be others by now', async (t) => {
  const dying = (secret: string) =>
    legacy(
      launchScript(
        `require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
           const { id, method } = JSON.parse(line);
           if (method === 'initialize') console.log(JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion: '2025-11-25', capabilities: {} } }));
           if (method !== 'die') return;
           console.error('no access with ' + process.env.SECRET);
           process.exit(1);
         });`,
        { env: { SECRET: secret } },
      ),
    );
  const it = supervise(t, dying(SECRET));
  await runs(it);
  it.launch(dying('another-0123456789'));
  it.supervisor.restart();
  it.ups[0]!.link.write(encodeCall('die', {}, 1));
  await until(() => it.downs.length === 1, 'its end');
  assert.equal(it.failures[0]!.stderr, 'no access with ***');
  await until(() => it.ups.length === 2, 'the next process');
  it.ups[1]!.link.write(encodeCall('die', {}, 1));
  await until(() => it.downs.length === 2, 'its end');
  assert.equal(it.failures[1]!.stderr, 'no access with ***');
  const all = JSON.stringify([it.failures, it.downs.map((error) => error.toRpc()), it.world.entries]);
  assert.equal(all.includes(SECRET) || all.includes('another-0123456789'), false);
});

test('of stderr the last 20 lines are shown, and no more than 2 KiB of them, without half a character or half a secret', async (t) => {
  const lines = (count: number, text: string) => Array.from({ length: count }, (_, n) => `${text} ${n}`);
  const ending = (lines: readonly string[]) =>
    launchScript(`require('fs').writeSync(2, ${JSON.stringify(`${lines.join('\n')}\n`)}); process.exit(1)`, { maxRestarts: 0, env: { SECRET } });
  const shown = async (said: readonly string[]): Promise<string> => {
    const it = supervise(t, ending(said));
    it.supervisor.start();
    await it.reaches('error 0');
    assert.deepEqual(
      it.log('stderr').filter(({ level }) => level === 'info').map(({ message }) => message),
      it.failures[0]!.stderr.split('\n').map((line) => `stderr: ${line}`),
    );
    return it.failures[0]!.stderr;
  };
  assert.equal(await shown(lines(3, 'line')), lines(3, 'line').join('\n'));
  assert.equal(await shown(lines(100, 'line')), lines(100, 'line').slice(-20).join('\n'));

  const wide = await shown(lines(20, '🦊'.repeat(50)));
  assert.ok(wide.endsWith('🦊 19') && Buffer.byteLength(wide) <= 2_048 && Buffer.byteLength(wide) > 2_040, `${Buffer.byteLength(wide)} bytes`);
  assert.equal(wide.includes('\ufffd'), false);

  for (const after of [2_030, 2_040, 2_044, 2_045, 2_046, 2_047, 2_048, 3_000]) {
    const cut = await shown([`${SECRET}${'y'.repeat(after)}`]);
    assert.ok(Buffer.byteLength(cut) <= 2_048);
    assert.equal(/[0-9a-f]/.test(cut), false, cut.slice(0, 30));
  }
});

test('all that a server says on stderr is logged at debug level, line by line, and ends nothing', async (t) => {
  const it = supervise(t, launchOf('floods-stderr.mjs', ['1']));
  await runs(it);
  it.call('poke');
  await until(() => it.lines.length === 1, 'the answer');
  const last = 2 ** 20 / 64;
  await until(() => it.log('stderr').some(({ message }) => message.startsWith(`line ${last} of ${last} `)), 'the last line');
  assert.ok(it.log('stderr').every(({ level }) => level === 'debug'));
  assert.equal(it.supervisor.status, 'running');
});

test('the reason that a server gave on stderr before it died is never missed', async (t) => {
  const all = Array.from({ length: 12 }, () => supervise(t, launchOf('dies-at-start.mjs', ['the reason'], { maxRestarts: 0 })));
  for (const it of all) it.supervisor.start();
  for (const it of all) {
    await it.reaches('error 0');
    assert.equal(it.supervisor.failure?.stderr, 'the reason');
  }
});

test('the command line of a process is in the log at debug level only', async (t) => {
  const it = supervise(t, launchOf('server.mjs', ['--name', 'an argument']));
  await runs(it);
  const [entry] = it.log('spawn');
  assert.deepEqual([entry!.level, entry!.message], ['debug', `started ${process.execPath} ${fixture('server.mjs')} --name an argument`]);
  assert.equal(entry!['pid'], it.starts()[0]);
});

// ---- not startable

test('a server that cannot be sent its initialize, because its client declares too much, fails like any other', async (t) => {
  const endless: Record<string, unknown> = {};
  endless['capabilities'] = endless;
  for (const protocol of ['legacy', 'auto'] as const) {
    const it = supervise(t, { ...launchOf('server.mjs', [], { autoRestart: false, protocol }), params: endless });
    it.supervisor.start();
    await until(() => it.failures.length === 1, 'its failure');
    await it.reachesAfterStop('error 0');
    const why = 'Server "fs" is not available: cannot be initialized: what its client declares is nested too deeply';
    assert.deepEqual(it.refusals.map(({ message }) => message), [why]);
    assert.deepEqual([it.ups, it.downs], [[], []]);
  }
});

test('an entry without a command is in error with its reason, however it is asked to run, and never a process', async (t) => {
  const it = supervise(t, launchOf('', [], { command: undefined, args: [] }));
  assert.equal(it.supervisor.status, 'error');
  for (let k = 0; k < 2; k++) {
    assert.equal(it.supervisor.start()?.message, 'Server "fs" is not available: remote servers are not supported');
    it.supervisor.restart();
    await it.clock.run(100_000);
  }
  assert.equal(it.supervisor.status, 'error');
  assert.equal(it.spawns(), 0);
  assert.deepEqual(it.supervisor.failure, { message: 'remote servers are not supported', at: '2026-01-01T12:00:00.000Z', stderr: '' });
});

test('a running server whose entry loses its command is drained and stopped, and says why it does not run', async (t) => {
  const it = supervise(t, launchOf('server.mjs'));
  await runs(it);
  it.launch(launchOf('', [], { command: undefined, args: [] }));
  it.supervisor.restart();
  it.drains[0]!.done();
  await until(() => {
    it.clock.advance(25);
    return group(it.starts()[0]!).length === 0;
  }, 'its end');
  assert.equal(it.supervisor.status, 'error');
  assert.equal(it.supervisor.failure?.message, 'remote servers are not supported');
});

test('a server that has failed and then loses its command says that, not how it failed', async (t) => {
  const it = supervise(t, launchOf('dies-at-start.mjs', [], { maxRestarts: 0 }));
  it.supervisor.start();
  await it.reaches('error 0');
  it.launch(launchOf('', [], { command: undefined, args: [] }));
  it.supervisor.restart();
  assert.equal(it.supervisor.unavailable().message, 'Server "fs" is not available: remote servers are not supported');
});

test('an entry that gets a command runs with it', async (t) => {
  const it = supervise(t, launchOf('', [], { command: undefined, args: [] }));
  it.supervisor.start();
  it.launch(launchOf('server.mjs'));
  it.supervisor.restart();
  await it.reaches('running 0');
  assert.equal(it.supervisor.failure, undefined);
});

test('a disabled entry is stopped, with a command or without', (t) => {
  for (const command of [undefined, process.execPath]) {
    const it = supervise(t, launchOf('server.mjs', [], { command, disabled: true }));
    assert.equal(it.supervisor.status, 'stopped');
  }
});

test('changed autoRestart and maxRestarts count from the next failure on, without a new process', async (t) => {
  const it = supervise(t, launchOf('server.mjs', [], { maxRestarts: 5 }));
  await runs(it);
  it.launch(launchOf('server.mjs', [], { autoRestart: false }));
  await eventLoop();
  assert.equal(it.spawns(), 1);
  it.call('die');
  await it.reaches('error 0');
});

test('the inherited environment reaches the process under that of its entry', async (t) => {
  const launch = launchOf('server.mjs', [], { env: { BOTH: 'entry', ENTRY: 'entry' } });
  const it = supervise(t, { ...launch, env: { BOTH: 'inherited', INHERITED: 'inherited', PATH: dirname(process.execPath) } });
  await runs(it);
  for (const [k, [name, value]] of Object.entries({ BOTH: 'entry', ENTRY: 'entry', INHERITED: 'inherited', HOME: null }).entries()) {
    it.call('env', { name });
    await until(() => it.lines.length === k + 1, 'the answer');
    assert.deepEqual(JSON.parse(it.lines[k]!).result.structuredContent, { value }, name);
  }
});
