// A client with a session, whichever transport carries it: its requests in flight, its notifications, what it was
// asked, and who it is towards the relay. How a message reaches it is the transport's part.

import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import type { Caller, Declared, Exchange, Question } from '../relay/exchange.ts';
import type { McpServer } from '../relay/server.ts';
import type { Listener } from '../relay/subscriptions.ts';
import { memberOf } from '../wire/envelope.ts';
import { isObject, paramsOf, textOf, type Id, type RpcNotification, type RpcRequest, type RpcResponse } from '../wire/jsonrpc.ts';
import { Asking, type Carrier } from './asking.ts';

/** A request of a client with a session. */
export interface SessionExchange extends Exchange {
  readonly id: Id;
  /** Ends without the answer: the client has cancelled it and wants none. */
  drop(): void;
}

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

export class Client implements Caller, Listener {
  readonly era = 'legacy';
  readonly holder = this;
  readonly caller = this;
  /** The shared server of its name, or one of its own. */
  readonly server: McpServer;
  readonly asking: Asking;
  /** Without an answer yet, oldest first. Ids may repeat: each exchange owns its own answer. */
  readonly exchanges: SessionExchange[] = [];
  readonly #hooks: ClientHooks;

  /** It hears what the server sends from now on, until `close`. */
  constructor(server: McpServer, world: World, hooks: ClientHooks) {
    this.server = server;
    this.#hooks = hooks;
    this.asking = new Asking(world, () => hooks.carrier());
    server.owner = this;
    server.join(this);
  }

  get open(): boolean {
    return this.#hooks.open();
  }

  get declared(): Declared {
    return this.asking.declared;
  }

  canAsk(request: RpcRequest): boolean {
    return this.asking.canAsk(request);
  }

  ask(question: Question): void {
    this.asking.ask(question);
  }

  withdraw(question: Question, reason: string): void {
    this.asking.withdraw(question, reason);
  }

  hear(message: Buffer, frame: Buffer): void {
    this.#hooks.hear(message, frame);
  }

  onServerEnd(): void {
    this.#hooks.onServerEnd();
  }

  /** Remembers what the client declared in `initialize`. */
  declare(request: RpcRequest): void {
    const { capabilities, clientInfo } = paramsOf(request);
    this.asking.declared = { capabilities: isObject(capabilities) ? capabilities : {}, clientInfo };
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
    if (message.kind === 'response') return this.asking.answer(message);
    if (message.method === 'notifications/cancelled') return this.#cancelled(message);
    if (message.method === 'notifications/progress') {
      const token = memberOf(message.layout.params, 'progressToken');
      if (token !== undefined && this.asking.hasToken(textOf(message.raw, token))) this.server.answerProgress(message);
      return;
    }
    this.server.notify(message);
  }

  /** The client has gone for good; what it still waits for is answered with `why`. */
  close(why: ProxyError): void {
    this.server.leave(this);
    for (const exchange of [...this.exchanges]) {
      this.server.cancel(exchange, 'the client disconnected');
      exchange.settle(why);
    }
    this.asking.close();
  }

  #cancelled(notification: RpcNotification): void {
    const { requestId, reason } = paramsOf(notification);
    for (const exchange of [...this.exchanges]) {
      if (exchange.id !== requestId) continue;
      this.server.cancel(exchange, typeof reason === 'string' ? reason : 'the client cancelled it');
      exchange.drop();
    }
  }
}
