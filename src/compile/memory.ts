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
  readonly #ruleCount: number;
  /** By #keyOf. */
  readonly #numbers = new Map<number, number>();

  constructor(ruleset: Ruleset) {
    this.#ruleCount = rulesOf(ruleset).length;
    let next = 0;
    let number = 0;
    for (const name of TABLES) {
      for (const { rules } of ruleset.tables.find((each) => each.name === name)?.chains ?? []) {
        for (const { matches, target } of rules) {
          const keep = (match: number): void => {
            const key = this.#keyOf(number, match);
            if (!this.#numbers.has(key)) this.#numbers.set(key, next++);
          };
          matches.forEach((match, index) => {
            const isNth = match.kind === "statistic" && match.mode === "nth";
            if (isNth || OWN_MEMORY.includes(match.kind)) keep(index);
            else if (match.kind === "statistic") keep(DRAWS);
          });
          if (target !== null && REMEMBERING.includes(target.kind)) keep(DRAWS);
          number++;
        }
      }
    }
    this.count = next;
    this.lists = this.#readLists(ruleset);
    this.hashTables = this.#readHashTables(ruleset);
  }

  /** One number for a match of a rule, or for what the rule draws (DRAWS, the number before that of its first match). */
  #keyOf(rule: number, match: number): number {
    return rule + (match - DRAWS) * this.#ruleCount;
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
    for (const { matches } of rulesOf(ruleset)) {
      for (const match of matches) {
        if (match.kind !== "hashlimit" || this.#hashNumbers.has(match.name)) continue;
        this.#hashNumbers.set(match.name, tables.push(match) - 1);
      }
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
    const number = this.#numbers.get(this.#keyOf(rule, match));
    if (number === undefined) throw new Error("this rule keeps no memory");
    return number;
  }
}
