// @ts-check
import assert from 'node:assert/strict';

/**
 * Equal in every value and in the order of members. A difference far into a long text is shown with what is around it.
 * @param {unknown} is
 * @param {unknown} was
 * @param {string} what
 */
export function same(is, was, what) {
  const [isText, wasText] = [JSON.stringify(is) ?? '', JSON.stringify(was) ?? ''];
  if (isText === wasText) return;
  try {
    if (Math.max(isText.length, wasText.length) < 50_000) assert.deepEqual(is, was);
  } catch (error) {
    if (error instanceof Error) error.message = `${what}: ${error.message}`;
    throw error;
  }
  let at = 0;
  while (isText[at] === wasText[at]) at += 1;
  const around = (/** @type {string} */ text) => text.slice(Math.max(0, at - 80), at + 80);
  assert.fail(`${what}: from character ${at} on it is\n${around(isText)}\nand was expected to be\n${around(wasText)}`);
}
