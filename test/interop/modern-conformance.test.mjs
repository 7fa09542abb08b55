// @ts-check
// The official conformance suite across the eras: as a client of 2026-07-28 against a modern and against a legacy server, and
// as a client of 2025-11-25 against the modern one. The modern server is first asked without the proxy, so that a failure
// behind it is the proxy's.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startProxy } from './proxied.mjs';
import { assertEnds, failedChecks, legacyServer, modernServer, place, requirements, runSuite, serveHttp, suiteTimeout as timeout } from './suite.mjs';

/** @typedef {import('./suite.mjs').Run} Run */
/** @typedef {keyof typeof requirements} Revision */
/** @typedef {{ reason: string, checks: string[] }} Impossible why the scenario cannot pass, and the checks that tell */

const revisions = /** @type {Revision[]} */ (Object.keys(requirements));

/**
 * What runs through the proxy.
 * @type {{ name: string, title: string, revision: Revision, server: string, alone: string[], cannot: Record<string, Impossible> }[]}
 */
const roads = [
  { name: 'modern', title: 'a client of 2026-07-28 and a modern server', revision: '2026-07-28', server: modernServer, alone: [], cannot: {} },
  {
    name: 'legacy',
    title: 'a client of 2026-07-28 and a legacy server',
    revision: '2026-07-28',
    server: legacyServer,
    // The server asks something in these. Most of them leave before they have answered, and then nobody can tell whose the
    // next question of the same process is; so each has a process of its own.
    alone: ['server-stateless', ...requirements['2026-07-28'].scored.filter((name) => /^input-required-result-/.test(name))],
    cannot: {
      'input-required-result-basic-elicitation': {
        reason: 'the scenario wants the name that the server gives its question; a legacy server gives it none, so the proxy does',
        checks: ['sep-2322-elicitation-incomplete'],
      },
      'input-required-result-ignore-extra-params': {
        reason: 'the scenario answers a question that was never asked of it; a legacy server keeps the call that asked, and only its requestState leads back to it',
        checks: ['sep-2322-ignore-unexpected-params'],
      },
    },
  },
  { name: 'reverse', title: 'a client of 2025-11-25 and a modern server', revision: '2025-11-25', server: modernServer, alone: [], cannot: {} },
];

/** The runs without the proxy. @type {Map<Revision, Run>} */
const direct = new Map();
/** The runs through the proxy. @type {Map<string, { run: Run, alone: Map<string, Run> }>} */
const proxied = new Map();
let dir = '';
/** @type {Awaited<ReturnType<typeof startProxy>>} */
let proxy;

before(
  async () => {
    dir = await realpath(await mkdtemp(join(tmpdir(), 'mcp-conformance-')));
    const { url, stop } = await serveHttp(modernServer);
    try {
      for (const revision of revisions) direct.set(revision, await runSuite(url, join(dir, 'direct', revision), ['--requirements', revision]));
    } finally {
      await stop();
    }

    const mcpServers = Object.fromEntries(
      roads.flatMap(({ name, server, alone }) =>
        [name, ...alone.map((scenario) => `${name}-${scenario}`)].map((entry) => [
          entry,
          { command: process.execPath, args: [server, '--starts', join(dir, `starts-${entry}`)] },
        ]),
      ),
    );
    const configPath = join(dir, 'mcp-config.json');
    await writeFile(configPath, JSON.stringify({ mcpServers }));
    proxy = await startProxy(place, configPath);
    const run = (/** @type {string} */ entry, /** @type {string[]} */ which) => runSuite(`http://127.0.0.1:${proxy.port}/${entry}/mcp`, join(dir, entry), which);
    for (const { name, revision, alone } of roads) {
      const runs = { run: await run(name, ['--requirements', revision]), alone: new Map() };
      await pooled(2, alone, async (scenario) => {
        runs.alone.set(scenario, await run(`${name}-${scenario}`, ['--scenario', scenario, '--spec-version', revision]));
      });
      proxied.set(name, runs);
    }
  },
  { timeout: 2 * timeout },
);

after(async () => {
  if (proxy !== undefined && proxy.child.exitCode === null && proxy.child.kill('SIGKILL')) await proxy.ended;
  if (dir !== '') await rm(dir, { recursive: true, force: true });
});

for (const revision of revisions) {
  describe(`the modern server, asked by a client of ${revision} without the proxy`, () => {
    const { scored, unscored, extension } = requirements[revision];

    test('the suite runs what the revision requires, and counts all of it as passed', () => {
      const { scenarios, code, output } = /** @type {Run} */ (direct.get(revision));
      assert.deepEqual([...scenarios.keys()].sort(), [...scored, ...unscored, ...extension].sort());
      assert.equal(code, 0, output);
    });

    for (const scenario of [...scored, ...unscored]) {
      // Over HTTP the server keeps no events for a client that comes back; behind the proxy it need not.
      const skip = scenario === 'server-sse-polling' && 'the server has no memory of its streams';
      test(`${scenario} passes`, { skip }, () => {
        assert.deepEqual(failedChecks(/** @type {Run} */ (direct.get(revision)), scenario), []);
      });
    }
  });
}

for (const { name, title, revision, server, alone, cannot } of roads) {
  describe(title, () => {
    const { scored, unscored, extension } = requirements[revision];
    const runs = () => /** @type {{ run: Run, alone: Map<string, Run> }} */ (proxied.get(name));

    test('the suite runs what the revision requires', () => {
      const { run } = runs();
      assert.deepEqual([...run.scenarios.keys()].sort(), [...scored, ...unscored, ...extension].sort());
      if (alone.length === 0) assert.equal(run.code, 0, run.output);
    });

    for (const scenario of [...scored, ...unscored]) {
      const impossible = cannot[scenario];
      test(impossible === undefined ? `${scenario} passes` : `${scenario} cannot pass: ${impossible.reason}`, () => {
        const { run, alone } = runs();
        const failed = failedChecks(alone.get(scenario) ?? run, scenario);
        if (impossible === undefined) assert.deepEqual(failed, []);
        else assert.deepEqual(failed.map(({ id }) => id), impossible.checks);
      });
    }

    test('each server was started once, and spoken to in its own era', async () => {
      for (const entry of [name, ...alone.map((scenario) => `${name}-${scenario}`)]) {
        assert.match(await readFile(join(dir, `starts-${entry}`), 'utf8'), server === modernServer ? /^\d+ modern\n$/ : /^\d+\n$/, entry);
      }
    });
  });
}

test('after SIGTERM the proxy exits with 0 and no process of any server is left', { timeout }, () => assertEnds(proxy, dir));

/**
 * Does something with every item, some at a time.
 * @template T
 * @param {number} atOnce
 * @param {readonly T[]} items
 * @param {(item: T) => Promise<unknown>} act
 */
async function pooled(atOnce, items, act) {
  const rest = [...items];
  const work = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await act(item);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}
