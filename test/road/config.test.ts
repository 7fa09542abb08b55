// POST /api/config: what it answers, what it does, and what it refuses.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alive, until } from '../support/files.ts';
import { post, request } from '../support/http.ts';
import { errorOf, nextMessage, node, startProxy, type TestProxy } from '../support/proxy.ts';

const good = node('server.mjs');
const off = { ...good, disabled: true };
const remote = (n: number | string) => ({ url: `http://elsewhere/${n}` }); // needs no process

const pidOf = async (proxy: TestProxy, server: string): Promise<number> => (await proxy.tool(server, 'pid')).pid;

// ---- what the answer says, and what happens

test('every old or new name is in exactly one of the four arrays, in the order of the configuration, and only those concerned notice', async (t) => {
  const proxy = await startProxy(t, { memory: good, off, fs: good, c: good, d: good, back: off });
  for (const name of ['memory', 'fs', 'c', 'd']) await proxy.becomes(name, 'running');
  const before = { memory: await pidOf(proxy, 'memory'), fs: await pidOf(proxy, 'fs'), c: await pidOf(proxy, 'c') };
  const stream = await proxy.listen('memory');
  const held = proxy.tool('memory', 'hold', { key: 'k' });

  const reply = await proxy.configure({ b: good, back: good, fs: node('server.mjs', '--name', 'other'), d: off, off, memory: { ...good, maxRestarts: 7 } });
  assert.equal(reply.status, 200);
  assert.equal(reply.text, '{"started":["b","back"],"stopped":["d","c"],"restarted":["fs"],"kept":["off","memory"]}');

  for (const name of ['b', 'back', 'fs']) await proxy.becomes(name, 'running');
  assert.notEqual(await pidOf(proxy, 'fs'), before.fs);
  await until(() => !alive(before.fs) && !alive(before.c), 'the end of the processes that are not configured any more');
  assert.deepEqual(Object.keys(await proxy.status()), ['b', 'back', 'fs', 'd', 'off', 'memory']);
  assert.equal((await proxy.call('c', 'tools/list')).status, 404);
  assert.equal((await proxy.call('d', 'tools/list')).status, 503);

  assert.equal(await pidOf(proxy, 'memory'), before.memory);
  await proxy.tool('memory', 'release', { key: 'k' });
  assert.equal((await held).content[0].text, 'done');
  await proxy.tool('memory', 'notify', { method: 'notifications/alive' });
  assert.equal((await nextMessage(stream)).method, 'notifications/alive');
});

test('the same again changes nothing, however it is written', async (t) => {
  const entry = { ...good, env: { ONE: 'one', TWO: '2' } };
  const proxy = await startProxy(t, { x: entry, y: remote(1), z: off });
  const pid = await pidOf(proxy, 'x');
  const nothing = { started: [], stopped: [], restarted: [], kept: ['x', 'y', 'z'] };
  const { x, y, z } = proxy.own({ x: entry, y: remote(1), z: off }) as any;
  assert.deepEqual((await post(proxy.url('/api/config'), { mcpServers: { x, y, z } })).json(), nothing);
  const { JOURNAL, STARTS } = x.env;
  const rewritten = { disabled: false, autoRestart: true, env: { TWO: 2, STARTS, ONE: 'one', JOURNAL }, maxRestarts: 3, description: 'mine', args: x.args, command: x.command };
  assert.deepEqual((await post(proxy.url('/api/config'), { other: 1, mcpServers: { x: rewritten, y, z } })).json(), nothing);
  assert.equal(await pidOf(proxy, 'x'), pid);
});

const CHANGES: readonly [what: string, change: (entry: any) => object, restarts: boolean][] = [
  ['command', (x) => ({ ...x, command: 'node' }), true],
  ['args', (x) => ({ ...x, args: [...x.args, '--name', 'y'] }), true],
  ['env', (x) => ({ ...x, env: { ...x.env, MORE: '1' } }), true],
  ['autoRestart', (x) => ({ ...x, autoRestart: false }), false],
  ['maxRestarts', (x) => ({ ...x, maxRestarts: 0 }), false],
  ['a key that nothing reads', (x) => ({ ...x, description: 'mine' }), false],
];

test('command, args and env need a new process; what is only about supervision is taken over without one', async (t) => {
  const proxy = await startProxy(t, { x: good });
  let { x } = proxy.own({ x: good }) as any;
  for (const [what, change, restarts] of CHANGES) {
    const pid = await pidOf(proxy, 'x');
    x = change(x);
    const { restarted, kept } = (await post(proxy.url('/api/config'), { mcpServers: { x } })).json();
    assert.deepEqual(restarts ? restarted : kept, ['x'], what);
    assert.equal((await pidOf(proxy, 'x')) !== pid, restarts, what);
  }
  await proxy.call('x', 'tools/call', { name: 'die' });
  await proxy.becomes('x', 'error');
});

test('a server that is renamed is another server, and names from the depths of JavaScript are names', async (t) => {
  const proxy = await startProxy(t, {});
  const names = ['__proto__', 'constructor', 'a b', 'żółć', '$&', 'a.b', '%41'];
  const servers = Object.fromEntries(names.map((name) => [name, good]));
  assert.deepEqual((await proxy.configure(servers)).json(), { started: names, stopped: [], restarted: [], kept: [] });
  for (const name of names) {
    assert.deepEqual(await proxy.tool(name, 'echo', { name }), { name });
    const stream = await proxy.listen(name);
    await stream.close();
  }
  assert.deepEqual((await proxy.configure({ ['__proto__']: remote(1) })).json(), { started: [], stopped: names.slice(1), restarted: ['__proto__'], kept: [] });
  assert.equal(({} as any).url, undefined);
});

// ---- refusals: nothing is touched

test('a configuration with problems is refused as a whole, and the answer names each with its path and no value', async (t) => {
  const proxy = await startProxy(t, { x: good });
  const pid = await pidOf(proxy, 'x');
  const secret = 'a secret that must not be shown';
  const reply = await post(proxy.url('/api/config'), {
    mcpServers: {
      fs: { command: 'node', args: ['a', 7, secret] },
      'a/b': good,
      api: good,
      '': good,
      e: { command: 'node', env: { TOKEN: [secret], 'A=B': secret } },
      f: { command: secret, disabled: 'yes', maxRestarts: -1, autoRestart: 1 },
      g: {},
      h: [secret],
    },
  });
  assert.deepEqual(errorOf(reply), [400, null, -32602, 'invalid_config']);
  const { message, data } = reply.json().error;
  assert.equal(message, `Invalid configuration: ${data.problems.length} problems`);
  assert.equal(data.source, 'mcp-proxy');
  for (const problem of [
    'mcpServers.fs.args[1]: expected a string, got a number',
    'mcpServers["a/b"]: a server name must not contain "/"',
    'mcpServers.e.env.TOKEN: expected a string, got an array',
    'mcpServers.f.disabled: expected a boolean, got a string',
    'mcpServers.g.command: missing; expected a non-empty string',
    'mcpServers.h: expected an object, got an array',
  ]) assert.ok(data.problems.includes(problem), `${problem}\n  is not in\n${data.problems.join('\n')}`);
  assert.ok(!reply.text.includes(secret));
  assert.deepEqual(Object.keys(await proxy.status()), ['x']);
  assert.equal(await pidOf(proxy, 'x'), pid);
});

const BAD: readonly [what: string, body: string, headers: Record<string, string>, expected: [number, null, number, string]][] = [
  ['no JSON', '{', {}, [400, null, -32700, 'parse_error']],
  ['nothing', '', {}, [400, null, -32700, 'parse_error']],
  ['an array', '[]', {}, [400, null, -32602, 'invalid_config']],
  ['no mcpServers', '{"servers":{}}', {}, [400, null, -32602, 'invalid_config']],
  ['mcpServers that is no object', '{"mcpServers":[]}', {}, [400, null, -32602, 'invalid_config']],
  ['another type', '{"mcpServers":{}}', { 'Content-Type': 'text/plain' }, [415, null, -32600, 'media_type']],
  ['a form', '{"mcpServers":{}}', { 'Content-Type': 'application/x-www-form-urlencoded' }, [415, null, -32600, 'media_type']],
  ['another coding', '{"mcpServers":{}}', { 'Content-Encoding': 'gzip' }, [415, null, -32600, 'media_type']],
  ['too much', `{"mcpServers":{}${' '.repeat(11 * 2 ** 20)}}`, {}, [413, null, -32600, 'too_large']],
];

test('a body that is no configuration is refused', async (t) => {
  const proxy = await startProxy(t, { x: remote(1) });
  for (const [what, body, headers, expected] of BAD) {
    assert.deepEqual(errorOf(await post(proxy.url('/api/config'), body, headers)), expected, what);
  }
  const untyped = await request(proxy.url('/api/config'), { method: 'POST', body: '{"mcpServers":{}}' });
  assert.equal(untyped.status, 415);
  for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
    const reply = await request(proxy.url('/api/config'), { method });
    assert.deepEqual([reply.status, reply.headers.allow], [405, 'POST'], method);
  }
  assert.deepEqual(Object.keys(await proxy.status()), ['x']);
});
