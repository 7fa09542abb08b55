// Who hears what a child says of its own accord: change notifications, resource updates, log lines. It owns the
// listeners of one server and the resource subscriptions held at its child (B.6).

import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import { sameCapabilities, type Profile } from '../protocol/legacy.ts';
import { declares, LIST_CHANGED, listChangedFilter, UPDATED } from '../protocol/methods.ts';
import { oneLine } from '../wire/envelope.ts';
import { encodeCall, encodeError, encodeResult, paramsOf, withId, wordOf, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import { encodeEvent } from '../wire/sse.ts';
import { SIMPLE, type Caller, type Exchange } from './exchange.ts';
import { LogLevels } from './log-levels.ts';
import type { Outcome, Relay } from './relay.ts';
import { Upstream } from './upstream.ts';

/** One reader of what a server sends of its own accord: a session, the open stream of a simple client, a modern `subscriptions/listen`. */
export interface Listener {
  /** Whose log level and resource subscriptions it shares. */
  readonly holder: object;
  /** The client, where it is one alone. */
  readonly caller?: Caller;
  /** The notifications that it hears; without it, all. */
  readonly only?: ReadonlySet<string>;
  /** Takes one message; `frame` is the same as a `message` event, built once for all. */
  hear(message: Buffer, frame: Buffer): void;
  /** The server failed. A session need not hear of it: it outlives the process, and its calls have their answers. */
  failed?(error: string): void;
  /** Whether a stream is open that keeps the server awake. */
  readonly open: boolean;
  /** The server has stopped for good. */
  onServerEnd?(): void;
}

/** Takes the child's answer to a subscription, and whether it watches the resource now. `false`: nobody is there any more. */
type Then = (answer: Outcome, watches: boolean) => boolean;

export class Subscriptions {
  readonly #name: string;
  readonly #world: World;
  readonly #relay: Relay;
  readonly #owned: boolean;
  /** What the listeners, and modern calls, want of the child's log. */
  readonly levels: LogLevels;
  readonly #listeners = new Set<Listener>();
  /** Resource URIs subscribed at the child, and for whom. */
  readonly #held = new Map<string, Set<object>>();
  /** Those who wait for the answer to the one request for a URI. */
  readonly #subscribing = new Map<string, { readonly holder: object; readonly then: Then }[]>();
  /** How many the child has been told to let go of and has not answered for. */
  #leaving = 0;
  /** Of the running child; `undefined` while there is none. */
  #profile: Profile | undefined;
  /** What is listened to at a modern child: each URI, and '' for the lists. */
  readonly #upstream: Upstream;

  /** `owned`: there is one client, and everything is for it. */
  constructor(name: string, world: World, relay: Relay, owned: boolean) {
    this.#name = name;
    this.#world = world;
    this.#relay = relay;
    this.#owned = owned;
    this.levels = new LogLevels(relay);
    this.#upstream = new Upstream(relay, world, (notification) => this.hear(notification));
  }

  /** Whether a stream is open that keeps the server awake. */
  get awake(): boolean {
    for (const listener of this.#listeners) if (listener.open) return true;
    return false;
  }

  /** Adds a reader until `delete`, or until the server ends. */
  add(listener: Listener): void {
    this.#listeners.add(listener);
    this.#listenToLists();
  }

  /** A reader has gone. With a session go its level and its resources; simple clients share theirs. */
  delete(listener: Listener): void {
    this.#listeners.delete(listener);
    this.#listenToLists();
    const { holder } = listener;
    if (holder === SIMPLE) return;
    this.levels.delete(holder);
    for (const uri of [...this.#held.keys()]) if (this.#drop(uri, holder)) this.#unsubscribe(uri, listener.caller);
  }

  /** A notification of the child that is not about one call. */
  hear(notification: RpcNotification): void {
    const { method } = notification;
    if (method === 'notifications/message') return this.#log(notification);
    if (method === UPDATED) return this.#updated(notification);
    if (Object.values(LIST_CHANGED).includes(method)) return this.#broadcast(notification);
    // About one task, one resource or one request: whose, only a process with one client knows.
    const isBound = method === 'notifications/tasks/status' || notification.layout.params.some(({ name }) => BINDING.has(name));
    if (this.#owned || !isBound) this.#broadcast(notification);
    else this.tell(notification, undefined);
  }

  /** A notification that is for one client only, if it is known. */
  tell(notification: RpcNotification, to: object | undefined): void {
    if (to !== undefined) return this.#broadcast(notification, (holder) => holder === to);
    this.#unclaimed(`${notification.method} of the server belongs to no client`);
  }

  /** The server failed. */
  failed(error: string): void {
    for (const listener of [...this.#listeners]) listener.failed?.(error);
  }

  /** The child is lost, and what the proxy listened to with it. */
  down(why: ProxyError): void {
    this.#profile = undefined;
    this.#upstream.down(why);
  }

  /** The server has stopped for good: every reader is told, and its stream ends. */
  close(): void {
    this.forget();
    for (const listener of [...this.#listeners]) listener.onServerEnd?.();
    this.#listeners.clear();
  }

  /** Sessions end, because what they were opened on is not there any more; simple streams go on. */
  evict(): void {
    for (const listener of [...this.#listeners]) if (listener.holder !== SIMPLE) listener.onServerEnd?.();
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
   * `before` is the predecessor, `idle` whether it had only been idle. Answers the notifications that they were sent.
   */
  restore(profile: Profile, before: Profile | undefined, idle: boolean): readonly string[] {
    this.#profile = profile;
    this.#listenToLists();
    this.levels.restore(profile);
    for (const [uri, holders] of this.#held) {
      this.#ask(uri, { uri }, (answer) => {
        const isRefused = this.#relay.answerIn(answer)?.error !== undefined;
        if (isRefused && this.#held.get(uri) === holders) this.#held.delete(uri); // they hold it still, and nobody asked anew
      });
    }
    if (before === undefined || (idle && sameCapabilities(before, profile))) return [];
    const changed = Object.entries(LIST_CHANGED).filter(([name]) => name in profile.capabilities || name in before.capabilities);
    for (const [, method] of changed) this.#broadcast({ method, raw: encodeCall(method, undefined) });
    return changed.map(([, method]) => method);
  }

  /** `resources/subscribe`: answered with what the child says, or at once where it has been asked before. */
  subscribe(exchange: Exchange, request: RpcRequest): void {
    const uri = uriOf(exchange, request);
    if (uri === undefined) return;
    if (!this.#relay.park(exchange, request)) return;
    this.hold(uri, exchange.caller, paramsOf(request), (answer) => {
      if (!this.#relay.unpark(exchange)) return false; // it has been cancelled
      exchange.settle(answer instanceof ProxyError ? answer : withId(answer, exchange.idText));
      return true;
    });
  }

  /**
   * Has the child watch a resource for a caller: it is asked once for each URI, and those who come meanwhile share its
   * answer. `then` is called once.
   */
  hold(uri: string, caller: Caller, params: unknown, then: Then): void {
    const { maxPending, maxSubscriptions, maxUriBytes } = this.#world.limits;
    const { holder } = caller;
    const held = this.#held.get(uri);
    const waiting = this.#subscribing.get(uri);
    if (held !== undefined) {
      if (then(DONE, true)) held.add(holder);
    } else if (waiting !== undefined && waiting.length < maxPending) waiting.push({ holder, then });
    else if (waiting !== undefined) then(new ProxyError('busy', `Server "${this.#name}" is busy: too many wait for its answer`), false);
    else if (Buffer.byteLength(uri) > maxUriBytes) then(new ProxyError('invalid_params', `Invalid params: "uri" may have ${maxUriBytes} bytes`), false);
    else if (this.#held.size + this.#subscribing.size + this.#leaving >= maxSubscriptions) {
      then(new ProxyError('busy', `Server "${this.#name}" is busy: ${maxSubscriptions} resources are subscribed`), false);
    } else {
      this.#subscribing.set(uri, [{ holder, then }]);
      this.#ask(uri, params, (answer) => this.#subscribed(uri, answer), caller);
    }
  }

  /** `resources/unsubscribe`: the child is told when the last holder leaves. */
  unsubscribe(exchange: Exchange, request: RpcRequest): 'handled' | 'forward' {
    const uri = uriOf(exchange, request);
    if (uri === undefined) return 'handled';
    if (this.#drop(uri, exchange.caller.holder)) {
      if (this.#profile?.era === 'legacy') return 'forward';
      this.#unsubscribe(uri);
    }
    exchange.settle(encodeResult(exchange.idText, {}));
    return 'handled';
  }

  /** The child has answered: so have those who waited. Whoever has left meanwhile holds nothing. */
  #subscribed(uri: string, answer: Outcome): void {
    const waiting = this.#subscribing.get(uri) ?? [];
    this.#subscribing.delete(uri);
    const watches = this.#relay.answerIn(answer)?.result !== undefined;
    const holders = waiting.filter(({ then }) => then(answer, watches)).map(({ holder }) => holder);
    if (watches && holders.length > 0) this.#held.set(uri, new Set(holders));
    else if (watches || answer instanceof ProxyError) this.#unsubscribe(uri); // it may have begun
  }

  /** Asks the running child to watch a resource, in the way of its era. */
  #ask(uri: string, params: unknown, then: (answer: Outcome) => void, caller?: Caller): void {
    if (this.#profile?.era !== 'modern') return this.#relay.ask('resources/subscribe', params, then, caller);
    this.#upstream.open(uri, { resourceSubscriptions: [uri] }, (taken) => {
      if (taken instanceof ProxyError) return then(taken);
      const { resourceSubscriptions: uris } = taken;
      if (Array.isArray(uris) && uris.includes(uri)) return then(DONE);
      this.#upstream.close(uri);
      then(REFUSED);
    });
  }

  #unsubscribe(uri: string, caller?: Caller): void {
    this.#upstream.close(uri);
    if (this.#profile?.era !== 'legacy') return;
    this.#leaving++;
    this.#relay.ask('resources/unsubscribe', { uri }, () => this.#leaving--, caller);
  }

  /** Keeps one listen for all lists at a modern child, while somebody may want to know of their changes. */
  #listenToLists(): void {
    const { era, capabilities = {} } = this.#profile ?? {};
    const lists = Object.keys(LIST_CHANGED).filter((name) => declares(capabilities, name, 'listChanged'));
    if (era !== 'modern' || lists.length === 0 || this.#listeners.size === 0) this.#upstream.close('');
    else if (!this.#upstream.has('')) this.#upstream.open('', Object.fromEntries(lists.map((name) => [listChangedFilter(name), true])));
  }

  /** Whether that was the last holder, so that the child has to be told. */
  #drop(uri: string, holder: object): boolean {
    const holders = this.#held.get(uri);
    holders?.delete(holder);
    return holders?.size === 0 && this.#held.delete(uri);
  }

  /** To whoever holds the resource, or one that it is part of; simple streams always hear it. */
  #updated(notification: RpcNotification): void {
    const uri = wordOf(notification, 'uri');
    const holders = new Set<object>([SIMPLE]);
    for (const [held, by] of this.#held) if (typeof uri === 'string' && isWithin(uri, held)) for (const holder of by) holders.add(holder);
    this.#broadcast(notification, (holder) => holders.has(holder));
  }

  #log(line: RpcNotification): void {
    const to = this.levels.audience(line, this.#profile?.era);
    if (to === undefined) this.#unclaimed('a log line of the server may be about one of several clients');
    else if (typeof to === 'function') this.#broadcast(line, to);
    else to.notify(line.raw);
  }

  #unclaimed(what: string): void {
    this.#world.log.debug(this.#name, 'unclaimed', what);
  }

  #broadcast({ method, raw }: Pick<RpcNotification, 'method' | 'raw'>, to = (_holder: object): boolean => true): void {
    if (this.#listeners.size === 0) return;
    const line = oneLine(raw);
    const frame = encodeEvent('message', line);
    for (const listener of [...this.#listeners]) {
      if (to(listener.holder) && listener.only?.has(method) !== false) listener.hear(line, frame);
    }
  }
}

/** The params of a notification that is about one client's request, task or resource. */
const BINDING = new Set(['progressToken', 'taskId', 'uri']);

/** What a client is told that need not be asked of the child. */
const DONE = encodeResult('0', {});
const REFUSED = encodeError('0', new ProxyError('bad_answer', 'The server does not watch this resource').toRpc());

/** Whether a resource is the held one or, as servers may report, a sub-resource of it. */
function isWithin(uri: string, held: string): boolean {
  if (!uri.startsWith(held)) return false;
  return uri.length === held.length || held.endsWith('/') || /^[/?#]/.test(uri.slice(held.length));
}

function uriOf(exchange: Exchange, request: RpcRequest): string | undefined {
  const uri = wordOf(request, 'uri');
  if (typeof uri === 'string') return uri;
  exchange.settle(new ProxyError('invalid_params', 'Invalid params: "uri" must be a string'));
  return undefined;
}
