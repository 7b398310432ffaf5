// A packet that the host refuses -> the packet that it answers with: a TCP reset, or an ICMP error that quotes it.
//
// Follows nf_reject_iphdr_put() and nf_reject_ip_tcphdr_put() in net/ipv4/netfilter/nf_reject_ipv4.c, __icmp_send() in
// net/ipv4/icmp.c. The IP id of an ICMP error is the kernel's own and is left 0.

import { PROTO_ICMP, PROTO_TCP } from "../net/protocol.ts";
import { checksum, pseudoSum, u16, u32 } from "./bytes.ts";
import { decode } from "./decode.ts";
import { encode } from "./encode.ts";
import type { Packet } from "./packet.ts";
import { TCP_FLAGS } from "./packet.ts";

/** What the host says. */
export type AnswerKind =
  | { readonly kind: "tcp-reset" }
  | {
      readonly kind: "icmp";
      readonly type: number;
      readonly code: number;
      /** The word behind type, code and checksum: the MTU of 3/4, the gateway of a redirect; 0 otherwise. */
      readonly info: number;
    };

const IP_HEADER_BYTES = 20;
const TCP_HEADER_BYTES = 20;
const ICMP_HEADER_BYTES = 8;
/** An ICMP error is no longer than that, nor than the MTU of the way back. */
const ERROR_BYTES = 576;
const TOS_BITS = 0x1e;
const INTERNETWORK_CONTROL = 0xc0;

/** What an answer of the host is called: `tcp-reset` or `icmp TYPE/CODE`. */
export function wordOf({ proto, icmpType, icmpCode }: Packet): string {
  return proto === PROTO_TCP ? "tcp-reset" : `icmp ${icmpType}/${icmpCode}`;
}

/**
 * @param packet as it was when it was refused
 * @param src of an ICMP error; a reset comes from where the packet went
 * @param mtu of the way back
 * @param ttl of what the host sends (ip_default_ttl)
 */
export function makeAnswer(packet: Packet, answer: AnswerKind, src: number, mtu: number, ttl: number): Packet {
  return answer.kind === "tcp-reset" ? resetOf(packet, ttl) : errorAbout(packet, { ...answer, src, mtu, ttl });
}

function resetOf(packet: Packet, ttl: number): Packet {
  const { src, dst, sport, dport, tcpFlags } = packet;
  const acknowledges = (tcpFlags & TCP_FLAGS.ACK) !== 0;
  const seq = acknowledges ? packet.ack : 0;
  const ack = acknowledges ? 0 : (packet.seq + segmentLength(packet)) >>> 0;
  const flags = acknowledges ? TCP_FLAGS.RST : TCP_FLAGS.RST | TCP_FLAGS.ACK;
  const segment = Uint8Array.from([
    ...[...u16(dport), ...u16(sport), ...u32(seq), ...u32(ack)],
    ...[(TCP_HEADER_BYTES / 4) << 4, flags, 0, 0, 0, 0, 0, 0],
  ]);
  segment.set(u16(checksum(segment, pseudoSum(dst, src, PROTO_TCP, segment.length))), 16);
  return {
    ...EMPTY,
    ...{ src: dst, dst: src, proto: PROTO_TCP, sport: dport, dport: sport, tcpFlags: flags },
    ...{ seq, ack, ttl, df: true, length: IP_HEADER_BYTES + segment.length, payload: segment },
  };
}

/** SYN and FIN count as a byte each. */
function segmentLength({ tcpFlags, length, headerLength, payload }: Packet): number {
  const ownLength = payload === null ? TCP_HEADER_BYTES : (payload[12]! >>> 4) * 4;
  const counted = [TCP_FLAGS.SYN, TCP_FLAGS.FIN].filter((flag) => (tcpFlags & flag) !== 0).length;
  return counted + length - headerLength - ownLength;
}

interface Told {
  readonly type: number;
  readonly code: number;
  readonly info: number;
  readonly src: number;
  readonly mtu: number;
  readonly ttl: number;
}

function errorAbout(packet: Packet, { type, code, info, src, mtu, ttl }: Told): Packet {
  const most = Math.min(ERROR_BYTES, mtu) - IP_HEADER_BYTES - ICMP_HEADER_BYTES;
  const quoted = packet.payload === null ? null : encode(packet, packet.payload).subarray(0, most);
  const made: Packet = {
    ...EMPTY,
    // to nobody is to oneself (ip_route_output_key_hash_rcu())
    ...{ src, dst: packet.src === 0 ? src : packet.src, proto: PROTO_ICMP, icmpType: type, icmpCode: code },
    // an error to a group goes no further than the link
    ttl: packet.src >>> 28 === 14 ? 1 : ttl,
    tos: (packet.tos & TOS_BITS) | INTERNETWORK_CONTROL,
    length: IP_HEADER_BYTES + ICMP_HEADER_BYTES + Math.min(packet.length, most),
    inner: { ...packet, inner: null },
  };
  if (quoted === null) return made;
  const message = Uint8Array.from([type, code, 0, 0, ...u32(info), ...quoted]);
  message.set(u16(checksum(message)), 2);
  return { ...decode(encode(made, message)), idUnknown: true };
}

const EMPTY: Packet = {
  ...{ src: 0, dst: 0, proto: 0, sport: 0, dport: 0, tcpFlags: 0, icmpType: 0, icmpCode: 0, icmpId: 0, icmpSeq: 0 },
  ...{ ttl: 0, tos: 0, length: IP_HEADER_BYTES, headerLength: IP_HEADER_BYTES, sourceRouted: false },
  ...{ ipId: 0, df: false, moreFragments: false, fragmentOffset: 0, badChecksum: false, seq: 0, ack: 0, window: 0 },
  ...{ inner: null, payload: null },
};
