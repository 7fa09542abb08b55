// The program as a process, started as a user starts it.

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import type { ConfigInput } from '../../src/proxy.ts';
import { group, repo, tempDir, until } from './files.ts';

// A shutdown takes 10 s at most.
const END_MS = 15_000;

/** The compiled program. */
export const entry = join(repo, 'build', 'src', 'index.js');

export interface StartOptions {
  /** Node's own arguments and the script, or another command altogether. */
  readonly argv?: readonly [command: string, ...args: string[]];
  readonly cwd?: string;
  /** Beside what every process needs; nothing else of this process is passed on. */
  readonly env?: Readonly<Record<string, string>>;
  /** Written to `mcp-config.json` in the working directory; a string goes there as it is. */
  readonly config?: ConfigInput | string;
}

export interface Program {
  readonly process: ChildProcessByStdio<null, Readable, Readable>;
  /** The working directory. */
  readonly dir: string;
  /** Where its children leave their process ids, one line each. */
  readonly starts: string;
  readonly stdout: string;
  readonly stderr: string;
  /** Waits for its end: exit code and signal, once all that it wrote has come. */
  ended(): Promise<readonly [code: number | null, signal: string | null]>;
  /** The origin that it says it listens on; fails when it ends before that. */
  origin(): Promise<string>;
  /** The ids of the processes that it has started so far, in order. */
  children(): number[];
  /** Its log lines so far. */
  lines(): string[];
  /** Waits for a log line. */
  logged(what: RegExp): Promise<string>;
}

/** Starts it, on a free port unless `env` says otherwise, and ends it with all its children after the test. */
export function start(t: TestContext, options: StartOptions = {}): Program {
  const dir = options.cwd ?? tempDir(t);
  const starts = join(dir, 'starts');
  const { config } = options;
  if (config !== undefined) writeFileSync(join(dir, 'mcp-config.json'), typeof config === 'string' ? config : JSON.stringify(config));
  const [command, ...args] = options.argv ?? [process.execPath, entry];
  const child = spawn(command, args, {
    cwd: dir,
    env: { ...needed(), PORT: '0', STARTS: starts, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: process.platform !== 'win32', // a group of its own: a test can signal all of it
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  let end: readonly [code: number | null, signal: string | null] | undefined;
  const closed = new Promise<void>((resolve) => {
    child.on('close', (code, signal) => {
      end = [code, signal];
      resolve();
    });
  });
  child.on('error', (error) => (stderr += `${error}\n`)); // it could not be started; 'close' follows

  const program: Program = {
    process: child,
    dir,
    starts,
    ended: () => until(() => end, () => `the program ends; it said\n${stdout}${stderr}`, END_MS),
    get stdout() {
      return stdout;
    },
    get stderr() {
      return stderr;
    },
    origin: () =>
      until(
        () => {
          const origin = /^MCP proxy \S+ on (\S+)( \(port \d+\))?$/m.exec(stdout)?.[1];
          if (origin === undefined && end) throw new Error('it has ended');
          return origin;
        },
        () => `the program listens; it said\n${stdout}${stderr}`,
      ),
    children: () => (existsSync(starts) ? readFileSync(starts, 'utf8').trim().split('\n').filter(Boolean).map(Number) : []),
    lines: () => stderr.split('\n').slice(0, -1),
    logged: (what) => until(() => program.lines().find((line) => what.test(line)), () => `a log line ${what} in\n${stderr}`),
  };
  // Each child leads a group of its own, and so does the program.
  const killAll = (): void => [child.pid ?? NaN, ...program.children()].flatMap(group).forEach(kill);
  t.after(async () => {
    if (end === undefined) {
      child.kill('SIGTERM');
      const late = setTimeout(killAll, END_MS);
      await closed;
      clearTimeout(late);
    }
    killAll(); // what a failure left
  });
  return program;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {} // gone meanwhile
}

/** What a process needs on this machine, and where coverage goes if it is measured. */
export function needed(): Record<string, string> {
  const names = ['PATH', 'SystemRoot', 'TEMP', 'TMP', 'TMPDIR', 'HOME', 'NODE_V8_COVERAGE'];
  return Object.fromEntries(names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
}
