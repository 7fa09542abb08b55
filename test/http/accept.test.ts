import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAccept as parse } from '../../src/http/accept.ts';

const JSON_ONLY = 'JSON';
const SSE_ONLY = 'SSE';
const BOTH = 'JSON or SSE';
const NEITHER = 'neither';

const table: readonly (readonly [header: string | undefined, takes: string])[] = [
  // Nothing said, or a wildcard: a plain HTTP library, which cannot read a stream.
  [undefined, JSON_ONLY],
  ['', JSON_ONLY],
  ['  ', JSON_ONLY],
  ['*/*', JSON_ONLY],
  ['application/*', JSON_ONLY],
  ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', JSON_ONLY],
  ['text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2', JSON_ONLY],

  ['application/json', JSON_ONLY],
  ['Application/JSON', JSON_ONLY],
  ['application/json; charset=utf-8', JSON_ONLY],
  ['text/event-stream', SSE_ONLY],
  ['TEXT/EVENT-STREAM', SSE_ONLY],
  [' text/event-stream ', SSE_ONLY],
  ['application/json, text/event-stream', BOTH],
  ['text/event-stream,application/json', BOTH],
  ['text/event-stream, */*', BOTH],
  ['text/event-stream, application/*;q=0.1', BOTH],
  ['application/json;q=0.5,text/event-stream;q=0.1', BOTH],

  ['text/html', NEITHER],
  ['text/*', NEITHER],
  ['text/plain, image/*', NEITHER],
  ['application/jsonp', NEITHER],
  ['application/json-seq, text/event-streams', NEITHER],
  ['json', NEITHER],
  ['*', NEITHER],

  // A weight of zero refuses.
  ['text/event-stream;q=0', NEITHER],
  ['text/event-stream; q=0.0, application/json', JSON_ONLY],
  ['text/event-stream;q=0.000,*/*', JSON_ONLY],
  ['text/event-stream; Q = 0 , application/json', JSON_ONLY],
  ['text/event-stream;q=0.001', SSE_ONLY],
  ['text/event-stream;q=1.000', SSE_ONLY],
  ['text/event-stream;charset=utf-8;q=0', NEITHER],
  ['text/event-stream;q=0;ext=1', NEITHER],
  ['*/*;q=0', NEITHER],
  ['application/*;q=0', NEITHER],
  ['text/event-stream;xq=0', SSE_ONLY],

  // The most specific range decides, wherever it stands.
  ['application/json;q=0, */*', NEITHER],
  ['*/*, application/json;q=0', NEITHER],
  ['application/json, */*;q=0', JSON_ONLY],
  ['application/*;q=0, */*', NEITHER],
  ['application/*, */*;q=0', JSON_ONLY],
  ['application/json;q=0, application/*, text/event-stream', SSE_ONLY],

  // A weight that is none does not refuse.
  ['application/json;q=x', JSON_ONLY],
  ['text/event-stream;q=high', SSE_ONLY],
];

/** What is asked where there is a choice. */
function parseAccept(header: string | undefined): object {
  const { json, sse } = parse(header);
  return { json, sse };
}

for (const [header, takes] of table) {
  test(`Accept: ${header === undefined ? 'none at all' : JSON.stringify(header)} takes ${takes}`, () => {
    assert.deepEqual(parseAccept(header), { json: takes === JSON_ONLY || takes === BOTH, sse: takes === SSE_ONLY || takes === BOTH });
  });
}

test('empty elements of the list mean nothing', () => {
  for (const [header, takes] of table) {
    if (header === undefined || header.trim() === '') continue;
    const expected = { json: takes === JSON_ONLY || takes === BOTH, sse: takes === SSE_ONLY || takes === BOTH };
    for (const padded of [`${header},`, `,${header}`, `, ,${header}, `, header.replaceAll(',', ' , ,')]) assert.deepEqual(parseAccept(padded), expected, padded);
  }
});

test('where there is nothing but a stream a wildcard takes it, unless the type itself is refused', () => {
  for (const header of ['text/event-stream', 'text/*', '*/*', 'text/html, */*;q=0.1', 'TEXT/*;q=0.5', '*/*;q=0, text/event-stream']) assert.equal(parse(header).stream, true, header);
  for (const header of [undefined, '', 'text/html', '*', '*/*;q=0', 'text/*;q=0, */*', 'text/event-stream;q=0, */*', 'application/*']) assert.equal(parse(header).stream, false, header);
});
