// What tests of supervised servers share: a world whose bounds may be changed one by one and whose log is kept, and
// launches of fixtures.

import { existsSync, readFileSync } from 'node:fs';
import { Deadlines, type Clock } from '../../src/base/clock.ts';
import { Log, type LogEntry } from '../../src/base/log.ts';
import { createRedact } from '../../src/base/redact.ts';
import type { Launch } from '../../src/child/supervisor.ts';
import { LIMITS, type Limits } from '../../src/config/limits.ts';
import type { ServerConfig } from '../../src/config/schema.ts';
import type { World } from '../../src/config/world.ts';
import { discoverParams } from '../../src/protocol/discover.ts';
import { initializeParams } from '../../src/protocol/legacy.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { fixture } from '../support/files.ts';

export interface TestWorld extends World {
  /** Every log entry so far. */
  readonly entries: LogEntry[];
}

export interface WorldOptions {
  readonly limits?: Partial<Limits>;
  /** 0.5 takes the jitter out of every delay. */
  readonly random?: () => number;
  /** A log that several share. */
  readonly entries?: LogEntry[];
}

export function testWorld(clock: Clock, { limits = {}, random = () => 0.5, entries = [] }: WorldOptions = {}): TestWorld {
  return {
    clock,
    deadlines: new Deadlines(clock),
    limits: { ...LIMITS, ...limits },
    log: new Log({ level: 'debug', write: (entry) => entries.push(entry) }, clock),
    random,
    entries,
  };
}

/** A fake clock that starts at an hour that is easy to read in timestamps. */
export function noon(): FakeClock {
  const clock = fakeClock(Date.UTC(2026, 0, 1, 12));
  const timestamp = (agoMs = 0): string => new Date(clock.now() - agoMs).toISOString();
  return Object.defineProperty({ ...clock, timestamp }, 'pending', { get: () => clock.pending, enumerable: true });
}

/** A launch of a fixture, with every default of the configuration. */
export function launchOf(name: string, args: readonly string[] = [], over: Partial<ServerConfig> = {}, secrets: readonly string[] = []): Launch {
  const config: ServerConfig = {
    command: process.execPath,
    args: [fixture(name), ...args],
    env: {},
    disabled: false,
    autoRestart: true,
    maxRestarts: 3,
    isolation: 'shared',
    clientCapabilities: undefined,
    protocol: 'auto',
    ...over,
  };
  const clientInfo = { name: 'proxy', version: '1.0.0' };
  return { config, env: {}, params: initializeParams(clientInfo), discover: discoverParams(clientInfo), redact: createRedact([...secrets, ...Object.values(config.env)]) };
}

/** A launch of a script given as text. */
export function launchScript(text: string, over: Partial<ServerConfig> = {}, secrets: readonly string[] = []): Launch {
  return launchOf('', [], { args: ['-e', text], ...over }, secrets);
}

/** The process ids that the fixtures with `STARTS` set to this file have left in it, in order. */
export function starts(file: string): number[] {
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').map(Number) : [];
}
