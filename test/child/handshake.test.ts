import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Handshake } from '../../src/child/handshake.ts';
import { LIMITS } from '../../src/config/limits.ts';
import { discoverParams } from '../../src/protocol/discover.ts';
import { initializeParams, type Profile } from '../../src/protocol/legacy.ts';
import type { Era } from '../../src/protocol/revisions.ts';
import { readMessage, type RpcMessage } from '../../src/wire/jsonrpc.ts';
import { fakeClock } from '../support/clock.ts';

const clientInfo = { name: 'proxy', version: '1.2.3' };

/** A handshake over a link in memory: `log` is what happened, in order; what was written is parsed. */
function handshake(protocol: 'auto' | Era = 'legacy', firstId = 1, params: unknown = initializeParams(clientInfo)) {
  const log: unknown[] = [];
  const clock = fakeClock();
  let lastId = firstId - 1;
  const link = {
    write: (message: Buffer): boolean => log.push(JSON.parse(message.toString())) > 0,
    nextId: () => ++lastId,
    note: () => assert.fail('nothing was said outside the protocol'),
  };
  const it = new Handshake(link, {
    clock,
    protocol,
    discover: discoverParams(clientInfo),
    initialize: params,
    probeMs: 5_000,
    wedgedMs: 120_000,
    onDone: (profile, sure) => log.push({ profile, sure }),
    onFailed: (why) => log.push({ why }),
    onWedged: () => log.push('wedged'),
  });
  return { it, log, clock, says: (message: object | string): boolean => it.take(parsed(message)) };
}

function parsed(message: object | string): RpcMessage {
  const read = readMessage(Buffer.from(typeof message === 'string' ? message : JSON.stringify(message)), LIMITS);
  assert.ok(read.kind !== 'malformed' && read.kind !== 'batch');
  return read;
}

const meta = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': clientInfo,
  'io.modelcontextprotocol/clientCapabilities': {},
};
const discover = (id: number) => ({ jsonrpc: '2.0', id, method: 'server/discover', params: { _meta: meta } });
const initialize = (id: number) => ({
  jsonrpc: '2.0',
  id,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} }, clientInfo },
});
const initialized = { jsonrpc: '2.0', method: 'notifications/initialized' };
const result = (protocolVersion: unknown) => ({ protocolVersion, capabilities: { tools: { listChanged: true } }, serverInfo: { name: 's', version: '1' } });
const discovered = { resultType: 'complete', supportedVersions: ['2026-07-28'], capabilities: { tools: {} }, ttlMs: 0, cacheScope: 'private' };
const answer = (result: unknown, id: unknown = 1) => ({ jsonrpc: '2.0', id, result });
const error = (code: number, id = 1, data?: unknown) => ({ jsonrpc: '2.0', id, error: { code, message: 'no', data } });
const legacy = (version = '2025-11-25'): Profile => ({ era: 'legacy', revision: version, capabilities: { tools: { listChanged: true } }, raw: Buffer.from(JSON.stringify(result(version))) });
const modern: Profile = { era: 'modern', revision: '2026-07-28', capabilities: { tools: {} }, raw: Buffer.from(JSON.stringify(discovered)) };

// ---- the probe

test('the first line to a child of unknown era is server/discover, and a modern child hears no other (R-8, R-9, T-105)', () => {
  for (const protocol of ['auto', 'modern'] as const) {
    const { it, log, clock, says } = handshake(protocol, 7);
    assert.deepEqual(log, [discover(7)]);
    assert.equal(it.probing, protocol === 'auto');
    assert.equal(says(answer(discovered, 7)), true);
    assert.deepEqual(log.slice(1), [{ profile: modern, sure: true }]);
    assert.equal(clock.pending, 0);
  }
});

for (const [what, reply] of [
  ['-32601', error(-32601)],
  ['-32602', error(-32602)],
  ['an error that is no era evidence', error(-32020)],
  ['an error of its own', error(0)],
  ['-32022 without a list', error(-32022)],
  ['-32022 with a list that has a legacy version', error(-32022, 1, { supported: ['2027-01-01', '2025-11-25'] })],
  ['-32022 with an empty list', error(-32022, 1, { supported: [] })],
  ['an empty result', answer({})],
  ['null', answer(null)],
  ['a list without the version', answer({ ...discovered, supportedVersions: ['2027-01-01'] })],
  ['the version where a list should be', answer({ ...discovered, supportedVersions: '2026-07-28' })],
] as const) {
  test(`a child that answers the probe with ${what} gets initialize, and its era is known when it takes that (R-10, T-104)`, () => {
    const { it, log, clock, says } = handshake('auto');
    assert.equal(says(reply), true);
    assert.equal(it.probing, false);
    assert.deepEqual(log.slice(1), [initialize(2)]);
    says(answer(result('2025-11-25'), 2));
    assert.deepEqual(log.slice(2), [initialized, { profile: legacy(), sure: true }]);
    assert.equal(clock.pending, 0);
  });
}

for (const protocol of ['auto', 'modern'] as const) {
  test(`a child that knows only other modern versions has failed, and hears no initialize (R-9, protocol "${protocol}")`, () => {
    const { log, clock, says } = handshake(protocol);
    says(error(-32022, 1, { supported: ['2027-01-01', '2028-01-01'] }));
    assert.deepEqual(log.slice(1), [{ why: 'has no protocol version in common with the proxy' }]);
    assert.equal(clock.pending, 0);
  });
}

test('a child that has to be modern and is not has failed, however it says so, and its silence is not cut short', () => {
  for (const reply of [error(-32601), answer({}), answer(result('2025-11-25'))]) {
    const { log, clock, says } = handshake('modern');
    assert.equal(clock.pending, 0);
    says(reply);
    assert.deepEqual(log.slice(1), [{ why: 'answered server/discover with nothing usable' }]);
  }
});

test('after 5 s of silence initialize follows the probe, and the era of a child that takes it is not known for good (R-10, R-13)', () => {
  const { it, log, clock, says } = handshake('auto');
  clock.advance(4_999);
  assert.equal(log.length, 1);
  clock.advance(1);
  assert.deepEqual(log.slice(1), [initialize(2)]);
  assert.equal(it.probing, true);
  says(answer(result('2025-11-25'), 2));
  assert.deepEqual(log.slice(2), [initialized, { profile: legacy(), sure: false }]);
  assert.equal(clock.pending, 0);
});

// Once initialize is written its outcome decides; `then` is what the child says after the 5 s.
const took = answer(result('2025-11-25'), 2);
const asModern = { profile: modern, sure: true };
for (const [what, then, outcome] of [
  ['the probe is answered late, initialize is refused', [answer(discovered), error(-32022, 2)], [asModern]],
  ['initialize is refused, then the probe is answered', [error(-32022, 2), answer(discovered)], [asModern]],
  ['initialize is answered with nonsense, the probe late', [answer(discovered), answer({}, 2)], [asModern]],
  ['both are taken', [answer(discovered), took], [initialized, { profile: legacy(), sure: false }]],
  ['the probe is refused late, initialize taken', [error(-32601), took], [initialized, { profile: legacy(), sure: true }]],
  ['both are refused', [error(-32601), error(-32000, 2)], [{ why: 'refused initialize (-32000: no)' }]],
  ['both are refused the other way round', [error(-32000, 2), error(-32601)], [{ why: 'refused initialize (-32000: no)' }]],
  ['only other modern versions are known, late', [error(-32022, 1, { supported: ['2027-01-01'] }), error(-32022, 2)], [{ why: 'refused initialize (-32022: no)' }]],
] as const) {
  test(`after 5 s of silence: ${what}`, () => {
    const { log, clock, says } = handshake('auto');
    clock.advance(5_000);
    for (const message of then) assert.equal(says(message), true);
    assert.deepEqual(log.slice(2), outcome);
    assert.equal(clock.pending, 0);
  });
}

test('a child that refuses initialize after its silence has 5 s for the answer to the probe, then it has failed', () => {
  const { log, clock, says } = handshake('auto');
  clock.advance(5_000);
  says(error(-32000, 2));
  clock.advance(4_999);
  assert.equal(log.length, 2);
  clock.advance(1);
  assert.deepEqual(log.slice(2), [{ why: 'refused initialize (-32000: no)' }]);
  assert.equal(clock.pending, 0);
});

test('a child that has answered neither is wedged after 120 s; one that has answered the probe is not (R-11)', () => {
  const { log, clock } = handshake('auto');
  clock.advance(119_999);
  assert.equal(log.length, 2);
  clock.advance(1);
  assert.deepEqual(log.slice(2), ['wedged']);
  assert.equal(clock.pending, 0);

  const other = handshake('auto');
  other.clock.advance(5_000);
  other.says(error(-32601));
  assert.equal(other.clock.pending, 0);
});

test('a handshake that is ended does nothing more', () => {
  const { it, log, clock } = handshake('auto');
  it.end();
  assert.equal(clock.pending, 0);
  const other = handshake('auto');
  other.clock.advance(5_000);
  other.it.end();
  assert.equal(other.clock.pending, 0);
  assert.deepEqual([log.length, other.log.length], [1, 2]);
});

// ---- initialize

test('the first line to a legacy child is initialize, under a fresh id, at 2025-11-25 and with what the proxy can pass on for any client (R-14, R-16)', () => {
  for (const id of [1, 7]) {
    const { it, log, clock } = handshake('legacy', id);
    assert.deepEqual(log, [initialize(id)]);
    assert.equal(it.probing, false);
    assert.equal(clock.pending, 0);
  }
});

for (const version of ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']) {
  test(`a child that answers with ${version} hears that it is initialized, and only then the profile is told`, () => {
    const { log, says } = handshake();
    assert.equal(says(answer(result(version))), true);
    assert.deepEqual(log.slice(1), [initialized, { profile: legacy(version), sure: true }]);
  });
}

test('a child that declares no capabilities, or nonsense for them, has none, and what it said is kept as it said it', () => {
  for (const capabilities of [undefined, null, [], 'tools', 1]) {
    for (const [protocol, said, at] of [['legacy', result('2025-11-25'), 2], ['modern', discovered, 1]] as const) {
      const { log, says } = handshake(protocol);
      says(answer({ ...said, capabilities }));
      const { profile } = log[at] as { profile: Profile };
      assert.deepEqual(profile.capabilities, {});
      assert.deepEqual(JSON.parse(profile.raw.toString())['capabilities'], capabilities);
    }
  }
});

const unknownVersion = 'answered initialize with a protocol version that the proxy does not know';
const noObject = 'answered initialize with something that is no object';
const failures: readonly (readonly [string, object, string | RegExp])[] = [
  ['an unknown version', answer(result('1999-01-01')), unknownVersion],
  ['a modern version', answer(result('2026-07-28')), unknownVersion],
  ['a version with a space behind it', answer(result('2025-11-25 ')), unknownVersion],
  ['a number for a version', answer(result(20251125)), unknownVersion],
  ['no version', answer({}), unknownVersion],
  ['null', answer(null), noObject],
  ['an array', answer([]), noObject],
  ['a text', answer('2025-11-25'), noObject],
  ['an error', { jsonrpc: '2.0', id: 1, error: { code: -32000, message: 'not today' } }, 'refused initialize (-32000: not today)'],
  ['an error without a code', { jsonrpc: '2.0', id: 1, error: { message: 'not today' } }, /^refused initialize/],
  ['an error that is null', { jsonrpc: '2.0', id: 1, error: null }, /^refused initialize/],
  ['an error that is a text', { jsonrpc: '2.0', id: 1, error: 'no' }, /^refused initialize/],
];

for (const [what, message, why] of failures) {
  test(`a child that answers initialize with ${what} has failed, and nothing more is written to it`, () => {
    const { log, says } = handshake();
    assert.equal(says(message), true);
    assert.equal(log.length, 2);
    const { why: said } = log[1] as { why: string };
    if (typeof why === 'string') assert.equal(said, why);
    else assert.match(said, why);
  });
}

test('an error that is nested without end is a failure like any other', () => {
  const deep = '['.repeat(50_000) + ']'.repeat(50_000);
  const { log, says } = handshake();
  assert.equal(says(`{"jsonrpc":"2.0","id":1,"error":{"code":${deep},"message":${deep}}}`), true);
  assert.match((log[1] as { why: string }).why, /^refused initialize/);
  const probed = handshake('auto');
  probed.says(`{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"no","data":{"supported":[${deep}]}}}`);
  assert.deepEqual(probed.log.slice(1), [initialize(2)]);
});

test('an initialize that cannot be written is a failure, told once its maker knows the handshake', async () => {
  const params: Record<string, unknown> = {};
  params['capabilities'] = params; // no engine writes that, however many levels it takes
  for (const protocol of ['legacy', 'auto'] as const) {
    const { it, log, clock } = handshake(protocol, 1, params);
    clock.advance(5_000);
    if (protocol === 'legacy') assert.deepEqual(log, []);
    await Promise.resolve();
    it.end();
    assert.deepEqual(log.at(-1), { why: 'cannot be initialized: what its client declares is nested too deeply' });
    assert.equal(clock.pending, 0);
  }
});

test('whatever else a child says before its answer is no part of the handshake, and nothing is done about it', () => {
  const others: (object | string)[] = [
    { jsonrpc: '2.0', id: 1, method: 'ping' },
    { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'hello' } },
    ...['1', 2, 0, -1, null].map((id) => answer(result('2025-11-25'), id)),
    { jsonrpc: '2.0', id: 2, error: { code: 1, message: 'no' } },
  ];
  for (const protocol of ['legacy', 'modern', 'auto'] as const) {
    const { log, says } = handshake(protocol);
    for (const other of others) assert.equal(says(other), false);
    assert.deepEqual(log.slice(1), []);
    assert.equal(says(answer(protocol === 'legacy' ? result('2025-11-25') : discovered)), true);
    assert.notEqual(log.length, 1);
  }
});
