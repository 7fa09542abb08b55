// Requests as a client may have written them, and what came of a check of one.

import assert from 'node:assert/strict';
import type { ProxyError } from '../../src/base/errors.ts';
import { readMessage, type RpcRequest } from '../../src/wire/jsonrpc.ts';

export function request(text: string): RpcRequest {
  const message = readMessage(Buffer.from(text), { maxBatch: 1, maxMembers: 1_000 });
  assert.equal(message.kind, 'request', text);
  return message as RpcRequest;
}

/** A request of that method with these members of `params`, as JSON text. */
export const asking = (method: string, params: string): RpcRequest => request(`{"jsonrpc":"2.0","id":1,"method":"${method}","params":{${params}}}`);

/** What came of a check: nothing, or status, code and message. */
export const verdict = (problem: ProxyError | undefined) => (problem === undefined ? undefined : [problem.status, problem.toRpc().code, problem.message]);
