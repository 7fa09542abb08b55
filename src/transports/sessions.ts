// The sessions of one transport, server by server: bounded in number and in idle time. An id of one server is
// nothing to another.

import type { Deadline } from '../base/clock.ts';
import { ProxyError, sessionClosed } from '../base/errors.ts';
import type { World } from '../config/world.ts';

/** What the registry needs to know of a session. */
export interface Registered {
  readonly id: string;
  readonly serverName: string;
  /** A request without an answer, or an open stream. */
  readonly busy: boolean;
  /** Monotonic milliseconds of the last message. */
  readonly usedAt: number;
  /** Ends it, whatever is open. */
  close(why: ProxyError): void;
}

export class Sessions<S extends Registered> {
  readonly #world: World;
  readonly #byId = new Map<string, S>();
  /** By server: its sessions, and places for those whose `initialize` is on its way. */
  readonly #taken = new Map<string, number>();
  #sweep: Deadline | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  /**
   * Keeps a place for one more at this server, if need be that of the longest idle one, never that of one in use. The
   * result gives the place back, once: `unused` also does what `onUnused` says. `false`: it has been given back before.
   * @throws ProxyError `session_limit`
   */
  reserve(serverName: string, onUnused = (): void => {}): (as: 'used' | 'unused') => boolean {
    if (this.count(serverName) >= this.#world.limits.maxSessions && !this.#endIdlest(serverName)) {
      onUnused();
      throw new ProxyError('session_limit', 'Too many sessions');
    }
    this.#take(serverName, 1);
    let open = true;
    return (as) => {
      if (!open) return false;
      open = false;
      this.#take(serverName, -1);
      if (as === 'unused') onUnused();
      return true;
    };
  }

  add(session: S): void {
    this.#byId.set(session.id, session);
    this.#take(session.serverName, 1);
    this.#sweep ??= this.#world.deadlines.add(this.#world.limits.sessionTimeoutMs, () => this.#expire());
  }

  /** The session of this id at this server. @throws ProxyError `session_not_found` */
  get(id: string, serverName: string): S {
    const session = this.#byId.get(id);
    if (session?.serverName === serverName) return session;
    throw new ProxyError('session_not_found', 'Session not found');
  }

  /** Ends a session; safe to call twice. */
  end(session: S, why: ProxyError): void {
    if (!this.#byId.delete(session.id)) return;
    this.#take(session.serverName, -1);
    session.close(why);
  }

  /** Sessions at this server, reserved places included. */
  count(serverName: string): number {
    return this.#taken.get(serverName) ?? 0;
  }

  #take(serverName: string, places: 1 | -1): void {
    const taken = this.count(serverName) + places;
    if (taken > 0) this.#taken.set(serverName, taken);
    else this.#taken.delete(serverName);
  }

  /** Makes room. `false`: all are in use. */
  #endIdlest(serverName: string): boolean {
    let idlest: S | undefined;
    for (const session of this.#byId.values()) {
      if (session.serverName !== serverName || session.busy) continue;
      if (idlest === undefined || session.usedAt < idlest.usedAt) idlest = session;
    }
    if (idlest !== undefined) this.end(idlest, sessionClosed());
    return idlest !== undefined;
  }

  #expire(): void {
    const { clock, deadlines, limits } = this.#world;
    const now = clock.now();
    let next = limits.sessionTimeoutMs;
    for (const session of [...this.#byId.values()]) {
      if (session.busy) continue;
      const left = session.usedAt + limits.sessionTimeoutMs - now;
      if (left <= 0) this.end(session, sessionClosed());
      else next = Math.min(next, left);
    }
    this.#sweep = this.#byId.size === 0 ? undefined : deadlines.add(next, () => this.#expire());
  }
}
