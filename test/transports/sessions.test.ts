import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProxyError } from '../../src/base/errors.ts';
import { secretId } from '../../src/base/ids.ts';
import { Sessions, type Registered } from '../../src/transports/sessions.ts';
import { testWorld } from '../child/world.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';

class Session implements Registered {
  readonly id = secretId();
  readonly serverName: string;
  busy = false;
  usedAt: number;
  readonly closed: string[] = [];

  constructor(serverName: string, usedAt: number) {
    this.serverName = serverName;
    this.usedAt = usedAt;
  }

  close(why: ProxyError): void {
    this.closed.push(why.reason);
  }
}

const HOUR = 3_600_000;

function registry({ maxSessions = 3, sessionTimeoutMs = HOUR } = {}): { clock: FakeClock; sessions: Sessions<Session>; open(server?: string): Session } {
  const clock = fakeClock(1_000_000);
  const sessions = new Sessions<Session>(testWorld(clock, { limits: { maxSessions, sessionTimeoutMs } }));
  return {
    clock,
    sessions,
    open(server = 'fs') {
      sessions.reserve(server)('used');
      const session = new Session(server, clock.now());
      sessions.add(session);
      return session;
    },
  };
}

const reason = (wanted: string, status: number) => (error: ProxyError) => error.reason === wanted && error.status === status;

test('a session is found by its id at its own server, to the letter, until it ends', () => {
  const { sessions, open } = registry();
  const session = open('fs');
  open('db');
  assert.equal(sessions.get(session.id, 'fs'), session);
  for (const [id, server] of [[session.id, 'db'], [session.id, 'FS'], [session.id.toUpperCase() + 'x', 'fs'], [session.id.slice(1), 'fs'], ['', 'fs'], ['__proto__', 'fs']]) {
    assert.throws(() => sessions.get(id!, server!), reason('session_not_found', 404), `${id} at ${server}`);
  }
  sessions.end(session, { reason: 'session_closed' } as ProxyError);
  assert.throws(() => sessions.get(session.id, 'fs'), reason('session_not_found', 404));
});

test('a session is closed once, however often it ends, and counted while it is there', () => {
  const { sessions, open } = registry();
  const [a, b] = [open(), open(), open('db')];
  assert.deepEqual(['fs', 'db', 'other'].map((name) => sessions.count(name)), [2, 1, 0]);
  const why = { reason: 'session_closed' } as ProxyError;
  sessions.end(a!, why);
  sessions.end(a!, why);
  assert.deepEqual([a!.closed, sessions.count('fs'), sessions.count('db')], [['session_closed'], 1, 1]);
  sessions.end(b!, why);
  assert.equal(sessions.count('fs'), 0);
});

test('a session that ends another while it is closed, or itself, ends each once', () => {
  const { sessions, open } = registry();
  const [a, b] = [open(), open()];
  const why = { reason: 'session_closed' } as ProxyError;
  const close = a.close.bind(a);
  a.close = (error) => {
    close(error);
    sessions.end(a, error);
    sessions.end(b, error);
  };
  sessions.end(a, why);
  assert.deepEqual([a.closed.length, b.closed.length, sessions.count('fs')], [1, 1, 0]);
});

// ---- the limit

test('at the limit the longest idle session of that server makes room, and says why', () => {
  const { clock, sessions, open } = registry();
  const other = open('db');
  clock.advance(1);
  const [a, b, c] = [open(), open(), open()];
  assert.deepEqual([other, a, b, c].flatMap(({ closed }) => closed), [], 'below the limit nobody has to go');
  [a.usedAt, b.usedAt, c.usedAt] = [30, 10, 20];
  open();
  assert.deepEqual([a.closed, b.closed, c.closed, other.closed], [[], ['session_closed'], [], []]);
  assert.equal(sessions.count('fs'), 3);
  open();
  assert.deepEqual([a.closed, c.closed], [[], ['session_closed']]);
});

test('a session in use never makes room: the next longest idle does, and without one nobody comes in', () => {
  const { sessions, open } = registry();
  const [a, b, c] = [open(), open(), open()];
  [a.usedAt, b.usedAt, c.usedAt] = [10, 20, 30];
  a.busy = true;
  const d = open();
  assert.deepEqual([a.closed, b.closed, c.closed], [[], ['session_closed'], []]);
  c.busy = d.busy = true;
  for (let k = 0; k < 3; k++) assert.throws(() => sessions.reserve('fs'), reason('session_limit', 503));
  assert.deepEqual([a, c, d].flatMap(({ closed }) => closed), []);
  assert.equal(sessions.count('fs'), 3);
  open('db');
  a.busy = false;
  open();
  assert.deepEqual(a.closed, ['session_closed']);
});

test('the limit is per server', () => {
  const { sessions, open } = registry({ maxSessions: 1 });
  const all = ['a', 'b', 'c'].map((name) => open(name));
  assert.deepEqual(all.flatMap(({ closed }) => closed), []);
  open('b');
  assert.deepEqual(all.map(({ closed }) => closed.length), [0, 1, 0]);
  assert.deepEqual(['a', 'b', 'c'].map((name) => sessions.count(name)), [1, 1, 1]);
});

// ---- expiry

test('a session ends when it was idle for the whole time, not a millisecond sooner', () => {
  const { clock, sessions, open } = registry();
  const session = open();
  clock.advance(HOUR - 1);
  assert.deepEqual(session.closed, []);
  clock.advance(1);
  assert.deepEqual(session.closed, ['session_closed']);
  assert.throws(() => sessions.get(session.id, 'fs'), reason('session_not_found', 404));
});

test('each message starts its time anew, and each session has its own', () => {
  const { clock, open } = registry();
  const a = open();
  clock.advance(HOUR / 2);
  const b = open();
  a.usedAt = clock.now() + 5; // a little later than b came
  clock.advance(HOUR - 1);
  assert.deepEqual([a.closed.length, b.closed.length], [0, 0]);
  clock.advance(1);
  assert.deepEqual([a.closed.length, b.closed.length], [0, 1]);
  clock.advance(4);
  assert.equal(a.closed.length, 0);
  clock.advance(1);
  assert.equal(a.closed.length, 1);
});

test('a session in use does not expire, and has its whole time after that', () => {
  for (const after of [1, HOUR / 2, HOUR, 2.5 * HOUR]) {
    const { clock, open } = registry();
    const session = open();
    session.busy = true;
    clock.advance(HOUR + after);
    assert.deepEqual(session.closed, []);
    session.busy = false;
    session.usedAt = clock.now();
    clock.advance(HOUR - 1);
    assert.deepEqual(session.closed, [], `${after}`);
    clock.advance(1);
    assert.deepEqual(session.closed, ['session_closed'], `${after}`);
  }
});

test('without sessions no timer runs, and the next session expires like the first', () => {
  const { clock, open } = registry();
  const first = open();
  clock.advance(HOUR);
  assert.deepEqual([first.closed.length, clock.pending], [1, 0]);
  clock.advance(10 * HOUR);
  const second = open();
  clock.advance(HOUR - 1);
  assert.equal(second.closed.length, 0);
  clock.advance(1);
  assert.equal(second.closed.length, 1);
});

test('many sessions that come at any time each expire at their own', () => {
  const { clock, sessions, open } = registry({ maxSessions: 1_000 });
  const all: { session: Session; at: number }[] = [];
  for (let k = 0; k < 200; k++) {
    clock.advance((k * 7_919) % 60_000);
    all.push({ session: open(`s${k % 3}`), at: clock.now() });
  }
  while (all.length > 0) {
    clock.advance(30_000);
    for (const { session, at } of all) assert.equal(session.closed.length, clock.now() >= at + HOUR ? 1 : 0);
    all.splice(0, all.length, ...all.filter(({ session }) => session.closed.length === 0));
  }
  assert.deepEqual([0, 1, 2].map((k) => sessions.count(`s${k}`)), [0, 0, 0]);
});
