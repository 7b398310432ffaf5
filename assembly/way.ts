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
  DECISION_ERRNO,
  DECISION_FLAGS,
  DECISION_IFACE,
  DECISION_MARK,
  DECISION_MTU,
  DECISION_PATH,
  DECISION_REPLY,
  DECISION_RULE,
  DECISION_SNAT_RULE,
  DECISION_SRC,
  DECISION_TOS,
  DECISION_TRACE_END,
  DECISION_TTL,
  DECISION_VERDICT,
  DECISION_WHERE,
  ERRNO_EIO,
  ERRNO_EMSGSIZE,
  ERRNO_EPERM,
  FACT_BAD_CHECKSUM,
  FACT_BOUND,
  FACT_DF,
  FACT_FIXED_DESTINATION,
  FACT_FIXED_SOURCE,
  FACT_FRAME_SHIFT,
  FACT_LOCAL,
  FACT_MALFORMED,
  FACT_MORE_FRAGMENTS,
  FACT_ODD,
  FACT_SOURCE_ROUTED,
  FACT_SUMMED,
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
  IFACE_FORWARDING,
  IFACE_MTU,
  IFACE_ROUTE_LOCALNET,
  IFACE_SEND_REDIRECTS,
  IFACE_SOURCE_ROUTE,
  IFACE_UP,
  NONE,
  PACKET_BYTES,
  REJECT_TCP_RESET,
  REPLY_RESET,
  ROUTE_BROADCAST,
  ROUTE_IFACE,
  ROUTE_LOCAL,
  ROUTE_MTU,
  ROUTE_NONE,
  ROUTE_PROHIBIT,
  ROUTE_TYPE,
  ROUTE_UNICAST,
  ROUTE_UNREACHABLE,
  ROUTE_VIA,
  TABLE_FILTER,
  TABLE_MANGLE,
  TABLE_NAT,
  TABLE_RAW,
  TABLE_SECURITY,
  TRANSPORT_OFFSET_1,
  UNMODELLED_FORWARD_LO,
  UNMODELLED_FRAGMENTS_LO,
  UNMODELLED_HELD,
  UNMODELLED_OWN_GROUP,
  UNMODELLED_PROTOCOL,
  UNMODELLED_REASSEMBLY,
  UNMODELLED_SOURCE_ROUTE,
  VERDICT_DELIVERED,
  VERDICT_DROPPED,
  VERDICT_FORWARDED,
  VERDICT_REJECTED,
  VERDICT_SENT,
  VERDICT_UNMODELLED,
  WHERE_BEFORE_NETFILTER,
  WHERE_ROUTING,
  WHERE_TRANSMIT,
} from "../src/layout";
import { beginPacket, dropper, run, traceCount } from "./look-up";
import { copyRecord } from "./memory";
import { chosen, startNat, translate } from "./nat";
import { dataOf } from "./program";
import {
  asSource,
  ifaceFlags,
  ifaceOf,
  isLoopback,
  isMulticast,
  LIMITED_BROADCAST,
  lookUp,
  output,
  pathGroup,
  pathIface,
  pathLocal,
  pathMtu,
  pathSrc,
  pathVia,
  selectAddress,
  SOURCE_ON_LINK,
  SOURCE_REFUSED,
  validSource,
} from "./route";

const ICMP: u32 = 1;
const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMPV6: u32 = 58;
const SCTP: u32 = 132;
const UDPLITE: u32 = 136;

/** The packet on its way. */
const CURRENT = memory.data(64, 16);
/** A decision record that says nothing yet. */
const BLANK = memory.data(64, 16);

export let firewall: usize = 0;
let out: usize = 0;
let path: u32 = 0;
let hooks: u32 = 0;
/** The packet has a way; what follows says which. */
let routed = false;
let wayIface: u32 = 0;
let wayVia: u32 = NONE;
export let wayMtu: u32 = 0;
let wayLocal = false;
let wayGroup = false;
/** nat has been asked for the destination, for the source: over lo it is not asked again. */
let destinationDone = false;
let sourceDone = false;
/** Has a connection of its own, not yet known. */
let fresh = false;
/** Of the socket, or 0. */
let boundIface: u32 = 0;
/** The answer that a redirect made. */
let redirect: u32 = NONE;

function get(field: i32): u32 {
  return load<u32>(CURRENT + ((<usize>field) << 2));
}

function set(field: i32, value: u32): void {
  store<u32>(CURRENT + ((<usize>field) << 2), value);
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
  store<u32>(BLANK, NONE, DECISION_RULE);
  store<u32>(BLANK, NONE, DECISION_CT_STATE);
  store<u32>(BLANK, NONE, DECISION_REPLY);
  store<u32>(BLANK, NONE, DECISION_DNAT_RULE);
  store<u32>(BLANK, NONE, DECISION_SNAT_RULE);
  for (let i: u32 = 0; i < count; i++) {
    copyRecord(CURRENT, packets + <usize>i * PACKET_BYTES);
    out = decisions + <usize>i * DECISION_BYTES;
    beginPacket(firstIndex + i, times == 0 ? 0 : load<f64>(times + ((<usize>i) << 3)));
    startNat();
    path = hooks = 0;
    routed = wayLocal = wayGroup = destinationDone = sourceDone = fresh = false;
    redirect = NONE;
    boundIface = (get(FIELD_FACTS) & FACT_BOUND) != 0 ? get(FIELD_OUT_IFACE) : 0;
    copyRecord(out, BLANK);
    if ((get(FIELD_FACTS) & FACT_LOCAL) != 0) send();
    else arrive();
    // src, dst, sport and dport stand in both records in this order
    v128.store(out, v128.load(CURRENT), DECISION_SRC);
    store<u32>(out, get(FIELD_MARK), DECISION_MARK);
    store<u8>(out, <u8>get(FIELD_TTL), DECISION_TTL);
    store<u8>(out, <u8>get(FIELD_TOS), DECISION_TOS);
    store<u32>(out, path, DECISION_PATH);
    if (chosen) store<u8>(out, DECISION_CHOSEN, DECISION_FLAGS);
    store<u32>(out, traceCount(), DECISION_TRACE_END);
  }
}

// -- endings; each gives false: the packet does not go on

function end(verdict: i32, where: i32): bool {
  store<u8>(out, <u8>verdict, DECISION_VERDICT);
  store<u8>(out, <u8>where, DECISION_WHERE);
  return false;
}

function drop(where: i32): bool {
  store<u32>(out, NONE, DECISION_RULE);
  return end(VERDICT_DROPPED, where);
}

function fail(where: i32, errno: i32): bool {
  store<u8>(out, <u8>errno, DECISION_ERRNO);
  return drop(where);
}

/** A rule or policy says so; `answer` is what REJECT answers, or NONE. */
function refuse(hook: i32, rule: u32, answer: u32): bool {
  store<u32>(out, rule, DECISION_RULE);
  // an earlier redirect counts as the answer
  if (redirect != NONE) answer = redirect;
  store<u32>(out, answer, DECISION_REPLY);
  if ((get(FIELD_FACTS) & FACT_LOCAL) != 0 && get(FIELD_IN_IFACE) == 0) {
    store<u8>(out, ERRNO_EPERM, DECISION_ERRNO);
  }
  return end(answer == NONE ? VERDICT_DROPPED : VERDICT_REJECTED, hook);
}

function unmodelled(reason: i32): bool {
  return end(VERDICT_UNMODELLED, reason);
}

// -- chains

/** Enters a hook; false: the packet waits there in a way that is not modelled. */
function enter(hook: i32): bool {
  path |= (<u32>hook + 1) << hooks;
  hooks += 3;
  return true;
}

function isFragment(): bool {
  return get(FIELD_TRANSPORT) >= <u32>TRANSPORT_OFFSET_1 || (get(FIELD_FACTS) & FACT_MORE_FRAGMENTS) != 0;
}

function tracking(): bool {
  return (load<u32>(firewall, FIREWALL_FLAGS) & FIREWALL_TRACKING) != 0;
}

/** Enters PREROUTING or OUTPUT, where fragments are put together if connections are tracked. */
function open(hook: i32): bool {
  if (tracking() && isFragment()) return unmodelled(UNMODELLED_HELD);
  return enter(hook);
}

function programOf(table: i32, hook: i32): usize {
  const odd = (get(FIELD_FACTS) & FACT_ODD) != 0;
  return <usize>load<u32>(firewall + <usize>(odd ? FIREWALL_ODD : 0) + <usize>((table * 5 + hook) << 2));
}

/** Runs the chain of a table other than nat, if there is one; false: the packet has ended. */
function passes(table: i32, hook: i32): bool {
  const program = programOf(table, hook);
  if (program == 0) return true;
  const clause = run(program, CURRENT);
  if (clause == 0) return refuse(hook, load<u32>(dropper, CLAUSE_RULE), NONE);
  const action = load<u32>(clause, CLAUSE_ACTION);
  const rule = load<u32>(clause, CLAUSE_RULE);
  if (action == ACTION_ACCEPT) {
    if (table == TABLE_FILTER) store<u32>(out, rule, DECISION_RULE);
    return true;
  }
  return refuse(hook, rule, action == ACTION_REJECT ? rejection(load<u32>(clause, CLAUSE_ARG)) : NONE);
}

/** The connection's state, unless the record brings it; false: its protocol is tracked in a way that is not modelled. */
function track(state: u32, incoming: bool): bool {
  if (state == CT_FIRST) {
    const first = firstState(incoming);
    if (first == UNKNOWN) return unmodelled(UNMODELLED_PROTOCOL);
    state = first << 2;
  }
  fresh = state >> 2 == CT_NEW;
  set(FIELD_CT_STATE, state);
  return true;
}

const UNKNOWN: u32 = 0xff;

/** nf_conntrack_in() without any entry. */
function firstState(incoming: bool): u32 {
  const flags = load<u32>(firewall, FIREWALL_FLAGS);
  const facts = get(FIELD_FACTS);
  const proto = get(FIELD_PROTO);
  const summed = proto == TCP || proto == UDP || proto == ICMP;
  if (incoming && summed && (facts & FACT_BAD_CHECKSUM) != 0 && (flags & FIREWALL_CHECKSUM) != 0) return CT_INVALID;
  if ((facts & FACT_MALFORMED) != 0) return CT_INVALID;
  if (proto == ICMP) {
    const type = get(FIELD_ICMP) >> 8;
    return type == 8 || type == 13 || type == 15 || type == 17 ? CT_NEW : CT_INVALID;
  }
  if (proto == TCP) {
    // URG, PSH, ECE and CWR say nothing
    const bits = get(FIELD_TCP_FLAGS) & 0x17;
    if (bits == 0x02) return CT_NEW;
    return bits == 0x10 && (flags & FIREWALL_TCP_LOOSE) != 0 ? CT_NEW : CT_INVALID;
  }
  if (proto == SCTP || proto == UDPLITE || proto == ICMPV6) return UNKNOWN;
  return CT_NEW;
}

/** nat sees a new connection once for each side; false: dropped, since there is no address to translate to. */
function nat(hook: i32, source: bool): bool {
  if (!fresh || (source ? sourceDone : destinationDone)) return true;
  const program = programOf(TABLE_NAT, hook);
  if (program == 0) return true;
  if (source) sourceDone = true;
  else destinationDone = true;
  const clause = run(program, CURRENT);
  if (clause == 0) return refuse(hook, load<u32>(dropper, CLAUSE_RULE), NONE);
  const action = load<u32>(clause, CLAUSE_ACTION);
  if (action == ACTION_ACCEPT) return true;
  const rule = load<u32>(clause, CLAUSE_RULE);
  if (action == ACTION_DROP || action == ACTION_REJECT) return refuse(hook, rule, NONE);
  let address: u32 = 0;
  if (action == ACTION_REDIRECT) {
    address = hook == HOOK_OUTPUT ? 0x7f000001 : load<u32>(ifaceOf(firewall, get(FIELD_IN_IFACE)), IFACE_ADDRESS);
    if (address == NONE) return refuse(hook, rule, NONE);
  } else if (action == ACTION_MASQUERADE) {
    address = selectAddress(firewall, wayIface, wayVia == NONE ? get(FIELD_DST) : wayVia);
    if (address == 0) return refuse(hook, rule, NONE);
  }
  const src = get(FIELD_SRC);
  const sport = get(FIELD_SPORT);
  const dst = get(FIELD_DST);
  const dport = get(FIELD_DPORT);
  translate(
    CURRENT,
    dataOf(program) + load<u32>(clause, CLAUSE_ARG),
    source,
    address,
    load<u32>(clause, CLAUSE_ARG2),
    rule,
  );
  const changed =
    src != get(FIELD_SRC) || sport != get(FIELD_SPORT) || dst != get(FIELD_DST) || dport != get(FIELD_DPORT);
  if (source) store<u32>(out, rule, DECISION_SNAT_RULE);
  else store<u32>(out, rule, DECISION_DNAT_RULE);
  if (!changed) return true;
  if ((get(FIELD_FACTS) & (source ? FACT_FIXED_SOURCE : FACT_FIXED_DESTINATION)) != 0) {
    set(FIELD_SRC, src);
    set(FIELD_DST, dst);
    return refuse(hook, rule, NONE);
  }
  set(FIELD_CT_STATE, get(FIELD_CT_STATE) | (source ? CT_SNAT_BIT : CT_DNAT_BIT));
  return true;
}

/** PREROUTING or OUTPUT is over: from now on it is known what state the packet has. */
function leave(): void {
  if (tracking()) store<u32>(out, get(FIELD_CT_STATE) >> 2, DECISION_CT_STATE);
}

// -- in

function arrive(): void {
  const iface = get(FIELD_IN_IFACE);
  if ((ifaceFlags(firewall, iface) & IFACE_UP) == 0) {
    fail(WHERE_ROUTING, ERRNO_EIO);
  } else if (frame() == FRAME_OTHERHOST) {
    drop(WHERE_BEFORE_NETFILTER);
  } else {
    set(FIELD_OUT_IFACE, 0);
    receive();
  }
}

function frame(): u32 {
  return (get(FIELD_FACTS) >> FACT_FRAME_SHIFT) & 3;
}

function receive(): bool {
  if (!open(HOOK_PREROUTING)) return false;
  const state = get(FIELD_CT_STATE);
  // before conntrack there is no entry, and rules see INVALID; over lo the packet brings what OUTPUT gave it
  if (!routed) set(FIELD_CT_STATE, CT_INVALID << 2);
  if (!passes(TABLE_RAW, HOOK_PREROUTING)) return false;
  if (tracking() && !fresh && !track(routed ? CT_FIRST : state, true)) return false;
  if (!passes(TABLE_MANGLE, HOOK_PREROUTING)) return false;
  if (!nat(HOOK_PREROUTING, false)) return false;
  // what the host sent to itself keeps its route, and the state that OUTPUT told
  if (routed) return deliver();
  leave();
  return routeInput();
}

/** ip_route_input_rcu(), and ip_error() for what it refuses. */
function routeInput(): bool {
  const src = get(FIELD_SRC);
  const dst = get(FIELD_DST);
  const iface = get(FIELD_IN_IFACE);
  const flags = ifaceFlags(firewall, iface);
  const mark = get(FIELD_MARK);
  if (isMulticast(dst)) {
    // only the group of all hosts is joined; ip_mc_validate_source()
    if (dst != 0xe0000001 || isMulticast(src) || src == LIMITED_BROADCAST) return drop(WHERE_ROUTING);
    if (isLoopback(src) && (flags & IFACE_ROUTE_LOCALNET) == 0) return drop(WHERE_ROUTING);
    return toGroup(src, iface, mark);
  }
  if (isMulticast(src) || src == LIMITED_BROADCAST) return drop(WHERE_ROUTING);
  if (dst == LIMITED_BROADCAST || (src == 0 && dst == 0)) return toGroup(src, iface, mark);
  if (src == 0 || dst == 0) return drop(WHERE_ROUTING);
  if ((isLoopback(dst) || isLoopback(src)) && (flags & IFACE_ROUTE_LOCALNET) == 0) return drop(WHERE_ROUTING);
  const route = lookUp(firewall, dst, src, iface, 0, mark);
  const type = load<u32>(route, ROUTE_TYPE);
  if (type == ROUTE_BROADCAST) return toGroup(src, iface, mark);
  if (type == ROUTE_LOCAL) {
    if (validSource(firewall, src, dst, iface, 0, mark) == SOURCE_REFUSED) return drop(WHERE_ROUTING);
    return toHost(false);
  }
  const forwarding = (flags & IFACE_FORWARDING) != 0;
  if (type == ROUTE_UNICAST && forwarding) {
    const outIface = load<u32>(route, ROUTE_IFACE);
    const source = validSource(firewall, src, dst, iface, outIface, mark);
    if (source == SOURCE_REFUSED) return drop(WHERE_ROUTING);
    if (!mayBeRouted(flags)) return false;
    wayIface = outIface;
    wayVia = load<u32>(route, ROUTE_VIA);
    wayMtu = load<u32>(route, ROUTE_MTU);
    wayLocal = outIface == load<u32>(firewall, FIREWALL_LO);
    return forward(outIface == iface && source == SOURCE_ON_LINK && (flags & IFACE_SEND_REDIRECTS) != 0);
  }
  if (!mayBeRouted(flags)) return false;
  if (forwarding) {
    if (type == ROUTE_NONE) icmpError(3 << 8);
    else if (type == ROUTE_UNREACHABLE) icmpError((3 << 8) | 1);
    else if (type == ROUTE_PROHIBIT) icmpError((3 << 8) | 13);
  }
  return drop(WHERE_ROUTING);
}

/** Sets the packet down as dropped by routing; true if it asks for no route of its own. */
function mayBeRouted(flags: u32): bool {
  drop(WHERE_ROUTING);
  if ((get(FIELD_FACTS) & FACT_SOURCE_ROUTED) == 0) return true;
  if ((flags & IFACE_SOURCE_ROUTE) != 0) unmodelled(UNMODELLED_SOURCE_ROUTE);
  return false;
}

function toGroup(src: u32, iface: u32, mark: u32): bool {
  if (src != 0 && validSource(firewall, src, 0, iface, 0, mark) == SOURCE_REFUSED) return drop(WHERE_ROUTING);
  return toHost(true);
}

function toHost(group: bool): bool {
  if (!mayBeRouted(ifaceFlags(firewall, get(FIELD_IN_IFACE)))) return false;
  wayIface = load<u32>(firewall, FIREWALL_LO);
  wayVia = NONE;
  wayLocal = true;
  wayGroup = group;
  routed = true;
  return deliver();
}

function deliver(): bool {
  if (isFragment()) return unmodelled(UNMODELLED_REASSEMBLY);
  enter(HOOK_INPUT);
  set(FIELD_OUT_IFACE, 0);
  if (!passes(TABLE_MANGLE, HOOK_INPUT)) return false;
  if (!passes(TABLE_FILTER, HOOK_INPUT)) return false;
  if (!passes(TABLE_SECURITY, HOOK_INPUT)) return false;
  if (!nat(HOOK_INPUT, true)) return false;
  store<u32>(out, get(FIELD_IN_IFACE), DECISION_IFACE);
  return end(VERDICT_DELIVERED, 0);
}

/** ip_forward(); `redirects`: a neighbour sent what it could have sent directly. */
function forward(redirects: bool): bool {
  routed = true;
  if (frame() != FRAME_HOST) return drop(WHERE_ROUTING);
  const ttl = get(FIELD_TTL);
  if (ttl <= 1) {
    icmpError(11 << 8);
    return drop(WHERE_ROUTING);
  }
  if (get(FIELD_LENGTH) > wayMtu && (get(FIELD_FACTS) & FACT_DF) != 0) {
    icmpError((3 << 8) | 4);
    return drop(WHERE_ROUTING);
  }
  if (wayLocal) return unmodelled(UNMODELLED_FORWARD_LO);
  set(FIELD_TTL, ttl - 1);
  if (redirects && icmpError((5 << 8) | 1)) redirect = (5 << 8) | 1;
  set(FIELD_OUT_IFACE, wayIface);
  enter(HOOK_FORWARD);
  if (!passes(TABLE_MANGLE, HOOK_FORWARD)) return false;
  if (!passes(TABLE_FILTER, HOOK_FORWARD)) return false;
  if (!passes(TABLE_SECURITY, HOOK_FORWARD)) return false;
  return postroute() && transmit(VERDICT_FORWARDED);
}

// -- out

/** raw_send_hdrinc(): a packet of the host is routed, without its source, before it meets any rule. */
function send(): void {
  const bound = boundIface;
  const errno = output(firewall, 0, get(FIELD_DST), get(FIELD_MARK), bound, true);
  if (errno != 0) {
    fail(WHERE_ROUTING, errno);
    return;
  }
  if (get(FIELD_LENGTH) > load<u32>(ifaceOf(firewall, pathIface), IFACE_MTU)) {
    fail(WHERE_ROUTING, ERRNO_EMSGSIZE);
    return;
  }
  if (get(FIELD_SRC) == 0 && pathSrc != 0) {
    set(FIELD_SRC, pathSrc);
    // the kernel does not sum up again
    if ((get(FIELD_FACTS) & FACT_SUMMED) != 0) set(FIELD_FACTS, get(FIELD_FACTS) | FACT_BAD_CHECKSUM);
  }
  if (!takePath()) return;
  set(FIELD_OUT_IFACE, wayIface);
  if (!open(HOOK_OUTPUT)) return;
  const state = get(FIELD_CT_STATE);
  set(FIELD_CT_STATE, CT_INVALID << 2);
  if (!passes(TABLE_RAW, HOOK_OUTPUT)) return;
  if (tracking() && !track(state, false)) return;
  const mark = get(FIELD_MARK);
  const tos = get(FIELD_TOS);
  if (!passes(TABLE_MANGLE, HOOK_OUTPUT)) return;
  if ((get(FIELD_MARK) != mark || get(FIELD_TOS) != tos) && !reroute(bound)) return;
  const dst = get(FIELD_DST);
  if (!nat(HOOK_OUTPUT, false)) return;
  if (get(FIELD_DST) != dst && !reroute(bound)) return;
  if (!passes(TABLE_FILTER, HOOK_OUTPUT)) return;
  if (!passes(TABLE_SECURITY, HOOK_OUTPUT)) return;
  leave();
  if (postroute()) transmit(VERDICT_SENT);
}

/** Makes what `output` found the packet's way. */
function takePath(): bool {
  if (pathGroup) return unmodelled(UNMODELLED_OWN_GROUP);
  wayIface = pathIface;
  wayVia = pathVia;
  wayMtu = pathMtu;
  wayLocal = pathLocal;
  routed = true;
  return true;
}

/** ip_route_me_harder(). The rest of OUTPUT goes on seeing the old interface. */
function reroute(bound: u32): bool {
  const errno = output(firewall, asSource(firewall, get(FIELD_SRC)), get(FIELD_DST), get(FIELD_MARK), bound, true);
  return errno == 0 ? takePath() : fail(HOOK_OUTPUT, errno);
}

function postroute(): bool {
  set(FIELD_OUT_IFACE, wayIface);
  enter(HOOK_POSTROUTING);
  return passes(TABLE_MANGLE, HOOK_POSTROUTING) && nat(HOOK_POSTROUTING, true);
}

function transmit(verdict: i32): bool {
  const long = get(FIELD_LENGTH) > wayMtu;
  if (long && (get(FIELD_FACTS) & FACT_DF) != 0) {
    icmpError((3 << 8) | 4);
    return fail(WHERE_TRANSMIT, ERRNO_EMSGSIZE);
  }
  if (wayIface == load<u32>(firewall, FIREWALL_LO)) {
    if (long) return unmodelled(UNMODELLED_FRAGMENTS_LO);
    set(FIELD_IN_IFACE, wayIface);
    set(FIELD_OUT_IFACE, 0);
    return receive();
  }
  store<u32>(out, wayIface, DECISION_IFACE);
  store<u32>(out, redirect, DECISION_REPLY);
  if (long) store<u16>(out, <u16>wayMtu, DECISION_MTU);
  return end(verdict, 0);
}

// -- answers: whether the host makes one

/** __icmp_send(): records the answer `type << 8 | code` if one is made. */
function icmpError(reply: u32): bool {
  if (frame() != FRAME_HOST || wayGroup) return false;
  const transport = get(FIELD_TRANSPORT);
  if (transport >= <u32>TRANSPORT_OFFSET_1) return false;
  if (get(FIELD_PROTO) == ICMP) {
    // only to what is surely no error itself
    const type = get(FIELD_ICMP) >> 8;
    if (transport == 0 || !(type == 0 || type == 8 || (type >= 13 && type <= 18))) return false;
  }
  if (output(firewall, wayLocal ? get(FIELD_DST) : 0, get(FIELD_SRC), 0, 0, false) != 0) return false;
  store<u32>(out, reply, DECISION_REPLY);
  return true;
}

/** reject_tg(): nf_send_unreach() and nf_send_reset(); NONE: nothing is answered. */
function rejection(kind: u32): u32 {
  const facts = get(FIELD_FACTS);
  if (get(FIELD_TRANSPORT) >= <u32>TRANSPORT_OFFSET_1 || (facts & FACT_BAD_CHECKSUM) != 0) return NONE;
  if (kind != REJECT_TCP_RESET) return icmpError((3 << 8) | kind) ? (3 << 8) | kind : NONE;
  if (get(FIELD_PROTO) != TCP || get(FIELD_TRANSPORT) < 20 || (get(FIELD_TCP_FLAGS) & 4) != 0 || wayGroup) return NONE;
  const errno = output(firewall, asSource(firewall, get(FIELD_DST)), get(FIELD_SRC), 0, boundIface, true);
  return errno == 0 ? REPLY_RESET : NONE;
}
