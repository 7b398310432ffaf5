// ClassBench filter sets: five ranges a rule, nothing guessed.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { isClassbench, parseClassbench } from "../src/rules/classbench.ts";
import { RuleError } from "../src/rules/error.ts";

const DATA = new URL("../../shared/data/classbench/", import.meta.url);
const noData = existsSync(DATA) ? false : "../shared/data is not there";

const RULE = "@199.82.143.176/32\t105.134.0.0/16\t0 : 65535\t1704 : 1710\t0x06/0xFF";

test("a line becomes five ranges", () => {
  assert.deepEqual(parseClassbench(`${RULE}\n`, "test"), [
    {
      srcLo: 0xc7528fb0,
      srcHi: 0xc7528fb0,
      dstLo: 0x69860000,
      dstHi: 0x6986ffff,
      sportLo: 0,
      sportHi: 65535,
      dportLo: 1704,
      dportHi: 1710,
      protoLo: 6,
      protoHi: 6,
    },
  ]);
});

test("blanks, CRLF, blank lines and the empty column of flags are accepted", () => {
  const text = `\ufeff@0.0.0.0/0 255.0.0.0/8  1:2   3 : 4 0x11/0x00   0x0000/0x0000 \r\n\r\n${RULE}`;
  const [first, second] = parseClassbench(text, "test");
  assert.deepEqual([first!.srcHi, first!.dstLo, first!.protoLo, first!.protoHi], [0xffffffff, 0xff000000, 0, 255]);
  assert.equal(second!.dportHi, 1710);
});

test("a mask of the protocol that leaves neighbours is an interval", () => {
  const [rule] = parseClassbench(RULE.replace("0x06/0xFF", "0x30/0xF0"), "test");
  assert.deepEqual([rule!.protoLo, rule!.protoHi], [0x30, 0x3f]);
});

test("anything odd is refused at its place", () => {
  const cases: [string, string, number, RegExp][] = [
    ["0x06/0xFF", "0x06/0x0F", 57, /are no interval/],
    ["0x06/0xFF", "0x16/0xF0", 57, /bits outside its mask/],
    ["0x06/0xFF", "0x106/0xFF", 57, /out of range/],
    ["0x06/0xFF", "0x06/0xFF\t0x0200/0x0200", 67, /asks TCP flags is not modelled/],
    ["0x06/0xFF", "6", 1, /not of the form/],
    ["1704 : 1710", "1710 : 1704", 45, /the range 1710 : 1704 is empty/],
    ["1704 : 1710", "1704 : 70000", 52, /port 70000 is out of range/],
    ["1704 : 1710", "1704", 1, /not of the form/],
    ["105.134.0.0/16", "105.134.0.1/16", 20, /it would be 105.134.0.0\/16/],
    ["105.134.0.0/16", "105.134.0.0/33", 20, /prefix length 33/],
    ["105.134.0.0/16", "105.134.0/16", 20, /no IPv4 address/],
    ["@", "", 1, /not of the form/],
  ];
  for (const [from, to, column, reason] of cases) {
    const text = `${RULE}\n${RULE.replace(from, to)}\n`;
    assert.throws(
      () => parseClassbench(text, "test"),
      (error) =>
        error instanceof RuleError &&
        error.position.line === 2 &&
        error.position.column === column &&
        reason.test(error.reason),
      to,
    );
  }
  assert.throws(() => parseClassbench("\n", "test"), /no rules here/);
});

test("a filter set is known by the @ of its first line", () => {
  assert.ok(isClassbench(`\n${RULE}`));
  assert.ok(!isClassbench("*filter\n@1"));
});

test("the first rule that holds is the one of each trace's ground truth", { skip: noData }, () => {
  for (const name of readdirSync(DATA).filter((name) => name.endsWith("1k.rules.gz"))) {
    const rules = parseClassbench(unpack(name), name);
    const trace = unpack(name.replace("rules", "trace")).trimEnd().split("\n").slice(0, 3000);
    for (const line of trace) {
      const [src = 0, dst = 0, sport = 0, dport = 0, proto = 0, expected] = line.split(" ").map(Number);
      const first = rules.findIndex(
        (rule) =>
          rule.srcLo <= src &&
          src <= rule.srcHi &&
          rule.dstLo <= dst &&
          dst <= rule.dstHi &&
          rule.sportLo <= sport &&
          sport <= rule.sportHi &&
          rule.dportLo <= dport &&
          dport <= rule.dportHi &&
          rule.protoLo <= proto &&
          proto <= rule.protoHi,
      );
      assert.equal(first, expected, `${name}: ${line}`);
    }
  }
});

function unpack(name: string): string {
  return gunzipSync(readFileSync(new URL(name, DATA))).toString();
}
