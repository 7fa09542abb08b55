// Every kind of client at a server of either era: what crosses, and where something does not, why. The README's table
// says the same in short.

import assert from 'node:assert/strict';
import { after, describe, test, type TestContext } from 'node:test';
import { connectEra, FRONTS, type EraClient, type Front, type Ongoing, type Replies } from '../support/eras.ts';
import { until } from '../support/files.ts';
import { key } from '../support/modern.ts';
import { node, startProxy } from '../support/proxy.ts';
import { childHas, heardByChild } from '../support/session.ts';

const BACKS = ['legacy', 'modern'] as const;
type Back = (typeof BACKS)[number];

const proxy = await startProxy({ after }, {
  legacy: node('server.mjs'),
  modern: node('server.mjs', '--modern-only'),
  // One for each pair, for what depends on who else is there.
  ...Object.fromEntries(FRONTS.flatMap((front) => BACKS.map((back) => [ownOf(front, back), node('server.mjs', ...(back === 'modern' ? ['--modern'] : []))]))),
}, { limits: { backoffFirstMs: 20 } });

function ownOf(front: Front, back: Back): string {
  return `${front}-${back}`.toLowerCase().replace(/[^a-z]/g, '');
}

const WHO = { message: 'who are you?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } } } };
const PROMPT = { messages: [{ role: 'user', content: { type: 'text', text: 'hello' } }], maxTokens: 10 };
const EVERYTHING = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} };
const ANSWERS: Record<string, object> = {
  'elicitation/create': { action: 'accept', content: { name: 'żółć 🦊' } },
  'sampling/createMessage': { role: 'assistant', content: { type: 'text', text: 'hi' }, model: 'm' },
  'roots/list': { roots: [{ uri: 'file:///a', name: 'a' }] },
};
const REPLIES: Replies = (method) => ANSWERS[method] as object;

/** One client at one server. */
interface Pair {
  readonly t: TestContext;
  readonly front: Front;
  readonly back: Back;
  /** The name of a server that nobody else uses. */
  readonly own: string;
  connect(server?: string): Promise<EraClient>;
}

/** Why something does not cross: for a pair, or for all of a front or a back. */
type Reasons = Partial<Record<Front | Back | `${Front}/${Back}`, string>>;

interface Row {
  readonly what: string;
  /** Why it does not cross, where it does not. */
  readonly not?: Reasons;
  /** Does it, and sees it arrive. */
  crosses(pair: Pair): Promise<void>;
  /** Does it, and sees what happens instead. */
  else?(pair: Pair): Promise<void>;
}

const ONE_CODE = 'a modern server has one code for all invalid params';

const legacyShape = (front: Front): boolean => front !== 'stateless';
const hears = (client: EraClient, wanted: (message: any) => boolean, what: string): Promise<any> =>
  until(() => client.heard.find(wanted), () => `${what}, in ${JSON.stringify(client.heard)}`);
const isLog = (text: string) => ({ method, params }: any): boolean => method === 'notifications/message' && params.data === text;
const untagged = ({ params, ...message }: any): any => {
  const { _meta: _, ...rest } = params ?? {};
  return { ...message, ...(Object.keys(rest).length > 0 && { params: rest }) };
};

/** A call that says something, and is over once that must have come. */
async function logs(client: EraClient, text: string): Promise<boolean> {
  await client.tool('log', { level: 'info', text, delayMs: 20 });
  return client.heard.some(isLog(text));
}

/** The answer of a tool that asks its client. */
async function asks({ connect, own, front, back }: Pair, method: string, params?: object): Promise<any> {
  const client = await connect(own);
  const { result, error } = await client.request('tools/call', { name: 'ask', arguments: { method, params } }).answer();
  return { client, result, error, front, back };
}

function question(method: string, params?: object): Pick<Row, 'crosses' | 'else' | 'not'> {
  return {
    not: { simple: 'every request of a simple client stands alone: there is nobody to ask' },
    async crosses(pair) {
      const { client, result, error } = await asks(pair, method, params);
      assert.equal(error, undefined, JSON.stringify(error));
      assert.deepEqual(result.structuredContent.result, ANSWERS[method]);
      assert.deepEqual(client.asked.map(({ method, params }: any) => [method, params]), [[method, params]]);
      assert.equal(heardByChild(proxy, 'tools/call', pair.own).filter(({ params }) => params.name === 'ask' && params.arguments.method === method).length, pair.back === 'modern' ? 2 : 1);
    },
    async else(pair) {
      const { result, error } = await asks(pair, method, params);
      // A legacy server is told so and decides itself; a modern one has been told before.
      if (pair.back === 'legacy') assert.deepEqual(result.structuredContent.error.data, { source: 'mcp-proxy', reason: 'client_capability' });
      else assert.deepEqual([error.code, error.data.originalError.code], [-32603, -32021]);
    },
  };
}

const ROWS: readonly Row[] = [
  {
    what: 'lists',
    async crosses({ connect, front, back }) {
      const client = await connect();
      for (const [method, member, name] of [['tools/list', 'tools', 'echo'], ['prompts/list', 'prompts', 'plain'], ['resources/list', 'resources', 'note'], ['resources/templates/list', 'resourceTemplates', 'pages']] as const) {
        const { result } = await client.request(method).answer();
        assert.ok(result[member].some((each: any) => each.name === name), method);
        if (legacyShape(front)) assert.deepEqual(Object.keys(result), [member]);
        else assert.deepEqual([result.resultType, result.ttlMs, result.cacheScope], back === 'modern' ? ['complete', 60_000, 'public'] : ['complete', 0, 'private']);
      }
    },
  },
  {
    what: 'calls, prompts, resources and completions',
    async crosses({ connect, front }) {
      const client = await connect();
      assert.deepEqual(await client.tool('echo', { text: 'zażółć 🦊', n: 1 }), { text: 'zażółć 🦊', n: 1 });
      const others: [string, object, (result: any) => unknown, unknown][] = [
        ['prompts/get', { name: 'greet', arguments: { name: 'ż' } }, (result) => result.messages[0].content.text, 'hello, ż'],
        ['resources/read', { uri: 'test://note' }, (result) => result.contents[0].text, 'zażółć gęślą jaźń 🦊'],
        ['completion/complete', { ref: { type: 'ref/prompt', name: 'plain' }, argument: { name: 'x', value: 'pa' } }, (result) => result.completion.values, ['page', 'part']],
      ];
      for (const [method, params, look, wanted] of others) {
        const { result } = await client.request(method, params).answer();
        assert.deepEqual(look(result), wanted);
        assert.equal(result.resultType, legacyShape(front) ? undefined : 'complete');
        assert.equal(key('serverInfo') in (result._meta ?? {}), !legacyShape(front));
      }
    },
  },
  {
    what: 'errors of the server',
    async crosses({ connect }) {
      const client = await connect();
      const { error } = await client.request('tools/call', { name: 'fail', arguments: { code: -32603, message: 'żółć', data: { why: [1] } } }).answer();
      assert.deepEqual(error, { code: -32603, message: 'żółć', data: { why: [1] } });
    },
  },
  {
    what: 'a missing resource, under the code of the client’s revision',
    not: { 'simple/modern': ONE_CODE, 'HTTP+SSE/modern': ONE_CODE, 'Streamable HTTP/modern': ONE_CODE },
    async crosses({ connect, front }) {
      const { error } = await (await connect()).request('resources/read', { uri: 'test://no' }).answer();
      assert.deepEqual([error.code, error.message, error.data], [legacyShape(front) ? -32002 : -32602, 'Resource not found', { uri: 'test://no' }]);
    },
    async else({ connect }) {
      const { error } = await (await connect()).request('resources/read', { uri: 'test://no' }).answer();
      assert.equal(error.code, -32602);
    },
  },
  {
    what: 'the trace context of a request',
    async crosses({ connect, front, back }) {
      const traceparent = `00-${front}-${back}`;
      await (await connect()).tool('echo', {}, { traceparent, 'vendor/x': [1] });
      const { _meta } = heardByChild(proxy, 'tools/call', back).find(({ params }) => params._meta?.traceparent === traceparent).params;
      assert.deepEqual(_meta['vendor/x'], [1]);
      assert.equal(key('protocolVersion') in _meta, back === 'modern');
    },
  },
  {
    what: 'progress, under the client’s own token',
    async crosses({ connect }) {
      const client = await connect();
      for (const progressToken of ['1', 1]) await client.tool('progress', { steps: 2 }, { progressToken });
      const told = client.heard.filter(({ method }) => method === 'notifications/progress');
      assert.deepEqual(told.map(({ params }) => [params.progressToken, params.progress, params.message]), [
        ['1', 1, 'step 1 of 2'],
        ['1', 2, 'step 2 of 2'],
        [1, 1, 'step 1 of 2'],
        [1, 2, 'step 2 of 2'],
      ]);
    },
  },
  {
    what: 'log lines, without a level', // first, because the one level of all simple clients stays
    not: { stateless: 'in 2026-07-28 a client that names no level wants none', modern: 'a modern server logs only for who names a level' },
    async crosses({ connect, own }) {
      assert.equal(await logs(await connect(own), 'unasked'), true);
    },
    async else({ connect, own }) {
      assert.equal(await logs(await connect(own), 'unasked'), false);
    },
  },
  {
    what: 'log lines, from the level on that the client has set',
    async crosses({ connect, own }) {
      const client = await connect(own);
      await client.setLevel('warning');
      assert.equal(await logs(client, 'too quiet'), false);
      await client.setLevel('info');
      assert.equal(await logs(client, 'loud enough'), true);
    },
  },
  {
    what: 'a cancelled call',
    async crosses({ connect, own }) {
      const { call, idThere } = await holds(await connect(own), own, 'cancelled');
      await call.cancel();
      await becomesCancelled(own, idThere);
      await finish(own, 'cancelled');
    },
  },
  {
    what: 'a notification that says a call is cancelled',
    not: { simple: 'ids belong to one client, and nothing says which one this is', stateless: 'nothing says which client this is; leaving is how it cancels' },
    async crosses({ connect, own }) {
      const client = await connect(own);
      const { call, idThere } = await holds(client, own, 'by word');
      await client.notify('notifications/cancelled', { requestId: call.id });
      await becomesCancelled(own, idThere);
      await finish(own, 'by word');
    },
    async else({ connect, own }) {
      const client = await connect(own);
      const { call, idThere } = await holds(client, own, 'by word');
      await client.notify('notifications/cancelled', { requestId: call.id });
      await client.tool('release', { key: 'by word' });
      assert.deepEqual((await call.answer()).result.content[0].text, 'done');
      assert.equal(isCancelled(own, idThere), false);
    },
  },
  {
    what: 'a client that leaves, as a cancelled call',
    not: { 'Streamable HTTP': 'a stream that breaks off can be resumed' },
    async crosses({ connect, own }) {
      const client = await connect(own);
      const { idThere } = await holds(client, own, 'left');
      await client.leave();
      await becomesCancelled(own, idThere);
      await finish(own, 'left');
    },
    async else({ connect, own }) {
      const client = await connect(own);
      const { idThere } = await holds(client, own, 'left');
      await client.leave();
      await (await connect(own)).tool('release', { key: 'left' });
      await proxy.becomes(own, ({ pendingRequests }: any) => pendingRequests === 0);
      assert.equal(isCancelled(own, idThere), false);
    },
  },
  {
    what: 'updates of a resource that is watched',
    async crosses({ connect, front, own }) {
      const client = await connect(own);
      await client.watch('test://note');
      await client.tool('updated', { uri: 'test://note' });
      const update = await hears(client, ({ method }) => method === 'notifications/resources/updated', 'the update');
      assert.deepEqual(untagged(update), { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://note' } });
      assert.equal(update.params._meta !== undefined, front === 'stateless');
    },
  },
  {
    what: 'changes of the lists',
    async crosses({ connect, own, front, back }) {
      const client = await connect(own);
      if (front === 'stateless') await client.watch();
      if (front !== 'stateless' && back === 'modern') await childHas(proxy, 'subscriptions/listen', 1, own);
      for (const what of ['tools', 'prompts', 'resources']) {
        await client.tool('changed', { what });
        const change = await hears(client, ({ method }) => method === `notifications/${what}/list_changed`, what);
        assert.deepEqual(untagged(change), { jsonrpc: '2.0', method: `notifications/${what}/list_changed` });
        assert.equal(change.params?._meta !== undefined, front === 'stateless');
      }
    },
  },
  { what: 'elicitation', ...question('elicitation/create', WHO) },
  { what: 'sampling', ...question('sampling/createMessage', PROMPT) },
  { what: 'roots', ...question('roots/list', {}) },
  {
    what: 'a notification that MCP does not know',
    not: { 'stateless/legacy': 'what a modern client may say and what a legacy server may hear are two lists' },
    async crosses({ connect, back, front }) {
      const method = `notifications/vendor/${front}`.replace(/[^a-z/]/gi, '');
      await (await connect()).notify(method, { a: 1 });
      const [{ params }] = await childHas(proxy, method, 1, back);
      assert.equal(params.a, 1);
    },
    async else({ connect, back }) {
      const client = await connect();
      await client.notify('notifications/vendor/never');
      await client.tool('echo');
      assert.deepEqual(heardByChild(proxy, 'notifications/vendor/never', back), []);
    },
  },
  {
    what: 'the end of the server’s process: one error, then it works again and the lists may be others',
    async crosses({ connect, own, front }) {
      const client = await connect(own);
      if (front === 'stateless') await client.watch();
      const dying = client.request('tools/call', { name: 'die', arguments: { code: 3 } });
      const { error } = await dying.answer();
      assert.deepEqual([error.code, error.message, error.data.reason, error.data.source], [-32603, `Server "${own}" exited (code 3)`, 'child_exited', 'mcp-proxy']);
      assert.deepEqual(await client.tool('echo', { again: true }), { again: true });
      for (const what of ['tools', 'prompts', 'resources']) await hears(client, ({ method }) => method === `notifications/${what}/list_changed`, what);
      assert.equal(heardByChild(proxy, 'tools/call', own).filter(({ params }) => params.name === 'die').length, 1, 'it is not tried again');
    },
  },
];

/** A call that has said something and is not over, and its id at the server. */
async function holds(client: EraClient, server: string, hold: string): Promise<{ readonly call: Ongoing; readonly idThere: number }> {
  const call = client.request('tools/call', { name: 'progress', arguments: { steps: 1, hold, stubborn: true } }, { progressToken: hold });
  await hears(client, ({ params }) => params?.progressToken === hold, 'progress');
  return { call, idThere: heardByChild(proxy, 'tools/call', server).find(({ params }) => params.arguments.hold === hold).id };
}

/** Lets the server answer a call that nobody waits for: until then, what it asks may be about that. */
const finish = (server: string, hold: string): Promise<unknown> => proxy.tool(server, 'release', { key: hold });

const isCancelled = (server: string, id: number): boolean => heardByChild(proxy, 'notifications/cancelled', server).some(({ params }) => params.requestId === id);
const becomesCancelled = (server: string, id: number): Promise<boolean> => until(() => isCancelled(server, id), 'the cancellation');

for (const row of ROWS) {
  describe(row.what, () => {
    for (const front of FRONTS) {
      for (const back of BACKS) {
        const why = row.not?.[`${front}/${back}`] ?? row.not?.[front] ?? row.not?.[back];
        test(`${why === undefined ? 'crosses' : 'does not cross'}: a ${front} client and a ${back} server${why === undefined ? '' : ` (${why})`}`, async (t) => {
          const own = ownOf(front, back);
          const clients: EraClient[] = [];
          t.after(() => Promise.all(clients.map((client) => client.leave())).then(() => {}));
          const pair: Pair = {
            t,
            front,
            back,
            own,
            connect: async (server = back) => {
              const client = await connectEra(t, proxy, front, { server, capabilities: EVERYTHING, replies: REPLIES });
              clients.push(client);
              return client;
            },
          };
          if (why === undefined) await row.crosses(pair);
          else await (row.else as NonNullable<Row['else']>)(pair);
        });
      }
    }
  });
}
