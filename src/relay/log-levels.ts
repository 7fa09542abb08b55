// Who wants which log lines of a child: the levels of its clients, what the child itself was told, and whom a line that it
// writes can be for (B.7). The child is told the most verbose level of all; each client is filtered here.

import { ProxyError } from '../base/errors.ts';
import type { Profile } from '../protocol/legacy.ts';
import { levelName, methodNotFound, severityOf } from '../protocol/methods.ts';
import type { Era } from '../protocol/revisions.ts';
import { encodeResult, wordOf, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import { SIMPLE, type Exchange } from './exchange.ts';
import type { Relay } from './relay.ts';

const INFO = 1;

export class LogLevels {
  readonly #relay: Relay;
  /** The severity that each holder has set. */
  readonly #severities = new Map<object, number>();
  /** The most verbose level that a holder ever had: calls sent with it may still be on their way, even when it has gone. */
  readonly #loudest = new WeakMap<object, number>();
  /** What the running child was told. */
  #childSeverity = Infinity;
  /** Of the child that runs, or ran last. */
  #profile: Profile | undefined;

  constructor(relay: Relay) {
    this.#relay = relay;
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
    const severity = severityOf(wordOf(request, 'level'));
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
    return severity !== undefined && this.#profile?.era === 'legacy' && 'logging' in this.#profile.capabilities && severity < this.#childSeverity;
  }

  /** Tells the child a level; `then`, once it has answered. */
  tellChild(severity: number, then = (): void => {}): void {
    const before = this.#childSeverity;
    this.#childSeverity = severity;
    this.#relay.ask('logging/setLevel', { level: levelName(severity) }, (answer) => {
      // Refused by the child, it need not be asked again: the filter still works.
      if (answer instanceof ProxyError && this.#childSeverity === severity) this.#childSeverity = before;
      then();
    });
  }

  /**
   * Whom a log line is for. It names no request, so that is the one call or holder that it can be about, else all or
   * nobody; `undefined`: it may be about one of several. `era`: of the child that wrote it.
   */
  audience(line: RpcNotification, era: Era | undefined): Exchange | ((holder: object) => boolean) | undefined {
    const severity = severityOf(wordOf(line, 'level'));
    // A modern child writes lines only for calls that asked for them.
    const { callers, blurred } = this.#relay.candidates(era === 'modern' ? (each) => this.#asksFor(each, severity) : undefined);
    const [first] = callers;
    if (first !== undefined && callers.size === 1 && !blurred) {
      const [only, found] = first;
      const exchange = found === 'gone' ? undefined : found;
      const wanted = only.era === 'modern' ? exchange !== undefined && this.#asksFor(exchange, severity) : this.#wants(only.holder, severity);
      return wanted && exchange?.streams === true ? exchange : (holder) => wanted && holder === only.holder;
    }
    if (era === 'modern' || blurred || [...callers.keys()].some(({ holder }) => holder !== SIMPLE)) return undefined;
    return (holder) => (callers.size === 0 || holder === SIMPLE) && this.#wants(holder, severity);
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
