import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProxyError, sessionClosed } from '../../src/base/errors.ts';
import { LIMITS } from '../../src/config/limits.ts';
import type { Question } from '../../src/relay/exchange.ts';
import type { McpServer } from '../../src/relay/server.ts';
import { Client, type Carrier } from '../../src/transports/client.ts';
import { readMessage, withId, type RpcNotification, type RpcRequest, type RpcResponse } from '../../src/wire/jsonrpc.ts';
import { testWorld } from '../child/world.ts';
import { fakeClock } from '../support/clock.ts';

const WAIT = LIMITS.askWaitMs;

function requestOf(text: string | object): RpcRequest {
  const message = readMessage(Buffer.from(typeof text === 'string' ? text : JSON.stringify(text)), LIMITS);
  assert.equal(message.kind, 'request');
  return message as RpcRequest;
}

function responseOf(text: string | object): RpcResponse {
  const message = readMessage(Buffer.from(typeof text === 'string' ? text : JSON.stringify(text)), LIMITS);
  assert.equal(message.kind, 'response');
  return message as RpcResponse;
}

/** A question of a server, which keeps its answers: the reason of a fault, or the text with the server's own id. */
class Asked implements Question {
  readonly request: RpcRequest;
  readonly answers: string[] = [];

  constructor(text: string | object = { jsonrpc: '2.0', id: 'own', method: 'roots/list' }) {
    this.request = requestOf(text);
  }

  answer(answer: Parameters<Question['answer']>[0]): void {
    this.answers.push(answer instanceof ProxyError ? answer.reason : withId(answer, this.request.idText).toString());
  }
}

/** A client with a session, and what the server and the client get. */
class Peer {
  readonly clock = fakeClock();
  readonly sent: string[] = [];
  /** Progress that the server was told of. */
  readonly progress: RpcNotification[] = [];
  carrier: Carrier | undefined = (message) => this.sent.push(message.toString());
  readonly session: Client;

  constructor() {
    const server = { join() {}, leave() {}, answerProgress: (message: RpcNotification) => this.progress.push(message) };
    this.session = new Client(server as unknown as McpServer, testWorld(this.clock), {
      carrier: () => this.carrier,
      hear() {},
      open: () => true,
      onServerEnd() {},
    });
  }

  get messages(): any[] {
    return this.sent.map((text) => JSON.parse(text));
  }

  ask(text?: string | object): Asked {
    const asked = new Asked(text);
    this.session.ask(asked);
    return asked;
  }

  answers(text: string | object): void {
    this.session.take(responseOf(text));
  }

  /** Whether progress under this token reaches the server. */
  knows(token: string): boolean {
    const text = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":1}}`;
    this.session.take(readMessage(Buffer.from(text), LIMITS) as RpcNotification);
    return this.progress.splice(0).length === 1;
  }
}

// ---- who can be asked what

const SAMPLING = { method: 'sampling/createMessage', params: {} };
const WITH_TOOLS = { method: 'sampling/createMessage', params: { tools: [] } };
const FORM = { method: 'elicitation/create', params: { mode: 'form' } };
const OLD_FORM = { method: 'elicitation/create', params: { message: 'who?' } };
const URL_ = { method: 'elicitation/create', params: { mode: 'url' } };
const ROOTS = { method: 'roots/list' };
const REQUESTS = { SAMPLING, WITH_TOOLS, FORM, OLD_FORM, URL_, ROOTS };

const CAPABILITIES: [declared: unknown, can: readonly (keyof typeof REQUESTS)[]][] = [
  [{}, []],
  [{ sampling: {} }, ['SAMPLING']],
  [{ sampling: { context: {} } }, ['SAMPLING']],
  [{ sampling: { tools: {} } }, ['SAMPLING', 'WITH_TOOLS']],
  [{ elicitation: {} }, ['FORM', 'OLD_FORM']],
  [{ elicitation: { form: {} } }, ['FORM', 'OLD_FORM']],
  [{ elicitation: { url: {} } }, ['URL_']],
  [{ elicitation: { form: {}, url: {} } }, ['FORM', 'OLD_FORM', 'URL_']],
  [{ roots: {} }, ['ROOTS']],
  [{ roots: { listChanged: true } }, ['ROOTS']],
  [{ sampling: { tools: {} }, elicitation: { form: {}, url: {} }, roots: {} }, ['SAMPLING', 'WITH_TOOLS', 'FORM', 'OLD_FORM', 'URL_', 'ROOTS']],
  [{ experimental: { sampling: {} }, tools: {}, Roots: {} }, []],
  ...[null, true, 1, 'yes', []].map((what): [unknown, []] => [{ sampling: what, elicitation: what, roots: what }, []]),
];

for (const [declared, can] of CAPABILITIES) {
  test(`a client that declared ${JSON.stringify(declared)} can be asked ${can.join(', ') || 'nothing'}`, () => {
    const { session } = new Peer();
    session.declared = { capabilities: declared as Record<string, unknown> };
    for (const [name, request] of Object.entries(REQUESTS)) {
      const expected = can.includes(name as keyof typeof REQUESTS);
      assert.equal(session.canAsk(requestOf({ jsonrpc: '2.0', id: 1, ...request })), expected, name);
    }
  });
}

test('before it declares anything a client can be asked nothing, and never what no client is asked', () => {
  const { session } = new Peer();
  for (const request of Object.values(REQUESTS)) assert.equal(session.canAsk(requestOf({ jsonrpc: '2.0', id: 1, ...request })), false);
  session.declared = { capabilities: { sampling: {}, elicitation: {}, roots: {}, tools: {}, ping: {} } };
  for (const method of ['tools/list', 'ping', 'initialize', 'roots', 'roots/List', '', 'toString']) {
    assert.equal(session.canAsk(requestOf({ jsonrpc: '2.0', id: 1, method })), false, method);
  }
});

// ---- ids and bytes

test('a question goes out under a fresh id of the client, whatever the server called it, and otherwise to the byte', () => {
  const client = new Peer();
  for (const id of ['1', '"1"', '-7', '1.0', '9007199254740993', '"ż"']) {
    client.ask(`{ "params":{"n":9007199254740993,"f":1e400,"2":2,"1":1},\t"id": ${id}, "method":"sampling/createMessage","jsonrpc":"2.0"}`);
  }
  assert.deepEqual(
    client.sent,
    [1, 2, 3, 4, 5, 6].map((id) => `{ "params":{"n":9007199254740993,"f":1e400,"2":2,"1":1},\t"id": ${id}, "method":"sampling/createMessage","jsonrpc":"2.0"}`),
  );
});

test('an answer reaches its own question, to the byte, under the id of the server', () => {
  const client = new Peer();
  const [a, b] = [client.ask({ jsonrpc: '2.0', id: 'a', method: 'roots/list' }), client.ask({ jsonrpc: '2.0', id: 5, method: 'roots/list' })];
  client.answers('{"result":{"n":9007199254740993,"f":1e400},"jsonrpc":"2.0", "id":2 }');
  assert.deepEqual([a!.answers, b!.answers], [[], ['{"result":{"n":9007199254740993,"f":1e400},"jsonrpc":"2.0", "id":5 }']]);
  client.answers('{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}');
  assert.deepEqual(a!.answers, ['{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":"no"}}']);
});

test('an answer that nobody waits for is ignored: unknown, of another type, without an id, or a second one', () => {
  const client = new Peer();
  const asked = client.ask();
  for (const id of ['2', '0', '-1', '"1"', '"own"', 'null']) client.answers(`{"jsonrpc":"2.0","id":${id},"error":{"code":1,"message":"m"}}`);
  assert.deepEqual(asked.answers, []);
  client.answers('{"jsonrpc":"2.0","id":1,"result":{"first":1}}');
  client.answers('{"jsonrpc":"2.0","id":1,"result":{"second":2}}');
  assert.deepEqual(asked.answers, ['{"jsonrpc":"2.0","id":"own","result":{"first":1}}']);
});

test('an id is never used again', () => {
  const client = new Peer();
  for (let id = 1; id <= 5; id++) {
    client.ask();
    client.answers({ jsonrpc: '2.0', id, result: {} });
  }
  assert.deepEqual(client.messages.map(({ id }) => id), [1, 2, 3, 4, 5]);
});

// ---- waiting for a stream

test('a question without a stream waits for one, just so long, and then the server is told that there is none', () => {
  const client = new Peer();
  client.carrier = undefined;
  const asked = client.ask();
  client.clock.advance(WAIT - 1);
  assert.deepEqual(asked.answers, []);
  client.clock.advance(1);
  assert.deepEqual([asked.answers, client.sent], [['no_client'], []]);
  client.carrier = (message) => client.sent.push(message.toString());
  client.session.retry();
  assert.deepEqual(client.sent, []);
});

test('when a stream opens, what waited goes out in order, once, and then may take its time', () => {
  const client = new Peer();
  const { carrier } = client;
  client.carrier = undefined;
  const [a, b] = [client.ask(), client.ask()];
  client.session.retry(); // still none
  client.clock.advance(WAIT - 1);
  client.carrier = carrier;
  client.session.retry();
  client.session.retry();
  client.ask();
  assert.deepEqual(client.messages.map(({ id }) => id), [1, 2, 3]);
  client.clock.advance(100 * WAIT);
  assert.deepEqual([a!.answers, b!.answers], [[], []]);
  client.answers({ jsonrpc: '2.0', id: 2, result: {} });
  assert.deepEqual([a!.answers.length, b!.answers.length], [0, 1]);
});

test('a question that did not reach the client yet cannot be answered by a guess', () => {
  const client = new Peer();
  client.carrier = undefined;
  const asked = client.ask();
  client.answers({ jsonrpc: '2.0', id: 1, result: {} });
  assert.deepEqual(asked.answers, []);
  client.clock.advance(WAIT);
  assert.deepEqual(asked.answers, ['no_client']);
});

// ---- withdrawal and the end

test('a question that is withdrawn is cancelled at the client, on the stream that carried it, and not answered', () => {
  const client = new Peer();
  const other: any[] = [];
  const [a, b] = [client.ask(), client.ask()];
  client.carrier = (message) => other.push(message);
  client.session.withdraw(b!, 'thought better of it');
  client.session.withdraw(b!, 'again');
  assert.deepEqual(client.messages.slice(2), [{ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 2, reason: 'thought better of it' } }]);
  assert.deepEqual(other, []);
  client.answers({ jsonrpc: '2.0', id: 2, result: {} });
  client.answers({ jsonrpc: '2.0', id: 1, result: {} });
  assert.deepEqual([a!.answers.length, b!.answers.length], [1, 0]);
});

test('a question that waits for a stream is withdrawn without a word, and never asked', () => {
  const client = new Peer();
  const { carrier } = client;
  client.carrier = undefined;
  const asked = client.ask();
  client.session.withdraw(asked, 'over');
  client.carrier = carrier;
  client.session.retry();
  client.clock.advance(2 * WAIT);
  assert.deepEqual([asked.answers, client.sent], [[], []]);
});

test('withdrawing what was never asked, or is answered, says nothing', () => {
  const client = new Peer();
  const asked = client.ask();
  client.session.withdraw(new Asked(), 'unknown');
  client.answers({ jsonrpc: '2.0', id: 1, result: {} });
  client.session.withdraw(asked, 'late');
  assert.equal(client.sent.length, 1);
});

test('when the client goes, every question is answered: it is gone; once, and nothing comes later', () => {
  const client = new Peer();
  const sent = client.ask();
  client.carrier = undefined;
  const waiting = client.ask();
  const done = new Asked();
  client.session.close(sessionClosed());
  client.session.close(sessionClosed());
  client.answers({ jsonrpc: '2.0', id: 1, result: {} });
  client.clock.advance(2 * WAIT);
  assert.deepEqual([sent.answers, waiting.answers, done.answers], [['no_client'], ['no_client'], []]);
});

// ---- progress

test('a progress token is known, as it was written, while its question is open', () => {
  const client = new Peer();
  client.ask('{"jsonrpc":"2.0","id":1,"method":"roots/list","params":{"_meta":{"progressToken":1}}}');
  client.ask('{"jsonrpc":"2.0","id":2,"method":"roots/list","params":{"_meta":{"progressToken":"ż"}}}');
  client.ask('{"jsonrpc":"2.0","id":3,"method":"roots/list","params":{"_meta":{}}}');
  client.ask();
  const known = (): boolean[] => ['1', '"1"', '"ż"', '"z"', 'null', '{}'].map((token) => client.knows(token));
  assert.deepEqual(known(), [true, false, true, false, false, false]);
  client.answers({ jsonrpc: '2.0', id: 1, result: {} });
  assert.deepEqual(known(), [false, false, true, false, false, false]);
  client.session.close(sessionClosed());
  assert.deepEqual(known(), [false, false, false, false, false, false]);
});
