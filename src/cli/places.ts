// RuleRef -> the rule it means, and where and how that stands in the rule file.

import type { RuleRef } from "../classifier.ts";
import { printRule } from "../rules/print.ts";
import type { Chain, Rule, Ruleset, TableName } from "../rules/ruleset.ts";
import { nameOf } from "./files.ts";

export class Places {
  readonly #chains = new Map<string, Chain>();

  constructor(ruleset: Ruleset) {
    for (const table of ruleset.tables) {
      for (const chain of table.chains) this.#chains.set(`${table.name} ${chain.name}`, chain);
    }
  }

  /** False for the policy of a table that the rule set does not have. */
  has(ref: RuleRef): boolean {
    return this.#chains.has(`${ref.table} ${ref.chain}`);
  }

  chainOf(table: TableName, name: string): Chain {
    const chain = this.#chains.get(`${table} ${name}`);
    if (chain === undefined) throw new Error(`there is no chain ${name} in table ${table}`);
    return chain;
  }

  /** null for a policy. */
  ruleOf(ref: RuleRef): Rule | null {
    if (ref.number === "policy") return null;
    const rule = this.chainOf(ref.table, ref.chain).rules[ref.number - 1];
    if (rule === undefined) throw new Error(`there is no rule ${nameOfRule(ref)}`);
    return rule;
  }

  /** `rules.txt:12`; empty for a policy, which need not stand anywhere. */
  placeOf(ref: RuleRef): string {
    const position = this.ruleOf(ref)?.position;
    return position === undefined ? "" : `${nameOf(position.file)}:${position.line}`;
  }

  /** The line as written, or the policy. */
  textOf(ref: RuleRef): string {
    const rule = this.ruleOf(ref);
    return rule === null ? `policy ${this.chainOf(ref.table, ref.chain).policy}` : rule.text.trim();
  }

  /** What stands behind `-A CHAIN ` when iptables-save prints the rule; of a policy its verdict. */
  specOf(ref: RuleRef): string {
    const rule = this.ruleOf(ref);
    if (rule === null) return this.chainOf(ref.table, ref.chain).policy ?? "-";
    return printRule(ref.chain, rule).slice(`-A ${ref.chain} `.length);
  }
}

/** `nat DOCKER:2`, `filter FORWARD:policy`. */
export function nameOfRule(ref: RuleRef): string {
  return `${ref.table} ${ref.chain}:${ref.number}`;
}
