// The processes of a measurement: servers that are started in the same way, whoever wrote them, with what they cost; and
// the process that makes the load. Nothing is asked of a server but its port: memory and CPU time are what the system
// says of it. Where there is no /proc, `ps` says less, and peaks stay unknown.
// @ts-check

import { execFileSync, fork, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { availableParallelism, cpus, arch, release, tmpdir, type } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const READY_MS = 30_000;
const END_MS = 15_000;
const JOB_MS = 180_000;

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
const file = (/** @type {string} */ name) => join(here, `${name}.mjs`);

/** The stdio server that everything stands in front of. */
export const CHILD = [process.execPath, file('child')];

const dir = mkdtempSync(join(tmpdir(), 'mcp-proxy-'));
/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** What this was measured on. */
export const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: availableParallelism(),
  node: process.version,
  os: `${type()} ${release()} ${arch()}`,
};

/** The program that `npm start` runs, unless another build is named. */
export const build = { program: join(root, 'dist', 'index.js') };

/** @typedef {'bare' | 'parses' | 'splices' | 'proxy' | 'empty'} Kind */
/** @typedef {Awaited<ReturnType<typeof start>>} Server */

/**
 * Starts a server and waits for its port. `bare` is node:http, `parses` and `splices` are the careless relays, `proxy` is
 * the program, `empty` the program without a server configured. `collects`: its memory can be asked for after a collection.
 * @param {Kind} kind
 * @param {{ collects?: boolean, env?: Record<string, string> }} options
 */
export async function start(kind, { collects = false, env = {} } = {}) {
  const flags = collects ? ['--import', file('collect')] : [];
  const ours = kind === 'proxy' || kind === 'empty';
  const config = join(dir, `${kind}.json`);
  if (ours) writeFileSync(config, JSON.stringify({ mcpServers: kind === 'proxy' ? { bench: { command: CHILD[0], args: CHILD.slice(1) } } : {} }));
  const argv = ours ? [build.program] : [file(kind), ...(kind === 'bare' ? [] : CHILD)];
  const started = performance.now();
  const child = spawn(process.execPath, [...flags, ...argv], {
    cwd: dir,
    // Nothing of the caller's environment: NODE_OPTIONS or a coverage run would be measured, too.
    env: { PATH: process.env['PATH'] ?? '', SystemRoot: process.env['SystemRoot'], ...(ours ? { PORT: '0', CONFIG_PATH: config, LOG_LEVEL: 'warn' } : {}), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let said = '';
  child.stderr.on('data', (chunk) => (said += chunk));
  /** @type {Promise<void>} */
  const exited = new Promise((resolve) => child.once('close', () => resolve()));
  void exited.then(() => running.delete(child));
  const late = setTimeout(() => child.kill('SIGKILL'), READY_MS);
  /** @type {string} */
  const origin = await new Promise((resolve, reject) => {
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
      const url = /(http:\/\/127\.0\.0\.1:\d+)\s/.exec(out)?.[1];
      if (url !== undefined) resolve(url);
    });
    void exited.then(() => reject(new Error(`${kind} ended before it named its port:\n${out}${said}`)));
  });
  clearTimeout(late);
  const listenMs = performance.now() - started;
  const pid = child.pid ?? NaN;

  return {
    kind,
    origin,
    /** From its start to the line that names the port. */
    listenMs,
    /** Where a call goes to. */
    url: kind === 'proxy' ? `${origin}/bench/mcp` : `${origin}/`,
    cpuMs: () => cpuMs(pid),
    rssMiB: () => memoryMiB(pid, 'VmRSS'),
    /** The most that it has had since it was started or `forgetPeak` was called; NaN where nobody knows. */
    peakMiB: () => (existsSync('/proc/self/status') ? memoryMiB(pid, 'VmHWM') : NaN),
    forgetPeak() {
      if (existsSync('/proc/self/clear_refs')) writeFileSync(`/proc/${pid}/clear_refs`, '5');
    },
    /** MiB resident after a forced collection. */
    async collectedMiB() {
      const before = said.length;
      child.kill('SIGUSR2');
      await until(() => said.includes('collected ', before), `${kind} collects its garbage`);
      return memoryMiB(pid, 'VmRSS');
    },
    async stop() {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), END_MS);
      await exited;
      clearTimeout(late);
    },
  };
}

/** Somebody else's proxy, started by a shell; it is there when its URL answers anything at all. */
export async function startPeer(/** @type {string} */ command, /** @type {string} */ url) {
  const child = spawn(command, { shell: true, stdio: 'ignore', detached: process.platform !== 'win32' });
  running.add(child);
  const end = () => {
    try {
      process.kill(-(child.pid ?? NaN), 'SIGTERM'); // the shell and what it started
    } catch {} // it has ended already
  };
  process.on('exit', end);
  await until(() => answers(url), `${url} answers`);
  return { url, stop: end };
}

function answers(/** @type {string} */ url) {
  return new Promise((/** @type {(does: boolean) => void} */ resolve) => {
    const req = get(url, (res) => resolve(res.destroy() !== undefined));
    req.once('error', () => resolve(false));
  });
}

/** The process that makes the load; its jobs are in `load.mjs`. */
export class Load {
  #process = fork(file('load'), { execArgv: [] });

  constructor() {
    running.add(this.#process);
  }

  /** @returns {Promise<any>} */
  do(/** @type {string} */ job, /** @type {object} */ details) {
    return new Promise((resolve, reject) => {
      const load = this.#process;
      const ended = () => reject(new Error(`the load ended during ${job}`));
      const late = setTimeout(() => reject(new Error(`${job} did not end within ${JOB_MS / 1_000} s`)), JOB_MS);
      load.once('exit', ended);
      load.once('message', (/** @type {{ done?: unknown, failed?: string }} */ { done, failed }) => {
        clearTimeout(late);
        load.off('exit', ended);
        if (failed === undefined) resolve(done);
        else reject(new Error(failed));
      });
      load.send({ job, with: details });
    });
  }

  end() {
    running.delete(this.#process);
    this.#process.disconnect();
  }
}

/** Asks again until the answer is yes. @param {() => boolean | Promise<boolean>} condition @param {string} what */
export async function until(condition, what, ms = READY_MS) {
  const end = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${ms / 1_000} s`);
    await pause(20);
  }
}

/** @returns {Promise<void>} */
export function pause(/** @type {number} */ ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** CPU time of a process so far, user and system, in milliseconds; its children are not in it. */
function cpuMs(/** @type {number} */ pid) {
  if (existsSync('/proc/self/stat')) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return 10 * (Number(fields[11]) + Number(fields[12])); // ticks of 10 ms, whatever the kernel's own are
  }
  const [rest = '', ...above] = execFileSync('ps', ['-o', 'time=', '-p', String(pid)], { encoding: 'utf8' }).trim().split(':').reverse();
  return 1_000 * above.reduce((seconds, part, k) => seconds + Number(part) * 60 ** (k + 1), Number(rest));
}

function memoryMiB(/** @type {number} */ pid, /** @type {'VmRSS' | 'VmHWM'} */ field) {
  if (existsSync('/proc/self/status')) {
    return Number(new RegExp(`^${field}:\\s*(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024;
  }
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) / 1_024;
}
