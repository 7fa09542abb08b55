import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Deadlines } from '../../src/base/clock.ts';
import { ProxyError, type Reason } from '../../src/base/errors.ts';
import { LIMITS } from '../../src/config/limits.ts';
import { readJsonBody, type BodyOptions } from '../../src/http/body.ts';
import { fault, json } from '../../src/http/reply.ts';
import { listen } from '../../src/http/server.ts';
import { createProxy } from '../../src/proxy.ts';
import { fakeClock, turns } from '../support/clock.ts';
import { until } from '../support/files.ts';
import { connect, raw, request, type Connection } from '../support/http.ts';

// ---- Content-Type and Content-Encoding

const media: readonly (readonly [OutgoingHttpHeaders, number])[] = [
  [{}, 200],
  [{ 'Content-Type': 'application/json' }, 200],
  [{ 'Content-Type': 'Application/JSON' }, 200],
  [{ 'Content-Type': 'application/json; charset=utf-8' }, 200],
  [{ 'Content-Type': 'application/json;charset=UTF-8' }, 200],
  [{ 'Content-Type': 'application/json ; x="a;b"' }, 200],
  [{ 'Content-Type': 'application/json;' }, 200],
  [{ 'Content-Type': 'text/plain' }, 415],
  [{ 'Content-Type': 'text/json' }, 415],
  [{ 'Content-Type': 'application/jsonp' }, 415],
  [{ 'Content-Type': 'application/json5' }, 415],
  [{ 'Content-Type': 'application/json-rpc' }, 415],
  [{ 'Content-Type': 'application/problem+json' }, 415],
  [{ 'Content-Type': 'application/*' }, 415],
  [{ 'Content-Type': 'json' }, 415],
  [{ 'Content-Type': 'text/plain; application/json' }, 415],
  [{ 'Content-Type': 'text/plain, application/json' }, 415],
  [{ 'Content-Type': 'application/json, text/plain' }, 415],
  [{ 'Content-Type': 'application/x-www-form-urlencoded' }, 415],
  [{ 'Content-Type': 'multipart/form-data; boundary=x' }, 415],
  [{ 'Content-Encoding': 'identity' }, 200],
  [{ 'Content-Encoding': 'Identity' }, 200],
  [{ 'Content-Encoding': 'gzip' }, 415],
  [{ 'Content-Encoding': 'br' }, 415],
  [{ 'Content-Encoding': 'deflate' }, 415],
  [{ 'Content-Encoding': 'zstd' }, 415],
  [{ 'Content-Encoding': 'gzip, identity' }, 415],
  [{ 'Content-Encoding': 'identity, gzip' }, 415],
  [{ 'Content-Encoding': ['identity', 'gzip'] }, 415],
  [{ 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }, 415],
  [{ 'Content-Type': 'text/plain', 'Content-Encoding': 'identity' }, 415],
];

test('a body is taken as JSON in no coding, or with nothing said about it; any other type and coding is refused', async (t) => {
  const { url, outcomes } = await reader(t);
  for (const [headers, status] of media) {
    const reply = await request(url, { method: 'POST', headers, body: '{"a":1}' });
    assert.equal(reply.status, status, JSON.stringify(headers));
    if (status === 200) assert.equal(reply.text, '{"a":1}');
    else assert.equal(outcomes.at(-1), 'media_type');
  }
});

// ---- What is read

test('a body arrives whole, however it is cut and framed', async (t) => {
  const { port } = await reader(t);
  const body = Buffer.from('{"a":"żółć 🦊"}');
  for (let i = 0; i <= body.length; i++) {
    const parts = [body.subarray(0, i), body.subarray(i)];
    const framed = [
      [`Content-Length: ${body.length}`, parts],
      ['Transfer-Encoding: chunked', [...parts.filter((part) => part.length > 0).map(chunk), '0\r\n\r\n']],
    ] as const;
    for (const [framing, pieces] of framed) {
      const client = await connect(port);
      client.write(`POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${framing}\r\n\r\n`);
      for (const piece of pieces) await written(client, piece);
      await client.until((text) => text.endsWith(body.toString('latin1')));
      client.close();
    }
  }
});

test('a big body arrives whole, too, wherever it pauses and however it is framed', async (t) => {
  const { url, outcomes } = await reader(t);
  const KIB = 1_024;
  for (const bytes of [256 * KIB - 1, 256 * KIB, 256 * KIB + 1, KIB * KIB + 7]) {
    const body = Array.from({ length: Math.ceil(bytes / 10) }, (_, n) => String(n).padStart(10, '.')).join('').slice(0, bytes);
    for (const pause of [1, bytes >> 3, bytes >> 2, (bytes >> 2) + 1, bytes - 1, bytes]) {
      for (const headers of [{ 'Content-Length': bytes }, { 'Transfer-Encoding': 'chunked' }]) {
        const asked = httpRequest(url, { method: 'POST', headers });
        const answered = once(asked, 'response') as Promise<[IncomingMessage]>;
        await new Promise((sent) => asked.write(body.slice(0, pause), sent));
        asked.end(body.slice(pause));
        const [answer] = await answered;
        answer.resume();
        await once(answer, 'end');
        assert.ok(outcomes.pop() === body, `${bytes} bytes, pause after ${pause}, ${Object.keys(headers)[0]}`);
      }
    }
  }
});

test('a request that ends before or behind its announced length, as none of Node’s own does, is never read beyond what came', async () => {
  for (const bytes of [2 ** 20 - 1, 2 ** 20 + 1]) {
    const body = Readable.from([Buffer.alloc(2 ** 19, 'x'), Buffer.alloc(bytes - 2 ** 19, 'y')]);
    const req = Object.assign(body, { headers: { 'content-length': String(2 ** 20) } }) as unknown as IncomingMessage;
    const reading = readJsonBody(req, {} as ServerResponse, { deadlines: new Deadlines(fakeClock()), limits: LIMITS });
    await assert.rejects(reading, { reason: 'invalid_request' });
  }
});

test('a body in chunks of one byte takes little more memory than its bytes while it comes', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const heap = (): number => (collect(), process.memoryUsage().heapUsed);
  const req = Object.assign(new EventEmitter(), { headers: {} }) as unknown as IncomingMessage;
  const reading = readJsonBody(req, {} as ServerResponse, { deadlines: new Deadlines(fakeClock()), limits: LIMITS });
  const before = heap();
  const bytes = 300_000;
  for (let k = 0; k < bytes; k++) req.emit('data', Buffer.from([k % 251]));
  const grown = heap() - before;
  assert.ok(grown < 10 * bytes, `${grown} bytes of heap for ${bytes} of a body`);
  req.emit('end');
  const body = await reading;
  assert.ok(body.length === bytes && body.every((byte, k) => byte === k % 251));
});

test('no body at all is an empty one', async (t) => {
  const { url, outcomes } = await reader(t);
  for (const options of [{ headers: {} }, { headers: { 'Content-Length': 0 } }, { headers: { 'Transfer-Encoding': 'chunked' }, body: '' }]) {
    const reply = await request(url, { method: 'POST', ...options });
    assert.deepEqual([reply.status, reply.text, outcomes.at(-1)], [200, '', '']);
  }
});

test('a body that is no text arrives as it was sent: judging it is not done here', async (t) => {
  const { url } = await reader(t);
  const body = Buffer.from([0xff, 0x00, 0xc3, 0x28]);
  assert.deepEqual((await request(url, { method: 'POST', body })).body, body);
});

// ---- Size

test('a body of exactly the limit is taken, one byte more is too large, with and without an announced length', async (t) => {
  const { url, outcomes } = await reader(t, { maxBodyBytes: 1_000 });
  for (const [bytes, status] of [[999, 200], [1_000, 200], [1_001, 413], [5_000, 413]] as const) {
    for (const headers of [{ 'Content-Length': bytes }, { 'Transfer-Encoding': 'chunked' }]) {
      const reply = await request(url, { method: 'POST', headers, body: 'x'.repeat(bytes) });
      assert.equal(reply.status, status, `${bytes} bytes, ${JSON.stringify(headers)}`);
      if (status === 413) assert.deepEqual([outcomes.at(-1), reply.json().error.message], ['too_large', 'Payload too large: at most 1000 bytes']);
    }
  }
});

test('a length that is too large is refused before anything of the body has come', async (t) => {
  const { port } = await reader(t, { maxBodyBytes: 1_000 });
  for (const length of ['1001', '10485760', '9007199254740993', '18446744073709551615']) {
    const client = await connect(port);
    client.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`);
    assert.match(String(await client.until((text) => text.includes('\r\n\r\n{') && text.endsWith('}'))), /^HTTP\/1\.1 413 .*too_large/s);
    client.close();
  }
});

test('a chunked body is refused with the first byte too many, not at its end', async (t) => {
  const { port } = await reader(t, { maxBodyBytes: 1_000 });
  const client = await connect(port);
  client.write(`POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`);
  await written(client, chunk(Buffer.alloc(1_000)));
  await turns();
  assert.equal(client.received.length, 0, 'the limit itself is not too much');
  client.write('1\r\nx\r\n');
  assert.match(String(await client.until((text) => text.endsWith('}'))), /^HTTP\/1\.1 413 /);
  client.close();
});

test('after a refusal, the rest of the body is read and dropped, and the connection serves the next request', async (t) => {
  const { port, outcomes } = await reader(t, { maxBodyBytes: 1_000, discardBytes: 200_000 });
  const refusals = [
    ['too_large', `Content-Length: 100000`, [Buffer.alloc(60_000), Buffer.alloc(40_000)]],
    ['too_large', 'Transfer-Encoding: chunked', [chunk(Buffer.alloc(60_000)), chunk(Buffer.alloc(40_000)), '0\r\n\r\n']],
    ['media_type', 'Content-Length: 5\r\nContent-Type: text/plain', ['he', 'llo']],
  ] as const;
  const client = await connect(port);
  let answers = 0;
  for (const [reason, framing, parts] of refusals) {
    client.write(`POST / HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n`);
    for (const part of parts) await written(client, part);
    answers += 1;
    await client.until((text) => count(text, reason) > 0 && count(text, 'HTTP/1.1 ') === answers && text.endsWith('}'));
    client.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{"b": 2}');
    answers += 1;
    await client.until((text) => count(text, 'HTTP/1.1 ') === answers && text.endsWith('{"b": 2}'));
  }
  assert.deepEqual(outcomes, ['too_large', '{"b": 2}', 'too_large', '{"b": 2}', 'media_type', '{"b": 2}']);
  client.close();
});

for (const [what, head, refusal] of [
  ['was refused for its length', 'Content-Length: 1000000000000', '413'],
  ['was refused for its type', 'Content-Length: 1000000000000\r\nContent-Type: text/plain', '415'],
  ['was refused for its chunks', 'Transfer-Encoding: chunked', '413'],
] as const) {
  test(`an uploader that ${what} and goes on for ever is cut off`, async (t) => {
    const { port } = await reader(t, { maxBodyBytes: 1_000, discardBytes: 100_000 });
    const client = await connect(port);
    client.write(`POST / HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n`);
    client.write(chunk(Buffer.alloc(1_001)));
    assert.match(String(await client.until((text) => text.endsWith('}'))), new RegExp(`^HTTP/1\\.1 ${refusal} `));
    const endless = () => void client.socket.write(chunk(Buffer.alloc(10_000)), (error) => error ?? endless());
    endless();
    await cutOff(client);
  });

  test(`an uploader that ${what} and sends nothing more is cut off in time`, async (t) => {
    const { port, clock, outcomes } = await reader(t, { maxBodyBytes: 1_000 });
    const client = await connect(port);
    client.write(`POST / HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n`);
    client.write(chunk(Buffer.alloc(1_001)));
    await client.until((text) => text.endsWith('}'));
    await until(() => outcomes.length === 1, 'the refusal');
    await clock.run(LIMITS.discardMs - 1);
    client.write(chunk(Buffer.alloc(100)));
    await turns();
    assert.equal(client.socket.readableEnded, false);
    clock.advance(1);
    await cutOff(client);
  });
}

test('the uploader of a body of 11 MiB, of which 10 are allowed, sees its 413', async (t) => {
  const { url } = await reader(t);
  const body = Buffer.alloc(11 * 1024 * 1024, 'x');
  for (const headers of [{ 'Content-Length': body.length }, { 'Transfer-Encoding': 'chunked' }]) {
    const reply = await request(url, { method: 'POST', headers, body });
    assert.equal(reply.status, 413);
    assert.equal(reply.json().error.data.reason, 'too_large');
  }
});

// What most libraries without an event loop do: they look for an answer only when they have sent everything.
for (const [framing, parts] of [
  [`Content-Length: ${11 * 1024 * 1024}`, [Buffer.alloc(11 * 1024 * 1024, 'x')]],
  ['Transfer-Encoding: chunked', [...Array.from({ length: 11 }, () => chunk(Buffer.alloc(1024 * 1024, 'x'))), '0\r\n\r\n']],
] as const) {
  test(`the uploader of 11 MiB sees its 413 also when it reads only after it has sent everything (${framing.split(':')[0]})`, async (t) => {
    const { port } = await reader(t);
    for (let round = 0; round < 5; round++) {
      const client = await connect(port);
      client.socket.pause();
      await written(client, `POST / HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n`);
      for (const part of parts) await written(client, part);
      client.socket.resume();
      assert.match(String(await client.until((text) => text.endsWith('}'))), /^HTTP\/1\.1 413 /);
      client.close();
    }
  });
}

// ---- Time

test('a body that is not complete after a minute is answered 408, and not a moment before', async (t) => {
  for (const framing of ['Content-Length: 10', 'Transfer-Encoding: chunked']) {
    const { port, clock, outcomes, started } = await reader(t);
    const client = await connect(port);
    client.write(`POST / HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n`);
    await until(() => started() === 1, 'the request');
    await clock.run(30_000);
    await written(client, framing.startsWith('C') ? '123' : '3\r\n123\r\n'); // a trickle buys no time
    await clock.run(29_999);
    assert.deepEqual(outcomes, []);
    clock.advance(1);
    const answer = String(await client.until((text) => text.endsWith('}')));
    assert.match(answer, /^HTTP\/1\.1 408 .*"reason":"request_timeout"/s);
    assert.deepEqual(outcomes, ['request_timeout']);
    client.close();
  }
});

test('a complete body leaves no deadline behind', async (t) => {
  const { url, clock, deadlines, outcomes } = await reader(t, { maxBodyBytes: 1_000 });
  await request(url, { method: 'POST', body: '{}' });
  await request(url, { method: 'POST', body: 'x'.repeat(2_000) });
  await request(url, { method: 'POST', headers: { 'Transfer-Encoding': 'chunked' }, body: 'x'.repeat(2_000) });
  await request(url, { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: 'x' });
  await until(() => deadlines.open === 0, 'every deadline is cancelled');
  await clock.run(120_000);
  assert.deepEqual(outcomes, ['{}', 'too_large', 'too_large', 'media_type']);
});

// ---- Clients that leave

test('a client that leaves in the middle of its body ends the reading at once', async (t) => {
  const leave: readonly (readonly [string, (client: Connection) => void])[] = [
    ['closes', (client) => client.close()],
    ['resets', (client) => client.abort()],
    ['closes its side only', (client) => client.end()],
  ];
  for (const [how, go] of leave) {
    for (const framing of ['Content-Length: 10', 'Transfer-Encoding: chunked']) {
      const { port, outcomes, deadlines, started } = await reader(t);
      const client = await connect(port);
      client.write(`POST / HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n3\r\n`);
      await until(() => started() === 1, 'the request');
      go(client);
      await until(() => outcomes.length === 1, `the end of the reading, when the client ${how} (${framing})`);
      assert.deepEqual(outcomes, ['invalid_request']);
      assert.equal(deadlines.open, 0);
      if (how === 'closes its side only') {
        assert.match(String(await client.until((text) => text.endsWith('}'))), /^HTTP\/1\.1 400 .*\r\n\r\n\{"jsonrpc":"2\.0","id":null,"error":/s);
        client.close();
      }
    }
  }
});

test('framing that breaks in the middle of a body is answered once, with a 400', async (t) => {
  const { port, outcomes } = await reader(t);
  const answer = String(await raw(port, 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n'));
  assert.match(answer, /^HTTP\/1\.1 400 /);
  assert.equal(count(answer, 'HTTP/1.1 '), 1);
  await until(() => outcomes.length === 1, 'the end of the reading');
  assert.deepEqual(outcomes, ['invalid_request']);
});

// ---- Expect: 100-continue

test('a client that waits for leave to send its body gets it exactly once, and then its answer', async (t) => {
  const { port } = await reader(t, { maxBodyBytes: 1_000 });
  const client = await connect(port);
  for (let round = 1; round <= 2; round++) {
    client.write('POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n');
    await client.until((text) => count(text, 'HTTP/1.1 100 Continue\r\n\r\n') === round);
    client.write('{"a":1}');
    const text = String(await client.until((text) => count(text, '{"a":1}') === round));
    assert.deepEqual([count(text, 'HTTP/1.1 100 '), count(text, 'HTTP/1.1 200 ')], [round, round]);
  }
  client.close();
});

test('a client that waits for leave is refused without it when its length, type or coding will not do', async (t) => {
  const { port } = await reader(t, { maxBodyBytes: 1_000 });
  const heads = [
    ['413', 'Content-Length: 1001'],
    ['415', 'Content-Length: 5\r\nContent-Type: text/plain'],
    ['415', 'Content-Length: 5\r\nContent-Encoding: gzip'],
  ] as const;
  for (const [status, head] of heads) {
    const client = await connect(port);
    client.write(`POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n${head}\r\n\r\n`);
    const text = String(await client.until((text) => text.endsWith('}')));
    assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `), 'the refusal is the first that comes');
    assert.equal(text.includes(' 100 '), false);
    client.close();
  }
});

test('a client that waits for leave gets it only behind the guard, the route and the right to change the configuration', async (t) => {
  const token = 'correct-horse-battery';
  const proxy = createProxy({ config: { mcpServers: {} }, env: {}, auth: { host: '127.0.0.1', token } });
  t.after(() => proxy.close());
  const open = createProxy({ config: { mcpServers: {} }, env: {}, auth: { host: '127.0.0.1' } });
  t.after(() => open.close());
  const ports = { proxy: await listening(t, proxy.listener), open: await listening(t, open.listener) };
  const heads = [
    ['403', 'proxy', '/api/config', 'Host: evil.example'],
    ['403', 'proxy', '/api/config', 'Host: localhost\r\nOrigin: https://evil.example'],
    ['401', 'proxy', '/api/config', 'Host: localhost'],
    ['404', 'proxy', '/nope', `Host: localhost\r\nAuthorization: Bearer ${token}`],
    ['405', 'proxy', '/x/sse', `Host: localhost\r\nAuthorization: Bearer ${token}`],
    ['403', 'open', '/api/config', 'Host: localhost\r\nX-Forwarded-For: 10.0.0.1'],
    ['415', 'open', '/api/config', 'Host: localhost\r\nContent-Type: text/plain'],
    ['100', 'proxy', '/api/config', `Host: localhost\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json`],
    ['100', 'open', '/api/config', 'Host: localhost\r\nContent-Type: application/json'],
  ] as const;
  for (const [status, which, path, head] of heads) {
    const client = await connect(ports[which]);
    client.write(`POST ${path} HTTP/1.1\r\n${head}\r\nExpect: 100-continue\r\nContent-Length: 17\r\n\r\n`);
    const text = String(await client.until((text) => (status === '100' ? text.endsWith('\r\n\r\n') : text.endsWith('}'))));
    assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `), head);
    assert.equal(text.includes(' 100 Continue'), status === '100');
    if (status === '100') {
      client.write('{"mcpServers":{}}');
      await client.until((text) => text.includes('HTTP/1.1 200 '));
    }
    client.close();
  }
});

// ---- A server that answers every body with itself

class CountedDeadlines extends Deadlines {
  open = 0;
  override add(ms: number, expire: () => void): ReturnType<Deadlines['add']> {
    let mine = 1;
    this.open += 1;
    const over = (): void => {
      this.open -= mine;
      mine = 0;
    };
    const deadline = super.add(ms, () => (over(), expire()));
    return { restart: (later) => deadline.restart(later), cancel: () => (over(), deadline.cancel()) };
  }
}

/** `outcomes`: the body, or the reason of the refusal, of each request in turn. */
async function reader(t: TestContext, limits: Partial<BodyOptions['limits']> = {}) {
  const clock = fakeClock();
  const deadlines = new CountedDeadlines(clock);
  const outcomes: (Reason | string)[] = [];
  let started = 0;
  const port = await listening(t, async (req, res) => {
    started += 1;
    try {
      const body = await readJsonBody(req, res, { deadlines, limits: { ...LIMITS, ...limits } });
      outcomes.push(String(body));
      json(res, 200, body);
    } catch (error) {
      assert.ok(error instanceof ProxyError);
      outcomes.push(error.reason);
      fault(res, error);
    }
  });
  return { port, url: `http://127.0.0.1:${port}`, clock, deadlines, outcomes, started: () => started };
}

async function listening(t: TestContext, handle: Parameters<typeof listen>[0]['handle']): Promise<number> {
  const server = await listen({ host: '127.0.0.1', port: 0, limits: LIMITS, handle, onDrop() {} });
  t.after(() => server.close(0));
  return server.port;
}

function chunk(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}

/** Waits for the server to close the connection, long before a timeout of the connection itself would. */
async function cutOff(client: Connection): Promise<void> {
  let how: string | undefined;
  void client.ended.then((ending) => (how = ending));
  await until(() => how, 'the end of the connection');
  client.close();
}

/** Writes, and waits until the bytes have left the process; fails when the server has closed before. */
function written(client: Connection, bytes: string | Buffer): Promise<void> {
  return new Promise((resolve, reject) => void client.socket.write(bytes, (error) => (error ? reject(error) : resolve())));
}

function count(text: string, part: string): number {
  return text.split(part).length - 1;
}
