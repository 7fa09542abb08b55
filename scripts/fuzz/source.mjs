// Everything that the modules of a build export, by name, wherever it is at home.
// @ts-check

import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** The program itself: to load it is to start it. */
const PROGRAM = 'index.js';

/** Loads them from the directory of a build. @param {string} from */
export async function load(from) {
  const files = readdirSync(from, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js') && file !== PROGRAM);
  /** @type {any} */
  const source = {};
  for (const file of files) Object.assign(source, await import(pathToFileURL(join(resolve(from), file)).href));
  return source;
}
