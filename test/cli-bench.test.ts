// verdictree bench: the answers that it writes are right, and its figures have the promised form.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { drawTrace, parseTrace } from "../src/cli/trace.ts";
import { FIELD_COUNT, FIELD_DPORT, FIELD_DST, FIELD_PROTO, FIELD_SPORT, FIELD_SRC } from "../src/layout.ts";
import { parseClassbench } from "../src/rules/classbench.ts";
import type { ClassbenchRule } from "../src/rules/classbench.ts";
import { temporaryFiles, verdictree } from "./support/command.ts";
import { Draw } from "./support/draw.ts";

const RULES = "examples/docker-host/rules.txt";

/** Overlapping rules of every width; the last one does not match everything. */
function drawRules(draw: Draw, count: number): string {
  const prefix = (): string => {
    const length = draw.pick([0, 8, 16, 24, 30, 32]);
    const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
    const address = ((0x0a000000 | draw.below(0x30000)) & mask) >>> 0;
    return `${[24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".")}/${length}`;
  };
  const ports = (): string => draw.pick(["0 : 65535", "1024 : 65535", "80 : 80", "53 : 53", "6000 : 6100"]);
  const proto = (): string => draw.pick(["0x06/0xFF", "0x11/0xFF", "0x00/0x00"]);
  const lines = Array.from({ length: count }, () => [`@${prefix()}`, prefix(), ports(), ports(), proto()].join("\t"));
  return lines.filter((line) => !line.startsWith("@0.0.0.0/0\t0.0.0.0/0\t0 : 65535\t0 : 65535")).join("\n") + "\n";
}

/** From 1; 0: none. */
function firstMatch(rules: readonly ClassbenchRule[], packet: Uint32Array): number {
  const inside = (field: number, lo: number, hi: number): boolean => lo <= packet[field]! && packet[field]! <= hi;
  return (
    1 +
    rules.findIndex(
      (rule) =>
        inside(FIELD_SRC, rule.srcLo, rule.srcHi) &&
        inside(FIELD_DST, rule.dstLo, rule.dstHi) &&
        inside(FIELD_SPORT, rule.sportLo, rule.sportHi) &&
        inside(FIELD_DPORT, rule.dportLo, rule.dportHi) &&
        inside(FIELD_PROTO, rule.protoLo, rule.protoHi),
    )
  );
}

test("--out tells the first rule that matches, as a linear scan does", async (context) => {
  const text = drawRules(new Draw(5), 300);
  const rules = parseClassbench(text, "rules");
  const records = drawTrace(rules, 5000, 7);
  const packets = Array.from({ length: 5000 }, (_, index) =>
    records.subarray(index * FIELD_COUNT, (index + 1) * FIELD_COUNT),
  );
  const fields = [FIELD_SRC, FIELD_DST, FIELD_SPORT, FIELD_DPORT, FIELD_PROTO];
  const trace = packets.map((packet) => fields.map((field) => packet[field]).join("\t")).join("\n");
  const files = temporaryFiles(context, { rules: text, trace, out: "" });
  const args = ["--trace", files.trace, "--runs", "2", "--out", files.out, "--json"];
  const { code, stdout, stderr } = await verdictree("bench", files.rules, ...args);
  assert.deepEqual([code, stderr], [0, ""]);

  const answers = readFileSync(files.out, "utf8").trimEnd().split("\n").map(Number);
  assert.deepEqual(
    answers,
    packets.map((packet) => firstMatch(rules, packet)),
  );
  assert.ok(answers.includes(0));
  assert.ok(new Set(answers).size > 50);

  const { mpps, node, cpu, ...figures } = JSON.parse(stdout) as Record<string, number> & {
    readonly mpps: { readonly median: number; readonly min: number; readonly max: number };
  };
  assert.deepEqual([figures["rules"], figures["packets"], figures["threads"]], [rules.length, 5000, 1]);
  for (const name of ["clauses", "build_ms", "tree_bytes", "memory_bytes"]) assert.ok(figures[name]! > 0, name);
  assert.ok(0 < mpps.min && mpps.min <= mpps.median && mpps.median <= mpps.max);
  assert.equal(node, process.version);
  assert.equal(typeof cpu, "string");
});

test("a built-in chain is asked with drawn packets, or with those of a trace", async (context) => {
  const files = temporaryFiles(context, { trace: "1 2 3 4 6 0\n5 6 7 8 17\n", out: "" });
  const drawn = await verdictree("bench", RULES, "--packets", "1000", "--runs", "1");
  assert.deepEqual([drawn.code, drawn.stderr], [0, ""]);
  assert.match(drawn.stdout, /^[\d.]+ million packets\/s \(.* 1 passes over 1,000 packets, one thread\)\n16 rules, /);
  const args = ["--chain", "filter:INPUT", "--trace", files.trace, "--runs", "1", "--out", files.out];
  assert.equal((await verdictree("bench", RULES, ...args)).code, 0);
  assert.equal(readFileSync(files.out, "utf8"), "INPUT:policy\nINPUT:policy\n");
});

test("with a host a chain may ask for the host's own addresses", async (context) => {
  const { trace, out } = temporaryFiles(context, { trace: `1 168430181 3 32768 6\n1 2 3 32768 6\n`, out: "" });
  const args = ["--chain", "nat:PREROUTING", "--host", "examples/docker-host/host.json", "--runs", "1"];
  const { code, stderr } = await verdictree("bench", RULES, ...args, "--trace", trace, "--out", out);
  assert.deepEqual([code, stderr], [0, ""]);
  // 10.10.10.101 is the host's own
  assert.equal(readFileSync(out, "utf8"), "DOCKER:2\nPREROUTING:policy\n");
  assert.equal((await verdictree("bench", RULES, ...args, "--packets", "1000")).code, 0);
});

test("what cannot be measured is a sentence", async (context) => {
  const files = temporaryFiles(context, {
    bad: "1 2 3 4 6\n1 2 3 70000 6\n",
    short: "1 2 3\n",
    rules: "@1.2.3.4/32\n",
  });
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [[RULES, "--trace", files.bad], /bad:2: the destination port 70000 is no number from 0 to 65535\n$/],
    [[RULES, "--trace", files.short], /short:1: the destination port is missing\n$/],
    [[RULES, "--chain", "FORWARD"], /--chain FORWARD: TABLE:CHAIN names a built-in chain/],
    [[RULES, "--chain", "filter:DOCKER"], /names a built-in chain/],
    [[RULES, "--chain", "raw:OUTPUT"], /the rules have no table raw/],
    [[RULES, "--chain", "nat:PREROUTING"], /rules\.txt:21:\d+: .*addrtype/],
    [
      [RULES, "--packets", "10", "--runs", "1", "--out", "/nowhere/out"],
      /\/nowhere\/out: it cannot be written \(ENOENT\)/,
    ],
    [[files.rules], /rules:1:1: not of the form/],
  ];
  for (const [args, sentence] of cases) {
    const { code, stdout, stderr } = await verdictree("bench", ...args);
    assert.deepEqual([code, stdout], [2, ""], stderr);
    assert.match(stderr, sentence);
  }
});

test("several threads give the answers of one, over a filter set and over a chain", async (context) => {
  const files = temporaryFiles(context, { rules: drawRules(new Draw(8), 300), one: "", three: "" });
  const subjects = [[files.rules], [RULES, "--host", "examples/docker-host/host.json"]];
  for (const subject of subjects) {
    const args = [...subject, "--packets", "3001", "--runs", "2", "--json"];
    const one = await verdictree("bench", ...args, "--out", files.one);
    const three = await verdictree("bench", ...args, "--threads", "3", "--out", files.three);
    assert.deepEqual([one.code, three.code, three.stderr], [0, 0, ""]);
    const { threads, packets } = JSON.parse(three.stdout) as Record<string, unknown>;
    assert.deepEqual([threads, packets], [3, 3001]);
    assert.equal(readFileSync(files.three, "utf8"), readFileSync(files.one, "utf8"));
  }
});

test("rules that remember are not shared out to threads", async (context) => {
  const text = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m limit --limit 1/sec -j ACCEPT\nCOMMIT\n";
  const files = temporaryFiles(context, { rules: text });
  const { code, stdout, stderr } = await verdictree("bench", files.rules, "--threads", "2");
  assert.deepEqual([code, stdout], [2, ""]);
  assert.match(stderr, /remembers/);
});

test("a trace is cut to --packets, and blank lines count for nothing", () => {
  assert.equal(parseTrace("1 2 3 4 6\n\n5 6 7 8 17\n", "trace", Infinity).length, 2 * FIELD_COUNT);
  assert.equal(parseTrace("1 2 3 4 6\n\n5 6 7 8 17\n", "trace", 1).length, FIELD_COUNT);
});

const DATA = fileURLToPath(new URL("../../shared/data/classbench", import.meta.url));

for (const set of ["acl1_1k", "fw1_1k", "ipc1_1k"]) {
  const trace = join(DATA, `${set}.trace.gz`);
  test(
    `${set}: every answer is that of the trace`,
    { skip: !existsSync(trace) && "no such set here" },
    async (context) => {
      const { out } = temporaryFiles(context, { out: "" });
      const args = ["--trace", trace, "--runs", "1", "--out", out];
      const { code, stderr } = await verdictree("bench", join(DATA, `${set}.rules.gz`), ...args);
      assert.deepEqual([code, stderr], [0, ""]);
      const lines = gunzipSync(readFileSync(trace)).toString().trimEnd().split("\n");
      const expected = lines.map((line) => Number(line.trim().split(/\s+/)[5]) + 1);
      assert.deepEqual(readFileSync(out, "utf8").trimEnd().split("\n").map(Number), expected);
    },
  );
}

test("options about chains have no meaning with a filter set", async (context) => {
  const { rules } = temporaryFiles(context, { rules: "@0.0.0.0/0\t10.0.0.0/8\t0 : 65535\t80 : 80\t0x06/0xFF\n" });
  for (const [command, option, value] of [
    ["bench", "--chain", "filter:INPUT"],
    ["tree", "--host", "examples/docker-host/host.json"],
    ["bench", "--assume", "time=match"],
  ] as const) {
    const { code, stdout, stderr } = await verdictree(command, rules, option, value);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.equal(stderr, `verdictree: ${option} has no meaning with a filter set\n`);
  }
});
