import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig, type Config, type ServerConfig } from '../../src/config/schema.ts';

const DEFAULTS: Omit<ServerConfig, 'command' | 'env'> = { args: [], disabled: false, autoRestart: true, maxRestarts: 3, isolation: 'shared', clientCapabilities: undefined, protocol: 'auto' };

function valid(json: unknown, maxServers = 1_000): Config {
  const parsed = parseConfig(json, maxServers);
  if ('problems' in parsed) assert.fail(parsed.problems.join('\n'));
  return parsed.config;
}

function problems(json: unknown, maxServers = 1_000): readonly string[] {
  const parsed = parseConfig(json, maxServers);
  return 'problems' in parsed ? parsed.problems : [];
}

/** The one entry `fs`, as plain data. */
function entry(fs: object): object {
  const server = valid({ mcpServers: { fs } }).servers.get('fs');
  return { ...server, env: { ...server?.env } };
}

// ---- What is taken

test('an entry that says nothing but its command gets every default', () => {
  assert.deepEqual(entry({ command: 'node' }), { ...DEFAULTS, command: 'node', env: {} });
});

test('every field is taken as it stands', () => {
  const all = { command: './a b', args: ['', '-x', 'ż', '$HOME'], env: { A: '', b_1: 'x y' }, disabled: true, autoRestart: false, maxRestarts: 0 };
  const more = [
    { isolation: 'shared', clientCapabilities: {}, protocol: 'auto' },
    { isolation: 'session', clientCapabilities: { sampling: {}, elicitation: { url: {} }, 'vendor/x': [1, null] }, protocol: 'legacy' },
    { isolation: 'shared', clientCapabilities: { roots: {} }, protocol: 'modern' },
  ];
  for (const rest of more) {
    const full = { ...all, ...rest };
    assert.deepEqual(entry(full), full);
    assert.deepEqual(valid({ mcpServers: { full } }).ignored, []);
  }
});

test('numbers and booleans of env become strings', () => {
  const env = { N: 1, F: -0.5, Z: 0, T: true, X: false, S: '1' };
  assert.deepEqual(entry({ command: 'x', env }), { ...DEFAULTS, command: 'x', env: { N: '1', F: '-0.5', Z: '0', T: 'true', X: 'false', S: '1' } });
});

test('a field that is absent, or undefined where the configuration was written in TypeScript, takes its default', () => {
  const fs = { command: 'x', args: undefined, env: undefined, disabled: undefined, autoRestart: undefined, maxRestarts: undefined, isolation: undefined, clientCapabilities: undefined, protocol: undefined, url: undefined };
  assert.deepEqual(entry(fs), { ...DEFAULTS, command: 'x', env: {} });
});

test('an entry with a url and no command is valid, but has nothing to start', () => {
  for (const more of [{}, { type: 'http', headers: { Authorization: 'x' } }, { command: undefined }]) {
    assert.deepEqual(entry({ url: 'https://mcp.example.com', ...more }), { ...DEFAULTS, command: undefined, env: {} });
  }
  assert.deepEqual(entry({ url: 'https://mcp.example.com', command: 'x' }), { ...DEFAULTS, command: 'x', env: {} });
});

test('no servers are a configuration, too', () => {
  assert.deepEqual([...valid({ mcpServers: {} }).servers], []);
});

test('servers keep the order in which they are written', () => {
  const names = ['zeta', 'alpha', 'Mid', 'a-b', 'ż', '_'];
  assert.deepEqual([...valid({ mcpServers: Object.fromEntries(names.map((name) => [name, { command: 'x' }])) }).servers.keys()], names);
});

test('a thousand servers are allowed, one more is not', () => {
  const many = (count: number) => ({ mcpServers: Object.fromEntries(Array.from({ length: count }, (_, k) => [`s${k}`, { command: 'x' }])) });
  assert.equal(valid(many(1_000)).servers.size, 1_000);
  assert.deepEqual(problems(many(1_001)), ['mcpServers: 1001 servers, at most 1000 are allowed']);
});

test('keys that nothing reads are named with their paths, inside entries only, and change nothing', () => {
  const config = valid({
    $schema: 'x',
    inputs: [],
    mcpServers: {
      a: { command: 'x', cwd: '/', 'auto approve': ['y'], type: 'stdio' },
      'b-c': { command: 'x', timeout: 5 },
      'with space': { command: 'x', '': 0 },
    },
  });
  assert.deepEqual(config.ignored, ['mcpServers.a.cwd', 'mcpServers.a["auto approve"]', 'mcpServers.a.type', 'mcpServers.b-c.timeout', 'mcpServers["with space"][""]']);
  assert.deepEqual(valid({ mcpServers: { a: { command: 'x', url: 'y' } } }).ignored, []);
});

// ---- What is refused

/** Every type of JSON, and how a problem names it. */
const TYPES: readonly (readonly [unknown, string])[] = [
  [null, 'null'],
  [true, 'a boolean'],
  [7, 'a number'],
  ['text', 'a string'],
  [[], 'an array'],
  [{}, 'an object'],
];
const others = (...fine: string[]) => TYPES.filter(([, name]) => !fine.includes(name));

test('a configuration that is no object is refused', () => {
  for (const [value, name] of others('an object')) assert.deepEqual(problems(value), [`expected an object, got ${name}`]);
  assert.deepEqual(problems(undefined), ['expected an object, got nothing']);
  assert.deepEqual(problems({}), ['mcpServers: missing; expected an object']);
  assert.deepEqual(problems({ mcpservers: {}, servers: {} }), ['mcpServers: missing; expected an object']);
  assert.deepEqual(problems(Object.create({ mcpServers: {} })), ['mcpServers: missing; expected an object']);
  for (const [value, name] of others('an object')) assert.deepEqual(problems({ mcpServers: value }), [`mcpServers: expected an object, got ${name}`]);
  for (const [value, name] of others('an object')) assert.deepEqual(problems({ mcpServers: { fs: value } }), [`mcpServers.fs: expected an object, got ${name}`]);
});

const wrong: readonly (readonly [object, string])[] = [
  // command
  [{}, 'fs.command: missing; expected a non-empty string'],
  [{ args: ['x'] }, 'fs.command: missing; expected a non-empty string'],
  [{ command: '' }, 'fs.command: expected a non-empty string, got an empty one'],
  [{ command: '', url: 'x' }, 'fs.command: expected a non-empty string, got an empty one'],
  [{ command: 'a\0b' }, 'fs.command: must not contain a NUL character'],
  ...others('a string').map(([command, name]) => [{ command }, `fs.command: expected a non-empty string, got ${name}`] as const),
  ...others('a string').map(([command, name]) => [{ command, url: 'x' }, `fs.command: expected a non-empty string, got ${name}`] as const),
  // url
  ...others('a string').map(([url, name]) => [{ url }, `fs.url: expected a string, got ${name}`] as const),
  // args
  ...others('an array').map(([args, name]) => [{ command: 'x', args }, `fs.args: expected an array of strings, got ${name}`] as const),
  ...others('a string').map(([arg, name]) => [{ command: 'x', args: ['a', arg, 'b'] }, `fs.args[1]: expected a string, got ${name}`] as const),
  [{ command: 'x', args: ['a', 'b', 'c\0'] }, 'fs.args[2]: must not contain a NUL character'],
  // env
  ...others('an object').map(([env, name]) => [{ command: 'x', env }, `fs.env: expected an object of strings, got ${name}`] as const),
  ...others('a string', 'a number', 'a boolean').map(([A, name]) => [{ command: 'x', env: { A } }, `fs.env.A: expected a string, got ${name}`] as const),
  [{ command: 'x', env: { 'a b': null } }, 'fs.env["a b"]: expected a string, got null'],
  [{ command: 'x', env: { A: 'b\0' } }, 'fs.env.A: must not contain a NUL character'],
  [{ command: 'x', env: { '': 'x' } }, 'fs.env[""]: not a name of an environment variable'],
  [{ command: 'x', env: { 'A=B\n=C': 'x' } }, 'fs.env["A=***"]: not a name of an environment variable'],
  [{ command: 'x', env: { 'A\0': 'x' } }, 'fs.env["A\\u0000"]: not a name of an environment variable'],
  // disabled, autoRestart
  ...(['disabled', 'autoRestart'] as const).flatMap((key) =>
    others('a boolean').map(([value, name]) => [{ command: 'x', [key]: value }, `fs.${key}: expected a boolean, got ${name}`] as const),
  ),
  [{ command: 'x', disabled: 'false' }, 'fs.disabled: expected a boolean, got a string'],
  // maxRestarts
  ...others('a number').map(([maxRestarts, name]) => [{ command: 'x', maxRestarts }, `fs.maxRestarts: expected an integer >= 0, got ${name}`] as const),
  [{ command: 'x', maxRestarts: 1.5 }, 'fs.maxRestarts: expected an integer >= 0, got a fraction'],
  [{ command: 'x', maxRestarts: -1 }, 'fs.maxRestarts: expected an integer >= 0, got one out of range'],
  [{ command: 'x', maxRestarts: 1e300 }, 'fs.maxRestarts: expected an integer >= 0, got one out of range'],
  // isolation
  ...others('a string').map(([isolation, name]) => [{ command: 'x', isolation }, `fs.isolation: expected "shared" or "session", got ${name}`] as const),
  ...['', 'Session', 'session ', 'none', 'constructor'].map((isolation) => [{ command: 'x', isolation }, 'fs.isolation: expected "shared" or "session", got another string'] as const),
  // protocol
  ...others('a string').map(([protocol, name]) => [{ command: 'x', protocol }, `fs.protocol: expected "auto" or "legacy" or "modern", got ${name}`] as const),
  ...['', 'Auto', 'modern ', '2026-07-28', 'toString'].map((protocol) => [{ command: 'x', protocol }, 'fs.protocol: expected "auto" or "legacy" or "modern", got another string'] as const),
  // clientCapabilities
  ...others('an object').map(([clientCapabilities, name]) => [{ command: 'x', clientCapabilities }, `fs.clientCapabilities: expected an object, got ${name}`] as const),
];

test('every wrong value is named with its path and its type', () => {
  for (const [fs, problem] of wrong) {
    const ok = { command: 'x' };
    assert.deepEqual(problems({ mcpServers: { before: ok, fs, after: ok } }), [`mcpServers.${problem}`], JSON.stringify(fs));
  }
});

test('client capabilities may have a hundred levels, and not one more', () => {
  for (const [open, close] of [['{"a":', '}'], ['[', ']']] as const) {
    const levels = (count: number) => ({ command: 'x', clientCapabilities: { a: JSON.parse(`${open.repeat(count - 1)}0${close.repeat(count - 1)}`) } });
    assert.deepEqual(entry(levels(100)), { ...DEFAULTS, ...levels(100), env: {} });
    for (const count of [101, 100_000]) {
      assert.deepEqual(problems({ mcpServers: { fs: levels(count) } }), ['mcpServers.fs.clientCapabilities: nested more than 100 levels deep']);
    }
  }
});

test('all problems of all entries are named, in the order of the file', () => {
  const json = {
    mcpServers: {
      a: { command: 5, args: [1, 'x', null], env: { B: [], 'C=': {} }, disabled: 0, autoRestart: 'no', maxRestarts: -2 },
      'x/y': 7,
      b: {},
      c: { command: 'fine' },
    },
  };
  const found = problems(json);
  assert.deepEqual(
    new Set(found),
    new Set([
      'mcpServers.a.command: expected a non-empty string, got a number',
      'mcpServers.a.args[0]: expected a string, got a number',
      'mcpServers.a.args[2]: expected a string, got null',
      'mcpServers.a.env.B: expected a string, got an array',
      'mcpServers.a.env["C="]: not a name of an environment variable',
      'mcpServers.a.env["C="]: expected a string, got an object',
      'mcpServers.a.disabled: expected a boolean, got a number',
      'mcpServers.a.autoRestart: expected a boolean, got a string',
      'mcpServers.a.maxRestarts: expected an integer >= 0, got one out of range',
      'mcpServers["x/y"]: a server name must not contain "/"',
      'mcpServers["x/y"]: expected an object, got a number',
      'mcpServers.b.command: missing; expected a non-empty string',
    ]),
  );
  assert.equal(found.length, 12);
  const entries = found.map((problem) => /^mcpServers(\.a|\.b|\["x\/y"\])/.exec(problem)?.[1]);
  assert.deepEqual([...new Set(entries)], ['.a', '["x/y"]', '.b']);
});

test('no problem shows a value, wherever a secret was put by mistake', () => {
  const secret = 'hunter2-hunter2';
  const places: readonly unknown[] = [
    secret,
    [secret],
    { mcpServers: secret },
    { mcpServers: [secret] },
    { mcpServers: { fs: secret } },
    { mcpServers: { fs: [secret] } },
    ...[secret, [secret], { x: secret }, [[secret]], `${secret}\0`].flatMap((value) =>
      ['command', 'args', 'env', 'disabled', 'autoRestart', 'maxRestarts', 'isolation', 'clientCapabilities', 'protocol', 'url'].map((key) => ({ mcpServers: { fs: { command: 'x', [key]: value }, bad: 0 } })),
    ),
    { mcpServers: { fs: { command: 'x', args: [`${secret}\0`, { secret }] } } },
    { mcpServers: { fs: { command: 'x', env: { A: `${secret}\0`, B: [secret], C: { secret }, '': secret, 'D=': secret } } } },
  ];
  for (const json of places) {
    const found = problems(json);
    assert.notEqual(found.length, 0, JSON.stringify(json));
    assert.equal(found.join('\n').includes(secret), false, found.join('\n'));
  }
});

// ---- Names (R-73a)

const badNames: readonly (readonly [string, string, string])[] = [
  ['', '[""]', 'a server name must not be empty'],
  ['.', '["."]', 'a server name must not be "."'],
  ['..', '[".."]', 'a server name must not be ".."'],
  ['/', '["/"]', 'a server name must not contain "/"'],
  ['a/b', '["a/b"]', 'a server name must not contain "/"'],
  ['../x', '["../x"]', 'a server name must not contain "/"'],
  ['a\\b', '["a\\\\b"]', 'a server name must not contain "\\"'],
  ...['\0', '\n', '\r', '\t', '\u001b', '\u007f', '\u0080', '\u009f'].map(
    (control) => [`a${control}b`, `[${JSON.stringify(`a${control}b`)}]`, 'a server name must not contain control characters'] as const,
  ),
  ['\ud83e', '["\\ud83e"]', 'a server name must be valid Unicode'],
  ['a\udd8a', '["a\\udd8a"]', 'a server name must be valid Unicode'],
  ['x'.repeat(129), `.${'x'.repeat(129)}`, 'a server name must not be longer than 128 bytes'],
  ['ż'.repeat(65), `["${'ż'.repeat(65)}"]`, 'a server name must not be longer than 128 bytes'],
  ['api', '.api', '"api" is a path of the proxy itself'],
  ['health', '.health', '"health" is a path of the proxy itself'],
  ['.well-known', '[".well-known"]', '".well-known" is a path of the proxy itself'],
];

test('a name that cannot be one segment of a path, or is a path of the proxy, is refused', () => {
  for (const [name, path, problem] of badNames) {
    assert.deepEqual(problems({ mcpServers: { [name]: { command: 'x' } } }), [`mcpServers${path}: ${problem}`]);
  }
});

test('every other name is taken', () => {
  const names = [
    'a', 'A', '0', '-', '_', '...', '.hidden', 'a.b', 'a b', ' ', '%2F', '%', 'a%20b', '?', '#', 'a:b', '@scope', 'ż', 'żółć 🦊', '日本',
    'apis', 'API', 'Health', 'healthy', 'mcp', 'sse', 'message', 'servers', 'config', 'well-known',
    'x'.repeat(128), 'ż'.repeat(64), 'constructor', 'toString', 'hasOwnProperty', 'valueOf', 'prototype', '__defineGetter__', 'null', 'undefined',
  ]; // prettier-ignore
  for (const name of names) {
    const { servers } = valid({ mcpServers: { [name]: { command: name } } });
    assert.deepEqual([...servers].map(([key, { command }]) => [key, command]), [[name, name]]);
  }
});

// ---- Names that every object has already

const INHERITED = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'];

test('a server, a variable and an unknown key may have the name of something that every object has', () => {
  for (const name of INHERITED) {
    const config = valid(JSON.parse(`{"mcpServers":{"${name}":{"command":"x","env":{"${name}":"y"},"${name}":{"command":"z"}}}}`));
    assert.deepEqual([...config.servers.keys()], [name]);
    const server = config.servers.get(name);
    assert.equal(server?.command, 'x');
    assert.deepEqual(Object.entries(server.env), [[name, 'y']]);
    assert.deepEqual(config.ignored, [`mcpServers.${name}.${name}`]);
  }
});

test('what an entry inherits from __proto__ or from Object.prototype is not read', () => {
  const fs = JSON.parse('{"__proto__":{"command":"evil","disabled":true}}');
  assert.deepEqual(problems({ mcpServers: { fs } }), ['mcpServers.fs.command: missing; expected a non-empty string']);
  const inherits = Object.assign(Object.create({ args: ['evil'], disabled: true, env: { A: 'evil' } }), { command: 'x' });
  assert.deepEqual(entry(inherits), { ...DEFAULTS, command: 'x', env: {} });
  assert.equal(({} as Record<string, unknown>)['command'], undefined);
});

test('a variable that nobody named is not in env', () => {
  const env = valid({ mcpServers: { fs: { command: 'x' } } }).servers.get('fs')?.env;
  for (const name of INHERITED) assert.equal(env?.[name], undefined);
});
