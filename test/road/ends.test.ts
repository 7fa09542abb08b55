// However the proxy ends, nothing that it started is left five seconds later: not even when it is killed and can do nothing any more.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test, type TestContext } from 'node:test';
import { alive, fixture, group, until } from '../support/files.ts';
import { request } from '../support/http.ts';
import { start, type Program } from '../support/program.ts';

const posix = { skip: process.platform === 'win32' };
const BOUND_MS = 5_000;

const server = (name: string, ...args: string[]) => ({ command: process.execPath, args: [fixture(name), ...args] });
/** Within a shell that waits for it, as with `npx` and `uvx`. */
const wrapped = (name: string, ...args: string[]) => ({ command: '/bin/sh', args: ['-c', '"$0" "$@"; :', process.execPath, fixture(name), ...args] });

const SERVERS = {
  good: server('server.mjs'),
  modern: server('server.mjs', '--modern'),
  deaf: server('deaf-to-signals.mjs'),
  'deaf to stdin': server('deaf-to-stdin.mjs'),
  'in a shell': wrapped('deaf-to-signals.mjs'),
  'deaf grandchild': server('leaves-grandchild.mjs', 'deaf'),
  grandchild: wrapped('leaves-grandchild.mjs'),
  'reads nothing': server('reads-nothing.mjs'),
  hangs: server('hangs-in-handshake.mjs'),
};

interface Running {
  readonly program: Program;
  readonly origin: string;
  /** The processes of all groups that it has started so far. */
  members(): number[];
}

/** Starts the program and waits until its servers are up, with all that they start. */
async function up(t: TestContext, mcpServers: Readonly<Record<string, ReturnType<typeof server>>> = SERVERS): Promise<Running> {
  const program = start(t, { config: { mcpServers }, env: { START_CONCURRENCY: '20', LOG_LEVEL: 'debug', LOG_FORMAT: 'json' } });
  const leaders = (): number[] => program.lines().map((line) => JSON.parse(line)).flatMap(({ event, pid }) => (event === 'spawn' ? [Number(pid)] : []));
  const members = (): number[] => leaders().flatMap(group);
  t.after(() => members().forEach((pid) => process.kill(pid, 'SIGKILL')));
  const origin = await program.origin();
  await until(async () => {
    const status = (await request(`${origin}/api/servers`, { headers: { Accept: 'application/json' } })).json();
    return Object.keys(mcpServers).every((name) => name === 'hangs' || status[name].status === 'running');
  }, 'all servers to run');
  await until(() => program.children().length >= Object.keys(mcpServers).length, 'those that hang to have started');
  return { program, origin, members };
}

/** The ids of the processes that the program has started and that lead no group of a server. */
function helpersOf({ program, members }: Running): number[] {
  const servers = members();
  const all = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n').map((line) => line.trim().split(/\s+/).map(Number));
  return all.flatMap(([pid, ppid]) => (ppid === program.process.pid && !servers.includes(pid!) ? [pid!] : []));
}

for (const [what, target] of [
  ['the program', 1],
  ['its whole process group', -1],
] as const) {
  test(`after kill -9 of ${what} all servers end, however deaf, with all that they have started, and so does what ended them`, posix, async (t) => {
    const running = await up(t);
    const [members, helpers] = [running.members(), helpersOf(running)];
    assert.equal(members.length, Object.keys(SERVERS).length + 4); // two shells and two grandchildren
    assert.equal(helpers.length, 1);
    process.kill(target * running.program.process.pid!, 'SIGKILL');
    await running.program.ended();
    const at = performance.now();
    await until(() => ![...members, ...helpers].some(alive), () => `the end of ${[...members, ...helpers].filter(alive)}`);
    const took = performance.now() - at;
    assert.ok(took <= BOUND_MS, `it took ${took} ms`);
  });
}

test('what was started after the first server, or again, is ended as well', posix, async (t) => {
  const running = await up(t, { deaf: server('deaf-to-signals.mjs'), x: server('server.mjs') });
  const { program, origin } = running;
  const call = (name: string, tool: string): Promise<unknown> =>
    request(`${origin}/${name}/mcp`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool } }) });
  await call('x', 'die');
  await until(() => program.children().length === 3, 'the next process');
  await call('x', 'echo');
  const members = running.members();
  assert.deepEqual(members.length, 2);
  process.kill(program.process.pid!, 'SIGKILL');
  await until(() => !members.some(alive), 'the end of all', BOUND_MS);
});

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  test(`after ${signal} nothing is left when the program has ended`, posix, async (t) => {
    const { deaf, good, 'deaf grandchild': grandchild } = SERVERS;
    const running = await up(t, { deaf, good, grandchild });
    const [members, helpers] = [running.members(), helpersOf(running)];
    running.program.process.kill(signal);
    assert.deepEqual(await running.program.ended(), [0, null]);
    assert.deepEqual(members.filter(alive), []);
    await until(() => !helpers.some(alive), 'the end of the helper');
  });
}
