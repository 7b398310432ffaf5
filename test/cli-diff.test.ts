// verdictree diff: regions, exit codes and the honest fallback.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { temporaryFiles, verdictree } from "./support/command.ts";

const RULES = "examples/docker-host/rules.txt";
const TEXT = readFileSync(RULES, "utf8");

interface Line {
  readonly table: string;
  readonly chain: string;
  readonly kind: string;
  readonly old: { readonly verdict: string; readonly rule: string; readonly options?: string };
  readonly new: { readonly verdict: string; readonly rule: string; readonly options?: string };
  readonly region: Readonly<Record<string, readonly string[]>>;
  readonly witness: Readonly<Record<string, unknown>>;
}

function linesOf(stdout: string): readonly Line[] {
  return stdout.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as Line]));
}

test("rules that are the same are proved equal", async () => {
  const { code, stdout, stderr } = await verdictree("diff", RULES, RULES);
  assert.deepEqual([code, stdout, stderr], [0, "equal: no packet is treated otherwise (proved)\n", ""]);
});

test("another port is told as one region, with both answers and a packet", async (context) => {
  const { other } = temporaryFiles(context, { other: TEXT.replace("--dport 32769", "--dport 32770") });
  const { code, stdout } = await verdictree("diff", RULES, other, "--json", "--chain", "nat:PREROUTING", "--quiet");
  assert.equal(code, 1);
  const told = linesOf(stdout).map(({ kind, old, new: now, region }) => [
    kind,
    old.verdict,
    now.verdict,
    region["dport"],
  ]);
  assert.deepEqual(told, [
    ["nat", "ACCEPT", "DNAT", ["32770"]],
    ["nat", "DNAT", "ACCEPT", ["32769"]],
  ]);
});

const FILTER = (rules: readonly string[], policy = "DROP"): string =>
  ["*filter", `:INPUT ${policy} [0:0]`, ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ...rules, "COMMIT", ""].join(
    "\n",
  );

const CASES: readonly {
  readonly name: string;
  readonly old: string;
  readonly new: string;
  readonly code: number;
  readonly told: readonly string[];
}[] = [
  {
    name: "an accepted port",
    old: FILTER([]),
    new: FILTER(["-A INPUT -i eth0 -s 10.0.0.0/8 -p tcp -m tcp --dport 443:450 -j ACCEPT"]),
    code: 1,
    told: ["verdict DROP INPUT:policy ACCEPT INPUT:1 in=eth0 src=10.0.0.0/8 proto=tcp dport=443-450"],
  },
  {
    name: "two rules that never meet, swapped",
    old: FILTER(["-A INPUT -p tcp -m tcp --dport 1 -j ACCEPT", "-A INPUT -p tcp -m tcp --dport 2 -j REJECT"]),
    new: FILTER(["-A INPUT -p tcp -m tcp --dport 2 -j REJECT", "-A INPUT -p tcp -m tcp --dport 1 -j ACCEPT"]),
    code: 0,
    told: [],
  },
  {
    name: "other words for the same",
    old: FILTER(["-A INPUT -m state --state NEW -s 10.0.0.0/31 -j ACCEPT"]),
    new: FILTER([
      "-A INPUT -s 10.0.0.1 -m conntrack --ctstate NEW -j ACCEPT",
      "-A INPUT -s 10.0.0.0 -m conntrack --ctstate NEW -j ACCEPT",
    ]),
    code: 0,
    told: [],
  },
  {
    name: "another answer to what is rejected",
    old: FILTER(["-A INPUT -p icmp -j REJECT --reject-with icmp-port-unreachable"]),
    new: FILTER(["-A INPUT -p icmp -j REJECT --reject-with icmp-net-unreachable"]),
    code: 1,
    told: ["reject REJECT INPUT:1 REJECT INPUT:1 proto=icmp"],
  },
  {
    name: "a log that is new",
    old: FILTER(["-A INPUT -p icmp -j ACCEPT"]),
    new: FILTER(["-A INPUT -p icmp -j LOG --log-prefix ping", "-A INPUT -p icmp -j ACCEPT"]),
    code: 1,
    told: ["log ACCEPT INPUT:1 ACCEPT INPUT:2 proto=icmp"],
  },
  {
    name: "a mark on what is let through",
    old: FILTER(["-A INPUT -p icmp -j ACCEPT"]),
    new: FILTER(["-A INPUT -j MARK --set-xmark 0x2/0x2", "-A INPUT -p icmp -j ACCEPT"]),
    code: 1,
    told: ["mark ACCEPT INPUT:1 ACCEPT INPUT:2 proto=icmp mark=0x0/0x2"],
  },
  {
    name: "another chance",
    old: FILTER(["-A INPUT -p icmp -m statistic --mode random --probability 0.5 -j ACCEPT"]),
    new: FILTER(["-A INPUT -p icmp -m statistic --mode random --probability 0.25 -j ACCEPT"]),
    code: 1,
    told: ["probability DROP INPUT:policy DROP INPUT:policy proto=icmp"],
  },
  {
    name: "equal shares in another order",
    old: FILTER([
      "-A INPUT -p udp -m statistic --mode random --probability 0.5 -j REJECT",
      "-A INPUT -p udp -j ACCEPT",
    ]),
    new: FILTER([
      "-A INPUT -p udp -m statistic --mode random --probability 0.5 -j ACCEPT",
      "-A INPUT -p udp -j REJECT",
    ]),
    code: 0,
    told: [],
  },
  {
    name: "a limit that one rule set has in front",
    old: FILTER(["-A INPUT -m limit --limit 5/min -j ACCEPT"]),
    new: FILTER(["-A INPUT -m limit --limit 5/min -j ACCEPT", "-A INPUT -m limit --limit 5/min -j ACCEPT"]),
    code: 1,
    told: ["verdict DROP INPUT:policy ACCEPT INPUT:2"],
  },
  {
    name: "a payload that both look for",
    old: FILTER(['-A INPUT -m string --algo bm --string "x" -j DROP', "-A INPUT -j ACCEPT"]),
    new: FILTER([
      '-A INPUT -m string --algo bm --string "x" -j DROP',
      '-A INPUT -m string --algo bm --string "x" -j REJECT',
      "-A INPUT -j ACCEPT",
    ]),
    code: 0,
    told: [],
  },
];

for (const { name, old, new: other, code: expected, told } of CASES) {
  test(`diff: ${name}`, async (context) => {
    const files = temporaryFiles(context, { old, other });
    const { code, stdout, stderr } = await verdictree("diff", files.old, files.other, "--json", "--quiet");
    const lines = linesOf(stdout).map(({ kind, old: was, new: is, region }) =>
      [
        kind,
        was.verdict,
        was.rule,
        is.verdict,
        is.rule,
        ...Object.entries(region).map(([key, values]) => `${key}=${values.join()}`),
      ].join(" "),
    );
    assert.deepEqual([code, lines, stderr], [expected, told, ""]);
  });
}

test("what passes the budget is sampled, and said to be no proof", async (context) => {
  const rules = Array.from(
    { length: 200 },
    (_, i) => `-A INPUT -s 10.${i}.0.0/16 -d 10.${255 - i}.0.0/16 -p tcp -m tcp --dport ${i}:${i + 500} -j ACCEPT`,
  );
  const files = temporaryFiles(context, { old: FILTER(rules), other: FILTER(rules, "ACCEPT") });
  const few = ["--budget", "2000", "--samples", "1000", "--json"];
  const { code, stdout } = await verdictree("diff", files.old, files.other, ...few);
  const { kind, undecided, sampled } = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual([code, kind, (undecided as unknown[]).length], [3, "undecided", 1]);
  assert.ok(Number(sampled) > 0);
});

test("diff wants two files and a chain that there is", async () => {
  assert.equal((await verdictree("diff", RULES)).code, 2);
  assert.equal((await verdictree("diff", RULES, RULES, "--chain", "filter:DOCKER")).code, 2);
  assert.equal((await verdictree("diff", "-", "-")).code, 2);
});
