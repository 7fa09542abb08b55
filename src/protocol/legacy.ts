// The vocabulary of the legacy handshake (2025-11-25, basic/lifecycle): what the proxy declares to a child, what it
// learns from one, and what it tells a client.

import { PREFERRED_LEGACY, legacyRevision, type Era } from './revisions.ts';

/** What the handshake learned about a running child. */
export interface Profile {
  readonly era: Era;
  readonly revision: string;
  readonly capabilities: Readonly<Record<string, unknown>>;
  /** The InitializeResult as the child gave it. */
  readonly result: Readonly<Record<string, unknown>>;
}

/** Roots without `listChanged`: no client re-scopes a process that others share. */
const CAPABILITIES = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} };

export interface Implementation {
  readonly name: string;
  readonly version: string;
}

/** The params of the `initialize` that a shared child gets. */
export function initializeParams(clientInfo: Implementation): unknown {
  return { protocolVersion: PREFERRED_LEGACY, capabilities: CAPABILITIES, clientInfo };
}

/** Reads a child's InitializeResult, or says what is wrong with it. */
export function readInitializeResult(result: unknown): Profile | string {
  if (!isObject(result)) return 'answered initialize with something that is no object';
  const revision = legacyRevision(result['protocolVersion']);
  if (revision === undefined) return 'answered initialize with a protocol version that the proxy does not know';
  const capabilities = isObject(result['capabilities']) ? result['capabilities'] : {};
  return { era: revision.era, revision: revision.version, capabilities, result };
}

/** The InitializeResult for a client: the child's own, at the version that this client asked for, tasks hidden. */
export function initializeResult(profile: Profile, requested: unknown): unknown {
  const { tasks: _tasks, ...capabilities } = profile.capabilities;
  return {
    ...profile.result,
    protocolVersion: legacyRevision(requested)?.version ?? PREFERRED_LEGACY,
    capabilities,
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
