import assert from 'node:assert/strict';
import { test } from 'node:test';
import { legacyRevision, PREFERRED_LEGACY } from '../../src/protocol/revisions.ts';

test('the four revisions with a handshake are legacy', () => {
  for (const version of ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']) {
    assert.deepEqual(legacyRevision(version), { version, era: 'legacy' });
  }
});

test('nothing else is a legacy revision, close as it may come', () => {
  const others = ['', ' 2025-11-25', '2025-11-25 ', '2025-11-2', '2025-11-251', '20251125', '2025-11-26', '1999-01-01', '2026-07-28', 'DRAFT-2025-11-25', '__proto__', 'legacy'];
  for (const version of [...others, undefined, null, 20251125, {}, ['2025-11-25']]) assert.equal(legacyRevision(version), undefined, String(version));
});

test('the newest legacy revision is the one that is preferred', () => {
  assert.equal(PREFERRED_LEGACY, '2025-11-25');
  assert.ok(legacyRevision(PREFERRED_LEGACY));
});
