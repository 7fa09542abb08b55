// subscriptions/listen of 2026-07-28 as it is on the wire, in front of children of both eras: what is acknowledged, what
// is heard, how it ends, and that the end of a process is not its end.

import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { until } from '../support/files.ts';
import type { SseStream } from '../support/http.ts';
import { ERAS, key, modernClient, type ModernClient } from '../support/modern.ts';
import { endOf, errorOf, node, startProxy, type ProxySetup, type Servers, type TestProxy } from '../support/proxy.ts';
import { childHas, heardByChild, hears, openSession, said } from '../support/session.ts';

type EraName = keyof typeof ERAS;
const eras = Object.keys(ERAS) as EraName[];
const ALL = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };

const note = (method: string, id: unknown, params: object = {}): object => ({ jsonrpc: '2.0', method, params: { ...params, _meta: { [key('subscriptionId')]: id } } });
const ack = (id: unknown, notifications: object): object => note('notifications/subscriptions/acknowledged', id, { notifications });
const changed = (what: string, id: unknown): object => note(`notifications/${what}/list_changed`, id);
const updated = (uri: string, id: unknown): object => note('notifications/resources/updated', id, { uri });
const result = (id: unknown): object => ({ jsonrpc: '2.0', id, result: { resultType: 'complete', _meta: { [key('subscriptionId')]: id } } });

function start(t: TestContext, servers: Servers, setup: ProxySetup = {}): Promise<TestProxy> {
  return startProxy(t, servers, { ...setup, limits: { drainShutdownMs: 50, backoffFirstMs: 1, ...setup.limits } });
}

async function one(t: TestContext, era: EraName, setup: ProxySetup = {}, ...args: string[]): Promise<{ proxy: TestProxy; client: ModernClient }> {
  const proxy = await start(t, { x: node('server.mjs', ...ERAS[era], ...args) }, setup);
  await proxy.becomes('x', 'running');
  return { proxy, client: modernClient(t, proxy) };
}

/** Opens a listen and waits for its first message. */
async function listening(client: ModernClient, notifications: object, id: unknown = 1): Promise<SseStream> {
  const stream = await client.listen(notifications, { id });
  await hears(stream);
  return stream;
}

/** What is subscribed or listened to at the child now, without the proxy's own listen for the lists. */
async function watched(client: ModernClient): Promise<any> {
  const { subscribed, listening } = await client.tool('journal');
  const own = Object.keys(ALL).sort().join();
  return subscribed ?? listening.map(({ notifications }: any) => notifications).filter((filter: object) => Object.keys(filter).sort().join() !== own);
}

for (const era of eras) {
  describe(`in front of a ${era} child, a listen`, () => {
    test('is a stream whose first message says what is honoured, under the id of its request; then only that, each tagged (T-86, R-111)', async (t) => {
      const { client } = await one(t, era);
      for (const id of [7, 'ż', '7']) {
        const stream = await listening(client, { toolsListChanged: true, promptsListChanged: false, somethingElse: true }, id);
        assert.deepEqual([stream.status, stream.headers['content-type'], stream.headers['x-accel-buffering'], stream.headers['mcp-session-id']], [200, 'text/event-stream', 'no', undefined]);
        for (const what of ['prompts', 'resources', 'tools']) await client.tool('changed', { what });
        await client.tool('updated', { uri: 'test://note' });
        await client.tool('log', { level: 'emergency', text: 'x' });
        await client.tool('changed', { what: 'tools' });
        await hears(stream);
        await hears(stream);
        assert.deepEqual(said(stream), [ack(id, { toolsListChanged: true }), changed('tools', id), changed('tools', id)]);
        assert.ok(!stream.raw.includes('\nid:') && !stream.raw.toString().startsWith('id:'), 'no event has an id');
        await stream.close();
      }
    });

    test('of every kind hears every kind, and two of ids 1 and "1" hear each its own (T-88)', async (t) => {
      const { client } = await one(t, era);
      const streams = await Promise.all([1, '1'].map((id) => listening(client, { ...ALL, resourceSubscriptions: ['test://note'] }, id)));
      for (const what of ['prompts', 'tools', 'resources']) await client.tool('changed', { what });
      await client.tool('updated', { uri: 'test://note' });
      await client.tool('updated', { uri: 'test://picture' });
      await client.tool('changed', { what: 'tools' });
      for (const [k, id] of [1, '1'].entries()) {
        const expected = [ack(id, { ...ALL, resourceSubscriptions: ['test://note'] }), ...['prompts', 'tools', 'resources'].map((what) => changed(what, id)), updated('test://note', id), changed('tools', id)];
        await until(() => said(streams[k]!).length === expected.length, 'all messages');
        assert.deepEqual(said(streams[k]!), expected);
      }
    });

    test('watches resources at the child for as long as it is open (T-87, R-113)', async (t) => {
      const { proxy, client } = await one(t, era);
      const stream = await listening(client, { resourceSubscriptions: ['test://note', 'test://folder'] });
      assert.deepEqual(said(stream), [ack(1, { resourceSubscriptions: ['test://note', 'test://folder'] })]);
      assert.deepEqual(await watched(client), era === 'legacy' ? ['test://note', 'test://folder'] : [{ resourceSubscriptions: ['test://note', 'test://folder'] }]);
      await stream.close();
      await childHas(proxy, era === 'legacy' ? 'resources/unsubscribe' : 'notifications/cancelled', era === 'legacy' ? 2 : 1);
      assert.deepEqual(await watched(client), []);
    });

    test('at a child with nothing to listen to is acknowledged with nothing, and stays open (R-112)', async (t) => {
      const { client } = await one(t, era, {}, '--capabilities', '{"tools":{},"resources":{}}');
      const stream = await listening(client, { ...ALL, resourceSubscriptions: ['test://note'] });
      assert.deepEqual(said(stream), [ack(1, {})]);
      await client.tool('changed', { what: 'tools' });
      assert.deepEqual([said(stream).length, await Promise.race([stream.ended, 'open'])], [1, 'open']);
    });

    test('without a proper filter, or without a way to stream, is refused (R-111)', async (t) => {
      const { proxy, client } = await one(t, era);
      for (const notifications of [undefined, null, [], 'all', { resourceSubscriptions: 'test://note' }, { resourceSubscriptions: [1] }]) {
        const reply = await client.post('subscriptions/listen', { notifications }, { id: 'q' });
        assert.deepEqual(errorOf(reply), [400, 'q', -32602, 'invalid_params'], JSON.stringify(notifications));
      }
      for (const Accept of ['application/json', '*/*']) {
        assert.deepEqual(errorOf(await client.post('subscriptions/listen', { notifications: {} }, { id: 'q', headers: { Accept } })), [406, 'q', -32600, 'not_acceptable']);
      }
      assert.deepEqual(heardByChild(proxy, 'subscriptions/listen'), []);
    });

    test('with more bytes than are kept for it is refused', async (t) => {
      const { proxy, client } = await one(t, era, { limits: { maxListenBytes: 1_000 } });
      const reply = await client.post('subscriptions/listen', { notifications: { resourceSubscriptions: ['x'.repeat(1_000)] } }, { id: 'q' });
      assert.deepEqual(errorOf(reply), [400, 'q', -32602, 'invalid_params']);
      assert.deepEqual(heardByChild(proxy, 'subscriptions/listen'), []);
      await listening(client, ALL);
    });

    test('beyond so many is 503, until one has ended (R-111)', async (t) => {
      const { client } = await one(t, era, { limits: { maxListens: 2 } });
      const [first] = [await listening(client, ALL), await listening(client, ALL)];
      const reply = await client.post('subscriptions/listen', { notifications: {} }, { id: 'q' });
      assert.deepEqual([errorOf(reply), reply.headers['retry-after']], [[503, 'q', -32603, 'busy'], '1']);
      await first!.close();
      await until(async () => (await client.listen(ALL)).status === 200, 'a place for another');
    });

    test('has keep-alive comments, is no pending request, and keeps the server awake; when it has left, idleness begins (R-151)', async (t) => {
      const clock = fakeClock();
      const { proxy, client } = await one(t, era, { clock, limits: { idleTimeoutMs: 20_000 } });
      const stream = await listening(client, ALL);
      assert.equal((await proxy.status())['x'].pendingRequests, 0);
      await clock.run(31_000);
      assert.deepEqual(stream.comments, ['keep-alive', 'keep-alive']);
      await stream.close();
      await proxy.flow(() => heardByChild(proxy, 'notifications/cancelled').length > 0 || era === 'legacy', 'the end at the child');
      await clock.run(15_000);
      assert.equal((await proxy.status())['x'].status, 'running');
      await clock.run(30_000);
      await proxy.flow(async () => (await proxy.status())['x'].status === 'stopped', 'the idle stop');
    });

    test('starts its server, and waits for it (R-150)', async (t) => {
      const clock = fakeClock();
      const { proxy, client } = await one(t, era, { clock, limits: { idleTimeoutMs: 1_000 } });
      await clock.run(3_000);
      await proxy.flow(async () => (await proxy.status())['x'].status === 'stopped', 'the idle stop');
      const stream = await listening(client, ALL);
      assert.deepEqual(said(stream), [ack(1, ALL)]);
    });

    for (const [how, end] of [
      ['removed', (proxy: TestProxy) => proxy.proxy.reload({ mcpServers: {} })],
      ['disabled', (proxy: TestProxy) => proxy.proxy.reload({ mcpServers: proxy.own({ x: { ...node('server.mjs', ...ERAS[era]), disabled: true } }) })],
      ['given another isolation', (proxy: TestProxy) => proxy.proxy.reload({ mcpServers: proxy.own({ x: { ...node('server.mjs', ...ERAS[era]), isolation: 'session' } }) })],
      ['shut down', (proxy: TestProxy) => proxy.close()],
    ] as const) {
      test(`whose server is ${how} ends with its result (T-89, R-114, R-156)`, async (t) => {
        const { proxy, client } = await one(t, era);
        const streams = await Promise.all([7, '7'].map((id) => listening(client, ALL, id)));
        await end(proxy);
        for (const [k, id] of [7, '7'].entries()) {
          assert.equal(await endOf(streams[k]!), 'end');
          assert.deepEqual(said(streams[k]!), [ack(id, ALL), result(id)]);
        }
      });
    }

    test('goes on when the child has crashed: each hears that lists may have changed, and what the next one says (T-119, R-154)', async (t) => {
      const { proxy, client } = await one(t, era);
      const filter = { ...ALL, resourceSubscriptions: ['test://note'] };
      const streams = await Promise.all([1, 2, 3].map((id) => listening(client, filter, id)));
      const tools = await listening(client, { toolsListChanged: true }, 4);
      await openSession(t, proxy); // the proxy listens, too, and in the next process before the others
      await client.call('die');
      await until(() => proxy.spawned('x').length === 2, 'the next process');
      await until(async () => (await watched(client)).length === (era === 'legacy' ? 1 : 4), 'what was watched before');
      await client.tool('updated', { uri: 'test://note' });
      await client.tool('changed', { what: 'tools' });
      for (const [k, id] of [1, 2, 3].entries()) {
        await until(() => said(streams[k]!).length === 6, () => `all messages of ${id}: ${JSON.stringify(said(streams[k]!))}`);
        const [first, ...rest] = said(streams[k]!);
        assert.deepEqual(first, ack(id, filter));
        assert.deepEqual(rest, [...['tools', 'prompts', 'resources'].map((what) => changed(what, id)), updated('test://note', id), changed('tools', id)]);
      }
      await until(() => said(tools).length === 3, 'both changes');
      assert.deepEqual(said(tools), [ack(4, { toolsListChanged: true }), changed('tools', 4), changed('tools', 4)]);
      for (const stream of streams) await stream.close();
      await until(async () => (await watched(client)).length === (era === 'legacy' ? 0 : 1), 'nothing of them is left');
    });

    test('goes on when its server is restarted, or has another configuration (R-155)', async (t) => {
      const { proxy, client } = await one(t, era);
      const stream = await listening(client, { toolsListChanged: true });
      await proxy.proxy.reload({ mcpServers: proxy.own({ x: node('server.mjs', ...ERAS[era], '--name', 'other') }) });
      assert.deepEqual(await hears(stream), changed('tools', 1));
      await client.tool('changed', { what: 'tools' });
      assert.deepEqual(await hears(stream), changed('tools', 1));
    });

    test('goes on when the next child is of the other era', async (t) => {
      const { proxy, client } = await one(t, era);
      const filter = { toolsListChanged: true, resourceSubscriptions: ['test://note'] };
      const stream = await listening(client, filter, 7);
      const other = eras.find((each) => each !== era)!;
      await proxy.proxy.reload({ mcpServers: proxy.own({ x: node('server.mjs', ...ERAS[other]) }) });
      assert.deepEqual(await hears(stream), changed('tools', 7));
      await until(async () => (await watched(client)).length === 1, 'what was watched before');
      await client.tool('updated', { uri: 'test://note' });
      assert.deepEqual(await hears(stream), updated('test://note', 7));
      await client.tool('changed', { what: 'tools' });
      assert.deepEqual(await hears(stream), changed('tools', 7));
      await stream.close();
      await until(async () => (await watched(client)).length === 0, 'nothing is left');
    });

    test('whose server is given up ends without a result, so that its client may try again (R-154)', async (t) => {
      const proxy = await start(t, { x: { ...node('server.mjs', ...ERAS[era]), maxRestarts: 0 } });
      const client = modernClient(t, proxy);
      const stream = await listening(client, ALL);
      await client.call('die');
      assert.equal(await endOf(stream), 'end');
      assert.deepEqual(said(stream), [ack(1, ALL)]);
    });
  });
}

describe('in front of a legacy child, a listen', () => {
  test('shares what is watched with others: the child is asked once, and told once when the last has left (R-53)', async (t) => {
    const { proxy, client } = await one(t, 'legacy');
    const session = await openSession(t, proxy);
    const get = await session.get();
    await session.call('resources/subscribe', { uri: 'test://note' });
    const streams = [await listening(client, { resourceSubscriptions: ['test://note'] }, 1), await listening(client, { resourceSubscriptions: ['test://note'] }, 2)];
    assert.equal(heardByChild(proxy, 'resources/subscribe').length, 1);
    await client.tool('updated', { uri: 'test://note' });
    for (const stream of streams) await hears(stream);
    assert.equal((await hears(get)).params._meta, undefined, 'a session hears it as the child says it');
    for (const stream of streams) await stream.close();
    await session.call('resources/unsubscribe', { uri: 'test://note' });
    await childHas(proxy, 'resources/unsubscribe');
    assert.deepEqual(await watched(client), []);
  });

  test('hears of what may be a part of a resource, and leaves out what its child does not offer (R-54, R-111)', async (t) => {
    const { client } = await one(t, 'legacy', {}, '--capabilities', '{"tools":{},"prompts":{"listChanged":true},"resources":{"subscribe":true}}');
    const stream = await listening(client, { ...ALL, resourceSubscriptions: ['test://folder'] });
    assert.deepEqual(said(stream), [ack(1, { promptsListChanged: true, resourceSubscriptions: ['test://folder'] })]);
    for (const uri of ['test://folderish', 'test://folder/page']) await client.tool('updated', { uri });
    assert.deepEqual(await hears(stream), updated('test://folder/page', 1));
  });

  test('is acknowledged after ten seconds without what the child has not answered for; a late answer is given back (R-111)', async (t) => {
    const clock = fakeClock();
    const proxy = await start(t, { x: node('silent-about.mjs', 'resources/subscribe') }, { clock });
    await proxy.becomes('x', 'running');
    const client = modernClient(t, proxy);
    const pending = client.listen({ resourcesListChanged: true, resourceSubscriptions: ['test://a', 'test://b'] });
    const [first] = await childHas(proxy, 'resources/subscribe', 2);
    await clock.run(9_999);
    assert.equal(await Promise.race([pending, 'nothing yet']), 'nothing yet');
    await clock.run(1);
    assert.deepEqual(await hears(await pending), ack(1, { resourcesListChanged: true }));
    assert.ok(first);
    await (await pending).close();
  });

  test('whose client leaves before it is acknowledged leaves nothing at the child', async (t) => {
    const { proxy, client } = await one(t, 'legacy');
    for (let k = 0; k < 5; k++) {
      const stream = client.listen({ resourceSubscriptions: ['test://note'] });
      await (await stream).close();
    }
    await until(async () => (await watched(client)).length === 0, 'nothing is watched');
    assert.equal(heardByChild(proxy, 'resources/subscribe').length, heardByChild(proxy, 'resources/unsubscribe').length);
  });
});

describe('in front of a modern child, a listen', () => {
  for (const how of ['with its result', 'cancelled']) {
    test(`that the child ends (${how}) ends with a result under the id of the client (R-114, R-37)`, async (t) => {
      const { client } = await one(t, 'modern');
      const stream = await listening(client, ALL, 'seven');
      await client.tool('hangUp', { how });
      assert.equal(await endOf(stream), 'end');
      assert.deepEqual(said(stream), [ack('seven', ALL), result('seven')]);
    });
  }

  test('is one of the child, with what the client says of itself and asks for, whole (R-112)', async (t) => {
    const { proxy, client } = await one(t, 'modern');
    const stream = await listening(client, { toolsListChanged: true, taskIds: ['a'] }, 'seven');
    const [heard] = heardByChild(proxy, 'subscriptions/listen');
    assert.equal(typeof heard.id, 'number');
    assert.deepEqual(heard.params.notifications, { toolsListChanged: true, taskIds: ['a'] });
    assert.deepEqual(heard.params._meta[key('clientInfo')], { name: 'test', version: '1' });
    await stream.close();
    const [cancelled] = await childHas(proxy, 'notifications/cancelled');
    assert.equal(cancelled.params.requestId, heard.id);
  });

  test('hears nothing of another: each notification is for the one that it names', async (t) => {
    const { client } = await one(t, 'modern');
    const tools = await listening(client, { toolsListChanged: true }, 1);
    const prompts = await listening(client, { promptsListChanged: true }, 2);
    await client.tool('changed', { what: 'tools' });
    await client.tool('changed', { what: 'prompts' });
    await hears(tools);
    await hears(prompts);
    assert.deepEqual([said(tools).at(-1), said(prompts).at(-1)], [changed('tools', 1), changed('prompts', 2)]);
  });
});
