// `npm run soak`: a few seconds of it, and that it sees a wrong answer.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { repo, tempDir } from './support/files.ts';

const BUILD = join(repo, 'build', 'src');
/** Processes are counted by `ps`, and the collection of garbage is asked for by a signal. */
const posix = { skip: process.platform === 'win32' && 'signals' };

test('a few seconds of soak end without a wrong answer, and with as many descriptors and processes as before', posix, async (t) => {
  const { code, stdout, stderr } = await soak(join(BUILD, 'index.js'));
  assert.equal(code, 0, stdout + stderr);
  for (const what of ['memory', 'descriptors', 'processes']) assert.match(stdout, new RegExp(`^${what} +\\d+ +\\d+`, 'm'));
  const [said, right] = /^\d+ s, (\d+) calls answered right.*$/m.exec(stdout)!;
  assert.ok(Number(right) > 0);
  t.diagnostic(said);
});

test('an answer that is somebody else’s fails the soak', posix, async (t) => {
  const dir = tempDir(t);
  cpSync(BUILD, join(dir, 'src'), { recursive: true });
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
  const relay = join(dir, 'src', 'relay', 'relay.js');
  const text = readFileSync(relay, 'utf8');
  const broken = text.replace('text: exchange.idText }', 'text: (this.#calls[0] ?? call).exchange.idText }');
  assert.notEqual(broken, text);
  writeFileSync(relay, broken);
  const { code, stdout } = await soak(join(dir, 'src', 'index.js'));
  assert.equal(code, 1, stdout);
  assert.match(stdout, /^FAILED \S+ at \w+.*: .* is answered /m);
});

test('what cannot be soaked is said at once', async () => {
  for (const [argument, said] of [['--minutes=0', /--minutes is a number above 0/], ['--program=nowhere.js', /nowhere\.js is missing/], ['--fast', /^Unknown option '--fast'[^\n]*\n$/]] as const) {
    const { code, stderr } = await run(argument);
    assert.equal(code, 1);
    assert.match(stderr, said);
  }
});

const soak = (program: string) => run('--minutes', '0.05', '--program', program);

function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(repo, 'scripts', 'soak.mjs'), ...args], { timeout: 110_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}
