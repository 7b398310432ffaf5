// Programs of few boxes: all boxes at once, and the way through their clauses by heart.
//
// Most programs of a host are small: a dozen rules, a routing table, the policy of a chain. There a tree has little to
// divide, and most of the work is the same over and over: to compare boxes, field by field, and then to walk through the
// clauses that hold, count each, and go where it says. So instead of a tree such a program has, for each field that it
// asks, a table from the field's value to the set of boxes that allow it, 64 bits wide. A look-up is the intersection of
// one set for each field. Small numbers (protocols, interfaces, flags) are the index themselves; others are divided by
// the bounds of the boxes, and their place among these is counted, four at a time, without a branch.
//
// The set says everything about a look-up whose clauses neither test nor change the packet: which of them are met, and
// which ends it. Such a course is written down the first time (a path), with a counter of its own, and found by the set
// from then on. So a look-up of ten rules costs one count and no branch for any of them. What paths have counted is
// added to the rules when somebody asks (`settleCounters` in look-up.ts).
//
// Tried before: trees whose leaves keep paths. They gave 6 % more packets over the whole way of the main example, where
// this gives 29 %: what costs is the comparing of blocks, field by field.

import {
  FEW_ALL,
  FEW_BY_BOUNDS_END,
  FEW_BY_NUMBER_END,
  FEW_CLAUSES,
  FEW_ENTRIES,
  FEW_ENTRY_BYTES,
  FEW_PATH_COUNT,
  FEW_PATH_SLOTS,
  FEW_SLOTS,
  FEW_SLOT_BYTES,
  FIELD_COUNT,
  PROGRAM_FEW,
} from "../src/layout";
import { allocate, mark } from "./memory";
import { boxCountOf, boxesOf, fieldMaskOf } from "./program";

/** Programs of no more boxes have this form: 64 or less. */
let mostBoxes: u32 = 64;

export function setMostFew(boxes: u32): void {
  mostBoxes = boxes;
}

/** Values below are an index themselves. */
const MOST_NUMBERS: u32 = 512;
/** Bounds of all fields, by fours, that are worth more than a tree. */
const MOST_FOURS: u32 = 32;

/** Bytes that the last build took. */
export let fewBytes: u32 = 0;

/** Bounds of the field being looked at: two for each box. */
const BOUNDS = memory.data(512);
/** By field: how many bounds. */
const BOUND_COUNTS = memory.data(64);

/** Gives the program its form of few boxes, if it has few; false: it needs a tree. */
export function buildFew(program: usize): bool {
  const count = boxCountOf(program);
  if (count > mostBoxes) return false;
  const fields = fieldMaskOf(program);
  const stride: usize = 4 + 8 * popcnt(fields);
  const boxes = boxesOf(program);
  let fours: u32 = 0;
  let slot: usize = 4;
  for (let field: u32 = 0; field < <u32>FIELD_COUNT; field++) {
    if (((fields >> field) & 1) == 0) continue;
    const bounds = gather(boxes + slot, stride, count);
    store<u32>(BOUND_COUNTS + (field << 2), bounds);
    if (bounds != 0 && load<u32>(BOUNDS + ((bounds - 1) << 2)) >= MOST_NUMBERS) fours += (bounds + 3) >> 2;
    slot += 8;
  }
  if (fours > MOST_FOURS) return false;

  const before = mark();
  const few = allocate(FEW_ENTRIES + <usize>FIELD_COUNT * FEW_ENTRY_BYTES);
  if (few == 0) return false;
  memory.fill(few, 0, FEW_ENTRIES + <usize>FIELD_COUNT * FEW_ENTRY_BYTES);
  for (let box: u32 = 0; box < count; box++) {
    store<u32>(few + FEW_CLAUSES + (box << 2), load<u32>(boxes + <usize>box * stride));
  }
  store<u64>(few, count == 64 ? ~(<u64>0) : ((<u64>1) << count) - 1, FEW_ALL);
  let entry = few + FEW_ENTRIES;
  for (let bounded = 0; bounded < 2; bounded++) {
    slot = 4;
    for (let field: u32 = 0; field < <u32>FIELD_COUNT; field++) {
      if (((fields >> field) & 1) == 0) continue;
      const column = boxes + slot;
      slot += 8;
      if (load<u32>(BOUND_COUNTS + (field << 2)) == 0) continue;
      const bounds = gather(column, stride, count);
      const most = load<u32>(BOUNDS + ((bounds - 1) << 2));
      if (bounded != <i32>(most >= MOST_NUMBERS)) continue;
      store<u32>(entry, field << 2);
      if (
        bounded == 0 ? !byNumber(entry, most, column, stride, count) : !byBounds(entry, bounds, column, stride, count)
      )
        return false;
      entry += FEW_ENTRY_BYTES;
    }
    store<u32>(few + (bounded == 0 ? FEW_BY_NUMBER_END : FEW_BY_BOUNDS_END), <u32>entry);
  }
  fewBytes = <u32>(mark() - before);
  store<u32>(program, <u32>few, PROGRAM_FEW);
  return true;
}

/** Writes the bounds of a field to BOUNDS, ascending: values that lie in other boxes than the one before. How many? */
function gather(column: usize, stride: usize, count: u32): u32 {
  let bounds: u32 = 0;
  for (let box: u32 = 0; box < count; box++) {
    const at = column + <usize>box * stride;
    const lo = load<u32>(at);
    const hi = load<u32>(at, 4);
    if (lo != 0) bounds = insert(lo, bounds);
    if (hi != 0xffffffff) bounds = insert(hi + 1, bounds);
  }
  return bounds;
}

function insert(bound: u32, count: u32): u32 {
  let at = count;
  while (at > 0 && load<u32>(BOUNDS + ((at - 1) << 2)) > bound) at--;
  if (at > 0 && load<u32>(BOUNDS + ((at - 1) << 2)) == bound) return count;
  for (let i = count; i > at; i--) store<u32>(BOUNDS + (i << 2), load<u32>(BOUNDS + ((i - 1) << 2)));
  store<u32>(BOUNDS + (at << 2), bound);
  return count + 1;
}

/** The boxes whose interval in this field holds the value. */
function boxesWith(value: u32, column: usize, stride: usize, count: u32): u64 {
  let set: u64 = 0;
  for (let box: u32 = 0; box < count; box++) {
    const at = column + <usize>box * stride;
    if (load<u32>(at) <= value && value <= load<u32>(at, 4)) set |= (<u64>1) << box;
  }
  return set;
}

function byNumber(entry: usize, last: u32, column: usize, stride: usize, count: u32): bool {
  const table = allocate((<usize>last + 1) << 3);
  if (table == 0) return false;
  for (let value: u32 = 0; value <= last; value++) {
    store<u64>(table + (value << 3), boxesWith(value, column, stride, count));
  }
  store<u32>(entry, last, 4);
  store<u32>(entry, <u32>table, 8);
  return true;
}

function byBounds(entry: usize, bounds: u32, column: usize, stride: usize, count: u32): bool {
  const padded = (bounds + 3) & ~3;
  const at = allocate(((<usize>padded) << 2) + ((<usize>padded + 1) << 3));
  if (at == 0) return false;
  const table = at + ((<usize>padded) << 2);
  let set = boxesWith(0, column, stride, count);
  for (let i: u32 = 0; i < padded; i++) {
    store<u64>(table + (i << 3), set);
    const bound = i < bounds ? load<u32>(BOUNDS + (i << 2)) : 0xffffffff;
    store<u32>(at + (i << 2), bound);
    if (i < bounds) set = boxesWith(bound, column, stride, count);
  }
  store<u64>(table + (padded << 3), set);
  store<u32>(entry, <u32>at, 4);
  store<u32>(entry, <u32>table, 8);
  return true;
}

/** The boxes that hold the packet: box i is bit i. */
export function boxesHolding(few: usize, packet: usize): u64 {
  let set = load<u64>(few, FEW_ALL);
  let entry = few + FEW_ENTRIES;
  const byNumberEnd = <usize>load<u32>(few, FEW_BY_NUMBER_END);
  for (; entry != byNumberEnd; entry += FEW_ENTRY_BYTES) {
    const value = min(load<u32>(packet + load<u32>(entry)), load<u32>(entry, 4));
    set &= load<u64>(load<u32>(entry, 8) + (value << 3));
  }
  const end = <usize>load<u32>(few, FEW_BY_BOUNDS_END);
  for (; entry != end; entry += FEW_ENTRY_BYTES) {
    const value = v128.load32_splat(packet + load<u32>(entry));
    let bounds = <usize>load<u32>(entry, 4);
    const table = <usize>load<u32>(entry, 8);
    let place: i32 = 0;
    do {
      place += popcnt(i32x4.bitmask(i32x4.ge_u(value, v128.load(bounds))));
      bounds += 16;
    } while (bounds != table);
    set &= load<u64>(table + (place << 3));
  }
  return set;
}

/** The clause of a box. */
export function clauseOfBox(few: usize, box: u32): u32 {
  return load<u32>(few + (box << 2), FEW_CLAUSES);
}

// -- paths
//
// Path: u32 clause that ends it, u32 ruleCount, u64 packets, u64 bytes, u32 the path written before it, u32 rules that count.

export const PATH_CLAUSE: usize = 0;
export const PATH_RULE_COUNT: usize = 4;
export const PATH_PACKETS: usize = 8;
export const PATH_BYTE_COUNT: usize = 16;
export const PATH_BEFORE: usize = 24;
export const PATH_RULES: usize = 28;
/** In place of a path: the clauses have to be gone through one by one. */
export const NO_PATH: usize = 1;

/** Path of a slot; 0: none is known yet. */
export const SLOT_PATH: usize = 8;

/** The slot of the set's path, or that where it belongs. */
export function slotOf(few: usize, set: u64): usize {
  let at = <usize>((set * 0x9e3779b97f4a7c15) >> 56);
  let slot = few + FEW_SLOTS + at * FEW_SLOT_BYTES;
  while (load<u64>(slot) != set && load<u32>(slot, SLOT_PATH) != 0) {
    at = (at + 1) & (FEW_PATH_SLOTS - 1);
    slot = few + FEW_SLOTS + at * FEW_SLOT_BYTES;
  }
  return slot;
}

/** A quarter of the slots stays free, so that a search ends. */
export function hasRoom(few: usize): bool {
  return load<u32>(few, FEW_PATH_COUNT) < <u32>(FEW_PATH_SLOTS >> 2) * 3;
}

/** Writes the path from `clause`, which ends it, and `ruleCount` rules at `rules`; `clause` 0: there is none. Gives its address. */
export function writePath(
  few: usize,
  slot: usize,
  set: u64,
  clause: usize,
  rules: usize,
  ruleCount: u32,
  before: usize,
): usize {
  const bytes = PATH_RULES + ((<usize>ruleCount) << 2);
  const path = clause == 0 ? 0 : allocate(bytes);
  store<u64>(slot, set);
  store<u32>(slot, <u32>(path == 0 ? NO_PATH : path), SLOT_PATH);
  store<u32>(few, load<u32>(few, FEW_PATH_COUNT) + 1, FEW_PATH_COUNT);
  if (path == 0) return before;
  store<u32>(path, <u32>clause, PATH_CLAUSE);
  store<u32>(path, ruleCount, PATH_RULE_COUNT);
  store<u64>(path, 0, PATH_PACKETS);
  store<u64>(path, 0, PATH_BYTE_COUNT);
  store<u32>(path, <u32>before, PATH_BEFORE);
  memory.copy(path + PATH_RULES, rules, (<usize>ruleCount) << 2);
  return path;
}
