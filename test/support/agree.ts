// A world and a question of it -> silence, or the smallest world that still gives a wrong answer, as a case to paste.

import { inspect, isDeepStrictEqual } from "node:util";
import { UnsupportedError } from "../../src/reference/error.ts";
import { parseRuleset } from "../../src/rules/parse.ts";
import { printRuleset } from "../../src/rules/print.ts";
import type { Ruleset } from "../../src/rules/ruleset.ts";
import type { World } from "./arbitrary.ts";
import { readWorld } from "./arrivals.ts";
import { printCase } from "./casefile.ts";
import { REFERENCE, type Answer, type Classifier } from "./classifiers.ts";
import { askKernel, differenceFromKernel } from "./kernel.ts";
import { shrink } from "./shrink.ts";

/** What is wrong with the answers in this world; null: nothing. */
export type Question = (world: World) => string | null;

/** Throws with the world made small, if anything is wrong. `tries` bounds how often the question is asked then. */
export function assertRight(world: World, question: Question, tries = 2000): void {
  const wrong = question(world);
  if (wrong === null) return;
  // the rules are read from what is printed, so that what is left can be pasted
  const printed = (smaller: World): string | null => {
    try {
      const ruleset = parseRuleset(printRuleset(smaller.ruleset), { file: "shrunk" });
      return question({ ...smaller, ruleset });
    } catch {
      // no world: its rules or its host are refused, or a packet comes by an interface that is gone
      return null;
    }
  };
  const small = shrink(world, (smaller) => printed(smaller) !== null, tries);
  const text = printCase(printRuleset(small.ruleset), small.host, small.packets, answersOf(small));
  throw new Error(`${printed(small) ?? wrong}\n\n${text}`);
}

/** Whether a classifier agrees with the reference in every field of every answer, and in the traces. */
export function agreesWithReference(checked: Classifier): Question {
  return (drawn) => {
    const { world, right } = answerable(drawn);
    let given: readonly Answer[];
    try {
      const { host, arrivals } = readWorld(world.host, world.packets);
      given = checked.classify(world.ruleset, host, arrivals);
    } catch (error) {
      return `${checked.name} throws ${inspect(error)}`;
    }
    for (const [index, expected] of right.entries()) {
      const answer = given[index];
      if (isDeepStrictEqual(answer?.outcome, expected.outcome)) {
        if (!checked.traces || isDeepStrictEqual(answer?.trace, expected.trace)) continue;
      }
      return `packet ${index + 1}: ${checked.name} says ${fields(answer, expected, checked.traces)}`;
    }
    return null;
  };
}

/** Whether the reference says what the kernel says. */
export const referenceIsRight: Question = (drawn) => {
  // the kernel sees every byte
  const { world, right } = answerable(drawn, true);
  const kernel = askKernel(printRuleset(world.ruleset), world.host, world.packets);
  const answersArrive = !mayDropAnswers(world.ruleset);
  for (const [index, answer] of right.entries()) {
    const difference = differenceFromKernel(kernel[index]!, answer, answersArrive);
    if (difference !== null) return `packet ${index + 1}: ${difference}`;
  }
  return null;
};

/** The host's own answers pass OUTPUT and POSTROUTING, where rules may drop them: then nobody sees that there was one. */
function mayDropAnswers({ tables }: Ruleset): boolean {
  return tables.some(({ chains }) => {
    const passed = new Set(["OUTPUT", "POSTROUTING"]);
    // a set grows while it is walked
    for (const name of passed) {
      const chain = chains.find((each) => each.name === name);
      if (chain?.policy === "DROP") return true;
      for (const { target } of chain?.rules ?? []) {
        if (target?.kind === "DROP" || target?.kind === "REJECT") return true;
        if (target?.kind === "jump" || target?.kind === "goto") passed.add(target.chain);
      }
    }
    return false;
  });
}

/** The reference's answers, and the world without the packets whose answers are not modelled. */
export function answerable(
  drawn: World,
  exactly = false,
): { readonly world: World; readonly right: readonly Answer[] } {
  let world = drawn;
  for (;;) {
    try {
      const { host, arrivals } = readWorld(world.host, world.packets, exactly);
      return { world, right: REFERENCE.classify(world.ruleset, host, arrivals) };
    } catch (error) {
      if (!(error instanceof UnsupportedError) || error.id === null) throw error;
      world = { ...world, packets: world.packets.filter(({ id }) => id !== error.id) };
    }
  }
}

function answersOf(world: World): readonly Answer[] {
  try {
    return answerable(world, true).right;
  } catch {
    return [];
  }
}

/** Each field that differs, with both values. */
function fields(answer: Answer | undefined, expected: Answer, traced: boolean): string {
  if (answer === undefined) return "nothing";
  const left: Record<string, unknown> = { ...answer.outcome, ...(traced ? { trace: answer.trace } : {}) };
  const right: Record<string, unknown> = { ...expected.outcome, ...(traced ? { trace: expected.trace } : {}) };
  return [...new Set([...Object.keys(left), ...Object.keys(right)])]
    .filter((key) => !isDeepStrictEqual(left[key], right[key]))
    .map((key) => `${key} ${shown(left[key])}, not ${shown(right[key])}`)
    .join("; ");
}

function shown(value: unknown): string {
  return inspect(value, { breakLength: Infinity, depth: 5 });
}
