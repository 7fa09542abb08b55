// Whole answers: JSON, nothing, or a fault. A client that left is no error: what is written to it is dropped.

import type { ServerResponse } from 'node:http';
import type { ProxyError } from '../base/errors.ts';
import { encodeError } from '../wire/jsonrpc.ts';
import { cutOff } from '../wire/pipeline.ts';

const SMALL_BYTES = 16 * 1024; // below, head and body leave as one string in one write

/** Answers with a JSON text. `headers`: names and values in turn, which is what Node takes quickest. */
export function json(res: ServerResponse, status: number, body: Buffer, headers: readonly string[] = []): void {
  if (res.headersSent || res.destroyed || (body.length >= SMALL_BYTES && cutOff(res))) return;
  res.writeHead(status, ['content-type', 'application/json', 'content-length', String(body.length), ...headers]);
  if (body.length < SMALL_BYTES) res.end(body.toString('latin1'), 'latin1');
  else res.end(body);
}

/** Answers without a body. */
export function empty(res: ServerResponse, status: number): void {
  if (!res.headersSent && !res.destroyed) res.writeHead(status).end();
}

/** Answers with a fault, under the id of the request where it could be read. */
export function fault(res: ServerResponse, error: ProxyError, idText = 'null', headers: readonly string[] = []): void {
  const retry = error.retryAfterS === undefined ? [] : ['retry-after', String(error.retryAfterS)];
  json(res, error.status, encodeError(idText, error.toRpc()), [...retry, ...headers]);
}
