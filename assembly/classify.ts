// Many packets through one program whose every clause ends the look-up: the first box that holds is the answer.
//
// Large trees are walked level by level, in blocks of packets small enough for the first-level cache: every packet of a block takes one step
// down, those that have reached a leaf leave the list, until none is left. Then the leaves, in the same way. The loads of
// many packets are under way at once, and the only branch that cannot be foretold is the one at a leaf's end.
//
// With several parts the second and later ones are visited only by packets whose answer so far stands behind the part's
// lowest clause.

import { CLAUSE_RULE, NONE, PACKET_BYTES } from "../src/layout";
import { startPacket } from "./guard";
import { blockMask, leafOf, run } from "./look-up";
import { copyRecord } from "./memory";
import { FIVE_TUPLE, LEAF_HEADER, PART_BYTES, PART_FIRST, TREE_PARTS, treeOf } from "./program";

/** Packets of a block: 16 KiB of records. */
const BLOCK: u32 = 256;

/** For each packet: its record and the node where it stands. */
const PACKETS = memory.data(256 * 4);
const NODES = memory.data(256 * 4);

/** Writes the number of the first clause that holds, or NONE, as u32 for each of `count` packet records. */
export function classifyBlocks(program: usize, packets: usize, count: u32, answers: usize): void {
  const tree = treeOf(program);
  const parts = load<u32>(tree);
  for (let first: u32 = 0; first < count; first += BLOCK) {
    const n = min<u32>(BLOCK, count - first);
    const records = packets + <usize>first * PACKET_BYTES;
    const out = answers + ((<usize>first) << 2);
    for (let i: u32 = 0; i < n; i++) store<u32>(out + (i << 2), NONE);
    for (let part: u32 = 0; part < parts; part++) {
      classifyBlock(tree + TREE_PARTS + <usize>part * PART_BYTES, records, n, out);
    }
  }
}

function classifyBlock(part: usize, records: usize, n: u32, out: usize): void {
  const lowest = load<u32>(part, PART_FIRST);
  // who may still win here
  let waiting: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    store<u32>(PACKETS + (waiting << 2), i);
    store<u32>(NODES + (i << 2), <u32>part);
    waiting += u32(load<u32>(out + (i << 2)) > lowest);
  }
  const all = waiting;
  // down the tree
  const list = LIST;
  for (let i: u32 = 0; i < all; i++) store<u32>(list + (i << 2), load<u32>(PACKETS + (i << 2)));
  while (waiting != 0) {
    let still: u32 = 0;
    for (let i: u32 = 0; i < waiting; i++) {
      const number = load<u32>(list + (i << 2));
      const node = <usize>load<u32>(NODES + (number << 2));
      const cut = load<u32>(node);
      const inner = u32(<i32>cut >= 0);
      const packet = records + <usize>number * PACKET_BYTES;
      const window1 =
        (load<u32>(packet + (((cut >> 9) & 15) << 2)) >> ((cut >> 4) & 31)) & (((<u32>1) << (cut & 15)) - 1);
      const window2 =
        (load<u32>(packet + (((cut >> 22) & 15) << 2)) >> ((cut >> 17) & 31)) & (((<u32>1) << ((cut >> 13) & 15)) - 1);
      const child = load<u32>(node, 4) + ((window1 | (window2 << (cut & 15))) << 3);
      store<u32>(NODES + (number << 2), inner ? child : <u32>node);
      store<u32>(list + (still << 2), number);
      still += inner;
    }
    waiting = still;
  }
  // the leaves
  for (let i: u32 = 0; i < all; i++) {
    const number = load<u32>(PACKETS + (i << 2));
    const node = <usize>load<u32>(NODES + (number << 2));
    const at = out + (number << 2);
    store<u32>(at, firstIn(node, records + <usize>number * PACKET_BYTES, load<u32>(at)));
  }
}

const LIST = memory.data(256 * 4);

/** The first clause of the leaf that holds, if it stands before `best`; else `best`. */
function firstIn(node: usize, packet: usize, best: u32): u32 {
  const fields = load<u32>(node) & 0xffff;
  const leaf = <usize>load<u32>(node, 4);
  if (fields == FIVE_TUPLE) return firstOfFive(leaf, packet, best);
  const bytes: usize = 16 + 32 * popcnt(fields);
  let block = leaf + LEAF_HEADER;
  const end = block + <usize>load<u32>(leaf) * bytes;
  for (; block < end && load<u32>(block) < best; block += bytes) {
    const bits = blockMask(block, fields, packet);
    if (bits != 0) return min(best, load<u32>(block + (ctz(bits) << 2)));
  }
  return best;
}

const FIVE_BYTES: usize = 16 + 5 * 32;

/** firstIn for a leaf that tests a whole five-tuple, without the loop over fields. */
function firstOfFive(leaf: usize, packet: usize, best: u32): u32 {
  let block = leaf + LEAF_HEADER;
  const end = block + <usize>load<u32>(leaf) * FIVE_BYTES;
  const src = v128.load32_splat(packet);
  const dst = v128.load32_splat(packet, 4);
  const sport = v128.load32_splat(packet, 8);
  const dport = v128.load32_splat(packet, 12);
  const proto = v128.load32_splat(packet, 16);
  for (; block < end && load<u32>(block) < best; block += FIVE_BYTES) {
    const bits = i32x4.bitmask(
      v128.and(
        v128.and(
          v128.and(within(src, block + 16), within(dst, block + 48)),
          v128.and(within(sport, block + 80), within(dport, block + 112)),
        ),
        within(proto, block + 144),
      ),
    );
    if (bits != 0) return min(best, load<u32>(block + (ctz(<u32>bits) << 2)));
  }
  return best;
}

/** All ones in each lane where value - lo <= span; lo stands at `at`, span behind it. */
function within(value: v128, at: usize): v128 {
  return i32x4.le_u(i32x4.sub(value, v128.load(at)), v128.load(at, 16));
}

/** As classifyBlocks, a packet at a time: faster as long as the tree stays in the second-level cache. */
export function classify(program: usize, packets: usize, count: u32, answers: usize): void {
  const tree = treeOf(program);
  const parts = load<u32>(tree);
  for (let i: u32 = 0; i < count; i++) {
    const packet = packets + <usize>i * PACKET_BYTES;
    let best: u32 = NONE;
    for (let part: u32 = 0; part < parts; part++) {
      const at = tree + TREE_PARTS + <usize>part * PART_BYTES;
      if (load<u32>(at, PART_FIRST) < best) best = firstIn(leafOf(at, packet), packet, best);
    }
    store<u32>(answers + ((<usize>i) << 2), best);
  }
}

/** For each packet the number of the rule or policy that ends its look-up, or NONE; for programs with effects. */
export function decide(program: usize, packets: usize, count: u32, answers: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    copyRecord(COPY, packets + <usize>i * PACKET_BYTES);
    startPacket(i, 0);
    const clause = run(program, COPY);
    store<u32>(answers + ((<usize>i) << 2), clause == 0 ? NONE : load<u32>(clause, CLAUSE_RULE));
  }
}

const COPY = memory.data(64, 16);
