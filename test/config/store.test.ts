import assert from 'node:assert/strict';
import {
  chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync,
} from 'node:fs'; // prettier-ignore
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Deadlines, systemClock, type Clock } from '../../src/base/clock.ts';
import { ProxyError, type Reason } from '../../src/base/errors.ts';
import { Log, type LogEntry } from '../../src/base/log.ts';
import { diffConfig } from '../../src/config/diff.ts';
import { LIMITS, type Limits } from '../../src/config/limits.ts';
import type { Config } from '../../src/config/schema.ts';
import { ConfigStore } from '../../src/config/store.ts';
import { fakeClock } from '../support/clock.ts';
import { tempDir, until } from '../support/files.ts';
import { nested } from '../wire/nasty.ts';

/** Real files make real events; these bounds make their effects quick. */
const QUICK: Partial<Limits> = { configPollMs: 50, configDebounceMs: 10, configDebounceMaxMs: 100 };

interface Stored {
  readonly store: ConfigStore;
  readonly path: string;
  /** Every configuration that was taken over, in order. */
  readonly applied: readonly Config[];
  /** The names of the servers that are configured now. */
  running(): string[];
  readonly entries: readonly LogEntry[];
  /** The entries of one event. */
  logged(event: string): LogEntry[];
  read(): string;
}

function stored(t: TestContext, path: string | undefined, limits: Partial<Limits> = {}, clock: Clock = systemClock): Stored {
  const applied: Config[] = [];
  const entries: LogEntry[] = [];
  let servers: Config['servers'] = new Map();
  const log = new Log({ level: 'debug', write: (entry) => void entries.push(entry) }, clock);
  const world = { clock, log, limits: { ...LIMITS, ...limits }, deadlines: new Deadlines(clock), random: Math.random };
  const store = new ConfigStore(path, world, (config) => {
    const diff = diffConfig(servers, config.servers);
    servers = config.servers;
    applied.push(config);
    return diff;
  });
  t.after(() => store.close());
  return {
    store,
    path: path ?? '',
    applied,
    running: () => [...servers.keys()],
    entries,
    logged: (event) => entries.filter((entry) => entry.event === event),
    read: () => readFileSync(path ?? '', 'utf8'),
  };
}

/** A configuration of disabled servers with these names, as an object and as the text of a file. */
const config = (...names: string[]) => ({ mcpServers: Object.fromEntries(names.map((name) => [name, { command: 'x' }])) });
const text = (...names: string[]) => JSON.stringify(config(...names));

function file(t: TestContext, content?: string | Buffer): string {
  const path = join(tempDir(t), 'mcp-config.json');
  if (content !== undefined) writeFileSync(path, content);
  return path;
}

/** Rejects with this fault; returns it. */
async function refused(promise: Promise<unknown>, reason: Reason, status: number): Promise<ProxyError> {
  const error = await promise.then(
    () => assert.fail(`expected ${reason}`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ProxyError, String(error));
  assert.deepEqual([error.reason, error.status], [reason, status], error.message);
  return error;
}

const stateOf = (path: string) => {
  const { ino, mtimeNs, ctimeNs, size, mode } = statSync(path, { bigint: true });
  return { ino, mtimeNs, ctimeNs, size, mode, content: readFileSync(path, 'latin1') };
};

// ---- open

test('open takes over what the file says', async (t) => {
  for (const content of [text('a', 'b'), `\ufeff${text('a', 'b')}`, JSON.stringify({ other: 1, ...config('a', 'b') }, null, 4)]) {
    const it = stored(t, file(t, content));
    await it.store.open();
    assert.deepEqual(it.running(), ['a', 'b']);
    assert.equal(it.applied.length, 1);
    assert.deepEqual(it.entries, []);
    assert.equal(it.read(), content, 'reading changes nothing');
  }
});

test('open without a file runs without servers, warns, and makes no file', async (t) => {
  const it = stored(t, file(t));
  await it.store.open();
  assert.deepEqual(it.running(), []);
  assert.deepEqual(it.entries.map(({ level, event, server }) => [level, event, server]), [['warn', 'config_missing', '-']]);
  assert.ok(it.entries[0].message.includes(it.path));
  assert.deepEqual(readdirSync(dirname(it.path)), []);
});

test('open refuses a file that does not parse or validate, names every problem, and takes over nothing', async (t) => {
  const cases: readonly (readonly [string | Buffer, string, readonly RegExp[]])[] = [
    ['{', 'Invalid configuration: 1 problem', [/^the configuration file is not valid JSON/]],
    ['', 'Invalid configuration: 1 problem', [/^the configuration file is not valid JSON/]],
    [Buffer.from([0x7b, 0xff]), 'Invalid configuration: 1 problem', [/^the configuration file is not valid UTF-8$/]],
    ['[]', 'Invalid configuration: 1 problem', [/^expected an object, got an array$/]],
    ['{}', 'Invalid configuration: 1 problem', [/^mcpServers: missing; expected an object$/]],
    [
      '{"mcpServers":{"fs":{"command":"x","args":["a",1]},"a/b":{"command":"x"}}}',
      'Invalid configuration: 2 problems',
      [/^mcpServers\.fs\.args\[1\]: expected a string, got a number$/, /^mcpServers\["a\/b"\]: a server name must not contain "\/"$/],
    ],
    [Buffer.alloc(LIMITS.maxConfigBytes + 1, ' '), 'Invalid configuration: 1 problem', [/^the configuration file is larger than 1048576 bytes$/]],
  ];
  for (const [content, message, problems] of cases) {
    const it = stored(t, file(t, content));
    const error = await refused(it.store.open(), 'invalid_config', 400);
    assert.equal(error.message, message);
    const shown = error.data['problems'] as string[];
    assert.equal(shown.length, problems.length);
    for (const [k, problem] of problems.entries()) assert.match(shown[k], problem);
    assert.equal(it.applied.length, 0);
  }
  const directory = stored(t, tempDir(t));
  assert.deepEqual((await refused(directory.store.open(), 'invalid_config', 400)).data['problems'], ['the configuration file is not a regular file']);
});

test('a file of exactly the largest size is taken', async (t) => {
  const it = stored(t, file(t, text('a').padEnd(LIMITS.maxConfigBytes)));
  await it.store.open();
  assert.deepEqual(it.running(), ['a']);
});

test('keys that nothing reads are named at level debug, one line each, and are no problem', async (t) => {
  const it = stored(t, file(t, '{"mcpServers":{"a":{"command":"x","cwd":"/","timeout":5}},"inputs":[]}'));
  await it.store.open();
  assert.deepEqual(
    it.entries.map(({ level, message }) => [level, /mcpServers\.a\.\w+/.exec(message)?.[0]]),
    [['debug', 'mcpServers.a.cwd'], ['debug', 'mcpServers.a.timeout']],
  );
});

// ---- replace

test('replace answers what it means for every server', async (t) => {
  const it = stored(t, file(t, JSON.stringify({ mcpServers: { memory: { command: 'm' }, off: { command: 'o', disabled: true }, c: { command: 'c' }, fs: { command: 'f' } } })));
  await it.store.open();
  const diff = await it.store.replace({ mcpServers: { b: { command: 'b' }, fs: { command: 'f', args: ['x'] }, memory: { command: 'm', maxRestarts: 0 }, off: { command: 'p', disabled: true } } });
  assert.deepEqual(diff, { started: ['b'], stopped: ['c'], restarted: ['fs'], kept: ['memory', 'off'] });
  assert.deepEqual(it.running(), ['b', 'fs', 'memory', 'off']);
});

test('replace puts the servers into the file, as they were sent, and keeps everything else in it', async (t) => {
  const before = { $schema: 'https://example.com/s.json', mcpServers: { old: { command: 'x', note: 1 } }, inputs: [{ id: 'a', list: [1, 2] }], 'ż': null };
  const sent = { mcpServers: { new: { command: 'y', env: { N: 1, S: 'ż' }, note: ['kept'] } }, inputs: 'not for the file', extra: true };
  const it = stored(t, file(t, JSON.stringify(before)));
  await it.store.open();
  await it.store.replace(sent);
  assert.equal(it.read(), `${JSON.stringify({ ...before, mcpServers: sent.mcpServers }, null, 2)}\n`);
  assert.deepEqual(it.running(), ['new']);
  assert.deepEqual(readdirSync(dirname(it.path)), ['mcp-config.json']);
});

test('replace merges nothing: an absent server is removed, an absent field takes its default', async (t) => {
  const it = stored(t, file(t, JSON.stringify({ mcpServers: { a: { command: 'x', args: ['y'], disabled: true, maxRestarts: 9 }, b: { command: 'z' } } })));
  await it.store.open();
  await it.store.replace({ mcpServers: { a: { command: 'x' } } });
  assert.deepEqual(JSON.parse(it.read()), { mcpServers: { a: { command: 'x' } } });
  assert.deepEqual({ ...it.applied.at(-1)?.servers.get('a'), env: null }, { command: 'x', args: [], env: null, disabled: false, autoRestart: true, maxRestarts: 3, isolation: 'shared', clientCapabilities: undefined, protocol: 'auto' });
});

test('replace makes the file where there is none, for its owner alone', async (t) => {
  const it = stored(t, file(t));
  await it.store.open();
  await it.store.replace({ ...config('a'), other: 1 });
  assert.equal(it.read(), `${JSON.stringify(config('a'), null, 2)}\n`);
  if (process.platform !== 'win32') assert.equal(statSync(it.path).mode & 0o7777, 0o600);
});

test('replace keeps the mode of the file and a link to it', { skip: process.platform === 'win32' }, async (t) => {
  const dir = tempDir(t);
  mkdirSync(join(dir, 'real'));
  const target = join(dir, 'real', 'config.json');
  writeFileSync(target, text('a'));
  chmodSync(target, 0o640);
  symlinkSync(target, join(dir, 'mcp-config.json'));
  const it = stored(t, join(dir, 'mcp-config.json'));
  await it.store.open();
  await it.store.replace(config('b'));
  assert.equal(readlinkSync(it.path), target);
  assert.ok(lstatSync(target).isFile());
  assert.equal(statSync(target).mode & 0o7777, 0o640);
  assert.deepEqual(JSON.parse(readFileSync(target, 'utf8')), config('b'));
});

test('replace by what is there already writes nothing and keeps everything', async (t) => {
  // Not as the proxy would write it: its form is not the matter.
  const it = stored(t, file(t, `\ufeff{ "x": 1,\n"mcpServers":{"b":{"command":"x"},"a":{"command":"x"}}}`));
  await it.store.open();
  utimesSync(it.path, 1, 1);
  const before = stateOf(it.path);
  for (const again of [config('b', 'a'), { ...config('b', 'a'), other: 2 }]) {
    assert.deepEqual(await it.store.replace(again), { started: [], stopped: [], restarted: [], kept: ['b', 'a'] });
    assert.deepEqual(stateOf(it.path), before);
  }
});

test('replace by what is in the file, but did not run, takes it over without writing', async (t) => {
  const it = stored(t, file(t, text('a')));
  await it.store.open();
  writeFileSync(it.path, text('b'));
  const before = stateOf(it.path);
  assert.deepEqual(await it.store.replace(config('b')), { started: ['b'], stopped: ['a'], restarted: [], kept: [] });
  assert.deepEqual(stateOf(it.path), before);
});

test('replace takes names that every object has already, and keeps them in the file', async (t) => {
  const it = stored(t, file(t, '{"__proto__":{"kept":true},"mcpServers":{}}'));
  await it.store.open();
  const sent = '{"mcpServers":{"__proto__":{"command":"x","env":{"__proto__":"y"}},"constructor":{"command":"z"}}}';
  assert.deepEqual(await it.store.replace(JSON.parse(sent)), { started: ['__proto__', 'constructor'], stopped: [], restarted: [], kept: [] });
  assert.equal(JSON.stringify(JSON.parse(it.read())), `{"__proto__":{"kept":true},${sent.slice(1)}`);
});

// ---- replace, refused: each leaves the file and what runs as they are

const conflicts: readonly (readonly [string, string | Buffer])[] = [
  ['half of a JSON text', '{"mcpServers":{"mine":{"comm'],
  ['JSON with comments', '{\n// mine\n"mcpServers":{}}'],
  ['nothing', ''],
  ['no UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
  ['an array', '[]'],
  ['null', 'null'],
  ['a string', '"mine"'],
];

for (const [what, content] of conflicts) {
  test(`replace over a file that is ${what} is a conflict: somebody may be at work on it`, async (t) => {
    const it = stored(t, file(t, text('a')));
    await it.store.open();
    writeFileSync(it.path, content);
    const before = stateOf(it.path);
    const error = await refused(it.store.replace(config('b')), 'config_conflict', 409);
    assert.equal(error.message.includes('mine'), false);
    assert.deepEqual(stateOf(it.path), before);
    assert.deepEqual(it.running(), ['a']);
    rmSync(it.path);
    await it.store.replace(config('b'));
    assert.deepEqual(it.running(), ['b'], 'it was removed, as the message says');
  });
}

test('replace over a file that parses but does not validate mends it', async (t) => {
  const it = stored(t, file(t, text('a')));
  await it.store.open();
  for (const content of ['{}', '{"mcpServers":7,"kept":1}', '{"mcpServers":{"a/b":{}}}']) {
    writeFileSync(it.path, content);
    await it.store.replace(config('b'));
    assert.deepEqual(JSON.parse(it.read()), { ...JSON.parse(content), ...config('b') });
  }
});

test('replace over servers that are nested too deeply to be compared mends them', async (t) => {
  const it = stored(t, file(t, `{"mcpServers":{"a":{"command":"x","note":${nested(100_000, '[', ']')}}},"kept":1}`));
  await it.store.open();
  await it.store.replace(config('b'));
  assert.deepEqual(JSON.parse(it.read()), { ...config('b'), kept: 1 });
});

test('replace by something invalid is refused with every problem, and writes nothing', async (t) => {
  const it = stored(t, file(t, text('a')));
  await it.store.open();
  const before = stateOf(it.path);
  for (const [json, problems] of [
    [null, ['expected an object, got null']],
    [[], ['expected an object, got an array']],
    [{}, ['mcpServers: missing; expected an object']],
    [{ mcpServers: { x: { command: 1 }, 'a/b': {} } }, ['mcpServers.x.command: expected a non-empty string, got a number', 'mcpServers["a/b"]: a server name must not contain "/"', 'mcpServers["a/b"].command: missing; expected a non-empty string']],
  ] as const) {
    const error = await refused(it.store.replace(json), 'invalid_config', 400);
    assert.deepEqual(error.data['problems'], problems);
    assert.equal(error.message, `Invalid configuration: ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`);
  }
  assert.deepEqual(stateOf(it.path), before);
  assert.deepEqual(it.running(), ['a']);
});

test('of very many problems the first are shown and the others counted', async (t) => {
  const it = stored(t, file(t, text('a')));
  const wrong = (count: number) => ({ mcpServers: Object.fromEntries(Array.from({ length: count }, (_, k) => [`s${k}`, {}])) });
  for (const [count, shown] of [[100, 100], [101, 101], [900, 101]] as const) {
    const error = await refused(it.store.replace(wrong(count)), 'invalid_config', 400);
    const problems = error.data['problems'] as string[];
    assert.equal(problems.length, shown);
    assert.equal(error.message, `Invalid configuration: ${count} problems`);
    if (count > 100) assert.equal(problems.at(-1), `and ${count - 100} more`);
  }
});

test('replace by more than the file may hold is too large', async (t) => {
  const it = stored(t, file(t, text('a')));
  await it.store.open();
  const before = stateOf(it.path);
  const sized = (argument: number) => ({ mcpServers: { a: { command: 'x', args: ['y'.repeat(argument)] } } });
  const most = LIMITS.maxConfigBytes - Buffer.byteLength(`${JSON.stringify(sized(0), null, 2)}\n`);
  await refused(it.store.replace(sized(most + 1)), 'too_large', 413);
  assert.deepEqual(stateOf(it.path), before);
  assert.equal(it.applied.length, 1);
  await it.store.replace(sized(most));
  assert.equal(statSync(it.path).size, LIMITS.maxConfigBytes);
  const other = stored(t, it.path);
  await other.store.open();
  assert.deepEqual(other.running(), ['a'], 'what was written can be read again');
});

test('replace by something nested too deeply to be written is refused', async (t) => {
  const it = stored(t, file(t, text('a')));
  await it.store.open();
  const deep = JSON.parse(`{"mcpServers":{"b":{"command":"x","note":${'['.repeat(100_000)}${']'.repeat(100_000)}}}}`);
  const error = await it.store.replace(deep).then(
    () => undefined,
    (thrown: ProxyError) => thrown,
  );
  // An engine that can write it makes of it more than the file may hold.
  assert.ok(error?.reason === 'invalid_config' || error?.reason === 'too_large', String(error));
  assert.deepEqual(it.running(), ['a']);
  assert.equal(it.read(), text('a'));
});

const unwritable: readonly (readonly [string, (dir: string) => string])[] = [
  ['its directory is a file', (dir) => (writeFileSync(join(dir, 'file'), ''), join(dir, 'file', 'mcp-config.json'))],
  ['its directory is not there', (dir) => join(dir, 'absent', 'mcp-config.json')],
  ['it is a directory', (dir) => (mkdirSync(join(dir, 'd')), join(dir, 'd'))],
  ['it is a link to a directory that is not there', (dir) => (symlinkSync('absent/file', join(dir, 'link')), join(dir, 'link'))],
  ['it is a link to itself', (dir) => (symlinkSync('loop', join(dir, 'loop')), join(dir, 'loop'))],
];

for (const [why, prepare] of unwritable) {
  test(`replace where the file cannot be written takes nothing over: ${why}`, { skip: process.platform === 'win32' }, async (t) => {
    const dir = tempDir(t);
    const it = stored(t, prepare(dir));
    const before = readdirSync(dir, { recursive: true });
    const error = await refused(it.store.replace(config('b')), 'config_write_failed', 500);
    assert.equal(error.message.includes(dir), false, 'a path of the machine is nothing for a client');
    assert.equal(it.applied.length, 0);
    assert.deepEqual(readdirSync(dir, { recursive: true }), before);
  });
}

test('replace in a directory that may not be written takes nothing over', { skip: process.platform === 'win32' || process.getuid?.() === 0 }, async (t) => {
  const it = stored(t, file(t, text('a')));
  await it.store.open();
  chmodSync(dirname(it.path), 0o500);
  t.after(() => chmodSync(dirname(it.path), 0o700));
  await refused(it.store.replace(config('b')), 'config_write_failed', 500);
  assert.deepEqual([it.running(), it.read()], [['a'], text('a')]);
});

test('after a refusal of any kind the next replace is served', async (t) => {
  const it = stored(t, file(t, text('a')));
  await it.store.open();
  const all = await Promise.allSettled([it.store.replace(null), it.store.replace(config('b')), it.store.replace({}), it.store.replace(config('b', 'c'))]);
  assert.deepEqual(all.map(({ status }) => status), ['rejected', 'fulfilled', 'rejected', 'fulfilled']);
  assert.deepEqual(it.running(), ['b', 'c']);
});

test('changes that come at once are taken one by one, each seeing what the one before left', async (t) => {
  const it = stored(t, file(t, text('a')));
  await it.store.open();
  const diffs = await Promise.all([it.store.replace(config('b')), it.store.reload(config('b', 'c')), it.store.replace(config('d')), it.store.replace(config('d'))]);
  assert.deepEqual(diffs, [
    { started: ['b'], stopped: ['a'], restarted: [], kept: [] },
    { started: ['c'], stopped: [], restarted: [], kept: ['b'] },
    { started: ['d'], stopped: ['b', 'c'], restarted: [], kept: [] },
    { started: [], stopped: [], restarted: [], kept: ['d'] },
  ]);
  assert.deepEqual(JSON.parse(it.read()), config('d'));
});

// ---- Without a file

test('without a file, load, reload and replace change what runs and nothing else', async (t) => {
  const it = stored(t, undefined);
  await it.store.open();
  it.store.watch();
  assert.equal(it.applied.length, 0);
  it.store.load(config('a'));
  assert.deepEqual(it.running(), ['a']);
  assert.deepEqual(await it.store.reload(config('a', 'b')), { started: ['b'], stopped: [], restarted: [], kept: ['a'] });
  assert.deepEqual(await it.store.replace(config('c')), { started: ['c'], stopped: ['a', 'b'], restarted: [], kept: [] });
  assert.throws(() => it.store.load({ mcpServers: 1 }), { reason: 'invalid_config' });
  await refused(it.store.reload({ mcpServers: { '': {} } }), 'invalid_config', 400);
  assert.deepEqual(it.running(), ['c']);
});

test('reload with a file does not write it', async (t) => {
  const it = stored(t, file(t, text('a')));
  await it.store.open();
  const before = stateOf(it.path);
  await it.store.reload(config('b'));
  assert.deepEqual(it.running(), ['b']);
  assert.deepEqual(stateOf(it.path), before);
});

// ---- Following the file

/** A store that follows a file with the server `start` in it, and has looked at it for the first time. */
async function following(t: TestContext, path: string, limits: Partial<Limits> = QUICK): Promise<Stored> {
  if (!exists(path)) writeFileSync(path, text('start'));
  let timers = 0;
  const it = stored(t, path, limits, { ...systemClock, after: (ms, then) => ((timers += 1), systemClock.after(ms, then)) });
  await it.store.open();
  it.store.watch();
  await until(() => timers > 0, 'the first look');
  assert.deepEqual(it.running(), ['start']);
  return it;
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

async function runs(it: Stored, ...names: string[]): Promise<void> {
  await until(
    () => it.running().join() === names.join(),
    () => `running ${names.join()}; now ${it.running().join()}, and the log has ${JSON.stringify(it.entries)}`,
  );
}

test('a file that is written in place is taken over every time', async (t) => {
  const it = await following(t, file(t));
  for (let k = 0; k < 5; k++) {
    writeFileSync(it.path, text(`s${k}`));
    await runs(it, `s${k}`);
  }
});

test('a file that is replaced by a rename, as editors do, is taken over every time', async (t) => {
  const it = await following(t, file(t));
  for (let k = 0; k < 5; k++) {
    writeFileSync(`${it.path}.swp`, text(`s${k}`));
    renameSync(`${it.path}.swp`, it.path);
    await runs(it, `s${k}`);
  }
  assert.equal(it.applied.length, 6, 'and once each');
});

test('a file that is deleted keeps what runs, is warned of once, and is taken over when it is there again', async (t) => {
  const it = await following(t, file(t));
  for (let round = 1; round <= 2; round++) {
    rmSync(it.path);
    await until(() => it.logged('config_missing').length === round, 'the warning');
    assert.equal(it.applied.length, round);
    assert.deepEqual(it.logged('config_missing').map(({ level }) => level), Array(round).fill('warn'));
    writeFileSync(it.path, text(`again ${round}`));
    await runs(it, `again ${round}`);
  }
});

test('that the file is gone is said once, however often its directory changes', async (t) => {
  const clock = fakeClock();
  const it = stored(t, file(t, text('a')), {}, clock);
  await it.store.open();
  it.store.watch();
  await until(() => clock.pending > 0, 'the first look');
  await clock.run(LIMITS.configDebounceMs);
  for (const change of [() => rmSync(it.path), () => writeFileSync(`${it.path}.1`, ''), () => writeFileSync(`${it.path}.2`, '')]) {
    change();
    await until(() => clock.pending === 2, 'the event');
    await clock.run(LIMITS.configDebounceMs);
    await it.store.reload(config('a')); // behind what the event set going
    assert.equal(it.logged('config_missing').length, 1);
  }
});

test('a file that is deleted and written again at once is taken over', async (t) => {
  const it = await following(t, file(t));
  rmSync(it.path);
  writeFileSync(it.path, text('again'));
  await runs(it, 'again');
});

test('a directory that is deleted and made again is followed on', async (t) => {
  const dir = join(tempDir(t), 'conf');
  mkdirSync(dir);
  const it = await following(t, join(dir, 'mcp-config.json'));
  for (let round = 1; round <= 3; round++) {
    rmSync(dir, { recursive: true });
    if (round === 2) await until(() => it.logged('config_missing').length > 0, 'the warning');
    mkdirSync(dir);
    writeFileSync(it.path, text(`again ${round}`));
    await runs(it, `again ${round}`);
    writeFileSync(it.path, text(`and again ${round}`));
    await runs(it, `and again ${round}`);
  }
});

test('a directory and a file that come later are taken over', async (t) => {
  const path = join(tempDir(t), 'not', 'yet', 'mcp-config.json');
  const it = stored(t, path, QUICK);
  await it.store.open();
  it.store.watch();
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text('a'));
  await runs(it, 'a');
});

test('a link is followed: its target edited elsewhere, the link pointed elsewhere, the link made a file', { skip: process.platform === 'win32' }, async (t) => {
  const dir = tempDir(t);
  for (const name of ['here', 'there']) mkdirSync(join(dir, name));
  const [one, two] = [join(dir, 'there', 'one.json'), join(dir, 'there', 'two.json')];
  const path = join(dir, 'here', 'mcp-config.json');
  writeFileSync(one, text('start'));
  symlinkSync(one, path);
  const it = await following(t, path);
  writeFileSync(one, text('edited'));
  await runs(it, 'edited');
  writeFileSync(`${one}~`, text('renamed'));
  renameSync(`${one}~`, one);
  await runs(it, 'renamed');
  writeFileSync(two, text('two'));
  symlinkSync(two, `${path}~`);
  renameSync(`${path}~`, path);
  await runs(it, 'two');
  writeFileSync(two, text('two edited'));
  await runs(it, 'two edited');
  rmSync(path);
  writeFileSync(path, text('file'));
  await runs(it, 'file');
});

test('a ConfigMap of Kubernetes is followed through every swap of ..data', { skip: process.platform === 'win32' }, async (t) => {
  const dir = tempDir(t);
  const swap = (name: string) => {
    mkdirSync(join(dir, `..${name}`));
    writeFileSync(join(dir, `..${name}`, 'mcp-config.json'), text(name));
    symlinkSync(`..${name}`, join(dir, '..data_tmp'));
    renameSync(join(dir, '..data_tmp'), join(dir, '..data'));
  };
  swap('start');
  symlinkSync(join('..data', 'mcp-config.json'), join(dir, 'mcp-config.json'));
  const it = await following(t, join(dir, 'mcp-config.json'));
  for (const name of ['v2', 'v3', 'v4']) {
    swap(name);
    await runs(it, name);
  }
  assert.deepEqual(it.logged('config_missing'), []);
});

test('half of a JSON text keeps what runs, is logged, and the whole of it is taken over later', async (t) => {
  const it = await following(t, file(t));
  const whole = text('whole', 'żółć');
  for (const part of [0, 1, 20, whole.length - 1]) {
    const errors = it.logged('config_invalid').length;
    writeFileSync(it.path, `${whole.slice(0, part)}${' '.repeat(part)}`); // no two of them alike
    await until(() => it.logged('config_invalid').length > errors, `an error for the first ${part} characters`);
  }
  assert.deepEqual(it.running(), ['start']);
  for (const { level, message } of it.logged('config_invalid')) {
    assert.equal(level, 'error');
    assert.match(message, /^the configuration file is not valid JSON.* \(the running configuration stays\)$/);
  }
  writeFileSync(it.path, whole);
  await runs(it, 'whole', 'żółć');
  assert.equal(it.applied.length, 2);
});

test('an invalid file keeps what runs, and the log has one line per problem with its path', async (t) => {
  const it = await following(t, file(t));
  writeFileSync(it.path, '{"mcpServers":{"good":{"command":"x"},"a/b":{"command":"x"},"bad":{"command":5,"env":{"KEY":["secret-value"]}}}}');
  await until(() => it.logged('config_invalid').length === 3, 'three problems');
  const lines = it.logged('config_invalid').map(({ message }) => message);
  for (const [k, problem] of [
    'mcpServers["a/b"]: a server name must not contain "/"',
    'mcpServers.bad.command: expected a non-empty string, got a number',
    'mcpServers.bad.env.KEY: expected a string, got an array',
  ].entries()) {
    assert.ok(lines[k].startsWith(problem), lines[k]);
  }
  assert.equal(JSON.stringify(it.entries).includes('secret-value'), false);
  assert.deepEqual(it.running(), ['start']);
  writeFileSync(it.path, text('mended'));
  await runs(it, 'mended');
  assert.equal(it.logged('config_invalid').length, 3, 'each is said once');
});

test('a file that grew too large, or became a directory, keeps what runs and is logged', async (t) => {
  const it = await following(t, file(t), { ...QUICK, maxConfigBytes: 1_000 });
  writeFileSync(it.path, text('big').padEnd(1_001));
  await until(() => it.logged('config_unreadable').length > 0, 'the error');
  assert.match(it.logged('config_unreadable')[0].message, /larger than 1000 bytes \(the running configuration stays\)/);
  rmSync(it.path);
  mkdirSync(it.path);
  await until(() => it.logged('config_unreadable').at(-1)?.message.includes('not a regular file'), 'the other error');
  assert.deepEqual(it.running(), ['start']);
  rmSync(it.path, { recursive: true });
  writeFileSync(it.path, text('small'));
  await runs(it, 'small');
});

test('a BOM that an editor adds or takes away changes nothing that runs', async (t) => {
  const it = await following(t, file(t));
  for (const [k, content] of [`\ufeff${text('start')}`, text('start'), `\ufeff${text('start')}\n`].entries()) {
    writeFileSync(`${it.path}~`, content);
    renameSync(`${it.path}~`, it.path);
    await until(() => it.applied.length === k + 2, 'the file is read again');
    assert.deepEqual(it.applied.at(-1), it.applied[0]);
  }
  assert.deepEqual(it.logged('config_invalid'), []);
});

test('a file that is only touched, or written again with the same bytes, is not taken over again', async (t) => {
  const it = await following(t, file(t));
  const same = it.read();
  utimesSync(it.path, 1, 1);
  writeFileSync(`${it.path}~`, same);
  renameSync(`${it.path}~`, it.path);
  // What follows is taken over in the same queue.
  writeFileSync(it.path, text('next'));
  await runs(it, 'next');
  assert.equal(it.applied.length, 2);
});

test('an edit between the reading of the file and the watching of it is not lost', async (t) => {
  const edited = stored(t, file(t, text('a')), QUICK);
  await edited.store.open();
  writeFileSync(edited.path, text('edited'));
  edited.store.watch();
  await runs(edited, 'edited');

  const made = stored(t, file(t), QUICK);
  await made.store.open();
  writeFileSync(made.path, text('made'));
  made.store.watch();
  await runs(made, 'made');
});

test('after close no edit is taken over', async (t) => {
  const it = await following(t, file(t));
  writeFileSync(it.path, text('one'));
  await runs(it, 'one');
  it.store.close();
  const other = await following(t, file(t)); // shows how long an edit takes
  writeFileSync(it.path, text('late'));
  writeFileSync(other.path, text('in time'));
  await runs(other, 'in time');
  await it.store.reload(config('after'));
  assert.deepEqual(it.running(), ['after']);
  assert.equal(it.applied.length, 3);
  it.store.close();
});

test('fifty writes in a second end in the last state, with few of those between taken over', async (t) => {
  const clock = fakeClock();
  let events = 0;
  const counting: Clock = { now: clock.now, timestamp: clock.timestamp, soon: clock.soon, after: (ms, then) => ((events += 1), clock.after(ms, then)) };
  const it = stored(t, file(t, text('start')), {}, counting);
  await it.store.open();
  it.store.watch();
  await until(() => clock.pending > 0, 'the first look');
  await clock.run(LIMITS.configDebounceMs);
  for (let k = 1; k <= 50; k++) {
    const before = events;
    writeFileSync(`${it.path}~`, text(`s${k}`));
    renameSync(`${it.path}~`, it.path);
    await until(() => events > before, `the event of write ${k}`);
    await clock.run(20);
  }
  await clock.run(LIMITS.configDebounceMs);
  await runs(it, 's50');
  assert.ok(it.applied.length <= 5, `${it.applied.length} times`);
  assert.deepEqual(it.logged('config_invalid'), []);
});

// ---- Both at once

test('what replace writes itself is not taken over a second time by the watch', async (t) => {
  const clock = fakeClock();
  const it = stored(t, file(t, text('a')), {}, clock);
  await it.store.open();
  it.store.watch();
  await until(() => clock.pending > 0, 'the first look');
  await clock.run(LIMITS.configDebounceMs);
  await it.store.replace(config('b'));
  await until(() => clock.pending === 2, 'the event of the own write');
  await clock.run(LIMITS.configDebounceMs + LIMITS.configPollMs + LIMITS.configDebounceMs);
  await it.store.reload(config('c')); // behind everything that was in the queue
  assert.deepEqual(it.applied.map(({ servers }) => [...servers.keys()].join()), ['a', 'b', 'c']);
});

test('an edit after a replace wins, and a replace after an edit wins', async (t) => {
  const it = await following(t, file(t));
  for (let round = 0; round < 5; round++) {
    await it.store.replace(config(`posted ${round}`));
    writeFileSync(it.path, text(`edited ${round}`));
    await runs(it, `edited ${round}`);
    await it.store.replace(config(`posted again ${round}`));
    assert.deepEqual(it.running(), [`posted again ${round}`]);
    assert.deepEqual(JSON.parse(it.read()), config(`posted again ${round}`));
  }
});

test('an edit back to what ran before a replace is taken over', async (t) => {
  const it = await following(t, file(t));
  const before = it.read();
  await it.store.replace(config('posted'));
  writeFileSync(it.path, before);
  await runs(it, 'start');
});

test('posts and edits at once: whatever runs was asked for, and in the end it is what the file says', async (t) => {
  const it = await following(t, file(t));
  const asked = new Set(['start']);
  const posts: Promise<unknown>[] = [];
  for (let k = 0; k < 30; k++) {
    const [edit, post] = [`edit ${k}`, `post ${k}`];
    asked.add(edit).add(post);
    if (k % 3 !== 0) {
      writeFileSync(`${it.path}~`, text(edit));
      renameSync(`${it.path}~`, it.path);
    }
    posts.push(it.store.replace(config(post)));
    if (k % 2 === 0) await new Promise(setImmediate);
    else await posts.at(-1);
  }
  writeFileSync(`${it.path}~`, text('last edit'));
  asked.add('last edit');
  renameSync(`${it.path}~`, it.path);
  await Promise.all(posts);
  await until(() => it.running().join() === Object.keys(JSON.parse(it.read()).mcpServers).join(), 'what runs is what the file says');
  for (const { servers } of it.applied) assert.ok(asked.has([...servers.keys()].join()), [...servers.keys()].join());
  // Nothing is still on its way that would change it back.
  await it.store.replace(config('end'));
  writeFileSync(`${it.path}~`, text('very end'));
  renameSync(`${it.path}~`, it.path);
  await runs(it, 'very end');
  assert.deepEqual(it.logged('config_invalid'), []);
});
