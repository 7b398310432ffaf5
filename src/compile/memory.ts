// Which rule keeps which memory: one number for each match that remembers, and one for what a rule draws by lot.
// Copies of a rule in several hooks share it.

import type { Rule, Ruleset } from "../rules/ruleset.ts";
import { DRAWS } from "./condition.ts";

export class MemoryTable {
  readonly count: number;
  readonly #numbers = new Map<Rule, Map<number, number>>();

  constructor(ruleset: Ruleset) {
    let next = 0;
    for (const table of ruleset.tables) {
      for (const chain of table.chains) {
        for (const rule of chain.rules) {
          const own = new Map<number, number>();
          rule.matches.forEach((match, index) => {
            if (match.kind === "limit" || (match.kind === "statistic" && match.mode === "nth")) own.set(index, next++);
            else if (match.kind === "statistic" && !own.has(DRAWS)) own.set(DRAWS, next++);
          });
          const target = rule.target?.kind;
          const draws = target === "SNAT" || target === "DNAT" || target === "MASQUERADE" || target === "REDIRECT";
          if (draws && !own.has(DRAWS)) own.set(DRAWS, next++);
          if (own.size > 0) this.#numbers.set(rule, own);
        }
      }
    }
    this.count = next;
  }

  numberOf(rule: Rule, match: number): number {
    const number = this.#numbers.get(rule)?.get(match);
    if (number === undefined) throw new Error("this rule keeps no memory");
    return number;
  }
}
