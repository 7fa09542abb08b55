import assert from 'node:assert/strict';
import { test } from 'node:test';
import { secretId } from '../../src/base/ids.ts';

test('an id is 128 bits in hex, and no two are alike', () => {
  const ids = Array.from({ length: 1_000 }, () => secretId());
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
  assert.equal(new Set(ids).size, ids.length);
  // Every bit is a random one: each of the 128 was seen both ways.
  const bits = ids.map((id) => BigInt(`0x${id}`));
  assert.equal(bits.reduce((a, b) => a | b), 2n ** 128n - 1n);
  assert.equal(bits.reduce((a, b) => a & b), 0n);
});
