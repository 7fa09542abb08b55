// @ts-check
// The official conformance suite, which is a client that plays scenarios and checks every message. It is run against one
// server three times: without the proxy, and behind it with one process for all sessions and with one process for each.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { processes } from './processes.mjs';
import { startProxy } from './proxied.mjs';

/** @typedef {{ id: string, status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO', description: string, errorMessage?: string, details?: unknown }} Check */
/** @typedef {{ code: number | null, output: string, scenarios: Map<string, Check[]> }} Run */

const REVISION = '2025-11-25';

/** What the suite counts: all that the revision requires of a server. */
const scored = [
  'server-initialize',
  'logging-set-level',
  'ping',
  'completion-complete',
  'tools-list',
  'tools-call-simple-text',
  'tools-call-image',
  'tools-call-audio',
  'tools-call-embedded-resource',
  'tools-call-mixed-content',
  'tools-call-with-logging',
  'tools-call-error',
  'tools-call-with-progress',
  'tools-call-sampling',
  'tools-call-elicitation',
  'elicitation-sep1034-defaults',
  'server-sse-multiple-streams',
  'elicitation-sep1330-enums',
  'resources-list',
  'resources-read-text',
  'resources-read-binary',
  'resources-templates-read',
  'resources-subscribe',
  'resources-unsubscribe',
  'prompts-list',
  'prompts-get-simple',
  'prompts-get-with-args',
  'prompts-get-embedded-resource',
  'prompts-get-with-image',
  'dns-rebinding-protection',
];

/** What it runs besides, and does not count. The proxy passes these too. */
const unscored = ['server-session-lifecycle', 'json-schema-2020-12', 'server-sse-polling'];

/** Scenarios in which the suite notes something instead of judging it, and why that is all it can do. Elsewhere every check has to succeed. */
/** @type {Record<string, string>} */
const notes = {
  'server-sse-multiple-streams': 'an answer is a stream only if something has to be said before it or it takes long; the suite takes JSON as well',
  'server-sse-polling': 'it writes down what goes over the wire; and a server on stdio has no stream to close in the middle of a call',
};

/** How the proxy shares processes; `CONFORMANCE_ISOLATION=shared` leaves the other one out. */
const isolations = process.env['CONFORMANCE_ISOLATION']?.split(',') ?? ['shared', 'session'];

const timeout = 90_000;
const here = fileURLToPath(new URL('.', import.meta.url));
const server = join(here, 'conformance-server.mjs');

// The suite needs a newer Node than the proxy does, so it has one of its own. It must not come to run the proxy too: npm puts
// it first in PATH.
const suiteNode = join(here, 'node_modules/node/bin/node');
const suite = join(here, 'node_modules/@modelcontextprotocol/conformance/dist/index.js');

const passed = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR'].flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]));
const place = { cwd: here, env: Object.fromEntries(passed) };

test('the proxy is run by another Node than the suite', async () => {
  assert.notEqual(await realpath(process.execPath), await realpath(suiteNode));
});

test('without the proxy the server passes what the suite counts, so a failure behind it is not the server\'s', { timeout }, async (t) => {
  const dir = await directory();
  t.after(() => rm(dir, { recursive: true, force: true }));
  const child = spawn(process.execPath, [server, '--http'], { ...place, stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  t.after(async () => {
    child.stdin.end();
    await ended;
  });
  const [line] = await Promise.race([once(child.stdout, 'data'), ended.then(([code]) => assert.fail(`the server ended with ${code}`))]);

  const run = await runSuite(String(line).trim(), dir);

  const failed = [...run.scenarios].filter(([name, checks]) => scored.includes(name) && checks.some(({ status }) => status === 'FAILURE'));
  assert.deepEqual(failed.map(([name]) => name), []);
  assert.equal(run.code, 0, run.output);
});

for (const isolation of isolations) {
  describe(`behind the proxy, with isolation "${isolation}"`, () => {
    let dir = '';
    /** @type {Awaited<ReturnType<typeof startProxy>>} */
    let proxy;
    /** @type {Run} */
    let run;

    before(
      async () => {
        dir = await directory();
        const configPath = join(dir, 'mcp-config.json');
        const entry = { command: process.execPath, args: [server, '--starts', join(dir, 'starts')], isolation };
        await writeFile(configPath, JSON.stringify({ mcpServers: { conformance: entry } }));
        proxy = await startProxy(place, configPath);
        run = await runSuite(`http://127.0.0.1:${proxy.port}/conformance/mcp`, join(dir, 'results'));
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
        const checks = run.scenarios.get(scenario);
        assert.ok(checks !== undefined, `the suite did not run it\n${run.output}`);
        const fine = scenario in notes ? ['SUCCESS', 'INFO'] : ['SUCCESS'];
        assert.deepEqual(checks.filter(({ status }) => !fine.includes(status)), []);
        // The check of the messages' schema succeeds also when there was no message.
        assert.ok(checks.some(({ id, status }) => status === 'SUCCESS' && id !== 'wire-schema-valid'), 'nothing was checked');
      });
    }

    test(isolation === 'session' ? 'every session had a process of its own' : 'one process served every session', async () => {
      const starts = (await readFile(join(dir, 'starts'), 'utf8')).trim().split('\n').length;
      if (isolation === 'session') assert.ok(starts > scored.length, `${starts} starts`);
      else assert.equal(starts, 1);
    });

    test('after SIGTERM the proxy exits with 0 and no process of the server is left', { timeout }, async () => {
      const running = () => processes().filter(({ pid, text }) => pid !== proxy.child.pid && text.includes(dir));
      assert.notDeepEqual(running(), []);

      proxy.child.kill('SIGTERM');
      const [code, signal] = await proxy.ended;

      assert.deepEqual({ code, signal }, { code: 0, signal: null }, proxy.log());
      assert.deepEqual(running().map(({ pid, text }) => ({ pid, text: text.slice(0, 200) })), []);
    });
  });
}

async function directory() {
  return realpath(await mkdtemp(join(tmpdir(), 'mcp-conformance-')));
}

/**
 * Runs every scenario of the revision against a server. The results are one directory per scenario, with its checks in a file.
 * @param {string} url
 * @param {string} dir
 * @returns {Promise<Run>}
 */
async function runSuite(url, dir) {
  const args = [suite, 'server', '--url', url, '--requirements', REVISION, '--output-dir', dir];
  const child = spawn(suiteNode, args, { ...place, stdio: ['ignore', 'pipe', 'pipe'], timeout: timeout - 10_000, killSignal: 'SIGKILL' });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const [code] = await once(child, 'close');

  /** @type {Run['scenarios']} */
  const scenarios = new Map();
  for (const result of existsSync(dir) ? await readdir(dir) : []) {
    const scenario = /^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$/.exec(result)?.[1] ?? result;
    const file = join(dir, result, 'checks.json');
    scenarios.set(scenario, existsSync(file) ? JSON.parse(await readFile(file, 'utf8')) : []); // none: the suite itself failed
  }
  return { code, output, scenarios };
}
