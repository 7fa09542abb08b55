// One child process and its group: spawned without a shell as the leader of a group of its own, spoken to in lines,
// and stopped by the ladder of the stdio transport (end of stdin, SIGTERM, SIGKILL), always the whole group: what
// `npx`, `uvx` and `sh -c` start is in it.

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Timer } from '../base/clock.ts';
import type { World } from '../config/world.ts';
import { bytesOf } from '../wire/jsonrpc.ts';
import { createLineDecoder } from '../wire/lines.ts';
import { resolveCommand } from './command.ts';
import type { Link } from './handshake.ts';

/** From so many gathered bytes on they are written at once, and not copied together. */
const BIG_BYTES = 64 * 1024;
const LINE_END = Buffer.from('\n');

/** How a process ended, in words and as data. */
export interface End {
  /** As a predicate: `exited with code 1`, `killed by SIGKILL`, `spawn ENOENT`. */
  readonly what: string;
  /** The same towards somebody whose call it cost, where that reads otherwise: `exited (code 1)`. */
  readonly toCaller?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly tooLong?: true;
  /** The system's reason why there never was a process: `ENOENT`. */
  readonly notSpawned?: string;
}

export interface ChildOptions extends Pick<World, 'clock' | 'limits'> {
  readonly command: string;
  readonly args: readonly string[];
  /** The environment of the child; nothing is inherited beside it, and only PATH grows. */
  readonly env: Readonly<Record<string, string>>;
  /** A line that it wrote, in parts. */
  onLine(parts: readonly Buffer[]): void;
  /** What it wrote to stderr, for a log. */
  onStderr(chunk: Buffer): void;
  /** It is dead or as good as dead; called once, unless `stop` came first. */
  onDead(end: End): void;
  /** Nothing of its group is left; called once, after `stop`. */
  onGone(): void;
}

export class Child implements Link {
  readonly #options: ChildOptions;
  readonly #process: ChildProcessWithoutNullStreams | undefined;
  /** The PATH that was searched for its command, where one was. */
  readonly searched: string | undefined;
  /** What was written within this turn of the event loop, which leaves as one write: that costs as much as a small call. */
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #tail: Buffer[] = [];
  #tailBytes = 0;
  #lastId = 0;
  #exit: End | undefined;
  #stdoutEnded = false;
  #told = false;
  #stopped = false;
  #grace: Timer | undefined; // between the first sign of death and its telling

  constructor(options: ChildOptions) {
    this.#options = options;
    try {
      const host = { platform: process.platform, execPath: process.execPath, isThere: existsSync };
      const { file, args, verbatim, searched, ...found } = resolveCommand(options.command, options.args, options.env, host);
      this.searched = searched;
      // Node would add this one variable of its own accord.
      const env = { NODE_V8_COVERAGE: undefined, ...found.env };
      this.#process = spawn(file, args, { env, detached: host.platform !== 'win32', windowsHide: true, windowsVerbatimArguments: verbatim });
    } catch (error) {
      // Only for what can never be spawned, such as a name with a NUL in it.
      queueMicrotask(() => this.#dead(notSpawned(error)));
      return;
    }
    this.#process.on('error', (error) => this.#dead(notSpawned(error)));
    const { stdin, stdout, stderr } = this.#process as Partial<ChildProcessWithoutNullStreams>;
    if (stdin === undefined || stdout === undefined || stderr === undefined) return; // no descriptor was left for its pipes
    this.#process.on('exit', (code, signal) => {
      this.#exit =
        signal === null
          ? { what: `exited with code ${code}`, toCaller: `exited (code ${code})`, data: { exitCode: code } }
          : { what: `killed by ${signal}`, toCaller: `exited (signal ${signal})`, data: { signal } };
      this.#dying(this.#exit);
    });
    const deaf = (): void => this.#dying({ what: 'closed its stdin' });
    stdin.on('error', deaf);
    // Without a write Node does not tell that; its handle does, which is asked to read what nobody sends. Where it cannot, the next write tells.
    const handle = (stdin as { _handle?: { onread?(data?: ArrayBuffer): void; readStart?(): void } })._handle;
    if (handle?.readStart !== undefined) {
      handle.onread = (data) => {
        if (data === undefined) deaf();
      };
      handle.readStart();
    }
    const feed = createLineDecoder({
      maxLineBytes: options.limits.maxLineBytes,
      maxLineParts: options.limits.maxLineParts,
      onLine: (parts) => {
        if (!this.#told) options.onLine(parts);
      },
      onOverflow: () => this.#dead({ what: `sent a line of more than ${options.limits.maxLineBytes} bytes`, tooLong: true }),
    });
    stdout.on('data', feed);
    stdout.on('error', () => {}); // 'close' follows
    stdout.on('close', () => {
      this.#stdoutEnded = true;
      this.#dying({ what: 'closed its stdout' });
    });
    stderr.on('data', (chunk: Buffer) => {
      this.note(chunk);
      options.onStderr(chunk);
    });
    stderr.on('error', () => {});
  }

  /** The process id, which is also the id of its group. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  nextId(): number {
    return ++this.#lastId;
  }

  write(message: Buffer | readonly Buffer[], owed = false): boolean {
    const stdin = this.#process?.stdin;
    if (stdin === undefined || !stdin.writable) return true; // dying: every call is about to be answered
    const { maxStdinQueueBytes, stdinReserveBytes } = this.#options.limits;
    const parts: readonly Buffer[] = Buffer.isBuffer(message) ? [message] : message;
    const bytes = bytesOf(parts) + 1;
    const queued = stdin.writableLength + this.#gatheredBytes;
    if (queued > 0 && queued + bytes > maxStdinQueueBytes + (owed ? stdinReserveBytes : 0)) {
      if (owed) this.#dying({ what: 'does not read its stdin' });
      return false;
    }
    if (this.#gatheredBytes === 0) this.#options.clock.soon(() => this.#flush());
    this.#gathered.push(...parts, LINE_END);
    this.#gatheredBytes += bytes;
    if (this.#gatheredBytes >= BIG_BYTES) this.#flush();
    return true;
  }

  #flush(): void {
    const stdin = this.#process?.stdin;
    const [parts, bytes] = [this.#gathered, this.#gatheredBytes];
    this.#gathered = [];
    this.#gatheredBytes = 0;
    if (bytes === 0 || stdin?.writable !== true) return; // written already, or dying
    if (bytes < BIG_BYTES) return void stdin.write(Buffer.concat(parts, bytes));
    stdin.cork();
    for (const part of parts) stdin.write(part);
    stdin.uncork();
  }

  note(chunk: Buffer): void {
    const max = this.#options.limits.stderrTailBytes;
    this.#tail.push(chunk);
    this.#tailBytes += chunk.length;
    if (this.#tailBytes < 2 * max && this.#tail.length < 1_000) return;
    this.#tail = [Buffer.concat(this.#tail).subarray(-max)];
    this.#tailBytes = Math.min(this.#tailBytes, max);
  }

  /** The tail as text; nothing of a line whose beginning is not in it, which may be half a secret. */
  tail(): string {
    const max = this.#options.limits.stderrTailBytes;
    const tail = Buffer.concat(this.#tail).subarray(-max);
    if (tail.length < max) return tail.toString();
    const end = tail.indexOf(LINE_END);
    return end === -1 ? '' : tail.toString('utf8', end + 1);
  }

  /** Begins the stop ladder; `onGone` tells when it is over. Safe to call twice. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = this.#told = true;
    this.#grace?.cancel();
    if (this.pid === undefined) return void queueMicrotask(() => this.#options.onGone());
    const { stopStdinMs, stopTermMs, goneAfterKillMs } = this.#options.limits;
    this.#flush();
    this.#process?.stdin.end();
    this.#until(stopStdinMs, () => {
      this.#signal('SIGTERM');
      this.#until(stopTermMs, () => {
        this.#signal('SIGKILL');
        this.#until(goneAfterKillMs, () => this.#leave());
      });
    });
  }

  /** Kills the whole group now, without waiting for anything. */
  kill(): void {
    this.#signal('SIGKILL');
  }

  /** Waits at most `ms` for the group to vanish, asking often; `otherwise` is the next rung. */
  #until(ms: number, otherwise: () => void): void {
    const { clock, limits } = this.#options;
    const end = clock.now() + ms;
    const look = (): void => {
      if (this.#exit !== undefined && !this.#signal(0)) return this.#leave();
      const left = end - clock.now();
      if (left <= 0) return otherwise();
      clock.after(Math.min(limits.goneCheckMs, left), look);
    };
    look();
  }

  #leave(): void {
    // A descendant that left the group may hold the pipes; they are not ours any more.
    for (const pipe of [this.#process?.stdin, this.#process?.stdout, this.#process?.stderr]) pipe?.destroy();
    this.#options.onGone();
  }

  /** Signals the group; 0 only asks. `false`: there is no such group. */
  #signal(signal: NodeJS.Signals | 0): boolean {
    if (this.pid === undefined) return false;
    if (process.platform === 'win32') {
      // No groups there, but a tree for as long as its root lives.
      if (signal === 0) return this.#exit === undefined;
      const { env } = this.#options;
      spawn('taskkill', ['/pid', String(this.pid), '/t', '/f'], { env, stdio: 'ignore', windowsHide: true }).on('error', () => this.#process?.kill());
      return true;
    }
    try {
      process.kill(-this.pid, signal);
      return true;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'EPERM'; // it is there, only not ours
    }
  }

  /**
   * A sign of death. The exit, the end of stdout and a broken stdin come in any order, and what was written last is
   * still in the pipes: so a moment passes before it is told, and no more, because a grandchild may hold a pipe open.
   * Where the exit is not among them, the first one counts.
   */
  #dying(sign: End): void {
    if (this.#told) return;
    if (this.#exit !== undefined && this.#stdoutEnded) return this.#dead(this.#exit);
    this.#grace ??= this.#options.clock.after(this.#options.limits.deathGraceMs, () => this.#dead(this.#exit ?? sign));
  }

  #dead(end: End): void {
    if (this.#told) return;
    this.#told = true;
    this.#grace?.cancel();
    this.#options.onDead(end);
  }
}

function notSpawned(error: unknown): End {
  const code = (error as NodeJS.ErrnoException).code ?? 'failed';
  return { what: `spawn ${code}`, notSpawned: code };
}
