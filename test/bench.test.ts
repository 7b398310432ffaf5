// The rule sets that `npm run bench` draws: the same from a seed, of the form they claim, and answered as a scan does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { drawChainSet, KINDS } from "../bench/chains.ts";
import { drawFilterSet, drawTrace, EVERYTHING, FAMILIES, formatRule } from "../bench/filterset.ts";
import { benchChain, benchClassbench } from "../src/firewall.ts";
import { FIELD_COUNT, FIELD_DPORT, FIELD_DST, FIELD_PROTO, FIELD_SPORT, FIELD_SRC } from "../src/layout.ts";
import { parseClassbench } from "../src/rules/classbench.ts";
import { parseRuleset } from "../src/rules/parse.ts";

const SEEDS = [1, 2, 3, 4];

for (const family of FAMILIES) {
  test(`filter sets of the family ${family} are answered as a scan does, whatever the seed`, () => {
    for (const seed of SEEDS) {
      const rules = drawFilterSet(family, 400, seed);
      assert.deepEqual(rules, drawFilterSet(family, 400, seed));
      const lines = rules.map(formatRule);
      assert.deepEqual(parseClassbench(lines.join("\n"), "drawn"), rules);
      assert.equal(new Set(lines).size, rules.length);
      assert.ok(rules.length >= 380, `${rules.length} rules`);
      assert.deepEqual(rules.at(-1), EVERYTHING);

      const trace = drawTrace(rules, 3000, seed);
      const records = new Uint32Array(trace.length * FIELD_COUNT);
      trace.forEach((packet, i) => {
        [FIELD_SRC, FIELD_DST, FIELD_SPORT, FIELD_DPORT, FIELD_PROTO].forEach((field, column) => {
          records[i * FIELD_COUNT + field] = packet[column]!;
        });
      });
      const batch = benchClassbench(rules);
      batch.load(records);
      batch.classify();
      const right = trace.map(([src, dst, sport, dport, proto]) =>
        rules.findIndex(
          (rule) =>
            rule.srcLo <= src! &&
            src! <= rule.srcHi &&
            rule.dstLo <= dst! &&
            dst! <= rule.dstHi &&
            rule.sportLo <= sport! &&
            sport! <= rule.sportHi &&
            rule.dportLo <= dport! &&
            dport! <= rule.dportHi &&
            rule.protoLo <= proto! &&
            proto! <= rule.protoHi,
        ),
      );
      assert.deepEqual([...batch.answers()], right);
      assert.ok(new Set(right).size > 150, `only ${new Set(right).size} rules answer`);
    }
  });
}

test("to draw packets for a chain again and again takes the memory of once", () => {
  const { text, table, hook } = drawChainSet("docker", 500, 1);
  const { batch, draw } = benchChain(parseRuleset(text, { file: "drawn" }), table, hook);
  const answers: number[][] = [];
  let memory = 0;
  for (let seed = 0; seed < 40; seed++) {
    draw(seed % 2 === 0 ? 40_000 : 39_000, { seed: seed >> 3 });
    batch.classify();
    answers.push(Array.from(batch.answers().subarray(0, 39_000)));
    memory ||= batch.memoryBytes;
  }
  assert.equal(batch.memoryBytes, memory);
  // the same packets again, whatever stood in their place before
  assert.deepEqual(answers[2], answers[0]);
  assert.deepEqual(answers[9], answers[8]);
  assert.notDeepEqual(answers[8], answers[0]);
});

for (const kind of KINDS) {
  test(`chains of the kind ${kind} are rule files`, () => {
    const { text, table, hook } = drawChainSet(kind, 500, 1);
    assert.equal(text, drawChainSet(kind, 500, 1).text);
    const ruleset = parseRuleset(text, { file: kind });
    const chains = ruleset.tables.find(({ name }) => name === table)!.chains;
    assert.ok(chains.some(({ name }) => name === hook));
    const count = chains.reduce((sum, { rules }) => sum + rules.length, 0);
    // the lines of a cluster declare chains too
    if (kind === "cluster") assert.equal(text.split("\n").length - 1, 500);
    assert.ok(count > (kind === "cluster" ? 250 : 400) && count < 600, `${count} rules`);
  });
}
