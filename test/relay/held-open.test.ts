// Calls that are held open while their client is asked, one event at a time: who is settled how often, what is
// withdrawn, and what the child hears. Whole conversations are in road/held-open.test.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProxyError } from '../../src/base/errors.ts';
import { LIMITS, type Limits } from '../../src/config/limits.ts';
import type { Caller, Question } from '../../src/relay/exchange.ts';
import { HeldOpen } from '../../src/relay/held-open.ts';
import { readMessage } from '../../src/wire/jsonrpc.ts';
import { testWorld } from '../child/world.ts';
import { nested } from '../wire/nasty.ts';
import { bytes, fault, FakeExchange, TestRelay } from './fakes.ts';

/** A client that keeps what it is asked until the test answers. */
class Asked implements Caller {
  readonly era = 'legacy';
  readonly holder = this;
  readonly declared = { capabilities: {} };
  readonly questions: Question[] = [];
  readonly withdrawn: (readonly [method: string, reason: string])[] = [];
  able = true;

  canAsk(): boolean {
    return this.able;
  }

  ask(question: Question): void {
    this.questions.push(question);
  }

  withdraw(question: Question, reason: string): void {
    this.withdrawn.push([question.request.method, reason]);
  }

  /** Answers the n-th question that it was asked. */
  answer(n: number, outcome: object | ProxyError): void {
    const raw = bytes({ jsonrpc: '2.0', id: 0, ...outcome });
    this.questions[n]?.answer(outcome instanceof ProxyError ? outcome : raw);
  }
}

const ROOTS = { a: { method: 'roots/list' } };
const BOTH = { ...ROOTS, b: { method: 'sampling/createMessage', params: { n: 1 } } };
const requires = (inputRequests?: object, requestState?: string): object => ({ resultType: 'input_required', inputRequests, requestState });

function held(method = 'tools/call', params: object = { n: 1 }, limits: Partial<Limits> = {}) {
  const test = new TestRelay({ limits });
  const held = new HeldOpen(test.relay, testWorld(test.clock, { limits }));
  const caller = new Asked();
  const exchange = new FakeExchange({ jsonrpc: '2.0', id: 'mine', method, params }, { caller });
  test.edits = () => []; // the era's part is not at issue
  test.deal = (exchange, request) => held.tap(exchange, request);
  test.dispatch(exchange);
  return {
    test,
    held,
    caller,
    exchange,
    /** The child answers the last request that it got. */
    says: (result: object) => test.answers(test.link.last.id, result),
    cancel: () => {
      held.cancel(exchange);
      test.relay.cancel(exchange, 'cancelled');
    },
    lose: () => {
      held.end(fault('child_exited'));
      test.relay.down(fault('child_exited'));
    },
  };
}

test('a call whose second leg is at the child is cancelled there, under the id of that leg', () => {
  const it = held();
  it.says(requires(ROOTS, 's'));
  it.caller.answer(0, { result: { roots: [] } });
  const { id, params } = it.test.link.last;
  assert.deepEqual(params, { n: 1, inputResponses: { a: { roots: [] } }, requestState: 's' });
  it.cancel();
  assert.deepEqual(it.test.link.last.params, { requestId: id, reason: 'cancelled' });
  it.says({ late: true });
  assert.deepEqual([it.exchange.answers, it.caller.withdrawn, it.test.relay.pending], [[], [], 0]);
});

test('a second leg that the child does not read makes its call busy, and one that is lost gets the reason', () => {
  const full = held();
  full.says(requires(ROOTS));
  full.test.link.full = true;
  full.caller.answer(0, { result: {} });
  assert.equal(full.exchange.outcome, 'busy');
  const lost = held();
  lost.says(requires(ROOTS));
  lost.caller.answer(0, { result: {} });
  lost.lose();
  assert.equal(lost.exchange.outcome, 'child_exited');
  assert.deepEqual([full.test.relay.pending, lost.test.relay.pending], [0, 0]);
});

test('a call that has as many members as are allowed is called again with what was asked for all the same', () => {
  const it = held('tools/call', Object.fromEntries(Array.from({ length: LIMITS.maxMembers }, (_, k) => [`k${k}`, k])));
  it.says(requires(ROOTS, 's'));
  it.caller.answer(0, { result: { roots: [] } });
  assert.deepEqual(it.test.link.last.params.inputResponses, { a: { roots: [] } });
  it.says({ content: [] });
  assert.deepEqual(it.exchange.outcome, { jsonrpc: '2.0', id: 'mine', result: { content: [] } });
});

test('an answer that is no input_required passes as it came, whatever it says in its text', () => {
  for (const result of [{ content: [] }, { content: [{ type: 'text', text: '"input_required"' }] }, { resultType: 'complete' }, { n: 1 }]) {
    const it = held();
    it.says(result);
    assert.deepEqual(it.exchange.outcome, { jsonrpc: '2.0', id: 'mine', result });
  }
});

test('a server that asks in a way that MCP does not know gets no input, and its call an error', () => {
  const ways = [
    {},
    { inputRequests: {} },
    { inputRequests: [] },
    { inputRequests: 7 },
    { inputRequests: { a: { method: 'tools/list' } } },
    { inputRequests: { a: { params: {} } } },
    { inputRequests: { a: { method: 'roots/list', params: [] } } },
    { inputRequests: { a: 'roots/list' } },
    { requestState: 7 },
    { inputRequests: ROOTS, requestState: {} },
  ];
  for (const way of ways) {
    const it = held();
    it.says({ resultType: 'input_required', ...way });
    assert.equal(it.exchange.outcome, 'bad_answer', JSON.stringify(way));
    assert.deepEqual([it.caller.questions, it.test.relay.pending], [[], 0]);
  }
});

test('a client that cannot be asked one of several things is asked none of them', () => {
  const it = held();
  it.caller.able = false;
  it.says(requires(BOTH));
  assert.deepEqual([it.caller.questions, (it.exchange.outcome as any).result.isError], [[], true]);
});

test('what clients have answered, and servers have asked, counts among what is kept until the call goes on', () => {
  const text = 'x'.repeat(1_000);
  const it = held('tools/call', {}, { maxKeptBytes: 1_500 });
  it.says(requires(BOTH));
  it.caller.answer(0, { result: { text } });
  it.caller.answer(1, { result: { text } });
  assert.match((it.exchange.outcome as any).result.content[0].text, /too much waits/);
  assert.deepEqual([it.caller.withdrawn, it.test.relay.pending], [[], 0]);
  const asks = held('prompts/get', {}, { maxKeptBytes: 1_500 });
  const other = new FakeExchange({ jsonrpc: '2.0', id: 1, method: 'tools/call' });
  asks.test.relay.park(other, other.request);
  asks.says(requires({ a: { method: 'sampling/createMessage', params: { text: text + text } } }));
  assert.deepEqual([asks.exchange.outcome, asks.caller.questions, asks.test.relay.pending], ['busy', [], 1]);
  asks.test.relay.cancel(other);
  for (const { test } of [it, asks]) {
    // And all of it is given back.
    assert.equal(test.relay.park(other, other.request, 1_000 - other.request.raw.length) && test.relay.keep(other, 500), true);
    assert.equal(test.relay.keep(other, 1), false);
  }
});

test('an answer that is as deep as a message may be, and so too deep in a call, ends its call', () => {
  const it = held();
  it.says(requires(ROOTS));
  const raw = bytes(`{"jsonrpc":"2.0","id":0,"result":${nested(250_001, '[', ']')}}`);
  assert.equal(readMessage(raw, LIMITS).kind, 'response');
  it.caller.questions[0]?.answer(raw);
  assert.deepEqual([(it.exchange.outcome as any).result.isError, it.test.relay.pending], [true, 0]);
});

test('what is asked of a prompt or a resource and not answered is an error with a reason', () => {
  for (const method of ['prompts/get', 'resources/read']) {
    const it = held(method);
    it.says(requires(ROOTS));
    it.caller.answer(0, new ProxyError('no_client', 'No client stream'));
    assert.deepEqual(it.exchange.answers, [['input_failed', `Input for ${method} could not be obtained: No client stream`]]);
  }
});

test('in every order of up to four events a call is settled once, or not at all when it was cancelled, and no dialog stays open', () => {
  type Event = 'a' | 'b' | 'refuse a' | 'cancel' | 'lose' | 'end' | 'timeout';
  const EVENTS: readonly Event[] = ['a', 'b', 'refuse a', 'cancel', 'lose', 'end', 'timeout'];
  let runs = 0;
  const run = (events: readonly Event[]): void => {
    const it = held();
    it.says(requires(BOTH, 's'));
    const closed = new Set<number>();
    const once = (n: number, outcome: object): void => {
      if (it.caller.withdrawn.length === 0) closed.add(n);
      it.caller.answer(n, outcome);
    };
    let ended = false; // by something other than both answers
    for (const event of events) {
      const waits = it.exchange.answers.length === 0 && !ended && closed.size < 2;
      switch (event) {
        case 'a':
          once(0, { result: { roots: [] } });
          break;
        case 'b':
          once(1, { result: { model: 'm' } });
          break;
        case 'refuse a':
          if (!closed.has(0) && waits) ended = true;
          once(0, { error: { code: -1, message: 'no' } });
          break;
        case 'cancel':
          ended = true;
          it.cancel();
          break;
        case 'lose':
          ended = true;
          it.lose();
          break;
        case 'end':
          if (waits) ended = true;
          it.held.end(fault('reconfigured'));
          break;
        case 'timeout':
          if (waits) ended = true;
          it.test.clock.advance(LIMITS.roundMs);
      }
    }
    runs++;
    const { length } = it.exchange.answers;
    const what = events.join(', ');
    assert.ok(length <= 1, `${what}: settled ${length} times`);
    const wants = events.includes('cancel') ? 0 : 1;
    if (ended && length === 0) assert.equal(wants, 0, `${what}: not settled`);
    const retries = it.test.link.lines.flatMap((line) => /"inputResponses":\{(.*)\},"requestState":"s"/.exec(line)?.[1] ?? []);
    assert.ok(retries.length <= 1, `${what}: ${retries.length} retries`);
    if (retries.length === 1) assert.deepEqual(retries[0]?.split(/,(?=")/).sort(), ['"a":{"roots":[]}', '"b":{"model":"m"}'], what);
    if (ended && retries.length === 0) assert.equal(closed.size + it.caller.withdrawn.length, 2, `${what}: a dialog stays open, or is withdrawn twice`);
    if (ended) assert.equal(it.test.relay.pending, 0, what);
  };
  const orders = (left: number, so: readonly Event[]): void => {
    run(so);
    if (left > 0) for (const event of EVENTS) orders(left - 1, [...so, event]);
  };
  orders(4, []);
  assert.equal(runs, 1 + 7 + 49 + 343 + 2401);
});
