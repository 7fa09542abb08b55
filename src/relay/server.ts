// One configured MCP server: its supervisor, its relay and its listeners, wired together. When it was used last, and
// whether it is idle, is known here.

import type { Deadline } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import { Supervisor, type Launch } from '../child/supervisor.ts';
import type { Turns } from '../child/turns.ts';
import type { World } from '../config/world.ts';
import { initializeResult, withoutExecution, type Profile } from '../protocol/legacy.ts';
import { forwardsNotification, handlingOf } from '../protocol/methods.ts';
import { memberOf } from '../wire/envelope.ts';
import { encodeResult, paramsOf, textOf, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import type { Caller, Exchange } from './exchange.ts';
import { Relay, type Tap } from './relay.ts';
import { ServerRequests } from './server-requests.ts';
import { Subscriptions, type Listener } from './subscriptions.ts';

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
  readonly #world: World;
  readonly #onStatus: (urgent: boolean) => void;
  readonly #owned: boolean;
  #owner: Caller | undefined;
  #evicting = false;
  readonly #supervisor: Supervisor;
  readonly #relay: Relay;
  readonly #subscriptions: Subscriptions;
  readonly #questions: ServerRequests;
  #launch: Launch;
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
  constructor(name: string, launch: Launch, world: World, turns: Turns, onStatus: (urgent: boolean) => void, owned = false) {
    this.#world = world;
    this.#owned = owned;
    this.#onStatus = onStatus;
    this.#launch = launch;
    this.#usedAt = this.#activeAt = world.clock.now();
    this.#relay = new Relay(name, world, {
      onWanted: () => this.#wanted(),
      onRequest: (exchange, request) => this.#handles(exchange, request),
      onAnswer: (method, raw) => (method === 'tools/list' && !owned ? withoutExecution(raw, world.limits.maxMembers) : raw),
      onNotification: (notification) => this.#heard(notification),
      onChildRequest: (request, link) => this.#questions.ask(request, link),
      onPending: () => {
        this.#activeAt = world.clock.now();
        onStatus(false);
      },
    });
    this.#subscriptions = new Subscriptions(name, world, this.#relay, owned);
    this.#questions = new ServerRequests(this.#relay, () => this.#owner, world.limits.maxQuestions);
    this.#supervisor = new Supervisor(name, launch, world, turns, {
      onStatus: () => onStatus(true),
      onUp: (link, profile) => {
        const before = this.#profile;
        this.#profile = profile;
        this.#relay.connect(link, () => this.#subscriptions.restore(profile, before, this.#wasIdle));
        this.#wasIdle = false;
        this.#watchIdle();
      },
      onLine: (line) => this.#relay.receive(line),
      onEarly: (message, link) => this.#relay.take(message, link),
      onDrain: (ms, done) => {
        // Whoever waits for a start is refused by status; a call that was accepted is answered.
        const reconfigured = new ProxyError('reconfigured', `Server "${name}" was reconfigured`);
        this.#relay.drain(ms, this.#ending?.reason === 'shutdown' ? this.#ending : reconfigured, () => {
          if (this.#ending !== undefined) this.#subscriptions.close();
          else if (this.#evicting) this.#subscriptions.evict();
          this.#evicting = false;
          done();
        });
      },
      onDown: (error) => {
        this.#questions.down(); // first, on the streams that the answers are about to end
        this.#relay.down(error);
      },
      onRefuse: (error) => this.#relay.refuse(error),
      onFailure: ({ message }) => {
        this.#subscriptions.failed(message);
        if (owned) this.#subscriptions.close();
      },
    });
  }

  get disabled(): boolean {
    return this.#launch.config.disabled;
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
    this.#relay.dispatch(exchange, request);
  }

  /** Nobody waits for this request any more; the child is told why. */
  cancel(exchange: Exchange, reason: string): void {
    this.#relay.cancel(exchange, reason);
  }

  /** Takes a client's notification: it never starts a child and never waits. */
  notify(notification: RpcNotification): void {
    this.used();
    if (forwardsNotification(notification.method, this.#owned)) this.#relay.notify(notification);
  }

  /** Adds a listener, until `leave` or the end of the server. */
  join(listener: Listener): void {
    this.#subscriptions.add(listener);
  }

  /** A listener has gone, and what only it held goes with it. */
  leave(listener: Listener): void {
    this.#activeAt = this.#world.clock.now();
    this.#subscriptions.delete(listener);
  }

  /** Somebody opened a stream: the server is started if need be. Answers why it cannot run, if so. */
  wake(): ProxyError | undefined {
    this.used();
    return this.#wanted();
  }

  /** Passes on progress of a client with a question of the server. */
  answerProgress(notification: RpcNotification): void {
    this.#relay.notify(notification);
  }

  /** A client sent something. */
  used(): void {
    this.#usedAt = this.#activeAt = this.#world.clock.now();
    this.#lastUsed = undefined;
    this.#onStatus(false);
  }

  /** The one client of this process; of a shared one, nobody is. */
  set owner(owner: Caller) {
    if (this.#owned) this.#owner = owner;
  }

  /** Takes over a configuration; `start`, `restart` or `stop` make it felt. */
  configure(launch: Launch): void {
    this.#launch = launch;
    this.#supervisor.launch = launch;
  }

  /** Lets it run. */
  start(): void {
    this.#ending = undefined;
    this.#supervisor.start();
    this.#onStatus(true);
  }

  /** A new process, after the calls in flight. `evicting`: the sessions end with the old one. */
  restart(evicting = false): void {
    this.#evicting = evicting && this.#relay.connected;
    if (evicting && !this.#evicting) this.#subscriptions.evict();
    this.#supervisor.restart();
  }

  /** Stops it for good: calls in flight have `drainMs`, then they get `why`. Resolves when its processes are gone. */
  stop(why: ProxyError, drainMs: number): Promise<void> {
    this.#ending = why;
    this.#idleDeadline?.cancel();
    this.#relay.refuse(why);
    if (!this.#relay.connected) this.#subscriptions.close();
    return this.#supervisor.stop(drainMs);
  }

  /** Kills its processes at once. */
  kill(): void {
    this.#supervisor.kill();
  }

  #heard(notification: RpcNotification): void {
    if (notification.method === 'notifications/elicitation/complete') {
      return this.#subscriptions.tell(notification, this.#questions.elicited(paramsOf(notification)['elicitationId']));
    }
    if (notification.method !== 'notifications/cancelled') return this.#subscriptions.hear(notification);
    const id = memberOf(notification.layout.params, 'requestId');
    const { reason } = paramsOf(notification);
    if (id !== undefined) this.#questions.cancelled(textOf(notification.raw, id), typeof reason === 'string' ? reason : 'cancelled by the server');
  }

  #wanted(): ProxyError | undefined {
    const refusal = this.#supervisor.start();
    this.#supervisor.hurry();
    return refusal;
  }

  /** What a running child does not have to see. */
  #handles(exchange: Exchange, request: RpcRequest): 'handled' | 'forward' | Tap {
    const profile = this.#profile as Profile;
    switch (handlingOf(request.method)) {
      case 'initialize': {
        const { protocolVersion } = paramsOf(request);
        const result = this.#owned ? profile.raw : initializeResult(profile, protocolVersion);
        exchange.settle(encodeResult(exchange.idText, result));
        return 'handled';
      }
      case 'set-level':
        this.#subscriptions.setLevel(exchange, request, profile);
        return 'handled';
      case 'subscribe':
        return this.#subscriptions.subscribe(exchange, request);
      case 'unsubscribe':
        return this.#subscriptions.unsubscribe(exchange, request);
      case 'refuse':
        if (this.#owned) return 'forward';
        exchange.settle(new ProxyError('method_not_found', `Method not found: ${request.method}`));
        return 'handled';
      case 'ping':
      case 'forward':
        return 'forward';
    }
  }

  /** One deadline for a running child; it looks at what happened meanwhile and waits for the rest. */
  #watchIdle(): void {
    const { clock, deadlines, limits } = this.#world;
    const { idleTimeoutMs } = limits;
    this.#idleDeadline?.cancel();
    if (idleTimeoutMs === 0 || this.#owned) return;
    const look = (): void => {
      if (!this.#supervisor.running) return;
      const busy = this.#relay.pending > 0 || this.#subscriptions.awake;
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
