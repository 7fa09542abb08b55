// A client with a session as the relay knows it: what it declared, and what it was asked and has not answered yet. Ids are fresh and belong
// to the session: the child's own could be anybody's.

import type { Deadline } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import { canAnswer } from '../protocol/methods.ts';
import type { Caller, Declared, Question } from '../relay/exchange.ts';
import { memberOf, splice, type Span } from '../wire/envelope.ts';
import { encodeCall, paramsOf, textOf, type RpcRequest, type RpcResponse } from '../wire/jsonrpc.ts';

/** Sends a message on one stream of the client. */
export type Carrier = (message: Buffer) => void;

interface Asked {
  readonly id: number;
  readonly question: Question;
  /** The stream that carried it; none while there is no stream. */
  carrier: Carrier | undefined;
  deadline: Deadline | undefined;
}

export class Asking implements Caller {
  readonly era = 'legacy';
  readonly holder = this;
  declared: Declared = { capabilities: {} };
  readonly #world: World;
  readonly #carrier: () => Carrier | undefined;
  readonly #asked = new Map<number, Asked>();
  #lastId = 0;
  #closed = false;

  /** `carrier`: the stream on which a question can go now, if there is one (R-59c). */
  constructor(world: World, carrier: () => Carrier | undefined) {
    this.#world = world;
    this.#carrier = carrier;
  }

  /** R-59b */
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

  /** The server does not wait any more; the client is told on the stream that carried the question. */
  withdraw(question: Question, reason: string): void {
    for (const asked of this.#asked.values()) {
      if (asked.question !== question) continue;
      this.#forget(asked);
      asked.carrier?.(encodeCall('notifications/cancelled', { requestId: asked.id, reason }));
    }
  }

  /** The client's answer. One that nobody waits for is ignored. */
  answer(response: RpcResponse): void {
    const asked = typeof response.id === 'number' ? this.#asked.get(response.id) : undefined;
    const idAt = memberOf(response.layout.top, 'id');
    if (asked?.carrier === undefined || idAt === undefined) return;
    this.#forget(asked);
    asked.question.answer({ raw: response.raw, idAt });
  }

  /** Whether a progress token is one that the server chose for a question that is open here. */
  hasToken(tokenText: string): boolean {
    for (const { question } of this.#asked.values()) {
      const token = memberOf(question.request.layout.meta, 'progressToken');
      if (token !== undefined && textOf(question.request.raw, token) === tokenText) return true;
    }
    return false;
  }

  /** The client is gone. */
  close(): void {
    this.#closed = true;
    for (const asked of [...this.#asked.values()]) {
      this.#forget(asked);
      asked.question.answer(gone());
    }
  }

  #send(asked: Asked): boolean {
    const { about } = asked.question;
    const carrier = about?.streams === true ? (message: Buffer) => about.notify(message) : this.#carrier();
    if (carrier === undefined) return false;
    asked.deadline?.cancel();
    asked.carrier = carrier;
    const { raw, layout } = asked.question.request;
    const id = memberOf(layout.top, 'id') as Span;
    carrier(splice(raw, [{ at: id.at, end: id.end, text: String(asked.id) }]));
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
