// The engine, the reference, or both side by side.

import type { Answer } from "../firewall.ts";
import type { Host } from "../host/host.ts";
import type { Arrival } from "../packet/packet.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import { sameAnswer } from "./difference.ts";
import { referenceDecider, wasmDecider } from "./engine.ts";
import type { Answers, Decider, EngineName } from "./engine.ts";

/** So many packets are answered by both unless it is said otherwise. */
const COMPARED_PACKETS = 100_000;

export interface ComparisonOptions {
  /** Left out: both for the first 100,000 packets, the engine alone for those behind. */
  readonly engine?: EngineName;
  readonly seed: number;
  readonly traced: boolean;
}

/** Answers up to the first packet that is not modelled, or on which engine and reference differ. */
export interface Compared extends Answers {
  /** What each says of the packet behind the last answer; null: they agree. */
  readonly difference: { readonly engine: Answer; readonly reference: Answer } | null;
}

export class Comparison {
  readonly #engine: Decider | null;
  readonly #reference: Decider | null;
  readonly #mostCompared: number;
  #packets = 0;

  constructor(ruleset: Ruleset, host: Host, { engine, seed, traced }: ComparisonOptions) {
    this.#engine = engine === "reference" ? null : wasmDecider(ruleset, host, seed, traced || engine !== "wasm");
    this.#reference = engine === "wasm" ? null : referenceDecider(ruleset, host, seed);
    this.#mostCompared = engine === undefined ? COMPARED_PACKETS : Infinity;
  }

  /** To be called with all packets in their order, in portions of any size. */
  answer(arrivals: readonly Arrival[]): Compared {
    if (this.#engine === null) return { ...this.#reference!(arrivals), difference: null };
    const most = Math.max(0, this.#mostCompared - this.#packets);
    this.#packets += arrivals.length;
    if (this.#reference === null || most === 0) return { ...this.#engine(arrivals), difference: null };

    const wanted = this.#reference(arrivals.slice(0, most));
    // behind a packet that the reference cannot answer nothing is asked any more
    const given = this.#engine(wanted.failure === null ? arrivals : arrivals.slice(0, wanted.answers.length));
    const differs = wanted.answers.findIndex((answer, index) => {
      return index < given.answers.length && !sameAnswer(given.answers[index]!, answer);
    });
    if (differs < 0) return { answers: given.answers, failure: given.failure ?? wanted.failure, difference: null };
    const difference = { engine: given.answers[differs]!, reference: wanted.answers[differs]! };
    return { answers: given.answers.slice(0, differs), failure: null, difference };
  }
}
