// The one place where the commands meet those who decide packets: the engine in WASM, and the reference.

import type { Host } from "../host/host.ts";
import { compileFirewall } from "../firewall.ts";
import type { RuleCounter } from "../classifier.ts";
import type { Answer } from "../firewall.ts";
import type { Arrival } from "../packet/packet.ts";
import { Reference } from "../reference/reference.ts";
import { rulesOf } from "../rules/ruleset.ts";
import type { Ruleset } from "../rules/ruleset.ts";

export const ENGINES = ["wasm", "reference", "both"] as const;
export type EngineName = (typeof ENGINES)[number];

/** Which iptables has loaded the rules. */
export const BACKENDS = ["legacy", "nft"] as const;
export type Backend = (typeof BACKENDS)[number];

/** Answers up to the first packet that is not modelled. */
export interface Answers {
  readonly answers: readonly Answer[];
  /** What was thrown about the packet behind the last answer; null: all are answered. */
  readonly failure: Error | null;
}

/**
 * Answers packets in order; guards, and connections if they are followed, remember from call to call. `first` is the index
 * in the run of the first of them, by which lots are drawn; by default packets are counted on.
 */
export interface Decider {
  answer(arrivals: readonly Arrival[], first?: number): Answers;
  /** What rules and policies have counted. */
  counters(): readonly RuleCounter[];
}

export interface DeciderOptions {
  readonly seed: number;
  /** Each packet is the first of its connection. */
  readonly stateless: boolean;
  /** Answers tell the rules met. */
  readonly trace: boolean;
  readonly backend: Backend;
  /** Routing errors and redirects come as the kernel rations them; otherwise each packet gets its own. */
  readonly limitErrors: boolean;
}

/** Throws UnsupportedError for what only the reference can do. */
export function wasmDecider(ruleset: Ruleset, host: Host, options: DeciderOptions): Decider {
  const { seed, trace, stateless, backend, limitErrors } = options;
  const firewall = compileFirewall(ruleset, host, { seed, stateless, backend, limitErrors });
  return {
    answer: (arrivals, first) =>
      oneByOne(arrivals, (arrival, place) => {
        const options = first === undefined ? { trace } : { trace, first: first + place };
        return firewall.run([arrival], options)[0]!;
      }),
    counters: () => firewall.counters(),
  };
}

export function referenceDecider(ruleset: Ruleset, host: Host, options: DeciderOptions): Decider {
  const { seed, stateless, backend, limitErrors } = options;
  const reference = new Reference(ruleset, host, { seed, stateless, backend, limitErrors });
  return {
    answer: (arrivals, first) =>
      oneByOne(arrivals, (arrival, place) => reference.run(arrival, first === undefined ? undefined : first + place)),
    counters: () => reference.counters(),
  };
}

/** Of packets each the first of its connection. */
export function referenceFor(ruleset: Ruleset, host: Host, seed: number): Reference {
  return new Reference(ruleset, host, { stateless: true, seed });
}

/** So that a packet which is not modelled leaves the answers before it as they are; a batch costs hardly less. */
function oneByOne(arrivals: readonly Arrival[], answer: (arrival: Arrival, place: number) => Answer): Answers {
  const answers: Answer[] = [];
  try {
    for (const [place, arrival] of arrivals.entries()) answers.push(answer(arrival, place));
  } catch (failure) {
    return { answers, failure: failure as Error };
  }
  return { answers, failure: null };
}

/** Some rule remembers what it has seen, or a set forgets: the answer to a packet depends on those before it. */
export function remembers(ruleset: Ruleset): boolean {
  const { sets = [] } = ruleset;
  return (
    sets.some(({ timeout }) => timeout !== null) ||
    rulesOf(ruleset).some(
      ({ matches, target }) =>
        target?.kind === "SET" ||
        matches.some(
          (match) =>
            ["limit", "hashlimit", "recent", "quota"].includes(match.kind) ||
            (match.kind === "statistic" && match.mode === "nth"),
        ),
    )
  );
}
