// Progress of calls, calls that nobody waits for any more, and calls that take too long.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { connect, request } from '../support/http.ts';
import { endOf, messages, nextMessage, node, startProxy } from '../support/proxy.ts';

const proxy = await startProxy({ after }, { x: node('server.mjs') });
const mcp = proxy.url('/x/mcp');
const toolCall = (id: string, name: string, args: string, meta = ''): string =>
  `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}","arguments":${args}${meta}}}`;

// ---- progress

for (const progressToken of ['tok', 7, '7', 0, '', 'ż "q" \\', -1]) {
  test(`progress under the token ${JSON.stringify(progressToken)} comes back under it, in order and before the answer`, async () => {
    const stream = await proxy.stream('x', 'tools/call', { name: 'progress', arguments: { steps: 3, oneChunk: true } }, { id: 'p', progressToken });
    assert.equal(await endOf(stream), 'end');
    const [one, two, three, answer, ...rest] = messages(stream);
    assert.deepEqual([one, two, three].map(({ params }) => params.progress), [1, 2, 3]);
    assert.ok([one, two, three].every(({ params }) => params.progressToken === progressToken));
    assert.deepEqual([answer.id, answer.result.content[0].text, rest], ['p', 'done', []]);
  });
}

test('a token keeps its digits, and the child sees an integer of its own', async () => {
  const headers = { Accept: 'text/event-stream', 'Content-Type': 'application/json' };
  const body = toolCall('1', 'progress', '{"steps":1}', ',"_meta":{"progressToken":9007199254740993}');
  const reply = await request(mcp, { method: 'POST', headers, body });
  assert.match(reply.text, /"progressToken":9007199254740993,/);
  const seen = (await proxy.tool('x', 'journal')).messages.findLast(({ params }: any) => params?.name === 'progress');
  assert.equal(seen.params._meta.progressToken, seen.id);
});

test('no token is added for a client that gave none', async () => {
  await proxy.tool('x', 'progress', { steps: 2 });
  const seen = (await proxy.tool('x', 'journal')).messages.findLast(({ params }: any) => params?.name === 'progress');
  assert.equal(seen.params._meta, undefined);
});

test('two calls with the same token at the same time hear only their own progress', async () => {
  const call = (steps: number) => proxy.stream('x', 'tools/call', { name: 'progress', arguments: { steps, hold: 'both' } }, { progressToken: 'same' });
  const streams = await Promise.all([call(2), call(3)]);
  for (const [k, stream] of streams.entries()) for (let n = 0; n < k + 2; n++) await stream.event('message');
  await proxy.tool('x', 'release', { key: 'both' });
  await Promise.all(streams.map(endOf));
  assert.deepEqual(streams.map((stream) => messages(stream).slice(0, -1).map(({ params }) => params.total)), [[2, 2], [3, 3, 3]]);
});

test('progress that comes late, under an unknown token or under somebody else\'s id is nobody\'s', async () => {
  const listener = await proxy.listen('x');
  const late = await proxy.stream('x', 'tools/call', { name: 'progress', arguments: { steps: 1, late: true } }, { progressToken: 't' });
  await endOf(late);
  assert.equal(messages(late).length, 2);
  const held = proxy.call('x', 'tools/call', { name: 'hold', arguments: { key: 'tokenless' } }, { headers: { Accept: 'text/event-stream' } });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  const { id } = (await proxy.tool('x', 'journal')).messages.findLast(({ params }: any) => params?.name === 'hold');
  for (const progressToken of [id, String(id), 'unknown', 1e9, null, [id]]) {
    await proxy.tool('x', 'notify', { method: 'notifications/progress', params: { progressToken, progress: 1 } });
  }
  await proxy.tool('x', 'notify', { method: 'notifications/alive' });
  assert.equal((await nextMessage(listener)).method, 'notifications/alive');
  await proxy.tool('x', 'release', { key: 'tokenless' });
  assert.equal((await held).text.split('event: message').length, 2);
});

// ---- clients that leave, calls that take too long

test('the late answer to a call whose client has left is dropped, and other calls go on', async () => {
  const leaver = await proxy.open('x', 'tools/call', { name: 'hold', arguments: { key: 'leaver', stubborn: true } });
  const other = proxy.tool('x', 'hold', { key: 'other' });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 2);
  leaver.abort();
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  await proxy.tool('x', 'release', { key: 'leaver' });
  await proxy.tool('x', 'release', { key: 'other' });
  assert.equal((await other).content[0].text, 'done');
  assert.equal((await proxy.tool('x', 'echo', { ok: 1 })).ok, 1);
});

test('a client that leaves while the server starts has never called', async (t) => {
  const gate = join(proxy.dir, 'gate');
  const starting = await startProxy(t, { x: node('server.mjs', '--start-when', gate) });
  const leaver = await starting.open('x', 'tools/call', { name: 'echo', arguments: { who: 'leaver' } });
  const waiter = starting.tool('x', 'journal');
  await starting.becomes('x', ({ pendingRequests }: any) => pendingRequests === 2);
  leaver.abort();
  await starting.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  writeFileSync(gate, '');
  const methods = (await waiter).messages.map(({ method }: any) => method);
  assert.deepEqual(methods, ['server/discover', 'initialize', 'notifications/initialized', 'tools/call']);
});

test('a batch whose client leaves is cancelled call by call', async () => {
  const body = `[${toolCall('1', 'hold', '{"key":"b1"}')},${toolCall('2', 'hold', '{"key":"b2"}')},${toolCall('3', 'echo', '{}')}]`;
  const leaver = await connect(proxy.port);
  leaver.write(`POST /x/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 2);
  leaver.abort();
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 0);
  const { messages: seen } = await proxy.tool('x', 'journal');
  const held = seen.filter(({ params }: any) => /^b[12]$/.test(params?.arguments?.key)).map(({ id }: any) => id);
  const cancelled = seen.filter(({ method }: any) => method === 'notifications/cancelled').map(({ params }: any) => params.requestId);
  assert.deepEqual(cancelled.slice(-2), held);
});

test('a call that is silent for too long is answered with a timeout and cancelled at the child; progress puts it off, but not for ever', async (t) => {
  const clock = fakeClock();
  const timed = await startProxy(t, { x: node('server.mjs') }, { clock, limits: { requestHardCapMs: 1_000_000, idleTimeoutMs: 0 } });
  await timed.becomes('x', 'running');
  const hold = (key: string) => timed.call('x', 'tools/call', { name: 'hold', arguments: { key } }, { id: key, progressToken: key });
  const silent = hold('silent');
  const busy = hold('busy');
  await timed.becomes('x', ({ pendingRequests }: any) => pendingRequests === 2);
  const idOf = (key: string, seen: any[]) => seen.find(({ params }) => params?.arguments?.key === key).id;
  const { messages: seen } = await timed.tool('x', 'journal');
  const progress = () => timed.tool('x', 'notify', { method: 'notifications/progress', params: { progressToken: idOf('busy', seen), progress: 1 } });

  await clock.run(200_000);
  await progress();
  await clock.run(99_999);
  assert.equal((await timed.status())['x'].pendingRequests, 2);
  await clock.run(1);
  const reply = await silent;
  assert.equal(reply.status, 200);
  assert.deepEqual(reply.json(), {
    jsonrpc: '2.0',
    id: 'silent',
    error: { code: -32603, message: 'Request timed out after 300000 ms', data: { source: 'mcp-proxy', reason: 'timeout' } },
  });
  const cancelled = (await timed.tool('x', 'journal', { until: 'notifications/cancelled' })).messages.at(-2);
  assert.equal(cancelled.params.requestId, idOf('silent', seen));

  for (let now = 300_000; now < 1_000_000; now += 100_000) {
    assert.equal((await timed.status())['x'].pendingRequests, 1, `at ${now} ms`);
    await progress();
    await clock.run(100_000);
  }
  assert.equal((await busy).json().error.message, 'Request timed out after 1000000 ms');
});

test('without a request timeout only the hard cap ends a call', async (t) => {
  const clock = fakeClock();
  const patient = await startProxy(t, { x: node('server.mjs') }, { clock, limits: { requestTimeoutMs: 0, idleTimeoutMs: 0 } });
  await patient.becomes('x', 'running');
  const held = patient.stream('x', 'tools/call', { name: 'progress', arguments: { steps: 1, hold: 'k' } }, { progressToken: 1 });
  const stream = await held;
  await clock.run(3_599_999);
  assert.equal((await patient.status())['x'].pendingRequests, 1);
  await clock.run(1);
  assert.equal(await endOf(stream), 'end');
  const last = messages(stream).at(-1);
  assert.deepEqual([last.id, last.error.code, last.error.data.reason], [1, -32603, 'timeout']);
});
