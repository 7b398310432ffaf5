// The packet's way through the host, stateless: every packet is the first of its connection.
//
//   in --> raw PREROUTING, conntrack, mangle, nat --> route --+--> mangle INPUT, filter, security, nat INPUT --> delivered
//                                                             +--> TTL, MTU --> mangle FORWARD, filter, security --+
//   local --> route --> raw OUTPUT, conntrack, mangle (re-route), nat (re-route), filter, security ----------------+
//                                                             mangle POSTROUTING, nat POSTROUTING --> out <--------+
//
// What leaves by lo comes in by lo again, with its route and its connection. Each packet is copied, goes its whole way,
// and leaves a decision record; so guards with memory see packets in order. A hook without a chain costs a load.
//
// Follows ip_rcv_finish_core(), ip_forward(), ip_local_deliver(), ip_output(), __icmp_send() in net/ipv4, and
// nf_reject_ipv4.c, nf_conntrack_proto_*.c, nf_nat_*.c under net/.

import {
  ACTION_ACCEPT,
  ACTION_DNAT,
  ACTION_DROP,
  ACTION_MASQUERADE,
  ACTION_REDIRECT,
  ACTION_REJECT,
  CLAUSE_ACTION,
  CLAUSE_ARG,
  CLAUSE_ARG2,
  CLAUSE_RULE,
  CT_DNAT_BIT,
  CT_FIRST,
  CT_INVALID,
  CT_NEW,
  CT_SNAT_BIT,
  DECISION_BYTES,
  DECISION_CHOSEN,
  DECISION_CT_STATE,
  DECISION_DNAT_RULE,
  DECISION_DPORT,
  DECISION_DST,
  DECISION_ERRNO,
  DECISION_FLAGS,
  DECISION_IFACE,
  DECISION_MARK,
  DECISION_MTU,
  DECISION_PATH,
  DECISION_REPLY,
  DECISION_RULE,
  DECISION_SNAT_RULE,
  DECISION_SPORT,
  DECISION_SRC,
  DECISION_TOS,
  DECISION_TRACE_END,
  DECISION_TTL,
  DECISION_VERDICT,
  DECISION_WHERE,
  ERRNO_EACCES,
  ERRNO_EHOSTUNREACH,
  ERRNO_EINVAL,
  ERRNO_ENETUNREACH,
  ERRNO_EPERM,
  FACT_BAD_CHECKSUM,
  FACT_BOUND,
  FACT_CHOOSE_SOURCE,
  FACT_DF,
  FACT_FRAME_SHIFT,
  FACT_LOCAL,
  FACT_MALFORMED,
  FACT_ODD,
  FACT_SOURCE_ROUTED,
  FIELD_CT_STATE,
  FIELD_DPORT,
  FIELD_DST,
  FIELD_FACTS,
  FIELD_ICMP,
  FIELD_IN_IFACE,
  FIELD_LENGTH,
  FIELD_MARK,
  FIELD_OUT_IFACE,
  FIELD_PROTO,
  FIELD_SPORT,
  FIELD_SRC,
  FIELD_TCP_FLAGS,
  FIELD_TOS,
  FIELD_TRANSPORT,
  FIELD_TTL,
  FIREWALL_CHECKSUM,
  FIREWALL_FLAGS,
  FIREWALL_IFACES,
  FIREWALL_LO,
  FIREWALL_ODD,
  FIREWALL_TCP_LOOSE,
  FIREWALL_TRACKING,
  FRAME_HOST,
  FRAME_OTHERHOST,
  HOOK_FORWARD,
  HOOK_INPUT,
  HOOK_OUTPUT,
  HOOK_POSTROUTING,
  HOOK_PREROUTING,
  IFACE_ADDRESS,
  IFACE_BYTES,
  IFACE_FORWARDING,
  IFACE_SOURCE_ROUTE,
  NONE,
  PACKET_BYTES,
  REJECT_TCP_RESET,
  REPLY_RESET,
  ROUTE_BLACKHOLE,
  ROUTE_BROADCAST,
  ROUTE_IFACE,
  ROUTE_LOCAL,
  ROUTE_MTU,
  ROUTE_MULTICAST,
  ROUTE_NONE,
  ROUTE_PROHIBIT,
  ROUTE_SRC,
  ROUTE_TYPE,
  ROUTE_UNICAST,
  ROUTE_UNREACHABLE,
  TABLE_FILTER,
  TABLE_MANGLE,
  TABLE_NAT,
  TABLE_RAW,
  TABLE_SECURITY,
  TRANSPORT_OFFSET_1,
  VERDICT_DELIVERED,
  VERDICT_DROPPED,
  VERDICT_FORWARDED,
  VERDICT_REJECTED,
  VERDICT_SENT,
  WHERE_BEFORE_NETFILTER,
  WHERE_ROUTING,
} from "../src/layout";
import { beginPacket, run, traceCount } from "./look-up";
import { chosen, startNat, translate } from "./nat";
import {
  ifaceFlags,
  isLoopback,
  isMulticast,
  isOwn,
  LIMITED_BROADCAST,
  lookUp,
  nextHop,
  routesLocalnet,
  selectAddress,
  validSource,
} from "./route";
import { dataOf } from "./program";

const ICMP: u32 = 1;
const IGMP: u32 = 2;
const TCP: u32 = 6;
const UDP: u32 = 17;

/** The packet on its way. */
const CURRENT = memory.data(64, 16);

let firewall: usize = 0;
let out: usize = 0;
let path: u32 = 0;
let hooks: u32 = 0;
/** Route of the packet; 0 before routing. */
let route: usize = 0;
/** The destination of the route is a broadcast or a group: no ICMP error is made. */
let routedToMany = false;

function get(field: i32): u32 {
  return load<u32>(CURRENT + (field << 2));
}

function set(field: i32, value: u32): void {
  store<u32>(CURRENT + (field << 2), value);
}

/** Sends `count` packet records their whole way; one decision record each. `times`: f64 seconds for each, 0: always 0. */
export function way(
  firewallAt: usize,
  packets: usize,
  count: u32,
  decisions: usize,
  firstIndex: u32,
  times: usize,
): void {
  firewall = firewallAt;
  for (let i: u32 = 0; i < count; i++) {
    memory.copy(CURRENT, packets + <usize>i * PACKET_BYTES, PACKET_BYTES);
    out = decisions + <usize>i * DECISION_BYTES;
    beginPacket(firstIndex + i, times == 0 ? 0 : load<f64>(times + (<usize>i << 3)));
    startNat();
    path = 0;
    hooks = 0;
    route = 0;
    routedToMany = false;
    store<u64>(out, 0);
    store<u32>(out, NONE, DECISION_RULE);
    store<u32>(out, 0, DECISION_IFACE);
    store<u64>(out, 0, DECISION_TTL);
    store<u32>(out, NONE, DECISION_CT_STATE);
    store<u32>(out, NONE, DECISION_REPLY);
    store<u32>(out, NONE, DECISION_DNAT_RULE);
    store<u32>(out, NONE, DECISION_SNAT_RULE);
    if ((get(FIELD_FACTS) & FACT_LOCAL) != 0) sendLocal();
    else receive();
    store<u32>(out, get(FIELD_SRC), DECISION_SRC);
    store<u32>(out, get(FIELD_DST), DECISION_DST);
    store<u32>(out, get(FIELD_SPORT), DECISION_SPORT);
    store<u32>(out, get(FIELD_DPORT), DECISION_DPORT);
    store<u32>(out, get(FIELD_MARK), DECISION_MARK);
    store<u8>(out, <u8>get(FIELD_TTL), DECISION_TTL);
    store<u8>(out, <u8>get(FIELD_TOS), DECISION_TOS);
    store<u32>(out, path, DECISION_PATH);
    if (chosen) store<u8>(out, DECISION_CHOSEN, DECISION_FLAGS);
    store<u32>(out, traceCount(), DECISION_TRACE_END);
  }
}

// -- endings

function end(verdict: i32, where: i32): void {
  store<u8>(out, <u8>verdict, DECISION_VERDICT);
  store<u8>(out, <u8>where, DECISION_WHERE);
}

function drop(where: i32): void {
  end(VERDICT_DROPPED, where);
}

function enter(hook: i32): void {
  path |= (<u32>hook + 1) << hooks;
  hooks += 3;
}

// -- chains

/** The clause that decided; 0: none did, the packet goes on. Records DROP and REJECT, and filter's ACCEPT. */
function chain(table: i32, hook: i32): usize {
  const program = programOf(table, hook);
  return program == 0 ? 0 : run(program, CURRENT);
}

/** Runs the chain of a table that only lets pass or stops; false: the packet has ended. */
function passes(table: i32, hook: i32): bool {
  const clause = chain(table, hook);
  if (clause == 0) return true;
  const action = load<u32>(clause, CLAUSE_ACTION);
  const rule = load<u32>(clause, CLAUSE_RULE);
  if (action == ACTION_ACCEPT) {
    if (table == TABLE_FILTER) store<u32>(out, rule, DECISION_RULE);
    return true;
  }
  store<u32>(out, rule, DECISION_RULE);
  if (action == ACTION_REJECT && reject(load<u32>(clause, CLAUSE_ARG), hook)) end(VERDICT_REJECTED, hook);
  else drop(hook);
  return false;
}

function tracking(): bool {
  return (load<u32>(firewall, FIREWALL_FLAGS) & FIREWALL_TRACKING) != 0;
}

/** The raw chain, where no entry is attached yet and rules see INVALID; then the state, if the record does not bring it. */
function passesUntracked(hook: i32): bool {
  let state = get(FIELD_CT_STATE);
  set(FIELD_CT_STATE, CT_INVALID << 2);
  if (!passes(TABLE_RAW, hook)) return false;
  if (tracking()) {
    if (state == CT_FIRST) state = firstState() << 2;
    set(FIELD_CT_STATE, state);
    store<u32>(out, state >> 2, DECISION_CT_STATE);
  }
  return true;
}

/** nf_conntrack_in() without any entry. */
function firstState(): u32 {
  const flags = load<u32>(firewall, FIREWALL_FLAGS);
  const facts = get(FIELD_FACTS);
  const proto = get(FIELD_PROTO);
  if ((facts & FACT_MALFORMED) != 0) return CT_INVALID;
  const summed = proto == TCP || proto == UDP || proto == ICMP;
  if (summed && (facts & FACT_BAD_CHECKSUM) != 0 && (flags & FIREWALL_CHECKSUM) != 0) return CT_INVALID;
  if (proto == ICMP) {
    const type = get(FIELD_ICMP) >> 8;
    return type == 8 || type == 13 || type == 15 || type == 17 ? CT_NEW : CT_INVALID;
  }
  if (proto == TCP) {
    // PSH, ECE and CWR say nothing
    const bits = get(FIELD_TCP_FLAGS) & 0x37;
    if (bits == 2 || bits == 0x22) return CT_NEW;
    if (bits == 0x10 || bits == 0x30) return (flags & FIREWALL_TCP_LOOSE) != 0 ? CT_NEW : CT_INVALID;
    return CT_INVALID;
  }
  return CT_NEW;
}

function isNew(): bool {
  return tracking() && get(FIELD_CT_STATE) >> 2 == CT_NEW;
}

/** The nat chain of the hook; false: dropped, since the rule found no address. */
function nat(hook: i32): bool {
  if (!isNew()) return true;
  const clause = chain(TABLE_NAT, hook);
  if (clause == 0) return true;
  const action = load<u32>(clause, CLAUSE_ACTION);
  if (action == ACTION_ACCEPT) return true;
  const rule = load<u32>(clause, CLAUSE_RULE);
  if (action == ACTION_DROP) {
    store<u32>(out, rule, DECISION_RULE);
    drop(hook);
    return false;
  }
  let address: u32 = 0;
  const source = action != ACTION_DNAT && action != ACTION_REDIRECT;
  if (action == ACTION_REDIRECT) {
    if (hook == HOOK_OUTPUT) address = 0x7f000001;
    else address = load<u32>(<usize>load<u32>(firewall, FIREWALL_IFACES) + get(FIELD_IN_IFACE) * IFACE_BYTES, IFACE_ADDRESS);
    if (address == NONE) address = 0;
  } else if (action == ACTION_MASQUERADE) {
    const dst = get(FIELD_DST);
    address = selectAddress(firewall, get(FIELD_OUT_IFACE), route == 0 ? dst : nextHop(route, dst));
  }
  if (address == 0 && (action == ACTION_REDIRECT || action == ACTION_MASQUERADE)) {
    store<u32>(out, rule, DECISION_RULE);
    drop(hook);
    return false;
  }
  const src = get(FIELD_SRC);
  const sport = get(FIELD_SPORT);
  const dst = get(FIELD_DST);
  const dport = get(FIELD_DPORT);
  translate(CURRENT, dataOf(programOf(TABLE_NAT, hook)) + load<u32>(clause, CLAUSE_ARG), source, address, load<u32>(clause, CLAUSE_ARG2), rule);
  const changed = src != get(FIELD_SRC) || sport != get(FIELD_SPORT) || dst != get(FIELD_DST) || dport != get(FIELD_DPORT);
  if (changed) {
    set(FIELD_CT_STATE, get(FIELD_CT_STATE) | (source ? CT_SNAT_BIT : CT_DNAT_BIT));
    if (source) store<u32>(out, rule, DECISION_SNAT_RULE);
    else store<u32>(out, rule, DECISION_DNAT_RULE);
  }
  return true;
}

function programOf(table: i32, hook: i32): usize {
  const odd = (get(FIELD_FACTS) & FACT_ODD) != 0;
  return <usize>load<u32>(firewall + <usize>(odd ? FIREWALL_ODD : 0) + <usize>((table * 5 + hook) << 2));
}

// -- from outside

function receive(): void {
  const facts = get(FIELD_FACTS);
  if (((facts >> FACT_FRAME_SHIFT) & 3) == FRAME_OTHERHOST) return drop(WHERE_BEFORE_NETFILTER);
  set(FIELD_OUT_IFACE, 0);
  if (!preroute(true)) return;
  if (!routeInput()) return;
  if (load<u32>(route, ROUTE_TYPE) == ROUTE_UNICAST) forward();
  else deliver();
}

/** PREROUTING; `fresh`: not come back over lo. */
function preroute(fresh: bool): bool {
  enter(HOOK_PREROUTING);
  if (fresh ? !passesUntracked(HOOK_PREROUTING) : !passes(TABLE_RAW, HOOK_PREROUTING)) return false;
  if (!passes(TABLE_MANGLE, HOOK_PREROUTING)) return false;
  return fresh ? nat(HOOK_PREROUTING) : true;
}

/** A record that says by itself where the packet goes: broadcasts and groups. */
const TO_MANY = memory.data(24);

/** ip_route_input_rcu(), and ip_error() for what it refuses; false: the packet has ended. */
function routeInput(): bool {
  const src = get(FIELD_SRC);
  const dst = get(FIELD_DST);
  const iface = get(FIELD_IN_IFACE);
  const flags = ifaceFlags(firewall, iface);
  const mark = get(FIELD_MARK);
  if ((get(FIELD_FACTS) & FACT_SOURCE_ROUTED) != 0 && (flags & IFACE_SOURCE_ROUTE) == 0) return refused();
  if (isMulticast(dst)) {
    // only the group of all hosts is joined; ip_mc_validate_source()
    if (dst != 0xe0000001 || isMulticast(src) || src == LIMITED_BROADCAST) return refused();
    if (isLoopback(src) && !routesLocalnet(firewall, iface)) return refused();
    if (src != 0 && !validSource(firewall, src, 0, iface, 0, mark)) return refused();
    return routeToMany(ROUTE_MULTICAST);
  }
  if (isMulticast(src) || src == LIMITED_BROADCAST) return refused();
  if (dst == LIMITED_BROADCAST || (src == 0 && dst == 0)) return routeBroadcast(src, iface, mark);
  if (src == 0 || dst == 0) return refused();
  if (isLoopback(dst) || isLoopback(src)) {
    if (!routesLocalnet(firewall, iface)) return refused();
  }
  route = lookUp(firewall, dst, src, iface, 0, mark);
  const type = load<u32>(route, ROUTE_TYPE);
  if (type == ROUTE_BROADCAST) return routeBroadcast(src, iface, mark);
  if (type == ROUTE_LOCAL) return validSource(firewall, src, dst, iface, 0, mark) || refused();
  if ((flags & IFACE_FORWARDING) == 0) return refused();
  if (type == ROUTE_UNICAST) {
    return validSource(firewall, src, dst, iface, load<u32>(route, ROUTE_IFACE), mark) || refused();
  }
  let code: u32 = NONE;
  if (type == ROUTE_NONE) code = 0;
  else if (type == ROUTE_UNREACHABLE) code = 1;
  else if (type == ROUTE_PROHIBIT) code = 13;
  if (code != NONE) icmpError((3 << 8) | code);
  return refused();
}

function refused(): bool {
  drop(WHERE_ROUTING);
  return false;
}

function routeBroadcast(src: u32, iface: u32, mark: u32): bool {
  if (src != 0 && !validSource(firewall, src, 0, iface, 0, mark)) return refused();
  return routeToMany(ROUTE_BROADCAST);
}

function routeToMany(type: i32): bool {
  routedToMany = true;
  store<u32>(TO_MANY, type, ROUTE_TYPE);
  route = TO_MANY;
  return true;
}

function deliver(): void {
  enter(HOOK_INPUT);
  set(FIELD_OUT_IFACE, 0);
  if (!passes(TABLE_MANGLE, HOOK_INPUT)) return;
  if (!passes(TABLE_FILTER, HOOK_INPUT)) return;
  if (!passes(TABLE_SECURITY, HOOK_INPUT)) return;
  if (!sourceDone && !nat(HOOK_INPUT)) return;
  end(VERDICT_DELIVERED, 0);
  store<u32>(out, get(FIELD_IN_IFACE), DECISION_IFACE);
}

/** The source half of NAT is set up already: POSTROUTING came before INPUT. */
let sourceDone = false;

function forward(): void {
  // ip_forward()
  if (((get(FIELD_FACTS) >> FACT_FRAME_SHIFT) & 3) != FRAME_HOST) return drop(WHERE_ROUTING);
  const ttl = get(FIELD_TTL);
  if (ttl <= 1) {
    icmpError(11 << 8);
    return drop(WHERE_ROUTING);
  }
  const mtu = load<u32>(route, ROUTE_MTU);
  const long = get(FIELD_LENGTH) > mtu;
  if (long && (get(FIELD_FACTS) & FACT_DF) != 0) {
    icmpError((3 << 8) | 4);
    return drop(WHERE_ROUTING);
  }
  set(FIELD_TTL, ttl - 1);
  set(FIELD_OUT_IFACE, load<u32>(route, ROUTE_IFACE));
  enter(HOOK_FORWARD);
  if (!passes(TABLE_MANGLE, HOOK_FORWARD)) return;
  if (!passes(TABLE_FILTER, HOOK_FORWARD)) return;
  if (!passes(TABLE_SECURITY, HOOK_FORWARD)) return;
  if (!postroute()) return;
  end(VERDICT_FORWARDED, 0);
  store<u32>(out, get(FIELD_OUT_IFACE), DECISION_IFACE);
  if (long) store<u16>(out, <u16>mtu, DECISION_MTU);
}

function postroute(): bool {
  enter(HOOK_POSTROUTING);
  if (!passes(TABLE_MANGLE, HOOK_POSTROUTING)) return false;
  return nat(HOOK_POSTROUTING);
}

// -- answers: whether the host makes one

/** __icmp_send(): records the answer `type << 8 | code` if one is made. */
function icmpError(reply: u32): bool {
  if (((get(FIELD_FACTS) >> FACT_FRAME_SHIFT) & 3) != FRAME_HOST || routedToMany) return false;
  if (get(FIELD_TRANSPORT) >= <u32>TRANSPORT_OFFSET_1) return false;
  if (get(FIELD_PROTO) == ICMP) {
    const type = get(FIELD_ICMP) >> 8;
    if (type > 18 || type == 3 || type == 4 || type == 5 || type == 11 || type == 12) return false;
  }
  // the way back
  const back = lookUp(firewall, get(FIELD_SRC), isOwn(firewall, get(FIELD_DST)) ? get(FIELD_DST) : 0, load<u32>(firewall, FIREWALL_LO), 0, 0);
  if (!leads(back)) return false;
  store<u32>(out, reply, DECISION_REPLY);
  return true;
}

/** The route is one by which a packet can be sent. */
function leads(back: usize): bool {
  const type = load<u32>(back, ROUTE_TYPE);
  return type == ROUTE_UNICAST || type == ROUTE_LOCAL || type == ROUTE_BROADCAST || type == ROUTE_MULTICAST;
}

/** reject_tg(): nf_send_unreach() and nf_send_reset(); true if an answer is made. */
function reject(kind: u32, hook: i32): bool {
  const facts = get(FIELD_FACTS);
  if (get(FIELD_TRANSPORT) >= <u32>TRANSPORT_OFFSET_1 || (facts & FACT_BAD_CHECKSUM) != 0) return false;
  if (kind != REJECT_TCP_RESET) return icmpError((3 << 8) | kind);
  if (routedToMany || (get(FIELD_TCP_FLAGS) & 4) != 0 || get(FIELD_TRANSPORT) < 20) return false;
  const back = lookUp(firewall, get(FIELD_SRC), get(FIELD_DST), load<u32>(firewall, FIREWALL_LO), 0, 0);
  if (!leads(back)) return false;
  store<u32>(out, REPLY_RESET, DECISION_REPLY);
  return true;
}

// -- from the host

function fail(errno: i32): void {
  store<u8>(out, <u8>errno, DECISION_ERRNO);
}

function sendLocal(): void {
  drop(WHERE_ROUTING);
}
