// A legacy client in front of a modern server (C.3, C.4): whole conversations, and what the server hears of them.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { IMPLEMENTATION } from '../../src/proxy.ts';
import { fakeClock } from '../support/clock.ts';
import { connectEra, FRONTS, type EraClient } from '../support/eras.ts';
import { tempDir, until } from '../support/files.ts';
import { post, type SseStream } from '../support/http.ts';
import { key, modernRequest, VERSION } from '../support/modern.ts';
import { errorOf, nextMessage, node, startProxy, type ProxySetup, type Servers, type TestProxy } from '../support/proxy.ts';
import { BOTH, childHas, heardByChild, hears, inFlight, initialize, openSession, REVISIONS, said, type TestSession } from '../support/session.ts';
import { nested } from '../wire/nasty.ts';

const EVERYTHING = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} };

/** A modern server `x`. Questions that a test leaves open do not keep its end waiting. */
function modern(t: TestContext, setup: ProxySetup = {}, ...flags: string[]): Promise<TestProxy> {
  return startProxy(t, { x: node('server.mjs', '--modern', ...flags) }, { ...setup, limits: { drainShutdownMs: 50, ...setup.limits } });
}

const methodsOf = (proxy: TestProxy): string[] => proxy.received('x').map((line) => JSON.parse(line).method);

describe('initialize', () => {
  for (const [asked, given] of [...REVISIONS.map((version) => [version, version]), ['2024-11-05', '2024-11-05'], ['1999-01-01', '2025-11-25']] as const) {
    test(`with ${asked} is answered from server/discover, as ${given}; the server hears nothing of it (T-97)`, async (t) => {
      const proxy = await modern(t, {}, '--instructions', 'do it', '--name', 'żółw');
      const reply = await post(proxy.url('/x/mcp'), initialize(asked, EVERYTHING), { Accept: BOTH });
      assert.deepEqual(reply.json().result, {
        protocolVersion: given,
        capabilities: { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true }, prompts: { listChanged: true }, completions: {}, logging: {} },
        serverInfo: { name: 'żółw', version: '1.0.0' },
        instructions: 'do it',
      });
      const headers = { 'Mcp-Session-Id': String(reply.headers['mcp-session-id']) };
      assert.equal((await post(proxy.url('/x/mcp'), { jsonrpc: '2.0', method: 'notifications/initialized' }, headers)).status, 202);
      assert.deepEqual((await post(proxy.url('/x/mcp'), { jsonrpc: '2.0', id: 2, method: 'ping' }, headers)).json().result, {});
      await childHas(proxy, 'subscriptions/listen');
      assert.deepEqual(methodsOf(proxy), ['server/discover', 'subscriptions/listen']);
    });
  }

  test('of a simple client is answered the same way, without a session; and what only a legacy server knows is unknown', async (t) => {
    const proxy = await modern(t);
    const { result } = (await proxy.call('x', 'initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'c', version: '1' } }, { path: 'message' })).json();
    assert.deepEqual([result.protocolVersion, result.serverInfo.name], ['2025-06-18', 'fixture']);
    for (const method of ['tasks/list', 'tasks/get']) assert.deepEqual(errorOf(await proxy.call('x', method, { taskId: 't' })), [200, 1, -32601, 'method_not_found']);
    assert.deepEqual(methodsOf(proxy), ['server/discover']);
  });

  test('does not show tasks, which no legacy client could use', async (t) => {
    const capabilities = { tools: {}, tasks: { list: {} }, extensions: { 'io.modelcontextprotocol/tasks': {}, 'vendor/x': { a: 1 } } };
    const proxy = await modern(t, {}, '--capabilities', JSON.stringify(capabilities));
    const reply = await post(proxy.url('/x/mcp'), initialize('2025-11-25'), { Accept: BOTH });
    assert.deepEqual(reply.json().result.capabilities, { tools: {}, extensions: { 'vendor/x': { a: 1 } } });
  });
});

for (const front of FRONTS.filter((each) => each !== 'stateless')) {
  test(`subscriptions/listen of a client that speaks ${front} is unknown at once, as it could not hear of what it asks for`, async (t) => {
    const proxy = await modern(t);
    const client = await connectEra(t, proxy, front);
    const { error } = await client.request('subscriptions/listen', { notifications: { toolsListChanged: true } }).answer();
    assert.deepEqual([error.code, error.data.reason], [-32601, 'method_not_found']);
    await client.tool('echo');
    const listens = proxy.received('x').map((line) => JSON.parse(line)).filter(({ method }) => method === 'subscriptions/listen');
    assert.deepEqual(listens.map(({ params }) => params._meta[key('clientInfo')].name), [IMPLEMENTATION.name], 'the one of the proxy');
  });
}

describe('every request carries the envelope of 2026-07-28 (R-25)', () => {
  const REQUESTS: readonly (readonly [method: string, params?: object])[] = [
    ['tools/list'],
    ['tools/list', {}],
    ['tools/call', { name: 'echo', arguments: { _meta: { [key('protocolVersion')]: 'not mine' } } }],
    ['prompts/get', { name: 'plain' }],
    ['resources/read', { uri: 'test://note' }],
    ['completion/complete', { ref: { type: 'ref/prompt', name: 'plain' }, argument: { name: 'x', value: 'p' } }],
    ['vendor/method', { a: 1 }],
  ];

  test('of a session whose client declares more levels than can be written, as if it had declared nothing', async (t) => {
    const proxy = await modern(t);
    const deep = nested(100_000, '[', ']');
    const text = JSON.stringify(initialize('2025-06-18', { sampling: {} })).replace('"test"', deep);
    const reply = await post(proxy.url('/x/mcp'), text, { Accept: BOTH });
    const list = { jsonrpc: '2.0', id: 2, method: 'tools/list' };
    const answer = await post(proxy.url('/x/mcp'), list, { 'Mcp-Session-Id': String(reply.headers['mcp-session-id']), Accept: BOTH });
    assert.equal(answer.status, 200);
    assert.ok(answer.json().result.tools.length > 0);
  });

  test('of a session: who its client is, and what it can', async (t) => {
    const proxy = await modern(t);
    const declared = { roots: { listChanged: true }, sampling: { tools: {} }, elicitation: {}, tasks: { list: {} }, extensions: { 'io.modelcontextprotocol/tasks': {}, 'vendor/x': {} }, experimental: { y: {} } };
    const session = await openSession(t, proxy, 'x', { capabilities: declared });
    for (const [method, params] of REQUESTS) await session.call(method, params);
    const heard = proxy.received('x').map((line) => JSON.parse(line)).filter(({ method }) => REQUESTS.some(([name]) => name === method));
    assert.deepEqual(heard.map(({ method, params: { _meta: _, ...rest } }) => [method, rest]), REQUESTS.map(([method, params = {}]) => [method, params]));
    for (const { params } of heard) {
      assert.deepEqual(params._meta, {
        [key('protocolVersion')]: VERSION,
        [key('clientInfo')]: { name: 'test', version: '1' },
        [key('clientCapabilities')]: { roots: {}, sampling: { tools: {} }, elicitation: {}, extensions: { 'vendor/x': {} }, experimental: { y: {} } },
      });
    }
  });

  test('of a simple client: the proxy, and nothing that it can', async (t) => {
    const proxy = await modern(t);
    for (const [method, params] of REQUESTS) await proxy.call('x', method, params);
    const [probe, ...heard] = proxy.received('x').map((line) => JSON.parse(line).params._meta);
    assert.equal(heard.length, REQUESTS.length);
    for (const meta of heard) assert.deepEqual(meta, probe);
    assert.deepEqual(probe, { [key('protocolVersion')]: VERSION, [key('clientInfo')]: IMPLEMENTATION, [key('clientCapabilities')]: {} });
  });

  test('beside what the client had there itself; a claim of its own is overwritten, an odd _meta replaced', async (t) => {
    const proxy = await modern(t);
    const session = await openSession(t, proxy);
    const own = { traceparent: '00-a-b-01', tracestate: 'x=1', baggage: 'ż=1', 'vendor/x': { deep: [1] }, progressToken: 'mine' };
    const claims = { [key('protocolVersion')]: '2025-06-18', [key('clientInfo')]: { name: 'liar', version: '1' }, [key('clientCapabilities')]: { sampling: {} }, [key('logLevel')]: 'debug' };
    await session.call('tools/call', { name: 'echo', _meta: { ...own, ...claims } });
    for (const _meta of [null, 7, [], 'text']) await session.call('tools/call', { name: 'echo', _meta });
    const [first, ...others] = heardByChild(proxy, 'tools/call');
    const mine = modernRequest('tools/call').message.params._meta;
    assert.deepEqual(first.params._meta, { ...own, progressToken: first.id, ...mine });
    assert.equal(others.length, 4);
    for (const { params } of others) assert.deepEqual(params._meta, mine);
  });

  test('and what a legacy server gets has none of it (R-26)', async (t) => {
    const proxy = await startProxy(t, { x: node('server.mjs') });
    const session = await openSession(t, proxy);
    const claims = { [key('protocolVersion')]: '2025-06-18', [key('clientInfo')]: {}, [key('clientCapabilities')]: {}, [key('logLevel')]: 'debug' };
    await session.call('tools/call', { name: 'echo', inputResponses: {}, requestState: 's', _meta: { ...claims, 'vendor/x': 1 } });
    await session.call('tools/call', { name: 'echo', _meta: claims });
    assert.deepEqual(heardByChild(proxy, 'tools/call').map(({ params }) => params), [{ name: 'echo', _meta: { 'vendor/x': 1 } }, { name: 'echo' }]);
  });
});

describe('results have the shape of the client’s revision', () => {
  const clients = [
    ['a session', async (t: TestContext, proxy: TestProxy) => {
      const session = await openSession(t, proxy);
      return async (method: string, params?: object): Promise<any> => (await session.call(method, params)).json();
    }],
    ['a simple client', async (_: TestContext, proxy: TestProxy) => async (method: string, params?: object): Promise<any> => (await proxy.call('x', method, params)).json()],
  ] as const; // prettier-ignore

  for (const [who, connect] of clients) {
    test(`${who}: lists and resources without what only 2026-07-28 has (T-98, T-103)`, async (t) => {
      const proxy = await modern(t);
      const ask = await connect(t, proxy);
      for (const [method, params, members] of [
        ['tools/list', {}, ['tools']],
        ['prompts/list', {}, ['prompts']],
        ['resources/list', {}, ['resources']],
        ['resources/templates/list', {}, ['resourceTemplates']],
        ['resources/read', { uri: 'test://note' }, ['contents']],
        ['prompts/get', { name: 'plain' }, ['messages']],
        ['tools/call', { name: 'echo' }, ['content', 'structuredContent']],
      ] as const) {
        const { result } = await ask(method, params);
        assert.deepEqual(Object.keys(result).sort(), [...members].sort(), method);
      }
    });

    test(`${who}: tools whose schemas it would refuse have others, and the rest of the list is as it was`, async (t) => {
      const proxy = await modern(t);
      const { result } = await (await connect(t, proxy))('tools/list');
      const odd = result.tools.find(({ name }: any) => name === 'odd');
      assert.deepEqual(odd.inputSchema, { type: 'object', properties: { value: {}, nothing: { not: {} } } });
      assert.equal('outputSchema' in odd, false);
      assert.ok(result.tools.some(({ name }: any) => name === 'headers'));
    });

    test(`${who}: structured content that is no object becomes text`, async (t) => {
      const ask = await connect(t, await modern(t));
      for (const value of [[1, 'ż'], 'text 🦊', 7, true, null]) {
        const { result } = await ask('tools/call', { name: 'odd', arguments: { value } });
        assert.deepEqual(result, { content: [{ type: 'text', text: JSON.stringify(value) }] });
      }
      assert.deepEqual((await ask('tools/call', { name: 'odd', arguments: { value: { a: 1 } } })).result, { content: [], structuredContent: { a: 1 } });
    });

    test(`${who}: a result of a kind that it cannot know is an error, and so is one that only a modern client could mend`, async (t) => {
      const ask = await connect(t, await modern(t));
      const odd = await ask('tools/call', { name: 'raw', arguments: { lines: ['{"jsonrpc":"2.0","id":$ID,"result":{"resultType":"task","taskId":"t"}}'], quiet: true } });
      assert.deepEqual([odd.error.code, odd.error.data.source], [-32603, 'mcp-proxy']);
      for (const code of [-32020, -32021, -32022]) {
        const { error } = await ask('tools/call', { name: 'fail', arguments: { code, message: 'no', data: { a: 1 } } });
        assert.deepEqual([error.code, error.data.originalError], [-32603, { code, message: 'no', data: { a: 1 } }]);
      }
      assert.deepEqual((await ask('tools/call', { name: 'fail', arguments: { code: -32042, message: 'own' } })).error, { code: -32042, message: 'own' });
    });
  }

  test('a simple client gets to see that input is required, as the server says it, and may call again with it (R-147)', async (t) => {
    const proxy = await modern(t);
    const call = (id: number, params: object): Promise<any> => proxy.call('x', 'tools/call', { name: 'asks', arguments: { rounds: [{}] }, ...params }, { id }).then((reply) => reply.json());
    const { result } = await call(1, {});
    assert.deepEqual([result.resultType, typeof result.requestState], ['input_required', 'string']);
    assert.deepEqual((await call(2, { requestState: result.requestState })).result.structuredContent, { answers: {} });
  });
});

describe('log levels', () => {
  const levelsHeard = (proxy: TestProxy): unknown[] => heardByChild(proxy, 'tools/call').map(({ params }) => params._meta[key('logLevel')]);
  const isLog = ({ method }: any): boolean => method === 'notifications/message';
  const lines = (stream: SseStream): string[] => said(stream).filter(isLog).map(({ params }) => params.data);

  test('what a session sets goes along with each of its later requests, and with nobody else’s (T-102)', async (t) => {
    const proxy = await modern(t);
    const [session, other] = [await openSession(t, proxy), await openSession(t, proxy)];
    await session.tool('echo');
    assert.deepEqual((await session.call('logging/setLevel', { level: 'notice' })).json().result, {});
    await session.tool('echo');
    await other.tool('echo');
    assert.deepEqual((await session.call('logging/setLevel', { level: 'debug' })).json().result, {});
    await session.tool('echo');
    assert.deepEqual(levelsHeard(proxy), [undefined, 'notice', undefined, 'debug']);
    assert.deepEqual(heardByChild(proxy, 'logging/setLevel'), []);
  });

  test('simple clients share one', async (t) => {
    const proxy = await modern(t);
    const session = await openSession(t, proxy);
    assert.deepEqual((await proxy.call('x', 'logging/setLevel', { level: 'info' })).json().result, {});
    await proxy.tool('x', 'echo');
    await session.tool('echo');
    assert.deepEqual(levelsHeard(proxy), ['info', undefined]);
  });

  test('one that is none is refused, and all are where the server has no logging (R-45)', async (t) => {
    const proxy = await startProxy(t, { x: node('server.mjs', '--modern'), y: node('server.mjs', '--modern', '--no-logging') });
    for (const [server, level, refusal] of [['x', 'loud', [-32602, 'invalid_params']], ['y', 'info', [-32601, 'method_not_found']]] as const) {
      const session = await openSession(t, proxy, server);
      for (const reply of [await session.call('logging/setLevel', { level }), await proxy.call(server, 'logging/setLevel', { level })]) {
        assert.deepEqual(errorOf(reply), [200, 1, ...refusal]);
      }
      await session.tool('echo');
    }
    assert.deepEqual(levelsHeard(proxy), [undefined]);
  });

  test('a line goes to the stream of the one call that it can be about, from its level on (R-49)', async (t) => {
    const proxy = await modern(t);
    const [session, silent] = [await openSession(t, proxy), await openSession(t, proxy)];
    await session.call('logging/setLevel', { level: 'info' });
    const [get, otherGet] = [await session.get(), await silent.get()];
    const held = silent.tool('hold', { key: 'silent' });
    await inFlight(proxy, 1);
    const call = await session.toolStream('log', { level: 'error', text: 'mine', delayMs: 20 });
    await call.ended;
    assert.deepEqual(lines(call), ['mine']);
    assert.equal(lines(await streamOf(session, 'log', { level: 'debug', text: 'too quiet', delayMs: 20 })).length, 0);
    await session.tool('release', { key: 'silent' });
    await held;
    assert.deepEqual([lines(get), lines(otherGet)], [[], []]);
  });

  test('a line that can be about either of two calls goes to neither', async (t) => {
    const proxy = await modern(t);
    const [a, b] = [await openSession(t, proxy), await openSession(t, proxy)];
    for (const session of [a, b]) await session.call('logging/setLevel', { level: 'debug' });
    const held = a.tool('hold', { key: 'a' });
    await inFlight(proxy, 1);
    assert.deepEqual(lines(await streamOf(b, 'log', { level: 'error', text: 'whose?', delayMs: 20 })), []);
    await b.tool('release', { key: 'a' });
    await held;
    assert.deepEqual(lines(await streamOf(b, 'log', { level: 'error', text: 'mine', delayMs: 20 })), ['mine']);
  });

  for (const [how, change] of [
    ['its session wants fewer lines by then', (a: TestSession) => a.call('logging/setLevel', { level: 'emergency' })],
    ['its session has ended', (a: TestSession) => a.delete()],
  ] as const) {
    test(`a call counts as what it was sent with, when ${how}: its lines go to nobody else`, async (t) => {
      const proxy = await modern(t);
      const [a, b] = [await openSession(t, proxy), await openSession(t, proxy)];
      for (const session of [a, b]) await session.call('logging/setLevel', { level: 'debug' });
      void a.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'hold', arguments: { key: 'a', stubborn: true } } });
      await childHas(proxy, 'tools/call');
      await change(a);
      assert.deepEqual(lines(await streamOf(b, 'log', { level: 'info', text: 'whose?', delayMs: 20 })), []);
      await b.tool('release', { key: 'a' });
      assert.deepEqual(lines(await streamOf(b, 'log', { level: 'info', text: 'mine', delayMs: 20 })), ['mine']);
    });
  }

  async function streamOf(session: TestSession, name: string, args: object): Promise<SseStream> {
    const stream = await session.toolStream(name, args);
    await stream.ended;
    return stream;
  }
});

describe('resources that are watched', () => {
  const listens = (proxy: TestProxy): any[] => heardByChild(proxy, 'subscriptions/listen').filter(({ params }) => params.notifications.resourceSubscriptions !== undefined);
  const cancelled = (proxy: TestProxy): unknown[] => heardByChild(proxy, 'notifications/cancelled').map(({ params }) => params.requestId);
  const watching = (proxy: TestProxy, count: number): Promise<any[]> => until(() => (listens(proxy).length >= count ? listens(proxy) : undefined), `${count} listens for resources`);
  const NOTE = { uri: 'test://note' };

  test('are one listen at the server for all their holders, and its end when the last one lets go (T-101)', async (t) => {
    const proxy = await modern(t);
    const [a, b] = [await openSession(t, proxy), await openSession(t, proxy)];
    const [atA, atB] = [await a.get(), await b.get()];
    for (const session of [a, b, a]) assert.deepEqual((await session.call('resources/subscribe', NOTE)).json().result, {});
    const [listen, ...others] = listens(proxy);
    assert.deepEqual([listen.params.notifications, others], [{ resourceSubscriptions: ['test://note'] }, []]);
    assert.deepEqual(listen.params._meta, JSON.parse(proxy.received('x')[0]!).params._meta);

    const update = { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://note' } };
    await a.tool('updated', NOTE);
    for (const stream of [atA, atB]) assert.deepEqual(untagged(await hears(stream)), update);
    assert.deepEqual((await a.call('resources/unsubscribe', NOTE)).json().result, {});
    assert.deepEqual((await a.call('resources/unsubscribe', NOTE)).json().result, {});
    await a.tool('updated', NOTE);
    assert.deepEqual(untagged(await hears(atB)), update);
    assert.deepEqual([said(atA).length, cancelled(proxy)], [1, []]);
    assert.deepEqual((await b.call('resources/unsubscribe', NOTE)).json().result, {});
    await childHas(proxy, 'notifications/cancelled');
    assert.deepEqual(cancelled(proxy), [listen.id]);
    for (const method of ['resources/subscribe', 'resources/unsubscribe']) assert.deepEqual(heardByChild(proxy, method), []);
  });

  test('are let go with the last session that held them', async (t) => {
    const proxy = await modern(t);
    const [a, b] = [await openSession(t, proxy), await openSession(t, proxy)];
    await Promise.all([a, b].map((session) => session.call('resources/subscribe', NOTE)));
    assert.equal(listens(proxy).length, 1);
    await a.delete();
    await b.tool('echo');
    assert.deepEqual(cancelled(proxy), []);
    await b.delete();
    await until(() => cancelled(proxy).includes(listens(proxy)[0].id), 'the end of the listen');
  });

  test('of simple clients are held by all of them, and each of their streams hears it', async (t) => {
    const proxy = await modern(t);
    const stream = await proxy.listen('x');
    assert.deepEqual((await proxy.call('x', 'resources/subscribe', NOTE)).json().result, {});
    await proxy.tool('x', 'updated', NOTE);
    assert.deepEqual(untagged(await nextMessage(stream)).params, NOTE);
    assert.deepEqual((await proxy.call('x', 'resources/unsubscribe', NOTE)).json().result, {});
    await until(() => cancelled(proxy).includes(listens(proxy)[0].id), 'the end of the listen');
  });

  test('that the server does not take are refused, and nothing of them stays (C.3)', async (t) => {
    const proxy = await modern(t);
    const session = await openSession(t, proxy);
    for (const turn of [1, 2]) {
      assert.deepEqual(errorOf(await session.call('resources/subscribe', { uri: 'other://x' })), [200, 1, -32603, 'bad_answer']);
      await until(() => cancelled(proxy).length === turn, 'the end of the listen');
    }
  });

  test('are refused where the server says nothing for ten seconds, or an error', async (t) => {
    const clock = fakeClock();
    const proxy = await startProxy(t, { x: node('listens.mjs', 'silent'), y: node('listens.mjs', 'error') }, { clock });
    const [x, y] = [await openSession(t, proxy, 'x', { accept: 'application/json' }), await openSession(t, proxy, 'y')];
    assert.deepEqual(errorOf(await y.call('resources/subscribe', NOTE)), [200, 1, -32603, 'bad_answer']);
    let refused: unknown;
    void x.call('resources/subscribe', NOTE).then((reply) => (refused = errorOf(reply)));
    const [{ id }] = await watching(proxy, 1);
    await clock.run(9_999);
    assert.deepEqual([refused, cancelled(proxy).includes(id)], [undefined, false]);
    await clock.run(1);
    assert.deepEqual(await until(() => refused, 'the refusal'), [200, 1, -32603, 'timeout']);
    await until(() => cancelled(proxy).includes(id), 'the end of the listen');
  });

  for (const how of ['result', 'cancelled']) {
    test(`are listened to again when the server ends it with ${how === 'result' ? 'a result' : 'notifications/cancelled'}`, async (t) => {
      const clock = fakeClock();
      const proxy = await modern(t, { clock });
      const session = await openSession(t, proxy);
      const get = await session.get();
      await session.call('resources/subscribe', NOTE);
      await session.tool('hangUp', { how });
      await clock.run(999);
      assert.equal(listens(proxy).length, 1);
      await clock.run(1);
      const [first, again] = await watching(proxy, 2);
      assert.deepEqual(again.params, first.params);
      await session.tool('updated', NOTE);
      assert.deepEqual(untagged(await hears(get)).params, NOTE);
      await session.call('resources/unsubscribe', NOTE);
      await until(() => cancelled(proxy).includes(again.id), 'the end of the listen');
    });
  }

  test('that nobody holds any more are not listened to again', async (t) => {
    const clock = fakeClock();
    const proxy = await modern(t, { clock });
    const session = await openSession(t, proxy);
    await session.call('resources/subscribe', NOTE);
    await session.tool('hangUp', {});
    await session.call('resources/unsubscribe', NOTE);
    await clock.run(60_000);
    await session.tool('echo');
    assert.equal(listens(proxy).length, 1);
  });

  test('are asked for again of the next process, and are held even when that one is lost before it answers (R-154)', async (t) => {
    const proxy = await startProxy(t, { x: node('listens.mjs', 'dies') }, { limits: { backoffFirstMs: 20 } });
    const session = await openSession(t, proxy);
    const get = await session.get();
    assert.deepEqual((await session.call('resources/subscribe', NOTE)).json().result, {});
    await session.call('tools/call', { name: 'die' });
    await watching(proxy, 3); // the second process dies of it
    await session.call('resources/subscribe', { uri: 'test://other' }); // answered by the third
    await session.tool('updated', NOTE);
    await get.next((item) => 'event' in item && item.data.includes('/updated'));
    assert.equal(listens(proxy).filter(({ params }) => params.notifications.resourceSubscriptions[0] === NOTE.uri).length, 3);
  });

  test('a subscribe that waits for the server when its process is lost gets the reason of all calls', async (t) => {
    const proxy = await startProxy(t, { x: node('listens.mjs', 'silent') }, { limits: { backoffFirstMs: 20 } });
    const session = await openSession(t, proxy);
    const waiting = session.call('resources/subscribe', NOTE);
    await watching(proxy, 1);
    await session.call('tools/call', { name: 'die' });
    assert.deepEqual(errorOf(await waiting), [200, 1, -32603, 'child_exited']);
  });
});

describe('changes of the lists', () => {
  const houses = (proxy: TestProxy): any[] => heardByChild(proxy, 'subscriptions/listen');
  const cancelled = (proxy: TestProxy): unknown[] => heardByChild(proxy, 'notifications/cancelled').map(({ params }) => params.requestId);
  const ALL = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };

  test('are listened to once, from the first legacy client on until the last has gone', async (t) => {
    const proxy = await modern(t);
    await proxy.tool('x', 'echo');
    assert.deepEqual(houses(proxy), []);
    const session = await openSession(t, proxy);
    const [stream, httpSse] = [await proxy.listen('x'), await connectEra(t, proxy, 'HTTP+SSE')];
    const get = await session.get();
    const [house] = await childHas(proxy, 'subscriptions/listen');
    assert.deepEqual(house.params.notifications, ALL);
    await session.tool('changed', { what: 'tools' });
    const change = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' };
    for (const told of [await hears(get), await nextMessage(stream)]) assert.deepEqual(untagged(told), change);
    await until(() => httpSse.heard.length === 1, 'the change at every client');
    await httpSse.leave();
    await stream.close();
    await proxy.tool('x', 'echo');
    assert.deepEqual([houses(proxy).length, cancelled(proxy)], [1, []]);
    await session.delete();
    await until(() => cancelled(proxy).length === 1, 'the end of the listen');
    assert.deepEqual(cancelled(proxy), [house.id]);
    await proxy.listen('x');
    await childHas(proxy, 'subscriptions/listen', 2);
  });

  test('are asked for as far as the server declares them, and not at all where it declares none', async (t) => {
    const some = JSON.stringify({ tools: { listChanged: true }, prompts: {}, resources: { listChanged: false } });
    const proxy = await startProxy(t, { x: node('server.mjs', '--modern', '--capabilities', some), y: node('server.mjs', '--modern', '--capabilities', '{"tools":{}}') });
    for (const server of ['x', 'y']) await (await openSession(t, proxy, server)).tool('echo');
    assert.deepEqual((await childHas(proxy, 'subscriptions/listen')).map(({ params }) => params.notifications), [{ toolsListChanged: true }]);
    assert.deepEqual(heardByChild(proxy, 'subscriptions/listen', 'y'), []);
  });

  test('are not for modern clients, who listen themselves', async (t) => {
    const proxy = await modern(t);
    const client = await connectEra(t, proxy, 'stateless');
    await client.watch();
    await client.request('tools/list').answer();
    assert.equal(houses(proxy).length, 1);
    const session = await openSession(t, proxy);
    await childHas(proxy, 'subscriptions/listen', 2);
    const get = await session.get();
    await session.tool('changed', { what: 'prompts' });
    await hears(get);
    await session.tool('echo');
    assert.equal(said(get).length, 1);
    assert.deepEqual(client.heard.map(({ method }) => method), ['notifications/subscriptions/acknowledged', 'notifications/prompts/list_changed']);
  });

  for (const flags of [[], ['--modern']]) {
    test(`make the proxy read again which arguments of a ${flags.length === 0 ? 'legacy' : 'modern'} server’s tools are in headers (R-103)`, async (t) => {
      const proxy = await startProxy(t, { x: node('server.mjs', ...flags) });
      const client = await connectEra(t, proxy, 'stateless');
      await client.tool('echo');
      await client.tool('echo');
      assert.equal(heardByChild(proxy, 'tools/list').length, 1);
      if (flags.length > 0) assert.deepEqual((await childHas(proxy, 'subscriptions/listen')).map(({ params }) => params.notifications), [ALL]);
      await client.tool('changed', { what: 'prompts' });
      await client.tool('echo');
      assert.equal(heardByChild(proxy, 'tools/list').length, 1);
      await client.tool('changed', { what: 'tools' });
      await client.tool('echo');
      assert.equal(heardByChild(proxy, 'tools/list').length, 2);
    });
  }

  test('are listened to again when the server hangs up, later each time', async (t) => {
    const clock = fakeClock();
    const proxy = await startProxy(t, { x: node('listens.mjs', 'hangs-up') }, { clock });
    await proxy.listen('x');
    for (const [count, ms] of [[2, 1_000], [3, 2_000], [4, 4_000], [5, 8_000], [6, 16_000], [7, 30_000], [8, 30_000]] as const) {
      await childHas(proxy, 'subscriptions/listen', count - 1);
      await proxy.tool('x', 'echo'); // its end has arrived
      await clock.run(ms - 1);
      assert.equal(houses(proxy).length, count - 1);
      await clock.run(1);
    }
    await childHas(proxy, 'subscriptions/listen', 8);
  });
});

describe('a modern server with a process for each session (R-17)', () => {
  const isolated = (...args: string[]): Servers => ({ x: { ...node('server.mjs', ...args), isolation: 'session' } });

  test('has one process, because it knows no sessions, and says so once', async (t) => {
    const proxy = await startProxy(t, isolated('--modern'));
    await proxy.becomes('x', 'running');
    const sessions = await Promise.all([1, 2, 3].map(() => openSession(t, proxy, 'x', { capabilities: EVERYTHING })));
    const httpSse = await connectEra(t, proxy, 'HTTP+SSE');
    const pids = await Promise.all([...sessions, httpSse].map(async (client) => (await client.tool('pid')).pid));
    assert.deepEqual(pids, Array(4).fill(proxy.spawned('x')[0]));
    assert.deepEqual([proxy.spawned('x').length, (await proxy.status())['x'].sessions], [1, undefined]);
    assert.deepEqual(proxy.logged('isolation', 'warn').map(({ server }) => server), ['x']);
    await sessions[0]!.delete();
    assert.equal((await sessions[1]!.tool('pid')).pid, pids[0]);
  });

  test('is known to be modern by its entry, too, before it runs', async (t) => {
    const proxy = await startProxy(t, { x: { ...isolated('--modern-only').x!, protocol: 'modern' } });
    await openSession(t, proxy);
    assert.equal(proxy.spawned('x').length, 1);
  });

  test('and one that says so only after the session is a process of its own all the same', async (t) => {
    const gate = join(tempDir(t), 'gate');
    const proxy = await startProxy(t, isolated('--modern', '--start-when', gate));
    const opening = openSession(t, proxy, 'x', { capabilities: { roots: { listChanged: true } } });
    await until(() => proxy.spawned('x').length === 2, 'the process of the session');
    writeFileSync(gate, '');
    const session = await opening;
    assert.equal((await session.tool('pid')).pid, proxy.spawned('x')[1]);
    for (const method of ['notifications/roots/list_changed', 'notifications/tasks/status']) await session.notify(method, {});
    await session.tool('echo');
    for (const method of ['notifications/roots/list_changed', 'notifications/tasks/status', 'initialize']) assert.deepEqual(heardByChild(proxy, method), []);
  });

  test('that becomes a legacy one ends the sessions that shared its process', async (t) => {
    const proxy = await startProxy(t, isolated('--modern'));
    await proxy.becomes('x', 'running');
    const [session, httpSse] = [await openSession(t, proxy), await connectEra(t, proxy, 'HTTP+SSE')];
    await session.tool('echo');
    await httpSse.tool('echo');
    await proxy.configure(isolated());
    await until(async () => (await session.call('tools/list')).status === 404, 'the end of the session');
    await assert.rejects(httpSse.tool('echo'));
    const [a, b] = [await openSession(t, proxy), await openSession(t, proxy)];
    assert.notEqual((await a.tool('pid')).pid, (await b.tool('pid')).pid);
  });
});

describe('a server that becomes one of the other era', () => {
  const KINDS = ['legacy', 'modern'] as const;
  const entry = (kind: (typeof KINDS)[number], ...args: string[]): Servers => ({ x: node('server.mjs', ...(kind === 'modern' ? ['--modern-only'] : []), ...args) });
  const isUpdate = ({ method }: any): boolean => method === 'notifications/resources/updated';

  for (const [from, to] of [KINDS, [...KINDS].reverse()] as const) {
    test(`from ${from} to ${to} keeps every session, stream and listen, with its level and its resources (R-154 to R-156)`, async (t) => {
      const proxy = await startProxy(t, entry(from));
      const clients = await Promise.all(FRONTS.map((front) => connectEra(t, proxy, front)));
      for (const client of clients) {
        await client.setLevel(client.front === 'Streamable HTTP' ? 'debug' : 'warning');
        await client.watch('test://note');
      }
      const [, , session] = clients as [EraClient, EraClient, EraClient];
      const draining = session.tool('sleep', { ms: 100 });
      await inFlight(proxy, 1);
      const before = clients.map(({ heard }) => heard.length);
      const old = proxy.received('x').length;
      assert.deepEqual((await proxy.configure(entry(to))).json().restarted, ['x']);
      const next = session.tool('echo', { after: true });
      assert.equal((await draining).content[0].text, 'done');
      assert.deepEqual(await next, { after: true });

      const news = (k: number): any[] => (clients[k] as EraClient).heard.slice(before[k]);
      for (const [k, { front }] of clients.entries()) {
        await until(() => news(k).length === 3, () => `three changes at ${front}, not ${JSON.stringify(news(k))}`);
        assert.deepEqual(news(k).map(({ method }) => method).sort(), ['prompts', 'resources', 'tools'].map((what) => `notifications/${what}/list_changed`));
      }
      const heard = proxy.received('x').slice(old).map((line) => JSON.parse(line));
      const about = (method: string): any[] => heard.filter((message) => message.method === method);
      if (to === 'modern') {
        assert.deepEqual(about('subscriptions/listen').map(({ params }) => Object.keys(params.notifications).length).sort(), [1, 3, 4]);
        for (const method of ['initialize', 'logging/setLevel', 'resources/subscribe']) assert.deepEqual(about(method), []);
        assert.equal(about('tools/call').find(({ params }) => params.name === 'echo').params._meta[key('logLevel')], 'debug');
      } else {
        assert.deepEqual(about('resources/subscribe').map(({ params }) => params), [{ uri: 'test://note' }]);
        assert.deepEqual(about('logging/setLevel').map(({ params }) => params.level).at(-1), 'debug');
        assert.deepEqual(about('subscriptions/listen'), []);
      }
      await session.tool('updated', { uri: 'test://note' });
      await session.tool('changed', { what: 'tools' });
      for (const [k, { front }] of clients.entries()) {
        await until(() => news(k).length >= 5, `an update and a change at ${front}`);
        assert.deepEqual(news(k).slice(3).map(isUpdate).sort(), [false, true], front);
      }
      await session.tool('log', { level: 'debug', text: 'fine', delayMs: 20 });
      assert.deepEqual(clients.map(({ heard }) => heard.some(({ method }) => method === 'notifications/message')), [false, false, true, false]);
      assert.deepEqual(clients.map(({ heard }, k) => heard.length - (before[k] as number)), [5, 5, 6, 5]);
    });
  }

  test('tells of every list that the old or the new one has (R-155)', async (t) => {
    const proxy = await startProxy(t, entry('legacy', '--capabilities', '{"tools":{},"resources":{}}'));
    const stream = await proxy.listen('x');
    await proxy.tool('x', 'echo');
    await proxy.configure(entry('modern', '--capabilities', '{"tools":{},"prompts":{}}'));
    const told = [await nextMessage(stream), await nextMessage(stream), await nextMessage(stream)].map(({ method }) => method);
    assert.deepEqual(told.sort(), ['prompts', 'resources', 'tools'].map((what) => `notifications/${what}/list_changed`));
    const reply = (await proxy.call('x', 'resources/list')).json();
    assert.equal(reply.error.code, -32601);
  });

  test('lets go of a resource that the new one does not watch', async (t) => {
    const proxy = await startProxy(t, entry('legacy'));
    const session = await openSession(t, proxy);
    const other = { uri: 'other://x' };
    assert.deepEqual((await session.call('resources/subscribe', other)).json().result, {});
    await proxy.configure(entry('modern'));
    await session.tool('echo');
    await until(() => heardByChild(proxy, 'notifications/cancelled').length === 1, 'the end of the listen');
    await proxy.configure(entry('legacy'));
    await session.tool('echo');
    assert.equal(heardByChild(proxy, 'resources/subscribe').length, 1);
  });
});

/** A notification without its `_meta`, and without params that were nothing else. */
function untagged({ params, ...message }: any): any {
  const { _meta, ...rest } = params ?? {};
  assert.equal(_meta === undefined || !(key('subscriptionId') in _meta), true, 'the subscription is the proxy’s, not the client’s');
  return { ...message, ...(Object.keys(rest).length > 0 && { params: rest }) };
}
