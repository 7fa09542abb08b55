// HTTP+SSE of 2024-11-05: the open stream is the session. Its first event says where to POST; every answer, request
// and notification comes as a `message` event on it (B.15).

import type { IncomingMessage, ServerResponse } from 'node:http';
import { asProxyError, ProxyError, sessionClosed } from '../base/errors.ts';
import { secretId } from '../base/ids.ts';
import type { World } from '../config/world.ts';
import type { Fleet } from '../relay/fleet.ts';
import type { McpServer } from '../relay/server.ts';
import { oneLine } from '../wire/envelope.ts';
import type { Batch, Malformed, RpcMessage, RpcRequest } from '../wire/jsonrpc.ts';
import { encodeEvent, SseStream } from '../wire/sse.ts';
import { malformedError } from '../protocol/classify.ts';
import { isModern } from '../protocol/revisions.ts';
import { encoded, versionOf } from './answer.ts';
import { CANCELLED, Client, type SessionExchange } from './client.ts';
import { Sessions, type Registered } from './sessions.ts';

export class HttpSseTransport {
  readonly #fleet: Fleet;
  readonly #world: World;
  readonly #sessions: Sessions<Session>;

  constructor(fleet: Fleet, world: World) {
    this.#fleet = fleet;
    this.#world = world;
    this.#sessions = new Sessions(world);
  }

  /** `GET /:server/sse` of an MCP client. `path`: where it posts. */
  stream(name: string, server: McpServer, path: string, res: ServerResponse): void {
    this.#sessions.reserve(name)('used');
    const session: Session = new Session(name, server, res, this.#fleet, this.#world, () => this.#sessions.end(session, sessionClosed()));
    this.#sessions.add(session);
    // A path without an origin is right behind every reverse proxy, and the same origin by construction.
    session.write('endpoint', Buffer.from(`${path}?sessionId=${session.id}`));
    server.wake();
  }

  /** `POST /:server/message?sessionId=`: always 202, the answer is an event. */
  post(name: string, id: string, body: RpcMessage | Batch | Malformed, req: IncomingMessage, res: ServerResponse): void {
    this.#fleet.get(name);
    const session = this.#sessions.get(id, name);
    if (isModern(versionOf(req))) throw new ProxyError('bad_version', 'Unsupported protocol version on this path');
    if (body.kind === 'malformed') throw malformedError(body);
    if (body.kind === 'batch') throw new ProxyError('invalid_request', 'Invalid Request: this transport has no batches');
    res.writeHead(202, { 'content-type': 'text/plain', 'content-length': 8 }).end('Accepted');
    session.take(body);
  }
}

class Session implements Registered {
  readonly id = secretId();
  readonly serverName: string;
  readonly busy = true; // it is its stream
  readonly usedAt = 0;
  readonly #stream: SseStream;
  readonly #fleet: Fleet;
  readonly #join: (server: McpServer) => Client;
  #client: Client;

  constructor(serverName: string, server: McpServer, res: ServerResponse, fleet: Fleet, world: World, onEnd: () => void) {
    this.serverName = serverName;
    this.#fleet = fleet;
    this.#stream = new SseStream(res, world, onEnd);
    this.#join = (server) =>
      new Client(server, world, {
        carrier: () => (message) => this.write('message', message),
        hear: (_, frame) => this.#stream.write(frame),
        open: () => true,
        onServerEnd: onEnd,
      });
    this.#client = this.#join(server);
  }

  /** From its first `initialize` on, a session may have a process of its own. */
  #isolate(request: RpcRequest): void {
    const server = this.#fleet.forSession(this.serverName, request);
    if (server === this.#client.server) return;
    this.#client.close(sessionClosed());
    this.#fleet.release(this.serverName, this.#client.server);
    this.#client = this.#join(server);
  }

  write(event: string, message: Buffer): void {
    this.#stream.write(encodeEvent(event, oneLine(message)));
  }

  take(message: RpcMessage): void {
    if (message.kind !== 'request') return this.#client.take(message);
    const { id, idText } = message;
    if (message.method === 'initialize') {
      try {
        this.#isolate(message);
      } catch (error) {
        this.write('message', encoded(asProxyError(error), idText));
        if (error instanceof ProxyError) return;
        throw error; // a bug, which is logged where all are
      }
      this.#client.declare(message);
    }
    const client = this.#client;
    const exchange: SessionExchange = {
      id: message.method === 'initialize' ? undefined : id,
      idText,
      caller: client,
      streams: true,
      notify: (interim) => this.write('message', interim),
      settle: (answer) => {
        if (client.end(exchange) && answer !== CANCELLED) this.write('message', encoded(answer, idText));
      },
    };
    client.dispatch(exchange, message);
  }

  close(why: ProxyError): void {
    this.#client.close(why);
    this.#fleet.release(this.serverName, this.#client.server);
    this.#stream.end();
  }
}
