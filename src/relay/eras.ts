// Where the two eras of MCP meet: what a message of a client becomes for the child, and what the child's answer becomes
// for the client. Clients and children of one era understand each other, but for what no two of them share.

import { envelopeEdits, envelopeOf, legacyResult, modernCapabilities } from '../protocol/bridge.ts';
import { inputRequired, readInputRequired } from '../protocol/input.ts';
import { legacyEdits, withoutExecution, type Implementation, type Profile } from '../protocol/legacy.ts';
import { canAnswer, missingCapability } from '../protocol/methods.ts';
import { modernFault, serverInfoOf, stampResult, stamps } from '../protocol/modern.ts';
import { MAX_MEMBERS } from '../protocol/text.ts';
import { memberOf, members, splice, type Edit, type ResultLayout } from '../wire/envelope.ts';
import { addressed, type RpcNotification, type RpcRequest } from '../wire/jsonrpc.ts';
import { SIMPLE, type Caller, type Declared, type Exchange } from './exchange.ts';
import type { Outcome } from './relay.ts';

const URL_MODE = { mode: 'url' };

/** What has to change in a client's message for this child. `isOwn`: the child is this client's alone; `logLevel`: what the client has set. */
export function outgoing(message: RpcRequest | RpcNotification, caller: Caller, child: Profile, isOwn: boolean, house: Implementation, logLevel: string | undefined): Edit[] {
  if (child.era === 'legacy') return legacyEdits(message, isOwn);
  if (caller.era === 'modern' || message.kind === 'notification') return [];
  return envelopeEdits(message, envelopeFor(caller.declared, house, logLevel));
}

/** The last envelope of each client: it says the same with every request. */
const envelopes = new WeakMap<Declared, { readonly house: Implementation; readonly logLevel: string | undefined; readonly text: string }>();

function envelopeFor(declared: Declared, house: Implementation, logLevel: string | undefined): string {
  const last = envelopes.get(declared);
  if (last !== undefined && last.house === house && last.logLevel === logLevel) return last.text;
  const { capabilities, clientInfo = house } = declared;
  let text: string;
  try {
    text = envelopeOf({ clientInfo, clientCapabilities: modernCapabilities(capabilities), logLevel });
  } catch {
    // Nested too deeply to be written: then it has declared nothing.
    text = envelopeOf({ clientInfo: house, clientCapabilities: {}, logLevel });
  }
  envelopes.set(declared, { house, logLevel, text });
  return text;
}

/** Whether the answer to this goes on as it came but for its id: `incoming` need not read it. */
export function goesOn(method: string, { caller }: Exchange, child: Profile, isOwn: boolean): boolean {
  return child.era === 'legacy' && caller.era === 'legacy' && (isOwn || method !== 'tools/list');
}

/**
 * A child's answer in the words of the client, and its HTTP status (R-104 to R-107, C.2, C.3). `id`: what makes it the
 * client's; `isOwn`: the child is this client's alone; `result`: its layout, where it is known.
 */
export function incoming(raw: Buffer, id: Edit, method: string, { caller }: Exchange, child: Profile, isOwn: boolean, result?: ResultLayout): readonly [Outcome, number?] {
  const hides = method === 'tools/list' && child.era === 'legacy' && !isOwn;
  if (caller.era === 'modern' && result !== undefined && !hides) return [splice(raw, [id, ...stamps(raw, result, method, serverInfoOf(child))])];
  const answer = addressed(raw, id);
  const shown = hides ? withoutExecution(answer) : answer;
  if (caller.era === 'legacy') {
    // Who cannot be asked gets to see what is asked for.
    const passes = child.era === 'legacy' || (caller.holder === SIMPLE && readInputRequired(answer) !== undefined);
    return [passes ? shown : legacyResult(shown, method)];
  }
  const top = members(shown, MAX_MEMBERS);
  const fault = modernFault(shown, child.era, method, top);
  if (fault === undefined) return [stampResult(shown, method, serverInfoOf(child), top)];
  if (fault.is === 'error') return [fault.answer, fault.status];
  if (!canAnswer(caller.declared.capabilities, 'elicitation/create', URL_MODE)) return [missingCapability('elicitation/create', URL_MODE)];
  return [stampResult(withResult(shown, inputRequired(fault.requests, undefined)), method, serverInfoOf(child))];
}

/** An answer that has this result instead of its error. */
function withResult(answer: Buffer, result: Buffer): Buffer {
  const error = memberOf(members(answer, MAX_MEMBERS), 'error');
  return error === undefined ? answer : splice(answer, [{ at: error.nameAt, end: error.end, text: `"result":${result.toString('latin1')}` }]);
}
