// What a child says on stderr, as people get to see it: in lines, bounded, and redacted before it is cut anywhere, so
// that no half of a secret remains.

import type { Redact } from '../base/redact.ts';
import type { Limits } from '../config/limits.ts';

/** Tells every line; feed it the chunks in order. Of a line that is too long only the beginning is told. */
export function stderrLines(limits: Limits, redact: Redact, onLine: (line: string) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  let cut = false; // what `rest` begins with belongs to a line that was too long
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    const end = rest.lastIndexOf('\n') + 1;
    const lines = redact(rest.toString('utf8', 0, end)).split('\n');
    rest = rest.subarray(end);
    if (cut) lines.shift();
    cut &&= end === 0;
    if (rest.length > limits.stderrTailBytes) {
      if (!cut) lines.push(redact(rest.toString()));
      cut = true;
      rest = Buffer.alloc(0);
    }
    for (const line of lines) if (line !== '') onLine(line.slice(0, limits.stderrShownBytes));
  };
}

/** The last lines of a text. */
export function lastLines(text: string, { stderrShownLines, stderrShownBytes }: Limits, redact: Redact): string {
  const lines = redact(text).trimEnd().split('\n');
  const shown = Buffer.from(lines.slice(-stderrShownLines).join('\n'));
  return shown.length <= stderrShownBytes ? shown.toString() : shown.subarray(-stderrShownBytes).toString().replace(/^\ufffd+/, '');
}
