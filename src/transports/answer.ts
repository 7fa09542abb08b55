// Shared by the transports: what a client takes, and how several answers become one.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { ProxyError } from '../base/errors.ts';
import { parseAccept, type Accepts } from '../http/accept.ts';
import { fault, json } from '../http/reply.ts';
import { malformedError, strayResponse } from '../protocol/classify.ts';
import { oneLine } from '../wire/envelope.ts';
import { encodeError, type Batch, type RpcRequest } from '../wire/jsonrpc.ts';
import { encodeEvent, SseStream, type SseOptions } from '../wire/sse.ts';

/** An answer as the bytes of a JSON-RPC response. */
export function encoded(answer: Buffer | ProxyError, idText: string): Buffer {
  return answer instanceof ProxyError ? encodeError(idText, answer.toRpc()) : answer;
}

/** `MCP-Protocol-Version` as sent. */
export function versionOf(req: IncomingMessage): string | undefined {
  return req.headers['mcp-protocol-version']?.toString().trim();
}

/** Answers by status and JSON, if the client takes it that way. `false`: a stream has to say it. */
export function answered(res: ServerResponse, accepts: Accepts, answer: Buffer | ProxyError, idText: string, status = 200): boolean {
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

/**
 * Answers a batch: an array in the order of its requests, or one event each for a client that takes streams only. The
 * result says which requests to send on their way, and what to do with their answers.
 */
export function answerBatch(
  { messages }: Batch,
  res: ServerResponse,
  accepts: Accepts,
  sse: SseOptions,
): [request: RpcRequest, settle: (answer: Buffer | ProxyError) => void][] {
  const answering = messages.filter(({ kind }) => kind !== 'notification');
  const answers = new Map<number, Buffer>();
  const answer = (k: number, text: Buffer): void => {
    answers.set(k, text);
    if (answers.size < answering.length) return;
    const inOrder = answering.map((_, k) => answers.get(k) as Buffer);
    if (accepts.json) return json(res, 200, Buffer.from(`[${inOrder.map((each) => each.toString('latin1')).join()}]`, 'latin1'));
    const stream = new SseStream(res, sse);
    stream.write(Buffer.concat(inOrder.map((each) => encodeEvent('message', oneLine(each)))));
    stream.end();
  };
  const requests: [RpcRequest, (answer: Buffer | ProxyError) => void][] = [];
  for (const [k, message] of answering.entries()) {
    if (message.kind === 'request') {
      const { idText } = message;
      requests.push([message, (got) => answer(k, encoded(got, idText))]);
    } else {
      answer(k, encoded(message.kind === 'malformed' ? malformedError(message) : strayResponse(), 'null'));
    }
  }
  return requests;
}
