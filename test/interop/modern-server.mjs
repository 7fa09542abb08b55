// @ts-check
// An MCP server of 2026-07-28 over stdio, which also speaks the legacy revisions, as the official SDK v2 offers it. It has
// what the scenarios of the conformance suite ask for, under the names that they ask for, and a few tools more for the
// tests of clients.
//
// Flags: --starts <file>   appends its process id and the era that it is asked to speak to this file
//        --http            serves the same over the SDK's own HTTP transport, and prints its address: so the suite can be
//                          run without the proxy
import { randomBytes, randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  acceptedContent,
  CLIENT_CAPABILITIES_META_KEY,
  CLIENT_INFO_META_KEY,
  createMcpHandler,
  createRequestStateCodec,
  fromJsonSchema,
  hostHeaderValidationResponse,
  inputRequired,
  inputResponse,
  isLegacyRequest,
  localhostAllowedHostnames,
  localhostAllowedOrigins,
  McpServer,
  originValidationResponse,
  ResourceTemplate,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { completions, fixedTools, forms, headerSchema, object, prompts, question, resources, schema2020, template, text, userForm } from './surface.mjs';

/** @typedef {import('@modelcontextprotocol/server').ServerContext} Context */
/** @typedef {import('./surface.mjs').Schema} Schema */
/** @typedef {{ description: string, inputSchema?: Schema, outputSchema?: any, call: (args: any, ctx: Context) => any }} Tool */
/** @typedef {{ tools: () => void, prompts: () => void, resources: () => void, resource: (uri: string) => void }} Changes tells whoever listens */

const { values: flags } = parseArgs({ options: { starts: { type: 'string' }, http: { type: 'boolean' } }, allowPositionals: true });

/** Between two notifications, in ms: they have to come as separate messages and in order, not at a certain time. */
const PAUSE_MS = 50;

/** State that went through the client comes back signed, or not at all. @type {import('@modelcontextprotocol/server').RequestStateCodec<any>} */
const state = createRequestStateCodec({ key: randomBytes(32) });

/** How often each list has changed. */
const changed = { tools: 0, prompts: 0, resources: 0 };
/** The labels of the calls that their clients cancelled. @type {string[]} */
const cancelled = [];

// ---- what the tools need

/** @type {(ctx: Context, key: string) => any} the form that was filled in */
const filled = (ctx, key) => acceptedContent(ctx.mcpReq.inputResponses, key);
/** @type {(ctx: Context, key: string) => ReturnType<typeof inputResponse>} */
const answer = (ctx, key) => inputResponse(ctx.mcpReq.inputResponses, key);
/** @type {(value: unknown) => { content: [import('./surface.mjs').Text] }} */
const said = (value) => ({ content: [text(typeof value === 'string' ? value : JSON.stringify(value))] });
/** @type {(requests: Record<string, any>, payload?: unknown) => Promise<any>} asks the client for input, and keeps the payload until it is back */
const ask = async (requests, payload) =>
  inputRequired({ inputRequests: requests, ...(payload === undefined ? {} : { requestState: await state.mint(payload) }) });

/** A tool that says what became of a form. @type {(description: string, form: (args: any) => any, inputSchema?: Schema) => Tool} */
const formTool = (description, form, inputSchema = object({})) => ({
  description,
  inputSchema,
  call: (args, ctx) => {
    const view = answer(ctx, 'form');
    if (view.kind !== 'elicit') return ask({ form: inputRequired.elicit(form(args)) });
    return said(`User response: action=${view.action}, content=${JSON.stringify(view.content)}`);
  },
});

/** A tool that says what the model of the client said. @type {(description: string, key: string, asked: (args: any) => any, inputSchema?: Schema) => Tool} */
const modelTool = (description, key, asked, inputSchema = object({})) => ({
  description,
  inputSchema,
  call: (args, ctx) => {
    const view = answer(ctx, key);
    if (view.kind !== 'sampling') return ask({ [key]: inputRequired.createMessage(asked(args)) });
    const { content } = view.result;
    return said(`LLM response: ${'text' in content ? content.text : JSON.stringify(content)}`);
  },
});

/** A tool that asks until the user confirms, with state that must come back as it was. @type {(description: string) => Tool} */
const confirmTool = (description) => ({
  description,
  call: (_, ctx) => {
    const known = ctx.mcpReq.requestState() !== undefined && filled(ctx, 'confirm') !== undefined;
    return known ? said('state-ok') : ask({ confirm: inputRequired.elicit(forms.confirmation) }, { step: 'confirm' });
  },
});

// ---- tools

/**
 * @param {McpServer} server
 * @param {Changes} changes
 * @returns {Record<string, Tool>}
 */
const toolsOf = (server, changes) => ({
  test_tool_with_logging: {
    description: 'sends three log lines',
    call: async (_, ctx) => {
      for (const line of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
        await ctx.mcpReq.log('info', line, 'conformance');
        await sleep(PAUSE_MS);
      }
      return said('Tool with logging executed successfully');
    },
  },
  test_logging_tool: {
    description: 'sends a log line of every level that anybody uses',
    call: async (_, ctx) => {
      for (const level of /** @type {const} */ (['debug', 'info', 'warning', 'error'])) await ctx.mcpReq.log(level, `a line of level ${level}`, 'conformance');
      return said('logged');
    },
  },
  test_tool_with_progress: {
    description: 'reports progress three times, if there is a token',
    call: async (_, { mcpReq: { _meta, notify } }) => {
      const progressToken = _meta?.progressToken;
      for (const progress of [0, 50, 100]) {
        if (progress > 0) await sleep(PAUSE_MS);
        if (progressToken !== undefined) await notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } });
      }
      return said('Tool with progress executed successfully');
    },
  },
  // A server on stdio has no stream that it could close. An answer that takes so long comes on one, and the scenario has an
  // event with an id and a retry field to look at.
  test_reconnection: {
    description: 'takes its time',
    call: async () => {
      await sleep(2_200);
      return said('Reconnection test completed');
    },
  },
  json_schema_2020_12_tool: { description: 'has a schema with keywords of JSON Schema 2020-12', inputSchema: schema2020, call: said },
  test_x_mcp_header: { description: 'has arguments that are repeated in headers', inputSchema: headerSchema, call: said },

  // What 2025-11-25 asks for: these ask the client in the middle of a call.
  test_sampling: modelTool('asks the model of the client', 'answer', ({ prompt }) => question(prompt), object({ prompt: { type: 'string' } }, ['prompt'])),
  test_elicitation: formTool('asks the user for a name and an address', ({ message }) => userForm(message), object({ message: { type: 'string' } }, ['message'])),
  test_elicitation_sep1034_defaults: formTool('asks the user for a value of each primitive type, each with a default', () => forms.defaults),
  test_elicitation_sep1330_enums: formTool('asks the user to choose, in every form that a choice can have', () => forms.choices),

  // What 2026-07-28 asks for.
  test_missing_capability: modelTool('cannot do without the model of the client', 'answer', () => question('Is anybody there?')),
  test_streaming_elicitation: formTool('asks the user for a name', () => forms.name),
  test_input_required_result_elicitation: {
    description: 'greets the user by name',
    call: (_, ctx) => {
      const name = filled(ctx, 'user_name')?.name;
      return typeof name === 'string' ? said(`Hello, ${name}!`) : ask({ user_name: inputRequired.elicit(forms.name) });
    },
  },
  test_input_required_result_sampling: modelTool('asks the model for a capital', 'capital_question', () => question('What is the capital of France?')),
  test_input_required_result_list_roots: {
    description: 'lists the roots of the client',
    call: (_, ctx) => {
      const view = answer(ctx, 'client_roots');
      return view.kind === 'roots' ? said(view.roots) : ask({ client_roots: inputRequired.listRoots() });
    },
  },
  test_input_required_result_request_state: confirmTool('asks for a confirmation, and keeps state meanwhile'),
  test_input_required_result_tampered_state: confirmTool('refuses state that is not its own'),
  test_input_required_result_multiple_inputs: {
    description: 'asks for a form, for the model and for the roots at once',
    call: (_, ctx) => {
      const [name, greeting, roots] = [filled(ctx, 'user_name'), answer(ctx, 'greeting'), answer(ctx, 'client_roots')];
      if (ctx.mcpReq.requestState() !== undefined && name !== undefined && greeting.kind === 'sampling' && roots.kind === 'roots') {
        return said([name, greeting.result, roots.roots]);
      }
      return ask(
        {
          user_name: inputRequired.elicit(forms.name),
          greeting: inputRequired.createMessage(question('Generate a greeting', 50)),
          client_roots: inputRequired.listRoots(),
        },
        { step: 'all' },
      );
    },
  },
  test_input_required_result_multi_round: {
    description: 'asks for a name first and for a colour then',
    call: (_, ctx) => {
      const known = /** @type {any} */ (ctx.mcpReq.requestState()) ?? {};
      const name = known.name ?? filled(ctx, 'step1')?.name;
      if (name === undefined) return ask({ step1: inputRequired.elicit({ ...forms.name, message: `Step 1: ${forms.name.message}` }) }, {});
      const color = filled(ctx, 'step2')?.color;
      if (color === undefined) return ask({ step2: inputRequired.elicit({ ...forms.color, message: `Step 2: ${forms.color.message}` }) }, { name });
      return said(`${name} likes ${color}`);
    },
  },
  test_input_required_result_capabilities: {
    description: 'asks for what the client can do, and for nothing else',
    call: (_, ctx) => {
      const { elicitation, sampling, roots } = capabilitiesOf(server, ctx);
      const requests = {
        ...(elicitation && { user_name: inputRequired.elicit(forms.name) }),
        ...(sampling && { greeting: inputRequired.createMessage(question('Generate a greeting', 50)) }),
        ...(roots && { client_roots: inputRequired.listRoots() }),
      };
      const keys = Object.keys(requests);
      return keys.length > 0 && ctx.mcpReq.inputResponses === undefined ? ask(requests) : said(`asked for ${keys.join(', ') || 'nothing'}`);
    },
  },
  test_trigger_tool_change: {
    description: 'changes the list of tools',
    call: () => {
      changed.tools += 1;
      changes.tools();
      return said('changed');
    },
  },
  test_trigger_prompt_change: {
    description: 'changes the list of prompts',
    call: () => {
      changed.prompts += 1;
      changes.prompts();
      return said('changed');
    },
  },

  // What the tests of clients ask for.
  trigger_resource_change: {
    description: 'changes the list of resources',
    call: () => {
      changed.resources += 1;
      changes.resources();
      return said('changed');
    },
  },
  touch_resource: {
    description: 'says that a resource was updated',
    inputSchema: object({ uri: { type: 'string' } }, ['uri']),
    call: ({ uri }) => {
      changes.resource(uri);
      return said('touched');
    },
  },
  echo: {
    description: 'repeats what it is told, and the metadata that is not of the protocol',
    inputSchema: object({ message: { type: 'string' } }, ['message']),
    call: ({ message }, { mcpReq: { _meta: { progressToken: _token, ...meta } = {} } }) => said({ message, meta }),
  },
  whoami: {
    description: 'tells what the server knows of the client',
    call: (_, ctx) => {
      const { name } = envelopeOf(ctx)[CLIENT_INFO_META_KEY] ?? server.server.getClientVersion() ?? {};
      return said({ name, capabilities: Object.keys(capabilitiesOf(server, ctx)).sort() });
    },
  },
  count: {
    description: 'counts, tells its progress, and stops when it is cancelled',
    inputSchema: object({ steps: { type: 'integer' }, ms: { type: 'number' }, label: { type: 'string' } }, ['steps', 'ms']),
    call: async ({ steps, ms, label }, { mcpReq: { _meta, notify, signal } }) => {
      const progressToken = _meta?.progressToken;
      if (label !== undefined) signal.addEventListener('abort', () => cancelled.push(label));
      for (let progress = 1; progress <= steps; progress += 1) {
        await sleep(ms, undefined, { signal });
        if (progressToken !== undefined) {
          await notify({ method: 'notifications/progress', params: { progressToken, progress, total: steps, message: `${label ?? 'step'} ${progress}` } });
        }
      }
      return said(`counted to ${steps}`);
    },
  },
  cancelled: { description: 'names the calls that were cancelled', call: () => said(cancelled) },
  elicit_url: {
    description: 'sends the user to a page',
    inputSchema: object({ url: { type: 'string' } }, ['url']),
    call: ({ url }, ctx) => {
      const view = answer(ctx, 'page');
      return view.kind === 'elicit' ? said(view.action) : ask({ page: inputRequired.elicitUrl({ message: 'Please look at this', url }) });
    },
  },
  think: {
    description: 'wants to be called again, and needs nothing from the client for it',
    call: async (_, ctx) => (ctx.mcpReq.requestState() === undefined ? inputRequired({ requestState: await state.mint({ step: 'again' }) }) : said('thought')),
  },
  ask_for_ever: { description: 'is never content', call: () => ask({ more: inputRequired.elicit(forms.name) }) },
  numbers: {
    description: 'returns structured content that is no object',
    outputSchema: { type: 'array', items: { type: 'number' } },
    call: () => ({ content: [], structuredContent: [1, 2, 3] }),
  },
  point: {
    description: 'returns structured content that is an object',
    outputSchema: object({ x: { type: 'number' }, y: { type: 'number' } }, ['x', 'y']),
    call: () => ({ content: [text('{"x":1,"y":2}')], structuredContent: { x: 1, y: 2 } }),
  },
});

/** What the client can do: it says so in every request, or has said so in the handshake. @type {(server: McpServer, ctx: Context) => Record<string, any>} */
function capabilitiesOf(server, ctx) {
  return envelopeOf(ctx)[CLIENT_CAPABILITIES_META_KEY] ?? server.server.getClientCapabilities() ?? {};
}

/** @type {(ctx: Context) => Record<string, any>} */
function envelopeOf(ctx) {
  return ctx.mcpReq.envelope ?? {};
}

// ---- the server

/**
 * @param {'legacy' | 'modern'} era
 * @param {Changes} [elsewhere] who tells of changes, when this server does not outlive the request
 */
function createModernServer(era, elsewhere) {
  const server = new McpServer(
    { name: 'modern', version: '2.0.0', title: 'A server of 2026-07-28' },
    {
      capabilities: { tools: {}, resources: { subscribe: true }, prompts: {}, completions: {}, logging: {} },
      instructions: 'Ask it for anything.',
      requestState: { verify: state.verify },
      cacheHints: { 'resources/templates/list': { ttlMs: 60_000, cacheScope: 'public' } },
    },
  );
  /** @type {Set<string>} */
  const subscribed = new Set();

  const changing = {
    tools: server.registerTool('test_changing_tool', { description: `has changed ${changed.tools} times` }, () => said('I have changed')),
    prompts: server.registerPrompt('test_changing_prompt', { description: `has changed ${changed.prompts} times` }, () => message([text('I have changed')])),
  };
  const addResource = (/** @type {number} */ number) =>
    server.registerResource(`added-${number}`, `test://added/${number}`, {}, (uri) => ({ contents: [{ uri: uri.href, text: `${number}` }] }));
  /** @type {Changes} */
  const changes = elsewhere ?? {
    tools: () => changing.tools.update({ description: `has changed ${changed.tools} times` }),
    prompts: () => changing.prompts.update({ description: `has changed ${changed.prompts} times` }),
    resources: () => void addResource(changed.resources),
    resource: (uri) => {
      // A modern client says in its listen request what it wants to hear, and the SDK knows it.
      if (era === 'modern' || subscribed.has(uri)) void server.server.sendResourceUpdated({ uri });
    },
  };

  for (const [name, { description, result }] of Object.entries(fixedTools)) {
    server.registerTool(name, { description, inputSchema: fromJsonSchema(object({})) }, () => /** @type {any} */ (result));
  }
  for (const [name, { description, inputSchema = object({}), outputSchema, call }] of Object.entries(toolsOf(server, changes))) {
    const schemas = { inputSchema: fromJsonSchema(/** @type {any} */ (inputSchema)), ...(outputSchema && { outputSchema: fromJsonSchema(outputSchema) }) };
    server.registerTool(name, { description, ...schemas }, call);
  }

  for (const [uri, { name, mimeType, ...content }] of Object.entries(resources)) {
    const cacheHint = /** @type {const} */ ({ ttlMs: 1234, cacheScope: 'public' });
    const hinted = name === 'static-text' ? { cacheHint } : {};
    server.registerResource(name, uri, { mimeType, ...hinted }, () => ({ contents: [{ uri, mimeType, ...content }] }));
  }
  server.registerResource('confidential', 'test://confidential', {}, async (uri, ctx) => {
    if (filled(ctx, 'confirm')?.ok !== true) return ask({ confirm: inputRequired.elicit(forms.confirmation) }, { step: 'confirm' });
    return { contents: [{ uri: uri.href, text: 'This is between us.' }] };
  });
  const { name, uriTemplate, mimeType, content } = template;
  server.registerResource(name, new ResourceTemplate(uriTemplate, { list: undefined }), { mimeType }, (uri, { id }) => ({
    contents: [{ uri: uri.href, mimeType, text: content(String(id)) }],
  }));
  for (let number = 1; number <= changed.resources; number += 1) addResource(number);

  for (const [name, { description, args, contents }] of Object.entries(prompts)) {
    const argsSchema = fromJsonSchema(/** @type {any} */ (object(Object.fromEntries(args.map((arg) => [arg, { type: 'string' }])), args)));
    server.registerPrompt(name, { description, argsSchema }, (/** @type {any} */ given) => message(contents(given)));
  }
  server.registerPrompt('test_input_required_result_prompt', { description: 'asks the user for its context' }, (ctx) => {
    const context = filled(ctx, 'user_context')?.context;
    return context === undefined ? ask({ user_context: inputRequired.elicit(forms.context) }) : message([text(`The context is ${context}`)]);
  });

  server.server.setRequestHandler('completion/complete', ({ params }) => completions(params.argument.value));
  if (era === 'legacy') {
    server.server.setRequestHandler('resources/subscribe', ({ params }) => {
      subscribed.add(params.uri);
      return {};
    });
    server.server.setRequestHandler('resources/unsubscribe', ({ params }) => {
      subscribed.delete(params.uri);
      return {};
    });
  }
  return server;
}

/** @type {(contents: import('./surface.mjs').Content[]) => any} */
function message(contents) {
  return { messages: contents.map((content) => ({ role: 'user', content })) };
}

if (flags.http) serveHttp();
else {
  serveStdio(({ era }) => {
    if (flags.starts !== undefined) appendFileSync(flags.starts, `${process.pid} ${era}\n`);
    return createModernServer(era);
  });
}

function serveHttp() {
  /** @type {Map<string, WebStandardStreamableHTTPServerTransport>} */
  const sessions = new Map();
  const { fetch: serveModern, notify } = createMcpHandler(() => createModernServer('modern', told));
  /** @type {Changes} */
  const told = { tools: notify.toolsChanged, prompts: notify.promptsChanged, resources: notify.resourcesChanged, resource: notify.resourceUpdated };

  const http = createServer(async (req, res) => {
    const gone = new AbortController();
    res.on('close', () => gone.abort());
    const request = new Request(`http://127.0.0.1${req.url}`, {
      method: req.method ?? 'GET',
      headers: Object.entries(req.headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
      signal: gone.signal,
      ...(req.method === 'POST' ? { body: /** @type {any} */ (Readable.toWeb(req)), duplex: 'half' } : {}),
    });
    const refused = hostHeaderValidationResponse(request, localhostAllowedHostnames()) ?? originValidationResponse(request, localhostAllowedOrigins());
    const response = refused ?? (await ((await isLegacyRequest(request)) ? serveLegacy(request) : serveModern(request)));
    res.writeHead(response.status, Object.fromEntries(response.headers));
    res.flushHeaders();
    if (response.body === null) res.end();
    else Readable.fromWeb(/** @type {any} */ (response.body)).on('error', () => res.destroy()).pipe(res);
  });
  http.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (http.address()).port}/mcp`));
  process.stdin.on('end', () => process.exit()).resume(); // as on stdio, whoever started it ends it so

  /** @param {Request} request */
  async function serveLegacy(request) {
    const id = request.headers.get('mcp-session-id');
    const transport = id === null ? await open() : sessions.get(id);
    return transport === undefined ? new Response(null, { status: 404 }) : transport.handleRequest(request);
  }

  async function open() {
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void sessions.set(id, transport),
      onsessionclosed: (id) => void sessions.delete(id),
    });
    await createModernServer('legacy').connect(transport);
    return transport;
  }
}
