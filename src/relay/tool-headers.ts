// Which arguments of which tool a modern client repeats in headers: read from the child's own list of tools, the first
// time that such a client calls one, and again when the list or the process has changed.

import type { World } from '../config/world.ts';
import { LIST_CHANGED } from '../protocol/methods.ts';
import { paramHeaders, type ParamHeader } from '../protocol/mirror.ts';
import { isObject } from '../wire/jsonrpc.ts';
import type { Outcome, Relay } from './relay.ts';
import type { Listener } from './subscriptions.ts';

/** By the name of a tool. */
type Declared = Map<string, readonly ParamHeader[]>;

/** It hears of changes as clients do. */
export class ToolHeaders implements Listener {
  readonly holder = this;
  readonly only: ReadonlySet<string> = new Set([LIST_CHANGED['tools'] as string]);
  readonly open = false;
  readonly #relay: Relay;
  readonly #world: World;
  #declared: Declared | undefined;
  /** Who waits for the list that is being read. */
  #waiting: (() => void)[] | undefined;
  /** The reading whose list counts: the last, unless the list has changed since it began. */
  #reading: object | undefined;

  constructor(relay: Relay, world: World) {
    this.#relay = relay;
    this.#world = world;
  }

  /** The declarations of a tool; `undefined`: `load` first. A tool that is not listed declares nothing. */
  of(tool: unknown): readonly ParamHeader[] | undefined {
    return this.#declared && (this.#declared.get(tool as string) ?? []);
  }

  /** Reads the list; `then` is called when it is there, or will not come. */
  load(then: () => void): void {
    if (this.#waiting !== undefined) return void this.#waiting.push(then);
    this.#waiting = [then];
    const { deadlines, limits } = this.#world;
    const reading = (this.#reading = {});
    const deadline = deadlines.add(limits.toolsWaitMs, () => this.#finish(reading, new Map())); // a late list still counts for later calls
    this.#page(new Map(), undefined, 1, (found) => {
      deadline.cancel();
      this.#finish(reading, found);
    });
  }

  /** The list is not what it was. */
  forget(): void {
    this.#declared = this.#reading = undefined;
  }

  hear(): void {
    this.forget();
  }

  #page(found: Declared, cursor: string | undefined, page: number, done: (found: Declared) => void): void {
    this.#relay.ask('tools/list', cursor === undefined ? {} : { cursor }, (answer: Outcome) => {
      const result = this.#relay.answerIn(answer)?.result;
      const { tools, nextCursor } = isObject(result) ? result : {};
      for (const tool of Array.isArray(tools) ? tools : []) {
        const declared = isObject(tool) ? paramHeaders(tool) : [];
        if (declared.length > 0) found.set(tool.name as string, declared);
      }
      if (typeof nextCursor === 'string' && page < this.#world.limits.maxToolPages) return this.#page(found, nextCursor, page + 1, done);
      done(found);
    });
  }

  #finish(reading: object, found: Declared): void {
    this.#declared = found;
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const then of waiting) then();
    if (this.#reading !== reading) this.#declared = undefined; // good enough for those who waited, as they wait only once
  }
}
