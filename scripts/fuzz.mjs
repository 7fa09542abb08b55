// @ts-check
// `npm run fuzz`: what nobody thought of, by chance, against small models. Needs a build. Every run has a seed of its own;
// the first that fails is printed with the command that takes it again, and ends it all with the exit code 1. What it has
// found becomes a test with a name.
//
//   npm run fuzz                                     every part, in a minute or so, from a seed that differs each time
//   npm run fuzz -- interleavings --runs 20000       this part, so many runs
//   npm run fuzz -- interleavings --seed 7 --runs 1  this one again
//   --from <dir>                                     another build than dist/

import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { answers, events, lines, messages } from './fuzz/bytes.mjs';
import { converse } from './fuzz/conversations.mjs';
import { bodies, configs, paths, requests } from './fuzz/doors.mjs';
import { interleave } from './fuzz/interleavings.mjs';
import { load } from './fuzz/source.mjs';
import { options, usage } from './options.mjs';

/** What one run takes from a seed, how often it is done, and how many cases it was. @type {Record<string, [run: (source: any, seed: number) => number | Promise<number>, runs: number]>} */
const PARTS = {
  lines: [lines, 100_000],
  events: [events, 50_000],
  messages: [messages, 20_000],
  answers: [answers, 20_000],
  requests: [requests, 50_000],
  paths: [paths, 100_000],
  bodies: [bodies, 50_000],
  configs: [configs, 50_000],
  interleavings: [interleave, 1_000],
  conversations: [converse, 500],
};

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values: flags, positionals } = options({
  allowPositionals: true,
  options: { seed: { type: 'string' }, runs: { type: 'string' }, from: { type: 'string', default: join(root, 'dist') } },
});
const names = positionals.length === 0 ? Object.keys(PARTS) : positionals;
for (const name of names) if (!(name in PARTS)) usage(`${name}: the parts are ${Object.keys(PARTS).join(', ')}`);
const first = flags.seed === undefined ? Math.floor(Math.random() * 1e9) : Number(flags.seed);
const wanted = flags.runs === undefined ? undefined : Number(flags.runs);
if (!Number.isSafeInteger(first) || (wanted !== undefined && !(wanted >= 1))) usage('--seed and --runs are whole numbers');
if (!existsSync(flags.from)) usage(`${flags.from} is missing: run npm run build first`);

const source = await load(flags.from);
console.log(`from seed ${first}`);
for (const name of names) {
  const [run, runs] = /** @type {(typeof PARTS)[string]} */ (PARTS[name]);
  const last = first + (wanted ?? runs) - 1;
  const started = performance.now();
  let cases = 0;
  for (let seed = first; seed <= last; seed++) {
    try {
      cases += await run(source, seed);
    } catch (error) {
      console.error(`${name}, seed ${seed}: ${error instanceof Error ? error.stack : error}`);
      console.error(`\nagain: node ${relative(process.cwd(), fileURLToPath(import.meta.url))} ${name} --seed ${seed} --runs 1`);
      process.exit(1);
    }
  }
  const seconds = (performance.now() - started) / 1_000;
  console.log(`${name.padEnd(14)} ${String(last - first + 1).padStart(7)} runs ${String(cases).padStart(8)} cases ${seconds.toFixed(1).padStart(6)} s ${String(Math.round(cases / seconds)).padStart(7)}/s`);
}
