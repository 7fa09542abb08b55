// @ts-check
// What the scenarios of the conformance suite ask for by name and what needs no protocol to answer: both servers, the
// legacy one and the modern one, offer exactly this, so that only their era tells them apart.

/** @typedef {{ type: 'text', text: string }} Text */
/** @typedef {Text | { type: 'image' | 'audio', data: string, mimeType: string } | { type: 'resource', resource: { uri: string, mimeType: string, text: string } }} Content */
/** @typedef {Record<string, unknown> & { type: 'object' }} Schema */

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==';

/** @type {(text: string) => Text} */
export const text = (text) => ({ type: 'text', text });
/** @type {Content} */
const image = { type: 'image', data: PNG, mimeType: 'image/png' };
/** @type {(uri: string, mimeType: string, text: string) => Content} */
const embedded = (uri, mimeType, text) => ({ type: 'resource', resource: { uri, mimeType, text } });

/** @type {(properties: Record<string, object>, required?: string[]) => Schema} */
export const object = (properties, required = []) => ({ type: 'object', properties, required });
const options = (/** @type {string} */ of) => ['1', '2', '3'].map((number) => `${of}${number}`);
const titled = (/** @type {string} */ title) => options('value').map((value, index) => ({ const: value, title: `${title} ${index + 1}` }));

/** Tools whose result is always the same. @type {Record<string, { description: string, result: { isError?: true, content: Content[] } }>} */
export const fixedTools = {
  test_simple_text: { description: 'returns a text', result: { content: [text('This is a simple text response for testing.')] } },
  test_image_content: { description: 'returns an image', result: { content: [image] } },
  test_audio_content: { description: 'returns a sound', result: { content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }] } },
  test_embedded_resource: {
    description: 'returns a resource',
    result: { content: [embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.')] },
  },
  test_multiple_content_types: {
    description: 'returns a text, an image and a resource',
    result: {
      content: [
        text('Multiple content types test:'),
        image,
        embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
      ],
    },
  },
  test_error_handling: {
    description: 'fails',
    result: { isError: true, content: [text('This tool intentionally returns an error for testing')] },
  },
};

/** @type {(message: string, properties: Record<string, object>, required?: string[]) => { message: string, requestedSchema: any }} */
const form = (message, properties, required) => ({ message, requestedSchema: object(properties, required) });

/** Forms that the user is asked to fill in. */
export const forms = {
  defaults: form('Please review these values', {
    name: { type: 'string', default: 'John Doe' },
    age: { type: 'integer', default: 30 },
    score: { type: 'number', default: 95.5 },
    status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
    verified: { type: 'boolean', default: true },
  }),
  choices: form('Please choose', {
    untitledSingle: { type: 'string', enum: options('option') },
    titledSingle: { type: 'string', oneOf: titled('Option') },
    legacyEnum: { type: 'string', enum: options('opt'), enumNames: options('Option ') },
    untitledMulti: { type: 'array', items: { type: 'string', enum: options('option') } },
    titledMulti: { type: 'array', items: { anyOf: titled('Choice') } },
  }),
  name: form('What is your name?', { name: { type: 'string' } }, ['name']),
  color: form('What is your favorite color?', { color: { type: 'string' } }, ['color']),
  confirmation: form('Please confirm', { ok: { type: 'boolean' } }, ['ok']),
  context: form('What context should the prompt use?', { context: { type: 'string' } }, ['context']),
};

/** The form of a tool whose caller says the message. @param {string} message */
export function userForm(message) {
  const field = (/** @type {string} */ description) => ({ type: 'string', description });
  return form(message, { username: field("User's response"), email: field("User's email address") }, ['username', 'email']);
}

/** What the model of the client is asked. @type {(question: string, maxTokens?: number) => any} */
export const question = (question, maxTokens = 100) => ({ messages: [{ role: 'user', content: text(question) }], maxTokens });

/** Keywords of JSON Schema 2020-12. @type {Schema} */
export const schema2020 = {
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
};

/** Arguments that a client of 2026-07-28 repeats in headers over HTTP. */
export const headerSchema = object(
  {
    region: { type: 'string', 'x-mcp-header': 'Region' },
    priority: { type: 'integer', 'x-mcp-header': 'Priority' },
    dryRun: { type: 'boolean', 'x-mcp-header': 'Dry-Run' },
    nested: { type: 'object', properties: { zone: { type: 'string', 'x-mcp-header': 'Zone' } } },
    query: { type: 'string' },
  },
  ['region'],
);

/** @type {Record<string, { name: string, mimeType: string } & ({ text: string } | { blob: string })>} */
export const resources = {
  'test://static-text': { name: 'static-text', mimeType: 'text/plain', text: 'This is the content of the static text resource.' },
  'test://static-binary': { name: 'static-binary', mimeType: 'image/png', blob: PNG },
  'test://watched-resource': { name: 'watched-resource', mimeType: 'text/plain', text: 'Watched resource content' },
};

export const template = {
  name: 'template',
  uriTemplate: 'test://template/{id}/data',
  mimeType: 'application/json',
  /** The content of a resource of the template. @param {string} id */
  content: (id) => JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
};

/** @type {Record<string, { description: string, args: string[], contents: (args: Record<string, string>) => Content[] }>} */
export const prompts = {
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

/** What an argument that begins so may become. @param {string} value */
export function completions(value) {
  const values = ['testValue1', 'testValue2'].filter((each) => each.startsWith(value));
  return { completion: { values, total: values.length, hasMore: false } };
}
