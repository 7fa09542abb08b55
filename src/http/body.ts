// The body of a POST, bounded in bytes and in time.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Deadlines } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import { sendContinue } from './server.ts';

const BIG_BYTES = 256 * 1024; // of a body that is gathered in one piece as it comes, so that it is never there twice
const MAX_LOOSE = 1_024; // chunks of a body, until they are joined: one of a single byte costs more than a hundred

export interface BodyOptions {
  readonly deadlines: Deadlines;
  readonly limits: Readonly<Record<'maxBodyBytes' | 'bodyTimeoutMs' | 'discardBytes' | 'discardMs', number>>;
}

/** Reads the whole JSON body. @throws ProxyError `media_type`, `too_large`, `request_timeout` */
export function readJsonBody(req: IncomingMessage, res: ServerResponse, options: BodyOptions): Promise<Buffer> {
  const length = Number(req.headers['content-length'] ?? 0);
  const refusal = mediaProblem(req) ?? sizeProblem(length, options);
  if (refusal !== undefined) {
    discard(req, options);
    return Promise.reject(refusal);
  }
  sendContinue(req, res);
  return new Promise((resolve, reject) => {
    // The request lives as long as its answer takes, with all that listens to it: what is here goes at the end of the body.
    let reading: { resolve(body: Buffer): void; reject(error: ProxyError): void } | undefined = { resolve, reject };
    let chunks: Buffer[] = [];
    let loose = 0; // of them, those at the end that are as they came
    let whole: Buffer | undefined; // what a big body is gathered in
    let bytes = 0;
    const { bodyTimeoutMs } = options.limits;
    const deadline = options.deadlines.add(bodyTimeoutMs, () =>
      refuse(new ProxyError('request_timeout', `Request timeout: the body was not complete after ${bodyTimeoutMs} ms`)),
    );
    function settle(): typeof reading {
      const read = reading;
      deadline.cancel();
      reading = whole = undefined;
      chunks = [];
      return read;
    }
    function refuse(error: ProxyError): void {
      const read = settle();
      discard(req, options);
      read?.reject(error);
    }
    function take(chunk: Buffer): void {
      if (reading === undefined) return;
      bytes += chunk.length;
      const problem = sizeProblem(bytes, options);
      if (problem !== undefined) return refuse(problem);
      if (whole !== undefined) return void chunk.copy(whole, bytes - chunk.length);
      chunks.push(chunk);
      if (++loose === MAX_LOOSE) {
        chunks.push(Buffer.concat(chunks.splice(-loose)));
        loose = 0;
      }
      if (!(length >= BIG_BYTES && length <= 4 * bytes)) return; // nor where the length is no number
      whole = Buffer.allocUnsafeSlow(length); // memory for what is announced, once a good part of it is here
      for (let at = 0; chunks.length > 0; ) at += (chunks.shift() as Buffer).copy(whole, at);
    }
    function finish(): void {
      if (reading === undefined) return;
      if (whole !== undefined && bytes !== length) return gone(); // not from Node's own server: what was never written must not be read
      const body = whole ?? (chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, bytes));
      settle()?.resolve(body);
    }
    function gone(): void {
      settle()?.reject(new ProxyError('invalid_request', 'Invalid Request: the body was cut off'));
    }
    req.on('data', take).on('end', finish).on('close', gone);
  });
}

function mediaProblem(req: IncomingMessage): ProxyError | undefined {
  const type = req.headers['content-type'];
  if (type !== undefined && type !== 'application/json' && type.split(';', 1)[0]?.trim().toLowerCase() !== 'application/json') {
    return new ProxyError('media_type', 'Unsupported media type: expected Content-Type: application/json');
  }
  const coding = req.headers['content-encoding'];
  if (coding !== undefined && coding.trim().toLowerCase() !== 'identity') {
    return new ProxyError('media_type', 'Unsupported media type: expected a body without Content-Encoding');
  }
  return undefined;
}

function sizeProblem(bytes: number, { limits }: BodyOptions): ProxyError | undefined {
  const { maxBodyBytes } = limits;
  return bytes > maxBodyBytes ? new ProxyError('too_large', `Payload too large: at most ${maxBodyBytes} bytes`) : undefined;
}

/** After a refusal the rest of the upload is read and dropped, up to a bound, else the client never sees the answer. */
function discard(req: IncomingMessage, { deadlines, limits }: BodyOptions): void {
  if (req.complete) return;
  let left = limits.discardBytes;
  const deadline = deadlines.add(limits.discardMs, () => req.destroy());
  req.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) req.destroy();
  });
  req.once('close', () => deadline.cancel());
  req.resume();
}
