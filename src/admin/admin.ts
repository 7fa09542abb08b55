// The operator's door: health, configuration, restart, and the status of every server.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Timer } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import { parseConfigText } from '../config/file.ts';
import type { ConfigStore } from '../config/store.ts';
import type { World } from '../config/world.ts';
import { parseAccept } from '../http/accept.ts';
import { readJsonBody } from '../http/body.ts';
import { empty, json } from '../http/reply.ts';
import type { Fleet } from '../relay/fleet.ts';
import { encodeEvent, SseStream } from '../wire/sse.ts';

const HEALTHY = Buffer.from('{"status":"ok"}');
/** The state of a server that is not configured, or not any more. */
const GONE = 'null';

/** `GET /health`: the proxy serves; what its servers do is not its health. */
export function health(res: ServerResponse): void {
  json(res, 200, HEALTHY);
}

/** `POST /api/config`: replaces the whole set of servers. @throws ProxyError */
export async function configure(store: ConfigStore, world: World, req: IncomingMessage, res: ServerResponse): Promise<void> {
  if (req.headers['content-type'] === undefined) {
    // A page of another site can send a body without a type and without asking, but not one of this type.
    throw new ProxyError('media_type', 'Unsupported media type: expected Content-Type: application/json');
  }
  const text = parseConfigText(await readJsonBody(req, res, world));
  if ('problem' in text) throw new ProxyError('parse_error', `Parse error: ${text.problem}`);
  json(res, 200, Buffer.from(JSON.stringify(await store.replace(text.json))));
}

/** `POST /api/servers/:server/restart`. @throws ProxyError `unknown_server` */
export function restart(fleet: Fleet, name: string, req: IncomingMessage, res: ServerResponse): void {
  fleet.restart(name);
  req.resume();
  empty(res, 202);
}

/**
 * `GET /api/servers`: the state of every server, then what changes. Status and errors are written in the turn in which
 * they change, so that none is skipped; counters alone are collected, because at thousands of calls a second they would
 * cost more than the calls. Without readers nothing is computed.
 */
export class StatusFeed {
  readonly #fleet: Fleet;
  readonly #world: World;
  readonly #readers = new Set<SseStream>();
  /** What the readers know of each server, as JSON. */
  readonly #told = new Map<string, string>();
  readonly #changed = new Set<string>();
  #timer: Timer | undefined;

  constructor(fleet: Fleet, world: World) {
    this.#fleet = fleet;
    this.#world = world;
  }

  /** Opens a stream, or answers with one object a client that asks for JSON and not for a stream. @throws ProxyError `busy` */
  answer(req: IncomingMessage, res: ServerResponse): void {
    const named = /application\/json/i.test(req.headers.accept ?? '');
    const takes = parseAccept(req.headers.accept);
    if (named && takes.json && !takes.sse) return json(res, 200, Buffer.from(this.#snapshot()));
    const { limits } = this.#world;
    if (this.#readers.size >= limits.maxStatusReaders) {
      throw new ProxyError('busy', `Too many readers of the status: at most ${limits.maxStatusReaders}`);
    }
    this.#flush(); // what is collected concerns those who were here before
    if (this.#readers.size === 0) for (const name of this.#fleet.names()) this.#told.set(name, this.#json(name));
    const stream: SseStream = new SseStream(res, this.#world, () => this.#left(stream));
    stream.write(encodeEvent('status', this.#snapshot()));
    if (stream.open) this.#readers.add(stream);
  }

  /** A server changed; `urgent` unless only its counters did. */
  changed(name: string, urgent: boolean): void {
    if (this.#readers.size === 0) return;
    this.#changed.add(name);
    if (urgent) this.#flush();
    else this.#timer ??= this.#world.clock.after(this.#world.limits.statusCollectMs, () => this.#flush());
  }

  /** Ends every stream. */
  close(): void {
    this.#flush();
    for (const reader of [...this.#readers]) reader.end();
  }

  /** Every configured server by name, in config order, as one JSON object. */
  #snapshot(): string {
    const members = this.#fleet.names().map((name) => `${JSON.stringify(name)}:${this.#json(name)}`);
    return `{${members.join(',')}}`;
  }

  #left(stream: SseStream): void {
    this.#readers.delete(stream);
    if (this.#readers.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#told.clear();
    this.#changed.clear();
  }

  #flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const members: string[] = [];
    for (const name of this.#changed) {
      const now = this.#json(name);
      if ((this.#told.get(name) ?? GONE) === now) continue;
      if (now === GONE) this.#told.delete(name);
      else this.#told.set(name, now);
      members.push(`${JSON.stringify(name)}:${now}`);
    }
    this.#changed.clear();
    if (members.length === 0) return;
    const frame = encodeEvent('delta', `{${members.join(',')}}`);
    for (const reader of [...this.#readers]) reader.write(frame);
  }

  #json(name: string): string {
    const status = this.#fleet.statusOf(name);
    return status === undefined ? GONE : JSON.stringify(status);
  }
}
