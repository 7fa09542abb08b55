// The modules of a build that the fuzzer works on.
// @ts-check

import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Loads them from the directory of a build. @param {string} from */
export async function load(from) {
  const files = [
    'base/clock',
    'base/errors',
    'base/log',
    'config/diff',
    'config/limits',
    'config/schema',
    'http/accept',
    'http/body',
    'http/router',
    'protocol/bridge',
    'protocol/classify',
    'protocol/modern',
    'relay/exchange',
    'relay/fleet',
    'transports/client',
    'proxy',
    'wire/envelope',
    'wire/jsonrpc',
    'wire/lines',
    'wire/sse',
  ];
  /** @type {any} */
  const source = {};
  for (const file of files) Object.assign(source, await import(pathToFileURL(join(resolve(from), `${file}.js`)).href));
  return source;
}
