// Which content types a client takes (RFC 9110, section 12.5.1), reduced to the two that the proxy sends.

export interface Accepts {
  readonly json: boolean;
  readonly sse: boolean;
  /** The same where there is nothing but a stream: asked for that, a wildcard does. */
  readonly stream: boolean;
}

const JSON_RANGES = ['application/json', 'application/*', '*/*'];
const SSE_RANGES = ['text/event-stream'];
const STREAM_RANGES = [...SSE_RANGES, 'text/*', '*/*'];

/** The last header that was read: most requests say the same. */
let last: readonly [header: string, accepts: Accepts] | undefined;

/**
 * SSE only where `text/event-stream` itself is listed: a wildcard is what plain HTTP libraries send, and they cannot
 * read a stream. JSON where it is listed, by wildcard, or where there is no Accept at all.
 */
export function parseAccept(header: string | undefined): Accepts {
  if (header === undefined || header.trim() === '') return { json: true, sse: false, stream: false };
  if (last?.[0] !== header) last = [header, read(header)];
  return last[1];
}

function read(header: string): Accepts {
  const quality = new Map<string, number>();
  for (const item of header.split(',')) {
    if (item.trim() === '') continue;
    const [range = '', ...parameters] = item.split(';').map((part) => part.trim().toLowerCase());
    const q = parameters.find((parameter) => /^q\s*=/.test(parameter));
    const value = q === undefined ? 1 : Number(q.slice(q.indexOf('=') + 1));
    quality.set(range, Number.isNaN(value) ? 1 : value);
  }
  // The most specific range decides: "application/json;q=0, */*" is no JSON.
  const takes = (ranges: readonly string[]) => (quality.get(ranges.find((range) => quality.has(range)) ?? '') ?? 0) > 0;
  return { json: takes(JSON_RANGES), sse: takes(SSE_RANGES), stream: takes(STREAM_RANGES) };
}
