// Traces -> what each rule and policy has counted, and that as text.

import type { RuleCounter, Trace } from "../classifier.ts";
import { printRuleset } from "../rules/print.ts";
import { TABLES } from "../rules/ruleset.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import { nameOfRule } from "./places.ts";

/** Counts what packets met: a rule or policy in a trace has seen the packet once. */
export class Counts {
  readonly #counts = new Map<string, { packets: number; bytes: number }>();

  /** @param length of the packet in bytes */
  add(trace: Trace, length: number): void {
    for (const ref of trace) {
      const name = nameOfRule(ref);
      const count = this.#counts.get(name) ?? { packets: 0, bytes: 0 };
      count.packets++;
      count.bytes += length;
      this.#counts.set(name, count);
    }
  }

  /** Of all rules and policies of the rule set, tables in the kernel's order. */
  list(ruleset: Ruleset): readonly RuleCounter[] {
    const tables = TABLES.flatMap((name) => ruleset.tables.filter((table) => table.name === name));
    return tables.flatMap((table) =>
      table.chains.flatMap((chain) => {
        const numbers = [
          ...chain.rules.map((_, index) => index + 1),
          ...(chain.policy === null ? [] : ["policy" as const]),
        ];
        return numbers.map((number) => {
          const ref = { table: table.name, chain: chain.name, number };
          return { ref, ...(this.#counts.get(nameOfRule(ref)) ?? { packets: 0, bytes: 0 }) };
        });
      }),
    );
  }
}

/** The rule set as `iptables-save -c` prints it. */
export function printCounters(ruleset: Ruleset, counters: readonly RuleCounter[]): string {
  const byName = new Map(counters.map((counter) => [nameOfRule(counter.ref), counter]));
  return printRuleset(ruleset, {
    counters: (table, chain, number) => {
      const { packets = 0, bytes = 0 } = byName.get(nameOfRule({ table, chain, number })) ?? {};
      return { packets: BigInt(packets), bytes: BigInt(bytes) };
    },
  });
}
