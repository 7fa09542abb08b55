// Notices that the configuration file may have changed. A watch of its directory is the fast path: it sees
// renames over the file, re-creation and a ConfigMap's `..data` swap. A `stat` every two seconds is the truth: it
// sees the edit of a link's target elsewhere, and re-arms the watch when the directory itself was replaced.

import { watch, type FSWatcher } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Timer } from '../base/clock.ts';
import type { World } from './world.ts';

/**
 * Starts watching; `close` ends it. The file and its directory need not exist. A change is told when it has been quiet
 * for `configDebounceMs`, and `configDebounceMaxMs` after the first event in any case.
 */
export function watchConfigFile(path: string, { clock, limits }: Pick<World, 'clock' | 'limits'>, onChange: () => void): { close(): void } {
  let watcher: FSWatcher | undefined;
  let watchedDirectory = '';
  let seen = ''; // nothing yet, so the first look tells whoever read the file before
  let pollTimer: Timer | undefined;
  let debounceTimer: Timer | undefined;
  let firstEventAt = 0;
  let closed = false;

  function touched(): void {
    const now = clock.now();
    if (debounceTimer === undefined) firstEventAt = now;
    debounceTimer?.cancel();
    const wait = Math.min(limits.configDebounceMs, firstEventAt + limits.configDebounceMaxMs - now);
    debounceTimer = clock.after(Math.max(0, wait), () => {
      debounceTimer = undefined;
      onChange();
    });
  }

  function arm(): void {
    disarm();
    try {
      watcher = watch(dirname(path), touched).on('error', disarm);
    } catch {
      // No such directory yet, or no watch to be had: the poll goes on.
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
    pollTimer = clock.after(limits.configPollMs, () => void poll());
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
