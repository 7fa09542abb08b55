// The vocabulary of the legacy handshake (2025-11-25, basic/lifecycle): what the proxy declares to a child, what it
// learns from one, and what it tells a client.

import { removal, type Edit, type Span } from '../wire/envelope.ts';
import { isObject, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
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

/** The keys by which a modern client speaks; a legacy child must not see them. */
const MODERN_META = /^io\.modelcontextprotocol\/(protocolVersion|clientInfo|clientCapabilities|logLevel)$/;
const MODERN_PARAMS = /^(inputResponses|requestState)$/;

/** The edits that make a client's message one for a legacy child; an emptied `_meta` goes with its keys. */
export function legacyEdits({ layout }: RpcRequest | RpcNotification): Edit[] {
  const modernMeta = layout.meta.some(({ name }) => MODERN_META.test(name));
  if (!modernMeta && !layout.params.some(({ name }) => MODERN_PARAMS.test(name))) return [];
  const params = layout.top.find(({ name }) => name === 'params') as Span;
  const meta = layout.params.find(({ name }) => name === '_meta');
  const inMeta = meta === undefined ? [] : removal(meta, layout.meta, (name) => MODERN_META.test(name));
  const drop = (name: string): boolean => MODERN_PARAMS.test(name) || (name === '_meta' && inMeta === undefined);
  return [...(inMeta ?? []), ...(removal(params, layout.params, drop) ?? [{ at: params.at, end: params.end, text: '{}' }])];
}
