// The diff of two small rule sets, held to every packet there is: asked one by one of the reference.

import assert from "node:assert/strict";
import { boxesOf } from "../../src/diff/region.ts";
import type { Box } from "../../src/diff/region.ts";
import { compareChain } from "../../src/diff/compare.ts";
import type { ChainComparison } from "../../src/diff/compare.ts";
import type { Node } from "../../src/diff/diagram.ts";
import { TRUE } from "../../src/diff/diagram.ts";
import { ALL_FIELDS } from "../../src/diff/space.ts";
import { has } from "../../src/diff/witness.ts";
import type { Point } from "../../src/diff/witness.ts";
import { runChain } from "../../src/reference/reference.ts";
import type { ChainQuery } from "../../src/reference/reference.ts";
import type { Draw } from "./draw.ts";
import { printRuleset } from "../../src/rules/print.ts";
import type { Hook, Rule, Ruleset } from "../../src/rules/ruleset.ts";

export interface BrutePacket {
  readonly query: ChainQuery;
  readonly point: Point;
}

export interface Decision {
  /** Equal where nothing differs. */
  readonly does: string;
  readonly rule: string;
}

/** Rules as objects of their own, so that they are told apart. */
export function unshared(ruleset: Ruleset): Ruleset {
  const tables = ruleset.tables.map((table) => ({
    ...table,
    chains: table.chains.map((chain) => ({ ...chain, rules: chain.rules.map((rule) => ({ ...rule })) })),
  }));
  return { ...ruleset, tables };
}

export function decisionsOf(ruleset: Ruleset, hook: Hook, packets: readonly BrutePacket[]): readonly Decision[] {
  return packets.map(({ query }) => {
    const { verdict, rule, mark } = runChain(ruleset, "filter", hook, query);
    // of what is dropped the mark is gone
    return { does: verdict === "ACCEPT" ? `ACCEPT ${mark}` : verdict, rule: `${rule.chain}:${rule.number}` };
  });
}

/** The whole of the comparison against all packets. */
export function checkDiff(
  [old, other]: readonly [Ruleset, Ruleset],
  [before, after]: readonly [readonly Decision[], readonly Decision[]],
  hook: Hook,
  packets: readonly BrutePacket[],
): void {
  const comparison = compareChain(old, other, "filter", hook, { budget: { nodes: 1e6, steps: 1e7 } });
  const boxes = comparison.pairs.map((pair) => ({ pair, boxes: boxesOf(pair.where, comparison.space, 100_000)! }));
  packets.forEach(({ point }, index) => {
    const expected = before[index]!.does === after[index]!.does ? "" : `${before[index]!.rule} ${after[index]!.rule}`;
    const inPairs = comparison.pairs.filter(({ where }) => pointAt(where, point, [], comparison) === TRUE);
    const named = (pair: (typeof inPairs)[number]): string =>
      `${pair.old.rule.chain}:${pair.old.rule.number} ${pair.new.rule.chain}:${pair.new.rule.number}`;
    const told = inPairs.map(named).join();
    const inBoxes = boxes.flatMap((each) =>
      each.boxes
        .filter(({ sets }) =>
          sets.every((set, i) => has(set, ALL_FIELDS[i]!, point[ALL_FIELDS[i]!.name], comparison.space)),
        )
        .map(() => named(each.pair)),
    );
    if (told === expected && inBoxes.join() === expected) return;
    assert.fail(
      `${JSON.stringify(point)}: "${expected}", and told are "${told}", boxes "${inBoxes.join()}"\n` +
        `${printRuleset(old)}\n${printRuleset(other)}`,
    );
  });
}

/** What a function says of a point, guards given. */
export function pointAt(
  node: Node,
  point: Point,
  guards: Box["guards"],
  { space: { diagram } }: Pick<ChainComparison, "space">,
): Node {
  const said = new Map(guards);
  let here = node;
  while (!diagram.isLeaf(here)) {
    const bit = diagram.bitOf(here);
    const field = ALL_FIELDS.find(({ first, end }) => first <= bit && bit < end);
    const one =
      field === undefined ? said.get(bit)! : Math.floor(point[field.name] / 2 ** (field.end - 1 - bit)) % 2 === 1;
    here = one ? diagram.highOf(here) : diagram.lowOf(here);
  }
  return here;
}

/** A few rules left out, moved, turned over, and policies changed. */
export function editedRuleset(ruleset: Ruleset, draw: Draw): Ruleset {
  const tables = ruleset.tables.map((table) => ({
    ...table,
    chains: table.chains.map((chain) => {
      const rules = [...chain.rules];
      for (let edits = draw.below(3); edits > 0 && rules.length > 0; edits--) {
        const at = draw.below(rules.length);
        const [rule] = rules.splice(at, 1) as [Rule];
        const way = draw.below(4);
        if (way === 0) rules.splice(draw.below(rules.length + 1), 0, rule);
        else if (way === 1 && rule.target?.kind === "ACCEPT")
          rules.splice(at, 0, { ...rule, target: { kind: "DROP" } });
        else if (way === 2) rules.splice(at, 0, { ...rule, matches: rule.matches.slice(1) });
      }
      const policy = chain.policy !== null && draw.chance(0.05) ? ("DROP" as const) : chain.policy;
      return { ...chain, policy, rules };
    }),
  }));
  return unshared({ ...ruleset, tables });
}
