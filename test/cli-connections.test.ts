// Without --stateless packets are answered as long as none can meet the connection of another: then, and this is what
// is promised, the kernel's answers to the whole sequence are those to each packet alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { toAnswer } from "../src/classifier.ts";
import { Connections } from "../src/cli/connections.ts";
import { parseHost } from "../src/host/parse.ts";
import { parseArrival } from "../src/packet/line.ts";
import { Reference } from "../src/reference/reference.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import { Draw } from "./support/draw.ts";
import { askOracle, noKernel } from "./support/oracle.ts";
import type { Json } from "./support/oracle.ts";

const HOST = {
  interfaces: [
    { name: "eth0", addresses: ["10.10.10.101/24"] },
    { name: "docker0", addresses: ["172.17.0.1/16"] },
  ],
  routes: ["default via 10.10.10.1 dev eth0"],
};

const FILTER = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A INPUT -p udp -m udp --dport 81 -j DROP
-A INPUT -p tcp -m tcp --dport 81 -j REJECT --reject-with tcp-reset
-A FORWARD -m conntrack --ctstate RELATED -j DROP
-A FORWARD -p tcp -m tcp --dport 81 -j DROP
COMMIT
`;

const NAT = (rules: readonly string[]): string =>
  [
    "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]",
    ...rules,
    `COMMIT\n${FILTER}`,
  ].join("\n");

const RULES = [
  FILTER,
  NAT([
    "-A PREROUTING -i eth0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
    "-A POSTROUTING -s 172.17.0.0/16 -o eth0 -j MASQUERADE",
  ]),
  NAT([
    "-A PREROUTING -i eth0 -d 10.10.10.101/32 -j DNAT --to-destination 172.17.0.2",
    "-A PREROUTING -i docker0 -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080",
    "-A POSTROUTING -s 172.17.0.0/16 -p tcp -j SNAT --to-source 10.10.10.101:4000",
    "-A POSTROUTING -s 172.17.0.0/16 -j SNAT --to-source 10.10.10.101-10.10.10.103",
  ]),
] as const;

const NEAR = ["172.17.0.2", "172.17.0.3"];
const FAR = ["10.10.10.7", "198.51.100.7"];
const OWN = ["10.10.10.101", "172.17.0.1"];
const PORTS = [80, 81, 4000, 8080];

/** A packet of one of few flows, or an error about one. */
function drawPacket(draw: Draw, quoted: boolean): Json {
  const [iface, sources, others] = draw.pick([
    ["docker0", NEAR, FAR],
    ["eth0", FAR, NEAR],
  ] as const);
  const ends = { src: draw.pick(sources), dst: draw.pick(draw.chance(0.5) ? others : OWN) };
  const ports = { sport: draw.pick(PORTS), dport: draw.pick(PORTS) };
  const packet = draw.weighted<() => Json>([
    [5, () => ({ ...ends, proto: "tcp", ...ports, flags: draw.pick(["S", "S", "S", "SA", "A", "R", "FA"]) })],
    [4, () => ({ ...ends, proto: "udp", ...ports })],
    [2, () => ({ ...ends, proto: "icmp", icmp_type: draw.pick([8, 8, 0, 13]), icmp_id: draw.pick([1, 2]) })],
    [1, () => ({ ...ends, proto: "gre" })],
    [
      quoted ? 0 : 3,
      () => {
        const { in: _, ...inner } = drawPacket(draw, true);
        const dst = draw.chance(0.7) ? inner["src"] : draw.pick(OWN);
        return { src: ends.src, dst, proto: "icmp", icmp_type: draw.pick([3, 11]), icmp_code: 1, inner };
      },
    ],
  ])();
  return { in: iface, ...packet };
}

interface Kept {
  readonly packets: readonly Json[];
  readonly answers: readonly Readonly<Record<string, unknown>>[];
  readonly leftOut: number;
}

/** A sequence from which every packet that may meet an earlier connection is left out. */
function keep(rules: string, draw: Draw, count: number): Kept {
  const host = parseHost(JSON.stringify(HOST), "host.json");
  const reference = new Reference(parseRuleset(rules, { file: "rules" }), host, { stateless: true });
  const connections = new Connections();
  const packets: Json[] = [];
  const answers: Readonly<Record<string, unknown>>[] = [];
  let leftOut = 0;
  for (let number = 1; number <= count; number++) {
    const packet = { id: number, ip_id: number, ...drawPacket(draw, false) };
    const arrival = parseArrival(JSON.stringify(packet), "packets", number, host);
    // one that would draw lots has no answer to compare
    const { outcome } = reference.run(arrival);
    if (outcome.chosen || connections.meet(arrival, outcome, number) !== null) {
      leftOut++;
      continue;
    }
    packets.push(packet);
    answers.push(toAnswer(arrival, outcome));
  }
  return { packets, answers, leftOut };
}

test("the sequences hold packets that are kept and packets that are left out", () => {
  for (const rules of RULES) {
    const { packets, leftOut } = keep(rules, new Draw(7), 400);
    assert.ok(packets.length >= 60, `${packets.length} kept`);
    assert.ok(leftOut >= 60, `${leftOut} left out`);
  }
});

test("the kernel answers a whole sequence as each of its packets alone", { skip: noKernel() }, () => {
  for (const [number, rules] of RULES.entries()) {
    for (let seed = 1; seed <= 8; seed++) {
      const { packets, answers } = keep(rules, new Draw(seed), 200);
      const verdicts = askOracle(rules, HOST, packets, []);
      const shown = verdicts.map(({ generated: _, ...verdict }) => verdict);
      const given = JSON.parse(JSON.stringify(answers)) as Json[];
      shown.forEach((verdict, index) => {
        assert.deepEqual(given[index], verdict, `rules ${number}, seed ${seed}: ${JSON.stringify(packets[index])}`);
      });
    }
  }
});

test("an answer, a second packet, an error about it and a clash stop the run; other flows do not", () => {
  const host = parseHost(JSON.stringify(HOST), "host.json");
  const reference = new Reference(parseRuleset(RULES[1], { file: "rules" }), host, { stateless: true });
  const connections = new Connections();
  let line = 0;
  const meet = (packet: Json): number | null => {
    const arrival = parseArrival(JSON.stringify(packet), "packets", ++line, host);
    return connections.meet(arrival, reference.run(arrival).outcome, line);
  };
  const out = { in: "docker0", src: "172.17.0.2", dst: "198.51.100.7", proto: "udp", sport: 4000, dport: 53 };
  assert.equal(meet(out), null);
  assert.equal(meet(out), 1);
  assert.equal(meet({ in: "eth0", src: "198.51.100.7", dst: "10.10.10.101", proto: "udp", sport: 53, dport: 4000 }), 1);
  assert.equal(
    meet({
      in: "eth0",
      src: "10.10.10.1",
      dst: "10.10.10.101",
      proto: "icmp",
      icmp_type: 3,
      inner: { ...out, in: undefined, src: "10.10.10.101" },
    }),
    1,
  );
  // its translation would be that of line 1, and the kernel would give it another port
  assert.equal(meet({ ...out, src: "172.17.0.3" }), 1);
  // the same client socket keeps its translation for another destination
  assert.equal(meet({ ...out, dst: "10.10.10.7" }), 1);
  // other ports, other protocols, dropped packets
  assert.equal(meet({ ...out, sport: 4001 }), null);
  assert.equal(meet({ ...out, proto: "tcp" }), null);
  assert.equal(meet({ in: "eth0", src: "10.10.10.7", dst: "10.10.10.101", proto: "udp", dport: 81 }), null);
  assert.equal(meet({ in: "eth0", src: "10.10.10.7", dst: "10.10.10.101", proto: "udp", dport: 81 }), null);
});

test("where connections are not tracked no packet meets one", () => {
  const host = parseHost(JSON.stringify(HOST), "host.json");
  const rules = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
  const reference = new Reference(parseRuleset(rules, { file: "rules" }), host, { stateless: true });
  const connections = new Connections();
  for (let line = 1; line <= 3; line++) {
    const arrival = parseArrival('{"in": "eth0", "src": "10.10.10.7", "dst": "10.10.10.101"}', "packets", line, host);
    assert.equal(connections.meet(arrival, reference.run(arrival).outcome, line), null);
  }
});
