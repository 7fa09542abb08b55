// Marks, by which everything that is said is known again wherever it turns up: whose it is, and of which call. A client's
// own ids and tokens are marks, too, of a kind that no server may see.
// @ts-check

/** Of a call, in what client and server say to each other: `@client.call@`. */
export const MARK = /@\d+\.\d+@/g;
/** Of either kind. */
export const ANY = /[@#](\d+)\.(\d+)[@#]/g;

export const markOf = (/** @type {number} */ client, /** @type {number} */ call) => `@${client}.${call}@`;
export const idOf = (/** @type {number} */ client, /** @type {number} */ call) => `#${client}.${call}#`;
