// The connection of the packet on its way: nf_conntrack_in() and nf_conntrack_confirm() in
// net/netfilter/nf_conntrack_core.c, and the nf_conntrack_proto_*.c beside it.
//
// A first packet gets a flow record of its own, which nobody else can find until it is confirmed at the end of its way.
// Where packets bring the state of their connection (synthetic traffic) no flow is kept: a first packet then has one
// record for all (`TOLD`), just long enough for nat.

import {
  CONNBYTES_AVERAGE,
  CONNBYTES_BYTES,
  CONNBYTES_ORIGINAL,
  CONNBYTES_REPLY,
  CONNECTION_DIRECTION,
  CONNECTION_MARK,
  CONNECTION_ORIGINAL_DPORT,
  CONNECTION_ORIGINAL_SPORT,
  CONNECTION_ORIGINAL_SRC,
  CONNECTION_PROTO,
  CONNECTION_REPLY_DPORT,
  CONNECTION_REPLY_DST,
  CONNECTION_REPLY_SPORT,
  CONNECTION_REPLY_SRC,
  CONNECTION_STATUS,
  CONNMARK_RESTORE,
  CONNMARK_SET,
  CT_ESTABLISHED,
  CT_INVALID,
  CT_NEW,
  CT_RELATED,
  CT_UNTRACKED,
  DETAIL_BAD_SUM,
  DETAIL_CHUNKS_CUT,
  DETAIL_FACTS,
  DETAIL_KEY,
  DETAIL_SHOWN,
  DETAIL_QUOTED,
  DETAIL_QUOTED_DPORT,
  DETAIL_QUOTED_DST,
  DETAIL_QUOTED_PROTO,
  DETAIL_QUOTED_SPORT,
  DETAIL_QUOTED_SRC,
  EVENT_BYTES,
  EVENT_DESTROY,
  EVENT_EXPIRE,
  EVENT_FLOW,
  EVENT_KIND,
  EVENT_MARK,
  EVENT_NEW,
  EVENT_UPDATE,
  FACT_BAD_CHECKSUM,
  FACT_MALFORMED,
  FIELD_CT_STATE,
  FIELD_DPORT,
  FIELD_DST,
  FIELD_FACTS,
  FIELD_ICMP,
  FIELD_LENGTH,
  FIELD_MARK,
  FIELD_PROTO,
  FIELD_SPORT,
  FIELD_SRC,
  FIELD_TCP_FLAGS,
  FIREWALL_CHECKSUM,
  FIREWALL_FLAGS,
  FIREWALL_TCP_LOOSE,
  FIREWALL_TIMEOUTS,
  FLOW_EXPIRES,
  FLOW_MARK,
  FLOW_PROTO,
  FLOW_STATUS,
  FLOW_STREAM,
  QUOTED_NONE,
  STATUS_ASSURED,
  STATUS_CHANGED,
  STATUS_CONFIRMED,
  STATUS_DESTINATION_NAT,
  STATUS_DYING,
  STATUS_MARKED,
  STATUS_SEEN_REPLY,
  STATUS_SOURCE_NAT,
  STATUS_STATE,
  TEMPLATE_DIRECTION_SHIFT,
  TEMPLATE_MARK,
  TIMEOUT_GENERIC,
  TIMEOUT_GRE,
  TIMEOUT_GRE_STREAM,
  TIMEOUT_ICMP,
  TIMEOUT_UDP,
  TIMEOUT_UDP_STREAM,
} from "../src/layout";
import {
  addStatus,
  allocateFlow,
  bury,
  bytesCarried,
  carry,
  countsCarried,
  discard,
  dstOf,
  find,
  flowCount,
  forget,
  foundReply,
  insert,
  now,
  packetsCarried,
  portsOf,
  protoOf,
  setExpiry,
  setNow,
  setTuple,
  setZone,
  srcOf,
  statusOf,
  sweepAll,
  touch,
  touchFlow,
  touchSource,
  touchSwept,
  zonesOf,
} from "./flow";
import { GRE, ICMP, ICMPV6, SCTP, TCP, UDP, UDPLITE } from "./protocol";
import { followSctp } from "./sctp";
import { isValid, PACKET_ACCEPTED, PACKET_AGAIN, PACKET_INVALID, segment } from "./tcp";

/** Flow record of the packet's connection; 0: it has none. */
export let ct: usize = 0;
/** The packet goes in the direction of the replies: 1. */
export let ctReply: u32 = 0;
/** The connection that first packets have whose state is told. */
export const TOLD = memory.data(136, 16);

/** Stands for the connection of a packet of which a rule of raw has said how it is to be tracked: all zeros. */
export const TEMPLATE = memory.data(104, 16);
let templateMarkAt: usize = 0;

/** How a rule of raw wants the packet to be tracked (TEMPLATE_ bits); 0: none has said so. */
let template: u32 = 0;
let firewall: usize = 0;

/** Confirmed while this packet was under way, to be forgotten where each packet is the first of its flow. */
let made: usize = 0;

export function setConnection(flow: usize, reply: u32): void {
  ct = flow;
  ctReply = reply;
}

export function startConnection(firewallAt: usize, time: f64): void {
  firewall = firewallAt;
  setNow(time);
  // whoever asks what becomes of connections is told at once
  if (eventEnd != 0) sweepAll();
  ct = 0;
  ctReply = 0;
  made = 0;
}

/** The packet's way is over; `forgets`: with it its connection. */
export function endConnection(forgets: bool): void {
  if (ct != 0 && ct != TOLD && (statusOf(ct) & (STATUS_CONFIRMED | STATUS_DYING)) == 0) discard(ct);
  if (forgets && made != 0 && (statusOf(made) & STATUS_DYING) == 0) forget(made);
  bury();
}

/** Packets whose look-ups are under way at once. */
export const WARMED: u32 = 32;
/** Fewer flows than these stay in the cache by themselves. */
const MANY_FLOWS: u32 = 8192;
const LINKS = memory.data(128);
/** Of the flow that was confirmed last. */
let lastStatus: u32 = 0;
/** What was loaded means nothing, but must be used. */
let loaded: u32 = 0;

/**
 * Loads what the look-ups of the next `count` packets will ask for, first the heads, then the flows: so that many misses
 * are under way at once, instead of one behind the other when each packet's turn comes.
 */
export function warm(packets: usize, count: u32): void {
  if (flowCount < MANY_FLOWS) return;
  let sum = touchSwept();
  for (let i: u32 = 0; i < count; i++) {
    const packet = packets + ((<usize>i) << 6);
    const ports = portsFrom(packet, 0);
    const link = touch(get(packet, FIELD_SRC), get(packet, FIELD_DST), ports, get(packet, FIELD_PROTO));
    store<u32>(LINKS + ((<usize>i) << 2), link);
  }
  for (let i: u32 = 0; i < count; i++) {
    const flow = <usize>(load<u32>(LINKS + ((<usize>i) << 2)) & ~1);
    if (flow != 0) {
      sum += touchFlow(flow);
      continue;
    }
    // where a new flow will stand too, if nothing becomes of it but what became of the last one
    const packet = packets + ((<usize>i) << 6);
    const src = get(packet, FIELD_SRC);
    const proto = get(packet, FIELD_PROTO);
    const ports = portsFrom(packet, 0);
    if ((lastStatus & (STATUS_SOURCE_NAT | STATUS_DESTINATION_NAT)) == 0) {
      sum += touch(get(packet, FIELD_DST), src, invertPorts(ports, proto), proto);
    }
    if ((lastStatus & STATUS_SOURCE_NAT) != 0) sum += touchSource(src, ports, proto);
  }
  loaded += sum;
}

// -- answers of track

export const TRACKED: i32 = 0;
/** There is no room for another connection: the packet is dropped. */
export const TRACK_DROPPED: i32 = 1;
/** Its protocol is tracked in a way that is not modelled. */
export const TRACK_UNKNOWN: i32 = 2;

function get(packet: usize, field: i32): u32 {
  return load<u32>(packet + ((<usize>field) << 2));
}

function detailOf(detail: usize, word: i32): u32 {
  return load<u32>(detail + ((<usize>word) << 2));
}

/** The state of a first packet is told: what nat needs of a connection. */
export function beginTold(packet: usize): void {
  const proto = get(packet, FIELD_PROTO);
  store<u8>(TOLD, <u8>proto, FLOW_PROTO);
  store<u16>(TOLD, 0, FLOW_STATUS);
  store<u32>(TOLD, 0, FLOW_MARK);
  setTuples(TOLD, get(packet, FIELD_SRC), get(packet, FIELD_DST), portsFrom(packet, 0), proto);
  setConnection(TOLD, 0);
}

/** Rules of raw have not been asked. */
export function clearTemplate(): void {
  template = 0;
}

/**
 * What a rule of raw says of a packet that nobody tracks yet; the first counts. `bits`: TEMPLATE_, 0: nobody shall. The
 * template then stands for the packet's connection, until that is looked for; its connmark stays with the rule, at `mark`.
 */
export function setTemplate(packet: usize, bits: u32, mark: usize): void {
  if (ct != 0 || get(packet, FIELD_CT_STATE) >> 2 == CT_UNTRACKED) return;
  if (bits == 0) {
    store<u32>(packet, CT_UNTRACKED << 2, FIELD_CT_STATE * 4);
    return;
  }
  template = bits;
  templateMarkAt = mark;
  store<u32>(TEMPLATE, load<u32>(mark), FLOW_MARK);
  store<u16>(TEMPLATE, STATUS_CONFIRMED, FLOW_STATUS);
  setConnection(TEMPLATE, 0);
  store<u32>(packet, CT_NEW << 2, FIELD_CT_STATE * 4);
}

/** The packet has come out of raw. */
export function takeTemplateOff(packet: usize): void {
  if (ct != TEMPLATE) return;
  setConnection(0, 0);
  store<u32>(packet, CT_INVALID << 2, FIELD_CT_STATE * 4);
}

/** nf_ct_zone_tmpl(): the zone as setZone takes it. */
function zoneFor(packet: usize): u32 {
  const bits = template;
  if (bits == 0) return 0;
  const id = (bits & TEMPLATE_MARK) != 0 ? get(packet, FIELD_MARK) & 0xffff : bits & 0xffff;
  return id == 0 ? 0 : id | (bits & (3 << TEMPLATE_DIRECTION_SHIFT));
}

/** Finds or makes the connection; writes the packet's state. */
export function track(packet: usize, detail: usize, incoming: bool): i32 {
  setConnection(0, 0);
  const zone = zoneFor(packet);
  store<u32>(packet, CT_INVALID << 2, FIELD_CT_STATE * 4);
  const facts = get(packet, FIELD_FACTS);
  const proto = get(packet, FIELD_PROTO);
  if (proto == ICMPV6) return TRACK_UNKNOWN;
  if ((facts & FACT_MALFORMED) != 0) return TRACKED;
  let hasBadSum = (facts & FACT_BAD_CHECKSUM) != 0;
  if (proto == SCTP || proto == UDPLITE) {
    const own = detail == 0 ? 0 : detailOf(detail, DETAIL_FACTS);
    if ((own & DETAIL_SHOWN) == 0 || (own & DETAIL_CHUNKS_CUT) != 0) return TRACK_UNKNOWN;
    hasBadSum = (own & DETAIL_BAD_SUM) != 0;
  }
  const broken = incoming && hasBadSum && (flags() & FIREWALL_CHECKSUM) != 0;
  if (proto == ICMP) {
    if (broken) return TRACKED;
    const type = get(packet, FIELD_ICMP) >> 8;
    if (type == 3 || type == 4 || type == 5 || type == 11 || type == 12) return relate(packet, detail, zonesOf(zone));
    if (invertible(type) == false) return TRACKED;
  }

  const src = get(packet, FIELD_SRC);
  const dst = get(packet, FIELD_DST);
  const ports = portsFrom(packet, detail);
  const zones = zonesOf(zone);
  for (;;) {
    let flow = find(src, dst, ports, proto, zones);
    const reply = flow == 0 ? 0 : foundReply;
    let fresh = false;
    if (flow == 0) {
      flow = allocateFlow(src, dst, ports, proto);
      if (flow == 0) return TRACK_DROPPED;
      fresh = true;
      if (zone != 0) setZone(flow, zone);
      setReply(flow, src, dst, ports, proto);
    }
    const status = statusOf(flow);
    const result = broken && hasOwnSum(proto) ? PACKET_INVALID : handle(flow, reply, packet, detail);
    if (result == PACKET_AGAIN) continue;
    if (result == PACKET_INVALID) {
      if (fresh) discard(flow);
      return TRACKED;
    }
    if (countsCarried && result == PACKET_ACCEPTED) carry(flow, reply, get(packet, FIELD_LENGTH));
    setConnection(flow, reply);
    const state = reply != 0 || (status & STATUS_SEEN_REPLY) != 0 ? CT_ESTABLISHED : CT_NEW;
    if (reply != 0 && (status & STATUS_SEEN_REPLY) == 0) addStatus(flow, STATUS_SEEN_REPLY | STATUS_CHANGED);
    store<u32>(packet, (state << 2) | natBits(flow), FIELD_CT_STATE * 4);
    return TRACKED;
  }
}

/** Its checksum is tested when its connection is known; that of ICMP before. */
function hasOwnSum(proto: u32): bool {
  return proto == TCP || proto == UDP || proto == SCTP || proto == UDPLITE;
}

function flags(): u32 {
  return load<u32>(firewall, FIREWALL_FLAGS);
}

/** Translations of the connection as they stand in a state word: CT_SNAT_BIT, CT_DNAT_BIT. */
export function natBits(flow: usize): u32 {
  // the bits of the status lie side by side in the same order
  return (statusOf(flow) >> 3) & 3;
}

/** An ICMP error belongs to the connection of the packet that it quotes: nf_conntrack_inet_error(). */
function relate(packet: usize, detail: usize, zones: u32): i32 {
  if (detail == 0 || detailOf(detail, DETAIL_QUOTED) == QUOTED_NONE) return TRACKED;
  const proto = detailOf(detail, DETAIL_QUOTED_PROTO);
  const sport = detailOf(detail, DETAIL_QUOTED_SPORT);
  const dport = detailOf(detail, DETAIL_QUOTED_DPORT);
  if (proto == ICMP && !invertible(dport >> 8)) return TRACKED;
  const src = detailOf(detail, DETAIL_QUOTED_SRC);
  const dst = detailOf(detail, DETAIL_QUOTED_DST);
  const flow = find(dst, src, invertPorts(sport | (dport << 16), proto), proto, zones);
  if (flow == 0) return TRACKED;
  const reply = foundReply;
  if (dstOf(flow, reply) != get(packet, FIELD_DST)) return TRACKED;
  setConnection(flow, reply);
  store<u32>(packet, (CT_RELATED << 2) | natBits(flow), FIELD_CT_STATE * 4);
  return TRACKED;
}

// -- tuples

/** Source and destination part of the protocol's tuple, 16 bits each, the source low. */
export function portsFrom(packet: usize, detail: usize): u32 {
  const proto = get(packet, FIELD_PROTO);
  if (proto == TCP || proto == UDP) return get(packet, FIELD_SPORT) | (get(packet, FIELD_DPORT) << 16);
  if (proto == ICMP) return get(packet, FIELD_SPORT) | (get(packet, FIELD_ICMP) << 16);
  if (proto == GRE) return detail == 0 ? 0 : detailOf(detail, DETAIL_KEY) << 16;
  return hasPorts(proto) ? get(packet, FIELD_SPORT) | (get(packet, FIELD_DPORT) << 16) : 0;
}

/** Protocols with ports, as nf_ct_get_tuple() sees them. */
export function hasPorts(proto: u32): bool {
  return proto == TCP || proto == UDP || proto == UDPLITE || proto == SCTP;
}

/** A query, or the answer to one. */
function invertible(type: u32): bool {
  return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

/** The other way round: of ICMP the id stays, and a query becomes its answer. */
export function invertPorts(ports: u32, proto: u32): u32 {
  if (proto != ICMP) return (ports >> 16) | (ports << 16);
  const type = ports >> 24;
  if (type == 8) return ports & 0x00ffffff;
  if (type == 0) return ports | (8 << 24);
  // 13 and 14, 15 and 16, 17 and 18 belong together
  return type >= 13 && type <= 18 ? (ports & 0x00ffffff) | ((((type - 1) ^ 1) + 1) << 24) : ports;
}

function setReply(flow: usize, src: u32, dst: u32, ports: u32, proto: u32): void {
  setTuple(flow, 1, dst, src, invertPorts(ports, proto));
}

function setTuples(flow: usize, src: u32, dst: u32, ports: u32, proto: u32): void {
  setTuple(flow, 0, src, dst, ports);
  setReply(flow, src, dst, ports, proto);
}

// -- protocols

export function timeoutOf(number: u32): f64 {
  return load<f64>(<usize>load<u32>(firewall, FIREWALL_TIMEOUTS) + ((<usize>number) << 3));
}

/** The flow lives for so many seconds from now, or from when it is confirmed. */
export function refresh(flow: usize, seconds: f64): void {
  if ((statusOf(flow) & STATUS_CONFIRMED) != 0) setExpiry(flow, now + seconds);
  else store<f64>(flow, seconds, FLOW_EXPIRES);
}

/** PACKET_. */
function handle(flow: usize, reply: u32, packet: usize, detail: usize): i32 {
  const proto = protoOf(flow);
  if (proto == TCP) {
    const tcpFlags = get(packet, FIELD_TCP_FLAGS);
    if (!isValid(tcpFlags)) return PACKET_INVALID;
    return segment(flow, reply, tcpFlags, detail, (flags() & FIREWALL_TCP_LOOSE) != 0);
  }
  const status = statusOf(flow);
  const answered = (status & STATUS_SEEN_REPLY) != 0;
  if (proto == UDP) {
    if ((status & STATUS_CONFIRMED) == 0) store<f64>(flow, now + 2, FLOW_STREAM);
    if (!answered || now <= load<f64>(flow, FLOW_STREAM)) {
      refresh(flow, timeoutOf(TIMEOUT_UDP));
    } else {
      refresh(flow, timeoutOf(TIMEOUT_UDP_STREAM));
      if ((status & STATUS_ASSURED) == 0) addStatus(flow, STATUS_ASSURED | STATUS_CHANGED);
    }
  } else if (proto == ICMP) {
    // only requests open; the original direction of a flow is always one
    const type = get(packet, FIELD_ICMP) >> 8;
    if (reply == 0 && type != 8 && type != 13 && type != 15 && type != 17) return PACKET_INVALID;
    refresh(flow, timeoutOf(TIMEOUT_ICMP));
  } else if (proto == SCTP) {
    return followSctp(flow, reply, detail);
  } else if (proto == UDPLITE) {
    refresh(flow, timeoutOf(answered ? TIMEOUT_UDP_STREAM : TIMEOUT_UDP));
    if (answered && (status & STATUS_ASSURED) == 0) addStatus(flow, STATUS_ASSURED | STATUS_CHANGED);
  } else if (proto == GRE) {
    refresh(flow, timeoutOf(answered ? TIMEOUT_GRE_STREAM : TIMEOUT_GRE));
    if (answered && (status & STATUS_ASSURED) == 0) addStatus(flow, STATUS_ASSURED | STATUS_CHANGED);
  } else {
    refresh(flow, timeoutOf(TIMEOUT_GENERIC));
  }
  return PACKET_ACCEPTED;
}

// -- what rules ask of a connection, and what they write there

/** What a test of the packet's connection asks: CONNECTION_ (conntrack_mt(), connmark_mt()). There must be one. */
export function isAsked(what: u32, a: u32, b: u32): bool {
  const flow = ct;
  if (what == CONNECTION_MARK) return (load<u32>(flow, FLOW_MARK) & a) == b;
  if (what <= <u32>CONNECTION_REPLY_DST) {
    const reply = <u32>(what >= <u32>CONNECTION_REPLY_SRC);
    const isSrc = what == CONNECTION_ORIGINAL_SRC || what == CONNECTION_REPLY_SRC;
    return ((isSrc ? srcOf(flow, reply) : dstOf(flow, reply)) & a) == b;
  }
  if (what == CONNECTION_STATUS) return (statusOf(flow) & a) != 0;
  let value: u32 = 0;
  if (what == CONNECTION_ORIGINAL_SPORT) value = portsOf(flow, 0) & 0xffff;
  else if (what == CONNECTION_ORIGINAL_DPORT) value = portsOf(flow, 0) >> 16;
  else if (what == CONNECTION_REPLY_SPORT) value = portsOf(flow, 1) & 0xffff;
  else if (what == CONNECTION_REPLY_DPORT) value = portsOf(flow, 1) >> 16;
  else if (what == CONNECTION_PROTO) value = protoOf(flow);
  else if (what == CONNECTION_DIRECTION) value = ctReply;
  else if ((statusOf(flow) & STATUS_CONFIRMED) != 0) {
    // nobody counts down what is not confirmed
    value = <u32>max<f64>(0, floor<f64>(load<f64>(flow, FLOW_EXPIRES) - now));
  }
  return a <= value && value <= b;
}

/** connbytes_mt() in net/netfilter/xt_connbytes.c. `what`: CONNBYTES_. */
export function hasCarried(what: u32, least: u64, most: u64): bool {
  const flow = ct;
  let packets: u64 = 0;
  let bytes: u64 = 0;
  if ((what & CONNBYTES_ORIGINAL) != 0) {
    packets += packetsCarried(flow, 0);
    bytes += bytesCarried(flow, 0);
  }
  if ((what & CONNBYTES_REPLY) != 0) {
    packets += packetsCarried(flow, 1);
    bytes += bytesCarried(flow, 1);
  }
  const mode = what & 3;
  let value: u64 = packets;
  if (mode == CONNBYTES_BYTES) value = bytes;
  else if (mode == CONNBYTES_AVERAGE) value = packets == 0 ? 0 : bytes / packets;
  return least <= value && value <= most;
}

/** connmark_tg_shift(); `how`: as the field of the clause. */
export function connmark(packet: usize, how: u32, one: u32, other: u32): void {
  const flow = ct;
  if (flow == 0) return;
  const bits = how >> 16;
  const right = (how & 0x100) != 0;
  const op = how & 0xff;
  const before = load<u32>(flow, FLOW_MARK);
  const mark = get(packet, FIELD_MARK);
  if (op == CONNMARK_RESTORE) {
    store<u32>(packet, (mark & ~other) ^ shifted(before & one, right, bits), FIELD_MARK * 4);
    return;
  }
  const after =
    op == CONNMARK_SET
      ? shifted((before & ~other) ^ one, right, bits)
      : (before & ~one) ^ shifted(mark & other, right, bits);
  if (after == before) return;
  store<u32>(flow, after, FLOW_MARK);
  if (flow == TEMPLATE) {
    store<u32>(templateMarkAt, after);
    return;
  }
  addStatus(flow, STATUS_CHANGED | STATUS_MARKED);
}

/** By so many bits as a machine shifts 32-bit words. */
function shifted(value: u32, right: bool, bits: u32): u32 {
  return right ? value >> bits : value << bits;
}

// -- the end of a connection, and of a packet's way

/** Ends a connection at once. */
export function kill(flow: usize): void {
  const status = statusOf(flow);
  if (flow == TOLD || (status & STATUS_CONFIRMED) == 0 || (status & STATUS_DYING) != 0) return;
  tell(EVENT_DESTROY, flow);
  forget(flow);
}

/** The packet has come to its end: its connection is known from now on. False: another has one of its tuples. */
export function confirm(): bool {
  const flow = ct;
  if (flow == 0 || flow == TOLD) return true;
  const status = statusOf(flow);
  if ((status & STATUS_DYING) != 0) return true;
  if ((status & STATUS_CONFIRMED) != 0) {
    if ((status & STATUS_CHANGED) != 0) {
      tell(EVENT_UPDATE, flow);
    }
    return true;
  }
  // an answer that a rule made to a first packet confirms nothing
  if (ctReply != 0) return true;
  if (!insert(flow)) return false;
  setExpiry(flow, now + load<f64>(flow, FLOW_EXPIRES));
  made = flow;
  lastStatus = statusOf(flow);
  tell(EVENT_NEW, flow);
  return true;
}

// -- what is told of connections

let eventsAt: usize = 0;
let eventTop: usize = 0;
let eventEnd: usize = 0;

/** From here on changes of connections are written to `bytes` bytes at `at`; 0: not any more. */
export function setEvents(at: usize, bytes: usize): void {
  eventsAt = eventTop = at;
  eventEnd = at + bytes;
}

/** Event records written since setEvents. */
export function eventCount(): u32 {
  return <u32>((eventTop - eventsAt) / EVENT_BYTES);
}

function tell(kind: i32, flow: usize): void {
  write(kind, flow);
  store<u16>(flow, <u16>(statusOf(flow) & ~(STATUS_CHANGED | STATUS_MARKED | STATUS_STATE)), FLOW_STATUS);
}

export function tellExpired(flow: usize): void {
  write(EVENT_EXPIRE, flow);
}

function write(kind: i32, flow: usize): void {
  if (eventTop + EVENT_BYTES > eventEnd) return;
  store<u32>(eventTop, kind, EVENT_KIND);
  store<u32>(eventTop, load<u32>(flow, FLOW_MARK), EVENT_MARK);
  v128.store(eventTop, v128.load(flow), EVENT_FLOW);
  v128.store(eventTop, v128.load(flow, 16), EVENT_FLOW + 16);
  eventTop += EVENT_BYTES;
}
