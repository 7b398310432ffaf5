// The one place where the commands meet those who decide packets: the engine in WASM, and the reference.

import type { Host } from "../host/host.ts";
import { compileFirewall } from "../firewall.ts";
import type { Answer } from "../firewall.ts";
import type { Arrival } from "../packet/packet.ts";
import { Reference } from "../reference/reference.ts";
import type { Ruleset } from "../rules/ruleset.ts";

export const ENGINES = ["wasm", "reference", "both"] as const;
export type EngineName = (typeof ENGINES)[number];

/** Answers up to the first packet that is not modelled. */
export interface Answers {
  readonly answers: readonly Answer[];
  /** What was thrown about the packet behind the last answer; null: all are answered. */
  readonly failure: Error | null;
}

/**
 * Answers packets in order, each its whole way and the first of its flow; guards remember from call to call. `first` is the
 * index in the run of the first of them, by which lots are drawn; by default packets are counted on.
 */
export type Decider = (arrivals: readonly Arrival[], first?: number) => Answers;

/** @param trace whether answers tell the rules met */
export function wasmDecider(ruleset: Ruleset, host: Host, seed: number, trace: boolean): Decider {
  const firewall = compileFirewall(ruleset, host, { seed });
  return (arrivals, first) =>
    oneByOne(arrivals, (arrival, place) => {
      const options = first === undefined ? { trace } : { trace, first: first + place };
      return firewall.run([arrival], options)[0]!;
    });
}

export function referenceDecider(ruleset: Ruleset, host: Host, seed: number): Decider {
  const reference = referenceFor(ruleset, host, seed);
  return (arrivals, first) =>
    oneByOne(arrivals, (arrival, place) => reference.run(arrival, first === undefined ? undefined : first + place));
}

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

/** Some rule counts what it has seen (limit, nth): the answer to a packet depends on those before it. */
export function remembers(ruleset: Ruleset): boolean {
  const rules = ruleset.tables.flatMap((table) => table.chains.flatMap((chain) => chain.rules));
  return rules.some(({ matches }) =>
    matches.some((match) => match.kind === "limit" || (match.kind === "statistic" && match.mode === "nth")),
  );
}
