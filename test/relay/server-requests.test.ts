import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProxyError } from '../../src/base/errors.ts';
import { LIMITS } from '../../src/config/limits.ts';
import { lonelyCaller, type Caller, type Exchange, type Question } from '../../src/relay/exchange.ts';
import type { Relay } from '../../src/relay/relay.ts';
import { ServerRequests } from '../../src/relay/server-requests.ts';
import { readMessage, type RpcRequest } from '../../src/wire/jsonrpc.ts';
import { noon, testWorld } from '../child/world.ts';
import { bytes, call, FakeLink, TestRelay } from './fakes.ts';

type Candidates = ReturnType<Relay['candidates']>;

/** A client that can be asked, and keeps what it is asked. */
class Asked implements Caller {
  readonly era: Caller['era'];
  readonly holder = this;
  readonly declared = { capabilities: {} };
  readonly questions: Question[] = [];
  readonly withdrawn: (readonly [Question, string])[] = [];
  readonly #able: boolean;

  constructor(able = true, era: Caller['era'] = 'legacy') {
    this.era = era;
    this.#able = able;
  }

  canAsk(): boolean {
    return this.#able;
  }

  ask(question: Question): void {
    this.questions.push(question);
  }

  withdraw(question: Question, reason: string): void {
    this.withdrawn.push([question, reason]);
  }
}

/** Callers in flight: so many, each with a running call or with none but gone ones. */
function candidates(running: number | readonly Caller[], gone: number, blurred = false, sole?: Caller): Candidates {
  const callers = new Map<Caller, Exchange | 'gone'>();
  for (const caller of typeof running === 'number' ? Array.from({ length: running }, lonelyCaller) : running) callers.set(caller, call());
  for (let k = 0; k < gone; k++) callers.set(lonelyCaller(), 'gone');
  return { callers, blurred, sole };
}

/** A child that asks, among these candidates. */
function asking(those: Candidates, { owner, ...limits }: { owner?: Caller; maxQuestions?: number; maxQuestionBytes?: number } = {}) {
  const clock = noon();
  const patience: (readonly ['suspend' | 'resume', Caller])[] = [];
  const relay = {
    candidates: () => those,
    suspend: (caller: Caller) => void patience.push(['suspend', caller]),
    resume: (caller: Caller) => void patience.push(['resume', caller]),
  } as unknown as Relay;
  const requests = new ServerRequests(relay, () => owner, testWorld(clock, { limits }));
  const link = new FakeLink();
  return {
    requests,
    clock,
    link,
    patience,
    ask: (method: string, id: unknown = 1, params: unknown = {}): void => {
      requests.ask(readMessage(bytes({ jsonrpc: '2.0', id, method, params }), LIMITS) as RpcRequest, link);
    },
    /** What the child was told since the last look. */
    told: (): any[] => link.lines.splice(0).map((line) => JSON.parse(line)),
  };
}

/** The error that the child gets at once. */
function refusal(method: string, those: Candidates): { code: number; message: string; data: { reason: string } } {
  const it = asking(those);
  it.ask(method);
  const [answer, ...more] = it.told();
  assert.deepEqual([answer.id, more, it.patience], [1, [], []]);
  return answer.error;
}

const AMBIGUOUS = [-32603, 'ambiguous_client'] as const;
const NOBODY = [-32603, 'no_client'] as const;
const UNABLE = [-32601, 'client_capability'] as const;

/** Candidates, and what the child is told about sampling or elicitation, and about roots. */
const TABLE: readonly (readonly [string, Candidates, readonly [number, string], readonly [number, string]])[] = [
  ['nobody is in flight', candidates(0, 0), AMBIGUOUS, NOBODY],
  ['nobody is known to be in flight', candidates(0, 0, true), AMBIGUOUS, NOBODY],
  ['one simple client is in flight', candidates(1, 0), UNABLE, UNABLE],
  ['the only caller is gone', candidates(0, 1), NOBODY, NOBODY],
  ['two callers are in flight', candidates(2, 0), AMBIGUOUS, AMBIGUOUS],
  ['two callers are in flight and one can answer', candidates([new Asked(), lonelyCaller()], 0), AMBIGUOUS, AMBIGUOUS],
  ['one is in flight and one is gone', candidates(1, 1), AMBIGUOUS, AMBIGUOUS],
  ['two are gone', candidates(0, 2), AMBIGUOUS, AMBIGUOUS],
  ['one is in flight and somebody may be forgotten', candidates(1, 0, true), AMBIGUOUS, AMBIGUOUS],
  ['one that can answer is in flight and somebody may be forgotten', candidates([new Asked()], 0, true), AMBIGUOUS, AMBIGUOUS],
  ['one is gone and somebody may be forgotten', candidates(0, 1, true), AMBIGUOUS, AMBIGUOUS],
  ['nobody is in flight and the only session so far may not be the only one', candidates(0, 0, true, new Asked()), AMBIGUOUS, NOBODY],
  ['nobody is in flight and the only session so far cannot answer', candidates(0, 0, false, new Asked(false)), UNABLE, NOBODY],
];

for (const [when, those, asked, roots] of TABLE) {
  test(`when ${when} a request of the child reaches no client, and the child is told why (R-58 to R-59d)`, () => {
    for (const [method, expected] of [['sampling/createMessage', asked], ['elicitation/create', asked], ['roots/list', roots]] as const) {
      const { code, data } = refusal(method, those);
      assert.deepEqual([code, data.reason], expected, method);
    }
  });
}

test('a method that is none of a client is unknown, whoever is in flight', () => {
  for (const those of [candidates(0, 0), candidates(1, 0), candidates(2, 1, true), candidates([new Asked()], 0)]) {
    for (const method of ['tools/call', 'initialize', 'tasks/get', 'no/such', '', 'constructor', 'Sampling/createMessage']) {
      const { code, message } = refusal(method, those);
      assert.deepEqual([code, message], [-32601, `Method not found: ${method}`]);
    }
  }
});

test('what the child is told names the method and how many clients share it', () => {
  assert.equal(refusal('sampling/createMessage', candidates(3, 2)).message, 'Cannot attribute sampling/createMessage: 5 clients share this process');
  assert.equal(refusal('elicitation/create', candidates(1, 0)).message, 'Client does not support elicitation/create');
});

test('over a relay the same is decided by the calls that the child has not answered', () => {
  const it = new TestRelay();
  const requests = new ServerRequests(it.relay, () => undefined, testWorld(it.clock));
  const reason = (): string => {
    const link = new FakeLink();
    requests.ask(readMessage(bytes({ jsonrpc: '2.0', id: 1, method: 'elicitation/create' }), LIMITS) as RpcRequest, link);
    return link.last.error.data.reason;
  };
  const [a, b] = [call('a'), call('b')];
  assert.equal(reason(), 'ambiguous_client');
  it.dispatch(a);
  assert.equal(reason(), 'client_capability');
  it.dispatch(b);
  assert.equal(reason(), 'ambiguous_client');
  it.answers(1);
  assert.equal(reason(), 'client_capability');
  it.relay.cancel(b, 'it left');
  assert.equal(reason(), 'no_client');
  it.answers(2);
  assert.equal(reason(), 'ambiguous_client');
});

// ---- questions that reach a client

for (const [who, those, owner] of [
  ['the only caller in flight', (caller: Caller) => candidates([caller], 0), false],
  ['the only session that the process has ever served', (caller: Caller) => candidates(0, 0, false, caller), false],
  ['the owner of the process, whoever is in flight', () => candidates(2, 1, true), true],
] as const) {
  test(`a question goes to ${who}, once, and the answer back as it was written, under the id of the child`, () => {
    for (const id of [1, '1', 'ż', 0]) {
      const caller = new Asked();
      const it = asking(those(caller), owner ? { owner: caller } : {});
      it.ask('sampling/createMessage', id, { n: 1 });
      assert.deepEqual([it.told(), it.patience], [[], [['suspend', caller]]]);
      const [question, ...more] = caller.questions;
      assert.deepEqual([JSON.parse(question!.request.raw.toString()).params, more], [{ n: 1 }, []]);
      question!.answer(bytes({ jsonrpc: '2.0', id: 'of the client', result: { x: 'ż' } }));
      assert.deepEqual(it.told(), [{ jsonrpc: '2.0', id, result: { x: 'ż' } }]);
      assert.deepEqual(it.patience.slice(1), [['resume', caller]]);
      question!.answer(bytes({ jsonrpc: '2.0', id: 2, result: {} }));
      assert.deepEqual([it.told(), it.patience.length], [[], 2], 'a second answer is none');
    }
  });
}

test('roots are asked for only where a call is in flight, or of the owner of the process (R-59d)', () => {
  for (const [those, owner] of [[candidates([new Asked()], 0), undefined], [candidates(0, 0), new Asked()]] as const) {
    const caller = owner ?? ([...those.callers.keys()][0] as Asked);
    const it = asking(those, owner === undefined ? {} : { owner });
    it.ask('roots/list');
    assert.deepEqual([caller.questions.length, it.told()], [1, []]);
  }
});

test('an error of the client and a fault on the way reach the child as errors', () => {
  const caller = new Asked();
  const it = asking(candidates([caller], 0));
  it.ask('elicitation/create', 'a');
  it.ask('elicitation/create', 'b');
  caller.questions[0]!.answer(bytes({ jsonrpc: '2.0', id: 9, error: { code: -1, message: 'rejected' } }));
  caller.questions[1]!.answer(new ProxyError('no_client', 'No answer'));
  assert.deepEqual(it.told(), [
    { jsonrpc: '2.0', id: 'a', error: { code: -1, message: 'rejected' } },
    { jsonrpc: '2.0', id: 'b', error: { code: -32603, message: 'No answer', data: { source: 'mcp-proxy', reason: 'no_client' } } },
  ]);
});

test('an answer that its client has written over several lines reaches the child as one: no line of it is a message', () => {
  const caller = new Asked();
  const it = asking(candidates([caller], 0));
  it.ask('elicitation/create', 'q');
  const raw = Buffer.from('{"jsonrpc":"2.0","id":1,"result":\r\n{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}\n}');
  caller.questions[0]!.answer(raw);
  assert.deepEqual(it.link.lines, ['{"jsonrpc":"2.0","id":"q","result":  {"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}} }']);
});

test('an id that is in use is refused, 1 and "1" are two, and an answered one may be used again', () => {
  const caller = new Asked();
  const it = asking(candidates([caller], 0));
  it.ask('elicitation/create', 1);
  it.ask('elicitation/create', '1');
  assert.deepEqual([caller.questions.length, it.told()], [2, []]);
  it.ask('elicitation/create', 1);
  assert.deepEqual(it.told().map(({ id, error }) => [id, error.code]), [[1, -32600]]);
  caller.questions[0]!.answer(bytes({ jsonrpc: '2.0', id: 1, result: {} }));
  it.told();
  it.ask('elicitation/create', 1);
  assert.deepEqual([caller.questions.length, it.told()], [3, []]);
});

test('a question that is not answered for as long as a call may last is taken back, and the child is told; an answered one leaves no deadline', () => {
  const caller = new Asked();
  const it = asking(candidates([caller], 0), { maxQuestions: 4 });
  for (const id of ['answered', 'cancelled', 'waits']) it.ask('elicitation/create', id);
  caller.questions[0]!.answer(bytes({ jsonrpc: '2.0', id: 1, result: {} }));
  it.requests.cancelled('"cancelled"', 'enough');
  it.told();
  it.clock.advance(3_599_999);
  it.ask('elicitation/create', 'later');
  assert.deepEqual(it.told(), []);
  it.clock.advance(1);
  assert.deepEqual(it.told().map(({ id, error }) => [id, error.data.reason]), [['waits', 'no_client']]);
  assert.deepEqual(caller.withdrawn.map(([question]) => caller.questions.indexOf(question)), [1, 2]);
  caller.questions[2]!.answer(bytes({ jsonrpc: '2.0', id: 1, result: {} }));
  assert.deepEqual([it.told(), it.patience.filter(([how]) => how === 'resume').length], [[], 3]);
  it.requests.down();
  assert.equal(it.clock.pending, 1, 'the timer of all deadlines, for one that was not over');
  it.clock.advance(3_600_000);
  assert.deepEqual([it.told(), it.clock.pending], [[], 0]);
});

test('a child has a bounded number of open questions', () => {
  const caller = new Asked();
  const it = asking(candidates([caller], 0), { maxQuestions: 2 });
  for (const id of [1, 2, 3]) it.ask('elicitation/create', id);
  assert.deepEqual(it.told().map(({ id, error }) => [id, error.code, error.data.reason]), [[3, -32603, 'busy']]);
  caller.questions[0]!.answer(bytes({ jsonrpc: '2.0', id: 1, result: {} }));
  it.told();
  it.ask('elicitation/create', 4);
  assert.deepEqual([caller.questions.length, it.told()], [3, []]);
});

test('open questions are bounded in bytes as well; one that is larger than the bound may be asked alone', () => {
  const caller = new Asked();
  const it = asking(candidates([caller], 0), { maxQuestionBytes: 1_000 });
  const ask = (id: number, bytes: number): void => it.ask('elicitation/create', id, { x: 'x'.repeat(bytes) });
  ask(1, 2_000);
  ask(2, 1);
  assert.deepEqual(it.told().map(({ id, error }) => [id, error.code, error.data.reason]), [[2, -32603, 'busy']]);
  it.requests.cancelled('1', 'over');
  for (const id of [3, 4, 5]) ask(id, 400);
  assert.deepEqual(it.told().map(({ id, error }) => [id, error.data.reason]), [[5, 'busy']]);
  assert.equal(caller.questions.length, 3);
});

test('a child that does not read is owed every answer, but of a big one only the reason why it has none', () => {
  const caller = new Asked();
  const it = asking(candidates([caller], 0));
  for (const id of ['small', 'big', 'none']) it.ask('elicitation/create', id);
  it.link.full = true;
  it.ask('no/such/method', 'refused');
  caller.questions[0]!.answer(bytes({ jsonrpc: '2.0', id: 1, result: { text: 'x'.repeat(10_000) } }));
  caller.questions[1]!.answer(bytes({ jsonrpc: '2.0', id: 2, result: { text: 'x'.repeat(100_000) } }));
  caller.questions[2]!.answer(new ProxyError('no_client', 'No answer'));
  assert.deepEqual(it.told().map(({ id, result, error }) => [id, result?.text.length ?? error.data.reason]), [
    ['refused', 'method_not_found'], ['small', 10_000], ['big', 'busy'], ['none', 'no_client'],
  ]); // prettier-ignore
});

test('a question that the child cancels, and every one when it exits, is withdrawn, and its answer goes nowhere (R-36, R-152)', () => {
  for (const [what, end, withdrawn] of [
    ['cancelled', (requests: ServerRequests) => (requests.cancelled('1', 'enough'), requests.cancelled('1', 'again'), requests.cancelled('7', 'unknown')), [[0, 'enough']]],
    ['down', (requests: ServerRequests) => (requests.down(), requests.down()), [[0, 'the server has exited'], [1, 'the server has exited']]],
  ] as const) {
    const caller = new Asked();
    const it = asking(candidates([caller], 0));
    it.ask('elicitation/create', 1);
    it.ask('elicitation/create', 2);
    end(it.requests);
    assert.deepEqual(caller.withdrawn.map(([question, reason]) => [caller.questions.indexOf(question), reason]), withdrawn, what);
    assert.equal(it.patience.filter(([how]) => how === 'resume').length, withdrawn.length);
    caller.questions[0]!.answer(bytes({ jsonrpc: '2.0', id: 1, result: {} }));
    assert.deepEqual(it.told(), [], what);
  }
});

test('who was sent to a URL is known until the process is gone, for so many URLs at most (R-56)', () => {
  const callers = Array.from({ length: 3 }, () => new Asked());
  let those = candidates([callers[0]!], 0);
  const it = asking({ get callers() { return those.callers; }, blurred: false, sole: undefined }, { maxQuestions: 2 }); // prettier-ignore
  for (const [k, caller] of callers.entries()) {
    those = candidates([caller], 0);
    it.ask('elicitation/create', k, { mode: 'url', elicitationId: `e${k}` });
    caller.questions[0]!.answer(bytes({ jsonrpc: '2.0', id: 1, result: {} }));
    assert.equal(it.requests.elicited(`e${k}`), caller.holder);
  }
  assert.deepEqual(['e0', 'e1', 'e2', 'other', undefined].map((id) => it.requests.elicited(id)), [undefined, callers[1], callers[2], undefined, undefined]);
  it.requests.down();
  assert.equal(it.requests.elicited('e2'), undefined);
});

test('a client that has left is not remembered for where it was sent, and one that cannot be told never is', () => {
  const [left, stays, modern] = [new Asked(), new Asked(), new Asked(true, 'modern')];
  let those = candidates([left], 0);
  const it = asking({ get callers() { return those.callers; }, blurred: false, sole: undefined }); // prettier-ignore
  for (const [id, caller] of [['e', left], ['f', stays], ['g', left], ['h', modern]] as const) {
    those = candidates([caller], 0);
    it.ask('elicitation/create', id, { mode: 'url', elicitationId: id });
  }
  it.requests.leave(left);
  assert.deepEqual(['e', 'f', 'g', 'h'].map((id) => it.requests.elicited(id)), [undefined, stays, undefined, undefined]);
});
