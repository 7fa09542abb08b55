// HTTP as the clients of the soak need it: a request, and the messages of its answer as they come, from JSON or a stream.
// @ts-check
import { Agent, request } from 'node:http';

export const agent = new Agent({ keepAlive: true, maxSockets: 64 });

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {import('node:http').IncomingHttpHeaders} headers
 * @property {any[]} messages of the body, in order
 */

/**
 * Sends a request; resolves at the end of its answer. `onMessage` hears each message as it comes; a stream without an end
 * is left by `signal`.
 * @param {string} url
 * @param {{ method?: string, headers?: Record<string, string | undefined>, body?: unknown, signal?: AbortSignal, onMessage?: (message: any, event: string) => void, onOpen?: (answer: Answer) => void }} options
 * @returns {Promise<Answer>}
 */
export function send(url, { method = 'POST', headers = {}, body, signal, onMessage = () => {}, onOpen = () => {} }) {
  const text = body === undefined ? '' : JSON.stringify(body);
  const given = Object.fromEntries(Object.entries({ ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers }).filter(([, value]) => value !== undefined));
  return new Promise((resolve, reject) => {
    const req = request(url, { method, agent, headers: /** @type {Record<string, string>} */ (given), ...(signal && { signal }) }, (res) => {
      /** @type {Answer} */
      const answer = { status: res.statusCode ?? 0, headers: res.headers, messages: [] };
      const hear = (/** @type {string} */ data, event = 'message') => {
        const message = data.startsWith('{') || data.startsWith('[') ? JSON.parse(data) : data;
        answer.messages.push(message);
        onMessage(message, event);
      };
      const streams = res.headers['content-type']?.startsWith('text/event-stream') === true;
      let rest = '';
      res.setEncoding('utf8');
      res.on('data', (chunk) => {
        rest += chunk;
        if (!streams) return;
        const events = rest.split('\n\n');
        rest = events.pop() ?? '';
        for (const event of events) {
          const data = /^data: ?(.+)$/m.exec(event)?.[1];
          if (data !== undefined) hear(data, /^event: ?(.*)$/m.exec(event)?.[1]);
          if (answer.messages.length > 1_000) answer.messages.splice(0, 500); // of a stream without an end
        }
      });
      res.on('end', () => {
        try {
          if (!streams && rest.startsWith('{')) hear(rest);
          resolve(answer);
        } catch (error) {
          reject(error);
        }
      });
      res.on('error', reject);
      onOpen(answer);
    });
    req.on('error', reject);
    req.end(text);
  });
}
