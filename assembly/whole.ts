// Tests of the bytes of a packet, from its IP header on: string, u32 and bpf.
//
// The engine knows words of packets; their bytes as they are now the embedder lays down when a rule asks (src/engine/datagrams.ts).
// string_mt() in net/netfilter/xt_string.c, u32_match_it() in xt_u32.c, bpf_mt() in xt_bpf.c.

import {
  BPF_TEST_INSTRUCTION_BYTES,
  FIELD_MARK,
  LAID_AT,
  LAID_BYTES,
  LAID_FLAGS,
  LAID_NO_ID,
  LAID_SCATTERED,
  STRING_ANY_CASE,
  STRING_MAY_MISS,
  TEST_A,
  TEST_B,
  TEST_BPF,
  TEST_C,
  TEST_FIELD,
  TEST_KIND,
  TEST_NEGATED,
  TEST_STRING,
  U32_AND,
  U32_AT,
  U32_LEFT,
  UNMODELLED_PAYLOAD,
  UNMODELLED_WHOLE,
} from "../src/layout";
import { DROPPED } from "./guard";
import { unmodelled } from "./log";
import { origin } from "./origin";
import { CURRENT, detail } from "./packet";
import { lay } from "./pieces";

const RESULT = memory.data(12, 16);

let bytes: usize = 0;
let size: u32 = 0;
/** The id is not known; it was asked for. */
let noId = false;
let missed = false;

/** One of the tests that ask for all bytes. `data`: of the program. */
export function asksWhole(test: usize, packet: usize, data: usize): u32 {
  lay(CURRENT, detail(), origin, RESULT);
  bytes = <usize>load<u32>(RESULT, LAID_AT);
  size = load<u32>(RESULT, LAID_BYTES);
  const flags = load<u32>(RESULT, LAID_FLAGS);
  noId = (flags & LAID_NO_ID) != 0;
  missed = false;
  if (bytes <= 1) return unknown(bytes == 0 ? UNMODELLED_PAYLOAD : UNMODELLED_WHOLE);
  const kind = load<u32>(test, TEST_KIND);
  const asked = data + load<u32>(test, TEST_A);
  const count = load<u32>(test, TEST_B);
  const negated = load<u32>(test, TEST_NEGATED);
  if (kind == TEST_BPF) {
    const result = runBpf(asked, count, packet);
    return missed ? unknown(UNMODELLED_WHOLE) : <u32>(result != 0);
  }
  if (kind == TEST_STRING) {
    const how = load<u32>(test, TEST_FIELD);
    const found = contains(asked, count, load<u32>(test, TEST_C), (how & STRING_ANY_CASE) != 0);
    if (found) missed = (how & STRING_MAY_MISS) != 0 && (flags & LAID_SCATTERED) != 0;
    return missed ? unknown(UNMODELLED_WHOLE) : (<u32>found) ^ negated;
  }
  const good = meetsU32(asked, count);
  return missed ? unknown(UNMODELLED_WHOLE) : (<u32>good) ^ negated;
}

function unknown(reason: i32): u32 {
  unmodelled(reason);
  return DROPPED;
}

function byteAt(at: u32): u32 {
  return <u32>load<u8>(bytes + <usize>at);
}

/** Byte 4, 5, 10 or 11 of the IP header. */
function isHidden(at: u32): bool {
  return noId && ((at & ~1) == 4 || (at & ~1) == 10);
}

/** Notes it where one of these bytes is not known. */
function look(at: u32, count: u32): void {
  for (let i: u32 = 0; i < count; i++) if (isHidden(at + i)) missed = true;
}

function wordAt(at: u32): u32 {
  return bswap<u32>(load<u32>(bytes + <usize>at));
}

/** toupper() of the kernel: Latin-1. */
function upper(byte: u32): u32 {
  const lower = byte - 0x61 <= 25 || (byte >= 0xdf && byte != 0xf7);
  return lower ? byte - 0x20 : byte;
}

/** @param bounds from where on it may begin | where it ends at the latest << 16 */
function contains(pattern: usize, length: u32, bounds: u32, anyCase: bool): bool {
  const end = min(bounds >> 16, size);
  for (let at = bounds & 0xffff; at + length <= end; at++) {
    let i: u32 = 0;
    let guessed = false;
    while (i < length) {
      const byte = byteAt(at + i);
      // the pattern is folded
      if (isHidden(at + i)) guessed = true;
      else if ((anyCase ? upper(byte) : byte) != <u32>load<u8>(pattern + <usize>i)) break;
      i++;
    }
    if (i < length) continue;
    if (!guessed) return true;
    missed = true;
  }
  return false;
}

/** `count` tests: u32 start, stepCount, then of each step its U32_ and number, rangeCount, then lo and hi of each. */
function meetsU32(asked: usize, count: u32): bool {
  let next = asked;
  for (let test: u32 = 0; test < count; test++) {
    const start = <u64>load<u32>(next);
    let steps = load<u32>(next, 4);
    next += 8;
    if (start + 4 > <u64>size) return false;
    look(<u32>start, 4);
    let value = wordAt(<u32>start);
    let base: u64 = 0;
    for (; steps > 0; steps--, next += 8) {
      const op = load<u32>(next);
      const number = load<u32>(next, 4);
      if (op == U32_AND) value &= number;
      else if (op == U32_LEFT) value <<= number & 31;
      else if (op == U32_AT) {
        base += <u64>value;
        if (base + <u64>number + 4 > <u64>size) return false;
        look(<u32>base + number, 4);
        value = wordAt(<u32>base + number);
      } else value >>= number & 31;
    }
    let ranges = load<u32>(next);
    let good = false;
    for (next += 4; ranges > 0; ranges--, next += 8) {
      const lo = load<u32>(next);
      const hi = load<u32>(next, 4);
      if (lo <= value && value <= hi) good = true;
    }
    if (!good) return false;
  }
  return true;
}

const MEMORY = memory.data(64, 16);

const ANCILLARY: u32 = 0xfffff000;
const NETWORK: u32 = 0xfff00000;
const LINK: u32 = 0xffe00000;

/** Instructions are u32 code | jt << 16 | jf << 24, u32 k. */
function runBpf(program: usize, count: u32, packet: usize): u32 {
  const end = program + <usize>count * BPF_TEST_INSTRUCTION_BYTES;
  let a: u32 = 0;
  let x: u32 = 0;
  for (let at = program; at < end; at += BPF_TEST_INSTRUCTION_BYTES) {
    const code = load<u16>(at) as u32;
    const k = load<u32>(at, 4);
    const kind = code & 7;
    const by = (code & 8) != 0 ? x : k;
    const op = code & 0xf0;
    if (kind <= 1) {
      const mode = code & 0xe0;
      let value: u32 = 0;
      if (mode == 0) value = k;
      else if (mode == 0x60) value = load<u32>(MEMORY + ((<usize>k) << 2));
      else if (mode == 0x80) value = size;
      else if (mode == 0x20 && k >= ANCILLARY) value = ancillary(k - ANCILLARY, packet);
      else {
        let offset = mode == 0x40 ? x + k : k;
        const width: u32 = mode == 0xa0 ? 1 : (code & 0x18) == 0 ? 4 : (code & 0x18) == 8 ? 2 : 1;
        if (offset >= LINK && offset < NETWORK) missed = true;
        if (offset >= NETWORK) offset -= NETWORK;
        if (<u64>offset + <u64>width > <u64>size) return 0;
        look(offset, width);
        if (width == 4) value = wordAt(offset);
        else if (width == 2) value = (byteAt(offset) << 8) | byteAt(offset + 1);
        else value = byteAt(offset);
        if (mode == 0xa0) value = (value & 15) << 2;
      }
      if (kind == 0) a = value;
      else x = value;
    } else if (kind <= 3) {
      store<u32>(MEMORY + ((<usize>k) << 2), kind == 2 ? a : x);
    } else if (kind == 4) {
      if ((op == 0x30 || op == 0x90) && by == 0) return 0;
      a = calculated(op, a, by);
    } else if (kind == 5) {
      let skip = k;
      if (op != 0) skip = jumps(op, a, by) ? load<u8>(at, 2) : load<u8>(at, 3);
      at += <usize>skip * BPF_TEST_INSTRUCTION_BYTES;
    } else if (kind == 6) {
      return (code & 0x10) == 0 ? k : a;
    } else if ((code & 0x80) == 0) {
      x = a;
    } else {
      a = x;
    }
  }
  // a program ends with a return
  return 0;
}

/** Protocol or mark; others are refused with the rule. */
function ancillary(what: u32, packet: usize): u32 {
  return what == 0 ? 0x0800 : load<u32>(packet, FIELD_MARK * 4);
}

function calculated(op: u32, a: u32, by: u32): u32 {
  if (op == 0x00) return a + by;
  if (op == 0x10) return a - by;
  if (op == 0x20) return a * by;
  if (op == 0x30) return a / by;
  if (op == 0x40) return a | by;
  if (op == 0x50) return a & by;
  if (op == 0x60) return a << (by & 31);
  if (op == 0x70) return a >> (by & 31);
  if (op == 0x80) return 0 - a;
  if (op == 0x90) return a % by;
  return a ^ by;
}

function jumps(op: u32, a: u32, by: u32): bool {
  if (op == 0x10) return a == by;
  if (op == 0x20) return a > by;
  if (op == 0x30) return a >= by;
  return (a & by) != 0;
}
