// Counters of a run -> the rules that no packet met, each with the reason as far as the counters prove it.

import type { RuleCounter, RuleRef } from "../classifier.ts";
import type { Chain, Header, Rule, Ruleset, Table } from "../rules/ruleset.ts";
import { nameOfRule } from "./places.ts";

export interface NeverHit {
  readonly ref: RuleRef;
  readonly reason: string;
}

/** In the order of the rule set. */
export function neverHit(ruleset: Ruleset, counters: readonly RuleCounter[]): readonly NeverHit[] {
  const packets = new Map(counters.map((counter) => [nameOfRule(counter.ref), counter.packets]));
  const hits = (ref: RuleRef): number => packets.get(nameOfRule(ref)) ?? 0;
  return ruleset.tables.flatMap((table) => {
    const callers = callersOf(table);
    return table.chains.flatMap((chain) => {
      const refs = refsOf(table, chain);
      const unmet = refs.filter((ref) => hits(ref) === 0);
      if (unmet.length === 0) return [];
      const whole = reasonForChain(table, chain, callers.get(chain.name) ?? [], hits);
      const wall = chain.rules.findIndex(takesEverything);
      return unmet.map((ref) => ({ ref, reason: whole ?? reasonForRule(chain, ref, wall) }));
    });
  });
}

/** The rules that lead to each chain, by its name. */
function callersOf(table: Table): ReadonlyMap<string, readonly RuleRef[]> {
  const callers = new Map<string, RuleRef[]>();
  for (const chain of table.chains) {
    for (const [index, ref] of refsOf(table, chain).entries()) {
      const { target } = chain.rules[index]!;
      if (target?.kind !== "jump" && target?.kind !== "goto") continue;
      const others = callers.get(target.chain);
      if (others === undefined) callers.set(target.chain, [ref]);
      else others.push(ref);
    }
  }
  return callers;
}

/** Why no packet came to the chain at all; null: one may have. */
function reasonForChain(
  table: Table,
  chain: Chain,
  callers: readonly RuleRef[],
  hits: (ref: RuleRef) => number,
): string | null {
  if (refsOf(table, chain).some((ref) => hits(ref) > 0)) return null;
  if (chain.policy !== null) {
    if (hits({ table: table.name, chain: chain.name, number: "policy" }) > 0) return null;
    if (chain.name === "OUTPUT") return "no packet was sent by the host itself";
    return `no packet came to ${chain.name} of ${table.name}`;
  }
  if (callers.length === 0) return `no rule leads to chain ${chain.name}`;
  if (callers.some((ref) => hits(ref) > 0)) return null;
  const names = callers.slice(0, 3).map(({ chain, number }) => `${chain}:${number}`);
  const more = callers.length > 3 ? ` and ${callers.length - 3} more` : "";
  return `no packet met the rules that lead to chain ${chain.name} (${names.join(", ")}${more})`;
}

/** @param wall the first rule of the chain that takes everything; -1: none does */
function reasonForRule(chain: Chain, { number }: RuleRef, wall: number): string {
  if (number !== "policy" && wall >= 0 && wall < number - 1)
    return `${chain.name}:${wall + 1} before it takes every packet`;
  return "no packet of this run met its conditions; whether one can is not asked here";
}

/** Targets behind which a chain surely does not go on; others only change or note something, or may call back. */
const ENDING: ReadonlySet<string> = new Set(["ACCEPT", "DROP", "REJECT", "RETURN", "goto"]);

/** A rule without any condition, behind which its chain never goes on. */
function takesEverything({ header, matches, target }: Rule): boolean {
  if (target === null || !ENDING.has(target.kind)) return false;
  return isEmpty(header) && matches.every(({ kind }) => kind === "comment");
}

function isEmpty(header: Header): boolean {
  return Object.values(header).every((test) => test === null);
}

function refsOf(table: Table, chain: Chain): RuleRef[] {
  return chain.rules.map((_, index) => ({ table: table.name, chain: chain.name, number: index + 1 }));
}
