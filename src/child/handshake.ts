// The opening of a connection to a child. Which era it speaks is decided here and nowhere else: `server/discover`
// asks for 2026-07-28, and a child that does not know that gets `initialize` (2025-11-25, basic/lifecycle).
//
//    discover --result--> modern        --error, unusable, silence--> initialize --result--> legacy
//                                                                         --error, late discover result--> modern

import type { Clock, Timer } from '../base/clock.ts';
import { readDiscoverResult } from '../protocol/discover.ts';
import { readInitializeResult, type Profile } from '../protocol/legacy.ts';
import type { Era } from '../protocol/revisions.ts';
import { memberOf } from '../wire/envelope.ts';
import { encodeCall, type RpcMessage, type RpcResponse } from '../wire/jsonrpc.ts';

/** What may be written to one live process. */
export interface Link {
  /**
   * Writes one message, whole or in parts. `false`: it reads too slowly and its queue is full; nothing was written. `owed`: an answer or a
   * cancellation, which nobody can send again. It has room of its own, and ends a process that leaves even that unread.
   */
  write(message: Buffer | readonly Buffer[], owed?: boolean): boolean;
  /** A fresh id, unique for the life of the process. */
  nextId(): number;
  /** Adds to the tail of what the process said outside the protocol; only the end of it is kept. */
  note(text: Buffer): void;
}

export interface HandshakeOptions {
  readonly clock: Clock;
  /** The era that is known or wanted; nothing else is tried then. */
  readonly protocol: 'auto' | Era;
  /** The params of `server/discover` and of `initialize`. */
  readonly discover: unknown;
  readonly initialize: unknown;
  /** How long a probe may be unanswered before `initialize` follows it, and before it counts as what blocks the child. */
  readonly probeMs: number;
  readonly wedgedMs: number;
  /** The child may be spoken to. `sure`: it speaks this era only, or prefers it, as far as it has said. */
  onDone(profile: Profile, sure: boolean): void;
  /** What the child did instead, as a predicate. */
  onFailed(why: string): void;
  /** Since the probe the child has said nothing to it and nothing to `initialize`. */
  onWedged(): void;
}

export class Handshake {
  readonly #link: Link;
  readonly #options: HandshakeOptions;
  #discoverId: number | undefined; // until it is answered
  #initializeId: number | undefined;
  #late: Profile | undefined; // it answered the probe after all
  #refusal: string | undefined; // of `initialize`, while the probe may still be answered
  #timer: Timer | undefined;

  /** Starts it. Feed `take` what the child says, and `end` it in any case. */
  constructor(link: Link, options: HandshakeOptions) {
    this.#link = link;
    this.#options = options;
    if (options.protocol === 'legacy') this.#initialize();
    else this.#discoverId = this.#ask('server/discover', options.discover);
    if (!this.probing) return;
    this.#timer = options.clock.after(options.probeMs, () => {
      this.#initialize();
      this.#timer = options.clock.after(options.wedgedMs - options.probeMs, () => options.onWedged());
    });
  }

  /** Whether the child has not answered a probe that it may not have understood. */
  get probing(): boolean {
    return this.#options.protocol === 'auto' && this.#discoverId !== undefined;
  }

  /** Takes what the child says; `true` means that a message was part of the handshake. */
  take(message: RpcMessage): boolean {
    if (message.kind !== 'response') return false;
    if (message.id === this.#discoverId) this.#discovered(message);
    else if (message.id === this.#initializeId) this.#initialized(message);
    else return false;
    return true;
  }

  /** Ends its timer. */
  end(): void {
    this.#timer?.cancel();
  }

  #ask(method: string, params: unknown): number {
    const id = this.#link.nextId();
    this.#link.write(encodeCall(method, params, id));
    return id;
  }

  #initialize(): void {
    try {
      this.#initializeId = this.#ask('initialize', this.#options.initialize);
    } catch {
      // A client of its own may have declared more levels than can be written. Whoever makes this has to know it first.
      queueMicrotask(() => this.#options.onFailed('cannot be initialized: what its client declares is nested too deeply'));
    }
  }

  #discovered(answer: RpcResponse): void {
    this.#timer?.cancel();
    this.#discoverId = undefined;
    const found = readDiscoverResult(answer);
    const profile = typeof found === 'string' ? undefined : found;
    const { protocol, onDone, onFailed } = this.#options;
    if (this.#initializeId !== undefined) {
      // Its outcome decides: the child may have bound itself to it.
      this.#late = profile;
      if (this.#refusal !== undefined) this.#refused(this.#refusal);
    } else if (profile !== undefined) onDone(profile, true);
    else if (found === 'none-in-common') onFailed('has no protocol version in common with the proxy');
    else if (protocol === 'modern') onFailed('answered server/discover with nothing usable');
    else this.#initialize();
  }

  #initialized({ error, result, raw, layout }: RpcResponse): void {
    this.#timer?.cancel();
    const { clock, probeMs, onDone } = this.#options;
    const at = memberOf(layout.top, 'result');
    const profile = error === undefined ? readInitializeResult(result, raw.subarray(at?.at, at?.end)) : refusalOf(error);
    if (typeof profile !== 'string') {
      this.#link.write(encodeCall('notifications/initialized', undefined));
      onDone(profile, !this.probing && this.#late === undefined);
    } else if (this.probing) {
      this.#refusal = profile;
      this.#timer = clock.after(probeMs, () => this.#refused(profile));
    } else this.#refused(profile);
  }

  #refused(why: string): void {
    if (this.#late === undefined) this.#options.onFailed(why);
    else this.#options.onDone(this.#late, true);
  }
}

function refusalOf(error: unknown): string {
  const { code, message } = Object(error) as { code?: unknown; message?: unknown };
  // Anything else in their place may be nested without end.
  return `refused initialize (${typeof code === 'number' ? code : 'no code'}: ${typeof message === 'string' ? message : 'no message'})`;
}
