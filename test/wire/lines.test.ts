import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLineDecoder } from '../../src/wire/lines.ts';
import { cuts, thirds } from './nasty.ts';

const ROOMY = { maxLineBytes: 1_000_000, maxLineParts: 1_000_000 };

const OVERFLOW = Symbol('overflow');

/** What a decoder says about the chunks, in order: lines as Latin-1 text. */
function decode(chunks: Iterable<Buffer>, bounds = ROOMY): (string | symbol)[] {
  const said: (string | symbol)[] = [];
  const feed = createLineDecoder({
    ...bounds,
    onLine: (parts) => said.push(Buffer.concat(parts).toString('latin1')),
    onOverflow: () => said.push(OVERFLOW),
  });
  for (const chunk of chunks) feed(chunk);
  return said;
}

test('lines are what stands before each LF, without one CR, and without the empty ones: every short text, cut in every way', () => {
  const alphabet = ['a', '\r', '\n'];
  let texts = [''];
  for (let length = 1; length <= 6; length++) {
    texts = texts.flatMap((text) => alphabet.map((character) => text + character));
    for (const text of texts) {
      const expected = text.split('\n').slice(0, -1).map((line) => line.replace(/\r$/, '')).filter((line) => line !== '');
      for (const chunks of cuts(Buffer.from(text))) assert.deepEqual(decode(chunks), expected, JSON.stringify(chunks.map(String)));
    }
  }
});

test('characters of several bytes come out whole, wherever the bytes are cut', () => {
  const bytes = Buffer.from('{"a":"żółć"}\r\n\n\r\n{"b":"🦊\u2028\u0085\\n"}\n{"c":\r1}\nunfinished');
  const expected = ['{"a":"żółć"}', '{"b":"🦊\u2028\u0085\\n"}', '{"c":\r1}'].map((line) => Buffer.from(line).toString('latin1'));
  for (const chunks of thirds(bytes)) assert.deepEqual(decode(chunks), expected);
  assert.deepEqual(decode(Array.from(bytes, (byte) => Buffer.of(byte))), expected);
});

test('bytes that are not UTF-8 are nothing that the framing minds', () => {
  const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)).toString('latin1').replace('\n', '').replace('\r', '');
  for (const at of [0, 1, 127, 255]) {
    const bytes = Buffer.from(`${all}\n`, 'latin1');
    assert.deepEqual(decode([bytes.subarray(0, at), bytes.subarray(at)]), [all]);
  }
});

test('a line may be as long as the bound, and one byte more is an overflow, with or without its end, however it is cut', () => {
  for (const end of ['', '\n', '\nlate\n']) {
    for (const chunks of thirds(Buffer.from(`a\n12345678\n${end}`))) {
      assert.deepEqual(decode(chunks, { ...ROOMY, maxLineBytes: 8 }), ['a', '12345678', ...(end === '\nlate\n' ? ['late'] : [])]);
    }
    for (const chunks of thirds(Buffer.from(`a\n123456789${end}`))) {
      const said = decode(chunks, { ...ROOMY, maxLineBytes: 8 });
      assert.deepEqual(said, ['a', OVERFLOW]);
    }
  }
});

test('an overflow is told once, and after it the decoder is deaf', () => {
  const bounds = { ...ROOMY, maxLineBytes: 10 };
  assert.deepEqual(decode([Buffer.from('1234567890'), Buffer.from('123'), Buffer.from('456'), Buffer.from('\nnext\n'), Buffer.from('more\n')], bounds), [OVERFLOW]);
  assert.deepEqual(decode([Buffer.from('ok\n12345678901\nnext\nmore\n'), Buffer.from('last\n')], bounds), ['ok', OVERFLOW]);
  assert.deepEqual(decode([Buffer.alloc(11), Buffer.alloc(11), Buffer.from('\n')], bounds), [OVERFLOW]);
});

test('a line may come in as many parts as the bound, and one more is an overflow; the count begins anew with each line', () => {
  const bounds = { ...ROOMY, maxLineParts: 3 };
  const parts = (text: string) => Array.from(text, (character) => Buffer.from(character));
  assert.deepEqual(decode(parts('abc\ndef\nghi\n'), bounds), ['abc', 'def', 'ghi']);
  assert.deepEqual(decode(parts('abc\ndefg\nhij\n'), bounds), ['abc', OVERFLOW]);
  assert.deepEqual(decode([Buffer.from('abc'), Buffer.from('def'), Buffer.from('ghi\nj')], bounds), ['abcdefghi']);
});

test('chunks without a byte are no parts of a line', () => {
  const nothing = Array.from({ length: 100 }, () => Buffer.alloc(0));
  assert.deepEqual(decode([...nothing, Buffer.from('a'), ...nothing, Buffer.from('b\n'), ...nothing], { ...ROOMY, maxLineParts: 2 }), ['ab']);
});

test('no byte is copied, and no part is empty', () => {
  const lines: string[] = [];
  const seen: Buffer[] = [];
  const onLine = (parts: readonly Buffer[]): void => {
    lines.push(parts.join('|'));
    seen.push(...parts);
  };
  const feed = createLineDecoder({ ...ROOMY, onLine, onOverflow: () => assert.fail('within the bounds') });
  const chunks = ['one\r\ntwo\nth', 're', 'e\nfour', '\r\nfive\r', '\n\r', '\n'].map((text) => Buffer.from(text));
  for (const chunk of chunks) feed(chunk);
  assert.deepEqual(lines, ['one', 'two', 'th|re|e', 'four', 'five']);
  for (const chunk of chunks) chunk.fill('-');
  assert.match(seen.join(''), /^-{19}$/);
});
