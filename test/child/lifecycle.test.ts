import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStarting, restartsOf, statusOf, step, STOPPED, type Effect, type Event, type Policy, type State, type Status } from '../../src/child/lifecycle.ts';

const POLICY: Policy = { autoRestart: true, maxRestarts: 3, backoffFirstMs: 1_000, backoffMaxMs: 30_000, backoffJitter: 0.2, halfOpenMs: 60_000 };

type Type = Event['type'];
const TYPES: readonly Type[] = ['start', 'turn', 'ready', 'healthy', 'drained', 'backoff-over', 'idle', 'failed', 'gone', 'restart', 'stop', 'respawn'];

function event(type: Type, now = 0, jitter = 0): Event {
  switch (type) {
    case 'start':
    case 'gone':
      return { type, now };
    case 'failed':
      return { type, now, jitter };
    case 'restart':
    case 'stop':
      return { type };
    default:
      return { type };
  }
}

/** Takes the events one after the other; what is asserted is left to the caller. */
function after(state: State, types: readonly Type[], policy = POLICY, now = 0): State {
  return types.reduce((reached, type) => step(reached, event(type, now), policy)[0], state);
}

// ---- the invariants, by a model of the effects that knows the states only by name

/** What the effects so far have done to the world: is there a process, and has its stop begun? */
type Process = 'none' | 'there' | 'stopping';

const PROCESS: Readonly<Record<State['is'], Process>> = {
  stopped: 'none',
  waiting: 'none',
  starting: 'there',
  running: 'there',
  draining: 'there',
  stopping: 'stopping',
  backoff: 'none',
  error: 'none',
};

/** Checks one step and says what has become of the process. */
function check(before: State, type: Type, after: State, effects: readonly Effect[], process: Process): Process {
  let then: Process = process === 'stopping' && type === 'gone' ? 'none' : process;
  for (const effect of effects) {
    if (effect === 'spawn') {
      assert.equal(then, 'none', 'two processes at once');
      then = 'there';
    } else if (effect === 'stop') {
      assert.equal(then, 'there', 'the stop of a process begins once, and only if there is one');
      then = 'stopping';
    } else if (effect === 'drain') {
      assert.equal(then, 'there', 'only what runs is drained');
      assert.equal(after.is, 'draining');
    }
  }
  assert.equal(PROCESS[after.is], then, `"${after.is}" with the process ${then}`);
  assert.equal(effects.includes('queue'), after.is === 'waiting' && before.is !== 'waiting', 'a turn is asked for on entering "waiting"');
  if (before.is === 'running' && effects.includes('stop')) assert.ok(type === 'failed' || type === 'idle', `${type} stops without a drain`);
  if (before.is === 'running' && (type === 'stop' || type === 'restart')) assert.deepEqual(effects, ['drain']);
  if ('next' in after) assert.ok(PROCESS[after.next.is] === 'none' || (after.next.is === 'starting' && after.next.plain), 'what follows a process has none');
  if (type === 'respawn' && after !== before) assert.ok(before.is === 'starting' && !before.plain, 'a start without a probe is not repeated');
  if (after !== before) return then;
  assert.deepEqual(effects, [], 'what changes nothing does nothing');
  return then;
}

test('every event in every state that can be reached keeps one process at most, drained before it is stopped', () => {
  // Only differences of times count, so the clock is small, and a state is looked at from "now".
  const policies: Policy[] = [];
  for (const autoRestart of [true, false]) {
    for (const maxRestarts of [0, 1, 3]) policies.push({ autoRestart, maxRestarts, backoffFirstMs: 2, backoffMaxMs: 4, backoffJitter: 0.5, halfOpenMs: 3 });
  }
  const kinds = new Set<string>();
  for (const policy of policies) {
    const seen = new Set<string>();
    const found: { readonly state: State; readonly process: Process; readonly path: readonly string[] }[] = [];
    const visit = (state: State, process: Process, path: readonly string[]): void => {
      const key = JSON.stringify([state, process]);
      if (seen.has(key)) return;
      seen.add(key);
      kinds.add(state.is);
      found.push({ state, process, path });
    };
    visit(STOPPED, 'none', []);
    for (const { state, process, path } of found) {
      for (const type of TYPES) {
        for (const jitter of type === 'failed' ? [-1, 0, 1] : [0]) {
          const [next, effects] = step(state, event(type, 0, jitter), policy);
          try {
            visit(next, check(state, type, next, effects, process), [...path, type]);
          } catch (error) {
            throw new Error(`after ${[...path, type].join(', ')}, from ${JSON.stringify(state)}: ${(error as Error).message}`, { cause: error });
          }
        }
      }
      visit(later(state, policy), process, [...path, '1 ms']);
      assert.ok(found.length < 5_000, 'the states do not come to an end');
    }
  }
  assert.deepEqual([...kinds].sort(), Object.keys(PROCESS).sort());
});

/** The same state a millisecond later: what is long past looks the same from then on. */
function later(state: State, policy: Policy): State {
  if ('next' in state) return { ...state, next: later(state.next, policy) } as State;
  if (state.is === 'backoff') return { ...state, until: Math.max(0, state.until - 1) };
  if (state.is === 'error') return { ...state, at: Math.max(-policy.halfOpenMs, state.at - 1) };
  return state;
}

test('through every sequence of up to five events a process is spawned only after the one before it was stopped and is gone', () => {
  let sequences = 0;
  const walk = (state: State, process: Process, spawned: number, gone: number, path: readonly Type[]): void => {
    sequences++;
    if (path.length === 5) return;
    for (const type of TYPES) {
      const now = 100_000 * path.length; // every delay is over when the next event comes
      const [next, effects] = step(state, event(type, now), POLICY);
      const spawns = spawned + (effects.includes('spawn') ? 1 : 0);
      const ends = gone + (process === 'stopping' && type === 'gone' ? 1 : 0);
      let then: Process;
      try {
        then = check(state, type, next, effects, process);
        assert.equal(spawns - ends, then === 'none' ? 0 : 1);
      } catch (error) {
        throw new Error(`after ${[...path, type].join(', ')}: ${(error as Error).message}`, { cause: error });
      }
      walk(next, then, spawns, ends, [...path, type]);
    }
  };
  for (const from of [STOPPED, after(STOPPED, ['start', 'turn', 'ready'])]) {
    walk(from, PROCESS[from.is], from === STOPPED ? 0 : 1, 0, []);
  }
  assert.equal(sequences, 2 * ((TYPES.length ** 6 - 1) / (TYPES.length - 1)));
});

// ---- what every event does in every state

const waiting = { is: 'waiting', restarts: 0, again: false, halfOpen: false } as const;
const again = { ...waiting, again: true } as const;
const backoff = { is: 'backoff', restarts: 2, until: 5_000 } as const;
const error = { is: 'error', restarts: 3, at: 0 } as const;

/** A state, its status, its restarts, and where each event leads; an event that is not named changes nothing. */
const TABLE: readonly (readonly [State, Status, number, Partial<Record<Type, readonly [State, ...Effect[]]>>])[] = [
  [STOPPED, 'stopped', 0, { start: [waiting, 'queue'], restart: [again, 'queue'], stop: [STOPPED] }],
  [waiting, 'starting', 0, { turn: [{ ...waiting, is: 'starting', plain: false }, 'spawn'], restart: [again], stop: [STOPPED] }],
  [{ ...again, restarts: 2 }, 'restarting', 2, { turn: [{ ...again, is: 'starting', plain: false, restarts: 2 }, 'spawn'], restart: [again], stop: [STOPPED] }],
  [
    { ...waiting, is: 'starting', plain: false },
    'starting',
    0,
    {
      ready: [{ is: 'running', restarts: 0 }],
      failed: [{ is: 'stopping', next: { is: 'backoff', restarts: 1, until: 2_000 }, idle: false }, 'stop'],
      restart: [{ is: 'stopping', next: again, idle: false }, 'stop'],
      respawn: [{ is: 'stopping', next: { ...waiting, is: 'starting', plain: true }, idle: false }, 'stop'],
      stop: [{ is: 'stopping', next: STOPPED, idle: false }, 'stop'],
    },
  ],
  [
    { ...again, is: 'starting', plain: false, restarts: 2 },
    'restarting',
    2,
    {
      ready: [{ is: 'running', restarts: 2 }],
      failed: [{ is: 'stopping', next: { is: 'backoff', restarts: 3, until: 5_000 }, idle: false }, 'stop'],
      restart: [{ is: 'stopping', next: again, idle: false }, 'stop'],
      respawn: [{ is: 'stopping', next: { ...again, is: 'starting', plain: true, restarts: 2 }, idle: false }, 'stop'],
      stop: [{ is: 'stopping', next: STOPPED, idle: false }, 'stop'],
    },
  ],
  [
    { ...waiting, is: 'starting', plain: false, restarts: 3, halfOpen: true },
    'starting',
    3,
    {
      ready: [{ is: 'running', restarts: 0 }],
      failed: [{ is: 'stopping', next: { is: 'error', restarts: 3, at: 1_000 }, idle: false }, 'stop'],
      restart: [{ is: 'stopping', next: again, idle: false }, 'stop'],
      respawn: [{ is: 'stopping', next: { ...waiting, is: 'starting', plain: true, restarts: 3, halfOpen: true }, idle: false }, 'stop'],
      stop: [{ is: 'stopping', next: STOPPED, idle: false }, 'stop'],
    },
  ],
  [
    { ...again, is: 'starting', plain: true, restarts: 2 },
    'restarting',
    2,
    {
      ready: [{ is: 'running', restarts: 2 }],
      failed: [{ is: 'stopping', next: { is: 'backoff', restarts: 3, until: 5_000 }, idle: false }, 'stop'],
      restart: [{ is: 'stopping', next: again, idle: false }, 'stop'],
      stop: [{ is: 'stopping', next: STOPPED, idle: false }, 'stop'],
    },
  ],
  [
    { is: 'stopping', next: { ...again, is: 'starting', plain: true, restarts: 2 }, idle: false },
    'restarting',
    2,
    {
      gone: [{ ...again, is: 'starting', plain: true, restarts: 2 }, 'spawn'],
      restart: [{ is: 'stopping', next: again, idle: false }],
      stop: [{ is: 'stopping', next: STOPPED, idle: false }],
    },
  ],
  [
    { is: 'running', restarts: 2 },
    'running',
    2,
    {
      healthy: [{ is: 'running', restarts: 0 }],
      failed: [{ is: 'stopping', next: { is: 'backoff', restarts: 3, until: 5_000 }, idle: false }, 'stop'],
      restart: [{ is: 'draining', next: again }, 'drain'],
      stop: [{ is: 'draining', next: STOPPED }, 'drain'],
      idle: [{ is: 'stopping', next: STOPPED, idle: true }, 'stop'],
    },
  ],
  [
    { is: 'draining', next: STOPPED },
    'stopped',
    0,
    {
      start: [{ is: 'draining', next: waiting }],
      drained: [{ is: 'stopping', next: STOPPED, idle: false }, 'stop'],
      failed: [{ is: 'stopping', next: STOPPED, idle: false }, 'stop'],
      restart: [{ is: 'draining', next: again }, 'drain'],
      stop: [{ is: 'draining', next: STOPPED }, 'drain'],
    },
  ],
  [
    { is: 'draining', next: again },
    'restarting',
    0,
    {
      drained: [{ is: 'stopping', next: again, idle: false }, 'stop'],
      failed: [{ is: 'stopping', next: again, idle: false }, 'stop'],
      restart: [{ is: 'draining', next: again }, 'drain'],
      stop: [{ is: 'draining', next: STOPPED }, 'drain'],
    },
  ],
  [
    { is: 'draining', next: waiting },
    'starting',
    0,
    {
      drained: [{ is: 'stopping', next: waiting, idle: false }, 'stop'],
      failed: [{ is: 'stopping', next: waiting, idle: false }, 'stop'],
      restart: [{ is: 'draining', next: again }, 'drain'],
      stop: [{ is: 'draining', next: STOPPED }, 'drain'],
    },
  ],
  [
    { is: 'stopping', next: STOPPED, idle: false },
    'stopped',
    0,
    {
      start: [{ is: 'stopping', next: waiting, idle: false }],
      gone: [STOPPED],
      restart: [{ is: 'stopping', next: again, idle: false }],
      stop: [{ is: 'stopping', next: STOPPED, idle: false }],
    },
  ],
  [
    { is: 'stopping', next: STOPPED, idle: true },
    'running',
    0,
    {
      start: [{ is: 'stopping', next: waiting, idle: true }],
      gone: [STOPPED],
      restart: [{ is: 'stopping', next: again, idle: false }],
      stop: [{ is: 'stopping', next: STOPPED, idle: false }],
    },
  ],
  [
    { is: 'stopping', next: waiting, idle: true },
    'starting',
    0,
    {
      gone: [waiting, 'queue'],
      restart: [{ is: 'stopping', next: again, idle: false }],
      stop: [{ is: 'stopping', next: STOPPED, idle: false }],
    },
  ],
  [
    { is: 'stopping', next: backoff, idle: false },
    'restarting',
    2,
    {
      gone: [backoff],
      restart: [{ is: 'stopping', next: again, idle: false }],
      stop: [{ is: 'stopping', next: STOPPED, idle: false }],
    },
  ],
  [
    { is: 'stopping', next: { ...backoff, until: 1_000 }, idle: false }, // over before the process was gone
    'restarting',
    2,
    {
      gone: [{ ...again, restarts: 2 }, 'queue'],
      restart: [{ is: 'stopping', next: again, idle: false }],
      stop: [{ is: 'stopping', next: STOPPED, idle: false }],
    },
  ],
  [
    { is: 'stopping', next: error, idle: false },
    'error',
    3,
    {
      gone: [error],
      restart: [{ is: 'stopping', next: again, idle: false }],
      stop: [{ is: 'stopping', next: STOPPED, idle: false }],
    },
  ],
  [backoff, 'restarting', 2, { 'backoff-over': [{ ...again, restarts: 2 }, 'queue'], restart: [again, 'queue'], stop: [STOPPED] }],
  [error, 'error', 3, { restart: [again, 'queue'], stop: [STOPPED] }],
  [{ ...error, at: 1_000 - 60_000 }, 'error', 3, { start: [{ ...waiting, restarts: 3, halfOpen: true }, 'queue'], restart: [again, 'queue'], stop: [STOPPED] }],
];

test('a turn is held, or waited for, until the start is over, the second one without a probe included', () => {
  const starting = { ...waiting, is: 'starting', plain: true } as const;
  for (const state of [waiting, starting, { is: 'stopping', next: starting, idle: false }] as const) assert.equal(isStarting(state), true);
  for (const [state] of TABLE) {
    if (state.is === 'stopping' && state.next.is === 'waiting') assert.equal(isStarting(state), false);
    if (['stopped', 'running', 'draining', 'backoff', 'error'].includes(state.is)) assert.equal(isStarting(state), false);
  }
});

for (const [state, status, restarts, moves] of TABLE) {
  test(`${JSON.stringify(state)} is "${status}" with ${restarts} restarts and obeys ${Object.keys(moves).join(', ')} only`, () => {
    assert.equal(statusOf(state), status);
    assert.equal(restartsOf(state), restarts);
    for (const type of TYPES) {
      const [expected, ...effects] = moves[type] ?? [state];
      assert.deepEqual(step(state, event(type, 1_000), POLICY), [expected, effects], type);
    }
  });
}

// ---- failures in a row

/** Fails at every start, as fast as the lifecycle lets it. Returns each state after a failure, and how many starts there were. */
function failing(policy: Policy, how: readonly Type[]): { readonly ends: readonly State[]; readonly starts: number } {
  const ends: State[] = [];
  let starts = 0;
  let [state] = step(STOPPED, event('start'), policy);
  while (state.is === 'waiting') {
    starts++;
    assert.ok(starts < 100);
    state = after(state, ['turn', ...how, 'failed', 'gone'], policy);
    ends.push(state);
    if (state.is === 'backoff') state = after(state, ['backoff-over'], policy);
  }
  return { ends, starts };
}

for (const how of [[], ['ready']] as const) {
  const where = how.length === 0 ? 'during its start' : 'while it runs';
  for (const maxRestarts of [0, 1, 3, 10]) {
    test(`a server that fails ${where} every time is started once and restarted ${maxRestarts} times if maxRestarts is ${maxRestarts}, then it is in error`, () => {
      const { ends, starts } = failing({ ...POLICY, maxRestarts }, how);
      assert.equal(starts, 1 + maxRestarts);
      assert.deepEqual(ends.map(({ is }) => is), [...Array<string>(maxRestarts).fill('backoff'), 'error']);
      assert.deepEqual(ends.map(restartsOf), [...Array.from({ length: maxRestarts }, (_, k) => k + 1), maxRestarts]);
      assert.deepEqual(ends.map(statusOf), [...Array<string>(maxRestarts).fill('restarting'), 'error']);
    });
  }
  test(`with autoRestart off the first failure ${where} is the last one`, () => {
    const { ends, starts } = failing({ ...POLICY, autoRestart: false }, how);
    assert.equal(starts, 1);
    assert.deepEqual(ends, [{ is: 'error', restarts: 0, at: 0 }]);
  });
}

test('the delays are 1, 2, 4, 8, 16, 30, 30 ... seconds after the failure, up to 20 % shorter or longer', () => {
  const seconds = [1, 2, 4, 8, 16, 30, 30, 30];
  for (const [restarts, s] of seconds.entries()) {
    for (const [jitter, factor] of [[-1, 0.8], [-0.5, 0.9], [0, 1], [1, 1.2]] as const) {
      const failed: Event = { type: 'failed', now: 7_000, jitter };
      const [state] = step({ is: 'running', restarts }, failed, { ...POLICY, maxRestarts: 99 });
      assert.ok(state.is === 'stopping' && state.next.is === 'backoff');
      assert.equal(Math.round(state.next.until - 7_000), s * 1_000 * factor, `restart ${restarts + 1}, jitter ${jitter}`);
    }
  }
  const [late] = step({ is: 'running', restarts: 5_000 }, event('failed'), { ...POLICY, maxRestarts: 9_999 });
  assert.ok(late.is === 'stopping' && late.next.is === 'backoff' && late.next.until === 30_000);
});

test('the delay runs from the failure: a process that takes long to go does not make it longer', () => {
  const stopping = after(STOPPED, ['start', 'turn', 'failed'], POLICY, 0);
  assert.equal(step(stopping, { type: 'gone', now: 999 }, POLICY)[0].is, 'backoff');
  for (const now of [1_000, 5_000]) {
    assert.deepEqual(step(stopping, { type: 'gone', now }, POLICY), [{ ...again, restarts: 1 }, ['queue']]);
  }
});

test('60 s after a server has given up a request starts one more attempt, not a millisecond sooner', () => {
  const gone = (at: number): State => ({ is: 'error', restarts: 3, at });
  assert.deepEqual(step(gone(10), { type: 'start', now: 60_009 }, POLICY), [gone(10), []]);
  assert.deepEqual(step(gone(10), { type: 'start', now: 60_010 }, POLICY), [{ ...waiting, restarts: 3, halfOpen: true }, ['queue']]);
});

for (const over of [{}, { autoRestart: false }, { maxRestarts: 9 }]) {
  test(`the attempt after giving up is one attempt: its failure is an error again, from then on, with ${JSON.stringify(over)} by now`, () => {
    const policy = { ...POLICY, ...over };
    const half = after({ is: 'error', restarts: 3, at: -60_000 }, ['start', 'turn', 'failed', 'gone'], policy, 500);
    assert.deepEqual(half, { is: 'error', restarts: 3, at: 500 });
  });
}

test('the attempt after giving up clears the count when it succeeds, so the next failure is the first of a row', () => {
  const running = after({ is: 'error', restarts: 3, at: -60_000 }, ['start', 'turn', 'ready']);
  assert.deepEqual(running, { is: 'running', restarts: 0 });
  assert.deepEqual(after(running, ['failed', 'gone']), { is: 'backoff', restarts: 1, until: 1_000 });
});

test('a restart by the operator, or for a changed configuration, clears the count from wherever the server is', () => {
  for (const [state] of TABLE) {
    const wanted = after(state, ['restart', 'drained', 'gone', 'turn', 'ready'], POLICY, 1_000);
    assert.deepEqual(wanted, { is: 'running', restarts: 0 }, JSON.stringify(state));
  }
});

test('a stop ends in "stopped" from wherever the server is, and nothing but a start or a restart leads out of it', () => {
  for (const [state] of TABLE) {
    const stopped = after(state, ['stop', 'drained', 'gone'], POLICY, 1_000);
    assert.deepEqual(stopped, STOPPED, JSON.stringify(state));
    const others = TYPES.filter((type) => type !== 'start' && type !== 'restart');
    assert.deepEqual(after(stopped, others), STOPPED);
  }
});
