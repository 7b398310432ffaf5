// What rules and policies have counted: packets and bytes of all that met them, the host's own packets too.

import type { RuleCounter, RuleRef } from "../classifier.ts";
import { TABLES } from "../rules/ruleset.ts";
import type { Ruleset } from "../rules/ruleset.ts";

export class Counters {
  readonly #counters = new Map<string, { ref: RuleRef; packets: number; bytes: number }>();

  constructor(ruleset: Ruleset) {
    for (const name of TABLES) {
      for (const chain of ruleset.tables.find((table) => table.name === name)?.chains ?? []) {
        const numbers = [...chain.rules.keys()].map((index) => index + 1);
        for (const number of [...numbers, ...(chain.policy === null ? [] : (["policy"] as const))]) {
          const ref: RuleRef = { table: name, chain: chain.name, number };
          this.#counters.set(keyOf(ref), { ref, packets: 0, bytes: 0 });
        }
      }
    }
  }

  /** @param length of the packet in bytes, as it is there */
  count(ref: RuleRef, length: number): void {
    const counter = this.#counters.get(keyOf(ref))!;
    counter.packets++;
    counter.bytes += length;
  }

  list(): readonly RuleCounter[] {
    return [...this.#counters.values()];
  }
}

function keyOf({ table, chain, number }: RuleRef): string {
  return `${table} ${chain} ${number}`;
}
