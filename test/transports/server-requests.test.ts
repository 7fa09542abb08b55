// What a server asks its clients (sampling, elicitation, roots) over Streamable HTTP: to whom it goes, on which stream,
// and what becomes of it.

import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { LIMITS } from '../../src/config/limits.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { fixture, until } from '../support/files.ts';
import type { SseStream } from '../support/http.ts';
import { node, startProxy, type ProxySetup, type TestProxy } from '../support/proxy.ts';
import { heardByChild, childHas, hears, ids, inFlight, openSession, said, type TestSession } from '../support/session.ts';

const ABLE = { sampling: {}, elicitation: {}, roots: {} };
const FORM = { message: 'who are you?', requestedSchema: { type: 'object', properties: {} } };
const PROMPT = { messages: [{ role: 'user', content: { type: 'text', text: 'hello' } }], maxTokens: 10 };
const QUESTIONS: readonly (readonly [method: string, params: object | undefined, result: object])[] = [
  ['elicitation/create', FORM, { action: 'accept', content: { name: 'żółć' } }],
  ['sampling/createMessage', PROMPT, { role: 'assistant', content: { type: 'text', text: 'hi' }, model: 'm' }],
  ['roots/list', undefined, { roots: [{ uri: 'file:///a' }] }],
];
const [ELICIT] = QUESTIONS as [(typeof QUESTIONS)[0]];
const accepted = { action: 'accept', content: {} };

function one(t: TestContext, setup: ProxySetup = {}): Promise<TestProxy> {
  // Questions that a test leaves open must not keep its end waiting.
  return startProxy(t, { x: node('server.mjs') }, { ...setup, limits: { drainShutdownMs: 50, ...setup.limits } });
}

/** A call whose stream is open, which asks once `after` is released. */
async function asking(session: TestSession, args: object = {}, id: unknown = 1): Promise<SseStream> {
  return session.toolStream('ask', { method: ELICIT[0], params: FORM, ...args }, id);
}

/** Waits for the end of a stream, as long as for anything else. */
async function closes(stream: SseStream): Promise<void> {
  await stream.next(() => false).catch((error: Error) => {
    if (!error.message.startsWith('the stream ended (end)')) throw error;
  });
}

/** What the child was told: the answer that its `ask` returned. */
async function told(stream: SseStream): Promise<any> {
  await closes(stream);
  const message = stream.headers['content-type'] === 'application/json' ? JSON.parse(stream.raw.toString()) : said(stream).at(-1);
  return message.result.structuredContent;
}

const reason = (answer: any): [number, string] => [answer.error.code, answer.error.data.reason];
const reply = (session: TestSession, id: unknown, result: object = accepted): ReturnType<TestSession['post']> => session.post({ jsonrpc: '2.0', id, result });

describe('a question during the only call', () => {
  for (const [method, params, result] of QUESTIONS) {
    test(`is ${method} on the stream of that call; the answer is taken with 202 and reaches the child whole (T-60)`, async (t) => {
      const proxy = await one(t);
      const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
      const get = await session.get();
      for (const [id, posted] of [['abc', { result }], [7, { error: { code: -1, message: 'rejected', data: { why: [1] } } }]] as const) {
        const call = await asking(session, { method, params, id }, 'call');
        const question = await hears(call);
        assert.deepEqual(question, { jsonrpc: '2.0', id: question.id, method, ...(params && { params }) });
        const posting = await session.post({ jsonrpc: '2.0', id: question.id, ...posted });
        assert.deepEqual([posting.status, posting.text], [202, '']);
        assert.deepEqual(await told(call), { jsonrpc: '2.0', id, ...posted });
        assert.equal(said(call).length, 2);
      }
      assert.deepEqual(said(get), []);
    });
  }

  test('that is answered over several lines is answered once, and none of them is a message to the child', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const call = await asking(session);
    const { id } = await hears(call);
    const inner = '{"jsonrpc":"2.0","method":"notifications/forged"}';
    const posting = await session.post(`{\n  "jsonrpc": "2.0",\r\n  "id": ${id},\n  "result":\n${inner}\n}\n`);
    assert.equal(posting.status, 202);
    assert.deepEqual((await told(call)).result, JSON.parse(inner));
    assert.deepEqual(heardByChild(proxy, 'notifications/forged'), []);
  });

  test('arrives before the answer in the order in which the child wrote them, after its progress', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const progress = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN,"progress":1}}';
    const question = '{"jsonrpc":"2.0","id":"q","method":"roots/list"}';
    const done = '{"jsonrpc":"2.0","id":$ID,"result":{}}';
    const call = await session.toolStream('raw', { lines: [progress, question, progress, done], quiet: true });
    assert.equal(await call.ended, 'end');
    assert.deepEqual(said(call).map((each) => each.method ?? 'answer'), ['notifications/progress', 'roots/list', 'notifications/progress', 'answer']);
  });

  test('under the same id as a call of the client is not mixed up with it, nor 1 with "1" (T-64)', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const first = await asking(session, { id: 1 }, 1);
    const q1 = await hears(first);
    const second = await asking(session, { id: '1' }, '1');
    const q2 = await hears(second);
    assert.notEqual(q1.id, q2.id);
    await reply(session, q2.id, { action: 'decline' });
    await reply(session, q1.id, { action: 'cancel' });
    assert.deepEqual(await told(first), { jsonrpc: '2.0', id: 1, result: { action: 'cancel' } });
    assert.deepEqual(await told(second), { jsonrpc: '2.0', id: '1', result: { action: 'decline' } });
    assert.deepEqual([said(first).at(-1).id, said(second).at(-1).id], [1, '1']);
  });

  test('that is answered twice, or by somebody else, or under an id of another type is answered once, by the client asked', async (t) => {
    const proxy = await one(t);
    const [session, other] = [await openSession(t, proxy, 'x', { capabilities: ABLE }), await openSession(t, proxy, 'x', { capabilities: ABLE })];
    const call = await asking(session);
    const { id } = await hears(call);
    for (const wrong of [String(id), id + 1, null]) await reply(session, wrong);
    assert.equal((await reply(other, id)).status, 202);
    await other.notify('notifications/cancelled', { requestId: id });
    assert.equal(said(call).length, 1);
    await reply(session, id, { action: 'decline' });
    assert.equal((await reply(session, id)).status, 202);
    assert.deepEqual((await told(call)).result, { action: 'decline' });
    const { messages } = await session.tool('journal');
    assert.equal(messages.filter((message: any) => message.method === undefined).length, 1);
  });

  test('goes to the standalone stream where the call cannot stream (R-81)', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE, accept: 'application/json' });
    const get = await session.get();
    const call = asking(session);
    const question = await hears(get);
    await reply(session, question.id);
    assert.deepEqual((await told(await call)).result, accepted);
  });

  test('goes to the standalone stream where the client left before the call had a stream, however long ago', async (t) => {
    const clock = fakeClock();
    const proxy = await one(t, { clock });
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const get = await session.get();
    const call = await proxy.open('x', 'tools/call', { name: 'ask', arguments: { method: ELICIT[0], params: FORM, after: 'go' } }, session.headers);
    call.abort();
    await session.call('ping'); // the proxy has seen it leave
    await clock.run(LIMITS.sseAfterMs);
    await session.tool('release', { key: 'go' });
    const question = await hears(get);
    assert.equal(question.method, 'elicitation/create');
    await reply(session, question.id);
    await inFlight(proxy, 0);
  });

  test('goes to the newest of several calls of the session (R-59c)', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const old = session.toolStream('ask', { method: ELICIT[0], params: FORM, after: 'go' }, 'old');
    await inFlight(proxy, 1);
    const young = await session.toolStream('progress', { steps: 1, hold: 'k' }, 'young');
    await hears(young);
    await session.post({ jsonrpc: '2.0', id: 'r', method: 'tools/call', params: { name: 'release', arguments: { key: 'go' } } });
    const question = await hears(young);
    assert.equal(question.method, 'elicitation/create');
    await reply(session, question.id);
    assert.deepEqual((await told(await old)).result, accepted);
    await session.tool('release', { key: 'k' });
    await young.ended;
  });

  test('waits in the log of a broken stream, and is read there on return (R-90)', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE, version: '2025-11-25' });
    const call = await asking(session);
    const question = await hears(call);
    const [prime] = ids(call);
    await call.close();
    const again = await session.get(prime);
    assert.deepEqual(await hears(again), question);
    await reply(session, question.id);
    assert.deepEqual((await told(again)).result, accepted);
  });
});

describe('a question that the client did not declare to answer', () => {
  const url = { mode: 'url', url: 'https://a/', message: 'go', elicitationId: 'e' };
  const TABLE: readonly (readonly [object, string, object | undefined, boolean])[] = [
    [{}, 'elicitation/create', FORM, false],
    [{}, 'sampling/createMessage', PROMPT, false],
    [{}, 'roots/list', undefined, false],
    [{ sampling: {}, roots: {} }, 'elicitation/create', FORM, false],
    [{ elicitation: {} }, 'elicitation/create', FORM, true],
    [{ elicitation: { form: {} } }, 'elicitation/create', FORM, true],
    [{ elicitation: {} }, 'elicitation/create', url, false],
    [{ elicitation: { form: {} } }, 'elicitation/create', url, false],
    [{ elicitation: { url: {} } }, 'elicitation/create', url, true],
    [{ elicitation: { url: {} } }, 'elicitation/create', FORM, false],
    [{ sampling: {} }, 'sampling/createMessage', { ...PROMPT, tools: [] }, false],
    [{ sampling: { tools: {} } }, 'sampling/createMessage', { ...PROMPT, tools: [] }, true],
    [{ elicitation: true, sampling: 'yes' }, 'elicitation/create', FORM, false],
  ];
  for (const [capabilities, method, params, able] of TABLE) {
    test(`${JSON.stringify(capabilities)}: ${method} ${params && 'mode' in params ? 'of a url ' : params && 'tools' in params ? 'with tools ' : ''}is ${able ? 'asked' : 'refused, and the call goes on'} (T-63, R-59b)`, async (t) => {
      const proxy = await one(t);
      const session = await openSession(t, proxy, 'x', { capabilities });
      const get = await session.get();
      const call = await asking(session, { method, params });
      if (able) await reply(session, (await hears(call)).id);
      const answer = await told(call);
      if (able) assert.deepEqual(answer.result, accepted);
      else assert.deepEqual(reason(answer), [-32601, 'client_capability']);
      assert.deepEqual(said(get), []);
    });
  }

  test('or that no client can answer is unknown (R-58)', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    assert.equal((await told(await asking(session, { method: 'no/such' }))).error.code, -32601);
    assert.deepEqual((await told(await asking(session, { method: 'ping', params: undefined }))).result, {}, 'ping is answered by the proxy (T-59)');
  });
});

describe('whose question it is', () => {
  for (const [method, params] of QUESTIONS) {
    test(`nobody knows with calls of two sessions in flight: ${method} reaches none of them (T-61)`, async (t) => {
      const proxy = await one(t);
      const [a, b] = [await openSession(t, proxy, 'x', { capabilities: ABLE }), await openSession(t, proxy)];
      const [getA, getB] = [await a.get(), await b.get()];
      const held = await b.toolStream('progress', { steps: 1, hold: 'k' });
      await hears(held);
      const call = await asking(a, { method, params });
      assert.deepEqual(reason(await told(call)), [-32603, 'ambiguous_client']);
      await b.tool('release', { key: 'k' });
      await held.ended;
      assert.deepEqual([said(getA), said(getB)], [[], []]);
      assert.deepEqual([...said(held), ...said(call)].filter((each) => each.method === method), []);
      const alone = await asking(a, { method, params });
      const question = await hears(alone);
      await reply(a, question.id);
      assert.deepEqual((await told(alone)).result, accepted, 'alone again');
    });
  }

  test('a simple client\'s call counts as well', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const simple = proxy.tool('x', 'hold', { key: 'k' });
    await inFlight(proxy, 1);
    assert.deepEqual(reason(await told(await asking(session))), [-32603, 'ambiguous_client']);
    await session.tool('release', { key: 'k' });
    await simple;
    assert.deepEqual(reason((await proxy.tool('x', 'ask', { method: ELICIT[0], params: FORM }))), [-32601, 'client_capability']);
  });

  test('a cancelled call counts until the child has answered it, because the child works on (R-58)', async (t) => {
    const proxy = await one(t);
    const [a, b] = [await openSession(t, proxy, 'x', { capabilities: ABLE }), await openSession(t, proxy, 'x', { capabilities: ABLE })];
    const held = await b.toolStream('progress', { steps: 1, hold: 'k' }, 'c');
    await hears(held);
    await b.notify('notifications/cancelled', { requestId: 'c' });
    assert.equal(await held.ended, 'end');
    assert.deepEqual(reason(await told(await asking(a))), [-32603, 'ambiguous_client']);
  });

  test('and no longer than a minute', async (t) => {
    const clock = fakeClock();
    const proxy = await one(t, { clock });
    await proxy.becomes('x', 'running');
    const [a, b] = [await openSession(t, proxy, 'x', { capabilities: ABLE }), await openSession(t, proxy, 'x', { capabilities: ABLE })];
    const held = await b.toolStream('progress', { steps: 1, hold: 'k' }, 'c');
    await hears(held);
    await b.notify('notifications/cancelled', { requestId: 'c' });
    await held.ended;
    await clock.run(59_999);
    assert.deepEqual(reason(await told(await asking(a))), [-32603, 'ambiguous_client']);
    await clock.run(1);
    const call = await asking(a);
    await reply(a, (await hears(call)).id);
    assert.deepEqual((await told(call)).result, accepted);
  });

  test('is that of nobody there when the only caller has gone: the child is told (R-58)', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const get = await session.get();
    const call = session.toolStream('ask', { method: ELICIT[0], params: FORM, id: 'late', after: 'go' }, 'c');
    await inFlight(proxy, 1);
    await session.notify('notifications/cancelled', { requestId: 'c' });
    await (await call).ended;
    // Released without a call of anybody: a message of the fixture's own would be a call in flight.
    const releasing = await session.stream('tools/call', { name: 'release', arguments: { key: 'go' } }, 'r');
    await releasing.ended;
    const answers = await until(() => {
      const all = proxy.received('x').map((line) => JSON.parse(line)).filter((message) => message.id === 'late');
      return all.length > 0 ? all : undefined;
    }, 'the child is told');
    assert.deepEqual(reason(answers[0]), [-32603, 'no_client']);
    assert.deepEqual(said(get), []);
  });

  test('after the last answer is that of the only session this process has ever served, but never for roots (R-59, R-59d)', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const other = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const get = await session.get();
    await session.tool('askAfter', { method: ELICIT[0], params: FORM, id: 'e' });
    const question = await hears(get);
    await reply(session, question.id);
    // No further call: it would be one that the question could be about.
    const heard = (id: string): Promise<any> =>
      until(() => proxy.received('x').map((line) => JSON.parse(line)).find((message) => message.id === id), `the answer to ${id}`);
    assert.deepEqual(await heard('e'), { jsonrpc: '2.0', id: 'e', result: accepted });
    await session.tool('askAfter', { method: 'roots/list', id: 'r' });
    assert.deepEqual(reason(await heard('r')), [-32603, 'no_client']);
    await other.tool('askAfter', { method: ELICIT[0], params: FORM, id: 'e2' });
    assert.deepEqual(reason(await heard('e2')), [-32603, 'ambiguous_client']);
    assert.equal(said(get).length, 1);
  });

  for (const [who, notify] of [
    ['a simple client', (proxy: TestProxy) => proxy.notify('x', 'notifications/vendor', { id: 'theirs' })],
    ['another session', async (proxy: TestProxy, t: TestContext) => (await openSession(t, proxy)).notify('notifications/vendor', { id: 'theirs' })],
  ] as const) {
    test(`is not that of the only session that ever called, when ${who} has notified the server: it may be about that (R-59)`, async (t) => {
      const script = `
        import { send, serve } from ${JSON.stringify(`file://${fixture('stdio.mjs')}`)};
        serve({ 'notifications/vendor': ({ params: { id } }) => send({ jsonrpc: '2.0', id, method: 'elicitation/create', params: ${JSON.stringify(FORM)} }) });`;
      const proxy = await startProxy(t, { x: { command: process.execPath, args: ['--input-type=module', '-e', script] } });
      const heard = (id: string): Promise<any> =>
        until(() => proxy.received('x').map((line) => JSON.parse(line)).find((message) => message.id === id && message.method === undefined), `the answer to ${id}`);
      const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
      const get = await session.get();
      await session.tool('poke');
      await session.notify('notifications/vendor', { id: 'mine' });
      await reply(session, (await hears(get)).id);
      assert.deepEqual((await heard('mine')).result, accepted);
      await notify(proxy, t);
      assert.deepEqual(reason(await heard('theirs')), [-32603, 'ambiguous_client']);
      assert.equal(said(get).length, 1);
    });
  }

  test('of a session that was deleted is nobody\'s, and the child hears it at once', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const call = await asking(session, { id: 'q' });
    await hears(call);
    await session.delete();
    const answers = await until(() => {
      const all = proxy.received('x').map((line) => JSON.parse(line)).filter((message) => message.id === 'q');
      return all.length > 0 ? all : undefined;
    }, 'the child is told');
    assert.deepEqual(answers.map(reason), [[-32603, 'no_client']]);
    assert.equal(said(call).at(-1).error.data.reason, 'session_closed');
  });

  test('is the session\'s own in isolation, whoever else is there (T-62)', async (t) => {
    const proxy = await startProxy(t, { x: { ...node('server.mjs'), isolation: 'session' } });
    const [a, b] = [await openSession(t, proxy, 'x', { capabilities: ABLE }), await openSession(t, proxy, 'x', { capabilities: ABLE })];
    const [getA, getB] = [await a.get(), await b.get()];
    const held = await b.toolStream('progress', { steps: 1, hold: 'k' });
    await hears(held);
    const call = await asking(a);
    await reply(a, (await hears(call)).id);
    assert.deepEqual((await told(call)).result, accepted);
    await a.tool('askAfter', { method: 'roots/list', id: 'r' });
    const question = await hears(getA);
    assert.equal(question.method, 'roots/list');
    await reply(a, question.id, { roots: [] });
    assert.deepEqual((await a.tool('asked', { count: 1 })).answers[0].result, { roots: [] });
    assert.deepEqual([said(getB), said(held).length], [[], 1]);
    await b.tool('release', { key: 'k' });
  });
});

test('a session that has served alone and was deleted is asked no more: the child hears at once that nobody is there (R-58, R-59)', async (t) => {
  const proxy = await one(t);
  const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
  const call = session.toolStream('ask', { method: ELICIT[0], params: FORM, id: 'q', after: 'go' }, 1);
  await inFlight(proxy, 1);
  await session.tool('askAfter', { method: ELICIT[0], params: FORM, id: 'w' });
  await session.delete();
  await call;
  const answers = await until(() => {
    const all = proxy.received('x').map((line) => JSON.parse(line)).filter((message) => message.id === 'w');
    return all.length > 0 ? all : undefined;
  }, 'the child is told');
  assert.deepEqual(answers.map(reason), [[-32603, 'no_client']]);
});

describe('a question without a stream', () => {
  async function quiet(t: TestContext): Promise<{ clock: FakeClock; proxy: TestProxy; session: TestSession; call: Promise<SseStream> }> {
    const clock = fakeClock();
    const proxy = await one(t, { clock });
    await proxy.becomes('x', 'running');
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE, accept: 'application/json' });
    const call = asking(session, { id: 'q' });
    await inFlight(proxy, 1);
    await session.call('tools/call', { name: 'echo' }); // behind it: the child has asked
    return { clock, proxy, session, call };
  }

  test('waits thirty seconds for one, then the child is told that there is no client (R-59c)', async (t) => {
    const { clock, proxy, call } = await quiet(t);
    await clock.run(29_999);
    assert.equal((await proxy.status())['x'].pendingRequests, 1);
    await clock.run(1);
    assert.deepEqual(reason(await told(await call)), [-32603, 'no_client']);
  });

  test('goes out on the one that is opened meanwhile, and then may take its time (R-38)', async (t) => {
    const { clock, session, call } = await quiet(t);
    await clock.run(29_999);
    const get = await session.get();
    const question = await hears(get);
    await clock.run(600_000);
    await reply(session, question.id);
    assert.deepEqual((await told(await call)).result, accepted);
  });
});

describe('a question is taken back', () => {
  /** The call whose stream carried the question goes on; the child cancels the question itself. */
  test('when the child cancels it: the client hears it under the id that it knows, where it was asked (R-36)', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const call = await asking(session, { id: 'q' });
    const question = await hears(call);
    await session.tool('notify', { method: 'notifications/cancelled', params: { requestId: 'q', reason: 'never mind' } });
    assert.deepEqual(await hears(call), { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: question.id, reason: 'never mind' } });
    assert.equal((await reply(session, question.id)).status, 202);
    const { messages } = await session.tool('journal');
    assert.deepEqual(messages.filter(({ id }: any) => id === 'q'), []);
    await session.notify('notifications/cancelled', { requestId: 1 });
  });

  test('when the call on whose stream it was asked is over: the client hears it on the stream of its session (R-36)', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const call = await asking(session, { id: 'q' }, 'call');
    const question = await hears(call);
    await session.notify('notifications/cancelled', { requestId: 'call' });
    await closes(call);
    await session.tool('notify', { method: 'notifications/cancelled', params: { requestId: 'q', reason: 'never mind' } });
    const cancelled = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: question.id, reason: 'never mind' } };
    assert.deepEqual(await hears(await session.get()), cancelled);
  });

  test('by its typed id only', async (t) => {
    const proxy = await one(t);
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const call = await asking(session, { id: '1' });
    const question = await hears(call);
    for (const requestId of [1, question.id, 'other', null]) await session.tool('notify', { method: 'notifications/cancelled', params: { requestId } });
    assert.equal(said(call).length, 1);
    await reply(session, question.id);
    assert.deepEqual((await told(call)).result, accepted);
  });

  test('when the child exits: the client hears it on the stream that carried it, before its call has its answer (R-152)', async (t) => {
    const proxy = await one(t, { limits: { backoffFirstMs: 1 } });
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
    const call = await asking(session, { id: 'q' }, 'a');
    const question = await hears(call);
    await session.call('tools/call', { name: 'die' }, 'd');
    assert.equal(await call.ended, 'end');
    const [, cancelled, answer] = said(call);
    assert.deepEqual([cancelled.method, cancelled.params?.requestId], ['notifications/cancelled', question.id]);
    assert.deepEqual([answer.id, answer.error.data.reason], ['a', 'child_exited']);
    assert.equal((await reply(session, question.id)).status, 202);
    await session.tool('echo');
    assert.equal(proxy.received('x').some((line) => JSON.parse(line).id === 'q'), false, 'the new process is not answered what the old one asked');
  });

  test('when the child exits, also on the standalone stream (R-152)', async (t) => {
    const proxy = await one(t, { limits: { backoffFirstMs: 1 } });
    const session = await openSession(t, proxy, 'x', { capabilities: ABLE, accept: 'application/json' });
    const get = await session.get();
    const call = asking(session, { id: 'q' }, 'a');
    const question = await hears(get);
    await session.call('tools/call', { name: 'die' }, 'd');
    await call;
    const cancelled = await hears(get);
    assert.deepEqual([cancelled.method, cancelled.params.requestId], ['notifications/cancelled', question.id]);
  });
});

test('a question for a stream that may not be written yet, because its client is not initialized, waits no longer (R-55, R-59c)', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: { ...node('asks-the-client.mjs'), isolation: 'session' } }, { clock, limits: { drainShutdownMs: 50 } });
  const session = await openSession(t, proxy, 'x', { capabilities: ABLE, initialized: false });
  const get = await session.get();
  await proxy.becomes('x', 'running'); // before time flows, or its handshake may run out of it
  const answered = () => proxy.logged('stderr').filter(({ message }) => message.includes('all is answered')).length;
  await proxy.flow(() => answered() === 2, 'the answers to the child'); // and to the shared process, for which nobody can be asked
  assert.ok(clock.now() >= 30_000);
  const { answers } = await session.tool('poke');
  const refused = answers.filter(({ error }: any) => error !== undefined && error.code !== -32601).map(reason);
  assert.deepEqual(refused, Array(3).fill([-32603, 'no_client']));
  assert.deepEqual(said(get), []);
});

test('progress on a question reaches the child, progress on anything else does not (R-27)', async (t) => {
  const proxy = await one(t);
  const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
  const call = await asking(session, { params: { ...FORM, _meta: { progressToken: 'child' } } });
  const question = await hears(call);
  for (const progressToken of ['child', 'other', 1]) await session.notify('notifications/progress', { progressToken, progress: 1 });
  await reply(session, question.id);
  await told(call);
  assert.deepEqual((await childHas(proxy, 'notifications/progress')).map(({ params }) => params.progressToken), ['child']);
  assert.equal(heardByChild(proxy, 'notifications/progress').length, 1);
});

test('elicitation/complete is told to the session that was sent to that URL, and to no other (R-56)', async (t) => {
  const proxy = await one(t);
  const able = { elicitation: { url: {} } };
  const [a, b] = [await openSession(t, proxy, 'x', { capabilities: able }), await openSession(t, proxy, 'x', { capabilities: able })];
  const [getA, getB] = [await a.get(), await b.get()];
  const call = await asking(a, { params: { mode: 'url', message: 'm', url: 'https://a/', elicitationId: 'e1' } });
  await reply(a, (await hears(call)).id, { action: 'accept' });
  await call.ended;
  for (const elicitationId of ['e2', 'e1']) await b.tool('notify', { method: 'notifications/elicitation/complete', params: { elicitationId } });
  assert.equal((await hears(getA)).params.elicitationId, 'e1');
  await b.tool('changed', { what: 'tools' });
  assert.equal((await hears(getB)).method, 'notifications/tools/list_changed');
});

test('more questions than a server may have open are refused, the others are not lost', async (t) => {
  const proxy = await one(t, { limits: { maxQuestions: 2 } });
  const session = await openSession(t, proxy, 'x', { capabilities: ABLE });
  const calls = [await asking(session, { id: 'a' }, 'a'), await asking(session, { id: 'b' }, 'b')];
  const questions = [await hears(calls[0]!), await hears(calls[1]!)];
  assert.deepEqual(reason(await told(await asking(session, { id: 'c' }, 'c'))), [-32603, 'busy']);
  for (const { id } of questions) await reply(session, id);
  for (const call of calls) assert.deepEqual((await told(call)).result, accepted);
});
