// Whose turn it is to start. Twenty cold `npx` at once starve each other, so a few start at a time and the rest
// wait in line; a server that somebody is asking for goes first.

export interface Turn {
  /** Moves ahead of those that nobody asked for. */
  hurry(): void;
  /** Leaves the line, or gives the turn back; safe to call twice. */
  release(): void;
}

interface Entry {
  readonly go: () => void;
  wanted: boolean;
}

export class Turns {
  readonly #waiting = new Set<Entry>(); // in order of arrival
  #free: number;

  /** `concurrency`: turns at the same time. */
  constructor(concurrency: number) {
    this.#free = concurrency;
  }

  /** Joins the line; `go` is called once, later in this turn of the event loop at the earliest. */
  take(go: () => void): Turn {
    const entry: Entry = { go, wanted: false };
    let released = false;
    this.#waiting.add(entry);
    queueMicrotask(() => this.#next());
    return {
      hurry: () => void (entry.wanted = true),
      release: () => {
        if (released) return;
        released = true;
        if (this.#waiting.delete(entry)) return;
        this.#free++;
        this.#next();
      },
    };
  }

  #next(): void {
    while (this.#free > 0 && this.#waiting.size > 0) {
      const line = [...this.#waiting];
      const entry = line.find(({ wanted }) => wanted) ?? (line[0] as Entry);
      this.#waiting.delete(entry);
      this.#free--;
      entry.go();
    }
  }
}
