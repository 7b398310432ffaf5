// Boxes -> the tree of a program whose first box that holds is the answer (PROGRAM_FIRST_MATCH): filter sets, chains in
// which every clause ends the look-up. Many packets walk it at once (first-match.ts).
//
// What. Every box is a record of 16-bit lanes, tested by one vector compare (first-lanes.ts). A node picks up to sixteen
// bits out of the key, any of them, from any fields: one byte shuffle, one mask, one compare give the child's number
// (first-match.ts), so that wide nodes cost no more than narrow ones. Which bits: first-choose.ts. Leaves are lists of
// boxes as linked cells, the first of them in the node itself; equal tails are one, since lists differ in their sharp
// first boxes and end in the same wild ones. A box that covers its region is the answer of the cell before, untested.
//
// Dealing out. Lists are halved bit by bit, and where no box asks a bit both halves are built once: a node of 2^16
// children costs what its different lists cost. Boxes of which an earlier one leaves nothing in the region are dropped.
//
// What a cut is worth. Each box carries its weight down: 1 at the root, halved wherever both halves get it. Bytes have a
// price, and what may be spent grows with the weight that is done, so that what one subtree saves the next may use.
//
// Parts. Few boxes make one tree. In large sets boxes wild in one address and sharp in the other would multiply whichever
// address is cut: four ways to divide them are weighed by what their roots promise and by how many packets would have to
// ask a second tree, since later parts are asked only by packets that may still find an earlier box.
//
// Tried and lost: leaves of blocks of four boxes (half the speed and twice the bytes at 1k and 10k); windows of neighbouring
// bits, two to a node, chosen on pairs of boxes drawn by lot (a third slower, twice the building time); memory handed down
// to children by the length of their lists (starves what is deep); three parts for small sets (a third slower); more than
// 700,000 bytes at 1k (what leaves the second-level cache costs more than the tests it saves: 35 for 45 million/s); a fixed
// guess of what a long list costs below (chains of a dozen nodes of one bit each in sets of nested networks).

import {
  FIRST_CLAUSES,
  FIRST_HEADER,
  FIRST_LANE_AT,
  FIRST_LANES,
  FIRST_PARTS,
  FIRST_PLAIN,
  FIRST_RECORDS,
  FIRST_SHIFT,
  FIRST_VECTORS,
  MOST_PARTS,
  NONE,
  PROGRAM_TREE,
  ROOT_BYTES,
  ROOT_LOWEST,
  ROOT_STEPS,
} from "../src/layout";
import { BITS, bestCost, bitCount, chooseBits, setCares, setPrice, cares, withBit } from "./first-choose";
import {
  chooseLanes,
  clauseOf,
  LANE_AT,
  laneCount,
  plain,
  recordCount,
  records,
  recordShift,
  vectors,
  writeRecords,
} from "./first-lanes";
import { allocate, mark } from "./memory";
import { meets } from "./pattern";
import { boxCountOf, boxesOf, fieldMaskOf } from "./program";

const CUT_BYTES: usize = 32;

/** No more boxes than these are ever cut. */
const LEAST_CUT: u32 = 2;
const MOST_DEPTH: u32 = 12;
/** A step that fewer take is taken by those alone. */
const COMMON: f64 = 0.5;
/** Scratch space that is always left for what a node needs beside its lists. */
const LEAST_SCRATCH: usize = 256;
/** Longer lists are not searched for boxes that others hide. */
const MOST_HIDDEN: u32 = 48;
/** Widest root and widest inner node, in bits; and how many more bits than it has boxes to tell apart. */
const ROOT_BITS: u32 = 16;
const INNER_BITS: u32 = 12;
const ROOT_EXTRA: u32 = 4;
const INNER_EXTRA: u32 = 2;
/** Nodes and lists may take so many bytes for each box, or so many whatever their number, and so many ahead of their turn. */
const BYTES_A_BOX: f64 = 150;
const LEAST_BYTES: f64 = 600000;
const AHEAD_BYTES: f64 = 16384;
/** Fewer boxes make one tree. An address of fewer bits is wild. */
const LEAST_PARTED: u32 = 1500;
const WILD: u32 = 8;
/** What it costs to ask another part, in tests, and to know that it need not be asked; and what a fair root costs. */
const VISIT: f64 = 2.5;
const PASS: f64 = 0.4;
const FAIR: f64 = 7;
/** Boxes of longer lists that are looked at, to choose bits and to choose the parts. */
const COUNTED: u32 = 16384;
const ESTIMATED: u32 = 4096;

let failed: bool = false;
let spent: f64 = 0;
let limit: f64 = 0;
let weightDone: f64 = 0;
/** Weight of the leaves of a part at each depth. */
const AT_DEPTH = memory.data(8 * 16, 16);

/** For each box its lanes (first vector) that are no prefix: one bit each. */
let ranges: usize = 0;
let scratchStart: usize = 0;
let scratchEnd: usize = 0;
let scratchTop: usize = 0;
let cellTable: usize = 0;
let cellTableMask: u32 = 0;
let cellCount: u32 = 0;
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

function recordOf(box: u32): usize {
  return records + ((<usize>box) << recordShift);
}

/** Builds the first-match tree; false where memory does not suffice. */
export function buildFirst(program: usize): bool {
  const boxes = boxesOf(program);
  const fields = fieldMaskOf(program);
  failed = false;
  const before = mark();
  const tree = allocate(FIRST_HEADER + <usize>MOST_PARTS * ROOT_BYTES);
  if (tree == 0) return false;
  chooseLanes(boxes, boxCountOf(program), fields);
  if (!writeRecords(boxes, boxCountOf(program), fields)) return false;
  const count = recordCount;
  store<u32>(tree, <u32>records, FIRST_RECORDS);
  store<u32>(tree, vectors, FIRST_VECTORS);
  store<u32>(tree, <u32>clauseOf, FIRST_CLAUSES);
  store<u32>(tree, laneCount, FIRST_LANES);
  store<u32>(tree, u32(plain), FIRST_PLAIN);
  store<u32>(tree, recordShift, FIRST_SHIFT);
  for (let lane: u32 = 0; lane < laneCount; lane++) {
    store<u32>(tree + FIRST_LANE_AT + (lane << 2), load<u32>(LANE_AT + (lane << 2)));
  }
  const recordBytes = mark() - before;

  // scratch space: kept from one build to the next
  cellTableMask = 1023;
  while (cellTableMask < count << 1) cellTableMask = cellTableMask * 2 + 1;
  cellCount = 0;
  const tableBytes: usize = (<usize>cellTableMask + 1) << 2;
  const wanted = tableBytes + <usize>count * (16 + 4 + 8 * 10) + (4 << 20);
  if (scratchEnd - scratchStart < wanted) {
    scratchStart = allocate(wanted);
    if (scratchStart == 0) {
      scratchEnd = 0;
      return false;
    }
    scratchEnd = scratchStart + wanted;
  }
  cellTable = scratchStart;
  memory.fill(cellTable, 0, tableBytes);
  setCares(cellTable + tableBytes);
  ranges = cares + ((<usize>count) << 4);
  scratchTop = (ranges + ((<usize>count) << 2) + 15) & ~15;
  for (let box: u32 = 0; box < count; box++) findCares(box);

  const start = mark();
  chunkTop = chunkEnd = 0;
  spent = 0;
  weightDone = 0;
  limit = max<f64>(BYTES_A_BOX, LEAST_BYTES / <f64>max<u32>(1, count));
  setPrice(limit);
  store<u32>(tree, divide(tree, count), FIRST_PARTS);
  firstBytes = <u32>(recordBytes + (mark() - start));
  store<u32>(program, <u32>tree, PROGRAM_TREE);
  return !failed;
}

/** Bits that are the same in the whole box; and lanes that are no prefix. */
function findCares(box: u32): void {
  const record = recordOf(box);
  let ranged: u32 = 0;
  for (let lane: usize = 0; lane < 16; lane += 2) {
    const lo = <u32>load<u16>(record + lane);
    const span = <u32>load<u16>(record + lane, 16);
    const differ = lo ^ (lo + span);
    const free = differ == 0 ? 0 : 0xffffffff >> clz(differ);
    store<u16>(cares + ((<usize>box) << 4) + lane, <u16>~free);
    if (free != span) ranged |= (<u32>1) << ((<u32>lane) >> 1);
  }
  store<u32>(ranges + ((<usize>box) << 2), ranged);
}

function careOf(box: u32): v128 {
  return v128.load(cares + ((<usize>box) << 4));
}

// -- parts

/** Bits of an address that a box asks, from above: `at` is the lane of its lower half. */
function lengthOf(box: u32, at: usize): u32 {
  const record = recordOf(box) + (at << 1);
  const high = <u32>load<u16>(record, 18);
  return high != 0 ? clz<u32>(high) - 16 : clz<u32>(<u32>load<u16>(record, 16));
}

/** Ways to divide boxes: all together; by destination; by destination and source; by the sharper of the two. */
const PARTINGS: u32 = 4;
const BY_DESTINATION: u32 = 1;
const BY_BOTH: u32 = 2;
const BY_SHARPER: u32 = 3;

function partOf(box: u32, parting: u32): u32 {
  const src = lengthOf(box, 0);
  const dst = lengthOf(box, 2);
  if (parting == BY_DESTINATION) return u32(dst <= WILD);
  if (parting == BY_BOTH) return dst > WILD ? 0 : src > WILD ? 1 : 2;
  if (parting == BY_SHARPER) return max(src, dst) <= WILD ? 2 : u32(src > dst);
  return 0;
}

/** Writes the boxes of the part, each with weight 1, to the scratch space; how many. */
function listPart(count: u32, parting: u32, part: u32): u32 {
  let n: u32 = 0;
  for (let box: u32 = 0; box < count; box++) {
    if (partOf(box, parting) != part) continue;
    const entry = scratchTop + ((<usize>n) << 3);
    store<u32>(entry, box);
    store<f32>(entry, 1, 4);
    n++;
  }
  return n;
}

/** The parting whose roots promise most: each part costs those who belong to it, and those who have to ask it. */
function chooseParting(count: u32): u32 {
  if (!plain || count < LEAST_PARTED) return 0;
  let best: u32 = 0;
  let bestSum = f64.MAX_VALUE;
  for (let parting: u32 = 0; parting < PARTINGS; parting++) {
    let sum: f64 = 0;
    for (let part: u32 = 0; part < <u32>MOST_PARTS; part++) {
      const list = scratchTop;
      const n = listPart(count, parting, part);
      if (n == 0) continue;
      const means = limit * <f64>n * 0.5 + AHEAD_BYTES;
      scratchTop = list + ((<usize>n) << 3);
      chooseBits(list, n, <f64>n, i16x8.splat(0), rootBits(n), means, 0, ESTIMATED, scratchTop, scratchEnd);
      scratchTop = list;
      // what the root leaves far too much of becomes worse than it promises, since bytes run out
      const excess = max<f64>(0, bestCost - FAIR);
      sum += (bestCost + excess * excess) * <f64>n;
      if (part > 0) sum += VISIT * <f64>(count - load<u32>(list)) + PASS * <f64>count;
    }
    if (sum < bestSum) {
      bestSum = sum;
      best = parting;
    }
  }
  return best;
}

function rootBits(count: u32): u32 {
  return count <= LEAST_CUT ? 0 : min<u32>(ROOT_BITS, 31 - clz(count) + ROOT_EXTRA);
}

/** Builds a tree for each part; returns how many. */
function divide(tree: usize, count: u32): u32 {
  const parting = chooseParting(count);
  let at = tree + FIRST_HEADER;
  let built: u32 = 0;
  for (let part: u32 = 0; part < <u32>MOST_PARTS; part++) {
    const list = scratchTop;
    const n = listPart(count, parting, part);
    // without any box one part says so
    if (n == 0 && (part < 3 || built > 0)) continue;
    store<u32>(at, n == 0 ? 0 : load<u32>(list), ROOT_LOWEST);
    scratchTop = list + ((<usize>n) << 3);
    memory.fill(AT_DEPTH, 0, 8 * 16);
    const no = i16x8.splat(0);
    setRegion(no, no);
    buildRoot(at, list, n);
    store<u32>(at, commonSteps(), ROOT_STEPS);
    scratchTop = list;
    at += ROOT_BYTES;
    built++;
  }
  return built;
}

/** How many steps everyone is to take: a step that is taken by list costs more for those who take it. */
function commonSteps(): u32 {
  let deeper: f64 = 0;
  for (let depth: usize = 0; depth < 16; depth++) deeper += load<f64>(AT_DEPTH + (depth << 3));
  const all = deeper;
  let steps: u32 = 0;
  for (; steps < MOST_DEPTH; steps++) {
    deeper -= load<f64>(AT_DEPTH + ((<usize>steps) << 3));
    if (deeper < all * COMMON) break;
  }
  return steps;
}

// -- regions: bits known in the first vector, and their values

const MASK = memory.data(16, 16);
const VALUE = memory.data(16, 16);

function setRegion(mask: v128, value: v128): void {
  v128.store(MASK, mask);
  v128.store(VALUE, value);
}

function coversRegion(box: u32): bool {
  const record = recordOf(box);
  const value = v128.load(VALUE);
  const top = v128.or(value, v128.not(v128.load(MASK)));
  const lo = v128.load(record);
  const span = v128.load(record, 16);
  let bad = v128.or(i16x8.sub_sat_u(i16x8.sub(value, lo), span), i16x8.sub_sat_u(i16x8.sub(top, lo), span));
  for (let v: usize = 32; v < (<usize>vectors) << 5; v += 32) {
    bad = v128.or(bad, v128.not(v128.and(v128.load(record + v, 16), i16x8.eq(v128.load(record + v), i16x8.splat(0)))));
  }
  return !v128.any_true(bad);
}

/** Drops what stands behind a box that covers the region; how many stay, that box not among them: see `final`. */
let final: u32 = NONE;
function prune(list: usize, count: u32): u32 {
  for (let i: u32 = 0; i < count; i++) {
    const box = load<u32>(list + ((<usize>i) << 3));
    if (coversRegion(box)) {
      final = box;
      return i;
    }
  }
  final = NONE;
  return count;
}

/** Drops boxes of which an earlier one leaves nothing in the region; how many stay. */
function dropHidden(list: usize, count: u32): u32 {
  let kept: u32 = 0;
  const bottom = v128.load(VALUE);
  const top = v128.or(bottom, v128.not(v128.load(MASK)));
  for (let i: u32 = 0; i < count; i++) {
    const entry = load<u64>(list + ((<usize>i) << 3));
    const record = recordOf(<u32>entry);
    let hidden = false;
    for (let j: u32 = 0; j < kept && !hidden; j++) {
      const earlier = recordOf(load<u32>(list + ((<usize>j) << 3)));
      let bad = outside(record, earlier, bottom, top);
      for (let v: usize = 32; v < (<usize>vectors) << 5; v += 32) {
        bad = v128.or(bad, outside(record + v, earlier + v, i16x8.splat(0), i16x8.splat(-1)));
      }
      hidden = !v128.any_true(bad);
    }
    store<u64>(list + ((<usize>kept) << 3), entry);
    kept += u32(!hidden);
  }
  return kept;
}

/** Not zero in lanes where the part of the box between bottom and top is not all inside the other. */
function outside(box: usize, other: usize, bottom: v128, top: v128): v128 {
  const lo = v128.load(box);
  const hi = i16x8.min_u(i16x8.add(lo, v128.load(box, 16)), top);
  const least = v128.load(other);
  const span = v128.load(other, 16);
  return v128.or(
    i16x8.sub_sat_u(i16x8.sub(i16x8.max_u(lo, bottom), least), span),
    i16x8.sub_sat_u(i16x8.sub(hi, least), span),
  );
}

// -- leaves

function word(box: u32): u32 {
  return (box << 1) | 1;
}

function writeLeaf(cell: usize, list: usize, count: u32, last: u32): void {
  if (count == 0) {
    store<u32>(cell, word(last));
    store<u32>(cell, word(last), 4);
    return;
  }
  let next = word(last);
  for (let i = count - 1; i > 0; i--) next = cellOf(load<u32>(list + ((<usize>i) << 3)), next);
  store<u32>(cell, word(load<u32>(list)));
  store<u32>(cell, next, 4);
}

/** Address of a cell that says so; equal ones are written once. */
function cellOf(box: u32, next: u32): u32 {
  const first = word(box);
  let hash = (first * 0x9e3779b9) ^ next;
  hash = (hash ^ (hash >> 15)) * 0x85ebca6b;
  let at = (hash ^ (hash >> 13)) & cellTableMask;
  for (;;) {
    const known = load<u32>(cellTable + ((<usize>at) << 2));
    if (known == 0) break;
    if (load<u32>(known) == first && load<u32>(known, 4) == next) return known;
    at = (at + 1) & cellTableMask;
  }
  const cell = take(8, 8);
  if (cell == 0) return next;
  spent += 8;
  store<u32>(cell, first);
  store<u32>(cell, next, 4);
  if (cellCount < (cellTableMask >> 2) * 3) {
    cellCount++;
    store<u32>(cellTable + ((<usize>at) << 2), <u32>cell);
  }
  return <u32>cell;
}

// -- nodes

function weightOf(list: usize, count: u32): f64 {
  let sum: f64 = 0;
  for (let i: u32 = 0; i < count; i++) sum += <f64>load<f32>(list + ((<usize>i) << 3), 4);
  return sum;
}

function buildRoot(root: usize, list: usize, all: u32): void {
  const count = prune(list, all);
  const last = final;
  const bits = rootBits(count);
  const means = limit * <f64>count * 0.5 + AHEAD_BYTES;
  chooseBits(list, count, <f64>count, v128.load(MASK), bits, means, 0, COUNTED, scratchTop, scratchEnd);
  cutCell(root, list, count, last, 0);
}

/** Writes the node of the bits chosen and all below it. */
function cutCell(cell: usize, list: usize, count: u32, last: u32, depth: u32): void {
  const bits = bitCount;
  const cut = take(CUT_BYTES + ((<usize>8) << bits), 32);
  if (cut == 0) return;
  spent += <f64>(CUT_BYTES + ((<usize>8) << bits));
  memory.fill(cut, 0, CUT_BYTES);
  const saved = scratchTop;
  for (let i: u32 = 0; i < bits; i++) {
    const bit = load<u32>(BITS + (i << 2));
    // what is chosen first decides on the highest bit of the child's number, so that what is alike lies together
    const place = bits - 1 - i;
    store<u8>(cut + place, <u8>(bit >> 3));
    store<u8>(cut + place, <u8>((<u32>1) << (bit & 7)), 16);
    store<u32>(saved + (i << 2), bit);
  }
  const chosen = saved;
  scratchTop = saved + 64;
  const nodes = cut + CUT_BYTES;
  store<u32>(cell, <u32>cut);
  store<u32>(cell, <u32>nodes, 4);
  deal(nodes, list, count, last, chosen, bits, depth);
  scratchTop = saved;
}

/** Cells of the node for the boxes of the list, by the `left` bits at `bits`. */
function deal(cells: usize, list: usize, all: u32, last: u32, bits: usize, left: u32, depth: u32): void {
  if (failed) return;
  if (left == 0) {
    finish(cells, list, all, last, depth);
    return;
  }
  let count = all;
  if (all < 64) {
    count = prune(list, all);
    if (count < all) last = final;
  }
  // bits that some box asks
  let asked = i16x8.splat(0);
  let ranged: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const box = load<u32>(list + ((<usize>i) << 3));
    asked = v128.or(asked, careOf(box));
    ranged |= load<u32>(ranges + ((<usize>box) << 2));
  }
  v128.store(ASKED, asked);
  const bit = load<u32>(bits);
  const half = (<usize>4) << left;
  const first = u32((((<u32>load<u8>(ASKED + (bit >> 3))) >> (bit & 7)) & 1) | ((ranged >> (bit >> 4)) & 1));
  if (first == 0) {
    deal(cells, list, count, last, bits + 4, left - 1, depth);
    memory.copy(cells + half, cells, half);
    return;
  }
  const saved = scratchTop;
  if (saved + ((<usize>count) << 3) + LEAST_SCRATCH > scratchEnd) {
    // lists of lists of boxes that hardly any bit tells apart: one long leaf
    writeLeaf(cells, list, count, last);
    for (let to = cells + 8; to < cells + half * 2; to += 8) store<u64>(to, load<u64>(cells));
    return;
  }
  const mask = v128.load(MASK);
  const value = v128.load(VALUE);
  const maskAfter = withBit(mask, bit);
  for (let side: u32 = 0; side < 2; side++) {
    setRegion(maskAfter, side == 0 ? value : withBit(value, bit));
    let m: u32 = 0;
    const to = saved;
    const byte = <usize>(bit >> 3);
    const place = (<u32>1) << (bit & 7);
    const lane = (<usize>(bit >> 4)) << 1;
    for (let i: u32 = 0; i < count; i++) {
      const entry = list + ((<usize>i) << 3);
      const box = load<u32>(entry);
      const record = recordOf(box);
      let weight = load<f32>(entry, 4);
      if ((<u32>load<u8>(cares + ((<usize>box) << 4) + byte)) & place) {
        if (u32(((<u32>load<u8>(record + byte)) & place) != 0) != side) continue;
      } else if ((load<u32>(ranges + ((<usize>box) << 2)) >> (bit >> 4)) & 1) {
        const lo = <u32>load<u16>(record + lane);
        const hi = lo + <u32>load<u16>(record + lane, 16);
        const laneMask = (<u32>load<u16>(MASK + lane)) | 0xffff0000;
        if (!meets(lo, hi, laneMask, <u32>load<u16>(VALUE + lane))) continue;
        weight *= 0.5;
      } else weight *= 0.5;
      store<u32>(to + ((<usize>m) << 3), box);
      store<f32>(to + ((<usize>m) << 3), weight, 4);
      m++;
    }
    scratchTop = to + ((<usize>m) << 3);
    deal(side == 0 ? cells : cells + half, to, m, last, bits + 4, left - 1, depth);
    scratchTop = saved;
  }
  setRegion(mask, value);
}
const ASKED = memory.data(16, 16);

/** The list of a cell may have been pruned on the way: `last` is the box that then covers the region. */
function finish(cell: usize, list: usize, all: u32, last: u32, depth: u32): void {
  const weight = weightOf(list, all);
  let count = prune(list, all);
  if (count < all) last = final;
  if (count <= MOST_HIDDEN) count = dropHidden(list, count);
  if (count > LEAST_CUT && depth < MOST_DEPTH) {
    const means = limit * (weightDone + weight) + AHEAD_BYTES - spent;
    const room = min<u32>(INNER_BITS, 31 - clz(count) + INNER_EXTRA);
    chooseBits(list, count, weight, v128.load(MASK), room, means, depth + 1, COUNTED, scratchTop, scratchEnd);
    if (bitCount > 0) {
      cutCell(cell, list, count, last, depth + 1);
      return;
    }
  }
  const here = AT_DEPTH + ((<usize>depth) << 3);
  store<f64>(here, load<f64>(here) + weight);
  weightDone += weight;
  writeLeaf(cell, list, count, last);
}
