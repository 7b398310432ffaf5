// The lists of -m recent: recent_mt() and what it calls in net/netfilter/xt_recent.c.

import {
  ENTRY_ADDRESS,
  ENTRY_BORN,
  ENTRY_BYTES,
  ENTRY_NEXT,
  ENTRY_SEEN,
  ENTRY_STAMPS,
  ENTRY_TTL,
  LIST_BYTES,
  LIST_ENTRIES,
  LIST_KEPT,
  LIST_MASK,
  LIST_SEQUENCE,
  RECENT_REAP,
  RECENT_REMOVE,
  RECENT_RTTL,
  RECENT_SET,
  RECENT_UPDATE,
} from "../src/layout";

/** Addresses of the lists. */
let lists: usize = 0;

export function setLists(at: usize): void {
  lists = at;
}

function entryOf(list: usize, index: u32): usize {
  return list + LIST_BYTES + <usize>index * ENTRY_BYTES;
}

function stampsOf(list: usize, entry: usize): usize {
  const index = (entry - list - LIST_BYTES) / ENTRY_BYTES;
  return list + LIST_BYTES + LIST_ENTRIES * ENTRY_BYTES + index * <usize>load<u32>(list, LIST_KEPT) * 8;
}

function tick(list: usize): u32 {
  const sequence = load<u32>(list, LIST_SEQUENCE) + 1;
  store<u32>(list, sequence, LIST_SEQUENCE);
  return sequence;
}

/** The oldest entry with this address and, if both are known, this TTL; 0: none. */
function find(list: usize, address: u32, ttl: u32): usize {
  let found: usize = 0;
  for (let i: u32 = 0; i < <u32>LIST_ENTRIES; i++) {
    const entry = entryOf(list, i);
    if (load<u32>(entry, ENTRY_BORN) == 0 || load<u32>(entry, ENTRY_ADDRESS) != address) continue;
    const own = load<u32>(entry, ENTRY_TTL);
    if (ttl != 0 && own != 0 && own != ttl) continue;
    if (found == 0 || load<u32>(entry, ENTRY_BORN) < load<u32>(found, ENTRY_BORN)) found = entry;
  }
  return found;
}

/** The entry that has not been seen for longest; 0: there is none. */
function oldest(list: usize): usize {
  let found: usize = 0;
  for (let i: u32 = 0; i < <u32>LIST_ENTRIES; i++) {
    const entry = entryOf(list, i);
    if (load<u32>(entry, ENTRY_BORN) == 0) continue;
    if (found == 0 || load<u32>(entry, ENTRY_SEEN) < load<u32>(found, ENTRY_SEEN)) found = entry;
  }
  return found;
}

function add(list: usize, address: u32, ttl: u32, clock: f64): void {
  let entry: usize = 0;
  for (let i: u32 = 0; i < <u32>LIST_ENTRIES && entry == 0; i++) {
    if (load<u32>(entryOf(list, i), ENTRY_BORN) == 0) entry = entryOf(list, i);
  }
  if (entry == 0) entry = oldest(list);
  const now = tick(list);
  store<u32>(entry, now, ENTRY_BORN);
  store<u32>(entry, now, ENTRY_SEEN);
  store<u32>(entry, address, ENTRY_ADDRESS);
  store<u32>(entry, ttl, ENTRY_TTL);
  store<u32>(entry, 1, ENTRY_STAMPS);
  store<u32>(entry, 1, ENTRY_NEXT);
  store<f64>(stampsOf(list, entry), clock);
}

function update(list: usize, entry: usize, ttl: u32, clock: f64): void {
  const next = load<u32>(entry, ENTRY_NEXT) % load<u32>(list, LIST_KEPT);
  store<f64>(stampsOf(list, entry) + ((<usize>next) << 3), clock);
  store<u32>(entry, next + 1, ENTRY_NEXT);
  store<u32>(entry, max(load<u32>(entry, ENTRY_STAMPS), next + 1), ENTRY_STAMPS);
  store<u32>(entry, tick(list), ENTRY_SEEN);
  store<u32>(entry, ttl, ENTRY_TTL);
}

/** @param ttl as it was before forwarding; @param clock in milliseconds */
export function recent(
  number: u32,
  flags: u32,
  seconds: u32,
  hits: u32,
  negated: bool,
  whole: u32,
  ttl: u32,
  clock: f64,
): bool {
  const list = <usize>load<u32>(lists + ((<usize>number) << 2));
  const address = whole & load<u32>(list, LIST_MASK);
  const op = flags & 3;
  const entry = find(list, address, (flags & RECENT_RTTL) != 0 ? ttl : 0);
  if (entry == 0) {
    if (op != RECENT_SET) return negated;
    add(list, address, ttl, clock);
    return !negated;
  }
  if (op == RECENT_SET) {
    update(list, entry, ttl, clock);
    return !negated;
  }
  if (op == RECENT_REMOVE) {
    store<u32>(entry, 0, ENTRY_BORN);
    return !negated;
  }
  const since = clock - <f64>seconds * 1000;
  const stamps = stampsOf(list, entry);
  let seen: u32 = 0;
  for (let i: u32 = 0; i < load<u32>(entry, ENTRY_STAMPS); i++) {
    if (seconds == 0 || load<f64>(stamps + ((<usize>i) << 3)) >= since) seen++;
  }
  const holds = ((seen >= max<u32>(1, hits)) as bool) != negated;
  const updates = op == RECENT_UPDATE && holds;
  if ((flags & RECENT_REAP) != 0) {
    const last = oldest(list);
    if (last != 0 && !(updates && last == entry)) {
      const newest = stampsOf(list, last) + ((<usize>(load<u32>(last, ENTRY_NEXT) - 1)) << 3);
      if (load<f64>(newest) < since) store<u32>(last, 0, ENTRY_BORN);
    }
  }
  if (updates) update(list, entry, ttl, clock);
  return holds;
}
