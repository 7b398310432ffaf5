// The command line where it is used wrongly, cut short or interrupted: exit codes, sentences, silence on stdout.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { COMMAND, ROOT, ended, start, temporaryFiles, verdictree, verdictreeReading } from "./support/command.ts";

const RULES = "examples/docker-host/rules.txt";
const HOST = "examples/docker-host/host.json";
const PACKETS = "examples/docker-host/packets.jsonl";
const FILTER = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";

const MISUSES: readonly (readonly [args: readonly string[], sentence: RegExp])[] = [
  [[], /Usage: verdictree/],
  [["walk"], /unknown command 'walk'/],
  [["print", RULES, "--jsom"], /unknown option '--jsom'/],
  [["print", RULES, RULES], /too many arguments/],
  [["print"], /no rules are given/],
  [["print", "nowhere.txt"], /nowhere\.txt: there is no such file$/],
  [["print", "examples"], /examples: it is a directory$/],
  [["print", `${RULES}/x`], /there is no such file$/],
  [["print", RULES, "--rules", RULES], /either as RULES or with --rules, not both/],
  [["print", "--rules", "-", "--rules", "nat=-"], /standard input can be read only once/],
  [
    ["print", "--rules", RULES, "--rules", RULES],
    /^examples\/docker-host\/rules\.txt:1:\d+: table filter stands twice, .*rules\.txt:1$/,
  ],
  [["print", "--rules", `mangle=${RULES}`], /^examples\/docker-host\/rules\.txt:1:\d+: /],
  [["run", RULES, "--host", HOST], /either --packets FILE or --synthetic N/],
  [["run", RULES, "--host", HOST, "--packets", PACKETS, "--synthetic", "5"], /either --packets FILE or --synthetic N/],
  [["run", RULES, "--packets", PACKETS], /needs --host HOST\.json/],
  [["run", RULES, "--host", HOST, "--synthetic", "0"], /whole number from 1 to/],
  [["run", RULES, "--host", HOST, "--synthetic", "1e6"], /whole number from 1 to/],
  [["run", RULES, "--host", HOST, "--synthetic", "9", "--seed", "-1"], /whole number from 0 to 4294967295/],
  [["run", RULES, "--host", HOST, "--synthetic", "9", "--traffic", "rain"], /Allowed choices are uniform, edges/],
  [["run", RULES, "--host", HOST, "--synthetic", "9", "--stateless"], /--stateless has no meaning with --synthetic/],
  [
    ["run", RULES, "--host", HOST, "--packets", PACKETS, "--traffic", "zipf"],
    /--traffic has no meaning with --packets/,
  ],
  [
    ["run", RULES, "--host", HOST, "--packets", PACKETS, "--engine", "gpu"],
    /Allowed choices are wasm, reference, both/,
  ],
  [["run", RULES, "--host", HOST, "--packets", PACKETS, "--json", "--counters"], /cannot be used with/],
  [["run", RULES, "--host", "-", "--packets", "-"], /standard input can be read only once/],
  [
    ["run", RULES, "--host", PACKETS, "--packets", PACKETS],
    /^examples\/docker-host\/packets\.jsonl:1:1: malformed JSON/,
  ],
  [["run", RULES, "--host", HOST, "--packets", HOST], /^examples\/docker-host\/host\.json:1:\d+: malformed JSON/],
  [["run", RULES, "--host", HOST, "--packets", "/dev/null"], /\/dev\/null:1: there are no packets in it$/],
  [["fuzz", RULES, "--minutes", "0"], /above 0/],
  [["fuzz", RULES, "--minutes", "soon"], /above 0/],
  [["fuzz", "-", "--against", "-"], /standard input can be read only once/],
  [["fuzz", RULES, "--against", RULES, "--ipset", "-"], /standard input can be read only once/],
  [["diff", RULES, RULES, "--ipset", "-"], /standard input can be read only once/],
  [["run", RULES, "--host", "-", "--ipset", "-", "--synthetic", "9"], /standard input can be read only once/],
  [["run", RULES, "--host", HOST, "--synthetic", "4294967297"], /whole number from 1 to 4294967296/],
  [
    ["explain", RULES, "--host", HOST, "--packet", "tcp 10.0.0.1 > 10.10.10.101 > 10.0.0.2 in=eth0"],
    /is no packet: PROTO SRC/,
  ],
  [["bench", RULES, "--packets", "9", "--threads", "2", "--out", "nowhere/out"], /nowhere\/out: it cannot be written/],
];

// each is a process of its own: two at a time
void describe("misuse ends with exit 2 and a sentence", { concurrency: 2 }, () => {
  for (const [args, sentence] of MISUSES) {
    test(`verdictree ${args.join(" ")}`, async () => {
      const { code, stdout, stderr } = await verdictree(...args);
      assert.equal(code, 2, stderr);
      assert.equal(stdout, "");
      assert.doesNotMatch(stderr, /\n\s+at /, "a stack trace");
      assert.match(args.length === 0 ? stderr : lastLine(stderr), sentence);
    });
  }
});

test("the last line on stderr names file, line and reason of a bad rule", async (context) => {
  const { rules } = temporaryFiles(context, {
    rules: FILTER.replace("COMMIT", "-A INPUT -p tcp -m tcp --dport 70000 -j ACCEPT\nCOMMIT"),
  });
  const { code, stdout, stderr } = await verdictree("print", rules);
  assert.equal(code, 2);
  assert.equal(stdout, "");
  const [line, caret, sentence] = stderr.split("\n");
  assert.equal(line, "  -A INPUT -p tcp -m tcp --dport 70000 -j ACCEPT");
  assert.match(caret!, /^ {33}\^+$/);
  assert.ok(sentence!.startsWith(`${rules}:5:32: `), sentence);
  assert.match(sentence!, /70000/);
});

test("files that cannot be text are told by name", async (context) => {
  const files = temporaryFiles(context, {
    "empty.txt": "",
    "blank.txt": " \n\n",
    "latin1.txt": Buffer.from(`${FILTER}# caf\xe9\n`, "latin1"),
    "plain.gz": FILTER,
    "cut.gz": gzipSync(FILTER).subarray(0, 30),
  });
  const sentences = {
    "empty.txt": /empty\.txt:1: the file is empty$/,
    "blank.txt": /blank\.txt:1: the file is empty$/,
    "latin1.txt": /latin1\.txt:6: not UTF-8 text$/,
    "plain.gz": /plain\.gz: it is no valid gzip file$/,
    "cut.gz": /cut\.gz: the gzip file ends too early$/,
  };
  for (const [name, sentence] of Object.entries(sentences)) {
    const { code, stdout, stderr } = await verdictree("print", files[name as keyof typeof sentences]);
    assert.deepEqual([code, stdout], [2, ""], name);
    assert.match(lastLine(stderr), sentence);
  }
});

test("the line that is not UTF-8 is named, however the bytes come in", async (context) => {
  // a letter of two bytes lies across the end of the first portion that is read
  const good = `#${"x".repeat(65_534)}\u00e9\n${"# \ufffd\n".repeat(3)}`;
  const { rules } = temporaryFiles(context, { rules: Buffer.concat([Buffer.from(good), Buffer.from([0xe9, 10])]) });
  const { code, stderr } = await verdictree("print", rules);
  assert.equal(code, 2);
  assert.match(lastLine(stderr), /:5: not UTF-8 text$/);
});

test("a packet line that does not end is refused before it fills the memory", async (context) => {
  const { packets } = temporaryFiles(context, { packets: `\n${" ".repeat(3_000_000)}` });
  const { code, stderr } = await verdictree("run", RULES, "--host", HOST, "--packets", packets);
  assert.equal(code, 2);
  assert.match(lastLine(stderr), /packets:2: the line is longer than 1000000 characters$/);
});

test("output that cannot be written is told, and is no finding", { skip: !existsSync("/dev/full") }, async () => {
  const command = [...COMMAND, "print", RULES].map((word) => `'${word}'`).join(" ");
  const script = `${command} > /dev/full; echo "$?"`;
  const { stdout, stderr } = await promisify(execFile)("bash", ["-c", script], { cwd: ROOT });
  assert.equal(stdout, "2\n");
  assert.equal(stderr, "verdictree: the output cannot be written (ENOSPC)\n");
});

test("--help tells every command with an example, and the version stands in package.json", async () => {
  for (const command of ["run", "bench", "fuzz", "print"]) {
    const { code, stdout } = await verdictree(command, "--help");
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`Examples?:\n  verdictree ${command} `));
  }
  const { code, stdout } = await verdictree("--version");
  assert.equal(code, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

test("a reader that has had enough is no error", async () => {
  const command = [...COMMAND, "print", RULES].map((word) => `'${word}'`).join(" ");
  const script = `${command} | head -n 1; echo "\${PIPESTATUS[0]}"`;
  const { stdout, stderr } = await promisify(execFile)("bash", ["-c", script], { cwd: ROOT });
  assert.equal(stdout, "*filter\n0\n");
  assert.equal(stderr, "");
});

test("^C while packets are awaited ends with 130, and what was answered is written", async () => {
  const child = start("run", RULES, "--host", HOST, "--packets", "-");
  const outcome = ended(child);
  child.stdin.write('{"in": "eth0", "src": "10.10.10.7", "dst": "10.10.10.101", "proto": "tcp", "dport": 22}\n');
  child.stdout.once("data", () => child.kill("SIGINT"));
  const { code, stdout, stderr } = await outcome;
  assert.equal(code, 130, stderr);
  assert.match(stdout, /^1: tcp .*: delivered from eth0/);
});

test("^C during a stream ends with 130, and what is known is printed", async () => {
  const child = start("run", RULES, "--host", HOST, "--synthetic", "4294967296", "--json");
  const outcome = ended(child);
  setTimeout(() => child.kill("SIGINT"), 3000);
  const { code, stdout, stderr } = await outcome;
  assert.equal(code, 130, stderr);
  const { packets } = JSON.parse(stdout) as { packets: number };
  assert.ok(packets > 0 && packets < 2 ** 32);
});

test("a progress bar stands on no pipe, and results carry no colours", async () => {
  const { code, stdout, stderr } = await verdictreeReading(
    "",
    "run",
    RULES,
    "--host",
    HOST,
    "--packets",
    PACKETS,
    "--stateless",
  );
  assert.equal(code, 0);
  assert.equal(stderr, "");
  assert.ok(!stdout.includes("\u001b"));
});

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1)!;
}
