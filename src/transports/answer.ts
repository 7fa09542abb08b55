// Shared by the transports: what a client takes, and how several answers become one.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { ProxyError } from '../base/errors.ts';
import { parseAccept, type Accepts } from '../http/accept.ts';
import { empty, fault, json } from '../http/reply.ts';
import { malformedError, strayResponse } from '../protocol/classify.ts';
import type { Answer } from '../relay/exchange.ts';
import { oneLine } from '../wire/envelope.ts';
import { encodeError, joined, type Batch, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import { encodeEvent, SseStream, type SseOptions } from '../wire/sse.ts';

/** An answer as the bytes of a JSON-RPC response. */
export function encoded(answer: Answer, idText: string): Buffer {
  if (answer instanceof ProxyError) return encodeError(idText, answer.toRpc());
  return Buffer.isBuffer(answer) ? answer : joined(answer);
}

/** `MCP-Protocol-Version` as sent. */
export function versionOf(req: IncomingMessage): string | undefined {
  return req.headers['mcp-protocol-version']?.toString().trim();
}

/** Answers by status and JSON, if the client takes it that way. `false`: a stream has to say it. */
export function answered(res: ServerResponse, accepts: Accepts, answer: Answer, idText: string, status = 200): boolean {
  const isFault = answer instanceof ProxyError;
  if (!accepts.json && (isFault ? answer.status : status) === 200) return false;
  if (isFault) fault(res, answer, idText);
  else json(res, status, answer);
  return true;
}

/** What the client takes. `otherwise`: of the error, where a revision has its own code for it. @throws ProxyError `not_acceptable` */
export function acceptable(req: IncomingMessage, otherwise: { readonly code?: number } = {}): Accepts {
  const accepts = parseAccept(req.headers.accept);
  if (accepts.json || accepts.sse) return accepts;
  throw new ProxyError('not_acceptable', 'Not Acceptable: this path answers application/json or text/event-stream', otherwise);
}

/** Answers with a stream that has these messages and no others. */
export function streamed(res: ServerResponse, sse: SseOptions, messages: readonly Buffer[]): void {
  const stream = new SseStream(res, sse);
  stream.write(Buffer.concat(messages.map((message) => encodeEvent('message', oneLine(message)))));
  stream.end();
}

const [OPENING, COMMA, CLOSING] = [Buffer.from('['), Buffer.from(','), Buffer.from(']')];

/**
 * Answers a batch: an array in the order of its requests, or one event each for a client that takes streams only; with
 * status `accepted` if nothing in it needs an answer. `notify` takes its notifications; yields the requests to send on their
 * way, and what settles each. A client that can take no answer is told so before anything is sent.
 * @throws ProxyError `not_acceptable`
 */
export function* answerBatch(
  messages: Batch['messages'],
  accepted: number,
  notify: (notification: RpcNotification) => void,
  req: IncomingMessage,
  res: ServerResponse,
  sse: SseOptions,
): Generator<[request: RpcRequest, settle: (answer: Answer) => void]> {
  const answering = messages.filter(({ kind }) => kind !== 'notification');
  const accepts = answering.length === 0 ? undefined : acceptable(req);
  for (const message of messages) if (message.kind === 'notification') notify(message);
  if (accepts === undefined) return empty(res, accepted);
  const answers: Buffer[] = [];
  let left = answering.length;
  for (const [k, message] of answering.entries()) {
    const idText = message.kind === 'request' ? message.idText : 'null';
    const settle = (answer: Answer): void => {
      answers[k] = encoded(answer, idText);
      if (--left > 0) return;
      // In parts: together they may be longer than a string can be.
      if (accepts.json) json(res, 200, [OPENING, ...answers.flatMap((each, k) => (k === 0 ? each : [COMMA, each])), CLOSING]);
      else streamed(res, sse, answers);
    };
    if (message.kind === 'request') yield [message, settle];
    else settle(message.kind === 'malformed' ? malformedError(message) : strayResponse());
  }
}
