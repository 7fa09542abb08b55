// Servers that read more leniently than the proxy does. What they take a message for is what the proxy has taken it for:
// else one client could call, cancel or answer for another, in words that nobody looked at.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { post } from '../support/http.ts';
import { modernClient, modernRequest } from '../support/modern.ts';
import { errorOf, node, startProxy, type TestProxy } from '../support/proxy.ts';
import { childHas, openSession, said, type TestSession } from '../support/session.ts';

/** A client whose call is in flight, and the id under which the child knows it. */
async function victim(t: Parameters<typeof openSession>[0], proxy: TestProxy): Promise<{ session: TestSession; id: number; end(): Promise<any[]> }> {
  const session = await openSession(t, proxy);
  const call = await session.toolStream('hold', { key: 'held' }, 'mine');
  const [{ id }] = await childHas(proxy, 'tools/call');
  return {
    session,
    id,
    async end() {
      await proxy.call('x', 'tools/call', { name: 'release', arguments: { key: 'free' } });
      await call.ended;
      return call.headers['content-type'] === 'application/json' ? [JSON.parse(call.raw.toString())] : said(call);
    },
  };
}

const released = { jsonrpc: '2.0', id: 'mine', result: { content: [{ type: 'text', text: '{"released":true}' }], structuredContent: { released: true } } };

/** Messages that are one thing by their names and another to who reads names leniently; `$ID` is the call of somebody else. */
const LOOKALIKES = [
  '{"jsonrpc":"2.0","id":1,"method":"tools/list","ID":$ID}',
  '{"jsonrpc":"2.0","method":"vendor/thing","Id":$ID}',
  '{"jsonrpc":"2.0","id":1,"method":"tools/list","i\\u0064\\u0000":$ID}',
  '{"jsonrpc":"2.0","id":1,"method":"tools/list","METHOD":"notifications/cancelled","params":{"requestId":$ID}}',
  '{"jsonrpc":"2.0","method":"vendor/thing","Method":"notifications/cancelled","params":{"requestId":$ID}}',
  '{"jsonrpc":"2.0","id":1,"method":"tools/list","paramſ":{"_meta":{"progressToken":$ID}}}',
  '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_META":{"progressToken":$ID}}}',
  '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"progressto\u212aen":$ID}}}',
  '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"progressToken":1,"ProgreſsToken":$ID}}}',
  '{"jsonrpc":"2.0","id":1,"result":{},"Method":"notifications/cancelled","params":{"requestId":$ID}}',
];

test('a message with a name that a lenient server takes for another is refused, and no server sees it', async (t) => {
  const proxy = await startProxy(t, { x: node('reads-leniently.mjs') });
  const { session, id, end } = await victim(t, proxy);
  const before = proxy.received('x').length;
  for (const text of LOOKALIKES) {
    const message = text.replaceAll('$ID', String(id));
    const { headers } = modernRequest('tools/list');
    for (const reply of [await post(proxy.url('/x/mcp'), message), await session.post(message), await post(proxy.url('/x/mcp'), `[${message}]`), await post(proxy.url('/x/mcp'), message, headers)]) {
      const [{ error }] = [reply.json()].flat();
      assert.deepEqual([error.code, error.data.reason], [-32600, 'invalid_request'], text);
    }
  }
  assert.equal(proxy.received('x').length, before);
  assert.deepEqual(await end(), [released]);
});

test('what one client has subscribed to, no other ends by a second name for it', async (t) => {
  const proxy = await startProxy(t, { x: node('reads-leniently.mjs') });
  for (const uri of ['theirs', 'mine']) await proxy.call('x', 'resources/subscribe', { uri });
  assert.deepEqual(errorOf(await proxy.call('x', 'resources/unsubscribe', { uri: 'mine', URI: 'theirs' })), [400, 1, -32600, 'invalid_request']);
});

test('a notification with an id is no request, whoever sends it: it would be one to a server that goes by the method', async (t) => {
  const proxy = await startProxy(t, { x: node('reads-leniently.mjs') });
  const { session, id, end } = await victim(t, proxy);
  const before = proxy.received('x').length;
  for (const method of ['notifications/cancelled', 'notifications/initialized', 'notifications/roots/list_changed', 'notifications/vendor']) {
    const params = { requestId: id };
    assert.deepEqual(errorOf(await proxy.call('x', method, params)), [200, 1, -32601, 'method_not_found']);
    assert.deepEqual(errorOf(await session.call(method, params)), [200, 1, -32601, 'method_not_found']);
    assert.deepEqual(errorOf(await modernClient(t, proxy).post(method, params)), [404, 1, -32601, 'method_not_found']);
  }
  assert.equal(proxy.received('x').length, before);
  assert.deepEqual(await end(), [released]);
});
