// A whole proxy for one test, over real HTTP and with real children: started on a free port, closed after the test,
// and no process of it may be left then.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LIMITS } from '../../src/config/limits.ts';
import { listen } from '../../src/http/server.ts';
import {
  createProxy,
  type Level,
  type Limits,
  type LogEntry,
  type McpProxy,
  type ProxyOptions,
  type ServerConfigInput,
} from '../../src/proxy.ts';
import type { FakeClock } from './clock.ts';
import { alive, fixture, group, tempDir, until } from './files.ts';
import { connect, openSse, post, request, type Connection, type Reply, type SseEvent, type SseItem, type SseStream } from './http.ts';

export type Servers = Readonly<Record<string, ServerConfigInput>>;

/** A configuration entry that runs a fixture, with its arguments. */
export function node(name: string, ...args: readonly (string | number)[]): ServerConfigInput {
  return { command: process.execPath, args: [fixture(name), ...args.map(String)] };
}

export interface ProxySetup {
  readonly limits?: Partial<Limits>;
  /** Time stands still unless the test moves it, or lets it flow (`flow`). */
  readonly clock?: FakeClock;
  /** From 0 up to 1; in the middle nothing is left to chance: delays are what the table says. */
  readonly random?: () => number;
  readonly auth?: ProxyOptions['auth'];
  readonly basePath?: string;
  /** The address to listen on, and what the proxy is told about it. */
  readonly host?: string;
  /** What every child inherits, beside PATH. */
  readonly env?: Readonly<Record<string, string>>;
  readonly secrets?: readonly string[];
  /** The configuration is a file, which is followed and written; `missing`: it is not there yet. */
  readonly file?: 'written' | 'missing';
}

export interface TestProxy {
  readonly proxy: McpProxy;
  readonly port: number;
  /** Scheme, host and port. */
  readonly origin: string;
  /** A directory of its own. */
  readonly dir: string;
  /** The configuration file, if it has one. */
  readonly path: string;
  /** Everything that was logged, debug included. */
  readonly log: readonly LogEntry[];
  logged(event: string, level?: Level): LogEntry[];
  /** The same servers as this proxy runs them: each writes its journal and its starts. */
  own(servers: Servers): Servers;
  url(path: string): string;
  /** Sends one request, by default with the id 1. */
  call(server: string, method: string, params?: unknown, options?: CallOptions): Promise<Reply>;
  /** Calls a tool; the result is what it returned as structured content, or else the whole result. */
  tool(server: string, name: string, args?: object, options?: CallOptions): Promise<any>;
  /** A tool call that is answered as a stream once there is something to say. */
  stream(server: string, method: string, params?: unknown, options?: CallOptions): Promise<SseStream>;
  /** Sends one request over a connection of its own, and returns when the call is in flight; the test leaves as it likes. */
  open(server: string, method: string, params?: unknown, headers?: Readonly<Record<string, string>>): Promise<Connection>;
  notify(server: string, method: string, params?: unknown): Promise<Reply>;
  /** Opens GET /:server/sse and takes its `endpoint` event. */
  listen(server: string): Promise<SseStream>;
  /** GET /api/servers as JSON. */
  status(): Promise<Record<string, any>>;
  /** Waits until the status of this server matches, and returns it. */
  becomes(server: string, wanted: string | ((status: any) => unknown)): Promise<any>;
  /** Opens the status stream and takes its `status` event. */
  watch(): Promise<StatusReader>;
  configure(servers: Servers): Promise<Reply>;
  /** The process ids of this server so far, first start first: as the proxy spawned them. */
  spawned(server?: string): number[];
  /** The lines that this server has received in all its lives, as they came. */
  received(server: string): string[];
  /** Lets a fake clock flow until the condition holds. */
  flow<T>(condition: () => T | Promise<T>, what: string): ReturnType<typeof until<T>>;
  close(): Promise<void>;
}

export interface CallOptions {
  readonly id?: string | number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  readonly path?: 'mcp' | 'message';
  readonly progressToken?: string | number;
}

export interface StatusReader extends SseStream {
  /** What its `status` event said. */
  readonly first: Record<string, any>;
  /** The next delta. */
  delta(): Promise<Record<string, any>>;
}

/** Where a test, or a whole file, has its end. */
interface Scope {
  after(then: () => void | Promise<void>): void;
}

export async function startProxy(t: Scope, servers: Servers, setup: ProxySetup = {}): Promise<TestProxy> {
  const { clock, limits = {}, host = '127.0.0.1', basePath = '' } = setup;
  t.after(() => close()); // before the directory goes
  const dir = tempDir(t);
  const path = join(dir, 'mcp-config.json');
  const log: LogEntry[] = [];
  const config = { mcpServers: ownServers(dir, servers) };
  if (setup.file === 'written') writeFileSync(path, JSON.stringify(config));
  /** Notes each entry; and wherever a process is started, the one before it must be gone, with its whole group. */
  function remember(entry: LogEntry): void {
    // A server with a process for each session has many at a time.
    if (entry.event === 'spawn' && servers[entry.server]?.isolation !== 'session') {
      const before = log.filter(({ event, server }) => event === 'spawn' && server === entry.server).map(({ pid }) => Number(pid));
      overlaps.push(...before.filter((pid) => group(pid).length > 0));
    }
    log.push(entry);
  }
  const overlaps: number[] = [];
  const proxy = createProxy({
    ...(setup.file === undefined ? { config } : { configPath: path }),
    env: { PATH: process.env['PATH'], ...setup.env },
    secrets: setup.secrets ?? [],
    limits,
    log: { level: 'debug', write: remember },
    auth: { host, ...setup.auth },
    basePath,
    world: { ...(clock && { clock }), random: setup.random ?? (() => 0.5) },
  });
  if (setup.file !== undefined) {
    await proxy.open();
    proxy.start();
  }
  const server = await listen({ port: 0, host, limits: { ...LIMITS, ...limits }, handle: proxy.listener, onDrop: () => {} });
  const origin = `http://${host.includes(':') ? `[${host}]` : host}:${server.port}`;
  const authorization = setup.auth?.token === undefined ? {} : { Authorization: `Bearer ${setup.auth.token}` };

  function flow<T>(condition: () => T | Promise<T>, what: string, msAtOnce = 25): ReturnType<typeof until<T>> {
    return until(async () => {
      const holds = await condition();
      if (!holds) await clock?.run(msAtOnce);
      return holds;
    }, what);
  }

  let closed = false;
  async function close(): Promise<void> {
    if (closed) return;
    closed = true;
    let over = false;
    const ending = proxy.close().finally(() => (over = true));
    await flow(() => over, 'the end of the proxy', 100); // in real time it ends within ten seconds, and so does this
    await ending;
    await server.close(100);
    const leaders = [...new Set([...test.spawned(), ...starts(dir)])];
    const left = (): number[] => leaders.filter((pid) => alive(pid) || group(pid).length > 0);
    // With a fake clock the proxy may stop waiting for a killed process sooner than the kernel ends it.
    if (clock !== undefined) await until(() => left().length === 0, () => `processes that are left after the end: ${left()}`);
    assert.deepEqual(left(), [], 'processes are left after the end of the proxy');
    assert.deepEqual(overlaps, [], 'processes were still there when their successors were started');
    assert.deepEqual(test.logged('internal').map(({ message }) => message), [], 'the proxy had a bug');
  }

  const test: TestProxy = {
    proxy,
    port: server.port,
    origin,
    dir,
    path,
    log,
    logged: (event, level) => log.filter((entry) => entry.event === event && (level === undefined || entry.level === level)),
    own: (others) => ownServers(dir, others),
    url: (to) => `${origin}${basePath}${to}`,
    call(name, method, params, { id = 1, headers = {}, signal, path: suffix = 'mcp', progressToken } = {}) {
      const body = JSON.stringify({ jsonrpc: '2.0', id, method, params: withToken(params, progressToken) });
      return request(test.url(`/${encodeURIComponent(name)}/${suffix}`), {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...authorization, ...headers },
        body,
        ...(signal && { signal }),
      });
    },
    async tool(name, tool, args = {}, options = {}) {
      const reply = await test.call(name, 'tools/call', { name: tool, arguments: args }, options);
      const { result, error } = reply.json();
      assert.equal(error, undefined, `${tool} at ${name}: ${reply.text}`);
      return result.structuredContent ?? result;
    },
    stream(name, method, params, { id = 1, headers = {}, progressToken } = {}) {
      const body = JSON.stringify({ jsonrpc: '2.0', id, method, params: withToken(params, progressToken) });
      const accept = { Accept: 'application/json, text/event-stream', 'Content-Type': 'application/json' };
      return openSse(test.url(`/${encodeURIComponent(name)}/mcp`), { ...accept, ...authorization, ...headers }, { method: 'POST', body });
    },
    async open(name, method, params, headers = {}) {
      const inFlight = async (): Promise<number> => (await test.status())[name].pendingRequests;
      const before = await inFlight();
      const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }));
      const lines = Object.entries({ Host: new URL(origin).host, 'Content-Length': body.length, ...authorization, ...headers });
      const head = lines.map(([key, value]) => `${key}: ${value}\r\n`).join('');
      const connection = await connect(server.port, host);
      connection.write(Buffer.concat([Buffer.from(`POST ${basePath}/${encodeURIComponent(name)}/mcp HTTP/1.1\r\n${head}\r\n`), body]));
      await until(async () => (await inFlight()) > before, `the call of ${method} in flight at ${name}`);
      return connection;
    },
    notify: (name, method, params) =>
      post(test.url(`/${encodeURIComponent(name)}/mcp`), { jsonrpc: '2.0', method, params }, authorization),
    async listen(name) {
      const stream = await openSse(test.url(`/${encodeURIComponent(name)}/sse`), authorization);
      t.after(() => stream.close());
      await stream.event('endpoint');
      return stream;
    },
    status: async () => (await request(test.url('/api/servers'), { headers: { Accept: 'application/json', ...authorization } })).json(),
    async becomes(name, wanted) {
      const matches = (status: any): unknown => (typeof wanted === 'string' ? status?.status === wanted : status && wanted(status));
      let last: unknown;
      return until(
        async () => {
          const status = (await test.status())[name];
          last = status;
          return matches(status) ? status : undefined;
        },
        () => `${name} ${wanted}, but ${JSON.stringify(last)}`,
      );
    },
    async watch() {
      const stream = await openSse(test.url('/api/servers'), { Accept: 'text/event-stream', ...authorization });
      t.after(() => stream.close());
      const first = JSON.parse((await stream.event('status')).data);
      return Object.assign(stream, { first, delta: async () => JSON.parse((await stream.event('delta')).data) });
    },
    configure: (others) => post(test.url('/api/config'), { mcpServers: test.own(others) }, authorization),
    spawned: (name) =>
      test.logged('spawn').flatMap((entry) => (entry['pid'] !== undefined && (name ?? entry.server) === entry.server ? [Number(entry['pid'])] : [])),
    received: (name) => linesOf(join(dir, `${encodeURIComponent(name)}.journal`)),
    flow,
    close,
  };
  return test;
}

/** Each with a file of its own for what it receives and for the ids of its processes. */
function ownServers(dir: string, servers: Servers): Servers {
  const entries = Object.entries(servers).map(([name, { env, ...entry }]): [string, ServerConfigInput] => {
    if (entry.command === undefined) return [name, entry];
    const file = (kind: string): string => join(dir, `${encodeURIComponent(name)}.${kind}`);
    return [name, { ...entry, env: { JOURNAL: file('journal'), STARTS: file('starts'), ...env } }];
  });
  return Object.fromEntries(entries);
}

function starts(dir: string): number[] {
  return readdirSync(dir).flatMap((name) => (name.endsWith('.starts') ? linesOf(join(dir, name)).map(Number) : []));
}

function linesOf(path: string): string[] {
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter((line) => line !== '') : [];
}

function withToken(params: unknown, progressToken: string | number | undefined): unknown {
  return progressToken === undefined ? params : { ...(params as object), _meta: { progressToken } };
}

/** The messages of a stream's `message` events that came so far. */
export function messages(stream: { readonly all: readonly SseItem[] }): any[] {
  return stream.all.flatMap((item) => ('event' in item && item.event === 'message' ? JSON.parse(item.data) : []));
}

/** The next JSON-RPC message of a stream. */
export async function nextMessage(stream: SseStream): Promise<any> {
  const { data }: SseEvent = await stream.event('message');
  return JSON.parse(data);
}

/** A refusal of the proxy itself, which says so, in short. */
export function errorOf(reply: Reply): [status: number, id: unknown, code: number, reason: string] {
  const { jsonrpc, id, error } = reply.json();
  assert.deepEqual([jsonrpc, error.data.source, reply.headers['content-type']], ['2.0', 'mcp-proxy', 'application/json']);
  return [reply.status, id, error.code, error.data.reason];
}

/** How a stream or a connection ends, which has to be soon. */
export async function endOf<T>(it: { readonly ended: Promise<T> }): Promise<T> {
  let how: T | undefined;
  void it.ended.then((ended) => (how = ended));
  await until(() => how !== undefined, 'the end of a stream');
  return it.ended;
}
