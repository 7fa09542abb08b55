// A client of 2026-07-28 that builds what every request of it needs, envelope and headers, and nothing else. What a test
// gives wins; `undefined` leaves a header or a key of `_meta` out.

import assert from 'node:assert/strict';
import { openSse, post, type Connection, type Reply, type SseStream } from './http.ts';
import type { TestProxy } from './proxy.ts';
import { BOTH } from './session.ts';

export const VERSION = '2026-07-28';
/** The children that a modern client may meet, as the arguments of `server.mjs`. */
export const ERAS = { legacy: [], modern: ['--modern-only'] } as const;
/** A client that can be asked everything. */
export const ABLE = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} };

/** The name of a member of `_meta`. */
export const key = (name: string): string => `io.modelcontextprotocol/${name}`;

export interface ModernOptions {
  readonly id?: unknown;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** Members of `_meta`, by their whole names. */
  readonly meta?: Readonly<Record<string, unknown>>;
  readonly capabilities?: object;
  readonly logLevel?: string;
  readonly progressToken?: unknown;
}

/** What a request of a modern client consists of. */
export function modernRequest(method: string, params: Record<string, unknown> = {}, options: ModernOptions = {}): { headers: Record<string, string>; message: any } {
  const { id = 1, meta = {}, capabilities = {}, logLevel, progressToken } = options;
  const _meta = {
    [key('protocolVersion')]: VERSION,
    [key('clientInfo')]: { name: 'test', version: '1' },
    [key('clientCapabilities')]: capabilities,
    [key('logLevel')]: logLevel,
    progressToken,
    ...meta,
  };
  const name = { 'tools/call': params['name'], 'prompts/get': params['name'], 'resources/read': params['uri'] }[method];
  const headers = {
    Accept: BOTH,
    'Content-Type': 'application/json',
    'MCP-Protocol-Version': VERSION,
    'Mcp-Method': method,
    'Mcp-Name': name === undefined ? undefined : String(name),
    ...options.headers,
  };
  const message = { jsonrpc: '2.0', id, method, params: { ...params, _meta } };
  const given = Object.entries(headers).filter((header): header is [string, string] => header[1] !== undefined);
  return { headers: Object.fromEntries(given), message: JSON.parse(JSON.stringify(message)) };
}

export interface ModernClient {
  /** One request and its answer, whole, as JSON or as a stream. */
  post(method: string, params?: Record<string, unknown>, options?: ModernOptions): Promise<Reply>;
  /** One request whose answer is a stream, or JSON after all. */
  stream(method: string, params?: Record<string, unknown>, options?: ModernOptions): Promise<SseStream>;
  /** One request over a connection of its own, once it is in flight; the test leaves as it likes. */
  open(method: string, params?: Record<string, unknown>, options?: ModernOptions): Promise<Connection>;
  /** Calls a tool; the answer. */
  call(name: string, args?: object, options?: ModernOptions): Promise<Reply>;
  /** Calls a tool; what it returned as structured content, or else the whole result. */
  tool(name: string, args?: object, options?: ModernOptions): Promise<any>;
  toolStream(name: string, args?: object, options?: ModernOptions): Promise<SseStream>;
  /** A `subscriptions/listen`. */
  listen(notifications: object, options?: ModernOptions): Promise<SseStream>;
  notify(method: string, params?: object): Promise<Reply>;
}

export function modernClient(
  t: { after(then: () => void | Promise<void>): void },
  proxy: TestProxy,
  server = 'x',
  defaults: ModernOptions = {},
): ModernClient {
  const url = proxy.url(`/${server}/mcp`);
  const built = (method: string, params?: Record<string, unknown>, options: ModernOptions = {}): ReturnType<typeof modernRequest> =>
    modernRequest(method, params, { ...defaults, ...options, headers: { ...defaults.headers, ...options.headers } });

  const client: ModernClient = {
    post(...request) {
      const { headers, message } = built(...request);
      return post(url, message, headers);
    },
    async stream(...request) {
      const { headers, message } = built(...request);
      const stream = await openSse(url, headers, { method: 'POST', body: JSON.stringify(message) });
      t.after(() => stream.close());
      return stream;
    },
    async open(...request) {
      const { headers, message } = built(...request);
      const connection = await proxy.open(server, message.method, message.params, headers);
      t.after(() => connection.close());
      return connection;
    },
    call: (name, args = {}, options) => client.post('tools/call', { name, arguments: args }, options),
    async tool(name, args, options) {
      const reply = await client.call(name, args, options);
      const { result, error } = answerIn(reply);
      assert.equal(error, undefined, `${name}: ${reply.text}`);
      return result.structuredContent ?? result;
    },
    toolStream: (name, args = {}, options) => client.stream('tools/call', { name, arguments: args }, options),
    listen: (notifications, options) => client.stream('subscriptions/listen', { notifications }, options),
    notify: (method, params) => post(url, { jsonrpc: '2.0', method, params }, { 'MCP-Protocol-Version': VERSION }),
  };
  return client;
}

/** The JSON-RPC response in an answer, which is JSON or the last event of a stream. */
export function answerIn(reply: Pick<Reply, 'headers' | 'text'>): any {
  if (reply.headers['content-type'] === 'application/json') return JSON.parse(reply.text);
  return JSON.parse(/data: (.*)\n\n$/.exec(reply.text)![1]!);
}
