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
    name: "lengths, as far as there are such with the header that the ports ask for",
    old: FILTER([]),
    new: FILTER(["-A INPUT -p tcp -m tcp --dport 1 -m length --length 0:100 -j ACCEPT"]),
    code: 1,
    told: ["verdict DROP INPUT:policy ACCEPT INPUT:1 proto=tcp dport=1 len=40-100"],
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
  ...[
    ["a list that is no longer written", "-m recent --set --name seen --mask 255.255.255.255 --rsource", ""],
    [
      "a list in which others are written",
      "-m recent --set --name seen --mask 255.255.255.255 --rsource",
      "-m recent --set --name other --mask 255.255.255.255 --rsource",
    ],
    ["entries that are no longer removed", "-m recent --remove --name seen --mask 255.255.255.255 --rsource", ""],
    ["a list that is no longer renewed", "-m recent --update --name seen --mask 255.255.255.255 --rsource", ""],
    ["a set that nothing enters any more", "-j SET --add-set bad src", ""],
    ["a set that is changed otherwise", "-j SET --add-set bad src", "-j SET --del-set bad src"],
  ].map(([name, old, new_]) => ({
    name: name!,
    old: FILTER([`-A INPUT -p udp ${old!}`, "-A INPUT -p udp -j DROP"]),
    new: FILTER([...(new_ === "" ? [] : [`-A INPUT -p udp ${new_!}`]), "-A INPUT -p udp -j DROP"]),
    code: 1,
    told: [`note DROP INPUT:2 DROP INPUT:${new_ === "" ? 1 : 2} proto=udp`],
  })),
  {
    name: "lists of two names, written in another order",
    old: FILTER([
      "-A INPUT -m recent --set --name a --mask 255.255.255.255 --rsource",
      "-A INPUT -m recent --set --name b --mask 255.255.255.255 --rsource",
    ]),
    new: FILTER([
      "-A INPUT -m recent --set --name b --mask 255.255.255.255 --rsource",
      "-A INPUT -m recent --set --name a --mask 255.255.255.255 --rsource",
    ]),
    code: 0,
    told: [],
  },
  {
    name: "a list that is written before it is asked",
    old: FILTER([
      "-A INPUT -m recent --rcheck --name a --mask 255.255.255.255 --rsource -j ACCEPT",
      "-A INPUT -m recent --set --name a --mask 255.255.255.255 --rsource",
    ]),
    new: FILTER([
      "-A INPUT -m recent --set --name a --mask 255.255.255.255 --rsource",
      "-A INPUT -m recent --rcheck --name a --mask 255.255.255.255 --rsource -j ACCEPT",
    ]),
    code: 1,
    told: [
      "verdict DROP INPUT:policy ACCEPT INPUT:2",
      "verdict ACCEPT INPUT:1 DROP INPUT:policy",
      "note ACCEPT INPUT:1 ACCEPT INPUT:2",
    ],
  },
  {
    name: "a bucket from which packets no longer take that are dropped in any case",
    old: FILTER(["-A INPUT -p udp -m limit --limit 5/min -j web", "-A web -p udp -m udp --dport 53 -j ACCEPT"]).replace(
      ":INPUT",
      ":web - [0:0]\n:INPUT",
    ),
    new: FILTER([
      "-A INPUT -p udp -m udp --dport 7 -j DROP",
      "-A INPUT -p udp -m limit --limit 5/min -j web",
      "-A web -p udp -m udp --dport 53 -j ACCEPT",
    ]).replace(":INPUT", ":web - [0:0]\n:INPUT"),
    code: 1,
    told: [
      "note DROP INPUT:policy DROP INPUT:1 proto=udp dport=7",
      "note DROP INPUT:policy DROP INPUT:1 header=4-7 bytes,0-3 bytes proto=udp",
      "note DROP web:1 DROP INPUT:1 header=4-7 bytes,0-3 bytes proto=udp",
    ],
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

  // a chain alone has no connections that connlimit could count
  const counts = "-A INPUT -m connlimit --connlimit-upto 3 -j ACCEPT";
  const asking = temporaryFiles(context, {
    old: FILTER([counts, ...rules]),
    other: FILTER([counts, ...rules], "ACCEPT"),
  });
  const untried = await verdictree("diff", asking.old, asking.other, "--budget", "2000", "--samples", "1000");
  assert.equal(untried.code, 3);
  assert.match(untried.stdout, /nothing was sampled/);
  assert.match(untried.stderr, /filter INPUT was not sampled/);
});

test("what differs in too many regions to read is not told region by region, and that it differs is said", async (context) => {
  // each pair of a source and a destination has its own two ports
  const rules = Array.from({ length: 230 }, (_, i) => [
    `-A INPUT -s 10.0.0.${i} -p tcp -m tcp --dport ${i} -j ACCEPT`,
    `-A INPUT -d 10.0.1.${i} -p tcp -m tcp --dport ${1000 + i} -j ACCEPT`,
  ]).flat();
  const files = temporaryFiles(context, { old: FILTER(rules), other: FILTER([]) });
  const { code, stdout } = await verdictree("diff", files.old, files.other, "--samples", "100000");
  assert.equal(code, 3);
  assert.match(
    stdout,
    /^filter INPUT: undecided: \S+ % of what may come is treated otherwise, in more than 50000 regions$/m,
  );
  assert.match(stdout, /^a difference by sampling: /m);
});

test("what cannot be known may be assumed, hosts resolved, sets loaded", async (context) => {
  const files = temporaryFiles(context, {
    old: FILTER(["-A INPUT -s gate -m cpu --cpu 0 -j ACCEPT"]),
    other: FILTER(["-A INPUT -s 192.0.2.7/32 -j ACCEPT"]),
    sets: "create bad hash:ip family inet hashsize 1024 maxelem 65536\n",
  });
  const given = ["--resolve", "gate=192.0.2.7", "--ipset", files.sets, "--quiet"];
  assert.equal((await verdictree("diff", files.old, files.other, ...given)).code, 1);
  const assumed = await verdictree("diff", files.old, files.other, ...given, "--assume", "cpu=match");
  assert.deepEqual([assumed.code, assumed.stderr], [0, ""]);
  const misspelt = await verdictree("diff", files.old, files.other, ...given, "--assume", "cpus=match");
  assert.equal(misspelt.code, 2);
  assert.match(misspelt.stderr, /--assume 'cpus=match': iptables has no match cpus/);
});

test("a match that changes what another asks is not compared beside it", async (context) => {
  const cluster = "-A INPUT -m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 7";
  const files = temporaryFiles(context, {
    old: FILTER([cluster, "-A INPUT -m pkttype --pkt-type multicast -j DROP"]),
    other: FILTER(["-A INPUT -m pkttype --pkt-type multicast -j DROP"]),
  });
  const answer = await verdictree("diff", files.old, files.other);
  assert.equal(answer.code, 2);
  assert.match(answer.stderr, /match pkttype beside match cluster is not compared/);
});

test("diff wants two files and a chain that there is", async () => {
  assert.equal((await verdictree("diff", RULES)).code, 2);
  assert.equal((await verdictree("diff", RULES, RULES, "--chain", "filter:DOCKER")).code, 2);
  assert.equal((await verdictree("diff", "-", "-")).code, 2);
});
