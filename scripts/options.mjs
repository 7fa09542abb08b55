// The options of a script, read or refused in one line; never with a stack trace.
// @ts-check

import { parseArgs } from 'node:util';

/**
 * @template {import('node:util').ParseArgsConfig} T
 * @param {T} config
 * @returns {ReturnType<typeof parseArgs<T>>}
 */
export function options(config) {
  try {
    return parseArgs(config);
  } catch (error) {
    return usage(/** @type {Error} */ (error).message);
  }
}

/** Ends a script that was called in a way that it does not know. @param {string} problem @returns {never} */
export function usage(problem) {
  console.error(problem);
  process.exit(1);
}
