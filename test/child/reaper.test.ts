import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readlinkSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { systemClock, type Clock } from '../../src/base/clock.ts';
import { Reaper } from '../../src/child/reaper.ts';
import { fakeClock, turns } from '../support/clock.ts';
import { alive, group, tempDir, until } from '../support/files.ts';
import { testWorld } from './world.ts';

const posix = { skip: process.platform === 'win32' };
const linux = { skip: process.platform !== 'linux' };

// Groups that nobody has: ids of processes are smaller.
const NOBODY = [99_000_001, 99_000_002, 99_000_003] as const;

function reaper(t: TestContext, { clock = systemClock, command }: { clock?: Clock; command?: string } = {}) {
  const world = testWorld(clock);
  const it = command === undefined ? new Reaper(world) : new Reaper(world, command);
  t.after(async () => {
    const { pid } = it;
    for (const each of NOBODY) it.delete(each);
    if (pid !== undefined) await until(() => !alive(pid), 'the end of the shell');
  });
  return { it, world };
}

test('there is one shell for all groups of a proxy, from the first to the last', posix, async (t) => {
  const { it } = reaper(t);
  assert.equal(it.pid, undefined);
  it.add(NOBODY[0]);
  const { pid } = it;
  assert.equal(alive(pid!), true);
  it.add(NOBODY[1]);
  it.delete(NOBODY[0]);
  it.delete(NOBODY[2]);
  assert.equal(it.pid, pid);
  it.delete(NOBODY[1]);
  assert.equal(it.pid, undefined);
  await until(() => !alive(pid!), 'its end');
  it.add(NOBODY[2]);
  assert.notEqual(it.pid, pid);
});

test('a shell whose last group has gone is not replaced, nothing is said of it, and it waits for nothing', posix, async (t) => {
  const clock = fakeClock();
  const command = join(tempDir(t), 'sh');
  writeFileSync(command, '#!/bin/sh\nexec /bin/sh -x "$@" 2>"$0.trace"\n', { mode: 0o755 });
  for (const ms of [0, 1_000]) {
    const { it, world } = reaper(t, { clock, command });
    it.add(NOBODY[0]);
    const pid = it.pid!;
    clock.advance(ms);
    it.delete(NOBODY[0]);
    await until(() => !existsSync(`/proc/${pid}`) && !alive(pid), 'its end');
    await turns();
    assert.equal(it.pid, undefined);
    assert.deepEqual(world.entries, []);
    assert.doesNotMatch(readFileSync(`${command}.trace`, 'utf8'), /sleep/);
  }
});

test('the shell leads a session of its own, stands in /, holds nothing of the proxy but its pipe, and no signal ends it', linux, async (t) => {
  const { it } = reaper(t);
  it.add(NOBODY[0]);
  const pid = it.pid!;
  await until(() => readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('/bin/sh'), 'its start');
  const [, , session] = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) . /s, '').split(' ').map(Number);
  assert.equal(session, pid);
  assert.deepEqual([readlinkSync(`/proc/${pid}/cwd`), ...[1, 2].map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))], ['/', '/dev/null', '/dev/null']);
  // Ignored signals are a bit mask: HUP, INT, QUIT and TERM are 1, 2, 3 and 15.
  const wanted = [1, 2, 3, 15].reduce((mask, signal) => mask | (1n << BigInt(signal - 1)), 0n);
  await until(() => (BigInt(`0x${/SigIgn:\s*(\w+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]}`) & wanted) === wanted, 'its traps');
});

test('the shell takes less than half a megabyte of memory that it shares with nobody, also with a thousand groups', linux, async (t) => {
  const { it } = reaper(t);
  it.add(NOBODY[0]);
  const pid = it.pid!;
  const others = Array.from({ length: 1_000 }, (_, n) => 99_100_000 + n);
  for (const each of others) it.add(each);
  const read = (): number => Number(/^rchar: (\d+)/.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))![1]);
  await until(() => read() >= 11_000, 'it to have read them');
  const kb = [...readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1').matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm)].reduce((sum, [, each]) => sum + Number(each), 0);
  t.diagnostic(`${kb} kB`);
  for (const each of others) it.delete(each);
  assert.ok(kb > 0 && kb < 512, `${kb} kB`);
});

/** A process in a group of its own that any signal ends or, when `deaf`, only SIGKILL. */
async function member(t: TestContext, deaf = false): Promise<number> {
  const script = `${deaf ? 'process.on("SIGTERM", () => {});' : ''} setTimeout(() => {}, 120_000); console.log("ready")`;
  const child = spawn(process.execPath, ['-e', script], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  t.after(() => group(child.pid!).forEach((pid) => process.kill(pid, 'SIGKILL')));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return child.pid!;
}

/** Another process with a reaper of its own for these groups, and what the script does then. */
async function elsewhere(t: TestContext, script: string, groups: readonly number[]): Promise<{ pid: number; shell: number }> {
  const file = join(tempDir(t), 'reaper.mjs');
  const built = (name: string): string => JSON.stringify(new URL(`../../src/${name}.js`, import.meta.url).href);
  writeFileSync(
    file,
    `import { Reaper } from ${built('child/reaper')};
     import { Log } from ${built('base/log')};
     import { systemClock as clock } from ${built('base/clock')};
     const it = new Reaper({ clock, log: new Log(undefined, clock) });
     for (const group of ${JSON.stringify(groups)}) it.add(group);
     ${script}
     console.log(it.pid);`,
  );
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const shell = await new Promise<Buffer>((resolve) => child.stdout.once('data', resolve));
  return { pid: child.pid!, shell: Number(shell.toString()) };
}

test('when the proxy is killed every group that is left gets SIGTERM and a second later SIGKILL, and no other', posix, async (t) => {
  const [ends, deaf, removed, stranger] = [await member(t), await member(t, true), await member(t), await member(t)];
  const { pid, shell } = await elsewhere(t, `it.delete(${removed}); setInterval(() => {}, 1_000);`, [removed, ends, deaf]);
  process.kill(pid, 'SIGKILL');
  const at = performance.now();
  await until(() => !alive(ends), 'the end of one that obeys');
  assert.equal(alive(deaf), true);
  await until(() => !alive(deaf), 'the end of one that is deaf');
  assert.ok(performance.now() - at > 900, 'a second is left to it');
  await until(() => !alive(shell), 'the end of the shell');
  assert.deepEqual([alive(removed), alive(stranger)], [true, true]);
});

test('a group that is told and taken back among others is out of it, wherever it stands', posix, async (t) => {
  const all = await Promise.all([0, 1, 2, 3].map(() => member(t)));
  const [first, second, third, last] = all as [number, number, number, number];
  const { pid, shell } = await elsewhere(t, `for (const each of [${first}, ${third}, ${last}, ${last}, 1]) it.delete(each); it.add(${third}); setInterval(() => {}, 1_000);`, all);
  process.kill(pid, 'SIGKILL');
  await until(() => !alive(shell), 'the end of the shell');
  assert.deepEqual([first, second, third, last].map(alive), [true, false, false, true]);
});

test('it does not keep the proxy alive', posix, async (t) => {
  const one = await member(t);
  const { pid, shell } = await elsewhere(t, '', [one]);
  await until(() => !alive(pid) && !alive(shell), 'the end of both');
  assert.equal(alive(one), false);
});

test('a shell that dies is replaced, and the next one knows all that is left', posix, async (t) => {
  const clock = fakeClock();
  const { it, world } = reaper(t, { clock });
  for (const each of NOBODY) it.add(each);
  it.delete(NOBODY[1]);
  const { pid } = it;
  clock.advance(1_000);
  process.kill(pid!, 'SIGKILL');
  await until(() => it.pid !== pid && it.pid !== undefined, 'another one');
  assert.deepEqual(world.entries, []);

  const one = await member(t);
  const { pid: proxy, shell } = await elsewhere(
    t,
    `await new Promise((resolve) => setTimeout(resolve, 1_000));
     const old = it.pid;
     process.kill(old, 'SIGKILL');
     while (it.pid === old || it.pid === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
     setInterval(() => {}, 1_000);`,
    [one],
  );
  process.kill(proxy, 'SIGKILL');
  await until(() => !alive(shell), 'the end of the shell');
  assert.equal(alive(one), false);
});

test('where there is no shell, or one that dies at once, that is said once and changes nothing else', posix, async (t) => {
  for (const [command, what] of [['/no/such/shell', /^spawn \/no\/such\/shell ENOENT: servers will outlive the proxy/], ['/bin/false', /^\/bin\/false exited with code 1: servers/]] as const) {
    const { it, world } = reaper(t, { command, clock: fakeClock() });
    it.add(NOBODY[0]);
    await until(() => world.entries.length === 1, 'a word about it');
    assert.deepEqual([world.entries[0]!.level, world.entries[0]!.event], ['warn', 'reaper']);
    assert.match(world.entries[0]!.message, what);
    it.add(NOBODY[1]);
    it.delete(NOBODY[0]);
    await until(() => it.pid === undefined, 'the end of the second one');
    await turns();
    assert.equal(world.entries.length, 1);
    it.delete(NOBODY[1]);
  }
});
