// Synthetic packets: each a function of the seed and its index alone, so that batches, threads and samples agree.
//
// Traffic that is drawn blindly meets no rules: nearly every packet would end at a policy. So three of the four kinds aim:
// a clause of the rules is drawn, and the packet is put into its box, where the box says nothing it takes what is
// plausible on this host (sources behind the interface by which it comes, destinations behind that by which it must
// leave). `edges` also stands on the bounds of the box and just outside them.
//
//   uniform  nothing is aimed: interface, addresses, protocol and ports are drawn at large
//   edges    aimed, a third of the bounded fields at lo - 1, lo, hi or hi + 1
//   flows    aimed at connections of some length: a first packet, then others in both directions, with their states told
//            (packets whose connections are followed are those of conversation.ts)
//   zipf     aimed at a fixed set of connections, the k-th drawn with a probability of about 1 / k

import {
  AIM_BYTES,
  AIM_HOOK,
  AIM_NAT,
  CT_ESTABLISHED,
  CT_INVALID,
  CT_NEW,
  CT_RELATED,
  FACT_DF,
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
  HOOK_FORWARD,
  HOOK_POSTROUTING,
  PACKET_BYTES,
  TRAFFIC_AIM_COUNT,
  TRAFFIC_AIMS,
  TRAFFIC_EDGES,
  TRAFFIC_FLOWS,
  TRAFFIC_IFACE_COUNT,
  TRAFFIC_KIND,
  TRAFFIC_OWN,
  TRAFFIC_OWN_COUNT,
  TRAFFIC_SEED,
  TRAFFIC_UNIFORM,
  TRAFFIC_WAY_COUNT,
  TRAFFIC_WAYS,
  TRAFFIC_ZIPF,
  WAY_BYTES,
  WAY_IFACE,
  WAY_PREFIX_COUNT,
  WAY_PREFIXES,
} from "../src/layout";
import { ACK, ICMP, SYN, TCP, UDP } from "./protocol";

/** Connections of `zipf`, and the reach of `flows` into the past. */
const FLOWS: u32 = 1 << 20;
const RECENT_FLOWS: u32 = 1024;
/** Packets of a flow, on average. */
const FLOW_LENGTH: u32 = 8;

let state: u64 = 0;

/** PCG XSH RR 64/32 (M. E. O'Neill, "PCG: A Family of Simple Fast Space-Efficient ... Generators"). */
export function draw(): u32 {
  const old = state;
  state = old * 6364136223846793005 + 1442695040888963407;
  return rotr<u32>(<u32>(((old >> 18) ^ old) >> 27), <u32>(old >> 59));
}

export function start(seed: u32, number: u64): void {
  let z = (number ^ ((<u64>seed) << 32)) + 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  state = z ^ (z >> 31);
}

/** 0..n-1. */
export function below(n: u32): u32 {
  return <u32>((<u64>draw() * <u64>n) >> 32);
}

function between(lo: u32, hi: u32): u32 {
  return lo + <u32>((<u64>draw() * (<u64>(hi - lo) + 1)) >> 32);
}

export let traffic: usize = 0;
let edges = false;

/** What is drawn from here on is drawn from this traffic, and not from the edges of its boxes. */
export function drawFrom(trafficAt: usize): void {
  traffic = trafficAt;
  edges = false;
}

/** Writes `count` records, those with the numbers from `first` on. */
export function generate(trafficAt: usize, packets: usize, count: u32, first: u32): void {
  traffic = trafficAt;
  const seed = load<u32>(traffic, TRAFFIC_SEED);
  const kind = load<u32>(traffic, TRAFFIC_KIND);
  edges = kind == TRAFFIC_EDGES;
  for (let i: u32 = 0; i < count; i++) {
    const packet = packets + <usize>i * PACKET_BYTES;
    const number = first + i;
    if (kind == TRAFFIC_FLOWS || kind == TRAFFIC_ZIPF) {
      // which connection, and where in it
      start(seed ^ 0x5bd1e995, number);
      let flow: u32;
      let fresh: bool;
      if (kind == TRAFFIC_FLOWS) {
        const age = below(FLOW_LENGTH) == 0 ? 0 : below(RECENT_FLOWS);
        flow = number / FLOW_LENGTH + RECENT_FLOWS - age;
        fresh = age == 0;
      } else {
        // log-uniform: P(k) is about 1 / (k ln FLOWS)
        flow = <u32>NativeMath.exp((<f64>draw() / 4294967296.0) * NativeMath.log(<f64>FLOWS)) - 1;
        fresh = below(FLOW_LENGTH) == 0;
      }
      const back = !fresh && (draw() & 1) != 0;
      const length = draw();
      start(seed, flow);
      aimed(packet);
      if (!fresh) follow(packet, back, length);
    } else {
      start(seed, number);
      if (kind == TRAFFIC_UNIFORM) blind(packet);
      else aimed(packet);
    }
  }
}

function put(packet: usize, field: i32, value: u32): void {
  store<u32>(packet + ((<usize>field) << 2), value);
}

function get(packet: usize, field: i32): u32 {
  return load<u32>(packet + ((<usize>field) << 2));
}

/** Turns a flow's first packet into a later one, perhaps of the other direction. */
function follow(packet: usize, back: bool, length: u32): void {
  const state = get(packet, FIELD_CT_STATE) >> 2;
  if (state == CT_NEW) put(packet, FIELD_CT_STATE, CT_ESTABLISHED << 2);
  if (get(packet, FIELD_PROTO) == TCP) put(packet, FIELD_TCP_FLAGS, ACK | ((length >> 28) & 8));
  put(packet, FIELD_LENGTH, 40 + (length & 1023));
  if (!back) return;
  const src = get(packet, FIELD_SRC);
  put(packet, FIELD_SRC, get(packet, FIELD_DST));
  put(packet, FIELD_DST, src);
  if (get(packet, FIELD_PROTO) != ICMP) {
    const sport = get(packet, FIELD_SPORT);
    put(packet, FIELD_SPORT, get(packet, FIELD_DPORT));
    put(packet, FIELD_DPORT, sport);
  }
  const ways = load<u32>(traffic, TRAFFIC_WAY_COUNT);
  if (ways != 0) put(packet, FIELD_IN_IFACE, wayOf(load<u32>(traffic, TRAFFIC_WAYS), ways, get(packet, FIELD_SRC)));
}

/** The first interface behind which the address lies (one with a default route stands last); of an address behind none the first of all. */
function wayOf(ways: usize, count: u32, address: u32): u32 {
  for (let w: u32 = 0; w < count; w++) {
    const way = ways + w * WAY_BYTES;
    const prefixes = <usize>load<u32>(way, WAY_PREFIXES);
    const n = load<u32>(way, WAY_PREFIX_COUNT);
    for (let p: u32 = 0; p < n; p++) {
      const lo = load<u32>(prefixes + (p << 3));
      if (lo <= address && address <= load<u32>(prefixes + (p << 3), 4)) return load<u32>(way, WAY_IFACE);
    }
  }
  return load<u32>(ways, WAY_IFACE);
}

function blind(packet: usize): void {
  common(packet);
  const ways = load<u32>(traffic, TRAFFIC_WAY_COUNT);
  if (ways != 0) {
    const way = load<u32>(traffic, TRAFFIC_WAYS) + below(ways) * WAY_BYTES;
    put(packet, FIELD_IN_IFACE, load<u32>(way, WAY_IFACE));
    put(packet, FIELD_OUT_IFACE, 0);
  } else {
    const ifaces = load<u32>(traffic, TRAFFIC_IFACE_COUNT) + 1;
    put(packet, FIELD_IN_IFACE, below(ifaces));
    put(packet, FIELD_OUT_IFACE, below(ifaces));
  }
  put(packet, FIELD_SRC, draw());
  put(packet, FIELD_DST, draw());
  protocol(packet, 0);
}

/** A prefix of the way, and an address in it. */
export function behind(way: usize): u32 {
  const n = load<u32>(way, WAY_PREFIX_COUNT);
  if (n == 0) return draw();
  const at = <usize>load<u32>(way, WAY_PREFIXES) + (below(n) << 3);
  return between(load<u32>(at), load<u32>(at, 4));
}

/** The way record of the interface; 0: none. */
export function wayFor(iface: u32): usize {
  const ways = <usize>load<u32>(traffic, TRAFFIC_WAYS);
  const n = load<u32>(traffic, TRAFFIC_WAY_COUNT);
  for (let w: u32 = 0; w < n; w++) {
    if (load<u32>(ways + w * WAY_BYTES, WAY_IFACE) == iface) return ways + w * WAY_BYTES;
  }
  return 0;
}

/** An interface of the box's range that has a way; 0: there is none, or the box asks for none. */
function wayIn(aim: usize, field: i32): usize {
  const lo = load<u32>(aim + ((<usize>field) << 3));
  const hi = load<u32>(aim + ((<usize>field) << 3), 4);
  if (lo == 0 && hi == 0xffffffff) return 0;
  const ways = load<u32>(traffic, TRAFFIC_WAY_COUNT);
  // a few tries find one where most qualify; else the range's lower end
  for (let tries = 0; tries < 4; tries++) {
    const way = <usize>load<u32>(traffic, TRAFFIC_WAYS) + below(ways) * WAY_BYTES;
    const iface = load<u32>(way, WAY_IFACE);
    if (lo <= iface && iface <= hi) return way;
  }
  return wayFor(lo);
}

/** A value for a field that the box bounds. */
function inBox(aim: usize, field: i32, max: u32): u32 {
  const lo = load<u32>(aim + ((<usize>field) << 3));
  const hi = min(load<u32>(aim + ((<usize>field) << 3), 4), max);
  if (edges) {
    const dice = draw();
    if (dice % 3 == 0) {
      const which = (dice >> 8) & 3;
      if (which == 0) return lo == 0 ? lo : lo - 1;
      if (which == 1) return lo;
      if (which == 2) return hi;
      return hi == max ? hi : hi + 1;
    }
  }
  return between(lo, hi);
}

function bounded(aim: usize, field: i32, max: u32): bool {
  return load<u32>(aim + ((<usize>field) << 3)) != 0 || load<u32>(aim + ((<usize>field) << 3), 4) < max;
}

function common(packet: usize): void {
  const dice = draw();
  put(packet, FIELD_MARK, 0);
  put(packet, FIELD_TTL, (dice & 0xff) == 0 ? 1 : 64);
  put(packet, FIELD_TOS, 0);
  put(packet, FIELD_LENGTH, (dice & 0x300) == 0 ? 1500 : 40 + ((dice >> 10) & 0x3ff));
  put(packet, FIELD_FACTS, (dice & 0x300) == 0 ? 0 : FACT_DF);
  put(packet, FIELD_ICMP, 0);
  put(packet, FIELD_TCP_FLAGS, 0);
  // a third are first packets; of the others nearly all belong to a connection
  const share = dice >> 24;
  let ctState: u32 = CT_NEW;
  if (share >= 84) ctState = CT_ESTABLISHED;
  if (share >= 236) ctState = CT_RELATED;
  if (share >= 248) ctState = CT_INVALID;
  put(packet, FIELD_CT_STATE, ctState << 2);
}

export function aimed(packet: usize): void {
  common(packet);
  const aims = load<u32>(traffic, TRAFFIC_AIM_COUNT);
  if (aims == 0) return blind(packet);
  const aim = <usize>load<u32>(traffic, TRAFFIC_AIMS) + <usize>below(aims) * AIM_BYTES;
  const ways = load<u32>(traffic, TRAFFIC_WAY_COUNT);
  const hook = load<u32>(aim, AIM_HOOK);
  if (ways == 0) {
    const ifaces = load<u32>(traffic, TRAFFIC_IFACE_COUNT);
    put(
      packet,
      FIELD_IN_IFACE,
      bounded(aim, FIELD_IN_IFACE, ifaces) ? inBox(aim, FIELD_IN_IFACE, ifaces) : below(ifaces + 1),
    );
    put(
      packet,
      FIELD_OUT_IFACE,
      bounded(aim, FIELD_OUT_IFACE, ifaces) ? inBox(aim, FIELD_OUT_IFACE, ifaces) : below(ifaces + 1),
    );
    put(packet, FIELD_SRC, inBox(aim, FIELD_SRC, 0xffffffff));
    put(packet, FIELD_DST, inBox(aim, FIELD_DST, 0xffffffff));
  } else {
    const random = <usize>load<u32>(traffic, TRAFFIC_WAYS) + below(ways) * WAY_BYTES;
    let inWay = wayIn(aim, FIELD_IN_IFACE);
    if (inWay == 0) inWay = random;
    put(packet, FIELD_IN_IFACE, load<u32>(inWay, WAY_IFACE));
    put(packet, FIELD_OUT_IFACE, 0);
    if (bounded(aim, FIELD_SRC, 0xffffffff)) put(packet, FIELD_SRC, inBox(aim, FIELD_SRC, 0xffffffff));
    else put(packet, FIELD_SRC, behind(inWay));
    if (bounded(aim, FIELD_DST, 0xffffffff)) {
      put(packet, FIELD_DST, inBox(aim, FIELD_DST, 0xffffffff));
    } else {
      const outWay = wayIn(aim, FIELD_OUT_IFACE);
      const through = hook == HOOK_FORWARD || hook == HOOK_POSTROUTING || (draw() & 1) != 0;
      const own = load<u32>(traffic, TRAFFIC_OWN_COUNT);
      if (outWay != 0) {
        put(packet, FIELD_DST, behind(outWay));
      } else if (through || own == 0) {
        put(packet, FIELD_DST, behind(<usize>load<u32>(traffic, TRAFFIC_WAYS) + below(ways) * WAY_BYTES));
      } else {
        const at = <usize>load<u32>(traffic, TRAFFIC_OWN) + (below(own) << 3);
        put(packet, FIELD_DST, between(load<u32>(at), load<u32>(at, 4)));
      }
    }
  }
  // nat sees first packets alone; too many of them, and most packets would end at the policies of nat
  const share = draw() % 10;
  if (load<u32>(aim, AIM_NAT) != 0) put(packet, FIELD_CT_STATE, (share < 7 ? CT_NEW : CT_ESTABLISHED) << 2);
  else if (bounded(aim, FIELD_CT_STATE, 19)) put(packet, FIELD_CT_STATE, inBox(aim, FIELD_CT_STATE, 19) & ~3);
  protocol(packet, aim);
}

/** Protocol, ports, ICMP type and flags: those of the box, or plausible ones. */
function protocol(packet: usize, aim: usize): void {
  const dice = draw();
  let proto: u32 = UDP;
  if (aim != 0 && bounded(aim, FIELD_PROTO, 255)) proto = inBox(aim, FIELD_PROTO, 255);
  else if (dice % 10 < 6) proto = TCP;
  else if (dice % 10 == 9) proto = ICMP;
  put(packet, FIELD_PROTO, proto);
  put(packet, FIELD_TRANSPORT, min(255, get(packet, FIELD_LENGTH) - 20));
  if (proto == ICMP) {
    const type =
      aim != 0 && bounded(aim, FIELD_ICMP, 0xffff) ? inBox(aim, FIELD_ICMP, 0xffff) : (dice & 0x10000 ? 8 : 0) << 8;
    put(packet, FIELD_ICMP, type);
    put(packet, FIELD_SPORT, dice >> 20);
    put(packet, FIELD_DPORT, 0);
    return;
  }
  if (proto != TCP && proto != UDP) {
    put(packet, FIELD_SPORT, 0);
    put(packet, FIELD_DPORT, 0);
    return;
  }
  put(
    packet,
    FIELD_SPORT,
    aim != 0 && bounded(aim, FIELD_SPORT, 0xffff) ? inBox(aim, FIELD_SPORT, 0xffff) : 1024 + below(64512),
  );
  put(
    packet,
    FIELD_DPORT,
    aim != 0 && bounded(aim, FIELD_DPORT, 0xffff)
      ? inBox(aim, FIELD_DPORT, 0xffff)
      : dice & 0x20000
        ? below(1024)
        : below(65536),
  );
  if (proto != TCP) return;
  const ctState = get(packet, FIELD_CT_STATE) >> 2;
  // one in sixteen has flags at random
  let flags: u32 = ctState == CT_NEW ? SYN : ACK;
  if (dice >> 28 == 0) flags = (dice >> 8) & 63;
  put(packet, FIELD_TCP_FLAGS, flags);
}
