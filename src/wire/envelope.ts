// Where the members of a raw JSON message lie, and how to change some of them without touching the rest. Every
// other byte goes on as it came: digits beyond 2^53, key order, escapes. The scanner accepts what `JSON.parse` accepts
// (RFC 8259), and makes no value of it: megabytes are judged where they lie.

import { Buffer } from 'node:buffer'; // the global one is a getter, which costs more than a small copy

// The bytes with which a string, an object and an array begin.
export const QUOTE = 0x22;
export const OPEN = 0x7b;
export const OPEN_ARRAY = 0x5b;

const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const TO_CLOSE = 2; // from an opening bracket of either kind to the closing one
const LF = 10;
const CR = 13;
const SPACE = 0x20;
/** Instead of an end: this is not JSON. */
const NONE = -1;
const WORDS = ['true', 'false', 'null'];
const [MINUS, PLUS, POINT, ZERO, NINE] = [0x2d, 0x2b, 0x2e, 0x30, 0x39];
const [LETTER_A, LETTER_E, LETTER_F, LETTER_U] = [0x61, 0x65, 0x66, 0x75];
const LOWER = 0x20; // the bit that makes a letter a small one
const ESCAPED = new Uint8Array(256);
for (const c of Buffer.from('"\\/bfnrt')) ESCAPED[c] = 1;
/** What each byte of a string is. */
const PLAIN = 0;
const IN_STRING = new Uint8Array(256).fill(1, 0, SPACE).fill(1, QUOTE, QUOTE + 1).fill(1, BACKSLASH, BACKSLASH + 1);
const TOP_BITS = 0x80808080;
const SHORT = 64; // bytes of a string that are walked: the names of MCP are shorter
const MAX_LEVELS = 250_000; // of nesting, more than any reader of JSON can do with (RFC 8259, section 9): what is open is kept
const FEW = 8; // names that are compared sooner than they are put into a Set, and characters that are written sooner one by one
const FEW_BYTES = 256; // that are copied sooner by a loop than by a call

/** A stretch of bytes: from `at` up to but not including `end`. */
export interface Span {
  readonly at: number;
  readonly end: number;
}

/** One member of an object: its value's bytes, and where its name begins. */
export interface Member extends Span {
  readonly name: string;
  readonly nameAt: number;
}

/** One replacement in a message: the bytes of the span become `text` (Latin-1, one character a byte). */
export interface Edit extends Span {
  readonly text: string;
}

/** The objects of a message whose members the proxy may change: empty where there is none. */
export interface Layout {
  readonly top: readonly Member[];
  /** The members of `params`, and of `params._meta`. */
  readonly params: readonly Member[];
  readonly meta: readonly Member[];
  /** Whether no line end stands between its tokens. */
  readonly isOneLine: boolean;
  /** Whether their names are written in ASCII, without escapes. */
  readonly isPlain: boolean;
}

// What the scan that is going on has met: a line end, a name that is not plain ASCII.
let brokenLine = false;
let oddName = false;

/** Judges a whole JSON text and, in the same pass, lays a message out: at most `limit` + 1 members of each object. `undefined`: not JSON. */
export function layoutOf(raw: Buffer, limit: number): Layout | undefined {
  const top: Member[] = [];
  const params: Member[] = [];
  const meta: Member[] = [];
  brokenLine = oddName = false;
  const at = skipSpace(raw, 0);
  const inner = { name: 'params', found: params, inner: { name: '_meta', found: meta } };
  const end = raw[at] === OPEN ? skipObject(raw, at, limit, top, inner) : skipValue(raw, at);
  return end !== NONE && skipSpace(raw, end) === raw.length ? { top, params, meta, isOneLine: !brokenLine, isPlain: !oddName } : undefined;
}

/** The members of a result, and of its `_meta`. */
export interface ResultLayout {
  readonly at: number;
  readonly list: readonly Member[];
  readonly meta: readonly Member[];
}

/** Judges and lays out the object that fills this stretch: at most `limit` + 1 members of each. `undefined`: there is none. */
export function resultLayoutOf(raw: Buffer, { at, end }: Span, limit: number): ResultLayout | undefined {
  const layout = { at, list: [], meta: [] };
  return raw[at] === OPEN && skipObject(raw, at, limit, layout.list, { name: '_meta', found: layout.meta }) === end ? layout : undefined;
}

/** The byte with which the value of a JSON text begins. */
export function opening(raw: Buffer): number | undefined {
  return raw[skipSpace(raw, 0)];
}

/** The members of the object that begins at `at`, white space aside; at most `limit` + 1. None where there is no object. */
export function members(raw: Buffer, limit: number, at = 0): Member[] {
  const found: Member[] = [];
  const open = skipSpace(raw, at);
  if (raw[open] === OPEN) skipObject(raw, open, limit, found);
  return found;
}

/** The elements of the array that begins at `at`, white space aside; at most `limit` + 1. None where there is no array. */
export function elements(raw: Buffer, limit: number, at = 0): Span[] {
  const found: Span[] = [];
  const open = skipSpace(raw, at);
  if (raw[open] !== OPEN_ARRAY) return found;
  let i = skipSpace(raw, open + 1);
  while (found.length <= limit) {
    const end = skipValue(raw, i);
    if (end === NONE) break;
    found.push({ at: i, end });
    i = skipSpace(raw, end);
    if (raw[i] !== COMMA) break;
    i = skipSpace(raw, i + 1);
  }
  return found;
}

/** The member of this name, the first if there are two. */
export function memberOf(list: readonly Member[], name: string): Member | undefined {
  for (const member of list) if (member.name === name) return member;
  return undefined;
}

/** The first name that occurs twice, if one does. */
export function duplicate(list: readonly Member[]): string | undefined {
  if (list.length <= FEW) {
    for (let k = 1; k < list.length; k++) for (let j = 0; j < k; j++) if (list[j]?.name === list[k]?.name) return list[k]?.name;
    return undefined;
  }
  const names = new Set<string>();
  for (const { name } of list) {
    if (names.has(name)) return name;
    names.add(name);
  }
  return undefined;
}

/**
 * Whether it is plain to see that of these names, in ASCII, no two are the same or similar, and none is similar to `own`:
 * such names have one length, and most messages have none.
 */
export function areDistinct(list: readonly Member[], own: string): boolean {
  if (list.length > FEW) return false;
  for (let k = 0; k < list.length; k++) {
    const { name } = list[k] as Member;
    if (name.length === own.length && name !== own) return false;
    for (let j = 0; j < k; j++) if ((list[j] as Member).name.length === name.length) return false;
  }
  return true;
}

/**
 * The first name that lenient readers take for another one of these, or of `own`, if they do: many look at no case (Go's
 * encoding/json, CVE-2026-27896) and some at no null characters (GO-2026-4770).
 */
export function lookalike(list: readonly Member[], own: readonly string[]): string | undefined {
  const names = new Map(own.map((name) => [folded(name), name]));
  for (const { name } of list) {
    const as = folded(name);
    if ((names.get(as) ?? name) !== name) return name;
    names.set(as, name);
  }
  return undefined;
}

/** A name without what lenient readers overlook: null characters, case, and what Unicode folds to ASCII. */
function folded(name: string): string {
  return Buffer.from(name, 'latin1').toString().replaceAll('\0', '').toUpperCase().toLowerCase();
}

/** The edits that take members out of an object, commas and all. `undefined`: nothing would be left of it. */
export function removal(object: Span, list: readonly Member[], drop: (name: string) => boolean): Edit[] | undefined {
  const edits: Edit[] = [];
  let from = object.at + 1; // behind the last member that stays
  let kept = 0;
  let gap = false;
  for (const member of list) {
    if (drop(member.name)) {
      gap = true;
      continue;
    }
    if (gap) edits.push({ at: from, end: member.nameAt, text: kept === 0 ? '' : ',' });
    from = member.end;
    gap = false;
    kept++;
  }
  if (gap && kept === 0) return undefined;
  if (gap) edits.push({ at: from, end: object.end - 1, text: '' });
  return edits;
}

/** The message with the edits made. They must not overlap; their order does not matter. */
export function splice(raw: Buffer, edits: readonly Edit[]): Buffer {
  const ordered = inOrder(edits);
  let bytes = raw.length;
  for (const edit of ordered) bytes += edit.text.length - (edit.end - edit.at);
  const out = Buffer.allocUnsafe(bytes);
  let read = 0;
  let write = 0;
  for (const edit of ordered) {
    write = copy(raw, read, edit.at, out, write);
    write = put(edit.text, out, write);
    read = edit.end;
  }
  copy(raw, read, raw.length, out, write);
  return out;
}

/** The same in parts, of which those that stay are not copied: for megabytes. */
export function spliceParts(raw: Buffer, edits: readonly Edit[]): Buffer[] {
  const parts: Buffer[] = [];
  let read = 0;
  for (const edit of inOrder(edits)) {
    parts.push(raw.subarray(read, edit.at), Buffer.from(edit.text, 'latin1'));
    read = edit.end;
  }
  parts.push(raw.subarray(read));
  return parts.filter(({ length }) => length > 0);
}

function inOrder(edits: readonly Edit[]): readonly Edit[] {
  for (let k = 1; k < edits.length; k++) {
    if ((edits[k] as Edit).at < (edits[k - 1] as Edit).at) return [...edits].sort((a, b) => a.at - b.at); // stable
  }
  return edits;
}

/** Writes a text, and answers where it ends. */
function put(text: string, out: Buffer, write: number): number {
  if (text.length > FEW) return write + out.write(text, write, 'latin1');
  for (let k = 0; k < text.length; k++) out[write + k] = text.charCodeAt(k);
  return write + text.length;
}

/** Copies a stretch of bytes to `write` of another buffer, and answers where it ends there. */
function copy(raw: Buffer, at: number, end: number, out: Buffer, write: number): number {
  if (end - at > FEW_BYTES) return write + raw.copy(out, write, at, end);
  let to = write;
  for (let from = at; from < end; ) out[to++] = raw[from++] as number;
  return to;
}

/**
 * The message with one edit made where it lies: if the new text needs no more room than the old, only the shorter side of
 * it is moved, and megabytes need no copy. For a message that nobody else reads any more.
 */
export function spliceInPlace(raw: Buffer, edit: Edit): Buffer {
  const spare = edit.end - edit.at - edit.text.length;
  if (spare < 0) return splice(raw, [edit]);
  const isNearEnd = raw.length - edit.end < edit.at;
  raw.write(edit.text, isNearEnd ? edit.at : edit.at + spare, 'latin1');
  if (isNearEnd) raw.copyWithin(edit.end - spare, edit.end);
  else raw.copyWithin(spare, 0, edit.at);
  return isNearEnd ? raw.subarray(0, raw.length - spare) : raw.subarray(spare);
}

/**
 * The message on one line. Valid JSON holds raw line ends between its tokens only, so they become spaces: on stdio
 * an LF would end the message, and in an event stream a CR would end the field.
 */
export function oneLine(raw: Buffer): Buffer {
  if (!raw.includes(LF) && !raw.includes(CR)) return raw;
  const out = Buffer.from(raw);
  for (const [i, byte] of out.entries()) if (byte === LF || byte === CR) out[i] = SPACE;
  return out;
}

/** The integer id of an answer, and where it stands. */
export interface AnswerId extends Span {
  readonly id: number;
  /** Where the result or the error lies, if that, `jsonrpc` and the id are all that the answer has. */
  readonly value: Span;
  readonly isError: boolean;
}

const HEAD = '{"jsonrpc":"2.0","id":';
const TAIL = /,"jsonrpc":"2\.0","id":(0|[1-9]\d{0,14})\}$/;
const TAIL_BYTES = 48; // it fits
const MAX_DIGITS = 15;

/**
 * The id of an answer at one of the two places where servers write it: in the first members, or in the last. Reads
 * only the ends, so the size of the message does not matter. `undefined`: it has to be parsed to know. `last`: where the
 * answer ends, if `raw` is its first part only, in which an id at the front is found, and no value.
 */
export function answerId(raw: Buffer, last = raw): AnswerId | undefined {
  if (isAt(raw, 0, HEAD)) {
    const end = skipDigits(raw, HEAD.length);
    const id = countAt(raw, HEAD.length, end);
    const isError = isAt(raw, end, ',"error":');
    const value = isError ? end + 9 : isAt(raw, end, ',"result":') ? end + 10 : undefined;
    if (id === undefined || value === undefined || last[last.length - 1] !== OPEN + TO_CLOSE) return undefined;
    return { id, at: HEAD.length, end, value: { at: value, end: raw.length - 1 }, isError };
  }
  if (raw !== last) return undefined;
  const isError = isAt(raw, 0, '{"error":');
  const at = isError ? 9 : isAt(raw, 0, '{"result":') ? 10 : undefined;
  const tail = at === undefined ? null : TAIL.exec(raw.toString('latin1', Math.max(0, raw.length - TAIL_BYTES)));
  if (at === undefined || tail?.[1] === undefined) return undefined;
  return { id: Number(tail[1]), at: raw.length - 1 - tail[1].length, end: raw.length - 1, value: { at, end: raw.length - tail[0].length }, isError };
}

/** Whether one JSON value, without white space around it, fills this stretch. */
export function isValue(raw: Buffer, { at, end }: Span): boolean {
  return skipValue(raw, at) === end;
}

/** The short plain strings that were read last, each at a place that its length and three of its bytes decide: most messages have the same few. */
const lately: string[] = new Array<string>(256).fill('');
const MAX_WORD_BYTES = 64;
const IS_PLAIN = /^[ !#-[\]-\x7f]*$/; // ASCII without escapes

/** What a string says whose bytes are its characters; `undefined`: it has others, or escapes. */
function plainText(raw: Buffer, quoteAt: number, end: number): string | undefined {
  const at = quoteAt + 1;
  const bytes = end - 1 - at;
  const place = (5 * bytes + 7 * (raw[at] as number) + 3 * (raw[at + (bytes >> 1)] as number) + (raw[end - 2] as number)) & 255;
  const known = lately[place] as string;
  if (known.length === bytes && isAt(raw, at, known)) return known;
  const text = raw.toString('latin1', at, at + bytes);
  if (!IS_PLAIN.test(text)) return undefined;
  if (bytes <= MAX_WORD_BYTES) lately[place] = text;
  return text;
}

/** Names are compared as the Latin-1 view of their UTF-8 bytes. An escaped name is the same name: "\u0069d" is "id". */
function nameOf(raw: Buffer, at: number, end: number): string {
  const plain = plainText(raw, at, end);
  if (plain !== undefined) return plain;
  oddName = true;
  const text = raw.toString('latin1', at + 1, end - 1);
  return text.includes('\\') ? Buffer.from(JSON.parse(raw.toString('utf8', at, end)) as string).toString('latin1') : text;
}

/** The value that is written there; `undefined` where there is none, or nothing that is JSON. */
export function valueOf(raw: Buffer, span: Span | undefined): unknown {
  if (span === undefined) return undefined;
  const { at, end } = span;
  const text = raw[at] === QUOTE && end - at <= MAX_WORD_BYTES ? plainText(raw, at, end) : undefined;
  if (text !== undefined) return text;
  if (raw[at] === OPEN && end === at + 2) return {};
  const count = countAt(raw, at, end);
  if (count !== undefined) return count;
  try {
    return JSON.parse(raw.toString('utf8', at, end)) as unknown;
  } catch {
    return undefined;
  }
}

/** The same of what is no object and no list: those may be megabytes of values, which nobody makes who wants a word. */
export function scalarOf(raw: Buffer, span: Span | undefined): unknown {
  const c = span === undefined ? undefined : raw[span.at];
  return c === OPEN || c === OPEN_ARRAY ? undefined : valueOf(raw, span);
}

/** The integer that fills this stretch, if it is one of those that need no parser: most ids are. */
function countAt(raw: Buffer, at: number, end: number): number | undefined {
  if (end - at > MAX_DIGITS || (raw[at] === ZERO && end > at + 1)) return undefined;
  let n = 0;
  for (let i = at; i < end; i++) {
    const c = raw[i] as number;
    if (!(c >= ZERO && c <= NINE)) return undefined;
    n = 10 * n + c - ZERO;
  }
  return end > at ? n : undefined;
}

/** Whether this text stands here, one byte a character. */
function isAt(raw: Buffer, at: number, text: string): boolean {
  for (let k = 0; k < text.length; k++) if (raw[at + k] !== text.charCodeAt(k)) return false;
  return true;
}

function skipSpace(raw: Buffer, at: number): number {
  let i = at;
  for (let c = raw[i]; c === SPACE || c === LF || c === CR || c === 9; c = raw[i]) {
    if (c === LF || c === CR) brokenLine = true;
    i++;
  }
  return i;
}

/** A member whose own members, if it is an object, are noted, too. */
interface Inner {
  readonly name: string;
  readonly found: Member[];
  readonly inner?: Inner;
}

/** To behind the object that begins here, its members noted on the way. */
function skipObject(raw: Buffer, at: number, limit: number, found: Member[], inner?: Inner): number {
  let i = skipSpace(raw, at + 1);
  if (raw[i] === OPEN + TO_CLOSE) return i + 1;
  for (;;) {
    const nameAt = i;
    const nameEnd = raw[i] === QUOTE ? skipString(raw, i) : NONE;
    if (nameEnd === NONE) return NONE;
    i = skipSpace(raw, nameEnd);
    if (raw[i] !== COLON) return NONE;
    const valueAt = skipSpace(raw, i + 1);
    const name = nameOf(raw, nameAt, nameEnd);
    const end =
      inner === undefined || name !== inner.name || raw[valueAt] !== OPEN
        ? skipValue(raw, valueAt)
        : skipObject(raw, valueAt, limit, inner.found, inner.inner);
    if (end === NONE) return NONE;
    if (found.length <= limit) found.push({ name, nameAt, at: valueAt, end });
    i = skipSpace(raw, end);
    if (raw[i] === OPEN + TO_CLOSE) return i + 1;
    if (raw[i] !== COMMA) return NONE;
    i = skipSpace(raw, i + 1);
  }
}

/** To behind the value that begins here. Without recursion: how deep it is is not for us to say. */
function skipValue(raw: Buffer, at: number): number {
  const open: number[] = []; // the brackets that are open
  let i = at;
  for (;;) {
    const c = raw[i];
    if (c === OPEN || c === OPEN_ARRAY) {
      i = skipSpace(raw, i + 1);
      if (raw[i] === c + TO_CLOSE) i++;
      else {
        if (open.push(c) > MAX_LEVELS) return NONE;
        if (c === OPEN) i = skipName(raw, i);
        if (i === NONE) return NONE;
        continue;
      }
    } else {
      i = c === QUOTE ? skipString(raw, i) : skipLiteral(raw, i);
      if (i === NONE) return NONE;
    }
    // Behind a value: behind all that ends here, too.
    for (;;) {
      if (open.length === 0) return i;
      const bracket = open[open.length - 1] as number;
      i = skipSpace(raw, i);
      if (raw[i] === COMMA) {
        i = skipSpace(raw, i + 1);
        if (bracket === OPEN) i = skipName(raw, i);
        if (i === NONE) return NONE;
        break;
      }
      if (raw[i] !== bracket + TO_CLOSE) return NONE;
      open.pop();
      i++;
    }
  }
}

/** From the name of a member to its value. */
function skipName(raw: Buffer, at: number): number {
  const end = raw[at] === QUOTE ? skipString(raw, at) : NONE;
  const i = end === NONE ? NONE : skipSpace(raw, end);
  return i !== NONE && raw[i] === COLON ? skipSpace(raw, i + 1) : NONE;
}

/** To behind `true`, `false`, `null` or a number. */
function skipLiteral(raw: Buffer, at: number): number {
  for (const word of WORDS) if (isAt(raw, at, word)) return at + word.length;
  let i = raw[at] === MINUS ? at + 1 : at;
  i = raw[i] === ZERO ? i + 1 : skipDigits(raw, i);
  if (i !== NONE && raw[i] === POINT) i = skipDigits(raw, i + 1);
  if (i === NONE || ((raw[i] as number) | LOWER) !== LETTER_E) return i;
  const isSigned = raw[i + 1] === MINUS || raw[i + 1] === PLUS;
  return skipDigits(raw, isSigned ? i + 2 : i + 1);
}

function skipDigits(raw: Buffer, at: number): number {
  let i = at;
  for (let c = raw[i] as number; c >= ZERO && c <= NINE; c = raw[i] as number) i++;
  return i === at ? NONE : i;
}

/** From an opening quote to behind the closing one. */
function skipString(raw: Buffer, at: number): number {
  let i = at + 1;
  for (const far = at + SHORT; i < far; ) {
    const c = raw[i] as number;
    if (IN_STRING[c] === PLAIN) i++;
    else if (c === QUOTE) return i + 1;
    else if (c !== BACKSLASH) return NONE; // a control character, or the end
    else if ((i = skipEscape(raw, i)) === NONE) return NONE;
  }
  return skipLongString(raw, i);
}

/** The same from the middle of a string that is longer: eight bytes at a time. */
function skipLongString(raw: Buffer, at: number): number {
  const shift = raw.byteOffset & 3; // words lie where their address is a multiple of four
  const words = new Int32Array(raw.buffer, raw.byteOffset - shift, (raw.length + shift) >> 2);
  const last = words.length - 1;
  let i = at;
  for (;;) {
    let k = (i + shift) >> 2;
    if (k < last) {
      let marks = specials(words[k] as number) & TOP_BITS & (-1 << (8 * ((i + shift) & 3))); // not those in front of here
      if (marks === 0) {
        for (k++; k < last; k += 2) {
          const here = specials(words[k] as number);
          const next = specials(words[k + 1] as number);
          if (((here | next) & TOP_BITS) === 0) continue;
          marks = here & TOP_BITS;
          if (marks === 0) {
            k++;
            marks = next & TOP_BITS;
          }
          break;
        }
      }
      i = 4 * k - shift;
      if (marks !== 0) i += (31 - Math.clz32(marks & -marks)) >> 3; // to the first that is marked
    }
    const c = raw[i] as number;
    if (c === BACKSLASH) i = skipEscape(raw, i);
    else if (c === QUOTE) return i + 1;
    else i = IN_STRING[c] === PLAIN ? i + 1 : NONE;
    if (i === NONE) return NONE;
  }
}

/**
 * Sets the top bit of the first of four bytes that is a quote, a backslash or a control character; behind it that of
 * others may be set, too, and other bits mean nothing. The one exclusive or makes quotes spaces and leaves what is below
 * them there, the other makes backslashes zeros.
 */
function specials(word: number): number {
  return (((word ^ 0x02020202) - 0x21212121) | ((word ^ 0x5c5c5c5c) - 0x01010101)) & ~word;
}

function skipEscape(raw: Buffer, at: number): number {
  const c = raw[at + 1] as number;
  if (ESCAPED[c] === 1) return at + 2;
  return c === LETTER_U && isHex(raw, at + 2) ? at + 6 : NONE;
}

/** Whether four hexadecimal digits stand here. */
function isHex(raw: Buffer, at: number): boolean {
  for (let i = at; i < at + 4; i++) {
    const c = raw[i] as number;
    const letter = c | LOWER;
    if (!(c >= ZERO && c <= NINE) && !(letter >= LETTER_A && letter <= LETTER_F)) return false;
  }
  return true;
}
