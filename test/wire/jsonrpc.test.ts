import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { test } from 'node:test';
import { answerId, isValue } from '../../src/wire/envelope.ts';
import { areUtf8, BIG_BYTES, encodeCall, encodeError, encodeResult, isObject, metaOf, paramsOf, readMessage, textOf, withId, type RpcMessage } from '../../src/wire/jsonrpc.ts';
import { LONG_STRINGS, nested, SPACES, STRINGS, thirds, VALUES } from './nasty.ts';

const BOUNDS = { maxBatch: 4, maxMembers: 8 };
const BIG = ' '.repeat(BIG_BYTES);

function read(text: string | Buffer, bounds = BOUNDS) {
  return readMessage(Buffer.from(text as string), bounds);
}

/** A message without what only its bytes can tell. */
function gist(message: ReturnType<typeof read>): object {
  if (message.kind === 'batch' || message.kind === 'malformed') return message;
  const { raw: _raw, layout: _layout, ...rest } = message;
  return rest;
}

const shape = (detail: string, idText?: string) => ({ kind: 'malformed', why: 'shape', detail, idText });
const notAnId = 'the id of a request must be a string or an integer';

// Every way of being, or of not being, a JSON-RPC 2.0 message of MCP.
const messages: readonly (readonly [text: string, expected: object])[] = [
  ['{"jsonrpc":"2.0","id":1,"method":"m"}', { kind: 'request', id: 1, idText: '1', method: 'm' }],
  ['{"method":"m","id":"1","jsonrpc":"2.0"}', { kind: 'request', id: '1', idText: '"1"', method: 'm' }],
  ['{"jsonrpc":"2.0","id":0,"method":"m","params":{}}', { kind: 'request', id: 0, idText: '0', method: 'm' }],
  ['{"jsonrpc":"2.0","id":-1,"method":"m"}', { kind: 'request', id: -1, idText: '-1', method: 'm' }],
  ['{"jsonrpc":"2.0","id":1.0,"method":"m"}', { kind: 'request', id: 1, idText: '1.0', method: 'm' }],
  ['{"jsonrpc":"2.0","id":1e3,"method":"m"}', { kind: 'request', id: 1000, idText: '1e3', method: 'm' }],
  ['{"jsonrpc":"2.0","id":9007199254740993,"method":"m"}', { kind: 'request', id: 2 ** 53, idText: '9007199254740993', method: 'm' }],
  ['{"jsonrpc":"2.0","id":"","method":"m"}', { kind: 'request', id: '', idText: '""', method: 'm' }],
  ['{"jsonrpc":"2.0","id":" a\\"\\n","method":"m"}', { kind: 'request', id: ' a"\n', idText: '" a\\"\\n"', method: 'm' }],
  ['{"jsonrpc":"2.0","id":"żó🦊","method":"łć"}', { kind: 'request', id: 'żó🦊', idText: Buffer.from('"żó🦊"').toString('latin1'), method: 'łć' }],
  ['{"jsonrpc":"2.0","id":"__proto__","method":"constructor"}', { kind: 'request', id: '__proto__', idText: '"__proto__"', method: 'constructor' }],
  ['{"jsonrpc":"2.0","\\u0069d":7,"meth\\u006fd":"m\\u0041"}', { kind: 'request', id: 7, idText: '7', method: 'mA' }],
  ['{"jsonrpc":"2.0","id":1,"method":"m","extra":[],"__proto__":{"result":1}}', { kind: 'request', id: 1, idText: '1', method: 'm' }],
  ['\t{ "jsonrpc" : "\\u0032.0" ,\r\n"id" : 1 , "method" : "m" , "params" : { "_meta" : { } } } ', { kind: 'request', id: 1, idText: '1', method: 'm' }],

  ['{"jsonrpc":"2.0","method":"m"}', { kind: 'notification', method: 'm' }],
  ['{"jsonrpc":"2.0","method":"ż","params":{"_meta":null,"id":1}}', { kind: 'notification', method: 'ż' }],

  ['{"jsonrpc":"2.0","id":1,"result":{}}', { kind: 'response', id: 1, result: {} }],
  ['{"jsonrpc":"2.0","id":"1","result":null}', { kind: 'response', id: '1', result: null }],
  ['{"jsonrpc":"2.0","id":"ż","error":{"code":-1,"message":"m"}}', { kind: 'response', id: 'ż', error: { code: -1, message: 'm' } }],
  ['{"jsonrpc":"2.0","id":null,"error":{}}', { kind: 'response', id: null, error: {} }],

  ['0', shape('expected a JSON object')],
  ['null', shape('expected a JSON object')],
  ['true', shape('expected a JSON object')],
  ['"{}"', shape('expected a JSON object')],
  ['{}', shape('"jsonrpc" must be "2.0"')],
  ['{"id":1,"method":"m"}', shape('"jsonrpc" must be "2.0"', '1')],
  ['{"jsonrpc":2.0,"id":1,"method":"m"}', shape('"jsonrpc" must be "2.0"', '1')],
  ['{"jsonrpc":"1.0","id":"a","method":"m"}', shape('"jsonrpc" must be "2.0"', '"a"')],
  ['{"jsonrpc":"2.0"}', shape('neither a request, a notification nor a response')],
  ['{"jsonrpc":"2.0","id":1}', shape('neither a request, a notification nor a response', '1')],
  ['{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', shape('neither a request, a notification nor a response', '1')],
  ['{"jsonrpc":"2.0","result":{}}', shape('the id of a response must be a string, an integer or null')],
  ['{"jsonrpc":"2.0","id":1.5,"result":{}}', shape('the id of a response must be a string, an integer or null')],
  ['{"jsonrpc":"2.0","id":{},"error":{}}', shape('the id of a response must be a string, an integer or null')],
  ['{"jsonrpc":"2.0","id":1,"method":null}', shape('"method" must be a string', '1')],
  ['{"jsonrpc":"2.0","id":1,"method":["m"]}', shape('"method" must be a string', '1')],
  ['{"jsonrpc":"2.0","id":1,"method":"m","result":{}}', shape('a message with a method has neither a result nor an error', '1')],
  ['{"jsonrpc":"2.0","id":1,"method":"m","error":null}', shape('a message with a method has neither a result nor an error', '1')],
  ...['[]', '[1]', 'null', '"x"', '0', 'false'].map((params) => [`{"jsonrpc":"2.0","id":1,"method":"m","params":${params}}`, shape('"params" must be an object', '1')] as const),
  // R-22: the id of a request is a string or an integer.
  ...['null', '1.5', '-0.1', '1e400', '-1e400', 'true', '{}', '[1]', '{"id":1}'].map((id) => [`{"jsonrpc":"2.0","id":${id},"method":"m"}`, shape(notAnId)] as const),
];

test('a message is a request, a notification, a response, or malformed for a reason', () => {
  for (const [text, expected] of messages) assert.deepEqual(gist(read(text)), expected, text);
});

test('a message is the same whatever its size', () => {
  for (const [text, expected] of messages) {
    assert.deepEqual(gist(read(text + BIG)), expected, text);
    assert.deepEqual(gist(read(BIG + text)), expected, text);
  }
});

test('a message is the same as an element of a batch, a small or a big one', () => {
  const other = '{"jsonrpc":"2.0","method":"ż"}';
  for (const [text, expected] of messages) {
    for (const before of ['', BIG]) {
      const batch = read(`[${other},${before}${text} ,${other}]`);
      assert.ok(batch.kind === 'batch');
      assert.deepEqual(batch.messages.map(gist), [{ kind: 'notification', method: 'ż' }, expected, { kind: 'notification', method: 'ż' }], text);
      for (const [message, raw] of [[batch.messages[0], other], [batch.messages[1], text.trim()]] as const) {
        if (message!.kind !== 'malformed') assert.equal(message!.raw.toString(), raw);
      }
    }
  }
});

test('a string means the same as it is and as an escape, whatever the size of the message', () => {
  for (const character of ['A', '\u007f', 'ó', 'Ł', 'ŧ', '…', '🦊']) {
    const escaped = Array.from({ length: character.length }, (_, k) => `\\u${character.charCodeAt(k).toString(16).padStart(4, '0')}`).join('');
    for (const written of [character, escaped, escaped + character]) {
      const meant = JSON.parse(`"${written}"`);
      for (const padding of ['', BIG]) {
        const request = read(`{"jsonrpc":"2.0","id":"${written}","method":"pin${written}"}${padding}`);
        assert.ok(request.kind === 'request');
        assert.deepEqual([request.id, request.method], [meant, `pin${meant}`], `${written}, ${padding.length} bytes more`);
        const notification = read(`{"jsonrpc":"2.0","method":"${written}"}${padding}`);
        assert.ok(notification.kind === 'notification');
        assert.equal(notification.method, meant);
        const response = read(`{"jsonrpc":"2.0","id":"${written}","result":1}${padding}`);
        assert.ok(response.kind === 'response');
        assert.equal(response.id, meant);
      }
    }
  }
});

test('what an answer says is the same whatever its size', () => {
  for (const value of VALUES) {
    for (const padding of ['', BIG]) {
      const success = read(`{"jsonrpc":"2.0","id":1,"result":{"ż":${value}}}${padding}`);
      assert.ok(success.kind === 'response');
      assert.deepEqual(success.result, JSON.parse(`{"ż":${value}}`));
      const failure = read(`{"jsonrpc":"2.0","id":1,"error":${value}}${padding}`);
      assert.ok(failure.kind === 'response');
      assert.deepEqual(failure.error, JSON.parse(value));
    }
  }
});

test('text that is no JSON, or no UTF-8, is a parse error without an id', () => {
  const json = { kind: 'malformed', why: 'json', detail: 'not valid JSON', idText: undefined };
  const no = [
    '', ' ', '\n', '{', '}', '[', '{"a"}', '{"a":}', "{'a':1}", '{a:1}', '{"a":1,}', '[1,]', '[1 2]', '01', '+1', '1.', '.5', 'NaN', 'Infinity', 'undefined',
    '"\t"', '"\\x"', '"\\u12"', '{}{}', '{} x', ' \ufeff{}', '\ufeff\ufeff{}', '\ufeff', '//\n{}', '\u00a0{}', '{"a":1}\0',
  ];
  for (const text of no) for (const padding of ['', BIG]) assert.deepEqual(read(text + padding), json, JSON.stringify(text));

  const utf8 = { ...json, detail: 'not valid UTF-8' };
  // A continuation byte alone, overlong forms, a surrogate, beyond U+10FFFF, bytes that never occur, a cut character.
  for (const bytes of ['80', 'bf', 'c0af', 'c1bf', 'e08080', 'eda080', 'edbfbf', 'f08080af', 'f4908080', 'f5', 'fe', 'ff', 'c3', 'c328', 'e282', 'f09fa6', 'c3a9c3']) {
    for (const padding of ['', BIG]) {
      assert.deepEqual(read(Buffer.concat([Buffer.from('{"jsonrpc":"2.0","id":1,"method":"'), Buffer.from(bytes, 'hex'), Buffer.from(`"}${padding}`)])), utf8, bytes);
    }
  }
});

test('a byte order mark in front of a message is no part of it', () => {
  for (const padding of ['', BIG]) {
    const message = read(`\ufeff{"jsonrpc":"2.0","id":1.0,"method":"m"}${padding}`);
    assert.deepEqual(gist(message), { kind: 'request', id: 1, idText: '1.0', method: 'm' });
    assert.ok(message.kind === 'request');
    assert.equal(message.raw.toString(), `{"jsonrpc":"2.0","id":1.0,"method":"m"}${padding}`);
  }
});

test('a member that is there twice makes a message malformed: at the top, in params and in _meta, plain or escaped', () => {
  const twice = (place: string, name: string) => {
    const [first, second] = [`"${name}":1,`, `"\\u${name.charCodeAt(0).toString(16).padStart(4, '0')}${name.slice(1)}":2,`];
    const at = (here: string) => (here === place ? [`${first}${first}`, `${first}${second}`, `${second}"other":[],${first}`] : ['']);
    return at('top').flatMap((top) => at('params').flatMap((params) => at('meta').map((meta) =>
      `{${top}"jsonrpc":"2.0","id":7,"method":"m","params":{${params}"z":0,"_meta":{${meta}"z":0}}}`)));
  };
  for (const padding of ['', BIG]) {
    for (const place of ['top', 'params', 'meta']) {
      for (const name of ['extra', 'name', '__proto__', 'toString', 'uri']) {
        for (const text of twice(place, name)) assert.deepEqual(read(text + padding), shape(`duplicate member "${name}"`, '7'), text);
      }
    }
    for (const [one, two] of [['"jsonrpc":"2.0",', '"jsonrpc":"2.0",'], ['"method":"m",', '"method":"n",'], ['"params":{},', '"params":{"a":1},'], ['"result":1,', '"result":1,']]) {
      const message = read(`{${one}${two}${one!.includes('jsonrpc') ? '' : '"jsonrpc":"2.0",'}"id":7}${padding}`);
      assert.match((message as { detail: string }).detail, /^duplicate member/);
    }
    assert.deepEqual(read(`{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{},"_meta":{}}}${padding}`), shape('duplicate member "_meta"', '7'));
    assert.deepEqual(read(`[{"jsonrpc":"2.0","id":7,"result":1,"result":2}]${padding}`), { kind: 'batch', messages: [shape('duplicate member "result"', '7')] });
  }
});

test('a name that lenient readers take for another makes a message malformed: at the top, in params and in _meta', () => {
  const message = (top: string, params = '', meta = '') => `{${top}"jsonrpc":"2.0","id":7,"method":"m","params":{${params}"z":0,"_meta":{${meta}"z":0}}}`;
  const odd = ['"ID":1,', '"Id":1,', '"i\\u0044":1,', '"id\\u0000":1,', '"\\u0000id":1,', '"Method":1,', '"PARAMS":1,', '"params\\u0000":1,', '"paramſ":1,', '"reſult":1,', '"Result":1,', '"ERROR":1,', '"jſonrpc":1,', '"JsonRPC":1,'];
  for (const padding of ['', BIG]) {
    const refused = (text: string, name: string): void => assert.deepEqual(read(text + padding), shape(`member ${JSON.stringify(name).replaceAll('\\u0000', '\0')} may be taken for another`, '7'), text);
    for (const each of odd) refused(message(each), Object.keys(JSON.parse(`{${each.slice(0, -1)}}`))[0] as string);
    for (const name of ['_Meta', '_META']) refused(message('', `"${name}":1,`), name);
    for (const name of ['progresstoken', 'ProgressToken', 'progreſsToken', 'progressTo\u212aen']) refused(message('', '', `"${name}":1,`), name);
    for (const [one, other] of [['uri', 'URI'], ['uri', 'uri\0'], ['Name', 'name'], ['żółć', 'ŻÓŁĆ'], ['task', 'taſK']] as const) {
      for (const place of [message(`${JSON.stringify(one)}:1,${JSON.stringify(other)}:2,`), message('', `${JSON.stringify(one)}:1,${JSON.stringify(other)}:2,`), message('', '', `${JSON.stringify(one)}:1,${JSON.stringify(other)}:2,`)]) refused(place, other);
    }
    refused(`{"jsonrpc":"2.0","id":7,"result":{},"Method":"m"}`, 'Method');
    refused(`{"jsonrpc":"2.0","id":7,"result":{},"a":1,"b":1,"c":1,"d":1,"Params":1}`, 'Params');
    for (const text of [message('"ids":1,"di":2,"METHODS":3,'), message('', '"ID":1,"Name":2,"METHOD":3,"Params":4,'), message('', '"_meta ":1,"arguments":{"a":1,"A":2},'), message('', '', '"Token":1,"_meta":2,"traceparent":3,')]) assert.equal(read(text + padding).kind, 'request', text);
  }
});

test('a name that is there twice is shown as it is written', () => {
  for (const padding of ['', BIG]) assert.deepEqual(read(`{"jsonrpc":"2.0","id":7,"method":"m","żółć":1,"żółć":2}${padding}`), shape('duplicate member "żółć"', '7'));
});

test('what has two ids has none that could be answered, unless it is an id', () => {
  for (const [one, two] of [['1', '2'], ['"a"', '1'], ['{"a":[1]}', '1'], ['null', '1'], ['1', 'null'], ['1.5', '1']]) {
    const message = read(`{"jsonrpc":"2.0","id":${one},"id":${two},"method":"m"}`);
    assert.ok(message.kind === 'malformed');
    const id = message.idText === undefined ? 'none' : JSON.parse(message.idText);
    assert.ok(typeof id === 'string' || Number.isInteger(id), `${one} and ${two} give ${message.idText}`);
  }
});

test('names below params and _meta are the business of the server alone', () => {
  const params = '{"arguments":{"a":1,"a":2,"_meta":{"b":1,"b":2}},"_meta":{"x":{"y":1,"y":2}},"list":[{"z":1,"z":2}]}';
  assert.equal(read(`{"jsonrpc":"2.0","id":1,"method":"m","params":${params}}`).kind, 'request');
  assert.equal(read('{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}').kind, 'response');
  assert.equal(read('{"jsonrpc":"2.0","id":1,"method":"m","params":{"id":1,"\\ud83e":1,"method":2}}').kind, 'request');
});

test('a message, its params and its _meta may each have as many members as the bound, and no more', () => {
  const fill = (count: number) => Array.from({ length: count }, (_, k) => `"k${k}":${k}`);
  const text = (top: number, params: number, meta: number) =>
    `{${['"jsonrpc":"2.0"', '"id":7', '"method":"m"', `"params":{${[`"_meta":{${fill(meta)}}`, ...fill(params - 1)]}}`, ...fill(top - 4)]}}`;
  for (const padding of ['', BIG]) {
    assert.equal(read(text(8, 8, 8) + padding).kind, 'request');
    for (const [top, params, meta] of [[9, 1, 0], [4, 9, 0], [4, 1, 9], [4, 1, 1_000]] as const) {
      assert.deepEqual(read(text(top, params, meta) + padding), shape('more than 8 members', '7'));
    }
  }
  assert.equal(read(`{"jsonrpc":"2.0","id":1,"method":"m","params":{"arguments":{${fill(1_000)}}}}`).kind, 'request');
});

test('a batch has one message or as many as the bound', () => {
  const one = '{"jsonrpc":"2.0","method":"m"}';
  assert.deepEqual(read('[]'), shape('an empty batch'));
  assert.deepEqual(read(`[ ]${BIG}`), shape('an empty batch'));
  for (const count of [1, 4]) {
    const batch = read(`[${Array(count).fill(one)}]`);
    assert.deepEqual(batch.kind === 'batch' && batch.messages.map(({ kind }) => kind), Array(count).fill('notification'));
  }
  assert.deepEqual(read(`[${Array(5).fill(one)}]`), shape('a batch of more than 4 messages'));
  const mixed = read(`[1,[${one}],${one},null]`);
  assert.ok(mixed.kind === 'batch');
  assert.deepEqual(mixed.messages.map(({ kind }) => kind), ['malformed', 'malformed', 'notification', 'malformed']);
});

test('the layout tells where the members lie, at the top, in params and in _meta', () => {
  const found = (message: RpcMessage) => [message.layout.top, message.layout.params, message.layout.meta].map((list) => list.map((member) => [member.name, textOf(message.raw, member)]));
  for (const space of SPACES) {
    const texts = [
      '{"jsonrpc":"2.0","id":1.0,"method":"m","params":{"a":[1,{"b":2}],"_meta":{"progressToken":"t","x":{"y":1}}}}',
      '{"jsonrpc":"2.0","method":"m"}',
      '{"jsonrpc":"2.0","method":"m","params":{"_meta":[{"a":1}]}}',
      '{"id":1,"jsonrpc":"2.0","result":{"_meta":{"a":1}}}',
    ];
    const [request, bare, odd, response] = texts.map((text) => read(text.replaceAll(/[{}[\],:]/g, `${space}$&${space}`)) as RpcMessage);
    const tight = (value: unknown) => JSON.parse(JSON.stringify(value).replaceAll(/\\[nrt]| /g, ''));
    assert.deepEqual(tight(found(request!)), [
      [['jsonrpc', '"2.0"'], ['id', '1.0'], ['method', '"m"'], ['params', '{"a":[1,{"b":2}],"_meta":{"progressToken":"t","x":{"y":1}}}']],
      [['a', '[1,{"b":2}]'], ['_meta', '{"progressToken":"t","x":{"y":1}}']],
      [['progressToken', '"t"'], ['x', '{"y":1}']],
    ]);
    assert.deepEqual(found(bare!).slice(1), [[], []]);
    assert.deepEqual(tight(found(odd!)), [[['jsonrpc', '"2.0"'], ['method', '"m"'], ['params', '{"_meta":[{"a":1}]}']], [['_meta', '[{"a":1}]']], []]);
    assert.deepEqual(found(response!).slice(1), [[], []]);
  }
  for (const meta of ['["a",1,"a",2]', '"\\"a\\":1"', 'null', '{}']) {
    const message = read(`{"jsonrpc":"2.0","method":"m","params":{"_meta":${meta}}}`) as RpcMessage;
    assert.deepEqual(found(message).slice(1), [[['_meta', meta]], []]);
  }
});

test('paramsOf gives the params decoded, whatever the size of the message, and an empty object where there are none', () => {
  for (const value of [...VALUES, ...LONG_STRINGS]) {
    for (const padding of ['', BIG]) {
      const message = read(`{"jsonrpc":"2.0","params":{"ż":${value}},"method":"m"}${padding}`);
      assert.ok(message.kind === 'notification');
      assert.deepEqual(paramsOf(message), JSON.parse(`{"ż":${value}}`));
    }
  }
  assert.deepEqual(paramsOf(read('{"jsonrpc":"2.0","method":"m"}') as RpcMessage), {});
});

test('metaOf gives one member of params._meta decoded, and nothing where there is none', () => {
  const message = read('{"jsonrpc":"2.0","method":"m","params":{"a":1,"_meta":{"a":"ż\\n","b":{"c":[2]}}}}') as RpcMessage;
  assert.deepEqual(['a', 'b', 'c'].map((name) => metaOf(message, name)), ['ż\n', { c: [2] }, undefined]);
  assert.equal(metaOf(read('{"jsonrpc":"2.0","method":"m","params":{"a":1}}') as RpcMessage, 'a'), undefined);
});

test('withId puts another id where that of a response stands, and changes nothing else', () => {
  for (const idText of ['1', '"a longer id than most"', 'null']) {
    for (const raw of ['{"jsonrpc":"2.0","id":41,"result":{"id":1}}', '{"result":{"id":41}, "id" : "x" ,"jsonrpc":"2.0"}']) {
      assert.equal(String(withId(Buffer.from(raw), idText)), raw.replace(/41,|"x"/, raw.includes('"x"') ? idText : `${idText},`));
    }
  }
  const none = Buffer.from('{"jsonrpc":"2.0","error":{"id":1}}');
  assert.equal(withId(none, '7'), none);
});

test('an object is no list and not null', () => {
  assert.deepEqual([{}, { a: 1 }, Object.create(null), [], null, undefined, 'a', 1].map(isObject), [true, true, true, false, false, false, false, false]);
});

test('a hundred thousand levels are read like one', () => {
  for (const [open, close] of [['[', ']'], ['{"a":', '}']] as const) {
    const deep = nested(100_000, open, close).replace(`${open}${close}`, `${open}0${close}`);
    const message = read(`{"jsonrpc":"2.0","method":"m","params":{"deep":${deep}},"id":1}`);
    assert.ok(message.kind === 'request');
    assert.equal(textOf(message.raw, message.layout.params[0]!), deep);
    assert.deepEqual(gist(read(deep)), open === '[' ? { kind: 'batch', messages: [shape('expected a JSON object')] } : shape('"jsonrpc" must be "2.0"'));
  }
});

test('no text of one or two bytes makes readMessage throw, and what it says about it is true', () => {
  for (let first = 0; first < 256; first++) {
    isTrue(Buffer.of(first));
    for (let second = 0; second < 256; second++) isTrue(Buffer.of(first, second));
  }
});

test('no end, no missing byte and no other byte in a message makes readMessage throw, and what it says about it is true', () => {
  const texts = [
    '{"jsonrpc":"2.0","id":"\\"ż\\\\","method":"m","params":{"a":[1,{}],"_meta":{"t":1}}}',
    '[{"jsonrpc":"2.0","id":1,"result":{"\\u0061":"🦊"}},{"jsonrpc":"2.0","method":"m"}]',
    '{"error":{"code":-1e3},"jsonrpc":"2.0","id":null}',
  ];
  for (const raw of texts.map((text) => Buffer.from(text))) {
    for (let at = 0; at <= raw.length; at++) {
      isTrue(raw.subarray(0, at));
      isTrue(raw.subarray(at));
      isTrue(Buffer.concat([raw.subarray(0, at), raw.subarray(at + 1)]));
      for (let byte = 0; byte < 256; byte++) isTrue(Buffer.concat([raw.subarray(0, at), Buffer.of(byte), raw.subarray(at + 1)]));
    }
  }
});

test('no message from a generator makes readMessage throw, and what it says about it is true', () => {
  const random = generator(20_12);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const names = ['"jsonrpc"', '"id"', '"method"', '"params"', '"result"', '"error"', '"\\u0069d"', '"_meta"', ...STRINGS];
  const value = (depth: number): string => {
    if (depth > 0 && random() < 0.4) return object(depth - 1);
    return depth > 0 && random() < 0.2 ? `[${value(depth - 1)},${value(depth - 1)}]` : pick(VALUES);
  };
  const object = (depth: number): string =>
    `{${pick(SPACES)}${Array.from({ length: Math.floor(random() * 4) }, () => `${pick(names)}${pick(SPACES)}:${pick(SPACES)}${value(depth)}${pick(SPACES)}`)}}`;
  const member = () => pick([
    '"jsonrpc":"2.0"', `"id":${pick(VALUES)}`, '"method":"m"', `"method":${pick(VALUES)}`,
    `"params":${object(2)}`, `"result":${value(2)}`, `"error":${value(1)}`, `${pick(names)}:${value(2)}`,
  ]);
  for (let round = 0; round < 10_000; round++) {
    const list = Array.from({ length: Math.floor(random() * 5) }, member);
    const text = `{${list.toSpliced(Math.floor(random() * 5), 0, '"jsonrpc":"2.0"').join(`,${pick(SPACES)}`)}}`;
    isTrue(Buffer.from(random() < 0.1 ? `[${text},${text}]` : random() < 0.1 ? text.slice(Math.floor(random() * text.length)) : text));
  }
});

test('answers of the proxy carry the id as it was written and the value as JSON', () => {
  const ids = ['1', '1.0', '9007199254740993', '"1"', '"żó🦊"', '"\\u017c"', 'null'];
  for (const id of ids) {
    const idText = Buffer.from(id).toString('latin1');
    for (const value of [{}, [], 'żó🦊\u2028\n', null, { code: -32603, message: '"\\' }]) {
      assert.equal(encodeResult(idText, value).toString(), `{"jsonrpc":"2.0","id":${id},"result":${JSON.stringify(value)}}`);
      assert.equal(encodeError(idText, value).toString(), `{"jsonrpc":"2.0","id":${id},"error":${JSON.stringify(value)}}`);
    }
    const request = read(`{"jsonrpc":"2.0","id":${id},"method":"m"}`);
    if (request.kind === 'request') assert.deepEqual((read(encodeResult(request.idText, {})) as { id: unknown }).id, request.id);
  }
});

test('a call of the proxy is a request with an id and a notification without one', () => {
  assert.equal(encodeCall('ż', { a: '🦊' }, 0).toString(), '{"jsonrpc":"2.0","id":0,"method":"ż","params":{"a":"🦊"}}');
  assert.equal(encodeCall('m', undefined).toString(), '{"jsonrpc":"2.0","method":"m"}');
});

/** Holds what readMessage says about a text against what JSON.parse says. */
function isTrue(text: Buffer): void {
  const about = `${JSON.stringify(text.toString('latin1'))} (Latin-1)`;
  const message = readMessage(text, BOUNDS);
  const raw = text.toString('latin1', 0, 3) === '\xef\xbb\xbf' ? text.subarray(3) : text;
  let value: unknown;
  let isJson = isUtf8(raw);
  try {
    if (isJson) value = JSON.parse(raw.toString());
  } catch {
    isJson = false;
  }
  assert.equal(message.kind === 'malformed' && message.why === 'json', !isJson, about);
  if (!isJson) return;
  if (Array.isArray(value) && value.length > 0 && value.length <= BOUNDS.maxBatch) {
    assert.ok(message.kind === 'batch', about);
    for (const [k, each] of message.messages.entries()) agree(each, value[k], about);
  } else {
    assert.ok(message.kind !== 'batch', about);
    agree(message, value, about);
  }
}

function agree(message: Exclude<ReturnType<typeof read>, { kind: 'batch' }>, value: any, about: string): void {
  const asId = (id: unknown) => typeof id === 'string' || Number.isInteger(id);
  const isMessage = isObject(value) && value['jsonrpc'] === '2.0';
  const calls = isMessage && typeof value['method'] === 'string' && !('result' in value) && !('error' in value) && (!('params' in value) || isObject(value['params']));
  const answers = isMessage && !('method' in value) && 'result' in value !== 'error' in value;
  const kind =
    calls && asId(value.id) ? 'request'
    : calls && !('id' in value) ? 'notification'
    : answers && (value.id === null || asId(value.id)) ? 'response'
    : 'malformed';
  // A parser does not show that a name was there twice or how many there were, and takes none for another.
  if (message.kind === 'malformed' && /^(duplicate|more than)|may be taken for another$/.test(message.detail)) return;
  assert.equal(message.kind, kind, about);
  if (message.kind === 'malformed') return void assert.equal(message.idText !== undefined && asId(JSON.parse(message.idText)), asId(value?.id), about);
  if (message.kind === 'request') assert.deepEqual([message.id, JSON.parse(Buffer.from(message.idText, 'latin1').toString())], [value.id, value.id], about);
  if (message.kind === 'response') assert.deepEqual([message.id, message.result, message.error], [value.id, value.result, value.error], about);
  else assert.deepEqual([message.method, paramsOf(message)], [value.method, value.params ?? {}], about);
}

/** Numbers from 0 to 1, always the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('where answerId finds an id and a value beside it, readMessage finds a response under that id: answers of servers, and every change of one byte in them', () => {
  const [front, back] = ['{"jsonrpc":"2.0","id":41,"result":{"a":"ż]}"}}', '{"error":[{},"\\"}"],"jsonrpc":"2.0","id":41}'] as const;
  const isOne = (raw: Buffer): boolean => {
    const found = answerId(raw);
    return found !== undefined && isUtf8(raw) && isValue(raw, found.value);
  };
  for (const text of [front, back]) assert.equal(isOne(Buffer.from(text)), true, text);
  const others = [',"id":41', ',"id":7', ',"result":{}', ',"error":{}', ',"x":1', ',"jsonrpc":"2.0"', ' ', '\n', '}', ',', '"'];
  for (const other of others) for (const text of [`${front.slice(0, -1)}${other}}`, back.replace(',"json', `${other},"json`), back.replace(':', `:${other}`)]) {
    assert.equal(isOne(Buffer.from(text)), false, text);
  }
  let taken = 0;
  for (const text of [Buffer.from(front), Buffer.from(back)]) {
    for (let at = 0; at < text.length; at++) {
      for (let byte = 0; byte < 256; byte++) {
        for (const end of [at, at + 1]) {
          const raw = Buffer.concat([text.subarray(0, at), Buffer.from([byte]), text.subarray(end)]);
          if (!isOne(raw)) continue;
          taken++;
          const message = readMessage(raw, BOUNDS);
          assert.ok(message.kind === 'response' && message.id === answerId(raw)!.id, raw.toString());
        }
      }
    }
  }
  assert.ok(taken > 1_000);
});

test('areUtf8 takes parts as UTF-8 where they are that together, wherever they are cut, and nothing else', () => {
  const bytes = (text: string) => Buffer.from(text, 'latin1');
  const wrong = ['\xff', '\xc5', '\xc0\xaf', '\x8a', '\xe0\x80\x80', '\xed\xa0\x80', '\xf0\x9f\xa6', '\xf4\x90\x80\x80', '\xf8\x88\x80\x80\x80'].map(bytes);
  const right = ['', 'a', 'ż', '\u2028', '🦊', 'żż🦊', '🦊🦊'].map((text) => Buffer.from(text));
  for (const middle of [...right, ...wrong]) {
    const wholes = ['🦊 and ż', ''].map((end) => Buffer.concat([Buffer.from('żółć'), middle, Buffer.from(end)]));
    for (const whole of wholes) assert.equal(isUtf8(whole), !wrong.includes(middle));
    for (const [whole, parts] of wholes.flatMap((whole) => [...thirds(whole)].map((parts) => [whole, parts] as const))) {
      const areBig = parts.every(({ length }) => length >= 3);
      assert.ok(areBig ? areUtf8(parts) === isUtf8(whole) : !areUtf8(parts) || isUtf8(whole), parts.map((part) => part.toString('hex')).join(' '));
    }
  }
});
