// Notices that the configuration file may have changed. A watch of its directory is the fast path: it sees
// renames over the file, re-creation and a ConfigMap's `..data` swap. A `stat` every two seconds is the truth: it
// sees the edit of a link's target elsewhere, and re-arms the watch when the directory itself was replaced.

import { watch, type FSWatcher } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock, Timer } from '../base/clock.ts';

export interface WatchOptions {
  readonly clock: Clock;
  /** Milliseconds of quiet after an event before the change is told. */
  readonly debounceMs: number;
  /** Milliseconds after the first event at which it is told in any case. */
  readonly debounceMaxMs: number;
  readonly pollMs: number;
  onChange(): void;
}

/** Starts watching; `close` ends it. The file and its directory need not exist. */
export function watchConfigFile(path: string, options: WatchOptions): { close(): void } {
  const { clock } = options;
  let watcher: FSWatcher | undefined;
  let watchedDirectory = '';
  let seen = ''; // nothing yet, so the first look tells whoever read the file before
  let pollTimer: Timer | undefined;
  let debounceTimer: Timer | undefined;
  let firstEventAt = 0;
  let closed = false;

  function touched(): void {
    if (closed) return;
    const now = clock.now();
    if (debounceTimer === undefined) firstEventAt = now;
    debounceTimer?.cancel();
    const wait = Math.min(options.debounceMs, firstEventAt + options.debounceMaxMs - now);
    debounceTimer = clock.after(Math.max(0, wait), () => {
      debounceTimer = undefined;
      options.onChange();
    });
  }

  function arm(): void {
    watcher?.close();
    try {
      watcher = watch(dirname(path), touched);
      watcher.on('error', disarm);
    } catch {
      disarm(); // no such directory yet, or no watch to be had: the poll goes on
    }
  }

  function disarm(): void {
    watcher?.close();
    watcher = undefined;
  }

  async function poll(): Promise<void> {
    const [directory, file] = await Promise.all([signature(dirname(path), false), signature(path, true)]);
    if (closed) return;
    if (directory !== watchedDirectory || watcher === undefined) {
      watchedDirectory = directory;
      arm();
    }
    if (file !== seen) touched();
    seen = file;
    pollTimer = clock.after(options.pollMs, () => void poll());
  }

  void poll();
  return {
    close() {
      closed = true;
      disarm();
      pollTimer?.cancel();
      debounceTimer?.cancel();
    },
  };
}

/** Which file this is and, if asked, in which state. Changes when either does. Never throws. */
async function signature(path: string, withContent: boolean): Promise<string> {
  try {
    const { dev, ino, birthtimeNs, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    // The number of a deleted directory is given out again; its time of birth is not.
    return withContent ? [dev, ino, size, mtimeNs, ctimeNs].join(':') : [dev, ino, birthtimeNs].join(':');
  } catch {
    return 'missing';
  }
}
