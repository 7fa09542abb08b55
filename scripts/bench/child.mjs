// The stdio server behind everything that is measured, the same for all: it reads and writes bytes, parses nothing, and
// answers as fast as its pipe allows. It speaks the legacy handshake; a tool call looks at two arguments: `bytes`, how
// long the text of the result is, and `announce`, which sends a notification before the answer.
// @ts-check
import { writeSync } from 'node:fs';

const LF = 10;
const LOOK = 512; // bytes: what decides stands in front, and big arguments behind
const ANNOUNCED = Buffer.from('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n');
const PHRASE = 'It says \\"zażółć gęślą jaźń\\" in the middle of a line of plain words, and then the line ends.\\n';

const WELCOME = { protocolVersion: '2025-11-25', capabilities: { tools: { listChanged: true } }, serverInfo: { name: 'bench', version: '1.0.0' } };
/** @type {Record<string, string>} */
const RESULTS = {
  initialize: JSON.stringify(WELCOME),
  ping: '{}',
  'tools/list': '{"tools":[{"name":"answer","inputSchema":{"type":"object"}}]}',
};
/** @type {Map<number, Buffer>} */
const texts = new Map();

/** @type {Buffer[]} */
let parts = [];
process.stdin.on('data', (chunk) => {
  /** @type {Buffer[]} */
  const answers = [];
  let start = 0;
  for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
    const first = parts[0] === undefined || parts[0].length >= LOOK ? parts[0] : Buffer.concat([...parts, chunk.subarray(start, end)]);
    answers.push(...answerTo((first ?? chunk.subarray(start, end)).toString('latin1', 0, LOOK)));
    parts = [];
    start = end + 1;
  }
  if (start < chunk.length) parts.push(chunk.subarray(start));
  if (answers.length > 0) write(answers.length === 1 ? /** @type {Buffer} */ (answers[0]) : Buffer.concat(answers));
});
process.stdin.on('end', () => process.exit());

/** @returns {Buffer[]} */
function answerTo(/** @type {string} */ head) {
  const id = /"id":(\d+|"[^"]*")/.exec(head)?.[1];
  if (id === undefined) return []; // a notification
  const method = /"method":"([^"]*)"/.exec(head)?.[1] ?? '';
  if (method !== 'tools/call') {
    const result = RESULTS[method];
    const rest = result === undefined ? `"error":{"code":-32601,"message":"Method not found: ${method}"}` : `"result":${result}`;
    return [Buffer.from(`{"jsonrpc":"2.0","id":${id},${rest}}\n`)];
  }
  const text = textOf(Number(/"bytes":(\d+)/.exec(head)?.[1] ?? 2));
  const answer = [Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"`), text, Buffer.from('"}]}}\n')];
  return [...(head.includes('"announce":true') ? [ANNOUNCED] : []), Buffer.concat(answer)];
}

/** The inside of a JSON string of so many bytes, made once. */
function textOf(/** @type {number} */ bytes) {
  let text = texts.get(bytes);
  if (text === undefined) {
    const phrase = Buffer.from(PHRASE);
    text = Buffer.alloc(bytes, 'x');
    for (let at = 0; at + phrase.length <= bytes; at += phrase.length) phrase.copy(text, at);
    texts.set(bytes, text);
  }
  return text;
}

/** Blocks until all is written. */
function write(/** @type {Buffer} */ bytes) {
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
}
