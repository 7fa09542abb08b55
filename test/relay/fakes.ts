// A child and its clients in memory: a link that keeps what is written to it, exchanges and
// streams that keep what they get, and a relay between them on a fake clock.

import assert from 'node:assert/strict';
import { ProxyError, type Reason } from '../../src/base/errors.ts';
import type { Link } from '../../src/child/handshake.ts';
import type { LogEntry } from '../../src/base/log.ts';
import { LIMITS, type Limits } from '../../src/config/limits.ts';
import { legacyEdits } from '../../src/protocol/legacy.ts';
import { lonelyCaller, SIMPLE, type Answer, type Caller, type Exchange } from '../../src/relay/exchange.ts';
import { Relay, type Tap } from '../../src/relay/relay.ts';
import type { Listener } from '../../src/relay/subscriptions.ts';
import type { Edit } from '../../src/wire/envelope.ts';
import { addressed, encodeError, joined, readMessage, type RpcMessage, type RpcNotification, type RpcRequest } from '../../src/wire/jsonrpc.ts';
import { noon, testWorld } from '../child/world.ts';

export class FakeLink implements Link {
  /** Every message written, as it was written. */
  readonly lines: string[] = [];
  /** What was said outside the protocol. */
  readonly notes: string[] = [];
  /** Refuses to take anything but what is owed. */
  full = false;
  #lastId: number;

  constructor(firstId = 1) {
    this.#lastId = firstId - 1;
  }

  write(parts: Buffer | readonly Buffer[], owed = false): boolean {
    const message = Buffer.isBuffer(parts) ? parts : Buffer.concat(parts as readonly Buffer[]);
    assert.equal(/[\r\n]/.test(message.toString('latin1')), false, 'a message is one line');
    const taken = owed || !this.full;
    if (taken) this.lines.push(message.toString());
    return taken;
  }

  nextId(): number {
    return ++this.#lastId;
  }

  note(text: Buffer): void {
    this.notes.push(text.toString('latin1'));
  }

  /** Everything written, parsed. */
  get messages(): any[] {
    return this.lines.map((line) => JSON.parse(line));
  }

  /** The last message written, parsed. */
  get last(): any {
    return JSON.parse(this.lines.at(-1)!);
  }
}

/** What came of one request, as its client sees it. */
export class FakeExchange implements Exchange {
  readonly request: RpcRequest;
  readonly caller: Caller;
  readonly streams: boolean;
  /** Every answer, as text or as the reason and message of a fault; one, if all is well. */
  readonly answers: (string | readonly [string, string])[] = [];
  /** In how many parts it came. */
  parts = 0;
  readonly notified: string[] = [];
  /** Both, in order. */
  readonly log: string[] = [];

  constructor(message: string | object, { caller = lonelyCaller(), streams = true }: { caller?: Caller; streams?: boolean } = {}) {
    this.request = message_(message, 'request') as RpcRequest;
    this.caller = caller;
    this.streams = streams;
  }

  get idText(): string {
    return this.request.idText;
  }

  notify(message: Buffer): void {
    this.notified.push(message.toString());
    this.log.push(message.toString());
  }

  settle(answer: Answer): void {
    this.parts = Array.isArray(answer) ? answer.length : 1;
    const said = answer instanceof ProxyError ? ([answer.reason, answer.message] as const) : (Buffer.isBuffer(answer) ? answer : joined(answer)).toString();
    this.answers.push(said);
    this.log.push(`settled ${typeof said === 'string' ? said : said[0]}`);
  }

  /** Its one answer, parsed: a result, or the reason of a fault. */
  get outcome(): unknown {
    assert.ok(this.answers.length < 2, `settled ${this.answers.length} times`);
    const [answer] = this.answers;
    return typeof answer === 'string' ? JSON.parse(answer) : answer?.[0];
  }
}

/** A simple client's stream that keeps its events, each as its name and its data. */
export class Reader implements Listener {
  readonly events: string[] = [];
  ended = 0;

  readonly holder: object = SIMPLE;
  readonly open = true;

  hear(message: Buffer, frame: Buffer): void {
    assert.equal(this.ended, 0, 'nothing comes after the end');
    const [, event, data] = /^event: ([^\r\n]*)\ndata: ([^\r\n]*)\n\n$/.exec(frame.toString())!;
    assert.equal(data, message.toString(), 'the frame holds the message');
    this.events.push(`${event} ${data}`);
  }

  failed(error: string): void {
    assert.equal(this.ended, 0, 'nothing comes after the end');
    this.events.push(`error ${JSON.stringify({ error })}`);
  }

  onServerEnd(): void {
    this.events.push('close {}');
    this.ended++;
  }

  /** Everything since the last look. */
  take(): string[] {
    return this.events.splice(0);
  }
}

/** A request under an id, to be told from others by a number in its params. */
export function call(id: unknown = 1, n: unknown = id, options: ConstructorParameters<typeof FakeExchange>[1] = {}): FakeExchange {
  return new FakeExchange({ jsonrpc: '2.0', id, method: 'tools/call', params: { n } }, options);
}

export function notification(message: string | object): RpcNotification {
  return message_(message, 'notification') as RpcNotification;
}

export function bytes(message: string | object): Buffer {
  return Buffer.from(typeof message === 'string' ? message : JSON.stringify(message));
}

function message_(message: string | object, kind: RpcMessage['kind']): RpcMessage {
  const read = readMessage(bytes(message), LIMITS);
  assert.equal(read.kind, kind, JSON.stringify(read));
  return read as RpcMessage;
}

/** An answer of the proxy, with a message of its own. */
export const fault = (reason: Reason = 'child_exited'): ProxyError => new ProxyError(reason, `because of ${reason}`);

/** A relay on a fake clock, with a child unless it is told otherwise. */
export class TestRelay {
  readonly clock = noon();
  readonly relay: Relay;
  /** What was logged. */
  readonly entries: LogEntry[] = [];
  /** Notifications of the child that are not about one call. */
  readonly notifications: RpcNotification[] = [];
  /** Requests of the child. */
  readonly asked: RpcRequest[] = [];
  /** The child, a new one with each `connect`. */
  link = new FakeLink();
  /** How many requests were pending when the relay last said that this changed. */
  told = 0;
  /** How often the child was wanted, and what is answered to that. */
  wanted = 0;
  refusal: ProxyError | undefined;
  /** Deals with a request instead of forwarding it. */
  deal = (_exchange: Exchange, _request: RpcRequest): 'handled' | 'forward' | Tap => 'forward';

  /** Changes a message of a client on its way to the child. */
  edits = (message: RpcRequest | RpcNotification): Edit[] => legacyEdits(message);

  /** Changes an answer of the child on its way to a client. */
  rewrite = (_method: string, raw: Buffer): Buffer => raw;

  /** Whether answers are not changed at all on their way. */
  goesOn = true;

  constructor({ limits = {}, connected = true }: { limits?: Partial<Limits>; connected?: boolean } = {}) {
    this.relay = new Relay('fs', testWorld(this.clock, { limits, entries: this.entries }), {
      onWanted: () => {
        this.wanted++;
        return this.refusal;
      },
      onRequest: (exchange, request) => this.deal(exchange, request),
      onNotification: (notification) => this.notifications.push(notification),
      onWrite: (message) => this.edits(message),
      goesOn: () => this.goesOn,
      onAnswer: (_, method, raw, id) => [this.rewrite(method, addressed(raw, id))],
      onLost: () => {},
      onChildRequest: (request, link) => {
        this.asked.push(request);
        link.write(encodeError(request.idText, new ProxyError('no_client', 'Nobody is here').toRpc()));
      },
      onPending: () => (this.told = this.relay.pending),
    });
    if (connected) this.connect();
  }

  connect(first = (): void => {}): void {
    this.link = new FakeLink();
    this.relay.connect(this.link, first);
  }

  dispatch(...exchanges: readonly FakeExchange[]): void {
    for (const exchange of exchanges) this.relay.dispatch(exchange, exchange.request);
  }

  /** A line of the child, in so many parts. */
  says(line: string | object | Buffer, parts = 1): void {
    const whole = Buffer.isBuffer(line) ? line : bytes(line);
    const size = Math.ceil(whole.length / parts);
    this.relay.receive(Array.from({ length: parts }, (_, k) => whole.subarray(k * size, (k + 1) * size)));
  }

  /** An answer of the child. */
  answers(id: unknown, result: unknown = { id }): void {
    this.says({ jsonrpc: '2.0', id, result });
  }
}
