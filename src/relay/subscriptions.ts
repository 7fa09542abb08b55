// Who hears what a child says of its own accord: change notifications, resource updates, log lines. It owns the
// open streams of one server, the resource subscriptions held at its child, and the log level (B.6, B.7).

import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import { sameCapabilities, type Profile } from '../protocol/legacy.ts';
import { LIST_CHANGED, severityOf } from '../protocol/methods.ts';
import { oneLine } from '../wire/envelope.ts';
import { encodeCall, encodeResult, paramsOf, withId, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import { encodeEvent } from '../wire/sse.ts';
import type { Exchange } from './exchange.ts';
import type { Outcome, Relay, Tap } from './relay.ts';

/** One reader of everything that a server sends. */
export interface Listener {
  /** Takes one encoded event. */
  write(frame: Buffer): void;
  end(): void;
}

export class Subscriptions {
  readonly #name: string;
  readonly #world: World;
  readonly #relay: Relay;
  readonly #listeners = new Set<Listener>();
  readonly #held = new Set<string>();
  /** Requests that wait for the answer to the first one for the same URI. */
  readonly #subscribing = new Map<string, Map<Exchange, RpcRequest>>();
  /** What simple clients asked for; they have no session, so they share one. */
  #level: { readonly name: string; readonly severity: number } | undefined;
  /** What the running child was told. */
  #childSeverity = Infinity;

  constructor(name: string, world: World, relay: Relay) {
    this.#name = name;
    this.#world = world;
    this.#relay = relay;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** Adds a reader until `delete`, or until the server ends. */
  add(listener: Listener): void {
    this.#listeners.add(listener);
  }

  delete(listener: Listener): void {
    this.#listeners.delete(listener);
  }

  /** A notification of the child that is not about one call. */
  hear(notification: RpcNotification): void {
    const { method } = notification;
    if (method === 'notifications/message') return this.#log(notification);
    if (method === 'notifications/resources/updated' || Object.values(LIST_CHANGED).includes(method)) {
      return this.#broadcast(encodeEvent('message', oneLine(notification.raw)));
    }
    const bound = notification.layout.params.some(({ name }) => name === 'progressToken' || name === 'taskId' || name === 'uri');
    // About one task, one elicitation or one request of somebody: a simple client has none of them.
    if (bound || method === 'notifications/elicitation/complete' || method === 'notifications/cancelled') {
      return this.#world.log.debug(this.#name, 'unclaimed', `${method} of the server belongs to no client`);
    }
    this.#broadcast(encodeEvent('message', oneLine(notification.raw)));
  }

  /** The server failed. */
  failed(error: string): void {
    this.#broadcast(encodeEvent('error', JSON.stringify({ error })));
  }

  /** The server has stopped for good: every reader is told, and its stream ends. */
  close(): void {
    this.forget();
    this.#broadcast(encodeEvent('close', '{}'));
    for (const listener of [...this.#listeners]) listener.end();
    this.#listeners.clear();
  }

  /** The child has stopped, and with it what it was asked to watch. */
  forget(): void {
    this.#held.clear();
  }

  /**
   * A child runs: it is brought to where its predecessor was, and readers learn that its lists may be others.
   * `before` is the predecessor, `idle` whether it had only been idle.
   */
  restore(profile: Profile, before: Profile | undefined, idle: boolean): void {
    this.#childSeverity = Infinity;
    this.#tellLevel(profile);
    for (const uri of this.#held) {
      this.#relay.ask('resources/subscribe', { uri }, (answer) => {
        if (answer === 'error') this.#held.delete(uri);
      });
    }
    if (before === undefined) return;
    if (idle && sameCapabilities(before, profile)) return;
    for (const [capability, method] of Object.entries(LIST_CHANGED)) {
      if (!(capability in profile.capabilities) && !(capability in before.capabilities)) continue;
      this.#broadcast(encodeEvent('message', encodeCall(method, undefined)));
    }
  }

  /** `logging/setLevel`: one level for all simple clients; each stream is filtered here. */
  setLevel(exchange: Exchange, request: RpcRequest, profile: Profile): void {
    const { idText, method } = request;
    const name = paramsOf(request)['level'];
    const severity = severityOf(name);
    if (!('logging' in profile.capabilities)) return exchange.settle(new ProxyError('method_not_found', `Method not found: ${method}`));
    if (severity === undefined) return exchange.settle(new ProxyError('invalid_params', 'Invalid params: unknown log level'));
    this.#level = { name: name as string, severity };
    this.#tellLevel(profile);
    exchange.settle(encodeResult(idText, {}));
  }

  /** `resources/subscribe`: the child is asked once for each URI, and those who ask meanwhile share its answer. */
  subscribe(exchange: Exchange, request: RpcRequest): 'handled' | Tap {
    const uri = uriOf(exchange, request);
    if (uri === undefined) return 'handled';
    const asking = this.#subscribing.get(uri);
    const { maxSubscriptions } = this.#world.limits;
    if (this.#held.has(uri)) exchange.settle(encodeResult(exchange.idText, {}));
    else if (asking !== undefined) {
      asking.set(exchange, request);
      this.#relay.park(exchange);
    }
    else if (this.#held.size + this.#subscribing.size >= maxSubscriptions) {
      exchange.settle(new ProxyError('busy', `Server "${this.#name}" is busy: ${maxSubscriptions} resources are subscribed`));
    } else {
      this.#subscribing.set(uri, new Map());
      return (outcome) => this.#subscribed(uri, outcome);
    }
    return 'handled';
  }

  /** `resources/unsubscribe`: what is not held needs no child. */
  unsubscribe(exchange: Exchange, request: RpcRequest): 'handled' | 'forward' {
    const uri = uriOf(exchange, request);
    if (uri === undefined) return 'handled';
    if (this.#held.delete(uri)) return 'forward';
    exchange.settle(encodeResult(exchange.idText, {}));
    return 'handled';
  }

  /** The first request for a URI has its answer: so have the others. If its client has left, the next one asks again. */
  #subscribed(uri: string, outcome: Outcome | 'cancelled'): void {
    const sharing = this.#subscribing.get(uri) ?? new Map<Exchange, RpcRequest>();
    const next = outcome === 'cancelled' ? [...sharing].find(([exchange]) => this.#relay.unpark(exchange)) : undefined;
    if (next !== undefined) {
      sharing.delete(next[0]);
      return this.#relay.forward(next[0], next[1], (again) => this.#subscribed(uri, again));
    }
    this.#subscribing.delete(uri);
    if (outcome === 'cancelled') return;
    if (this.#relay.answerIn(outcome) === 'result') this.#held.add(uri);
    for (const each of sharing.keys()) {
      if (this.#relay.unpark(each)) each.settle(outcome instanceof ProxyError ? outcome : withId(outcome, each.idText));
    }
  }

  /** A log line names no request: it goes to the one caller it can be about, else to every stream. */
  #log(notification: RpcNotification): void {
    const severity = severityOf(paramsOf(notification)['level']);
    if (severity !== undefined && this.#level !== undefined && severity < this.#level.severity) return;
    const { callers, blurred } = this.#relay.candidates();
    const [only] = callers.values();
    if (callers.size === 1 && !blurred && only !== undefined && only !== 'gone' && only.streams) return only.notify(notification.raw);
    this.#broadcast(encodeEvent('message', oneLine(notification.raw)));
  }

  /** Tells the child the level when it is more verbose than what it has: each stream filters for itself. */
  #tellLevel(profile: Profile): void {
    if (this.#level === undefined || this.#level.severity >= this.#childSeverity || !('logging' in profile.capabilities)) return;
    this.#childSeverity = this.#level.severity;
    this.#relay.ask('logging/setLevel', { level: this.#level.name }); // refused: the filter still works
  }

  #broadcast(frame: Buffer): void {
    for (const listener of [...this.#listeners]) listener.write(frame);
  }
}

function uriOf(exchange: Exchange, request: RpcRequest): string | undefined {
  const uri = paramsOf(request)['uri'];
  if (typeof uri === 'string') return uri;
  exchange.settle(new ProxyError('invalid_params', 'Invalid params: "uri" must be a string'));
  return undefined;
}
