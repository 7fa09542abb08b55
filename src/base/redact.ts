// Secrets leave no trace in what is shown: every known value is replaced, whatever its name was.

const MIN_SECRET_CHARS = 6; // shorter values (ports, flags) occur everywhere and hide nothing

/** Replaces every secret in a text by `***`. */
export type Redact = (text: string) => string;

/** Makes a `Redact` for the given values; those shorter than 6 characters are not secrets. */
export function createRedact(values: Iterable<string | undefined>): Redact {
  const secrets = [...new Set(values)]
    .filter((value): value is string => value !== undefined && value.length >= MIN_SECRET_CHARS)
    .sort((a, b) => b.length - a.length); // a secret that contains another goes first
  return (text) => secrets.reduce((shown, secret) => shown.replaceAll(secret, '***'), text);
}
