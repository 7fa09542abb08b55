// The house, and the door to it. Start reading here.
//
//    base/        clock, errors (the table of faults), ids, log, redaction
//    wire/        bytes <-> messages: lines, raw envelopes, JSON-RPC, event streams; no decisions
//    protocol/    what the MCP specification says, as tables and pure functions
//    config/      what the operator wants: file, schema, diff, settings, every bound
//    http/        node:http without MCP: server, guard, router, bodies, replies
//    child/       one supervised process: lifecycle (pure), supervisor, process, handshake
//    relay/       many clients <-> one child: relay, eras, subscriptions, one server, the fleet of all
//    transports/  what a client may speak
//    admin/       the operator's door
//    index.ts     the program: settings, signals, exit codes
//
// A room imports only from rooms above it (protocol, config and http do not know each other, nor do transports
// and admin). One request: guard -> router -> classify -> transport (makes an Exchange) -> fleet -> relay (id out)
// -> child; and back: relay (id back) -> Exchange.settle -> client.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { configure, health, restart, StatusFeed } from './admin/admin.ts';
import { Deadlines, systemClock, type Clock } from './base/clock.ts';
import { asProxyError, ProxyError, shuttingDown, traceOf } from './base/errors.ts';
import { Log, type LogSink } from './base/log.ts';
import type { Diff } from './config/diff.ts';
import { LIMITS, type Limits } from './config/limits.ts';
import type { ConfigInput } from './config/schema.ts';
import { ConfigStore } from './config/store.ts';
import { Guard, type GuardOptions } from './http/guard.ts';
import { empty, fault } from './http/reply.ts';
import { match, route, type Match } from './http/router.ts';
import { isModern } from './protocol/revisions.ts';
import { Fleet } from './relay/fleet.ts';
import { versionOf } from './transports/answer.ts';
import { Door } from './transports/door.ts';

export type { Clock, Timer } from './base/clock.ts';
export type { Level, LogEntry, LogSink } from './base/log.ts';
export type { Diff } from './config/diff.ts';
export type { Limits } from './config/limits.ts';
export type { ConfigInput, ServerConfigInput } from './config/schema.ts';
export { ProxyError, type Reason, type RpcError } from './base/errors.ts';
export { formatEntry } from './base/log.ts';

/** Who this proxy says it is to the servers behind it. */
export const IMPLEMENTATION = { name: '@prompty-app/mcp-proxy', version: '1.1.0' } as const;

export interface ProxyOptions {
  /** The servers, from the start. Without it, or with `configPath`, there are none until `open` or `reload`. */
  readonly config?: ConfigInput;
  /** A configuration file to read (`open`), follow (`start`) and write (`POST /api/config`). */
  readonly configPath?: string;
  /** What children inherit; the proxy itself reads no environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Values that are never shown, beside those of each server's own `env`. */
  readonly secrets?: readonly string[];
  /** Changes of single bounds. */
  readonly limits?: Partial<Limits>;
  /** Where log entries go; nowhere without it. */
  readonly log?: LogSink;
  /** Who may come in. */
  readonly auth?: GuardOptions;
  /** What GET /:server/sse announces as its endpoint: what `Accept` asks for (`auto`), a JSON object, or a URI. */
  readonly sseEndpoint?: 'auto' | 'json' | 'uri';
  /** Path in front of every route: `/mcp` or nothing. */
  readonly basePath?: string;
  /** Time and chance, for tests. */
  readonly world?: { readonly clock?: Clock; readonly random?: () => number };
}

export interface McpProxy {
  /** Answers a request whose path is one of the proxy's; `false`: it is not, and nothing was touched. */
  handle(req: IncomingMessage, res: ServerResponse): boolean;
  /** Answers every request: a path that is none of the proxy's gets its 404. For servers that serve nothing else. */
  readonly listener: (req: IncomingMessage, res: ServerResponse) => void;
  /** Reads `configPath`. @throws ProxyError `invalid_config`, with `data.problems` */
  open(): Promise<void>;
  /** Starts the servers in the background and follows `configPath`. With `config`, `createProxy` does it. */
  start(): void;
  /** Takes over another configuration, at once. @throws ProxyError `invalid_config`, with `data.problems` */
  reload(config: ConfigInput): Promise<Diff>;
  /** The names of the configured servers, disabled ones left out. */
  servers(): string[];
  /** Lets calls in flight finish, ends streams and processes, within ten seconds. Nothing is left after it. */
  close(): Promise<void>;
  /** Kills every child process group at once; for the last resort. */
  kill(): void;
}

/** Builds a proxy. @throws ProxyError `invalid_config`; TypeError for any other option that cannot be meant */
export function createProxy(options: ProxyOptions): McpProxy {
  const { auth = {}, env } = options;
  if (env === undefined) throw new TypeError('env: expected what servers inherit, such as process.env');
  if (auth.token !== undefined && auth.token.length < 16) throw new TypeError('auth.token: expected 16 characters or more');
  if (!/^(\/|$)/.test(options.basePath ?? '')) throw new TypeError('basePath: expected a path that begins with "/"');
  const basePath = (options.basePath ?? '').replace(/\/+$/, '');
  const limits = { ...LIMITS, ...options.limits };
  const { clock, random } = { clock: systemClock, random: Math.random, ...options.world };
  const log = new Log(options.log, clock);
  const deadlines = new Deadlines(clock);
  const world = { clock, deadlines, log, limits, random };

  const fleet: Fleet = new Fleet({
    world,
    env: Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)),
    secrets: [...(options.secrets ?? []), ...(auth.token === undefined ? [] : [auth.token])],
    clientInfo: IMPLEMENTATION,
    onStatus: (name, urgent) => status.changed(name, urgent),
  });
  const status = new StatusFeed(fleet, world);
  const store = new ConfigStore(options.configPath, world, (config) => fleet.apply(config));
  const guard = new Guard(auth);
  const door = new Door(fleet, world, { origin: auth.publicUrl?.origin, basePath, sseEndpoint: options.sseEndpoint ?? 'auto' });

  const routes = [
    route('GET', '/health', (_, res) => health(res)),
    route('HEAD', '/health', (_, res) => health(res)),
    route('GET', '/api/servers', (req, res) => status.answer(req, res)),
    route('POST', '/api/config', (req, res) => configure(store, world, req, res)),
    route('POST', '/api/servers/:server/restart', (req, res, { server }) => restart(fleet, server, req, res)),
    route('POST', '/:server/mcp', (req, res, { server }) => door.mcp(server, req, res)),
    route('GET', '/:server/mcp', (req, res, { server }) => door.streamable.stream(server, req, res)),
    route('DELETE', '/:server/mcp', (req, res, { server }) => door.streamable.delete(server, req, res)),
    route('POST', '/:server/message', (req, res, { server }) => door.message(server, req, res)),
    route('GET', '/:server/sse', (req, res, { server }) => door.sse(server, req, res)),
  ];

  let closing: Promise<void> | undefined;

  /** Who may come in, and where to: the order of R-63. */
  function serve(req: IncomingMessage, res: ServerResponse, path: string, found: Match): void {
    try {
      guard.admit(req, res);
      if (req.method === 'OPTIONS') return guard.options(req, res, found.is === 'method' ? found.allow : []);
      if (found.is !== 'found' || found.route.pattern !== '/health') guard.authenticate(req, res);
      if (found.is === 'none') throw notFound(path);
      if (found.is === 'method') {
        res.setHeader('allow', found.allow.join(', '));
        throw new ProxyError('method_not_allowed', `Method not allowed: this path takes ${found.allow.join(' or ')}`);
      }
      if (closing !== undefined) throw shuttingDown();
      if (req.method === 'POST' && found.route.pattern.startsWith('/api/')) guard.authorize(req);
      found.route.handle(req, res, found.params)?.catch((thrown: unknown) => refuse(req, res, path, thrown));
    } catch (thrown) {
      refuse(req, res, path, thrown);
    }
  }

  function refuse(req: IncomingMessage, res: ServerResponse, path: string, thrown: unknown): void {
    const error = asProxyError(thrown);
    if (error.reason === 'internal') log.error('-', 'internal', `internal error at ${req.method} ${path}: ${traceOf(error.cause)}`);
    const modern = isModern(versionOf(req));
    if (modern && error.reason === 'method_not_allowed') empty(res, error.status);
    else fault(res, error, modern ? '' : 'null', closing === undefined ? [] : ['connection', 'close']);
  }

  /** The path below `basePath`, and what is there; of a request for somebody else, nothing. */
  function find(req: IncomingMessage): [path: string, found: Match] {
    const path = pathOf(req);
    if (!path.startsWith(basePath) || (path.length > basePath.length && path[basePath.length] !== '/')) return ['/', { is: 'none' }];
    const below = path.slice(basePath.length);
    return [below, match(routes, req.method ?? '', below)];
  }

  function start(): void {
    if (closing !== undefined) return;
    fleet.start();
    store.watch();
  }

  async function end(): Promise<void> {
    store.close();
    await fleet.close();
    status.close();
    deadlines.close();
  }

  if (options.config !== undefined) {
    store.load(options.config);
    start();
  }

  return {
    handle(req, res) {
      const [path, found] = find(req);
      if (found.is !== 'none') serve(req, res, path, found);
      return found.is !== 'none';
    },
    listener: (req, res) => serve(req, res, ...find(req)),
    open: () => store.open(),
    start,
    reload: (config) => store.reload(config),
    servers: () => fleet.enabled(),
    close: () => (closing ??= end()),
    kill: () => fleet.kill(),
  };
}

/** The path that a request names, without its query. */
function pathOf({ url: target = '/' }: IncomingMessage): string {
  const url = target.startsWith('/') ? target : URL.canParse(target) ? new URL(target).pathname : '/';
  const query = url.indexOf('?');
  return query === -1 ? url : url.slice(0, query);
}

function notFound(path: string): ProxyError {
  const server = /^\/([^/]+)\/?$/.exec(path)?.[1];
  const hint = server === undefined ? '' : `; a server is reached at /${server}/mcp and /${server}/sse`;
  return new ProxyError('not_found', `Not found: ${path.slice(0, 200)}${hint}`);
}
