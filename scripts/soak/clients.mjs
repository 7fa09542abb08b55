// The clients of the soak, of every dialect, good and bad. Each does the same over and over and checks every payload: an
// answer is the right one, or an error that says what has just been done to the server.
// @ts-check
import { connect } from 'node:net';
import { send } from './http.mjs';

const META = 'io.modelcontextprotocol/';
const MODERN = '2026-07-28';
const BOTH = 'application/json, text/event-stream';
const ABLE = { elicitation: { form: {} } };
/** What may be wrong with a call while servers are restarted, killed, removed and brought back. */
const EXPECTED = new Set(['busy', 'starting', 'unavailable', 'child_exited', 'reconfigured', 'unknown_server', 'session_not_found', 'session_closed', 'session_limit', 'request_state', 'ambiguous_client', 'no_client', 'input_failed', 'cancelled']);
/** No call may take longer, whatever happens to its server. */
const CALL_MS = 90_000;

/** What all clients count together. */
export class Tally {
  right = 0;
  /** By reason. @type {Map<string, number>} */
  refused = new Map();
  /** @type {string[]} */
  wrong = [];

  refuse(/** @type {string} */ reason) {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
  }

  fail(/** @type {string} */ what) {
    if (this.wrong.length < 20) this.wrong.push(what);
  }

  /** Judges the answer to a call. `true`: it is right. */
  judge(/** @type {any} */ message, /** @type {unknown} */ id, /** @type {string} */ text, /** @type {string} */ who) {
    const reason = message?.error?.data?.reason;
    const got = message?.result?.content?.[0]?.text;
    if (message?.jsonrpc === '2.0' && message.id === id && got === text) return ++this.right > 0;
    const refused = reason ?? /refused, (\w+)/.exec(got ?? '')?.[1] ?? (message?.result?.isError === true && /could not be obtained/.test(got) ? 'input_failed' : undefined);
    if (EXPECTED.has(refused) && (message.id === id || message.id === null)) this.refuse(refused);
    else this.fail(`${who}: ${JSON.stringify({ id, text: text.slice(0, 60) })} is answered ${JSON.stringify(message)?.slice(0, 300)}`);
    return false;
  }
}

/** What a client needs to know. @typedef {{ origin: string, tally: Tally, signal: AbortSignal }} Place */

let lastCall = 0;
/** A text that nobody else has. */
const fresh = (/** @type {string} */ who) => `${who} ${++lastCall} żółć`;

/** Runs a client again and again until the soak is over. */
export async function again(/** @type {Place} */ place, /** @type {string} */ who, /** @type {(place: Place) => Promise<void>} */ act) {
  while (!place.signal.aborted) {
    const late = setTimeout(() => place.tally.fail(`${who}: no answer in ${CALL_MS / 1_000} s`), CALL_MS);
    try {
      await act(place);
    } catch (error) {
      place.tally.fail(`${who}: ${error instanceof Error ? error.stack : error}`);
    }
    clearTimeout(late);
    await pause(5);
  }
}

export const pause = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));
const some = (/** @type {number} */ n) => Math.floor(Math.random() * n);

/** Plain POSTs, small and big. */
export const simple = (/** @type {string} */ name) => async (/** @type {Place} */ { origin, tally }) => {
  const [id, text] = [++lastCall, fresh('simple')];
  const bytes = some(20) === 0 ? 300_000 : some(2_000);
  const { messages } = await send(`${origin}/${name}/mcp`, { body: call(id, 'echo', { text, bytes }) });
  tally.judge(messages[0], id, `${name}: ${text}${'x'.repeat(bytes)}`, `simple at ${name}`);
};

/** A batch, in whose answer each has its own. */
export const batch = (/** @type {string} */ name) => async (/** @type {Place} */ { origin, tally }) => {
  const calls = Array.from({ length: 5 }, () => ({ id: ++lastCall, text: fresh('batch') }));
  const { status, messages } = await send(`${origin}/${name}/mcp`, { headers: { accept: 'text/event-stream' }, body: calls.map(({ id, text }) => call(id, 'echo', { text })) });
  if (status !== 200) return tally.refuse('batch');
  for (const [k, { id, text }] of calls.entries()) tally.judge(messages[k], id, `${name}: ${text}`, `batch at ${name}`);
};

/** A session: a stream of its own, calls with progress, calls that ask; it is ended, or left. */
export const session = (/** @type {string} */ name) => async (/** @type {Place} */ { origin, tally, signal }) => {
  const url = `${origin}/${name}/mcp`;
  const params = { protocolVersion: '2025-06-18', capabilities: ABLE, clientInfo: { name: 'soak', version: '1' } };
  const opened = await send(url, { headers: { accept: BOTH }, body: { jsonrpc: '2.0', id: 0, method: 'initialize', params } });
  const id = opened.headers['mcp-session-id']?.toString();
  if (id === undefined) return tally.refuse(opened.messages[0]?.error?.data?.reason ?? `status ${opened.status}`);
  const headers = { accept: BOTH, 'mcp-session-id': id, 'mcp-protocol-version': '2025-06-18' };
  const mine = new Set();
  const answer = (/** @type {any} */ message) => {
    if (message.method !== 'elicitation/create') return;
    const { message: text } = message.params;
    if (!mine.has(text)) tally.fail(`session at ${name}: is asked what is not its own: ${text}`);
    void send(url, { headers, body: { jsonrpc: '2.0', id: message.id, result: { action: 'accept', content: { said: text } } } }).catch(() => {});
  };
  const end = new AbortController();
  const stream = send(url, { method: 'GET', headers: { ...headers, accept: 'text/event-stream' }, signal: end.signal, onMessage: answer }).catch(() => {});
  await send(url, { headers, body: { jsonrpc: '2.0', method: 'notifications/initialized' } });
  for (let calls = 5; calls > 0 && !signal.aborted; calls--) {
    const [callId, text] = [++lastCall, fresh('session')];
    const tool = ['echo', 'steps', 'ask', 'wait'][some(4)] ?? '';
    mine.add(text);
    /** @type {any[]} */
    const progress = [];
    const body = call(callId, tool, { text, steps: 5, ms: 20 }, { progressToken: text });
    const onMessage = (/** @type {any} */ message) => (message.method === 'notifications/progress' ? progress.push(message.params) : answer(message));
    const { messages } = await send(url, { headers, body, onMessage });
    const right = tally.judge(messages.at(-1), callId, `${name}: ${text}`, `session at ${name}, ${tool}`);
    for (const { progressToken, message } of progress) if (progressToken !== text || message !== text) tally.fail(`session at ${name}: progress of another: ${message}`);
    if (right && tool === 'steps' && progress.length !== 5) tally.fail(`session at ${name}: ${progress.length} of 5 steps`);
    if (messages.at(-1)?.error?.data?.reason === 'session_not_found') break;
  }
  if (some(3) > 0) await send(url, { method: 'DELETE', headers });
  end.abort();
  await stream;
};

/** The transport of 2024-11-05: everything comes on one stream. */
export const httpSse = (/** @type {string} */ name) => async (/** @type {Place} */ { origin, tally }) => {
  const end = new AbortController();
  /** @type {Map<number, string>} */
  const open = new Map();
  /** @type {(path: string | undefined) => void} */
  let onEndpoint = () => {};
  const endpoint = new Promise((/** @type {(path: string | undefined) => void} */ resolve) => (onEndpoint = resolve));
  const onMessage = (/** @type {any} */ message, /** @type {string} */ event) => {
    if (event === 'endpoint') return onEndpoint(message);
    if (message.id === undefined) return;
    tally.judge(message, message.id, open.get(message.id) ?? 'nobody asked', `http+sse at ${name}`);
    open.delete(message.id);
    if (open.size === 0) end.abort();
  };
  const stream = send(`${origin}/${name}/sse`, { method: 'GET', headers: { accept: 'text/event-stream' }, signal: end.signal, onMessage })
    .catch(() => {})
    .then(() => onEndpoint(undefined));
  const path = await endpoint;
  if (path === undefined) return tally.refuse('stream');
  for (let calls = 3; calls > 0; calls--) {
    const [id, text] = [++lastCall, fresh('http+sse')];
    open.set(id, `${name}: ${text}`);
    await send(`${origin}${path}`, { body: call(id, 'echo', { text }) });
  }
  const late = setTimeout(() => end.abort(), 5_000); // its server was removed, and the stream ended
  await stream;
  clearTimeout(late);
};

/** A modern client: calls, and calls that need input; it comes back with that, or does not. */
export const modern = (/** @type {string} */ name) => async (/** @type {Place} */ { origin, tally }) => {
  const [id, text] = [++lastCall, fresh('modern')];
  const tool = ['echo', 'ask', 'steps', 'wait'][some(4)] ?? '';
  const args = { text, steps: 3, ms: 20 };
  const first = await send(`${origin}/${name}/mcp`, modernCall(id, tool, args));
  const last = first.messages.at(-1);
  for (const { method, params } of first.messages) if (method === 'notifications/progress' && params.message !== text) tally.fail(`modern at ${name}: progress of another: ${params.message}`);
  if (last?.result?.resultType !== 'input_required') return void tally.judge(last, id, `${name}: ${text}`, `modern at ${name}, ${tool}`);
  const { inputRequests, requestState } = last.result;
  const [[key, { params }] = ['', { params: {} }]] = /** @type {[string, any][]} */ (Object.entries(inputRequests));
  if (params.message !== text) tally.fail(`modern at ${name}: is asked what is not its own: ${params.message}`);
  if (some(5) === 0) return; // it does not come back
  const retried = await send(`${origin}/${name}/mcp`, modernCall(id + 1e9, tool, args, { requestState, inputResponses: { [key]: { action: 'accept', content: { said: text } } } }));
  tally.judge(retried.messages.at(-1), id + 1e9, `${name}: ${text}`, `modern at ${name}, retry`);
};

/** Listens for a while, as a modern client or a simple one that stops to read for as long, while the server floods. */
export const listen = (/** @type {string} */ name) => async (/** @type {Place} */ { origin, tally }) => {
  const end = new AbortController();
  const [id, text] = [++lastCall, fresh('flood')];
  const streams = [
    send(`${origin}/${name}/mcp`, { ...modernCall(id, '', {}), body: { jsonrpc: '2.0', id, method: 'subscriptions/listen', params: { _meta: meta(), notifications: { toolsListChanged: true } } }, ...modernHeaders('subscriptions/listen'), signal: end.signal }),
    send(`${origin}/${name}/sse`, { method: 'GET', signal: end.signal }),
  ];
  const deaf = connect(Number(new URL(origin).port), '127.0.0.1');
  deaf.on('error', () => {});
  deaf.write(`GET /${name}/sse HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  deaf.pause();
  const { messages } = await send(`${origin}/${name}/mcp`, { body: call(id, 'flood', { text, lines: 2_000 }) });
  tally.judge(messages.at(-1), id, `${name}: ${text}`, `flood at ${name}`);
  await pause(some(2_000));
  deaf.destroy();
  end.abort();
  await Promise.allSettled(streams);
};

/** Leaves in every phase of a call. */
export const leaver = (/** @type {string} */ name) => async (/** @type {Place} */ { origin, tally }) => {
  const body = JSON.stringify(call(1, 'wait', { text: 'left', ms: 200 }));
  const whole = `POST /${name}/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  const socket = connect(Number(new URL(origin).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.write(whole.slice(0, some(2) === 0 ? whole.length : some(whole.length)));
  await pause(some(300));
  if (some(2) === 0) socket.destroy();
  else socket.resetAndDestroy();
  tally.refuse('left');
};

function call(/** @type {unknown} */ id, /** @type {string} */ name, /** @type {object} */ args, /** @type {object | undefined} */ _meta = undefined) {
  return { jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args, ...(_meta && { _meta }) } };
}

function meta() {
  return { [`${META}protocolVersion`]: MODERN, [`${META}clientInfo`]: { name: 'soak', version: '1' }, [`${META}clientCapabilities`]: ABLE };
}

const modernHeaders = (/** @type {string} */ method, /** @type {string | undefined} */ name = undefined) => ({
  headers: { accept: BOTH, 'mcp-protocol-version': MODERN, 'mcp-method': method, 'mcp-name': name },
});

function modernCall(/** @type {number} */ id, /** @type {string} */ tool, /** @type {any} */ args, more = {}) {
  const params = { name: tool, arguments: args, _meta: { ...meta(), progressToken: args.text }, ...more };
  return { ...modernHeaders('tools/call', tool), body: { jsonrpc: '2.0', id, method: 'tools/call', params } };
}
