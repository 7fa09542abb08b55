// @ts-check
// The servers and what they are asked. `$DIR` stands for the directory that each run gets for itself. The rows of a
// server are one conversation: later rows see what earlier ones changed.
import { mkdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** @typedef {import('./direct.mjs').Entry} Entry */
/** @typedef {keyof typeof import('./exceptions.mjs').exceptions} ExceptionName */
/** @typedef {'result' | 'isError' | 'error'} Kind a result, a tool's own failure, or a JSON-RPC error */
/** @typedef {{ method: string, params: any, kind: Kind, except: ExceptionName[] }} Row */

/** @type {(method: string, params: any, kind: Kind, except: ExceptionName[]) => Row} */
const row = (method, params, kind, except) => ({ method, params, kind, except });
/** @type {(tool: string, args?: any, ...except: ExceptionName[]) => Row} a call that succeeds */
const call = (tool, args, ...except) => row('tools/call', { name: tool, arguments: args }, 'result', except);
/** @type {(tool: string, args?: any, ...except: ExceptionName[]) => Row} a call whose result says `isError` */
const fails = (tool, args, ...except) => row('tools/call', { name: tool, arguments: args }, 'isError', except);
/** @type {(method: string, params?: any, ...except: ExceptionName[]) => Row} any other request that has a result */
const ask = (method, params, ...except) => row(method, params, 'result', except);
/** @type {(method: string, params?: any, ...except: ExceptionName[]) => Row} a request that has a JSON-RPC error */
const refused = (method, params, ...except) => row(method, params, 'error', except);

const module = 'node_modules/@modelcontextprotocol';

/**
 * Every server has the directory among its arguments, so that its processes can be told from all others.
 * @type {Record<string, Entry>}
 */
export const entries = {
  everything: {
    command: process.execPath,
    args: [`${module}/server-everything/dist/index.js`, 'stdio', '$DIR'],
    env: { INTEROP_DIR: '$DIR', INTEROP_TEXT: 'zażółć "gęślą" = jaźń\n\tsecond line' },
  },
  filesystem: {
    command: process.execPath,
    args: [`${module}/server-filesystem/dist/index.js`, '$DIR/files'],
    env: {},
  },
  // The one that is started as most configurations start theirs. Everything that npm would write stays in the directory.
  memory: {
    command: 'npx',
    args: ['--no-install', 'mcp-server-memory', '$DIR'],
    env: { MEMORY_FILE_PATH: '$DIR/memory.jsonl', npm_config_cache: '$DIR/npm', npm_config_offline: 'true', npm_config_update_notifier: 'false' },
  },
  'sequential-thinking': {
    command: process.execPath,
    args: [`${module}/server-sequential-thinking/dist/index.js`, '$DIR'],
    env: { DISABLE_THOUGHT_LOGGING: 'true' },
  },
};

/**
 * Puts the run's directory where `$DIR` stands.
 * @template T
 * @param {T} value
 * @param {string} dir
 * @returns {T}
 */
export function placed(value, dir) {
  if (value === undefined) return value;
  return JSON.parse(JSON.stringify(value), (_, inner) => (typeof inner === 'string' ? inner.replaceAll('$DIR', dir) : inner));
}

const notes = 'first line\nżółć and 🦊\r\nthird\u2028still third\n\ttabbed "quoted" \\ back\u0000slash\nlast line without an end';
const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

/**
 * What both runs find on disk.
 * @param {string} dir
 */
export async function furnish(dir) {
  const files = join(dir, 'files');
  await mkdir(join(files, 'nested', 'deep'), { recursive: true });
  await mkdir(join(files, 'empty directory'));
  await mkdir(join(dir, 'outside'));
  /** @type {[string, string | Buffer][]} */
  const content = [
    ['files/notes.txt', notes],
    ['files/empty.txt', ''],
    ['files/big.txt', Array.from({ length: 40_000 }, (_, n) => `line ${n}: zażółć gęślą jaźń 🦊 "${n}"`).join('\n')],
    ['files/pixel.png', Buffer.from(pixel, 'base64')],
    ['files/sound.wav', Buffer.alloc(1024, 'RIFF')],
    ['files/every.byte', Buffer.from(Array.from({ length: 256 }, (_, n) => n))],
    ['files/name with spaces & ż.txt', 'found\n'],
    ['files/nested/one.md', '# one\n'],
    ['files/nested/deep/two.md', '# two\n\nalpha\nbeta\ngamma\n'],
    ['outside/secret.txt', 'not for the server\n'],
  ];
  for (const [name, bytes] of content) {
    await writeFile(join(dir, name), bytes);
    await utimes(join(dir, name), 1_700_000_000, 1_700_000_000);
  }
  await symlink(join(dir, 'outside', 'secret.txt'), join(files, 'way out'));
}

const alice = { name: 'Alice', entityType: 'person', observations: ['likes tea', 'mówi po polsku 🦊'] };
const bob = { name: 'Bob', entityType: 'person', observations: [] };
const acme = { name: 'Acme "Ltd"', entityType: 'company', observations: ['founded 1999'] };
const thought = { thought: 'Think about it.', nextThoughtNeeded: true, thoughtNumber: 1, totalThoughts: 3 };
const text = 'demo://resource/dynamic/text';
const blob = 'demo://resource/dynamic/blob';
const prompt = (/** @type {string} */ name) => ({ type: 'ref/prompt', name });

/** @type {Record<string, Row[]>} */
export const tables = {
  everything: [
    call('echo', { message: 'hello' }),
    call('echo', { message: '' }),
    call('echo', { message: 'zażółć 🦊 \u2028\u2029 \u0000\u001f\u007f "\\/ </script> \ud800 \r\n' }),
    call('echo', { message: 'x'.repeat(300_000) }),
    call('echo', { message: 'more than it asks for', extra: { deep: [1, null, true] } }),
    fails('echo', {}),
    fails('echo', { message: 7 }),
    fails('echo'),
    call('get-annotated-message', { messageType: 'error' }),
    call('get-annotated-message', { messageType: 'success', includeImage: true }),
    call('get-annotated-message', { messageType: 'debug', includeImage: false }),
    fails('get-annotated-message', { messageType: 'whisper' }),
    call('get-env', {}),
    call('get-resource-links', {}),
    call('get-resource-links', { count: 10 }),
    fails('get-resource-links', { count: 11 }),
    call('get-resource-reference', {}, 'time of day'),
    call('get-resource-reference', { resourceType: 'Blob', resourceId: 42 }, 'time of day'),
    fails('get-resource-reference', { resourceType: 'Text', resourceId: -1 }),
    call('get-structured-content', { location: 'New York' }),
    call('get-structured-content', { location: 'Los Angeles' }),
    fails('get-structured-content', { location: 'Atlantis' }),
    call('get-sum', { a: 2, b: 3.5 }),
    call('get-sum', { a: -1e308, b: -1e308 }),
    fails('get-sum', { a: '2', b: 3 }),
    call('get-tiny-image', {}),
    call('gzip-file-as-resource', { name: 'hello.gz', data: 'data:text/plain,hello' }),
    call('gzip-file-as-resource', { name: 'now.gz', data: `data:text/plain;base64,${Buffer.from(notes).toString('base64')}`, outputType: 'resource' }),
    fails('gzip-file-as-resource', { data: 'ftp://example.com/file' }),
    fails('gzip-file-as-resource', { data: 'no url' }),
    call('toggle-simulated-logging', {}),
    call('toggle-simulated-logging', {}),
    call('toggle-subscriber-updates', {}),
    call('toggle-subscriber-updates', {}),
    call('trigger-long-running-operation', { duration: 0.2, steps: 4 }),
    row('tools/call', { name: 'trigger-long-running-operation', arguments: { duration: 0.2, steps: 4 }, _meta: { progressToken: 'mine', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' } }, 'result', []),
    fails('trigger-long-running-operation', { duration: 'long' }),
    call('get-roots-list', {}),
    fails('trigger-elicitation-request', {}, 'refusal text'),
    fails('trigger-sampling-request', { prompt: 'say something' }, 'refusal text'),
    fails('trigger-sampling-request', {}),
    fails('trigger-url-elicitation', { url: 'https://example.com/form', elicitationId: 'mine' }, 'refusal text'),
    refused('tools/call', { name: 'trigger-url-elicitation', arguments: { url: 'https://example.com/form', errorPath: true } }, 'random id'),
    fails('trigger-url-elicitation', { url: 'no url' }),
    fails('simulate-research-query', { topic: 'proxies' }),
    fails('no-such-tool', {}),
    refused('tools/call', {}),
    refused('no/such/method', { any: 'thing' }),

    ask('ping'),
    ask('resources/list', {}),
    ask('resources/templates/list', {}),
    ask('resources/read', { uri: 'demo://resource/static/document/architecture.md' }),
    ask('resources/read', { uri: 'demo://resource/static/document/instructions.md' }),
    ask('resources/read', { uri: 'demo://resource/session/hello.gz' }),
    ask('resources/read', { uri: `${text}/1` }, 'time of day'),
    ask('resources/read', { uri: `${blob}/2` }, 'time of day'),
    refused('resources/read', { uri: `${text}/zero` }),
    refused('resources/read', { uri: 'demo://resource/static/document/missing.md' }),
    refused('resources/read', {}),
    ask('resources/subscribe', { uri: `${text}/1` }),
    ask('resources/unsubscribe', { uri: `${text}/1` }),
    ask('prompts/list', {}),
    ask('prompts/get', { name: 'simple-prompt' }),
    ask('prompts/get', { name: 'args-prompt', arguments: { city: 'Łódź' } }),
    ask('prompts/get', { name: 'args-prompt', arguments: { city: 'Austin', state: 'Texas' } }),
    refused('prompts/get', { name: 'args-prompt', arguments: {} }),
    ask('prompts/get', { name: 'completable-prompt', arguments: { department: 'Sales', name: 'Eve' } }),
    ask('prompts/get', { name: 'resource-prompt', arguments: { resourceType: 'Text', resourceId: '3' } }, 'time of day'),
    ask('prompts/get', { name: 'resource-prompt', arguments: { resourceType: 'Blob', resourceId: '4' } }, 'time of day'),
    refused('prompts/get', { name: 'resource-prompt', arguments: { resourceType: 'Smell', resourceId: '4' } }),
    refused('prompts/get', { name: 'no-such-prompt' }),
    ask('completion/complete', { ref: prompt('completable-prompt'), argument: { name: 'department', value: 'S' } }),
    ask('completion/complete', { ref: prompt('completable-prompt'), argument: { name: 'name', value: '' }, context: { arguments: { department: 'Engineering' } } }),
    ask('completion/complete', { ref: prompt('resource-prompt'), argument: { name: 'resourceId', value: '12' } }),
    ask('completion/complete', { ref: { type: 'ref/resource', uri: `${text}/{resourceId}` }, argument: { name: 'resourceId', value: '5' } }),
    refused('completion/complete', { ref: prompt('no-such-prompt'), argument: { name: 'x', value: '' } }),
    ask('logging/setLevel', { level: 'debug' }),
  ],

  filesystem: [
    call('list_allowed_directories', {}),
    call('list_directory', { path: '$DIR/files' }),
    call('list_directory', { path: '$DIR/files/empty directory' }),
    fails('list_directory', { path: '$DIR/files/missing' }),
    call('list_directory_with_sizes', { path: '$DIR/files' }),
    call('list_directory_with_sizes', { path: '$DIR/files', sortBy: 'size' }),
    fails('list_directory_with_sizes', { path: '$DIR/files', sortBy: 'colour' }),
    call('directory_tree', { path: '$DIR/files' }),
    call('directory_tree', { path: '$DIR/files', excludePatterns: ['deep', '*.txt'] }),
    fails('directory_tree', { path: '$DIR' }),
    call('read_file', { path: '$DIR/files/notes.txt' }),
    fails('read_file', { path: '$DIR/files/missing.txt' }),
    call('read_text_file', { path: '$DIR/files/notes.txt' }),
    call('read_text_file', { path: '$DIR/files/empty.txt' }),
    call('read_text_file', { path: '$DIR/files/name with spaces & ż.txt' }),
    call('read_text_file', { path: '$DIR/files/every.byte' }),
    call('read_text_file', { path: '$DIR/files/big.txt' }),
    call('read_text_file', { path: '$DIR/files/big.txt', head: 3 }),
    call('read_text_file', { path: '$DIR/files/big.txt', tail: 3 }),
    fails('read_text_file', { path: '$DIR/files/big.txt', head: 3, tail: 3 }),
    fails('read_text_file', { path: '$DIR/files/nested' }),
    fails('read_text_file', { path: '$DIR/outside/secret.txt' }),
    fails('read_text_file', { path: '$DIR/files/way out' }),
    fails('read_text_file', { path: '$DIR/files/../outside/secret.txt' }),
    fails('read_text_file', {}),
    fails('read_text_file', { path: ['$DIR/files/notes.txt'] }),
    call('read_media_file', { path: '$DIR/files/pixel.png' }),
    call('read_media_file', { path: '$DIR/files/sound.wav' }),
    call('read_media_file', { path: '$DIR/files/every.byte' }),
    fails('read_media_file', { path: '$DIR/files/missing.png' }),
    call('read_multiple_files', { paths: ['$DIR/files/notes.txt', '$DIR/files/missing.txt', '$DIR/files/nested/one.md'] }),
    fails('read_multiple_files', { paths: [] }),
    call('search_files', { path: '$DIR/files', pattern: '**/*.md' }),
    call('search_files', { path: '$DIR/files', pattern: '**', excludePatterns: ['**/deep/**'] }),
    call('search_files', { path: '$DIR/files', pattern: 'nothing-like-it' }),
    fails('search_files', { path: '$DIR/files' }),
    call('get_file_info', { path: '$DIR/files/pixel.png' }, 'file dates'),
    call('get_file_info', { path: '$DIR/files/nested' }, 'file dates'),
    fails('get_file_info', { path: '$DIR/files/missing' }),
    call('create_directory', { path: '$DIR/files/made/here' }),
    call('create_directory', { path: '$DIR/files/made/here' }),
    fails('create_directory', { path: '$DIR/files/notes.txt' }),
    call('write_file', { path: '$DIR/files/made/written.txt', content: notes }),
    call('write_file', { path: '$DIR/files/made/written.txt', content: 'one\ntwo\nthree 🦊\n' }),
    fails('write_file', { path: '$DIR/outside/written.txt', content: 'no' }),
    fails('write_file', { path: '$DIR/files/made/written.txt' }),
    call('edit_file', { path: '$DIR/files/made/written.txt', edits: [{ oldText: 'two', newText: 'zwei' }], dryRun: true }),
    call('edit_file', { path: '$DIR/files/made/written.txt', edits: [{ oldText: 'one', newText: 'eins' }, { oldText: 'three 🦊', newText: 'drei' }] }),
    fails('edit_file', { path: '$DIR/files/made/written.txt', edits: [{ oldText: 'not there', newText: 'x' }] }),
    call('read_text_file', { path: '$DIR/files/made/written.txt' }),
    call('move_file', { source: '$DIR/files/made/written.txt', destination: '$DIR/files/made/here/moved.txt' }),
    fails('move_file', { source: '$DIR/files/made/written.txt', destination: '$DIR/files/made/again.txt' }),
    fails('move_file', { source: '$DIR/files/notes.txt', destination: '$DIR/outside/notes.txt' }),
    call('directory_tree', { path: '$DIR/files/made' }),
    fails('no_such_tool', {}),
    refused('resources/list', {}),
    refused('resources/read', { uri: 'file://$DIR/files/notes.txt' }),
    refused('prompts/list', {}),
    refused('completion/complete', { ref: prompt('any'), argument: { name: 'x', value: '' } }),
  ],

  memory: [
    call('read_graph', {}),
    call('create_entities', { entities: [alice, bob, acme] }),
    call('create_entities', { entities: [alice] }),
    call('create_entities', { entities: [] }),
    fails('create_entities', { entities: [{ name: 'half' }] }),
    fails('create_entities', {}),
    call('create_relations', { relations: [{ from: 'Alice', to: acme.name, relationType: 'works at' }, { from: 'Bob', to: 'Alice', relationType: 'knows' }] }),
    fails('create_relations', { relations: 'Alice knows Bob' }),
    call('add_observations', { observations: [{ entityName: 'Bob', contents: ['likes \u2028 separators', 'likes "quotes"'] }] }),
    fails('add_observations', { observations: [{ entityName: 'Nobody', contents: ['x'] }] }),
    call('search_nodes', { query: 'LIKES' }),
    call('search_nodes', { query: 'nothing like it' }),
    fails('search_nodes', { query: null }),
    call('open_nodes', { names: ['Alice', 'Nobody'] }),
    call('open_nodes', { names: [] }),
    fails('open_nodes', { names: 'Alice' }),
    call('read_graph', {}),
    ask('resources/list', {}),
    ask('resources/templates/list', {}),
    ask('resources/subscribe', { uri: 'memory://knowledge-graph' }),
    ask('resources/read', { uri: 'memory://knowledge-graph' }),
    refused('resources/read', { uri: 'memory://other' }),
    call('delete_observations', { deletions: [{ entityName: 'Bob', observations: ['likes "quotes"'] }, { entityName: 'Nobody', observations: ['x'] }] }),
    fails('delete_observations', { deletions: [{}] }),
    call('delete_relations', { relations: [{ from: 'Bob', to: 'Alice', relationType: 'knows' }] }),
    fails('delete_relations', { relations: [1] }),
    call('delete_entities', { entityNames: ['Alice', 'Nobody'] }),
    fails('delete_entities', { entityNames: 'Alice' }),
    call('read_graph', {}),
    ask('resources/unsubscribe', { uri: 'memory://knowledge-graph' }),
    fails('no_such_tool', {}),
    refused('prompts/list', {}),
  ],

  'sequential-thinking': [
    call('sequentialthinking', thought),
    call('sequentialthinking', { ...thought, thoughtNumber: '5', nextThoughtNeeded: 'TRUE' }),
    call('sequentialthinking', { ...thought, thoughtNumber: 2, branchFromThought: 1, branchId: 'gałąź', isRevision: true, revisesThought: 1 }),
    call('sequentialthinking', { ...thought, thoughtNumber: 3, nextThoughtNeeded: false }),
    fails('sequentialthinking', { ...thought, nextThoughtNeeded: 'perhaps' }),
    fails('sequentialthinking', {}),
    refused('resources/list', {}),
  ],
};

/**
 * Tools without a call that succeeds, and why.
 * @type {Record<string, string>}
 */
export const neverSucceed = {
  'trigger-elicitation-request': 'a simple client cannot be asked',
  'trigger-url-elicitation': 'a simple client cannot be asked',
  'trigger-sampling-request': 'a simple client cannot be asked',
  'simulate-research-query': 'it runs as a task only, and tasks are hidden in a shared process',
};
