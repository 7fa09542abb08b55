// The world around a proxy, in memory: a clock that stands still until it is moved, and processes that are none. What the
// proxy spawns, writes to and kills is here; what such a process says is another file's.
// @ts-check

import child_process from 'node:child_process';
import { EventEmitter } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';

const MAX_FIRINGS = 10_000;

/** Promise reactions and ticks get their turn. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

export class FakeClock {
  #now = Date.UTC(2026, 0, 1, 12);
  /** @type {{ at: number, then: () => void }[]} in order of time */
  #armed = [];
  /** @type {(() => void)[]} */
  #soon = [];

  /** How many timers are armed. */
  get armed() {
    return this.#armed.length;
  }

  now = () => this.#now;
  timestamp = (agoMs = 0) => new Date(this.#now - agoMs).toISOString();

  after = (/** @type {number} */ ms, /** @type {() => void} */ then) => {
    if (!(ms <= 2 ** 31 - 1)) throw new RangeError(`a timer of ${ms} ms`);
    const timer = { at: this.#now + Math.max(0, ms), then };
    const later = this.#armed.findIndex(({ at }) => at > timer.at);
    this.#armed.splice(later === -1 ? this.#armed.length : later, 0, timer);
    return { cancel: () => void (this.#armed = this.#armed.filter((each) => each !== timer)) };
  };

  soon = (/** @type {() => void} */ then) => void this.#soon.push(then);

  /** Ends this turn of the event loop. */
  async turn() {
    await settled();
    while (this.#soon.length > 0) {
      for (const then of this.#soon.splice(0)) then();
      await settled();
    }
  }

  /** Moves the time and fires what falls due, each in a turn of its own. */
  async advance(/** @type {number} */ ms) {
    const until = this.#now + ms;
    await this.turn();
    let firings = 0;
    for (let timer = this.#armed[0]; timer !== undefined && timer.at <= until; timer = this.#armed[0]) {
      firings = timer.at > this.#now ? 1 : firings + 1;
      if (firings > MAX_FIRINGS) throw new Error(`more than ${MAX_FIRINGS} timers at one instant: does one arm itself again without a delay?`);
      this.#armed.shift();
      this.#now = Math.max(this.#now, timer.at);
      timer.then();
      await this.turn();
    }
    this.#now = until;
  }
}

class Pipe extends EventEmitter {
  writable = true;
  writableLength = 0;
  /** It is not read: what is written waits. */
  clogged = false;
  #text = '';
  /** @type {(line: string) => void} */
  onLine = () => {};
  onEnd = () => {};

  write(/** @type {Buffer} */ bytes) {
    this.#text += bytes.toString();
    this.#read();
    return true;
  }

  unclog() {
    this.clogged = false;
    this.#read();
  }

  cork() {}
  uncork() {}
  unref() {}

  end() {
    if (!this.writable) return;
    this.writable = false;
    this.onEnd();
  }

  destroy() {
    this.writable = false;
  }

  #read() {
    if (this.clogged) return void (this.writableLength = this.#text.length);
    this.writableLength = 0;
    const lines = this.#text.split('\n');
    this.#text = lines.pop() ?? '';
    for (const line of lines) this.onLine(line);
  }
}

export class FakeProcess extends EventEmitter {
  stdin = new Pipe();
  stdout = Object.assign(new EventEmitter(), { destroy() {} });
  stderr = Object.assign(new EventEmitter(), { destroy() {} });
  alive = true;
  diedAt = Infinity;
  /** Ignores the end of its stdin, or SIGTERM as well. @type {'not' | 'stdin' | 'all'} */
  deaf = 'not';

  constructor(/** @type {number} */ pid, /** @type {readonly string[]} */ args, /** @type {FakeClock} */ clock) {
    super();
    this.pid = pid;
    this.args = args;
    this.clock = clock;
    this.stdin.onEnd = () => void (this.deaf === 'not' && clock.after(5, () => this.exit(0, null)));
  }

  unref() {}

  signal(/** @type {string | number} */ signal) {
    if (signal === 'SIGKILL' || (signal === 'SIGTERM' && this.deaf !== 'all')) this.clock.after(1, () => this.exit(null, String(signal)));
  }

  /** Ends. Its stdout closes at once, or a moment later: what it wrote last may still be in there. */
  exit(/** @type {number | null} */ code, /** @type {string | null} */ signal, closesAfterMs = 0) {
    if (!this.alive) return;
    this.alive = false;
    this.diedAt = this.clock.now();
    this.stdin.writable = false;
    this.emit('exit', code, signal);
    if (closesAfterMs === 0) this.stdout.emit('close');
    else this.clock.after(closesAfterMs, () => this.stdout.emit('close'));
  }
}

/** All processes of one run. Takes the place of `spawn` and `kill` until `leave`. */
export class FakeSystem {
  /** @type {FakeProcess[]} */
  processes = [];
  #spawn = child_process.spawn;
  #kill = process.kill;

  /** `onSpawn`: a server has been started. */
  constructor(/** @type {FakeClock} */ clock, /** @type {(process: FakeProcess) => void} */ onSpawn) {
    const spawn = (/** @type {string} */ command, /** @type {readonly string[]} */ args) => {
      const fake = new FakeProcess(1_000_000_000 + this.processes.length, args, clock);
      this.processes.push(fake);
      if (command !== '/bin/sh') onSpawn(fake);
      return fake;
    };
    const kill = (/** @type {number} */ pid, /** @type {string | number} */ signal = 0) => {
      const fake = this.processes.find((each) => each.pid === -pid);
      if (!fake?.alive) throw Object.assign(new Error('ESRCH'), { code: 'ESRCH' });
      fake.signal(signal);
      return true;
    };
    Object.assign(child_process, { spawn });
    Object.assign(process, { kill });
    syncBuiltinESMExports();
  }

  /** Those that are alive, but for the shell that watches over them. */
  get alive() {
    return this.processes.filter(({ alive, args }) => alive && args[0] !== '-c');
  }

  leave() {
    Object.assign(child_process, { spawn: this.#spawn });
    Object.assign(process, { kill: this.#kill });
    syncBuiltinESMExports();
  }
}
