// The random worlds are worth something: they reach what they are made for.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseHost } from "../src/host/parse.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import { printRuleset } from "../src/rules/print.ts";
import { answerable } from "./support/agree.ts";
import { drawWorld } from "./support/arbitrary.ts";
import { readArrivals } from "./support/arrivals.ts";
import { Coverage, type Happening, type TargetKind } from "./support/coverage.ts";
import { WORLD } from "./support/worlds.ts";

const WORLDS = 300;
const coverage = new Coverage();
let drawnPackets = 0;

test("every world is one that parser, host and packet lines take", () => {
  for (let number = 0; number < WORLDS; number++) {
    const drawn = drawWorld(number, WORLD);
    parseRuleset(printRuleset(drawn.ruleset), { file: `world ${number}` });
    const { world, right } = answerable(drawn);
    coverage.add(world.ruleset, right);
    drawnPackets += drawn.packets.length;
  }
});

test("nearly all packets can be answered", () => {
  assert.ok(coverage.packets > 0.99 * drawnPackets, `${coverage.packets} of ${drawnPackets}`);
});

test("at least 30 % of the rules are hit", () => {
  const share = coverage.rulesHit / coverage.rules;
  assert.ok(share >= 0.3, `${percent(share)} of ${coverage.rules} rules`);
});

test("every target is met by at least 1 % of the packets", () => {
  const kinds: readonly TargetKind[] = [
    ...(["ACCEPT", "DROP", "RETURN", "REJECT", "LOG", "MARK", "jump", "goto"] as const),
    ...(["DNAT", "SNAT", "MASQUERADE", "REDIRECT", "none", "policy"] as const),
  ];
  const rare = kinds.filter((kind) => coverage.share(coverage.met, kind) < 0.01);
  assert.deepEqual(rare, [], table(coverage.met));
});

test("every verdict, and every place where a packet can end, is had by at least 1 in 200 packets", () => {
  const ends = ["forwarded", "delivered", "dropped PREROUTING", "dropped INPUT", "dropped FORWARD"];
  ends.push("sent", "dropped OUTPUT", "dropped POSTROUTING", "dropped routing");
  ends.push("rejected INPUT", "rejected FORWARD", "rejected OUTPUT");
  const rare = ends.filter((end) => coverage.share(coverage.ended, end) < 0.005);
  assert.deepEqual(rare, [], table(coverage.ended));
  const lost = coverage.share(coverage.ended, "dropped routing");
  assert.ok(lost < 0.3, `${percent(lost)} of the packets end in routing, where no rule sees them`);
});

test("skips, gotos, marks that change and guards are really taken", () => {
  const least: Readonly<Record<Happening, number>> = {
    returned: 0.01,
    went: 0.01,
    deep: 0.001,
    volatile: 0.01,
    "volatile call": 0.01,
    guard: 0.01,
    "guarded call": 0.01,
    "returned from built-in": 0.01,
    "called twice": 0.001,
    "negated port": 0.005,
    "both ports": 0.005,
  };
  const rare = Object.entries(least).filter(([happening, share]) => coverage.share(coverage.seen, happening) < share);
  assert.deepEqual(rare, [], table(coverage.seen));
});

test("every match holds for packets of at least 1 world in 20", () => {
  const kinds = ["tcp", "udp", "icmp", "conntrack", "state", "addrtype", "mark"] as const;
  const more = ["multiport", "comment", "iprange", "limit", "statistic"] as const;
  const rare = [...kinds, ...more].filter((kind) => (coverage.held.get(kind) ?? 0) < WORLDS / 20);
  assert.deepEqual(rare, []);
});

test("arrivals that are read quickly are those that their lines say", () => {
  for (let number = 0; number < 20; number++) {
    const { host: hostJson, packets } = drawWorld(number, WORLD);
    const host = parseHost(JSON.stringify(hostJson), `world ${number}`);
    const exact = readArrivals(packets, host, true);
    const quick = readArrivals(packets, host);
    for (const [index, arrival] of quick.entries()) {
      const said = exact[index]!;
      const payload = arrival.packet.payload === null ? null : said.packet.payload;
      assert.deepEqual(arrival, { ...said, packet: { ...said.packet, payload } });
    }
  }
});

function table(map: ReadonlyMap<string, number>): string {
  return [...map].map(([key, count]) => `${key} ${percent(count / coverage.packets)}`).join(", ");
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}
