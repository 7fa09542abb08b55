// Calls that wait for their clients, between a fake child and fake clients: which can, what exactly goes to and fro, and
// that nothing of them is left, in whatever phase they end.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Limits } from '../../src/config/limits.ts';
import { legacyEdits } from '../../src/protocol/legacy.ts';
import type { Caller } from '../../src/relay/exchange.ts';
import { Parked } from '../../src/relay/parked.ts';
import { Relay } from '../../src/relay/relay.ts';
import { ServerRequests } from '../../src/relay/server-requests.ts';
import { addressed } from '../../src/wire/jsonrpc.ts';
import { noon, testWorld } from '../child/world.ts';
import { bytes, fault, FakeExchange, FakeLink } from './fakes.ts';

const ABLE = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} };
const INFO = '{"name":"s","version":"1"}';
const ELICIT = { method: 'elicitation/create', params: { message: 'who?' } };

/** A caller as the transport makes them: one request, which cannot be asked. */
const lone = (capabilities: object): Caller => {
  const caller: Caller = { era: 'modern', holder: {}, declared: { capabilities: capabilities as Caller['declared']['capabilities'] }, canAsk: () => false, ask() {}, withdraw() {} };
  return caller;
};

function parking({ limits = {}, connected = true }: { limits?: Partial<Limits>; connected?: boolean } = {}) {
  const clock = noon();
  const world = testWorld(clock, { limits });
  let link = new FakeLink();
  const relay: Relay = new Relay('fs', world, {
    onWanted: () => undefined,
    onRequest: (exchange, request) => {
      // As the server does with what names a state.
      if (!request.layout.params.some(({ name }) => name === 'requestState')) return 'forward';
      parked.retry(exchange, request);
      return 'handled';
    },
    onWrite: (message) => legacyEdits(message),
    goesOn: () => false,
    onAnswer: (_exchange, _method, raw, id) => [addressed(raw, id)],
    onNotification: (notification) => questions.cancelled(JSON.parse(notification.raw.toString()).params.requestId, 'because'),
    onChildRequest: (request, from) => questions.ask(request, from),
    onLost: () => questions.down(),
    onPending: () => {},
  });
  const questions = new ServerRequests(relay, () => undefined, world);
  const parked = new Parked(relay, world, () => ({ era: 'legacy', revision: '2025-11-25', capabilities: {}, raw: Buffer.from(`{"serverInfo":${INFO}}`) }));
  const connect = (): void => {
    link = new FakeLink();
    relay.connect(link, () => {});
  };
  if (connected) connect();
  const says = (message: object): void => relay.receive([bytes({ jsonrpc: '2.0', ...message })]);
  return {
    clock,
    relay,
    parked,
    connect,
    says,
    get link() {
      return link;
    },
    asks: (id: unknown, { method, params }: { method: string; params?: object } = ELICIT): void => says({ id, method, params }),
    /** A request of a client, and its HTTP request. */
    send: (params: object, { id = 1, method = 'tools/call', capabilities = ABLE, streams = true }: { id?: unknown; method?: string; capabilities?: object; streams?: boolean } = {}): FakeExchange => {
      const leg = new FakeExchange({ jsonrpc: '2.0', id, method, params }, { caller: lone(capabilities), streams });
      parked.dispatch(leg, leg.request);
      return leg;
    },
    /** The same with the text as it is written. */
    sendText: (text: string): FakeExchange => {
      const leg = new FakeExchange(text, { caller: lone(ABLE) });
      parked.dispatch(leg, leg.request);
      return leg;
    },
    /** What the child was told about a question. */
    told: (id: unknown): any => link.messages.find((message) => message.method === undefined && message.id === id),
    methods: (): string[] => link.messages.map(({ method = 'answer' }) => method),
  };
}

const asked = (leg: FakeExchange): any => {
  const { id, result } = leg.outcome as any;
  assert.deepEqual([id, result.resultType], [leg.request.id, 'input_required']);
  return result;
};

describe('a question', () => {
  test('is passed on with those of the 20 ms behind it, neither sooner nor later', () => {
    const it = parking();
    const leg = it.send({ name: 'book' });
    it.asks('a');
    it.clock.advance(19);
    it.asks('b', { method: 'roots/list' });
    assert.equal(leg.outcome, undefined);
    it.clock.advance(1);
    const { requestState, ...result } = asked(leg);
    assert.deepEqual(result, { resultType: 'input_required', _meta: { 'io.modelcontextprotocol/serverInfo': JSON.parse(INFO) }, inputRequests: { 'elicitation-1': ELICIT, 'roots-2': { method: 'roots/list' } } });
    assert.match(requestState, /^[0-9a-f]{32}$/);
    assert.equal(it.relay.pending, 1);
  });

  test('goes to the calls that may need input, and to no other (P6)', () => {
    for (const [method, may] of [['tools/call', true], ['prompts/get', true], ['resources/read', true], ['tools/list', false], ['completion/complete', false], ['vendor/own', false]] as const) {
      const it = parking();
      const leg = it.send({ name: 'book' }, { method });
      it.asks('q');
      it.clock.advance(20);
      if (may) asked(leg);
      else assert.deepEqual([leg.outcome, it.told('q').error.code], [undefined, -32601], method);
    }
  });

  test('and its answer are the bytes that were written, but for ids (R-5)', () => {
    const it = parking();
    const leg = it.send({ name: 'book' });
    it.relay.receive([Buffer.from('{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"b":1e400,"a":9007199254740993,"elicitationId":1}}')]);
    it.clock.advance(20);
    const [text] = leg.answers;
    assert.ok(String(text).includes('"inputRequests":{"elicitation-1":{"method":"elicitation/create","params":{"b":1e400,"a":9007199254740993}}}'), String(text));
    const { requestState } = asked(leg);
    it.sendText(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"book","requestState":"${requestState}","inputResponses":{"elicitation-1":{ "action":"accept" ,"content":{"n":9007199254740993,"ż":1e400}}}}}`);
    assert.equal(it.link.lines.at(-1), '{"jsonrpc":"2.0","id":"q","result":{ "action":"accept" ,"content":{"n":9007199254740993,"ż":1e400}}}');
  });

  test('and an answer over several lines, of which one looks like a message, is one line to the child', () => {
    const it = parking();
    const leg = it.send({ name: 'book' });
    it.asks('q');
    it.clock.advance(20);
    const { requestState } = asked(leg);
    it.sendText(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"book","requestState":"${requestState}","inputResponses":{"elicitation-1":{"action":"accept","own":\n{"jsonrpc":"2.0","id":1,"method":"ping"}\n}}}}`);
    assert.equal(it.link.lines.at(-1), '{"jsonrpc":"2.0","id":"q","result":{"action":"accept","own": {"jsonrpc":"2.0","id":1,"method":"ping"} }}');
  });

  test('that is answered twice in one retry has the answer that was judged', () => {
    const it = parking();
    const leg = it.send({ name: 'book' });
    it.asks('q');
    it.clock.advance(20);
    const { requestState } = asked(leg);
    const retry = (first: string, second: string): FakeExchange =>
      it.sendText(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"book","requestState":"${requestState}","inputResponses":{"elicitation-1":${first},"elicitation-1":${second}}}}`);
    assert.equal(retry('"nonsense"', '{"action":"accept"}').outcome, 'invalid_params');
    assert.equal(it.told('q'), undefined);
    retry('{"action":"decline"}', '"nonsense"');
    assert.deepEqual(it.told('q').result, { action: 'decline' });
  });

  test('ends a call whose client did not declare this, with what it would have had to declare (R-59b)', () => {
    const it = parking();
    const leg = it.send({ name: 'book' }, { capabilities: { sampling: {} } });
    it.asks('q');
    assert.deepEqual([leg.outcome, it.told('q').error.code, it.relay.pending], ['missing_capability', -32601, 0]);
  });
});

describe('the next leg of a call', () => {
  test('has its own id and progress token, and hears what comes from then on; what came in between is dropped', () => {
    const it = parking();
    const leg = it.send({ name: 'book', _meta: { progressToken: 'first' } }, { id: 'a' });
    const { id } = it.link.last;
    const progress = (n: number): void => it.says({ method: 'notifications/progress', params: { progressToken: id, progress: n } });
    progress(1);
    it.asks('q');
    it.clock.advance(20);
    progress(2);
    const retry = { name: 'book', requestState: asked(leg).requestState, inputResponses: { 'elicitation-1': { action: 'cancel' } } };
    const next = it.send({ ...retry, _meta: { progressToken: 7 } }, { id: 'b' });
    progress(3);
    it.says({ id, result: { content: [] } });
    assert.deepEqual(leg.notified.map((text) => JSON.parse(text).params), [{ progressToken: 'first', progress: 1 }]);
    assert.deepEqual(next.notified.map((text) => JSON.parse(text).params), [{ progressToken: 7, progress: 3 }]);
    assert.deepEqual([(next.outcome as any).id, leg.answers.length, it.relay.pending], ['b', 1, 0]);
    assert.deepEqual(it.methods(), ['tools/call', 'answer']);
  });

  test('hears no progress without a token of its own, whether or not the first leg had one', () => {
    for (const _meta of [{ progressToken: 1 }, {}]) {
      const it = parking();
      const leg = it.send({ name: 'book', _meta });
      const { id } = it.link.last;
      it.asks('q');
      it.clock.advance(20);
      const next = it.send({ name: 'book', requestState: asked(leg).requestState, inputResponses: { 'elicitation-1': { action: 'cancel' } } });
      it.says({ method: 'notifications/progress', params: { progressToken: id, progress: 1 } });
      assert.deepEqual([next.notified, next.outcome], [[], undefined]);
    }
  });

  test('is told who it is not: of another method, of other params, of a state that was used', () => {
    const it = parking();
    const leg = it.send({ name: 'book' });
    it.asks('q');
    it.clock.advance(20);
    const { requestState } = asked(leg);
    for (const [params, method] of [[{ name: 'book' }, 'prompts/get'], [{ name: 'look' }, 'tools/call'], [{ name: 'book', more: null }, 'tools/call'], [{}, 'tools/call']] as const) {
      assert.equal(it.send({ ...params, requestState }, { method }).outcome, 'request_state');
    }
    const next = it.send({ name: 'book', requestState }, { id: 2 });
    assert.notEqual(asked(next).requestState, requestState);
    assert.equal(it.send({ name: 'book', requestState }).outcome, 'request_state');
  });

  test('may take as long as it likes: the call is not silent while its client thinks (R-38)', () => {
    const it = parking({ limits: { requestTimeoutMs: 1_000 } });
    const leg = it.send({ name: 'book' });
    it.clock.advance(900);
    it.asks('q');
    it.clock.advance(299_000);
    const next = it.send({ name: 'book', requestState: asked(leg).requestState, inputResponses: { 'elicitation-1': { action: 'accept' } } });
    it.clock.advance(999);
    assert.equal(next.outcome, undefined);
    it.clock.advance(1);
    assert.equal(next.outcome, 'timeout');
    assert.equal(it.methods().at(-1), 'notifications/cancelled');
  });
});

test('a call that has its answer is forgotten, whether or not it was parked', () => {
  const it = parking();
  const plain = it.send({ name: 'plain' });
  it.says({ id: 1, result: {} });
  const asking = it.send({ name: 'book' });
  it.asks('q');
  it.clock.advance(20);
  const { requestState } = asked(asking);
  const retry = it.send({ name: 'book', requestState, inputResponses: { 'elicitation-1': { action: 'accept' } } }, { id: 2 });
  it.says({ id: 2, result: {} });
  assert.ok([plain, retry].every(({ outcome }) => outcome !== undefined));
  assert.deepEqual([plain, asking, retry].map((leg) => it.parked.cancel(leg, 'it left')), [false, false, false]);
});

test('the time in which a client has to return is over once it has', () => {
  const it = parking({ limits: { requestTimeoutMs: 0 } });
  const leg = it.send({ name: 'book' });
  it.asks('q');
  it.clock.advance(20);
  const next = it.send({ name: 'book', requestState: asked(leg).requestState, inputResponses: { 'elicitation-1': { action: 'accept' } } }, { id: 2 });
  it.clock.advance(600_000);
  assert.deepEqual(it.methods(), ['tools/call', 'answer']);
  it.says({ id: 1, result: {} });
  assert.deepEqual(next.outcome, { jsonrpc: '2.0', id: 2, result: {} });
});

describe('a call of which its client lets go leaves nothing', () => {
  type World = ReturnType<typeof parking>;
  const phases: readonly (readonly [phase: string, until: (it: World) => FakeExchange, heard: readonly string[]])[] = [
    ['while it waits for its child', (it) => it.send({ name: 'book' }), []],
    ['while it runs', (it) => (it.connect(), it.send({ name: 'book' })), ['tools/call', 'notifications/cancelled']],
    ['while questions are collected', (it) => {
      it.connect();
      const leg = it.send({ name: 'book' });
      it.asks('q');
      return leg;
    }, ['tools/call', 'answer', 'notifications/cancelled']],
    ['while its retry waits for the child', (it) => {
      it.connect();
      const leg = it.send({ name: 'book' });
      it.asks('q');
      it.clock.advance(20);
      return it.send({ name: 'book', requestState: asked(leg).requestState, inputResponses: { 'elicitation-1': { action: 'accept' } } });
    }, ['tools/call', 'answer', 'notifications/cancelled']],
    ['while its retry waits and the child asks more', (it) => {
      it.connect();
      const leg = it.send({ name: 'book' });
      it.asks('q');
      it.clock.advance(20);
      const next = it.send({ name: 'book', requestState: asked(leg).requestState, inputResponses: { 'elicitation-1': { action: 'accept' } } });
      it.asks('r');
      return next;
    }, ['tools/call', 'answer', 'answer', 'notifications/cancelled']],
  ];
  for (const [phase, until, heard] of phases) {
    test(`${phase} (P5)`, () => {
      const it = parking({ connected: false });
      const leg = until(it);
      assert.equal(it.parked.cancel(leg, 'the client disconnected'), true);
      assert.equal(it.parked.cancel(leg, 'again'), false);
      assert.equal(it.relay.pending, 0);
      if (heard.length === 0) it.connect();
      it.clock.advance(3_600_000);
      assert.deepEqual(it.methods(), heard);
      assert.deepEqual(leg.answers, [], 'nobody is there to be answered');
      // The next client is not taken for the one who left.
      const next = it.send({ name: 'look' }, { id: 'next' });
      it.asks('s');
      it.clock.advance(20);
      asked(next);
    });
  }

  test('not even a state, when it does not return in time', () => {
    const it = parking();
    const leg = it.send({ name: 'book' });
    it.asks('q');
    it.clock.advance(20);
    const { requestState } = asked(leg);
    it.clock.advance(300_000);
    assert.deepEqual([it.methods(), it.relay.pending, it.told('q').error.data.reason], [['tools/call', 'answer', 'notifications/cancelled'], 0, 'no_client']);
    assert.equal(it.send({ name: 'book', requestState }).outcome, 'request_state');
  });
});

describe('a parked call that ends by itself', () => {
  for (const [how, end, outcome] of [
    ['an answer', (it: ReturnType<typeof parking>) => it.says({ id: 1, result: { content: [] } }), { jsonrpc: '2.0', id: 2, result: { content: [] } }],
    ['the loss of its child', (it: ReturnType<typeof parking>) => it.relay.down(fault('child_exited')), 'child_exited'],
    ['the end of its server', (it: ReturnType<typeof parking>) => it.parked.end(fault('reconfigured')), 'reconfigured'],
    ['its time', (it: ReturnType<typeof parking>) => it.parked.end(fault('timeout')), 'timeout'],
  ] as const) {
    test(`with ${how} keeps that for one retry, also when no child runs any more (P7)`, () => {
      const it = parking();
      const leg = it.send({ name: 'book' });
      it.asks('q');
      it.clock.advance(20);
      const { requestState } = asked(leg);
      end(it);
      assert.equal(it.relay.pending, 0);
      it.clock.advance(299_000);
      it.relay.down(fault('child_exited'));
      it.parked.end(fault('shutdown')); // too late
      assert.equal(it.send({ name: 'look', requestState }).outcome, 'request_state');
      const next = it.send({ name: 'book', requestState, inputResponses: { 'elicitation-1': 'nonsense' } }, { id: 2 });
      assert.deepEqual([next.outcome, leg.answers.length], [outcome, 1]);
      it.connect();
      assert.equal(it.send({ name: 'book', requestState }).outcome, 'request_state');
    });
  }

  test('is forgotten when its time is over, and counts for P8 until then', () => {
    const it = parking({ limits: { maxParked: 1, requestTimeoutMs: 0 } });
    it.send({ name: 'book' });
    it.asks('q');
    it.clock.advance(20);
    it.says({ id: 1, result: {} });
    const second = it.send({ name: 'look' }, { id: 2 });
    it.asks('r');
    assert.equal(it.told('r').error.data.reason, 'no_client');
    it.clock.advance(300_000);
    it.asks('s');
    it.clock.advance(20);
    assert.deepEqual(Object.keys(asked(second).inputRequests), ['elicitation-1']);
  });

  test('keeps what there is room for beside the others, and the retry of any other is told that its answer is lost', () => {
    const it = parking({ limits: { maxKeptBytes: 1_000 } });
    const park = (name: string): string => {
      const leg = it.send({ name });
      it.asks(name);
      it.clock.advance(20);
      return asked(leg).requestState;
    };
    const states = ['a', 'b', 'c', 'd'].map((name, k) => {
      const requestState = park(name);
      it.says({ id: k + 1, result: { content: [], x: 'x'.repeat(k === 0 ? 2_000 : 400) } });
      return { name, requestState };
    });
    const [big, ...rest] = states.map((retry) => it.send(retry).outcome as any);
    assert.equal(big.result.x.length, 2_000);
    assert.deepEqual(rest, ['busy', 'busy', 'busy']);
    const again = ['e', 'f', 'g'].map((name, k) => {
      const requestState = park(name);
      it.says({ id: k + 5, result: { content: [], x: 'x'.repeat(400) } });
      return { name, requestState };
    });
    assert.deepEqual(again.map((retry) => it.send(retry).outcome).map((outcome: any) => outcome.result?.x.length ?? outcome), [400, 400, 'busy']);
  });
});
