import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isModern, legacyRevision, MODERN, PREFERRED_LEGACY } from '../../src/protocol/revisions.ts';

test('the four revisions with a handshake are legacy', () => {
  const rows = [
    ['2024-11-05', false, false, false],
    ['2025-03-26', true, false, true],
    ['2025-06-18', false, false, true],
    ['2025-11-25', false, true, true],
  ] as const;
  for (const [version, batches, primes, completions] of rows) {
    assert.deepEqual(legacyRevision(version), { version, era: 'legacy', batches, primes, completions });
  }
});

test('nothing else is a legacy revision, close as it may come', () => {
  const others = ['', ' 2025-11-25', '2025-11-25 ', '2025-11-2', '2025-11-251', '20251125', '2025-11-26', '1999-01-01', '2026-07-28', 'DRAFT-2025-11-25', '__proto__', 'legacy'];
  for (const version of [...others, undefined, null, 20251125, {}, ['2025-11-25']]) assert.equal(legacyRevision(version), undefined, String(version));
});

test('the newest legacy revision is the one that is preferred', () => {
  assert.equal(PREFERRED_LEGACY.version, '2025-11-25');
  assert.equal(legacyRevision('2025-11-25'), PREFERRED_LEGACY);
});

test('the modern revision that is spoken is the first one', () => {
  assert.deepEqual([MODERN.version, MODERN.era], ['2026-07-28', 'modern']);
  assert.equal(isModern(MODERN.version), true);
});

test('a date from 2026-07-28 on is modern, known or not, and nothing else is', () => {
  for (const version of ['2026-07-28', '2026-07-29', '2026-12-01', '2027-01-01', '9999-99-99']) assert.equal(isModern(version), true, version);
  const others = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25', '2026-07-27', '', '2026', '2026-7-28', '20260728', ' 2026-07-28', '2026-07-28 ', 'DRAFT-2026-07-28', '12026-07-28', 'zzzz-zz-zz'];
  for (const version of [...others, undefined]) assert.equal(isModern(version), false, version);
});
