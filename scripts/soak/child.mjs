// The server of the soak: `child.mjs <name> legacy|modern`. Every result can be told from its arguments, so that whoever asked
// knows what is right.
// @ts-check
import { createInterface } from 'node:readline';

const [name = '', era = 'legacy'] = process.argv.slice(2);
const META = 'io.modelcontextprotocol/';
const CAPABILITIES = { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} };
/** @type {Map<unknown, (message: any) => void>} who waits for an answer of the client */
const asking = new Map();
/** @type {Map<unknown, any>} */
const listens = new Map();
let lastId = 0;

const send = (/** @type {object} */ message) => void process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const content = (/** @type {string} */ text) => ({ ...(era === 'modern' && { resultType: 'complete' }), content: [{ type: 'text', text }] });
const said = (/** @type {any} */ args) => content(`${name}: ${args.text}${'x'.repeat(args.bytes ?? 0)}`);
const question = (/** @type {any} */ args) => ({ mode: 'form', message: args.text, requestedSchema: { type: 'object', properties: { said: { type: 'string' } } } });

/** @type {Record<string, (args: any, request: any) => unknown>} */
const tools = {
  echo: said,
  wait: async (args) => {
    await new Promise((resolve) => setTimeout(resolve, args.ms));
    return said(args);
  },
  steps: (args, { params }) => {
    for (let progress = 1; progress <= args.steps; progress++) send({ method: 'notifications/progress', params: { progressToken: params._meta.progressToken, progress, message: args.text } });
    return said(args);
  },
  flood: (args) => {
    for (let line = 0; line < args.lines; line++) send({ method: 'notifications/message', params: { level: 'info', data: 'x'.repeat(200) } });
    for (const [id] of listens) send({ method: 'notifications/tools/list_changed', params: { _meta: { [`${META}subscriptionId`]: id } } });
    if (era === 'legacy') send({ method: 'notifications/tools/list_changed' });
    return said(args);
  },
  ask: async (args, { params }) => {
    if (era === 'modern') {
      const given = params.inputResponses?.who?.content?.said;
      if (given === undefined) return { resultType: 'input_required', inputRequests: { who: { method: 'elicitation/create', params: question(args) } }, requestState: args.text };
      return said({ text: params.requestState === args.text ? given : 'the state of another call' });
    }
    const id = ++lastId;
    send({ id, method: 'elicitation/create', params: question(args) });
    const { result, error } = await new Promise((resolve) => asking.set(id, resolve));
    return said({ text: result?.content?.said ?? `refused, ${error?.data?.reason}` });
  },
  pid: () => content(String(process.pid)),
  die: () => process.exit(3),
};

/** @type {Record<string, (params: any, request: any) => unknown>} */
const methods = {
  'server/discover': () => ({ resultType: 'complete', supportedVersions: ['2026-07-28'], capabilities: CAPABILITIES, _meta: { [`${META}serverInfo`]: { name, version: '1' } } }),
  initialize: ({ protocolVersion }) => ({ protocolVersion, capabilities: CAPABILITIES, serverInfo: { name, version: '1' } }),
  'tools/list': () => ({ ...(era === 'modern' && { resultType: 'complete' }), tools: Object.keys(tools).map((name) => ({ name, inputSchema: { type: 'object' } })) }),
  'tools/call': ({ name, arguments: args = {} }, request) => tools[name]?.(args, request),
  'resources/subscribe': () => ({}),
  'resources/unsubscribe': () => ({}),
  'logging/setLevel': () => ({}),
};
if (era === 'modern') delete methods['initialize'];
else delete methods['server/discover'];

createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const message = JSON.parse(line);
    const { id, method, params = {} } = message;
    if (method === undefined) {
      asking.get(id)?.(message);
      asking.delete(id);
    } else if (id === undefined) {
      if (method === 'notifications/cancelled') listens.delete(params.requestId);
    } else if (method === 'subscriptions/listen' && era === 'modern') {
      listens.set(id, params);
      send({ method: 'notifications/subscriptions/acknowledged', params: { _meta: { [`${META}subscriptionId`]: id }, notifications: params.notifications } });
    } else if (methods[method] === undefined) send({ id, error: { code: -32601, message: `Method not found: ${method}` } });
    else send({ id, result: await methods[method](params, message) });
  })
  .on('close', () => process.exit());
