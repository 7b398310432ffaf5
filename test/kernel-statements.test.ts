// Every numbered statement of test/oracle/SEMANTICS.md has a case that the kernel was asked about: the comment of its host
// names the statements.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { readKernelCases } from "./support/kernel-case.ts";

/** Held elsewhere: such rules cannot be loaded. */
const ELSEWHERE: Readonly<Record<string, string>> = { "2.4": "test/rules-hooks.test.ts" };

const folder = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const CASES = readKernelCases(folder("oracle/cases"));

/** As `SECTION.NUMBER`. */
function statements(): readonly string[] {
  let section = "";
  return readFileSync(folder("oracle/SEMANTICS.md"), "utf8")
    .split("\n")
    .flatMap((line) => {
      section = /^## (\d+)\./.exec(line)?.[1] ?? section;
      const number = /^(\d+)\. /.exec(line)?.[1];
      return number === undefined || section === "" ? [] : [`${section}.${number}`];
    });
}

function statementsOf(comment: unknown): readonly string[] {
  const [, list] = /^SEMANTICS ([\d., ]+):/.exec(String(comment)) ?? [];
  return list === undefined ? [] : list.split(", ");
}

test("every statement about the kernel has a recorded case", (context) => {
  const cases = new Map(statements().map((statement) => [statement, [] as string[]]));
  for (const { name, host } of CASES) {
    for (const statement of statementsOf(host["comment"])) cases.get(statement)?.push(name);
  }
  for (const [statement, names] of cases) {
    context.diagnostic(`${statement}: ${names.join(", ") || (ELSEWHERE[statement] ?? "none")}`);
  }
  const missing = [...cases].filter(([statement, names]) => names.length === 0 && !(statement in ELSEWHERE));
  assert.deepEqual(missing, []);
  assert.ok(cases.size > 70, `${cases.size} statements were found`);
});

test("connections and NAT have 30 cases and 600 packets at least", () => {
  const about = CASES.filter(({ host }) => statementsOf(host["comment"]).some((one) => /^[34]\./.test(one)));
  const packets = about.reduce((sum, one) => sum + one.packets.length, 0);
  assert.ok(about.length >= 30 && packets >= 600, `${about.length} cases, ${packets} packets`);
});
