// The diff of rule sets with everything in them, held to the reference at random packets in its regions and around them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { compareChain } from "../src/diff/compare.ts";
import type { ChainComparison } from "../src/diff/compare.ts";
import { TRUE } from "../src/diff/diagram.ts";
import type { Node } from "../src/diff/diagram.ts";
import { diffRulesets } from "../src/diff/diff.ts";
import { boxesOf } from "../src/diff/region.ts";
import type { Box } from "../src/diff/region.ts";
import { FIRST_GUARD_BIT } from "../src/diff/space.ts";
import { Judge, pointOf, witnessOf } from "../src/diff/witness.ts";
import { RuleError } from "../src/rules/error.ts";
import { printRuleset, printTarget } from "../src/rules/print.ts";
import { BUILTIN_CHAINS } from "../src/rules/ruleset.ts";
import type { Ruleset, Table } from "../src/rules/ruleset.ts";
import { drawHost } from "./support/arbitrary-host.ts";
import { drawRuleset } from "./support/arbitrary-rules.ts";
import { editedRuleset, pointAt, unshared } from "./support/diff-brute.ts";
import { Draw } from "./support/draw.ts";

const WORLDS = Number(process.env["VERDICTREE_DIFF_WORLDS"] ?? 16);
const SEED = Number(process.env["VERDICTREE_DIFF_SEED"] ?? 1);
const POINTS = 40;
const BUDGET = { nodes: 2_000_000, steps: 20_000_000 };

test("packets are treated otherwise inside the regions that are told, and nowhere else", () => {
  let inside = 0;
  let around = 0;
  for (let world = 0; world < WORLDS; world++) {
    const draw = new Draw(SEED * 100_000 + world);
    const [old, other] = drawPair(draw);
    for (const { name } of old.tables) {
      for (const hook of BUILTIN_CHAINS[name]) {
        const comparison = compared(old, other, name, hook);
        if (comparison === null) continue;
        const judges = [comparison.alignment.old, comparison.alignment.new].map(
          (side) => new Judge(side, hook, comparison.guards),
        );
        const sets = comparison.pairs.map(({ where }) => comparison.space.diagram.and(where, comparison.universe));
        for (let n = 0; n < POINTS; n++) {
          const guards = Array.from({ length: comparison.guards.count }, (_, index): [number, boolean] => [
            FIRST_GUARD_BIT + index,
            draw.chance(0.5),
          ]);
          const set = sets.length > 0 && draw.chance(0.7) ? draw.pick(sets) : comparison.universe;
          const told = check(comparison, judges, set, guards, draw, [old, other]);
          if (told) inside++;
          else around++;
        }
      }
    }
  }
  assert.ok(inside > WORLDS && around > WORLDS, `${inside} packets inside, ${around} around`);
});

test("every region has a packet that reference and engine treat as told", async () => {
  let regions = 0;
  for (let world = 0; world < WORLDS; world++) {
    const [old, other] = drawPair(new Draw(SEED * 200_000 + world));
    try {
      for await (const { found } of diffRulesets(old, other, { budget: BUDGET })) if (found === "difference") regions++;
    } catch (error) {
      if (!(error instanceof RuleError))
        throw new Error(`${printRuleset(old)}\n${printRuleset(other)}`, { cause: error });
    }
  }
  assert.ok(regions > WORLDS, `${regions} regions`);
});

test("a rule set is proved equal to itself", async () => {
  for (let world = 0; world < WORLDS; world++) {
    const [old] = drawPair(new Draw(SEED * 300_000 + world));
    for await (const each of diffRulesets(old, unshared(old), { budget: BUDGET })) assert.fail(JSON.stringify(each));
  }
});

function drawPair(draw: Draw): [Ruleset, Ruleset] {
  const { surroundings } = drawHost(draw);
  const options = { clock: true, chance: true, guardsInForwardOnly: false };
  const old = unshared(drawRuleset(draw, surroundings, options));
  return [old, editedRuleset(old, draw)];
}

/** null: something in it is not compared. */
function compared(
  old: Ruleset,
  other: Ruleset,
  ...[table, hook]: [Table["name"], ChainComparison["hook"]]
): ChainComparison | null {
  try {
    return compareChain(old, other, table, hook, { budget: BUDGET });
  } catch (error) {
    if (error instanceof RuleError) return null;
    throw error;
  }
}

/** True if the packet lies in a region. */
function check(
  comparison: ChainComparison,
  judges: readonly Judge[],
  set: Node,
  guards: Box["guards"],
  draw: Draw,
  rulesets: readonly Ruleset[],
): boolean {
  const { space, hook, pairs } = comparison;
  const point = pointOf(
    space.diagram.exists(set, (bit) => bit >= FIRST_GUARD_BIT),
    space,
    () => draw.word() / 2 ** 32,
  );
  const witness = witnessOf(point, space, hook);
  const decided = judges.map((judge) => judge.decide(witness, { sets: [], guards }));
  const says = (node: Node): boolean => pointAt(node, point, guards, comparison) === TRUE;
  const there = pairs.filter(({ where }) => says(where));
  const context = (): string =>
    `${hook} ${JSON.stringify(point)} ${JSON.stringify(witness.line)} ${JSON.stringify(witness.around)} ${JSON.stringify(decided)} ` +
    `${JSON.stringify(there.map(({ kind, old, new: other }) => [kind, old.rule, other.rule]))}\n` +
    rulesets.map((each) => printRuleset(each)).join("\n");
  assert.ok(there.length <= 1, context());
  const [pair] = there;
  const chance = guards.some(([bit]) => comparison.guards.of(bit).chance !== null);
  if (pair !== undefined && pair.kind !== "probability") {
    assert.deepEqual(
      decided.map(({ rule }) => rule),
      [pair.old.rule, pair.new.rule],
      context(),
    );
  }
  const does = decided.map((decision, side) => doing(rulesets[side]!, decision));
  // where lots are drawn, shares are compared and not draws
  if (pair === undefined && !chance) assert.equal(does[0], does[1], context());
  if (pair?.kind === "verdict" || pair?.kind === "nat" || pair?.kind === "reject") {
    assert.notEqual(does[0], does[1], context());
  }
  return pair !== undefined;
}

function doing(ruleset: Ruleset, { verdict, rule, mark, connmark }: ReturnType<Judge["decide"]>): string {
  const chain = ruleset.tables.find(({ name }) => name === rule.table)!.chains.find(({ name }) => name === rule.chain)!;
  const target = rule.number === "policy" ? null : chain.rules[rule.number - 1]!.target;
  const gone = verdict === "DROP" || verdict === "REJECT";
  // a match may have dropped it
  const how = verdict === "DROP" || target === null ? ` -j ${verdict}` : printTarget(target, 4);
  return `${how} ${gone ? "" : mark} ${connmark}`;
}

test("regions are disjoint boxes that cover what differs", () => {
  for (let world = 0; world < WORLDS / 4; world++) {
    const [old, other] = drawPair(new Draw(SEED * 400_000 + world));
    const comparison = compared(old, other, "filter", "FORWARD");
    for (const { where } of comparison?.pairs ?? []) {
      const { diagram } = comparison!.space;
      const boxes = boxesOf(where, comparison!.space, 100_000)!;
      let union: Node = diagram.and(TRUE, 0);
      for (const { sets, guards } of boxes) {
        const said = guards.map(([bit, holds]) => (holds ? diagram.bit(bit) : diagram.not(diagram.bit(bit))));
        const box = [...sets, ...said].reduce((a, b) => diagram.and(a, b), TRUE);
        assert.equal(diagram.and(box, union), 0);
        union = diagram.or(union, box);
      }
      assert.equal(union, where);
    }
  }
});
