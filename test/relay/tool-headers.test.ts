// Which arguments tools want repeated in headers, read from the lists of a fake child: page by page, late, or not at all.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Limits } from '../../src/config/limits.ts';
import { ToolHeaders } from '../../src/relay/tool-headers.ts';
import { testWorld } from '../child/world.ts';
import { fault, TestRelay } from './fakes.ts';

const tool = (name: string, header: unknown = 'Region'): object => ({ name, inputSchema: { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': header } } } });
const declared = [{ header: 'Region', path: ['region'] }];

function reading(limits: Partial<Limits> = {}) {
  const relay = new TestRelay({ limits });
  const headers = new ToolHeaders(relay.relay, testWorld(relay.clock, { limits }));
  let waited = 0;
  return {
    relay,
    headers,
    load: (): void => headers.load(() => void waited++),
    /** How many have been waited for until now. */
    get waited() {
      return waited;
    },
    /** The cursors that the child was asked for. */
    asked: (): unknown[] => relay.link.messages.map(({ method, params }) => (assert.equal(method, 'tools/list'), params.cursor)),
    /** Answers the last request. */
    lists: (...tools: unknown[]): void => relay.answers(relay.link.last.id, { tools }),
    page: (nextCursor: unknown, ...tools: unknown[]): void => relay.answers(relay.link.last.id, { tools, nextCursor }),
  };
}

test('the list is read once for all who wait, all pages of it; a tool that is not listed declares nothing', () => {
  const test = reading();
  assert.equal(test.headers.of('a'), undefined);
  test.load();
  test.load();
  test.page('1', tool('a'), { name: 'plain' }, 'nonsense');
  test.page('', tool('b'));
  assert.equal(test.waited, 0);
  test.lists(tool('c', 'not a token'));
  assert.deepEqual([test.waited, test.asked()], [2, [undefined, '1', '']]);
  assert.deepEqual(['a', 'b', 'c', 'plain', 'd', undefined].map((name) => test.headers.of(name)), [declared, declared, [], [], [], []]);
  test.headers.forget();
  assert.equal(test.headers.of('a'), undefined);
});

test('what cannot be read is left out: an error, nonsense, a lost child, and what is beyond the last page', () => {
  for (const [say, known] of [
    [(test: ReturnType<typeof reading>) => test.relay.says({ jsonrpc: '2.0', id: test.relay.link.last.id, error: { code: -32603, message: 'no' } }), true],
    [(test: ReturnType<typeof reading>) => test.relay.answers(test.relay.link.last.id, { tools: 'none', nextCursor: 5 }), true],
    [(test: ReturnType<typeof reading>) => test.relay.relay.down(fault()), true],
    [(test: ReturnType<typeof reading>) => test.page('more', tool('b')), true],
  ] as const) {
    const test = reading({ maxToolPages: 2 });
    test.load();
    test.page('1', tool('a'));
    say(test);
    assert.deepEqual([test.waited, test.headers.of('a') !== undefined], [1, known]);
    assert.equal(test.asked().length, 2);
  }
});

test('nobody waits longer than so long, and the list that comes late counts from then on', () => {
  const test = reading({ toolsWaitMs: 50 });
  test.load();
  test.relay.clock.advance(49);
  assert.equal(test.waited, 0);
  test.relay.clock.advance(1);
  assert.deepEqual([test.waited, test.headers.of('a')], [1, []]);
  test.lists(tool('a'));
  assert.deepEqual([test.waited, test.headers.of('a')], [1, declared]);
});

test('a list that changes while it is read serves those who wait, and is read again for the next', () => {
  const test = reading();
  let seen: unknown;
  test.headers.load(() => (seen = test.headers.of('a')));
  test.headers.forget();
  test.lists(tool('a'));
  assert.deepEqual([seen, test.headers.of('a')], [declared, undefined]);
  test.load();
  test.lists(tool('b'));
  assert.deepEqual([test.headers.of('a'), test.headers.of('b')], [[], declared]);
});

test('a list that comes late and is not what it was is forgotten', () => {
  const test = reading({ toolsWaitMs: 50 });
  test.load();
  test.relay.clock.advance(50);
  test.headers.forget();
  test.lists(tool('a'));
  assert.equal(test.headers.of('a'), undefined);
});
