// Many clients and one child: ids and progress tokens out and back, deadlines, cancellation, and one answer for every
// request whatever becomes of the child. The table of calls is the only routing truth.

import { isUtf8 } from 'node:buffer';
import type { Deadline, Deadlines } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import type { Link } from '../child/handshake.ts';
import type { Limits } from '../config/limits.ts';
import { answerId, oneLine, removal, splice, type Edit, type Span } from '../wire/envelope.ts';
import {
  BIG_BYTES,
  encodeCall,
  encodeError,
  encodeResult,
  readMessage,
  textOf,
  type RpcMessage,
  type RpcNotification,
  type RpcRequest,
} from '../wire/jsonrpc.ts';
import type { Caller, Exchange } from './exchange.ts';

/** One request written to a child. It is answered once, or it becomes a tombstone. */
interface Call {
  readonly id: number;
  readonly method: string;
  /** The client's request; none where the proxy itself asks. */
  readonly exchange: Exchange | undefined;
  readonly onAnswer: ((answer: Answered) => void) | undefined;
  /** The client's progress token as it was written. */
  readonly tokenText: string | undefined;
  readonly hardEnd: number;
  deadline: Deadline | undefined;
  /** Cancelled, timed out, or its client left; the child has not answered it yet. */
  gone: boolean;
}

/** What became of a request of the proxy itself; `fault`: the child will not answer it. */
export type Answered = { readonly result: unknown } | { readonly error: unknown } | { readonly fault: ProxyError };

export interface RelayOptions {
  readonly name: string;
  readonly limits: Limits;
  readonly deadlines: Deadlines;
  /** Milliseconds, monotonic. */
  now(): number;
  /** Somebody waits for the child. Answers why that is in vain, or `undefined`. */
  onWanted(): ProxyError | undefined;
  /** The child runs and this request is the first thing that may be done with it; `false`: the relay forwards it. */
  onRequest(exchange: Exchange): boolean;
  /** A notification of the child that is not about one call. */
  onNotification(notification: RpcNotification): void;
  /** A request of the child: why no client can be asked. */
  onChildRequest(request: RpcRequest): ProxyError;
  /** The number of pending requests changed. */
  onPending(): void;
}

const MODERN_META = /^io\.modelcontextprotocol\/(protocolVersion|clientInfo|clientCapabilities|logLevel)$/;
const MODERN_PARAMS = /^(inputResponses|requestState)$/;
const NEWLINE = Buffer.from('\n');

export class Relay {
  readonly #options: RelayOptions;
  readonly #calls = new Map<number, Call>();
  readonly #byExchange = new Map<Exchange, Call>();
  readonly #waiting = new Map<Exchange, Deadline>();
  #tombstones = 0;
  #blurredUntil = 0; // tombstones were forgotten early: until then nobody can be told apart
  #link: Link | undefined;
  #drain: { readonly deadline: Deadline; readonly done: () => void } | undefined;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** Requests of clients that have no answer yet, those that wait for a start included. */
  get pending(): number {
    return this.#waiting.size + this.#byExchange.size;
  }

  /** Whether a child is connected, draining or not. */
  get connected(): boolean {
    return this.#link !== undefined;
  }

  /** Takes a request: writes it, lets it wait for the child, or refuses it. It is settled in any case. */
  dispatch(exchange: Exchange): void {
    const { name, limits, deadlines } = this.#options;
    if (this.pending >= limits.maxPending) return exchange.settle(new ProxyError('busy', `Server "${name}" is busy`));
    if (this.#link !== undefined && this.#drain === undefined) return this.#forward(exchange, this.#link);
    const wait = deadlines.add(limits.startWaitMs, () => {
      this.#waiting.delete(exchange);
      exchange.settle(new ProxyError('starting', `Server "${name}" is still starting`));
      this.#options.onPending();
    });
    this.#waiting.set(exchange, wait);
    this.#options.onPending();
    const refusal = this.#options.onWanted();
    if (refusal !== undefined) this.refuse(refusal);
  }

  /** The client of this request left. */
  cancel(exchange: Exchange, reason: string): void {
    this.#waiting.get(exchange)?.cancel();
    const waited = this.#waiting.delete(exchange);
    const call = this.#byExchange.get(exchange);
    if (call !== undefined) this.#abandon(call, reason);
    if (waited || call !== undefined) this.#options.onPending();
  }

  /** Passes a client's notification on, if the child runs; it never waits. */
  notify(notification: RpcNotification): void {
    this.#link?.write(oneLine(splice(notification.raw, legacyEdits(notification))));
  }

  /** A request of the proxy itself to the running child. */
  ask(method: string, params: unknown, onAnswer: (answer: Answered) => void): void {
    const busy = new ProxyError('busy', `Server "${this.#options.name}" is busy`);
    if (this.#link === undefined) return onAnswer({ fault: busy });
    const call = this.#open(method, undefined, onAnswer, undefined, this.#link);
    if (!this.#link.write(encodeCall(method, params, call.id))) this.#close(call)?.({ fault: busy });
  }

  /** The child runs: after `first`, whoever waits is served, in order of arrival. */
  connect(link: Link, first: () => void): void {
    this.#link = link;
    first();
    for (const [exchange, wait] of [...this.#waiting]) {
      if (this.#link !== link) return; // lost again: the rest goes on waiting
      wait.cancel();
      this.#waiting.delete(exchange);
      this.#forward(exchange, link);
    }
  }

  /** The child is lost: every call in flight is answered, once, and nothing of it is tried again. */
  down(error: ProxyError): void {
    this.#link = undefined;
    for (const call of [...this.#calls.values()]) {
      this.#close(call)?.({ fault: error });
      if (!call.gone) call.exchange?.settle(error);
    }
    this.#options.onPending();
    this.#drained();
  }

  /** Those who wait for the child need not any more. */
  refuse(error: ProxyError): void {
    for (const [exchange, wait] of [...this.#waiting]) {
      wait.cancel();
      this.#waiting.delete(exchange);
      exchange.settle(error);
    }
    this.#options.onPending();
  }

  /**
   * Lets the calls in flight finish while new ones wait. After `ms`, what has not finished is answered with `error`.
   * Called again, the shorter time counts.
   */
  drain(ms: number, error: ProxyError, done: () => void): void {
    this.#drain?.deadline.cancel();
    this.#drain = { deadline: this.#options.deadlines.add(ms, () => this.down(error)), done };
    if (this.#byExchange.size === 0) this.down(error);
  }

  /** One line of the child. What is no message goes to its tail; nothing a child writes ends anything. */
  receive(line: Buffer): void {
    const link = this.#link;
    const trimmed = trim(line);
    if (link === undefined || trimmed.length === 0) return;
    if (trimmed.length >= BIG_BYTES && isBracketed(trimmed) && isUtf8(trimmed)) {
      const id = answerId(trimmed);
      const call = id === undefined ? undefined : this.#calls.get(id.id);
      if (id !== undefined && call?.exchange !== undefined) return this.#answer(call, trimmed, id);
    }
    const message = readMessage(trimmed, this.#options.limits);
    const messages = message.kind === 'batch' ? message.messages : [message];
    for (const each of messages) {
      if (each.kind === 'malformed') link.note(Buffer.concat([line, NEWLINE]));
      else this.take(each, link);
    }
  }

  /** One message of the child; `link` is who sent it. */
  take(message: RpcMessage, link: Link): void {
    switch (message.kind) {
      case 'request':
        link.write(
          message.method === 'ping'
            ? encodeResult(message.idText, {})
            : encodeError(message.idText, this.#options.onChildRequest(message).toRpc()),
        );
        return;
      case 'notification':
        if (message.method === 'notifications/progress') this.#progress(message);
        else this.#options.onNotification(message);
        return;
      case 'response': {
        const call = typeof message.id === 'number' ? this.#calls.get(message.id) : undefined;
        const id = message.layout.top.find(({ name }) => name === 'id');
        if (call === undefined || id === undefined) return link.note(Buffer.concat([message.raw, NEWLINE]));
        if (call.exchange !== undefined) return this.#answer(call, message.raw, id);
        this.#close(call)?.(message.error === undefined ? { result: message.result } : { error: message.error });
      }
    }
  }

  /**
   * Whose work a message of the child can be about: the callers of all calls that it has not answered, gone ones
   * included, because servers go on working on a cancelled call. `blurred`: the list may lack somebody.
   */
  candidates(): { readonly callers: ReadonlyMap<Caller, Exchange | 'gone'>; readonly blurred: boolean } {
    const callers = new Map<Caller, Exchange | 'gone'>();
    for (const { exchange, gone } of this.#calls.values()) {
      if (exchange === undefined) continue;
      if (!gone) callers.set(exchange.caller, exchange);
      else if (!callers.has(exchange.caller)) callers.set(exchange.caller, 'gone');
    }
    return { callers, blurred: this.#options.now() < this.#blurredUntil };
  }

  #forward(exchange: Exchange, link: Link): void {
    if (this.#options.onRequest(exchange)) return this.#options.onPending();
    const { request } = exchange;
    const token = request.layout.meta.find(({ name }) => name === 'progressToken');
    const call = this.#open(request.method, exchange, undefined, token && textOf(request.raw, token), link);
    const edits: Edit[] = legacyEdits(request);
    const id = request.layout.top.find(({ name }) => name === 'id') as Span;
    edits.push({ at: id.at, end: id.end, text: String(call.id) });
    if (token !== undefined) edits.push({ at: token.at, end: token.end, text: String(call.id) });
    if (link.write(oneLine(splice(request.raw, edits)))) return this.#options.onPending();
    this.#close(call);
    exchange.settle(new ProxyError('busy', `Server "${this.#options.name}" is busy: it does not read what it is sent`));
    this.#options.onPending();
  }

  #open(
    method: string,
    exchange: Exchange | undefined,
    onAnswer: ((answer: Answered) => void) | undefined,
    tokenText: string | undefined,
    link: Link,
  ): Call {
    const { limits, deadlines, now } = this.#options;
    const hardEnd = now() + limits.requestHardCapMs;
    const call: Call = { id: link.nextId(), method, exchange, onAnswer, tokenText, hardEnd, deadline: undefined, gone: false };
    call.deadline = deadlines.add(this.#patience(call), () => this.#timedOut(call));
    this.#calls.set(call.id, call);
    if (exchange !== undefined) this.#byExchange.set(exchange, call);
    return call;
  }

  /** Forgets a call; what is left to do is to tell whoever asked. */
  #close(call: Call): Call['onAnswer'] {
    call.deadline?.cancel();
    if (this.#calls.delete(call.id) && call.gone) this.#tombstones--;
    if (call.exchange !== undefined) this.#byExchange.delete(call.exchange);
    return call.onAnswer;
  }

  #answer(call: Call, raw: Buffer, id: Span): void {
    this.#close(call);
    if (call.gone || call.exchange === undefined) return; // too late, nobody waits
    call.exchange.settle(splice(raw, [{ at: id.at, end: id.end, text: call.exchange.request.idText }]));
    this.#options.onPending();
    if (this.#byExchange.size === 0) this.#drained();
  }

  #progress(message: RpcNotification): void {
    const token = message.layout.params.find(({ name }) => name === 'progressToken');
    const call = token === undefined ? undefined : this.#calls.get(Number(textOf(message.raw, token)));
    if (token === undefined || call === undefined || call.gone || call.tokenText === undefined) return; // settled, or not ours
    call.deadline?.restart(this.#patience(call));
    call.exchange?.notify(splice(message.raw, [{ at: token.at, end: token.end, text: call.tokenText }]));
  }

  /** How long a call may be silent from now on, in milliseconds. */
  #patience(call: Call): number {
    const { limits, now } = this.#options;
    const left = call.hardEnd - now();
    return limits.requestTimeoutMs === 0 ? left : Math.min(limits.requestTimeoutMs, left);
  }

  #timedOut(call: Call): void {
    const { limits, now } = this.#options;
    const ms = call.hardEnd <= now() ? limits.requestHardCapMs : limits.requestTimeoutMs;
    const error = new ProxyError('timeout', `Request timed out after ${ms} ms`);
    this.#abandon(call, 'timed out');
    call.exchange?.settle(error);
    call.onAnswer?.({ fault: error });
    this.#options.onPending();
  }

  /** Nobody waits for this call any more; the child is told, and its late answer will be dropped. */
  #abandon(call: Call, reason: string): void {
    const { limits, deadlines, now } = this.#options;
    this.#link?.write(encodeCall('notifications/cancelled', { requestId: call.id, reason }));
    this.#close(call);
    if (call.exchange === undefined) return;
    call.gone = true;
    this.#tombstones++;
    this.#calls.set(call.id, call);
    call.deadline = deadlines.add(limits.tombstoneMs, () => void this.#close(call));
    if (this.#tombstones > limits.maxPending) {
      for (const oldest of this.#calls.values()) {
        if (!oldest.gone) continue;
        this.#close(oldest);
        this.#blurredUntil = now() + limits.tombstoneMs;
        break;
      }
    }
    if (this.#byExchange.size === 0) this.#drained();
  }

  #drained(): void {
    const drain = this.#drain;
    if (drain === undefined) return;
    this.#drain = undefined;
    this.#link = undefined;
    drain.deadline.cancel();
    drain.done();
  }
}

/** What a legacy child must not see of a request: the keys by which a modern client speaks. */
function legacyEdits({ layout }: RpcRequest | RpcNotification): Edit[] {
  const modernMeta = layout.meta.some(({ name }) => MODERN_META.test(name));
  if (!modernMeta && !layout.params.some(({ name }) => MODERN_PARAMS.test(name))) return [];
  const params = layout.top.find(({ name }) => name === 'params') as Span;
  const meta = layout.params.find(({ name }) => name === '_meta');
  const inMeta = meta === undefined ? [] : removal(meta, layout.meta, (name) => MODERN_META.test(name));
  const drop = (name: string) => MODERN_PARAMS.test(name) || (name === '_meta' && inMeta === undefined);
  return [...(inMeta ?? []), ...(removal(params, layout.params, drop) ?? [{ at: params.at, end: params.end, text: '{}' }])];
}

/** Without white space around it, and without a byte order mark in front. */
function trim(line: Buffer): Buffer {
  let at = line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf ? 3 : 0;
  let end = line.length;
  while (at < end && isSpace(line[at])) at++;
  while (end > at && isSpace(line[end - 1])) end--;
  return at === 0 && end === line.length ? line : line.subarray(at, end);
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 9 || byte === 13;
}

function isBracketed(text: Buffer): boolean {
  return text[0] === 0x7b && text[text.length - 1] === 0x7d;
}
