import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askable, canAnswer, CLIENT_REQUESTS, forwardsNotification, handlingOf, LIST_CHANGED, severityOf, type Handling } from '../../src/protocol/methods.ts';

// Every request that a client of a legacy revision may send.
const requests: Readonly<Record<string, Handling>> = {
  initialize: 'initialize',
  ping: 'ping',
  'logging/setLevel': 'set-level',
  'resources/subscribe': 'subscribe',
  'resources/unsubscribe': 'unsubscribe',
  'tools/list': 'forward',
  'tools/call': 'forward',
  'resources/list': 'forward',
  'resources/templates/list': 'forward',
  'resources/read': 'forward',
  'prompts/list': 'forward',
  'prompts/get': 'forward',
  'completion/complete': 'forward',
  'tasks/get': 'refuse',
  'tasks/result': 'refuse',
  'tasks/list': 'refuse',
  'tasks/cancel': 'refuse',
};

const unknown = ['', ' ', 'x', 'vendor/thing', 'vendor/tasks/get', 'tasks', 'Ping', 'ping ', 'INITIALIZE', 'toString', 'constructor', '__proto__', 'hasOwnProperty'];

test('the proxy handles what belongs to one client, refuses tasks and notifications that have an id, and forwards the rest, unknown methods too', () => {
  for (const [method, handling] of Object.entries(requests)) assert.equal(handlingOf(method), handling, method);
  for (const method of unknown) assert.equal(handlingOf(method), 'forward', method);
  for (const method of ['tasks/vendor', 'notifications/cancelled', 'notifications/vendor']) assert.equal(handlingOf(method), 'refuse', method);
});

test('a notification goes on to a shared child, unless it belongs to one client or is a request that lacks its id', () => {
  const consumed = ['notifications/initialized', 'notifications/cancelled', 'notifications/progress', 'notifications/roots/list_changed', 'notifications/tasks/status'];
  for (const method of [...consumed, ...Object.keys(requests)]) assert.equal(forwardsNotification(method, false), false, method);
  for (const method of [...unknown, 'notifications/tools/list_changed', 'notifications/message', 'notifications/vendor']) assert.equal(forwardsNotification(method, false), true, method);
});

test('to a process of its own a client may also say that its roots or a task of its own have changed (R-29)', () => {
  const own = ['notifications/roots/list_changed', 'notifications/tasks/status'];
  for (const method of [...own, ...unknown, 'notifications/vendor']) assert.equal(forwardsNotification(method, true), true, method);
  const consumed = ['notifications/initialized', 'notifications/cancelled', 'notifications/progress'];
  for (const method of [...consumed, ...Object.keys(requests)]) assert.equal(forwardsNotification(method, true), false, method);
});

test('a server may ask a client three things', () => {
  assert.deepEqual([...CLIENT_REQUESTS].sort(), ['elicitation/create', 'roots/list', 'sampling/createMessage']);
});

test('what is kept of declared capabilities answers as they do, and is no more than that', () => {
  const parts = [undefined, {}, { form: {} }, { url: {}, form: 1 }, { url: null, x: 'x' }, { tools: {}, x: {} }, true, null, [], 'x'];
  const asked = [['sampling/createMessage', {}], ['sampling/createMessage', { tools: [] }], ['elicitation/create', {}], ['elicitation/create', { mode: 'url' }], ['roots/list', {}], ['tools/list', {}]] as const;
  for (const name of ['sampling', 'elicitation', 'roots', 'x', '__proto__']) {
    for (const part of parts) {
      const capabilities = { experimental: { x: 'x' }, [name]: part };
      for (const [method, params] of asked) {
        assert.equal(canAnswer(askable(capabilities), method, params), canAnswer(capabilities, method, params), `${method} of ${name}: ${JSON.stringify(part)}`);
      }
    }
  }
  assert.deepEqual(askable({ elicitation: { url: { much: 'x' }, much: 'x' }, roots: { much: 'x' }, extensions: {}, sampling: true }), { elicitation: { url: {} }, roots: {} });
});

test('three capabilities have a notification that their list has changed', () => {
  assert.deepEqual(LIST_CHANGED, {
    tools: 'notifications/tools/list_changed',
    prompts: 'notifications/prompts/list_changed',
    resources: 'notifications/resources/list_changed',
  });
});

test('severities compare as RFC 5424 orders them, and nothing else is one', () => {
  const levels = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];
  const severities = levels.map((level) => severityOf(level)!);
  assert.deepEqual(severities, [...severities].sort((a, b) => a - b));
  assert.equal(new Set(severities).size, 8);
  for (const level of ['', 'warn', 'Debug', 'debug ', 'loud', 'length', '0', 0, 7, -1, null, undefined, true, {}, ['debug']]) assert.equal(severityOf(level), undefined, String(level));
});
