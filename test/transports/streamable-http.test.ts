// Streamable HTTP as it is on the wire: sessions, answers as JSON or as a stream, the standalone stream, and streams
// that are resumed.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { tempDir, until } from '../support/files.ts';
import { openSse, post, request, type SseStream } from '../support/http.ts';
import { errorOf, messages, node, startProxy, type ProxySetup, type TestProxy } from '../support/proxy.ts';
import { BOTH, childHas, heardByChild, hears, ids, inFlight, initialize, openSession, REVISIONS, said, type TestSession } from '../support/session.ts';

const DONE = { content: [{ type: 'text', text: 'done' }] };
const step = (n: number, total: number, token: unknown = 'tok'): object => ({
  jsonrpc: '2.0',
  method: 'notifications/progress',
  params: { progressToken: token, progress: n, total, message: `step ${n} of ${total}` },
});
const answer = (id: unknown, result: object = DONE): object => ({ jsonrpc: '2.0', id, result });
const changed = (what: string): object => ({ jsonrpc: '2.0', method: `notifications/${what}/list_changed` });

function one(t: TestContext, setup: ProxySetup = {}, ...args: string[]): Promise<TestProxy> {
  // Calls that a test leaves open must not keep its end waiting.
  return startProxy(t, { x: node('server.mjs', ...args) }, { ...setup, limits: { drainShutdownMs: 50, ...setup.limits } });
}

const proxy = await startProxy({ after }, { x: node('server.mjs'), y: node('server.mjs'), off: { ...node('server.mjs'), disabled: true } });
const mcp = proxy.url('/x/mcp');

/** Reads an event stream's blocks; comments do not count. */
function blocks(stream: SseStream): string[] {
  return stream.raw.toString().split('\n\n').filter((block) => block !== '' && !block.startsWith(':'));
}

describe('initialize', () => {
  for (const [asked, given] of [...REVISIONS.map((it) => [it, it]), ['2024-11-05', '2024-11-05'], ['1999-01-01', '2025-11-25'], ['', '2025-11-25']] as const) {
    test(`asked for ${asked || 'nothing'} answers ${given} and opens a session (T-34, T-35)`, async () => {
      const reply = await post(mcp, initialize(asked, {}, 'i'), { Accept: BOTH });
      assert.equal(reply.status, 200);
      assert.equal(reply.headers['content-type'], 'application/json');
      assert.match(String(reply.headers['mcp-session-id']), /^[0-9a-f]{32}$/);
      const { id, result } = reply.json();
      assert.deepEqual([id, result.protocolVersion, result.serverInfo], ['i', given, { name: 'fixture', version: '1.0.0' }]);
    });
  }

  test('is negotiated per hop: an older child does not show (R-86)', async (t) => {
    const old = await one(t, {}, '--version', '2024-11-05');
    const reply = await post(old.url('/x/mcp'), initialize('2025-11-25'), { Accept: BOTH });
    assert.equal(reply.json().result.protocolVersion, '2025-11-25');
  });

  test('is the only answer with a session id, and each one has a fresh id', async (t) => {
    const session = await openSession(t, proxy);
    for (const reply of [await session.call('tools/list'), await session.call('ping'), await session.notify('notifications/made/up')]) {
      assert.equal(reply.headers['mcp-session-id'], undefined);
    }
    const again = await session.post(initialize('2025-06-18'));
    assert.notEqual(again.headers['mcp-session-id'], session.id);
    assert.equal((await session.call('ping')).status, 200);
  });

  test('ignores legacy version and Mcp-Method headers, and refuses one of the era without a handshake (T-36, T-37)', async () => {
    const headers = { Accept: BOTH, 'MCP-Protocol-Version': '2025-11-25', 'Mcp-Method': 'initialize' };
    assert.equal((await post(mcp, initialize('2025-11-25'), headers)).status, 200);
    const reply = await post(mcp, initialize('2025-11-25'), { Accept: BOTH, 'MCP-Protocol-Version': '2026-07-28' });
    assert.deepEqual(errorOf(reply), [400, 1, -32020, 'header_mismatch']);
    assert.equal(reply.headers['mcp-session-id'], undefined);
  });

  test('is an event for a client that reads only streams, and still opens a session (R-83)', async () => {
    const stream = await openSse(mcp, { Accept: 'text/event-stream', 'Content-Type': 'application/json' }, { method: 'POST', body: JSON.stringify(initialize('2025-06-18')) });
    assert.equal(await stream.ended, 'end');
    assert.equal(stream.headers['content-type'], 'text/event-stream');
    assert.match(String(stream.headers['mcp-session-id']), /^[0-9a-f]{32}$/);
    assert.deepEqual(messages(stream).map(({ id }) => id), [1]);
  });

  test('that fails opens no session', async () => {
    const reply = await post(proxy.url('/off/mcp'), initialize('2025-06-18'), { Accept: BOTH });
    assert.deepEqual(errorOf(reply), [503, 1, -32603, 'unavailable']);
    assert.equal(reply.headers['mcp-session-id'], undefined);
  });
});

describe('what a session is asked', () => {
  test('a notification or a response is taken with 202 and an empty body, whatever it is (T-38, R-88)', async (t) => {
    const session = await openSession(t, proxy, 'x', { initialized: false });
    for (const message of [
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'nothing' } },
      { jsonrpc: '2.0', method: 'notifications/roots/list_changed' },
      { jsonrpc: '2.0', method: 'notifications/made/up', params: {} },
      { jsonrpc: '2.0', id: 99, result: {} },
      { jsonrpc: '2.0', id: 'x', error: { code: 1, message: 'no' } },
    ]) {
      const reply = await session.post(message);
      assert.deepEqual([reply.status, reply.text, reply.headers['content-type']], [202, '', undefined], JSON.stringify(message));
    }
  });

  for (const [what, id] of [['unknown', '0'.repeat(32)], ['garbage', 'x y'], ['empty', '']]) {
    test(`a session id that is ${what} is 404 for every method (T-39)`, async () => {
      const headers = { 'Mcp-Session-Id': id, Accept: BOTH };
      const replies = [
        await post(mcp, { jsonrpc: '2.0', id: 7, method: 'tools/list' }, headers),
        await post(mcp, { jsonrpc: '2.0', method: 'notifications/initialized' }, headers),
        await request(mcp, { headers }),
        await request(mcp, { method: 'DELETE', headers }),
      ];
      assert.deepEqual(replies.map((reply) => errorOf(reply)), [7, null, null, null].map((n) => [404, n, -32001, 'session_not_found']));
    });
  }

  test('a session belongs to its server: at another it is unknown (T-39)', async (t) => {
    const session = await openSession(t, proxy);
    const elsewhere = await post(proxy.url('/y/mcp'), { jsonrpc: '2.0', id: 7, method: 'tools/list' }, session.headers);
    assert.deepEqual(errorOf(elsewhere), [404, 7, -32001, 'session_not_found']);
    assert.equal((await request(proxy.url('/y/mcp'), { method: 'DELETE', headers: session.headers })).status, 404);
    assert.equal((await session.call('ping')).status, 200);
  });

  test('DELETE ends it with 204, and from then on its id is unknown (T-39, R-89)', async (t) => {
    const session = await openSession(t, proxy);
    const get = await session.get();
    const reply = await session.delete();
    assert.deepEqual([reply.status, reply.text], [204, '']);
    assert.equal(await get.ended, 'end');
    assert.equal((await session.call('tools/list')).status, 404);
    assert.equal((await session.delete()).status, 404);
    assert.equal((await session.get()).status, 404);
  });

  test('DELETE without a session is 400, and of the era without sessions 405 (T-68)', async () => {
    assert.deepEqual(errorOf(await request(mcp, { method: 'DELETE' })), [400, null, -32000, 'session_required']);
    const modern = await request(mcp, { method: 'DELETE', headers: { 'MCP-Protocol-Version': '2026-07-28' } });
    assert.deepEqual([modern.status, modern.headers.allow], [405, 'POST']);
  });

  test('the version of a request must be known, need not be the negotiated one, and may be absent (T-40, R-87)', async (t) => {
    const session = await openSession(t, proxy);
    const { 'MCP-Protocol-Version': _, ...bare } = session.headers as Record<string, string>;
    const ping = { jsonrpc: '2.0', id: 7, method: 'ping' };
    for (const version of ['1900-01-01', '', '2025-06-18x']) {
      assert.deepEqual(errorOf(await post(mcp, ping, { ...bare, 'MCP-Protocol-Version': version })), [400, 7, -32000, 'bad_version'], version);
    }
    assert.equal((await request(mcp, { method: 'DELETE', headers: { ...bare, 'MCP-Protocol-Version': '1900-01-01' } })).status, 400);
    for (const version of [...REVISIONS, '2024-11-05', ' 2025-06-18 ']) assert.equal((await post(mcp, ping, { ...bare, 'MCP-Protocol-Version': version })).status, 200, version);
    assert.equal((await post(mcp, ping, bare)).status, 200);
  });

  test('foreign origins and hosts are refused before anything is looked at (T-69)', async (t) => {
    const session = await openSession(t, proxy);
    const ping = { jsonrpc: '2.0', id: 7, method: 'ping' };
    assert.equal((await session.post(ping, { Origin: 'http://evil.example.com' })).status, 403);
    assert.equal((await session.post(ping, { Host: 'evil.example.com' })).status, 403);
    assert.equal((await session.post(ping, { Origin: 'http://localhost:5' })).status, 200);
  });

  test('ping is answered by the proxy, and the initialize and initialized of clients stay with it', async (t) => {
    const own = await one(t);
    const session = await openSession(t, own);
    assert.deepEqual((await session.call('ping')).json(), answer(1, {}));
    await session.tool('echo');
    for (const method of ['initialize', 'notifications/initialized']) assert.equal(heardByChild(own, method).length, 1, method);
    assert.equal(heardByChild(own, 'ping').length, 0);
  });

  test('two calls with the ids 1 and "1" at the same time have each their own typed answer (T-5)', async (t) => {
    const own = await one(t);
    const session = await openSession(t, own);
    const number = session.call('tools/call', { name: 'hold', arguments: { key: 'a' } }, 1);
    const text = session.call('tools/call', { name: 'hold', arguments: { key: 'b' } }, '1');
    await inFlight(own, 2);
    await session.tool('release', { key: 'b' });
    assert.deepEqual((await text).json(), answer('1'));
    await session.tool('release', { key: 'a' });
    assert.deepEqual((await number).json(), answer(1));
  });

  test('an answer keeps every byte that the child wrote but the id', async (t) => {
    const session = await openSession(t, proxy);
    const reply = await session.call('tools/call', { name: 'unsafe', arguments: { place: 2 } }, 'q');
    const result = '{"content":[],"structuredContent":{"integer":9007199254740993,"float":1e400,"id":-0.10,"2":2,"1":1}}';
    assert.equal(reply.text, `{"jsonrpc":"2.0","result":${result},"id":"q"}`);
  });
});

describe('an answer', () => {
  for (const version of REVISIONS) {
    test(`is JSON when there is nothing to say before it, else a stream whose every event has an id (${version}; T-41, T-44)`, async (t) => {
      const session = await openSession(t, proxy, 'x', { version });
      const quick = await session.call('tools/call', { name: 'echo', arguments: { a: 1 } }, 'e');
      assert.equal(quick.headers['content-type'], 'application/json');
      assert.equal(quick.json().id, 'e');

      for (const token of ['tok', 7]) {
        const params = { name: 'progress', arguments: { steps: 2 }, _meta: { progressToken: token } };
        const stream = await session.stream('tools/call', params, 'p');
        assert.equal(await stream.ended, 'end');
        assert.equal(stream.headers['content-type'], 'text/event-stream');
        const primed = version === '2025-11-25';
        const [first] = ids(stream);
        const name = first!.replace(/-\d+$/, '');
        assert.match(name, /^[0-9a-z]+$/);
        const event = (seq: number, message: object): string => `id: ${name}-${seq}\nevent: message\ndata: ${JSON.stringify(message)}\n\n`;
        const prime = primed ? `id: ${name}-0\nretry: 3000\ndata: \n\n` : '';
        assert.equal(stream.raw.toString(), prime + event(1, step(1, 2, token)) + event(2, step(2, 2, token)) + event(3, answer('p')));
      }
    });
  }

  test('in one write with three progress reports comes after all three (T-42)', async (t) => {
    const session = await openSession(t, proxy);
    for (let round = 0; round < 5; round++) {
      const stream = await session.toolStream('progress', { steps: 3, oneChunk: true }, round);
      assert.equal(await stream.ended, 'end');
      assert.deepEqual(said(stream), [step(1, 3), step(2, 3), step(3, 3), answer(round)]);
    }
  });

  test('that lasts becomes a stream after two seconds, and not before (T-43)', async (t) => {
    const clock = fakeClock();
    const own = await one(t, { clock });
    await own.becomes('x', 'running');
    for (const version of ['2025-11-25', '2025-06-18']) {
      const session = await openSession(t, own, 'x', { version });
      let head = false;
      const pending = session.stream('tools/call', { name: 'hold', arguments: { key: version } }, 'h');
      void pending.then(() => (head = true));
      await inFlight(own, 1);
      await clock.run(1_999);
      assert.equal(head, false);
      await clock.run(1);
      const stream = await pending;
      assert.equal(stream.headers['content-type'], 'text/event-stream');
      await session.tool('release', { key: version });
      assert.equal(await stream.ended, 'end');
      assert.deepEqual(said(stream), [answer('h')]);
      assert.equal(blocks(stream).length, version === '2025-11-25' ? 2 : 1);
    }
  });

  test('is JSON for a client that reads nothing else, however long it takes and whatever is reported (T-67)', async (t) => {
    const clock = fakeClock();
    const own = await one(t, { clock });
    await own.becomes('x', 'running');
    const session = await openSession(t, own, 'x', { accept: 'application/json' });
    const params = { name: 'progress', arguments: { steps: 3, hold: 'k' }, _meta: { progressToken: 1 } };
    const reply = session.call('tools/call', params);
    await inFlight(own, 1);
    await clock.run(10_000);
    await session.tool('release', { key: 'k' });
    assert.equal((await reply).headers['content-type'], 'application/json');
    assert.deepEqual((await reply).json(), answer(1));
  });

  test('is a stream of one event for a client that reads nothing else; refusals are JSON (R-83)', async (t) => {
    const session = await openSession(t, proxy, 'x', { accept: 'text/event-stream' });
    const stream = await session.stream('tools/call', { name: 'echo', arguments: {} }, 'e');
    assert.equal(await stream.ended, 'end');
    assert.deepEqual(said(stream).map(({ id }) => id), ['e']);
    const html = await session.post({ jsonrpc: '2.0', id: 7, method: 'tools/list' }, { Accept: 'text/html' });
    assert.deepEqual(errorOf(html), [406, 7, -32000, 'not_acceptable']);
  });

  test('that is an error of the child passes through, as JSON and on a stream', async (t) => {
    const session = await openSession(t, proxy);
    const error = { code: -32050, message: 'as it is', data: [1] };
    assert.deepEqual((await session.call('tools/call', { name: 'fail', arguments: error })).json(), { jsonrpc: '2.0', id: 1, error });
  });
});

describe('GET', () => {
  test('of a session is an event stream; primed from 2025-11-25 on (T-51, R-91)', async (t) => {
    for (const version of REVISIONS) {
      const session = await openSession(t, proxy, 'x', { version });
      const stream = await session.get();
      assert.equal(stream.status, 200);
      assert.equal(stream.headers['content-type'], 'text/event-stream');
      assert.equal(stream.headers['cache-control'], 'no-cache, no-transform');
      assert.equal(stream.headers['mcp-session-id'], undefined);
      await session.tool('changed', { what: 'tools' });
      assert.deepEqual(await hears(stream), changed('tools'));
      const name = ids(stream).at(-1)!.replace(/-\d+$/, '');
      const prime = version === '2025-11-25' ? `id: ${name}-0\nretry: 3000\ndata: \n\n` : '';
      assert.equal(stream.raw.toString(), `${prime}id: ${name}-1\nevent: message\ndata: ${JSON.stringify(changed('tools'))}\n\n`);
      await session.delete();
    }
  });

  test('without a session is 405 with the methods there are, and takes only what is an event stream (T-51, R-96)', async (t) => {
    const bare = await request(mcp, { headers: { Accept: 'text/event-stream' } });
    assert.deepEqual([bare.status, bare.headers.allow], [405, 'POST, DELETE']);
    const session = await openSession(t, proxy);
    const modern = await request(mcp, { headers: { ...session.headers, 'MCP-Protocol-Version': '2026-07-28' } });
    assert.deepEqual([modern.status, modern.headers.allow], [405, 'POST']);
    for (const accept of ['text/html', '*/*;q=0', 'text/event-stream;q=0, */*']) {
      assert.equal((await request(mcp, { headers: { ...session.headers, Accept: accept } })).status, 406, accept);
    }
    for (const accept of ['*/*', 'text/event-stream;q=0.1, text/html']) {
      const stream = await openSse(mcp, { ...session.headers, Accept: accept });
      t.after(() => stream.close());
      assert.equal(stream.status, 200, accept);
    }
  });

  test('has one copy per session of what the child announces, and no POST has it (T-52)', async (t) => {
    const own = await one(t);
    const [a, b] = [await openSession(t, own), await openSession(t, own)];
    const [getA, getB] = [await a.get(), await b.get()];
    const call = await a.toolStream('progress', { steps: 1, hold: 'k' });
    await b.tool('changed', { what: 'tools' });
    await b.tool('changed', { what: 'prompts' });
    for (const stream of [getA, getB]) {
      await hears(stream);
      await hears(stream);
      assert.deepEqual(said(stream), [changed('tools'), changed('prompts')]);
    }
    await a.tool('release', { key: 'k' });
    await call.ended;
    assert.deepEqual(said(call), [step(1, 1), answer(1)]);
  });

  test('gets first what was announced before it was there, equal list changes once (T-53, R-55)', async (t) => {
    const own = await one(t);
    const session = await openSession(t, own);
    for (const what of ['tools', 'prompts', 'tools', 'tools', 'prompts']) await session.tool('changed', { what });
    const get = await session.get();
    await session.tool('changed', { what: 'resources' });
    await hears(get);
    await hears(get);
    assert.deepEqual(await hears(get), changed('resources'));
    assert.deepEqual(said(get), [changed('tools'), changed('prompts'), changed('resources')]);
    await get.close();
    const again = await session.get();
    await session.tool('changed', { what: 'tools' });
    assert.deepEqual(await hears(again), changed('tools'));
    assert.equal(said(again).length, 1, 'what was delivered is not sent again');
  });

  test('gets every log line that came meanwhile, equal ones too: only list changes are one as good as two (R-55)', async (t) => {
    const own = await one(t);
    const [session, other] = [await openSession(t, own), await openSession(t, own)];
    const heard = await other.get();
    for (let k = 0; k < 3; k++) {
      await session.tool('log', { text: 'retrying', late: true });
      await hears(heard); // else it could be about the next call
    }
    const get = await session.get();
    await session.tool('changed', { what: 'tools' });
    await get.next((item) => 'event' in item && item.data.includes('tools/list_changed'));
    assert.deepEqual(said(get).map(({ method }) => method), [...Array(3).fill('notifications/message'), 'notifications/tools/list_changed']);
  });

  test('has nothing before the client said that it is initialized; then what waited (R-55)', async (t) => {
    const own = await one(t);
    const other = await openSession(t, own);
    const ready: [string, (session: TestSession) => Promise<unknown>][] = [
      ['notifications/initialized', (session) => session.notify('notifications/initialized')],
      ['a request', (session) => session.call('tools/list')],
    ];
    for (const [what, act] of ready) {
      const session = await openSession(t, own, 'x', { initialized: false });
      const get = await session.get();
      await other.tool('changed', { what: 'tools' });
      await session.call('ping');
      assert.deepEqual(said(get), [], what);
      await act(session);
      assert.deepEqual(await hears(get), changed('tools'), what);
    }
  });

  test('is initialized by a batch as well (R-55, R-97)', async (t) => {
    const own = await one(t);
    const other = await openSession(t, own);
    for (const batch of [[{ jsonrpc: '2.0', method: 'notifications/initialized' }], [{ jsonrpc: '2.0', id: 1, method: 'tools/list' }]]) {
      const session = await openSession(t, own, 'x', { version: '2025-03-26', initialized: false });
      const get = await session.get();
      await session.post([{ jsonrpc: '2.0', method: 'notifications/own' }, { jsonrpc: '2.0', id: 'p', method: 'ping' }]);
      await other.tool('changed', { what: 'tools' });
      await session.call('ping');
      assert.deepEqual(said(get), [], 'neither a ping nor another notification says so');
      await session.post(batch);
      assert.deepEqual(await hears(get), changed('tools'));
      await session.delete();
    }
  });

  test('twice: the newest one gets everything, the older one takes over when it closes (T-54)', async (t) => {
    const own = await one(t);
    const session = await openSession(t, own);
    const [old, middle, young] = [await session.get(), await session.get(), await session.get()];
    await session.tool('changed', { what: 'tools' });
    assert.deepEqual(await hears(young), changed('tools'));
    await middle.close();
    await young.close();
    await until(async () => {
      await session.tool('changed', { what: 'prompts' });
      return said(old).length > 0;
    }, 'the older stream takes over');
    assert.deepEqual(said(old)[0], changed('prompts'));
    assert.deepEqual(said(middle), []);
  });

  test('of every session hears of a crash only that lists may have changed, and goes on (T-52, R-154)', async (t) => {
    const own = await one(t, { limits: { backoffFirstMs: 1 } });
    const [a, b] = [await openSession(t, own), await openSession(t, own)];
    const [getA, getB] = [await a.get(), await b.get()];
    const dying = await a.call('tools/call', { name: 'die', arguments: { code: 9 } }, 'd');
    assert.deepEqual([dying.json().id, dying.json().error.data.reason], ['d', 'child_exited']);
    for (const get of [getA, getB]) {
      for (let k = 0; k < 3; k++) await hears(get);
      assert.deepEqual(said(get).map(({ method }) => method).sort(), ['prompts', 'resources', 'tools'].map((what) => `notifications/${what}/list_changed`));
    }
    assert.deepEqual(await a.tool('echo', { again: 1 }), { again: 1 });
    await b.tool('changed', { what: 'tools' });
    assert.deepEqual(await hears(getA), changed('tools'));
  });
});

describe('Last-Event-ID', () => {
  /** A call whose connection broke after its first progress report. */
  async function broken(session: TestSession, key: string): Promise<string> {
    const call = await session.toolStream('progress', { steps: 1, hold: key }, key);
    await hears(call);
    const last = ids(call).at(-1)!;
    await call.close();
    return last;
  }

  for (const version of REVISIONS) {
    test(`of a call that still runs reads on there, with that stream only, until its answer (${version}; T-45, T-48)`, async (t) => {
      const own = await one(t);
      const session = await openSession(t, own, 'x', { version });
      const last = await broken(session, 'k');
      const rest = await session.get(last);
      await session.tool('changed', { what: 'tools' });
      await session.tool('release', { key: 'k' });
      assert.equal(await rest.ended, 'end');
      const [name] = last.split('-');
      assert.equal(rest.raw.toString(), `id: ${name}-2\nevent: message\ndata: ${JSON.stringify(answer('k'))}\n\n`);
      assert.deepEqual(heardByChild(own, 'notifications/cancelled'), [], 'a broken connection is no cancellation');
    });

    test(`of a call that has ended meanwhile replays what was missed, each time the same (${version}; T-46)`, async (t) => {
      const own = await one(t);
      const session = await openSession(t, own, 'x', { version });
      const last = await broken(session, 'k');
      await session.tool('release', { key: 'k' });
      await inFlight(own, 0);
      const [name] = last.split('-');
      for (const [from, expected] of [[last, [answer('k')]], [`${name}-0`, [step(1, 1), answer('k')]], [last, [answer('k')]]] as const) {
        const rest = await session.get(from);
        assert.equal(await rest.ended, 'end');
        assert.deepEqual(said(rest), expected);
      }
    });
  }

  test('of a stream whose old connection is still open: the new one has the rest, the old one falls silent and ends with it (R-93)', async (t) => {
    const own = await one(t);
    const session = await openSession(t, own);
    const call = await session.toolStream('progress', { steps: 2, hold: 'k' });
    await hears(call);
    await hears(call);
    const rest = await session.get(ids(call)[0]);
    assert.deepEqual(await hears(rest), step(2, 2));
    await session.tool('release', { key: 'k' });
    assert.equal(await rest.ended, 'end');
    assert.equal(await call.ended, 'end');
    assert.deepEqual(said(rest), [step(2, 2), answer(1)]);
    assert.deepEqual(said(call), [step(1, 2), step(2, 2)]);
  });

  test('of a stream that is complete, with nothing after it, is 405 (T-54a, T-54b)', async (t) => {
    const own = await one(t);
    const session = await openSession(t, own, 'x', { version: '2025-11-25' });
    const failed = await session.toolStream('progress', { steps: 1 });
    await failed.ended;
    const refused = await session.get(ids(failed).at(-1));
    assert.deepEqual([refused.status, refused.headers.allow], [405, 'POST, DELETE']);
    const cancelled = await session.toolStream('progress', { steps: 1, hold: 'k' }, 'c');
    await hears(cancelled);
    await session.notify('notifications/cancelled', { requestId: 'c' });
    assert.equal(await cancelled.ended, 'end');
    assert.deepEqual(said(cancelled), [step(1, 1)]);
    assert.equal((await session.get(ids(cancelled).at(-1))).status, 405);
  });

  test('of a stream that is complete, but has as many after it as there are events kept, is of one that is forgotten (R-94)', async (t) => {
    const own = await one(t, { limits: { logEvents: 3, sseAfterMs: 0 } });
    const session = await openSession(t, own, 'x', { version: '2025-11-25' });
    const running = await session.toolStream('hold', { key: 'k' }, 'h');
    const streams = [];
    for (let k = 0; k < 4; k++) {
      streams.push(await session.toolStream('progress', { steps: 1 }));
      await streams[k]!.ended;
    }
    const again = await Promise.all(streams.map((stream) => session.get(ids(stream).at(-1))));
    assert.deepEqual(again.map(({ status }) => status), [200, 405, 405, 405]);
    await session.tool('release', { key: 'k' });
    assert.equal(await running.ended, 'end');
  });

  test('of a stream that is complete finds it, however many were forgotten for their age before (R-94)', async (t) => {
    const clock = fakeClock();
    const own = await one(t, { clock, limits: { logEvents: 3, idleTimeoutMs: 0 } });
    await own.becomes('x', 'running');
    const session = await openSession(t, own, 'x', { version: '2025-11-25' });
    for (let k = 0; k < 4; k++) await (await session.toolStream('progress', { steps: 1 })).ended;
    await clock.run(300_001);
    const stream = await session.toolStream('progress', { steps: 1 });
    await stream.ended;
    assert.equal((await session.get(ids(stream).at(-1))).status, 405);
  });

  test('of a JSON-RPC error that ended a primed stream is 405 too (T-54a)', async (t) => {
    const own = await one(t, { limits: { sseAfterMs: 0 } });
    const session = await openSession(t, own, 'x', { version: '2025-11-25' });
    const stream = await session.toolStream('die', {}, 'd');
    assert.equal(await stream.ended, 'end');
    assert.equal(said(stream).at(-1).error.data.reason, 'child_exited');
    assert.equal((await session.get(ids(stream).at(-1))).status, 405);
  });

  test('of the standalone stream replays what came after it and goes on (R-93)', async (t) => {
    const own = await one(t);
    const session = await openSession(t, own);
    const get = await session.get();
    for (const what of ['tools', 'prompts', 'resources']) await session.tool('changed', { what });
    for (let k = 0; k < 3; k++) await hears(get);
    const [first] = ids(get);
    await get.close();
    const again = await session.get(first);
    assert.deepEqual([await hears(again), await hears(again)], [changed('prompts'), changed('resources')]);
    await session.tool('changed', { what: 'tools' });
    assert.deepEqual(await hears(again), changed('tools'));
    assert.deepEqual(ids(again), [2, 3, 4].map((seq) => first!.replace(/1$/, String(seq))));
  });

  test('keeps its server awake, and the time until that is idle counts from its end (R-151)', async (t) => {
    const clock = fakeClock();
    const own = await one(t, { clock, limits: { idleTimeoutMs: 60_000 } });
    await own.becomes('x', 'running');
    const session = await openSession(t, own);
    const get = await session.get();
    await clock.run(90_000);
    await get.close();
    for (let k = 0; k < 5; k++) await session.call('ping'); // which is no use of it, and comes after the end
    await clock.run(50_000);
    assert.equal(own.logged('idle').length, 0);
    await clock.run(20_000);
    assert.equal(own.logged('idle').length, 1);
  });

  test('that is foreign, forgotten or garbage opens a plain stream without a replay (T-47, R-94)', async (t) => {
    const clock = fakeClock();
    const own = await one(t, { clock, limits: { idleTimeoutMs: 0 } });
    await own.becomes('x', 'running');
    const [session, other] = [await openSession(t, own), await openSession(t, own)];
    const theirs = await other.toolStream('progress', { steps: 2 });
    await theirs.ended;
    const mine = await session.toolStream('progress', { steps: 2 });
    await mine.ended;
    assert.deepEqual(said(await ended(await session.get(ids(mine)[0]))), [step(2, 2), answer(1)]);
    await clock.run(300_001);
    for (const id of [ids(theirs)[0]!, ids(mine)[0]!, 'zzz-1', 'garbage', '-', '1-99999999999999999999', '']) {
      const get = await session.get(id);
      assert.equal(get.status, 200, id);
      await session.tool('changed', { what: 'tools' });
      assert.deepEqual(await hears(get), changed('tools'), id);
      assert.equal(said(get).length, 1, id);
      await get.close();
    }
  });

  test('finds only what the log still holds: the oldest events go first (R-90)', async (t) => {
    const own = await one(t, { limits: { logEvents: 3, sseAfterMs: 0 } });
    const session = await openSession(t, own);
    const call = await session.toolStream('progress', { steps: 5 });
    await call.ended;
    const rest = await ended(await session.get(ids(call)[0]));
    assert.deepEqual(said(rest), [step(4, 5), step(5, 5), answer(1)]);
  });

  test('finds nothing of a message that is larger than the whole log, which was delivered all the same (R-90)', async (t) => {
    const own = await one(t, { limits: { logBytes: 1_000 } });
    const session = await openSession(t, own, 'x', { accept: 'text/event-stream' });
    const call = await session.toolStream('big', { bytes: 5_000 });
    assert.equal(await call.ended, 'end');
    assert.equal(said(call).at(-1).result.content[0].text.length, 5_000);
    assert.equal((await session.get(ids(call)[0]!.replace(/1$/, '0'))).status, 405);
  });

  async function ended(stream: SseStream): Promise<SseStream> {
    assert.equal(await stream.ended, 'end');
    return stream;
  }
});

describe('log levels', () => {
  const log = (text: string): object => ({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', logger: 'fixture', data: text } });

  test('are a session\'s own: the child gets the most verbose, each session what it wants (T-57, R-45)', async (t) => {
    const own = await one(t);
    const [a, b] = [await openSession(t, own), await openSession(t, own)];
    const [getA, getB] = [await a.get(), await b.get()];
    assert.deepEqual((await a.call('logging/setLevel', { level: 'error' })).json(), answer(1, {}));
    assert.deepEqual((await b.call('logging/setLevel', { level: 'debug' })).json(), answer(1, {}));
    assert.deepEqual((await a.call('logging/setLevel', { level: 'warning' })).json(), answer(1, {}));
    assert.deepEqual((await childHas(own, 'logging/setLevel', 2)).map(({ params }) => params.level), ['error', 'debug']);
    await a.tool('log', { text: 'one', late: true });
    assert.deepEqual(await hears(getB), log('one'));
    await a.tool('log', { level: 'critical', text: 'two', late: true });
    for (const get of [getA, getB]) assert.equal((await hears(get)).params.data, 'two');
    assert.deepEqual([said(getA).length, said(getB).length], [1, 2]);
  });

  test('refuse what is no level, and exist only where the child logs (T-58)', async (t) => {
    const session = await openSession(t, proxy);
    for (const level of ['loud', 7, null, undefined]) {
      assert.deepEqual(errorOf(await session.call('logging/setLevel', { level })), [200, 1, -32602, 'invalid_params']);
    }
    const mute = await one(t, {}, '--no-logging');
    assert.deepEqual(errorOf(await (await openSession(t, mute)).call('logging/setLevel', { level: 'info' })), [200, 1, -32601, 'method_not_found']);
  });

  test('a line during a call is for its caller, on the stream of the call; with two callers it is for nobody (R-47)', async (t) => {
    const own = await one(t);
    const [a, b] = [await openSession(t, own), await openSession(t, own)];
    const [getA, getB] = [await a.get(), await b.get()];
    const call = await a.toolStream('log', { text: 'mine', delayMs: 1 });
    await call.ended;
    assert.deepEqual(said(call), [log('mine'), answer(1)]);
    const held = await b.toolStream('progress', { steps: 1, hold: 'k' });
    await a.tool('log', { text: 'whose?' });
    await a.tool('release', { key: 'k' });
    await held.ended;
    await a.tool('changed', { what: 'tools' });
    for (const get of [getA, getB]) {
      await hears(get);
      assert.deepEqual(said(get), [changed('tools')]);
    }
    assert.deepEqual(said(held), [step(1, 1), answer(1)]);
  });

  test('are told to the next process after a crash (R-154)', async (t) => {
    const own = await one(t, { limits: { backoffFirstMs: 1 } });
    const session = await openSession(t, own);
    await session.call('logging/setLevel', { level: 'debug' });
    await session.call('tools/call', { name: 'die' });
    await session.tool('journal', { until: 'logging/setLevel' });
    assert.equal((await childHas(own, 'logging/setLevel', 2)).length, 2);
  });
});

describe('subscriptions', () => {
  const uri = 'test://note';

  test('are counted: the child hears of the first and of the last session only (T-55)', async (t) => {
    const own = await one(t);
    const [a, b, c] = [await openSession(t, own), await openSession(t, own), await openSession(t, own)];
    for (const session of [a, b, c, a]) assert.deepEqual((await session.call('resources/subscribe', { uri })).json(), answer(1, {}));
    assert.deepEqual((await a.call('resources/unsubscribe', { uri })).json(), answer(1, {}));
    assert.deepEqual((await a.call('resources/unsubscribe', { uri })).json(), answer(1, {}));
    assert.deepEqual((await a.call('resources/unsubscribe', { uri: 'test://other' })).json(), answer(1, {}));
    assert.deepEqual((await b.tool('journal')).subscribed, [uri]);
    await c.delete();
    assert.deepEqual((await b.tool('journal')).subscribed, [uri]);
    assert.equal(heardByChild(own, 'resources/subscribe').length, 1);
    assert.equal(heardByChild(own, 'resources/unsubscribe').length, 0);
    await b.delete();
    assert.deepEqual((await childHas(own, 'resources/unsubscribe')).map(({ params }) => params.uri), [uri]);
  });

  test('at the same time share one request to the child and its answer (R-53)', async (t) => {
    const own = await one(t);
    const sessions = [await openSession(t, own), await openSession(t, own), await openSession(t, own)];
    const replies = await Promise.all(sessions.map((session, k) => session.call('resources/subscribe', { uri }, k)));
    assert.deepEqual(replies.map((reply) => reply.json()), [0, 1, 2].map((k) => answer(k, {})));
    assert.equal(heardByChild(own, 'resources/subscribe').length, 1);
  });

  test('bring updates of the resource, or of what is below it, to who holds it and to nobody else (T-56, R-54)', async (t) => {
    const own = await one(t);
    const [a, b] = [await openSession(t, own), await openSession(t, own)];
    const [getA, getB] = [await a.get(), await b.get()];
    await a.call('resources/subscribe', { uri: 'test://folder' });
    for (const updated of ['test://folder', 'test://folder/page', 'test://folders', 'test://note', 'test://folder?q']) await b.tool('updated', { uri: updated });
    await b.tool('changed', { what: 'tools' });
    await getA.next((item) => 'event' in item && item.data.includes('list_changed'));
    await getB.next((item) => 'event' in item && item.data.includes('list_changed'));
    assert.deepEqual(said(getA).flatMap(({ params }) => params?.uri ?? []), ['test://folder', 'test://folder/page', 'test://folder?q']);
    assert.deepEqual(said(getB), [changed('tools')]);
  });

  test('are made again at the next process after a crash (R-154)', async (t) => {
    const own = await one(t, { limits: { backoffFirstMs: 1 } });
    const session = await openSession(t, own);
    await session.call('resources/subscribe', { uri });
    await session.call('tools/call', { name: 'die' });
    assert.deepEqual((await session.tool('journal', { until: 'resources/subscribe' })).subscribed, [uri]);
  });
});

describe('cancellation', () => {
  test('reaches the child under its own id, and the POST ends without an answer (T-49)', async (t) => {
    const own = await one(t);
    const session = await openSession(t, own);
    const call = await session.toolStream('progress', { steps: 1, hold: 'k' }, 'c');
    await hears(call);
    await session.notify('notifications/cancelled', { requestId: 'c', reason: 'enough' });
    assert.equal(await call.ended, 'end');
    assert.deepEqual(said(call), [step(1, 1)]);
    const [{ params }] = await childHas(own, 'notifications/cancelled');
    const called = heardByChild(own, 'tools/call').find((each) => each.params.name === 'progress');
    assert.deepEqual(params, { requestId: called.id, reason: 'enough' });
  });

  test('of a call that has no stream yet: an empty stream, or for a JSON client an error (R-30)', async (t) => {
    const own = await one(t);
    const [both, plain] = [await openSession(t, own), await openSession(t, own, 'x', { accept: 'application/json' })];
    const [a, b] = [both.stream('tools/call', { name: 'hold', arguments: { key: 'k' } }, 5), plain.call('tools/call', { name: 'hold', arguments: { key: 'k' } }, 5)];
    await inFlight(own, 2);
    for (const session of [both, plain]) await session.notify('notifications/cancelled', { requestId: 5 });
    assert.equal(await (await a).ended, 'end');
    assert.deepEqual([(await a).status, said(await a)], [200, []]);
    assert.deepEqual(errorOf(await b), [200, 5, -32603, 'cancelled']);
  });

  test('of an id that is unknown, of another type or of another session does nothing (T-50)', async (t) => {
    const own = await one(t);
    const [a, b] = [await openSession(t, own), await openSession(t, own)];
    const call = await a.toolStream('progress', { steps: 1, hold: 'k' }, 1);
    await hears(call);
    for (const requestId of ['1', 2, null, { id: 1 }, undefined]) assert.equal((await a.notify('notifications/cancelled', { requestId })).status, 202);
    assert.equal((await a.notify('notifications/cancelled')).status, 202);
    assert.equal((await b.notify('notifications/cancelled', { requestId: 1 })).status, 202);
    await b.tool('release', { key: 'k' });
    assert.equal(await call.ended, 'end');
    assert.deepEqual(said(call), [step(1, 1), answer(1)]);
    assert.deepEqual(heardByChild(own, 'notifications/cancelled'), []);
  });

  test('a disconnect is none: the child works on (T-48)', async (t) => {
    const own = await one(t);
    const session = await openSession(t, own);
    const leaving = new AbortController();
    const call = own.call('x', 'tools/call', { name: 'hold', arguments: { key: 'k' } }, { headers: { ...session.headers }, signal: leaving.signal });
    await inFlight(own, 1);
    leaving.abort();
    await assert.rejects(call);
    await session.tool('echo');
    assert.equal((await own.status())['x'].pendingRequests, 1);
    await session.tool('release', { key: 'k' });
    await inFlight(own, 0);
    assert.deepEqual(heardByChild(own, 'notifications/cancelled'), []);
  });
});

describe('batches', () => {
  const echo = (id: unknown): object => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'echo', arguments: { id } } });
  const note = { jsonrpc: '2.0', method: 'notifications/made/up' };

  test('are answered in order in a session of 2025-03-26, and refused in every other (T-65)', async (t) => {
    for (const version of REVISIONS) {
      const session = await openSession(t, proxy, 'x', { version });
      const reply = await session.post([echo('a'), note, echo(2), { jsonrpc: '2.0', id: 'p', method: 'ping' }]);
      if (version !== '2025-03-26') {
        assert.deepEqual(errorOf(reply), [400, null, -32600, 'invalid_request'], version);
        continue;
      }
      assert.equal(reply.status, 200);
      assert.deepEqual(reply.json().map(({ id }: any) => id), ['a', 2, 'p']);
      assert.deepEqual(reply.json()[0].result.structuredContent, { id: 'a' });
    }
  });

  test('of notifications and responses only are taken with 202; what is invalid has an error of its own (R-97)', async (t) => {
    const session = await openSession(t, proxy, 'x', { version: '2025-03-26' });
    const taken = await session.post([note, { jsonrpc: '2.0', id: 1, result: {} }]);
    assert.deepEqual([taken.status, taken.text], [202, '']);
    const mixed = (await session.post([{ no: 'message' }, echo(1)])).json();
    assert.deepEqual(mixed.map(({ id, error }: any) => [id, error?.code]), [[null, -32600], [1, undefined]]);
    assert.equal((await session.post([])).status, 400);
  });

  test('are one event each for a client that reads only streams', async (t) => {
    const session = await openSession(t, proxy, 'x', { version: '2025-03-26', accept: 'text/event-stream' });
    const stream = await openSse(mcp, { ...session.headers, 'Content-Type': 'application/json' }, { method: 'POST', body: JSON.stringify([echo(1), echo(2)]) });
    assert.equal(await stream.ended, 'end');
    assert.deepEqual(said(stream).map(({ id }) => id), [1, 2]);
  });

  test('never hold an initialize (T-66)', async (t) => {
    const session = await openSession(t, proxy, 'x', { version: '2025-03-26' });
    for (const headers of [session.headers, {}]) assert.equal((await post(mcp, [initialize('2025-03-26'), echo(1)], headers)).status, 400);
  });

  test('end with the answers there are when one request of them is cancelled', async (t) => {
    const own = await one(t);
    const session = await openSession(t, own, 'x', { version: '2025-03-26' });
    const hold = { jsonrpc: '2.0', id: 'h', method: 'tools/call', params: { name: 'hold', arguments: { key: 'k' } } };
    const reply = session.post([hold, echo(1)]);
    await childHas(own, 'tools/call', 2);
    await session.notify('notifications/cancelled', { requestId: 'h' });
    assert.deepEqual((await reply).json().map(({ id, error }: any) => [id, error?.data.reason]), [['h', 'cancelled'], [1, undefined]]);
  });
});

describe('the end of a session', () => {
  test('answers every open exchange, ends its streams and gives back what it held (R-84a, R-89)', async (t) => {
    const own = await one(t);
    const [session, other] = [await openSession(t, own, 'x', { version: '2025-11-25' }), await openSession(t, own)];
    await session.call('resources/subscribe', { uri: 'test://note' });
    const [get, theirs] = [await session.get(), await other.get()];
    const streaming = await session.toolStream('progress', { steps: 1, hold: 'k' }, 's');
    await hears(streaming);
    const json = session.post({ jsonrpc: '2.0', id: 'j', method: 'tools/call', params: { name: 'hold', arguments: { key: 'k' } } });
    await inFlight(own, 2);
    assert.equal((await session.delete()).status, 204);
    assert.deepEqual(errorOf(await json), [200, 'j', -32603, 'session_closed']);
    assert.equal(await streaming.ended, 'end');
    assert.deepEqual([said(streaming).at(-1).id, said(streaming).at(-1).error.data.reason], ['s', 'session_closed']);
    assert.equal(await get.ended, 'end');
    await childHas(own, 'resources/unsubscribe');
    assert.equal((await childHas(own, 'notifications/cancelled', 2)).length, 2);
    await other.tool('changed', { what: 'tools' });
    assert.deepEqual(await hears(theirs), changed('tools'));
  });

  test('comes after thirty minutes without a request in flight and without an open stream, counted from the last use', async (t) => {
    const clock = fakeClock();
    const own = await one(t, { clock, limits: { idleTimeoutMs: 0, requestTimeoutMs: 0, requestHardCapMs: 2 ** 31 - 1 } });
    await own.becomes('x', 'running');
    const MIN = 60_000;
    const [used, idle, reading, calling] = [await openSession(t, own), await openSession(t, own), await openSession(t, own), await openSession(t, own)];
    const get = await reading.get();
    const call = await calling.toolStream('progress', { steps: 1, hold: 'k' }, 'c');
    await hears(call);
    await clock.run(29 * MIN);
    assert.equal((await used.call('ping')).status, 200);
    await clock.run(1 * MIN);
    assert.equal((await idle.call('ping')).status, 404);
    assert.equal((await used.call('ping')).status, 200);
    await clock.run(45 * MIN);
    assert.equal((await used.call('ping')).status, 404);
    assert.equal((await calling.call('ping', {}, 'p')).status, 200);
    await get.close();
    await call.close();
    await clock.run(31 * MIN);
    assert.equal((await reading.call('ping')).status, 404);
    assert.equal((await calling.call('ping', {}, 'p')).status, 200, 'its call is still in flight');
  });

  test('is not hastened by the time that its last call took (R-89)', async (t) => {
    const clock = fakeClock();
    const own = await one(t, { clock, limits: { idleTimeoutMs: 0, requestTimeoutMs: 0, requestHardCapMs: 2 ** 31 - 1 } });
    await own.becomes('x', 'running');
    const [session, other] = [await openSession(t, own, 'x', { accept: 'application/json' }), await openSession(t, own)];
    const call = session.call('tools/call', { name: 'hold', arguments: { key: 'k' } }, 'c');
    await inFlight(own, 1);
    await clock.run(20 * 60_000);
    assert.equal((await other.call('ping')).status, 200);
    await clock.run(30 * 60_000 - 1);
    await other.tool('release', { key: 'k' });
    assert.deepEqual((await call).json(), answer('c'));
    await clock.run(20 * 60_000);
    assert.equal((await session.call('ping')).status, 200);
  });

  test('comes to the longest idle one where a new one finds no room, never to one in use; then there is 503', async (t) => {
    const own = await one(t, { limits: { maxSessions: 2 } });
    const [a, b] = [await openSession(t, own), await openSession(t, own)];
    await a.call('ping');
    const c = await openSession(t, own);
    assert.deepEqual([(await a.call('ping')).status, (await b.call('ping')).status, (await c.call('ping')).status], [200, 404, 200]);
    await a.get();
    const call = await c.toolStream('progress', { steps: 1, hold: 'k' });
    await hears(call);
    const refused = await post(own.url('/x/mcp'), initialize('2025-06-18'), { Accept: BOTH });
    assert.deepEqual(errorOf(refused), [503, 1, -32603, 'session_limit']);
    assert.deepEqual([(await a.call('ping')).status, (await c.call('ping', {}, 'p')).status], [200, 200]);
  });

  test('is not avoided by opening many sessions at once while the server starts (R-89)', async (t) => {
    const go = join(tempDir(t), 'go');
    const own = await one(t, { limits: { maxSessions: 2 } }, '--start-when', go);
    const opening = Array.from({ length: 5 }, (_, k) => post(own.url('/x/mcp'), initialize('2025-06-18', {}, k), { Accept: BOTH }));
    await inFlight(own, 2); // the others are refused at once
    writeFileSync(go, '');
    const replies = await Promise.all(opening);
    const sessions = replies.flatMap(({ headers }) => headers['mcp-session-id'] ?? []);
    const alive = await Promise.all(
      sessions.map((id) => post(own.url('/x/mcp'), { jsonrpc: '2.0', id: 1, method: 'ping' }, { Accept: BOTH, 'Mcp-Session-Id': String(id) })),
    );
    assert.deepEqual(alive.map(({ status }) => status), [200, 200]);
    const refused = replies.filter(({ status }) => status !== 200);
    assert.deepEqual(refused.map((reply) => [reply.status, reply.json().error.data.reason]), Array(3).fill([503, 'session_limit']));
  });

  for (const [what, next] of [['removed', {}], ['disabled', { x: { ...node('server.mjs'), disabled: true } }]] as const) {
    test(`comes when its server is ${what}: streams end, calls are answered, and the id stays unknown when it is back`, async (t) => {
      const own = await startProxy(t, { x: node('server.mjs'), y: node('server.mjs') }, { limits: { drainReloadMs: 50 }, file: 'written' });
      const [x, y] = [await openSession(t, own), await openSession(t, own, 'y')];
      const [getX, getY] = [await x.get(), await y.get()];
      const call = await x.toolStream('progress', { steps: 1, hold: 'k' }, 'c');
      await hears(call);
      await own.configure({ ...next, y: node('server.mjs') });
      assert.equal(await getX.ended, 'end');
      assert.equal(await call.ended, 'end');
      assert.deepEqual([said(call).at(-1).id, said(call).at(-1).error.code], ['c', -32603]);
      await own.configure({ x: node('server.mjs'), y: node('server.mjs') });
      assert.equal((await x.call('ping')).status, 404);
      await y.tool('changed', { what: 'tools' });
      assert.deepEqual(await hears(getY), changed('tools'));
    });
  }

  test('does not come with a reload: session, stream and event ids go on with the new process (R-155)', async (t) => {
    const own = await startProxy(t, { x: node('server.mjs') }, { file: 'written' });
    const session = await openSession(t, own);
    const get = await session.get();
    await session.call('resources/subscribe', { uri: 'test://note' });
    await own.configure({ x: node('server.mjs', '--instructions', 'new') });
    await until(() => own.spawned('x').length === 2, 'the second process');
    for (let k = 0; k < 3; k++) await hears(get);
    assert.deepEqual(said(get).map(({ method }) => method).sort(), ['prompts', 'resources', 'tools'].map((kind) => `notifications/${kind}/list_changed`));
    assert.deepEqual((await session.tool('journal')).subscribed, ['test://note']);
    assert.deepEqual(ids(get).map((id) => id.split('-')[1]), ['1', '2', '3']);
  });

  test('gives back the process of a client that left before its initialize was answered (R-157)', async (t) => {
    const go = join(tempDir(t), 'go');
    const own = await startProxy(t, { x: { ...node('server.mjs', '--start-when', go), isolation: 'session' } }, { limits: { maxIsolated: 1 } });
    const leaving = new AbortController();
    const left = request(own.url('/x/mcp'), { method: 'POST', headers: { 'Content-Type': 'application/json', Accept: BOTH }, body: JSON.stringify(initialize('2025-06-18')), signal: leaving.signal });
    await own.becomes('x', (status) => status.sessions === 1);
    leaving.abort();
    await assert.rejects(left);
    await own.becomes('x', (status) => status.sessions === undefined);
    writeFileSync(go, '');
    await openSession(t, own);
  });
});
