// Memory: of streams and sessions that nobody uses, and of what has come and gone. Always after a forced collection, in a
// process that has served such things before, so that code and buffers that stay are not counted.
// @ts-check
import { pause, start, until } from './lab.mjs';
import { atMostInAll, atMostMore, growth } from './rows.mjs';

const SESSION_TIMEOUT_MS = 3_000;
const WARM = 20; // streams or sessions before those that count: more of them would leave room for those
const MAX_SESSIONS = '20000'; // per server

/** @typedef {import('../bench.mjs').Bench} Bench */

/** @param {Bench} bench */
export async function memory(bench) {
  const { rounds, quick } = bench;
  /** @type {Record<'bare' | 'simple' | 'session', number[]>} */
  const streams = { bare: [], simple: [], session: [] };
  /** @type {number[]} */
  const sessions = [];
  for (let round = 0; round < Math.min(rounds, 3); round++) {
    bench.note(`streams and sessions that nobody uses, round ${round + 1}`);
    const idle = await idleSessions(bench);
    sessions.push(idle);
    streams.bare.push(await idleStreams(bench, 'bare'));
    streams.simple.push(await idleStreams(bench, 'simple'));
    streams.session.push((await idleStreams(bench, 'session')) - idle); // each has a session of its own
  }
  const beside = { reference: streams.bare, beside: 'bare' };
  return [
    atMostMore({ name: 'idle stream of a session, GET mcp', unit: 'KB', ours: streams.session, ...beside }, 20),
    atMostMore({ name: 'idle stream, GET sse', unit: 'KB', ours: streams.simple, ...beside }, 20),
    atMostInAll({ name: 'idle session', unit: 'KB', ours: sessions }, 25),
    await abandoned(bench, quick ? 100 : 10_000),
    await afterCalls(bench, quick ? 100 : 10_000, quick ? 1_000 : 100_000),
  ];
}

/** KB of one stream. @param {Bench} bench @param {'bare' | 'simple' | 'session'} kind */
async function idleStreams({ load, quick }, kind) {
  const server = await start(kind === 'bare' ? 'bare' : 'proxy', { collects: true, env: { MAX_SESSIONS } });
  const get = kind === 'simple' ? server.url.replace(/mcp$/, 'sse') : server.url;
  const open = async (/** @type {number} */ count) => (await load.do('streams', { url: server.url, get, dialect: kind === 'session' ? 'session' : 'simple', count })).handle;
  const count = quick ? 20 : 1_000;
  await load.do('closeStreams', { handle: await open(WARM) });
  await pause(100); // for the server to see them close
  const before = await server.collectedMiB();
  const handle = await open(count);
  const bytes = ((await server.collectedMiB()) - before) * 1_048_576;
  await load.do('closeStreams', { handle });
  await server.stop();
  return bytes / count / 1_000;
}

/** KB of one session. @param {Bench} bench */
async function idleSessions({ load, quick }) {
  const server = await start('proxy', { collects: true, env: { MAX_SESSIONS } });
  const count = quick ? 20 : 2_000;
  await load.do('sessions', { url: server.url, count: WARM });
  const before = await server.collectedMiB();
  await load.do('sessions', { url: server.url, count });
  const bytes = ((await server.collectedMiB()) - before) * 1_048_576;
  await server.stop();
  return bytes / count / 1_000;
}

/** Sessions that were opened and left alone until they ended by themselves. @param {Bench} bench @param {number} count */
async function abandoned({ load, note }, count) {
  note(`${count} sessions that are abandoned`);
  const server = await start('proxy', { collects: true, env: { MAX_SESSIONS, SESSION_TIMEOUT: String(SESSION_TIMEOUT_MS) } });
  const pass = async (/** @type {number} */ count) => {
    const { last } = await load.do('sessions', { url: server.url, count });
    await pause(SESSION_TIMEOUT_MS + 500);
    await until(async () => !(await load.do('knows', { url: server.url, session: last })), 'sessions end');
    return server.collectedMiB();
  };
  const before = await pass(count / 10);
  const after = await pass(count);
  await server.stop();
  return growth({ name: `after ${count.toLocaleString('en')} abandoned sessions`, unit: 'MiB', ours: [after], reference: [before], beside: 'before' });
}

/** @param {Bench} bench @param {number} few @param {number} many */
async function afterCalls({ load, note }, few, many) {
  note(`${many} calls`);
  const server = await start('proxy', { collects: true });
  const { handle } = await load.do('open', { url: server.url, dialect: 'session', clients: 16 });
  await load.do('run', { handle, calls: few });
  const before = await server.collectedMiB();
  await load.do('run', { handle, calls: many - few });
  const after = await server.collectedMiB();
  await load.do('close', { handle });
  await server.stop();
  return growth({ name: `after ${many.toLocaleString('en')} calls`, unit: 'MiB', ours: [after], reference: [before], beside: `after ${few.toLocaleString('en')}` });
}
