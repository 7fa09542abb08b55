// Ids that nobody can guess: whoever has one of a session or of a parked call may use it.

/** A fresh one: 128 random bits in hex. The global loads node:crypto, a megabyte of memory, when it is first used. */
export function secretId(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('hex');
}
