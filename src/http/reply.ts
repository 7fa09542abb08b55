// Whole answers: JSON, nothing, or a fault. A client that left is no error: what is written to it is dropped.

import type { ServerResponse } from 'node:http';
import type { ProxyError } from '../base/errors.ts';
import { bytesOf, encodeError } from '../wire/jsonrpc.ts';
import { cutOff } from '../wire/pipeline.ts';

const SMALL_BYTES = 16 * 1024; // below, head and body leave as one string in one write

/** Answers with a JSON text, a big one perhaps in parts. `headers`: names and values in turn, which is what Node takes quickest. */
export function json(res: ServerResponse, status: number, body: Buffer | readonly Buffer[], headers: readonly string[] = []): void {
  const bytes = Buffer.isBuffer(body) ? body.length : bytesOf(body);
  if (res.headersSent || res.destroyed || (bytes >= SMALL_BYTES && cutOff(res))) return;
  res.writeHead(status, ['content-type', 'application/json', 'content-length', String(bytes), ...headers]);
  if (Buffer.isBuffer(body)) return void (bytes < SMALL_BYTES ? res.end(body.toString('latin1'), 'latin1') : res.end(body));
  for (const part of body) res.write(part); // Node gathers them in one write
  res.end();
}

/** Answers without a body. */
export function empty(res: ServerResponse, status: number): void {
  if (res.headersSent || res.destroyed) return;
  res.statusCode = status;
  res.end(); // of no bytes; behind `writeHead`, Node would announce chunks
}

/** Answers with a fault, under the id of the request where it could be read. */
export function fault(res: ServerResponse, error: ProxyError, idText = 'null', headers: readonly string[] = []): void {
  const retry = error.retryAfterS === undefined ? [] : ['retry-after', String(error.retryAfterS)];
  json(res, error.status, encodeError(idText, error.toRpc()), [...retry, ...headers]);
}
