import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asProxyError, ProxyError, shuttingDown, type Reason } from '../../src/base/errors.ts';

// HTTP status, JSON-RPC code, and Retry-After where waiting helps. A reason that is missing here does not compile.
const faults: Record<Reason, readonly [status: number, code: number, retryAfterS?: number]> = {
  parse_error: [400, -32700],
  invalid_request: [400, -32600],
  forbidden: [403, -32600],
  not_found: [404, -32600],
  unauthorized: [401, -32600],
  request_timeout: [408, -32600],
  headers_too_large: [431, -32600],
  busy: [503, -32603, 1],
  starting: [503, -32603, 5],
  internal: [500, -32603],
  invalid_config: [400, -32602],
  config_conflict: [409, -32603],
  config_write_failed: [500, -32603],
  line_too_long: [200, -32603],
  unknown_server: [404, -32600],
  unavailable: [503, -32603],
  method_not_allowed: [405, -32000],
  not_acceptable: [406, -32000],
  too_large: [413, -32600],
  media_type: [415, -32600],
  method_not_found: [200, -32601],
  invalid_params: [200, -32602],
  child_exited: [200, -32603],
  reconfigured: [200, -32603],
  shutdown: [200, -32603],
  timeout: [200, -32603],
  session_closed: [200, -32603],
  cancelled: [200, -32603],
  bad_answer: [200, -32603],
  missing_capability: [400, -32021],
  request_state: [200, -32602],
  declined: [200, -32603],
  input_failed: [200, -32603],
  session_required: [400, -32000],
  session_not_found: [404, -32001],
  session_limit: [503, -32603],
  bad_version: [400, -32000],
  header_mismatch: [400, -32020],
  bad_envelope: [400, -32602],
  unsupported_version: [400, -32022],
  ambiguous_client: [200, -32603],
  no_client: [200, -32603],
  client_capability: [200, -32601],
};

for (const [reason, [status, code, retryAfterS]] of Object.entries(faults) as [Reason, (typeof faults)[Reason]][]) {
  test(`${reason} is HTTP ${status} and JSON-RPC ${code}${retryAfterS === undefined ? '' : `, to be tried again after ${retryAfterS} s`}`, () => {
    const error = new ProxyError(reason, 'What happened');
    assert.equal(error.status, status);
    assert.equal(error.retryAfterS, retryAfterS);
    const specified = reason === 'unsupported_version' || reason === 'missing_capability';
    assert.deepEqual(error.toRpc(), { code, message: 'What happened', data: specified ? {} : { source: 'mcp-proxy', reason } });
  });
}

test('a revision that has another code for a fault gets that one', () => {
  const error = new ProxyError('not_acceptable', 'What happened', { code: -32600 });
  assert.deepEqual([error.status, error.toRpc().code, error.reason], [406, -32600, 'not_acceptable']);
});

test('an error is one of Error, with its reason, its data and its cause', () => {
  const cause = new Error('for the log');
  const error = new ProxyError('child_exited', 'Server "x" exited (code 1)', { data: { exitCode: 1, stderr: 'ż' }, cause });
  assert.ok(error instanceof Error);
  assert.deepEqual([error.name, error.message, error.reason, error.cause], ['ProxyError', 'Server "x" exited (code 1)', 'child_exited', cause]);
  assert.deepEqual(error.toRpc().data, { source: 'mcp-proxy', reason: 'child_exited', exitCode: 1, stderr: 'ż' });
  assert.equal('cause' in new ProxyError('busy', 'm'), false);
  assert.deepEqual(new ProxyError('busy', 'm').data, {});
});

test('what the client is told holds nothing of the cause', () => {
  const error = new ProxyError('internal', 'Internal error', { cause: new Error('/secret/path') });
  assert.doesNotMatch(JSON.stringify(error.toRpc()), /secret/);
});

test('a request that comes during shutdown is refused by status, one that was accepted is answered', () => {
  const error = shuttingDown();
  assert.deepEqual([error.status, error.reason, error.message], [503, 'shutdown', 'Shutting down']);
  assert.deepEqual(error.toRpc(), { code: -32603, message: 'Shutting down', data: { source: 'mcp-proxy', reason: 'shutdown' } });
  assert.equal(new ProxyError('shutdown', 'Shutting down').status, 200);
});

test('a fault goes through as it is, and whatever else was thrown is an internal error that says no more', () => {
  const fault = new ProxyError('busy', 'm');
  assert.equal(asProxyError(fault), fault);
  for (const thrown of [new TypeError('/secret/path'), 'secret', undefined, null, 0, { reason: 'busy', message: 'secret' }]) {
    const error = asProxyError(thrown);
    assert.deepEqual([error.reason, error.status, error.message, error.cause], ['internal', 500, 'Internal error', thrown]);
    assert.deepEqual(error.toRpc(), { code: -32603, message: 'Internal error', data: { source: 'mcp-proxy', reason: 'internal' } });
  }
});
