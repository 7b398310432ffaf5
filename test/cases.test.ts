// The case files, one for each behaviour: every classifier, and the kernel where it is at hand, answers as written.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseHost } from "../src/host/parse.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import { readArrivals } from "./support/arrivals.ts";
import { answerAs, parseCases, type Case } from "./support/casefile.ts";
import { CLASSIFIERS, type Answer } from "./support/classifiers.ts";
import { askKernel, kernelAnswer } from "./support/kernel.ts";
import { noKernel } from "./support/oracle.ts";

const FOLDER = fileURLToPath(new URL("cases", import.meta.url));

for (const file of readdirSync(FOLDER).sort()) {
  const cases = parseCases(readFileSync(join(FOLDER, file), "utf8"));
  for (const { name, traces, classify } of CLASSIFIERS) {
    test(`${file}: ${name} answers as written`, () => {
      for (const each of cases) {
        const ruleset = parseRuleset(each.rules, { file });
        const host = parseHost(JSON.stringify(each.host), file);
        const answers = classify(ruleset, host, readArrivals(packetsOf(each), host, true));
        compare(file, each, answers, (expected) => (traces ? expected : withoutTrace(expected)));
      }
    });
  }
  test(`${file}: the kernel answers as written`, { skip: noKernel() }, () => {
    for (const each of cases) {
      const lines = askKernel(each.rules, each.host, packetsOf(each));
      // of a packet that a match dropped the kernel does not name the rule
      const untold = (expected: string, { outcome }: Answer): string =>
        outcome.rule === null ? expected.replace(/^(DROP) [^ =]+( |$)/, "$1 none$2") : expected;
      compare(file, each, lines.map(kernelAnswer), untold);
    }
  });
}

function withoutTrace(expected: string): string {
  return expected.replace(/ trace=[^ ]+/, "");
}

function packetsOf(each: Case): Case["packets"][number]["packet"][] {
  return each.packets.map(({ packet }) => packet);
}

/** All lines at once, so that a difference shows beside what is right. */
function compare(
  file: string,
  each: Case,
  answers: readonly Answer[],
  told: (expected: string, answer: Answer) => string,
): void {
  const lines = each.packets.map(({ line, text, expected }, index) => {
    const answer = answers[index]!;
    const written = told(expected, answer);
    return { written: `${file}:${line}: > ${text} => ${written}`, given: answerAs(written, answer) };
  });
  assert.deepEqual(
    lines.map(({ written, given }) => `${written.split(" => ")[0]!} => ${given}`),
    lines.map(({ written }) => written),
  );
}
