// What a NAT target makes of the first packet of a connection: get_unique_tuple() in net/netfilter/nf_nat_core.c.
//
// Without other connections every tuple is free, so a port is kept wherever it fits the range; where the kernel would
// draw one, it is drawn from the seed.

import {
  FIELD_DPORT,
  FIELD_DST,
  FIELD_PROTO,
  FIELD_SPORT,
  FIELD_SRC,
  NAT_ADDRESS_HI,
  NAT_ADDRESS_LO,
  NAT_ADDRESSES,
  NAT_BASE_PORT,
  NAT_FLAGS,
  NAT_PERSISTENT,
  NAT_PORT_HI,
  NAT_PORT_LO,
  NAT_PORTS,
  NAT_RANDOM,
  NAT_SHIFT,
} from "../src/layout";
import { draw } from "./guard";

const ICMP: u32 = 1;
const TCP: u32 = 6;
const UDP: u32 = 17;
const DCCP: u32 = 33;
const SCTP: u32 = 132;
const UDPLITE: u32 = 136;

/** A port was drawn by lot for the packet. */
export let chosen = false;

export function startNat(): void {
  chosen = false;
}

function hasPorts(proto: u32): bool {
  return proto == TCP || proto == UDP || proto == UDPLITE || proto == SCTP || proto == DCCP;
}

/** Bytes of a u32 as they lie in the kernel's memory. */
function swapped(value: u32): u32 {
  return (value >> 24) | ((value >> 8) & 0xff00) | ((value << 8) & 0xff0000) | (value << 24);
}

/** jhash2() of four words of which all but the first are 0 (include/linux/jhash.h). */
function hashAddress(word: u32, initial: u32): u32 {
  let a: u32 = 0xdeadbeef + 16 + initial;
  let b = a;
  let c = a;
  a += word;
  a -= c;
  a ^= rotl(c, 4);
  c += b;
  b -= a;
  b ^= rotl(a, 6);
  a += c;
  c -= b;
  c ^= rotl(b, 8);
  b += a;
  a -= c;
  a ^= rotl(c, 16);
  c += b;
  b -= a;
  b ^= rotl(a, 19);
  a += c;
  c -= b;
  c ^= rotl(b, 4);
  b += a;
  c ^= b;
  c -= rotl(b, 14);
  a ^= c;
  a -= rotl(c, 11);
  b ^= a;
  b -= rotl(a, 25);
  c ^= b;
  c -= rotl(b, 16);
  a ^= c;
  a -= rotl(c, 4);
  b ^= a;
  b -= rotl(a, 14);
  c ^= b;
  c -= rotl(b, 24);
  return c;
}

/** find_best_ips_proto(). */
function pickAddress(src: u32, dst: u32, lo: u32, hi: u32, persistent: bool): u32 {
  if (lo == hi) return lo;
  const hash = hashAddress(swapped(src), persistent ? 0 : swapped(dst));
  // of 2^32 addresses the kernel counts 0
  return lo + <u32>((<u64>hash * <u64>(hi - lo + 1)) >> 32);
}

/**
 * Changes destination (`source` false) or source of the packet as the NAT record says; `address` in place of the
 * record's where the target brings its own (0: it does not).
 */
export function translate(packet: usize, record: usize, source: bool, address: u32, state: u32, rule: u32): void {
  const flags = load<u32>(record, NAT_FLAGS);
  const src = load<u32>(packet, FIELD_SRC * 4);
  const dst = load<u32>(packet, FIELD_DST * 4);
  const proto = load<u32>(packet, FIELD_PROTO * 4);
  const portAt = packet + (source || proto == ICMP ? FIELD_SPORT * 4 : FIELD_DPORT * 4);
  const addressAt = packet + (source ? FIELD_SRC * 4 : FIELD_DST * 4);
  const random = (flags & NAT_RANDOM) != 0;
  const limited = (flags & NAT_PORTS) != 0;
  const ported = proto == ICMP || hasPorts(proto);
  const port = load<u32>(portAt);
  const portLo = load<u32>(record, NAT_PORT_LO);
  const portHi = load<u32>(record, NAT_PORT_HI);
  let lo = address;
  let hi = address;
  let given = address != 0;
  if (!given && (flags & NAT_ADDRESSES) != 0) {
    given = true;
    lo = load<u32>(record, NAT_ADDRESS_LO);
    hi = load<u32>(record, NAT_ADDRESS_HI);
  }
  const inRange = !limited || !ported || (portLo <= port && port <= portHi);

  // a source that lies in the range already stays
  if (source && !random) {
    const old = load<u32>(addressAt);
    if ((!given || (lo <= old && old <= hi)) && inRange) return;
  }
  if (given) store<u32>(addressAt, pickAddress(src, dst, lo, hi, (flags & NAT_PERSISTENT) != 0));
  if (!random) {
    if (!limited) return;
    if ((flags & NAT_SHIFT) == 0 && inRange) return;
  }
  if (!ported) return;

  // nf_nat_l4proto_unique_tuple()
  let least = portLo;
  let size = portHi - portLo + 1;
  if (!limited) {
    if (proto == ICMP) {
      least = 0;
      size = 65536;
    } else if (!source) {
      return;
    } else if (port < 512) {
      least = 1;
      size = 511;
    } else if (port < 1024) {
      least = 600;
      size = 424;
    } else {
      least = 1024;
      size = 64512;
    }
  }
  let offset: u32 = 0;
  if ((flags & NAT_SHIFT) != 0) {
    offset = (port - load<u32>(record, NAT_BASE_PORT)) & 0xffff;
  } else if (random || source) {
    offset = draw(state, rule) & 0xffff;
    chosen = chosen || size > 1;
  }
  store<u32>(portAt, least + (offset % size));
}
