// What the kernel was seen to do, case by case (test/oracle/SEMANTICS.md), and what the reference says to it.
//
// `python3 test/oracle/run_examples.py --write test/oracle/cases/NAME` records a case.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { UnsupportedError } from "../src/reference/error.ts";
import { askReference, difference, rulesetOf } from "./support/compare.ts";
import { compareEngine } from "./support/kernel-engine.ts";
import { readKernelCases } from "./support/kernel-case.ts";
import { numberDrawing } from "./support/lots.ts";
import type { Verdict } from "./support/oracle.ts";

const CASES = fileURLToPath(new URL("oracle/cases", import.meta.url));
const EXAMPLES = fileURLToPath(new URL("../../shared/oracle/examples", import.meta.url));

for (const one of [...readKernelCases(CASES), ...(existsSync(EXAMPLES) ? readKernelCases(EXAMPLES) : [])]) {
  test(`the reference says what the kernel said: ${one.name}`, () => {
    const ruleset = rulesetOf(one);
    const numbers = one.verdicts.map((verdict, index) => numberDrawing(ruleset, verdict, 0, index));
    const answers = askReference(one, 0, numbers);
    one.verdicts.forEach((verdict, index) => {
      const text = difference(verdict, toTheLetter(answers[index]!));
      if (text !== null) assert.fail(`${JSON.stringify(one.packets[index])}: ${text}`);
    });
    assert.equal(answers.length, one.verdicts.length);
  });
}

/** What the kernel drew by lot has been drawn again, so that ports are compared too. */
function toTheLetter(answer: Verdict | UnsupportedError): Verdict | UnsupportedError {
  return answer instanceof UnsupportedError ? answer : { ...answer, chosen: false };
}

/** Cases of whose datagrams rules see the whole, so that iptables-nft answers alike. */
const PUT_TOGETHER = [
  "ct-fragments",
  "ct-sctp-in-fragments",
  "fragments-among-many",
  "fragments-wait",
  "mss-of-fragments",
];

for (const one of readKernelCases(CASES).filter(({ name }) => PUT_TOGETHER.includes(name))) {
  test(`iptables-nft sees what was put together, and so do reference and engine: ${one.name}`, () => {
    const asked = { ...one, args: [...one.args, "--backend", "nft"] };
    const answers = askReference(asked);
    one.verdicts.forEach((verdict, index) => {
      assert.equal(difference(verdict, answers[index]!), null, JSON.stringify(one.packets[index]));
    });
    assert.deepEqual(compareEngine(asked), { compared: one.packets.length, difference: null });
  });
}
