// The ceiling: what `node:http` alone does. A POST gets a fixed JSON-RPC result, with so many bytes of text as the path
// names; a GET gets an event stream on which nothing happens, but for `/health`.
// @ts-check
import { createServer } from 'node:http';

/** @type {Map<string, Buffer>} */
const answers = new Map();

const server = createServer((req, res) => {
  if (req.url === '/health') return void res.end();
  if (req.method === 'GET') {
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    res.flushHeaders();
    return;
  }
  req.on('data', () => {});
  req.on('end', () => {
    const answer = answerOf(req.url ?? '/');
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length });
    if (answer.length < 16_384) res.end(answer.toString('latin1'), 'latin1');
    else res.end(answer);
  });
});
server.keepAliveTimeout = 65_000; // the load pauses between its rounds
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit());

/** @returns {Buffer} */
function answerOf(/** @type {string} */ path) {
  let answer = answers.get(path);
  if (answer === undefined) {
    const result = { content: [{ type: 'text', text: 'x'.repeat(Number(path.slice(1)) || 2) }] };
    answer = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, result }));
    answers.set(path, answer);
  }
  return answer;
}
