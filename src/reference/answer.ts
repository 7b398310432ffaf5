// What the host answers to a packet that it refuses, and when it says nothing.
//
// Follows __icmp_send() in net/ipv4/icmp.c, nf_send_unreach() and nf_send_reset() in
// net/ipv4/netfilter/nf_reject_ipv4.c.

import { PROTO_ICMP, PROTO_TCP } from "../net/protocol.ts";
import type { AnswerKind } from "../packet/made.ts";
import { makeAnswer } from "../packet/made.ts";
import type { Arrival, Packet } from "../packet/packet.ts";
import { TCP_FLAGS } from "../packet/packet.ts";
import type { RejectKind } from "../rules/ruleset.ts";
import type { Path, Routing } from "./routing.ts";

/** A packet that is refused, and what is known of it there. */
export interface Refused {
  readonly packet: Packet;
  /** `loopback`: a copy of what the host has sent to a group. */
  readonly frame: Arrival["frame"] | "loopback";
  /** null: it has none, and an error is being made of that. */
  readonly path: Path | null;
  /** Of a local packet's socket. */
  readonly boundIface: string | null;
  readonly summed: Summed;
}

/**
 * What is known of the checksum (skb_csum_unnecessary(), nf_ip_checksum()): conntrack has found it right when the packet
 * came in, and it is not summed up again; `forwarded`: it is for a reset (skb_forward_csum()); `unknown`: it is for all.
 */
export type Summed = "unknown" | "right" | "forwarded";

/** A packet of the host, and where it goes. */
export interface Answer {
  readonly packet: Packet;
  readonly path: Path;
}

const UNREACHABLE: Readonly<Record<Exclude<RejectKind, "tcp-reset">, number>> = {
  "icmp-net-unreachable": 0,
  "icmp-host-unreachable": 1,
  "icmp-proto-unreachable": 2,
  "icmp-port-unreachable": 3,
  "icmp-net-prohibited": 9,
  "icmp-host-prohibited": 10,
  "icmp-admin-prohibited": 13,
};

/** Types that icmp_pointers[] holds to be errors; those it does not know are taken for errors too. */
const NO_ERRORS: readonly number[] = [0, 8, 13, 14, 15, 16, 17, 18];
const TCP_HEADER_BYTES = 20;
const HEADERS_BYTES = 28;
const IP_HEADER_BYTES = 20;
/** 192.0.0.8 (RFC 7600): of a host without any address. */
const DUMMY = 0xc0000008;

/** What REJECT answers; null: nothing. */
export function rejection(kind: RejectKind, refused: Refused, routing: Routing): Answer | null {
  const { packet, summed } = refused;
  const resets = kind === "tcp-reset";
  const trusted = summed === "right" || (summed === "forwarded" && !resets);
  if (packet.fragmentOffset > 0 || (packet.badChecksum && !trusted)) return null;
  if (resets) return reset(refused, routing);
  return icmpError({ kind: "icmp", type: 3, code: UNREACHABLE[kind], info: 0 }, refused, routing);
}

/** null where no error may be sent about this packet. */
export function icmpError(answer: AnswerKind, refused: Refused, routing: Routing): Answer | null {
  const { packet, frame, path } = refused;
  if (frame !== "host" || path?.group === true || packet.fragmentOffset > 0) return null;
  if (packet.proto === PROTO_ICMP) {
    const cutOff = packet.length === packet.headerLength;
    if (cutOff || !NO_ERRORS.includes(packet.icmpType)) return null;
  }
  const src = path?.local === true ? packet.dst : 0;
  const back = routing.output({ src, dst: packet.src, mark: 0, oif: null }, false);
  if (typeof back === "string" || back.mtu - HEADERS_BYTES <= IP_HEADER_BYTES) return null;
  const from = back.src === 0 ? DUMMY : back.src;
  return { packet: makeAnswer(packet, answer, from, back.mtu, routing.defaultTtl), path: back };
}

function reset({ packet, path, boundIface }: Refused, routing: Routing): Answer | null {
  if (packet.proto !== PROTO_TCP || packet.length - packet.headerLength < TCP_HEADER_BYTES) return null;
  if ((packet.tcpFlags & TCP_FLAGS.RST) !== 0 || path?.group === true) return null;
  // ip_route_me_harder(): from the address that was asked, whosever it is
  const type = routing.tables.addressType(packet.dst, null);
  const src = type === "LOCAL" || type === "UNICAST" ? packet.dst : 0;
  const back = routing.output({ src, dst: packet.src, mark: 0, oif: boundIface }, true);
  if (typeof back === "string") return null;
  return { packet: makeAnswer(packet, { kind: "tcp-reset" }, packet.dst, back.mtu, routing.defaultTtl), path: back };
}
