// Requests of a server to "its client" on a process that many clients share: never broadcast, never guessed, and a
// simple client can never be asked, so the server always gets an answer at once that says why not.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { until } from '../support/files.ts';
import { endOf, messages, nextMessage, node, startProxy, type TestProxy } from '../support/proxy.ts';

const shared = await startProxy({ after }, { x: node('server.mjs'), asks: node('asks-the-client.mjs') });
const QUESTIONS = ['sampling/createMessage', 'elicitation/create', 'roots/list'];

/** What the child was answered to its request of this id, once it is. */
async function answered(proxy: TestProxy, id: string | number): Promise<any> {
  return until(() => proxy.received('x').map((line) => JSON.parse(line)).find((message) => message.method === undefined && message.id === id), `the answer to ${id}`);
}

async function hold(proxy: TestProxy, key: string): Promise<{ release(): Promise<unknown> }> {
  const before = (await proxy.status())['x'].pendingRequests;
  const held = proxy.tool('x', 'hold', { key });
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === before + 1);
  return { release: () => Promise.all([held, proxy.tool('x', 'release', { key })]) };
}

for (const method of QUESTIONS) {
  test(`${method} during the only call is refused as something that its client does not support`, async () => {
    const { id, jsonrpc, error } = await shared.tool('x', 'ask', { method, id: `only ${method}` });
    assert.deepEqual([jsonrpc, id, error.code, error.message], ['2.0', `only ${method}`, -32601, `Client does not support ${method}`]);
    assert.deepEqual(error.data, { source: 'mcp-proxy', reason: 'client_capability' });
  });

  test(`${method} while several clients call is refused as ambiguous`, async () => {
    const held = await hold(shared, method);
    const { error } = await shared.tool('x', 'ask', { method, id: `several ${method}` });
    await held.release();
    assert.deepEqual([error.code, error.message], [-32603, `Cannot attribute ${method}: 2 clients share this process`]);
    assert.deepEqual(error.data, { source: 'mcp-proxy', reason: 'ambiguous_client' });
  });

  test(`${method} while nobody calls is refused, too`, async () => {
    await shared.tool('x', 'askAfter', { method, id: `nobody ${method}` });
    const { error } = await answered(shared, `nobody ${method}`);
    assert.deepEqual([error.code, error.data.reason], [-32603, method === 'roots/list' ? 'no_client' : 'ambiguous_client']);
  });

  test(`${method} for a call whose client has left is refused: the caller is gone`, async () => {
    const leaver = await shared.open('x', 'tools/call', { name: 'ask', arguments: { method, id: `gone ${method}`, after: `gone ${method}`, stubborn: true } });
    leaver.abort();
    await shared.becomes('x', ({ pendingRequests }: any) => pendingRequests === 0);
    await shared.tool('x', 'release', { key: `gone ${method}` });
    const { error } = await answered(shared, `gone ${method}`);
    assert.deepEqual([error.code, error.message, error.data.reason], [-32603, 'The caller is gone', 'no_client']);
  });
}

test('a call whose client has left still counts: a question that may be about it goes to nobody else', async () => {
  const leaver = await shared.open('x', 'tools/call', { name: 'hold', arguments: { key: 'still working', stubborn: true } });
  leaver.abort();
  await shared.becomes('x', ({ pendingRequests }: any) => pendingRequests === 0);
  const during = await shared.tool('x', 'ask', { method: 'sampling/createMessage', id: 'during' });
  assert.equal(during.error.data.reason, 'ambiguous_client');
  await shared.tool('x', 'release', { key: 'still working' });
  const later = await shared.tool('x', 'ask', { method: 'sampling/createMessage', id: 'after it was answered' });
  assert.equal(later.error.data.reason, 'client_capability');
});

test('it counts for a minute at most, if the server never answers it', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('server.mjs') }, { clock });
  await proxy.becomes('x', 'running');
  const leaver = await proxy.open('x', 'tools/call', { name: 'hold', arguments: { key: 'never' } });
  leaver.abort();
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 0);
  await clock.run(59_999);
  assert.equal((await proxy.tool('x', 'ask', { method: 'elicitation/create' })).error.data.reason, 'ambiguous_client');
  await clock.run(1);
  assert.equal((await proxy.tool('x', 'ask', { method: 'elicitation/create' })).error.data.reason, 'client_capability');
});

test('when more such calls are about than are remembered, nothing is attributed to anybody for that minute', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('server.mjs') }, { clock, limits: { maxPending: 1 } });
  await proxy.becomes('x', 'running');
  for (const key of ['forgotten', 'remembered']) {
    const leaver = await proxy.open('x', 'tools/call', { name: 'hold', arguments: { key, stubborn: true } });
    leaver.abort();
    await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 0);
  }
  await proxy.tool('x', 'release', { key: 'remembered' });
  assert.equal((await proxy.tool('x', 'ask', { method: 'elicitation/create' })).error.data.reason, 'ambiguous_client');
  await clock.run(60_000);
  assert.equal((await proxy.tool('x', 'ask', { method: 'elicitation/create' })).error.data.reason, 'client_capability');
});

test('a request that no client of MCP knows is -32601, and ping is answered, during a call and without one', async () => {
  for (const [method, code] of [['no/such/method', -32601], ['tools/list', -32601], ['', -32601], ['ping', undefined]] as const) {
    const during = await shared.tool('x', 'ask', { method, id: `during ${method}` });
    await shared.tool('x', 'askAfter', { method, id: `after ${method}` });
    for (const answer of [during, await answered(shared, `after ${method}`)]) {
      assert.equal(answer.error?.code, code);
      if (code === undefined) assert.deepEqual(answer.result, {});
    }
  }
});

test('a server that asks before its handshake is over, and right after it, is answered under its own ids and types', async () => {
  const { answers } = await shared.tool('asks', 'poke');
  assert.deepEqual(answers.map(({ id }: any) => id), ['ping ż', 0, 1, '1', -1]);
  assert.deepEqual(answers[0], { jsonrpc: '2.0', id: 'ping ż', result: {} });
  assert.ok(answers.slice(1).every(({ error }: any) => error.data.source === 'mcp-proxy'));
  assert.equal(answers[4].error.code, -32601);
});

test('the id of a question and the id of a call may be the same', async () => {
  for (const id of [1, '1', 2]) {
    const answer = await shared.tool('x', 'ask', { method: 'elicitation/create', id }, { id });
    assert.equal(answer.id, id);
  }
});

test('no client ever sees a question: not on its stream, not on its answer', async () => {
  const stream = await shared.listen('x');
  const call = await shared.stream('x', 'tools/call', { name: 'ask', arguments: { method: 'elicitation/create', params: { message: 'who?' } } }, { headers: { Accept: 'text/event-stream' } });
  assert.equal(await endOf(call), 'end');
  assert.deepEqual(messages(call).map(({ id, method }) => [id, method]), [[1, undefined]]);
  await shared.tool('x', 'askAfter', { method: 'elicitation/create', id: 'unseen' });
  await answered(shared, 'unseen');
  await shared.tool('x', 'notify', { method: 'notifications/marker' });
  assert.equal((await nextMessage(stream)).method, 'notifications/marker');
});
