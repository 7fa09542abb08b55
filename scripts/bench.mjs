// @ts-check
// What the program costs, beside a bare `node:http` server and two careless relays of some sixty lines, all in one run
// and in front of the same stdio server. Needs a build. Prints a table with the bound of every row and names the rows
// that are over it; that never decides the exit code, which is 1 only when something could not be measured.
//
//   npm run bench                          everything, in some minutes
//   npm run bench -- calls memory          these parts
//   --quick                                a little of each, to see that it runs
//   --json                                 the same as JSON, with every round
//   --markdown                             the same as the README shows it
//   --peer "<command>" --url <url>         another proxy beside it, in front of `node scripts/bench/child.mjs`
//   --program <file>                       another build of the program

import { existsSync } from 'node:fs';
import { calls } from './bench/calls.mjs';
import { fanout } from './bench/fanout.mjs';
import { build, Load, machine, startPeer } from './bench/lab.mjs';
import { memory } from './bench/memory.mjs';
import { args, results } from './bench/payloads.mjs';
import { markdown, table } from './bench/rows.mjs';
import { start } from './bench/start.mjs';
import { options, usage } from './options.mjs';

/**
 * @typedef {object} Bench
 * @property {Load} load
 * @property {number} rounds
 * @property {number} ms of one measurement
 * @property {boolean} quick
 * @property {{ url: string } | undefined} peer
 * @property {(what: string) => void} note says what is being done
 */

/** @type {Record<string, (bench: Bench) => Promise<import('./bench/rows.mjs').Row[]>>} */
const PARTS = { calls, results, arguments: args, memory, start, fanout };

const { values: flags, positionals } = options({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, json: { type: 'boolean' }, markdown: { type: 'boolean' }, peer: { type: 'string' }, url: { type: 'string' }, program: { type: 'string' } },
});
const names = positionals.length === 0 ? Object.keys(PARTS) : positionals;
for (const name of names) if (!(name in PARTS)) usage(`${name}: the parts are ${Object.keys(PARTS).join(', ')}`);
if ((flags.peer === undefined) !== (flags.url === undefined)) usage('--peer and --url go together');
if (flags.program !== undefined) build.program = flags.program;
if (!existsSync(build.program)) usage(`${build.program} is missing: run npm run build first`);

const load = new Load();
const peer = flags.peer === undefined || flags.url === undefined ? undefined : await startPeer(flags.peer, flags.url);
const note = (/** @type {string} */ what) => void (process.stderr.isTTY && process.stderr.write(`\r\x1b[K${what}`));
const bench = { load, rounds: flags.quick ? 1 : 15, ms: flags.quick ? 50 : 350, quick: flags.quick, peer, note };

const rows = [];
/** @type {string[]} */
const failed = [];
for (const name of names) {
  try {
    rows.push(...((await PARTS[name]?.(bench)) ?? []).map((row) => ({ part: name, ...row })));
  } catch (error) {
    failed.push(`${name}: ${error instanceof Error ? error.message : error}`);
  }
}
note('');
peer?.stop();
load.end();

const over = rows.filter((row) => row.over).map((row) => row.name);
if (flags.json) console.log(JSON.stringify({ machine, rounds: bench.rounds, rows, over, failed }, null, 2));
else {
  const machineLine = `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, ${machine.os}; medians of ${bench.rounds} rounds.`;
  console.log(flags.markdown ? `${markdown(rows)}\n\n${machineLine}` : `${machineLine}\n\n${table(rows)}`);
  console.log(`\n${over.length === 0 ? 'all within what is accepted' : `over what is accepted: ${over.join('; ')}`}`);
  for (const problem of failed) console.log(`FAILED ${problem}`);
}
process.exit(failed.length === 0 ? 0 : 1); // whatever a part that failed has left is ended
