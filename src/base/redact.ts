// Secrets leave no trace in what is shown: every known value is replaced, whatever its name was.

const MIN_SECRET_CHARS = 6; // shorter values (ports, flags) occur everywhere and hide nothing

/** Replaces every secret in a text by `***`. */
export type Redact = (text: string) => string;

/** Makes a `Redact` for the given values, and for each line of those that have several; what is shorter than 6 characters is no secret. */
export function createRedact(values: Iterable<string | undefined>): Redact {
  // A key in lines is shown line by line, in several pieces, or with `\n` between them.
  const lines = [...values].flatMap((value = '') => [value, ...value.split(/\s*\n\s*/)]);
  const secrets = [...new Set(lines)]
    .filter(({ length }) => length >= MIN_SECRET_CHARS)
    .sort((a, b) => b.length - a.length); // a secret that contains another goes first
  return (text) => secrets.reduce((shown, secret) => shown.replaceAll(secret, '***'), text);
}
