import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, lstatSync, mkdirSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { codeOf, parseConfigText, readConfigFile, writeConfigFile } from '../../src/config/file.ts';
import { tempDir } from '../support/files.ts';

const posix = { skip: process.platform === 'win32' };
const modeOf = (path: string) => statSync(path).mode & 0o7777;

// ---- Reading

test('a file is read whole, up to and including the most that it may have', async (t) => {
  const path = join(tempDir(t), 'mcp-config.json');
  for (const size of [0, 1, 99, 100]) {
    const bytes = Buffer.alloc(size, 'ż');
    writeFileSync(path, bytes);
    assert.deepEqual(await readConfigFile(path, 100), { is: 'read', bytes });
  }
  writeFileSync(path, Buffer.alloc(101));
  assert.deepEqual(await readConfigFile(path, 100), { is: 'unreadable', why: 'larger than 100 bytes' });
});

test('a file that is not there is missing, whichever part of its path is not there', async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'file'), '');
  symlinkSync(join(dir, 'nowhere'), join(dir, 'dangling'));
  for (const path of ['absent', 'absent/mcp-config.json', 'file/mcp-config.json', 'dangling']) {
    assert.deepEqual(await readConfigFile(join(dir, path), 100), { is: 'missing' }, path);
  }
});

test('a link is followed to its file', async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'real'), '{}');
  symlinkSync('real', join(dir, 'link'));
  assert.deepEqual(await readConfigFile(join(dir, 'link'), 100), { is: 'read', bytes: Buffer.from('{}') });
});

test('what is no regular file cannot be read, and says why', posix, async (t) => {
  const dir = tempDir(t);
  symlinkSync('loop', join(dir, 'loop'));
  execFileSync('mkfifo', [join(dir, 'fifo')]); // nobody will ever write into it
  for (const name of ['.', 'fifo']) assert.deepEqual(await readConfigFile(join(dir, name), 100), { is: 'unreadable', why: 'not a regular file' }, name);
  assert.deepEqual(await readConfigFile('/dev/null', 100), { is: 'unreadable', why: 'not a regular file' });
  assert.deepEqual(await readConfigFile(join(dir, 'loop'), 100), { is: 'unreadable', why: 'ELOOP' });
  assert.deepEqual(await readConfigFile(join(dir, 'x'.repeat(300)), 100), { is: 'unreadable', why: 'ENAMETOOLONG' });
});

test('a file that may not be read says so', { skip: posix.skip || process.getuid?.() === 0 }, async (t) => {
  const path = join(tempDir(t), 'mcp-config.json');
  writeFileSync(path, '{}', { mode: 0o000 });
  assert.deepEqual(await readConfigFile(path, 100), { is: 'unreadable', why: 'EACCES' });
});

// ---- Parsing

test('JSON is parsed with and without a BOM', () => {
  for (const bom of ['', '\ufeff']) {
    for (const json of [{}, { a: 'żółć \ufeff' }, [], 'x', 1, null, true]) {
      assert.deepEqual(parseConfigText(Buffer.from(bom + JSON.stringify(json))), { json });
      assert.deepEqual(parseConfigText(Buffer.from(`${bom} \r\n\t${JSON.stringify(json, null, 2)}\n`)), { json });
    }
  }
});

test('a file that has more in it than its size said is still bounded', { skip: process.platform !== 'linux' && 'needs /proc' }, async () => {
  assert.deepEqual(await readConfigFile('/proc/self/status', 100), { is: 'unreadable', why: 'larger than 100 bytes' }); // its size is 0
});

test('what is no JSON is a problem with a place, never with the text that stands there', () => {
  const secret = 'hunter2';
  const broken = [
    '', ' ', '\ufeff', '\ufeff\ufeff{}', '{', '}', '{"a":', '{"a":1', '{"a":1,}', "{'a':1}", '{a:1}', '// x\n{}', '{"a":1} x', '{"a":1}{', 'NaN', 'undefined', '{"a":01}', '{"a":"\n"}', '{"a":"\\x"}',
    `{"key": ${secret}}`, `{"key": "${secret}}`, `{"key": "${secret}" "b"}`, `{"key": "${secret}",}`, `${secret}`, `{"a":1}\n\n${secret}`, `{"${secret}"}`,
  ]; // prettier-ignore
  for (const text of broken) {
    const parsed = parseConfigText(Buffer.from(text));
    assert.ok('problem' in parsed, text);
    assert.match(parsed.problem, /^not valid JSON at line \d+, column \d+$/, text);
  }
});

test('the place is that of the error', () => {
  const places = [
    ['{"a":1 "b":2}', 1, 8],
    ['{\n  "a": 1\n  "b": 2\n}', 3, 3],
    ['\ufeff{\n  "żółć": "🦊" 5}', 2, 16],
    ['{"a":1,\n\n"b":[1 2]}', 3, 8],
    ['', 1, 1],
    ['{"a":\n', 2, 1],
    ['}', 1, 1],
    ['{\n"a": True}', 2, 6],
    ["{\n\n  \"a\": 'x',\n  \"b\": 'y'}", 3, 8],
    [`{"a": "${'a: x, '.repeat(1_000)}",\n "b": x, "c": x}`, 2, 7],
    ['// x\n{}', 1, 1],
    ['position 12', 1, 1],
    ['[position 3]', 1, 2],
    ['{"a":position 9}', 1, 6],
  ] as const;
  for (const [text, line, column] of places) {
    const parsed = parseConfigText(Buffer.from(text));
    assert.ok('problem' in parsed);
    assert.equal(parsed.problem, `not valid JSON at line ${line}, column ${column}`, text);
  }
});

test('bytes that are no UTF-8 are a problem of their own', () => {
  for (const bytes of [[0xff], [0x22, 0xc3, 0x28, 0x22], [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00], [0x22, 0xed, 0xa0, 0x80, 0x22]]) {
    assert.deepEqual(parseConfigText(Buffer.from(bytes)), { problem: 'not valid UTF-8' });
  }
});

// ---- Writing

test('a new file is readable by its owner alone, whatever the umask, and nothing else is left beside it', posix, async (t) => {
  for (const umask of [0o000, 0o022, 0o177]) {
    const dir = tempDir(t);
    const before = process.umask(umask);
    try {
      await writeConfigFile(join(dir, 'mcp-config.json'), 'new\n');
    } finally {
      process.umask(before);
    }
    assert.equal(modeOf(join(dir, 'mcp-config.json')), 0o600);
    assert.equal(readFileSync(join(dir, 'mcp-config.json'), 'utf8'), 'new\n');
    assert.deepEqual(readdirSync(dir), ['mcp-config.json']);
  }
});

test('a file that is replaced keeps its mode, also one that forbids writing', posix, async (t) => {
  const before = process.umask(0o077);
  t.after(() => void process.umask(before));
  for (const mode of [0o600, 0o644, 0o640, 0o664, 0o400, 0o444, 0o755]) {
    const dir = tempDir(t);
    const path = join(dir, 'mcp-config.json');
    writeFileSync(path, 'old');
    chmodSync(path, mode);
    await writeConfigFile(path, 'new');
    assert.deepEqual([modeOf(path).toString(8), readFileSync(path, 'utf8')], [mode.toString(8), 'new']);
    assert.deepEqual(readdirSync(dir), ['mcp-config.json']);
  }
});

test('the file is replaced, not written over: whoever reads the old one reads it whole', async (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'mcp-config.json');
  writeFileSync(path, 'old');
  linkSync(path, join(dir, 'same'));
  await writeConfigFile(path, 'new');
  assert.equal(readFileSync(join(dir, 'same'), 'utf8'), 'old');
  assert.equal(readFileSync(path, 'utf8'), 'new');
});

test('nobody ever sees half of a file', async (t) => {
  const path = join(tempDir(t), 'mcp-config.json');
  const texts = ['a', 'b'].map((letter) => letter.repeat(500_000));
  writeFileSync(path, texts[0]);
  let writing = true;
  const writes = (async () => {
    for (let k = 1; k <= 20; k++) await writeConfigFile(path, texts[k % 2]);
  })().finally(() => (writing = false));
  const seen = new Set<string>();
  while (writing) {
    const text = readFileSync(path, 'utf8');
    assert.ok(texts.includes(text), `${text.length} characters`);
    seen.add(text[0]);
    await new Promise(setImmediate);
  }
  await writes;
  assert.equal(readFileSync(path, 'utf8'), texts[0]);
});

test('many writes at once leave one of their texts, whole, and nothing beside it', async (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'mcp-config.json');
  const texts = Array.from({ length: 20 }, (_, k) => String(k).repeat(10_000));
  await Promise.all(texts.map((text) => writeConfigFile(path, text)));
  assert.ok(texts.includes(readFileSync(path, 'utf8')));
  assert.deepEqual(readdirSync(dir), ['mcp-config.json']);
});

const links: readonly (readonly [string, (dir: string) => { readonly target: string; readonly to: string; readonly old: boolean }])[] = [
  ['to a file beside it', (dir) => ({ target: join(dir, 'real.json'), to: 'real.json', old: true })],
  ['to a file elsewhere', (dir) => ({ target: join(dir, 'elsewhere', 'real.json'), to: join(dir, 'elsewhere', 'real.json'), old: true })],
  ['to a file elsewhere, relative', (dir) => ({ target: join(dir, 'elsewhere', 'real.json'), to: '../elsewhere/real.json', old: true })],
  ['to a file that is not there yet', (dir) => ({ target: join(dir, 'elsewhere', 'new.json'), to: join(dir, 'elsewhere', 'new.json'), old: false })],
  ['to a file that is not there yet, relative', (dir) => ({ target: join(dir, 'elsewhere', 'new.json'), to: '../elsewhere/new.json', old: false })],
];

for (const [what, prepare] of links) {
  test(`a link stays a link, and its target is replaced: ${what}`, posix, async (t) => {
    const dir = tempDir(t);
    mkdirSync(join(dir, 'elsewhere'));
    mkdirSync(join(dir, 'here'));
    const { target, to, old } = prepare(dir);
    const link = join(dir, to === 'real.json' ? '.' : 'here', 'mcp-config.json');
    if (old) {
      writeFileSync(target, 'old');
      chmodSync(target, 0o640);
    }
    symlinkSync(to, link);
    await writeConfigFile(link, 'new');
    assert.ok(lstatSync(link).isSymbolicLink());
    assert.equal(readlinkSync(link), to);
    assert.ok(lstatSync(target).isFile());
    assert.equal(readFileSync(target, 'utf8'), 'new');
    assert.equal(modeOf(target), old ? 0o640 : 0o600);
    const around = [join(dir, 'elsewhere'), join(dir, 'here'), dir].flatMap((place) => readdirSync(place));
    assert.deepEqual(around.filter((name) => name.endsWith('.tmp')), []);
  });
}

test('a chain of links stays a chain of links', posix, async (t) => {
  const dir = tempDir(t);
  for (const there of [true, false]) {
    if (there) writeFileSync(join(dir, 'real'), 'old');
    else rmSync(join(dir, 'real'));
    for (const [link, to] of [['first', 'second'], ['second', 'real']] as const) {
      rmSync(join(dir, link), { force: true });
      symlinkSync(to, join(dir, link));
    }
    await writeConfigFile(join(dir, 'first'), 'new');
    assert.deepEqual(['first', 'second'].map((link) => lstatSync(join(dir, link)).isSymbolicLink()), [true, true], there ? 'to a file' : 'to nothing yet');
    assert.equal(readFileSync(join(dir, 'real'), 'utf8'), 'new');
  }
});

test('a failed write is an error of the system and leaves everything as it was', posix, async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'file'), 'old');
  mkdirSync(join(dir, 'directory'));
  writeFileSync(join(dir, 'directory', 'inside'), 'old');
  symlinkSync('nowhere/file', join(dir, 'dangling'));
  const before = readdirSync(dir, { recursive: true });
  const failures = [
    ['file/mcp-config.json', 'ENOTDIR'], // its directory is a file
    ['absent/mcp-config.json', 'ENOENT'],
    ['dangling', 'ENOENT'],
    ['directory', 'EISDIR'], // fails at the last step: the temporary file is there already
    ['x'.repeat(300), 'ENAMETOOLONG'],
  ] as const;
  for (const [path, code] of failures) {
    await assert.rejects(writeConfigFile(join(dir, path), 'new'), { code }, path);
    assert.deepEqual(readdirSync(dir, { recursive: true }), before, path);
  }
  assert.equal(readFileSync(join(dir, 'file'), 'utf8'), 'old');
});

test('a file in a directory that may not be written stays as it was', { skip: posix.skip || process.getuid?.() === 0 }, async (t) => {
  const dir = join(tempDir(t), 'read-only');
  mkdirSync(dir);
  const path = join(dir, 'mcp-config.json');
  writeFileSync(path, 'old');
  chmodSync(dir, 0o500);
  t.after(() => chmodSync(dir, 0o700));
  await assert.rejects(writeConfigFile(path, 'new'), { code: 'EACCES' });
  assert.deepEqual([readFileSync(path, 'utf8'), readdirSync(dir)], ['old', [basename(path)]]);
});

test('the word of the system for a failure is its code', () => {
  assert.equal(codeOf(Object.assign(new Error('x'), { code: 'ENOSPC' })), 'ENOSPC');
  assert.equal(codeOf(new Error('secret')), 'unknown error');
});
