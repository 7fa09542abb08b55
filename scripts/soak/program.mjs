// The program under soak: started with a configuration of its own, measured from outside, and stopped.
// @ts-check
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const READY_MS = 30_000;
const END_MS = 15_000;
/** Abandoned sessions and parked calls end soon, so that it can be seen that they do. */
export const SESSION_TIMEOUT_MS = 1_500;

/** @typedef {{ mib: number, descriptors: number, processes: number }} Figures */

export class Program {
  #said = '';
  #path;

  /** @param {string} program @param {Record<string, object>} servers */
  constructor(program, servers) {
    this.dir = mkdtempSync(join(tmpdir(), 'mcp-proxy-soak-'));
    this.#path = join(this.dir, 'config.json');
    this.configure(servers);
    const env = { PATH: process.env['PATH'], PORT: '0', CONFIG_PATH: this.#path, LOG_LEVEL: 'error', SESSION_TIMEOUT: String(SESSION_TIMEOUT_MS) };
    this.process = spawn(process.execPath, ['--import', join(here, '..', 'bench', 'collect.mjs'), program], { cwd: this.dir, env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.process.stderr.on('data', (chunk) => (this.#said = (this.#said + chunk).slice(-10_000)));
    process.once('exit', () => {
      this.process.kill('SIGKILL');
      rmSync(this.dir, { recursive: true, force: true });
    });
    /** @type {Promise<number | null>} */
    this.ended = new Promise((resolve) => this.process.once('exit', resolve));
  }

  get pid() {
    return this.process.pid ?? NaN;
  }

  /** The last of what it said on stderr. */
  get said() {
    return this.#said;
  }

  /** Scheme, host and port, once it listens. @returns {Promise<string>} */
  origin() {
    return new Promise((resolve, reject) => {
      let out = '';
      this.process.stdout.on('data', (chunk) => {
        const url = /(http:\/\/127\.0\.0\.1:\d+)\s/.exec((out += chunk))?.[1];
        if (url !== undefined) resolve(url);
      });
      setTimeout(() => reject(new Error(`it does not listen:\n${this.#said}`)), READY_MS).unref();
    });
  }

  /** Writes its configuration, at once for whoever reads it. */
  configure(/** @type {Record<string, object>} */ mcpServers) {
    writeFileSync(`${this.#path}.new`, JSON.stringify({ mcpServers }));
    renameSync(`${this.#path}.new`, this.#path);
  }

  /** After a collection of its garbage. @returns {Promise<Figures>} */
  async figures() {
    const before = this.#said.length;
    this.process.kill('SIGUSR2');
    await until(() => this.#said.indexOf('collected ', before) !== -1 || this.#said.length < before, 'the collection');
    return { mib: memoryMiB(this.pid), descriptors: existsSync('/proc/self/fd') ? readdirSync(`/proc/${this.pid}/fd`).length : NaN, processes: this.processes().length };
  }

  /** Its children and theirs. */
  processes() {
    /** @type {Map<number, number[]>} */
    const byParent = new Map();
    for (const [pid, parent] of running()) byParent.set(parent, [...(byParent.get(parent) ?? []), pid]);
    const found = [this.pid];
    for (const pid of found) found.push(...(byParent.get(pid) ?? []));
    return found.slice(1);
  }

  /** Ends it. Answers its exit code, and which of its processes are alive. */
  async stop() {
    const processes = this.processes();
    this.process.kill('SIGTERM');
    const late = setTimeout(() => this.process.kill('SIGKILL'), END_MS);
    const code = await this.ended;
    clearTimeout(late);
    const alive = () => {
      const now = new Set(running().map(([pid]) => pid));
      return processes.filter((pid) => now.has(pid));
    };
    await until(() => alive().length === 0, 'the end of its processes', 5_000).catch(() => {});
    return { code, left: alive() };
  }
}

/** Asks again until the answer is yes. */
export async function until(/** @type {() => boolean | Promise<boolean>} */ condition, /** @type {string} */ what, ms = READY_MS) {
  const end = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${ms / 1_000} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Every process and its parent; zombies, which are nobody any more, left out. @returns {[pid: number, parent: number][]} */
function running() {
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , stat]) => !stat?.startsWith('Z'))
    .map(([pid, parent]) => [Number(pid), Number(parent)]);
}

function memoryMiB(/** @type {number} */ pid) {
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) / 1_024;
}
