// What the kernel was seen to do, case by case (test/oracle/SEMANTICS.md), and what the reference says to it.
//
// `python3 test/oracle/run_examples.py --write test/oracle/cases/NAME` records a case.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { UnsupportedError } from "../src/reference/error.ts";
import { askReference, difference } from "./support/compare.ts";
import { readKernelCases } from "./support/kernel-case.ts";

const CASES = fileURLToPath(new URL("oracle/cases", import.meta.url));
const EXAMPLES = fileURLToPath(new URL("../../shared/oracle/examples", import.meta.url));

for (const one of readKernelCases(CASES)) {
  test(`the reference says what the kernel said: ${one.name}`, () => {
    const answers = askReference(one);
    one.verdicts.forEach((verdict, index) => {
      const text = difference(verdict, answers[index]!);
      if (text !== null) assert.fail(`${JSON.stringify(one.packets[index])}: ${text}`);
    });
    assert.equal(answers.length, one.verdicts.length);
  });
}

const examples = existsSync(EXAMPLES) ? readKernelCases(EXAMPLES) : [];

test(
  "of the examples every first packet of a connection is answered as by the kernel",
  {
    skip: examples.length === 0 ? "the examples are not here" : false,
  },
  (context) => {
    let equal = 0;
    let later = 0;
    for (const one of examples) {
      const answers = askReference(one);
      one.verdicts.forEach((verdict, index) => {
        const state = verdict["ct_state"] as string | null | undefined;
        const answer = answers[index]!;
        const text = difference(verdict, answer);
        if (text === null) equal++;
        // ESTABLISHED, RELATED, and INVALID only because of what came before
        else if (!one.stateless && state !== "NEW" && typeof state === "string") later++;
        else assert.fail(`${one.name} ${JSON.stringify(one.packets[index])}: ${text}`);
        assert.ok(!(answer instanceof UnsupportedError));
      });
    }
    context.diagnostic(`${equal} packets equal, ${later} belong to earlier connections`);
    assert.ok(equal >= 70);
  },
);
