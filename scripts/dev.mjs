// @ts-check
// `npm run dev`: compiles on every change of the sources and restarts the program when the build is another one.
// A change that does not compile leaves the running program alone. One signal ends everything; a second one,
// a second or more after the first, does not wait any longer.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const sources = ['src', 'tsconfig.json', 'package.json'].map((name) => join(root, name));
const dist = join(root, 'dist');
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');

// Looking is cheaper than it sounds (one stat per file), and it works alike on every platform and file system.
const LOOK_EVERY_MS = 200;
// The program ends within 10 s of SIGTERM.
const END_MS = 12_000;
// npm and the terminal both deliver one Ctrl-C: what comes sooner is the same signal.
const SECOND_SIGNAL_AFTER_MS = 1_000;
const KILL_AFTER_MS = 2_000;

/** @typedef {{ pid: number, exited: Promise<string>, running: boolean, asked: boolean }} Running */

/** @type {Running | undefined} */
let compiler;
/** @type {Running | undefined} */
let program;
/** @type {number | undefined} */
let endingSince;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, end);
process.on('exit', () => {
  // Not reached with anything running, except through a bug in here.
  send(compiler, 'SIGKILL');
  send(program, 'SIGTERM');
});

let compiled = '';
let running = '';
while (endingSince === undefined) {
  compiled = await changed(compiled);
  if (endingSince !== undefined) break;
  if (!(await compile())) {
    if (endingSince === undefined) say(program?.running ? 'not compiled; the running program stays' : 'not compiled; waiting for a change');
    continue;
  }
  const build = fingerprint(dist, (file) => (file.endsWith('.js') ? createHash('sha256').update(readFileSync(file)).digest('hex') : ''));
  if (program?.running && build === running) {
    say('the build is the same; the running program stays');
    continue;
  }
  await stop();
  if (endingSince !== undefined) break;
  running = build;
  start();
}

/**
 * Waits until the sources differ from `known` and have been still for one look: an editor or a checkout writes many files.
 * @param {string} known
 */
async function changed(known) {
  for (let last = known; endingSince === undefined; ) {
    const seen = sources.map((path) => fingerprint(path, (_, stat) => `${stat.size} ${stat.mtimeMs}`)).join('\n');
    if (seen !== known && (seen === last || known === '')) return seen;
    last = seen;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  return known;
}

/**
 * What `of` says of every file at or below `path`. A file that vanishes in between is one that is not there.
 * @param {string} path
 * @param {(file: string, stat: import('node:fs').Stats) => string} of
 * @returns {string}
 */
function fingerprint(path, of) {
  try {
    const stat = statSync(path);
    if (!stat.isDirectory()) return `${path} ${of(path, stat)}`;
    const names = readdirSync(path).sort();
    return names.map((name) => fingerprint(join(path, name), of)).join('\n');
  } catch {
    return '';
  }
}

async function compile() {
  if (!existsSync(tsc)) {
    say('there is no compiler: run npm install first');
    process.exit(1);
  }
  const args = [tsc, '-p', join(root, 'tsconfig.json'), '--noEmitOnError'];
  compiler = launch(args);
  return (await compiler.exited) === 'code 0';
}

function start() {
  const mine = launch(['--enable-source-maps', join(dist, 'index.js')]);
  program = mine;
  say(`started (process ${mine.pid})`);
  void mine.exited.then((how) => {
    if (!mine.asked) say(`the program ended by itself (${how}); waiting for a change`);
  });
}

/** Ends the program and waits until it is gone: the next one wants its port. */
async function stop() {
  if (!program?.running) return;
  // A program takes a second signal for impatience, so it gets one only.
  if (!program.asked) send(program, 'SIGTERM');
  program.asked = true;
  const stubborn = program;
  const late = setTimeout(() => {
    say(`the program did not end within ${END_MS / 1000} s and is killed`);
    send(stubborn, 'SIGKILL');
  }, END_MS);
  await program.exited;
  clearTimeout(late);
}

async function end() {
  if (endingSince === undefined) {
    endingSince = performance.now();
    send(compiler, 'SIGKILL'); // the next build starts from the sources anyway
    await stop();
    await compiler?.exited;
    process.exit(0);
  } else if (performance.now() - endingSince >= SECOND_SIGNAL_AFTER_MS) {
    send(program, 'SIGTERM'); // its second one: it kills its children and ends
    setTimeout(() => {
      send(program, 'SIGKILL');
      process.exit(1);
    }, KILL_AFTER_MS);
  }
}

/**
 * Starts node in a process group of its own: the Ctrl-C of a terminal, which goes to the whole foreground group, is then
 * for us to pass on, and a compiler that runs behind a launcher ends with it.
 * @param {string[]} args
 * @returns {Running}
 */
function launch(args) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], detached: process.platform !== 'win32' });
  /** @type {Running} */
  const it = { pid: child.pid ?? 0, exited: Promise.resolve(''), running: true, asked: false };
  it.exited = new Promise((resolve) => {
    /** @param {string} how */
    const over = (how) => {
      it.running = false;
      resolve(how);
    };
    child.on('exit', (code, signal) => over(signal === null ? `code ${code}` : signal));
    child.on('error', (error) => over(error.message));
  });
  return it;
}

/**
 * A request goes to the process, which ends its children itself; a kill goes to its whole group.
 * @param {Running | undefined} it
 * @param {'SIGTERM' | 'SIGKILL'} signal
 */
function send(it, signal) {
  if (!it?.running || it.pid === 0) return;
  try {
    process.kill(signal === 'SIGTERM' || process.platform === 'win32' ? it.pid : -it.pid, signal);
  } catch {} // gone already
}

/** @param {string} what */
function say(what) {
  console.error(`dev: ${what}`);
}
