// The state that conntrack gives to a packet that belongs to no known connection.
//
// Follows nf_conntrack_in() in net/netfilter/nf_conntrack_core.c and the nf_conntrack_proto_*.c beside it.

import type { Host } from "../host/host.ts";
import { PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE } from "../net/protocol.ts";
import { u16At } from "../packet/bytes.ts";
import type { Packet } from "../packet/packet.ts";
import { TCP_FLAGS } from "../packet/packet.ts";
import type { Match, Ruleset, Target } from "../rules/ruleset.ts";

export type FirstState = "NEW" | "INVALID";

const PROTO_GRE = 47;
const PROTO_ICMPV6 = 58;
/** Echo, timestamp, information and address mask requests. */
const ICMP_REQUESTS: readonly number[] = [8, 13, 15, 17];
const GRE_VERSION_MASK = 7;
const GRE_PROTOCOL_PPTP = 0x880b;

/** Connections are tracked if the host has it on, or any rule of any table needs it. */
export function tracks(ruleset: Ruleset, host: Host): boolean {
  const rules = ruleset.tables.flatMap((table) => table.chains.flatMap((chain) => chain.rules));
  return host.conntrack || rules.some(({ matches, target }) => matches.some(matchTracks) || targetTracks(target));
}

function matchTracks({ kind }: Match): boolean {
  return kind === "conntrack" || kind === "state";
}

function targetTracks(target: Target | null): boolean {
  return target !== null && ["DNAT", "SNAT", "MASQUERADE", "REDIRECT"].includes(target.kind);
}

/**
 * `incoming`: the packet comes by an interface (checksums are tested there alone). "unknown": the protocol is tracked in
 * a way that is not modelled.
 */
export function firstState(packet: Packet, incoming: boolean, host: Host): FirstState | "unknown" {
  const bytes = packet.length - packet.headerLength;
  if (incoming && host.conntrackChecksum && packet.badChecksum && isChecked(packet.proto)) return "INVALID";
  switch (packet.proto) {
    case PROTO_TCP:
      return bytes >= 20 && segmentIsWhole(packet, bytes) && opensConnection(packet.tcpFlags, host) ? "NEW" : "INVALID";
    case PROTO_UDP:
      return bytes >= 8 && datagramIsWhole(packet, bytes) ? "NEW" : "INVALID";
    case PROTO_ICMP:
      return bytes >= 8 && ICMP_REQUESTS.includes(packet.icmpType) ? "NEW" : "INVALID";
    case PROTO_GRE:
      return greState(packet);
    case PROTO_SCTP:
      return bytes >= 12 ? "unknown" : "INVALID";
    case PROTO_UDPLITE:
      return udpliteState(packet, bytes);
    case PROTO_ICMPV6:
      return "unknown";
    default:
      return "NEW";
  }
}

function isChecked(proto: number): boolean {
  return proto === PROTO_TCP || proto === PROTO_UDP || proto === PROTO_ICMP;
}

/** The TCP header says no more than there is. */
function segmentIsWhole({ payload }: Packet, bytes: number): boolean {
  if (payload === null) return true;
  const headerLength = (payload[12]! >>> 4) * 4;
  return headerLength >= 20 && headerLength <= bytes;
}

/** tcp_new(): SYN opens, ACK is picked up in the middle; ECE, CWR and PSH do not count, URG is free. */
function opensConnection(flags: number, host: Host): boolean {
  const { SYN, ACK, ECE, CWR, PSH, URG } = TCP_FLAGS;
  const counted = flags & ~(ECE | CWR | PSH | URG);
  return counted === SYN || (counted === ACK && host.tcpLoose);
}

/** The length in the UDP header is possible. */
function datagramIsWhole({ payload }: Packet, bytes: number): boolean {
  if (payload === null) return true;
  const length = u16At(payload, 4);
  return length >= 8 && length <= bytes;
}

/** gre_pkt_to_tuple(): version 1 belongs to PPTP, all others are tracked by addresses. */
function greState({ payload }: Packet): FirstState {
  if (payload === null || payload.length < 8 || (payload[1]! & GRE_VERSION_MASK) !== 1) return "NEW";
  return u16At(payload, 2) === GRE_PROTOCOL_PPTP ? "NEW" : "INVALID";
}

/** udplite_error(): what is covered must be there, and a checksum too. */
function udpliteState({ payload }: Packet, bytes: number): FirstState | "unknown" {
  if (bytes < 8) return "INVALID";
  if (payload === null) return "unknown";
  const covered = u16At(payload, 4) === 0 ? bytes : u16At(payload, 4);
  if (covered < 8 || covered > bytes || u16At(payload, 6) === 0) return "INVALID";
  return "unknown";
}
