// What the reference does not model yet, said instead of guessed.

/** Options of its IP header, the id of an error, what lies across two pieces of a datagram. */
export const BYTES_NOT_KNOWN = "its bytes, which a rule asks, are not all known";

/** A packet whose answer is not modelled; `message` names it. */
export class UnsupportedError extends Error {
  override readonly name = "UnsupportedError";
  /** What its packet line calls the packet; null if it is the host that is not modelled. */
  readonly id: string | number | null;

  constructor(reason: string, id: string | number | null) {
    super(id === null ? reason : `packet ${id}: ${reason}`);
    this.id = id;
  }
}
