// The operator's door: health, status, configuration, restart.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { ProxyError } from '../base/errors.ts';
import { parseConfigText } from '../config/file.ts';
import type { ConfigStore } from '../config/store.ts';
import type { World } from '../config/world.ts';
import { parseAccept } from '../http/accept.ts';
import { readJsonBody } from '../http/body.ts';
import type { Guard } from '../http/guard.ts';
import { empty, json } from '../http/reply.ts';
import type { Fleet } from '../relay/fleet.ts';
import type { StatusFeed } from './status.ts';

export interface AdminOptions {
  readonly guard: Guard;
  readonly fleet: Fleet;
  readonly store: ConfigStore;
  readonly status: StatusFeed;
  readonly world: World;
}

const HEALTHY = Buffer.from('{"status":"ok"}');

export class Admin {
  readonly #options: AdminOptions;

  constructor(options: AdminOptions) {
    this.#options = options;
  }

  /** `GET /health`: the proxy serves; what its servers do is not its health. */
  health(res: ServerResponse): void {
    json(res, 200, HEALTHY);
  }

  /** `GET /api/servers`: a stream, or one object for a client that asks for JSON and not for a stream. */
  servers(req: IncomingMessage, res: ServerResponse): void {
    const named = /application\/json/i.test(req.headers.accept ?? '');
    const { json: takesJson, sse } = parseAccept(req.headers.accept);
    if (named && takesJson && !sse) json(res, 200, Buffer.from(this.#options.status.snapshot()));
    else this.#options.status.open(res);
  }

  /** `POST /api/config`: replaces the whole set of servers. */
  async configure(req: IncomingMessage, res: ServerResponse): Promise<void> {
    this.#options.guard.authorize(req);
    if (req.headers['content-type'] === undefined) {
      // A page of another site can send a body without a type and without asking, but not one of this type.
      throw new ProxyError('media_type', 'Unsupported media type: expected Content-Type: application/json');
    }
    const text = parseConfigText(await readJsonBody(req, res, this.#options.world));
    if ('problem' in text) throw new ProxyError('parse_error', `Parse error: ${text.problem}`);
    json(res, 200, Buffer.from(JSON.stringify(await this.#options.store.replace(text.json))));
  }

  /** `POST /api/servers/:server/restart`. */
  restart(name: string, req: IncomingMessage, res: ServerResponse): void {
    this.#options.guard.authorize(req);
    this.#options.fleet.restart(name);
    req.resume();
    empty(res, 202);
  }
}
