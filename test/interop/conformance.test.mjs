// @ts-check
// The official conformance suite, which is a client that plays scenarios and checks every message. It is run against one
// server three times: without the proxy, and behind it with one process for all sessions and with one process for each.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startProxy } from './proxied.mjs';
import { assertEnds, failedChecks, legacyServer, place, requirements, runSuite, serveHttp, suiteNode, suiteTimeout as timeout } from './suite.mjs';

const REVISION = '2025-11-25';

const { scored, unscored } = requirements[REVISION];

/** How the proxy shares processes; `CONFORMANCE_ISOLATION=shared` leaves the other one out. */
const isolations = process.env['CONFORMANCE_ISOLATION']?.split(',') ?? ['shared', 'session'];

test('the proxy is run by another Node than the suite', async () => {
  assert.notEqual(await realpath(process.execPath), await realpath(suiteNode));
});

test('without the proxy the server passes what the suite counts, so a failure behind it is not the server\'s', { timeout }, async (t) => {
  const dir = await directory();
  t.after(() => rm(dir, { recursive: true, force: true }));
  const { url, stop } = await serveHttp(legacyServer);
  t.after(stop);

  const run = await runSuite(url, dir, ['--requirements', REVISION]);

  const failed = [...run.scenarios].filter(([name, checks]) => scored.includes(name) && checks.some(({ status }) => status === 'FAILURE'));
  assert.deepEqual(failed.map(([name]) => name), []);
  assert.equal(run.code, 0, run.output);
});

for (const isolation of isolations) {
  describe(`behind the proxy, with isolation "${isolation}"`, () => {
    let dir = '';
    /** @type {Awaited<ReturnType<typeof startProxy>>} */
    let proxy;
    /** @type {import('./suite.mjs').Run} */
    let run;

    before(
      async () => {
        dir = await directory();
        const configPath = join(dir, 'mcp-config.json');
        const entry = { command: process.execPath, args: [legacyServer, '--starts', join(dir, 'starts')], isolation };
        await writeFile(configPath, JSON.stringify({ mcpServers: { conformance: entry } }));
        proxy = await startProxy(place, configPath);
        run = await runSuite(`http://127.0.0.1:${proxy.port}/conformance/mcp`, join(dir, 'results'), ['--requirements', REVISION]);
      },
      { timeout },
    );

    after(async () => {
      if (proxy !== undefined && proxy.child.exitCode === null && proxy.child.kill('SIGKILL')) await proxy.ended;
      if (dir !== '') await rm(dir, { recursive: true, force: true });
    });

    test('the suite runs what the revision requires, and counts all of it as passed', () => {
      assert.deepEqual([...run.scenarios.keys()].sort(), [...scored, ...unscored].sort());
      assert.equal(run.code, 0, run.output);
    });

    for (const scenario of [...scored, ...unscored]) {
      test(`${scenario} passes`, () => {
        assert.deepEqual(failedChecks(run, scenario), []);
      });
    }

    test(isolation === 'session' ? 'every session had a process of its own' : 'one process served every session', async () => {
      const starts = (await readFile(join(dir, 'starts'), 'utf8')).trim().split('\n').length;
      if (isolation === 'session') assert.ok(starts > scored.length, `${starts} starts`);
      else assert.equal(starts, 1);
    });

    test('after SIGTERM the proxy exits with 0 and no process of the server is left', { timeout }, () => assertEnds(proxy, dir));
  });
}

async function directory() {
  return realpath(await mkdtemp(join(tmpdir(), 'mcp-conformance-')));
}
