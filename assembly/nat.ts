// NAT: which tuple a first packet's connection gets, and what that makes of every packet and ICMP error after it.
//
// A rule gives a range of addresses and perhaps ports; the tuple that comes out must be free, that is, no other flow may
// have the same answers. A client socket that is mapped already keeps its mapping where that fits. Where the kernel would
// draw a port, it is drawn from the seed. Follows net/netfilter/nf_nat_core.c and nf_nat_proto.c.

import {
  DETAIL_QUOTED,
  DETAIL_QUOTED_DPORT,
  DETAIL_QUOTED_DST,
  DETAIL_QUOTED_PROTO,
  DETAIL_QUOTED_SPORT,
  DETAIL_QUOTED_SRC,
  FACT_BAD_CHECKSUM,
  FACT_FIXED_DESTINATION,
  FACT_FIXED_SOURCE,
  FIELD_CT_STATE,
  FIELD_DPORT,
  FIELD_DST,
  FIELD_FACTS,
  FIELD_ICMP,
  FIELD_PROTO,
  FIELD_SPORT,
  FIELD_SRC,
  FLOW_SEEN_END,
  FLOW_TCP_STATE,
  FLOW_ZONE,
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
  QUOTED_FIXED_DESTINATION,
  QUOTED_WHOLE,
  STATUS_DESTINATION_DONE,
  STATUS_DESTINATION_NAT,
  STATUS_DRAWN,
  STATUS_DYING,
  STATUS_SOURCE_DONE,
  STATUS_SOURCE_NAT,
  TCP_SYN_SENT,
  TCP_TIME_WAIT,
} from "../src/layout";
import { ct, ctReply, hasPorts, invertPorts, kill, natBits, TOLD } from "./conntrack";
import {
  addStatus,
  dstOf,
  find,
  firstSource,
  flowCount,
  foundReply,
  hasExpired,
  isTaken,
  joinSource,
  nextSource,
  portsOf,
  protoOf,
  isBySource,
  sameSource,
  setTuple,
  srcOf,
  statusOf,
  zonesOfFlow,
} from "./flow";
import { draw } from "./guard";
import { hashOfFour, scaled } from "./hash";
import { GRE, ICMP, TCP, UDP, UDPLITE } from "./protocol";

/** find_best_ips_proto(). */
function pickAddress(src: u32, dst: u32, lo: u32, hi: u32, persistent: bool, zone: u32): u32 {
  if (lo == hi) return lo;
  const hash = hashOfFour(bswap<u32>(src), persistent ? 0 : bswap<u32>(dst) ^ zone);
  // of 2^32 addresses the kernel counts 0
  return lo + scaled(hash, hi - lo + 1);
}

// -- the tuple

// as it is being looked for: the way the packet will go
let src: u32 = 0;
let dst: u32 = 0;
let ports: u32 = 0;

/** Another flow has the answers that the tuple would have: nf_nat_used_tuple(). */
function isUsed(flow: usize): bool {
  return isTaken(dst, src, invertPorts(ports, protoOf(flow)), protoOf(flow), zonesOfFlow(flow));
}

/** What is in the way looks like a flow that came from the other side at the same moment: nf_nat_used_tuple_new(). */
function crosses(flow: usize): bool {
  const proto = protoOf(flow);
  if (proto != UDP && proto != UDPLITE) return false;
  const zones = zonesOfFlow(flow);
  let other = find(src, dst, ports, proto, zones);
  if (other == 0) other = find(dst, src, invertPorts(ports, proto), proto, zones);
  if (other == 0) return true;
  if ((statusOf(other) & (STATUS_SOURCE_NAT | STATUS_DESTINATION_NAT)) != 0) return false;
  return (
    srcOf(other, 0) == srcOf(flow, 1) && dstOf(other, 0) == dstOf(flow, 1) && portsOf(other, 0) == portsOf(flow, 1)
  );
}

/** Tries left below which a flow that is ending makes room (NF_NAT_HARDER_THRESH). */
const FEW_TRIES: u32 = 32;
const MOST_TRIES: u32 = 128;

/** nf_nat_used_tuple_harder(): a closed connection gives way to a segment that has gone further. */
function isUsedHard(flow: usize, triesLeft: u32): bool {
  if (triesLeft > FEW_TRIES || protoOf(flow) != TCP || load<u8>(flow, FLOW_TCP_STATE) != TCP_SYN_SENT)
    return isUsed(flow);
  const other = find(dst, src, invertPorts(ports, protoOf(flow)), protoOf(flow), zonesOfFlow(flow));
  if (other == 0) return false;
  if (foundReply == 0 || load<u8>(other, FLOW_TCP_STATE) < <u8>TCP_TIME_WAIT) return true;
  if ((statusOf(other) & STATUS_SOURCE_NAT) == 0) return true;
  if (<i32>(load<u32>(flow, FLOW_SEEN_END) - load<u32>(other, FLOW_SEEN_END)) <= 0) return true;
  kill(other);
  return false;
}

// the range that a rule gives
let rangeFlags: u32 = 0;
let addressLo: u32 = 0;
let addressHi: u32 = 0;
let portLo: u32 = 0;
let portHi: u32 = 0;
let basePort: u32 = 0;

/** What stands where NAT would write a port: l4proto_in_range(), nf_nat_l4proto_unique_tuple(). */
function keyOf(proto: u32, source: bool): u32 {
  return source || proto == ICMP ? ports & 0xffff : ports >> 16;
}

function setKey(proto: u32, source: bool, key: u32): void {
  if (source || proto == ICMP) ports = (ports & 0xffff0000) | key;
  else ports = (ports & 0xffff) | (key << 16);
}

function portFits(proto: u32, source: bool): bool {
  if (proto != ICMP && proto != GRE && !hasPorts(proto)) return true;
  const key = keyOf(proto, source);
  return portLo <= key && key <= portHi;
}

/** nf_in_range(): the source needs no change. */
function sourceFits(proto: u32): bool {
  if ((rangeFlags & NAT_ADDRESSES) != 0 && (src < addressLo || src > addressHi)) return false;
  return (rangeFlags & NAT_PORTS) == 0 || portFits(proto, true);
}

/** Whose mapping takeMapping() has found. */
let mapped: usize = 0;

/** find_appropriate_src(): the mapping that the client socket has already, if it fits. */
function takeMapping(flow: usize): bool {
  if (flow == TOLD) return false;
  const oldSrc = src;
  const oldPorts = ports;
  const proto = protoOf(flow);
  for (let other = sameSource(flow, firstSource(flow)); other != 0; other = sameSource(flow, nextSource(other))) {
    if ((statusOf(other) & STATUS_DYING) != 0 || hasExpired(other)) continue;
    // what its answers are sent to
    const there = invertPorts(portsOf(other, 1), proto);
    src = dstOf(other, 1);
    ports = (oldPorts & 0xffff0000) | (there & 0xffff);
    if (!sourceFits(proto)) continue;
    mapped = other;
    return true;
  }
  src = oldSrc;
  ports = oldPorts;
  return false;
}

/** get_unique_tuple(). At worst the tuple that comes out is not free, and the packet is dropped in the end. */
function seekTuple(flow: usize, source: bool, state: u32, rule: u32): void {
  const proto = protoOf(flow);
  const random = (rangeFlags & NAT_RANDOM) != 0;
  const oldSrc = src;
  const oldPorts = ports;
  if (source && !random) {
    if (sourceFits(proto)) {
      if (!isUsed(flow) || crosses(flow)) return;
    } else if (flowCount > 1 && takeMapping(flow)) {
      if (!isUsed(flow)) {
        addStatus(flow, statusOf(mapped) & STATUS_DRAWN);
        return;
      }
      src = oldSrc;
      ports = oldPorts;
    }
  }
  if ((rangeFlags & NAT_ADDRESSES) != 0) {
    const persistent = (rangeFlags & NAT_PERSISTENT) != 0;
    const address = pickAddress(src, dst, addressLo, addressHi, persistent, load<u16>(flow, FLOW_ZONE));
    if (source) src = address;
    else dst = address;
  }
  if (!random) {
    if ((rangeFlags & NAT_PORTS) != 0) {
      if ((rangeFlags & NAT_SHIFT) == 0 && portFits(proto, source) && (portLo == portHi || !isUsed(flow))) return;
    } else if (!isUsed(flow)) {
      return;
    }
  }
  seekPort(flow, source, state, rule);
}

/** nf_nat_l4proto_unique_tuple(). */
function seekPort(flow: usize, source: bool, state: u32, rule: u32): void {
  const proto = protoOf(flow);
  if (proto != ICMP && !hasPorts(proto)) return;
  const key = keyOf(proto, source);
  let least = portLo;
  let size = portHi - portLo + 1;
  if ((rangeFlags & NAT_PORTS) == 0) {
    if (proto == ICMP) {
      least = 0;
      size = 65536;
    } else if (!source) {
      return;
    } else if (key < 512) {
      least = 1;
      size = 511;
    } else if (key < 1024) {
      least = 600;
      size = 424;
    } else {
      least = 1024;
      size = 64512;
    }
  }
  let offset: u32 = 0;
  if ((rangeFlags & NAT_SHIFT) != 0) {
    offset = (key - basePort) & 0xffff;
  } else if ((rangeFlags & NAT_RANDOM) != 0 || source) {
    offset = draw(state, rule) & 0xffff;
    if (size > 1) addStatus(flow, STATUS_DRAWN);
  }
  let tries = min(size, MOST_TRIES);
  for (;;) {
    for (let i: u32 = 0; i < tries; i++) {
      setKey(proto, source, least + (offset % size));
      offset = (offset + 1) & 0xffff;
      if (!isUsedHard(flow, tries - i)) return;
    }
    if (tries >= size || tries < 16) return;
    tries /= 2;
    offset = draw(state, rule) & 0xffff;
  }
}

/** nf_nat_setup_info(): the connection gets its tuple for this side. */
function setUp(source: bool, state: u32, rule: u32): void {
  const flow = ct;
  const proto = protoOf(flow);
  src = dstOf(flow, 1);
  dst = srcOf(flow, 1);
  ports = invertPorts(portsOf(flow, 1), proto);
  const oldSrc = src;
  const oldDst = dst;
  const oldPorts = ports;
  seekTuple(flow, source, state, rule);
  if (src != oldSrc || dst != oldDst || ports != oldPorts) {
    setTuple(flow, 1, dst, src, invertPorts(ports, proto));
    addStatus(flow, source ? STATUS_SOURCE_NAT : STATUS_DESTINATION_NAT);
  }
  addStatus(flow, source ? STATUS_SOURCE_DONE : STATUS_DESTINATION_DONE);
  if (source && flow != TOLD && isBySource(flow)) joinSource(flow);
}

/** As the NAT record says. */
export function bind(record: usize, source: bool, state: u32, rule: u32): void {
  addressLo = load<u32>(record, NAT_ADDRESS_LO);
  addressHi = load<u32>(record, NAT_ADDRESS_HI);
  bindWithin(record, load<u32>(record, NAT_FLAGS), source, state, rule);
}

/** As the NAT record says, to an address that the target brings by itself. */
export function bindTo(address: u32, record: usize, source: bool, state: u32, rule: u32): void {
  addressLo = addressHi = address;
  bindWithin(record, load<u32>(record, NAT_FLAGS) | NAT_ADDRESSES, source, state, rule);
}

function bindWithin(record: usize, flags: u32, source: bool, state: u32, rule: u32): void {
  rangeFlags = flags;
  portLo = load<u32>(record, NAT_PORT_LO);
  portHi = load<u32>(record, NAT_PORT_HI);
  basePort = load<u32>(record, NAT_BASE_PORT);
  setUp(source, state, rule);
}

/** No rule translates: addresses stay, and the port if it can. nf_nat_alloc_null_binding(). */
export function bindNothing(source: bool, state: u32): void {
  if (ct == TOLD && flowCount == 0) {
    addStatus(ct, source ? STATUS_SOURCE_DONE : STATUS_DESTINATION_DONE);
    return;
  }
  rangeFlags = NAT_ADDRESSES;
  addressLo = addressHi = source ? dstOf(ct, 1) : srcOf(ct, 1);
  setUp(source, state, NO_RULE);
}

/** By what is drawn where no rule draws. */
const NO_RULE: u32 = 0xffffffff;

// -- the packet

function get(packet: usize, field: i32): u32 {
  return load<u32>(packet + ((<usize>field) << 2));
}

function set(packet: usize, field: i32, value: u32): void {
  store<u32>(packet + ((<usize>field) << 2), value);
}

/** Which side of the connection is translated where the packet passes: of replies it is the other one. */
export function translates(source: bool): bool {
  const bit = source != (ctReply != 0) ? STATUS_SOURCE_NAT : STATUS_DESTINATION_NAT;
  return (statusOf(ct) & bit) != 0;
}

/** nf_nat_packet(); false: it cannot be written. */
export function translate(packet: usize, source: bool): bool {
  set(packet, FIELD_CT_STATE, (get(packet, FIELD_CT_STATE) & ~3) | natBits(ct));
  if (!translates(source)) return true;
  if ((get(packet, FIELD_FACTS) & (source ? FACT_FIXED_SOURCE : FACT_FIXED_DESTINATION)) != 0) return false;
  const proto = get(packet, FIELD_PROTO);
  const other = ctReply ^ 1;
  // as the other direction's tuple, turned round
  const there = portsOf(ct, other);
  if (source) set(packet, FIELD_SRC, dstOf(ct, other));
  else set(packet, FIELD_DST, srcOf(ct, other));
  if (hasPorts(proto)) {
    if (source) set(packet, FIELD_SPORT, there >> 16);
    else set(packet, FIELD_DPORT, there & 0xffff);
  } else if (proto == ICMP) {
    const type = get(packet, FIELD_ICMP) >> 8;
    if (type == 0 || type == 8 || (type >= 13 && type <= 18)) set(packet, FIELD_SPORT, there & 0xffff);
  }
  return true;
}

/** nf_nat_icmp_reply_translation(): an ICMP error about the connection, with what it quotes; false: dropped. */
export function translateError(packet: usize, detail: usize, source: bool): bool {
  if ((get(packet, FIELD_FACTS) & FACT_BAD_CHECKSUM) != 0) return false;
  const status = statusOf(ct);
  if (get(packet, FIELD_ICMP) >> 8 == 5) {
    const done = STATUS_SOURCE_DONE | STATUS_DESTINATION_DONE;
    if ((status & done) != done || (status & (STATUS_SOURCE_NAT | STATUS_DESTINATION_NAT)) != 0) return false;
  }
  if (!translates(source)) return true;
  const quoted = quotedAt(detail, DETAIL_QUOTED);
  if (quoted != QUOTED_WHOLE && (source || quoted != QUOTED_FIXED_DESTINATION)) return false;
  const other = ctReply ^ 1;
  const there = portsOf(ct, other);
  const proto = quotedAt(detail, DETAIL_QUOTED_PROTO);
  if (source) {
    setQuoted(detail, DETAIL_QUOTED_DST, dstOf(ct, other));
    if (hasPorts(proto)) setQuoted(detail, DETAIL_QUOTED_DPORT, there >> 16);
    set(packet, FIELD_SRC, dstOf(ct, other));
  } else {
    setQuoted(detail, DETAIL_QUOTED_SRC, srcOf(ct, other));
    if (hasPorts(proto)) setQuoted(detail, DETAIL_QUOTED_SPORT, there & 0xffff);
    set(packet, FIELD_DST, srcOf(ct, other));
  }
  if (proto == ICMP) setQuoted(detail, DETAIL_QUOTED_SPORT, there & 0xffff);
  return true;
}

function quotedAt(detail: usize, word: i32): u32 {
  return load<u32>(detail + ((<usize>word) << 2));
}

function setQuoted(detail: usize, word: i32, value: u32): void {
  store<u32>(detail + ((<usize>word) << 2), value);
}
