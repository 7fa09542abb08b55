// Streamable HTTP of 2026-07-28: no handshake and no session. Every request says in `_meta` who sends it and in its
// headers what it is, and closing its connection cancels it (B.14).

import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Deadline } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import type { Accepts } from '../http/accept.ts';
import { empty } from '../http/reply.ts';
import { askable, canAnswer, isNotification, LISTEN, methodNotFound, missingCapability } from '../protocol/methods.ts';
import { checkHeaders, checkParamHeaders, type ParamHeader } from '../protocol/mirror.ts';
import { isLegacyOnly, readEnvelope, type Envelope } from '../protocol/modern.ts';
import { lonelyCaller, type Answer, type Caller, type Declared, type Exchange, type ModernRequest } from '../relay/exchange.ts';
import type { Fleet } from '../relay/fleet.ts';
import type { McpServer } from '../relay/server.ts';
import { oneLine } from '../wire/envelope.ts';
import { isObject, paramsOf, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import { encodeEvent, SseStream } from '../wire/sse.ts';
import { acceptable, answered, encoded } from './answer.ts';

export class StatelessHttpTransport {
  readonly #fleet: Fleet;
  readonly #world: World;

  constructor(fleet: Fleet, world: World) {
    this.#fleet = fleet;
    this.#world = world;
  }

  /** A POST of a modern client; the order of the checks is that of R-63. */
  post(name: string, body: RpcRequest | RpcNotification, req: IncomingMessage, res: ServerResponse): void {
    const server = this.#fleet.get(name);
    if (body.kind === 'notification') {
      server.notify(body, { ...lonelyCaller(), era: 'modern' });
      return empty(res, 202);
    }
    const accepts = acceptable(req, NOT_ACCEPTABLE);
    const envelope = readEnvelope(body);
    if (envelope instanceof ProxyError) throw envelope;
    const mismatch = checkHeaders(body, req.headers);
    if (mismatch !== undefined) throw mismatch;
    if (isLegacyOnly(body.method) || isNotification(body.method)) throw methodNotFound(body.method, 404);
    if (body.method === LISTEN) checkListen(body, accepts);

    server.dispatch(new StatelessExchange(server, body, envelope, accepts, req.headers, res, this.#world), body);
  }
}

/** This revision does not use the code that older ones have for it (basic, "Error Codes"). */
const NOT_ACCEPTABLE = { code: -32600 };

/** @throws ProxyError `not_acceptable`, `invalid_params` */
function checkListen(request: RpcRequest, accepts: Accepts): void {
  if (!accepts.sse) throw new ProxyError('not_acceptable', 'Not Acceptable: this method answers text/event-stream', NOT_ACCEPTABLE);
  const { notifications } = paramsOf(request);
  const wrong = (detail: string) => new ProxyError('invalid_params', `Invalid params: ${detail}`, { status: 400 });
  if (!isObject(notifications)) throw wrong('"notifications" must be an object');
  const { resourceSubscriptions: uris = [] } = notifications;
  if (!Array.isArray(uris) || uris.some((uri) => typeof uri !== 'string')) throw wrong('"resourceSubscriptions" must be a list of strings');
}

/** One request, and its own caller: no two requests are known to be one client's. */
class StatelessExchange implements Exchange, Caller, ModernRequest {
  readonly era = 'modern';
  readonly holder = this;
  readonly caller = this;
  readonly modern = this;
  readonly idText: string;
  readonly declared: Declared;
  readonly logLevel: number | undefined;
  readonly #server: McpServer;
  readonly #accepts: Accepts;
  readonly #headers: IncomingHttpHeaders;
  readonly #res: ServerResponse;
  readonly #world: World;
  readonly #isListen: boolean;
  readonly #upgrade: Deadline | undefined;
  #stream: SseStream | undefined;
  #settled = false;

  constructor(server: McpServer, { idText, method }: RpcRequest, envelope: Envelope, accepts: Accepts, headers: IncomingHttpHeaders, res: ServerResponse, world: World) {
    this.idText = idText;
    this.declared = { capabilities: askable(envelope.clientCapabilities) };
    this.logLevel = envelope.logLevel;
    this.#server = server;
    this.#accepts = accepts;
    this.#headers = headers;
    this.#res = res;
    this.#world = world;
    this.#isListen = method === LISTEN;
    // An answer that takes its time is no error any more, so a stream can begin; discovery has only its answer.
    const upgrades = accepts.sse && method !== LISTEN && method !== 'server/discover';
    if (upgrades) this.#upgrade = world.deadlines.add(world.limits.sseAfterMs, () => void this.#streaming());
    res.on('close', () => {
      if (this.#leave()) server.cancel(this, 'the client disconnected');
    });
  }

  get streams(): boolean {
    return this.#accepts.sse;
  }

  notify(message: Buffer): void {
    if (!this.#settled && this.streams) this.#streaming().write(encodeEvent('message', oneLine(message)));
  }

  settle(answer: Answer, status = 200): void {
    if (!this.#leave()) return;
    const began = this.#stream !== undefined;
    if (!began && answered(this.#res, this.#accepts, answer, this.idText, status)) return;
    const stream = this.#streaming();
    // A listen that ends without its result tells the client that it may come back (graceful closure).
    if (!(answer instanceof ProxyError && began && this.#isListen)) stream.write(encodeEvent('message', oneLine(encoded(answer, this.idText))));
    stream.end();
  }

  checkParams(declared: readonly ParamHeader[], request: RpcRequest): ProxyError | undefined {
    return checkParamHeaders(declared, request, this.#headers);
  }

  /** Cannot be asked: a call that can is wrapped by the relay (`parked.ts`). */
  canAsk(): boolean {
    return false;
  }
  ask(): void {}
  withdraw(): void {}

  unable(request: RpcRequest): void {
    const params = paramsOf(request);
    if (this.#isListen || canAnswer(this.declared.capabilities, request.method, params)) return; // it is not this call that cannot go on
    this.#server.cancel(this);
    this.settle(missingCapability(request.method, params));
  }

  /** Nothing more is said. `false`: that was so before. */
  #leave(): boolean {
    const waited = !this.#settled;
    this.#settled = true;
    this.#upgrade?.cancel();
    return waited;
  }

  #streaming(): SseStream {
    return (this.#stream ??= new SseStream(this.#res, this.#world));
  }
}
