// Servers and clients that mean ill, or know no better: whatever they say, the proxy goes on, and so does everybody else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixture, until } from '../support/files.ts';
import { connect, post, type Reply } from '../support/http.ts';
import { modernClient, modernRequest } from '../support/modern.ts';
import { entry, start } from '../support/program.ts';
import { errorOf, nextMessage, node, startProxy } from '../support/proxy.ts';

const DEEP = `${'['.repeat(100_000)}${']'.repeat(100_000)}`; // `JSON.parse` takes it, `JSON.stringify` does not

/** A server of which only the text of some answers is its own; `$ID` and `$DEEP` become what they say. */
function server(answers: Readonly<Record<string, string | readonly string[]>>) {
  const script = `
    import { serve, write } from ${JSON.stringify(`file://${fixture('stdio.mjs')}`)};
    const deep = '['.repeat(100_000) + ']'.repeat(100_000);
    const say = (lines) => ({ id }) => {
      for (const line of [lines].flat()) write(line.replaceAll('$ID', () => JSON.stringify(id)).replaceAll('$DEEP', () => deep) + '\\n');
    };
    serve(Object.fromEntries(Object.entries(JSON.parse(process.argv[1])).map(([method, lines]) => [method, say(lines)])));`;
  return { command: process.execPath, args: ['--input-type=module', '-e', script, JSON.stringify(answers)], maxRestarts: 0 };
}

const result = (text: string): string => `{"jsonrpc":"2.0","id":$ID,"result":${text}}`;
const error = (text: string): string => `{"jsonrpc":"2.0","id":$ID,"error":${text}}`;
const welcome = (more: string): string => result(`{"protocolVersion":"2025-11-25","serverInfo":{"name":"x","version":"1"},${more}}`);

test('a handshake that is answered with anything else has failed, and nobody else notices', async (t) => {
  const answers = {
    deepError: error('{"code":-1,"message":$DEEP}'),
    deepCode: error('{"code":$DEEP,"message":"m","data":$DEEP}'),
    noPrimitive: error('{"code":{"toString":1},"message":{"toString":null,"valueOf":0}}'),
    errorNull: error('null'),
    errorText: error('"no"'),
    deepResult: result('$DEEP'),
    versionObject: result('{"protocolVersion":{"toString":1},"capabilities":{}}'),
    // What the proxy writes on has the version among the members that it looks at.
    versionFarBehind: result(`{${Array.from({ length: 10_001 }, (_, k) => `"${k}":1,`).join('')}"protocolVersion":"2025-11-25","capabilities":{}}`),
    versionDeep: result('{"protocolVersion":$DEEP,"capabilities":{}}'),
  };
  const servers = Object.fromEntries(Object.entries(answers).map(([name, line]) => [name, server({ initialize: line })]));
  const proxy = await startProxy(t, { ...servers, x: node('server.mjs') }, { limits: { startConcurrency: 10 } });
  for (const name of Object.keys(answers)) assert.equal(typeof (await proxy.becomes(name, 'error')).error, 'string', name);
  assert.deepEqual(await proxy.tool('x', 'echo', { a: 1 }), { a: 1 });
});

for (const [what, more] of [
  ['capabilities of another type', '"capabilities":"all"'],
  ['no capabilities', '"instructions":7'],
  ['capabilities with names from the depths of JavaScript', '"capabilities":{"__proto__":{"logging":{}},"constructor":1,"tools":null}'],
  ['capabilities of a hundred thousand levels', '"capabilities":{"tools":{"x":$DEEP}}'],
  ['a hundred thousand levels elsewhere', '"capabilities":{},"_meta":{"x":$DEEP}'],
] as const) {
  test(`a server that introduces itself with ${what} can be used, and initialize has an answer`, async (t) => {
    const proxy = await startProxy(t, { x: server({ initialize: welcome(more) }) });
    const early = proxy.call('x', 'initialize', { protocolVersion: '2025-11-25' }); // while it starts
    assert.equal((await proxy.call('x', 'tools/call', { name: 'poke' })).json().result.structuredContent.ok, true);
    for (const reply of [await early, await proxy.call('x', 'initialize', { protocolVersion: '2025-11-25' })]) {
      assert.equal(reply.status, 200);
      assert.match(reply.text, /^\{"jsonrpc":"2\.0","id":1,"(result|error)":/);
    }
  });
}

test('a call can be answered with anything that has its id', async (t) => {
  for (const text of [result('$DEEP'), result('null'), error('$DEEP'), error('null'), result(`"${'x'.repeat(20_000)}"`), result('{"__proto__":{},"id":7}')]) {
    const proxy = await startProxy(t, { x: server({ 'tools/call': text }) });
    const reply = await proxy.call('x', 'tools/call', { name: 'poke' }, { id: 'mine' });
    assert.deepEqual([reply.status, reply.text], [200, text.replace('$ID', '"mine"').replace('$DEEP', DEEP)]);
    await proxy.close();
  }
});

for (const [method, params] of [
  ['resources/subscribe', { uri: 'a' }],
  ['resources/unsubscribe', { uri: 'a' }],
  ['logging/setLevel', { level: 'debug' }],
] as const) {
  test(`${method}, which the proxy handles itself, can be answered with anything, too`, async (t) => {
    for (const text of [result('$DEEP'), error('{"code":1,"message":"m","data":$DEEP}'), error('$DEEP'), error('null'), result('7'), 'nonsense']) {
      const proxy = await startProxy(t, { x: server({ 'resources/subscribe': result('{}'), [method]: text }) }, { limits: { requestTimeoutMs: 300 } });
      await proxy.call('x', 'resources/subscribe', params);
      const reply = await proxy.call('x', method, params, { id: 'mine' });
      assert.equal(reply.status, 200);
      assert.match(reply.text, /^\{"jsonrpc":"2\.0","id":"mine","(result|error)":/);
      assert.deepEqual((await proxy.call('x', 'tools/call', { name: 'poke' })).json().result.structuredContent, { ok: true });
      await proxy.close();
    }
  });
}

test('an answer that is too big to be parsed can be anything between its brackets', async (t) => {
  const filler = JSON.stringify('x'.repeat(20_000));
  const proxy = await startProxy(t, {
    open: server({ 'tools/list': result(`{"filler":${filler},"tools":[}"execution"`) }),
    text: server({ 'tools/list': result(`{"filler":${filler},"tools":"[]","x":"execution"}`) }),
    name: server({ 'tools/list': result(`{"filler":${filler},"\\q":0,"tools":[{"execution":1}]}`) }),
  });
  for (const name of ['open', 'text', 'name']) {
    assert.match((await proxy.call(name, 'tools/list')).text, /execution/, name);
    assert.equal((await proxy.call(name, 'tools/call', { name: 'poke' })).status, 200);
  }
});

test('notifications and requests of a server can have anything in them', async (t) => {
  const lines = [
    '{"jsonrpc":"2.0","method":"notifications/message"}', '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":$DEEP,"data":$DEEP}}',
    '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":{"toString":1}}}', '{"jsonrpc":"2.0","method":"notifications/progress"}',
    '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$DEEP}}', '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":{"toString":1}}}',
    '{"jsonrpc":"2.0","method":"__proto__","params":{"__proto__":1}}', '{"jsonrpc":"2.0","method":"constructor"}', '{"jsonrpc":"2.0","method":""}',
    ...['{"toString":1}', '$DEEP'].flatMap((value) => [
      `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":${value}}}`,
      `{"jsonrpc":"2.0","method":"notifications/elicitation/complete","params":{"elicitationId":${value}}}`,
    ]),
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":$DEEP}}', '{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{"x":$DEEP}}',
    '{"jsonrpc":"2.0","id":"\\ud800","method":"__proto__"}', '{"jsonrpc":"2.0","id":1e300,"method":"ping"}', '{"jsonrpc":"2.0","id":null,"method":"ping"}', '{"jsonrpc":"2.0","id":$DEEP,"method":"ping"}',
    `[${'{"jsonrpc":"2.0","method":"a"},'.repeat(500)}1]`, '[[[{"jsonrpc":"2.0","method":"a"}]]]', '$DEEP',
  ]; // prettier-ignore
  const proxy = await startProxy(t, { x: server({ 'resources/subscribe': result('{}'), 'tools/call': [...lines, result('{"ok":true}')] }) });
  const stream = await proxy.listen('x');
  await proxy.call('x', 'resources/subscribe', { uri: 'a' });
  assert.deepEqual((await proxy.call('x', 'tools/call', { name: 'poke' }, { progressToken: 'p' })).json().result, { ok: true });
  assert.deepEqual((await proxy.call('x', 'tools/call', { name: 'poke' }, { headers: { Accept: 'text/event-stream' } })).status, 200);
  await stream.event('message');
});

test('a list of tools can have anything for a name', async (t) => {
  for (const name of ['{"toString":1}', '$DEEP', 'null']) {
    const tool = `{"name":${name},"inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}}}`;
    const proxy = await startProxy(t, { x: server({ 'tools/list': result(`{"tools":[${tool}]}`) }) });
    const { headers, message } = modernRequest('tools/call', { name: 'poke', arguments: {} });
    assert.equal((await post(proxy.url('/x/mcp'), message, headers)).status, 200, name);
    await proxy.close();
  }
});

test('a client that wants to hear of a million resources keeps nobody waiting', async (t) => {
  const proxy = await startProxy(t, { x: node('server.mjs'), y: node('server.mjs') }, { limits: { maxListenBytes: 10_485_760 } });
  await proxy.tool('y', 'echo', {});
  const uris = Array.from({ length: 1_000_000 }, (_, k) => k.toString(36));
  let open = false;
  const opening = modernClient(t, proxy).listen({ resourceSubscriptions: uris }).finally(() => (open = true));
  let longest = 0;
  while (!open) {
    const since = performance.now();
    await proxy.tool('y', 'echo', {});
    longest = Math.max(longest, performance.now() - since);
  }
  const stream = await opening;
  assert.equal(JSON.parse((await stream.event('message')).data).params.notifications.resourceSubscriptions.length, 1_000);
  assert.ok(longest < 3_000, `somebody else waited ${longest} ms`);
});

test('requests can have anything in them that is JSON', async (t) => {
  const proxy = await startProxy(t, { x: node('server.mjs') });
  const send = (method: string, params: string): Promise<Reply> => post(proxy.url('/x/mcp'), `{"jsonrpc":"2.0","id":1,"method":${JSON.stringify(method)},"params":${params}}`);
  for (const [method, params] of [
    ['initialize', `{"protocolVersion":${DEEP}}`], ['initialize', '{"protocolVersion":{"toString":1}}'], ['logging/setLevel', `{"level":${DEEP}}`], ['logging/setLevel', '{"level":"constructor"}'],
    ['resources/subscribe', `{"uri":${DEEP}}`], ['resources/subscribe', `{"uri":"a","x":${DEEP}}`], ['resources/subscribe', '{"uri":"\\ud800"}'], ['tools/list', `{"_meta":${DEEP}}`], ['tools/list', '{"_meta":{"progressToken":{"toString":1}}}'],
    ['__proto__', '{}'], ['constructor', '{"__proto__":{"constructor":1}}'], ['toString', `{"_meta":{"progressToken":${DEEP},"io.modelcontextprotocol/clientInfo":${DEEP},"k":1}}`], ['', '{}'],
  ] as const) {
    const reply = await send(method, params);
    assert.equal(reply.status, 200, method);
    assert.ok(reply.text.startsWith('{"jsonrpc":"2.0","id":1,'), reply.text.slice(0, 200));
  }
  assert.deepEqual(await proxy.tool('x', 'echo', { a: 1 }), { a: 1 });
});

test('megabytes of values where a word belongs are not made into values, which would be ten times as many', async (t) => {
  const wide = (count: number): string => `[${'{},'.repeat(count)}0]`;
  const script = `
    import { serve, welcome, write } from ${JSON.stringify(`file://${fixture('stdio.mjs')}`)};
    const wide = '[' + '{},'.repeat(8_000_000) + '0]';
    const call = ({ id }) => {
      write('{"jsonrpc":"2.0","method":"notifications/message","params":{"level":' + wide + '}}\\n');
      write('{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"u","x":' + wide + '}}\\n');
      write('{"jsonrpc":"2.0","id":' + wide + ',"result":{}}\\n' + '['.repeat(30_000_000) + '\\n');
      write('{"jsonrpc":"2.0","result":' + wide + ', "id":' + id + '}\\n');
    };
    serve({ 'tools/call': call });`;
  const config = { mcpServers: { x: { command: process.execPath, args: ['--input-type=module', '-e', script] } } };
  const program = start(t, { argv: [process.execPath, '--max-old-space-size=128', entry], config });
  const url = `${await program.origin()}/x/mcp`;
  const send = (method: string, params: string): Promise<Reply> => post(url, `{"jsonrpc":"2.0","id":1,"method":"${method}","params":${params}}`);
  for (const level of [wide(3_000_000), '['.repeat(9_000_000)]) assert.notEqual((await send('logging/setLevel', `{"level":${level}}`)).status, 0);
  assert.equal((await send('resources/subscribe', `{"uri":${wide(3_000_000)}}`)).json().error.code, -32602);
  assert.equal((await send('tools/call', '{"name":"poke"}')).status, 200);
  assert.equal((await send('ping', '{}')).status, 200);
});

test('what a client says of itself is bounded, as it is kept as long as its session', async (t) => {
  const config = { mcpServers: { x: node('server.mjs'), own: { ...node('server.mjs'), isolation: 'session' as const } } };
  const program = start(t, { argv: [process.execPath, '--max-old-space-size=192', entry], config });
  const origin = await program.origin();
  const opened = (server: string, count: number): Promise<Reply> =>
    post(`${origin}/${server}/mcp`, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"x":[${'{},'.repeat(count)}0]}}}`);
  for (const server of ['x', 'own']) {
    const { error } = (await opened(server, 1_500_000)).json();
    assert.deepEqual([error.code, error.message], [-32602, 'Invalid params: initialize may have 262144 bytes'], server);
  }
  for (let k = 0; k < 60; k++) assert.equal((await opened('x', 80_000)).json().result.protocolVersion, '2025-06-18');
});

test('a resource that is watched has a URI that can be kept', async (t) => {
  const proxy = await startProxy(t, { x: node('server.mjs') });
  const longest = 'ż'.repeat(32_768);
  assert.deepEqual((await proxy.call('x', 'resources/subscribe', { uri: longest })).json().result, {});
  assert.deepEqual(errorOf(await proxy.call('x', 'resources/subscribe', { uri: `${longest}/` })), [200, 1, -32602, 'invalid_params']);
  const stream = await modernClient(t, proxy).listen({ resourceSubscriptions: [`${longest}/`, 'a'] });
  assert.deepEqual((await nextMessage(stream)).params.notifications, { resourceSubscriptions: ['a'] });
});

test('clients that leave in the middle of a head, a body or an answer take nothing with them', async (t) => {
  const proxy = await startProxy(t, { x: node('server.mjs') });
  await proxy.becomes('x', 'running');
  const head = 'POST /x/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300\r\n\r\n';
  const big = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"big","arguments":{"bytes":5000000}}}';
  for (const bytes of ['', 'POST /x', head.slice(0, -2), head, `${head}{"jsonrpc"`, `${head}${big.padEnd(300, ' ')}`, '\0\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', '\x16\x03\x01\x02\x00']) {
    for (const leave of ['close', 'abort', 'end'] as const) {
      const connection = await connect(proxy.port);
      t.after(() => connection.abort());
      connection.write(bytes);
      if (bytes.includes('"big"')) await connection.until((text) => text.length > 100);
      connection[leave]();
    }
  }
  assert.deepEqual(await proxy.tool('x', 'echo', { a: 1 }), { a: 1 });
  await until(async () => (await proxy.status())['x'].pendingRequests === 0, 'nothing in flight');
});
