// verdictree fuzz: a changed rule is found, and the packet that shows it is as small as it can be.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { shrinkLine } from "../src/cli/shrink.ts";
import { temporaryFiles, verdictree } from "./support/command.ts";

const RULES = "examples/docker-host/rules.txt";
const HOST = ["--host", "examples/docker-host/host.json"];
const TEXT = readFileSync(RULES, "utf8");

interface Result {
  readonly packets: number;
  readonly seed: number;
  readonly equal: boolean;
  readonly alone?: boolean;
  readonly confirmed?: boolean;
  readonly packet?: Readonly<Record<string, unknown>>;
  readonly left?: { readonly verdict: string };
  readonly right?: { readonly verdict: string };
}

test("engine and reference agree on 20,000 packets of the main example", async () => {
  const { code, stdout, stderr } = await verdictree(
    "fuzz",
    RULES,
    ...HOST,
    "--packets",
    "20000",
    "--seed",
    "3",
    "--json",
  );
  assert.deepEqual([code, stderr], [0, ""]);
  assert.deepEqual(JSON.parse(stdout), { packets: 20_000, seed: 3, equal: true });
});

const CHANGES: Readonly<Record<string, (text: string) => string>> = {
  "another port": (text) => text.replace("--dport 32769", "--dport 32770"),
  "a negation": (text) => text.replace("-i docker0 -o docker0 -j DROP", "! -i docker0 -o docker0 -j DROP"),
  "another target": (text) => text.replace("-i docker0 -o docker0 -j DROP", "-i docker0 -o docker0 -j ACCEPT"),
  "two rules swapped": (text) => {
    const [drop, last] = ["-A FORWARD -i docker0 -o docker0 -j DROP\n", "-A FORWARD -o docker0 -j DOCKER\n"];
    return text.replace(drop, "").replace(last, drop + last);
  },
  "a jump turned into a goto": (text) =>
    text.replace("-A FORWARD -o docker0 -j DOCKER", "-A FORWARD -o docker0 -g DOCKER"),
};

for (const [name, change] of Object.entries(CHANGES)) {
  test(`against rules with ${name} a packet is found`, async (context) => {
    const changed = change(TEXT);
    assert.notEqual(changed, TEXT);
    const { other } = temporaryFiles(context, { other: changed });
    const { code, stdout, stderr } = await verdictree("fuzz", RULES, "--against", other, ...HOST, "--json");
    assert.deepEqual([code, stderr], [1, ""]);
    const { equal, packet, left, right, confirmed } = JSON.parse(stdout) as Result;
    assert.equal(equal, false);
    assert.equal(confirmed, true);
    assert.notDeepEqual(left, right);
    assert.ok(Object.keys(packet!).length <= 8, JSON.stringify(packet));
  });
}

test("threads find what one alone finds, far behind and by lot too", async (context) => {
  const rare = "-A FORWARD -m statistic --mode random --probability 0.0001 -j DROP\n";
  const { other } = temporaryFiles(context, { other: TEXT.replace("-A FORWARD -j", `${rare}-A FORWARD -j`) });
  const [one, three] = await Promise.all(
    ["1", "3"].map((threads) =>
      verdictree("fuzz", RULES, "--against", other, ...HOST, "--seed", "2", "--json", "--threads", threads),
    ),
  );
  assert.deepEqual(one, three);
  const { packets, equal, alone } = JSON.parse(one!.stdout) as Result;
  assert.deepEqual([equal, alone], [false, false]);
  assert.ok(packets > 4096, `found in the first portion: ${packets}`);

  const [first, second] = await Promise.all(
    ["1", "2"].map((threads) =>
      verdictree("fuzz", RULES, ...HOST, "--packets", "20000", "--json", "--threads", threads),
    ),
  );
  assert.deepEqual(first, second);
  assert.deepEqual(JSON.parse(first!.stdout), { packets: 20_000, seed: 1, equal: true });
});

test("without a host one is made up and told", async (context) => {
  const { other } = temporaryFiles(context, { other: CHANGES["another target"]!(TEXT) });
  const { code, stdout, stderr } = await verdictree("fuzz", RULES, "--against", other);
  assert.equal(code, 1);
  assert.match(stderr, /^note: no --host is given; this one is made up: \{"interfaces":\[\{"name":"docker0"/);
  assert.match(
    stdout,
    /a disagreement on\n\{"in":"docker0".*\}\nRULES:\n.* dropped in FORWARD .*\n(.*\n)*--against:\n/,
  );
});

test("shrinking leaves out what is not needed and makes plain what is", () => {
  const line = { id: 7, in: "eth0", dst: "10.10.10.101", proto: "tcp", flags: "SA", sport: 1234, dport: 8080, ttl: 17 };
  const needs = ({ dst, dport, flags }: Readonly<Record<string, unknown>>): boolean =>
    typeof dst === "string" && typeof dport === "number" && dport > 1023 && String(flags).includes("A");
  assert.deepEqual(shrinkLine(line, needs), { dst: "0.0.0.0", flags: "A", dport: 1024 });
});
