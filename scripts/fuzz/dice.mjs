// Chance that a seed decides, so that whatever was found can be found again.
// @ts-check

export class Dice {
  #state;

  constructor(/** @type {number} */ seed) {
    this.#state = seed | 0;
  }

  /** From 0 up to but not including 1 (mulberry32). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number below `sides`. */
  roll(/** @type {number} */ sides) {
    return Math.floor(this.next() * sides);
  }

  /** Once in so many times. */
  once(/** @type {number} */ inSoMany) {
    return this.roll(inSoMany) === 0;
  }

  /**
   * One of them; of none, `undefined`.
   * @template T
   * @param {readonly T[]} list
   * @returns {T}
   */
  of(list) {
    return /** @type {T} */ (list[this.roll(list.length || 1)]);
  }
}
