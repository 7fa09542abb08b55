// The life of one supervised server as a pure step: (state, event) -> (state, effects). It knows no process, no
// clock and no call; whoever runs it does what the effects say and reports what happened.
//
//    stopped --start--> waiting --turn--> starting --ready--> running --stop, restart--> draining --drained--+
//       ^                  ^                  |                  |                                            |
//       |                  |                  +------failed------+-------------> stopping <-------------------+
//       |                  +--backoff-over-- backoff <------------------------------+
//       +---------------------------------------------- gone ----------------------+--> error (given up; half-open later)

export type State =
  | { readonly is: 'stopped' }
  /** For its turn to start. */
  | { readonly is: 'waiting'; readonly restarts: number; readonly again: boolean; readonly halfOpen: boolean }
  /** Spawned, in the handshake. */
  | { readonly is: 'starting'; readonly restarts: number; readonly again: boolean; readonly halfOpen: boolean }
  | { readonly is: 'running'; readonly restarts: number }
  /** Calls in flight may finish; no new ones. */
  | { readonly is: 'draining'; readonly then: 'start' | 'stopped' }
  /** The stop ladder runs; a new process comes only when the whole group is gone. */
  | { readonly is: 'stopping'; readonly then: 'stopped'; readonly idle: boolean }
  | { readonly is: 'stopping'; readonly then: 'start'; readonly again: boolean }
  | { readonly is: 'stopping'; readonly then: 'backoff'; readonly restarts: number; readonly until: number }
  | { readonly is: 'stopping'; readonly then: 'error'; readonly restarts: number; readonly at: number }
  | { readonly is: 'backoff'; readonly restarts: number; readonly until: number }
  | { readonly is: 'error'; readonly restarts: number; readonly at: number };

export type Event =
  /** Somebody wants it to run: at boot, on enabling, for a request. */
  | { readonly type: 'start'; readonly now: number }
  | { readonly type: 'turn' }
  | { readonly type: 'ready' }
  | { readonly type: 'healthy' }
  /** The process or its handshake failed. `jitter` is between -1 and 1. */
  | { readonly type: 'failed'; readonly now: number; readonly jitter: number }
  | { readonly type: 'gone'; readonly now: number }
  | { readonly type: 'backoff-over' }
  | { readonly type: 'drained' }
  /** A new process is needed: a changed configuration, or the operator says so. */
  | { readonly type: 'restart' }
  | { readonly type: 'stop' }
  | { readonly type: 'idle' };

/**
 * `queue`: ask for a turn. `drain`: let the calls in flight finish, then report `drained`; asked again, the shorter time
 * counts. `stop`: begin the stop ladder.
 */
export type Effect = 'queue' | 'spawn' | 'drain' | 'stop';

export interface Policy {
  readonly autoRestart: boolean;
  readonly maxRestarts: number;
  readonly backoffFirstMs: number;
  readonly backoffMaxMs: number;
  /** Share of the delay, 0 to 1. */
  readonly backoffJitter: number;
  readonly halfOpenMs: number;
}

export const STOPPED: State = { is: 'stopped' };

type Step = readonly [State, readonly Effect[]];

/** What follows. An event that comes late for its state changes nothing. */
export function step(state: State, event: Event, policy: Policy): Step {
  const same: Step = [state, []];
  switch (event.type) {
    case 'start':
      if (state.is === 'stopped') return queue({ restarts: 0 });
      if (state.is === 'error' && event.now - state.at >= policy.halfOpenMs) {
        return queue({ restarts: state.restarts, halfOpen: true });
      }
      if (state.is === 'draining') return [{ ...state, then: 'start' }, []];
      if (state.is === 'stopping' && state.then === 'stopped') return [{ is: 'stopping', then: 'start', again: false }, []];
      return same;

    case 'turn':
      return state.is === 'waiting' ? [{ ...state, is: 'starting' }, ['spawn']] : same;

    case 'ready':
      if (state.is !== 'starting') return same;
      return [{ is: 'running', restarts: state.halfOpen ? 0 : state.restarts }, []];

    case 'healthy':
      return state.is === 'running' ? [{ is: 'running', restarts: 0 }, []] : same;

    case 'failed':
      if (state.is === 'draining') {
        // It was to go in any case: its end counts for nothing.
        return [state.then === 'start' ? { is: 'stopping', then: 'start', again: true } : stopping(false), ['stop']];
      }
      if (state.is !== 'starting' && state.is !== 'running') return same;
      return [afterFailure(state, event, policy), ['stop']];

    case 'gone':
      if (state.is !== 'stopping') return same;
      switch (state.then) {
        case 'stopped':
          return [STOPPED, []];
        case 'start':
          return queue({ restarts: 0, again: state.again });
        case 'error':
          return [{ is: 'error', restarts: state.restarts, at: state.at }, []];
        case 'backoff':
          if (event.now >= state.until) return queue({ restarts: state.restarts, again: true });
          return [{ is: 'backoff', restarts: state.restarts, until: state.until }, []];
      }

    case 'backoff-over':
      return state.is === 'backoff' ? queue({ restarts: state.restarts, again: true }) : same;

    case 'drained':
      if (state.is !== 'draining') return same;
      return [state.then === 'start' ? { is: 'stopping', then: 'start', again: true } : stopping(false), ['stop']];

    case 'restart':
      switch (state.is) {
        case 'stopped':
        case 'backoff':
        case 'error':
          return queue({ restarts: 0, again: true });
        case 'waiting':
          return [{ is: 'waiting', restarts: 0, again: true, halfOpen: false }, []];
        case 'starting':
          return [{ is: 'stopping', then: 'start', again: true }, ['stop']];
        case 'running':
          return [{ is: 'draining', then: 'start' }, ['drain']];
        case 'draining':
          return [{ is: 'draining', then: 'start' }, ['drain']];
        case 'stopping':
          return [{ is: 'stopping', then: 'start', again: true }, []];
      }

    case 'stop':
      switch (state.is) {
        case 'stopped':
        case 'waiting':
        case 'backoff':
        case 'error':
          return [STOPPED, []];
        case 'starting':
          return [stopping(false), ['stop']];
        case 'running':
          return [{ is: 'draining', then: 'stopped' }, ['drain']];
        case 'draining':
          return [{ is: 'draining', then: 'stopped' }, ['drain']];
        case 'stopping':
          return [stopping(false), []];
      }

    case 'idle':
      return state.is === 'running' ? [stopping(true), ['stop']] : same;
  }
}

function queue({ restarts, again = false, halfOpen = false }: { restarts: number; again?: boolean; halfOpen?: boolean }): Step {
  return [{ is: 'waiting', restarts, again, halfOpen }, ['queue']];
}

function stopping(idle: boolean): State {
  return { is: 'stopping', then: 'stopped', idle };
}

/** Restart later, or give up: a failed half-open attempt is one attempt and no more. */
function afterFailure(
  state: { readonly restarts: number; readonly halfOpen?: boolean },
  { now, jitter }: { readonly now: number; readonly jitter: number },
  policy: Policy,
): State {
  const { restarts } = state;
  if (!policy.autoRestart || restarts >= policy.maxRestarts || state.halfOpen === true) {
    return { is: 'stopping', then: 'error', restarts, at: now };
  }
  const delay = Math.min(policy.backoffMaxMs, policy.backoffFirstMs * 2 ** restarts) * (1 + jitter * policy.backoffJitter);
  return { is: 'stopping', then: 'backoff', restarts: restarts + 1, until: now + delay };
}

/** The five words of the status stream. */
export type Status = 'starting' | 'running' | 'restarting' | 'stopped' | 'error';

/** What a state is called towards people. */
export function statusOf(state: State): Status {
  switch (state.is) {
    case 'stopped':
    case 'running':
    case 'error':
      return state.is;
    case 'waiting':
    case 'starting':
      return state.again ? 'restarting' : 'starting';
    case 'backoff':
      return 'restarting';
    case 'draining':
      return state.then === 'start' ? 'restarting' : 'stopped';
    case 'stopping':
      if (state.then === 'stopped') return state.idle ? 'running' : 'stopped';
      if (state.then === 'start') return state.again ? 'restarting' : 'starting';
      return state.then === 'error' ? 'error' : 'restarting';
  }
}
