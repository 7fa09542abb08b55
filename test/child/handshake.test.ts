import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startHandshake } from '../../src/child/handshake.ts';
import { LIMITS } from '../../src/config/limits.ts';
import { initializeParams, type Profile } from '../../src/protocol/legacy.ts';
import { readMessage, type RpcMessage } from '../../src/wire/jsonrpc.ts';

const clientInfo = { name: 'proxy', version: '1.2.3' };

/** A handshake over a link in memory: `log` is what happened, in order; what was written is parsed. */
function handshake(firstId = 1) {
  const log: unknown[] = [];
  let lastId = firstId - 1;
  const link = {
    write: (message: Buffer): boolean => log.push(JSON.parse(message.toString())) > 0,
    nextId: () => ++lastId,
    note: () => assert.fail('nothing was said outside the protocol'),
  };
  const take = startHandshake(link, {
    params: initializeParams(clientInfo),
    onDone: (profile) => log.push({ profile }),
    onFailed: (why) => log.push({ why }),
  });
  return { log, says: (message: object | string): boolean => take(parsed(message)) };
}

function parsed(message: object | string): RpcMessage {
  const read = readMessage(Buffer.from(typeof message === 'string' ? message : JSON.stringify(message)), LIMITS);
  assert.ok(read.kind !== 'malformed' && read.kind !== 'batch');
  return read;
}

const initialize = (id: number) => ({
  jsonrpc: '2.0',
  id,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} }, clientInfo },
});
const initialized = { jsonrpc: '2.0', method: 'notifications/initialized' };
const result = (protocolVersion: unknown) => ({ protocolVersion, capabilities: { tools: { listChanged: true } }, serverInfo: { name: 's', version: '1' } });
const answer = (result: unknown, id: unknown = 1) => ({ jsonrpc: '2.0', id, result });

test('the first line is initialize, under a fresh id, at 2025-11-25 and with what the proxy can pass on for any client (R-14, R-16)', () => {
  assert.deepEqual(handshake(1).log, [initialize(1)]);
  assert.deepEqual(handshake(7).log, [initialize(7)]);
});

for (const version of ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']) {
  test(`a child that answers with ${version} hears that it is initialized, and only then the profile is told`, () => {
    const { log, says } = handshake();
    assert.equal(says(answer(result(version))), true);
    const profile: Profile = { era: 'legacy', revision: version, capabilities: { tools: { listChanged: true } }, raw: Buffer.from(JSON.stringify(result(version))) };
    assert.deepEqual(log.slice(1), [initialized, { profile }]);
  });
}

test('a child that declares no capabilities, or nonsense for them, has none, and what it said is kept as it said it', () => {
  for (const capabilities of [undefined, null, [], 'tools', 1]) {
    const { log, says } = handshake();
    says(answer({ ...result('2025-11-25'), capabilities }));
    const { profile } = log[2] as { profile: Profile };
    assert.deepEqual(profile.capabilities, {});
    assert.deepEqual(JSON.parse(profile.raw.toString())['capabilities'], capabilities);
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
});

test('whatever else a child says before its answer is no part of the handshake, and nothing is done about it', () => {
  const others: (object | string)[] = [
    { jsonrpc: '2.0', id: 1, method: 'ping' },
    { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'hello' } },
    ...['1', 2, 0, -1, null].map((id) => answer(result('2025-11-25'), id)),
    { jsonrpc: '2.0', id: 2, error: { code: 1, message: 'no' } },
  ];
  const { log, says } = handshake();
  for (const other of others) assert.equal(says(other), false);
  assert.deepEqual(log.slice(1), []);
  assert.equal(says(answer(result('2025-11-25'))), true);
  assert.equal(log.length, 3);
});
