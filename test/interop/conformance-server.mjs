// @ts-check
// A legacy MCP server over stdio that offers what the scenarios of the conformance suite ask for, under the names that they
// ask for. It is built on the official SDK, so that what it writes is what most servers write.
//
// Flags: --starts <file>   appends its process id to this file at the start
//        --http            serves the same over the SDK's own Streamable HTTP transport, and prints its address: so the suite
//                          can be run without the proxy
import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import {
  CallToolRequestSchema,
  CompleteRequestSchema,
  CreateMessageResultSchema,
  ElicitResultSchema,
  ErrorCode,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  ListRootsResultSchema,
  ListToolsRequestSchema,
  McpError,
  ReadResourceRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { completions, fixedTools, forms, headerSchema, object, prompts, question, resources, schema2020, template, text, userForm } from './surface.mjs';

/** @typedef {import('@modelcontextprotocol/sdk/types.js').CallToolResult} CallToolResult */
/** @typedef {import('@modelcontextprotocol/sdk/shared/protocol.js').RequestHandlerExtra<any, any>} Extra */
/** @typedef {import('./surface.mjs').Schema} Schema */
/** @typedef {{ description: string, inputSchema?: Schema, call: (args: any, extra: Extra) => CallToolResult | Promise<CallToolResult> }} Tool */

const { values: flags } = parseArgs({ options: { starts: { type: 'string' }, http: { type: 'boolean' } } });
if (flags.starts !== undefined) appendFileSync(flags.starts, `${process.pid}\n`);

/** Between two notifications, in ms: they have to come as separate messages and in order, not at a certain time. */
const PAUSE_MS = 50;
/** What legacy servers answer for a resource that is not there. */
const RESOURCE_NOT_FOUND = -32002;

// ---- tools

/** @type {Record<string, Tool>} */
const tools = {
  ...Object.fromEntries(Object.entries(fixedTools).map(([name, { description, result }]) => [name, { description, call: () => /** @type {any} */ (result) }])),
  test_tool_with_logging: {
    description: 'sends three log lines',
    call: async (_, extra) => {
      await log(extra, 'Tool execution started');
      await sleep(PAUSE_MS);
      await log(extra, 'Tool processing data');
      await sleep(PAUSE_MS);
      await log(extra, 'Tool execution completed');
      return { content: [text('Tool with logging executed successfully')] };
    },
  },
  test_tool_with_progress: {
    description: 'reports progress three times, if there is a token',
    call: async (_, { _meta, sendNotification }) => {
      const progressToken = _meta?.progressToken;
      for (const progress of [0, 50, 100]) {
        if (progress > 0) await sleep(PAUSE_MS);
        const params = { progressToken, progress, total: 100 };
        if (progressToken !== undefined) await sendNotification({ method: 'notifications/progress', params });
      }
      return { content: [text('Tool with progress executed successfully')] };
    },
  },
  test_sampling: {
    description: 'asks the model of the client',
    inputSchema: object({ prompt: { type: 'string' } }, ['prompt']),
    call: ({ prompt }, extra) => sample(extra, question(prompt)),
  },
  test_elicitation: {
    description: 'asks the user for a name and an address',
    inputSchema: object({ message: { type: 'string' } }, ['message']),
    call: ({ message }, extra) => elicit(extra, userForm(message)),
  },
  test_elicitation_sep1034_defaults: {
    description: 'asks the user for a value of each primitive type, each with a default',
    call: (_, extra) => elicit(extra, forms.defaults),
  },
  test_elicitation_sep1330_enums: {
    description: 'asks the user to choose, in every form that a choice can have',
    call: (_, extra) => elicit(extra, forms.choices),
  },
  // A server on stdio has no stream that it could close. The log line makes the answer a stream, so that the scenario has
  // an event with an id and a retry field to look at.
  test_reconnection: {
    description: 'answers on a stream',
    call: async (_, extra) => {
      await log(extra, 'The answer follows');
      return { content: [text('Reconnection test completed')] };
    },
  },
  json_schema_2020_12_tool: {
    description: 'has a schema with keywords of JSON Schema 2020-12',
    inputSchema: schema2020,
    call: (args) => ({ content: [text(JSON.stringify(args))] }),
  },

  // What the scenarios of 2026-07-28 ask for, as far as a legacy server has words for it: it asks its client in the middle of
  // the call, and the proxy makes `input_required` of that.
  test_x_mcp_header: {
    description: 'has arguments that are repeated in headers',
    inputSchema: headerSchema,
    call: (args) => ({ content: [text(JSON.stringify(args))] }),
  },
  test_logging_tool: {
    description: 'sends a log line',
    call: async (_, extra) => {
      await log(extra, 'a line');
      return { content: [text('logged')] };
    },
  },
  test_missing_capability: {
    description: 'cannot do without the model of the client',
    call: (_, extra) => sample(extra, question('Is anybody there?')),
  },
  test_streaming_elicitation: { description: 'asks the user for a name', call: (_, extra) => elicit(extra, forms.name) },
  test_input_required_result_elicitation: { description: 'asks the user for a name', call: (_, extra) => elicit(extra, forms.name) },
  test_input_required_result_sampling: {
    description: 'asks the model for a capital',
    call: (_, extra) => sample(extra, question('What is the capital of France?')),
  },
  test_input_required_result_list_roots: { description: 'lists the roots of the client', call: (_, extra) => listRoots(extra) },
  test_input_required_result_request_state: { description: 'asks for a confirmation', call: (_, extra) => elicit(extra, forms.confirmation) },
  test_input_required_result_tampered_state: { description: 'asks for a confirmation', call: (_, extra) => elicit(extra, forms.confirmation) },
  test_input_required_result_multiple_inputs: {
    description: 'asks for a form, for the model and for the roots at once',
    call: async (_, extra) => {
      const asked = [elicit(extra, forms.name), sample(extra, question('Generate a greeting', 50)), listRoots(extra)];
      return { content: (await Promise.all(asked)).flatMap(({ content }) => content) };
    },
  },
  test_input_required_result_multi_round: {
    description: 'asks for a name first and for a colour then',
    call: async (_, extra) => {
      const name = await elicit(extra, { ...forms.name, message: `Step 1: ${forms.name.message}` });
      const color = await elicit(extra, { ...forms.color, message: `Step 2: ${forms.color.message}` });
      return { content: [...name.content, ...color.content] };
    },
  },
  test_input_required_result_capabilities: {
    description: 'asks for what the client of the scenario can do',
    call: (_, extra) => sample(extra, question('Generate a greeting', 50)),
  },
  test_changing_tool: { description: 'has changed 0 times', call: () => ({ content: [text('I have changed')] }) },
  test_trigger_tool_change: {
    description: 'changes the list of tools',
    call: async (_, { sendNotification }) => {
      changed.tools += 1;
      known(tools, 'test_changing_tool').description = `has changed ${changed.tools} times`;
      await sendNotification({ method: 'notifications/tools/list_changed' });
      return { content: [text('changed')] };
    },
  },
  test_trigger_prompt_change: {
    description: 'changes the list of prompts',
    call: async (_, { sendNotification }) => {
      changed.prompts += 1;
      known(prompts, 'test_simple_prompt').description = `has changed ${changed.prompts} times`;
      await sendNotification({ method: 'notifications/prompts/list_changed' });
      return { content: [text('changed')] };
    },
  },
};

/** How often each list has changed. */
const changed = { tools: 0, prompts: 0 };

/** @type {(extra: Extra, data: string) => Promise<void>} */
function log({ sendNotification }, data) {
  return sendNotification({ method: 'notifications/message', params: { level: 'info', logger: 'conformance', data } });
}

/** @type {(extra: Extra, params: { message: string, requestedSchema: any }) => Promise<CallToolResult>} */
async function elicit({ sendRequest }, params) {
  const { action, content } = await sendRequest({ method: 'elicitation/create', params }, ElicitResultSchema);
  return { content: [text(`User response: action=${action}, content=${JSON.stringify(content)}`)] };
}

/** @type {(extra: Extra, params: any) => Promise<CallToolResult>} */
async function sample({ sendRequest }, params) {
  const { content } = await sendRequest({ method: 'sampling/createMessage', params }, CreateMessageResultSchema);
  return { content: [text(`LLM response: ${content.type === 'text' ? content.text : content.type}`)] };
}

/** @type {(extra: Extra) => Promise<CallToolResult>} */
async function listRoots({ sendRequest }) {
  const { roots } = await sendRequest({ method: 'roots/list' }, ListRootsResultSchema);
  return { content: [text(JSON.stringify(roots))] };
}

// ---- the server

function createMcpServer() {
  const listChanged = true;
  const capabilities = { tools: { listChanged }, resources: { subscribe: true }, prompts: { listChanged }, completions: {}, logging: {} };
  const server = new Server({ name: 'conformance', version: '1.0.0' }, { capabilities }); // it answers logging/setLevel itself

  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: Object.entries(tools).map(([name, { description, inputSchema = object({}) }]) => ({ name, description, inputSchema })),
  }));
  server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) => known(tools, params.name).call(params.arguments ?? {}, extra));

  server.setRequestHandler(ListResourcesRequestSchema, () => ({
    resources: Object.entries(resources).map(([uri, { name, mimeType }]) => ({ uri, name, mimeType })),
  }));
  server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({
    resourceTemplates: [{ uriTemplate: template.uriTemplate, name: template.name, mimeType: template.mimeType }],
  }));
  server.setRequestHandler(ReadResourceRequestSchema, ({ params: { uri } }) => {
    const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
    if (id !== undefined) return { contents: [{ uri, mimeType: template.mimeType, text: template.content(id) }] };
    if (!Object.hasOwn(resources, uri)) throw new McpError(RESOURCE_NOT_FOUND, 'Resource not found', { uri });
    const { name, ...content } = known(resources, uri);
    return { contents: [{ uri, ...content }] };
  });
  server.setRequestHandler(SubscribeRequestSchema, () => ({}));
  server.setRequestHandler(UnsubscribeRequestSchema, () => ({}));

  server.setRequestHandler(ListPromptsRequestSchema, () => ({
    prompts: [
      ...Object.entries(prompts).map(([name, { description, args }]) => ({
        name,
        description,
        arguments: args.map((arg) => ({ name: arg, required: true })),
      })),
      { name: 'test_input_required_result_prompt', description: 'asks the user for its context' },
    ],
  }));
  server.setRequestHandler(GetPromptRequestSchema, async ({ params }, extra) => {
    const asking = params.name === 'test_input_required_result_prompt';
    const contents = asking ? (await elicit(extra, forms.context)).content : known(prompts, params.name).contents(params.arguments ?? {});
    return { messages: contents.map((content) => ({ role: /** @type {const} */ ('user'), content: /** @type {any} */ (content) })) };
  });

  server.setRequestHandler(CompleteRequestSchema, ({ params }) => completions(params.argument.value));
  return server;
}

/**
 * @template T
 * @param {Record<string, T>} table
 * @param {string} key
 * @returns {T}
 */
function known(table, key) {
  const found = Object.hasOwn(table, key) ? table[key] : undefined;
  if (found === undefined) throw new McpError(ErrorCode.InvalidParams, `unknown: ${key}`);
  return found;
}

if (flags.http) serveHttp();
else await createMcpServer().connect(new StdioServerTransport());

function serveHttp() {
  /** @type {Map<string, StreamableHTTPServerTransport>} */
  const sessions = new Map();
  const http = createServer(async (req, res) => {
    const id = req.headers['mcp-session-id']?.toString();
    if (id !== undefined && !sessions.has(id)) return void res.writeHead(404).end();
    const transport = id === undefined ? await open() : sessions.get(id);
    await transport?.handleRequest(req, res);
  });
  http.listen(0, '127.0.0.1', () => console.log(`${origin()}/mcp`));
  process.stdin.on('end', () => process.exit()).resume(); // as on stdio, whoever started it ends it so

  function origin() {
    return `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (http.address()).port}`;
  }

  async function open() {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void sessions.set(id, transport),
      onsessionclosed: (id) => void sessions.delete(id),
      enableDnsRebindingProtection: true,
      allowedHosts: [new URL(origin()).host],
    });
    await createMcpServer().connect(transport);
    return transport;
  }
}
