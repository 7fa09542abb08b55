// Every value that a client or a server may say, replaced in turn by every value that is JSON and that nobody expects there: the proxy
// answers, and goes on; nothing is thrown that nobody expected.

import assert from 'node:assert/strict';
import http from 'node:http';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { ServerConfigInput } from '../../src/proxy.ts';
import { tempDir, until } from '../support/files.ts';
import { openSse, post, request } from '../support/http.ts';
import { ABLE, key, modernRequest } from '../support/modern.ts';
import { node, startProxy, type TestProxy } from '../support/proxy.ts';
import { BOTH, initialize, openSession } from '../support/session.ts';

const array = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
const object = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
/** `JSON.parse` takes more levels than `JSON.stringify`, and than a function that calls itself. */
const DEEP: Readonly<Record<string, string>> = { array20k: array(20_000) };
const HUGE: Readonly<Record<string, string>> = { object100k: object(100_000), string1M: `"${'x'.repeat(1_048_576)}"` };
const SMALL: Readonly<Record<string, string>> = Object.fromEntries(
  [
    '{"toString":1,"valueOf":1,"toJSON":1}', '{"__proto__":{"x":1}}', '{"constructor":1}', 'null', 'true', '0', '-0', '1e400', '9007199254740993',
    '""', '"\\u0000"', '"\\ud800"', '[]', '[[]]', '{"then":1}', '{"length":-1}', '{"":{}}', '"__proto__"',
  ].map((text) => [text, text]),
);
const ALL = { ...SMALL, ...DEEP };
/** One of each kind, for what differs little from what has had them all. */
const SOME = Object.fromEntries(Object.entries(ALL).filter(([name]) => /^(\{"(toString|__proto__|length)|null|-0|"\\\\ud800"|\[\[\]\]|array20k)/.test(name)));

/** One message with one value replaced. */
interface Case {
  readonly what: string;
  readonly text: string;
}

/** The message with each of its members, however deep, replaced by each value, and with each value added where it has no such member. */
function cases(message: object, values: Readonly<Record<string, string>>, keep: readonly string[] = ['jsonrpc']): Case[] {
  return paths(message)
    .filter((path) => !keep.includes(path.join('.')))
    .flatMap((path) => Object.entries(values).map(([name, text]) => ({ what: `${path.join('.')} = ${name}`, text: replaced(message, path, text) })));
}

function paths(value: unknown, path: readonly string[] = []): string[][] {
  const inner = typeof value === 'object' && value !== null ? Object.entries(value).flatMap(([name, each]) => paths(each, [...path, name])) : [];
  return path.length === 0 ? inner : [[...path], ...inner];
}

function replaced(value: unknown, [name, ...rest]: readonly string[], text: string): string {
  if (name === undefined) return text;
  if (Array.isArray(value)) return `[${value.map((each, k) => (String(k) === name ? replaced(each, rest, text) : JSON.stringify(each))).join()}]`;
  const entries = Object.entries(value as object);
  return `{${entries.map(([each, inner]) => `${JSON.stringify(each)}:${each === name ? replaced(inner, rest, text) : JSON.stringify(inner)}`).join()}}`;
}

// ---- what clients say

const META = { progressToken: 't', 'io.modelcontextprotocol/related-task': { taskId: 'a' } };
const ask = (method: string, params?: object): object => ({ jsonrpc: '2.0', id: 7, method, params: params && { ...params, _meta: META } });
const tell = (method: string, params?: object): object => ({ jsonrpc: '2.0', method, params });

const INITIALIZE = {
  jsonrpc: '2.0', id: 7, method: 'initialize',
  params: {
    protocolVersion: '2025-06-18', clientInfo: { name: 'n', version: '1' }, _meta: META,
    capabilities: { sampling: { tools: {} }, elicitation: { form: {}, url: {} }, roots: { listChanged: true }, extensions: { e: {} }, tasks: {} },
  },
};

const ASKED: readonly object[] = [
  ask('ping'), ask('tools/list', { cursor: 'c' }), ask('tools/call', { name: 'mirrored', arguments: { a: 'x' }, task: { ttl: 1 } }), ask('resources/list', {}),
  ask('resources/templates/list'), ask('resources/read', { uri: 'u' }), ask('resources/subscribe', { uri: 'u' }), ask('resources/unsubscribe', { uri: 'u' }),
  ask('prompts/list'), ask('prompts/get', { name: 'p', arguments: { a: 'x' } }), ask('completion/complete', { ref: { type: 'ref/prompt', name: 'p' }, argument: { name: 'a', value: 'v' } }),
  ask('logging/setLevel', { level: 'info' }), ask('tasks/get', { taskId: 'a' }), ask('tasks/list'), ask('server/discover'), ask('subscriptions/listen', { notifications: { toolsListChanged: true } }),
  ask('x/y', { requestState: 's', inputResponses: { a: { action: 'accept' } } }), ask('tools/call', { name: 'mirrored', requestState: 's', inputResponses: { a: { action: 'accept', content: {} } } }),
];

const TOLD: readonly object[] = [
  tell('notifications/initialized', {}), tell('notifications/cancelled', { requestId: 99, reason: 'r' }), tell('notifications/progress', { progressToken: 1, progress: 1, total: 2, message: 'm' }),
  tell('notifications/roots/list_changed', { _meta: {} }), tell('notifications/message', { level: 'info', data: 'd' }), tell('notifications/tasks/status', { taskId: 'a', status: 's' }),
  tell('notifications/elicitation/complete', { elicitationId: 'e' }),
  { jsonrpc: '2.0', id: 1, result: { action: 'accept', content: { a: 1 } } }, { jsonrpc: '2.0', id: 1, error: { code: 1, message: 'm', data: 1 } },
];

// ---- what servers say

const LINES: readonly object[] = [
  tell('notifications/message', { level: 'info', logger: 'l', data: 'd', _meta: { a: 1 } }), tell('notifications/progress', { progressToken: '$TOKEN', progress: 1, total: 2, message: 'm' }),
  tell('notifications/cancelled', { requestId: 'q', reason: 'r' }), tell('notifications/resources/updated', { uri: 'u', _meta: {} }), tell('notifications/tools/list_changed', { _meta: { a: 1 } }),
  tell('notifications/prompts/list_changed'), tell('notifications/elicitation/complete', { elicitationId: 'e' }), tell('notifications/tasks/status', { taskId: 'a' }),
  tell('notifications/subscriptions/acknowledged', { _meta: { [key('subscriptionId')]: 1 }, notifications: { resourceSubscriptions: ['u'], toolsListChanged: true } }),
  tell('notifications/tools/list_changed', { _meta: { [key('subscriptionId')]: 1 } }), tell('x', { a: 1 }),
  { jsonrpc: '2.0', id: 'x', result: {} }, { jsonrpc: '2.0', id: 99_999, error: { code: 1, message: 'm' } }, { jsonrpc: '2.0', id: 'p', method: 'ping' }, { jsonrpc: '2.0', id: 'u', method: 'x/y', params: {} },
];

const question = (method: string, params: object): object => ({ jsonrpc: '2.0', id: 'q', method, params });
const QUESTIONS: readonly object[] = [
  question('sampling/createMessage', { messages: [{ role: 'user', content: { type: 'text', text: 't' } }], maxTokens: 1, tools: [], toolChoice: {}, _meta: META }),
  question('elicitation/create', { mode: 'url', elicitationId: 'e', url: 'http://u', message: 'm', _meta: META }),
  question('elicitation/create', { message: 'm', requestedSchema: { type: 'object', properties: { a: { type: 'string' } } }, _meta: META }),
  question('roots/list', { _meta: META }),
];

const result = (of: object): object => ({ jsonrpc: '2.0', id: '$ID', result: { ...of, _meta: { [key('serverInfo')]: { name: 'n', version: '1' }, a: 1 } } });
const INPUT = { who: { method: 'elicitation/create', params: { mode: 'url', message: 'm', url: 'http://u', _meta: {} } }, what: { method: 'roots/list' } };
const ANSWERS: readonly object[] = [
  result({ content: [{ type: 'text', text: 't' }], structuredContent: { a: 1 }, isError: false, resultType: 'complete', ttlMs: 1, cacheScope: 'public' }),
  result({ content: [{ type: 'text', text: '[1]' }], structuredContent: [1] }),
  result({ resultType: 'input_required', inputRequests: INPUT, requestState: 's' }), result({ resultType: 'input_required', requestState: 's' }),
  { jsonrpc: '2.0', id: '$ID', error: { code: -32042, message: 'm', data: { elicitations: [{ mode: 'url', url: 'http://u', message: 'm', elicitationId: 'e' }] } } },
  { jsonrpc: '2.0', id: '$ID', error: { code: -32021, message: 'm', data: { requiredCapabilities: { roots: {} } } } },
];

/** In a template these are texts, on the wire they are what the fixture puts there. */
const onWire = (text: string): string => text.replaceAll('"$ID"', '$ID').replaceAll('"$TOKEN"', '$TOKEN');

// ---- the house under attack

let proxy: TestProxy;
const scope: { ends: (() => void | Promise<void>)[]; after(then: () => void | Promise<void>): void } = { ends: [], after: (then) => void scope.ends.push(then) };
const uncaught: unknown[] = [];
const agent = new http.Agent({ keepAlive: true, maxSockets: 40 });

before(async () => {
  for (const what of ['uncaughtException', 'unhandledRejection']) process.on(what, note);
  const env = { JOURNAL: '' }; // what it would write down is what takes time
  const says = (...flags: string[]): ServerConfigInput => ({ ...node('says-anything.mjs', ...flags), env });
  proxy = await startProxy(
    scope,
    { legacy: says(), modern: says('--modern'), own: { ...says(), isolation: 'session' }, neighbour: says() },
    { limits: { requestTimeoutMs: 700, askWaitMs: 300, roundMs: 300, parkMs: 1_000, maxQuestions: 1_000_000, maxListens: 100_000, maxParked: 100_000, ackWaitMs: 500, roundAgainMs: 5, maxRounds: 3, maxSessions: 100_000, maxIsolated: 40, maxConnections: 10_000 } },
  );
  for (const name of ['legacy', 'modern', 'own']) await proxy.becomes(name, 'running');
});

after(async () => {
  agent.destroy();
  for (const end of scope.ends.reverse()) await end();
  for (const what of ['uncaughtException', 'unhandledRejection']) process.off(what, note);
});

function note(thrown: unknown): void {
  uncaught.push(thrown);
}

/** What came back. */
interface Got {
  readonly status: number;
  readonly text: string;
}

type Headers = Readonly<Record<string, string>>;

/** Sends a body as it is; the answer's status and text. A stream is read until it ends, or until it has said something. */
function send(path: string, text: string, headers: Headers = {}): Promise<Got> {
  return new Promise((resolve, reject) => {
    const body = Buffer.from(text);
    const all = { 'Content-Type': 'application/json', 'Content-Length': body.length, Accept: BOTH, ...headers };
    const req = http.request(proxy.url(path), { method: 'POST', agent, headers: all, timeout: 8_000 }, (res) => {
      let got = '';
      const done = (): void => resolve({ status: res.statusCode ?? 0, text: got });
      res.setEncoding('utf8').on('data', (chunk: string) => {
        got += chunk;
        if (!got.includes('acknowledged')) return; // the stream of a listen has no end
        done();
        res.destroy();
      });
      res.on('end', done).on('error', () => done());
    });
    req.on('timeout', () => req.destroy(new Error('no answer')));
    req.on('error', reject);
    req.end(body);
  });
}

/** Does all of it, a few at a time; what failed. */
async function all<T extends Case>(list: readonly T[], act: (each: T) => Promise<Got>, at = 30): Promise<void> {
  const wrong: string[] = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: at }, async () => {
      for (let each = list[next++]; each !== undefined; each = list[next++]) {
        try {
          const { status, text } = await act(each);
          if (status === 0 || status >= 500 && !/"reason":"(busy|unavailable)"/.test(text)) wrong.push(`${each.what}: ${status} ${text.slice(0, 200)}`);
          if (/Internal error|"internal"|\.(ts|js):\d+/.test(text)) wrong.push(`${each.what}: ${text.slice(0, 300)}`);
        } catch (error) {
          wrong.push(`${each.what}: ${String(error)}`);
        }
      }
    }),
  );
  assert.deepEqual(proxy.logged('internal').map(({ message }) => message), []);
  assert.deepEqual(uncaught, []);
  assert.deepEqual(wrong.slice(0, 20), []);
  for (const name of SERVERS) assert.equal(proxy.spawned(name).length, 1, `${name} has died: ${JSON.stringify(await proxy.status())}`);
  assert.deepEqual(await proxy.tool('neighbour', 'mirrored', {}), { ok: true });
}

const SERVERS = ['legacy', 'modern'] as const;
const said = (messages: readonly object[], values = ALL): Case[] =>
  messages.flatMap((message) => cases(message, values).map(({ what, text }) => ({ what: `${(message as { method?: string }).method ?? 'answer'} ${what}`, text })));
/** A client says all of it to one of the two servers, and some to the other. */
const valuesFor = (name: string): typeof SMALL => (name === 'legacy' ? ALL : SOME);
const huge = (messages: readonly object[]): Case[] => said(messages, HUGE).filter(({ what }) => !/\..*\./.test(what));

for (const name of SERVERS) {
  test(`a simple client of a ${name} server may say anything`, async () => {
    const list = [...said([...ASKED, ...TOLD], valuesFor(name)), ...huge([ASKED[2]!, ASKED[6]!, ASKED[11]!])];
    await all(list, ({ text }) => send(`/${name}/mcp`, text));
  });
  test(`a batch for a ${name} server may have anything in it`, async () => {
    const list = said([...ASKED, ...TOLD], SMALL);
    const batches = Array.from({ length: Math.ceil(list.length / 50) }, (_, k) => ({ what: `batch ${k}`, text: `[${list.slice(50 * k, 50 * k + 50).map(({ text }) => text).join()}]` }));
    await all(batches, ({ text }) => send(`/${name}/message`, text));
  });
  test(`a client with a session at a ${name} server may say anything`, async () => {
    const session = await openSession(scope, proxy, name, { capabilities: ABLE });
    const stream = await session.get();
    await all([...said([...ASKED, ...TOLD], SOME), ...said([ASKED[2]!, ASKED[6]!, ASKED[11]!, ...TOLD], valuesFor(name)), ...huge([TOLD[1]!])], ({ text }) => send(`/${name}/mcp`, text, session.headers));
    await stream.close();
    await session.delete();
  });
  test(`a client may open a session at a ${name} server with anything, and use it`, async () => {
    await all([...said([INITIALIZE], valuesFor(name)), ...huge([INITIALIZE])], async ({ text }) => {
      const reply = await post(proxy.url(`/${name}/mcp`), text, { Accept: BOTH });
      const id = reply.headers['mcp-session-id'];
      if (id === undefined) return reply;
      const headers = { 'Mcp-Session-Id': String(id) };
      const called = await send(`/${name}/mcp`, JSON.stringify(ask('tools/call', { name: 'asked' })), { ...headers, Accept: 'application/json' });
      await request(proxy.url(`/${name}/mcp`), { method: 'DELETE', headers });
      return called;
    });
  });
  test(`a client of HTTP+SSE at a ${name} server may say anything`, async () => {
    const stream = await openSse(proxy.url(`/${name}/sse`), { Accept: 'text/event-stream' });
    const { data } = await stream.event('endpoint');
    await all([...said([INITIALIZE, ...ASKED, ...TOLD], SOME), ...huge([ASKED[2]!])], ({ text }) => send(data, text));
    await stream.close();
  });
  test(`a client of 2026-07-28 at a ${name} server may say anything`, async () => {
    const methods: [string, Record<string, unknown>][] = [
      ['tools/call', { name: 'mirrored', arguments: { a: 'x' } }], ['tools/call', { name: 'asked', arguments: {}, requestState: 's', inputResponses: { 'elicitation-1': { action: 'accept', content: { a: 1 } } } }],
      ['tools/list', { cursor: 'c' }], ['resources/read', { uri: 'u' }], ['prompts/get', { name: 'p', arguments: {} }], ['server/discover', {}], ['completion/complete', { ref: { name: 'r' }, argument: {} }],
      ['subscriptions/listen', { notifications: { toolsListChanged: true, resourceSubscriptions: ['u'] } }], ['tasks/get', { taskId: 'a' }], ['x/y', { a: 1 }],
    ];
    const list = methods.flatMap(([method, params]) => {
      const { headers, message } = modernRequest(method, params, { capabilities: ABLE, logLevel: 'debug', progressToken: 't', headers: method === 'tools/call' ? { 'Mcp-Param-A': 'x' } : {} });
      return cases(message, method === 'tools/call' ? valuesFor(name) : SOME).map(({ what, text }) => ({ what: `${method} ${what}`, text, headers: mirrored(headers, text) }));
    });
    await all(list, ({ text, headers }) => send(`/${name}/mcp`, text, headers));
  });
  test(`what a ${name} server asks may be answered with anything`, async () => {
    const results = [{ action: 'accept', content: { a: 'x' } }];
    const session = await openSession(scope, proxy, name, { capabilities: ABLE });
    const list = results.flatMap((each) => cases({ jsonrpc: '2.0', id: '$ASKED', result: { ...each, _meta: {} } }, { ...SOME, ...HUGE }, ['jsonrpc', 'id']));
    await all(list, async ({ text }) => {
      const stream = await session.stream('tools/call', { name: 'asked' }, 'call');
      const { data } = await stream.event('message');
      const { id } = JSON.parse(data);
      const reply = await send(`/${name}/mcp`, text.replace('"$ASKED"', String(id)), session.headers);
      await stream.event('message');
      await stream.close();
      return reply;
    }, 1);
    await session.delete();
    const retries = cases({ requestState: '$STATE', inputResponses: { 'elicitation-1': { action: 'accept', content: { a: 'x' } }, who: { action: 'accept', content: {} } } }, ALL);
    await all(retries, async ({ text }) => {
      const { headers, message } = modernRequest('tools/call', { name: 'asked' }, { capabilities: ABLE });
      const asked = await send(`/${name}/mcp`, JSON.stringify(message), headers);
      const [state = '""'] = /(?<="requestState":)"[^"]*"/.exec(asked.text) ?? [];
      const again = JSON.stringify(message).replace('"params":{', () => `"params":{${text.slice(1, -1)},`).replace('"$STATE"', state);
      return send(`/${name}/mcp`, again, headers);
    });
  });
}

/** The headers that repeat what this body says. */
function mirrored(headers: Headers, text: string): Headers {
  const { method, params = {} } = JSON.parse(text) as { method?: unknown; params?: any };
  const said = typeof method === 'string' && /^[ -~]+$/.test(method) ? method : headers['Mcp-Method']!;
  const named = params?.name ?? params?.uri;
  const name = typeof named === 'string' && named.length < 1_000 ? { 'Mcp-Name': `=?base64?${Buffer.from(named).toString('base64')}?=` } : {};
  return { ...headers, 'Mcp-Method': said, ...name };
}

test('a client with a process of its own may say anything in initialize', async () => {
  const values = { '{"toString":1,"valueOf":1,"toJSON":1}': SMALL['{"toString":1,"valueOf":1,"toJSON":1}']!, ...DEEP, null: 'null' };
  await all(cases(INITIALIZE, values, ['jsonrpc', 'id', 'method']), async ({ text }) => {
    const reply = await post(proxy.url('/own/mcp'), text, { Accept: BOTH });
    const id = reply.headers['mcp-session-id'];
    if (id !== undefined) await fetch(proxy.url('/own/mcp'), { method: 'DELETE', headers: { 'Mcp-Session-Id': String(id) } });
    return reply;
  }, 4);
});

// ---- servers

/** What reads the lines: a client of each kind that has declared everything. */
async function readers(name: string): Promise<((args: object) => Promise<Got>)[]> {
  const session = await openSession(scope, proxy, name, { capabilities: ABLE });
  await session.get();
  await session.call('logging/setLevel', { level: 'debug' });
  await proxy.listen(name);
  const call = (args: object): object => ({ jsonrpc: '2.0', id: 'c', method: 'tools/call', params: { name: 'say', arguments: args, _meta: { progressToken: 'tok' } } });
  const modern = (args: object): ReturnType<typeof modernRequest> =>
    modernRequest('tools/call', { name: 'say', arguments: args }, { capabilities: ABLE, logLevel: 'debug', progressToken: 'tok' });
  return [
    (args) => send(`/${name}/mcp`, JSON.stringify(call(args))),
    (args) => send(`/${name}/mcp`, JSON.stringify(call(args)), session.headers),
    (args) => {
      const { headers, message } = modern(args);
      return send(`/${name}/mcp`, JSON.stringify(message), headers);
    },
  ];
}

/** So many lines at a time. */
function lotsOf(list: readonly Case[], size: number): (Case & { readonly lines: string[] })[] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, k) => {
    const lot = list.slice(size * k, size * k + size);
    return { what: `${lot[0]?.what} to ${lot.at(-1)?.what}`, text: '', lines: lot.map(({ text }) => onWire(text)) };
  });
}

for (const name of SERVERS) {
  test(`a ${name} server may say anything of its own accord`, async () => {
    const lots = [...lotsOf(said(LINES, valuesFor(name)), 20), ...lotsOf(huge(LINES.slice(0, 4)), 3)];
    for (const call of await readers(name)) {
      await all(lots, ({ lines }) => call({ lines }), 1);
    }
  });
  test(`a ${name} server may ask anything`, async () => {
    const lots = lotsOf(said(QUESTIONS, valuesFor(name)).map(({ what, text }, k) => ({ what, text: text.replace('"id":"q"', () => `"id":"q${k}"`) })), 50);
    for (const call of await readers(name)) await all(lots, ({ lines }) => call({ lines, delayMs: 25 }), 1);
  });
  test(`a ${name} server may answer anything`, async () => {
    for (const call of await readers(name)) {
      const list = ANSWERS.flatMap((answer) => cases(answer, valuesFor(name), ['jsonrpc', 'id']));
      await all([...list, ...cases(ANSWERS[0]!, HUGE, ['jsonrpc', 'id'])], ({ text }) => call({ answer: onWire(text) }));
    }
  });
}

test('a server may introduce itself with anything', { skip: process.platform === 'win32' }, async (t) => {
  const dir = tempDir(t);
  const templates = {
    legacy: [
      { jsonrpc: '2.0', id: 1, result: { protocolVersion: '2025-11-25', capabilities: { tools: { listChanged: true }, logging: {}, resources: { subscribe: true }, extensions: { e: 1 } }, serverInfo: { name: 'n', version: '1' }, instructions: 'i', _meta: { a: 1 } } },
      { jsonrpc: '2.0', id: 1, error: { code: -1, message: 'm', data: 1 } },
    ],
    modern: [
      { jsonrpc: '2.0', id: 1, result: { supportedVersions: ['2026-07-28'], capabilities: { tools: { listChanged: true }, resources: {}, extensions: { e: 1 }, tasks: {} }, instructions: 'i', resultType: 'complete', ttlMs: 0, cacheScope: 'private', _meta: { [key('serverInfo')]: { name: 'n', version: '1' } } } },
      { jsonrpc: '2.0', id: 1, error: { code: -32022, message: 'm', data: { supported: ['2026-07-28'] } } },
    ],
  };
  // Its first request has the id 1, and a shell that says one thing starts a hundred times sooner than a program.
  const script = 'read -r line; cat "$0"; exec cat >/dev/null';
  const FEW = Object.fromEntries(Object.entries(SOME).filter(([name]) => /toString|null|array|__proto__/.test(name)));
  const servers: Record<string, ServerConfigInput> = {};
  for (const [protocol, messages] of Object.entries(templates)) {
    for (const { text } of messages.flatMap((message) => cases(message, FEW, ['jsonrpc', 'id']))) {
      const [name, file] = [`s${Object.keys(servers).length}`, join(dir, `s${Object.keys(servers).length}`)];
      writeFileSync(file, `${text}\n`);
      servers[name] = { command: '/bin/sh', args: ['-c', script, file], protocol: protocol as 'legacy' | 'modern', maxRestarts: 0 };
    }
  }
  const many = await startProxy(t, servers, { limits: { startConcurrency: 20, requestTimeoutMs: 300, toolsWaitMs: 200, startTimeoutMs: 2_000 } });
  const names = Object.keys(servers);
  await until(async () => Object.values(await many.status()).every(({ status }) => status === 'running' || status === 'error'), 'all have run or failed', 20_000);
  await Promise.all(
    names.map(async (name) => {
      const url = many.url(`/${name}/mcp`);
      const { headers, message } = modernRequest('server/discover');
      for (const reply of [await post(url, initialize('2025-06-18'), { Accept: BOTH }), await post(url, message, headers)]) {
        assert.ok(reply.status === 200 || reply.status === 503 || reply.status === 404, `${name}: ${reply.status} ${reply.text.slice(0, 200)}`);
        assert.doesNotMatch(reply.text, /Internal error/);
      }
    }),
  );
  assert.deepEqual(many.logged('internal').map(({ message }) => message), []);
  assert.deepEqual(uncaught, []);
});

// ---- operators, and what is said beside the body

test('a configuration may have anything in it, from the API and from the file', async (t) => {
  const entry = {
    command: 'no-such-program', args: ['a'], env: { A: 'x' }, disabled: true, autoRestart: true, maxRestarts: 3, isolation: 'shared', protocol: 'auto',
    clientCapabilities: { roots: { a: 1 } }, url: 'u', more: { a: 1 },
  };
  const config = { mcpServers: { a: entry, b: { command: 'no-such-program', maxRestarts: 0 } }, more: { a: 1 } };
  const mine = await startProxy(t, {}, { file: 'written', limits: { configDebounceMs: 5, configPollMs: 20 } });
  for (const { what, text } of [...cases(config, SOME, ['mcpServers']), ...Object.entries({ ...ALL, ...HUGE }).map(([what, text]) => ({ what, text }))]) {
    const reply = await post(mine.url('/api/config'), text);
    assert.ok([200, 400, 413].includes(reply.status), `${what}: ${reply.status} ${reply.text.slice(0, 300)}`);
    assert.equal(typeof (await mine.status()), 'object', what);
  }
  for (const { text } of cases(config, SOME, []).filter(({ what }) => what.startsWith('mcpServers'))) await mine.proxy.reload(JSON.parse(text) as never).catch((error: Error) => assert.equal(error.name, 'ProxyError'));
  for (const [k, text] of [...Object.values(SOME), `{"mcpServers":{"a":{"command":"c","disabled":true,"clientCapabilities":{"a":${DEEP['array20k']}}}}}`].entries()) {
    writeFileSync(mine.path, text);
    await until(() => mine.logged('config_invalid').length > k, `a problem with ${text.slice(0, 40)}`);
  }
  writeFileSync(mine.path, JSON.stringify({ mcpServers: { last: entry } }));
  await mine.becomes('last', 'stopped');
  assert.deepEqual([mine.logged('internal'), uncaught], [[], []]);
});

test('headers, queries and paths may have any text in them', async () => {
  const texts = ['', ' ', ',', ';', '\t', '"', '\xff\xfe', '\xed\xa0\x80', '%', '%00', '__proto__', 'NaN', '1e400', 'q=x', '*/*;q=', '=?base64?!?=', '=?base64?7aCA?=', 'a-1', '0-999999999999999', 'x'.repeat(8_000), '['.repeat(4_000)];
  const names = ['Accept', 'Content-Type', 'Content-Encoding', 'Expect', 'Last-Event-ID', 'MCP-Protocol-Version', 'Mcp-Session-Id', 'Mcp-Method', 'Mcp-Name', 'Mcp-Param-A', 'Authorization', 'Origin', 'Host', 'Access-Control-Request-Headers', 'Upgrade'];
  const session = await openSession(scope, proxy, 'legacy');
  const { headers, message } = modernRequest('tools/call', { name: 'mirrored', arguments: { a: 'x' } }, { headers: { 'Mcp-Param-A': 'x' } });
  const call = JSON.stringify(ask('tools/call', { name: 'mirrored' }));
  const ways: [method: string, path: string, headers: Headers, body?: string][] = [
    ['POST', '/legacy/mcp', {}, call], ['POST', '/legacy/mcp', session.headers, call], ['POST', '/legacy/mcp', headers, JSON.stringify(message)], ['POST', '/legacy/message', {}, call],
    ['GET', '/legacy/mcp', { ...session.headers, Accept: 'text/event-stream' }], ['GET', '/legacy/sse', {}], ['GET', '/api/servers', {}], ['OPTIONS', '/legacy/mcp', {}], ['DELETE', '/legacy/mcp', {}],
  ];
  const list = texts.flatMap((text) => [
    ...ways.flatMap(([method, path, given, body]) => names.map((name) => ({ what: `${method} ${path} ${name}: ${text.slice(0, 20)}`, method, path, headers: { ...given, [name]: text }, body }))),
    ...['/legacy/message?sessionId=', '/legacy/sse?endpoint=', '/legacy/mcp?', '/', '//', '/a/b/'].map((path) => ({ what: `${path}${text.slice(0, 20)}`, method: 'POST', path: path + encodeURI(text.replace(/[^ -~]/g, '')), headers: {} as Headers, body: call })),
    ...['mcp', 'sse', 'message'].map((end) => ({ what: `/${text.slice(0, 20)}/${end}`, method: 'POST', path: `/${text.replace(/[^!-~]/g, '').replaceAll('?', '')}/${end}`, headers: {} as Headers, body: call })),
  ]);
  await all(list.map((each) => ({ ...each, text: '' })), ({ method, path, headers, body }) => knock(method, path, headers, body));
  await session.delete();
});

/** Any request; the answer's status, and the beginning of what it says. */
function knock(method: string, path: string, headers: Headers, body = ''): Promise<Got> {
  return new Promise((resolve, reject) => {
    const req = http.request({ port: proxy.port, host: '127.0.0.1', method, path, agent: false, timeout: 8_000, headers: { Host: `127.0.0.1:${proxy.port}`, 'Content-Length': Buffer.byteLength(body), ...headers } });
    const done = (status: number, text: string): void => {
      resolve({ status, text });
      req.destroy();
    };
    req.on('response', (res) => {
      if (/event-stream/.test(res.headers['content-type'] ?? '')) done(res.statusCode ?? 0, '');
      res.setEncoding('utf8').once('data', (text: string) => done(res.statusCode ?? 0, text)).once('end', () => done(res.statusCode ?? 0, ''));
    });
    req.on('upgrade', () => done(101, '')).on('timeout', () => req.destroy(new Error('no answer'))).on('error', reject);
    req.end(body);
  });
}
