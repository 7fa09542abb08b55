// An MCP server of the fuzzer, legacy or modern: it remembers what it was sent, and does with it whatever it is told to,
// well-formed as far as it goes. It holds the proxy to what a server may rely on: no id twice, no word of the other era,
// nothing of a client but what is meant for it, one answer to every question.
// @ts-check

import { MARK } from './marks.mjs';

/** @typedef {import('./dice.mjs').Dice} Dice */
/** @typedef {import('./system.mjs').FakeProcess} FakeProcess */

/**
 * @typedef {object} Received a request that the server was sent
 * @property {number} id
 * @property {string} method
 * @property {any} params
 * @property {string | undefined} mark of the call that it is about; none for what the proxy asks for itself
 * @property {boolean} answered
 * @property {boolean} cancelled
 * @property {boolean} acknowledged for a listen
 */

const META = 'io.modelcontextprotocol/';
const MODERN = '2026-07-28';
const BIG = 'ż'.repeat(9_000); // more than 16 KiB
const QUESTIONS = ['sampling/createMessage', 'elicitation/create', 'roots/list'];
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error'];
export const URI = 'res://';

const CAPABILITIES = { tools: { listChanged: true }, prompts: { listChanged: true }, resources: { subscribe: true, listChanged: true }, logging: {}, completions: {} };

export class FakeServer {
  /** @type {Map<number, Received>} */
  received = new Map();
  /** By the id as it was written. @type {Map<string, { asked: number, answers: number, marks: string[], reused: boolean }>} */
  questions = new Map();
  /** It has closed one of its pipes: the proxy gives it up, and tells it nothing more. */
  dying = false;
  /** Answers what is not a client's at once. */
  prompt;
  /** Hears of each request of a client. */
  onReceived = (/** @type {string} */ _mark) => {};
  /** Hears of an answer before it is sent: to which call, and the nonce by which it is known again. */
  onAnswer = (/** @type {string} */ _mark, /** @type {string} */ _nonce) => {};
  #dice;
  #fail;
  #nonce = 0;
  #progress = 0;

  /**
   * @param {FakeProcess} process
   * @param {Dice} dice
   * @param {(what: string) => void} fail
   */
  constructor(process, dice, fail) {
    this.process = process;
    this.#dice = dice;
    this.#fail = fail;
    [this.name = '', this.era = ''] = process.args;
    this.prompt = !dice.once(6);
    process.deaf = dice.of(['not', 'not', 'not', 'stdin', 'all']);
    process.stdin.onLine = (line) => this.#hear(line);
  }

  get alive() {
    return this.process.alive;
  }

  /** Requests of clients that it has not answered. @returns {Received[]} */
  get open() {
    return [...this.received.values()].filter(({ answered, method }) => !answered && method !== 'subscriptions/listen');
  }

  get listens() {
    return [...this.received.values()].filter(({ answered, cancelled, method }) => !answered && !cancelled && method === 'subscriptions/listen');
  }

  #hear(/** @type {string} */ line) {
    if (!this.alive) return;
    const message = JSON.parse(line);
    const { id, method, params } = message;
    if (message.jsonrpc !== '2.0') this.#fail(`no JSON-RPC: ${line}`);
    if (line.includes('#')) this.#fail(`the server sees a client's id or token: ${line}`);
    if (method === undefined) return this.#answered(id, line, message);
    if (id === undefined) {
      const request = method === 'notifications/cancelled' ? this.received.get(params.requestId) : undefined;
      if (method === 'notifications/cancelled' && request === undefined) this.#fail(`the server never got what is cancelled: ${line}`);
      if (request !== undefined) request.cancelled = true;
      return;
    }
    if (!Number.isInteger(id) || this.received.has(id)) this.#fail(`not a fresh id: ${line}`);
    const token = params?._meta?.progressToken;
    if (token !== undefined && token !== id) this.#fail(`a progress token that is not the id: ${line}`);
    const spoken = params?._meta?.[`${META}protocolVersion`];
    if (method !== 'server/discover' && method !== 'initialize' && (spoken === MODERN) !== (this.era === 'modern')) this.#fail(`a ${this.era} server is sent ${line}`);
    /** @type {Received} */
    const request = { id, method, params, mark: params?.arguments?.mark, answered: false, cancelled: false, acknowledged: false };
    this.received.set(id, request);
    if (request.mark !== undefined) this.onReceived(request.mark);
    if (request.mark === undefined && this.prompt && method !== 'subscriptions/listen') this.process.clock.after(0, () => void this.answer(request, 'result'));
  }

  #answered(/** @type {unknown} */ id, /** @type {string} */ line, /** @type {any} */ message) {
    const question = this.questions.get(JSON.stringify(id));
    if (question === undefined || question.answers === question.asked) return this.#fail(`an answer that the server did not ask for: ${line}`);
    question.answers++;
    const marks = [...line.matchAll(MARK)].map(String);
    if ('result' in message && !question.reused && !marks.includes(question.marks.at(-1) ?? '')) this.#fail(`the answer to another question, not to ${question.marks.at(-1)}: ${line}`);
  }

  /** Says one line, in pieces now and then. */
  say(/** @type {string | object} */ message) {
    const bytes = Buffer.from(`${typeof message === 'string' ? message : JSON.stringify(message)}${this.#dice.once(5) ? '\r\n' : '\n'}`);
    const cuts = this.#dice.once(4) ? [this.#dice.roll(bytes.length), this.#dice.roll(bytes.length)].sort((a, b) => a - b) : [];
    let from = 0;
    for (const to of [...cuts, bytes.length]) {
      this.process.stdout.emit('data', bytes.subarray(from, to));
      from = to;
    }
  }

  /**
   * Answers a request, whether it did so before or not. `input`: asks for something instead, where its era can.
   * @param {Received} request
   * @param {'result' | 'error' | 'input' | 'url'} how
   */
  answer(request, how) {
    if (request.mark === undefined && request.answered) return; // what is not a client's it answers once
    request.answered = true;
    const nonce = request.mark === undefined ? '' : `n${this.process.pid}.${++this.#nonce}.`;
    const id = request.id;
    const foreign = request.method === (this.era === 'legacy' ? 'server/discover' : 'initialize');
    const value = JSON.stringify(foreign ? { code: -32601, message: 'Method not found' } : how === 'error' || how === 'url' ? this.#error(request, nonce, how) : this.#result(request, nonce, how));
    const member = how === 'error' || how === 'url' || foreign ? 'error' : 'result';
    if (request.mark !== undefined) this.onAnswer(request.mark, nonce);
    this.say(
      this.#dice.of([
        `{"jsonrpc":"2.0","id":${id},"${member}":${value}}`,
        `{"${member}":${value},"jsonrpc":"2.0","id":${id}}`,
        `{"jsonrpc":"2.0","${member}":${value},"id":${id}}`,
        ` { "id" : ${id} , "jsonrpc":"2.0","${member}":${value}}`,
        `[{"jsonrpc":"2.0","id":${id},"${member}":${value}}]`,
      ]),
    );
  }

  #result(/** @type {Received} */ { method, mark, params }, /** @type {string} */ nonce, /** @type {string} */ how) {
    const stamp = this.era === 'modern' ? { resultType: 'complete', ...(this.#dice.once(2) && { ttlMs: 1, cacheScope: 'public' }) } : {};
    switch (method) {
      case 'server/discover':
        return { ...stamp, supportedVersions: [MODERN], capabilities: CAPABILITIES, _meta: { [`${META}serverInfo`]: { name: this.name, version: '1' } } };
      case 'initialize':
        return { protocolVersion: params.protocolVersion, capabilities: CAPABILITIES, serverInfo: { name: this.name, version: '1' } };
      case 'tools/list':
        return { ...stamp, tools: [{ name: 'tool', inputSchema: { type: 'object' }, ...(this.#dice.once(3) && { execution: {} }) }], nonce };
      case 'tools/call':
        if (how === 'input' && this.era === 'modern') {
          const asked = Object.fromEntries(QUESTIONS.slice(0, this.#dice.roll(4)).map((method) => [`k-${method}`, { method, params: questionParams(method, mark ?? '') }]));
          return { resultType: 'input_required', inputRequests: asked, requestState: `state ${mark}` };
        }
        return { ...stamp, content: [{ type: 'text', text: `${mark} ${nonce}` }], ...(this.#dice.once(8) && { pad: BIG }) };
      default:
        return { ...stamp, mark, nonce };
    }
  }

  #error(/** @type {Received} */ { mark }, /** @type {string} */ nonce, /** @type {string} */ how) {
    const elicitations = [{ mode: 'url', url: 'http://x/', message: `${mark}`, elicitationId: 'e' }];
    if (how === 'url') return { code: -32042, message: nonce, data: { elicitations } };
    return { code: this.#dice.of([-32000, -32601, -32602, -32002, -32020, -32021, -32603, 7]), message: `${mark} ${nonce}`, data: { pad: this.#dice.once(8) ? BIG : '' } };
  }

  /** Asks the client of a call something, or nobody in particular. */
  ask(/** @type {string} */ mark) {
    const method = this.#dice.of(QUESTIONS);
    const id = JSON.stringify(this.#dice.of([1, 2, 3, '1', 'ż', 4, 5]));
    const question = this.questions.get(id) ?? { asked: 0, answers: 0, marks: [], reused: false };
    question.reused = question.asked > question.answers;
    question.asked++;
    question.marks.push(mark);
    this.questions.set(id, question);
    this.say(`{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${JSON.stringify(questionParams(method, mark))}}`);
  }

  /** Takes a question back. No answer may be on its way: an id that is free again would get it. */
  withdraw() {
    const open = [...this.questions].filter(([, { asked, answers, reused }]) => asked > answers && !reused);
    const [id, question] = this.#dice.of(open) ?? [];
    if (id === undefined || question === undefined) return;
    this.questions.delete(id);
    this.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${id},"reason":"why not"}}`);
  }

  progress(/** @type {Received} */ { id }) {
    this.say({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: id, progress: ++this.#progress } });
  }

  /** A log line about a call, or about nobody; in the era of `logLevel` only what the call asked for. */
  log(/** @type {Received | undefined} */ about) {
    const level = this.#dice.of(LEVELS);
    const asked = LEVELS.indexOf(about?.params?._meta?.[`${META}logLevel`]);
    if (this.era === 'modern' && (asked === -1 || LEVELS.indexOf(level) < asked)) return;
    this.say({ jsonrpc: '2.0', method: 'notifications/message', params: { level, data: about?.mark ?? 'nobody' } });
  }

  /** To everybody, or in an era with subscriptions to one of them. */
  announce() {
    const method = this.#dice.of(['notifications/tools/list_changed', 'notifications/resources/updated', 'notifications/resources/list_changed']);
    const params = method.endsWith('updated') ? { uri: `${URI}${this.#dice.roll(4)}` } : {};
    if (this.era === 'legacy') return this.say({ jsonrpc: '2.0', method, params });
    const listen = this.#dice.of(this.listens.filter(({ acknowledged }) => acknowledged));
    if (listen !== undefined) this.say({ jsonrpc: '2.0', method, params: { _meta: { [`${META}subscriptionId`]: listen.id }, ...params } });
  }

  /** Takes a listen, or ends it. */
  attend() {
    const listen = this.#dice.of(this.listens);
    if (listen === undefined) return;
    const { id, params } = listen;
    if (!listen.acknowledged || this.#dice.once(3)) {
      listen.acknowledged = true;
      this.say({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: { _meta: { [`${META}subscriptionId`]: id }, notifications: params.notifications } });
    } else if (this.#dice.once(2)) {
      listen.answered = true;
      this.say({ jsonrpc: '2.0', id, result: { resultType: 'complete', _meta: { [`${META}subscriptionId`]: id } } });
    } else {
      listen.answered = true;
      this.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } });
    }
  }

  /** What nobody can make anything of. */
  nonsense() {
    const id = this.#dice.of(['-1', '0', '1e3', '1000000', '"1"', '"ż"', '1.5', 'null']);
    this.say(
      this.#dice.of([
        'Listening on stdio',
        '{"jsonrpc":"2.0"',
        '',
        '[]',
        `{"jsonrpc":"2.0","id":${id},"result":{"to":"nobody"}}`,
        `{"result":{"to":"nobody"},"jsonrpc":"2.0","id":${id}}`,
        `{"jsonrpc":"2.0","id":${id},"result":"${BIG}"}`,
        `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${id},"progress":1}}`,
        `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${this.#dice.of(['-1', '0', '1e9', '"-1"', 'null', '{}'])}}}`,
        `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"${META}subscriptionId":${id}}}}`,
        '\u0000\ufffd',
      ]),
    );
  }
}

function questionParams(/** @type {string} */ method, /** @type {string} */ mark) {
  switch (method) {
    case 'sampling/createMessage':
      return { messages: [{ role: 'user', content: { type: 'text', text: mark } }], maxTokens: 1 };
    case 'elicitation/create':
      return { mode: 'form', message: mark, requestedSchema: { type: 'object', properties: {} } };
    default:
      return { mark };
  }
}
