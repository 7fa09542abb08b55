// What a new configuration asks for, server by server. Pure.

import type { Config, ServerConfig } from './schema.ts';

/** Every old or new name in exactly one list, in config order. */
export interface Diff {
  /** Enabled now; was absent or disabled. */
  readonly started: readonly string[];
  /** Gone now, or was enabled and is disabled now. */
  readonly stopped: readonly string[];
  /** Was and is enabled, and a field changed that needs a new process. */
  readonly restarted: readonly string[];
  /** The rest; autoRestart and maxRestarts are taken over without a new process. */
  readonly kept: readonly string[];
}

export function diffConfig(before: Config['servers'], after: Config['servers']): Diff {
  const diff: Record<keyof Diff, string[]> = { started: [], stopped: [], restarted: [], kept: [] };
  for (const [name, wanted] of after) {
    const had = before.get(name);
    const ran = had !== undefined && !had.disabled;
    if (!wanted.disabled && !ran) diff.started.push(name);
    else if (wanted.disabled && ran) diff.stopped.push(name);
    else if (ran && processOf(had) !== processOf(wanted)) diff.restarted.push(name);
    else diff.kept.push(name);
  }
  for (const name of before.keys()) if (!after.has(name)) diff.stopped.push(name);
  return diff;
}

/** The fields that need a new process, in a form that compares. */
function processOf({ command, args, env, isolation, clientCapabilities, protocol }: ServerConfig): string {
  const variables = Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([command, args, variables, isolation, clientCapabilities, protocol]);
}
