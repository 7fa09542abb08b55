// @ts-check
// What the operating system says is running: from /proc, or from ps where there is none.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';

/** @typedef {{ pid: number, group: number, text: string }} Process `text` is the command line and, from /proc, the environment */

/**
 * Every live process. Zombies are not alive: nothing of them runs, and only their parent can take them away.
 * @returns {Process[]}
 */
export function processes() {
  return (existsSync('/proc/self/stat') ? fromProc() : fromPs()).filter(({ state }) => !/^[ZX]/.test(state));
}

function fromProc() {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const stat = read(`/proc/${pid}/stat`);
      if (stat === '') return []; // it ended while we were looking
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // the name before it may hold spaces and brackets
      const text = `${read(`/proc/${pid}/cmdline`)}\0${read(`/proc/${pid}/environ`)}`.replaceAll('\0', ' ');
      return [{ pid: Number(pid), state: fields[0] ?? '', group: Number(fields[2]), text }];
    });
}

function fromPs() {
  const lines = execFileSync('ps', ['-A', '-ww', '-o', 'pid=,pgid=,stat=,args='], { encoding: 'utf8' }).trim().split('\n');
  return lines.map((line) => {
    const [, pid, group, state = '', text = ''] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    return { pid: Number(pid), group: Number(group), state, text };
  });
}

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // gone, or another user's
  }
}
