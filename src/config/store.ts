// The one queue through which every change of the configuration goes: the file, the API, the embedder. Each is
// judged whole before anything is touched, so what runs is always one of the states that somebody asked for.

import { ProxyError } from '../base/errors.ts';
import { isObject } from '../wire/jsonrpc.ts';
import type { Diff } from './diff.ts';
import { codeOf, parseConfigText, readConfigFile, writeConfigFile, type FileState } from './file.ts';
import { parseConfig, type Config } from './schema.ts';
import { watchConfigFile } from './watch.ts';
import type { World } from './world.ts';

export class ConfigStore {
  readonly #path: string | undefined;
  readonly #world: World;
  readonly #apply: (config: Config) => Diff;
  #queue: Promise<unknown> = Promise.resolve();
  #bytes: Buffer | undefined; // of the file, as last looked at
  #watch: { close(): void } | undefined;

  /** Without a `path` the configuration lives in memory only. `apply` takes a valid one over, at once, and tells what that meant. */
  constructor(path: string | undefined, world: World, apply: (config: Config) => Diff) {
    this.#path = path;
    this.#world = world;
    this.#apply = apply;
  }

  /** Reads the file for the first time. A missing one is no servers. @throws ProxyError `invalid_config` */
  async open(): Promise<void> {
    const path = this.#path;
    if (path === undefined) return;
    const { log, limits } = this.#world;
    const file = await readConfigFile(path, limits.maxConfigBytes);
    if (file.is !== 'missing') return this.#take(file);
    log.warn('-', 'config_missing', `no configuration file at ${path}: running without servers until there is one`);
  }

  /** Follows the file until `close`. */
  watch(): void {
    const path = this.#path;
    if (path === undefined) return;
    this.#watch = watchConfigFile(path, this.#world, () => void this.#enqueue(() => this.#fromFile(path)));
  }

  close(): void {
    this.#watch?.close();
  }

  /** Takes over the first configuration of an embedder, at once. @throws ProxyError `invalid_config` */
  load(json: unknown): Diff {
    return this.#apply(this.#check(json));
  }

  /** Takes over another one in its turn, without writing it. @throws ProxyError `invalid_config` */
  reload(json: unknown): Promise<Diff> {
    return this.#enqueue(() => this.load(json));
  }

  /** Takes over `mcpServers` of `json` and writes it to the file first. @throws ProxyError */
  replace(json: unknown): Promise<Diff> {
    return this.#enqueue(async () => {
      const config = this.#check(json);
      if (this.#path !== undefined) await this.#write(this.#path, (json as { mcpServers: unknown }).mcpServers);
      return this.#apply(config);
    });
  }

  #enqueue<T>(job: () => T | Promise<T>): Promise<T> {
    const done = this.#queue.then(job);
    this.#queue = done.catch(() => {}); // its own caller sees the failure
    return done;
  }

  async #fromFile(path: string): Promise<void> {
    const { log, limits } = this.#world;
    const file = await readConfigFile(path, limits.maxConfigBytes);
    const keeps = 'the running configuration stays';
    if (file.is === 'missing') {
      if (this.#bytes !== undefined) log.warn('-', 'config_missing', `the configuration file is gone: ${keeps}`);
      this.#bytes = undefined;
      return;
    }
    if (file.is === 'read' && this.#bytes?.equals(file.bytes)) return;
    try {
      this.#take(file);
    } catch (error) {
      const event = file.is === 'unreadable' ? 'config_unreadable' : 'config_invalid';
      for (const problem of problemsOf(error)) log.error('-', event, `${problem} (${keeps})`);
    }
  }

  /** Takes over what was found in the file. @throws ProxyError `invalid_config` */
  #take(file: Exclude<FileState, { is: 'missing' }>): void {
    if (file.is === 'unreadable') throw invalid([`the configuration file is ${file.why}`]);
    this.#bytes = file.bytes;
    const text = parseConfigText(file.bytes);
    if ('problem' in text) throw invalid([`the configuration file is ${text.problem}`]);
    this.load(text.json);
  }

  #check(json: unknown): Config {
    const { log, limits } = this.#world;
    const parsed = parseConfig(json, limits.maxServers);
    if ('problems' in parsed) throw invalid(parsed.problems, limits.maxProblems);
    for (const path of parsed.config.ignored) log.debug('-', 'config_ignored', `${path} is not read by this version`);
    return parsed.config;
  }

  /** Puts `mcpServers` into the file; its other keys stay. Nothing is written where nothing would change. */
  async #write(path: string, mcpServers: unknown): Promise<void> {
    const { limits } = this.#world;
    const file = await readConfigFile(path, limits.maxConfigBytes);
    if (file.is === 'unreadable') throw new ProxyError('config_write_failed', `The configuration file is ${file.why}`);
    const text = file.is === 'missing' ? { json: {} } : parseConfigText(file.bytes);
    const conflict = (why: string) =>
      new ProxyError('config_conflict', `The configuration file is ${why}; mend or remove it, nothing was overwritten`);
    if ('problem' in text) throw conflict(text.problem);
    if (!isObject(text.json)) throw conflict('not a JSON object');

    const next = encode({ ...text.json, mcpServers });
    if (next === undefined) throw invalid(['nested too deeply']);
    if (next.length > limits.maxConfigBytes) {
      throw new ProxyError('too_large', `Payload too large: the configuration file may have ${limits.maxConfigBytes} bytes`);
    }
    if (file.is === 'read' && encode(text.json)?.equals(next)) return;
    try {
      await writeConfigFile(path, next.toString());
    } catch (error) {
      throw new ProxyError('config_write_failed', `The configuration file cannot be written (${codeOf(error)}); nothing was applied`);
    }
    this.#bytes = next;
  }
}

/** What makes a configuration unusable, a line each. */
export function problemsOf(error: unknown): readonly string[] {
  return error instanceof ProxyError ? (error.data['problems'] as string[]) : [String(error)];
}

/** The text of the file; none for what is nested too deeply, as `JSON.parse` takes more levels than `JSON.stringify` does. */
function encode(json: unknown): Buffer | undefined {
  try {
    return Buffer.from(`${JSON.stringify(json, null, 2)}\n`);
  } catch {
    return undefined;
  }
}

function invalid(problems: readonly string[], most = problems.length): ProxyError {
  const shown = problems.slice(0, most);
  if (problems.length > most) shown.push(`and ${problems.length - most} more`);
  const count = `${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`;
  return new ProxyError('invalid_config', `Invalid configuration: ${count}`, { data: { problems: shown } });
}
