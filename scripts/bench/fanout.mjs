// One notification of the server, and the last of many streams that hears of it. Beside the careless relay that parses.
// @ts-check
import { start } from './lab.mjs';
import { atMost } from './rows.mjs';

/** @param {import('../bench.mjs').Bench} bench */
export async function fanout({ load, quick, note }) {
  const count = quick ? 20 : 1_000;
  const [careless, proxy, sessions] = await Promise.all([start('parses'), start('proxy'), start('proxy')]);
  const targets = /** @type {const} */ ([
    { name: 'careless', server: careless, get: careless.url, dialect: 'simple' },
    { name: 'simple', server: proxy, get: proxy.url.replace(/mcp$/, 'sse'), dialect: 'simple' },
    { name: 'session', server: sessions, get: sessions.url, dialect: 'session' },
  ]);
  note(`${count} streams and one notification`);
  const open = [];
  for (const { name, server, get, dialect } of targets) {
    const { handle } = await load.do('streams', { url: server.url, get, dialect, count });
    // It announces once when it is opened, too: before anything is measured.
    const { handle: caller } = await load.do('open', { url: server.url, dialect: 'simple', clients: 1, args: { announce: true } });
    for (let k = 0; k < (quick ? 1 : 10); k++) await load.do('announce', { handle, caller });
    open.push({ name, handle, caller });
  }
  /** @type {Record<string, number[]>} */
  const took = {};
  for (let round = 0; round < (quick ? 1 : 31); round++) {
    for (const { name, handle, caller } of [...open.slice(round % 3), ...open.slice(0, round % 3)]) {
      (took[name] ??= []).push((await load.do('announce', { handle, caller })).ms);
    }
  }
  for (const { handle } of open) await load.do('closeStreams', { handle });
  await Promise.all([careless, proxy, sessions].map((server) => server.stop()));
  const row = (/** @type {string} */ name, /** @type {string} */ kind) =>
    atMost({ name: `a notification to ${count.toLocaleString('en')} streams, ${name}`, unit: 'ms', ours: took[kind] ?? [], reference: took['careless'] ?? [], beside: 'careless' }, 1, 1.25);
  return [row('GET sse', 'simple'), row('GET mcp', 'session')];
}
