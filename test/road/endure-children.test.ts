// One server with one vice behind the proxy: its caller has a clear answer in time, and its neighbour and the proxy notice nothing.

import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Limits } from '../../src/config/limits.ts';
import { tempDir, until } from '../support/files.ts';
import type { Reply } from '../support/http.ts';
import { node, startProxy, type TestProxy } from '../support/proxy.ts';
import { childHas, hears, inFlight, openSession } from '../support/session.ts';

const good = node('server.mjs');
const OK = { ok: true };
/** The stop ladder has tests of its own. */
const SOON = { stopStdinMs: 100, stopTermMs: 100 };
/** In which a neighbour answers, whatever the machine has to do. */
const BOUND_MS = 2_000;

/** What a call of a client comes to: what its tool returned, or the status and the reason of the proxy's refusal. */
const outcome = (reply: Reply): unknown => {
  const { result, error } = reply.json();
  return error === undefined ? (result.structuredContent ?? result) : [reply.status, error.data.reason];
};

interface Vice {
  readonly limits?: Partial<Limits>;
  readonly name?: string;
  readonly args?: object;
}

for (const [what, entry, expected, { limits = {}, name = 'poke', args = {} }] of [
  ['exits at its start', node('dies-at-start.mjs'), [503, 'unavailable'], {}],
  ['exits in its handshake', node('dies-in-handshake.mjs'), [503, 'unavailable'], {}],
  ['hangs in its handshake', node('hangs-in-handshake.mjs'), [503, 'unavailable'], { limits: { startTimeoutMs: 1_000 } }],
  ['exits in a call', node('dies-in-call.mjs'), [200, 'child_exited'], {}],
  ['is killed in a call', good, [200, 'child_exited'], { name: 'die', args: { signal: 'SIGKILL' } }],
  ['exits after half an answer', node('half-line-then-exit.mjs'), [200, 'child_exited'], {}],
  ['closes its stdout', node('closes-stdout.mjs'), [200, 'child_exited'], {}],
  ['never answers', node('never-answers.mjs'), [200, 'timeout'], { limits: { requestTimeoutMs: 300 } }],
  ['answers under another id', node('ids-as-strings.mjs'), [200, 'timeout'], { limits: { requestTimeoutMs: 300 } }],
  ['answers twice, and what nobody asked', node('reuses-ids.mjs'), { text: 'right' }, {}],
  ['writes banners, blank lines and invalid UTF-8', node('talks-nonsense.mjs'), OK, {}],
  ['writes byte by byte, its characters in pieces', node('byte-by-byte.mjs'), { text: 'żółć 🦊' }, {}],
  ['writes a line of a hundred megabytes', node('long-line.mjs', 100_000_000), [200, 'line_too_long'], {}],
  ['floods its stdout', node('floods-stdout.mjs'), { content: [] }, {}],
  ['floods its stderr', node('floods-stderr-for-ever.mjs'), OK, {}],
  ['is deaf to signals', node('deaf-to-signals.mjs'), OK, {}],
  ['is deaf to the end of its stdin', node('deaf-to-stdin.mjs'), OK, {}],
] as readonly (readonly [string, ReturnType<typeof node>, unknown, Vice])[]) {
  test(`a server that ${what}: its caller is answered in time, its neighbour goes on`, async (t) => {
    const proxy = await startProxy(t, { x: { ...entry, maxRestarts: 0 }, y: good }, { limits: { ...SOON, ...limits } });
    const { pid } = await proxy.tool('y', 'pid');
    assert.deepEqual(outcome(await proxy.call('x', 'tools/call', { name, arguments: args })), expected);
    t.diagnostic(`the neighbour's slowest answer took ${await slowest(proxy, 'y')} ms`);
    assert.equal((await proxy.tool('y', 'pid')).pid, pid);
    assert.equal((await proxy.status())['y'].pendingRequests, 0);
  });
}

/** The time in ms that the slowest of twenty calls took. */
async function slowest(proxy: TestProxy, server: string): Promise<number> {
  let worst = 0;
  for (let n = 0; n < 20; n++) {
    const since = performance.now();
    assert.deepEqual(await proxy.tool(server, 'echo', { n }), { n });
    worst = Math.max(worst, Math.round(performance.now() - since));
  }
  assert.ok(worst < BOUND_MS, `${worst} ms`);
  return worst;
}

test('a server that exits after so many calls has answered them, and a new process answers the next', async (t) => {
  const proxy = await startProxy(t, { x: node('dies-after-calls.mjs', 3), y: good }, { limits: { backoffFirstMs: 1 } });
  const { pid } = await proxy.tool('y', 'pid');
  for (const left of [2, 1, 0]) assert.deepEqual(await proxy.tool('x', 'poke'), { left });
  await until(() => proxy.spawned('x').length === 2, 'the next process');
  assert.deepEqual(await proxy.tool('x', 'poke'), { left: 2 });
  assert.equal((await proxy.tool('y', 'pid')).pid, pid);
});

test('a server that answers in the reverse order answers every caller with its own', async (t) => {
  const proxy = await startProxy(t, { x: node('answers-backwards.mjs', 50) });
  const callers = Array.from({ length: 50 }, (_, n) => proxy.tool('x', 'poke', { n }, { id: n % 2 === 0 ? 1 : '1' }));
  assert.deepEqual(await Promise.all(callers), callers.map((_, n) => ({ n })));
});

test('a server that asks its client ten thousand things at once has every answer, and so has its caller', async (t) => {
  const proxy = await startProxy(t, { x: node('asks-thousands.mjs', 10_000), y: good });
  const { pid } = await proxy.tool('y', 'pid');
  const asking = proxy.tool('x', 'poke');
  t.diagnostic(`the neighbour's slowest answer took ${await slowest(proxy, 'y')} ms`);
  assert.deepEqual(await asking, {
    'ping ok': 2_000,
    'roots/list -32601': 2_000,
    'sampling/createMessage -32601': 2_000,
    'elicitation/create -32601': 2_000,
    'no/such/method -32601': 2_000,
  });
  assert.equal((await proxy.tool('y', 'pid')).pid, pid);
});

test('a server that asks without end and reads no answer is ended when its answers fill their room, and its neighbour goes on', async (t) => {
  const limits = { ...SOON, maxStdinQueueBytes: 2 ** 20, stdinReserveBytes: 2 ** 20 };
  const proxy = await startProxy(t, { x: { ...node('asks-unread.mjs'), maxRestarts: 0 }, y: good }, { limits });
  const { error } = await proxy.becomes('x', 'error');
  assert.equal(error, 'does not read its stdin');
  t.diagnostic(`the neighbour's slowest answer took ${await slowest(proxy, 'y')} ms`);
});

for (const [size, bytes, expected] of [
  ['an', 12_000, 12_000],
  ['a big', 100_000, 'busy'],
] as const) {
  test(`${size} answer of a client to a server whose queue is full of calls is not lost in silence`, async (t) => {
    const file = join(tempDir(t), 'go');
    const proxy = await startProxy(t, { x: node('reads-late.mjs', file) }, { limits: { maxStdinQueueBytes: 200_000 } });
    const session = await openSession(t, proxy, 'x', { capabilities: { elicitation: {} } });
    const asked = await session.toolStream('ask');
    const { id } = await hears(asked);
    const leave = new AbortController();
    setMaxListeners(0, leave.signal);
    let refused = 0;
    const fill = (): void => void proxy.call('x', 'tools/call', { name: 'poke', padding: 'x'.repeat(10_000) }, { signal: leave.signal }).then(({ status }) => (refused += Number(status === 503)), () => {});
    for (let n = 0; n < 100; n++) fill();
    await until(() => refused > 0, 'a full queue');
    assert.equal((await session.post({ jsonrpc: '2.0', id, result: { action: 'accept', content: { text: 'x'.repeat(bytes) } } })).status, 202);
    leave.abort();
    writeFileSync(file, '');
    const { content, reason } = (await hears(asked)).result.structuredContent;
    assert.equal(reason ?? content.text.length, expected);
  });
}

test('a client that cancels its call with a long story does not end a server that reads late', async (t) => {
  const file = join(tempDir(t), 'go');
  const proxy = await startProxy(t, { x: node('reads-late.mjs', file) }, { limits: { maxStdinQueueBytes: 400_000, stdinReserveBytes: 100_000 } });
  const session = await openSession(t, proxy, 'x', { capabilities: { elicitation: {} } });
  const asked = await session.toolStream('ask');
  const { id } = await hears(asked);
  const other = await openSession(t, proxy);
  const call = other.call('tools/call', { name: 'poke', padding: 'x'.repeat(300_000) }, 'other');
  await inFlight(proxy, 2);
  assert.equal((await other.notify('notifications/cancelled', { requestId: 'other', reason: 'x'.repeat(1_000_000) })).status, 202);
  assert.equal((await call).status, 200);
  assert.equal((await session.post({ jsonrpc: '2.0', id, result: { action: 'accept' } })).status, 202);
  writeFileSync(file, '');
  assert.deepEqual((await hears(asked)).result?.structuredContent, { action: 'accept' });
  const [{ params }] = await childHas(proxy, 'notifications/cancelled');
  assert.match(params.reason, /^x{1000}$/);
  assert.equal(proxy.spawned().length, 1);
});

for (const [what, result] of [
  ['the same key twice', '{"a":1,"a":2,"id":1,"id":2}'],
  ['names from the depths of JavaScript', '{"__proto__":{"id":7},"constructor":{"prototype":{}},"toString":null}'],
  ['numbers that no double holds', '[9007199254740993,-0,1e400,0.1000,1E-400]'],
  ['half a surrogate pair', '"\\ud800 \\udfff \\uD83D"'],
] as const) {
  test(`an answer with ${what} arrives as it was written`, async (t) => {
    const proxy = await startProxy(t, { x: good });
    const line = `{"jsonrpc":"2.0","result":${result},"id":$ID}`;
    const reply = await proxy.call('x', 'tools/call', { name: 'raw', arguments: { lines: [line], quiet: true } }, { id: 'mine' });
    assert.equal(reply.text, line.replace('$ID', '"mine"'));
  });
}

test('callers of a server that reads nothing are refused at once when its queue is full, as fast as its neighbour answers', async (t) => {
  const proxy = await startProxy(t, { x: node('reads-nothing.mjs'), y: good }, { limits: SOON });
  await proxy.becomes('x', 'running');
  const replies: Reply[] = [];
  const leave = new AbortController();
  setMaxListeners(0, leave.signal);
  const send = (): void => void proxy.call('x', 'tools/call', { padding: 'x'.repeat(2 ** 20) }, { signal: leave.signal }).then((reply) => replies.push(reply), () => {});
  for (let n = 0; n < 18; n++) send(); // 16 MiB, and what the pipe takes
  await until(() => replies.length > 0, 'the first refusal');
  const worst = await slowest(proxy, 'y');
  const since = performance.now();
  const refused = await proxy.call('x', 'tools/call', { padding: 'x'.repeat(2 ** 20) });
  const took = performance.now() - since;
  t.diagnostic(`refused after ${Math.round(took)} ms; the neighbour's slowest answer took ${worst} ms`);
  assert.deepEqual([outcome(refused), refused.headers['retry-after']], [[503, 'busy'], '1']);
  leave.abort();
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 0);
});
