// Which bits a node of a first-match tree (first-build.ts) cuts on: any bits of the key's first vector, up to sixteen.
//
// Bit by bit. The boxes of the node are dealt out by the bits chosen so far, as they will be; the next bit is the one
// that shortens these lists most. For a list of n boxes of which n0 ask for 0 and n1 for 1, and the rest for neither, a
// packet of a random box meets fewer by
//     (2 n0 n1 + (n - n0 - n1) (n0 + n1) / 2) / n,
// counted for all 128 bits at once in byte lanes. Each box carries its weight: 1 at the root, halved wherever both
// halves get it; what a list weighs is how often packets come by, and a cost model of steps, tests and bytes says where
// to stop. Ranges of ports count as the prefix that holds them here, and exactly when boxes are dealt out.

import { records, recordShift } from "./first-lanes";

/** Widest node, in bits. */
const MOST_BITS: u32 = 16;
/** Bits chosen: u32 each, 0 the lowest bit of the key. */
export const BITS = memory.data(4 * 16);
export let bitCount: u32 = 0;
/** What a packet costs by them, and before them. */
export let bestCost: f64 = 0;

/** A step down, in tests of a box: one that most packets take, and one that few do. */
const STEP: f64 = 1.0;
const RARE_STEP: f64 = 1.6;
/** A cut that gains less, in tests, is none. */
const LEAST_GAIN: f64 = 0.25;
/** Steps, at least, that halve a list. */
const LEAST_LEVELS: f64 = 1.2;
/** Price of a byte for a packet that falls into one box, in tests. */
let bytePrice: f64 = 0.002;

/** `limit`: bytes that there may be for each box. */
export function setPrice(limit: f64): void {
  bytePrice = PRICE / limit;
  penalty = <f32>(bytePrice * 32);
}
const PRICE: f64 = 1;
/** What it costs that one more box goes both ways, in the unit of the gains. */
let penalty: f32 = 0;

/** For each box its bits that are the same in the whole box (first vector), 16 bytes each. */
export let cares: usize = 0;

export function setCares(at: usize): void {
  cares = at;
}

const COUNT_0 = memory.data(128, 16);
const COUNT_1 = memory.data(128, 16);
const LONG_0 = memory.data(512, 16);
const LONG_1 = memory.data(512, 16);
const GAIN = memory.data(512, 16);

/** By length of a list (its binary logarithm): f64 weight of such lists, f64 their weight times length. */
const LENGTHS = memory.data(32 * 16, 16);

/**
 * What a packet costs below a node, in tests. A list that is short is a leaf; a longer one is cut again, and where this cut
 * left much together the next ones will.
 */
function costBelow(count: f64, done: f64, all: f64, step: f64): f64 {
  let length: f64 = done;
  for (let k: usize = 0; k < 32; k++) length += load<f64>(LENGTHS + (k << 4), 8);
  const levels = max<f64>(LEAST_LEVELS, 1 / NativeMath.log2(max<f64>(1.05, (count * all) / length)));
  let cost: f64 = done;
  for (let k: usize = 0; k < 32; k++) {
    const weight = load<f64>(LENGTHS + (k << 4));
    if (weight == 0) continue;
    const n = load<f64>(LENGTHS + (k << 4), 8) / weight;
    const leaf = 1 + (n - 1) * 0.5;
    cost += weight * (n <= 3 ? leaf : min<f64>(leaf, step * max<f64>(1, NativeMath.log2(n * 0.5) * levels) + 1.15));
  }
  return cost / all;
}

/**
 * Chooses bits for `count` boxes (u32 box, f32 weight each) that weigh `weight`; bitCount is 0 if nothing pays. `known`:
 * bits that are known already. No node takes more than `means` bytes. No more than `counted` boxes are looked at. Scratch space from `scratch` to `end`.
 */
export function chooseBits(
  list: usize,
  count: u32,
  weight: f64,
  known: v128,
  room: u32,
  means: f64,
  depth: u32,
  counted: u32,
  scratch: usize,
  end: usize,
): void {
  bitCount = 0;
  bestCost = 1;
  if (count < 2 || room == 0) return;
  // lists of a level: u32 n, f32 weight, then the entries; all of them one behind the other
  const every = (count + counted - 1) / counted;
  const half = ((end - scratch) >> 1) & ~15;
  let here = (scratch + 15) & ~15;
  let there = here + half;
  let n: u32 = 0;
  let all: f64 = 0;
  if (here + ((<usize>(count / every + 2)) << 3) > there) return;
  for (let i: u32 = 0; i < count; i += every) {
    const entry = load<u64>(list + ((<usize>i) << 3));
    store<u64>(here + ((<usize>n) << 3), entry, 8);
    all += <f64>reinterpret<f32>(<u32>(entry >> 32));
    n++;
  }
  store<u32>(here, n);
  store<f32>(here, <f32>all, 4);
  let hereEnd = here + 8 + ((<usize>n) << 3);
  const scale = <f64>(count - 1) / <f64>(n - 1);
  const price = bytePrice / weight;
  /** Of lists that need no more: their weight. */
  let done: f64 = 0;
  const step = depth <= 1 ? STEP : RARE_STEP;
  let best = 1 + <f64>(count - 1) * 0.5 - LEAST_GAIN;
  let bestCount: u32 = 0;
  room = min<u32>(room, MOST_BITS);
  while (bitCount < room) {
    const bit = bestBit(here, hereEnd, known);
    if (bit < 0) break;
    store<u32>(BITS + (bitCount << 2), <u32>bit);
    bitCount++;
    known = withBit(known, bit);
    // deal out
    let to = there;
    memory.fill(LENGTHS, 0, 32 * 16);
    let more: f64 = 0;
    const limit = there + half - 64;
    const bits = 1 << (bit & 7);
    const byte = <usize>(bit >> 3);
    for (let from = here; from < hereEnd;) {
      const length = load<u32>(from);
      const last = from + 8 + ((<usize>length) << 3);
      if (to + (((<usize>length) << 4) + 16) > limit) {
        to = limit;
        break;
      }
      for (let value = 0; value < 2; value++) {
        let m: u32 = 0;
        let w: f32 = 0;
        const head = to;
        for (let at = from + 8; at < last; at += 8) {
          const box = load<u32>(at);
          const ownWeight = load<f32>(at, 4);
          const cared = (<i32>load<u8>(cares + ((<usize>box) << 4) + byte)) & bits;
          const ones = (<i32>load<u8>(records + ((<usize>box) << recordShift) + byte)) & bits;
          const skipped = i32(cared != 0) & i32(i32(ones != 0) != value);
          const part = cared != 0 ? ownWeight : ownWeight * 0.5;
          store<u32>(head + ((<usize>m) << 3), box, 8);
          store<f32>(head + ((<usize>m) << 3), part, 12);
          m += <u32>(skipped ^ 1);
          w += skipped != 0 ? 0 : part;
        }
        if (m <= 1) {
          done += <f64>w;
          continue;
        }
        const n = 1 + <f64>(m - 1) * scale;
        const lengths = LENGTHS + ((<usize>31 - clz<u32>(<u32>n)) << 4);
        store<f64>(lengths, load<f64>(lengths) + <f64>w);
        store<f64>(lengths, load<f64>(lengths, 8) + <f64>w * n, 8);
        more += <f64>(m - 1);
        store<u32>(head, m);
        store<f32>(head, w, 4);
        to += 8 + ((<usize>m) << 3);
      }
      from = last;
    }
    if (to == limit) {
      bitCount--;
      break;
    }
    const swap = here;
    here = there;
    there = swap;
    hereEnd = to;
    const bytes = <f64>((<u32>8) << bitCount) + 32 + more * <f64>every * 8;
    if (bytes > means) break;
    const cost = step + costBelow(<f64>count, done, all, step) + price * bytes;
    if (cost < best) {
      best = cost;
      bestCount = bitCount;
    }
    if (hereEnd == here) break;
  }
  bitCount = bestCount;
  bestCost = best;
}

export function withBit(known: v128, bit: i32): v128 {
  v128.store(ONE_BIT, i16x8.splat(0));
  store<u8>(ONE_BIT + (bit >> 3), <u8>((<u32>1) << (bit & 7)));
  return v128.or(known, v128.load(ONE_BIT));
}
const ONE_BIT = memory.data(16, 16);

/** The bit that shortens the lists most; -1 if none does. */
function bestBit(from: usize, end: usize, known: v128): i32 {
  memory.fill(GAIN, 0, 512);
  for (; from < end;) {
    const n = load<u32>(from);
    const entries = from + 8;
    from = entries + ((<usize>n) << 3);
    const share = <f32>load<f32>(entries - 4) / <f32>n;
    if (n < 256) {
      countBits(entries, n);
      addGains(n, share);
      continue;
    }
    memory.fill(LONG_0, 0, 512);
    memory.fill(LONG_1, 0, 512);
    for (let at = entries; at < from; at += 255 * 8) {
      countBits(at, min<u32>(255, <u32>((from - at) >> 3)));
      for (let bit: usize = 0; bit < 128; bit++) {
        store<u32>(LONG_0 + (bit << 2), load<u32>(LONG_0 + (bit << 2)) + <u32>load<u8>(COUNT_0 + bit));
        store<u32>(LONG_1 + (bit << 2), load<u32>(LONG_1 + (bit << 2)) + <u32>load<u8>(COUNT_1 + bit));
      }
    }
    for (let bit: usize = 0; bit < 512; bit += 4) {
      const n0 = <f32>load<u32>(LONG_0 + bit);
      const n1 = <f32>load<u32>(LONG_1 + bit);
      const free = <f32>n - n0 - n1;
      const gain: f32 = (<f32>4 * n0 * n1 + free * (n0 + n1)) * share - free * penalty;
      store<f32>(GAIN + bit, load<f32>(GAIN + bit) + gain);
    }
  }
  let best: f32 = 0;
  let which: i32 = -1;
  v128.store(KNOWN, known);
  for (let bit = 0; bit < 128; bit++) {
    const gain = load<f32>(GAIN + ((<usize>bit) << 2));
    if (gain > best && (((<i32>load<u8>(KNOWN + (bit >> 3))) >> (bit & 7)) & 1) == 0) {
      best = gain;
      which = bit;
    }
  }
  return which;
}
const KNOWN = memory.data(16, 16);

/** How many of up to 255 boxes ask for 0, for 1, in each bit: COUNT_0, COUNT_1. */
function countBits(entries: usize, n: u32): void {
  memory.fill(COUNT_0, 0, 128);
  memory.fill(COUNT_1, 0, 128);
  const bits = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
  // two bytes of the key at a time: 16 bits
  for (let pair: usize = 0; pair < 16; pair += 2) {
    let zeros = i8x16.splat(0);
    let ones = i8x16.splat(0);
    for (let i: u32 = 0; i < n; i++) {
      const box = <usize>load<u32>(entries + ((<usize>i) << 3));
      const care = v128.load16_splat(cares + (box << 4) + pair);
      const value = v128.load16_splat(records + (box << recordShift) + pair);
      const spread = v128.and(i8x16.shuffle(care, care, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1), bits);
      const set = v128.and(i8x16.shuffle(value, value, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1), spread);
      const cared = i8x16.eq(spread, bits);
      const one = i8x16.eq(set, bits);
      ones = i8x16.sub(ones, one);
      zeros = i8x16.sub(zeros, v128.andnot(cared, one));
    }
    v128.store(COUNT_0 + (pair << 3), zeros);
    v128.store(COUNT_1 + (pair << 3), ones);
  }
}

function addGains(n: u32, share: f32): void {
  const all = i16x8.splat(<i16>n);
  const shares = f32x4.splat(share);
  const penalties = f32x4.splat(penalty);
  for (let at: usize = 0; at < 128; at += 8) {
    const n0 = v128.load8x8_u(COUNT_0 + at);
    const n1 = v128.load8x8_u(COUNT_1 + at);
    const asked = i16x8.add(n0, n1);
    const free = i16x8.sub(all, asked);
    const gain = i16x8.add(i16x8.shl(i16x8.mul(n0, n1), 2), i16x8.mul(free, asked));
    const to = GAIN + (at << 2);
    v128.store(
      to,
      f32x4.add(
        v128.load(to),
        f32x4.sub(
          f32x4.mul(f32x4.convert_i32x4_u(i32x4.extend_low_i16x8_u(gain)), shares),
          f32x4.mul(f32x4.convert_i32x4_u(i32x4.extend_low_i16x8_u(free)), penalties),
        ),
      ),
    );
    v128.store(
      to,
      f32x4.add(
        v128.load(to, 16),
        f32x4.sub(
          f32x4.mul(f32x4.convert_i32x4_u(i32x4.extend_high_i16x8_u(gain)), shares),
          f32x4.mul(f32x4.convert_i32x4_u(i32x4.extend_high_i16x8_u(free)), penalties),
        ),
      ),
      16,
    );
  }
}
