// Clients that add nothing of their own, so that tests can assert what is on the wire: one request, raw bytes
// over a socket, and an event stream with a decoder of its own (the HTML standard, 9.2.6), independent of src/.

import http from 'node:http';
import net from 'node:net';

/** How long anything here waits before it fails and shows what had come so far. */
export const DEADLINE_MS = 10_000;

export interface RequestOptions {
  readonly method?: string;
  /** `Host` may be forged; an array is sent as that many lines. */
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: string | Buffer;
  /** Default: a connection for this request alone, closed after it. */
  readonly agent?: http.Agent;
  readonly signal?: AbortSignal;
  readonly deadlineMs?: number;
}

export interface Reply {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  readonly text: string;
  json(): any;
}

/** One request and its whole answer. The path is sent as it stands in `url`: nothing resolves `..` or `%2e`. */
export async function request(url: string, options: RequestOptions = {}): Promise<Reply> {
  const req = open(url, options);
  const chunks: Buffer[] = [];
  const { deadlineMs = DEADLINE_MS } = options;
  let tooLate: Error | undefined;
  const deadline = setTimeout(() => {
    tooLate = new Error(`no complete answer to ${req.method} ${url} within ${deadlineMs} ms, only ${show(Buffer.concat(chunks))}`);
    req.destroy(tooLate);
  }, deadlineMs);
  try {
    const res = await answered(req);
    for await (const chunk of res) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const text = body.toString();
    return { status: res.statusCode!, headers: res.headers, rawHeaders: res.rawHeaders, body, text, json: () => JSON.parse(text) };
  } catch (error) {
    throw tooLate ?? error;
  } finally {
    clearTimeout(deadline);
  }
}

/** POSTs `message` as JSON; a string or a buffer goes out as it is, so that it may be no JSON at all. */
export function post(url: string, message: unknown, headers: http.OutgoingHttpHeaders = {}): Promise<Reply> {
  const body = typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message);
  return request(url, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body });
}

function open(url: string, { method = 'GET', headers = {}, body, agent, signal }: RequestOptions): http.ClientRequest {
  const { hostname, port } = new URL(url);
  const path = url.slice('http://'.length).replace(/^[^/?]*/, '') || '/';
  const framed = Object.keys(headers).some((name) => /^(content-length|transfer-encoding)$/i.test(name));
  const length = body === undefined || framed ? {} : { 'Content-Length': Buffer.byteLength(body) };
  const host = hostname.replace(/^\[|\]$/g, '');
  const req = http.request({ host, port, path, method, headers: { ...headers, ...length }, agent: agent ?? false, ...(signal && { signal }) });
  return req.end(body);
}

function answered(req: http.ClientRequest): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    req.on('response', resolve);
    // Stays for the life of the request: after the response, its own end or error tells how it went.
    req.on('error', reject);
  });
}

/** An open socket that is written step by step. */
export interface Connection {
  readonly socket: net.Socket;
  /** Everything that came so far. */
  readonly received: Buffer;
  write(bytes: string | Buffer): void;
  /** Closes our direction only; the other side may go on answering. */
  end(): void;
  /** Leaves as a closed program does, without waiting for anything. */
  close(): void;
  /** Leaves with a reset. */
  abort(): void;
  /** Waits until `enough` holds for what came so far (as latin1: one character per byte). */
  until(enough: (text: string) => boolean): Promise<Buffer>;
  /** How the other side closed: after its last byte, or with a reset; `closed` when we did it ourselves. */
  readonly ended: Promise<'end' | 'reset' | 'closed'>;
}

export async function connect(port: number, host = '127.0.0.1'): Promise<Connection> {
  const socket = net.connect({ port, host, noDelay: true });
  const chunks: Buffer[] = [];
  const news = new Set<() => void>();
  let over = false;
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve).once('error', reject);
  });
  const tell = (): void => news.forEach((look) => look());
  const ended = new Promise<'end' | 'reset' | 'closed'>((resolve) => {
    socket.on('end', () => resolve('end'));
    socket.on('error', () => resolve('reset'));
    socket.on('close', () => resolve('closed'));
  });
  void ended.then(() => {
    over = true;
    tell();
  });
  socket.on('data', (chunk) => {
    chunks.push(chunk);
    tell();
  });

  const connection: Connection = {
    socket,
    ended,
    get received() {
      return Buffer.concat(chunks);
    },
    write: (bytes) => void socket.write(bytes),
    end: () => void socket.end(),
    close: () => void socket.destroy(),
    abort: () => void socket.resetAndDestroy(),
    until: (enough) =>
      new Promise((resolve, reject) => {
        const settle = (settled: () => void): void => {
          clearTimeout(deadline);
          news.delete(look);
          settled();
        };
        const look = (): void => {
          const bytes = connection.received;
          if (enough(bytes.toString('latin1'))) settle(() => resolve(bytes));
          else if (over) settle(() => reject(new Error(`the connection closed before enough had come: ${show(bytes)}`)));
        };
        const deadline = setTimeout(() => {
          settle(() => reject(new Error(`not enough came within ${DEADLINE_MS} ms: ${show(connection.received)}`)));
        }, DEADLINE_MS);
        news.add(look);
        look();
      }),
  };
  return connection;
}

/**
 * Sends the bytes and returns everything the server answers until it closes, or until `enough` holds for what
 * came so far (as latin1). Our direction stays open; a reset is an error, because it may have swallowed an answer.
 */
export async function raw(port: number, bytes: string | Buffer, enough?: (text: string) => boolean): Promise<Buffer> {
  const connection = await connect(port);
  let deadline: NodeJS.Timeout | undefined;
  try {
    connection.write(bytes);
    if (enough) return await connection.until(enough);
    const tooLate = new Promise<never>((_, reject) => {
      deadline = setTimeout(() => {
        reject(new Error(`the server did not close within ${DEADLINE_MS} ms: ${show(connection.received)}`));
      }, DEADLINE_MS);
    });
    const how = await Promise.race([connection.ended, tooLate]);
    if (how !== 'end') throw new Error(`the server reset the connection: ${show(connection.received)}`);
    return connection.received;
  } finally {
    clearTimeout(deadline);
    connection.close();
  }
}

export interface SseEvent {
  /** `message` when the block names none. */
  readonly event: string;
  readonly data: string;
  /** Present only when this very block has the field. */
  readonly id?: string;
  readonly retry?: number;
}

export interface SseComment {
  readonly comment: string;
}

export type SseItem = SseEvent | SseComment;

/** Decodes an event stream; invalid UTF-8, which a browser would patch over, throws. */
export function sseDecoder(onItem: (item: SseItem) => void): (chunk: Buffer) => void {
  const utf8 = new TextDecoder('utf-8', { fatal: true }); // drops one leading BOM, as the standard asks
  let line = '';
  let afterCr = false;
  let event = '';
  let data: string[] = [];
  let id: string | undefined;
  let retry: number | undefined;

  function field(text: string): void {
    const [, name = '', value = ''] = /^([^:]*):? ?([^]*)$/.exec(text)!;
    if (text.startsWith(':')) onItem({ comment: value });
    if (name === 'event') event = value;
    if (name === 'data') data.push(value);
    if (name === 'id' && !value.includes('\0')) id = value;
    if (name === 'retry' && /^[0-9]+$/.test(value)) retry = Number(value);
  }

  function dispatch(): void {
    // A block without data is no event.
    if (data.length > 0) {
      onItem({ event: event || 'message', data: data.join('\n'), ...(id !== undefined && { id }), ...(retry !== undefined && { retry }) });
    }
    event = '';
    data = [];
    id = retry = undefined;
  }

  return (chunk) => {
    let text = utf8.decode(chunk, { stream: true });
    if (text === '') return; // a part of a character
    if (afterCr && text.startsWith('\n')) text = text.slice(1);
    afterCr = text.endsWith('\r');
    const [first = '', ...more] = text.split(/\r\n|\r|\n/);
    line += first;
    for (const next of more) {
      // A CR ends the line at once: waiting for a possible LF would hold the event back.
      if (line === '') dispatch();
      else field(line);
      line = next;
    }
  };
}

export interface SseStream {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Everything decoded so far, taken by `next` or not. */
  readonly all: readonly SseItem[];
  /** The comments of `all`. */
  readonly comments: readonly string[];
  /** The bytes behind it. */
  readonly raw: Buffer;
  /**
   * The next item that nobody has taken yet and for which `wanted` holds; the ones before it count as taken. Calls are
   * served in order. Fails after ten seconds, or when the stream ends first, and shows what had come.
   */
  next(): Promise<SseItem>;
  next<T extends SseItem>(wanted: (item: SseItem) => item is T): Promise<T>;
  next(wanted: (item: SseItem) => boolean): Promise<SseItem>;
  /** `next` for events only: any, or the next one of this name. */
  event(name?: string): Promise<SseEvent>;
  /** What `next` would give, one by one, until the stream ends. */
  readonly events: AsyncIterable<SseItem>;
  /** How it ended: with its last chunk, cut off before it, or closed by us. */
  readonly ended: Promise<'end' | 'cut' | 'closed'>;
  /** Leaves; resolves when the socket is closed. */
  close(): Promise<void>;
}

/** Opens an event stream: a GET, unless `options` says otherwise. An answer of another type yields no items, but `raw`. */
export async function openSse(
  url: string,
  headers: http.OutgoingHttpHeaders = {},
  options: { readonly method?: string; readonly body?: string | Buffer } = {},
): Promise<SseStream> {
  const req = open(url, { ...options, headers });
  const tooLate = setTimeout(() => req.destroy(new Error(`no head of an answer from ${url} within ${DEADLINE_MS} ms`)), DEADLINE_MS);
  const res = await answered(req).finally(() => clearTimeout(tooLate));

  const chunks: Buffer[] = [];
  const all: SseItem[] = [];
  const waiting: { readonly look: () => boolean; readonly fail: (why: string) => void }[] = [];
  let taken = 0;
  let how: 'end' | 'cut' | 'closed' | undefined;
  let closing = false;
  let broken: string | undefined;

  const decode = sseDecoder((item) => void all.push(item));
  const isStream = /^text\/event-stream\s*(;|$)/i.test(res.headers['content-type'] ?? '');

  /** Serves the waiting ones in order; the first whose item has not come holds up those behind it. */
  function serve(): void {
    while (waiting[0]?.look()) waiting.shift();
    const why = broken ?? (how && `the stream ended (${how})`);
    if (why !== undefined) for (const one of waiting.splice(0)) one.fail(why);
  }

  function take(wanted: (item: SseItem) => boolean): Promise<SseItem> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        clearTimeout(deadline);
        const type = isStream ? '' : `, ${res.headers['content-type'] ?? 'without a Content-Type'}`;
        reject(new Error(`${why} before the item came that was waited for. ${url} (${res.statusCode}${type}) had sent ${show(Buffer.concat(chunks))}`));
      };
      const look = (): boolean => {
        while (taken < all.length) {
          const item = all[taken++]!;
          if (!wanted(item)) continue;
          clearTimeout(deadline);
          resolve(item);
          return true;
        }
        return false;
      };
      const one = { look, fail };
      const deadline = setTimeout(() => {
        waiting.splice(waiting.indexOf(one), 1);
        fail(`${DEADLINE_MS} ms passed`);
        serve();
      }, DEADLINE_MS);
      waiting.push(one);
      serve();
    });
  }

  const ended = new Promise<'end' | 'cut' | 'closed'>((resolve) => {
    res.on('close', () => {
      how = closing ? 'closed' : res.complete ? 'end' : 'cut';
      resolve(how);
      serve();
    });
  });
  res.on('error', () => {}); // 'close' follows and tells
  res.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    try {
      if (isStream && broken === undefined) decode(chunk);
    } catch (error) {
      broken = `the stream is not UTF-8 (${(error as Error).message})`;
    }
    serve();
  });

  const stream: SseStream = {
    status: res.statusCode!,
    headers: res.headers,
    all,
    get comments() {
      return all.flatMap((item) => ('comment' in item ? item.comment : []));
    },
    get raw() {
      return Buffer.concat(chunks);
    },
    next: (wanted: (item: SseItem) => boolean = () => true) => take(wanted) as Promise<never>,
    event: (name) => take((item) => 'event' in item && (name === undefined || item.event === name)) as Promise<SseEvent>,
    events: {
      async *[Symbol.asyncIterator]() {
        for (;;) {
          let item: SseItem;
          try {
            item = await stream.next();
          } catch (error) {
            if (how !== undefined && broken === undefined) return;
            throw error;
          }
          yield item;
        }
      },
    },
    ended,
    async close() {
      if (how !== undefined) return;
      closing = true;
      const gone = new Promise<void>((resolve) => (res.socket.destroyed ? resolve() : res.socket.once('close', () => resolve())));
      req.destroy();
      await Promise.all([gone, ended]);
    },
  };
  return stream;
}

function show(bytes: Buffer): string {
  const most = 2_000;
  const text = JSON.stringify(bytes.subarray(-most).toString());
  return bytes.length === 0 ? 'nothing' : bytes.length > most ? `${bytes.length} bytes, the last of them ${text}` : text;
}
