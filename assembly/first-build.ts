// Boxes -> the tree of a program whose first box that holds is the answer (PROGRAM_FIRST_MATCH): filter sets, chains in
// which every clause ends the look-up. Many packets walk it at once (first-match.ts).
//
// What. Every box is a record of low ends and spans in the order of the packet record's words, so that one vector compare
// tests four fields and needs nothing unpacked: a test costs about as much as two steps down. Leaves are lists of box
// numbers in ascending order, the first of them in the node itself; equal lists are written once. Since a number takes 4
// bytes and not the 48 of a box in a block of four, a region may be cut until one or two boxes are left in it.
//
// Regions are patterns of known bits (pattern.ts). A node indexes its children by two windows of bits from any fields, at
// any position; the root by up to four, whose places the traversal keeps in registers.
//
// Which windows. A packet is taken to fall into a random box at a random point. For two boxes that ask their bits as
// prefixes do, the chance that the second meets the child of a point of the first is exact and a product over bits: 0
// where a bit of the windows is asked by both and differs, one half for each that only the second asks. So pairs of boxes
// are drawn, and windows grow bit by bit where most pairs are told apart. Pairs still together are drawn anew when few
// are left (all pairs would be n * n). Ranges count as the prefix that holds them here, and exactly when boxes are dealt out.
//
// What a cut is worth. Each box carries its weight down: 1 at the root, divided by the children that it meets. A node's
// weight is how often packets come by; bytes have a price, and what may be spent grows with the weight that is done, so
// that what one subtree saves the next may use. A cost model of steps and tests decides.
//
// Parts. Few boxes make one tree. In large sets boxes wild in one address and sharp in the other would multiply whichever
// address is cut: each kind has a tree of its own, later ones asked only by packets that may still find an earlier box.
//
// Tried and lost: leaves of blocks of four boxes (half the speed and twice the bytes at 1k and 10k), memory handed down to
// children by the length of their lists (starves what is deep), three parts for small sets (a third slower).
//
// Layout. Tree: 16 bytes (FIRST_), then for each part its root (ROOT_), 80 bytes. Node: u32 cut, u32 child.
//   inner: bits 2-5 field of window 1 times 4, 6-10 its left shift, 11-15 its right shift; 16-19, 20-24, 25-29 the same of
//          window 2; child: address of child 0, the others follow. The child number is window 1 | window 2 << width of 1.
//   leaf:  bit 31, bits 0-30 the first box; child: address of the other numbers (bit 31: the last), 0: none.

import { FIELD_COUNT, FIELD_DST, FIELD_SRC, NONE, PROGRAM_TREE } from "../src/layout";
import { allocate, mark } from "./memory";
import { ALL_VALUES, windowValues } from "./pattern";
import { boxCountOf, boxesOf, fieldMaskOf } from "./program";

export const FIRST_LEAF: u32 = 0x80000000;
export const FIRST_LAST: u32 = 0x80000000;
/** Tree: u32 partCount; u32 address of the records; u32 1 if a record has all sixteen words; u32 address of the
 * boxes' clauses, 0: box n is clause n. */
export const FIRST_PARTS: usize = 0;
export const FIRST_RECORDS: usize = 4;
export const FIRST_WIDE: usize = 8;
export const FIRST_CLAUSES: usize = 12;
export const FIRST_HEADER: usize = 16;
/** Root: four windows (u32 field * 4, u32 shift, u32 mask, u32 place in the child number), then these. */
export const ROOT_NODES: usize = 64;
export const ROOT_LOWEST: usize = 68;
/** Steps that most packets take below the root. */
export const ROOT_STEPS: usize = 72;
export const ROOT_BYTES: usize = 80;

const ROOT_WINDOWS: u32 = 4;

/** Widest root, in bits; and how many more bits than it has boxes to tell apart. */
const ROOT_BITS: u32 = 14;
const ROOT_EXTRA: u32 = 3;
/** Widest inner node, in bits. */
const INNER_BITS: u32 = 12;
/** No more boxes than these are ever cut. */
const LEAST_CUT: u32 = 3;
const MOST_DEPTH: u32 = 20;
/** A step down, in tests of a box. */
const STEP: f64 = 1.0;
/** Price of a byte for a packet that falls into one box, in tests. */
const BYTE_PRICE: f64 = 0.002;
/** Nodes and lists may take so many bytes for each box, so many whatever their number, and so many ahead of their turn. */
const BYTES_A_BOX: f64 = 90;
const LEAST_BYTES: f64 = 400000;
const AHEAD_BYTES: f64 = 65536;
/** So many boxes make one tree; and so many that are wild in both addresses a part of their own. */
const MOST_TOGETHER: u32 = 1500;
const LEAST_WILD: u32 = 64;

// the program being built
let records: usize = 0;
let recordBytes: u32 = 64;
let cares: usize = 0;
let slotCount: u32 = 0;
let failed: bool = false;
/** Bytes of nodes and lists so far, and how many there may be, roughly. */
let spent: f64 = 0;
let limit: f64 = 0;
let weightDone: f64 = 0;
let depthSum: f64 = 0;
let depthCount: f64 = 0;
let dummy: u32 = 0;

const SLOT_FIELD = memory.data(64);
/** Offset of lo in a record for each slot; span is 16 bytes on. */
const SLOT_AT = memory.data(64);
const REGION_MASK = memory.data(64);
const REGION_VALUE = memory.data(64);

// scratch
let scratchStart: usize = 0;
let scratchTop: usize = 0;
let scratchEnd: usize = 0;
let listTable: usize = 0;
let listTableMask: u32 = 0;
let listCount: u32 = 0;

// arena chunk
let chunkTop: usize = 0;
let chunkEnd: usize = 0;

/** Bytes of the last tree built: records, nodes, lists. */
export let firstBytes: u32 = 0;

function take(bytes: usize, align: usize): usize {
  let at = (chunkTop + align - 1) & ~(align - 1);
  if (chunkTop == 0 || at + bytes > chunkEnd) {
    const size = max<usize>(bytes, 1 << 16);
    const fresh = allocate(size);
    if (fresh == 0) {
      failed = true;
      return 0;
    }
    if (fresh != chunkEnd) chunkTop = fresh;
    chunkEnd = fresh + size;
    at = (chunkTop + align - 1) & ~(align - 1);
    if (at + bytes > chunkEnd) return take(bytes, align);
  }
  chunkTop = at + bytes;
  return at;
}

function reserve(bytes: usize): bool {
  if (scratchEnd - scratchStart < bytes) {
    const at = allocate(bytes);
    if (at == 0) return false;
    scratchStart = at;
    scratchEnd = at + bytes;
  }
  scratchTop = scratchStart;
  return true;
}

function recordOf(box: u32): usize {
  return records + <usize>box * recordBytes;
}

function careOf(box: u32): usize {
  return cares + ((<usize>box) << 6);
}

/** Builds the first-match tree; false where memory does not suffice. */
export function buildFirst(program: usize): bool {
  const boxes = boxesOf(program);
  const count = boxCountOf(program);
  const fields = fieldMaskOf(program);
  recordBytes = fields >> 8 == 0 ? 64 : 128;
  slotCount = 0;
  for (let field: u32 = 0; field < <u32>FIELD_COUNT; field++) {
    if ((fields >> field) & 1) {
      store<u32>(SLOT_FIELD + (slotCount << 2), field);
      store<u32>(SLOT_AT + (slotCount << 2), ((field >> 2) << 5) + ((field & 3) << 2));
      slotCount++;
    }
  }
  failed = false;
  random = 1;
  memory.fill(REGION_MASK, 0, 64);
  memory.fill(REGION_VALUE, 0, 64);

  listTableMask = 1023;
  listCount = 0;
  while (listTableMask < count) listTableMask = listTableMask * 2 + 1;
  const tableBytes: usize = (<usize>listTableMask + 1) << 3;
  const careBytes: usize = (<usize>count) << 6;
  if (!reserve(tableBytes + careBytes + ((<usize>count) << 9) + (8 << 20))) return false;
  listTable = scratchTop;
  cares = listTable + tableBytes;
  scratchTop = cares + careBytes;
  memory.fill(listTable, 0, tableBytes);

  const before = mark();
  chunkTop = chunkEnd = 0;
  const tree = allocate(FIRST_HEADER + 4 * ROOT_BYTES);
  records = allocate((<usize>count + 1) * recordBytes);
  if (tree == 0 || records == 0) return false;
  store<u32>(tree, <u32>records, FIRST_RECORDS);
  store<u32>(tree, recordBytes == 128 ? 1 : 0, FIRST_WIDE);
  writeRecords(boxes, fields, count);
  // clause numbers, where a clause has several boxes
  const stride = 4 + 8 * popcnt(fields);
  let identity = true;
  for (let box: u32 = 0; box < count; box++) {
    if (load<u32>(boxes + box * stride) != box) {
      identity = false;
      break;
    }
  }
  let numbers: usize = 0;
  if (!identity) {
    numbers = allocate((<usize>count) << 2);
    if (numbers == 0) return false;
    for (let box: u32 = 0; box < count; box++) {
      store<u32>(numbers + ((<usize>box) << 2), load<u32>(boxes + box * stride));
    }
  }
  store<u32>(tree, <u32>numbers, FIRST_CLAUSES);

  spent = 0;
  weightDone = 0;
  limit = BYTES_A_BOX + LEAST_BYTES / <f64>count;
  const parts = divide(tree, count);
  store<u32>(tree, parts, FIRST_PARTS);
  firstBytes = <u32>(mark() - before);
  store<u32>(program, <u32>tree, PROGRAM_TREE);
  return !failed;
}

function writeRecords(boxes: usize, fields: u32, count: u32): void {
  const stride = 4 + 8 * popcnt(fields);
  dummy = count;
  for (let box: u32 = 0; box <= count; box++) {
    const record = recordOf(box);
    memory.fill(record, 0, recordBytes);
    // lo 0, span all: whatever is not asked holds
    for (let v: u32 = 16; v < recordBytes; v += 32) v128.store(record + v, i32x4.splat(-1));
    if (box == count) {
      // never holds: no protocol has this number
      store<u32>(record + 32, 0xffffffff);
      store<u32>(record + 48, 0);
      break;
    }
    let from = boxes + box * stride + 4;
    let slot: u32 = 0;
    for (let field: u32 = 0; field < <u32>FIELD_COUNT; field++) {
      if (((fields >> field) & 1) == 0) continue;
      const at = record + ((field >> 2) << 5) + ((field & 3) << 2);
      const lo = load<u32>(from);
      const hi = load<u32>(from, 4);
      store<u32>(at, lo);
      store<u32>(at, hi - lo, 16);
      from += 8;
      const differ = lo ^ hi;
      store<u32>(careOf(box) + (slot << 2), differ == 0 ? 0xffffffff : ~(0xffffffff >> clz(differ)));
      slot++;
    }
  }
}

function loOf(box: u32, slot: u32): u32 {
  return load<u32>(recordOf(box) + load<u32>(SLOT_AT + (slot << 2)));
}

function spanOf(box: u32, slot: u32): u32 {
  return load<u32>(recordOf(box) + load<u32>(SLOT_AT + (slot << 2)), 16);
}

/** Which addresses a box is sharp in: two bits, 1 src, 2 dst. */
function sharpness(box: u32): u32 {
  let bits: u32 = 0;
  for (let slot: u32 = 0; slot < slotCount; slot++) {
    const field = load<u32>(SLOT_FIELD + (slot << 2));
    if (field > <u32>FIELD_DST) break;
    if (spanOf(box, slot) < 0x01000000) bits |= field == FIELD_SRC ? 1 : 2;
  }
  return bits;
}

/** The part of each kind of sharpness (0 neither, 1 src, 2 dst, 3 both), two bits each. */
const TOGETHER: u32 = 0b00_00_00_00;
const BY_ADDRESS: u32 = 0b00_00_01_01;
const WILD_APART: u32 = 0b00_00_10_01;

/** Builds a tree for each part; returns how many. */
function divide(tree: usize, count: u32): u32 {
  let wild: u32 = 0;
  for (let box: u32 = 0; box < count; box++) wild += u32(sharpness(box) == 0);
  const parting = count <= MOST_TOGETHER ? TOGETHER : wild < LEAST_WILD ? BY_ADDRESS : WILD_APART;
  const list = scratchTop;
  let at = tree + FIRST_HEADER;
  let built: u32 = 0;
  for (let part: u32 = 0; part < 4; part++) {
    let n: u32 = 0;
    for (let box: u32 = 0; box < count; box++) {
      if (((parting >> (2 * sharpness(box))) & 3) == part) {
        store<u32>(list + ((<usize>n) << 2), box);
        n++;
      }
    }
    // without any box one part says so
    if (n == 0 && (part < 3 || built > 0)) continue;
    buildPart(at, list, n);
    at += ROOT_BYTES;
    built++;
  }
  return built;
}

function buildPart(part: usize, list: usize, count: u32): void {
  const before = scratchTop;
  const weights = list + ((<usize>count) << 2);
  scratchTop = weights + ((<usize>count) << 2);
  for (let i: u32 = 0; i < count; i++) store<f32>(weights + ((<usize>i) << 2), 1);
  store<u32>(part, load<u32>(list), ROOT_LOWEST);
  const kept = prune(list, count);
  let bits: u32 = 31 - clz(kept | 1) + ROOT_EXTRA;
  bits = min<u32>(bits, ROOT_BITS);
  if (kept <= LEAST_CUT) bits = 0;
  choose(list, <f64>count, kept, ROOT_WINDOWS, bits);
  // a root of no windows is one node
  for (let w: u32 = 0; w < ROOT_WINDOWS; w++) {
    const at = part + (w << 4);
    const there = w < windowCount;
    store<u32>(at, there ? load<u32>(SLOT_FIELD + (windowSlot(w) << 2)) << 2 : 0);
    store<u32>(at, there ? windowShift(w) : 0, 4);
    store<u32>(at, there ? ((<u32>1) << windowBits(w)) - 1 : 0, 8);
    store<u32>(at, there ? windowPlace(w) : 0, 12);
  }
  depthSum = depthCount = 0;
  const nodes = cutNode(list, weights, kept, 0);
  if (nodes == 0) failed = true;
  store<u32>(part, depthCount > 0 ? <u32>(depthSum / depthCount + 0.4) : 0, ROOT_STEPS);
  store<u32>(part, <u32>nodes, ROOT_NODES);
  scratchTop = before;
}

/** Drops what stands behind a box that covers the region; returns how many stay. */
function prune(list: usize, count: u32): u32 {
  for (let i: u32 = 0; i < count; i++) {
    if (coversRegion(load<u32>(list + ((<usize>i) << 2)))) return i + 1;
  }
  return count;
}

function coversRegion(box: u32): bool {
  const record = recordOf(box);
  for (let slot: u32 = 0; slot < slotCount; slot++) {
    const at = record + load<u32>(SLOT_AT + (slot << 2));
    const lo = load<u32>(at);
    const span = load<u32>(at, 16);
    const value = load<u32>(REGION_VALUE + (slot << 2));
    const top = value | ~load<u32>(REGION_MASK + (slot << 2));
    if (value < lo || top - lo > span) return false;
  }
  return true;
}

// -- leaves

function writeLeaf(node: usize, list: usize, count: u32, depth: u32): void {
  depthSum += <f64>depth * <f64>count;
  depthCount += <f64>count;
  if (count == 0) {
    store<u32>(node, FIRST_LEAF | dummy);
    store<u32>(node, 0, 4);
    return;
  }
  store<u32>(node, FIRST_LEAF | load<u32>(list));
  store<u32>(node, count == 1 ? 0 : <u32>restOf(list + 4, count - 1), 4);
}

/** Address of these numbers, the last one marked; equal lists are written once. */
function restOf(list: usize, count: u32): usize {
  let hash: u32 = count * 0x9e3779b9;
  for (let i: u32 = 0; i < count; i++) {
    hash = (hash ^ load<u32>(list + ((<usize>i) << 2))) * 0x85ebca6b;
    hash ^= hash >> 15;
  }
  hash |= 1;
  let at = hash & listTableMask;
  for (;;) {
    const entry = listTable + ((<usize>at) << 3);
    const known = load<u32>(entry);
    if (known == 0) break;
    if (known == hash) {
      const rest = <usize>load<u32>(entry, 4);
      const most = count - 1;
      if (
        load<u32>(rest + ((<usize>most) << 2)) == (load<u32>(list + ((<usize>most) << 2)) | FIRST_LAST) &&
        memory.compare(rest, list, (<usize>most) << 2) == 0
      ) {
        return rest;
      }
    }
    at = (at + 1) & listTableMask;
  }
  spent += <f64>count * 4;
  const rest = take((<usize>count) << 2, 4);
  if (rest == 0) return 0;
  memory.copy(rest, list, (<usize>count) << 2);
  const last = rest + ((<usize>(count - 1)) << 2);
  store<u32>(last, load<u32>(last) | FIRST_LAST);
  if (listCount < (listTableMask >> 2) * 3) {
    listCount++;
    store<u32>(listTable + ((<usize>at) << 3), hash);
    store<u32>(listTable + ((<usize>at) << 3), <u32>rest, 4);
  }
  return rest;
}

// -- choosing windows

/** Windows chosen: u32 slot, u32 shift, u32 bits, u32 place (bits of those before). */
const WINDOWS = memory.data(4 * 16);
let windowCount: u32 = 0;
let totalBits: u32 = 0;
const BEST_WINDOWS = memory.data(4 * 16);

function windowSlot(w: u32): u32 {
  return load<u32>(WINDOWS + (w << 4));
}
function windowShift(w: u32): u32 {
  return load<u32>(WINDOWS + (w << 4), 4);
}
function windowBits(w: u32): u32 {
  return load<u32>(WINDOWS + (w << 4), 8);
}
function windowPlace(w: u32): u32 {
  return load<u32>(WINDOWS + (w << 4), 12);
}

/** Pairs of boxes drawn at once, and how many are looked at to find as many that are still together. */
const MOST_PAIRS: u32 = 96;
const MOST_TRIALS: u32 = 20000;
/** For each pair and slot: u32 differ, u32 half of a, u32 half of b, u32 (zero). */
const PAIRS = memory.data(96 * 16 * 16);
/** For each pair: f32 chance that b shares a's child, f32 that a shares b's. */
const CHANCES = memory.data(96 * 8);
const GAINS = memory.data(16 * 32 * 4);
const MOST_SAMPLED: u32 = 64;
const SAMPLED = memory.data(64 * 4);
/** For each sampled box: how many children it meets. */
const SPREAD = memory.data(64 * 4);

let pairCount: u32 = 0;
/** How many of all pairs those drawn stand for. */
let pairShare: f64 = 1;
/** Of the pairs drawn: the same for the same boxes. */
let random: u32 = 1;

function leafCost(n: f64): f64 {
  return 1 + (n - 1) * 0.5;
}

function costBelow(expected: f64, count: f64): f64 {
  if (expected <= 3) return leafCost(expected);
  const reduction = min<f64>(16, max<f64>(1.3, count / expected));
  const levels = NativeMath.log(expected / 2) / NativeMath.log(reduction);
  return min<f64>(leafCost(expected), STEP * max<f64>(1, levels) + leafCost(2));
}

/** Chooses up to `most` windows of `room` bits in all for the list; windowCount is 0 if nothing pays. */
function choose(list: usize, weight: f64, count: u32, most: u32, room: u32): void {
  windowCount = 0;
  totalBits = 0;
  if (room == 0 || count < 2) return;
  drawPairs(list, count);
  const sampled = min<u32>(count, MOST_SAMPLED);
  for (let i: u32 = 0; i < sampled; i++) {
    store<u32>(SAMPLED + (i << 2), load<u32>(list + ((<usize>(<u32>((<u64>i * <u64>count) / sampled))) << 2)));
    store<f32>(SPREAD + (i << 2), 1);
  }
  const price = BYTE_PRICE / weight;
  const means = limit * (weightDone + weight) + AHEAD_BYTES - spent;
  let bestCost = leafCost(<f64>count);
  let bestCount: u32 = 0;
  let bestBits: u32 = 0;
  while (totalBits < room) {
    if (!widen(most, room)) break;
    // what is it now?
    let shared: f64 = 0;
    let left: u32 = 0;
    for (let p: u32 = 0; p < pairCount; p++) {
      shared += <f64>load<f32>(CHANCES + (p << 3)) + <f64>load<f32>(CHANCES + (p << 3), 4);
      left += u32(load<f32>(CHANCES + (p << 3)) > 0);
    }
    const expected = 1 + (<f64>(count - 1) * shared * pairShare) / <f64>(2 * pairCount);
    let entries: f64 = 0;
    for (let i: u32 = 0; i < sampled; i++) entries += <f64>load<f32>(SPREAD + (i << 2));
    entries /= <f64>sampled;
    const bytes = <f64>((<u32>8) << totalBits) + entries * <f64>count * 4;
    // dealing the boxes out takes 20 bytes of scratch space for each place that one gets
    if (bytes > means || entries * <f64>count * 20 > <f64>(scratchEnd - scratchTop) * 0.5) break;
    const cost = STEP + costBelow(expected, <f64>count) + price * bytes;
    if (cost < bestCost && (most > 2 || totalBits > 1)) {
      bestCost = cost;
      bestCount = windowCount;
      bestBits = totalBits;
      memory.copy(BEST_WINDOWS, WINDOWS, 64);
    }
    if (expected < 1.2) break;
    if (left < 24 && count >= 64) {
      drawPairs(list, count);
      if (pairCount < 2) break;
    }
  }
  windowCount = bestCount;
  totalBits = bestBits;
  memory.copy(WINDOWS, BEST_WINDOWS, 64);
  let place: u32 = 0;
  for (let w: u32 = 0; w < windowCount; w++) {
    store<u32>(WINDOWS + (w << 4), place, 12);
    place += windowBits(w);
  }
}

function drawPairs(list: usize, count: u32): void {
  const all = (count * (count - 1)) >> 1;
  pairCount = 0;
  pairShare = 1;
  if (count < 20 && all <= MOST_PAIRS) {
    if (totalBits > 0) return;
    for (let i: u32 = 1; i < count; i++) {
      for (let j: u32 = 0; j < i; j++)
        addPair(load<u32>(list + ((<usize>i) << 2)), load<u32>(list + ((<usize>j) << 2)));
    }
    return;
  }
  let trials: u32 = 0;
  const most: u32 = totalBits == 0 ? (count < 200 ? 48 : MOST_PAIRS) : min<u32>(MOST_TRIALS, count << 2);
  while (trials < most && pairCount < MOST_PAIRS) {
    trials++;
    random = random * 1664525 + 1013904223;
    const i = <u32>((<u64>random * <u64>count) >> 32);
    random = random * 1664525 + 1013904223;
    let j = <u32>((<u64>random * <u64>(count - 1)) >> 32);
    if (j >= i) j++;
    const a = load<u32>(list + ((<usize>i) << 2));
    const b = load<u32>(list + ((<usize>j) << 2));
    if (totalBits == 0 || together(a, b)) addPair(a, b);
  }
  pairShare = <f64>pairCount / <f64>trials;
}

/** Some child of the windows so far is met by both. */
function together(a: u32, b: u32): bool {
  for (let w: u32 = 0; w < windowCount; w++) {
    const slot = windowSlot(w);
    const care = load<u32>(careOf(a) + (slot << 2)) & load<u32>(careOf(b) + (slot << 2));
    const inside = (((<u32>1) << windowBits(w)) - 1) << windowShift(w);
    if (care & inside & (loOf(a, slot) ^ loOf(b, slot))) return false;
  }
  return true;
}

function addPair(a: u32, b: u32): void {
  const at = PAIRS + ((<usize>pairCount) << 8);
  for (let slot: u32 = 0; slot < slotCount; slot++) {
    const free = ~load<u32>(REGION_MASK + (slot << 2));
    const careA = load<u32>(careOf(a) + (slot << 2)) & free;
    const careB = load<u32>(careOf(b) + (slot << 2)) & free;
    store<u32>(at + (slot << 4), careA & careB & (loOf(a, slot) ^ loOf(b, slot)));
    store<u32>(at + (slot << 4), careB & ~careA, 4);
    store<u32>(at + (slot << 4), careA & ~careB, 8);
  }
  let ab: f32 = 1;
  let ba: f32 = 1;
  for (let w: u32 = 0; w < windowCount; w++) {
    const slot = windowSlot(w) << 4;
    const inside = (((<u32>1) << windowBits(w)) - 1) << windowShift(w);
    ab *= halved(load<u32>(at + slot, 4) & inside);
    ba *= halved(load<u32>(at + slot, 8) & inside);
  }
  store<f32>(CHANCES + (pairCount << 3), ab);
  store<f32>(CHANCES + (pairCount << 3), ba, 4);
  pairCount++;
}

/** One half for each bit. */
function halved(bits: u32): f32 {
  return reinterpret<f32>((127 - popcnt(bits)) << 23);
}

/** Adds the bit, or the window, that tells most pairs apart; false if none does. */
function widen(most: u32, room: u32): bool {
  memory.fill(GAINS, 0, (<usize>slotCount) << 7);
  for (let p: u32 = 0; p < pairCount; p++) {
    const ab = load<f32>(CHANCES + (p << 3));
    const ba = load<f32>(CHANCES + (p << 3), 4);
    if (ab == 0) continue;
    for (let slot: u32 = 0; slot < slotCount; slot++) {
      const at = PAIRS + ((<usize>p) << 8) + (slot << 4);
      const gains = GAINS + (slot << 7);
      addGain(gains, load<u32>(at), ab + ba);
      addGain(gains, load<u32>(at, 4), ab * 0.5);
      addGain(gains, load<u32>(at, 8), ba * 0.5);
    }
  }
  let best: f32 = 0;
  let bestWindow: u32 = NONE;
  let bestSlot: u32 = 0;
  let bestBit: u32 = 0;
  // beside a window
  for (let w: u32 = 0; w < windowCount; w++) {
    const slot = windowSlot(w);
    const shift = windowShift(w);
    const end = shift + windowBits(w);
    const known = load<u32>(REGION_MASK + (slot << 2));
    if (windowBits(w) >= 12) continue;
    if (shift > 0 && ((known >> (shift - 1)) & 1) == 0 && !taken(slot, shift - 1)) {
      const gain = load<f32>(GAINS + (slot << 7) + ((shift - 1) << 2));
      if (gain > best) {
        best = gain;
        bestWindow = w;
        bestSlot = slot;
        bestBit = shift - 1;
      }
    }
    if (end < 32 && ((known >> end) & 1) == 0 && !taken(slot, end)) {
      const gain = load<f32>(GAINS + (slot << 7) + (end << 2));
      if (gain > best) {
        best = gain;
        bestWindow = w;
        bestSlot = slot;
        bestBit = end;
      }
    }
  }
  // a new window: what its neighbours promise counts too
  if (windowCount < most) {
    for (let slot: u32 = 0; slot < slotCount; slot++) {
      const known = load<u32>(REGION_MASK + (slot << 2));
      for (let bit: u32 = 0; bit < 32; bit++) {
        if ((known >> bit) & 1) continue;
        const own = load<f32>(GAINS + (slot << 7) + (bit << 2));
        if (own <= 0 || taken(slot, bit)) continue;
        let gain = own;
        if (windowCount == 0) {
          // a run that goes on promises more
          const above =
            bit < 31 && ((known >> (bit + 1)) & 1) == 0 ? load<f32>(GAINS + (slot << 7) + ((bit + 1) << 2)) : 0;
          const below =
            bit > 0 && ((known >> (bit - 1)) & 1) == 0 ? load<f32>(GAINS + (slot << 7) + ((bit - 1) << 2)) : 0;
          gain += <f32>0.25 * (above + below);
        }
        if (gain > best) {
          best = gain;
          bestWindow = NONE;
          bestSlot = slot;
          bestBit = bit;
        }
      }
    }
  }
  if (best <= 0) return false;
  if (bestWindow == NONE) {
    const at = WINDOWS + (windowCount << 4);
    store<u32>(at, bestSlot);
    store<u32>(at, bestBit, 4);
    store<u32>(at, 1, 8);
    windowCount++;
  } else {
    const at = WINDOWS + (bestWindow << 4);
    store<u32>(at, min(windowShift(bestWindow), bestBit), 4);
    store<u32>(at, windowBits(bestWindow) + 1, 8);
  }
  totalBits++;
  const bit = (<u32>1) << bestBit;
  for (let p: u32 = 0; p < pairCount; p++) {
    const at = PAIRS + ((<usize>p) << 8) + (bestSlot << 4);
    const chances = CHANCES + (p << 3);
    if (load<u32>(at) & bit) {
      store<u64>(chances, 0);
    } else {
      if (load<u32>(at, 4) & bit) store<f32>(chances, load<f32>(chances) * 0.5);
      if (load<u32>(at, 8) & bit) store<f32>(chances, load<f32>(chances, 4) * 0.5, 4);
    }
  }
  const sampled = <u32>MOST_SAMPLED;
  for (let i: u32 = 0; i < sampled; i++) {
    const box = load<u32>(SAMPLED + (i << 2));
    if ((load<u32>(careOf(box) + (bestSlot << 2)) & bit) == 0) {
      store<f32>(SPREAD + (i << 2), load<f32>(SPREAD + (i << 2)) * 2);
    }
  }
  return true;
}

function taken(slot: u32, bit: u32): bool {
  for (let w: u32 = 0; w < windowCount; w++) {
    if (windowSlot(w) == slot && bit >= windowShift(w) && bit < windowShift(w) + windowBits(w)) return true;
  }
  return false;
}

function addGain(gains: usize, bits: u32, gain: f32): void {
  while (bits != 0) {
    const at = gains + (ctz(bits) << 2);
    store<f32>(at, load<f32>(at) + gain);
    bits &= bits - 1;
  }
}

// -- cutting

const VALUES = memory.data(4096 * 4);
/** Child numbers of one box. */
const CHILDREN = memory.data(65536 * 4);

/** Writes the child numbers of a box at CHILDREN; returns how many. */
function childrenOf(box: u32): u32 {
  let count: u32 = 1;
  store<u32>(CHILDREN, 0);
  for (let w: u32 = 0; w < windowCount; w++) {
    const slot = windowSlot(w);
    const shift = windowShift(w);
    const bits = windowBits(w);
    const place = windowPlace(w);
    const care = load<u32>(careOf(box) + (slot << 2));
    const inside = (((<u32>1) << bits) - 1) << shift;
    const lo = loOf(box, slot);
    if ((care & inside) == inside) {
      const value = ((lo & inside) >> shift) << place;
      for (let c: u32 = 0; c < count; c++) {
        const at = CHILDREN + ((<usize>c) << 2);
        store<u32>(at, load<u32>(at) | value);
      }
      continue;
    }
    const mask = load<u32>(REGION_MASK + (slot << 2));
    const value = load<u32>(REGION_VALUE + (slot << 2));
    const n = windowValues(lo, lo + spanOf(box, slot), mask, value, shift, bits, VALUES);
    const values = n == ALL_VALUES ? (<u32>1) << bits : n;
    // the first value in place, the others behind
    for (let v = values - 1; v < values; v--) {
      const set = (n == ALL_VALUES ? v : load<u32>(VALUES + ((<usize>v) << 2))) << place;
      const to = CHILDREN + ((<usize>v * count) << 2);
      for (let c: u32 = 0; c < count; c++) {
        store<u32>(to + ((<usize>c) << 2), load<u32>(CHILDREN + ((<usize>c) << 2)) | set);
      }
    }
    count *= values;
  }
  return count;
}

/** Builds the children of the windows chosen; address of child 0, or 0 where scratch or memory does not suffice. */
function cutNode(list: usize, weights: usize, count: u32, depth: u32): usize {
  const children: u32 = (<u32>1) << totalBits;
  const before = scratchTop;
  const starts = (scratchTop + 7) & ~7;
  const pairs = starts + ((<usize>children + 1) << 2);
  if (pairs > scratchEnd) return 0;
  memory.fill(starts, 0, (<usize>children + 1) << 2);
  let at = pairs;
  for (let i: u32 = 0; i < count; i++) {
    const box = load<u32>(list + ((<usize>i) << 2));
    const n = childrenOf(box);
    if (at + <usize>n * 12 > scratchEnd) return 0;
    const weight = load<f32>(weights + ((<usize>i) << 2)) / <f32>n;
    for (let c: u32 = 0; c < n; c++) {
      const child = load<u32>(CHILDREN + ((<usize>c) << 2));
      const start = starts + ((<usize>child) << 2);
      store<u32>(start, load<u32>(start) + 1);
      store<u32>(at, child);
      store<u32>(at, box, 4);
      store<f32>(at, weight, 8);
      at += 12;
    }
  }
  const entries = <u32>((at - pairs) / 12);
  const lists = at;
  const weightsBelow = lists + ((<usize>entries) << 2);
  if (weightsBelow + ((<usize>entries) << 2) + 256 > scratchEnd) return 0;
  // counts -> starts
  let sum: u32 = 0;
  for (let child: u32 = 0; child <= children; child++) {
    const start = starts + ((<usize>child) << 2);
    const own = load<u32>(start);
    store<u32>(start, sum);
    sum += own;
  }
  for (let pair = pairs; pair < lists; pair += 12) {
    const start = starts + ((<usize>load<u32>(pair)) << 2);
    const place = load<u32>(start);
    store<u32>(lists + ((<usize>place) << 2), load<u32>(pair, 4));
    store<f32>(weightsBelow + ((<usize>place) << 2), load<f32>(pair, 8));
    store<u32>(start, place + 1);
  }
  const nodes = take((<usize>children) << 3, min<usize>(64, (<usize>children) << 3));
  if (nodes == 0) return 0;

  const working = weightsBelow + ((<usize>entries) << 2);
  spent += <f64>(children << 3);
  scratchTop = working;
  // kept here: what lies below chooses anew
  const ownCount = windowCount;
  const saved = scratchTop;
  memory.copy(saved, REGION_MASK, 64);
  memory.copy(saved + 64, REGION_VALUE, 64);
  memory.copy(saved + 128, WINDOWS, 64);
  scratchTop = saved + 192;
  let previous: usize = 0;
  let previousCount: u32 = NONE;
  let previousSimple = false;
  for (let child: u32 = 0; child < children && !failed; child++) {
    const from = child == 0 ? 0 : load<u32>(starts + ((<usize>(child - 1)) << 2));
    const n = load<u32>(starts + ((<usize>child) << 2)) - from;
    const own = lists + ((<usize>from) << 2);
    const node = nodes + ((<usize>child) << 3);
    if (n == 0) {
      writeLeaf(node, own, 0, 0);
      previousCount = NONE;
      continue;
    }
    memory.copy(WINDOWS, saved + 128, 64);
    windowCount = ownCount;
    memory.copy(REGION_MASK, saved, 64);
    memory.copy(REGION_VALUE, saved + 64, 64);
    let simple = true;
    for (let w: u32 = 0; w < ownCount; w++) {
      const slot = windowSlot(w);
      const inside = ((<u32>1) << windowBits(w)) - 1;
      const mask = load<u32>(REGION_MASK + (slot << 2)) | (inside << windowShift(w));
      const value = load<u32>(REGION_VALUE + (slot << 2)) | (((child >> windowPlace(w)) & inside) << windowShift(w));
      store<u32>(REGION_MASK + (slot << 2), mask);
      store<u32>(REGION_VALUE + (slot << 2), value);
    }
    if (n > 2) {
      for (let w: u32 = 0; w < ownCount && simple; w++) simple = decidedBy(own, n, windowSlot(w));
      if (simple && previousSimple && n == previousCount && memory.compare(own, previous, (<usize>n) << 2) == 0) {
        store<u64>(node, load<u64>(node - 8));
        continue;
      }
      previous = own;
      previousCount = n;
      previousSimple = simple;
    } else {
      previousCount = NONE;
    }
    buildNode(node, own, weightsBelow + ((<usize>from) << 2), n, depth);
  }
  memory.copy(REGION_MASK, saved, 64);
  memory.copy(REGION_VALUE, saved + 64, 64);
  scratchTop = before;
  return nodes;
}

function decidedBy(list: usize, count: u32, slot: u32): bool {
  const value = load<u32>(REGION_VALUE + (slot << 2));
  const top = value | ~load<u32>(REGION_MASK + (slot << 2));
  const at = load<u32>(SLOT_AT + (slot << 2));
  for (let i: u32 = 0; i < count; i++) {
    const record = recordOf(load<u32>(list + ((<usize>i) << 2))) + at;
    const lo = load<u32>(record);
    if (value < lo || top - lo > load<u32>(record, 16)) return false;
  }
  return true;
}

/** The node's word for the windows chosen: two of them, or one divided in two. */
function cutWord(): u32 {
  let shiftA = windowShift(0);
  let bitsA = windowBits(0);
  let slotB = windowSlot(0);
  let shiftB = shiftA + bitsA - 1;
  let bitsB: u32 = 1;
  if (windowCount == 2) {
    slotB = windowSlot(1);
    shiftB = windowShift(1);
    bitsB = windowBits(1);
  } else {
    bitsA--;
  }
  return (
    (load<u32>(SLOT_FIELD + (windowSlot(0) << 2)) << 2) |
    ((32 - shiftA - bitsA) << 6) |
    ((32 - bitsA) << 11) |
    (load<u32>(SLOT_FIELD + (slotB << 2)) << 16) |
    ((32 - shiftB - bitsB) << 20) |
    ((32 - bitsB) << 25)
  );
}

function buildNode(node: usize, list: usize, weights: usize, all: u32, depth: u32): void {
  const count = prune(list, all);
  let weight: f64 = 0;
  for (let i: u32 = 0; i < all; i++) weight += <f64>load<f32>(weights + ((<usize>i) << 2));
  if (count > LEAST_CUT && depth < MOST_DEPTH) {
    choose(list, weight, count, 2, min<u32>(INNER_BITS, 31 - clz(count) + 2));
    if (windowCount > 0) {
      const cut = cutWord();
      const nodes = cutNode(list, weights, count, depth + 1);
      if (nodes != 0) {
        store<u32>(node, cut);
        store<u32>(node, <u32>nodes, 4);
        return;
      }
    }
  }
  writeLeaf(node, list, count, depth);
  weightDone += weight;
}
