// What a call costs while it waits for its answer, which may be an hour: nothing of what is big in its request.

import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { until } from '../support/files.ts';
import { connect } from '../support/http.ts';
import { modernRequest } from '../support/modern.ts';
import { node, startProxy } from '../support/proxy.ts';
import { BOTH, inFlight, openSession } from '../support/session.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const MIB = 2 ** 20;

/** Bytes on the heap and beside it. */
function held(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const pad = 'x'.repeat(2 * MIB);
const params = { name: 'hold', arguments: { key: 'k' } };
const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { ...params, pad } };
const said = { experimental: { x: Array.from({ length: MIB / 2 }, () => []) } };

for (const [who, headers, message] of [
  ['a simple client', {}, call],
  ['a simple client, in a batch', {}, [call]],
  ['a client with a session', { Accept: BOTH }, call],
  ['a modern client', modernRequest('tools/call', params).headers, modernRequest('tools/call', { ...params, pad }).message],
  ['a modern client that says much of itself', modernRequest('tools/call', params).headers, modernRequest('tools/call', params, { capabilities: said }).message],
] as const) {
  for (const framing of ['content-length', 'transfer-encoding']) {
    test(`calls of ${who}, while they wait for their answers, keep nothing that is big in their requests (${framing})`, async (t) => {
      const proxy = await startProxy(t, { x: node('server.mjs') }, { limits: { drainShutdownMs: 50 } });
      const session = who.includes('session') ? (await openSession(t, proxy)).headers : {};
      await proxy.becomes('x', 'running');
      const body = Buffer.from(JSON.stringify(message));
      const all = { Host: 'localhost', 'Content-Type': 'application/json', ...headers, ...session, [framing]: framing === 'content-length' ? body.length : 'chunked' };
      const head = `POST /x/mcp HTTP/1.1\r\n${Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
      const send = async (): Promise<void> => {
        const client = await connect(proxy.port);
        t.after(() => client.close());
        client.write(head);
        if (framing !== 'content-length') client.write(`${body.length.toString(16)}\r\n`);
        client.write(body);
        if (framing !== 'content-length') client.write('\r\n0\r\n\r\n');
      };
      await send();
      await inFlight(proxy, 1);
      const before = held();
      for (let k = 0; k < 3; k++) await send();
      await inFlight(proxy, 4);
      let more = Infinity;
      await until(() => (more = held() - before) < MIB, () => `${more} bytes are kept of three calls of ${body.length}`, 3_000);
    });
  }
}
