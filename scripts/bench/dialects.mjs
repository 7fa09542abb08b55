// What a call looks like on the wire, in each way that a client may speak. Whole requests as bytes, made once: who
// measures must not be what is measured.
// @ts-check

/** @typedef {'bare' | 'simple' | 'session' | 'stateless'} Dialect */

const LEGACY = '2025-11-25';
const MODERN = '2026-07-28';
const CLIENT = { name: 'bench', version: '1.0.0' };
const ACCEPT = 'application/json, text/event-stream';

/** The `_meta` of a request that stands alone. */
const META = {
  'io.modelcontextprotocol/protocolVersion': MODERN,
  'io.modelcontextprotocol/clientInfo': CLIENT,
  'io.modelcontextprotocol/clientCapabilities': {},
};

/** A tool call as a POST; `session` is the id that `initialize` was answered with, if any. */
export function call(/** @type {URL} */ url, /** @type {Dialect} */ dialect, /** @type {number} */ id, /** @type {object} */ args, session = '') {
  const meta = dialect === 'stateless' ? { _meta: META } : {};
  const body = JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'answer', ...meta, arguments: args } });
  return post(url, body, headersOf(dialect, session));
}

export function initialize(/** @type {URL} */ url) {
  const params = { protocolVersion: LEGACY, capabilities: {}, clientInfo: CLIENT };
  return post(url, JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params }), { accept: ACCEPT });
}

export function initialized(/** @type {URL} */ url, /** @type {string} */ session) {
  return post(url, '{"jsonrpc":"2.0","method":"notifications/initialized"}', headersOf('session', session));
}

/** A GET that asks for a stream: that of a session, or what a path streams to a simple client. */
export function stream(/** @type {URL} */ url, session = '') {
  return head('GET', url, session === '' ? { accept: '*/*' } : { ...headersOf('session', session), accept: 'text/event-stream' });
}

/** @returns {Record<string, string>} */
function headersOf(/** @type {Dialect} */ dialect, /** @type {string} */ session) {
  switch (dialect) {
    case 'bare':
    case 'simple':
      return { accept: 'application/json' };
    case 'session':
      return { accept: ACCEPT, 'mcp-protocol-version': LEGACY, ...(session === '' ? {} : { 'mcp-session-id': session }) };
    case 'stateless':
      return { accept: ACCEPT, 'mcp-protocol-version': MODERN, 'mcp-method': 'tools/call', 'mcp-name': 'answer' };
  }
}

function post(/** @type {URL} */ url, /** @type {string} */ body, /** @type {Record<string, string>} */ headers) {
  const bytes = Buffer.from(body);
  return Buffer.concat([head('POST', url, { 'content-type': 'application/json', 'content-length': String(bytes.length), ...headers }), bytes]);
}

function head(/** @type {string} */ method, /** @type {URL} */ url, /** @type {Record<string, string>} */ headers) {
  const lines = Object.entries({ host: url.host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${method} ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join('')}\r\n`);
}
