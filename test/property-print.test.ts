// What is printed is what was parsed, and the other way round.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRuleset } from "../src/rules/parse.ts";
import { printRuleset, type PrintOptions } from "../src/rules/print.ts";
import { rulesOf } from "../src/rules/ruleset.ts";
import type { Counters, Ruleset } from "../src/rules/ruleset.ts";
import { forAll, ruleset } from "./support/arbitrary.ts";

const RUNS = 1000;
const SEED = 1;
const ZERO: Counters = { packets: 0n, bytes: 0n };

test("parse(print(r)) is r", () => {
  forAll(ruleset(), { runs: RUNS, seed: SEED }, (drawn) => {
    assert.deepEqual(bare(parse(print(drawn))), bare(drawn));
  });
});

test("print(parse(x)) is x for what print made, and stays so", () => {
  forAll(ruleset(), { runs: RUNS, seed: SEED + 1 }, (drawn) => {
    const text = print(drawn);
    const again = print(parse(text));
    assert.equal(again, text);
    assert.equal(print(parse(again)), text);
  });
});

test("every rule that is parsed keeps its line", () => {
  forAll(ruleset(), { runs: RUNS / 5, seed: SEED + 2 }, (drawn) => {
    const text = print(drawn);
    const lines = text.split("\n");
    const rules = rulesOf(parse(text));
    assert.equal(rules.length, lines.filter((line) => /^(\[\d+:\d+\] )?-A /.test(line)).length);
    for (const rule of rules) assert.equal(rule.text, lines[rule.position.line - 1]);
  });
});

function parse(text: string): Ruleset {
  return parseRuleset(text, { file: "printed" });
}

function print(ruleset: Ruleset): string {
  const chains = ruleset.tables.flatMap((table) => table.chains);
  const counts = chains.some(
    ({ counters, rules }) => counters?.packets || rules.some((rule) => rule.counters !== null),
  );
  return printRuleset(ruleset, counts ? { counters: countersOf(ruleset) } : {});
}

function countersOf(ruleset: Ruleset): PrintOptions["counters"] & {} {
  return (table, name, number) => {
    const chain = ruleset.tables.find((each) => each.name === table)!.chains.find((each) => each.name === name)!;
    return (number === "policy" ? chain.counters : chain.rules[number - 1]!.counters) ?? ZERO;
  };
}

/** Without what only a text gives: places, lines, and the zero counters that every chain line has. */
function bare(ruleset: Ruleset): unknown {
  return ruleset.tables.map(({ name, chains }) => ({
    name,
    chains: chains.map(({ name, policy, counters, rules }) => ({
      ...{ name, policy, counters: counters ?? ZERO },
      rules: rules.map(({ header, matches, target, counters }) => ({ header, matches, target, counters })),
    })),
  }));
}
