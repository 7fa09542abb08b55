import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Limits } from '../../src/config/limits.ts';
import type { Profile } from '../../src/protocol/legacy.ts';
import { lonelyCaller, SIMPLE, type Caller } from '../../src/relay/exchange.ts';
import type { Tap } from '../../src/relay/relay.ts';
import { Subscriptions } from '../../src/relay/subscriptions.ts';
import { testWorld } from '../child/world.ts';
import { call, fault, FakeExchange, notification, Reader, TestRelay } from './fakes.ts';

const ALL = { tools: {}, prompts: {}, resources: { subscribe: true }, logging: {} };

function profile(capabilities: object = ALL): Profile {
  return { era: 'legacy', revision: '2025-11-25', capabilities: capabilities as Profile['capabilities'], raw: Buffer.from(JSON.stringify({ capabilities })) };
}

const MODERN = { tools: { listChanged: true }, prompts: {}, resources: { subscribe: true, listChanged: true } };
const modern = (capabilities: object = MODERN): Profile => ({ ...profile(capabilities), era: 'modern' });

function subscribed({ readers = 1, limits = {}, owned = false }: { readers?: number; limits?: Partial<Limits>; owned?: boolean } = {}) {
  const test = new TestRelay({ limits });
  const world = testWorld(test.clock, { limits });
  const subscriptions = new Subscriptions('fs', world, test.relay, owned);
  subscriptions.restore(profile(), undefined, false);
  const listening = Array.from({ length: readers }, () => new Reader());
  listening.forEach((reader) => subscriptions.add(reader));
  // What the server does with a request that is not handled.
  const forwarded = (exchange: FakeExchange, handling: 'handled' | 'forward' | Tap): void => {
    if (handling !== 'handled') test.relay.forward(exchange, exchange.request, handling === 'forward' ? () => {} : handling);
  };
  const request = (method: string, params: unknown, id: unknown, caller = lonelyCaller()): FakeExchange => new FakeExchange({ jsonrpc: '2.0', id, method, params }, { caller });
  return {
    test,
    entries: world.entries,
    subscriptions,
    readers: listening,
    get link() {
      return test.link;
    },
    /** The child says something. */
    hears: (message: string | object) => subscriptions.hear(notification(message)),
    setLevel: (level: unknown, as?: Profile, id: unknown = 1): FakeExchange => {
      if (as !== undefined) subscriptions.restore(as, undefined, false);
      const exchange = request('logging/setLevel', { level }, id);
      subscriptions.levels.set(exchange, exchange.request);
      return exchange;
    },
    subscribe: (uri: unknown, id: unknown = 1, caller = lonelyCaller()): FakeExchange => {
      const exchange = request('resources/subscribe', { uri }, id, caller);
      subscriptions.subscribe(exchange, exchange.request);
      return exchange;
    },
    unsubscribe: (uri: unknown, id: unknown = 1, caller = lonelyCaller()): FakeExchange => {
      const exchange = request('resources/unsubscribe', { uri }, id, caller);
      forwarded(exchange, subscriptions.unsubscribe(exchange, exchange.request));
      return exchange;
    },
    /** What the child was asked since the last look: method and uri or level. */
    asked: (): string[] => test.link.lines.splice(0).map((line) => {
      const { method, params } = JSON.parse(line);
      return `${method} ${params.uri ?? params.level}`;
    }),
  };
}

/** A client with a session, which may leave. */
class Member extends Reader {
  override readonly holder = this as object;
  readonly caller: Caller = { ...lonelyCaller(), holder: this };
}

const ok = (id: unknown) => ({ jsonrpc: '2.0', id, result: {} });
const log = (level: unknown, data: unknown = 'text') => ({ jsonrpc: '2.0', method: 'notifications/message', params: { level, data } });

// ---- streams

test('what is for everybody goes to every stream once, byte for byte, until the stream is taken away (R-51, R-54)', () => {
  const it = subscribed({ readers: 3 });
  const messages = [
    '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}',
    '{"method":"notifications/prompts/list_changed","params":{"_meta":{"n":9007199254740993}},"jsonrpc":"2.0"}',
    '{"jsonrpc":"2.0","method":"notifications/resources/list_changed","params":{"uri":"test://somewhere"}}',
    '{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://żółć"}}',
    '{"jsonrpc":"2.0","method":"notifications/vendor/x","params":{"text":"\\r\\n\u2028","1e400":-0.0}}',
    '{ "jsonrpc" : "2.0", "method" : "x" }',
  ];
  for (const message of messages) it.hears(message);
  for (const reader of it.readers) assert.deepEqual(reader.take(), messages.map((message) => `message ${message}`));
  assert.equal(it.subscriptions.awake, true);
  it.subscriptions.delete(it.readers[1]!);
  it.subscriptions.delete(it.readers[1]!);
  it.hears(messages[0]!);
  assert.deepEqual(it.readers.map(({ events }) => events.length), [1, 0, 1]);
  assert.equal(it.subscriptions.awake, true);
  for (const reader of it.readers) it.subscriptions.delete(reader);
  assert.equal(it.subscriptions.awake, false);
});

test('a line end between the members of a message does not end its event', () => {
  const it = subscribed();
  it.hears('{"jsonrpc":"2.0",\r"method":"notifications/x",\n"params":\r\n{}}');
  assert.deepEqual(it.readers[0]!.take(), ['message {"jsonrpc":"2.0", "method":"notifications/x", "params":  {}}']);
});

test('what is about somebody’s task, request, elicitation or resource goes to no simple stream, and is logged', () => {
  const it = subscribed();
  const bound = [
    ['notifications/tasks/status', { taskId: 't', status: 'working' }],
    ['notifications/tasks/status', {}],
    ['notifications/vendor/progress', { progressToken: 1 }],
    ['notifications/vendor/file', { uri: 'file:///x' }],
  ] as const;
  for (const [method, params] of bound) it.hears({ jsonrpc: '2.0', method, params });
  it.subscriptions.tell(notification({ jsonrpc: '2.0', method: 'notifications/elicitation/complete', params: { elicitationId: 'e' } }), undefined);
  assert.deepEqual(it.readers[0]!.take(), []);
  assert.equal(it.entries.filter(({ event }) => event === 'unclaimed').length, bound.length + 1);
});

test('what is about somebody’s task, request or resource is for the one client of a process of its own', () => {
  const it = subscribed({ owned: true });
  const message = '{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t"}}';
  it.hears(message);
  assert.deepEqual(it.readers[0]!.take(), [`message ${message}`]);
});

test('a session that is evicted is told, a simple stream is not', () => {
  const it = subscribed();
  const member = new Member();
  it.subscriptions.add(member);
  it.subscriptions.evict();
  assert.deepEqual([member.ended, it.readers[0]!.ended], [1, 0]);
});

test('a session takes its level and its resources with it, a simple stream nothing that others share', () => {
  const it = subscribed({ readers: 2 });
  const member = new Member();
  it.subscriptions.add(member);
  const level = new FakeExchange({ jsonrpc: '2.0', id: 1, method: 'logging/setLevel', params: { level: 'error' } }, { caller: member.caller });
  it.subscriptions.levels.set(level, level.request);
  it.setLevel('error');
  it.subscribe('mine', 1, member.caller);
  it.test.answers(it.link.last.id, {});
  it.subscribe('ours');
  it.test.answers(it.link.last.id, {});
  it.asked();
  const levels = (): unknown[] => [SIMPLE, member].map((holder) => it.subscriptions.levels.of(holder));
  it.subscriptions.delete(it.readers[1]!);
  assert.deepEqual([it.asked(), levels()], [[], ['error', 'error']]);
  it.subscriptions.delete(member);
  assert.deepEqual([it.asked(), levels()], [['resources/unsubscribe mine'], ['error', undefined]]);
});

test('a failure is an error event for every stream, and the streams stay', () => {
  const it = subscribed({ readers: 2 });
  it.subscriptions.failed('exited with code 1 "\u2028\n"');
  for (const reader of it.readers) {
    const [event] = reader.take() as [string];
    assert.ok(event.startsWith('error '));
    assert.deepEqual(JSON.parse(event.slice(6)), { error: 'exited with code 1 "\u2028\n"' });
    assert.equal(reader.ended, 0);
  }
});

test('the end of a server is a close event for every stream, and its end, once', () => {
  const it = subscribed({ readers: 2 });
  it.subscriptions.close();
  it.subscriptions.close();
  it.hears(log('info'));
  for (const reader of it.readers) {
    assert.deepEqual(reader.take(), ['close {}']);
    assert.equal(reader.ended, 1);
  }
  assert.equal(it.subscriptions.awake, false);
});

test('a stream that leaves while something is sent costs the others nothing', () => {
  const it = subscribed({ readers: 0 });
  const all = Array.from({ length: 3 }, () => new Reader());
  const closed = { holder: SIMPLE, open: false, hear() {}, failed() {}, onServerEnd() {} };
  const leaver = { ...closed, hear: () => all.forEach((reader) => it.subscriptions.delete(reader)) };
  for (const reader of [all[0]!, leaver, all[1]!, all[2]!]) it.subscriptions.add(reader);
  it.hears(log('info'));
  assert.equal(it.subscriptions.awake, false);
  assert.equal(all[0]!.events.length, 1);
  it.subscriptions.add({ ...closed, onServerEnd: () => it.subscriptions.delete(leaver) });
  it.subscriptions.close();
});

// ---- log lines (R-47)

const MAX_PENDING = 3; // and as many of those who left are remembered

/** Who is in flight at the child, and where a log line goes: to the call's own response, or to the streams. */
const ROUTES: readonly (readonly [string, (it: ReturnType<typeof subscribed>) => FakeExchange[], 'streams' | 'response' | 'nobody'])[] = [
  ['nobody is in flight', () => [], 'streams'],
  ['one call is in flight whose response is a stream', (it) => dispatched(it, call(1)), 'response'],
  ['one call is in flight whose response cannot stream', (it) => dispatched(it, call(1, 1, { streams: false })), 'streams'],
  ['two calls are in flight', (it) => dispatched(it, call(1), call(2)), 'streams'],
  ['one call is in flight and another is gone', (it) => gone(it, dispatched(it, call(1), call(2)), 1), 'streams'],
  ['the only call is gone', (it) => gone(it, dispatched(it, call(1)), 0), 'streams'],
  [
    'one call is in flight and so many have left that some are forgotten',
    (it) => {
      const stays = dispatched(it, call(1));
      for (let k = 0; k <= MAX_PENDING; k++) gone(it, dispatched(it, call(2)), 0);
      for (let id = 3; id <= MAX_PENDING + 2; id++) it.test.answers(id); // all but the one that is forgotten
      return stays;
    },
    'nobody', // one of those may have been a session
  ],
  [
    'one call was answered and another is in flight',
    (it) => {
      const exchanges = dispatched(it, call(1), call(2));
      it.test.answers(1);
      return exchanges.slice(1);
    },
    'response',
  ],
  [
    'one caller has two calls in flight',
    (it) => {
      const caller = lonelyCaller();
      return dispatched(it, call(1, 1, { caller }), call(2, 2, { caller }));
    },
    'response',
  ],
  [
    'beside one call there are only requests of the proxy itself',
    (it) => {
      it.test.relay.ask('resources/subscribe', { uri: 'x' }, () => {});
      return dispatched(it, call(1));
    },
    'response',
  ],
];

function dispatched(it: ReturnType<typeof subscribed>, ...exchanges: FakeExchange[]): FakeExchange[] {
  it.test.dispatch(...exchanges);
  return exchanges;
}

function gone(it: ReturnType<typeof subscribed>, exchanges: FakeExchange[], ...which: number[]): FakeExchange[] {
  for (const k of which) it.test.relay.cancel(exchanges[k]!, 'it left');
  return exchanges;
}

const WHERE = { streams: 'every simple stream', response: 'that call alone', nobody: 'nobody, and is logged' };

for (const [when, prepare, where] of ROUTES) {
  test(`when ${when} a log line goes to ${WHERE[where]}`, () => {
    const it = subscribed({ readers: 2, limits: { maxPending: MAX_PENDING } });
    const exchanges = prepare(it);
    const line = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":{"n":9007199254740993}}}';
    it.hears(line);
    for (const reader of it.readers) assert.deepEqual(reader.take(), where === 'streams' ? [`message ${line}`] : []);
    assert.deepEqual(exchanges.flatMap(({ notified }) => notified), where === 'response' ? [line] : []);
    assert.equal(it.entries.filter(({ event }) => event === 'unclaimed').length, where === 'nobody' ? 1 : 0);
  });
}

// ---- log levels (R-50)

const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

for (const [k, level] of LEVELS.entries()) {
  test(`after logging/setLevel ${level} simple clients get what is as severe or more, on their streams and in their responses`, () => {
    const it = subscribed();
    assert.deepEqual(it.setLevel(level, profile(), '"').outcome, ok('"'));
    for (const other of LEVELS) it.hears(log(other));
    const passed = LEVELS.slice(k).map((other) => JSON.stringify(log(other)));
    assert.deepEqual(it.readers[0]!.take(), passed.map((line) => `message ${line}`));
    const [exchange] = dispatched(it, call(1));
    for (const other of LEVELS) it.hears(log(other));
    assert.deepEqual(exchange!.notified, passed);
  });
}

test('without a level, or with one that is none, a log line is not filtered', () => {
  const it = subscribed();
  for (const level of LEVELS) it.hears(log(level));
  assert.equal(it.readers[0]!.take().length, LEVELS.length);
  it.setLevel('emergency');
  for (const level of ['loud', 'Error', 7, null, undefined, ['error']]) it.hears(log(level));
  assert.equal(it.readers[0]!.take().length, 6);
});

test('a level that is none is refused, as is every level where the child has no logging, and nothing changes', () => {
  const it = subscribed();
  for (const level of ['loud', 'INFO', '', 3, null, undefined, ['info']]) assert.equal(it.setLevel(level).outcome, 'invalid_params');
  for (const level of ['info', 'loud']) {
    const exchange = it.setLevel(level, profile({ tools: {} }));
    assert.deepEqual(exchange.answers, [['method_not_found', 'Method not found: logging/setLevel']]);
  }
  assert.deepEqual(it.asked(), []);
  it.hears(log('debug'));
  assert.equal(it.readers[0]!.take().length, 1);
});

test('the child is told a level only when it becomes more verbose than what it has; its refusal changes nothing here', () => {
  const it = subscribed();
  it.setLevel('warning');
  it.setLevel('error');
  it.setLevel('warning');
  assert.deepEqual(it.asked(), ['logging/setLevel warning']);
  it.setLevel('debug');
  it.setLevel('info');
  assert.deepEqual(it.asked(), ['logging/setLevel debug']);
  it.test.says({ jsonrpc: '2.0', id: 2, error: { code: -32603, message: 'no' } });
  it.hears(log('debug'));
  it.hears(log('info'));
  assert.deepEqual(it.readers[0]!.take(), [`message ${JSON.stringify(log('info'))}`]);
});

// ---- resource subscriptions (R-53)

test('the child is asked once for a resource; those who ask meanwhile share its answer, those who ask later get it at once', () => {
  const it = subscribed();
  const first = it.subscribe('a', 1);
  const second = it.subscribe('a', '1');
  const other = it.subscribe('b', 1);
  assert.deepEqual(it.asked(), ['resources/subscribe a', 'resources/subscribe b']);
  assert.deepEqual([first.outcome, second.outcome], [undefined, undefined]);
  it.test.answers(1, {});
  assert.deepEqual([first.outcome, second.outcome, other.outcome], [ok(1), ok('1'), undefined]);
  assert.deepEqual(it.subscribe('a', 'later').outcome, ok('later'));
  assert.deepEqual(it.asked(), []);
});

for (const [what, result] of [
  ['as it is', '{"_meta":{"ż":"🦊"},"x":null}'],
  ['at length', `{"pad":"${'x'.repeat(20_000)}","ż":"🦊"}`],
  ['with numbers that do not survive a parse (R-5)', '{"n":9007199254740993,"2":2,"1":1,"f":1e400}'],
]) {
  test(`what the child answers to a subscribe goes to the client ${what}`, () => {
    const it = subscribed();
    const exchange = it.subscribe('a', 'c');
    it.test.says(`{"jsonrpc":"2.0","id":1,"result":${result}}`);
    const [answer] = exchange.answers;
    assert.ok(answer === `{"jsonrpc":"2.0","id":"c","result":${result}}`, String(answer).slice(-200));
  });
}

test('a child that refuses a subscribe is asked again by the next one', () => {
  const it = subscribed();
  const [a, b] = [it.subscribe('a', 1), it.subscribe('a', 2)];
  const error = { code: -32002, message: 'Resource not found', data: { uri: 'a' } };
  it.test.says({ jsonrpc: '2.0', id: 1, error });
  assert.deepEqual([a.outcome, b.outcome], [1, 2].map((id) => ({ jsonrpc: '2.0', id, error })));
  const again = it.subscribe('a', 3);
  it.test.answers(2, {});
  assert.deepEqual(again.outcome, ok(3));
  assert.deepEqual(it.asked(), ['resources/subscribe a', 'resources/subscribe a']);
});

for (const [what, happens, reason] of [
  ['is lost', (it) => it.test.relay.down(fault('child_exited')), 'child_exited'],
  ['does not answer in time', (it) => it.test.clock.advance(300_000), 'timeout'],
] as const satisfies readonly (readonly [string, (it: ReturnType<typeof subscribed>) => void, string])[]) {
  test(`a child that ${what} while it is asked for a resource costs each who asked one answer, and is asked again by the next`, () => {
    const it = subscribed();
    const asking = [it.subscribe('a', 1), it.subscribe('a', 2)];
    happens(it);
    assert.deepEqual(asking.map(({ outcome }) => outcome), [reason, reason]);
    it.test.answers(1, {});
    if (!it.test.relay.connected) it.test.connect();
    it.asked();
    it.subscribe('a', 3);
    assert.deepEqual(it.asked(), ['resources/subscribe a']);
    assert.deepEqual(asking.map(({ answers }) => answers.length), [1, 1]);
  });
}

test('a child that does not read makes a subscribe busy', () => {
  const it = subscribed();
  it.link.full = true;
  assert.equal(it.subscribe('a').outcome, 'busy');
  it.link.full = false;
  it.subscribe('a');
  assert.deepEqual(it.asked(), ['resources/subscribe a']);
});

test('unsubscribing asks the child once for what is held, and is done at once for what is not', () => {
  const it = subscribed();
  assert.deepEqual(it.unsubscribe('a', 'x').outcome, ok('x'));
  it.subscribe('a');
  it.test.answers(1, {});
  it.asked();
  const [first, second] = [it.unsubscribe('a', 1), it.unsubscribe('a', 2)];
  assert.deepEqual(it.asked(), ['resources/unsubscribe a']);
  assert.deepEqual([first.outcome, second.outcome], [undefined, ok(2)]);
  it.test.answers(2, {});
  assert.deepEqual(first.outcome, ok(1));
  it.subscribe('a');
  assert.deepEqual(it.asked(), ['resources/subscribe a']);
});

test('when the first of those who share an answer leaves, the others have it all the same (R-53)', () => {
  const it = subscribed();
  const [first, second, third] = [it.subscribe('a', 1), it.subscribe('a', 2), it.subscribe('a', 3)];
  assert.equal(it.test.relay.pending, 3);
  it.test.relay.cancel(first, 'it left');
  assert.deepEqual([it.asked(), it.test.relay.pending], [['resources/subscribe a'], 2]);
  it.test.answers(1, {});
  assert.deepEqual([first.answers, second.outcome, third.outcome], [[], ok(2), ok(3)]);
  assert.equal(it.test.relay.pending, 0);
  assert.deepEqual(it.subscribe('a', 4).outcome, ok(4));
  assert.deepEqual(it.asked(), []);
});

test('one who leaves while it shares an answer does not get it, and the child hears nothing of that', () => {
  const it = subscribed();
  const [first, left, third] = [it.subscribe('a', 1), it.subscribe('a', 2), it.subscribe('a', 3)];
  it.test.relay.cancel(left, 'it left');
  it.test.answers(1, {});
  assert.equal(it.link.lines.length, 1);
  assert.deepEqual([first.outcome, left.answers, third.outcome], [ok(1), [], ok(3)]);
});

test('when all who share an answer have left, the child does not watch for nobody, and the next one asks anew', () => {
  const it = subscribed();
  const left = [it.subscribe('a', 1), it.subscribe('a', 2)];
  for (const exchange of left) it.test.relay.cancel(exchange, 'it left');
  assert.equal(it.test.relay.pending, 0);
  it.test.answers(1, {});
  assert.deepEqual(it.asked(), ['resources/subscribe a', 'resources/unsubscribe a']);
  const next = it.subscribe('a', 3);
  assert.deepEqual(it.asked(), ['resources/subscribe a']);
  it.test.answers(3, {});
  assert.deepEqual([left.flatMap(({ answers }) => answers), next.outcome], [[], ok(3)]);
});

test('those who share an answer share the reason why there is none: a busy child, a drain that is over', () => {
  const busy = subscribed();
  busy.link.full = true;
  assert.equal(busy.subscribe('a', 1).outcome, 'busy');

  const it = subscribed();
  const sharing = [it.subscribe('a', 1), it.subscribe('a', 2)];
  let done = 0;
  it.test.relay.drain(10_000, fault('reconfigured'), () => done++);
  it.test.clock.advance(9_999);
  assert.deepEqual([done, sharing.flatMap(({ answers }) => answers)], [0, []]);
  it.test.clock.advance(1);
  assert.deepEqual([done, sharing.map(({ outcome }) => outcome)], [1, ['reconfigured', 'reconfigured']]);
  assert.equal(it.test.relay.pending, 0);
});

test('a drain is over when those who share an answer have it', () => {
  const it = subscribed();
  const sharing = [it.subscribe('a', 1), it.subscribe('a', 2)];
  let done = 0;
  it.test.relay.drain(10_000, fault('reconfigured'), () => done++);
  it.test.answers(1, {});
  assert.deepEqual([done, sharing.map(({ outcome }) => outcome)], [1, [ok(1), ok(2)]]);
});

test('in every order of up to five events each who asks for a resource is settled once, and what is taken for held the child does watch', () => {
  const OPS = ['subscribe', 'unsubscribe', 'leave', 'answer', 'refuse', 'restart'] as const;
  const orders = (length: number): (typeof OPS)[number][][] => (length === 0 ? [[]] : orders(length - 1).flatMap((ops) => OPS.map((op) => [...ops, op])));
  for (const ops of orders(5)) {
    const it = subscribed({ readers: 0 });
    const open: FakeExchange[] = [];
    const left: FakeExchange[] = [];
    const everybody: FakeExchange[] = [];
    let watches = false; // what the child does
    let answered = 0; // of the lines that it was sent
    /** The child takes the next line, and does what it says unless it refuses. */
    const takes = (refuses: boolean): boolean => {
      const line = it.link.lines[answered];
      if (line === undefined) return false;
      answered++;
      const { id, method } = JSON.parse(line);
      if (id === undefined) return true;
      if (!refuses) watches = method === 'resources/subscribe';
      it.test.says({ jsonrpc: '2.0', id, ...(refuses ? { error: { code: 1, message: 'no' } } : { result: {} }) });
      return true;
    };
    for (const op of ops) {
      if (op === 'subscribe' || op === 'unsubscribe') {
        const exchange = it[op]('a', everybody.length);
        everybody.push(exchange);
        open.push(exchange);
      } else if (op === 'leave') {
        const exchange = open.find(({ answers }) => answers.length === 0);
        if (exchange === undefined) continue;
        left.push(exchange);
        it.test.relay.cancel(exchange, 'it left');
      } else if (op === 'restart') {
        it.test.relay.down(fault());
        watches = false;
        answered = 0;
        it.test.connect(() => it.subscriptions.restore(profile(), profile(), false));
      } else takes(op === 'refuse');
      open.splice(0, open.length, ...open.filter((exchange) => exchange.answers.length === 0 && !left.includes(exchange)));
      assert.equal(it.test.relay.pending, open.length, ops.join(', '));
    }
    while (takes(false));
    for (const exchange of everybody) assert.equal(exchange.answers.length, left.includes(exchange) ? 0 : 1, ops.join(', '));
    const probe = it.subscribe('a', 'probe');
    if (probe.answers.length > 0) assert.equal(watches, true, `${ops.join(', ')}: taken for held`);
  }
});

test('what a child answers to an unsubscribe is passed on, and an error too', () => {
  for (const [answer, expected] of [
    [{ result: { x: 1 } }, { jsonrpc: '2.0', id: 'u', result: { x: 1 } }],
    [{ error: { code: 1, message: 'no' } }, { jsonrpc: '2.0', id: 'u', error: { code: 1, message: 'no' } }],
  ]) {
    const it = subscribed();
    it.subscribe('a');
    it.test.answers(1, {});
    const exchange = it.unsubscribe('a', 'u');
    it.test.says({ jsonrpc: '2.0', id: 2, ...answer });
    assert.deepEqual(exchange.outcome, expected);
  }
});

test('a uri that is no text is refused, and the child is not asked', () => {
  const it = subscribed();
  for (const uri of [undefined, null, 1, ['a'], {}]) {
    assert.equal(it.subscribe(uri).outcome, 'invalid_params');
    assert.equal(it.unsubscribe(uri).outcome, 'invalid_params');
  }
  assert.deepEqual(it.asked(), []);
});

test('uris are compared as texts: one that a big message holds is the same as in a small one', () => {
  const it = subscribed();
  it.subscribe('test://żółć');
  it.test.answers(1, {});
  const big = new FakeExchange({ jsonrpc: '2.0', id: 1, method: 'resources/subscribe', params: { uri: 'test://żółć', pad: 'x'.repeat(20_000) } });
  it.subscriptions.subscribe(big, big.request);
  assert.deepEqual(big.outcome, ok(1));
});

test('more resources than the bound are refused as busy, those on their way included, and an unsubscribe makes room', () => {
  const it = subscribed({ limits: { maxSubscriptions: 2 } });
  it.subscribe('a');
  it.test.answers(1, {});
  it.subscribe('b');
  assert.equal(it.subscribe('c').outcome, 'busy');
  assert.deepEqual(it.subscribe('a', 9).outcome, ok(9));
  assert.equal(it.subscribe('b').outcome, undefined);
  it.unsubscribe('a');
  assert.equal(it.subscribe('c').outcome, undefined);
});

test('what the child has not let go of yet counts among them, when clients have left as well, and no longer than it runs', () => {
  for (const [how, end] of [
    ['an answer', (it: ReturnType<typeof subscribed>) => it.test.answers(2, {})],
    ['an error', (it: ReturnType<typeof subscribed>) => it.test.says({ jsonrpc: '2.0', id: 2, error: { code: 1, message: 'no' } })],
    ['no answer in time', (it: ReturnType<typeof subscribed>) => it.test.clock.advance(300_000)],
    ['the loss of the child', (it: ReturnType<typeof subscribed>) => (it.test.relay.down(fault()), it.test.connect())],
  ] as const) {
    const it = subscribed({ limits: { maxSubscriptions: 1 } });
    const member = new Member();
    it.subscriptions.add(member);
    it.subscribe('a', 1, member.caller);
    it.test.answers(1, {});
    it.subscriptions.delete(member);
    assert.deepEqual(it.asked(), ['resources/subscribe a', 'resources/unsubscribe a']);
    assert.deepEqual([it.subscribe('b').outcome, it.asked()], ['busy', []], how);
    end(it);
    it.asked();
    assert.equal(it.subscribe('b').outcome, undefined, how);
    assert.deepEqual(it.asked(), ['resources/subscribe b'], how);
  }
});

test('no more wait for the answer to one subscription than may be pending, whether or not they are still there', () => {
  const it = subscribed({ limits: { maxPending: 2 } });
  const [first, second] = [it.subscribe('a', 1), it.subscribe('a', 2)];
  it.test.relay.cancel(second, 'it left');
  assert.equal(it.subscribe('a', 3).outcome, 'busy');
  it.test.answers(1, {});
  assert.deepEqual([first.outcome, second.outcome, it.subscribe('a', 4).outcome], [ok(1), undefined, ok(4)]);
});

test('a level that the child could not be told is told it the next time', () => {
  const it = subscribed();
  it.test.link.full = true;
  it.setLevel('debug');
  assert.deepEqual(it.asked(), []);
  it.test.link.full = false;
  it.setLevel('debug');
  assert.deepEqual(it.asked(), ['logging/setLevel debug']);
});

// ---- a new child (R-154)

test('a new child is brought to where the old one was: the level first, then every resource that is held', () => {
  const it = subscribed();
  it.setLevel('notice');
  it.setLevel('error');
  for (const uri of ['a', 'b', 'c']) it.subscribe(uri);
  for (const id of [2, 3, 4]) it.test.answers(id, {});
  it.unsubscribe('b');
  it.test.relay.down(fault());
  it.test.connect(() => it.subscriptions.restore(profile(), profile(), false));
  assert.deepEqual(it.asked(), ['logging/setLevel error', 'resources/subscribe a', 'resources/subscribe c']);

  it.test.says({ jsonrpc: '2.0', id: 2, error: { code: -32002, message: 'gone' } });
  it.test.answers(3, {});
  it.subscribe('c');
  assert.deepEqual(it.asked(), []);
  it.subscribe('a'); // refused by the new child, so it is not held any more
  assert.deepEqual(it.asked(), ['resources/subscribe a']);
});

test('a resource that was being restored when the next child was lost as well is still held', () => {
  const it = subscribed();
  it.subscribe('a');
  it.test.answers(1, {});
  for (let k = 0; k < 3; k++) {
    it.test.relay.down(fault());
    it.test.connect(() => it.subscriptions.restore(profile(), profile(), false));
    assert.deepEqual(it.asked(), ['resources/subscribe a']);
  }
});

test('a child without logging is told no level, and the streams filter on', () => {
  const it = subscribed();
  it.setLevel('error');
  it.asked();
  it.test.relay.down(fault());
  it.test.connect(() => it.subscriptions.restore(profile({}), profile(), false));
  assert.deepEqual(it.asked(), []);
  it.readers[0]!.take();
  it.hears(log('info'));
  assert.deepEqual(it.readers[0]!.take(), []);
});

test('a refusal that comes when the resource has been asked for anew costs nobody what the child watches', () => {
  const it = subscribed();
  it.subscribe('a');
  it.test.answers(1, {});
  it.test.relay.down(fault());
  it.test.connect(() => it.subscriptions.restore(profile(), profile(), false));
  const [again] = it.link.messages.filter(({ method }) => method === 'resources/subscribe');
  it.unsubscribe('a');
  it.subscribe('a');
  it.test.answers(it.link.last.id, {});
  it.test.says({ jsonrpc: '2.0', id: again.id, error: { code: 1, message: 'busy' } });
  it.asked();
  assert.deepEqual([it.subscribe('a', 3).outcome, it.asked()], [ok(3), []]);
});

test('an idle child leaves to sessions what they share with simple clients', () => {
  const it = subscribed();
  const member = new Member();
  it.subscribe('a');
  it.test.answers(1, {});
  it.subscribe('a', 2, member.caller);
  it.subscriptions.forget();
  it.asked();
  it.test.relay.down(fault());
  it.test.connect(() => it.subscriptions.restore(profile(), profile(), true));
  assert.deepEqual(it.asked(), ['resources/subscribe a']);
});

test('the child is told when the last of those who hold a resource leaves, and about whom (R-53)', () => {
  const it = subscribed();
  const [one, two] = [new Member(), new Member()];
  for (const { caller } of [one, two]) {
    it.subscribe('a', 1, caller);
    it.test.answers(it.link.last.id, {});
  }
  it.asked();
  it.unsubscribe('a', 2); // who holds nothing
  assert.deepEqual(it.unsubscribe('a', 3, one.caller).outcome, ok(3));
  assert.deepEqual(it.asked(), []);
  it.subscriptions.delete(two);
  assert.deepEqual(it.asked(), ['resources/unsubscribe a']);
  assert.deepEqual([...it.test.relay.candidates().callers.keys()], [two.caller]);
});

test('who asks for what is watched already has it at once, and holds it only if somebody is there', () => {
  const it = subscribed();
  const [stays, leaves] = [new Member(), new Member()];
  it.subscribe('a', 1, stays.caller);
  it.test.answers(it.link.last.id, {});
  let watched: boolean | undefined;
  it.subscriptions.hold('a', leaves.caller, {}, (_, watches) => {
    watched = watches;
    return false;
  });
  it.asked();
  it.subscriptions.delete(stays);
  assert.deepEqual([watched, it.asked()], [true, ['resources/unsubscribe a']]);
});

test('a child that does not say in time whether it watches a resource is told that it need not', () => {
  const it = subscribed();
  it.subscribe('a');
  it.asked();
  it.test.clock.advance(300_000);
  assert.equal(it.link.messages.at(-1).method, 'resources/unsubscribe');
});

test('a change of a resource is for those who hold it, or what it is a part of (R-54)', () => {
  const parts: readonly (readonly [held: string, changed: string, heard: boolean])[] = [
    ['test://a', 'test://a', true],
    ['test://a', 'test://a/b', true],
    ['test://a', 'test://a?b', true],
    ['test://a', 'test://a#b', true],
    ['test://a', 'test://ab', false],
    ['test://a', 'test://', false],
    ['test://a/', 'test://a/b', true],
    ['test://a/', 'test://a', false],
    ['test://a/b', 'test://a', false],
  ];
  for (const [held, changed, heard] of parts) {
    const it = subscribed();
    const member = new Member();
    it.subscriptions.add(member);
    it.subscribe(held, 1, member.caller);
    it.test.answers(it.link.last.id, {});
    it.hears({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: changed } });
    assert.deepEqual([member.take().length, it.readers[0]!.take().length], [heard ? 1 : 0, 1], `${held}, ${changed}`);
  }
});

test('a uri may have so many bytes, however many characters that are', () => {
  const it = subscribed({ limits: { maxUriBytes: 4 } });
  for (const uri of ['abcd', 'żó']) assert.equal(it.subscribe(uri).outcome, undefined);
  for (const uri of ['abcde', 'żół']) assert.equal(it.subscribe(uri).outcome, 'invalid_params');
});

test('for whose sake the child is asked to watch a resource may be asked by it', () => {
  const it = subscribed();
  const { caller } = new Member();
  it.subscribe('a', 1, caller);
  assert.deepEqual([...it.test.relay.candidates().callers.keys()], [caller]);
});

// ---- a modern child, which says only what it was asked for

const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';

function listening(capabilities: object = MODERN, readers = 0) {
  const it = subscribed({ readers });
  const restored = (): void => void it.subscriptions.restore(modern(capabilities), undefined, false);
  restored();
  return {
    ...it,
    restored,
    /** What was said about subscriptions since the last look: a filter, or the id that is cancelled. */
    filters: (): unknown[] => it.test.link.lines.splice(0).map((line) => JSON.parse(line).params).map(({ notifications, requestId }) => notifications ?? requestId),
    /** The child agrees to the last listen. */
    takes: (notifications: object): void => {
      const { id } = it.test.link.last;
      it.test.says({ jsonrpc: '2.0', method: ACKNOWLEDGED, params: { _meta: { 'io.modelcontextprotocol/subscriptionId': id }, notifications } });
    },
  };
}

const LISTS = { toolsListChanged: true, resourcesListChanged: true };

test('a modern child is listened to for its lists as long as somebody may want to know of them', () => {
  const it = listening();
  const [one, two] = [new Reader(), new Reader()];
  assert.deepEqual(it.filters(), []);
  it.subscriptions.add(one);
  it.subscriptions.add(two);
  assert.deepEqual(it.filters(), [LISTS]);
  it.subscriptions.delete(one);
  assert.deepEqual(it.filters(), []);
  it.subscriptions.delete(two);
  assert.deepEqual(it.filters(), [1]);
  it.subscriptions.add(one);
  assert.deepEqual(it.filters(), [LISTS]);
  it.subscriptions.down(fault());
  it.subscriptions.add(two); // there is nobody to listen to
  assert.deepEqual(it.filters(), []);
  it.restored();
  assert.deepEqual(it.filters(), [LISTS]);
  assert.deepEqual(listening({ tools: {} }, 1).filters(), []);
});

test('a resource of a modern child is listened to, and whoever asked is answered when the child has agreed', () => {
  for (const [taken, outcome] of [
    [{ resourceSubscriptions: ['a'] }, ok(1)],
    [{ resourceSubscriptions: ['b'] }, 'error'],
    [{}, 'error'],
  ] as const) {
    const it = listening();
    const exchange = it.subscribe('a');
    const { id } = it.test.link.last;
    it.takes(taken);
    if (outcome !== 'error') assert.deepEqual(exchange.outcome, outcome);
    else assert.match(String(exchange.answers), /does not watch this resource/);
    assert.deepEqual(it.filters(), [{ resourceSubscriptions: ['a'] }, ...(outcome === 'error' ? [id] : [])]);
    assert.deepEqual(it.unsubscribe('a', 2).outcome, ok(2));
    assert.deepEqual(it.filters(), outcome === 'error' ? [] : [id]);
  }
});

test('a modern child that is lost before it has agreed costs those who asked one answer, and is asked again by the next', () => {
  const it = listening();
  const exchange = it.subscribe('a');
  it.subscriptions.down(fault());
  assert.equal(exchange.outcome, 'child_exited');
  it.restored();
  it.filters();
  it.subscribe('a', 2);
  assert.deepEqual(it.filters(), [{ resourceSubscriptions: ['a'] }]);
});

test('what an idle or stopped child watched is forgotten with it (R-53)', () => {
  for (const stop of ['forget', 'close'] as const) {
    const it = subscribed();
    it.subscribe('a');
    it.test.answers(1, {});
    it.subscriptions[stop]();
    it.asked();
    it.test.relay.down(fault());
    it.test.connect(() => it.subscriptions.restore(profile(), profile(), true));
    assert.deepEqual(it.asked(), []);
    it.subscribe('a');
    assert.deepEqual(it.asked(), ['resources/subscribe a']);
  }
});

const changed = (...types: string[]): string[] => types.map((type) => `message {"jsonrpc":"2.0","method":"notifications/${type}/list_changed"}`);

for (const [what, before, after, idle, expected] of [
  ['the first child', undefined, ALL, false, []],
  ['a child with what its predecessor had', ALL, ALL, false, ['tools', 'prompts', 'resources']],
  ['a child with less', ALL, { tools: {} }, false, ['tools', 'prompts', 'resources']],
  ['a child with more', { tools: {} }, { tools: {}, prompts: {} }, false, ['tools', 'prompts']],
  ['a child with nothing, like its predecessor', {}, {}, false, []],
  ['a child after an idle stop', ALL, ALL, true, []],
  ['a child after an idle stop that has become another', { tools: {} }, { tools: { listChanged: true } }, true, ['tools']],
] as const) {
  test(`${what} makes every stream hear ${expected.length === 0 ? 'nothing' : `that its ${expected.join(', ')} may have changed`}, once each`, () => {
    const it = subscribed({ readers: 2 });
    it.subscriptions.restore(profile(after), before && profile(before), idle);
    for (const reader of it.readers) assert.deepEqual(reader.take(), changed(...expected));
  });
}
