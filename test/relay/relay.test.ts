import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lonelyCaller, type Caller } from '../../src/relay/exchange.ts';
import type { Outcome } from '../../src/relay/relay.ts';
import { call, fault, FakeExchange, FakeLink, notification, TestRelay } from './fakes.ts';

const LF = '\n';

// ---- ids and bytes

const IDS = ['1', '0', '-1', '-0', '1.0', '1e3', '1E+2', '9007199254740993', '123456789012345678901234567890', '"1"', '""', '"żółć 🦊"', '"\\u0041\\ud83e\\udd8a"', '"a\\"b\\\\"', '"\u2028"', '"$&"'];

/** The places where an id may stand in a request. */
const REQUESTS: readonly ((id: string) => string)[] = [
  (id) => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"n":12345678901234567890,"id":1e400}}`,
  (id) => `{"method":"tools/call","params":{"id":7,"a":{"id":8}},"jsonrpc":"2.0","id":${id}}`,
  (id) => ` { "id" : ${id} , "jsonrpc" : "2.0" , "method" : "x" } `,
  (id) => `{"\\u0069d":${id},"jsonrpc":"2.0","method":"x/ż","params":{"żółć":"🦊","-0":-0.0}}`,
];

const BIG = 'x'.repeat(16_384);

/** The ways in which an answer may be written; the number of an answer that is found without a parse is its place. */
const ANSWERS: Readonly<Record<string, (id: string) => string>> = {
  'with its id first': (id) => `{"jsonrpc":"2.0","id":${id},"result":{"n":12345678901234567890,"id":1}}`,
  'with its id last': (id) => `{"result":{"id":1,"2":2,"1":1},"jsonrpc":"2.0","id":${id}}`,
  'with white space': (id) => ` { "jsonrpc" : "2.0" , "result" : { "id" : 3 } ,\t"id" : ${id} } `,
  'that is an error': (id) => `{"jsonrpc":"2.0","id":${id},"error":{"code":-32000,"message":"żółć","data":{"id":1}}}`,
  'with more members than it needs': (id) => `{"x":[{"id":1},"]"],"jsonrpc":"2.0","id":${id},"result":null,"y":"}"}`,
  'with an escaped name': (id) => `{"jsonrpc":"2.0","\\u0069d":${id},"result":true}`,
  'of 16 KiB with its id first': (id) => `{"jsonrpc":"2.0","id":${id},"result":{"text":"${BIG}","id":1,"n":1e400}}`,
  'of 16 KiB that is an error': (id) => `{"jsonrpc":"2.0","id":${id},"error":{"code":1,"message":"ż${BIG}"}}`,
  'of 16 KiB with its id last': (id) => `{"result":{"text":"${BIG}","jsonrpc":"2.0","id":9},"jsonrpc":"2.0","id":${id}}`,
  'of 16 KiB with its id between others': (id) => `{"jsonrpc":"2.0","result":{"text":"🦊${BIG}"},"id":${id},"more":1}`,
  'of 16 KiB with white space': (id) => `{"jsonrpc": "2.0", "id": ${id}, "result": {"text": "${BIG}"}}`,
  'of 16 KiB with another id within': (id) => `{"result":{"text":"${BIG}","in":{"jsonrpc":"2.0","id":1,"result":2}},"id":${id},"jsonrpc":"2.0"}`,
};

for (const [what, answer] of Object.entries(ANSWERS)) {
  test(`an answer ${what} goes to its client byte for byte, under the id as the client wrote it`, () => {
    const it = new TestRelay();
    for (const idText of IDS) {
      for (const request of REQUESTS) {
        const decoys = [call('decoy'), call('decoy')];
        const exchange = new FakeExchange(request(idText));
        it.dispatch(decoys[0]!, exchange, decoys[1]!);
        const [first, own, last] = it.link.lines.slice(-3) as [string, string, string];
        const childId = /^\d+$/.exec(JSON.parse(own).id)?.[0];
        assert.equal(own, request(childId!), 'the request reaches the child byte for byte, under an integer of its own');
        it.says(answer(childId!));
        assert.deepEqual(exchange.answers, [answer(idText)]);
        for (const decoy of [first, last]) it.says({ jsonrpc: '2.0', id: JSON.parse(decoy).id, result: 0 });
        assert.deepEqual(decoys.map(({ outcome }) => outcome), Array(2).fill({ jsonrpc: '2.0', id: 'decoy', result: 0 }));
      }
    }
    assert.deepEqual(it.link.notes, []);
    assert.equal(it.relay.pending, 0);
  });
}

test('sizes around the one from which answers are not parsed make no difference', () => {
  const it = new TestRelay();
  for (let size = 16_380; size <= 16_390; size++) {
    for (const [what, answer] of Object.entries(ANSWERS)) {
      if (!what.includes('16 KiB')) continue;
      const exchange = call('"');
      it.dispatch(exchange);
      const { id } = it.link.last;
      const long = Buffer.byteLength(answer(String(id)));
      const line = answer(String(id)).replace(BIG, (big) => big.slice(long - size));
      assert.equal(Buffer.byteLength(line), size);
      it.says(line);
      assert.equal(exchange.answers.length, 1, `${size} bytes, ${what}`);
      assert.deepEqual(exchange.outcome, { ...JSON.parse(line), id: '"' });
    }
  }
});

test('an answer in big parts goes on in parts, under the id of its client; what it is about does not depend on how it came', () => {
  const it = new TestRelay();
  for (const [what, answer] of Object.entries(ANSWERS)) {
    for (const idText of ['7', '"żółć 🦊"']) {
      for (const fill of [BIG.repeat(4), `${BIG.repeat(2)}ż🦊${BIG.repeat(2)}`, 'ż'.repeat(40_000), 'y🦊'.repeat(20_000)]) {
        for (let parts = 1; parts <= 5; parts++) {
          const exchange = new FakeExchange(`{"jsonrpc":"2.0","id":${idText},"method":"m"}`);
          it.dispatch(exchange);
          const line = (id: string): string => answer(id).replace(BIG, fill);
          it.says(line(String(it.link.last.id)), parts);
          assert.deepEqual([exchange.answers, it.told], [[line(idText)], 0]);
          const isInFront = what === 'of 16 KiB with its id first' || what === 'of 16 KiB that is an error';
          const isPassedOn = isInFront && parts > 1 && Buffer.byteLength(line('1')) >= parts * BIG.length;
          assert.equal(exchange.parts, isPassedOn ? parts + 2 : 1, `${what}, ${parts} parts`);
        }
      }
    }
  }
  assert.deepEqual(it.link.notes, []);
  assert.equal(it.relay.pending, 0);
});

test('an answer in parts is read in one piece where it is changed or heard on its way, and where its parts are small', () => {
  const it = new TestRelay();
  const said = (exchange: FakeExchange, parts = 3, size = 3): number => {
    it.dispatch(exchange);
    it.says(ANSWERS['of 16 KiB with its id first']!(String(it.link.last.id)).replace(BIG, BIG.repeat(size)), parts);
    assert.equal(exchange.answers.length, 1);
    return exchange.parts;
  };
  assert.equal(said(call()), 5);
  assert.equal(said(call(), 4), 1, 'parts of less than 16 KiB');
  it.goesOn = false;
  assert.equal(said(call()), 1);
  it.goesOn = true;
  let heard = 0;
  it.deal = () => () => void heard++;
  assert.equal(said(call()), 1);
  assert.equal(heard, 1);
  const outcomes: Outcome[] = [];
  it.relay.ask('x', {}, (outcome) => outcomes.push(outcome));
  it.says(ANSWERS['of 16 KiB with its id first']!(String(it.link.last.id)).replace(BIG, BIG.repeat(3)), 3);
  assert.deepEqual(outcomes.map(Buffer.isBuffer), [true], 'what the proxy itself has asked');
});

test('an answer in parts that nobody waits for any more goes nowhere, and only once without a note', () => {
  const it = new TestRelay();
  const exchange = call();
  it.dispatch(exchange);
  it.relay.cancel(exchange, 'it left');
  for (const notes of [0, 1]) {
    it.says(ANSWERS['of 16 KiB with its id first']!('1').replace(BIG, BIG.repeat(2)), 2);
    assert.deepEqual([exchange.answers, it.link.notes.length], [[], notes]);
  }
});

test('an answer in parts ends a drain, and is what it seems to be only if it is UTF-8 and ends with a brace', () => {
  const it = new TestRelay();
  const exchange = call();
  it.dispatch(exchange);
  let drained = 0;
  it.relay.drain(1_000, fault(), () => drained++);
  const half = BIG.repeat(2);
  for (const wrong of [Buffer.from([0xff]), Buffer.from([0xc5]), Buffer.from([0xf0, 0x9f, 0xa6]), Buffer.from([0x8a])]) {
    it.says(Buffer.concat([Buffer.from(`{"jsonrpc":"2.0","id":1,"result":"${half.slice(34 + wrong.length)}`), wrong, Buffer.from(`${half.slice(2)}"}`)]), 2);
  }
  it.says(`{"jsonrpc":"2.0","id":1,"result":"${half}${half}"`, 2);
  assert.deepEqual([exchange.answers, it.link.notes.length, drained], [[], 5, 0]);
  it.says(`{"jsonrpc":"2.0","id":1,"result":"${half}${half}"}`, 2);
  assert.deepEqual([exchange.answers.length, drained], [1, 1]);
});

test('every request gets an id of its own, whatever ids the clients use', () => {
  const it = new TestRelay();
  const exchanges = Array.from({ length: 100 }, (_, n) => call(n % 3 === 0 ? 1 : n % 3 === 1 ? '1' : 5, n));
  it.dispatch(...exchanges);
  const ids = it.link.messages.map(({ id }) => id);
  assert.equal(new Set(ids).size, 100);
  for (const { id, params } of [...it.link.messages].reverse()) it.answers(id, params);
  exchanges.forEach((exchange, n) => assert.deepEqual(exchange.outcome, { jsonrpc: '2.0', id: exchange.request.id, result: { n } }));
});

test('a request that is written over several lines reaches the child as one, and nothing else of it changes', () => {
  const it = new TestRelay();
  const text = (end: string): string => ['{', '"jsonrpc": "2.0",', '\t"id": 5,', '"method": "a\\nb",', '"params": {', '"text": "\\r\\n \u2028 {",', '"_meta": {"progressToken":', '7}', '}', '}'].join(end);
  for (const end of ['\n', '\r\n', '\r', '\n\n\n']) {
    it.dispatch(new FakeExchange(text(end)));
    const { id } = it.link.last;
    const spaces = ' '.repeat(end.length);
    assert.equal(it.link.lines.at(-1), text(spaces).replace('"id": 5', `"id": ${id}`).replace(/7\}/, `${id}}`));
  }
  it.relay.notify(notification('{\n"jsonrpc":"2.0",\r\n"method":"notifications/x"\n}'));
  assert.equal(it.link.lines.at(-1), '{ "jsonrpc":"2.0",  "method":"notifications/x" }');
});

// ---- what a legacy child must not see

const V = 'io.modelcontextprotocol';
const removals: readonly (readonly [string, string])[] = [
  [`{"_meta":{"${V}/protocolVersion":"2026-07-28","${V}/clientInfo":{},"${V}/clientCapabilities":{},"${V}/logLevel":"info"},"a":1}`, '{"a":1}'],
  [`{"_meta":{"${V}/protocolVersion":"2026-07-28"}}`, '{}'],
  [`{"a":1,"_meta":{"traceparent":"00-1","${V}/logLevel":"info","tracestate":"b=1"},"b":2}`, '{"a":1,"_meta":{"traceparent":"00-1","tracestate":"b=1"},"b":2}'],
  [`{"_meta":{"${V}/logLevel":"info","baggage":"c"}}`, '{"_meta":{"baggage":"c"}}'],
  [`{"_meta":{"baggage":"c","${V}/logLevel":"info"}}`, '{"_meta":{"baggage":"c"}}'],
  ['{"inputResponses":{"k":{}},"a":1,"requestState":"s"}', '{"a":1}'],
  ['{"a":1,"inputResponses":{},"b":2}', '{"a":1,"b":2}'],
  [`{"requestState":"s","_meta":{"${V}/clientInfo":{}}}`, '{}'],
  [`{"_meta":{"${V}/related":1,"${V}/protocolVersions":2,"x.${V}/logLevel":3,"inputResponses":4}}`, `{"_meta":{"${V}/related":1,"${V}/protocolVersions":2,"x.${V}/logLevel":3,"inputResponses":4}}`],
  [`{"a":{"${V}/logLevel":"info","inputResponses":1,"_meta":{"${V}/logLevel":1}}}`, `{"a":{"${V}/logLevel":"info","inputResponses":1,"_meta":{"${V}/logLevel":1}}}`],
  ['{"_meta":{}}', '{"_meta":{}}'],
  ['{"_meta":null,"requestState":1}', '{"_meta":null}'],
  ['{}', '{}'],
];

for (const [params, expected] of removals) {
  test(`of ${params} a legacy child sees ${expected}`, () => {
    const it = new TestRelay();
    const exchange = new FakeExchange(`{"jsonrpc":"2.0","id":"x","method":"m","params":${params}}`);
    it.dispatch(exchange);
    assert.equal(it.link.lines.at(-1), `{"jsonrpc":"2.0","id":1,"method":"m","params":${expected}}`);
    it.relay.notify(notification(`{"jsonrpc":"2.0","method":"m","params":${params}}`));
    assert.equal(it.link.lines.at(-1), `{"jsonrpc":"2.0","method":"m","params":${expected}}`);
  });
}

test('a progress token that stands among what is taken away is kept, as a token of the child', () => {
  const it = new TestRelay();
  for (const [meta, expected] of [
    [`{"progressToken":"p","${V}/logLevel":"info"}`, '{"progressToken":1}'],
    [`{"${V}/logLevel":"info","progressToken":"p"}`, '{"progressToken":2}'],
    [`{"${V}/logLevel":"info","progressToken":"p","${V}/clientInfo":{}}`, '{"progressToken":3}'],
  ]) {
    it.dispatch(new FakeExchange(`{"jsonrpc":"2.0","id":"x","method":"m","params":{"_meta":${meta}}}`));
    assert.equal(it.link.lines.at(-1), `{"jsonrpc":"2.0","id":${it.link.last.id},"method":"m","params":{"_meta":${expected}}}`);
  }
});

// ---- progress

const progress = (token: string, more = '"progress":1') => `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},${more}}}`;
const withToken = (token: string, id = '"c"') => new FakeExchange(`{"jsonrpc":"2.0","id":${id},"method":"m","params":{"_meta":{"progressToken":${token}}}}`);

for (const token of IDS) {
  test(`progress goes to its request under the token as the client wrote it: ${token}`, () => {
    const it = new TestRelay();
    const [before, exchange, after] = [withToken('1'), withToken(token), withToken('3')];
    it.dispatch(before, exchange, after);
    const childToken = it.link.messages[1].params._meta.progressToken;
    assert.equal(it.link.lines[1], `{"jsonrpc":"2.0","id":2,"method":"m","params":{"_meta":{"progressToken":2}}}`);
    assert.equal(childToken, 2);
    it.says(progress('2', '"progress":0.10,"total":9007199254740993,"message":"ż"'));
    it.says(`{ "params" : { "message" : "2" , "progressToken" : 2 } , "method" : "notifications/progress" , "jsonrpc" : "2.0" }`);
    it.answers(2, 'done');
    assert.deepEqual(exchange.log, [
      progress(token, '"progress":0.10,"total":9007199254740993,"message":"ż"'),
      `{ "params" : { "message" : "2" , "progressToken" : ${token} } , "method" : "notifications/progress" , "jsonrpc" : "2.0" }`,
      `settled {"jsonrpc":"2.0","id":"c","result":"done"}`,
    ]);
    assert.deepEqual([before.log, after.log], [[], []]);
  });
}

test('progress that belongs to nobody, to a settled or a cancelled request, or to one that asked for none, is dropped', () => {
  const it = new TestRelay();
  const [settled, cancelled, timeless, open] = [withToken('1'), withToken('2'), call(), withToken('4')];
  it.dispatch(settled, cancelled, timeless, open);
  it.answers(1);
  it.relay.cancel(cancelled, 'it left');
  for (const token of ['1', '2', '3', '5', '0', '-4', '4.5', '"4"', '[4]', '{"4":4}', 'null', 'true', '"żółć"', '1e400']) it.says(progress(token));
  it.says('{"jsonrpc":"2.0","method":"notifications/progress"}');
  it.says('{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":4}}');
  assert.deepEqual([cancelled, timeless, open].map(({ log }) => log), [[], [], []]);
  assert.equal(settled.log.length, 1);
  assert.deepEqual(it.notifications, []);
});

// ---- waiting for a child

test('requests without a child wait, ask for it, and are written in their order when it is there, after what comes first', () => {
  const it = new TestRelay({ connected: false });
  const exchanges = [1, 2, 3].map((n) => call('same', n));
  it.dispatch(...exchanges);
  assert.deepEqual([it.wanted, it.relay.pending, it.relay.connected], [3, 3, false]);
  it.connect(() => it.relay.ask('first', {}, () => {}));
  assert.deepEqual(it.link.messages.map(({ method, params }) => [method, params.n]), [['first', undefined], ...[1, 2, 3].map((n) => ['tools/call', n])]);
  assert.deepEqual([it.relay.pending, it.relay.connected], [3, true]);
  it.answers(3, 'two');
  assert.deepEqual(exchanges.map(({ outcome }) => outcome), [undefined, { jsonrpc: '2.0', id: 'same', result: 'two' }, undefined]);
});

test('a request waits 50 s for its child and is told that it is still starting; the start is not touched', () => {
  const it = new TestRelay({ connected: false });
  const early = call();
  it.dispatch(early);
  it.clock.advance(20_000);
  const late = call();
  it.dispatch(late);
  it.clock.advance(29_999);
  assert.deepEqual(early.answers, []);
  it.clock.advance(1);
  assert.deepEqual(early.answers, [['starting', 'Server "fs" is still starting']]);
  assert.equal(it.relay.pending, 1);
  it.connect();
  assert.equal(it.link.lines.length, 1);
  it.answers(1, 'late');
  assert.deepEqual(late.outcome, { jsonrpc: '2.0', id: 1, result: 'late' });
  it.clock.advance(1_000_000);
  assert.equal(late.answers.length, 1);
});

test('where waiting is in vain everybody who waits is refused at once', () => {
  const it = new TestRelay({ connected: false });
  const [first, second, third] = [call(), call(), call()];
  it.dispatch(first, second);
  it.refusal = fault('unavailable');
  it.dispatch(third);
  assert.deepEqual([first, second, third].map(({ outcome }) => outcome), Array(3).fill('unavailable'));
  assert.equal(it.relay.pending, 0);

  it.refusal = undefined;
  const fourth = call();
  it.dispatch(fourth);
  it.relay.refuse(fault('shutdown'));
  it.relay.refuse(fault('unavailable'));
  assert.equal(fourth.outcome, 'shutdown');
  it.clock.advance(1_000_000);
  it.connect();
  assert.deepEqual(it.link.lines, []);
});

test('a client that leaves while it waits is never written to the child, and not settled', () => {
  const it = new TestRelay({ connected: false });
  const [left, stays] = [call(), call()];
  it.dispatch(left, stays);
  it.relay.cancel(left, 'it left');
  it.relay.cancel(left, 'it left');
  assert.equal(it.relay.pending, 1);
  it.connect();
  assert.equal(it.link.lines.length, 1);
  it.clock.advance(1_000_000);
  assert.deepEqual(left.answers, []);
});

test('a child that is lost while those who waited are written to it leaves the rest waiting for the next', () => {
  const it = new TestRelay({ connected: false });
  const exchanges = [1, 2, 3].map((n) => call(n));
  it.dispatch(...exchanges);
  it.deal = (exchange) => {
    if (exchange === exchanges[1]) it.relay.down(fault());
    return 'forward';
  };
  it.connect();
  it.deal = () => 'forward';
  assert.equal(exchanges[0]!.outcome, 'child_exited');
  assert.equal(exchanges[2]!.outcome, undefined);
  it.connect();
  assert.equal(it.link.messages.some(({ params }) => params.n === 3), true);
  assert.equal(it.link.messages.some(({ params }) => params.n === 1), false);
});

test('a request that was dealt with is not forwarded, however long it has waited', () => {
  const it = new TestRelay({ connected: false });
  const seen: unknown[] = [];
  it.deal = (exchange, request) => {
    seen.push([exchange, request.method]);
    return 'handled';
  };
  const [waits, comes] = [call(), call()];
  it.dispatch(waits);
  it.connect();
  it.dispatch(comes);
  assert.deepEqual(seen, [[waits, 'tools/call'], [comes, 'tools/call']]);
  assert.deepEqual([it.link.lines.length, it.relay.pending], [0, 0]);
});

// ---- bounds

test('beyond MAX_PENDING a request is refused as busy, waiting ones count, and an answer makes room', () => {
  const it = new TestRelay({ limits: { maxPending: 3 }, connected: false });
  const exchanges = [1, 2, 3, 4, 5, 6, 7].map((n) => call(n));
  it.dispatch(...exchanges.slice(0, 4));
  assert.deepEqual(exchanges.map(({ outcome }) => outcome), Array.from({ length: 7 }, (_, n) => (n === 3 ? 'busy' : undefined)));
  it.connect();
  it.dispatch(exchanges[4]!);
  assert.equal(exchanges[4]!.outcome, 'busy');
  it.answers(2);
  it.dispatch(exchanges[5]!, exchanges[6]!);
  assert.equal(exchanges[5]!.outcome, undefined);
  assert.equal(exchanges[6]!.outcome, 'busy');
  assert.equal(it.relay.pending, 3);
  it.relay.cancel(exchanges[0]!, 'it left'); // its tombstone is not pending
  assert.equal(it.relay.pending, 2);
});

test('an id that is too long is refused, and of a progress token that is, no progress is passed on: nothing else bounds what a call keeps of them', () => {
  const limits = { maxIdBytes: 1_000 };
  const sized = (id: number, token: number) =>
    new FakeExchange(`{"jsonrpc":"2.0","id":"${'i'.repeat(id - 2)}","method":"m","params":{"_meta":{"progressToken":"${'t'.repeat(token - 2)}"}}}`);
  for (const [id, token, outcome, notified] of [[1_000, 1_000, undefined, 1], [1_001, 3, 'invalid_request', 0], [3, 1_001, undefined, 0]] as const) {
    for (const connected of [true, false]) {
      const it = new TestRelay({ limits, connected });
      const exchange = sized(id, token);
      it.dispatch(exchange);
      assert.deepEqual([exchange.outcome, it.relay.pending], [outcome, outcome === undefined ? 1 : 0]);
      if (!connected) it.connect();
      if (outcome !== undefined) continue;
      it.says({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: it.link.last.params._meta.progressToken, progress: 1 } });
      assert.equal(exchange.notified.length, notified);
      it.answers(it.link.last.id);
      assert.equal((exchange.outcome as any).id, exchange.request.id);
    }
  }
});

test('what waits is bounded in bytes as well; one that is larger than the bound may wait alone', () => {
  const it = new TestRelay({ limits: { maxKeptBytes: 1_000 }, connected: false });
  const big = (bytes: number) => new FakeExchange(`{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":"${'x'.repeat(bytes)}"}}`);
  const [huge, small, fits, more, last] = [big(2_000), big(1), big(400), big(400), big(400)];
  it.dispatch(huge, small);
  assert.deepEqual([huge.outcome, small.outcome], [undefined, 'busy']);
  it.relay.cancel(huge, 'it left');
  it.dispatch(fits, more, last);
  assert.deepEqual([fits, more, last].map(({ outcome }) => outcome), [undefined, undefined, 'busy']);
  it.connect();
  assert.equal(it.link.lines.length, 2);
  it.relay.down(fault());
  it.dispatch(big(400), big(400));
  assert.equal(it.relay.pending, 2);
});

test('a child that does not read makes its callers busy, costs nobody else, and is written to again when it reads', () => {
  const it = new TestRelay();
  const [inFlight, refused, later] = [call(), call(), call()];
  it.dispatch(inFlight);
  it.link.full = true;
  it.dispatch(refused);
  assert.deepEqual(refused.answers, [['busy', 'Server "fs" is busy: it does not read what it is sent']]);
  assert.throws(() => it.relay.notify(notification({ jsonrpc: '2.0', method: 'notifications/x' })), { reason: 'busy' });
  assert.equal(it.relay.pending, 1);
  it.link.full = false;
  it.dispatch(later);
  assert.deepEqual(it.link.messages.map(({ id }) => id), [1, 3]);
  it.answers(2, 'nobody');
  it.answers(3, 'later');
  it.answers(1, 'in flight');
  assert.deepEqual([inFlight, later].map(({ outcome }: any) => outcome.result), ['in flight', 'later']);
  assert.equal(refused.answers.length, 1);
  it.clock.advance(4_000_000);
  assert.equal(refused.answers.length, 1);
});

// ---- deadlines

test('a request that is not answered in 300 s is told so, and the child is told, too', () => {
  const it = new TestRelay();
  const exchange = call('c');
  it.dispatch(exchange);
  it.clock.advance(299_999);
  assert.deepEqual([exchange.answers, it.link.lines.length], [[], 1]);
  it.clock.advance(1);
  assert.deepEqual(exchange.answers, [['timeout', 'Request timed out after 300000 ms']]);
  assert.deepEqual(it.link.last, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1, reason: 'timed out' } });
  assert.equal(it.relay.pending, 0);
  it.answers(1);
  assert.equal(exchange.answers.length, 1);
});

test('progress gives a request its time again, but no more than an hour in all', () => {
  const it = new TestRelay();
  const [asks, asksNot] = [withToken('1'), call()];
  it.dispatch(asks, asksNot);
  it.clock.advance(299_999);
  it.says(progress('1'));
  it.says(progress('2')); // nobody asked for it
  it.clock.advance(1);
  assert.deepEqual([asks.outcome, asksNot.outcome], [undefined, 'timeout']);
  for (let s = 300; s < 3_600; s += 60) {
    it.says(progress('1'));
    assert.equal(asks.outcome, undefined, `after ${s} s`);
    it.clock.advance(s === 3_540 ? 59_999 : 60_000);
  }
  assert.equal(asks.outcome, undefined);
  it.clock.advance(1);
  assert.deepEqual(asks.answers, [['timeout', 'Request timed out after 3600000 ms']]);
});

test('without a timeout only the hour counts', () => {
  const it = new TestRelay({ limits: { requestTimeoutMs: 0 } });
  const exchange = call();
  it.dispatch(exchange);
  it.clock.advance(3_599_999);
  assert.equal(exchange.outcome, undefined);
  it.clock.advance(1);
  assert.deepEqual(exchange.answers, [['timeout', 'Request timed out after 3600000 ms']]);
});

test('the time of a request runs from when it is written, not from when it came', () => {
  const it = new TestRelay({ connected: false });
  const exchange = call();
  it.dispatch(exchange);
  it.clock.advance(49_999);
  it.connect();
  it.clock.advance(299_999);
  assert.equal(exchange.outcome, undefined);
  it.clock.advance(1);
  assert.equal(exchange.outcome, 'timeout');
});

// ---- cancellation and tombstones

test('a client that leaves is not settled, the child is told under its own id, and its late answer is dropped', () => {
  const it = new TestRelay();
  const [left, other] = [call('a'), call('a')];
  it.dispatch(left, other);
  it.relay.cancel(left, 'the client disconnected');
  it.relay.cancel(left, 'the client disconnected');
  assert.deepEqual(it.link.messages.slice(2), [{ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1, reason: 'the client disconnected' } }]);
  assert.equal(it.relay.pending, 1);
  it.answers(1, 'late');
  assert.deepEqual([left.answers, it.link.notes], [[], []]);
  it.answers(2, 'other');
  assert.equal(other.answers.length, 1);
  it.relay.cancel(other, 'answered already');
  it.relay.cancel(call(), 'never sent');
  assert.equal(it.link.lines.length, 3);
});

test('a request that is given up without a reason goes on at the child, and its answer is dropped', () => {
  const it = new TestRelay();
  const exchange = call();
  it.dispatch(exchange);
  it.relay.cancel(exchange);
  assert.equal(it.link.lines.length, 1);
  it.answers(1);
  assert.deepEqual([exchange.answers, it.relay.pending], [[], 0]);
});

test('a call that is gone stays a candidate until the child answers it, for 60 s at most', () => {
  const it = new TestRelay();
  const gone = (): number => [...it.relay.candidates().callers.values()].filter((each) => each === 'gone').length;
  const [cancelled, timedOut, answered] = [call(), call(), call()];
  it.dispatch(timedOut);
  it.clock.advance(290_000);
  it.dispatch(cancelled, answered);
  it.relay.cancel(cancelled, 'it left');
  it.relay.cancel(answered, 'it left');
  assert.equal(gone(), 2);
  it.clock.advance(10_000);
  assert.equal(timedOut.outcome, 'timeout');
  assert.equal(gone(), 3);
  it.answers(3);
  assert.equal(gone(), 2);
  it.clock.advance(49_999);
  assert.equal(gone(), 2);
  it.clock.advance(1); // 60 s after it was cancelled
  assert.equal(gone(), 1);
  it.clock.advance(9_999);
  assert.equal(gone(), 1);
  it.clock.advance(1); // 60 s after it timed out
  assert.equal(gone(), 0);
  it.answers(2);
  assert.equal(it.link.notes.length, 1); // by now it answers an id that nobody knows
});

test('candidates are callers: one with several calls counts once, and as gone only when all of them are', () => {
  const it = new TestRelay();
  const [one, two] = [lonelyCaller(), lonelyCaller()];
  const [a, b, c] = [call(1, 1, { caller: one }), call(1, 2, { caller: one }), call(1, 3, { caller: two })];
  const candidates = (): unknown[] => [...it.relay.candidates().callers];
  it.dispatch(a, b);
  it.relay.ask('resources/subscribe', {}, () => {}); // the proxy's own work is nobody's
  assert.deepEqual(candidates(), [[one, b]]);
  it.relay.cancel(b, 'it left');
  assert.deepEqual(candidates(), [[one, a]]);
  it.relay.cancel(a, 'it left');
  assert.deepEqual(candidates(), [[one, 'gone']]);
  it.dispatch(c);
  assert.deepEqual(candidates(), [[one, 'gone'], [two, c]]);
  it.answers(1);
  it.answers(2);
  assert.deepEqual(candidates(), [[two, c]]);
  it.relay.down(fault());
  assert.deepEqual(candidates(), []);
  assert.equal(it.relay.candidates().blurred, false);
});

test('for whose sake the proxy asked is a candidate, too, also when the child has not answered in time', () => {
  const it = new TestRelay();
  const caller = lonelyCaller();
  const candidates = (): unknown[] => [...it.relay.candidates().callers].map(([who, exchange]) => [who, exchange === 'gone']);
  it.relay.ask('resources/subscribe', {}, () => {}, caller);
  assert.deepEqual(candidates(), [[caller, false]]);
  it.clock.advance(300_000);
  assert.deepEqual(candidates(), [[caller, true]]);
  it.answers(1);
  assert.deepEqual([candidates(), it.link.notes], [[], []]);
});

test('more tombstones than are kept make it unknown for 60 s whose work anything is', () => {
  const it = new TestRelay({ limits: { maxPending: 3 } });
  const blurred = (): readonly [number, boolean] => [it.relay.candidates().callers.size, it.relay.candidates().blurred];
  const leave = (): void => {
    const exchange = call();
    it.dispatch(exchange);
    it.relay.cancel(exchange, 'it left');
  };
  for (let k = 0; k < 3; k++) leave();
  assert.deepEqual(blurred(), [3, false]);
  it.answers(2);
  leave();
  assert.deepEqual(blurred(), [3, false]);
  it.clock.advance(10_000);
  leave();
  assert.deepEqual(blurred(), [3, true]);
  it.answers(1);
  assert.equal(it.link.notes.length, 1, 'the oldest one was forgotten');
  it.clock.advance(59_999);
  assert.deepEqual(blurred(), [1, true]);
  it.clock.advance(1);
  assert.deepEqual(blurred(), [0, false]);
});

test('whom a process has served, and whose work it may still be at, is nothing to the next one, which has not even begun', () => {
  const it = new TestRelay({ limits: { maxPending: 0 } });
  const caller: Caller = { ...lonelyCaller(), holder: {} };
  const found = (): unknown[] => [it.relay.candidates().blurred, it.relay.candidates().sole];
  it.relay.ask('resources/subscribe', {}, () => {}, caller);
  assert.deepEqual(found(), [false, caller]);
  it.relay.down(fault());
  assert.deepEqual(found(), [false, undefined]);
  const many = new TestRelay({ limits: { maxPending: 1 } });
  for (const exchange of [call(), call()]) {
    many.dispatch(exchange);
    many.relay.cancel(exchange, 'it left');
  }
  assert.equal(many.relay.candidates().blurred, true);
  many.relay.down(fault());
  assert.equal(many.relay.candidates().blurred, false);
});

test('the only session that a process has served is known as long as nobody else is served; simple and modern clients are never one (R-59)', () => {
  const session = (era: 'legacy' | 'modern' = 'legacy'): Caller => ({ ...lonelyCaller(), holder: {}, era });
  const [one, another] = [session(), session()];
  const soleAfter = (...callers: readonly Caller[]): unknown => {
    const it = new TestRelay();
    for (const caller of callers) it.dispatch(call(1, 1, { caller }));
    it.relay.ask('logging/setLevel', {}); // the proxy is nobody's client
    return it.relay.candidates().sole;
  };
  assert.equal(soleAfter(), undefined);
  assert.equal(soleAfter(one), one);
  assert.equal(soleAfter(one, one), one);
  for (const several of [[one, another], [one, another, one], [lonelyCaller(), one], [one, session('modern')]]) assert.equal(soleAfter(...several), undefined);
  assert.deepEqual([soleAfter(lonelyCaller()), soleAfter(session('modern'))], [undefined, undefined]);
});

test('calls are not silent while their client has a question to answer, and only they; what is gone is forgotten as before (R-38)', () => {
  const it = new TestRelay({ limits: { requestTimeoutMs: 1_000, tombstoneMs: 5_000 } });
  const [asked, other] = [lonelyCaller(), lonelyCaller()];
  const [waits, gone, silent] = [call(1, 1, { caller: asked }), call(2, 2, { caller: asked }), call(3, 3, { caller: other })];
  it.dispatch(waits, gone, silent);
  it.relay.cancel(gone, 'it left');
  it.clock.advance(500);
  it.relay.suspend(asked);
  it.relay.suspend(asked);
  it.clock.advance(500);
  assert.deepEqual([waits, silent].map(({ outcome }) => outcome), [undefined, 'timeout']);
  it.relay.resume(asked); // one of two is answered
  it.answers(1);
  assert.deepEqual([...it.relay.candidates().callers.values()], ['gone', 'gone']);
  it.clock.advance(4_000);
  assert.deepEqual([...it.relay.candidates().callers.keys()], [other], 'its minute is over');
  const next = call(4, 4, { caller: asked });
  it.dispatch(next);
  it.clock.advance(2_000);
  assert.equal(next.outcome, undefined);
  it.relay.resume(asked);
  it.clock.advance(999);
  assert.equal(next.outcome, undefined);
  it.clock.advance(1);
  assert.equal(next.outcome, 'timeout');
});

// ---- what a child may answer

test('answers to ids that nobody waits for settle nothing, and that they came is kept, but not what they say: it may be one client\'s', () => {
  const it = new TestRelay();
  const exchange = call(1);
  it.dispatch(exchange);
  const strangers = ['2', '0', '-1', '1.5', '9007199254740993', '"1"', '"1.0"', '""', '"nobody"', 'null'];
  for (const id of strangers) it.says(`{"jsonrpc":"2.0","id":${id},"result":"wrong"}`);
  for (const id of ['2', '"1"', 'null']) it.says(`{"jsonrpc":"2.0","id":${id},"result":"${BIG}"}`);
  assert.deepEqual(exchange.answers, []);
  assert.equal(it.link.notes.length, strangers.length + 3);
  const noMessage = '(a message that cannot be read: the id of a response must be a string, an integer or null)\n';
  for (const note of it.link.notes) assert.ok(note === '(an answer that nobody waits for)\n' || note === noMessage, note);
  it.answers(1, 'right');
  it.answers(1, 'late');
  it.says(`{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"late"}}`);
  it.says(`{"jsonrpc":"2.0","id":1,"result":"${BIG}"}`);
  assert.deepEqual(exchange.outcome, { jsonrpc: '2.0', id: 1, result: 'right' });
  assert.equal(it.link.notes.length, strangers.length + 6);
});

test('lines that are no messages end nothing, are kept, and the answer after them arrives', () => {
  const it = new TestRelay();
  const lines = ['listening on stdio', '{', '}', '[]', 'null', '42', '{}', '[INFO] ready', '{"level":"info","msg":"ready"}', `${BIG}}`];
  const exchange = call();
  it.dispatch(exchange);
  for (const line of lines) it.says(line);
  assert.deepEqual(exchange.answers, []);
  assert.deepEqual(it.link.notes, lines.map((line) => line + LF));
  it.answers(1);
  assert.equal(exchange.answers.length, 1);
});

test('of a line that was meant to be a message it is kept what is wrong with it, but not what it says: it may be one client\'s', () => {
  const it = new TestRelay();
  const lines: (string | Buffer)[] = [
    '{"jsonrpc":"1.0","id":1,"result":1}', '{"jsonrpc":"2.0","id":1}',
    '{"jsonrpc":"2.0","id":1,"result":1,"error":{}}', '{"jsonrpc":"2.0","id":1,"result":1,"id":1}', '{"jsonrpc":"2.0","id":true,"result":1}',
    '{"jsonrpc":"2.0","id":1,"result":"\t"}', `{"jsonrpc":"2.0","id":1,"result":"${BIG}"`, `{"jsonrpc":"2.0","id":1,"result":"${BIG}"}]`,
    Buffer.concat([Buffer.from('{"jsonrpc":"2.0","id":1,"result":"'), Buffer.from([0xff]), Buffer.from('"}')]),
    Buffer.concat([Buffer.from(`{"jsonrpc":"2.0","id":1,"result":"${BIG}`), Buffer.from([0xff]), Buffer.from('"}')]),
  ];
  const exchange = call();
  it.dispatch(exchange);
  for (const line of lines) it.says(Buffer.from(line as string));
  assert.deepEqual(exchange.answers, []);
  const wrong = [
    '"jsonrpc" must be "2.0"', ...Array<string>(2).fill('neither a request, a notification nor a response'), 'duplicate member "id"',
    'the id of a response must be a string, an integer or null', ...Array<string>(3).fill('not valid JSON'), ...Array<string>(2).fill('not valid UTF-8'),
  ];
  assert.deepEqual(it.link.notes, wrong.map((detail) => `(a message that cannot be read: ${detail})\n`));
  it.answers(1);
  assert.equal(exchange.answers.length, 1);
});

test('a batch of the child is taken element by element, in order', () => {
  const it = new TestRelay();
  const [a, b] = [call('a'), withToken('"t"', '"b"')];
  it.dispatch(a, b);
  it.says(`[{"jsonrpc":"2.0","id":1,"result":9007199254740993}, "nonsense", {"jsonrpc":"2.0","id":5,"method":"ping"}, ${progress('2')}, {"jsonrpc":"2.0","method":"notifications/x"},\t{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"ż"}}]`);
  assert.deepEqual(a.answers, ['{"jsonrpc":"2.0","id":"a","result":9007199254740993}']);
  assert.deepEqual(b.log, [progress('"t"'), 'settled {"jsonrpc":"2.0","id":"b","error":{"code":1,"message":"ż"}}']);
  assert.deepEqual(it.notifications.map(({ method }) => method), ['notifications/x']);
  assert.deepEqual(it.link.last, { jsonrpc: '2.0', id: 5, result: {} });
  assert.deepEqual(it.link.notes, ['(a batch with something in it that is no message)\n']); // not the answers beside it
});

test('a ping of the child is answered at once, any other request with why nobody can be asked, under the id as it wrote it', () => {
  const it = new TestRelay();
  for (const id of IDS) {
    it.says(`{"jsonrpc":"2.0","id":${id},"method":"ping"}`);
    assert.equal(it.link.lines.at(-1), `{"jsonrpc":"2.0","id":${id},"result":{}}`);
    it.says(`{"jsonrpc":"2.0","method":"sampling/createMessage","params":{"id":1},"id":${id}}`);
    const answer = it.link.lines.at(-1)!;
    assert.ok(answer.startsWith(`{"jsonrpc":"2.0","id":${id},"error":{"code":-32603,"message":"Nobody is here"`), answer);
  }
  assert.deepEqual(new Set(it.asked.map(({ method }) => method)), new Set(['sampling/createMessage']));
  const early = new FakeLink();
  const unconnected = new TestRelay({ connected: false });
  unconnected.relay.take({ ...it.asked[0]!, method: 'ping' }, early);
  assert.equal(early.lines.length, 1);
});

test('a notification of a child is passed on, whatever its size, if it is not about one call', () => {
  const it = new TestRelay();
  it.says({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'ż' } });
  it.says({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: `ż${BIG}` } });
  it.says({ jsonrpc: '2.0', method: 'notifications/ż', params: { data: BIG } });
  assert.deepEqual(it.notifications.map(({ method }) => method), ['notifications/message', 'notifications/message', 'notifications/ż']);
});

// ---- notifications of clients

test('a notification of a client reaches a running child and waits for none', () => {
  const it = new TestRelay({ connected: false });
  const message = notification('{"jsonrpc":"2.0","method":"notifications/x","params":{"n":9007199254740993}}');
  it.relay.notify(message);
  assert.deepEqual([it.wanted, it.relay.pending], [0, 0]);
  it.connect();
  assert.deepEqual(it.link.lines, []);
  it.relay.notify(message);
  assert.deepEqual(it.link.lines, [message.raw.toString()]);
});

// ---- the proxy's own requests

const asks: readonly (readonly [string, (it: TestRelay) => void, unknown])[] = [
  ['is answered', (it) => it.answers(1, { ż: 1 }), { result: { ż: 1 } }],
  ['is refused', (it) => it.says({ jsonrpc: '2.0', id: 1, error: { code: 7, message: 'no' } }), { error: { code: 7, message: 'no' } }],
  ['is answered at length', (it) => it.answers(1, { ż: `ż${BIG}` }), { result: { ż: `ż${BIG}` } }],
  ['is answered with 16 KiB that are no JSON', (it) => it.says(`{"jsonrpc":"2.0","id":1,"result":{${BIG}}}`), undefined],
  ['is answered with 16 KiB of result and error', (it) => it.says(`{"jsonrpc":"2.0","id":1,"result":{"x":"${BIG}"},"error":{"code":1,"message":""}}`), undefined],
  ['is lost with the child', (it) => it.relay.down(fault()), 'child_exited'],
  ['is drained away', (it) => (it.relay.drain(10, fault('reconfigured'), () => {}), it.clock.advance(10)), 'reconfigured'],
  [
    'is all that is left to be answered when a drain is over',
    (it) => {
      it.dispatch(call());
      it.relay.drain(10_000, fault('reconfigured'), () => {});
      it.answers(2);
    },
    'reconfigured',
  ],
  ['is not answered in time', (it) => it.clock.advance(300_000), 'timeout'],
];

/** What an answer to the proxy's own request is: a result, an error, or none that can be read. */
function saidBy({ relay }: TestRelay, answer: Outcome): string {
  const response = relay.answerIn(answer);
  return response === undefined ? 'none' : response.error === undefined ? 'result' : 'error';
}

for (const [what, happens, expected] of asks) {
  test(`a request of the proxy itself that ${what} is told once to who made it, and to nobody else`, () => {
    const it = new TestRelay();
    const got: string[] = [];
    const said = (answer: Outcome): string => saidBy(it, answer);
    it.relay.ask('resources/subscribe', { uri: 'ż' }, (answer) => got.push(said(answer)));
    assert.deepEqual(it.link.messages, [{ jsonrpc: '2.0', id: 1, method: 'resources/subscribe', params: { uri: 'ż' } }]);
    assert.equal(it.relay.candidates().callers.size, 0);
    happens(it);
    assert.equal(got.length, 1);
    it.answers(1, 'late');
    it.relay.down(fault());
    it.clock.advance(4_000_000);
    assert.equal(got.length, 1);
    assert.deepEqual(got, [typeof expected === 'object' && expected !== null ? Object.keys(expected)[0] : 'none']);
  });
}

test('a child that does not read is owed its answer to a ping and the end of what nobody waits for', () => {
  const it = new TestRelay();
  const exchange = call();
  it.dispatch(exchange);
  const close = it.relay.listen(new FakeExchange({ jsonrpc: '2.0', id: 1, method: 'subscriptions/listen' }).request, lonelyCaller(), { heard() {}, ended() {} });
  it.link.full = true;
  it.link.lines.length = 0;
  it.says({ jsonrpc: '2.0', id: 'p', method: 'ping' });
  it.relay.cancel(exchange, 'it left');
  close();
  assert.deepEqual(it.link.messages.map(({ id, params }) => id ?? params.requestId), ['p', 1, 2]);
});

test('a request of the proxy itself to no child, or to one that does not read, fails at once', () => {
  for (const connected of [true, false]) {
    const it = new TestRelay({ connected });
    it.link.full = true;
    const got: string[] = [];
    const said = (answer: Outcome): string => saidBy(it, answer);
    it.relay.ask('logging/setLevel', {}, (answer) => got.push(said(answer)));
    assert.deepEqual(got, ['none']);
  }
});

// ---- requests that the server listens in on

const answer = '{"jsonrpc":"2.0","id":"c","result":"x"}';

for (const [what, happens, log] of [
  ['answered', (it) => it.answers(1, 'x'), [`heard ${answer.replace('"c"', '1')}`, `settled ${answer}`]],
  ['lost with the child', (it) => it.relay.down(fault()), ['settled child_exited']],
  ['not answered in time', (it) => it.clock.advance(300_000), ['settled timeout']],
  ['cut off by the end of a drain', (it) => (it.relay.drain(10, fault('reconfigured'), () => {}), it.clock.advance(10)), ['settled reconfigured']],
  ['cancelled', (it, exchange) => it.relay.cancel(exchange, 'it left'), []],
] as readonly (readonly [string, (it: TestRelay, exchange: FakeExchange) => void, string[]])[]) {
  test(`of a request that is ${what} the answer, if there is one, is heard once by who listens in, before the client hears of it`, () => {
    const it = new TestRelay();
    const exchange = call('c');
    it.deal = () => (answer) => void exchange.log.push(`heard ${answer}`);
    it.dispatch(exchange);
    happens(it, exchange);
    it.answers(1, 'late');
    it.relay.down(fault());
    it.clock.advance(4_000_000);
    assert.deepEqual(exchange.log, log);
  });
}

test('a request to a child that does not read is busy, and nothing is heard by who listens in', () => {
  const it = new TestRelay();
  const exchange = call();
  it.deal = () => (answer) => void exchange.log.push(`heard ${answer}`);
  it.link.full = true;
  it.dispatch(exchange);
  assert.deepEqual(exchange.log, ['settled busy']);
});

test('a request that shares the answer to another one is pending until it is taken back or its client leaves', () => {
  const it = new TestRelay();
  const [shares, leaves] = [call(1), call(2)];
  for (const exchange of [shares, leaves]) assert.equal(it.relay.park(exchange, exchange.request), true);
  assert.equal(it.relay.pending, 2);
  it.relay.cancel(leaves, 'it left');
  assert.equal(it.told, 1);
  assert.deepEqual([it.relay.unpark(leaves), it.relay.unpark(shares), it.relay.unpark(shares)], [undefined, shares.request, undefined]);
  assert.deepEqual([it.relay.pending, it.told], [0, 0]);
  assert.deepEqual(it.link.lines, []);
});

test('a drain is over when the last request that waits for something else is taken back and has nothing more to do', async () => {
  const it = new TestRelay();
  const waits = call();
  let done = 0;
  it.relay.park(waits, waits.request);
  it.relay.drain(10_000, fault('reconfigured'), () => done++);
  it.relay.unpark(waits);
  assert.equal(done, 0);
  it.relay.park(waits, waits.request); // for the next thing
  await Promise.resolve();
  assert.equal(done, 0);
  it.relay.unpark(waits);
  await Promise.resolve();
  assert.equal(done, 1);
});

test('a subscription is cancelled once, and what the child says of it then is for nobody', () => {
  const it = new TestRelay();
  const said: unknown[] = [];
  const { request } = new FakeExchange({ jsonrpc: '2.0', id: 1, method: 'subscriptions/listen' });
  const close = it.relay.listen(request, lonelyCaller(), { heard: () => said.push('heard'), ended: () => said.push('ended') });
  const heard = { jsonrpc: '2.0', method: 'notifications/x', params: { _meta: { 'io.modelcontextprotocol/subscriptionId': 1 } } };
  it.says(heard);
  close();
  close();
  it.says(heard);
  it.answers(1);
  assert.deepEqual(said, ['heard']);
  assert.deepEqual(it.link.messages.map(({ method }) => method), ['subscriptions/listen', 'notifications/cancelled']);
});

test('requests that are kept are bounded in bytes, whatever they are kept for, and count no longer than that', () => {
  const it = new TestRelay({ limits: { maxKeptBytes: 1_000, requestTimeoutMs: 1_000 } });
  const big = (id: number) => new FakeExchange(`{"jsonrpc":"2.0","id":${id},"method":"m","params":{"x":"${'x'.repeat(400)}"}}`);
  /** How many more find room beside what is kept. */
  const roomFor = (): number => {
    const exchanges = [big(90), big(91), big(92)];
    const taken = exchanges.filter((exchange) => it.relay.park(exchange, exchange.request));
    assert.deepEqual(exchanges.map(({ outcome }) => outcome), exchanges.map((each) => (taken.includes(each) ? undefined : 'busy')));
    for (const exchange of taken) it.relay.unpark(exchange);
    return taken.length;
  };
  assert.equal(roomFor(), 2);
  it.deal = () => () => {};
  const [answered, cancelled, late, refused] = [big(1), big(2), big(3), big(4)];
  it.dispatch(answered, cancelled, refused); // each is kept by what listens to its answer
  assert.deepEqual([roomFor(), refused.outcome], [0, 'busy']);
  it.answers(1);
  assert.equal(roomFor(), 1);
  it.relay.cancel(cancelled, 'it left'); // its tombstone keeps nothing
  assert.equal(roomFor(), 2);
  it.dispatch(late);
  assert.equal(roomFor(), 1);
  it.clock.advance(1_500);
  assert.deepEqual([late.outcome, roomFor()], ['timeout', 2]);
  it.dispatch(big(5));
  it.relay.down(fault());
  it.connect();
  assert.equal(roomFor(), 2);
  it.deal = () => 'forward';
  it.dispatch(big(6), big(7), big(8)); // these are not kept
  assert.equal(roomFor(), 2);
});

test('a request that is forwarded for the sake of others is a call like any other', () => {
  const it = new TestRelay();
  const exchange = call('c');
  const heard: unknown[] = [];
  it.relay.forward(exchange, exchange.request, (outcome) => void heard.push(String(outcome)));
  assert.deepEqual([it.relay.pending, it.told], [1, 1]);
  it.answers(1, 'x');
  assert.deepEqual(heard, ['{"jsonrpc":"2.0","id":1,"result":"x"}']);
  assert.deepEqual(exchange.answers, ['{"jsonrpc":"2.0","id":"c","result":"x"}']);
  it.relay.down(fault());
  const late = call();
  it.relay.forward(late, late.request, () => {});
  assert.deepEqual([late.outcome, it.relay.pending], ['busy', 0]);
});

test('a request that cannot go on as it is has the reason, and nothing is logged', () => {
  const it = new TestRelay();
  const exchange = call();
  it.deal = () => {
    throw fault('invalid_params');
  };
  it.dispatch(exchange);
  assert.deepEqual([exchange.outcome, it.entries], ['invalid_params', []]);
});

test('a bug that a request meets costs that request alone, on its way out, after a start, and on its way back', () => {
  const it = new TestRelay({ connected: false });
  const bug = (): never => {
    throw new TypeError('a bug');
  };
  const [waits, out, back, fine] = [call('a'), call('b'), call('c'), call('d')];
  it.deal = ({ idText }) => (idText === '"a"' || idText === '"b"' ? bug() : 'forward');
  it.rewrite = (_method, raw) => (raw.includes('"c"') ? bug() : raw);
  it.dispatch(waits);
  it.connect();
  it.dispatch(out, back, fine);
  it.answers(1);
  it.answers(2);
  assert.deepEqual([waits, out, back].map(({ outcome }) => outcome), Array(3).fill('internal'));
  assert.deepEqual([fine.outcome, it.relay.pending], [{ jsonrpc: '2.0', id: 'd', result: { id: 2 } }, 0]);
  assert.deepEqual(it.entries.map(({ event, message }) => [event, message.split('\n')[0]]), Array(3).fill(['internal', 'internal error at a request: TypeError: a bug']));
});

test('a request of the proxy itself is answered in the words of the child, for whose sake ever it is made', () => {
  const it = new TestRelay();
  it.rewrite = () => assert.fail('as a client would hear it');
  const heard: string[] = [];
  for (const era of ['legacy', 'modern'] as const) it.relay.ask('resources/subscribe', { uri: 'a' }, (outcome) => heard.push(String(outcome)), { ...lonelyCaller(), era });
  it.answers(1);
  it.answers(2);
  assert.deepEqual(heard.map((text) => JSON.parse(text).result), [{ id: 1 }, { id: 2 }]);
});

test('a request of the proxy itself is answered once, even if whoever asked throws', () => {
  const it = new TestRelay();
  const heard: unknown[] = [];
  it.relay.ask('tools/list', {}, (outcome) => {
    heard.push(String(outcome));
    throw new TypeError('a bug');
  });
  assert.throws(() => it.answers(1, 'x'), /a bug/);
  assert.deepEqual(heard, ['{"jsonrpc":"2.0","id":1,"result":"x"}']);
});

// ---- the child is lost

test('a child that is lost costs every call in flight one answer, and nothing of it is written to the next', () => {
  const it = new TestRelay();
  const [a, b, gone, waits] = [call('a'), call('b'), call('c'), call('d')];
  it.dispatch(a, b, gone);
  it.relay.cancel(gone, 'it left');
  const old = it.link;
  it.relay.down(fault());
  it.relay.down(fault('timeout'));
  it.dispatch(waits);
  assert.deepEqual([a, b].map(({ answers }) => answers), Array(2).fill([['child_exited', 'because of child_exited']]));
  assert.deepEqual(gone.answers, []);
  assert.equal(it.relay.connected, false);
  it.says({ jsonrpc: '2.0', id: 1, result: 'from the dead' });
  it.connect();
  assert.deepEqual(it.link.messages.map(({ params }) => params.n), ['d']);
  it.answers(1, 'd');
  assert.deepEqual(waits.outcome, { jsonrpc: '2.0', id: 'd', result: 'd' });
  it.clock.advance(4_000_000);
  assert.deepEqual([a, b, waits].map(({ answers }) => answers.length), [1, 1, 1]);
  assert.equal(old.lines.length, 4);
});

test('what a child has not answered when it goes is forgotten with it, and never mistaken for a call of the next one', () => {
  const goes: readonly ((it: TestRelay) => void)[] = [
    (it) => it.relay.down(fault()),
    (it) => it.relay.drain(10_000, fault('reconfigured'), () => {}),
    (it) => {
      const last = call();
      it.dispatch(last);
      it.relay.drain(10_000, fault('reconfigured'), () => {});
      it.answers(it.link.last.id);
    },
  ];
  for (const go of goes) {
    const it = new TestRelay();
    const left = call('left');
    it.dispatch(left);
    it.relay.cancel(left, 'it left');
    go(it);
    assert.equal(it.relay.connected, false);
    it.connect();
    const next = call('next'); // under the id of the one that left
    it.dispatch(next);
    assert.deepEqual([...it.relay.candidates().callers], [[next.caller, next]]);
    it.clock.advance(60_000); // the one that left would be forgotten now
    assert.equal(it.relay.pending, 1);
    it.answers(1, 'its own');
    assert.deepEqual(next.outcome, { jsonrpc: '2.0', id: 'next', result: 'its own' });
  }
});

// ---- drain

test('a drain lets the calls in flight finish while new ones wait, and is over with the last of them', () => {
  const it = new TestRelay();
  const [a, b, c, d, later] = ['a', 'b', 'c', 'd', 'later'].map((id) => call(id));
  it.dispatch(a!, b!, c!, d!);
  let done = 0;
  it.relay.drain(10_000, fault('reconfigured'), () => done++);
  it.dispatch(later!);
  assert.equal(it.wanted, 1);
  assert.equal(it.link.lines.length, 4);
  it.answers(1);
  it.relay.cancel(b!, 'it left');
  it.says({ jsonrpc: '2.0', id: 3, error: { code: 1, message: 'no' } });
  assert.deepEqual([done, it.relay.connected], [0, true]);
  it.answers(4);
  assert.deepEqual([done, it.relay.connected], [1, false]);
  assert.equal(it.relay.pending, 1);
  it.clock.advance(20_000);
  assert.equal(done, 1);
  it.connect();
  assert.deepEqual(it.link.messages.map(({ params }) => params.n), ['later']);
  assert.equal(later!.outcome, undefined);
});

test('what a drain cannot wait for is answered with its reason when the time is over', () => {
  const it = new TestRelay();
  const [slow, waits] = [call('slow'), call('waits')];
  it.dispatch(slow);
  let done = 0;
  it.relay.drain(10_000, fault('reconfigured'), () => done++);
  it.dispatch(waits);
  it.clock.advance(9_999);
  assert.deepEqual([done, slow.answers], [0, []]);
  it.clock.advance(1);
  assert.deepEqual([done, slow.outcome, waits.outcome], [1, 'reconfigured', undefined]);
  it.clock.advance(1_000_000);
  assert.equal(slow.answers.length, 1);
});

test('a drain without calls in flight is over at once; a gone one, or the proxy’s own, is nothing to wait for', () => {
  const it = new TestRelay();
  let done = 0;
  it.relay.drain(10_000, fault('reconfigured'), () => done++);
  assert.equal(done, 1);
  it.connect();
  const gone = call();
  it.dispatch(gone);
  it.relay.cancel(gone, 'it left');
  it.relay.drain(10_000, fault('reconfigured'), () => done++);
  assert.equal(done, 2);
});

for (const [first, second, at, expected] of [
  [10_000, 5_000, 1_000, 6_000],
  [10_000, 5_000, 9_000, 10_000],
  [5_000, 10_000, 0, 5_000],
  [10_000, 10_000, 9_999, 10_000],
] as const) {
  test(`a drain of ${first} ms that is asked for again after ${at} ms with ${second} ms is over after ${expected} ms, by the last reason`, () => {
    const it = new TestRelay();
    const exchange = call();
    it.dispatch(exchange);
    const done: string[] = [];
    it.relay.drain(first, fault('reconfigured'), () => done.push('first'));
    it.clock.advance(at);
    it.relay.drain(second, fault('shutdown'), () => done.push('second'));
    it.clock.advance(expected - at - 1);
    assert.deepEqual([done, exchange.answers], [[], []]);
    it.clock.advance(1);
    assert.deepEqual([done, exchange.outcome], [['second'], 'shutdown']);
  });
}

test('a child that is lost, a timeout and a client that leaves end a drain as an answer does', () => {
  const ends: readonly ((it: TestRelay, exchange: FakeExchange) => void)[] = [
    (it) => it.relay.down(fault()),
    (it) => it.clock.advance(5),
    (it, exchange) => it.relay.cancel(exchange, 'it left'),
  ];
  for (const end of ends) {
    const it = new TestRelay({ limits: { requestTimeoutMs: 5 } });
    const exchange = call();
    it.dispatch(exchange);
    let done = 0;
    it.relay.drain(10_000, fault('reconfigured'), () => done++);
    end(it, exchange);
    assert.deepEqual([done, it.relay.connected, it.relay.pending], [1, false, 0]);
    assert.ok(exchange.answers.length <= 1);
  }
});
