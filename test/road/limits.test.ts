// Every bound, reached: what is beyond it is answered, cut or refused, and the rest goes on.

import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeClock, turns } from '../support/clock.ts';
import { until } from '../support/files.ts';
import { connect, post, raw, request, type Reply } from '../support/http.ts';
import { endOf, node, startProxy } from '../support/proxy.ts';

const good = node('server.mjs');
const remote = (n: number) => ({ url: `http://elsewhere/${n}` });
const refusal = (reply: Reply): [status: number, code: number, reason: string, retry: string | undefined] => {
  const { error } = reply.json();
  return [reply.status, error.code, error.data.reason, reply.headers['retry-after']];
};
const BUSY = [503, -32603, 'busy', '1'];

// ---- calls

test('a server with as many calls in flight as it may have refuses the next one, and takes one again when one is over', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: good, y: good }, { clock, limits: { maxPending: 2 } });
  await proxy.becomes('x', 'running');
  const [leaver] = [await proxy.open('x', 'tools/call', { name: 'hold' }), await proxy.open('x', 'tools/call', { name: 'hold' })];
  const refused = await proxy.call('x', 'tools/list', {}, { id: 'r' });
  assert.deepEqual(refusal(refused), BUSY);
  assert.equal(refused.json().id, 'r');
  assert.deepEqual(await proxy.tool('y', 'echo', { y: 1 }), { y: 1 });
  assert.equal((await proxy.call('x', 'ping')).status, 200, 'which is no call');
  leaver!.abort();
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  assert.deepEqual(await proxy.tool('x', 'echo', { x: 1 }), { x: 1 });
});

test('calls that wait for a start count, too', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('hangs-in-handshake.mjs') }, { clock, limits: { maxPending: 1 } });
  void proxy.call('x', 'tools/list');
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
  assert.deepEqual(refusal(await proxy.call('x', 'tools/list')), BUSY);
});

test('a server that does not read what it is sent is busy once its queue is full, for notifications, too; no other is', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('reads-nothing.mjs'), y: good }, { clock, limits: { maxStdinQueueBytes: 100_000 } });
  await proxy.becomes('x', 'running');
  const params = { padding: 'x'.repeat(50_000) };
  let taken = 0;
  let refused: Reply | undefined;
  while (refused === undefined) {
    void proxy.call('x', 'tools/call', params).then((reply) => {
      if (reply.status === 503) refused = reply;
    }, () => {});
    taken++;
    await until(async () => refused || (await proxy.status())['x'].pendingRequests === taken, 'an answer, or one more call in flight');
    assert.ok(taken < 40, 'its pipe takes a few of them, but not that many');
  }
  assert.deepEqual(refusal(refused), BUSY);
  assert.equal((await proxy.status())['x'].pendingRequests, taken - 1);
  assert.deepEqual(refusal(await post(proxy.url('/x/mcp'), { jsonrpc: '2.0', method: 'notifications/vendor', params })), BUSY);
  assert.deepEqual(await proxy.tool('y', 'echo', { y: 1 }), { y: 1 });
});

test('a message may have so many members, on each level that the proxy reads, and no more', async (t) => {
  const proxy = await startProxy(t, { x: good }, { limits: { maxMembers: 10 } });
  const members = (count: number): string => Array.from({ length: count }, (_, k) => `"m${k}":0`).join(',');
  const bodies = (more: number): string[] => [
    `{"jsonrpc":"2.0","id":1,"method":"tools/list",${members(7 + more)}}`,
    `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{${members(10 + more)}}}`,
    `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{${members(10 + more)}}}}`,
  ];
  for (const body of bodies(0)) assert.equal((await post(proxy.url('/x/mcp'), body)).status, 200, body);
  for (const body of bodies(1)) assert.deepEqual(refusal(await post(proxy.url('/x/mcp'), body)).slice(0, 3), [400, -32600, 'invalid_request'], body);
  const deep = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{${members(100)}}}}`;
  assert.equal((await post(proxy.url('/x/mcp'), deep)).status, 200);
});

test('a batch may have a hundred messages', async (t) => {
  const proxy = await startProxy(t, { x: good });
  const batch = (count: number): object[] => Array.from({ length: count }, (_, id) => ({ jsonrpc: '2.0', id, method: 'ping' }));
  assert.equal((await post(proxy.url('/x/mcp'), batch(100))).json().length, 100);
  assert.deepEqual(refusal(await post(proxy.url('/x/mcp'), batch(101))).slice(0, 3), [400, -32600, 'invalid_request']);
});

test('a server may have so many subscriptions', async (t) => {
  const proxy = await startProxy(t, { x: good }, { limits: { maxSubscriptions: 2 } });
  const subscribe = (uri: string) => proxy.call('x', 'resources/subscribe', { uri });
  for (const uri of ['a', 'b', 'a']) assert.deepEqual((await subscribe(uri)).json().result, {});
  assert.deepEqual(refusal(await subscribe('c')), BUSY);
  await proxy.call('x', 'resources/unsubscribe', { uri: 'a' });
  assert.deepEqual((await subscribe('c')).json().result, {});
  assert.deepEqual((await proxy.tool('x', 'journal')).subscribed, ['b', 'c']);
});

// ---- lines of a server

test('a line of the longest length passes; one byte more ends the server, is told to its callers, and it is restarted', async (t) => {
  const limits = { maxLineBytes: 100_000, backoffFirstMs: 1 };
  const proxy = await startProxy(t, { longest: node('long-line.mjs', 100_000), longer: node('long-line.mjs', 100_001) }, { limits });
  assert.equal((await proxy.call('longest', 'tools/call', { name: 'poke' })).status, 200);
  const reply = await proxy.call('longer', 'tools/call', { name: 'poke' });
  assert.equal(reply.status, 200);
  const { code, message, data } = reply.json().error;
  assert.deepEqual([code, message, data.reason], [-32603, 'Server "longer" sent a line of more than 100000 bytes', 'line_too_long']);
  await until(() => proxy.spawned('longer').length === 2, 'the restart');
});

test('a line that never ends and comes byte by byte ends the server, too', async (t) => {
  const proxy = await startProxy(t, { x: { ...node('many-parts.mjs'), maxRestarts: 0 } }, { limits: { maxLineParts: 50 } });
  const { error } = (await proxy.call('x', 'tools/call', { name: 'poke' })).json();
  assert.equal(error.data.reason, 'line_too_long');
});

// ---- stderr

test('a server that floods its stderr is read, and of a failure the last twenty lines are shown', async (t) => {
  const proxy = await startProxy(t, { x: { ...node('floods-stderr.mjs'), maxRestarts: 0 } });
  const { lines } = await proxy.tool('x', 'poke');
  const { error } = (await proxy.call('x', 'tools/call', { name: 'die' })).json();
  const shown: string[] = error.data.stderr.split('\n');
  assert.equal(shown.length, 20);
  assert.ok(shown.every((line, k) => line.startsWith(`line ${lines - 19 + k} of ${lines} `)));
  assert.equal((await proxy.status())['x'].stderr, error.data.stderr);
});

test('of long lines the last two kilobytes are shown, cut between characters', async (t) => {
  const proxy = await startProxy(t, { x: { ...good, maxRestarts: 0 } });
  const { error } = (await proxy.call('x', 'tools/call', { name: 'die', arguments: { stderr: `${'€'.repeat(3_000)}ab\n` } })).json();
  assert.match(error.data.stderr, /^€+ab$/);
  const bytes = Buffer.byteLength(error.data.stderr);
  assert.ok(bytes <= 2_048 && bytes > 2_040, String(bytes));
});

test('no more of it is kept than is said, however much may be shown', async (t) => {
  const limits = { stderrTailBytes: 10_000, stderrShownLines: 1e6, stderrShownBytes: 1e9 };
  const proxy = await startProxy(t, { x: { ...node('floods-stderr.mjs'), maxRestarts: 0 } }, { limits });
  const { error } = (await proxy.call('x', 'tools/call', { name: 'die' })).json();
  assert.ok(error.data.stderr.length >= 9_000 && error.data.stderr.length <= 20_000, String(error.data.stderr.length));
  assert.match(error.data.stderr, /line 65536 of 65536 \.+$/);
});

// ---- requests over HTTP

test('a body that is not complete in time is 408', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, {}, { clock });
  const connection = await connect(proxy.port);
  t.after(() => connection.close());
  connection.write('POST /x/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"jsonrpc"');
  await until(() => clock.pending > 0, 'the deadline');
  await clock.run(59_999);
  assert.equal(connection.received.length, 0);
  await clock.run(1);
  const answer = (await connection.until((text) => text.includes('request_timeout'))).toString();
  assert.match(answer, /^HTTP\/1\.1 408 Request Timeout\r\n/);
  assert.match(answer, /\{"jsonrpc":"2\.0","id":null,"error":\{"code":-32600,/);
});

test('headers that trickle in are 408, and a connection that is silent after an answer is closed', async (t) => {
  const proxy = await startProxy(t, {}, { limits: { headersTimeoutMs: 200, timeoutCheckMs: 50, keepAliveTimeoutMs: 200 } });
  const slow = (await raw(proxy.port, 'GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ')).toString();
  assert.match(slow, /^HTTP\/1\.1 408 Request Timeout\r\n/);
  assert.match(slow, /"reason":"request_timeout"/);
  const silent = (await raw(proxy.port, 'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')).toString();
  assert.match(silent, /^HTTP\/1\.1 200 OK\r\n/);
});

test('too many headers, or too large ones, are 431', async (t) => {
  const proxy = await startProxy(t, {});
  const lines = (count: number): string => Array.from({ length: count }, (_, k) => `X-${k}: 1\r\n`).join('');
  const get = async (headers: string): Promise<string> => (await raw(proxy.port, `GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers}\r\n`)).toString();
  assert.match(await get(lines(198)), /^HTTP\/1\.1 200 /);
  for (const headers of [lines(199), lines(1_000), `X-Large: ${'x'.repeat(17_000)}\r\n`]) {
    const answer = await get(headers);
    assert.match(answer, /^HTTP\/1\.1 431 /);
    assert.match(answer, /"code":-32600,.*"reason":"headers_too_large"/);
  }
});

test('more connections than there may be are turned away; when one leaves, one is let in', async (t) => {
  const proxy = await startProxy(t, {}, { limits: { maxConnections: 2 } });
  const [one, two] = [await connect(proxy.port), await connect(proxy.port)];
  t.after(() => two.abort());
  const third = await connect(proxy.port);
  assert.notEqual(await endOf(third), 'closed');
  one.abort();
  await until(async () => (await request(proxy.url('/health'))).status === 200, 'a free place');
});

test('a connection may have so many requests without an answer; the next one is refused and ends it', async (t) => {
  const proxy = await startProxy(t, { x: good }, { limits: { maxUnansweredPerConnection: 3 } });
  const body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hold","arguments":{"key":"k"}}}';
  const one = `POST /x/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const answers = raw(proxy.port, one.repeat(4));
  await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 3);
  await proxy.tool('x', 'release', { key: 'k' });
  const statuses = [...(await answers).toString().matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => status);
  assert.deepEqual(statuses, ['200', '200', '200', '503']);
});

test('the rest of a refused upload is read so that the answer is seen, but not without end and not for ever', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, {}, { clock, limits: { maxBodyBytes: 1_000, discardBytes: 200_000 } });
  const upload = (bytes: number): string => `POST /x/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${bytes}\r\n\r\n`;
  const next = 'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n';

  const reader = await connect(proxy.port);
  t.after(() => reader.close());
  reader.write(upload(150_000) + 'x'.repeat(150_000) + next);
  const text = (await reader.until((text) => text.includes('{"status":"ok"}'))).toString();
  assert.match(text, /^HTTP\/1\.1 413 [^]*HTTP\/1\.1 200 OK/);

  const endless = await connect(proxy.port);
  t.after(() => endless.close());
  endless.write(upload(2 ** 30));
  await endless.until((text) => text.includes('too_large'));
  endless.write('x'.repeat(300_000));
  assert.notEqual(await endOf(endless), 'closed');

  const silent = await connect(proxy.port);
  t.after(() => silent.close());
  silent.write(upload(2_000));
  await silent.until((text) => text.includes('too_large'));
  await clock.run(4_999);
  assert.equal(await Promise.race([silent.ended, turns().then(() => 'open')]), 'open');
  await clock.run(1);
  assert.notEqual(await endOf(silent), 'closed');
});

// ---- the configuration

test('so many servers may be configured, and so many problems are shown', async (t) => {
  const proxy = await startProxy(t, {}, { limits: { maxServers: 150 } });
  const servers = (count: number, entry: object) => Object.fromEntries(Array.from({ length: count }, (_, k) => [`s${k}`, entry]));
  assert.equal((await post(proxy.url('/api/config'), { mcpServers: servers(150, remote(1)) })).status, 200);
  const many = await post(proxy.url('/api/config'), { mcpServers: servers(151, remote(1)) });
  assert.deepEqual(refusal(many).slice(0, 3), [400, -32602, 'invalid_config']);
  const wrong = (await post(proxy.url('/api/config'), { mcpServers: servers(150, {}) })).json().error;
  assert.equal(wrong.message, 'Invalid configuration: 150 problems');
  assert.equal(wrong.data.problems.length, 101);
  assert.equal(wrong.data.problems.at(-1), 'and 50 more');
  assert.equal(Object.keys(await proxy.status()).length, 150);
});

test('a configuration file of more than a megabyte is neither read nor written', async (t) => {
  const proxy = await startProxy(t, { x: remote(1) }, { file: 'written' });
  const large = { x: { ...remote(1), note: 'x'.repeat(2 ** 20) } };
  assert.deepEqual(refusal(await post(proxy.url('/api/config'), { mcpServers: large })).slice(0, 3), [413, -32600, 'too_large']);
  writeFileSync(proxy.path, JSON.stringify({ mcpServers: { ...large, y: remote(1) } }));
  await until(() => proxy.logged('config_unreadable', 'error').length > 0, 'the log');
  assert.deepEqual(Object.keys(await proxy.status()), ['x']);
});

test('a change of the file is taken over after a tenth of a second of quiet, or after one second without any', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, {}, { clock, file: 'written', limits: { configPollMs: 1e9 } });
  const write = async (n: number): Promise<void> => {
    writeFileSync(proxy.path, JSON.stringify({ mcpServers: { [`s${n}`]: remote(n) } }));
    await turns();
  };
  const running = async (): Promise<string[]> => {
    await turns();
    return Object.keys(await proxy.status());
  };
  await until(() => clock.pending > 0, 'the watch');
  await write(0);
  await clock.run(99);
  assert.deepEqual(await running(), []);
  await clock.run(1);
  await until(async () => (await running())[0] === 's0', 'the first change');

  for (let n = 1; n < 20; n++) {
    await write(n);
    await clock.run(50);
    assert.deepEqual(await running(), ['s0'], `after ${n * 50} ms of writing`);
  }
  await write(20);
  await clock.run(50);
  await until(async () => (await running())[0] === 's20', 'the change while it goes on');
});

test('a change that no watch can see is found within two seconds', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, {}, { clock, file: 'missing' });
  mkdirSync(join(proxy.dir, 'elsewhere'));
  const target = join(proxy.dir, 'elsewhere', 'real.json');
  writeFileSync(target, '{"mcpServers":{}}');
  symlinkSync(target, proxy.path);
  await clock.run(3_000);
  writeFileSync(target, JSON.stringify({ mcpServers: { x: remote(1) } }));
  await clock.run(1_000);
  await proxy.flow(async () => 'x' in (await proxy.status()), 'the change');
  assert.ok(clock.now() <= 3_000 + 2_000 + 500, String(clock.now()));
});
