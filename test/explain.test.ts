// verdictree explain: the way is that of the kernel, rule by rule; what it says of others around the packet is true.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { explainPacket } from "../src/explain/explain.ts";
import type { Explanation } from "../src/explain/explain.ts";
import { sureRegion } from "../src/explain/region.ts";
import type { SureRegion } from "../src/explain/region.ts";
import { parseHost } from "../src/host/parse.ts";
import { formatAddress } from "../src/net/address.ts";
import { parseArrival } from "../src/packet/line.ts";
import type { Arrival, Packet } from "../src/packet/packet.ts";
import { Reference } from "../src/reference/reference.ts";
import { RuleError } from "../src/rules/error.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import { verdictree } from "./support/command.ts";
import { Draw } from "./support/draw.ts";

interface Verdict {
  readonly trace: readonly { readonly table: string; readonly chain: string; readonly rule?: number }[];
}

/** Cases with rules, a host, packets and the verdicts of a kernel. */
function casesOf(folder: string, rules: string): readonly { readonly folder: string; readonly rules: string }[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .map((name) => ({ folder: `${folder}/${name}`, rules: `${folder}/${name}/${rules}` }))
    .filter(({ folder: each, rules: file }) => existsSync(file) && existsSync(`${each}/verdicts.jsonl`))
    .filter(({ folder: each }) => !existsSync(`${each}/args`));
}

const CASES = [...casesOf("examples", "rules.txt"), ...casesOf("../shared/oracle/examples", "rules.v4")];

for (const { folder, rules } of CASES) {
  test(`the way of each packet of ${folder} is the kernel's, rule by rule`, () => {
    const ruleset = parseRuleset(readFileSync(rules, "utf8"), { file: rules });
    const host = parseHost(readFileSync(`${folder}/host.json`, "utf8"), "host.json");
    const lines = (file: string): string[] =>
      readFileSync(`${folder}/${file}`, "utf8")
        .split("\n")
        .filter((line) => line.trim() !== "" && !line.startsWith("#"));
    const verdicts = lines("verdicts.jsonl").map((line) => JSON.parse(line) as Verdict);
    const before: Arrival[] = [];
    lines("packets.jsonl").forEach((line, index) => {
      const time = before.at(-1)?.time ?? 0;
      const arrival = parseArrival(line, "packets", index + 1, host, { packets: index, time });
      const explanation = explainPacket(ruleset, host, arrival, { before });
      const { trace } = verdicts[index]!;
      const kernel = trace.map(({ table, chain, rule }) => `${table} ${chain} ${rule ?? "policy"}`);
      assert.deepEqual(wayOf(explanation), kernel, line);
      before.push(arrival);
    });
    assert.ok(before.length > 0);
  });
}

function wayOf({ chains }: Explanation): string[] {
  return chains
    .filter(({ own }) => own)
    .flatMap(({ table, chain, steps, end }) => [
      ...steps.flatMap(({ kind, ref }) => (kind === "matched" ? [`${table} ${ref.chain} ${ref.number}`] : [])),
      ...(end.ref.number === "policy" ? [`${table} ${chain} policy`] : []),
    ]);
}

test("packets of the region that surely goes the same way do so", () => {
  const folder = "examples/docker-host";
  const ruleset = parseRuleset(readFileSync(`${folder}/rules.txt`, "utf8"), { file: "rules" });
  const host = parseHost(readFileSync(`${folder}/host.json`, "utf8"), "host.json");
  const draw = new Draw(7);
  let wide = 0;
  for (let n = 0; n < 300; n++) {
    const line = {
      in: draw.pick(["eth0", "eth1", "docker0"]),
      src: formatAddress(draw.pick([0xcb007109, 0xac110002, 0xac110003, 0x0a0a0a01, 0xc0a80a09])),
      dst: formatAddress(draw.pick([0x0a0a0a65, 0xc0a80a65, 0xac110002, 0xac110003, 0x08080808])),
      proto: draw.pick(["tcp", "udp"]),
      sport: draw.pick([80, 4000]),
      dport: draw.pick([80, 32768, 32769, 53]),
    };
    const arrival = parseArrival(JSON.stringify(line), "", 1, host);
    const explanation = explainPacket(ruleset, host, arrival);
    const { fields } = sureRegion(explanation, arrival, ruleset, host);
    if (fields.sport === undefined) wide++;
    for (let more = 0; more < 10; more++) {
      const value = (name: "src" | "dst" | "sport" | "dport" | "ttl", max: number): number => {
        const set = fields[name] ?? [0, max];
        const at = 2 * draw.below(set.length / 2);
        return draw.chance(0.3) ? set[at + draw.below(2)]! : draw.between(set[at]!, set[at + 1]!);
      };
      const other = {
        ...line,
        ...{ src: formatAddress(value("src", 0xffffffff)), dst: formatAddress(value("dst", 0xffffffff)) },
        ...{ sport: value("sport", 65535), dport: value("dport", 65535), ttl: value("ttl", 255) },
      };
      const again = new Reference(ruleset, host, { stateless: true }).run(
        parseArrival(JSON.stringify(other), "", 1, host),
      );
      assert.deepEqual(
        [again.outcome.verdict, again.outcome.iface, again.trace],
        [explanation.outcome.verdict, explanation.outcome.iface, explanation.trace],
        `${JSON.stringify(line)} and ${JSON.stringify(other)}`,
      );
    }
  }
  assert.ok(wide > 100, `${wide} regions are wider than the packet's port`);
});

const RUN = ["examples/docker-host/rules.txt", "--host", "examples/docker-host/host.json"];
const PACKET = "tcp 203.0.113.9:40000 > 10.10.10.101:32768 in=eth0 flags=SYN";

test("explain tells rules with their lines, why others failed, and what NAT made of the packet", async () => {
  const { code, stdout, stderr } = await verdictree("explain", ...RUN, "--packet", PACKET);
  assert.deepEqual([code, stderr], [0, ""]);
  for (const part of [
    "+ nat DOCKER:2  examples/docker-host/rules.txt:27  -A DOCKER ! -i docker0",
    "- DOCKER:1 not: -i docker0",
    "destination 10.10.10.101:32768 becomes 172.17.0.2:80, routed out by docker0",
    "- FORWARD:3-5 not: -m conntrack --ctstate RELATED,ESTABLISHED; -i docker0 (2)",
    "forwarded by docker0 as 203.0.113.9:40000 > 172.17.0.2:80",
    "The same way go, at the least: in=eth0 src=192.168.11.0-223.255.255.255 dst=10.10.10.101 proto=tcp dport=32768",
  ]) {
    assert.ok(stdout.includes(part), `${part}\nis not in\n${stdout}`);
  }
});

test("explain --json is the answer of run with chains and the region", async () => {
  const { code, stdout } = await verdictree("explain", ...RUN, "--packet", PACKET, "--json");
  const { verdict, out, chains, region } = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual([code, verdict, out, (chains as unknown[]).length], [0, "forwarded", "docker0", 3]);
  assert.deepEqual((region as Record<string, unknown>)["dport"], ["32768"]);
});

test("explain --why-not tells where a rule failed, or what came before it", async () => {
  const asked = await verdictree("explain", ...RUN, "--packet", PACKET, "--why-not", "nat:DOCKER:1");
  assert.match(asked.stdout, /it failed at -i docker0/);
  const missed = await verdictree("explain", ...RUN, "--packet", PACKET, "--why-not", "nat:DOCKER:3");
  assert.match(missed.stdout, /it was not reached\n {2}before it: nat DOCKER:2/);
  assert.equal((await verdictree("explain", ...RUN, "--packet", PACKET, "--why-not", "nat:DOCKER:30")).code, 2);
});

test("explain --format trace writes the lines of the kernel's TRACE", async () => {
  const { stdout } = await verdictree("explain", ...RUN, "--packet", PACKET, "--format", "trace");
  assert.deepEqual(
    stdout.split("\n").map((line) => line.split(" ", 2)[1]),
    [
      ...["nat:PREROUTING:rule:1", "nat:DOCKER:rule:2", "filter:FORWARD:rule:1", "filter:DOCKER-ISOLATION:rule:1"],
      ...["filter:FORWARD:rule:2", "filter:DOCKER:return:3", "filter:FORWARD:policy:6", "nat:POSTROUTING:policy:4"],
      undefined,
    ],
  );
  assert.match(
    stdout,
    /IN=eth0 OUT=docker0 SRC=203\.0\.113\.9 DST=172\.17\.0\.2 LEN=40 .* TTL=63 .* PROTO=TCP SPT=40000 DPT=80/,
  );
});

test("a packet in words that make none is refused", async () => {
  for (const text of [
    "tcp 1.2.3.4",
    "tcp 1.2.3.4 > 5.6.7.8 eth0",
    "tcp 1.2.3.4:x > 5.6.7.8 in=eth0",
    "tcp 1.2.3.4 > 5.6.7.8 in=eth9",
  ]) {
    const { code, stdout } = await verdictree("explain", ...RUN, "--packet", text);
    assert.deepEqual([code, stdout], [2, ""], text);
  }
});

// the end of each way hangs on a field that no condition names
const UNNAMED: Readonly<Record<string, string>> = {
  "a target lowers TTL": "-A PREROUTING -j TTL --ttl-dec 5",
  "a mark is a hash of the tuple":
    "-A PREROUTING -j HMARK --hmark-tuple src,sport --hmark-mod 2 --hmark-offset 1 --hmark-rnd 0x1\n" +
    "-A PREROUTING -m mark --mark 1 -j DROP",
  "a match asks the tuple of the connection":
    "-A PREROUTING -m conntrack --ctorigdst 10.0.1.9 --ctorigdstport 53 -j DROP\n" +
    "-A PREROUTING -m conntrack ! --ctorigsrc 10.0.0.9 -j DROP",
  "a target adds an option":
    "-A PREROUTING -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 500\n-A PREROUTING -m length --length 44 -j DROP",
  "a packet came before": "-A PREROUTING -m conntrack --ctstate ESTABLISHED -j DROP",
};

for (const [what, rules] of Object.entries(UNNAMED)) {
  test(`packets of the region go the same way where ${what}`, () => {
    const text = `*mangle\n:PREROUTING ACCEPT [0:0]\n${rules}\nCOMMIT\n`;
    const ruleset = parseRuleset(text, { file: "rules" });
    const interfaces = [
      { name: "eth0", addresses: ["10.0.0.1/24"] },
      { name: "eth1", addresses: ["10.0.1.1/24"] },
    ];
    const host = parseHost(JSON.stringify({ interfaces }), "host");
    const read = (line: object): Arrival => parseArrival(JSON.stringify(line), "", 1, host);
    const there = { in: "eth0", src: "10.0.0.9", dst: "10.0.1.9", proto: "udp", sport: 1000, dport: 53 };
    const back = { ...there, in: "eth1", src: there.dst, dst: there.src, sport: 53, dport: 1000 };
    const before = what === "a packet came before" ? [read(there), read(back)] : [];
    const draw = new Draw(3);
    const drawn = (): object => ({
      in: "eth0",
      ...{ src: draw.pick(["10.0.0.9", "10.0.0.8"]), dst: draw.pick(["10.0.1.9", "10.0.1.8"]), proto: "tcp" },
      ...{ sport: draw.pick([1000, 1001]), dport: draw.pick([53, 54]), ttl: draw.pick([4, 6, 7, 64]) },
      ...(what === "a target adds an option" ? { len: draw.pick([40, 44]) } : {}),
      ...(before.length > 0 ? { proto: "udp" } : {}),
    });
    let held = 0;
    for (let n = 0; n < 60; n++) {
      const arrival = read(drawn());
      const explanation = explainPacket(ruleset, host, arrival, { before });
      const { fields } = sureRegion(explanation, arrival, ruleset, host);
      assert.ok(contains(fields, arrival.packet), `${JSON.stringify(fields)} of ${JSON.stringify(arrival.packet)}`);
      for (let more = 0; more < 40; more++) {
        const other = read(drawn());
        if (!contains(fields, other.packet)) continue;
        held++;
        const again = explainPacket(ruleset, host, other, { before });
        assert.deepEqual(
          [again.outcome.verdict, again.trace],
          [explanation.outcome.verdict, explanation.trace],
          `${JSON.stringify(fields)} holds ${JSON.stringify(other.packet)}`,
        );
      }
    }
    assert.ok(held >= 20, `${held} packets in the regions`);
  });
}

function contains(fields: SureRegion["fields"], packet: Packet): boolean {
  const values = { ...packet, len: packet.length };
  return (["src", "dst", "sport", "dport", "ttl", "len"] as const).every((name) => {
    const set = fields[name] ?? [0, 2 ** 32];
    return set.some((lo, at) => at % 2 === 0 && lo <= values[name] && values[name] <= set[at + 1]!);
  });
}

test("rules that are not modelled are refused, not guessed", () => {
  const ruleset = parseRuleset("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m cpu --cpu 1 -j DROP\nCOMMIT\n", {
    file: "r",
  });
  const host = parseHost('{"interfaces": [{"name": "eth0", "addresses": ["10.0.0.1/24"]}]}', "h");
  const arrival = parseArrival('{"in": "eth0", "dst": "10.0.0.1"}', "", 1, host);
  assert.throws(() => explainPacket(ruleset, host, arrival), RuleError);
});
