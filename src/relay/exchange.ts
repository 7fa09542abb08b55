// One client request and its one answer: the neutral object at which all transports and all children meet. A
// transport makes it, the relay settles it, and neither knows the other.

import type { ProxyError } from '../base/errors.ts';
import type { Era } from '../protocol/revisions.ts';
import type { RpcRequest } from '../wire/jsonrpc.ts';

/** A request of a child on its way to one client. */
export interface Question {
  readonly request: RpcRequest;
  /** The client's answer, a whole JSON-RPC response with the id that `idAt` names, or why there will be none. At most once. */
  answer(answer: { readonly raw: Buffer; readonly idAt: { readonly at: number; readonly end: number } } | ProxyError): void;
}

/** The holder that all clients without a session share. */
export const SIMPLE: object = {};

/** Who is behind a request: a session, or for clients without one the single request. Compared by identity. */
export interface Caller {
  /** How the client speaks. */
  readonly era: Era;
  /** Whose log level and resource subscriptions it shares: its own, or those of all simple clients. */
  readonly holder: object;
  /** Whether the client declared that it answers this request of a server. */
  canAsk(request: RpcRequest): boolean;
  /** Brings a question to the client. Only where `canAsk` says so. */
  ask(question: Question): void;
  /** The child does not wait for the answer any more. */
  withdraw(question: Question, reason: string): void;
}

/** It does not hold the request itself: that may be ten megabytes, and the call may last an hour. */
export interface Exchange {
  /** The client's id as it was written. */
  readonly idText: string;
  readonly caller: Caller;
  /** Whether a message can reach the client before the answer does. */
  readonly streams: boolean;
  /** A message that belongs to this request: progress, a log line. */
  notify(message: Buffer): void;
  /** The answer: a whole JSON-RPC response under the client's own id, or why there is none. Exactly once. */
  settle(answer: Buffer | ProxyError): void;
}

/** The caller of a request without a session: it can never be asked anything. */
export function lonelyCaller(): Caller {
  return { era: 'legacy', holder: SIMPLE, canAsk: () => false, ask() {}, withdraw() {} };
}
