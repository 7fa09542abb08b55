// Big messages: results, arguments, and what one client's big answer does to another client's small call. Beside the
// careless relay that splices, in a session.
// @ts-check
import { start } from './lab.mjs';
import { atLeast, atMost, atMostInAll, median } from './rows.mjs';

/** @typedef {import('./dialects.mjs').Dialect} Dialect */

const KIB = 1_024;
const MIB = 1_024 * KIB;
const RESULTS = [
  { size: '64 KiB', bytes: 64 * KIB, clients: 4 },
  { size: '1 MiB', bytes: MIB, clients: 4 },
  { size: '10 MiB', bytes: 10 * MIB, clients: 1 }, // its peak is a row: one at a time
];
const ARGUMENTS = [
  { size: '1 MiB', bytes: MIB },
  { size: '4 MiB', bytes: 4 * MIB },
  { size: '8 MiB', bytes: 8 * MIB },
];

/** @param {import('../bench.mjs').Bench} bench */
export async function results({ load, rounds, ms, peer, note }) {
  const [bare, careless, proxy] = await Promise.all([start('bare'), start('splices'), start('proxy')]);
  /** @type {import('./rows.mjs').Row[]} */
  const rows = [];
  for (const { size, bytes, clients } of RESULTS) {
    /** @type {{ name: string, url: string, dialect: Dialect, peak?: () => number, forget?: () => void }[]} */
    const targets = [
      { name: 'bare', url: `${bare.origin}/${bytes}`, dialect: 'bare' },
      { name: 'careless', url: careless.url, dialect: 'simple', peak: careless.peakMiB, forget: careless.forgetPeak },
      { name: 'proxy', url: proxy.url, dialect: 'session', peak: proxy.peakMiB, forget: proxy.forgetPeak },
      ...(peer === undefined ? [] : [{ name: 'peer', url: peer.url, dialect: /** @type {const} */ ('session') }]),
    ];
    /** @type {Record<string, { rate: number[], peak: number[] }>} */
    const series = {};
    for (let round = -1; round < rounds; round++) {
      note(`results of ${size}, round ${round + 1} of ${rounds}`); // what the one before them finds is not counted: cold code
      const first = (round + 1) % targets.length;
      for (const { name, url, dialect, peak, forget } of [...targets.slice(first), ...targets.slice(0, first)]) {
        const { rate, peak: peaks } = (series[name] ??= { rate: [], peak: [] });
        const { handle } = await load.do('open', { url, dialect, clients, args: { bytes } });
        forget?.();
        const { calls, elapsedMs } = await load.do('run', { handle, ms: round < 0 ? 3 * ms : ms });
        await load.do('close', { handle });
        if (round < 0) continue;
        rate.push((calls * bytes) / 1_000 / elapsedMs);
        if (peak !== undefined) peaks.push(peak());
      }
    }
    const of = (/** @type {'rate' | 'peak'} */ what) => ({ ours: series['proxy']?.[what] ?? [], reference: series['careless']?.[what] ?? [], beside: 'careless' });
    const also = Object.fromEntries(['bare', 'peer'].filter((name) => name in series).map((name) => [name, median(series[name]?.rate ?? [])]));
    rows.push(atLeast({ name: `results of ${size}`, unit: 'MB/s', ...of('rate'), also }, 0.8, 0.6));
    const known = of('peak').ours.every((peak) => !Number.isNaN(peak));
    if (bytes === 10 * MIB && known) rows.push(atMost({ name: `peak memory at results of ${size}`, unit: 'MiB', ...of('peak') }, 1.5));
  }

  note('a small call beside a big answer');
  /** @type {Record<'careless' | 'proxy', number[]>} */
  const delays = { careless: [], proxy: [] };
  const pairs = [];
  for (const [name, { url }, dialect] of /** @type {const} */ ([['careless', careless, 'simple'], ['proxy', proxy, 'session']])) {
    const { handle: small } = await load.do('open', { url, dialect, clients: 1 });
    const { handle: big } = await load.do('open', { url, dialect, clients: 1, args: { bytes: 10 * MIB } });
    pairs.push({ name, small, big });
  }
  for (let round = 0; round < 4 * rounds; round++) {
    for (const { name, small, big } of pairs) {
      const alone = await load.do('run', { handle: small, calls: 100 });
      delays[name].push((await load.do('beside', { small, big })).ms - alone.p50);
    }
  }
  rows.push(atMostInAll({ name: 'delay of a call beside a 10 MiB answer', unit: 'ms', ours: delays.proxy, reference: delays.careless, beside: 'careless' }, 15));
  await Promise.all([bare, careless, proxy].map((server) => server.stop()));
  return rows;
}

/** @param {import('../bench.mjs').Bench} bench */
export async function args({ load, rounds, ms, note }) {
  const [careless, proxy] = await Promise.all([start('splices'), start('proxy')]);
  /** @type {import('./rows.mjs').Row[]} */
  const rows = [];
  for (const { size, bytes } of ARGUMENTS) {
    /** @type {Record<string, number[]>} */
    const cpu = { careless: [], proxy: [] };
    const open = [];
    for (const [name, server, dialect] of /** @type {const} */ ([['careless', careless, 'simple'], ['proxy', proxy, 'session']])) {
      const { handle } = await load.do('open', { url: server.url, dialect, clients: 1, args: { data: text(bytes) } });
      await load.do('run', { handle, ms: 3 * ms });
      open.push({ name, server, handle });
    }
    for (let round = 0; round < rounds; round++) {
      note(`arguments of ${size}, round ${round + 1} of ${rounds}`);
      for (const { name, server, handle } of round % 2 === 0 ? open : open.toReversed()) {
        const before = server.cpuMs();
        const { calls } = await load.do('run', { handle, ms });
        cpu[name]?.push(((server.cpuMs() - before) * 1e6) / (calls * bytes));
      }
    }
    for (const { handle } of open) await load.do('close', { handle });
    rows.push(atMost({ name: `CPU of 1 MB, arguments of ${size}`, unit: 'ms', ours: cpu['proxy'] ?? [], reference: cpu['careless'] ?? [], beside: 'careless' }, 2, 2.5));
  }
  await Promise.all([careless, proxy].map((server) => server.stop()));
  return rows;
}

/** Text of so many bytes in JSON, with what people write in it. */
function text(/** @type {number} */ bytes) {
  const phrase = 'It says "zażółć gęślą jaźń" in the middle of a line of plain words, and then the line ends.\n';
  return phrase.repeat(Math.ceil(bytes / Buffer.byteLength(JSON.stringify(phrase).slice(1, -1))));
}
