import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerId, duplicate, elements, layoutOf, members, oneLine, removal, splice, spliceInPlace, valueOf, type Edit, type Member } from '../../src/wire/envelope.ts';
import { LONG_STRINGS, nested, SPACES, STRINGS, VALUES } from './nasty.ts';

type Pair = readonly [name: string, value: string];

/** An object of the given JSON texts with `space` wherever white space may stand, and where each member lies in it. */
function build(pairs: readonly Pair[], space = ''): { readonly text: string; readonly raw: Buffer; readonly list: Member[] } {
  let text = `${space}{${space}`;
  const list: Member[] = [];
  for (const [k, [name, value]] of pairs.entries()) {
    if (k > 0) text += `,${space}`;
    const nameAt = Buffer.byteLength(text);
    text += `${name}${space}:${space}`;
    const at = Buffer.byteLength(text);
    text += value;
    list.push({ name: latin1(JSON.parse(name)), nameAt, at, end: Buffer.byteLength(text) });
    text += space;
  }
  text += `}${space}`;
  return { text, raw: Buffer.from(text), list };
}

/** How the scanner shows a name: one character for each byte of its UTF-8. */
function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function parse(raw: Buffer): unknown {
  return JSON.parse(raw.toString());
}

test('members finds every name and the bytes of every value, whatever stands beside them', () => {
  for (const space of SPACES) {
    assert.deepEqual(members(build([], space).raw, 10), []);
    for (const value of VALUES) {
      for (const name of STRINGS) {
        const { text, raw, list } = build([[name, value], ['"id"', '1']], space);
        assert.deepEqual(members(raw, 10), list, text);
      }
    }
  }
});

test('members finds what follows on any pair of values', () => {
  for (const space of ['', ' ']) {
    for (const first of VALUES) {
      for (const second of VALUES) {
        const { text, raw, list } = build([['"a"', first], ['"b"', second], ['"c"', '0']], space);
        assert.deepEqual(members(raw, 10), list, text);
      }
    }
  }
});

test('a long string ends at its own quote, wherever in it the backslashes are, as a name and as a value', () => {
  for (const string of LONG_STRINGS) {
    for (const space of ['', ' ']) {
      const { text, raw, list } = build([['"a"', string], [string, string], [string, '0']], space);
      JSON.parse(text); // it is JSON
      assert.deepEqual(members(raw, 10), list, text);
      const array = Buffer.from(`[${string}, [${string}] ,${string}]`);
      assert.deepEqual(elements(array, 10).map(({ at, end }) => array.toString('utf8', at, end)), [string, `[${string}]`, string]);
    }
  }
});

test('a hundred thousand levels are one value', () => {
  for (const [open, close] of [['[', ']'], ['{"a":', '}'], ['[{"]":', '}]']] as const) {
    const deep = nested(100_000, open, close).replace(`${open}${close}`, `${open}0${close}`);
    JSON.parse(deep);
    const { raw, list } = build([['"a"', deep], ['"id"', '1']]);
    assert.deepEqual(members(raw, 10), list);
    assert.deepEqual(elements(Buffer.from(`[${deep},1]`), 10), [{ at: 1, end: 1 + deep.length }, { at: 2 + deep.length, end: 3 + deep.length }]);
  }
});

test('members shows a name that is written twice as often as it is written, and escaped names by what they mean', () => {
  const { raw, list } = build([['"id"', '1'], ['"\\u0069d"', '2'], ['"i\\u0064"', '3'], ['"__proto__"', '4'], ['"__proto__"', '5']]);
  assert.deepEqual(members(raw, 10), list);
  assert.deepEqual(list.map(({ name }) => name), ['id', 'id', 'id', '__proto__', '__proto__']);
});

test('members stops one behind the limit: enough to know that there are too many', () => {
  const pairs = Array.from({ length: 5 }, (_, k): Pair => [`"k${k}"`, String(k)]);
  const { raw, list } = build(pairs, ' ');
  for (let limit = 0; limit <= 6; limit++) assert.deepEqual(members(raw, limit), list.slice(0, limit + 1));
});

test('members reads an object inside another, from its brace or from the white space before it', () => {
  for (const space of SPACES) {
    for (const value of VALUES) {
      const inner = build([['"a"', value], ['"b"', '2']], space);
      const outer = build([['"x"', '"{"'], ['"y"', inner.text.trim()], ['"z"', '[]']], space);
      const { at } = outer.list[1]!;
      const shift = at - inner.text.indexOf('{');
      const expected = inner.list.map((member) => ({ name: member.name, nameAt: member.nameAt + shift, at: member.at + shift, end: member.end + shift }));
      assert.deepEqual(members(outer.raw, 10, at), expected);
      assert.deepEqual(members(outer.raw, 10, at - space.length), expected);
    }
  }
});

test('elements finds the bytes of every element of an array', () => {
  for (const space of SPACES) {
    assert.deepEqual(elements(Buffer.from(`${space}[${space}]${space}`), 10), []);
    for (const first of VALUES) {
      for (const second of ['0', '"]"', '[[]]', '{"id":1}']) {
        const raw = Buffer.from(`${space}[${[first, second, first].map((value) => space + value + space).join(',')}]${space}`);
        assert.deepEqual(elements(raw, 10).map(({ at, end }) => raw.toString('utf8', at, end)), [first, second, first]);
      }
    }
  }
});

test('duplicate tells the first name that occurs again', () => {
  const first = (...names: string[]) => duplicate(members(build(names.map((name) => [`"${name}"`, '0'])).raw, 100));
  assert.equal(first(), undefined);
  assert.equal(first('a'), undefined);
  assert.equal(first('a', 'b', 'A', ' a', 'a '), undefined);
  assert.equal(first('a', 'a'), 'a');
  assert.equal(first('x', 'b', 'a', 'b', 'a'), 'b');
  assert.equal(first('id', 'y', '\\u0069\\u0064'), 'id');
  assert.equal(first('__proto__', '\\u005f_proto__'), '__proto__');
  assert.equal(first('toString', 'constructor', 'hasOwnProperty'), undefined);
  assert.equal(first('', ''), '');
  assert.equal(first('\\ud83e\\udd8a', '🦊'), latin1('🦊'));
  for (let count = 1; count <= 20; count++) {
    const names = Array.from({ length: count }, (_, k) => `k${k}`);
    assert.equal(first(...names), undefined);
    for (let j = 1; j < count; j++) for (let i = 0; i < j; i++) assert.equal(first(...names.with(j, `k${i}`)), `k${i}`, `${i} and ${j} of ${count}`);
  }
});

test('removal and splice take members out, whichever they are, and leave the others as they were written', () => {
  const objects: readonly (readonly Pair[])[] = [
    [],
    [['"a"', '1']],
    [['"a"', '{"a":1}'], ['"b"', '[ "," ]']],
    [['"__proto__"', '9007199254740993'], ['"\\u0069d"', '"}"'], ['"c"', '1e400']],
    [['""', '""'], ['"żółć"', '"🦊"'], ['"\\""', '"\\\\"'], ['"{"', '{}'], ['"0"', '"\\ud83e"']],
  ];
  for (const pairs of objects) {
    for (const space of SPACES) {
      const { raw, list } = build(pairs, space);
      const object = { at: raw.indexOf('{'), end: raw.lastIndexOf('}') + 1 };
      for (let subset = 0; subset < 2 ** pairs.length; subset++) {
        const dropped = new Set(list.filter((_, k) => subset & (1 << k)).map(({ name }) => name));
        const edits = removal(object, list, (name) => dropped.has(name));
        if (dropped.size === 0) assert.deepEqual(edits, []);
        if (dropped.size === pairs.length && pairs.length > 0) {
          assert.equal(edits, undefined);
          continue;
        }
        assert.ok(edits !== undefined);
        const kept = pairs.filter((_, k) => !(subset & (1 << k)));
        const left = splice(raw, edits);
        assert.deepEqual(parse(left), parse(build(kept).raw), `${raw} without ${[...dropped]}`);
        assert.deepEqual(members(left, 10).map(({ at, end }) => left.toString('utf8', at, end)), kept.map(([, value]) => value));
        assert.deepEqual([left.subarray(0, object.at), left.subarray(left.lastIndexOf('}') + 1)], [raw.subarray(0, object.at), raw.subarray(object.end)]);
      }
    }
  }
});

test('removal of members of an object and of the object inside it go together', () => {
  const text = '{"jsonrpc":"2.0","id":1,"params":{ "x":1, "_meta" : { "m1":1, "k":9007199254740993, "m2":2 } , "y":2 }}';
  const raw = Buffer.from(text);
  const top = members(raw, 10);
  const params = top.find(({ name }) => name === 'params')!;
  const inParams = members(raw, 10, params.at);
  const meta = inParams.find(({ name }) => name === '_meta')!;
  const inMeta = members(raw, 10, meta.at);
  const edits = [
    ...removal(meta, inMeta, (name) => name.startsWith('m'))!,
    ...removal(params, inParams, (name) => name === 'x' || name === 'y')!,
    { at: top[1]!.at, end: top[1]!.end, text: '"another id"' },
  ];
  assert.equal(splice(raw, edits).toString(), '{"jsonrpc":"2.0","id":"another id","params":{"_meta" : {"k":9007199254740993}}}');
});

test('splice replaces any one span by any text, and any two that do not overlap in either order', () => {
  const raw = Buffer.from('{"żó":1}');
  const text = raw.toString('latin1');
  const spans: Edit[] = [];
  for (let at = 0; at <= raw.length; at++) {
    for (let end = at; end <= raw.length; end++) {
      for (const put of ['', '1', '"\u00c5\u00bc" longer']) spans.push({ at, end, text: put });
    }
  }
  assert.equal(splice(raw, []).toString('latin1'), text);
  for (const one of spans) {
    assert.equal(splice(raw, [one]).toString('latin1'), text.slice(0, one.at) + one.text + text.slice(one.end));
    for (const two of spans) {
      if (two.at < one.end || two.at === one.at) continue;
      const expected = text.slice(0, one.at) + one.text + text.slice(one.end, two.at) + two.text + text.slice(two.end);
      assert.equal(splice(raw, [one, two]).toString('latin1'), expected);
      assert.equal(splice(raw, [two, one]).toString('latin1'), expected);
    }
  }
  assert.equal(raw.toString('latin1'), text);
});

test('oneLine takes the line ends out of a message and nothing else', () => {
  for (const space of ['\n', '\r', '\r\n', ' \n\t\r']) {
    for (const value of VALUES) {
      const { raw } = build([['"a"', value], ['"b"', `[${space}]`]], space);
      const before = Buffer.from(raw);
      const line = oneLine(raw);
      assert.deepEqual(line.toString('latin1'), raw.toString('latin1').replace(/[\r\n]/g, ' '));
      assert.deepEqual(parse(line), parse(raw));
      assert.deepEqual(raw, before);
      assert.deepEqual([raw, line].map((text) => layoutOf(text, 10)?.isOneLine), [false, true]);
    }
  }
  const alone = Buffer.from('{"a":"\\n\\r\u2028\u0085"}');
  assert.equal(oneLine(alone), alone);
  const spaced = ' { "id" : 1 , "params" : { "_meta" : { "a" : 1 , "b" : { } } , "list" : [ [ ] , [ true , { "c" : "\\n" } ] ] , "n" : 1 } , "x" : 2 } ';
  for (let at = spaced.indexOf(' '); at !== -1; at = spaced.indexOf(' ', at + 1)) {
    for (const [space, isOne] of [[' ', true], ['\t', true], ['\n', false], ['\r', false]] as const) {
      assert.equal(layoutOf(Buffer.from(spaced.slice(0, at) + space + spaced.slice(at + 1)), 10)?.isOneLine, isOne, String(at));
    }
  }
});

test('an edit in place gives the same message, wherever it lies, and takes nothing from its neighbours', () => {
  const text = '{"a":"żółć","id":12345,"z":[1,2]}';
  const { length } = Buffer.from(text);
  for (let at = 0; at <= length; at++) {
    for (let end = at; end <= length; end++) {
      for (const replacement of ['', '7', '"\xc5\xbc"', '12345', '"much longer than before"']) {
        const chunk = Buffer.from(`before${text}behind`);
        const raw = chunk.subarray(6, 6 + length);
        const edit = { at, end, text: replacement };
        const expected = splice(Buffer.from(text), [edit]);
        assert.deepEqual(spliceInPlace(raw, edit), expected);
        assert.equal(chunk.toString('latin1', 0, 6) + chunk.toString('latin1', 6 + length), 'beforebehind');
      }
    }
  }
});

test('answerId finds the id where servers write it: behind "jsonrpc" at the front, or as the last member', () => {
  const results = ['{}', '[]', '""', 'null', '{"content":[{"type":"text","text":"żółć"}]}', `{"text":"${'x'.repeat(100_000)}"}`];
  for (const id of ['0', '1', '42', '4294967296', '999999999999999']) {
    for (const value of results) {
      for (const member of ['result', 'error']) {
        const front = `{"jsonrpc":"2.0","id":${id},"${member}":${value}}`;
        const back = `{"${member}":${value},"jsonrpc":"2.0","id":${id}}`;
        for (const text of [front, back, `{"jsonrpc":"2.0","id":${id},"${member}":${value},"extra":1}`]) {
          const raw = Buffer.from(text);
          const found = answerId(raw);
          assert.ok(found !== undefined, text);
          assert.equal(found.id, Number(id));
          assert.equal(raw.toString('utf8', found.at, found.end), id);
          const renamed = splice(raw, [{ at: found.at, end: found.end, text: '"their id"' }]);
          assert.deepEqual(parse(renamed), { ...(parse(raw) as object), id: 'their id' });
        }
      }
    }
  }
});

test('answerId finds the id of an answer in its first part if it is in front, and no other one', () => {
  const last = Buffer.from('"}}');
  const found = answerId(Buffer.from('{"jsonrpc":"2.0","id":41,"result":{"a":"'), last);
  assert.deepEqual([found?.id, found?.at, found?.end], [41, 22, 24]);
  for (const first of ['{"result":{"a":"","jsonrpc":"2.0","id":41}', '{"result":1,"jsonrpc":"2.0","id":41}', '{"jsonrpc":"2.0","id":41', '{"jsonrpc":"2.0","id":4']) {
    assert.equal(answerId(Buffer.from(first), last), undefined, first);
  }
  assert.equal(answerId(Buffer.from('{"jsonrpc":"2.0","id":41,"result":{}}'), Buffer.from('"')), undefined, 'it does not end as an object does');
});

test('answerId finds nothing in what is no answer', () => {
  const texts = [
    '', '{}', '[]', '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","id":5}', '{"jsonrpc":"2.0","method":"result","params":{}}',
    '{"jsonrpc":"2.0","id":5,"method":"ping"}', '{"method":"ping","jsonrpc":"2.0","id":5}', '{"method":"m","params":{"result":1},"jsonrpc":"2.0","id":5}',
    '[{"jsonrpc":"2.0","id":5,"result":{}}]', ' {"jsonrpc":"2.0","id":5,"result":{}}', '"{"result":1,"jsonrpc":"2.0","id":5}',
  ];
  for (const text of texts) assert.equal(answerId(Buffer.from(text)), undefined, text);
});

test('answerId never finds an id that JSON.parse would not: every order of the members, with decoys in the values', () => {
  const decoys = [
    '0', '{}', '{"id":7}', '"\\",\\"jsonrpc\\":\\"2.0\\",\\"id\\":7}"',
    '{"a":1,"jsonrpc":"2.0","id":7}', '[{"result":{},"jsonrpc":"2.0","id":7}]', '"{\\"jsonrpc\\":\\"2.0\\",\\"id\\":7,\\"result\\":"',
  ];
  const ids = ['5', '"5"', '-5', '5.0', '5e1', 'null', '9007199254740993', '1234567890123456', '[5]', '{"id":5}'];
  for (const id of ids) {
    for (const decoy of decoys) {
      for (const pairs of orders<Pair>([['"jsonrpc"', '"2.0"'], ['"id"', id], ['"result"', decoy], ['"x"', decoy]])) {
        for (const length of [3, 4]) for (const space of ['', ' ']) agree(build(pairs.slice(0, length), space).text);
        agree(build([...pairs, ['"\\"id"', '7']]).text);
        agree(build([...pairs, ['",\\"jsonrpc\\":\\"2.0\\",\\"id"', '7']]).text);
      }
    }
  }
});

test('answerId never finds an id that JSON.parse would not: every change of one byte', () => {
  const texts = ['{"jsonrpc":"2.0","id":41,"result":{"a":"b"}}', '{"result":{"a":"b"},"jsonrpc":"2.0","id":41}', '{"error":{},"jsonrpc":"2.0","id":41}'];
  for (const text of texts) {
    for (let at = 0; at < text.length; at++) {
      for (let byte = 0x20; byte < 0x7f; byte++) {
        for (const end of [at, at + 1]) agree(text.slice(0, at) + String.fromCharCode(byte) + text.slice(end));
      }
      agree(text.slice(0, at) + text.slice(at + 1));
    }
  }
});

/** What `answerId` finds in a JSON text whose names are all different must be what a parser finds. */
function agree(text: string): void {
  let value: { id?: unknown };
  try {
    value = JSON.parse(text);
  } catch {
    return;
  }
  const raw = Buffer.from(text);
  const found = answerId(raw);
  if (found === undefined || duplicate(members(raw, 100)) !== undefined) return;
  assert.equal(found.id, value.id, text);
  const at = members(raw, 100).find(({ name }) => name === 'id')!;
  assert.deepEqual([found.at, found.end], [at.at, at.end], text);
}

function orders<T>(list: readonly T[]): T[][] {
  return list.length === 0 ? [[]] : list.flatMap((one, k) => orders(list.toSpliced(k, 1)).map((rest) => [one, ...rest]));
}

test('the scanner comes to an end on any bytes, and what it finds lies in them in order', () => {
  const alphabet = ['{', '}', '[', ']', '"', '\\', ',', ':', ' ', '\n', '\0', 'a', '1', '"a":', '{"a":1}', '\\u00', '\x7f'];
  let seed = 1;
  const random = (n: number): number => (seed = (seed * 48_271) % 0x7fffffff) % n;
  for (let round = 0; round < 20_000; round++) {
    const text = Array.from({ length: 1 + random(12) }, () => alphabet[random(alphabet.length)]).join('');
    const raw = Buffer.from(text);
    for (const found of [members(raw, 50), elements(raw, 50)] as readonly { at: number; end: number }[][]) {
      let from = 0;
      for (const { at, end } of found) {
        assert.ok(at >= from && end >= at, JSON.stringify(text));
        from = end;
      }
    }
  }
});

/** Whether the scanner says of a text in UTF-8 what `JSON.parse` says. */
function isJudged(raw: Buffer): void {
  let isJson = true;
  try {
    parse(raw);
  } catch {
    isJson = false;
  }
  assert.equal(layoutOf(raw, 10) !== undefined, isJson, JSON.stringify(raw.toString()));
}

test('the scanner takes what JSON.parse takes and nothing else: every byte at every place of a short and of a long string', () => {
  for (const length of [0, 3, 63, 64, 65, 68, 135]) {
    for (const front of ['', ' ', '  ', '   ']) {
      const raw = Buffer.from(`${front}["${'x'.repeat(length)}\\\\\\"\\u00e9\\n${'y'.repeat(6)}"]`);
      isJudged(raw);
      for (let at = 0; at < raw.length; at++) {
        isJudged(raw.subarray(0, at));
        for (let byte = 0; byte < 128; byte++) isJudged(Buffer.concat([raw.subarray(0, at), Buffer.of(byte), raw.subarray(at + 1)]));
      }
    }
  }
});

test('the scanner takes what JSON.parse takes and nothing else: every two bytes side by side at every place of a word', () => {
  for (let place = 0; place < 4; place++) {
    const raw = Buffer.from(`["${'x'.repeat(68 + place)}..yyyyyy"]`);
    const at = raw.indexOf('..');
    for (let first = 0; first < 256; first++) {
      for (let second = 0; second < 256; second++) {
        raw[at] = first;
        raw[at + 1] = second;
        let isJson = true;
        try {
          JSON.parse(raw.toString('latin1')); // what is above ASCII is as good as any other letter
        } catch {
          isJson = false;
        }
        assert.equal(layoutOf(raw, 10) !== undefined, isJson, `${place} ${first} ${second}`);
      }
    }
  }
});

test('the scanner takes what JSON.parse takes and nothing else: every short text of the signs that numbers and words are made of', () => {
  const signs = ['-', '+', '0', '1', '9', '.', 'e', 'E', ' ', '\t'];
  const texts = (length: number): string[] => (length === 0 ? [''] : texts(length - 1).flatMap((text) => signs.map((sign) => text + sign)));
  for (const text of [0, 1, 2, 3, 4, 5].flatMap(texts)) isJudged(Buffer.from(text));
  for (const word of ['true', 'false', 'null', 'True', 'nul', 'truefalse', 'NaN', 'Infinity', 'undefined', 'nullnull', 'true ', ' false', '\u00a0true', '\ufefftrue', '\vtrue', '\ftrue']) {
    for (const text of [word, `[${word}]`, `{"a":${word}}`, `[1,${word}]`]) isJudged(Buffer.from(text));
  }
});

test('the scanner takes what JSON.parse takes and nothing else: brackets, commas, colons and quotes in any order', () => {
  const tokens = ['{', '}', '[', ']', ',', ':', '"a"', '1', '"params"', '"_meta"'];
  const texts = (length: number): string[] => (length === 0 ? [''] : texts(length - 1).flatMap((text) => tokens.map((token) => text + token)));
  for (const text of [1, 2, 3, 4, 5].flatMap(texts)) {
    isJudged(Buffer.from(text));
    isJudged(Buffer.from(`{"params":{"_meta":{"a":${text}}}}`));
  }
});

test('a value is what JSON.parse makes of it, and nothing where that makes nothing', () => {
  const texts = ['0', '7', '10', '01', '00', '-1', '-0', '1.0', '1e3', '999999999999999', '1234567890123456', '9007199254740993', '1e400', '1 ', '{}', '{ }', '{"a":{}}', '[]', '""', '"a"', '"\\u0041"', '"ż"', 'null', 'true', '', '{', '1a', '+1'];
  for (const text of texts) {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {}
    const raw = Buffer.from(`1${text}1`);
    assert.deepEqual(valueOf(raw, { at: 1, end: raw.length - 1 }), value, text);
  }
});

test('what is no object has no members, and what is no array no elements', () => {
  for (const text of ['', ' ', '[]', '["a",1]', '"{}"', '1', 'null', '}', '"', '[{"a":1}]']) assert.deepEqual(members(Buffer.from(text), 10), [], text);
  for (const text of ['', ' ', '{}', '{"a":[1]}', '"[]"', '1', 'null', ']', '"', '[}', '[:']) assert.ok(elements(Buffer.from(text), 10).length < 2, text);
  assert.deepEqual(elements(Buffer.from('"[]"'), 10), []);
});

test('no more elements are looked at than one above the limit', () => {
  assert.equal(elements(Buffer.from(`[${'1,'.repeat(100)}1]`), 10).length, 11);
});
