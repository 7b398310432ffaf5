// A packet and its answer -> a line for people.

import type { Outcome, RuleRef } from "../classifier.ts";
import { formatAddress } from "../net/address.ts";
import type { Arrival, Packet } from "../packet/packet.ts";
import { protocolName } from "../packet/protocol.ts";
import type { Answer } from "../firewall.ts";
import type { Places } from "./places.ts";
import { nameOfRule } from "./places.ts";

/** One line, and below it one for each rule and policy met if `traced`. Ends in a newline. */
export function answerForPeople(arrival: Arrival, answer: Answer, places: Places, traced: boolean): string {
  const { outcome, trace } = answer;
  const rules = [outcome.dnatRule, outcome.rule, outcome.snatRule].filter((ref) => ref !== null);
  const by = rules.length === 0 ? "" : ` (${rules.map(nameOfRule).join(", ")})`;
  const lines = [
    `${arrival.id}: ${packetText(arrival)}: ${verdictText(outcome)}${becameText(arrival.packet, outcome)}${by}`,
  ];
  if (traced) for (const ref of trace) lines.push(`    ${ruleText(ref, places)}`);
  return lines.join("\n") + "\n";
}

/** `nat DOCKER:2  rules.txt:27  -A DOCKER ...` */
export function ruleText(ref: RuleRef, places: Places): string {
  return [nameOfRule(ref), places.placeOf(ref), places.textOf(ref)].filter((part) => part !== "").join("  ");
}

/** `tcp SYN 203.0.113.9:40000 > 10.10.10.101:32768 in eth0` */
export function packetText({ packet, inIface }: Arrival): string {
  return `${protocolText(packet)} ${endsText(packet, packet)} ${inIface === null ? "from the host" : `in ${inIface}`}`;
}

function protocolText(packet: Packet): string {
  const name = String(protocolName(packet.proto));
  if (packet.fragmentOffset > 0) return `${name} fragment at ${packet.fragmentOffset * 8}`;
  return packet.proto === 1 ? `${name} ${packet.icmpType}/${packet.icmpCode}` : name;
}

type Ends = Pick<Packet, "src" | "dst" | "sport" | "dport">;

function endsText(packet: Packet, { src, dst, sport, dport }: Ends): string {
  const ported = packet.sport !== 0 || packet.dport !== 0;
  const end = (address: number, port: number): string => formatAddress(address) + (ported ? `:${port}` : "");
  return `${end(src, sport)} > ${end(dst, dport)}`;
}

function verdictText({ verdict, where, iface, reply, errno }: Outcome): string {
  const answered = reply === null ? "" : `, answered with ${reply}`;
  const failed = errno === undefined ? "" : `, ${errno}`;
  switch (verdict) {
    case "forwarded":
    case "sent":
      return `${verdict} by ${iface}${answered}`;
    case "delivered":
      return `delivered from ${iface}${answered}`;
    case "dropped":
    case "rejected":
    case "held":
      return `${verdict} ${where === "routing" ? "by routing" : `in ${where}`}${answered}${failed}`;
  }
}

/** What NAT has made of addresses and ports, and marks. */
function becameText(packet: Packet, { where, packet: final }: Outcome): string {
  if (where !== null) return "";
  const ends = endsText(packet, final);
  const became = ends === endsText(packet, packet) ? "" : ` as ${ends}`;
  return final.mark === 0 ? became : `${became} with mark 0x${final.mark.toString(16)}`;
}
