// `npm run bench`: that every part of it runs to its end and has a number in every row. How big they are is not tested.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { repo } from './support/files.ts';

interface Row {
  readonly part: string;
  readonly name: string;
  readonly ours: number;
  readonly reference?: number;
  readonly value: number;
}

const PARTS = ['calls', 'results', 'arguments', 'memory', 'start', 'fanout'];

/** Memory is asked for by a signal, and streams by the thousand. */
const posix = { skip: process.platform === 'win32' && 'signals' };

test('every part of the benchmark ends with numbers', posix, async () => {
  const { code, stdout, stderr } = await bench('--quick', '--json', '--program', join(repo, 'build', 'src', 'index.js'));
  assert.equal(code, 0, stdout + stderr);
  const { rows, failed } = JSON.parse(stdout) as { rows: Row[]; failed: string[] };
  assert.deepEqual(failed, []);
  assert.deepEqual([...new Set(rows.map(({ part }) => part))], PARTS);
  for (const { name, ours, reference = 0, value } of rows) {
    for (const figure of [ours, reference, value]) assert.ok(Number.isFinite(figure), `${name}: ${ours}, ${reference}, ${value}`);
  }
});

test('a part that is not there and a program that was not built are said at once', async () => {
  for (const [argument, said] of [['speed', /speed: the parts are calls, /], ['--program=nowhere.js', /nowhere\.js is missing/], ['--fast', /^Unknown option '--fast'[^\n]*\n$/]] as const) {
    const { code, stderr } = await bench(argument);
    assert.equal(code, 1);
    assert.match(stderr, said);
  }
});

test('the README has the table, with what it was taken on', () => {
  const readme = readFileSync(join(repo, 'README.md'), 'utf8');
  const shown = /^<!-- bench[^\n]*-->\n([^]*?)^<!-- \/bench -->$/m.exec(readme)![1]!;
  const rows = [...shown.matchAll(/^\| ([^|]+), [^|,]+( \| [^|]*){5} \|$/gm)].map(([, name]) => name!);
  for (const start of ['calls, 16 clients, session', 'CPU of 1,000 calls, 64', 'p50', 'p99', 'results of 10 MiB', 'peak memory', 'delay', 'CPU of 1 MB', 'idle', 'after', 'time to listen', 'first call', 'a notification']) {
    assert.ok(rows.some((name) => name.startsWith(start)), start);
  }
  assert.match(shown, /^.+, \d+ cores, Node v\d+\.\d+\.\d+, .+; medians of \d+ rounds\.$/m);
});

function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(repo, 'scripts', 'bench.mjs'), ...args], { timeout: 100_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}
