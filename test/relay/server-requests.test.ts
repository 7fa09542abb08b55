import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Caller, Exchange } from '../../src/relay/exchange.ts';
import { refuseChildRequest } from '../../src/relay/server-requests.ts';
import { call, TestRelay } from './fakes.ts';

/** Callers in flight: so many, each with a running call or with none but gone ones. */
function candidates(running: number, gone: number, blurred = false): Parameters<typeof refuseChildRequest>[1] {
  const callers = new Map<Caller, Exchange | 'gone'>();
  for (let k = 0; k < running; k++) callers.set({ era: 'legacy' }, call());
  for (let k = 0; k < gone; k++) callers.set({ era: 'legacy' }, 'gone');
  return { callers, blurred };
}

const AMBIGUOUS = [-32603, 'ambiguous_client'] as const;
const NOBODY = [-32603, 'no_client'] as const;
const UNABLE = [-32601, 'client_capability'] as const;

/** Candidates, and what the child is told about sampling or elicitation, and about roots. */
const TABLE: readonly (readonly [string, ReturnType<typeof candidates>, readonly [number, string], readonly [number, string]])[] = [
  ['nobody is in flight', candidates(0, 0), AMBIGUOUS, NOBODY],
  ['nobody is known to be in flight', candidates(0, 0, true), AMBIGUOUS, NOBODY],
  ['one simple client is in flight', candidates(1, 0), UNABLE, UNABLE],
  ['the only caller is gone', candidates(0, 1), NOBODY, NOBODY],
  ['two callers are in flight', candidates(2, 0), AMBIGUOUS, AMBIGUOUS],
  ['one is in flight and one is gone', candidates(1, 1), AMBIGUOUS, AMBIGUOUS],
  ['two are gone', candidates(0, 2), AMBIGUOUS, AMBIGUOUS],
  ['one is in flight and somebody may be forgotten', candidates(1, 0, true), AMBIGUOUS, AMBIGUOUS],
  ['one is gone and somebody may be forgotten', candidates(0, 1, true), AMBIGUOUS, AMBIGUOUS],
];

for (const [when, those, asked, roots] of TABLE) {
  test(`when ${when} a request of the child reaches no client, and the child is told why (R-58 to R-59d)`, () => {
    for (const [method, expected] of [['sampling/createMessage', asked], ['elicitation/create', asked], ['roots/list', roots]] as const) {
      const { code, data } = refuseChildRequest(method, those).toRpc();
      assert.deepEqual([code, (data as { reason: string }).reason], expected, method);
    }
  });
}

test('a method that is none of a client is unknown, whoever is in flight', () => {
  for (const those of [candidates(0, 0), candidates(1, 0), candidates(2, 1, true)]) {
    for (const method of ['tools/call', 'initialize', 'tasks/get', 'no/such', '', 'constructor', 'Sampling/createMessage']) {
      const { code, message } = refuseChildRequest(method, those).toRpc();
      assert.deepEqual([code, message], [-32601, `Method not found: ${method}`]);
    }
  }
});

test('what the child is told names the method and how many clients share it', () => {
  assert.equal(refuseChildRequest('sampling/createMessage', candidates(3, 2)).message, 'Cannot attribute sampling/createMessage: 5 clients share this process');
  assert.equal(refuseChildRequest('elicitation/create', candidates(1, 0)).message, 'Client does not support elicitation/create');
});

test('over a relay the same is decided by the calls that the child has not answered', () => {
  const it = new TestRelay();
  const reason = (): string => (refuseChildRequest('elicitation/create', it.relay.candidates()).toRpc().data as { reason: string }).reason;
  const [a, b] = [call('a'), call('b')];
  assert.equal(reason(), 'ambiguous_client');
  it.dispatch(a);
  assert.equal(reason(), 'client_capability');
  it.dispatch(b);
  assert.equal(reason(), 'ambiguous_client');
  it.answers(1);
  assert.equal(reason(), 'client_capability');
  it.relay.cancel(b, 'it left');
  assert.equal(reason(), 'no_client');
  it.answers(2);
  assert.equal(reason(), 'ambiguous_client');
});
