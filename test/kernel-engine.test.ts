// What the kernel was seen to do (test/oracle/cases), asked of the engine: there it says what the reference says, which
// kernel-cases.test.ts holds to the kernel. Hosts and packets of these cases are odder than random ones.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { UnsupportedError } from "../src/reference/error.ts";
import { RuleError } from "../src/rules/error.ts";
import { agreesWithReference, answerable, assertRight } from "./support/agree.ts";
import type { World } from "./support/arbitrary.ts";
import { readWorld } from "./support/arrivals.ts";
import { DECIDING_ENGINE, ENGINE } from "./support/classifiers.ts";
import { rulesetOf } from "./support/compare.ts";
import { BACKENDS, readKernelCases } from "./support/kernel-case.ts";
import { compareEngine } from "./support/kernel-engine.ts";

const CASES = fileURLToPath(new URL("oracle/cases", import.meta.url));

for (const one of readKernelCases(CASES)) {
  test(`the engine decides as the reference does where a kernel was recorded: ${one.name}`, (context) => {
    const host = { routes: [], rules: [], sysctl: {}, ...one.host };
    const world = { ...one, ruleset: rulesetOf(one), host } as unknown as World;
    const refused = refusal(world);
    if (refused !== null) context.skip(refused);
    else for (const engine of [ENGINE, DECIDING_ENGINE]) assertRight(world, agreesWithReference(engine));
  });
}

for (const backend of BACKENDS) {
  for (const one of readKernelCases(CASES, backend)) {
    test(`the engine follows a recorded case packet by packet: ${one.name}, ${backend}`, () => {
      const { compared, difference } = compareEngine(one);
      assert.equal(difference, null);
      assert.equal(compared, one.packets.length);
    });
  }
}

/** Why the engine refuses a rule, or one of the packets that the reference answers; null: it does not. */
function refusal(world: World): string | null {
  try {
    const { packets } = answerable(world).world;
    const { host, arrivals } = readWorld(world.host, packets);
    ENGINE.classify(world.ruleset, host, arrivals);
    return null;
  } catch (error) {
    if (error instanceof RuleError || error instanceof UnsupportedError) return error.message;
    throw error;
  }
}
