// A client with a session, whichever transport carries it: its requests in flight, its notifications, what it was
// asked, and who it is towards the relay. How a message reaches it is the transport's part.

import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import type { Exchange } from '../relay/exchange.ts';
import type { McpServer } from '../relay/server.ts';
import type { Listener } from '../relay/subscriptions.ts';
import { memberOf } from '../wire/envelope.ts';
import { isObject, paramsOf, textOf, type Id, type RpcNotification, type RpcRequest, type RpcResponse } from '../wire/jsonrpc.ts';
import { Asking, type Carrier } from './asking.ts';

/** A request of a client with a session. */
export interface SessionExchange extends Exchange {
  readonly id: Id;
}

/** How messages reach a client: what of it the transport knows. */
export interface ClientHooks {
  /** The stream on which a question can go now. */
  carrier(): Carrier | undefined;
  /** A message that belongs to no request. */
  hear(message: Buffer, frame: Buffer): void;
  /** Whether a stream is open that keeps the server awake. */
  open(): boolean;
  /** The server has stopped for good. */
  onServerEnd(): void;
}

export class Client {
  /** The shared server of its name, or one of its own. */
  readonly server: McpServer;
  /** Who it is towards the relay. */
  readonly caller: Asking;
  /** Without an answer yet, oldest first. Ids may repeat: each exchange owns its own answer. */
  readonly exchanges: SessionExchange[] = [];
  readonly #listener: Listener;

  /** It hears what the server sends from now on, until `close`. */
  constructor(server: McpServer, world: World, { carrier, hear, open, onServerEnd }: ClientHooks) {
    const caller = new Asking(world, carrier);
    this.server = server;
    this.caller = caller;
    this.#listener = {
      holder: caller,
      caller,
      hear,
      onServerEnd,
      get open() {
        return open();
      },
    };
    server.owner = caller;
    server.join(this.#listener);
  }

  /** Remembers what the client declared in `initialize`. */
  declare(request: RpcRequest): void {
    const { capabilities, clientInfo } = paramsOf(request);
    this.caller.declared = { capabilities: isObject(capabilities) ? capabilities : {}, clientInfo };
  }

  /** Sends a request on its way. */
  dispatch(exchange: SessionExchange, request: RpcRequest): void {
    this.exchanges.push(exchange);
    this.server.dispatch(exchange, request);
  }

  /** A request is over. `false`: that was so before. */
  end(exchange: SessionExchange): boolean {
    const at = this.exchanges.indexOf(exchange);
    if (at !== -1) this.exchanges.splice(at, 1);
    return at !== -1;
  }

  /** Takes what needs no answer. @throws ProxyError `busy` */
  take(message: RpcNotification | RpcResponse): void {
    if (message.kind === 'response') return this.caller.answer(message);
    if (message.method === 'notifications/cancelled') return this.#cancelled(message);
    if (message.method === 'notifications/progress') {
      const token = memberOf(message.layout.params, 'progressToken');
      if (token !== undefined && this.caller.hasToken(textOf(message.raw, token))) this.server.answerProgress(message);
      return;
    }
    this.server.notify(message);
  }

  /** The client has gone for good; what it still waits for is answered with `why`. */
  close(why: ProxyError): void {
    this.server.leave(this.#listener);
    for (const exchange of [...this.exchanges]) {
      this.server.cancel(exchange, 'the client disconnected');
      exchange.settle(why);
    }
    this.caller.close();
  }

  #cancelled(notification: RpcNotification): void {
    const { requestId, reason } = paramsOf(notification);
    for (const exchange of this.exchanges.filter(({ id }) => id === requestId)) {
      this.server.cancel(exchange, typeof reason === 'string' ? reason : 'the client cancelled it');
      exchange.settle(new ProxyError('cancelled', 'Request cancelled'));
    }
  }
}

/** Whether this ends a request that its client has cancelled, and so wants no answer to. */
export function isCancelled(answer: Buffer | ProxyError): boolean {
  return answer instanceof ProxyError && answer.reason === 'cancelled';
}
