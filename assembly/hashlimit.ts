// The tables of -m hashlimit: hashlimit_mt_common() and what it calls in net/netfilter/xt_hashlimit.c.
//
// The kernel takes old entries away every so often. Here an entry that would have been taken away is found to be so when it is
// asked for, and begins anew; all such are taken away when there is no more room. Slots are found by linear probing.

import {
  FIELD_DST,
  FIELD_LENGTH,
  FIELD_PROTO,
  FIELD_SRC,
  HASH_BY_DPORT,
  HASH_BY_DST,
  HASH_BY_SPORT,
  HASH_BY_SRC,
  HASH_OF_BYTES,
  HASH_OF_WINDOWS,
  HASHED_BYTES,
  HASHED_DST,
  HASHED_EXPIRES,
  HASHED_LEFT,
  HASHED_MORE,
  HASHED_PORTS,
  HASHED_SINCE,
  HASHED_SRC,
  HASHLIMIT_BYTES,
  HASHLIMIT_CAP,
  HASHLIMIT_COST,
  HASHLIMIT_COUNT,
  HASHLIMIT_DST_MASK,
  HASHLIMIT_ENTRIES,
  HASHLIMIT_EXPIRE,
  HASHLIMIT_GC,
  HASHLIMIT_INTERVAL,
  HASHLIMIT_MOST,
  HASHLIMIT_PARTS,
  HASHLIMIT_SLOTS,
  HASHLIMIT_SPARE,
  HASHLIMIT_SRC_MASK,
} from "../src/layout";
import { DROPPED, loaded, now } from "./guard";
import { allocate } from "./memory";
import { placeOfPorts, showPorts, shownPorts } from "./ports";

const LEAST_SLOTS: u32 = 64;
const CREDITS: u64 = 1 << 37;
const BYTE_CREDITS: u64 = 1 << 22;
const BYTE_CAP: u64 = BYTE_CREDITS * 1000;

let tables: usize = 0;
/** Milliseconds, as of the packet that asks. */
let clock: f64 = 0;

export function setHashTables(at: usize): void {
  tables = at;
}

function milliseconds(time: f64): f64 {
  return floor<f64>(time * 1000 + 0.5);
}

// the key of the packet that is asked for
let src: u32 = 0;
let dst: u32 = 0;
let ports: u32 = 0;

/** 1: below the rate, 0: not; DROPPED. */
export function belowRate(number: u32, packet: usize): u32 {
  clock = milliseconds(now);
  const table = tables + <usize>number * HASHLIMIT_BYTES;
  const parts = load<u32>(table, HASHLIMIT_PARTS);
  src = (parts & HASH_BY_SRC) != 0 ? load<u32>(packet, FIELD_SRC * 4) & load<u32>(table, HASHLIMIT_SRC_MASK) : 0;
  dst = (parts & HASH_BY_DST) != 0 ? load<u32>(packet, FIELD_DST * 4) & load<u32>(table, HASHLIMIT_DST_MASK) : 0;
  ports = 0;
  if ((parts & (HASH_BY_SPORT | HASH_BY_DPORT)) != 0) {
    if (placeOfPorts(load<u32>(packet, FIELD_PROTO * 4)) >= 0) {
      if (!showPorts(packet)) return DROPPED;
      ports = shownPorts;
    }
    if ((parts & HASH_BY_SPORT) == 0) ports &= 0xffff;
    if ((parts & HASH_BY_DPORT) == 0) ports &= 0xffff0000;
  }
  const entry = entryOf(table);
  if (entry == 0) return DROPPED;
  store<f64>(entry, clock + load<f64>(table, HASHLIMIT_EXPIRE), HASHED_EXPIRES);
  const length = load<u32>(packet, FIELD_LENGTH * 4);
  if ((parts & HASH_OF_WINDOWS) != 0) return inWindow(table, entry, (parts & HASH_OF_BYTES) != 0 ? length : 1);
  return takes(table, entry, (parts & HASH_OF_BYTES) != 0 ? length : 0);
}

/** A look for old entries has found this one. */
function isGone(table: usize, entry: usize): bool {
  const every = load<f64>(table, HASHLIMIT_GC);
  const made = milliseconds(loaded);
  return made + ceil<f64>((load<f64>(entry, HASHED_EXPIRES) - made) / every) * every <= clock;
}

/** The entry of the key, made if there is none; 0: the table is full. */
function entryOf(table: usize): usize {
  let entry: usize = load<u32>(table, HASHLIMIT_SLOTS) == 0 ? 0 : slotOf(table);
  if (entry != 0 && load<u32>(entry) != 0) {
    if (isGone(table, entry)) begin(table, entry);
    return entry;
  }
  const count = load<u32>(table, HASHLIMIT_COUNT);
  if (count >= load<u32>(table, HASHLIMIT_MOST) || (count + 1) * 2 > load<u32>(table, HASHLIMIT_SLOTS)) {
    clear(table);
    if (load<u32>(table, HASHLIMIT_COUNT) >= load<u32>(table, HASHLIMIT_MOST)) return 0;
    entry = slotOf(table);
  }
  store<u32>(table, load<u32>(table, HASHLIMIT_COUNT) + 1, HASHLIMIT_COUNT);
  store<u32>(entry, 1);
  store<u32>(entry, src, HASHED_SRC);
  store<u32>(entry, dst, HASHED_DST);
  store<u32>(entry, ports, HASHED_PORTS);
  begin(table, entry);
  return entry;
}

/** The slot of the key, or the free one where it belongs. */
function slotOf(table: usize): usize {
  const mask = load<u32>(table, HASHLIMIT_SLOTS) - 1;
  const entries = <usize>load<u32>(table, HASHLIMIT_ENTRIES);
  let hash = (src * 0x9e3779b1) ^ (dst * 0x85ebca77) ^ (ports * 0xc2b2ae3d);
  hash = (hash ^ (hash >> 15)) * 0x2c1b3c6d;
  hash ^= hash >> 13;
  let i = hash & mask;
  let entry = entries + <usize>i * HASHED_BYTES;
  while (load<u32>(entry) != 0 && !isOfKey(entry)) {
    i = (i + 1) & mask;
    entry = entries + <usize>i * HASHED_BYTES;
  }
  return entry;
}

function isOfKey(entry: usize): bool {
  const same = load<u32>(entry, HASHED_SRC) == src && load<u32>(entry, HASHED_DST) == dst;
  return same && load<u32>(entry, HASHED_PORTS) == ports;
}

/** Moves what is not old to other slots, twice as many if that is needed. */
function clear(table: usize): void {
  const before = load<u32>(table, HASHLIMIT_SLOTS);
  const entries = <usize>load<u32>(table, HASHLIMIT_ENTRIES);
  let kept: u32 = 0;
  for (let i: u32 = 0; i < before; i++) {
    const entry = entries + <usize>i * HASHED_BYTES;
    if (load<u32>(entry) != 0 && !isGone(table, entry)) kept++;
  }
  let slots = max(before, LEAST_SLOTS);
  if (kept * 4 >= slots) slots <<= 1;
  const spare = <usize>load<u32>(table, HASHLIMIT_SPARE);
  const room = spare != 0 && slots == before ? spare : allocate(<usize>slots * HASHED_BYTES);
  // the memory is full
  if (room == 0) unreachable();
  memory.fill(room, 0, <usize>slots * HASHED_BYTES);
  store<u32>(table, slots, HASHLIMIT_SLOTS);
  store<u32>(table, <u32>room, HASHLIMIT_ENTRIES);
  store<u32>(table, slots == before ? <u32>entries : 0, HASHLIMIT_SPARE);
  store<u32>(table, kept, HASHLIMIT_COUNT);
  const wantedSrc = src;
  const wantedDst = dst;
  const wantedPorts = ports;
  for (let i: u32 = 0; i < before; i++) {
    const entry = entries + <usize>i * HASHED_BYTES;
    if (load<u32>(entry) == 0 || isGone(table, entry)) continue;
    src = load<u32>(entry, HASHED_SRC);
    dst = load<u32>(entry, HASHED_DST);
    ports = load<u32>(entry, HASHED_PORTS);
    memory.copy(slotOf(table), entry, HASHED_BYTES);
  }
  src = wantedSrc;
  dst = wantedDst;
  ports = wantedPorts;
}

/** rateinfo_init(). */
function begin(table: usize, entry: usize): void {
  const parts = load<u32>(table, HASHLIMIT_PARTS);
  const cap = load<u64>(table, HASHLIMIT_CAP);
  const windows = (parts & HASH_OF_WINDOWS) != 0;
  const bytes = (parts & HASH_OF_BYTES) != 0;
  store<f64>(entry, clock, HASHED_SINCE);
  store<u64>(entry, windows ? 0 : bytes ? BYTE_CAP : cap, HASHED_LEFT);
  store<u64>(entry, !windows && bytes ? cap : 0, HASHED_MORE);
}

/** Milliseconds since the credits were reckoned. */
function passed(entry: usize): u64 {
  return <u64>(clock - load<f64>(entry, HASHED_SINCE));
}

/** @param amount that comes, packets or bytes */
function inWindow(table: usize, entry: usize, amount: u32): u32 {
  const interval = <u64>load<f64>(table, HASHLIMIT_INTERVAL);
  const since = passed(entry);
  let came = load<u64>(entry, HASHED_LEFT);
  if (since >= interval) {
    const above = came * interval > since * load<u64>(table, HASHLIMIT_COST);
    store<u64>(entry, <u64>above, HASHED_MORE);
    store<f64>(entry, clock, HASHED_SINCE);
    came = 0;
  }
  came += amount;
  store<u64>(entry, came, HASHED_LEFT);
  return <u32>(load<u64>(entry, HASHED_MORE) == 0 && came <= load<u64>(table, HASHLIMIT_CAP));
}

/** @param bytes of the packet; 0: packets are counted */
function takes(table: usize, entry: usize, bytes: u32): u32 {
  const since = passed(entry);
  store<f64>(entry, clock, HASHED_SINCE);
  let left = load<u64>(entry, HASHED_LEFT);
  let cost = load<u64>(table, HASHLIMIT_COST);
  if (bytes == 0) {
    left = min(left + since * CREDITS, load<u64>(table, HASHLIMIT_CAP));
  } else {
    left = min(left + since * BYTE_CREDITS, BYTE_CAP);
    cost = min(<u64>((bytes >> 4) + 1) * cost, BYTE_CAP);
    const refills = load<u64>(entry, HASHED_MORE);
    if (left < cost && refills > 0) {
      store<u64>(entry, refills - 1, HASHED_MORE);
      left = BYTE_CAP;
    }
  }
  const good = left >= cost;
  store<u64>(entry, good ? left - cost : left, HASHED_LEFT);
  return <u32>good;
}
