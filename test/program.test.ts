// The program as a process: what it prints, how it ends, what it reads, whom it takes with it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { SETTING_NAMES } from '../src/config/env.ts';
import type { ConfigInput } from '../src/proxy.ts';
import { alive, fixture, group, repo, tempDir, until } from './support/files.ts';
import { openSse, post, request } from './support/http.ts';
import { entry, start, type Program } from './support/program.ts';

const posix = { skip: process.platform === 'win32' && 'POSIX signals' };
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

const server = (name: string, ...args: string[]) => ({ command: process.execPath, args: [fixture(name), ...args] });
const config = (servers: ConfigInput['mcpServers']): ConfigInput => ({ mcpServers: servers });

// ---- what it prints

test('stdout names the origin and the two URLs of every enabled server, and nothing else', async (t) => {
  const program = start(t, {
    config: config({ fs: server('server.mjs'), off: { ...server('server.mjs'), disabled: true }, 'two words': server('server.mjs') }),
  });
  const origin = await program.origin();
  assert.match(origin, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
  await running(program, 'fs');
  assert.equal(
    program.stdout,
    [
      `MCP proxy ${version()} on ${origin}`,
      `  fs  ${origin}/fs/mcp  ${origin}/fs/sse`,
      `  two words  ${origin}/two%20words/mcp  ${origin}/two%20words/sse`,
      '',
    ].join('\n'),
  );
  assert.equal((await call(origin, 'two%20words', 'tools/list')).status, 200);
});

test('the URLs that it prints have the origin of PUBLIC_URL, and the port that was bound stands beside it', async (t) => {
  const program = start(t, { config: config({ fs: server('server.mjs') }), env: { PUBLIC_URL: 'https://mcp.example.com/ignored' } });
  assert.equal(await program.origin(), 'https://mcp.example.com');
  const port = /^MCP proxy \S+ on https:\/\/mcp\.example\.com \(port (\d+)\)\n/.exec(program.stdout)?.[1];
  assert.equal((await request(`http://127.0.0.1:${port}/health`)).status, 200);
  assert.match(program.stdout, /^ {2}fs {2}https:\/\/mcp\.example\.com\/fs\/mcp {2}https:\/\/mcp\.example\.com\/fs\/sse$/m);
});

test('an IPv6 address stands in brackets', async (t) => {
  if (!(await canListen('::1'))) return t.skip('this machine has no ::1');
  const program = start(t, { config: config({}), env: { HOST: '::1' } });
  const origin = await program.origin();
  assert.match(origin, /^http:\/\/\[::1\]:\d+$/);
  assert.equal((await request(`${origin}/health`)).text, '{"status":"ok"}');
});

test('a bind that other machines can reach is warned of, unless it has a token', async (t) => {
  const open = start(t, { config: config({}), env: { HOST: '0.0.0.0' } });
  assert.match(await open.logged(/AUTH_TOKEN/), / warn {2}-  anyone who reaches 0\.0\.0\.0:\d+ can use these servers/);
  const behind = start(t, { config: config({}), env: { PUBLIC_URL: 'https://mcp.example.com' } });
  assert.match(await behind.logged(/AUTH_TOKEN/), / warn {2}-  anyone who reaches mcp\.example\.com can use these servers, and change them/);
  const guarded = start(t, { config: config({}), env: { HOST: '0.0.0.0', AUTH_TOKEN: 'a token of many letters'.replaceAll(' ', '-') } });
  await guarded.origin();
  await ends(guarded, 'SIGTERM');
  assert.doesNotMatch(guarded.stderr, /warn/);
});

// ---- how it ends

for (const signal of SIGNALS) {
  test(`${signal} ends it with exit code 0, and nothing that it started is left`, posix, async (t) => {
    const program = start(t, {
      config: config({ fs: server('server.mjs'), wrapped: { command: 'sh', args: ['-c', `"${process.execPath}" "${fixture('server.mjs')}"; true`] } }),
    });
    await running(program, 'fs', 'wrapped');
    assert.deepEqual(await ends(program, signal), [0, null]);
    assert.match(program.stderr, new RegExp(`info {2}-  ${signal}: shutting down`));
    assertNothingLeft(program);
  });
}

test('a signal ends it while a server hangs in its handshake', posix, async (t) => {
  const program = start(t, { config: config({ slow: server('hangs-in-handshake.mjs') }) });
  await program.origin();
  await until(() => program.children().length === 1, 'the server has started');
  assert.deepEqual(await ends(program, 'SIGTERM'), [0, null]);
  assertNothingLeft(program);
});

const STARTING: [what: string, hold: string][] = [
  ['reads its configuration', 'import fs from "node:fs/promises"; import { syncBuiltinESMExports } from "node:module"; fs.open = held; syncBuiltinESMExports();'],
  ['opens its port', 'import { Server } from "node:net"; Server.prototype.listen = held;'],
];
for (const [what, hold] of STARTING) {
  test(`a signal that comes while it ${what} ends it with exit code 0, and nothing was started`, posix, async (t) => {
    const dir = tempDir(t);
    const held = join(dir, 'held.mjs');
    writeFileSync(held, `${hold} function held() { setInterval(() => {}, 1_000); process.kill(process.pid, "SIGTERM"); return new Promise(() => {}); }`);
    const program = start(t, { cwd: dir, config: config({ fs: server('server.mjs') }), argv: [process.execPath, '--import', held, entry] });
    assert.deepEqual(await program.ended(), [0, null], program.stderr);
    assert.match(program.stderr, /SIGTERM: shutting down/);
    assert.deepEqual([program.stdout, program.children()], ['', []]);
  });
}

test('a call in flight is answered before it ends, and nobody new is let in', posix, async (t) => {
  const program = start(t, { config: config({ fs: server('server.mjs') }) });
  const origin = await program.origin();
  await running(program, 'fs');
  const events = await openSse(`${origin}/fs/sse`);
  await events.event('endpoint');
  const answer = tool(origin, 'fs', 'sleep', { ms: 500 });
  await until(async () => (await status(origin))['fs'].pendingRequests === 1, 'the call is in flight');
  const ended = ends(program, 'SIGTERM');
  await program.logged(/shutting down/);
  await assert.rejects(request(`${origin}/health`), /ECONNREFUSED|ECONNRESET/);
  assert.deepEqual((await answer).json().result, { content: [{ type: 'text', text: 'done' }] });
  assert.deepEqual(await events.event('close'), { event: 'close', data: '{}' });
  assert.equal(await events.ended, 'end');
  assert.deepEqual(await ended, [0, null]);
});

test('an answer that its client is still reading arrives whole, as long as that is within the five seconds of calls', posix, async (t) => {
  const program = start(t, { config: config({ fs: server('server.mjs') }) });
  const { hostname, port } = new URL(await program.origin());
  await running(program, 'fs');
  const bytes = 32 * 2 ** 20;
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'big', arguments: { bytes } } });
  const client = net.connect(Number(port), hostname);
  client.write(`POST /fs/mcp HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  const [first] = (await once(client, 'data')) as [Buffer];
  client.pause();
  const ended = ends(program, 'SIGTERM');
  await program.logged(/shutting down/);
  const since = performance.now();
  await until(() => performance.now() - since > 1_050 && !program.children().some(alive), 'a second has passed, and the server has gone');
  let got = first.length;
  for await (const chunk of client as AsyncIterable<Buffer>) got += chunk.length;
  assert.ok(got > bytes, `${got} bytes came`);
  assert.deepEqual(await ended, [0, null]);
});

test('two signals at once are one: it still ends its children step by step, with exit code 0', posix, async (t) => {
  const program = start(t, { config: config({ deaf: server('deaf-to-signals.mjs') }) });
  await running(program, 'deaf');
  const since = performance.now();
  program.process.kill('SIGINT');
  await program.logged(/shutting down/); // else the two might arrive as one
  program.process.kill('SIGINT');
  assert.deepEqual(await program.ended(), [0, null]);
  assert.ok(performance.now() - since >= 3_900, 'it waited for the end of stdin, and for SIGTERM, before SIGKILL');
  assertNothingLeft(program);
});

test('a second signal, a second or more after the first, kills everything and the exit code is 1', posix, async (t) => {
  const program = start(t, { config: config({ deaf: server('deaf-to-signals.mjs'), family: server('leaves-grandchild.mjs', 'deaf') }) });
  await running(program, 'deaf', 'family');
  const groups = program.children();
  program.process.kill('SIGTERM');
  await program.logged(/shutting down/);
  const since = performance.now();
  await until(() => performance.now() - since > 1_050 && groups.filter(alive).length === 1, 'a second has passed, and one of the servers has left');
  assert.ok(groups.every((pgid) => group(pgid).length === 1), 'the deaf one and a grandchild are left');
  program.process.kill('SIGHUP');
  assert.deepEqual(await program.ended(), [1, null]);
  await until(() => groups.every((pgid) => group(pgid).length === 0), 'every group is gone');
});

test('a port in use is one line and exit code 1, and no server was started', async (t) => {
  const taken = net.createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const program = start(t, { config: config({ fs: server('server.mjs') }), env: { PORT: String(port) } });
  assert.deepEqual(await program.ended(), [1, null]);
  assert.deepEqual(
    program.lines().filter((line) => !/ info /.test(line)).map(withoutTime),
    [`error -  cannot listen on port ${port} of 127.0.0.1: it is in use; set PORT to another one`],
  );
  assert.equal(program.stdout, '');
  assert.deepEqual(program.children(), []);
});

test('an address that is not of this machine is one line and exit code 1', async (t) => {
  const program = start(t, { config: config({}), env: { HOST: '192.0.2.1' } });
  assert.deepEqual(await program.ended(), [1, null]);
  assert.match(program.lines().map(withoutTime).join('\n'), /^error -  cannot listen on port 0 of 192\.0\.2\.1: not an address of this machine \(EADDRNOTAVAIL\); set HOST to one$/);
});

const WRONG_CONFIGS: [what: string, text: string, problems: RegExp[]][] = [
  ['does not parse', '{"mcpServers": {"fs": {"command": "hunter22" }', [/not valid JSON/]],
  ['is empty', '', [/not valid JSON/]],
  ['is no object', '[]', [/expected an object, got an array/]],
  ['has no servers', '{"servers": {}}', [/^mcpServers: missing/]],
  [
    'has three problems',
    JSON.stringify({ mcpServers: { fs: { command: 'hunter22', args: ['hunter22', 2] }, 'a/b': { command: 'x' }, c: { command: 'x', env: { KEY: ['hunter22'] } } } }),
    [/^mcpServers\.fs\.args\[1\]: expected a string, got a number$/, /^mcpServers\["a\/b"\]: a server name must not contain "\/"$/, /^mcpServers\.c\.env\.KEY: expected a string, got an array$/],
  ],
];
for (const [what, text, problems] of WRONG_CONFIGS) {
  test(`a configuration file that ${what} is a line per problem, without a value, and exit code 1`, async (t) => {
    const program = start(t, { config: text });
    assert.deepEqual(await program.ended(), [1, null]);
    const lines = program.lines().map(withoutTime);
    assert.equal(lines.length, problems.length, program.stderr);
    const file = `error -  ${join(realpathSync(program.dir), 'mcp-config.json')}: `;
    for (const [k, problem] of problems.entries()) {
      assert.equal(lines[k]!.slice(0, file.length), file);
      assert.match(lines[k]!.slice(file.length), problem);
    }
    assert.doesNotMatch(program.stderr, /hunter22/);
    assert.equal(program.stdout, '');
  });
}

for (const make of ['mkdir', 'mkfifo']) {
  test(`a configuration file that ${make} made cannot be read: one line and exit code 1`, posix, async (t) => {
    const dir = tempDir(t);
    execFileSync(make, [join(dir, 'mcp-config.json')]);
    const program = start(t, { cwd: dir });
    assert.deepEqual(await program.ended(), [1, null]);
    assert.match(program.lines().map(withoutTime).join('\n'), /^error -  \/.*\/mcp-config\.json: the configuration file is not a regular file$/);
  });
}

test('arguments, which it does not take, are one line and exit code 1', async (t) => {
  const program = start(t, { config: config({}), argv: [process.execPath, entry, '--port', '4000'] });
  assert.deepEqual(await program.ended(), [1, null]);
  assert.equal(program.stderr, 'mcp-proxy takes no arguments: PORT, CONFIG_PATH and all else are environment variables\n');
  assert.equal(program.stdout, '');
});

test('a Node that is too old is one line and exit code 1', async (t) => {
  for (const [version, code] of [['18.20.8', 1], ['20.11.1', 1], ['20.12.0', 0], ['22.0.0', 0]] as const) {
    const dir = tempDir(t);
    writeFileSync(join(dir, 'old.mjs'), `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } });`);
    const program = start(t, { cwd: dir, config: config({}), argv: [process.execPath, '--import', join(dir, 'old.mjs'), entry] });
    if (code === 0) await program.origin();
    else {
      assert.deepEqual(await program.ended(), [code, null]);
      assert.equal(program.stderr, `mcp-proxy needs Node 20.12 or later, and this is ${version}\n`);
    }
  }
});

const MAX_MS = 2_147_483_647;
const MAX_BYTES = 1_073_741_824;
const WRONG_SETTINGS: [name: string, value: string, expected: string][] = [
  ['PORT', 'http', 'an integer from 0 to 65535'],
  ['PORT', '65536', 'an integer from 0 to 65535'],
  ['PORT', '-1', 'an integer from 0 to 65535'],
  ['PORT', '3000.5', 'an integer from 0 to 65535'],
  ['IDLE_TIMEOUT', '5m', `an integer from 0 to ${MAX_MS}`],
  ['REQUEST_TIMEOUT', '99999999999', `an integer from 0 to ${MAX_MS}`],
  ['START_TIMEOUT', '0', `an integer from 1 to ${MAX_MS}`],
  ['START_CONCURRENCY', '0', 'an integer from 1 to 1000'],
  ['MAX_BODY_BYTES', '10MB', `an integer from 1 to ${MAX_BYTES}`],
  ['MAX_LINE_BYTES', '0x10', `an integer from 1 to ${MAX_BYTES}`],
  ['MAX_PENDING', '0', 'an integer from 1 to 1000000'],
  ['SESSION_TIMEOUT', '30m', `an integer from 1 to ${MAX_MS}`],
  ['MAX_SESSIONS', '0', 'an integer from 1 to 1000000'],
  ['MAX_ISOLATED', '10001', 'an integer from 1 to 10000'],
  ['SSE_AFTER_MS', '-1', `an integer from 1 to ${MAX_MS}`],
  ['SSE_ENDPOINT', 'plain', 'one of auto, json, uri'],
  ['AUTH_TOKEN', 'hunter22', '16 characters or more'],
  ['AUTH_TOKEN', 'a secret with many spaces', 'printable ASCII without spaces'],
  ['ALLOWED_ORIGINS', 'https://a.example/path', 'origins such as https://app.example.com, separated by commas'],
  ['ALLOWED_ORIGINS', 'ftp://a.example', 'origins such as https://app.example.com, separated by commas'],
  ['ALLOWED_HOSTS', 'https://a.example', 'host names such as mcp.example.com, separated by commas'],
  ['ALLOWED_HOSTS', 'a.example, *.a.example', 'host names such as mcp.example.com, separated by commas'],
  ['PUBLIC_URL', 'mcp.example.com', 'an absolute http or https URL'],
  ['PUBLIC_URL', 'ftp://mcp.example.com', 'an absolute http or https URL'],
  ['LOG_LEVEL', 'verbose', 'one of info, error, warn, debug'],
  ['LOG_FORMAT', 'xml', 'one of text, json'],
];
for (const [name, value, expected] of WRONG_SETTINGS) {
  test(`${name}=${value} is one line that says what was expected, and exit code 1`, async (t) => {
    const program = start(t, { config: config({}), env: { [name]: value } });
    assert.deepEqual(await program.ended(), [1, null]);
    assert.equal(program.stderr, `${name}: expected ${expected}\n`); // and not what came: it may be a secret
    assert.equal(program.stdout, '');
  });
}

test('the wrong settings above are all of those that can be wrong', () => {
  const anything = ['HOST', 'CONFIG_PATH'];
  assert.deepEqual(new Set([...WRONG_SETTINGS.map(([name]) => name), ...anything]), new Set(SETTING_NAMES));
});

const CRASHES: [what: string, code: string][] = [
  ['an uncaught exception', 'throw new Error("boom")'],
  ['an unhandled rejection', 'void Promise.reject(new Error("boom"))'],
  ['something thrown that is no error', 'throw "boom"'],
];
for (const [what, code] of CRASHES) {
  test(`${what} is logged, every process group is killed, and the exit code is 1`, posix, async (t) => {
    const dir = tempDir(t);
    const bomb = join(dir, 'bomb.mjs');
    writeFileSync(bomb, `process.on('SIGUSR2', () => { ${code} });`);
    const program = start(t, {
      cwd: dir,
      config: config({ deaf: server('deaf-to-signals.mjs'), family: server('leaves-grandchild.mjs', 'deaf') }),
      argv: [process.execPath, '--import', bomb, entry],
    });
    await running(program, 'deaf', 'family');
    const groups = program.children();
    assert.equal(groups.every((pgid) => group(pgid).length > 0), true);
    program.process.kill('SIGUSR2');
    assert.deepEqual(await program.ended(), [1, null]);
    assert.match(program.stderr, /^\S+ error -  a bug ended the proxy: (Error: )?boom/m);
    await until(() => groups.every((pgid) => group(pgid).length === 0), 'every group is gone');
  });
}

// ---- what it reads

test('without a configuration file it starts, warns, and takes the file over when it appears', async (t) => {
  const program = start(t);
  const origin = await program.origin();
  assert.match(program.lines().map(withoutTime)[0]!, /^warn {2}-  no configuration file at .*mcp-config\.json: /);
  assert.deepEqual(await status(origin), {});
  assert.equal(program.stdout, `MCP proxy ${version()} on ${origin}\n`);

  writeFileSync(join(program.dir, 'mcp-config.json'), JSON.stringify(config({ fs: server('server.mjs') })));
  await running(program, 'fs');
  assert.equal((await call(origin, 'fs', 'tools/list')).status, 200);
});

test('a change of the file that is wrong leaves everything running and is a line per problem; the next one counts', async (t) => {
  const program = start(t, { config: config({ fs: server('server.mjs') }) });
  await running(program, 'fs');
  const file = join(program.dir, 'mcp-config.json');
  writeFileSync(file, JSON.stringify({ mcpServers: { fs: { command: 1 }, b: { command: [] } } }));
  await program.logged(/mcpServers\.b/);
  assert.deepEqual(program.lines().map(withoutTime).filter((line) => line.startsWith('error')), [
    'error -  mcpServers.fs.command: expected a non-empty string, got a number (the running configuration stays)',
    'error -  mcpServers.b.command: expected a non-empty string, got an array (the running configuration stays)',
  ]);
  assert.equal(alive(program.children()[0]!), true);

  writeFileSync(file, JSON.stringify(config({ fs: server('server.mjs'), b: server('server.mjs') })));
  await running(program, 'fs', 'b');
  assert.equal(program.children().length, 2);
});

test('CONFIG_PATH names another file, from the working directory', async (t) => {
  const dir = tempDir(t);
  mkdirSync(join(dir, 'etc'));
  writeFileSync(join(dir, 'etc', 'servers.json'), JSON.stringify(config({ other: server('server.mjs') })));
  const program = start(t, { cwd: dir, config: config({ fs: server('server.mjs') }), env: { CONFIG_PATH: 'etc/servers.json' } });
  assert.deepEqual(Object.keys(await status(await program.origin())), ['other']);
});

test('.env of the working directory is read, and the real environment wins', async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'other.json'), JSON.stringify(config({ fs: { ...server('server.mjs'), env: { ENTRY: 'of the entry', THREE: 'of the entry' } } })));
  writeFileSync(
    join(dir, '.env'),
    [
      '# a comment',
      'CONFIG_PATH=other.json',
      'LOG_FORMAT=json',
      'AUTH_TOKEN="token-of-dotenv-1234"',
      'FILE=of the file',
      "QUOTED='  spaces  '",
      'BOTH=of the file',
      'THREE=of the file',
    ].join('\n'),
  );
  const program = start(t, {
    cwd: dir,
    env: { LOG_FORMAT: 'text', REAL: 'real', BOTH: 'real', THREE: 'real' },
  });
  const origin = await program.origin();
  assert.match(await program.logged(/running/), /^\S+ info {2}fs {2}running/);
  assert.equal((await request(`${origin}/api/servers`)).status, 401);
  const seen = await environment(origin, ['FILE', 'QUOTED', 'REAL', 'BOTH', 'ENTRY', 'THREE', 'PATH'], { Authorization: 'Bearer token-of-dotenv-1234' });
  assert.deepEqual(seen, {
    FILE: 'of the file',
    QUOTED: '  spaces  ',
    REAL: 'real',
    BOTH: 'real',
    ENTRY: 'of the entry',
    THREE: 'of the entry',
    PATH: process.env['PATH'],
  });
});

test('children inherit none of the settings of the proxy, wherever they were set', async (t) => {
  const values: Record<string, string> = {
    PORT: '0',
    HOST: '127.0.0.1',
    CONFIG_PATH: 'mcp-config.json',
    AUTH_TOKEN: 'a-token-of-many-letters',
    ALLOWED_ORIGINS: 'https://app.example.com',
    ALLOWED_HOSTS: 'mcp.example.com',
    PUBLIC_URL: 'https://mcp.example.com',
    LOG_LEVEL: 'info',
    LOG_FORMAT: 'text',
    IDLE_TIMEOUT: '100000',
    REQUEST_TIMEOUT: '100000',
    START_TIMEOUT: '100000',
    START_CONCURRENCY: '2',
    MAX_BODY_BYTES: '100000',
    MAX_LINE_BYTES: '100000',
    MAX_PENDING: '10',
    SESSION_TIMEOUT: '100000',
    MAX_SESSIONS: '10',
    MAX_ISOLATED: '10',
    SSE_AFTER_MS: '100000',
    SSE_ENDPOINT: 'json',
  };
  assert.deepEqual(Object.keys(values).sort(), [...SETTING_NAMES].sort());
  const dump = 'fs.writeFileSync("seen", JSON.stringify(process.env))';
  for (const where of ['environment', '.env']) {
    const dir = tempDir(t);
    if (where === '.env') writeFileSync(join(dir, '.env'), Object.entries({ ...values, KEPT: 'yes' }).map(([name, value]) => `${name}=${value}`).join('\n'));
    start(t, {
      cwd: dir,
      config: config({ fs: { command: process.execPath, args: ['-e', dump], maxRestarts: 0 } }),
      env: where === 'environment' ? { ...values, KEPT: 'yes' } : {},
    });
    const seen = await until(() => JSON.parse(readFileSync(join(dir, 'seen'), 'utf8')) as Record<string, string>, 'the child has run');
    assert.deepEqual(SETTING_NAMES.filter((name) => name in seen), [], where);
    assert.equal(seen['KEPT'], 'yes', where);
  }
});

test('an .env that cannot be read is one line and exit code 1', async (t) => {
  const dir = tempDir(t);
  mkdirSync(join(dir, '.env'));
  const program = start(t, { cwd: dir, config: config({}) });
  assert.deepEqual(await program.ended(), [1, null]);
  assert.match(program.stderr, /^\.env: cannot be read \(EISDIR\)\n$/);
});

// ---- what it logs

const TIME = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`;

test('a log line in text is time, padded level, server and a sentence', async (t) => {
  const program = start(t, {
    config: config({ fs: { ...server('dies-at-start.mjs', 'no database', '4'), maxRestarts: 1 }, ok: server('server.mjs') }),
    env: { LOG_LEVEL: 'debug' },
  });
  await program.logged(/given up/);
  await running(program, 'ok');
  for (const line of program.lines()) assert.match(line, new RegExp(`^${TIME} (error|warn |info |debug) (-|fs|ok)  \\S.*$`));
  const said = program.lines().map(withoutTime);
  const first = said.find((line) => line.startsWith('warn  fs  '));
  assert.match(first!, /^warn {2}fs {2}exited with code 4, restart 1 of 1 in (0\.[89]|1\.[012]) s$/);
  assert.ok(said.includes('error fs  exited with code 4, given up after 1 restart'));
  assert.ok(said.includes('info  fs  stderr: no database'));
  assert.doesNotMatch(program.stdout, new RegExp(TIME));
});

test('a log line in json is one object: time, level, server, event, message, and what else there is', async (t) => {
  const program = start(t, {
    config: config({ fs: { ...server('dies-at-start.mjs'), autoRestart: false }, ok: server('server.mjs') }),
    env: { LOG_FORMAT: 'json', LOG_LEVEL: 'debug' },
  });
  await program.logged(/not restarted/);
  await running(program, 'ok');
  const entries = program.lines().map((line) => JSON.parse(line) as Record<string, unknown>);
  for (const entry of entries) {
    assert.deepEqual(Object.keys(entry).slice(0, 5), ['time', 'level', 'server', 'event', 'message']);
    assert.match(String(entry['time']), new RegExp(`^${TIME}$`));
    assert.match(String(entry['level']), /^(error|warn|info|debug)$/);
    assert.match(String(entry['event']), /^[a-z_]+$/);
  }
  const { time: _, ...failed } = entries.find(({ event }) => event === 'failed')!;
  assert.deepEqual(failed, { level: 'error', server: 'fs', event: 'failed', message: 'exited with code 1, not restarted (autoRestart is off)' });
});

for (const format of ['text', 'json']) {
  test(`control characters that a server writes are escaped in ${format}: one entry is one line`, async (t) => {
    const script = 'process.stderr.write("\\x1b[31mred\\x07\\r\\u2028\\x9b end\\n"); process.exitCode = 1';
    const program = start(t, {
      config: config({ fs: { command: process.execPath, args: ['-e', script], autoRestart: false } }),
      env: { LOG_FORMAT: format },
    });
    const line = await program.logged(/stderr: /);
    assert.ok(line.includes(String.raw`stderr: \u001b[31mred\u0007${format === 'json' ? '\\r' : '\\u000d'}\u2028\u009b end`), line);
    assert.doesNotMatch(program.stderr, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029]/);
  });
}

const LEVELS = ['error', 'warn', 'info', 'debug'];
for (const [k, level] of LEVELS.entries()) {
  test(`LOG_LEVEL=${level} shows ${LEVELS.slice(0, k + 1).join(', ')}`, async (t) => {
    const program = start(t, { config: config({ fs: { ...server('dies-at-start.mjs'), maxRestarts: 1 } }), env: { LOG_LEVEL: level } });
    await program.logged(/given up/);
    assert.deepEqual(await ends(program, 'SIGTERM'), [0, null]);
    const seen = new Set(program.lines().map((line) => line.split(/ +/)[1]));
    assert.deepEqual(LEVELS.filter((one) => seen.has(one)), LEVELS.slice(0, k + 1));
  });
}

test('what failed is said with its program and PATH, arguments only at level debug, secrets never', async (t) => {
  const secret = 'hunter22-hunter22';
  for (const level of ['info', 'debug']) {
    const dir = tempDir(t);
    writeFileSync(join(dir, '.env'), 'API_KEY=key-of-dotenv\nAUTH_TOKEN=token-of-dotenv-1\n');
    const program = start(t, {
      cwd: dir,
      env: { LOG_LEVEL: level },
      config: config({
        none: { command: 'no-such-program', args: ['--flag'], autoRestart: false },
        dies: { ...server('dies-at-start.mjs', `${secret} and key-of-dotenv and token-of-dotenv-1`), env: { PASSWORD: secret }, autoRestart: false },
      }),
    });
    await program.logged(/stderr: /);
    await program.logged(/no-such-program/);
    await program.logged(/spawn ENOENT/);
    const said = program.lines().map(withoutTime);
    const cannot = said.find((line) => line.startsWith('error none  cannot start no-such-program'));
    assert.ok(cannot?.endsWith(`PATH ${process.env['PATH']}`), program.stderr);
    assert.ok(said.includes('info  dies  stderr: *** and *** and ***'), program.stderr);
    assert.equal(said.some((line) => line.includes('--flag')), level === 'debug');
    assert.doesNotMatch(program.stderr, /hunter22|key-of-dotenv|token-of-dotenv/);
  }
});

test('it lives on when nobody reads its stdout and stderr any more', posix, async (t) => {
  const program = start(t, { config: config({ fs: server('server.mjs') }), env: { LOG_LEVEL: 'debug' } });
  const origin = await program.origin();
  await running(program, 'fs');
  program.process.stdout.destroy();
  program.process.stderr.destroy();
  for (let round = 1; round <= 3; round++) {
    assert.equal((await request(`${origin}/api/servers/fs/restart`, { method: 'POST' })).status, 202); // is logged
    await until(() => program.children().length === 1 + round, 'a new process');
    await until(async () => (await status(origin))['fs'].status === 'running', 'it runs again');
  }
  program.process.kill('SIGTERM');
  assert.deepEqual(await program.ended(), [0, null]);
  assertNothingLeft(program);
});

// ---- npm

test('npm start starts it, and a signal to npm reaches it', posix, async (t) => {
  try {
    execFileSync('npm', ['--version'], { stdio: 'ignore' });
  } catch {
    return t.skip('there is no npm');
  }
  const dir = tempDir(t);
  cpSync(join(repo, 'package.json'), join(dir, 'package.json'));
  symlinkSync(join(repo, 'build', 'src'), join(dir, 'dist'));
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const program = start(t, {
      cwd: dir,
      config: config({ fs: server('server.mjs') }),
      argv: ['npm', 'start'],
      env: { npm_config_update_notifier: 'false', npm_config_cache: join(dir, 'cache') },
    });
    await running(program, 'fs');
    const before = program.children();
    await ends(program, signal);
    assert.match(program.stderr, new RegExp(`${signal}: shutting down`));
    assert.deepEqual(group(program.process.pid!), []);
    assert.deepEqual(before.flatMap(group), []);
    rmSync(program.starts);
  }
});

// ---- helpers

function version(): string {
  return (JSON.parse(readFileSync(join(repo, 'package.json'), 'utf8')) as { version: string }).version;
}

function withoutTime(line: string): string {
  return line.replace(new RegExp(`^${TIME} `), '');
}

/** Waits until these servers run. */
async function running(program: Program, ...names: string[]): Promise<void> {
  await program.origin();
  for (const name of names) await program.logged(new RegExp(` info {2}${name} {2}running|"server":"${name}","event":"running"`));
}

async function ends(program: Program, signal: NodeJS.Signals): Promise<readonly [number | null, string | null]> {
  program.process.kill(signal);
  return program.ended();
}

function assertNothingLeft(program: Program): void {
  const pids = program.children();
  assert.notDeepEqual(pids, []);
  assert.deepEqual(pids.flatMap(group), []);
}

function call(origin: string, name: string, method: string, params: object = {}, headers: Record<string, string> = {}) {
  return post(`${origin}/${name}/mcp`, { jsonrpc: '2.0', id: 1, method, params }, headers);
}

function tool(origin: string, name: string, tool: string, args: object, headers: Record<string, string> = {}) {
  return call(origin, name, 'tools/call', { name: tool, arguments: args }, headers);
}

async function status(origin: string): Promise<Record<string, any>> {
  return (await request(`${origin}/api/servers`, { headers: { Accept: 'application/json' } })).json();
}

/** What the server `fs` sees of these variables. */
async function environment(origin: string, names: readonly string[], headers: Record<string, string> = {}) {
  const seen: Record<string, unknown> = {};
  for (const name of names) seen[name] = (await tool(origin, 'fs', 'env', { name }, headers)).json().result.structuredContent.value;
  return seen;
}

async function canListen(host: string): Promise<boolean> {
  const probe = net.createServer().listen(0, host);
  return new Promise((resolve) => {
    probe.once('error', () => resolve(false));
    probe.once('listening', () => probe.close(() => resolve(true)));
  });
}
