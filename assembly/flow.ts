// Connections: a hash table of flow records.
//
// What it must do: find the flow of a packet by its tuple, in either direction, a few million times a second among a
// million flows that lie nowhere near a cache; say whether a tuple is taken; give all flows of a client socket; forget
// what has timed out; and cost at most 128 bytes a flow.
//
// A flow is one record of 104 bytes that never moves, so its address is its name. Links to it stand in a table of buckets,
// once for each direction: a link is the address of the record with the direction in its lowest bit. A bucket is one line
// of the cache: twelve links, and for each eight bits of its tuple's hash. All twelve are compared at once, so that a
// look-up loads one line, and a record only if it is the right one (or, one time in twenty, looks so). What finds its bucket
// full goes into the next, and each bucket that it passed counts it: where nothing has passed, a look-up ends.
//
// Tried before: heads of chains through the records, two for each flow. Half of all look-ups that find nothing, and half of
// all flows that leave, walk over another flow's record, a miss that nothing can foresee: of a million that come and time
// out 1.2 million/s, where this gives 2.0 (bench/flows.ts, long), and packets of a million known ones a tenth slower.
//
// Flows whose source has been translated stand in a doubly linked chain by client socket: it may be long (a resolver asks
// thousands of servers from one port), so leaving it must not cost a walk. Others need not, see isBySource: that is two lines of the
// cache less for each flow that comes and goes.
//
// Time is the packets' clock. A flow past its time is never found; it is freed when somebody meets it in a chain, or by
// the broom: each new flow sweeps four records further, round and round. So records in use are at most a third more than
// the flows alive, whatever the clock does. (A timer wheel would free them at once, but every packet would have to move
// its flow in it, or leave a trail of stale entries.) Only a full table, and who is told of ends, needs to know at once. Then
// all records are looked at, those that have timed out are freed, and the next ones to do so, an eighth of all at the most,
// are noted in a heap, by which it is known what times out before the horizon, the first that is not noted; a flow that gets
// another time is noted anew. Beyond the horizon, and when the heap is full, all is looked at again: until then as many
// flows have ended or gone on as the heap holds by half, so a look costs each of them sixteen records.
//
// Packets come in batches, so the heads and records that the next ones will ask for are loaded side by side (`warm` in
// conntrack.ts): with a million flows that alone doubles the rate.
//
// Where a rule asks what connections have carried (connbytes), counters follow each record.
//
// Buckets, heads of chains and the heap: 20 bytes for each flow that there may be (nf_conntrack_max). Records come in chunks as they
// are needed and are used again.
//
// Follows net/netfilter/nf_conntrack_core.c.

import {
  FLOW_BY_SOURCE_NEXT,
  FLOW_BY_SOURCE_PREVIOUS,
  FLOW_BYTES,
  FLOW_CARRIED,
  FLOW_CARRIED_BYTES,
  FLOW_COUNTING_BYTES,
  FLOW_ENDED_BEFORE,
  FLOW_EXPIRES,
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
  STATUS_SOURCE_NAT,
  STATUS_ZONE_ORIGINAL,
} from "../src/layout";
import { tellExpired } from "./conntrack";
import { allocate } from "./memory";
import { ICMP } from "./protocol";

/** Flows that there may be. */
let most: u32 = 0;
/** Flows that there are, also those not yet confirmed and those whose time has passed. */
export let flowCount: u32 = 0;
let buckets: usize = 0;
let bucketCount: u32 = 0;
let sourceHeads: usize = 0;
let sourceCount: u32 = 0;

/** Counters follow the records. */
export let countsCarried = false;
let recordBytes: usize = FLOW_BYTES;
/** Records that are free, chained by their first word. */
let free: usize = 0;
/** Records of flows that have ended since the packet came, chained. */
let limbo: usize = 0;
const CHUNK_FLOWS: u32 = 1024;
/** Addresses of the chunks. */
let chunks: usize = 0;
let chunkCount: u32 = 0;
/** Where the broom stands. */
let broomChunk: u32 = 0;
let broomFlow: u32 = 0;
/** All flows that time out before this are in the heap `soon`. */
let horizon: f64 = -Infinity;
/** Entries of 16 bytes: f64 when, u32 which flow. */
let soon: usize = 0;
let soonMost: u32 = 0;
let soonCount: u32 = 0;
const SOON_FLOW: usize = 8;
const SOON_SHIFT: u32 = 4;
const FEWEST_SOON: u32 = 256;
/** Bins of times: 16 bytes, f64 the least in it, u32 how many flows. */
const BIN_COUNT: u32 = 256;
const BIN_BYTES: u32 = 16;
const BIN_FLOWS: usize = 8;
const BINS = memory.data(4096, 16);
/** Records that were looked at to know what has timed out. */
export let lookedAt: u32 = 0;
/** The packets' clock. */
export let now: f64 = 0;

/*
 * Bucket: 64 bytes.
 *
 *   0  u32  links[12]  address of a flow | direction
 *  48  u8   tags[12]   of each link eight bits of its hash; 0: free
 *  60  u32  passed     links that stand behind because there was no room
 */
const BUCKET_SHIFT: u32 = 6;
const BUCKET_TAGS: usize = 48;
const BUCKET_PASSED: usize = 60;
const ALL_SLOTS: u32 = 0xfff;
/** Links in a bucket when there are as many flows as there may be, on average: of twelve. */
const MOST_FILLED: u32 = 10;

/** Makes room for the links of `flows` flows; 0: there is no memory. `counting`: what they carry is counted. */
export function setFlows(flows: u32, counting: bool): u32 {
  most = flows;
  countsCarried = counting;
  recordBytes = counting ? FLOW_COUNTING_BYTES : FLOW_BYTES;
  bucketCount = <u32>((<u64>flows * 2) / MOST_FILLED) + 64;
  sourceCount = flows + 64;
  buckets = allocate((<usize>bucketCount) << BUCKET_SHIFT);
  sourceHeads = allocate((<usize>sourceCount) << 2);
  chunks = allocate(((<usize>flows / CHUNK_FLOWS) << 2) + 64);
  soonMost = max(FEWEST_SOON, flows >> 3);
  soon = allocate((<usize>soonMost) << SOON_SHIFT);
  if (buckets == 0 || sourceHeads == 0 || chunks == 0 || soon == 0) return 0;
  memory.fill(buckets, 0, (<usize>bucketCount) << BUCKET_SHIFT);
  memory.fill(sourceHeads, 0, (<usize>sourceCount) << 2);
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
  return id == 0 ? 0 : zonesOf(id | (((statusOf(flow) / STATUS_ZONE_ORIGINAL) & 3) << 16));
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

function bucketFor(hash: u32): usize {
  return buckets + ((<usize>((<u64>hash * <u64>bucketCount) >> 32)) << BUCKET_SHIFT);
}

/** The bucket behind; behind the last comes the first. */
function bucketAfter(bucket: usize): usize {
  const next = bucket + (1 << BUCKET_SHIFT);
  return next == buckets + ((<usize>bucketCount) << BUCKET_SHIFT) ? buckets : next;
}

/** The bucket is chosen by the upper bits of the hash, these are the lower ones. */
function tagOf(hash: u32): u32 {
  return max<u32>(1, hash & 0xff);
}

/** Bit for each slot of the bucket that has this tag. */
function slotsWith(bucket: usize, tag: u32): u32 {
  return (<u32>i8x16.bitmask(i8x16.eq(v128.load(bucket, BUCKET_TAGS), i8x16.splat(<i8>tag)))) & ALL_SLOTS;
}

/** The first link that a look-up of the tuple would follow, nearly always; 0: none. */
export function touch(src: u32, dst: u32, ports: u32, proto: u32): u32 {
  const hash = hashOf(src, dst, ports, proto);
  const bucket = bucketFor(hash);
  const slots = slotsWith(bucket, tagOf(hash));
  return slots == 0 ? 0 : load<u32>(bucket + ((<usize>ctz(slots)) << 2));
}

/** Loads the record: it lies in two lines of the cache, or three. */
export function touchFlow(flow: usize): u32 {
  return load<u32>(flow) + load<u32>(flow, 64) + load<u32>(flow, 100);
}

// -- look-up

/** Direction of what `find` found: 1 for replies. */
export let foundReply: u32 = 0;

/** The confirmed flow that has this tuple in one direction, and the zone; 0: none. `zones`: as of zonesOf. */
export function find(src: u32, dst: u32, ports: u32, proto: u32, zones: u32): usize {
  if (flowCount == 0) return 0;
  const hash = hashOf(src, dst, ports, proto);
  const flow = findHashed(hash, src, dst, ports, proto, zones, 0);
  return flow != 0 || !differByDirection(zones) ? flow : findHashed(hash, src, dst, ports, proto, zones, 1);
}

/** nf_conntrack_tuple_taken(): no flow may have this tuple for its answers. */
export function isTaken(src: u32, dst: u32, ports: u32, proto: u32, zones: u32): bool {
  return flowCount != 0 && findHashed(hashOf(src, dst, ports, proto), src, dst, ports, proto, zones, 1) != 0;
}

function differByDirection(zones: u32): bool {
  return (zones & 0xffff) != zones >> 16;
}

/**
 * The zone of its direction is part of a tuple's hash in the kernel (hash_conntrack_raw()): where zones differ by direction,
 * what is found in the chain of one has that direction, `side`.
 */
function findHashed(hash: u32, src: u32, dst: u32, ports: u32, proto: u32, zones: u32, side: u32): usize {
  const differs = differByDirection(zones);
  const tag = tagOf(hash);
  const home = bucketFor(hash);
  let bucket = home;
  do {
    for (let slots = slotsWith(bucket, tag); slots != 0; slots &= slots - 1) {
      const link = load<u32>(bucket + ((<usize>ctz(slots)) << 2));
      const reply = link & 1;
      const flow = <usize>(link ^ reply);
      const at = flow + reply * FLOW_TUPLE_BYTES;
      if (
        load<u32>(at, FLOW_TUPLE_SRC) != src ||
        load<u32>(at, FLOW_TUPLE_DST) != dst ||
        load<u32>(at, FLOW_TUPLE_PORTS) != ports ||
        protoOf(flow) != proto ||
        !isInZone(flow, reply, zones) ||
        (differs && reply != side)
      ) {
        continue;
      }
      if (!hasExpired(flow)) {
        foundReply = reply;
        return flow;
      }
      // its time has passed; another may have the same tuple
      expire(flow);
      slots &= slotsWith(bucket, tag) | (slots & (0 - slots));
    }
    if (load<u32>(bucket, BUCKET_PASSED) == 0) break;
    bucket = bucketAfter(bucket);
  } while (bucket != home);
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
  store<u64>(flow, 0, 96);
  if (!countsCarried) return;
  v128.store(flow, zero, FLOW_CARRIED);
  v128.store(flow, zero, FLOW_CARRIED + FLOW_CARRIED_BYTES);
}

function addChunk(): bool {
  const chunk = allocate(<usize>CHUNK_FLOWS * recordBytes);
  if (chunk == 0) return false;
  store<u32>(chunks + ((<usize>chunkCount) << 2), <u32>chunk);
  chunkCount++;
  for (let i: u32 = CHUNK_FLOWS; i > 0; i--) {
    const flow = chunk + <usize>(i - 1) * recordBytes;
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
  if (isBySource(flow)) leaveSource(flow);
  store<u16>(flow, 0, FLOW_STATUS);
  store<u32>(flow, <u32>free);
  free = flow;
}

/** Gives back what ended while the packet was on its way, which may have held it. */
export function bury(): void {
  while (limbo != 0) {
    const flow = limbo;
    limbo = <usize>load<u32>(flow, FLOW_ENDED_BEFORE);
    giveBack(flow);
  }
}

// -- what a flow has carried

/** The flow has carried a packet of so many bytes in this direction (nf_ct_acct_update()). */
export function carry(flow: usize, reply: u32, bytes: u32): void {
  const at = flow + reply * FLOW_CARRIED_BYTES;
  store<u64>(at, load<u64>(at, FLOW_CARRIED) + 1, FLOW_CARRIED);
  store<u64>(at, load<u64>(at, FLOW_CARRIED + 8) + <u64>bytes, FLOW_CARRIED + 8);
}

export function packetsCarried(flow: usize, reply: u32): u64 {
  return load<u64>(flow + reply * FLOW_CARRIED_BYTES, FLOW_CARRIED);
}

export function bytesCarried(flow: usize, reply: u32): u64 {
  return load<u64>(flow + reply * FLOW_CARRIED_BYTES, FLOW_CARRIED + 8);
}

// -- confirmed flows

/** Puts the flow into the table; false: one of its tuples is taken. */
export function insert(flow: usize): bool {
  const proto = protoOf(flow);
  const zones = zonesOfFlow(flow);
  const hash = hashOfTuple(flow, 0, proto);
  const hashOfReplies = hashOfTuple(flow, 1, proto);
  if (findHashed(hash, srcOf(flow, 0), dstOf(flow, 0), portsOf(flow, 0), proto, zones, 0) != 0) return false;
  if (findHashed(hashOfReplies, srcOf(flow, 1), dstOf(flow, 1), portsOf(flow, 1), proto, zones, 1) != 0) return false;
  // a packet from an address to itself may fit both ways: then it goes in the direction of replies
  link((<u32>flow) | 1, hashOfReplies);
  link(<u32>flow, hash);
  addStatus(flow, STATUS_CONFIRMED);
  return true;
}

function hashOfTuple(flow: usize, reply: u32, proto: u32): u32 {
  return hashOf(srcOf(flow, reply), dstOf(flow, reply), portsOf(flow, reply), proto);
}

/** There are more slots than links, so that one is free. */
function link(link: u32, hash: u32): void {
  let bucket = bucketFor(hash);
  let free = slotsWith(bucket, 0);
  while (free == 0) {
    store<u32>(bucket, load<u32>(bucket, BUCKET_PASSED) + 1, BUCKET_PASSED);
    bucket = bucketAfter(bucket);
    free = slotsWith(bucket, 0);
  }
  const slot = <usize>ctz(free);
  store<u32>(bucket + (slot << 2), link);
  store<u8>(bucket + slot, <u8>tagOf(hash), BUCKET_TAGS);
}

/** Ends a confirmed flow: it is not found any more. Its record stays as it is until `bury`. */
export function forget(flow: usize): void {
  const proto = protoOf(flow);
  unlink(<u32>flow, hashOfTuple(flow, 0, proto));
  unlink((<u32>flow) | 1, hashOfTuple(flow, 1, proto));
  addStatus(flow, STATUS_DYING);
  flowCount--;
  store<u32>(flow, <u32>limbo, FLOW_ENDED_BEFORE);
  limbo = flow;
}

function unlink(link: u32, hash: u32): void {
  const tag = tagOf(hash);
  let bucket = bucketFor(hash);
  for (;;) {
    for (let slots = slotsWith(bucket, tag); slots != 0; slots &= slots - 1) {
      const slot = <usize>ctz(slots);
      if (load<u32>(bucket + (slot << 2)) != link) continue;
      store<u8>(bucket + slot, 0, BUCKET_TAGS);
      return;
    }
    store<u32>(bucket, load<u32>(bucket, BUCKET_PASSED) - 1, BUCKET_PASSED);
    bucket = bucketAfter(bucket);
  }
}

/** The flow's time ends at `expires`, in seconds of the packets' clock. */
export function setExpiry(flow: usize, expires: f64): void {
  store<f64>(flow, expires, FLOW_EXPIRES);
  if (expires < horizon) noteSoon(flow, expires);
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
  return sourceHeads + ((<usize>((<u64>hash * <u64>sourceCount) >> 32)) << 2);
}

/**
 * Others of its client socket may find the flow, once it has been set up for source translation. They look for it only if
 * what they are does not fit the range; so one that has been left as it is would not fit either. (Of ICMP the id may have
 * changed for the destination's sake.)
 */
export function isBySource(flow: usize): bool {
  const status = statusOf(flow);
  return (status & STATUS_SOURCE_DONE) != 0 && ((status & STATUS_SOURCE_NAT) != 0 || protoOf(flow) == ICMP);
}

/** See isBySource. */
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

/** Records that the broom has swept since `touchSwept`. */
let sweptCount: u32 = 0;

/**
 * Loads what the broom will ask for if it goes on as since the last call: flows that have timed out are taken out of three
 * chains each, and their heads lie nowhere near each other.
 */
export function touchSwept(): u32 {
  let sum: u32 = 0;
  let chunk = broomChunk;
  let number = broomFlow;
  for (let i = sweptCount; i > 0; i--) {
    const flow = <usize>load<u32>(chunks + ((<usize>chunk) << 2)) + <usize>number * recordBytes;
    if ((statusOf(flow) & ALIVE) == STATUS_CONFIRMED && hasExpired(flow)) {
      const proto = protoOf(flow);
      const ports = portsOf(flow, 0);
      sum += touch(srcOf(flow, 0), dstOf(flow, 0), ports, proto);
      sum += touch(srcOf(flow, 1), dstOf(flow, 1), portsOf(flow, 1), proto);
      if (isBySource(flow)) sum += touchSource(srcOf(flow, 0), ports, proto);
    }
    number++;
    if (number == CHUNK_FLOWS) {
      number = 0;
      chunk++;
      if (chunk == chunkCount) chunk = 0;
    }
  }
  sweptCount = 0;
  return sum;
}

/** Looks at the next `count` records. */
function sweep(count: u32): void {
  if (chunkCount == 0) return;
  sweptCount += count;
  for (let i: u32 = 0; i < count; i++) {
    const flow = <usize>load<u32>(chunks + ((<usize>broomChunk) << 2)) + <usize>broomFlow * recordBytes;
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
  while (soonCount != 0 && load<f64>(soon) <= now) {
    const flow = <usize>load<u32>(soon, SOON_FLOW);
    takeSoonest();
    // it may live on, and then its new time has been noted too
    if ((statusOf(flow) & ALIVE) == STATUS_CONFIRMED && hasExpired(flow)) expire(flow);
  }
  if (now >= horizon) lookAhead();
}

/** Ends all flows whose time has passed, and notes those that come next. */
function lookAhead(): void {
  soonCount = 0;
  let least: f64 = Infinity;
  let greatest: f64 = -Infinity;
  let alive: u32 = 0;
  for (let i: u32 = 0; i < recordCount(); i++) {
    const flow = recordAt(i);
    if ((statusOf(flow) & ALIVE) != STATUS_CONFIRMED) continue;
    if (hasExpired(flow)) {
      expire(flow);
      continue;
    }
    const expires = load<f64>(flow, FLOW_EXPIRES);
    least = min<f64>(least, expires);
    greatest = max<f64>(greatest, expires);
    alive++;
  }
  const half = soonMost >> 1;
  const found = alive <= half ? Infinity : horizonFor(least, greatest, half);
  horizon = found;
  for (let i: u32 = 0; i < recordCount(); i++) {
    const flow = recordAt(i);
    if ((statusOf(flow) & ALIVE) != STATUS_CONFIRMED) continue;
    const expires = load<f64>(flow, FLOW_EXPIRES);
    if (expires < found) noteSoon(flow, expires);
  }
}

/** A time before which at most `room` flows expire, and as many as can be told apart; `least`, `most`: when the first and the last do. */
function horizonFor(least: f64, most: f64, room: u32): f64 {
  while (most > least) {
    const width = (most - least) / BIN_COUNT;
    if (width == 0) break;
    memory.fill(BINS, 0, BIN_COUNT * BIN_BYTES);
    let greatestOfFirst = least;
    for (let i: u32 = 0; i < recordCount(); i++) {
      const flow = recordAt(i);
      const expires = load<f64>(flow, FLOW_EXPIRES);
      if ((statusOf(flow) & ALIVE) != STATUS_CONFIRMED || expires > most) continue;
      const number = min<u32>(BIN_COUNT - 1, <u32>((expires - least) / width));
      const bin = BINS + <usize>number * BIN_BYTES;
      const count = load<u32>(bin, BIN_FLOWS);
      if (count == 0 || expires < load<f64>(bin)) store<f64>(bin, expires);
      store<u32>(bin, count + 1, BIN_FLOWS);
      if (number == 0) greatestOfFirst = max<f64>(greatestOfFirst, expires);
    }
    let sum: u32 = 0;
    for (let number: u32 = 0; number < BIN_COUNT; number++) {
      const bin = BINS + <usize>number * BIN_BYTES;
      sum += load<u32>(bin, BIN_FLOWS);
      if (sum <= room) continue;
      if (number != 0) return load<f64>(bin);
      break;
    }
    most = greatestOfFirst;
  }
  return least;
}

function recordCount(): u32 {
  return chunkCount * CHUNK_FLOWS;
}

function recordAt(number: u32): usize {
  lookedAt++;
  const chunk = <usize>load<u32>(chunks + ((<usize>(number / CHUNK_FLOWS)) << 2));
  return chunk + <usize>(number % CHUNK_FLOWS) * recordBytes;
}

/** Puts the flow's time into the heap of those that come next; if there is no room nothing is known of these any more. */
function noteSoon(flow: usize, expires: f64): void {
  if (soonCount == soonMost) {
    soonCount = 0;
    horizon = -Infinity;
    return;
  }
  let at = soonCount++;
  while (at != 0) {
    const parent = (at - 1) >> 1;
    if (load<f64>(soonAt(parent)) <= expires) break;
    v128.store(soonAt(at), v128.load(soonAt(parent)));
    at = parent;
  }
  store<f64>(soonAt(at), expires);
  store<u32>(soonAt(at), <u32>flow, SOON_FLOW);
}

function takeSoonest(): void {
  const last = soonAt(--soonCount);
  const expires = load<f64>(last);
  let at: u32 = 0;
  for (;;) {
    let child = at * 2 + 1;
    if (child >= soonCount) break;
    if (child + 1 < soonCount && load<f64>(soonAt(child + 1)) < load<f64>(soonAt(child))) child++;
    if (load<f64>(soonAt(child)) >= expires) break;
    v128.store(soonAt(at), v128.load(soonAt(child)));
    at = child;
  }
  v128.store(soonAt(at), v128.load(last));
}

function soonAt(number: u32): usize {
  return soon + ((<usize>number) << SOON_SHIFT);
}

/**
 * Makes room by ending a flow that is not assured, of those near where the new one will stand; false: there are none. A bucket
 * holds about as many as the eight chains that early_drop() looks at.
 */
function dropEarly(hash: u32): bool {
  const bucket = bucketFor(hash);
  for (let slots = ALL_SLOTS & ~slotsWith(bucket, 0); slots != 0; slots &= slots - 1) {
    const flow = <usize>(load<u32>(bucket + ((<usize>ctz(slots)) << 2)) & ~1);
    if ((statusOf(flow) & STATUS_ASSURED) != 0) continue;
    forget(flow);
    return true;
  }
  return false;
}
