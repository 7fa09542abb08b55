// What the proxy does with each MCP method. A method that is not in a table is forwarded: the vocabulary belongs to
// clients and servers, the proxy answers only what it must. What of that vocabulary it has to name has its home here.

import { ProxyError } from '../base/errors.ts';
import { isObject } from '../wire/jsonrpc.ts';

/** The keys of `_meta` that belong to the protocol (2026-07-28, basic "_meta"). */
export const META = {
  protocolVersion: 'io.modelcontextprotocol/protocolVersion',
  clientInfo: 'io.modelcontextprotocol/clientInfo',
  clientCapabilities: 'io.modelcontextprotocol/clientCapabilities',
  logLevel: 'io.modelcontextprotocol/logLevel',
  serverInfo: 'io.modelcontextprotocol/serverInfo',
  subscriptionId: 'io.modelcontextprotocol/subscriptionId',
} as const;

/** Those with which a modern client says who it is. */
export const CLIENT_META: ReadonlySet<string> = new Set([META.protocolVersion, META.clientInfo, META.clientCapabilities, META.logLevel]);

/** What becomes of a client's request: it is forwarded, refused, or handled before the child sees it. */
export type Handling = 'forward' | 'initialize' | 'ping' | 'set-level' | 'subscribe' | 'unsubscribe' | 'refuse';

/** The requests of the legacy revisions. */
const REQUESTS = new Map<string, Handling>([
  ['initialize', 'initialize'],
  ['ping', 'ping'],
  ['logging/setLevel', 'set-level'],
  ['resources/subscribe', 'subscribe'],
  ['resources/unsubscribe', 'unsubscribe'],
  ['tools/list', 'forward'],
  ['tools/call', 'forward'],
  ['resources/list', 'forward'],
  ['resources/templates/list', 'forward'],
  ['resources/read', 'forward'],
  ['prompts/list', 'forward'],
  ['prompts/get', 'forward'],
  ['completion/complete', 'forward'],
]);

export function handlingOf(method: string): Handling {
  return REQUESTS.get(method) ?? (isTasks(method) || isNotification(method) ? 'refuse' : 'forward');
}

/** Tasks belong to one client, and a shared process would show them to all. */
const isTasks = (method: string): boolean => method.startsWith('tasks/');

/**
 * Whether this is the name of a notification. With an id it is no request that any server has, but one that goes by the
 * method alone would take it for what it says: that another client's call is cancelled.
 */
export const isNotification = (method: string): boolean => method.startsWith('notifications/');

/** What is told about a method that is not there; to a modern client with `status` 404 (http, "Protocol Version Header"). */
export function methodNotFound(method: string, status = 200): ProxyError {
  return new ProxyError('method_not_found', `Method not found: ${method}`, { status });
}

/** Notifications from a client that end at the proxy. */
const CONSUMED = new Set(['notifications/initialized', 'notifications/cancelled', 'notifications/progress']);

/** What one client may say to a process of its own; to one that is everybody's, none may. */
const OWN = new Set(['notifications/roots/list_changed', 'notifications/tasks/status']);

/** Whether a client's notification goes on to the child; a request that lacks its id never does. `owned`: the child is this client's. */
export function forwardsNotification(method: string, owned: boolean): boolean {
  if (OWN.has(method)) return owned;
  return !CONSUMED.has(method) && !REQUESTS.has(method) && !isTasks(method);
}

/** Requests that a legacy server may send to a client. */
export const CLIENT_REQUESTS: ReadonlySet<string> = new Set(['sampling/createMessage', 'elicitation/create', 'roots/list']);

/** What a client has to declare to be asked this, as ClientCapabilities (R-59b). */
function requiredCapabilities(method: string, params: Readonly<Record<string, unknown>>): Record<string, Record<string, object>> {
  switch (method) {
    case 'sampling/createMessage':
      return { sampling: params['tools'] === undefined && params['toolChoice'] === undefined ? {} : { tools: {} } };
    case 'elicitation/create':
      return { elicitation: params['mode'] === 'url' ? { url: {} } : { form: {} } };
    default:
      return { roots: {} };
  }
}

/** What the call of a client ends with that did not declare it (2026-07-28, basic "_meta"). */
export function missingCapability(method: string, params: Readonly<Record<string, unknown>>): ProxyError {
  const data = { requiredCapabilities: requiredCapabilities(method, params) };
  return new ProxyError('missing_capability', 'Missing required client capability', { data });
}

/** Whether a client that declared this can be asked that. */
export function canAnswer(capabilities: Readonly<Record<string, unknown>>, method: string, params: Readonly<Record<string, unknown>>): boolean {
  for (const [name, wanted] of Object.entries(requiredCapabilities(method, params))) {
    const declared = capabilities[name];
    if (!isObject(declared)) return false;
    // An elicitation that declares nothing is an older client's word for forms.
    for (const part of Object.keys(wanted)) if (!(part in declared) && !(part === 'form' && !('url' in declared))) return false;
  }
  return CLIENT_REQUESTS.has(method);
}

/** Of what a client declared, what `canAnswer` looks at. All of it may be megabytes, and is not for the proxy to keep. */
export function askable(capabilities: Readonly<Record<string, unknown>>): Record<string, Record<string, object>> {
  const kept: Record<string, Record<string, object>> = {};
  for (const [name, parts] of ASKABLE) {
    const declared = capabilities[name];
    if (isObject(declared)) kept[name] = Object.fromEntries(parts.filter((part) => part in declared).map((part) => [part, {}]));
  }
  return kept;
}

/** The capabilities that `requiredCapabilities` names, and their parts. */
const ASKABLE: readonly (readonly [name: string, parts: readonly string[]])[] = [['sampling', ['tools']], ['elicitation', ['form', 'url']], ['roots', []]];

/** The methods during which a server may need input of its client (2026-07-28, mrtr). */
export const TAKES_INPUT: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read']);

/** What the retry of such a call adds to its params. */
export const RETRY_PARAMS: ReadonlySet<string> = new Set(['inputResponses', 'requestState']);

/** The list_changed notification of each server capability that has one. */
export const LIST_CHANGED: Readonly<Record<string, string>> = {
  tools: 'notifications/tools/list_changed',
  prompts: 'notifications/prompts/list_changed',
  resources: 'notifications/resources/list_changed',
};

/** Whether a server declares this feature of one of its capabilities. */
export function declares(capabilities: Readonly<Record<string, unknown>>, name: string, feature: 'listChanged' | 'subscribe'): boolean {
  return (Object(capabilities[name]) as Record<string, unknown>)[feature] === true;
}

/** A resource that somebody watches has changed. */
export const UPDATED = 'notifications/resources/updated';

/** The request with which a modern client listens, and the first thing that it hears (2026-07-28, patterns/subscriptions). */
export const LISTEN = 'subscriptions/listen';
export const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';

/** The member of a `subscriptions/listen` filter that asks for it. */
export const listChangedFilter = (capability: string): string => `${capability}ListChanged`;

/** Severities of RFC 5424 as MCP names them, least severe first. */
const LOG_LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

/** The name of a severity. */
export function levelName(severity: number): string {
  return LOG_LEVELS[severity] ?? 'debug';
}

/** A severity as a number that compares, or `undefined` for what is none. */
export function severityOf(level: unknown): number | undefined {
  const at = typeof level === 'string' ? LOG_LEVELS.indexOf(level) : -1;
  return at === -1 ? undefined : at;
}
