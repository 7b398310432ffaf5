// Every example: engine and reference answer as the kernel was seen to, in every field and in the trace.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { toAnswer } from "../src/classifier.ts";
import { referenceDecider, wasmDecider } from "../src/cli/engine.ts";
import type { Decider } from "../src/cli/engine.ts";
import { Places } from "../src/cli/places.ts";
import { readExamples } from "./support/examples.ts";
import type { Example } from "./support/examples.ts";
import { noKernel, readLines } from "./support/oracle.ts";

const OPTIONS = { seed: 1, stateless: true, trace: true, backend: "legacy", limitErrors: true } as const;

for (const example of readExamples()) {
  const { name, ruleset, host, verdictsPath, ask } = example;
  const recorded = readLines(readFileSync(verdictsPath, "utf8"));

  test(`${name}: the engine answers as the kernel did`, () => {
    assert.deepEqual(answersOf(example, wasmDecider(ruleset, host, OPTIONS)), recorded);
  });
  test(`${name}: the reference answers as the kernel did`, () => {
    assert.deepEqual(answersOf(example, referenceDecider(ruleset, host, OPTIONS)), recorded);
  });
  test(`${name}: the kernel answers as it did`, { skip: noKernel() }, () => {
    assert.deepEqual(ask(), recorded);
  });
}

/** As JSON, where what is undefined is not there. */
function answersOf({ ruleset, arrivals }: Example, decide: Decider): unknown {
  const places = new Places(ruleset);
  const { answers, failure } = decide.answer(arrivals);
  assert.equal(failure, null);
  const lines = answers.map(({ outcome, trace, generatedTrace }, index) =>
    toAnswer(arrivals[index]!, outcome, {
      traces: { trace, generated: generatedTrace, printed: (ref) => places.specOf(ref) },
    }),
  );
  return JSON.parse(JSON.stringify(lines));
}
