// The opening of a connection to a child: `initialize`, its answer, `notifications/initialized` (2025-11-25,
// basic/lifecycle). Which era a child speaks is decided here and nowhere else.

import { readInitializeResult, type Profile } from '../protocol/legacy.ts';
import { memberOf } from '../wire/envelope.ts';
import { encodeCall, type RpcMessage } from '../wire/jsonrpc.ts';

/** What may be written to one live process. */
export interface Link {
  /** Writes one message. `false`: its queue is full and nothing was written. */
  write(message: Buffer): boolean;
  /** A fresh id, unique for the life of the process. */
  nextId(): number;
  /** Adds to the tail of what the process said outside the protocol. */
  note(text: Buffer): void;
}

export interface HandshakeOptions {
  /** The params of `initialize`. */
  readonly params: unknown;
  /** The child may be spoken to; called after `notifications/initialized` was written. */
  onDone(profile: Profile): void;
  /** What the child did instead, as a predicate. */
  onFailed(why: string): void;
}

/** Starts it. Feed the result what the child says; `true` means that a message was part of the handshake. */
export function startHandshake(link: Link, options: HandshakeOptions): (message: RpcMessage) => boolean {
  const id = link.nextId();
  link.write(encodeCall('initialize', options.params, id));
  return (message) => {
    if (message.kind !== 'response' || message.id !== id) return false;
    if (message.error !== undefined) {
      const { code, message: text } = Object(message.error) as { code?: unknown; message?: unknown };
      // Anything else in their place may be nested without end.
      const [number, words] = [typeof code === 'number' ? code : 'no code', typeof text === 'string' ? text : 'no message'];
      options.onFailed(`refused initialize (${number}: ${words})`);
      return true;
    }
    const at = memberOf(message.layout.top, 'result');
    const profile = readInitializeResult(message.result, message.raw.subarray(at?.at, at?.end));
    if (typeof profile === 'string') {
      options.onFailed(profile);
      return true;
    }
    link.write(encodeCall('notifications/initialized', undefined));
    options.onDone(profile);
    return true;
  };
}
