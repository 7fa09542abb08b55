// The simple dialect as it is on the wire: a client that knows nothing of MCP's transports posts JSON-RPC and is
// answered inline.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { openSse, post, raw, request } from '../support/http.ts';
import { endOf, errorOf, node, startProxy } from '../support/proxy.ts';
import { openSession } from '../support/session.ts';

const proxy = await startProxy(
  { after },
  {
    x: node('server.mjs', '--version', '2024-11-05'),
    off: { ...node('server.mjs'), disabled: true },
  },
);
const host = `127.0.0.1:${proxy.port}`;
const mcp = proxy.url('/x/mcp');

const call = (name: string, args: object = {}, id: unknown = 1): object => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } });
const notification = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' };

/** An answer that no serialiser would write like this. */
const odd = (id: string): string => `{"result": {"content":[],"z":1.50e+2, "\\u0061":"\\u00e9é","a":9007199254740993},"id":${id},"jsonrpc":"2.0"}`;
const oddCall = (id: unknown): object => call('raw', { quiet: true, lines: [odd('$ID')] }, id);

/** One POST as bytes, and the whole answer as bytes. */
async function exchange(path: string, body: string, headers = ''): Promise<{ status: string; names: string[]; head: string; body: string }> {
  const bytes = await raw(
    proxy.port,
    `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n${headers}\r\n${body}`,
  );
  const [head = '', ...rest] = bytes.toString().split('\r\n\r\n');
  const [status = '', ...lines] = head.split('\r\n');
  return { status, names: lines.map((line) => line.slice(0, line.indexOf(':')).toLowerCase()).sort(), head, body: rest.join('\r\n\r\n') };
}

// ---- requests

for (const path of ['/x/mcp', '/x/message', '/x/mcp/', '/x/message?any=query', '/%78/mcp']) {
  test(`POST ${path} answers a request with the child's response, byte for byte under the client's id, as JSON`, async () => {
    const answer = await exchange(path, JSON.stringify(oddCall('a "1"')));
    assert.equal(answer.status, 'HTTP/1.1 200 OK');
    assert.deepEqual(answer.names, ['connection', 'content-length', 'content-type', 'date']); // no Mcp-Session-Id
    assert.match(answer.head, /^content-type: application\/json\r?$/im);
    assert.equal(answer.body, odd('"a \\"1\\""'));
  });
}

test('a request without Content-Type is served, and so is one with parameters on it', async () => {
  for (const headers of [{}, { 'Content-Type': 'application/json; charset=utf-8' }, { 'Content-Type': 'Application/JSON' }]) {
    const reply = await request(mcp, { method: 'POST', headers, body: JSON.stringify(call('echo', { a: 1 })) });
    assert.equal(reply.status, 200);
    assert.deepEqual(reply.json().result.structuredContent, { a: 1 });
  }
});

test('an error of the child comes back as it is, with HTTP status 200', async () => {
  for (const error of [{ code: -32601, message: 'no' }, { code: -32002, message: 'Resource not found', data: { uri: 'x' } }, { code: 7, message: '', data: null }]) {
    const reply = await post(mcp, call('fail', error));
    assert.equal(reply.status, 200);
    assert.deepEqual(reply.json(), { jsonrpc: '2.0', id: 1, error });
  }
});

test('no handshake is needed, and initialize is answered at the version that the client asks for, whatever the child speaks', async () => {
  for (const path of ['/x/mcp', '/x/message']) {
    for (const [asked, answered] of [['2025-11-25', '2025-11-25'], ['2025-06-18', '2025-06-18'], ['2025-03-26', '2025-03-26'], ['2024-11-05', '2024-11-05'], ['1999-01-01', '2025-11-25'], [undefined, '2025-11-25']]) {
      const params = { protocolVersion: asked, capabilities: {}, clientInfo: { name: 'test', version: '1' } };
      const reply = await post(proxy.url(path), { jsonrpc: '2.0', id: 'i', method: 'initialize', params });
      assert.equal(reply.status, 200);
      const { id, result } = reply.json();
      assert.deepEqual([id, result.protocolVersion, result.serverInfo.name], ['i', answered, 'fixture']);
      assert.deepEqual(Object.keys(result.capabilities).sort(), ['completions', 'logging', 'prompts', 'resources', 'tools']);
    }
  }
  assert.equal((await post(mcp, { jsonrpc: '2.0', id: 2, method: 'tools/list' })).status, 200);
  const seen = (await proxy.tool('x', 'journal')).messages.filter(({ method }: any) => /initialize/.test(method));
  assert.deepEqual(seen.map(({ method }: any) => method), ['initialize', 'notifications/initialized']);
});

test('ping is answered by the proxy: the child sees none', async () => {
  assert.deepEqual((await post(mcp, { jsonrpc: '2.0', id: 'p', method: 'ping' })).json(), { jsonrpc: '2.0', id: 'p', result: {} });
  assert.ok(!(await proxy.tool('x', 'journal')).messages.some(({ method }: any) => method === 'ping'));
});

// ---- notifications and batches

for (const path of ['/x/mcp', '/x/message']) {
  test(`POST ${path} accepts a notification with 204 and no body, and the child gets it`, async () => {
    const method = `notifications/made/up${path}`;
    const answer = await exchange(path, JSON.stringify({ jsonrpc: '2.0', method, params: { 'ż': [1] } }));
    assert.equal(answer.status, 'HTTP/1.1 204 No Content');
    assert.equal(answer.body, '');
    const { messages: seen } = await proxy.tool('x', 'journal', { until: method });
    assert.deepEqual(seen.find((message: any) => message.method === method), { jsonrpc: '2.0', method, params: { 'ż': [1] } });
  });
}

test('a notification is accepted with 202 from a client that names a version of MCP that it could have negotiated', async () => {
  for (const [version, status] of [['2025-11-25', 202], ['2025-06-18', 202], ['2025-03-26', 202], ['2024-11-05', 202]] as const) {
    const reply = await post(mcp, notification, { 'MCP-Protocol-Version': version });
    assert.deepEqual([reply.status, reply.text], [status, ''], version);
  }
});

test('a notification needs no Accept that fits', async () => {
  assert.equal((await post(mcp, notification, { Accept: 'text/html' })).status, 204);
});

test('a batch is answered with the array of its responses in the order of the requests; notifications have none', async () => {
  const slow = call('sleep', { ms: 100 }, 'slow');
  const answer = await exchange('/x/mcp', JSON.stringify([slow, notification, oddCall(7)]));
  assert.equal(answer.status, 'HTTP/1.1 200 OK');
  assert.match(answer.head, /^content-type: application\/json\r?$/im);
  assert.equal(answer.body, `[{"jsonrpc":"2.0","id":"slow","result":{"content":[{"type":"text","text":"done"}]}},${odd('7')}]`);
});

test('a batch for a client that reads only streams is one event for each response', async () => {
  const stream = await openSse(mcp, { 'Content-Type': 'application/json', Accept: 'text/event-stream' }, { method: 'POST', body: JSON.stringify([oddCall(1), oddCall(2)]) });
  assert.equal(await endOf(stream), 'end');
  assert.equal(stream.raw.toString(), `event: message\ndata: ${odd('1')}\n\nevent: message\ndata: ${odd('2')}\n\n`);
});

test('a batch of notifications is accepted with 204', async () => {
  const reply = await post(mcp, [notification, notification]);
  assert.deepEqual([reply.status, reply.text], [204, '']);
});

test('nothing of a batch reaches the child when its client can take no answer, with a session or without (R-63)', async (t) => {
  const session = await openSession(t, proxy, 'x', { version: '2025-03-26' });
  for (const headers of [{}, session.headers]) {
    const batch = [{ jsonrpc: '2.0', method: 'notifications/of/a/batch' }, call('echo', { of: 'a batch' })];
    assert.equal((await post(mcp, batch, { ...headers, Accept: 'text/html' })).status, 406);
  }
  await proxy.tool('x', 'echo', { after: 'it' });
  assert.deepEqual(proxy.received('x').filter((line) => /of.a.batch/.test(line)), []);
  assert.equal(proxy.received('x').filter((line) => line.includes('"after":"it"')).length, 1);
});

test('an element of a batch that is no request has an error of its own, under the id null', async () => {
  const reply = await post(mcp, [{}, call('echo', {}, 3), { jsonrpc: '2.0', id: 4, result: {} }, 5]);
  const answers = reply.json();
  assert.deepEqual(answers.map(({ id }: any) => id), [null, 3, null, null]);
  assert.deepEqual(answers.map(({ error }: any) => error?.code), [-32600, undefined, -32600, -32600]);
});

// ---- refusals

test('an unknown server is 404 under the id of the request, whatever the body is about, and never "method not found"', async () => {
  for (const name of ['y', 'X', '__proto__', 'constructor', 'toString', '%2e%2e', 'x%2f', '%C5%BC']) {
    for (const suffix of ['mcp', 'message']) {
      assert.deepEqual(errorOf(await post(proxy.url(`/${name}/${suffix}`), call('echo', {}, 'id'))), [404, 'id', -32600, 'unknown_server'], name);
    }
    assert.deepEqual(errorOf(await request(proxy.url(`/${name}/sse`))), [404, null, -32600, 'unknown_server'], name);
    assert.equal((await post(proxy.url(`/${name}/mcp`), notification)).status, 404);
  }
});

test('a disabled server is 503 on every path', async () => {
  for (const suffix of ['mcp', 'message']) {
    assert.deepEqual(errorOf(await post(proxy.url(`/off/${suffix}`), call('echo', {}, 9))), [503, 9, -32603, 'unavailable']);
  }
  assert.deepEqual(errorOf(await request(proxy.url('/off/sse'))), [503, null, -32603, 'unavailable']);
});

test('a body of another type or coding is 415', async () => {
  for (const headers of [{ 'Content-Type': 'text/plain' }, { 'Content-Type': 'application/jsonp' }, { 'Content-Type': 'multipart/form-data; boundary=x' }, { 'Content-Encoding': 'gzip' }]) {
    assert.deepEqual(errorOf(await post(mcp, call('echo'), headers)), [415, null, -32600, 'media_type'], JSON.stringify(headers));
  }
});

test('a body that is too large is 413, announced or not, and the client gets to see it', async () => {
  const big = Buffer.alloc(11 * 2 ** 20, ' ');
  assert.deepEqual(errorOf(await post(mcp, big)), [413, null, -32600, 'too_large']);
  assert.deepEqual(errorOf(await post(mcp, big, { 'Transfer-Encoding': 'chunked' })), [413, null, -32600, 'too_large']);
  const most = 10 * 2 ** 20;
  assert.equal((await post(mcp, JSON.stringify(call('echo')).padEnd(most, ' '))).status, 200);
  assert.equal((await post(mcp, JSON.stringify(call('echo')).padEnd(most + 1, ' '))).status, 413);
});

test('what is no JSON is 400 with -32700', async () => {
  const nearly = Buffer.from('{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"?"}}');
  nearly[nearly.indexOf('?')] = 0xff;
  for (const body of ['{', '', ' ', 'nonsense', "{'id':1}", '{"a":1}{"b":2}', nearly]) {
    assert.deepEqual(errorOf(await post(mcp, body)), [400, null, -32700, 'parse_error'], String(body));
  }
});

test('JSON that is no request, notification or batch is 400 with -32600', async () => {
  const shapes = [
    '{}', '[]', 'null', '1', '"text"', 'true',
    '{"id":1,"method":"ping"}', '{"jsonrpc":"1.0","id":1,"method":"ping"}', '{"jsonrpc":2.0,"id":1,"method":"ping"}',
    '{"jsonrpc":"2.0","id":1}', '{"jsonrpc":"2.0","id":1,"method":7}', '{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
    '{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}', '{"jsonrpc":"2.0","id":1,"method":"ping","params":null}',
    '{"jsonrpc":"2.0","id":1,"result":{}}', '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}',
    '[{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}]',
  ]; // prettier-ignore
  for (const body of shapes) {
    const [status, , code, reason] = errorOf(await post(mcp, body));
    assert.deepEqual([status, code, reason], [400, -32600, 'invalid_request'], body);
  }
});

test('a request whose id is neither a string nor an integer is 400 with -32600', async () => {
  for (const id of ['null', '1.5', 'true', '{}', '[1]', '-0.1']) {
    assert.deepEqual(errorOf(await post(mcp, `{"jsonrpc":"2.0","id":${id},"method":"ping"}`)), [400, null, -32600, 'invalid_request'], id);
  }
});

test('the child never sees a message with two members of one name, because it might read the other one', async () => {
  for (const body of [
    '{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/list","\\u0069d":2}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"a","cursor":"b"}}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"progressToken":1,"progressToken":2}}}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{},"_meta":{}}}',
    '{"jsonrpc":"2.0","method":"notifications/x","params":{"a":1,"a":2}}',
  ]) {
    const [status, , code] = errorOf(await post(mcp, body));
    assert.deepEqual([status, code], [400, -32600], body);
  }
});

const METHODS: readonly [method: string, path: string, allow: string][] = [
  ['GET', '/x/mcp', 'POST, DELETE'], ['PUT', '/x/mcp', 'POST, GET, DELETE'], ['HEAD', '/x/mcp', 'POST, GET, DELETE'],
  ['GET', '/x/message', 'POST'], ['POST', '/x/sse', 'GET'], ['HEAD', '/x/sse', 'GET'], ['DELETE', '/x/sse', 'GET'],
]; // prettier-ignore

for (const [method, path, allow] of METHODS) {
  test(`${method} ${path} is 405 and tells that the path takes ${allow}`, async () => {
    const reply = await request(proxy.url(path), { method });
    assert.deepEqual([reply.status, reply.headers.allow], [405, allow]);
    if (method !== 'HEAD') assert.deepEqual([reply.json().id, reply.json().error.code], [null, -32000]);
  });
}

test('DELETE /x/mcp ends a session, so it is 400 for who names none', async () => {
  assert.deepEqual(errorOf(await request(mcp, { method: 'DELETE' })), [400, null, -32000, 'session_required']);
});

test('a request at POST /x/mcp that names a version which no session can have is 400, a known one is served without a session', async () => {
  for (const version of ['1999-01-01', '2025-11-26', 'x']) {
    const headers = { 'MCP-Protocol-Version': version };
    assert.deepEqual(errorOf(await post(mcp, { jsonrpc: '2.0', id: 'v', method: 'ping' }, headers)), [400, 'v', -32000, 'bad_version'], version);
    assert.deepEqual((await post(proxy.url('/x/message'), { jsonrpc: '2.0', id: 'v', method: 'ping' }, headers)).json(), { jsonrpc: '2.0', id: 'v', result: {} });
  }
  for (const version of ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']) {
    const reply = await post(mcp, { jsonrpc: '2.0', id: 'v', method: 'ping' }, { 'MCP-Protocol-Version': version });
    assert.deepEqual([reply.status, reply.json(), reply.headers['mcp-session-id']], [200, { jsonrpc: '2.0', id: 'v', result: {} }, undefined]);
  }
});

test('initialize opens a session at POST /x/mcp and none at POST /x/message, and nobody has to use it (R-62, R-144)', async () => {
  const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'c', version: '1' } };
  const [opened, inline] = await Promise.all(['/x/mcp', '/x/message'].map((path) => post(proxy.url(path), { jsonrpc: '2.0', id: 1, method: 'initialize', params })));
  assert.match(String(opened!.headers['mcp-session-id']), /^[0-9a-f]{32}$/);
  assert.equal(inline!.headers['mcp-session-id'], undefined);
  for (const reply of [opened!, inline!]) assert.deepEqual([reply.status, reply.json().result.protocolVersion], [200, '2025-06-18']);
  assert.equal((await post(mcp, { jsonrpc: '2.0', id: 2, method: 'tools/list' }, { 'MCP-Protocol-Version': '2025-06-18' })).status, 200);
});

test('the name of a server alone is no path, and the answer names those that are', async () => {
  for (const method of ['GET', 'POST']) {
    const reply = await request(proxy.url('/x'), { method });
    assert.equal(errorOf(reply)[0], 404);
    assert.match(reply.json().error.message, /\/x\/mcp.*\/x\/sse/);
  }
  for (const path of ['/', '/x/y', '/x/mcp/y', '//mcp', '/x//mcp', '/.well-known/oauth-protected-resource']) {
    assert.deepEqual(errorOf(await request(proxy.url(path))), [404, null, -32600, 'not_found'], path);
  }
});
