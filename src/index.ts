#!/usr/bin/env node
// The program: settings from the environment, signals, exit codes. The only file that touches the process it runs in.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { systemClock } from './base/clock.ts';
import { traceOf } from './base/errors.ts';
import { formatEntry, Log, type LogSink } from './base/log.ts';
import { readSettings, SettingError, type Settings } from './config/env.ts';
import { codeOf } from './config/file.ts';
import { LIMITS } from './config/limits.ts';
import { problemsOf } from './config/store.ts';
import { isLoopbackHost } from './http/guard.ts';
import { listen, type HttpServer } from './http/server.ts';
import { createProxy, IMPLEMENTATION } from './proxy.ts';

const LAST_BYTES_MS = 400; // for answers that are still on their way when the five seconds of calls are over
/** Why a port cannot be opened, and what to do. */
const UNUSABLE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'it is in use; set PORT to another one',
  EACCES: 'not permitted (EACCES); set PORT to 1024 or above',
  EADDRNOTAVAIL: 'not an address of this machine (EADDRNOTAVAIL); set HOST to one',
  ENOTFOUND: 'no such name (ENOTFOUND); set HOST to an address of this machine',
};
const SECOND_SIGNAL_MS = 1_000; // npm and a terminal both deliver one Ctrl-C, so a second one counts only after this

for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {}); // nobody reads them any more

const settings = settingsOrExit();
const { host, port, authToken, publicUrl } = settings;
const configPath = resolve(settings.configPath);
const sink: LogSink = {
  level: settings.logLevel,
  write: (entry) => void process.stderr.write(`${formatEntry(entry, settings.logFormat)}\n`),
};
const log = new Log(sink, systemClock);
const proxy = createProxy({
  configPath,
  env: settings.childEnv,
  secrets: settings.secrets,
  limits: settings.limits,
  log: sink,
  sseEndpoint: settings.sseEndpoint,
  auth: { ...settings, token: authToken },
});
let server: HttpServer | undefined;
let signalledAt: number | undefined;

// An unhandled rejection is an uncaught exception to Node, too.
process.on('uncaughtException', (thrown: unknown) => {
  log.error('-', 'crash', `a bug ended the proxy: ${traceOf(thrown)}`);
  proxy.kill();
  process.exit(1);
});
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, onSignal);

await proxy.open().catch((error: unknown) => {
  for (const problem of problemsOf(error)) log.error('-', 'config_invalid', `${configPath}: ${problem}`);
  process.exit(1);
});
const opened = await openPort();
server = opened;
proxy.start();
systemClock.soon(() => announce(opened.port)); // what takes longest begins first: the processes of the servers

function settingsOrExit(): Settings {
  try {
    const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
    if (major < 20 || (major === 20 && minor < 12)) throw new SettingError(`mcp-proxy needs Node 20.12 or later, and this is ${process.versions.node}`);
    if (process.argv.length > 2) throw new SettingError('mcp-proxy takes no arguments: PORT, CONFIG_PATH and all else are environment variables');
    return readSettings(process.env, dotenv());
  } catch (error) {
    if (!(error instanceof SettingError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
}

function dotenv(): string {
  try {
    return readFileSync('.env', 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return '';
    throw new SettingError(`.env: cannot be read (${codeOf(error)})`);
  }
}

function onSignal(signal: string): void {
  if (signalledAt === undefined) {
    const now = (signalledAt = systemClock.now());
    log.info('-', 'shutdown', `${signal}: shutting down`);
    server?.stopAccepting();
    void proxy
      .close()
      .then(() => server?.close(Math.max(LAST_BYTES_MS, now + LIMITS.drainShutdownMs - systemClock.now())))
      .then(() => process.exit(0));
  } else if (systemClock.now() - signalledAt >= SECOND_SIGNAL_MS) {
    proxy.kill();
    process.exit(1);
  }
}

async function openPort(): Promise<HttpServer> {
  try {
    return await listen({
      host,
      port,
      limits: { ...LIMITS, ...settings.limits },
      handle: proxy.listener,
      onDrop: () => log.warn('-', 'connection_refused', 'a connection was refused: too many are open'),
    });
  } catch (error) {
    const code = codeOf(error);
    log.error('-', 'listen_failed', `cannot listen on port ${port} of ${host}: ${UNUSABLE[code] ?? code}`);
    process.exit(1);
  }
}

/** Says where everything is, on stdout. */
function announce(bound: number): void {
  const address = `${host.includes(':') ? `[${host}]` : host}:${bound}`;
  const origin = publicUrl?.origin ?? `http://${address}`;
  const lines = [`MCP proxy ${IMPLEMENTATION.version} on ${origin}${publicUrl === undefined ? '' : ` (port ${bound})`}`];
  for (const server of proxy.servers()) {
    const base = `${origin}/${encodeURIComponent(server)}`;
    lines.push(`  ${server}  ${base}/mcp  ${base}/sse`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
  if (authToken === undefined && !isLoopbackHost(host)) {
    log.warn('-', 'open', `anyone who reaches ${address} can use these servers: set AUTH_TOKEN, or HOST=127.0.0.1`);
  } else if (authToken === undefined && publicUrl !== undefined && !isLoopbackHost(publicUrl.hostname)) {
    log.warn('-', 'open', `anyone who reaches ${publicUrl.host} can use these servers, and change them if that does not say that it forwards: set AUTH_TOKEN`);
  }
}
