// @ts-check
// Runs the official conformance suite, which is a client that plays scenarios and checks every message.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { processes } from './processes.mjs';

/** @typedef {{ id: string, status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO', description: string, errorMessage?: string, details?: unknown }} Check */
/** @typedef {{ code: number | null, output: string, scenarios: Map<string, Check[]> }} Run */

/**
 * What the suite runs against a server. It counts all that the revision requires; what it does not count passes too, except for
 * the extension, which no server here has.
 * @type {Record<'2025-11-25' | '2026-07-28', { scored: string[], unscored: string[], extension: string[] }>}
 */
export const requirements = {
  '2025-11-25': {
    scored: [
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
    ],
    unscored: ['server-session-lifecycle', 'json-schema-2020-12', 'server-sse-polling'],
    extension: [],
  },
  '2026-07-28': {
    scored: [
      'server-stateless',
      'completion-complete',
      'tools-list',
      'tools-call-simple-text',
      'tools-call-image',
      'tools-call-audio',
      'tools-call-embedded-resource',
      'tools-call-mixed-content',
      'tools-call-error',
      'tools-call-with-progress',
      'server-sse-multiple-streams',
      'resources-list',
      'resources-read-text',
      'resources-read-binary',
      'resources-templates-read',
      'sep-2164-resource-not-found',
      'prompts-list',
      'prompts-get-simple',
      'prompts-get-with-args',
      'prompts-get-embedded-resource',
      'prompts-get-with-image',
      'dns-rebinding-protection',
      'caching',
      'input-required-result-basic-elicitation',
      'input-required-result-basic-sampling',
      'input-required-result-basic-list-roots',
      'input-required-result-request-state',
      'input-required-result-multiple-input-requests',
      'input-required-result-multi-round',
      'input-required-result-missing-input-response',
      'input-required-result-non-tool-request',
      'input-required-result-result-type',
      'input-required-result-unsupported-methods',
      'input-required-result-tampered-state',
      'input-required-result-capability-check',
      'input-required-result-ignore-extra-params',
      'input-required-result-validate-input',
    ],
    unscored: ['json-schema-2020-12', 'http-header-validation', 'http-custom-header-server-validation'],
    extension: [
      'tasks-lifecycle',
      'tasks-capability-negotiation',
      'tasks-wire-fields',
      'tasks-request-state-removal',
      'tasks-mrtr-input',
      'tasks-request-headers',
      'tasks-dispatch-and-envelope',
      'tasks-status-notifications',
      'tasks-required-task-error',
      'tasks-mrtr-composition',
    ],
  },
};

/** Scenarios in which the suite notes something instead of judging it, and why that is all it can do. Elsewhere every check has to succeed. */
/** @type {Record<string, string>} */
const notes = {
  'server-sse-multiple-streams': 'an answer is a stream only if something has to be said before it or it takes long; the suite takes JSON as well',
  'server-sse-polling': 'it writes down what goes over the wire; and a server on stdio has no stream to close in the middle of a call',
};

const here = fileURLToPath(new URL('.', import.meta.url));

export const legacyServer = join(here, 'conformance-server.mjs');
export const modernServer = join(here, 'modern-server.mjs');

// The suite needs a newer Node than the proxy does, so it has one of its own. It must not come to run the proxy too: npm puts
// it first in PATH.
export const suiteNode = join(here, 'node_modules/node/bin/node');
const suite = join(here, 'node_modules/@modelcontextprotocol/conformance/dist/index.js');
export const suiteTimeout = 90_000;

const passed = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR'].flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]));
/** Where everything runs: the environment is small, and nothing in it is secret. */
export const place = { cwd: here, env: Object.fromEntries(passed) };

/**
 * Starts one of the servers on its own HTTP transport.
 * @param {string} server
 */
export async function serveHttp(server) {
  const child = spawn(process.execPath, [server, '--http'], { ...place, stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const [line] = await Promise.race([once(child.stdout, 'data'), ended.then(([code]) => assert.fail(`the server ended with ${code}`))]);
  const stop = async () => {
    child.stdin.end();
    await ended;
  };
  return { url: String(line).trim(), stop };
}

/**
 * Runs scenarios against a server. The results are one directory per scenario, with its checks in a file.
 * @param {string} url
 * @param {string} dir
 * @param {string[]} which `--requirements <revision>`, or one scenario
 * @returns {Promise<Run>}
 */
export async function runSuite(url, dir, which) {
  const args = [suite, 'server', '--url', url, ...which, '--output-dir', dir];
  const child = spawn(suiteNode, args, { ...place, stdio: ['ignore', 'pipe', 'pipe'], timeout: suiteTimeout - 10_000, killSignal: 'SIGKILL' });
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

/**
 * Ends the proxy as a supervisor does. A directory is that of its servers, of which none may be left.
 * @param {Awaited<ReturnType<typeof import('./proxied.mjs').startProxy>>} proxy
 * @param {string} dir
 */
export async function assertEnds(proxy, dir) {
  const running = () => processes().filter(({ pid, text }) => pid !== proxy.child.pid && text.includes(dir));
  assert.notDeepEqual(running(), []);

  proxy.child.kill('SIGTERM');
  const [code, signal] = await proxy.ended;

  assert.deepEqual({ code, signal }, { code: 0, signal: null }, proxy.log());
  assert.deepEqual(running().map(({ pid, text }) => ({ pid, text: text.slice(0, 200) })), []);
}

/**
 * The checks of a scenario that did not succeed; throws if there was nothing that could.
 * @param {Run} run
 * @param {string} scenario
 */
export function failedChecks({ scenarios, output }, scenario) {
  const checks = scenarios.get(scenario);
  assert.ok(checks !== undefined, `the suite did not run it\n${output}`);
  const fine = scenario in notes ? ['SUCCESS', 'INFO'] : ['SUCCESS'];
  const failed = checks.filter(({ status }) => !fine.includes(status));
  // The check of the messages' schema succeeds also when there was no message.
  const checked = checks.some(({ id, status }) => status === 'SUCCESS' && id !== 'wire-schema-valid');
  assert.ok(checked || failed.length > 0, `nothing was checked\n${output}`);
  return failed;
}
