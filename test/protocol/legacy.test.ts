import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as legacy from '../../src/protocol/legacy.ts';
import { forwardedParams, initializeParams, legacyEdits, type Profile } from '../../src/protocol/legacy.ts';
import { splice } from '../../src/wire/envelope.ts';
import { readMessage } from '../../src/wire/jsonrpc.ts';

const written = (value: unknown) => Buffer.from(JSON.stringify(value) ?? '');
const readInitializeResult = (result: unknown) => legacy.readInitializeResult(result, written(result));
const initializeResult = (profile: Profile, requested: unknown) => JSON.parse(legacy.initializeResult(profile, requested).toString());
const VERSIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'];

test('a shared child is offered the newest legacy revision, and only capabilities that any client can stand for', () => {
  assert.deepEqual(initializeParams({ name: 'proxy', version: '1' }), {
    protocolVersion: '2025-11-25',
    capabilities: { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} },
    clientInfo: { name: 'proxy', version: '1' },
  });
});

test("a child of one session is offered what its client offers, at a version that the proxy can carry, but not under the client's progress token", () => {
  const params = { capabilities: { roots: {} }, clientInfo: { name: 'c' }, more: 1 };
  const offered = (given: object): unknown => JSON.parse(JSON.stringify(forwardedParams({ ...params, ...given })));
  assert.deepEqual(offered({ protocolVersion: '2025-06-18' }), { ...params, protocolVersion: '2025-06-18' });
  assert.deepEqual(offered({ protocolVersion: '1999' }), { ...params, protocolVersion: '2025-11-25' });
  assert.deepEqual(offered({ protocolVersion: '2025-03-26', _meta: { progressToken: 1, trace: 2 } }), { ...params, protocolVersion: '2025-03-26', _meta: { trace: 2 } });
});

test('a child may answer initialize with any legacy revision, whatever else it says', () => {
  for (const protocolVersion of VERSIONS) {
    const result = { protocolVersion, capabilities: { tools: { listChanged: true }, tasks: {} }, serverInfo: { name: 's' }, vendor: [1] };
    assert.deepEqual(readInitializeResult(result), { era: 'legacy', revision: protocolVersion, capabilities: result.capabilities, raw: written(result) });
    for (const capabilities of [undefined, null, [], 'tools', 1, true]) {
      assert.deepEqual((readInitializeResult({ protocolVersion, capabilities }) as Profile).capabilities, {});
    }
  }
});

test('a child that answers initialize with anything else is told apart by what is wrong', () => {
  for (const result of [undefined, null, true, 0, '', '2025-11-25', [], [{ protocolVersion: '2025-11-25' }]]) {
    assert.equal(readInitializeResult(result), 'answered initialize with something that is no object');
  }
  for (const protocolVersion of [undefined, null, '', '2026-07-28', '1999-01-01', 'v1', ' 2025-11-25', 20251125, ['2025-11-25']]) {
    assert.equal(readInitializeResult({ protocolVersion, capabilities: {} }), 'answered initialize with a protocol version that the proxy does not know');
  }
});

test("a client gets the child's result at the revision that it asked for, or at the newest legacy one, and never sees tasks", () => {
  const rest = { serverInfo: { name: 's', version: '9' }, instructions: 'ż', vendor: { a: [1] } };
  const capabilities = { tools: { listChanged: true }, logging: {}, experimental: { tasks: 1 } };
  for (const spoken of VERSIONS) {
    const result = { protocolVersion: spoken, capabilities: { ...capabilities, tasks: { list: {} } }, ...rest };
    const before = structuredClone(result);
    const profile = readInitializeResult(result) as Profile;
    for (const requested of VERSIONS) assert.deepEqual(initializeResult(profile, requested), { protocolVersion: requested, capabilities, ...rest });
    for (const requested of [undefined, null, '', '2026-07-28', '1999-01-01', 1, {}]) {
      assert.deepEqual(initializeResult(profile, requested), { protocolVersion: '2025-11-25', capabilities, ...rest });
    }
    assert.deepEqual(result, before);
  }
  assert.deepEqual(initializeResult(readInitializeResult({ protocolVersion: '2024-11-05' }) as Profile, '2024-11-05'), { protocolVersion: '2024-11-05', capabilities: {} });
});

test('a legacy child sees nothing of how a modern client speaks and everything else as it was written: every choice of members', () => {
  const prefix = 'io.modelcontextprotocol/';
  const inMeta = [
    `"${prefix}protocolVersion":"2026-07-28"`,
    `"${prefix}clientInfo":{}`,
    '"progressToken":9007199254740993',
    `"io.modelcontextprotocol\\/log\\u004cevel":"debug"`,
    '"traceparent":"\\u0030"',
    `"${prefix}clientCapabilitiesX":1`,
  ];
  const inParams = ['"name":"x"', '"inputResponses":{"_meta":{}}', '"requestState":"}"', '"arguments":{"requestState":1e400,"_meta":{}}'];
  for (const space of ['', ' ']) {
    for (const params of subsets(inParams)) {
      for (const meta of [undefined, ...subsets(inMeta)]) {
        const list = meta === undefined ? params : [...params, `"_meta":${space}{${meta.join(`${space},${space}`)}}`];
        const raw = Buffer.from(`{"jsonrpc":"2.0","method":"m","params":${space}{${list.join(`${space},${space}`)}}${space}}`);
        const message = readMessage(raw, { maxBatch: 1, maxMembers: 100 });
        assert.ok(message.kind === 'notification');
        const edits = legacyEdits(message);
        const sent = splice(raw, edits).toString();

        const keptMeta = meta?.filter((member) => !/protocolVersion|clientInfo|u004c/.test(member));
        const kept = params.filter((member) => !/^"(inputResponses|requestState)/.test(member));
        if (keptMeta !== undefined && (keptMeta.length > 0 || meta?.length === 0)) kept.push(`"_meta":{${keptMeta}}`);
        // White space between the members may go, but the members stay letter by letter.
        assert.equal(sent.replaceAll(' ', ''), `{"jsonrpc":"2.0","method":"m","params":{${kept}}}`);
        JSON.parse(sent);
        if (kept.length === list.length && keptMeta?.length === meta?.length) assert.deepEqual(edits, []);
      }
    }
  }
});

test('a message without params has nothing to hide', () => {
  for (const rest of ['', ',"requestState":1', ',"params":{"_meta":"io.modelcontextprotocol/logLevel"}']) {
    const text = `{"jsonrpc":"2.0","method":"m"${rest}}`;
    const message = readMessage(Buffer.from(text), { maxBatch: 1, maxMembers: 100 });
    assert.ok(message.kind === 'notification');
    assert.deepEqual(legacyEdits(message), []);
  }
});

function subsets<T>(list: readonly T[]): T[][] {
  return Array.from({ length: 2 ** list.length }, (_, mask) => list.filter((_, k) => mask & (1 << k)));
}

test("a tools/list answer of any shape loses its tools' execution, or passes as it is", () => {
  const passes = [
    '{"id":1,"result":{"tools":"[]","x":"execution"}}',
    '{"id":1,"result":{"tools":["",{"x":"execution"}]}}',
    '{"id":1,"result":["tools",{"execution":{}}]}',
    '{"id":1,"result":{"tools":[}"execution"}',
    '{"id":1,"result":{"\\q":1,"tools":[{"execution"]}',
    '["execution"]',
    '{"execution":{}}',
  ];
  for (const text of passes) assert.equal(legacy.withoutExecution(Buffer.from(text)).toString(), text);
  const text = '{"id":1,"result":{"tools":["",{"name":"a","execution":{"taskSupport":"required"}},7]}}';
  assert.equal(legacy.withoutExecution(Buffer.from(text)).toString(), '{"id":1,"result":{"tools":["",{"name":"a"},7]}}');
});
