// Who wants which log lines of a child: the levels of its clients, what the child itself was told, and whom a line that it
// writes can be for (B.7). The child is told the most verbose level of all; each client is filtered here.

import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import type { Profile } from '../protocol/legacy.ts';
import { levelName, methodNotFound, severityOf } from '../protocol/methods.ts';
import { encodeResult, paramsOf, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import { SIMPLE, type Exchange } from './exchange.ts';
import type { Relay } from './relay.ts';

/** A listener, as far as log lines are concerned. */
interface Hearer {
  readonly holder: object;
}

/** Sends a line to all listeners that `to` picks. */
type Broadcast = (line: RpcNotification, to: (listener: Hearer) => boolean) => void;

const INFO = 1;

export class LogLevels {
  readonly #name: string;
  readonly #world: World;
  readonly #relay: Relay;
  readonly #broadcast: Broadcast;
  /** The severity that each holder has set. */
  readonly #severities = new Map<object, number>();
  /** The most verbose level that a holder ever had: calls sent with it may still be on their way, even when it has gone. */
  readonly #loudest = new WeakMap<object, number>();
  /** What the running child was told. */
  #childSeverity = Infinity;
  /** Of the running child; `undefined` while there is none. */
  #profile: Profile | undefined;

  constructor(name: string, world: World, relay: Relay, broadcast: Broadcast) {
    this.#name = name;
    this.#world = world;
    this.#relay = relay;
    this.#broadcast = broadcast;
  }

  /** The child is lost. */
  down(): void {
    this.#profile = undefined;
  }

  /** A child runs, and is told what its predecessor was. */
  restore(profile: Profile): void {
    this.#childSeverity = Infinity;
    this.#profile = profile;
    for (const severity of this.#severities.values()) this.#tell(severity);
  }

  /** A holder has gone. */
  delete(holder: object): void {
    this.#severities.delete(holder);
  }

  /** `logging/setLevel`. */
  set(exchange: Exchange, request: RpcRequest): void {
    const severity = severityOf(paramsOf(request)['level']);
    if (!('logging' in (this.#profile?.capabilities ?? {}))) return exchange.settle(methodNotFound(request.method));
    if (severity === undefined) return exchange.settle(new ProxyError('invalid_params', 'Invalid params: unknown log level'));
    const { holder } = exchange.caller;
    this.#severities.set(holder, severity);
    this.#loudest.set(holder, Math.min(severity, this.#loudest.get(holder) ?? Infinity));
    this.#tell(severity);
    exchange.settle(encodeResult(exchange.idText, {}));
  }

  /** The name of the level that a holder has set, as a modern child hears it with each request. */
  of(holder: object): string | undefined {
    const severity = this.#severities.get(holder);
    return severity === undefined ? undefined : levelName(severity);
  }

  /** Whether the running child has to be told before a request that wants log lines from this severity on. */
  isQuieter(severity: number | undefined): severity is number {
    const { era, capabilities } = this.#profile ?? { era: 'modern', capabilities: {} };
    return severity !== undefined && era === 'legacy' && 'logging' in capabilities && severity < this.#childSeverity;
  }

  /** Tells the child a level; `then`, once it has answered. */
  tellChild(severity: number, then = (): void => {}): void {
    this.#childSeverity = severity;
    this.#relay.ask('logging/setLevel', { level: levelName(severity) }, then); // refused: the filter still works
  }

  /** A log line names no request: it goes to the one caller it can be about, else to all or to nobody. */
  hear(line: RpcNotification): void {
    const severity = severityOf(paramsOf(line)['level']);
    const modern = this.#profile?.era === 'modern';
    // A modern child writes lines only for calls that asked for them.
    const { callers, blurred } = this.#relay.candidates(modern ? (each) => this.#asksFor(each, severity) : undefined);
    if (modern && callers.size !== 1) return this.#unclaimed();
    const wanting = ({ holder }: Hearer): boolean => this.#wants(holder, severity);
    const [[only, found] = []] = callers;
    if (only !== undefined && callers.size === 1 && !blurred) {
      const exchange = found === 'gone' ? undefined : found;
      if (only.era === 'modern') {
        if (exchange !== undefined && this.#asksFor(exchange, severity)) exchange.notify(line.raw);
        return;
      }
      if (!wanting(only)) return;
      if (exchange?.streams === true) return exchange.notify(line.raw);
      return this.#broadcast(line, ({ holder }) => holder === only.holder);
    }
    if (blurred || [...callers.keys()].some(({ holder }) => holder !== SIMPLE)) return this.#unclaimed();
    this.#broadcast(line, (listener) => wanting(listener) && (callers.size === 0 || listener.holder === SIMPLE));
  }

  #unclaimed(): void {
    this.#world.log.debug(this.#name, 'unclaimed', 'a log line of the server may be about one of several clients');
  }

  /** Whether a call may have asked for log lines of this severity, with itself or for its session. */
  #asksFor({ modern, caller }: Exchange, severity: number | undefined): boolean {
    const least = caller.era === 'modern' ? modern?.logLevel : this.#loudest.get(caller.holder);
    return least !== undefined && (severity === undefined || severity >= least);
  }

  /** Whether a holder's level lets a line through. Without a level it is what the child would send by default. */
  #wants(holder: object, severity: number | undefined): boolean {
    const least = this.#severities.get(holder) ?? (this.#childSeverity < INFO ? INFO : 0);
    return severity === undefined || severity >= least;
  }

  #tell(severity: number): void {
    if (this.isQuieter(severity)) this.tellChild(severity);
  }
}
