// diff on rule sets of ten thousand rules: what stands in both costs next to nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { compareChain } from "../src/diff/compare.ts";
import type { ChainComparison } from "../src/diff/compare.ts";
import { formatAddress } from "../src/net/address.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import { Draw } from "./support/draw.ts";

const RULES = 10_000;
const CHANGED = 10;
const BUDGET = { nodes: 12_000_000, steps: 150_000_000 };

/** An access list: hosts and networks that meet one another, ports, two actions. */
function drawAccessList(draw: Draw, count: number): readonly string[] {
  const address = (): string => {
    const length = draw.pick([16, 20, 24, 24, 28, 32, 32, 32]);
    const bits = draw.word() & (draw.chance(0.7) ? 0x0f0fffff : 0xffffffff) & (-1 << (32 - length));
    return `${formatAddress(bits >>> 0)}/${length}`;
  };
  return Array.from({ length: count }, () => {
    const src = draw.chance(0.9) ? ` -s ${address()}` : "";
    const proto = draw.pick(["tcp", "udp"]);
    const ports = draw.pick([`--dport ${draw.below(2_000)}`, `--dport ${draw.below(1_000)}:${1_000 + draw.below(99)}`]);
    return `-A FORWARD${src} -d ${address()} -p ${proto} -m ${proto} ${ports} -j ${draw.pick(["ACCEPT", "DROP"])}`;
  });
}

function compare(old: readonly string[], other: readonly string[]): ChainComparison {
  const [before, after] = [old, other].map((lines) =>
    parseRuleset(`*filter\n:FORWARD DROP [0:0]\n${lines.join("\n")}\nCOMMIT\n`, { file: "rules" }),
  );
  return compareChain(before!, after!, "filter", "FORWARD", { budget: BUDGET });
}

test("ten changed rules among ten thousand cost little more than the ten", () => {
  const draw = new Draw(1);
  const lines = drawAccessList(draw, RULES);
  const changed = new Set<number>();
  while (changed.size < CHANGED) changed.add(draw.below(RULES));
  const reversed = (line: string): string =>
    line.endsWith("DROP") ? line.replace(/DROP$/, "ACCEPT") : line.replace(/ACCEPT$/, "DROP");
  const other = lines.map((line, index) => (changed.has(index) ? reversed(line) : line));
  const { pairs, space } = compare(lines, other);
  const numbers = new Set(pairs.flatMap(({ old, new: now }) => [Number(old.rule.number), Number(now.rule.number)]));
  for (const number of numbers) assert.ok(changed.has(number - 1), `rule ${number} was not changed`);
  assert.ok(numbers.size > CHANGED / 2, `${numbers.size} rules decide otherwise`);

  const few = [...changed].sort((a, b) => a - b);
  const alone = compare(
    few.map((index) => lines[index]!),
    few.map((index) => other[index]!),
  );
  const [all, ten] = [space.diagram.steps, alone.space.diagram.steps];
  assert.ok(all < 5 * ten, `${all} steps, and ${ten} for the ten alone`);
});
