import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Deadlines, systemClock, type Deadline } from '../../src/base/clock.ts';
import { fakeClock } from '../support/clock.ts';

test('the system clock calls once, not before its time, and never after it was cancelled', async () => {
  const start = systemClock.now();
  const calls: string[] = [];
  const cancelled = systemClock.after(1, () => calls.push('cancelled'));
  cancelled.cancel();
  cancelled.cancel();
  const fired = await new Promise<number>((resolve) => {
    const timer = systemClock.after(20, () => {
      calls.push('fired');
      timer.cancel();
      resolve(systemClock.now());
    });
  });
  await new Promise<void>((resolve) => void systemClock.after(0, resolve));
  // Node rounds what has passed to whole milliseconds.
  assert.ok(fired - start >= 19, `after ${fired - start} ms`);
  assert.deepEqual(calls, ['fired']);
});

test('the system clock shows the time in ISO 8601, of now and of so many milliseconds ago', () => {
  for (const agoMs of [undefined, 0, 1, 86_400_000]) {
    const before = Date.now();
    const shown = systemClock.timestamp(agoMs);
    assert.match(shown, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const meant = Date.parse(shown) + (agoMs ?? 0);
    assert.ok(meant >= before && meant <= Date.now(), shown);
  }
});

test('every deadline expires at its own time, in whatever order they were added', () => {
  for (const durations of orders([10, 20, 20, 30, 0])) {
    const { clock, deadlines, expired } = start();
    for (const ms of durations) deadlines.add(ms, expired);
    assert.ok(clock.pending <= 1);
    clock.advance(100);
    assert.deepEqual(expired.at, [0, 10, 20, 20, 30]);
    assert.equal(clock.pending, 0);
  }
});

test('deadlines that are cancelled never expire, and restarted ones at their new time: every choice for three', () => {
  type Act = (deadline: Deadline) => void;
  const acts: readonly (readonly [act: Act, at: (ms: number) => number | undefined])[] = [
    [() => {}, (ms) => ms],
    [(deadline) => deadline.cancel(), () => undefined],
    [(deadline) => deadline.restart(50), () => 55],
    [(deadline) => deadline.restart(1), () => 6],
    [(deadline) => (deadline.restart(1), deadline.restart(40)), () => 45],
    [(deadline) => (deadline.cancel(), deadline.restart(1)), () => undefined],
  ];
  for (const one of acts) for (const two of acts) for (const three of acts) {
    const { clock, deadlines, expired } = start();
    const list = [10, 20, 30].map((ms) => deadlines.add(ms, expired));
    clock.advance(5);
    const expected = [one, two, three].map(([act, at], k) => {
      act(list[k]!);
      return at(10 * (k + 1));
    });
    assert.ok(clock.pending <= 1);
    clock.advance(100);
    assert.deepEqual(expired.at, expected.filter((at) => at !== undefined).sort((a, b) => a - b));
    assert.equal(clock.pending, 0);
  }
});

test('a deadline that has expired is over: it can be cancelled and restarted without any effect', () => {
  const { clock, deadlines, expired } = start();
  const deadline = deadlines.add(10, expired);
  clock.advance(10);
  deadline.cancel();
  deadline.restart(10);
  clock.advance(100);
  assert.deepEqual(expired.at, [10]);
  assert.equal(clock.pending, 0);
});

test('a thousand deadlines hang on one timer', () => {
  const { clock, deadlines, expired } = start();
  const list = Array.from({ length: 1_000 }, (_, k) => deadlines.add(1_000 - k, expired));
  for (const deadline of list) deadline.restart(2_000);
  assert.equal(clock.pending, 1);
  clock.advance(1_999);
  assert.deepEqual([expired.at.length, clock.pending], [0, 1]);
  clock.advance(1);
  assert.deepEqual([expired.at.length, clock.pending], [1_000, 0]);
});

test('one that expires may add, cancel and restart others', () => {
  const { clock, deadlines, expired } = start();
  deadlines.add(10, () => {
    deadlines.add(5, expired);
    deadlines.add(0, expired);
    doomed.cancel();
    late.restart(20);
  });
  const doomed = deadlines.add(10, () => assert.fail('was cancelled in time'));
  const late = deadlines.add(25, expired);
  clock.advance(100);
  assert.deepEqual(expired.at, [10, 15, 30]);
});

test('one that expires may restart another whose time has come, too', () => {
  const { clock, deadlines, expired } = start();
  deadlines.add(10, () => other.restart(20));
  const other = deadlines.add(10, expired);
  clock.advance(100);
  assert.deepEqual(expired.at, [30]);
});

test('after close() nothing expires and no timer is left, also when one that expires closes', () => {
  const { clock, deadlines, expired } = start();
  const deadline = deadlines.add(10, expired);
  deadlines.close();
  deadlines.close();
  deadline.restart(1);
  assert.equal(clock.pending, 0);
  clock.advance(100);
  assert.deepEqual(expired.at, []);

  deadlines.add(10, () => deadlines.close());
  deadlines.add(10, expired);
  deadlines.add(20, expired);
  clock.advance(100);
  assert.deepEqual([expired.at, clock.pending], [[], 0]);
});

test('a timer that fires early, as those of Node may, makes no deadline expire early', () => {
  const clock = fakeClock();
  const early = { ...clock, now: () => clock.now(), after: (ms: number, then: () => void) => clock.after(Math.max(1, ms - 3), then) };
  const at: number[] = [];
  new Deadlines(early).add(100, () => at.push(clock.now()));
  clock.advance(200);
  assert.deepEqual(at, [100]);
});

function start() {
  const clock = fakeClock();
  const at: number[] = [];
  const expired = Object.assign(() => void at.push(clock.now()), { at });
  return { clock, deadlines: new Deadlines(clock), expired };
}

function orders<T>(list: readonly T[]): T[][] {
  return list.length === 0 ? [[]] : list.flatMap((one, k) => orders(list.toSpliced(k, 1)).map((rest) => [one, ...rest]));
}
