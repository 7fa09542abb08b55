// One configured server kept alive: runs the lifecycle with a clock, a process and a handshake, and puts what
// happened into words. It decides nothing (lifecycle.ts does) and knows no call.

import type { Timer } from '../base/clock.ts';
import { ProxyError, traceOf } from '../base/errors.ts';
import type { Redact } from '../base/redact.ts';
import type { ServerConfig } from '../config/schema.ts';
import type { World } from '../config/world.ts';
import type { Profile } from '../protocol/legacy.ts';
import type { Era } from '../protocol/revisions.ts';
import { joined, readMessage, type RpcMessage } from '../wire/jsonrpc.ts';
import { Handshake, type Link } from './handshake.ts';
import { isStarting, restartsOf, STOPPED, statusOf, step, type Effect, type Event, type State, type Status } from './lifecycle.ts';
import { Child, type End } from './process.ts';
import { reaperOf } from './reaper.ts';
import { lastLines, stderrLines } from './stderr.ts';
import type { Turn, Turns } from './turns.ts';

/** What one server is started with; replaced as a whole when its configuration changes. */
export interface Launch {
  readonly config: ServerConfig;
  /** The environment that children inherit. */
  readonly env: Readonly<Record<string, string>>;
  /** The params of its `initialize`, and of the `server/discover` before it. */
  readonly params: unknown;
  readonly discover: unknown;
  readonly redact: Redact;
}

/** What the proxy says about a failure of a child, already redacted. */
export interface Failure {
  /** A predicate: `exited with code 1`. */
  readonly message: string;
  /** ISO 8601. */
  readonly at: string;
  /** The last lines of stderr, bounded. */
  readonly stderr: string;
}

export interface SupervisorEvents {
  /** Status, error or restart count changed. */
  onStatus(): void;
  /** The handshake is done; calls may be written. */
  onUp(link: Link, profile: Profile): void;
  /** A line that a running child wrote, in parts. */
  onLine(parts: readonly Buffer[]): void;
  /** A message that a child wrote before its handshake was done. */
  onEarly(message: RpcMessage, link: Link): void;
  /** No new calls; `done` when those in flight have been answered, or after `ms` in any case. */
  onDrain(ms: number, done: () => void): void;
  /** The process is lost, and with it every call in flight. */
  onDown(error: ProxyError): void;
  /** Nobody will serve those who wait for a start. */
  onRefuse(error: ProxyError): void;
  onFailure(failure: Failure): void;
}

const REMOTE = 'remote servers are not supported';
const MAX_MESSAGE_CHARS = 300; // of what a server itself says about its failure

export class Supervisor {
  readonly #name: string;
  readonly #world: World;
  readonly #turns: Turns;
  readonly #events: SupervisorEvents;
  #launch: Launch;
  #redact: Redact; // of the process that runs: its environment may not be that of the next one
  #state: State = STOPPED;
  #child: Child | undefined;
  #handshake: Handshake | undefined;
  #era: Era | undefined; // what it was found to speak, until that fails or somebody stops it
  #startBy = 0;
  #turn: Turn | undefined;
  #lent: Timer | undefined; // the turn is given back then
  #timer: Timer | undefined;
  #failure: Failure | undefined;
  #drainMs: number;
  readonly #inbox: Event[] = []; // first the one that is being handled
  #onStopped: (() => void)[] = [];

  constructor(name: string, launch: Launch, world: World, turns: Turns, events: SupervisorEvents) {
    this.#name = name;
    this.#launch = launch;
    this.#redact = launch.redact;
    this.#world = world;
    this.#turns = turns;
    this.#events = events;
    this.#drainMs = world.limits.drainReloadMs;
  }

  get status(): Status {
    return this.#launch.config.command === undefined && !this.#launch.config.disabled ? 'error' : statusOf(this.#state);
  }

  /** Whether calls can be written now. */
  get running(): boolean {
    return this.#state.is === 'running';
  }

  /** What its processes speak, as far as that is known. */
  get era(): Era | undefined {
    const { protocol } = this.#launch.config;
    return protocol === 'auto' ? this.#era : protocol;
  }

  /** Restarts in a row. */
  get restarts(): number {
    return restartsOf(this.#state);
  }

  /** The last failure, until the server runs again. */
  get failure(): Failure | undefined {
    return this.#failure;
  }

  /** The configuration of the next process; the running one stays as it is. */
  get config(): ServerConfig {
    return this.#launch.config;
  }

  /** What the next process is started with; the running one stays as it is. */
  set launch(launch: Launch) {
    this.#launch = launch;
  }

  /** Somebody needs it running. Answers why that will not be, or `undefined` while there is hope. */
  start(): ProxyError | undefined {
    if (this.#launch.config.command === undefined) {
      if (this.#failure?.message !== REMOTE) this.#failure = { message: REMOTE, at: this.#world.clock.timestamp(), stderr: '' };
      return this.unavailable();
    }
    this.#send({ type: 'start', now: this.#world.clock.now() });
    return this.status === 'error' ? this.unavailable() : undefined;
  }

  /** Moves a server that waits for its turn ahead of those that nobody asked for. */
  hurry(): void {
    this.#turn?.hurry();
  }

  /** A new process, after the calls in flight; clears the count of restarts. */
  restart(): void {
    this.#era = undefined;
    this.#drainMs = this.#world.limits.drainReloadMs;
    this.#send({ type: this.#launch.config.command === undefined ? 'stop' : 'restart' });
    this.start(); // of what cannot be started, says why
  }

  /** Stops it because nobody uses it; only while no call is in flight. */
  idle(): void {
    this.#world.log.info(this.#name, 'idle', 'stopped because it was idle');
    this.#send({ type: 'idle' });
  }

  /** Stops it for good, after at most `drainMs` for the calls in flight; resolves when its process group is gone. */
  stop(drainMs: number): Promise<void> {
    this.#era = undefined;
    this.#drainMs = drainMs;
    this.#send({ type: 'stop' });
    return new Promise((resolve) => {
      if (this.#state.is === 'stopped') resolve();
      else this.#onStopped.push(resolve);
    });
  }

  /** Kills the process group at once. */
  kill(): void {
    this.#child?.kill();
  }

  /** Why no request can be served now. */
  unavailable(): ProxyError {
    const failure = this.#failure;
    return new ProxyError('unavailable', `Server "${this.#name}" is not available: ${failure?.message ?? 'it is stopped'}`, {
      data: failure?.stderr ? { stderr: failure.stderr } : {},
    });
  }

  #send(event: Event): void {
    if (this.#inbox.push(event) > 1) return; // what an effect reports is handled after the effect
    for (let first = this.#inbox[0]; first !== undefined; first = this.#inbox[0]) {
      try {
        this.#step(first);
      } catch (thrown) {
        this.#bug(`after "${first.type}"`, thrown); // what came next would never be handled
      }
      this.#inbox.shift();
    }
  }

  /** A bug costs one message or one step, not every server. */
  #bug(where: string, thrown: unknown): void {
    this.#world.log.error(this.#name, 'internal', `internal error ${where}: ${traceOf(thrown)}`);
  }

  #step(event: Event): void {
    const { limits } = this.#world;
    const before = this.#state;
    const restarts = this.restarts;
    const status = this.status;
    const { autoRestart, maxRestarts } = this.#launch.config;
    const [after, effects] = step(before, event, { ...limits, autoRestart, maxRestarts });
    this.#state = after;
    if (after !== before) this.#arm(after);
    if (after.is !== 'starting') {
      this.#handshake?.end();
      this.#handshake = undefined;
    }
    if (!isStarting(after)) {
      this.#lent?.cancel();
      this.#turn?.release();
    }
    if (after.is === 'running') this.#failure = undefined;
    if (after.is === 'stopped') for (const resolve of this.#onStopped.splice(0)) resolve();
    if (status !== this.status || restarts !== this.restarts || event.type === 'failed') this.#events.onStatus();
    for (const effect of effects) this.#do(effect);
  }

  /** The one timer of a state: started when the state is entered, ended when it is left. */
  #arm(state: State): void {
    const { clock, limits } = this.#world;
    this.#timer?.cancel();
    this.#timer = undefined;
    if (state.is === 'starting') {
      if (!state.plain) this.#startBy = clock.now() + limits.startTimeoutMs;
      this.#timer = clock.after(Math.max(0, this.#startBy - clock.now()), () =>
        this.#failed({ what: `did not finish its handshake in ${limits.startTimeoutMs} ms` }),
      );
    } else if (state.is === 'running' && state.restarts > 0) {
      this.#timer = clock.after(limits.healthyMs, () => this.#send({ type: 'healthy' }));
    } else if (state.is === 'backoff') {
      this.#timer = clock.after(Math.max(0, state.until - clock.now()), () => this.#send({ type: 'backoff-over' }));
    }
  }

  #do(effect: Effect): void {
    switch (effect) {
      case 'queue':
        this.#turn = this.#turns.take(() => {
          this.#lent = this.#world.clock.after(this.#world.limits.turnMs, () => this.#turn?.release());
          this.#send({ type: 'turn' });
        });
        break;
      case 'spawn':
        this.#spawn();
        break;
      case 'drain':
        this.#events.onDrain(this.#drainMs, () => this.#send({ type: 'drained' }));
        break;
      case 'stop':
        this.#child?.stop();
        break;
    }
  }

  #spawn(): void {
    const { clock, limits, log } = this.#world;
    const { config, env, params, discover, redact } = this.#launch;
    this.#redact = redact;
    const reaper = reaperOf(this.#world);
    const plain = this.#state.is === 'starting' && this.#state.plain;
    const logStderr = stderrLines(limits, redact, (line) => log.debug(this.#name, 'stderr', line));
    const child = new Child({
      command: config.command ?? '',
      args: config.args,
      env: { ...env, ...config.env },
      clock,
      limits,
      onLine: (parts) => {
        try {
          this.#heard(parts, child);
        } catch (thrown) {
          this.#bug('at a message of the server', thrown);
        }
      },
      onStderr: (chunk) => {
        if (log.takes('debug')) logStderr(chunk);
      },
      onDead: (end) => {
        if (this.#handshake?.probing && end.notSpawned === undefined) this.#respawn(end.what);
        else this.#failed(end);
      },
      onGone: () => {
        if (child.pid !== undefined) reaper?.delete(child.pid);
        this.#child = undefined;
        this.#send({ type: 'gone', now: clock.now() });
      },
    });
    if (child.pid !== undefined) reaper?.add(child.pid);
    this.#child = child;
    log.debug(this.#name, 'spawn', redact(`started ${[config.command, ...config.args].join(' ')}`), { pid: child.pid });
    this.#handshake = new Handshake(child, {
      clock,
      protocol: plain ? 'legacy' : (this.era ?? 'auto'),
      discover,
      initialize: params,
      probeMs: Math.min(limits.probeMs, limits.startTimeoutMs / 3),
      wedgedMs: (limits.startTimeoutMs * 2) / 3,
      onDone: (profile, sure) => {
        this.#era = sure ? profile.era : undefined;
        this.#send({ type: 'ready' });
        log.info(this.#name, 'running', `running (MCP ${profile.revision})`, { pid: child.pid });
        this.#events.onUp(child, profile);
      },
      onFailed: (what) => this.#failed({ what }),
      onWedged: () => this.#respawn('said nothing'),
    });
  }

  /** The probe may be what it did not survive: that is no failure (R-11, R-12). */
  #respawn(what: string): void {
    this.#world.log.info(this.#name, 'respawn', `${what} before it answered server/discover, started again without it`);
    this.#send({ type: 'respawn' });
  }

  #heard(parts: readonly Buffer[], child: Child): void {
    if (this.#handshake === undefined) return this.#events.onLine(parts);
    const line = joined(parts);
    const message = readMessage(line, this.#world.limits);
    if (message.kind === 'malformed') child.note(Buffer.concat([line, Buffer.from('\n')]));
    else
      for (const each of message.kind === 'batch' ? message.messages : [message]) {
        if (each.kind !== 'malformed' && this.#handshake?.take(each) !== true) this.#events.onEarly(each, child);
      }
  }

  /** A failure: the state first, then those whose calls it cost, then those who wait. */
  #failed(end: End): void {
    const { clock, limits, random } = this.#world;
    const redact = this.#redact;
    const wasUp = this.#state.is === 'running' || this.#state.is === 'draining';
    const stderr = lastLines(this.#child?.tail() ?? '', limits, redact);
    const failure = { message: redact(end.what).slice(0, MAX_MESSAGE_CHARS), at: clock.timestamp(), stderr };
    this.#failure = failure;
    if (!wasUp) this.#era = undefined;
    this.#send({ type: 'failed', now: clock.now(), jitter: random() * 2 - 1 });
    this.#report(failure, end);
    if (wasUp) {
      const data = stderr === '' ? { ...end.data } : { ...end.data, stderr };
      const message = `Server "${this.#name}" ${redact(end.toCaller ?? end.what)}`;
      this.#events.onDown(new ProxyError(end.tooLong ? 'line_too_long' : 'child_exited', message, { data }));
    }
    if (this.status === 'error') this.#events.onRefuse(this.unavailable());
    this.#events.onFailure(failure);
  }

  #report({ message, stderr }: Failure, { notSpawned }: End): void {
    const { clock, log } = this.#world;
    const { config } = this.#launch;
    const next = this.#state.is === 'stopping' ? this.#state.next : this.#state;
    if (notSpawned !== undefined) {
      const searched = notSpawned === 'ENOENT' ? this.#child?.searched : undefined;
      const hint = /\s/.test(config.command ?? '') ? ' (arguments belong in "args")' : '';
      log.error(this.#name, 'spawn_failed', this.#redact(`cannot start ${config.command}${hint}${searched === undefined ? '' : `: not found in PATH ${searched}`}`));
    }
    if (next.is === 'backoff') {
      const seconds = ((next.until - clock.now()) / 1_000).toFixed(1);
      log.warn(this.#name, 'failed', `${message}, restart ${next.restarts} of ${config.maxRestarts} in ${seconds} s`);
    } else if (next.is === 'error') {
      const why = !config.autoRestart ? 'autoRestart is off' : config.maxRestarts === 0 ? 'maxRestarts is 0' : undefined;
      log.error(this.#name, 'failed', `${message}, ${why === undefined ? `given up after ${next.restarts} ${next.restarts === 1 ? 'restart' : 'restarts'}` : `not restarted (${why})`}`);
    } else {
      log.warn(this.#name, 'failed', `${message}, while it was being stopped`);
    }
    for (const line of stderr.split('\n')) if (line !== '') log.info(this.#name, 'stderr', `stderr: ${line}`);
  }
}
