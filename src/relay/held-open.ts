// Calls of clients with a session at a modern child. When the child answers that it needs input, the client is asked the
// way it knows, by requests on the stream of its call, and the call is made again with what it said. The client's
// request is held open meanwhile (C.3, Q1 to Q7).

import type { Deadline } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import { retryEdits } from '../protocol/bridge.ts';
import { readInputRequired, withElicitationId, type InputRequired } from '../protocol/input.ts';
import { memberOf, members, splice } from '../wire/envelope.ts';
import { encodeCall, encodeResult, readMessage, type RpcRequest } from '../wire/jsonrpc.ts';
import type { Exchange, Question } from './exchange.ts';
import type { Relay, Tap } from './relay.ts';

interface Held {
  readonly exchange: Exchange;
  /** As the client sent it: every round adds to this. */
  readonly request: RpcRequest;
  rounds: number;
  /** What the client has not answered in this round. */
  readonly open: Set<Question>;
  answers: [key: string, result: Buffer][];
  deadline: Deadline | undefined;
}

export class HeldOpen {
  readonly #relay: Relay;
  readonly #world: World;
  readonly #held = new Map<Exchange, Held>();

  constructor(relay: Relay, world: World) {
    this.#relay = relay;
    this.#world = world;
  }

  /** Looks at every answer to this request, and holds those back that ask for input. */
  tap(exchange: Exchange, request: RpcRequest): Tap {
    return this.#tap({ exchange, request, rounds: 0, open: new Set(), answers: [], deadline: undefined });
  }

  /** The client does not want the answer any more. */
  cancel(exchange: Exchange): void {
    this.#forget(this.#held.get(exchange), 'the call was cancelled');
  }

  /** No call can go on: each is answered. */
  end(why: ProxyError): void {
    for (const held of [...this.#held.values()]) this.#settle(held, why);
  }

  #tap(held: Held): Tap {
    return (answer) => {
      const asked = readInputRequired(answer);
      if (asked === undefined) return;
      if (asked instanceof ProxyError) held.exchange.settle(asked);
      else if (this.#relay.park(held.exchange, held.request, answer.length)) {
        this.#held.set(held.exchange, held);
        this.#round(held, asked);
      }
      return 'held';
    };
  }

  #round(held: Held, asked: InputRequired): void {
    const { deadlines, limits } = this.#world;
    const { exchange } = held;
    const again = (): void => this.#again(held, asked);
    held.answers = [];
    if (++held.rounds > limits.maxRounds) return this.#fail(held, `the server asked for input more than ${limits.maxRounds} times`);
    if (asked.inputRequests.length === 0) {
      held.deadline = deadlines.add(limits.roundAgainMs * 2 ** (held.rounds - 1), again);
      return;
    }
    for (const { key, method, params } of asked.inputRequests) {
      const request = readMessage(encodeInput(method, params), limits);
      if (request.kind !== 'request' || !exchange.caller.canAsk(request)) return this.#fail(held, `this client does not support ${method}`);
      const question: Question = {
        request,
        about: exchange,
        answer: (answer) => {
          if (!held.open.delete(question)) return;
          if (answer instanceof ProxyError) return this.#fail(held, answer.message);
          const result = memberOf(members(answer, limits.maxMembers), 'result');
          if (result === undefined) return this.#fail(held, `the client answered ${method} with an error`);
          if (!this.#relay.keep(exchange, answer.length)) return this.#fail(held, 'too much waits for this server');
          held.answers.push([key, answer.subarray(result.at, result.end)]);
          if (held.open.size === 0) again();
        },
      };
      held.open.add(question);
    }
    held.deadline = deadlines.add(limits.roundMs, () => this.#fail(held, `the client did not answer in ${limits.roundMs} ms`));
    for (const question of [...held.open]) exchange.caller.ask(question);
  }

  /** Calls once more, with everything that the client said. */
  #again(held: Held, { requestState }: InputRequired): void {
    const { exchange, request } = held;
    const edits = retryEdits(request, held.answers, requestState);
    // What is added does not count among the client's own members: the call must not end here.
    const retry = readMessage(splice(request.raw, edits), { ...this.#world.limits, maxMembers: Infinity });
    if (retry.kind !== 'request') return this.#fail(held, 'what the client answered is nested too deeply');
    if (this.#forget(held, '') && this.#relay.unpark(exchange)) this.#relay.forward(exchange, retry, this.#tap(held));
  }

  /** A tool's failure is the model's to read; any other is an error (Q5). */
  #fail(held: Held, why: string): void {
    const { exchange, request } = held;
    const text = `Input for ${request.method} could not be obtained: ${why}`;
    const result = { content: [{ type: 'text', text }], isError: true };
    this.#settle(held, request.method === 'tools/call' ? encodeResult(exchange.idText, result) : new ProxyError('input_failed', text));
  }

  #settle(held: Held, answer: Buffer | ProxyError): void {
    if (!this.#forget(held, 'the call has ended')) return;
    if (this.#relay.unpark(held.exchange)) held.exchange.settle(answer);
  }

  /** Ends a round: what is still open at the client is withdrawn, or its dialogs would stay (Q7). */
  #forget(held: Held | undefined, reason: string): boolean {
    if (held === undefined || !this.#held.delete(held.exchange)) return false;
    held.deadline?.cancel();
    const open = [...held.open];
    held.open.clear();
    for (const question of open) held.exchange.caller.withdraw(question, reason);
    return true;
  }
}

/** The request that the client sees, with what the child wrote: that may be deeper than can be encoded. */
function encodeInput(method: string, params: Buffer | undefined): Buffer {
  const call = encodeCall(method, undefined, 0);
  if (params === undefined) return call;
  const at = call.length - 1;
  return splice(call, [{ at, end: at, text: `,"params":${withElicitationId(params, crypto.randomUUID()).toString('latin1')}` }]);
}
