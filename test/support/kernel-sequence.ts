// A seed -> a world whose packets belong together: flows with answers, repetitions, errors about them, clashes, endings.
//
// What answers a packet is drawn from what the reference says became of it, so that it fits whatever NAT has done. Where
// the reference were wrong the answer would fit nothing, and the kernel would say so.

import type { Outcome } from "../../src/classifier.ts";
import { parseHost } from "../../src/host/parse.ts";
import { formatAddress } from "../../src/net/address.ts";
import { parseArrival } from "../../src/packet/line.ts";
import type { Arrival, Packet } from "../../src/packet/packet.ts";
import { protocolName } from "../../src/packet/protocol.ts";
import { UnsupportedError } from "../../src/reference/error.ts";
import { Reference } from "../../src/reference/reference.ts";
import { parseRuleset } from "../../src/rules/parse.ts";
import { answerOfAssociation, firstOfAssociation, liteDatagram, nextOfAssociation, portsOf } from "./associations.ts";
import { Draw } from "./draw.ts";
import { drawKernelPacket, drawKernelWorld, inFragments } from "./kernel-arbitrary.ts";
import type { KernelWorld } from "./kernel-arbitrary.ts";
import type { Json } from "./oracle.ts";

/** A packet that went its way, as it was sent and as it ended. */
interface Sent {
  readonly line: Json;
  readonly arrival: Arrival;
  readonly outcome: Outcome;
}

/** With so many packets for which the kernel draws lots a sequence ends. */
const MOST_LOTS = 8;
/** Within 4 ms the kernel looks through the connections of a connlimit once; so many packets, and no datagrams become a stream. */
const APART = 0.006;
const MOST_APART = 150;
const OPENING = ["S", "S", "S", "S", "A", "PA", "SEC"];
const CLIENT = ["S", "A", "A", "A", "PA", "FA", "FA", "R", "RA", "F", "NONE", "FPU", "SA"];
const SERVER = ["SA", "SA", "SA", "SA", "A", "A", "FA", "FA", "R", "RA", "S", "NONE"];

/** `connections`: rules ask of them more than their state, and write there. */
export function drawKernelSequence(seed: number, packetCount: number, connections = true): KernelWorld {
  const draw = new Draw(seed);
  const { rules, host } = drawKernelWorld(seed, 0, connections);
  const tracked = { ...host, conntrack: true };
  const ruleset = parseRuleset(rules, { file: "rules.v4" });
  const model = parseHost(JSON.stringify(tracked), "host.json");
  const fresh = (): Reference => new Reference(ruleset, model, { stateless: false, limitErrors: true });
  let reference = fresh();
  let lots = MOST_LOTS;
  const packets: Json[] = [];
  const sent: Sent[] = [];
  const waiting: Json[] = [];
  while (packets.length < packetCount) {
    const line = waiting.shift() ?? nextPacket(draw, tracked, sent);
    if (waiting.length === 0 && draw.chance(0.03)) waiting.push(...inFragments(draw, line, packets.length));
    const arrival = parseArrival(JSON.stringify(line), "packets.jsonl", packets.length + 1, model);
    try {
      const { outcome } = reference.run(arrival, packets.length);
      // the kernel draws another port, and what follows belongs to that: it is left out, or the last
      if (outcome.chosen && --lots > 0) {
        reference = fresh();
        sent.forEach((one, index) => reference.run(one.arrival, index));
        continue;
      }
      packets.push(line);
      sent.push({ line, arrival, outcome });
      if (outcome.chosen) break;
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error;
    }
  }
  const apart = rules.includes("connlimit")
    ? packets.slice(0, MOST_APART).map((line) => ({ ...line, wait: APART }))
    : packets;
  return { rules, host: tracked, packets: apart, args: ["--trace", "--conntrack"] };
}

function nextPacket(draw: Draw, host: Json, sent: readonly Sent[]): Json {
  const fresh = (): Json => {
    const line = drawKernelPacket(draw, host, draw.chance(0.9));
    if (line["proto"] === "tcp") return draw.chance(0.8) ? { ...line, flags: draw.pick(OPENING) } : line;
    if (line["proto"] === "sctp" || draw.chance(0.04)) return firstOfAssociation(draw, endsOf(line));
    return draw.chance(0.02) ? liteDatagram(draw, endsOf(line)) : line;
  };
  if (sent.length === 0) return fresh();
  // mostly about one of the last few
  const one = draw.chance(0.7) ? sent.at(-1 - draw.below(Math.min(6, sent.length)))! : draw.pick(sent);
  return (
    draw.weighted<() => Json | null>([
      [6, fresh],
      [10, () => answerTo(draw, one)],
      [4, () => again(draw, one)],
      [2, () => errorAbout(draw, one)],
      [1, () => clashWith(draw, one, sent)],
    ])() ?? fresh()
  );
}

/** Of a line what does not belong to its protocol. */
function endsOf(line: Json): Json {
  const kept = ["in", "src", "dst", "ttl", "tos", "mark", "oif"];
  return Object.fromEntries(Object.entries(line).filter(([key]) => kept.includes(key)));
}

/** How a packet of the other side comes to the host; null: none would. */
function wayBack({ outcome, arrival }: Sent): Json | null {
  switch (outcome.verdict) {
    case "forwarded":
    case "sent":
      return { in: outcome.iface === "lo" ? "local" : outcome.iface };
    case "delivered":
      return { in: "local" };
    case "dropped":
    case "rejected":
      // somebody may answer what never came to him
      return arrival.inIface === null ? null : { in: "local" };
    case "held":
      return null;
  }
}

function packetAtEnd({ arrival, outcome }: Sent): Packet {
  return { ...arrival.packet, ...outcome.packet, inner: arrival.packet.inner };
}

function answerTo(draw: Draw, one: Sent): Json | null {
  const back = wayBack(one);
  if (back === null) return null;
  const { src, dst, proto, sport, dport, icmpType, icmpCode, icmpId } = packetAtEnd(one);
  const ends = { src: formatAddress(dst), dst: formatAddress(src), proto: protocolName(proto) };
  if (proto === 6)
    return { ...back, ...ends, sport: dport, dport: sport, flags: draw.pick(SERVER), ...oddSegment(draw) };
  if (proto === 132) {
    const { payload } = one.arrival.packet;
    return answerOfAssociation(draw, { ...back, ...ends }, { sport: dport, dport: sport }, payload!);
  }
  if (proto === 1) {
    const types: Readonly<Record<number, number>> = { 8: 0, 13: 14, 15: 16, 17: 18, 0: 8, 14: 13 };
    return { ...back, ...ends, icmp_type: types[icmpType] ?? 0, icmp_code: icmpCode, icmp_id: icmpId };
  }
  return { ...back, ...ends, sport: dport, dport: sport };
}

/** The same side speaks again. */
function again(draw: Draw, { line, arrival }: Sent): Json {
  const { frag: _, hex: __, ...kept } = line;
  const { proto, payload } = arrival.packet;
  if (proto === 132 && payload !== null) return nextOfAssociation(draw, endsOf(line), portsOf(payload), payload);
  if (line["proto"] !== "tcp" || draw.chance(0.3)) return kept;
  return { ...kept, flags: draw.pick(CLIENT), ...oddSegment(draw) };
}

function oddSegment(draw: Draw): Json {
  if (!draw.chance(0.2)) return {};
  return draw.pick<Json>([
    { seq: draw.pick([0, 1000, 1001, 1002, 2000, 70000, 200000, 4294967295]) },
    { ack: draw.pick([0, 1000, 1001, 1002, 2000, 70000, 200000, 4294967295]) },
    { window: draw.pick([0, 1, 100, 65535]) },
    { payload: "x".repeat(draw.pick([1, 10, 100])) },
    { tcp_options_hex: draw.pick(["020405b4", "03030700", "0402", "01030309", "0402030307"]) },
  ]);
}

/** A router on the way, or the other side, reports about a packet. */
function errorAbout(draw: Draw, one: Sent): Json | null {
  const back = wayBack(one);
  if (back === null) return null;
  const { src, dst, proto, sport, dport, icmpType, icmpId } = packetAtEnd(one);
  const ports = proto === 1 ? { icmp_type: icmpType, icmp_id: icmpId } : { sport, dport };
  const inner = { src: formatAddress(src), dst: formatAddress(dst), proto: protocolName(proto), ...ports };
  const [type, code] = draw.pick([
    [3, 1],
    [3, 3],
    [3, 4],
    [11, 0],
    [5, 1],
    [12, 0],
  ] as const);
  const from = draw.chance(0.6) ? formatAddress(dst) : draw.pick(["10.0.0.9", "172.16.5.9", "8.8.8.8"]);
  const to = draw.chance(0.9) ? formatAddress(src) : draw.pick(["10.0.0.1", "10.0.1.5"]);
  return { ...back, src: from, dst: to, proto: "icmp", icmp_type: type, icmp_code: code, inner };
}

/** The client socket of one flow goes where another went. */
function clashWith(draw: Draw, one: Sent, sent: readonly Sent[]): Json {
  const { dst, dport } = draw.pick(sent).line;
  return { ...one.line, dst, ...(dport === undefined ? {} : { dport }) };
}
