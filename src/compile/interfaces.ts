// Interface names <-> numbers. Numbers follow the order of names, so that a wildcard is an interval of numbers.
//
// 0 is "no interface" (the kernel then compares with an empty name: `-i x` is false, `! -i x` and `-i +` are true).
// Without a host the names are those that the rules tell apart, and one representative for all others.

import type { InterfaceTest, Ruleset } from "../rules/ruleset.ts";
import { complement, unionOf } from "./intervals.ts";
import type { Intervals } from "./intervals.ts";

export class InterfaceTable {
  /** names[n - 1] is interface n. */
  readonly names: readonly string[];
  readonly #numbers: ReadonlyMap<string, number>;

  constructor(names: Iterable<string>) {
    this.names = [...new Set(names)].sort((a, b) => (a < b ? -1 : 1));
    this.#numbers = new Map(this.names.map((name, i) => [name, i + 1]));
  }

  /** 0 for null. Throws for a name that is not in the table. */
  numberOf(name: string | null): number {
    if (name === null) return 0;
    const number = this.#numbers.get(name);
    if (number === undefined) throw new Error(`interface ${name} is not in the table`);
    return number;
  }

  has(name: string): boolean {
    return this.#numbers.has(name);
  }

  nameOf(number: number): string | null {
    return number === 0 ? null : this.names[number - 1]!;
  }

  /** The numbers for which the test holds (ip_packet_match() in net/ipv4/netfilter/ip_tables.c). */
  numbersOf(test: InterfaceTest): Intervals {
    const pairs: [number, number][] = [];
    if (test.wildcard && test.name === "") pairs.push([0, this.names.length]);
    this.names.forEach((name, i) => {
      if (test.wildcard ? name.startsWith(test.name) : name === test.name) pairs.push([i + 1, i + 1]);
    });
    const set = unionOf(pairs);
    return test.negated ? complement(set, this.names.length) : set;
  }
}

/** One name for every set of names that the rules tell apart. */
export function interfacesOfRules(ruleset: Ruleset): InterfaceTable {
  const names = new Set<string>();
  for (const table of ruleset.tables) {
    for (const chain of table.chains) {
      for (const { header } of chain.rules) {
        for (const test of [header.inIface, header.outIface]) {
          if (test === null) continue;
          // of a wildcard: a name that it alone matches, shorter and longer ones stand for themselves
          names.add(test.name === "" ? "any" : test.name);
          if (test.wildcard) names.add(`${test.name}~`.slice(-15));
        }
      }
    }
  }
  names.add("~");
  return new InterfaceTable(names);
}
