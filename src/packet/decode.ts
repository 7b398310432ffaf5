// Bytes of an IPv4 packet -> what a rule can see of it.
//
// RFC 791, 792, 768, 9293. Whether a checksum is wrong is what nf_ip_checksum() in net/netfilter/utils.c says, with the
// exceptions of nf_reject_verify_csum() in include/net/netfilter/nf_reject.h.

import { PORT_PROTOCOLS, PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE } from "../net/protocol.ts";
import { onesSum, pseudoSum, u16At, u32At } from "./bytes.ts";
import type { Packet } from "./packet.ts";

/** Types with an id: echo, timestamp, information, address mask, each with its answer. */
const ICMP_QUERIES: readonly number[] = [0, 8, 13, 14, 15, 16, 17, 18];
/** Types that quote a packet. */
export const ICMP_ERRORS: readonly number[] = [3, 4, 5, 11, 12];
const ICMP_HEADER_BYTES = 8;
const IP_HEADER_BYTES = 20;
/**
 * Protocols whose checksum nobody asks for here: GRE, ESP, AH and those with one of their own. DCCP was one of them as
 * long as the kernel knew it, to Linux 6.15.
 */
const UNCHECKED: readonly number[] = [47, 50, 51, PROTO_SCTP, PROTO_UDPLITE];

/** What makes bytes no packet that reaches netfilter (ip_rcv_core() in net/ipv4/ip_input.c); null: nothing. */
export function malformed(bytes: Uint8Array): string | null {
  if (bytes.length >= 1 && bytes[0]! >>> 4 === 6) return "IPv6 is not modelled";
  if (bytes.length < IP_HEADER_BYTES) return "shorter than an IPv4 header";
  if (bytes[0]! >>> 4 !== 4) return "not an IPv4 packet";
  const headerLength = (bytes[0]! & 15) * 4;
  if (headerLength < IP_HEADER_BYTES) return "the header length is below 20 bytes";
  const length = u16At(bytes, 2);
  if (length < headerLength) return "the total length is below the header length";
  if (length > bytes.length) return "the total length is more than there are bytes";
  return null;
}

/** Of bytes that are not malformed; whatever stands behind the total length is left out. */
export function decode(bytes: Uint8Array): Packet {
  return read(bytes.subarray(0, u16At(bytes, 2)), true);
}

/** Of the packet that an ICMP error quotes: it may be cut off, but for its header. */
function decodeQuoted(bytes: Uint8Array): Packet | null {
  if (bytes.length < IP_HEADER_BYTES || bytes[0]! >>> 4 !== 4 || (bytes[0]! & 15) * 4 < IP_HEADER_BYTES) return null;
  return read(bytes, false);
}

function read(bytes: Uint8Array, whole: boolean): Packet {
  const headerLength = (bytes[0]! & 15) * 4;
  const fragmentField = u16At(bytes, 6);
  const fragmentOffset = fragmentField & 0x1fff;
  const proto = bytes[9]!;
  const src = u32At(bytes, 12);
  const dst = u32At(bytes, 16);
  const payload = bytes.subarray(headerLength);

  // a later fragment shows nothing of the transport header
  const transport = fragmentOffset === 0 ? payload : payload.subarray(0, 0);
  const shows = (protocols: readonly number[], end: number): boolean =>
    protocols.includes(proto) && transport.length >= end;
  const icmpType = shows([PROTO_ICMP], 1) ? transport[0]! : 0;
  const query = shows([PROTO_ICMP], ICMP_HEADER_BYTES) && ICMP_QUERIES.includes(icmpType);
  const error = shows([PROTO_ICMP], ICMP_HEADER_BYTES) && ICMP_ERRORS.includes(icmpType);

  return {
    src,
    dst,
    proto,
    sport: shows(PORT_PROTOCOLS, 4) ? u16At(transport, 0) : 0,
    dport: shows(PORT_PROTOCOLS, 4) ? u16At(transport, 2) : 0,
    tcpFlags: shows([PROTO_TCP], 14) ? transport[13]! : 0,
    icmpType,
    icmpCode: shows([PROTO_ICMP], 2) ? transport[1]! : 0,
    icmpId: query ? u16At(transport, 4) : 0,
    icmpSeq: query ? u16At(transport, 6) : 0,
    ttl: bytes[8]!,
    tos: bytes[1]!,
    length: u16At(bytes, 2),
    headerLength,
    sourceRouted: whole && optionsOf(bytes.subarray(IP_HEADER_BYTES, headerLength))?.sourceRouted === true,
    ipId: u16At(bytes, 4),
    df: (fragmentField & 0x4000) !== 0,
    moreFragments: (fragmentField & 0x2000) !== 0,
    fragmentOffset,
    badChecksum: whole && isBadChecksum(src, dst, proto, payload),
    seq: shows([PROTO_TCP], 8) ? u32At(transport, 4) : 0,
    ack: shows([PROTO_TCP], 12) ? u32At(transport, 8) : 0,
    window: shows([PROTO_TCP], 16) ? u16At(transport, 14) : 0,
    inner: whole && error ? decodeQuoted(transport.subarray(ICMP_HEADER_BYTES)) : null,
    payload,
  };
}

/** As nf_ip_checksum() sees what stands behind an IP header with these addresses. */
export function isBadChecksum(src: number, dst: number, proto: number, payload: Uint8Array): boolean {
  if (UNCHECKED.includes(proto) || hasNoChecksum(proto, payload)) return false;
  return errorOfSum(src, dst, proto, payload) !== 0;
}

function errorOfSum(src: number, dst: number, proto: number, payload: Uint8Array): number {
  const pseudo = proto === PROTO_TCP || proto === PROTO_UDP ? pseudoSum(src, dst, proto, payload.length) : 0;
  // the kernel sums from the IP header on, which is 0xffff by itself: nothing but zeros is right too
  return onesSum(payload, pseudo + 0xffff) % 0xffff;
}

/** What stands behind the IP header adds up to so much too much, modulo 65,535; 0 where its bytes are not known. */
export function checksumError({ src, dst, proto, payload }: Packet): number {
  return payload === null ? 0 : errorOfSum(src, dst, proto, payload);
}

/**
 * As conntrack sees UDP-Lite, whose checksum covers as much as the sender liked: udplite_error() sums up the number of UDP
 * where RFC 3828 has that of UDP-Lite, so that what senders make is bad.
 */
export function hasBadCoverage({ src, dst, payload }: Packet): boolean {
  if (payload === null || payload.length < 8) return false;
  const covered = payload.subarray(0, u16At(payload, 4) || payload.length);
  return onesSum(covered, pseudoSum(src, dst, PROTO_UDP, payload.length)) !== 0xffff;
}

/** UDP may go without. */
function hasNoChecksum(proto: number, payload: Uint8Array): boolean {
  return proto === PROTO_UDP && payload.length >= 8 && u16At(payload, 6) === 0;
}

/** TCP or UDP with a checksum: addresses are part of the sum. */
export function isSummedWithAddresses({ proto, payload }: Packet): boolean {
  if (payload === null || hasNoChecksum(proto, payload)) return false;
  return proto === PROTO_TCP || proto === PROTO_UDP;
}

const OPTION_END = 0;
const OPTION_NOOP = 1;
const OPTION_RECORD_ROUTE = 7;
const OPTION_TIMESTAMP = 68;
const OPTION_LOOSE_SOURCE_ROUTE = 131;
const OPTION_STRICT_SOURCE_ROUTE = 137;
const OPTION_ROUTER_ALERT = 148;

/** null where __ip_options_compile() in net/ipv4/ip_options.c finds a fault, or might. */
export function optionsOf(options: Uint8Array): { readonly sourceRouted: boolean } | null {
  const seen = new Set<number>();
  let at = 0;
  while (at < options.length && options[at] !== OPTION_END) {
    const kind = options[at]!;
    if (kind === OPTION_NOOP) {
      at++;
      continue;
    }
    const length = options[at + 1] ?? 0;
    if (length < 2 || at + length > options.length || seen.has(kind)) return null;
    const pointer = options[at + 2] ?? 0;
    const isRoute = kind === OPTION_LOOSE_SOURCE_ROUTE || kind === OPTION_STRICT_SOURCE_ROUTE;
    if (isRoute && (length < 3 || pointer < 4)) return null;
    // the kernel writes into them, and repeats them in what it answers
    if (kind === OPTION_TIMESTAMP || kind === OPTION_RECORD_ROUTE) return null;
    if (kind === OPTION_ROUTER_ALERT && length < 4) return null;
    seen.add(kind);
    at += length;
  }
  return { sourceRouted: seen.has(OPTION_LOOSE_SOURCE_ROUTE) || seen.has(OPTION_STRICT_SOURCE_ROUTE) };
}
