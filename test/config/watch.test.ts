// Real files, real events of the system, and a clock that stands still: an event has come when it has armed the
// debounce timer, and nothing is told before the test moves the clock.

import assert from 'node:assert/strict';
import fs, { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Clock } from '../../src/base/clock.ts';
import { LIMITS } from '../../src/config/limits.ts';
import { watchConfigFile } from '../../src/config/watch.ts';
import { fakeClock, turns } from '../support/clock.ts';
import { tempDir, until } from '../support/files.ts';

const { configDebounceMs: DEBOUNCE, configDebounceMaxMs: DEBOUNCE_MAX, configPollMs: POLL } = LIMITS;

interface Watched {
  /** How often a change was told. */
  readonly told: number;
  /** How many events have come: each of them arms the debounce timer. */
  readonly events: number;
  /** How many rounds of the poll are over. */
  readonly polls: number;
  readonly pending: number;
  advance(ms: number): void;
  /** Lets the poll look once; time stands still around it. */
  poll(): Promise<void>;
  /** Lets pass what one change takes, fast path or poll. */
  settle(): Promise<void>;
  close(): void;
}

async function watched(t: TestContext, path: string): Promise<Watched> {
  const clock = fakeClock();
  let [told, events, polls] = [0, 0, 0];
  const counting: Clock = {
    now: clock.now,
    timestamp: clock.timestamp,
    soon: clock.soon,
    after(ms, then) {
      if (ms === POLL) polls += 1;
      else events += 1;
      return clock.after(ms, then);
    },
  };
  const watch = watchConfigFile(path, { clock: counting, limits: LIMITS }, () => void (told += 1));
  t.after(() => watch.close());
  await until(() => polls === 1, 'the first look at the file');
  clock.advance(DEBOUNCE_MAX);
  told = events = 0; // a watch may begin by telling that there is something to look at
  const it: Watched = {
    get told() {
      return told;
    },
    get events() {
      return events;
    },
    get polls() {
      return polls;
    },
    get pending() {
      return clock.pending;
    },
    advance: (ms) => clock.advance(ms),
    async poll() {
      const before = polls;
      clock.advance(POLL);
      await until(() => polls > before, 'a round of the poll');
    },
    async settle() {
      await it.poll();
      await turns();
      clock.advance(DEBOUNCE_MAX);
    },
    close: () => watch.close(),
  };
  return it;
}

/** A directory with a configuration in it. */
function prepared(t: TestContext): { readonly dir: string; readonly path: string } {
  const dir = tempDir(t);
  const path = join(dir, 'mcp-config.json');
  writeFileSync(path, 'old');
  return { dir, path };
}

// ---- The fast path: no time passes between the change and the event

const seenAtOnce: readonly (readonly [string, (paths: { dir: string; path: string }) => void])[] = [
  ['written in place', ({ path }) => writeFileSync(path, 'new')],
  ['appended to', ({ path }) => appendFileSync(path, 'new')],
  ['replaced by a rename, as editors do', ({ dir, path }) => (writeFileSync(join(dir, 'next'), 'new'), renameSync(join(dir, 'next'), path))],
  ['moved away and written anew, as other editors do', ({ path }) => (renameSync(path, `${path}~`), writeFileSync(path, 'new'))],
  ['deleted', ({ path }) => rmSync(path)],
  ['deleted and written again', ({ path }) => (rmSync(path), writeFileSync(path, 'new'))],
  ['turned into a link', ({ dir, path }) => (writeFileSync(join(dir, 'real'), 'new'), rmSync(path), symlinkSync('real', path))],
];

for (const [what, change] of seenAtOnce) {
  test(`a file that is ${what} is noticed at once, and told when it has been quiet`, async (t) => {
    const paths = prepared(t);
    const it = await watched(t, paths.path);
    assert.equal(it.events, 0);
    change(paths);
    await until(() => it.events > 0, 'an event');
    assert.equal(it.told, 0);
    await quiet(it);
    it.advance(DEBOUNCE);
    assert.equal(it.told, 1);
  });
}

test('a file that appears is noticed at once', async (t) => {
  const path = join(tempDir(t), 'mcp-config.json');
  const it = await watched(t, path);
  writeFileSync(path, 'new');
  await until(() => it.events > 0, 'an event');
  await quiet(it);
  it.advance(DEBOUNCE);
  assert.equal(it.told, 1);
});

test('a link that is pointed elsewhere is noticed at once', async (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'mcp-config.json');
  for (const name of ['one', 'two']) writeFileSync(join(dir, name), name);
  symlinkSync('one', path);
  const it = await watched(t, path);
  symlinkSync('two', join(dir, 'next'));
  renameSync(join(dir, 'next'), path);
  await until(() => it.events > 0, 'an event');
  await quiet(it);
  it.advance(DEBOUNCE);
  assert.equal(it.told, 1);
});

test('a ConfigMap of Kubernetes, whose ..data link is swapped, is noticed at once, every time', async (t) => {
  const dir = tempDir(t);
  const version = (n: number) => {
    mkdirSync(join(dir, `..v${n}`));
    writeFileSync(join(dir, `..v${n}`, 'mcp-config.json'), `version ${n}`);
    symlinkSync(`..v${n}`, join(dir, '..data_tmp'));
    renameSync(join(dir, '..data_tmp'), join(dir, '..data'));
    if (n > 1) rmSync(join(dir, `..v${n - 1}`), { recursive: true });
  };
  version(1);
  symlinkSync(join('..data', 'mcp-config.json'), join(dir, 'mcp-config.json'));
  const it = await watched(t, join(dir, 'mcp-config.json'));
  for (let n = 2; n <= 4; n++) {
    const before = it.events;
    version(n);
    await until(() => it.events > before, `the event of swap ${n}`);
    await quiet(it);
    it.advance(DEBOUNCE);
    assert.equal(it.told, n - 1);
  }
});

// ---- The poll: what makes no event in the directory

test('the edit of a target that lies elsewhere is noticed by the poll', async (t) => {
  const dir = tempDir(t);
  for (const name of ['here', 'there']) mkdirSync(join(dir, name));
  const target = join(dir, 'there', 'real.json');
  const path = join(dir, 'here', 'mcp-config.json');
  writeFileSync(target, 'old');
  symlinkSync(target, path);
  const it = await watched(t, path);
  const changes = [
    () => writeFileSync(target, 'newer'),
    () => (writeFileSync(`${target}.next`, 'newest'), renameSync(`${target}.next`, target)),
    () => rmSync(target),
    () => writeFileSync(target, 'again'),
  ];
  for (const [k, change] of changes.entries()) {
    change();
    await it.settle();
    assert.equal(it.told, k + 1, `change ${k}`);
    await it.settle();
    assert.equal(it.told, k + 1, 'and told once');
  }
});

test('a change that keeps size and times is noticed by the poll, in another file and in the same one', async (t) => {
  const dir = tempDir(t);
  for (const name of ['here', 'there']) mkdirSync(join(dir, name));
  const target = join(dir, 'there', 'real.json');
  const path = join(dir, 'here', 'mcp-config.json');
  const write = (file: string, text: string) => (writeFileSync(file, text), utimesSync(file, 1, 1));
  write(target, 'one');
  symlinkSync(target, path);
  const it = await watched(t, path);
  write(`${target}.next`, 'two');
  renameSync(`${target}.next`, target);
  await it.settle();
  assert.equal(it.told, 1);
  write(target, 'six');
  await it.settle();
  assert.equal(it.told, 2);
});

test('a directory that is deleted and made again is watched again', async (t) => {
  const dir = join(tempDir(t), 'conf');
  const path = join(dir, 'mcp-config.json');
  mkdirSync(dir);
  writeFileSync(path, 'old');
  const it = await watched(t, path);
  for (let round = 1; round <= 3; round++) {
    rmSync(dir, { recursive: true });
    await it.settle();
    const gone = it.told;
    mkdirSync(dir);
    writeFileSync(path, `new ${round}`);
    await it.settle();
    assert.ok(it.told > gone, `round ${round}: the file that is there again`);
    await it.settle();
    const back = it.told;
    const before = it.events;
    writeFileSync(path, `newer ${round}`);
    await until(() => it.events > before, `round ${round}: an event of the directory that was made again`);
    await quiet(it);
    it.advance(DEBOUNCE);
    assert.ok(it.told > back);
  }
});

test('a directory that is replaced between two looks is watched again, although it was never seen to be missing', async (t) => {
  const root = tempDir(t);
  const dir = join(root, 'conf');
  const path = join(dir, 'mcp-config.json');
  mkdirSync(dir);
  writeFileSync(path, 'old');
  const it = await watched(t, path);
  mkdirSync(join(root, 'next'));
  writeFileSync(join(root, 'next', 'mcp-config.json'), 'new');
  renameSync(dir, join(root, 'before'));
  renameSync(join(root, 'next'), dir);
  await it.settle();
  assert.ok(it.told >= 1);
  await it.settle();
  const before = it.events;
  writeFileSync(path, 'newer');
  await until(() => it.events > before, 'an event of the new directory');
});

test('a directory that is deleted and made again between two looks is watched again', async (t) => {
  const dir = join(tempDir(t), 'conf');
  const path = join(dir, 'mcp-config.json');
  mkdirSync(dir);
  writeFileSync(path, 'old');
  const it = await watched(t, path);
  rmSync(dir, { recursive: true });
  mkdirSync(dir);
  writeFileSync(path, 'new');
  await it.settle();
  assert.ok(it.told >= 1);
  await it.settle();
  const before = it.events;
  writeFileSync(path, 'newer');
  await until(() => it.events > before, 'an event of the directory that was made again');
});

test('a directory that comes later is watched from then on', async (t) => {
  const dir = join(tempDir(t), 'not', 'yet');
  const path = join(dir, 'mcp-config.json');
  const it = await watched(t, path);
  await it.settle();
  assert.equal(it.told, 0);
  mkdirSync(dir, { recursive: true });
  await it.settle();
  const before = it.events;
  writeFileSync(path, 'new');
  await until(() => it.events > before, 'an event');
  await quiet(it);
  it.advance(DEBOUNCE);
  assert.equal(it.told, 1);
});

test('a watch that cannot be had, or breaks, is tried again with the next look', async (t) => {
  const { path } = prepared(t);
  /** What the next watch is; the last one that there was. */
  let [broken, last] = [true, undefined as fs.FSWatcher | undefined];
  const { watch } = fs;
  t.mock.method(fs, 'watch', (...args: Parameters<typeof watch>) => {
    if (broken) throw new Error('too many watches');
    return (last = watch(...args));
  });
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  const noticed = async (): Promise<void> => {
    await it.poll();
    const before = it.events;
    writeFileSync(path, `new ${it.events}`);
    await until(() => it.events > before, 'an event');
    await quiet(it);
  };
  const it = await watched(t, path);
  broken = false;
  await noticed();
  last!.emit('error', new Error('lost'));
  await noticed();
});

test('a file that nobody touches is told of never, however often the poll looks', async (t) => {
  const { path } = prepared(t);
  const it = await watched(t, path);
  for (let round = 0; round < 20; round++) await it.poll();
  assert.deepEqual([it.told, it.events, it.polls], [0, 0, 21]);
});

// ---- Debouncing

test('many writes that follow each other closely are told once, when the last is over', async (t) => {
  const { path } = prepared(t);
  const it = await watched(t, path);
  for (let k = 0; k < 9; k++) {
    await event(it, () => writeFileSync(path, `new ${k}`));
    it.advance(DEBOUNCE - 1);
  }
  assert.equal(it.told, 0);
  it.advance(1);
  assert.equal(it.told, 1);
});

test('writes that never pause are told a second after the first, and a second later again', async (t) => {
  const { path } = prepared(t);
  const it = await watched(t, path);
  const toldAt: number[] = [];
  for (let now = 0; now < 3_000; now += 50) {
    const before = it.told;
    if (now < 2_500) await event(it, () => writeFileSync(path, `new ${now}`));
    it.advance(50);
    if (it.told > before) toldAt.push(now + 50);
  }
  // The first is told at its bound; what comes in the same instant opens the next round.
  assert.equal(toldAt[0], 1_000);
  assert.ok(toldAt.length >= 3 && toldAt.length <= 4, String(toldAt));
  for (const [k, at] of toldAt.entries()) if (k > 0) assert.ok(at - toldAt[k - 1] >= DEBOUNCE && at - toldAt[k - 1] <= DEBOUNCE_MAX + 50, String(toldAt));
  assert.ok((toldAt.at(-1) ?? 0) >= 2_500, 'the last write is told of, too');
});

// ---- The end

test('after close nothing is told, armed or watched any more', async (t) => {
  const { dir, path } = prepared(t);
  const it = await watched(t, path);
  await event(it, () => writeFileSync(path, 'new'));
  it.close();
  assert.equal(it.pending, 0);
  writeFileSync(path, 'newer');
  rmSync(dir, { recursive: true });
  await turns();
  it.advance(10 * POLL);
  await turns();
  assert.deepEqual([it.told, it.pending], [0, 0]);
  it.close();
});

test('close in the middle of the first look, and of any other, ends it', async (t) => {
  const { path } = prepared(t);
  const clock = fakeClock();
  let told = 0;
  const looks = [
    () => {},
    async () => {
      await until(() => clock.pending > 0, 'the first look');
      clock.advance(DEBOUNCE_MAX);
      writeFileSync(path, 'new');
      clock.advance(POLL); // the next look has begun and is not over
    },
  ];
  for (const look of looks) {
    const watch = watchConfigFile(path, { clock, limits: LIMITS }, () => void (told += 1));
    t.after(() => watch.close());
    await look();
    const before = told;
    watch.close();
    await turns();
    clock.advance(10 * POLL);
    await turns();
    assert.deepEqual([clock.pending, told], [0, before]);
  }
});

/** Makes a change and waits for its event. */
async function event(it: Watched, change: () => void): Promise<void> {
  const before = it.events;
  change();
  await until(() => it.events > before, 'an event');
  await quiet(it);
}

/** One change may make several events; waits until a turn of the loop, and all that was ready in it, brought none. */
async function quiet(it: Watched): Promise<void> {
  for (let before = -1; before !== it.events; ) {
    before = it.events;
    await turns();
  }
}
