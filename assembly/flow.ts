// Connections: a hash table of flow records.
//
// What it must do: find the flow of a packet by its tuple, in either direction, a few million times a second among a
// million flows that lie nowhere near a cache; say whether a tuple is taken; give all flows of a client socket; forget
// what has timed out; and cost at most 128 bytes a flow.
//
// A flow is one record of 112 bytes that never moves, so its address is its name. It stands in two chains of one table
// of heads (tuple -> flow), once for each direction: a link is the address of a record with the direction in its lowest
// bit. Open addressing would save the load of the head, but tuples would have to be moved when flows end, and each
// would have to be kept twice; chaining costs one more load, and that load can be under way early (`touch`): its address
// depends on the packet alone. Twice as many heads as flows keep chains at one or two records. Flows that have been set up
// for source translation stand in a third, doubly linked chain by client socket: it may be long (a resolver asks
// thousands of servers from one port), so leaving it must not cost a walk.
//
// Time is the packets' clock. A flow past its time is never found; it is freed when somebody meets it in a chain, or by
// the broom: each new flow sweeps four records further, round and round. So records in use are at most a third more than
// the flows alive, whatever the clock does. (A timer wheel would free them at once, but every packet would have to move
// its flow in it, or leave a trail of stale entries.) Only a full table needs to know at once: then all records are swept,
// unless none can have timed out since the last time.
//
// Packets come in batches, so the heads and records that the next ones will ask for are loaded side by side (`warm` in
// conntrack.ts): with a million flows that alone doubles the rate.
//
// Heads: 12 bytes for each flow that there may be (nf_conntrack_max, rounded up to a power of two). Records come in
// chunks as they are needed and are used again.
//
// Follows net/netfilter/nf_conntrack_core.c.

import {
  FLOW_BY_SOURCE_NEXT,
  FLOW_BY_SOURCE_PREVIOUS,
  FLOW_BYTES,
  FLOW_EXPIRES,
  FLOW_LINK,
  FLOW_PROTO,
  FLOW_STATUS,
  FLOW_TUPLE_BYTES,
  FLOW_TUPLE_DST,
  FLOW_TUPLE_PORTS,
  FLOW_TUPLE_SRC,
  FLOW_ZONE,
  STATUS_ASSURED,
  STATUS_CONFIRMED,
  STATUS_DYING,
  STATUS_SOURCE_DONE,
  STATUS_ZONE_ORIGINAL,
} from "../src/layout";
import { tellExpired } from "./conntrack";
import { allocate } from "./memory";

/** Flows that there may be. */
let most: u32 = 0;
/** Flows that there are, also those not yet confirmed and those whose time has passed. */
export let flowCount: u32 = 0;
let heads: usize = 0;
let headMask: u32 = 0;
let sourceHeads: usize = 0;
let sourceMask: u32 = 0;

/** Records that are free, chained by their first word. */
let free: usize = 0;
/** Records of flows that have ended since the packet came, chained by their second link. */
let limbo: usize = 0;
const CHUNK_FLOWS: u32 = 1024;
/** Addresses of the chunks. */
let chunks: usize = 0;
let chunkCount: u32 = 0;
/** Where the broom stands. */
let broomChunk: u32 = 0;
let broomFlow: u32 = 0;
/** No flow can time out before. */
let nextExpiry: f64 = Infinity;
/** The packets' clock. */
export let now: f64 = 0;

/** Makes room for the heads of `flows` flows; 0: there is no memory. */
export function setFlows(flows: u32): u32 {
  most = flows;
  let size: u32 = 1024;
  while (size < flows && size < 1 << 28) size <<= 1;
  heads = allocate((<usize>size) << 3);
  sourceHeads = allocate((<usize>size) << 2);
  chunks = allocate(((<usize>flows / CHUNK_FLOWS) << 2) + 64);
  if (heads == 0 || sourceHeads == 0 || chunks == 0) return 0;
  memory.fill(heads, 0, (<usize>size) << 3);
  memory.fill(sourceHeads, 0, (<usize>size) << 2);
  headMask = (size << 1) - 1;
  sourceMask = size - 1;
  return 1;
}

export function setNow(time: f64): void {
  now = time;
}

// -- tuples

export function srcOf(flow: usize, reply: u32): u32 {
  return load<u32>(flow + reply * FLOW_TUPLE_BYTES, FLOW_TUPLE_SRC);
}

export function dstOf(flow: usize, reply: u32): u32 {
  return load<u32>(flow + reply * FLOW_TUPLE_BYTES, FLOW_TUPLE_DST);
}

/** Source port (ICMP: id) low, destination port (ICMP: type << 8 | code) high. */
export function portsOf(flow: usize, reply: u32): u32 {
  return load<u32>(flow + reply * FLOW_TUPLE_BYTES, FLOW_TUPLE_PORTS);
}

export function setTuple(flow: usize, reply: u32, src: u32, dst: u32, ports: u32): void {
  const at = flow + reply * FLOW_TUPLE_BYTES;
  store<u32>(at, src, FLOW_TUPLE_SRC);
  store<u32>(at, dst, FLOW_TUPLE_DST);
  store<u32>(at, ports, FLOW_TUPLE_PORTS);
}

export function protoOf(flow: usize): u32 {
  return load<u8>(flow, FLOW_PROTO);
}

export function statusOf(flow: usize): u32 {
  return load<u16>(flow, FLOW_STATUS);
}

export function addStatus(flow: usize, bits: u32): void {
  store<u16>(flow, <u16>(statusOf(flow) | bits), FLOW_STATUS);
}

/**
 * Zone of a connection, `id | direction << 16`: equal tuples of different zones are different connections. It may hold in
 * one direction alone; in the other it is 0 then (nf_ct_zone_id()).
 */
export const ZONE_BOTH: u32 = 0;
export const ZONE_ORIGINAL: u32 = 1;
export const ZONE_REPLY: u32 = 2;

/** The zone in the original direction, and that in the other << 16, as `find` takes them. */
export function zonesOf(zone: u32): u32 {
  const id = zone & 0xffff;
  const direction = zone >> 16;
  return (direction == ZONE_REPLY ? 0 : id) | (direction == ZONE_ORIGINAL ? 0 : id << 16);
}

export function zonesOfFlow(flow: usize): u32 {
  const id = <u32>load<u16>(flow, FLOW_ZONE);
  return id == 0 ? 0 : zonesOf(id | ((statusOf(flow) / STATUS_ZONE_ORIGINAL) << 16));
}

export function setZone(flow: usize, zone: u32): void {
  store<u16>(flow, <u16>zone, FLOW_ZONE);
  addStatus(flow, (zone >> 16) * STATUS_ZONE_ORIGINAL);
}

/** Of the flow's own zones and these, those of the direction are the same. Nearly always both are 0. */
function isInZone(flow: usize, reply: u32, zones: u32): bool {
  if ((zones | (<u32>load<u16>(flow, FLOW_ZONE))) == 0) return true;
  return (((zones ^ zonesOfFlow(flow)) >> (reply << 4)) & 0xffff) == 0;
}

const SPREAD_1: u64 = 0x9e3779b97f4a7c15;
const SPREAD_2: u64 = 0xbf58476d1ce4e5b9;
const SPREAD_3: u64 = 0x94d049bb133111eb;

function hashOf(src: u32, dst: u32, ports: u32, proto: u32): u32 {
  let z = (((<u64>src) << 32) | (<u64>dst)) * SPREAD_1;
  z ^= z >> 32;
  z = (z + (((<u64>proto) << 32) | (<u64>ports))) * SPREAD_2;
  z ^= z >> 29;
  z *= SPREAD_3;
  return <u32>(z >> 32);
}

function headFor(src: u32, dst: u32, ports: u32, proto: u32): usize {
  return heads + ((<usize>(hashOf(src, dst, ports, proto) & headMask)) << 2);
}

/** The first link that a look-up of the tuple would follow; 0: none. */
export function touch(src: u32, dst: u32, ports: u32, proto: u32): u32 {
  return load<u32>(headFor(src, dst, ports, proto));
}

/** Loads the record: it lies in three lines of the cache, mostly. */
export function touchFlow(flow: usize): u32 {
  return load<u32>(flow) + load<u32>(flow, 64) + load<u32>(flow, 108);
}

/** The next link of a chain; 0: there is none, or `link` leads to these addresses already. */
export function nextUnless(link: u32, src: u32, dst: u32): u32 {
  const reply = link & 1;
  const flow = <usize>(link ^ reply);
  if (srcOf(flow, reply) == src && dstOf(flow, reply) == dst) return 0;
  return load<u32>(flow + (reply << 2), FLOW_LINK);
}

// -- look-up

/** Direction of what `find` found: 1 for replies. */
export let foundReply: u32 = 0;

/** The confirmed flow that has this tuple in one direction, and the zone; 0: none. `zones`: as of zonesOf. */
export function find(src: u32, dst: u32, ports: u32, proto: u32, zones: u32): usize {
  if (flowCount == 0) return 0;
  let link = load<u32>(headFor(src, dst, ports, proto));
  while (link != 0) {
    const reply = link & 1;
    const flow = <usize>(link ^ reply);
    const at = flow + reply * FLOW_TUPLE_BYTES;
    const next = load<u32>(flow + (reply << 2), FLOW_LINK);
    if (
      load<u32>(at, FLOW_TUPLE_SRC) == src &&
      load<u32>(at, FLOW_TUPLE_DST) == dst &&
      load<u32>(at, FLOW_TUPLE_PORTS) == ports &&
      protoOf(flow) == proto &&
      isInZone(flow, reply, zones)
    ) {
      if (!hasExpired(flow)) {
        foundReply = reply;
        return flow;
      }
      // its time has passed; another may have the same tuple
      const other = load<u32>(flow + ((reply ^ 1) << 2), FLOW_LINK);
      expire(flow);
      if (next != 0 && <usize>(next & ~1) == flow) link = other;
      else link = next;
      continue;
    }
    link = next;
  }
  return 0;
}

export function hasExpired(flow: usize): bool {
  return load<f64>(flow, FLOW_EXPIRES) <= now;
}

// -- records

/** A fresh record with its original tuple, zeroed otherwise; 0: the table is full (or there is no memory). */
export function allocateFlow(src: u32, dst: u32, ports: u32, proto: u32): usize {
  sweep(4);
  if (flowCount >= most) {
    sweepAll();
    if (flowCount >= most && !dropEarly(hashOf(src, dst, ports, proto))) return 0;
  }
  if (free == 0 && !addChunk()) return 0;
  const flow = free;
  free = <usize>load<u32>(flow);
  flowCount++;
  clear(flow);
  store<u8>(flow, <u8>proto, FLOW_PROTO);
  setTuple(flow, 0, src, dst, ports);
  return flow;
}

function clear(flow: usize): void {
  const zero = i64x2.splat(0);
  v128.store(flow, zero);
  v128.store(flow, zero, 16);
  v128.store(flow, zero, 32);
  v128.store(flow, zero, 48);
  v128.store(flow, zero, 64);
  v128.store(flow, zero, 80);
  v128.store(flow, zero, 96);
}

function addChunk(): bool {
  const chunk = allocate(<usize>CHUNK_FLOWS * FLOW_BYTES);
  if (chunk == 0) return false;
  store<u32>(chunks + ((<usize>chunkCount) << 2), <u32>chunk);
  chunkCount++;
  for (let i: u32 = CHUNK_FLOWS; i > 0; i--) {
    const flow = chunk + <usize>(i - 1) * FLOW_BYTES;
    store<u16>(flow, 0, FLOW_STATUS);
    store<u32>(flow, <u32>free);
    free = flow;
  }
  return true;
}

/** Ends a flow that was never confirmed. */
export function discard(flow: usize): void {
  flowCount--;
  giveBack(flow);
}

function giveBack(flow: usize): void {
  if ((statusOf(flow) & STATUS_SOURCE_DONE) != 0) leaveSource(flow);
  store<u16>(flow, 0, FLOW_STATUS);
  store<u32>(flow, <u32>free);
  free = flow;
}

/** Gives back what ended while the packet was on its way, which may have held it. */
export function bury(): void {
  while (limbo != 0) {
    const flow = limbo;
    limbo = <usize>load<u32>(flow, FLOW_LINK + 4);
    giveBack(flow);
  }
}

// -- confirmed flows

/** Puts the flow into the table; false: one of its tuples is taken. */
export function insert(flow: usize): bool {
  const proto = protoOf(flow);
  const zones = zonesOfFlow(flow);
  if (find(srcOf(flow, 0), dstOf(flow, 0), portsOf(flow, 0), proto, zones) != 0) return false;
  if (find(srcOf(flow, 1), dstOf(flow, 1), portsOf(flow, 1), proto, zones) != 0) return false;
  link(flow, 0, proto);
  link(flow, 1, proto);
  addStatus(flow, STATUS_CONFIRMED);
  return true;
}

function link(flow: usize, reply: u32, proto: u32): void {
  const head = headFor(srcOf(flow, reply), dstOf(flow, reply), portsOf(flow, reply), proto);
  store<u32>(flow + (reply << 2), load<u32>(head), FLOW_LINK);
  store<u32>(head, (<u32>flow) | reply);
}

/** Ends a confirmed flow: it is not found any more. Its record stays as it is until `bury`. */
export function forget(flow: usize): void {
  const proto = protoOf(flow);
  unlink(flow, 0, proto);
  unlink(flow, 1, proto);
  addStatus(flow, STATUS_DYING);
  flowCount--;
  store<u32>(flow, <u32>limbo, FLOW_LINK + 4);
  limbo = flow;
}

function unlink(flow: usize, reply: u32, proto: u32): void {
  const wanted = (<u32>flow) | reply;
  let at = headFor(srcOf(flow, reply), dstOf(flow, reply), portsOf(flow, reply), proto);
  for (;;) {
    const link = load<u32>(at);
    if (link == wanted) break;
    at = <usize>(link & ~1) + ((link & 1) << 2) + FLOW_LINK;
  }
  store<u32>(at, load<u32>(flow + (reply << 2), FLOW_LINK));
}

/** The flow's time ends at `expires`, in seconds of the packets' clock. */
export function setExpiry(flow: usize, expires: f64): void {
  store<f64>(flow, expires, FLOW_EXPIRES);
  nextExpiry = min<f64>(nextExpiry, expires);
}

// -- by client socket

function sourceHead(flow: usize): usize {
  return sourceHeadFor(srcOf(flow, 0), portsOf(flow, 0), protoOf(flow));
}

export function touchSource(src: u32, ports: u32, proto: u32): u32 {
  return load<u32>(sourceHeadFor(src, ports, proto));
}

function sourceHeadFor(src: u32, ports: u32, proto: u32): usize {
  const hash = hashOf(src, 0, ports & 0xffff, proto);
  return sourceHeads + ((<usize>(hash & sourceMask)) << 2);
}

/** The flow has been set up for source translation: others of its socket may find it. */
export function joinSource(flow: usize): void {
  const head = sourceHead(flow);
  const first = <usize>load<u32>(head);
  store<u32>(flow, <u32>first, FLOW_BY_SOURCE_NEXT);
  store<u32>(flow, 0, FLOW_BY_SOURCE_PREVIOUS);
  if (first != 0) store<u32>(first, <u32>flow, FLOW_BY_SOURCE_PREVIOUS);
  store<u32>(head, <u32>flow);
}

function leaveSource(flow: usize): void {
  const next = <usize>load<u32>(flow, FLOW_BY_SOURCE_NEXT);
  const previous = <usize>load<u32>(flow, FLOW_BY_SOURCE_PREVIOUS);
  if (next != 0) store<u32>(next, <u32>previous, FLOW_BY_SOURCE_PREVIOUS);
  if (previous != 0) store<u32>(previous, <u32>next, FLOW_BY_SOURCE_NEXT);
  else store<u32>(sourceHead(flow), <u32>next);
}

/** The first flow of the same client socket (and zone) as `flow` at or behind `from` in its chain; 0: none. */
export function sameSource(flow: usize, from: usize): usize {
  const src = srcOf(flow, 0);
  const port = portsOf(flow, 0) & 0xffff;
  const proto = protoOf(flow);
  const zones = zonesOfFlow(flow);
  for (let at = from; at != 0; at = nextSource(at)) {
    if (srcOf(at, 0) != src || (portsOf(at, 0) & 0xffff) != port) continue;
    if (protoOf(at) == proto && isInZone(at, 0, zones)) return at;
  }
  return 0;
}

export function firstSource(flow: usize): usize {
  return <usize>load<u32>(sourceHead(flow));
}

export function nextSource(flow: usize): usize {
  return <usize>load<u32>(flow, FLOW_BY_SOURCE_NEXT);
}

// -- what has timed out

const ALIVE: u32 = STATUS_CONFIRMED | STATUS_DYING;

function expire(flow: usize): void {
  tellExpired(flow);
  forget(flow);
}

/** Looks at the next `count` records. */
function sweep(count: u32): void {
  if (chunkCount == 0) return;
  for (let i: u32 = 0; i < count; i++) {
    const flow = <usize>load<u32>(chunks + ((<usize>broomChunk) << 2)) + <usize>broomFlow * FLOW_BYTES;
    if ((statusOf(flow) & ALIVE) == STATUS_CONFIRMED && hasExpired(flow)) expire(flow);
    broomFlow++;
    if (broomFlow == CHUNK_FLOWS) {
      broomFlow = 0;
      broomChunk++;
      if (broomChunk == chunkCount) broomChunk = 0;
    }
  }
}

/** Ends all flows whose time has passed. */
export function sweepAll(): void {
  if (nextExpiry > now) return;
  let next: f64 = Infinity;
  for (let chunk: u32 = 0; chunk < chunkCount; chunk++) {
    let flow = <usize>load<u32>(chunks + ((<usize>chunk) << 2));
    for (let i: u32 = 0; i < CHUNK_FLOWS; i++, flow += FLOW_BYTES) {
      if ((statusOf(flow) & ALIVE) != STATUS_CONFIRMED) continue;
      if (hasExpired(flow)) expire(flow);
      else next = min<f64>(next, load<f64>(flow, FLOW_EXPIRES));
    }
  }
  nextExpiry = next;
}

/** Heads that early_drop() looks at (NF_CT_EVICTION_RANGE). */
const EVICTION_RANGE: u32 = 8;

/** Makes room by ending flows that are not assured, near where the new one will stand; false: there are none. */
function dropEarly(hash: u32): bool {
  for (let i: u32 = 0; i < EVICTION_RANGE; i++) {
    let dropped = false;
    let link = load<u32>(heads + ((<usize>((hash + i) & headMask)) << 2));
    while (link != 0) {
      const reply = link & 1;
      const flow = <usize>(link ^ reply);
      let next = load<u32>(flow + (reply << 2), FLOW_LINK);
      if ((statusOf(flow) & STATUS_ASSURED) == 0) {
        // both of its directions may stand in this chain
        if (next != 0 && <usize>(next & ~1) == flow) next = load<u32>(flow + ((reply ^ 1) << 2), FLOW_LINK);
        forget(flow);
        dropped = true;
      }
      link = next;
    }
    if (dropped) return true;
  }
  return false;
}
