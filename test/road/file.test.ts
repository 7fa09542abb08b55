// The configuration file: written by POST /api/config, followed by the proxy.

import assert from 'node:assert/strict';
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { LIMITS } from '../../src/config/limits.ts';
import { createProxy } from '../../src/proxy.ts';
import { fakeClock } from '../support/clock.ts';
import { tempDir, until } from '../support/files.ts';
import { post, raw } from '../support/http.ts';
import { errorOf, node, startProxy, type TestProxy } from '../support/proxy.ts';

const good = node('server.mjs');
const remote = (n: number) => ({ url: `http://elsewhere/${n}` }); // needs no process
const pidOf = async (proxy: TestProxy, server: string): Promise<number> => (await proxy.tool(server, 'pid')).pid;

/** Replaces the file as careful editors do: whoever is just reading it never has half of it. */
function replace({ path }: TestProxy, text: string): void {
  writeFileSync(`${path}.next`, text);
  renameSync(`${path}.next`, path);
}

const read = (proxy: TestProxy): any => JSON.parse(readFileSync(proxy.path, 'utf8'));

test('the file gets the servers as they were sent, keeps its other keys and its mode, and nothing else is left beside it', async (t) => {
  const proxy = await startProxy(t, {}, { file: 'written' });
  writeFileSync(proxy.path, '{"$schema":"s","mcpServers":{},"inputs":[1]}');
  chmodSync(proxy.path, 0o640);
  const mcpServers = { x: { url: 'http://elsewhere', mine: { deep: [1.5, null] } }, ['__proto__']: { url: 'y', disabled: true } };
  assert.equal((await post(proxy.url('/api/config'), { mcpServers, other: 'is not read' })).status, 200);
  assert.equal(readFileSync(proxy.path, 'utf8'), `${JSON.stringify({ $schema: 's', mcpServers, inputs: [1] }, null, 2)}\n`);
  assert.equal(statSync(proxy.path).mode & 0o777, 0o640);
  assert.deepEqual(readdirSync(proxy.dir), ['mcp-config.json']);
});

test('a file that was not there is made, for its owner only', async (t) => {
  const proxy = await startProxy(t, {}, { file: 'written' });
  rmSync(proxy.path);
  assert.equal((await proxy.configure({ x: remote(1) })).status, 200);
  assert.equal(statSync(proxy.path).mode & 0o777, 0o600);
  assert.deepEqual(read(proxy), { mcpServers: { x: remote(1) } });
});

test('a link stays a link, and the file behind it is written', async (t) => {
  const proxy = await startProxy(t, {}, { file: 'written' });
  mkdirSync(join(proxy.dir, 'elsewhere'));
  const target = join(proxy.dir, 'elsewhere', 'real.json');
  renameSync(proxy.path, target);
  symlinkSync(target, proxy.path);
  assert.equal((await proxy.configure({ x: remote(1) })).status, 200);
  assert.ok(lstatSync(proxy.path).isSymbolicLink());
  assert.deepEqual(JSON.parse(readFileSync(target, 'utf8')), { mcpServers: { x: remote(1) } });
});

test('what changes nothing writes nothing', async (t) => {
  const proxy = await startProxy(t, { x: remote(1) }, { file: 'written' });
  const version = (): bigint[] => {
    const { ino, size, mode, mtimeNs, ctimeNs } = statSync(proxy.path, { bigint: true }); // not atime: to read it is no change
    return [ino, size, mode, mtimeNs, ctimeNs];
  };
  const before = version();
  assert.deepEqual((await proxy.configure({ x: remote(1) })).json().kept, ['x']);
  assert.deepEqual(version(), before);
});

test('a file that does not parse is a conflict: nothing is overwritten, nothing is applied', async (t) => {
  const proxy = await startProxy(t, { x: remote(1) }, { file: 'written' });
  for (const text of ['{"mcpServers": {', '', '[]', '"text"', 'null']) {
    writeFileSync(proxy.path, text);
    const reply = await proxy.configure({ y: remote(1) });
    assert.deepEqual(errorOf(reply), [409, null, -32603, 'config_conflict'], text);
    assert.equal(readFileSync(proxy.path, 'utf8'), text);
  }
  assert.deepEqual(Object.keys(await proxy.status()), ['x']);
});

test('a file that cannot be written is 500, and nothing is applied', async (t) => {
  const proxy = await startProxy(t, { x: remote(1) }, { file: 'written' });
  rmSync(proxy.path);
  mkdirSync(proxy.path);
  const reply = await proxy.configure({ y: remote(1) });
  assert.deepEqual(errorOf(reply), [500, null, -32603, 'config_write_failed']);
  assert.deepEqual(Object.keys(await proxy.status()), ['x']);
  assert.ok(existsSync(proxy.path));
});

test('a change that is quickly done waits for a slow one that came before', async (t) => {
  const proxy = await startProxy(t, {}, { file: 'written' });
  const change = (servers: object, connection: string): string => {
    const body = JSON.stringify({ mcpServers: servers });
    return `POST /api/config HTTP/1.1\r\nHost: localhost\r\nConnection: ${connection}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  };
  const large = { x: { ...remote(1), note: 'x'.repeat(900_000) } };
  const answers = (await raw(proxy.port, change(large, 'keep-alive') + change({}, 'close'))).toString();
  assert.deepEqual(answers.match(/\{.*\}/g), ['{"started":["x"],"stopped":[],"restarted":[],"kept":[]}', '{"started":[],"stopped":["x"],"restarted":[],"kept":[]}']);
  assert.deepEqual(read(proxy).mcpServers, {});
});

test('changes that are sent at the same time are taken over one after the other, each whole', async (t) => {
  const proxy = await startProxy(t, { s0: remote(0) }, { file: 'written' });
  const answers = await Promise.all(Array.from({ length: 20 }, async (_, k) => (await proxy.configure({ [`s${k + 1}`]: remote(0), both: remote(k) })).json()));
  const started = answers.flatMap(({ started }) => started.filter((name: string) => name !== 'both'));
  const stopped = answers.flatMap(({ stopped }) => stopped);
  assert.equal(new Set(started).size, 20);
  assert.equal(new Set(stopped).size, 20);
  const [last] = started.filter((name: string) => !stopped.includes(name));
  assert.deepEqual(Object.keys(await proxy.status()), [last, 'both']);
  assert.deepEqual(Object.keys(read(proxy).mcpServers), [last, 'both']);
});

test('a change of the file is taken over as one over the API is, however the file is replaced; untouched servers never notice', async (t) => {
  const proxy = await startProxy(t, { kept: good, gone: good }, { file: 'written' });
  const pid = await pidOf(proxy, 'kept');
  const write = (servers: object): string => JSON.stringify({ mcpServers: servers });
  const { kept, next } = proxy.own({ kept: good, next: good }) as any;

  writeFileSync(proxy.path, write({ kept, next }));
  await proxy.becomes('next', 'running');
  assert.equal((await proxy.call('gone', 'tools/list')).status, 404);

  writeFileSync(join(proxy.dir, 'new'), write({ kept, renamed: remote(1) }));
  renameSync(join(proxy.dir, 'new'), proxy.path);
  await until(async () => 'renamed' in (await proxy.status()), 'the renamed file');

  writeFileSync(proxy.path, `\ufeff${write({ kept, bom: remote(1) })}`);
  await until(async () => 'bom' in (await proxy.status()), 'the file with a byte order mark');
  assert.equal(await pidOf(proxy, 'kept'), pid);
});

test('a file that breaks, or goes away, leaves everything as it runs, and says so in the log once for each problem', async (t) => {
  const proxy = await startProxy(t, { x: good }, { file: 'written' });
  const pid = await pidOf(proxy, 'x');
  replace(proxy, '{"mcpServers": ');
  await until(() => proxy.logged('config_invalid', 'error').length > 0, 'the log of a file that does not parse');
  replace(proxy, '{"mcpServers":{"x":{"command":7},"a/b":{"command":"node"}}}');
  await until(() => proxy.logged('config_invalid', 'error').length > 2, 'the log of a file that is not valid');
  rmSync(proxy.path);
  await until(() => proxy.logged('config_missing', 'warn').length > 0, 'the log of a file that is gone');
  const said = proxy.logged('config_invalid').map(({ message }) => message);
  assert.equal(said.length, 3, said.join('\n'));
  assert.match(said[1]!, /^mcpServers\.x\.command: expected a non-empty string, got a number/);
  assert.match(said[2]!, /^mcpServers\["a\/b"\]: a server name must not contain "\/"/);
  assert.equal(await pidOf(proxy, 'x'), pid);

  writeFileSync(proxy.path, JSON.stringify({ mcpServers: { ...proxy.own({ x: good }), y: remote(1) } }));
  await until(async () => 'y' in (await proxy.status()), 'the mended file');
  assert.equal(await pidOf(proxy, 'x'), pid);
});

test('the same bytes again are no news', async (t) => {
  const clock = fakeClock();
  let events = 0; // each arms the debounce timer, and nothing else in this test waits as long
  const { after } = clock;
  const counting = Object.assign(clock, {
    after(ms: number, then: () => void) {
      if (ms === LIMITS.configDebounceMs) events += 1;
      return after(ms, then);
    },
  });
  const proxy = await startProxy(t, {}, { clock: counting, file: 'written' });
  await until(() => events > 0, 'the first look of the watch');
  /** Writes the file, and returns when that was noticed and looked at. */
  const write = async (text: string): Promise<void> => {
    const before = events;
    writeFileSync(proxy.path, text);
    await until(() => events > before, 'the event');
    clock.advance(LIMITS.configDebounceMs);
    assert.equal((await proxy.configure({ '': remote(1) })).status, 400); // judged in the same queue, so behind the look
  };
  const said = (): number => proxy.logged('config_invalid').length;
  await write('{');
  assert.equal(said(), 1);
  await write('{');
  assert.equal(said(), 1);
  await write(JSON.stringify({ mcpServers: { x: remote(1) } }));
  assert.deepEqual(Object.keys(await proxy.status()), ['x']);
  assert.equal(said(), 1);
});

test('a file that is not there yet is no servers, a warning, and taken over when it appears', async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, {}, { clock, file: 'missing' });
  assert.equal(proxy.logged('config_missing', 'warn').length, 1);
  assert.deepEqual(await proxy.status(), {});
  await until(() => clock.pending > 0, 'the watch');
  writeFileSync(proxy.path, JSON.stringify({ mcpServers: { x: remote(1) } }));
  await proxy.flow(async () => 'x' in (await proxy.status()), 'the new file');
});

test('a change of the file after it was read and before it is followed is not lost', async (t) => {
  const path = join(tempDir(t), 'mcp-config.json');
  writeFileSync(path, '{"mcpServers":{}}');
  const proxy = createProxy({ configPath: path, env: {} });
  t.after(() => proxy.close());
  await proxy.open();
  writeFileSync(path, '{"mcpServers":{"x":{"url":"http://elsewhere"}}}');
  proxy.start();
  await until(() => proxy.servers().includes('x'), 'the change');
});
