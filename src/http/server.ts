// The listening socket of the program: Node's timeouts set, connections and requests counted, clients that leave
// noticed. Embedders bring their own server and need nothing of this.

import { createServer, STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Server as NetServer, type AddressInfo, type Socket } from 'node:net';
import { systemClock } from '../base/clock.ts';
import { ProxyError } from '../base/errors.ts';
import { encodeError } from '../wire/jsonrpc.ts';
import { probeAtEnd } from '../wire/half-close.ts';
import { boundLine } from '../wire/pipeline.ts';
import { fault } from './reply.ts';

type Bound =
  | 'headersTimeoutMs' | 'bodyTimeoutMs' | 'timeoutCheckMs' | 'keepAliveTimeoutMs' | 'sseStallMs' | 'sseQueueBytes'
  | 'maxHeaderBytes' | 'maxHeaders' | 'maxConnections' | 'maxUnansweredPerConnection'; // prettier-ignore

export interface ListenOptions {
  readonly port: number;
  readonly host: string;
  readonly limits: Readonly<Record<Bound, number>>;
  handle(req: IncomingMessage, res: ServerResponse): void;
  /** A connection was refused because there are too many. */
  onDrop(): void;
}

export interface HttpServer {
  /** The port that was bound. */
  readonly port: number;
  /** No new connections; those that are open go on. */
  stopAccepting(): void;
  /** Ends everything that is left, what is still being sent after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

/** Requests that wait for `100 Continue` before they send their body. */
const awaitingContinue = new WeakSet<IncomingMessage>();

/** Tells a client that waits for it to send its body: only now is it known to be wanted. */
export function sendContinue(req: IncomingMessage, res: ServerResponse): void {
  if (awaitingContinue.delete(req)) res.writeContinue();
}

const ignore = (): void => {};

/** Opens the port. Rejects with the system's error (`EADDRINUSE`). */
export function listen(options: ListenOptions): Promise<HttpServer> {
  const { limits } = options;
  const server = createServer({
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.headersTimeoutMs + limits.bodyTimeoutMs, // behind the body's own deadline, which can answer
    connectionsCheckingInterval: limits.timeoutCheckMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    maxHeaderSize: limits.maxHeaderBytes,
    requireHostHeader: false, // the guard refuses it in the proxy's own form
  });
  server.maxHeadersCount = limits.maxHeaders + 1; // Node drops the rest in silence, so one more is let through to be seen
  server.maxConnections = limits.maxConnections;
  // Of a client that takes nothing of what is there for it, answer or stream, no more is kept; one that waits is left alone.
  server.timeout = limits.sseStallMs;
  server.on('timeout', (socket: Socket) => {
    if (socket.writableLength > 0 || connections.get(socket)?.length === 0) socket.destroy();
  });
  // A client that has sent its request may close its side and still read the answer.
  (server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;

  /** Every connection, with its requests that are not answered yet. */
  const connections = new Map<Socket, ServerResponse[]>();
  let onEmpty: (() => void) | undefined; // once it is closing

  function onRequest(req: IncomingMessage, res: ServerResponse): void {
    const open = connections.get(req.socket) ?? [];
    open.push(res);
    res.on('error', ignore); // written to a client that has just left
    res.on('close', () => {
      const at = open.indexOf(res);
      if (at !== -1) open.splice(at, 1);
      if (onEmpty !== undefined && open.length === 0) req.socket.destroySoon();
    });
    if (open.length > limits.maxUnansweredPerConnection) {
      return fault(res, new ProxyError('busy', 'Too many unanswered requests on one connection'), 'null', ['connection', 'close']);
    }
    if (req.rawHeaders.length > 2 * limits.maxHeaders) {
      return fault(res, new ProxyError('headers_too_large', `Headers too large: at most ${limits.maxHeaders} headers`));
    }
    options.handle(req, res);
  }

  server.on('request', onRequest);
  server.on('checkExpectation', onRequest); // an expectation that means nothing here is none
  server.on('checkContinue', (req, res) => {
    awaitingContinue.add(req);
    onRequest(req, res);
  });
  server.on('connection', (socket) => {
    const open: ServerResponse[] = [];
    connections.set(socket, open);
    boundLine(socket, open, limits.sseQueueBytes);
    socket.on('error', ignore); // 'close' follows, and that is what everything listens to
    // Whoever has left answers an interim response with a reset; whoever still reads skips it (RFC 9110, section 15.2).
    const endProbe = probeAtEnd(socket, systemClock, () => {
      for (const res of open) if (!res.headersSent && !res.destroyed && res.req.httpVersionMinor > 0) res.writeProcessing();
    });
    socket.on('close', () => {
      endProbe();
      // Node closes the answer that was being sent; those that stood in line behind it hear nothing.
      for (const res of [...open]) res.destroy().emit('close');
      if (connections.delete(socket) && connections.size === 0) onEmpty?.();
    });
  });
  server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
    const socket = stream as Socket;
    const open = connections.get(socket) ?? [];
    const last = open.at(-1);
    const isBehind = last?.req.complete === true; // behind whole requests, whose answers a refusal would be taken for
    if (!socket.writable || open.some((res) => res.headersSent) || (open.length > 1 && !isBehind)) return void socket.destroy(); // it can take no other answer
    if (isBehind) return void last.setHeader('connection', 'close'); // they come, and then the end
    const refusal = refusalOf(error);
    const body = encodeError('null', refusal.toRpc());
    const status = `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}\r\n`;
    socket.end(`${status}Content-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
    socket.destroySoon();
  });
  server.on('drop', options.onDrop);

  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      server.on('error', ignore); // accepting failed (EMFILE): Node goes on with the next connection
      resolve({
        port: (server.address() as AddressInfo).port,
        stopAccepting() {
          // The http server's own `close` would cut idle connections on which a request may just be arriving.
          NetServer.prototype.close.call(server);
        },
        close: (graceMs) =>
          new Promise((done) => {
            // The http server's own `close` comes last: it takes answers that are still being sent for idle connections.
            const timer = systemClock.after(graceMs, () => {
              for (const socket of connections.keys()) socket.destroy();
            });
            onEmpty = () => {
              timer.cancel();
              server.close(() => done());
            };
            for (const [socket, open] of connections) if (open.length === 0) socket.destroy();
            if (connections.size === 0) onEmpty();
          }),
      });
    });
  });
}

/** What Node's parser refused, as a fault. */
function refusalOf({ code }: NodeJS.ErrnoException): ProxyError {
  if (code === 'HPE_HEADER_OVERFLOW') return new ProxyError('headers_too_large', 'Headers too large');
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new ProxyError('request_timeout', 'Request timeout');
  return new ProxyError('invalid_request', 'Invalid Request: not a valid HTTP request');
}
