// Which arguments of which tool a modern client repeats in headers: read from the child's own list of tools, the first
// time that such a client calls one, and again when the list or the process has changed.

import type { World } from '../config/world.ts';
import { LIST_CHANGED } from '../protocol/methods.ts';
import { paramHeaders, type ParamHeader } from '../protocol/mirror.ts';
import { isObject } from '../wire/jsonrpc.ts';
import type { Relay } from './relay.ts';
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
  readonly #waiting: (() => void)[] = [];
  /** The reading whose list counts: the last, unless the list has changed since it began. */
  #reading: Declared | undefined;

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
    if (this.#waiting.push(then) > 1) return;
    const { deadlines, limits } = this.#world;
    const found: Declared = new Map();
    this.#reading = found;
    const deadline = deadlines.add(limits.toolsWaitMs, () => this.#finish(found, new Map())); // a late list still counts for later calls
    const read = (cursor: string | undefined, page: number): void => this.#relay.ask('tools/list', { cursor }, (answer) => {
      const result = this.#relay.answerIn(answer)?.result;
      const { tools, nextCursor } = isObject(result) ? result : {};
      for (const tool of Array.isArray(tools) ? tools : []) {
        const declared = isObject(tool) ? paramHeaders(tool) : [];
        if (declared.length > 0) found.set(tool.name as string, declared);
      }
      if (typeof nextCursor === 'string' && page < limits.maxToolPages) return read(nextCursor, page + 1);
      deadline.cancel();
      this.#finish(found, found);
    });
    read(undefined, 1);
  }

  /** The list is not what it was. */
  forget(): void {
    this.#declared = this.#reading = undefined;
  }

  hear(): void {
    this.forget();
  }

  /** Those who waited for a reading go on with what is known now. */
  #finish(reading: Declared, known: Declared): void {
    this.#declared = known;
    for (const then of this.#waiting.splice(0)) then();
    if (this.#reading !== reading) this.#declared = undefined; // good enough for those who waited, as they wait only once
  }
}
