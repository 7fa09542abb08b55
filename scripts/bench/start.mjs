// Doing nothing, and beginning: idle memory and time to listen beside a bare `node:http` server, and the first call
// beside the careless relay.
// @ts-check
import { Agent, get } from 'node:http';
import { pause, start as startServer } from './lab.mjs';
import { atMost, atMostMore } from './rows.mjs';

const SETTLE_MS = 1_000;
export const REQUESTS = 1_000;

export const BOUNDS = { memoryRatio: 1.15, listenMoreMs: 60 };

/** @typedef {{ listenMs: number, freshMiB: number, servedMiB: number }} Idle */

/** @param {import('../bench.mjs').Bench} bench */
export async function start({ load, quick, note }) {
  const { bare, empty } = await idle(quick ? 1 : 11, note);
  const of = (/** @type {keyof Idle} */ what) => ({ ours: empty.map((life) => life[what]), reference: bare.map((life) => life[what]), beside: 'bare' });
  /** @type {Record<string, { call: number[], both: number[] }>} */
  const first = { parses: { call: [], both: [] }, proxy: { call: [], both: [] } };
  for (let round = 0; round < (quick ? 1 : 11); round++) {
    note(`first calls, round ${round + 1}`);
    for (const kind of round % 2 === 0 ? /** @type {const} */ (['parses', 'proxy']) : /** @type {const} */ (['proxy', 'parses'])) {
      const server = await startServer(kind);
      const { ms } = await load.do('first', { url: server.url, dialect: 'simple' });
      first[kind]?.call.push(ms);
      first[kind]?.both.push(server.listenMs + ms);
      await server.stop();
    }
  }
  const called = (/** @type {'call' | 'both'} */ what) => ({ ours: first['proxy']?.[what] ?? [], reference: first['parses']?.[what] ?? [], beside: 'careless' });
  return [
    atMost({ name: 'idle memory, fresh', unit: 'MiB', ...of('freshMiB') }, BOUNDS.memoryRatio),
    atMost({ name: `idle memory, after ${REQUESTS.toLocaleString('en')} requests`, unit: 'MiB', ...of('servedMiB') }, BOUNDS.memoryRatio),
    atMostMore({ name: 'time to listen', unit: 'ms', ...of('listenMs') }, BOUNDS.listenMoreMs),
    atMost({ name: 'first call, sent when it listens', unit: 'ms', ...called('call') }, 1.25),
    atMost({ name: 'first call, since the start', unit: 'ms', ...called('both') }, 1.25),
  ];
}

/**
 * Lives of a bare server and of the program without a server configured. Memory is read twice: fresh, and after 1,000
 * requests. A bare server that has never answered anything has not collected garbage once, and the first collection
 * alone maps some five megabytes, so the second is how they live.
 */
export async function idle(/** @type {number} */ rounds, /** @type {(what: string) => void} */ note) {
  /** @type {Record<'bare' | 'empty', Idle[]>} */
  const lives = { bare: [], empty: [] };
  for (let round = 0; round < rounds; round++) {
    note(`idle, round ${round + 1} of ${rounds}`);
    // Each is first every other time, so that a machine that gets faster or slower favours neither.
    for (const kind of round % 2 === 0 ? /** @type {const} */ (['bare', 'empty']) : /** @type {const} */ (['empty', 'bare'])) lives[kind].push(await life(kind));
  }
  return lives;
}

/** One life: from its start to the line that names its port, the memory after it has settled, its end. @returns {Promise<Idle>} */
async function life(/** @type {'bare' | 'empty'} */ kind) {
  const server = await startServer(kind);
  await pause(SETTLE_MS);
  const freshMiB = server.rssMiB();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (let request = 0; request < REQUESTS; request++) await asked(`${server.origin}/health`, agent);
  agent.destroy();
  await pause(SETTLE_MS);
  const servedMiB = server.rssMiB();
  await server.stop();
  return { listenMs: server.listenMs, freshMiB, servedMiB };
}

/** @param {string} url @param {Agent} agent @returns {Promise<void>} */
function asked(url, agent) {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (res) => res.resume().once('end', resolve)).once('error', reject);
  });
}
