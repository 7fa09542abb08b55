// A careless relay: what one writes in half an hour. It parses every message and serialises it again. No sessions, no
// checks, no bounds, nobody who starts the server again, and nobody who is told when it is gone.
// @ts-check
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';

const [command = '', ...args] = process.argv.slice(2);
const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
/** @type {Map<number, { id: unknown, res: import('node:http').ServerResponse }>} */
const waiting = new Map();
/** @type {Set<import('node:http').ServerResponse>} */
const streams = new Set();
let lastId = 0;

let rest = '';
child.stdout.setEncoding('utf8').on('data', (text) => {
  rest += text;
  const lines = rest.split('\n');
  rest = lines.pop() ?? '';
  for (const line of lines) {
    const message = JSON.parse(line);
    if (message.method === undefined) answer(message);
    else for (const res of streams) res.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
  }
});

function answer(/** @type {any} */ message) {
  const call = waiting.get(message.id);
  if (call === undefined) return;
  waiting.delete(message.id);
  message.id = call.id;
  call.res.writeHead(200, { 'content-type': 'application/json' });
  call.res.end(JSON.stringify(message));
}

const server = createServer((req, res) => {
  if (req.method === 'GET') {
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    res.flushHeaders();
    streams.add(res);
    res.on('close', () => streams.delete(res));
    return;
  }
  let body = '';
  req.setEncoding('utf8');
  req.on('data', (text) => (body += text));
  req.on('end', () => {
    const message = JSON.parse(body);
    const id = ++lastId;
    waiting.set(id, { id: message.id, res });
    message.id = id;
    child.stdin.write(`${JSON.stringify(message)}\n`);
  });
});
server.keepAliveTimeout = 65_000; // the load pauses between its rounds
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit());
