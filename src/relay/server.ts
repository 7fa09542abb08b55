// One configured MCP server: its supervisor, its relay and its listeners, wired together. When it was used last, and
// whether it is idle, is known here.

import type { Deadline } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import { Supervisor, type Launch } from '../child/supervisor.ts';
import type { Turns } from '../child/turns.ts';
import type { World } from '../config/world.ts';
import { initializeResultOf } from '../protocol/bridge.ts';
import { initializeResult, type Implementation, type Profile } from '../protocol/legacy.ts';
import { forwardsNotification, handlingOf, LISTEN, methodNotFound, RETRY_PARAMS, TAKES_INPUT } from '../protocol/methods.ts';
import { discoverResult, lacksCapability } from '../protocol/modern.ts';
import type { Era } from '../protocol/revisions.ts';
import { memberOf } from '../wire/envelope.ts';
import { encodeResult, paramOf, paramsOf, textOf, wordOf, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import { goesOn, incoming, outgoing } from './eras.ts';
import { lonelyCaller, SIMPLE, type Caller, type Exchange } from './exchange.ts';
import { HeldOpen } from './held-open.ts';
import { Listens } from './listens.ts';
import { Parked } from './parked.ts';
import { Relay, type Tap } from './relay.ts';
import { ServerRequests } from './server-requests.ts';
import { Subscriptions, type Listener } from './subscriptions.ts';
import { ToolHeaders } from './tool-headers.ts';

/** One server in the status stream (`product.md`, GET /api/servers). */
export interface ServerStatus {
  readonly status: string;
  /** ISO 8601. */
  readonly lastUsed: string;
  readonly pendingRequests: number;
  readonly error?: string;
  readonly errorAt?: string;
  /** The last lines that the failed process wrote to stderr. */
  readonly stderr?: string;
  readonly restartCount?: number;
  /** Processes of single sessions, where they have their own. */
  readonly sessions?: number;
}

export class McpServer {
  readonly #name: string;
  readonly #world: World;
  readonly #onStatus: (urgent: boolean) => void;
  readonly #owned: boolean;
  #owner: Caller | undefined;
  #evicting = false;
  readonly #supervisor: Supervisor;
  readonly #relay: Relay;
  readonly #subscriptions: Subscriptions;
  readonly #questions: ServerRequests;
  readonly #parked: Parked;
  readonly #held: HeldOpen;
  readonly #listens: Listens;
  readonly #toolHeaders: ToolHeaders;
  #profile: Profile | undefined;
  #wasIdle = false;
  #ending: ProxyError | undefined; // stopped for good, and why
  #usedAt: number;
  #activeAt: number;
  #lastUsed: string | undefined; // `#usedAt` for people, once somebody asks
  #idleDeadline: Deadline | undefined;

  /**
   * `onStatus`: the status changed; `urgent` unless only its counters did. `owned`: it serves one session and ends with
   * its process, because the state of that session does.
   */
  constructor(name: string, launch: Launch, world: World, turns: Turns, house: Implementation, onStatus: (urgent: boolean) => void, owned = false) {
    this.#name = name;
    this.#world = world;
    this.#owned = owned;
    this.#onStatus = onStatus;
    this.#usedAt = this.#activeAt = world.clock.now();
    this.#relay = new Relay(name, world, {
      onWanted: () => this.#wanted(),
      onRequest: (exchange, request) => this.#handles(exchange, request),
      onWrite: (message, caller) => outgoing(message, caller, this.#peer(), owned, house, this.#subscriptions.levels.of(caller.holder)),
      goesOn: (exchange, method) => goesOn(method, exchange, this.#peer(), owned),
      onAnswer: (exchange, method, raw, id, result) => incoming(raw, id, method, exchange, this.#peer(), owned, result),
      onNotification: (notification) => this.#heard(notification),
      onChildRequest: (request, link) => this.#questions.ask(request, link),
      onLost: (error) => {
        this.#questions.down();
        this.#held.end(error);
        this.#subscriptions.down(error);
      },
      onPending: () => {
        this.#activeAt = world.clock.now();
        onStatus(false);
      },
    });
    this.#subscriptions = new Subscriptions(name, world, this.#relay, owned);
    this.#questions = new ServerRequests(this.#relay, () => this.#owner, world);
    this.#parked = new Parked(this.#relay, world, () => this.#profile);
    this.#held = new HeldOpen(this.#relay, world);
    this.#listens = new Listens(name, world, this.#relay, this.#subscriptions);
    this.#toolHeaders = new ToolHeaders(this.#relay, world);
    this.#supervisor = new Supervisor(name, launch, world, turns, {
      onStatus: () => onStatus(true),
      onUp: (link, profile) => {
        const before = this.#profile;
        this.#profile = profile;
        if (!owned && this.#supervisor.config.isolation === 'session') {
          if (profile.era === 'modern') world.log.warn(name, 'isolation', 'all sessions share one process, because a modern server knows none: "isolation" is ignored');
          else if (before?.era === 'modern') this.#subscriptions.evict(); // sessions that shared that process do not share this one
        }
        this.#toolHeaders.forget();
        this.#relay.connect(link, () => this.#listens.restore(profile, this.#subscriptions.restore(profile, before, this.#wasIdle)));
        this.#wasIdle = false;
        this.#watchIdle();
      },
      onLine: (parts) => this.#relay.receive(parts),
      onEarly: (message, link) => this.#relay.take(message, link),
      onDrain: (ms, done) => {
        // Whoever waits for a start is refused by status; a call that was accepted is answered.
        const reconfigured = new ProxyError('reconfigured', `Server "${name}" was reconfigured`);
        const why = this.#ending?.reason === 'shutdown' ? this.#ending : reconfigured;
        this.#parked.end(why); // they wait for people
        this.#held.end(why);
        this.#relay.drain(ms, why, () => {
          if (this.#ending !== undefined) this.#close();
          else if (this.#evicting) this.#evict();
          this.#evicting = false;
          done();
        });
      },
      onDown: (error) => this.#relay.down(error),
      onRefuse: (error) => this.#relay.refuse(error),
      onFailure: ({ message }) => {
        this.#subscriptions.failed(message);
        if (this.#supervisor.status === 'error') this.#listens.fail(this.#supervisor.unavailable());
        if (owned) this.#subscriptions.close();
      },
    });
  }

  /** What its processes speak, as far as that is known. */
  get era(): Era | undefined {
    return this.#supervisor.era;
  }

  get disabled(): boolean {
    return this.#supervisor.config.disabled;
  }

  get status(): ServerStatus {
    const { clock } = this.#world;
    const { status, failure, restarts } = this.#supervisor;
    this.#lastUsed ??= clock.timestamp(clock.now() - this.#usedAt);
    return {
      status: this.disabled ? 'stopped' : status,
      lastUsed: this.#lastUsed,
      pendingRequests: this.#relay.pending,
      ...(failure !== undefined && (status === 'error' || status === 'restarting')
        ? { error: failure.message, errorAt: failure.at, ...(failure.stderr === '' ? {} : { stderr: failure.stderr }) }
        : {}),
      ...(restarts > 0 ? { restartCount: restarts } : {}),
    };
  }

  /** Takes a client's request; it is settled in any case. */
  dispatch(exchange: Exchange, request: RpcRequest): void {
    if (handlingOf(request.method) === 'ping') {
      // About the proxy, not the child: answered whatever its state, and it keeps nothing awake.
      exchange.settle(this.#supervisor.status === 'error' ? this.#supervisor.unavailable() : encodeResult(exchange.idText, {}));
      return;
    }
    this.used();
    if (exchange.caller.era === 'modern') this.#parked.dispatch(exchange, request);
    else this.#relay.dispatch(exchange, request);
  }

  /** Nobody waits for this request any more. The child is told why; without a reason it goes on as if nothing had happened. */
  cancel(exchange: Exchange, reason?: string): void {
    if (this.#parked.cancel(exchange, reason)) return;
    if (this.#listens.cancel(exchange)) return this.streamEnded();
    this.#held.cancel(exchange);
    this.#relay.cancel(exchange, reason);
  }

  /** Takes a client's notification: it never starts a child and never waits. Of a modern client's only a modern child can make something. */
  notify(notification: RpcNotification, caller = lonelyCaller()): void {
    this.used();
    const child = this.#profile?.era;
    if (caller.era === 'modern' && child !== 'modern') return;
    if (forwardsNotification(notification.method, this.#owned && child === 'legacy')) this.#relay.notify(notification, caller);
  }

  /** Adds a listener, until `leave` or the end of the server. */
  join(listener: Listener): void {
    this.#subscriptions.add(listener);
  }

  /** A listener has gone, and what only it held goes with it. */
  leave(listener: Listener): void {
    this.streamEnded();
    this.#subscriptions.delete(listener);
    this.#questions.leave(listener.holder);
  }

  /** A stream has ended that kept it awake: from now on it may be idle. */
  streamEnded(): void {
    this.#activeAt = this.#world.clock.now();
  }

  /** Somebody opened a stream: the server is started if need be. Answers why it cannot run, if so. */
  wake(): ProxyError | undefined {
    this.used();
    return this.#wanted();
  }

  /** Passes on progress of a client with a question of the server. */
  answerProgress(notification: RpcNotification, caller: Caller): void {
    this.#relay.notify(notification, caller);
  }

  /** A client sent something. */
  used(): void {
    this.#usedAt = this.#activeAt = this.#world.clock.now();
    this.#lastUsed = undefined;
    this.#onStatus(false);
  }

  /** A process of a single session has ended: what its client sent was sent to this server. */
  outlives(session: McpServer): void {
    if (session.#usedAt > this.#usedAt) [this.#usedAt, this.#lastUsed] = [session.#usedAt, session.#lastUsed];
  }

  /** The one client of this process; of a shared one, nobody is. */
  set owner(owner: Caller) {
    if (this.#owned) this.#owner = owner;
  }

  /** Takes over a configuration; `start`, `restart` or `stop` make it felt. With another isolation, sessions end with the old process. */
  configure(launch: Launch): void {
    const isChanged = launch.config.isolation !== this.#supervisor.config.isolation;
    this.#supervisor.launch = launch;
    if (isChanged && this.#relay.connected) this.#evicting = true;
    else if (isChanged) this.#evict();
  }

  /** Lets it run. */
  start(): void {
    this.#ending = undefined;
    this.#supervisor.start();
    this.#onStatus(true);
  }

  /** A new process, after the calls in flight. */
  restart(): void {
    this.#supervisor.restart();
  }

  /** Stops it for good: calls in flight have `drainMs`, then they get `why`. Resolves when its processes are gone. */
  stop(why: ProxyError, drainMs: number): Promise<void> {
    this.#ending = why;
    this.#idleDeadline?.cancel();
    this.#relay.refuse(why);
    if (!this.#relay.connected) this.#close();
    return this.#supervisor.stop(drainMs);
  }

  /** Kills its processes at once. */
  kill(): void {
    this.#supervisor.kill();
  }

  /** What runs, or ran last. Asked for only about a child whose handshake is done. */
  #peer(): Profile {
    return this.#profile as Profile;
  }

  /** Ends every stream: the server is gone for good. */
  #close(): void {
    this.#listens.close();
    this.#subscriptions.close();
  }

  /** Sessions and listens end, because what they were opened on is not there any more. */
  #evict(): void {
    this.#listens.close();
    this.#subscriptions.evict();
  }

  #heard(notification: RpcNotification): void {
    if (notification.method === 'notifications/elicitation/complete') {
      return this.#subscriptions.tell(notification, this.#questions.elicited(wordOf(notification, 'elicitationId')));
    }
    if (notification.method !== 'notifications/cancelled') return this.#subscriptions.hear(notification);
    const id = memberOf(notification.layout.params, 'requestId');
    const reason = wordOf(notification, 'reason');
    if (id !== undefined) this.#questions.cancelled(textOf(notification.raw, id), typeof reason === 'string' ? reason : 'cancelled by the server');
  }

  #wanted(): ProxyError | undefined {
    if (this.#ending !== undefined) return this.#ending; // a call that waited for something else must not bring it back
    const refusal = this.#supervisor.start();
    this.#supervisor.hurry();
    return refusal;
  }

  /** What a running child does not have to see. */
  #handles(exchange: Exchange, request: RpcRequest): 'handled' | 'forward' | Tap {
    const profile = this.#peer();
    if (exchange.caller.era === 'modern') return this.#handlesModern(exchange, request, profile);
    switch (handlingOf(request.method)) {
      case 'initialize': {
        const protocolVersion = wordOf(request, 'protocolVersion');
        const legacy = (): Buffer => (this.#owned ? profile.raw : initializeResult(profile, protocolVersion));
        const result = profile.era === 'legacy' ? legacy() : initializeResultOf(profile, protocolVersion, this.#name);
        return settled(exchange, encodeResult(exchange.idText, result));
      }
      case 'set-level':
        this.#subscriptions.levels.set(exchange, request);
        return 'handled';
      case 'subscribe':
        this.#subscriptions.subscribe(exchange, request);
        return 'handled';
      case 'unsubscribe':
        return this.#subscriptions.unsubscribe(exchange, request);
      case 'refuse':
        return this.#owned && profile.era === 'legacy' ? 'forward' : settled(exchange, methodNotFound(request.method));
      case 'ping':
      case 'forward':
        // A client that has a connection of its own era must not take it for one of the other.
        if (request.method === 'server/discover' && exchange.caller.holder !== SIMPLE) return settled(exchange, methodNotFound(request.method));
        // At a modern child it has no answer before its end, and what it tells would reach nobody.
        if (request.method === LISTEN && profile.era === 'modern') return settled(exchange, methodNotFound(request.method));
        return profile.era === 'modern' && exchange.caller.holder !== SIMPLE && TAKES_INPUT.has(request.method)
          ? this.#held.tap(exchange, request)
          : 'forward';
    }
  }

  /** The same for a modern client's request: what the child lacks, what a legacy child does not know, what has to be known first. */
  #handlesModern(exchange: Exchange, request: RpcRequest, profile: Profile): 'handled' | 'forward' {
    const { method } = request;
    const { modern } = exchange;
    if (lacksCapability(method, profile)) return settled(exchange, methodNotFound(method, 404));
    if (method === LISTEN) {
      this.#listens.open(exchange, request, profile);
      return 'handled';
    }
    if (method === 'tools/call') {
      const declared = this.#toolHeaders.of(paramOf(request, 'name'));
      if (declared === undefined) {
        this.#subscriptions.add(this.#toolHeaders);
        return this.#after(exchange, request, Infinity, (done) => this.#toolHeaders.load(done));
      }
      const mismatch = modern?.checkParams(declared, request);
      if (mismatch !== undefined) return settled(exchange, mismatch);
    }
    if (profile.era === 'modern') return 'forward';
    if (method === 'server/discover') return settled(exchange, encodeResult(exchange.idText, discoverResult(profile)));
    const level = modern?.logLevel;
    if (this.#subscriptions.levels.isQuieter(level)) {
      return this.#after(exchange, request, this.#world.limits.levelWaitMs, (done) => this.#subscriptions.levels.tellChild(level, done));
    }
    if (!TAKES_INPUT.has(method) || !request.layout.params.some(({ name }) => RETRY_PARAMS.has(name))) return 'forward';
    // A retry of what is parked, or the answer to an error that asked for a visit to a URL.
    const { requestState, inputResponses } = paramsOf(request);
    if (requestState !== undefined) {
      this.#parked.retry(exchange, request);
      return 'handled';
    }
    const declined = Object.values(Object(inputResponses) as object).some((response) => (Object(response) as { action?: unknown }).action !== 'accept');
    return declined ? settled(exchange, new ProxyError('declined', 'The user declined what the server asked for')) : 'forward';
  }

  /** Has a request wait for something that it depends on, at most `ms`; then it starts again, unless its client has left. */
  #after(exchange: Exchange, request: RpcRequest, ms: number, wait: (done: () => void) => void): 'handled' {
    if (!this.#relay.park(exchange, request)) return 'handled';
    let over = false;
    const go = (): void => {
      if (over) return;
      over = true;
      deadline.cancel();
      const held = this.#relay.unpark(exchange); // not `request`: what is waited for may outlive it, and must not hold it
      if (held !== undefined) this.#relay.dispatch(exchange, held);
    };
    const deadline = this.#world.deadlines.add(ms, go);
    wait(go);
    return 'handled';
  }

  /** One deadline for a running child; it looks at what happened meanwhile and waits for the rest. */
  #watchIdle(): void {
    const { clock, deadlines, limits } = this.#world;
    const { idleTimeoutMs } = limits;
    this.#idleDeadline?.cancel();
    if (idleTimeoutMs === 0 || this.#owned) return;
    const look = (): void => {
      if (!this.#supervisor.running) return;
      const busy = this.#relay.pending > 0 || this.#subscriptions.awake || this.#listens.awake;
      const left = busy ? idleTimeoutMs : this.#activeAt + idleTimeoutMs - clock.now();
      if (left > 0) {
        this.#idleDeadline = deadlines.add(left, look);
        return;
      }
      this.#wasIdle = true;
      this.#subscriptions.forget();
      this.#relay.down(this.#supervisor.unavailable());
      this.#supervisor.idle();
    };
    this.#idleDeadline = deadlines.add(idleTimeoutMs, look);
  }
}

/** Answers a request that the child does not have to see. */
function settled(exchange: Exchange, answer: Buffer | ProxyError): 'handled' {
  exchange.settle(answer);
  return 'handled';
}
