// The proxy as a library: what `createProxy` promises to the program that it lives in.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { createProxy, formatEntry, IMPLEMENTATION, ProxyError, type LogEntry, type McpProxy, type ProxyOptions } from '../src/proxy.ts';
import { fakeClock } from './support/clock.ts';
import { fixture, group, repo, tempDir, until } from './support/files.ts';
import { openSse, post, request } from './support/http.ts';
import { start } from './support/program.ts';

const posix = { skip: process.platform === 'win32' && 'process groups' };
const TOKEN = 'a-token-of-many-letters';

// ---- handle and listener

test('handle answers the paths of the proxy, and the listener 404 for the others', async (t) => {
  const { proxy, origin } = await embed(t, { config: one() });
  const bare = await serve(t, proxy.listener);
  for (const at of [origin, bare]) {
    assert.equal((await request(`${at}/health`)).text, '{"status":"ok"}');
    assert.deepEqual((await call(at, 'fs', 'tools/call', { name: 'echo', arguments: { a: 1 } })).json().result.structuredContent, { a: 1 });
  }
  assert.equal((await request(`${origin}/elsewhere`)).text, 'the app');
  const missing = await request(`${bare}/elsewhere`);
  assert.equal(missing.status, 404);
  assert.equal(missing.json().error.data.reason, 'not_found');
});

const OTHERS = ['/', '/index.html', '/fs', '/fs/', '/fs/mcp/more', '/fs/other', '/api', '/api/other', '/health/live', '//mcp', '/%/mcp', '/mcp', '/sse'];
for (const basePath of ['', '/proxy']) {
  const others = basePath === '' ? OTHERS : [...OTHERS.map((path) => basePath + path), ...OTHERS, '/health', '/fs/mcp', '/proxyhealth', '/proxy2/fs/mcp', '/PROXY/health', '/x/proxy/health'];
  test(`a request that is not the proxy's is left untouched by handle${basePath && `, with basePath ${basePath}`}`, async (t) => {
    const proxy = closing(t, createProxy({ config: { mcpServers: {} }, env: {}, basePath, auth: { token: TOKEN } }));
    const origin = await serve(t, (req, res) => {
      const before = traces(req, res);
      const mine = proxy.handle(req, res);
      const after = traces(req, res);
      let body = '';
      req.on('data', (chunk) => (body += chunk));
      req.on('end', () => res.end(JSON.stringify({ mine, before, after, body })));
    });
    for (const path of others) {
      // Neither a token nor a Host that the proxy would let in: the app has rules of its own.
      const reply = await request(origin + path, { method: 'POST', headers: { Host: 'app.example.com', Origin: 'null' }, body: 'the body' });
      const { mine, before, after, body } = reply.json();
      assert.equal(mine, false, path);
      assert.deepEqual(after, before, path);
      assert.equal(body, 'the body', path);
    }
  });
}

test('a path of the proxy is the proxy\'s with any method, any server name and any query', async (t) => {
  const { origin } = await embed(t, { config: one() });
  const cases: [method: string, path: string, status: number, reason: string | undefined][] = [
    ['GET', '/health?x=1', 200, undefined],
    ['GET', '/health/', 200, undefined],
    ['DELETE', '/health', 405, 'method_not_allowed'],
    ['GET', '/fs/mcp', 405, 'method_not_allowed'],
    ['POST', '/fs/sse', 405, 'method_not_allowed'],
    ['POST', '/nobody/mcp', 404, 'unknown_server'],
    ['GET', '/nobody/sse', 404, 'unknown_server'],
    ['POST', '/api/servers/nobody/restart', 403, 'forbidden'],
  ];
  for (const [method, path, status, reason] of cases) {
    const body = method === 'POST' ? '{"jsonrpc":"2.0","id":1,"method":"ping"}' : undefined;
    const reply = await request(origin + path, { method, ...(body && { body }) });
    assert.equal(reply.status, status, `${method} ${path}`);
    assert.equal(reply.json().error?.data.reason, reason, `${method} ${path}`);
  }
});

test('basePath stands in front of every route, and of the endpoint that a stream names', async (t) => {
  for (const basePath of ['/base/path', '/base/path/']) {
    const { origin } = await embed(t, { config: one(), basePath });
    assert.equal((await request(`${origin}/base/path/health`)).text, '{"status":"ok"}');
    assert.equal((await call(`${origin}/base/path`, 'fs', 'tools/list')).status, 200);
    const events = await openSse(`${origin}/base/path/fs/sse`);
    assert.deepEqual(JSON.parse((await events.event('endpoint')).data), { uri: `${origin}/base/path/fs/message` });
    await events.close();
    assert.equal((await request(`${origin}/health`)).text, 'the app');
  }
});

// ---- nothing of the process around it

test('two proxies in one process share nothing', async (t) => {
  const first = closing(t, createProxy({ config: one({ env: { WHO: 'first' } }), env: {}, basePath: '/first' }));
  const second = closing(t, createProxy({ config: one({ env: { WHO: 'second' } }), env: {}, basePath: '/second', auth: { token: TOKEN }, limits: { maxBodyBytes: 400 } }));
  const origin = await serve(t, (req, res) => {
    if (!first.handle(req, res) && !second.handle(req, res)) res.end('the app');
  });
  const authorization = { Authorization: `Bearer ${TOKEN}` };
  assert.equal(await variable(`${origin}/first`, 'WHO'), 'first');
  assert.equal(await variable(`${origin}/second`, 'WHO', authorization), 'second');
  assert.equal((await call(`${origin}/second`, 'fs', 'ping')).status, 401);
  assert.equal((await call(`${origin}/first`, 'fs', 'ping', { pad: 'x'.repeat(400) })).status, 200);
  assert.equal((await call(`${origin}/second`, 'fs', 'ping', { pad: 'x'.repeat(400) }, authorization)).status, 413);

  await first.reload({ mcpServers: {} });
  await first.close();
  assert.equal(await variable(`${origin}/second`, 'WHO', authorization), 'second');
});

test('it adds no listener to the process', async (t) => {
  const listeners = () => process.eventNames().map((name) => [name, process.listenerCount(name)]);
  const before = listeners();
  const { proxy, origin } = await embed(t, { config: one(), log: { level: 'debug', write: () => {} } });
  await call(origin, 'fs', 'tools/list');
  assert.deepEqual(listeners(), before);
  await proxy.close();
  assert.deepEqual(listeners(), before);
});

test('it reads no environment: children inherit `env` and nothing else, and no setting counts', async (t) => {
  const set: Record<string, string> = { AUTH_TOKEN: TOKEN, MAX_BODY_BYTES: '1', ALLOWED_HOSTS: '*', ONLY_HERE: 'yes' };
  const before = { ...process.env };
  Object.assign(process.env, set);
  t.after(() => {
    for (const name of Object.keys(set)) delete process.env[name];
    Object.assign(process.env, before);
  });
  const dir = tempDir(t);
  const dump = `require('node:fs').writeFileSync(${JSON.stringify(join(dir, 'seen'))}, JSON.stringify(process.env))`;
  const { origin } = await embed(t, {
    config: { mcpServers: { fs: { command: process.execPath, args: ['-e', dump], env: { ENTRY: 'c', BOTH: 'entry', NUMBER: 1, FLAG: true }, autoRestart: false } } },
    env: { GIVEN: 'a', BOTH: 'given', MISSING: undefined },
  });
  const seen = await until(() => JSON.parse(readFileSync(join(dir, 'seen'), 'utf8')) as object, 'the child has run');
  const { STARTS: _, __CF_USER_TEXT_ENCODING: __, ...rest } = seen as Record<string, string>; // macOS adds the second to every process
  assert.deepEqual(rest, { GIVEN: 'a', BOTH: 'entry', ENTRY: 'c', NUMBER: '1', FLAG: 'true' });
  assert.equal((await post(`${origin}/fs/mcp`, '{"jsonrpc":"2.0","method":"notifications/x"}')).status, 204);
  assert.equal((await request(`${origin}/health`, { headers: { Host: 'app.example.com' } })).status, 403);
});

// Whatever prints, exits or stays open would show here: a process that prints nothing but what it says itself.
const LIFE = `
  const server = createServer((req, res) => { if (!proxy.handle(req, res)) res.end('the app'); });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = 'http://127.0.0.1:' + server.address().port;
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: {} } });
  const answer = await (await fetch(origin + '/fs/mcp', { method: 'POST', headers, body })).json();
  const streams = await Promise.all(['/fs/sse', '/api/servers'].map((path) => fetch(origin + path)));
  const left = fetch(origin + '/fs/mcp', { method: 'POST', headers, body: body.replace('echo', 'die') }).then((res) => res.json());
  const died = (await left).error.data.reason;
  await proxy.reload({ mcpServers: { fs, deaf, broken: { command: 'no-such-program' } } });
  await proxy.reload({ mcpServers: { broken: 1 } }).catch((error) => console.log(error.reason));
  await proxy.close();
  for (const stream of streams) await stream.text();
  server.close();
  server.closeAllConnections();
  console.log(answer.id, died, 'closed');
`;
const LIVES: [what: string, options: string, life: string, printed: string][] = [
  ['after calls, streams, crashes and reloads', '{ env: {}, config: { mcpServers: { fs, dies } } }', LIFE, 'invalid_config\n1 child_exited closed\n'],
  ['after following a configuration file', `{ env: {}, configPath: './servers.json' }`, 'await proxy.open(); proxy.start(); await proxy.close(); console.log("closed");', 'closed\n'],
  ['after following a file that is missing', `{ env: {}, configPath: './none/none.json' }`, 'await proxy.open(); proxy.start(); await proxy.close(); console.log("closed");', 'closed\n'],
  ['when it was closed at once', '{ env: {}, config: { mcpServers: { fs, deaf, dies } } }', 'await proxy.close(); console.log("closed");', 'closed\n'],
  ['when it was never started', '{ env: {} }', 'await proxy.close(); console.log("closed");', 'closed\n'],
  ['when it was closed while it was being opened', `{ env: {}, configPath: './servers.json' }`, 'const opened = proxy.open(); await proxy.close(); await opened; proxy.start(); console.log("closed");', 'closed\n'],
  ['when it was reloaded after it was closed', '{ env: {}, config: { mcpServers: {} } }', 'await proxy.close(); await proxy.reload({ mcpServers: { fs } }); console.log("closed");', 'closed\n'],
  ['when it was never started nor closed', '{ env: {} }', 'console.log("closed");', 'closed\n'],
];
for (const [what, options, life, printed] of LIVES) {
  test(`${what} nothing is left open: the process ends by itself, and nothing was printed but by itself`, async (t) => {
    const dir = tempDir(t);
    const entry = (name: string, ...args: string[]) => JSON.stringify({ command: process.execPath, args: [fixture(name), ...args], env: { STARTS: join(dir, 'starts') } });
    writeFileSync(join(dir, 'servers.json'), `{"mcpServers":{"fs":${entry('server.mjs')}}}`);
    writeFileSync(
      join(dir, 'app.mjs'),
      `import { createServer } from 'node:http';
       import { createProxy } from ${JSON.stringify(pathToFileURL(join(repo, 'build', 'src', 'proxy.js')))};
       const fs = ${entry('server.mjs')}, deaf = ${entry('deaf-to-signals.mjs')}, dies = ${entry('dies-at-start.mjs')};
       const proxy = createProxy(${options});
       ${life}`,
    );
    const app = start(t, { cwd: dir, argv: [process.execPath, 'app.mjs'] });
    assert.deepEqual(await app.ended(), [0, null], app.stderr);
    assert.equal(app.stdout, printed);
    assert.equal(app.stderr, '');
    assert.deepEqual(app.children().flatMap(group), []);
  });
}

// ---- configuration

test('reload touches what changed and tells what that was', async (t) => {
  const { proxy, origin, starts } = await embed(t, { config: { mcpServers: { a: server(), b: server(), c: server() } } });
  await all(origin, 'running');
  assert.equal(starts().length, 3);
  const diff = await proxy.reload({ mcpServers: { a: server(), b: { ...server(), env: { NEW: 'yes' } }, d: server() } });
  assert.deepEqual(diff, { started: ['d'], stopped: ['c'], restarted: ['b'], kept: ['a'] });
  assert.deepEqual(proxy.servers(), ['a', 'b', 'd']);
  await until(() => starts().length === 5, 'b and d have started');
  await all(origin, 'running');
  assert.deepEqual(await proxy.reload({ mcpServers: { d: { ...server(), disabled: true } } }), { started: [], stopped: ['d', 'a', 'b'], restarted: [], kept: [] });
  assert.deepEqual(proxy.servers(), []);
  assert.equal((await call(origin, 'd', 'tools/list')).json().error.data.reason, 'unavailable');
});

test('an invalid configuration is refused whole, with every problem, by createProxy, reload and open', async (t) => {
  const wrong = { mcpServers: { 'a/b': server(), fs: { command: 7 } } } as never;
  const problems = ['mcpServers["a/b"]: a server name must not contain "/"', 'mcpServers.fs.command: expected a non-empty string, got a number'];
  const refusal = (error: unknown): boolean => {
    assert.ok(error instanceof ProxyError);
    assert.equal(error.reason, 'invalid_config');
    assert.deepEqual(error.data['problems'], problems);
    return true;
  };
  assert.throws(() => createProxy({ config: wrong, env: {} }), refusal);

  const { proxy, origin } = await embed(t, { config: one() });
  await assert.rejects(proxy.reload(wrong), refusal);
  assert.deepEqual(proxy.servers(), ['fs']);
  assert.equal((await call(origin, 'fs', 'tools/list')).status, 200);

  const path = join(tempDir(t), 'servers.json');
  writeFileSync(path, JSON.stringify(wrong));
  await assert.rejects(closing(t, createProxy({ configPath: path, env: {} })).open(), refusal);
});

test('with configPath the file is read by open, followed after start, and written by POST /api/config', async (t) => {
  const path = join(tempDir(t), 'servers.json');
  writeFileSync(path, JSON.stringify({ note: 'stays', mcpServers: { fs: server() } }));
  const { proxy, origin, starts } = await embed(t, { configPath: path, auth: { host: '127.0.0.1' } });
  assert.deepEqual(proxy.servers(), []);
  await proxy.open();
  assert.deepEqual(proxy.servers(), ['fs']);
  assert.deepEqual(starts(), []);
  proxy.start();
  await until(() => starts().length === 1, 'it has started');

  assert.deepEqual((await post(`${origin}/api/config`, { mcpServers: { fs: server(), b: server() } })).json(), { started: ['b'], stopped: [], restarted: [], kept: ['fs'] });
  assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), { note: 'stays', mcpServers: { fs: server(), b: server() } });
  writeFileSync(path, JSON.stringify({ mcpServers: { c: server() } }));
  await until(() => proxy.servers().join() === 'c', 'the file was taken over');
});

test('without configPath nothing is written, and POST /api/config changes what runs', async (t) => {
  const { proxy, origin } = await embed(t, { config: { mcpServers: {} }, auth: { host: '127.0.0.1' } });
  assert.equal((await post(`${origin}/api/config`, { mcpServers: { b: { ...server(), disabled: true } } })).status, 200);
  assert.deepEqual(Object.keys(await state(origin)), ['b']);
  assert.deepEqual(proxy.servers(), []);
});

// ---- auth, limits, log, time

test('the configuration is open to clients on this machine only when the proxy knows that it is bound to loopback, or with the token', async (t) => {
  const config = { mcpServers: {} };
  const cases: [auth: ProxyOptions['auth'], headers: Record<string, string>, status: number][] = [
    [undefined, {}, 403],
    [{ host: '0.0.0.0' }, {}, 403],
    [{ host: '127.0.0.1' }, {}, 200],
    [{ host: 'localhost' }, {}, 200],
    [{ host: '::1' }, {}, 200],
    [{ token: TOKEN }, {}, 401],
    [{ token: TOKEN }, { Authorization: `Bearer ${TOKEN}x` }, 401],
    [{ token: TOKEN }, { Authorization: `Bearer ${TOKEN}` }, 200],
    [{ token: undefined, host: '127.0.0.1' }, {}, 200],
  ];
  for (const [auth, headers, status] of cases) {
    const { origin } = await embed(t, { config, ...(auth && { auth }) });
    const reply = await post(`${origin}/api/config`, config, headers);
    assert.equal(reply.status, status, JSON.stringify(auth));
  }
});

test('auth says which hosts and origins are let in, and what the streams are told about where they are', async (t) => {
  const auth = { allowedHosts: ['mcp.example.com'], allowedOrigins: ['https://app.example.com'], publicUrl: new URL('https://public.example.com') };
  const { origin } = await embed(t, { config: one(), auth });
  const cases: [headers: Record<string, string>, status: number][] = [
    [{ Host: 'mcp.example.com' }, 200],
    [{ Host: 'public.example.com' }, 200],
    [{ Host: 'other.example.com' }, 403],
    [{ Origin: 'https://app.example.com' }, 200],
    [{ Origin: 'https://public.example.com' }, 200],
    [{ Origin: 'https://other.example.com' }, 403],
  ];
  for (const [headers, status] of cases) assert.equal((await request(`${origin}/health`, { headers })).status, status, JSON.stringify(headers));
  const events = await openSse(`${origin}/fs/sse`);
  assert.deepEqual(JSON.parse((await events.event('endpoint')).data), { uri: 'https://public.example.com/fs/message' });
  await events.close();
});

test('options that cannot be meant are refused: a token that is too short, a path that none can begin with, no environment', () => {
  assert.throws(() => createProxy({ env: {}, auth: { token: 'fifteen letters' } }), /^TypeError: auth\.token: expected 16 characters or more$/);
  for (const basePath of ['mcp', 'mcp/', ' /mcp']) assert.throws(() => createProxy({ env: {}, basePath }), /^TypeError: basePath: expected a path that begins with "\/"$/);
  assert.throws(() => createProxy({} as ProxyOptions), /^TypeError: env: expected what servers inherit, such as process\.env$/);
});

test('limits changes single bounds, and the others stay', async (t) => {
  const { origin } = await embed(t, { config: { mcpServers: { fs: server(), slow: server('hangs-in-handshake.mjs') } }, limits: { maxBodyBytes: 200, startWaitMs: 50 } });
  await until(async () => (await state(origin))['fs']!.status === 'running', 'fs runs: nobody waits for it long');
  assert.equal((await call(origin, 'fs', 'ping', { pad: 'x'.repeat(200) })).status, 413);
  const late = await call(origin, 'slow', 'tools/list');
  assert.deepEqual([late.status, late.json().error.data.reason, late.headers['retry-after']], [503, 'starting', '5']);
  assert.equal((await call(origin, 'fs', 'tools/list')).status, 200);
});

test('log takes entries at its level and below it none, ready to be formatted; what is secret is not in them', async (t) => {
  const secret = 'hunter22-hunter22';
  const entries: LogEntry[] = [];
  const { proxy } = await embed(t, {
    config: { mcpServers: { dies: { ...server('dies-at-start.mjs', `${secret} and ${TOKEN} and of-the-entry`), env: { KEY: 'of-the-entry' }, autoRestart: false } } },
    secrets: [secret],
    auth: { token: TOKEN },
    log: { level: 'info', write: (entry) => void entries.push(entry) },
  });
  const stderr = await until(() => entries.find(({ message }) => message.startsWith('stderr: ')), 'the end of the server');
  assert.equal(stderr.message, 'stderr: *** and *** and ***');
  await proxy.close();
  assert.deepEqual(new Set(entries.map(({ level }) => level)), new Set(['info', 'error']));
  for (const entry of entries) {
    assert.match(formatEntry(entry, 'text'), /^\S+Z (error|info ) (-|dies)  \S/);
    assert.deepEqual(JSON.parse(formatEntry(entry, 'json')), { ...entry });
  }
});

test('time comes from the clock of `world`, if there is one', async (t) => {
  const clock = fakeClock(Date.UTC(2030, 0, 1, 12, 30));
  const { origin } = await embed(t, { config: { mcpServers: { off: { ...server(), disabled: true } } }, world: { clock } });
  assert.deepEqual(await state(origin), {
    off: { status: 'stopped', lastUsed: '2030-01-01T12:30:00.000Z', pendingRequests: 0 },
  });
});

// ---- the end

test('close ends what is open, refuses what comes later, and may be called again', async (t) => {
  const { proxy, origin, starts } = await embed(t, { config: { mcpServers: { fs: server(), other: server('leaves-grandchild.mjs') } } });
  await all(origin, 'running');
  const streams = await Promise.all(['/fs/sse', '/api/servers'].map((path) => openSse(origin + path)));
  const answer = call(origin, 'fs', 'tools/call', { name: 'sleep', arguments: { ms: 300 } });
  await until(async () => (await state(origin))['fs']!.pendingRequests === 1, 'a call in flight');

  const closed = proxy.close();
  for (const reply of [await call(origin, 'fs', 'tools/list'), await request(`${origin}/health`), await request(`${origin}/api/servers`)]) {
    assert.deepEqual([reply.status, reply.json().error.data.reason], [503, 'shutdown']);
  }
  await Promise.all([closed, proxy.close()]);
  await proxy.close();
  assert.equal((await answer).status, 200);
  assert.deepEqual((await answer).json().result.content, [{ type: 'text', text: 'done' }]);
  for (const stream of streams) assert.equal(await stream.ended, 'end');
  assert.equal(starts().length, 2);
  assert.deepEqual(starts().flatMap(group), []);

  assert.equal((await call(origin, 'fs', 'tools/list')).status, 503);
  assert.equal((await request(`${origin}/elsewhere`)).text, 'the app');
  proxy.kill();
});

test('kill ends every process group at once, whatever it ignores', posix, async (t) => {
  const { proxy, origin, starts } = await embed(t, { config: { mcpServers: { deaf: server('deaf-to-signals.mjs'), family: server('leaves-grandchild.mjs', 'deaf') } } });
  await all(origin, 'running');
  const groups = starts();
  assert.equal(groups.flatMap(group).length, 3);
  proxy.kill();
  await until(() => groups.flatMap(group).length === 0, 'all of them are gone');
});

test('it says its name and version to the servers behind it', async (t) => {
  const journal = join(tempDir(t), 'journal');
  await embed(t, { config: { mcpServers: { fs: { ...server(), env: { JOURNAL: journal } } } } });
  const both = await until(() => /^(.+)\n(.+)\n/.exec(readFileSync(journal, 'utf8')), 'the handshake');
  const [discover, initialize] = both.slice(1).map((line) => JSON.parse(line).params);
  assert.deepEqual([discover._meta['io.modelcontextprotocol/clientInfo'], initialize.clientInfo], [IMPLEMENTATION, IMPLEMENTATION]);
});

// ---- helpers

/** An entry of the configuration that runs a fixture. */
function server(name = 'server.mjs', ...args: string[]) {
  return { command: process.execPath, args: [fixture(name), ...args] };
}

function one(more: { env?: Record<string, string> } = {}) {
  return { mcpServers: { fs: { ...server(), ...more } } };
}

function closing(t: TestContext, proxy: McpProxy): McpProxy {
  t.after(() => proxy.close());
  return proxy;
}

/** A proxy inside an HTTP server that has something to say, too. */
async function embed(t: TestContext, options: Partial<ProxyOptions>) {
  const file = join(tempDir(t), 'starts');
  const proxy = closing(t, createProxy({ ...options, env: { STARTS: file, ...options.env } }));
  const origin = await serve(t, (req, res) => {
    if (!proxy.handle(req, res)) res.end('the app');
  });
  const starts = (): number[] => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1).map(Number) : []);
  return { proxy, origin, starts };
}

async function serve(t: TestContext, listener: (req: IncomingMessage, res: ServerResponse) => void): Promise<string> {
  const server = http.createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** What would show that somebody touched a request or its answer. */
function traces(req: IncomingMessage, res: ServerResponse) {
  const listeners = [req, res, req.socket].map((emitter) => emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)]));
  return { listeners, headers: res.getHeaders(), flowing: req.readableFlowing, url: req.url, status: res.statusCode, sent: res.headersSent };
}

function call(origin: string, name: string, method: string, params: object = {}, headers: Record<string, string> = {}) {
  return post(`${origin}/${name}/mcp`, { jsonrpc: '2.0', id: 1, method, params }, headers);
}

/** What the server `fs` sees of a variable. */
async function variable(origin: string, name: string, headers: Record<string, string> = {}) {
  return (await call(origin, 'fs', 'tools/call', { name: 'env', arguments: { name } }, headers)).json().result.structuredContent.value;
}

/** What `GET /api/servers` says. */
async function state(origin: string): Promise<Record<string, { status: string; pendingRequests: number }>> {
  return (await request(`${origin}/api/servers`, { headers: { Accept: 'application/json' } })).json();
}

/** Waits until every server has this status. */
async function all(origin: string, status: string): Promise<void> {
  await until(async () => {
    return Object.values(await state(origin)).every((one) => one.status === status);
  }, `every server is ${status}`);
}
