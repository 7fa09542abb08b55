// @ts-check
// Where the answers of two runs of one server may differ, and why. Nothing else is forgiven: a row of the tables names
// the exceptions it needs, and each is applied to both sides.

/** @typedef {{ reason: string, mask: (text: string, key: string) => string }} Exception */

const isoTime = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)/g;
const timeOfDay = /\b\d{1,2}:\d\d:\d\d(\s[AP]M)?/g;
const dateText = /\w{3} \w{3} \d\d \d{4} \d\d:\d\d:\d\d GMT[+-]\d{4} \([^)]*\)/g;
const uuid = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

/** @satisfies {Record<string, Exception>} */
export const exceptions = {
  'time of day': {
    reason: 'the dynamic resources of server-everything hold the local time at which they were made, also inside base64',
    mask: (text, key) => {
      const plain = key === 'blob' ? Buffer.from(text, 'base64').toString() : text;
      return plain.replace(timeOfDay, '<time>');
    },
  },
  'file dates': {
    reason: 'get_file_info prints the creation time of a file that each run made for itself',
    mask: (text) => text.replace(dateText, '<date>'),
  },
  'random id': {
    reason: 'trigger-url-elicitation makes a random elicitationId',
    mask: (text) => text.replace(uuid, '<uuid>'),
  },
  'random task id': {
    reason: 'every legacy task has a random id of 128 bits',
    mask: (text) => text.replace(/\b[0-9a-f]{32}\b/g, '<task>'),
  },
  'refusal text': {
    reason: 'the tool repeats the words in which its client refused to be asked; the code, which it repeats too, is compared',
    mask: (text) => text.replace(/client does not support ([a-z]+\/\w+)/gi, '<$1 refused>'),
  },
};

/**
 * What is compared: the answer with ISO times, the run's own directory and the excepted places masked.
 * @param {unknown} answer
 * @param {string} dir
 * @param {readonly (keyof typeof exceptions)[]} [excepted]
 * @returns {any}
 */
export function masked(answer, dir, excepted = []) {
  return JSON.parse(JSON.stringify(answer), (key, value) => {
    if (typeof value !== 'string') return value;
    let text = value.replaceAll(dir, '$DIR').replace(isoTime, '<iso time>');
    for (const name of excepted) text = exceptions[name].mask(text, key);
    return text;
  });
}

/**
 * Legacy tasks are the one thing that the proxy hides from the clients of a shared process: the capability, and the
 * `execution` member of tools. That they are hidden is a test of its own.
 * @param {any} answer
 */
export function withoutTasks(answer) {
  const { result } = answer;
  delete result?.capabilities?.tasks;
  for (const tool of result?.tools ?? []) delete tool.execution;
  return answer;
}
