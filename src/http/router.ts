// Routes as data, matched in order. A known path with another method is 405 with Allow; anything else is no route.

import type { IncomingMessage, ServerResponse } from 'node:http';

/** The names of the parameters in a pattern such as `/:server/mcp`. */
type Params<P extends string> = P extends `${string}:${infer Name}/${infer Rest}`
  ? { readonly [K in Name]: string } & Params<`/${Rest}`>
  : P extends `${string}:${infer Name}`
    ? { readonly [K in Name]: string }
    : unknown;

type Handler<P> = (req: IncomingMessage, res: ServerResponse, params: P) => void | Promise<void>;

export interface Route {
  readonly method: string;
  readonly pattern: string;
  /** The pattern for paths, with a group for each parameter. */
  readonly path: RegExp;
  readonly handle: Handler<Record<string, string>>;
}

/** One route; the handler's parameters are typed from the pattern. One trailing slash is ignored. */
export function route<P extends string>(method: string, pattern: P, handle: Handler<Params<P>>): Route {
  const path = new RegExp(`^${pattern.replace(/:(\w+)/g, '(?<$1>[^/]+)')}/?$`);
  return { method, pattern, path, handle: handle as Route['handle'] };
}

export type Match =
  | { readonly is: 'found'; readonly route: Route; readonly params: Record<string, string> }
  /** The path exists, with these methods. */
  | { readonly is: 'method'; readonly allow: readonly string[] }
  | { readonly is: 'none' };

/** Finds the route of a path (without its query). A parameter is percent-decoded once. */
export function match(routes: readonly Route[], method: string, path: string): Match {
  const allow = new Set<string>();
  for (const route of routes) {
    const params = paramsOf(route.path.exec(path));
    if (params === undefined) continue;
    if (route.method === method) return { is: 'found', route, params };
    allow.add(route.method);
  }
  return allow.size > 0 ? { is: 'method', allow: [...allow] } : { is: 'none' };
}

function paramsOf(found: RegExpExecArray | null): Record<string, string> | undefined {
  if (found === null) return undefined;
  const params = found.groups ?? {};
  try {
    for (const name in params) params[name] = decodeURIComponent(params[name] as string);
    return params;
  } catch {
    return undefined; // a stray percent sign names nothing
  }
}
