// Many clients, clients that come and go, and clients that leave in the middle: nobody else notices, and nothing of them stays.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { test, type TestContext } from 'node:test';
import { alive, fixture, until } from '../support/files.ts';
import { connect, post, request, type Connection } from '../support/http.ts';
import { answerIn, ERAS, modernClient, modernRequest } from '../support/modern.ts';
import { start, type Program } from '../support/program.ts';
import { node, startProxy, type TestProxy } from '../support/proxy.ts';
import { initialize, openSession } from '../support/session.ts';

const good = node('server.mjs');
const linux = { skip: process.platform !== 'linux' };
const MIB = 2 ** 20;

const server = (name: string, ...args: (string | number)[]) => ({ command: process.execPath, args: [fixture(name), ...args.map(String)] });

interface Running {
  readonly program: Program;
  readonly origin: string;
  readonly port: number;
  /** How many file descriptors it has open. */
  descriptors(): number;
  /** The most memory that it has had so far, in MiB. */
  peak(): number;
  call(name: string, tool: string, args?: object, agent?: Agent): Promise<any>;
}

/** Starts the program; the servers named in `warm` have answered a call. */
async function up(t: TestContext, mcpServers: Readonly<Record<string, ReturnType<typeof server>>>, warm = Object.keys(mcpServers)): Promise<Running> {
  const program = start(t, { config: { mcpServers } });
  const origin = await program.origin();
  const { pid } = program.process;
  const running: Running = {
    program,
    origin,
    port: Number(new URL(origin).port),
    descriptors: () => readdirSync(`/proc/${pid}/fd`).length,
    peak: () => Math.round(Number(/^VmHWM:\s*(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024),
    call: async (name, tool, args = {}, agent) => {
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool, arguments: args } });
      const options = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body, ...(agent && { agent }) };
      return (await request(`${origin}/${name}/mcp`, options)).json();
    },
  };
  for (const name of warm) await running.call(name, 'echo');
  return running;
}

// ---- many

test('a thousand clients of every dialect at once have each their own answer', async (t) => {
  const proxy = await startProxy(t, { x: good });
  const session = await openSession(t, proxy);
  const modern = modernClient(t, proxy);
  const clients = Array.from({ length: 1_000 }, async (_, n) => {
    if (n % 4 === 0) return (await session.call('tools/call', { name: 'echo', arguments: { n } })).text;
    if (n % 4 === 1) return (await modern.call('echo', { n })).text;
    return (await proxy.call('x', 'tools/call', { name: 'echo', arguments: { n } }, { headers: n % 4 === 2 ? {} : { Accept: 'text/event-stream' } })).text;
  });
  const answers = (await Promise.all(clients)).map((text) => answerIn({ text, headers: { 'content-type': text.startsWith('{') ? 'application/json' : '' } }));
  assert.deepEqual(answers.map(({ id, result }) => [id, result.structuredContent.n]), clients.map((_, n) => [1, n]));
  assert.equal((await proxy.status())['x'].pendingRequests, 0);
});

test('after thousands of connections, however they end, the program has as many descriptors as before', linux, async (t) => {
  const it = await up(t, { x: server('server.mjs') });
  const before = it.descriptors();
  const call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}';
  const held = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hold"}}';
  const head = (body: string, length = body.length): string => `POST /x/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n\r\n${body}`;
  const sent = ['', 'POST /x', head(call, 1_000), head(call), head(held), head(call).repeat(3), 'GET /x/sse HTTP/1.1\r\nHost: localhost\r\n\r\n', 'GET /api/servers HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n'];
  let most = 0;
  for (let round = 0; round < 20; round++) {
    const connections: Connection[] = await Promise.all(Array.from({ length: 100 }, () => connect(it.port)));
    connections.forEach((connection, n) => connection.write(sent[(n >> 1) % sent.length]!));
    await until(() => it.descriptors() >= before + 50, 'the connections');
    most = Math.max(most, it.descriptors());
    connections.forEach((connection, n) => (n % 2 === 0 ? connection.close() : connection.abort()));
  }
  await until(() => it.descriptors() <= before, () => `${it.descriptors()} descriptors instead of ${before}`);
  t.diagnostic(`${before} descriptors before 2,000 connections, ${most} at most, ${it.descriptors()} after them`);
  const status = async (): Promise<any> => (await request(`${it.origin}/api/servers`, { headers: { Accept: 'application/json' } })).json().x;
  await until(async () => (await status()).pendingRequests === 0, 'nothing in flight');
  assert.equal((await status()).status, 'running');
});

test('of ten thousand sessions that nobody ends, the last thousand are kept, and little memory', linux, async (t) => {
  const it = await up(t, { x: server('server.mjs') });
  const agent = new Agent({ keepAlive: true, maxSockets: 20 });
  t.after(() => agent.destroy());
  const body = JSON.stringify(initialize('2025-06-18'));
  const headers = { Accept: 'application/json, text/event-stream', 'Content-Type': 'application/json' };
  const ids: string[] = [];
  const open = async (): Promise<void> => {
    while (ids.length < 10_000) ids.push(String((await request(`${it.origin}/x/mcp`, { method: 'POST', headers, body, agent })).headers['mcp-session-id']));
  };
  const [before, descriptors] = [it.peak(), it.descriptors()];
  await Promise.all(Array.from({ length: 20 }, open));
  const used = it.peak() - before;
  t.diagnostic(`peak memory ${before} MiB before, ${before + used} MiB after`);
  assert.ok(used < 150, `${used} MiB`);
  const list = async (id: string | undefined): Promise<number> =>
    (await post(`${it.origin}/x/mcp`, { jsonrpc: '2.0', id: 1, method: 'tools/list' }, { ...headers, 'Mcp-Session-Id': id })).status;
  assert.deepEqual([await list(ids[0]), await list(ids.at(-2_000)), await list(ids.at(-1))], [404, 404, 200]);
  agent.destroy();
  await until(() => it.descriptors() <= descriptors, 'the descriptors of before');
});

// ---- those that do not read, or send slowly

interface Slow {
  readonly entry: ReturnType<typeof server>;
  /** What each of the clients sends; nothing of the answer is read. */
  readonly sends: string;
  readonly clients: number;
  readonly mib: number;
}

const asking = (body: string): string => `POST /x/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const SLOW: Readonly<Record<string, Slow>> = {
  'a stream that a flooding server fills': { entry: server('floods-stdout.mjs', 3_000, 100_000), sends: 'GET /x/sse HTTP/1.1\r\nHost: localhost\r\n\r\n', clients: 10, mib: 250 },
  'an answer of twenty megabytes': { entry: server('server.mjs'), sends: asking(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"big","arguments":{"bytes":${20 * MIB}}}}`), clients: 5, mib: 400 },
  'a call of which half is never sent': { entry: server('server.mjs'), sends: `${asking('').replace('Length: 0', `Length: ${10 * MIB}`)}${'x'.repeat(5 * MIB)}`, clients: 10, mib: 200 },
};

for (const [what, { entry, sends, clients, mib }] of Object.entries(SLOW)) {
  test(`clients that do not read, or do not go on with, ${what} cost bounded memory, and their neighbours keep their speed`, linux, async (t) => {
    const it = await up(t, { x: entry, y: server('server.mjs') }, ['y']);
    const agent = new Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    await it.call('y', 'echo', {}, agent);
    const before = it.peak();
    const stuck = await Promise.all(Array.from({ length: clients }, () => connect(it.port)));
    t.after(() => stuck.forEach((client) => client.abort()));
    for (const client of stuck) client.socket.pause();
    for (const client of stuck) client.write(sends);
    let worst = 0;
    const neighbour = async (n: number): Promise<void> => {
      const since = performance.now();
      assert.equal((await it.call('y', 'echo', { n }, agent)).result.structuredContent.n, n);
      worst = Math.max(worst, Math.round(performance.now() - since));
    };
    if (entry.args.length > 1) await it.call('x', 'poke'); // the flood begins
    const end = performance.now() + 1_000;
    for (let n = 0; performance.now() < end; n++) await neighbour(n);
    const used = it.peak() - before;
    t.diagnostic(`${clients} clients: peak memory ${before} MiB before, ${used} MiB more with them; the neighbour's slowest answer took ${worst} ms`);
    assert.ok(used < mib, `${used} MiB`);
    assert.ok(worst < 2_000, `${worst} ms`);
  });
}

// ---- those that leave

const HOLD = { name: 'hold', arguments: { key: 'k' } };
const STEPS = { name: 'progress', arguments: { steps: 1, hold: 'k' }, _meta: { progressToken: 't' } };
const EVENTS = { Accept: 'text/event-stream' };

/** Writes a request over a connection of its own, and waits for what comes of it. */
async function write(proxy: TestProxy, head: string, headers: Readonly<Record<string, string>>, body: object | undefined, sign: string): Promise<Connection> {
  const connection = await connect(proxy.port);
  const text = body === undefined ? '' : JSON.stringify(body);
  const lines = Object.entries({ Host: 'localhost', 'Content-Length': String(text.length), ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  connection.write(`${head} HTTP/1.1\r\n${lines.join('')}\r\n${text}`);
  await connection.until((received) => received.includes(sign));
  return connection;
}

/** One request of a modern client, as far as to the sign. */
function modernly(proxy: TestProxy, method: string, params: Record<string, unknown>, sign: string): Promise<Connection> {
  const { headers, message } = modernRequest(method, params, { progressToken: 't' });
  return write(proxy, 'POST /x/mcp', headers, message, sign);
}

interface Phase {
  /** What the server still waits for when the client has gone. */
  readonly pending?: number;
  enter(proxy: TestProxy, t: TestContext): Promise<Connection>;
}

const PHASES: Readonly<Record<string, Phase>> = {
  'a call': { enter: (proxy) => proxy.open('x', 'tools/call', HOLD) },
  'a call that waits for its stream': { enter: (proxy) => proxy.open('x', 'tools/call', HOLD, EVENTS) },
  'a call whose stream has begun': {
    enter: (proxy) => write(proxy, 'POST /x/mcp', { Accept: '*/*, text/event-stream' }, { jsonrpc: '2.0', id: 1, method: 'tools/call', params: STEPS }, 'notifications/progress'),
  },
  'a call of a session, which goes on': {
    pending: 1,
    async enter(proxy, t) {
      const { headers } = await openSession(t, proxy);
      return proxy.open('x', 'tools/call', HOLD, headers);
    },
  },
  'the stream of a session': {
    async enter(proxy, t) {
      const { headers } = await openSession(t, proxy);
      return write(proxy, 'GET /x/mcp', { ...headers, ...EVENTS }, undefined, '200 OK');
    },
  },
  'a simple stream': { enter: (proxy) => write(proxy, 'GET /x/sse', EVENTS, undefined, 'endpoint') },
  'the status stream': { enter: (proxy) => write(proxy, 'GET /api/servers', EVENTS, undefined, 'event: status') },
  'a modern call': {
    enter: (proxy) => {
      const { headers, message } = modernRequest('tools/call', HOLD);
      return proxy.open('x', 'tools/call', message.params, headers);
    },
  },
  'a modern call whose stream has begun': { enter: (proxy) => modernly(proxy, 'tools/call', STEPS, 'notifications/progress') },
  'a listen': { enter: (proxy) => modernly(proxy, 'subscriptions/listen', { notifications: { toolsListChanged: true, resourceSubscriptions: ['test://note'] } }, 'acknowledged') },
};

for (const era of ['legacy', 'modern'] as const) {
  for (const [what, { pending = 0, enter }] of Object.entries(PHASES)) {
    test(`a client that leaves in the middle of ${what}, with a ${era} server, leaves nothing behind`, async (t) => {
      const proxy = await startProxy(t, { x: node('server.mjs', ...ERAS[era]) });
      await proxy.tool('x', 'echo');
      for (const leave of ['close', 'abort'] as const) (await enter(proxy, t))[leave]();
      await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 2 * pending);
      await until(async () => {
        const { subscribed = [], listening = [] } = await proxy.tool('x', 'journal');
        // What the proxy listens to for itself names no resource.
        return subscribed.length === 0 && listening.every(({ notifications }: any) => !notifications.resourceSubscriptions?.length);
      }, 'no resource that the server is to watch');
      await proxy.tool('x', 'release', { key: 'k' });
      await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 0);
      assert.deepEqual(await proxy.tool('x', 'echo', { n: 1 }), { n: 1 });
    });
  }
}

for (const [what, begin] of [
  ['the drain of a shutdown', (proxy) => void proxy.proxy.close()],
  ['the drain of a restart', (proxy) => void post(proxy.url('/api/servers/x/restart'), {})],
] as readonly (readonly [string, (proxy: TestProxy) => void])[]) {
  for (const [phase, { enter }] of Object.entries(PHASES).filter(([, { pending = 0 }]) => pending === 0)) {
    test(`${what} waits for nobody who leaves in the middle of ${phase}`, async (t) => {
      const proxy = await startProxy(t, { x: good }, { limits: { drainShutdownMs: 600_000, drainReloadMs: 600_000 } });
      await proxy.tool('x', 'echo');
      const [pid] = proxy.spawned('x');
      const clients = [await enter(proxy, t), await enter(proxy, t)];
      begin(proxy);
      clients[0]!.close();
      clients[1]!.abort();
      await until(() => !alive(pid!), 'the end of the process');
    });
  }
}

for (const [what, reason, begin] of [
  ['ended', 'shutdown', (proxy) => void proxy.proxy.close()],
  ['removed', undefined, (proxy) => void proxy.configure({ y: good })],
] as readonly (readonly [string, string | undefined, (proxy: TestProxy) => void])[]) {
  test(`a call that waited for something else when its server was ${what} is answered, and starts no other process`, async (t) => {
    const proxy = await startProxy(t, { x: node('silent-about.mjs', 'tools/list') }, { limits: { toolsWaitMs: 300, drainShutdownMs: 600_000, drainReloadMs: 600_000 } });
    await proxy.tool('x', 'poke');
    const [pid] = proxy.spawned('x');
    const waiting = modernClient(t, proxy).call('poke');
    await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
    begin(proxy);
    const { error } = answerIn(await waiting);
    if (reason !== undefined) assert.equal(error.data.reason, reason);
    assert.equal(error.data.source, 'mcp-proxy');
    await until(() => !alive(pid!), 'the end of the process');
    await proxy.close();
    assert.deepEqual(proxy.spawned('x'), [pid]);
  });
}

const START: Readonly<Record<string, (proxy: TestProxy) => Promise<Connection>>> = {
  'a call': (proxy) => proxy.open('x', 'tools/call', HOLD),
  'the initialize of a session': (proxy) => proxy.open('x', 'initialize', (initialize('2025-06-18') as { params: object }).params, { Accept: 'application/json, text/event-stream' }),
  'a modern call': (proxy) => {
    const { headers, message } = modernRequest('tools/call', HOLD);
    return proxy.open('x', 'tools/call', message.params, headers);
  },
  'a discover': (proxy) => {
    const { headers, message } = modernRequest('server/discover', {});
    return proxy.open('x', 'server/discover', message.params, headers);
  },
  'a listen': (proxy) => {
    const { headers, message } = modernRequest('subscriptions/listen', { notifications: { toolsListChanged: true } });
    return proxy.open('x', 'subscriptions/listen', message.params, headers);
  },
};

for (const [what, enter] of Object.entries(START)) {
  test(`a client that leaves with ${what} that waits for the server to start leaves nothing behind`, async (t) => {
    const proxy = await startProxy(t, { x: node('hangs-in-handshake.mjs') }, { limits: { maxSessions: 1 } });
    for (const leave of ['close', 'abort'] as const) {
      const client = await enter(proxy);
      await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 1);
      client[leave]();
      await proxy.becomes('x', ({ pendingRequests }: any) => pendingRequests === 0);
    }
    assert.deepEqual(proxy.received('x').filter((line) => /"(tools\/call|subscriptions\/listen)"/.test(line)), []);
  });
}
