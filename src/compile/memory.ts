// Which rule keeps which memory: one number for each match that remembers, and one for what a rule's target remembers or draws by lot.
// Copies of a rule in several hooks share it.

import { stampsKept } from "../net/recent.ts";
import { rulesOf, TABLES } from "../rules/ruleset.ts";
import type { HashlimitMatch, Match, Ruleset, Target } from "../rules/ruleset.ts";
import { DRAWS } from "./condition.ts";

/** Targets that may draw a port by lot, and CT, whose template keeps a connmark. */
const REMEMBERING: readonly Target["kind"][] = ["SNAT", "DNAT", "MASQUERADE", "REDIRECT", "NETMAP", "CT"];

/** Matches that remember each for itself; of connlimit the number alone is used. */
const OWN_MEMORY: readonly Match["kind"][] = ["limit", "quota", "connlimit"];

/** A list of `-m recent`. */
export interface RecentList {
  /** Of the first rule that names it. */
  readonly mask: number;
  /** Times kept of an address: the most that any of its rules needs. */
  readonly kept: number;
}

export class MemoryTable {
  readonly count: number;
  readonly lists: readonly RecentList[];
  /** Of `-m hashlimit`: the first rule of each name. */
  readonly hashTables: readonly HashlimitMatch[];
  readonly #listNumbers = new Map<string, number>();
  readonly #hashNumbers = new Map<string, number>();
  /** By the rule's number, then by match. */
  readonly #numbers = new Map<number, Map<number, number>>();

  constructor(ruleset: Ruleset) {
    let next = 0;
    let number = -1;
    for (const name of TABLES) {
      const table = ruleset.tables.find((each) => each.name === name);
      for (const rule of table?.chains.flatMap((chain) => chain.rules) ?? []) {
        number++;
        const own = new Map<number, number>();
        rule.matches.forEach((match, index) => {
          const isNth = match.kind === "statistic" && match.mode === "nth";
          if (isNth || OWN_MEMORY.includes(match.kind)) own.set(index, next++);
          else if (match.kind === "statistic" && !own.has(DRAWS)) own.set(DRAWS, next++);
        });
        const remembers = rule.target !== null && REMEMBERING.includes(rule.target.kind);
        if (remembers && !own.has(DRAWS)) own.set(DRAWS, next++);
        if (own.size > 0) this.#numbers.set(number, own);
      }
    }
    this.count = next;
    this.lists = this.#readLists(ruleset);
    this.hashTables = this.#readHashTables(ruleset);
  }

  #readLists(ruleset: Ruleset): RecentList[] {
    const lists: RecentList[] = [];
    for (const { matches } of rulesOf(ruleset)) {
      for (const match of matches) {
        if (match.kind !== "recent") continue;
        const known = this.#listNumbers.get(match.name);
        const kept = stampsKept(match.hitcount);
        if (known === undefined) this.#listNumbers.set(match.name, lists.push({ mask: match.mask, kept }) - 1);
        else lists[known] = { ...lists[known]!, kept: Math.max(lists[known]!.kept, kept) };
      }
    }
    return lists;
  }

  #readHashTables(ruleset: Ruleset): HashlimitMatch[] {
    const tables: HashlimitMatch[] = [];
    for (const match of rulesOf(ruleset).flatMap(({ matches }) => matches)) {
      if (match.kind !== "hashlimit" || this.#hashNumbers.has(match.name)) continue;
      this.#hashNumbers.set(match.name, tables.push(match) - 1);
    }
    return tables;
  }

  hashTableOf(name: string): number {
    return this.#hashNumbers.get(name)!;
  }

  listOf(name: string): number {
    return this.#listNumbers.get(name)!;
  }

  /** @param rule its number, see RuleTable */
  numberOf(rule: number, match: number): number {
    const number = this.#numbers.get(rule)?.get(match);
    if (number === undefined) throw new Error("this rule keeps no memory");
    return number;
  }
}
