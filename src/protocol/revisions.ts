// The revisions of MCP, one row each; the only place with version strings. Code never compares versions: it reads
// the traits of a row.

/** The specification's own words for the two families: with a handshake, and without. */
export type Era = 'legacy' | 'modern';

export interface Revision {
  readonly version: string;
  readonly era: Era;
  /** Clients may send JSON-RPC batches. */
  readonly batches: boolean;
  /** Its streams open with an event that has an id and no data, so that they can be resumed from the start. */
  readonly primes: boolean;
  /** A server that completes arguments says so in its capabilities. */
  readonly completions: boolean;
}

const FIRST_MODERN = '2026-07-28';

const REVISIONS: readonly Revision[] = [
  { version: '2024-11-05', era: 'legacy', batches: false, primes: false, completions: false },
  { version: '2025-03-26', era: 'legacy', batches: true, primes: false, completions: true },
  { version: '2025-06-18', era: 'legacy', batches: false, primes: false, completions: true },
  { version: '2025-11-25', era: 'legacy', batches: false, primes: true, completions: true },
  { version: FIRST_MODERN, era: 'modern', batches: false, primes: false, completions: true },
];

/** What the proxy offers to a child, and answers to a client that asks for something it does not know. */
export const PREFERRED_LEGACY = REVISIONS[3] as Revision;

/** The one revision without a handshake that the proxy speaks. */
export const MODERN = REVISIONS[4] as Revision;

/** The row of a legacy version, if it is one: these are negotiated by `initialize`. */
export function legacyRevision(version: unknown): Revision | undefined {
  return REVISIONS.find((row) => row.era === 'legacy' && row.version === version);
}

/** The row that a client gets which asks for this version in `initialize`. */
export function negotiated(version: unknown): Revision {
  return legacyRevision(version) ?? PREFERRED_LEGACY;
}

/** Whether a version belongs to the era without a handshake, known or not. */
export function isModern(version: string | undefined): boolean {
  return version === FIRST_MODERN || (version !== undefined && version > FIRST_MODERN && /^\d{4}-\d\d-\d\d$/.test(version));
}
