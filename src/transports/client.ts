// A client with a session, whichever transport carries it: its requests in flight, its notifications, what it declared,
// and what it was asked and has not answered yet. How a message reaches it is the transport's part.

import type { Deadline } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import { canAnswer } from '../protocol/methods.ts';
import type { Caller, Declared, Exchange, Question } from '../relay/exchange.ts';
import type { McpServer } from '../relay/server.ts';
import type { Listener } from '../relay/subscriptions.ts';
import { memberOf, splice, type Span } from '../wire/envelope.ts';
import { encodeCall, isObject, paramOf, paramsOf, textOf, wordOf, type Id, type RpcNotification, type RpcRequest, type RpcResponse } from '../wire/jsonrpc.ts';

/** A request of a client with a session. */
export interface SessionExchange extends Exchange {
  /** By which its client cancels it; none, if it must not. */
  readonly id: Id | undefined;
}

/** What ends a request that its client has cancelled: it wants no answer. */
export const CANCELLED = new ProxyError('cancelled', 'Request cancelled');

/** Sends a message on one stream of the client. */
export type Carrier = (message: Buffer) => void;

/** How messages reach a client: what of it the transport knows. */
export interface ClientHooks {
  /** The stream on which a question can go now, if there is one (R-59c). */
  carrier(): Carrier | undefined;
  /** A message that belongs to no request. */
  hear(message: Buffer, frame: Buffer): void;
  /** Whether a stream is open that keeps the server awake. */
  open(): boolean;
  /** The server has stopped for good. */
  onServerEnd(): void;
}

/** What the client was asked, under an id of the session's own: the child's could be anybody's. */
interface Asked {
  readonly id: number;
  readonly question: Question;
  /** The stream that carried it; none while there is no stream. */
  carrier: Carrier | undefined;
  deadline: Deadline | undefined;
}

export class Client implements Caller {
  readonly era = 'legacy';
  readonly holder = this;
  declared: Declared = { capabilities: {} };
  /** The shared server of its name, or one of its own. */
  readonly server: McpServer;
  /** Without an answer yet, oldest first. Ids may repeat: each exchange owns its own answer. */
  readonly exchanges: SessionExchange[] = [];
  readonly #world: World;
  readonly #carrier: () => Carrier | undefined;
  readonly #listener: Listener;
  readonly #asked = new Map<number, Asked>();
  #lastId = 0;
  #closed = false;

  /** It hears what the server sends from now on, until `close`. */
  constructor(server: McpServer, world: World, { carrier, hear, open, onServerEnd }: ClientHooks) {
    this.server = server;
    this.#world = world;
    this.#carrier = carrier;
    this.#listener = {
      holder: this,
      caller: this,
      hear,
      onServerEnd,
      get open() {
        return open();
      },
    };
    server.owner = this;
    server.join(this.#listener);
  }

  /** Remembers what the client declared in `initialize`. */
  declare(request: RpcRequest): void {
    // Kept as it came: as values it would be twenty times as much, for as long as the session lasts.
    this.declared = {
      get capabilities() {
        const said = paramOf(request, 'capabilities');
        return isObject(said) ? said : {};
      },
      get clientInfo() {
        return paramOf(request, 'clientInfo');
      },
    };
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
    if (message.kind === 'response') return this.#answered(message);
    if (message.method === 'notifications/cancelled') return this.#cancelled(message);
    if (message.method !== 'notifications/progress') return this.server.notify(message, this);
    if (this.#answers(message)) this.server.answerProgress(message, this);
  }

  canAsk(request: RpcRequest): boolean {
    return canAnswer(this.declared.capabilities, request.method, paramsOf(request));
  }

  ask(question: Question): void {
    if (this.#closed) return question.answer(gone());
    const asked: Asked = { id: ++this.#lastId, question, carrier: undefined, deadline: undefined };
    this.#asked.set(asked.id, asked);
    if (this.#send(asked)) return;
    asked.deadline = this.#world.deadlines.add(this.#world.limits.askWaitMs, () => {
      this.#asked.delete(asked.id);
      question.answer(new ProxyError('no_client', `No client stream for ${question.request.method}`));
    });
  }

  /** A stream has opened: what waited for one goes out. */
  retry(): void {
    for (const asked of this.#asked.values()) if (asked.carrier === undefined) this.#send(asked);
  }

  /** The client is told on the stream that carried the question. */
  withdraw(question: Question, reason: string): void {
    for (const asked of this.#asked.values()) {
      if (asked.question !== question) continue;
      this.#forget(asked);
      asked.carrier?.(encodeCall('notifications/cancelled', { requestId: asked.id, reason }));
    }
  }

  /** The client has gone for good; what it still waits for is answered with `why`. */
  close(why: ProxyError): void {
    this.#closed = true;
    this.server.leave(this.#listener);
    for (const exchange of [...this.exchanges]) {
      this.server.cancel(exchange, 'the client disconnected');
      exchange.settle(why);
    }
    for (const asked of [...this.#asked.values()]) {
      this.#forget(asked);
      asked.question.answer(gone());
    }
  }

  /** One that nobody waits for is ignored. */
  #answered({ id, raw }: RpcResponse): void {
    const asked = typeof id === 'number' ? this.#asked.get(id) : undefined;
    if (asked?.carrier === undefined) return;
    this.#forget(asked);
    asked.question.answer(raw);
  }

  /** Whether progress is about a question that is open here: its token is one that the server chose. */
  #answers({ raw, layout }: RpcNotification): boolean {
    const said = memberOf(layout.params, 'progressToken');
    if (said === undefined) return false;
    const text = textOf(raw, said);
    for (const { question } of this.#asked.values()) {
      const token = memberOf(question.request.layout.meta, 'progressToken');
      if (token !== undefined && textOf(question.request.raw, token) === text) return true;
    }
    return false;
  }

  #cancelled(notification: RpcNotification): void {
    const [requestId, reason] = [wordOf(notification, 'requestId'), wordOf(notification, 'reason')];
    if (requestId === undefined) return;
    for (const exchange of this.exchanges.filter(({ id }) => id === requestId)) {
      this.server.cancel(exchange, typeof reason === 'string' ? reason : 'the client cancelled it');
      exchange.settle(CANCELLED);
    }
  }

  #send(asked: Asked): boolean {
    const { request, about } = asked.question;
    const carrier = about?.streams === true ? (message: Buffer) => about.notify(message) : this.#carrier();
    if (carrier === undefined) return false;
    asked.deadline?.cancel();
    asked.carrier = carrier;
    const id = memberOf(request.layout.top, 'id') as Span;
    carrier(splice(request.raw, [{ at: id.at, end: id.end, text: String(asked.id) }]));
    return true;
  }

  #forget(asked: Asked): void {
    asked.deadline?.cancel();
    this.#asked.delete(asked.id);
  }
}

function gone(): ProxyError {
  return new ProxyError('no_client', 'The client is gone');
}
