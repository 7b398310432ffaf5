// Many packets through one tree of first-build.ts: for each the first box that holds.
//
// In blocks of packets small enough for the first-level cache, and phase by phase: all packets of a block look into the
// root, all take a step, all test the first box of their leaf. No branch in a phase hangs on the packet, so that none is
// guessed wrong, and the loads of many packets are under way at once. Most packets reach their leaf after the same
// number of steps (ROOT_STEPS): these steps everyone takes, a packet at a leaf stays there; deeper ones keep a list.
// Who is not answered by the first box takes two more rounds of the same kind, and then walks the rest of its list alone:
// long lists are few, and a tight loop tests a box in less time than a round does.

import { NONE, PACKET_BYTES } from "../src/layout";
import {
  FIRST_CLAUSES,
  FIRST_HEADER,
  FIRST_LAST,
  FIRST_LEAF,
  FIRST_PARTS,
  FIRST_RECORDS,
  FIRST_WIDE,
  ROOT_BYTES,
  ROOT_LOWEST,
  ROOT_NODES,
  ROOT_STEPS,
} from "./first-build";
import { treeOf } from "./program";

/** Packets of a block: 16 KiB of records. */
const BLOCK: u32 = 256;
/** Bytes of packet record for each byte of answer. */
const PLACE: usize = PACKET_BYTES / 4;
/** Places of packets in the block, times 4: all of them, and those that a later part concerns. */
const ALL = memory.data(256 * 4, 64);
const WAITING = memory.data(257 * 4, 64);
const NODES = memory.data(256 * 4, 64);
const DEEP = memory.data(257 * 4, 64);
/** Pairs: u32 place, u32 cursor. */
const REST = memory.data(257 * 8, 64);

/** Of the tree: log2 of the bytes of a box record. */
let recordBits: u32 = 6;

/** Writes the number of the first clause that holds, or NONE, as u32 for each of `count` packet records. */
export function classify(program: usize, packets: usize, count: u32, answers: usize): void {
  const tree = treeOf(program);
  recordBits = load<u32>(tree, FIRST_WIDE) != 0 ? 7 : 6;
  const parts = load<u32>(tree, FIRST_PARTS);
  const table = <usize>load<u32>(tree, FIRST_RECORDS);
  const numbers = <usize>load<u32>(tree, FIRST_CLAUSES);
  for (let i: u32 = 0; i < BLOCK; i++) store<u32>(ALL + ((<usize>i) << 2), i << 2);
  for (let first: u32 = 0; first < count; first += BLOCK) {
    const n = min<u32>(BLOCK, count - first);
    const records = packets + <usize>first * PACKET_BYTES;
    const out = answers + ((<usize>first) << 2);
    const bytes = (<usize>n) << 2;
    descend(tree + FIRST_HEADER, records, ALL, bytes);
    let rest: usize = REST;
    // the first box of each leaf
    for (let i: usize = 0; i < bytes; i += 4) {
      const packet = records + i * PLACE;
      const node = <usize>load<u32>(NODES + i);
      const box = load<u32>(node) & ~FIRST_LEAF;
      const more = load<u32>(node, 4);
      const hit = holds(packet, table + ((<usize>box) << recordBits));
      store<u32>(out + i, box | (hit - 1));
      store<u64>(rest, ((<u64>more) << 32) | (<u64>i));
      rest += (<usize>(u32(more != 0) & ~hit)) << 3;
    }
    // the others, one at a time
    rest = again(table, records, out, rest);
    rest = again(table, records, out, rest);
    for (let at: usize = REST; at < rest; at += 8) {
      const i = <usize>load<u32>(at);
      scan(table, records + i * PLACE, <usize>load<u32>(at, 4), out + i);
    }
    for (let part: u32 = 1; part < parts; part++) {
      later(tree + FIRST_HEADER + <usize>part * ROOT_BYTES, table, records, bytes, out);
    }
    if (numbers != 0) {
      for (let i: u32 = 0; i < n; i++) {
        const at = out + ((<usize>i) << 2);
        const box = load<u32>(at);
        if (box != NONE) store<u32>(at, load<u32>(numbers + ((<usize>box) << 2)));
      }
    }
  }
}

/** A later part: for packets whose answer so far stands behind its lowest box. */
function later(part: usize, table: usize, records: usize, bytes: usize, out: usize): void {
  const lowest = load<u32>(part, ROOT_LOWEST);
  let waiting: usize = 0;
  for (let i: usize = 0; i < bytes; i += 4) {
    store<u32>(WAITING + waiting, <u32>i);
    waiting += (<usize>u32(load<u32>(out + i) > lowest)) << 2;
  }
  descend(part, records, WAITING, waiting);
  let rest: usize = REST;
  for (let w: usize = 0; w < waiting; w += 4) {
    const i = <usize>load<u32>(WAITING + w);
    const node = <usize>load<u32>(NODES + w);
    const box = load<u32>(node) & ~FIRST_LEAF;
    const more = load<u32>(node, 4);
    const best = load<u32>(out + i);
    const better = u32(box < best);
    const hit = holds(records + i * PLACE, table + ((<usize>box) << recordBits)) & better;
    store<u32>(out + i, best ^ ((best ^ box) & (0 - hit)));
    store<u64>(rest, ((<u64>more) << 32) | (<u64>i));
    rest += (<usize>(u32(more != 0) & better & ~hit)) << 3;
  }
  for (let at: usize = REST; at < rest; at += 8) {
    const i = <usize>load<u32>(at);
    scan(table, records + i * PLACE, <usize>load<u32>(at, 4), out + i);
  }
}

/** The next box of each list; where the next round's ends. */
function again(table: usize, records: usize, out: usize, last: usize): usize {
  let rest: usize = REST;
  for (let at: usize = REST; at < last; at += 8) {
    const i = <usize>load<u32>(at);
    const cursor = load<u32>(at, 4);
    const word = load<u32>(cursor);
    const box = word & ~FIRST_LAST;
    const hit = holds(records + i * PLACE, table + ((<usize>box) << recordBits));
    store<u32>(out + i, box | (hit - 1));
    store<u64>(rest, ((<u64>(cursor + 4)) << 32) | (<u64>i));
    rest += (<usize>(((word >> 31) | hit) ^ 1)) << 3;
  }
  return rest;
}

/** The rest of a list, up to the first box that holds or cannot be better. */
function scan(table: usize, packet: usize, cursor: usize, answer: usize): void {
  const best = load<u32>(answer);
  for (; ; cursor += 4) {
    const word = load<u32>(cursor);
    const box = word & ~FIRST_LAST;
    if (box >= best) return;
    if (holds(packet, table + ((<usize>box) << recordBits)) != 0) {
      store<u32>(answer, box);
      return;
    }
    if (<i32>word < 0) return;
  }
}

/** From the root of the part to a leaf for each place of the list: NODES. */
function descend(part: usize, records: usize, list: usize, bytes: usize): void {
  const at0 = <usize>load<u32>(part);
  const shift0 = load<u32>(part, 4);
  const mask0 = load<u32>(part, 8);
  const at1 = <usize>load<u32>(part, 16);
  const shift1 = load<u32>(part, 20);
  const mask1 = load<u32>(part, 24);
  const place1 = load<u32>(part, 28);
  const at2 = <usize>load<u32>(part, 32);
  const shift2 = load<u32>(part, 36);
  const mask2 = load<u32>(part, 40);
  const place2 = load<u32>(part, 44);
  const at3 = <usize>load<u32>(part, 48);
  const shift3 = load<u32>(part, 52);
  const mask3 = load<u32>(part, 56);
  const place3 = load<u32>(part, 60);
  const root = <usize>load<u32>(part, ROOT_NODES);
  for (let w: usize = 0; w < bytes; w += 4) {
    const packet = records + <usize>load<u32>(list + w) * PLACE;
    const child =
      ((load<u32>(packet + at0) >> shift0) & mask0) |
      (((load<u32>(packet + at1) >> shift1) & mask1) << place1) |
      (((load<u32>(packet + at2) >> shift2) & mask2) << place2) |
      (((load<u32>(packet + at3) >> shift3) & mask3) << place3);
    store<u32>(NODES + w, <u32>(root + ((<usize>child) << 3)));
  }
  // steps that most packets take: all take them, and those at a leaf stay
  for (let steps = load<u32>(part, ROOT_STEPS); steps > 0; steps--) {
    for (let w: usize = 0; w < bytes; w += 4) {
      const packet = records + <usize>load<u32>(list + w) * PLACE;
      const node = <usize>load<u32>(NODES + w);
      const cut = load<u32>(node);
      const child = <u32>childOf(node, cut, packet);
      store<u32>(NODES + w, child ^ ((child ^ (<u32>node)) & (<u32>((<i32>cut) >> 31))));
    }
  }
  // who is not there yet
  let deep: usize = 0;
  for (let w: usize = 0; w < bytes; w += 4) {
    store<u32>(DEEP + deep, <u32>w);
    deep += (<usize>((load<u32>(<usize>load<u32>(NODES + w)) >> 31) ^ 1)) << 2;
  }
  while (deep != 0) {
    const last = deep;
    deep = 0;
    for (let d: usize = 0; d < last; d += 4) {
      const w = <usize>load<u32>(DEEP + d);
      const packet = records + <usize>load<u32>(list + w) * PLACE;
      const node = <usize>load<u32>(NODES + w);
      const child = childOf(node, load<u32>(node), packet);
      store<u32>(NODES + w, <u32>child);
      store<u32>(DEEP + deep, <u32>w);
      deep += (<usize>((load<u32>(child) >> 31) ^ 1)) << 2;
    }
  }
}

function childOf(node: usize, cut: u32, packet: usize): usize {
  const window0 = (load<u32>(packet + (cut & 0x3c)) << (cut >> 6)) >> (cut >> 11);
  const window1 = (load<u32>(packet + ((cut >> 14) & 0x3c)) << (cut >> 20)) >> (cut >> 25);
  return <usize>load<u32>(node, 4) + ((<usize>(window0 | (window1 << (0 - (cut >> 11))))) << 3);
}

/** 1 if the record's box holds, else 0. */
function holds(packet: usize, record: usize): u32 {
  let good = within(packet, record, 0);
  good = v128.and(good, within(packet, record, 1));
  if (recordBits == 7) {
    good = v128.and(good, within(packet, record, 2));
    good = v128.and(good, within(packet, record, 3));
  }
  return (<u32>i32x4.bitmask(good) + 1) >> 4;
}

/** All ones in each lane of the quarter where packet - lo <= span. */
function within(packet: usize, record: usize, quarter: usize): v128 {
  const above = i32x4.sub(v128.load(packet + (quarter << 4)), v128.load(record + (quarter << 5)));
  return i32x4.le_u(above, v128.load(record + (quarter << 5), 16));
}
