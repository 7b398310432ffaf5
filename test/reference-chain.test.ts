// One chain without a host: matches, memory, chance, and the packets that a match drops.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ChainDecision } from "../src/classifier.ts";
import { parseHost } from "../src/host/parse.ts";
import { chance } from "../src/net/chance.ts";
import { bucketOf, creditClock } from "../src/net/limit.ts";
import { parseArrival } from "../src/packet/line.ts";
import { UnsupportedError } from "../src/reference/error.ts";
import { ChainWorld, Reference, runChain } from "../src/reference/reference.ts";
import type { ChainQuery } from "../src/reference/reference.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import type { Ruleset } from "../src/rules/ruleset.ts";

const HOST = parseHost(
  '{"interfaces": [{"name": "eth0", "addresses": ["10.0.0.1/24"]}, {"name": "eth1", "addresses": ["10.1.0.1/24"]}]}',
  "host.json",
);

function rules(...lines: readonly string[]): Ruleset {
  const chains = lines.filter((line) => line.startsWith(":"));
  const appended = lines.filter((line) => line.startsWith("-A"));
  const builtin = [":INPUT ACCEPT [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]"];
  const text = ["*filter", ...builtin, ...chains, ...appended, "COMMIT", ""].join("\n");
  return parseRuleset(text, { file: "rules.v4" });
}

function query(line: object, more: Partial<ChainQuery> = {}): ChainQuery {
  const packet = { in: "eth0", src: "10.0.0.9", dst: "10.1.0.9", ...line };
  return {
    packet: parseArrival(JSON.stringify(packet), "packets.jsonl", 1, HOST).packet,
    mark: 0,
    inIface: "eth0",
    outIface: "eth1",
    ctState: "NEW",
    sourceTranslated: false,
    destinationTranslated: false,
    ...more,
  };
}

function decide(ruleset: Ruleset, asked: ChainQuery): ChainDecision {
  return runChain(ruleset, "filter", "FORWARD", asked);
}

test("a chain's decision names the rule, or the policy, and the mark", () => {
  const ruleset = rules("-A FORWARD -p tcp -j MARK --set-mark 7", "-A FORWARD -p tcp --dport 80 -j ACCEPT");
  const rule = { table: "filter", chain: "FORWARD", number: 2 };
  assert.deepEqual(decide(ruleset, query({ proto: "tcp", dport: 80 })), { verdict: "ACCEPT", rule, mark: 7 });
  const policy = { table: "filter", chain: "FORWARD", number: "policy" };
  assert.deepEqual(decide(ruleset, query({ proto: "udp" })), { verdict: "DROP", rule: policy, mark: 0 });
});

test("a rule in a user chain is named by that chain", () => {
  const ruleset = rules(":X - [0:0]", "-A FORWARD -j X", "-A X -j REJECT");
  assert.deepEqual(decide(ruleset, query({})).rule, { table: "filter", chain: "X", number: 1 });
});

test("the state is that of the query", () => {
  const ruleset = rules("-A FORWARD -m conntrack --ctstate ESTABLISHED,DNAT -j ACCEPT");
  const verdict = (more: Partial<ChainQuery>): string => decide(ruleset, query({}, more)).verdict;
  assert.equal(verdict({}), "DROP");
  assert.equal(verdict({ ctState: "ESTABLISHED" }), "ACCEPT");
  assert.equal(verdict({ destinationTranslated: true }), "ACCEPT");
});

test("a match that drops a broken packet is the rule that decided", () => {
  const ruleset = rules("-A FORWARD -p tcp --dport 80 -j ACCEPT", "-A FORWARD -j ACCEPT");
  const decision = decide(ruleset, query({ proto: "tcp", payload: "xxxxxxxx", frag: { offset: 8, length: 8 } }));
  assert.deepEqual(decision, { verdict: "DROP", rule: { table: "filter", chain: "FORWARD", number: 1 }, mark: 0 });
});

test("addrtype cannot be answered without a host", () => {
  const ruleset = rules("-A FORWARD -m addrtype --dst-type LOCAL -j ACCEPT");
  assert.throws(() => decide(ruleset, query({})), UnsupportedError);
});

test("a chain that is not built in is a mistake of the caller", () => {
  assert.throws(() => runChain(rules(), "nat", "OUTPUT", query({})), /no built-in chain nat OUTPUT/);
});

test("a token bucket fills by the packets' clock", () => {
  const ruleset = rules("-A FORWARD -m limit --limit 2/second --limit-burst 3 -j ACCEPT");
  const world = new ChainWorld(ruleset);
  const passes = (time: number): boolean => {
    world.memory.start(0, time);
    return runChain(ruleset, "filter", "FORWARD", query({}), world).verdict === "ACCEPT";
  };
  const times = [0, 0, 0, 0, 0.499, 0.5, 0.5, 0.99, 1, 60, 60, 60, 60];
  assert.deepEqual(
    times.map((time) => passes(time)),
    [true, true, true, false, false, true, false, false, true, true, true, true, false],
  );
});

test("the bucket is computed as xt_limit does, with its division", () => {
  assert.deepEqual(bucketOf(5000, 3), { cost: 16000, cap: 48000 });
  // 3/second is 3333 units
  assert.deepEqual(bucketOf(3333, 5), { cost: 10665, cap: 53328 });
  // 7/minute, burst 5: 42.857 seconds have room for 42
  assert.deepEqual(bucketOf(85714, 5), { cost: 274284, cap: 1344000 });
  assert.deepEqual([0, 0.00003, 1].map(creditClock), [0, 1, 32000]);
});

test("equal limits in one rule are two buckets", () => {
  const limit = "-m limit --limit 1/hour --limit-burst 2";
  const ruleset = rules(`-A FORWARD ${limit} ${limit} -j ACCEPT`);
  const world = new ChainWorld(ruleset);
  const verdicts = Array.from({ length: 3 }, () => runChain(ruleset, "filter", "FORWARD", query({}), world).verdict);
  assert.deepEqual(verdicts, ["ACCEPT", "ACCEPT", "DROP"]);
});

test("chance is the same for the same seed, rule, packet and draw, and for no others", () => {
  assert.deepEqual([chance(0, 0, 0, 0), chance(1, 2, 3, 4)], [chance(0, 0, 0, 0), chance(1, 2, 3, 4)]);
  const drawn = new Set<number>();
  for (let seed = 0; seed < 8; seed++) {
    for (let rule = 0; rule < 8; rule++) {
      for (let packet = 0; packet < 64; packet++)
        drawn.add(chance(seed, rule, packet, 0)).add(chance(seed, rule, packet, 1));
    }
  }
  // of 8192 draws out of 2^32 hardly two are the same
  assert.ok(drawn.size >= 8190);
});

test("random rules hold as often as they say", () => {
  const ruleset = rules("-A FORWARD -m statistic --mode random --probability 0.25 -j ACCEPT");
  const reference = new Reference(ruleset, HOST, { stateless: true, seed: 5 });
  const line = JSON.stringify({ in: "eth0", src: "10.0.0.9", dst: "10.1.0.9" });
  const arrival = parseArrival(line, "packets.jsonl", 1, HOST);
  const passed = Array.from({ length: 4000 }, () => reference.run(arrival).outcome.verdict === "forwarded");
  const share = passed.filter((one) => one).length / passed.length;
  assert.ok(share > 0.22 && share < 0.28, String(share));
  const again = new Reference(ruleset, HOST, { stateless: true, seed: 5 });
  assert.equal(again.run(arrival, 17).outcome.verdict === "forwarded", passed[17]);
});
