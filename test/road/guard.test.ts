// Who may come in: Host, Origin and token, before any route and on every one of them, and who may change what runs.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { post, raw, request, type Reply } from '../support/http.ts';
import { node, startProxy } from '../support/proxy.ts';

const TOKEN = 'a token of 16 or more'.replaceAll(' ', '-');
const servers = { x: { url: 'http://elsewhere' }, off: { ...node('server.mjs'), disabled: true } };
const open = await startProxy({ after }, servers);
const locked = await startProxy({ after }, servers, { auth: { token: TOKEN } });

const ROUTES: readonly [method: string, path: string][] = [
  ['GET', '/health'], ['HEAD', '/health'], ['GET', '/api/servers'], ['POST', '/api/config'], ['POST', '/api/servers/x/restart'],
  ['POST', '/x/mcp'], ['POST', '/x/message'], ['GET', '/x/sse'], ['GET', '/x/mcp'], ['DELETE', '/x/mcp'], ['POST', '/y/mcp'],
  ['GET', '/'], ['GET', '/x'], ['GET', '/nowhere/at/all'], ['GET', '/.well-known/oauth-protected-resource'], ['OPTIONS', '/x/mcp'], ['PUT', '/health'],
]; // prettier-ignore

/** A refusal says who refuses, and never an id. */
function refused(reply: Reply, status: number, reason: string, what: string): void {
  assert.equal(reply.status, status, what);
  if (reply.text === '') return; // HEAD
  const { jsonrpc, id, error } = reply.json();
  assert.deepEqual([jsonrpc, id, error.code, error.data], ['2.0', null, -32600, { source: 'mcp-proxy', reason }], what);
}

const health = async (headers: Record<string, string>, proxy = open): Promise<number> => (await request(proxy.url('/health'), { headers })).status;

// ---- Host

test('a Host that is not the proxy\'s is refused on every path, whether it exists or not, and the answer names the setting', async () => {
  for (const [method, path] of ROUTES) {
    const reply = await request(open.url(path), { method, headers: { Host: 'evil.example.com' } });
    refused(reply, 403, 'forbidden', `${method} ${path}`);
    if (method !== 'HEAD') assert.match(reply.json().error.message, /^Forbidden host.*ALLOWED_HOSTS/);
  }
});

test('bound to loopback, the proxy is reached by the names of loopback only', async () => {
  for (const host of ['localhost', 'LocalHost:1234', '127.0.0.1', '127.0.0.1:80', '[::1]', '[::1]:3000']) assert.equal(await health({ Host: host }), 200, host);
  for (const host of [
    'localhost.evil.com', '127.0.0.1.nip.io', 'evil@localhost', 'localhost:80:80', 'localhost/', '192.168.0.1', '0.0.0.0', '[fe80::1]', '2130706433', 'local host', '::1', 'localhost.',
  ]) assert.equal(await health({ Host: host }), 403, host); // prettier-ignore
  assert.match((await raw(open.port, 'GET /health HTTP/1.0\r\n\r\n')).toString(), /^HTTP\/1\.1 403 /);
});

test('bound to all addresses, it is reached by any address, because an address cannot be rebound; names have to be allowed', async (t) => {
  const auth = { host: '0.0.0.0', allowedHosts: ['proxy.example.com', 'with.port:8080'], publicUrl: new URL('https://public.example.com/') };
  const proxy = await startProxy(t, {}, { auth });
  for (const host of ['192.168.0.1:3000', '[fe80::1]', '10.0.0.1', 'localhost', 'proxy.example.com', 'PROXY.example.com:99', 'with.port:8080', 'public.example.com']) {
    assert.equal(await health({ Host: host }, proxy), 200, host);
  }
  for (const host of ['evil.example.com', 'a.proxy.example.com', 'with.port', 'with.port:8081']) assert.equal(await health({ Host: host }, proxy), 403, host);
  const any = await startProxy(t, {}, { auth: { allowedHosts: ['*'] } });
  assert.equal(await health({ Host: 'whatever.example.com' }, any), 200);
});

// ---- Origin

test('an Origin that is not allowed is refused on every path', async () => {
  for (const [method, path] of ROUTES) {
    const reply = await request(open.url(path), { method, headers: { Origin: 'https://evil.example.com' } });
    refused(reply, 403, 'forbidden', `${method} ${path}`);
    assert.equal(reply.headers['access-control-allow-origin'], undefined);
  }
});

test('pages from loopback, from PUBLIC_URL and from ALLOWED_ORIGINS may use the proxy; nothing that only looks like them may', async (t) => {
  const proxy = await startProxy(t, {}, { auth: { allowedOrigins: ['https://app.example.com'], publicUrl: new URL('https://public.example.com/base') } });
  for (const origin of ['http://localhost', 'http://localhost:5', 'https://127.0.0.1:8443', 'http://[::1]:3000', 'https://app.example.com', 'https://public.example.com']) {
    const reply = await request(proxy.url('/health'), { headers: { Origin: origin } });
    assert.deepEqual([reply.status, reply.headers['access-control-allow-origin']], [200, origin], origin);
  }
  for (const origin of [
    'null', '', 'http://app.example.com', 'https://app.example.com:444', 'https://app.example.com.evil.com', 'http://user@localhost', 'http://localhost/', 'file://', 'localhost',
    'http://localhost, http://localhost', 'chrome-extension://abc', 'ftp://localhost', 'https://evil.example.com',
  ]) assert.equal(await health({ Origin: origin }, proxy), 403, origin); // prettier-ignore
  const twice = await request(proxy.url('/health'), { headers: { Origin: ['http://localhost', 'http://localhost:1'] as never } });
  assert.equal(twice.status, 403);
});

test('every answer to an allowed Origin can be read by its page, refusals and streams included', async () => {
  const origin = 'http://localhost:5173';
  const requests: readonly [status: number, method: string, path: string, headers?: Record<string, string>, body?: string][] = [
    [200, 'GET', '/health'], [404, 'GET', '/nowhere'], [405, 'GET', '/x/mcp'], [400, 'POST', '/x/mcp', {}, '{'], [415, 'POST', '/x/mcp', { 'Content-Type': 'text/plain' }, '{}'],
    [204, 'POST', '/x/mcp', {}, '{"jsonrpc":"2.0","method":"notifications/x"}'], [503, 'POST', '/off/mcp', {}, '{"jsonrpc":"2.0","id":1,"method":"x"}'], [403, 'POST', '/api/config', {}, '{}'],
  ]; // prettier-ignore
  for (const [status, method, path, headers, body] of requests) {
    const reply = await request(open.url(path), { method, headers: { Origin: origin, ...headers }, ...(body !== undefined && { body }) });
    assert.equal(reply.status, status, path);
    assert.equal(reply.headers['access-control-allow-origin'], origin, path);
    assert.equal(reply.headers.vary, 'Origin', path);
    assert.equal(reply.headers['access-control-expose-headers'], 'Mcp-Session-Id, WWW-Authenticate', path);
  }
  for (const path of ['/api/servers', '/x/sse']) {
    const head = (await raw(open.port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nOrigin: ${origin}\r\n\r\n`, (text) => text.includes('\r\n\r\n'))).toString();
    assert.match(head, /access-control-allow-origin: http:\/\/localhost:5173\r\n/i);
  }
  const unauthorized = await request(locked.url('/x/mcp'), { headers: { Origin: origin } });
  assert.deepEqual([unauthorized.status, unauthorized.headers['access-control-allow-origin']], [401, origin]);
  assert.equal((await request(open.url('/health'))).headers['access-control-allow-origin'], undefined);
});

test('a preflight is answered without a token, with the methods, and with those headers that a client of MCP may send', async () => {
  for (const path of ['/x/mcp', '/api/config', '/nowhere']) {
    const reply = await request(locked.url(path), {
      method: 'OPTIONS',
      headers: {
        Origin: 'http://localhost:5173',
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'content-type,Accept, authorization,last-event-id,mcp-session-id,MCP-Protocol-Version,mcp-param-x,x-evil,mcp_x,cookie',
      },
    });
    assert.deepEqual([reply.status, reply.text], [204, '']);
    assert.equal(reply.headers['access-control-allow-methods'], 'GET, POST, DELETE');
    assert.equal(reply.headers['access-control-max-age'], '600');
    assert.equal(reply.headers['access-control-allow-headers'], 'content-type, accept, authorization, last-event-id, mcp-session-id, mcp-protocol-version, mcp-param-x');
  }
  const plain = await request(locked.url('/x/mcp'), { method: 'OPTIONS' });
  assert.equal(plain.status, 204);
  assert.match(plain.headers.allow ?? '', /POST/);
});

// ---- token

test('without the right token everything is 401, existing or not; only health needs none', async () => {
  for (const authorization of [undefined, `Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(1)}`, 'Bearer', `Basic ${TOKEN}`, TOKEN, `Bearer ${TOKEN} ${TOKEN}`, 'Bearer \u00e9']) {
    const headers = authorization === undefined ? {} : { Authorization: authorization };
    for (const [method, path] of ROUTES) {
      const free = method === 'OPTIONS' || (path === '/health' && method !== 'PUT');
      const reply = await request(locked.url(path), { method, headers });
      if (free) {
        assert.ok(reply.status < 300, `${method} ${path}`);
        continue;
      }
      refused(reply, 401, 'unauthorized', `${method} ${path} ${authorization}`);
      assert.equal(reply.headers['www-authenticate'], 'Bearer');
    }
  }
});

test('with the token everything is open, the configuration included, from wherever it is sent', async () => {
  for (const authorization of [`Bearer ${TOKEN}`, `bearer  ${TOKEN}`]) {
    assert.equal((await request(locked.url('/nowhere'), { headers: { Authorization: authorization } })).status, 404);
    const headers = { Authorization: authorization, 'X-Forwarded-For': '1.2.3.4', Origin: 'http://localhost:5173' };
    assert.equal((await post(locked.url('/api/config'), { mcpServers: servers }, headers)).status, 200);
    assert.equal((await post(locked.url('/api/servers/x/restart'), {}, headers)).status, 202);
  }
});

// ---- who may change what runs

const WRITING = ['/api/config', '/api/servers/x/restart'];
const write = (path: string, headers: Record<string, string>, proxy = open): Promise<Reply> => post(proxy.url(path), { mcpServers: proxy.own(servers) }, headers);

test('without a token, whoever is on this machine may change the configuration: no page but the proxy\'s own, and nobody through another proxy', async () => {
  const own = open.origin;
  const allowed: Record<string, string>[] = [{}, { Host: 'localhost:1' }, { Host: '[::1]' }, { Origin: own }, { Host: `localhost:${open.port}`, Origin: `http://localhost:${open.port}` }];
  const forbidden: Record<string, string>[] = [
    { Origin: 'http://localhost:5173' }, { Origin: `http://localhost:${open.port}` }, { Origin: own.replace('http:', 'https:') },
    { Forwarded: 'for=1.2.3.4' }, { 'X-Forwarded-For': '127.0.0.1' }, { 'X-Forwarded-Host': 'localhost' }, { 'X-Real-IP': '127.0.0.1' }, { Via: '1.1 nginx' }, { 'X-Forwarded-For': '' },
  ]; // prettier-ignore
  for (const path of WRITING) {
    for (const headers of allowed) assert.ok((await write(path, headers)).status < 300, `${path} ${JSON.stringify(headers)}`);
    for (const headers of forbidden) refused(await write(path, headers), 403, 'forbidden', `${path} ${JSON.stringify(headers)}`);
  }
});

test('without a token, a proxy that other machines can reach lets nobody change it; a name that is allowed opens nothing', async (t) => {
  const everywhere = await startProxy(t, servers, { auth: { host: '0.0.0.0' } });
  const named = await startProxy(t, servers, { auth: { allowedHosts: ['proxy.example.com'], publicUrl: new URL('http://public.example.com') } });
  for (const path of WRITING) {
    refused(await write(path, {}, everywhere), 403, 'forbidden', path);
    for (const host of ['proxy.example.com', 'public.example.com']) refused(await write(path, { Host: host }, named), 403, 'forbidden', host);
    assert.ok((await write(path, {}, named)).status < 300);
  }
  assert.equal((await everywhere.status())['x'].status, 'error', 'reading is as open as the servers are');
});

// ---- order

test('of several things that are wrong, the first in the order of the checks is told', async () => {
  const big = 'x'.repeat(11 * 2 ** 20);
  const steps: readonly [status: number, path: string, method: string, headers: Record<string, string>, body: string][] = [
    [403, '/nowhere', 'GET', { Host: 'evil.example.com', Origin: 'https://evil.example.com' }, ''],
    [403, '/nowhere', 'GET', { Origin: 'https://evil.example.com' }, ''],
    [401, '/nowhere', 'GET', {}, ''],
    [404, '/nowhere', 'GET', { Authorization: `Bearer ${TOKEN}` }, ''],
    [405, '/y/mcp', 'PUT', { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'text/plain' }, big],
    [415, '/y/mcp', 'POST', { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'text/plain' }, big],
    [413, '/y/mcp', 'POST', { Authorization: `Bearer ${TOKEN}` }, big],
    [400, '/y/mcp', 'POST', { Authorization: `Bearer ${TOKEN}`, Accept: 'text/html' }, '{'],
    [404, '/y/mcp', 'POST', { Authorization: `Bearer ${TOKEN}`, Accept: 'text/html' }, '{"jsonrpc":"2.0","id":1,"method":"x"}'],
    [503, '/off/mcp', 'POST', { Authorization: `Bearer ${TOKEN}`, Accept: 'text/html' }, '{"jsonrpc":"2.0","id":1,"method":"x"}'],
    [406, '/x/mcp', 'POST', { Authorization: `Bearer ${TOKEN}`, Accept: 'text/html' }, '{"jsonrpc":"2.0","id":1,"method":"x"}'],
    [503, '/x/mcp', 'POST', { Authorization: `Bearer ${TOKEN}` }, '{"jsonrpc":"2.0","id":1,"method":"x"}'],
  ];
  for (const [status, path, method, headers, body] of steps) {
    const reply = await request(locked.url(path), { method, headers, ...(body && { body }) });
    assert.equal(reply.status, status, `${method} ${path} ${JSON.stringify(headers)}`);
  }
});

test('a client that asks before it sends its body is told to go on only when the body is wanted', async () => {
  const ask = (path: string, headers: string): Promise<Buffer> =>
    raw(locked.port, `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\nExpect: 100-continue\r\n${headers}\r\n`, (text) => /\r\n\r\n/.test(text));
  const token = `Authorization: Bearer ${TOKEN}\r\n`;
  assert.match((await ask('/x/mcp', token)).toString(), /^HTTP\/1\.1 100 Continue\r\n/);
  assert.match((await ask('/x/mcp', '')).toString(), /^HTTP\/1\.1 401 /);
  assert.match((await ask('/nowhere', token)).toString(), /^HTTP\/1\.1 404 /);
  assert.match((await ask('/x/mcp', `${token}Content-Type: text/plain\r\n`)).toString(), /^HTTP\/1\.1 415 /);
  assert.match((await ask('/x/mcp', `${token}Origin: https://evil.example.com\r\n`)).toString(), /^HTTP\/1\.1 403 /);
});
