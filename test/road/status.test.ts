// GET /api/servers: the state of every server, then each change of it.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeClock, turns } from '../support/clock.ts';
import { alive, tempDir, until } from '../support/files.ts';
import { openSse, request } from '../support/http.ts';
import { endOf, node, startProxy, type StatusReader } from '../support/proxy.ts';
import { openSession } from '../support/session.ts';

const NEW_YEAR = Date.UTC(2024, 0, 1);
const never = { command: 'no-such-program-anywhere', maxRestarts: 0 };

/** The deltas that have come and were not taken. */
const deltas = (reader: StatusReader): unknown[] => reader.all.flatMap((item) => ('event' in item && item.event === 'delta' ? JSON.parse(item.data) : []));

test('the stream begins with every server in the order of the configuration, as documented', async (t) => {
  const clock = fakeClock(NEW_YEAR);
  const proxy = await startProxy(t, { notionApi: node('server.mjs'), filesystem: never }, { clock });
  await proxy.becomes('notionApi', 'running');
  await proxy.becomes('filesystem', 'error');
  const reader = await proxy.watch();
  assert.equal(
    reader.raw.toString(),
    'event: status\ndata: {"notionApi":{"status":"running","lastUsed":"2024-01-01T00:00:00.000Z","pendingRequests":0},"filesystem":{"status":"error","lastUsed":"2024-01-01T00:00:00.000Z","pendingRequests":0,"error":"spawn ENOENT","errorAt":"2024-01-01T00:00:00.000Z"}}\n\n',
  );
  assert.equal(reader.headers['content-type'], 'text/event-stream');
  assert.equal(reader.headers['cache-control'], 'no-cache, no-transform');
  assert.equal(reader.headers['x-accel-buffering'], 'no');

  await clock.run(5_000);
  await proxy.call('notionApi', 'tools/call', { name: 'die' });
  const { notionApi, ...others } = await reader.delta();
  assert.deepEqual([notionApi.status, notionApi.lastUsed, notionApi.restartCount], ['restarting', '2024-01-01T00:00:05.000Z', 1]);
  assert.deepEqual(others, {});
  assert.doesNotMatch(reader.raw.toString(), /^(id|retry):/m);
});

test('without servers the state is an empty object', async (t) => {
  const proxy = await startProxy(t, {});
  const reader = await proxy.watch();
  assert.equal(reader.raw.toString(), 'event: status\ndata: {}\n\n');
  assert.deepEqual(await proxy.status(), {});
});

test('names that mean something to JavaScript are names like any other, and keep their place', async (t) => {
  const names = ['b', 'constructor', '__proto__', 'toString', 'a', 'hasOwnProperty'];
  const proxy = await startProxy(t, Object.fromEntries(names.map((name) => [name, { ...node('server.mjs'), disabled: true }])));
  const [, data] = (await (await proxy.watch()).raw.toString()).split('data: ');
  assert.deepEqual([...data!.matchAll(/"([^"]+)":\{"status":"stopped"/g)].map(([, name]) => name), names);
  await proxy.configure({ ['__proto__']: { url: 'http://elsewhere' } });
  assert.match(JSON.stringify(await proxy.status()), /^\{"__proto__":\{"status":"error"/);
});

test('disabled servers are shown as stopped, and those that cannot be started as failed, with the reason', async (t) => {
  const proxy = await startProxy(t, { off: { ...node('server.mjs'), disabled: true }, remote: { url: 'http://elsewhere' }, both: { url: 'x', disabled: true } });
  const { first } = await proxy.watch();
  assert.deepEqual([first['off'].status, first['both'].status], ['stopped', 'stopped']);
  assert.equal(first['off'].error, undefined);
  assert.deepEqual([first['remote'].status, first['remote'].error], ['error', 'remote servers are not supported']);
});

for (const [accept, type] of [
  ['application/json', 'application/json'],
  ['application/json;q=0.1', 'application/json'],
  ['application/json, */*', 'application/json'],
  [undefined, 'text/event-stream'],
  ['*/*', 'text/event-stream'],
  ['text/html', 'text/event-stream'],
  ['text/event-stream', 'text/event-stream'],
  ['application/json, text/event-stream', 'text/event-stream'],
] as const) {
  test(`GET /api/servers with Accept: ${accept ?? '(none)'} is ${type}`, async (t) => {
    const proxy = await startProxy(t, { off: { ...node('server.mjs'), disabled: true } });
    const stream = await openSse(proxy.url('/api/servers'), accept === undefined ? {} : { Accept: accept });
    t.after(() => stream.close());
    assert.deepEqual([stream.status, stream.headers['content-type']], [200, type]);
    if (type === 'application/json') {
      await endOf(stream);
      assert.equal(JSON.parse(stream.raw.toString())['off'].status, 'stopped');
    } else assert.equal((await stream.event()).event, 'status');
  });
}

test('health is about the proxy, whatever its servers do', async (t) => {
  const proxy = await startProxy(t, { x: never });
  await proxy.becomes('x', 'error');
  for (const path of ['/health', '/health/', '/health?x']) {
    const reply = await request(proxy.url(path));
    assert.deepEqual([reply.status, reply.headers['content-type'], reply.text], [200, 'application/json', '{"status":"ok"}']);
  }
  const head = await request(proxy.url('/health'), { method: 'HEAD' });
  assert.deepEqual([head.status, head.headers['content-length'], head.text], [200, '15', '']);
  for (const method of ['HEAD', 'POST']) assert.deepEqual((({ status, headers }) => [status, headers.allow])(await request(proxy.url('/api/servers'), { method })), [405, 'GET']);
});

test('every status from start to failure, restart and health is written when it changes, while no time passes', async (t) => {
  const clock = fakeClock(NEW_YEAR);
  const gate = join(tempDir(t), 'gate');
  const proxy = await startProxy(t, { x: node('server.mjs', '--start-when', gate), y: { url: 'x' } }, { clock });
  const reader = await proxy.watch();
  const plain = { lastUsed: '2024-01-01T00:00:00.000Z', pendingRequests: 0 };
  assert.deepEqual(reader.first['x'], { status: 'starting', ...plain });
  writeFileSync(gate, '');
  assert.deepEqual(await reader.delta(), { x: { status: 'running', ...plain } });

  await clock.run(2_000);
  process.kill(proxy.spawned('x')[0]!, 'SIGKILL');
  const failed = { error: 'killed by SIGKILL', errorAt: '2024-01-01T00:00:02.000Z', restartCount: 1 };
  assert.deepEqual(await reader.delta(), { x: { status: 'restarting', ...plain, ...failed } });
  await clock.run(1_000);
  assert.deepEqual(await reader.delta(), { x: { status: 'running', ...plain, restartCount: 1 } });
  await clock.run(59_999);
  await clock.run(1);
  assert.deepEqual(await reader.delta(), { x: { status: 'running', ...plain } });
  assert.equal(deltas(reader).length, 4);
});

test('no status is skipped on the way to giving up, however fast it goes', async (t) => {
  const gate = join(tempDir(t), 'gate');
  const script = `while [ ! -e '${gate}' ]; do sleep 0.01; done; echo "no luck" >&2; exit 3`;
  const proxy = await startProxy(t, { x: { command: 'sh', args: ['-c', script], maxRestarts: 3 } }, { limits: { backoffFirstMs: 0 } });
  const reader = await proxy.watch();
  writeFileSync(gate, '');
  const seen = [];
  do seen.push((await reader.delta())['x']);
  while (seen.at(-1).status !== 'error');
  assert.deepEqual(seen.map(({ status, restartCount, error, stderr }) => [status, restartCount, error, stderr]), [
    ['restarting', 1, 'exited with code 3', 'no luck'],
    ['restarting', 2, 'exited with code 3', 'no luck'],
    ['restarting', 3, 'exited with code 3', 'no luck'],
    ['error', 3, 'exited with code 3', 'no luck'],
  ]);
});

test('counters alone are collected and written at most every 250 ms, as they are then', async (t) => {
  const clock = fakeClock(NEW_YEAR);
  const proxy = await startProxy(t, { x: node('server.mjs') }, { clock });
  await proxy.becomes('x', 'running');
  const reader = await proxy.watch();
  const held = proxy.tool('x', 'hold', { key: 'k' });
  for (let n = 0; n < 20; n++) await proxy.tool('x', 'echo');
  await clock.run(249);
  assert.deepEqual(deltas(reader), []);
  await clock.run(1);
  assert.deepEqual(await reader.delta(), { x: { status: 'running', lastUsed: '2024-01-01T00:00:00.000Z', pendingRequests: 1 } });
  await proxy.tool('x', 'release', { key: 'k' });
  await held;
  await clock.run(249);
  assert.equal(deltas(reader).length, 1);
  await clock.run(1);
  assert.deepEqual(await reader.delta(), { x: { status: 'running', lastUsed: '2024-01-01T00:00:00.250Z', pendingRequests: 0 } });
  await clock.run(10_000);
  assert.equal(deltas(reader).length, 2, 'nothing changed, nothing is written');
});

test('requests, notifications and opened streams count as use; pings and those who only look do not', async (t) => {
  const clock = fakeClock(NEW_YEAR);
  const proxy = await startProxy(t, { x: node('server.mjs') }, { clock });
  await proxy.becomes('x', 'running');
  const usedAfter = async (second: number, use: () => Promise<unknown>): Promise<boolean> => {
    await clock.run(1_000);
    await use();
    return (await proxy.status())['x'].lastUsed === `2024-01-01T00:00:0${second}.000Z`;
  };
  assert.equal(await usedAfter(1, () => proxy.call('x', 'ping')), false);
  assert.equal(await usedAfter(2, () => proxy.watch()), false);
  assert.equal(await usedAfter(3, () => proxy.call('x', 'tools/list')), true);
  assert.equal(await usedAfter(4, () => proxy.notify('x', 'notifications/cancelled', {})), true);
  assert.equal(await usedAfter(5, () => proxy.listen('x')), true);
  await clock.run(1_000);
  await proxy.configure({ x: node('server.mjs'), later: { ...node('server.mjs'), disabled: true } });
  assert.equal((await proxy.status())['later'].lastUsed, '2024-01-01T00:00:06.000Z');
});

test('when a session with a process of its own has ended, its server was used when that was', async (t) => {
  const clock = fakeClock(NEW_YEAR);
  const proxy = await startProxy(t, { x: { ...node('server.mjs'), isolation: 'session' } }, { clock });
  await proxy.becomes('x', 'running');
  const session = await openSession(t, proxy);
  await clock.run(3_000);
  await session.tool('echo');
  await session.delete();
  await proxy.flow(async () => (await proxy.status())['x'].sessions === undefined, 'the end of its process');
  assert.equal((await proxy.status())['x'].lastUsed, '2024-01-01T00:00:03.000Z');
});

test('what a change of the configuration does is written at once: null for who left, though its process may still be there', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { gone: node('server.mjs'), off: node('server.mjs'), kept: node('server.mjs'), back: { ...node('server.mjs'), disabled: true } }, { clock });
  for (const name of ['gone', 'off', 'kept']) await proxy.becomes(name, 'running');
  const reader = await proxy.watch();
  for (const name of ['gone', 'off']) void proxy.call(name, 'tools/call', { name: 'hold', arguments: { key: 'k' } });
  for (const name of ['gone', 'off']) await proxy.becomes(name, ({ pendingRequests }: any) => pendingRequests === 1);
  await proxy.configure({ off: { ...node('server.mjs'), disabled: true }, kept: node('server.mjs'), back: node('server.mjs'), added: never });

  const known: Record<string, any> = { ...reader.first };
  const words = new Set<string>();
  while (known['added']?.status !== 'error' || known['back'].status !== 'running') {
    for (const [name, state] of Object.entries(await reader.delta())) {
      if (state === null) delete known[name];
      else known[name] = state;
      words.add(`${name} ${state?.status ?? 'null'}`);
    }
  }
  assert.deepEqual([...words].sort(), ['added error', 'added starting', 'back running', 'back starting', 'gone null', 'off stopped']);
  assert.deepEqual(known, await proxy.status());
  assert.ok(alive(proxy.spawned('gone')[0]!), 'its call in flight still has time');
});

test('that a server has left is said once, whatever becomes of its last calls', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { gone: node('server.mjs'), kept: node('server.mjs') }, { clock });
  for (const name of ['gone', 'kept']) await proxy.becomes(name, 'running');
  const reader = await proxy.watch();
  const call = proxy.call('gone', 'tools/call', { name: 'hold', arguments: { key: 'k' } });
  await proxy.becomes('gone', ({ pendingRequests }: any) => pendingRequests === 1);
  await proxy.configure({ kept: node('server.mjs') });
  await clock.run(10_000);
  assert.equal((await call).json().error.data.reason, 'reconfigured');
  await proxy.configure({});
  await until(() => deltas(reader).length > 1 && 'kept' in (deltas(reader).at(-1) as object), 'the last change');
  const nulls = deltas(reader).filter((delta: any) => delta.gone === null || delta.kept === null);
  assert.deepEqual(nulls, [{ gone: null }, { kept: null }]);
});

test('a disabled server that is added, or removed, is a change of the set, too', async (t) => {
  const clock = fakeClock(NEW_YEAR);
  const proxy = await startProxy(t, {}, { clock });
  const reader = await proxy.watch();
  await proxy.configure({ off: { ...node('server.mjs'), disabled: true } });
  assert.deepEqual(await reader.delta(), { off: { status: 'stopped', lastUsed: '2024-01-01T00:00:00.000Z', pendingRequests: 0 } });
  await proxy.configure({});
  assert.deepEqual(await reader.delta(), { off: null });
});

test('a changed server is restarting until its new process runs, and an idle one is running until it is stopped, then starting', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('server.mjs') }, { clock });
  await proxy.becomes('x', 'running');
  const reader = await proxy.watch();
  const status = async (): Promise<string> => (await reader.delta())['x'].status;
  await proxy.configure({ x: node('server.mjs', '--name', 'other') });
  assert.equal(await status(), 'restarting');
  const running = status();
  await proxy.flow(() => proxy.spawned('x').length === 2, 'the second process');
  assert.equal(await running, 'running');

  await clock.run(300_000);
  assert.equal((await proxy.status())['x'].status, 'running');
  const stopped = status();
  await proxy.flow(async () => (await proxy.status())['x'].status !== 'running', 'the idle stop');
  assert.equal(await stopped, 'stopped');
  const answer = proxy.tool('x', 'echo', { a: 1 });
  assert.equal(await status(), 'starting');
  assert.equal(await status(), 'running');
  assert.deepEqual(await answer, { a: 1 });
});

test('a comment comes after fifteen seconds without an event', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, {}, { clock });
  const reader = await proxy.watch();
  await clock.run(14_999);
  assert.deepEqual(reader.comments, []);
  await clock.run(1);
  assert.deepEqual(await reader.next(), { comment: 'keep-alive' });
  assert.ok(reader.raw.toString().endsWith('\n\n: keep-alive\n\n'));
});

test('a hundred readers get the same; one more is turned away until one of them leaves', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, {}, { clock });
  const readers = await Promise.all(Array.from({ length: 100 }, () => proxy.watch()));
  const refused = await request(proxy.url('/api/servers'));
  assert.equal(refused.status, 503);
  assert.equal(refused.headers['retry-after'], '1');
  assert.deepEqual([refused.json().error.code, refused.json().error.data.reason], [-32603, 'busy']);
  assert.deepEqual(await proxy.status(), {}, 'a look is no reader');

  await proxy.configure({ x: { url: 'http://elsewhere' } });
  const told = await Promise.all(readers.map((reader) => reader.delta()));
  assert.equal(new Set(readers.map(({ raw }) => raw.toString())).size, 1);
  assert.equal(told[99]!['x'].status, 'error');

  await readers[50]!.close();
  await until(async () => {
    await clock.run(15_000);
    return proxy.watch();
  }, 'a place for one more reader');
});

test('a reader that comes later starts from the state as it is then', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('server.mjs') }, { clock });
  await proxy.becomes('x', 'running');
  const early = await proxy.watch();
  void proxy.call('x', 'tools/call', { name: 'hold', arguments: { key: 'k' } });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  const late = await proxy.watch();
  assert.equal(late.first['x'].pendingRequests, 1);
  assert.equal((await early.delta())['x'].pendingRequests, 1);
  await turns();
  await proxy.call('x', 'tools/call', { name: 'die' });
  for (const reader of [early, late]) assert.equal((await reader.delta())['x'].status, 'restarting');
});
