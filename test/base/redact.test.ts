import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRedact } from '../../src/base/redact.ts';

const cases: readonly (readonly [title: string, secrets: readonly (string | undefined)[], text: string, shown: string])[] = [
  ['a secret is replaced wherever it stands', ['sesame'], 'sesame, open sesame, opensesame', '***, open ***, open***'],
  ['several secrets are replaced', ['sesame', 'hunter2'], 'sesame hunter2 sesamehunter2', '*** *** ******'],
  ['six characters are a secret, five are none', ['123456', '12345'], '123456 12345', '*** 12345'],
  ['a value that is missing or empty is no secret', [undefined, '', 'sesame'], 'undefined sesame', 'undefined ***'],
  ['a secret that holds another goes first', ['sesame', 'sesame-open'], 'sesame-open sesame', '*** ***'],
  ['it does so in whatever order they were given', ['sesame-open', 'sesame'], 'sesame-open sesame', '*** ***'],
  ['a secret may be given twice', ['sesame', 'sesame'], 'sesame', '***'],
  ['a secret is no pattern', ['a.b*c$', '[x](y)'], 'a.b*c$ aXbbc [x](y)', '*** aXbbc ***'],
  ['a secret may look like what replaces a match', ['$&$&$&'], '$&$&$& $1', '*** $1'],
  ['a secret may have several lines', ['-----BEGIN\nabc\n'], 'key: -----BEGIN\nabc\n.', 'key: ***.'],
  ['each line of it is one, too, if it is long enough', ['-----BEGIN\n  abcdef\r\n  xyz\n'], 'a -----BEGIN, then abcdef\\nxyz', 'a ***, then ***\\nxyz'],
  ['a secret in another case is none', ['Sesame'], 'sesame Sesame', 'sesame ***'],
  ['a text without secrets stays as it is', [], 'sesame', 'sesame'],
];

for (const [title, secrets, text, shown] of cases) {
  test(title, () => assert.equal(createRedact(secrets)(text), shown));
}

test('the secrets may come from any iterable', () => {
  assert.equal(createRedact(new Set(['sesame']).values())('sesame'), '***');
});

test('no text shows a secret, however secrets overlap in it', () => {
  const secrets = ['abcabc', 'bcabcab', 'cabcabcabc'];
  const redact = createRedact(secrets);
  for (let from = 0; from < 3; from++) {
    for (let length = 0; length < 30; length++) {
      const shown = redact('abc'.repeat(12).slice(from, from + length));
      for (const secret of secrets) assert.ok(!shown.includes(secret), shown);
    }
  }
});
