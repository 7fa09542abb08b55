// Streamable HTTP of 2025-03-26, 2025-06-18 and 2025-11-25: sessions, answers as JSON or as a stream, a standalone
// stream for what belongs to no request, and streams that can be resumed (B.11 to B.13).

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Deadline } from '../base/clock.ts';
import { ProxyError, sessionClosed } from '../base/errors.ts';
import { secretId } from '../base/ids.ts';
import type { World } from '../config/world.ts';
import { parseAccept, type Accepts } from '../http/accept.ts';
import { empty, fault, json } from '../http/reply.ts';
import { badVersion } from '../protocol/classify.ts';
import { isModern, legacyRevision, negotiated, type Revision } from '../protocol/revisions.ts';
import { lonelyCaller, type Answer, type Caller } from '../relay/exchange.ts';
import type { Fleet } from '../relay/fleet.ts';
import type { McpServer } from '../relay/server.ts';
import type { Batch, Id, RpcMessage, RpcNotification, RpcRequest, RpcResponse } from '../wire/jsonrpc.ts';
import { SseStream } from '../wire/sse.ts';
import { acceptable, answerBatch, answered, encoded, streamed, versionOf } from './answer.ts';
import { CANCELLED, Client, type SessionExchange } from './client.ts';
import { Sessions, type Registered } from './sessions.ts';
import { LogicalStream, parseEventId, StreamLog } from './stream-log.ts';

export class StreamableHttpTransport {
  readonly #fleet: Fleet;
  readonly #world: World;
  readonly #sessions: Sessions<Session>;
  #lastStream = 0;

  constructor(fleet: Fleet, world: World) {
    this.#fleet = fleet;
    this.#world = world;
    this.#sessions = new Sessions(world);
  }

  /** `initialize`: answered for the child, and opens a session. */
  initialize(name: string, request: RpcRequest, req: IncomingMessage, res: ServerResponse): void {
    this.#fleet.get(name);
    const accepts = acceptable(req);
    const server = this.#fleet.forSession(name, request);
    const giveBack = this.#sessions.reserve(name, () => this.#fleet.release(name, server));
    const { idText } = request;
    const settle = (answer: Buffer | ProxyError): void => {
      if (answer instanceof ProxyError) {
        giveBack('unused');
        return fault(res, answer, idText);
      }
      if (!giveBack('used')) return; // the client has left
      // What runs is not what it came for. What is thrown then becomes its answer, as it does for every request.
      if (!this.#fleet.takesSession(name, server)) return this.initialize(name, request, req, res);
      const session = this.#open(name, server, request, answer);
      if (accepts.json) return json(res, 200, answer, ['mcp-session-id', session.id]);
      res.setHeader('mcp-session-id', session.id);
      streamed(res, this.#world, [answer]);
    };
    const exchange = { idText, caller: lonelyCaller(), streams: false, notify() {}, settle };
    res.once('close', () => {
      if (giveBack('unused')) server.cancel(exchange, 'the client disconnected');
    });
    server.dispatch(exchange, request);
  }

  /** A POST that names a session. */
  post(name: string, id: string, body: RpcMessage | Batch, req: IncomingMessage, res: ServerResponse): void {
    this.#fleet.get(name);
    const session = this.#session(name, id, req);
    session.used();
    if (body.kind === 'batch') return session.batch(body, req, res);
    if (body.kind === 'request') return session.dispatch(new PostExchange(body, session, acceptable(req), res), body);
    session.take(body);
    empty(res, 202);
  }

  /** `GET /:server/mcp`: the standalone stream, or the rest of a broken one. */
  stream(name: string, req: IncomingMessage, res: ServerResponse): void {
    this.#fleet.get(name);
    const session = this.#addressed(name, req, res);
    if (!parseAccept(req.headers.accept).stream) throw new ProxyError('not_acceptable', 'Not Acceptable: this stream is text/event-stream');
    session.attach(req.headers['last-event-id']?.toString(), res);
  }

  /** `DELETE /:server/mcp`: the client ends its session. */
  delete(name: string, req: IncomingMessage, res: ServerResponse): void {
    this.#fleet.get(name);
    const session = this.#addressed(name, req, res);
    this.#sessions.end(session, sessionClosed());
    empty(res, 204);
  }

  #open(name: string, server: McpServer, request: RpcRequest, answer: Buffer): Session {
    const { result } = JSON.parse(answer.toString()) as { result: { protocolVersion?: unknown } };
    const revision = negotiated(result.protocolVersion);
    const session: Session = new Session(name, server, revision, this.#world, {
      streamId: () => (++this.#lastStream).toString(36),
      onServerEnd: () => this.#sessions.end(session, sessionClosed()),
      onClose: () => this.#fleet.release(name, server),
    });
    session.client.declare(request);
    this.#sessions.add(session);
    return session;
  }

  /** @throws ProxyError `session_not_found`, `bad_version` */
  #session(name: string, id: string, req: IncomingMessage): Session {
    const session = this.#sessions.get(id, name);
    const version = versionOf(req);
    if (version !== undefined && legacyRevision(version) === undefined) throw badVersion(version);
    return session;
  }

  /** The session of a GET or DELETE; a client that can have none is told which methods are left for it. */
  #addressed(name: string, req: IncomingMessage, res: ServerResponse): Session {
    const id = req.headers['mcp-session-id']?.toString();
    const modern = isModern(versionOf(req));
    if (id !== undefined && !modern) return this.#session(name, id, req);
    if (req.method === 'DELETE' && !modern) throw new ProxyError('session_required', 'Mcp-Session-Id required');
    res.setHeader('allow', modern ? 'POST' : 'POST, DELETE');
    throw new ProxyError('method_not_allowed', 'Method not allowed: a stream belongs to a session, and this request names none');
  }
}

interface SessionHooks {
  streamId(): string;
  onClose(): void;
  onServerEnd(): void;
}

/** One session: its streams, and its requests in flight. */
class Session implements Registered {
  readonly id = secretId();
  readonly serverName: string;
  readonly client: Client;
  readonly world: World;
  readonly revision: Revision;
  usedAt: number;
  readonly #hooks: SessionHooks;
  readonly #log: StreamLog;
  /** The standalone one and those of POSTs, by id; those that are complete in the order in which they became so. */
  readonly #streams = new Map<string, LogicalStream>();
  #finished = 0; // of them are complete
  readonly #standalone: LogicalStream;
  #connections = 0;

  constructor(serverName: string, server: McpServer, revision: Revision, world: World, hooks: SessionHooks) {
    this.serverName = serverName;
    this.world = world;
    this.revision = revision;
    this.usedAt = world.clock.now();
    this.#hooks = hooks;
    this.#log = new StreamLog(world.limits);
    this.#standalone = this.newStream(true);
    this.client = new Client(server, world, {
      carrier: () => {
        const newest = this.client.exchanges.findLast((exchange) => exchange.streams);
        if (newest !== undefined) return (message) => newest.notify(message);
        return this.#standalone.reads ? (message) => this.tell(message) : undefined;
      },
      hear: (message) => {
        const repeated = message.includes('/list_changed"') && this.#standalone.waiting(message);
        if (!repeated) this.tell(message);
      },
      open: () => this.#connections > 0,
      onServerEnd: hooks.onServerEnd,
    });
  }

  get busy(): boolean {
    return this.#connections > 0 || this.client.exchanges.length > 0;
  }

  used(): void {
    this.usedAt = this.world.clock.now();
  }

  /** Takes what needs no answer. @throws ProxyError `busy` */
  take(message: RpcNotification | RpcResponse): void {
    if (message.kind === 'notification' && message.method === 'notifications/initialized') this.#initialized();
    this.client.take(message);
  }

  /** Sends a request on its way. */
  dispatch(exchange: SessionExchange, request: RpcRequest): void {
    if (request.method !== 'ping') this.#initialized();
    this.client.dispatch(exchange, request);
  }

  batch(batch: Batch, req: IncomingMessage, res: ServerResponse): void {
    if (!this.revision.batches) throw new ProxyError('invalid_request', 'Invalid Request: this revision has no batches');
    for (const message of batch.messages) if (message.kind === 'response') this.take(message);
    const messages = batch.messages.filter(({ kind }) => kind !== 'response');
    for (const [request, answer] of answerBatch(messages, 202, (notification) => this.take(notification), req, res, this.world)) {
      const { id, idText } = request;
      const settle = (got: Answer): void => {
        if (this.end(exchange)) answer(got);
      };
      const exchange: SessionExchange = { id, idText, caller: this.client, streams: false, notify() {}, settle };
      this.dispatch(exchange, request);
    }
  }

  /** Says what belongs to no request, or to none that is still open. */
  tell(message: Buffer): void {
    this.#standalone.write(message);
  }

  /** A request is over. `false`: that was so before. */
  end(exchange: SessionExchange): boolean {
    this.used();
    return this.client.end(exchange);
  }

  /** Connects a GET to a stream of this session. */
  attach(lastEventId: string | undefined, res: ServerResponse): void {
    const from = lastEventId === undefined ? undefined : parseEventId(lastEventId);
    const known = from && this.#streams.get(from.stream);
    if (known?.complete === true && !known.hasAfter(from?.seq ?? 0)) {
      res.setHeader('allow', 'POST, DELETE');
      throw new ProxyError('method_not_allowed', 'Method not allowed: this stream is complete');
    }
    this.connect(known ?? this.#standalone, res, known && from?.seq);
    this.client.server.wake();
    this.client.retry();
  }

  newStream(held = false): LogicalStream {
    const stream = new LogicalStream(this.#hooks.streamId(), this.#log, this.revision.primes ? this.world.limits.retryMs : undefined, held);
    this.#streams.set(stream.id, stream);
    return stream;
  }

  connect(stream: LogicalStream, res: ServerResponse, seq?: number): void {
    this.#connections++;
    const connection: SseStream = new SseStream(res, this.world, () => {
      this.#connections--;
      this.used();
      this.client.server.streamEnded();
      stream.detach(connection);
    });
    stream.attach(connection, seq);
  }

  /** The last message of a POST stream was sent; it can be resumed for a while, unless as many are newer as there are events kept. */
  finish(stream: LogicalStream): void {
    const { deadlines, limits } = this.world;
    stream.end();
    stream.expiry = deadlines.add(limits.finishedStreamMs, () => this.#forget(stream));
    this.#streams.delete(stream.id);
    this.#streams.set(stream.id, stream);
    if (++this.#finished <= limits.logEvents) return;
    for (const oldest of this.#streams.values()) if (oldest.complete) return this.#forget(oldest);
  }

  close(why: ProxyError): void {
    this.client.close(why);
    for (const stream of this.#streams.values()) {
      stream.expiry?.cancel();
      stream.end();
    }
    this.#hooks.onClose();
  }

  #forget(stream: LogicalStream): void {
    stream.expiry?.cancel();
    this.#finished--;
    this.#streams.delete(stream.id);
    this.#log.forget(stream);
  }

  /** The client is ready for what belongs to no request. */
  #initialized(): void {
    this.#standalone.release();
    this.client.retry();
  }
}

/** One request of a session: JSON while nothing has to be said before the answer, then a stream. */
class PostExchange implements SessionExchange {
  readonly id: Id;
  readonly idText: string;
  readonly caller: Caller;
  readonly #session: Session;
  readonly #accepts: Accepts;
  readonly #res: ServerResponse;
  readonly #upgrade: Deadline | undefined;
  #stream: LogicalStream | undefined;

  constructor({ id, idText }: RpcRequest, session: Session, accepts: Accepts, res: ServerResponse) {
    this.id = id;
    this.idText = idText;
    this.caller = session.client;
    this.#session = session;
    this.#accepts = accepts;
    this.#res = res;
    const { deadlines, limits } = session.world;
    if (!accepts.sse) return;
    this.#upgrade = deadlines.add(limits.sseAfterMs, () => {
      if (this.streams) this.#streaming(); // a client that has left would not know the stream by its id
    });
  }

  get streams(): boolean {
    return this.#accepts.sse && (this.#stream !== undefined || !this.#res.destroyed);
  }

  notify(message: Buffer): void {
    if (this.#stream?.complete === true) this.#session.tell(message); // a question outlived its call, and is taken back now
    else if (this.streams) this.#streaming().write(message);
  }

  settle(answer: Answer): void {
    this.#upgrade?.cancel();
    if (!this.#session.end(this)) return;
    if (this.#stream === undefined) {
      if (answer === CANCELLED && this.#accepts.sse) return new SseStream(this.#res, this.#session.world).end();
      if (answered(this.#res, this.#accepts, answer, this.idText)) return;
    }
    const stream = this.#streaming();
    if (answer !== CANCELLED) stream.write(encoded(answer, this.idText));
    this.#session.finish(stream);
  }

  #streaming(): LogicalStream {
    if (this.#stream === undefined) {
      this.#stream = this.#session.newStream();
      this.#session.connect(this.#stream, this.#res);
    }
    return this.#stream;
  }
}
