// `isolation: "session"`: each session has a process of its own, started with its client's own `initialize`.

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { LIMITS } from '../../src/config/limits.ts';
import { listen } from '../../src/http/server.ts';
import { createProxy, type Limits, type LogEntry, type ServerConfigInput } from '../../src/proxy.ts';
import { fakeClock, type FakeClock } from '../support/clock.ts';
import { alive, fixture, group, tempDir, until } from '../support/files.ts';
import { connect, openSse, post, request, type Reply, type SseEvent, type SseStream } from '../support/http.ts';
import { errorOf, node } from '../support/proxy.ts';

type Servers = Record<string, ServerConfigInput>;

/** A proxy whose server `x` may run many times at once. */
class Proxy {
  readonly log: LogEntry[] = [];
  readonly dir: string;
  readonly origin: string;
  readonly close: () => Promise<void>;
  readonly configure: (servers: Servers) => Promise<unknown>;

  private constructor(dir: string, log: LogEntry[], origin: string, close: () => Promise<void>, configure: (servers: Servers) => Promise<unknown>) {
    [this.dir, this.log, this.origin, this.close, this.configure] = [dir, log, origin, close, configure];
  }

  static async start(t: TestContext, servers: Servers, { limits = {}, clock }: { limits?: Partial<Limits>; clock?: FakeClock } = {}): Promise<Proxy> {
    t.after(() => close());
    const dir = tempDir(t);
    const log: LogEntry[] = [];
    const proxy = createProxy({
      config: { mcpServers: servers },
      env: { PATH: process.env['PATH'] },
      limits,
      log: { level: 'debug', write: (entry) => void log.push(entry) },
      auth: { host: '127.0.0.1' },
      world: { ...(clock && { clock }), random: () => 0.5 },
    });
    const server = await listen({ port: 0, host: '127.0.0.1', limits: { ...LIMITS, ...limits }, handle: proxy.listener, onDrop: () => {} });
    let ending: Promise<void> | undefined;
    async function end(): Promise<void> {
      let over = false;
      const closed = proxy.close().finally(() => (over = true));
      await until(async () => {
        if (!over) await clock?.run(100);
        return over;
      }, 'the end of the proxy');
      await closed;
      await server.close(100);
      const left = (): number[] => pidsOf(log).filter((pid) => alive(pid) || group(pid).length > 0);
      if (clock !== undefined) await until(() => left().length === 0, 'the end of the processes');
      assert.deepEqual(left(), [], 'processes are left after the end of the proxy');
      assert.deepEqual(log.filter(({ event }) => event === 'internal').map(({ message }) => message), [], 'the proxy had a bug');
    }
    const close = (): Promise<void> => (ending ??= end());
    return new Proxy(dir, log, `http://127.0.0.1:${server.port}`, close, (config) => proxy.reload({ mcpServers: config }));
  }

  get pids(): number[] {
    return pidsOf(this.log);
  }

  /** Those of its processes that live. */
  get living(): number[] {
    return this.pids.filter((pid) => alive(pid) || group(pid).length > 0);
  }

  async status(name = 'x'): Promise<any> {
    return (await request(`${this.origin}/api/servers`, { headers: { Accept: 'application/json' } })).json()[name];
  }

  /** Waits until so many sessions have a process. */
  sessions(count: number, name = 'x'): Promise<unknown> {
    return until(async () => ((await this.status(name))?.sessions ?? 0) === count, `${count} sessions`);
  }

  /** A call of a simple client. */
  simple(method: string, params?: unknown, name = 'x'): Promise<Reply> {
    return post(`${this.origin}/${name}/mcp`, { jsonrpc: '2.0', id: 1, method, params });
  }

  async simplePid(): Promise<number> {
    return (await this.simple('tools/call', { name: 'pid', arguments: {} })).json().result.structuredContent.pid;
  }

  initialize(params: object = {}, name = 'x'): Promise<Reply> {
    const all = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'client', version: '1' }, ...params };
    return post(`${this.origin}/${name}/mcp`, { jsonrpc: '2.0', id: 'init', method: 'initialize', params: all }, { Accept: 'application/json' });
  }

  async open(params: object = {}, name = 'x'): Promise<Session> {
    const reply = await this.initialize(params, name);
    assert.equal(reply.status, 200, reply.text);
    const session = new Session(`${this.origin}/${name}/mcp`, reply.headers['mcp-session-id'] as string, reply.json().result);
    assert.equal((await session.send({ jsonrpc: '2.0', method: 'notifications/initialized' })).status, 202);
    return session;
  }
}

class Session {
  readonly url: string;
  readonly id: string;
  /** What `initialize` was answered. */
  readonly welcome: any;

  constructor(url: string, id: string, welcome: any) {
    assert.match(id, /^[0-9a-f]{32}$/);
    [this.url, this.id, this.welcome] = [url, id, welcome];
  }

  get headers(): Record<string, string> {
    return { 'Mcp-Session-Id': this.id };
  }

  send(message: object): Promise<Reply> {
    return post(this.url, message, { ...this.headers, Accept: 'application/json' });
  }

  call(method: string, params?: unknown, id: string | number = 1): Promise<Reply> {
    return this.send({ jsonrpc: '2.0', id, method, params });
  }

  async tool(name: string, args: object = {}): Promise<any> {
    const { result, error } = (await this.call('tools/call', { name, arguments: args })).json();
    assert.equal(error, undefined, JSON.stringify(error));
    return result.structuredContent ?? result;
  }

  async pid(): Promise<number> {
    return (await this.tool('pid')).pid;
  }

  /** A call that is answered as a stream. */
  stream(name: string, args: object = {}): Promise<SseStream> {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } });
    return openSse(this.url, { ...this.headers, Accept: 'text/event-stream', 'Content-Type': 'application/json' }, { method: 'POST', body });
  }

  async listen(t: TestContext): Promise<SseStream> {
    const stream = await openSse(this.url, { ...this.headers, Accept: 'text/event-stream' });
    t.after(() => stream.close());
    assert.equal(stream.status, 200);
    return stream;
  }

  delete(): Promise<Reply> {
    return request(this.url, { method: 'DELETE', headers: this.headers });
  }

  async gone(): Promise<void> {
    await until(async () => (await this.call('ping')).status === 404, 'the end of the session');
  }
}

/** The next message of a stream; the event that primes one has an id only. */
async function nextMessage(stream: SseStream): Promise<any> {
  const item = await stream.next((item): item is SseEvent => 'event' in item && item.data !== '');
  return JSON.parse(item.data);
}

/** Every message of a stream so far. */
function messages(stream: SseStream): any[] {
  return stream.all.flatMap((item) => ('event' in item && item.data !== '' ? [JSON.parse(item.data)] : []));
}

function pidsOf(log: readonly LogEntry[]): number[] {
  return log.flatMap(({ event, pid }) => (event === 'spawn' && pid !== undefined ? [Number(pid)] : []));
}

const isolated = (...args: string[]): ServerConfigInput => ({ ...node('server.mjs', ...args), isolation: 'session' });
const EVERYTHING = { sampling: {}, elicitation: {}, roots: { listChanged: true } };

// ---- whose process

test('each session has a process of its own, started with its own initialize; simple clients share another', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() });
  const params = [
    { protocolVersion: '2025-06-18', capabilities: { roots: { listChanged: true } }, clientInfo: { name: 'a', version: '1', title: 'A ż' } },
    { protocolVersion: '2024-11-05', capabilities: { sampling: {}, experimental: { x: { y: 1 } } }, clientInfo: { name: 'b', version: '2' }, _meta: { k: 1 } },
  ];
  const [a, b] = [await proxy.open(params[0]), await proxy.open(params[1])];
  const pids = [await a.pid(), await b.pid(), await proxy.simplePid()];
  assert.equal(new Set(pids).size, 3);
  assert.deepEqual([await a.pid(), await b.pid(), await proxy.simplePid()], pids);
  for (const [n, session] of [a, b].entries()) {
    const { messages: seen } = await session.tool('journal');
    const legacy = seen.filter(({ method }: any) => method !== 'server/discover'); // asked where the shared process has not told
    assert.deepEqual(legacy[0].params, params[n]);
    assert.deepEqual(legacy.map(({ method }: any) => method), ['initialize', 'notifications/initialized', 'tools/call', 'tools/call', 'tools/call']);
  }
  assert.deepEqual(proxy.living.sort(), pids.sort());
});

test('a revision that the proxy does not know is replaced by the newest with sessions', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() });
  for (const protocolVersion of ['1999-01-01', '2026-07-28', 5, null]) {
    const session = await proxy.open({ protocolVersion });
    const { messages: seen } = await session.tool('journal');
    const { params } = seen.find(({ method }: any) => method === 'initialize');
    assert.deepEqual([params.protocolVersion, params.clientInfo.name, session.welcome.protocolVersion], ['2025-11-25', 'client', '2025-11-25']);
  }
});

test('what the process answers to initialize is returned as it is: its revision, its tasks', async (t) => {
  const capabilities = { tools: {}, tasks: { list: {}, requests: { tools: { call: {} } } }, experimental: { n: 1 } };
  const proxy = await Proxy.start(t, { x: isolated('--version', '2024-11-05', '--capabilities', JSON.stringify(capabilities), '--instructions', 'read me'), shared: node('server.mjs', '--capabilities', JSON.stringify(capabilities)) });
  const { welcome } = await proxy.open({ protocolVersion: '2025-06-18' });
  assert.deepEqual(welcome, { protocolVersion: '2024-11-05', capabilities, serverInfo: { name: 'fixture', version: '1.0.0' }, instructions: 'read me' });
  assert.deepEqual((await proxy.open({}, 'shared')).welcome.capabilities, { tools: {}, experimental: { n: 1 } });
});

test('a session at a shared server has no process of its own, and none is counted', async (t) => {
  const proxy = await Proxy.start(t, { x: { ...node('server.mjs'), isolation: 'shared' }, y: node('server.mjs') });
  for (const name of ['x', 'y']) {
    const [a, b] = [await proxy.open({}, name), await proxy.open({}, name)];
    assert.equal(await a.pid(), await b.pid());
    assert.equal('sessions' in (await proxy.status(name)), false);
  }
});

const SCRIPT = `
import { serve, welcome, send, json } from ${JSON.stringify(fixture('stdio.mjs'))};
serve({
  initialize: () => ({ ...welcome(), capabilities: { tools: {}, tasks: { list: {} } } }),
  'tools/list': () => ({ tools: [{ name: 't', inputSchema: { type: 'object' }, execution: { taskSupport: 'required' } }] }),
  'tools/call': () => { send({ jsonrpc: '2.0', method: 'notifications/tasks/status', params: { taskId: '7', status: 'working' } }); return json({}); },
  'tasks/get': ({ params }) => ({ taskId: params.taskId, status: 'working' }),
});`;

test('tasks pass through to the process of a session, and are hidden where a process is shared', async (t) => {
  const proxy = await Proxy.start(t, { x: { command: process.execPath, args: ['--input-type=module', '-e', SCRIPT], isolation: 'session' } });
  const session = await proxy.open();
  const stream = await session.listen(t);
  assert.deepEqual(session.welcome.capabilities, { tools: {}, tasks: { list: {} } });
  assert.deepEqual((await session.call('tools/list')).json().result.tools[0].execution, { taskSupport: 'required' });
  assert.deepEqual((await session.call('tasks/get', { taskId: '7' })).json().result, { taskId: '7', status: 'working' });
  const unknown = (await session.call('tasks/cancel', { taskId: '7' })).json().error;
  assert.deepEqual([unknown.code, unknown.data], [-32601, undefined], 'the error of the server itself');
  await session.call('tools/call', { name: 't' });
  assert.deepEqual((await nextMessage(stream)).params, { taskId: '7', status: 'working' });
  const simple = (await proxy.simple('tasks/get', { taskId: '7' })).json().error;
  assert.deepEqual([simple.code, simple.data.source], [-32601, 'mcp-proxy']);
  assert.equal('execution' in (await proxy.simple('tools/list')).json().result.tools[0], false);
});

test('a call as a task reaches the process of a session, and is a call as any other where a process is shared', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated(), shared: node('server.mjs') });
  const params = { name: 'echo', arguments: { task: 1 }, task: { ttl: 1_000 } };
  const { task: _, ...plain } = params;
  for (const [name, sent] of [['x', params], ['shared', plain]] as const) {
    const session = await proxy.open({}, name);
    assert.deepEqual((await session.call('tools/call', params)).json().result.structuredContent, params.arguments);
    await session.call('vendor/call', params);
    const { messages: seen } = await session.tool('journal');
    const calls = seen.filter(({ params }: any) => params?.name === 'echo').map(({ method, params }: any) => [method, params]);
    assert.deepEqual(calls, [['tools/call', sent], ['vendor/call', params]]);
  }
});

test('its client may tell it that roots and tasks changed, which a shared process never hears', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated(), shared: node('server.mjs') });
  for (const name of ['x', 'shared']) {
    const session = await proxy.open({}, name);
    const said = ['notifications/initialized', 'notifications/roots/list_changed', 'notifications/tasks/status', 'notifications/progress', 'notifications/cancelled', 'tools/call', 'notifications/own'];
    for (const method of said) assert.equal((await session.send({ jsonrpc: '2.0', method, params: { taskId: '1' } })).status, 202);
    const { messages: seen } = await session.tool('journal', { until: 'notifications/own' });
    const heard = seen.slice(3).flatMap(({ id, method }: any) => (id === undefined ? [method] : []));
    assert.deepEqual(heard, name === 'x' ? ['notifications/roots/list_changed', 'notifications/tasks/status', 'notifications/own'] : ['notifications/own']);
  }
});

test('an update of a resource, or a notification about one request, reaches the one client without being asked for', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() });
  const [a, b] = [await proxy.open(), await proxy.open()];
  const [streamA, streamB] = [await a.listen(t), await b.listen(t)];
  await a.tool('notify', { method: 'notifications/own', params: { uri: 'test://note' } });
  assert.equal((await nextMessage(streamA)).method, 'notifications/own');
  await b.tool('changed', { what: 'prompts' });
  assert.equal((await nextMessage(streamB)).method, 'notifications/prompts/list_changed');
  assert.deepEqual([messages(streamA).length, messages(streamB).length], [1, 1]);
});

// ---- questions

for (const method of ['sampling/createMessage', 'elicitation/create', 'roots/list']) {
  test(`${method} reaches the owner of the process, during a call and without one, and nobody else`, async (t) => {
    const proxy = await Proxy.start(t, { x: isolated() });
    const [a, b] = [await proxy.open({ capabilities: EVERYTHING }), await proxy.open({ capabilities: EVERYTHING })];
    const [streamA, streamB] = [await a.listen(t), await b.listen(t)];
    const held = [a.tool('hold', { key: 'both at work' }), b.tool('hold', { key: 'both at work' })];
    const call = await a.stream('ask', { method, id: 'during' });
    const during = await nextMessage(call);
    assert.equal(during.method, method);
    await a.send({ jsonrpc: '2.0', id: during.id, result: { n: 1 } });
    assert.deepEqual((await nextMessage(call)).result.structuredContent, { jsonrpc: '2.0', id: 'during', result: { n: 1 } });
    for (const session of [a, b]) await session.tool('release', { key: 'both at work' });
    await Promise.all(held);

    await a.tool('askAfter', { method, id: 'without' });
    const without = await nextMessage(streamA);
    assert.equal(without.method, method);
    await b.send({ jsonrpc: '2.0', id: without.id, result: { from: 'another session' } });
    await a.send({ jsonrpc: '2.0', id: without.id, result: { n: 2 } });
    assert.deepEqual((await a.tool('asked', { count: 1 })).answers, [{ jsonrpc: '2.0', id: 'without', result: { n: 2 } }]);
    assert.equal((await b.tool('asked')).answers.length, 0);
    assert.deepEqual([messages(streamA).length, messages(streamB).length], [1, 0]);
  });

  test(`${method} is refused where the owner did not declare it, and at the shared process as ever`, async (t) => {
    const proxy = await Proxy.start(t, { x: isolated() });
    const session = await proxy.open();
    assert.equal((await session.tool('ask', { method })).error.code, -32601);
    assert.equal((await proxy.simple('tools/call', { name: 'ask', arguments: { method } })).json().result.structuredContent.error.code, -32601);
  });
}

test('what a server asks as soon as it has started reaches the owner once it has a stream', async (t) => {
  const proxy = await Proxy.start(t, { x: { ...node('asks-the-client.mjs'), isolation: 'session' } });
  const session = await proxy.open({ capabilities: EVERYTHING });
  const stream = await session.listen(t);
  const methods = new Set<string>();
  for (let k = 0; k < 3; k++) {
    const { id, method } = await nextMessage(stream);
    methods.add(method);
    await session.send({ jsonrpc: '2.0', id, result: { of: method } });
  }
  assert.deepEqual([...methods].sort(), ['elicitation/create', 'roots/list', 'sampling/createMessage']);
  const { answers } = await session.tool('poke');
  assert.deepEqual(answers.filter(({ result }: any) => result?.of).map(({ id, result }: any) => [id, result.of]), [[0, 'roots/list'], [1, 'sampling/createMessage'], ['1', 'elicitation/create']]);
});

// ---- bounds, and the ends of a session

test('so many processes and no more: then 503, while simple clients and other servers go on', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated(), y: isolated() }, { limits: { maxIsolated: 2 } });
  const [a] = [await proxy.open(), await proxy.open()];
  const refused = await proxy.initialize();
  assert.deepEqual(errorOf(refused), [503, 'init', -32603, 'session_limit']);
  assert.equal(refused.headers['mcp-session-id'], undefined);
  await proxy.simplePid();
  await proxy.open({}, 'y');
  assert.equal((await a.delete()).status, 204);
  await proxy.sessions(1);
  await proxy.open();
  assert.equal((await proxy.initialize()).status, 503);
});

test('at the limit of sessions the longest idle one makes room, and its process ends', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() }, { limits: { maxSessions: 1 } });
  const a = await proxy.open();
  const pid = await a.pid();
  const b = await proxy.open();
  await a.gone();
  await until(() => !proxy.living.includes(pid), 'the end of the process');
  await b.pid();
  await proxy.sessions(1);
});

test('the status counts the processes of sessions, and says nothing where there are none', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() });
  assert.equal('sessions' in (await proxy.status()), false);
  const watch = await openSse(`${proxy.origin}/api/servers`, { Accept: 'text/event-stream' });
  t.after(() => watch.close());
  const told = async (count: number | undefined): Promise<void> => {
    for (;;) {
      const { x } = JSON.parse((await watch.event('delta')).data);
      if (x !== undefined && x.sessions === count) return;
    }
  };
  const [a, b] = [await proxy.open(), await proxy.open()];
  await told(2);
  assert.equal((await proxy.status()).sessions, 2);
  const held = a.tool('progress', { steps: 0, hold: 'k' });
  await until(async () => (await proxy.status()).pendingRequests === 1, 'the call of a session in the status of its server');
  await a.tool('release', { key: 'k' });
  await held;
  await a.delete();
  await told(1);
  await b.delete();
  await told(undefined);
  assert.equal((await proxy.status()).status, 'running');
});

test('DELETE ends the session and its process; a call in flight is answered', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() });
  const [a, b] = [await proxy.open(), await proxy.open()];
  const [pid, other] = [await a.pid(), await b.pid()];
  const stream = await a.listen(t);
  const held = await a.stream('hold', { key: 'never' });
  assert.equal((await a.delete()).status, 204);
  assert.equal((await nextMessage(held)).error.data.reason, 'session_closed');
  assert.equal(await stream.ended, 'end');
  assert.equal((await a.call('ping')).status, 404);
  await until(() => !proxy.living.includes(pid), 'the end of the process');
  assert.ok(proxy.living.includes(other));
  assert.equal(await b.pid(), other);
});

test('a session that is idle for too long ends with its process; the process itself never idles', async (t) => {
  const clock = fakeClock();
  const proxy = await Proxy.start(t, { x: isolated() }, { clock, limits: { idleTimeoutMs: 60_000, sessionTimeoutMs: 3_600_000 } });
  await until(async () => (await proxy.status()).status === 'running', 'the start');
  const session = await proxy.open();
  const pid = await session.pid();
  await clock.run(3_599_999);
  assert.equal(proxy.log.filter(({ event }) => event === 'idle').length, 1, 'the shared one has idled');
  assert.deepEqual([proxy.living.includes(pid), (await proxy.status()).sessions], [true, 1]);
  await clock.run(1);
  await until(async () => {
    await clock.run(100);
    return !proxy.living.includes(pid) && (await proxy.status()).sessions === undefined;
  }, 'the end of the process');
  assert.equal((await session.call('ping')).status, 404);
});

for (const [how, args] of [['with a code', { code: 3 }], ['without one', { code: 0 }], ['by a signal', { signal: 'SIGKILL' }]] as const) {
  test(`when its process exits ${how} the session ends: calls have their errors, streams end, then 404, and no other process comes`, async (t) => {
    const proxy = await Proxy.start(t, { x: isolated() });
    const [a, b] = [await proxy.open(), await proxy.open()];
    const other = await b.pid();
    const stream = await a.listen(t);
    const held = await a.stream('hold', { key: 'never' });
    const { error } = (await a.call('tools/call', { name: 'die', arguments: args })).json();
    assert.deepEqual([error.code, error.data.reason], [-32603, 'child_exited']);
    assert.equal((await nextMessage(held)).error.data.reason, 'child_exited');
    assert.equal(await stream.ended, 'end');
    await a.gone();
    await proxy.sessions(1);
    assert.equal(await b.pid(), other);
    assert.equal((await proxy.status()).status, 'running');
    assert.equal(proxy.pids.length, 3);
  });
}

test('a process that exits while nobody calls ends its session as well', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() });
  const session = await proxy.open();
  const pid = await session.pid();
  process.kill(pid, 'SIGKILL');
  await session.gone();
  await proxy.sessions(0);
  assert.equal(proxy.pids.length, 2);
});

test('the shared process may exit and come back: sessions with their own do not notice', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() }, { limits: { backoffFirstMs: 10 } });
  const session = await proxy.open();
  const [pid, before] = [await session.pid(), await proxy.simplePid()];
  await proxy.simple('tools/call', { name: 'die', arguments: {} });
  assert.notEqual(await proxy.simplePid(), before);
  assert.equal(await session.pid(), pid);
});

for (const [what, entry] of [
  ['dies', node('dies-at-start.mjs')],
  ['answers something else', node('bad-initialize.mjs')],
  ['speaks a revision that nobody knows', node('server.mjs', '--version', '1999-01-01')],
] as const) {
  test(`when its process ${what} at the start there is no session: 503, and nothing is left`, async (t) => {
    const proxy = await Proxy.start(t, { x: { ...entry, isolation: 'session', autoRestart: false } });
    await until(async () => (await proxy.status()).status === 'error', 'the failure of the shared process');
    const reply = await proxy.initialize();
    assert.deepEqual(errorOf(reply), [503, 'init', -32603, 'unavailable']);
    assert.equal(reply.headers['mcp-session-id'], undefined);
    await proxy.sessions(0);
    await until(() => proxy.living.length === 0, 'the end of the processes');
  });
}

test('a client that leaves before its session is there leaves no process behind', async (t) => {
  const gate = tempDir(t);
  const proxy = await Proxy.start(t, { x: isolated('--start-when', join(gate, 'go')) });
  await until(() => proxy.pids.length === 1, 'the shared process');
  const leaver = await connect(Number(new URL(proxy.origin).port));
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } } });
  leaver.write(`POST /x/mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  await until(() => proxy.pids.length === 2, 'the process of the session');
  leaver.abort();
  await proxy.sessions(0);
  await until(() => proxy.living.length === 1, 'the end of the process');
  writeFileSync(join(gate, 'go'), '');
  assert.ok(existsSync(join(gate, 'go')));
  await proxy.simplePid();
});

// ---- configuration

test('a change of what it runs ends the sessions with a process of their own, after the calls in flight', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() });
  const [a, b] = [await proxy.open(), await proxy.open()];
  const pids = [await a.pid(), await b.pid(), await proxy.simplePid()];
  const call = await a.stream('progress', { steps: 0, hold: 'on' });
  const slow = a.call('tools/call', { name: 'sleep', arguments: { ms: 400 } }, 'slow');
  await a.tool('release', { key: 'on' });
  await nextMessage(call);
  await proxy.configure({ x: isolated('--name', 'new') });
  assert.equal((await slow).json().result.content[0].text, 'done');
  await a.gone();
  await b.gone();
  await until(() => !proxy.living.some((pid) => pids.includes(pid)), 'the end of the old processes');
  assert.equal((await proxy.open()).welcome.serverInfo.name, 'new');
});

test('what has not finished when the drain is over is answered: reconfigured', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() }, { limits: { drainReloadMs: 50 } });
  const session = await proxy.open();
  const held = await session.stream('hold', { key: 'never' });
  const stream = await session.listen(t);
  await proxy.configure({ x: isolated('--name', 'new') });
  assert.equal((await nextMessage(held)).error.data.reason, 'reconfigured');
  assert.equal(await stream.ended, 'end');
  await session.gone();
  await proxy.sessions(0);
});

test('autoRestart, maxRestarts and other servers are changed without touching a session', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() });
  const session = await proxy.open();
  const pids = [await session.pid(), await proxy.simplePid()];
  await proxy.configure({ x: { ...isolated(), autoRestart: false, maxRestarts: 7 }, y: node('server.mjs') });
  assert.deepEqual([await session.pid(), await proxy.simplePid()], pids);
});

for (const [what, change] of [['removed', {}], ['disabled', { x: { ...isolated(), disabled: true } }]] as [string, Servers][]) {
  test(`when the server is ${what} its sessions end, and no process of it is left`, async (t) => {
    const proxy = await Proxy.start(t, { x: isolated() });
    const session = await proxy.open();
    const stream = await session.listen(t);
    await session.pid();
    await proxy.configure(change);
    assert.equal(await stream.ended, 'end');
    await until(() => proxy.living.length === 0, 'the end of all processes');
    assert.equal((await session.call('ping')).status, what === 'removed' ? 404 : 503);
    assert.equal((await proxy.initialize()).status, what === 'removed' ? 404 : 503);
    await proxy.configure({ x: isolated() });
    assert.equal((await session.call('ping')).status, 404);
  });
}

test('a server that becomes shared ends the sessions with a process of their own, and new ones share', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() });
  const session = await proxy.open();
  await session.pid();
  await proxy.configure({ x: node('server.mjs') });
  await session.gone();
  await proxy.sessions(0);
  const [a, b] = [await proxy.open(), await proxy.open()];
  assert.equal(await a.pid(), await b.pid());
  assert.equal(proxy.living.length, 1);
});

test('a server that becomes isolated ends the shared sessions, of both transports, after their calls; simple streams go on', async (t) => {
  const proxy = await Proxy.start(t, { x: node('server.mjs') });
  const session = await proxy.open();
  const stream = await session.listen(t);
  const sse = await openSse(`${proxy.origin}/x/sse`, { Accept: 'text/event-stream' });
  const plain = await openSse(`${proxy.origin}/x/sse`);
  for (const each of [sse, plain]) t.after(() => each.close());
  const { data: endpoint } = await sse.event('endpoint');
  const slow = session.call('tools/call', { name: 'sleep', arguments: { ms: 300 } });
  await until(async () => (await proxy.status()).pendingRequests === 1, 'the call in flight');
  await proxy.configure({ x: isolated() });
  assert.equal((await slow).json().result.content[0].text, 'done');
  assert.deepEqual([await stream.ended, await sse.ended], ['end', 'end']);
  assert.equal((await session.call('ping')).status, 404);
  assert.equal((await post(proxy.origin + endpoint, { jsonrpc: '2.0', id: 1, method: 'ping' })).status, 404);
  const [a, b] = [await proxy.open(), await proxy.open()];
  assert.notEqual(await a.pid(), await b.pid());
  await proxy.simple('tools/call', { name: 'notify', arguments: { method: 'notifications/marker' } });
  await plain.next((item) => 'event' in item && item.data.includes('notifications/marker'));
  assert.equal(plain.all.some((item) => 'event' in item && item.event === 'close'), false);
});

test('sessions that are being opened when their server becomes isolated have processes of their own, too', async (t) => {
  const proxy = await Proxy.start(t, { x: node('server.mjs', '--start-when', 'never') });
  const opening = [proxy.open(), proxy.open()];
  await until(async () => (await proxy.status()).pendingRequests === 2, 'both to wait for the start');
  await proxy.configure({ x: isolated() });
  const pids = await Promise.all(opening.map(async (session) => (await session).pid()));
  assert.equal(new Set([...pids, await proxy.simplePid()]).size, 3);
});

test('a session that is being opened then, and for which there is no process left, is refused', async (t) => {
  const proxy = await Proxy.start(t, { x: node('server.mjs', '--start-when', 'never') }, { limits: { maxIsolated: 1 } });
  const opening = [proxy.initialize(), proxy.initialize()];
  await until(async () => (await proxy.status()).pendingRequests === 2, 'both to wait for the start');
  await proxy.configure({ x: isolated() });
  const replies = await Promise.all(opening);
  assert.deepEqual(replies.map(({ status }) => status).sort(), [200, 503]);
  assert.equal(replies.find(({ status }) => status === 503)?.json().error.data.reason, 'session_limit');
});

// ---- shutdown

test('at the end of the proxy calls are answered and no process is left, of whichever session', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated() }, { limits: { drainShutdownMs: 100 } });
  const sessions = [await proxy.open(), await proxy.open(), await proxy.open()];
  const held = await Promise.all(sessions.map((session) => session.stream('hold', { key: 'never' })));
  const streams = await Promise.all(sessions.map((session) => session.listen(t)));
  const closing = proxy.close();
  for (const each of held) assert.equal((await nextMessage(each)).error.data.reason, 'shutdown');
  for (const stream of streams) assert.equal(await stream.ended, 'end');
  await closing;
  assert.deepEqual(proxy.living, []);
});

test('a session that is being opened at the end of the proxy leaves no process either', async (t) => {
  const proxy = await Proxy.start(t, { x: isolated('--start-when', '/nonexistent/go') });
  const opening = proxy.initialize();
  await until(() => proxy.pids.length === 2, 'the process of the session');
  await proxy.close();
  assert.deepEqual([(await opening).json().error.data.reason, proxy.living], ['shutdown', []]);
});
