import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Profile } from '../../src/protocol/legacy.ts';
import { goesOn, incoming } from '../../src/relay/eras.ts';
import { lonelyCaller, type Exchange } from '../../src/relay/exchange.ts';
import { addressed } from '../../src/wire/jsonrpc.ts';
import { bytes } from './fakes.ts';

test('what is said to go on as it came is what nothing of is changed but its id', () => {
  const raw = bytes('{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"a","execution":{"taskSupport":"required"}}],"resultType":"complete"}}');
  const id = { at: 22, end: 23, text: '"mine"' };
  let passed = 0;
  for (const caller of [lonelyCaller(), { ...lonelyCaller(), holder: {} }, { ...lonelyCaller(), era: 'modern' as const }]) {
    for (const era of ['legacy', 'modern'] as const) {
      for (const method of ['tools/list', 'tools/call', 'resources/read', 'x']) {
        for (const isOwn of [false, true]) {
          const exchange: Exchange = { idText: '"mine"', caller, streams: false, notify() {}, settle() {} };
          const child = { era, capabilities: {}, revision: '2025-11-25', raw: bytes('{}') } as Profile;
          const [answer] = incoming(Buffer.from(raw), id, method, exchange, child, isOwn);
          const isAsItWas = String(answer) === String(addressed(Buffer.from(raw), id));
          const goes = goesOn(method, exchange, child, isOwn);
          passed += Number(goes);
          assert.ok(isAsItWas || !goes, `${caller.era} to ${era}, ${method}, ${isOwn}`);
        }
      }
    }
  }
  assert.equal(passed, 14);
});
