// What the reference says beside the kernel's words: who decided, what was translated, what it refuses to guess.

import assert from "node:assert/strict";
import { test } from "node:test";
import { toAnswer } from "../src/classifier.ts";
import type { Outcome } from "../src/classifier.ts";
import { parseHost } from "../src/host/parse.ts";
import { parseArrival } from "../src/packet/line.ts";
import { UnsupportedError } from "../src/reference/error.ts";
import { Reference } from "../src/reference/reference.ts";
import { parseRuleset } from "../src/rules/parse.ts";

const HOST = {
  interfaces: [
    { name: "eth0", addresses: ["192.0.2.2/24"], mtu: 1280 },
    { name: "eth1", addresses: ["10.0.0.1/24"] },
  ],
  routes: ["default via 192.0.2.1"],
};
const CHAINS = {
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
} as const;

function table(name: keyof typeof CHAINS, ...rules: readonly string[]): string {
  const chains = CHAINS[name].map((chain) => `:${chain} ACCEPT [0:0]\n`).join("");
  return `*${name}\n${chains}${rules.map((rule) => `-A ${rule}\n`).join("")}COMMIT\n`;
}

function run(rules: string, line: object, host: object = HOST): Outcome {
  const model = parseHost(JSON.stringify(host), "host.json");
  const ruleset = parseRuleset(rules, { file: "rules.v4" });
  const packet = { in: "eth1", src: "10.0.0.5", dst: "198.51.100.1", ...line };
  const arrival = parseArrival(JSON.stringify(packet), "packets.jsonl", 1, model);
  return new Reference(ruleset, model, { stateless: true }).run(arrival).outcome;
}

test("the rule of an outcome is what dropped the packet, else the last ACCEPT of filter", () => {
  const rules =
    table("mangle", "PREROUTING -p udp --dport 1 -j DROP", "POSTROUTING -p udp --dport 4 -j DROP") +
    table("filter", "FORWARD -p udp --dport 2 -j DROP", "FORWARD -p udp --dport 3:4 -j ACCEPT");
  const rule = (dport: number): string | null => {
    const ref = run(rules, { dport }).rule;
    return ref === null ? null : `${ref.table} ${ref.chain} ${ref.number}`;
  };
  assert.equal(rule(1), "mangle PREROUTING 1");
  assert.equal(rule(2), "filter FORWARD 1");
  assert.equal(rule(3), "filter FORWARD 2");
  assert.equal(rule(4), "mangle POSTROUTING 1");
  assert.equal(rule(5), "filter FORWARD policy");
  assert.equal(run(table("mangle"), {}).rule, null);
  assert.equal(run(rules, { ttl: 1, dport: 5 }).rule, null);
});

test("a packet that is dropped is told as it was then", () => {
  const rules = table("nat", "PREROUTING -j DNAT --to-destination 192.0.2.9") + table("filter", "FORWARD -j DROP");
  const { packet, dnatRule } = run(rules, { proto: "tcp", dport: 80, ttl: 9 });
  assert.deepEqual(
    [packet.dst, packet.ttl, dnatRule],
    [0xc0000209, 8, { table: "nat", chain: "PREROUTING", number: 1 }],
  );
});

test("a port drawn by lot is in the range, follows the seed, and is said to be drawn", () => {
  const rules = table("nat", "POSTROUTING -p udp -j MASQUERADE --to-ports 2000-2999");
  const outcome = run(rules, { sport: 5 });
  assert.ok(outcome.chosen && outcome.packet.sport >= 2000 && outcome.packet.sport <= 2999);
  assert.deepEqual(run(rules, { sport: 5 }), outcome);
  const kept = run(rules, { sport: 2500 });
  assert.deepEqual([kept.chosen, kept.packet.sport], [false, 2500]);
});

test("answers have the keys of the oracle in its order", () => {
  const model = parseHost(JSON.stringify(HOST), "host.json");
  const keys = (outcome: Outcome, line: object): string[] => {
    const arrival = parseArrival(JSON.stringify(line), "packets.jsonl", 1, model);
    return Object.keys(toAnswer(arrival, outcome, { traces: { trace: [], generated: [], printed: () => "" } }));
  };
  const line = { in: "eth1", src: "10.0.0.5", dst: "198.51.100.1" };
  const tracked = table("filter", "FORWARD -m state --state NEW -p tcp -j REJECT");
  assert.deepEqual(keys(run(tracked, {}), line), ["id", "verdict", "out", "packet", "path", "ct_state", "trace"]);
  const rejected = ["id", "verdict", "where", "path", "generated", "reply", "ct_state", "trace"];
  assert.deepEqual(keys(run(tracked, { proto: "tcp" }), line), rejected);
  const long = { ...line, len: 1400 };
  assert.deepEqual(keys(run(table("filter"), long), long), ["id", "verdict", "out", "packet", "also", "path", "trace"]);
});

test("errors to one sender can be rationed", () => {
  const model = parseHost('{"interfaces": [{"name": "eth0", "addresses": ["10.0.0.1/24"]}]}', "host.json");
  const replies = (limitErrors: boolean): (string | null)[] => {
    const reference = new Reference({ family: 4, tables: [], notes: [] }, model, { stateless: true, limitErrors });
    return [0, 0, 0, 0, 0, 0, 0.5, 1, 1].map((time) => {
      const line = JSON.stringify({ in: "eth0", src: "10.0.0.5", dst: "8.8.8.8", time });
      return reference.run(parseArrival(line, "packets.jsonl", 1, model)).outcome.reply;
    });
  };
  assert.deepEqual(new Set(replies(false)), new Set(["icmp 3/0"]));
  const [error, none] = ["icmp 3/0", null];
  assert.deepEqual(replies(true), [error, error, error, error, error, none, none, error, none]);
});

const TRACKED = table("nat", "POSTROUTING -j MASQUERADE");
const REFUSED: readonly (readonly [reason: RegExp, rules: string, line: object])[] = [
  [/of its protocol/, TRACKED, { proto: 58 }],
];

for (const [reason, rules, line] of REFUSED) {
  test(`what is not modelled is refused: ${reason.source}`, () => {
    assert.throws(
      () => run(rules, { id: "mine", ...line }),
      (error) => error instanceof UnsupportedError && error.id === "mine" && reason.test(error.message),
    );
  });
}

test("a host whose own stack answers is refused", () => {
  assert.throws(() => run(table("filter"), {}, { ...HOST, host_stack: true }), UnsupportedError);
});
