import assert from 'node:assert/strict';
import { once } from 'node:events';
import http, { type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { encodeEvent, SseStream } from '../../src/wire/sse.ts';
import { fakeClock, turns, type FakeClock } from '../support/clock.ts';
import { until } from '../support/files.ts';
import { connect, openSse, request, sseDecoder, type Connection, type SseItem, type SseStream as Reader } from '../support/http.ts';
import { thirds } from './nasty.ts';

const LIMITS = { keepAliveMs: 15_000, sseQueueBytes: 1_000_000, sseStallMs: 60_000 };
const MORE_THAN_A_SOCKET_TAKES = 64 * 1024 * 1024;

test('every event comes out of a decoder as it went in, as text or as bytes, however its bytes are cut', () => {
  const events = [
    ['message', '{"jsonrpc":"2.0","method":"żółć","params":{"text":"🦊\u2028\u2029\u0085\\n\\r"}}'],
    ['endpoint', '{"uri":"http://localhost:3000/%C5%BC/message"}'],
    ['close', '{}'],
    ['error', ' leading: space'],
    ['status', ''],
  ] as const;
  for (const [event, data] of events) {
    assert.deepEqual(encodeEvent(event, Buffer.from(data)), encodeEvent(event, data));
    for (const chunks of thirds(Buffer.concat([encodeEvent(event, data), encodeEvent(event, data)]))) {
      const items: SseItem[] = [];
      const decode = sseDecoder((item) => items.push(item));
      for (const chunk of chunks) decode(chunk);
      assert.deepEqual(items, [{ event, data }, { event, data }]);
    }
  }
});

test('a stream begins with its head at once, and events follow in order', async (t) => {
  const { open } = await serve(t);
  const { stream, reader } = await open();
  assert.equal(reader.status, 200);
  assert.equal(reader.headers['content-type'], 'text/event-stream');
  assert.equal(reader.headers['cache-control'], 'no-cache, no-transform');
  assert.equal(reader.headers['x-accel-buffering'], 'no');
  assert.equal(reader.headers['content-length'], undefined);
  for (let k = 0; k < 100; k++) stream.write(encodeEvent('message', `${k}`));
  for (let k = 0; k < 100; k++) assert.deepEqual(await reader.next(), { event: 'message', data: `${k}` });
});

test('a comment comes after 15 s without an event and only then, whenever in them an event comes', async (t) => {
  const { open, clock } = await serve(t);
  for (let second = 0; second <= 31; second++) {
    const { stream, reader } = await open();
    await clock.run(second * 1_000);
    stream.write(encodeEvent('message', 'event'));
    await clock.run(14_999);
    stream.write(encodeEvent('message', 'next'));
    await clock.run(45_000);
    stream.write(encodeEvent('message', 'last'));
    await reader.next((item) => 'data' in item && item.data === 'last');
    const comments = (count: number) => Array(count).fill('keep-alive');
    const seen = reader.all.map((item) => ('comment' in item ? item.comment : item.data));
    assert.deepEqual(seen, [...comments(Math.floor(second / 15)), 'event', 'next', ...comments(3), 'last'], `an event after ${second} s`);
    await reader.close();
  }
});

test('end() lets what was written arrive and then ends the stream; it may be called twice', async (t) => {
  const { open, clock } = await serve(t);
  const { stream, reader, closed } = await open();
  assert.equal(stream.open, true);
  stream.write(encodeEvent('close', '{}'));
  stream.write(encodeEvent('message', 'x'.repeat(5_000_000)));
  stream.end();
  assert.deepEqual([stream.open, closed()], [false, 1]);
  stream.end();
  stream.write(encodeEvent('message', 'late'));
  assert.equal(await reader.ended, 'end');
  assert.deepEqual(reader.all.map((item) => 'event' in item && item.event), ['close', 'message']);
  await until(() => clock.pending === 0, 'no timer is left');
  assert.equal(closed(), 1);
});

test('a reader that leaves ends the stream: with a reset at once, else with the second of two writes', async (t) => {
  const { open, clock } = await serve(t);
  for (const leave of ['abort', 'close'] as const) {
    const { stream, res, connection, closed } = await open.raw();
    const socket = res.socket!;
    connection[leave]();
    if (leave === 'close') {
      // The end of what the reader sends does not tell whether it still listens.
      await until(() => socket.readableEnded || socket.destroyed, 'the end has arrived');
      await clock.run(100);
    }
    await until(() => closed() === 1, `the stream is closed after ${leave}`);
    assert.equal(stream.open, false);
    stream.write(encodeEvent('message', 'late'));
    assert.equal(clock.pending, 0);
    stream.end();
    assert.equal(closed(), 1);
  }
});

test('a reader that closes only its own direction gets two comments as an answer, and goes on getting events', async (t) => {
  const { open, clock } = await serve(t);
  const { stream, connection, closed } = await open.raw();
  const comments = () => connection.received.toString().split(': keep-alive\n\n').length - 1;
  connection.end();
  await connection.until(() => comments() === 1);
  await clock.run(100);
  await connection.until(() => comments() === 2);
  stream.write(encodeEvent('message', 'still there'));
  await clock.run(14_999);
  await connection.until((text) => text.includes('data: still there\n\n'));
  assert.equal(comments(), 2);
  await clock.run(1);
  await connection.until(() => comments() === 3);
  assert.equal(closed(), 0);
  stream.end();
  assert.equal(await connection.ended, 'end');
});

test('a reader whose unsent bytes are beyond the bound is cut off when the next event is due, and not at the bound', async (t) => {
  const frame = encodeEvent('message', 'x'.repeat(500));
  const probe = await (await serve(t)).open();
  probe.res.socket!.cork(); // from here on the socket hands nothing on
  probe.stream.write(frame);
  const unsent = probe.res.writableLength;
  for (const count of [0, 1, 2, 3]) {
    const { open, clock } = await serve(t, { ...LIMITS, sseQueueBytes: count * unsent });
    const { stream, res, reader, closed } = await open();
    res.socket!.cork();
    for (let k = 0; k < count; k++) stream.write(frame);
    assert.equal(res.writableLength, count * unsent);
    stream.write(frame);
    assert.equal(res.destroyed, false);
    stream.write(frame);
    assert.equal(res.destroyed, true);
    stream.write(frame);
    assert.equal(await reader.ended, 'cut');
    await until(() => closed() === 1, 'the stream is closed');
    assert.deepEqual([stream.open, clock.pending], [false, 0]);
  }
});

test('one event may be bigger than the bound', async (t) => {
  const { open } = await serve(t, { ...LIMITS, sseQueueBytes: 1_000 });
  const { stream, res, reader, closed } = await open();
  const data = 'x'.repeat(5_000_000);
  for (let k = 0; k < 3; k++) {
    stream.write(encodeEvent('message', data));
    assert.equal((await reader.event()).data.length, data.length);
    await until(() => res.writableLength === 0, 'all is sent');
  }
  assert.equal(closed(), 0);
});

test('a comment is no event: it cuts nobody off who is still taking one big event', async (t) => {
  const { open, clock } = await serve(t, { ...LIMITS, sseQueueBytes: 1_000 });
  const { stream, res, reader, closed } = await open();
  res.socket!.cork();
  stream.write(encodeEvent('message', 'x'.repeat(5_000)));
  const unsent = res.writableLength;
  clock.advance(16_000);
  assert.equal(res.writableLength, unsent, 'and where something is on its way, none is due');
  res.socket!.uncork();
  assert.equal((await reader.event()).data.length, 5_000);
  assert.equal(closed(), 0);
});

test('a reader that takes nothing of what is unsent for 60 s is cut off, with or without new events', async (t) => {
  const { open, clock } = await serve(t, { ...LIMITS, sseQueueBytes: Infinity });
  for (const everyMs of [Infinity, 1_000, 14_999, 20_000]) {
    const { stream, res, reader, closed } = await open();
    clock.advance(20_000);
    await turns(); // what was written until now is sent
    res.socket!.cork();
    stream.write(encodeEvent('message', 'x'));
    let lastEvent = 0;
    let ms = 0;
    for (; !res.destroyed && ms < 120_000; ms += 1_000) {
      clock.advance(1_000);
      if (ms - lastEvent < everyMs) continue;
      lastEvent = ms;
      stream.write(encodeEvent('message', 'y'));
    }
    // It is looked at each time that a comment may be due.
    assert.ok(ms >= 60_000 && ms <= 90_000, `cut off after ${ms} ms, with an event every ${everyMs} ms`);
    assert.equal(await reader.ended, 'cut');
    await until(() => closed() === 1, 'the stream is closed');
    assert.equal(clock.pending, 0);
  }
});

test('a reader that takes something in every minute is not cut off, however far it is behind', async (t) => {
  const { open, clock } = await serve(t, { ...LIMITS, sseQueueBytes: Infinity });
  const { stream, res, reader, closed } = await open();
  for (let minute = 0; minute < 10; minute++) {
    res.socket!.cork();
    stream.write(encodeEvent('message', `${minute}`));
    clock.advance(59_000);
    res.socket!.uncork();
    assert.equal((await reader.event()).data, `${minute}`);
  }
  assert.equal(closed(), 0);
});

test('a reader that takes one big event piece by piece is not cut off', async (t) => {
  const { open, clock } = await serve(t, { ...LIMITS, sseQueueBytes: Infinity });
  const { stream, connection, closed } = await open.raw();
  const { socket } = connection;
  socket.pause();
  stream.write(encodeEvent('message', 'x'.repeat(MORE_THAN_A_SOCKET_TAKES)));
  let taken = 0;
  socket.on('data', (chunk) => {
    taken += chunk.length;
    if (taken >= due) socket.pause();
  });
  let due = 0;
  for (let second = 0; second < 120; second += 10) {
    due += 4 * 1024 * 1024;
    socket.resume();
    await until(() => taken >= due || closed() > 0, () => `${due} bytes are taken, not ${taken}`);
    clock.advance(10_000);
  }
  assert.equal(closed(), 0, `cut off after ${taken} bytes`);
});

test('a reader that never reads is cut off although the stream has ended, and nothing is left of it', async (t) => {
  const { open, clock } = await serve(t);
  for (const ended of [false, true]) {
    const { stream, connection, closed, res } = await open.raw();
    connection.socket.pause();
    stream.write(encodeEvent('message', 'x'.repeat(MORE_THAN_A_SOCKET_TAKES)));
    if (ended) stream.end();
    const { socket } = res;
    for (let k = 0; k < 20 && !socket!.destroyed; k++) await clock.run(15_000);
    assert.equal(socket!.destroyed, true);
    await until(() => clock.pending === 0, 'no timer is left');
    assert.equal(closed(), 1);
    connection.close();
  }
});

test('a stream for a reader who has left already is closed from the beginning', async (t) => {
  let response: ServerResponse | undefined;
  const { url } = await listen(t, (_, res) => void (response = res));
  const gone = request(url).catch(() => {});
  await until(() => response, 'the request is there');
  response!.socket!.destroy();
  await gone;
  await until(() => response!.destroyed, 'the response is destroyed');
  const clock = fakeClock();
  let closed = 0;
  const stream = new SseStream(response!, { clock, limits: LIMITS }, () => closed++);
  assert.equal(closed, 0, 'not before whoever opened it knows it');
  await Promise.resolve();
  assert.deepEqual([stream.open, closed, clock.pending], [false, 1, 0]);
  stream.write(encodeEvent('message', 'x'));
  stream.end();
  await turns();
  assert.equal(closed, 1);
});

test('a stream that waits behind another answer on its connection keeps what is written until its turn', async (t) => {
  const { open, clock, opened } = await serve(t);
  const first = await open.raw();
  first.connection.write('GET /second HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(() => opened.length === 2, 'the second stream is open');
  const second = opened[1]!;
  second.stream.write(encodeEvent('message', 'of the second'));
  clock.advance(15_000);
  first.stream.write(encodeEvent('message', 'of the first'));
  first.stream.end();
  await first.connection.until((text) => text.includes('of the second'));
  const text = first.connection.received.toString();
  assert.ok(text.indexOf('of the first') < text.lastIndexOf('HTTP/1.1 200 OK'));
  first.connection.abort();
  await until(() => second.closed() === 1 && clock.pending === 0, 'both streams are closed');
});

test('a stream that waits behind another answer is not cut off for it, however long that takes', async (t) => {
  const clock = fakeClock();
  const calls: ServerResponse[] = []; // of which nothing is said meanwhile
  const streams: SseStream[] = [];
  let closed = 0;
  const { port } = await listen(t, (req, res) => {
    if (req.url === '/call') calls.push(res);
    else streams.push(new SseStream(res, { clock, limits: LIMITS }, () => closed++));
  });
  const connection = await connect(port);
  t.after(() => connection.close());
  connection.write('GET /call HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(() => streams.length === 1, 'the stream is open');
  await clock.run(10 * 60_000);
  calls[0]!.end();
  streams[0]!.write(encodeEvent('message', 'of the second'));
  await connection.until((text) => text.includes('of the second'));
  connection.abort();
  await until(() => closed === 1 && clock.pending === 0, 'the stream is closed');
});

test('a stream that has ended leaves nothing behind on a connection that goes on', async (t) => {
  const { url, opened, clock } = await serve(t);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const sockets = new Set<Socket>();
  const listeners: number[] = [];
  for (let k = 0; k < 12; k++) {
    const answered = request(url, { agent });
    await until(() => opened.length > k, 'the stream is open');
    const { stream, res } = opened[k]!;
    const socket = res.socket!;
    sockets.add(socket);
    listeners.push(socket.listenerCount('end'));
    stream.end();
    assert.equal((await answered).text, '');
    await until(() => clock.pending === 0, 'no timer is left');
  }
  assert.equal(sockets.size, 1);
  assert.deepEqual(listeners, Array(12).fill(listeners[0]));
});

interface Opened {
  readonly stream: SseStream;
  readonly res: ServerResponse;
  /** How often the stream said that it has ended. */
  closed(): number;
}

interface Served {
  readonly clock: FakeClock;
  readonly url: string;
  readonly opened: Opened[];
  /** Opens a stream with a reader that decodes, or with a bare connection. */
  readonly open: (() => Promise<Opened & { readonly reader: Reader }>) & { raw(): Promise<Opened & { readonly connection: Connection }> };
}

/** A server whose every answer is a stream. */
async function serve(t: TestContext, limits = LIMITS): Promise<Served> {
  const clock = fakeClock();
  const opened: Opened[] = [];
  const { url, port } = await listen(t, (_, res) => {
    let closes = 0;
    const stream = new SseStream(res, { clock, limits }, () => closes++);
    opened.push({ stream, res, closed: () => closes });
  });
  const open = async () => {
    const reader = await openSse(url);
    t.after(() => reader.close());
    return { ...opened.at(-1)!, reader };
  };
  const raw = async () => {
    const connection = await connect(port);
    t.after(() => connection.close());
    const before = opened.length;
    connection.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await until(() => opened.length > before, 'the stream is open');
    await connection.until((text) => text.includes('\r\n\r\n'));
    return { ...opened.at(-1)!, connection };
  };
  return { clock, url, opened, open: Object.assign(open, { raw }) };
}

async function listen(t: TestContext, handler: http.RequestListener): Promise<{ url: string; port: number }> {
  const server = http.createServer(handler);
  // As the proxy's own server: a client that closes its direction still gets its answer.
  (server as http.Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port };
}
