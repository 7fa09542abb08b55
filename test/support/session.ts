// A client of Streamable HTTP that adds nothing of its own but the session's header, so that tests see what is on the wire.

import assert from 'node:assert/strict';
import { openSse, post, request, type Reply, type SseStream } from './http.ts';
import { type TestProxy } from './proxy.ts';
import { until } from './files.ts';

export const REVISIONS = ['2025-11-25', '2025-06-18', '2025-03-26'] as const;
export const BOTH = 'application/json, text/event-stream';

export interface SessionSetup {
  readonly version?: string;
  readonly capabilities?: object;
  /** Whether `notifications/initialized` is sent. */
  readonly initialized?: boolean;
  /** What its POSTs take. */
  readonly accept?: string;
}

export interface TestSession {
  readonly id: string;
  readonly headers: Readonly<Record<string, string>>;
  /** POSTs any body in this session. */
  post(message: unknown, headers?: Readonly<Record<string, string>>): Promise<Reply>;
  /** One request, as JSON or as a stream. */
  stream(method: string, params?: object, id?: unknown): Promise<SseStream>;
  call(method: string, params?: object, id?: unknown): Promise<Reply>;
  tool(name: string, args?: object, id?: unknown): Promise<any>;
  /** A tool call as a stream; it has a progress token `tok`. */
  toolStream(name: string, args?: object, id?: unknown): Promise<SseStream>;
  notify(method: string, params?: object): Promise<Reply>;
  /** Opens a GET, with `Last-Event-ID` if given. */
  get(lastEventId?: string): Promise<SseStream>;
  delete(): Promise<Reply>;
}

export const initialize = (version: string, capabilities: object = {}, id: unknown = 1): object => ({
  jsonrpc: '2.0',
  id,
  method: 'initialize',
  params: { protocolVersion: version, capabilities, clientInfo: { name: 'test', version: '1' } },
});

export async function openSession(
  t: { after(then: () => void | Promise<void>): void },
  proxy: TestProxy,
  server = 'x',
  { version = '2025-06-18', capabilities = {}, initialized = true, accept = BOTH }: SessionSetup = {},
): Promise<TestSession> {
  const url = proxy.url(`/${server}/mcp`);
  const reply = await post(url, initialize(version, capabilities), { Accept: BOTH });
  assert.equal(reply.status, 200, reply.text);
  const id = String(reply.headers['mcp-session-id']);
  const headers = { 'Mcp-Session-Id': id, Accept: accept, 'MCP-Protocol-Version': version };

  async function streaming(method: string, path: string, extra: Record<string, string> = {}, body?: string): Promise<SseStream> {
    const stream = await openSse(path, { ...headers, ...extra }, { method, ...(body !== undefined && { body }) });
    t.after(() => stream.close());
    return stream;
  }

  const session: TestSession = {
    id,
    headers,
    post: (message, extra = {}) => post(url, message, { ...headers, ...extra }),
    stream: (method, params, callId = 1) =>
      streaming('POST', url, { 'Content-Type': 'application/json' }, JSON.stringify({ jsonrpc: '2.0', id: callId, method, params })),
    call: (method, params, callId = 1) => session.post({ jsonrpc: '2.0', id: callId, method, params }),
    async tool(name, args = {}, callId = 'tool') {
      const answer = await session.stream('tools/call', { name, arguments: args }, callId);
      await answer.ended;
      const text = answer.headers['content-type'] === 'application/json' ? JSON.parse(answer.raw.toString()) : said(answer).at(-1);
      assert.equal(text.error, undefined, answer.raw.toString());
      return text.result.structuredContent ?? text.result;
    },
    toolStream: (name, args = {}, callId = 1) =>
      session.stream('tools/call', { name, arguments: args, _meta: { progressToken: 'tok' } }, callId),
    notify: (method, params) => session.post({ jsonrpc: '2.0', method, params }),
    get: (lastEventId) => streaming('GET', url, { Accept: 'text/event-stream', ...(lastEventId !== undefined && { 'Last-Event-ID': lastEventId }) }),
    delete: () => request(url, { method: 'DELETE', headers }),
  };
  if (initialized) assert.equal((await session.notify('notifications/initialized')).status, 202);
  return session;
}

/** The messages that a stream has had so far; a priming event is none. */
export function said(stream: SseStream): any[] {
  return stream.all.flatMap((item) => ('event' in item && item.data !== '' ? [JSON.parse(item.data)] : []));
}

/** The ids of a stream's events so far. */
export function ids(stream: SseStream): string[] {
  return stream.all.flatMap((item) => ('event' in item && item.id !== undefined ? [item.id] : []));
}

/** The next message of a stream. */
export async function hears(stream: SseStream): Promise<any> {
  const item = await stream.next((each) => 'event' in each && each.data !== '');
  return JSON.parse((item as { data: string }).data);
}

/** Waits until so many calls are in flight at a server. */
export function inFlight(proxy: TestProxy, count: number, server = 'x'): Promise<unknown> {
  return proxy.becomes(server, (status) => status.pendingRequests === count);
}

/** What a child received of a method, once there are so many of it. */
export function childHas(proxy: TestProxy, method: string, count = 1, server = 'x'): Promise<any[]> {
  return until(() => {
    const all = heardByChild(proxy, method, server);
    return all.length >= count ? all : undefined;
  }, `${count} of ${method} at the child`);
}

/** What a child has received of a method so far. */
export function heardByChild(proxy: TestProxy, method: string, server = 'x'): any[] {
  return proxy.received(server).map((line) => JSON.parse(line)).filter((message) => message.method === method);
}
