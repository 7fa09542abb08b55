// The faults that the proxy reports itself, each with its HTTP status and JSON-RPC code in one table. An error
// that a child answers is not a fault: it passes through.

const FAULTS = {
  parse_error: { http: 400, rpc: -32700 },
  invalid_request: { http: 400, rpc: -32600 },
  forbidden: { http: 403, rpc: -32600 },
  unauthorized: { http: 401, rpc: -32600 },
  not_found: { http: 404, rpc: -32600 },
  unknown_server: { http: 404, rpc: -32600 },
  method_not_allowed: { http: 405, rpc: -32000 },
  not_acceptable: { http: 406, rpc: -32000 },
  request_timeout: { http: 408, rpc: -32600 },
  too_large: { http: 413, rpc: -32600 },
  media_type: { http: 415, rpc: -32600 },
  headers_too_large: { http: 431, rpc: -32600 },
  internal: { http: 500, rpc: -32603 },
  // Nothing was handed to a child yet, so the refusal may be an HTTP status.
  busy: { http: 503, rpc: -32603, retryAfterS: 1 },
  starting: { http: 503, rpc: -32603, retryAfterS: 5 },
  unavailable: { http: 503, rpc: -32603 },
  // A request was accepted: its answer belongs to JSON-RPC, whatever became of it.
  shutdown: { http: 200, rpc: -32603 },
  child_exited: { http: 200, rpc: -32603 },
  reconfigured: { http: 200, rpc: -32603 },
  line_too_long: { http: 200, rpc: -32603 },
  timeout: { http: 200, rpc: -32603 },
  method_not_found: { http: 200, rpc: -32601 },
  invalid_params: { http: 200, rpc: -32602 },
  session_closed: { http: 200, rpc: -32603 },
  cancelled: { http: 200, rpc: -32603 },
  bad_answer: { http: 200, rpc: -32603 },
  // Input that a call needs of its client.
  missing_capability: { http: 400, rpc: -32021 },
  request_state: { http: 200, rpc: -32602 },
  declined: { http: 200, rpc: -32603 },
  input_failed: { http: 200, rpc: -32603 },
  // Sessions and revisions.
  session_required: { http: 400, rpc: -32000 },
  session_not_found: { http: 404, rpc: -32001 },
  session_limit: { http: 503, rpc: -32603 },
  bad_version: { http: 400, rpc: -32000 },
  header_mismatch: { http: 400, rpc: -32020 },
  bad_envelope: { http: 400, rpc: -32602 },
  unsupported_version: { http: 400, rpc: -32022 },
  // The configuration API.
  invalid_config: { http: 400, rpc: -32602 },
  config_conflict: { http: 409, rpc: -32603 },
  config_write_failed: { http: 500, rpc: -32603 },
  // What a child is told when its own request reaches no client.
  ambiguous_client: { http: 200, rpc: -32603 },
  no_client: { http: 200, rpc: -32603 },
  client_capability: { http: 200, rpc: -32601 },
} as const satisfies Record<string, { http: number; rpc: number; retryAfterS?: number }>;

/** The stable machine word of a fault: `error.data.reason`. */
export type Reason = keyof typeof FAULTS;

/** A JSON-RPC error object. */
export interface RpcError {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

/** An expected failure. The message is for the client; `cause` is for the log. */
export class ProxyError extends Error {
  readonly reason: Reason;
  readonly data: Readonly<Record<string, unknown>>;
  /** HTTP status when no response head was sent yet. */
  readonly status: number;
  /** Seconds for `Retry-After`, where waiting helps. */
  readonly retryAfterS: number | undefined;
  readonly #code: number;

  constructor(reason: Reason, message: string, options: { data?: Record<string, unknown>; cause?: unknown; status?: number; code?: number } = {}) {
    super(message, options);
    const row: { http: number; rpc: number; retryAfterS?: number } = FAULTS[reason];
    this.name = 'ProxyError';
    this.reason = reason;
    this.data = options.data ?? {};
    this.status = options.status ?? row.http;
    this.retryAfterS = row.retryAfterS;
    this.#code = options.code ?? row.rpc;
  }

  /** The JSON-RPC error object; `data.source` keeps it apart from errors of the server behind the proxy. */
  toRpc(): RpcError {
    const own = { source: 'mcp-proxy', reason: this.reason };
    // The specification says what is in the data of these, and nothing else is.
    const specified = this.reason === 'unsupported_version' || this.reason === 'missing_capability';
    return { code: this.#code, message: this.message, data: specified ? this.data : { ...own, ...this.data } };
  }
}

/** A request that came during shutdown: nothing was accepted, so it is refused by status. */
export const shuttingDown = (): ProxyError => new ProxyError('shutdown', 'Shutting down', { status: 503 });

/** What a session that has ended still owes an answer for. */
export const sessionClosed = (): ProxyError => new ProxyError('session_closed', 'Session closed');

/** The one place where something unknown that was thrown becomes visible: a bug answers `internal`, no more. */
export function asProxyError(thrown: unknown): ProxyError {
  return thrown instanceof ProxyError ? thrown : new ProxyError('internal', 'Internal error', { cause: thrown });
}

/** What a bug threw, for the log. */
export function traceOf(thrown: unknown): string {
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
}
