// Pipelined requests (RFC 9112, section 9.3.2): a client may send many on one connection and read none of the answers,
// which then stand in line behind the one that is being sent, in memory.

import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Of each connection that is bounded: whether too much stands in line on it. */
const crowded = new WeakMap<Socket, () => boolean>();

/** Bounds the bytes that stand in line on one connection; `answers` are those that have not ended. */
export function boundLine(socket: Socket, answers: readonly ServerResponse[], maxBytes: number): void {
  crowded.set(socket, () => {
    let bytes = 0;
    for (const res of answers) if (res.socket === null) bytes += res.writableLength;
    return bytes > maxBytes;
  });
}

/** Cuts off a client that has fallen behind with the answers before this one, which is due. `true`: it was. */
export function cutOff(res: ServerResponse): boolean {
  if (res.socket !== null || crowded.get(res.req.socket)?.() !== true) return false;
  res.req.socket.destroy();
  return true;
}
