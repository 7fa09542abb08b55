// JSON that scanners stumble over, as texts: values, names of members, and white space between tokens.

export const SPACES: readonly string[] = ['', ' ', '\t', '\n', '\r', ' \r\n\t '];

/** Strings with one run of backslashes that begins 50 to 70 bytes behind the opening quote, with and without an escaped quote. */
export const LONG_STRINGS: readonly string[] = Array.from({ length: 21 }, (_, k) => 50 + k).flatMap((at) =>
  [0, 1, 2, 3, 4, 5].flatMap((run) =>
    ['', 'y', ',"id":7}'.replaceAll('"', '\\"'), 'y'.repeat(70)].map(
      (rest) => `"${'x'.repeat(at - 1)}${'\\'.repeat(run)}${run % 2 === 1 ? '"' : ''}${rest}"`,
    ),
  ),
);

/** The strings among `VALUES` may stand for names, too. */
export const STRINGS: readonly string[] = [
  '""', '" "', '"a"', '"\\""', '"\\\\"', '"\\\\\\""', '"\\\\\\\\"', '"a\\\\"', '"\\"\\\\"', '"\\u0022"', '"\\u005c"', '"\\\\u0022"',
  '"\\/\\b\\f\\n\\r\\t"', '"\\u0000"', '"\\u2028"', '"{"', '"}"', '"["', '"]"', '":"', '","', '"\\",\\"id\\":7}"',
  '"żółć"', '"\\u017c\\u00f3\\u0142"', '"🦊"', '"\\ud83e\\udd8a"', '"\u007f\u0080\u00a0\u2028\u2029\ufeff"', '"\u0141\u0167"',
  '"id"', '"\\u0069d"', '"\\u0069\\u0064"', '"__proto__"', '"\\u005f_proto__"', '"constructor"', '"toString"', '"0"', '"-1"', '"4294967295"',
  `"${'\\"'.repeat(40)}"`, `"${'\\\\'.repeat(40)}"`, `"x${'\\"'.repeat(40)}"`, `"x${'\\\\'.repeat(40)}"`, `"${'ż'.repeat(40)}"`, `"x${'ż'.repeat(40)}"`, `"${'x'.repeat(200)}"`,
];

export const VALUES: readonly string[] = [
  '0', '-0', '1', '-1', '1.0', '0.1', '1e3', '1E+3', '1e-3', '1e400', '-1e400', '1e-400', '9007199254740993', '123456789012345678901234567890',
  'true', 'false', 'null',
  '{}', '[]', '{ }', '[\n]', '[[],{},[[]]]', '[1,[2,[3]]]', '[ "]" , "}" ]', '{"a":{"b":[1,{"c":"}"}]}}', '{"id":7,"method":"x"}', '{"a":1,"a":2}',
  '{"__proto__":{"id":7}}', '{"":""}', '[{"\\"":"\\\\"},"\\\\\\"]"]', '{ "a" :\t[ 1 ,\r\n2 ] }',
  // A lone surrogate is JSON all the same, and as it has no UTF-8, an escape is the only way to write it.
  '"\\ud83e"', '"\\udd8a\\ud83e"',
  ...STRINGS,
];

/** `open` and `close` around nothing, so many levels deep. */
export function nested(levels: number, open: string, close: string): string {
  return open.repeat(levels) + close.repeat(levels);
}

/** Every way of cutting bytes into chunks; 2^(n-1) of them, so for short texts only. */
export function* cuts(bytes: Buffer): Generator<Buffer[]> {
  const gaps = Math.max(0, bytes.length - 1);
  for (let mask = 0; mask < 2 ** gaps; mask++) {
    const chunks: Buffer[] = [];
    let from = 0;
    for (let gap = 0; gap < gaps; gap++) {
      if ((mask & (1 << gap)) === 0) continue;
      chunks.push(bytes.subarray(from, gap + 1));
      from = gap + 1;
    }
    chunks.push(bytes.subarray(from));
    yield chunks;
  }
}

/** Every way of cutting bytes into three chunks, empty ones included. */
export function* thirds(bytes: Buffer): Generator<Buffer[]> {
  for (let i = 0; i <= bytes.length; i++) {
    for (let j = i; j <= bytes.length; j++) yield [bytes.subarray(0, i), bytes.subarray(i, j), bytes.subarray(j)];
  }
}
