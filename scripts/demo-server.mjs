// A small MCP server to try the proxy with, and an example of one that speaks over stdio: one JSON-RPC message per line,
// in on stdin, out on stdout, and nothing but messages there (what people should read goes to stderr).
// https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio
// @ts-check

/** The revisions it can speak, the newest first. */
const REVISIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'];

/** @type {Record<string, { description: string, inputSchema: any, call: (args: any) => object }>} */
const tools = {
  echo: {
    description: 'Says what you say.',
    inputSchema: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] },
    call: ({ text }) => said(text),
  },
  add: {
    description: 'Adds two numbers.',
    inputSchema: { type: 'object', properties: { a: { type: 'number' }, b: { type: 'number' } }, required: ['a', 'b'] },
    call: ({ a, b }) => said(String(a + b)),
  },
  time: {
    description: 'Tells the time, in a time zone such as Europe/Warsaw if you name one.',
    inputSchema: { type: 'object', properties: { timeZone: { type: 'string' } } },
    call: ({ timeZone = 'UTC' }) => {
      try {
        return said(new Date().toLocaleString('en-GB', { timeZone, dateStyle: 'full', timeStyle: 'long' }));
      } catch {
        return { ...said(`There is no time zone "${timeZone}".`), isError: true };
      }
    },
  },
};

const ABOUT = { uri: 'demo://about', name: 'about', description: 'What this server is.', mimeType: 'text/plain' };

const HAIKU = {
  name: 'haiku',
  description: 'Asks for a haiku.',
  arguments: [{ name: 'topic', description: 'What it should be about.', required: true }],
};

/** What is returned is the result; what is thrown is the error. */
/** @type {Record<string, (params: any) => object>} */
const methods = {
  // The client says which revision it wants. A server that cannot speak it offers its newest, and the client may leave.
  initialize: ({ protocolVersion }) => ({
    protocolVersion: REVISIONS.includes(protocolVersion) ? protocolVersion : REVISIONS[0],
    capabilities: { tools: {}, resources: {}, prompts: {} },
    serverInfo: { name: 'demo', version: '1.0.0' },
    instructions: 'Three tools, one resource and one prompt, to try things out.',
  }),
  ping: () => ({}),

  'tools/list': () => ({
    tools: Object.entries(tools).map(([name, { description, inputSchema }]) => ({ name, description, inputSchema })),
  }),
  'tools/call': ({ name, arguments: args = {} }) => {
    const tool = own(tools, name);
    if (!tool) throw new RpcError(-32602, `Unknown tool: ${name}`);
    // Wrong arguments are a result, not an error of the protocol: the model reads it and can do better.
    const problem = problemOf(args, tool.inputSchema);
    return problem ? { ...said(problem), isError: true } : tool.call(args);
  },

  'resources/list': () => ({ resources: [ABOUT] }),
  'resources/templates/list': () => ({ resourceTemplates: [] }),
  'resources/read': ({ uri }) => {
    if (uri !== ABOUT.uri) throw new RpcError(-32002, 'Resource not found', { uri });
    return { contents: [{ uri, mimeType: ABOUT.mimeType, text: 'A demo server that needs nothing but Node.\n' }] };
  },

  'prompts/list': () => ({ prompts: [HAIKU] }),
  'prompts/get': ({ name, arguments: args = {} }) => {
    if (name !== HAIKU.name) throw new RpcError(-32602, `Unknown prompt: ${name}`);
    if (typeof args?.topic !== 'string') throw new RpcError(-32602, 'Missing argument: topic');
    return { messages: [{ role: 'user', content: { type: 'text', text: `Write a haiku about ${args.topic}.` } }] };
  },
};

class RpcError extends Error {
  constructor(/** @type {number} */ code, /** @type {string} */ message, /** @type {unknown} */ data = undefined) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/** What the client names is looked up among our own names only: `toString` is no method of this server. */
function own(/** @type {Record<string, any>} */ table, /** @type {string} */ name) {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

function said(/** @type {string} */ text) {
  return { content: [{ type: 'text', text }] };
}

/** What is wrong with the arguments of a tool: enough of JSON Schema for the tools above. */
function problemOf(/** @type {any} */ args, /** @type {any} */ { properties, required = [] }) {
  if (!isObject(args)) return 'The arguments must be an object.';
  for (const name of required) if (!Object.hasOwn(args, name)) return `The argument "${name}" is missing.`;
  for (const [name, { type }] of Object.entries(properties)) {
    if (!Object.hasOwn(args, name) || typeof args[name] === type) continue;
    return `The argument "${name}" must be a ${type}, not ${JSON.stringify(args[name])}.`;
  }
  return undefined;
}

function isObject(/** @type {unknown} */ value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The answer to one message, or undefined: notifications, and answers (it asks nothing), get none. */
function answer(/** @type {any} */ message) {
  const id = ['string', 'number'].includes(typeof message?.id) ? message.id : null;
  try {
    if (message?.jsonrpc !== '2.0') throw new RpcError(-32600, 'Expected a JSON-RPC 2.0 message');
    const { method, params = {} } = message;
    if (method === undefined || message.id === undefined) return undefined;
    if (id === null) throw new RpcError(-32600, 'The id must be a string or a number');
    const call = own(methods, method);
    if (!call) throw new RpcError(-32601, `Method not found: ${method}`);
    if (!isObject(params)) throw new RpcError(-32602, 'The params must be an object');
    return { jsonrpc: '2.0', id, result: call(params) };
  } catch (error) {
    const { code = -32603, message: text, data } = /** @type {RpcError} */ (error);
    return { jsonrpc: '2.0', id, error: { code, message: text, data } };
  }
}

/** The answer to one line. Only clients of 2025-03-26 send several messages in one array; they want one array back. */
function answerLine(/** @type {string} */ line) {
  let message;
  try {
    message = JSON.parse(line);
  } catch {
    return { jsonrpc: '2.0', id: null, error: { code: -32700, message: 'Expected one JSON message per line' } };
  }
  if (!Array.isArray(message) || message.length === 0) return answer(message);
  const answers = message.map(answer).filter((one) => one !== undefined);
  return answers.length > 0 ? answers : undefined;
}

// Lines end with LF only. (node:readline also cuts at U+2028, which may stand inside a JSON string.) The process ends by
// itself when stdin does: nothing else keeps it alive.
let rest = '';
process.stdin.setEncoding('utf8').on('data', (chunk) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop() ?? '';
  for (const line of lines) {
    const out = line.trim() === '' ? undefined : answerLine(line);
    if (out) process.stdout.write(`${JSON.stringify(out)}\n`);
  }
});
