// The simple dialect (B.16): a bare POST is answered with its JSON-RPC response, and GET streams what the server
// sends. No handshake and no session: every request stands alone, and it is one SSE reader at most.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { World } from '../config/world.ts';
import type { Accepts } from '../http/accept.ts';
import { empty } from '../http/reply.ts';
import { lonelyCaller, SIMPLE, type Answer, type Exchange } from '../relay/exchange.ts';
import type { McpServer } from '../relay/server.ts';
import type { Listener } from '../relay/subscriptions.ts';
import { oneLine } from '../wire/envelope.ts';
import type { Batch, RpcNotification, RpcRequest } from '../wire/jsonrpc.ts';
import { encodeEvent, SseStream } from '../wire/sse.ts';
import { acceptable, answerBatch, answered, encoded } from './answer.ts';

/** A POST that speaks this dialect. `accepted` is the status for what needs no answer. @throws ProxyError */
export function postSimple(
  server: McpServer,
  world: World,
  body: RpcRequest | RpcNotification | Batch,
  accepted: number,
  req: IncomingMessage,
  res: ServerResponse,
): void {
  if (body.kind === 'request') return postRequest(server, world, body, acceptable(req), res);
  if (body.kind === 'notification') {
    server.notify(body);
    return empty(res, accepted);
  }
  const exchanges = new Map<SimpleExchange, RpcRequest>();
  for (const [request, settle] of answerBatch(body.messages, accepted, (notification) => server.notify(notification), req, res, world)) {
    exchanges.set(new SimpleExchange(request.idText, undefined, settle), request);
  }
  dispatch(server, res, exchanges);
}

/** `GET /:server/sse`: opened at once, whatever state the server is in. `uri`: where the client posts. */
export function streamSimple(server: McpServer, world: World, uri: string, res: ServerResponse): void {
  const stream: SseStream = new SseStream(res, world, () => server.leave(listener));
  const send = (event: string, data: unknown): void => stream.write(encodeEvent(event, JSON.stringify(data)));
  const failed = (error: string): void => send('error', { error });
  const listener: Listener = {
    holder: SIMPLE,
    open: true,
    hear: (_, frame) => stream.write(frame),
    failed,
    onServerEnd() {
      send('close', {});
      stream.end();
    },
  };
  send('endpoint', { uri });
  server.join(listener);
  const refusal = server.wake();
  if (refusal !== undefined) failed(server.status.error ?? refusal.message);
}

function postRequest(server: McpServer, world: World, request: RpcRequest, accepts: Accepts, res: ServerResponse): void {
  let stream: SseStream | undefined;
  const say = (message: Buffer): void => (stream ??= new SseStream(res, world)).write(encodeEvent('message', oneLine(message)));
  const { idText } = request;
  const exchange = new SimpleExchange(idText, accepts.sse ? say : undefined, (answer) => {
    if (stream === undefined && answered(res, accepts, answer, idText)) return;
    say(encoded(answer, idText));
    stream?.end();
  });
  dispatch(server, res, new Map([[exchange, request]]));
}

/** Sends requests on their way; those without an answer when their client leaves are cancelled. */
function dispatch(server: McpServer, res: ServerResponse, requests: ReadonlyMap<SimpleExchange, RpcRequest>): void {
  const exchanges = [...requests.keys()]; // without their requests, which may be megabytes
  res.once('close', () => {
    for (const exchange of exchanges) if (!exchange.settled) server.cancel(exchange, 'the client disconnected');
  });
  for (const [exchange, request] of requests) server.dispatch(exchange, request);
}

/** One request, alone or in a batch. It is its own caller: no two requests are known to be one client's. */
class SimpleExchange implements Exchange {
  readonly idText: string;
  readonly caller = lonelyCaller();
  readonly streams: boolean;
  readonly #say: ((message: Buffer) => void) | undefined;
  readonly #answer: (answer: Answer) => void;
  settled = false;

  /** `say` is absent where nothing can be said before the answer. */
  constructor(idText: string, say: ((message: Buffer) => void) | undefined, answer: (answer: Answer) => void) {
    this.idText = idText;
    this.streams = say !== undefined;
    this.#say = say;
    this.#answer = answer;
  }

  notify(message: Buffer): void {
    if (!this.settled) this.#say?.(message);
  }

  settle(answer: Answer): void {
    if (this.settled) return;
    this.settled = true;
    this.#answer(answer);
  }
}
