// What tells connections apart: addresses, protocol and ports of a packet, and of the packet that answers it.
//
// nf_ct_get_tuple() and nf_ct_invert_tuple() in net/netfilter/nf_conntrack_core.c, gre_pkt_to_tuple() and
// nf_conntrack_invert_icmp_tuple() beside it.

import type { Tuple } from "../classifier.ts";
import { PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE } from "../net/protocol.ts";
import { u16At } from "../packet/bytes.ts";
import type { Packet } from "../packet/packet.ts";

export const PROTO_GRE = 47;
/** Protocols whose ports are tracked. DCCP is none of them any more. */
export const PORT_PROTOCOLS: readonly number[] = [PROTO_TCP, PROTO_UDP, PROTO_UDPLITE, PROTO_SCTP];

const PORTS_BYTES = 4;
const ICMP_BYTES = 8;
const GRE_VERSION_MASK = 7;
const GRE_PROTOCOL_PPTP = 0x880b;
const PPTP_BYTES = 8;
/** Types that ask, and the type that answers. */
const ICMP_ANSWERS: ReadonlyMap<number, number> = new Map([
  [8, 0],
  [0, 8],
  [13, 14],
  [14, 13],
  [15, 16],
  [16, 15],
  [17, 18],
  [18, 17],
]);

/** null: the packet does not show it. `shown`: bytes behind the IP header that are there. */
export function tupleOf(packet: Packet, shown = packet.length - packet.headerLength): Tuple | null {
  const { src, dst, proto, payload } = packet;
  if (packet.fragmentOffset > 0) return null;
  if (PORT_PROTOCOLS.includes(proto)) {
    return shown < PORTS_BYTES ? null : { src, dst, proto, sport: packet.sport, dport: packet.dport };
  }
  if (proto === PROTO_ICMP) {
    if (shown < ICMP_BYTES) return null;
    return { src, dst, proto, sport: packet.icmpId, dport: (packet.icmpType << 8) | packet.icmpCode };
  }
  const plain = { src, dst, proto, sport: 0, dport: 0 };
  if (proto !== PROTO_GRE || payload === null || payload.length < PPTP_BYTES) return plain;
  if ((payload[1]! & GRE_VERSION_MASK) !== 1) return plain;
  // version 1 belongs to PPTP: the call's number stands in the header
  return u16At(payload, 2) === GRE_PROTOCOL_PPTP ? { ...plain, dport: u16At(payload, 6) } : null;
}

/** The tuple of the packets that answer; null: nothing answers such a packet. */
export function inverse({ src, dst, proto, sport, dport }: Tuple): Tuple | null {
  if (proto !== PROTO_ICMP) return { src: dst, dst: src, proto, sport: dport, dport: sport };
  const answer = ICMP_ANSWERS.get(dport >>> 8);
  return answer === undefined ? null : { src: dst, dst: src, proto, sport, dport: (answer << 8) | (dport & 255) };
}

export function sameTuple(one: Tuple, other: Tuple): boolean {
  return keyOf(one) === keyOf(other);
}

export function keyOf({ src, dst, proto, sport, dport }: Tuple): string {
  return `${proto} ${src}:${sport} ${dst}:${dport}`;
}
