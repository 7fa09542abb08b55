// Who hears what a child says of its own accord: change notifications, resource updates, log lines. It owns the
// listeners of one server, the resource subscriptions held at its child, and the log levels (B.6, B.7).

import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import { sameCapabilities, type Profile } from '../protocol/legacy.ts';
import { LIST_CHANGED, severityOf } from '../protocol/methods.ts';
import { oneLine } from '../wire/envelope.ts';
import { encodeCall, encodeResult, paramsOf, withId, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import { encodeEvent } from '../wire/sse.ts';
import { SIMPLE, type Exchange } from './exchange.ts';
import type { Outcome, Relay, Tap } from './relay.ts';

/** One reader of what a server sends of its own accord: a session, or the open stream of a simple client. */
export interface Listener {
  /** Whose log level and resource subscriptions it shares. */
  readonly holder: object;
  /** Takes one message; `frame` is the same as a `message` event, built once for all. */
  hear(message: Buffer, frame: Buffer): void;
  /** The server failed. */
  failed(error: string): void;
  /** Whether a stream is open that keeps the server awake. */
  readonly open: boolean;
  /** The server has stopped for good. */
  onServerEnd(): void;
}

interface Level {
  readonly name: string;
  readonly severity: number;
}

export class Subscriptions {
  readonly #name: string;
  readonly #world: World;
  readonly #relay: Relay;
  readonly #owned: boolean;
  readonly #listeners = new Set<Listener>();
  /** Resource URIs subscribed at the child, and for whom. */
  readonly #held = new Map<string, Set<object>>();
  /** Requests that wait for the answer to the first one for the same URI. */
  readonly #subscribing = new Map<string, Map<Exchange, RpcRequest>>();
  readonly #levels = new Map<object, Level>();
  /** What the running child was told. */
  #childSeverity = Infinity;

  /** `owned`: there is one client, and everything is for it. */
  constructor(name: string, world: World, relay: Relay, owned: boolean) {
    this.#name = name;
    this.#world = world;
    this.#relay = relay;
    this.#owned = owned;
  }

  /** Whether a stream is open that keeps the server awake. */
  get awake(): boolean {
    for (const listener of this.#listeners) if (listener.open) return true;
    return false;
  }

  /** Adds a reader until `delete`, or until the server ends. */
  add(listener: Listener): void {
    this.#listeners.add(listener);
  }

  /** A reader has gone. With a session go its level and its resources; simple clients share theirs. */
  delete(listener: Listener): void {
    this.#listeners.delete(listener);
    const { holder } = listener;
    if (holder === SIMPLE) return;
    this.#levels.delete(holder);
    for (const uri of [...this.#held.keys()]) if (this.#drop(uri, holder)) this.#relay.ask('resources/unsubscribe', { uri });
  }

  /** A notification of the child that is not about one call. */
  hear(notification: RpcNotification): void {
    const { method, raw } = notification;
    if (method === 'notifications/message') return this.#log(notification);
    if (method === 'notifications/resources/updated') return this.#updated(notification);
    if (Object.values(LIST_CHANGED).includes(method)) return this.#broadcast(raw);
    // About one task, one elicitation or one request: whose, only a process with one client knows.
    const bound = !this.#owned && notification.layout.params.some(({ name }) => name === 'progressToken' || name === 'taskId' || name === 'uri');
    if (!bound && (this.#owned || method !== 'notifications/tasks/status')) return this.#broadcast(raw);
    this.tell(notification, undefined);
  }

  /** A notification that is for one client only, if it is known. */
  tell({ method, raw }: RpcNotification, to: object | undefined): void {
    if (to !== undefined) return this.#broadcast(raw, ({ holder }) => holder === to);
    this.#world.log.debug(this.#name, 'unclaimed', `${method} of the server belongs to no client`);
  }

  /** The server failed. */
  failed(error: string): void {
    for (const listener of [...this.#listeners]) listener.failed(error);
  }

  /** The server has stopped for good: every reader is told, and its stream ends. */
  close(): void {
    this.forget();
    for (const listener of [...this.#listeners]) listener.onServerEnd();
    this.#listeners.clear();
  }

  /** Sessions end, because what they were opened on is not there any more; simple streams go on. */
  evict(): void {
    for (const listener of [...this.#listeners]) if (listener.holder !== SIMPLE) listener.onServerEnd();
  }

  /** The child has stopped because nobody was there, and with it what simple clients asked it to watch. */
  forget(): void {
    for (const [uri, holders] of this.#held) {
      holders.delete(SIMPLE);
      if (holders.size === 0) this.#held.delete(uri);
    }
  }

  /**
   * A child runs: it is brought to where its predecessor was, and readers learn that its lists may be others.
   * `before` is the predecessor, `idle` whether it had only been idle.
   */
  restore(profile: Profile, before: Profile | undefined, idle: boolean): void {
    this.#childSeverity = Infinity;
    for (const level of this.#levels.values()) this.#tellLevel(level, profile);
    for (const uri of this.#held.keys()) {
      this.#relay.ask('resources/subscribe', { uri }, (answer) => {
        if (answer === 'error') this.#held.delete(uri);
      });
    }
    if (before === undefined) return;
    if (idle && sameCapabilities(before, profile)) return;
    for (const [capability, method] of Object.entries(LIST_CHANGED)) {
      if (capability in profile.capabilities || capability in before.capabilities) this.#broadcast(encodeCall(method, undefined));
    }
  }

  /** `logging/setLevel`: what one holder hears is filtered here; the child is told the most verbose of all. */
  setLevel(exchange: Exchange, request: RpcRequest, profile: Profile): void {
    const name = paramsOf(request)['level'];
    const severity = severityOf(name);
    if (!('logging' in profile.capabilities)) {
      return exchange.settle(new ProxyError('method_not_found', `Method not found: ${request.method}`));
    }
    if (severity === undefined) return exchange.settle(new ProxyError('invalid_params', 'Invalid params: unknown log level'));
    const level = { name: name as string, severity };
    this.#levels.set(exchange.caller.holder, level);
    this.#tellLevel(level, profile);
    exchange.settle(encodeResult(exchange.idText, {}));
  }

  /** `resources/subscribe`: the child is asked once for each URI, and those who ask meanwhile share its answer. */
  subscribe(exchange: Exchange, request: RpcRequest): 'handled' | Tap {
    const uri = uriOf(exchange, request);
    if (uri === undefined) return 'handled';
    const { holder } = exchange.caller;
    const asking = this.#subscribing.get(uri);
    const { maxSubscriptions } = this.#world.limits;
    const held = this.#held.get(uri);
    if (held !== undefined) {
      held.add(holder);
      exchange.settle(encodeResult(exchange.idText, {}));
    } else if (asking !== undefined) {
      asking.set(exchange, request);
      this.#relay.park(exchange);
    } else if (this.#held.size + this.#subscribing.size >= maxSubscriptions) {
      exchange.settle(new ProxyError('busy', `Server "${this.#name}" is busy: ${maxSubscriptions} resources are subscribed`));
    } else {
      this.#subscribing.set(uri, new Map());
      return (outcome) => this.#subscribed(uri, holder, outcome);
    }
    return 'handled';
  }

  /** `resources/unsubscribe`: the child is told when the last holder leaves. */
  unsubscribe(exchange: Exchange, request: RpcRequest): 'handled' | 'forward' {
    const uri = uriOf(exchange, request);
    if (uri === undefined) return 'handled';
    if (this.#drop(uri, exchange.caller.holder)) return 'forward';
    exchange.settle(encodeResult(exchange.idText, {}));
    return 'handled';
  }

  /** The first request for a URI has its answer: so have the others. If its client has left, the next one asks again. */
  #subscribed(uri: string, first: object, outcome: Outcome | 'cancelled'): void {
    const sharing = this.#subscribing.get(uri) ?? new Map<Exchange, RpcRequest>();
    const next = outcome === 'cancelled' ? [...sharing].find(([exchange]) => this.#relay.unpark(exchange)) : undefined;
    if (next !== undefined) {
      sharing.delete(next[0]);
      return this.#relay.forward(next[0], next[1], (again) => this.#subscribed(uri, next[0].caller.holder, again));
    }
    this.#subscribing.delete(uri);
    if (outcome === 'cancelled' || outcome instanceof ProxyError) this.#relay.ask('resources/unsubscribe', { uri }); // it may have begun
    if (outcome === 'cancelled') return;
    const holders = new Set([first]);
    if (this.#relay.answerIn(outcome) === 'result') this.#held.set(uri, holders);
    for (const each of sharing.keys()) {
      if (!this.#relay.unpark(each)) continue;
      holders.add(each.caller.holder);
      each.settle(outcome instanceof ProxyError ? outcome : withId(outcome, each.idText));
    }
  }

  /** Whether that was the last holder, so that the child has to be told. */
  #drop(uri: string, holder: object): boolean {
    const holders = this.#held.get(uri);
    if (holders?.delete(holder) !== true || holders.size > 0) return false;
    return this.#held.delete(uri);
  }

  /** A log line names no request: it goes to the one caller it can be about, else to all or to nobody. */
  #log(notification: RpcNotification): void {
    const severity = severityOf(paramsOf(notification)['level']);
    const { callers, blurred } = this.#relay.candidates();
    const wanting = ({ holder }: { holder: object }): boolean => this.#wants(holder, severity);
    const [[only, exchange] = []] = callers;
    if (only !== undefined && callers.size === 1 && !blurred) {
      if (!wanting(only)) return;
      if (exchange !== undefined && exchange !== 'gone' && exchange.streams) return exchange.notify(notification.raw);
      return this.#broadcast(notification.raw, ({ holder }) => holder === only.holder);
    }
    if (blurred || [...callers.keys()].some(({ holder }) => holder !== SIMPLE)) {
      return this.#world.log.debug(this.#name, 'unclaimed', 'a log line of the server may be about one of several clients');
    }
    this.#broadcast(notification.raw, (listener) => wanting(listener) && (callers.size === 0 || listener.holder === SIMPLE));
  }

  /** To whoever holds the resource, or one that it is part of; simple streams always hear it. */
  #updated(notification: RpcNotification): void {
    const { uri } = paramsOf(notification);
    const holders = new Set<object>([SIMPLE]);
    for (const [held, by] of this.#held) if (isWithin(String(uri), held)) for (const holder of by) holders.add(holder);
    this.#broadcast(notification.raw, ({ holder }) => holders.has(holder));
  }

  /** Whether a holder's level lets a line through. Without a level it is what the child would send by default. */
  #wants(holder: object, severity: number | undefined): boolean {
    const least = this.#levels.get(holder)?.severity ?? (this.#childSeverity < INFO ? INFO : 0);
    return severity === undefined || severity >= least;
  }

  /** Tells the child a level that is more verbose than what it has: each listener is filtered here. */
  #tellLevel({ name, severity }: Level, profile: Profile): void {
    if (severity >= this.#childSeverity || !('logging' in profile.capabilities)) return;
    this.#childSeverity = severity;
    this.#relay.ask('logging/setLevel', { level: name }); // refused: the filter still works
  }

  #broadcast(message: Buffer, to = (_listener: Listener): boolean => true): void {
    if (this.#listeners.size === 0) return;
    const line = oneLine(message);
    const frame = encodeEvent('message', line);
    for (const listener of [...this.#listeners]) if (to(listener)) listener.hear(line, frame);
  }
}

const INFO = 1;

/** Whether a resource is the held one or, as servers may report, a sub-resource of it. */
function isWithin(uri: string, held: string): boolean {
  if (!uri.startsWith(held)) return false;
  return uri.length === held.length || held.endsWith('/') || /^[/?#]/.test(uri.slice(held.length));
}

function uriOf(exchange: Exchange, request: RpcRequest): string | undefined {
  const { uri } = paramsOf(request);
  if (typeof uri === 'string') return uri;
  exchange.settle(new ProxyError('invalid_params', 'Invalid params: "uri" must be a string'));
  return undefined;
}
