// verdictree print: the forms in which rules may be given, and what comes out.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { parseRuleset } from "../src/rules/parse.ts";
import { printRuleset } from "../src/rules/print.ts";
import { temporaryFiles, verdictree, verdictreeReading } from "./support/command.ts";

const RULES = "examples/docker-host/rules.txt";
const TEXT = readFileSync(RULES, "utf8");
const PRINTED = printRuleset(parseRuleset(TEXT, { file: RULES }));

test("a transcript is printed as iptables-save would print its rules", async () => {
  const { code, stdout, stderr } = await verdictree("print", RULES);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.equal(stdout, PRINTED);
  assert.match(stdout, /^\*filter\n:INPUT ACCEPT \[0:0\]\n/);
  assert.match(stdout, /\nCOMMIT\n\*nat\n/);
  assert.ok(stdout.endsWith("\nCOMMIT\n"));
});

test("standard input, a packed file and the printed text itself print the same", async (context) => {
  const files = temporaryFiles(context, { "rules.gz": gzipSync(TEXT), "printed.v4": PRINTED });
  const ran = [
    await verdictreeReading(TEXT, "print", "-"),
    await verdictree("print", files["rules.gz"]),
    await verdictree("print", files["printed.v4"]),
  ];
  for (const { code, stdout } of ran) {
    assert.equal(code, 0);
    assert.equal(stdout, PRINTED);
  }
});

test("listings of single tables are merged by --rules TABLE=FILE", async (context) => {
  const [, filter, nat] = TEXT.split(/^user@.*\n/m);
  const files = temporaryFiles(context, { filter: filter!, nat: nat! });
  const { code, stdout, stderr } = await verdictree("print", "--rules", files.filter, "--rules", `nat=${files.nat}`);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.equal(stdout, PRINTED);
});

test("what is left out of a transcript is told on stderr, unless it shall be quiet", async () => {
  const text = `user@docker1:~$ uname -r\n6.1.0\n${TEXT}`;
  const { code, stdout, stderr } = await verdictreeReading(text, "print", "-");
  assert.equal(code, 0);
  assert.equal(stdout, PRINTED);
  assert.match(stderr, /^note: \(standard input\):1: `uname -r` lists no rules/);
  const quiet = await verdictreeReading(text, "print", "-", "--quiet");
  assert.deepEqual([quiet.code, quiet.stderr], [0, ""]);
});
