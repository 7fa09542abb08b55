// Modern clients at a legacy child that asks something in the middle of a call: the client gets `input_required`, its
// retry goes on with the same call, and whatever happens between the two, nothing is left behind (C.2, P1 to P8).

import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { until } from '../support/files.ts';
import type { SseStream } from '../support/http.ts';
import { ABLE, answerIn, key, modernClient, type ModernClient, type ModernOptions } from '../support/modern.ts';
import { endOf, node, startProxy, type ProxySetup, type TestProxy } from '../support/proxy.ts';
import { childHas, heardByChild, hears, inFlight, openSession, said } from '../support/session.ts';

const SERVER_INFO = { [key('serverInfo')]: { name: 'fixture', version: '1.0.0' } };
const FORM = { message: 'who are you?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } } } };
const PROMPT = { messages: [{ role: 'user', content: { type: 'text', text: 'hello' } }], maxTokens: 10 };
const ELICIT = { method: 'elicitation/create', params: FORM };
const ACCEPT = { action: 'accept', content: { name: 'żółć' } };
const SAMPLED = { role: 'assistant', content: { type: 'text', text: 'hi' }, model: 'm' };
const ROOTS = { roots: [{ uri: 'file:///a' }] };
const question = (id: unknown, { method, params }: { method: string; params?: object } = ELICIT): string => JSON.stringify({ jsonrpc: '2.0', id, method, params });

interface Setup {
  readonly proxy: TestProxy;
  /** A client that can be asked everything. */
  readonly able: ModernClient;
  /** Another one: without its own capabilities it is nobody's confusion, as long as it only calls. */
  readonly other: ModernClient;
}

async function one(t: TestContext, setup: ProxySetup = {}): Promise<Setup> {
  const proxy = await startProxy(t, { x: node('server.mjs') }, { ...setup, limits: { drainShutdownMs: 50, ...setup.limits } });
  await proxy.becomes('x', 'running');
  const client = (options?: ModernOptions): ModernClient => modernClient(t, proxy, 'x', options);
  const other = client();
  await other.tool('echo'); // from now on no call waits for the list of tools
  return { proxy, able: client({ capabilities: ABLE }), other };
}

interface Call {
  readonly name: string;
  readonly arguments: object;
}

interface Parked {
  readonly call: Call;
  readonly state: string;
  readonly asked: Record<string, any>;
}

function inputOf(reply: Parameters<typeof answerIn>[0], call: Call): Parked {
  const { result, error } = answerIn(reply);
  assert.equal(result?.resultType, 'input_required', JSON.stringify(error));
  return { call, state: result.requestState, asked: result.inputRequests };
}

/** Calls a tool whose child asks for something, and returns what the client got. */
async function park(client: ModernClient, name: string, args: object, options: ModernOptions = {}): Promise<Parked> {
  const call = { name, arguments: args };
  return inputOf(await client.post('tools/call', { ...call }, options), call);
}

/** A call that is parked, with one question that the child asked under this id, and no answer of the child unless a test writes it. */
const parkRaw = (client: ModernClient, id: unknown = 'q', options: ModernOptions = {}): Promise<Parked> => park(client, 'raw', { lines: [question(id)], quiet: true }, options);

const retryOf = ({ call, state }: Parked, inputResponses: unknown): Record<string, unknown> => ({ ...call, inputResponses, requestState: state });

/** What the child was told under the id of its own question. */
const told = (proxy: TestProxy, id: unknown): Promise<any> =>
  until(() => proxy.received('x').map((line) => JSON.parse(line)).find((message) => message.method === undefined && message.id === id), `what the child is told about ${id}`);

/** The id of the last call that the child has of this tool. */
const idAt = (proxy: TestProxy, tool = 'raw'): number => heardByChild(proxy, 'tools/call').filter(({ params }) => params.name === tool).at(-1).id;

const DONE = { content: [{ type: 'text', text: 'late' }] };
/** Has the child write something while nothing but the parked call is in flight. */
async function childWrites(other: ModernClient, ...messages: object[]): Promise<void> {
  await other.call('raw', { lines: ['{"jsonrpc":"2.0","id":$ID,"result":{}}', ...messages.map((message) => JSON.stringify({ jsonrpc: '2.0', ...message }))], quiet: true });
}

function refused(reply: { status: number; json(): any }, reason = 'request_state', id: unknown = 2): void {
  const { id: own, error } = reply.json();
  assert.deepEqual([reply.status, own, error?.code, error?.data.reason], [200, id, -32602, reason]);
}

async function nothingLeft(proxy: TestProxy): Promise<void> {
  await inFlight(proxy, 0);
  assert.deepEqual(proxy.logged('internal'), []);
}

const PROGRESS = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN,"progress":1}}';

/** The stream of a call during which the child wrote these lines: all of them have arrived. */
async function afterLines(client: ModernClient, ...lines: string[]): Promise<SseStream> {
  const stream = await client.toolStream('raw', { lines: [...lines, PROGRESS], quiet: true }, { progressToken: 't' });
  await hears(stream);
  return stream;
}

/** Parks a call at this very moment. */
async function parkAt(clock: FakeClock, client: ModernClient): Promise<Parked> {
  const stream = await afterLines(client, question('q'));
  await clock.run(19);
  assert.equal(said(stream).length, 1);
  await clock.run(1);
  const { result } = await hears(stream);
  return { call: { name: 'raw', arguments: { lines: [question('q'), PROGRESS], quiet: true } }, state: result.requestState, asked: result.inputRequests };
}

describe('a question during a call', () => {
  for (const [method, params, seen, name, result] of [
    ['elicitation/create', FORM, FORM, 'elicitation-1', ACCEPT],
    ['elicitation/create', { mode: 'url', elicitationId: 'e', url: 'https://a', message: 'm' }, { mode: 'url', url: 'https://a', message: 'm' }, 'elicitation-1', { action: 'accept' }],
    ['elicitation/create', { ...FORM, _meta: { progressToken: 1, 'io.modelcontextprotocol/related-task': {}, own: 1 } }, { ...FORM, _meta: { own: 1 } }, 'elicitation-1', { action: 'decline' }],
    ['sampling/createMessage', { ...PROMPT, _meta: { progressToken: 1 } }, PROMPT, 'sampling-1', SAMPLED],
    ['roots/list', undefined, undefined, 'roots-1', ROOTS],
  ] as const) {
    for (const id of ['q', 7]) {
      test(`is input_required with ${name}: ${JSON.stringify(seen)}; the retry has the result, and the child was called once (T-91, P1, P3)`, async (t) => {
        const { proxy, able } = await one(t);
        const before = heardByChild(proxy, 'tools/call').length;
        const call = { name: 'ask', arguments: { method, params, id } };
        const first = await able.post('tools/call', call, { id: 'first' });
        assert.deepEqual([first.status, first.headers['content-type']], [200, 'application/json']);
        const { requestState, ...rest } = first.json().result;
        assert.match(requestState, /^[0-9a-f]{32}$/);
        assert.deepEqual(rest, { resultType: 'input_required', inputRequests: { [name]: { method, ...(seen && { params: seen }) } }, _meta: SERVER_INFO });
        assert.equal((await proxy.status())['x'].pendingRequests, 1);

        const last = await able.post('tools/call', { ...call, inputResponses: { [name]: result, unknown: 1 }, requestState }, { id: 2 });
        assert.deepEqual([last.json().id, last.json().result.resultType, last.json().result._meta], [2, 'complete', SERVER_INFO]);
        assert.deepEqual(last.json().result.structuredContent, { jsonrpc: '2.0', id, result });
        assert.equal(heardByChild(proxy, 'tools/call').length, before + 1);
        await nothingLeft(proxy);
      });
    }
  }

  test('comes with all others of the same 20 ms, and those of the next round with the next answer (P1)', async (t) => {
    const { able } = await one(t);
    const rounds = [{ a: ELICIT, b: { method: 'sampling/createMessage', params: PROMPT }, c: { method: 'roots/list' } }, { d: ELICIT }];
    const first = await park(able, 'asks', { rounds });
    assert.deepEqual(Object.entries(first.asked).map(([name, { method }]) => [name, method]), [['elicitation-1', 'elicitation/create'], ['sampling-2', 'sampling/createMessage'], ['roots-3', 'roots/list']]);
    const answers = { 'elicitation-1': ACCEPT, 'sampling-2': SAMPLED, 'roots-3': ROOTS };
    const second = inputOf(await able.post('tools/call', retryOf(first, answers), { id: 2 }), first.call);
    assert.deepEqual(Object.keys(second.asked), ['elicitation-4']);
    const last = await able.post('tools/call', retryOf(second, { 'elicitation-4': { action: 'cancel' } }), { id: 3 });
    assert.deepEqual(last.json().result.structuredContent.answers, { a: ACCEPT, b: SAMPLED, c: ROOTS, d: { action: 'cancel' } });
  });

  test('is the last event of the stream, where a head was sent; the next leg is JSON or a stream of its own (P1)', async (t) => {
    const { proxy, able, other } = await one(t);
    const call = { name: 'raw', arguments: { lines: [PROGRESS, question('q')], quiet: true } };
    const stream = await able.stream('tools/call', call, { id: 's', progressToken: 'first' });
    assert.equal(await endOf(stream), 'end');
    const [reported, asked] = said(stream);
    assert.deepEqual([reported.params.progressToken, asked.id, asked.result.resultType], ['first', 's', 'input_required']);

    const child = idAt(proxy);
    const report = (n: number): object => ({ method: 'notifications/progress', params: { progressToken: child, progress: n } });
    await childWrites(other, report(2)); // nobody hears it
    const second = able.stream('tools/call', { ...call, inputResponses: { 'elicitation-1': ACCEPT }, requestState: asked.result.requestState }, { id: 't', progressToken: 2 });
    await told(proxy, 'q');
    await childWrites(other, report(3), { id: child, result: DONE });
    assert.equal(await endOf(await second), 'end');
    const [more, last] = said(await second);
    assert.deepEqual([more.params, last.id, last.result.content], [{ progressToken: 2, progress: 3 }, 't', DONE.content]);
  });

  test('answered by a retry without a token: progress is dropped', async (t) => {
    const { proxy, able, other } = await one(t);
    const parked = await parkRaw(able, 'q', { progressToken: 1 });
    const child = idAt(proxy);
    const retry = able.post('tools/call', retryOf(parked, { 'elicitation-1': ACCEPT }), { id: 2 });
    await told(proxy, 'q');
    await childWrites(other, { method: 'notifications/progress', params: { progressToken: child, progress: 3 } }, { id: child, result: DONE });
    assert.deepEqual([(await retry).headers['content-type'], (await retry).json().result.content], ['application/json', DONE.content]);
  });

  test('leaves log lines to the leg that wants them now: none while parked, and the level is that of the retry (R-48)', async (t) => {
    const { proxy, able, other } = await one(t);
    const parked = await parkRaw(able, 'q', { logLevel: 'error' });
    const child = idAt(proxy);
    const line = (level: string): object => ({ method: 'notifications/message', params: { level, data: level } });
    await childWrites(other, line('emergency'));
    const retry = able.stream('tools/call', retryOf(parked, { 'elicitation-1': ACCEPT }), { id: 2, logLevel: 'debug' });
    await told(proxy, 'q');
    assert.deepEqual(heardByChild(proxy, 'logging/setLevel').map(({ params }) => params.level), ['error', 'debug']);
    await childWrites(other, line('debug'));
    await hears(await retry);
    await childWrites(other, { id: child, result: DONE });
    assert.equal(await endOf(await retry), 'end');
    assert.deepEqual(said(await retry).map(({ params, id }) => params?.level ?? id), ['debug', 2]);
  });

  test('without a leg waits for the next retry, which gets it at once, and only what is open (P3)', async (t) => {
    const { proxy, able, other } = await one(t);
    const parked = await parkRaw(able);
    const child = idAt(proxy);
    await other.call('askAfter', { method: 'roots/list', id: 'r' });
    const second = inputOf(await able.post('tools/call', retryOf(parked, { 'elicitation-1': ACCEPT }), { id: 2 }), parked.call);
    assert.deepEqual(second.asked, { 'roots-2': { method: 'roots/list' } });
    assert.notEqual(second.state, parked.state);
    assert.deepEqual((await told(proxy, 'q')).result, ACCEPT);
    const retry = able.post('tools/call', retryOf(second, { 'roots-2': ROOTS }), { id: 3 });
    assert.deepEqual((await told(proxy, 'r')).result, ROOTS);
    await childWrites(other, { id: child, result: DONE });
    assert.deepEqual([(await retry).json().id, (await retry).json().result.content], [3, DONE.content]);
    await nothingLeft(proxy);
  });
});

describe('a retry', () => {
  test('that lacks a key is asked for it again, under a new requestState; the rest is with the child (T-92)', async (t) => {
    const { proxy, able } = await one(t);
    const first = await park(able, 'asks', { rounds: [{ a: ELICIT, b: { method: 'roots/list' } }] });
    const second = inputOf(await able.post('tools/call', retryOf(first, { 'roots-2': ROOTS }), { id: 2 }), first.call);
    assert.deepEqual(second.asked, { 'elicitation-1': ELICIT });
    await until(() => proxy.received('x').some((line) => JSON.parse(line).result?.roots), 'the answer of the first retry');
    refused(await able.post('tools/call', retryOf(first, { 'elicitation-1': ACCEPT }), { id: 2 }));
    const third = inputOf(await able.post('tools/call', retryOf(second, undefined), { id: 3 }), first.call);
    assert.equal(new Set([first.state, second.state, third.state]).size, 3);
    const last = await able.post('tools/call', retryOf(third, { 'elicitation-1': ACCEPT, 'roots-2': 'late' }), { id: 4 });
    assert.deepEqual(last.json().result.structuredContent.answers, { a: ACCEPT, b: ROOTS });
    await nothingLeft(proxy);
  });

  test('is the same call whatever the order of its members and its envelope (P3)', async (t) => {
    const { able, proxy } = await one(t);
    const parked = await park(able, 'ask', { ...ELICIT, id: 'q' });
    const { call, state } = parked;
    const turned = { inputResponses: { 'elicitation-1': ACCEPT }, requestState: state, arguments: { id: 'q', params: { requestedSchema: FORM.requestedSchema, message: FORM.message }, method: ELICIT.method }, name: call.name };
    const reply = await modernClient(t, proxy).post('tools/call', turned, { id: 2, meta: { traceparent: '00' }, capabilities: {} });
    assert.deepEqual(reply.json().result.structuredContent.result, ACCEPT);
  });

  for (const [what, change] of [
    ['other arguments', ({ call, state }: Parked) => ({ ...call, arguments: { ...call.arguments, more: 1 }, requestState: state })],
    ['another tool', ({ state }: Parked) => ({ name: 'echo', arguments: {}, requestState: state })],
    ['an invented requestState', ({ call }: Parked) => ({ ...call, requestState: '0'.repeat(32) })],
    ['a requestState that is no string', ({ call }: Parked) => ({ ...call, requestState: { a: 1 } })],
    ['an empty requestState', ({ call }: Parked) => ({ ...call, requestState: '' })],
  ] as const) {
    test(`with ${what} is -32602, and the parked call waits on (T-93, P4)`, async (t) => {
      const { able, proxy } = await one(t);
      const parked = await park(able, 'ask', { ...ELICIT, id: 'q' });
      const calls = heardByChild(proxy, 'tools/call').length;
      refused(await able.post('tools/call', { ...change(parked), inputResponses: { 'elicitation-1': ACCEPT } }, { id: 2 }));
      const last = await able.post('tools/call', retryOf(parked, { 'elicitation-1': ACCEPT }), { id: 3 });
      assert.deepEqual(last.json().result.structuredContent.result, ACCEPT);
      assert.equal(heardByChild(proxy, 'tools/call').length, calls);
      refused(await able.post('tools/call', retryOf(parked, { 'elicitation-1': ACCEPT }), { id: 2 }));
      await nothingLeft(proxy);
    });
  }

  for (const [what, responses] of [
    ['no object', 'yes'],
    ['a list', []],
    ['an answer that is no object', { 'elicitation-1': 'yes' }],
    ['an action that there is not', { 'elicitation-1': { action: 'agree' } }],
    ['content that is no form', { 'elicitation-1': { action: 'accept', content: { name: {} } } }],
    ['one answer good and one bad', { 'elicitation-1': ACCEPT, 'sampling-2': { role: 'assistant' } }],
    ['roots elsewhere', { 'roots-3': { roots: [{ uri: 'http://a' }] } }],
  ] as const) {
    test(`with inputResponses of ${what} is -32602, nothing reaches the child, and the same requestState holds (P3, P4)`, async (t) => {
      const { able, proxy } = await one(t);
      const parked = await park(able, 'asks', { rounds: [{ a: ELICIT, b: { method: 'sampling/createMessage', params: PROMPT }, c: { method: 'roots/list' } }] });
      const before = proxy.received('x').length;
      refused(await able.post('tools/call', retryOf(parked, responses), { id: 2 }), 'invalid_params');
      assert.equal(proxy.received('x').length, before);
      const answers = { 'elicitation-1': ACCEPT, 'sampling-2': SAMPLED, 'roots-3': ROOTS };
      const last = await able.post('tools/call', retryOf(parked, answers), { id: 3 });
      assert.deepEqual(last.json().result.structuredContent.answers, { a: ACCEPT, b: SAMPLED, c: ROOTS });
    });
  }

  test('beside one that holds the call is -32602 (P4)', async (t) => {
    const { able, proxy, other } = await one(t);
    const parked = await parkRaw(able);
    const child = idAt(proxy);
    const holder = able.post('tools/call', retryOf(parked, { 'elicitation-1': ACCEPT }), { id: 'holder' });
    await told(proxy, 'q');
    refused(await able.post('tools/call', retryOf(parked, { 'elicitation-1': ACCEPT }), { id: 2 }));
    await childWrites(other, { id: child, result: DONE });
    assert.equal((await holder).json().id, 'holder');
  });

  test('without its requestState is a new call, and the child sees nothing of the answers (P4, R-26)', async (t) => {
    const { able, proxy } = await one(t);
    await parkRaw(able);
    const reply = await able.post('tools/call', { name: 'echo', arguments: { a: 1 }, inputResponses: { 'elicitation-1': ACCEPT } }, { id: 2 });
    assert.deepEqual(reply.json().result.structuredContent, { a: 1 });
    assert.deepEqual(heardByChild(proxy, 'tools/call').at(-1).params, { name: 'echo', arguments: { a: 1 } });
  });

  test('is checked like any request, and one that is refused consumes nothing (R-63)', async (t) => {
    const { able, proxy, other } = await one(t);
    const parked = await parkRaw(able);
    const retry = retryOf(parked, { 'elicitation-1': ACCEPT });
    assert.equal((await able.post('tools/call', retry, { id: 2, headers: { 'Mcp-Name': 'echo' } })).json().error.code, -32020);
    assert.equal((await able.post('tools/call', retry, { id: 2, meta: { [key('clientCapabilities')]: undefined } })).json().error.code, -32602);
    const child = idAt(proxy);
    const last = able.post('tools/call', retry, { id: 3 });
    await told(proxy, 'q');
    await childWrites(other, { id: child, result: DONE });
    assert.deepEqual((await last).json().result.content, DONE.content);
  });
});

describe('a client that leaves', () => {
  /** The child is told the end of both: of what it asked, and of the call. */
  async function cancelled(proxy: TestProxy, child: number, asked: boolean): Promise<void> {
    const heard = await childHas(proxy, 'notifications/cancelled');
    assert.deepEqual(heard.map(({ params }) => params.requestId), [child]);
    if (asked) assert.deepEqual([(await told(proxy, 'q')).error?.code, (await told(proxy, 'q')).error?.data.reason], [-32603, 'no_client']);
    await nothingLeft(proxy);
  }

  test('while more questions are collected has its call cancelled (P5, R-33)', async (t) => {
    const { proxy, able } = await one(t, { limits: { collectMs: 60_000 } });
    const stream = await afterLines(able, question('q'));
    await stream.close();
    await cancelled(proxy, idAt(proxy), true);
  });

  test('after it was asked has five minutes to return, and not a moment more (P5)', async (t) => {
    const clock = fakeClock();
    const { proxy, able } = await one(t, { clock, limits: { idleTimeoutMs: 10_000, requestTimeoutMs: 1_000 } });
    const parked = await parkAt(clock, able);
    await clock.run(299_999);
    assert.deepEqual(heardByChild(proxy, 'notifications/cancelled'), []);
    assert.deepEqual([(await proxy.status())['x'].pendingRequests, (await proxy.status())['x'].status], [1, 'running']);
    await clock.run(1);
    await cancelled(proxy, idAt(proxy), true);
    refused(await able.post('tools/call', retryOf(parked, { 'elicitation-1': ACCEPT }), { id: 2 }));
  });

  test('with its retry has its call cancelled (P5)', async (t) => {
    const { proxy, able } = await one(t, { limits: { sseAfterMs: 1 } });
    const { call, state } = await parkRaw(able);
    const stream = able.stream('tools/call', { ...call, requestState: state, inputResponses: { 'elicitation-1': ACCEPT } }, { id: 2 });
    await told(proxy, 'q');
    await (await stream).close();
    await cancelled(proxy, idAt(proxy), false);
    refused(await able.post('tools/call', { ...call, requestState: state }, { id: 2 }));
  });
});

describe('a call that ends while it is parked', () => {
  test('keeps its answer for the next retry, whatever that says; then it is gone (P7)', async (t) => {
    for (const responses of [{ 'elicitation-1': ACCEPT }, {}, { 'elicitation-1': 'nonsense' }, undefined]) {
      const { proxy, able, other } = await one(t);
      const parked = await parkRaw(able);
      const child = idAt(proxy);
      await childWrites(other, { id: child, result: DONE });
      await inFlight(proxy, 0);
      const heard = (await told(proxy, 'q')).error;
      assert.deepEqual([heard.code, heard.data.reason], [-32603, 'no_client'], 'the child has its answer, too');
      const last = await able.post('tools/call', retryOf(parked, responses), { id: 2 });
      assert.deepEqual(last.json(), { jsonrpc: '2.0', id: 2, result: { resultType: 'complete', ...DONE, _meta: SERVER_INFO } });
      refused(await able.post('tools/call', retryOf(parked, responses), { id: 2 }));
      await proxy.close();
    }
  });

  test('keeps it only for the rest of the five minutes (P7)', async (t) => {
    const clock = fakeClock();
    const { proxy, able, other } = await one(t, { clock, limits: { idleTimeoutMs: 0 } });
    const parked = await parkAt(clock, able);
    await clock.run(200_000);
    await childWrites(other, { id: idAt(proxy), result: DONE });
    await inFlight(proxy, 0);
    await clock.run(100_000);
    refused(await able.post('tools/call', retryOf(parked, {}), { id: 2 }));
  });

  test('because its child died is child_exited for the retry, while the next child runs and while none can (P7, R-152)', async (t) => {
    for (const limits of [{ backoffFirstMs: 1 }, { backoffFirstMs: 60_000 }]) {
      const { proxy, able, other } = await one(t, { limits });
      const parked = await parkRaw(able);
      await other.call('die', {});
      await inFlight(proxy, 0);
      const { id, error } = (await able.post('tools/call', retryOf(parked, { 'elicitation-1': ACCEPT }), { id: 2 })).json();
      assert.deepEqual([id, error.code, error.data.reason], [2, -32603, 'child_exited']);
      await proxy.close();
    }
  });

  test('because its server is given up, or reconfigured, tells the retry so (R-156)', async (t) => {
    const { proxy, able } = await one(t);
    const parked = await parkRaw(able);
    await proxy.proxy.reload({ mcpServers: proxy.own({ x: node('server.mjs', '--name', 'other') }) });
    await until(() => proxy.spawned('x').length === 2, 'the next process');
    const { error } = (await able.post('tools/call', retryOf(parked, { 'elicitation-1': ACCEPT }), { id: 2 })).json();
    assert.deepEqual([error.code, error.data.reason], [-32603, 'reconfigured']);
    assert.equal((await told(proxy, 'q')).error.data.reason, 'no_client');
    await nothingLeft(proxy);
  });

  test('because the child asks for what the client cannot give is -32021 for the retry (R-59b)', async (t) => {
    const { proxy, other } = await one(t);
    const half = modernClient(t, proxy, 'x', { capabilities: { elicitation: {} } });
    const parked = await parkRaw(half);
    await other.call('askAfter', { method: 'roots/list', id: 'r' });
    assert.equal((await told(proxy, 'r')).error.code, -32601);
    const reply = await half.post('tools/call', retryOf(parked, { 'elicitation-1': ACCEPT }), { id: 2 });
    assert.deepEqual([reply.status, reply.json().error.code, reply.json().error.data], [400, -32021, { requiredCapabilities: { roots: {} } }]);
    assert.equal((await told(proxy, 'q')).error.data.reason, 'no_client');
  });
});

describe('a question', () => {
  test('that the child withdraws is not asked for again (R-36)', async (t) => {
    const { proxy, able, other } = await one(t);
    const parked = await parkRaw(able);
    const child = idAt(proxy);
    await childWrites(other, { method: 'notifications/cancelled', params: { requestId: 'q' } });
    const retry = able.post('tools/call', retryOf(parked, { 'elicitation-1': ACCEPT }), { id: 2 });
    await inFlight(proxy, 1);
    await childWrites(other, { id: child, result: DONE });
    assert.deepEqual((await retry).json().result.content, DONE.content);
    assert.equal(proxy.received('x').some((line) => JSON.parse(line).id === 'q'), false, 'nobody answered it');
    await nothingLeft(proxy);
  });

  test('that is withdrawn before it was passed on does not keep the next one back', async (t) => {
    const clock = fakeClock();
    const { proxy, able, other } = await one(t, { clock });
    const stream = await afterLines(able, question('q'), '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q"}}');
    await clock.run(20);
    await other.call('askAfter', { method: 'roots/list', id: 'r' });
    await proxy.flow(() => said(stream).length === 2, 'the question');
    assert.deepEqual(said(stream)[1].result.inputRequests, { 'roots-2': { method: 'roots/list' } });
  });

  test('whose child answers the call without waiting for it gets an answer all the same', async (t) => {
    const { proxy, able } = await one(t);
    const reply = await able.call('raw', { lines: [question('q')] });
    assert.equal(reply.json().result.resultType, 'complete');
    assert.equal((await told(proxy, 'q')).error.data.reason, 'no_client');
    await nothingLeft(proxy);
  });

  test('beyond so many parked calls is refused, and the call goes on (P8)', async (t) => {
    const { proxy, able, other } = await one(t, { limits: { maxParked: 2 } });
    const kept: Parked[] = [];
    for (const id of ['a', 'b']) {
      kept.push(await parkRaw(able, id));
      await childWrites(other, { id: idAt(proxy), result: DONE });
      await inFlight(proxy, 0);
    }
    const third = await able.tool('ask', { ...ELICIT, id: 'c' });
    assert.deepEqual([third.id, third.error.code, third.error.data.reason], ['c', -32603, 'no_client']);
    await able.post('tools/call', retryOf(kept[0]!, {}), { id: 2 });
    inputOf(await able.call('ask', { ...ELICIT, id: 'd' }), { name: 'ask', arguments: {} });
  });

  for (const [what, session] of [['two modern clients call', false], ['a modern client and a session call', true]] as const) {
    test(`while ${what} is nobody's: the child is refused, and nobody sees it (R-59a)`, async (t) => {
      const { proxy, able, other } = await one(t);
      const second = session ? await openSession(t, proxy, 'x', { capabilities: ABLE }) : undefined;
      const get = await second?.get();
      const holding = second === undefined ? able.stream('tools/call', { name: 'hold', arguments: { key: 'k' } }) : second.toolStream('hold', { key: 'k' });
      await until(() => heardByChild(proxy, 'tools/call').length === 2, 'the other call at the child');
      const { id, error } = await able.tool('ask', { ...ELICIT, id: 'q' });
      assert.deepEqual([id, error.code, error.data.reason], ['q', -32603, 'ambiguous_client']);
      await other.call('release', { key: 'k' });
      assert.equal(await endOf(await holding), 'end');
      assert.deepEqual(get === undefined ? [] : said(get), []);
      assert.ok(!(await holding).raw.toString().includes('elicitation'));
    });
  }

  for (const [method, reason] of [['elicitation/create', 'ambiguous_client'], ['sampling/createMessage', 'ambiguous_client'], ['roots/list', 'no_client']]) {
    test(`(${method}) while no modern client calls is nobody's, whoever has called before (R-59)`, async (t) => {
      const { proxy, able } = await one(t);
      await able.call('askAfter', { method, id: 'q' });
      assert.deepEqual([(await told(proxy, 'q')).error.code, (await told(proxy, 'q')).error.data.reason], [-32603, reason]);
    });
  }

  test('about a call whose client has left is refused: the caller is gone (R-58)', async (t) => {
    const { proxy, able, other } = await one(t);
    const leaver = await able.open('tools/call', { name: 'ask', arguments: { ...ELICIT, id: 'q', after: 'k', stubborn: true } });
    await until(() => heardByChild(proxy, 'tools/call').length === 2, 'the call at the child');
    leaver.abort();
    await inFlight(proxy, 0);
    await other.call('raw', { lines: ['{"jsonrpc":"2.0","id":$ID,"result":{}}', question('r')], quiet: true });
    assert.deepEqual((await told(proxy, 'r')).error.message, 'The caller is gone');
  });

  test('while a call is parked counts that one, too: another client is not asked in its place (P2)', async (t) => {
    const { proxy, able } = await one(t);
    const parked = await parkRaw(able);
    const { error } = await able.tool('ask', { ...ELICIT, id: 'second' });
    assert.equal(error.data.reason, 'ambiguous_client');
    assert.equal((await proxy.status())['x'].pendingRequests, 1);
    inputOf(await able.post('tools/call', retryOf(parked, {}), { id: 2 }), parked.call);
  });
});

describe('a URL that has to be visited first (-32042)', () => {
  const entry = { mode: 'url', elicitationId: 'e', url: 'https://a', message: 'm' };
  const fail = { code: -32042, message: 'visit it', data: { elicitations: [entry, { ...entry, url: 'https://b' }] } };
  const visit = (url: string): object => ({ method: 'elicitation/create', params: { mode: 'url', url, message: 'm' } });

  test('is input_required without a requestState; the call is made again, once all is accepted (C.2)', async (t) => {
    const { proxy, able } = await one(t);
    const call = { name: 'fail', arguments: fail };
    const reply = await able.post('tools/call', call, { id: 'first' });
    assert.deepEqual([reply.status, reply.json().id], [200, 'first']);
    assert.deepEqual(reply.json().result, { resultType: 'input_required', inputRequests: { 'elicitation-1': visit('https://a'), 'elicitation-2': visit('https://b') }, _meta: SERVER_INFO });
    await nothingLeft(proxy);

    const calls = heardByChild(proxy, 'tools/call').length;
    const declined = { 'elicitation-1': { action: 'accept' }, 'elicitation-2': { action: 'decline' } };
    const { id, error } = (await able.post('tools/call', { ...call, inputResponses: declined }, { id: 2 })).json();
    assert.deepEqual([id, error.code, error.data.reason], [2, -32603, 'declined']);
    assert.equal(heardByChild(proxy, 'tools/call').length, calls);

    const accepted = { 'elicitation-1': { action: 'accept' }, 'elicitation-2': { action: 'accept' } };
    const again = await able.post('tools/call', { ...call, inputResponses: accepted }, { id: 3 });
    assert.equal(again.json().result.resultType, 'input_required', 'the child says the same again');
    assert.deepEqual(heardByChild(proxy, 'tools/call').at(-1).params, call);
  });

  test('is -32021 for a client that opens none', async (t) => {
    const { proxy } = await one(t);
    const reply = await modernClient(t, proxy, 'x', { capabilities: { elicitation: { form: {} } } }).call('fail', fail);
    assert.deepEqual([reply.status, reply.json().error.code, reply.json().error.data], [400, -32021, { requiredCapabilities: { elicitation: { url: {} } } }]);
  });
});
