// The simple dialect (B.16): a bare POST is answered with its JSON-RPC response, and GET streams what the server
// sends. No handshake and no session: every request stands alone, and it is one SSE reader at most.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import { empty } from '../http/reply.ts';
import { lonelyCaller, SIMPLE, type Exchange } from '../relay/exchange.ts';
import type { Fleet } from '../relay/fleet.ts';
import type { McpServer } from '../relay/server.ts';
import type { Listener } from '../relay/subscriptions.ts';
import { oneLine } from '../wire/envelope.ts';
import type { Batch, RpcNotification, RpcRequest } from '../wire/jsonrpc.ts';
import { encodeEvent, SseStream } from '../wire/sse.ts';
import { acceptable, answerBatch, answered, encoded } from './answer.ts';

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

  /** A POST that speaks this dialect. `accepted` is the status for what needs no answer. */
  post(name: string, body: RpcRequest | RpcNotification | Batch, accepted: number, req: IncomingMessage, res: ServerResponse): void {
    const server = this.#fleet.get(name);
    if (body.kind === 'request') return this.#request(server, body, req, res);
    if (body.kind === 'batch') return this.#batch(server, body, accepted, req, res);
    server.notify(body);
    empty(res, accepted);
  }

  /** `GET /:server/sse`: opened at once, whatever state the server is in. */
  stream(name: string, req: IncomingMessage, res: ServerResponse): void {
    const server = this.#fleet.get(name);
    const origin = this.#origin ?? `http://${req.headers.host}`;
    const stream: SseStream = new SseStream(res, this.#world, () => server.leave(listener));
    const send = (event: string, data: unknown): void => void stream.write(encodeEvent(event, JSON.stringify(data)));
    const failed = (error: string): void => send('error', { error });
    const listener: Listener = {
      holder: SIMPLE,
      open: true,
      hear: (_, frame) => void stream.write(frame),
      failed,
      onServerEnd() {
        send('close', {});
        stream.end();
      },
    };
    send('endpoint', { uri: `${origin}${this.#basePath}/${encodeURIComponent(name)}/message` });
    server.join(listener);
    const refusal = server.wake();
    if (refusal !== undefined) failed(server.status.error ?? refusal.message);
  }

  #request(server: McpServer, request: RpcRequest, req: IncomingMessage, res: ServerResponse): void {
    const accepts = acceptable(req);
    let stream: SseStream | undefined;
    const say = (message: Buffer): void => void (stream ??= new SseStream(res, this.#world)).write(encodeEvent('message', oneLine(message)));
    const { idText } = request;
    const exchange = new SimpleExchange(idText, accepts.sse ? say : undefined, (answer) => {
      if (stream === undefined && answered(res, accepts, answer, idText)) return;
      say(encoded(answer, idText));
      stream?.end();
    });
    this.#dispatch(server, res, new Map([[exchange, request]]));
  }

  #batch(server: McpServer, { messages }: Batch, accepted: number, req: IncomingMessage, res: ServerResponse): void {
    for (const message of messages) if (message.kind === 'notification') server.notify(message);
    const exchanges = new Map<SimpleExchange, RpcRequest>();
    for (const [request, answer] of answerBatch(messages, accepted, req, res, this.#world)) {
      exchanges.set(new SimpleExchange(request.idText, undefined, answer), request);
    }
    this.#dispatch(server, res, exchanges);
  }

  /** Sends requests on their way; those without an answer when their client leaves are cancelled. */
  #dispatch(server: McpServer, res: ServerResponse, requests: ReadonlyMap<SimpleExchange, RpcRequest>): void {
    const exchanges = [...requests.keys()];
    res.once('close', () => {
      for (const exchange of exchanges) if (!exchange.settled) server.cancel(exchange, 'the client disconnected');
    });
    for (const [exchange, request] of requests) server.dispatch(exchange, request);
  }
}

/** One request, alone or in a batch. It is its own caller: no two requests are known to be one client's. */
class SimpleExchange implements Exchange {
  readonly idText: string;
  readonly caller = lonelyCaller();
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
