import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { match, route, type Route } from '../../src/http/router.ts';

const req = {} as IncomingMessage;
const res = {} as ServerResponse;
const handled: unknown[][] = [];
const note = (name: string) => (...given: [IncomingMessage, ServerResponse, unknown]) => void handled.push([name, ...given]);

const routes: readonly Route[] = [
  route('GET', '/', note('root')),
  route('GET', '/health', note('health')),
  route('HEAD', '/health', note('head of health')),
  route('GET', '/api/servers', note('servers')),
  route('POST', '/api/servers/:server/restart', note('restart')),
  route('POST', '/:server/mcp', note('post')),
  route('GET', '/:server/sse', note('stream')),
  route('GET', '/deep/:what/:which', note('deep')),
  route('GET', '/health', note('never reached')),
];

/** Which handler a request reaches with which parameters, the methods that its path has instead, or none. */
function reach(method: string, path: string): unknown {
  const found = match(routes, method, path);
  if (found.is !== 'found') return found.is === 'method' ? found.allow : found.is;
  void found.route.handle(req, res, found.params);
  const [name, withReq, withRes, params] = handled.pop()!;
  assert.ok(withReq === req && withRes === res);
  return [name, { ...(params as object) }];
}

test('a path leads to the first route of its method, with the request, the response and its parameters', () => {
  assert.deepEqual(reach('GET', '/'), ['root', {}]);
  assert.deepEqual(reach('GET', '/health'), ['health', {}]);
  assert.deepEqual(reach('HEAD', '/health'), ['head of health', {}]);
  assert.deepEqual(reach('GET', '/api/servers'), ['servers', {}]);
  assert.deepEqual(reach('POST', '/api/servers/fs/restart'), ['restart', { server: 'fs' }]);
  assert.deepEqual(reach('POST', '/fs/mcp'), ['post', { server: 'fs' }]);
  assert.deepEqual(reach('GET', '/fs/sse'), ['stream', { server: 'fs' }]);
  assert.deepEqual(reach('GET', '/deep/b/c'), ['deep', { what: 'b', which: 'c' }]);
});

test('one trailing slash is ignored, a second one is not', () => {
  for (const [method, path] of [['GET', '/health'], ['GET', '/api/servers'], ['POST', '/fs/mcp'], ['GET', '/deep/b/c'], ['POST', '/api/servers/x/restart']] as const) {
    assert.notEqual(reach(method, path), 'none');
    assert.deepEqual(reach(method, `${path}/`), reach(method, path));
    assert.equal(reach(method, `${path}//`), 'none');
  }
});

test('a known path with another method has the methods that it allows, each once', () => {
  assert.deepEqual(reach('POST', '/health'), ['GET', 'HEAD']);
  assert.deepEqual(reach('DELETE', '/health/'), ['GET', 'HEAD']);
  assert.deepEqual(reach('HEAD', '/fs/sse'), ['GET']);
  assert.deepEqual(reach('POST', '/fs/sse'), ['GET']);
  assert.deepEqual(reach('GET', '/fs/mcp'), ['POST']);
  assert.deepEqual(reach('get', '/health'), ['GET', 'HEAD']);
  assert.deepEqual(reach('', '/health'), ['GET', 'HEAD']);
  assert.deepEqual(reach('OPTIONS', '/deep/b/c'), ['GET']);
});

test('anything else is no route', () => {
  const paths = [
    '', '/nothing', '/fs', '/fs/', '/fs/MCP', '/Health', '/health/x', '/fs/mcp/x', '/deep/b', '/deep/b/c/d', '/deep//c',
    '//mcp', '//health', '/api/servers//restart', 'health', '/fs/mcp?x=1', '/%68ealth', '/fs/m%63p',
  ];
  for (const path of paths) {
    for (const method of ['GET', 'POST']) assert.equal(reach(method, path), 'none', `${method} ${path}`);
  }
});

test('a parameter is percent-decoded once', () => {
  const names: readonly (readonly [segment: string, name: string])[] = [
    ['a%20b', 'a b'],
    ['%C5%BC%c3%b3', 'żó'],
    ['%F0%9F%A6%8A', '🦊'],
    ['a%2Fb', 'a/b'],
    ['%2e%2e', '..'],
    ['%252e', '%2e'],
    ['%2525', '%25'],
    ['a+b', 'a+b'],
    ['%00', '\0'],
    ['%3Fx', '?x'],
    ['żó', 'żó'],
    ['api', 'api'],
    ['__proto__', '__proto__'],
    ['constructor', 'constructor'],
  ];
  for (const [segment, name] of names) assert.deepEqual(reach('POST', `/${segment}/mcp`), ['post', { server: name }]);
  for (const name of [...names.map(([, name]) => name), '%', 'a%zz', '50%25', 'ż/ó?#&=+"\\']) {
    assert.deepEqual(reach('GET', `/${encodeURIComponent(name)}/sse`), ['stream', { server: name }]);
  }
});

test('a stray percent sign names nothing', () => {
  for (const segment of ['%', '%2', '%zz', 'a%', '%C5', '%ff', '%C0%AF', '%ED%A0%80', 'a%20%']) assert.equal(reach('POST', `/${segment}/mcp`), 'none', segment);
});

test('parameters are nothing but themselves', () => {
  const odd = [route('GET', '/:__proto__/:toString', () => {})];
  const found = match(odd, 'GET', '/a/b');
  assert.ok(found.is === 'found');
  assert.deepEqual(Object.entries(found.params), [['__proto__', 'a'], ['toString', 'b']]);
  const one = match(routes, 'POST', '/fs/mcp');
  assert.ok(one.is === 'found');
  assert.equal(one.params['constructor'], undefined);
});

test('a handler knows the parameters of its pattern by name, and who calls it gets its promise', async () => {
  const found = match([route('GET', '/:x/and/:y', async (_req, _res, { x, y }) => assert.fail(`${x} ${y}`))], 'GET', '/no/and/why');
  assert.ok(found.is === 'found');
  await assert.rejects(async () => found.route.handle(req, res, found.params), /no why/);
});
