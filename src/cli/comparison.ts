// The engine, the reference, or both side by side.

import type { RuleCounter } from "../classifier.ts";
import type { Answer } from "../firewall.ts";
import type { Host } from "../host/host.ts";
import type { Arrival } from "../packet/packet.ts";
import { UnsupportedError } from "../reference/error.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import { sameAnswer } from "./difference.ts";
import { referenceDecider, wasmDecider } from "./engine.ts";
import type { Answers, Decider, DeciderOptions, EngineName } from "./engine.ts";

/** So many packets are answered by both unless it is said otherwise. */
const COMPARED_PACKETS = 100_000;

export interface ComparisonOptions {
  /** Left out: both for the first 100,000 packets, the engine alone for those behind; the reference for what it alone knows. */
  readonly engine?: EngineName;
  readonly decide: DeciderOptions;
}

/** Answers up to the first packet that is not modelled, or on which engine and reference differ. */
export interface Compared extends Answers {
  /** What each says of the packet behind the last answer; null: they agree. */
  readonly difference: { readonly engine: Answer; readonly reference: Answer } | null;
}

export class Comparison {
  #engine: Decider | null;
  readonly #reference: Decider | null;
  readonly #mayFallBack: boolean;
  readonly #mostCompared: number;
  #packets = 0;

  constructor(ruleset: Ruleset, host: Host, { engine, decide }: ComparisonOptions) {
    const asked = engine ?? "both";
    const trace = decide.trace || asked === "both";
    this.#mayFallBack = engine === undefined;
    this.#engine = asked === "reference" ? null : this.#makeEngine(ruleset, host, { ...decide, trace });
    this.#reference = asked === "wasm" ? null : referenceDecider(ruleset, host, decide);
    this.#mostCompared = engine === undefined ? COMPARED_PACKETS : Infinity;
  }

  /** null: it does not know these rules, and the reference has to do. */
  #makeEngine(ruleset: Ruleset, host: Host, options: DeciderOptions): Decider | null {
    try {
      return wasmDecider(ruleset, host, options);
    } catch (error) {
      if (!this.#mayFallBack || !(error instanceof UnsupportedError)) throw error;
      return null;
    }
  }

  /** What rules and policies have counted. */
  counters(): readonly RuleCounter[] {
    return (this.#engine ?? this.#reference)!.counters();
  }

  /** To be called with all packets in their order, in portions of any size. */
  answer(arrivals: readonly Arrival[]): Compared {
    if (this.#engine === null) return { ...this.#reference!.answer(arrivals), difference: null };
    const most = Math.max(0, this.#mostCompared - this.#packets);
    this.#packets += arrivals.length;
    if (this.#reference === null || most === 0) return { ...this.#engine.answer(arrivals), difference: null };

    const wanted = this.#reference.answer(arrivals.slice(0, most));
    // behind a packet that the reference cannot answer nothing is asked any more
    const given = this.#engine.answer(wanted.failure === null ? arrivals : arrivals.slice(0, wanted.answers.length));
    const differs = wanted.answers.findIndex((answer, index) => {
      return index < given.answers.length && !sameAnswer(given.answers[index]!, answer);
    });
    if (differs < 0 && this.#mayFallBack && given.failure instanceof UnsupportedError) {
      // what the engine does not know it cannot follow: from here on the reference answers alone
      this.#engine = null;
      const rest = wanted.failure === null ? this.#reference.answer(arrivals.slice(most)) : { ...wanted, answers: [] };
      return { answers: [...wanted.answers, ...rest.answers], failure: rest.failure, difference: null };
    }
    if (differs < 0) return { answers: given.answers, failure: given.failure ?? wanted.failure, difference: null };
    const difference = { engine: given.answers[differs]!, reference: wanted.answers[differs]! };
    return { answers: given.answers.slice(0, differs), failure: null, difference };
  }
}
