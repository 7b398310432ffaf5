// Boxes -> records of 16-bit lanes, one vector compare for eight of them, for the trees of first-build.ts.
//
// A key is what a packet says in the fields that some box asks: 16 bits a lane, eight lanes a vector, so that addresses
// take two lanes and everything else one. An interval of addresses is a product of intervals of its two halves, or up to
// three such products: prefixes always are one. So a record needs no more than lo and span for each lane, and
// min(key - lo - span, 0) in all lanes, three instructions, tests a whole box of the usual five fields in 32 bytes.
// (Records of eight 32-bit words, as they were, took twice the bytes and twice the instructions.)
//
// The tree cuts on bits of the first vector. Where there are more than eight lanes, those that most boxes ask stand there.

import { FIELD_COUNT, FIELD_DPORT, FIELD_DST, FIELD_MARK, FIELD_PROTO, FIELD_SPORT, FIELD_SRC } from "../src/layout";
import { allocate } from "./memory";

/** Vectors of a key at the most: sixteen fields, three of them in two lanes. */
export const MOST_VECTORS: usize = 3;

/** Where a lane's 16 bits stand in the packet record, u32 each. */
export const LANE_AT = memory.data(4 * 24);
export let laneCount: u32 = 0;
export let vectors: u32 = 0;
/** The five fields of filter sets, or some of them: sport, dport and proto have their places. */
export let plain: bool = false;
/** Log2 of the bytes of a record. */
export let recordShift: u32 = 5;

/** Box records, so many; those that belong to one clause stand together. */
export let records: usize = 0;
export let recordCount: u32 = 0;
/** The clause of each record; 0: record n is of clause n. */
export let clauseOf: usize = 0;

const LANE_OF = memory.data(4 * 16);
const ASKED = memory.data(4 * 16);
const USED = memory.data(4 * 16);

function isWide(field: u32): bool {
  return field == FIELD_SRC || field == FIELD_DST || field == FIELD_MARK;
}

/** Gives lanes to the fields in `mask`. */
export function chooseLanes(boxes: usize, count: u32, mask: u32): void {
  const five: u32 = (1 << FIELD_SRC) | (1 << FIELD_DST) | (1 << FIELD_SPORT) | (1 << FIELD_DPORT) | (1 << FIELD_PROTO);
  plain = (mask & ~five) == 0;
  const stride = 4 + 8 * popcnt(mask);
  laneCount = 0;
  if (plain) {
    for (let field: u32 = 0; field <= <u32>FIELD_PROTO; field++) addLanes(field);
  } else {
    let slot: u32 = 0;
    for (let field: u32 = 0; field < <u32>FIELD_COUNT; field++) {
      let asked: u32 = 0;
      if ((mask >> field) & 1) {
        for (let box: u32 = 0; box < count; box++) {
          asked += u32(
            load<u32>(boxes + box * stride + 8 + 8 * slot) - load<u32>(boxes + box * stride + 4 + 8 * slot) < 0xffff,
          );
        }
        asked++;
        slot++;
      }
      store<u32>(ASKED + (field << 2), asked);
    }
    for (let n = popcnt(mask); n > 0; n--) {
      let best: u32 = 0;
      for (let field: u32 = 1; field < <u32>FIELD_COUNT; field++) {
        if (load<u32>(ASKED + (field << 2)) > load<u32>(ASKED + (best << 2))) best = field;
      }
      store<u32>(ASKED + (best << 2), 0);
      addLanes(best);
    }
  }
  vectors = max<u32>(1, (laneCount + 7) >> 3);
  recordShift = vectors == 1 ? 5 : vectors == 2 ? 6 : 7;
}

function addLanes(field: u32): void {
  store<u32>(LANE_OF + (field << 2), laneCount);
  store<u32>(LANE_AT + (laneCount << 2), field << 2);
  laneCount++;
  if (isWide(field)) {
    store<u32>(LANE_AT + (laneCount << 2), (field << 2) + 2);
    laneCount++;
  }
}

/** Products that the interval of a field falls into. */
function piecesOf(field: u32, lo: u32, hi: u32): u32 {
  if (!isWide(field)) return lo > 0xffff ? 0 : 1;
  if (lo >> 16 == hi >> 16) return 1;
  const first = u32((lo & 0xffff) != 0);
  const last = u32((hi & 0xffff) != 0xffff);
  return first + last + u32((lo >> 16) + first <= (hi >> 16) - last);
}

/** Writes the records of all boxes; false where memory does not suffice. */
export function writeRecords(boxes: usize, count: u32, mask: u32): bool {
  const stride = 4 + 8 * popcnt(mask);
  let identity = true;
  recordCount = 0;
  for (let box: u32 = 0; box < count; box++) {
    const from = boxes + box * stride;
    let pieces: u32 = 1;
    let slot: u32 = 0;
    for (let field: u32 = 0; field < <u32>FIELD_COUNT; field++) {
      if (((mask >> field) & 1) == 0) continue;
      pieces *= piecesOf(field, load<u32>(from + 4 + 8 * slot), load<u32>(from + 8 + 8 * slot));
      slot++;
    }
    if (pieces != 1 || load<u32>(from) != box) identity = false;
    recordCount += pieces;
  }
  // "no box" has number -1: what stands before the first record may be read, and means nothing
  const before = allocate(((<usize>recordCount + 1) << recordShift) + 64);
  if (before == 0) return false;
  records = before + 64;
  clauseOf = 0;
  if (!identity) {
    clauseOf = allocate((<usize>recordCount) << 2);
    if (clauseOf == 0) return false;
  }
  memory.fill(before, 0, 64);
  let at = records;
  let number: u32 = 0;
  for (let box: u32 = 0; box < count; box++) {
    const from = boxes + box * stride;
    memory.fill(USED, 0, 64);
    // one record for each way to take a piece of every field
    for (;;) {
      for (let v: usize = 0; v < (<usize>1) << recordShift; v += 32) {
        v128.store(at + v, i16x8.splat(0));
        v128.store(at + v, i16x8.splat(-1), 16);
      }
      let slot: u32 = 0;
      let turn: u32 = NONE_LEFT;
      let whole = true;
      for (let field: u32 = 0; field < <u32>FIELD_COUNT; field++) {
        if (((mask >> field) & 1) == 0) continue;
        const lo = load<u32>(from + 4 + 8 * slot);
        const hi = load<u32>(from + 8 + 8 * slot);
        const pieces = piecesOf(field, lo, hi);
        if (pieces == 0) whole = false;
        const piece = load<u32>(USED + (field << 2));
        writePiece(at, field, lo, hi, piece);
        if (piece + 1 < pieces && turn == NONE_LEFT) turn = field;
        slot++;
      }
      if (!whole) break;
      if (clauseOf != 0) store<u32>(clauseOf + ((<usize>number) << 2), load<u32>(from));
      number++;
      at += (<usize>1) << recordShift;
      if (turn == NONE_LEFT) break;
      for (let field: u32 = 0; field < turn; field++) store<u32>(USED + (field << 2), 0);
      store<u32>(USED + (turn << 2), load<u32>(USED + (turn << 2)) + 1);
    }
  }
  return true;
}

const NONE_LEFT: u32 = 32;

function writePiece(at: usize, field: u32, lo: u32, hi: u32, piece: u32): void {
  const lane = load<u32>(LANE_OF + (field << 2));
  if (!isWide(field)) {
    writeLane(at, lane, lo, min<u32>(hi, 0xffff));
    return;
  }
  let first = lo >> 16;
  let last = hi >> 16;
  if (first == last) {
    writeLane(at, lane, lo & 0xffff, hi & 0xffff);
    writeLane(at, lane + 1, first, first);
    return;
  }
  if ((lo & 0xffff) != 0) {
    if (piece == 0) {
      writeLane(at, lane, lo & 0xffff, 0xffff);
      writeLane(at, lane + 1, first, first);
      return;
    }
    first++;
    piece--;
  }
  if ((hi & 0xffff) != 0xffff) {
    last--;
    if (piece == 1 || first > last) {
      writeLane(at, lane, 0, hi & 0xffff);
      writeLane(at, lane + 1, last + 1, last + 1);
      return;
    }
  }
  writeLane(at, lane, 0, 0xffff);
  writeLane(at, lane + 1, first, last);
}

function writeLane(at: usize, lane: u32, lo: u32, hi: u32): void {
  const place = at + ((lane >> 3) << 5) + ((lane & 7) << 1);
  store<u16>(place, <u16>lo);
  store<u16>(place, <u16>(hi - lo), 16);
}
