// A rule set -> what of it does nothing, or not what it seems to: findings, each proved, as they are found.

import type { RuleRef } from "../classifier.ts";
import { BudgetError } from "../diff/diagram.ts";
import type { DiagramBudget } from "../diff/diagram.ts";
import type { Host } from "../host/host.ts";
import { RuleError } from "../rules/error.ts";
import type { Ruleset, TableName } from "../rules/ruleset.ts";
import { loopsOf } from "./loops.ts";
import { publishedPorts } from "./published.ts";
import { TableLint } from "./table.ts";
import type { Idle, IdleKind } from "./table.ts";

export type FindingKind = IdleKind | "loop" | "published";

/** What each kind says of a rule or chain. */
export const FINDINGS: Readonly<Record<FindingKind, string>> = {
  never: "no packet that comes into the chain has what the rule asks for",
  shadowed: "rules before it take every packet that it would match",
  redundant: "without it the same is done to every packet",
  nowhere: "it jumps to a chain without rules",
  unreachable: "no packet comes into the chain",
  loop: "the chains call each other without end; nothing enters them so far",
  published: "it sends packets round INPUT, which would have ended them",
};

export interface Finding {
  readonly found: "finding";
  readonly kind: FindingKind;
  readonly table: TableName;
  readonly chain: string;
  /** From 1; null: the whole chain. */
  readonly number: number | null;
  /** Those because of which it is so, at most ten. */
  readonly by: readonly RuleRef[];
  /** Of `published`: a packet line. */
  readonly witness?: Readonly<Record<string, unknown>>;
}

/** Chains of which not all is proved, and why. */
export interface Unproved {
  readonly found: "undecided";
  readonly table: TableName;
  /** null: which ports are published. */
  readonly chain: string | null;
  readonly reason: string;
}

export const LINT_BUDGET: DiagramBudget = { nodes: 12_000_000, steps: 100_000_000 };

export interface LintOptions {
  /** Without it published ports are not looked for. */
  readonly host?: Host;
  /** For each table. */
  readonly budget?: DiagramBudget;
  readonly signal?: AbortSignal;
  /** How many of the chains are done, before each. */
  readonly progress?: (done: number, all: number) => void;
}

/** Ends without a word where nothing is found: what is not told need not be of use. Throws RuleError, UnsupportedError. */
export async function* lintRuleset(ruleset: Ruleset, options: LintOptions = {}): AsyncGenerator<Finding | Unproved> {
  const [first] = ruleset.tables;
  if (ruleset.family === 6 && first !== undefined)
    throw new RuleError("rules of IPv6 are not looked through yet", first.position, `*${first.name}`);
  const all = ruleset.tables.reduce((sum, { chains }) => sum + chains.length, 0);
  const budget = options.budget ?? LINT_BUDGET;
  let done = 0;
  for (const table of ruleset.tables) {
    for (const { rule, calls } of loopsOf(table)) yield findingOf("loop", rule, calls);
    const lint = new TableLint(ruleset, table, budget);
    for (const [index, chain] of lint.chains.entries()) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      if (options.signal?.aborted === true) return;
      options.progress?.(done++, all);
      let idle: readonly Idle[];
      try {
        idle = lint.idleIn(chain);
      } catch (error) {
        if (!(error instanceof BudgetError)) throw error;
        // what comes into the chains that it calls is not known now
        for (const { name } of lint.chains.slice(index))
          yield { found: "undecided", table: table.name, chain: name, reason: error.message };
        break;
      }
      for (const { kind, rule, by } of idle)
        yield rule === null
          ? { found: "finding", kind, table: table.name, chain: chain.name, number: null, by }
          : findingOf(kind, rule, by);
    }
  }
  if (options.host !== undefined) yield* published(ruleset, options.host, budget);
}

function* published(ruleset: Ruleset, host: Host, budget: DiagramBudget): Generator<Finding | Unproved> {
  try {
    for (const { rule, by, witness } of publishedPorts(ruleset, host, budget))
      yield { ...findingOf("published", rule, [by]), witness };
  } catch (error) {
    if (!(error instanceof BudgetError)) throw error;
    yield { found: "undecided", table: "nat", chain: null, reason: error.message };
  }
}

function findingOf(kind: FindingKind, { table, chain, number }: RuleRef, by: readonly RuleRef[]): Finding {
  return { found: "finding", kind, table, chain, number: number === "policy" ? null : number, by };
}
