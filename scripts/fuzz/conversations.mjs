// The same servers behind a whole proxy, with clients that speak HTTP in every dialect: they break off, come back for the rest
// of a stream, cancel, answer, and leave. What they may rely on: one answer under their own id, nothing of anybody else,
// nothing twice and nothing lost, and no bug is answered.
// @ts-check

import { Dice } from './dice.mjs';
import { FakeResponse, send } from './http.mjs';
import { ANY, idOf, MARK, markOf } from './marks.mjs';
import { LIMITS, NAMES, play, Stage } from './stage.mjs';
import { settled } from './system.mjs';

/** @typedef {any} Source */
/** @typedef {import('./stage.mjs').Op} Op */
/** @typedef {import('./http.mjs').Said} Said */

const META = 'io.modelcontextprotocol/';
const ALL = { sampling: { tools: {} }, elicitation: { form: {}, url: {} }, roots: {} };
const BOTH = 'application/json, text/event-stream';
const METHODS = ['tools/call', 'tools/call', 'tools/call', 'prompts/get', 'tools/list', 'odd/method'];
const LONG_MS = 1_000_000;

/** One run; the number of its steps. */
export const converse = (/** @type {Source} */ source, /** @type {number} */ seed) => play(new Conversations(source, new Dice(seed)));

/**
 * @typedef {object} Call
 * @property {string} mark
 * @property {unknown} id
 * @property {unknown} token
 * @property {'open' | 'over' | 'parked'} at
 * @property {number} overAt
 * @property {boolean} retried
 * @property {boolean} reached
 * @property {Set<string>} said
 * @property {Person} person
 * @property {number} answers
 * @property {number} progress the last that it heard of
 * @property {boolean} cancelled
 * @property {FakeResponse | undefined} res
 * @property {string | undefined} eventId the last of its stream
 * @property {any} body
 * @property {any} input what it was asked for
 */

/** A client: of the simple dialect or modern a single request, else a session. */
class Person {
  /** @type {string | undefined} */
  session;
  /** Where a session of 2024-11-05 posts to. @type {string | undefined} */
  endpoint;
  /** @type {FakeResponse | undefined} the stream that belongs to no request */
  stream;
  /** @type {Set<Call>} */
  calls = new Set();
  /** @type {Map<unknown, { method: string, mark: string }>} */
  questions = new Map();
  n = 0;

  constructor(/** @type {number} */ c, /** @type {string} */ kind, /** @type {string} */ name) {
    this.c = c;
    this.kind = kind;
    this.name = name;
  }
}

class Conversations extends Stage {
  /** @override */
  ops = OPS;
  #proxy;
  #last = 0;
  /** @type {Person[]} */
  #sessions = [];
  /** @type {Set<Call>} */
  #live = new Set();
  /** @type {Set<FakeResponse>} */
  #responses = new Set();

  constructor(/** @type {Source} */ source, /** @type {Dice} */ dice) {
    super(source, dice);
    const write = (/** @type {any} */ { server, event, message }) => {
      this.trace.push(`  ${server}: ${message}`);
      if (event === 'internal') this.fail(message);
    };
    const limits = { ...LIMITS, sseAfterMs: 100, finishedStreamMs: 20_000, sessionTimeoutMs: 60_000, keepAliveMs: 15_000, maxSessions: 5 };
    this.#proxy = source.createProxy({ env: {}, limits, log: { level: 'info', write }, world: { clock: this.clock, random: () => dice.next() } });
  }

  /** @override */
  async begin() {
    await this.apply();
    this.#proxy.start();
  }

  /** @override */
  apply() {
    return this.#proxy.reload({ mcpServers: this.config });
  }

  /** @override */
  async end() {
    for (const { process } of this.servers) process.stdin.unclog();
    if (this.dice.once(2)) {
      this.trace.push('silence');
      await this.clock.advance(LONG_MS);
      this.check();
      this.#nobodyWaits('hangs for ever', ({ body }) => body.method !== 'subscriptions/listen');
    }
    this.trace.push('the end');
    let closed = false;
    void this.#proxy.close().then(() => (closed = true));
    await this.clock.advance(30_000);
    this.check();
    if (!closed) throw new Error('the proxy does not end');
    this.#nobodyWaits('has no answer at the end', () => true);
    await settled();
    for (const res of this.#responses) if (!res.over) throw new Error(`a response is open at the end: ${res.status} ${JSON.stringify(res.headers)}`);
    if (this.system.alive.length > 0) throw new Error(`${this.system.alive.length} processes are left`);
    if (this.clock.armed > 0) throw new Error(`${this.clock.armed} timers are left`);
  }

  #nobodyWaits(/** @type {string} */ what, /** @type {(call: Call) => boolean} */ which) {
    const left = [...this.#live].filter((call) => call.at === 'open' && which(call));
    if (left.length > 0) throw new Error(`${left.map(({ mark, body, person }) => `${person.kind} ${body.method} ${mark}`)} ${what}`);
  }

  /** @override */
  check() {
    super.check();
    for (const call of this.#live) if (call.at === 'over') this.#live.delete(call);
    for (const res of this.#responses) if (res.over) this.#responses.delete(res);
  }

  // ---- what is sent

  #newCall(/** @type {Person} */ person, method = this.dice.of(METHODS), params = {}) {
    const { dice } = this;
    const n = ++person.n;
    const own = idOf(person.c, n);
    // Whose stream carries everything has to tell its answers apart.
    const id = person.kind === 'old' ? own : dice.of([own, own, 1, '1']);
    const token = dice.of([undefined, own, own, 1]);
    const mark = markOf(person.c, n);
    const _meta = { ...(person.kind === 'modern' && modernMeta()), ...(token !== undefined && { progressToken: token }) };
    const isHouse = method === 'initialize' || method === 'subscriptions/listen';
    const all = { ...(method === 'tools/call' && { name: 'tool' }), ...(method === 'prompts/get' && { name: 'prompt' }), ...(!isHouse && { arguments: { mark } }), ...params, _meta };
    /** @type {Call} */
    const call = { mark, id, token, at: 'open', overAt: Infinity, retried: false, reached: false, said: new Set(), person, answers: 0, progress: 0, cancelled: false, res: undefined, eventId: undefined, body: { jsonrpc: '2.0', id, method, params: all }, input: undefined };
    this.calls.set(mark, call);
    this.#live.add(call);
    person.calls.add(call);
    return call;
  }

  #headers(/** @type {Person} */ person, /** @type {any} */ body) {
    const accept = person.kind === 'simple' ? this.dice.of([undefined, 'text/event-stream', BOTH]) : person.kind === 'modern' && body.method !== 'subscriptions/listen' ? this.dice.of([BOTH, BOTH, 'application/json']) : BOTH;
    if (person.kind === 'modern') return { accept, 'mcp-protocol-version': '2026-07-28', 'mcp-method': body.method, 'mcp-name': body.params?.name };
    return { accept, 'mcp-session-id': person.session };
  }

  /** Posts a request whose answer belongs to a call. */
  #post(/** @type {Call} */ call) {
    const { person, body } = call;
    this.trace.push(`  ${person.kind} ${call.mark} ${body.method} ${JSON.stringify(call.id)} to ${person.name}`);
    if (person.kind === 'old') return void this.#tell(person, body);
    const res = this.#response((said) => this.#onCall(call, said, res));
    call.res = res;
    call.eventId = undefined;
    res.once('close', () => this.#afterClose(call, res));
    send(this.#proxy, 'POST', `/${person.name}/mcp`, this.#headers(person, body), JSON.stringify(body), res);
  }

  /** Posts what needs no answer of its own. */
  #tell(/** @type {Person} */ person, /** @type {any} */ body) {
    const res = this.#response((said) => this.#hears(person, said.text));
    res.once('close', () => {
      // Nothing was accepted, so the stream will not bring an answer.
      if (res.status >= 400) for (const call of person.calls) if (call.body === body) this.#over(call);
    });
    const url = person.kind === 'old' ? (person.endpoint ?? '') : `/${person.name}/mcp`;
    send(this.#proxy, 'POST', url, this.#headers(person, body), JSON.stringify(body), res);
    return res;
  }

  #response(/** @type {(said: Said) => void} */ onMessage) {
    const res = new FakeResponse(onMessage, this.fail);
    this.#responses.add(res);
    return res;
  }

  // ---- what is heard

  #over(/** @type {Call} */ call) {
    if (call.at === 'over') return;
    call.at = 'over';
    call.overAt = this.clock.now();
    call.person.calls.delete(call);
  }

  #afterClose(/** @type {Call} */ call, /** @type {FakeResponse} */ res) {
    if (call.res !== res || call.at !== 'open') return;
    const ended = res.writableEnded;
    // Of a call without its answer, the stream was cut off by the proxy, or ended because the call was cancelled or its session closed.
    if (ended && res.status === 200 && !res.streams) this.fail(`${call.mark} is answered with nothing`);
    if (ended && res.streams && !call.cancelled && call.person.kind !== 'modern') this.fail(`the stream of ${call.mark} ends without its answer`);
    this.#over(call);
  }

  #onCall(/** @type {Call} */ call, /** @type {Said} */ { text, eventId }, /** @type {FakeResponse} */ res) {
    if (eventId !== undefined) {
      if (eventId === call.eventId) this.fail(`${call.mark} gets the event ${eventId} twice`);
      call.eventId = eventId;
    }
    if (text === '') return;
    const message = JSON.parse(text);
    if ('result' in message || 'error' in message) return this.#answered(call, text, message, res);
    if (call.answers > 0) this.fail(`${call.mark} has its answer and hears ${text.slice(0, 300)}`);
    if (message.method === 'notifications/progress') return this.#progressed(call, text, message.params);
    this.#hears(call.person, text);
  }

  #progressed(/** @type {Call} */ call, /** @type {string} */ text, /** @type {any} */ params) {
    this.#belongs(call, text);
    if (call.token === undefined || params.progressToken !== call.token) this.fail(`${call.mark} has the token ${JSON.stringify(call.token)} and hears ${text}`);
    if (params.progress <= call.progress) this.fail(`${call.mark} hears of the progress ${params.progress} after ${call.progress}`);
    call.progress = params.progress;
  }

  #answered(/** @type {Call} */ call, /** @type {string} */ text, /** @type {any} */ message, /** @type {FakeResponse | undefined} */ res = undefined) {
    const { result, error } = message;
    const what = text.slice(0, 300);
    this.#belongs(call, text);
    if (error?.data?.reason === 'internal' || res?.status === 500) this.fail(`a bug is answered: ${what}`);
    const refused = res !== undefined && res.status >= 400 && message.id === null;
    if (message.id !== call.id && !refused) this.fail(`${call.mark} has the id ${JSON.stringify(call.id)} and is answered ${what}`);
    if (++call.answers > 1) this.fail(`${call.mark} is answered ${call.answers} times, at last ${what}`);
    const nonce = /n\d+\.\d+\./.exec(text)?.[0];
    if (nonce !== undefined && !call.said.has(nonce)) this.fail(`${call.mark} is answered with what no server said to it: ${what}`);
    if (result?.resultType === 'input_required' && call.person.kind === 'modern' && result.requestState !== undefined) {
      call.at = 'parked';
      call.input = result;
      call.overAt = this.clock.now() + LIMITS.parkMs;
      return;
    }
    this.#over(call);
    if (call.body.method === 'initialize' && result !== undefined) this.#opened(call.person, res);
  }

  #opened(/** @type {Person} */ person, /** @type {FakeResponse | undefined} */ res) {
    if (person.kind === 'session') person.session = res?.headers['mcp-session-id'];
    if (person.kind === 'session' && person.session === undefined) return this.fail('a session without an id');
    this.#sessions.push(person);
  }

  #belongs(/** @type {Call} */ call, /** @type {string} */ text) {
    for (const [each, c, n] of text.matchAll(ANY)) if (call.mark !== `@${c}.${n}@`) this.fail(`${call.mark} hears of ${each}: ${text.slice(0, 300)}`);
  }

  /** What is about no call. */
  #hears(/** @type {Person} */ person, /** @type {string} */ text) {
    if (text === '') return;
    for (const [each, c] of text.matchAll(ANY)) if (Number(c) !== person.c) this.fail(`client ${person.c} hears of ${each}: ${text.slice(0, 300)}`);
    const { id, method, params, error } = JSON.parse(text);
    if (error?.data?.reason === 'internal') this.fail(`a bug is answered: ${text.slice(0, 300)}`);
    if (method === 'notifications/cancelled') person.questions.delete(params.requestId);
    if (id === undefined || method === undefined) return;
    if (person.questions.has(id)) this.fail(`client ${person.c} is asked twice under one id: ${text.slice(0, 300)}`);
    person.questions.set(id, { method, mark: [...text.matchAll(MARK)].map(String)[0] ?? '' });
  }

  // ---- what clients do

  callSimple() {
    this.#post(this.#newCall(new Person(++this.#last, 'simple', this.dice.of(NAMES))));
  }

  callModern() {
    this.#post(this.#newCall(new Person(++this.#last, 'modern', this.dice.of(NAMES))));
  }

  listen() {
    const call = this.#newCall(new Person(++this.#last, 'modern', this.dice.of(NAMES)), 'subscriptions/listen', { notifications: { toolsListChanged: true, resourceSubscriptions: ['res://1'] } });
    this.#post(call);
  }

  retry() {
    const call = this.dice.of([...this.#live].filter(({ at }) => at === 'parked'));
    if (call === undefined) return;
    const inputResponses = Object.fromEntries(Object.entries(/** @type {Record<string, any>} */ (call.input.inputRequests)).map(([key, { method }]) => [key, inputAnswer(method, call.mark)]));
    call.body.params = { ...call.body.params, requestState: call.input.requestState, inputResponses };
    Object.assign(call, { at: 'open', retried: true, answers: 0 });
    this.#post(call);
  }

  openSession() {
    const person = new Person(++this.#last, 'session', this.dice.of(NAMES));
    const protocolVersion = this.dice.of(['2025-11-25', '2025-06-18', '2025-03-26']);
    this.#post(this.#newCall(person, 'initialize', { protocolVersion, capabilities: ALL, clientInfo: { name: 'c', version: '1' } }));
  }

  /** A session of 2024-11-05: all that it hears is on one stream. */
  openOld() {
    const person = new Person(++this.#last, 'old', this.dice.of(NAMES));
    const stream = this.#response(({ text, event }) => {
      if (stream.status >= 400) return;
      if (event !== 'endpoint') return this.#onOld(person, text);
      person.endpoint = text;
      this.#sessions.push(person);
      this.#post(this.#newCall(person, 'initialize', { protocolVersion: '2024-11-05', capabilities: ALL, clientInfo: { name: 'c', version: '1' } }));
    });
    person.stream = stream;
    stream.once('close', () => this.#ended(person));
    send(this.#proxy, 'GET', `/${person.name}/sse`, { accept: 'text/event-stream' }, undefined, stream);
  }

  #onOld(/** @type {Person} */ person, /** @type {string} */ text) {
    const message = JSON.parse(text);
    if (!('result' in message || 'error' in message) || message.id === undefined) {
      const call = message.method === 'notifications/progress' ? [...person.calls].find(({ token }) => token === message.params.progressToken && token !== 1) : undefined;
      return call === undefined ? this.#hears(person, text) : this.#progressed(call, text, message.params);
    }
    const call = [...person.calls].find(({ id }) => id === message.id);
    if (call === undefined) return this.fail(`client ${person.c} is answered what it does not wait for: ${text.slice(0, 300)}`);
    this.#answered(call, text, message);
  }

  #ended(/** @type {Person} */ person) {
    this.#sessions = this.#sessions.filter((each) => each !== person);
    for (const call of [...person.calls]) this.#over(call);
  }

  callSession() {
    const person = this.dice.of(this.#sessions);
    if (person !== undefined) this.#post(this.#newCall(person));
  }

  /** Its stream for what belongs to no request comes and goes. */
  standalone() {
    const person = this.dice.of(this.#sessions.filter(({ kind }) => kind === 'session'));
    if (person === undefined) return;
    if (person.stream?.over === false) return person.stream.destroy();
    const stream = this.#response(({ text }) => this.#hears(person, text));
    person.stream = stream;
    send(this.#proxy, 'GET', `/${person.name}/mcp`, { accept: 'text/event-stream', 'mcp-session-id': person.session }, undefined, stream);
  }

  /** The connection of a call breaks, and its client comes back for the rest. */
  async resume() {
    const call = this.dice.of([...this.#live].filter(({ at, person, eventId }) => at === 'open' && person.kind === 'session' && eventId !== undefined));
    if (call === undefined || call.res === undefined) return;
    const { res: broken, person } = call;
    this.trace.push(`  ${call.mark} after ${call.eventId}`);
    call.res = undefined;
    call.retried = true; // what is said now comes later
    broken.destroy();
    if (this.dice.once(2)) await this.clock.advance(this.dice.of([0, 20, 1_000]));
    if (this.dice.once(2)) await this.answer();
    call.retried = false;
    if (call.at !== 'open') return;
    const res = this.#response((said) => this.#onCall(call, said, res));
    call.res = res;
    res.once('close', () => {
      if (res.status !== 200) this.#over(call);
      else this.#afterClose(call, res);
    });
    send(this.#proxy, 'GET', `/${person.name}/mcp`, { accept: 'text/event-stream', 'mcp-session-id': person.session, 'last-event-id': call.eventId }, undefined, res);
  }

  answerAsSession() {
    const person = this.dice.of(this.#sessions.filter(({ questions }) => questions.size > 0));
    const [id, question] = this.dice.of([...(person?.questions ?? [])]) ?? [];
    if (person === undefined || question === undefined) return;
    person.questions.delete(id);
    this.#tell(person, { jsonrpc: '2.0', id, ...(this.dice.once(5) ? { error: { code: -1, message: 'no' } } : { result: inputAnswer(question.method, question.mark) }) });
  }

  /** A client does not want its answer any more. */
  async cancel() {
    const call = this.dice.of([...this.#live].filter(({ at, body }) => at === 'open' && body.method !== 'initialize'));
    if (call === undefined) return;
    this.trace.push(`  ${call.mark}`);
    const { person } = call;
    if (person.session === undefined && person.endpoint === undefined) {
      this.#over(call);
      call.res?.destroy();
      await this.clock.turn();
      return this.#isCancelled(call);
    }
    const all = [...person.calls].filter(({ id }) => id === call.id); // every call of this id is cancelled
    for (const each of all) each.cancelled = true;
    const res = this.#tell(person, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: call.id } });
    res.once('close', () => {
      if (res.status === 202 && person.kind === 'old') for (const each of all) this.#over(each);
    });
  }

  /** Whoever is at work on a call must know by now that its client has gone. */
  #isCancelled(/** @type {Call} */ { mark, retried }) {
    if (retried) return; // a retry that has not got that far leaves its call parked
    for (const { process, dying, open } of this.servers) {
      if (!process.alive || process.stdin.clogged || !process.stdin.writable || dying) continue;
      for (const request of open) if (request.mark === mark && !request.cancelled) this.fail(`the client of ${mark} has gone, and its server does not know`);
    }
  }

  closeSession() {
    const person = this.dice.of(this.#sessions);
    if (person === undefined || !this.dice.once(3)) return;
    if (person.kind === 'old') return person.stream?.destroy();
    const res = this.#response(() => {});
    send(this.#proxy, 'DELETE', `/${person.name}/mcp`, { 'mcp-session-id': person.session }, undefined, res);
    this.#sessions = this.#sessions.filter((each) => each !== person);
  }

  async restart() {
    if (!this.dice.once(4)) return;
    send(this.#proxy, 'POST', `/api/servers/${this.dice.of(NAMES)}/restart`, {}, '{}', this.#response(() => {}));
    await settled();
  }
}

function modernMeta() {
  return { [`${META}protocolVersion`]: '2026-07-28', [`${META}clientInfo`]: { name: 'c', version: '1' }, [`${META}clientCapabilities`]: ALL };
}

/** What a client says to a question, with the mark by which it is known. */
function inputAnswer(/** @type {string} */ method, /** @type {string} */ mark) {
  if (method === 'sampling/createMessage') return { role: 'user', model: 'm', content: { type: 'text', text: mark } };
  return method === 'elicitation/create' ? { action: 'accept', content: { mark } } : { roots: [{ uri: `file:///${mark}` }] };
}

/** How often clients do what. @type {Op[]} */
const OPS = [
  ['callSimple', 4],
  ['callModern', 6],
  ['callSession', 10],
  ['listen', 1],
  ['retry', 6],
  ['openSession', 3],
  ['openOld', 2],
  ['answerAsSession', 6],
  ['closeSession', 1],
  ['standalone', 2],
  ['resume', 5],
  ['cancel', 4],
];
