// Where the members of a raw JSON message lie, and how to change some of them without touching the rest. Every
// other byte goes on as it came: digits beyond 2^53, key order, escapes. The scanner decides nothing. What it finds is
// right in text that `JSON.parse` accepts; in any other it finds something, and comes to an end.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN = 0x7b;
const OPEN_ARRAY = 0x5b;
const CLOSE = 0x7d;
const CLOSE_ARRAY = 0x5d;
const LF = 10;
const CR = 13;
const SPACE = 0x20;
const FEW = 8; // names that are compared sooner than they are put into a Set

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

/** The members of the object that begins at `at`, white space aside; at most `limit` + 1. None where there is no object. */
export function members(raw: Buffer, limit: number, at = 0): Member[] {
  const found: Member[] = [];
  const open = skipSpace(raw, at);
  if (raw[open] !== OPEN) return found;
  let i = skipSpace(raw, open + 1);
  while (raw[i] === QUOTE && found.length <= limit) {
    const nameAt = i;
    const nameEnd = skipString(raw, i);
    const valueAt = skipSpace(raw, skipSpace(raw, nameEnd) + 1);
    const end = skipValue(raw, valueAt);
    found.push({ name: nameOf(raw, nameAt, nameEnd), nameAt, at: valueAt, end });
    i = skipSpace(raw, end);
    if (raw[i] === COMMA) i = skipSpace(raw, i + 1);
  }
  return found;
}

/** The elements of the array that begins at `at`, white space aside; at most `limit` + 1. None where there is no array. */
export function elements(raw: Buffer, limit: number, at = 0): Span[] {
  const found: Span[] = [];
  const open = skipSpace(raw, at);
  if (raw[open] !== OPEN_ARRAY) return found;
  let i = skipSpace(raw, open + 1);
  while (i < raw.length && raw[i] !== CLOSE_ARRAY && found.length <= limit) {
    const end = skipValue(raw, i);
    if (end === i) break; // no value begins with this byte
    found.push({ at: i, end });
    i = skipSpace(raw, end);
    if (raw[i] === COMMA) i = skipSpace(raw, i + 1);
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
  const ordered = edits.length < 2 ? edits : [...edits].sort((a, b) => a.at - b.at);
  let bytes = raw.length;
  for (const edit of ordered) bytes += edit.text.length - (edit.end - edit.at);
  const out = Buffer.allocUnsafe(bytes);
  let read = 0;
  let write = 0;
  for (const edit of ordered) {
    write += raw.copy(out, write, read, edit.at);
    write += out.write(edit.text, write, 'latin1');
    read = edit.end;
  }
  raw.copy(out, write, read);
  return out;
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
}

const HEAD = /^\{"jsonrpc":"2\.0","id":(\d{1,15}),"(?:result|error)":/;
const TAIL = /,"jsonrpc":"2\.0","id":(\d{1,15})\}$/;
const LOOK = 48; // bytes; both patterns fit

/**
 * The id of an answer at one of the two places where servers write it: in the first members, or in the last. Reads
 * only the ends, so the size of the message does not matter. `undefined`: it has to be parsed to know.
 */
export function answerId(raw: Buffer): AnswerId | undefined {
  const start = raw.toString('latin1', 0, LOOK);
  const head = HEAD.exec(start);
  if (head?.[1] !== undefined) return { id: Number(head[1]), at: 22, end: 22 + head[1].length, value: { at: head[0].length, end: raw.length - 1 } };
  const at = start.startsWith('{"result":') ? 10 : start.startsWith('{"error":') ? 9 : undefined;
  const tail = at === undefined ? null : TAIL.exec(raw.toString('latin1', Math.max(0, raw.length - LOOK)));
  if (at === undefined || tail?.[1] === undefined) return undefined;
  return { id: Number(tail[1]), at: raw.length - 1 - tail[1].length, end: raw.length - 1, value: { at, end: raw.length - tail[0].length } };
}

/** Whether one value, without white space around it, fills this stretch of a JSON text. */
export function isValue(raw: Buffer, { at, end }: Span): boolean {
  return skipValue(raw, at) === end;
}

function nameOf(raw: Buffer, at: number, end: number): string {
  const text = raw.toString('latin1', at + 1, end - 1);
  if (!text.includes('\\')) return text;
  try {
    // An escaped name is the same name: "\u0069d" is "id". Names are compared as the Latin-1 view of their UTF-8 bytes.
    return Buffer.from(JSON.parse(raw.toString('utf8', at, end)) as string).toString('latin1');
  } catch {
    return text; // not JSON
  }
}

function skipSpace(raw: Buffer, at: number): number {
  let i = at;
  for (let c = raw[i]; c === SPACE || c === LF || c === CR || c === 9; c = raw[i]) i++;
  return i;
}

/** From an opening quote to behind the closing one. Long strings are searched, short ones walked. */
function skipString(raw: Buffer, at: number): number {
  const near = Math.min(raw.length, at + 64);
  let i = at + 1;
  for (; i < near; i++) {
    if (raw[i] === QUOTE) return i + 1;
    if (raw[i] === BACKSLASH) i++;
  }
  for (;;) {
    const quote = raw.indexOf(QUOTE, i);
    if (quote === -1) return raw.length;
    let slash = quote;
    while (slash > i && raw[slash - 1] === BACKSLASH) slash--;
    if ((quote - slash) % 2 === 0) return quote + 1;
    i = quote + 1;
  }
}

function skipValue(raw: Buffer, at: number): number {
  if (raw[at] === QUOTE) return skipString(raw, at);
  if (raw[at] === OPEN || raw[at] === OPEN_ARRAY) {
    let depth = 0;
    for (let i = at; i < raw.length; ) {
      const c = raw[i];
      if (c === QUOTE) {
        i = skipString(raw, i);
        continue;
      }
      i++;
      if (c === OPEN || c === OPEN_ARRAY) depth++;
      else if ((c === CLOSE || c === CLOSE_ARRAY) && --depth === 0) return i;
    }
    return raw.length;
  }
  let i = at;
  for (let c = raw[i]; c !== undefined && c !== COMMA && c !== CLOSE && c !== CLOSE_ARRAY && c > SPACE; c = raw[i]) i++;
  return i;
}
