// @ts-check
// Clients of the official SDK v2 in each of its modes, and of v1, against a server of 2026-07-28 and against a legacy one
// behind one proxy. Whatever they get has to equal what the same SDK gets over the server's own stdin and stdout, where it
// speaks the same revision to it, or the nearest one that the server knows.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { askTyped, call, environment, openProxied, openStdio, repliesOf, until } from './clients.mjs';
import { masked } from './exceptions.mjs';
import { ask2, openProxied2, openStdio2, REVISION, typed } from './modern-clients.mjs';
import { elsewhere, inputs, modernWork, rows } from './modern-workloads.mjs';
import { processes } from './processes.mjs';
import { startProxy } from './proxied.mjs';
import { same } from './same.mjs';
import { entries, furnish, placed, tables } from './servers.mjs';
import { legacyServer, modernServer } from './suite.mjs';
import { atOnce, endlessCall, firstSteps, longCall, nameOf, numberOf, questions } from './workloads.mjs';

/** @typedef {import('./modern-clients.mjs').Peer | import('./clients.mjs').Peer} Peer */
/** @typedef {import('./modern-clients.mjs').Peer} Peer2 */
/** @typedef {import('./modern-clients.mjs').Mode} Mode */
/** @typedef {import('./clients.mjs').Message} Message */
/** @typedef {import('./clients.mjs').Answer} Answer */
/** @typedef {import('./servers.mjs').Row} Row */
/** @typedef {(peer: any, request: Message, options?: any) => Promise<Answer>} Ask */
/** @typedef {{ title: string, key: string, modern: boolean, mode?: Mode, front?: import('./clients.mjs').Front, ask: Ask }} Kind */

const cwd = fileURLToPath(new URL('.', import.meta.url));
const timeout = 90_000;
const CROWD = 20;

const logLine = 'notifications/message';
const progress = 'notifications/progress';
const updated = 'notifications/resources/updated';
const listChanged = (/** @type {string} */ list) => `notifications/${list}/list_changed`;
const LOG_LEVEL = 'io.modelcontextprotocol/logLevel';
const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId';
const SERVER_INFO = 'io.modelcontextprotocol/serverInfo';

/** @type {Kind[]} */
const kinds = [
  { title: 'SDK v2, auto', key: 'auto', modern: true, mode: 'auto', ask: ask2 },
  { title: `SDK v2, ${REVISION} or nothing`, key: 'pin', modern: true, mode: 'modern', ask: ask2 },
  { title: 'SDK v2, legacy', key: 'legacy', modern: false, mode: 'legacy', ask: ask2 },
  { title: 'SDK v1, Streamable HTTP', key: 'v1', modern: false, front: 'streamable', ask: askTyped },
  { title: 'SDK v1, HTTP+SSE', key: 'v1-sse', modern: false, front: 'sse', ask: askTyped },
];
/** The legacy server of the SDK has v1 clients in another file. */
const legacyKinds = kinds.filter(({ mode }) => mode !== undefined);

const servers = {
  modern: { command: process.execPath, args: [modernServer, '$DIR'], env: {} },
  everything: /** @type {import('./direct.mjs').Entry} */ (entries['everything']),
};

/** Everything of one run lies below one directory, so that its processes can be told from all others. */
let base = '';
/** @type {Awaited<ReturnType<typeof startProxy>>} */
let proxy;
/** @type {Peer[]} */
const opened = [];

const dirOf = (/** @type {string} */ name) => join(base, name);

before(
  async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'mcp-interop-'))); // servers print real paths
    const shared = ['crowd', 'killed', 'silent', 'parked'];
    const own = Object.entries({ modern: kinds, everything: legacyKinds }).flatMap(([server, kinds]) => [...kinds.map(({ key }) => key), ...shared].map((key) => [server, `${server}-${key}`]));
    for (const name of [...own.map(([, name]) => name), 'direct', 'logging', 'isolated']) await furnish(dirOf(/** @type {string} */ (name)));
    const mcpServers = Object.fromEntries([
      ...own.map(([server, name]) => [name, placed(servers[/** @type {keyof typeof servers} */ (server)], dirOf(/** @type {string} */ (name)))]),
      // Nothing of a modern server belongs to a session.
      ['isolated', { command: process.execPath, args: [modernServer, '--starts', join(dirOf('isolated'), 'starts')], env: {}, isolation: 'session' }],
      ['logging', { command: process.execPath, args: [legacyServer], env: { INTEROP_DIR: dirOf('logging') } }],
    ]);
    const configPath = join(base, 'mcp-config.json');
    await writeFile(configPath, JSON.stringify({ mcpServers }));
    proxy = await startProxy({ cwd, env: environment }, configPath);
  },
  { timeout },
);

after(async () => {
  await Promise.allSettled(opened.map((peer) => peer.client.close()));
  if (proxy !== undefined && proxy.child.exitCode === null && proxy.child.kill('SIGKILL')) await proxy.ended;
  for (const { pid } of processesIn(base)) kill(pid);
  if (base !== '') await rm(base, { recursive: true, force: true });
});

/**
 * @template {Peer} T
 * @param {Promise<T>} opening
 */
async function kept(opening) {
  const peer = await opening;
  opened.push(peer);
  return peer;
}

/**
 * Both sides of a comparison: the same SDK directly and through the proxy.
 * @param {keyof typeof servers} server
 * @param {Kind} kind
 * @returns {Promise<{ wanted: any, peer: any }>}
 */
async function openPair(server, { key, mode, front }) {
  const name = `${server}-${key}`;
  const entry = placed(servers[server], dirOf('direct'));
  /** @type {Promise<Peer>[]} */
  const opening =
    mode === undefined
      ? [openStdio(entry, cwd, 'the client', dirOf('direct')), openProxied(front ?? 'streamable', proxy.port, name, 'the client', dirOf(name))]
      : [openDirectly(server, mode), openProxied2(proxy.port, name, mode, 'the client', dirOf(name))];
  const [wanted, peer] = await Promise.all(opening.map(kept));
  return { wanted, peer };
}

/** In the mode, or in the only one that the server knows. @type {(server: keyof typeof servers, mode: Mode, name?: string, options?: any) => Promise<Peer2>} */
function openDirectly(server, mode, name = 'the client', options) {
  return openStdio2(placed(servers[server], dirOf('direct')), cwd, server === 'modern' ? mode : 'legacy', name, dirOf('direct'), options);
}

/** @type {(server: string, mode: Mode, name: string, options?: any) => Promise<Peer2>} */
function open(server, mode, name, options) {
  return kept(openProxied2(proxy.port, server, mode, name, dirOf(server), options));
}

// ---- a modern server

for (const kind of kinds) {
  describe(`${kind.title}, and a modern server`, () => {
    const { ask, modern } = kind;
    /** @type {Awaited<ReturnType<typeof openPair>>} */
    let pair;
    const dir = () => dirOf(`modern-${kind.key}`);
    before(async () => void (pair = await openPair('modern', kind)), { timeout });

    /**
     * Does the same on both sides and compares what comes of it.
     * @template T
     * @param {(peer: any) => Promise<T>} act
     * @param {(value: any) => any} [hide]
     * @returns {Promise<any>}
     */
    async function compare(act, hide = (value) => value) {
      const { wanted, peer } = pair;
      const [was, is] = await Promise.all([act(wanted), act(peer)]);
      same(hide(masked(is, dir())), hide(masked(was, dirOf('direct'))), kind.title);
      return was;
    }

    test('the SDK is told of the same server, in the same era', { timeout }, async () => {
      await compare(async ({ client }) => [client.getServerCapabilities(), client.getServerVersion(), client.getInstructions()]);
      if (kind.mode !== undefined) await compare(async ({ client }) => [client.getProtocolEra(), client.getNegotiatedProtocolVersion()]);
    });

    for (const request of rows) {
      test(titleOf(request), { timeout }, async () => {
        // The SDK makes an object of structured content that is none, the proxy a text: a test of its own tells.
        await compare((peer) => ask(peer, request), modern ? undefined : (answer) => withoutOutputSchema(answer, 'numbers'));
      });
    }

    for (const { title, request, reply, questions } of inputs) {
      test(`${titleOf(request)} requires ${title}`, { timeout }, async () => {
        const [, asked] = await compare(
          async (peer) => {
            const usual = { ...peer.replies };
            Object.assign(peer.replies, reply);
            const from = peer.asked.length;
            const answer = await ask(peer, request);
            Object.assign(peer.replies, usual);
            return [answer, peer.asked.slice(from)];
          },
          ([answer, asked]) => [answer, asked.map(questionOf).sort(byMethod)],
        );
        assert.equal(asked.length, questions);
      });
    }

    test('every tool has been called', { timeout }, async () => {
      const called = [...rows, ...inputs.map(({ request }) => request)].flatMap(({ method, params }) => (method === 'tools/call' ? [params.name] : []));
      const { tools } = await pair.peer.client.listTools();
      for (const { name } of tools) assert.ok(called.includes(name) || elsewhere.includes(name), name);
    });

    test(`structured content that is no object ${modern ? 'arrives as it is' : 'arrives as a text'}`, { timeout }, async () => {
      const { wanted, peer } = pair;
      const list = await ask(peer, { method: 'tools/list' });
      const { outputSchema } = /** @type {any} */ (list).result.tools.find((/** @type {any} */ { name }) => name === 'numbers');
      const is = await ask(peer, call('numbers'));
      if (modern) {
        assert.deepEqual(outputSchema, { type: 'array', items: { type: 'number' } });
        same(is, await ask(wanted, call('numbers')), 'the result');
      } else {
        assert.equal(outputSchema, undefined);
        assert.deepEqual(is, { result: { content: [{ type: 'text', text: '[1,2,3]' }] } });
      }
    });

    test('a server that is never content is asked ten times, and then the call fails', { timeout }, async () => {
      const { wanted, peer } = pair;
      const from = peer.asked.length;
      const asking = ask(peer, call('ask_for_ever'));
      if (modern) {
        const exceeded = { code: 'INPUT_REQUIRED_ROUNDS_EXCEEDED' };
        await assert.rejects(asking, exceeded);
        await assert.rejects(ask(wanted, call('ask_for_ever')), exceeded);
      } else {
        assert.equal(/** @type {any} */ (await asking).result.isError, true);
      }
      assert.equal(peer.asked.length - from, 10);
    });

    test('progress arrives before the answer, under the token of the client', { timeout }, async () => {
      const request = call('count', { steps: 5, ms: 20, label: 'progress' });
      const [, told] = await compare(async (peer) => {
        const from = peer.heard.length;
        const answer = await ask(peer, request, { onprogress() {} });
        return [answer, progressOf(peer, from)];
      });
      assert.deepEqual(told, [1, 2, 3, 4, 5].map((n) => ({ progress: n, total: 5, message: `progress ${n}` })));
    });

    test(`the level that the client ${modern ? 'asks for in the call' : 'has set'} decides what it hears`, { timeout }, async () => {
      const levels = /** @type {const} */ (['debug', 'info', 'warning', 'error']);
      for (const level of levels) {
        const heard = await compare(async (peer) => {
          const from = peer.heard.length;
          const request = call('test_logging_tool');
          if (modern) request.params._meta = { [LOG_LEVEL]: level };
          else await peer.client.setLoggingLevel(level);
          await ask(peer, request);
          return until(() => {
            const lines = heardOf(peer, logLine, from);
            return lines.length >= levels.length - levels.indexOf(level) && lines;
          }, () => `lines of ${level} and above`);
        });
        assert.deepEqual(heard.map((/** @type {Message} */ { params }) => params.level), levels.slice(levels.indexOf(level)));
      }
      if (!modern) return;
      const from = pair.peer.heard.length;
      await ask(pair.peer, call('test_logging_tool'));
      assert.deepEqual(heardOf(pair.peer, logLine, from), [], 'a call without a level has no lines');
    });

    test('changes and updates arrive while the client wants to hear of them', { timeout }, async () => {
      const [watched, other] = ['test://watched-resource', 'test://static-text'];
      await compare(
        async (peer) => {
          const filter = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true, resourceSubscriptions: [watched] };
          const from = peer.heard.length;
          const subscription = modern ? await peer.client.listen(filter) : await peer.client.subscribeResource({ uri: watched });
          if (modern) assert.deepEqual(subscription.honoredFilter, filter);
          for (const [tool, list] of [['test_trigger_tool_change', 'tools'], ['test_trigger_prompt_change', 'prompts'], ['trigger_resource_change', 'resources']]) {
            await ask(peer, call(/** @type {string} */ (tool)));
            await until(() => heardOf(peer, listChanged(/** @type {string} */ (list)), from).length > 0, () => `the change of ${list}`);
          }
          for (const uri of [other, watched]) await ask(peer, call('touch_resource', { uri }));
          await until(() => heardOf(peer, updated, from).length > 0, () => 'the update');
          const lists = [await ask(peer, { method: 'tools/list' }), await ask(peer, { method: 'resources/list' }), await ask(peer, { method: 'prompts/list' })];

          if (modern) await subscription.close();
          else await peer.client.unsubscribeResource({ uri: watched });
          if (modern) assert.equal(await subscription.closed, 'local');
          const again = peer.heard.length;
          const next = modern ? await peer.client.listen({ toolsListChanged: true }) : undefined;
          for (const request of [call('touch_resource', { uri: watched }), call('test_trigger_prompt_change'), call('test_trigger_tool_change')]) await ask(peer, request);
          await until(() => heardOf(peer, listChanged('tools'), again).length > 0, () => 'the next change of tools');
          await next?.close();
          return [peer.heard.slice(from).filter(isChange), lists];
        },
        // Where the tag of a subscription was taken away, nothing may be left of its parameters.
        ([heard, lists]) => [heard.map((/** @type {Message} */ { method, params = {} }) => [method, params]), lists.map((/** @type {Answer} */ list) => (modern ? list : withoutOutputSchema(list, 'numbers')))],
      );
    });

    test('a cancelled call ends at once, and the server is told', { timeout }, async () => {
      const { peer } = pair;
      const name = `modern-${kind.key}`;
      const labels = ['silent', 'talking'].map((label) => `${label} ${kind.key}`);
      const [silent, talking] = labels.map(() => new AbortController());
      const from = peer.heard.length;
      const asked = [
        ask(peer, call('count', { steps: 1000, ms: 20, label: labels[0] }), { signal: silent?.signal }),
        ask(peer, call('count', { steps: 1000, ms: 20, label: labels[1] }), { signal: talking?.signal, onprogress() {} }),
      ];
      const refused = Promise.all(asked.map((asking) => assert.rejects(asking, /enough/)));
      await until(() => heardOf(peer, progress, from).length > 0, () => 'progress');
      await until(async () => (await statusOf(name)).pendingRequests === 2, () => 'two calls in flight');
      silent?.abort('enough');
      talking?.abort('enough');
      await refused;
      await until(async () => {
        const { result } = /** @type {any} */ (await ask(peer, call('cancelled')));
        const told = JSON.parse(result.content[0].text);
        return labels.every((label) => told.includes(label));
      }, () => 'the server knows');
      await until(async () => (await statusOf(name)).pendingRequests === 0, () => 'no call in flight');
    });

    test('the client had nothing to complain about', () => {
      const { wanted, peer } = pair;
      same(unexpected(peer.errors), unexpected(wanted.errors), 'errors');
    });

    if (kind.mode === 'auto') {
      test(`a client that takes what it finds discovers ${REVISION} and stays with it`, () => {
        const { http } = pair.peer;
        assert.deepEqual([http[0]?.body.method, http[0]?.status, http[0]?.type?.split(';')[0]], ['server/discover', 200, 'application/json']);
        assert.deepEqual(http.filter((/** @type {any} */ { body }) => body?.method === 'initialize'), []);
        assert.deepEqual(pair.peer.client.getDiscoverResult()?.supportedVersions, [REVISION]);
      });
    }

    if (modern) {
      test('arguments that a tool wants in headers are there', () => {
        const sent = pair.peer.http.filter((/** @type {any} */ { body }) => body?.params?.name === 'test_x_mcp_header');
        assert.equal(sent[0]?.headers.get('mcp-param-region'), 'eu-north');
        assert.equal(sent[0]?.headers.get('mcp-param-priority'), '42');
        assert.match(sent[1]?.headers.get('mcp-param-region') ?? '', /^=\?base64\?/);
      });

      test('every request of the client is one POST, without a session', () => assertStateless(pair.peer));
    }
  });
}

// ---- a legacy server

/** Rows that say nothing of a client that has no session, or of the SDK v2. @type {Record<string, string>} */
const notOfTable = {
  'simulate-research-query': 'tasks are hidden in a shared process',
  'toggle-simulated-logging': 'it speaks at random levels',
};

for (const kind of legacyKinds) {
  describe(`${kind.title}, and a legacy server`, () => {
    const { ask, modern } = kind;
    /** @type {{ wanted: Peer2, peer: Peer2 }} */
    let pair;
    const dir = () => dirOf(`everything-${kind.key}`);
    before(async () => void (pair = await openPair('everything', kind)), { timeout });

    /**
     * @template T
     * @param {(peer: Peer2, dir: string) => Promise<T>} act
     * @param {Row['except']} [except]
     * @returns {Promise<any>}
     */
    async function compare(act, except) {
      const { wanted, peer } = pair;
      const was = masked(await act(wanted, dirOf('direct')), dirOf('direct'), except);
      same(acrossEras(masked(await act(peer, dir()), dir(), except)), acrossEras(was), kind.title);
      return was;
    }

    test('the SDK is told of the same server', { timeout }, async () => {
      const { client } = pair.peer;
      assert.equal(client.getProtocolEra(), modern ? 'modern' : 'legacy');
      const told = (/** @type {Peer2} */ { client }) => {
        const { tasks: _tasks, ...capabilities } = client.getServerCapabilities() ?? {};
        return [capabilities, client.getServerVersion(), client.getInstructions()];
      };
      await compare(async (peer) => told(peer));
    });

    const sessionOnly = ['ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe'];
    const table = (tables['everything'] ?? []).filter(({ method, params }) => {
      if (!typed(method) || (modern && sessionOnly.includes(method)) || params?.name in notOfTable) return false;
      if (method === 'tools/call' && params.name === undefined) return false; // the SDK does not send it
      if (modern && method === 'resources/read' && params.uri === undefined) return false; // there is no header for it
      return params?.arguments?.errorPath !== true; // below
    });
    table.forEach((row, index) => {
      test(`${index + 1}: ${titleOf(row)}`, { timeout }, () => compare((peer, dir) => ask(peer, placed(row, dir)), row.except));
    });

    for (const { title, request, reply } of questions) {
      // What a modern client does not answer is not answered at all.
      if (modern && /refuses/.test(title)) continue;
      test(`the server asks for ${title}`, { timeout }, async () => {
        await compare(async (peer) => {
          const usual = { ...peer.replies };
          Object.assign(peer.replies, reply);
          const from = peer.asked.length;
          const answer = await ask(peer, request);
          Object.assign(peer.replies, usual);
          return [answer, peer.asked.slice(from).filter(({ method }) => method !== 'roots/list').map(questionOf)];
        });
      });
    }

    if (modern) {
      test('a page that must be opened first is opened, and then the call is made again', { timeout }, async () => {
        const { peer } = pair;
        const request = call('trigger-url-elicitation', { url: 'https://example.com/form', errorPath: true });
        const from = peer.asked.length;
        const { result } = /** @type {any} */ (await ask(peer, request));
        assert.match(result.content[0].text, /User completed the URL elicitation flow/);
        // The first is the server's refusal, the second its question when it is called again.
        assert.deepEqual(peer.asked.slice(from).map(({ params }) => [params.mode, params.url, params.elicitationId]), [
          ['url', 'https://modelcontextprotocol.io', undefined],
          ['url', 'https://example.com/form', undefined],
        ]);

        const usual = peer.replies.elicitation;
        peer.replies.elicitation = () => ({ action: 'decline' });
        const { error } = /** @type {any} */ (await ask(peer, request));
        peer.replies.elicitation = usual;
        assert.deepEqual([error.code, error.data.reason], [-32603, 'declined']);
        assert.equal(peer.asked.length - from, 3, 'the server is not called again');
      });
    }

    test('progress arrives before the answer, under the token of the client', { timeout }, async () => {
      const [, told] = await compare(async (peer) => {
        const from = peer.heard.length;
        const answer = await ask(peer, longCall(0), { onprogress() {} });
        return [answer, progressOf(peer, from)];
      });
      assert.deepEqual(told, [1, 2, 3].map((n) => ({ progress: n, total: 3 })));
    });

    test('changes and updates arrive while the client wants to hear of them', { timeout }, async () => {
      const { peer } = pair;
      const uri = (/** @type {number} */ n) => `demo://resource/dynamic/text/${n}`;
      const from = peer.heard.length;
      const filter = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true, resourceSubscriptions: [uri(31), uri(32)] };
      const subscription = modern ? await peer.client.listen(filter) : undefined;
      if (subscription === undefined) for (const n of [31, 32]) await peer.client.subscribeResource({ uri: uri(n) });
      else assert.deepEqual(subscription.honoredFilter, filter);

      await ask(peer, call('gzip-file-as-resource', { name: `changed-${kind.key}.gz`, data: 'data:text/plain,new' }));
      await until(() => heardOf(peer, listChanged('resources'), from).length > 0, () => 'the change');
      await ask(peer, call('toggle-subscriber-updates')); // at once, then every 5 s
      await until(() => heardOf(peer, updated, from).length >= 2, () => 'both updates');
      await ask(peer, call('toggle-subscriber-updates'));

      const heard = peer.heard.slice(from);
      assert.equal(heardOf(peer, listChanged('resources'), from).length, 1);
      assert.deepEqual(heardOf(peer, updated, from).map(({ params }) => params.uri).sort(), [uri(31), uri(32)]);
      for (const { params } of heard.filter(isChange)) assert.equal(params?._meta?.[SUBSCRIPTION], modern ? 'listen:0' : undefined);
      if (modern) assert.deepEqual(heard.filter(({ method }) => method === logLine), [], 'it has asked for no lines');
      if (subscription === undefined) for (const n of [31, 32]) await peer.client.unsubscribeResource({ uri: uri(n) });
      else await subscription.close();
    });

    test('a cancelled call ends at once', { timeout }, async () => {
      const { peer } = pair;
      const name = `everything-${kind.key}`;
      const [silent, talking] = [new AbortController(), new AbortController()];
      const from = peer.heard.length;
      const asked = [ask(peer, endlessCall(0), { signal: silent.signal }), ask(peer, endlessCall(1), { signal: talking.signal, onprogress() {} })];
      const refused = Promise.all(asked.map((asking) => assert.rejects(asking, /enough/)));
      await until(() => heardOf(peer, progress, from).length > 0, () => 'progress');
      await until(async () => (await statusOf(name)).pendingRequests === 2, () => 'two calls in flight');
      silent.abort('enough');
      talking.abort('enough');
      await refused;
      await until(async () => (await statusOf(name)).pendingRequests === 0, () => 'no call in flight');
      await compare((peer) => ask(peer, call('echo', { message: 'on' })));
    });

    test('the client had nothing to complain about', () => same(unexpected(pair.peer.errors), [], 'errors'));

    if (kind.mode === 'auto') {
      test(`a client that takes what it finds discovers ${REVISION} and stays with it`, () => {
        const { http } = pair.peer;
        assert.deepEqual([http[0]?.body.method, http[0]?.status, http[0]?.type?.split(';')[0]], ['server/discover', 200, 'application/json']);
        assert.deepEqual(http.filter((/** @type {any} */ { body }) => body?.method === 'initialize'), []);
        assert.deepEqual(pair.peer.client.getDiscoverResult()?.supportedVersions, [REVISION]);
      });
    }

    if (modern) test('every request of the client is one POST, without a session', () => assertStateless(pair.peer));
  });
}

// ---- what only a client of the SDK v2 can do

for (const server of /** @type {const} */ (['modern', 'everything'])) {
  test(`${server}: over HTTP+SSE a client that takes what it finds shakes hands`, { timeout }, async () => {
    // That transport has nothing of 2026-07-28, whatever the server behind it speaks.
    const peer = await open(`${server}-parked`, 'auto', 'the client', { front: 'sse' });
    assert.equal(peer.client.getProtocolEra(), 'legacy');
    assert.match(JSON.stringify(await ask2(peer, call('echo', { message: 'over HTTP+SSE' }))), /over HTTP\+SSE/);
    await peer.close();
  });
}

test('a modern server has one process, though its configuration wants one for each session', { timeout }, async () => {
  const peers = await Promise.all([open('isolated', 'legacy', 'one'), open('isolated', 'legacy', 'another'), open('isolated', 'modern', 'a third')]);
  for (const peer of peers) assert.match(JSON.stringify(await ask2(peer, call('whoami'))), new RegExp(peer.name));
  assert.equal((await readFile(join(dirOf('isolated'), 'starts'), 'utf8')).trim().split('\n').length, 1);
  for (const peer of peers) await peer.close();
});

for (const server of /** @type {const} */ (['modern', 'everything'])) {
  test(`${server}: a modern client follows changes by itself`, { timeout }, async () => {
    /** @type {any[]} */
    const lists = [];
    const onChanged = (/** @type {any} */ error, /** @type {any} */ items) => lists.push(error ?? items);
    const peer = await open(`${server}-parked`, 'auto', 'the follower', { listChanged: { resources: { onChanged, debounceMs: 0 } } });
    assert.deepEqual(peer.client.autoOpenedSubscription?.honoredFilter, { resourcesListChanged: true });
    const request = server === 'modern' ? call('trigger_resource_change') : call('gzip-file-as-resource', { name: 'followed.gz', data: 'data:text/plain,new' });
    await ask2(peer, request);
    await until(() => lists.length > 0, () => 'the new list');
    assert.ok(lists[0].some((/** @type {any} */ { uri }) => uri === (server === 'modern' ? 'test://added/1' : 'demo://resource/session/followed.gz')));
    await peer.close();
  });
}

describe('a client that cannot be asked', () => {
  for (const mode of /** @type {const} */ (['auto', 'legacy'])) {
    test(`${mode}: a modern server is told so, and says what it misses`, { timeout }, async () => {
      const peer = await open('modern-silent', mode, 'the silent client', { capabilities: {} });
      const wanted = await kept(openDirectly('modern', mode, 'the silent client', { capabilities: {} }));
      same(await ask2(peer, call('whoami')), await ask2(wanted, call('whoami')), 'whoami');
      for (const request of [call('test_sampling', { prompt: 'hello' }), call('test_elicitation', { message: 'hello' }), call('test_input_required_result_list_roots')]) {
        const [is, was] = /** @type {any[]} */ ([await ask2(peer, request), await ask2(wanted, request)]);
        if (mode === 'auto') same(is, was, titleOf(request));
        else assert.deepEqual([was.result.isError, is.error?.code, is.error?.data.originalError.code], [true, -32603, -32021]);
      }
      await wanted.close();
      await peer.close();
    });
  }

  test('a legacy server that asks it anyway has its call refused, with the capability', { timeout }, async () => {
    const peer = await open('everything-silent', 'modern', 'the silent client', { capabilities: {} });
    const { error } = /** @type {any} */ (await ask2(peer, call('trigger-sampling-request', { prompt: 'hello' })));
    assert.deepEqual([error.code, error.data], [-32021, { requiredCapabilities: { sampling: {} } }]);
    assert.equal(peer.http.at(-1)?.status, 400);
    await peer.close();
  });
});

describe('log lines of a legacy server', () => {
  for (const [level, lines] of /** @type {const} */ ([['info', 3], ['debug', 3], ['warning', 0], [undefined, 0]])) {
    test(`${level === undefined ? 'a modern client that asks for none hears none' : `at ${level}: a modern client hears ${lines || 'none'}`}`, { timeout }, async () => {
      const peer = await open('logging', 'modern', 'the client');
      const request = call('test_tool_with_logging');
      if (level !== undefined) request.params._meta = { [LOG_LEVEL]: level };
      const { result } = /** @type {any} */ (await ask2(peer, request));
      assert.equal(result.content[0].text, 'Tool with logging executed successfully');
      assert.equal(peer.heard.length, lines);
      for (const { method } of peer.heard) assert.equal(method, logLine);
      await peer.close();
    });
  }
});

describe('a question to a modern client', () => {
  test('waits for its answer while the client and others go on', { timeout }, async () => {
    const peer = await open('everything-parked', 'modern', 'the client');
    const other = await open('everything-parked', 'auto', 'another');
    const usual = peer.replies.elicitation;
    peer.replies.elicitation = async (params, signal) => {
      for (const each of [peer, other]) assert.deepEqual(await ask2(each, call('get-sum', { a: 1, b: 2 })), await ask2(peer, call('get-sum', { a: 1, b: 2 })));
      return usual(params, signal);
    };
    const { result } = /** @type {any} */ (await ask2(peer, call('trigger-elicitation-request')));
    assert.match(JSON.stringify(result), /the client/);
    assert.deepEqual([peer.asked.length, other.asked.length], [1, 0]);
    const calls = peer.http.filter(({ body }) => body?.params?.name === 'trigger-elicitation-request');
    assert.equal(calls.length, 2, 'the call and its retry');
    assert.deepEqual(Object.keys(calls[1]?.body.params.inputResponses), ['elicitation-1']);
    await peer.close();
    await other.close();
  });

  test('is answered once: what led to the call leads nowhere afterwards, and nothing else ever did', { timeout }, async () => {
    const peer = await open('everything-parked', 'modern', 'the client');
    await ask2(peer, call('trigger-elicitation-request'));
    const { params } = peer.http.at(-1)?.body;
    for (const requestState of [params.requestState, 'invented']) {
      const again = { method: 'tools/call', params: { ...call('trigger-elicitation-request').params, inputResponses: params.inputResponses, requestState } };
      const { error } = /** @type {any} */ (await ask2(peer, again));
      assert.equal(error?.code, -32602);
    }
    await peer.close();
  });
});

// ---- a server that is killed

describe('a server that is killed', { concurrency: true }, () => {
  for (const server of /** @type {const} */ (['modern', 'everything'])) {
    test(`${server}: calls in flight get the reason, and the client goes on and hears that lists may have changed`, { timeout }, async () => {
      const name = `${server}-killed`;
      const peer = await open(name, 'modern', 'the client');
      const uri = server === 'modern' ? 'test://watched-resource' : 'demo://resource/dynamic/text/51';
      const subscription = await peer.client.listen({ toolsListChanged: true, resourcesListChanged: true, resourceSubscriptions: [uri] });
      const long = (/** @type {number} */ k) => (server === 'modern' ? call('count', { steps: 1000, ms: 30 }) : endlessCall(k));
      const answers = [ask2(peer, long(0)), ask2(peer, long(1), { onprogress() {} })];
      await until(() => heardOf(peer, progress).length > 0, () => 'progress');
      const from = peer.heard.length;
      for (const { pid } of processesIn(dirOf(name))) kill(pid);
      for (const { error } of /** @type {any[]} */ (await Promise.all(answers))) assert.deepEqual([error?.code, error?.data?.reason], [-32603, 'child_exited']);
      assert.deepEqual(peer.http.flatMap(({ body, status }) => (body?.method === 'tools/call' ? [status] : [])), [200, 200]);

      const echo = call('echo', { message: 'after the restart' });
      assert.match(JSON.stringify(await ask2(peer, echo)), /after the restart/);
      for (const list of ['tools', 'resources']) await until(() => heardOf(peer, listChanged(list), from).length > 0, () => `${list} may have changed`);
      await ask2(peer, server === 'modern' ? call('touch_resource', { uri }) : call('toggle-subscriber-updates'));
      await until(() => heardOf(peer, updated, from).length > 0, () => 'an update of what was subscribed before');
      for (const { params } of peer.heard.slice(from).filter(isChange)) assert.equal(params._meta?.[SUBSCRIPTION], 'listen:0');
      assert.equal(await Promise.race([subscription.closed, 'open']), 'open');
      assert.equal(peer.http.filter(({ body }) => body?.method === 'subscriptions/listen').length, 1);
      await peer.close();
    });
  }
});

// ---- twenty at once

describe('twenty at once', () => {
  const ks = Array.from({ length: CROWD }, (_, k) => k);
  /** @type {Record<keyof typeof servers, Peer2[]>} */
  const crowd = { modern: [], everything: [] };
  /** @type {(server: keyof typeof servers, k: number) => Peer2} */
  const member = (server, k) => /** @type {Peer2} */ (crowd[server][k]);
  /** @type {Record<string, Peer2>} */
  const directly = {};
  const direct = (/** @type {keyof typeof servers} */ server) => /** @type {Peer2} */ (directly[server]);

  before(
    async () => {
      for (const server of /** @type {const} */ (['modern', 'everything'])) {
        directly[server] = await kept(openDirectly(server, 'modern'));
        crowd[server] = await Promise.all(ks.map((k) => open(`${server}-crowd`, k % 2 === 0 ? 'modern' : 'auto', nameOf(k))));
        // The SDK repeats arguments in headers only of a tool that it has listed.
        await Promise.all(crowd[server].map((peer) => peer.client.listTools()));
      }
    },
    { timeout },
  );

  test('modern: every answer belongs to the client that asked, and so does every question', { timeout }, async () => {
    /** @type {(peer: Peer2, k: number) => Promise<unknown>} */
    const work = async (peer, k) => {
      const from = peer.asked.length;
      const answers = await Promise.all(modernWork(k).map((request) => ask2(peer, request)));
      return [answers, peer.asked.slice(from).map((asked) => JSON.stringify(questionOf(asked))).sort()];
    };
    const got = await Promise.all(ks.map((k) => work(member('modern', k), k)));
    const one = direct('modern');
    const usual = { ...one.replies };
    for (const k of ks) {
      Object.assign(one.replies, repliesOf(nameOf(k), dirOf('modern-crowd')));
      const wanted = await work(one, k);
      // Only the server's own record of who it is asked by tells the two apart.
      same(got[k], JSON.parse(JSON.stringify(wanted).replaceAll('"the client\\"', `"${nameOf(k)}\\"`)), nameOf(k));
    }
    Object.assign(one.replies, usual);
  });

  test('everything: every answer belongs to the client that asked', { timeout }, async () => {
    const dir = dirOf('everything-crowd');
    /** @type {(peer: Peer2, dir: string, steps: import('./workloads.mjs').Step[]) => Promise<unknown[]>} */
    const take = (peer, dir, steps) => Promise.all(steps.map(async ({ request, except }) => acrossEras(masked(await ask2(peer, placed(request, dir)), dir, except))));
    const steps = (/** @type {number} */ k) => [firstSteps['everything']?.(k) ?? [], atOnce['everything']?.(k) ?? []];
    const got = await Promise.all(
      ks.map(async (k) => {
        const [first = [], then = []] = steps(k);
        return [...(await take(member('everything', k), dir, first)), ...(await take(member('everything', k), dir, then))];
      }),
    );
    for (const k of ks) {
      const [first = [], then = []] = steps(k);
      const wanted = [...(await take(direct('everything'), dirOf('direct'), first)), ...(await take(direct('everything'), dirOf('direct'), then))];
      same(got[k], wanted, nameOf(k));
    }
  });

  for (const server of /** @type {const} */ (['modern', 'everything'])) {
    test(`${server}: progress reaches the call that it belongs to, though ids and tokens are the same`, { timeout }, async () => {
      const from = crowd[server].map(({ heard }) => heard.length);
      const request = (/** @type {number} */ k) => (server === 'modern' ? call('count', { steps: 3 + k, ms: 10 }) : longCall(k));
      const answers = await Promise.all(ks.map((k) => ask2(member(server, k), request(k), { onprogress() {} })));
      for (const k of ks) {
        const told = progressOf(member(server, k), from[k]).map(({ message: _message, ...rest }) => rest);
        assert.deepEqual(told, Array.from({ length: 3 + k }, (_, n) => ({ progress: n + 1, total: 3 + k })));
        assert.match(JSON.stringify(answers[k]), server === 'modern' ? new RegExp(`counted to ${3 + k}"`) : new RegExp(`Duration: 0\\.20${numberOf(k)}\\d* seconds, Steps: ${3 + k}\\.`));
      }
      const bodies = crowd[server].map(({ http }) => http.findLast(({ body }) => body?.params?._meta?.progressToken !== undefined)?.body);
      assert.ok(new Set(bodies.map(({ id }) => id)).size < CROWD, 'ids are the same');
    });

    test(`${server}: every client that listens hears of a change once`, { timeout }, async () => {
      const listening = await Promise.all(crowd[server].map(({ client }) => client.listen({ resourcesListChanged: true })));
      const from = crowd[server].map(({ heard }) => heard.length);
      const change = (/** @type {number} */ k) => (server === 'modern' ? call('trigger_resource_change') : call('gzip-file-as-resource', { name: `heard-${k}.gz`, data: 'data:text/plain,x' }));
      for (const k of ks) await ask2(member(server, k), change(k));
      const heard = (/** @type {number} */ k) => heardOf(member(server, k), listChanged('resources'), from[k]);
      for (const k of ks) await until(() => heard(k).length >= CROWD, () => `${nameOf(k)} hears of ${CROWD} changes`);
      assert.deepEqual(ks.map((k) => heard(k).length), ks.map(() => CROWD));
      await Promise.all(listening.map((each) => each.close()));
    });
  }

  test('everything: a question reaches the client whose call it is about, one call at a time', { timeout }, async () => {
    for (const k of ks) {
      const peer = member('everything', k);
      const asked = crowd.everything.map(({ asked }) => asked.length);
      const answer = await ask2(peer, call('trigger-sampling-request', { prompt: `${nameOf(k)} asks` }));
      assert.match(JSON.stringify(answer), new RegExp(`the model of ${nameOf(k)}`));
      assert.deepEqual(crowd.everything.map(({ asked }) => asked.length), asked.map((count, n) => count + Number(n === k)));
    }
  });

  test('everything: while two have calls in flight the question is refused, and nobody sees it', { timeout }, async () => {
    const [busy, asking] = [member('everything', 0), member('everything', 1)];
    const from = busy.heard.length;
    const long = ask2(busy, call('trigger-long-running-operation', { duration: 1, steps: 10 }), { onprogress() {} });
    await until(() => heardOf(busy, progress, from).length > 0, () => 'progress');
    const asked = crowd.everything.map(({ asked }) => asked.length);
    const text = 'MCP error -32603: Cannot attribute sampling/createMessage: 2 clients share this process';
    const { result } = /** @type {any} */ (await ask2(asking, call('trigger-sampling-request', { prompt: 'whose?' })));
    assert.deepEqual([result.isError, result.content], [true, [{ type: 'text', text }]]);
    assert.deepEqual(crowd.everything.map(({ asked }) => asked.length), asked);
    await long;
  });

  test('no client had anything to complain about', () => {
    for (const { name, errors } of Object.values(crowd).flat()) same(unexpected(errors), [], name);
  });
});

// ---- the end

test('after SIGTERM listeners are told, the proxy exits with 0 and no process of any server is left', { timeout }, async () => {
  const listeners = await Promise.all(['modern-crowd', 'everything-crowd'].map((server) => open(server, 'modern', 'the listener')));
  const listening = await Promise.all(listeners.map(({ client }) => client.listen({ toolsListChanged: true })));
  for (const { client, transport } of opened) if ('pid' in transport) await client.close();
  await until(() => processesIn(dirOf('direct')).length === 0, () => 'the servers without a proxy have ended');
  proxy.child.kill('SIGTERM');
  const [code, signal] = await proxy.ended;
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, proxy.log());
  assert.deepEqual(await Promise.all(listening.map(({ closed }) => closed)), ['graceful', 'graceful']);
  assert.deepEqual(processesIn(base).map(({ pid, group, text }) => ({ pid, group, text: text.slice(0, 200) })), []);
});

/** The status of one server. @param {string} name */
async function statusOf(name) {
  const response = await fetch(`http://127.0.0.1:${proxy.port}/api/servers`, { headers: { accept: 'application/json' } });
  return /** @type {any} */ (await response.json())[name];
}

/** What a modern client sends is one POST for each request and each notification, and nothing of it is tied to what came before. @param {Peer2} peer */
function assertStateless({ http }) {
  for (const { method, body, headers, status, type, session } of http) {
    assert.deepEqual([method, session === true, headers.get('mcp-session-id')], ['POST', false, null]);
    if (body.id === undefined) assert.equal(status, 202);
    else if (status !== undefined) assert.equal(status, 200, JSON.stringify(body)); // else the client has left before it came
    if (/^(echo|get-sum|whoami)$/.test(body.params?.name)) assert.match(type ?? '', /^application\/json/);
    if (body.method === 'subscriptions/listen') assert.match(type ?? '', /^text\/event-stream/);
  }
}

/** @type {(peer: Peer, method: string, from?: number) => Message[]} */
function heardOf({ heard }, method, from = 0) {
  return heard.slice(from).filter((message) => message.method === method);
}

/** @param {Message} message */
function isChange({ method }) {
  return method === updated || method.endsWith('/list_changed');
}

/**
 * The progress that a client was told, which all belongs to one call.
 * @param {Peer} peer
 * @param {number} [from]
 */
function progressOf(peer, from) {
  const told = heardOf(peer, progress, from);
  assert.equal(new Set(told.map(({ params }) => params.progressToken)).size, 1, 'one call');
  return told.map(({ params: { progressToken: _token, ...rest } }) => rest);
}

/** A question as both eras ask it: only 2025-11-25 has an id for a page, and only a request of its own has metadata. @param {Message} message @returns {Message} */
function questionOf({ method, params = {} }) {
  const { elicitationId: _id, _meta, ...rest } = params;
  return { method, params: rest };
}

/** @type {(a: Message, b: Message) => number} */
function byMethod(a, b) {
  return a.method < b.method ? -1 : Number(a.method > b.method);
}

/**
 * What only one of the two eras says of a result, and legacy tasks, left out.
 * @param {any} answer
 */
function acrossEras(answer) {
  return JSON.parse(JSON.stringify(answer), (key, value) => {
    if (key === 'ttlMs' || key === 'cacheScope' || key === 'execution' || key === SERVER_INFO) return undefined;
    return key === '_meta' && Object.keys(value).length === 0 ? undefined : value;
  });
}

/** @param {any} answer @param {string} tool */
function withoutOutputSchema(answer, tool) {
  for (const each of answer.result?.tools ?? []) if (each.name === tool) delete each.outputSchema;
  return answer;
}

/**
 * What the SDK complained about. Left out: it looks up whose progress it is a moment after it was told, and has forgotten
 * the call when the answer came in the same moment, or when it was cancelled.
 * @param {string[]} errors
 */
function unexpected(errors) {
  return errors.filter((error) => !error.startsWith('Received a progress notification for an unknown token'));
}

/** @param {Message} message */
function titleOf({ method, params }) {
  return `${method} ${[...(JSON.stringify(params) ?? '')].slice(0, 90).join('').replace(/[\u2028\u2029\u007f]/g, ' ')}`.trim();
}

/** Every process that has a directory in its arguments or environment. @param {string} dir */
function processesIn(dir) {
  return dir === '' ? [] : processes().filter(({ pid, text }) => pid !== process.pid && pid !== proxy?.child.pid && text.includes(dir));
}

/** @param {number} pid */
function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it ended by itself
  }
}
