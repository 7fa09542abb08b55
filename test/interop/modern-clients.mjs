// @ts-check
// Clients of the official SDK v2, which speak 2026-07-28, the legacy revisions, or what they find. Whatever they hear and
// whatever they are asked is kept, and they answer under their own name, however the question reached them.
import { Client, ProtocolError, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { environment, methods, repliesOf, road } from './clients.mjs';

/** @typedef {import('./clients.mjs').Message} Message */
/** @typedef {import('./clients.mjs').Answer} Answer */
/** @typedef {import('./clients.mjs').HttpRequest} HttpRequest */
/** @typedef {import('./direct.mjs').Entry} Entry */
/** @typedef {'legacy' | 'auto' | 'modern'} Mode how the client finds the revision; `modern` takes 2026-07-28 or nothing */
/** @typedef {Awaited<ReturnType<typeof open>>} Peer */
/**
 * @typedef {object} Options
 * @property {any} [capabilities] what it declares; without it, everything that a server may ask for
 * @property {any} [listChanged]
 * @property {import('./clients.mjs').Front} [front] the transport; without it, Streamable HTTP
 */
export const REVISION = '2026-07-28';
const everything = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} };
const negotiation = { legacy: 'legacy', auto: 'auto', modern: { pin: REVISION } };

/**
 * Over the server's own stdin and stdout.
 * @param {Entry} entry
 * @param {string} cwd
 * @param {Mode} mode
 * @param {string} name
 * @param {string} root the directory that the client gives as its root
 * @param {Options} [options]
 */
export function openStdio2({ command, args, env }, cwd, mode, name, root, options) {
  return open(() => new StdioClientTransport({ command, args, cwd, env: { ...environment, ...env }, stderr: 'ignore' }), [], mode, name, root, options);
}

/**
 * Through the proxy.
 * @param {number} port
 * @param {string} server
 * @param {Mode} mode
 * @param {string} name
 * @param {string} root the directory that the client gives as its root
 * @param {Options} [options]
 */
export function openProxied2(port, server, mode, name, root, options) {
  const { http, at, recordingFetch } = road(port, server);
  const connect = () =>
    options?.front === 'sse'
      ? new SSEClientTransport(at('sse'), { fetch: recordingFetch })
      : new StreamableHTTPClientTransport(at('mcp'), { fetch: recordingFetch });
  return open(connect, http, mode, name, root, options);
}

/**
 * @param {() => any} connect makes the transport
 * @param {HttpRequest[]} http
 * @param {Mode} mode
 * @param {string} name
 * @param {string} root
 * @param {Options} [options]
 */
async function open(connect, http, mode, name, root, { capabilities = everything, listChanged } = {}) {
  /** @type {Message[]} */
  const heard = [];
  /** @type {Message[]} */
  const asked = [];
  /** @type {string[]} */
  const errors = [];
  const replies = repliesOf(name, root);

  const versionNegotiation = /** @type {any} */ ({ mode: negotiation[mode] });
  const client = new Client({ name, version: '1.0.0' }, { capabilities, versionNegotiation, ...(listChanged ? { listChanged } : {}) });
  client.onerror = (error) => errors.push(error.message);
  const reply = (/** @type {string} */ method, /** @type {(params: any, signal: AbortSignal) => any} */ answer) =>
    client.setRequestHandler(/** @type {any} */ (method), (/** @type {any} */ { params }, /** @type {any} */ { mcpReq }) => {
      asked.push({ method, params });
      return answer(params, mcpReq.signal);
    });
  if (capabilities.sampling) reply('sampling/createMessage', (params, signal) => replies.sampling(params, signal));
  if (capabilities.elicitation) reply('elicitation/create', (params, signal) => replies.elicitation(params, signal));
  if (capabilities.roots) reply('roots/list', () => replies.roots());

  const transport = connect();
  transport.onmessage = (/** @type {any} */ { jsonrpc: _version, id, ...message }) => {
    if (message.method !== undefined && id === undefined) heard.push(message);
  };
  await client.connect(transport).catch((error) => {
    throw new Error(`${name} cannot connect: ${error.message}`, { cause: error });
  });

  return {
    name,
    client,
    transport,
    /** Notifications, in order of arrival. */
    heard,
    /** What the server wanted to know. */
    asked,
    /** What the SDK complained about. */
    errors,
    /** Every HTTP request, in the order in which they were sent. */
    http,
    /** May be replaced. */
    replies,
    /** Ends the session, if there is one, and closes the client. */
    async close() {
      await transport.terminateSession?.().catch(() => {});
      await client.close();
    },
  };
}

/** The SDK's own method for each request. @type {typeof methods} */
const methods2 = { ...methods, 'tools/call': (client, params, options) => client.callTool(params, options) };

/** Whether the SDK has a method for a request. @param {string} method */
export const typed = (method) => method in methods2;

/**
 * Asks with the SDK's own method, which checks the answer and gives the server whatever input it requires. Nothing comes from
 * the client's cache.
 * @param {Peer} peer
 * @param {Message} request
 * @param {any} [options]
 * @returns {Promise<Answer>}
 */
export async function ask2({ client }, { method, params }, options) {
  const ask = methods2[method];
  if (ask === undefined) throw new Error(`the SDK has no method for ${method}`);
  try {
    return { result: await ask(client, params, { cacheMode: 'refresh', ...options }) };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const { code, message, data } = error;
    return { error: { code, message, ...(data === undefined ? {} : { data }) } };
  }
}
