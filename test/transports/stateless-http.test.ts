// Streamable HTTP of 2026-07-28 as it is on the wire, in front of children of both eras: what a request must say, in which
// order that is checked, and what results and errors look like.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { tempDir } from '../support/files.ts';
import { post, request, type Reply } from '../support/http.ts';
import { ERAS, key, modernClient, modernRequest, VERSION, type ModernOptions } from '../support/modern.ts';
import { endOf, errorOf, node, startProxy, type ProxySetup, type TestProxy } from '../support/proxy.ts';
import { BOTH, childHas, heardByChild, inFlight, said } from '../support/session.ts';

type EraName = keyof typeof ERAS;
const eras = Object.keys(ERAS) as EraName[];

const SERVER_INFO = { [key('serverInfo')]: { name: 'fixture', version: '1.0.0' } };

function one(t: TestContext, era: EraName, setup: ProxySetup = {}, ...args: string[]): Promise<TestProxy> {
  // Calls that a test leaves open must not keep its end waiting.
  return startProxy(t, { x: node('server.mjs', ...ERAS[era], ...args) }, { ...setup, limits: { drainShutdownMs: 50, ...setup.limits } });
}

const proxy = await startProxy(
  { after },
  {
    ...Object.fromEntries(eras.map((era) => [era, node('server.mjs', ...ERAS[era], '--instructions', 'be kind')])),
    legacyTools: node('server.mjs', '--capabilities', '{"tools":{}}'),
    modernTools: node('server.mjs', '--modern-only', '--capabilities', '{"tools":{}}'),
    old: node('server.mjs', '--version', '2024-11-05', '--capabilities', '{"tools":{}}'),
    off: { ...node('server.mjs'), disabled: true },
  },
);
const clients = Object.fromEntries(['legacy', 'modern', 'legacyTools', 'modernTools', 'old', 'off', 'nobody'].map((name) => [name, modernClient({ after }, proxy, name)]));

const refusal = (reply: Reply): unknown[] => {
  const { id, error } = reply.json();
  return [reply.status, id, error.code];
};

for (const era of eras) {
  const client = clients[era]!;

  describe(`in front of a ${era} child, server/discover`, () => {
    test('is answered with what the child is, and with the one version that a claim can name (T-71, R-107)', async () => {
      const { id, result } = (await client.post('server/discover', {}, { id: 'd' })).json();
      assert.equal(id, 'd');
      const [ttlMs, cacheScope] = era === 'modern' ? [60_000, 'public'] : [0, 'private'];
      const lists = { listChanged: true };
      assert.deepEqual(result, {
        resultType: 'complete',
        supportedVersions: [VERSION],
        capabilities: { tools: lists, resources: { subscribe: true, ...lists }, prompts: lists, completions: {}, logging: {} },
        instructions: 'be kind',
        ttlMs,
        cacheScope,
        _meta: SERVER_INFO,
      });
    });

    test('waits for the child, and is JSON however long that takes (R-82, R-150a)', async (t) => {
      const clock = fakeClock();
      const dir = tempDir(t);
      const own = await one(t, era, { clock }, '--start-when', join(dir, 'go'));
      const reply = modernClient(t, own).post('server/discover');
      await inFlight(own, 1);
      await clock.run(4_000);
      writeFileSync(join(dir, 'go'), '');
      assert.deepEqual([(await reply).status, (await reply).headers['content-type']], [200, 'application/json']);
      assert.deepEqual((await reply).json().result.supportedVersions, [VERSION]);
    });
  });

  describe(`in front of a ${era} child, a request`, () => {
    const refused: readonly (readonly [what: string, method: string, params: Record<string, unknown>, options: ModernOptions, code: number])[] = [
      ['without the version header (T-72)', 'tools/list', {}, { headers: { 'MCP-Protocol-Version': undefined } }, -32020],
      ['with another version in the header (T-72)', 'tools/list', {}, { headers: { 'MCP-Protocol-Version': '2025-11-25' } }, -32020],
      ['with a version in the header alone (T-74)', 'tools/list', {}, { meta: { [key('protocolVersion')]: undefined } }, -32602],
      ['with a version that is no string', 'tools/list', {}, { meta: { [key('protocolVersion')]: 20260728 } }, -32602],
      ['without capabilities (T-74)', 'tools/list', {}, { meta: { [key('clientCapabilities')]: undefined } }, -32602],
      ['with capabilities that are no object', 'tools/list', {}, { meta: { [key('clientCapabilities')]: [] } }, -32602],
      ['with a log level that is none (R-48)', 'tools/list', {}, { logLevel: 'loud' }, -32602],
      ['without Mcp-Method (T-75)', 'tools/list', {}, { headers: { 'Mcp-Method': undefined } }, -32020],
      ['with another Mcp-Method (T-75)', 'tools/list', {}, { headers: { 'Mcp-Method': 'tools/call' } }, -32020],
      ['with Mcp-Method in another case (T-75)', 'tools/list', {}, { headers: { 'Mcp-Method': 'Tools/list' } }, -32020],
      ['without Mcp-Name (T-76)', 'tools/call', { name: 'echo' }, { headers: { 'Mcp-Name': undefined } }, -32020],
      ['with another Mcp-Name (T-76)', 'tools/call', { name: 'echo' }, { headers: { 'Mcp-Name': 'Echo' } }, -32020],
      ['with an Mcp-Name where the body has none', 'tools/call', {}, { headers: { 'Mcp-Name': 'echo' } }, -32020],
      ['with bad base64 in Mcp-Name (T-76)', 'tools/call', { name: 'echo' }, { headers: { 'Mcp-Name': '=?base64?ZWNob?=' } }, -32020],
      ['with base64 of no UTF-8 in Mcp-Name (R-102)', 'tools/call', { name: 'echo' }, { headers: { 'Mcp-Name': '=?base64?/w==?=' } }, -32020],
      ['with an upper-case sentinel (R-102)', 'tools/call', { name: 'echo' }, { headers: { 'Mcp-Name': '=?BASE64?ZWNobw==?=' } }, -32020],
      ['with an Mcp-Name beyond ASCII (R-102)', 'tools/call', { name: 'é' }, { headers: { 'Mcp-Name': 'é' } }, -32020],
      ['with another prompt in Mcp-Name', 'prompts/get', { name: 'plain' }, { headers: { 'Mcp-Name': 'greet' } }, -32020],
      ['with another resource in Mcp-Name', 'resources/read', { uri: 'test://note' }, { headers: { 'Mcp-Name': 'test://' } }, -32020],
      ['about another task than Mcp-Name says (R-101)', 'tasks/get', { taskId: 'a' }, { headers: { 'Mcp-Name': 'b' } }, -32020],
    ];
    for (const [what, method, params, options, code] of refused) {
      test(`${what} is refused with 400 and ${code}`, async () => {
        const before = proxy.received(era).length;
        const reply = await client.post(method, params, { id: 'q', ...options });
        assert.deepEqual(errorOf(reply).slice(0, 3), [400, 'q', code]);
        if (code === -32020) assert.match(reply.json().error.message, /^Header mismatch: /);
        assert.deepEqual(proxy.received(era).slice(before), [], 'the child hears nothing of it');
      });
    }

    const served: readonly (readonly [what: string, method: string, params: Record<string, unknown>, options: ModernOptions])[] = [
      ['without clientInfo (T-74)', 'tools/list', {}, { meta: { [key('clientInfo')]: undefined } }],
      ['with header names in any case (T-75)', 'tools/list', {}, { headers: { 'Mcp-Method': undefined, 'mCP-mETHOD': 'tools/list' } }],
      ['with spaces around Mcp-Name (T-76)', 'tools/call', { name: 'echo' }, { headers: { 'Mcp-Name': '  echo \t' } }],
      ['with Mcp-Name in base64 (T-76)', 'tools/call', { name: 'echo' }, { headers: { 'Mcp-Name': '=?base64?ZWNobw==?=' } }],
      ['that names a session and an event, which it cannot have (T-83)', 'tools/list', {}, { headers: { 'Mcp-Session-Id': 'nonsense', 'Last-Event-ID': '1-1' } }],
      ['with Mcp-Name where none belongs', 'tools/list', {}, { headers: { 'Mcp-Name': 'whatever' } }],
      ['with Mcp-Param headers that no tool declares (R-103)', 'tools/call', { name: 'echo' }, { headers: { 'Mcp-Param-Nonsense': '\u00e9' } }],
    ];
    for (const [what, method, params, options] of served) {
      test(`${what} is served`, async () => {
        const reply = await client.post(method, params, { id: 'q', ...options });
        assert.deepEqual([reply.status, reply.headers['content-type'], reply.json().id], [200, 'application/json', 'q'], reply.text);
        assert.equal(reply.headers['mcp-session-id'], undefined);
      });
    }

    test('of a version that the proxy does not speak is told which it does, and nothing else (T-73)', async () => {
      for (const requested of ['v999.0.0', '2027-01-01', '2025-11-25', '']) {
        const reply = await client.post('tools/list', {}, { id: 'q', meta: { [key('protocolVersion')]: requested }, headers: { 'MCP-Protocol-Version': requested } });
        assert.deepEqual(refusal(reply), [400, 'q', -32022], requested);
        assert.deepEqual(reply.json().error.data, { supported: [VERSION], requested });
      }
    });

    for (const method of ['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe', 'tasks/list', 'tasks/result']) {
      test(`for ${method}, which belongs to the revisions with a handshake, is 404 and -32601 (T-78)`, async () => {
        const before = proxy.received(era).length;
        assert.deepEqual(errorOf(await client.post(method, { uri: 'test://note', level: 'info' }, { id: 'q' })), [404, 'q', -32601, 'method_not_found']);
        assert.equal(proxy.received(era).length, before);
      });
    }

    test('for a method that the child does not know is 404, -32601, with the words of the child (T-79, R-104)', async () => {
      const reply = await client.post('vendor/unknown', {}, { id: 'q' });
      assert.deepEqual([reply.status, reply.json()], [404, { jsonrpc: '2.0', id: 'q', error: { code: -32601, message: 'method not found: vendor/unknown' } }]);
    });

    test('for something of a capability that the child does not declare is 404 without asking it (T-79, R-104)', async () => {
      const name = `${era}Tools`;
      for (const [method, params] of [['prompts/list', {}], ['prompts/get', { name: 'plain' }], ['resources/list', {}], ['resources/templates/list', {}], ['resources/read', { uri: 'test://note' }], ['completion/complete', {}]] as const) {
        assert.deepEqual(errorOf(await clients[name]!.post(method, params, { id: 'q' })), [404, 'q', -32601, 'method_not_found'], method);
        assert.equal(heardByChild(proxy, method, name).length, 0);
      }
      assert.equal((await clients[name]!.post('tools/list')).status, 200);
    });

    test('about a task gets from a legacy child, which has another kind of them, 404; a modern one is asked (R-101, R-135)', async () => {
      for (const method of ['tasks/get', 'tasks/update', 'tasks/cancel']) {
        for (const headers of [{}, { 'Mcp-Name': 'a' }]) assert.deepEqual(refusal(await client.post(method, { taskId: 'a' }, { headers })), [404, 1, -32601]);
        assert.equal(heardByChild(proxy, method, era).length, era === 'modern' ? 2 : 0, method);
      }
    });

    test('keeps what its _meta says beyond the envelope; the envelope itself is for a modern child only (T-95, R-26)', async () => {
      const trace = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=1', baggage: 'b=2', 'com.example/own': { deep: [1] } };
      await client.call('echo', {}, { meta: trace, logLevel: 'error', capabilities: { roots: {} } });
      const { params } = heardByChild(proxy, 'tools/call', era).at(-1);
      const envelope = { [key('protocolVersion')]: VERSION, [key('clientInfo')]: { name: 'test', version: '1' }, [key('clientCapabilities')]: { roots: {} }, [key('logLevel')]: 'error' };
      assert.deepEqual(params._meta, era === 'modern' ? { ...envelope, ...trace } : trace);
      await client.post('prompts/list');
      assert.equal('_meta' in (heardByChild(proxy, 'prompts/list', era).at(-1).params ?? {}), era === 'modern');
    });

    test('of ten megabytes, and an answer as big, pass whole (R-5, R-69)', async () => {
      const text = 'ż'.repeat(5_242_000);
      const reply = await client.call('echo', { text, n: 9007199254740993n.toString() }, { id: 'ż' });
      assert.equal(reply.status, 200);
      const { id, result } = reply.json();
      assert.deepEqual([id, result.resultType, result._meta], ['ż', 'complete', SERVER_INFO]);
      assert.equal(result.structuredContent.text, text);
      const big = await client.call('big', { bytes: 10_485_760, unicode: true });
      assert.equal(big.body.includes('"resultType":"complete"'), true);
      assert.equal(Buffer.byteLength(big.json().result.content[0].text), 10_485_760);
      const more = await client.post('tools/list', { text: 'x'.repeat(10_485_760) });
      assert.deepEqual(refusal(more).slice(0, 3), [413, undefined, -32600]);
    });
  });

  describe(`in front of a ${era} child, a result`, () => {
    test('of a list or of a resource says how long it may be kept, as the child says it or not at all (T-80, R-106)', async () => {
      const [ttlMs, cacheScope] = era === 'modern' ? [60_000, 'public'] : [0, 'private'];
      for (const [method, params] of [['tools/list', {}], ['prompts/list', {}], ['resources/list', {}], ['resources/templates/list', {}], ['resources/read', { uri: 'test://note' }]] as const) {
        const { result } = (await client.post(method, params)).json();
        assert.deepEqual([result.resultType, result.ttlMs, result.cacheScope, result._meta], ['complete', ttlMs, cacheScope, SERVER_INFO], method);
      }
    });

    test('of a call is complete and says whose it is, and that is all (R-106)', async () => {
      for (const [method, params] of [['tools/call', { name: 'echo', arguments: {} }], ['prompts/get', { name: 'plain' }], ['completion/complete', { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'name', value: 'p' } }]] as const) {
        const { result } = (await client.post(method, params)).json();
        assert.deepEqual([result.resultType, result.ttlMs, result.cacheScope, result._meta], ['complete', undefined, undefined, SERVER_INFO], method);
      }
    });

    test('keeps every digit that the child wrote (R-5)', async () => {
      const reply = await client.call('unsafe', {}, { id: 'q' });
      assert.ok(reply.text.includes('"structuredContent":{"integer":9007199254740993,"float":1e400,"id":-0.10,"2":2,"1":1}'), reply.text);
      assert.equal(reply.json().result.resultType, 'complete');
    });
  });

  describe(`in front of a ${era} child, an error of the child`, () => {
    const original = (code: number): unknown => ({ source: 'mcp-proxy', reason: 'bad_answer', originalError: { code, message: 'no', data: { why: 1 } } });
    const mine = (): unknown => ({ why: 1 });
    const rows: readonly (readonly [code: number, status: number, out: number, data: (code: number) => unknown])[] = [
      [-32601, 200, -32601, mine],
      [-32602, 200, -32602, mine],
      [-32603, 200, -32603, mine],
      [-1, 200, -1, mine],
      [-32002, 200, era === 'legacy' ? -32602 : -32002, mine],
      [-32020, 200, -32603, original],
      [-32022, 200, -32603, original],
      ...(era === 'legacy' ? ([[-32021, 200, -32603, original], [-32050, 200, -32603, original], [-32042, 200, -32603, original]] as const) : ([[-32021, 400, -32021, mine], [-32050, 200, -32050, mine]] as const)),
    ];
    for (const [code, status, out, data] of rows) {
      test(`with ${code} to a call is ${status}, ${out} (R-104, R-105, T-81)`, async () => {
        const reply = await client.call('fail', { code, message: 'no', data: { why: 1 } }, { id: 'q' });
        assert.deepEqual(refusal(reply), [status, 'q', out]);
        assert.deepEqual(reply.json().error.data, data(code));
      });
    }

    test('that a resource is missing is -32602 (T-81)', async () => {
      const reply = await client.post('resources/read', { uri: 'test://missing' }, { id: 'q' });
      assert.deepEqual([refusal(reply), reply.json().error.data], [[200, 'q', -32602], { uri: 'test://missing' }]);
    });

    test('comes in the stream, with its own status gone, once a head was sent (R-105)', async () => {
      const stream = await client.toolStream('raw', { lines: ['{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN,"progress":1}}', '{"jsonrpc":"2.0","id":$ID,"error":{"code":-32601,"message":"no"}}'], quiet: true }, { progressToken: 'p' });
      assert.equal(await endOf(stream), 'end');
      assert.deepEqual([stream.status, said(stream).at(-1).error.code], [200, -32601]);
    });
  });

  describe(`in front of a ${era} child, a tool with arguments in headers`, () => {
    const WHERE = { where: { city: 'Łódź' } };
    const city = { 'Mcp-Param-City': `=?base64?${Buffer.from('Łódź').toString('base64')}?=` };
    const rows: readonly (readonly [what: string, args: object, headers: Record<string, string>, ok: boolean])[] = [
      ['no argument and no header', {}, {}, true],
      ['null arguments and no header', { region: null, count: null, dry: null, where: null }, {}, true],
      ['equal headers', { region: 'us', count: 42, dry: false, ...WHERE }, { 'Mcp-Param-Region': 'us', 'mcp-param-count': '42', 'Mcp-Param-Dry': 'false', ...city }, true],
      ['42.0 for 42', { count: 42 }, { 'Mcp-Param-Count': '42.0' }, true],
      ['a header without its argument', {}, { 'Mcp-Param-Region': 'us' }, true],
      ['a header missing', { region: 'us' }, {}, false],
      ['a nested one missing', WHERE, {}, false],
      ['another value', { region: 'us' }, { 'Mcp-Param-Region': 'eu' }, false],
      ['another case', { dry: true }, { 'Mcp-Param-Dry': 'True' }, false],
      ['another number', { count: 42 }, { 'Mcp-Param-Count': '43' }, false],
      ['bad base64', { region: 'us' }, { 'Mcp-Param-Region': '=?base64?dXM?=' }, false],
    ];
    for (const [what, args, headers, ok] of rows) {
      test(`called with ${what} is ${ok ? 'served' : 'refused with 400 and -32020'} (T-77, R-103)`, async () => {
        const before = heardByChild(proxy, 'tools/call', era).length;
        const reply = await client.call('headers', args, { headers });
        if (ok) assert.deepEqual(reply.json().result.structuredContent, args);
        else assert.deepEqual(errorOf(reply), [400, 1, -32020, 'header_mismatch']);
        assert.equal(heardByChild(proxy, 'tools/call', era).length - before, ok ? 1 : 0);
      });
    }

    test('called with an argument that is there twice is refused, because the child may read the other (R-5)', async () => {
      const { headers, message } = modernRequest('tools/call', { name: 'headers', arguments: {} }, { headers: { 'Mcp-Param-Region': 'us' } });
      const text = JSON.stringify(message).replace('"arguments":{}', '"arguments":{"region":"us","region":"eu"}');
      assert.deepEqual(errorOf(await post(proxy.url(`/${era}/mcp`), text, headers)), [400, 1, -32600, 'invalid_request']);
    });

    test('is known from the one list that the proxy reads: once, page by page, and again when it has changed or the child is another', async (t) => {
      const own = await one(t, era, { limits: { backoffFirstMs: 1 } }, '--page', '10');
      const it = modernClient(t, own);
      const lists = (): number => heardByChild(own, 'tools/list').length;
      await Promise.all([it.tool('echo'), it.tool('echo'), it.tool('echo')]);
      const pages = lists();
      assert.ok(pages > 2, `${pages} pages`);
      await it.tool('echo');
      assert.equal((await it.call('headers', { region: 'us' })).status, 400);
      assert.equal(lists(), pages);
      if (era === 'legacy') {
        await it.tool('changed', { what: 'prompts' });
        await it.tool('echo');
        assert.equal(lists(), pages);
        await it.tool('changed', { what: 'tools' });
        await it.tool('echo');
        assert.equal(lists(), 2 * pages);
      }
      const so = lists();
      await it.call('die');
      await it.tool('echo');
      assert.equal(lists(), so + pages);
    });

    test('is not known beyond so many pages, and called without a check (R-103)', async (t) => {
      const own = await one(t, era, { limits: { maxToolPages: 3 } }, '--page', '1');
      assert.deepEqual(await modernClient(t, own).tool('headers', { region: 'us' }), { region: 'us' });
      assert.equal(heardByChild(own, 'tools/list').length, 3);
    });
  });
}

describe('the checks', () => {
  test('of a request come in one order: each wrong thing is told when all before it are right (R-63, R-100)', async (t) => {
    const token = 'sixteen-or-more-characters';
    const own = await startProxy(t, { x: node('server.mjs', '--capabilities', '{"tools":{}}') }, { auth: { token }, limits: { maxBodyBytes: 2_000, drainShutdownMs: 50 } });
    const name = 'headers';
    const wrong: Record<string, string | undefined> = {
      Host: 'evil.example.com',
      Origin: 'http://evil.example.com',
      'Content-Type': 'text/plain',
      Accept: 'text/html',
      'MCP-Protocol-Version': VERSION,
      'Mcp-Method': 'wrong',
      'Mcp-Name': 'wrong',
    };
    let method = 'PUT';
    let path = '/x/nothing';
    let body = '{'.repeat(3_000);
    const { message } = modernRequest('prompts/get', { name, arguments: { region: 'us' } }, { id: 'q' });
    const meta = { ...message.params._meta };
    const text = (change: object = {}, inMeta: object = {}): string => JSON.stringify({ ...message, ...change, params: { ...message.params, _meta: { ...meta, ...inMeta } } });
    const steps: readonly (readonly [what: string, mend: () => void, status: number, code: number | undefined, id?: string])[] = [
      ['host', () => {}, 403, -32600],
      ['origin', () => (wrong['Host'] = new URL(own.origin).host), 403, -32600],
      ['token', () => delete wrong['Origin'], 401, -32600],
      ['path', () => (wrong['Authorization'] = `Bearer ${token}`), 404, -32600],
      ['method', () => (path = '/nobody/mcp'), 405, undefined],
      ['type', () => (method = 'POST'), 415, -32600],
      ['size', () => (wrong['Content-Type'] = 'application/json'), 413, -32600],
      ['json', () => (body = '{'), 400, -32700],
      ['shape', () => (body = '{}'), 400, -32600],
      ['version in both', () => (body = text({}, { [key('protocolVersion')]: '2027-01-01', [key('clientCapabilities')]: 1 })), 400, -32020, 'q'],
      ['version', () => (wrong['MCP-Protocol-Version'] = '2027-01-01'), 400, -32022, 'q'],
      ['server', () => ((wrong['MCP-Protocol-Version'] = VERSION), (body = text({ method: 'ping' }, { [key('clientCapabilities')]: 1 }))), 404, -32600, 'q'],
      ['accept', () => (path = '/x/mcp'), 406, -32600, 'q'],
      ['envelope', () => (wrong['Accept'] = BOTH), 400, -32602, 'q'],
      ['method header', () => (body = text({ method: 'ping' })), 400, -32020, 'q'],
      ['legacy method', () => (wrong['Mcp-Method'] = 'ping'), 404, -32601, 'q'],
      ['name header', () => ((wrong['Mcp-Method'] = 'prompts/get'), (body = text())), 400, -32020, 'q'],
      ['capability', () => (wrong['Mcp-Name'] = name), 404, -32601, 'q'],
      ['argument header', () => ((wrong['Mcp-Method'] = 'tools/call'), (body = text({ method: 'tools/call' }))), 400, -32020, 'q'],
      ['nothing', () => (wrong['Mcp-Param-Region'] = 'us'), 200, undefined, 'q'],
    ];
    for (const [what, mend, status, code, id] of steps) {
      mend();
      const headers = Object.fromEntries(Object.entries(wrong).filter((header): header is [string, string] => header[1] !== undefined));
      const reply = await request(own.url(path), { method, headers, body });
      assert.equal(reply.status, status, `${what}: ${reply.text}`);
      if (status === 405) assert.deepEqual([reply.text, reply.headers.allow], ['', 'POST, GET, DELETE']);
      else if (status !== 200) assert.deepEqual([reply.json().error.code, reply.json().id, 'id' in reply.json()], [code, id, id !== undefined], what);
      assert.equal(heardByChild(own, 'tools/call').length, status === 200 ? 1 : 0);
    }
  });

  test('that fail before the body was read name no id at all: a modern error has none where an older one has null (R-72)', async () => {
    const url = proxy.url('/legacy/mcp');
    for (const [body, code] of [['{', -32700], ['"é', -32700], ['{}', -32600], ['[]', -32600], ['{"jsonrpc":"2.0","id":null,"method":"tools/list"}', -32600], ['{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}', -32600], ['{"jsonrpc":"2.0","id":1,"result":{}}', -32600]] as const) {
      const modern = await post(url, body, { 'MCP-Protocol-Version': VERSION });
      assert.deepEqual([modern.status, 'id' in modern.json(), modern.json().error.code], [400, false, code], body);
      const older = await post(url, body, { 'MCP-Protocol-Version': '2025-11-25' });
      assert.deepEqual([older.status, older.json().id, older.json().error.code], [400, null, code], body);
    }
    const { message } = modernRequest('tools/list');
    const batch = await post(url, [message], { 'MCP-Protocol-Version': VERSION });
    assert.deepEqual([batch.status, 'id' in batch.json(), batch.json().error.code], [400, false, -32600], 'T-82');
    assert.equal((await post(url, [message])).status, 400);
  });

  for (const method of ['GET', 'DELETE', 'PUT', 'HEAD']) {
    test(`${method} is 405 without a body for a modern client, whatever session it names (T-83, R-96)`, async () => {
      for (const headers of [{}, { 'Mcp-Session-Id': 'x' }, { 'Last-Event-ID': '1-1' }]) {
        const reply = await request(proxy.url('/legacy/mcp'), { method, headers: { Accept: BOTH, 'MCP-Protocol-Version': VERSION, ...headers } });
        assert.deepEqual([reply.status, reply.text, reply.headers['mcp-session-id']], [405, '', undefined]);
        assert.match(String(reply.headers.allow), /POST/);
      }
    });
  }

  test('of an unknown, a disabled and a failed server answer as part E says, under the id of the request (R-70)', async (t) => {
    const own = await startProxy(t, { dead: { ...node('dies-at-start.mjs'), maxRestarts: 0 } });
    await own.becomes('dead', 'error');
    assert.deepEqual(errorOf(await clients['nobody']!.post('tools/list', {}, { id: 'q' })), [404, 'q', -32600, 'unknown_server']);
    assert.deepEqual(errorOf(await clients['off']!.post('tools/list', {}, { id: 'q' })), [503, 'q', -32603, 'unavailable']);
    for (const method of ['tools/list', 'server/discover', 'subscriptions/listen']) {
      assert.deepEqual(errorOf(await modernClient(t, own, 'dead').post(method, { notifications: {} }, { id: 'q' })), [503, 'q', -32603, 'unavailable']);
    }
    assert.equal((await modernClient(t, own, 'dead').notify('vendor/news')).status, 202);
    assert.equal((await clients['nobody']!.notify('vendor/news')).status, 404);
    assert.equal((await clients['off']!.notify('vendor/news')).status, 503);
  });

  test('of a child of 2024-11-05 let completion/complete through, which it cannot declare (R-104)', async () => {
    assert.deepEqual(refusal(await clients['old']!.post('completion/complete', { argument: { value: 'p' } })), [200, 1, -32601]);
    assert.equal(heardByChild(proxy, 'completion/complete', 'old').length, 1, 'it was asked');
  });

  test('of pending calls: at the limit a request is 503 with Retry-After (R-70)', async (t) => {
    const own = await one(t, 'legacy', { limits: { maxPending: 1 } });
    const it = modernClient(t, own);
    await own.becomes('x', 'running');
    const call = await it.open('tools/call', { name: 'hold', arguments: { key: 'k' } });
    await childHas(own, 'tools/call');
    const reply = await it.post('tools/list', {}, { id: 'q' });
    assert.deepEqual([errorOf(reply), reply.headers['retry-after']], [[503, 'q', -32603, 'busy'], '1']);
    call.close();
  });
});

describe('input that a modern child asks for', () => {
  const QUESTION = { method: 'elicitation/create', params: { message: 'who?', requestedSchema: { type: 'object', properties: {} } } };
  const able = { capabilities: { elicitation: {} } };

  for (const [what, method, params] of [
    ['a tool', 'tools/call', { name: 'ask', arguments: QUESTION }],
    ['a prompt', 'prompts/get', { name: 'asks' }],
    ['a resource', 'resources/read', { uri: 'test://asks' }],
  ] as const) {
    test(`by ${what} passes unchanged, and so does the retry (T-90, R-109)`, async () => {
      const { result } = (await clients['modern']!.post(method, params, able)).json();
      assert.deepEqual([result.resultType, result.ttlMs, result._meta], ['input_required', undefined, SERVER_INFO]);
      const [[id, asked]] = Object.entries<any>(result.inputRequests) as [[string, any]];
      assert.equal(asked.method, 'elicitation/create');
      const retry = { ...params, inputResponses: { [id]: { action: 'accept', content: { name: 'żółć' } } }, requestState: result.requestState };
      const last = (await clients['modern']!.post(method, retry, { ...able, id: 2 })).json();
      assert.deepEqual([last.id, last.result.resultType], [2, 'complete']);
      assert.ok(JSON.stringify(last).includes('żółć'));
      const heard = heardByChild(proxy, method, 'modern').at(-1).params;
      assert.deepEqual([heard.inputResponses, heard.requestState], [retry.inputResponses, retry.requestState]);
      const again = (await clients['modern']!.post(method, { ...retry, requestState: `${retry.requestState}x` }, able)).json();
      assert.deepEqual(again.error, { code: -32602, message: 'unknown requestState' });
    });
  }

  test('of a client that did not declare it is -32021 with 400, and the data of the child (R-105)', async () => {
    const reply = await clients['modern']!.call('ask', QUESTION);
    assert.deepEqual([refusal(reply), reply.json().error.data], [[400, 1, -32021], { requiredCapabilities: { elicitation: {} } }]);
  });
});
