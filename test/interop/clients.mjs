// @ts-check
// Clients that nobody here wrote: the official SDK's `Client` over each of its transports. Whatever reaches one is kept
// as the transport delivered it, and it answers sampling, elicitation and roots under its own name.
import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { getDefaultEnvironment, StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema, McpError, ResultSchema } from '@modelcontextprotocol/sdk/types.js';

/** @typedef {import('./direct.mjs').Entry} Entry */
/** @typedef {'streamable' | 'sse'} Front */
/** @typedef {{ result: any } | { error: any }} Answer a response without its id */
/** @typedef {{ method: string, params?: any }} Message a notification, or a request of the server without its id */
/**
 * @typedef {object} HttpRequest one HTTP request of a client
 * @property {string} method
 * @property {string} url
 * @property {any} body
 * @property {Headers} headers
 * @property {string | null} lastEventId
 * @property {number} [status]
 * @property {string | null} [type]
 * @property {boolean} [session] whether the answer named one
 * @property {() => void} cut destroys its connection, as a failing network does
 */
/**
 * @typedef {object} Replies what the client says when it is asked; what is thrown becomes its error
 * @property {(params: any, signal: AbortSignal) => any} sampling
 * @property {(params: any, signal: AbortSignal) => any} elicitation
 * @property {() => any} roots
 */
/**
 * @typedef {object} Options
 * @property {any} [capabilities] what it declares; without it, everything that a server may ask for
 * @property {any} [listChanged]
 * @property {string} [revision] the revision that it asks for; without it, the SDK's own
 */
/** @typedef {Awaited<ReturnType<typeof open>>} Peer */

const capabilities = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };

/** What every server inherits in every run: the SDK gives its own servers no more, and nothing in it is secret. */
export const environment = {
  ...getDefaultEnvironment(),
  ...Object.fromEntries(['LANG', 'TZ', 'TMPDIR'].flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))),
};

/**
 * Over the server's own stdin and stdout.
 * @param {Entry} entry
 * @param {string} cwd
 * @param {string} name
 * @param {string} root the directory that the client gives as its root
 */
export function openStdio({ command, args, env }, cwd, name, root) {
  return open(() => new StdioClientTransport({ command, args, cwd, env: { ...environment, ...env }, stderr: 'ignore' }), [], name, root);
}

/**
 * Through the proxy.
 * @param {Front} front
 * @param {number} port
 * @param {string} server
 * @param {string} name
 * @param {string} root the directory that the client gives as its root
 * @param {Options & { sessionId?: string }} [options] a `sessionId` is that of a session to go on with
 */
export function openProxied(front, port, server, name, root, options = {}) {
  const { sessionId, ...rest } = options;
  const { http, at, recordingFetch } = road(port, server);
  const connect = () =>
    front === 'sse'
      ? new SSEClientTransport(at('sse'), { fetch: recordingFetch })
      : new StreamableHTTPClientTransport(at('mcp'), { fetch: recordingFetch, ...(sessionId === undefined ? {} : { sessionId }) });
  return open(connect, http, name, root, rest);
}

/**
 * The way to a server behind the proxy, and every HTTP request that goes it.
 * @param {number} port
 * @param {string} server
 */
export function road(port, server) {
  /** @type {HttpRequest[]} */
  const http = [];
  /** @type {(url: string | URL, init?: any) => Promise<Response>} */
  const recordingFetch = async (url, init = {}) => {
    const connection = new AbortController();
    if (init.signal) {
      setMaxListeners(0, init.signal); // one for every request of the client
      init.signal.addEventListener('abort', () => connection.abort(init.signal.reason));
    }
    const headers = new Headers(init.headers);
    /** @type {HttpRequest} */
    const request = {
      method: init.method ?? 'GET',
      url: String(url),
      body: init.body === undefined ? undefined : JSON.parse(init.body),
      headers,
      lastEventId: headers.get('last-event-id'),
      cut: () => connection.abort(new Error('the connection was cut')),
    };
    http.push(request);
    const response = await fetch(url, { ...init, signal: connection.signal });
    request.status = response.status;
    request.type = response.headers.get('content-type');
    request.session = response.headers.has('mcp-session-id');
    return response;
  };
  return { http, recordingFetch, at: (/** @type {string} */ path) => new URL(`http://127.0.0.1:${port}/${server}/${path}`) };
}

/**
 * @param {() => any} connect makes the transport
 * @param {HttpRequest[]} http
 * @param {string} name
 * @param {string} root
 * @param {Options} [options]
 */
async function open(connect, http, name, root, options = {}) {
  /** @type {Message[]} */
  const heard = [];
  /** @type {Message[]} */
  const asked = [];
  /** @type {Answer[]} */
  const answers = [];
  /** @type {string[]} */
  const errors = [];
  const replies = repliesOf(name, root);

  const declared = options.capabilities ?? capabilities;
  const client = new Client({ name, version: '1.0.0' }, { capabilities: declared, ...(options.listChanged ? { listChanged: options.listChanged } : {}) });
  client.onerror = (error) => errors.push(error.message);
  if (declared.sampling) client.setRequestHandler(CreateMessageRequestSchema, ({ params }, { signal }) => replies.sampling(params, signal));
  if (declared.elicitation) client.setRequestHandler(ElicitRequestSchema, ({ params }, { signal }) => replies.elicitation(params, signal));
  if (declared.roots) client.setRequestHandler(ListRootsRequestSchema, () => replies.roots());

  const transport = connect();
  transport.onmessage = (/** @type {any} */ { jsonrpc: _version, id, ...message }) => {
    if (message.method === undefined) answers.push(message);
    else if (id === undefined) heard.push(message);
    else asked.push(message);
  };
  if (options.revision !== undefined) {
    const send = transport.send.bind(transport);
    transport.send = (/** @type {any} */ message, /** @type {any} */ sendOptions) =>
      send(message.method === 'initialize' ? { ...message, params: { ...message.params, protocolVersion: options.revision } } : message, sendOptions);
  }
  await client.connect(transport).catch((error) => {
    throw new Error(`${name} cannot connect: ${error.message}`, { cause: error });
  });

  return {
    name,
    client,
    transport,
    /** Notifications, in order of arrival. */
    heard,
    /** Requests of the server. */
    asked,
    /** Responses. */
    answers,
    /** What the SDK complained about. */
    errors,
    /** Every HTTP request, in the order in which they were sent. */
    http,
    /** May be replaced. */
    replies,
    /** Ends the session, where the transport can say so, and closes the client. */
    async close() {
      if (transport.sessionId !== undefined && transport.terminateSession !== undefined) await transport.terminateSession().catch(() => {});
      await client.close();
    },
  };
}

/**
 * What a client of this name says when it is asked.
 * @param {string} name
 * @param {string} root
 * @returns {Replies}
 */
export function repliesOf(name, root) {
  return {
    sampling: ({ messages }) => ({
      role: 'assistant',
      model: `the model of ${name}`,
      stopReason: 'endTurn',
      content: { type: 'text', text: `${name} was asked: ${messages[0].content.text}` },
    }),
    elicitation: ({ mode }) => (mode === 'url' ? { action: 'accept' } : { action: 'accept', content: { name, check: true, integer: 7 } }),
    roots: () => ({ roots: [{ uri: `file://${root}`, name: `the root of ${name}` }] }),
  };
}

/** The SDK's own method for each request. @type {Record<string, (client: any, params: any, options: any) => Promise<any>>} */
export const methods = {
  ping: (client, _, options) => client.ping(options),
  'tools/list': (client, params, options) => client.listTools(params, options),
  'tools/call': (client, params, options) => client.callTool(params, undefined, options),
  'resources/list': (client, params, options) => client.listResources(params, options),
  'resources/templates/list': (client, params, options) => client.listResourceTemplates(params, options),
  'resources/read': (client, params, options) => client.readResource(params, options),
  'resources/subscribe': (client, params, options) => client.subscribeResource(params, options),
  'resources/unsubscribe': (client, params, options) => client.unsubscribeResource(params, options),
  'prompts/list': (client, params, options) => client.listPrompts(params, options),
  'prompts/get': (client, params, options) => client.getPrompt(params, options),
  'completion/complete': (client, params, options) => client.complete(params, options),
  'logging/setLevel': (client, { level }, options) => client.setLoggingLevel(level, options),
};

/**
 * Asks with the SDK's own method, which checks the answer too. The answer is what the transport delivered: one request
 * at a time, so that it can be told from others.
 * @param {Peer} peer
 * @param {Message} request
 * @param {any} [options]
 * @returns {Promise<Answer>}
 */
export async function askTyped({ client, answers }, { method, params }, options) {
  const before = answers.length;
  const typed = methods[method];
  const asking = typed === undefined ? client.request({ method, params }, ResultSchema, options) : typed(client, params, options);
  const refused = await asking.then(
    () => undefined,
    (error) => error,
  );
  const [answer, ...more] = answers.slice(before);
  if (answer === undefined) throw refused;
  assert.deepEqual(more, [], 'one answer');
  if (refused !== undefined && 'result' in answer) throw refused; // the client finds the answer wrong
  return answer;
}

/**
 * Asks without a look at the answer; any number of these may run at once.
 * @param {Peer} peer
 * @param {Message} request
 * @param {any} [options]
 * @returns {Promise<Answer>}
 */
export async function ask({ client }, { method, params }, options) {
  try {
    return { result: await client.request({ method, params }, ResultSchema, options) };
  } catch (error) {
    if (!(error instanceof McpError)) throw error;
    const { code, message, data } = error;
    return { error: { code, message: message.replace(/^MCP error -?\d+: /, ''), ...(data === undefined ? {} : { data }) } };
  }
}

/** @type {(tool: string, args?: any) => Message} */
export const call = (tool, args = {}) => ({ method: 'tools/call', params: { name: tool, arguments: args } });

/**
 * Waits until a condition holds.
 * @template T
 * @param {() => T | Promise<T>} condition
 * @param {() => string} what
 * @param {number} [ms]
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(condition, what, ms = 10_000) {
  for (const end = Date.now() + ms; ; await pause(5)) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) assert.fail(`not within ${ms} ms: ${what()}`);
  }
}
