// Who may come in. The tables go through a Guard alone; the order of the checks, and that no route lacks them, is
// asked of the whole proxy.

import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { asProxyError } from '../../src/base/errors.ts';
import { Guard, isLoopbackHost, type GuardOptions } from '../../src/http/guard.ts';
import { fault, json } from '../../src/http/reply.ts';
import { createProxy, type ProxyOptions } from '../../src/proxy.ts';
import { openSse, raw, request, type Reply } from '../support/http.ts';

const TOKEN = 'correct-horse-battery';

// ---- Host

const LOCAL_HOSTS = ['localhost', 'localhost:3000', 'LOCALHOST', 'LocalHost:3000', '127.0.0.1', '127.0.0.1:1', '[::1]', '[::1]:65535'];
const ADDRESSES = ['10.0.0.5', '192.168.1.10:3000', '127.0.0.2', '0.0.0.0', '[fe80::1]', '[2001:DB8::1]:80', '[::ffff:10.0.0.5]', '[::]'];
const NO_HOSTS = [
  'null',
  '*',
  'evil.example',
  'evil.example:3000',
  'EVIL.example',
  // Names around a good one
  'localhost.',
  'localhost.:3000',
  'evil.localhost',
  'localhost.evil.example',
  'notlocalhost',
  '127.0.0.1.evil.example',
  '[::1].evil.example',
  '[::1]evil.example',
  '[localhost]',
  // A user, a path, a fragment: what comes behind them is where the client went
  'localhost@evil.example',
  'localhost:3000@evil.example',
  'user:secret@localhost',
  'evil.example@localhost',
  'localhost/evil.example',
  'localhost\\evil.example',
  'localhost?evil.example',
  'localhost#evil.example',
  'localhost,evil.example',
  'localhost evil.example',
  'http://localhost',
  '//localhost',
  // Addresses in forms that no browser sends
  '::1',
  '::1:3000',
  '[::1',
  '::1]',
  '127.1',
  '2130706433',
  '0x7f000001',
  '127.0.0.1.',
  // Ports that are none
  'localhost:abc',
  'localhost:123456',
  'localhost:-1',
  'localhost:80:80',
  '[::1]:3000:80',
];

const hosts: readonly (readonly [string, Partial<GuardOptions>, readonly string[], readonly string[]])[] = [
  ['bound to 127.0.0.1', { host: '127.0.0.1' }, LOCAL_HOSTS, [...NO_HOSTS, ...ADDRESSES, '[0:0:0:0:0:0:0:1]', '[::ffff:127.0.0.1]']],
  ['bound to ::1', { host: '::1' }, LOCAL_HOSTS, [...NO_HOSTS, ...ADDRESSES]],
  ['bound to localhost', { host: 'localhost' }, LOCAL_HOSTS, [...NO_HOSTS, ...ADDRESSES]],
  ['bound to every address', { host: '0.0.0.0' }, [...LOCAL_HOSTS, ...ADDRESSES], NO_HOSTS],
  ['bound to every IPv6 address', { host: '::' }, [...LOCAL_HOSTS, ...ADDRESSES], NO_HOSTS],
  ['bound to one address of a network', { host: '192.168.1.10' }, [...LOCAL_HOSTS, ...ADDRESSES], NO_HOSTS],
  ['behind the server of an embedder', { host: undefined }, [...LOCAL_HOSTS, ...ADDRESSES], NO_HOSTS],
  [
    'with ALLOWED_HOSTS',
    { allowedHosts: ['proxy.example', 'internal:8080', '10.0.0.7'] },
    [...LOCAL_HOSTS, 'proxy.example', 'proxy.example:3000', 'PROXY.Example', 'internal:8080', 'Internal:8080', '10.0.0.7', '10.0.0.7:1'],
    [...NO_HOSTS, ...ADDRESSES, 'sub.proxy.example', 'evil-proxy.example', 'proxy.example.', 'proxy.example@evil.example', 'internal', 'internal:8081'],
  ],
  ['with ALLOWED_HOSTS=*', { allowedHosts: ['*'] }, [...LOCAL_HOSTS, ...ADDRESSES, 'evil.example', 'localhost.', 'a.b.c:1'], []],
  [
    'with PUBLIC_URL',
    { publicUrl: new URL('https://MCP.example.com:8443/base') },
    [...LOCAL_HOSTS, 'mcp.example.com', 'mcp.example.com:8443', 'mcp.example.com:1', 'MCP.EXAMPLE.COM'],
    [...NO_HOSTS, ...ADDRESSES, 'example.com', 'x.mcp.example.com', 'mcp.example.com.evil.example'],
  ],
  ['with an IPv6 PUBLIC_URL', { publicUrl: new URL('http://[2001:db8::2]:3000') }, [...LOCAL_HOSTS, '[2001:db8::2]:3000', '[2001:DB8::2]'], [...NO_HOSTS, ...ADDRESSES]],
];

for (const [where, options, good, bad] of hosts) {
  test(`Host decides who may come in: ${where}`, async (t) => {
    const url = await guarded(t, options);
    for (const host of good) assert.equal((await request(url, { headers: { Host: host } })).status, 200, `Host: ${host}`);
    for (const host of bad) {
      const reply = await request(url, { headers: { Host: host } });
      refused(reply, 403, 'forbidden', `Host: ${host}`);
      assert.match(reply.text, /ALLOWED_HOSTS/, 'the message names the variable that would let it in');
      if (host.includes('evil')) assert.equal(reply.text.includes('evil'), false, 'and gives back nothing that was sent');
    }
  });
}

test('a request without Host, or with an empty one, is refused', async (t) => {
  const port = portOf(await guarded(t, { allowedHosts: ['proxy.example'], publicUrl: new URL('http://mcp.example.com') }));
  for (const head of ['GET / HTTP/1.0\r\n\r\n', 'GET / HTTP/1.0\r\nHost:\r\n\r\n', 'GET / HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n']) {
    const answer = String(await raw(port, head));
    assert.match(answer, /^HTTP\/1\.1 403 .*\r\n\r\n\{"jsonrpc":"2\.0","id":null,"error":\{"code":-32600,/s, head);
  }
});

test('a request with more than one Host is refused, whichever of them is allowed (RFC 9112, section 3.2)', async (t) => {
  const port = portOf(await guarded(t, { allowedHosts: ['*'] }));
  for (const hosts of [
    'Host: localhost\r\nHost: localhost\r\n',
    'Host: localhost\r\nX: y\r\nhOST: evil.example\r\n',
    'Host: evil.example\r\nHost: localhost\r\n',
    'Host: localhost\r\nHost:\r\n',
  ]) {
    const answer = String(await raw(port, `GET / HTTP/1.1\r\n${hosts}Connection: close\r\n\r\n`));
    assert.match(answer, /^HTTP\/1\.1 400 .*\r\n\r\n\{"jsonrpc":"2\.0","id":null,"error":\{"code":-32600,.*"reason":"invalid_request"/s, hosts);
    assert.equal(answer.includes('evil'), false);
  }
});

test('other headers with names as long as that of Host are none', async (t) => {
  const url = await guarded(t, {});
  assert.equal((await request(url, { headers: { From: 'a@b.example', Date: 'today', DNT_: '1' } })).status, 200);
});

test('the verdict on a Host does not depend on how many others came before it', async (t) => {
  const url = await guarded(t, {});
  for (let port = 1; port <= 100; port++) {
    assert.equal((await request(url, { headers: { Host: `localhost:${port}` } })).status, 200);
    assert.equal((await request(url, { headers: { Host: `evil${port}.example` } })).status, 403);
  }
  for (const port of [1, 64, 65, 100]) {
    assert.equal((await request(url, { headers: { Host: `localhost:${port}` } })).status, 200);
    assert.equal((await request(url, { headers: { Host: `evil${port}.example` } })).status, 403);
  }
});

// ---- Origin

const LOCAL_ORIGINS = [
  'http://localhost',
  'http://localhost:5',
  'https://localhost:8443',
  'http://127.0.0.1:3000',
  'https://127.0.0.1',
  'http://[::1]:3000',
  'https://[::1]',
];
const NO_ORIGINS = [
  '',
  'null',
  '*',
  'localhost',
  'localhost:3000',
  '//localhost',
  'http:localhost',
  'https://evil.example',
  'http://evil.example:3000',
  'http://localhost.evil.example',
  'http://localhost.',
  'http://evil.localhost',
  'http://127.0.0.1.evil.example',
  'http://127.0.0.2',
  'http://192.168.1.10',
  'http://0.0.0.0:3000',
  'http://127.1',
  'http://2130706433',
  'http://[::ffff:127.0.0.1]',
  'http://[0:0:0:0:0:0:0:1]',
  // More than an origin
  'http://localhost/',
  'http://localhost/path',
  'http://localhost?x',
  'http://localhost#x',
  'http://localhost\\',
  // Credentials
  'http://user@localhost',
  'http://user:secret@localhost:3000',
  'http://@localhost',
  'http://localhost@evil.example',
  'http://localhost:3000@evil.example',
  'http://evil.example#@localhost',
  'http://evil.example\\@localhost',
  // Two in one
  'http://localhost, http://localhost',
  'http://localhost http://localhost',
  'http://localhost,http://evil.example',
  // Other schemes
  'ftp://localhost',
  'ws://localhost',
  'file://',
  'file://localhost',
  'chrome-extension://abcdefghijklmnop',
  'vscode-webview://localhost',
  'data:text/html,x',
];

const origins: readonly (readonly [string, Partial<GuardOptions>, readonly string[], readonly string[]])[] = [
  ['without settings', {}, LOCAL_ORIGINS, NO_ORIGINS],
  ['bound to every address', { host: '0.0.0.0' }, LOCAL_ORIGINS, NO_ORIGINS],
  [
    'with ALLOWED_ORIGINS',
    { allowedOrigins: ['https://app.example.com', 'http://dev.example.com:5173'] },
    [...LOCAL_ORIGINS, 'https://app.example.com', 'http://dev.example.com:5173'],
    [
      ...NO_ORIGINS,
      'http://app.example.com',
      'https://app.example.com:8443',
      'https://app.example.com/',
      'https://app.example.com.',
      'https://x.app.example.com',
      'https://app.example.com.evil.example',
      'https://user@app.example.com',
      'http://dev.example.com',
      'http://dev.example.com:5174',
      'https://dev.example.com:5173',
    ],
  ],
  [
    'with PUBLIC_URL',
    { publicUrl: new URL('https://mcp.example.com:8443/base') },
    [...LOCAL_ORIGINS, 'https://mcp.example.com:8443'],
    [...NO_ORIGINS, 'https://mcp.example.com', 'http://mcp.example.com:8443', 'https://mcp.example.com:8443/base', 'https://x.mcp.example.com:8443'],
  ],
  // ALLOWED_HOSTS says where the proxy is, not whose pages may use it.
  ['with ALLOWED_HOSTS=*', { allowedHosts: ['*'] }, LOCAL_ORIGINS, [...NO_ORIGINS, 'http://proxy.example']],
];

const CORS = { 'access-control-allow-origin': undefined, vary: 'Origin', 'access-control-expose-headers': 'Mcp-Session-Id, WWW-Authenticate' };

for (const [where, options, good, bad] of origins) {
  test(`Origin decides whose pages may come in: ${where}`, async (t) => {
    const url = await guarded(t, options);
    for (const origin of good) {
      const reply = await request(url, { headers: { Origin: origin } });
      assert.equal(reply.status, 200, `Origin: ${origin}`);
      assert.deepEqual(corsOf(reply), { ...CORS, 'access-control-allow-origin': origin });
    }
    for (const origin of bad) {
      const reply = await request(url, { headers: { Origin: origin } });
      refused(reply, 403, 'forbidden', `Origin: ${origin}`);
      assert.match(reply.text, /ALLOWED_ORIGINS/, 'the message names the variable that would let it in');
      assert.equal(reply.headers['access-control-allow-origin'], undefined, 'a page that may not come in may not read why');
    }
  });
}

test('a request without Origin comes in and gets no CORS headers', async (t) => {
  const reply = await request(await guarded(t, {}));
  assert.equal(reply.status, 200);
  assert.deepEqual(Object.keys(reply.headers).filter((name) => name.startsWith('access-control')), []);
});

test('two Origin headers are refused, also when each of them alone would do', async (t) => {
  const url = await guarded(t, {});
  for (const origin of [['http://localhost', 'http://localhost'], ['http://localhost:1', 'http://127.0.0.1:2'], ['http://localhost', 'https://evil.example']]) {
    refused(await request(url, { headers: { Origin: origin } }), 403, 'forbidden', origin.join(' and '));
  }
});

test('a good Origin does not excuse a bad Host', async (t) => {
  const reply = await request(await guarded(t, {}), { headers: { Host: 'evil.example', Origin: 'http://localhost' } });
  refused(reply, 403, 'forbidden');
  assert.match(reply.text, /ALLOWED_HOSTS/);
});

// ---- OPTIONS

const preflights: readonly (readonly [string | undefined, string])[] = [
  [undefined, ''],
  ['', ''],
  ['content-type', 'content-type'],
  ['content-type,accept,authorization,last-event-id', 'content-type, accept, authorization, last-event-id'],
  ['Content-Type, Authorization', 'content-type, authorization'],
  ['mcp-session-id,mcp-protocol-version,mcp-method,mcp-name', 'mcp-session-id, mcp-protocol-version, mcp-method, mcp-name'],
  ['Mcp-Param-City , MCP-PARAM-X', 'mcp-param-city, mcp-param-x'],
  ['x-evil, content-type, cookie', 'content-type'],
  ['x-mcp-session, mcp, mcpx, content-types', ''],
  ['mcp-*, *', ''],
  ['mcp-a b, mcp-é', ''],
];

test('a preflight is told the methods, and of the headers it asked for those that MCP clients send', async (t) => {
  const url = await guarded(t, {});
  for (const [asked, allowed] of preflights) {
    const headers: OutgoingHttpHeaders = { Origin: 'http://localhost:5173', 'Access-Control-Request-Method': 'POST' };
    if (asked !== undefined) headers['Access-Control-Request-Headers'] = Buffer.from(asked).toString('latin1');
    const reply = await request(url, { method: 'OPTIONS', headers });
    assert.equal(reply.status, 204);
    assert.equal(reply.text, '');
    assert.equal(reply.headers['access-control-allow-methods'], 'GET, POST, DELETE');
    assert.equal(reply.headers['access-control-max-age'], '600');
    assert.equal(reply.headers['access-control-allow-headers'] ?? '', allowed, `asked for ${asked}`);
    assert.equal(reply.headers['access-control-allow-credentials'], undefined);
    assert.deepEqual(corsOf(reply), { ...CORS, 'access-control-allow-origin': 'http://localhost:5173' });
  }
});

test('a preflight of a foreign page is refused', async (t) => {
  const reply = await request(await guarded(t, {}), { method: 'OPTIONS', headers: { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'POST' } });
  refused(reply, 403, 'forbidden');
  assert.deepEqual(Object.keys(reply.headers).filter((name) => name.startsWith('access-control')), []);
});

test('an OPTIONS that is no preflight is told the methods of its path', async (t) => {
  const url = await proxied(t);
  const paths = [
    ['/health', 'GET, HEAD, OPTIONS'],
    ['/api/servers', 'GET, OPTIONS'],
    ['/api/config', 'POST, OPTIONS'],
    ['/api/servers/x/restart', 'POST, OPTIONS'],
    ['/x/sse', 'GET, OPTIONS'],
    ['/x/message', 'POST, OPTIONS'],
  ] as const;
  for (const [path, allow] of paths) {
    const reply = await request(url + path, { method: 'OPTIONS' });
    assert.equal(reply.status, 204);
    assert.equal(reply.headers.allow, allow, path);
    assert.equal(reply.headers['access-control-allow-methods'], undefined);
  }
});

// ---- The token

test('with a token set, only a request that carries exactly it as a bearer token is authenticated', async (t) => {
  const url = await guarded(t, { token: TOKEN });
  const good = [`Bearer ${TOKEN}`, `bearer ${TOKEN}`, `BEARER ${TOKEN}`, `Bearer   ${TOKEN}`, `Bearer ${TOKEN}  `];
  const bad = [
    undefined,
    '',
    'Bearer',
    'Bearer ',
    TOKEN,
    `Bearer${TOKEN}`,
    `Basic ${TOKEN}`,
    `Token ${TOKEN}`,
    `Bearer ${TOKEN.slice(0, -1)}`,
    `Bearer ${TOKEN}x`,
    `Bearer ${TOKEN.toUpperCase()}`,
    `Bearer ${TOKEN} ${TOKEN}`,
    `Bearer "${TOKEN}"`,
    `Bearer ${TOKEN}, Bearer ${TOKEN}`,
    `Bearer x, Bearer ${TOKEN}`,
    `Bearer ${encodeURIComponent('ż'.repeat(20))}`,
    `Bearer ${'x'.repeat(8_000)}`,
    'Bearer undefined',
  ];
  for (const authorization of good) assert.equal((await request(url, { headers: { authorization } })).status, 200, authorization);
  for (const authorization of bad) {
    const reply = await request(url, { headers: authorization === undefined ? {} : { authorization } });
    refused(reply, 401, 'unauthorized', authorization);
    assert.equal(reply.headers['www-authenticate'], 'Bearer');
    assert.equal(reply.text.includes(TOKEN), false);
  }
  assert.equal((await request(`${url}/?access_token=${TOKEN}&token=${TOKEN}`)).status, 401, 'a token in the URL ends up in logs');
});

test('without a token set, nobody needs one, and one that is sent does no harm', async (t) => {
  const url = await guarded(t, {});
  for (const authorization of ['Bearer whatever', 'Basic x', '']) assert.equal((await request(url, { headers: { authorization } })).status, 200);
});

// ---- The whole proxy: on every path, in order

const PATHS = [
  '/health', '/health/', '/api/servers', '/api/config', '/api/servers/x/restart', '/x/mcp', '/x/sse', '/x/message', '/nobody/mcp',
  '/', '/x', '/nope/nope', '//x/mcp', '/%', '/.well-known/oauth-protected-resource', '/favicon.ico',
]; // prettier-ignore
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'];

test('on every path and for every method, a foreign Host and a foreign Origin are refused', async (t) => {
  const url = await proxied(t, { auth: { token: TOKEN } });
  for (const path of PATHS) {
    for (const method of METHODS) {
      for (const foreign of [{ Host: 'evil.example' }, { Origin: 'https://evil.example' }]) {
        const reply = await request(url + path, { method, headers: { ...foreign, Authorization: `Bearer ${TOKEN}` } });
        assert.equal(reply.status, 403, `${method} ${path} ${JSON.stringify(foreign)}`);
        if (method !== 'HEAD') refused(reply, 403, 'forbidden');
      }
    }
  }
});

test('on every path and for every method but OPTIONS and the health check, the token is asked for', async (t) => {
  const url = await proxied(t, { auth: { token: TOKEN } });
  for (const path of PATHS) {
    for (const method of METHODS) {
      const { status } = await request(url + path, { method });
      const free = method === 'OPTIONS' ? 204 : /^\/health\/?$/.test(path) && /^(GET|HEAD)$/.test(method) ? 200 : 401;
      assert.equal(status, free, `${method} ${path}`);
    }
  }
});

test('a request that is wrong in many ways is told of the first: Host, Origin, OPTIONS, token, path, method, type, coding, size', async (t) => {
  const url = await proxied(t, { auth: { token: TOKEN }, limits: { maxBodyBytes: 10 } });
  const wrong = {
    method: 'PUT',
    path: '/nope/nope',
    headers: { Host: 'evil.example', Origin: 'https://evil.example', 'Content-Type': 'text/plain', 'Content-Encoding': 'gzip' } as OutgoingHttpHeaders,
  };
  const { host } = new URL(url);
  const mended: readonly (readonly [number, typeof wrong | object])[] = [
    [403, {}],
    [403, { Host: host }],
    [401, { Origin: 'http://localhost' }],
    [404, { Authorization: `Bearer ${TOKEN}` }],
    [405, { path: '/x/mcp' }],
    [415, { method: 'POST' }],
    [415, { 'Content-Type': 'application/json' }],
    [413, { 'Content-Encoding': 'identity' }],
    [400, { body: '{}' }],
  ];
  let { method, path, headers } = wrong;
  let body = 'x'.repeat(11);
  for (const [status, { method: m, path: p, body: b, ...h }] of mended as readonly (readonly [number, Record<string, string>])[]) {
    method = m ?? method;
    path = p ?? path;
    body = b ?? body;
    headers = { ...headers, ...h };
    const reply = await request(url + path, { method, headers, body });
    assert.equal(reply.status, status, `${method} ${path} ${JSON.stringify(headers)}: ${reply.text}`);
    assert.match(reply.text, /^\{"jsonrpc":"2\.0","id":null,"error":\{"code":-32/);
    if (status === 401) assert.equal((await request(url + path, { method: 'OPTIONS', headers })).status, 204);
  }
});

test('a page that may come in can read every answer, also the errors and the streams', async (t) => {
  const Origin = 'http://localhost:5173';
  const allowed = { ...CORS, 'access-control-allow-origin': Origin };
  const url = await proxied(t, { auth: { token: TOKEN }, limits: { maxBodyBytes: 60 } });
  const known = { Origin, Authorization: `Bearer ${TOKEN}` };
  const call = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}';
  const asks: readonly (readonly [number, string, string, OutgoingHttpHeaders, string?])[] = [
    [200, 'GET', '/health', { Origin }],
    [200, 'HEAD', '/health', { Origin }],
    [204, 'OPTIONS', '/x/mcp', { Origin }],
    [401, 'GET', '/api/servers', { Origin }],
    [200, 'GET', '/api/servers', { ...known, Accept: 'application/json' }],
    [404, 'GET', '/nope', known],
    [404, 'POST', '/nobody/mcp', known, call],
    [503, 'POST', '/x/mcp', known, call],
    [405, 'PUT', '/x/mcp', known],
    [415, 'POST', '/api/config', { ...known, 'Content-Type': 'text/plain' }, '{}'],
    [413, 'POST', '/api/config', { ...known, 'Content-Type': 'application/json' }, call + call],
    [400, 'POST', '/api/config', { ...known, 'Content-Type': 'application/json' }, '{'],
  ];
  for (const [status, method, path, headers, body] of asks) {
    const reply = await request(url + path, { method, headers, ...(body !== undefined && { body }) });
    assert.equal(reply.status, status, `${method} ${path}: ${reply.text}`);
    assert.deepEqual(corsOf(reply), allowed, `${method} ${path}`);
  }
  const stream = await openSse(`${url}/api/servers`, known);
  t.after(() => stream.close());
  assert.equal(stream.status, 200);
  assert.deepEqual(corsOf(stream), allowed);
});

// ---- Who may change the configuration (product.md, POST /api/config)

interface Caller {
  readonly auth?: ProxyOptions['auth'];
  readonly peer?: string;
  /** `PORT` stands for the port that the proxy listens on. */
  readonly headers?: Readonly<Record<string, string>>;
}

const LOCAL = { host: '127.0.0.1' };
const mayConfigure: readonly (readonly [string, boolean, Caller])[] = [
  // The bind
  ['a local program, the proxy bound to 127.0.0.1', true, { auth: LOCAL }],
  ['bound to ::1', true, { auth: { host: '::1' } }],
  ['bound to localhost', true, { auth: { host: 'localhost' } }],
  ['bound to LOCALHOST', true, { auth: { host: 'LOCALHOST' } }],
  ['bound to another loopback address', true, { auth: { host: '127.0.0.53' } }],
  ['bound to every address', false, { auth: { host: '0.0.0.0' } }],
  ['bound to every IPv6 address', false, { auth: { host: '::' } }],
  ['bound to an address of a network', false, { auth: { host: '192.168.1.10' } }],
  ['bound to a name', false, { auth: { host: 'proxy.example' } }],
  ['behind the server of an embedder who does not say where it listens', false, { auth: {} }],
  // The peer
  ['the peer is 127.0.0.1', true, { auth: LOCAL, peer: '127.0.0.1' }],
  ['the peer is another loopback address', true, { auth: LOCAL, peer: '127.200.0.9' }],
  ['the peer is ::1', true, { auth: LOCAL, peer: '::1' }],
  ['the peer is a mapped loopback address', true, { auth: LOCAL, peer: '::ffff:127.0.0.1' }],
  ['the peer is another machine', false, { auth: LOCAL, peer: '192.0.2.1' }],
  ['the peer is another machine, mapped', false, { auth: LOCAL, peer: '::ffff:192.0.2.1' }],
  ['the peer is another machine, IPv6', false, { auth: LOCAL, peer: '2001:db8::1' }],
  ['the peer is link-local', false, { auth: LOCAL, peer: 'fe80::1' }],
  ['the peer is gone', false, { auth: LOCAL, peer: '' }],
  // Host
  ['Host is localhost', true, { auth: LOCAL, headers: { Host: 'localhost:PORT' } }],
  ['Host is localhost without a port', true, { auth: LOCAL, headers: { Host: 'localhost' } }],
  ['Host is 127.0.0.1', true, { auth: LOCAL, headers: { Host: '127.0.0.1:PORT' } }],
  ['Host is [::1]', true, { auth: LOCAL, headers: { Host: '[::1]:PORT' } }],
  ['Host is LOCALHOST', true, { auth: LOCAL, headers: { Host: 'LOCALHOST:PORT' } }],
  ['Host is in ALLOWED_HOSTS', false, { auth: { ...LOCAL, allowedHosts: ['proxy.example'] }, headers: { Host: 'proxy.example' } }],
  ['Host is any, as ALLOWED_HOSTS says', false, { auth: { ...LOCAL, allowedHosts: ['*'] }, headers: { Host: 'rebound.example' } }],
  ['Host is a private address, as ALLOWED_HOSTS says', false, { auth: { ...LOCAL, allowedHosts: ['*'] }, headers: { Host: '10.0.0.1' } }],
  ['Host is that of PUBLIC_URL', false, { auth: { ...LOCAL, publicUrl: new URL('http://mcp.example.com') }, headers: { Host: 'mcp.example.com' } }],
  // A local reverse proxy makes every peer loopback.
  ['Forwarded', false, { auth: LOCAL, headers: { Forwarded: 'for=127.0.0.1' } }],
  ['X-Forwarded-For', false, { auth: LOCAL, headers: { 'X-Forwarded-For': '127.0.0.1' } }],
  ['X-Forwarded-Host', false, { auth: LOCAL, headers: { 'x-forwarded-host': 'localhost' } }],
  ['X-Real-IP', false, { auth: LOCAL, headers: { 'X-Real-IP': '127.0.0.1' } }],
  ['Via', false, { auth: LOCAL, headers: { Via: '1.1 nginx' } }],
  ['an empty Via', false, { auth: LOCAL, headers: { Via: '' } }],
  // Origin
  ['Origin is the own one', true, { auth: LOCAL, headers: { Host: 'localhost:PORT', Origin: 'http://localhost:PORT' } }],
  ['Origin is the own one, as an address', true, { auth: LOCAL, headers: { Origin: 'http://127.0.0.1:PORT' } }],
  ['Origin is the own one, as an IPv6 address', true, { auth: LOCAL, headers: { Host: '[::1]:PORT', Origin: 'http://[::1]:PORT' } }],
  ['Origin has another port', false, { auth: LOCAL, headers: { Host: 'localhost:PORT', Origin: 'http://localhost:5173' } }],
  ['Origin has no port', false, { auth: LOCAL, headers: { Host: 'localhost:PORT', Origin: 'http://localhost' } }],
  ['Origin has another scheme', false, { auth: LOCAL, headers: { Host: 'localhost:PORT', Origin: 'https://localhost:PORT' } }],
  ['Origin has another name of this machine', false, { auth: LOCAL, headers: { Host: 'localhost:PORT', Origin: 'http://127.0.0.1:PORT' } }],
  ['Origin is in ALLOWED_ORIGINS', false, { auth: { ...LOCAL, allowedOrigins: ['https://app.example.com'] }, headers: { Origin: 'https://app.example.com' } }],
  ['Origin is PUBLIC_URL', false, { auth: { ...LOCAL, publicUrl: new URL('https://mcp.example.com') }, headers: { Origin: 'https://mcp.example.com' } }],
  // With a token set, who sends it; nothing else counts.
  ['the token', true, { auth: { ...LOCAL, token: TOKEN }, headers: { Authorization: `Bearer ${TOKEN}` } }],
  [
    'the token, from anywhere',
    true,
    {
      auth: { host: '0.0.0.0', token: TOKEN, allowedHosts: ['proxy.example'], allowedOrigins: ['https://app.example.com'] },
      peer: '192.0.2.1',
      headers: { Authorization: `Bearer ${TOKEN}`, Host: 'proxy.example', Origin: 'https://app.example.com', Via: '1.1 nginx', 'X-Forwarded-For': '192.0.2.1' },
    },
  ],
  ['the token, behind the server of an embedder', true, { auth: { token: TOKEN }, headers: { Authorization: `Bearer ${TOKEN}` } }],
];

for (const [who, may, { auth, peer, headers = {} }] of mayConfigure) {
  test(`${may ? 'may' : 'may not'} change the configuration: ${who}`, async (t) => {
    const url = await proxied(t, auth === undefined ? {} : { auth }, peer);
    const filled = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.replace('PORT', String(portOf(url)))]));
    const set = await request(`${url}/api/config`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...filled },
      body: '{"mcpServers":{"y":{"command":"true","disabled":true}}}',
    });
    const restart = await request(`${url}/api/servers/nobody/restart`, { method: 'POST', headers: filled });
    const seen = await request(`${url}/api/servers`, { headers: { ...filled, Accept: 'application/json' } });
    if (may) {
      assert.equal(set.status, 200, set.text);
      assert.deepEqual(set.json(), { started: [], stopped: ['x'], restarted: [], kept: ['y'] });
      assert.equal(restart.status, 404, restart.text);
    } else {
      refused(set, 403, 'forbidden');
      refused(restart, 403, 'forbidden');
    }
    // Looking is open to whoever came in.
    assert.deepEqual(Object.keys(seen.json()), [may ? 'y' : 'x']);
  });
}

test('with a token set, whoever does not send it may not change the configuration, not even a local program', async (t) => {
  const url = await proxied(t, { auth: { ...LOCAL, token: TOKEN } });
  for (const path of ['/api/config', '/api/servers/x/restart']) {
    refused(await request(url + path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' }), 401, 'unauthorized');
  }
});

test('a body without the JSON content type, which any page may send unasked, does not change the configuration', async (t) => {
  const url = await proxied(t, { auth: LOCAL });
  for (const type of [undefined, '', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonp']) {
    const headers = type === undefined ? {} : { 'Content-Type': type };
    refused(await request(`${url}/api/config`, { method: 'POST', headers, body: '{"mcpServers":{}}' }), 415, 'media_type', type);
  }
  assert.deepEqual(Object.keys((await request(`${url}/api/servers`, { headers: { Accept: 'application/json' } })).json()), ['x']);
});

// ---- Loopback

test('an address is loopback in each of its spellings, and no name is but localhost', () => {
  for (const host of ['127.0.0.1', '127.0.0.2', '127.255.255.254', '::1', '::ffff:127.0.0.1', 'localhost', 'LocalHost']) {
    assert.equal(isLoopbackHost(host), true, host);
  }
  for (const host of ['', '0.0.0.0', '::', '10.0.0.1', '128.0.0.1', '1.127.0.0', '::2', '::ffff:10.0.0.1', 'example.com', 'localhost.example.com', '127.example.com', '127.0.0.1.example.com']) {
    assert.equal(isLoopbackHost(host), false, host);
  }
});

// ---- Servers

/** A server with nothing but a Guard in it. */
function guarded(t: TestContext, options: Partial<GuardOptions>): Promise<string> {
  const guard = new Guard({ host: '127.0.0.1', ...options });
  return serve(t, (req, res) => {
    try {
      guard.admit(req, res);
      if (req.method === 'OPTIONS') return guard.options(req, res, ['GET']);
      guard.authenticate(req, res);
      json(res, 200, Buffer.from('{}'));
    } catch (error) {
      fault(res, asProxyError(error));
    }
  });
}

/** A whole proxy with one disabled server `x`; `peer` is the address that every client seems to have. */
async function proxied(t: TestContext, options: Partial<ProxyOptions> = {}, peer?: string): Promise<string> {
  const proxy = createProxy({ config: { mcpServers: { x: { command: 'true', disabled: true } } }, env: {}, ...options });
  t.after(() => proxy.close());
  return serve(t, proxy.listener, (server) => {
    if (peer === undefined) return;
    server.on('connection', (socket) => Object.defineProperty(socket, 'remoteAddress', { value: peer === '' ? undefined : peer }));
  });
}

async function serve(t: TestContext, handler: (req: IncomingMessage, res: ServerResponse) => void, prepare: (server: Server) => void = () => {}): Promise<string> {
  const server = createServer(handler);
  prepare(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

function corsOf({ headers }: Pick<Reply, 'headers'>): object {
  return Object.fromEntries(Object.keys(CORS).map((name) => [name, headers[name]]));
}

function refused(reply: Reply, status: number, reason: string, what?: string): void {
  assert.equal(reply.status, status, `${what}: ${reply.text}`);
  assert.equal(reply.headers['content-type'], 'application/json');
  const { jsonrpc, id, error } = reply.json();
  assert.deepEqual({ jsonrpc, id, code: error.code, data: error.data }, { jsonrpc: '2.0', id: null, code: -32600, data: { source: 'mcp-proxy', reason } }, what);
}
