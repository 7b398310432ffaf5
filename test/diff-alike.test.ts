// diff on rule sets that hardly differ: what stands in both costs next to nothing, and rules that were exchanged without
// harm are proved to do the same.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { compareChain } from "../src/diff/compare.ts";
import type { ChainComparison } from "../src/diff/compare.ts";
import { diffRulesets } from "../src/diff/diff.ts";
import { formatAddress } from "../src/net/address.ts";
import { RuleError } from "../src/rules/error.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import { printRuleset } from "../src/rules/print.ts";
import type { Ruleset } from "../src/rules/ruleset.ts";
import { Draw } from "./support/draw.ts";
import { reordered } from "./support/reorder.ts";

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

/** Where nothing can have changed: what is told nevertheless, at most a few. */
async function told(old: Ruleset, other: Ruleset): Promise<readonly unknown[]> {
  const found: unknown[] = [];
  for await (const each of diffRulesets(old, other, { budget: REORDERED_BUDGET })) if (found.push(each) > 2) break;
  return found;
}

/** A budget in place of a clock: some three seconds for a chain. */
const REORDERED_BUDGET = { nodes: 2_000_000, steps: 10_000_000 };
const SEED = Number(process.env["VERDICTREE_REORDER_SEED"] ?? 1);
const FOLDER = new URL("../../shared/data/rulesets", import.meta.url).pathname;

const NEIGHBOURS = `*mangle
:PREROUTING ACCEPT
-A PREROUTING -i eth0 -j MARK --set-mark 1
-A PREROUTING -i eth1 -m mark --mark 1 -j DROP
-A PREROUTING -p tcp -m tcp --dport 22 -j TOS --set-tos 0x10
-A PREROUTING -p tcp -m tcp --dport 80 -j TOS --set-tos 0x08
COMMIT
*filter
:INPUT DROP
:FORWARD DROP
:web -
:mail -
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -m limit --limit 3/min -j ACCEPT
-A INPUT -p udp -m udp --dport 53 -m limit --limit 9/min -j ACCEPT
-A INPUT -p tcp -m tcp --dport 80 -j web
-A INPUT -p tcp -m tcp --dport 25 -j mail
-A INPUT -p icmp -j LOG --log-prefix "icmp "
-A INPUT -s 10.0.0.0/8 -p udp -j REJECT
-A INPUT -s 10.1.0.0/16 -p udp -j REJECT
-A FORWARD -s 10.0.0.0/24 -j web
-A FORWARD -s 10.0.1.0/24 -j mail
-A FORWARD -s 10.0.2.0/24 -m recent --set --name seen -j ACCEPT
-A FORWARD -s 10.0.3.0/24 -m recent --set --name seen -j ACCEPT
-A web -s 192.0.2.0/24 -j ACCEPT
-A web -s 198.51.100.0/24 -j REJECT
-A mail -d 192.0.2.0/24 -j RETURN
-A mail -d 192.0.2.128/25 -j RETURN
-A mail -j ACCEPT
COMMIT
`;

test("neighbours whose order cannot matter are exchanged, and proved to do the same", async () => {
  const ruleset = parseRuleset(NEIGHBOURS, { file: "rules" });
  for (let seed = 1; seed <= 30; seed++) {
    const { ruleset: other, exchanged } = reordered(ruleset, new Draw(seed));
    assert.ok(exchanged > 10, `${exchanged} exchanged`);
    assert.deepEqual(await told(ruleset, other), [], printRuleset(other));
  }
});

test("neighbours whose order matters are told when they are exchanged", async () => {
  const exchange = (a: string, b: string): Promise<readonly unknown[]> => {
    const lines = (rows: readonly string[]): Ruleset =>
      parseRuleset(`*filter\n:INPUT DROP\n:c -\n-A c -p tcp -j DROP\n${rows.join("\n")}\nCOMMIT\n`, { file: "rules" });
    const before = "-A INPUT -p udp -j ACCEPT";
    return told(lines([a, before, b]), lines([b, before, a]));
  };
  assert.notDeepEqual(await exchange("-A INPUT -s 10.0.0.0/8 -j ACCEPT", "-A INPUT -d 10.0.0.1 -j DROP"), []);
  // what marks, and what asks for it
  const marks = ["-A INPUT -p tcp -j CONNMARK --restore-mark", "-A INPUT -m mark --mark 1 -j ACCEPT"] as const;
  assert.notDeepEqual(await exchange(...marks), []);
  // the first takes from a bucket what the second lets pass
  const buckets = [
    "-A INPUT -s 10.0.0.0/8 -m limit --limit 1/min -j ACCEPT",
    "-A INPUT -d 10.0.0.1 -j ACCEPT",
  ] as const;
  assert.notDeepEqual(await exchange(...buckets), []);
  // a header that is cut short
  const broken = ["-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", "-A INPUT -s 10.0.0.0/8 -p tcp -j ACCEPT"] as const;
  assert.notDeepEqual(await exchange(...broken), []);
  assert.notDeepEqual(await exchange("-A INPUT -s 10.0.0.0/8 -j c", "-A INPUT -p tcp -j ACCEPT"), []);
});

test(
  "rule sets that people run, their rules reordered harmlessly, are proved equal",
  { skip: existsSync(FOLDER) ? false : "needs ../shared/data/rulesets" },
  async () => {
    let proved = 0;
    for (const path of ["real", "generated", "suites", "shaped"].flatMap((name) =>
      readdirSync(join(FOLDER, name)).map((file) => join(FOLDER, name, file)),
    )) {
      let found: readonly unknown[];
      let exchanged: number;
      try {
        const ruleset = parseRuleset(readFileSync(path, "utf8"), { file: path });
        if (ruleset.family === 6) continue;
        const other = reordered(ruleset, new Draw(SEED));
        exchanged = other.exchanged;
        found = await told(ruleset, other.ruleset);
      } catch (error) {
        if (error instanceof RuleError) continue;
        throw error;
      }
      assert.deepEqual(found, [], path);
      if (exchanged > 0) proved++;
    }
    assert.ok(proved > 150, `${proved} proved`);
  },
);
