import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProxyError } from '../../src/base/errors.ts';
import type { Profile } from '../../src/protocol/legacy.ts';
import { inputRequired } from '../../src/protocol/input.ts';
import { META, methodNotFound } from '../../src/protocol/methods.ts';
import { discoverResult, isLegacyOnly, lacksCapability, modernFault, readEnvelope, serverInfoOf, stampResult } from '../../src/protocol/modern.ts';
import { latin1 } from '../../src/protocol/text.ts';
import { SPACES } from '../wire/nasty.ts';
import { asking, request, verdict } from './requests.ts';

const VERSION = '2026-07-28';
const INFO = '{"name":"żółw","version":"1.0"}';
const INFO_BYTES = latin1(INFO);

const withMeta = (meta: string) => asking('tools/list', `"_meta":{${meta}}`);
const profile = (era: 'legacy' | 'modern', raw: string, revision = era === 'modern' ? VERSION : '2025-11-25'): Profile => ({
  era,
  revision,
  capabilities: Object(JSON.parse(raw)).capabilities ?? {},
  raw: Buffer.from(raw),
});

test('the envelope of a request is its capabilities and its log level', () => {
  const version = `"${META.protocolVersion}":"${VERSION}"`;
  const capabilities = `"${META.clientCapabilities}":`;
  const cases: [meta: string, expected: unknown][] = [
    [`${version},${capabilities}{}`, { clientCapabilities: {}, logLevel: undefined }],
    [`${capabilities}{"roots":{},"x":"ż"},"${META.logLevel}":"debug",${version}`, { clientCapabilities: { roots: {}, x: 'ż' }, logLevel: 0 }],
    [`${version},${capabilities}{},"${META.logLevel}":"emergency","${META.clientInfo}":7`, { clientCapabilities: {}, logLevel: 7 }],
    [version, [400, -32602, `Missing _meta: ${META.clientCapabilities}`]],
    ...['null', '[]', '"x"', '1', 'true'].map((value): [string, unknown] => [`${version},${capabilities}${value}`, [400, -32602, `Invalid _meta: ${META.clientCapabilities} must be an object`]]),
    ...['null', '"loud"', '"Debug"', '""', '1', '{}'].map((level): [string, unknown] => [`${version},${capabilities}{},"${META.logLevel}":${level}`, [400, -32602, `Invalid _meta: ${META.logLevel} is no log level`]]),
  ];
  for (const [meta, expected] of cases) {
    const got = readEnvelope(withMeta(meta));
    assert.deepEqual(got instanceof ProxyError ? verdict(got) : got, expected, meta);
  }
  assert.ok(readEnvelope(request('{"jsonrpc":"2.0","id":1,"method":"m"}')) instanceof ProxyError);
});

test('a method that is not there is told before the start, after it, or by the child', () => {
  for (const method of ['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe', 'tasks/list', 'tasks/result']) assert.equal(isLegacyOnly(method), true, method);
  const modern = ['server/discover', 'tools/list', 'tools/call', 'prompts/list', 'prompts/get', 'resources/list', 'resources/read', 'resources/templates/list'];
  const others = [...modern, 'completion/complete', 'subscriptions/listen', 'tasks/get', 'tasks/update', 'tasks/cancel', 'vendor/method', 'constructor', ''];
  for (const method of others) assert.equal(isLegacyOnly(method), false, method);

  const having = (capabilities: string, era: 'legacy' | 'modern' = 'modern', revision?: string) => profile(era, `{"capabilities":${capabilities}}`, revision);
  for (const family of ['tools', 'prompts', 'resources']) {
    for (const method of [`${family}/list`, `${family}/vendor`]) {
      assert.equal(lacksCapability(method, having(`{"${family}":{}}`)), false);
      for (const none of ['{}', `{"${family}":null}`, `{"${family}":true}`]) assert.equal(lacksCapability(method, having(none)), true, none);
    }
  }
  const completing: [Profile, boolean][] = [
    [having('{"completions":{}}'), false],
    [having('{}'), true],
    [having('{}', 'legacy', '2025-03-26'), true],
    [having('{}', 'legacy', '2024-11-05'), false], // the capability did not exist yet
  ];
  for (const [child, lacks] of completing) assert.equal(lacksCapability('completion/complete', child), lacks);
  assert.equal(lacksCapability('tasks/get', having('{"tasks":{}}', 'legacy')), true);
  assert.equal(lacksCapability('tasks/get', having('{}')), false);
  for (const method of ['server/discover', 'subscriptions/listen', 'vendor/method', 'toolsx/list', 'tools']) assert.equal(lacksCapability(method, having('{}')), false, method);
  assert.deepEqual(verdict(methodNotFound('x/y', 404)), [404, -32601, 'Method not found: x/y']);
});

const TYPE = '"resultType":"complete"';
const STAMP = `"_meta":{"${META.serverInfo}":${INFO}}`;

test('a result gets what a modern one has, and keeps what it has', () => {
  const info = `"${META.serverInfo}"`;
  const cache = '"ttlMs":0,"cacheScope":"private"';
  const cases: [method: string, result: string, expected: string][] = [
    ['tools/call', '{}', `{${TYPE},${STAMP}}`],
    ['tools/call', '{"content":[]}', `{${TYPE},${STAMP},"content":[]}`],
    ['tools/call', '{"resultType":"complete","ttlMs":-1}', `{${STAMP},"resultType":"complete","ttlMs":-1}`],
    ['tools/call', '{"resultType":"input_required","requestState":"x"}', `{${STAMP},"resultType":"input_required","requestState":"x"}`],
    ['tools/call', '{"resultType":"task"}', `{${STAMP},"resultType":"task"}`],
    ['tools/call', '{"resultType":null}', `{${STAMP},${TYPE}}`],
    ['x/y', `{"_meta":{},${TYPE}}`, `{${STAMP},${TYPE}}`],
    ['x/y', `{${TYPE},"_meta":{"a":9007199254740993}}`, `{${TYPE},"_meta":{${info}:${INFO},"a":9007199254740993}}`],
    ['x/y', `{${TYPE},"_meta":{${info}:{"name":"own"}}}`, `{${TYPE},"_meta":{${info}:{"name":"own"}}}`],
    ...['null', '"x"', '[]', '1'].map((bad): [string, string, string] => ['x/y', `{${TYPE},"_meta":{${info}:${bad},"a":1}}`, `{${TYPE},"_meta":{${info}:${INFO},"a":1}}`]),
    ...['null', '"x"', '[]', '1', '[{}]'].map((bad): [string, string, string] => ['x/y', `{${TYPE},"_meta":${bad},"a":1}`, `{${TYPE},${STAMP},"a":1}`]),
    ...['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'resources/read'].flatMap((method): [string, string, string][] => [
      [method, '{"nextCursor":"c"}', `{${TYPE},${cache},${STAMP},"nextCursor":"c"}`],
      [method, '{"ttlMs":60000,"cacheScope":"public"}', `{${TYPE},${STAMP},"ttlMs":60000,"cacheScope":"public"}`],
      [method, '{"resultType":"input_required"}', `{${STAMP},"resultType":"input_required"}`],
      [method, '{"resultType":7}', `{${cache},${STAMP},${TYPE}}`],
      ...['-1', '1.5', '"5"', 'null', '1e400', '[]'].map((ttl): [string, string, string] => [method, `{"ttlMs":${ttl},"cacheScope":"private"}`, `{${TYPE},${STAMP},${cache}}`]),
      ...['"Public"', '""', 'null', '{}'].map((scope): [string, string, string] => [method, `{"ttlMs":0,"cacheScope":${scope}}`, `{${TYPE},${STAMP},${cache}}`]),
    ]),
    ['server/discover', '{"supportedVersions":["2025-11-25","2026-07-28"]}', `{${TYPE},${cache},${STAMP},"supportedVersions":["2026-07-28"]}`],
  ];
  for (const [method, result, expected] of cases) {
    for (const space of SPACES) {
      const answer = (text: string) => `{"jsonrpc":"2.0","id":1,"result":${space}${text}${space}}`;
      assert.equal(stampResult(Buffer.from(answer(result)), method, INFO_BYTES).toString(), answer(expected), `${method} ${result}`);
      assert.equal(stampResult(Buffer.from(answer(expected)), method, INFO_BYTES).toString(), answer(expected)); // once is enough
    }
  }
});

test('without an identity none is made up, and what is no result passes as it came', () => {
  const stamped = stampResult(Buffer.from('{"id":1,"result":{"_meta":{"a":1}},"jsonrpc":"2.0"}'), 'x/y', undefined);
  assert.equal(stamped.toString(), `{"id":1,"result":{${TYPE},"_meta":{"a":1}},"jsonrpc":"2.0"}`);
  for (const rest of ['"error":{"code":1,"message":"m"}', '"result":null', '"result":[]', '"result":"{}"', '"result":1']) {
    const answer = Buffer.from(`{"jsonrpc":"2.0","id":1,${rest}}`);
    assert.equal(stampResult(answer, 'tools/list', INFO_BYTES), answer, rest);
  }
  for (const nonsense of ['', '{', '{"result":{', '{"result":{"_meta":{', '[]', 'x']) stampResult(Buffer.from(nonsense), 'tools/list', INFO_BYTES);
});

test('a child is known by the name that it gives, each era in its place', () => {
  const told = (era: 'legacy' | 'modern', raw: string) => serverInfoOf(profile(era, raw));
  const meta = (info: string) => `{"capabilities":{},"_meta":{"${META.serverInfo}":${info}}}`;
  assert.equal(told('legacy', `{"serverInfo":${INFO},"_meta":{}}`), INFO_BYTES);
  assert.equal(told('modern', meta(INFO)), INFO_BYTES);
  assert.equal(told('modern', `{"serverInfo":${INFO}}`), undefined);
  assert.equal(told('legacy', meta(INFO)), undefined);
  for (const bad of ['null', '"x"', '{}', '{"name":"x"}', '{"name":1,"version":"1"}', '[]']) {
    assert.equal(told('legacy', `{"serverInfo":${bad}}`), undefined, bad);
    assert.equal(told('modern', meta(bad)), undefined, bad);
  }
});

test('every child can be discovered: a modern one as it says, a legacy one by what it said at initialize', () => {
  const discovered = (era: 'legacy' | 'modern', raw: string) => JSON.parse(discoverResult(profile(era, raw)).toString()) as unknown;
  const common = { resultType: 'complete', ttlMs: 0, cacheScope: 'private', supportedVersions: [VERSION] };
  const identity = { [META.serverInfo]: JSON.parse(INFO) as unknown };
  const capabilities = { tools: { listChanged: true }, logging: {}, resources: { subscribe: true }, experimental: { tasks: {} } };
  assert.deepEqual(
    discovered('legacy', JSON.stringify({ protocolVersion: '2025-06-18', capabilities: { ...capabilities, tasks: {} }, serverInfo: JSON.parse(INFO), instructions: 'ż', _meta: { a: 1 } })),
    { ...common, capabilities, instructions: 'ż', _meta: { a: 1, ...identity } },
  );
  assert.deepEqual(discovered('legacy', `{"protocolVersion":"2024-11-05"}`), { ...common, capabilities: {} });
  assert.deepEqual(discovered('legacy', `{"protocolVersion":"2024-11-05","serverInfo":7,"capabilities":[]}`), { ...common, capabilities: {} });
  const own = { resultType: 'complete', ttlMs: 5, cacheScope: 'public', capabilities: { extensions: { 'io.modelcontextprotocol/tasks': {} } }, _meta: identity };
  assert.deepEqual(discovered('modern', JSON.stringify({ supportedVersions: ['2025-11-25', VERSION], ...own })), { ...own, supportedVersions: [VERSION] });
  assert.deepEqual(discovered('modern', `{"supportedVersions":["${VERSION}"],"capabilities":{}}`), { ...common, capabilities: {} });
});

test("a child's error is put in the words of the modern revision, with its HTTP status", () => {
  const error = (code: string, more = '') => `{"code":${code},"message":"ż"${more}}`;
  const answer = (text: string) => `{"jsonrpc":"2.0","id":"1","error":${text}}`;
  const wrapped = (text: string) =>
    answer(`{"code":-32603,"message":"The server answered with an error of another revision of MCP","data":{"source":"mcp-proxy","reason":"bad_answer","originalError":${text}}}`);
  const same = [-32700, -32600, -32602, -32603, -32000, -32001, -32019, -32100, 1, 0];
  const reserved = [-32020, -32021, -32022, -32023, -32042, -32050, -32099];
  const cases: [era: 'legacy' | 'modern', code: string, status: number, to: (text: string) => string][] = [
    ...same.flatMap((code) => (['legacy', 'modern'] as const).map((era): [typeof era, string, number, typeof answer] => [era, `${code}`, 200, answer])),
    ...reserved.map((code): ['legacy', string, number, typeof wrapped] => ['legacy', `${code}`, 200, wrapped]),
    ['legacy', '-32002', 200, (text) => answer(text.replace('-32002', '-32602'))],
    ['modern', '-32002', 200, answer],
    ['modern', '-32020', 200, wrapped],
    ['modern', '-32022', 200, wrapped],
    ['modern', '-32021', 400, answer],
    ...[-32023, -32042, -32099].map((code): ['modern', string, number, typeof answer] => ['modern', `${code}`, 200, answer]),
    ['modern', '"x"', 200, answer],
    ['legacy', 'null', 200, answer],
  ];
  for (const [era, code, status, to] of cases) {
    for (const more of ['', ',"data":{"requiredCapabilities":{"x":9007199254740993},"code":-32002}', ',"data":null']) {
      const got = modernFault(Buffer.from(answer(error(code, more))), era, 'tools/call');
      assert.ok(got?.is === 'error', `${era} ${code}`);
      assert.deepEqual([got.status, got.answer.toString()], [status, to(error(code, more))], `${era} ${code}`);
    }
  }
  const missing = answer(error('-32601'));
  for (const era of ['legacy', 'modern'] as const) {
    for (const method of ['tools/call', 'prompts/get', 'resources/read', 'completion/complete', 'tools/list', 'vendor/x', 'server/discover', 'tasks/get']) {
      const got = modernFault(Buffer.from(missing), era, method);
      assert.ok(got?.is === 'error');
      assert.equal(got.status, ['tools/call', 'prompts/get', 'resources/read', 'completion/complete'].includes(method) ? 200 : 404, method);
      assert.equal(got.answer.toString(), missing);
    }
  }
  assert.equal(modernFault(Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"error":{"code":-32002}}}'), 'legacy', 'x'), undefined);
  assert.deepEqual(modernFault(Buffer.from('{"error":1}'), 'legacy', 'x')?.is, 'error');
});

test('a legacy child that wants URLs opened has its client asked for them', () => {
  const fault = (data: string) => modernFault(Buffer.from(`{"jsonrpc":"2.0","id":1,"error":{"code":-32042,"message":"m","data":${data}}}`), 'legacy', 'tools/call');
  const got = fault('{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://a","message":"ż"}, {"message":"n","mode":"url","url":"https://b","x":1e400}]}');
  assert.ok(got?.is === 'ask');
  assert.equal(
    inputRequired(got.requests, undefined).toString(),
    '{"resultType":"input_required","inputRequests":{"elicitation-1":{"method":"elicitation/create","params":{"mode":"url","url":"https://a","message":"ż"}},' +
      '"elicitation-2":{"method":"elicitation/create","params":{"message":"n","mode":"url","url":"https://b","x":1e400}}}}',
  );
  const modern = Buffer.from('{"error":{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url","url":"u","message":"m"}]}}}');
  assert.deepEqual(modernFault(modern, 'modern', 'tools/call'), { is: 'error', answer: modern, status: 200 });
  for (const data of ['null', '{}', '[]', '{"elicitations":null}', '{"elicitations":[]}', '{"elicitations":[1]}', '{"elicitations":[{"mode":"form","url":"u","message":"m"}]}', '{"elicitations":[{"mode":"url","url":"u"}]}']) {
    const wrong = fault(data);
    assert.ok(wrong?.is === 'error', data);
    assert.equal((JSON.parse(wrong.answer.toString()) as { error: { code: number } }).error.code, -32603);
  }
});
