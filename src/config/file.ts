// The configuration file as bytes: read whole and bounded, written so that nobody ever sees half of it.

import { isUtf8 } from 'node:buffer';
import { constants, open, readlink, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

export type FileState =
  | { readonly is: 'missing' }
  | { readonly is: 'read'; readonly bytes: Buffer }
  | { readonly is: 'unreadable'; readonly why: string };

/** Reads the file, at most `maxBytes` of it. Never throws. */
export async function readConfigFile(path: string, maxBytes: number): Promise<FileState> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK); // a FIFO would be waited for, for ever
    try {
      if (!(await file.stat()).isFile()) return { is: 'unreadable', why: 'not a regular file' };
      const room = Buffer.allocUnsafe(maxBytes + 1);
      let bytes = 0;
      // Its size says nothing: it may grow while it is read.
      for (let read = -1; read !== 0 && bytes < room.length; bytes += read) ({ bytesRead: read } = await file.read(room, bytes));
      return bytes > maxBytes ? { is: 'unreadable', why: `larger than ${maxBytes} bytes` } : { is: 'read', bytes: Buffer.from(room.subarray(0, bytes)) };
    } finally {
      await file.close();
    }
  } catch (error) {
    const code = codeOf(error);
    return code === 'ENOENT' || code === 'ENOTDIR' ? { is: 'missing' } : { is: 'unreadable', why: code };
  }
}

/** Parses the bytes as JSON, with or without a BOM. The problem names a place, never the text that stands there. */
export function parseConfigText(bytes: Buffer): { json: unknown } | { problem: string } {
  if (!isUtf8(bytes)) return { problem: 'not valid UTF-8' };
  const text = bytes.toString().replace(/^\ufeff/, '');
  try {
    return { json: JSON.parse(text) };
  } catch (error) {
    const before = text.slice(0, placeOf(error, text)).split('\n');
    return { problem: `not valid JSON at line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}` };
  }
}

/**
 * Where `JSON.parse` stopped. It tells the place of most errors; of a token that it did not expect it quotes the text around,
 * so the shortest beginning that has such a token is looked for: it ends with it. What is left is a text that ends too early.
 */
function placeOf(error: unknown, text: string): number {
  const told = /at position (\d+)(?: \(line \d+ column \d+\))?$/.exec(String(error))?.[1];
  if (told !== undefined) return Number(told);
  if (!isTokenError(error)) return text.length;
  let [without, having] = [0, text.length]; // lengths of beginnings
  while (having - without > 1) {
    const middle = (without + having) >> 1;
    try {
      JSON.parse(text.slice(0, middle));
      without = middle;
    } catch (shorter) {
      if (isTokenError(shorter)) having = middle;
      else without = middle;
    }
  }
  return without;
}

function isTokenError(error: unknown): boolean {
  return /^SyntaxError: Unexpected token/.test(String(error));
}

/** Replaces the file: temporary file beside it, synced, renamed over the resolved path, so that a link stays a link. */
export async function writeConfigFile(path: string, text: string): Promise<void> {
  const target = await resolved(path);
  const mode = await stat(target).then(
    (about) => about.mode & 0o7777,
    () => 0o600, // it may hold secrets
  );
  const temporary = join(dirname(target), `.${basename(target)}.${crypto.randomUUID()}.tmp`);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.chmod(mode);
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {}); // the first failure is the one to report
    throw error;
  }
  await syncDirectory(dirname(target));
}

/** The system's word for a failure: `EACCES`, `ENOSPC`. */
export function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown error';
}

/** Where the links end, also when there is no file yet. */
async function resolved(path: string, hops = 40): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    const target = await readlink(path).catch(() => undefined);
    return target === undefined || hops === 0 ? path : resolved(resolve(dirname(path), target), hops - 1);
  }
}

/** Makes the rename itself durable; not every file system can. */
async function syncDirectory(path: string): Promise<void> {
  try {
    const directory = await open(path, 'r');
    await directory.sync().finally(() => directory.close());
  } catch {
    // The content is safe in any case.
  }
}
