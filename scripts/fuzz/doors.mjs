// What comes from outside: requests and their headers, paths, bodies, configurations. Whatever it is, it is taken or refused,
// and never anything but a ProxyError is thrown.
// @ts-check

import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { Dice } from './dice.mjs';
import { FakeClock, settled } from './system.mjs';
import { Texts } from './texts.mjs';

/** @typedef {any} Source */

const BOUNDS = { maxBatch: 3, maxMembers: 100 };
const VERDICTS = ['simple', 'initialize', 'modern', 'session', 'refused'];
const VERSIONS = [undefined, undefined, '2026-07-28', '2025-11-25', '2025-03-26', '2024-11-05', ' 2026-07-28 ', '2026-07-28, 2026-07-28', '1', '', 'ż'];

/** One body and its headers. */
export function requests(/** @type {Source} */ source, /** @type {number} */ seed) {
  const dice = new Dice(seed);
  const texts = new Texts(dice);
  const text = dice.once(6) ? `[${Array.from({ length: dice.roll(5) }, () => texts.message())}]` : texts.message();
  const body = source.readMessage(dice.once(8) ? texts.spoilt(text) : Buffer.from(text), BOUNDS);
  const evidence = { version: dice.of(VERSIONS), session: dice.of([undefined, undefined, 'a', '']) };
  for (const verdict of [source.classify(body, evidence), source.classifyInline(body, evidence.version)]) {
    assert.ok(VERDICTS.includes(verdict.is));
    assert.equal(verdict.is === 'refused', verdict.error instanceof source.ProxyError);
    if (verdict.is === 'refused') JSON.stringify(verdict.error.toRpc());
    if (body.kind === 'malformed') assert.equal(verdict.is, 'refused');
    // What the body claims to be must not be taken for something else.
    if (verdict.is === 'modern') assert.ok(text.includes('2026-07-28') || evidence.version?.includes('2026-07-28'));
    if (verdict.is === 'session') assert.equal(verdict.session, evidence.session);
  }
  if (body.kind !== 'request') return 1;
  const header = () => dice.of([undefined, '', 'a', body.method, '=?base64?YQ==?=', '=?base64?w?=', 'ż', ['a', 'b']]);
  const headers = { 'mcp-protocol-version': evidence.version, 'mcp-method': dice.once(2) ? body.method : header(), 'mcp-name': header(), 'mcp-param-a': header() };
  for (const refusal of [source.readEnvelope(body), source.checkHeaders(body, headers), source.checkParamHeaders([{ header: 'A', path: ['name', 'id'] }], body, headers)]) {
    if (refusal instanceof Error) assert.ok(refusal instanceof source.ProxyError);
  }
  assert.equal(source.retryKey(body), source.retryKey(body));
  for (const { header, path } of source.paramHeaders(JSON.parse(texts.object({ inputSchema: texts.value(4) })))) assert.ok(header !== '' && path.length > 0);
  for (const each of ['sampling/createMessage', 'elicitation/create', 'roots/list']) assert.ok(['string', 'undefined'].includes(typeof source.inputResponseProblem(each, JSON.parse(texts.value()))));
  const accepts = source.parseAccept(Array.from({ length: dice.roll(4) }, () => dice.of(['*/*', 'application/json', 'text/event-stream', ';q=0', ';q=x', ',', ' ', 'a/b;c="d,e"'])).join(dice.of(['', ', '])));
  assert.deepEqual(Object.values(accepts).map((each) => typeof each), ['boolean', 'boolean', 'boolean']);
  return 1;
}

/** One path: a server has it under its name, whatever that is. */
export function paths(/** @type {Source} */ source, /** @type {number} */ seed) {
  const dice = new Dice(seed);
  const handle = () => {};
  const patterns = ['/health', '/api/servers', '/api/servers/:server/restart', '/:server/mcp', '/:server/sse'];
  const routes = patterns.flatMap((pattern) => ['GET', 'POST'].slice(dice.roll(2)).map((method) => source.route(method, pattern, handle)));
  const name = Array.from({ length: 1 + dice.roll(5) }, () => dice.of(['a', 'ż', '%', '%2F', '🦊', ' ', '.', '?', '#', 'mcp', 'api', '\\', '+', '__proto__'])).join('');
  const found = source.match(routes, 'POST', `/${encodeURIComponent(name)}/mcp${dice.of(['', '/'])}`);
  assert.deepEqual([found.is, found.params?.server], ['found', name]);
  const path = Array.from({ length: dice.roll(8) }, () => dice.of(['/', '/', 'a', 'api', 'servers', 'mcp', '%', '%zz', '%00', '%c5', '..', '', 'health', 'restart'])).join('');
  const other = source.match(routes, dice.of(['GET', 'PUT', '']), path);
  assert.ok(['found', 'method', 'none'].includes(other.is));
  if (other.is === 'method') assert.ok(other.allow.length > 0);
  return 1;
}

/** One body as it comes in, whole or not: it is read or refused once, and nothing of it is left. */
export async function bodies(/** @type {Source} */ source, /** @type {number} */ seed) {
  const dice = new Dice(seed);
  const clock = new FakeClock();
  const limits = { maxBodyBytes: 20, bodyTimeoutMs: 50, discardBytes: 30, discardMs: 40 };
  const headers = {
    'content-type': dice.of([undefined, 'application/json', 'application/json; charset=utf-8', 'APPLICATION/JSON', 'text/plain', ';', '']),
    'content-length': dice.of([undefined, undefined, '5', '21', 'x', '-1', '1e9']),
    'content-encoding': dice.of([undefined, undefined, undefined, 'identity', 'gzip']),
  };
  let closed = false;
  const req = Object.assign(new EventEmitter(), {
    headers,
    complete: false,
    resume() {},
    destroy() {
      if (!closed) queueMicrotask(() => close());
    },
  });
  const close = () => {
    if (closed) return;
    closed = true;
    req.emit('close');
  };
  /** @type {unknown[]} */
  const outcomes = [];
  const deadlines = new source.Deadlines(clock);
  source.readJsonBody(req, { writeContinue() {} }, { deadlines, limits }).then(
    (/** @type {Buffer} */ body) => outcomes.push(body.toString()),
    (/** @type {unknown} */ error) => outcomes.push(error),
  );
  let sent = '';
  for (let steps = dice.roll(7); steps > 0 && !closed && !req.complete; steps--) {
    const chunk = 'abcdefghij'.slice(dice.roll(10));
    switch (dice.roll(8)) {
      case 0:
        close();
        break;
      case 1:
        await clock.advance(30);
        break;
      case 2:
        req.complete = true;
        req.emit('end');
        break;
      default:
        sent += chunk;
        req.emit('data', Buffer.from(chunk));
    }
    await settled();
  }
  if (req.complete && outcomes.length === 1 && typeof outcomes[0] === 'string') assert.equal(outcomes[0], sent);
  await clock.advance(100);
  close();
  await settled();
  assert.equal(outcomes.length, 1);
  assert.ok(typeof outcomes[0] === 'string' || outcomes[0] instanceof source.ProxyError, String(outcomes[0]));
  await clock.advance(1_000);
  assert.equal(clock.armed, 0);
  return 1;
}

const SECRET = 'hunter2-';

/** One configuration: it is taken, or every problem has a path, and no problem shows a value. */
export function configs(/** @type {Source} */ source, /** @type {number} */ seed) {
  const dice = new Dice(seed);
  const texts = new Texts(dice);
  const secret = JSON.stringify(SECRET);
  const any = (/** @type {string} */ right) => (dice.once(4) ? dice.of([texts.value(), secret, `[${secret}]`, `{"k":${secret}}`]) : right);
  const entry = () =>
    any(
      texts.object(
        {
          ...(dice.once(6) ? {} : { command: any('"node"') }),
          args: any('["a"]'),
          env: any(`{"K":${secret}}`),
          maxRestarts: any('3'),
          ...(dice.once(2) && { isolation: any('"session"'), protocol: any('"auto"'), disabled: any('true'), clientCapabilities: any('{}') }),
        },
        1,
      ),
    );
  const json = JSON.parse(any(texts.object({ mcpServers: any(texts.object({ a: entry(), 'b c': entry() }, 1)) }, 1)));
  const { config, problems } = source.parseConfig(json, 5);
  assert.notEqual(config === undefined, problems === undefined);
  if (config === undefined) {
    assert.ok(problems.length > 0);
    for (const problem of problems) assert.ok(!problem.includes(SECRET), problem);
    return 1;
  }
  assert.deepEqual([...config.servers.keys()], Object.keys(json.mcpServers));
  for (const server of config.servers.values()) {
    assert.ok(server.args.every((/** @type {unknown} */ arg) => typeof arg === 'string'));
    assert.ok(Object.values(server.env).every((value) => typeof value === 'string'));
    assert.ok(Number.isSafeInteger(server.maxRestarts) && server.maxRestarts >= 0);
  }
  const { kept, ...others } = source.diffConfig(config.servers, config.servers);
  assert.deepEqual([kept.length, ...Object.values(others).map(({ length }) => length)], [config.servers.size, 0, 0, 0]);
  return 1;
}
