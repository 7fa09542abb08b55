// Newline framing of a child's stdout (stdio transport): bytes in, lines out. The bytes are cut before they are
// decoded, and a line is handed on in the parts in which it came: a big one may never have to be in one piece.

const LF = 10;
const CR = 13;

export interface LineDecoderOptions {
  /** Longest line, in bytes. */
  readonly maxLineBytes: number;
  /** Most chunks that one line may come in; bounds what tiny chunks cost beside their bytes. */
  readonly maxLineParts: number;
  /** A line without its line end, in parts; never an empty one. */
  onLine(parts: readonly Buffer[]): void;
  /** The line grew past a bound. The decoder keeps nothing and says nothing more. */
  onOverflow(): void;
}

/** Makes a decoder; feed it the chunks in order. */
export function createLineDecoder(options: LineDecoderOptions): (chunk: Buffer) => void {
  let parts: Buffer[] = [];
  let bytes = 0;
  let overflown = false;

  function take(part: Buffer): void {
    if (part.length === 0) return;
    bytes += part.length;
    parts.push(part);
    if (bytes <= options.maxLineBytes && parts.length <= options.maxLineParts) return;
    overflown = true;
    parts = [];
    options.onOverflow();
  }

  function finish(): void {
    if (bytes === 0) return;
    const line = parts;
    parts = [];
    bytes = 0;
    const last = line[line.length - 1] as Buffer;
    if (last[last.length - 1] === CR) {
      line.pop();
      if (last.length > 1) line.push(last.subarray(0, -1));
    }
    if (line.length > 0) options.onLine(line);
  }

  return (chunk) => {
    let start = 0;
    for (let end = chunk.indexOf(LF); end !== -1 && !overflown; end = chunk.indexOf(LF, start)) {
      take(chunk.subarray(start, end));
      if (!overflown) finish();
      start = end + 1;
    }
    if (!overflown && start < chunk.length) take(chunk.subarray(start));
  };
}
