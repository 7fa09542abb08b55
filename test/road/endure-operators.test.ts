// What an operator, a disk and a system clock may do while the proxy runs: whoever is not concerned notices nothing, and whoever is gets an answer.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { alive, fixture, group, tempDir, until } from '../support/files.ts';
import { openSse, post, request, type SseStream } from '../support/http.ts';
import { modernRequest } from '../support/modern.ts';
import { entry, start } from '../support/program.ts';
import { endOf, node, startProxy } from '../support/proxy.ts';
import { initialize } from '../support/session.ts';

const posix = { skip: process.platform === 'win32' };
const server = (name: string, ...args: string[]) => ({ command: process.execPath, args: [fixture(name), ...args] });

const toolCall = (name: string, args: object = {}) => ({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } });
const call = async (origin: string, at: string, tool: string, args?: object): Promise<any> => (await post(`${origin}/${at}/mcp`, toolCall(tool, args))).json().result?.structuredContent;
const statusOf = async (origin: string): Promise<any> => (await request(`${origin}/api/servers`, { headers: { Accept: 'application/json' } })).json();

// ---- the disk

test('on a disk that is full a change of the configuration is refused, the file stays whole, and nothing is left beside it', posix, async (t) => {
  const dir = tempDir(t);
  // A bound on the size of a file is the full disk that every user can make: the first blocks are written, the next fails.
  const program = start(t, { cwd: dir, config: { mcpServers: { x: server('server.mjs') } }, argv: ['/bin/sh', '-c', 'ulimit -f 1; exec "$0" "$@"', process.execPath, entry] });
  const origin = await program.origin();
  const { pid } = await call(origin, 'x', 'pid');
  const path = join(dir, 'mcp-config.json');
  const [text, beside] = [readFileSync(path, 'utf8'), readdirSync(dir)];
  const change = (length: number): Promise<any> => post(`${origin}/api/config`, { mcpServers: { x: server('server.mjs'), y: { url: `http://elsewhere/${'y'.repeat(length)}` } } });
  const refused = await change(10_000);
  assert.deepEqual([refused.status, refused.json().error.data.reason], [500, 'config_write_failed']);
  assert.deepEqual([readFileSync(path, 'utf8'), readdirSync(dir)], [text, beside]);
  assert.deepEqual(Object.keys(await statusOf(origin)), ['x']);
  assert.equal((await change(10)).status, 200);
  assert.equal((await call(origin, 'x', 'pid')).pid, pid);
});

/** A small disk of its own, where this user may mount one. */
function smallDisk(t: TestContext): string | undefined {
  const dir = tempDir(t);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', dir]).status !== 0) return undefined;
  t.after(() => spawnSync('umount', ['-l', dir]));
  return dir;
}

const remount = (dir: string, how: string): void => assert.equal(spawnSync('mount', ['-o', `remount,${how}`, dir]).status, 0);

for (const [what, code, spoil, mend] of [
  ['without a free block', 'ENOSPC', (dir) => assert.throws(() => writeFileSync(join(dir, 'filler'), Buffer.alloc(2 ** 21)), { code: 'ENOSPC' }), (dir) => rmSync(join(dir, 'filler'))],
  ['that may only be read', 'EROFS', (dir) => remount(dir, 'ro'), (dir) => remount(dir, 'rw')],
] as readonly (readonly [string, string, (dir: string) => void, (dir: string) => void])[]) {
  test(`on a disk ${what} a change of the configuration is refused, and taken over when it can be written again`, { skip: process.platform !== 'linux' }, async (t) => {
    const dir = smallDisk(t);
    if (dir === undefined) return t.skip('only root may mount a disk');
    const env = { STARTS: join(tempDir(t), 'starts') };
    const program = start(t, { cwd: dir, env, config: { mcpServers: { x: server('server.mjs') } } });
    const origin = await program.origin();
    const { pid } = await call(origin, 'x', 'pid');
    const path = join(dir, 'mcp-config.json');
    const text = readFileSync(path, 'utf8');
    spoil(dir);
    const beside = readdirSync(dir);
    const change = (): Promise<any> => post(`${origin}/api/config`, { mcpServers: { x: server('server.mjs'), y: { url: 'http://elsewhere/' } } });
    const refused = await change();
    assert.deepEqual([refused.status, refused.json().error.data.reason], [500, 'config_write_failed']);
    assert.match(refused.json().error.message, new RegExp(code));
    assert.deepEqual([readFileSync(path, 'utf8'), readdirSync(dir)], [text, beside]);
    assert.deepEqual(Object.keys(await statusOf(origin)), ['x']);
    mend(dir);
    assert.equal((await change()).status, 200);
    assert.equal((await call(origin, 'x', 'pid')).pid, pid);
    assert.deepEqual(Object.keys(JSON.parse(readFileSync(path, 'utf8')).mcpServers), ['x', 'y']);
  });
}

test('where the directory of the configuration is gone a change is refused, what runs goes on, and it is followed again when it is back', posix, async (t) => {
  const proxy = await startProxy(t, { x: node('server.mjs') }, { file: 'written' });
  const { pid } = await proxy.tool('x', 'pid');
  const elsewhere = `${proxy.dir}-elsewhere`;
  renameSync(proxy.dir, elsewhere);
  const refused = await proxy.configure({ x: node('server.mjs'), y: { url: 'http://elsewhere/' } }).finally(() => renameSync(elsewhere, proxy.dir));
  assert.ok(refused.status >= 400, refused.text);
  assert.deepEqual([Object.keys(await proxy.status()), (await proxy.tool('x', 'pid')).pid], [['x'], pid]);
  assert.equal((await proxy.configure({ x: node('server.mjs'), y: { url: 'http://elsewhere/' } })).status, 200);
  assert.equal((await proxy.tool('x', 'pid')).pid, pid);
});

// ---- the file

test('a server that is renamed in the file with calls in flight: they end with the reason, the new name serves, no other server notices', async (t) => {
  const proxy = await startProxy(t, { old: node('server.mjs'), y: node('server.mjs') }, { file: 'written', limits: { drainReloadMs: 300 } });
  const { pid } = await proxy.tool('y', 'pid');
  await proxy.becomes('old', 'running');
  const inFlight = proxy.call('old', 'tools/call', { name: 'hold' });
  await proxy.becomes('old', ({ pendingRequests }: any) => pendingRequests === 1);
  writeFileSync(proxy.path, JSON.stringify({ mcpServers: proxy.own({ new: node('server.mjs'), y: node('server.mjs') }) }));
  await until(async () => (await proxy.call('old', 'tools/list')).status === 404, 'the end of the old name');
  assert.deepEqual(await proxy.tool('new', 'echo', { n: 1 }), { n: 1 });
  assert.equal((await inFlight).json().error.data.reason, 'reconfigured');
  assert.equal((await proxy.tool('y', 'pid')).pid, pid);
});

/** A server in a few lines of shell: quick to start, and small. */
const tiny = {
  command: '/bin/sh',
  args: ['-c', `while read -r line; do
    id=\${line#*'"id":'}; id=\${id%%[,\\}]*}
    case $line in
      *'"initialize"'*) echo '{"jsonrpc":"2.0","id":'$id',"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"t","version":"1"}}}';;
      *'"id"'*'"tools/call"'*|*'"tools/call"'*'"id"'*) echo '{"jsonrpc":"2.0","id":'$id',"result":{"content":[],"structuredContent":{"pid":'$$'}}}';;
      *'"id"'*) echo '{"jsonrpc":"2.0","id":'$id',"error":{"code":-32601,"message":"no"}}';;
    esac
  done`],
};

test('a thousand servers in one file run, each for itself, so many at most start at once, and a change of one is a change of one', { skip: process.platform !== 'linux' }, async (t) => {
  const mcpServers = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`s${n}`, n < 200 ? tiny : n < 400 ? { ...tiny, disabled: true } : { url: `http://elsewhere/${n}` }]));
  const program = start(t, { config: { mcpServers }, env: { START_CONCURRENCY: '20', LOG_LEVEL: 'debug', LOG_FORMAT: 'json' } });
  const origin = await program.origin();
  const since = performance.now();
  const all = await until(async () => {
    const status = await statusOf(origin);
    return Object.values<any>(status).filter((each) => each.status === 'running').length === 200 ? status : undefined;
  }, 'all to run', 60_000);
  t.diagnostic(`200 of 1,000 servers ran after ${Math.round(performance.now() - since)} ms`);
  assert.equal(Object.keys(all).length, 1_000);
  let [starting, most] = [0, 0];
  for (const { event } of program.lines().map((line) => JSON.parse(line))) {
    starting += event === 'spawn' ? 1 : event === 'running' ? -1 : 0;
    most = Math.max(most, starting);
  }
  assert.equal(most, 21); // the turn is passed on just before the log says that it is over
  const [one, other] = [await call(origin, 's7', 'pid'), await call(origin, 's199', 'pid')];
  assert.notEqual(one.pid, other.pid);
  const path = join(program.dir, 'mcp-config.json');
  writeFileSync(path, JSON.stringify({ mcpServers: { ...mcpServers, s7: { ...tiny, env: { CHANGED: '1' } } } }));
  await until(async () => (await call(origin, 's7', 'pid')).pid !== one.pid, 'the change');
  assert.equal((await call(origin, 's199', 'pid')).pid, other.pid);
});

test('posts and edits of the file at once lose no call, and in the end what runs is what the file says', async (t) => {
  const proxy = await startProxy(t, { y: node('server.mjs') }, { file: 'written' });
  const { pid } = await proxy.tool('y', 'pid');
  const servers = (n: number) => ({ y: node('server.mjs'), [`s${n % 3}`]: { url: `http://elsewhere/${n}` } });
  let over = false;
  const calling = (async () => {
    for (let n = 0; !over; n++) assert.equal((await proxy.tool('y', 'pid')).pid, pid);
  })();
  for (let n = 0; n < 30; n++) {
    const posted = proxy.configure(servers(n));
    if (n % 2 === 0) writeFileSync(proxy.path, JSON.stringify({ mcpServers: proxy.own(servers(n + 100)) }));
    assert.ok([200, 409].includes((await posted).status));
  }
  over = true;
  await calling;
  await until(async () => {
    const { mcpServers } = JSON.parse(readFileSync(proxy.path, 'utf8'));
    return JSON.stringify(Object.keys(mcpServers).sort()) === JSON.stringify(Object.keys(await proxy.status()).sort());
  }, 'the file and what runs to be the same');
});

// ---- the clock

test('a system clock that jumps, years ahead and back, ends nothing, starts nothing and moves no deadline', posix, async (t) => {
  const dir = tempDir(t);
  const jumps = join(dir, 'jumps.mjs');
  writeFileSync(jumps, `
    const real = Date.now;
    let n = 0;
    Date.now = () => real() + (n % 3 - 1) * 3e11; // about ten years
    setInterval(() => n++, 20).unref();`);
  const env = { REQUEST_TIMEOUT: '1000', IDLE_TIMEOUT: '60000', SESSION_TIMEOUT: '60000' };
  const program = start(t, { cwd: dir, config: { mcpServers: { x: server('server.mjs') } }, env, argv: [process.execPath, '--import', pathToFileURL(jumps).href, entry] });
  const origin = await program.origin();
  const { pid } = await call(origin, 'x', 'pid');
  const opened = await post(`${origin}/x/mcp`, initialize('2025-06-18'), { Accept: 'application/json, text/event-stream' });
  const session = { 'Mcp-Session-Id': String(opened.headers['mcp-session-id']), Accept: 'application/json, text/event-stream' };
  const since = performance.now();
  const { error } = (await post(`${origin}/x/mcp`, toolCall('hold'))).json();
  const took = performance.now() - since;
  assert.equal(error.data.reason, 'timeout');
  assert.ok(took >= 995 && took < 5_000, `${took} ms`);
  assert.equal((await call(origin, 'x', 'pid')).pid, pid);
  assert.equal((await post(`${origin}/x/mcp`, toolCall('echo'), session)).status, 200);
  const years = new Set<number>();
  await until(async () => {
    await call(origin, 'x', 'echo');
    return years.add(new Date((await statusOf(origin)).x.lastUsed).getFullYear()).size > 1;
  }, 'a jump of the clock that is told to people');
});

// ---- the end

/** Open streams of every kind. */
async function streams(t: TestContext, origin: string): Promise<Record<string, SseStream>> {
  const both = { Accept: 'application/json, text/event-stream', 'Content-Type': 'application/json' };
  const opened = await post(`${origin}/x/mcp`, initialize('2025-06-18'), both);
  const session = { ...both, 'Mcp-Session-Id': String(opened.headers['mcp-session-id']) };
  await post(`${origin}/x/mcp`, { jsonrpc: '2.0', method: 'notifications/initialized' }, session);
  const say = { name: 'progress', arguments: { steps: 1, hold: 'never' }, _meta: { progressToken: 't' } };
  const listen = modernRequest('subscriptions/listen', { notifications: { toolsListChanged: true } });
  const modern = modernRequest('tools/call', { name: say.name, arguments: say.arguments }, { progressToken: 't' });
  const posting = (headers: object, body: object): Promise<SseStream> => openSse(`${origin}/x/mcp`, { ...headers }, { method: 'POST', body: JSON.stringify(body) });
  const all: Record<string, SseStream> = {
    simple: await openSse(`${origin}/x/sse`),
    'HTTP+SSE': await openSse(`${origin}/x/sse`, { Accept: 'text/event-stream' }),
    session: await openSse(`${origin}/x/mcp`, { ...session, Accept: 'text/event-stream' }),
    status: await openSse(`${origin}/api/servers`, { Accept: 'text/event-stream' }),
    listen: await posting(listen.headers, listen.message),
    'simple call': await posting(both, { jsonrpc: '2.0', id: 1, method: 'tools/call', params: say }),
    'session call': await posting(session, { jsonrpc: '2.0', id: 1, method: 'tools/call', params: say }),
    'modern call': await posting(modern.headers, modern.message),
  };
  for (const stream of Object.values(all)) t.after(() => stream.close());
  return all;
}

const LAST: Readonly<Record<string, RegExp>> = {
  simple: /event: close\ndata: .*\n\n$/,
  listen: /"id":1,"result":\{"resultType":"complete".*\n\n$/,
  'simple call': /"id":1,"error":\{.*"reason":"shutdown".*\n\n$/,
  'session call': /"id":1,"error":\{.*"reason":"shutdown".*\n\n$/,
  'modern call': /"id":1,"error":\{.*"reason":"shutdown".*\n\n$/,
};

test('a signal ends every stream in order and with its last message, in spite of deaf servers, of which none is left', posix, async (t) => {
  const program = start(t, { config: { mcpServers: { x: server('server.mjs'), deaf: server('deaf-to-signals.mjs'), 'reads nothing': server('reads-nothing.mjs') } } });
  const origin = await program.origin();
  await until(async () => Object.values<any>(await statusOf(origin)).every(({ status }) => status === 'running'), 'all servers to run');
  const all = await streams(t, origin);
  const since = performance.now();
  program.process.kill('SIGTERM');
  const ends = await Promise.all(Object.entries(all).map(async ([name, stream]) => [name, await endOf(stream)]));
  assert.deepEqual(ends, Object.keys(all).map((name) => [name, 'end']));
  for (const [name, last] of Object.entries(LAST)) assert.match(all[name]!.raw.toString(), last, name);
  assert.deepEqual(await program.ended(), [0, null]);
  t.diagnostic(`${Math.round(performance.now() - since)} ms until the end of the program`);
  assert.deepEqual(program.children().filter((pid) => alive(pid) || group(pid).length > 0), []);
  assert.equal(program.children().length, 3);
});
