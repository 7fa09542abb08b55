import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { ProxyError } from '../../src/base/errors.ts';
import { empty, fault, json } from '../../src/http/reply.ts';
import { connect, request, type Reply } from '../support/http.ts';

/** The answer of a server that answers every request in this way. */
async function answered(t: TestContext, reply: (res: ServerResponse) => void, method = 'GET'): Promise<Reply> {
  return request(`http://127.0.0.1:${await serve(t, reply)}`, { method });
}

async function serve(t: TestContext, reply: (res: ServerResponse) => void): Promise<number> {
  const server = createServer((_req, res) => reply(res));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

test('json sends the bytes as they are, with their length and type, whatever their size', async (t) => {
  for (const bytes of [2, 100, 16_383, 16_384, 16_385, 1_000_000]) {
    const body = Buffer.alloc(bytes, 'aż€🦊'); // a length in characters would be wrong
    const reply = await answered(t, (res) => json(res, 201, body, ['x-more', 'y']));
    assert.equal(reply.status, 201);
    assert.equal(reply.headers['content-type'], 'application/json');
    assert.equal(reply.headers['content-length'], String(bytes));
    assert.equal(reply.headers['x-more'], 'y');
    assert.ok(reply.body.equals(body), `${bytes} bytes`);
  }
});

test('json keeps every byte, also those that are no text', async (t) => {
  const body = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  assert.deepEqual((await answered(t, (res) => json(res, 200, body))).body, body);
});

test('json to a HEAD is the head alone', async (t) => {
  const reply = await answered(t, (res) => json(res, 200, Buffer.from('{"a":1}')), 'HEAD');
  assert.equal(reply.headers['content-length'], '7');
  assert.equal(reply.text, '');
});

test('headers that were set before go out with the answer', async (t) => {
  const reply = await answered(t, (res) => {
    res.setHeader('vary', 'Origin');
    fault(res, new ProxyError('not_found', 'Not found'));
  });
  assert.equal(reply.headers.vary, 'Origin');
});

test('empty sends a status and no body', async (t) => {
  for (const status of [202, 204]) {
    const reply = await answered(t, (res) => empty(res, status));
    assert.equal(reply.status, status);
    assert.equal(reply.text, '');
    assert.equal(reply.headers['content-type'], undefined);
    assert.deepEqual([reply.headers['content-length'], reply.headers['transfer-encoding']], [status === 202 ? '0' : undefined, undefined]);
  }
});

test('a fault is a JSON-RPC error with the status, the code and the reason of its kind', async (t) => {
  const cases = [
    ['parse_error', 400, -32700],
    ['invalid_request', 400, -32600],
    ['forbidden', 403, -32600],
    ['unauthorized', 401, -32600],
    ['not_found', 404, -32600],
    ['unknown_server', 404, -32600],
    ['method_not_allowed', 405, -32000],
    ['not_acceptable', 406, -32000],
    ['request_timeout', 408, -32600],
    ['config_conflict', 409, -32603],
    ['too_large', 413, -32600],
    ['media_type', 415, -32600],
    ['headers_too_large', 431, -32600],
    ['internal', 500, -32603],
    ['config_write_failed', 500, -32603],
    ['unavailable', 503, -32603],
    ['invalid_config', 400, -32602],
    ['timeout', 200, -32603],
  ] as const;
  for (const [reason, status, code] of cases) {
    const reply = await answered(t, (res) => fault(res, new ProxyError(reason, 'Why, żółć')));
    assert.equal(reply.status, status, reason);
    assert.equal(reply.headers['content-type'], 'application/json');
    assert.equal(reply.headers['retry-after'], undefined);
    assert.deepEqual(reply.json(), { jsonrpc: '2.0', id: null, error: { code, message: 'Why, żółć', data: { source: 'mcp-proxy', reason } } });
  }
});

test('a fault that passes says when to come back', async (t) => {
  for (const [reason, seconds] of [['busy', '1'], ['starting', '5']] as const) {
    const reply = await answered(t, (res) => fault(res, new ProxyError(reason, 'Later')));
    assert.equal(reply.status, 503);
    assert.equal(reply.headers['retry-after'], seconds);
  }
});

test('a fault carries the id of the request as it was written, and the data of the fault beside its reason', async (t) => {
  // The id is a Latin-1 view of the bytes of the request.
  for (const id of ['1', '"1"', '-0.5e3', '9007199254740993', '"żółć 🦊"', 'null']) {
    const idText = Buffer.from(id).toString('latin1');
    const reply = await answered(t, (res) => fault(res, new ProxyError('invalid_config', 'No', { data: { problems: ['ż'] } }), idText));
    assert.match(reply.text, new RegExp(`^\\{"jsonrpc":"2\\.0","id":${id.replaceAll('.', '\\.')},"error":`));
    assert.deepEqual(reply.json().error.data, { source: 'mcp-proxy', reason: 'invalid_config', problems: ['ż'] });
  }
});

test('the cause of a fault stays inside', async (t) => {
  const reply = await answered(t, (res) => fault(res, new ProxyError('internal', 'Internal error', { cause: new Error('secret') })));
  assert.equal(reply.text.includes('secret'), false);
});

test('a status given with a fault outranks that of its kind', async (t) => {
  assert.equal((await answered(t, (res) => fault(res, new ProxyError('shutdown', 'Bye', { status: 503 })))).status, 503);
});

test('the second answer to one request is dropped, whatever the first was', async (t) => {
  const first = [
    (res: ServerResponse) => json(res, 200, Buffer.from('{}')),
    (res: ServerResponse) => empty(res, 202),
    (res: ServerResponse) => fault(res, new ProxyError('not_found', 'No')),
    (res: ServerResponse) => void res.writeHead(200).end('stream'),
  ];
  const second = first.slice(0, 3);
  for (const [k, one] of first.entries()) {
    const alone = await answered(t, one);
    for (const two of second) {
      const both = await answered(t, (res) => (one(res), two(res)));
      assert.deepEqual([both.status, both.text], [alone.status, alone.text], `first ${k}`);
    }
  }
});

test('an answer to a client that left is dropped', async (t) => {
  let arrived: (res: ServerResponse) => void = () => {};
  const request = new Promise<ServerResponse>((resolve) => (arrived = resolve));
  const client = await connect(await serve(t, (res) => arrived(res)));
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const res = await request;
  const gone = once(res, 'close');
  client.abort();
  await gone;
  json(res, 200, Buffer.from('{}'));
  json(res, 200, Buffer.alloc(100_000));
  empty(res, 204);
  fault(res, new ProxyError('internal', 'No'));
  assert.equal(res.headersSent, false);
});
