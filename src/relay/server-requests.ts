// Requests of a child to "the client" (sampling, elicitation, roots), on a process that many clients share: whose
// call is it about? It goes to that one client, never to all and never to a guess (R-58 to R-59d). This owns the
// questions that clients have not answered yet.

import type { Deadline } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import type { Link } from '../child/handshake.ts';
import type { World } from '../config/world.ts';
import { CLIENT_REQUESTS, methodNotFound } from '../protocol/methods.ts';
import { oneLine } from '../wire/envelope.ts';
import { BIG_BYTES, encodeError, withId, wordOf, type RpcRequest } from '../wire/jsonrpc.ts';
import type { Caller, Question } from './exchange.ts';
import type { Relay } from './relay.ts';

interface Asked {
  readonly caller: Caller;
  readonly question: Question;
  /** A question lasts as long as a call may. */
  readonly deadline: Deadline;
}

export class ServerRequests {
  readonly #relay: Relay;
  /** The one client of a process of its own; it needs no attribution. */
  readonly #owner: () => Caller | undefined;
  readonly #world: Pick<World, 'deadlines' | 'limits'>;
  /** By the child's id as it was written: `1` and `"1"` are two. */
  readonly #open = new Map<string, Asked>();
  /** Who was sent to which URL; the server tells later that it is done with it. */
  readonly #elicited = new Map<string, Caller>();

  constructor(relay: Relay, owner: () => Caller | undefined, world: Pick<World, 'deadlines' | 'limits'>) {
    this.#relay = relay;
    this.#owner = owner;
    this.#world = world;
  }

  /** A child asks; it gets its answer in any case. */
  ask(request: RpcRequest, link: Link): void {
    const caller = this.#attribute(request);
    const refuse = (why: ProxyError): void => void link.write(encodeError(request.idText, why.toRpc()), true);
    if (caller instanceof ProxyError) return refuse(caller);
    const question: Question = {
      request,
      answer: (answer) => {
        if (!this.#open.delete(request.idText)) return;
        deadline.cancel();
        this.#relay.resume(caller);
        if (answer instanceof ProxyError) return refuse(answer);
        // On one line, as what a client writes on a line of its own must not become a message of the proxy.
        const message = oneLine(withId(answer, request.idText));
        // A big one has only the room that calls have: what clients answer must not be able to end a slow server.
        if (!link.write(message, message.length < BIG_BYTES)) refuse(new ProxyError('busy', 'The answer is too big for what you have not read yet'));
      },
    };
    const { deadlines, limits } = this.#world;
    const deadline = deadlines.add(limits.requestHardCapMs, () => {
      caller.withdraw(question, 'it was not answered in time');
      question.answer(new ProxyError('no_client', 'No answer'));
    });
    this.#open.set(request.idText, { caller, question, deadline });
    this.#relay.suspend(caller); // the client may think as long as a call may last
    this.#remember(request, caller);
    caller.ask(question);
  }

  /** The child cancels its own request. */
  cancelled(idText: string, reason: string): void {
    const asked = this.#open.get(idText);
    if (asked === undefined) return;
    this.#open.delete(idText);
    asked.deadline.cancel();
    this.#relay.resume(asked.caller);
    asked.caller.withdraw(asked.question, reason);
  }

  /** The client that was sent to the URL of this elicitation. */
  elicited(elicitationId: unknown): object | undefined {
    return this.#elicited.get(elicitationId as string)?.holder;
  }

  /** A client has gone, and with it what is known of it. */
  leave(holder: object): void {
    for (const [elicitationId, caller] of this.#elicited) if (caller.holder === holder) this.#elicited.delete(elicitationId);
  }

  /** The child is gone, and nobody waits for the answers. */
  down(): void {
    this.#elicited.clear();
    for (const idText of [...this.#open.keys()]) this.cancelled(idText, 'the server has exited');
  }

  #remember(request: RpcRequest, caller: Caller): void {
    const elicitationId = request.method === 'elicitation/create' ? wordOf(request, 'elicitationId') : undefined;
    if (typeof elicitationId !== 'string' || caller.era === 'modern') return; // that era is not told (C.2)
    this.#elicited.set(elicitationId, caller);
    const [oldest] = this.#elicited.keys();
    if (this.#elicited.size > this.#world.limits.maxQuestions && oldest !== undefined) this.#elicited.delete(oldest);
  }

  /** Whom the request is for, or what the child is told instead. */
  #attribute(request: RpcRequest): Caller | ProxyError {
    const { method, idText } = request;
    if (!CLIENT_REQUESTS.has(method)) return methodNotFound(method);
    if (this.#open.has(idText)) return new ProxyError('invalid_request', 'Invalid Request: this id is in use');
    const { maxQuestions, maxQuestionBytes } = this.#world.limits;
    if (this.#open.size >= maxQuestions) return new ProxyError('busy', `Too many requests to clients are open: at most ${maxQuestions}`);
    const bytes = [...this.#open.values()].reduce((sum, { question }) => sum + question.request.raw.length, request.raw.length);
    if (this.#open.size > 0 && bytes > maxQuestionBytes) return new ProxyError('busy', `Too much is asked of clients: at most ${maxQuestionBytes} bytes`);
    const caller = this.#owner() ?? this.#candidate(method);
    if (caller instanceof ProxyError || caller.canAsk(request)) return caller;
    caller.unable?.(request);
    return new ProxyError('client_capability', `Client does not support ${method}`);
  }

  #candidate(method: string): Caller | ProxyError {
    const { callers, blurred, sole } = this.#relay.candidates();
    const [only] = callers;
    if (callers.size === 0 && method === 'roots/list') return new ProxyError('no_client', 'No client to ask');
    if (callers.size === 0 && sole !== undefined && !blurred) return sole;
    if (only === undefined) return new ProxyError('ambiguous_client', `Cannot attribute ${method}: no call of a client is in flight`);
    if (callers.size > 1 || blurred) {
      return new ProxyError('ambiguous_client', `Cannot attribute ${method}: ${callers.size} clients share this process`);
    }
    const [caller, exchange] = only;
    return exchange === 'gone' ? new ProxyError('no_client', 'The caller is gone') : caller;
  }
}
