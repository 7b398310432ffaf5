// What is told of a tree is what look-ups do in it: each packet is led through it once more, and comes to the same answer.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { drawChainSet } from "../bench/chains.ts";
import { drawFilterSet, drawTrace, FAMILIES } from "../bench/filterset.ts";
import type { Batch } from "../src/engine/batch.ts";
import type { Trees, Walk } from "../src/engine/shape.ts";
import { benchChain, benchClassbench } from "../src/firewall.ts";
import { parseHost } from "../src/host/parse.ts";
import { FIELD_COUNT, FIELD_DPORT, FIELD_DST, FIELD_PROTO, FIELD_SPORT, FIELD_SRC, NONE } from "../src/layout.ts";
import { parseClassbench } from "../src/rules/classbench.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import type { Hook, TableName } from "../src/rules/ruleset.ts";
import { temporaryFiles, verdictree } from "./support/command.ts";

const PACKETS = 2000;
const HOST_RULES = "examples/docker-host/rules.txt";
const HOST = "examples/docker-host/host.json";

function filterSet(family: (typeof FAMILIES)[number], count: number): Batch {
  const rules = drawFilterSet(family, count, 3);
  const batch = benchClassbench(rules);
  const records = new Uint32Array(PACKETS * FIELD_COUNT);
  drawTrace(rules, PACKETS, 3).forEach((packet, i) => {
    [FIELD_SRC, FIELD_DST, FIELD_SPORT, FIELD_DPORT, FIELD_PROTO].forEach((field, column) => {
      records[i * FIELD_COUNT + field] = packet[column]!;
    });
  });
  batch.load(records);
  return batch;
}

function chain(text: string, table: TableName, hook: Hook, hostText: string | null = null): Batch {
  const host = hostText === null ? null : parseHost(hostText, "host.json");
  const { batch, draw } = benchChain(parseRuleset(text, { file: "rules" }), table, hook, { host });
  draw(PACKETS);
  return batch;
}

/** Led through the trees, every packet comes to the answer that the engine gives. */
function assertLed(batch: Batch): { readonly trees: Trees; readonly walks: readonly Walk[] } {
  const trees = batch.trees();
  const records = batch.records().slice();
  const walks = Array.from({ length: batch.count }, (_, i) =>
    trees.walk(records.subarray(i * FIELD_COUNT, (i + 1) * FIELD_COUNT)),
  );
  batch.classify();
  const programs = [batch.program, ...batch.program.subs];
  const first = trees.shapes[0]!.kind === "first";
  const led = walks.map(({ end }) => {
    if (end === null) return NONE;
    return first ? end.clause : programs[end.tree]!.clauses[end.clause]!.rule;
  });
  assert.deepEqual(led, [...batch.answers()]);
  for (const { tree, part, nodes, compared, held } of walks.flatMap(({ parts }) => parts)) {
    const { depths, longestLeaf } = trees.shapes[tree]!.parts[part]!;
    assert.ok(depths[nodes.length]! > 0);
    assert.ok(held <= compared && compared <= longestLeaf);
  }
  return { trees, walks };
}

for (const family of FAMILIES) {
  for (const count of [300, 3000]) {
    test(`packets are led through filter sets as they are classified: ${family}, ${count} rules`, () => {
      const batch = filterSet(family, count);
      const { trees, walks } = assertLed(batch);
      const [shape, ...called] = trees.shapes;
      assert.deepEqual(called, []);
      assert.equal(shape!.kind, "first");
      assert.equal(shape!.boxes, batch.program.boxCount);
      const compared = walks.flatMap(({ parts }) => parts).reduce((sum, part) => sum + part.compared, 0);
      assert.ok(compared >= PACKETS && compared < 20 * PACKETS);
      assert.ok(shape!.parts.reduce((sum, { cells }) => sum + 8 * cells, 0) < batch.treeBytes);
    });
  }
}

for (const [kind, count] of [
  ["docker", 400],
  ["docker", 3000],
  ["deep", 800],
] as const) {
  test(`packets are led through chains as they are decided: ${kind}, ${count} rules`, () => {
    const { text, table, hook } = drawChainSet(kind, count, 2);
    const { trees } = assertLed(chain(text, table, hook));
    const [shape] = trees.shapes;
    assert.equal(shape!.kind, "clauses");
    assert.ok(shape!.parts.every(({ leaves, leafClauses }) => leaves > 0 && leafClauses >= leaves));
  });
}

test("chains that are called have trees of their own, and packets are led through them too", () => {
  const { text, table, hook } = drawChainSet("docker", 400, 2);
  const { trees, walks } = assertLed(chain(text, table, hook));
  assert.ok(trees.shapes.length > 1);
  assert.ok(walks.some(({ end }) => end!.tree > 0));
});

test("a tree of several parts is told part by part", () => {
  const { text, table, hook } = drawChainSet("kube", 3000, 2);
  const [shape] = chain(text, table, hook).trees().shapes;
  assert.equal(shape!.kind, "clauses");
  assert.ok(shape!.parts.length > 1);
});

test("packets are led through programs of few boxes as they are decided", () => {
  const { trees, walks } = assertLed(
    chain(readFileSync(HOST_RULES, "utf8"), "filter", "FORWARD", readFileSync(HOST, "utf8")),
  );
  const [shape] = trees.shapes;
  assert.equal(shape!.kind, "few");
  assert.ok(shape!.fields.length > 3);
  assert.ok(walks.every(({ parts }) => parts.length === 1 && parts[0]!.compared === shape!.boxes));
});

test("what stands in most leaves comes first", () => {
  // one rule for everybody in front of a thousand for one address each
  const wide = "@0.0.0.0/0\t0.0.0.0/0\t7 : 7\t0 : 65535\t0x06/0xFF";
  const sharp = Array.from({ length: 1000 }, (_, i) =>
    [`@10.${i >> 8}.${i & 255}.1/32`, "0.0.0.0/0", "0 : 65535", "80 : 80", "0x06/0xFF"].join("\t"),
  );
  const batch = benchClassbench(parseClassbench([wide, ...sharp].join("\n"), "rules"));
  const [first, second] = batch.trees().shapes[0]!.replicated;
  assert.equal(first!.clause, 0);
  assert.ok(first!.leaves > 100 && first!.leaves > second!.leaves);
});

test("verdictree tree tells every chain, and draws one", async (context) => {
  const files = temporaryFiles(context, { svg: "" });
  const all = await verdictree("tree", HOST_RULES, "--host", HOST, "--packets", "1000", "--json");
  assert.deepEqual([all.code, all.stderr], [0, ""]);
  const told = all.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    told.map(({ name }) => name),
    ["filter:FORWARD", "nat:PREROUTING", "nat:OUTPUT", "nat:POSTROUTING"],
  );
  assert.ok(told.every(({ packets, boxes_compared }) => packets === 1000 && Number(boxes_compared) > 0));

  const refused = await verdictree("tree", HOST_RULES, "--host", HOST, "--svg", files.svg);
  assert.deepEqual([refused.code, refused.stdout], [2, ""]);
  assert.match(refused.stderr, /--svg draws one tree, and there are 4/);

  const options = ["--chain", "nat:POSTROUTING", "--packets", "1000", "--svg", files.svg];
  const drawn = await verdictree("tree", HOST_RULES, "--host", HOST, ...options);
  assert.equal(drawn.code, 0);
  assert.match(drawn.stdout, /^nat:POSTROUTING: tree whose first box that holds is the answer\n/);
  const svg = readFileSync(files.svg, "utf8");
  // the root over the whole width, and below it bars that are as wide together
  const widths = [...svg.matchAll(/<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)" .*?<title>([^<]*)</g)];
  const root = widths.find(([, , title]) => !title!.includes("compared"))!;
  assert.match(root[2]!, /^100\.0 % of the packets/);
  const bars = widths.filter(([, , title]) => title!.includes("compared")).map(([, width]) => Number(width));
  assert.ok(bars.length > 1);
  assert.ok(Math.abs(bars.reduce((sum, width) => sum + width, 0) - Number(root[1])) < 1);
});

test("a filter set has no chains", async (context) => {
  const files = temporaryFiles(context, { rules: "@10.0.0.0/8\t0.0.0.0/0\t0 : 65535\t80 : 80\t0x06/0xFF\n" });
  const { code, stderr } = await verdictree("tree", files.rules, "--chain", "filter:INPUT");
  assert.equal(code, 2);
  assert.match(stderr, /--chain has no meaning with a filter set/);
  const told = await verdictree("tree", files.rules, "--packets", "500");
  assert.equal(told.code, 0);
  assert.match(told.stdout, /1 clauses, 1 boxes/);
});
