// What ends the servers when the proxy itself is killed and can end nothing any more: one POSIX shell in a session of
// its own that is told every process group as it comes and goes, on a pipe. The end of the pipe is the end of the
// proxy, however it came; the shell then does what the stop ladder would have done. No such thing on Windows.

import { spawn, type ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import type { World } from '../config/world.ts';

// Only builtins but for `sleep`; where that is missing, SIGKILL follows at once. A signal that ends the proxy must not end this first.
const SCRIPT = `
trap '' HUP INT QUIT TERM PIPE TSTP TTIN TTOU USR1 USR2 ALRM
groups=' '
while read -r what group; do
  case $what in
    +) groups="$groups$group " ;;
    -) case $groups in *" $group "*) groups="\${groups%%" $group "*} \${groups#*" $group "}" ;; esac ;;
  esac
done
[ "$groups" = ' ' ] && exit
for group in $groups; do kill -TERM -"$group"; done
sleep 1
for group in $groups; do kill -KILL -"$group"; done
`;

const SHORT_LIFE_MS = 1_000; // a shell that does not live longer is not worth another

export class Reaper {
  readonly #world: Pick<World, 'clock' | 'log'>;
  readonly #command: string;
  readonly #groups = new Set<number>();
  #shell: ChildProcess | undefined;
  #warned = false;

  /** `command`: a POSIX shell. */
  constructor(world: Pick<World, 'clock' | 'log'>, command = '/bin/sh') {
    this.#world = world;
    this.#command = command;
  }

  /** The id of the shell, while there is one. */
  get pid(): number | undefined {
    return this.#shell?.pid;
  }

  /** A process group has come. */
  add(group: number): void {
    this.#groups.add(group);
    if (this.#shell === undefined) this.#start();
    else this.#shell.stdin?.write(`+ ${group}\n`);
  }

  /** It has gone; with the last one the shell goes, too. */
  delete(group: number): void {
    this.#groups.delete(group);
    this.#shell?.stdin?.write(`- ${group}\n`);
    if (this.#groups.size > 0) return;
    this.#shell?.stdin?.end();
    this.#shell = undefined;
  }

  #start(): void {
    const { clock } = this.#world;
    const bornAt = clock.now();
    const sh = spawn(this.#command, ['-c', SCRIPT], { detached: true, cwd: '/', env: { PATH: '/usr/bin:/bin' }, stdio: ['pipe', 'ignore', 'ignore'] });
    this.#shell = sh;
    const gone = (what: string): void => {
      if (this.#shell !== sh) return;
      this.#shell = undefined;
      if (clock.now() - bornAt >= SHORT_LIFE_MS) return this.#start();
      if (!this.#warned) this.#world.log.warn('-', 'reaper', `${what}: servers will outlive the proxy if it is killed`);
      this.#warned = true;
    };
    sh.on('error', ({ message }) => gone(message));
    sh.on('exit', (code, signal) => gone(`${this.#command} ${signal === null ? `exited with code ${code}` : `was killed by ${signal}`}`));
    sh.unref();
    const stdin = sh.stdin as Socket | undefined; // none without a descriptor for it
    stdin?.unref();
    stdin?.on('error', () => {}); // 'exit' follows
    stdin?.write([...this.#groups].map((group) => `+ ${group}\n`).join(''));
  }
}

const reapers = new WeakMap<World, Reaper>();

/** The one of a proxy; `undefined` where there are no process groups. */
export function reaperOf(world: World): Reaper | undefined {
  if (process.platform === 'win32') return undefined;
  const reaper = reapers.get(world) ?? new Reaper(world);
  reapers.set(world, reaper);
  return reaper;
}
