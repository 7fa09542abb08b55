// What is said about failures, and what is never said: values of the environment, of `.env`, and the token, and what is one
// client's.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../support/files.ts';
import { post } from '../support/http.ts';
import { node, startProxy, type TestProxy } from '../support/proxy.ts';

const ENV = 'value-of-the-entry';
const DOTENV = 'value-of-the-dotenv';
const TOKEN = 'value-of-the-auth-token';
const LINES = 'first line of a key\nsecond line of a key';
const setup = { secrets: [DOTENV], auth: { token: TOKEN } };

/** Everything that clients, operators and the log get to see. */
async function everything(proxy: TestProxy, ...more: readonly string[]): Promise<string> {
  const stream = await proxy.listen('x');
  const reader = await proxy.watch();
  return [JSON.stringify(await proxy.status()), stream.raw.toString(), reader.raw.toString(), ...proxy.log.map((entry) => JSON.stringify(entry)), ...more].join('\n');
}

function hides(text: string, ...secrets: readonly string[]): void {
  for (const secret of secrets) for (const form of [secret, JSON.stringify(secret).slice(1, -1)]) assert.ok(!text.includes(form), `${secret} in ${text}`);
}

test('what a server says of its secrets before it dies is told to nobody', async (t) => {
  const entry = { ...node('server.mjs'), env: { SECRET: ENV, KEY: LINES }, maxRestarts: 0 };
  const proxy = await startProxy(t, { x: entry }, setup);
  await proxy.becomes('x', 'running');
  const stream = await proxy.listen('x');
  const stderr = `password=${ENV}&again=${ENV}\n${DOTENV} ${TOKEN}\n${LINES}\nthe end\n`;
  const first = await proxy.call('x', 'tools/call', { name: 'die', arguments: { stderr } });
  assert.deepEqual(first.json().error.data, {
    source: 'mcp-proxy', reason: 'child_exited', exitCode: 1, stderr: 'password=***&again=***\n*** ***\n***\nthe end',
  }); // prettier-ignore
  const { stderr: shown } = await proxy.becomes('x', 'error');
  assert.equal(shown, 'password=***&again=***\n*** ***\n***\nthe end');
  const second = await proxy.call('x', 'tools/list');
  assert.equal(second.json().error.data.stderr, shown);
  await stream.event('error');
  hides(await everything(proxy, first.text, second.text, stream.raw.toString()), ENV, DOTENV, TOKEN, LINES);
  assert.ok(proxy.log.some(({ message }) => message.includes('password=***')));
});

test('nor what it says at its start, and not the arguments that it was started with', async (t) => {
  const entry = { ...node('dies-at-start.mjs', `cannot log in as ${ENV}`), env: { SECRET: ENV }, maxRestarts: 0 };
  const proxy = await startProxy(t, { x: entry }, setup);
  const { stderr } = await proxy.becomes('x', 'error');
  assert.equal(stderr, 'cannot log in as ***');
  hides(await everything(proxy, (await proxy.call('x', 'tools/list')).text), ENV);
});

test('a value that is part of another one leaves no rest of it, and values of five characters hide nothing', async (t) => {
  const entry = { ...node('dies-at-start.mjs', 'abcdefghi abcdef 12345 defghi'), env: { A: 'abcdef', B: 'abcdefghi', C: '12345', D: '3000' }, maxRestarts: 0 };
  const proxy = await startProxy(t, { x: entry });
  assert.equal((await proxy.becomes('x', 'error')).stderr, '*** *** 12345 defghi');
});

test('a secret is taken out before the text is cut, so that no half of it remains', async (t) => {
  const secret = 'S'.repeat(3_000);
  const proxy = await startProxy(t, { x: { ...node('server.mjs'), env: { SECRET: secret }, maxRestarts: 0 } });
  const { error } = (await proxy.call('x', 'tools/call', { name: 'die', arguments: { stderr: `${secret}the end\n` } })).json();
  assert.equal(error.data.stderr, '***the end');
});

test('arguments and programs are for the log: arguments at level debug, a program that is not found with the PATH that was searched', async (t) => {
  const proxy = await startProxy(t, { x: { command: 'no-such-program-anywhere', args: ['--with', 'arguments'], maxRestarts: 0 } }, { env: { PATH: '/nowhere/bin' } });
  const { error } = await proxy.becomes('x', 'error');
  assert.equal(error, 'spawn ENOENT');
  const reply = await proxy.call('x', 'tools/list');
  assert.doesNotMatch(reply.text, /no-such-program|--with|nowhere/);
  const [entry] = proxy.logged('spawn_failed', 'error');
  assert.match(entry!.message, /no-such-program-anywhere.*\/nowhere\/bin/);
  for (const { level, message } of proxy.log) if (message.includes('--with')) assert.equal(level, 'debug');
});

test('messages are never logged, neither their arguments nor their results', async (t) => {
  const proxy = await startProxy(t, { x: node('server.mjs') });
  const stream = await proxy.listen('x');
  await proxy.tool('x', 'echo', { argument: 'a-private-argument' });
  await proxy.tool('x', 'log', { text: 'a-private-line', late: true });
  await stream.event('message');
  await proxy.tool('x', 'notify', { method: 'notifications/elicitation/complete', params: { elicitationId: 'a-private-id' } });
  await post(proxy.url('/x/mcp'), '{"jsonrpc":"2.0","id":1,"method":"a-private-thing","method":"twice"}');
  hides(proxy.log.map((entry) => JSON.stringify(entry)).join('\n'), 'a-private-argument', 'a-private-line', 'a-private-id');
});

test('a child has what the proxy was told to pass on and what its entry says, and nothing of the proxy\'s own environment', async (t) => {
  process.env['ONLY_THE_PROXY'] = 'x';
  t.after(() => delete process.env['ONLY_THE_PROXY']);
  const env = { OWN: 'entry', BOTH: 'entry', NUMBER: 1.5, FLAG: false, EMPTY: '' };
  const proxy = await startProxy(t, { x: { ...node('server.mjs'), env } }, { env: { INHERITED: 'yes', BOTH: 'inherited' }, auth: { token: TOKEN } });
  const value = async (name: string): Promise<unknown> => (await proxy.tool('x', 'env', { name })).value;
  const expected = { OWN: 'entry', BOTH: 'entry', NUMBER: '1.5', FLAG: 'false', EMPTY: '', INHERITED: 'yes', PATH: process.env['PATH'], ONLY_THE_PROXY: null, AUTH_TOKEN: null, NODE_V8_COVERAGE: null };
  for (const [name, wanted] of Object.entries(expected)) assert.equal(await value(name), wanted, name);
});

test('every failure is in the log with what follows from it', async (t) => {
  const proxy = await startProxy(t, { x: { ...node('dies-at-start.mjs'), maxRestarts: 1 }, y: { ...node('dies-at-start.mjs'), autoRestart: false } }, { limits: { backoffFirstMs: 100 } });
  await proxy.becomes('x', 'error');
  await proxy.becomes('y', 'error');
  await until(() => proxy.logged('failed').length === 3, 'three failures in the log');
  const said = (server: string): unknown[] => proxy.logged('failed').flatMap((entry) => (entry.server === server ? [[entry.level, entry.message]] : []));
  assert.deepEqual(said('x'), [
    ['warn', 'exited with code 1, restart 1 of 1 in 0.1 s'],
    ['error', 'exited with code 1, given up after 1 restart'],
  ]);
  assert.deepEqual(said('y').map((entry) => (entry as string[])[0]), ['error']);
});

test('an answer that cannot be read is one client\'s all the same: when the server dies, nobody is told what is in it', async (t) => {
  const proxy = await startProxy(t, { x: { ...node('says-anything.mjs'), maxRestarts: 0 } });
  const spoilt = [`{"jsonrpc":"2.0","id":$ID,"result":{"balance":NaN,"of":"${ENV}"}}`, `{"jsonrpc":"2.0","id":$ID,"result":{"of":"${ENV}"}`, `{"jsonrpc":"2.0","id":$ID,"result":"${ENV}","id":$ID}`];
  const owner = await proxy.open('x', 'tools/call', { name: 'say', arguments: { lines: ['a plain line', ...spoilt], delayMs: 60_000 } });
  const progress = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$TOKEN,"progress":1}}';
  const other = await proxy.stream('x', 'tools/call', { name: 'say', arguments: { lines: [progress], delayMs: 60_000 } }, { progressToken: 'p' });
  await other.event('message');
  process.kill(proxy.spawned()[0] as number, 'SIGKILL');
  const { error } = JSON.parse((await other.event('message')).data);
  assert.equal(error.data.stderr.split('\n')[0], 'a plain line');
  hides(await everything(proxy, other.raw.toString()), ENV);
  owner.abort();
});
