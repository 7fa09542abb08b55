// Small calls: how many a second, what they cost the proxy, how long they take. Beside the careless relay that parses.
// @ts-check
import { CHILD, start } from './lab.mjs';
import { atLeast, atMost, median } from './rows.mjs';

/** @typedef {import('./dialects.mjs').Dialect} Dialect */
/** @typedef {{ rate: number[], cpu: number[], p50: number[], p99: number[] }} Series */

const DIALECTS = /** @type {const} */ (['session', 'simple', 'stateless']);
const SAME = 'careless, same requests'; // those of 2026-07-28 are twice as long, for whoever reads them
const SAID = { session: 'session', simple: 'simple dialect', stateless: '2026-07-28' };

/** @param {import('../bench.mjs').Bench} bench */
export async function calls({ load, rounds, ms, peer, note }) {
  const [bare, careless, proxy] = await Promise.all([start('bare'), start('parses'), start('proxy')]);
  /** @type {{ name: string, url: string, dialect: Dialect, cpuMs: () => number }[]} */
  const targets = [
    { ...bare, name: 'bare', dialect: 'bare' },
    { ...careless, name: 'careless', dialect: 'simple' },
    { ...careless, name: SAME, dialect: 'stateless' },
    ...DIALECTS.map((dialect) => ({ ...proxy, name: dialect, dialect })),
    ...(peer === undefined ? [] : [{ name: 'peer', url: peer.url, dialect: /** @type {const} */ ('session'), cpuMs: () => NaN }]),
  ];
  /** @type {import('./rows.mjs').Row[]} */
  const rows = [];
  for (const clients of [16, 64, 1]) {
    /** @type {Record<string, Series>} */
    const series = {};
    /** @type {number[]} */
    const pipes = [];
    const open = [];
    for (const target of targets) {
      const { handle } = await load.do('open', { url: target.url, dialect: target.dialect, clients });
      open.push({ ...target, handle });
      await load.do('run', { handle, ms: 5 * ms }); // until its code is hot
      series[target.name] = { rate: [], cpu: [], p50: [], p99: [] };
    }
    for (let round = 0; round < rounds; round++) {
      note(`calls of ${clients} clients, round ${round + 1} of ${rounds}`);
      // Another one is first each time, so that a machine that gets faster or slower favours none.
      for (const { name, handle, cpuMs } of [...open.slice(round % open.length), ...open.slice(0, round % open.length)]) {
        const before = cpuMs();
        const { calls, elapsedMs, p50, p99 } = await load.do('run', { handle, ms });
        const { rate, cpu, p50: p50s, p99: p99s } = /** @type {Series} */ (series[name]);
        rate.push((1_000 * calls) / elapsedMs);
        cpu.push((1_000 * (cpuMs() - before)) / calls);
        p50s.push(p50);
        p99s.push(p99);
      }
      if (clients === 1) pipes.push((await load.do('pipe', { argv: CHILD, ms })).p50);
    }
    for (const { handle } of open) await load.do('close', { handle });
    rows.push(...rowsOf(clients, series, pipes));
  }
  await Promise.all([bare, careless, proxy].map((server) => server.stop()));
  return rows;
}

/** @param {number} clients @param {Record<string, Series>} series @param {number[]} pipes p50 without anything in between */
function rowsOf(clients, series, pipes) {
  const of = (/** @type {keyof Series} */ what, /** @type {Dialect} */ dialect, /** @type {(value: number, round: number) => number} */ change = (value) => value) => {
    const all = (/** @type {string} */ name) => (series[name]?.[what] ?? []).map(change);
    const others = ['bare', 'peer', ...(dialect === 'stateless' ? [SAME] : [])];
    const also = Object.fromEntries(others.filter((name) => series[name] !== undefined && !all(name).some(Number.isNaN)).map((name) => [name, median(all(name))]));
    return { ours: all(dialect), reference: all('careless'), beside: 'careless', also };
  };
  const added = (/** @type {number} */ value, /** @type {number} */ round) => value - (pipes[round] ?? NaN);
  return DIALECTS.flatMap((dialect) => {
    const name = (/** @type {string} */ what) => `${what}, ${clients === 1 ? '1 client' : `${clients} clients`}, ${SAID[dialect]}`;
    if (clients === 1) return [atMost({ name: name('p50 added over the pipe'), unit: 'ms', ...of('p50', dialect, added) }, 1.1, 1.3)];
    const [goal, accepted] = dialect === 'stateless' ? [0.85, 0.75] : [1, 0.9];
    return [
      atLeast({ name: name('calls'), unit: '/s', ...of('rate', dialect) }, goal, accepted),
      atMost({ name: name('CPU of 1,000 calls'), unit: 'ms', ...of('cpu', dialect) }, 1.1, 1.2),
      ...(clients === 16 ? [atMost({ name: name('p99'), unit: 'ms', ...of('p99', dialect) }, 1.5)] : []),
    ];
  });
}
