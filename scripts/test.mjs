// @ts-check
// Compiles the sources with their tests and runs the tests. It lists the test files itself, because `node --test`
// understands directories and patterns differently from one release to the next; arguments keep only the files
// whose path contains one of them: `npm test -- wire`.

import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');

// What node makes of it differs: up to 22 it bounds a file and kills its process, later it bounds a single test
// and waits for ever for a process that does not end. So the whole run has a bound of its own.
const TEST_TIMEOUT_MS = 120_000;
const RUN_TIMEOUT_MS = 8 * 60_000;
const KILL_AFTER_MS = 10_000;

rmSync(join(root, 'build'), { recursive: true, force: true });
const { NODE_V8_COVERAGE: _, ...env } = process.env; // the coverage of the compiler is of no interest
const compiled = spawnSync(process.execPath, [tsc, '-p', join(root, 'test', 'tsconfig.json')], { stdio: 'inherit', env });
if (compiled.error) throw compiled.error;
if (compiled.status !== 0) process.exit(compiled.status ?? 1);

const wanted = process.argv.slice(2);
const built = join(root, 'build', 'test');
const files = readdirSync(built, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .map((file) => relative(root, join(built, file)))
  .sort();
if (files.length === 0) {
  console.error(wanted.length === 0 ? 'no tests' : `no test file has ${wanted.join(' or ')} in its path`);
  process.exit(1);
}

// Most tests wait for other processes most of the time: two at once even on a small machine.
const concurrency = Math.max(2, availableParallelism() - 1);
const options = ['--test', '--test-reporter=spec', `--test-timeout=${TEST_TIMEOUT_MS}`, `--test-concurrency=${concurrency}`];
// In a process group of its own, so that a test process that ignores SIGTERM can be reached, too.
const tests = spawn(process.execPath, [...options, ...files], { cwd: root, stdio: 'inherit', detached: process.platform !== 'win32' });

let late = false;
const bound = setTimeout(() => {
  late = true;
  end();
}, RUN_TIMEOUT_MS);

/** On SIGTERM the runner ends its test processes and reports those that had not finished. */
function end() {
  tests.kill('SIGTERM');
  setTimeout(() => tests.kill('SIGKILL'), KILL_AFTER_MS).unref();
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, end);
tests.on('exit', (code) => {
  clearTimeout(bound);
  try {
    process.kill(-(tests.pid ?? NaN), 'SIGKILL'); // whoever is left
  } catch {} // nobody, as it should be
  if (late) console.error(`the tests did not end within ${RUN_TIMEOUT_MS / 60_000} minutes`);
  process.exit(late ? 1 : (code ?? 1));
});
