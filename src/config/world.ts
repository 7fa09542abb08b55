// What the rooms with a life of their own share; `createProxy` makes one, tests make their own.

import type { Clock, Deadlines } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Limits } from './limits.ts';

export interface World {
  readonly clock: Clock;
  /** Deadlines on one timer, for what there are many of. */
  readonly deadlines: Deadlines;
  readonly log: Log;
  readonly limits: Limits;
  /** From 0 up to but not including 1. */
  random(): number;
}
