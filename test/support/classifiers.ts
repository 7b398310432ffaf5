// The ways to answer packets, all with one face.

import type { Outcome, Trace } from "../../src/classifier.ts";
import { compileFirewall } from "../../src/firewall.ts";
import type { Host } from "../../src/host/host.ts";
import type { Arrival } from "../../src/packet/packet.ts";
import { Reference } from "../../src/reference/reference.ts";
import type { Ruleset } from "../../src/rules/ruleset.ts";

/** What a classifier says of one packet. */
export interface Answer {
  readonly outcome: Outcome;
  readonly trace: Trace;
  readonly generatedTrace: Trace;
}

export interface Classifier {
  readonly name: string;
  /** Without it the traces are empty. */
  readonly traces: boolean;
  /** Answers in order; guards begin anew with each call. */
  readonly classify: (ruleset: Ruleset, host: Host, arrivals: readonly Arrival[]) => readonly Answer[];
}

/** For what the kernel would draw by lot: the same for all. */
const SEED = 7;

/** What is held to be right. */
export const REFERENCE: Classifier = {
  name: "the reference",
  traces: true,
  classify: (ruleset, host, arrivals) => {
    const reference = new Reference(ruleset, host, { stateless: true, seed: SEED });
    return arrivals.map((arrival) => reference.run(arrival));
  },
};

export const ENGINE: Classifier = {
  name: "the engine",
  traces: true,
  classify: (ruleset, host, arrivals) =>
    compileFirewall(ruleset, host, { seed: SEED, counting: true, stateless: true }).run(arrivals, { trace: true }),
};

/** Small programs have trees too. */
export const TREE_ENGINE: Classifier = {
  name: "the engine of trees",
  traces: true,
  classify: (ruleset, host, arrivals) =>
    compileFirewall(ruleset, host, { seed: SEED, stateless: true, fewBoxes: 0 }).run(arrivals, { trace: true }),
};

/** Clauses without effect are left out: the answers are the same, without traces. */
export const DECIDING_ENGINE: Classifier = {
  name: "the deciding engine",
  traces: false,
  classify: (ruleset, host, arrivals) =>
    compileFirewall(ruleset, host, { seed: SEED, counting: false, stateless: true }).run(arrivals),
};

export const CLASSIFIERS: readonly Classifier[] = [REFERENCE, ENGINE, TREE_ENGINE, DECIDING_ENGINE];
