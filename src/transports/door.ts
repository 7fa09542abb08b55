// Which transport a request speaks: the same paths serve simple clients, clients of 2024-11-05 and clients of
// Streamable HTTP, told apart request by request (B.9, B.15).

import type { IncomingMessage, ServerResponse } from 'node:http';
import { ProxyError } from '../base/errors.ts';
import type { World } from '../config/world.ts';
import { parseAccept } from '../http/accept.ts';
import { readJsonBody } from '../http/body.ts';
import { fault } from '../http/reply.ts';
import { badVersion, classify, classifyInline, idTextOf, type Verdict } from '../protocol/classify.ts';
import { isModern } from '../protocol/revisions.ts';
import type { Fleet } from '../relay/fleet.ts';
import { readMessage } from '../wire/jsonrpc.ts';
import { versionOf } from './answer.ts';
import { HttpSseTransport } from './http-sse.ts';
import { postSimple, streamSimple } from './simple.ts';
import { StatelessHttpTransport } from './stateless-http.ts';
import { StreamableHttpTransport } from './streamable-http.ts';

export interface DoorOptions {
  /** Scheme and host of the URLs given out; without it, those of the request. */
  readonly origin: string | undefined;
  readonly basePath: string;
  /** What GET /sse announces: what `Accept` asks for, or always the one. */
  readonly sseEndpoint: 'auto' | 'json' | 'uri';
}

export class Door {
  readonly streamable: StreamableHttpTransport;
  readonly #httpSse: HttpSseTransport;
  readonly #stateless: StatelessHttpTransport;
  readonly #fleet: Fleet;
  readonly #world: World;
  readonly #options: DoorOptions;

  constructor(fleet: Fleet, world: World, options: DoorOptions) {
    this.#fleet = fleet;
    this.#world = world;
    this.#options = options;
    this.streamable = new StreamableHttpTransport(fleet, world);
    this.#httpSse = new HttpSseTransport(fleet, world);
    this.#stateless = new StatelessHttpTransport(fleet, world);
  }

  /** `POST /:server/mcp`. */
  async mcp(name: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
    const body = readMessage(await readJsonBody(req, res, this.#world), this.#world.limits);
    const session = req.headers['mcp-session-id']?.toString();
    this.#serve(name, classify(body, { version: versionOf(req), session }), req, res);
  }

  /** `POST /:server/message`: of a stream where the query names one, else simple. */
  async message(name: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
    const query = queryOf(req);
    const session = query.get('sessionId') ?? query.get('session_id');
    const body = readMessage(await readJsonBody(req, res, this.#world), this.#world.limits);
    if (session === null) return this.#serve(name, classifyInline(body, versionOf(req)), req, res);
    try {
      this.#httpSse.post(name, session, body, req, res);
    } catch (error) {
      refuse(res, error, idTextOf(body));
    }
  }

  /** `GET /:server/sse`: MCP clients name the type of the stream in `Accept`, simple ones do not. */
  sse(name: string, req: IncomingMessage, res: ServerResponse): void {
    const server = this.#fleet.get(name);
    if (isModern(versionOf(req))) throw badVersion(String(versionOf(req)));
    const asked = queryOf(req).get('endpoint');
    const { origin = `http://${req.headers.host}`, basePath, sseEndpoint } = this.#options;
    const form = asked === 'json' || asked === 'uri' ? asked : sseEndpoint;
    const plain = form === 'auto' ? parseAccept(req.headers.accept).sse : form === 'uri';
    const path = `${basePath}/${encodeURIComponent(name)}/message`;
    if (plain) this.#httpSse.stream(name, server, path, res);
    else streamSimple(server, this.#world, origin + path, res);
  }

  #serve(name: string, verdict: Verdict, req: IncomingMessage, res: ServerResponse): void {
    try {
      switch (verdict.is) {
        case 'simple':
          return postSimple(this.#fleet.get(name), this.#world, verdict.body, verdict.accepted, req, res);
        case 'modern':
          return this.#stateless.post(name, verdict.body, req, res);
        case 'initialize':
          return this.streamable.initialize(name, verdict.request, req, res);
        case 'session':
          return this.streamable.post(name, verdict.session, verdict.body, req, res);
        case 'refused':
          throw verdict.error;
      }
    } catch (error) {
      refuse(res, error, idOf(verdict));
    }
  }
}

/** Answers a refusal under the id of its request, where one could be read. What is no refusal is thrown on. */
function refuse(res: ServerResponse, error: unknown, idText: string | undefined): void {
  if (!(error instanceof ProxyError && idText !== undefined)) throw error;
  fault(res, error, idText);
}

/** The id of the request that a verdict is about, as it was written. */
function idOf(verdict: Verdict): string | undefined {
  if (verdict.is === 'refused') return verdict.idText;
  return idTextOf(verdict.is === 'initialize' ? verdict.request : verdict.body);
}

function queryOf(req: IncomingMessage): URLSearchParams {
  const [, query = ''] = (req.url ?? '').split('?', 2);
  return new URLSearchParams(query);
}
