// Another careless relay: it never parses. It puts its own id into the bytes of a request where it expects one, the
// client's id into the bytes of the answer, and believes whatever it is sent.
// @ts-check
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';

const LF = 10;
const ID = /"id":(\d+|"[^"]*")/; // in the first bytes of a message

const [command = '', ...args] = process.argv.slice(2);
const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
/** @type {Map<string, { id: string, res: import('node:http').ServerResponse }>} */
const waiting = new Map();
let lastId = 0;

/** @type {Buffer[]} */
let parts = [];
child.stdout.on('data', (chunk) => {
  let start = 0;
  for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
    parts.push(chunk.subarray(start, end));
    answer(parts);
    parts = [];
    start = end + 1;
  }
  if (start < chunk.length) parts.push(chunk.subarray(start));
});

/** The parts of a line leave as they came, but for the id in the first one. */
function answer(/** @type {Buffer[]} */ [first = Buffer.alloc(0), ...more]) {
  const { before, id, after } = cut(first);
  const call = waiting.get(id);
  if (call === undefined) return;
  waiting.delete(id);
  const parts = [Buffer.from(`${before}${call.id}`, 'latin1'), after, ...more];
  call.res.writeHead(200, { 'content-type': 'application/json', 'content-length': parts.reduce((bytes, part) => bytes + part.length, 0) });
  for (const part of parts) call.res.write(part);
  call.res.end();
}

/** A message around its id. */
function cut(/** @type {Buffer} */ message) {
  const found = ID.exec(message.toString('latin1', 0, 128));
  const id = found?.[1] ?? '';
  const at = (found?.index ?? 0) + 5;
  return { before: message.toString('latin1', 0, at), id, after: message.subarray(at + id.length) };
}

const server = createServer((req, res) => {
  /** @type {Buffer[]} */
  const chunks = [];
  req.on('data', (chunk) => chunks.push(chunk));
  req.on('end', () => {
    const [first = Buffer.alloc(0), ...more] = chunks;
    const { before, id, after } = cut(first);
    waiting.set(String(++lastId), { id, res });
    child.stdin.cork();
    for (const part of [Buffer.from(`${before}${lastId}`, 'latin1'), after, ...more]) child.stdin.write(part);
    child.stdin.write('\n');
    child.stdin.uncork();
  });
});
server.keepAliveTimeout = 65_000; // the load pauses between its rounds
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit());
