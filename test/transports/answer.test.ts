// How several answers become one.

import assert from 'node:assert/strict';
import { constants } from 'node:buffer';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { LIMITS } from '../../src/config/limits.ts';
import { answerBatch } from '../../src/transports/answer.ts';
import { encodeResult, readMessage, type Batch } from '../../src/wire/jsonrpc.ts';

test('the answers of a batch may be longer together than a string can be', async (t) => {
  const big = encodeResult('1', Buffer.from(`"${'x'.repeat(64 * 2 ** 20)}"`));
  const count = Math.ceil(constants.MAX_STRING_LENGTH / big.length) + 1;
  const { messages } = readMessage(Buffer.from(`[${Array(count).fill('{"jsonrpc":"2.0","id":1,"method":"a"}').join()}]`), LIMITS) as Batch;
  const server = http.createServer((req, res) => {
    for (const [, settle] of answerBatch(messages, 204, () => {}, req, res, { clock: systemClock, limits: LIMITS })) settle(big);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const [response] = (await once(http.get({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' }), 'response')) as [http.IncomingMessage];
  let bytes = 0;
  let [begin, end] = ['', ''];
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    begin = (begin + chunk.toString('latin1', 0, 8)).slice(0, 8);
    end = (end + chunk.toString('latin1', Math.max(0, chunk.length - 3))).slice(-3);
  }
  assert.equal(bytes, count * (big.length + 1) + 1);
  assert.equal(response.headers['content-length'], String(bytes));
  assert.deepEqual([begin, end], ['[{"jsonr', '"}]']);
});
