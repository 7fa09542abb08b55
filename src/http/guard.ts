// Who may come in at all: Host, Origin, CORS and the token, on every path and before routing, so that no route
// can lack it. A server on loopback is on the internet for every web page that its user opens.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { isIP } from 'node:net';
import { ProxyError } from '../base/errors.ts';

export interface GuardOptions {
  /** Bearer token that every request but OPTIONS and GET /health needs; 16 characters or more. */
  readonly token?: string | undefined;
  /** Origins beside loopback whose pages may use the proxy; lower case, as browsers send them. */
  readonly allowedOrigins?: readonly string[];
  /** Host names by which it may be reached, lower case, with or without a port; `*` is any. */
  readonly allowedHosts?: readonly string[];
  readonly publicUrl?: URL | undefined;
  /** The address that the server is bound to. Only with a loopback one is the configuration open without a token. */
  readonly host?: string | undefined;
}

const LOOPBACK_NAMES = new Set(['localhost', '127.0.0.1', '[::1]']);
const FORWARDED = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via'];
const CORS_HEADERS = new Set(['content-type', 'accept', 'authorization', 'last-event-id']);

export class Guard {
  readonly #options: GuardOptions;
  readonly #isToken: ((token: string) => boolean) | undefined;
  readonly #bound: boolean; // to loopback
  #lastHost: string | undefined; // that was allowed: most requests say the same

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#isToken = options.token === undefined ? undefined : tokenCheck(options.token);
    this.#bound = options.host !== undefined && isLoopbackHost(options.host);
  }

  /** Checks Host and Origin, and gives an allowed Origin its CORS headers on whatever answer follows. @throws ProxyError */
  admit(req: IncomingMessage, res: ServerResponse): void {
    // Of several lines Node shows the first, and whoever forwarded them may have gone by another.
    let hosts = 0;
    for (let k = 0; k < req.rawHeaders.length; k += 2) if (req.rawHeaders[k]?.length === 4 && req.rawHeaders[k]?.toLowerCase() === 'host') hosts++;
    if (hosts > 1) {
      throw new ProxyError('invalid_request', 'Invalid Request: more than one Host header');
    }
    const { host } = req.headers;
    if (host === undefined || (host !== this.#lastHost && !this.#hostAllowed(host))) {
      throw new ProxyError('forbidden', 'Forbidden host: add its name to ALLOWED_HOSTS if this proxy is meant to be reached by it');
    }
    this.#lastHost = host;
    const { origin } = req.headers;
    if (origin === undefined) return;
    if (!this.#originAllowed(origin)) {
      throw new ProxyError('forbidden', 'Forbidden origin: add it to ALLOWED_ORIGINS if its pages may use this proxy');
    }
    res.setHeader('access-control-allow-origin', origin);
    res.setHeader('vary', 'Origin');
    res.setHeader('access-control-expose-headers', 'Mcp-Session-Id, WWW-Authenticate');
  }

  /** Answers OPTIONS; a preflight needs no token because a browser sends none with it. `allow`: methods of the path. */
  options(req: IncomingMessage, res: ServerResponse, allow: readonly string[]): void {
    if (req.headers['access-control-request-method'] === undefined) {
      res.writeHead(204, { allow: [...allow, 'OPTIONS'].join(', ') }).end();
      return;
    }
    const asked = (req.headers['access-control-request-headers'] ?? '').split(',').map((name) => name.trim().toLowerCase());
    res.writeHead(204, {
      'access-control-allow-methods': 'GET, POST, DELETE',
      'access-control-max-age': '600',
      'access-control-allow-headers': asked.filter((name) => CORS_HEADERS.has(name) || /^mcp-[a-z0-9-]+$/.test(name)).join(', '),
    }).end();
  }

  /** Checks the bearer token, where one is set. @throws ProxyError */
  authenticate(req: IncomingMessage, res: ServerResponse): void {
    if (this.#isToken === undefined) return;
    const token = /^Bearer +(\S+) *$/i.exec(req.headers.authorization ?? '')?.[1];
    if (token !== undefined && this.#isToken(token)) return;
    res.setHeader('www-authenticate', 'Bearer');
    throw new ProxyError('unauthorized', 'Unauthorized: this proxy expects "Authorization: Bearer <token>"');
  }

  /**
   * Lets an authenticated request change what runs here: a configuration names programs, so this is code execution.
   * Without a token only a client on this machine that nothing forwarded and no foreign page sent. @throws ProxyError
   */
  authorize(req: IncomingMessage): void {
    if (this.#isToken !== undefined) return;
    const { host, origin } = req.headers;
    const local =
      this.#bound &&
      isLoopbackHost(req.socket.remoteAddress ?? '') &&
      LOOPBACK_NAMES.has(hostName(host ?? '')) &&
      !FORWARDED.some((name) => req.headers[name] !== undefined) &&
      (origin === undefined || origin === `http://${host}`);
    if (local) return;
    throw new ProxyError('forbidden', 'Forbidden: without AUTH_TOKEN only a client on the same machine may change the configuration');
  }

  #hostAllowed(header: string): boolean {
    const host = header.toLowerCase();
    const name = hostName(host);
    const { publicUrl, allowedHosts = [] } = this.#options;
    return (
      LOOPBACK_NAMES.has(name) ||
      (!this.#bound && isIP(name.replace(/^\[|\]$/g, '')) !== 0) || // a name can be rebound to another address, an address cannot
      name === publicUrl?.hostname ||
      allowedHosts.some((allowed) => allowed === '*' || allowed === name || allowed === host)
    );
  }

  #originAllowed(origin: string): boolean {
    const { publicUrl, allowedOrigins = [] } = this.#options;
    const url = URL.canParse(origin) ? new URL(origin) : undefined;
    // An origin is scheme, host and port and nothing else; two of them in one header do not parse as one.
    if (url === undefined || !/^https?:$/.test(url.protocol) || url.origin !== origin.toLowerCase()) return false;
    return LOOPBACK_NAMES.has(url.hostname) || url.origin === publicUrl?.origin || allowedOrigins.includes(url.origin);
  }
}

/** Whether this address or name is of this machine alone: what is bound to it, other machines cannot reach. */
export function isLoopbackHost(host: string): boolean {
  return /^(localhost|::1|(::ffff:)?127(\.\d{1,3}){3})$/i.test(host);
}

/** The name in a Host header, without its port; an IPv6 literal keeps its brackets. Empty where it is none. */
function hostName(host: string): string {
  return /^(\[[0-9a-f:.]+\]|[^:[\]@/\\?#\s]+)(:\d{1,5})?$/i.exec(host)?.[1]?.toLowerCase() ?? '';
}

/** Compares tokens by their digests: those have one length, whatever was sent, and comparing them takes one time. */
function tokenCheck(expected: string): (token: string) => boolean {
  // Loaded only where a token is set: it is a megabyte of memory.
  const { createHash, timingSafeEqual } = createRequire(import.meta.url)('node:crypto') as typeof import('node:crypto');
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const wanted = digest(expected);
  return (token) => timingSafeEqual(digest(token), wanted);
}
