// The listens of modern clients between fakes: what a child may answer to one, and processes that come and go in between.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Limits } from '../../src/config/limits.ts';
import type { Profile } from '../../src/protocol/legacy.ts';
import type { Era } from '../../src/protocol/revisions.ts';
import { lonelyCaller } from '../../src/relay/exchange.ts';
import { Listens } from '../../src/relay/listens.ts';
import { Subscriptions } from '../../src/relay/subscriptions.ts';
import { testWorld } from '../child/world.ts';
import { fault, FakeExchange, TestRelay } from './fakes.ts';

const TAG = 'io.modelcontextprotocol/subscriptionId';
const lists = { listChanged: true };
const ALL = { tools: lists, prompts: lists, resources: { subscribe: true, ...lists } };
const FILTER = { toolsListChanged: true, resourceSubscriptions: ['a', 'b'] };

function profile(era: Era, capabilities: object = ALL): Profile {
  return { era, revision: era === 'legacy' ? '2025-11-25' : '2026-07-28', capabilities: capabilities as Profile['capabilities'], raw: Buffer.from(JSON.stringify({ capabilities })) };
}

function listening(era: Era, { limits = {}, capabilities = ALL }: { limits?: Partial<Limits>; capabilities?: object } = {}) {
  const test = new TestRelay({ limits });
  const world = testWorld(test.clock, { limits });
  const subscriptions = new Subscriptions('fs', world, test.relay, false);
  const listens = new Listens('fs', world, test.relay, subscriptions);
  let before: Profile | undefined;
  /** A process runs. */
  const up = (now: Profile): void => {
    test.connect(() => listens.restore(now, subscriptions.restore(now, before, false)));
    before = now;
  };
  up(profile(era, capabilities));
  return {
    test,
    world,
    listens,
    up,
    /** The process is lost. */
    down: (): void => {
      subscriptions.down(fault());
      test.relay.down(fault());
    },
    open: (notifications: unknown = FILTER, id: unknown = 1): FakeExchange => {
      const caller = { ...lonelyCaller(), era: 'modern', holder: {} } as const; // every request is its own
      const exchange = new FakeExchange({ jsonrpc: '2.0', id, method: 'subscriptions/listen', params: { notifications } }, { caller });
      listens.open(exchange, exchange.request, before!);
      return exchange;
    },
    /** What the child was sent since the last look: method and what it is about. */
    asked: (): string[] => test.link.lines.splice(0).map((line) => {
      const { method, params } = JSON.parse(line);
      return `${method} ${params?.uri ?? params?.requestId ?? ''}`.trim();
    }),
    /** The id of what the child was sent, the last of that method. */
    idOf: (method: string): number => test.link.messages.findLast((message) => message.method === method).id,
  };
}

const heard = (exchange: FakeExchange): any[] => exchange.notified.map((text) => JSON.parse(text));
const tagged = (method: string, id: unknown, params: object = {}): object => ({ jsonrpc: '2.0', method, params: { ...params, _meta: { [TAG]: id } } });
const ack = (notifications: object, id: unknown = 1): object => tagged('notifications/subscriptions/acknowledged', id, { notifications });
const complete = (id: unknown = 1): object => ({ jsonrpc: '2.0', id, result: { resultType: 'complete', _meta: { [TAG]: id } } });

describe('what a modern child answers to a listen before it acknowledges it', () => {
  for (const [what, message, notified, outcome] of [
    ['an error', { error: { code: -32602, message: 'no' } }, [], { jsonrpc: '2.0', id: 'c', error: { code: -32602, message: 'no' } }],
    ['that it knows no such method', { error: { code: -32601, message: 'no' } }, [ack({}, 'c')], undefined],
    ['a result', { result: { resultType: 'complete' } }, [], complete('c')],
  ] as const) {
    test(`${what} is for the client`, () => {
      const { test, open, idOf, listens } = listening('modern');
      const client = open(FILTER, 'c');
      test.says({ jsonrpc: '2.0', id: idOf('subscriptions/listen'), ...message });
      assert.deepEqual([heard(client), client.outcome], [notified, outcome]);
      assert.equal(listens.awake, outcome === undefined);
      test.says({ jsonrpc: '2.0', id: idOf('subscriptions/listen'), result: {} });
      assert.equal(client.answers.length, outcome === undefined ? 0 : 1, 'a second answer is of nobody');
    });
  }

  test('nothing, because it does not read what it is sent: the client is told that it is busy, and may try again', () => {
    const { test, open, listens, asked } = listening('modern');
    test.link.full = true;
    const client = open(FILTER, 'c');
    assert.deepEqual([heard(client), client.outcome, listens.awake], [[], 'busy', false]);
    test.link.full = false;
    assert.equal(open(FILTER, 'd').outcome, undefined);
    assert.deepEqual(asked(), ['subscriptions/listen']);
  });

  test('nothing for however long is waited for, and an error after it ends the listen in order', () => {
    const { test, open, idOf } = listening('modern');
    const client = open();
    test.clock.advance(3_600_000);
    assert.deepEqual([client.outcome, test.relay.pending], [undefined, 0]);
    const id = idOf('subscriptions/listen');
    test.says(tagged('notifications/subscriptions/acknowledged', id, { notifications: {} }));
    test.says({ jsonrpc: '2.0', id, error: { code: -32601, message: 'no' } });
    assert.deepEqual([heard(client), client.outcome], [[ack({})], complete()]);
  });
});

describe('the process of a modern child is lost', () => {
  test('and each listen is opened at the next one; its second acknowledgement is for nobody', () => {
    const { test, open, up, down, idOf } = listening('modern');
    const [first, second] = [open(FILTER, 1), open({ toolsListChanged: true }, '1')];
    for (const { id } of test.link.messages) test.says(tagged('notifications/subscriptions/acknowledged', id, { notifications: {} }));
    const old = test.link;
    down();
    up(profile('modern'));
    assert.deepEqual(old.lines.length, 2, 'nothing is written to a process that has gone');
    assert.deepEqual(test.link.messages.map(({ method, params }) => [method, params.notifications]), [['subscriptions/listen', FILTER], ['subscriptions/listen', { toolsListChanged: true }]]);
    for (const { id } of test.link.messages) {
      test.says(tagged('notifications/subscriptions/acknowledged', id, { notifications: {} }));
      test.says(tagged('notifications/tools/list_changed', id));
    }
    const change = (id: unknown): object => tagged('notifications/tools/list_changed', id);
    assert.deepEqual(heard(first), [ack({}, 1), change(1), change(1)]);
    assert.deepEqual(heard(second), [ack({}, '1'), change('1'), change('1')]);
    assert.equal(idOf('subscriptions/listen'), 2);
  });

  test('and one that was not acknowledged is, by the next one, and before that hears nothing', () => {
    const { test, open, up, down, idOf } = listening('modern');
    const client = open();
    down();
    up(profile('modern'));
    assert.deepEqual(heard(client), []);
    test.says(tagged('notifications/subscriptions/acknowledged', idOf('subscriptions/listen'), { notifications: FILTER }));
    assert.deepEqual(heard(client), [ack(FILTER)]);
  });
});

describe('a listen at a legacy child', () => {
  test('is acknowledged with what the child has taken, once it has said so', () => {
    const { test, open, asked, idOf } = listening('legacy');
    const client = open();
    const b = idOf('resources/subscribe');
    assert.deepEqual(asked(), ['resources/subscribe a', 'resources/subscribe b']);
    test.says({ jsonrpc: '2.0', id: b, error: { code: -32602, message: 'no' } });
    assert.deepEqual(heard(client), []);
    test.answers(b - 1, {});
    assert.deepEqual(heard(client), [ack({ toolsListChanged: true, resourceSubscriptions: ['a'] })]);
  });

  test('is acknowledged after the wait without the rest; what comes too late is given back', () => {
    const { test, open, asked, idOf } = listening('legacy', { limits: { ackWaitMs: 50 } });
    const client = open();
    const b = idOf('resources/subscribe');
    test.clock.advance(49);
    assert.deepEqual(heard(client), []);
    test.clock.advance(1);
    assert.deepEqual(heard(client), [ack({ toolsListChanged: true })]);
    asked();
    test.answers(b, {});
    assert.deepEqual(asked(), ['resources/unsubscribe b']);
    assert.equal(heard(client).length, 1);
  });

  test('whose process is lost before it is acknowledged asks the next one, for all of it', () => {
    const { test, open, up, down, asked, idOf } = listening('legacy', { limits: { ackWaitMs: 50 } });
    const client = open();
    test.answers(idOf('resources/subscribe') - 1, {});
    down();
    test.clock.advance(10);
    assert.deepEqual(heard(client), []);
    up(profile('legacy'));
    const wanted = asked();
    for (const uri of ['a', 'b']) assert.equal(wanted.findLast((each) => each.endsWith(` ${uri}`)), `resources/subscribe ${uri}`);
    for (let id = 1; id <= 4; id++) test.answers(id, {});
    assert.deepEqual(heard(client).at(-1), ack({ toolsListChanged: true, resourceSubscriptions: ['a', 'b'] }));
    assert.equal(heard(client).length, 1);
  });

  test('whose client leaves gives everything back, whatever has been answered', () => {
    const { test, listens, open, asked, idOf } = listening('legacy');
    const client = open();
    const b = idOf('resources/subscribe');
    test.answers(b, {});
    assert.equal(listens.cancel(client), true);
    assert.equal(listens.cancel(client), false);
    test.answers(b - 1, {});
    assert.deepEqual(asked().slice(2).sort(), ['resources/unsubscribe a', 'resources/unsubscribe b']);
    assert.deepEqual([heard(client), client.answers, listens.awake], [[], [], false]);
    test.clock.advance(60_000);
    assert.deepEqual(heard(client), []);
  });
});

describe('the end of a server', () => {
  for (const era of ['legacy', 'modern'] as const) {
    test(`gives every listen its result, and its failure gives none (${era})`, () => {
      for (const graceful of [true, false]) {
        const { listens, open } = listening(era, { capabilities: { tools: lists } });
        const clients = [open({ toolsListChanged: true }, 1), open({ toolsListChanged: true }, '1')];
        if (graceful) listens.close();
        else listens.fail(fault('unavailable'));
        assert.deepEqual(clients.map(({ outcome }) => outcome), graceful ? [complete(1), complete('1')] : ['unavailable', 'unavailable']);
        assert.equal(listens.awake, false);
      }
    });
  }
});
