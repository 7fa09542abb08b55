// @ts-check
// The direct client: one MCP server over its own stdin and stdout, with nothing in between. It shakes hands and refuses
// the server's questions exactly as the proxy does for a simple client, so that any other difference is the proxy's.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** @typedef {{ command: string, args: string[], env: Record<string, string> }} Entry an entry of `mcpServers` */
/** @typedef {{ jsonrpc: '2.0', id: string | number, result?: any, error?: any }} Answer */

const handshake = {
  protocolVersion: '2025-11-25',
  capabilities: { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} },
  clientInfo: { name: '@prompty-app/mcp-proxy', version: '1.1.0' },
};

/**
 * Starts the server and shakes hands with it.
 * @param {Entry} entry
 * @param {{ cwd: string, env: Record<string, string> }} place the working directory and the environment below the entry's own
 */
export async function connect({ command, args, env }, place) {
  const child = spawn(command, args, { cwd: place.cwd, env: { ...place.env, ...env }, detached: true });
  const ended = once(child, 'close');
  ended.catch(() => {}); // a failed spawn is reported through the calls that wait
  /** @type {Map<string | number, { resolve: (answer: Answer) => void, reject: (error: Error) => void }>} */
  const waiting = new Map();
  let stderr = '';
  let rest = '';

  child.stdin.on('error', () => {}); // a broken pipe shows as the end of the child
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  child.stdout.setEncoding('utf8').on('data', (text) => {
    const lines = (rest + text).split('\n'); // not readline: it also breaks at U+2028, which is legal inside a JSON string
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') receive(JSON.parse(line));
  });
  child.on('error', fail);
  child.on('close', (code, signal) => fail(new Error(`${command} ${args.join(' ')} ended (${signal ?? code})\n${stderr}`)));

  /** @param {Error} error */
  function fail(error) {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  }

  /** @param {any} message */
  function send(message) {
    child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  /** @param {any} message */
  function receive(message) {
    if (message.method === undefined) {
      waiting.get(message.id)?.resolve(message);
      waiting.delete(message.id);
    } else if (message.id !== undefined) {
      send({ id: message.id, ...reply(message.method) });
    }
  }

  /** @param {string} method */
  function reply(method) {
    if (method === 'ping') return { result: {} };
    if (waiting.size === 0) return { error: { code: -32603, message: 'no client to ask' } };
    return { error: { code: -32601, message: `client does not support ${method}` } };
  }

  /**
   * @param {string | number} id
   * @param {string} method
   * @param {unknown} [params]
   * @returns {Promise<Answer>}
   */
  function request(id, method, params) {
    return new Promise((resolve, reject) => {
      if (child.exitCode !== null || child.signalCode !== null) return reject(new Error(`${command} has ended\n${stderr}`));
      waiting.set(id, { resolve, reject });
      send({ id, method, params });
    });
  }

  /** Ends the server: the end of its input first, its process group when that was not enough. */
  async function close() {
    child.stdin.end();
    const impatience = setTimeout(() => child.pid && process.kill(-child.pid, 'SIGKILL'), 5_000);
    await ended.catch(() => {});
    clearTimeout(impatience);
  }

  const initialized = await request('handshake', 'initialize', handshake);
  send({ method: 'notifications/initialized' });
  return { initialized, handshake, request, close };
}
