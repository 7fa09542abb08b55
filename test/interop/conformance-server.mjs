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
  ListToolsRequestSchema,
  McpError,
  ReadResourceRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';

/** @typedef {import('@modelcontextprotocol/sdk/types.js').CallToolResult} CallToolResult */
/** @typedef {import('@modelcontextprotocol/sdk/types.js').ContentBlock} ContentBlock */
/** @typedef {import('@modelcontextprotocol/sdk/shared/protocol.js').RequestHandlerExtra<any, any>} Extra */
/** @typedef {Record<string, unknown> & { type: 'object' }} Schema */
/** @typedef {{ description: string, inputSchema?: Schema, call: (args: any, extra: Extra) => CallToolResult | Promise<CallToolResult> }} Tool */

const { values: flags } = parseArgs({ options: { starts: { type: 'string' }, http: { type: 'boolean' } } });
if (flags.starts !== undefined) appendFileSync(flags.starts, `${process.pid}\n`);

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==';
/** Between two notifications, in ms: they have to come as separate messages and in order, not at a certain time. */
const PAUSE_MS = 50;

/** @type {(text: string) => ContentBlock} */
const text = (text) => ({ type: 'text', text });
/** @type {ContentBlock} */
const image = { type: 'image', data: PNG, mimeType: 'image/png' };
/** @type {(uri: string, mimeType: string, text: string) => ContentBlock} */
const embedded = (uri, mimeType, text) => ({ type: 'resource', resource: { uri, mimeType, text } });

/** @type {(properties: Record<string, object>, required?: string[]) => Schema} */
const object = (properties, required = []) => ({ type: 'object', properties, required });
const options = (/** @type {string} */ of) => ['1', '2', '3'].map((number) => `${of}${number}`);
const titled = (/** @type {string} */ title) => options('value').map((value, index) => ({ const: value, title: `${title} ${index + 1}` }));

// ---- tools

/** @type {Record<string, Tool>} */
const tools = {
  test_simple_text: { description: 'returns a text', call: () => ({ content: [text('This is a simple text response for testing.')] }) },
  test_image_content: { description: 'returns an image', call: () => ({ content: [image] }) },
  test_audio_content: { description: 'returns a sound', call: () => ({ content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }] }) },
  test_embedded_resource: {
    description: 'returns a resource',
    call: () => ({ content: [embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.')] }),
  },
  test_multiple_content_types: {
    description: 'returns a text, an image and a resource',
    call: () => ({
      content: [
        text('Multiple content types test:'),
        image,
        embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
      ],
    }),
  },
  test_error_handling: {
    description: 'fails',
    call: () => ({ isError: true, content: [text('This tool intentionally returns an error for testing')] }),
  },
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
    call: async ({ prompt }, { sendRequest }) => {
      const params = { messages: [{ role: 'user', content: { type: 'text', text: prompt } }], maxTokens: 100 };
      const { content } = await sendRequest({ method: 'sampling/createMessage', params }, CreateMessageResultSchema);
      return { content: [text(`LLM response: ${content.type === 'text' ? content.text : content.type}`)] };
    },
  },
  test_elicitation: {
    description: 'asks the user for a name and an address',
    inputSchema: object({ message: { type: 'string' } }, ['message']),
    call: ({ message }, extra) => {
      const field = (/** @type {string} */ description) => ({ type: 'string', description });
      const fields = { username: field("User's response"), email: field("User's email address") };
      return elicit(extra, message, object(fields, ['username', 'email']));
    },
  },
  test_elicitation_sep1034_defaults: {
    description: 'asks the user for a value of each primitive type, each with a default',
    call: (_, extra) => {
      const fields = {
        name: { type: 'string', default: 'John Doe' },
        age: { type: 'integer', default: 30 },
        score: { type: 'number', default: 95.5 },
        status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
        verified: { type: 'boolean', default: true },
      };
      return elicit(extra, 'Please review these values', object(fields));
    },
  },
  test_elicitation_sep1330_enums: {
    description: 'asks the user to choose, in every form that a choice can have',
    call: (_, extra) => {
      const fields = {
        untitledSingle: { type: 'string', enum: options('option') },
        titledSingle: { type: 'string', oneOf: titled('Option') },
        legacyEnum: { type: 'string', enum: options('opt'), enumNames: options('Option ') },
        untitledMulti: { type: 'array', items: { type: 'string', enum: options('option') } },
        titledMulti: { type: 'array', items: { anyOf: titled('Choice') } },
      };
      return elicit(extra, 'Please choose', object(fields));
    },
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
    inputSchema: {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: { address: { $anchor: 'addressDef', type: 'object', properties: { street: { type: 'string' }, city: { type: 'string' } } } },
      properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' },
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      then: { required: ['phone'] },
      else: { required: ['email'] },
      additionalProperties: false,
    },
    call: (args) => ({ content: [text(JSON.stringify(args))] }),
  },
};

/** @type {(extra: Extra, data: string) => Promise<void>} */
function log({ sendNotification }, data) {
  return sendNotification({ method: 'notifications/message', params: { level: 'info', logger: 'conformance', data } });
}

/** @type {(extra: Extra, message: string, requestedSchema: Schema) => Promise<CallToolResult>} */
async function elicit({ sendRequest }, message, requestedSchema) {
  const params = { message, requestedSchema };
  const { action, content } = await sendRequest({ method: 'elicitation/create', params }, ElicitResultSchema);
  return { content: [text(`User response: action=${action}, content=${JSON.stringify(content)}`)] };
}

// ---- resources and prompts

/** @type {Record<string, { name: string, mimeType: string } & ({ text: string } | { blob: string })>} */
const resources = {
  'test://static-text': { name: 'static-text', mimeType: 'text/plain', text: 'This is the content of the static text resource.' },
  'test://static-binary': { name: 'static-binary', mimeType: 'image/png', blob: PNG },
  'test://watched-resource': { name: 'watched-resource', mimeType: 'text/plain', text: 'Watched resource content' },
};

/** @type {Record<string, { description: string, args: string[], contents: (args: Record<string, string>) => ContentBlock[] }>} */
const prompts = {
  test_simple_prompt: { description: 'has no arguments', args: [], contents: () => [text('This is a simple prompt for testing.')] },
  test_prompt_with_arguments: {
    description: 'repeats its arguments',
    args: ['arg1', 'arg2'],
    contents: ({ arg1, arg2 }) => [text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)],
  },
  test_prompt_with_embedded_resource: {
    description: 'holds a resource',
    args: ['resourceUri'],
    contents: ({ resourceUri = '' }) => [
      embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.'),
      text('Please process the embedded resource above.'),
    ],
  },
  test_prompt_with_image: {
    description: 'holds an image',
    args: [],
    contents: () => [image, text('Please analyze the image above.')],
  },
};

// ---- the server

function createMcpServer() {
  const capabilities = { tools: {}, resources: { subscribe: true }, prompts: {}, completions: {}, logging: {} };
  const server = new Server({ name: 'conformance', version: '1.0.0' }, { capabilities }); // it answers logging/setLevel itself

  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: Object.entries(tools).map(([name, { description, inputSchema = object({}) }]) => ({ name, description, inputSchema })),
  }));
  server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) => known(tools, params.name).call(params.arguments ?? {}, extra));

  server.setRequestHandler(ListResourcesRequestSchema, () => ({
    resources: Object.entries(resources).map(([uri, { name, mimeType }]) => ({ uri, name, mimeType })),
  }));
  server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({
    resourceTemplates: [{ uriTemplate: 'test://template/{id}/data', name: 'template', mimeType: 'application/json' }],
  }));
  server.setRequestHandler(ReadResourceRequestSchema, ({ params: { uri } }) => {
    const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
    if (id !== undefined) {
      const data = { id, templateTest: true, data: `Data for ID: ${id}` };
      return { contents: [{ uri, mimeType: 'application/json', text: JSON.stringify(data) }] };
    }
    const { name, ...content } = known(resources, uri);
    return { contents: [{ uri, ...content }] };
  });
  server.setRequestHandler(SubscribeRequestSchema, () => ({}));
  server.setRequestHandler(UnsubscribeRequestSchema, () => ({}));

  server.setRequestHandler(ListPromptsRequestSchema, () => ({
    prompts: Object.entries(prompts).map(([name, { description, args }]) => ({
      name,
      description,
      arguments: args.map((arg) => ({ name: arg, required: true })),
    })),
  }));
  server.setRequestHandler(GetPromptRequestSchema, ({ params }) => ({
    messages: known(prompts, params.name)
      .contents(params.arguments ?? {})
      .map((content) => ({ role: /** @type {const} */ ('user'), content })),
  }));

  server.setRequestHandler(CompleteRequestSchema, ({ params }) => {
    const values = ['testValue1', 'testValue2'].filter((value) => value.startsWith(params.argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
  });
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
