// The logical streams of one session: what was sent on each is kept for a while, so that a client whose
// connection broke reads on where it was. A stream outlives its connections, and a connection can change hands.

import type { Deadline } from '../base/clock.ts';
import { oneLine } from '../wire/envelope.ts';
import { encodeEvent, type SseStream } from '../wire/sse.ts';

interface Kept {
  readonly stream: LogicalStream;
  readonly seq: number;
  readonly message: Buffer;
}

export interface LogBounds {
  readonly logEvents: number;
  readonly logBytes: number;
}

/** The events of all streams of one session, oldest forgotten first. */
export class StreamLog {
  readonly #bounds: LogBounds;
  #kept: Kept[] = [];
  #bytes = 0;

  constructor(bounds: LogBounds) {
    this.#bounds = bounds;
  }

  keep(entry: Kept): void {
    if (entry.message.length > this.#bounds.logBytes) return; // delivered, if anybody is there, but not kept
    this.#kept.push(entry);
    this.#bytes += entry.message.length;
    while (this.#kept.length > this.#bounds.logEvents || this.#bytes > this.#bounds.logBytes) {
      this.#bytes -= this.#kept.shift()?.message.length ?? 0;
    }
  }

  /** The events of a stream after `seq`, in order. */
  after(stream: LogicalStream, seq: number): readonly Kept[] {
    return this.#kept.filter((entry) => entry.stream === stream && entry.seq > seq);
  }

  forget(stream: LogicalStream): void {
    this.#kept = this.#kept.filter((entry) => entry.stream !== stream);
    this.#bytes = this.#kept.reduce((sum, { message }) => sum + message.length, 0);
  }
}

/** One stream of a session; `id` is unique in the process. */
export class LogicalStream {
  readonly id: string;
  /** When it is forgotten, once it is complete. */
  expiry: Deadline | undefined;
  readonly #log: StreamLog;
  readonly #retryMs: number | undefined;
  #seq = 0;
  #delivered = 0;
  /** Open connections, the newest last; only that one receives. */
  #connections: SseStream[] = [];
  #complete = false;
  #held: boolean;

  /** `retryMs`: what its readers are primed with, where they understand that. `held`: it keeps what is written until `release`. */
  constructor(id: string, log: StreamLog, retryMs: number | undefined, held = false) {
    this.id = id;
    this.#log = log;
    this.#retryMs = retryMs;
    this.#held = held;
  }

  /** Whether its last message has been sent. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Whether somebody is connected. */
  get open(): boolean {
    return this.#connections.length > 0;
  }

  /** Whether what is written now is read now. */
  get reads(): boolean {
    return this.open && !this.#held;
  }

  /** Adds a connection and sends what it lacks: everything after `seq`, or what nobody has received yet. */
  attach(connection: SseStream, seq?: number): void {
    if (seq === undefined && this.#retryMs !== undefined) {
      connection.write(Buffer.from(`id: ${this.id}-${this.#delivered}\nretry: ${this.#retryMs}\ndata: \n\n`));
    }
    this.#connections.push(connection);
    if (!this.#held) this.#catchUp(seq ?? this.#delivered);
    if (this.#complete) this.end();
  }

  detach(connection: SseStream): void {
    this.#connections = this.#connections.filter((each) => each !== connection);
  }

  /** Whether a message like this one waits already; one is as good as two where it only says that something changed. */
  waiting(message: Buffer): boolean {
    return this.#delivered < this.#seq && this.#log.after(this, this.#delivered).some((entry) => entry.message.equals(message));
  }

  /** Whether something was sent after this event. */
  hasAfter(seq: number): boolean {
    return this.#log.after(this, seq).length > 0;
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    if (this.open) this.#catchUp(this.#delivered);
  }

  write(message: Buffer): void {
    if (this.#complete) return; // nothing follows a response
    const line = oneLine(message);
    const seq = ++this.#seq;
    this.#log.keep({ stream: this, seq, message: line });
    if (this.reads) this.#send(seq, line);
  }

  #catchUp(after: number): void {
    for (const { seq, message } of this.#log.after(this, after)) this.#send(seq, message);
  }

  /** Nothing follows: its connections end, and so does every later one after its replay. */
  end(): void {
    this.#complete = true;
    for (const connection of this.#connections.splice(0)) connection.end();
  }

  #send(seq: number, message: Buffer): void {
    this.#delivered = Math.max(this.#delivered, seq);
    this.#connections.at(-1)?.write(encodeEvent('message', message, `${this.id}-${seq}`));
  }
}

/** `<streamId>-<seq>`, as sent in `Last-Event-ID`. */
export function parseEventId(text: string): { readonly stream: string; readonly seq: number } | undefined {
  const parts = /^([0-9a-z]+)-(\d{1,15})$/.exec(text);
  return parts === null ? undefined : { stream: parts[1] as string, seq: Number(parts[2]) };
}
