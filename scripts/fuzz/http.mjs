// Requests and responses that no socket carries, as far as the proxy looks at them, and the messages that a response brings.
// @ts-check

import { EventEmitter } from 'node:events';

/** One message of a response, and the id of its event. @typedef {{ text: string, event: string, eventId: string | undefined }} Said */

export class FakeResponse extends EventEmitter {
  status = 0;
  statusCode = 200;
  /** @type {Record<string, string>} */
  headers = {};
  headersSent = false;
  writableEnded = false;
  destroyed = false;
  writableLength = 0;
  socket = Object.assign(new EventEmitter(), { bytesWritten: 0 });
  req = { socket: this.socket };
  #text = '';
  #onMessage;
  #fail;

  /** @param {(said: Said) => void} onMessage @param {(what: string) => void} fail */
  constructor(onMessage, fail) {
    super();
    this.#onMessage = onMessage;
    this.#fail = fail;
  }

  /** Nothing more will come. */
  get over() {
    return this.writableEnded || this.destroyed;
  }

  get streams() {
    return this.headers['content-type']?.startsWith('text/event-stream') === true;
  }

  setHeader(/** @type {string} */ name, /** @type {unknown} */ value) {
    if (this.headersSent) this.#fail(`the header ${name} is set when the head has been sent`);
    this.headers[name.toLowerCase()] = String(value);
  }

  /** `headers`: an object, or names and values in turn. */
  writeHead(/** @type {number} */ status, /** @type {Record<string, unknown> | string[]} */ headers = {}) {
    if (this.headersSent) this.#fail(`a second head, ${status} after ${this.status}`);
    if (Array.isArray(headers)) for (let k = 0; k < headers.length; k += 2) this.setHeader(/** @type {string} */ (headers[k]), headers[k + 1]);
    else for (const [name, value] of Object.entries(headers)) this.setHeader(name, value);
    this.status = status;
    this.headersSent = true;
    return this;
  }

  flushHeaders() {}
  writeContinue() {}

  write(/** @type {Buffer | string} */ bytes, /** @type {BufferEncoding} */ encoding = 'utf8') {
    if (!this.headersSent) this.writeHead(200);
    if (this.writableEnded) this.#fail(`written after the end: ${String(bytes).slice(0, 200)}`);
    if (this.destroyed) return true;
    this.#text += Buffer.from(/** @type {string} */ (bytes), encoding).toString();
    if (this.streams) this.#events();
    return true;
  }

  end(/** @type {Buffer | string | undefined} */ bytes, /** @type {BufferEncoding} */ encoding = 'utf8') {
    if (bytes !== undefined) this.write(bytes, encoding);
    if (this.over) return;
    if (!this.headersSent) this.writeHead(this.statusCode);
    this.writableEnded = true;
    if (!this.streams && this.#text.trimStart().startsWith('{')) this.#onMessage({ text: this.#text, event: 'message', eventId: undefined });
    queueMicrotask(() => this.emit('close'));
  }

  /** By either side. */
  destroy() {
    if (this.destroyed) return;
    this.destroyed = true;
    queueMicrotask(() => this.emit('close'));
  }

  #events() {
    const events = this.#text.split('\n\n');
    this.#text = events.pop() ?? '';
    for (const event of events) {
      const field = (/** @type {string} */ name) => new RegExp(`^${name}: ?(.*)$`, 'm').exec(event)?.[1];
      const [data, eventId] = [field('data'), field('id')];
      if (data !== undefined) this.#onMessage({ text: data, event: field('event') ?? 'message', eventId });
    }
  }
}

/** Sends a request to a proxy. */
export function send(/** @type {any} */ proxy, /** @type {string} */ method, /** @type {string} */ url, /** @type {Record<string, string | undefined>} */ given, /** @type {string | undefined} */ body, /** @type {FakeResponse} */ res) {
  const all = { host: 'localhost', ...(body !== undefined && { 'content-type': 'application/json' }), ...given };
  const headers = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const req = Object.assign(new EventEmitter(), { method, url, headers, rawHeaders: Object.entries(headers).flat(), socket: { remoteAddress: '127.0.0.1' }, complete: false, resume() {}, destroy: () => res.destroy() });
  proxy.listener(req, res);
  if (body !== undefined) req.emit('data', Buffer.from(body));
  req.complete = true;
  req.emit('end');
  req.emit('close');
}
