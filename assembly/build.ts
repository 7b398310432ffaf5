// Boxes -> tree.
//
// What. A look-up asks for the first clause from a given one on whose boxes hold a packet. The tree cuts the space of
// packets into regions until few boxes meet a region; these stand in a leaf, in order, and are compared four at a time.
//
// Regions are patterns: in every field some bits are known (pattern.ts). A node cuts on a window of bits, or on two
// windows, at any position: the bits that tell the boxes apart, not the top ones. A child is found without a compare.
//
// Which window. A packet is taken to fall into a box drawn at random, at a random point of it. E is the expected number
// of boxes that share its child; it is estimated on a sample of the node's boxes, as
//     E = 1 + (boxes - 1) * P(another random box meets the child of a random point of a random box).
// Candidates are built from single bits (each has its own P), then estimated whole, alone and in pairs. The cost of a
// node is a step, plus the steps that E still needs, plus the blocks of the leaf, plus a price for the memory it takes.
//
// What may be left out (prune). Boxes are walked in the order of clauses, keeping those that can be reached: behind a
// clause that surely ends the look-up for the whole region nothing is, up to the next target of a skip that was kept.
// Clauses with tests end nothing for sure.
//
// Parts. Boxes wild in one address and sharp in the other spoil any single tree: whichever address is cut, the others
// multiply. A large program is divided by which addresses are sharp; each part is a tree, and the lowest clause that any
// part finds wins. A part may then no longer see the skips of another: every target of a skip counts as reached.
//
// Equal leaves are written once; equal children of one node are built once. A list of boxes that is a leaf already, where the same
// fields are open, is one again, and no cut is sought for it: in the services of a cluster, 160,000 boxes, of 114,000 regions 93,000
// became leaves after all, and only 14,000 different ones. The tree came out a little smaller.
//
// Memory: lists of box numbers on a stack (scratch), nodes and leaves in the arena. Cost is about linear in boxes.

import {
  ACTION_ENDS,
  ACTION_SKIP,
  CLAUSE_ACTION,
  CLAUSE_ARG,
  CLAUSE_BYTES,
  CLAUSE_TEST_COUNT,
  FIELD_COUNT,
  FIELD_DST,
  FIELD_SRC,
  LEAF,
  LEAF_HEADER,
  NONE,
  PART_BYTES,
  PROGRAM_CLAUSE_COUNT,
  PROGRAM_FIRST_MATCH,
  PROGRAM_TREE,
  TREE_BYTES,
  TREE_FIRSTS,
  TREE_PARTS,
} from "../src/layout";
import { buildFew, fewBytes } from "./few";
import { allocate, mark } from "./memory";
import { ALL_VALUES, covers, windowValues } from "./pattern";
import { boxCountOf, boxesOf, clausesOf, cutMaskOf, enlist, fieldMaskOf, flagsOf } from "./program";

/** No more boxes than these are ever cut. */
const LEAST_CUT: u32 = 4;
/** Widest window; two of them make a node of at most MOST_BITS. */
const MOST_WINDOW: u32 = 8;
const MOST_BITS: u32 = 14;
const SAMPLE: u32 = 384;
/** Programs of fewer boxes have one part. */
const LEAST_PARTED: u32 = 512;
/** Testing one field of four boxes, in steps down the tree. */
const BLOCK_FIELD_COST: f64 = 0.5;
/** A tree may take so many bytes for each box, and so many whatever its size. */
const BYTES_A_BOX: f64 = 512;
const LEAST_BYTES: f64 = 8192;
/** Price of one byte for each box, in steps. */
const BYTE_PRICE: f64 = 0.002;

// the program being built
let clauses: usize = 0;
let boxes: usize = 0;
let stride: u32 = 0;
let slotCount: u32 = 0;
let cutMask: u32 = 0;
let failed: bool = false;
/** Bytes per clause: 1 where some skip leads to it. */
let targets: usize = 0;
let allTargets: bool = false;

const SLOT_FIELD = memory.data(64);
/** Known bits of the region, by slot, and their values. */
const REGION_MASK = memory.data(64);
const REGION_VALUE = memory.data(64);

// scratch: lists of boxes, as a stack
let scratchStart: usize = 0;
let scratchTop: usize = 0;
let scratchEnd: usize = 0;
let leafTable: usize = 0;
let leafTableMask: u32 = 0;

// figures of the last build
export let treeBytes: u32 = 0;
export let nodeCount: u32 = 0;
export let leafCount: u32 = 0;
export let leafBoxCount: u32 = 0;

/** Builds the tree of the encoded program, or its form of few boxes, and writes its address there; false where memory does not suffice. */
export function build(program: usize): bool {
  nodeCount = leafCount = leafBoxCount = 0;
  enlist(program);
  if (buildFew(program)) {
    treeBytes = fewBytes;
    return true;
  }
  boxes = boxesOf(program);
  clauses = clausesOf(program);
  const count = boxCountOf(program);
  const fields = fieldMaskOf(program);
  cutMask = cutMaskOf(program);
  scanned = (flagsOf(program) & PROGRAM_FIRST_MATCH) != 0 ? 0.6 : 1;
  slotCount = 0;
  for (let field: u32 = 0; field < <u32>FIELD_COUNT; field++) {
    if ((fields >> field) & 1) {
      store<u32>(SLOT_FIELD + (slotCount << 2), field);
      slotCount++;
    }
  }
  stride = 4 + 8 * slotCount;
  failed = false;
  memory.fill(REGION_MASK, 0, 64);
  memory.fill(REGION_VALUE, 0, 64);

  const clauseCount = load<u32>(program, PROGRAM_CLAUSE_COUNT);
  const tree = allocate(TREE_BYTES);
  if (tree == 0) return false;
  leafTableMask = 1023;
  while (leafTableMask < count) leafTableMask = leafTableMask * 2 + 1;
  const tableBytes: usize = (<usize>leafTableMask + 1) << 3;
  if (!reserve(((<usize>count) << 2) * 24 + (1 << 20) + tableBytes + clauseCount + 64)) return false;
  leafTable = scratchTop;
  targets = leafTable + tableBytes;
  scratchTop = (targets + clauseCount + 8) & ~7;
  memory.fill(leafTable, 0, tableBytes);
  memory.fill(targets, 0, clauseCount + 1);
  for (let i: u32 = 0; i < clauseCount; i++) {
    const clause = clauses + i * CLAUSE_BYTES;
    if (load<u32>(clause, CLAUSE_ACTION) == ACTION_SKIP) store<u8>(targets + load<u32>(clause, CLAUSE_ARG), 1);
  }

  const before = mark();
  const parts = divide(tree, count);
  treeBytes = <u32>(mark() - before);
  store<u32>(tree, parts);
  store<u32>(program, <u32>tree, PROGRAM_TREE);
  return !failed;
}

/** Makes the scratch space at least so large; it is kept from one build to the next. */
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

/** Which addresses a box is sharp in: two bits, 1 src, 2 dst. */
function sharpness(box: u32): u32 {
  let bits: u32 = 0;
  for (let slot: u32 = 0; slot < slotCount; slot++) {
    const field = load<u32>(SLOT_FIELD + (slot << 2));
    if (field > <u32>FIELD_DST) break;
    const at = boxes + box * stride + 4 + (slot << 3);
    const span = load<u32>(at, 4) - load<u32>(at);
    if (span < 0x01000000) bits |= field == FIELD_SRC ? 1 : 2;
  }
  return bits;
}

/** The part of each kind of sharpness (0 neither, 1 src, 2 dst, 3 both), two bits each. */
const PARTING: u32 = 0b00_00_10_01;

/** Builds a tree for each part; returns how many. */
function divide(tree: usize, count: u32): u32 {
  const list = scratchTop;
  let at = tree + TREE_PARTS;
  let built: u32 = 0;
  const few = count < LEAST_PARTED;
  allTargets = !few;
  for (let part: u32 = 0; part < 4; part++) {
    let n: u32 = 0;
    for (let box: u32 = 0; box < count; box++) {
      if ((few ? 0 : (PARTING >> (2 * sharpness(box))) & 3) == part) {
        store<u32>(list + (n << 2), box);
        n++;
      }
    }
    if (n == 0) continue;
    store<u32>(tree + TREE_FIRSTS + (built << 2), load<u32>(boxAt(load<u32>(list))));
    buildPart(at, list, n);
    at += PART_BYTES;
    built++;
  }
  return built;
}

function buildPart(part: usize, list: usize, count: u32): void {
  const before = scratchTop;
  scratchTop = list + (count << 2);
  buildNode(part, list, count, 0, <f64>count * BYTES_A_BOX + LEAST_BYTES);
  scratchTop = before;
}

function boxAt(box: u32): usize {
  return boxes + box * stride;
}

/** The box holds for every packet of the region. */
function coversRegion(box: u32): bool {
  let at = boxAt(box) + 4;
  for (let slot: u32 = 0; slot < slotCount; slot++, at += 8) {
    const mask = load<u32>(REGION_MASK + (slot << 2));
    const value = load<u32>(REGION_VALUE + (slot << 2));
    if (!covers(load<u32>(at), load<u32>(at, 4), mask, value)) return false;
  }
  return true;
}

/** Drops from the list what no look-up can reach in the region; returns how many stay. */
function prune(list: usize, count: u32): u32 {
  let kept: u32 = 0;
  let open = true;
  // targets of kept skips that lie ahead; ascending, few: they are the return points of nested chains
  const ahead = scratchTop;
  let aheadCount: u32 = 0;
  let last: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const box = load<u32>(list + (i << 2));
    const index = load<u32>(boxAt(box));
    if (allTargets) {
      // clauses between the one that closed and this one may be targets too
      while (!open && last < index) {
        last++;
        open = load<u8>(targets + last) != 0;
      }
    } else {
      while (aheadCount > 0 && load<u32>(ahead) <= index) {
        aheadCount--;
        memory.copy(ahead, ahead + 4, aheadCount << 2);
        open = true;
      }
    }
    if (!open) continue;
    store<u32>(list + (kept << 2), box);
    kept++;
    const clause = clauses + index * CLAUSE_BYTES;
    const action = load<u32>(clause, CLAUSE_ACTION);
    if (action != ACTION_SKIP && action < <u32>ACTION_ENDS) continue;
    if (action == ACTION_SKIP && !allTargets) {
      const target = load<u32>(clause, CLAUSE_ARG);
      let at: u32 = 0;
      while (at < aheadCount && load<u32>(ahead + (at << 2)) < target) at++;
      if (at == aheadCount || load<u32>(ahead + (at << 2)) != target) {
        if (ahead + (aheadCount << 2) + 4 > scratchEnd) {
          failed = true; // return points nest by thousands
          return kept;
        }
        memory.copy(ahead + (at << 2) + 4, ahead + (at << 2), (aheadCount - at) << 2);
        store<u32>(ahead + (at << 2), target);
        aheadCount++;
      }
    }
    if (load<u32>(clause, CLAUSE_TEST_COUNT) == 0 && coversRegion(box)) {
      open = false;
      last = index;
    }
  }
  return kept;
}

/** `budget`: bytes that the nodes and leaves below may take, roughly; a node without means becomes a leaf. */
function buildNode(node: usize, list: usize, all: u32, depth: u32, budget: f64): void {
  if (failed) return;
  const count = prune(list, all);
  const slots = undecided(list, count);
  findLeaf(list, count, slots);
  if (found != 0) {
    store<u32>(node, LEAF | fieldsOf(slots));
    store<u32>(node, <u32>found, 4);
    return;
  }
  const before = scratchTop;
  const cut = count > LEAST_CUT && depth < 24 && chooseCut(list, count, slots, budget);
  if (!cut || !cutNode(node, list, count, depth, budget)) writeLeaf(node, list, count, slots);
  scratchTop = before;
}

// -- leaves

/** Slots that the leaf must test. */
function undecided(list: usize, count: u32): u32 {
  let fields: u32 = 0;
  for (let slot: u32 = 0; slot < slotCount; slot++) {
    const mask = load<u32>(REGION_MASK + (slot << 2));
    const value = load<u32>(REGION_VALUE + (slot << 2));
    for (let i: u32 = 0; i < count; i++) {
      const at = boxAt(load<u32>(list + (i << 2))) + 4 + (slot << 3);
      if (!covers(load<u32>(at), load<u32>(at, 4), mask, value)) {
        fields |= (<u32>1) << slot;
        break;
      }
    }
  }
  return fields;
}

function hashList(list: usize, count: u32, seed: u32): u32 {
  let hash = seed ^ 0x9e3779b9;
  for (let i: u32 = 0; i < count; i++) {
    hash = (hash ^ load<u32>(list + (i << 2))) * 0x85ebca6b;
    hash ^= hash >> 15;
  }
  return hash;
}

/** The fields in these slots. */
function fieldsOf(slots: u32): u32 {
  let fields: u32 = 0;
  for (; slots != 0; slots &= slots - 1) fields |= (<u32>1) << load<u32>(SLOT_FIELD + (ctz(slots) << 2));
  return fields;
}

// what findLeaf found
/** The leaf; 0: there is none. */
let found: usize = 0;
let foundHash: u32 = 0;
/** Entry of the table where it stands, or would. */
let foundAt: usize = 0;

/** Looks for a leaf of these boxes that tests these slots. The table holds hash and address. */
function findLeaf(list: usize, count: u32, slots: u32): void {
  const fields = fieldsOf(slots);
  foundHash = hashList(list, count, slots ^ (count << 16)) | 1;
  let at = foundHash & leafTableMask;
  for (;;) {
    foundAt = leafTable + (at << 3);
    const known = load<u32>(foundAt);
    if (known == 0) break;
    if (known == foundHash) {
      found = <usize>load<u32>(foundAt, 4);
      if (load<u32>(found, 4) == count && load<u32>(found, 8) == fields && sameBoxes(found, fields, list, count))
        return;
    }
    at = (at + 1) & leafTableMask;
  }
  found = 0;
}

/** `slots`: those that the leaf must test. */
function writeLeaf(node: usize, list: usize, count: u32, slots: u32): void {
  const fields = fieldsOf(slots);
  store<u32>(node, LEAF | fields);
  const blockCount = (count + 3) >> 2;
  const blockBytes = 16 + 32 * popcnt(fields);
  const leaf = allocate(LEAF_HEADER + blockCount * blockBytes);
  if (leaf == 0) {
    failed = true;
    return;
  }
  store<u32>(leaf, blockCount);
  store<u32>(leaf, count, 4);
  store<u32>(leaf, fields, 8);
  store<u32>(leaf, 0, 12);
  let block = leaf + LEAF_HEADER;
  for (let first: u32 = 0; first < count; first += 4, block += blockBytes) {
    for (let lane: u32 = 0; lane < 4; lane++) {
      const i = first + lane;
      const there = i < count;
      const box = there ? load<u32>(list + (i << 2)) : 0;
      store<u32>(block + (lane << 2), there ? load<u32>(boxAt(box)) : NONE);
      let to = block + 16 + (lane << 2);
      for (let slot: u32 = 0; slot < slotCount; slot++) {
        if (((slots >> slot) & 1) == 0) continue;
        const from = boxAt(box) + 4 + (slot << 3);
        const lo = there ? load<u32>(from) : 0;
        store<u32>(to, lo);
        store<u32>(to, there ? load<u32>(from, 4) - lo : 0, 16);
        to += 32;
      }
    }
  }
  leafCount++;
  leafBoxCount += count;
  store<u32>(node, <u32>leaf, 4);
  // a table three quarters full takes no more: leaves are then written again, which costs memory, not answers
  if (leafCount < (leafTableMask >> 2) * 3) {
    findLeaf(list, count, slots);
    store<u32>(foundAt, foundHash);
    store<u32>(foundAt, <u32>leaf, 4);
  }
}

/** The leaf holds exactly these boxes: compared by what it tests, clause by clause. */
function sameBoxes(leaf: usize, fields: u32, list: usize, count: u32): bool {
  const blockBytes = 16 + 32 * popcnt(fields);
  for (let i: u32 = 0; i < count; i++) {
    const box = load<u32>(list + (i << 2));
    const lane = leaf + LEAF_HEADER + (i >> 2) * blockBytes + ((i & 3) << 2);
    if (load<u32>(lane) != load<u32>(boxAt(box))) return false;
    let at = lane + 16;
    for (let slot: u32 = 0; slot < slotCount; slot++) {
      if (((fields >> load<u32>(SLOT_FIELD + (slot << 2))) & 1) == 0) continue;
      const from = boxAt(box) + 4 + (slot << 3);
      const lo = load<u32>(from);
      if (load<u32>(at) != lo || load<u32>(at, 16) != load<u32>(from, 4) - lo) return false;
      at += 32;
    }
  }
  return true;
}

// -- cuts

// the cut that chooseCut found
let bits1: u32 = 0;
let shift1: u32 = 0;
let slot1: u32 = 0;
let bits2: u32 = 0;
let shift2: u32 = 0;
let slot2: u32 = 0;

const BIT_SCORE = memory.data(16 * 32 * 8);
/** Of each box of the sample the bits that are surely 1, surely 0. */
const ONES = memory.data(2 * 384 * 4, 16);
const ZEROS = memory.data(2 * 384 * 4, 16);
const WINDOWS = memory.data(64 * 16);
/** A window of no bits. */
const NO_WINDOW = memory.data(16);
const TOP_MOST: u32 = 16;
/** Candidates, best first: f32 promise, u32 window, u32 other window (the same: alone). */
const TOP = memory.data(17 * 12);
let topCount: u32 = 0;
const VALUES_1 = memory.data(256 * 4);
const VALUES_2 = memory.data(256 * 4);
const HIT_COUNT = memory.data(16384 * 4);
const HIT_WEIGHT = memory.data(16384 * 4);

/** Of the program: 1 where a look-up tests a whole leaf, less where it stops at the first box that holds. */
let scanned: f64 = 1;
/** Fields that boxes of the node leave undecided. */
let fieldsOpen: f64 = 0;

/** Steps that it takes to test a leaf of so many boxes. */
function leafCost(count: f64): f64 {
  return 0.5 + scanned * (0.5 + count / 4) * (0.4 + BLOCK_FIELD_COST * fieldsOpen);
}

function chooseCut(list: usize, count: u32, slots: u32, budget: f64): bool {
  const step = max<u32>(1, count / SAMPLE);

  // each free bit: how well does it tell the boxes apart?
  for (let slot: u32 = 0; slot < slotCount; slot++) scoreBits(slot, list, count, step);

  // the best windows of each width in each field
  const room = max<u32>(3, min<u32>(MOST_BITS, 31 - clz(count)));
  let windowCount: u32 = 0;
  for (let slot: u32 = 0; slot < slotCount; slot++) {
    for (let width: u32 = 1; width <= min(MOST_WINDOW, room); width++) {
      let best: f64 = 0.02;
      let bestShift: u32 = NONE;
      for (let shift: u32 = 0; shift + width <= 32; shift++) {
        let sum: f64 = 0;
        for (let bit = shift; bit < shift + width; bit++) {
          const score = load<f64>(BIT_SCORE + ((slot * 32 + bit) << 3));
          if (score < 0) {
            sum = -1;
            break;
          }
          sum += score;
        }
        // of equals the upper: prefixes are decided from above
        if (sum > 0 && sum >= best) {
          best = sum;
          bestShift = shift;
        }
      }
      if (bestShift != NONE && windowCount < 64) {
        const at = WINDOWS + (windowCount << 4);
        store<u32>(at, slot);
        store<u32>(at, bestShift, 4);
        store<u32>(at, width, 8);
        store<f32>(at, <f32>best, 12);
        windowCount++;
      }
    }
  }

  // the most promising, alone and in pairs, are estimated whole
  topCount = 0;
  for (let i: u32 = 0; i < windowCount; i++) {
    const a = WINDOWS + (i << 4);
    propose(load<f32>(a, 12), i, i);
    if (count <= 24) continue;
    for (let j: u32 = i + 1; j < windowCount; j++) {
      const b = WINDOWS + (j << 4);
      if (load<u32>(a) == load<u32>(b)) continue;
      const total = load<u32>(a, 8) + load<u32>(b, 8);
      if (total > room) continue;
      propose(load<f32>(a, 12) + load<f32>(b, 12) - <f32>0.3, i, j);
    }
  }
  fieldsOpen = <f64>popcnt(slots);
  let bestCost = leafCost(<f64>count) - 0.25;
  let better = false;
  for (let k: u32 = 0; k < topCount; k++) {
    const a = WINDOWS + (load<u32>(TOP + k * 12, 4) << 4);
    let b = WINDOWS + (load<u32>(TOP + k * 12, 8) << 4);
    if (a == b) b = NO_WINDOW;
    const cost = cutCost(
      list,
      count,
      step,
      load<u32>(a),
      load<u32>(a, 4),
      load<u32>(a, 8),
      load<u32>(b),
      load<u32>(b, 4),
      load<u32>(b, 8),
    );
    if (cost < bestCost && cutBytes < budget) {
      bestCost = cost;
      better = true;
      setCut(a, b);
    }
  }
  return better;
}

/**
 * Writes the score of each bit of a slot: 0 for one that tells no boxes apart, less where it may not be cut. Each box of the
 * sample leaves two words, the bits that are 1 in it and those that are 0; the bits in which these differ between boxes are
 * counted, four boxes at a time.
 */
function scoreBits(slot: u32, list: usize, count: u32, step: u32): void {
  const scores = BIT_SCORE + ((slot * 32) << 3);
  const cuttable = (cutMask >> load<u32>(SLOT_FIELD + (slot << 2))) & 1;
  const mask = load<u32>(REGION_MASK + (slot << 2));
  const value = load<u32>(REGION_VALUE + (slot << 2));
  for (let bit: u32 = 0; bit < 32; bit++) {
    store<f64>(scores + (bit << 3), cuttable && ((mask >> bit) & 1) == 0 ? 0 : -1);
  }
  if (!cuttable) return;
  let m: u32 = 0;
  let differing: u32 = 0;
  for (let i: u32 = 0; i < count; i += step, m++) {
    const at = boxAt(load<u32>(list + (i << 2))) + 4 + (slot << 3);
    const lo = load<u32>(at);
    const span = load<u32>(at, 4) - lo;
    let ones = lo;
    let zeros = ~lo;
    if (span != 0) {
      if ((span & (span + 1)) == 0 && (lo & span) == 0) {
        ones &= ~span;
        zeros &= ~span;
      } else {
        fixBits(lo, lo + span, mask, value);
        ones = fixedOnes;
        zeros = fixedZeros;
      }
    }
    store<u32>(ONES + (m << 2), ones);
    store<u32>(ZEROS + (m << 2), zeros);
    differing |= (ones ^ load<u32>(ONES)) | (zeros ^ load<u32>(ZEROS));
  }
  for (let fill = m; (fill & 3) != 0; fill++) {
    store<u32>(ONES + (fill << 2), 0);
    store<u32>(ZEROS + (fill << 2), 0);
  }
  const total = <f64>m;
  for (differing &= ~mask; differing != 0; differing &= differing - 1) {
    const bit = ctz(differing);
    const lane = i32x4.splat((<u32>1) << bit);
    let count0 = i32x4.splat(0);
    let count1 = i32x4.splat(0);
    for (let at: usize = 0; at < (<usize>m) << 2; at += 16) {
      count0 = i32x4.sub(count0, i32x4.eq(v128.and(v128.load(ZEROS + at), lane), lane));
      count1 = i32x4.sub(count1, i32x4.eq(v128.and(v128.load(ONES + at), lane), lane));
    }
    const only0 = <f64>sumOf(count0);
    const only1 = <f64>sumOf(count1);
    const both = total - only0 - only1;
    const p0 = (only0 + both * 0.5) / total;
    const share = (p0 * (only0 + both)) / total + ((1 - p0) * (only1 + both)) / total;
    store<f64>(scores + (bit << 3), 1 - share);
  }
}

// what fixBits found
let fixedOnes: u32 = 0;
let fixedZeros: u32 = 0;

/** The free bits of the region that are the same in all its numbers in lo..hi: those above the first in which the ends differ. */
function fixBits(lo: u32, hi: u32, mask: u32, value: u32): void {
  const least = max(lo, value);
  const differing = least ^ min(hi, value | ~mask);
  const fixed = differing == 0 ? <u32>-1 : ~((<u32>-1) >> clz(differing));
  fixedOnes = least & fixed;
  fixedZeros = ~least & fixed;
}

function sumOf(counts: v128): u32 {
  return (
    i32x4.extract_lane(counts, 0) +
    i32x4.extract_lane(counts, 1) +
    i32x4.extract_lane(counts, 2) +
    i32x4.extract_lane(counts, 3)
  );
}

/** Keeps the candidate if it is among the TOP_MOST best so far. */
function propose(promise: f32, a: u32, b: u32): void {
  let at = topCount;
  while (at > 0 && load<f32>(TOP + (at - 1) * 12) < promise) at--;
  if (at >= TOP_MOST) return;
  if (topCount < TOP_MOST) topCount++;
  memory.copy(TOP + (at + 1) * 12, TOP + at * 12, (topCount - 1 - at) * 12);
  store<f32>(TOP + at * 12, promise);
  store<u32>(TOP + at * 12, a, 4);
  store<u32>(TOP + at * 12, b, 8);
}

function setCut(a: usize, b: usize): void {
  slot1 = load<u32>(a);
  shift1 = load<u32>(a, 4);
  bits1 = load<u32>(a, 8);
  slot2 = load<u32>(b);
  shift2 = load<u32>(b, 4);
  bits2 = load<u32>(b, 8);
}

/** Bytes of the last cut that cutCost estimated: its nodes, and the leaves if nothing below were cut. */
let cutBytes: f64 = 0;

/** Expected cost of a look-up below the node if it is cut so, estimated on every `step`-th box. */
function cutCost(
  list: usize,
  count: u32,
  step: u32,
  slotA: u32,
  shiftA: u32,
  bitsA: u32,
  slotB: u32,
  shiftB: u32,
  bitsB: u32,
): f64 {
  const sizeA = (<u32>1) << bitsA;
  const sizeB = (<u32>1) << bitsB;
  const children = sizeA * sizeB;
  memory.fill(HIT_COUNT, 0, children << 2);
  memory.fill(HIT_WEIGHT, 0, children << 2);
  let m: u32 = 0;
  // boxes that meet every child, or every child of one window, are kept apart
  let everywhere: f64 = 0;
  let entries: f64 = 0;
  const maskA = load<u32>(REGION_MASK + (slotA << 2));
  const valueA = load<u32>(REGION_VALUE + (slotA << 2));
  const maskB = load<u32>(REGION_MASK + (slotB << 2));
  const valueB = load<u32>(REGION_VALUE + (slotB << 2));
  for (let i: u32 = 0; i < count; i += step, m++) {
    const box = boxAt(load<u32>(list + (i << 2))) + 4;
    const inA = box + (slotA << 3);
    const countA = windowValues(load<u32>(inA), load<u32>(inA, 4), maskA, valueA, shiftA, bitsA, VALUES_1);
    let countB: u32 = 1;
    if (bitsB != 0) {
      const inB = box + (slotB << 3);
      countB = windowValues(load<u32>(inB), load<u32>(inB, 4), maskB, valueB, shiftB, bitsB, VALUES_2);
    } else {
      store<u32>(VALUES_2, 0);
    }
    if (countA == ALL_VALUES && (bitsB == 0 || countB == ALL_VALUES)) {
      everywhere += 1;
      entries += <f64>children;
      continue;
    }
    const nA = countA == ALL_VALUES ? sizeA : countA;
    const nB = countB == ALL_VALUES ? sizeB : countB;
    entries += <f64>(nA * nB);
    const weight = <f32>1 / <f32>(nA * nB);
    for (let y: u32 = 0; y < nB; y++) {
      const b = (countB == ALL_VALUES ? y : load<u32>(VALUES_2 + (y << 2))) << bitsA;
      for (let x: u32 = 0; x < nA; x++) {
        const child = b | (countA == ALL_VALUES ? x : load<u32>(VALUES_1 + (x << 2)));
        const at = child << 2;
        store<f32>(HIT_COUNT + at, load<f32>(HIT_COUNT + at) + 1);
        store<f32>(HIT_WEIGHT + at, load<f32>(HIT_WEIGHT + at) + weight);
      }
    }
  }
  // E - 1 over ordered pairs of sampled boxes, each without itself
  let pairs: f64 = 0;
  const total = <f64>m;
  const spread = everywhere / <f64>children;
  for (let child: u32 = 0; child < children; child++) {
    const hits = <f64>load<f32>(HIT_COUNT + (child << 2)) + everywhere;
    const weight = <f64>load<f32>(HIT_WEIGHT + (child << 2)) + spread;
    pairs += weight * (hits - 1);
  }
  const expected = 1 + (total > 1 ? (pairs / (total * (total - 1))) * <f64>(count - 1) : 0);
  const bytes = (<f64>children * 8) / <f64>count + (entries / total) * 24;
  cutBytes = bytes * <f64>count;
  let cost: f64 = (bitsB == 0 ? 1.0 : 1.3) + BYTE_PRICE * bytes;
  if (expected > 8) {
    // levels still needed, if each reduces as well as this one, but by 4 bits at the most
    const reduction = min<f64>(16, max<f64>(1.01, <f64>count / expected));
    cost += (NativeMath.log(expected / 8) / NativeMath.log(reduction)) * 1.2 + leafCost(8);
  } else {
    cost += leafCost(expected);
  }
  return cost;
}

/** Writes an inner node and all below it; false where scratch space does not suffice. */
function cutNode(node: usize, list: usize, count: u32, depth: u32, budget: f64): bool {
  // chooseCut's answer, kept here: the recursion below chooses again
  const slotA = slot1,
    shiftA = shift1,
    bitsA = bits1;
  const slotB = slot2,
    shiftB = shift2,
    bitsB = bits2;
  const sizeA = (<u32>1) << bitsA;
  const sizeB = (<u32>1) << bitsB;
  const children = sizeA * sizeB;
  // count, then fill: the children's lists stand one behind the other
  const starts = scratchTop;
  const lists = starts + ((children + 1) << 2);
  if (lists > scratchEnd) return false;
  memory.fill(starts, 0, (children + 1) << 2);
  const maskA = load<u32>(REGION_MASK + (slotA << 2));
  const valueA = load<u32>(REGION_VALUE + (slotA << 2));
  const maskB = load<u32>(REGION_MASK + (slotB << 2));
  const valueB = load<u32>(REGION_VALUE + (slotB << 2));
  for (let pass = 0; pass < 2; pass++) {
    for (let i: u32 = 0; i < count; i++) {
      const number = load<u32>(list + (i << 2));
      const box = boxAt(number) + 4;
      const inA = box + (slotA << 3);
      const countA = windowValues(load<u32>(inA), load<u32>(inA, 4), maskA, valueA, shiftA, bitsA, VALUES_1);
      let countB: u32 = 1;
      if (bitsB != 0) {
        const inB = box + (slotB << 3);
        countB = windowValues(load<u32>(inB), load<u32>(inB, 4), maskB, valueB, shiftB, bitsB, VALUES_2);
      } else {
        store<u32>(VALUES_2, 0);
      }
      const nA = countA == ALL_VALUES ? sizeA : countA;
      const nB = countB == ALL_VALUES ? sizeB : countB;
      for (let y: u32 = 0; y < nB; y++) {
        const b = (countB == ALL_VALUES ? y : load<u32>(VALUES_2 + (y << 2))) << bitsA;
        for (let x: u32 = 0; x < nA; x++) {
          const child = b | (countA == ALL_VALUES ? x : load<u32>(VALUES_1 + (x << 2)));
          if (pass == 0) {
            const at = starts + (child << 2) + 4;
            store<u32>(at, load<u32>(at) + 1);
          } else {
            const at = starts + (child << 2);
            const place = load<u32>(at);
            store<u32>(lists + (place << 2), number);
            store<u32>(at, place + 1);
          }
        }
      }
    }
    if (pass == 0) {
      for (let child: u32 = 0; child < children; child++) {
        const at = starts + (child << 2) + 4;
        store<u32>(at, load<u32>(at) + load<u32>(at - 4));
      }
      // room for all lists, and for one copy of the longest
      if (lists + ((<usize>load<u32>(starts + (children << 2))) << 2) + ((<usize>count) << 2) > scratchEnd)
        return false;
    }
  }
  const nodes = allocate(children << 3);
  if (nodes == 0) {
    failed = true;
    return true;
  }
  nodeCount += children;
  store<u32>(
    node,
    bitsA |
      (shiftA << 4) |
      (load<u32>(SLOT_FIELD + (slotA << 2)) << 9) |
      (bitsB << 13) |
      (shiftB << 17) |
      (load<u32>(SLOT_FIELD + (slotB << 2)) << 22),
  );
  store<u32>(node, <u32>nodes, 4);

  // the fill has moved every start to its end: child c now spans from the end of c - 1
  scratchTop = lists + (load<u32>(starts + ((children - 1) << 2)) << 2);
  const working = scratchTop;
  // what is left of the budget goes to the children by the length of their lists
  const share = max<f64>(0, budget - <f64>(children << 3)) / <f64>max<usize>(1, (working - lists) >> 2);
  let previous: usize = 0;
  let previousCount: u32 = 0;
  let previousSimple = false;
  for (let child: u32 = 0; child < children && !failed; child++) {
    const from = child == 0 ? 0 : load<u32>(starts + ((child - 1) << 2));
    const own = load<u32>(starts + (child << 2)) - from;
    const at = lists + ((<usize>from) << 2);
    const place = nodes + (child << 3);
    setWindow(slotA, maskA, valueA, shiftA, bitsA, child & (sizeA - 1));
    if (bitsB != 0) setWindow(slotB, maskB, valueB, shiftB, bitsB, child >> bitsA);
    const simple = decidedBy(at, own, slotA) && (bitsB == 0 || decidedBy(at, own, slotB));
    if (simple && previousSimple && own == previousCount && memory.compare(at, previous, own << 2) == 0) {
      store<u64>(place, load<u64>(place - 8));
      continue;
    }
    // the list is pruned in place: a copy, so that the next child can be compared with what it was
    const copy = working;
    memory.copy(copy, at, own << 2);
    scratchTop = copy + ((<usize>own) << 2);
    buildNode(place, copy, own, depth + 1, share * <f64>own);
    scratchTop = working;
    previous = at;
    previousCount = own;
    previousSimple = simple;
  }
  setKnown(slotA, maskA, valueA);
  if (bitsB != 0) setKnown(slotB, maskB, valueB);
  return true;
}

function setKnown(slot: u32, mask: u32, value: u32): void {
  store<u32>(REGION_MASK + (slot << 2), mask);
  store<u32>(REGION_VALUE + (slot << 2), value);
}

function setWindow(slot: u32, mask: u32, value: u32, shift: u32, bits: u32, window: u32): void {
  setKnown(slot, mask | ((((<u32>1) << bits) - 1) << shift), value | (window << shift));
}

/** In this field every box of the list covers the region: what stands below does not depend on it. */
function decidedBy(list: usize, count: u32, slot: u32): bool {
  const mask = load<u32>(REGION_MASK + (slot << 2));
  const value = load<u32>(REGION_VALUE + (slot << 2));
  for (let i: u32 = 0; i < count; i++) {
    const at = boxAt(load<u32>(list + (i << 2))) + 4 + (slot << 3);
    if (!covers(load<u32>(at), load<u32>(at, 4), mask, value)) return false;
  }
  return true;
}
