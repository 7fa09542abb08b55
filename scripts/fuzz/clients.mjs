// Clients of the fuzzer, of each dialect, at the seam where transports meet the relay: exchanges that count how often they
// are settled, and believe nothing that is not theirs.
// @ts-check

import { ANY, idOf, MARK, markOf } from './marks.mjs';

/** @typedef {import('./dice.mjs').Dice} Dice */
/** @typedef {import('./interleavings.mjs').Source} Source */

const META = 'io.modelcontextprotocol/';
const ALL = { sampling: { tools: {} }, elicitation: { form: {}, url: {} }, roots: {} };
const LEVELS = ['debug', 'info', 'notice', 'warning'];
const METHODS = ['tools/call', 'tools/call', 'tools/call', 'prompts/get', 'resources/read', 'tools/list', 'completion/complete', 'odd/method'];

/** What all clients of a run share. @typedef {{ dice: Dice, source: Source, world: any, fail: (what: string) => void, now: () => number, onPark: (call: Call) => void }} Place */

/** One request of a client, from its being sent to its answer. */
export class Call {
  /** @type {'open' | 'over' | 'parked'} parked: its client was asked for input, and has not come back */
  at = 'open';
  /** When it was over for its client, or will be for a parked one. */
  overAt = Infinity;
  settles = 0;
  cancelled = false;
  /** @type {any} the answer as it was parsed, or the ProxyError */
  outcome;
  /** What a server said to it, by the nonces of its answers. @type {Set<string>} */
  said = new Set();
  /** @type {string | undefined} */
  requestState;
  /** @type {Record<string, { method: string }>} what a modern client has to answer */
  inputs = {};
  /** The server that answers it. @type {any} */
  server;
  /** Whether it was sent again with what its client was asked for. */
  retried = false;
  /** Whether a server has got it, and when it was sent. */
  reached = false;
  sentAt = 0;
  /** Whether anything has reached it yet. */
  heard = false;

  /**
   * @param {Place} place
   * @param {Client} client
   * @param {number} n
   * @param {string} method
   * @param {object} params
   * @param {boolean} streams
   */
  constructor(place, client, n, method, params, streams) {
    const { dice } = place;
    this.place = place;
    this.client = client;
    this.method = method;
    this.params = params;
    this.mark = markOf(client.c, n);
    // Clients use the same ids all the time, so now and then they do.
    this.id = dice.of([idOf(client.c, n), idOf(client.c, n), 1, '1']);
    this.token = dice.of([undefined, idOf(client.c, n), idOf(client.c, n), 1]);
    this.streams = streams;
    this.startedAt = place.now();
    this.request = this.#request({});
    this.exchange = this.newExchange();
  }

  get isListen() {
    return this.method === 'subscriptions/listen';
  }

  /** The request with what a retry adds. */
  #request(/** @type {object} */ more) {
    const _meta = { ...this.client.meta, ...(this.token !== undefined && { progressToken: this.token }) };
    const params = { ...this.params, ...(!this.client.isHouse(this.method) && { arguments: { mark: this.mark } }), ...more, ...(Object.keys(_meta).length > 0 && { _meta }) };
    const text = JSON.stringify({ jsonrpc: '2.0', id: this.id, method: this.method, params });
    return this.place.source.readMessage(Buffer.from(text), this.place.world.limits);
  }

  newExchange() {
    const { source } = this.place;
    const call = this;
    const exchange = {
      idText: this.request.idText,
      id: this.id,
      caller: this.client.caller,
      streams: this.streams,
      modern: this.client.kind === 'modern' ? { logLevel: this.client.logLevel, checkParams: () => undefined } : undefined,
      notify(/** @type {Buffer} */ message) {
        call.#notified(message.toString(), exchange);
      },
      settle(/** @type {unknown} */ answer) {
        if (/** @type {any} */ (answer).reason === 'cancelled') call.over('dropped', true);
        else call.#settled(exchange, answer instanceof source.ProxyError ? answer : String(answer));
      },
    };
    return exchange;
  }

  over(/** @type {any} */ outcome, cancelled = false) {
    if (this.at === 'over') return;
    this.at = 'over';
    this.cancelled = cancelled;
    this.outcome = outcome;
    // One that came back too late, or not as it must, was given up before.
    this.overAt = outcome?.reason === 'request_state' ? Math.min(this.overAt, this.place.now()) : this.place.now();
    this.client.forget(this);
  }

  #settled(/** @type {any} */ exchange, /** @type {any} */ answer) {
    const { fail, source } = this.place;
    const what = typeof answer === 'string' ? answer.slice(0, 300) : `${answer.reason}: ${answer.message}`;
    this.settles++;
    if (this.settles > 1 || exchange !== this.exchange) fail(`${this.mark} is settled ${this.settles} times, at last with ${what}`);
    if (this.cancelled) fail(`${this.mark} is answered after it was cancelled: ${what}`);
    if (typeof answer !== 'string') {
      if (!(answer instanceof source.ProxyError)) fail(`${this.mark} is settled with ${answer}`);
      this.#belongs(JSON.stringify(answer.toRpc()));
      return this.over(answer);
    }
    const message = JSON.parse(answer);
    this.#belongs(answer);
    if (message.id !== this.id || message.jsonrpc !== '2.0' || 'result' in message === 'error' in message) fail(`${this.mark} has id ${JSON.stringify(this.id)} and is answered ${what}`);
    const nonce = /n\d+\.\d+\./.exec(answer)?.[0];
    if (nonce !== undefined && !this.said.has(nonce)) fail(`${this.mark} is answered with what no server said to it: ${what}`);
    if (message.result?.resultType === 'input_required' && this.client.kind === 'modern' && message.result.requestState !== undefined) return this.#parked(message.result);
    if (nonce === undefined && message.result !== undefined && message.result.isError !== true && message.result.resultType !== 'input_required' && !this.client.isHouse(this.method)) {
      fail(`${this.mark} is answered by nobody: ${what}`);
    }
    this.over(message);
  }

  #parked(/** @type {any} */ { inputRequests, requestState }) {
    this.at = 'parked';
    this.requestState = requestState;
    this.inputs = inputRequests;
    this.place.onPark(this);
  }

  /** A modern client comes back with answers; with the wrong ones now and then. */
  retry() {
    const { dice } = this.place;
    const inputResponses = Object.fromEntries(Object.entries(this.inputs).filter(() => !dice.once(6)).map(([key, { method }]) => [key, dice.once(12) ? 7 : inputAnswer(method, this.mark)]));
    this.at = 'open';
    this.retried = true;
    this.settles = 0;
    this.request = this.#request({ inputResponses, requestState: dice.once(12) ? 'another' : this.requestState });
    this.exchange = this.newExchange();
  }

  #notified(/** @type {string} */ text, /** @type {any} */ exchange) {
    const { fail } = this.place;
    const { id, method, params } = JSON.parse(text);
    this.heard = true;
    if (this.isListen && params?._meta?.[`${META}subscriptionId`] !== this.id) fail(`${this.mark} listens as ${JSON.stringify(this.id)} and hears ${text.slice(0, 300)}`);
    if ((this.at !== 'open' || exchange !== this.exchange) && method !== 'notifications/cancelled') fail(`${this.mark} is over and hears ${text.slice(0, 300)}`);
    if (!this.streams && id !== undefined) fail(`${this.mark} has no stream and hears ${text.slice(0, 300)}`);
    if (method === 'notifications/progress') {
      this.#belongs(text);
      if (this.token === undefined || params.progressToken !== this.token) fail(`${this.mark} has the token ${JSON.stringify(this.token)} and hears ${text}`);
    } else this.client.hears(text);
  }

  #belongs(/** @type {string} */ text) {
    for (const [each, client, call] of text.matchAll(ANY)) {
      if (this.mark !== `@${client}.${call}@`) this.place.fail(`${this.mark} hears of ${each}: ${text.slice(0, 300)}`);
    }
  }
}

/** Somebody who calls: of the simple dialect or modern a single request, else a session. */
export class Client {
  /** @type {Set<Call>} */
  calls = new Set();
  /** What it was asked and has not answered, by id. @type {Map<unknown, { method: string, mark: string }>} */
  questions = new Map();
  /** @type {object} of every request */
  meta = {};
  /** Of a session, as the transports have it. @type {any} */
  session;
  /** @type {any} */
  server;
  closed = false;
  /** Resources that a session watches. @type {Set<string>} */
  uris = new Set();
  /** The stream of a session that belongs to no request. */
  standalone = false;
  #n = 0;
  #lonely;

  /**
   * @param {Place} place
   * @param {number} c
   * @param {'simple' | 'session' | 'modern'} kind
   * @param {string} name of the server
   */
  constructor(place, c, kind, name) {
    this.place = place;
    this.c = c;
    this.kind = kind;
    this.name = name;
    const { dice, source } = place;
    this.#lonely = source.lonelyCaller();
    this.capabilities = dice.of([ALL, ALL, ALL, {}, { sampling: {} }]);
    this.logLevel = kind === 'modern' && dice.once(3) ? dice.roll(4) : undefined;
    if (kind !== 'modern') return;
    this.meta = { [`${META}protocolVersion`]: '2026-07-28', [`${META}clientCapabilities`]: this.capabilities, ...(this.logLevel !== undefined && { [`${META}logLevel`]: LEVELS[this.logLevel] }) };
  }

  get caller() {
    if (this.kind === 'simple') return this.#lonely;
    if (this.kind === 'session') return this.session ?? this.#lonely;
    const caller = { era: 'modern', holder: {}, declared: { capabilities: this.capabilities, clientInfo: { name: 'c', version: '1' } }, canAsk: () => false, ask() {}, withdraw() {} };
    return (caller.holder = caller);
  }

  /** Methods whose results the proxy makes itself. */
  isHouse(/** @type {string} */ method) {
    return ['ping', 'initialize', 'server/discover', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe', 'subscriptions/listen'].includes(method);
  }

  /** A request of this client. */
  call(method = this.place.dice.of(METHODS), /** @type {object} */ params = {}, streams = !this.place.dice.once(4)) {
    const call = new Call(this.place, this, ++this.#n, method, { ...(method === 'tools/call' && { name: 'tool' }), ...(method === 'resources/read' && { uri: 'res://0' }), ...params }, streams);
    this.calls.add(call);
    return call;
  }

  forget(/** @type {Call} */ call) {
    this.calls.delete(call);
    if (this.session !== undefined) this.session.end(call.exchange);
  }

  /** What a session hears must be its own, or nobody's. */
  hears(/** @type {string} */ text) {
    for (const [each, client] of text.matchAll(ANY)) if (Number(client) !== this.c) this.place.fail(`client ${this.c} hears of ${each}: ${text.slice(0, 300)}`);
    const { id, method, params } = JSON.parse(text);
    if (id !== undefined) this.#asked(id, method, text);
    if (method === 'notifications/cancelled' && !this.questions.delete(params.requestId)) this.place.fail(`client ${this.c} was not asked what is cancelled: ${text}`);
    if (method === 'notifications/resources/updated' && this.kind === 'session' && !this.uris.has(params.uri)) this.place.fail(`client ${this.c} does not watch ${params.uri}`);
  }

  #asked(/** @type {unknown} */ id, /** @type {string} */ method, /** @type {string} */ text) {
    if (this.questions.has(id)) this.place.fail(`client ${this.c} is asked twice with the same id: ${text.slice(0, 300)}`);
    this.questions.set(id, { method, mark: (text.match(MARK) ?? [''])[0] });
  }

  /** The answer of a session to one of its questions. */
  answer() {
    const { dice, source, world } = this.place;
    const [id, question] = dice.of([...this.questions]) ?? [];
    if (question === undefined) return;
    this.questions.delete(id);
    const outcome = dice.once(5) ? { error: { code: -1, message: 'no' } } : { result: inputAnswer(question.method, question.mark) };
    this.session.take(source.readMessage(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, ...outcome })), world.limits));
  }
}

/** What a client says to a question, with the mark by which it is known. */
function inputAnswer(/** @type {string} */ method, /** @type {string} */ mark) {
  switch (method) {
    case 'sampling/createMessage':
      return { role: 'user', model: 'm', content: { type: 'text', text: mark } };
    case 'elicitation/create':
      return { action: 'accept', content: { mark } };
    default:
      return { roots: [{ uri: `file:///${mark}` }] };
  }
}
