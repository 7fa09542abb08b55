// @ts-check
// What the program costs when it does nothing: resident memory and time to listen without any server configured,
// beside a bare `node:http` server that is measured in the same run and in the same way. Needs a build.
// `--json` prints JSON. Exits with 1 when the program is over a bound, and says which. `npm run bench` shows the rest.

import { existsSync } from 'node:fs';
import { build, machine } from './bench/lab.mjs';
import { median } from './bench/rows.mjs';
import { BOUNDS, idle, REQUESTS } from './bench/start.mjs';

/** @typedef {import('./bench/start.mjs').Idle} Idle */

const RUNS = 11;

if (!existsSync(build.program)) {
  console.error(`${build.program} is missing: run npm run build first`);
  process.exit(1);
}
const lives = await idle(RUNS, (what) => void (process.stderr.isTTY && process.stderr.write(`\r\x1b[K${what}`)));
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');

const result = {
  machine,
  runs: RUNS,
  freshMiB: compare((life) => life.freshMiB),
  servedMiB: compare((life) => life.servedMiB),
  listenMs: compare((life) => life.listenMs),
  bounds: BOUNDS,
};
const over = [
  ...(result.freshMiB.ratio > BOUNDS.memoryRatio ? ['idle memory, fresh'] : []),
  ...(result.servedMiB.ratio > BOUNDS.memoryRatio ? ['idle memory, after requests'] : []),
  ...(result.listenMs.difference > BOUNDS.listenMoreMs ? ['time to listen'] : []),
];

if (process.argv.includes('--json')) console.log(JSON.stringify({ ...result, over }, null, 2));
else {
  const { freshMiB, servedMiB, listenMs } = result;
  const row = (/** @type {(string | number)[]} */ [name, ...cells]) =>
    String(name).padEnd(36) + cells.map((cell) => (typeof cell === 'number' ? cell.toFixed(2) : cell).padStart(12)).join('');
  console.log(`${machine.cpu}, ${machine.cores} cores, node ${machine.node}, ${machine.os}; medians of ${RUNS} runs\n`);
  console.log(row(['', 'bare http', 'program', 'ratio', 'difference', 'allowed']));
  for (const [name, memory] of /** @type {const} */ ([['fresh', freshMiB], [`after ${REQUESTS} requests`, servedMiB]])) {
    console.log(row([`idle memory, ${name}, MiB`, memory.bare, memory.program, memory.ratio, memory.difference, `x ${BOUNDS.memoryRatio}`]));
  }
  console.log(row(['time to listen, ms', listenMs.bare, listenMs.program, listenMs.ratio, listenMs.difference, `+ ${BOUNDS.listenMoreMs}`]));
  console.log(over.length === 0 ? '\nwithin bounds' : `\nover bounds: ${over.join('; ')}`);
}
process.exitCode = over.length === 0 ? 0 : 1;

/** @param {(life: Idle) => number} of */
function compare(of) {
  const [bare, program] = [median(lives.bare.map(of)), median(lives.empty.map(of))];
  return { bare, program, ratio: program / bare, difference: program - bare };
}
