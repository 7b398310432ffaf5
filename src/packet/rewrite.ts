// A packet whose header NAT, routing or a target has changed: the same packet with other words in it.
//
// What the payload shows of ports and ids is written there too, and the checksum is mended as the kernel mends it, by the
// difference alone (inet_proto_csum_replace4() in net/core/utils.c): one that was wrong stays wrong.

import { PORT_PROTOCOLS, PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP } from "../net/protocol.ts";
import { mend, u16, u16At } from "./bytes.ts";
import type { Packet } from "./packet.ts";
import { sumUpSctp } from "./sctp.ts";
import { withFlags, withMss } from "./tcp.ts";

/** What NAT can change of a packet, and of one that an ICMP error quotes. */
export interface Endpoints {
  readonly src: number;
  readonly dst: number;
  readonly sport: number;
  readonly dport: number;
  /** Of ICMP queries and their answers; 0 for everything else. NAT translates it where it would translate ports. */
  readonly icmpId: number;
}

/** What changes on a packet's way. */
export interface Header extends Endpoints {
  readonly ttl: number;
  readonly tos: number;
  /** Present only where a target has changed them. */
  readonly tcpFlags?: number;
  readonly mss?: number;
  /** Of an ICMP error. */
  readonly inner?: Endpoints;
}

const ICMP_HEADER_BYTES = 8;
const ICMP_ID_OFFSET = 4;

export function endpointsOf({ src, dst, sport, dport, icmpId }: Packet): Endpoints {
  return { src, dst, sport, dport, icmpId };
}

export function rewrite(given: Packet, header: Partial<Header>): Packet {
  const { inner, mss, tcpFlags, ...words } = header;
  const flagged = tcpFlags === undefined || tcpFlags === given.tcpFlags ? given : withFlags(given, tcpFlags);
  const packet = mss === undefined ? flagged : withMss(flagged, mss);
  const changed: Packet = { ...packet, ...words };
  const quoted = inner === undefined || packet.inner === null ? packet.inner : { ...packet.inner, ...inner };
  const payload = payloadOf(packet, { ...changed, inner: quoted });
  return { ...changed, inner: quoted === null ? null : requoted(quoted, payload), payload };
}

/** The bytes behind the IP header of `after`, which was `before`; null where they are not known. */
function payloadOf(before: Packet, after: Packet): Uint8Array | null {
  const { payload, fragmentOffset } = before;
  if (payload === null || fragmentOffset > 0 || same(before, after)) return payload;
  const bytes = payload.slice();
  writeEndpoints(bytes, before, after);
  if (before.inner !== null && after.inner !== null) writeQuoted(bytes, before.inner, after.inner);
  return bytes;
}

function same(before: Packet, after: Packet): boolean {
  const keys = ["src", "dst", "sport", "dport", "icmpId"] as const;
  const quoted = keys.every((key) => before.inner?.[key] === after.inner?.[key]);
  return quoted && keys.every((key) => before[key] === after[key]);
}

function writeEndpoints(bytes: Uint8Array, before: Packet, after: Packet): void {
  const { proto } = before;
  if (PORT_PROTOCOLS.includes(proto) && bytes.length >= 4) {
    bytes.set([...u16(after.sport), ...u16(after.dport)]);
    const changes = [...difference(before.sport, after.sport), ...difference(before.dport, after.dport)];
    const pseudo = [...wide(before.src, after.src), ...wide(before.dst, after.dst)];
    if (proto === PROTO_TCP) mend(bytes, 16, [...changes, ...pseudo]);
    if (proto === PROTO_SCTP) sumUpSctp(bytes);
    // UDP may go without a checksum
    if (proto === PROTO_UDP && bytes.length >= 8 && u16At(bytes, 6) !== 0) mend(bytes, 6, [...changes, ...pseudo]);
  } else if (proto === PROTO_ICMP && before.icmpId !== after.icmpId) {
    bytes.set(u16(after.icmpId), ICMP_ID_OFFSET);
    mend(bytes, 2, difference(before.icmpId, after.icmpId));
  }
}

/** The header and the first bytes of what an ICMP error quotes; its checksum covers them. */
function writeQuoted(bytes: Uint8Array, before: Packet, after: Packet): void {
  const start = ICMP_HEADER_BYTES;
  const old = bytes.slice();
  bytes.set([...u16(after.src >>> 16), ...u16(after.src & 0xffff)], start + 12);
  bytes.set([...u16(after.dst >>> 16), ...u16(after.dst & 0xffff)], start + 16);
  mend(bytes, start + 10, [...wide(before.src, after.src), ...wide(before.dst, after.dst)]);
  const transport = bytes.subarray(start + before.headerLength);
  if (before.fragmentOffset === 0) writeEndpoints(transport, before, after);
  const changes: (readonly [number, number])[] = [];
  for (let at = 0; at + 1 < bytes.length; at += 2) changes.push([u16At(old, at), u16At(bytes, at)]);
  mend(bytes, 2, changes);
}

/** A quoted packet sees the bytes of the one that quotes it. */
function requoted(quoted: Packet, payload: Uint8Array | null): Packet {
  if (payload === null) return quoted;
  return { ...quoted, payload: payload.subarray(ICMP_HEADER_BYTES + quoted.headerLength) };
}

type Change = readonly [from: number, to: number];

function difference(from: number, to: number): Change[] {
  return from === to ? [] : [[from, to]];
}

function wide(from: number, to: number): Change[] {
  return [...difference(from >>> 16, to >>> 16), ...difference(from & 0xffff, to & 0xffff)];
}
