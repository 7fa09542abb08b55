import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSettings, SETTING_NAMES, SettingError, type Settings } from '../../src/config/env.ts';
import { LIMITS, type Limits } from '../../src/config/limits.ts';

const MAX_MS = 2_147_483_647;

/** The settings of product.md: where each ends up, its default, two good values with what they mean, and bad ones. */
interface Row {
  readonly of: (settings: Settings) => unknown;
  readonly otherwise: unknown;
  readonly good: readonly (readonly [text: string, value: unknown])[];
  readonly bad: readonly string[];
}

const NO_INTEGERS = ['-1', '+1', '1.5', '1e3', '0x10', '1_000', '1,000', '12a', 'abc', 'NaN', 'Infinity', ' ', '٣', '99999999999999999999'];
const bound = (limit: keyof Limits, otherwise: number, least: number, most: number): Row => ({
  of: ({ limits }) => limits[limit],
  otherwise,
  good: [[String(least), least], [String(most), most], ['17', 17], [' 18 ', 18], ['0019', 19]],
  bad: [...NO_INTEGERS, String(least - 1), String(most + 1)],
}); // prettier-ignore

const ROWS: Readonly<Record<string, Row>> = {
  PORT: {
    of: ({ port }) => port,
    otherwise: 3000,
    good: [['0', 0], ['8080', 8080], ['65535', 65535]],
    bad: [...NO_INTEGERS, '65536', '/run/socket', '3000;'],
  },
  HOST: { of: ({ host }) => host, otherwise: '127.0.0.1', good: [['0.0.0.0', '0.0.0.0'], ['::', '::'], ['proxy.example', 'proxy.example']], bad: [] },
  CONFIG_PATH: { of: ({ configPath }) => configPath, otherwise: './mcp-config.json', good: [['/etc/mcp.json', '/etc/mcp.json'], ['a b.json', 'a b.json']], bad: [] },
  IDLE_TIMEOUT: bound('idleTimeoutMs', 300_000, 0, MAX_MS),
  AUTH_TOKEN: {
    of: ({ authToken }) => authToken,
    otherwise: undefined,
    good: [['0123456789abcdef', '0123456789abcdef'], ['!"#$%&()*+,-./:;<=>?@[]^_`{|}~', '!"#$%&()*+,-./:;<=>?@[]^_`{|}~'], ['x'.repeat(4_000), 'x'.repeat(4_000)]],
    bad: ['x', '0123456789abcde', '01234567 9abcdef', ' 0123456789abcdef', '0123456789abcdef\t', '0123456789abcdeż', '0123456789abcdef\n'],
  },
  ALLOWED_ORIGINS: {
    of: ({ allowedOrigins }) => allowedOrigins,
    otherwise: [],
    good: [
      ['https://app.example.com', ['https://app.example.com']],
      ['https://a.example, http://b.example:8080 ,,', ['https://a.example', 'http://b.example:8080']],
      ['HTTPS://App.Example.com', ['https://app.example.com']],
      ['http://[2001:db8::1]:3000', ['http://[2001:db8::1]:3000']],
      [',', []],
    ],
    bad: [
      '*', 'null', 'web.example', 'https://web.example/', 'https://web.example/path', 'https://user@web.example', 'https://a.example https://b.example',
      'https://a.example, b.example', 'https://*.web.example/', '//web.example', 'web:', 'chrome-extension://abcdefghijklmnop',
    ],
  },
  ALLOWED_HOSTS: {
    of: ({ allowedHosts }) => allowedHosts,
    otherwise: [],
    good: [['proxy.example', ['proxy.example']], ['Proxy.Example, internal:8080,*', ['proxy.example', 'internal:8080', '*']], [' , ', []]],
    bad: ['https://proxy.example', 'proxy.example/', 'proxy.example internal', 'me@proxy.example', 'proxy.example,//internal'],
  },
  PUBLIC_URL: {
    of: ({ publicUrl }) => publicUrl?.href,
    otherwise: undefined,
    good: [['https://mcp.example.com', 'https://mcp.example.com/'], ['http://10.0.0.1:8080/base', 'http://10.0.0.1:8080/base']],
    bad: ['mcp.example.com', 'mcp.example.com:8080', '/base', '//mcp.example.com', 'https://', 'ftp://mcp.example.com', 'javascript:alert(1)', 'file:///etc/passwd'],
  },
  REQUEST_TIMEOUT: bound('requestTimeoutMs', 300_000, 0, MAX_MS),
  START_TIMEOUT: bound('startTimeoutMs', 180_000, 1, MAX_MS),
  START_CONCURRENCY: bound('startConcurrency', 4, 1, 1_000),
  MAX_BODY_BYTES: bound('maxBodyBytes', 10_485_760, 1, 1_073_741_824),
  MAX_LINE_BYTES: bound('maxLineBytes', 67_108_864, 1, 1_073_741_824),
  MAX_PENDING: bound('maxPending', 1_000, 1, 1_000_000),
  SESSION_TIMEOUT: bound('sessionTimeoutMs', 1_800_000, 1, MAX_MS),
  MAX_SESSIONS: bound('maxSessions', 1_000, 1, 1_000_000),
  MAX_ISOLATED: bound('maxIsolated', 16, 1, 10_000),
  SSE_AFTER_MS: bound('sseAfterMs', 2_000, 1, MAX_MS),
  SSE_ENDPOINT: {
    of: ({ sseEndpoint }) => sseEndpoint,
    otherwise: 'auto',
    good: [['json', 'json'], ['uri', 'uri'], ['auto', 'auto']],
    bad: ['JSON', 'uri ', 'plain', 'true', 'json,uri', 'toString'],
  },
  LOG_LEVEL: {
    of: ({ logLevel }) => logLevel,
    otherwise: 'info',
    good: [['error', 'error'], ['warn', 'warn'], ['info', 'info'], ['debug', 'debug']],
    bad: ['trace', 'verbose', 'INFO ', 'warning', '0', 'toString'],
  },
  LOG_FORMAT: { of: ({ logFormat }) => logFormat, otherwise: 'text', good: [['text', 'text'], ['json', 'json']], bad: ['xml', 'text,json', 'constructor'] },
}; // prettier-ignore

/** A line of `.env` that holds this value as it is. */
const line = (name: string, value: string) => `${name}='${value}'\n`;

test('the settings are those that are documented', () => {
  assert.deepEqual([...SETTING_NAMES].sort(), Object.keys(ROWS).sort());
});

for (const [name, { of, otherwise, good, bad }] of Object.entries(ROWS)) {
  test(`${name}: the environment, then .env, then the default`, () => {
    const [[first, one], [second, two]] = good;
    assert.deepEqual(of(readSettings({}, '')), otherwise);
    assert.deepEqual(of(readSettings({ [name]: '' }, '')), otherwise, 'nothing is no value');
    assert.deepEqual(of(readSettings({}, `${name}=\n`)), otherwise);
    assert.deepEqual(of(readSettings({ [name]: undefined }, '')), otherwise);
    assert.deepEqual(of(readSettings({ [name]: first }, '')), one);
    assert.deepEqual(of(readSettings({ [name]: first }, line(name, second))), one);
    assert.deepEqual(of(readSettings({ OTHER: 'x' }, line(name, second))), two);
    for (const [text, value] of good) assert.deepEqual(of(readSettings({ [name]: text }, '')), value, text);
  });

  if (bad.length > 0) {
    test(`${name}: a bad value is named by its variable and never shown, wherever it stands`, () => {
      for (const value of bad) {
        for (const [environment, dotenv] of [[{ [name]: value }, ''], [{}, line(name, value)]] as const) {
          assert.throws(
            () => readSettings(environment, dotenv),
            (error) => {
              assert.ok(error instanceof SettingError, JSON.stringify(value));
              assert.match(error.message, new RegExp(`^${name}: expected `));
              assert.equal(error.message.includes('\n'), false);
              // A value of a character or two is part of any sentence.
              if (value.trim().length > 3) assert.equal(error.message.includes(value), false, error.message);
              return true;
            },
            `${name}=${JSON.stringify(value)}`,
          );
        }
      }
    });

    test(`${name}: a bad value in .env does no harm where the environment has a good one`, () => {
      const [[text, value]] = good;
      assert.deepEqual(of(readSettings({ [name]: text }, line(name, bad[0]))), value);
    });
  }
}

test('the names of settings are case-sensitive, and names alike are none', () => {
  const { port, logLevel, childEnv } = readSettings({ port: '1', PORTS: '2', Log_Level: 'debug', MCP_PORT: '3' }, '');
  assert.deepEqual([port, logLevel], [3000, 'info']);
  assert.deepEqual(childEnv, { port: '1', PORTS: '2', Log_Level: 'debug', MCP_PORT: '3' });
});

test('the default of every bound that can be set is that of the table of bounds', () => {
  for (const [name, value] of Object.entries(readSettings({}, '').limits)) assert.equal(value, LIMITS[name as keyof Limits], name);
});

// ---- What children inherit

test('children inherit the environment and .env, the environment first, and never a name of the proxy', () => {
  const own = Object.fromEntries(Object.entries(ROWS).map(([name, { good }]) => [name, good[0][0]]));
  const dotenv = Object.entries(ROWS).map(([name, { good }]) => line(name, good[0][0])).join('');
  const settings = readSettings({ ...own, PATH: '/bin', BOTH: 'environment', EMPTY: '' }, `${dotenv}FILE_ONLY=file\nBOTH=file\nEMPTY=file\n`);
  assert.deepEqual(settings.childEnv, { PATH: '/bin', BOTH: 'environment', EMPTY: '', FILE_ONLY: 'file' });
});

test('children do not inherit a name of the proxy either when its value is empty', () => {
  const empty = Object.fromEntries(SETTING_NAMES.map((name) => [name, '']));
  assert.deepEqual(readSettings(empty, '').childEnv, {});
});

test('a variable that is not set is not inherited', () => {
  assert.deepEqual(readSettings({ A: undefined, B: '1' }, '').childEnv, { B: '1' });
});

test('the environment that was given is not changed', () => {
  const environment = Object.freeze({ PATH: '/bin', PORT: '1' });
  const before = { ...process.env };
  readSettings(environment, 'PORT=2\nFOO_FROM_DOTENV=bar\n');
  assert.deepEqual({ ...process.env }, before);
});

// ---- .env

test('.env may have comments, quotes, export, line ends of either kind and values of several lines', () => {
  const dotenv = ['# a comment', '', "SINGLE='a # b'", 'DOUBLE="x\\ny"', 'BARE=a b # a comment', 'SPACED = v ', 'EQUALS=a=b', 'MULTI="1', '2"', 'LAST=end'];
  for (const lineEnd of ['\n', '\r\n']) {
    const { childEnv } = readSettings({}, dotenv.join(lineEnd));
    assert.deepEqual(
      { ...childEnv, MULTI: childEnv['MULTI']?.replace('\r', '') },
      { SINGLE: 'a # b', DOUBLE: 'x\ny', BARE: 'a b', SPACED: 'v', EQUALS: 'a=b', MULTI: '1\n2', LAST: 'end' },
    );
  }
});

test('nothing in .env hides the variable after it: no blank line, byte order mark or quote that is left open', () => {
  for (const before of ['\ufeff', '\n', '  \n', '\t\r\n \n', '\ufeff \n', 'A=1\n\n  \n', 'A=\n', 'A="x\n', "A=it's\n", '  # A\n', 'export A=1\n', 'A="1\n \n2" # 3\n']) {
    assert.equal(readSettings({}, `${before}PORT=1\n`).port, 1, JSON.stringify(before));
  }
});

test('a line of .env that is no variable is refused by its number, and never shown', () => {
  const wrong: [text: string, line: number][] = [
    ['hunter22', 1],
    ['A=1\n\nhunter22\nAUTH_TOKEN=0123456789abcdef\n', 3],
    ['A="1\n2"\r\nPORT: hunter22\r\n', 3],
    ['=hunter22\n', 1],
    ['\ufeffhunter22', 1],
    [Buffer.from('\ufeffPORT=4000\nHOST=::1\n', 'utf16le').toString(), 1],
  ];
  for (const [text, line] of wrong) assert.throws(() => readSettings({}, text), { constructor: SettingError, message: `.env: expected NAME=value in line ${line}` }, text);
});

test('every value of .env is a secret, and no value of the environment is', () => {
  const { secrets } = readSettings({ API_KEY: 'from-the-environment', BOTH: 'outer' }, 'API_KEY_2=from-the-file\nBOTH=inner\nAUTH_TOKEN=0123456789abcdef\n');
  assert.deepEqual([...secrets].sort(), ['0123456789abcdef', 'from-the-file', 'inner']);
});
