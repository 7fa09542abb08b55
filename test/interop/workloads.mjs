// @ts-check
// What the SDK's clients do beyond the tables: calls during which the server asks its client something, and the work of
// one client among many, every payload of which carries that client's number.
import { ErrorCode, McpError } from '@modelcontextprotocol/sdk/types.js';
import { call } from './clients.mjs';

/** @typedef {import('./clients.mjs').Message} Message */
/** @typedef {import('./clients.mjs').Replies} Replies */
/** @typedef {import('./servers.mjs').Row} Row */
/** @typedef {{ request: Message, except: Row['except'] }} Step */

const rejected = () => {
  throw new McpError(ErrorCode.InvalidRequest, 'The user said no');
};

/**
 * Calls during which server-everything asks the client; `reply` is what it then says instead of its usual answer.
 * @type {{ title: string, request: Message, reply?: Partial<Replies> }[]}
 */
export const questions = [
  { title: 'sampling', request: call('trigger-sampling-request', { prompt: 'zażółć 🦊 \u2028 "gęślą"', maxTokens: 7 }) },
  { title: 'sampling that the client refuses', request: call('trigger-sampling-request', { prompt: 'no' }), reply: { sampling: rejected } },
  { title: 'a form that is filled in', request: call('trigger-elicitation-request') },
  { title: 'a form that is declined', request: call('trigger-elicitation-request'), reply: { elicitation: () => ({ action: 'decline' }) } },
  { title: 'a form that is closed', request: call('trigger-elicitation-request'), reply: { elicitation: () => ({ action: 'cancel' }) } },
  { title: 'a form that the client refuses', request: call('trigger-elicitation-request'), reply: { elicitation: rejected } },
  { title: 'a URL that is opened', request: call('trigger-url-elicitation', { url: 'https://example.com/form', elicitationId: 'mine' }) },
  {
    title: 'a URL that is declined',
    request: call('trigger-url-elicitation', { url: 'https://example.com/form', elicitationId: 'mine' }),
    reply: { elicitation: () => ({ action: 'decline' }) },
  },
  { title: 'roots', request: call('get-roots-list') },
];

/** The number of the k-th of many clients, unlike any other number around. @param {number} k */
export const numberOf = (k) => 1000 + k;

/** @param {number} k */
export const nameOf = (k) => `client ${numberOf(k)}`;

/** @param {number} k */
export const ownDirectory = (k) => `$DIR/files/${numberOf(k)}`;

/** @param {number} k */
const ownFile = (k) => `${ownDirectory(k)}/${numberOf(k)}.txt`;

/** @type {(request: Message, ...except: Row['except']) => Step} */
const step = (request, ...except) => ({ request, except });

/**
 * The work of the k-th client: steps that may all be under way at once.
 * @type {Record<string, (k: number) => Step[]>}
 */
export const atOnce = {
  everything: (k) => [
    ...['a', 'b', 'c', 'zażółć 🦊 \u2028'].map((text) => step(call('echo', { message: `${text} of ${nameOf(k)}` }))),
    step(call('echo', { message: `${numberOf(k)}`.repeat(20_000) })),
    step(call('get-sum', { a: numberOf(k), b: 0.5 })),
    step(call('get-resource-reference', { resourceType: 'Blob', resourceId: numberOf(k) }), 'time of day'),
    step(call(`no-such-tool-${numberOf(k)}`)),
    step({ method: 'resources/read', params: { uri: `demo://resource/dynamic/text/${numberOf(k)}` } }, 'time of day'),
    step({ method: 'resources/read', params: { uri: `demo://missing/${numberOf(k)}` } }),
    step({ method: 'prompts/get', params: { name: 'args-prompt', arguments: { city: nameOf(k), state: 'Texas' } } }),
    step({ method: 'prompts/get', params: { name: `no-such-prompt-${numberOf(k)}` } }),
    step({
      method: 'completion/complete',
      params: { ref: { type: 'ref/prompt', name: 'resource-prompt' }, argument: { name: 'resourceId', value: `${numberOf(k)}` } },
    }),
  ],
  filesystem: (k) => [
    ...['read_text_file', 'read_file', 'read_media_file'].map((tool) => step(call(tool, { path: ownFile(k) }))),
    step(call('list_directory', { path: ownDirectory(k) })),
    step(call('search_files', { path: '$DIR/files', pattern: `**/${numberOf(k)}.txt` })),
    step(call('read_text_file', { path: `$DIR/files/missing-${numberOf(k)}` })),
    step(call('read_text_file', { path: `$DIR/outside/${numberOf(k)}` })),
  ],
  memory: (k) => [
    step(call('open_nodes', { names: [nameOf(k)] })),
    step(call('search_nodes', { query: `${numberOf(k)} likes` })),
    step(call('add_observations', { observations: [{ entityName: `nobody-${numberOf(k)}`, contents: ['x'] }] })),
  ],
};

/**
 * What the k-th client does first, step by step: what these leave behind is what it then works with.
 * @type {Record<string, (k: number) => Step[]>}
 */
export const firstSteps = {
  everything: (k) => [step(call('gzip-file-as-resource', { name: `${numberOf(k)}.gz`, data: `data:text/plain,${nameOf(k)}`, outputType: 'resource' }))],
  filesystem: (k) => [
    step(call('create_directory', { path: ownDirectory(k) })),
    step(call('write_file', { path: `${ownFile(k)}.new`, content: `${nameOf(k)} wrote this\n` })),
    step(call('edit_file', { path: `${ownFile(k)}.new`, edits: [{ oldText: 'wrote', newText: 'has changed' }] })),
    step(call('move_file', { source: `${ownFile(k)}.new`, destination: ownFile(k) })),
  ],
  memory: (k) => [
    step(call('create_entities', { entities: [{ name: nameOf(k), entityType: 'client', observations: [`${numberOf(k)} likes tea`] }] })),
    step(call('add_observations', { observations: [{ entityName: nameOf(k), contents: [`${numberOf(k)} counts`] }] })),
  ],
};

/** A call with progress, whose number of steps and whose result are those of the k-th client. @param {number} k */
export const longCall = (k) => call('trigger-long-running-operation', { duration: lasting(0.2, k), steps: 3 + k });

/** A duration that tells the client. @param {number} seconds @param {number} k */
export const lasting = (seconds, k) => seconds + numberOf(k) / 1e6 + 1e-9;

/** A change of the k-th client's own part of the memory. @param {number} k @param {number} round */
export const change = (k, round) => call('add_observations', { observations: [{ entityName: nameOf(k), contents: [`${numberOf(k)} round ${round}`] }] });

/** A call that does not end while a test waits for something, with progress ten times a second. @param {number} k */
export const endlessCall = (k) => call('trigger-long-running-operation', { duration: lasting(30, k), steps: 300 });
