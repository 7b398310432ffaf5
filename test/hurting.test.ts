// Rule sets made to hurt: what multiplies when chains are folded, and what no tree can cut well. Each is compiled within
// bounds that do not hang on the machine (bytes, not seconds), and answers as the reference does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { compileFirewall } from "../src/firewall.ts";
import { parseHost } from "../src/host/parse.ts";
import { Reference } from "../src/reference/reference.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import { readArrivals } from "./support/arrivals.ts";
import { Draw } from "./support/draw.ts";

const HOST = parseHost(
  JSON.stringify({
    interfaces: [
      { name: "eth0", addresses: ["192.0.2.1/24"] },
      { name: "eth1", addresses: ["198.51.100.1/24"] },
    ],
    routes: ["default via 198.51.100.2 dev eth1"],
  }),
  "host.json",
);
const MOST_BYTES = 500 * 1024 * 1024;

function checked(lines: readonly string[], drawPacket: (draw: Draw) => object, packets = 300): void {
  const text = [
    "*filter",
    ":INPUT ACCEPT [0:0]",
    ":FORWARD ACCEPT [0:0]",
    ":OUTPUT ACCEPT [0:0]",
    ...lines,
    "COMMIT",
    "",
  ];
  const ruleset = parseRuleset(text.join("\n"), { file: "hurting" });
  const draw = new Draw(1);
  const lineOf = (id: number): object => ({
    id,
    in: "eth0",
    src: "192.0.2.9",
    dst: "203.0.113.9",
    ...drawPacket(draw),
  });
  const arrivals = readArrivals(
    Array.from({ length: packets }, (_, id) => lineOf(id) as Parameters<typeof readArrivals>[0][number]),
    HOST,
  );
  const firewall = compileFirewall(ruleset, HOST, { seed: 1 });
  assert.ok(firewall.memoryBytes < MOST_BYTES, `${firewall.memoryBytes} bytes`);
  const answers = firewall.run(arrivals, { trace: true });
  const reference = new Reference(ruleset, HOST, { stateless: true, seed: 1 });
  arrivals.forEach((arrival, i) => {
    const right = reference.run(arrival);
    assert.deepEqual(answers[i]!.outcome, right.outcome, `packet ${i}`);
    assert.deepEqual(answers[i]!.trace, right.trace, `trace of packet ${i}`);
  });
}

function address(draw: Draw): string {
  return [10, 0, draw.below(256), draw.below(256)].join(".");
}

test("a chain of 100 rules called from 1,000 places is compiled", () => {
  const lines = [":SHARED - [0:0]"];
  for (let i = 0; i < 1000; i++) lines.push(`-A FORWARD -p udp -m udp --dport ${1000 + i} -j SHARED`);
  lines.push("-A FORWARD -j DROP");
  for (let i = 0; i < 100; i++) lines.push(`-A SHARED -s 10.0.${i}.0/24 -j ${i % 3 === 0 ? "RETURN" : "ACCEPT"}`);
  checked(lines, (draw) => ({ src: address(draw), dport: 990 + draw.below(1020) }));
});

test("a chain of 100 rules called everywhere from 1,000 places is compiled", () => {
  const lines = [":SHARED - [0:0]"];
  for (let i = 0; i < 1000; i++) lines.push("-A FORWARD -j SHARED");
  for (let i = 0; i < 100; i++) lines.push(`-A SHARED -s 10.0.${i}.0/24 -p tcp -j ACCEPT`);
  checked(lines, (draw) => ({ src: address(draw), proto: draw.below(4) === 0 ? "tcp" : "udp" }), 30);
});

test("60 chains, each of which calls the next one twice, are compiled", () => {
  const lines = Array.from({ length: 60 }, (_, i) => `:C${i} - [0:0]`);
  lines.push("-A FORWARD -j C0");
  for (let i = 0; i < 59; i++) {
    lines.push(`-A C${i} -s 10.0.${i}.0/24 -j C${i + 1}`, `-A C${i} -p udp -m udp --dport ${i} -j C${i + 1}`);
  }
  lines.push("-A C59 -j DROP");
  checked(lines, (draw) => ({ src: address(draw), dport: draw.below(60) }));
});

test("5,000 chains, each of which calls the next one, are compiled", () => {
  const lines = Array.from({ length: 5000 }, (_, i) => `:C${i} - [0:0]`);
  lines.push("-A FORWARD -j C0");
  for (let i = 0; i < 4999; i++) lines.push(`-A C${i} ${i % 3 === 0 ? "-g" : "-j"} C${i + 1}`);
  lines.push("-A C4999 -p tcp -j ACCEPT", "-A FORWARD -j DROP");
  checked(lines, (draw) => ({ src: address(draw), proto: draw.below(2) === 0 ? "tcp" : "udp" }), 6);
});

test("lists of --ports on both sides of 2,000 rules are compiled", () => {
  const draw = new Draw(3);
  const list = (): string => Array.from({ length: 15 }, () => draw.below(2000)).join();
  const lines = Array.from(
    { length: 2000 },
    (_, i) =>
      `-A FORWARD -p udp -m multiport --ports ${list()} -m multiport ${i % 2 === 0 ? "! " : ""}--ports ${list()} -j LOG`,
  );
  checked(lines, (draw) => ({ sport: draw.below(2000), dport: draw.below(2000) }), 100);
});

test("more rules than are kept apart near by draw for one packet, twice each", () => {
  const lines = [":draws - [0:0]", "-A INPUT -j draws", "-A INPUT -j draws"];
  for (let i = 0; i < 200; i++)
    lines.push("-A draws -m statistic --mode random --probability 0.5 -j MARK --set-xmark 0x1/0x0");
  checked(lines, () => ({ dst: "192.0.2.1", proto: "udp", dport: 53 }), 60);
});

test("a packet that meets more rules than a trace holds is refused, not traced short", () => {
  const lines = Array.from({ length: 32 }, (_, i) => `:C${i} - [0:0]`);
  lines.push("-A FORWARD -j C0");
  for (let i = 0; i < 30; i++) lines.push(`-A C${i} -j C${i + 1}`, `-A C${i} -j C${i + 2}`);
  assert.throws(() => {
    checked(lines, () => ({}), 1);
  }, /it meets more than 4194304 rules, which no trace holds/);
});

test("10,000 rules that are wild in both addresses are compiled", () => {
  const lines: string[] = [];
  const draw = new Draw(2);
  for (let i = 0; i < 10_000; i++) {
    const port = draw.below(60_000);
    const range = `${port}:${port + draw.below(5000)}`;
    lines.push(
      `-A FORWARD -p ${i % 2 === 0 ? "tcp" : "udp"} -m ${i % 2 === 0 ? "tcp" : "udp"} --sport ${draw.below(60_000)}: --dport ${range} -j ${i % 3 === 0 ? "DROP" : "ACCEPT"}`,
    );
  }
  checked(lines, (draw) => ({
    proto: draw.below(2) === 0 ? "tcp" : "udp",
    sport: draw.below(65_536),
    dport: draw.below(65_536),
  }));
});

test("2,000 overlapping port ranges are compiled", () => {
  const lines: string[] = [];
  for (let i = 0; i < 2000; i++)
    lines.push(
      `-A FORWARD -p udp -m udp --dport ${i * 8}:${65_535 - i * 8} -j ${i % 2 === 0 ? "LOG" : "MARK --set-xmark 0x1/0x1"}`,
    );
  checked(lines, (draw) => ({ dport: draw.below(65_536) }), 60);
});

test("65,536 single ports are compiled", () => {
  const lines: string[] = [];
  for (let i = 0; i < 65_536; i++)
    lines.push(`-A FORWARD -p udp -m udp --dport ${i} -j ${i % 2 === 0 ? "DROP" : "ACCEPT"}`);
  checked(lines, (draw) => ({ dport: draw.below(65_536) }), 40);
});
