// `npm run fuzz`: a little of every part from a seed that stays the same, and that it finds what is broken on purpose.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { repo, tempDir } from './support/files.ts';

const BUILD = join(repo, 'build', 'src');
/** The processes that stand in for servers know groups and signals. */
const posix = { skip: process.platform === 'win32' && 'process groups' };

test('everything that comes from outside is read as its model reads it, or refused', async () => {
  const { code, stdout, stderr } = await fuzz('lines', 'events', 'messages', 'answers', 'requests', 'paths', 'bodies', 'configs', '--runs', '500');
  assert.equal(code, 0, stdout + stderr);
  assert.equal(stdout.match(/ 500 runs /g)?.length, 8);
});

test('whatever happens in whatever order, every request is answered once, with what is its own, and nothing is left', posix, async () => {
  const { code, stdout, stderr } = await fuzz('interleavings', '--runs', '40');
  assert.equal(code, 0, stdout + stderr);
});

test('the same behind a whole proxy, to clients that speak HTTP, break off and come back', posix, async () => {
  const { code, stdout, stderr } = await fuzz('conversations', '--runs', '30');
  assert.equal(code, 0, stdout + stderr);
});

/** A line of a module, and what it becomes. */
const BREAKS: readonly (readonly [name: string, file: string, line: string, instead: string])[] = [
  ['settles a call twice', 'relay', 'const { exchange, method, tap, own } = call;', 'this.#calls.push(call), this.#inFlight++; const { exchange, method, tap, own } = call;'],
  ['gives an answer the id of another', 'relay', 'text: exchange.idText }', 'text: (this.#calls[0] ?? call).exchange.idText }'],
  ['forgets that a call is over', 'relay', 'this.#inFlight--;', '{}'],
  ['sends the client’s token to the server', 'relay', "const token = memberOf(meta, 'progressToken');", 'const token = undefined;'],
  ['guesses whose client a question is for', 'server-requests', 'if (callers.size > 1 || blurred)', 'if (blurred)'],
  ['leaves a call without its answer when the server dies', 'relay', 'for (const call of [...this.#calls]) {', 'for (const call of [...this.#calls].slice(0, 2)) {'],
];
for (const [name, file, line, instead] of BREAKS) {
  test(`a relay that ${name} is found out, with the seed by which it is found again`, posix, async (t) => {
    const dir = tempDir(t);
    cpSync(BUILD, dir, { recursive: true });
    writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
    const path = join(dir, 'relay', `${file}.js`);
    const text = readFileSync(path, 'utf8');
    assert.ok(text.includes(line), `${file}.js has no more ${line}`);
    writeFileSync(path, text.replace(line, instead));
    const { code, stderr } = await fuzz('interleavings', '--runs', '100', '--from', dir);
    assert.equal(code, 1);
    assert.match(stderr, /^interleavings, seed \d+: [^]*\nagain: node .*fuzz\.mjs interleavings --seed \d+ --runs 1\n$/);
  });
}

test('a part that is not there and a build that is not there are said at once', async () => {
  for (const [argument, said] of [['speed', /speed: the parts are lines, /], ['--from=nowhere', /nowhere is missing/], ['--runs=x', /whole numbers/], ['--fast', /^Unknown option '--fast'[^\n]*\n$/]] as const) {
    const { code, stderr } = await fuzz(argument);
    assert.equal(code, 1);
    assert.match(stderr, said);
  }
});

function fuzz(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(repo, 'scripts', 'fuzz.mjs'), '--seed', '1', '--from', BUILD, ...args], { timeout: 100_000, maxBuffer: 1e8 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}
