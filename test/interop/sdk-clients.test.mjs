// @ts-check
// Clients that nobody here wrote: the official SDK over Streamable HTTP and over HTTP+SSE, alone and twenty at once,
// against real servers behind one proxy. Whatever they get has to equal what the same SDK gets over the server's own
// stdin and stdout. INTEROP_ISOLATION names the modes to run: `shared`, `session`, or both with a comma.
import assert from 'node:assert/strict';
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { ask, askTyped, call, environment, openProxied, openStdio, repliesOf, until } from './clients.mjs';
import { masked } from './exceptions.mjs';
import { processes } from './processes.mjs';
import { startProxy } from './proxied.mjs';
import { same } from './same.mjs';
import { entries, furnish, placed, tables } from './servers.mjs';
import { atOnce, change, endlessCall, firstSteps, lasting, longCall, nameOf, numberOf, ownDirectory, questions } from './workloads.mjs';

/** @typedef {import('./clients.mjs').Peer} Peer */
/** @typedef {import('./clients.mjs').Message} Message */
/** @typedef {import('./clients.mjs').Answer} Answer */
/** @typedef {import('./servers.mjs').Row} Row */

const cwd = fileURLToPath(new URL('.', import.meta.url));
const timeout = 90_000;
const servers = /** @type {const} */ (['everything', 'filesystem', 'memory']);
const fronts = /** @type {const} */ (['streamable', 'sse']);

const changedResources = 'notifications/resources/list_changed';
const updatedResource = 'notifications/resources/updated';
const progress = 'notifications/progress';
const logLine = 'notifications/message';

for (const isolation of (process.env['INTEROP_ISOLATION'] ?? 'shared').split(',')) {
  assert.match(isolation, /^(shared|session)$/, 'INTEROP_ISOLATION');
  describe(`clients of the SDK, isolation "${isolation}"`, () => suite(isolation === 'session'));
}

/** @param {boolean} isolated every session has a process of its own */
function suite(isolated) {
  const crowdSize = isolated ? 10 : 20; // with a process each, that many start at once
  /** Everything of one run lies below one directory, so that its processes can be told from all others. */
  let base = '';
  const dirs = { stdio: '', streamable: '', sse: '', crowd: '' };
  /** @type {Awaited<ReturnType<typeof startProxy>>} */
  let proxy;
  /** @type {Record<string, Peer>} */
  const direct = {};
  /** The clients that have servers of their own. @type {Record<typeof fronts[number], Record<string, Peer>>} */
  const alone = { streamable: {}, sse: {} };
  /** The clients that share servers. @type {Record<string, Peer[]>} */
  const crowd = {};
  /** @type {Peer[]} */
  const opened = [];

  before(
    async () => {
      base = await realpath(await mkdtemp(join(tmpdir(), 'mcp-interop-'))); // servers print real paths
      for (const side of /** @type {(keyof typeof dirs)[]} */ (Object.keys(dirs))) {
        dirs[side] = join(base, side);
        await furnish(dirs[side]);
      }
      const mode = isolated ? { isolation: 'session' } : {};
      const entry = (/** @type {string} */ name, /** @type {string} */ dir) => ({ ...placed(entries[name], dir), ...mode });
      const mcpServers = Object.fromEntries(
        servers.flatMap((name) => [[name, entry(name, dirs.crowd)], ...fronts.map((front) => [`${name}-${front}`, entry(name, dirs[front])])]),
      );
      const configPath = join(base, 'mcp-config.json');
      await writeFile(configPath, JSON.stringify({ mcpServers }));
      proxy = await startProxy({ cwd, env: { ...environment, MAX_ISOLATED: String(crowdSize) } }, configPath);
      await Promise.all(
        servers.map(async (name) => {
          direct[name] = await openStdio(/** @type {any} */ (placed(entries[name], dirs.stdio)), cwd, 'the client', join(dirs.stdio, 'files'));
          for (const front of fronts) alone[front][name] = await open(front, `${name}-${front}`, 'the client', join(dirs[front], 'files'));
        }),
      );
    },
    { timeout },
  );

  after(async () => {
    await Promise.allSettled([...Object.values(direct), ...opened].map((peer) => peer.client.close()));
    if (proxy !== undefined && proxy.child.exitCode === null && proxy.child.kill('SIGKILL')) await proxy.ended;
    for (const { pid } of processesIn(base)) kill(pid);
    if (base !== '') await rm(base, { recursive: true, force: true });
  });

  /** @type {(...args: [front: typeof fronts[number], server: string, name: string, root: string, options?: any]) => Promise<Peer>} */
  async function open(front, server, name, root, options) {
    const peer = await openProxied(front, proxy.port, server, name, root, options);
    opened.push(peer);
    return peer;
  }

  /** The sides of a comparison: the same SDK directly and through the proxy. @param {string} name */
  function sides(name) {
    const wanted = /** @type {Peer} */ (direct[name]);
    const proxied = fronts.map((front) => ({ front, peer: /** @type {Peer} */ (alone[front][name]), dir: dirs[front] }));
    return { wanted, proxied };
  }

  /** @typedef {{ front: string, peer: Peer, dir: string }} Side */

  /**
   * Does the same on every side and compares what comes of it.
   * @param {string} name
   * @param {(peer: Peer, dir: string) => Promise<unknown>} act
   * @param {{ except?: Row['except'], hide?: (value: any) => any }} [options] `hide` is applied to what came directly
   */
  async function compare(name, act, { except = [], hide = (value) => value } = {}) {
    const { wanted, proxied } = sides(name);
    const was = hide(masked(await act(wanted, dirs.stdio), dirs.stdio, except));
    for (const { front, peer, dir } of proxied) same(masked(await act(peer, dir), dir, except), was, front);
    return was;
  }

  describe('alone', () => {
    test(`the server ${isolated ? 'asks each client' : 'can ask no client'} for its roots at the start`, { timeout }, async () => {
      // It asks a while after the handshake. Nobody may be asked on behalf of a shared process.
      const { wanted, proxied } = sides('everything');
      const asked = [wanted, ...(isolated ? proxied.map(({ peer }) => peer) : [])];
      for (const peer of asked) await until(() => peer.heard.some(isRootsLine), () => `the roots of ${peer.name}`);
      if (!isolated) for (const { peer } of proxied) assert.deepEqual(peer.asked, []);
    });

    for (const name of servers) {
      const table = tables[name] ?? [];
      const asks = questions.map(({ request }) => request.params.name);

      test(`${name}: the SDK is told of the same server`, { timeout }, async () => {
        await compare(
          name,
          async ({ client }) => [client.getServerCapabilities(), client.getServerVersion(), client.getInstructions()],
          { hide: ([capabilities, ...rest]) => [isolated ? capabilities : withoutTasks(capabilities), ...rest] },
        );
      });

      test(`${name}: lists its tools`, { timeout }, async () => {
        const withoutExecution = (/** @type {any} */ { result }) => {
          if (!isolated) for (const tool of result.tools) delete tool.execution; // tasks are hidden in a shared process
          return { result };
        };
        await compare(name, (peer) => askTyped(peer, { method: 'tools/list' }), { hide: withoutExecution });
      });

      table.forEach((row, index) => {
        test(`${name} ${index + 1}: ${titleOf(row)}`, { timeout }, async () => {
          // The client itself refuses to call a tool that is only for tasks.
          const asking = row.params?.name === 'simulate-research-query' ? ask : askTyped;
          const was = await compare(name, (peer, dir) => asking(peer, placed(row, dir)), { except: row.except });
          if (!asks.includes(row.params?.name)) assert.equal(kindOf(was), row.kind);
        });
      });
    }

    for (const { title, request, reply } of questions) {
      test(`everything: the server asks for ${title}`, { timeout }, async () => {
        await compare('everything', async (peer) => {
          const usual = { ...peer.replies };
          Object.assign(peer.replies, reply);
          const before = peer.asked.length;
          const answer = await askTyped(peer, request);
          Object.assign(peer.replies, usual);
          return [answer, peer.asked.slice(before).filter(({ method }) => method !== 'roots/list')];
        });
      });
    }

    test('the server asked for the roots once', () => {
      const { wanted, proxied } = sides('everything');
      for (const { peer } of [{ peer: wanted }, ...proxied]) {
        assert.deepEqual(peer.asked.filter(({ method }) => method === 'roots/list'), [{ method: 'roots/list' }]);
      }
    });

    test('every tool has succeeded', { timeout }, async () => {
      const rows = servers.flatMap((name) => tables[name] ?? []).filter(({ kind }) => kind === 'result');
      const usual = questions.filter(({ reply }) => reply === undefined).map(({ request }) => request);
      const succeeded = [...rows, ...usual].flatMap(({ method, params }) => (method === 'tools/call' ? [params.name] : []));
      for (const { client } of Object.values(direct)) {
        const { tools } = await client.listTools();
        for (const { name, execution } of tools) assert.ok(succeeded.includes(name) || execution?.taskSupport === 'required', name);
      }
    });

    for (const name of servers) {
      test(`${name}: the client heard what it hears directly`, { timeout }, async () => {
        const { wanted, proxied } = sides(name);
        const was = chosen(wanted.heard);
        for (const { front, peer } of proxied) {
          const got = () => chosen(peer.heard);
          await until(() => got().length >= was.length, () => `${front} heard ${JSON.stringify(got())} instead of ${JSON.stringify(was)}`);
          // Streamable HTTP has several streams: what came on which decides the order there.
          const ordered = (/** @type {Message[]} */ heard) => (front === 'sse' ? heard : heard.map((each) => JSON.stringify(each)).sort());
          same(ordered(got()), ordered(was), front);
          same(peer.errors, wanted.errors, `errors of ${front}`);
        }
      });
    }

    test('Streamable HTTP: the client opens its stream after the 202, and answers are JSON unless something came before them', () => {
      const { peer } = /** @type {Side} */ (sides('everything').proxied[0]);
      const [initialize, initialized, stream, ...rest] = peer.http;
      assert.deepEqual([initialize, initialized, stream].map((each) => [each?.method, each?.body?.method, each?.status, each?.type?.split(';')[0]]), [
        ['POST', 'initialize', 200, 'application/json'],
        ['POST', 'notifications/initialized', 202, undefined],
        ['GET', undefined, 200, 'text/event-stream'],
      ]);
      for (const { method, body, status, type } of rest) {
        assert.equal(method, 'POST');
        if (body.id === undefined || body.method === undefined) assert.equal(status, 202);
        else assert.equal(status, 200, JSON.stringify(body));
        if (/^(echo|get-sum|no-such-tool)$/.test(body.params?.name)) assert.match(type ?? '', /^application\/json/);
        if (/^trigger-(sampling|elicitation)-request$/.test(body.params?.name)) {
          if (body.params.arguments?.prompt !== undefined) assert.match(type ?? '', /^text\/event-stream/);
        }
      }
    });

    test('progress arrives before the answer, under the token of the client', { timeout }, async () => {
      const was = await compare('everything', async (peer) => {
        const from = peer.heard.length;
        const answer = await askTyped(peer, longCall(0), { onprogress() {} });
        return [answer, progressOf(peer, from)];
      });
      assert.deepEqual(was[1], [1, 2, 3].map((n) => ({ progress: n, total: 3 })));
    });

    test('resource updates arrive while the client subscribes', { timeout }, async () => {
      const was = await compare('everything', async (peer) => {
        const from = peer.heard.length;
        const updates = () => heardOf(peer, updatedResource, from);
        const uri = (/** @type {number} */ n) => `demo://resource/dynamic/text/${n}`;
        for (const n of [31, 32, 33]) await peer.client.subscribeResource({ uri: uri(n) });
        await peer.client.unsubscribeResource({ uri: uri(31) });
        await peer.client.unsubscribeResource({ uri: uri(32) });
        await askTyped(peer, call('toggle-subscriber-updates')); // at once, in the order of the subscriptions, then every 5 s
        await until(() => updates().length > 0, () => 'an update');
        await askTyped(peer, call('toggle-subscriber-updates'));
        await peer.client.unsubscribeResource({ uri: uri(33) });
        return updates();
      });
      assert.deepEqual(was, [{ method: updatedResource, params: { uri: 'demo://resource/dynamic/text/33' } }]);
    });

    test('the level that the client sets decides what it hears', { timeout }, async () => {
      const was = await compare('everything', async (peer) => {
        const from = peer.heard.length;
        const lines = () => heardOf(peer, logLine, from);
        for (const [level, n] of /** @type {const} */ ([['error', 41], ['info', 42], ['warning', 43], ['debug', 44]])) {
          await peer.client.setLoggingLevel(level);
          await peer.client.subscribeResource({ uri: `demo://resource/dynamic/text/${n}` }); // the server says so at level info
        }
        await until(() => lines().length >= 2, () => `lines after ${JSON.stringify(lines())}`);
        for (const n of [41, 42, 43, 44]) await peer.client.unsubscribeResource({ uri: `demo://resource/dynamic/text/${n}` });
        await until(() => lines().length >= 6, () => `lines after ${JSON.stringify(lines())}`);
        return lines();
      });
      assert.deepEqual(was.slice(0, 2).map((/** @type {Message} */ { params }) => /\d+(?= *$)/.exec(params.data)?.[0]), ['42', '44']);
    });

    for (const front of fronts) {
      test(`${front}: a client that follows list_changed sees the new list`, { timeout }, async () => {
        /** @type {any[]} */
        const lists = [];
        const onChanged = (/** @type {any} */ error, /** @type {any} */ items) => lists.push(error ?? items);
        const listChanged = { resources: { onChanged, debounceMs: 0 } };
        const peer = await open(front, `everything-${front}`, 'the follower', dirs[front], { listChanged });
        await until(() => listens(peer), () => 'the stream of the follower');
        await ask(peer, call('gzip-file-as-resource', { name: `followed-${front}.gz`, data: 'data:text/plain,new' }));
        await until(() => lists.length > 0, () => 'the new list');
        assert.ok(lists[0].some((/** @type {any} */ { uri }) => uri === `demo://resource/session/followed-${front}.gz`), JSON.stringify(lists));
        await peer.close();
        assert.deepEqual(peer.errors, []);
      });

      for (const revision of front === 'sse' ? ['2024-11-05', '2025-06-18'] : ['2025-03-26', '2025-06-18']) {
        test(`${front}: a client of ${revision} calls, follows progress and is asked`, { timeout }, async () => {
          const wanted = /** @type {Peer} */ (direct['everything']);
          const peer = await open(front, `everything-${front}`, 'the client', join(dirs[front], 'files'), { revision });
          if (front === 'streamable') assert.equal(peer.transport.protocolVersion, revision);
          for (const request of [call('echo', { message: revision }), longCall(2), call('trigger-elicitation-request')]) {
            same(await askTyped(peer, request, { onprogress() {} }), await askTyped(wanted, request, { onprogress() {} }), JSON.stringify(request));
          }
          assert.deepEqual(progressOf(peer).map((told) => told.progress), [1, 2, 3, 4, 5]);
          await peer.close();
          same(unexpected(peer.errors), [], 'errors');
        });
      }

      const silently = isolated ? 'gets a server that knows it' : 'is not, and the tool says so';
      test(`${front}: a client that cannot be asked ${silently}`, { timeout }, async () => {
        const peer = await open(front, `everything-${front}`, 'the silent client', dirs[front], { capabilities: {} });
        if (isolated) {
          const { tools } = await peer.client.listTools();
          assert.deepEqual(tools.filter(({ name }) => /^trigger-(sampling|elicitation|url)|roots/.test(name)), []);
        } else {
          for (const [request, method] of /** @type {const} */ ([
            [call('trigger-sampling-request', { prompt: 'hello' }), 'sampling/createMessage'],
            [call('trigger-elicitation-request'), 'elicitation/create'],
          ])) {
            const text = `MCP error -32601: Client does not support ${method}`;
            assert.deepEqual(await askTyped(peer, request), { result: { content: [{ type: 'text', text }], isError: true } });
          }
        }
        assert.deepEqual(peer.asked, []);
        await peer.close();
      });
    }

    const noTasks = !isolated && 'tasks are hidden in a shared process';
    test('a legacy task runs through the proxy, and its question reaches the client', { timeout, skip: noTasks }, async () => {
      const { wanted, proxied } = sides('everything');
      const run = async (/** @type {Peer} */ peer) => {
        const from = peer.asked.length;
        const usual = { ...peer.replies };
        peer.replies.elicitation = () => ({ action: 'accept', content: { interpretation: 'snake' } });
        const told = [];
        for await (const { type, task, result, error } of /** @type {AsyncGenerator<any>} */ (
          peer.client.experimental.tasks.callToolStream({ name: 'simulate-research-query', arguments: { topic: 'python', ambiguous: true } })
        )) {
          if (type !== 'taskStatus') told.push([type, task?.status, result, error?.message]);
        }
        Object.assign(peer.replies, usual);
        return masked([told, peer.asked.slice(from)], '$none', ['random task id']);
      };
      const [was, ...got] = await Promise.all([run(wanted), ...proxied.map(({ peer }) => run(peer))]);
      proxied.forEach(({ front }, n) => same(got[n], was, front));
      assert.equal(was[0].at(-1)[0], 'result');
      assert.equal(was[1].length, 1);
    });
  });

  describe('a broken connection', { concurrency: true }, () => {
    test('streamable: what a client missed arrives once when it is back, whether the call runs on or has ended', { timeout }, async () => {
      const { wanted, proxied } = sides('everything');
      const { peer } = /** @type {Side} */ (proxied[0]);
      const from = peer.heard.length;
      const sent = peer.http.length;
      const short = call('trigger-long-running-operation', { duration: 2, steps: 20 }); // ends before the client is back, after 3 s
      const long = call('trigger-long-running-operation', { duration: 4.4, steps: 11 });
      const asked = [short, long].map((request) => ask(peer, request, { onprogress() {} }));
      const expected = [short, long].map((request) => ask(wanted, request));
      const told = (/** @type {Message} */ { params }) => {
        const { steps } = params.arguments;
        return peer.heard.slice(from).flatMap(({ params: told }) => (told?.total === steps ? [told.progress] : []));
      };
      await until(() => told(short).length >= 2 && told(long).length >= 1, () => 'progress of both calls');
      for (const request of peer.http) if (request.type?.startsWith('text/event-stream')) request.cut();
      const seen = [told(short).length, told(long).length];

      const notice = call('gzip-file-as-resource', { name: 'missed.gz', data: 'data:text/plain,missed' });
      same(await ask(peer, notice), await ask(wanted, notice), 'a call while the streams are down');
      same(await Promise.all(asked), await Promise.all(expected), 'the answers');

      assert.deepEqual(told(short), Array.from({ length: 20 }, (_, n) => n + 1));
      assert.deepEqual(told(long), Array.from({ length: 11 }, (_, n) => n + 1));
      assert.ok((seen[0] ?? 0) < 20 && (seen[1] ?? 0) < 11, 'the streams broke before the calls had ended');
      const changes = () => heardOf(peer, changedResources, from).length;
      await until(() => changes() > 0, () => 'the change that was missed');
      const resumed = peer.http.slice(sent).filter(({ method }) => method === 'GET');
      assert.deepEqual(resumed.map(({ lastEventId, status }) => [lastEventId !== null, status]), Array(3).fill([true, 200]));
      await ask(peer, notice); // the same name again: one resource goes and one comes
      await until(() => changes() >= 3, () => 'the changes after it');
      assert.equal(changes(), 3, 'nothing came twice');
      assert.equal(peer.http.slice(sent).filter(({ body }) => body?.method === 'initialize').length, 0);
      const errors = peer.errors.splice(0).filter((error) => !/connection was cut/.test(error));
      same(unexpected(errors), [], 'errors');
    });

    test('streamable: another client goes on with a session and with a call in it', { timeout }, async () => {
      const first = await open('streamable', 'everything-streamable', 'the first', dirs.streamable);
      const request = call('trigger-long-running-operation', { duration: 1.2, steps: 12 });
      let token = '';
      const onresumptiontoken = (/** @type {string} */ at) => (token = at);
      const abandoned = first.client.request(request, ResultSchema, { onprogress() {}, onresumptiontoken });
      abandoned.catch(() => {}); // its client is closed
      await until(() => heardOf(first, progress).length > 0, () => 'progress');
      const { sessionId } = first.transport;
      await first.client.close();
      await assert.rejects(abandoned, /Connection closed/);

      const second = await open('streamable', 'everything-streamable', 'the second', dirs.streamable, { sessionId });
      second.transport.setProtocolVersion('2025-11-25');
      const result = await second.client.request(request, ResultSchema, { resumptionToken: token });

      same({ result }, await ask(/** @type {Peer} */ (direct['everything']), request), 'the answer');
      const told = [first, second].flatMap((peer) => heardOf(peer, progress));
      assert.deepEqual(told.map(({ params }) => params.progress), Array.from({ length: 12 }, (_, n) => n + 1));
      assert.ok(heardOf(second, progress).length > 0);
      assert.deepEqual(second.http.filter(({ body }) => body?.method === 'initialize'), []);
      const next = call('echo', { message: 'still there' });
      same(await ask(second, next), await ask(/** @type {Peer} */ (direct['everything']), next), 'the session');
      await second.close();
    });

    test('streamable: a long silent call becomes a stream, and its answer arrives though that breaks', { timeout }, async () => {
      const peer = await open('streamable', 'everything-streamable', 'the patient', dirs.streamable);
      const request = call('trigger-long-running-operation', { duration: 2.6, steps: 2 });
      const expected = ask(/** @type {Peer} */ (direct['everything']), request);
      let primed = false;
      const asked = ask(peer, request, { onresumptiontoken: () => (primed = true) });
      await until(() => primed, () => 'the first event');
      peer.http.findLast(({ body }) => body?.method === 'tools/call')?.cut();
      same(await asked, await expected, 'the answer');
      assert.equal(peer.http.filter(({ lastEventId }) => lastEventId !== null).length, 1);
      await peer.close();
    });

    test('streamable: a question is asked once, and the call gets its answer though its stream breaks meanwhile', { timeout }, async () => {
      const peer = await open('streamable', 'everything', 'the client', join(dirs.crowd, 'files'));
      const usual = peer.replies.sampling;
      peer.replies.sampling = (params, signal) => {
        peer.http.findLast(({ body }) => body?.method === 'tools/call')?.cut();
        return usual(params, signal);
      };
      const request = call('trigger-sampling-request', { prompt: 'on a stream that breaks' });
      same(await ask(peer, request), await ask(/** @type {Peer} */ (direct['everything']), request), 'the answer');
      assert.equal(peer.asked.filter(({ method }) => method === 'sampling/createMessage').length, 1);
      assert.equal(peer.http.filter(({ lastEventId }) => lastEventId !== null).length, 1);
      await peer.close();
    });

    const noProcess = isolated && 'a client that does not initialise again has no process';
    test('sse: a client that lost its stream has a new one, and calls and changes reach it there', { timeout, skip: noProcess }, async () => {
      const { wanted, proxied } = sides('everything');
      const { peer } = /** @type {Side} */ (proxied[1]);
      const sent = peer.http.length;
      const from = peer.heard.length;
      peer.http[0]?.cut();
      await until(() => peer.http.slice(sent).some(({ method, status }) => method === 'GET' && status === 200), () => 'a new stream');
      await until(() => peer.client.ping({ timeout: 500 }).then(() => true, () => false), () => 'a stream that answers');
      assert.deepEqual(peer.http.slice(sent).filter(({ body }) => body?.method === 'initialize'), []);
      const request = call('gzip-file-as-resource', { name: 'again.gz', data: 'data:text/plain,again' });
      same(await askTyped(peer, request), await askTyped(wanted, request), 'the answer');
      await until(() => heardOf(peer, changedResources, from).length > 0, () => 'the change');
      peer.errors.splice(0); // what the SDK said about the stream that it lost
    });
  });

  describe('a server that is killed', { concurrency: true }, () => {
    for (const front of fronts) describe(front, { concurrency: 1 }, () => afterKill(front));

    /** @param {typeof fronts[number]} front */
    function afterKill(front) {
      const dir = () => join(dirs[front], 'files');

      test('a question that is open is withdrawn', { timeout }, async () => {
        const peer = await open(front, `everything-${front}`, 'the client', dir());
        let withdrawn = false;
        peer.replies.sampling = (_, signal) => {
          signal.addEventListener('abort', () => (withdrawn = true));
          return new Promise(() => {});
        };
        const answer = ask(peer, call('trigger-sampling-request', { prompt: 'is anybody there?' }));
        await until(() => peer.asked.some(({ method }) => method === 'sampling/createMessage'), () => 'the question');
        killServer(dirs[front]);
        assert.equal(reasonOf(await answer), '-32603 child_exited');
        await until(() => withdrawn, () => 'the question is withdrawn');
        assert.deepEqual(peer.http.filter(({ lastEventId }) => lastEventId !== null), [], 'on the stream that carried it');
        await peer.close();
      });

      const then = isolated ? 'the session ends' : 'the session goes on without a handshake';
      test(`the call in flight gets the reason, and ${then}`, { timeout }, async () => {
        const wanted = /** @type {Peer} */ (direct['everything']);
        const peer = await open(front, `everything-${front}`, 'the client', dir());
        const uri = (/** @type {number} */ n) => `demo://resource/dynamic/text/${n}`;
        await peer.client.setLoggingLevel('warning');
        await peer.client.subscribeResource({ uri: uri(51) });
        const answers = [ask(peer, endlessCall(0)), ask(peer, endlessCall(1), { onprogress() {} })];
        await until(() => heardOf(peer, progress).length > 0, () => 'progress');
        const from = peer.heard.length;
        killServer(dirs[front]);
        for (const answer of await Promise.all(answers)) assert.equal(reasonOf(answer), '-32603 child_exited');
        const statuses = peer.http.flatMap(({ body, status }) => (body?.method === 'tools/call' ? [status] : []));
        assert.deepEqual(statuses, Array(2).fill(front === 'sse' ? 202 : 200));

        if (isolated) {
          await until(async () => (await gone(peer)) === 404, () => 'the end of the session');
          await peer.client.close();
          return;
        }
        const heard = (/** @type {string} */ method) => heardOf(peer, method, from);
        const lists = /** @type {const} */ (['tools', 'prompts', 'resources']);
        const echo = call('echo', { message: 'after the restart' });
        same(await ask(peer, echo), await ask(wanted, echo), 'the next call');
        await until(() => lists.every((list) => heard(`notifications/${list}/list_changed`).length > 0), () => 'the lists may be others');
        const sampling = call('trigger-sampling-request', { prompt: 'and now?' });
        same(await ask(peer, sampling), await ask(wanted, sampling), 'a question after the restart');

        await ask(peer, call('toggle-subscriber-updates'));
        await until(() => heard(updatedResource).length > 0, () => 'an update of what was subscribed before');
        await ask(peer, call('toggle-subscriber-updates'));
        await peer.client.subscribeResource({ uri: uri(52) }); // the server says so at level info
        await peer.client.setLoggingLevel('info');
        await peer.client.subscribeResource({ uri: uri(53) });
        await until(() => heard(logLine).length > 0, () => 'a log line');
        assert.deepEqual(heard(logLine).map(({ params }) => /\d+(?= *$)/.exec(params.data)?.[0]), ['53']);
        assert.deepEqual(heard(updatedResource).map(({ params }) => params.uri), [uri(51)]);
        // The server itself says that its tools changed, for each that it adds at its start.
        for (const list of lists.slice(1)) assert.equal(heard(`notifications/${list}/list_changed`).length, 1, list);
        assert.equal(peer.http.filter(({ body }) => body?.method === 'initialize').length, 1);
        assert.equal(peer.answers.filter((answer) => 'error' in answer).length, 2, 'one answer to each call');
        await peer.close();
        same(unexpected(peer.errors), [], 'errors');
      });
    }
  });

  describe('cancellation', { concurrency: true }, () => {
    for (const front of fronts) {
      test(`${front}: a cancelled call ends at once and is never answered; others of the session go on`, { timeout }, async () => {
        const server = `everything-${front}`;
        const peer = await open(front, server, 'the canceller', dirs[front]);
        const silent = new AbortController();
        const talking = new AbortController();
        const asked = [
          peer.client.request(endlessCall(0), ResultSchema, { signal: silent.signal }),
          peer.client.request(endlessCall(1), ResultSchema, { signal: talking.signal, onprogress() {} }),
        ];
        const unhurried = call('trigger-long-running-operation', { duration: 1, steps: 2 });
        const kept = ask(peer, unhurried);
        const refused = Promise.all(asked.map((asking) => assert.rejects(asking, /enough/)));
        await until(async () => (await statusOf(server)).pendingRequests === 3, () => 'three calls in flight');
        await until(() => heardOf(peer, progress).length > 0, () => 'progress');
        silent.abort('enough');
        talking.abort('enough');
        await refused;
        same(await kept, await ask(/** @type {Peer} */ (direct['everything']), unhurried), 'the call that was not cancelled');
        await until(async () => (await statusOf(server)).pendingRequests === 0, () => 'no call in flight');
        if (front === 'streamable') {
          // A stream that ends without an answer makes the SDK ask for the rest of it; there is none.
          await until(() => peer.http.some(({ lastEventId, status }) => lastEventId !== null && status === 405), () => 'the end of the stream');
          const streams = peer.http.filter(({ method, status }) => method === 'GET' && status === 200);
          assert.equal(streams.length, 1, 'the standalone stream, and no other');
        }
        const next = call('echo', { message: 'on' });
        same(await ask(peer, next), await ask(/** @type {Peer} */ (direct['everything']), next), 'the next call');
        assert.equal(peer.answers.length, 3, 'to initialize and to the two calls that were not cancelled');
        await peer.close();
        same(unexpected(peer.errors), [], 'errors');
      });
    }
  });

  describe('the end of a session', { concurrency: true }, () => {
    test('streamable: DELETE answers what is in flight, and then there is no session', { timeout }, async () => {
      const before = running(dirs.streamable);
      const peer = await open('streamable', 'everything-streamable', 'the leaver', dirs.streamable);
      const own = running(dirs.streamable).filter((pid) => !before.includes(pid));
      assert.equal(own.length, Number(isolated), 'a process of its own');
      const answers = [ask(peer, endlessCall(0)), ask(peer, endlessCall(1), { onprogress() {} })];
      await until(() => heardOf(peer, progress).length > 0, () => 'progress');
      const { sessionId } = peer.transport;
      await peer.transport.terminateSession();
      assert.equal(peer.http.at(-1)?.method, 'DELETE');
      assert.equal(peer.http.at(-1)?.status, 204);
      for (const { error } of /** @type {any[]} */ (await Promise.all(answers))) {
        assert.deepEqual([error?.code, error?.data?.reason], [-32603, 'session_closed']);
      }

      const late = await open('streamable', 'everything-streamable', 'the latecomer', dirs.streamable, { sessionId });
      await assert.rejects(late.client.listTools(), { code: 404, message: /Session not found/ });
      for (const method of ['GET', 'DELETE', 'POST']) {
        const response = await fetch(`http://127.0.0.1:${proxy.port}/everything-streamable/mcp`, {
          method,
          headers: { 'mcp-session-id': sessionId ?? '', accept: 'text/event-stream, application/json', 'content-type': 'application/json' },
          ...(method === 'POST' ? { body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }) } : {}),
        });
        const { error } = /** @type {any} */ (await response.json());
        assert.deepEqual([method, response.status, error.code, error.data.reason], [method, 404, -32001, 'session_not_found']);
      }
      await peer.client.close();
      await late.client.close();
      await until(() => !running(dirs.streamable).some((pid) => own.includes(pid)), () => 'the end of its process');
    });

    test('sse: the session ends with its stream', { timeout }, async () => {
      const before = running(dirs.sse);
      const peer = await open('sse', 'everything-sse', 'the leaver', dirs.sse);
      const own = running(dirs.sse).filter((pid) => !before.includes(pid));
      assert.equal(own.length, Number(isolated), 'a process of its own');
      void ask(peer, endlessCall(0)).catch(() => {}); // nobody is left to hear the answer
      await until(async () => (await statusOf('everything-sse')).pendingRequests === 1, () => 'a call in flight');
      const endpoint = peer.http.find(({ method }) => method === 'POST')?.url ?? '';
      await peer.client.close();
      await until(async () => (await statusOf('everything-sse')).pendingRequests === 0, () => 'no call in flight');
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
      const response = await fetch(endpoint, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      assert.equal(response.status, 404);
      assert.equal(/** @type {any} */ (await response.json()).error.code, -32001);
      await until(() => !running(dirs.sse).some((pid) => own.includes(pid)), () => 'the end of its process');
    });
  });

  describe('twenty at once', () => {
    /** @typedef {typeof servers[number]} Name */
    const ks = Array.from({ length: crowdSize }, (_, k) => k);
    /** @type {(name: Name, k: number) => Peer} */
    const member = (name, k) => /** @type {Peer} */ (crowd[name]?.[k]);
    /** @type {(name: Name) => Peer[]} */
    const members = (name) => ks.map((k) => member(name, k));
    const directly = (/** @type {Name} */ name) => /** @type {Peer} */ (direct[name]);
    /** @type {(peer: Peer, method: string) => number} */
    const count = (peer, method) => heardOf(peer, method).length;
    /** How much each client has heard until now. @param {Name} name */
    const marks = (name) => members(name).map(({ heard }) => heard.length);
    /** @type {(from: number[], method: string) => Promise<unknown>} */
    const allHear = (from, method) =>
      until(() => members('everything').every((peer, k) => heardOf(peer, method, from[k]).length > 0), () => `everybody hears ${method}`);

    before(
      async () => {
        for (const name of servers) {
          const root = join(dirs.crowd, 'files');
          crowd[name] = await Promise.all(ks.map((k) => open(fronts[k % fronts.length] ?? 'sse', name, nameOf(k), root)));
          await until(() => members(name).every(listens), () => 'every stream is open');
        }
        const asked = isolated ? members('everything') : [];
        await until(() => asked.every(({ heard }) => heard.some(isRootsLine)), () => 'the roots of every client are known');
      },
      { timeout },
    );

    for (const name of servers) {
      test(`${name}: every answer belongs to the client that asked`, { timeout }, async () => {
        /** @type {(peer: Peer, dir: string, k: number) => Promise<unknown[]>} */
        const start = (peer, dir, k) => inTurn(firstSteps[name]?.(k) ?? [], (step) => take(peer, dir, step));
        /** @type {(peer: Peer, dir: string, k: number) => Promise<unknown[]>} */
        const work = (peer, dir, k) => Promise.all((atOnce[name]?.(k) ?? []).map((step) => take(peer, dir, step)));
        const startAt = (/** @type {number} */ k) => start(member(name, k), dirs.crowd, k);

        // The memory server reads, changes and writes its file: only one may change it at a time.
        const began = name === 'memory' ? await inTurn(ks, startAt) : await Promise.all(ks.map(startAt));
        const got = await Promise.all(ks.map((k) => work(member(name, k), dirs.crowd, k)));

        const one = directly(name);
        const wanted = await inTurn(ks, async (k) => [...(await start(one, dirs.stdio, k)), ...(await work(one, dirs.stdio, k))]);
        for (const k of ks) same([...(began[k] ?? []), ...(got[k] ?? [])], wanted[k], nameOf(k));
        for (const at of wanted[0]?.keys() ?? []) {
          const different = new Set(wanted.map((answers) => JSON.stringify(answers[at])));
          assert.equal(different.size, crowdSize, `answer ${at} tells the client`);
        }
      });
    }

    test('progress reaches the call that it belongs to, though ids and tokens are the same', { timeout }, async () => {
      const from = marks('everything');
      const answers = await Promise.all(ks.map((k) => ask(member('everything', k), longCall(k), { onprogress() {} })));
      for (const k of ks) {
        const told = progressOf(member('everything', k), from[k]);
        assert.deepEqual(told, Array.from({ length: 3 + k }, (_, n) => ({ progress: n + 1, total: 3 + k })));
        assert.match(JSON.stringify(answers[k]), new RegExp(`Duration: 0\\.20${numberOf(k)}\\d* seconds, Steps: ${3 + k}\\.`));
      }
      const ids = members('everything').map(({ http }) => http.findLast(({ body }) => body?.params?._meta?.progressToken !== undefined)?.body.id);
      assert.equal(new Set(ids).size, 1, `the ids are the same: ${ids.join()}`);
    });

    const oneAtATime = isolated ? '' : ', one call at a time';
    test(`a question of the server reaches the client whose call it is about${oneAtATime}`, { timeout }, async () => {
      const calls = (/** @type {number} */ k) => [
        call('trigger-sampling-request', { prompt: `${nameOf(k)} asks` }),
        call('trigger-elicitation-request'),
        call('trigger-url-elicitation', { url: `https://example.com/${numberOf(k)}`, elicitationId: `of ${numberOf(k)}` }),
      ];
      const work = async (/** @type {Peer} */ peer, /** @type {number} */ k) => {
        const from = peer.asked.length;
        const answers = await inTurn(calls(k), (request) => ask(peer, request));
        return [answers, peer.asked.slice(from)];
      };
      const asked = members('everything').map((peer) => peer.asked.length);
      const each = (/** @type {number} */ k) => work(member('everything', k), k);
      const got = isolated ? await Promise.all(ks.map(each)) : await inTurn(ks, each);
      const usual = { ...directly('everything').replies };
      const wanted = await inTurn(ks, (k) => {
        Object.assign(directly('everything').replies, repliesOf(nameOf(k), ''));
        return work(directly('everything'), k);
      });
      Object.assign(directly('everything').replies, usual);
      for (const k of ks) same(got[k], wanted[k], nameOf(k));
      assert.equal(new Set(wanted.map((each) => JSON.stringify(each))).size, crowdSize);
      for (const k of ks) assert.equal(member('everything', k).asked.length, (asked[k] ?? 0) + 3, 'about its own calls only');
    });

    const twoClients = isolated && 'a process of its own has one client';
    for (const [busy, asking] of /** @type {const} */ ([[0, 1], [1, 2], [2, 4], [3, 5]])) {
      const title = `while ${fronts[busy % 2]} and ${fronts[asking % 2]} have calls in flight`;
      test(`${title} the server's question is refused, and nobody sees it`, { timeout, skip: twoClients }, async () => {
        const asked = members('everything').map((peer) => peer.asked.length);
        const other = member('everything', busy);
        const from = other.heard.length;
        const long = ask(other, call('trigger-long-running-operation', { duration: 1, steps: 10 }), { onprogress() {} });
        await until(() => heardOf(other, progress, from).length > 0, () => 'progress');
        const request = call('trigger-sampling-request', { prompt: nameOf(asking) });
        const text = 'MCP error -32603: Cannot attribute sampling/createMessage: 2 clients share this process';
        assert.deepEqual(await ask(member('everything', asking), request), { result: { content: [{ type: 'text', text }], isError: true } });
        assert.deepEqual(members('everything').map((peer) => peer.asked.length), asked);
        await long;
        assert.match(JSON.stringify(await ask(member('everything', asking), request)), new RegExp(`the model of ${nameOf(asking)}`));
      });
    }

    test(`${isolated ? 'only the session whose server changed' : 'every client'} hears of a changed list, once`, { timeout }, async () => {
      const heard = members('everything').map((peer) => count(peer, changedResources));
      const make = (/** @type {number} */ k, /** @type {string} */ name) =>
        ask(member('everything', k), call('gzip-file-as-resource', { name, data: 'data:text/plain,x' }));
      await make(3, 'first.gz');
      await inTurn(ks, (k) => make(k, `then-${k}.gz`));
      const wanted = (/** @type {number} */ k) => (heard[k] ?? 0) + (isolated ? 1 + Number(k === 3) : 1 + crowdSize);
      for (const k of ks) {
        const peer = member('everything', k);
        await until(() => count(peer, changedResources) >= wanted(k), () => `${peer.name} hears of ${wanted(k)} changes`);
        assert.equal(count(peer, changedResources), wanted(k), peer.name);
      }
    });

    test('updates of a resource reach those who subscribe to it, and nobody else', { timeout }, async () => {
      const uri = 'memory://knowledge-graph';
      const odd = ks.filter((k) => k % 2 === 1 || k % 4 === 2); // of either transport
      const even = ks.filter((k) => !odd.includes(k));
      const wanted = ks.map((k) => count(member('memory', k), updatedResource));
      let holders = odd;
      let round = 0;
      const everybodyChangesIt = async () => {
        round += 1;
        await inTurn(ks, (k) => ask(member('memory', k), change(k, round)));
        for (const k of holders) wanted[k] = (wanted[k] ?? 0) + (isolated ? 1 : crowdSize);
        for (const k of holders) {
          const peer = member('memory', k);
          await until(() => count(peer, updatedResource) >= (wanted[k] ?? 0), () => `round ${round}: ${peer.name} hears ${wanted[k]} updates`);
        }
        assert.deepEqual(members('memory').map((peer) => count(peer, updatedResource)), wanted, `round ${round}`);
      };
      await inTurn(odd, (k) => member('memory', k).client.subscribeResource({ uri }));
      await everybodyChangesIt();
      await inTurn(even, (k) => member('memory', k).client.subscribeResource({ uri }));
      holders = ks;
      await everybodyChangesIt();
      await inTurn(odd, (k) => member('memory', k).client.unsubscribeResource({ uri }));
      holders = even;
      await everybodyChangesIt();
      await inTurn(odd, (k) => member('memory', k).client.subscribeResource({ uri }));
      holders = ks;
      await everybodyChangesIt();
    });

    test('a log line about the call of one client reaches that client only', { timeout }, async () => {
      const from = marks('everything');
      const lines = (/** @type {number} */ k) => heardOf(member('everything', k), logLine, from[k]);
      const uri = (/** @type {number} */ k) => `demo://resource/dynamic/text/${numberOf(k)}`;
      await inTurn(ks, (k) => member('everything', k).client.subscribeResource({ uri: uri(k) }));
      await inTurn(ks, (k) => until(() => lines(k).length > 0, () => `the line for ${nameOf(k)}`));
      await passed();
      for (const k of ks) {
        same(lines(k).map(({ params }) => params.data.trim()), [`Received Subscribe Resource request for URI: ${uri(k)}`], nameOf(k));
      }
    });

    test('each client hears the log lines of its own level', { timeout, skip: twoClients }, async () => {
      const levels = /** @type {const} */ (['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']);
      // Two clients have each level, and the last ones none: they hear what a server says unasked.
      const least = (/** @type {number} */ k) => (k < 2 * levels.length ? k >> 1 : levels.indexOf('info'));
      const saying = ks.filter((k) => k < 2 * levels.length);
      await Promise.all(saying.map((k) => member('everything', k).client.setLoggingLevel(levels[least(k)] ?? 'debug')));
      const from = marks('everything');
      const lines = (/** @type {number} */ k) => heardOf(member('everything', k), logLine, from[k]);
      // One line at a random level during the call, which is about this call, and one 5 s later, which is about nobody's.
      await ask(member('everything', 0), call('toggle-simulated-logging'));
      await until(() => lines(0).length >= 2, () => 'a line while nothing is in flight');
      await ask(member('everything', 0), call('toggle-simulated-logging'));
      await passed();
      const everybodys = lines(0).slice(1);
      assert.equal(everybodys.length, 1);
      for (const k of ks.slice(1)) {
        same(lines(k), everybodys.filter(({ params }) => levels.indexOf(params.level) >= least(k)), `${nameOf(k)} at ${levels[least(k)]}`);
      }
    });

    test(`new roots of a client ${isolated ? 'are those of its own server' : 'do not move the server of everybody'}`, { timeout }, async () => {
      const allowed = async (/** @type {number} */ k) => {
        const { result } = /** @type {any} */ (await ask(member('filesystem', k), call('list_allowed_directories')));
        return result?.structuredContent.content;
      };
      const before = `Allowed directories:\n${join(dirs.crowd, 'files')}`;
      assert.deepEqual(await Promise.all(ks.map(allowed)), ks.map(() => before));
      /** @param {number} k */
      const move = async (k) => {
        const peer = member('filesystem', k);
        const own = placed(ownDirectory(k), dirs.crowd);
        peer.replies.roots = () => ({ roots: [{ uri: `file://${own}` }] });
        const asked = peer.asked.length;
        // Calls are in flight with it: if the server were told, it would ask this client now.
        await Promise.all([peer.client.sendRootsListChanged(), ...Array.from({ length: 10 }, () => allowed(k))]);
        if (!isolated) return;
        await until(() => peer.asked.length > asked, () => `${peer.name} is asked for its roots`);
        await until(async () => (await allowed(k)) === `Allowed directories:\n${own}`, () => `the root of ${peer.name}`);
      };
      if (isolated) return void (await Promise.all(ks.map(move)));
      const asked = members('filesystem').map((peer) => peer.asked.length);
      await inTurn(ks, move);
      assert.deepEqual(await Promise.all(ks.map(allowed)), ks.map(() => before));
      assert.deepEqual(members('filesystem').map((peer) => peer.asked.length), asked);
    });

    test('one client cancels and the others, with the same ids, do not notice', { timeout }, async () => {
      const answers = members('everything').map((peer) => peer.answers.length);
      const from = marks('everything');
      const impatient = new AbortController();
      const cancels = (/** @type {number} */ k) => k % 4 < 2; // of either transport
      const asked = ks.map((k) => {
        const request = call('trigger-long-running-operation', { duration: lasting(1, k), steps: 10 });
        const options = { onprogress() {}, ...(cancels(k) ? { signal: impatient.signal } : {}) };
        return member('everything', k).client.request(request, ResultSchema, options);
      });
      const outcome = Promise.allSettled(asked);
      await allHear(from, progress);
      impatient.abort('enough');
      const outcomes = await outcome;
      for (const k of ks) {
        const got = /** @type {any} */ (outcomes[k]);
        if (cancels(k)) assert.match(String(got.reason), /enough/);
        else assert.match(JSON.stringify(got.value), new RegExp(`Duration: 1\\.00${numberOf(k)}`));
        assert.equal(member('everything', k).answers.length, (answers[k] ?? 0) + Number(!cancels(k)), nameOf(k));
      }
      if (isolated) return;
      // The server may still work for those who have cancelled, so nobody can tell whom it asks.
      const seen = members('everything').map((peer) => peer.asked.length);
      const answer = await ask(member('everything', 3), call('trigger-sampling-request', { prompt: 'who is this about?' }));
      assert.match(JSON.stringify(answer), new RegExp(`Cannot attribute sampling/createMessage: ${1 + ks.filter(cancels).length} clients`));
      assert.deepEqual(members('everything').map((peer) => peer.asked.length), seen);
    });

    const then = isolated ? 'the sessions end' : 'every session goes on';
    test(`when the server is killed every call in flight is answered once, and ${then}`, { timeout }, async () => {
      const from = marks('everything');
      const answers = members('everything').map((peer) => peer.answers.length);
      const asked = ks.map((k) => ask(member('everything', k), endlessCall(k), { onprogress() {} }));
      await allHear(from, progress);
      const others = Promise.all(ks.map((k) => ask(member('memory', k), call('open_nodes', { names: [nameOf(k)] }))));
      killServer(dirs.crowd);
      for (const answer of await Promise.all(asked)) assert.equal(reasonOf(answer), '-32603 child_exited');
      const undisturbed = await others;
      for (const k of ks) assert.match(JSON.stringify(undisturbed[k]), new RegExp(`${numberOf(k)} counts`));
      if (isolated) {
        await inTurn(members('everything'), (peer) => until(async () => (await gone(peer)) === 404, () => `the session of ${peer.name} ends`));
        return;
      }
      const echoes = await Promise.all(ks.map((k) => ask(member('everything', k), call('echo', { message: `${nameOf(k)} is back` }))));
      for (const k of ks) {
        assert.deepEqual(echoes[k], { result: { content: [{ type: 'text', text: `Echo: ${nameOf(k)} is back` }] } });
        assert.equal(member('everything', k).answers.length, (answers[k] ?? 0) + 2);
        assert.equal(member('everything', k).http.filter(({ body }) => body?.method === 'initialize').length, 1);
      }
    });

    test('there is no process for one client more than there may be', { timeout, skip: !isolated && 'sessions share a process' }, async () => {
      for (const name of servers.slice(1)) {
        assert.equal((await statusOf(name)).sessions, crowdSize);
        const tooMany = openProxied('streamable', proxy.port, name, 'one too many', dirs.crowd);
        await assert.rejects(tooMany, ({ cause }) => cause.code === 503 && /Too many sessions/.test(cause.message));
      }
    });

    test('no client has seen anything that it did not expect', () => {
      for (const { name, errors } of Object.values(crowd).flat()) {
        const lost = /disconnected|terminated|Failed to|Non-200/i; // sessions whose process was killed
        same(unexpected(errors).filter((error) => !(isolated && lost.test(error))), [], name);
      }
    });

    /** Waits until what the server sent so far has arrived: streams keep their order, and this comes last. */
    async function passed() {
      const from = marks('everything');
      for (const k of isolated ? ks : [0]) {
        await ask(member('everything', k), call('gzip-file-as-resource', { name: `fence-${(fences += 1)}.gz`, data: 'data:text/plain,x' }));
      }
      await allHear(from, changedResources);
    }
    let fences = 0;
  });

  test('after SIGTERM the proxy exits with 0 and no process of any server is left', { timeout }, async () => {
    await Promise.all(Object.values(direct).map((peer) => peer.client.close()));
    await until(() => processesIn(dirs.stdio).length === 0, () => 'the servers without a proxy have ended');
    proxy.child.kill('SIGTERM');
    const [code, signal] = await proxy.ended;
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, proxy.log());
    assert.deepEqual(processesIn(base).map(({ pid, group, text }) => ({ pid, group, text: text.slice(0, 200) })), []);
    await Promise.all(opened.map((peer) => peer.client.close()));
  });

  /** The status of one server. @param {string} name */
  async function statusOf(name) {
    const response = await fetch(`http://127.0.0.1:${proxy.port}/api/servers`, { headers: { accept: 'application/json' } });
    return /** @type {any} */ (await response.json())[name];
  }

  /** Kills server-everything as the operating system would when memory is short. @param {string} dir */
  function killServer(dir) {
    const found = running(dir);
    assert.ok(found.length > 0);
    for (const pid of found) kill(pid);
  }

  /** The processes of server-everything that belong to a directory. @param {string} dir */
  function running(dir) {
    return processesIn(dir).flatMap(({ pid, text }) => (text.includes('server-everything/dist') ? [pid] : []));
  }
}

/** What a POST to the session of this client is answered. @param {Peer} peer */
async function gone({ http, transport }) {
  const { url } = http.find(({ method }) => method === 'POST') ?? { url: '' };
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(transport.sessionId === undefined ? {} : { 'mcp-session-id': transport.sessionId }) },
    body: JSON.stringify({ jsonrpc: '2.0', method: 'notifications/none' }),
  });
  await response.body?.cancel();
  return response.status;
}

/**
 * One after the other.
 * @template T, R
 * @param {readonly T[]} items
 * @param {(item: T) => Promise<R>} act
 */
async function inTurn(items, act) {
  const results = [];
  for (const item of items) results.push(await act(item));
  return results;
}

/** @param {any} answer */
function reasonOf({ error }) {
  return `${error?.code} ${error?.data?.reason}`;
}

/**
 * What the SDK complained about. Left out: it looks up whose progress it is a moment after it was told, and has forgotten
 * the call when the answer came in the same moment, or when it was cancelled.
 * @param {string[]} errors
 */
function unexpected(errors) {
  return errors.filter((error) => !error.startsWith('Received a progress notification for an unknown token'));
}

/** @type {(peer: Peer, method: string, from?: number) => Message[]} */
function heardOf({ heard }, method, from = 0) {
  return heard.slice(from).filter((message) => message.method === method);
}

/** Whether its stream for everything that belongs to no request is open. @param {Peer} peer */
function listens({ http }) {
  return http.some(({ method, status }) => method === 'GET' && status === 200);
}

/** @type {(peer: Peer, dir: string, step: import('./workloads.mjs').Step) => Promise<any>} */
async function take(peer, dir, { request, except }) {
  return masked(await ask(peer, placed(request, dir)), dir, except);
}

/** @param {Message} message */
function isRootsLine({ method, params }) {
  return method === 'notifications/message' && /^Roots updated/.test(params.data);
}

/**
 * What a client hears whenever it does the same. Left out: what servers say about their start and about the roots, which
 * they learn at another time when nobody may be asked for them at the start, and log lines at random levels.
 * @param {Message[]} heard
 */
function chosen(heard) {
  return heard.filter(({ method, params }) => {
    if (method === 'notifications/tools/list_changed') return false;
    return method !== 'notifications/message' || /^Received/.test(params.data);
  });
}

/**
 * The progress that a client was told, which all belongs to one call.
 * @param {Peer} peer
 * @param {number} [from]
 */
function progressOf(peer, from) {
  const told = heardOf(peer, progress, from);
  const tokens = new Set(told.map(({ params }) => params.progressToken));
  assert.deepEqual([...tokens].map((token) => typeof token), ['number'], "one call, under the client's own token");
  return told.map(({ params: { progressToken: _token, ...rest } }) => rest);
}

/** @param {any} capabilities */
function withoutTasks({ tasks: _tasks, ...capabilities }) {
  return capabilities;
}

/** @param {any} answer @returns {import('./servers.mjs').Kind} */
function kindOf({ result, error }) {
  if (error !== undefined) return 'error';
  return result.isError === true ? 'isError' : 'result';
}

/** @param {Row} row */
function titleOf({ method, params, kind, except }) {
  const verb = kind === 'result' ? 'answers' : kind === 'isError' ? 'fails' : 'refuses';
  const what = [...(JSON.stringify(params) ?? '')].slice(0, 90).join('').replace(/[\u2028\u2029\u007f]/g, ' ');
  return `${verb} ${method} ${what}${except.length > 0 ? ` (except: ${except.join(', ')})` : ''}`;
}

/** Every process that has a directory in its arguments or environment. @param {string} dir */
function processesIn(dir) {
  return dir === '' ? [] : processes().filter(({ pid, text }) => pid !== process.pid && text.includes(dir));
}

/** @param {number} pid */
function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it ended by itself
  }
}
