// Many packets through one tree of first-build.ts: for each the first box that holds.
//
// In blocks of packets small enough for the first-level cache, and phase by phase: the keys of all packets are put
// together, all look into the root, all take a step, all test the first box of their leaf. No branch in a phase hangs on
// the packet, so that none is guessed wrong, and the loads of many packets are under way at once. Most packets reach their
// leaf after the same number of steps (ROOT_STEPS): these steps everyone takes, a packet at a leaf stays there; deeper ones
// keep a list. Who is not answered by the first box takes more rounds of the same kind, as long as enough take part.
//
// Tried and lost: to touch the next block's records ahead of time (they come from the third-level cache, 64 bytes each, a
// fifth of the time at 100 million packets/s; it got 5 % slower).

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
const BLOCK: u32 = 256;
/** Keys of the block: 16 bytes each, first all first vectors, then all second ones. */
const KEYS = memory.data(256 * 16 * 3, 64);
const KEY_VECTOR: usize = 256 * 16;
/** Places of packets in the block, times 4: all of them, and those that a later part concerns. */
const ALL = memory.data(256 * 4, 64);
const WAITING = memory.data(257 * 4, 64);
const NODES = memory.data(256 * 4, 64);
const DEEP = memory.data(257 * 4, 64);
/** Pairs: u32 place, u32 cell. */
const REST = memory.data(257 * 8, 64);

/** Packets, times 8, that are worth a round of their own. */
const FEW: usize = 16 * 8;

/** Of the tree: vectors of a key, log2 of the bytes of a box record. */
let vectors: u32 = 1;
let shift: u32 = 5;
let table: usize = 0;

/** Writes the number of the first clause that holds, or NONE, as u32 for each of `count` packet records. */
export function classify(program: usize, packets: usize, count: u32, answers: usize): void {
  const tree = treeOf(program);
  vectors = load<u32>(tree, FIRST_VECTORS);
  shift = load<u32>(tree, FIRST_SHIFT);
  table = <usize>load<u32>(tree, FIRST_RECORDS);
  const parts = load<u32>(tree, FIRST_PARTS);
  const numbers = <usize>load<u32>(tree, FIRST_CLAUSES);
  const plain = load<u32>(tree, FIRST_PLAIN) != 0;
  for (let i: u32 = 0; i < BLOCK; i++) store<u32>(ALL + ((<usize>i) << 2), i << 2);
  for (let first: u32 = 0; first < count; first += BLOCK) {
    const n = min<u32>(BLOCK, count - first);
    const at = packets + <usize>first * PACKET_BYTES;
    const out = answers + ((<usize>first) << 2);
    const bytes = (<usize>n) << 2;
    if (plain) plainKeys(at, n);
    else keys(tree, at, n);
    descend(tree + FIRST_HEADER, ALL, bytes);
    // the first box of each leaf
    let rest: usize = REST;
    for (let i: usize = 0; i < bytes; i += 4) {
      const cell = <usize>load<u32>(NODES + i);
      const box = (<i32>load<u32>(cell)) >> 1;
      const next = load<u32>(cell, 4);
      const failed = fails(i, box);
      store<u32>(out + i, failed ? <u32>((<i32>next) >> 1) : <u32>box);
      store<u64>(rest, ((<u64>next) << 32) | (<u64>i));
      rest += (<usize>(u32(failed) & ~next)) << 3;
    }
    // the others, one at a time
    while (rest - REST > FEW) rest = again(out, rest);
    for (let r: usize = REST; r < rest; r += 8) {
      const i = <usize>load<u32>(r);
      scan(i, load<u32>(r, 4), out + i, NONE);
    }
    for (let part: u32 = 1; part < parts; part++) {
      later(tree + FIRST_HEADER + <usize>part * ROOT_BYTES, bytes, out);
    }
    if (numbers != 0) {
      for (let i: usize = 0; i < bytes; i += 4) {
        const box = load<u32>(out + i);
        if (box != NONE) store<u32>(out + i, load<u32>(numbers + ((<usize>box) << 2)));
      }
    }
  }
}

/** A later part: for packets whose answer so far stands behind its lowest box. */
function later(part: usize, bytes: usize, out: usize): void {
  const lowest = load<u32>(part, ROOT_LOWEST);
  let waiting: usize = 0;
  for (let i: usize = 0; i < bytes; i += 4) {
    store<u32>(WAITING + waiting, <u32>i);
    waiting += (<usize>u32(load<u32>(out + i) > lowest)) << 2;
  }
  descend(part, WAITING, waiting);
  let rest: usize = REST;
  for (let w: usize = 0; w < waiting; w += 4) {
    const i = <usize>load<u32>(WAITING + w);
    const cell = <usize>load<u32>(NODES + w);
    const box = (<i32>load<u32>(cell)) >> 1;
    const next = load<u32>(cell, 4);
    const best = load<u32>(out + i);
    const failed = fails(i, box);
    const found = failed ? (next & 1 ? <u32>((<i32>next) >> 1) : NONE) : <u32>box;
    store<u32>(out + i, min<u32>(best, found));
    store<u64>(rest, ((<u64>next) << 32) | (<u64>i));
    rest += (<usize>(u32(failed) & ~next & u32(<u32>box < best))) << 3;
  }
  for (let r: usize = REST; r < rest; r += 8) {
    const i = <usize>load<u32>(r);
    scan(i, load<u32>(r, 4), out + i, load<u32>(out + i));
  }
}

/** The next box of each list; where the next round's ends. */
function again(out: usize, last: usize): usize {
  let rest: usize = REST;
  for (let r: usize = REST; r < last; r += 8) {
    const i = <usize>load<u32>(r);
    const cell = <usize>load<u32>(r, 4);
    const box = (<i32>load<u32>(cell)) >> 1;
    const next = load<u32>(cell, 4);
    const failed = fails(i, box);
    store<u32>(out + i, failed ? <u32>((<i32>next) >> 1) : <u32>box);
    store<u64>(rest, ((<u64>next) << 32) | (<u64>i));
    rest += (<usize>(u32(failed) & ~next)) << 3;
  }
  return rest;
}

/** The rest of a list, up to the first box that holds or cannot be better. */
function scan(i: usize, cell: usize, answer: usize, best: u32): void {
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
  store<u32>(answer, best);
}

/** From the root of the part to a leaf for each place of the list: NODES. */
function descend(part: usize, list: usize, bytes: usize): void {
  const cut = <usize>load<u32>(part, ROOT_CUT);
  const nodes = <usize>load<u32>(part, ROOT_NODES);
  const from = v128.load(cut);
  const bits = v128.load(cut, 16);
  for (let w: usize = 0; w < bytes; w += 4) {
    const key = v128.load(KEYS + ((<usize>load<u32>(list + w)) << 2));
    store<u32>(NODES + w, <u32>(nodes + ((<usize>numberOf(key, from, bits)) << 3)));
  }
  // steps that most packets take: all take them, and those at a leaf stay
  for (let steps = load<u32>(part, ROOT_STEPS); steps > 0; steps--) {
    for (let w: usize = 0; w < bytes; w += 4) {
      const key = v128.load(KEYS + ((<usize>load<u32>(list + w)) << 2));
      const cell = <usize>load<u32>(NODES + w);
      const word = load<u32>(cell);
      // at a leaf the word is no address
      const cut = <usize>(word & ((word & 1) - 1));
      const child = <usize>load<u32>(cell, 4) + ((<usize>numberOf(key, v128.load(cut), v128.load(cut, 16))) << 3);
      store<u32>(NODES + w, word & 1 ? <u32>cell : <u32>child);
    }
  }
  // who is not there yet
  let deep: usize = 0;
  for (let w: usize = 0; w < bytes; w += 4) {
    store<u32>(DEEP + deep, <u32>w);
    deep += (<usize>(~load<u32>(<usize>load<u32>(NODES + w)) & 1)) << 2;
  }
  while (deep != 0) {
    const last = deep;
    deep = 0;
    for (let d: usize = 0; d < last; d += 4) {
      const w = <usize>load<u32>(DEEP + d);
      const key = v128.load(KEYS + ((<usize>load<u32>(list + w)) << 2));
      const cell = <usize>load<u32>(NODES + w);
      const cut = <usize>load<u32>(cell);
      const child = <usize>load<u32>(cell, 4) + ((<usize>numberOf(key, v128.load(cut), v128.load(cut, 16))) << 3);
      store<u32>(NODES + w, <u32>child);
      store<u32>(DEEP + deep, <u32>w);
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
  let over = i16x8.sub_sat_u(i16x8.sub(v128.load(KEYS + (i << 2)), v128.load(record)), v128.load(record, 16));
  for (let v: usize = 1; v < vectors; v++) {
    over = v128.or(
      over,
      i16x8.sub_sat_u(
        i16x8.sub(v128.load(KEYS + (i << 2) + v * KEY_VECTOR), v128.load(record + (v << 5))),
        v128.load(record + (v << 5), 16),
      ),
    );
  }
  return v128.any_true(over);
}

/** Keys of the usual five fields. */
function plainKeys(packets: usize, n: u32): void {
  const end = KEYS + ((<usize>n) << 4);
  for (let key = KEYS; key < end; key += 16, packets += PACKET_BYTES) {
    const first = v128.load(packets);
    const second = v128.load(packets, 16);
    v128.store(key, i8x16.shuffle(first, second, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 18, 19));
  }
}

/** Keys of any fields, lane by lane. */
function keys(tree: usize, packets: usize, n: u32): void {
  const lanes = load<u32>(tree, FIRST_LANES);
  for (let lane: usize = 0; lane < lanes; lane++) {
    const from = packets + <usize>load<u32>(tree + FIRST_LANE_AT + (lane << 2));
    const to = KEYS + (lane >> 3) * KEY_VECTOR + ((lane & 7) << 1);
    for (let i: usize = 0; i < n; i++) store<u16>(to + (i << 4), load<u16>(from + i * PACKET_BYTES));
  }
}
