// A clock that stands still until a test moves it, and the timers that hang on it.

import { stat } from 'node:fs/promises';
import type { Clock } from '../../src/base/clock.ts';

export interface FakeClock extends Clock {
  /** Moves the time by `ms` and fires, in order of time, everything that falls due on the way. */
  advance(ms: number): void;
  /** `advance` for code that awaits: promise reactions and pending I/O get their turn before and after every firing. */
  run(ms: number): Promise<void>;
  /** How many timers are armed. */
  readonly pending: number;
}

// setTimeout turns a longer delay into 1 ms: such a timer is a bug, and here it is a loud one.
const MAX_DELAY_MS = 2 ** 31 - 1;
const MAX_FIRINGS_AT_ONCE = 100_000;

/** Starts at `startMs`, which is both the monotonic time and the wall clock (ms since 1970). */
export function fakeClock(startMs = 0): FakeClock {
  let now = startMs;
  // Always in order of time; timers of the same instant in the order in which they were armed.
  const armed: { readonly at: number; readonly then: () => void }[] = [];

  function* due(until: number): Generator<() => void> {
    let firings = 0;
    let timer = armed[0];
    for (; timer && timer.at <= until; timer = armed[0]) {
      firings = timer.at > now ? 1 : firings + 1;
      if (firings > MAX_FIRINGS_AT_ONCE) throw new Error(`more than ${MAX_FIRINGS_AT_ONCE} timers fired at ${now} ms: does one arm itself again without a delay?`);
      armed.shift();
      now = Math.max(now, timer.at);
      yield timer.then;
    }
    now = Math.max(now, until);
  }

  return {
    now: () => now,
    timestamp: (agoMs = 0) => new Date(now - agoMs).toISOString(),
    after(ms, then) {
      if (!(ms <= MAX_DELAY_MS)) throw new RangeError(`a timer of ${ms} ms: setTimeout would fire it after 1 ms`);
      const timer = { at: now + Math.max(0, ms), then };
      const later = armed.findIndex((other) => other.at > timer.at);
      armed.splice(later === -1 ? armed.length : later, 0, timer);
      return {
        cancel() {
          const index = armed.indexOf(timer);
          if (index !== -1) armed.splice(index, 1);
        },
      };
    },
    soon: (then) => void setImmediate(then), // takes no time
    advance(ms) {
      for (const then of due(now + ms)) then();
    },
    async run(ms) {
      const until = now + ms;
      await turns();
      for (const then of due(until)) {
        then();
        await turns();
      }
    },
    get pending() {
      return armed.length;
    },
  };
}

/** Lets promise reactions, ready sockets and finished file operations run. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
  await stat('.'); // a trip through the thread pool: what was ready before it is delivered before it
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
}
