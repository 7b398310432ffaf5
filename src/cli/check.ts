// Samples of a synthetic stream -> whether the reference says the same.

import type { Outcome } from "../classifier.ts";
import type { StreamStep } from "../firewall.ts";
import type { Host } from "../host/host.ts";
import type { Arrival } from "../packet/packet.ts";
import { UnsupportedError } from "../reference/error.ts";
import type { Reference } from "../reference/reference.ts";
import { describeDifference, sameAnswer } from "./difference.ts";

/** Asks the reference about the samples of a stream. */
export class Check {
  checked: number | null;
  disagreements = 0;
  /** The first disagreement, told at length. */
  first: string | null = null;
  readonly #host: Host;
  /** null: it cannot be asked, or not any more. */
  #reference: Reference | null;
  readonly #follows: boolean;

  /** `follows`: what it says of a packet hangs on all those before. */
  constructor(host: Host, reference: Reference | null, follows: boolean) {
    this.#host = host;
    this.#reference = reference;
    this.#follows = follows;
    this.checked = reference === null ? null : 0;
  }

  add(samples: StreamStep["samples"]): void {
    for (const { arrival, outcome } of samples) {
      if (this.#reference === null) return;
      const wanted = this.#answer(arrival);
      if (outcome === null || wanted === null) {
        // a packet that one of them does not model may have changed what the other remembers
        if (this.#follows) this.#reference = null;
        continue;
      }
      this.checked!++;
      if (sameAnswer(outcome, wanted)) continue;
      this.disagreements++;
      this.first ??= describeDifference(arrival, this.#host, outcome, wanted);
      if (this.#follows) this.#reference = null;
    }
  }

  /** null for a packet that is not modelled. */
  #answer(arrival: Arrival): Outcome | null {
    try {
      // the packet's number in the stream, by which lots are drawn, is its id
      return this.#reference!.run(arrival, Number(arrival.id)).outcome;
    } catch (error) {
      if (error instanceof UnsupportedError) return null;
      throw error;
    }
  }
}
