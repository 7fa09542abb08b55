// Settings: the environment, then `.env`, then the default; and what of both a child inherits.

import { createRequire } from 'node:module';
import { LIMITS, type Limits } from './limits.ts';

/** What `readSettings` makes of the environment. */
export type Settings = ReturnType<typeof readSettings>;

/** A setting that cannot be used; the message names the variable and what was expected, never the value. */
export class SettingError extends Error {}

const MAX_MS = 2_147_483_647; // what a timer can count
const NUMBERS = {
  IDLE_TIMEOUT: { limit: 'idleTimeoutMs', min: 0, max: MAX_MS },
  REQUEST_TIMEOUT: { limit: 'requestTimeoutMs', min: 0, max: MAX_MS },
  START_TIMEOUT: { limit: 'startTimeoutMs', min: 1, max: MAX_MS },
  START_CONCURRENCY: { limit: 'startConcurrency', min: 1, max: 1_000 },
  MAX_BODY_BYTES: { limit: 'maxBodyBytes', min: 1, max: 1_073_741_824 },
  MAX_LINE_BYTES: { limit: 'maxLineBytes', min: 1, max: 1_073_741_824 },
  MAX_PENDING: { limit: 'maxPending', min: 1, max: 1_000_000 },
  SESSION_TIMEOUT: { limit: 'sessionTimeoutMs', min: 1, max: MAX_MS },
  MAX_SESSIONS: { limit: 'maxSessions', min: 1, max: 1_000_000 },
  MAX_ISOLATED: { limit: 'maxIsolated', min: 1, max: 10_000 },
  SSE_AFTER_MS: { limit: 'sseAfterMs', min: 1, max: MAX_MS },
} as const;

/** Every variable that the proxy reads itself; children do not inherit them. */
export const SETTING_NAMES: readonly string[] = [
  'PORT', 'HOST', 'CONFIG_PATH', 'AUTH_TOKEN', 'ALLOWED_ORIGINS', 'ALLOWED_HOSTS', 'PUBLIC_URL', 'LOG_LEVEL', 'LOG_FORMAT', 'SSE_ENDPOINT',
  ...Object.keys(NUMBERS),
]; // prettier-ignore

/** Reads all settings. `dotenv` is the text of `.env`. @throws SettingError */
export function readSettings(environment: Readonly<Record<string, string | undefined>>, dotenv: string) {
  const fromFile = dotenv === '' ? {} : parseDotenv(dotenv);
  const all: Record<string, string | undefined> = { ...fromFile, ...environment };
  const get = (name: string): string | undefined => (all[name] === '' ? undefined : all[name]);

  function integer(name: string, min: number, max: number): number | undefined {
    const text = get(name);
    if (text === undefined) return undefined;
    const value = /^\d+$/.test(text.trim()) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new SettingError(`${name}: expected an integer from ${min} to ${max}`);
  }
  function oneOf<T extends string>(name: string, choices: readonly [T, ...T[]]): T {
    const text = get(name) ?? choices[0];
    const choice = choices.find((known) => known === text);
    if (choice === undefined) throw new SettingError(`${name}: expected one of ${choices.join(', ')}`);
    return choice;
  }
  const list = (name: string): string[] => (get(name) ?? '').split(',').map((item) => item.trim()).filter((item) => item !== '');

  const limits: Partial<Record<keyof Limits, number>> = {};
  for (const [name, { limit, min, max }] of Object.entries(NUMBERS)) limits[limit] = integer(name, min, max) ?? LIMITS[limit];

  const authToken = get('AUTH_TOKEN');
  if (authToken !== undefined && authToken.length < 16) throw new SettingError('AUTH_TOKEN: expected 16 characters or more');
  if (authToken !== undefined && !/^[\x21-\x7e]+$/.test(authToken)) {
    throw new SettingError('AUTH_TOKEN: expected printable ASCII without spaces');
  }
  const allowedOrigins = list('ALLOWED_ORIGINS').map((origin) => origin.toLowerCase());
  if (!allowedOrigins.every((origin) => /^https?:/.test(origin) && URL.canParse(origin) && new URL(origin).origin === origin)) {
    throw new SettingError('ALLOWED_ORIGINS: expected origins such as https://app.example.com, separated by commas');
  }
  const allowedHosts = list('ALLOWED_HOSTS').map((host) => host.toLowerCase());
  if (allowedHosts.some((host) => host !== '*' && /[/@*\s]/.test(host))) throw new SettingError('ALLOWED_HOSTS: expected host names such as mcp.example.com, separated by commas');
  const publicUrl = get('PUBLIC_URL');
  if (publicUrl !== undefined && !(URL.canParse(publicUrl) && /^https?:$/.test(new URL(publicUrl).protocol))) {
    throw new SettingError('PUBLIC_URL: expected an absolute http or https URL');
  }

  return {
    port: integer('PORT', 0, 65_535) ?? 3000,
    host: get('HOST') ?? '127.0.0.1',
    configPath: get('CONFIG_PATH') ?? './mcp-config.json',
    authToken,
    allowedOrigins,
    allowedHosts,
    publicUrl: publicUrl === undefined ? undefined : new URL(publicUrl),
    logLevel: oneOf('LOG_LEVEL', ['info', 'error', 'warn', 'debug']),
    logFormat: oneOf('LOG_FORMAT', ['text', 'json']),
    sseEndpoint: oneOf('SSE_ENDPOINT', ['auto', 'json', 'uri']),
    limits,
    /** What children inherit: the environment and `.env` without the proxy's own names. */
    childEnv: Object.fromEntries(Object.entries(all).filter(([name, value]) => value !== undefined && !SETTING_NAMES.includes(name))),
    /** Values of `.env`, for redaction. */
    secrets: Object.values(fromFile),
  };
}

/** One entry of `.env`, comment or blank line; a quoted value may go on over lines. */
const ENTRY = /[^\S\n]*(?:#[^\n]*|[^\s=#\0][^=\n\0]*=[^\S\n]*(?:(["'`])[^]*?\1)?[^\n]*)?(?:\n|$)/y;

/** The variables of a text that is not empty. A line that is none is refused: on some versions of Node the next one, say AUTH_TOKEN, would be lost with it. */
function parseDotenv(text: string): Record<string, string> {
  for (let at = 0; at < text.length; at = ENTRY.lastIndex) {
    ENTRY.lastIndex = at;
    if (!ENTRY.test(text)) throw new SettingError(`.env: expected NAME=value in line ${text.slice(0, at).split('\n').length}`);
  }
  // Loaded only where there is a file: it is 150 KiB of memory.
  const { parseEnv } = createRequire(import.meta.url)('node:util') as typeof import('node:util');
  const variables = Object.entries(parseEnv(text) as Record<string, string>);
  return Object.fromEntries(variables.map(([name, value]) => [name.trim(), value])); // of a byte order mark, or of a blank line before it
}
