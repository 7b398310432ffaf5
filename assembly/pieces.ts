// Datagrams in pieces: fragments that wait for the others, and packets that are cut.
//
// The engine knows words of packets, not their bytes; what a datagram says when it is whole, only its bytes tell. So the
// embedder keeps them (src/engine/datagrams.ts), and does here what asks for bytes, by imported functions: fragments are rare, and
// no other packet calls one but those that a rule looks through for bytes. Who does not know the bytes either says so, and the packet is not modelled.
//
// A packet's bytes have a number, DETAIL_BODY, and with them goes how it was put together, as long as that is known.
//
// Follows ipv4_conntrack_defrag() in net/ipv4/netfilter/nf_defrag_ipv4.c, ip_local_deliver() in net/ipv4/ip_input.c,
// ip_fragment() and ip_do_fragment() in net/ipv4/ip_output.c, pskb_may_pull().

import {
  CUT_COUNT,
  CUT_FIRST,
  FACT_FRAME_SHIFT,
  FACT_MORE_FRAGMENTS,
  FIELD_FACTS,
  FIELD_MARK,
  FIELD_PROTO,
  FIELD_TRANSPORT,
  GATHER_UNKNOWN,
  GATHER_WAITING,
  GATHER_WHOLE_SHORT,
  GATHERER_DELIVERY,
  TRANSPORT_OFFSET_1,
  UNMODELLED_BYTES,
} from "../src/layout";
import { now } from "./flow";
import { unmodelled } from "./log";
import { origin } from "./origin";
import {
  clearBits,
  CURRENT,
  detail,
  get,
  is,
  IS_AS_IT_CAME,
  IS_BROADCAST,
  IS_FORWARDED,
  IS_LOCAL,
  IS_MULTICAST,
  IS_ROUTED,
  IS_SHORT,
  level,
  set,
  setBits,
  SKB_BITS,
  SKB_IFACE,
  SKB_LONGEST,
  SKB_MTU,
  SKB_VIA,
} from "./packet";
import { TCP } from "./protocol";

/**
 * Keeps the fragment at `packet`, with the 128 bytes there; if its datagram is whole now, writes that into all three
 * records, the bytes that were kept with its first fragment to `bearer`, and gives a GATHER_ or the bytes of its longest fragment << 2.
 */
declare function gather(
  gatherer: u32,
  packet: usize,
  details: usize,
  origin: usize,
  bearer: usize,
  time: f64,
  level: u32,
): u32;

/**
 * Cuts the packet into pieces that fit; `asItCame`: those that it came in, if they fit. Writes the number of the first one's bytes,
 * and how many there are, to `result`; none: its bytes are not known, or rules would read them otherwise than is modelled.
 */
declare function cut(packet: usize, details: usize, origin: usize, most: u32, asItCame: bool, result: usize): void;

/** Writes the piece of which the bytes have this number into all three records. */
declare function show(body: u32, packet: usize, details: usize, origin: usize): void;

/** The packet leaves in pieces, which are told of with this decision record. */
export declare function leaveInPieces(
  decision: usize,
  packet: usize,
  details: usize,
  origin: usize,
  most: u32,
  asItCame: bool,
): void;

/** There is no more room for hooks in the decision record. */
export declare function spillPath(decision: usize, loops: u32, path: u32): void;

/**
 * Lays down the bytes of the packet as it is now, from its IP header on, and writes LAID_ words to `result`. In place of the address
 * 0: its payload is not known; 1: not all of its bytes are.
 */
export declare function lay(packet: usize, details: usize, origin: usize, result: usize): void;

/**
 * Turns options of the kinds whose bits are set at `kinds` into NOPs, and writes what has become of the packet into all three records.
 * Its header is in one piece then; whether no fragments are left that it came in. Packets without bytes have no options.
 */
export declare function strip(packet: usize, details: usize, origin: usize, kinds: usize): bool;

/** What was kept with the first fragment: a packet as it lies at CURRENT. */
const BEARER = memory.data(128, 16);
/** CUT_ words. */
const RESULT = memory.data(8, 16);

export function isFragment(): bool {
  return get(FIELD_TRANSPORT) >= <u32>TRANSPORT_OFFSET_1 || (get(FIELD_FACTS) & FACT_MORE_FRAGMENTS) != 0;
}

/** False: others are missing, or the bytes are not known. */
export function isGathered(gatherer: u32): bool {
  const bearers = IS_ROUTED | IS_LOCAL | IS_BROADCAST | IS_MULTICAST | IS_FORWARDED;
  const result = gather(gatherer, CURRENT, detail(), origin, BEARER, now, level());
  if (result == GATHER_UNKNOWN) return unmodelled(UNMODELLED_BYTES);
  if (result == GATHER_WAITING) return false;
  // of the first fragment: skb_morph() in inet_frag_reasm_prepare()
  set(FIELD_MARK, load<u32>(BEARER, FIELD_MARK * 4));
  const frame: u32 = 3 << FACT_FRAME_SHIFT;
  set(FIELD_FACTS, (get(FIELD_FACTS) & ~frame) | (load<u32>(BEARER, FIELD_FACTS * 4) & frame));
  store<u32>(CURRENT, load<u32>(BEARER, SKB_IFACE), SKB_IFACE);
  store<u32>(CURRENT, load<u32>(BEARER, SKB_VIA), SKB_VIA);
  store<u32>(CURRENT, load<u32>(BEARER, SKB_MTU), SKB_MTU);
  clearBits(bearers);
  setBits(load<u32>(BEARER, SKB_BITS) & bearers);
  // what is delivered is not cut apart again
  if (gatherer == GATHERER_DELIVERY) return true;
  store<u32>(CURRENT, result >> 2, SKB_LONGEST);
  setBits((result & 3) == GATHER_WHOLE_SHORT ? IS_AS_IT_CAME | IS_SHORT : IS_AS_IT_CAME);
  return true;
}

/** Cuts the packet; how many pieces there are, 0: it cannot be told. */
export function cutInto(most: u32): u32 {
  cut(CURRENT, detail(), origin, most, is(IS_AS_IT_CAME), RESULT);
  return load<u32>(RESULT, CUT_COUNT);
}

/** Number of the bytes of the first piece. */
export function firstPiece(): u32 {
  return load<u32>(RESULT, CUT_FIRST);
}

/** The packet becomes this piece of it; it has records of its own. */
export function become(body: u32): void {
  show(body, CURRENT, detail(), origin);
}

/** It is no longer what it came as. */
export function forgetPieces(): void {
  clearBits(IS_AS_IT_CAME | IS_SHORT);
}

/** The first fragment has been given what it lacked of the whole transport header, and may leave so. */
export function showHeader(): void {
  if (!is(IS_SHORT)) return;
  clearBits(IS_SHORT);
  setBits(IS_AS_IT_CAME);
}

/** Who wants to see the transport header in one piece makes one of what came in pieces, if the first of them had less. */
export function pull(): void {
  if (is(IS_SHORT)) clearBits(IS_AS_IT_CAME);
}

/** tcp_v4_early_demux(). */
export function pullForRouting(): void {
  if (is(IS_SHORT) && get(FIELD_PROTO) == TCP) clearBits(IS_AS_IT_CAME);
}
