// The life of one supervised server as a pure step: (state, event) -> (state, effects). It knows no process, no
// clock and no call; whoever runs it does what the effects say and reports what happened.
//
//    stopped --start--> waiting --turn--> starting --ready--> running --stop, restart--> draining
//                          ^                 |                   |                          | drained
//                          |                 +- failed, respawn -+--------> stopping <------+
//                     backoff-over                                             | gone
//                          +------------ backoff <-----------------------------+--> stopped, waiting, starting, error

import type { Limits } from '../config/limits.ts';
import type { ServerConfig } from '../config/schema.ts';

/** Ready to start as soon as it is its turn. `again` is a restart; `halfOpen` the one attempt after giving up. */
interface Waiting {
  readonly is: 'waiting';
  /** Restarts in a row so far. */
  readonly restarts: number;
  readonly again: boolean;
  readonly halfOpen: boolean;
}

/** Spawned, in the handshake; `plain`: for the second time, without a probe. */
type Starting = Omit<Waiting, 'is'> & { readonly is: 'starting'; readonly plain: boolean };

/** What may follow when a process is gone. */
type Next =
  | { readonly is: 'stopped' }
  | Waiting
  | Starting
  | { readonly is: 'backoff'; readonly restarts: number; readonly until: number }
  | { readonly is: 'error'; readonly restarts: number; readonly at: number };

export type State =
  | Next
  | { readonly is: 'running'; readonly restarts: number }
  /** The calls in flight may finish; no new ones. */
  | { readonly is: 'draining'; readonly next: Next }
  /** The stop ladder runs; what follows, follows when the whole group is gone. */
  | { readonly is: 'stopping'; readonly next: Next; readonly idle: boolean };

export type Event =
  /** Somebody wants it to run: at boot, on enabling, for a request. */
  | { readonly type: 'start'; readonly now: number }
  | { readonly type: 'turn' | 'ready' | 'healthy' | 'drained' | 'backoff-over' | 'idle' }
  /** The process or its handshake failed. `jitter` is between -1 and 1. */
  | { readonly type: 'failed'; readonly now: number; readonly jitter: number }
  /** What failed was the probe, as far as anybody knows: the same start once more, without one. */
  | { readonly type: 'respawn' }
  | { readonly type: 'gone'; readonly now: number }
  /** A new process is needed: a changed configuration, or the operator says so. */
  | { readonly type: 'restart' }
  | { readonly type: 'stop' };

/**
 * `queue`: ask for a turn. `drain`: let the calls in flight finish, then report `drained`; asked again, the shorter
 * time counts. `stop`: begin the stop ladder, then report `gone`.
 */
export type Effect = 'queue' | 'spawn' | 'drain' | 'stop';

export type Policy = Pick<ServerConfig, 'autoRestart' | 'maxRestarts'> & Pick<Limits, 'backoffFirstMs' | 'backoffMaxMs' | 'backoffJitter' | 'halfOpenMs'>;

export const STOPPED: Next = { is: 'stopped' };
const FIRST: Waiting = { is: 'waiting', restarts: 0, again: false, halfOpen: false };
const AGAIN: Waiting = { ...FIRST, again: true };

type Step = readonly [State, readonly Effect[]];

/** What follows. An event that comes late for its state changes nothing. */
export function step(state: State, event: Event, policy: Policy): Step {
  const same: Step = [state, []];
  switch (event.type) {
    case 'start':
      if (state.is === 'stopped') return enter(FIRST);
      if (state.is === 'error' && event.now - state.at >= policy.halfOpenMs) {
        return enter({ ...FIRST, restarts: state.restarts, halfOpen: true });
      }
      return 'next' in state && state.next.is === 'stopped' ? [{ ...state, next: FIRST }, []] : same;
    case 'turn':
      return state.is === 'waiting' ? enter({ ...state, is: 'starting', plain: false }) : same;
    case 'ready':
      if (state.is !== 'starting') return same;
      return [{ is: 'running', restarts: state.halfOpen ? 0 : state.restarts }, []];
    case 'healthy':
      return state.is === 'running' ? [{ is: 'running', restarts: 0 }, []] : same;
    case 'failed':
      // What was being drained was to go in any case: its end counts for nothing.
      if (state.is === 'draining') return stop(state.next);
      return state.is === 'starting' || state.is === 'running' ? stop(afterFailure(state, event, policy)) : same;
    case 'respawn':
      return state.is === 'starting' && !state.plain ? stop({ ...state, plain: true }) : same;
    case 'drained':
      return state.is === 'draining' ? stop(state.next) : same;
    case 'gone':
      if (state.is !== 'stopping') return same;
      return enter(state.next.is === 'backoff' && event.now >= state.next.until ? { ...AGAIN, restarts: state.next.restarts } : state.next);
    case 'backoff-over':
      return state.is === 'backoff' ? enter({ ...AGAIN, restarts: state.restarts }) : same;
    case 'restart':
      return redirect(state, AGAIN);
    case 'stop':
      return redirect(state, STOPPED);
    case 'idle':
      return state.is === 'running' ? stop(STOPPED, true) : same;
  }
}

function enter(next: Next): Step {
  return [next, next.is === 'waiting' ? ['queue'] : next.is === 'starting' ? ['spawn'] : []];
}

function stop(next: Next, idle = false): Step {
  return [{ is: 'stopping', next, idle }, ['stop']];
}

/** Where the operator wants it to go, from wherever it is. */
function redirect(state: State, next: Next): Step {
  switch (state.is) {
    case 'running':
    case 'draining':
      return [{ is: 'draining', next }, ['drain']];
    case 'starting':
      return stop(next);
    case 'stopping':
      return [{ is: 'stopping', next, idle: false }, []];
    case 'waiting':
      return [next, []]; // it keeps its place in the line, or leaves it
    case 'stopped':
    case 'backoff':
    case 'error':
      return enter(next);
  }
}

/** Restart later, or give up. A failed half-open attempt is one attempt and no more. */
function afterFailure(
  { restarts, halfOpen = false }: { readonly restarts: number; readonly halfOpen?: boolean },
  { now, jitter }: { readonly now: number; readonly jitter: number },
  policy: Policy,
): Next {
  if (!policy.autoRestart || restarts >= policy.maxRestarts || halfOpen) return { is: 'error', restarts, at: now };
  const delay = Math.min(policy.backoffMaxMs, policy.backoffFirstMs * 2 ** restarts) * (1 + jitter * policy.backoffJitter);
  return { is: 'backoff', restarts: restarts + 1, until: now + delay };
}

/** The five words of the status stream. */
export type Status = 'starting' | 'running' | 'restarting' | 'stopped' | 'error';

/** Whether it is its turn to start, or in the line for one. */
export function isStarting(state: State): boolean {
  return state.is === 'waiting' || state.is === 'starting' || (state.is === 'stopping' && state.next.is === 'starting');
}

/** What a state is called towards people; a process on its way out already counts as what follows it. */
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
      return statusOf(state.next);
    case 'stopping':
      return state.idle && state.next.is === 'stopped' ? 'running' : statusOf(state.next);
  }
}

/** Restarts in a row. */
export function restartsOf(state: State): number {
  if ('next' in state) return restartsOf(state.next);
  return 'restarts' in state ? state.restarts : 0;
}
