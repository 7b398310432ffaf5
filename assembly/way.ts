// The packet's way through the host.
//
//   in --> raw PREROUTING, conntrack, mangle, nat --> route --+--> mangle INPUT, filter, security, nat INPUT --> delivered
//                                                             +--> TTL, MTU --> mangle FORWARD, filter, security --+
//   local --> route --> raw OUTPUT, conntrack, mangle (re-route), nat (re-route), filter, security ----------------+
//                                                             mangle POSTROUTING, nat POSTROUTING --> out <--------+
//
// What leaves by lo comes in by lo again, with its route and its connection. Each packet is copied, goes its whole way,
// and leaves a decision record. A hook without a chain costs a load.
//
// Order: nothing of a packet is begun before the last one is through, whatever the size of a batch. Look-ups, port choices,
// confirmations, guards, fragments and the ends of connections therefore come in the order of packets, and no two packets of
// a batch need to be told apart by what they share. Lots are drawn by a packet's number in the run, not in the batch. What is done
// ahead for a batch (`warm`) only loads. property-sequences.test.ts holds batches of 1, 7, 512 and all packets to each other.
//
// What the host answers (a reset, an ICMP error) is a packet of its own. It goes its way through OUTPUT and POSTROUTING at
// the moment when the kernel makes it, in the middle of the way of the packet that it answers: that one is put aside, and
// goes on when the answer has ended. An answer may be answered too (a reset that OUTPUT rejects), but an ICMP error never
// is, so three levels are enough. Where nobody asks what became of answers, they still move counters and guards.
//
// Follows ip_rcv_finish_core(), ip_forward(), ip_local_deliver(), ip_output(), __icmp_send() in net/ipv4, and
// nf_reject_ipv4.c, nf_nat_core.c under net/.

import {
  ACTION_ACCEPT,
  ACTION_DROP,
  ACTION_MASQUERADE,
  ACTION_NETMAP,
  ACTION_REDIRECT,
  ACTION_REJECT,
  CLAUSE_ACTION,
  CLAUSE_ARG,
  CLAUSE_ARG2,
  CLAUSE_RULE,
  CT_ESTABLISHED,
  CT_FIRST,
  CT_INVALID,
  CT_NEW,
  CT_RELATED,
  CT_UNTRACKED,
  DECISION_ANSWER_END,
  DECISION_BYTES,
  DECISION_DNAT_RULE,
  DECISION_ERRNO,
  DECISION_EVENT_END,
  DECISION_SNAT_RULE,
  DECISION_TRACE_END,
  DETAIL_BYTES,
  DETAIL_CHOSEN,
  ERRNO_EIO,
  ERRNO_EMSGSIZE,
  DROP_UNTOLD,
  FACT_BAD_CHECKSUM,
  FACT_BOUND,
  FACT_DF,
  FACT_FRAME_SHIFT,
  FACT_MALFORMED,
  FACT_LOCAL,
  FACT_ODD,
  FACT_SOURCE_ROUTED,
  FACT_SUMMED,
  FIELD_CT_STATE,
  FIELD_DST,
  FIELD_FACTS,
  FIELD_IN_IFACE,
  FIELD_LENGTH,
  FIELD_MARK,
  FIELD_OUT_IFACE,
  FIELD_PROTO,
  FIELD_SRC,
  FIELD_TOS,
  FIELD_TTL,
  FIREWALL_CHECKSUM,
  FIREWALL_DRAWS,
  FIREWALL_DATAGRAMS,
  FIREWALL_FLAGS,
  FIREWALL_LO,
  FIREWALL_NAT,
  FIREWALL_NFT,
  FIREWALL_ODD,
  FIREWALL_TRACKING,
  FLOW_MASQUERADE,
  FRAME_BROADCAST,
  FRAME_HOST,
  FRAME_MULTICAST,
  FRAME_OTHERHOST,
  GATHERER_DELIVERY,
  GATHERER_INCOMING,
  GATHERER_OUTGOING,
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
  NAT_ADDRESS_HI,
  NAT_ADDRESS_LO,
  NONE,
  PACKET_BYTES,
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
  STATUS_DESTINATION_DONE,
  STATUS_DRAWN,
  STATUS_SOURCE_DONE,
  TABLE_FILTER,
  TABLE_MANGLE,
  TABLE_NAT,
  TABLE_RAW,
  TABLE_SECURITY,
  UNMODELLED_ENDLESS,
  UNMODELLED_BYTES,
  UNMODELLED_PROTOCOL,
  UNMODELLED_SOURCE_ROUTE,
  VERDICT_FORWARDED,
  VERDICT_SENT,
  WHERE_BEFORE_NETFILTER,
  WHERE_ROUTING,
  WHERE_TRANSMIT,
} from "../src/layout";
import { answerCount, frame, icmpError, reject } from "./answer";
import {
  beginTold,
  clearTemplate,
  confirm,
  ct,
  ctReply,
  endConnection,
  eventCount,
  kill,
  startConnection,
  takeTemplateOff,
  track,
  TRACK_DROPPED,
  TRACK_UNKNOWN,
  warm,
  WARMED,
} from "./conntrack";
import { dstOf, srcOf, statusOf } from "./flow";
import {
  accept,
  arriveAt,
  beginLog,
  depart,
  drop,
  dropTwin,
  endLog,
  enter,
  fail,
  hold,
  isUnmodelled,
  prepareLog,
  refuse,
  showLot,
  showState,
  unmodelled,
} from "./log";
import { beginPacket, dropper, run, tell, traceCount, withhold } from "./look-up";
import { copyRecord } from "./memory";
import { bind, bindNothing, bindTo, translate, translateError, translates } from "./nat";
import { addToSum, origin } from "./origin";
import {
  beginSkb,
  clearBits,
  CURRENT,
  detail,
  fork,
  get,
  is,
  IS_AS_IT_CAME,
  IS_ANSWER_TO_UNTRACKED,
  IS_BROADCAST,
  IS_FORWARDED,
  IS_LOCAL,
  IS_MULTICAST,
  IS_ROUTED,
  IS_SHORT,
  IS_SUMMED,
  IS_TRACKED,
  isQueueEmpty,
  orphan,
  out,
  putAside,
  queue,
  set,
  setBits,
  splitOff,
  SKB_BOUND,
  SKB_IFACE,
  SKB_LONGEST,
  SKB_MTU,
  SKB_TOLD,
  SKB_VIA,
  takeBack,
  unqueue,
} from "./packet";
import { become, cutInto, firstPiece, isFragment, isGathered, leaveInPieces, pull, pullForRouting } from "./pieces";
import { takesError, takesRedirect } from "./peers";
import { dataOf } from "./program";
import { ICMP, SCTP, TCP, UDP } from "./protocol";
import {
  ALL_HOSTS,
  asSource,
  ifaceFlags,
  ifaceOf,
  isLoopback,
  isMulticast,
  isUp,
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

export let firewall: usize = 0;
/** Its FIREWALL_ bits. */
let flags: u32 = 0;
/** Bit table * 5 + hook: there is such a chain. */
let chains: u32 = 0;
/** What leaves by lo has to wait. */
let busy = false;
/** How often something has left by lo; at most so often, which is more than any TTL lasts. */
let rounds: u32 = 0;
const MOST_ROUNDS: u32 = 1000;
/** Details of packets that have none. */
const NO_DETAIL = memory.data(128, 16);

/**
 * Sends `count` packet records their whole way; one decision record each. `details`: a detail record for each, 0: there
 * are none. `times`: f64 seconds for each, 0: always 0. `forgets`: each is the first of its flow.
 */
export function way(
  firewallAt: usize,
  packets: usize,
  details: usize,
  count: u32,
  decisions: usize,
  firstIndex: u32,
  times: usize,
  forgets: bool,
): void {
  firewall = firewallAt;
  flags = load<u32>(firewall, FIREWALL_FLAGS);
  chains = 0;
  for (let i: u32 = 0; i < 25; i++) chains |= (<u32>(load<u32>(firewall + (i << 2)) != 0)) << i;
  prepareLog();
  for (let i: u32 = 0; i < count; i++) {
    if (i % WARMED == 0) warm(packets + <usize>i * PACKET_BYTES, min(WARMED, count - i));
    rounds = 0;
    copyRecord(CURRENT, packets + <usize>i * PACKET_BYTES);
    const decision = decisions + <usize>i * DECISION_BYTES;
    const time = times == 0 ? 0 : load<f64>(times + ((<usize>i) << 3));
    beginPacket(firstIndex + i, time);
    startConnection(firewall, time);
    beginSkb(
      decision,
      details == 0 ? NO_DETAIL : details + <usize>i * DETAIL_BYTES,
      get(FIELD_CT_STATE),
      (get(FIELD_FACTS) & FACT_BOUND) != 0 ? get(FIELD_OUT_IFACE) : 0,
      0,
    );
    beginLog();
    if ((get(FIELD_FACTS) & FACT_LOCAL) != 0) {
      set(FIELD_IN_IFACE, 0);
      busy = false;
      send();
    } else {
      arrive();
    }
    endLog();
    endConnection(forgets);
    store<u32>(decision, traceCount(), DECISION_TRACE_END);
    store<u16>(decision, <u16>answerCount(), DECISION_ANSWER_END);
    store<u32>(decision, eventCount(), DECISION_EVENT_END);
  }
}

// -- chains

export function flag(bit: u32): bool {
  return (flags & bit) != 0;
}

function isLo(iface: u32): bool {
  return iface == load<u32>(firewall, FIREWALL_LO);
}

function wayIface(): u32 {
  return load<u32>(CURRENT, SKB_IFACE);
}

export function wayMtu(): u32 {
  return load<u32>(CURRENT, SKB_MTU);
}

/** Where the link takes the packet: the gateway, or the destination itself. */
function nextHop(): u32 {
  const via = load<u32>(CURRENT, SKB_VIA);
  return via == NONE ? get(FIELD_DST) : via;
}

/** Enters PREROUTING or OUTPUT, where fragments may be put together. */
function open(hook: i32): bool {
  enter(hook);
  if (!flag(FIREWALL_DATAGRAMS) || !isFragment() || isUntracked()) return true;
  return isGathered(hook == HOOK_OUTPUT ? GATHERER_OUTGOING : GATHERER_INCOMING) || hold(hook);
}

/** ... and is known to be. */
function isUntracked(): bool {
  return is(IS_TRACKED) && get(FIELD_CT_STATE) >> 2 == CT_UNTRACKED;
}

function programOf(table: i32, hook: i32): usize {
  const odd = (get(FIELD_FACTS) & FACT_ODD) != 0;
  return <usize>load<u32>(firewall + <usize>(odd ? FIREWALL_ODD : 0) + <usize>((table * 5 + hook) << 2));
}

/** Runs the chain of a table other than nat, if there is one; false: the packet has ended. */
function passes(table: i32, hook: i32): bool {
  return ((chains >> (table * 5 + hook)) & 1) == 0 || passesChain(table, hook);
}

function passesChain(table: i32, hook: i32): bool {
  const program = programOf(table, hook);
  const clause = run(program, CURRENT);
  if (clause == 0) return refuse(hook, load<u32>(dropper, CLAUSE_RULE));
  const action = load<u32>(clause, CLAUSE_ACTION);
  const rule = load<u32>(clause, CLAUSE_RULE);
  if (action == ACTION_ACCEPT) {
    if (table == TABLE_FILTER) accept(rule);
    return true;
  }
  if (action == ACTION_REJECT) {
    // iptables-nft tells of a rule when its target is through
    const met = flag(FIREWALL_NFT) ? withhold() : NONE;
    reject(firewall, load<u32>(clause, CLAUSE_ARG));
    tell(met);
  }
  return refuse(hook, rule, isTold(clause, action));
}

function isTold(clause: usize, action: u32): bool {
  return action != ACTION_DROP || load<u32>(clause, CLAUSE_ARG) != DROP_UNTOLD;
}

/** Before conntrack there is no connection, and rules see INVALID; over lo the packet brings the one it has. */
function hideState(): void {
  clearTemplate();
  if (!is(IS_TRACKED)) set(FIELD_CT_STATE, CT_INVALID << 2);
}

/** Conntrack sees the packet, unless it has one already; false: dropped, or not modelled. */
function meetConntrack(hook: i32): bool {
  takeTemplateOff(CURRENT);
  if (is(IS_TRACKED) || !flag(FIREWALL_TRACKING)) return true;
  // a rule of raw may have said that it is not to be tracked
  if (get(FIELD_CT_STATE) >> 2 == CT_UNTRACKED) {
    setBits(IS_TRACKED);
    return true;
  }
  const told = load<u32>(CURRENT, SKB_TOLD);
  if (told != CT_FIRST) {
    set(FIELD_CT_STATE, told);
    if (told >> 2 == CT_NEW) beginTold(CURRENT);
    setBits(IS_TRACKED);
    return true;
  }
  if (hook == HOOK_PREROUTING && flag(FIREWALL_CHECKSUM)) {
    if (isSummedUp()) setBits(IS_SUMMED);
    // sctp_error() makes the header writable
    if (get(FIELD_PROTO) == SCTP && (get(FIELD_FACTS) & FACT_MALFORMED) == 0) pull();
  }
  const result = track(CURRENT, detail(), hook == HOOK_PREROUTING);
  if (result == TRACK_UNKNOWN) return unmodelled(UNMODELLED_PROTOCOL);
  if (result == TRACK_DROPPED) return refuse(hook, NONE);
  if (ct != 0) setBits(IS_TRACKED);
  // an ICMP error of which conntrack finds no connection keeps what it has
  if (get(FIELD_PROTO) != ICMP) clearBits(IS_ANSWER_TO_UNTRACKED);
  return true;
}

/** Its checksum is right, and conntrack sums it up where it comes in. */
function isSummedUp(): bool {
  const proto = get(FIELD_PROTO);
  return (get(FIELD_FACTS) & FACT_BAD_CHECKSUM) == 0 && (proto == TCP || proto == UDP || proto == ICMP);
}

/** The answer will show a port that was drawn by lot. */
function showDrawn(): void {
  if ((statusOf(ct) & STATUS_DRAWN) != 0) showLot();
}

/** nf_nat_ipv4_fn(): rules for a first packet, and their result for all; false: dropped. */
function nat(hook: i32, source: bool): bool {
  if (ct == 0 || !flag(FIREWALL_NAT)) return true;
  const state = get(FIELD_CT_STATE) >> 2;
  if (state == CT_RELATED && get(FIELD_PROTO) == ICMP) {
    showDrawn();
    if (translates(source)) pull();
    return translateError(CURRENT, detail(), source) ? true : refuse(hook, NONE);
  }
  if (state != CT_ESTABLISHED && (statusOf(ct) & (source ? STATUS_SOURCE_DONE : STATUS_DESTINATION_DONE)) == 0) {
    const program = programOf(TABLE_NAT, hook);
    const clause: usize = program == 0 ? 0 : run(program, CURRENT);
    if (program != 0 && clause == 0) return refuse(hook, load<u32>(dropper, CLAUSE_RULE));
    const action = program == 0 ? ACTION_ACCEPT : load<u32>(clause, CLAUSE_ACTION);
    if (action == ACTION_ACCEPT) {
      bindNothing(source, load<u32>(firewall, FIREWALL_DRAWS));
    } else {
      const rule = load<u32>(clause, CLAUSE_RULE);
      if (action == ACTION_DROP || action == ACTION_REJECT) return refuse(hook, rule, isTold(clause, action));
      if (!setUp(program, clause, action, hook, source)) return refuse(hook, rule);
      if (source) store<u32>(out(), rule, DECISION_SNAT_RULE);
      else store<u32>(out(), rule, DECISION_DNAT_RULE);
    }
  } else if (hook == HOOK_POSTROUTING && ctReply == 0) {
    // what was hidden behind an address of another interface than it leaves by now: nf_nat_oif_changed()
    const masquerade = load<u16>(ct, FLOW_MASQUERADE);
    if (masquerade != 0 && masquerade != <u16>wayIface()) {
      kill(ct);
      return refuse(hook, NONE);
    }
  }
  showDrawn();
  if (is(IS_SHORT) && translates(source)) pull();
  return translate(CURRENT, source) ? true : refuse(hook, NONE);
}

/** What a NAT target does; false: there is no address to translate to. */
function setUp(program: usize, clause: usize, action: u32, hook: i32, source: bool): bool {
  const record = dataOf(program) + load<u32>(clause, CLAUSE_ARG);
  const state = load<u32>(clause, CLAUSE_ARG2);
  const rule = load<u32>(clause, CLAUSE_RULE);
  let address: u32 = 0;
  if (action == ACTION_REDIRECT) {
    address = hook == HOOK_OUTPUT ? 0x7f000001 : load<u32>(ifaceOf(firewall, get(FIELD_IN_IFACE)), IFACE_ADDRESS);
    if (address == NONE) return false;
  } else if (action == ACTION_MASQUERADE) {
    // who has no address yet keeps none: nf_nat_masquerade_ipv4()
    if (srcOf(ct, 0) == 0) {
      bindNothing(source, load<u32>(firewall, FIREWALL_DRAWS));
      return true;
    }
    address = selectAddress(firewall, wayIface(), nextHop());
    if (address == 0) return false;
    store<u16>(ct, <u16>wayIface(), FLOW_MASQUERADE);
  } else if (action == ACTION_NETMAP) {
    const mask = load<u32>(record, NAT_ADDRESS_HI);
    address = (get(source ? FIELD_SRC : FIELD_DST) & ~mask) | load<u32>(record, NAT_ADDRESS_LO);
  } else {
    bind(record, source, state, rule);
    return true;
  }
  bindTo(address, record, source, state, rule);
  return true;
}

/** The end of INPUT and POSTROUTING; false: another connection has the same tuple. */
function settle(hook: i32): bool {
  return confirm() ? true : refuse(hook, NONE);
}

/** PREROUTING or OUTPUT is over. */
function leave(): void {
  if (flag(FIREWALL_TRACKING)) showState();
}

// -- in

function arrive(): void {
  if ((ifaceFlags(firewall, get(FIELD_IN_IFACE)) & IFACE_UP) == 0) {
    fail(WHERE_ROUTING, ERRNO_EIO);
    return;
  }
  if (frame() == FRAME_OTHERHOST) {
    drop(WHERE_BEFORE_NETFILTER);
    return;
  }
  set(FIELD_OUT_IFACE, 0);
  busy = true;
  receive();
  busy = false;
  if (!isQueueEmpty()) drain();
}

function receive(): bool {
  if (!open(HOOK_PREROUTING)) return false;
  hideState();
  if (!passes(TABLE_RAW, HOOK_PREROUTING)) return false;
  if (!meetConntrack(HOOK_PREROUTING)) return false;
  if (!passes(TABLE_MANGLE, HOOK_PREROUTING)) return false;
  const dst = get(FIELD_DST);
  if (!nat(HOOK_PREROUTING, false)) return false;
  if (get(FIELD_DST) != dst) clearBits(IS_ROUTED);
  leave();
  // what the host has sent keeps its route
  if (!is(IS_ROUTED)) return routeInput();
  if (is(IS_FORWARDED)) return forward(false);
  return is(IS_LOCAL) ? deliver() : drop(WHERE_ROUTING);
}

/** ip_route_input_rcu(), and ip_error() for what it refuses. */
function routeInput(): bool {
  pullForRouting();
  const src = get(FIELD_SRC);
  const dst = get(FIELD_DST);
  const iface = get(FIELD_IN_IFACE);
  const flags = ifaceFlags(firewall, iface);
  const mark = get(FIELD_MARK);
  if (isMulticast(dst)) {
    // only the group of all hosts is joined; ip_mc_validate_source()
    if (dst != ALL_HOSTS || isMulticast(src) || src == LIMITED_BROADCAST) return drop(WHERE_ROUTING);
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
    return toHost(0);
  }
  const forwarding = (flags & IFACE_FORWARDING) != 0;
  if (type == ROUTE_UNICAST && forwarding) {
    const outIface = load<u32>(route, ROUTE_IFACE);
    const source = validSource(firewall, src, dst, iface, outIface, mark);
    if (source == SOURCE_REFUSED) return drop(WHERE_ROUTING);
    if (!mayBeRouted(flags)) return false;
    store<u32>(CURRENT, outIface, SKB_IFACE);
    store<u32>(CURRENT, load<u32>(route, ROUTE_VIA), SKB_VIA);
    store<u32>(CURRENT, load<u32>(route, ROUTE_MTU), SKB_MTU);
    setBits(IS_ROUTED | IS_FORWARDED);
    return forward(outIface == iface && source == SOURCE_ON_LINK && (flags & IFACE_SEND_REDIRECTS) != 0);
  }
  if (!mayBeRouted(flags)) return false;
  if (forwarding) {
    const code = type == ROUTE_NONE ? 0 : type == ROUTE_UNREACHABLE ? 1 : type == ROUTE_PROHIBIT ? 13 : -1;
    if (code >= 0 && takesError(src)) icmpError(firewall, (3 << 8) | code, 0);
  }
  return drop(WHERE_ROUTING);
}

/** It asks for no route of its own; otherwise it is dropped. */
function mayBeRouted(flags: u32): bool {
  if ((get(FIELD_FACTS) & FACT_SOURCE_ROUTED) == 0) return true;
  return (flags & IFACE_SOURCE_ROUTE) != 0 ? unmodelled(UNMODELLED_SOURCE_ROUTE) : drop(WHERE_ROUTING);
}

function toGroup(src: u32, iface: u32, mark: u32): bool {
  if (src != 0 && validSource(firewall, src, 0, iface, 0, mark) == SOURCE_REFUSED) return drop(WHERE_ROUTING);
  return toHost(isMulticast(get(FIELD_DST)) ? IS_MULTICAST : IS_BROADCAST);
}

/** `group`: IS_ bit of the group that it was sent to, or 0. */
function toHost(group: u32): bool {
  if (!mayBeRouted(ifaceFlags(firewall, get(FIELD_IN_IFACE)))) return false;
  store<u32>(CURRENT, load<u32>(firewall, FIREWALL_LO), SKB_IFACE);
  store<u32>(CURRENT, NONE, SKB_VIA);
  setBits(IS_ROUTED | IS_LOCAL | group);
  return deliver();
}

function deliver(): bool {
  if (isFragment() && !isGathered(GATHERER_DELIVERY)) return drop(WHERE_ROUTING);
  enter(HOOK_INPUT);
  set(FIELD_OUT_IFACE, 0);
  if (!passes(TABLE_MANGLE, HOOK_INPUT)) return false;
  if (!passes(TABLE_FILTER, HOOK_INPUT)) return false;
  // iptables-nft has security behind nat
  const natFirst = flag(FIREWALL_NFT);
  if (natFirst && !nat(HOOK_INPUT, true)) return false;
  if (!passes(TABLE_SECURITY, HOOK_INPUT)) return false;
  if (!natFirst && !nat(HOOK_INPUT, true)) return false;
  if (!settle(HOOK_INPUT)) return false;
  arriveAt(get(FIELD_IN_IFACE));
  return true;
}

/** ip_forward(); `redirects`: a neighbour sent what it could have sent directly. */
function forward(redirects: bool): bool {
  if (frame() != FRAME_HOST) return drop(WHERE_ROUTING);
  const ttl = get(FIELD_TTL);
  if (ttl <= 1) {
    icmpError(firewall, 11 << 8, 0);
    return drop(WHERE_ROUTING);
  }
  if (get(FIELD_LENGTH) > wayMtu() && isTooLong()) {
    icmpError(firewall, (3 << 8) | 4, wayMtu());
    return drop(WHERE_ROUTING);
  }
  set(FIELD_TTL, ttl - 1);
  if (redirects && takesRedirect(get(FIELD_SRC))) icmpError(firewall, (5 << 8) | 1, nextHop());
  set(FIELD_OUT_IFACE, wayIface());
  enter(HOOK_FORWARD);
  if (!passes(TABLE_MANGLE, HOOK_FORWARD)) return false;
  if (!passes(TABLE_FILTER, HOOK_FORWARD)) return false;
  if (!passes(TABLE_SECURITY, HOOK_FORWARD)) return false;
  return postroute() && transmit(VERDICT_FORWARDED);
}

/** It may not be cut, and does not fit, nor do all fragments that it came in. */
function isTooLong(): bool {
  const longest = load<u32>(CURRENT, SKB_LONGEST);
  return (get(FIELD_FACTS) & FACT_DF) != 0 && (longest == 0 || longest > wayMtu());
}

// -- out

/** raw_send_hdrinc(): a packet of the host is routed, without its source, before it meets any rule. */
function send(): void {
  const errno = output(firewall, 0, get(FIELD_DST), get(FIELD_MARK), load<u32>(CURRENT, SKB_BOUND), true);
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
    addToSum((pathSrc >> 16) + (pathSrc & 0xffff));
    store<u32>(detail(), pathSrc, DETAIL_CHOSEN * 4);
  }
  takePath();
  leaveHost();
}

/** From OUTPUT on. */
function leaveHost(): bool {
  set(FIELD_OUT_IFACE, wayIface());
  if (!open(HOOK_OUTPUT)) return false;
  hideState();
  if (!passes(TABLE_RAW, HOOK_OUTPUT)) return false;
  if (!meetConntrack(HOOK_OUTPUT)) return false;
  const mark = get(FIELD_MARK);
  const tos = get(FIELD_TOS);
  if (!passes(TABLE_MANGLE, HOOK_OUTPUT)) return false;
  if ((get(FIELD_MARK) != mark || get(FIELD_TOS) != tos) && !reroute()) return false;
  if (!nat(HOOK_OUTPUT, false)) return false;
  if (isRedirected() && !reroute()) return false;
  if (!passes(TABLE_FILTER, HOOK_OUTPUT)) return false;
  if (!passes(TABLE_SECURITY, HOOK_OUTPUT)) return false;
  leave();
  if (is(IS_LOCAL) && is(IS_BROADCAST | IS_MULTICAST) && !isLo(wayIface())) {
    copyBack();
    if (isUnmodelled()) return false;
    // a multicast without life goes no further than the host
    if (is(IS_MULTICAST) && get(FIELD_TTL) == 0) return busy ? drop(WHERE_TRANSMIT) : dropTwin();
  }
  return postroute() && transmit(VERDICT_SENT);
}

/** ip_mc_output(): of what is sent to a group of which the host is, a copy comes in again. */
function copyBack(): void {
  fork();
  const multicast = is(IS_MULTICAST);
  orphan();
  // the sender learns nothing of what becomes of it
  const errno = load<u8>(out(), DECISION_ERRNO);
  // what waits for a device that is down is dropped: enqueue_to_backlog()
  if (postroute() && isUp(firewall, wayIface())) loop(wayIface(), multicast ? FRAME_MULTICAST : FRAME_BROADCAST);
  store<u8>(out(), errno, DECISION_ERRNO);
  takeBack();
}

/** Its connection leads elsewhere than the packet was routed: nf_nat_ipv4_local_fn(). */
function isRedirected(): bool {
  return ct != 0 && flag(FIREWALL_NAT) && dstOf(ct, ctReply) != srcOf(ct, ctReply ^ 1);
}

/**
 * An answer of the host. What leaves by lo meanwhile comes in only when it is out: __icmp_send() and ipt_do_table() disable
 * bottom halves; resets of iptables-nft are sent without that.
 */
export function answerOut(resets: bool): void {
  const before = busy;
  if (!resets || !flag(FIREWALL_NFT)) busy = true;
  leaveHost();
  busy = before;
  if (!busy && !isQueueEmpty()) drain();
}

/** Makes what `output` found the packet's way. */
export function takePath(): void {
  store<u32>(CURRENT, pathIface, SKB_IFACE);
  store<u32>(CURRENT, pathVia, SKB_VIA);
  store<u32>(CURRENT, pathMtu, SKB_MTU);
  clearBits(IS_LOCAL | IS_BROADCAST | IS_MULTICAST);
  let bits = IS_ROUTED;
  if (pathLocal) bits |= IS_LOCAL;
  if (pathGroup) bits |= isMulticast(get(FIELD_DST)) ? IS_MULTICAST : IS_BROADCAST;
  setBits(bits);
}

/** ip_route_me_harder(). The rest of OUTPUT goes on seeing the old interface. */
function reroute(): bool {
  const src = asSource(firewall, get(FIELD_SRC));
  const errno = output(firewall, src, get(FIELD_DST), get(FIELD_MARK), load<u32>(CURRENT, SKB_BOUND), true);
  if (errno != 0) {
    refuse(HOOK_OUTPUT, NONE);
    return fail(HOOK_OUTPUT, errno);
  }
  takePath();
  return true;
}

function postroute(): bool {
  set(FIELD_OUT_IFACE, wayIface());
  enter(HOOK_POSTROUTING);
  return passes(TABLE_MANGLE, HOOK_POSTROUTING) && nat(HOOK_POSTROUTING, true) && settle(HOOK_POSTROUTING);
}

function transmit(verdict: i32): bool {
  if (get(FIELD_LENGTH) > wayMtu() || load<u32>(CURRENT, SKB_LONGEST) != 0) return transmitCut(verdict);
  if (isStopped()) return drop(WHERE_TRANSMIT);
  if (isLo(wayIface())) comeAgain();
  else depart(verdict, wayIface(), 0);
  return true;
}

/** What goes to a group may have to leave by an interface that is down. */
function isStopped(): bool {
  return is(IS_BROADCAST | IS_MULTICAST) && !isUp(firewall, wayIface());
}

/** ip_fragment(). */
function transmitCut(verdict: i32): bool {
  const mtu = wayMtu();
  if (isTooLong()) {
    icmpError(firewall, (3 << 8) | 4, mtu);
    return get(FIELD_IN_IFACE) == 0 ? fail(WHERE_TRANSMIT, ERRNO_EMSGSIZE) : drop(WHERE_TRANSMIT);
  }
  if (isStopped()) return drop(WHERE_TRANSMIT);
  const longest = load<u32>(CURRENT, SKB_LONGEST);
  const most = longest == 0 ? mtu : min(mtu, longest);
  if (!isLo(wayIface())) {
    leaveInPieces(out(), CURRENT, detail(), origin, most, is(IS_AS_IT_CAME));
    depart(verdict, wayIface(), most);
    return true;
  }
  const count = cutInto(most);
  const first = firstPiece();
  if (count == 0) return unmodelled(UNMODELLED_BYTES);
  for (let i: u32 = 0; i < count && !isUnmodelled(); i++) {
    splitOff();
    become(first + i);
    comeAgain();
    takeBack();
  }
  return true;
}

function comeAgain(): void {
  loop(wayIface(), is(IS_MULTICAST) ? FRAME_MULTICAST : FRAME_HOST);
}

// -- lo

/** The packet comes in again, by this interface: now, or behind what is being received. */
function loop(iface: u32, group: u32): void {
  // rules set the TTL anew in every round
  if (++rounds > MOST_ROUNDS) {
    unmodelled(UNMODELLED_ENDLESS);
    return;
  }
  set(FIELD_IN_IFACE, iface);
  set(FIELD_OUT_IFACE, 0);
  orphan();
  set(FIELD_FACTS, (get(FIELD_FACTS) & ~(3 << FACT_FRAME_SHIFT)) | (group << FACT_FRAME_SHIFT));
  queue();
  if (busy) return;
  putAside();
  drain();
  takeBack();
}

/** Receives all that waits. */
function drain(): void {
  while (unqueue()) {
    busy = true;
    receive();
    busy = false;
  }
}
