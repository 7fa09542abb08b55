import assert from 'node:assert/strict';
import { test } from 'node:test';
import { badVersion, classify, classifyInline, malformedError, strayResponse, type Verdict } from '../../src/protocol/classify.ts';
import { readMessage } from '../../src/wire/jsonrpc.ts';

const LEGACY = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'];
const MODERN = ['2026-07-28', '2026-12-01', '9999-12-31'];
/** Neither one that a session can have negotiated, nor one of the era without sessions. */
const UNKNOWN = ['1999-01-01', '2025-11-26', '2026-07-27', 'DRAFT-2026-v1', '2.0', '2026-7-28', 'constructor'];
const SESSION = 'a1b2';

const bounds = { maxBatch: 3, maxMembers: 10 };
const read = (text: string) => readMessage(Buffer.from(text), bounds);
const look = (text: string, version?: string, session?: string): Verdict => classify(read(text), { version, session });
const inline = (text: string, version?: string): Verdict => classifyInline(read(text), version);

const CLAIM = 'io.modelcontextprotocol/protocolVersion';
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities';

const request = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}';
const notification = '{"jsonrpc":"2.0","method":"notifications/x"}';
const response = '{"jsonrpc":"2.0","id":1,"result":{}}';
const initialize = '{"jsonrpc":"2.0","id":"i","method":"initialize","params":{}}';

/** A request, or without an id a notification, that claims a revision in its `_meta`. */
function claiming(claim: unknown, { method = 'tools/list', id = 7 as number | null, more = {} as object } = {}): string {
  return JSON.stringify({ jsonrpc: '2.0', id: id ?? undefined, method, params: { _meta: { [CLAIM]: claim, ...more } } });
}

/** A verdict in short, as the tables below have it: who takes it, and the very text that goes on. */
function short(verdict: Verdict): readonly unknown[] {
  const text = (body: { kind: string; raw?: Buffer; messages?: readonly { kind: string }[] }) => body.raw?.toString() ?? body.messages?.map(({ kind }) => kind);
  switch (verdict.is) {
    case 'simple':
      return ['simple', text(verdict.body), verdict.accepted];
    case 'modern':
      return ['modern', text(verdict.body)];
    case 'initialize':
      return ['initialize', text(verdict.request)];
    case 'session':
      return ['session', text(verdict.body), verdict.session];
    case 'refused':
      return ['refused', verdict.error.status, verdict.error.toRpc().code, verdict.idText];
  }
}

// ---- Whatever the headers say

// The text, the code, what the message begins with, and the id if one could be read.
const refused: readonly (readonly [row: number, text: string, code: number, message: string, idText?: string])[] = [
  [1, '', -32700, 'Parse error: '],
  [1, '{', -32700, 'Parse error: '],
  [1, `${request}${request}`, -32700, 'Parse error: '],
  [1, '\ud800{', -32700, 'Parse error: '],
  [2, '[]', -32600, 'Invalid Request: '],
  [2, `[${initialize}]`, -32600, 'Invalid Request: initialize '],
  [2, `[${notification},${request},${initialize}]`, -32600, 'Invalid Request: initialize '],
  [2, '[{"jsonrpc":"2.0","method":"initialize"}]', -32600, 'Invalid Request: initialize '],
  [2, `[${notification},${notification},${notification},${notification}]`, -32600, 'Invalid Request: a batch of more than 3 '],
  ...['2026-07-28', '2025-11-25', 'x', '', null, 7].map((claim) => [2, `[${request},${claiming(claim)}]`, -32600, 'Invalid Request: '] as const),
  [2, `[${claiming('2026-07-28', { id: null, method: 'notifications/x' })},{}]`, -32600, 'Invalid Request: '],
  [5, '{}', -32600, 'Invalid Request: '],
  [5, 'null', -32600, 'Invalid Request: '],
  [5, '"x"', -32600, 'Invalid Request: '],
  [5, '7', -32600, 'Invalid Request: '],
  [5, '{"jsonrpc":"1.0","id":"a","method":"m"}', -32600, 'Invalid Request: ', '"a"'],
  [5, '{"jsonrpc":"2.0","id":null,"method":"m"}', -32600, 'Invalid Request: '],
  [5, '{"jsonrpc":"2.0","id":1.5,"method":"m"}', -32600, 'Invalid Request: '],
  [5, '{"jsonrpc":"2.0","id":7.0,"method":"m","params":[]}', -32600, 'Invalid Request: ', '7.0'],
  [5, '{"jsonrpc":"2.0","id":7,"method":"m","a":1,"a":2}', -32600, 'Invalid Request: duplicate member "a"', '7'],
];
const stray: typeof refused = [
  [6, response, -32600, 'Invalid Request: a response '],
  [6, '{"jsonrpc":"2.0","id":null,"error":{}}', -32600, 'Invalid Request: a response '],
];

for (const [row, text, code, message, idText] of [...refused, ...stray]) {
  test(`row ${row} of R-60: ${text === '' ? 'nothing at all' : text} is refused with 400 and ${code}, whatever the headers say`, () => {
    for (const version of [undefined, '', ...LEGACY, ...MODERN, ...UNKNOWN]) {
      for (const session of row === 6 ? [undefined] : [undefined, SESSION]) {
        const verdict = look(text, version, session);
        assert.ok(verdict.is === 'refused');
        assert.equal(verdict.error.status, 400);
        assert.equal(verdict.error.toRpc().code, code);
        assert.ok(verdict.error.message.startsWith(message), verdict.error.message);
        assert.equal(verdict.idText, idText);
      }
    }
  });
}

// ---- The table, row by row

type Case = readonly [text: string, version: string | undefined, session: string | undefined, verdict: readonly unknown[]];
const ROWS: Readonly<Record<string, readonly Case[]>> = {
  'row 2: a batch under a modern version is refused': [
    ...MODERN.flatMap((version) => [undefined, SESSION].map((session): Case => [`[${request}]`, version, session, ['refused', 400, -32600, undefined]])),
  ],
  'row 3: a batch that names a session belongs to it': [undefined, ...LEGACY, ...UNKNOWN].flatMap((version) => [
    [`[${request},{},${response}]`, version, SESSION, ['session', ['request', 'malformed', 'response'], SESSION]] as Case,
    [`[${notification}]`, version, 'unheard of', ['session', ['notification'], 'unheard of']] as Case,
  ]),
  'row 4: a batch without a session is simple, and 202 is for those who name a version that they can have negotiated': [
    [`[${request},{},${notification}]`, undefined, undefined, ['simple', ['request', 'malformed', 'notification'], 204]],
    ...['', ...UNKNOWN].map((version): Case => [`[${notification}]`, version, undefined, ['simple', ['notification'], 204]]),
    ...LEGACY.map((version): Case => [`[${response},7,{}]`, version, undefined, ['simple', ['response', 'malformed', 'malformed'], 202]]),
  ],
  'row 6: a response that names a session belongs to it': [undefined, ...LEGACY, ...MODERN, ...UNKNOWN].map((version) => [response, version, SESSION, ['session', response, SESSION]]),
  'row 7: initialize opens a session, whichever version or session it names, unless that version is modern': [
    ...[undefined, '', ...LEGACY, ...UNKNOWN].flatMap((version) => [undefined, SESSION].map((session): Case => [initialize, version, session, ['initialize', initialize]])),
    ...MODERN.flatMap((version) => [undefined, SESSION].map((session): Case => [initialize, version, session, ['refused', 400, -32020, '"i"']])),
  ],
  'row 7: initialize with a claim and without a complete modern envelope is that of a session, too': [
    ...[...LEGACY, ...UNKNOWN].flatMap((claim) => [{}, { [CAPABILITIES]: {} }].map((more) => claiming(claim, { method: 'initialize', more }))),
    ...MODERN.flatMap((claim) => [{}, { [CAPABILITIES]: [] }, { [CAPABILITIES]: null }].map((more) => claiming(claim, { method: 'initialize', more }))),
    ...[null, 20260728, {}].map((claim) => claiming(claim, { method: 'initialize', more: { [CAPABILITIES]: {} } })),
  ].flatMap((text): Case[] => [
    [text, undefined, SESSION, ['initialize', text]],
    [text, '2025-11-25', undefined, ['initialize', text]],
    [text, '2026-07-28', undefined, ['refused', 400, -32020, '7']],
  ]),
  'rows 7 and 12: initialize in a complete modern envelope is a modern request, which is refused as every other': MODERN.flatMap((claim) => {
    const text = claiming(claim, { method: 'initialize', more: { [CAPABILITIES]: {} } });
    const verdict = claim === '2026-07-28' ? ['modern', text] : ['refused', 400, -32022, '7'];
    return [[text, undefined, SESSION, verdict], [text, claim, undefined, verdict]] as const;
  }),
  'row 7 is about requests: a notification of that name is one like others': [
    ['{"jsonrpc":"2.0","method":"initialize"}', undefined, undefined, ['simple', '{"jsonrpc":"2.0","method":"initialize"}', 204]],
  ],
  'row 8: a claim that is no string is refused': [null, 7, true, [], {}, ['2025-11-25']].flatMap((claim) => [
    [claiming(claim), undefined, undefined, ['refused', 400, -32602, '7']] as const,
    [claiming(claim), '2026-07-28', SESSION, ['refused', 400, -32602, '7']] as const,
    [claiming(claim, { id: null, method: 'notifications/x' }), undefined, SESSION, ['refused', 400, -32602, undefined]] as const,
  ]),
  'row 9: a claim and a header that differ are refused, known or not': [
    ['2025-11-25', '2025-06-18'], ['2025-11-25', '2026-07-28'], ['2026-07-28', '2025-11-25'], ['2026-07-28', '2026-07-29'], ['x', 'y'], ['', '2025-11-25'],
  ].flatMap(([claim, version]) => [undefined, SESSION].map((session): Case => [claiming(claim), version, session, ['refused', 400, -32020, '7']])),
  'row 10: in a session the claim of a legacy version changes nothing': LEGACY.flatMap((claim) => [undefined, claim].map((version): Case => [claiming(claim), version, SESSION, ['session', claiming(claim), SESSION]])),
  'row 11: the claim of a version that is none of the modern ones here is refused': [
    ...LEGACY.flatMap((claim) => [undefined, claim].map((version): Case => [claiming(claim), version, undefined, ['refused', 400, -32022, '7']])),
    ...['', ...UNKNOWN, ...MODERN.slice(1)].flatMap((claim) => [undefined, SESSION].map((session): Case => [claiming(claim), undefined, session, ['refused', 400, -32022, '7']])),
    [claiming('x', { id: null, method: 'notifications/x' }), undefined, undefined, ['refused', 400, -32022, undefined]],
  ],
  'row 12: what claims the modern revision is modern, whatever session it names': [undefined, '2026-07-28'].flatMap((version) =>
    [undefined, SESSION].flatMap((session): Case[] => [
      ...[claiming('2026-07-28', { more: { [CAPABILITIES]: {} } }), claiming('2026-07-28'), claiming('2026-07-28', { id: null, method: 'notifications/x' })].map(
        (text): Case => [text, version, session, ['modern', text]],
      ),
    ]),
  ),
  'row 13: a request under a modern version that claims none lacks its envelope': MODERN.flatMap((version) => [undefined, SESSION].map((session): Case => [request, version, session, ['refused', 400, -32602, '1']])),
  'row 14: a notification under a modern version needs none': MODERN.flatMap((version) => [undefined, SESSION].map((session): Case => [notification, version, session, ['modern', notification]])),
  'row 15: what names a session belongs to it, whatever version it names': [undefined, '', ...LEGACY, ...UNKNOWN].flatMap((version) =>
    [request, notification, '{"jsonrpc":"2.0","id":"ż","method":"","params":{"_meta":{}}}'].map((text): Case => [text, version, SESSION, ['session', text, SESSION]]),
  ),
  'row 16: without a session, a version that no session can have negotiated is refused': UNKNOWN.flatMap((version) => [
    [request, version, undefined, ['refused', 400, -32000, '1']] as const,
  ]),
  'row 17: all the rest is simple, and 202 is for those who name a version that they can have negotiated': [
    request, notification, '{"jsonrpc":"2.0","id":"ż","method":"","params":{"_meta":{}}}', '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/logLevel":"info"}}}',
  ].flatMap((text): Case[] => [
    [text, undefined, undefined, ['simple', text, 204]],
    ...LEGACY.map((version): Case => [text, version, undefined, ['simple', text, 202]]),
  ]),
}; // prettier-ignore

for (const [row, cases] of Object.entries(ROWS)) {
  test(`R-60, ${row}`, () => {
    for (const [text, version, session, verdict] of cases) assert.deepEqual(short(look(text, version, session)), verdict, JSON.stringify({ text, version, session }));
  });
}

test('what is refused says what it lacks or what it should have been', () => {
  const errorOf = (...evidence: Parameters<typeof look>) => {
    const verdict = look(...evidence);
    assert.ok(verdict.is === 'refused');
    return verdict.error;
  };
  assert.equal(errorOf(request, '2026-07-28').message, `Missing _meta: ${CLAIM}, ${CAPABILITIES}`);
  const unclaimed = `{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"${CAPABILITIES}":{}}}}`;
  assert.equal(errorOf(unclaimed, '2026-07-28').message, `Missing _meta: ${CLAIM}`);
  assert.match(errorOf(initialize, '2026-07-28').message, /^Header mismatch: /);
  assert.match(errorOf(claiming('2026-07-28'), '2025-11-25').message, /^Header mismatch: /);
  const { message, data } = errorOf(claiming('2031-01-01'));
  assert.equal(message, 'Unsupported protocol version');
  assert.equal(data['requested'], '2031-01-01');
  assert.deepEqual(errorOf(request, '1999-01-01').message, 'Unsupported protocol version: 1999-01-01');
});

// ---- POST /message without a session

for (const [row, text, code, message, idText] of [...refused.filter(([row]) => row !== 2), ...refused.filter(([row, text]) => row === 2 && /\[\]|initialize|\},\{/.test(text)), ...stray]) {
  test(`POST /message, row ${row} of R-60: ${text === '' ? 'nothing at all' : text} is refused with 400 and ${code}`, () => {
    for (const version of [undefined, ...LEGACY]) {
      const verdict = inline(text, version);
      assert.ok(verdict.is === 'refused');
      assert.equal(verdict.error.status, 400);
      assert.equal(verdict.error.toRpc().code, code);
      assert.ok(verdict.error.message.startsWith(message), verdict.error.message);
      assert.equal(verdict.idText, idText);
    }
  });
}

test('POST /message without a session is simple, initialize too, whichever version it names (R-143, R-144, R-125)', () => {
  for (const text of [request, notification, initialize, '{"jsonrpc":"2.0","id":"ż","method":"","params":{"_meta":{}}}']) {
    for (const version of [undefined, '', ...UNKNOWN]) assert.deepEqual(short(inline(text, version)), ['simple', text, 204]);
    for (const version of LEGACY) assert.deepEqual(short(inline(text, version)), ['simple', text, 202]);
  }
  assert.deepEqual(short(inline(`[${request},{},${notification}]`)), ['simple', ['request', 'malformed', 'notification'], 204]);
  assert.deepEqual(short(inline(`[${notification}]`, '2025-11-25')), ['simple', ['notification'], 202]);
});

// ---- Words

test('text that is no JSON is a parse error, and JSON that is no message an invalid request, with the reason in the message', () => {
  const error = (why: 'json' | 'shape') => malformedError({ kind: 'malformed', why, detail: 'the detail', idText: undefined });
  assert.deepEqual([error('json').reason, error('json').message], ['parse_error', 'Parse error: the detail']);
  assert.deepEqual([error('shape').reason, error('shape').message], ['invalid_request', 'Invalid Request: the detail']);
  assert.deepEqual([strayResponse().reason, strayResponse().status], ['invalid_request', 400]);
  assert.deepEqual([badVersion('v').reason, badVersion('v').message], ['bad_version', 'Unsupported protocol version: v']);
  assert.ok(badVersion('v'.repeat(10_000)).message.length < 100);
});
