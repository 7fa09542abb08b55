// @ts-check
// What the program costs when it does nothing: resident memory and time to listen without any server configured,
// beside a bare `node:http` server that is measured in the same run and in the same way. Needs a build.
// `--json` prints JSON. Exits with 1 when the program is over a bound, and says which.
//
// Memory is read twice: fresh, and after 1,000 requests. A bare server that has never answered anything has not
// collected garbage once, and the first collection alone maps some five megabytes, so the second is how they live.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const RUNS = 11;
const SETTLE_MS = 1_000;
const REQUESTS = 1_000;
const READY_MS = 30_000;
const END_MS = 15_000;
const MAX_MEMORY_RATIO = 1.15;
const MAX_LISTEN_MORE_MS = 60;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const program = join(root, 'dist', 'index.js');
if (!existsSync(program)) {
  console.error(`${program} is missing: run npm run build first`);
  process.exit(1);
}

const dir = mkdtempSync(join(os.tmpdir(), 'mcp-proxy-'));
/** @type {import('node:child_process').ChildProcess | undefined} */
let current;
process.on('exit', () => {
  current?.kill('SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
const bare = join(dir, 'bare.mjs');
writeFileSync(
  bare,
  `import http from 'node:http';
const server = http.createServer((req, res) => res.end());
server.listen(0, '127.0.0.1', () => console.log('http://127.0.0.1:' + server.address().port));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
`,
);
const config = join(dir, 'mcp-config.json');
writeFileSync(config, '{"mcpServers":{}}\n');

/** @typedef {{ listenMs: number, freshMiB: number, servedMiB: number }} Sample */

/** @type {Record<'program' | 'bare', Sample[]>} */
const samples = { program: [], bare: [] };
for (let run = 0; run < RUNS; run++) {
  if (process.stderr.isTTY) process.stderr.write(`\rrun ${run + 1} of ${RUNS}`);
  // Each is first every other time, so that a machine that gets faster or slower favours neither.
  if (run % 2 === 0) samples.bare.push(await measure(bare));
  samples.program.push(await measure(program));
  if (run % 2 === 1) samples.bare.push(await measure(bare));
}
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');

const result = {
  machine: {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.availableParallelism(),
    node: process.version,
    os: `${os.type()} ${os.release()} ${os.arch()}`,
  },
  runs: RUNS,
  freshMiB: compare((sample) => sample.freshMiB),
  servedMiB: compare((sample) => sample.servedMiB),
  listenMs: compare((sample) => sample.listenMs),
  bounds: { memoryRatio: MAX_MEMORY_RATIO, listenMoreMs: MAX_LISTEN_MORE_MS },
};
const over = [
  ...(result.freshMiB.ratio > MAX_MEMORY_RATIO ? ['idle memory, fresh'] : []),
  ...(result.servedMiB.ratio > MAX_MEMORY_RATIO ? ['idle memory, after requests'] : []),
  ...(result.listenMs.difference > MAX_LISTEN_MORE_MS ? ['time to listen'] : []),
];

if (process.argv.includes('--json')) console.log(JSON.stringify({ ...result, over }, null, 2));
else {
  const { machine, freshMiB, servedMiB, listenMs } = result;
  const row = (/** @type {(string | number)[]} */ [name, ...cells]) =>
    String(name).padEnd(36) + cells.map((cell) => (typeof cell === 'number' ? cell.toFixed(2) : cell).padStart(12)).join('');
  console.log(`${machine.cpu}, ${machine.cores} cores, node ${machine.node}, ${machine.os}; medians of ${RUNS} runs\n`);
  console.log(row(['', 'bare http', 'program', 'ratio', 'difference', 'allowed']));
  for (const [name, memory] of /** @type {const} */ ([['fresh', freshMiB], [`after ${REQUESTS} requests`, servedMiB]])) {
    console.log(row([`idle memory, ${name}, MiB`, memory.bare, memory.program, memory.ratio, memory.difference, `x ${MAX_MEMORY_RATIO}`]));
  }
  console.log(row(['time to listen, ms', listenMs.bare, listenMs.program, listenMs.ratio, listenMs.difference, `+ ${MAX_LISTEN_MORE_MS}`]));
  console.log(over.length === 0 ? '\nwithin bounds' : `\nover bounds: ${over.join('; ')}`);
}
process.exitCode = over.length === 0 ? 0 : 1;

/** @param {(sample: Sample) => number} of */
function compare(of) {
  const [bare, program] = [median(samples.bare.map(of)), median(samples.program.map(of))];
  return { bare, program, ratio: program / bare, difference: program - bare };
}

/** @param {number[]} values */
function median(values) {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}

/**
 * One life of one server: from spawn to the line that names its port, the memory after it has settled, its end.
 * @param {string} script
 * @returns {Promise<Sample>}
 */
async function measure(script) {
  const started = performance.now();
  const child = spawn(process.execPath, [script], {
    cwd: dir,
    // Nothing of the caller's environment: NODE_OPTIONS or a coverage run would be measured, too.
    env: { PATH: process.env['PATH'] ?? '', SystemRoot: process.env['SystemRoot'], PORT: '0', CONFIG_PATH: config },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  current = child;
  const killed = setTimeout(() => child.kill('SIGKILL'), READY_MS);
  let said = '';
  child.stderr.on('data', (chunk) => (said += chunk));
  /** @type {Promise<void>} */
  const exited = new Promise((resolve) => child.once('close', () => resolve()));
  let url = '';
  const listenMs = await new Promise((resolve, reject) => {
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
      url = /(http:\/\/127\.0\.0\.1:\d+)\s/.exec(out)?.[1] ?? '';
      if (url !== '') resolve(performance.now() - started);
    });
    void exited.then(() => reject(new Error(`${script} ended before it named its port:\n${out}${said}`)));
  });
  clearTimeout(killed);

  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const freshMiB = rssKiB(child.pid ?? NaN) / 1024;
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (let request = 0; request < REQUESTS; request++) await get(`${url}/health`, agent);
  agent.destroy();
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const servedMiB = rssKiB(child.pid ?? NaN) / 1024;

  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), END_MS);
  await exited;
  clearTimeout(late);
  return { listenMs, freshMiB, servedMiB };
}

/**
 * @param {string} url
 * @param {http.Agent} agent
 * @returns {Promise<void>}
 */
function get(url, agent) {
  return new Promise((resolve, reject) => {
    http.get(url, { agent }, (res) => res.resume().once('end', resolve)).once('error', reject);
  });
}

/** @param {number} pid */
function rssKiB(pid) {
  if (existsSync('/proc/self/status')) return Number(/^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }));
}
