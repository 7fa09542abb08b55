// @ts-check
// `npm run soak`: the program with clients of every dialect that check every payload, while its servers are restarted, killed,
// reconfigured, removed and flooded. Prints what it held before and after in memory, descriptors and processes. The exit
// code is 1 if an answer was wrong, late or missing, or if something is left that was not there before. Needs a build.
//
//   npm run soak                      three minutes
//   npm run soak -- --minutes 60      as long as that
//   --program <file>                  another build of the program

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { options, usage } from './options.mjs';
import { again, batch, httpSse, leaver, listen, modern, pause, session, simple, Tally } from './soak/clients.mjs';
import { agent, send } from './soak/http.mjs';
import { Program, SESSION_TIMEOUT_MS, until } from './soak/program.mjs';

/** What may be more afterwards: a heap is not the same twice. */
const MORE_MIB = 16;

const here = dirname(fileURLToPath(import.meta.url));
const { values: flags } = options({ options: { minutes: { type: 'string', default: '3' }, program: { type: 'string', default: join(here, '..', 'dist', 'index.js') } } });
const minutes = Number(flags.minutes);
if (!(minutes > 0)) usage('--minutes is a number above 0');
if (!existsSync(flags.program)) usage(`${flags.program} is missing: run npm run build first`);

const server = (/** @type {string} */ name, /** @type {string} */ era, more = {}) => ({ command: process.execPath, args: [join(here, 'soak', 'child.mjs'), name, era], maxRestarts: 1_000, ...more });
const SERVERS = { legacy: server('legacy', 'legacy'), modern: server('modern', 'modern'), own: server('own', 'legacy', { isolation: 'session' }), guest: server('guest', 'modern') };
const NAMES = Object.keys(SERVERS);
const CLIENTS = [simple, batch, session, httpSse, modern, listen, leaver].flatMap((client) => NAMES.map((name) => /** @type {const} */ ([`${client.name} at ${name}`, client(name), name])));

const program = new Program(flags.program, SERVERS);
const origin = await program.origin();
let alive = true;
void program.ended.then(() => (alive = false));
const tally = new Tally();

// Everything has been used once, and what stays for good is there, before anything is counted.
note('warming up');
await soak(Math.min(30_000, minutes * 20_000));
const before = await calm();
tally.right = 0;
tally.refused.clear();
const started = performance.now();
await soak(minutes * 60_000);
const seconds = (performance.now() - started) / 1_000;
const after = await calm();
const { code, left } = await program.stop();
agent.destroy();
note('');

const row = (/** @type {string} */ what, /** @type {number} */ was, /** @type {number} */ is, unit = '') => console.log(`${what.padEnd(12)} ${String(was).padStart(8)} ${String(is).padStart(8)} ${unit}`);
console.log(`${Math.round(seconds)} s, ${tally.right} calls answered right (${Math.round(tally.right / seconds)}/s), ${[...tally.refused.values()].reduce((sum, n) => sum + n, 0)} refused, cut off or left:`);
console.log(`${[...tally.refused].sort(([, a], [, b]) => b - a).map(([reason, n]) => `${reason} ${n}`).join(', ')}\n`);
console.log(`${''.padEnd(12)} ${'before'.padStart(8)} ${'after'.padStart(8)}`);
row('memory', Math.round(before.mib), Math.round(after.mib), 'MiB');
row('descriptors', before.descriptors, after.descriptors);
row('processes', before.processes, after.processes);

const problems = [...tally.wrong];
if (after.mib > before.mib + MORE_MIB) problems.push(`memory: more than ${MORE_MIB} MiB more than before`);
if (after.descriptors > before.descriptors) problems.push('descriptors: more than before');
if (after.processes > before.processes) problems.push('processes: more than before');
if (code !== 0) problems.push(`the program ended with ${code}:\n${program.said}`);
if (left.length > 0) problems.push(`after its end these are alive: ${left.join(', ')}`);
if (tally.right === 0) problems.push('no call was answered');
finish(problems);

/** Lets everybody loose for so long. */
async function soak(/** @type {number} */ ms) {
  const end = new AbortController();
  const all = CLIENTS.map(([who, client]) => again({ origin, tally, signal: end.signal }, who, client));
  const until = performance.now() + ms;
  for (let round = 0; performance.now() < until && alive && tally.wrong.length === 0; round++) {
    note(`${Math.ceil((until - performance.now()) / 1_000)} s to go, ${tally.right} calls answered`);
    await disturb(round);
    await pause(Math.min(700, until - performance.now()));
  }
  end.abort();
  if (tally.wrong.length > 0) finish(tally.wrong);
  await Promise.all(all);
  program.configure(SERVERS);
}

function finish(/** @type {string[]} */ problems) {
  note('');
  for (const problem of problems) console.log(`\nFAILED ${problem}`);
  process.exit(problems.length === 0 ? 0 : 1);
}

/** What an operator does, or misfortune; in turn. */
async function disturb(/** @type {number} */ round) {
  const name = NAMES[round % NAMES.length] ?? '';
  const { guest, ...others } = SERVERS;
  const tool = (/** @type {string} */ tool) => send(`${origin}/${name}/mcp`, { body: { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool, arguments: {} } } });
  switch (Math.floor(round / NAMES.length) % 6) {
    case 0:
      return void (await send(`${origin}/api/servers/${name}/restart`, { body: {} }));
    case 1:
      return program.configure({ ...SERVERS, [name]: { .../** @type {any} */ (SERVERS)[name], env: { ROUND: String(round) } } });
    case 2:
      return program.configure(round % 2 === 0 ? others : { ...others, guest: { ...guest, disabled: true } });
    case 3:
      return program.configure(SERVERS);
    case 4:
      return void (await tool('die'));
    default: {
      const { messages } = await tool('pid');
      const pid = Number(messages[0]?.result?.content[0].text);
      if (program.processes().includes(pid)) process.kill(pid, 'SIGKILL');
    }
  }
}

/** What it holds when nobody wants anything from it and every server runs. */
async function calm() {
  note('waiting for calm');
  agent.destroy();
  for (const name of NAMES) await send(`${origin}/api/servers/${name}/restart`, { body: {} }); // a call that is parked has five minutes otherwise
  const status = async () => (await send(`${origin}/api/servers`, { method: 'GET', headers: { accept: 'application/json' } })).messages[0];
  await until(
    async () => {
      const all = await status();
      for (const [name, { status }] of Object.entries(all)) if (status !== 'running') await send(`${origin}/${name}/mcp`, { body: { jsonrpc: '2.0', id: 1, method: 'tools/list' } });
      return Object.keys(all).length === NAMES.length && Object.values(all).every((/** @type {any} */ each) => each.status === 'running' && each.pendingRequests === 0 && !each.sessions);
    },
    'calm',
    60_000,
  );
  await pause(SESSION_TIMEOUT_MS + 1_000);
  agent.destroy();
  await pause(500);
  return program.figures();
}

function note(/** @type {string} */ what) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${what}`);
}
