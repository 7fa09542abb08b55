import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { systemClock, type Clock } from '../../src/base/clock.ts';
import { Child, type End } from '../../src/child/process.ts';
import { LIMITS, type Limits } from '../../src/config/limits.ts';
import { encodeCall } from '../../src/wire/jsonrpc.ts';
import { fakeClock, turns, type FakeClock } from '../support/clock.ts';
import { alive, fixture, group, tempDir, until } from '../support/files.ts';

// Process groups and signals are what most of this is about.
const posix = { skip: process.platform === 'win32' };
const LONG_MS = 600_000;
/** The ladder of those tests that are not about it: orphans are zombies until init reaps them, which may take its time. */
const SHORT: Partial<Limits> = { stopStdinMs: 50, stopTermMs: 50, goneAfterKillMs: 50 };

interface Options {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly limits?: Partial<Limits>;
  readonly clock?: Clock & { advance?(ms: number): void };
}

interface Run {
  readonly child: Child;
  readonly pid: number;
  /** What was told, in order. */
  readonly events: ('line' | 'stderr' | 'dead' | 'gone')[];
  readonly lines: string[];
  readonly ends: End[];
  /** Who was left of the group when it was said to be gone. */
  readonly left: number[];
  count(event: 'line' | 'stderr' | 'dead' | 'gone'): number;
  /** Calls a tool of the fixture. */
  call(name: string, args?: object): void;
  /** Waits for the line that answers a call, and returns its structured content. */
  answer(): Promise<any>;
}

/** A fixture as a child; whatever becomes of it, nothing of its group is left after the test. */
function start(t: TestContext, name: string, options: Options = {}): Run {
  return run(t, process.execPath, [fixture(name), ...(options.args ?? [])], options);
}

/** A script given as text. */
function script(t: TestContext, text: string, options: Options = {}): Run {
  return run(t, process.execPath, ['-e', text, ...(options.args ?? [])], options);
}

function run(t: TestContext, command: string, args: readonly string[], { env = {}, limits = {}, clock = systemClock }: Options = {}): Run {
  const events: Run['events'] = [];
  const lines: string[] = [];
  const ends: End[] = [];
  const left: number[] = [];
  let lastId = 0;
  const child = new Child({
    command,
    args,
    env,
    clock,
    limits: { ...LIMITS, ...(clock === systemClock ? SHORT : {}), ...limits },
    onLine: (parts) => {
      events.push('line');
      lines.push(Buffer.concat(parts).toString());
    },
    onStderr: () => events.push('stderr'),
    onDead: (end) => {
      events.push('dead');
      ends.push(end);
    },
    onGone: () => {
      events.push('gone');
      left.push(...(child.pid === undefined ? [] : group(child.pid)));
    },
  });
  const count: Run['count'] = (event) => events.filter((each) => each === event).length;
  t.after(async () => {
    child.kill();
    child.stop();
    await until(() => {
      clock.advance?.(100);
      return count('gone') > 0;
    }, 'the end of a child');
    assert.equal(count('gone'), 1);
    assert.ok(count('dead') <= 1);
    if (child.pid !== undefined) await until(() => group(child.pid!).length === 0, 'the end of its group');
  });
  return {
    child,
    get pid() {
      return child.pid!;
    },
    events,
    lines,
    ends,
    left,
    count,
    call: (name, args = {}) => void child.write(encodeCall('tools/call', { name, arguments: args }, ++lastId)),
    answer: async () => {
      const find = (): any => lines.map((line) => JSON.parse(line)).find(({ id, result }) => id === lastId && result !== undefined);
      return (await until(find, 'an answer')).result.structuredContent;
    },
  };
}

/** Waits until the child answers: from then on it has its handlers in place. */
async function ready(it: Run): Promise<void> {
  it.child.write(encodeCall('ping', undefined, 0));
  await until(() => it.lines.some((line) => line.includes('"id":0')), 'the answer to a ping');
}

/** Waits until its own process is no more, not even a zombie: then its exit has been seen here. */
function reaped(it: Run): Promise<boolean> {
  return until(() => {
    try {
      return !process.kill(it.pid, 0);
    } catch {
      return true;
    }
  }, 'the end of its process');
}

const goneOnce = (it: Run) => until(() => it.count('gone') === 1, 'its end');

// ---- the stop ladder

test('the stop ladder is the end of stdin at once, SIGTERM 2 s later, SIGKILL 2 s after that', posix, async (t) => {
  const file = join(tempDir(t), 'journal');
  const journal = (): string[] => (existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n') : []);
  const clock = fakeClock();
  const it = script(
    t,
    `const say = (what) => require('fs').appendFileSync(process.argv[1], what + '\\n');
     for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGWINCH']) process.on(signal, say);
     process.stdin.on('end', () => say('end of stdin')).resume();
     setTimeout(() => {}, 120_000);
     say('ready');`,
    { args: [file], clock },
  );
  await until(() => journal().length === 1, 'its start');
  /** What it has noticed by now: a signal that it was sent before this one has arrived, too. */
  const noticed = async (): Promise<string[]> => {
    const before = journal().filter((what) => what === 'SIGWINCH').length;
    process.kill(it.pid, 'SIGWINCH');
    await until(() => journal().filter((what) => what === 'SIGWINCH').length > before, 'a signal');
    return journal().filter((what) => what !== 'SIGWINCH');
  };

  it.child.stop();
  await until(() => journal().length === 2, 'the end of stdin');
  await clock.run(1_999);
  assert.deepEqual(await noticed(), ['ready', 'end of stdin']);
  await clock.run(1);
  await until(() => journal().includes('SIGTERM'), 'SIGTERM');
  await clock.run(1_999);
  assert.deepEqual(await noticed(), ['ready', 'end of stdin', 'SIGTERM']);
  assert.deepEqual(it.events, []);
  await clock.run(1);
  await reaped(it);
  await clock.run(25);
  assert.deepEqual(it.events, ['gone']);
  assert.deepEqual(it.left, []);
});

/** On which rung of the ladder a group ends: every process of it lives until then, and none a moment later. */
async function endsAt(it: Run, clock: FakeClock, ms: number): Promise<void> {
  const members = group(it.pid);
  it.child.stop();
  if (ms > 0) {
    await clock.run(ms - 1);
    assert.equal(it.count('gone'), 0);
    assert.notDeepEqual(group(it.pid), []);
    await clock.run(1);
  }
  await until(() => !members.some(alive), `the end of ${members.join(' and ')} at ${ms} ms`);
  await until(() => {
    clock.advance(25); // until init has reaped the orphans, or nobody waits for that any more
    return it.count('gone');
  }, 'the news of it');
  assert.deepEqual(it.left, []);
}

const RUNGS = [['server.mjs', 0, 'the end of its stdin'], ['deaf-to-stdin.mjs', 2_000, 'SIGTERM'], ['deaf-to-signals.mjs', 4_000, 'SIGKILL']] as const;

for (const [name, ms, what] of RUNGS) {
  test(`a child that ends at ${what} is not made to wait for more, nor is one within a shell that waits for it`, posix, async (t) => {
    for (const shell of [false, true]) {
      const clock = fakeClock();
      const it = shell ? run(t, '/bin/sh', ['-c', '"$0" "$1"; :', process.execPath, fixture(name)], { clock }) : start(t, name, { clock });
      await ready(it);
      assert.equal(group(it.pid).length, shell ? 2 : 1);
      await endsAt(it, clock, ms);
    }
  });
}

test('a rung that is no multiple of the beat at which its end is asked for comes in time', posix, async (t) => {
  const clock = fakeClock();
  const it = start(t, 'deaf-to-stdin.mjs', { clock, limits: { stopStdinMs: 2_010 } });
  await ready(it);
  await endsAt(it, clock, 2_010);
});

for (const [args, ms, what] of [[[], 2_000, 'SIGTERM'], [['deaf'], 4_000, 'SIGKILL']] as const) {
  test(`what outlives a child in its group gets ${what}, and only then the child is gone`, posix, async (t) => {
    const clock = fakeClock();
    const it = start(t, 'leaves-grandchild.mjs', { args, clock });
    it.call('pid');
    const { pid } = await it.answer();
    assert.deepEqual(group(it.pid).sort(), [it.pid, pid].sort());
    await endsAt(it, clock, ms);
    assert.equal(alive(pid), false);
  });
}

test('a child that died by itself is stopped as well: what it left behind is ended', posix, async (t) => {
  const it = start(t, 'leaves-grandchild.mjs');
  it.call('pid');
  const { pid } = await it.answer();
  it.call('die');
  await until(() => it.count('dead'), 'its death');
  assert.equal(alive(pid), true);
  it.child.stop();
  await goneOnce(it);
  assert.equal(alive(pid), false);
});

test('what SIGKILL does not remove within half a second is left to the system', posix, async (t) => {
  // A process of the group that cannot be killed is not to be had; one that answers "still there" for ever is.
  const clock = fakeClock();
  const it = start(t, 'deaf-to-signals.mjs', { clock });
  await ready(it);
  t.mock.method(process, 'kill', (pid: number, signal: string | number) => assert.ok(pid === -it.pid && [0, 'SIGTERM', 'SIGKILL'].includes(signal)));
  it.child.stop();
  await clock.run(4_499);
  assert.equal(it.count('gone'), 0);
  await clock.run(1);
  assert.equal(it.count('gone'), 1);
  t.mock.restoreAll();
});

test('a group whose processes are another user’s by now is not taken for gone', posix, async (t) => {
  const clock = fakeClock();
  const it = script(t, `process.stdin.on('end', () => process.exit()).resume();`, { clock });
  it.child.stop();
  await reaped(it);
  await turns();
  t.mock.method(process, 'kill', () => {
    throw Object.assign(new Error('not permitted'), { code: 'EPERM' });
  });
  await clock.run(4_499);
  assert.equal(it.count('gone'), 0);
  await clock.run(1);
  assert.equal(it.count('gone'), 1);
  t.mock.restoreAll();
});

test('a child that is stopped twice, or killed while it is being stopped, is gone once and never reported dead', posix, async (t) => {
  for (const [name, kill] of [['server.mjs', false], ['deaf-to-signals.mjs', true]] as const) {
    const it = start(t, name, { limits: { stopStdinMs: LONG_MS } });
    await ready(it);
    it.child.stop();
    it.child.stop();
    if (kill) it.child.kill();
    await goneOnce(it);
    it.child.stop();
    it.child.kill();
    await turns();
    assert.deepEqual(it.events.filter((event) => event !== 'line'), ['gone']);
  }
});

test('a child that floods its stdout is stopped all the same, and no line comes after that', posix, async (t) => {
  const it = start(t, 'floods-stdout.mjs');
  it.call('poke');
  await until(() => it.lines.length > 100, 'the flood');
  it.child.stop();
  const before = it.lines.length;
  await goneOnce(it);
  assert.equal(it.lines.length, before);
});

test('kill ends the whole group at once, whatever it is deaf to', posix, async (t) => {
  for (const [name, ...args] of [['deaf-to-signals.mjs'], ['leaves-grandchild.mjs', 'deaf'], ['hangs-in-handshake.mjs']] as [string, ...string[]][]) {
    const it = start(t, name, { args });
    if (args.length === 0) await until(() => alive(it.pid), 'its start');
    else await ready(it);
    it.child.kill();
    await until(() => group(it.pid).length === 0, 'the end of the group');
    await until(() => it.count('dead') === 1, 'its death');
    assert.equal(it.ends[0]!.what, 'killed by SIGKILL');
    it.child.kill();
    it.child.stop();
    await goneOnce(it);
  }
});

test('a descendant with a session of its own is out of reach, but what it holds of the pipes is not waited for', posix, async (t) => {
  const before = process.getActiveResourcesInfo().filter((what) => what === 'PipeWrap').length;
  const it = script(
    t,
    `const { pid } = require('child_process').spawn(process.execPath, ['-e', 'setTimeout(() => {}, 120_000)'], { detached: true, stdio: 'inherit' });
     console.log(JSON.stringify({ jsonrpc: '2.0', id: 0, result: { structuredContent: { pid } } }));
     process.stdin.on('end', () => process.exit()).resume();`,
  );
  const { pid } = await it.answer();
  t.after(() => process.kill(pid, 'SIGKILL'));
  it.child.stop();
  await goneOnce(it);
  assert.equal(alive(pid), true);
  await until(() => process.getActiveResourcesInfo().filter((what) => what === 'PipeWrap').length === before, 'the end of the pipes');
});

test('no child holds a pipe of another: each sees the end of its own stdin', posix, async (t) => {
  const all = [1, 2, 3].map(() => start(t, 'server.mjs', { limits: { stopStdinMs: LONG_MS } }));
  await Promise.all(all.map(ready));
  for (const it of all) {
    it.child.stop();
    await goneOnce(it);
  }
});

// ---- death

for (const [how, what, toCaller, data] of [
  ['process.exit(0)', 'exited with code 0', 'exited (code 0)', { exitCode: 0 }],
  ['process.exit(7)', 'exited with code 7', 'exited (code 7)', { exitCode: 7 }],
  ['process.kill(process.pid, "SIGTERM")', 'killed by SIGTERM', 'exited (signal SIGTERM)', { signal: 'SIGTERM' }],
  ['process.kill(process.pid, "SIGKILL")', 'killed by SIGKILL', 'exited (signal SIGKILL)', { signal: 'SIGKILL' }],
] as const) {
  test(`a child that ends in "${what}" is reported as such, after the last line that it wrote`, posix, async (t) => {
    for (const bytes of [10, 1_000_000]) {
      const it = script(
        t,
        `let left = Buffer.from('first\\n' + 'x'.repeat(${bytes}) + '\\n');
         while (left.length > 0) left = left.subarray(require('fs').writeSync(1, left));
         require('fs').writeSync(2, 'the reason');
         ${how};`,
        { limits: { deathGraceMs: LONG_MS } },
      );
      await until(() => it.count('dead'), 'its death');
      assert.deepEqual(it.ends, [{ what, toCaller, data }]);
      assert.deepEqual(it.events.filter((event) => event !== 'stderr'), ['line', 'line', 'dead']);
      assert.equal(it.lines[1]!.length, bytes);
      assert.equal(it.child.tail(), 'the reason');
    }
  });
}

test('half a line that a child wrote before it exited is no line', posix, async (t) => {
  const it = start(t, 'half-line-then-exit.mjs');
  it.call('poke');
  await until(() => it.count('dead'), 'its death');
  assert.deepEqual(it.events, ['dead']);
  assert.equal(it.ends[0]!.what, 'exited with code 0');
});

test('a child whose stdout is held open by another process is dead a moment after its exit', posix, async (t) => {
  const clock = fakeClock();
  const it = start(t, 'grandchild-holds-stdout.mjs', { clock });
  it.call('die');
  await until(() => clock.pending === 1, 'the first sign of its death');
  await reaped(it);
  clock.advance(99);
  assert.deepEqual(it.ends, []);
  clock.advance(1);
  assert.deepEqual(it.ends.map(({ what }) => what), ['exited with code 1']);
});

test('what another process of its group goes on writing to the stdout of a dead child is nobody’s line', posix, async (t) => {
  const it = script(
    t,
    `const chatter = 'setInterval(() => { process.stdout.write("late\\\\n"); process.stderr.write("still here\\\\n"); }, 5); setTimeout(process.exit, 120_000)';
     require('child_process').spawn(process.execPath, ['-e', chatter], { stdio: ['ignore', 'inherit', 'inherit'] });
     process.stdin.once('data', () => process.exit(1));`,
    { limits: { deathGraceMs: 20 } },
  );
  await until(() => it.count('line') > 0, 'the other process');
  it.child.write(Buffer.from('die'));
  await until(() => it.count('dead'), 'its death');
  const told = it.count('stderr');
  await until(() => it.count('stderr') > told + 5, 'more of the other process');
  assert.equal(it.events.lastIndexOf('line') < it.events.indexOf('dead'), true);
});

test('a child that closes its stdout and lives is as good as dead', posix, async (t) => {
  const clock = fakeClock();
  const it = start(t, 'closes-stdout.mjs', { clock });
  it.call('poke');
  await until(() => clock.pending === 1, 'the first sign of its death');
  clock.advance(100);
  assert.deepEqual(it.ends, [{ what: 'closed its stdout' }]);
  assert.equal(alive(it.pid), true);
});

test('a child that closes its stdin and lives is as good as dead, although nothing is written to it', posix, async (t) => {
  const it = script(t, `console.error('junk'); require('fs').writeSync(0, 'junk'); require('fs').closeSync(0); setInterval(() => {}, 1e6)`, { limits: { deathGraceMs: 10 } });
  await until(() => it.count('dead'), 'its death');
  assert.deepEqual(it.ends, [{ what: 'closed its stdin' }]);
  assert.equal(alive(it.pid), true);
  assert.equal(it.child.write(Buffer.from('to nobody')), true);
});

test('what a child writes to its stdin is nothing, and no sign of death', posix, async (t) => {
  const clock = fakeClock();
  const it = script(t, `require('fs').writeSync(0, 'junk'); process.stdin.pipe(process.stdout);`, { clock });
  await ready(it);
  await turns();
  assert.equal(clock.pending, 0);
});

test('a child that is stopped after the first sign of its death has no other timer than the ladder', posix, async (t) => {
  const clock = fakeClock();
  const it = start(t, 'closes-stdout.mjs', { clock });
  it.call('poke');
  await until(() => clock.pending === 1, 'the first sign of its death');
  it.child.stop();
  assert.equal(clock.pending, 1);
});

test('an exit that follows a broken pipe within the grace is what is reported', posix, async (t) => {
  const clock = fakeClock();
  const it = start(t, 'closes-stdout.mjs', { clock });
  it.call('poke');
  await until(() => clock.pending === 1, 'the first sign of its death');
  assert.equal(it.count('dead'), 0);
  process.kill(it.pid, 'SIGKILL');
  await until(() => it.count('dead'), 'its death');
  assert.equal(it.ends[0]!.what, 'killed by SIGKILL');
  assert.equal(clock.pending, 0);
});

test('an exit is what is reported even if its stdout is held open and its stdin broke first', posix, async (t) => {
  const clock = fakeClock();
  const it = script(
    t,
    `require('child_process').spawn(process.execPath, ['-e', 'setTimeout(() => {}, 120_000)'], { stdio: ['ignore', 'inherit', 'ignore'] });
     process.stdin.once('data', () => {
       process.stdin.destroy();
       require('fs').closeSync(0);
       setTimeout(() => {}, 120_000);
     });`,
    { clock },
  );
  await until(() => {
    it.call('poke');
    return clock.pending === 1;
  }, 'the broken pipe');
  process.kill(it.pid, 'SIGKILL');
  await reaped(it);
  clock.advance(100);
  assert.deepEqual(it.ends.map(({ what }) => what), ['killed by SIGKILL']);
});

// ---- no process at all

test('a command that cannot be spawned is a death with the reason of the system, told once and not at once', posix, async (t) => {
  const dir = tempDir(t);
  const text = join(dir, 'text');
  writeFileSync(text, '#!/bin/sh\n', { mode: 0o644 });
  const cases: readonly (readonly [string, string, readonly string[], Readonly<Record<string, string>>])[] = [
    ['ENOENT', join(dir, 'missing'), [], {}],
    ['ENOENT', 'no-such-program', [], { PATH: dir }],
    ['EACCES', text, [], {}],
    ['EACCES', dir, [], {}],
    ['ENOTDIR', join(text, 'below'), [], {}],
    ['E2BIG', process.execPath, ['x'.repeat(4_000_000)], {}],
    ['ERR_INVALID_ARG_VALUE', 'a\0b', [], {}],
    ['ERR_INVALID_ARG_VALUE', process.execPath, ['a\0b'], {}],
    ['ERR_INVALID_ARG_VALUE', process.execPath, [], { SECRET: 'a\0b' }],
  ];
  for (const [code, command, args, env] of cases) {
    const it = run(t, command, args, { env });
    assert.deepEqual(it.events, []);
    assert.equal(it.child.pid, undefined);
    assert.equal(it.child.write(Buffer.from('to nobody')), true);
    it.child.kill();
    await until(() => it.count('dead'), `${code} of ${command}`);
    assert.deepEqual(it.ends, [{ what: `spawn ${code}`, notSpawned: code }]);
    it.child.stop();
    assert.equal(it.count('gone'), 0);
    await goneOnce(it);
  }
});

test('a process that was stopped before it was known not to exist is gone and not dead', posix, async (t) => {
  for (const command of ['/no/such/program', 'a\0b']) {
    const it = run(t, command, []);
    it.child.stop();
    await goneOnce(it);
    await turns();
    assert.deepEqual(it.events, ['gone']);
  }
});

test('where no descriptor is left for its pipes a child is a death like any other that was not spawned', posix, (t) => {
  // In a process of its own, because it is one without descriptors.
  const script = join(tempDir(t), 'starved.mjs');
  const built = (file: string): string => new URL(`../../src/${file}.js`, import.meta.url).href;
  writeFileSync(
    script,
    `import { openSync } from 'node:fs';
     import { Child } from '${built('child/process')}';
     import { systemClock as clock } from '${built('base/clock')}';
     import { LIMITS as limits } from '${built('config/limits')}';
     const said = [];
     process.on('exit', () => console.log(JSON.stringify(said)));
     console.log(''); // stdout is set up while that is possible
     try { for (;;) openSync('/dev/null'); } catch {}
     const onDead = ({ what }) => { said.push(what); child.stop(); };
     const child = new Child({ command: '/bin/true', args: [], env: {}, clock, limits, onLine() {}, onStderr() {}, onDead, onGone: () => said.push('gone') });
     child.write(Buffer.from('to nobody'));`,
  );
  const { stdout, stderr } = spawnSync('/bin/sh', ['-c', 'ulimit -n 64; exec "$0" "$1"', process.execPath, script], { encoding: 'utf8' });
  assert.equal(stdout.trim(), '["spawn EMFILE","gone"]', stderr);
});

// ---- what goes in

test('a child gets its environment and nothing beside it, its arguments as they stand, and a group of its own', posix, async (t) => {
  const args = ['$HOME', '*', 'a b', '"', "'", ';exit 1', '`id`', '', 'żółć 🦊', '--', '\\'];
  const env = { ONE: '1', TWO: 'żółć = $ONE', EMPTY: '' };
  // The one variable that Node hands on of its own accord.
  const { NODE_V8_COVERAGE: coverage } = process.env;
  process.env['NODE_V8_COVERAGE'] ??= tempDir(t);
  t.after(() => {
    if (coverage === undefined) delete process.env['NODE_V8_COVERAGE'];
  });
  const it = script(t, 'console.log(JSON.stringify([process.argv.slice(1), process.env])); process.stdin.resume()', { args: ['--', ...args], env: { ...env } });
  await until(() => it.count('line'), 'what it got');
  const [gotArgs, gotEnv] = JSON.parse(it.lines[0]!);
  assert.deepEqual(gotArgs, args);
  assert.deepEqual(gotEnv, env);
  assert.deepEqual(group(it.pid), [it.pid]);
});

test('a command without a slash is searched in the PATH that the child is given', posix, async (t) => {
  const it = run(t, 'node', ['-p', '"found"'], { env: { PATH: dirname(process.execPath) } });
  await until(() => it.count('line'), 'the program');
  assert.deepEqual(it.lines, ['found']);
});

test('the running node is found however short PATH is, by the child as well, and last', posix, async (t) => {
  const dir = tempDir(t);
  const it = run(t, 'node', ['-p', 'process.env.PATH'], { env: { PATH: dir } });
  await until(() => it.count('line'), 'the program');
  assert.deepEqual(it.lines, [`${dir}:${dirname(process.execPath)}`]);

  writeFileSync(join(dir, 'node'), '#!/bin/sh\necho another one\n', { mode: 0o755 });
  const other = run(t, 'node', [], { env: { PATH: dir } });
  await until(() => other.count('line'), 'the other program');
  assert.deepEqual(other.lines, ['another one']);
});

test('ids are fresh integers for the life of a process', (t) => {
  const it = start(t, 'server.mjs');
  const ids = Array.from({ length: 1_000 }, () => it.child.nextId());
  assert.equal(new Set(ids).size, 1_000);
  assert.ok(ids.every((id) => Number.isSafeInteger(id) && id > 0));
});

test('a child that reads nothing is written to until its queue is full, and again when it has read', posix, async (t) => {
  const dir = tempDir(t);
  const go = join(dir, 'go');
  const it = script(
    t,
    `const fs = require('fs');
     const wait = setInterval(() => {
       if (!fs.existsSync(process.argv[1])) return;
       clearInterval(wait);
       require('readline').createInterface({ input: process.stdin }).on('line', (line) => console.log(line.slice(0, 10))).on('close', () => process.exit());
     }, 5);`,
    { args: [go], limits: { maxStdinQueueBytes: 100_000 } },
  );
  const message = (n: number): Buffer => Buffer.from(`${String(n).padStart(6, '0')} `.padEnd(10_000, '.'));
  let taken = 0;
  while (taken < 1_000 && it.child.write(message(taken))) taken++;
  // The bound of 100,000 bytes, and what the system takes beside it.
  assert.ok(taken >= 10 && taken < 100, `${taken} messages of 10,000 bytes`);
  assert.equal(it.child.write(message(999)), false);

  writeFileSync(go, '');
  await until(() => it.lines.length === taken, 'all that was taken');
  assert.equal(it.child.write(message(taken)), true);
  await until(() => it.lines.length === taken + 1, 'one more');
  assert.deepEqual(it.lines.map((line) => Number(line.slice(0, 6))), Array.from({ length: taken + 1 }, (_, n) => n));
});

test('one message that is larger than the queue may be is written when nothing else waits', posix, async (t) => {
  const it = start(t, 'server.mjs', { limits: { maxStdinQueueBytes: 1_000 } });
  const big = encodeCall('tools/call', { name: 'echo', arguments: { text: 'x'.repeat(500_000) } }, 1);
  assert.equal(it.child.write(big), true);
  assert.equal(it.child.write(big), false);
  await until(() => it.lines.length === 1, 'the answer');
});

test('what a child is owed is written beyond its queue; one that leaves even that unread is as good as dead', posix, async (t) => {
  const clock = fakeClock();
  const it = script(t, 'setInterval(() => {}, 1e6)', { clock, limits: { maxStdinQueueBytes: 100_000, stdinReserveBytes: 50_000 } });
  const message = Buffer.alloc(10_000, '.');
  while (it.child.write(message)) await turns();
  for (let n = 0; n < 4; n++) assert.equal(it.child.write(message, true), true);
  assert.equal(it.child.write(message), false);
  clock.advance(100);
  assert.equal(it.count('dead'), 0);
  for (let n = 0; n < 4; n++) it.child.write(message, true);
  clock.advance(100);
  assert.deepEqual(it.ends, [{ what: 'does not read its stdin' }]);
});

test('what is written within one turn leaves in order and as one write; what is too much to be copied leaves at once', async (t) => {
  const it = start(t, 'server.mjs');
  await ready(it);
  const prototype = Socket.prototype as unknown as Record<'_write' | '_writev', () => void>;
  const writes = [t.mock.method(prototype, '_write'), t.mock.method(prototype, '_writev')];
  const written = (): number => writes.reduce((sum, { mock }) => sum + mock.callCount(), 0);
  for (const [bytes, ids, atOnce] of [[10, [1, 2, 3], 0], [10_000, [4, 5, 6], 0], [100_000, [7], 1]] as const) {
    const [lines, before] = [it.lines.length, written()];
    for (const id of ids) it.child.write(encodeCall('tools/call', { name: 'echo', arguments: { text: 'x'.repeat(bytes) } }, id));
    assert.equal(written() - before, atOnce, `${bytes} bytes`);
    await until(() => it.lines.length === lines + ids.length, 'the answers');
    assert.equal(written() - before, 1, `${bytes} bytes`);
    assert.deepEqual(it.lines.slice(lines).map((line) => JSON.parse(line).id), ids);
  }
});

test('what was written before a child is stopped still reaches it, before the end of its stdin', posix, async (t) => {
  const file = join(tempDir(t), 'journal');
  const it = script(t, `process.stdin.on('data', (chunk) => require('fs').appendFileSync(process.argv[1], chunk)); console.log('ready');`, { args: [file], limits: { stopStdinMs: LONG_MS } });
  await until(() => it.count('line'), 'its start');
  it.child.write(Buffer.from('first'));
  it.child.write(Buffer.from('last'));
  it.child.stop();
  await goneOnce(it);
  assert.equal(readFileSync(file, 'utf8'), 'first\nlast\n');
});

// ---- what comes out

test('a line of just the bytes that are allowed comes, one more byte is a death', posix, async (t) => {
  const limits = { maxLineBytes: 1_000 };
  const fits = start(t, 'long-line.mjs', { args: ['1000'], limits });
  fits.call('poke');
  await until(() => fits.count('line'), 'the line');
  assert.equal(fits.lines[0]!.length, 1_000);

  const it = start(t, 'long-line.mjs', { args: ['1001'], limits });
  it.call('poke');
  await until(() => it.count('dead'), 'its death');
  assert.deepEqual(it.ends, [{ what: 'sent a line of more than 1000 bytes', tooLong: true }]);
  assert.deepEqual(it.lines, []);
  it.call('poke');
  it.child.stop();
  await goneOnce(it);
  assert.deepEqual(it.events, ['dead', 'gone']);
});

test('a line in more parts than are allowed is a death, however short it is', posix, async (t) => {
  const it = start(t, 'many-parts.mjs', { limits: { maxLineParts: 50 } });
  it.call('poke');
  await until(() => it.count('dead'), 'its death');
  assert.equal(it.ends[0]!.tooLong, true);
});

test('all that a child writes to stderr is read, and the end of it is kept', posix, async (t) => {
  const it = start(t, 'floods-stderr.mjs', { args: ['1'] });
  it.call('die');
  await until(() => it.count('dead'), 'its death');
  const lines = 2 ** 20 / 64;
  const all = Array.from({ length: lines }, (_, n) => `${`line ${n + 1} of ${lines} `.padEnd(63, '.')}\n`).join('');
  const tail = it.child.tail();
  assert.ok(tail.length > 65_000 && tail.length <= 65_536, `${tail.length} bytes are kept`);
  assert.ok(all.endsWith(tail));
});

test('the tail is bounded whatever the sizes of its pieces, begins with a whole line, and never loses its end', (t) => {
  for (const size of [1, 3, 7, 50, 99, 100, 101, 250]) {
    const it = start(t, 'hangs-in-handshake.mjs', { limits: { stderrTailBytes: 100 } });
    let all = '';
    for (let n = 0; all.length < 5_000; n++) {
      const piece = n % 7 === 6 ? '\n'.padStart(size, '-') : String(n).padEnd(size, '-').slice(0, size);
      all += piece;
      it.child.note(Buffer.from(piece));
      const shown = all.length < 100 ? all : all.slice(-100).replace(/^[^\n]*\n?/, '');
      assert.equal(it.child.tail(), shown, `pieces of ${size}`);
    }
  }
});
