// The mark that HMARK gives: a hash of the packet's addresses and ports, or of those of its connection.
//
// hmark_tg_v4() in net/netfilter/xt_HMARK.c.

import { PORT_PROTOCOLS, PROTO_AH, PROTO_ESP, PROTO_ICMP } from "../net/protocol.ts";
import { u16At, u32At } from "../packet/bytes.ts";
import type { Packet } from "../packet/packet.ts";
import type { HmarkTarget } from "../rules/ruleset.ts";
import { bytesOf } from "./bytes.ts";
import { seenOn } from "./connmatch.ts";
import { hashOf, scaled } from "./hash.ts";
import { payloadOf } from "./payload.ts";
import type { Skb } from "./skb.ts";

/** What is hashed, before it is masked. */
interface Key {
  readonly src: number;
  readonly dst: number;
  readonly proto: number;
  /** The source port in the upper half; null: it shows none. */
  readonly ports: number | null;
}

const IP_HEADER_BYTES = 20;
const ICMP_HEADER_BYTES = 8;
const PORTS_BYTES = 4;
const ICMP_ERRORS: readonly number[] = [3, 4, 5, 11, 12];
/** MF and the offset. */
const FRAGMENT_MASK = 0x3fff;

export function setHashMark(target: HmarkTarget, skb: Skb): void {
  const key = target.ct ? keyOfConnection(skb) : keyOfPacket(skb.packet);
  if (key === null) return;
  const { srcMask, dstMask, portMask, portSet, protoMask, seed, modulus, offset } = target;
  const [one, other] = [(key.src & srcMask) >>> 0, (key.dst & dstMask) >>> 0];
  const ports = key.ports === null ? 0 : inOrder(((key.ports & portMask) | portSet) >>> 0);
  const hash = hashOf([Math.min(one, other), Math.max(one, other), ports], seed);
  skb.mark = (scaled((hash ^ (key.proto & protoMask)) >>> 0, modulus) + offset) >>> 0;
}

/** The larger port comes first. */
function inOrder(ports: number): number {
  const [one, other] = [ports >>> 16, ports & 0xffff];
  return Math.max(one, other) * 65536 + Math.min(one, other);
}

function keyOfConnection(skb: Skb): Key | null {
  const seen = seenOn(skb);
  if (seen === null) return null;
  const { original, reply } = seen.connection;
  const ports = original.proto === PROTO_ICMP ? null : original.sport * 65536 + reply.sport;
  return { src: original.src, dst: reply.src, proto: original.proto, ports };
}

/** Of an ICMP error that of the packet which it quotes; null: it quotes less than a header. */
function keyOfPacket(packet: Packet): Key | null {
  const { src, dst, proto, fragmentOffset, moreFragments } = packet;
  if (proto === PROTO_ICMP && isError(packet)) return keyOfQuoted(bytesOf(packet));
  const isFragment = fragmentOffset > 0 || moreFragments;
  return { src, dst, proto, ports: proto === PROTO_ICMP || isFragment ? null : portsOf(packet) };
}

/** ... or a later fragment that begins as one would. */
function isError(packet: Packet): boolean {
  if (packet.length - packet.headerLength < ICMP_HEADER_BYTES) return false;
  return ICMP_ERRORS.includes(packet.fragmentOffset > 0 ? payloadOf(packet)[0]! : packet.icmpType);
}

function keyOfQuoted(bytes: Uint8Array): Key | null {
  const at = IP_HEADER_BYTES + ICMP_HEADER_BYTES;
  if (bytes.length < at + IP_HEADER_BYTES) return null;
  const proto = bytes[at + 9]!;
  const place = at + (bytes[at]! & 15) * 4 + (placeOfPorts(proto) ?? 0);
  const isFragment = (u16At(bytes, at + 6) & FRAGMENT_MASK) !== 0;
  const shown = placeOfPorts(proto) !== null && !isFragment && place + PORTS_BYTES <= bytes.length;
  return { src: u32At(bytes, at + 12), dst: u32At(bytes, at + 16), proto, ports: shown ? u32At(bytes, place) : null };
}

function portsOf(packet: Packet): number | null {
  const { proto, sport, dport, length, headerLength } = packet;
  const place = placeOfPorts(proto);
  if (place === null || length - headerLength < place + PORTS_BYTES) return null;
  return PORT_PROTOCOLS.includes(proto) ? sport * 65536 + dport : u32At(payloadOf(packet), place);
}

/** proto_ports_offset(); null: there are none. */
function placeOfPorts(proto: number): number | null {
  if (PORT_PROTOCOLS.includes(proto) || proto === PROTO_ESP) return 0;
  return proto === PROTO_AH ? PORTS_BYTES : null;
}
