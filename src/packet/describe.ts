// A packet -> the object that answers show of it, in the shape and key order of decode_packet() in kernel_oracle.py.

import { formatAddress } from "../net/address.ts";
import { PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE } from "../net/protocol.ts";
import { u16At } from "./bytes.ts";
import { ICMP_ERRORS } from "./decode.ts";
import type { Packet } from "./packet.ts";
import { TCP_FLAGS } from "./packet.ts";
import { protocolName } from "./protocol.ts";

/** The protocols of which ports are shown; of DCCP they are not. */
const SHOWN_PORTS: readonly number[] = [PROTO_TCP, PROTO_UDP, PROTO_SCTP, PROTO_UDPLITE];
const ICMP_QUERIES: readonly number[] = [0, 8, 13, 14, 15, 16, 17, 18];

export type Description = Readonly<Record<string, unknown>>;

/** `packet` as it is, NAT and TTL done. */
export function describe(packet: Packet): Description {
  const fragmented = packet.fragmentOffset > 0 || packet.moreFragments;
  return {
    ...describeTransport(packet, false),
    ttl: packet.ttl,
    tos: packet.tos,
    dscp: packet.tos >>> 2,
    len: packet.length,
    ...(fragmented ? { frag_offset: packet.fragmentOffset * 8, more_fragments: packet.moreFragments } : {}),
  };
}

/** Bytes of payload of each fragment in which a packet leaves by a link with this MTU (ip_do_fragment() in net/ipv4/ip_output.c). */
export function fragmentSizes({ length, headerLength }: Packet, mtu: number): readonly number[] {
  const room = mtu - headerLength;
  const sizes: number[] = [];
  for (let left = length - headerLength; left > 0; left -= sizes.at(-1)!) {
    sizes.push(left > room ? room - (room % 8) : left);
  }
  return sizes;
}

/**
 * Bytes of the fragments that a packet came in, when so many of the first are wanted in one piece: what it lacks is taken from
 * those behind it (__pskb_pull_tail() in net/core/skbuff.c). null: they have become one.
 */
export function pulledSizes(sizes: readonly number[], bytes: number): readonly number[] | null {
  let lacks = bytes - sizes[0]!;
  if (lacks <= 0) return sizes;
  const rest: number[] = [];
  for (const size of sizes.slice(1)) {
    const taken = Math.min(lacks, size);
    lacks -= taken;
    if (taken < size) rest.push(size - taken);
  }
  return rest.length === 0 ? null : [bytes, ...rest];
}

/** @param sizes bytes of payload of each */
export function fragmentsOf(packet: Packet, sizes: readonly number[]): readonly Packet[] {
  let at = 0;
  return sizes.map((size, index) => {
    const start = at;
    at += size;
    return {
      ...packet,
      length: packet.headerLength + size,
      fragmentOffset: packet.fragmentOffset + start / 8,
      moreFragments: index + 1 < sizes.length || packet.moreFragments,
      payload: packet.payload?.subarray(start, at) ?? null,
    };
  });
}

function describeTransport(packet: Packet, quoted: boolean): Description {
  const { proto, payload } = packet;
  const head = { src: formatAddress(packet.src), dst: formatAddress(packet.dst), proto: protocolName(proto) };
  // of a quoted packet there may be less than its header says
  const bytes = quoted && payload !== null ? payload.length : packet.length - packet.headerLength;
  if (packet.fragmentOffset > 0) return head;
  const ports = SHOWN_PORTS.includes(proto) && bytes >= 4 ? { sport: packet.sport, dport: packet.dport } : {};
  if (proto === PROTO_TCP && bytes >= 14) {
    const mss = payload === null ? null : mssOf(payload);
    return { ...head, ...ports, flags: flagNames(packet.tcpFlags), ...(mss === null ? {} : { mss }) };
  }
  if (proto === PROTO_ICMP && bytes >= 8) return { ...head, ...describeIcmp(packet, quoted) };
  return { ...head, ...ports };
}

function describeIcmp(packet: Packet, quoted: boolean): Description {
  const { icmpType, icmpCode, payload, inner } = packet;
  const kind = { icmp_type: icmpType, icmp_code: icmpCode };
  if (ICMP_QUERIES.includes(icmpType)) return { ...kind, icmp_id: packet.icmpId, icmp_seq: packet.icmpSeq };
  if (quoted || inner === null || payload === null || !ICMP_ERRORS.includes(icmpType)) return kind;
  const mtu = icmpType === 3 && icmpCode === 4 ? { mtu: u16At(payload, 6) } : {};
  return { ...kind, ...mtu, inner: describeTransport(inner, true) };
}

function flagNames(flags: number): string {
  const set = Object.entries(TCP_FLAGS).filter(([, bit]) => (flags & bit) !== 0);
  return set.map(([name]) => name).join(",") || "NONE";
}

const OPTION_END = 0;
const OPTION_NOOP = 1;
const OPTION_MSS = 2;

/** The maximum segment size among the options of a TCP segment; null: none. */
function mssOf(segment: Uint8Array): number | null {
  const end = Math.min((segment[12]! >>> 4) * 4, segment.length);
  let at = 20;
  while (at < end && segment[at] !== OPTION_END) {
    if (segment[at] === OPTION_NOOP) {
      at++;
      continue;
    }
    const length = segment[at + 1] ?? 0;
    if (at + 1 >= end || length < 2) return null;
    if (segment[at] === OPTION_MSS && at + 4 <= end) return u16At(segment, at + 2);
    at += length;
  }
  return null;
}
