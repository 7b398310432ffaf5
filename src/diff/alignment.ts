// Two rule sets -> which of their rules correspond: word for word the same, in chains of the same name, in one order.
//
// A packet that matches no rule but such ones goes the same way in both; so only packets that can reach another rule are
// looked at (`reach`). Comments and counters are no words here. Rules that were moved correspond too, memories and all, but
// what they match is looked at, and found to be equal if the move was harmless.

import type { RuleRef } from "../classifier.ts";
import { printRule } from "../rules/print.ts";
import { BUILTIN_CHAINS } from "../rules/ruleset.ts";
import type { Chain, Hook, Rule, Ruleset, Table, TableName } from "../rules/ruleset.ts";
import type { Side } from "./program.ts";

/** The rule or policy of a number, in each rule set; null where it has none. */
export interface Decider {
  readonly old: RuleRef | null;
  readonly new: RuleRef | null;
}

export interface Alignment {
  readonly old: AlignedSide;
  readonly new: AlignedSide;
  deciderOf(number: number): Decider;
}

export interface AlignedSide extends Side {
  /** Rules that correspond to none, or stand elsewhere in their chain, by chain. */
  readonly changed: ReadonlyMap<Chain, readonly Rule[]>;
}

/** A table that a rule set does not have lets everything pass. */
export function tableOf(ruleset: Ruleset, name: TableName): Table {
  const table = ruleset.tables.find((one) => one.name === name);
  if (table !== undefined) return table;
  const chains = BUILTIN_CHAINS[name].map((hook: Hook): Chain => ({
    name: hook,
    policy: "ACCEPT",
    counters: null,
    rules: [],
  }));
  return { name, chains, position: { file: "", line: 0, column: 0 } };
}

/** @param apart rules of the old table that correspond to none which stands elsewhere */
export function align(oldTable: Table, newTable: Table, apart: ReadonlySet<Rule> = new Set()): Alignment {
  const deciders: { old: RuleRef | null; new: RuleRef | null }[] = [{ old: null, new: null }];
  const numbers = { old: new Map<Rule, number>(), new: new Map<Rule, number>() };
  const policies = { old: new Map<string, number>(), new: new Map<string, number>() };
  const changed = { old: new Map<Chain, Rule[]>(), new: new Map<Chain, Rule[]>() };
  /** Numbers of common rules right before which the same rule stands in both. */
  const following = new Set<number>();
  const give = (side: "old" | "new", chain: Chain, index: number, number = deciders.length): number => {
    const ref: RuleRef = { table: oldTable.name, chain: chain.name, number: index + 1 };
    deciders[number] ??= { old: null, new: null };
    deciders[number][side] = ref;
    numbers[side].set(chain.rules[index]!, number);
    return number;
  };

  const newChains = new Map(newTable.chains.map((chain) => [chain.name, chain]));
  const oldChains = new Map(oldTable.chains.map((chain) => [chain.name, chain]));
  const keys = new Map<Rule, string>();
  const keyOf = (rule: Rule): string => {
    let key = keys.get(rule);
    if (key === undefined)
      keys.set(
        rule,
        (key = printRule("", { ...rule, matches: rule.matches.filter(({ kind }) => kind !== "comment") })),
      );
    return key;
  };
  for (const chain of oldTable.chains) {
    const other = newChains.get(chain.name);
    const pairs = other === undefined ? new Map<number, number>() : commonRules(chain.rules, other.rules, keyOf);
    const moved = other === undefined ? pairs : movedRules(chain.rules, other.rules, pairs, apart, keyOf);
    chain.rules.forEach((rule, index) => {
      const number = give("old", chain, index);
      const partner = pairs.get(index) ?? moved.get(index);
      if (partner !== undefined) give("new", other!, partner, number);
      if (!pairs.has(index)) append(changed.old, chain, rule);
      else if (pairs.get(index - 1) === partner! - 1) following.add(number);
    });
    const kept = new Set(pairs.values());
    other?.rules.forEach((rule, index) => {
      if (!kept.has(index)) append(changed.new, other, rule);
    });
    if (chain.policy !== null) {
      const ref: RuleRef = { table: oldTable.name, chain: chain.name, number: "policy" };
      policies.old.set(chain.name, deciders.length);
      policies.new.set(chain.name, deciders.length);
      deciders.push({ old: ref, new: ref });
    }
  }
  for (const chain of newTable.chains) {
    chain.rules.forEach((rule, index) => {
      if (!numbers.new.has(rule)) give("new", chain, index);
      if (!oldChains.has(chain.name)) append(changed.new, chain, rule);
    });
  }

  const same = sameChains(oldTable, oldChains, newChains, changed);
  const side = (which: "old" | "new", table: Table): AlignedSide => ({
    table,
    changed: changed[which],
    numberOf: (rule) => numbers[which].get(rule)!,
    isCommon: (rule) => {
      const { old, new: other } = deciders[numbers[which].get(rule)!]!;
      return old !== null && other !== null;
    },
    isFollowing: (rule) => following.has(numbers[which].get(rule)!),
    policyNumberOf: (chain) => policies[which].get(chain.name)!,
    isShared: (chain) => same.has(chain.name),
  });
  return { old: side("old", oldTable), new: side("new", newTable), deciderOf: (number) => deciders[number]! };
}

function append(map: Map<Chain, Rule[]>, chain: Chain, rule: Rule): void {
  const rules = map.get(chain);
  if (rules === undefined) map.set(chain, [rule]);
  else rules.push(rule);
}

/** Names of the user chains that, with all they call, have no rule that is not in both. */
function sameChains(
  table: Table,
  oldChains: ReadonlyMap<string, Chain>,
  newChains: ReadonlyMap<string, Chain>,
  changed: { readonly old: ReadonlyMap<Chain, unknown>; readonly new: ReadonlyMap<Chain, unknown> },
): ReadonlySet<string> {
  const callers = new Map<string, string[]>();
  for (const chains of [oldChains, newChains]) {
    for (const { name, rules } of chains.values()) {
      for (const { target } of rules) {
        if (target?.kind !== "jump" && target?.kind !== "goto") continue;
        const names = callers.get(target.chain);
        if (names === undefined) callers.set(target.chain, [name]);
        else names.push(name);
      }
    }
  }
  const differ = new Set<string>();
  const rest = [...changed.old.keys(), ...changed.new.keys()].map(({ name }) => name);
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (differ.has(name)) continue;
    differ.add(name);
    rest.push(...(callers.get(name) ?? []));
  }
  return new Set(table.chains.map(({ name }) => name).filter((name) => newChains.has(name) && !differ.has(name)));
}

/** Cells of the table in which common rules are looked for where no rule stands alone. */
const MOST_CELLS = 4_000_000;

/** Index in `a` -> index in `b`, both rising: what stands in both. */
function commonRules(a: readonly Rule[], b: readonly Rule[], keyOf: (rule: Rule) => string): Map<number, number> {
  const left = a.map(keyOf);
  const right = b.map(keyOf);
  const pairs = new Map<number, number>();
  const gaps: [number, number, number, number][] = [[0, left.length, 0, right.length]];
  for (let gap = gaps.pop(); gap !== undefined; gap = gaps.pop()) {
    let [from, to, otherFrom, otherTo] = gap;
    while (from < to && otherFrom < otherTo && left[from] === right[otherFrom]) pairs.set(from++, otherFrom++);
    while (from < to && otherFrom < otherTo && left[to - 1] === right[otherTo - 1]) pairs.set(--to, --otherTo);
    if (from === to || otherFrom === otherTo) continue;
    const anchors = loners(left, right, from, to, otherFrom, otherTo);
    if (anchors.length === 0) {
      if ((to - from) * (otherTo - otherFrom) <= MOST_CELLS) longest(left, right, from, to, otherFrom, otherTo, pairs);
      continue;
    }
    let last = from;
    let otherLast = otherFrom;
    for (const [index, other] of anchors) {
      pairs.set(index, other);
      gaps.push([last, index, otherLast, other]);
      last = index + 1;
      otherLast = other + 1;
    }
    gaps.push([last, to, otherLast, otherTo]);
  }
  return pairs;
}

/** Index in `a` -> index in `b`: what is left of each and the same, the first with the first. */
function movedRules(
  a: readonly Rule[],
  b: readonly Rule[],
  pairs: ReadonlyMap<number, number>,
  apart: ReadonlySet<Rule>,
  keyOf: (rule: Rule) => string,
): ReadonlyMap<number, number> {
  const kept = new Set(pairs.values());
  const left = new Map<string, number[]>();
  b.forEach((rule, index) => {
    if (kept.has(index)) return;
    const places = left.get(keyOf(rule));
    if (places === undefined) left.set(keyOf(rule), [index]);
    else places.push(index);
  });
  const moved = new Map<number, number>();
  a.forEach((rule, index) => {
    const place = pairs.has(index) ? undefined : left.get(keyOf(rule))?.shift();
    if (place !== undefined && !apart.has(rule)) moved.set(index, place);
  });
  return moved;
}

/** What stands once in each part, as many as are in one order (patience sorting). */
function loners(
  left: readonly string[],
  right: readonly string[],
  from: number,
  to: number,
  otherFrom: number,
  otherTo: number,
): readonly (readonly [number, number])[] {
  const places = new Map<string, { count: number; index: number; others: number; other: number }>();
  for (let index = from; index < to; index++) {
    const place = places.get(left[index]!);
    if (place === undefined) places.set(left[index]!, { count: 1, index, others: 0, other: -1 });
    else place.count++;
  }
  for (let other = otherFrom; other < otherTo; other++) {
    const place = places.get(right[other]!);
    if (place === undefined) continue;
    place.others++;
    place.other = other;
  }
  const single = [...places.values()].filter(({ count, others }) => count === 1 && others === 1);
  // the last pair of each pile, and for each pair the one before it
  const piles: number[] = [];
  const before: number[] = [];
  single.forEach(({ other }, at) => {
    let lo = 0;
    let hi = piles.length;
    while (lo < hi) {
      const middle = (lo + hi) >> 1;
      if (single[piles[middle]!]!.other < other) lo = middle + 1;
      else hi = middle;
    }
    before[at] = lo === 0 ? -1 : piles[lo - 1]!;
    piles[lo] = at;
  });
  const found: (readonly [number, number])[] = [];
  for (let at = piles.at(-1) ?? -1; at >= 0; at = before[at]!) found.push([single[at]!.index, single[at]!.other]);
  return found.reverse();
}

/** The longest common part, by the table of all prefixes. */
function longest(
  left: readonly string[],
  right: readonly string[],
  from: number,
  to: number,
  otherFrom: number,
  otherTo: number,
  pairs: Map<number, number>,
): void {
  const width = otherTo - otherFrom + 1;
  const lengths = new Uint32Array((to - from + 1) * width);
  for (let i = to - from - 1; i >= 0; i--) {
    for (let j = width - 2; j >= 0; j--) {
      lengths[i * width + j] =
        left[from + i] === right[otherFrom + j]
          ? lengths[(i + 1) * width + j + 1]! + 1
          : Math.max(lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!);
    }
  }
  for (let i = 0, j = 0; i < to - from && j < width - 1;) {
    if (left[from + i] === right[otherFrom + j]) pairs.set(from + i++, otherFrom + j++);
    else if (lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!) i++;
    else j++;
  }
}
