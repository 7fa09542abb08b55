// JSON texts that are odd in every way in which they may be: names, numbers, escapes, white space, depth; and texts that
// are not quite JSON any more.
// @ts-check

/** @typedef {import('./dice.mjs').Dice} Dice */

const META = 'io.modelcontextprotocol/';
const NAMES = [
  ...['jsonrpc', 'id', 'method', 'params', 'result', 'error', '_meta', 'progressToken', 'code', 'message', 'data', 'uri', 'name', 'arguments'],
  ...['resultType', 'inputRequests', 'requestState', 'inputResponses', 'tools', 'outputSchema', 'inputSchema', 'properties', 'type', 'content', 'structuredContent'],
  ...['capabilities', 'extensions', 'serverInfo', 'protocolVersion', 'ttlMs', 'cacheScope', 'execution', 'mode', 'url', 'elicitations', 'x-mcp-header'],
  ...['protocolVersion', 'clientCapabilities', 'logLevel', 'serverInfo', 'subscriptionId'].map((name) => META + name),
  ...['', 'a', '__proto__', 'constructor', 'toString', 'ż', '🦊', '"', '\\', '\u0000', 'mcpServers', 'command', 'args', 'env', 'disabled', 'isolation', 'maxRestarts', 'protocol'],
];
const STRINGS = ['', '2.0', 'initialize', 'tools/call', 'tools/list', 'ping', 'input_required', 'complete', 'url', 'object', 'sampling/createMessage', 'elicitation/create', '2026-07-28', '2025-11-25', 'public', 'null', '1', 'a\nb', '\u2028', '\ud800', '/', '..'];
const NUMBERS = ['0', '-0', '1', '-1', '1.0', '1e2', '1E400', '-32601', '-32042', '-32021', '9007199254740993', '0.1000', '1e-7', '123456789012345', '1234567890123456'];
const SPACES = ['', '', '', '', '', ' ', '\n', '\r\n', '\t', '  '];

export class Texts {
  #dice;

  constructor(/** @type {Dice} */ dice) {
    this.#dice = dice;
  }

  space() {
    return this.#dice.of(SPACES);
  }

  /** A string as JSON text, some of its characters as escapes. */
  string(/** @type {string} */ text) {
    const written = JSON.stringify(text);
    if (written.includes('\\') || !this.#dice.once(8)) return written;
    return written.replace(/[a-z]/g, (c) => (this.#dice.once(3) ? `\\u00${c.charCodeAt(0).toString(16)}` : c));
  }

  name() {
    return this.#dice.of(NAMES);
  }

  /** Any value. @returns {string} */
  value(depth = 3) {
    const dice = this.#dice;
    switch (dice.roll(depth > 0 ? 9 : 6)) {
      case 0:
        return dice.of(['true', 'false', 'null']);
      case 1:
      case 2:
        return dice.of(NUMBERS);
      case 3:
      case 4:
      case 5:
        return this.string(dice.once(3) ? this.name() : dice.of(STRINGS));
      case 6:
        return `[${Array.from({ length: dice.roll(4) }, () => this.space() + this.value(depth - 1) + this.space()).join(',')}${this.space()}]`;
      default:
        return this.object({}, depth - 1);
    }
  }

  /** An object with these members, JSON texts by name, and some more; no name twice, in any order. */
  object(/** @type {Record<string, string>} */ given, depth = 2) {
    const dice = this.#dice;
    const all = new Map(Object.entries(given));
    for (let more = dice.roll(4); more > 0; more--) {
      const name = this.name();
      if (!all.has(name)) all.set(name, this.value(depth));
    }
    const members = [...all].map(([name, text]) => `${this.space()}${this.string(name)}${this.space()}:${this.space()}${text}${this.space()}`);
    if (dice.once(2)) members.reverse();
    return `{${members.join(',')}${this.space()}}`;
  }

  /** Something like a JSON-RPC message. */
  message() {
    const dice = this.#dice;
    /** @type {Record<string, string>} */
    const message = dice.once(20) ? {} : { jsonrpc: '"2.0"' };
    if (!dice.once(4)) message['id'] = dice.once(3) ? this.value(1) : dice.of(['1', '"a"', '"ż"', '0', '7.0', '123']);
    if (dice.once(2)) {
      message['method'] = dice.once(10) ? this.value(1) : this.string(dice.of(STRINGS));
      if (!dice.once(3)) message['params'] = dice.once(10) ? this.value() : this.object(dice.once(2) ? { _meta: this.#meta() } : {});
    } else message[dice.of(['result', 'error'])] = this.value();
    return dice.once(3) ? `{${Object.entries(message).map(([name, text]) => `"${name}":${text}`)}}` : this.object(message, 1);
  }

  /** What a server may answer: a result or an error with what the proxy looks at. */
  answer() {
    const dice = this.#dice;
    const asked = () => this.object({ method: this.string(dice.of(['sampling/createMessage', 'elicitation/create', 'x'])), params: this.object({ mode: '"url"' }) });
    const tool = () => this.object({ name: '"t"', inputSchema: this.object({ type: '"object"', properties: this.object({ a: dice.of(['true', 'false', '{}']) }) }), outputSchema: this.value(), execution: '{}' });
    const value = dice.of([
      () => this.value(),
      () => this.object({ resultType: dice.of(['"input_required"', '"complete"', '7']), inputRequests: this.object({ k: asked(), l: asked() }, 0), requestState: this.value(0) }),
      () => this.object({ tools: `[${[tool(), tool()].slice(dice.roll(3))}]`, _meta: this.#meta() }),
      () => this.object({ content: dice.of(['[]', '[{"type":"text","text":"1"}]', '7']), structuredContent: this.value() }),
      () => this.object({ code: dice.of(NUMBERS), message: '"m"', data: this.object({ elicitations: `[${this.object({ mode: '"url"', url: '"u"', message: '"m"' })}]` }) }),
    ])();
    const member = dice.of(['result', 'result', 'error']);
    const id = dice.of(['1', '41', '123456']);
    return dice.of([`{"jsonrpc":"2.0","id":${id},"${member}":${value}}`, `{"${member}":${value},"jsonrpc":"2.0","id":${id}}`, this.object({ jsonrpc: '"2.0"', id, [member]: value }, 0)]);
  }

  #meta() {
    const dice = this.#dice;
    /** @type {Record<string, string>} */
    const meta = {};
    for (const name of ['protocolVersion', 'clientCapabilities', 'logLevel', 'serverInfo']) {
      if (dice.once(2)) meta[META + name] = dice.once(2) ? this.value(1) : dice.of(['"2026-07-28"', '{}', '"info"']);
    }
    if (dice.once(2)) meta['progressToken'] = this.value(0);
    return this.object(meta, 0);
  }

  /** The bytes of a text, spoilt in one place or more. */
  spoilt(/** @type {string} */ text) {
    const dice = this.#dice;
    let bytes = Buffer.from(text);
    for (let times = 1 + dice.roll(3); times > 0; times--) {
      const at = dice.roll(bytes.length + 1);
      const cut = dice.roll(3);
      const put = Buffer.from(dice.of(['', '"', '{', '}', '[', ']', ',', ':', '\\', '\n', '\u0000', '"id":2,', 'é']));
      bytes = Buffer.concat([bytes.subarray(0, at), dice.once(6) ? Buffer.from([0x80 + dice.roll(128)]) : put, bytes.subarray(at + cut)]);
    }
    return bytes;
  }
}
