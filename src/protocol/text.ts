// JSON that stays text: a value is read where it stands, members are taken out and put in as edits.

import { elements, memberOf, members, removal, type Edit, type Member, type Span } from '../wire/envelope.ts';

/** Members of an object of an answer, or elements of an array, that are looked at; what is behind them passes unchanged. */
export const MAX_MEMBERS = 10_000;

/** The members of what is written there; none where there is nothing, or no object. */
export function inside(raw: Buffer, at: Span | undefined): Member[] {
  return at === undefined ? [] : members(raw, MAX_MEMBERS, at.at);
}

/** The elements of what is written there; none where there is nothing, or no array. */
export function elementsOf(raw: Buffer, at: Span | undefined): Span[] {
  return at === undefined ? [] : elements(raw, MAX_MEMBERS, at.at);
}

/**
 * The edits that take members out of an object and others out of its `_meta`, commas and all; an emptied `_meta` goes.
 * `add`: new members. An object with more members than were looked at keeps what it has.
 */
export function without(
  raw: Buffer,
  object: Span,
  list: readonly Member[],
  drop: (name: string) => boolean,
  dropMeta = (_name: string): boolean => false,
  add = '',
): Edit[] {
  const added = add === '' ? [] : [{ at: object.at + 1, end: object.at + 1, text: add + (list.length > 0 ? ',' : '') }];
  if (raw.subarray(list.at(-1)?.end ?? object.at + 1, object.end - 1).some((byte) => byte > 0x20)) return added;
  const meta = memberOf(list, '_meta');
  const inMeta = meta === undefined || drop('_meta') ? [] : removal(meta, inside(raw, meta), dropMeta);
  const cut = removal(object, list, (name) => drop(name) || (name === '_meta' && inMeta === undefined));
  if (cut === undefined) return [{ at: object.at, end: object.end, text: `{${add}}` }];
  return [...added, ...cut, ...(inMeta ?? [])]; // what is added before what is cut at the same place
}

/** Text as it is spliced: one character a byte of its UTF-8. */
export function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}
