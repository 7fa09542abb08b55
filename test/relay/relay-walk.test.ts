// The relay against a model of it: every short sequence of events, and long random ones.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, fault, FakeExchange, FakeLink, TestRelay } from './fakes.ts';

type At = 'waiting' | 'in flight' | 'over';
type Child = 'none' | 'there' | 'draining';

const OPS = ['answer', 'cancel', 'timeout', 'down', 'drain', 'drained', 'connect', 'refuse'] as const;
type Op = (typeof OPS)[number];

for (const connected of [true, false]) {
  test(`a request that ${connected ? 'is written' : 'waits'} is settled once by whatever comes first, in every order of up to four events`, () => {
    const orders = (length: number): Op[][] => (length === 0 ? [[]] : orders(length - 1).flatMap((ops) => OPS.map((op) => [...ops, op])));
    for (const ops of orders(4)) inOrder(ops, connected);
  });
}

function inOrder(ops: readonly Op[], connected: boolean): void {
  const it = new TestRelay({ connected });
  const exchange = call('c');
  const dispatchedAt = it.clock.now();
  it.dispatch(exchange);
  let at = (connected ? 'in flight' : 'waiting') as At;
  let child = (connected ? 'there' : 'none') as Child;
  let expected: string[] = [];
  const end = (when: At, ...outcome: string[]): void => {
    if (at !== when) return;
    at = 'over';
    expected = outcome;
  };
  const wait = (ms: number): void => {
    it.clock.advance(ms);
    if (it.clock.now() - dispatchedAt >= 50_000) end('waiting', 'starting');
    if (child === 'draining') end('in flight', 'reconfigured');
    if (ms === 300_000) end('in flight', 'timeout');
  };
  for (const op of ops) {
    switch (op) {
      case 'answer':
        it.answers(1, 'answered');
        end('in flight', 'answer');
        break;
      case 'cancel':
        it.relay.cancel(exchange, 'it left');
        if (at !== 'over') end(at);
        break;
      case 'timeout':
        wait(300_000);
        break;
      case 'drained':
        wait(10_000);
        break;
      case 'down':
        it.relay.down(fault('child_exited'));
        end('in flight', 'child_exited');
        child = 'none';
        break;
      case 'drain':
        if (child === 'none') break; // what does not run is not drained
        it.relay.drain(10_000, fault('reconfigured'), () => {});
        child = 'draining';
        break;
      case 'connect':
        if (child !== 'none') break; // one child at a time
        it.connect();
        child = 'there';
        if (at === 'waiting') at = 'in flight';
        break;
      case 'refuse':
        it.relay.refuse(fault('unavailable'));
        end('waiting', 'unavailable');
        break;
    }
    if (child === 'draining' && at !== 'in flight') child = 'none';
    const got = exchange.answers.map((answer) => (typeof answer === 'string' ? 'answer' : answer[0]));
    const pending = at === 'over' ? 0 : 1;
    const seen = [got.join(), it.relay.pending, it.told, it.relay.connected].join(' ');
    assert.equal(seen, [expected.join(), pending, pending, child !== 'none'].join(' '), ops.join(', '));
  }
}

// ---- random walks

const SEEDS = 100;
const STEPS = 1_000;
const MAX_PENDING = 12;
const TOMBSTONE_MS = 60_000;
const BIG = 'x'.repeat(16_384);

/** One request in the model. */
interface Walker {
  readonly exchange: FakeExchange;
  readonly asksProgress: boolean;
  readonly dispatchedAt: number;
  at: At;
  /** Where it was written, under which id and when; and when it was heard of last. */
  link: FakeLink | undefined;
  childId: number;
  writtenAt: number;
  heardAt: number;
  /** When its client left or was told that it timed out, as long as the child has not answered it. */
  goneAt: number | undefined;
  /** What it must have got: its answer, the reason of a fault, or nothing. */
  expected: string | undefined;
  progress: number;
}

/** Numbers that a seed decides, so that a walk can be taken again. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % sides;
  };
}

class Walk {
  readonly #roll: (sides: number) => number;
  readonly #it = new TestRelay({ connected: false, limits: { maxPending: MAX_PENDING } });
  #walkers: Walker[] = [];
  #child: Child = 'none';
  #drainEnd = Infinity;
  #drains = 0;
  #drained = 0;

  constructor(roll: (sides: number) => number) {
    this.#roll = roll;
  }

  take(steps: number): void {
    const ops = [this.dispatch, this.dispatch, this.dispatch, this.answer, this.answer, this.strange, this.progress, this.cancel, this.wait, this.down, this.connect, this.drain, this.refuse, this.clog];
    for (let step = 0; step < steps; step++) {
      const op = this.#oneOf(ops);
      op.call(this);
      if (this.#child === 'draining' && !this.#walkers.some(({ at }) => at === 'in flight')) this.#gone();
      this.#check(`step ${step}, ${op.name}`);
    }
    this.#it.relay.refuse(fault('unavailable'));
    this.#it.relay.down(fault('child_exited'));
    this.#end('waiting', 'unavailable');
    this.#end('in flight', 'child_exited');
    this.#gone();
    this.#check('the end');
    assert.equal(this.#it.relay.pending, 0);
  }

  dispatch(): void {
    const id = JSON.stringify(this.#oneOf([1, '1', 'ż', 2]));
    const asksProgress = this.#roll(2) === 0;
    const exchange = new FakeExchange(`{"jsonrpc":"2.0","id":${id},"method":"m","params":{${asksProgress ? `"_meta":{"progressToken":${id}}` : ''}}}`);
    const now = this.#it.clock.now();
    const busy = this.#walkers.filter(({ at }) => at !== 'over').length >= MAX_PENDING;
    const walker: Walker = { exchange, asksProgress, dispatchedAt: now, at: 'waiting', link: undefined, childId: 0, writtenAt: 0, heardAt: 0, goneAt: undefined, expected: undefined, progress: 0 };
    this.#it.dispatch(exchange);
    this.#walkers.push(walker);
    if (busy || (this.#child === 'there' && this.#it.link.full)) Object.assign(walker, { at: 'over', expected: 'busy' });
    else if (this.#child === 'there') this.#written(walker, this.#it.link.last.id);
  }

  answer(): void {
    if (this.#child === 'none') return;
    const walker = this.#oneOf(this.#walkers.filter(({ link }) => link === this.#it.link)); // whether it still waits or not
    if (walker === undefined) return;
    const result = JSON.stringify({ for: walker.childId, pad: this.#roll(4) === 0 ? BIG : '' });
    const answer = this.#oneOf([
      (id: string | number) => `{"jsonrpc":"2.0","id":${id},"result":${result}}`,
      (id: string | number) => `{"result":${result},"jsonrpc":"2.0","id":${id}}`,
      (id: string | number) => `{"jsonrpc":"2.0","error":${result},"id":${id}}`,
    ]);
    this.#it.says(answer(walker.childId));
    if (walker.at === 'in flight') Object.assign(walker, { at: 'over', expected: answer(textOfId(walker)) });
    walker.goneAt = undefined;
  }

  /** An answer, or progress, that is nobody's. */
  strange(): void {
    const id = this.#oneOf(['-1', '0', '1000000', '"1"', '"ż"', '1.5']);
    if (this.#roll(2) === 0) this.#it.says(`{"jsonrpc":"2.0","id":${id},"result":"${this.#roll(2) === 0 ? BIG : 'wrong'}"}`);
    else this.#it.says(progressOf(id));
  }

  progress(): void {
    if (this.#child === 'none') return;
    const walker = this.#oneOf(this.#walkers.filter(({ link }) => link === this.#it.link));
    if (walker === undefined) return;
    this.#it.says(progressOf(walker.childId));
    if (walker.at !== 'in flight' || !walker.asksProgress) return;
    walker.progress++;
    walker.heardAt = this.#it.clock.now();
  }

  cancel(): void {
    const walker = this.#oneOf(this.#walkers);
    if (walker === undefined) return;
    this.#it.relay.cancel(walker.exchange, 'it left');
    if (walker.at === 'in flight') walker.goneAt = this.#it.clock.now();
    walker.at = 'over';
  }

  wait(): void {
    const { clock } = this.#it;
    clock.advance(this.#oneOf([1, 1_000, 20_000, 49_000, 200_000]));
    const now = clock.now();
    this.#end('waiting', 'starting', ({ dispatchedAt }) => dispatchedAt + 50_000 <= now);
    const until = Math.min(now, this.#drainEnd);
    for (const walker of this.#walkers) {
      const timeout = Math.min(walker.heardAt + 300_000, walker.writtenAt + 3_600_000);
      if (walker.at === 'in flight' && timeout <= until) Object.assign(walker, { at: 'over', expected: 'timeout', goneAt: timeout });
    }
    if (this.#drainEnd <= now) this.#end('in flight', 'reconfigured');
  }

  down(): void {
    if (this.#roll(4) > 0) return;
    this.#it.relay.down(fault('child_exited'));
    this.#end('in flight', 'child_exited');
    this.#gone();
  }

  connect(): void {
    if (this.#child !== 'none') return;
    this.#it.connect();
    this.#child = 'there';
    const waiting = this.#walkers.filter(({ at }) => at === 'waiting');
    const written = this.#it.link.messages;
    assert.equal(written.length, waiting.length);
    waiting.forEach((walker, k) => this.#written(walker, written[k].id));
  }

  drain(): void {
    if (this.#child === 'none' || this.#roll(4) > 0) return;
    if (this.#child === 'there') this.#drains++;
    const ms = this.#oneOf([1_000, 10_000, 30_000]);
    this.#drainEnd = Math.min(this.#drainEnd, this.#it.clock.now() + ms);
    this.#child = 'draining';
    this.#it.relay.drain(ms, fault('reconfigured'), () => this.#drained++);
  }

  refuse(): void {
    if (this.#roll(6) > 0) return;
    this.#it.relay.refuse(fault('unavailable'));
    this.#end('waiting', 'unavailable');
  }

  /** The child stops to read, or begins again. */
  clog(): void {
    this.#it.link.full = !this.#it.link.full && this.#roll(3) === 0;
  }

  #written(walker: Walker, childId: number): void {
    const now = this.#it.clock.now();
    Object.assign(walker, { at: 'in flight', link: this.#it.link, childId, writtenAt: now, heardAt: now });
  }

  #end(at: At, expected: string, which: (walker: Walker) => boolean = () => true): void {
    for (const walker of this.#walkers) if (walker.at === at && which(walker)) Object.assign(walker, { at: 'over', expected });
  }

  #gone(): void {
    this.#child = 'none';
    this.#drainEnd = Infinity;
  }

  #check(when: string): void {
    const { relay } = this.#it;
    assert.equal(relay.pending, this.#walkers.filter(({ at }) => at !== 'over').length, `pending requests after ${when}`);
    assert.equal(this.#it.told, relay.pending, `pending requests that are known of after ${when}`);
    assert.equal(relay.connected, this.#child !== 'none', `whether there is a child after ${when}`);
    assert.equal(this.#drained, this.#drains - (this.#child === 'draining' ? 1 : 0), `ended drains after ${when}`);
    for (const { exchange, expected, progress } of this.#walkers) {
      const got = exchange.answers.map((each) => (typeof each === 'string' ? each : each[0]));
      if (got.length > 1 || got[0] !== expected) assert.deepEqual(got, [expected], `the answer to ${exchange.request.raw} after ${when}`);
      assert.equal(exchange.notified.length, progress, `progress of ${exchange.request.raw} after ${when}`);
      if (progress > 0) assert.ok(exchange.notified.every((message) => message === progressOf(textOfId({ exchange }))));
    }
    this.#checkCandidates(when);
    // The oldest of those that are over need no further look; the others go on being told what is not theirs.
    const over = this.#walkers.filter((walker) => walker.at === 'over' && !this.#isTombstone(walker));
    const enough = new Set(over.slice(0, Math.max(0, over.length - 30)));
    this.#walkers = this.#walkers.filter((walker) => !enough.has(walker));
  }

  /** The calls that this child has not answered, gone ones included for a while, are all whose work it can be about. */
  #checkCandidates(when: string): void {
    const { callers, blurred } = this.#it.relay.candidates();
    if (this.#child === 'none' || blurred) return;
    const expected = this.#walkers.filter((walker) => this.#isTombstone(walker) || (walker.at === 'in flight' && walker.link === this.#it.link));
    assert.equal(callers.size, expected.length, `candidates after ${when}`);
    for (const { exchange, at } of expected) assert.equal(callers.get(exchange.caller), at === 'over' ? 'gone' : exchange, `candidates after ${when}`);
  }

  #isTombstone({ goneAt, link }: Walker): boolean {
    return goneAt !== undefined && link === this.#it.link && this.#it.clock.now() < goneAt + TOMBSTONE_MS;
  }

  #oneOf<T>(list: readonly T[]): T {
    return list[this.#roll(list.length || 1)] as T;
  }
}

/** The id as the client wrote it; its token is the same. */
function textOfId({ exchange }: Pick<Walker, 'exchange'>): string {
  return Buffer.from(exchange.idText, 'latin1').toString();
}

function progressOf(token: string | number): string {
  return `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":0.10}}`;
}

test(`in ${SEEDS} random walks of ${STEPS} steps every request is settled at most once, with what is its own, and none is forgotten`, () => {
  for (let seed = 0; seed < SEEDS; seed++) {
    try {
      new Walk(dice(seed)).take(STEPS);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
});
