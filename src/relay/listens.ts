// The `subscriptions/listen` streams of modern clients (2026-07-28, patterns/subscriptions). At a modern child each is
// one of the child's own; for a legacy child they are made of what it sends to everybody. They outlive the process:
// its successor is asked for the same, and the client notices nothing.

import type { Deadline } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import { envelopeEdits } from '../protocol/bridge.ts';
import type { Profile } from '../protocol/legacy.ts';
import { ACKNOWLEDGED, declares, LIST_CHANGED, listChangedFilter, META, UPDATED } from '../protocol/methods.ts';
import { modernFault } from '../protocol/modern.ts';
import type { Era } from '../protocol/revisions.ts';
import { latin1 } from '../protocol/text.ts';
import { splice } from '../wire/envelope.ts';
import { encodeCall, encodeResult, paramsOf, readMessage, withId, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import type { Exchange } from './exchange.ts';
import type { Relay } from './relay.ts';
import type { Listener, Subscriptions } from './subscriptions.ts';

interface Listen {
  readonly exchange: Exchange;
  readonly request: RpcRequest;
  /** Whether the client has been told what it gets; before, it gets nothing. */
  acked: boolean;
  /** Of the process that it is attached to. */
  era: Era;
  /** Takes it off the process that runs now. */
  detach(): void;
}

export class Listens {
  readonly #name: string;
  readonly #world: World;
  readonly #relay: Relay;
  readonly #subscriptions: Subscriptions;
  readonly #listens = new Map<Exchange, Listen>();

  constructor(name: string, world: World, relay: Relay, subscriptions: Subscriptions) {
    this.#name = name;
    this.#world = world;
    this.#relay = relay;
    this.#subscriptions = subscriptions;
  }

  /** Whether any is open: they keep the server awake. */
  get awake(): boolean {
    return this.#listens.size > 0;
  }

  /** Opens one at the running child. Its exchange is settled at its end; with a result, if that is in order. */
  open(exchange: Exchange, request: RpcRequest, profile: Profile): void {
    const { maxListens, maxListenBytes } = this.#world.limits;
    if (request.raw.length > maxListenBytes) {
      return exchange.settle(new ProxyError('invalid_params', `Invalid params: ${request.method} may have ${maxListenBytes} bytes`, { status: 400 }));
    }
    if (this.#listens.size >= maxListens) {
      return exchange.settle(new ProxyError('busy', `Server "${this.#name}" is busy: ${maxListens} clients listen`));
    }
    const listen: Listen = { exchange, request, acked: false, era: profile.era, detach() {} };
    this.#listens.set(exchange, listen);
    this.#attach(listen, profile);
  }

  /** The client has left. `false`: this is no listen. */
  cancel(exchange: Exchange): boolean {
    const listen = this.#listens.get(exchange);
    this.#listens.delete(exchange);
    listen?.detach();
    return listen !== undefined;
  }

  /** Another process runs: every client that listens goes on listening. `changed` are the notifications that all have now. */
  restore(profile: Profile, changed: readonly string[]): void {
    for (const listen of this.#listens.values()) {
      const told = listen.era === 'legacy'; // by the subscriptions, as everyone
      if (told && listen.acked && profile.era === 'legacy') continue; // they have seen to all of it
      listen.detach();
      this.#attach(listen, profile);
      if (told) continue;
      const wanted = filterOf(listen);
      for (const [capability, method] of Object.entries(LIST_CHANGED)) {
        if (listen.acked && changed.includes(method) && wanted[listChangedFilter(capability)] === true) {
          listen.exchange.notify(this.#tagged(encodeCall(method, undefined), listen.exchange.idText));
        }
      }
    }
  }

  /** The server has failed for good: the streams end without a result, so that clients may try again. */
  fail(why: ProxyError): void {
    for (const listen of [...this.#listens.values()]) this.#end(listen, why);
  }

  /** The server is stopped: every stream ends with its result. */
  close(): void {
    for (const listen of [...this.#listens.values()]) this.#end(listen);
  }

  /** Its end: with this answer, else with its result. */
  #end({ exchange }: Listen, answer?: Buffer | ProxyError, status?: number): void {
    if (!this.cancel(exchange)) return;
    const result = `{"resultType":"complete","_meta":{"${META.subscriptionId}":${exchange.idText}}}`;
    exchange.settle(answer ?? encodeResult(exchange.idText, Buffer.from(result, 'latin1')), status);
  }

  #attach(listen: Listen, profile: Profile): void {
    listen.era = profile.era;
    if (profile.era === 'legacy') return this.#attachToLegacy(listen, profile);
    const { exchange } = listen;
    listen.detach = this.#relay.listen(listen.request, exchange.caller, {
      heard: ({ method, raw }, tag) => {
        if (method === ACKNOWLEDGED && listen.acked) return;
        listen.acked = true;
        exchange.notify(splice(raw, [{ at: tag.at, end: tag.end, text: exchange.idText }]));
      },
      ended: (answer) => {
        if (answer instanceof ProxyError) return this.#end(listen, answer);
        const fault = answer === undefined || listen.acked ? undefined : modernFault(withId(answer.raw, exchange.idText), profile.era, listen.request.method);
        if (fault?.is !== 'error') return this.#end(listen);
        if (fault.status === 404) return this.#acknowledge(listen, {}); // it has nothing to tell
        this.#end(listen, fault.answer, fault.status);
      },
    });
  }

  #acknowledge(listen: Listen, honoured: object): void {
    const { exchange } = listen;
    listen.acked = true;
    const params = `{"_meta":{"${META.subscriptionId}":${exchange.idText}},"notifications":${latin1(JSON.stringify(honoured))}}`;
    exchange.notify(Buffer.from(`{"jsonrpc":"2.0","method":"${ACKNOWLEDGED}","params":${params}}`, 'latin1'));
  }

  /** What the child declares of what was asked for; the resources that it watches are known when it has said so. */
  #attachToLegacy(listen: Listen, { capabilities }: Profile): void {
    const { exchange } = listen;
    const wanted = filterOf(listen);
    const lists = Object.keys(LIST_CHANGED).filter((name) => wanted[listChangedFilter(name)] === true && declares(capabilities, name, 'listChanged'));
    const { ackWaitMs, maxSubscriptions } = this.#world.limits;
    const { resourceSubscriptions: asked = [] } = wanted as { resourceSubscriptions?: string[] };
    // The server watches no more of them, whoever asks.
    const uris = declares(capabilities, 'resources', 'subscribe') ? [...new Set(asked)].slice(0, maxSubscriptions) : [];
    const listener: Listener = {
      holder: exchange.caller.holder,
      caller: exchange.caller,
      only: new Set([...lists.map((name) => LIST_CHANGED[name] as string), ...(uris.length > 0 ? [UPDATED] : [])]),
      open: true,
      hear: (message) => {
        if (listen.acked) exchange.notify(this.#tagged(message, exchange.idText));
      },
    };
    let attached = true;
    let deadline: Deadline | undefined;
    this.#subscriptions.add(listener);
    listen.detach = () => {
      attached = false;
      deadline?.cancel();
      this.#subscriptions.delete(listener);
    };
    const { acked } = listen; // to another process
    const taken: string[] = [];
    let left = uris.length;
    const acknowledge = (): void => {
      if (listen.acked || !attached) return;
      deadline?.cancel();
      this.#acknowledge(listen, { ...Object.fromEntries(lists.map((name) => [listChangedFilter(name), true])), ...(taken.length > 0 && { resourceSubscriptions: taken }) });
    };
    if (left === 0) return acknowledge();
    deadline = this.#world.deadlines.add(ackWaitMs, acknowledge);
    for (const uri of uris) {
      this.#subscriptions.hold(uri, exchange.caller, { uri }, (_, watches) => {
        if (!this.#relay.connected) return false; // lost: its successor is asked for all of it
        const isTaken = attached && listen.acked === acked && watches;
        if (isTaken) taken.push(uri);
        if (--left === 0) acknowledge();
        return isTaken;
      });
    }
  }

  /** A notification with the id of the subscription that it is sent for. */
  #tagged(message: Buffer, idText: string): Buffer {
    const notification = readMessage(message, this.#world.limits) as RpcNotification;
    return splice(message, envelopeEdits(notification, `"${META.subscriptionId}":${idText}`));
  }
}

/** What the client asked for; its transport has seen to it that this is a filter. */
function filterOf({ request }: Listen): Readonly<Record<string, unknown>> {
  return paramsOf(request)['notifications'] as Record<string, unknown>;
}
