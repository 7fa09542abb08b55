// Processes come in groups: what `npx`, `uvx` and `sh -c` start is stopped with them, and nothing stays behind.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeClock } from '../support/clock.ts';
import { alive, fixture, group, tempDir, until } from '../support/files.ts';
import { node, startProxy } from '../support/proxy.ts';

const posix = { skip: process.platform === 'win32' };
const off = { ...node('server.mjs'), disabled: true };

/** A wrapper that waits for the server and outlives it, as a shell script does. */
const wrapped = (fixtureName: string) => ({ command: 'sh', args: ['-c', '"$0" "$1"; exit $?', process.execPath, fixture(fixtureName)] });

test('every server is the leader of a process group of its own', posix, async (t) => {
  const proxy = await startProxy(t, { x: node('server.mjs'), y: node('server.mjs') });
  for (const name of ['x', 'y']) {
    const { pid, ppid, pgid } = await proxy.tool(name, 'pid');
    assert.equal(ppid, process.pid);
    if (pgid !== null) assert.equal(pgid, pid);
    assert.deepEqual(proxy.spawned(name), [pid]);
  }
});

test('a server behind a wrapper works, and is gone with it when it is stopped', posix, async (t) => {
  const proxy = await startProxy(t, { x: wrapped('server.mjs') });
  const { pid, ppid } = await proxy.tool('x', 'pid');
  const [leader] = proxy.spawned('x');
  assert.equal(ppid, leader);
  await proxy.configure({ x: off });
  await until(() => group(leader!).length === 0 && !alive(pid), 'the end of the group');
});

test('stopping is the end of stdin first: a server that heeds it hears no signal', posix, async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('deaf-to-signals.mjs'), y: node('server.mjs') }, { clock });
  for (const name of ['x', 'y']) await proxy.becomes(name, 'running');
  await proxy.configure({ x: off, y: off });
  await until(() => !alive(proxy.spawned('y')[0]!), 'the end of the server that heeds it');
  assert.ok(alive(proxy.spawned('x')[0]!));
});

for (const [what, fixtureName, ms] of [
  ['the end of stdin', 'deaf-to-stdin.mjs', 2_000],
  ['SIGTERM either', 'deaf-to-signals.mjs', 4_000],
] as const) {
  for (const wrap of [false, true]) {
    test(`a server${wrap ? ' behind a wrapper' : ''} that does not heed ${what} is ended after ${ms / 1_000} seconds`, posix, async (t) => {
      const clock = fakeClock();
      const proxy = await startProxy(t, { x: wrap ? wrapped(fixtureName) : node(fixtureName) }, { clock });
      await proxy.becomes('x', 'running');
      const [leader] = proxy.spawned('x');
      const members = group(leader!);
      assert.equal(members.length, wrap ? 2 : 1);
      await proxy.configure({ x: off });
      await clock.run(ms - 1);
      assert.ok(group(leader!).includes(members.at(-1)!), 'not before its time');
      await clock.run(1);
      await until(() => group(leader!).length === 0, 'the end of the group');
    });
  }
}

for (const deaf of [false, true]) {
  test(`after a crash, a new process comes only when the ${deaf ? 'deaf ' : ''}rest of the old group is gone`, posix, async (t) => {
    const clock = fakeClock();
    const proxy = await startProxy(t, { x: node('leaves-grandchild.mjs', ...(deaf ? ['deaf'] : [])) }, { clock });
    const { pid } = await proxy.tool('x', 'poke');
    const [leader] = proxy.spawned('x');
    assert.equal((await proxy.call('x', 'tools/call', { name: 'die' })).json().error.data.reason, 'child_exited');
    await clock.run(1_999);
    assert.deepEqual(group(leader!), [pid]);
    assert.equal(proxy.spawned('x').length, 1, 'the backoff of one second is over, the old group is not');
    if (deaf) {
      await clock.run(2_000);
      assert.deepEqual(group(leader!), [pid]);
      assert.equal(proxy.spawned('x').length, 1);
    }
    await clock.run(1);
    await until(() => !alive(pid), 'the end of the rest');
    await proxy.flow(() => proxy.spawned('x').length === 2, 'the next process');
    assert.notEqual((await proxy.tool('x', 'poke')).pid, pid);
  });
}

test('a process that keeps the stdout of a dead server open keeps nobody waiting', posix, async (t) => {
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: node('grandchild-holds-stdout.mjs') }, { clock });
  const { pid } = await proxy.tool('x', 'poke');
  const [leader] = proxy.spawned('x');
  const before = clock.now();
  const call = proxy.call('x', 'tools/call', { name: 'die' });
  await proxy.flow(() => !alive(leader!) && Promise.race([call, false]), 'the answer');
  assert.deepEqual((await call).json().error.data.exitCode, 1);
  assert.ok(clock.now() - before < 1_000);
  assert.ok(alive(pid));
  await proxy.flow(() => proxy.spawned('x').length === 2, 'the next process');
  assert.equal(alive(pid), false);
});

const canLeave = spawnSync('setsid', ['true']).status === 0;
test('what is dead but reaped by nobody is waited for half a second and no longer', { skip: !canLeave }, async (t) => {
  const pidFile = join(tempDir(t), 'pid');
  // `outside` leaves the group and never reaps the child that it left in it.
  const outside = 'sleep 100 & echo $$ > "$0"; exec setsid sleep 100';
  const args = ['-c', `sh -c '${outside}' "$2" & exec "$0" "$1"`, process.execPath, fixture('server.mjs'), pidFile];
  const clock = fakeClock();
  const proxy = await startProxy(t, { x: { command: 'sh', args } }, { clock });
  await proxy.becomes('x', 'running');
  const pid = Number(await until(() => readFileSync(pidFile, 'utf8'), 'the process outside'));
  t.after(() => process.kill(pid));
  const [leader] = proxy.spawned('x');
  await until(() => !group(leader!).includes(pid), 'its leave');

  await proxy.configure({ x: node('server.mjs') });
  await clock.run(4_000);
  await until(() => group(leader!).length === 0, 'the end of all that can end');
  await clock.run(499);
  assert.equal(proxy.spawned('x').length, 1);
  await clock.run(1);
  assert.equal(proxy.spawned('x').length, 2);
});

test('in the last resort every group is killed at once', posix, async (t) => {
  const proxy = await startProxy(t, { x: wrapped('deaf-to-signals.mjs'), y: node('leaves-grandchild.mjs', 'deaf'), z: node('hangs-in-handshake.mjs') });
  await proxy.becomes('x', 'running');
  await proxy.becomes('y', 'running');
  const groups = proxy.spawned().map(group);
  assert.deepEqual(groups.map(({ length }) => length), [2, 2, 1]);
  proxy.proxy.kill();
  await until(() => proxy.spawned().slice(0, 3).every((leader) => group(leader).length === 0), 'the end of all');
});
