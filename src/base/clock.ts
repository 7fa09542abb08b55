// Time, and the only file that names it. Durations are read from a monotonic clock, so a system clock
// that jumps moves no deadline; `timestamp()` is for people to read.

/** Something that will happen once, unless it is cancelled first. */
export interface Timer {
  /** Cancels it; safe to call twice and after it fired. */
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds since an arbitrary origin. */
  now(): number;
  /** The wall clock, now or `agoMs` milliseconds ago, as an ISO 8601 string. */
  timestamp(agoMs?: number): string;
  /** Calls `then` once, `ms` milliseconds from now. */
  after(ms: number, then: () => void): Timer;
  /** Calls `then` once what is ready to be read has been read: still within this turn of the event loop. */
  soon(then: () => void): void;
}

export const systemClock: Clock = {
  now() {
    const [seconds, nanoseconds] = process.hrtime(); // as quick as `performance`, which takes 200 KiB of memory
    return seconds * 1_000 + nanoseconds / 1e6;
  },
  timestamp: (agoMs = 0) => new Date(Date.now() - agoMs).toISOString(),
  after(ms, then) {
    const handle = setTimeout(then, ms);
    return { cancel: () => clearTimeout(handle) };
  },
  soon: (then) => void setImmediate(then),
};

/** One running deadline of a `Deadlines`. */
export interface Deadline {
  /** Moves it to `ms` milliseconds from now. */
  restart(ms: number): void;
  cancel(): void;
}

/**
 * Many deadlines on one timer. A timer per call costs more than the rest of a small call's bookkeeping; here
 * a deadline is one set entry, and the timer is armed for the earliest one that was known when it was armed.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #entries = new Set<{ at: number; readonly expire: () => void }>();
  #timer: Timer | undefined;
  #armedFor = Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `expire` once, `ms` milliseconds from now, unless it is cancelled or restarted before. */
  add(ms: number, expire: () => void): Deadline {
    const entry = { at: this.#clock.now() + ms, expire };
    this.#entries.add(entry);
    this.#arm(entry.at);
    return {
      restart: (ms) => {
        entry.at = this.#clock.now() + ms;
        if (this.#entries.has(entry)) this.#arm(entry.at);
      },
      cancel: () => void this.#entries.delete(entry),
    };
  }

  /** Forgets every deadline and ends the timer. */
  close(): void {
    this.#entries.clear();
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#armedFor = Infinity;
  }

  #arm(at: number): void {
    if (at >= this.#armedFor) return;
    this.#timer?.cancel();
    this.#armedFor = at;
    this.#timer = this.#clock.after(Math.max(0, at - this.#clock.now()), () => this.#sweep());
  }

  #sweep(): void {
    this.#timer = undefined;
    this.#armedFor = Infinity;
    const now = this.#clock.now();
    const due = [...this.#entries].filter((entry) => entry.at <= now);
    // One that expires may have restarted another.
    for (const entry of due) if (entry.at <= now && this.#entries.delete(entry)) entry.expire();
    let earliest = Infinity;
    for (const entry of this.#entries) earliest = Math.min(earliest, entry.at);
    if (earliest < Infinity) this.#arm(earliest);
  }
}
