// What the kernel was seen to do, case by case (test/oracle/SEMANTICS.md), and what the reference says to it.
//
// `python3 test/oracle/run_examples.py --write test/oracle/cases/NAME` records a case.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { UnsupportedError } from "../src/reference/error.ts";
import { askReference, difference, rulesetOf } from "./support/compare.ts";
import { BACKENDS, readKernelCases } from "./support/kernel-case.ts";
import { numberDrawing } from "./support/lots.ts";
import type { Verdict } from "./support/oracle.ts";

const CASES = fileURLToPath(new URL("oracle/cases", import.meta.url));
const EXAMPLES = fileURLToPath(new URL("../../shared/oracle/examples", import.meta.url));

for (const backend of BACKENDS) {
  for (const one of [CASES, EXAMPLES].filter(existsSync).flatMap((folder) => readKernelCases(folder, backend))) {
    test(`the reference says what the kernel said: ${one.name}, ${backend}`, () => {
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
}

/** What the kernel drew by lot has been drawn again, so that ports are compared too. */
function toTheLetter(answer: Verdict | UnsupportedError): Verdict | UnsupportedError {
  return answer instanceof UnsupportedError ? answer : { ...answer, chosen: false };
}
