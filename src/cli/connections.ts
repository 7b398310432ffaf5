// Finds the first packet that may belong to the connection of an earlier one, or be moved aside by it.
//
// Connections are not modelled: each packet is answered as the first of its flow. That is the kernel's answer for a
// sequence of packets too, as long as none of them meets an entry that an earlier one left behind. Here is decided,
// on the side of caution, whether one may:
//
// - its own addresses and ports, or those that an ICMP error quotes, are those of an entry in either direction
//   (resolve_normal_ct() in net/netfilter/nf_conntrack_core.c);
// - what it became would have the same answers as an entry, so that the kernel would give it another port
//   (nf_nat_used_tuple() in net/netfilter/nf_nat_core.c);
// - its source is translated, and its client already has a translation, which the kernel uses again
//   (find_appropriate_src(), same file).
//
// An entry is left behind by a NEW packet that went its way to the end; one that was dropped leaves none.

import type { Outcome } from "../classifier.ts";
import type { Arrival, Packet } from "../packet/packet.ts";

type Endpoints = Pick<Packet, "src" | "dst" | "sport" | "dport" | "icmpId">;

export class Connections {
  /** Addresses and ports of the entries, without direction -> line of the packet that made it. */
  readonly #tuples = new Map<string, number>();
  /** The same without ports, for entries whose port the kernel would have drawn by lot. */
  readonly #pairs = new Map<string, number>();
  /** Client address and port. */
  readonly #clients = new Map<string, number>();
  /** Line of a local packet whose own source cannot be told any more: the kernel chose it, and NAT replaced it. */
  #unknownSource: number | null = null;

  /** The line of an earlier packet whose connection may concern this one; null: none may, and it is now remembered. */
  meet(arrival: Arrival, outcome: Outcome, line: number): number | null {
    const { packet } = arrival;
    const { ctState } = outcome;
    if (ctState === undefined || ctState === null || ctState === "UNTRACKED") return null;

    const after = outcome.packet;
    const before = { ...packet, src: arrival.chooseSource ? after.src : packet.src };
    const earlier =
      (arrival.inIface === null ? this.#unknownSource : null) ??
      this.#known(packet, before) ??
      this.#known(packet, after) ??
      (packet.inner === null ? undefined : this.#known(packet.inner, packet.inner)) ??
      (outcome.snatRule === null ? undefined : this.#clients.get(clientOf(packet, before)));
    if (earlier !== undefined) return earlier;

    // behind POSTROUTING and INPUT the entry is confirmed: what ends later leaves it behind all the same
    const confirmed = outcome.where === null || outcome.where === "transmit";
    if (ctState === "NEW" && confirmed) {
      this.#tuples.set(tupleOf(packet, before), line);
      this.#tuples.set(tupleOf(packet, after), line);
      this.#clients.set(clientOf(packet, before), line);
      if (arrival.chooseSource && outcome.snatRule !== null) this.#unknownSource = line;
      if (outcome.chosen) this.#pairs.set(pairOf(packet, after), line);
    }
    return null;
  }

  #known(packet: Packet, endpoints: Endpoints): number | undefined {
    return this.#tuples.get(tupleOf(packet, endpoints)) ?? this.#pairs.get(pairOf(packet, endpoints));
  }
}

/** ICMP queries are told apart by their id; type and code are left out, which is cautious. */
function tupleOf(packet: Packet, { src, dst, sport, dport, icmpId }: Endpoints): string {
  const ends = [`${src}:${sport}`, `${dst}:${dport}`].sort();
  return `${packet.proto} ${ends.join(" ")} ${icmpId}`;
}

function pairOf(packet: Packet, { src, dst }: Endpoints): string {
  return `${packet.proto} ${Math.min(src, dst)} ${Math.max(src, dst)}`;
}

function clientOf(packet: Packet, { src, sport, icmpId }: Endpoints): string {
  return `${packet.proto} ${src}:${sport} ${icmpId}`;
}
