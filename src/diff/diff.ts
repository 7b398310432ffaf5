// Two rule sets -> what behaves differently, chain by chain: disjoint regions as they are found.
//
// Each region has a packet that the reference has walked through both rule sets, and the engine too where nothing in the
// region hangs on guards, before it is told. Where the budget does not suffice for a chain, that is told in its place.

import type { RuleRef } from "../classifier.ts";
import { RuleError } from "../rules/error.ts";
import { BUILTIN_CHAINS, TABLES } from "../rules/ruleset.ts";
import type { Hook, Ruleset, TableName } from "../rules/ruleset.ts";
import { compareChain } from "./compare.ts";
import type { ChainComparison, Decided, Pair } from "./compare.ts";
import { BudgetError, FALSE } from "./diagram.ts";
import type { DiagramBudget } from "./diagram.ts";
import type { DifferenceKind } from "./difference.ts";
import { EngineJudge } from "./engine.ts";
import { lastingNotes } from "./notes.ts";
import { boxesOf, describe, guardWords, MOST_REGIONS, nodeOf } from "./region.ts";
import type { Region } from "./region.ts";
import { Judge, pointOf, witnessOf } from "./witness.ts";

export const DEFAULT_BUDGET: DiagramBudget = { nodes: 12_000_000, steps: 150_000_000 };

export interface DiffOptions {
  /** One chain alone. */
  readonly chain?: { readonly table: TableName; readonly hook: Hook };
  /** For each chain. */
  readonly budget?: DiagramBudget;
  readonly signal?: AbortSignal;
  /** How many of the chains are done, before each. */
  readonly progress?: (done: number, all: number) => void;
}

/** What a rule set does with a region. */
export interface DiffAnswer {
  /** ACCEPT, DROP, REJECT, or the target's name. */
  readonly verdict: string;
  readonly rule: RuleRef;
  /** The options of the target. */
  readonly options?: string;
  /** What is told on the way, where that differs. */
  readonly logs?: readonly string[];
  /** What is written down for later packets, where that differs. */
  readonly notes?: readonly string[];
  /** What else is done on the way, where that differs. */
  readonly changes?: readonly string[];
}

export interface Difference {
  readonly found: "difference";
  readonly table: TableName;
  readonly chain: Hook;
  readonly kind: DifferenceKind;
  readonly old: DiffAnswer;
  readonly new: DiffAnswer;
  readonly region: Region;
  /** What matches say that no field tells, and that each packet may find otherwise. */
  readonly guards: readonly { readonly guard: string; readonly holds: boolean }[];
  /** Of all packets that can come into the chain. */
  readonly share: number;
  /** A packet line, and what the line cannot tell. */
  readonly witness: Readonly<Record<string, unknown>>;
  readonly around: Readonly<Record<string, unknown>>;
}

/** No proof for a chain, and why. */
export interface Undecided {
  readonly found: "undecided";
  readonly table: TableName;
  readonly chain: Hook;
  readonly reason: string;
}

/** Ends without a word where nothing differs: then that is proved, if nothing is undecided. Throws RuleError. */
export async function* diffRulesets(
  oldRuleset: Ruleset,
  newRuleset: Ruleset,
  options: DiffOptions = {},
): AsyncGenerator<Difference | Undecided> {
  const chains = chainsToCompare(oldRuleset, newRuleset, options);
  for (const [index, { table, hook }] of chains.entries()) {
    await pause();
    if (options.signal?.aborted === true) return;
    options.progress?.(index, chains.length);
    let comparison: ChainComparison;
    try {
      comparison = compareChain(oldRuleset, newRuleset, table, hook, { budget: options.budget ?? DEFAULT_BUDGET });
    } catch (error) {
      if (!(error instanceof BudgetError)) throw error;
      yield { found: "undecided", table, chain: hook, reason: error.message };
      continue;
    }
    yield* differencesOf(comparison, options);
  }
}

async function pause(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 0));
}

function chainsToCompare(
  oldRuleset: Ruleset,
  newRuleset: Ruleset,
  { chain }: DiffOptions,
): readonly { readonly table: TableName; readonly hook: Hook }[] {
  for (const { family, tables } of [oldRuleset, newRuleset]) {
    const [first] = tables;
    if (family === 6 && first !== undefined)
      throw new RuleError("rules of IPv6 are not compared yet", first.position, `*${first.name}`);
  }
  if (chain !== undefined) return [chain];
  const there = (name: TableName): boolean =>
    [oldRuleset, newRuleset].some(({ tables }) => tables.some((table) => table.name === name));
  return TABLES.filter(there).flatMap((table) => BUILTIN_CHAINS[table].map((hook) => ({ table, hook })));
}

async function* differencesOf(
  comparison: ChainComparison,
  { signal }: DiffOptions,
): AsyncGenerator<Difference | Undecided> {
  const { table, hook, alignment, space, guards, fields, concerned, pairs, universe } = comparison;
  const judges = [alignment.old, alignment.new].map((side) => new Judge(side, hook, guards));
  const engines = [alignment.old, alignment.new].map((side) => new EngineJudge(side, hook, concerned));
  const whole = space.diagram.density(universe);
  for (const pair of pairs) {
    const boxes = boxesOf(pair.where, space, MOST_REGIONS);
    if (boxes === null) {
      const names = `${nameOf(pair.old.rule)} and ${nameOf(pair.new.rule)}`;
      yield { found: "undecided", table, chain: hook, reason: `more than ${MOST_REGIONS} regions differ by ${names}` };
      continue;
    }
    for (const box of boxes) {
      const packets = space.diagram.and(nodeOf(box, space), universe);
      // what no packet can be was left free
      if (packets === FALSE) continue;
      const witness = witnessOf(pointOf(packets, space), space, hook);
      const decided = judges.map((judge) => judge.decide(witness, box));
      confirm(
        pair,
        decided.map(({ rule }) => rule),
        witness.line,
        "reference",
      );
      if (box.guards.length === 0 && pair.kind !== "probability") {
        const said = engines.map((engine) => engine.decide(witness));
        if (said.every((rule) => rule !== null)) confirm(pair, said, witness.line, "engine");
      }
      yield {
        ...{ found: "difference", table, chain: hook, kind: pair.kind },
        ...{ old: answerOf(pair.old, pair.kind), new: answerOf(pair.new, pair.kind) },
        region: describe(box, packets, space, fields),
        guards: guardWords(box, guards),
        share: space.diagram.density(packets) / 2 ** box.guards.length / whole,
        ...{ witness: witness.line, around: witness.around },
      };
      if (signal?.aborted === true) return;
    }
    await pause();
    if (signal?.aborted === true) return;
  }
}

/** A difference that does not show is a mistake of ours. */
function confirm(pair: Pair, rules: readonly RuleRef[], line: object, who: string): void {
  if (pair.kind === "probability") return;
  [pair.old, pair.new].forEach(({ rule }, index) => {
    const found = rules[index]!;
    if (found.chain === rule.chain && found.number === rule.number) return;
    throw new Error(
      `the ${who} says that ${nameOf(found)} decides, and not ${nameOf(rule)}, of ${JSON.stringify(line)}`,
    );
  });
}

function nameOf({ chain, number }: RuleRef): string {
  return `${chain}:${number}`;
}

function answerOf({ outcome, rule }: Decided, kind: DifferenceKind): DiffAnswer {
  const { ending, effects } = outcome;
  const verdict = ending.kind === "target" ? ending.name : ending.kind;
  const options =
    ending.kind === "REJECT" ? `--reject-with ${ending.with}` : ending.kind === "target" ? ending.options.trim() : "";
  return {
    verdict,
    rule,
    ...(options === "" ? {} : { options }),
    ...(kind === "log" ? { logs: effects.logs } : {}),
    ...(kind === "note" ? { notes: lastingNotes(effects.notes) } : {}),
    ...(kind === "change"
      ? { changes: [...effects.others, ...(effects.tracking === null ? [] : [effects.tracking])] }
      : {}),
  };
}
