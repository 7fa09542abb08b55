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
  readonly segments: readonly string[];
  readonly handle: Handler<Record<string, string>>;
}

/** One route; the handler's parameters are typed from the pattern. */
export function route<P extends string>(method: string, pattern: P, handle: Handler<Params<P>>): Route {
  return { method, segments: pattern.split('/').slice(1), handle: handle as Route['handle'] };
}

export type Match =
  | { readonly is: 'found'; readonly route: Route; readonly params: Record<string, string> }
  /** The path exists, with these methods. */
  | { readonly is: 'method'; readonly allow: readonly string[] }
  | { readonly is: 'none' };

/** Finds the route of a path (without its query). One trailing slash is ignored; a parameter is percent-decoded once. */
export function match(routes: readonly Route[], method: string, path: string): Match {
  const segments = path.split('/').slice(1);
  if (segments.length > 1 && segments.at(-1) === '') segments.pop();
  const allow: string[] = [];
  for (const candidate of routes) {
    const params = paramsOf(candidate.segments, segments);
    if (params === undefined) continue;
    if (candidate.method === method) return { is: 'found', route: candidate, params };
    allow.push(candidate.method);
  }
  return allow.length > 0 ? { is: 'method', allow: [...new Set(allow)] } : { is: 'none' };
}

function paramsOf(pattern: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== segments.length) return undefined;
  let params: Record<string, string> | undefined;
  for (const [k, part] of pattern.entries()) {
    const segment = segments[k] ?? '';
    if (!part.startsWith(':')) {
      if (part !== segment) return undefined;
      continue;
    }
    const value = decoded(segment);
    if (value === undefined || value === '') return undefined;
    params ??= Object.create(null) as Record<string, string>;
    params[part.slice(1)] = value;
  }
  return params ?? {};
}

function decoded(segment: string): string | undefined {
  if (!segment.includes('%')) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined; // a stray percent sign names nothing
  }
}
