// README.md against the code: its examples are run, its tables compared.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ProxyError, shuttingDown, type Reason } from '../src/base/errors.ts';
import { diffConfig } from '../src/config/diff.ts';
import { readSettings, SETTING_NAMES } from '../src/config/env.ts';
import { LIMITS, type Limits } from '../src/config/limits.ts';
import { parseConfig, type Config } from '../src/config/schema.ts';
import { createProxy } from '../src/proxy.ts';
import { fixture, repo, tempDir, until } from './support/files.ts';
import { request } from './support/http.ts';
import { needed, start } from './support/program.ts';

const readme = readFileSync(join(repo, 'README.md'), 'utf8');

interface Block {
  /** `sh`, `json`, ... */
  readonly language: string;
  readonly text: string;
}

const blocks = [...readme.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].map(([, language, text]): Block => ({ language: language!, text: text! }));

// ---- examples

const curl = spawnSync('curl', ['--version']).status === 0 && process.platform !== 'win32';

test('every curl of the page answers what stands below it', { skip: curl ? false : 'there is no curl, or no shell to run it' }, async (t) => {
  const program = start(t, { cwd: shipped(t) });
  const { host } = new URL(await program.origin());
  await program.logged(/running/);
  const here = (text: string): string => text.replaceAll('localhost:3000', host).replaceAll('127.0.0.1:3000', host);

  const examples = blocks.flatMap(({ language, text }, k) => (language === 'sh' ? [{ command: text, answer: blocks[k + 1]!.text }] : []));
  assert.ok(examples.length >= 14, 'the examples were found');
  const streams: { command: string; answer: string; got: () => string }[] = [];
  for (const { command, answer } of examples) {
    assert.match(command, /^curl .*http:\/\/localhost:3000/);
    if (/ -N /.test(command)) {
      // It goes on while the examples after it are run: they are what it tells of.
      const got = stream(t, here(command));
      await until(() => got().includes('\n\n'), `the first event of ${command}`);
      streams.push({ command, answer, got });
    } else {
      const { stdout, status } = spawnSync('sh', ['-c', here(command)], { encoding: 'utf8', env: environment(), timeout: 10_000 });
      assert.equal(status, 0, command);
      assert.equal(masked(stdout).trimEnd(), masked(here(answer)).trimEnd(), command);
    }
    // The next example finds the server as this one found it.
    await until(async () => Object.values(await state(host)).every(({ status }) => status === 'running'), 'all servers run');
  }
  assert.equal(streams.length, 2);
  for (const { command, answer, got } of streams) {
    const expected = masked(here(answer)).trimEnd();
    await until(() => masked(got()).length >= expected.length, () => `the answer to ${command} in ${got()}`);
    assert.equal(masked(got()).slice(0, expected.length), expected, command);
  }
});

test('the program prints at the start what stands there', async (t) => {
  const program = start(t, { cwd: shipped(t) });
  const { host } = new URL(await program.origin());
  await until(() => program.stdout.split('\n').length > 2, 'all lines');
  const shown = blocks.find(({ text }) => text.startsWith('MCP proxy'))!;
  assert.equal(program.stdout, shown.text.replaceAll('127.0.0.1:3000', host));
});

test('the log line is one that the program writes', async (t) => {
  const shown = blocks.find(({ text }) => /restart 1 of 3/.test(text))!.text.trimEnd();
  const program = start(t, { config: { mcpServers: { fs: { command: process.execPath, args: [fixture('dies-at-start.mjs')] } } } });
  const line = await program.logged(/restart 1 of 3/);
  const comparable = (text: string): string => masked(text).replace(/in \d\.\d s$/, 'in N s');
  assert.equal(comparable(line), comparable(shown));
});

test('the configurations of the page are valid', () => {
  const shown = blocks.filter(({ language, text }) => language === 'json' && text.includes('"mcpServers"')).map(({ text }) => JSON.parse(text) as { mcpServers: object });
  assert.ok(shown.length > 0);
  for (const json of shown) {
    const parsed = parseConfig(json, LIMITS.maxServers);
    assert.ok('config' in parsed, JSON.stringify(parsed));
    assert.deepEqual(parsed.config.ignored, []);
  }
});

test('the embedding program runs as it stands there, and a signal ends it', { skip: process.platform === 'win32' && 'signals' }, async (t) => {
  const [shown, ...more] = blocks.filter(({ language }) => language === 'js');
  assert.equal(more.length, 0);
  const dir = shipped(t);
  const text = shown!.text
    .replace("'./vendor/mcp-proxy/proxy.js'", JSON.stringify(pathToFileURL(join(repo, 'build', 'src', 'proxy.js'))))
    .replace("server.listen(3000, '127.0.0.1');", "server.listen(0, '127.0.0.1', () => console.log(`MCP proxy app on http://127.0.0.1:${server.address().port}`));");
  writeFileSync(join(dir, 'app.mjs'), text);
  const app = start(t, { cwd: dir, argv: [process.execPath, 'app.mjs'] });
  const origin = await app.origin();
  assert.equal((await request(`${origin}/anything`)).text, 'the rest of the application\n');
  const body = '{"jsonrpc":"2.0","id":1,"method":"ping"}';
  assert.equal((await request(`${origin}/demo/mcp`, { method: 'POST', body })).text, '{"jsonrpc":"2.0","id":1,"result":{}}');
  app.process.kill('SIGTERM');
  assert.deepEqual(await app.ended(), [0, null], app.stderr);
});

// ---- tables

test('the table of fields is what the schema knows, with its defaults and what a change means', () => {
  const rows = table('field');
  const parse = (entry: object): Config['servers'] => {
    const parsed = parseConfig({ mcpServers: { fs: entry } }, LIMITS.maxServers);
    assert.ok('config' in parsed, JSON.stringify(parsed));
    assert.deepEqual(parsed.config.ignored, []);
    return parsed.config.servers;
  };
  const plain = parse({ command: 'node' });
  const other: Record<string, unknown> = { command: 'deno', args: ['-'], env: { A: '1' }, disabled: true, autoRestart: false, maxRestarts: 7, isolation: 'session', clientCapabilities: {}, protocol: 'legacy' };
  assert.deepEqual(names(rows).sort(), Object.keys(plain.get('fs')!).sort());
  for (const [cell, , defaults, change] of rows) {
    const field = word(cell!);
    const value = (plain.get('fs') as unknown as Record<string, unknown>)[field];
    if (field === 'command') assert.equal(defaults, 'required');
    else if (value === undefined) assert.equal(defaults, 'none', field);
    else assert.deepEqual(JSON.parse(word(defaults!)), typeof value === 'object' ? JSON.parse(JSON.stringify(value)) : value, field);
    const diff = diffConfig(plain, parse({ command: 'node', [field]: other[field] }));
    const meant = diff.restarted.length > 0 ? 'restart' : diff.stopped.length > 0 ? 'stop or start' : 'nothing: taken over as it runs';
    assert.equal(change, meant, field);
  }
});

test('the table of settings is what is read, with its defaults and ranges', () => {
  const rows = table('variable');
  assert.deepEqual(names(rows).sort(), [...SETTING_NAMES].sort());
  const defaults = readSettings({}, '');
  for (const [cell, value, form] of rows) {
    const name = word(cell!);
    if (value === 'unset' || value === 'empty') assert.deepEqual(readSettings({ [name]: '' }, ''), defaults, name);
    else assert.deepEqual(readSettings({ [name]: value }, ''), defaults, name);
    const range = /^(\d+) to (\d+)\b/.exec(form!);
    if (range !== null) {
      const [least, most] = range.slice(1).map(Number);
      for (const fits of [least!, most!]) assert.doesNotThrow(() => readSettings({ [name]: String(fits) }, ''), name);
      for (const wrong of [least! - 1, most! + 1]) assert.throws(() => readSettings({ [name]: String(wrong) }, ''), new RegExp(`^Error: ${name}: `), name);
    } else assert.ok(!/^\d+$/.test(value!), `${name} is a number without a range`);
    const choices = [...form!.matchAll(/`(\w+)`/g)].map(([, choice]) => choice!);
    if (choices.length > 0) {
      const said = /expected one of (.+)$/.exec(messageOf(() => readSettings({ [name]: '?' }, '')))![1]!;
      assert.deepEqual(choices.sort(), said.split(', ').sort(), name);
    }
  }
});

test('the table of limits has the defaults of the code, and none of them is a setting', () => {
  const rows = table('limit');
  const settings = new Set(Object.keys(readSettings({}, '').limits));
  assert.ok(rows.length > 0);
  for (const [cell, value] of rows) {
    const name = word(cell!) as keyof Limits;
    assert.equal(Number(value), LIMITS[name], name);
    assert.ok(!settings.has(name), name);
  }
});

test('the table of errors is the table of faults', () => {
  const text = readFileSync(join(repo, 'src', 'base', 'errors.ts'), 'utf8');
  const reasons = [...text.slice(text.indexOf('const FAULTS'), text.indexOf('} as const')).matchAll(/^ {2}(\w+): \{/gm)].map(([, reason]) => reason!);
  const rows = table('reason');
  assert.deepEqual(names(rows), reasons);
  for (const [cell, http, code] of rows) {
    const reason = word(cell!) as Reason;
    const fault = new ProxyError(reason, '');
    assert.equal(Number(code), fault.toRpc().code, reason);
    const retry = fault.retryAfterS === undefined ? '' : `, \`Retry-After: ${fault.retryAfterS}\``;
    if (reason === 'shutdown') assert.equal(http, `${shuttingDown().status}; ${fault.status} for a call in flight`);
    else if (http !== 'to the server') assert.equal(http, `${fault.status}${retry}`, reason);
  }
});

test('the endpoints of the page are those of the route table', async (t) => {
  const described = [...readme.matchAll(/^### ([A-Z]+) (\/\S+)$/gm)].map(([, method, path]) => `${method} ${path}`);
  const source = readFileSync(join(repo, 'src', 'proxy.ts'), 'utf8');
  const routes = [...source.matchAll(/\broute\('([A-Z]+)', '([^']+)'/g)].map(([, method, path]) => `${method} ${path}`);
  assert.ok(routes.length >= 8, 'the routes were found');
  assert.deepEqual([...described, 'HEAD /health'].sort(), routes.sort());

  // And those that answer: what `Allow` names.
  const proxy = createProxy({ config: { mcpServers: {} }, env: {} });
  t.after(() => proxy.close());
  const server = createServer(proxy.listener).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await until(() => server.listening, 'the server listens');
  const { port } = server.address() as { port: number };
  for (const path of new Set(routes.map((route) => route.split(' ')[1]!))) {
    const reply = await request(`http://127.0.0.1:${port}${path.replace(':server', 'x')}`, { method: 'PUT' });
    assert.equal(reply.status, 405, path);
    const allowed = reply.headers.allow!.split(', ').map((method) => `${method} ${path}`);
    assert.deepEqual(allowed.sort(), routes.filter((route) => route.endsWith(` ${path}`)).sort());
  }
});

test('the rooms of the page are those of src/', () => {
  const rooms = readdirSync(join(repo, 'src'), { withFileTypes: true }).map((entry) => entry.name + (entry.isDirectory() ? '/' : ''));
  assert.deepEqual(names(table('room')).sort(), rooms.sort());
});

test('the options and methods of the page are those of the library', () => {
  const source = readFileSync(join(repo, 'src', 'proxy.ts'), 'utf8');
  const members = (name: string): string[] => {
    const body = new RegExp(`export interface ${name} \\{\n([^]*?)\n\\}`).exec(source)![1]!;
    return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[:(]/gm)].map(([, member]) => member!);
  };
  assert.deepEqual(names(table('option')).sort(), members('ProxyOptions').sort());
  assert.deepEqual(names(table('method')).map((name) => name.replace(/\(.*/, '')).sort(), members('McpProxy').sort());
});

test('the commands of the page are scripts of the package', () => {
  const { scripts } = JSON.parse(readFileSync(join(repo, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
  const described = names(table('command')).flatMap((command) => /^npm (?:run )?(\w+)$/.exec(command)?.[1] ?? []);
  const own = Object.keys(scripts).filter((name) => name !== 'prepare');
  assert.deepEqual(described.sort(), [...own, 'install'].sort());
});

test('links within the page lead somewhere, and those to files to files', () => {
  const anchors = [...readme.matchAll(/^#+ (.+)$/gm)].map(([, title]) => `#${title!.toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-')}`);
  for (const [, to] of readme.matchAll(/\]\(([^)]+)\)/g)) {
    if (to!.startsWith('#')) assert.ok(anchors.includes(to!), to);
    else if (!to!.startsWith('https://')) readFileSync(join(repo, to!));
  }
});

test('the footprint is filled in, with what it was measured on', () => {
  const footprint = /^<!-- footprint[^\n]*-->\n([^]*?)^<!-- \/footprint -->$/m.exec(readme)![1]!;
  assert.match(footprint, /^\| idle memory( \| [\d.]+ MiB){3} \|$/m);
  assert.match(footprint, /^\| time to listen( \| [\d.]+ ms){3} \|$/m);
  assert.match(footprint, /^.+, \d+ cores, Node v\d+\.\d+\.\d+, .+; medians of \d+ runs\.$/m);
});

// ---- helpers

/** What somebody has who has just got the package: the shipped configuration with its demo server. */
function shipped(t: TestContext): string {
  const dir = tempDir(t);
  mkdirSync(join(dir, 'scripts'));
  for (const file of ['mcp-config.json', 'scripts/demo-server.mjs']) cpSync(join(repo, file), join(dir, file));
  return dir;
}

/** For curl: nothing that sends it elsewhere or changes what it says. */
function environment(): Record<string, string> {
  return { PATH: needed()['PATH']!, HOME: '/nonexistent', no_proxy: '*' };
}

function stream(t: TestContext, command: string): () => string {
  const child = spawn('sh', ['-c', `exec ${command}`], { env: environment(), stdio: ['ignore', 'pipe', 'ignore'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
  t.after(() => child.kill('SIGKILL'));
  return () => out;
}

async function state(host: string): Promise<Record<string, { status: string }>> {
  return (await request(`http://${host}/api/servers`, { headers: { Accept: 'application/json' } })).json();
}

function messageOf(fails: () => void): string {
  try {
    fails();
  } catch (error) {
    return (error as Error).message;
  }
  return '';
}

function masked(text: string): string {
  return text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, '<time>');
}

/** The rows of the table whose first column has this title; a bar in a cell would be escaped. */
function table(title: string): string[][] {
  const found = [...readme.matchAll(/^\| (\w+) \|.*\n\|[-|]+\n((?:\|.*\n)+)/gm)].filter((match) => match[1] === title);
  assert.equal(found.length, 1, `one table of ${title}`);
  return found[0]![2]!.trimEnd().split('\n').map((row) => row.split('|').slice(1, -1).map((cell) => cell.trim()));
}

function names(rows: string[][]): string[] {
  return rows.map(([cell]) => word(cell!));
}

/** The code in a cell, or the cell. */
function word(cell: string): string {
  return /^`([^`]*)`/.exec(cell)?.[1] ?? cell;
}
