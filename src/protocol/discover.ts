// The vocabulary of discovery (2026-07-28, server/discover): how the proxy asks a child what it is, and what the
// answer says about its era.

import { memberOf } from '../wire/envelope.ts';
import { isObject, type RpcResponse } from '../wire/jsonrpc.ts';
import type { Implementation, Profile } from './legacy.ts';
import { META } from './methods.ts';
import { isModern, MODERN } from './revisions.ts';

const UNSUPPORTED_VERSION = -32022;

/** The params of the proxy's own `server/discover`: it asks for nobody in particular, so it declares nothing. */
export function discoverParams(clientInfo: Implementation): unknown {
  return { _meta: { [META.protocolVersion]: MODERN.version, [META.clientInfo]: clientInfo, [META.clientCapabilities]: {} } };
}

/**
 * Reads the answer to it: a profile, whose `raw` is the DiscoverResult; `none-in-common` when the child is modern and
 * shares no version with the proxy; `unusable` for everything else, of which nothing follows.
 */
export function readDiscoverResult({ result, error, raw, layout }: RpcResponse): Profile | 'none-in-common' | 'unusable' {
  if (isObject(result) && listOf(result['supportedVersions']).includes(MODERN.version)) {
    const capabilities = isObject(result['capabilities']) ? result['capabilities'] : {};
    const at = memberOf(layout.top, 'result');
    return { era: MODERN.era, revision: MODERN.version, capabilities, raw: raw.subarray(at?.at, at?.end) };
  }
  if (!isObject(error) || error['code'] !== UNSUPPORTED_VERSION || !isObject(error['data'])) return 'unusable';
  const supported = listOf(error['data']['supported']);
  return supported.length > 0 && supported.every((version) => typeof version === 'string' && isModern(version)) ? 'none-in-common' : 'unusable';
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
