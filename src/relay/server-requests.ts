// Requests of a child to "the client" (sampling, elicitation, roots), on a process that many clients share: whose
// call is it about? Never broadcast, never guessed (R-58 to R-59d). A simple client, the only kind there is yet,
// can never be asked, so what is found here is which refusal the child gets.

import { ProxyError } from '../base/errors.ts';
import { CLIENT_REQUESTS } from '../protocol/methods.ts';
import type { Relay } from './relay.ts';

/** What a child is told about its request. */
export function refuseChildRequest(method: string, { callers, blurred }: ReturnType<Relay['candidates']>): ProxyError {
  if (!CLIENT_REQUESTS.has(method)) return new ProxyError('method_not_found', `Method not found: ${method}`);
  if (callers.size === 0 && method === 'roots/list') return new ProxyError('no_client', 'No client to ask');
  if (callers.size === 0) return new ProxyError('ambiguous_client', `Cannot attribute ${method}: no call of a client is in flight`);
  if (callers.size > 1 || blurred) {
    return new ProxyError('ambiguous_client', `Cannot attribute ${method}: ${callers.size} clients share this process`);
  }
  const [exchange] = callers.values();
  return exchange === 'gone'
    ? new ProxyError('no_client', 'The caller is gone')
    : new ProxyError('client_capability', `Client does not support ${method}`);
}
