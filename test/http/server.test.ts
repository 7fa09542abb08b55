import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test, type TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { ProxyError } from '../../src/base/errors.ts';
import { LIMITS } from '../../src/config/limits.ts';
import { fault, json } from '../../src/http/reply.ts';
import { listen, type HttpServer, type ListenOptions } from '../../src/http/server.ts';
import { SseStream } from '../../src/wire/sse.ts';
import { turns } from '../support/clock.ts';
import { until } from '../support/files.ts';
import { connect, raw, request } from '../support/http.ts';

const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
const OK = Buffer.from('{"ok":true}');
const MIB = 2 ** 20;

interface Opened extends HttpServer {
  readonly url: string;
  /** Every request that reached the handler, in order. */
  readonly handled: readonly { readonly req: IncomingMessage; readonly res: ServerResponse; closed: boolean }[];
  /** Connections refused. */
  readonly dropped: () => number;
}

/** A server that answers nothing by itself, unless told to. */
async function open(t: TestContext, limits: Partial<ListenOptions['limits']> = {}, handle: ListenOptions['handle'] = () => {}): Promise<Opened> {
  const handled: { req: IncomingMessage; res: ServerResponse; closed: boolean }[] = [];
  let dropped = 0;
  const server = await listen({
    host: '127.0.0.1',
    port: 0,
    limits: { ...LIMITS, ...limits },
    handle(req, res) {
      const one = { req, res, closed: false };
      handled.push(one);
      res.once('close', () => (one.closed = true));
      handle(req, res);
    },
    onDrop: () => (dropped += 1),
  });
  t.after(() => server.close(0));
  return { ...server, url: `http://127.0.0.1:${server.port}`, handled, dropped: () => dropped };
}

const answerOk: ListenOptions['handle'] = (_req, res) => json(res, 200, OK);

// ---- The port

test('port 0 is any free one, and the one that was bound is told', async (t) => {
  const server = await open(t, {}, answerOk);
  assert.ok(server.port > 0);
  assert.equal((await request(server.url)).text, '{"ok":true}');
});

test('a port in use is an error of the system, and leaves nothing open', async (t) => {
  const { port } = await open(t);
  await assert.rejects(listen({ host: '127.0.0.1', port, limits: LIMITS, handle() {}, onDrop() {} }), { code: 'EADDRINUSE', port });
});

test('an address that is not of this machine is an error of the system', async () => {
  await assert.rejects(listen({ host: '192.0.2.1', port: 0, limits: LIMITS, handle() {}, onDrop() {} }), { code: 'EADDRNOTAVAIL' });
});

test('after stopAccepting, new connections are refused and open ones go on: used, idle and fresh ones', async (t) => {
  const server = await open(t);
  const [waiting, idle, fresh] = [await connect(server.port), await connect(server.port), await connect(server.port)];
  idle.write(GET);
  await until(() => server.handled.length === 1, 'a request');
  json(server.handled[0].res, 200, OK);
  await idle.until((text) => text.endsWith('}'));
  waiting.write(GET);
  await until(() => server.handled.length === 2, 'a request that is not answered yet');
  server.stopAccepting();
  await assert.rejects(connect(server.port), { code: 'ECONNREFUSED' });
  json(server.handled[1].res, 200, OK);
  await waiting.until((text) => text.endsWith('}'));
  for (const [k, client] of [idle, fresh].entries()) {
    const before = client.received.length;
    client.write(GET);
    await until(() => server.handled.length === 3 + k, 'a request on a connection that was open');
    json(server.handled[2 + k].res, 200, OK);
    await client.until((text) => text.length > before && text.endsWith('}'));
  }
  await server.close(0);
  for (const client of [waiting, idle, fresh]) {
    assert.notEqual(await client.ended, 'closed');
    client.close();
  }
});

test('close ends every connection, whatever it is doing, and can be called again', async (t) => {
  const server = await open(t, {}, (req, res) => void (req.url === '/stream' && res.writeHead(200).write('x')));
  const clients = await Promise.all([1, 2, 3, 4].map(() => connect(server.port)));
  const [, half, waiting, streaming] = clients;
  half.write('GET / HT');
  waiting.write(GET);
  streaming.write('GET /stream HTTP/1.1\r\nHost: x\r\n\r\n');
  await streaming.until((text) => text.includes('x'));
  await until(() => server.handled.length === 2, 'the requests');
  await server.close(0);
  for (const client of clients) assert.notEqual(await client.ended, 'closed');
  await assert.rejects(connect(server.port), { code: 'ECONNREFUSED' });
  await server.close(0);
  for (const client of clients) client.close();
});

for (const connection of ['close', 'keep-alive']) {
  test(`close leaves time to those who are still being sent to, and none to those who are idle (Connection: ${connection})`, async (t) => {
    const big = Buffer.alloc(8 * 1024 * 1024, '1');
    const server = await open(t, {}, (req, res) => json(res, 200, req.url === '/big' ? big : OK));
    const [idle, slow] = [await connect(server.port), await connect(server.port)];
    idle.write(GET);
    await idle.until((text) => text.endsWith('}'));
    slow.socket.pause();
    slow.write(`GET /big HTTP/1.1\r\nHost: x\r\nConnection: ${connection}\r\n\r\n`);
    await until(() => server.handled[1]?.res.headersSent, 'the answer');
    let closed = false;
    void server.close(60_000).then(() => (closed = true));
    assert.notEqual(await idle.ended, 'closed');
    assert.deepEqual([closed, server.handled[1].closed], [false, false]);
    slow.socket.resume();
    await until(() => closed, 'the end, long before the grace is over');
    assert.equal(await slow.ended, 'end');
    assert.ok(slow.received.subarray(-big.length).equals(big));
    for (const client of [idle, slow]) client.close();
  });
}

test('close ends those who do not come to an end in their time', async (t) => {
  const server = await open(t);
  const client = await connect(server.port);
  client.write(GET);
  await until(() => server.handled.length === 1, 'the request');
  await server.close(20);
  assert.notEqual(await client.ended, 'closed');
  await until(() => server.handled[0].closed, 'the end of the request');
  client.close();
});

test('close without a single connection, and after stopAccepting, ends at once', async (t) => {
  const [one, other] = [await open(t), await open(t)];
  await one.close(60_000);
  other.stopAccepting();
  await turns();
  await other.close(60_000);
});

// ---- Heads that will not do

test('headers of more than 16 KiB are answered 431', async (t) => {
  const server = await open(t, {}, answerOk);
  const ask = (bytes: number) => raw(server.port, `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: ${'y'.repeat(bytes)}\r\n\r\n`);
  assert.match(String(await ask(15_000)), /^HTTP\/1\.1 200 /);
  for (const bytes of [16_384, 60_000]) isFault(String(await ask(bytes)), '431 Request Header Fields Too Large', 'headers_too_large');
  assert.equal(server.handled.length, 1);
});

test('a path of more than 16 KiB is answered 431', async (t) => {
  const { port } = await open(t, {}, answerOk);
  isFault(String(await raw(port, `GET /${'y'.repeat(17_000)} HTTP/1.1\r\nHost: x\r\n\r\n`)), '431 Request Header Fields Too Large', 'headers_too_large');
});

test('200 headers are taken, more are answered 431, and none is lost in silence', async (t) => {
  const server = await open(t, {}, (req, res) => json(res, 200, Buffer.from(JSON.stringify(req.rawHeaders.length / 2))));
  const ask = (more: number) => raw(server.port, `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${'X: 1\r\n'.repeat(more - 2)}\r\n`);
  for (const headers of [2, 199, 200]) assert.match(String(await ask(headers)), new RegExp(`^HTTP/1\\.1 200 .*\\r\\n\\r\\n${headers}$`, 's'));
  for (const headers of [201, 202, 1_000]) isFault(String(await ask(headers)), '431 Request Header Fields Too Large', 'headers_too_large');
  assert.equal(server.handled.length, 3);
});

const malformed: readonly (readonly [string, string])[] = [
  ['no HTTP', 'hello\r\n\r\n'],
  ['another protocol', 'SSH-2.0-OpenSSH_9.6\r\n'],
  ['a TLS handshake', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['JSON without HTTP', '{"jsonrpc":"2.0","id":1,"method":"ping"}\n'],
  ['an unknown method', 'BREW / HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['an unknown version', 'GET / HTTP/9.9\r\nHost: x\r\n\r\n'],
  ['a header without a colon', 'GET / HTTP/1.1\r\nHost x\r\n\r\n'],
  ['a header value with a control character', 'GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n'],
  ['a length that is no number', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n'],
  ['a negative length', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n'],
  ['a length beyond 64 bits', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n'],
  ['two lengths', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx'],
  ['a length and chunks', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['chunks that are not the last coding', 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n'],
];

test('what is no valid HTTP request is answered 400 with a JSON-RPC error, and never handled', async (t) => {
  const server = await open(t, {}, answerOk);
  for (const [what, bytes] of malformed) isFault(String(await raw(server.port, Buffer.from(bytes, 'latin1'))), '400 Bad Request', 'invalid_request', what);
  assert.equal(server.handled.length, 0);
});

test('an HTTP/1.1 request without Host is refused with a JSON-RPC error, as any other that is refused', async (t) => {
  // Whether the server refuses it or leaves that to its handler, which has a guard for it, is open.
  const server = await open(t, {}, (_req, res) => fault(res, new ProxyError('forbidden', 'Forbidden host'), 'null', ['connection', 'close']));
  const answer = String(await raw(server.port, 'GET / HTTP/1.1\r\n\r\n'));
  assert.match(answer, /^HTTP\/1\.1 40[03] .*\r\n\r\n\{"jsonrpc":"2\.0","id":null,"error":/s);
});

test('an expectation that is not 100-continue is answered with a JSON-RPC error or ignored', async (t) => {
  const server = await open(t, {}, answerOk);
  const answer = String(await raw(server.port, 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: the-moon\r\n\r\n'));
  assert.match(answer, /^HTTP\/1\.1 (417|200) .*\r\n\r\n\{/s);
});

test('garbage behind a request does not take its answer away', async (t) => {
  const server = await open(t, {}, answerOk);
  const text = String(await raw(server.port, `${GET}garbage\r\n\r\n`));
  assert.match(text, /^HTTP\/1\.1 200 /);
});

test('garbage behind requests that wait is not taken for their answers: they come, in order, and then the end', async (t) => {
  const server = await open(t);
  const client = await connect(server.port);
  client.write(`${GET}${GET}garbage\r\n\r\n`);
  await until(() => server.handled.length === 2, 'the requests');
  client.write('more of it\r\n\r\n');
  for (const { res } of server.handled) json(res, 200, OK);
  assert.equal(await client.ended, 'end');
  assert.equal(client.received.toString().match(/HTTP\/1.1 200 OK/g)?.length, 2, String(client.received));
  assert.equal(client.received.toString().match(/HTTP\/1.1/g)?.length, 2);
  client.close();
});

test('what comes behind a request that closes the connection is not handled, and does not take its answer away', async (t) => {
  const server = await open(t);
  const client = await connect(server.port);
  client.write(GET.replace('Host', 'Connection: close\r\nHost') + GET);
  await until(() => server.handled.length === 1, 'the request');
  await turns();
  json(server.handled[0].res, 200, OK);
  assert.equal(await client.ended, 'end');
  assert.match(client.received.toString(), /^HTTP\/1.1 200 OK\r\n.*\{"ok":true\}$/s);
  assert.equal(server.handled.length, 1);
  client.close();
});

test('a body that breaks behind a request that waits ends the connection without an answer that looks like the other\'s', async (t) => {
  const server = await open(t);
  const client = await connect(server.port);
  client.write(`${GET}POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n`);
  await client.ended;
  assert.equal(client.received.length, 0, String(client.received));
  await until(() => server.handled.every(({ closed }) => closed), 'the end of both requests');
  client.close();
});

test('garbage behind a stream that has begun ends it without a second answer in it', async (t) => {
  const server = await open(t, {}, (_req, res) => void res.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n'));
  const client = await connect(server.port);
  client.write(GET);
  await client.until((text) => text.includes('hello'));
  client.write('garbage\r\n\r\n');
  await client.ended;
  assert.equal(client.received.toString().split('HTTP/1.1').length, 2, String(client.received));
  await until(() => server.handled[0].closed, 'the end of the request');
  client.close();
});

// ---- Time

test('a head that does not come to its end is answered 408', async (t) => {
  const { port, handled } = await open(t, { headersTimeoutMs: 60, timeoutCheckMs: 20 });
  isFault(String(await raw(port, 'GET / HTTP/1.1\r\nHost: x\r\nX: ')), '408 Request Timeout', 'request_timeout');
  assert.equal(handled.length, 0);
});

test('a connection that never sends a byte is closed', async (t) => {
  const { port } = await open(t, { headersTimeoutMs: 60, timeoutCheckMs: 20 });
  const client = await connect(port);
  assert.notEqual(await client.ended, 'closed');
  client.close();
});

test('a body that nobody reads to its end does not hold its connection for ever', async (t) => {
  const { port, handled } = await open(t, { headersTimeoutMs: 60, bodyTimeoutMs: 60, timeoutCheckMs: 20 }, (req) => void req.resume());
  isFault(String(await raw(port, 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123')), '408 Request Timeout', 'request_timeout');
  assert.equal(handled.length, 1);
});

test('an answer may take as long as it takes: no timeout of the connection ends a complete request', async (t) => {
  const { port, handled } = await open(t, { headersTimeoutMs: 40, bodyTimeoutMs: 40, timeoutCheckMs: 10, keepAliveTimeoutMs: 40 });
  const [slow, late] = [await connect(port), await connect(port)];
  slow.write(GET);
  await until(() => handled.length === 1, 'the request');
  // Another connection shows that all of these timeouts have passed since.
  late.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123');
  await late.until((text) => text.includes(' 408 '));
  late.close();
  assert.equal(handled[0].closed, false);
  json(handled[0].res, 200, OK);
  await slow.until((text) => text.endsWith('}'));
  slow.close();
});

test('a connection that is idle after its answer is closed in time', async (t) => {
  const { port } = await open(t, { keepAliveTimeoutMs: 30, timeoutCheckMs: 10 }, answerOk);
  assert.match(String(await raw(port, GET)), /^HTTP\/1\.1 200 /);
});

test('a client that takes nothing of its answer is cut off in time; one that takes it slowly, or waits for it, is not', async (t) => {
  const big = Buffer.alloc(12 * 2 ** 20, 'x');
  const server = await open(t, { sseStallMs: 300 }, (req, res) => {
    if (req.url === '/big') json(res, 200, big);
  });
  const [stuck, slow, waiting] = await Promise.all([1, 2, 3].map(() => connect(server.port)));
  t.after(() => [stuck, slow, waiting].forEach((client) => client!.close()));
  stuck!.socket.pause();
  stuck!.write(GET.replace('/', '/big').repeat(2));
  waiting!.write(GET);
  let taken = 0;
  slow!.socket.removeAllListeners('data').on('data', (chunk: Buffer) => {
    taken += chunk.length;
    slow!.socket.pause();
    setTimeout(() => slow!.socket.resume(), 5); // takes longer than the client that is stuck may
  });
  slow!.write(GET.replace('/', '/big'));
  await until(() => server.handled.filter(({ req, closed }) => closed && req.url === '/big').length >= 1, 'the end of the client that is stuck');
  stuck!.socket.resume();
  assert.notEqual(await stuck!.ended, 'closed');
  assert.ok(stuck!.received.length < big.length);
  await until(() => taken > big.length, () => `all of it to the slow client, which has ${taken}`);
  json(server.handled.find(({ req }) => req.url === '/')!.res, 200, OK);
  await waiting!.until((text) => text.endsWith('{"ok":true}'));
});

// ---- Clients that close

test('a client that closes its side after its request still gets its answer, and then the end', async (t) => {
  for (const version of ['1.1', '1.0']) {
    const server = await open(t);
    const client = await connect(server.port);
    client.write(`POST / HTTP/${version}\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}`);
    client.end();
    await until(() => server.handled.length === 1, 'the request');
    await until(() => server.handled[0].req.socket.readableEnded, 'the end of what the client sends');
    await turns();
    assert.equal(server.handled[0].closed, false, 'half a close is no cancellation');
    json(server.handled[0].res, 200, OK);
    assert.equal(await client.ended, 'end');
    assert.match(String(client.received).replaceAll('HTTP/1.1 102 Processing\r\n\r\n', ''), /^HTTP\/1\.1 200 .*\r\n\r\n\{"ok":true\}$/s);
    assert.equal(String(client.received).includes(' 102 '), version === '1.1', 'HTTP/1.0 knows no interim response');
    client.close();
  }
});

test('a client that sends many requests and closes its side gets every answer, in order', async (t) => {
  const server = await open(t);
  const client = await connect(server.port);
  client.write(GET.repeat(5));
  client.end();
  await until(() => server.handled.length === 5, 'the requests');
  await until(() => server.handled[0].req.socket.readableEnded, 'the end of what the client sends');
  for (const k of [4, 2, 0, 1, 3]) json(server.handled[k].res, 200, Buffer.from(`"answer ${k}"`));
  assert.equal(await client.ended, 'end');
  assert.deepEqual(String(client.received).match(/answer \d/g), [0, 1, 2, 3, 4].map((k) => `answer ${k}`));
  client.close();
});

for (const [how, leave] of [['has closed', 'close'], ['has reset its connection', 'abort']] as const) {
  test(`a client that ${how} is noticed at once, although nothing was written to it`, async (t) => {
    const server = await open(t);
    const client = await connect(server.port);
    client.write(GET);
    await until(() => server.handled.length === 1, 'the request');
    await turns();
    assert.equal(server.handled[0].closed, false);
    client[leave]();
    await until(() => server.handled[0].closed, 'the end of the request');
    assert.equal(server.handled[0].res.headersSent, false);
  });

  test(`all requests of a client that ${how} are ended, also those that stood in line behind the first`, async (t) => {
    const server = await open(t);
    const client = await connect(server.port);
    client.write(GET.repeat(3));
    await until(() => server.handled.length === 3, 'the requests');
    client[leave]();
    await until(
      () => server.handled.every((one) => one.closed),
      () => `the end of the requests, not only ${server.handled.map((one) => one.closed)}`,
    );
  });
}

test('a stream is not disturbed by half a close', async (t) => {
  const server = await open(t, {}, (_req, res) => void res.writeHead(200, { 'content-length': 10 }).write('12345'));
  const client = await connect(server.port);
  client.write(GET);
  await client.until((text) => text.endsWith('12345'));
  client.end();
  await until(() => server.handled[0].req.socket.readableEnded, 'the end of what the client sends');
  server.handled[0].res.end('67890');
  assert.equal(await client.ended, 'end');
  assert.match(String(client.received), /\r\n\r\n1234567890$/);
  client.close();
});

test('an idle connection that its client closes is closed', async (t) => {
  const server = await open(t, {}, answerOk);
  const client = await connect(server.port);
  client.write(GET);
  await client.until((text) => text.endsWith('}'));
  client.end();
  assert.equal(await client.ended, 'end');
  client.close();
});

test('an answer to a client that has left does no harm', async (t) => {
  const server = await open(t);
  const client = await connect(server.port);
  client.write(GET);
  await until(() => server.handled.length === 1, 'the request');
  client.abort();
  await until(() => server.handled[0].closed, 'the end of the request');
  server.handled[0].res.write('late');
  server.handled[0].res.end('later');
  server.handled[0].res.destroy(new Error('a failure that has nobody to go to'));
  await turns();
  const next = await connect(server.port);
  next.write(GET);
  await until(() => server.handled.length === 2, 'the next request');
  next.close();
});

// ---- Counts

test('one connection has at most a hundred unanswered requests; the next one is refused in its turn, and is the last', async (t) => {
  const server = await open(t);
  const client = await connect(server.port);
  client.write(GET.repeat(103));
  await until(() => server.handled.length === 100, 'a hundred requests');
  await turns();
  assert.equal(server.handled.length, 100);
  assert.equal(client.received.length, 0, 'the refusal stands in line');
  for (const { res } of server.handled) json(res, 200, OK);
  assert.notEqual(await client.ended, 'closed');
  const answers = String(client.received).split('HTTP/1.1 ').slice(1);
  assert.equal(answers.length, 101);
  for (const answer of answers.slice(0, 100)) assert.match(answer, /^200 /);
  isFault(`HTTP/1.1 ${answers[100]}`, '503 Service Unavailable', 'busy');
  assert.match(answers[100], /connection: close/i);
  assert.equal(server.handled.length, 100);
  client.close();
});

for (const [what, answer] of [
  ['big answers', (res: ServerResponse, bytes: Buffer) => json(res, 200, bytes)],
  ['streams', (res: ServerResponse, bytes: Buffer) => void new SseStream(res, { clock: systemClock, limits: LIMITS }).write(bytes)],
] as const) {
  test(`of ${what} that stand in line behind another one so many bytes are kept; when more are due the client is cut off`, async (t) => {
    const server = await open(t, { sseQueueBytes: MIB });
    const client = await connect(server.port);
    client.socket.pause();
    client.write(GET.repeat(4));
    await until(() => server.handled.length === 4, 'all requests');
    const [first, second, third] = server.handled.map(({ res }) => res);
    answer(first!, Buffer.alloc(12 * MIB, 'x')); // what is being sent is not in line
    answer(second!, Buffer.alloc(2 * MIB, 'x'));
    await turns();
    assert.deepEqual(server.handled.filter(({ closed }) => closed), []);
    answer(third!, Buffer.alloc(MIB, 'x'));
    await until(() => server.handled.every(({ closed }) => closed), 'the end of all four');
    client.close();
  });
}

test('a client that reads gets all its big answers, however many it has asked for at once', async (t) => {
  const big = Buffer.alloc(2 * MIB, 'x');
  const server = await open(t, { sseQueueBytes: MIB });
  const client = await connect(server.port);
  client.write(GET.repeat(5));
  await until(() => server.handled.length === 5, 'all requests');
  for (const [k, { res }] of server.handled.entries()) {
    json(res, 200, big);
    await client.until((text) => text.length > (k + 1) * big.length);
  }
  assert.equal(String(client.received).split('HTTP/1.1 200').length, 6);
  client.close();
});

test('any number of requests may follow each other on one connection', async (t) => {
  const server = await open(t, { maxUnansweredPerConnection: 2 }, answerOk);
  const client = await connect(server.port);
  for (let k = 1; k <= 20; k++) {
    client.write(GET);
    await client.until((text) => text.split('{"ok":true}').length === k + 1);
  }
  assert.equal(server.handled.length, 20);
  client.close();
});

test('unanswered requests are counted per connection', async (t) => {
  const server = await open(t, { maxUnansweredPerConnection: 2 });
  const clients = await Promise.all([1, 2, 3].map(() => connect(server.port)));
  for (const client of clients) client.write(GET.repeat(2));
  await until(() => server.handled.length === 6, 'six requests');
  for (const { res } of server.handled) json(res, 200, OK);
  for (const client of clients) {
    const text = String(await client.until((text) => text.split('HTTP/1.1').length === 3));
    assert.equal(text.includes(' 503 '), false);
    client.close();
  }
});

test('more connections than allowed are refused, told of, and allowed again when others have gone', async (t) => {
  const server = await open(t, { maxConnections: 2 }, answerOk);
  const [first, second] = [await connect(server.port), await connect(server.port)];
  for (const client of [first, second]) {
    client.write(GET);
    await client.until((text) => text.endsWith('}'));
  }
  const third = await connect(server.port);
  assert.notEqual(await third.ended, 'closed');
  assert.equal(third.received.length, 0);
  assert.equal(server.dropped(), 1);
  third.close();
  first.close();
  await until(async () => (await request(server.url)).status === 200, 'a connection again');
  second.close();
});

function isFault(answer: string, status: string, reason: string, what = answer): void {
  const [head = '', body = ''] = answer.split('\r\n\r\n');
  assert.equal(head.split('\r\n', 1)[0], `HTTP/1.1 ${status}`, what);
  assert.match(head, /\r\ncontent-type: application\/json(\r\n|$)/i, what);
  assert.match(head, new RegExp(`\\r\\ncontent-length: ${Buffer.byteLength(body)}(\\r\\n|$)`, 'i'), what);
  const { jsonrpc, id, error } = JSON.parse(body);
  assert.deepEqual({ jsonrpc, id, data: error.data }, { jsonrpc: '2.0', id: null, data: { source: 'mcp-proxy', reason } }, what);
}
