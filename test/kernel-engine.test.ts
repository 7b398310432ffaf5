// What the kernel was seen to do (test/oracle/cases), asked of the engine: there it says what the reference says, which
// kernel-cases.test.ts holds to the kernel. Hosts and packets of these cases are odder than random ones.

import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseRuleset } from "../src/rules/parse.ts";
import { agreesWithReference, assertRight } from "./support/agree.ts";
import type { World } from "./support/arbitrary.ts";
import { DECIDING_ENGINE, ENGINE } from "./support/classifiers.ts";
import { readKernelCases } from "./support/kernel-case.ts";

for (const { name, rules, host, packets } of readKernelCases(fileURLToPath(new URL("oracle/cases", import.meta.url)))) {
  test(`the engine decides as the reference does where a kernel was recorded: ${name}`, () => {
    const world = { ruleset: parseRuleset(rules, { file: name }), host, packets } as unknown as World;
    for (const engine of [ENGINE, DECIDING_ENGINE]) assertRight(world, agreesWithReference(engine));
  });
}
