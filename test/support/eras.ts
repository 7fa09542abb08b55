// One client of each kind that the proxy serves, all with the same few verbs, so that a test can be about what
// crosses and not about how. Each does what its revision of MCP has for it and nothing cleverer.

import assert from 'node:assert/strict';
import { until } from './files.ts';
import { openSse, post, type SseStream } from './http.ts';
import { modernRequest } from './modern.ts';
import type { TestProxy } from './proxy.ts';
import { BOTH, initialize } from './session.ts';

export const FRONTS = ['simple', 'HTTP+SSE', 'Streamable HTTP', 'stateless'] as const;
export type Front = (typeof FRONTS)[number];

/** What a client says to a question of a server: a result, or an error under `error`. */
export type Replies = (method: string, params: any) => object;

export interface EraSetup {
  readonly server?: string;
  readonly capabilities?: object;
  readonly replies?: Replies;
}

export interface Ongoing {
  readonly id: number;
  /** Waits for the JSON-RPC response, and replies to what is asked until then. */
  answer(): Promise<any>;
  /** Says that nobody wants the answer any more, the way this client does it; where that is leaving, a message must have come. */
  cancel(): Promise<unknown>;
}

export interface EraClient {
  readonly front: Front;
  /** What came that is no answer and no question, on whichever stream, in the order of the streams. */
  readonly heard: any[];
  /** What it was asked, each as method and params. */
  readonly asked: { readonly method: string; readonly params: any }[];
  /** Sends a request; `meta` goes into its `_meta`. */
  request(method: string, params?: object, meta?: object): Ongoing;
  /** A tool call that succeeds, and its structured content. */
  tool(name: string, args?: object, meta?: object): Promise<any>;
  /** Wants log lines from this level on. */
  setLevel(level: string): Promise<void>;
  /** Is told when one of these resources changes, and, in any case, when a list does. */
  watch(...uris: string[]): Promise<void>;
  notify(method: string, params?: object): Promise<unknown>;
  /** Leaves without a word. */
  leave(): Promise<void>;
}

interface Scope {
  after(then: () => void | Promise<void>): void;
}

export function connectEra(t: Scope, proxy: TestProxy, front: Front, setup: EraSetup = {}): Promise<EraClient> {
  switch (front) {
    case 'simple':
      return connectSimple(t, proxy, setup);
    case 'HTTP+SSE':
      return connectHttpSse(t, proxy, setup);
    case 'Streamable HTTP':
      return connectStreamable(t, proxy, setup);
    case 'stateless':
      return connectStateless(t, proxy, setup);
  }
}

/** The streams of a client, and what all of them have in common. */
class Streams {
  readonly all: SseStream[] = [];
  readonly asked: { method: string; params: any }[] = [];
  readonly #replied = new Set<unknown>();
  #lastId = 0;

  /** Ids begin at 1 with every client, so that those of two clients are the same. */
  nextId(): number {
    return ++this.#lastId;
  }

  async open(t: Scope, ...args: Parameters<typeof openSse>): Promise<SseStream> {
    const stream = await openSse(...args);
    t.after(() => stream.close());
    this.all.push(stream);
    return stream;
  }

  get heard(): any[] {
    return this.all.flatMap(messagesOf).filter(({ id, method }) => id === undefined && method !== undefined);
  }

  /** Waits for the answer under this id; what is asked meanwhile is answered by `reply`. */
  answer(id: number, reply: (id: unknown, method: string, params: any) => Promise<unknown>): Promise<any> {
    return until(async () => {
      for (const { id: asked, method, params } of this.all.flatMap(messagesOf)) {
        if (method === undefined || asked === undefined || this.#replied.has(asked)) continue;
        this.#replied.add(asked);
        this.asked.push({ method, params });
        await reply(asked, method, params);
      }
      return this.all.flatMap(messagesOf).find((message) => message.id === id && message.method === undefined);
    }, `the answer to ${id}`);
  }
}

/** The messages of a stream so far, or the one of an answer that is none. */
function messagesOf(stream: SseStream): any[] {
  if (/^text\/event-stream/.test(stream.headers['content-type'] ?? '')) {
    return stream.all.flatMap((item) => ('event' in item && item.event === 'message' && item.data !== '' ? [JSON.parse(item.data)] : []));
  }
  try {
    return [JSON.parse(stream.raw.toString())];
  } catch {
    return []; // it has not come yet, or is none
  }
}

const REFUSES: Replies = () => ({ error: { code: -32603, message: 'this client refuses' } });
const replied = (answer: object): object => ('error' in answer ? answer : { result: answer });
const withMeta = (params: object | undefined, meta: object | undefined): object | undefined => (meta === undefined ? params : { ...params, _meta: meta });

async function toolOf(ongoing: Ongoing, name: string): Promise<any> {
  const { result, error } = await ongoing.answer();
  assert.equal(error, undefined, `${name}: ${JSON.stringify(error)}`);
  return result.structuredContent ?? result;
}

/** A client with what all kinds do alike; `verbs` are what they do each in their own way. */
function clientWith(front: Front, streams: Streams, verbs: Pick<EraClient, 'request' | 'notify'> & Partial<EraClient>): EraClient {
  const client: EraClient = {
    front,
    get heard() {
      return streams.heard;
    },
    asked: streams.asked,
    tool: (name, args = {}, meta) => toolOf(client.request('tools/call', { name, arguments: args }, meta), name),
    setLevel: async (level) => assert.deepEqual((await client.request('logging/setLevel', { level }).answer()).result, {}),
    async watch(...uris) {
      for (const uri of uris) assert.deepEqual((await client.request('resources/subscribe', { uri }).answer()).result, {});
    },
    leave: async () => void (await Promise.all(streams.all.map((stream) => stream.close()))),
    ...verbs,
  };
  return client;
}

async function connectSimple(t: Scope, proxy: TestProxy, { server = 'x' }: EraSetup): Promise<EraClient> {
  const streams = new Streams();
  const url = proxy.url(`/${server}/mcp`);
  await (await streams.open(t, proxy.url(`/${server}/sse`))).event('endpoint');
  return clientWith('simple', streams, {
    request(method, params, meta) {
      const id = streams.nextId();
      const opened = streams.open(t, url, { Accept: BOTH, 'Content-Type': 'application/json' }, { method: 'POST', body: JSON.stringify({ jsonrpc: '2.0', id, method, params: withMeta(params, meta) }) });
      opened.catch(() => {});
      return { id, answer: () => opened.then(() => streams.answer(id, () => Promise.reject(new Error('a simple client was asked')))), cancel: async () => (await opened).close() };
    },
    notify: (method, params) => post(url, { jsonrpc: '2.0', method, params }),
  });
}

/** A client whose answers all come on streams that the server may also ask on. */
function sessionClient(front: Front, streams: Streams, replies: Replies, send: (message: object) => Promise<unknown>): EraClient {
  const notify = (method: string, params?: object): Promise<unknown> => send({ jsonrpc: '2.0', method, params });
  return clientWith(front, streams, {
    request(method, params, meta) {
      const id = streams.nextId();
      const sent = send({ jsonrpc: '2.0', id, method, params: withMeta(params, meta) });
      sent.catch(() => {});
      const reply = (asked: unknown, question: string, about: any): Promise<unknown> => send({ jsonrpc: '2.0', id: asked, ...replied(replies(question, about)) });
      return { id, answer: () => streams.answer(id, reply), cancel: () => notify('notifications/cancelled', { requestId: id, reason: 'not needed' }) };
    },
    notify,
  });
}

async function connectHttpSse(t: Scope, proxy: TestProxy, { server = 'x', capabilities = {}, replies = REFUSES }: EraSetup): Promise<EraClient> {
  const streams = new Streams();
  const stream = await streams.open(t, proxy.url(`/${server}/sse`), { Accept: 'text/event-stream' });
  const { data } = await stream.event('endpoint');
  const send = async (message: object): Promise<void> => assert.equal((await post(proxy.origin + data, message)).status, 202);
  const client = sessionClient('HTTP+SSE', streams, replies, send);
  await send(initialize('2024-11-05', capabilities, streams.nextId()));
  await streams.answer(1, () => Promise.reject(new Error('asked too early')));
  await client.notify('notifications/initialized');
  return client;
}

async function connectStreamable(t: Scope, proxy: TestProxy, { server = 'x', capabilities = {}, replies = REFUSES }: EraSetup): Promise<EraClient> {
  const streams = new Streams();
  const url = proxy.url(`/${server}/mcp`);
  const version = '2025-11-25';
  const reply = await post(url, initialize(version, capabilities, streams.nextId()), { Accept: BOTH });
  assert.equal(reply.status, 200, reply.text);
  const headers = { 'Mcp-Session-Id': String(reply.headers['mcp-session-id']), 'MCP-Protocol-Version': version };
  const send = async (message: object): Promise<void> => {
    if ('id' in message && 'method' in message) {
      await streams.open(t, url, { ...headers, Accept: BOTH, 'Content-Type': 'application/json' }, { method: 'POST', body: JSON.stringify(message) });
    } else assert.equal((await post(url, message, { ...headers, Accept: BOTH })).status, 202);
  };
  const client = sessionClient('Streamable HTTP', streams, replies, send);
  await client.notify('notifications/initialized');
  await streams.open(t, url, { ...headers, Accept: 'text/event-stream' });
  return client;
}

async function connectStateless(t: Scope, proxy: TestProxy, { server = 'x', capabilities = {}, replies = REFUSES }: EraSetup): Promise<EraClient> {
  const streams = new Streams();
  const url = proxy.url(`/${server}/mcp`);
  let level: string | undefined;

  const open = (id: number, method: string, params?: object, meta?: object): Promise<SseStream> => {
    const { headers, message } = modernRequest(method, { ...params }, { id, capabilities, meta: { ...meta }, ...(level !== undefined && { logLevel: level }) });
    return streams.open(t, url, headers, { method: 'POST', body: JSON.stringify(message) });
  };
  const never = (): Promise<never> => Promise.reject(new Error('a modern client got a request'));
  async function answer(id: number, method: string, params: object | undefined, meta: object | undefined, opened: Promise<SseStream>): Promise<any> {
    await opened;
    const got = await streams.answer(id, never);
    if (got.result?.resultType !== 'input_required') return got;
    const { inputRequests = {}, requestState } = got.result;
    const inputResponses = Object.fromEntries(
      Object.entries<any>(inputRequests).map(([key, { method, params }]) => {
        streams.asked.push({ method, params });
        return [key, replies(method, params)];
      }),
    );
    const again = streams.nextId();
    const retry = { ...params, inputResponses, requestState };
    return answer(again, method, retry, meta, open(again, method, retry, meta));
  }
  return clientWith('stateless', streams, {
    request(method, params, meta) {
      const id = streams.nextId();
      const opened = open(id, method, params, meta);
      opened.catch(() => {});
      return { id, answer: () => answer(id, method, params, meta, opened), cancel: async () => (await opened).close() };
    },
    setLevel: async (wanted) => void (level = wanted),
    async watch(...uris) {
      const notifications = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true, resourceSubscriptions: uris };
      const stream = await open(streams.nextId(), 'subscriptions/listen', { notifications });
      await stream.event('message'); // what it agreed to
    },
    notify(method, params) {
      const { headers, message: { id: _, ...message } } = modernRequest(method, { ...params }, { capabilities });
      return post(url, message, headers);
    },
  });
}
