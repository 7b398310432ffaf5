// Random sets of ipset: the reference says what the kernel says, and the engine what the reference says.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { compileFirewall } from "../src/firewall.ts";
import { parseHost } from "../src/host/parse.ts";
import { parseArrival } from "../src/packet/line.ts";
import { Reference } from "../src/reference/reference.ts";
import { askReference, difference, rulesetOf } from "./support/compare.ts";
import { drawSetWorld } from "./support/ipset-world.ts";
import type { SetWorld } from "./support/ipset-world.ts";
import { askOracle, noKernel } from "./support/oracle.ts";

const noIpset =
  noKernel() || (spawnSync("unshare", ["-n", "ipset", "list"]).status === 0 ? false : "ipset does not run here");
const ARGS = ["--stateless", "--trace"];

test("the kernel and the reference agree on sets", { skip: noIpset }, () => {
  let met = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const world = drawSetWorld(seed, 100, false);
    const kernel = askOracle(world.rules, world.host, world.packets, ARGS, world.sets);
    const answers = askReference({ ...world, args: ARGS });
    kernel.forEach((verdict, index) => {
      const wrong = difference(verdict, answers[index]!);
      if (wrong !== null)
        assert.fail(`seed ${seed}, packet ${JSON.stringify(world.packets[index])}: ${wrong}\n${told(world)}`);
      met += (JSON.stringify(verdict).match(/match-set/g) ?? []).length;
    });
  }
  assert.ok(met > 2000, `${met} rules with sets were met`);
});

test("engine and reference agree on sets", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const world = drawSetWorld(seed, 100, true);
    const ruleset = rulesetOf(world);
    const host = parseHost(JSON.stringify(world.host), "host.json");
    const arrivals = world.packets.map((packet, index) =>
      parseArrival(JSON.stringify({ ...packet, time: index * 2 }), "packets", index + 1, host),
    );
    const reference = new Reference(ruleset, host, { stateless: true });
    const engine = compileFirewall(ruleset, host, { stateless: true }).run(arrivals, { trace: true });
    arrivals.forEach((arrival, index) => {
      const { outcome, trace } = reference.run(arrival, index);
      const given = { outcome: engine[index]!.outcome, trace: engine[index]!.trace };
      assert.deepEqual(given, { outcome, trace }, `seed ${seed}, packet ${index + 1}\n${told(world)}`);
    });
  }
});

function told({ sets, rules }: SetWorld): string {
  return `${sets}\n${rules}`;
}
