// What the proxy listens to at a modern child for its legacy clients, who cannot: such a child says nothing of its own
// accord that it was not asked for (2026-07-28, patterns/subscriptions). For whom, the subscriptions know.

import type { Deadline } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import { ACKNOWLEDGED, LISTEN, META } from '../protocol/methods.ts';
import { without } from '../protocol/text.ts';
import { memberOf, splice, type Span } from '../wire/envelope.ts';
import { encodeCall, isObject, paramsOf, readMessage, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import { HOUSE, type Relay } from './relay.ts';

/** What a child agreed to send; nothing, if it refused. Or why it has not said. */
type Taken = Readonly<Record<string, unknown>> | ProxyError;

interface Listen {
  /** Until it is acknowledged, or opened again. */
  deadline: Deadline | undefined;
  /** Hears the child's first answer; later ones say nothing new. */
  onAnswer: ((taken: Taken) => void) | undefined;
  close(): void;
}

export class Upstream {
  readonly #relay: Relay;
  readonly #world: World;
  readonly #hear: (notification: RpcNotification) => void;
  readonly #listens = new Map<string, Listen>();

  /** `hear`: takes what comes, as if it had been sent to everybody. */
  constructor(relay: Relay, world: World, hear: (notification: RpcNotification) => void) {
    this.#relay = relay;
    this.#world = world;
    this.#hear = hear;
  }

  has(key: string): boolean {
    return this.#listens.has(key);
  }

  /** Listens until `close`: when the child ends it, again, later each time. `onAnswer` is called at most once. */
  open(key: string, notifications: object, onAnswer?: (taken: Taken) => void): void {
    const { clock, deadlines, limits } = this.#world;
    const request = readMessage(encodeCall(LISTEN, { notifications }, 0), limits) as RpcRequest;
    const listen: Listen = { deadline: undefined, onAnswer, close() {} };
    let tries = 0;
    const open = (): void => {
      const since = clock.now();
      listen.close = this.#relay.listen(request, HOUSE, {
        heard: (notification) => {
          if (notification.method !== ACKNOWLEDGED) return this.#hear(untagged(notification, this.#world));
          const { notifications: taken } = paramsOf(notification);
          answer(listen, isObject(taken) ? taken : {});
        },
        ended: (why) => {
          answer(listen, why instanceof ProxyError ? why : {});
          if (this.#listens.get(key) !== listen) return;
          if (clock.now() - since >= limits.healthyMs) tries = 0;
          listen.deadline = deadlines.add(Math.min(limits.listenAgainMs * 2 ** tries++, limits.backoffMaxMs), open);
        },
      });
    };
    this.#listens.set(key, listen);
    listen.deadline = deadlines.add(limits.ackWaitMs, () => answer(listen, new ProxyError('timeout', `The server did not acknowledge it in ${limits.ackWaitMs} ms`)));
    open();
  }

  close(key: string): void {
    const listen = this.#listens.get(key);
    this.#listens.delete(key);
    listen?.deadline?.cancel();
    listen?.close();
  }

  /** The child is lost, and everything with it. */
  down(why: ProxyError): void {
    const all = [...this.#listens.values()];
    this.#listens.clear();
    for (const listen of all) answer(listen, why);
  }
}

function answer(listen: Listen, taken: Taken): void {
  const { onAnswer } = listen;
  listen.deadline?.cancel();
  listen.onAnswer = undefined;
  onAnswer?.(taken);
}

/** A notification as it would be without the subscription that brought it. */
function untagged({ raw, layout }: RpcNotification, { limits }: World): RpcNotification {
  const params = memberOf(layout.top, 'params') as Span;
  const edits = without(raw, params, layout.params, () => false, (name) => name === META.subscriptionId);
  return readMessage(splice(raw, edits), limits) as RpcNotification;
}
