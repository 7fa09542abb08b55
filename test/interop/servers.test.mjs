// @ts-check
// Real MCP servers behind the proxy. Each is run twice, directly and behind the proxy, with the same arguments, the same
// environment and the same files; everything that it offers is asked of both, and the answers have to be equal.
import assert from 'node:assert/strict';
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connect } from './direct.mjs';
import { masked, withoutTasks } from './exceptions.mjs';
import { processes } from './processes.mjs';
import { post, startProxy } from './proxied.mjs';
import { entries, furnish, neverSucceed, placed, tables } from './servers.mjs';

const names = Object.keys(entries);
const timeout = 90_000;

// The servers see a small environment of which nothing is secret: one of them prints it.
const passed = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR'].flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]));
const place = { cwd: fileURLToPath(new URL('.', import.meta.url)), env: Object.fromEntries(passed) };

const dirs = { direct: '', proxied: '' };
/** @type {Record<string, Awaited<ReturnType<typeof connect>>>} */
const direct = {};
/** @type {Awaited<ReturnType<typeof startProxy>>} */
let proxy;

before(
  async () => {
    for (const side of /** @type {const} */ (['direct', 'proxied'])) {
      dirs[side] = await realpath(await mkdtemp(join(tmpdir(), 'mcp-interop-'))); // servers print real paths
      await furnish(dirs[side]);
    }
    const configPath = join(dirs.proxied, 'mcp-config.json');
    await writeFile(configPath, JSON.stringify({ mcpServers: placed(entries, dirs.proxied) }));
    proxy = await startProxy(place, configPath);
    for (const [name, entry] of Object.entries(entries)) direct[name] = await connect(placed(entry, dirs.direct), place);
  },
  { timeout },
);

after(async () => {
  await Promise.all(Object.values(direct).map((server) => server.close()));
  if (proxy !== undefined) {
    if (proxy.child.exitCode === null && proxy.child.kill('SIGKILL')) await proxy.ended;
    for (const { pid } of processesBehindTheProxy()) kill(pid);
  }
  for (const dir of Object.values(dirs)) if (dir !== '') await rm(dir, { recursive: true, force: true });
});

for (const name of names) {
  const table = tables[name] ?? [];
  describe(`${name}, behind the proxy`, () => {
    test('has a table whose calls are the tools it offers, and each tool succeeds once', { timeout }, async () => {
      const { body } = await post(proxy.port, name, { jsonrpc: '2.0', id: 'tools', method: 'tools/list' });
      const offered = body.result.tools.map((/** @type {{ name: string }} */ tool) => tool.name);
      const called = table.filter(({ method, kind }) => method === 'tools/call' && kind === 'result').map(({ params }) => params.name);
      const expected = offered.filter((/** @type {string} */ tool) => !(tool in neverSucceed));
      assert.deepEqual([...new Set(called)].sort(), expected.sort());
      for (const tool of offered) assert.ok(table.some(({ params }) => params?.name === tool), `no row calls ${tool}`);
    });

    test('answers initialize as it does directly, without tasks', { timeout }, async () => {
      const { initialized, handshake } = /** @type {(typeof direct)[string]} */ (direct[name]);
      const got = await post(proxy.port, name, { jsonrpc: '2.0', id: 'handshake', method: 'initialize', params: handshake });
      assert.equal(got.status, 200);
      assert.deepEqual(masked(got.body, dirs.proxied), masked(withoutTasks(initialized), dirs.direct));
    });

    test('lists its tools as it does directly, task support aside', { timeout }, async () => {
      await compare(name, { method: 'tools/list', params: {}, kind: 'result', except: [] }, 'list');
    });

    // A task would be listed to, and its result read by, every client of the shared process.
    test('offers no legacy tasks: no tool mentions them, and their methods do not exist', { timeout }, async () => {
      const list = await post(proxy.port, name, { jsonrpc: '2.0', id: 'list', method: 'tools/list' });
      assert.deepEqual(list.body.result.tools.filter((/** @type {object} */ tool) => 'execution' in tool), []);
      const codes = [];
      for (const method of ['tasks/list', 'tasks/get', 'tasks/result', 'tasks/cancel']) {
        const { body } = await post(proxy.port, name, { jsonrpc: '2.0', id: method, method, params: { taskId: 'any' } });
        codes.push(`${method} ${body.error?.code}`);
      }
      assert.deepEqual(codes, ['tasks/list -32601', 'tasks/get -32601', 'tasks/result -32601', 'tasks/cancel -32601']);
    });

    table.forEach((row, index) => {
      // Ids of both types take turns: the answer has to carry the one that was sent.
      test(titleOf(row, index + 1), { timeout }, () => compare(name, row, index % 2 === 0 ? index : `${index}`));
    });
  });
}

test('after SIGTERM the proxy exits with 0 and no process of any server is left', { timeout }, async () => {
  const running = processesBehindTheProxy();
  const groups = new Set(running.map(({ group }) => group));
  const outside = processes().find(({ pid }) => pid === process.pid)?.group ?? 0;
  assert.ok(groups.size === names.length && !groups.has(outside), 'every server runs in a process group of its own');
  const npx = running.find(({ text }) => text.includes('mcp-server-memory'))?.group;
  assert.ok(running.filter(({ group }) => group === npx).length > 1, 'npx runs the server in a process below its own');

  proxy.child.kill('SIGTERM');
  const [code, signal] = await proxy.ended;

  assert.deepEqual({ code, signal }, { code: 0, signal: null }, proxy.log());
  const left = processes().filter(({ group, text }) => groups.has(group) || text.includes(dirs.proxied));
  assert.deepEqual(left.map(({ pid, group, text }) => ({ pid, group, text: text.slice(0, 200) })), []);
});

/** Everything but the proxy itself that has the proxied run's directory in its arguments or environment. */
function processesBehindTheProxy() {
  assert.notEqual(dirs.proxied, '');
  return processes().filter(({ pid, text }) => pid !== proxy.child.pid && text.includes(dirs.proxied));
}

/** @param {number} pid */
function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it ended by itself
  }
}

/**
 * Asks both and compares: status, type, id, every value and the order of the members.
 * @param {string} name
 * @param {import('./servers.mjs').Row} row
 * @param {string | number} id
 */
async function compare(name, { method, params, kind, except }, id) {
  const server = /** @type {(typeof direct)[string]} */ (direct[name]);
  const [expected, got] = await Promise.all([
    server.request(id, method, placed(params, dirs.direct)),
    post(proxy.port, name, { jsonrpc: '2.0', id, method, params: placed(params, dirs.proxied) }),
  ]);
  assert.equal(kindOf(expected), kind, `the table expects another answer than ${JSON.stringify(expected).slice(0, 500)}`);
  assert.equal(got.status, 200);
  assert.match(got.type ?? '', /^application\/json\b/);
  const [is, was] = [masked(got.body, dirs.proxied, except), masked(withoutTasks(expected), dirs.direct, except)];
  const [isText, wasText] = [JSON.stringify(is.result ?? is.error), JSON.stringify(was.result ?? was.error)];
  if (Math.max(isText.length, wasText.length) < 50_000 || isText === wasText) assert.deepEqual(is, was);
  if (isText === wasText) return; // else a difference of order, or one too far into the text for a readable diff
  let at = 0;
  while (isText[at] === wasText[at]) at += 1;
  const around = (/** @type {string} */ text) => text.slice(Math.max(0, at - 60), at + 60);
  assert.fail(`from character ${at} on, proxied: ${around(isText)}\ndirect: ${around(wasText)}`);
}

/**
 * @param {import('./direct.mjs').Answer} answer
 * @returns {import('./servers.mjs').Kind}
 */
function kindOf({ result, error }) {
  if (error !== undefined) return 'error';
  return result.isError === true ? 'isError' : 'result';
}

/**
 * @param {import('./servers.mjs').Row} row
 * @param {number} number
 */
function titleOf({ method, params, kind, except }, number) {
  const verb = kind === 'result' ? 'answers' : kind === 'isError' ? 'fails' : 'refuses';
  const what = [...(JSON.stringify(params) ?? '')].slice(0, 90).join('').replace(/[\u2028\u2029\u007f]/g, ' ');
  return `${number}: ${verb} ${method} ${what}${except.length > 0 ? ` (except: ${except.join(', ')})` : ''}`;
}
