// Tests of a clause that no box can say, in order; stops at the first that is false.
//
// Memory (16 bytes for each limit, nth, chance or template, zero at first):
//   limit   f64 credits left, f64 clock of the last evaluation in credits, plus 1
//   nth     u32 evaluations, modulo `every`
//   quota   u64 bytes left, u64 1 once it has been asked
//   random  u32 number of the packet of the last evaluation, u32 evaluations for that packet; only where many rules draw for one
//           packet: else they stand in DRAWN

import {
  CLAUSE_TEST_COUNT,
  CLAUSE_TESTS,
  FACT_FRAME_SHIFT,
  FIELD_DST,
  FIELD_FACTS,
  FIELD_IN_IFACE,
  FIELD_LENGTH,
  FIELD_OUT_IFACE,
  FIELD_SRC,
  FIELD_TRANSPORT,
  FIELD_TTL,
  FRAME_HOST,
  FRAME_MULTICAST,
  MSS_BROKEN,
  MSS_KNOWN,
  ORIGIN_FLAGS,
  ORIGIN_HAS_MAC,
  ORIGIN_HAS_OWNER,
  ORIGIN_HAS_SOCKET,
  ORIGIN_MAC_HIGH,
  ORIGIN_MAC_LOW,
  ORIGIN_MSS,
  RECENT_DST,
  SET_INDEXED,
  TEST_A,
  TEST_B,
  TEST_BPF,
  TEST_BYTES,
  TEST_C,
  TEST_CLUSTER,
  TEST_CONNBYTES,
  TEST_CONNECTION,
  TEST_CONNLIMIT,
  TEST_FIELD,
  TEST_HASHLIMIT,
  TEST_INTACT,
  TEST_IPSET,
  TEST_KIND,
  TEST_LIMIT,
  TEST_MAC,
  TEST_MASKED,
  TEST_MSS,
  TEST_NEGATED,
  TEST_NFT_LIMIT,
  TEST_NTH,
  TEST_OWNER,
  TEST_QUOTA,
  TEST_RANDOM,
  TEST_RECENT,
  TEST_RPFILTER,
  TEST_SET,
  TEST_SOCKET,
  TEST_SPI,
  TEST_STRING,
  TEST_TCP_OPTION,
  TEST_TIME,
  TRANSPORT_LATER,
  TRANSPORT_OFFSET_1,
} from "../src/layout";
import { chance } from "./chance";
import { asksBytes } from "./bytes";
import { countConnections, UNCOUNTED } from "./connlimit";
import { ct, hasCarried, isAsked, TEMPLATE } from "./conntrack";
import { srcOf } from "./flow";
import { hashOfOne, scaled } from "./hash";
import { belowRate } from "./hashlimit";
import { inIpset } from "./ipset";
import { origin } from "./origin";
import { is, IS_ORPHAN } from "./packet";
import { dataOf } from "./program";
import { recent } from "./recent";
import { hasWayBack } from "./rpfilter";
import { meetsTime } from "./time";
import { asksWhole } from "./whole";

export const FAILS: u32 = 0;
export const HOLDS: u32 = 1;
export const DROPPED: u32 = 2;

/** In front of a set that is indexed: for each value of the upper 16 bits how many intervals begin below, and all. */
const INDEX_BYTES: usize = 65537 * 4;

export const STATE_BYTES: usize = 16;

let states: usize = 0;
let seed: u32 = 0;
let packetIndex: u32 = 0;
/** Packets that have been begun. */
let begun: u32 = 0;
/** Of the packet, in seconds. */
export let now: f64 = 0;
/** When sets and tables were loaded: as the first packet came. */
export let loaded: f64 = 0;
let started = false;

export function setGuards(statesAt: usize, chanceSeed: u32): void {
  states = statesAt;
  seed = chanceSeed;
}

export function startPacket(index: u32, time: f64): void {
  packetIndex = index;
  begun++;
  now = time;
  if (started) return;
  started = true;
  loaded = time;
}

/** Where a rule's template keeps its connmark. `state`: the rule's memory. */
export function templateMark(state: u32): usize {
  return states + <usize>state * STATE_BYTES + 8;
}

/** How often a rule has drawn for this packet: u32 packet, evaluations, memory of the rule. Its memory itself is seldom near. */
const DRAWN_SLOTS: u32 = 64;
const DRAWN = memory.data(1024);

/** What the rule draws for this packet: each call draws anew. `state`: its memory. */
export function draw(state: u32, rule: u32): u32 {
  let at = DRAWN + ((<usize>(state & (DRAWN_SLOTS - 1))) << 4);
  const isAnothers = load<u32>(at) == begun && load<u32>(at, 8) != state;
  if (isAnothers) at = states + <usize>state * STATE_BYTES;
  const drawn = load<u32>(at) == begun ? load<u32>(at, 4) : 0;
  store<u32>(at, begun);
  store<u32>(at, drawn + 1, 4);
  if (!isAnothers) store<u32>(at, state, 8);
  return chance(seed, rule, packetIndex, drawn);
}

/** The packet's socket is of that kind. */
function has(bit: u32): bool {
  return (load<u32>(origin, ORIGIN_FLAGS) & bit) != 0 && !is(IS_ORPHAN);
}

export function holds(program: usize, clause: usize, packet: usize): u32 {
  const data = dataOf(program);
  let test = data + load<u32>(clause, CLAUSE_TESTS);
  const end = test + load<u32>(clause, CLAUSE_TEST_COUNT) * TEST_BYTES;
  for (; test < end; test += TEST_BYTES) {
    const kind = load<u32>(test, TEST_KIND);
    const a = load<u32>(test, TEST_A);
    const b = load<u32>(test, TEST_B);
    const negated = load<u32>(test, TEST_NEGATED) != 0;
    let good: bool;
    if (kind == TEST_MASKED) {
      good = (((load<u32>(packet + (load<u32>(test, TEST_FIELD) << 2)) & a) == b) as bool) != negated;
    } else if (kind == TEST_SET) {
      good = inSet(data + a, b, load<u32>(packet + (load<u32>(test, TEST_FIELD) << 2)));
      const other = <usize>load<u32>(test, TEST_C);
      if (!good && other != 0) good = inSet(data + a, b, load<u32>(packet + (other << 2)));
    } else if (kind == TEST_LIMIT) {
      good = limit(a, b, load<u32>(test, TEST_C));
    } else if (kind == TEST_NFT_LIMIT) {
      good = nftLimit(a, <f64>b + <f64>load<u32>(test, TEST_C) * 4294967296, load<u32>(test, TEST_FIELD));
    } else if (kind == TEST_NTH) {
      good = nth(a, b, load<u32>(test, TEST_C)) != negated;
    } else if (kind == TEST_INTACT) {
      const transport = load<u32>(packet, FIELD_TRANSPORT * 4);
      if (transport == TRANSPORT_OFFSET_1 && a == 20) return DROPPED;
      good = transport < <u32>TRANSPORT_OFFSET_1;
      if (good && transport < a) return DROPPED;
    } else if (kind >= <u32>TEST_SPI && kind <= <u32>TEST_TCP_OPTION) {
      const asked = asksBytes(test, data);
      if (asked == DROPPED) return DROPPED;
      good = asked == HOLDS;
    } else if (kind >= <u32>TEST_STRING && kind <= <u32>TEST_BPF) {
      const asked = asksWhole(test, packet, data);
      if (asked == DROPPED) return DROPPED;
      good = asked == HOLDS;
    } else if (kind == TEST_TIME) {
      good = meetsTime(data + a, load<u32>(test, TEST_C) != 0, now);
    } else if (kind == TEST_RPFILTER) {
      good = hasWayBack(packet, a) != negated;
    } else if (kind == TEST_RANDOM) {
      good = (((draw(b, load<u32>(test, TEST_C)) & 0x7fffffff) < a) as bool) != negated;
    } else if (kind == TEST_CLUSTER) {
      takeFromGroup(packet);
      if (ct == 0) return FAILS;
      const hash = ct == TEMPLATE ? 0 : hashOfOne(bswap<u32>(srcOf(ct, 0)), a);
      good = ((b >> scaled(hash, load<u32>(test, TEST_C))) & 1) != <u32>negated;
    } else if (kind == TEST_IPSET) {
      good = inIpset(a, packet, load<u32>(test, TEST_FIELD)) != negated;
    } else if (kind == TEST_MAC) {
      const iface = load<u32>(packet, FIELD_IN_IFACE * 4);
      good =
        iface != 0 &&
        iface != load<u32>(test, TEST_C) &&
        (load<u32>(origin, ORIGIN_FLAGS) & ORIGIN_HAS_MAC) != 0 &&
        ((load<u32>(origin, ORIGIN_MAC_HIGH) == a && load<u32>(origin, ORIGIN_MAC_LOW) == b) as bool) != negated;
    } else if (kind == TEST_OWNER) {
      if (!has(ORIGIN_HAS_OWNER)) good = negated;
      else good = ((load<u32>(origin + <usize>load<u32>(test, TEST_C)) - a <= b - a) as bool) != negated;
    } else if (kind == TEST_SOCKET) {
      good = has(ORIGIN_HAS_SOCKET) != negated;
    } else if (kind == TEST_MSS) {
      const mss = load<u32>(origin, ORIGIN_MSS);
      if (mss == MSS_BROKEN) return DROPPED;
      good = (((mss & MSS_KNOWN) != 0 && (mss & 0xffff) - a <= b - a) as bool) != negated;
    } else if (kind == TEST_RECENT) {
      const flags = load<u32>(test, TEST_FIELD);
      const address = load<u32>(packet + ((flags & RECENT_DST) != 0 ? FIELD_DST * 4 : FIELD_SRC * 4));
      const forwarded = load<u32>(packet, FIELD_OUT_IFACE * 4) != 0 && !has(ORIGIN_HAS_SOCKET);
      const ttl = load<u32>(packet, FIELD_TTL * 4) + <u32>forwarded;
      good = recent(a, flags, b, load<u32>(test, TEST_C), negated, address, ttl, floor<f64>(now * 1000 + 0.5));
    } else if (kind == TEST_HASHLIMIT) {
      const below = belowRate(a, packet);
      if (below == DROPPED) return DROPPED;
      good = (below == HOLDS) != negated;
    } else if (kind == TEST_CONNECTION) {
      if (ct == 0) good = load<u32>(test, TEST_C) != 0;
      else good = isAsked(load<u32>(test, TEST_FIELD), a, b) != negated;
    } else if (kind == TEST_CONNBYTES) {
      const range = data + a;
      // what stands for a connection in raw carries nothing
      if (ct == 0 || ct == TEMPLATE) return FAILS;
      good = hasCarried(load<u32>(test, TEST_FIELD), load<u64>(range), load<u64>(range, 8)) != negated;
    } else if (kind == TEST_CONNLIMIT) {
      const network = load<u32>(packet + (load<u32>(test, TEST_FIELD) << 2)) & b;
      const counted = countConnections(a, network, packet);
      if (counted == UNCOUNTED) return DROPPED;
      good = ((<u32>counted <= load<u32>(test, TEST_C)) as bool) != negated;
    } else if (kind == TEST_QUOTA) {
      good =
        quota(a, ((<u64>load<u32>(test, TEST_C)) << 32) | (<u64>b), load<u32>(packet, FIELD_LENGTH * 4)) != negated;
    } else {
      good = false;
    }
    if (!good) return FAILS;
  }
  return HOLDS;
}

/** A frame that all nodes got is taken for one to this host alone. */
function takeFromGroup(packet: usize): void {
  const facts = load<u32>(packet, FIELD_FACTS * 4);
  const isMulticast = load<u32>(packet, FIELD_DST * 4) >> 28 == 14;
  if (isMulticast || ((facts >> FACT_FRAME_SHIFT) & 3) != FRAME_MULTICAST) return;
  store<u32>(packet, facts ^ ((FRAME_MULTICAST ^ FRAME_HOST) << FACT_FRAME_SHIFT), FIELD_FACTS * 4);
}

/** `value` lies in one of `count` sorted intervals. */
function inSet(set: usize, count: u32, value: u32): bool {
  let lo: u32 = 0;
  let hi = count & ~(<u32>SET_INDEXED);
  if ((count & SET_INDEXED) != 0) {
    const entry = set - INDEX_BYTES + <usize>((value >> 16) << 2);
    lo = load<u32>(entry);
    hi = load<u32>(entry, 4);
  }
  // the last interval that begins at or below value
  while (lo < hi) {
    const middle = (lo + hi) >> 1;
    if (load<u32>(set + (middle << 3)) <= value) lo = middle + 1;
    else hi = middle;
  }
  return lo > 0 && value <= load<u32>(set + ((lo - 1) << 3), 4);
}

/** nth of xt_statistic.c: evaluation `packet` of every `every` holds, from 0. */
function nth(state: u32, every: u32, packet: u32): bool {
  const at = states + <usize>state * STATE_BYTES;
  const evaluation = load<u32>(at);
  store<u32>(at, evaluation + 1 == every ? 0 : evaluation + 1);
  return evaluation == packet;
}

/** quota_mt() of xt_quota.c; what does not fit leaves nothing for those behind it. */
function quota(state: u32, whole: u64, length: u32): bool {
  const at = states + <usize>state * STATE_BYTES;
  const left = load<u64>(at, 8) != 0 ? load<u64>(at) : whole;
  const fits = left >= <u64>length;
  store<u64>(at, fits ? left - <u64>length : 0);
  store<u64>(at, 1, 8);
  return fits;
}

/** The clock in credits. */
const CREDITS_PER_SECOND: f64 = 32000;

/** A bucket of `cap` credits, which come with the clock; a packet takes `cost`. */
function takes(state: u32, cost: f64, cap: f64, clock: f64): bool {
  const at = states + <usize>state * STATE_BYTES;
  const seen = load<f64>(at, 8);
  let left = cap;
  if (seen != 0) left = min<f64>(left, load<f64>(at) + clock - (seen - 1));
  store<f64>(at, clock + 1, 8);
  const good = left >= cost;
  store<f64>(at, good ? left - cost : left);
  return good;
}

/** limit_mt() of xt_limit.c. */
function limit(state: u32, cost: u32, cap: u32): bool {
  return takes(state, <f64>cost, <f64>cap, floor<f64>(now * CREDITS_PER_SECOND + 0.5));
}

/** nft_limit_eval() of nft_limit.c; credits are nanoseconds. */
function nftLimit(state: u32, cost: f64, burst: u32): bool {
  return takes(state, cost, cost * <f64>burst, floor<f64>(now * 1e9 + 0.5));
}
