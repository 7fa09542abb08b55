// A modern server needs input in the middle of a legacy client's call (C.3, Q1 to Q7): the client is asked as its own
// revision has it, its call is held open meanwhile, and the server hears the call again with what the client said.

import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { until } from '../support/files.ts';
import { openSse, post, type SseStream } from '../support/http.ts';
import { messages, nextMessage, node, startProxy, type ProxySetup, type TestProxy } from '../support/proxy.ts';
import { childHas, heardByChild, hears, ids, inFlight, initialize, openSession, said } from '../support/session.ts';

const EVERYTHING = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} };
const FORM = { message: 'who are you?', requestedSchema: { type: 'object', properties: {} } };
const PROMPT = { messages: [{ role: 'user', content: { type: 'text', text: 'hello' } }], maxTokens: 10 };
const ACCEPTED = { action: 'accept', content: { name: 'żółć 🦊' } };
const MODEL = { role: 'assistant', content: { type: 'text', text: 'hi' }, model: 'm' };
const ROOTS = { roots: [{ uri: 'file:///a' }] };
const ELICIT = { method: 'elicitation/create', params: FORM };
const SAMPLE = { method: 'sampling/createMessage', params: PROMPT };
const LIST_ROOTS = { method: 'roots/list' };

/** A client that is asked and answers by hand. */
interface Talker {
  /** Sends a request; `next` is the next message that belongs to it. */
  call(params: object, method?: string, id?: unknown): { next(): Promise<any> };
  tool(name: string, args: object, id?: unknown): { next(): Promise<any> };
  /** Answers a question, with a result unless it has an `error`. */
  reply(question: { readonly id: unknown }, answer: object): Promise<unknown>;
  notify(method: string, params: object): Promise<unknown>;
  /** Ends its session. */
  end(): Promise<unknown>;
}

type Open = (t: TestContext, proxy: TestProxy, capabilities?: object) => Promise<Talker>;

const TALKERS: readonly (readonly [front: string, open: Open])[] = [
  ['Streamable HTTP', async (t, proxy, capabilities = EVERYTHING) => {
    const session = await openSession(t, proxy, 'x', { version: '2025-11-25', capabilities });
    const next = async (stream: SseStream): Promise<any> => {
      if (stream.headers['content-type'] !== 'application/json') return hears(stream);
      await stream.ended;
      return JSON.parse(stream.raw.toString());
    };
    const talker: Talker = {
      call(params, method = 'tools/call', id = 'call') {
        const opened = session.stream(method, params, id);
        return { next: async () => next(await opened) };
      },
      tool: (name, args, id) => talker.call({ name, arguments: args, _meta: { progressToken: 'tok' } }, 'tools/call', id),
      reply: async ({ id }, answer) => assert.equal((await session.post({ jsonrpc: '2.0', id, ...('error' in answer ? answer : { result: answer }) })).status, 202),
      notify: (method, params) => session.notify(method, params),
      end: () => session.delete(),
    };
    return talker;
  }],
  ['HTTP+SSE', async (t, proxy, capabilities = EVERYTHING) => {
    const stream = await openSse(proxy.url('/x/sse'), { Accept: 'text/event-stream' });
    t.after(() => stream.close());
    const url = proxy.origin + (await stream.event('endpoint')).data;
    const send = async (message: object): Promise<void> => assert.equal((await post(url, message)).status, 202);
    await send(initialize('2024-11-05', capabilities));
    await nextMessage(stream);
    const talker: Talker = {
      call(params, method = 'tools/call', id = 'call') {
        const sent = send({ jsonrpc: '2.0', id, method, params });
        return { next: async () => (await sent, nextMessage(stream)) };
      },
      tool: (name, args, id) => talker.call({ name, arguments: args, _meta: { progressToken: 'tok' } }, 'tools/call', id),
      reply: ({ id }, answer) => send({ jsonrpc: '2.0', id, ...('error' in answer ? answer : { result: answer }) }),
      notify: (method, params) => send({ jsonrpc: '2.0', method, params }),
      end: () => stream.close(),
    };
    return talker;
  }],
]; // prettier-ignore

/** A modern server `x`. Questions that a test leaves open do not keep its end waiting. */
function modern(t: TestContext, setup: ProxySetup = {}): Promise<TestProxy> {
  return startProxy(t, { x: node('server.mjs', '--modern') }, { ...setup, limits: { drainShutdownMs: 50, backoffFirstMs: 20, ...setup.limits } });
}

const callsHeard = (proxy: TestProxy): any[] => heardByChild(proxy, 'tools/call');
/** What became of a tool call that did not get its input: for its model to read. */
function failure({ id, result }: any): string {
  assert.deepEqual([id, result.isError, result.content.length, result.content[0].type], ['call', true, 1, 'text']);
  return result.content[0].text;
}
/** A tool call that a server answers with this result, again and again. */
const answering = (result: object): object => ({ lines: [JSON.stringify({ jsonrpc: '2.0', id: '$ID', result }).replace('"$ID"', '$ID')], quiet: true });
const asking = (inputRequests: object, more: object = {}): object => answering({ resultType: 'input_required', inputRequests, ...more });

for (const [front, open] of TALKERS) {
  describe(`a client of ${front}`, () => {
    for (const [what, question, answer] of [['elicitation', ELICIT, ACCEPTED], ['sampling', SAMPLE, MODEL], ['roots', LIST_ROOTS, ROOTS]] as const) {
      test(`is asked for ${what} on the stream of its call; its answer and the server’s state go with the call when it is made again (T-99)`, async (t) => {
        const proxy = await modern(t);
        const client = await open(t, proxy);
        const call = client.tool('asks', { rounds: [{ 'ż key': question }] });
        const { id, ...asked } = await call.next();
        assert.deepEqual(asked, { jsonrpc: '2.0', ...question });
        assert.equal((await proxy.status())['x'].pendingRequests, 1);
        await client.reply({ id }, answer);
        const { id: own, result } = await call.next();
        assert.deepEqual([own, result.structuredContent, result.resultType], ['call', { answers: { 'ż key': answer } }, undefined]);
        const [first, again, ...more] = callsHeard(proxy);
        const { inputResponses, requestState, _meta, ...rest } = again.params;
        assert.deepEqual([inputResponses, typeof requestState, more], [{ 'ż key': answer }, 'string', []]);
        assert.notEqual(again.id, first.id);
        assert.deepEqual({ ...rest, _meta: { ..._meta, progressToken: first.id } }, first.params);
        assert.equal(_meta.progressToken, again.id);
        assert.equal((await proxy.status())['x'].pendingRequests, 0);
      });
    }

    test('is asked for several things at once, and the server hears of them when all are answered', async (t) => {
      const proxy = await modern(t);
      const client = await open(t, proxy);
      const call = client.tool('asks', { rounds: [{ a: ELICIT, b: SAMPLE, c: LIST_ROOTS }] });
      const asked = [await call.next(), await call.next(), await call.next()];
      assert.deepEqual(asked.map(({ method }) => method), [ELICIT.method, SAMPLE.method, LIST_ROOTS.method]);
      assert.equal(new Set(asked.map(({ id }) => id)).size, 3);
      await client.reply(asked[2], ROOTS);
      await client.reply(asked[2], { roots: [] }); // once is once
      await client.reply(asked[0], ACCEPTED);
      assert.equal(callsHeard(proxy).length, 1);
      await client.reply(asked[1], MODEL);
      assert.deepEqual((await call.next()).result.structuredContent, { answers: { a: ACCEPTED, b: MODEL, c: ROOTS } });
    });

    test('is asked round after round, each with its own state, also by prompts and resources', async (t) => {
      const proxy = await modern(t);
      const client = await open(t, proxy);
      const call = client.tool('asks', { rounds: [{ a: ELICIT }, { b: LIST_ROOTS }, { c: ELICIT }] });
      for (const answer of [{ action: 'decline' }, ROOTS, ACCEPTED]) await client.reply(await call.next(), answer);
      assert.deepEqual((await call.next()).result.structuredContent, { answers: { a: { action: 'decline' }, b: ROOTS, c: ACCEPTED } });
      assert.deepEqual(callsHeard(proxy).map(({ params }) => Object.keys(params.inputResponses ?? {})), [[], ['a'], ['b'], ['c']]);
      const states = callsHeard(proxy).map(({ params }) => params.requestState);
      assert.deepEqual([states.length, new Set(states).size, states[0]], [4, 4, undefined]);
      for (const [method, params, read] of [
        ['prompts/get', { name: 'asks' }, (result: any) => result.messages[0].content.text],
        ['resources/read', { uri: 'test://asks' }, (result: any) => result.contents[0].text],
      ] as const) {
        const other = client.call(params, method);
        await client.reply(await other.next(), ACCEPTED);
        assert.deepEqual(JSON.parse(read((await other.next()).result)), ACCEPTED);
      }
    });

    test('whose digits and unknown members a server is to get, does: its answer goes on as it was written', async (t) => {
      const proxy = await modern(t);
      const client = await open(t, proxy);
      const call = client.tool('raw', asking({ k: LIST_ROOTS }, { requestState: 'ż \u2028 "state"' }));
      await client.reply(await call.next(), { roots: [], n: 0.1, big: 12345678901234567890, deep: [[[{}]]] });
      const [, again] = await childHas(proxy, 'tools/call', 2);
      assert.deepEqual(again.params.inputResponses, { k: { roots: [], n: 0.1, big: 12345678901234567890, deep: [[[{}]]] } });
      assert.equal(again.params.requestState, 'ż \u2028 "state"');
    });

    test('that answers one question with an error gets an error that says so; the other questions are withdrawn, the server hears no more (Q5, Q7)', async (t) => {
      const proxy = await modern(t);
      const client = await open(t, proxy);
      const call = client.tool('asks', { rounds: [{ a: ELICIT, b: SAMPLE, c: LIST_ROOTS }] });
      const [a, b, c] = [await call.next(), await call.next(), await call.next()];
      await client.reply(c, ROOTS);
      await client.reply(a, { error: { code: -1, message: 'no' } });
      const { reason, ...withdrawn } = (await call.next()).params;
      assert.deepEqual([withdrawn, typeof reason], [{ requestId: b.id }, 'string']);
      assert.match(failure(await call.next()), /elicitation\/create/);
      await client.reply(b, MODEL);
      await proxy.tool('x', 'echo');
      assert.deepEqual(callsHeard(proxy).map(({ params }) => params.name), ['asks', 'echo']);
      const prompt = client.call({ name: 'asks' }, 'prompts/get');
      await client.reply(await prompt.next(), { error: { code: -1, message: 'no' } });
      const { error } = await prompt.next();
      assert.deepEqual([error.code, error.data], [-32603, { source: 'mcp-proxy', reason: 'input_failed' }]);
      assert.match(error.message, /^Input for prompts\/get could not be obtained: /);
    });

    for (const [what, capabilities, question] of [
      ['elicitation', { sampling: {}, roots: {} }, ELICIT],
      ['a visit to a URL', { elicitation: {} }, { method: ELICIT.method, params: { mode: 'url', url: 'https://a', message: 'm' } }],
      ['sampling', {}, SAMPLE],
      ['sampling with tools', { sampling: {} }, { method: SAMPLE.method, params: { ...PROMPT, tools: [] } }],
      ['roots', { elicitation: {} }, LIST_ROOTS],
    ] as const) {
      test(`that did not declare ${what} is asked nothing, and its call fails; so does one that the server refuses itself (T-100)`, async (t) => {
        const proxy = await modern(t);
        const client = await open(t, proxy, capabilities);
        assert.match(failure(await client.tool('raw', asking({ a: { method: 'elicitation/create', params: FORM }, k: question })).next()), /does not support/);
        const { error } = await client.tool('asks', { rounds: [{ k: question }] }).next();
        assert.deepEqual([error.code, error.data.originalError.code], [-32603, -32021]);
        assert.equal(callsHeard(proxy).length, 2);
      });
    }

    test('that is to visit a URL gets an id with it, a new one each time; a form has none, and no mode that it did not have', async (t) => {
      const proxy = await modern(t);
      const client = await open(t, proxy);
      const visit = { mode: 'url', url: 'https://a/ż?x=1', message: 'go' };
      const call = client.tool('asks', { rounds: [{ a: { method: ELICIT.method, params: visit }, b: { method: ELICIT.method, params: visit }, c: ELICIT, d: { method: ELICIT.method, params: { ...FORM, mode: 'form' } } }] });
      const asked = [await call.next(), await call.next(), await call.next(), await call.next()];
      const minted = asked.slice(0, 2).map(({ params: { elicitationId, ...rest } }) => {
        assert.deepEqual(rest, visit);
        return elicitationId;
      });
      assert.ok(minted.every((id) => typeof id === 'string' && id.length >= 16) && minted[0] !== minted[1]);
      assert.deepEqual(asked.slice(2).map(({ params }) => params), [FORM, { ...FORM, mode: 'form' }]);
    });

    test('gets a question as the server wrote it, however deep and whatever its digits', async (t) => {
      const proxy = await modern(t);
      const client = await open(t, proxy);
      const depth = 20_000; // more than JSON.stringify can
      const params = `{"message":"m","n":9007199254740993,"x":${'['.repeat(depth)}${']'.repeat(depth)}}`;
      const line = `{"jsonrpc":"2.0","id":$ID,"result":{"resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":${params}}}}}`;
      const call = client.tool('raw', { lines: [line], quiet: true });
      assert.equal((await call.next()).params.n, 9007199254740992);
      assert.equal((await proxy.tool('x', 'echo', { alive: true })).alive, true);
    });

    test('that cancels in the middle is asked no more: its dialogs are withdrawn, and the server hears nothing more of it (Q7)', async (t) => {
      const proxy = await modern(t);
      const client = await open(t, proxy);
      const call = client.tool('asks', { rounds: [{ a: ELICIT, b: SAMPLE }] });
      const [a, b] = [await call.next(), await call.next()];
      await client.notify('notifications/cancelled', { requestId: 'call', reason: 'changed my mind' });
      assert.deepEqual([(await call.next()).params.requestId, (await call.next()).params.requestId], [a.id, b.id]);
      for (const question of [a, b]) await client.reply(question, ACCEPTED);
      await inFlight(proxy, 0);
      await proxy.tool('x', 'echo');
      assert.deepEqual(callsHeard(proxy).map(({ params }) => params.name), ['asks', 'echo']);
      assert.equal((await client.tool('echo', { next: true }, 'another').next()).id, 'another', 'no answer came to what was cancelled');
    });

    test('loses its call with the server’s process: the question is withdrawn, the answer is one error, and then it works again', async (t) => {
      const proxy = await modern(t);
      const client = await open(t, proxy);
      const call = client.tool('asks', { rounds: [{ a: ELICIT }] });
      const { id } = await call.next();
      await proxy.call('x', 'tools/call', { name: 'die', arguments: { code: 3 } });
      assert.equal((await call.next()).params.requestId, id);
      const { error } = await call.next();
      assert.deepEqual([error.code, error.data.reason], [-32603, 'child_exited']);
      await client.reply({ id }, ACCEPTED);
      await proxy.tool('x', 'echo');
      assert.equal(callsHeard(proxy).filter(({ params }) => params.name === 'asks').length, 1);
    });

    test('is not waited for when its server is reconfigured: the call ends at once (R-156)', async (t) => {
      const proxy = await modern(t);
      const client = await open(t, proxy);
      const call = client.tool('asks', { rounds: [{ a: ELICIT }] });
      const { id } = await call.next();
      await proxy.configure({ x: node('server.mjs', '--modern', '--name', 'new') });
      assert.equal((await call.next()).params.requestId, id);
      const { error } = await call.next();
      assert.deepEqual([error.code, error.data.reason], [-32603, 'reconfigured']);
      assert.deepEqual(await proxy.tool('x', 'echo', { after: true }), { after: true });
    });

    test('has ten minutes for a round, in which nothing else times out; then its dialogs are withdrawn and its call fails (Q4)', async (t) => {
      const clock = fakeClock();
      const proxy = await modern(t, { clock });
      const client = await open(t, proxy);
      const call = client.tool('asks', { rounds: [{ a: ELICIT }, { b: ELICIT }] });
      const first = await call.next();
      await clock.run(599_999);
      await client.reply(first, ACCEPTED);
      const second = await call.next();
      await clock.run(599_999);
      assert.equal((await proxy.status())['x'].pendingRequests, 1);
      await clock.run(1);
      assert.equal((await call.next()).params.requestId, second.id);
      assert.match(failure(await call.next()), /600000 ms/);
      assert.deepEqual([callsHeard(proxy).length, proxy.spawned('x').length], [2, 1]);
    });

    test('is asked ten times at most in one call', async (t) => {
      const proxy = await modern(t);
      const client = await open(t, proxy);
      const call = client.tool('asks', { rounds: Array.from({ length: 11 }, (_, k) => ({ [k]: LIST_ROOTS })) });
      for (let round = 1; round <= 10; round++) {
        const question = await call.next();
        assert.equal(question.method, 'roots/list', `round ${round}`);
        await client.reply(question, ROOTS);
      }
      assert.match(failure(await call.next()), /more than 10 times/);
      assert.equal(callsHeard(proxy).length, 11);
    });

    test('is not asked where the server only wants to be called again: after 250 ms, then twice that (Q3)', async (t) => {
      const clock = fakeClock();
      const proxy = await modern(t, { clock });
      const client = await open(t, proxy);
      const call = client.tool('asks', { rounds: [{}, {}, { a: ELICIT }] });
      let question: any;
      void call.next().then((message) => (question = message));
      for (const [count, ms] of [[1, 250], [2, 500]] as const) {
        await childHas(proxy, 'tools/call', count);
        await proxy.tool('x', 'echo').catch(() => {}); // what it answered has arrived
        await clock.run(ms - 1);
        assert.equal(callsHeard(proxy).filter(({ params }) => params.name === 'asks').length, count);
        await clock.run(1);
        await until(() => callsHeard(proxy).filter(({ params }) => params.name === 'asks').length === count + 1, 'the next call');
      }
      await client.reply(await until(() => question, 'the question'), ACCEPTED);
      assert.deepEqual((await call.next()).result.structuredContent, { answers: { a: ACCEPTED } });
      const asks = callsHeard(proxy).filter(({ params }) => params.name === 'asks');
      assert.deepEqual(asks.map(({ params }) => ['inputResponses' in params, 'requestState' in params]), [[false, false], [false, true], [false, true], [true, true]]);
    });

    test('hears of the progress of every round under its own token', async (t) => {
      const proxy = await modern(t);
      const client = await open(t, proxy);
      const progress = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN,"progress":1}}';
      const { lines: [asks] } = asking({ k: LIST_ROOTS }) as { lines: [string] };
      const call = client.tool('raw', { lines: [progress, asks], quiet: true });
      for (let round = 0; round < 2; round++) {
        assert.equal((await call.next()).params.progressToken, 'tok');
        await client.reply(await call.next(), ROOTS);
      }
    });
  });
}

test('twenty clients at once, whose calls and questions have the same ids, get each their own answer', async (t) => {
  const proxy = await modern(t);
  const clients = await Promise.all(Array.from({ length: 20 }, (_, k) => (TALKERS[k % 2] as (typeof TALKERS)[0])[1](t, proxy)));
  const answers = await Promise.all(
    clients.map(async (client, k) => {
      const rounds = [1, 2].map((round) => ({ [`a${round}`]: { method: ELICIT.method, params: { ...FORM, message: `${k}` } }, [`b${round}`]: LIST_ROOTS }));
      const call = client.tool('asks', { rounds }, 1);
      for (let n = 0; n < 4; n++) {
        const question = await call.next();
        if (question.method === ELICIT.method) assert.equal(question.params.message, `${k}`);
        await client.reply(question, question.method === ELICIT.method ? { action: 'accept', content: { k } } : { roots: [{ uri: `file:///${k}` }] });
      }
      const { id, result } = await call.next();
      assert.equal(id, 1);
      return result.structuredContent.answers;
    }),
  );
  for (const [k, answer] of answers.entries()) {
    const [form, roots] = [{ action: 'accept', content: { k } }, { roots: [{ uri: `file:///${k}` }] }];
    assert.deepEqual(answer, { a1: form, b1: roots, a2: form, b2: roots });
  }
  assert.equal(callsHeard(proxy).length, 60);
  await inFlight(proxy, 0);
});

test('a session that is deleted withdraws its dialogs, and its call ends with the reason', async (t) => {
  const proxy = await modern(t);
  const session = await openSession(t, proxy, 'x', { capabilities: EVERYTHING });
  const call = await session.toolStream('asks', { rounds: [{ a: ELICIT }] });
  const { id } = await hears(call);
  assert.equal((await session.delete()).status, 204);
  assert.deepEqual([await call.ended, said(call).slice(1).map((message) => message.params?.requestId ?? message.error.data.reason)], ['end', [id, 'session_closed']]);
  await inFlight(proxy, 0);
});

test('a client of HTTP+SSE whose stream closes in the middle leaves nothing behind', async (t) => {
  const proxy = await modern(t);
  const client = await (TALKERS[1] as (typeof TALKERS)[0])[1](t, proxy);
  await client.tool('asks', { rounds: [{ a: ELICIT }] }).next();
  await client.end();
  await inFlight(proxy, 0);
  await proxy.tool('x', 'echo');
  assert.equal(callsHeard(proxy).filter(({ params }) => params.name === 'asks').length, 1);
});

test('a stream that breaks off in the middle can be resumed: question and answer are on it', async (t) => {
  const proxy = await modern(t);
  const session = await openSession(t, proxy, 'x', { version: '2025-11-25', capabilities: EVERYTHING });
  const call = await session.toolStream('asks', { rounds: [{ a: ELICIT }, { b: LIST_ROOTS }] });
  const first = await hears(call);
  await call.close();
  await session.post({ jsonrpc: '2.0', id: first.id, result: ACCEPTED });
  await childHas(proxy, 'tools/call', 2);
  const rest = await session.get(ids(call)[0] as string);
  assert.equal((await hears(rest)).id, first.id);
  const second = await hears(rest);
  await session.post({ jsonrpc: '2.0', id: second.id, result: ROOTS });
  assert.deepEqual((await hears(rest)).result.structuredContent, { answers: { a: ACCEPTED, b: ROOTS } });
  assert.equal(await rest.ended, 'end');
});

test('a client that takes no streams is asked on its standalone one, and fails after half a minute without any', async (t) => {
  const clock = fakeClock();
  const proxy = await modern(t, { clock });
  const session = await openSession(t, proxy, 'x', { capabilities: EVERYTHING, accept: 'application/json' });
  const call = (): Promise<any> => session.call('tools/call', { name: 'asks', arguments: { rounds: [{ a: ELICIT }] } }, 'call').then((reply) => reply.json());
  let failed: any;
  void call().then((answer) => (failed = answer));
  await inFlight(proxy, 1);
  await childHas(proxy, 'tools/call');
  await proxy.tool('x', 'echo'); // what it answered has arrived
  await clock.run(29_999);
  assert.equal(failed, undefined);
  await clock.run(1);
  assert.match(failure(await until(() => failed, 'the failure')), /No client stream/);
  const get = await session.get();
  const second = call();
  const { id } = await hears(get);
  await session.post({ jsonrpc: '2.0', id, result: ACCEPTED });
  assert.deepEqual((await second).result.structuredContent, { answers: { a: ACCEPTED } });
  assert.equal(messages(get).length, 1);
});
