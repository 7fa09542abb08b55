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
 * Many deadlines on one timer. A timer per call costs more than the rest of a small call's bookkeeping; here a deadline
 * is one link of a ring, and the timer is armed for the earliest one that was known when it was armed. No Set, because
 * the tables that a Set outgrows keep what they held, whole calls, until the next full collection.
 */
export class Deadlines {
  readonly #clock: Clock;
  /** Where the ring begins and ends. */
  readonly #root = new Link(() => {});
  readonly #start = (link: Link, ms: number): void => {
    link.at = this.#clock.now() + ms;
    if (link.expire !== undefined) this.#arm(link.at);
  };
  #timer: Timer | undefined;
  #armedFor = Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `expire` once, `ms` milliseconds from now, unless it is cancelled or restarted before. */
  add(ms: number, expire: () => void): Deadline {
    const link = new Link(this.#start);
    link.join(this.#root, expire);
    link.restart(ms);
    return link;
  }

  /** Forgets every deadline and ends the timer. */
  close(): void {
    for (const link of this.#running()) link.cancel();
    this.#timer?.cancel();
    this.#armedFor = Infinity;
  }

  #running(): Link[] {
    const links: Link[] = [];
    for (let link = this.#root.next; link !== this.#root; link = link.next) links.push(link);
    return links;
  }

  #arm(at: number): void {
    if (at >= this.#armedFor) return;
    this.#timer?.cancel();
    this.#armedFor = at;
    this.#timer = this.#clock.after(Math.max(0, at - this.#clock.now()), () => this.#sweep());
  }

  #sweep(): void {
    this.#armedFor = Infinity;
    const now = this.#clock.now();
    const due = this.#running().filter(({ at }) => at <= now);
    // One that expires may have restarted or cancelled another.
    for (const link of due) if (link.at <= now) link.cancel()?.();
    this.#arm(this.#running().reduce((earliest, { at }) => Math.min(earliest, at), Infinity));
  }
}

/** A deadline in the ring of those that run. One that is over is a ring of its own: it may be kept, and keeps no other. */
class Link implements Deadline {
  at = Infinity;
  expire: (() => void) | undefined;
  next: Link = this;
  #previous: Link = this;
  readonly #start: (link: Link, ms: number) => void;

  constructor(start: (link: Link, ms: number) => void) {
    this.#start = start;
  }

  /** Becomes the last one before the root. */
  join(root: Link, expire: () => void): void {
    this.expire = expire;
    this.next = root;
    this.#previous = root.#previous;
    this.#previous.next = root.#previous = this;
  }

  restart(ms: number): void {
    this.#start(this, ms);
  }

  /** Takes it out, and answers what it would have called. */
  cancel(): (() => void) | undefined {
    const { expire } = this;
    this.expire = undefined;
    this.next.#previous = this.#previous;
    this.#previous.next = this.next;
    this.next = this.#previous = this;
    return expire;
  }
}
