import assert from 'node:assert/strict';
import { test } from 'node:test';
import { classify, malformedError, strayResponse } from '../../src/protocol/classify.ts';
import { readMessage } from '../../src/wire/jsonrpc.ts';

const LEGACY = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'];

function look(text: string, version?: string) {
  return classify(readMessage(Buffer.from(text), { maxBatch: 3, maxMembers: 10 }), version);
}

const request = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}';
const notification = '{"jsonrpc":"2.0","method":"notifications/x"}';
const response = '{"jsonrpc":"2.0","id":1,"result":{}}';
const initialize = '{"jsonrpc":"2.0","id":"i","method":"initialize","params":{}}';

// The rows of R-60 that refuse: the text, the code, what the message begins with, and the id if one could be read.
const refused: readonly (readonly [row: number, text: string, code: number, message: string, idText?: string])[] = [
  [1, '', -32700, 'Parse error: '],
  [1, '{', -32700, 'Parse error: '],
  [1, `${request}${request}`, -32700, 'Parse error: '],
  [1, '\ud800{', -32700, 'Parse error: '],
  [2, '[]', -32600, 'Invalid Request: '],
  [2, `[${initialize}]`, -32600, 'Invalid Request: initialize '],
  [2, `[${notification},${request},${initialize}]`, -32600, 'Invalid Request: initialize '],
  [2, `[${notification},${notification},${notification},${notification}]`, -32600, 'Invalid Request: a batch of more than 3 '],
  [5, '{}', -32600, 'Invalid Request: '],
  [5, 'null', -32600, 'Invalid Request: '],
  [5, '"x"', -32600, 'Invalid Request: '],
  [5, '7', -32600, 'Invalid Request: '],
  [5, '{"jsonrpc":"1.0","id":"a","method":"m"}', -32600, 'Invalid Request: ', '"a"'],
  [5, '{"jsonrpc":"2.0","id":null,"method":"m"}', -32600, 'Invalid Request: '],
  [5, '{"jsonrpc":"2.0","id":1.5,"method":"m"}', -32600, 'Invalid Request: '],
  [5, '{"jsonrpc":"2.0","id":7.0,"method":"m","params":[]}', -32600, 'Invalid Request: ', '7.0'],
  [5, '{"jsonrpc":"2.0","id":7,"method":"m","a":1,"a":2}', -32600, 'Invalid Request: duplicate member "a"', '7'],
  [6, response, -32600, 'Invalid Request: a response '],
  [6, '{"jsonrpc":"2.0","id":null,"error":{}}', -32600, 'Invalid Request: a response '],
];

for (const [row, text, code, message, idText] of refused) {
  test(`row ${row} of R-60: ${text === '' ? 'nothing at all' : text} is refused with 400 and ${code}`, () => {
    for (const version of [undefined, ...LEGACY]) {
      const verdict = look(text, version);
      assert.ok(verdict.is === 'refused');
      assert.equal(verdict.error.status, 400);
      assert.equal(verdict.error.toRpc().code, code);
      assert.ok(verdict.error.message.startsWith(message), verdict.error.message);
      assert.equal(verdict.idText, idText);
    }
  });
}

test('row 17 of R-60: a request is one, whatever its method and whichever legacy revision the header names', () => {
  for (const text of [request, initialize, '{"jsonrpc":"2.0","id":"ż","method":"","params":{"_meta":{}}}']) {
    for (const version of [undefined, '', ...LEGACY]) {
      const verdict = look(text, version);
      assert.ok(verdict.is === 'request');
      assert.equal(verdict.request.raw.toString(), text);
    }
  }
});

test('rows 4 and 17 of R-60: notifications are accepted with 204, and with 202 for a client whose header names a legacy revision', () => {
  for (const text of [notification, `[${notification}]`, `[${request},${notification}]`, `[${response},7,{}]`]) {
    const is = text.startsWith('[') ? 'batch' : 'notification';
    const statusOf = (version?: string) => {
      const verdict = look(text, version);
      assert.ok(verdict.is === 'notification' || verdict.is === 'batch');
      assert.equal(verdict.is, is);
      return verdict.status;
    };
    assert.equal(statusOf(), 204);
    assert.equal(statusOf(''), 204);
    for (const version of LEGACY) {
      assert.equal(statusOf(version), 202);
      assert.equal(statusOf(` ${version}\t`), 202);
    }
  }
});

test('a batch goes on with its messages in order, malformed ones among them', () => {
  const verdict = look(`[${request},{},${notification}]`);
  assert.ok(verdict.is === 'batch');
  assert.deepEqual(verdict.batch.messages.map(({ kind }) => kind), ['request', 'malformed', 'notification']);
});

test('text that is no JSON is a parse error, and JSON that is no message an invalid request, with the reason in the message', () => {
  const error = (why: 'json' | 'shape') => malformedError({ kind: 'malformed', why, detail: 'the detail', idText: undefined });
  assert.deepEqual([error('json').reason, error('json').message], ['parse_error', 'Parse error: the detail']);
  assert.deepEqual([error('shape').reason, error('shape').message], ['invalid_request', 'Invalid Request: the detail']);
  assert.deepEqual([strayResponse().reason, strayResponse().status], ['invalid_request', 400]);
});
