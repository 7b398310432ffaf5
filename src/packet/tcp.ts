// The options of a TCP header: what rules ask of them, and how they are changed.

import { PROTO_TCP } from "../net/protocol.ts";
import { mend, u16, u16At } from "./bytes.ts";
import { isBadChecksum } from "./decode.ts";
import type { Packet } from "./packet.ts";

const HEADER_BYTES = 20;
const NOP_KIND = 1;
const MSS_KIND = 2;
const MSS_BYTES = 4;
const MOST_HEADER_BYTES = 60;
const CHECKSUM_OFFSET = 16;

/**
 * The MSS option as `-m tcpmss` reads it where TCP should stand; null: there is none; "broken": the match drops the packet
 * (tcpmss_mt() in net/netfilter/xt_tcpmss.c). A packet whose bytes are not known has none.
 */
export function mssAsked(packet: Packet): number | null | "broken" {
  const { payload } = packet;
  if (payload === null) return packet.length - packet.headerLength < HEADER_BYTES ? "broken" : null;
  const end = payload.length < HEADER_BYTES ? 0 : headerBytes(payload);
  if (end < HEADER_BYTES || end > payload.length) return "broken";
  let at = HEADER_BYTES;
  while (at < end) {
    const length = payload[at + 1]!;
    if (payload[at] === MSS_KIND && end - at >= MSS_BYTES && length === MSS_BYTES) return u16At(payload, at + 2);
    at += payload[at]! < 2 || at + 1 >= end || length === 0 ? 1 : length;
  }
  return null;
}

function headerBytes(segment: Uint8Array): number {
  return (segment[12]! >>> 4) * 4;
}

/** What TCPMSS makes of it where it wants `mss`; "drop": the header is broken (tcpmss_mangle_packet() in xt_TCPMSS.c). */
export function clamped(packet: Packet, mss: number): Packet | "drop" {
  const { payload } = packet;
  if (packet.fragmentOffset > 0) return packet;
  if (payload === null) return packet.length - packet.headerLength < HEADER_BYTES ? "drop" : packet;
  const end = payload.length < HEADER_BYTES ? 0 : headerBytes(payload);
  if (end < HEADER_BYTES || end > payload.length) return "drop";
  const place = placeOfMss(payload, end);
  if (place !== null) return u16At(payload, place + 2) <= mss ? packet : withMss(packet, mss);
  if (payload.length > end || end >= MOST_HEADER_BYTES) return packet;
  return withMss(packet, Math.min(mss, DEFAULT_MSS));
}

/** RFC 879: what fits everywhere. */
const DEFAULT_MSS = 536;

function placeOfMss(segment: Uint8Array, end: number): number | null {
  for (let at = HEADER_BYTES; at <= end - MSS_BYTES;) {
    if (segment[at] === MSS_KIND && segment[at + 1] === MSS_BYTES) return at;
    // beyond NOP and END an option says how long it is
    at += segment[at]! <= 1 || segment[at + 1] === 0 ? 1 : segment[at + 1]!;
  }
  return null;
}

/** The MSS option as TCPMSS finds it; null: there is none, or no whole header. */
export function mssOf(packet: Packet): number | null {
  const place = mssPlaceOf(packet);
  return place === null ? null : u16At(packet.payload!, place + 2);
}

/** Where it stands in the segment; null: nowhere. */
export function mssPlaceOf({ proto, fragmentOffset, payload }: Packet): number | null {
  if (proto !== PROTO_TCP || payload === null || fragmentOffset > 0 || payload.length < HEADER_BYTES) return null;
  const end = headerBytes(payload);
  return end > payload.length ? null : placeOfMss(payload, end);
}

/** With this MSS: in its option, or in one put in front of all others. The checksum is mended as the kernel does. */
export function withMss(packet: Packet, mss: number): Packet {
  const { payload } = packet;
  if (payload === null) return packet;
  const end = headerBytes(payload);
  const place = placeOfMss(payload, end);
  if (place !== null) {
    const bytes = payload.slice();
    bytes.set(u16(mss), place + 2);
    // the kernel does not mind that the option may stand at an odd place, where that makes the checksum wrong
    mend(bytes, CHECKSUM_OFFSET, [[u16At(payload, place + 2), mss]]);
    const { src, dst, proto } = packet;
    return { ...packet, payload: bytes, badChecksum: isBadChecksum(src, dst, proto, bytes) };
  }
  const bytes = new Uint8Array(payload.length + MSS_BYTES);
  bytes.set(payload.subarray(0, HEADER_BYTES));
  bytes.set([MSS_KIND, MSS_BYTES, ...u16(mss)], HEADER_BYTES);
  bytes.set(payload.subarray(HEADER_BYTES), HEADER_BYTES + MSS_BYTES);
  bytes[12]! += (MSS_BYTES / 4) << 4;
  const length: readonly [number, number] = [payload.length, bytes.length];
  mend(bytes, CHECKSUM_OFFSET, [length, ...wordsChanged(payload, bytes)]);
  return { ...packet, payload: bytes, length: packet.length + MSS_BYTES };
}

/** Bytes of its header, as that says; 0: it shows none. */
export function tcpHeaderBytes({ fragmentOffset, payload }: Packet): number {
  return fragmentOffset > 0 || payload === null || payload.length < HEADER_BYTES ? 0 : headerBytes(payload);
}

/**
 * What TCPOPTSTRIP leaves of it: options of these kinds become NOPs; "drop": the header is broken (tcpoptstrip_mangle_packet() in
 * net/netfilter/xt_TCPOPTSTRIP.c).
 */
export function stripped(packet: Packet, kinds: readonly number[]): Packet | "drop" {
  const { payload } = packet;
  if (packet.fragmentOffset > 0) return packet;
  if (payload === null) return packet.length - packet.headerLength < HEADER_BYTES ? "drop" : packet;
  const end = tcpHeaderBytes(packet);
  if (end < HEADER_BYTES || end > payload.length) return "drop";
  const bytes = payload.slice();
  for (let at = HEADER_BYTES; at < end - 1;) {
    const kind = payload[at]!;
    const length = kind <= NOP_KIND || payload[at + 1] === 0 ? 1 : payload[at + 1]!;
    if (at + length > end) break;
    if (kinds.includes(kind)) bytes.fill(NOP_KIND, at, at + length);
    at += length;
  }
  const changes = wordsChanged(payload, bytes);
  if (changes.length === 0) return packet;
  mend(bytes, CHECKSUM_OFFSET, changes);
  return { ...packet, payload: bytes };
}

/** It shows other options of TCP than this one, all of them. */
export function hasOtherOptions(packet: Packet, than: Packet): boolean {
  if (packet.proto !== PROTO_TCP || packet.payload === null || packet.moreFragments) return false;
  const [end, otherEnd] = [tcpHeaderBytes(packet), tcpHeaderBytes(than)];
  if (end <= HEADER_BYTES) return false;
  const options = packet.payload.subarray(HEADER_BYTES, end);
  return end !== otherEnd || options.some((byte, at) => byte !== than.payload?.[HEADER_BYTES + at]);
}

/** With other flags in byte 13. */
export function withFlags(packet: Packet, tcpFlags: number): Packet {
  const { payload } = packet;
  if (payload === null || payload.length < HEADER_BYTES) return { ...packet, tcpFlags };
  const bytes = payload.slice();
  bytes[13] = tcpFlags;
  mend(bytes, CHECKSUM_OFFSET, wordsChanged(payload, bytes));
  return { ...packet, tcpFlags, payload: bytes };
}

/** Word by word, but for the checksum's. */
function wordsChanged(before: Uint8Array, after: Uint8Array): (readonly [number, number])[] {
  const changes: (readonly [number, number])[] = [];
  for (let at = 0; at < Math.max(before.length, after.length); at += 2) {
    const word = (bytes: Uint8Array): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    if (at !== CHECKSUM_OFFSET && word(before) !== word(after)) changes.push([word(before), word(after)]);
  }
  return changes;
}
