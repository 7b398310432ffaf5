// Counters -> the rule set as `iptables-save -c` prints it.

import type { RuleCounter } from "../classifier.ts";
import { printRuleset } from "../rules/print.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import { nameOfRule } from "./places.ts";

export function printCounters(ruleset: Ruleset, counters: readonly RuleCounter[]): string {
  const byName = new Map(counters.map((counter) => [nameOfRule(counter.ref), counter]));
  return printRuleset(ruleset, {
    counters: (table, chain, number) => {
      const { packets = 0, bytes = 0 } = byName.get(nameOfRule({ table, chain, number })) ?? {};
      return { packets: BigInt(packets), bytes: BigInt(bytes) };
    },
  });
}
