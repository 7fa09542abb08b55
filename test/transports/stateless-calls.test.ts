// Calls of 2026-07-28 in front of children of both eras, from the request to its end: JSON or a stream, what is said before
// the answer, and what becomes of those that are not answered and of clients that leave.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { tempDir, until } from '../support/files.ts';
import { connect, post, type Reply } from '../support/http.ts';
import { answerIn, ERAS, key, modernClient, modernRequest } from '../support/modern.ts';
import { endOf, errorOf, node, startProxy, type ProxySetup, type TestProxy } from '../support/proxy.ts';
import { childHas, heardByChild, hears, inFlight, said } from '../support/session.ts';

type EraName = keyof typeof ERAS;
const eras = Object.keys(ERAS) as EraName[];

const SERVER_INFO = { [key('serverInfo')]: { name: 'fixture', version: '1.0.0' } };
const DONE = { resultType: 'complete', content: [{ type: 'text', text: 'done' }], _meta: SERVER_INFO };
const step = (n: number, total: number, token: unknown): object => ({
  jsonrpc: '2.0',
  method: 'notifications/progress',
  params: { progressToken: token, progress: n, total, message: `step ${n} of ${total}` },
});
const answer = (id: unknown, result: object = DONE): object => ({ jsonrpc: '2.0', id, result });

function one(t: TestContext, era: EraName, setup: ProxySetup = {}, ...args: string[]): Promise<TestProxy> {
  // Calls that a test leaves open must not keep its end waiting.
  return startProxy(t, { x: node('server.mjs', ...ERAS[era], ...args) }, { ...setup, limits: { drainShutdownMs: 50, ...setup.limits } });
}

const proxy = await startProxy({ after }, Object.fromEntries(eras.map((era) => [era, node('server.mjs', ...ERAS[era])])));
const clients = Object.fromEntries(eras.map((era) => [era, modernClient({ after }, proxy, era)]));

const refusal = (reply: Reply): unknown[] => {
  const { id, error } = reply.json();
  return [reply.status, id, error.code];
};

for (const era of eras) {
  const client = clients[era]!;

  describe(`in front of a ${era} child, an answer`, () => {
    test('that lasts becomes a stream after two seconds, and not before (R-80)', async (t) => {
      const clock = fakeClock();
      const own = await one(t, era, { clock });
      await own.becomes('x', 'running');
      const it = modernClient(t, own);
      let head = false;
      const pending = it.toolStream('hold', { key: 'k' }, { id: 'h' });
      void pending.then(() => (head = true));
      await inFlight(own, 1);
      await clock.run(1_999);
      assert.equal(head, false);
      await clock.run(1);
      const stream = await pending;
      assert.deepEqual([stream.headers['content-type'], stream.headers['x-accel-buffering'], stream.headers['mcp-session-id']], ['text/event-stream', 'no', undefined]);
      await clock.run(15_000);
      await it.tool('release', { key: 'k' });
      assert.equal(await endOf(stream), 'end');
      assert.equal(stream.raw.toString(), `: keep-alive\n\nevent: message\ndata: ${JSON.stringify(said(stream)[0])}\n\n`, 'no event has an id (R-110)');
      assert.deepEqual(said(stream), [answer('h')]);
    });

    test('comes after the progress that was reported, under the token of the client, on the same stream (R-23, R-7)', async () => {
      for (const token of ['tok', 7]) {
        for (const oneChunk of [false, true]) {
          const stream = await client.toolStream('progress', { steps: 2, oneChunk }, { id: token, progressToken: token });
          assert.equal(await endOf(stream), 'end');
          const [last, ...before] = said(stream).reverse();
          assert.deepEqual(before.reverse(), [step(1, 2, token), step(2, 2, token)]);
          assert.deepEqual([last.id, last.result.resultType], [token, 'complete']);
        }
      }
      const silent = await client.call('progress', { steps: 2 });
      assert.deepEqual([silent.headers['content-type'], silent.json()], ['application/json', answer(1)]);
    });

    test('is JSON for who reads nothing else, an event for who reads only events, and never for who reads neither (R-78, R-81, R-83)', async (t) => {
      const clock = fakeClock();
      const own = await one(t, era, { clock });
      await own.becomes('x', 'running');
      const it = modernClient(t, own);
      const json = it.call('progress', { steps: 1, hold: 'k' }, { progressToken: 1, headers: { Accept: 'application/json' } });
      await inFlight(own, 1);
      await clock.run(10_000);
      await it.tool('release', { key: 'k' });
      assert.deepEqual([(await json).headers['content-type'], (await json).json()], ['application/json', answer(1)]);
      const wild = await it.call('echo', {}, { headers: { Accept: '*/*' } });
      assert.equal(wild.headers['content-type'], 'application/json');

      const stream = await it.toolStream('echo', {}, { headers: { Accept: 'text/event-stream' } });
      assert.equal(await endOf(stream), 'end');
      assert.equal(said(stream)[0].result.resultType, 'complete');
      const early = await it.post('vendor/unknown', {}, { headers: { Accept: 'text/event-stream' } });
      assert.deepEqual(refusal(early), [404, 1, -32601]);

      for (const accept of ['text/html', 'application/json;q=0, text/event-stream;q=0']) {
        assert.deepEqual(errorOf(await it.post('tools/list', {}, { id: 'q', headers: { Accept: accept } })), [406, 'q', -32600, 'not_acceptable']);
      }
    });

    test('of a call whose child dies is -32603 child_exited with 200, as JSON or as the last event (R-152)', async (t) => {
      const own = await one(t, era, { limits: { backoffFirstMs: 1 } });
      const it = modernClient(t, own);
      const stream = await it.toolStream('progress', { steps: 1, hold: 'k' }, { id: 's', progressToken: 1 });
      await hears(stream);
      assert.deepEqual(errorOf(await it.call('die', {}, { id: 'd' })), [200, 'd', -32603, 'child_exited']);
      assert.equal(await endOf(stream), 'end');
      const { id, error } = said(stream).at(-1);
      assert.deepEqual([id, error.code, error.data.reason], ['s', -32603, 'child_exited']);
      assert.deepEqual(await it.tool('echo', { again: 1 }), { again: 1 });
    });

    test('to a call that waits in vain for its child is 503 with Retry-After, or an event where a stream has begun (R-150)', async (t) => {
      const clock = fakeClock();
      const dir = tempDir(t);
      const own = await one(t, era, { clock }, '--start-when', join(dir, 'never'));
      const it = modernClient(t, own);
      const json = it.call('echo', {}, { headers: { Accept: 'application/json' } });
      const listen = it.post('subscriptions/listen', { notifications: {} });
      const stream = it.toolStream('echo', {}, { id: 's' });
      await inFlight(own, 3);
      await clock.run(2_000);
      assert.equal((await stream).status, 200);
      await clock.run(48_000);
      assert.equal(await endOf(await stream), 'end');
      assert.deepEqual(said(await stream).map(({ id, error }) => [id, error.code, error.data.reason]), [['s', -32603, 'starting']]);
      for (const reply of [await json, await listen]) assert.deepEqual([errorOf(reply), reply.headers['retry-after']], [[503, 1, -32603, 'starting'], '5']);
      assert.equal((await own.status())['x'].pendingRequests, 0);
    });

    test('of a call that the end of the proxy cuts short is -32603 shutdown with 200 (R-158)', async (t) => {
      const own = await one(t, era);
      const it = modernClient(t, own);
      await it.tool('echo');
      const reply = it.call('hold', { key: 'k' }, { id: 'h' });
      await childHas(own, 'tools/call', 2);
      await own.close();
      assert.deepEqual(errorOf(await reply), [200, 'h', -32603, 'shutdown']);
    });

    test('of a call that is silent too long is -32603 timeout, and the child is told (R-38)', async (t) => {
      const clock = fakeClock();
      const own = await one(t, era, { clock });
      await own.becomes('x', 'running');
      const stream = modernClient(t, own).toolStream('hold', { key: 'k' }, { id: 'h' });
      await childHas(own, 'tools/call');
      await clock.run(300_000);
      assert.equal(await endOf(await stream), 'end');
      const { id, error } = said(await stream)[0];
      assert.deepEqual([id, error.code, error.data.reason], ['h', -32603, 'timeout']);
      await childHas(own, 'notifications/cancelled');
    });
  });

  describe(`in front of a ${era} child, a notification`, () => {
    test('is taken with 202 and an empty body; one of the protocol itself ends here, another reaches a modern child (T-82, R-34, R-108)', async (t) => {
      const own = await one(t, era);
      const it = modernClient(t, own);
      await it.tool('echo');
      const held = it.toolStream('hold', { key: 'k' }, { id: 'h' });
      await inFlight(own, 1);
      for (const [method, params] of [['notifications/cancelled', { requestId: 'h' }], ['notifications/initialized', {}], ['notifications/progress', { progressToken: 1, progress: 1 }], ['vendor/news', { a: 1 }]] as const) {
        const reply = await it.notify(method, params);
        assert.deepEqual([reply.status, reply.text, reply.headers['content-type']], [202, '', undefined], method);
      }
      const { _meta } = modernRequest('x').message.params;
      const claimed = await post(own.url('/x/mcp'), { jsonrpc: '2.0', method: 'vendor/news', params: { _meta } });
      assert.deepEqual([claimed.status, claimed.text], [202, '']);
      await it.tool('release', { key: 'k' });
      assert.equal(await endOf(await held), 'end');
      const heard = own.received('x').map((line) => JSON.parse(line)).filter(({ id }) => id === undefined).map(({ method }) => method);
      assert.deepEqual(heard, era === 'modern' ? ['vendor/news', 'vendor/news'] : ['notifications/initialized']);
    });

    test('starts nothing (R-29)', async (t) => {
      const clock = fakeClock();
      const own = await one(t, era, { clock });
      await own.becomes('x', 'running');
      await clock.run(600_000);
      await own.flow(async () => (await own.status())['x'].status === 'stopped', 'the idle stop');
      assert.equal((await modernClient(t, own).notify('vendor/news')).status, 202);
      assert.equal((await own.status())['x'].status, 'stopped');
    });
  });

  describe(`in front of a ${era} child, a client that leaves`, () => {
    /** Nothing is left of the one call that was held: not in the count, and not at the child, which is told. */
    async function isGone(own: TestProxy): Promise<void> {
      await inFlight(own, 0);
      const [{ id }] = heardByChild(own, 'tools/call').filter(({ params }) => params.arguments.key === 'k');
      const cancelled = await childHas(own, 'notifications/cancelled');
      assert.deepEqual(cancelled.map(({ params }) => params), [{ requestId: id, reason: 'the client disconnected' }]);
      assert.deepEqual(own.logged('internal'), []);
    }

    for (const how of ['close', 'abort'] as const) {
      test(`before its answer (${how}) has its call cancelled at the child, and no answer is made for it later (T-84, R-33)`, async (t) => {
        const clock = fakeClock();
        const own = await one(t, era, { clock });
        await own.becomes('x', 'running');
        const it = modernClient(t, own);
        const call = await it.open('tools/call', { name: 'hold', arguments: { key: 'k' } });
        await until(() => heardByChild(own, 'tools/call').length === 1, 'the call at the child');
        call[how]();
        await isGone(own);
        await clock.run(10_000);
        await it.tool('release', { key: 'k' });
        await isGone(own);
      });
    }

    test('in the middle of a stream has its call cancelled at the child (T-84)', async (t) => {
      const own = await one(t, era);
      const it = modernClient(t, own);
      const stream = await it.toolStream('progress', { steps: 1, hold: 'k', key: 'k' }, { progressToken: 1 });
      await hears(stream);
      await stream.close();
      await isGone(own);
    });

    test('before its child has started leaves nothing behind', async (t) => {
      const dir = tempDir(t);
      const own = await one(t, era, {}, '--start-when', join(dir, 'go'));
      const it = modernClient(t, own);
      for (const method of ['tools/call', 'server/discover', 'subscriptions/listen']) {
        const call = await it.open(method, { name: 'echo', arguments: {}, notifications: {} });
        call.abort();
        await inFlight(own, 0);
      }
      writeFileSync(join(dir, 'go'), '');
      await own.becomes('x', 'running');
      assert.deepEqual(await it.tool('echo', { next: 1 }), { next: 1 });
      const listens = heardByChild(own, 'subscriptions/listen').filter(({ params }) => Object.keys(params.notifications).length === 0); // not the proxy's own
      assert.deepEqual([heardByChild(own, 'tools/call').length, listens.length, heardByChild(own, 'notifications/cancelled').length], [1, 0, 0]);
    });

    test('in the middle of its body is no request at all', async (t) => {
      const own = await one(t, era);
      await own.becomes('x', 'running');
      const { headers, message } = modernRequest('tools/call', { name: 'echo', arguments: {} });
      const body = JSON.stringify(message);
      const head = Object.entries({ Host: new URL(own.origin).host, ...headers, 'Content-Length': body.length }).map(([name, value]) => `${name}: ${value}\r\n`).join('');
      const connection = await connect(own.port);
      connection.write(`POST /x/mcp HTTP/1.1\r\n${head}\r\n${body.slice(0, -1)}`);
      connection.close();
      await modernClient(t, own).tool('echo', { next: 1 });
      assert.equal(heardByChild(own, 'tools/call').length, 1);
    });
  });

  describe(`in front of a ${era} child, a log line`, () => {
    const line = (level: string): object => ({ jsonrpc: '2.0', method: 'notifications/message', params: { level, logger: 'fixture', data: 'hello' } });

    test('reaches the request that asked for lines so severe, before its answer, and no other (T-85, R-48)', async (t) => {
      const own = await one(t, era);
      const it = modernClient(t, own);
      for (const [wanted, level, heard] of [[undefined, 'emergency', false], ['info', 'info', true], ['info', 'error', true], ['error', 'info', false], ['debug', 'debug', true]] as const) {
        const stream = await it.toolStream('log', { level, text: 'hello' }, { logLevel: wanted! });
        assert.equal(await endOf(stream), 'end');
        const all = stream.headers['content-type'] === 'application/json' ? [JSON.parse(stream.raw.toString())] : said(stream);
        assert.deepEqual(all, [...(heard ? [line(level)] : []), answer(1)], `${wanted} ${level}`);
      }
    });

    test('reaches nobody while it may be about another (T-85)', async (t) => {
      const own = await one(t, era);
      const it = modernClient(t, own);
      const other = it.toolStream('hold', { key: 'k' }, { logLevel: 'debug' });
      await childHas(own, 'tools/call');
      const reply = await it.call('log', { level: 'error', text: 'hello' }, { logLevel: 'debug' });
      assert.equal(reply.headers['content-type'], 'application/json');
      await it.tool('release', { key: 'k' });
      assert.equal(await endOf(await other), 'end');
      assert.ok((await other).raw.toString().includes('"done"') && !(await other).raw.toString().includes('hello'));
    });

    if (era === 'legacy') {
      test('is asked of the child before the call, once for all who want so much (R-48, R-45)', async (t) => {
        const own = await one(t, era);
        const it = modernClient(t, own);
        await it.tool('echo');
        for (const logLevel of ['error', 'info', 'warning', 'info']) await it.tool('echo', {}, { logLevel });
        const heard = own.received('x').map((text) => JSON.parse(text)).filter(({ method }) => method === 'logging/setLevel' || method === 'tools/call');
        assert.deepEqual(heard.map(({ method, params }) => params.level ?? method), ['tools/call', 'error', 'tools/call', 'info', 'tools/call', 'tools/call', 'tools/call']);
      });
    } else {
      test('of a call of another that did not ask for any is no reason to keep it back (R-49)', async (t) => {
        const own = await one(t, era);
        const it = modernClient(t, own);
        const quiet = it.toolStream('hold', { key: 'k' });
        await childHas(own, 'tools/call');
        const stream = await it.toolStream('log', { level: 'error', text: 'hello' }, { logLevel: 'info' });
        assert.equal(await endOf(stream), 'end');
        assert.deepEqual(said(stream), [line('error'), answer(1)]);
        await it.tool('release', { key: 'k' });
        assert.equal(await endOf(await quiet), 'end');
      });
    }
  });
}

describe('what a child does not answer holds a call up for so long and no longer:', () => {
  for (const [what, method, options, ms, calls] of [
    ['the list of its tools, before the first call', 'tools/list', {}, 5_000, 0],
    ['a log level, before a call that wants more lines', 'logging/setLevel', { logLevel: 'debug' }, 2_000, 1],
  ] as const) {
    test(`${what} (${ms} ms; R-103, R-48)`, async (t) => {
      const clock = fakeClock();
      const own = await startProxy(t, { x: node('silent-about.mjs', method) }, { clock, limits: { drainShutdownMs: 50 } });
      await own.becomes('x', 'running');
      const it = modernClient(t, own);
      const waiting = [it.call('poke', {}, options), it.call('poke', {}, options)];
      await childHas(own, method);
      if (calls === 0) await inFlight(own, 2);
      else await childHas(own, 'tools/call', calls);
      await clock.run(ms - 1);
      assert.equal(heardByChild(own, 'tools/call').length, calls);
      await clock.run(1);
      for (const reply of await Promise.all(waiting)) assert.deepEqual(answerIn(reply).result.structuredContent, { ok: true });
      await it.tool('poke', {}, options);
      assert.equal(heardByChild(own, method).length, 1, 'it is not asked again');
    });

    test(`and whoever leaves meanwhile is not served (${method})`, async (t) => {
      const clock = fakeClock();
      const own = await startProxy(t, { x: node('silent-about.mjs', method) }, { clock, limits: { drainShutdownMs: 50 } });
      await own.becomes('x', 'running');
      const it = modernClient(t, own);
      const call = await it.open('tools/call', { name: 'poke', arguments: {} }, options);
      await childHas(own, method);
      call.abort();
      await inFlight(own, 0);
      await clock.run(ms);
      assert.deepEqual(heardByChild(own, 'tools/call'), []);
    });
  }

  test('an error to either is no obstacle', async (t) => {
    const own = await startProxy(t, { x: node('server.mjs', '--capabilities', '{"tools":{},"logging":{}}'), y: node('asks-the-client.mjs') }, { limits: { drainShutdownMs: 50 } });
    await modernClient(t, own).tool('echo', {}, { logLevel: 'debug' });
    assert.deepEqual(answerIn(await modernClient(t, own, 'y').call('any', {}, { logLevel: 'debug' })).result.resultType, 'complete');
  });
});

describe('a legacy child asks a client for what it did not declare', () => {
  const PROMPT = { messages: [{ role: 'user', content: { type: 'text', text: 'hello' } }], maxTokens: 10 };
  for (const [method, params, declared, required] of [
    ['sampling/createMessage', PROMPT, {}, { sampling: {} }],
    ['sampling/createMessage', { ...PROMPT, tools: [] }, { sampling: {} }, { sampling: { tools: {} } }],
    ['elicitation/create', { message: 'm', requestedSchema: {} }, { sampling: {} }, { elicitation: { form: {} } }],
    ['elicitation/create', { message: 'm', requestedSchema: {} }, { elicitation: { url: {} } }, { elicitation: { form: {} } }],
    ['elicitation/create', { mode: 'url', url: 'https://a', message: 'm', elicitationId: 'e' }, { elicitation: {} }, { elicitation: { url: {} } }],
    ['roots/list', undefined, { sampling: {}, elicitation: {} }, { roots: {} }],
  ] as const) {
    test(`${method} ends the call with 400, -32021 and ${JSON.stringify(required)}; the child is told both (T-94, R-59b)`, async (t) => {
      const own = await one(t, 'legacy');
      const it = modernClient(t, own, 'x', { capabilities: declared });
      const reply = await it.call('ask', { method, params, id: 'q' });
      assert.deepEqual([refusal(reply), reply.json().error.data], [[400, 1, -32021], { requiredCapabilities: required }]);
      const told = await until(() => own.received('x').map((line) => JSON.parse(line)).find((message) => message.id === 'q'), 'the answer to the child');
      assert.deepEqual([told.error.code, told.error.message], [-32601, `Client does not support ${method}`]);
      await inFlight(own, 0);
      assert.deepEqual(heardByChild(own, 'notifications/cancelled'), [], 'its tool ends by itself');
    });
  }

  test('and then another client can be asked: the call that ended so is in nobody\'s way (R-58)', async (t) => {
    const own = await one(t, 'legacy');
    assert.equal((await modernClient(t, own, 'x', { capabilities: {} }).call('ask', { method: 'roots/list', id: 'q' })).status, 400);
    const other = modernClient(t, own, 'x', { capabilities: { roots: {} } });
    let asked = 0;
    await until(async () => {
      const reply = await other.call('ask', { method: 'roots/list', id: `q${++asked}` });
      return reply.json().result.resultType === 'input_required';
    }, 'the answer of the child to the call that ended');
  });

  test('in the stream, where a head was sent (R-59b)', async (t) => {
    const own = await one(t, 'legacy');
    const question = '{"jsonrpc":"2.0","id":"q","method":"roots/list"}';
    const stream = await modernClient(t, own).toolStream('raw', { lines: ['{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN,"progress":1}}', question], quiet: true }, { progressToken: 1 });
    assert.equal(await endOf(stream), 'end');
    assert.deepEqual([said(stream).length, said(stream)[1].error.code], [2, -32021]);
  });
});
