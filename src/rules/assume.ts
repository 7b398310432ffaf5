// What cannot be known from the input, decided by the user: `--assume NAME=match|no-match`.
//
// NAME is that of a match, or a rule: `filter INPUT:3`, whose matches that are not known then count so. The match stays
// where it stands, since one before it may remember, and is printed as it was.

import { isUnknown, namedBy } from "./modelled.ts";
import { nameOfMatch } from "./names.ts";
import { TABLES } from "./ruleset.ts";
import type { Match, Rule, Ruleset, TableName } from "./ruleset.ts";

export interface Assumption {
  /** As given. */
  readonly text: string;
  readonly of:
    | { readonly kind: "match"; readonly name: string }
    | { readonly kind: "rule"; readonly table: TableName; readonly chain: string; readonly number: number };
  readonly holds: boolean;
}

/** null for what has not the form of one. */
export function parseAssumption(text: string): Assumption | null {
  const [, name = "", answer] = /^\s*(.+?)\s*=\s*(match|no-match)\s*$/.exec(text) ?? [];
  if (answer === undefined) return null;
  const holds = answer === "match";
  const [, tableName, chain, number] = /^(\w+)[ :](\S+):(\d+)$/.exec(name) ?? [];
  if (chain === undefined) return /^[\w-]+$/.test(name) ? { text, of: { kind: "match", name }, holds } : null;
  const table = TABLES.find((each) => each === tableName);
  if (table === undefined || Number(number) === 0) return null;
  return { text, of: { kind: "rule", table, chain, number: Number(number) }, holds };
}

/** An assumption, and the rules that it has changed: `filter INPUT:3`. */
export interface Assumed {
  readonly assumption: Assumption;
  readonly rules: readonly string[];
}

/** What each assumption has changed; one that no rule needs changes none. */
export function assume(
  ruleset: Ruleset,
  assumptions: readonly Assumption[],
): { readonly ruleset: Ruleset; readonly assumed: readonly Assumed[] } {
  const assumed = assumptions.map((assumption) => ({ assumption, rules: [] as string[] }));
  if (assumed.length === 0) return { ruleset, assumed };
  const named = namedBy(ruleset);

  const changed = (rule: Rule, table: TableName, chain: string, number: number): Rule => {
    const matches = rule.matches.map((match): Match => {
      const last = assumed.findLast(({ assumption: { of } }) =>
        of.kind === "match"
          ? of.name === nameOfMatch(match)
          : of.table === table && of.chain === chain && of.number === number && isUnknown(match, named),
      );
      if (last === undefined) return match;
      const name = `${table} ${chain}:${number}`;
      if (last.rules.at(-1) !== name) last.rules.push(name);
      return { kind: "assumed", holds: last.assumption.holds, of: match };
    });
    return matches.some((match, index) => match !== rule.matches[index]) ? { ...rule, matches } : rule;
  };
  const tables = ruleset.tables.map((table) => ({
    ...table,
    chains: table.chains.map((chain) => ({
      ...chain,
      rules: chain.rules.map((rule, index) => changed(rule, table.name, chain.name, index + 1)),
    })),
  }));
  return { ruleset: { ...ruleset, tables }, assumed };
}
