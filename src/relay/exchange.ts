// One client request and its one answer: the neutral object at which all transports and all children meet. A
// transport makes it, the relay settles it, and neither knows the other.

import type { ProxyError } from '../base/errors.ts';
import type { Era } from '../protocol/revisions.ts';

/** Who is behind a request: a session, or for clients without one the single request. Compared by identity. */
export interface Caller {
  /** How the client speaks. */
  readonly era: Era;
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
