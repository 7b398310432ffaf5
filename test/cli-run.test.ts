// verdictree run: answers, counters, streams.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseRuleset } from "../src/rules/parse.ts";
import { temporaryFiles, verdictree, verdictreeReading } from "./support/command.ts";
import { readLines } from "./support/oracle.ts";

const EXAMPLE = ["examples/docker-host/rules.txt", "--host", "examples/docker-host/host.json"];
const PACKETS = "examples/docker-host/packets.jsonl";
const VERDICTS = readLines(readFileSync("examples/docker-host/verdicts.jsonl", "utf8"));

const ONE =
  '{"in": "eth0", "src": "203.0.113.9", "dst": "10.10.10.101", "proto": "tcp", "sport": 4000, "dport": 32768}';
const TWO = '{"id": "two", "in": "docker0", "src": "172.17.0.2", "dst": "172.17.0.3", "proto": "udp", "dport": 53}';

test("--json --trace answers as the kernel did, whoever is asked", async () => {
  for (const engine of [[], ["--engine", "wasm"], ["--engine", "reference"], ["--engine", "both"]]) {
    const args = ["--packets", PACKETS, "--stateless", "--trace", "--json", ...engine];
    const { code, stdout, stderr } = await verdictree("run", ...EXAMPLE, ...args);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.deepEqual(readLines(stdout), VERDICTS);
  }
});

test("people get a line a packet, and with --trace the rules below it", async () => {
  const plain = await verdictreeReading(`# two packets\n\n${ONE}\n${TWO}`, "run", ...EXAMPLE, "--packets", "-");
  assert.equal(
    plain.stdout,
    "1: tcp 203.0.113.9:4000 > 10.10.10.101:32768 in eth0: " +
      "forwarded by docker0 as 203.0.113.9:4000 > 172.17.0.2:80 (nat DOCKER:2, filter FORWARD:policy)\n" +
      "two: udp 172.17.0.2:1024 > 172.17.0.3:53 in docker0: dropped in FORWARD (filter FORWARD:5)\n",
  );
  const traced = await verdictreeReading(`${TWO}\n`, "run", ...EXAMPLE, "--packets", "-", "--trace");
  assert.equal(
    traced.stdout,
    `two: udp 172.17.0.2:1024 > 172.17.0.3:53 in docker0: dropped in FORWARD (filter FORWARD:5)
    nat PREROUTING:policy  policy ACCEPT
    filter FORWARD:1  examples/docker-host/rules.txt:7  -A FORWARD -j DOCKER-ISOLATION
    filter DOCKER-ISOLATION:1  examples/docker-host/rules.txt:14  -A DOCKER-ISOLATION -j RETURN
    filter FORWARD:2  examples/docker-host/rules.txt:8  -A FORWARD -o docker0 -j DOCKER
    filter FORWARD:5  examples/docker-host/rules.txt:11  -A FORWARD -i docker0 -o docker0 -j DROP
`,
  );
});

test("--counters counts what the kernel's traces name", async () => {
  interface Step {
    readonly table: string;
    readonly chain: string;
    readonly rule?: number;
  }
  const lengths = readLines(
    (await verdictree("run", ...EXAMPLE, "--packets", PACKETS, "--stateless", "--json")).stdout,
  );
  const packets = new Map<string, number>();
  for (const { trace } of VERDICTS as readonly { readonly trace: readonly Step[] }[]) {
    for (const { table, chain, rule } of trace) {
      const name = `${table} ${chain} ${rule ?? "policy"}`;
      packets.set(name, (packets.get(name) ?? 0) + 1);
    }
  }
  const { code, stdout } = await verdictree("run", ...EXAMPLE, "--packets", PACKETS, "--stateless", "--counters");
  assert.equal(code, 0);
  const { tables } = parseRuleset(stdout, { file: "counters" });
  for (const { name: table, chains } of tables) {
    for (const { name, policy, counters, rules } of chains) {
      const wanted = (number: number | "policy"): number => packets.get(`${table} ${name} ${number}`) ?? 0;
      if (policy !== null) assert.equal(Number(counters!.packets), wanted("policy"), `${table} ${name} policy`);
      rules.forEach((rule, index) => {
        assert.equal(Number(rule.counters!.packets), wanted(index + 1), rule.text);
      });
    }
  }
  // bytes: every packet that came by docker0 to nat PREROUTING for the host itself
  const chain = tables.find(({ name }) => name === "nat")!.chains.find(({ name }) => name === "DOCKER")!;
  assert.ok(Number(chain.rules[0]!.counters!.bytes) >= 28 * Number(chain.rules[0]!.counters!.packets));
  assert.equal(lengths.length, VERDICTS.length);
});

test("answers before a bad line are written, then the line is named", async () => {
  for (const [bad, reason] of [
    ['{"in": "eth0", "dst": "10.10.10.101", "sport": 70000}', /^\(standard input\):2:\d+: sport: .*65535/],
    ['{"in": "eth7", "dst": "10.10.10.101"}', /^\(standard input\):2:\d+: in: there is no interface "eth7"/],
    ['{"in": "eth0", "dst": ', /^\(standard input\):2:\d+: malformed JSON/],
    [
      '{"in": "eth0", "dst": "10.10.10.101", "proto": 58, "payload_hex": "8000000000000000"}',
      /^verdictree: \(standard input\):2: packet 2: connections of its protocol/,
    ],
  ] as const) {
    const input = `${ONE}\n${bad}\n${TWO}\n`;
    const { code, stdout, stderr } = await verdictreeReading(input, "run", ...EXAMPLE, "--packets", "-", "--json");
    assert.equal(code, 2);
    assert.equal(readLines(stdout).length, 1);
    assert.match(stderr.trimEnd().split("\n").at(-1)!, reason);
  }
});

test("without --stateless connections are followed, with it none is", async () => {
  const input = `${ONE}\n${ONE}\n`;
  const { code, stdout } = await verdictreeReading(input, "run", ...EXAMPLE, "--packets", "-", "--json");
  assert.equal(code, 0);
  assert.equal(readLines(stdout).length, 2);
  const alone = await verdictreeReading(input, "run", ...EXAMPLE, "--packets", "-", "--json", "--stateless");
  assert.equal(alone.code, 0);
  assert.equal(readLines(alone.stdout).length, 2);
});

test("rules with memory remember across portions, and go by the packets' clock", async (context) => {
  const { rules } = temporaryFiles(context, {
    rules:
      "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n" +
      "-A INPUT -m limit --limit 1/second --limit-burst 2 -j ACCEPT\nCOMMIT\n",
  });
  const packet = (time: number): string => JSON.stringify({ in: "eth0", src: "10.10.10.7", dst: "10.10.10.101", time });
  // 3,000 at once fill several portions of the input; one second later there is one token more
  const input = [...Array.from({ length: 3000 }, () => packet(5)), packet(6), packet(6)].join("\n");
  const args = ["run", rules, ...EXAMPLE.slice(1), "--packets", "-", "--json"];
  const { code, stdout, stderr } = await verdictreeReading(input, ...args);
  assert.deepEqual([code, stderr], [0, ""]);
  const passed = readLines(stdout).flatMap(({ id, verdict }) => (verdict === "delivered" ? [id] : []));
  assert.deepEqual(passed, [1, 2, 3001]);
});

interface Report {
  readonly packets: number;
  readonly packets_per_second: number;
  readonly verdicts: readonly { readonly packets: number }[];
  readonly nat: readonly {
    readonly rule: number;
    readonly packets: number;
    readonly translations: readonly object[];
  }[];
  readonly nat_others: number;
  readonly policies: readonly { readonly packets: number }[];
  readonly hottest: readonly {
    readonly packets: number;
    readonly file: string;
    readonly line: number;
    readonly text: string;
  }[];
  readonly least_hit: number;
  readonly never: readonly { readonly chain: string; readonly rule: number; readonly reason: string }[];
  readonly checked: number;
  readonly disagreements: number;
}

test("a stream of synthetic packets meets every rule, and engine and reference agree on it", async () => {
  const { code, stdout, stderr } = await verdictree("run", ...EXAMPLE, "--synthetic", "500000", "--json");
  assert.deepEqual([code, stderr], [0, ""]);
  const report = JSON.parse(stdout) as Report;
  assert.equal(report.packets, 500_000);
  assert.ok(report.packets_per_second > 0);
  assert.equal(
    report.verdicts.reduce((sum, { packets }) => sum + packets, 0),
    500_000,
  );
  // 2 DNAT, 3 MASQUERADE
  assert.equal(report.nat.length, 5);
  assert.ok(report.nat.every(({ translations }) => translations.length > 0));
  // 1,000 of 5,000,000 are promised
  assert.ok(report.least_hit >= 100, `${report.least_hit}`);
  assert.deepEqual(
    report.never.map(({ chain, rule, reason }) => `${chain}:${rule} ${reason}`),
    ["OUTPUT:1 no packet was sent by the host itself"],
  );
  assert.deepEqual([report.checked, report.disagreements], [5000, 0]);
  assert.equal(report.hottest[0]!.file, EXAMPLE[0]);
});

test("translations that are too many to be told apart are counted together", async (context) => {
  const spread = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j SNAT --to-source 10.9.0.0-10.9.63.255\nCOMMIT\n";
  const { rules } = temporaryFiles(context, { rules: spread });
  const args = ["run", rules, ...EXAMPLE.slice(1), "--synthetic", "100000", "--traffic", "uniform"];
  const report = JSON.parse((await verdictree(...args, "--json")).stdout) as Report;
  assert.ok(report.nat_others > 0);
  assert.equal(report.nat[0]!.packets + report.nat_others, report.hottest[0]!.packets);
  assert.match((await verdictree(...args)).stdout, /% {2}and others, not told apart/);
});

test("no policy takes more than half of the synthetic packets of the main example", async () => {
  const { stdout } = await verdictree("run", ...EXAMPLE, "--synthetic", "200000", "--json");
  for (const { packets, ...policy } of (JSON.parse(stdout) as Report).policies) {
    assert.ok(packets <= 100_000, `${packets} of 200000: ${JSON.stringify(policy)}`);
  }
});

test("a stream is the same for the same seed and another for another", async () => {
  const counters = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout } = await verdictree("run", ...EXAMPLE, "--synthetic", "20000", "--counters", ...args);
    assert.equal(code, 0);
    return stdout;
  };
  const first = await counters();
  assert.equal(await counters("--seed", "1", "--traffic", "edges"), first);
  assert.notEqual(await counters("--seed", "2"), first);
  for (const traffic of ["uniform", "flows", "zipf"]) assert.notEqual(await counters("--traffic", traffic), first);
});

test("a packet line may tell the state of its connection", async () => {
  const packet = {
    in: "eth0",
    src: "203.0.113.9",
    dst: "172.17.0.2",
    proto: "tcp",
    flags: "SA",
    ct_state: "ESTABLISHED",
  };
  const input = `${JSON.stringify(packet)}\n${JSON.stringify({ ...packet, ct_state: "LOST" })}\n`;
  const { code, stdout, stderr } = await verdictreeReading(input, "run", ...EXAMPLE, "--packets", "-");
  assert.equal(stdout, "1: tcp 203.0.113.9:1024 > 172.17.0.2:0 in eth0: forwarded by docker0 (filter FORWARD:3)\n");
  assert.equal(code, 2);
  assert.match(stderr, /:2:\d+: ct_state: one of INVALID, NEW, RELATED, ESTABLISHED, UNTRACKED is wanted/);
});

test("several threads come to what one comes to, and share nothing that packets leave behind", async (context) => {
  const example = ["examples/docker-host/rules.txt", "--host", "examples/docker-host/host.json"];
  const told = async (...options: readonly string[]): Promise<Record<string, unknown>> => {
    // four portions, so that threads get more than one
    const ran = await verdictree("run", ...example, "--synthetic", "200000", "--json", ...options);
    assert.deepEqual([ran.code, ran.stderr], [0, ""]);
    return JSON.parse(ran.stdout) as Record<string, unknown>;
  };
  const { way_ms: _1, generate_ms: _2, packets_per_second: _3, threads: one, ...right } = await told();
  const {
    way_ms: _4,
    generate_ms: _5,
    packets_per_second: _6,
    threads: three,
    ...shared
  } = await told("--threads", "3");
  assert.deepEqual([one, three], [1, 3]);
  assert.deepEqual(shared, right);
  assert.equal(shared["checked"], 2000);

  const remembering = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m limit --limit 1/s -j DROP\nCOMMIT\n";
  const files = temporaryFiles(context, { rules: remembering });
  const host = example.slice(1);
  const refused = [
    { args: [...example, "--traffic", "flows"], message: /follows connections, which all packets share/ },
    { args: [files.rules, ...host], message: /some rule remembers what came before/ },
  ];
  for (const { args, message } of refused) {
    const ran = await verdictree("run", ...args, "--synthetic", "1000", "--threads", "2");
    assert.deepEqual([ran.code, ran.stdout], [2, ""]);
    assert.match(ran.stderr, message);
  }
});
