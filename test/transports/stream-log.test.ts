import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogicalStream, parseEventId, StreamLog, type LogBounds } from '../../src/transports/stream-log.ts';
import type { SseStream } from '../../src/wire/sse.ts';

/** A connection that keeps the frames it is given. */
class Connection {
  readonly frames: string[] = [];
  ended = 0;

  write(frame: Buffer): boolean {
    assert.equal(this.ended, 0, 'nothing comes after the end');
    this.frames.push(frame.toString());
    return true;
  }

  end(): void {
    this.ended++;
  }

  /** What came since the last look, each event as its number. */
  take(): number[] {
    return this.frames.splice(0).map((frame) => {
      const parts = /^id: [0-9a-z]+-(\d+)\nevent: message\ndata: "(\d+)"\n\n$/.exec(frame);
      assert.ok(parts, JSON.stringify(frame));
      assert.equal(parts[1], parts[2], 'the id is the number of the message');
      return Number(parts[1]);
    });
  }

  get asStream(): SseStream {
    return this as unknown as SseStream;
  }
}

const ROOMY: LogBounds = { logEvents: 1_000, logBytes: 1_000_000 };

function streamOf(log = new StreamLog(ROOMY), { id = 'a', primes = false, held = false } = {}): LogicalStream {
  return new LogicalStream(id, log, primes ? 3_000 : undefined, held);
}

/** Message n is the JSON string of n. */
function write(stream: LogicalStream, from: number, to = from): void {
  for (let n = from; n <= to; n++) stream.write(Buffer.from(`"${n}"`));
}

function attach(stream: LogicalStream, seq?: number): Connection {
  const connection = new Connection();
  stream.attach(connection.asStream, seq);
  return connection;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, k) => from + k);
}

// ---- ids and bytes

test('every message is a `message` event with the id of its stream and its number, from one', () => {
  const stream = streamOf(undefined, { id: '1z' });
  const connection = attach(stream);
  stream.write(Buffer.from('{"a":1}'));
  stream.write(Buffer.from('{"b":2}'));
  assert.deepEqual(connection.frames, ['id: 1z-1\nevent: message\ndata: {"a":1}\n\n', 'id: 1z-2\nevent: message\ndata: {"b":2}\n\n']);
});

test('a message with line ends in its white space is one line, live and replayed', () => {
  const stream = streamOf();
  const live = attach(stream);
  stream.write(Buffer.from('{"a":\r\n1,\r"b":"ż"}'));
  const later = attach(stream, 0);
  assert.match(live.frames[0]!, /^id: a-1\nevent: message\ndata: [^\r\n]*\n\n$/);
  assert.deepEqual(JSON.parse(live.frames[0]!.split('data: ')[1]!), { a: 1, b: 'ż' });
  assert.deepEqual(later.frames, live.frames);
});

test('a stream that primes opens with an id, a retry hint and empty data; one that resumes, or does not prime, does not', () => {
  const primed = streamOf(undefined, { primes: true });
  assert.deepEqual(attach(primed).frames, ['id: a-0\nretry: 3000\ndata: \n\n']);
  assert.deepEqual(attach(primed, 0).frames, []);
  const bare = streamOf();
  assert.deepEqual(attach(bare).frames, []);
  assert.deepEqual(attach(bare, 0).frames, []);
});

test('the priming event of a later connection names what was delivered before it, so that it resumes from there', () => {
  const stream = streamOf(undefined, { primes: true });
  const first = attach(stream);
  write(stream, 1, 2);
  stream.detach(first.asStream);
  write(stream, 3);
  const second = attach(stream);
  assert.equal(second.frames[0], 'id: a-2\nretry: 3000\ndata: \n\n');
  second.frames.shift();
  assert.deepEqual(second.take(), [3]);
});

test('ids as sent in Last-Event-ID are read, everything else is none', () => {
  const cases: [string, { stream: string; seq: number } | undefined][] = [
    ['a-0', { stream: 'a', seq: 0 }],
    ['1z-12', { stream: '1z', seq: 12 }],
    ['0-007', { stream: '0', seq: 7 }],
    ['a-999999999999999', { stream: 'a', seq: 999_999_999_999_999 }],
    ...['', '-', 'a', 'a-', '-1', 'a--1', 'a-1-1', 'A-1', 'a-1 ', ' a-1', 'a-1x', 'a-0x1', 'a-1e3', 'a-1.5', 'ż-1', 'a-1\n', 'a-9999999999999999'].map(
      (text): [string, undefined] => [text, undefined],
    ),
  ];
  for (const [text, expected] of cases) assert.deepEqual(parseEventId(text), expected, JSON.stringify(text));
});

// ---- delivery

test('what nobody read is sent to the first connection that comes, and to no other', () => {
  const stream = streamOf();
  write(stream, 1, 3);
  assert.deepEqual(attach(stream).take(), [1, 2, 3]);
  assert.deepEqual(attach(stream).take(), []);
});

test('the newest connection receives; the ones before it stay open, fall silent, and take over when it goes', () => {
  const stream = streamOf();
  const [a, b, c] = [attach(stream), attach(stream), attach(stream)];
  write(stream, 1);
  stream.detach(c.asStream);
  write(stream, 2);
  stream.detach(a.asStream); // one that does not receive
  write(stream, 3);
  assert.equal(stream.open, true);
  stream.detach(b.asStream);
  assert.equal(stream.open, false);
  write(stream, 4);
  assert.deepEqual([a.take(), b.take(), c.take()], [[], [2, 3], [1]]);
  assert.deepEqual([a.ended, b.ended, c.ended], [0, 0, 0]);
  assert.deepEqual(attach(stream).take(), [4]);
});

test('a connection that resumes after any event gets every later one, and then what is live', () => {
  for (let seq = 0; seq <= 5; seq++) {
    const stream = streamOf();
    const first = attach(stream);
    write(stream, 1, 5);
    stream.detach(first.asStream);
    const second = attach(stream, seq);
    write(stream, 6);
    assert.deepEqual(second.take(), range(seq + 1, 6), `after ${seq}`);
  }
});

test('a replay is of that stream only', () => {
  const log = new StreamLog(ROOMY);
  const [a, b] = [streamOf(log, { id: 'a' }), streamOf(log, { id: 'b' })];
  write(a, 1, 2);
  write(b, 1, 3);
  write(a, 3);
  const replayed = attach(a, 1);
  assert.ok(replayed.frames.every((frame) => frame.startsWith('id: a-')));
  assert.deepEqual(replayed.take(), [2, 3]);
  assert.deepEqual(attach(b, 0).take(), [1, 2, 3]);
});

test('a number from the future replays nothing, and the stream goes on', () => {
  const stream = streamOf();
  write(stream, 1);
  const connection = attach(stream, 999);
  write(stream, 2);
  assert.deepEqual(connection.take(), [2]);
});

// ---- hold and release

test('while it is held a stream sends nothing but its priming event; its release sends all, once, in order', () => {
  const stream = streamOf(undefined, { primes: true, held: true });
  write(stream, 1);
  const connection = attach(stream);
  write(stream, 2);
  assert.equal(connection.frames.length, 1);
  connection.frames.shift();
  stream.release();
  write(stream, 3);
  stream.release();
  assert.deepEqual(connection.take(), [1, 2, 3]);
});

test('a release without a connection sends nothing and loses nothing', () => {
  const stream = streamOf(undefined, { held: true });
  write(stream, 1, 2);
  stream.release();
  assert.deepEqual(attach(stream).take(), [1, 2]);
});

// ---- the end

test('the end of a stream ends all its connections, and each later one after its replay', () => {
  const stream = streamOf();
  const [a, b] = [attach(stream), attach(stream)];
  write(stream, 1, 2);
  assert.equal(stream.complete, false);
  stream.end();
  assert.deepEqual([a.ended, b.ended, stream.complete, stream.open], [1, 1, true, false]);
  const late = attach(stream, 1);
  assert.deepEqual([late.take(), late.ended], [[2], 1]);
  assert.equal(stream.open, false);
});

test('it knows whether something came after an event', () => {
  const stream = streamOf();
  assert.equal(stream.hasAfter(0), false);
  write(stream, 1, 2);
  assert.deepEqual([0, 1, 2, 3].map((seq) => stream.hasAfter(seq)), [true, true, false, false]);
});

test('a message waits from when it is written until it is delivered, to the byte', () => {
  const stream = streamOf();
  const same = (): boolean => stream.waiting(Buffer.from('"1"'));
  assert.equal(same(), false);
  write(stream, 1);
  assert.deepEqual([same(), stream.waiting(Buffer.from('"2"')), stream.waiting(Buffer.from(' "1"'))], [true, false, false]);
  const connection = attach(stream);
  assert.equal(same(), false);
  stream.detach(connection.asStream);
  write(stream, 2);
  assert.equal(same(), false);
});

// ---- bounds

for (const logEvents of [1, 2, 5]) {
  test(`of more than ${logEvents} events the oldest are forgotten, whichever stream they are of`, () => {
    const log = new StreamLog({ ...ROOMY, logEvents });
    const [a, b] = [streamOf(log), streamOf(log, { id: 'b' })];
    write(a, 1, logEvents + 3);
    assert.deepEqual(attach(a, 0).take(), range(4, logEvents + 3));
    write(b, 1);
    assert.deepEqual(attach(a, 0).take(), range(5, logEvents + 3));
    assert.deepEqual(attach(b, 0).take(), [1]);
  });
}

test('the bytes of all events are bounded, to the byte: just as many are kept', () => {
  const log = new StreamLog({ ...ROOMY, logBytes: 9 });
  const stream = streamOf(log);
  write(stream, 1, 3); // three bytes each
  assert.deepEqual(attach(stream, 0).take(), [1, 2, 3]);
  write(stream, 4);
  assert.deepEqual(attach(stream, 0).take(), [2, 3, 4]);
  stream.write(Buffer.from('"567"')); // five bytes: two have to go
  const kept = attach(stream, 0).frames.map((frame) => /"(\d+)"/.exec(frame)![1]);
  assert.deepEqual(kept, ['4', '567']);
});

test('a message above the bound is delivered, not kept, and costs no other its place', () => {
  const log = new StreamLog({ ...ROOMY, logBytes: 5 });
  const stream = streamOf(log);
  const live = attach(stream);
  write(stream, 1);
  stream.write(Buffer.from('"2222"')); // six
  assert.deepEqual(live.frames.map((frame) => frame.split('data: ')[1]), ['"1"\n\n', '"2222"\n\n']);
  assert.match(live.frames[1]!, /^id: a-2\n/);
  assert.deepEqual(attach(stream, 0).take(), [1]);
  stream.write(Buffer.from('"333"')); // five: as large as the bound
  assert.deepEqual(attach(stream, 0).frames, ['id: a-3\nevent: message\ndata: "333"\n\n']);
});

test('a stream that is forgotten gives its room back', () => {
  const log = new StreamLog({ logEvents: 4, logBytes: 12 });
  const [a, b] = [streamOf(log), streamOf(log, { id: 'b' })];
  write(a, 1, 2);
  write(b, 1, 2);
  log.forget(a);
  assert.equal(a.hasAfter(0), false);
  write(b, 3, 4);
  assert.deepEqual(attach(b, 0).take(), [1, 2, 3, 4]);
});
