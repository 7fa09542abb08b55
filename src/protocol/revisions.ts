// The revisions of MCP, one row each; the only place with version strings. Code never compares versions: it reads
// the traits of a row.

/** The specification's own words for the two families: with a handshake, and without. */
export type Era = 'legacy' | 'modern';

export interface Revision {
  readonly version: string;
  readonly era: Era;
}

const REVISIONS: readonly Revision[] = [
  { version: '2024-11-05', era: 'legacy' },
  { version: '2025-03-26', era: 'legacy' },
  { version: '2025-06-18', era: 'legacy' },
  { version: '2025-11-25', era: 'legacy' },
];

/** What the proxy offers to a child, and answers to a client that asks for something it does not know. */
export const PREFERRED_LEGACY = '2025-11-25';

/** The row of a legacy version, if it is one: these are negotiated by `initialize`. */
export function legacyRevision(version: unknown): Revision | undefined {
  return REVISIONS.find((row) => row.era === 'legacy' && row.version === version);
}
