// All servers by name: takes a configuration over by touching only what it changes, starts and stops everything, and
// tells what state it is in. The running configuration is its.

import { ProxyError, sessionClosed, shuttingDown } from '../base/errors.ts';
import { createRedact } from '../base/redact.ts';
import type { Launch } from '../child/supervisor.ts';
import { Turns } from '../child/turns.ts';
import { diffConfig, type Diff } from '../config/diff.ts';
import type { Config, ServerConfig } from '../config/schema.ts';
import type { World } from '../config/world.ts';
import { discoverParams } from '../protocol/discover.ts';
import { forwardedParams, initializeParams, type Implementation } from '../protocol/legacy.ts';
import { paramsOf, type RpcRequest } from '../wire/jsonrpc.ts';
import { McpServer, type ServerStatus } from './server.ts';

export interface FleetOptions {
  readonly world: World;
  /** What children inherit. */
  readonly env: Readonly<Record<string, string>>;
  /** Values that are never shown. */
  readonly secrets: readonly string[];
  readonly clientInfo: Implementation;
  /** The status of a server changed, or whether it exists; `urgent` unless only counters did. */
  onStatus(name: string, urgent: boolean): void;
}

export class Fleet {
  readonly #options: FleetOptions;
  readonly #turns: Turns;
  #config: Config['servers'] = new Map();
  #servers = new Map<string, McpServer>();
  /** Removed, but their processes are not gone: a server that comes back under the same name waits for them. */
  readonly #leaving = new Map<string, McpServer>();
  /** Processes of single sessions. */
  readonly #isolated = new Map<string, Set<McpServer>>();
  #started = false;
  #closing = false;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#turns = new Turns(options.world.limits.startConcurrency);
  }

  /** The server of this name, ready to take requests. @throws ProxyError `unknown_server`, `unavailable` */
  get(name: string): McpServer {
    if (this.#closing) throw shuttingDown();
    const server = this.#servers.get(name);
    if (server === undefined) throw new ProxyError('unknown_server', `Unknown server: ${name}`);
    if (server.disabled) throw new ProxyError('unavailable', `Server "${name}" is not available: it is disabled`);
    return server;
  }

  /**
   * The server for a new session: the shared one, or a process of its own that is started with the client's own
   * `initialize`. Give it back with `release`. @throws ProxyError `unknown_server`, `unavailable`, `session_limit`, `invalid_params`
   */
  forSession(name: string, request: RpcRequest): McpServer {
    const shared = this.get(name);
    const { maxInitializeBytes } = this.#options.world.limits;
    if (request.raw.length > maxInitializeBytes) throw new ProxyError('invalid_params', `Invalid params: initialize may have ${maxInitializeBytes} bytes`);
    const config = this.#isolating(name, shared);
    if (config === undefined) return shared;
    const { world, clientInfo, onStatus } = this.#options;
    const isolated = this.#isolated.get(name) ?? new Set();
    if (isolated.size >= world.limits.maxIsolated) throw new ProxyError('session_limit', 'Too many sessions');
    const own = { ...config, autoRestart: false, protocol: shared.era ?? config.protocol }; // what it speaks need not be found out again
    const launch = { ...this.#launchOf(own), params: forwardedParams(paramsOf(request)) };
    const server: McpServer = new McpServer(name, launch, world, this.#turns, clientInfo, () => onStatus(name, false), true);
    this.#isolated.set(name, isolated.add(server));
    onStatus(name, true);
    return server;
  }

  /** Whether the server from `forSession` is the right one still: the shared one may have become one that sessions do not share. */
  takesSession(name: string, server: McpServer): boolean {
    return server !== this.#servers.get(name) || this.#isolating(name, server) === undefined;
  }

  /** A session has ended; a process of its own ends with it. */
  release(name: string, server: McpServer): void {
    const isolated = this.#isolated.get(name);
    if (isolated?.has(server) !== true) return;
    void server.stop(sessionClosed(), 0).then(() => {
      if (isolated.delete(server) && isolated.size === 0) this.#isolated.delete(name);
      this.#servers.get(name)?.outlives(server);
      this.#options.onStatus(name, true);
    });
  }

  /** The servers that are to run, in config order. */
  enabled(): string[] {
    return this.names().filter((name) => this.#servers.get(name)?.disabled === false);
  }

  /** Every configured server in config order. */
  names(): string[] {
    return [...this.#servers.keys()];
  }

  /** The status of one server; `undefined` when it is not configured. */
  statusOf(name: string): ServerStatus | undefined {
    const status = this.#servers.get(name)?.status;
    const isolated = [...(this.#isolated.get(name) ?? [])].map((server) => server.status);
    if (status === undefined || isolated.length === 0) return status;
    const all = [status, ...isolated];
    const pendingRequests = all.reduce((sum, each) => sum + each.pendingRequests, 0);
    const lastUsed = all.reduce((last, each) => (each.lastUsed > last ? each.lastUsed : last), '');
    return { ...status, lastUsed, pendingRequests, sessions: isolated.length };
  }

  /** Starts every enabled server, each on its own. */
  start(): void {
    this.#started = true;
    for (const server of this.#servers.values()) if (!server.disabled) server.start();
  }

  /** Makes a configuration the running one; answers before anything has started or stopped. */
  apply(config: Config): Diff {
    const { world } = this.#options;
    const diff = diffConfig(this.#config, config.servers);
    this.#config = config.servers;
    const before = this.#servers;
    this.#servers = new Map([...config.servers].map(([name, wanted]) => [name, this.#configured(name, wanted, before.get(name))]));
    for (const [name, server] of before) if (!this.#servers.has(name)) this.#leave(name, server);

    if (this.#started && !this.#closing) {
      for (const name of diff.started) this.#servers.get(name)?.start();
      for (const name of diff.restarted) this.#servers.get(name)?.restart();
    }
    for (const name of [...diff.restarted, ...diff.stopped]) {
      const why = new ProxyError('reconfigured', `Server "${name}" was reconfigured`);
      for (const server of this.#isolated.get(name) ?? []) void server.stop(why, world.limits.drainReloadMs);
    }
    for (const name of diff.stopped) {
      const disabled = new ProxyError('unavailable', `Server "${name}" is not available: it was disabled`);
      void this.#servers.get(name)?.stop(disabled, world.limits.drainReloadMs);
    }
    for (const name of config.servers.keys()) {
      if (!before.has(name) || !diff.kept.includes(name)) this.#options.onStatus(name, true);
    }
    const said = Object.entries(diff).filter(([what, names]) => what !== 'kept' && names.length > 0);
    if (said.length > 0) {
      world.log.info('-', 'config_applied', `configuration applied: ${said.map(([what, names]) => `${what} ${names.join(', ')}`).join('; ')}`);
    }
    return diff;
  }

  /** A new process for this server. @throws ProxyError */
  restart(name: string): void {
    this.get(name).restart();
  }

  /** Stops all servers at once, after at most `drainMs` for the calls in flight; resolves when nothing is left. */
  async close(): Promise<void> {
    this.#closing = true;
    const shutdown = new ProxyError('shutdown', 'Shutting down');
    await Promise.all(this.#all().map((server) => server.stop(shutdown, this.#options.world.limits.drainShutdownMs)));
  }

  /** Kills every process at once. */
  kill(): void {
    for (const server of this.#all()) server.kill();
  }

  /** The configuration of this server, if each session gets a process of its own. */
  #isolating(name: string, shared: McpServer): ServerConfig | undefined {
    const config = this.#config.get(name);
    if (config?.isolation !== 'session' || config.command === undefined || shared.era === 'modern') return undefined; // that era has no sessions (R-17)
    return config;
  }

  #configured(name: string, config: ServerConfig, existing: McpServer | undefined): McpServer {
    const { world, clientInfo, onStatus } = this.#options;
    const launch = this.#launchOf(config);
    const returning = this.#leaving.get(name);
    this.#leaving.delete(name);
    returning?.used(); // it came into the configuration now
    const server = existing ?? returning;
    server?.configure(launch);
    return server ?? new McpServer(name, launch, world, this.#turns, clientInfo, (urgent) => onStatus(name, urgent));
  }

  #launchOf(config: ServerConfig): Launch {
    const { env, secrets, clientInfo } = this.#options;
    const redact = createRedact([...secrets, ...Object.values(config.env)]);
    return { config, env, params: initializeParams(clientInfo, config.clientCapabilities), discover: discoverParams(clientInfo), redact };
  }

  #all(): McpServer[] {
    return [...this.#servers.values(), ...this.#leaving.values(), ...[...this.#isolated.values()].flatMap((each) => [...each])];
  }

  #leave(name: string, server: McpServer): void {
    const removed = new ProxyError('unavailable', `Server "${name}" is not available: it was removed`);
    this.#leaving.set(name, server);
    void server.stop(removed, this.#options.world.limits.drainReloadMs).then(() => {
      if (this.#leaving.get(name) === server) this.#leaving.delete(name);
    });
    this.#options.onStatus(name, true);
  }
}
