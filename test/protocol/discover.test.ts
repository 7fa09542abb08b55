import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../../src/config/limits.ts';
import { discoverParams, readDiscoverResult } from '../../src/protocol/discover.ts';
import { readMessage } from '../../src/wire/jsonrpc.ts';

/** What is made of an answer with these members beside its id. */
function read(members: string) {
  const message = readMessage(Buffer.from(`{"jsonrpc":"2.0","id":1,${members}}`), LIMITS);
  assert.ok(message.kind === 'response');
  return readDiscoverResult(message);
}

test('the probe says which version it is about, who asks, and that nothing can be asked of it (R-8)', () => {
  assert.deepEqual(discoverParams({ name: 'proxy', version: '1.2.3' }), {
    _meta: {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'proxy', version: '1.2.3' },
      'io.modelcontextprotocol/clientCapabilities': {},
    },
  });
});

test('a result that lists the version is a profile, and it is kept as it was written', () => {
  const raw = '{ "big": 9007199254740993, "supportedVersions":["2027-01-01","2026-07-28"],"capabilities":{"tools":{"ż":1}}, "instructions": "zażółć" }';
  assert.deepEqual(read(`"result":${raw}`), { era: 'modern', revision: '2026-07-28', capabilities: { tools: { ż: 1 } }, raw: Buffer.from(raw) });
});

const UNUSABLE = [
  '"result":null', '"result":[]', '"result":{}', '"result":"2026-07-28"', '"result":["2026-07-28"]',
  '"result":{"supportedVersions":"2026-07-28"}', '"result":{"supportedVersions":[]}', '"result":{"supportedVersions":["2025-11-25"]}',
  '"result":{"supportedVersions":["2027-01-01"]}', '"result":{"supportedVersions":{"0":"2026-07-28"}}', '"result":{"supportedVersions":[["2026-07-28"]]}',
  '"error":null', '"error":"no"', '"error":{}', '"error":{"code":-32601,"message":"no","data":{"supported":["2027-01-01"]}}',
  '"error":{"code":"-32022","message":"no","data":{"supported":["2027-01-01"]}}', '"error":{"code":-32022,"message":"no"}',
  '"error":{"code":-32022,"message":"no","data":["2027-01-01"]}', '"error":{"code":-32022,"message":"no","data":{"supported":"2027-01-01"}}',
  '"error":{"code":-32022,"message":"no","data":{"supported":[]}}', '"error":{"code":-32022,"message":"no","data":{"supported":["2025-11-25"]}}',
  '"error":{"code":-32022,"message":"no","data":{"supported":["2027-01-01","2025-11-25"]}}',
  '"error":{"code":-32022,"message":"no","data":{"supported":["2027-01-01",20280101]}}',
];

test('whatever is no such result, and no list of modern versions only, says nothing about the era (R-9, R-10)', () => {
  for (const members of UNUSABLE) assert.equal(read(members), 'unusable', members);
  for (const list of ['["2027-01-01"]', '["2026-07-28"]', '["2027-01-01","2028-01-01"]']) {
    assert.equal(read(`"error":{"code":-32022,"message":"no","data":{"supported":${list}}}`), 'none-in-common', list);
  }
});
