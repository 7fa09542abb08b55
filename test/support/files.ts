// What a test asks the machine for: temp directories, fixtures, and which processes are left.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository root, found from the compiled tests in `build/` as well as from their sources. */
export const repo = ((): string => {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, 'package.json'))) dir = dirname(dir);
  return dir;
})();

/** The absolute path of `test/fixtures/NAME`: fixtures are run as they are and never compiled. */
export function fixture(name: string): string {
  return join(repo, 'test', 'fixtures', name);
}

const dirs = new Set<string>();
process.once('exit', () => dirs.forEach(remove));

/** A directory of its own for one test, removed after it. */
export function tempDir(t: { after(then: () => void): void }): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'mcp-proxy-')));
  dirs.add(dir);
  // Hooks run in the order of their registration, and those that end the processes in the directory come
  // later than this one: it goes to the end of the line. Where a hook may add none (Node 20.12), 'exit' removes it.
  t.after(() => t.after(() => remove(dir)));
  return dir;
}

function remove(dir: string): void {
  rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
  dirs.delete(dir);
}

/**
 * Waits for a condition that nobody announces: asks until the answer is truthy, and returns it. A condition that
 * throws is asked again; `what` says in the error what was waited for.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  what: string | (() => string),
  ms = 10_000,
): Promise<Exclude<T, false | null | undefined | 0 | ''>> {
  const deadline = performance.now() + ms;
  for (;;) {
    let cause: unknown;
    try {
      const answer = await condition();
      if (answer) return answer as Exclude<T, false | null | undefined | 0 | ''>;
    } catch (thrown) {
      cause = thrown;
    }
    if (performance.now() >= deadline) {
      throw new Error(`not within ${ms} ms: ${typeof what === 'string' ? what : what()}`, cause === undefined ? {} : { cause });
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Is this process there, and more than a zombie? */
export function alive(pid: number): boolean {
  if (hasProc) return running(procStat(pid));
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The processes of a process group that are more than zombies. */
export function group(pgid: number): number[] {
  return (hasProc ? procList() : psList()).filter((it) => it.pgid === pgid && running(it)).map((it) => it.pid);
}

interface Stat {
  readonly pid: number;
  readonly pgid: number;
  readonly state: string;
}

const hasProc = existsSync('/proc/self/stat');

function running(it: Stat | undefined): boolean {
  return it !== undefined && !/^[ZX]/.test(it.state);
}

function procStat(pid: number): Stat | undefined {
  let line: string;
  try {
    line = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined; // gone
  }
  // "PID (name) state ppid pgrp ...": the name may hold spaces and brackets, so the last bracket counts.
  const [state = '', , pgrp] = line.slice(line.lastIndexOf(')') + 2).split(' ');
  return { pid, pgid: Number(pgrp), state };
}

function procList(): Stat[] {
  return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? (procStat(Number(name)) ?? []) : []));
}

function psList(): Stat[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,pgid=,stat='], { encoding: 'utf8' }).trim().split('\n');
  return lines.map((line) => {
    const [pid, pgid, state = ''] = line.trim().split(/\s+/);
    return { pid: Number(pid), pgid: Number(pgid), state };
  });
}
