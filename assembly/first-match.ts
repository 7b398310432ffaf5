// Many packets through one tree of first-build.ts: for each the first box that holds.
//
// What a tree asks of packet records is taken out of them first (`pack`): 16 bytes in place of 64, once, however often the packets
// are classified. (Taken out anew in every pass it was a sixth of the time.)
//
// In blocks of packets small enough for the first-level cache, and phase by phase: all look into the root, all take a step,
// all test the first box of their leaf. No branch in a phase hangs on the packet, so that none is guessed wrong, and the
// loads of many packets are under way at once. Most packets reach their leaf after the same number of steps (ROOT_STEPS):
// these steps everyone takes, a packet at a leaf stays there; deeper ones keep a list. Who is not answered by the first box
// takes more rounds of the same kind, as long as enough take part. Later parts do the same for the packets that may still
// find an earlier box.
//
// The first part, which has no answers before it, has a loop of its own (`answer`, beside `improve`): one loop for both costs
// 1 to 2 ns of 7 to 10 a packet.
//
// Tried and lost: to touch the next block's records ahead of time (5 % slower); to scan the lists of later parts one after the
// other (31 for 23 ns a packet where three parts overlap); to choose answers by arithmetic, where V8 has a conditional move
// for a choice of two words that are there already (a quarter slower), and a branch for all others.

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
  NONE,
  PACKET_BYTES,
  ROOT_BYTES,
  ROOT_CUT,
  ROOT_LOWEST,
  ROOT_NODES,
  ROOT_STEPS,
} from "../src/layout";
import { treeOf } from "./program";

/** Packets of a block. */
const BLOCK: u32 = 512;
/** Of packets that are under way, u32 place in the block (times 4), u32 cell. Those of a later part are not all. */
const PAIRS = memory.data(513 * 8, 64);
/** Pairs that have not come to a leaf after the usual steps. */
const DEEP = memory.data(513 * 4, 64);

/** Pairs, times 8, that are worth a round of their own. */
const FEW: usize = 8 * 8;

/** Of the block: its keys, 16 bytes a packet; the next vector of all packets' keys stands so far behind. */
let keys: usize = 0;
let keyVector: usize = 0;
/** Of the tree: vectors of a key, log2 of the bytes of a box record. */
let vectors: u32 = 1;
let shift: u32 = 5;
let table: usize = 0;

/** Writes the number of the first clause that holds, or NONE, as u32 for each of `count` packets, whose keys `pack` wrote. */
export function classify(program: usize, packed: usize, count: u32, answers: usize): void {
  const tree = treeOf(program);
  vectors = load<u32>(tree, FIRST_VECTORS);
  shift = load<u32>(tree, FIRST_SHIFT);
  table = <usize>load<u32>(tree, FIRST_RECORDS);
  const parts = load<u32>(tree, FIRST_PARTS);
  const numbers = <usize>load<u32>(tree, FIRST_CLAUSES);
  keyVector = (<usize>count) << 4;
  for (let first: u32 = 0; first < count; first += BLOCK) {
    const bytes = (<usize>min<u32>(BLOCK, count - first)) << 2;
    const out = answers + ((<usize>first) << 2);
    keys = packed + ((<usize>first) << 4);
    const all = PAIRS + (bytes << 1);
    enterAll(tree + FIRST_HEADER, all);
    descend(tree + FIRST_HEADER, all);
    let end = all;
    do end = answer(end, out);
    while (end - PAIRS > FEW);
    scan(end, out);
    for (let part: u32 = 1; part < parts; part++) {
      const root = tree + FIRST_HEADER + <usize>part * ROOT_BYTES;
      // packets whose answer so far stands behind the part's lowest box
      const lowest = load<u32>(root, ROOT_LOWEST);
      end = PAIRS;
      for (let i: usize = 0; i < bytes; i += 4) {
        store<u64>(end, <u64>i);
        end += (<usize>u32(load<u32>(out + i) > lowest)) << 3;
      }
      enter(root, end);
      descend(root, end);
      do end = improve(end, out);
      while (end - PAIRS > FEW);
      scan(end, out);
    }
    if (numbers != 0) {
      for (let i: usize = 0; i < bytes; i += 4) {
        const box = load<u32>(out + i);
        if (box != NONE) store<u32>(out + i, load<u32>(numbers + ((<usize>box) << 2)));
      }
    }
  }
}

/** In the first part: tests the box of each pair's cell. Pairs that have to go on stay, with their next cell; where those end. */
function answer(end: usize, out: usize): usize {
  let rest = PAIRS;
  for (let pair = PAIRS; pair < end; pair += 8) {
    const i = <usize>load<u32>(pair);
    const cell = <usize>load<u32>(pair, 4);
    const box = (<i32>load<u32>(cell)) >> 1;
    const next = load<u32>(cell, 4);
    const failed = fails(i, box);
    // NONE if another cell follows
    const after = (<u32>((<i32>next) >> 1)) | ((next & 1) - 1);
    store<u32>(out + i, failed ? after : <u32>box);
    store<u64>(rest, ((<u64>next) << 32) | (<u64>i));
    rest += (<usize>(u32(failed) & ~next)) << 3;
  }
  return rest;
}

/** The same in a later part, where answers are there already, and lower ones replace them. */
function improve(end: usize, out: usize): usize {
  let rest = PAIRS;
  for (let pair = PAIRS; pair < end; pair += 8) {
    const i = <usize>load<u32>(pair);
    const cell = <usize>load<u32>(pair, 4);
    const box = (<i32>load<u32>(cell)) >> 1;
    const next = load<u32>(cell, 4);
    const best = load<u32>(out + i);
    const failed = fails(i, box);
    const after = (<u32>((<i32>next) >> 1)) | ((next & 1) - 1);
    store<u32>(out + i, min<u32>(best, failed ? after : <u32>box));
    store<u64>(rest, ((<u64>next) << 32) | (<u64>i));
    rest += (<usize>(u32(failed) & ~next & u32(<u32>box < best))) << 3;
  }
  return rest;
}

/** The rest of each pair's list, up to the first box that holds or cannot be better. */
function scan(end: usize, out: usize): void {
  for (let pair = PAIRS; pair < end; pair += 8) {
    const i = <usize>load<u32>(pair);
    let cell = <usize>load<u32>(pair, 4);
    let best = load<u32>(out + i);
    for (;;) {
      const box = (<i32>load<u32>(cell)) >> 1;
      const next = load<u32>(cell, 4);
      if (<u32>box >= best) break;
      if (!fails(i, box)) {
        best = <u32>box;
        break;
      }
      if (next & 1) {
        best = min<u32>(best, <u32>((<i32>next) >> 1));
        break;
      }
      cell = <usize>next;
    }
    store<u32>(out + i, best);
  }
}

/** From the root of the first part to one of its cells, for every packet. */
function enterAll(part: usize, end: usize): void {
  const cut = <usize>load<u32>(part, ROOT_CUT);
  const nodes = <usize>load<u32>(part, ROOT_NODES);
  const from = v128.load(cut);
  const bits = v128.load(cut, 16);
  for (let pair = PAIRS, i: usize = 0; pair < end; pair += 8, i += 4) {
    const cell = nodes + ((<usize>numberOf(v128.load(keys + (i << 2)), from, bits)) << 3);
    store<u64>(pair, ((<u64>cell) << 32) | (<u64>i));
  }
}

/** The same in a later part, for each pair. */
function enter(part: usize, end: usize): void {
  const cut = <usize>load<u32>(part, ROOT_CUT);
  const nodes = <usize>load<u32>(part, ROOT_NODES);
  const from = v128.load(cut);
  const bits = v128.load(cut, 16);
  for (let pair = PAIRS; pair < end; pair += 8) {
    const key = v128.load(keys + ((<usize>load<u32>(pair)) << 2));
    store<u32>(pair, <u32>(nodes + ((<usize>numberOf(key, from, bits)) << 3)), 4);
  }
}

/** From there to a leaf. */
function descend(part: usize, end: usize): void {
  // steps that most packets take: all take them, and those at a leaf stay
  for (let steps = load<u32>(part, ROOT_STEPS); steps > 0; steps--) {
    for (let pair = PAIRS; pair < end; pair += 8) {
      const key = v128.load(keys + ((<usize>load<u32>(pair)) << 2));
      const cell = <usize>load<u32>(pair, 4);
      const word = load<u32>(cell);
      // at a leaf the word is no address
      const cut = <usize>(word & ((word & 1) - 1));
      const child = <usize>load<u32>(cell, 4) + ((<usize>numberOf(key, v128.load(cut), v128.load(cut, 16))) << 3);
      store<u32>(pair, word & 1 ? <u32>cell : <u32>child, 4);
    }
  }
  // who is not there yet
  let deep = DEEP;
  for (let pair = PAIRS; pair < end; pair += 8) {
    store<u32>(deep, <u32>pair);
    deep += (<usize>(~load<u32>(<usize>load<u32>(pair, 4)) & 1)) << 2;
  }
  while (deep != DEEP) {
    const last = deep;
    deep = DEEP;
    for (let d = DEEP; d < last; d += 4) {
      const pair = <usize>load<u32>(d);
      const key = v128.load(keys + ((<usize>load<u32>(pair)) << 2));
      const cell = <usize>load<u32>(pair, 4);
      const cut = <usize>load<u32>(cell);
      const child = <usize>load<u32>(cell, 4) + ((<usize>numberOf(key, v128.load(cut), v128.load(cut, 16))) << 3);
      store<u32>(pair, <u32>child, 4);
      store<u32>(deep, <u32>pair);
      deep += (<usize>(~load<u32>(child) & 1)) << 2;
    }
  }
}

/** The number of a child: bits of the key picked out, the byte and the bit of each. */
function numberOf(key: v128, from: v128, bits: v128): u32 {
  return <u32>i8x16.bitmask(i8x16.add_sat_u(v128.and(i8x16.swizzle(key, from), bits), i8x16.splat(0x7f)));
}

/** The box does not hold for the packet at place i. */
function fails(i: usize, box: i32): bool {
  const record = table + ((<usize>box) << shift);
  let over = i16x8.sub_sat_u(i16x8.sub(v128.load(keys + (i << 2)), v128.load(record)), v128.load(record, 16));
  for (let v: usize = 1; v < vectors; v++) {
    over = v128.or(
      over,
      i16x8.sub_sat_u(
        i16x8.sub(v128.load(keys + (i << 2) + v * keyVector), v128.load(record + (v << 5))),
        v128.load(record + (v << 5), 16),
      ),
    );
  }
  return v128.any_true(over);
}

/** Of a packet's key. */
export function keyBytes(program: usize): u32 {
  return load<u32>(treeOf(program), FIRST_VECTORS) << 4;
}

/** Writes the keys of packet records, 16 bytes each; of keys of several vectors first the first vector of all. */
export function pack(program: usize, packets: usize, count: u32, to: usize): void {
  const tree = treeOf(program);
  if (load<u32>(tree, FIRST_PLAIN) != 0) packFive(packets, count, to);
  else packLanes(tree, packets, count, to);
}

/** Keys of the usual five fields. */
function packFive(packets: usize, count: u32, to: usize): void {
  const end = to + ((<usize>count) << 4);
  for (let key = to; key < end; key += 16, packets += PACKET_BYTES) {
    const first = v128.load(packets);
    const second = v128.load(packets, 16);
    v128.store(key, i8x16.shuffle(first, second, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 18, 19));
  }
}

/** Keys of any fields, lane by lane. */
function packLanes(tree: usize, packets: usize, count: u32, to: usize): void {
  const lanes = load<u32>(tree, FIRST_LANES);
  for (let lane: usize = 0; lane < lanes; lane++) {
    const from = packets + <usize>load<u32>(tree + FIRST_LANE_AT + (lane << 2));
    const lanes16 = to + (((lane >> 3) * <usize>count) << 4) + ((lane & 7) << 1);
    for (let i: usize = 0; i < <usize>count; i++) store<u16>(lanes16 + (i << 4), load<u16>(from + i * PACKET_BYTES));
  }
}
