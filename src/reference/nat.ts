// What a NAT target makes of the first packet of a connection.
//
// Follows get_unique_tuple(), find_best_ips_proto() and nf_nat_l4proto_unique_tuple() in net/netfilter/nf_nat_core.c.
// No other connection is known, so every tuple is free.

import { PROTO_DCCP, PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE } from "../net/protocol.ts";
import { contains } from "../net/range.ts";
import type { Range } from "../net/range.ts";
import type { Packet } from "../packet/packet.ts";
import type { NatRange } from "../rules/ruleset.ts";

export type Side = "source" | "destination";

export interface Translated {
  readonly packet: Packet;
  /** The kernel would have drawn the port by lot. */
  readonly chosen: boolean;
}

const PORT_PROTOCOLS: readonly number[] = [PROTO_TCP, PROTO_UDP, PROTO_UDPLITE, PROTO_SCTP, PROTO_DCCP];

const PROTO_GRE = 47;
const GRE_VERSION_MASK = 7;
const GRE_SHOWN_BYTES = 8;

/** The part of a packet that stands where ports stand. */
type PortKey = "sport" | "dport" | "icmpId";

/** @param draw gives 32 bits by lot */
export function translate(packet: Packet, side: Side, range: NatRange, draw: () => number): Translated {
  const key = portKey(packet.proto, side);
  const anyPort = range.random || range.randomFully;
  const portFits = range.ports === null || key === null || contains(range.ports, packet[key]);

  // a source that fits as it is stays
  const sourceFits = range.addresses === null || contains(range.addresses, packet.src);
  if (side === "source" && !anyPort && sourceFits && portFits) return { packet, chosen: false };

  const readdressed = withAddress(packet, side, range);
  const keepsPort = range.ports === null || (range.basePort === null && portFits);
  if (key === null || (!anyPort && keepsPort)) return { packet: readdressed, chosen: false };
  const ports = range.ports ?? freePorts(key, packet[key]);
  if (ports === null) return { packet: readdressed, chosen: false };

  const size = ports.hi - ports.lo + 1;
  const byLot = range.basePort === null && (anyPort || side === "source");
  const offset = range.basePort !== null ? (packet[key] - range.basePort) & 0xffff : byLot ? draw() & 0xffff : 0;
  return { packet: { ...readdressed, [key]: ports.lo + (offset % size) }, chosen: byLot && size > 1 };
}

/** Whether the kernel can write the translation into the packet (gre_manip_pkt() in net/netfilter/nf_nat_proto.c). */
export function isWritable({ proto, payload }: Packet, side: Side): boolean {
  if (proto !== PROTO_GRE || payload === null) return true;
  const version = (payload[1] ?? 0) & GRE_VERSION_MASK;
  return payload.length >= GRE_SHOWN_BYTES && (side === "source" || version <= 1);
}

/** null: the protocol has nothing there. */
function portKey(proto: number, side: Side): PortKey | null {
  if (proto === PROTO_ICMP) return "icmpId";
  if (!PORT_PROTOCOLS.includes(proto)) return null;
  return side === "source" ? "sport" : "dport";
}

/** Where a port is drawn if the rule names no range; null: it stays. */
function freePorts(key: PortKey, port: number): Range | null {
  if (key === "icmpId") return { lo: 0, hi: 65535 };
  if (key === "dport") return null;
  if (port < 512) return { lo: 1, hi: 511 };
  return port < 1024 ? { lo: 600, hi: 1023 } : { lo: 1024, hi: 65535 };
}

function withAddress(packet: Packet, side: Side, { addresses, persistent }: NatRange): Packet {
  if (addresses === null) return packet;
  const address = chooseAddress(packet, addresses, persistent);
  return side === "source" ? { ...packet, src: address } : { ...packet, dst: address };
}

/** By a hash, so that a client keeps its address (towards a destination, or `persistent` towards all). */
function chooseAddress({ src, dst }: Packet, { lo, hi }: Range, persistent: boolean): number {
  if (lo === hi) return lo;
  const hash = jhash(inMemory(src), persistent ? 0 : inMemory(dst));
  // of 2^32 addresses the kernel counts 0
  const size = (hi - lo + 1) % 2 ** 32;
  return lo + Number((BigInt(hash) * BigInt(size)) >> 32n);
}

/** The word as it lies in the memory of a little-endian machine. */
function inMemory(address: number): number {
  return ((address >>> 24) | ((address >>> 8) & 0xff00) | ((address << 8) & 0xff0000) | (address << 24)) >>> 0;
}

/** jhash2() of include/linux/jhash.h over the four words [word, 0, 0, 0]. */
function jhash(word: number, initial: number): number {
  const start = (0xdeadbeef + (4 << 2) + initial) | 0;
  let [a, b, c] = [start + word, start, start].map((value) => value | 0) as [number, number, number];
  // __jhash_mix()
  a = (a - c) ^ rotate(c, 4);
  c = (c + b) | 0;
  b = (b - a) ^ rotate(a, 6);
  a = (a + c) | 0;
  c = (c - b) ^ rotate(b, 8);
  b = (b + a) | 0;
  a = (a - c) ^ rotate(c, 16);
  c = (c + b) | 0;
  b = (b - a) ^ rotate(a, 19);
  a = (a + c) | 0;
  c = (c - b) ^ rotate(b, 4);
  b = (b + a) | 0;
  // __jhash_final(); the last word is 0
  c = ((c ^ b) - rotate(b, 14)) | 0;
  a = ((a ^ c) - rotate(c, 11)) | 0;
  b = ((b ^ a) - rotate(a, 25)) | 0;
  c = ((c ^ b) - rotate(b, 16)) | 0;
  a = ((a ^ c) - rotate(c, 4)) | 0;
  b = ((b ^ a) - rotate(a, 14)) | 0;
  c = ((c ^ b) - rotate(b, 24)) | 0;
  return c >>> 0;
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
