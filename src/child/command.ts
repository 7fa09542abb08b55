// How a command of the configuration is spawned: what is searched where, and what Windows needs a `cmd.exe` for
// (`npx.cmd` and its like). Pure: it asks the machine nothing but whether a file is there.

import { posix, win32 } from 'node:path';

/** What it depends on beside the command itself. */
export interface Host {
  readonly platform: string;
  /** The running `node`. */
  readonly execPath: string;
  isThere(path: string): boolean;
}

/** What to hand to `spawn`. */
export interface Spawnable {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The arguments are a command line as it stands (Windows). */
  readonly verbatim: boolean;
  /** The PATH that is searched for the command; `undefined` where none is. */
  readonly searched: string | undefined;
}

/**
 * Resolves a command. The directory of the running `node` is added to the end of PATH: with a version manager or a
 * desktop start the rest of it often has no `node` and no `npx`. @throws Error with the code `EINVAL` for arguments
 * that no batch file can be given.
 */
export function resolveCommand(command: string, args: readonly string[], given: Readonly<Record<string, string>>, host: Host): Spawnable {
  const windows = host.platform === 'win32';
  const { delimiter, dirname } = windows ? win32 : posix;
  const name = nameOf('PATH', given, windows);
  const before = given[name];
  const own = dirname(host.execPath);
  const path = before && !before.split(delimiter).includes(own) ? `${before}${delimiter}${own}` : before;
  const env = path === undefined ? given : { ...given, [name]: path };
  const searched = (windows ? /[\\/:]/ : /\//).test(command) ? undefined : path;
  const file = windows ? findOnWindows(command, searched, env, host) : command;
  if (!windows || /\.(exe|com)$/i.test(file) || file === command) return { file, args, env, verbatim: false, searched };
  // `"` cannot be in the name of a file there; what is behind /c is stripped of its outer quotes.
  const line = [`"${file}"`, ...args.map(quoteForBatch)].join(' ');
  const interpreter = env[nameOf('COMSPEC', env, true)] ?? 'cmd.exe';
  return { file: interpreter, args: ['/e:on', '/v:off', '/d', '/s', '/c', `"${line}"`], env, verbatim: true, searched };
}

/** The name under which an environment has this variable: on Windows case does not count, and the first in order wins. */
function nameOf(wanted: string, env: Readonly<Record<string, string>>, windows: boolean): string {
  if (!windows) return wanted;
  return Object.keys(env).sort().find((name) => name.toUpperCase() === wanted) ?? wanted;
}

/** The file of a command with one of the endings that can be run, or the command as it is: then spawning says why not. */
function findOnWindows(command: string, path: string | undefined, env: Readonly<Record<string, string>>, host: Host): string {
  const endings = (env[nameOf('PATHEXT', env, true)] ?? '.COM;.EXE;.BAT;.CMD').split(';').filter(Boolean);
  const has = endings.some((ending) => command.toLowerCase().endsWith(ending.toLowerCase()));
  const names = [...(has ? [command] : []), ...endings.map((ending) => command + ending.toLowerCase())];
  const dirs = path === undefined ? [''] : path.split(';').map((dir) => dir.replaceAll('"', '')).filter(Boolean);
  for (const dir of dirs) for (const each of names) if (host.isThere(win32.join(dir, each))) return win32.join(dir, each);
  return command;
}

/**
 * One argument for a batch file. It is read by `cmd.exe`, again where the batch file passes it on as `%*`, and at last
 * by the program, so it stays within quotes all the way: a quote in it is doubled, which none of them takes for the
 * end; backslashes before a quote are doubled for the program; `%` gets an empty variable behind it, so that no two
 * of them enclose a name.
 */
function quoteForBatch(arg: string): string {
  if (/[\0\r\n]/.test(arg)) throw Object.assign(new Error('a batch file takes no arguments with line ends'), { code: 'EINVAL' });
  return `"${arg.replace(/(\\*)("|$)/g, '$1$1$2$2').replaceAll('%', '%%cd:~,%')}"`;
}
