// The simple dialect (B.16): a bare POST is answered with its JSON-RPC response, and GET streams what the server
// sends. No handshake and no session: every request stands alone, and it is one SSE reader at most.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import { parseAccept, type Accepts } from '../http/accept.ts';
import { readJsonBody } from '../http/body.ts';
import { empty, fault, json } from '../http/reply.ts';
import { classify, malformedError, strayResponse } from '../protocol/classify.ts';
import type { Exchange } from '../relay/exchange.ts';
import type { Fleet } from '../relay/fleet.ts';
import type { McpServer } from '../relay/server.ts';
import { oneLine } from '../wire/envelope.ts';
import { encodeError, readMessage, type Batch, type RpcRequest } from '../wire/jsonrpc.ts';
import { encodeEvent, SseStream } from '../wire/sse.ts';

export class SimpleTransport {
  readonly #fleet: Fleet;
  readonly #world: World;
  readonly #origin: string | undefined;
  readonly #basePath: string;

  /** `origin`: scheme and host of the URLs given out; without it, those of the request. */
  constructor(fleet: Fleet, world: World, origin: string | undefined, basePath: string) {
    this.#fleet = fleet;
    this.#world = world;
    this.#origin = origin;
    this.#basePath = basePath;
  }

  /** `POST /:server/mcp` and `POST /:server/message`. */
  async post(name: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
    const version = req.headers['mcp-protocol-version'];
    const message = readMessage(await readJsonBody(req, res, this.#world), this.#world.limits);
    const verdict = classify(message, version?.toString());
    if (verdict.is === 'refused') return fault(res, verdict.error, verdict.idText);
    try {
      const server = this.#fleet.get(name);
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
    const server = this.#fleet.get(name);
    const origin = this.#origin ?? `http://${req.headers.host}`;
    const stream = this.#open(res, () => server.unlisten(stream));
    stream.write(encodeEvent('endpoint', JSON.stringify({ uri: `${origin}${this.#basePath}/${encodeURIComponent(name)}/message` })));
    const refusal = server.listen(stream);
    if (refusal !== undefined) stream.write(encodeEvent('error', JSON.stringify({ error: server.status.error ?? refusal.message })));
  }

  #request(server: McpServer, request: RpcRequest, req: IncomingMessage, res: ServerResponse): void {
    const accepts = acceptable(req);
    let stream: SseStream | undefined;
    const say = (message: Buffer): void => void (stream ??= this.#open(res)).write(encodeEvent('message', oneLine(message)));
    const { idText } = request;
    const exchange = new SimpleExchange(idText, accepts.sse ? say : undefined, (answer) => {
      const refused = answer instanceof ProxyError && answer.status !== 200; // a status says it to any client
      if (stream === undefined && (accepts.json || refused)) {
        return answer instanceof ProxyError ? fault(res, answer, idText) : json(res, 200, answer);
      }
      say(encoded(answer, idText));
      stream?.end();
    });
    this.#dispatch(server, res, new Map([[exchange, request]]));
  }

  #batch(server: McpServer, { messages }: Batch, status: number, req: IncomingMessage, res: ServerResponse): void {
    for (const message of messages) if (message.kind === 'notification') server.notify(message);
    const answering = messages.filter(({ kind }) => kind !== 'notification');
    if (answering.length === 0) return empty(res, status);

    const accepts = acceptable(req);
    const answers = new Map<number, Buffer>();
    const answer = (k: number, text: Buffer): void => {
      answers.set(k, text);
      if (answers.size < answering.length) return;
      const inOrder = answering.map((_, k) => answers.get(k) as Buffer);
      if (accepts.json) return json(res, 200, Buffer.from(`[${inOrder.map((each) => each.toString('latin1')).join()}]`, 'latin1'));
      const stream = this.#open(res);
      stream.write(Buffer.concat(inOrder.map((each) => encodeEvent('message', oneLine(each)))));
      stream.end();
    };
    const exchanges = new Map<SimpleExchange, RpcRequest>();
    for (const [k, message] of answering.entries()) {
      if (message.kind === 'request') {
        const { idText } = message;
        exchanges.set(new SimpleExchange(idText, undefined, (got) => answer(k, encoded(got, idText))), message);
      } else {
        const wrong = message.kind === 'malformed' ? malformedError(message) : strayResponse();
        answer(k, encoded(wrong, 'null'));
      }
    }
    this.#dispatch(server, res, exchanges);
  }

  /** Sends requests on their way; those without an answer when their client leaves are cancelled. */
  #dispatch(server: McpServer, res: ServerResponse, requests: ReadonlyMap<SimpleExchange, RpcRequest>): void {
    const exchanges = [...requests.keys()];
    res.once('close', () => {
      for (const exchange of exchanges) if (!exchange.settled) server.cancel(exchange);
    });
    for (const [exchange, request] of requests) server.dispatch(exchange, request);
  }

  #open(res: ServerResponse, onClose?: () => void): SseStream {
    return new SseStream(res, this.#world, onClose);
  }
}

/** One request, alone or in a batch. It is its own caller: no two requests are known to be one client's. */
class SimpleExchange implements Exchange {
  readonly idText: string;
  readonly caller = { era: 'legacy' } as const;
  readonly #say: ((message: Buffer) => void) | undefined;
  readonly #answer: (answer: Buffer | ProxyError) => void;
  settled = false;

  /** `say` is absent where nothing can be said before the answer. */
  constructor(idText: string, say: ((message: Buffer) => void) | undefined, answer: (answer: Buffer | ProxyError) => void) {
    this.idText = idText;
    this.#say = say;
    this.#answer = answer;
  }

  get streams(): boolean {
    return this.#say !== undefined;
  }

  notify(message: Buffer): void {
    if (!this.settled) this.#say?.(message);
  }

  settle(answer: Buffer | ProxyError): void {
    if (this.settled) return;
    this.settled = true;
    this.#answer(answer);
  }
}

function encoded(answer: Buffer | ProxyError, idText: string): Buffer {
  return answer instanceof ProxyError ? encodeError(idText, answer.toRpc()) : answer;
}

/** What the client takes. @throws ProxyError `not_acceptable` */
function acceptable(req: IncomingMessage): Accepts {
  const accepts = parseAccept(req.headers.accept);
  if (accepts.json || accepts.sse) return accepts;
  throw new ProxyError('not_acceptable', 'Not Acceptable: this path answers application/json or text/event-stream');
}
