// Calls of modern clients at a legacy child. When the child asks something in the middle of one, the client gets
// `input_required` for an answer, and the call stays in flight without an HTTP response: it is parked. The client's
// retry, with what was asked for, continues it (C.2, P1 to P8).

import type { Deadline } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import { secretId } from '../base/ids.ts';
import type { World } from '../config/world.ts';
import { inputKey, inputRequired, inputResponseProblem, retryKey } from '../protocol/input.ts';
import type { Profile } from '../protocol/legacy.ts';
import { canAnswer, missingCapability, TAKES_INPUT } from '../protocol/methods.ts';
import { serverInfoOf, stampResult } from '../protocol/modern.ts';
import { memberOf, members, OPEN, valueOf } from '../wire/envelope.ts';
import { encodeResult, paramsOf, withId, wordOf, type RpcRequest } from '../wire/jsonrpc.ts';
import type { Caller, Exchange, ModernRequest, Question } from './exchange.ts';
import { tokenTextOf, type Relay } from './relay.ts';

/** What the calls of one server share. */
interface Lot {
  readonly relay: Relay;
  readonly world: World;
  /** Calls that wait for a retry, by its `requestState`. */
  readonly waiting: Map<string, ParkableCall>;
  /** Calls that have an HTTP request now. Few enough for a list; see `Deadlines` for why. */
  readonly legged: ParkableCall[];
  /** What runs, or ran last. */
  profile(): Profile | undefined;
}

export class Parked {
  readonly #lot: Lot;

  /** `profile`: what runs, or ran last. */
  constructor(relay: Relay, world: World, profile: () => Profile | undefined) {
    this.#lot = { relay, world, waiting: new Map(), legged: [], profile };
  }

  /** A request of a modern client on its way to the relay, as a call that may be parked where it can become one: where the client can be asked. */
  dispatch(leg: Exchange, request: RpcRequest): void {
    const { relay } = this.#lot;
    if (!TAKES_INPUT.has(request.method)) return relay.dispatch(leg, request);
    const parked = this.#parkedBy(request);
    if (parked?.kept === true) return this.retry(leg, request); // whatever runs now has no part in it
    if (parked !== undefined) return relay.dispatch(leg, request); // comes back to `retry`
    const { sampling, elicitation, roots } = leg.caller.declared.capabilities;
    const isAsked = (sampling ?? elicitation ?? roots) !== undefined;
    relay.dispatch(isAsked ? new ParkableCall(leg, request, this.#lot) : leg, request);
  }

  /** The client closed the HTTP request of a call. `false`: it is of none here. */
  cancel(leg: Exchange, reason?: string): boolean {
    const call = this.#lot.legged.find((call) => call.leg === leg);
    call?.giveUp(reason);
    return call !== undefined;
  }

  /** Parked calls do not outlive their process, not even as long as others: they wait for a person. */
  end(why: ProxyError): void {
    for (const call of this.#lot.waiting.values()) {
      this.#lot.relay.cancel(call, why.message);
      call.settle(why);
    }
  }

  /** Continues a parked call; who names none, or not as it must be, is told so. */
  retry(leg: Exchange, request: RpcRequest): void {
    const parked = this.#parkedBy(request);
    const problem = parked === undefined ? unknownState() : parked.retry(leg, request);
    if (problem !== undefined) leg.settle(problem);
  }

  #parkedBy(request: RpcRequest): ParkableCall | undefined {
    const requestState = wordOf(request, 'requestState');
    return typeof requestState === 'string' ? this.#lot.waiting.get(requestState) : undefined;
  }
}

/** What a retry is told that names no parked call. */
const unknownState = (): ProxyError =>
  new ProxyError('request_state', 'Invalid params: unknown or expired requestState; call again without it');

/** One call of a modern client that may need input: the exchange that the relay knows, whichever HTTP request is its leg. */
class ParkableCall implements Exchange, Caller {
  readonly era = 'modern';
  readonly holder = this;
  readonly caller = this;
  readonly declared: Caller['declared'];
  modern: ModernRequest | undefined;
  readonly #lot: Lot;
  readonly #method: string;
  /** What a retry must have in common with the call; only where the child asks: it is costly. */
  readonly #key: string;
  #leg: Exchange | undefined;
  #token: string | undefined;
  /** What the child has asked, by the key under which the client knows it. */
  readonly #questions = new Map<string, Question>();
  #asked = 0;
  #state: string | undefined;
  /** With a leg, until when questions are collected for it; without one, how long its client has to return. */
  #deadline: Deadline | undefined;
  #kept: Buffer | ProxyError | undefined;

  constructor(leg: Exchange, request: RpcRequest, lot: Lot) {
    this.#lot = lot;
    this.#method = request.method;
    this.declared = leg.caller.declared;
    const asks = !lot.relay.connected || lot.profile()?.era !== 'modern';
    this.#key = asks ? retryKey(request) : '';
    this.#attach(leg, request);
  }

  /** The HTTP request that is its own now. */
  get leg(): Exchange | undefined {
    return this.#leg;
  }

  get idText(): string {
    return this.#leg?.idText ?? 'null';
  }

  get streams(): boolean {
    return this.#leg?.streams ?? false;
  }

  /** Whether its end is known, and waits for the client. */
  get kept(): boolean {
    return this.#kept !== undefined;
  }

  progressToken(): string | undefined {
    return this.#token;
  }

  notify(message: Buffer): void {
    this.#leg?.notify(message); // without a leg nobody hears it
  }

  canAsk(request: RpcRequest): boolean {
    return canAnswer(this.declared.capabilities, request.method, paramsOf(request));
  }

  /** The client can never answer this, so its call ends here (R-59b). */
  unable(request: RpcRequest): void {
    // Not cancelled at the child: that would leave it a call without an answer, and this one ends by itself.
    this.#lot.relay.cancel(this);
    this.settle(missingCapability(request.method, paramsOf(request)));
  }

  ask(question: Question): void {
    const { deadlines, limits } = this.#lot.world;
    if (this.#state === undefined && this.#lot.waiting.size >= limits.maxParked) {
      return question.answer(new ProxyError('no_client', 'Too many calls wait for their clients'));
    }
    this.#questions.set(inputKey(question.request.method, ++this.#asked), question);
    if (this.#leg !== undefined) this.#deadline ??= deadlines.add(limits.collectMs, () => this.#park());
  }

  withdraw(question: Question): void {
    for (const [key, each] of this.#questions) if (each === question) this.#questions.delete(key);
  }

  /** Continues the call for a retry, or says why not; then nothing has changed (P3, P4). */
  retry(leg: Exchange, request: RpcRequest): ProxyError | undefined {
    if (retryKey(request) !== this.#key) return unknownState();
    const answers = this.#answersIn(request);
    if (answers instanceof ProxyError) return answers;
    this.#unpark();
    this.#attach(leg, request);
    if (this.#kept !== undefined) {
      this.#finish(this.#kept instanceof ProxyError ? this.#kept : withId(this.#kept, leg.idText));
      return undefined;
    }
    for (const [question, answer] of answers) {
      this.withdraw(question);
      question.answer(encodeResult('0', answer));
    }
    this.#park(); // what is still open is asked again at once
    return undefined;
  }

  /** Nobody waits for the call any more. */
  giveUp(reason?: string): void {
    this.#end();
    this.#lot.relay.cancel(this, reason);
  }

  settle(answer: Buffer | ProxyError, status?: number): void {
    this.#dismiss();
    if (this.#leg !== undefined || this.#state === undefined) this.#finish(answer, status);
    else this.#kept ??= this.#hasRoomFor(answer) ? answer : new ProxyError('busy', 'The answer is lost: too much waits for clients to return', { status: 200 });
  }

  /** Whether an answer may be kept beside those of other calls; one alone always. */
  #hasRoomFor(answer: Buffer | ProxyError): boolean {
    const { waiting, world } = this.#lot;
    const others = [...waiting.values()].reduce((sum, call) => sum + keptBytes(call.#kept), 0);
    return others === 0 || others + keptBytes(answer) <= world.limits.maxKeptBytes;
  }

  #finish(answer: Buffer | ProxyError, status?: number): void {
    const leg = this.#leg;
    this.#end();
    leg?.settle(answer, status);
  }

  /** Answers the HTTP request with what the child has asked; the call goes on without one. */
  #park(): void {
    const leg = this.#leg;
    const { waiting, world, profile } = this.#lot;
    this.#deadline = undefined;
    if (leg === undefined || this.#questions.size === 0) return; // the child has withdrawn them
    const state = secretId();
    this.#state = state;
    waiting.set(state, this);
    this.#deadline = world.deadlines.add(world.limits.parkMs, () => this.giveUp('the client did not return'));
    this.#detach();
    const asked = [...this.#questions].map(([key, { request }]) => {
      const at = memberOf(request.layout.top, 'params');
      return { key, method: request.method, params: at && request.raw.subarray(at.at, at.end) };
    });
    leg.settle(stampResult(encodeResult(leg.idText, inputRequired(asked, state)), this.#method, serverInfoOf(profile() as Profile)));
  }

  #unpark(): void {
    this.#deadline?.cancel();
    this.#deadline = undefined;
    if (this.#state !== undefined) this.#lot.waiting.delete(this.#state);
    this.#state = undefined;
  }

  #attach(leg: Exchange, request: RpcRequest): void {
    this.#leg = leg;
    this.#token = tokenTextOf(request, this.#lot.world.limits.maxIdBytes);
    this.modern = leg.modern;
    this.#lot.legged.push(this);
  }

  #detach(): void {
    if (this.#leg === undefined) return;
    this.#leg = undefined;
    this.#lot.legged.splice(this.#lot.legged.indexOf(this), 1);
  }

  #end(): void {
    this.#unpark();
    this.#detach();
    this.#dismiss();
  }

  /** The child need not wait for the client any more. */
  #dismiss(): void {
    for (const question of this.#questions.values()) question.answer(new ProxyError('no_client', 'The call has ended'));
    this.#questions.clear();
  }

  /** What the retry answers, or what is wrong with it. Keys that nobody asked for say nothing. */
  #answersIn({ raw, layout }: RpcRequest): [question: Question, answer: Buffer][] | ProxyError {
    const at = memberOf(layout.params, 'inputResponses');
    if (at !== undefined && raw[at.at] !== OPEN) return malformed('inputResponses must be an object');
    const given = at === undefined ? [] : members(raw, this.#lot.world.limits.maxMembers, at.at);
    const answered: [Question, Buffer][] = [];
    for (const [key, question] of this.#questions) {
      const value = memberOf(given, key);
      if (value === undefined) continue;
      const problem = inputResponseProblem(question.request.method, valueOf(raw, value)); // of the very bytes that the child gets
      if (problem !== undefined) return malformed(`inputResponses["${key}"] ${problem}`);
      answered.push([question, raw.subarray(value.at, value.end)]);
    }
    return answered;
  }
}

/** What it takes to keep the end of a call. */
function keptBytes(end: Buffer | ProxyError | undefined): number {
  return end instanceof Buffer ? end.length : 0;
}

function malformed(detail: string): ProxyError {
  return new ProxyError('invalid_params', `Invalid params: ${detail}`);
}
