import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { ProxyError } from '../../src/base/errors.ts';
import type { Launch } from '../../src/child/supervisor.ts';
import { Turns } from '../../src/child/turns.ts';
import type { Limits } from '../../src/config/limits.ts';
import { lonelyCaller, type Caller } from '../../src/relay/exchange.ts';
import { McpServer } from '../../src/relay/server.ts';
import { launchOf, noon, starts, testWorld } from '../child/world.ts';
import { turns as eventLoop } from '../support/clock.ts';
import { group, tempDir, until } from '../support/files.ts';
import { FakeExchange, notification, Reader } from './fakes.ts';

const posix = { skip: process.platform === 'win32' };

/** One server with real processes on a fake clock. */
function serve(t: TestContext, launch: Launch, { limits = {} }: { limits?: Partial<Limits> } = {}) {
  const dir = tempDir(t);
  const [startsFile, journalFile] = [join(dir, 'starts'), join(dir, 'journal')];
  // Known to be legacy, so that a child sees nothing but what this is about.
  const withFiles = (other: Launch): Launch => ({ ...other, config: { ...other.config, protocol: 'legacy' }, env: { ...other.env, STARTS: startsFile, JOURNAL: journalFile } });
  const clock = noon();
  const world = testWorld(clock, { limits });
  const told: boolean[] = [];
  const statuses: string[] = [];
  const server = new McpServer('fs', withFiles(launch), world, new Turns(4), { name: 'proxy', version: '1' }, (urgent) => {
    told.push(urgent);
    if (urgent) statuses.push(server.status.status);
  });
  let lastId = 0;
  let ended = false;
  t.after(async () => {
    ended = true;
    const stopped = server.stop(new ProxyError('shutdown', 'The test is over'), 0).then(() => true);
    server.kill();
    await until(() => (clock.advance(25), Promise.race([stopped, false])), 'the end of the server');
    for (const pid of starts(startsFile)) await until(() => group(pid).length === 0, 'the end of its processes');
  });
  const it = {
    server,
    world,
    clock,
    told,
    /** Every status that was told as urgent, each only where it differs from the one before. */
    statuses: () => statuses.filter((status, k) => status !== statuses[k - 1]),
    starts: () => starts(startsFile),
    /** What the child has received, message by message; what is said before a handshake is left out. */
    journal: (): any[] => (existsSync(journalFile) ? readFileSync(journalFile, 'utf8').trimEnd().split('\n') : []).map((line) => JSON.parse(line)),
    configure: (other: Launch) => server.configure(withFiles(other)),
    send: (method: string, params: object = {}, id: unknown = ++lastId, options = {}): FakeExchange => {
      const exchange = new FakeExchange({ jsonrpc: '2.0', id, method, params }, options);
      server.dispatch(exchange, exchange.request);
      return exchange;
    },
    call: (name: string, args: object = {}): FakeExchange => it.send('tools/call', { name, arguments: args }),
    notify: (method: string, params: object = {}) => server.notify(notification({ jsonrpc: '2.0', method, params })),
    listen: (): Reader => {
      const reader = new Reader();
      server.join(reader);
      server.wake();
      return reader;
    },
    reaches: (status: string) => until(() => server.status.status === status, () => `"${status}", it is "${server.status.status}"`),
    /** Waits for it while the clock goes on in small steps, as a stop ladder needs it. */
    reachesInTime: (status: string) => until(() => (ended || clock.advance(25), server.status.status === status), () => `"${status}", it is "${server.status.status}"`),
  };
  return it;
}

/** The outcome of a request, once there is one. */
async function settled(exchange: FakeExchange): Promise<any> {
  await until(() => exchange.answers.length > 0, 'an answer');
  return exchange.outcome;
}

async function toolResult(exchange: FakeExchange): Promise<any> {
  return (await settled(exchange)).result.structuredContent;
}

// ---- starting

test('a request starts its server, waits for the handshake and is answered; the next one finds it running', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  assert.equal(it.server.status.status, 'stopped');
  const first = it.send('tools/list', {}, '"1"');
  assert.equal(it.server.status.status, 'starting');
  assert.equal(it.server.status.pendingRequests, 1);
  assert.equal((await settled(first)).id, '"1"');
  const second = it.call('echo', { n: 1 });
  assert.deepEqual(await toolResult(second), { n: 1 });
  assert.equal(it.starts().length, 1);
  assert.deepEqual(it.journal().map(({ method }) => method), ['initialize', 'notifications/initialized', 'tools/list', 'tools/call']);
  assert.deepEqual(it.statuses(), ['starting', 'running']);
  assert.equal(it.server.status.pendingRequests, 0);
});

test('who shares the answer to a subscription with a client of the other era has it as its own era writes it (R-53)', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  it.listen();
  await it.reaches('running');
  const modern: Caller = { ...lonelyCaller(), era: 'modern', holder: {} };
  const listens = it.send('subscriptions/listen', { notifications: { resourceSubscriptions: ['test://note'] } }, 'listens', { caller: modern });
  const subscribes = it.send('resources/subscribe', { uri: 'test://note' }, 'subscribes', { caller: { ...lonelyCaller(), holder: {} } });
  assert.deepEqual(await settled(subscribes), { jsonrpc: '2.0', id: 'subscribes', result: {} });
  await until(() => listens.notified.length === 1, 'the acknowledgement');
  assert.equal(it.journal().filter(({ method }) => method === 'resources/subscribe').length, 1);
});

test('requests that come during a start are written in their order when it is done', async (t) => {
  const go = join(tempDir(t), 'go');
  const it = serve(t, launchOf('server.mjs', ['--start-when', go]));
  const all = Array.from({ length: 20 }, (_, n) => it.call('echo', { n }));
  await until(() => it.journal().length === 1, 'initialize');
  assert.equal(it.server.status.pendingRequests, 20);
  writeFileSync(go, '');
  assert.deepEqual(await Promise.all(all.map(toolResult)), all.map((_, n) => ({ n })));
  assert.deepEqual(it.journal().slice(2).map(({ params }) => params.arguments.n), all.map((_, n) => n));
});

test('a start that takes longer than 50 s costs those who wait a "still starting", and goes on', async (t) => {
  const go = join(tempDir(t), 'go');
  const it = serve(t, launchOf('server.mjs', ['--start-when', go]));
  const early = it.call('echo');
  await until(() => it.journal().length === 1, 'initialize');
  await it.clock.run(49_999);
  assert.deepEqual(early.answers, []);
  await it.clock.run(1);
  assert.equal(early.outcome, 'starting');
  assert.deepEqual([it.server.status.status, it.server.status.pendingRequests], ['starting', 0]);
  const late = it.call('echo', { late: true });
  writeFileSync(go, '');
  assert.deepEqual(await toolResult(late), { late: true });
  assert.equal(it.starts().length, 1);
  assert.equal(it.journal().filter(({ method }) => method === 'tools/call').length, 1);
});

test('those who wait for a start go on waiting through restarts, and are refused when the server is given up', async (t) => {
  const once = serve(t, launchOf('dies-once.mjs', [join(tempDir(t), 'memory')]));
  const patient = once.call('poke');
  await once.reaches('restarting');
  assert.deepEqual(patient.answers, []);
  await once.clock.run(1_000);
  assert.deepEqual(await toolResult(patient), { ok: true });

  const it = serve(t, launchOf('dies-at-start.mjs', ['no database'], { maxRestarts: 1 }));
  const [a, b] = [it.call('poke'), it.send('initialize')];
  await it.reaches('restarting');
  await it.clock.run(1_000);
  for (const exchange of [a, b]) {
    await settled(exchange);
    assert.deepEqual(exchange.answers, [['unavailable', 'Server "fs" is not available: exited with code 1']]);
  }
  const refused = it.call('poke');
  assert.equal(refused.outcome, 'unavailable');
  await it.clock.run(60_000);
  const half = it.call('poke');
  assert.equal(it.server.status.status, 'starting');
  assert.equal(await settled(half), 'unavailable');
  assert.equal(it.starts().length, 3);
});

// ---- what the child need not see

test('initialize is answered from the handshake, at the version that the client asks for, and the child sees its own only (R-15, R-86)', async (t) => {
  const capabilities = { tools: { listChanged: true }, tasks: { list: {} }, experimental: { x: { y: 1 } } };
  const it = serve(t, launchOf('server.mjs', ['--version', '2024-11-05', '--name', 'żółw', '--instructions', 'be kind 🦊', '--capabilities', JSON.stringify(capabilities)]));
  for (const [asked, given] of [
    ['2024-11-05', '2024-11-05'],
    ['2025-03-26', '2025-03-26'],
    ['2025-06-18', '2025-06-18'],
    ['2025-11-25', '2025-11-25'],
    ['1999-01-01', '2025-11-25'],
    ['2026-07-28', '2025-11-25'],
    [undefined, '2025-11-25'],
    [7, '2025-11-25'],
  ]) {
    const exchange = it.send('initialize', { protocolVersion: asked, capabilities: {}, clientInfo: { name: 'c', version: '1' } }, 'i');
    assert.deepEqual(await settled(exchange), {
      jsonrpc: '2.0',
      id: 'i',
      result: {
        protocolVersion: given,
        capabilities: { tools: { listChanged: true }, experimental: { x: { y: 1 } } },
        serverInfo: { name: 'żółw', version: '1.0.0' },
        instructions: 'be kind 🦊',
      },
    });
  }
  await settled(it.send('tools/list'));
  assert.deepEqual(it.journal().map(({ method }) => method), ['initialize', 'notifications/initialized', 'tools/list']);
});

test('instructions reach the client as the child wrote them, however long they are', async (t) => {
  for (const instructions of ['ż', 'ż'.repeat(20_000)]) {
    const it = serve(t, launchOf('server.mjs', ['--instructions', instructions, '--name', 'żółw']));
    const { result } = await settled(it.send('initialize', {}));
    assert.equal(result.serverInfo.name, 'żółw', `${instructions.length} characters`);
    assert.ok(result.instructions === instructions, `${result.instructions.slice(0, 20)} instead of ${instructions.slice(0, 20)}`);
  }
});

test('a ping is answered at once in every state but error, starts nothing, and is no use', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  const { lastUsed } = it.server.status;
  it.clock.advance(1_000);
  assert.deepEqual(it.send('ping', {}, 'p').outcome, { jsonrpc: '2.0', id: 'p', result: {} });
  assert.equal(it.server.status.status, 'stopped');
  assert.equal(it.server.status.lastUsed, lastUsed);
  it.server.start();
  assert.deepEqual(it.send('ping', {}, 1).outcome, { jsonrpc: '2.0', id: 1, result: {} });
  await it.reaches('running');
  assert.deepEqual(it.send('ping', {}, 2).outcome, { jsonrpc: '2.0', id: 2, result: {} });
  assert.equal(it.server.status.lastUsed, lastUsed);
  await settled(it.call('echo'));
  assert.equal(it.journal().some(({ method }) => method === 'ping'), false);

  const failed = serve(t, launchOf('dies-at-start.mjs', [], { maxRestarts: 0 }));
  failed.server.start();
  await failed.reaches('error');
  assert.equal(failed.send('ping').outcome, 'unavailable');
  await failed.clock.run(60_000);
  assert.equal(failed.send('ping').outcome, 'unavailable');
  assert.equal(failed.starts().length, 1);
});

test('tasks belong to one client: their methods are unknown, and their notifications end here (R-135)', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  for (const method of ['tasks/get', 'tasks/list', 'tasks/result', 'tasks/cancel', 'tasks/no-such']) {
    const exchange = it.send(method);
    assert.equal(await settled(exchange), 'method_not_found');
    assert.deepEqual(exchange.answers, [['method_not_found', `Method not found: ${method}`]]);
  }
  it.notify('notifications/tasks/status');
  await settled(it.call('echo'));
  assert.deepEqual(it.journal().map(({ method }) => method), ['initialize', 'notifications/initialized', 'tools/call']);
});

test('a subscribe, an unsubscribe and a log level are the server’s business: equal ones reach the child once', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  const ok = (id: number) => ({ jsonrpc: '2.0', id, result: {} });
  const uri = 'test://note';
  const steps = [['resources/subscribe', { uri }], ['resources/subscribe', { uri }], ['logging/setLevel', { level: 'info' }], ['logging/setLevel', { level: 'error' }]] as const;
  for (const [k, [method, params]] of steps.entries()) assert.deepEqual(await settled(it.send(method, params, k)), ok(k));
  assert.deepEqual(await settled(it.send('resources/unsubscribe', { uri: 'test://other' }, 8)), ok(8));
  const journal = await toolResult(it.call('journal'));
  assert.deepEqual([journal.level, journal.subscribed], ['info', [uri]]);
  assert.deepEqual(await settled(it.send('resources/unsubscribe', { uri }, 9)), ok(9));
  assert.deepEqual(it.journal().slice(2).map(({ method }) => method), ['resources/subscribe', 'logging/setLevel', 'tools/call', 'resources/unsubscribe']);

  const silent = serve(t, launchOf('server.mjs', ['--no-logging']));
  const refused = silent.send('logging/setLevel', { level: 'info' });
  assert.equal(await settled(refused), 'method_not_found');
});

test('a request that waits for its resource counts as pending, and may finish before the server is restarted (R-148, R-156)', async (t) => {
  const it = serve(t, launchOf('never-answers.mjs'));
  it.server.start();
  await it.reaches('running');
  const exchange = it.send('resources/subscribe', { uri: 'test://note' });
  assert.equal(it.server.status.pendingRequests, 1);
  it.server.restart();
  await it.clock.run(9_999);
  assert.deepEqual(exchange.answers, []);
  await it.clock.run(1);
  assert.equal(exchange.outcome, 'reconfigured');
});

// ---- notifications of clients

test('a notification starts no server and waits for none; a running one gets what is for it and nothing else (R-29)', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  it.clock.advance(5_000);
  it.notify('notifications/vendor/x');
  assert.equal(it.server.status.lastUsed, '2026-01-01T12:00:05.000Z');
  assert.equal(it.server.status.status, 'stopped');
  it.server.start();
  await it.reaches('running');
  const consumed = [
    'notifications/initialized', 'notifications/cancelled', 'notifications/progress', 'notifications/roots/list_changed', 'notifications/tasks/status',
    'initialize', 'ping', 'tools/call', 'tools/list', 'resources/subscribe', 'resources/unsubscribe', 'resources/read', 'resources/list',
    'resources/templates/list', 'prompts/get', 'prompts/list', 'completion/complete', 'logging/setLevel', 'tasks/get',
  ];
  for (const method of consumed) it.notify(method, { requestId: 1 });
  it.notify('notifications/vendor/y', { _meta: { 'io.modelcontextprotocol/logLevel': 'info' }, n: 1 });
  await settled(it.call('echo'));
  assert.deepEqual(it.journal().slice(2).map(({ method, params }) => [method, params.n]), [['notifications/vendor/y', 1], ['tools/call', undefined]]);
});

// ---- what a child says and asks

test('a child is answered its ping, refused what no simple client can do, and told apart whose call it is about', async (t) => {
  const it = serve(t, launchOf('asks-the-client.mjs'));
  it.server.start();
  await until(() => it.world.entries.some(({ message }) => message === 'all is answered'), 'the answers, before there is any call');
  const { answers } = await toolResult(it.call('poke'));
  const byId = new Map(answers.map((answer: any) => [answer.id, answer.result ?? [answer.error.code, answer.error.data?.reason]]));
  assert.deepEqual(byId.get('ping ż'), {});
  assert.deepEqual(byId.get(0), [-32603, 'no_client']); // roots/list, outside of any call
  assert.deepEqual(byId.get(1), [-32603, 'ambiguous_client']);
  assert.deepEqual(byId.get('1'), [-32603, 'ambiguous_client']);
  assert.deepEqual(byId.get(-1), [-32601, 'method_not_found']);
  assert.equal(answers.length, 5);

  const asked = serve(t, launchOf('server.mjs'));
  for (const method of ['sampling/createMessage', 'elicitation/create', 'roots/list']) {
    const { error } = await toolResult(asked.call('ask', { method, params: {}, id: 'x' }));
    assert.deepEqual([error.code, error.data.reason], [-32601, 'client_capability']);
  }
  const held = asked.call('hold', { key: 'k' });
  const { error } = await toolResult(asked.call('ask', { method: 'sampling/createMessage' }));
  assert.deepEqual([error.code, error.data.reason], [-32603, 'ambiguous_client']);
  assert.match(error.message, /2 clients/);
  asked.call('release', { key: 'k' });
  await settled(held);
});

test('a call whose client left may still make the child ask: it is told that the caller is gone', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  const left = it.call('ask', { method: 'elicitation/create', params: {}, after: 'k', id: 'late', stubborn: true });
  await until(() => it.journal().length === 3, 'the call at the child');
  it.server.cancel(left, 'it left');
  await until(() => it.journal().some(({ method }) => method === 'notifications/cancelled'), 'the news at the child');
  const released = it.call('release', { key: 'k' });
  await settled(released);
  const { error } = await until(() => it.journal().find(({ id }) => id === 'late'), 'what the child was told');
  // While the call that let it go was in flight there were two, after it only the one that is gone.
  assert.ok(['no_client', 'ambiguous_client'].includes(error.data.reason), error.data.reason);
  assert.deepEqual(left.answers, []);
  assert.equal(it.server.status.pendingRequests, 0);
});

test('nonsense on stdout, ids that nobody asked with and a flood of log lines cost no answer', async (t) => {
  for (const [name, ...args] of [['talks-nonsense.mjs'], ['reuses-ids.mjs'], ['floods-stderr.mjs', '1'], ['floods-stdout.mjs', '2000', '500']] as [string, ...string[]][]) {
    const it = serve(t, launchOf(name, args));
    for (let k = 0; k < 5; k++) {
      const exchange = it.call('poke');
      const { error, result } = await settled(exchange);
      assert.equal(error, undefined);
      assert.equal(JSON.stringify(result).includes('wrong'), false);
      await eventLoop();
      assert.equal(exchange.answers.length, 1);
    }
    assert.equal(it.server.status.status, 'running');
  }
});

test('progress and log lines of one call arrive in order before its answer, and what comes later goes elsewhere', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  const reader = it.listen();
  const exchange = it.send('tools/call', { name: 'progress', arguments: { steps: 3, oneChunk: true }, _meta: { progressToken: 'ż' } });
  await settled(exchange);
  assert.deepEqual(exchange.log.slice(0, 3).map((line) => JSON.parse(line).params), [1, 2, 3].map((progress) => ({ progressToken: 'ż', progress, total: 3, message: `step ${progress} of 3` })));
  assert.ok(exchange.log[3]!.startsWith('settled'));

  const logs = it.call('log', { text: 'during' });
  await settled(logs);
  assert.equal(JSON.parse(logs.notified[0]!).params.data, 'during');
  await settled(it.call('log', { text: 'after', late: true }));
  await until(() => reader.events.length === 1, 'the log line');
  assert.match(reader.events[0]!, /after/);
});

// ---- a child is lost

test('a child that dies costs the calls in flight one error each; a stream hears of it and, after the restart, that lists may have changed', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  const reader = it.listen();
  await it.reaches('running');
  const held = [it.call('hold', { key: 'k' }), it.call('hold', { key: 'k' })];
  await until(() => it.journal().length === 4, 'both calls at the child');
  const dies = it.call('die', { code: 9, stderr: 'out of memory\n' });
  for (const exchange of [...held, dies]) {
    await settled(exchange);
    assert.deepEqual(exchange.answers, [['child_exited', 'Server "fs" exited (code 9)']]);
  }
  const waits = it.call('echo', { again: true });
  assert.deepEqual(reader.take(), ['error {"error":"exited with code 9"}']);
  await it.clock.run(1_000);
  assert.deepEqual(await toolResult(waits), { again: true });
  assert.deepEqual(reader.take(), ['tools', 'prompts', 'resources'].map((type) => `message {"jsonrpc":"2.0","method":"notifications/${type}/list_changed"}`));
  assert.equal(reader.ended, 0);
  assert.deepEqual(it.journal().slice(-3).map(({ method }) => method), ['initialize', 'notifications/initialized', 'tools/call']); // nothing is sent again
});

test('after a restart the child knows the log level and the resources again, before anything else (R-154)', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  for (const uri of ['test://a', 'test://b']) await settled(it.send('resources/subscribe', { uri }));
  await settled(it.send('logging/setLevel', { level: 'warning' }));
  await settled(it.call('die'));
  const journal = it.call('journal');
  await it.clock.run(1_000);
  const { messages, level, subscribed } = await toolResult(journal);
  assert.deepEqual([level, subscribed], ['warning', ['test://a', 'test://b']]);
  assert.deepEqual(messages.map(({ method }: any) => method), [
    'initialize', 'notifications/initialized', 'logging/setLevel', 'resources/subscribe', 'resources/subscribe', 'tools/call',
  ]);
});

test('a server that is lost in its handshake again and again tells each stream each time', async (t) => {
  const it = serve(t, launchOf('dies-after-handshake.mjs', [], { maxRestarts: 1 }));
  const reader = it.listen();
  await until(() => reader.events.length > 0 && it.server.status.status === 'restarting', 'the first failure');
  await it.clock.run(1_000);
  await it.reaches('error');
  assert.equal(reader.events.filter((event) => event === 'error {"error":"exited with code 1"}').length, 2);
  assert.equal(reader.ended, 0);
});

// ---- the status

test('the status tells the last use, what is pending, the failure with its time, and the restarts in a row, as long as they count', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  const noonIso = '2026-01-01T12:00:00.000Z';
  it.clock.advance(10_000);
  assert.deepEqual(it.server.status, { status: 'stopped', lastUsed: noonIso, pendingRequests: 0 });
  const dies = it.call('echo');
  assert.deepEqual(it.server.status, { status: 'starting', lastUsed: '2026-01-01T12:00:10.000Z', pendingRequests: 1 });
  await settled(dies);
  it.clock.advance(1_000);
  assert.deepEqual(it.server.status, { status: 'running', lastUsed: '2026-01-01T12:00:10.000Z', pendingRequests: 0 });
  await settled(it.call('die', { code: 2, stderr: 'one\ntwo\n' }));
  const failed = { error: 'exited with code 2', errorAt: '2026-01-01T12:00:11.000Z', stderr: 'one\ntwo' };
  assert.deepEqual(it.server.status, { status: 'restarting', lastUsed: '2026-01-01T12:00:11.000Z', pendingRequests: 0, ...failed, restartCount: 1 });
  await it.clock.run(1_000);
  await it.reaches('running');
  assert.deepEqual(it.server.status, { status: 'running', lastUsed: '2026-01-01T12:00:11.000Z', pendingRequests: 0, restartCount: 1 });
  await it.clock.run(60_000);
  assert.deepEqual(it.server.status, { status: 'running', lastUsed: '2026-01-01T12:00:11.000Z', pendingRequests: 0 });
});

test('a server in error shows its failure until it runs, one without a word on stderr shows none', async (t) => {
  const it = serve(t, launchOf('dies-at-start.mjs', ['', '3'], { maxRestarts: 0 }));
  it.server.start();
  await it.reaches('error');
  assert.deepEqual(it.server.status, { status: 'error', lastUsed: '2026-01-01T12:00:00.000Z', pendingRequests: 0, error: 'exited with code 3', errorAt: '2026-01-01T12:00:00.000Z' });
});

test('every change of status is told as urgent, counters are not', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  it.server.start();
  await it.reaches('running');
  assert.deepEqual(it.statuses(), ['starting', 'running']);
  it.told.length = 0;
  await settled(it.call('echo'));
  it.notify('notifications/vendor/x');
  assert.ok(it.told.length >= 2);
  assert.deepEqual(new Set(it.told), new Set([false]));
  await settled(it.call('die'));
  await it.clock.run(1_000);
  await it.reaches('running');
  await it.clock.run(60_000);
  assert.deepEqual(it.statuses(), ['starting', 'running', 'restarting', 'running']);
});

// ---- streams

test('a stream is opened whatever the state of the server, starts it, and is told why it cannot run', async (t) => {
  const it = serve(t, launchOf('dies-at-start.mjs', [], { maxRestarts: 0 }));
  it.clock.advance(3_000);
  const [first, second] = [new Reader(), new Reader()];
  const listen = (reader: Reader) => (it.server.join(reader), it.server.wake());
  assert.equal(listen(first), undefined);
  assert.deepEqual([it.server.status.status, it.server.status.lastUsed], ['starting', '2026-01-01T12:00:03.000Z']);
  await it.reaches('error');
  assert.deepEqual(first.take(), ['error {"error":"exited with code 1"}']);
  assert.equal(listen(second)?.reason, 'unavailable');
  await it.clock.run(60_000);
  assert.equal(listen(new Reader()), undefined); // 60 s later it is worth an attempt
});

test('what a server says about one request or one elicitation of somebody reaches no simple stream', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  const reader = it.listen();
  for (const [method, params] of [
    ['notifications/cancelled', { requestId: 1 }],
    ['notifications/cancelled', {}],
    ['notifications/elicitation/complete', { elicitationId: 'e' }],
  ] as const) await settled(it.call('notify', { method, params }));
  await settled(it.call('notify', { method: 'notifications/vendor/x', params: {} }));
  await until(() => reader.events.length > 0, 'the one that is for all');
  assert.deepEqual(reader.take().map((event) => JSON.parse(event.slice('message '.length)).method), ['notifications/vendor/x']);
});

// ---- idle

test('a server that nobody uses for five minutes is stopped without a word, and the next request starts it again', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  await settled(it.call('echo'));
  await it.clock.run(299_999);
  assert.equal(it.server.status.status, 'running');
  const [pid] = it.starts();
  await it.clock.run(1);
  await it.reachesInTime('stopped');
  assert.deepEqual(group(pid!), []);
  assert.deepEqual(it.statuses(), ['starting', 'running', 'stopped']);
  assert.deepEqual(await toolResult(it.call('echo', { again: 1 })), { again: 1 });
  assert.equal(it.starts().length, 2);
  assert.equal(it.server.status.error, undefined);
});

test('what counts as use puts the end of a server off, and a ping does not', async (t) => {
  const uses: Readonly<Record<string, (it: ReturnType<typeof serve>) => unknown>> = {
    'a request': (it) => settled(it.call('echo')),
    'a notification': (it) => it.notify('notifications/vendor/x'),
    'a stream that closes': (it) => it.server.leave(it.listen()),
    'an initialize': (it) => settled(it.send('initialize')),
  };
  for (const [what, use] of [...Object.entries(uses), ['a ping', (it: ReturnType<typeof serve>) => it.send('ping')] as const]) {
    const it = serve(t, launchOf('server.mjs'), { limits: { idleTimeoutMs: 1_000 } });
    it.server.start();
    await it.reaches('running');
    await it.clock.run(900);
    await use(it);
    await it.clock.run(100);
    if (what === 'a ping') {
      await it.reachesInTime('stopped');
      continue;
    }
    await it.clock.run(899);
    assert.equal(it.statuses().at(-1), 'running', what);
    await it.clock.run(1);
    await it.reachesInTime('stopped');
  }
});

test('a call in flight and an open stream keep a server, however long, and the time counts from their end', async (t) => {
  const it = serve(t, launchOf('server.mjs'), { limits: { idleTimeoutMs: 1_000, requestTimeoutMs: 0 } });
  const held = it.call('hold', { key: 'k' });
  await until(() => it.journal().length === 3, 'the call at the child');
  await it.clock.run(10_500);
  const reader = it.listen();
  await settled(it.call('release', { key: 'k' }));
  assert.deepEqual((await settled(held)).result.content, [{ type: 'text', text: 'done' }]);
  await it.clock.run(10_000);
  assert.equal(it.statuses().at(-1), 'running');
  it.server.leave(reader);
  await it.clock.run(999);
  assert.equal(it.statuses().at(-1), 'running');
  await it.clock.run(1);
  await it.reachesInTime('stopped');
  assert.deepEqual(reader.take(), []);
});

test('an idle time of 0 is never', async (t) => {
  const it = serve(t, launchOf('server.mjs'), { limits: { idleTimeoutMs: 0 } });
  it.server.start();
  await it.reaches('running');
  await it.clock.run(100_000_000);
  assert.equal(it.server.status.status, 'running');
  assert.equal(it.clock.pending, 0);
});

test('a server that was idle comes back with its log level, without the resources of before, and lists that changed only if it did', async (t) => {
  const it = serve(t, launchOf('server.mjs'), { limits: { idleTimeoutMs: 1_000 } });
  await settled(it.send('resources/subscribe', { uri: 'test://note' }));
  await settled(it.send('logging/setLevel', { level: 'error' }));
  await it.clock.run(1_000);
  await it.reachesInTime('stopped');
  const reader = it.listen();
  await it.reaches('running');
  const { level, subscribed } = await toolResult(it.call('journal'));
  assert.deepEqual([level, subscribed], ['error', []]);
  assert.deepEqual(reader.take(), []);
});

test('a request that comes while an idle server is being stopped is answered by the next process', posix, async (t) => {
  const it = serve(t, launchOf('deaf-to-stdin.mjs'), { limits: { idleTimeoutMs: 1_000 } });
  it.server.start();
  await it.reaches('running');
  await it.clock.run(1_000);
  const exchange = it.call('poke');
  assert.equal(it.server.status.status, 'starting');
  await it.clock.run(1_999);
  assert.equal(it.starts().length, 1);
  await it.reachesInTime('running');
  assert.deepEqual(await toolResult(exchange), { ok: true });
  assert.deepEqual(group(it.starts()[0]!), []);
});

// ---- restart and stop

test('a restart lets the calls in flight finish at the old process, and new ones wait for the next', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  const held = it.call('hold', { key: 'k' });
  await until(() => it.journal().length === 3, 'the call at the child');
  it.configure(launchOf('server.mjs', ['--name', 'next']));
  it.server.restart();
  assert.equal(it.server.status.status, 'restarting');
  const waits = it.send('initialize');
  await it.clock.run(9_999);
  assert.deepEqual([held.answers, waits.answers], [[], []]);
  assert.equal(it.server.status.pendingRequests, 2);
  await it.clock.run(1);
  assert.deepEqual(held.answers, [['reconfigured', 'Server "fs" was reconfigured']]);
  await it.reachesInTime('running');
  assert.equal((await settled(waits)).result.serverInfo.name, 'next');
  assert.equal(it.starts().length, 2);
  assert.deepEqual(group(it.starts()[0]!), []);
});

test('a restart is over as soon as the last call in flight is answered', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  const held = it.call('sleep', { ms: 50 });
  await until(() => it.journal().length === 3, 'the call at the child');
  it.server.restart();
  assert.deepEqual((await settled(held)).result.content, [{ type: 'text', text: 'done' }]);
  await it.reachesInTime('running');
  assert.ok(it.clock.now() - Date.UTC(2026, 0, 1, 12) < 10_000);
});

test('a stop refuses those who wait, lets the calls in flight finish, ends every stream with a close, and is over when nothing is left', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  const reader = it.listen();
  const held = it.call('hold', { key: 'k' });
  await until(() => it.journal().length === 3, 'the call at the child');
  it.server.restart();
  const waits = it.call('echo');
  const why = new ProxyError('unavailable', 'it was removed');
  let over = false;
  const stopped = it.server.stop(why, 3_000).then(() => (over = true));
  assert.deepEqual(waits.answers, [['unavailable', 'it was removed']]);
  await it.clock.run(2_999);
  assert.deepEqual([held.answers, reader.ended, over], [[], 0, false]);
  await it.clock.run(1);
  assert.deepEqual(held.answers, [['reconfigured', 'Server "fs" was reconfigured']]);
  assert.deepEqual([reader.take(), reader.ended], [['close {}'], 1]);
  await until(() => (it.clock.advance(25), Promise.race([stopped, false])), 'the end of the stop');
  assert.deepEqual(group(it.starts()[0]!), []);
  assert.equal(it.server.status.status, 'stopped');
});

test('a call that waits for something else when its server is stopped for good gets the reason, and does not bring the server back', async (t) => {
  const it = serve(t, launchOf('silent-about.mjs', ['tools/list']));
  const modern: Caller = { ...lonelyCaller(), era: 'modern', holder: {} };
  const exchange = it.send('tools/call', { name: 'a' }, 1, { caller: modern });
  await until(() => it.journal().at(-1)?.method === 'tools/list', 'the question for the list of tools');
  const stopped = it.server.stop(new ProxyError('unavailable', 'it was removed'), 0).then(() => true);
  await until(() => (it.clock.advance(25), Promise.race([stopped, false])), 'the end of the stop');
  assert.equal(exchange.outcome, 'unavailable');
  assert.deepEqual([it.server.status.status, it.starts().length], ['stopped', 1]);
});

test('a stop of a server that does not run ends its streams at once', async (t) => {
  const failed = serve(t, launchOf('dies-at-start.mjs', [], { maxRestarts: 0 }));
  const starting = serve(t, launchOf('hangs-in-handshake.mjs'));
  for (const it of [failed, starting]) {
    const reader = it.listen();
    if (it === failed) await it.reaches('error');
    else await until(() => it.starts().length === 1, 'its process');
    reader.take();
    void it.server.stop(new ProxyError('shutdown', 'Shutting down'), 5_000);
    assert.deepEqual([reader.take(), reader.ended], [['close {}'], 1]);
  }
});

test('a stopped server that is started again serves again, with the streams that come then', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  await settled(it.call('echo'));
  const stopped = it.server.stop(new ProxyError('unavailable', 'it was disabled'), 1_000).then(() => true);
  await until(() => (it.clock.advance(25), Promise.race([stopped, false])), 'the end of the stop');
  it.server.start();
  const reader = it.listen();
  assert.deepEqual(await toolResult(it.call('echo', { back: 1 })), { back: 1 });
  await settled(it.call('die'));
  assert.deepEqual(reader.take().slice(-1), ['error {"error":"exited with code 1"}']);
  assert.equal(reader.ended, 0);
});

test('a start during the drain of a stop keeps the streams, and calls in flight still finish', async (t) => {
  const it = serve(t, launchOf('server.mjs'));
  const reader = it.listen();
  const held = it.call('hold', { key: 'k' });
  await until(() => it.journal().length === 3, 'the call at the child');
  void it.server.stop(new ProxyError('unavailable', 'it was disabled'), 10_000);
  it.server.start();
  const waits = it.call('echo', { next: 1 });
  await it.clock.run(10_000);
  assert.equal(held.outcome, 'reconfigured');
  assert.deepEqual(await until(() => (it.clock.advance(25), waits.answers.length > 0 && toolResult(waits)), 'an answer'), { next: 1 });
  assert.deepEqual([reader.take().filter((event) => event.startsWith('close')), reader.ended], [[], 0]);
  assert.equal(it.starts().length, 2);
});

test('kill ends its processes at once', posix, async (t) => {
  const it = serve(t, launchOf('leaves-grandchild.mjs', ['deaf']));
  await settled(it.call('pid'));
  it.server.kill();
  await until(() => group(it.starts()[0]!).length === 0, 'the end of the group');
});
