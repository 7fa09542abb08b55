// The end of what the other side of a connection sends may be half a close or a whole one, and only writing tells: what
// is written first draws a reset from whoever has left, what is written a moment later meets it.

import type { Socket } from 'node:net';
import type { Clock, Timer } from '../base/clock.ts';

const RESET_MS = 100; // time for a reset to come

/** Calls `write` at the end of what the other side sends, and once more a moment later. The answer is what ends that. */
export function probeAtEnd(socket: Socket, clock: Clock, write: () => void): () => void {
  let timer: Timer | undefined;
  const probe = (): void => {
    write();
    timer = clock.after(RESET_MS, write);
  };
  socket.once('end', probe);
  return () => {
    socket.off('end', probe);
    timer?.cancel();
  };
}
