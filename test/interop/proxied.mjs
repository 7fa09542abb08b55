// @ts-check
// The proxied side: the proxy as a user starts it, and a client of the simple dialect, which sends a bare POST.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { fileURLToPath } from 'node:url';

/** The program under test: the repository's build, or the one that MCP_PROXY_ENTRY names. */
const entry = process.env['MCP_PROXY_ENTRY'] ?? fileURLToPath(new URL('../../dist/index.js', import.meta.url));

/**
 * Starts the proxy and waits for the line with its address.
 * @param {{ cwd: string, env: Record<string, string> }} place
 * @param {string} configPath
 */
export async function startProxy({ cwd, env }, configPath) {
  const child = spawn(process.execPath, [entry], {
    cwd,
    env: { ...env, CONFIG_PATH: configPath, PORT: '0', HOST: '127.0.0.1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'exit');
  let stdout = '';
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const port = await new Promise((resolve, reject) => {
    const deadline = setTimeout(() => reject(new Error(`no address within 30 s\n${stdout}${stderr}`)), 30_000);
    child.on('exit', (code) => reject(new Error(`the proxy ended with ${code}\n${stdout}${stderr}`)));
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      const address = /http:\/\/127\.0\.0\.1:(\d+)\//.exec(stdout);
      if (address === null) return;
      clearTimeout(deadline);
      resolve(Number(address[1]));
    });
  }).catch((error) => {
    child.kill('SIGKILL');
    throw error;
  });
  return { port, child, ended, log: () => stderr };
}

/**
 * Posts one JSON-RPC message the way the README shows it: no handshake, no session, one header.
 * @param {number} port
 * @param {string} server
 * @param {unknown} message
 * @returns {Promise<{ status: number | undefined, type: string | undefined, body: any }>}
 */
export function post(port, server, message) {
  return new Promise((resolve, reject) => {
    const req = httpRequest({
      host: '127.0.0.1',
      port,
      path: `/${server}/mcp`,
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      agent: false,
      timeout: 60_000,
    });
    req.on('timeout', () => req.destroy(new Error(`no answer from /${server}/mcp within 60 s`)));
    req.on('error', reject);
    req.on('response', async (res) => {
      try {
        let text = '';
        for await (const part of res.setEncoding('utf8')) text += part;
        resolve({ status: res.statusCode, type: res.headers['content-type'], body: JSON.parse(text) });
      } catch (error) {
        reject(error);
      }
    });
    req.end(JSON.stringify(message));
  });
}
