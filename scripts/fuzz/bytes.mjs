// The bytes: lines against `split`, event streams against a decoder of its own, and what is found and changed in raw
// messages against `JSON.parse`.
// @ts-check

import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { Dice } from './dice.mjs';
import { Texts } from './texts.mjs';

/** @typedef {any} Source */

const BOUNDS = { maxBatch: 10, maxMembers: 100 };

/** Cuts bytes into pieces, empty ones among them. */
function pieces(/** @type {Dice} */ dice, /** @type {Buffer} */ bytes) {
  const cuts = Array.from({ length: dice.roll(8) }, () => dice.roll(bytes.length + 1)).sort((a, b) => a - b);
  return [...cuts, bytes.length].map((to, k) => bytes.subarray(cuts[k - 1] ?? 0, to));
}

/** One stream of bytes, and the lines in it. */
export function lines(/** @type {Source} */ source, /** @type {number} */ seed) {
  const dice = new Dice(seed);
  const alphabet = ['\n', '\n', '\r', '\r\n', 'a', 'ż', '🦊', ' ', '{"a":1}', 'x'.repeat(dice.roll(40)), '\u2028', '\u0000'];
  const bytes = Buffer.from(Array.from({ length: dice.roll(40) }, () => dice.of(alphabet)).join(''));
  const parts = pieces(dice, bytes);
  const [maxLineBytes, maxLineParts] = [dice.once(2) ? 1_000 : 1 + dice.roll(30), dice.once(2) ? 100 : 1 + dice.roll(4)];

  /** @type {string[]} */
  const expected = [];
  let overflow = false;
  let at = 0;
  for (const line of bytes.toString('latin1').split('\n')) {
    const end = at + line.length;
    let start = 0;
    let touched = 0;
    for (const part of parts) {
      if (part.length > 0 && Math.min(end, start + part.length) > Math.max(at, start)) touched++;
      start += part.length;
    }
    overflow = line.length > maxLineBytes || touched > maxLineParts;
    if (overflow) break;
    const text = line.endsWith('\r') ? line.slice(0, -1) : line;
    if (text !== '' && end < bytes.length) expected.push(text);
    at = end + 1;
  }

  /** @type {string[]} */
  const got = [];
  let overflown = 0;
  const feed = source.createLineDecoder({ maxLineBytes, maxLineParts, onLine: (/** @type {Buffer[]} */ parts) => got.push(Buffer.concat(parts).toString('latin1')), onOverflow: () => overflown++ });
  for (const part of parts) feed(part);
  assert.deepEqual([got, overflown], [expected, overflow ? 1 : 0], JSON.stringify([parts.map(String), maxLineBytes, maxLineParts]));
  return 1;
}

/** What an `EventSource` makes of a stream (WHATWG HTML, section 9.2.6), in short. */
function decodeEvents(/** @type {string} */ text) {
  /** @type {[string, string][]} */
  const events = [];
  let [name, data] = ['', /** @type {string[]} */ ([])];
  for (const line of text.split(/\r\n|\r|\n/).slice(0, -1)) {
    const [, field = '', value = ''] = /^([^:]*):? ?([^]*)$/.exec(line) ?? [];
    if (line === '') {
      if (data.length > 0) events.push([name === '' ? 'message' : name, data.join('\n')]);
      [name, data] = ['', []];
    } else if (field === 'event') name = value;
    else if (field === 'data') data.push(value);
  }
  return events;
}

/** One event stream of messages, and what its reader gets. */
export function events(/** @type {Source} */ source, /** @type {number} */ seed) {
  const dice = new Dice(seed);
  const texts = new Texts(dice);
  const sent = Array.from({ length: 1 + dice.roll(4) }, () => {
    const text = dice.once(2) ? texts.message() : texts.value();
    return /** @type {const} */ ([dice.of(['message', 'endpoint', 'close']), dice.once(3) ? JSON.stringify(JSON.parse(text)) : text]);
  });
  const frames = sent.map(([event, text]) => source.encodeEvent(event, /[\r\n]/.test(text) || dice.once(2) ? source.oneLine(Buffer.from(text)) : text));
  const got = decodeEvents(Buffer.concat(frames).toString()).map(([event, data]) => [event, JSON.parse(data)]);
  assert.deepEqual(got, sent.map(([event, text]) => [event, JSON.parse(text)]));
  return sent.length;
}

/** One message: what the scanner finds is what the parser finds, and what is changed is all that changes. */
export function messages(/** @type {Source} */ source, /** @type {number} */ seed) {
  const dice = new Dice(seed);
  const texts = new Texts(dice);
  const text = dice.once(3) ? texts.answer() : texts.message();
  const padded = dice.once(30) ? text.replace(/\}$/, `,"pad":"${'ż'.repeat(9_000)}"}`) : text;
  const raw = Buffer.from(padded);
  const parsed = JSON.parse(padded);
  const found = source.members(raw, 1_000);

  assert.deepEqual(Object.fromEntries(found.map((/** @type {any} */ { name, at, end }) => [Buffer.from(name, 'latin1').toString(), JSON.parse(raw.toString('utf8', at, end))])), { ...parsed }, padded);
  for (const { at, end } of found) assert.ok(source.isValue(raw, { at, end }), padded);
  const array = `[${[text, texts.value(), texts.value()].join(texts.space() + ',' + texts.space())}]`;
  assert.deepEqual(source.elements(Buffer.from(array), 100).map((/** @type {any} */ { at, end }) => JSON.parse(Buffer.from(array).toString('utf8', at, end))), JSON.parse(array));

  const line = source.oneLine(raw);
  assert.ok(!/[\r\n]/.test(line.toString('latin1')));
  assert.deepEqual(JSON.parse(line), parsed);

  const gone = new Set(Object.keys(parsed).filter(() => dice.once(2)));
  const cut = source.removal({ at: raw.indexOf('{'), end: raw.lastIndexOf('}') + 1 }, found, (/** @type {string} */ name) => gone.has(Buffer.from(name, 'latin1').toString()));
  const left = Object.fromEntries(Object.entries(parsed).filter(([name]) => !gone.has(name)));
  if (cut === undefined) assert.deepEqual(left, {});
  else assert.deepEqual({ ...JSON.parse(source.splice(raw, cut)) }, left, padded);

  const id = source.memberOf(found, 'id');
  if (id !== undefined) {
    const edit = { at: id.at, end: id.end, text: dice.of(['1', '"a"', '"Å¼"', '"a longer id than most"']) };
    const spliced = source.splice(raw, [edit]);
    assert.deepEqual(JSON.parse(spliced), { ...parsed, id: JSON.parse(Buffer.from(edit.text, 'latin1').toString()) });
    assert.deepEqual([...source.spliceInPlace(Buffer.from(raw), edit)], [...spliced]);
    assert.deepEqual(JSON.parse(source.withId(raw, edit.text)), JSON.parse(spliced));
  }

  for (const bytes of [raw, texts.spoilt(padded)]) {
    const read = source.readMessage(bytes, BOUNDS);
    assert.ok(['request', 'notification', 'response', 'batch', 'malformed'].includes(read.kind));
    if (read.kind === 'request') assert.deepEqual(JSON.parse(Buffer.from(read.idText, 'latin1').toString()), read.id);
    if (read.kind !== 'batch' && read.kind !== 'malformed') assert.deepEqual(JSON.parse(read.raw).method, read.method);
    // The short way of an answer must not believe what the long way does not.
    const answer = source.answerId(bytes);
    if (answer !== undefined && isUtf8(bytes) && source.isValue(bytes, answer.value)) assert.deepEqual([read.kind, read.id], ['response', answer.id], String(bytes));
    source.members(bytes, 100);
    source.elements(bytes, 100);
  }
  return 1;
}

/** One answer of a server on its way to a client of either era: it stays JSON, and stays an answer. */
export function answers(/** @type {Source} */ source, /** @type {number} */ seed) {
  const dice = new Dice(seed);
  const texts = new Texts(dice);
  const text = texts.answer();
  const method = dice.of(['tools/list', 'tools/call', 'resources/read', 'server/discover', 'x']);
  const info = dice.once(2) ? source.latin1('{"name":"ż","version":"1"}') : undefined;
  const raw = Buffer.from(text);
  if (source.readMessage(raw, BOUNDS).kind === 'response') translated(source, raw, method, info);
  for (const bytes of [raw, texts.spoilt(text)]) {
    for (const era of ['legacy', 'modern']) source.modernFault(bytes, era, method);
    source.stampResult(bytes, method, info);
    source.legacyResult(bytes, method);
    source.readInputRequired(bytes);
    // What is completed in one pass is what is completed step by step, and no less is judged.
    const id = source.answerId(bytes);
    const result = id && !id.isError && isUtf8(bytes) ? source.resultLayoutOf(bytes, id.value, 10_000) : undefined;
    if (result === undefined) continue;
    assert.ok(source.isValue(bytes, id.value));
    const edit = { at: id.at, end: id.end, text: '"a longer id than most"' };
    const atOnce = source.splice(bytes, [edit, ...source.stamps(bytes, result, method, info)]);
    assert.equal(String(atOnce), String(source.stampResult(source.splice(bytes, [edit]), method, info)));
  }
  return 1;
}

function translated(/** @type {Source} */ source, /** @type {Buffer} */ raw, /** @type {string} */ method, /** @type {string | undefined} */ info) {
  const { result, error } = JSON.parse(raw.toString());
  const isObject = typeof result === 'object' && result !== null && !Array.isArray(result);
  const read = (/** @type {any} */ answer) => {
    if (answer instanceof source.ProxyError) return {};
    assert.equal(source.readMessage(answer, BOUNDS).kind, 'response', `${raw}\n${answer}`);
    return JSON.parse(answer);
  };
  const stamped = read(source.stampResult(raw, method, info));
  if (isObject) for (const name of ['resultType', ...Object.keys(result)]) assert.ok(Object.hasOwn(stamped.result, name), `${raw}`);
  else assert.deepEqual(stamped, JSON.parse(raw.toString()));
  const legacy = read(source.legacyResult(raw, method));
  if (isObject && legacy.result !== undefined) assert.ok(!Object.hasOwn(legacy.result, 'resultType'), `${raw}`);
  for (const era of ['legacy', 'modern']) {
    const fault = source.modernFault(raw, era, method);
    assert.equal(fault === undefined, error === undefined, `${raw}`);
    if (fault?.is === 'error') assert.ok('error' in read(fault.answer));
    if (fault?.is === 'ask') JSON.parse(source.inputRequired(fault.requests, 'state'));
  }
  const asked = source.readInputRequired(raw);
  // It is looked for as everybody writes it.
  if (raw.includes('"input_required"')) assert.equal(asked !== undefined, isObject && result.resultType === 'input_required', `${raw}`);
  if (asked === undefined || asked instanceof source.ProxyError) return;
  JSON.parse(source.inputRequired(asked.inputRequests, undefined));
  for (const { params } of asked.inputRequests) if (params !== undefined) JSON.parse(source.withElicitationId(params, 'id'));
}
