// The simple dialect (B.16): a bare POST is answered with its JSON-RPC response, and GET streams what the server
// sends. No handshake and no session: every request stands alone, and it is one SSE reader at most.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import { parseAccept, type Accepts } from '../http/accept.ts';
import { readJsonBody, type BodyOptions } from '../http/body.ts';
import { empty, fault, json } from '../http/reply.ts';
import { classify, malformedError } from '../protocol/classify.ts';
import type { Exchange } from '../relay/exchange.ts';
import type { Fleet } from '../relay/fleet.ts';
import type { McpServer } from '../relay/server.ts';
import { oneLine } from '../wire/envelope.ts';
import { encodeError, readMessage, type Batch, type ReadBounds, type RpcRequest } from '../wire/jsonrpc.ts';
import { encodeEvent, SseStream } from '../wire/sse.ts';

export interface SimpleOptions {
  readonly fleet: Fleet;
  readonly clock: Clock;
  readonly body: BodyOptions;
  readonly bounds: ReadBounds;
  readonly stream: { readonly keepAliveMs: number; readonly sseQueueBytes: number; readonly sseStallMs: number };
  /** Scheme and host of the URLs given out; without it, those of the request. */
  readonly publicUrl: URL | undefined;
  readonly basePath: string;
}

export class SimpleTransport {
  readonly #options: SimpleOptions;

  constructor(options: SimpleOptions) {
    this.#options = options;
  }

  /** `POST /:server/mcp` and `POST /:server/message`. */
  async post(name: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { fleet, body, bounds } = this.#options;
    const message = readMessage(await readJsonBody(req, res, body), bounds);
    const verdict = classify(message, headerOf(req, 'mcp-protocol-version'));
    if (verdict.is === 'refused') return fault(res, verdict.error, verdict.idText);
    try {
      const server = fleet.get(name);
      switch (verdict.is) {
        case 'request':
          return this.#request(server, verdict.request, req, res);
        case 'notification':
          server.notify(verdict.notification);
          return empty(res, verdict.status);
        case 'batch':
          return this.#batch(server, verdict.batch, verdict.status, req, res);
      }
    } catch (error) {
      if (error instanceof ProxyError && verdict.is === 'request') return fault(res, error, verdict.request.idText);
      throw error;
    }
  }

  /** `GET /:server/sse`: opened at once, whatever state the server is in. */
  stream(name: string, req: IncomingMessage, res: ServerResponse): void {
    const { fleet, publicUrl, basePath } = this.#options;
    const server = fleet.get(name);
    const origin = publicUrl?.origin ?? `http://${req.headers.host}`;
    const stream = this.#open(res, () => server.unlisten(stream));
    stream.write(encodeEvent('endpoint', JSON.stringify({ uri: `${origin}${basePath}/${encodeURIComponent(name)}/message` })));
    const refusal = server.listen(stream);
    if (refusal !== undefined) stream.write(encodeEvent('error', JSON.stringify({ error: server.status.error ?? refusal.message })));
  }

  #request(server: McpServer, request: RpcRequest, req: IncomingMessage, res: ServerResponse): void {
    const exchange = new SimpleExchange(request, res, acceptable(req), () => this.#open(res, () => {}));
    res.once('close', () => {
      if (!exchange.settled) server.cancel(exchange);
    });
    server.dispatch(exchange);
  }

  #batch(server: McpServer, { messages }: Batch, status: number, req: IncomingMessage, res: ServerResponse): void {
    for (const message of messages) if (message.kind === 'notification') server.notify(message);
    const answering = messages.filter(({ kind }) => kind !== 'notification');
    if (answering.length === 0) return empty(res, status);

    const accepts = acceptable(req);
    const answers = new Array<Buffer | undefined>(answering.length);
    let missing = answering.length;
    const answer = (k: number, text: Buffer): void => {
      answers[k] = text;
      if (--missing > 0) return;
      if (accepts.json) return json(res, 200, joined(answers as Buffer[]));
      const stream = this.#open(res, () => {});
      for (const each of answers as Buffer[]) stream.write(encodeEvent('message', oneLine(each)));
      stream.end();
    };
    const exchanges: BatchExchange[] = [];
    for (const [k, message] of answering.entries()) {
      if (message.kind === 'request') {
        exchanges.push(new BatchExchange(message, (text) => answer(k, text)));
        continue;
      }
      const error =
        message.kind === 'malformed'
          ? malformedError(message)
          : new ProxyError('invalid_request', 'Invalid Request: a response belongs to a session');
      answer(k, encodeError('null', error.toRpc()));
    }
    res.once('close', () => {
      for (const exchange of exchanges) if (!exchange.settled) server.cancel(exchange);
    });
    for (const exchange of exchanges) server.dispatch(exchange);
  }

  #open(res: ServerResponse, onClose: () => void): SseStream {
    const { clock, stream } = this.#options;
    return new SseStream(res, {
      clock,
      keepAliveMs: stream.keepAliveMs,
      maxQueuedBytes: stream.sseQueueBytes,
      stallMs: stream.sseStallMs,
      onClose,
    });
  }
}

/** A single request: JSON, unless something has to be said before the answer, and the client reads streams. */
class SimpleExchange implements Exchange {
  readonly request: RpcRequest;
  readonly caller = { era: 'legacy' } as const;
  readonly #res: ServerResponse;
  readonly #accepts: Accepts;
  readonly #upgrade: () => SseStream;
  #stream: SseStream | undefined;
  settled = false;

  constructor(request: RpcRequest, res: ServerResponse, accepts: Accepts, upgrade: () => SseStream) {
    this.request = request;
    this.#res = res;
    this.#accepts = accepts;
    this.#upgrade = upgrade;
  }

  get streams(): boolean {
    return this.#accepts.sse;
  }

  notify(message: Buffer): void {
    if (!this.#accepts.sse || this.settled) return;
    this.#stream ??= this.#upgrade();
    this.#stream.write(encodeEvent('message', oneLine(message)));
  }

  settle(answer: Buffer | ProxyError): void {
    if (this.settled) return;
    this.settled = true;
    const { idText } = this.request;
    const refusedBefore = answer instanceof ProxyError && answer.status !== 200;
    if (this.#stream === undefined && (this.#accepts.json || refusedBefore)) {
      if (answer instanceof ProxyError) fault(this.#res, answer, idText);
      else json(this.#res, 200, answer);
      return;
    }
    const stream = this.#stream ?? this.#upgrade();
    stream.write(encodeEvent('message', answer instanceof ProxyError ? encodeError(idText, answer.toRpc()) : oneLine(answer)));
    stream.end();
  }
}

/** One request of a batch: its answer waits for the others. */
class BatchExchange implements Exchange {
  readonly request: RpcRequest;
  readonly caller = { era: 'legacy' } as const;
  readonly streams = false;
  readonly #onAnswer: (text: Buffer) => void;
  settled = false;

  constructor(request: RpcRequest, onAnswer: (text: Buffer) => void) {
    this.request = request;
    this.#onAnswer = onAnswer;
  }

  notify(): void {
    // Nothing can be said before the whole array is.
  }

  settle(answer: Buffer | ProxyError): void {
    if (this.settled) return;
    this.settled = true;
    this.#onAnswer(answer instanceof ProxyError ? encodeError(this.request.idText, answer.toRpc()) : answer);
  }
}

/** What the client takes. @throws ProxyError `not_acceptable` */
function acceptable(req: IncomingMessage): Accepts {
  const accepts = parseAccept(req.headers.accept);
  if (accepts.json || accepts.sse) return accepts;
  throw new ProxyError('not_acceptable', 'Not Acceptable: this path answers application/json or text/event-stream');
}

function joined(answers: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  for (const answer of answers) parts.push(Buffer.from(parts.length === 0 ? '[' : ','), answer);
  return Buffer.concat([...parts, Buffer.from(']')]);
}

function headerOf(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
