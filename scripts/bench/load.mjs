// The load: a process of its own that does what it is told over its IPC channel, one job at a time. Its clients are raw
// keep-alive sockets with one request in flight each. What they do between two calls is as little as possible: an answer
// is counted, its first one is read, and all later ones of a client must be as long.
// @ts-check
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { call, initialize, initialized, stream } from './dialects.mjs';

/** @typedef {import('./dialects.mjs').Dialect} Dialect */
/** @typedef {{ url: string, dialect: Dialect, clients: number, args?: object }} OpenJob */

const KEEP_BYTES = 65_536; // of an answer, to be looked at
const LINE_END = Buffer.from('\r\n\r\n');
const LAST_CHUNK = Buffer.from('0\r\n\r\n');

/** One connection. */
class Client {
  /** @type {Buffer} */
  request = Buffer.alloc(0);
  /** How many bytes an answer has, once one was read. */
  #bytes = 0;
  #got = 0;
  /** @type {Buffer[]} */
  #kept = [];
  /** @type {(() => void) | undefined} */
  #onAnswer;
  /** @type {(error: Error) => void} */
  #onError = () => {};
  #closed = false;

  constructor(/** @type {URL} */ url) {
    this.socket = connect(Number(url.port), url.hostname).setNoDelay(true);
    this.socket.on('data', (chunk) => this.#take(chunk));
    this.socket.on('error', (error) => this.#onError(error));
    this.socket.on('close', () => {
      if (!this.#closed) this.#onError(new Error('the connection was closed'));
    });
  }

  /** Sends the request again and again: `onAnswer` says whether once more. Resolves after the last answer. */
  repeat(/** @type {(ms: number) => boolean} */ onAnswer) {
    return new Promise((/** @type {(nothing: void) => void} */ resolve, reject) => {
      let sent = 0;
      const send = () => {
        sent = performance.now();
        this.socket.write(this.request);
      };
      if (this.socket.destroyed) reject(new Error('the connection was closed while nothing was asked'));
      this.#onError = reject;
      this.#onAnswer = () => (onAnswer(performance.now() - sent) ? send() : resolve());
      send();
    });
  }

  /** Sends another request once. */
  async once(/** @type {Buffer} */ request) {
    const { request: usual } = this;
    this.request = request;
    this.#bytes = 0; // its answer has another length
    await this.repeat(() => false);
    this.request = usual;
    this.#bytes = 0;
    return this.answer;
  }

  close() {
    this.#closed = true;
    this.socket.destroy();
  }

  /** The last answer that was read. */
  answer = { head: '', body: '' };

  #take(/** @type {Buffer} */ chunk) {
    if (this.#got === 0 && chunk[9] !== 0x32) return this.#onError(new Error(`answered ${chunk.toString('utf8', 0, 400)}`)); // not 2xx
    this.#got += chunk.length;
    if (this.#bytes === 0) {
      if (!this.#read(chunk)) return;
    } else if (this.#got < this.#bytes) return;
    else if (this.#got > this.#bytes) return this.#onError(new Error('an answer is longer than the one before it'));
    this.#got = 0;
    this.#onAnswer?.();
  }

  /** Reads the first answer as it comes; `true`: this is all of it. */
  #read(/** @type {Buffer} */ chunk) {
    this.#kept.push(this.#got > KEEP_BYTES ? chunk.subarray(0, 0) : chunk);
    const all = Buffer.concat(this.#kept);
    const end = all.indexOf(LINE_END);
    if (end === -1) return false;
    const head = all.toString('latin1', 0, end);
    const length = /^content-length: *(\d+)/im.exec(head)?.[1];
    const chunked = length === undefined && /^transfer-encoding: *chunked/im.test(head);
    const bytes = length === undefined ? (chunked ? Infinity : end + 4) : end + 4 + Number(length);
    if (chunked ? chunk.subarray(-5).compare(LAST_CHUNK) !== 0 : this.#got < bytes) return false;
    this.answer = { head, body: all.toString('utf8', end + 4) };
    this.#kept = [];
    if (!chunked && !/^mcp-session-id/im.test(head)) this.#bytes = bytes;
    return true;
  }
}

/** @type {Map<number, { clients: Client[], close?: () => void }>} */
const groups = new Map();
/** @type {Map<number, { sockets: import('node:net').Socket[], heard: number, onHeard: () => void }>} */
const streams = new Map();
let lastHandle = 0;

/** @type {Record<string, (job: any) => unknown>} */
const jobs = {
  /** Connects clients that speak a dialect, with a session each if they need one, and has each of them call once. */
  async open(/** @type {OpenJob} */ { url, dialect, clients: count, args = {} }) {
    const clients = await Promise.all(Array.from({ length: count }, (_, k) => opened(new URL(url), dialect, k + 1, args)));
    groups.set(++lastHandle, { clients });
    return { handle: lastHandle };
  },

  /** Calls for `ms` milliseconds, or `calls` times in all. */
  async run(/** @type {{ handle: number, ms?: number, calls?: number }} */ { handle, ms = Infinity, calls = Infinity }) {
    const { clients } = groupOf(handle);
    let times = new Float64Array(65_536);
    let started = 0;
    let done = 0;
    const began = performance.now();
    await Promise.all(
      clients.map((client) => {
        started++;
        return client.repeat((took) => {
          if (done === times.length) {
            const more = new Float64Array(2 * done);
            more.set(times);
            times = more;
          }
          times[done++] = took;
          if (started >= calls || performance.now() - began >= ms) return false;
          started++;
          return true;
        });
      }),
    );
    const elapsedMs = performance.now() - began;
    const sorted = times.subarray(0, done).sort();
    const at = (/** @type {number} */ share) => sorted[Math.min(done - 1, Math.floor(done * share))];
    return { calls: done, elapsedMs, p50: at(0.5), p99: at(0.99) };
  },

  close(/** @type {{ handle: number }} */ { handle }) {
    for (const client of groupOf(handle).clients) client.close();
    groups.delete(handle);
  },

  /** One call on a connection of its own, and how long it took, connecting included. */
  async first(/** @type {OpenJob} */ { url, dialect }) {
    const began = performance.now();
    const client = await opened(new URL(url), dialect, 1, {});
    const ms = performance.now() - began;
    client.close();
    return { ms };
  },

  /** Calls over the bare pipe, with nothing in between. */
  pipe(/** @type {{ argv: string[], ms: number }} */ { argv: [command = '', ...args], ms }) {
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      const line = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"answer","arguments":{}}}\n';
      /** @type {number[]} */
      const times = [];
      let began = Infinity; // with the first answer: the child has to start before
      let sent = 0;
      const send = () => {
        sent = performance.now();
        child.stdin.write(line);
      };
      child.on('error', reject);
      child.stdout.on('data', () => {
        const now = performance.now();
        times.push(now - sent);
        began = Math.min(began, now);
        if (now - began < ms) return send();
        child.stdin.end();
        const warm = times.slice(times.length >> 1).sort((a, b) => a - b);
        resolve({ p50: warm[warm.length >> 1] });
      });
      send();
    });
  },

  /** How long the small calls of one client take while another one gets a big answer: the longest of them. */
  async beside(/** @type {{ small: number, big: number }} */ { small, big }) {
    const [caller] = groupOf(small).clients;
    const [reader] = groupOf(big).clients;
    if (caller === undefined || reader === undefined) throw new Error('no client');
    let longest = 0;
    let reading = true;
    const both = caller.repeat((ms) => {
      longest = Math.max(longest, ms);
      return reading;
    });
    await reader.repeat(() => (reading = false));
    await both;
    return { ms: longest };
  },

  /** Opens streams, in a session each if `dialect` says so. */
  async streams(/** @type {{ url: string, get: string, dialect: 'simple' | 'session', count: number }} */ { url, get, dialect, count }) {
    const group = { sockets: /** @type {import('node:net').Socket[]} */ ([]), heard: 0, onHeard: () => {} };
    const sessions = dialect === 'session' ? await sessionIds(new URL(url), count) : [];
    await inParallel(count, 16, async (k) => {
      const target = new URL(get);
      const socket = connect(Number(target.port), target.hostname);
      group.sockets.push(socket);
      await new Promise((/** @type {(nothing: void) => void} */ resolve, reject) => {
        socket.on('error', reject);
        socket.on('close', () => reject(new Error('a stream was closed')));
        socket.on('data', (chunk) => {
          const text = chunk.toString('latin1');
          if (text.startsWith('HTTP/1.1 200 ')) resolve();
          else if (text.startsWith('HTTP/1.1 ')) reject(new Error(`answered ${text.slice(0, 400)}`));
          if (text.includes('list_changed')) {
            group.heard++;
            group.onHeard();
          }
        });
        socket.write(stream(target, sessions[k]));
      });
    });
    streams.set(++lastHandle, group);
    return { handle: lastHandle };
  },

  /** Has the server announce something: milliseconds until the last stream has heard of it. */
  async announce(/** @type {{ handle: number, caller: number }} */ { handle, caller }) {
    const group = streams.get(handle);
    const [client] = groupOf(caller).clients;
    if (group === undefined || client === undefined) throw new Error('no streams');
    group.heard = 0;
    const began = performance.now();
    const all = new Promise((/** @type {(nothing: void) => void} */ resolve) => {
      group.onHeard = () => group.heard === group.sockets.length && resolve();
    });
    await Promise.all([client.repeat(() => false), all]);
    return { ms: performance.now() - began };
  },

  closeStreams(/** @type {{ handle: number }} */ { handle }) {
    for (const socket of streams.get(handle)?.sockets ?? []) socket.removeAllListeners('close').destroy();
    streams.delete(handle);
  },

  /** Opens sessions and leaves them alone; answers with the id of the last one. */
  async sessions(/** @type {{ url: string, count: number }} */ { url, count }) {
    return { last: (await sessionIds(new URL(url), count)).at(-1) };
  },

  /** Whether a session is still known. */
  async knows(/** @type {{ url: string, session: string }} */ { url, session }) {
    const client = new Client(new URL(url));
    const answer = await client.once(initialized(new URL(url), session)).catch(() => undefined);
    client.close();
    return answer?.head.startsWith('HTTP/1.1 202 ') === true;
  },
};

function groupOf(/** @type {number} */ handle) {
  const group = groups.get(handle);
  if (group === undefined) throw new Error(`no group ${handle}`);
  return group;
}

async function opened(/** @type {URL} */ url, /** @type {Dialect} */ dialect, /** @type {number} */ id, /** @type {object} */ args) {
  const client = new Client(url);
  const session = dialect === 'session' ? await sessionOf(client, url) : '';
  client.request = call(url, dialect, id, args, session);
  await client.repeat(() => false);
  const { body } = client.answer;
  if (!body.includes('"result":') || (dialect !== 'bare' && !body.includes(`"id":${id}`))) throw new Error(`answered ${body.slice(0, 400)}`);
  return client;
}

async function sessionOf(/** @type {Client} */ client, /** @type {URL} */ url) {
  const { head } = await client.once(initialize(url));
  const session = /^mcp-session-id: *(\S+)/im.exec(head)?.[1] ?? ''; // a server without sessions gives none
  await client.once(initialized(url, session));
  return session;
}

async function sessionIds(/** @type {URL} */ url, /** @type {number} */ count) {
  /** @type {string[]} */
  const ids = [];
  const clients = Array.from({ length: Math.min(count, 16) }, () => new Client(url));
  await inParallel(count, clients.length, async (k, lane) => {
    ids[k] = await sessionOf(/** @type {Client} */ (clients[lane]), url);
  });
  for (const client of clients) client.close();
  return ids;
}

/** Does something `count` times, in so many lanes at once. */
async function inParallel(/** @type {number} */ count, /** @type {number} */ lanes, /** @type {(k: number, lane: number) => Promise<void>} */ work) {
  let next = 0;
  const lane = async (/** @type {number} */ number) => {
    while (next < count) await work(next++, number);
  };
  await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)));
}

process.on('message', async (/** @type {{ job: string, with: unknown }} */ order) => {
  try {
    process.send?.({ done: (await jobs[order.job]?.(order.with)) ?? {} });
  } catch (error) {
    process.send?.({ failed: `${order.job}: ${error instanceof Error ? error.message : error}` });
  }
});
process.on('disconnect', () => process.exit());
