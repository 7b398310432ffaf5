// Rules and policies <-> numbers: rules in the order of TABLES, chains and lines, then the policies of built-in chains.
// Counters, traces and decisions speak in these numbers.

import type { RuleRef } from "../classifier.ts";
import { TABLES } from "../rules/ruleset.ts";
import type { Chain, Rule, Ruleset, TableName } from "../rules/ruleset.ts";

export class RuleTable {
  readonly ruleCount: number;
  /** Rules and policies. */
  readonly count: number;
  readonly #chains: { table: TableName; chain: Chain; first: number }[] = [];
  readonly #firstOf = new Map<Chain, number>();
  readonly #policies: { table: TableName; chain: Chain }[] = [];
  readonly #policyOf = new Map<Chain, number>();

  constructor(ruleset: Ruleset) {
    let next = 0;
    for (const name of TABLES) {
      const table = ruleset.tables.find((each) => each.name === name);
      for (const chain of table?.chains ?? []) {
        this.#chains.push({ table: name, chain, first: next });
        this.#firstOf.set(chain, next);
        next += chain.rules.length;
        if (chain.policy !== null) {
          this.#policyOf.set(chain, this.#policies.length);
          this.#policies.push({ table: name, chain });
        }
      }
    }
    this.ruleCount = next;
    this.count = next + this.#policies.length;
  }

  firstOf(chain: Chain): number {
    return this.#firstOf.get(chain)!;
  }

  policyOf(chain: Chain): number {
    return this.ruleCount + this.#policyOf.get(chain)!;
  }

  refOf(number: number): RuleRef {
    if (number >= this.ruleCount) {
      const { table, chain } = this.#policies[number - this.ruleCount]!;
      return { table, chain: chain.name, number: "policy" };
    }
    const { table, chain, first } = this.#chainOf(number);
    return { table, chain: chain.name, number: number - first + 1 };
  }

  /** null for a policy. */
  ruleOf(number: number): Rule | null {
    if (number >= this.ruleCount) return null;
    const { chain, first } = this.#chainOf(number);
    return chain.rules[number - first]!;
  }

  #chainOf(number: number): { table: TableName; chain: Chain; first: number } {
    let lo = 0;
    let hi = this.#chains.length - 1;
    while (lo < hi) {
      const middle = (lo + hi + 1) >> 1;
      if (this.#chains[middle]!.first <= number) lo = middle;
      else hi = middle - 1;
    }
    return this.#chains[lo]!;
  }
}
