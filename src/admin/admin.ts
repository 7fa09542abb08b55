// The operator's door: health, configuration, restart. The status has a file of its own.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { ProxyError } from '../base/errors.ts';
import { parseConfigText } from '../config/file.ts';
import type { ConfigStore } from '../config/store.ts';
import type { World } from '../config/world.ts';
import { readJsonBody } from '../http/body.ts';
import { empty, json } from '../http/reply.ts';
import type { Fleet } from '../relay/fleet.ts';

const HEALTHY = Buffer.from('{"status":"ok"}');

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
