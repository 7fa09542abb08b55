// @ts-check
// What clients ask of the modern server: rows whose answers are compared, calls during which it requires input, and the work
// of one client among many.
import { call } from './clients.mjs';
import { nameOf, numberOf } from './workloads.mjs';

/** @typedef {import('./clients.mjs').Message} Message */
/** @typedef {import('./clients.mjs').Replies} Replies */

const meta = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'example.com/own': { deep: [1, null] } };

/** Requests that need nothing from the client. @type {Message[]} */
export const rows = [
  { method: 'tools/list' },
  { method: 'resources/list' },
  { method: 'resources/templates/list' },
  { method: 'prompts/list' },
  call('test_simple_text'),
  call('test_image_content'),
  call('test_audio_content'),
  call('test_embedded_resource'),
  call('test_multiple_content_types'),
  call('test_error_handling'),
  call('test_tool_with_logging'),
  call('test_tool_with_progress'),
  call('test_logging_tool'),
  call('test_changing_tool'),
  call('json_schema_2020_12_tool', { name: 'Ada', contactMethod: 'phone', phone: '1', email: '2' }),
  call('json_schema_2020_12_tool', { contactMethod: 'phone' }),
  call('test_x_mcp_header', { region: 'eu-north', priority: 42, dryRun: false, nested: { zone: 'b' }, query: 'in no header' }),
  call('test_x_mcp_header', { region: ' zażółć 🦊 ', priority: -7, dryRun: true }),
  call('test_x_mcp_header', { region: '=?base64?SGVsbG8=?=' }),
  call('test_x_mcp_header', { region: '' }),
  call('echo', { message: 'zażółć 🦊 \u2028\u2029 \u0000\u001f\u007f "\\/ </script> \ud800 \r\n' }),
  call('echo', { message: 'x'.repeat(300_000) }),
  { method: 'tools/call', params: { name: 'echo', arguments: { message: 'metadata' }, _meta: meta } },
  call('echo', { message: 7 }),
  call('whoami'),
  call('cancelled'),
  call('point'),
  call('count', { steps: 2, ms: 1 }),
  call('no-such-tool'),
  { method: 'resources/read', params: { uri: 'test://static-text' } },
  { method: 'resources/read', params: { uri: 'test://static-binary' } },
  { method: 'resources/read', params: { uri: 'test://template/zażółć/data' } },
  { method: 'resources/read', params: { uri: 'test://missing' } },
  { method: 'resources/read', params: { uri: 'no uri' } },
  { method: 'prompts/get', params: { name: 'test_simple_prompt' } },
  { method: 'prompts/get', params: { name: 'test_prompt_with_arguments', arguments: { arg1: 'zażółć', arg2: '"' } } },
  { method: 'prompts/get', params: { name: 'test_prompt_with_arguments', arguments: { arg1: 'alone' } } },
  { method: 'prompts/get', params: { name: 'test_prompt_with_embedded_resource', arguments: { resourceUri: 'test://any' } } },
  { method: 'prompts/get', params: { name: 'test_prompt_with_image' } },
  { method: 'prompts/get', params: { name: 'test_changing_prompt' } },
  { method: 'prompts/get', params: { name: 'no-such-prompt' } },
  {
    method: 'completion/complete',
    params: { ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' }, argument: { name: 'arg1', value: 'test' } },
  },
  {
    method: 'completion/complete',
    params: { ref: { type: 'ref/resource', uri: 'test://template/{id}/data' }, argument: { name: 'id', value: 'other' } },
  },
];

const decline = { elicitation: () => ({ action: 'decline' }) };
const cancel = { elicitation: () => ({ action: 'cancel' }) };
const fields = { elicitation: () => ({ action: 'accept', content: { name: 'Ada', color: 'blue', ok: true, context: 'the context' } }) };

/**
 * Requests during which the server requires input; `reply` is what the client then says instead of its usual answer.
 * @type {{ title: string, request: Message, reply?: Partial<Replies>, questions: number }[]}
 */
export const inputs = [
  { title: 'the model', request: call('test_sampling', { prompt: 'zażółć 🦊 \u2028 "gęślą"' }), questions: 1 },
  { title: 'a form that is filled in', request: call('test_elicitation', { message: 'please' }), questions: 1 },
  { title: 'a form that is declined', request: call('test_elicitation', { message: 'please' }), reply: decline, questions: 1 },
  { title: 'a form that is closed', request: call('test_elicitation', { message: 'please' }), reply: cancel, questions: 1 },
  { title: 'a form with defaults', request: call('test_elicitation_sep1034_defaults'), questions: 1 },
  { title: 'a form with choices', request: call('test_elicitation_sep1330_enums'), questions: 1 },
  { title: 'a page that is opened', request: call('elicit_url', { url: 'https://example.com/form' }), questions: 1 },
  { title: 'a page that is declined', request: call('elicit_url', { url: 'https://example.com/form' }), reply: decline, questions: 1 },
  { title: 'a name', request: call('test_input_required_result_elicitation'), reply: fields, questions: 1 },
  { title: 'a capital', request: call('test_input_required_result_sampling'), questions: 1 },
  { title: 'the model without which it cannot do', request: call('test_missing_capability'), questions: 1 },
  { title: 'a name on a stream', request: call('test_streaming_elicitation'), questions: 1 },
  { title: 'the roots', request: call('test_input_required_result_list_roots'), questions: 1 },
  { title: 'a confirmation', request: call('test_input_required_result_request_state'), reply: fields, questions: 1 },
  { title: 'another confirmation', request: call('test_input_required_result_tampered_state'), reply: fields, questions: 1 },
  { title: 'three things at once', request: call('test_input_required_result_multiple_inputs'), reply: fields, questions: 3 },
  { title: 'two things in turn', request: call('test_input_required_result_multi_round'), reply: fields, questions: 2 },
  { title: 'all that the client can do', request: call('test_input_required_result_capabilities'), questions: 3 },
  { title: 'nothing but another call', request: call('think'), questions: 0 },
  { title: 'a confirmation, to read a resource', request: { method: 'resources/read', params: { uri: 'test://confidential' } }, reply: fields, questions: 1 },
  {
    title: 'a context, to make a prompt',
    request: { method: 'prompts/get', params: { name: 'test_input_required_result_prompt' } },
    reply: fields,
    questions: 1,
  },
];

/** Tools that have a test of their own, or a scenario. */
export const elsewhere = ['test_reconnection', 'test_trigger_tool_change', 'test_trigger_prompt_change', 'trigger_resource_change', 'touch_resource', 'numbers', 'ask_for_ever'];

/** The work of the k-th client, all of which may be under way at once. @type {(k: number) => Message[]} */
export const modernWork = (k) => [
  call('echo', { message: `of ${nameOf(k)}` }),
  call('echo', { message: `${numberOf(k)}`.repeat(20_000) }),
  call('whoami'),
  call('test_x_mcp_header', { region: nameOf(k), priority: numberOf(k) }),
  call('count', { steps: 3, ms: 20, label: nameOf(k) }),
  call('test_sampling', { prompt: `for ${nameOf(k)}` }),
  call('test_elicitation', { message: `for ${nameOf(k)}` }),
  call('elicit_url', { url: `https://example.com/${numberOf(k)}` }),
  call('test_input_required_result_list_roots'),
  call('test_input_required_result_multiple_inputs'),
  call(`no-such-tool-${numberOf(k)}`),
  { method: 'resources/read', params: { uri: `test://template/${numberOf(k)}/data` } },
  { method: 'resources/read', params: { uri: `test://missing/${numberOf(k)}` } },
  { method: 'prompts/get', params: { name: 'test_prompt_with_arguments', arguments: { arg1: nameOf(k), arg2: '' } } },
];
