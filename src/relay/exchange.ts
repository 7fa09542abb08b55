// One client request and its one answer: the neutral object at which all transports and all children meet. A
// transport makes it, the relay settles it, and neither knows the other.

import type { ProxyError } from '../base/errors.ts';
import type { ParamHeader } from '../protocol/mirror.ts';
import type { Era } from '../protocol/revisions.ts';
import type { RpcRequest } from '../wire/jsonrpc.ts';

/** A request of a child on its way to one client. */
export interface Question {
  readonly request: RpcRequest;
  /** The call that cannot go on without the answer, where it is known. */
  readonly about?: Exchange;
  /** The client's answer, a whole JSON-RPC response under whatever id, or why there will be none. At most once. */
  answer(answer: Buffer | ProxyError): void;
}

/** The holder that all clients without a session share. */
export const SIMPLE: object = {};

/** Who is behind a request: a session, or for clients without one the single request. Compared by identity. */
export interface Caller {
  /** How the client speaks. */
  readonly era: Era;
  /** Whose log level and resource subscriptions it shares: its own, or those of all simple clients. */
  readonly holder: object;
  /** What the client said of itself in `initialize`; a modern child hears it with every request. */
  readonly declared: Declared;
  /** Whether the client declared that it answers this request of a server. */
  canAsk(request: RpcRequest): boolean;
  /** Brings a question to the client. Only where `canAsk` says so. */
  ask(question: Question): void;
  /** The client cannot be asked this, and so cannot go on. Only for callers that are one call. */
  unable?(request: RpcRequest): void;
  /** The child does not wait for the answer any more. */
  withdraw(question: Question, reason: string): void;
}

export interface Declared {
  readonly capabilities: Readonly<Record<string, unknown>>;
  readonly clientInfo?: unknown;
}

/** What only a request of a modern client says. */
export interface ModernRequest {
  /** The severity from which on it wants log lines; without it, none. */
  readonly logLevel: number | undefined;
  /** Whether its headers repeat what its arguments say. */
  checkParams(declared: readonly ParamHeader[], request: RpcRequest): ProxyError | undefined;
}

/** What a client hears on its request: a JSON-RPC response, a big one perhaps in parts, or why there is none. */
export type Answer = Buffer | readonly Buffer[] | ProxyError;

/** It does not hold the request itself: that may be ten megabytes, and the call may last an hour. */
export interface Exchange {
  /** The client's id as it was written. */
  readonly idText: string;
  readonly caller: Caller;
  /** Whether a message can reach the client before the answer does. */
  readonly streams: boolean;
  readonly modern?: ModernRequest | undefined;
  /** The client's progress token as written now, for a call whose HTTP request changes. Other tokens are kept by the relay. */
  progressToken?(): string | undefined;
  /** A message that belongs to this request: progress, a log line. */
  notify(message: Buffer): void;
  /** The answer: a whole JSON-RPC response under the client's own id, or why there is none. Exactly once. `status`: its HTTP status. */
  settle(answer: Answer, status?: number): void;
}

/** The caller of a request without a session: it can never be asked anything. */
export function lonelyCaller(): Caller {
  return { ...LONELY };
}

const LONELY: Caller = { era: 'legacy', holder: SIMPLE, declared: { capabilities: {} }, canAsk: () => false, ask() {}, withdraw() {} };
