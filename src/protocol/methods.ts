// What the proxy does with each MCP method. A method that is not in a table is forwarded: the vocabulary belongs to
// clients and servers, the proxy answers only what it must.

/** Requests from a client that the proxy answers itself, or handles before the child sees them. */
export type Handling = 'forward' | 'initialize' | 'ping' | 'set-level' | 'subscribe' | 'unsubscribe' | 'refuse';

const REQUESTS = new Map<string, Handling>([
  ['initialize', 'initialize'],
  ['ping', 'ping'],
  ['logging/setLevel', 'set-level'],
  ['resources/subscribe', 'subscribe'],
  ['resources/unsubscribe', 'unsubscribe'],
]);

export function handlingOf(method: string): Handling {
  // Tasks belong to one client, and a shared process would show them to all.
  return REQUESTS.get(method) ?? (method.startsWith('tasks/') ? 'refuse' : 'forward');
}

/** Notifications from a client that end at the proxy: they belong to one client, the process is everybody's. */
const CONSUMED = new Set([
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
  'notifications/tasks/status',
]);

const REQUEST_ONLY = new Set([
  'tools/list',
  'tools/call',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'prompts/list',
  'prompts/get',
  'completion/complete',
]);

/** What one client may say to a process of its own. */
const OWN = new Set(['notifications/roots/list_changed', 'notifications/tasks/status']);

/** Whether a client's notification goes on to the child; a request that lacks its id never does. `owned`: the child is this client's. */
export function forwardsNotification(method: string, owned: boolean): boolean {
  if (owned && OWN.has(method)) return true;
  return !CONSUMED.has(method) && !REQUEST_ONLY.has(method) && handlingOf(method) === 'forward';
}

/** Requests that a legacy server may send to a client. */
export const CLIENT_REQUESTS: ReadonlySet<string> = new Set(['sampling/createMessage', 'elicitation/create', 'roots/list']);

/** The list_changed notification of each server capability that has one. */
export const LIST_CHANGED: Readonly<Record<string, string>> = {
  tools: 'notifications/tools/list_changed',
  prompts: 'notifications/prompts/list_changed',
  resources: 'notifications/resources/list_changed',
};

/** Severities of RFC 5424 as MCP names them, least severe first. */
const LOG_LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

/** A severity as a number that compares, or `undefined` for what is none. */
export function severityOf(level: unknown): number | undefined {
  const at = typeof level === 'string' ? LOG_LEVELS.indexOf(level) : -1;
  return at === -1 ? undefined : at;
}
