// Unknown JSON -> Config, or every problem with its path. Problems name types, never values: a value may be a secret.

import { isObject } from '../wire/jsonrpc.ts';

/** One MCP server as the operator wants it, with every default filled in. */
export interface ServerConfig {
  /** Absent for an entry that is not startable (`url` only). */
  readonly command: string | undefined;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly disabled: boolean;
  readonly autoRestart: boolean;
  /** Restarts in a row; 0 = never. */
  readonly maxRestarts: number;
  /** One process for all clients, or one more for each MCP session. */
  readonly isolation: 'shared' | 'session';
  /** What the proxy declares to a shared process, instead of its default. */
  readonly clientCapabilities: Readonly<Record<string, unknown>> | undefined;
  /** Which era the server speaks; `auto`: it is asked. */
  readonly protocol: 'auto' | 'legacy' | 'modern';
}

/** The whole configuration; the order of the map is the order of the file. */
export interface Config {
  readonly servers: ReadonlyMap<string, ServerConfig>;
  /** Paths of keys that nothing reads. */
  readonly ignored: readonly string[];
}

/** The JSON form of one entry, for those who write it in TypeScript. */
export interface ServerConfigInput extends Partial<Omit<ServerConfig, 'env'>> {
  readonly env?: Readonly<Record<string, string | number | boolean>>;
  readonly [key: string]: unknown;
}

export interface ConfigInput {
  mcpServers: Readonly<Record<string, ServerConfigInput>>;
  [key: string]: unknown;
}

export type Parsed = { readonly config: Config } | { readonly problems: readonly string[] };

const RESERVED = new Set(['api', 'health', '.well-known']);
const MAX_NAME_BYTES = 128;
const MAX_LEVELS = 100; // of what is written on to a server: `JSON.parse` takes more than `JSON.stringify` does

/** Checks a whole configuration and reports every problem, not only the first. */
export function parseConfig(json: unknown, maxServers: number): Parsed {
  if (!isObject(json)) return { problems: [`expected an object, got ${typeName(json)}`] };
  if (!Object.hasOwn(json, 'mcpServers')) return { problems: ['mcpServers: missing; expected an object'] };
  const entries = json['mcpServers'];
  if (!isObject(entries)) return { problems: [`mcpServers: expected an object, got ${typeName(entries)}`] };
  const names = Object.keys(entries);
  if (names.length > maxServers) return { problems: [`mcpServers: ${names.length} servers, at most ${maxServers} are allowed`] };

  const problems: string[] = [];
  const ignored: string[] = [];
  const servers = new Map<string, ServerConfig>();
  for (const name of names) {
    const path = `mcpServers${memberPath(name)}`;
    const wrongName = nameProblem(name);
    if (wrongName !== undefined) problems.push(`${path}: ${wrongName}`);
    const entry = entries[name];
    if (!isObject(entry)) problems.push(`${path}: expected an object, got ${typeName(entry)}`);
    else servers.set(name, parseServer(entry, path, problems, ignored));
  }
  return problems.length > 0 ? { problems } : { config: { servers, ignored } };
}

/** Why a name cannot be a server name: it is one segment of the URL path. */
function nameProblem(name: string): string | undefined {
  if (name === '') return 'a server name must not be empty';
  if (name === '.' || name === '..') return `a server name must not be "${name}"`;
  if (name.includes('/')) return 'a server name must not contain "/"';
  if (name.includes('\\')) return 'a server name must not contain "\\"';
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) return 'a server name must not contain control characters';
  if (/\p{Surrogate}/u.test(name)) return 'a server name must be valid Unicode';
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) return `a server name must not be longer than ${MAX_NAME_BYTES} bytes`;
  if (RESERVED.has(name)) return `"${name}" is a path of the proxy itself`;
  return undefined;
}

function parseServer(entry: Record<string, unknown>, path: string, problems: string[], ignored: string[]): ServerConfig {
  const expected = (at: string, what: string, value: unknown, got = typeName(value)): void => {
    problems.push(`${path}${at}: expected ${what}, got ${got}`);
  };
  const text = (at: string, what: string, value: unknown): string => {
    if (typeof value !== 'string') expected(at, what, value);
    else if (value.includes('\0')) problems.push(`${path}${at}: must not contain a NUL character`);
    return value as string;
  };
  const flag = (key: string, otherwise: boolean): boolean => {
    const value = own(entry, key, otherwise);
    if (typeof value !== 'boolean') expected(`.${key}`, 'a boolean', value);
    return value === true;
  };
  const oneOf = <T extends string>(key: string, ...choices: readonly [T, ...T[]]): T => {
    const value = own(entry, key, choices[0]);
    const choice = choices.find((known) => known === value);
    const what = choices.map((known) => `"${known}"`).join(' or ');
    if (choice === undefined) expected(`.${key}`, what, value, typeof value === 'string' ? 'another string' : undefined);
    return choice ?? choices[0];
  };

  const command = own(entry, 'command');
  const url = own(entry, 'url');
  if (command === '') expected('.command', 'a non-empty string', command, 'an empty one');
  else if (command !== undefined) text('.command', 'a non-empty string', command);
  else if (url !== undefined) text('.url', 'a string', url);
  else problems.push(`${path}.command: missing; expected a non-empty string`);

  const args = own(entry, 'args', []);
  if (Array.isArray(args)) args.forEach((arg, k) => text(`.args[${k}]`, 'a string', arg));
  else expected('.args', 'an array of strings', args);

  const env: Record<string, string> = Object.create(null);
  const given = own(entry, 'env', {});
  if (!isObject(given)) expected('.env', 'an object of strings', given);
  else
    for (const [key, value] of Object.entries(given)) {
      const at = `.env${memberPath(key.replace(/=[^]+/, '=***'))}`; // a value that was put in the wrong place may be a secret
      if (key === '' || /[=\0]/.test(key)) problems.push(`${path}${at}: not a name of an environment variable`);
      env[key] = typeof value === 'number' || typeof value === 'boolean' ? String(value) : text(at, 'a string', value);
    }

  const maxRestarts = own(entry, 'maxRestarts', 3);
  if (typeof maxRestarts !== 'number') expected('.maxRestarts', 'an integer >= 0', maxRestarts);
  else if (!Number.isSafeInteger(maxRestarts) || maxRestarts < 0) {
    expected('.maxRestarts', 'an integer >= 0', maxRestarts, Number.isInteger(maxRestarts) ? 'one out of range' : 'a fraction');
  }

  const clientCapabilities = own(entry, 'clientCapabilities');
  if (clientCapabilities !== undefined && !isObject(clientCapabilities)) expected('.clientCapabilities', 'an object', clientCapabilities);
  else if (!isWithin(MAX_LEVELS, clientCapabilities)) problems.push(`${path}.clientCapabilities: nested more than ${MAX_LEVELS} levels deep`);

  const server: ServerConfig = {
    command: command as string | undefined,
    args: args as string[],
    env,
    disabled: flag('disabled', false),
    autoRestart: flag('autoRestart', true),
    maxRestarts: maxRestarts as number,
    isolation: oneOf('isolation', 'shared', 'session'),
    clientCapabilities: clientCapabilities as ServerConfig['clientCapabilities'],
    protocol: oneOf('protocol', 'auto', 'legacy', 'modern'),
  };
  for (const key of Object.keys(entry)) if (key !== 'url' && !Object.hasOwn(server, key)) ignored.push(`${path}${memberPath(key)}`);
  return server;
}

/** An own member, or the default where it is absent; an inherited one (`constructor`) is absent, `null` is not. */
function own(object: Record<string, unknown>, key: string, otherwise?: unknown): unknown {
  const value = Object.hasOwn(object, key) ? object[key] : undefined;
  return value === undefined ? otherwise : value;
}

function isWithin(levels: number, value: unknown): boolean {
  return typeof value !== 'object' || value === null || (levels > 0 && Object.values(value).every((each) => isWithin(levels - 1, each)));
}

/** `.name` where that reads well, else `["name"]`. */
function memberPath(name: string): string {
  return /^[A-Za-z_$][\w$-]*$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`;
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (value === undefined) return 'nothing';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
