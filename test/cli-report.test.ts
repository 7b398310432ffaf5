// What a stream's report says beyond counting: why rules were never hit, and what translations were made from.

import assert from "node:assert/strict";
import { test } from "node:test";
import { printCounters } from "../src/cli/counts.ts";
import { neverHit } from "../src/cli/never.ts";
import { Origins } from "../src/cli/origins.ts";
import { nameOfRule } from "../src/cli/places.ts";
import type { RuleCounter, RuleRef } from "../src/classifier.ts";
import { parseHost } from "../src/host/parse.ts";
import { parseArrival } from "../src/packet/line.ts";
import { Reference } from "../src/reference/reference.ts";
import { parseRuleset } from "../src/rules/parse.ts";

const RULES = parseRuleset(
  `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.1.2:8080
-A POSTROUTING -o eth0 -j MASQUERADE
-A INPUT -j ACCEPT
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:alone - [0:0]
:far - [0:0]
:near - [0:0]
-A INPUT -p icmp -j far
-A INPUT -j near
-A INPUT -p tcp -j ACCEPT
-A OUTPUT -j DROP
-A alone -j DROP
-A far -j DROP
-A near -p udp -m udp --dport 5000 -j DROP
-A near -m comment --comment "everything else" -j ACCEPT
-A near -p tcp -j DROP
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j CONNMARK --restore-mark
-A PREROUTING -j TOS --set-tos 16
-A PREROUTING -p udp -j ACCEPT
COMMIT
`,
  { file: "rules" },
);

const HOST = parseHost(
  JSON.stringify({
    interfaces: [
      { name: "eth0", addresses: ["10.0.0.1/24"] },
      { name: "eth1", addresses: ["10.0.1.1/24"] },
    ],
  }),
  "host",
);

function ask(packets: readonly object[]): { readonly counters: readonly RuleCounter[]; readonly origins: Origins } {
  const reference = new Reference(RULES, HOST, { stateless: true });
  const origins = new Origins();
  packets.forEach((packet, index) => {
    const arrival = parseArrival(JSON.stringify(packet), "packets", index + 1, HOST);
    origins.add(arrival, reference.run(arrival).outcome);
  });
  return { counters: reference.counters(), origins };
}

test("a rule that was never hit is told with the reason that the counters prove", () => {
  const { counters } = ask([{ in: "eth0", src: "10.0.0.9", dst: "10.0.0.1", proto: "tcp", dport: 22 }]);
  const reasons = neverHit(RULES, counters).map(({ ref, reason }) => `${nameOfRule(ref)}: ${reason}`);
  assert.deepEqual(reasons, [
    "nat PREROUTING:1: no packet of this run met its conditions; whether one can is not asked here",
    "nat POSTROUTING:1: no packet came to POSTROUTING of nat",
    "filter INPUT:1: no packet of this run met its conditions; whether one can is not asked here",
    "filter INPUT:3: no packet of this run met its conditions; whether one can is not asked here",
    "filter OUTPUT:1: no packet was sent by the host itself",
    "filter alone:1: no rule leads to chain alone",
    "filter far:1: no packet met the rules that lead to chain far (INPUT:1)",
    "filter near:1: no packet of this run met its conditions; whether one can is not asked here",
    "filter near:3: near:2 before it takes every packet",
    "mangle PREROUTING:3: no packet of this run met its conditions; whether one can is not asked here",
  ]);
});

test("counters are printed as iptables-save -c prints them", () => {
  const { counters } = ask([
    { in: "eth0", src: "10.0.0.9", dst: "10.0.0.1", proto: "tcp", dport: 22, len: 40 },
    { in: "eth0", src: "10.0.0.9", dst: "10.0.0.1", proto: "tcp", dport: 23, len: 1500 },
  ]);
  const lines = printCounters(RULES, counters).split("\n");
  assert.ok(lines.includes(":PREROUTING ACCEPT [2:1540]"));
  assert.ok(lines.includes("[2:1540] -A INPUT -j near"));
  assert.ok(lines.includes("[0:0] -A far -j DROP"));
  assert.ok(lines.includes(":near - [0:0]"));
});

test("translations name the addresses they were made from, or the prefix that holds them all", () => {
  const published = (src: string, dst: string): object => ({ in: "eth0", src, dst, proto: "tcp", dport: 80 });
  const out = (last: number): object => ({
    in: "eth1",
    src: `10.0.1.${last}`,
    dst: "10.0.0.9",
    proto: "udp",
    dport: 53,
  });
  const { origins } = ask([
    published("10.0.0.9", "10.0.0.1"),
    published("10.0.0.8", "10.0.1.1"),
    ...Array.from({ length: 40 }, (_, index) => out(64 + index)),
  ]);
  const dnat: RuleRef = { table: "nat", chain: "PREROUTING", number: 1 };
  const masquerade: RuleRef = { table: "nat", chain: "POSTROUTING", number: 1 };
  assert.equal(origins.of(dnat, 0x0a000102, 8080), "10.0.0.1:80, 10.0.1.1:80");
  assert.equal(origins.of(masquerade, 0x0a000001, 0), "10.0.1.64/26");
  assert.equal(origins.of(masquerade, 0x0a000002, 0), "");
});
