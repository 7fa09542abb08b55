// Many clients and one child: ids and progress tokens out and back, deadlines, cancellation, and one answer for every
// request whatever becomes of the child. The table of calls is the only routing truth.

import { isUtf8 } from 'node:buffer';
import type { Deadline } from '../base/clock.ts';
import { asProxyError, ProxyError, traceOf } from '../base/errors.ts';
import type { Link } from '../child/handshake.ts';
import type { World } from '../config/world.ts';
import { META } from '../protocol/methods.ts';
import { MAX_MEMBERS } from '../protocol/text.ts';
import { answerId, isValue, memberOf, oneLine, resultLayoutOf, splice, spliceParts, type Edit, type ResultLayout, type Span } from '../wire/envelope.ts';
import {
  areUtf8,
  BIG_BYTES,
  bytesOf,
  encodeCall,
  encodeResult,
  joined,
  readMessage,
  textOf,
  type RpcMessage,
  type RpcNotification,
  type RpcRequest,
  type RpcResponse,
} from '../wire/jsonrpc.ts';
import { lonelyCaller, SIMPLE, type Caller, type Exchange } from './exchange.ts';

/** One request written to a child. It is answered once, or it becomes a tombstone. */
interface Call {
  readonly id: number;
  readonly method: string;
  readonly exchange: Exchange;
  /** The proxy's, not a client's: it counts as no pending request. */
  readonly own: boolean;
  tap: Tap | undefined;
  /** Bytes of its request, if that is kept: a tap may send it once more. */
  readonly kept: number;
  /** The client's progress token as it was written. */
  readonly tokenText: string | undefined;
  readonly hardEnd: number;
  deadline: Deadline | undefined;
  /** Cancelled, timed out, or its client left; the child has not answered it yet. */
  gone: boolean;
}

/** What became of a request: the child's answer, or why there is none. */
export type Outcome = Buffer | ProxyError;

/**
 * Hears the child's answer to a forwarded request, still under the proxy's own id, before the client does, while that
 * waits. `held` keeps it from the client.
 */
export type Tap = (answer: Buffer) => 'held' | void;

/** What becomes of a subscription of the proxy at a modern child. */
interface Subscribed {
  /** A notification that carries its id, which stands at `tag`. */
  heard(notification: RpcNotification, tag: Span): void;
  /** The child has ended it, by its answer or by a cancellation, or never got it; not called when the child itself has gone. */
  ended(answer?: RpcResponse | ProxyError): void;
}

/** The caller of the proxy's own requests: nobody's work, and nobody waits for it. */
export const HOUSE = lonelyCaller();

/** What a relay asks of the server that it belongs to. */
interface RelayEvents {
  /** Somebody waits for the child. Answers why that is in vain, or `undefined`. */
  onWanted(): ProxyError | undefined;
  /** The child runs, and this request is about to be forwarded. `handled`: it is dealt with; a tap hears its answer. */
  onRequest(exchange: Exchange, request: RpcRequest): 'handled' | 'forward' | Tap;
  /** What has to change in a client's message so that the child understands it. */
  onWrite(message: RpcRequest | RpcNotification, caller: Caller): Edit[];
  /** Whether the answer to this goes on as it came but for its id. */
  goesOn(exchange: Exchange, method: string): boolean;
  /**
   * An answer of the child on its way to a client, in the client's words, and its HTTP status. `id`: what makes it the
   * client's; `result`: its layout, where it is known.
   */
  onAnswer(exchange: Exchange, method: string, raw: Buffer, id: Edit, result?: ResultLayout): readonly [answer: Outcome, status?: number];
  /** A notification of the child that is not about one call. */
  onNotification(notification: RpcNotification): void;
  /** A request of the child, other than ping. */
  onChildRequest(request: RpcRequest, link: Link): void;
  /** The child is lost, or about to be replaced; the calls in flight are settled next. */
  onLost(error: ProxyError): void;
  /** The number of pending requests changed. */
  onPending(): void;
}

const MAX_REASON_CHARS = 1_000; // why a client cancels: the room that cancellations have at a slow child is not for more
const NEWLINE = Buffer.from('\n');
// What is noted is shown to everybody when the child fails, and these may hold what is one client's alone.
const STRAY = Buffer.from('(an answer that nobody waits for)\n');
const NO_MESSAGE = Buffer.from('(a batch with something in it that is no message)\n');
const MEMBER = '"jsonrpc"'; // a line that has this was meant to be a message

export class Relay {
  readonly #name: string;
  readonly #world: World;
  readonly #events: RelayEvents;
  /** In the order in which they were written, or became tombstones. Few enough for a list; see `Deadlines` for why. */
  readonly #calls: Call[] = [];
  readonly #subscribed = new Map<number, Subscribed>();
  readonly #waiting = new Map<Exchange, { readonly request: RpcRequest; readonly deadline: Deadline }>();
  /** Requests that wait for something else than their own answer, and the bytes kept for them: see `park`. */
  readonly #parked = new Map<Exchange, { readonly request: RpcRequest; bytes: number }>();
  /** Of all requests that are kept to be sent later, or once more. */
  #keptBytes = 0;
  /** How many of the calls are of clients that wait. */
  #inFlight = 0;
  #blurredUntil = 0; // tombstones were forgotten early: until then nobody can be told apart
  /** Callers that a question waits for, and how many do. */
  readonly #thinking = new Map<Caller, number>();
  /** The only caller that this process has ever served, while there is only one. */
  #served: Caller | 'many' | undefined;
  #link: Link | undefined;
  #drain: { readonly deadline: Deadline; readonly end: number; readonly error: ProxyError; readonly done: () => void } | undefined;

  constructor(name: string, world: World, events: RelayEvents) {
    this.#name = name;
    this.#world = world;
    this.#events = events;
  }

  /** Requests of clients that have no answer yet, those that wait for a start included. */
  get pending(): number {
    return this.#waiting.size + this.#inFlight + this.#parked.size;
  }

  /** Whether a child is connected, draining or not. */
  get connected(): boolean {
    return this.#link !== undefined;
  }

  /** Takes a request: writes it, lets it wait for the child, or refuses it. It is settled in any case. */
  dispatch(exchange: Exchange, request: RpcRequest): void {
    const { limits, deadlines } = this.#world;
    if (this.pending >= limits.maxPending) return exchange.settle(this.#busy('too many calls are in flight'));
    // The child gets a short one in its place, so that nothing else bounds it.
    if (exchange.idText.length > limits.maxIdBytes) return exchange.settle(new ProxyError('invalid_request', `Invalid Request: an id may have ${limits.maxIdBytes} bytes`));
    if (this.#link !== undefined && this.#drain === undefined) return this.#forward(exchange, request, this.#link);
    if (!this.#hasRoomFor(request.raw.length)) return exchange.settle(this.#busy('too much waits'));
    const deadline = deadlines.add(limits.startWaitMs, () => {
      this.#unwait(exchange);
      exchange.settle(new ProxyError('starting', `Server "${this.#name}" is still starting`));
      this.#events.onPending();
    });
    this.#waiting.set(exchange, { request, deadline });
    this.#keptBytes += request.raw.length;
    this.#events.onPending();
    const refusal = this.#events.onWanted();
    if (refusal !== undefined) this.refuse(refusal);
  }

  /** Nobody waits for this request any more. The child is told why; without a reason it goes on as if nothing had happened. */
  cancel(exchange: Exchange, reason?: string): void {
    const waited = (this.#unwait(exchange) ?? this.#unpark(exchange)) !== undefined;
    const call = this.#calls.find((call) => call.exchange === exchange && !call.gone);
    if (call !== undefined) this.#abandon(call, reason);
    if (waited || call !== undefined) this.#events.onPending();
    this.#checkDrained();
  }

  /** Passes a client's notification on, if the child runs; it never waits. `caller`: who that is. @throws ProxyError `busy` */
  notify(notification: RpcNotification, caller = HOUSE): void {
    const written = this.#link?.write(oneLine(splice(notification.raw, this.#events.onWrite(notification, caller))));
    if (written === false) throw this.#busy('it does not read what it is sent');
    if (written === true) this.#serves(caller);
  }

  /**
   * A request of the proxy itself to the running child. `onAnswer` is called once, with what the child wrote. `caller`:
   * for whose sake; what the child says meanwhile may be about them.
   */
  ask(method: string, params: unknown, onAnswer: (answer: Outcome) => void = () => {}, caller = HOUSE): void {
    let call: Buffer;
    try {
      call = encodeCall(method, params, 0);
    } catch {
      return onAnswer(new ProxyError('invalid_params', 'Invalid params: nested too deeply')); // by a client
    }
    const request = readMessage(call, this.#world.limits) as RpcRequest;
    const exchange = { idText: request.idText, caller, streams: false, notify() {}, settle: onAnswer };
    if (this.#link === undefined) onAnswer(this.#busy('it is not running'));
    else this.#write(exchange, request, this.#link, undefined, true);
  }

  /**
   * Opens a subscription at a modern child, for as long as that runs; `caller` says for whom. The result ends it. It is
   * no call: it has no deadline, and no drain waits for it.
   */
  listen(request: RpcRequest, caller: Caller, subscribed: Subscribed): () => void {
    const link = this.#link;
    if (link === undefined) return () => {};
    const id = link.nextId();
    if (link.write(this.#addressed(request, caller, id))) this.#subscribed.set(id, subscribed);
    else subscribed.ended(this.#busy('it does not read what it is sent'));
    return () => {
      if (this.#subscribed.get(id) !== subscribed) return; // of another process, perhaps
      this.#subscribed.delete(id);
      link.write(encodeCall('notifications/cancelled', { requestId: id }), true);
    };
  }

  /**
   * Keeps and counts a request that waits for something else than its own answer, until `unpark`; `more`: bytes that are
   * kept beside it. `false`: it is settled, as too much waits.
   */
  park(exchange: Exchange, request: RpcRequest, more = 0): boolean {
    this.#parked.set(exchange, { request, bytes: 0 });
    if (this.keep(exchange, request.raw.length + more)) return true;
    this.#unpark(exchange);
    exchange.settle(this.#busy('too much waits'));
    return false;
  }

  /** Counts what else is kept for such a request. `false`: it must not be. */
  keep(exchange: Exchange, bytes: number): boolean {
    const parked = this.#parked.get(exchange);
    if (parked === undefined || !this.#hasRoomFor(bytes)) return false;
    parked.bytes += bytes;
    this.#keptBytes += bytes;
    return true;
  }

  /** The request, which waits no longer; `undefined`: its client has left meanwhile. */
  unpark(exchange: Exchange): RpcRequest | undefined {
    const request = this.#unpark(exchange);
    if (request === undefined) return undefined;
    this.#events.onPending();
    if (this.#drain !== undefined) queueMicrotask(() => this.#checkDrained()); // whoever took it back may have more to do with it
    return request;
  }

  /** Forwards the request of a client once more, after what it waited for (`park`). */
  forward(exchange: Exchange, request: RpcRequest, tap: Tap): void {
    if (this.#link === undefined) return exchange.settle(this.#busy('it is not running'));
    this.#write(exchange, request, this.#link, tap);
    this.#events.onPending();
  }

  /** What the child said to a request, if that can be read. */
  answerIn(outcome: Outcome): RpcResponse | undefined {
    const response = outcome instanceof ProxyError ? undefined : readMessage(outcome, this.#world.limits);
    return response?.kind === 'response' ? response : undefined;
  }

  /** The child runs: after `first`, whoever waits is served, in order of arrival. */
  connect(link: Link, first: () => void): void {
    this.#link = link;
    first();
    for (const exchange of [...this.#waiting.keys()]) {
      if (this.#link !== link) return; // lost again: the rest goes on waiting
      const request = this.#unwait(exchange);
      if (request !== undefined) this.#forward(exchange, request, link);
    }
  }

  /** The child is lost: every call in flight is answered, once, and nothing of it is tried again. */
  down(error: ProxyError): void {
    if (this.#link !== undefined) this.#events.onLost(error); // first, on the streams that the answers are about to end
    this.#link = undefined;
    this.#subscribed.clear();
    const drain = this.#drain;
    this.#drain = undefined;
    drain?.deadline.cancel();
    for (const call of [...this.#calls]) {
      this.#close(call);
      if (!call.gone) call.exchange.settle(error);
    }
    this.#served = undefined; // the next process has served nobody, and may ask before its handshake is done
    this.#blurredUntil = 0;
    this.#events.onPending();
    drain?.done();
  }

  /** Those who wait for the child need not any more. */
  refuse(error: ProxyError): void {
    for (const exchange of [...this.#waiting.keys()]) if (this.#unwait(exchange) !== undefined) exchange.settle(error);
    this.#events.onPending();
  }

  /**
   * Lets the calls in flight finish while new ones wait. After `ms`, what has not finished is answered with `error`.
   * Called again, the shorter time counts.
   */
  drain(ms: number, error: ProxyError, done: () => void): void {
    const { clock, deadlines } = this.#world;
    const end = Math.min(clock.now() + ms, this.#drain?.end ?? Infinity);
    this.#drain?.deadline.cancel();
    this.#drain = { deadline: deadlines.add(end - clock.now(), () => this.down(error)), end, error, done };
    this.#checkDrained();
  }

  /** One line of the child, in parts. What is no message goes to its tail; nothing a child writes ends anything. */
  receive(parts: readonly Buffer[]): void {
    const link = this.#link;
    if (link === undefined || (parts.length > 1 && this.#passesOn(parts))) return;
    const line = joined(parts);
    const id = answerId(line);
    const call = id && this.#callOf(id.id);
    if (id !== undefined && call !== undefined && isUtf8(line)) {
      // A modern client's result is about to be completed: what that needs is read in the pass that judges it.
      const result = call.exchange.caller.era === 'modern' && !id.isError ? resultLayoutOf(line, id.value, MAX_MEMBERS) : undefined;
      if (result !== undefined || line.length >= BIG_BYTES || isValue(line, id.value)) return this.#answer(call, line, id, result);
    }
    const message = readMessage(line, this.#world.limits);
    if (message.kind === 'malformed') {
      return link.note(line.includes(MEMBER) ? Buffer.from(`(a message that cannot be read: ${message.detail})\n`) : Buffer.concat([line, NEWLINE]));
    }
    for (const each of message.kind === 'batch' ? message.messages : [message]) {
      if (each.kind === 'malformed') link.note(NO_MESSAGE);
      else this.take(each, link);
    }
  }

  /**
   * A big answer that nobody here has to read goes on in the parts in which it came, and is never copied together.
   * `false`: this is none.
   */
  #passesOn(parts: readonly Buffer[]): boolean {
    const [first, ...more] = parts as [Buffer, ...Buffer[]];
    const id = bytesOf(parts) < parts.length * BIG_BYTES ? undefined : answerId(first, more.at(-1));
    const call = id && this.#callOf(id.id);
    if (id === undefined || call === undefined || call.own || call.tap !== undefined) return false;
    if (!this.#events.goesOn(call.exchange, call.method) || !areUtf8(parts)) return false;
    this.#close(call);
    if (call.gone) return true;
    const { at, end } = id;
    call.exchange.settle([...spliceParts(first, [{ at, end, text: call.exchange.idText }]), ...more]);
    this.#events.onPending();
    this.#checkDrained();
    return true;
  }

  /** One message of the child; `link` is who sent it. */
  take(message: RpcMessage, link: Link): void {
    switch (message.kind) {
      case 'request':
        if (message.method === 'ping') link.write(encodeResult(message.idText, {}), true);
        else this.#events.onChildRequest(message, link);
        return;
      case 'notification':
        if (message.method === 'notifications/progress') this.#progress(message);
        else if (!this.#isSubscribed(message)) this.#events.onNotification(message);
        return;
      case 'response': {
        const id = typeof message.id === 'number' ? message.id : NaN; // nobody's
        const call = this.#callOf(id);
        if (call !== undefined) this.#answer(call, message.raw, memberOf(message.layout.top, 'id') as Span);
        else if (!this.#unsubscribed(id, message)) link.note(STRAY);
      }
    }
  }

  /**
   * Whose work a message of the child can be about: the callers of all calls that it has not answered, gone ones
   * included, because servers go on working on a cancelled call. `blurred`: the list may lack somebody.
   */
  candidates(concerns = (_exchange: Exchange): boolean => true): { readonly callers: ReadonlyMap<Caller, Exchange | 'gone'>; readonly blurred: boolean; readonly sole: Caller | undefined } {
    const callers = new Map<Caller, Exchange | 'gone'>();
    for (const { exchange, gone } of this.#calls) {
      if (exchange.caller === HOUSE || !concerns(exchange)) continue;
      if (!gone) callers.set(exchange.caller, exchange);
      else if (!callers.has(exchange.caller)) callers.set(exchange.caller, 'gone');
    }
    const sole = this.#served === 'many' || this.#served?.holder === SIMPLE || this.#served?.era === 'modern' ? undefined : this.#served;
    return { callers, blurred: this.#world.clock.now() < this.#blurredUntil, sole };
  }

  /** A question waits for this caller: its calls are not silent, they wait for their own client. */
  suspend(caller: Caller): void {
    this.#thinking.set(caller, (this.#thinking.get(caller) ?? 0) + 1);
    this.#patient(caller);
  }

  /** One question less waits for this caller. */
  resume(caller: Caller): void {
    const left = (this.#thinking.get(caller) ?? 1) - 1;
    if (left > 0) return void this.#thinking.set(caller, left);
    this.#thinking.delete(caller);
    this.#patient(caller);
  }

  #patient(caller: Caller): void {
    for (const call of this.#calls) if (call.exchange.caller === caller && !call.gone) call.deadline?.restart(this.#patience(call));
  }

  /** Takes a request out of those that wait. */
  #unwait(exchange: Exchange): RpcRequest | undefined {
    const waiting = this.#waiting.get(exchange);
    if (waiting === undefined) return undefined;
    waiting.deadline.cancel();
    this.#waiting.delete(exchange);
    this.#keptBytes -= waiting.request.raw.length;
    return waiting.request;
  }

  #unpark(exchange: Exchange): RpcRequest | undefined {
    const parked = this.#parked.get(exchange);
    this.#parked.delete(exchange);
    this.#keptBytes -= parked?.bytes ?? 0;
    return parked?.request;
  }

  /** Whether a request may be kept; one alone always. */
  #hasRoomFor(bytes: number): boolean {
    return this.#keptBytes === 0 || this.#keptBytes + bytes <= this.#world.limits.maxKeptBytes;
  }

  #busy(why: string): ProxyError {
    return new ProxyError('busy', `Server "${this.#name}" is busy: ${why}`);
  }

  #forward(exchange: Exchange, request: RpcRequest, link: Link): void {
    try {
      const handling = this.#events.onRequest(exchange, request);
      if (handling !== 'handled') this.#write(exchange, request, link, handling === 'forward' ? undefined : handling);
    } catch (thrown) {
      exchange.settle(this.#refusal(thrown));
    }
    this.#events.onPending();
  }

  /** What a request ends with that met this on its way; a bug costs nobody else anything. */
  #refusal(thrown: unknown): ProxyError {
    const error = asProxyError(thrown);
    if (error.reason === 'internal') this.#world.log.error(this.#name, 'internal', `internal error at a request: ${traceOf(error.cause)}`);
    return error;
  }

  #write(exchange: Exchange, request: RpcRequest, link: Link, tap?: Tap, own = false): void {
    const { clock, limits, deadlines } = this.#world;
    if (tap !== undefined && !this.#hasRoomFor(request.raw.length)) return exchange.settle(this.#busy('too much waits'));
    const now = clock.now();
    const call: Call = {
      id: link.nextId(),
      method: request.method,
      exchange,
      own,
      tap,
      kept: tap === undefined ? 0 : request.raw.length,
      tokenText: tokenTextOf(request, limits.maxIdBytes),
      hardEnd: now + limits.requestHardCapMs,
      deadline: undefined,
      gone: false,
    };
    if (!link.write(this.#addressed(request, exchange.caller, call.id))) {
      return exchange.settle(this.#busy('it does not read what it is sent'));
    }
    call.deadline = deadlines.add(this.#patience(call, now), () => this.#timedOut(call));
    this.#calls.push(call);
    this.#keptBytes += call.kept;
    if (!own) this.#inFlight++;
    this.#serves(exchange.caller);
  }

  /** The child has something of this caller, and may ask about it at any time. */
  #serves(caller: Caller): void {
    if (caller !== HOUSE) this.#served = this.#served === undefined || this.#served === caller ? caller : 'many';
  }

  /** The request in the child's words, under an id of its own. */
  #addressed(request: RpcRequest, caller: Caller, id: number): Buffer | Buffer[] {
    const text = String(id);
    const { top, meta, isOneLine } = request.layout;
    const { at, end } = memberOf(top, 'id') as Span;
    const token = memberOf(meta, 'progressToken');
    const edits = [{ at, end, text }, ...this.#events.onWrite(request, caller)]; // mostly in this order
    if (token !== undefined) edits.push({ at: token.at, end: token.end, text });
    const raw = isOneLine ? request.raw : oneLine(request.raw);
    return raw.length < BIG_BYTES ? splice(raw, edits) : spliceParts(raw, edits);
  }

  #callOf(id: number): Call | undefined {
    for (const call of this.#calls) if (call.id === id) return call;
    return undefined;
  }

  /** Forgets a call. */
  #close(call: Call): void {
    call.deadline?.cancel();
    const at = this.#calls.indexOf(call);
    if (at === -1) return;
    this.#calls.splice(at, 1);
    if (call.gone) return;
    this.#keptBytes -= call.kept;
    if (!call.own) this.#inFlight--;
  }

  #answer(call: Call, raw: Buffer, { at, end }: Span, result?: ResultLayout): void {
    this.#close(call);
    if (call.gone) return; // too late, nobody waits
    const { exchange, method, tap, own } = call;
    let answer: ReturnType<RelayEvents['onAnswer']> | undefined;
    try {
      if (own) answer = [raw];
      else if (tap?.(raw) !== 'held') answer = this.#events.onAnswer(exchange, method, raw, { at, end, text: exchange.idText }, result);
    } catch (thrown) {
      answer = [this.#refusal(thrown)];
    }
    if (answer !== undefined) exchange.settle(...answer); // whatever that throws, it is not called again
    this.#events.onPending();
    this.#checkDrained();
  }

  /** Whether a notification belongs to a subscription, which then has it. */
  #isSubscribed(message: RpcNotification): boolean {
    const tag = memberOf(message.layout.meta, META.subscriptionId);
    if (tag !== undefined) {
      this.#subscribed.get(Number(textOf(message.raw, tag)))?.heard(message, tag);
      return true;
    }
    const id = message.method === 'notifications/cancelled' ? memberOf(message.layout.params, 'requestId') : undefined;
    return id !== undefined && this.#unsubscribed(Number(textOf(message.raw, id)));
  }

  /** The child has ended a subscription; `false`: there is none of this id. */
  #unsubscribed(id: number, answer?: RpcResponse): boolean {
    const subscribed = this.#subscribed.get(id);
    this.#subscribed.delete(id);
    subscribed?.ended(answer);
    return subscribed !== undefined;
  }

  #progress(message: RpcNotification): void {
    const token = memberOf(message.layout.params, 'progressToken');
    const call = token === undefined ? undefined : this.#callOf(Number(textOf(message.raw, token)));
    if (token === undefined || call === undefined || call.gone || call.tokenText === undefined) return; // settled, or not ours
    call.deadline?.restart(this.#patience(call));
    const text = call.exchange.progressToken === undefined ? call.tokenText : call.exchange.progressToken();
    if (text !== undefined) call.exchange.notify(splice(message.raw, [{ at: token.at, end: token.end, text }]));
  }

  /** How long a call may be silent from now on, in milliseconds. */
  #patience(call: Call, now = this.#world.clock.now()): number {
    const { limits } = this.#world;
    const left = call.hardEnd - now;
    return limits.requestTimeoutMs === 0 || this.#thinking.has(call.exchange.caller) ? left : Math.min(limits.requestTimeoutMs, left);
  }

  #timedOut(call: Call): void {
    const { clock, limits } = this.#world;
    const ms = call.hardEnd <= clock.now() ? limits.requestHardCapMs : limits.requestTimeoutMs;
    this.#abandon(call, 'timed out');
    call.exchange.settle(new ProxyError('timeout', `Request timed out after ${ms} ms`));
    this.#events.onPending();
    this.#checkDrained();
  }

  /** Nobody waits for this call any more: its late answer will be dropped. */
  #abandon(call: Call, reason: string | undefined): void {
    const { clock, limits, deadlines } = this.#world;
    if (reason !== undefined) this.#link?.write(encodeCall('notifications/cancelled', { requestId: call.id, reason: reason.slice(0, MAX_REASON_CHARS) }), true);
    this.#close(call);
    call.gone = true;
    call.tap = undefined;
    this.#calls.push(call);
    call.deadline = deadlines.add(limits.tombstoneMs, () => this.#close(call));
    const tombstones = this.#calls.filter(({ gone }) => gone);
    if (tombstones.length <= limits.maxPending) return;
    this.#close(tombstones[0] as Call);
    this.#blurredUntil = clock.now() + limits.tombstoneMs;
  }

  #checkDrained(): void {
    if (this.#drain !== undefined && this.#inFlight + this.#parked.size === 0) this.down(this.#drain.error);
  }
}

/** The progress token of a request as it was written; none where it is longer than what is kept of one. */
export function tokenTextOf({ raw, layout }: RpcRequest, maxBytes: number): string | undefined {
  const token = memberOf(layout.meta, 'progressToken');
  return token === undefined || token.end - token.at > maxBytes ? undefined : textOf(raw, token);
}
