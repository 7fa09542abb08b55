// Log entries and the two forms in which they are written. Payloads are never logged whole, and whoever logs
// text from a child redacts it first.

import type { Clock } from './clock.ts';

const LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type Level = (typeof LEVELS)[number];

export interface LogEntry {
  /** ISO 8601. */
  readonly time: string;
  readonly level: Level;
  /** The MCP server that it is about, or '-'. */
  readonly server: string;
  /** A stable machine word. */
  readonly event: string;
  /** One sentence. */
  readonly message: string;
  readonly [field: string]: unknown;
}

/** Where entries go; `createProxy({ log })` takes one. */
export interface LogSink {
  /** Entries below this level are not made. */
  readonly level: Level;
  write(entry: LogEntry): void;
}

/** Says one thing about a server, or about none ('-'); `fields` are what else the entry has. */
type Say = (server: string, event: string, message: string, fields?: Record<string, unknown>) => void;

export class Log {
  readonly #sink: LogSink | undefined;
  readonly #clock: Clock;

  constructor(sink: LogSink | undefined, clock: Clock) {
    this.#sink = sink;
    this.#clock = clock;
  }

  /** Whether entries of this level are written; asked before anything costly is put into words. */
  takes(level: Level): boolean {
    return this.#sink !== undefined && LEVELS.indexOf(level) <= LEVELS.indexOf(this.#sink.level);
  }

  readonly error: Say = (...what) => this.#write('error', ...what);
  readonly warn: Say = (...what) => this.#write('warn', ...what);
  readonly info: Say = (...what) => this.#write('info', ...what);
  readonly debug: Say = (...what) => this.#write('debug', ...what);

  #write(level: Level, ...[server, event, message, fields]: Parameters<Say>): void {
    if (!this.takes(level)) return;
    this.#sink?.write({ time: this.#clock.timestamp(), level, server, event, message, ...fields });
  }
}

/** One entry as a line without its line end. */
export function formatEntry(entry: LogEntry, format: 'text' | 'json'): string {
  const line = format === 'json' ? JSON.stringify(entry) : `${entry.time} ${entry.level.padEnd(5)} ${entry.server}  ${entry.message}`;
  // Control characters and line ends as `\u001b`: one entry stays one line, and no text steers a terminal.
  return line.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
