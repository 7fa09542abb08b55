import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Deadlines } from '../../src/base/clock.ts';
import { fakeClock } from './clock.ts';
import { alive, fixture, group, repo, tempDir, until } from './files.ts';
import { connect, openSse, post, raw, request, sseDecoder, type SseItem } from './http.ts';

test('the fake clock stands still until it is moved, and shows the time it was moved to', () => {
  const clock = fakeClock(Date.UTC(2026, 0, 1));
  assert.equal(clock.timestamp(), '2026-01-01T00:00:00.000Z');
  clock.advance(1_500);
  assert.equal(clock.timestamp(), '2026-01-01T00:00:01.500Z');
  assert.equal(fakeClock().now(), 0);
});

test('the fake clock fires what falls due in order of time, each timer at its own instant', () => {
  const clock = fakeClock(100);
  const fired: string[] = [];
  const at = (ms: number, name: string) => clock.after(ms, () => fired.push(`${name}@${clock.now()}`));
  at(30, 'c');
  at(10, 'a');
  at(10, 'b');
  at(0, 'zero');
  at(-5, 'now');
  at(31, 'later');
  const cancelled = at(20, 'cancelled');
  cancelled.cancel();
  cancelled.cancel();
  assert.equal(clock.pending, 6);
  clock.advance(0);
  assert.deepEqual(fired, ['zero@100', 'now@100']);
  clock.advance(30);
  assert.deepEqual(fired, ['zero@100', 'now@100', 'a@110', 'b@110', 'c@130']);
  assert.equal(clock.now(), 130);
  assert.equal(clock.pending, 1);
});

test('the fake clock fires a timer that is armed while it fires and falls due within the advance', () => {
  const clock = fakeClock();
  const fired: number[] = [];
  const tick = () => {
    fired.push(clock.now());
    clock.after(10, tick);
  };
  clock.after(10, tick);
  const doomed = clock.after(25, () => assert.fail('was cancelled in time'));
  clock.after(20, () => doomed.cancel());
  clock.advance(39);
  assert.deepEqual(fired, [10, 20, 30]);
  assert.equal(clock.now(), 39);
  assert.equal(clock.pending, 1);
});

test('the fake clock refuses the delays that setTimeout would turn into one millisecond', () => {
  for (const ms of [NaN, Infinity, 2 ** 31]) assert.throws(() => fakeClock().after(ms, () => {}), RangeError);
});

test('the fake clock ends a loop of timers without a delay with an error', () => {
  const clock = fakeClock();
  const again = () => void clock.after(0, again);
  again();
  assert.throws(() => clock.advance(1), /timers fired at 0 ms/);
});

test('the fake clock carries the deadlines of the real code', () => {
  const clock = fakeClock();
  const expired: string[] = [];
  const deadlines = new Deadlines(clock);
  deadlines.add(50, () => expired.push(`a@${clock.now()}`));
  deadlines.add(20, () => expired.push(`b@${clock.now()}`)).restart(70);
  clock.advance(100);
  assert.deepEqual(expired, ['a@50', 'b@70']);
  assert.equal(clock.pending, 0);
});

test('run lets what a timer set going finish before the next one fires', async () => {
  const clock = fakeClock();
  const seen: string[] = [];
  clock.after(10, () => void Promise.resolve().then(() => seen.push('reaction'), undefined));
  clock.after(10, () => setImmediate(() => seen.push('turn')));
  clock.after(20, async () => {
    seen.push('20');
    await null;
    clock.after(5, () => seen.push('25'));
  });
  clock.after(30, () => seen.push('30'));
  await clock.run(30);
  assert.deepEqual(seen, ['reaction', 'turn', '20', '25', '30']);
  assert.equal(clock.now(), 30);
});

// Every rule of the standard's stream interpretation that has an effect here, with what it must yield.
const streams: readonly (readonly [string, string, readonly SseItem[]])[] = [
  ['LF, CR and CRLF all end a line', 'data: a\n\ndata: b\r\rdata: c\r\n\r\n', [{ event: 'message', data: 'a' }, { event: 'message', data: 'b' }, { event: 'message', data: 'c' }]],
  ['line ends may be mixed', 'event: e\r\ndata: 1\rdata: 2\n\r\n', [{ event: 'e', data: '1\n2' }]],
  ['one space after the colon is dropped, no more', 'data:x\ndata:  y\ndata\ndata:\n\n', [{ event: 'message', data: 'x\n y\n\n' }]],
  ['a comment comes as it stands', ': keep-alive\n\n:\n::x\ndata: 1\n: in a block\n\n', [{ comment: 'keep-alive' }, { comment: '' }, { comment: ':x' }, { comment: 'in a block' }, { event: 'message', data: '1' }]],
  ['a block without data is no event, one with empty data is', 'event: lost\nid: 1\n\nid: 2\ndata:\n\n', [{ event: 'message', data: '', id: '2' }]],
  ['id and retry belong to their block', 'id: 7-1\nretry: 250\ndata: {}\n\ndata: {}\n\n', [{ event: 'message', data: '{}', id: '7-1', retry: 250 }, { event: 'message', data: '{}' }]],
  ['an id with NUL, a retry with a letter and an unknown field are ignored', 'id: a\0\nretry: 1s\nfoo: bar\n data: no\ndata: 1\n\n', [{ event: 'message', data: '1' }]],
  ['a leading BOM is dropped, a later one is kept', '\uFEFFdata: \uFEFF\n\n', [{ event: 'message', data: '\uFEFF' }]],
  ['characters of several bytes and other separators stay whole', 'event: żółć\ndata: 🦊\u2028\u0085\v\n\n', [{ event: 'żółć', data: '🦊\u2028\u0085\v' }]],
  ['an unfinished block is no event', 'data: 1\n\ndata: 2\n', [{ event: 'message', data: '1' }]],
];

for (const [title, text, expected] of streams) {
  test(`the SSE decoder, however its bytes are cut: ${title}`, () => {
    const bytes = Buffer.from(text);
    for (let i = 0; i <= bytes.length; i++) {
      for (let j = i; j <= bytes.length; j++) {
        const items: SseItem[] = [];
        const decode = sseDecoder((item) => items.push(item));
        for (const part of [bytes.subarray(0, i), bytes.subarray(i, j), bytes.subarray(j)]) decode(part);
        assert.deepEqual(items, expected, `cut at ${i} and ${j}`);
      }
    }
  });
}

test('the SSE decoder gives an event out with its last byte, and refuses invalid UTF-8', () => {
  const items: SseItem[] = [];
  const decode = sseDecoder((item) => items.push(item));
  decode(Buffer.from('data: 1\r\r'));
  assert.equal(items.length, 1);
  assert.throws(() => decode(Buffer.from([0x64, 0xc3, 0x28])), TypeError);
});

test('openSse hands out events and comments in order, and tells how the stream ended', async (t) => {
  const { url } = await serve(t, (req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    res.write(': hello\n\nevent: endpoint\ndata: {"x":1}\n\n');
    if (req.url === '/cut') setImmediate(() => res.destroy());
    else if (req.url === '/ends') res.end('data: last\n\n: bye\n\n');
  });

  const whole = await openSse(`${url}/ends`);
  assert.equal(whole.status, 200);
  assert.deepEqual(await whole.event(), { event: 'endpoint', data: '{"x":1}' });
  assert.deepEqual(await whole.next((item) => 'event' in item && item.data === 'last'), { event: 'message', data: 'last' });
  assert.deepEqual(await whole.next(), { comment: 'bye' });
  assert.equal(await whole.ended, 'end');
  await assert.rejects(whole.next(), (error: Error) => error.message.startsWith('the stream ended (end)') && error.message.includes('event: endpoint'));
  assert.deepEqual(whole.comments, ['hello', 'bye']);
  assert.equal(whole.all.length, 4);
  assert.match(String(whole.raw), /^: hello\n\nevent: endpoint\n/);

  const cut = await openSse(`${url}/cut`);
  const items: SseItem[] = [];
  for await (const item of cut.events) items.push(item);
  assert.equal(items.length, 2);
  assert.equal(await cut.ended, 'cut');

  const closed = await openSse(`${url}/stays`);
  const [first, second] = await Promise.all([closed.next(), closed.next()]);
  assert.deepEqual([first, second], [{ comment: 'hello' }, { event: 'endpoint', data: '{"x":1}' }]);
  const never = assert.rejects(closed.event('never'), /the stream ended \(closed\)/);
  await closed.close();
  await closed.close();
  assert.equal(await closed.ended, 'closed');
  await never;
});

test('openSse on another answer has its status and its bytes, and next says so', async (t) => {
  const { url } = await serve(t, (_req, res) => res.writeHead(503, { 'Content-Type': 'application/json' }).end('{"error":"data: x"}\n\n'));
  const stream = await openSse(url);
  assert.equal(stream.status, 503);
  await assert.rejects(stream.next(), /503, application\/json.*had sent .*error/);
});

test('request sends the path, the Host and the framing it is told, and keeps no connection', async (t) => {
  const { url } = await serve(t, async (req, res) => {
    const body = (await req.toArray()).join('');
    res.writeHead(201, { 'X-Two': ['1', '2'] }).end(JSON.stringify({ method: req.method, path: req.url, body, raw: req.rawHeaders.join('|') }));
  });
  const plain = await request(`${url}/a/%2e%2e/../b?c=d`, { headers: { Host: 'evil.example' } });
  assert.equal(plain.status, 201);
  assert.deepEqual(plain.rawHeaders.filter((_, i, all) => /^x-two$/i.test(all[i - 1] ?? '')), ['1', '2']);
  assert.deepEqual(plain.json(), { method: 'GET', path: '/a/%2e%2e/../b?c=d', body: '', raw: 'Host|evil.example|Connection|close' });
  assert.match((await post(`${url}/x`, { a: 'ż' })).json().raw, /^Content-Type\|application\/json\|Content-Length\|10\|/);
  assert.equal((await post(url, '{')).json().body, '{');
  assert.match((await request(url, { method: 'PUT', headers: { 'Transfer-Encoding': 'chunked' }, body: 'x' })).json().raw, /^Transfer-Encoding\|chunked\|Host/);
});

test('request fails when the answer is cut off, late or aborted', async (t) => {
  const { url } = await serve(t, (req, res) => {
    res.writeHead(200, { 'Content-Length': 10 }).write('part');
    if (req.url === '/cut') setImmediate(() => res.destroy());
  });
  await assert.rejects(request(`${url}/cut`), { code: 'ECONNRESET' });
  await assert.rejects(request(`${url}/late`, { deadlineMs: 1_000 }), /no complete answer to GET .*\/late within 1000 ms, only "part"/);
  await assert.rejects(request(`${url}/late`, { signal: AbortSignal.timeout(50) }));
});

test('raw returns the bytes of the answer up to the close or until there is enough of them, and a reset is an error', async (t) => {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      if (String(bytes).startsWith('reset')) return void socket.resetAndDestroy();
      socket.write(Buffer.concat([Buffer.from([0xff, 0x00]), bytes]));
      if (String(bytes).startsWith('close')) socket.end();
    });
    socket.on('end', () => socket.end('after your end'));
  });
  const port = await listen(t, server);
  assert.deepEqual(await raw(port, 'close'), Buffer.from('\xff\0close', 'latin1'));
  assert.deepEqual(await raw(port, Buffer.from('stay'), (text) => text.endsWith('stay')), Buffer.from('\xff\0stay', 'latin1'));
  await assert.rejects(raw(port, 'reset'), /reset the connection: nothing/);

  const halves = await connect(port);
  halves.write('a');
  await halves.until((text) => text === '\xff\0a');
  halves.end();
  assert.equal(await halves.ended, 'end');
  assert.equal(halves.received.subarray(3).toString(), 'after your end');
  await assert.rejects(halves.until((text) => text.includes('more')), /closed before enough had come/);
  halves.close();

  const aborted = await connect(port);
  aborted.abort();
  assert.equal(await aborted.ended, 'closed');
});

test('a temp directory outlives the hooks that come after it, and then it is gone', async (t) => {
  let dir = '';
  const seen: boolean[] = [];
  await t.test('the user of the directory', (t) => {
    dir = tempDir(t);
    writeFileSync(join(dir, 'file'), '');
    t.after(() => void seen.push(existsSync(dir)));
  });
  assert.deepEqual(seen, [true]);
  // Node 20.12 runs no hook that is added by a hook; there the directory goes when the process does.
  if (!process.version.startsWith('v20.12.')) assert.equal(existsSync(dir), false);
});

test('until asks again after false and after an error, returns the answer, and says what it waited for', async () => {
  let asked = 0;
  const answer = await until(() => {
    asked += 1;
    if (asked === 1) throw new Error('not there');
    return asked > 2 && `after ${asked}`;
  }, 'the third question');
  assert.equal(answer, 'after 3');
  const cause = new Error('still not there');
  await assert.rejects(until(() => Promise.reject(cause), () => 'a miracle', 20), { message: 'not within 20 ms: a miracle', cause });
});

test('alive and group see running processes and no zombies', { skip: process.platform === 'win32' }, async (t) => {
  // A shell that turns into a program which reaps nobody: its child stays a zombie for as long as it lives.
  const parent = spawn('sh', ['-c', 'true & echo $!; exec sleep 60'], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  t.after(() => void parent.kill('SIGKILL'));
  const zombie = Number(await new Promise((resolve) => parent.stdout.once('data', resolve)));
  await until(() => group(parent.pid!).length === 1, 'the child is a zombie or gone');
  assert.deepEqual(group(parent.pid!), [parent.pid]);
  assert.equal(alive(parent.pid!), true);
  if (existsSync('/proc/self/stat')) assert.equal(alive(zombie), false);
  assert.equal(alive(process.pid), true);
  parent.kill('SIGKILL');
  await until(() => !alive(parent.pid!) && group(parent.pid!).length === 0, 'the parent is gone');
});

test('fixtures and the repository root are found from the compiled tests', () => {
  assert.ok(existsSync(join(repo, 'test', 'support', 'support.test.ts')));
  assert.equal(fixture('x.mjs'), join(repo, 'test', 'fixtures', 'x.mjs'));
});

async function serve(t: TestContext, handler: http.RequestListener): Promise<{ url: string }> {
  const server = http.createServer(handler);
  const port = await listen(t, server);
  t.after(() => server.closeAllConnections());
  return { url: `http://127.0.0.1:${port}` };
}

async function listen(t: TestContext, server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => void server.close());
  return (server.address() as AddressInfo).port;
}
