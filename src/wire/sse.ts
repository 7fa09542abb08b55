// Server-Sent Events (WHATWG HTML, section 9.2): the encoder, and one open stream with its keep-alive and its
// cut-off. What an event means is not known here.

import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../base/clock.ts';
import { probeAtEnd } from './half-close.ts';
import { cutOff } from './pipeline.ts';

const SSE_HEAD = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
};
const KEEP_ALIVE = Buffer.from(': keep-alive\n\n');
const END_OF_EVENT = Buffer.from('\n\n');

/** One event; `data` must be free of line ends (`JSON.stringify` text, or `oneLine` bytes). */
export function encodeEvent(event: string, data: string | Buffer, id?: string): Buffer {
  const head = `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: `;
  return typeof data === 'string' ? Buffer.from(`${head}${data}\n\n`) : Buffer.concat([Buffer.from(head), data, END_OF_EVENT]);
}

export interface SseOptions {
  readonly clock: Clock;
  readonly limits: Readonly<Record<'keepAliveMs' | 'sseQueueBytes' | 'sseStallMs', number>>;
}

export class SseStream {
  readonly #res: ServerResponse;
  readonly #options: SseOptions;
  readonly #onClose: () => void;
  readonly #socket: Socket;
  #timer: Timer | undefined;
  readonly #endProbe: () => void;
  #lastWrite: number;
  #progress = '';
  #progressAt: number;
  #open = true;

  /** Sends the head at once. `onClose`: the stream has ended, by whichever side; called once. */
  constructor(res: ServerResponse, options: SseOptions, onClose = (): void => {}) {
    this.#res = res;
    this.#options = options;
    this.#onClose = onClose;
    this.#lastWrite = this.#progressAt = options.clock.now();
    res.writeHead(200, SSE_HEAD);
    res.flushHeaders();
    res.once('close', () => this.#gone());
    this.#socket = res.req.socket;
    this.#endProbe = probeAtEnd(this.#socket, options.clock, () => this.#comment());
    if (res.destroyed) queueMicrotask(() => this.#gone()); // not before whoever opens it knows it
    else this.#tick(options.limits.keepAliveMs);
  }

  get open(): boolean {
    return this.#open;
  }

  /** Writes one encoded event. A reader that fell behind is cut off when the next event is due; one big event alone is no crime. */
  write(frame: Buffer): void {
    if (!this.#open || cutOff(this.#res)) return;
    if (this.#res.writableLength > this.#options.limits.sseQueueBytes) return void this.#res.destroy();
    this.#lastWrite = this.#options.clock.now();
    this.#res.write(frame);
  }

  /** Ends the stream after what was written; safe to call twice. */
  end(): void {
    if (!this.#open) return;
    this.#res.end();
    this.#leave(); // the timer goes on until the last byte is taken or the reader is given up
  }

  /** A comment, unless something is on its way that keeps the connection alive as well. */
  #comment(): void {
    if (!this.#open || this.#res.writableLength > 0) return;
    this.#lastWrite = this.#options.clock.now();
    this.#res.write(KEEP_ALIVE);
  }

  #leave(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#onClose();
  }

  #gone(): void {
    this.#timer?.cancel();
    this.#endProbe();
    this.#leave();
  }

  #tick(inMs: number): void {
    this.#timer = this.#options.clock.after(inMs, () => {
      const { clock, limits } = this.#options;
      const now = clock.now();
      const queued = this.#res.writableLength;
      const progress = `${this.#socket.bytesWritten - queued} ${inKernelsHands(this.#socket)}`;
      const isInLine = this.#res.socket === null; // behind another answer, which may take as long as it takes
      if (queued === 0 || isInLine || progress !== this.#progress) {
        this.#progress = progress;
        this.#progressAt = now;
      } else if (now - this.#progressAt >= limits.sseStallMs) {
        this.#res.destroy();
        return;
      }
      const silent = now - this.#lastWrite;
      if (silent >= limits.keepAliveMs) this.#comment();
      this.#tick(silent < limits.keepAliveMs ? limits.keepAliveMs - silent : limits.keepAliveMs);
    });
  }
}

/** What is left of the one write that is under way: without it, a big event looks stalled until its last byte. */
function inKernelsHands(socket: Socket): number {
  return (socket as { _handle?: { writeQueueSize?: number } })._handle?.writeQueueSize ?? 0;
}
