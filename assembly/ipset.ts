// Sets of ipset that are looked up by hashing: all but those of addresses alone that nothing changes, which are intervals.
//
// As in the kernel (mtype_test_cidrs() in ip_set_hash_gen.h) one slot is looked up for each length of network that the
// set has, the narrowest first. Slots are found by linear probing; what is deleted leaves no grave, the slots behind it
// move up. Of a set over networks and interfaces an entry more for each network counts its interfaces, since a network
// that is there hides wider ones, whichever interface it is for.

import {
  FIELD_DPORT,
  FIELD_DST,
  FIELD_ICMP,
  FIELD_IN_IFACE,
  FIELD_MARK,
  FIELD_OUT_IFACE,
  FIELD_PROTO,
  FIELD_SPORT,
  FIELD_SRC,
  FIELD_TRANSPORT,
  IPSET_BYTES,
  IPSET_COUNT,
  IPSET_DELETE,
  IPSET_ENTRIES,
  IPSET_HAS_IFACE,
  IPSET_HAS_IP,
  IPSET_HAS_IP2,
  IPSET_HAS_MAC,
  IPSET_HAS_MARK,
  IPSET_HAS_NET,
  IPSET_HAS_NET2,
  IPSET_HAS_PORT,
  IPSET_HI,
  IPSET_IPV6,
  IPSET_LENGTHS,
  IPSET_LIST,
  IPSET_LO,
  IPSET_MAP,
  IPSET_MARKMASK,
  IPSET_MASK,
  IPSET_MEMBER_COUNT,
  IPSET_MEMBERS,
  IPSET_MOST,
  IPSET_NETMASK,
  IPSET_NO_ZERO,
  IPSET_PART_COUNT,
  IPSET_PARTS,
  IPSET_PORTS_ALONE,
  IPSET_RENEW,
  IPSET_TIMEOUT,
  MEMBER_BYTES,
  MEMBER_COUNT,
  MEMBER_EXPIRES,
  MEMBER_IFACE,
  MEMBER_KEY,
  MEMBER_LENGTHS,
  MEMBER_LOADED,
  MEMBER_MARK,
  MEMBER_MARK_MASK,
  MEMBER_NOMATCH,
  MEMBER_THERE,
  NONE,
  ORIGIN_FLAGS,
  ORIGIN_HAS_MAC,
  ORIGIN_MAC_HIGH,
  ORIGIN_MAC_LOW,
  SHOW_NOMATCH,
  SHOW_PARTS_SHIFT,
  TRANSPORT_OFFSET_1,
} from "../src/layout";
import { loaded, now } from "./guard";
import { origin } from "./origin";

/** Ipset records. */
let sets: usize = 0;

export function setIpsets(at: usize): void {
  sets = at;
}

// what the packet shows the set that is asked, in the words of a key
let ip: u32 = 0;
let port: u32 = 0;
let second: u32 = 0;
let lengths: u32 = 0;
let iface: u32 = 0;

function setOf(number: u32): usize {
  return sets + <usize>number * IPSET_BYTES;
}

/** Bytes of the transport header that must be there for a port to be read; 0: the protocol has no ports. */
function bytesOf(proto: u32): u32 {
  if (proto == 6) return 20;
  if (proto == 132) return 12;
  return proto == 17 || proto == 136 || proto == 1 ? 8 : 0;
}

/** Writes ip to iface; false: the packet does not show what the set asks. */
function show(set: usize, packet: usize, how: u32): bool {
  const parts = load<u32>(set, IPSET_PARTS);
  if (((how >> SHOW_PARTS_SHIFT) & 0xff) < load<u32>(set, IPSET_PART_COUNT) || (parts & IPSET_IPV6) != 0) return false;
  ip = port = second = lengths = iface = 0;
  let part: u32 = 0;
  if ((parts & (IPSET_HAS_IP | IPSET_HAS_NET)) != 0) {
    ip = load<u32>(packet + (((how >> part) & 1) != 0 ? FIELD_SRC * 4 : FIELD_DST * 4));
    if (ip < load<u32>(set, IPSET_LO) || ip > load<u32>(set, IPSET_HI)) return false;
    ip &= load<u32>(set, IPSET_NETMASK);
    if (ip == 0 && (parts & IPSET_NO_ZERO) != 0) return false;
    lengths = 32;
    part++;
  }
  if ((parts & IPSET_HAS_PORT) != 0) {
    if (!showPort(set, packet, parts, ((how >> part) & 1) != 0)) return false;
    part++;
  }
  const source = ((how >> part) & 1) != 0;
  if ((parts & (IPSET_HAS_IP2 | IPSET_HAS_NET2)) != 0) {
    second = load<u32>(packet + (source ? FIELD_SRC * 4 : FIELD_DST * 4));
    lengths |= 32 << 8;
  } else if ((parts & IPSET_HAS_MARK) != 0) {
    second = load<u32>(packet, FIELD_MARK * 4) & load<u32>(set, IPSET_MARKMASK);
  } else if ((parts & IPSET_HAS_MAC) != 0) {
    second = load<u32>(origin, ORIGIN_MAC_LOW);
    const high = load<u32>(origin, ORIGIN_MAC_HIGH);
    if ((load<u32>(origin, ORIGIN_FLAGS) & ORIGIN_HAS_MAC) == 0 || (second | high) == 0) return false;
    lengths |= high << 16;
  } else if ((parts & IPSET_HAS_IFACE) != 0) {
    iface = load<u32>(packet + (source ? FIELD_IN_IFACE * 4 : FIELD_OUT_IFACE * 4));
    if (iface == 0) return false;
  }
  return true;
}

function showPort(set: usize, packet: usize, parts: u32, source: bool): bool {
  const proto = load<u32>(packet, FIELD_PROTO * 4);
  const bytes = bytesOf(proto);
  const transport = load<u32>(packet, FIELD_TRANSPORT * 4);
  if (proto == 0 || (bytes != 0 && (transport < bytes || transport >= <u32>TRANSPORT_OFFSET_1))) return false;
  if (bytes != 0) {
    port = load<u32>(packet + (proto == 1 ? FIELD_ICMP * 4 : source ? FIELD_SPORT * 4 : FIELD_DPORT * 4));
  }
  if ((parts & IPSET_PORTS_ALONE) == 0) {
    port |= proto << 16;
    return true;
  }
  return (proto == 6 || proto == 17) && port >= load<u32>(set, IPSET_LO) && port <= load<u32>(set, IPSET_HI);
}

function maskOf(length: u32): u32 {
  return length == 0 ? 0 : (<u32>-1) << (32 - length);
}

// -- slots

function hashOf(a: u32, b: u32, c: u32, d: u32, e: u32): u32 {
  let hash = a * 0x9e3779b1;
  hash = (hash ^ (hash >> 15) ^ b) * 0x85ebca77;
  hash = (hash ^ (hash >> 13) ^ c) * 0xc2b2ae3d;
  hash = (hash ^ (hash >> 16) ^ d) * 0x27d4eb2f;
  hash = (hash ^ (hash >> 15) ^ e) * 0x165667b1;
  return hash ^ (hash >> 16);
}

/** The entry with this key; or the free slot where it would stand. */
function slotOf(set: usize, a: u32, b: u32, c: u32, d: u32, e: u32): usize {
  const entries = <usize>load<u32>(set, IPSET_ENTRIES);
  const mask = load<u32>(set, IPSET_MASK);
  let slot = hashOf(a, b, c, d, e) & mask;
  for (;;) {
    const at = entries + <usize>slot * MEMBER_BYTES;
    if (load<u32>(at) == 0) return at;
    if (
      load<u32>(at, MEMBER_KEY) == a &&
      load<u32>(at, MEMBER_KEY + 4) == b &&
      load<u32>(at, MEMBER_KEY + 8) == c &&
      load<u32>(at, MEMBER_LENGTHS) == d &&
      load<u32>(at, MEMBER_IFACE) == e
    ) {
      return at;
    }
    slot = (slot + 1) & mask;
  }
  return 0;
}

function write(at: usize, state: u32, a: u32, b: u32, c: u32, d: u32, e: u32): void {
  store<u32>(at, state);
  store<u32>(at, a, MEMBER_KEY);
  store<u32>(at, b, MEMBER_KEY + 4);
  store<u32>(at, c, MEMBER_KEY + 8);
  store<u32>(at, d, MEMBER_LENGTHS);
  store<u32>(at, e, MEMBER_IFACE);
  store<f64>(at, 0, MEMBER_EXPIRES);
  store<u64>(at, 0, MEMBER_MARK);
  store<u64>(at, 0, MEMBER_COUNT);
}

/** Frees the slot; those behind it that would stand there move up. */
function free(set: usize, at: usize): void {
  const entries = <usize>load<u32>(set, IPSET_ENTRIES);
  const mask = load<u32>(set, IPSET_MASK);
  let hole = <u32>((at - entries) / MEMBER_BYTES);
  let slot = hole;
  for (;;) {
    slot = (slot + 1) & mask;
    const from = entries + <usize>slot * MEMBER_BYTES;
    if (load<u32>(from) == 0) break;
    const home =
      hashOf(
        load<u32>(from, MEMBER_KEY),
        load<u32>(from, MEMBER_KEY + 4),
        load<u32>(from, MEMBER_KEY + 8),
        load<u32>(from, MEMBER_LENGTHS),
        load<u32>(from, MEMBER_IFACE),
      ) & mask;
    if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
    memory.copy(entries + <usize>hole * MEMBER_BYTES, from, MEMBER_BYTES);
    hole = slot;
  }
  store<u32>(entries + <usize>hole * MEMBER_BYTES, 0);
}

function isThere(at: usize): bool {
  if (load<u32>(at) == 0) return false;
  const expires = load<f64>(at, MEMBER_EXPIRES);
  return expires == 0 || now <= ((load<u32>(at) & MEMBER_LOADED) != 0 ? loaded + expires : expires);
}

/** One more, or less, of the lengths of the entry. */
function countLengths(set: usize, entryLengths: u32, more: u32): void {
  const first = <usize>load<u32>(set, IPSET_LENGTHS) + ((entryLengths & 63) << 2);
  const other = <usize>load<u32>(set, IPSET_LENGTHS) + 132 + (((entryLengths >> 8) & 63) << 2);
  store<u32>(first, load<u32>(first) + more);
  store<u32>(other, load<u32>(other) + more);
}

/** One more, or less, of the interfaces of the entry's network; the entry that counts them goes with the last. */
function countIfaces(set: usize, a: u32, d: u32, more: u32): void {
  if ((load<u32>(set, IPSET_PARTS) & IPSET_HAS_IFACE) == 0) return;
  const at = slotOf(set, a, 0, 0, d, NONE);
  if (load<u32>(at) == 0) write(at, MEMBER_THERE, a, 0, 0, d, NONE);
  const count = load<u32>(at, MEMBER_COUNT) + more;
  store<u32>(at, count, MEMBER_COUNT);
  if (count == 0) free(set, at);
}

function remove(set: usize, at: usize): void {
  const a = load<u32>(at, MEMBER_KEY);
  const d = load<u32>(at, MEMBER_LENGTHS);
  countLengths(set, d, <u32>-1);
  store<u32>(set, load<u32>(set, IPSET_COUNT) - 1, IPSET_COUNT);
  free(set, at);
  countIfaces(set, a, d, <u32>-1);
}

/** Adds what is not there; its address. */
function insert(set: usize, state: u32, expires: f64, a: u32, b: u32, c: u32, d: u32, e: u32): usize {
  countIfaces(set, a, d, 1);
  countLengths(set, d, 1);
  store<u32>(set, load<u32>(set, IPSET_COUNT) + 1, IPSET_COUNT);
  const at = slotOf(set, a, b, c, d, e);
  write(at, state, a, b, c, d, e);
  store<f64>(at, expires, MEMBER_EXPIRES);
  return at;
}

/** Adds an element of a set that is loaded; its address. `seconds`: from then on, 0: for ever. */
export function insertMember(number: u32, a: u32, b: u32, c: u32, d: u32, e: u32, seconds: f64, nomatch: bool): usize {
  const state = MEMBER_THERE | MEMBER_LOADED | (nomatch ? MEMBER_NOMATCH : 0);
  return insert(setOf(number), state, seconds, a, b, c, d, e);
}

// -- look-ups

/** The length next below `length` that elements have, or -1. */
function nextLength(counts: usize, length: i32): i32 {
  do length--;
  while (length >= 0 && load<u32>(counts + ((<usize>length) << 2)) == 0);
  return length;
}

/** The entry that decides for what is shown; 0: none. */
function search(set: usize): usize {
  const parts = load<u32>(set, IPSET_PARTS);
  const counts = <usize>load<u32>(set, IPSET_LENGTHS);
  const high = lengths & 0xffff0000;
  for (let first = nextLength(counts, 33); first >= 0; first = nextLength(counts, first)) {
    for (let other = nextLength(counts + 132, 33); other >= 0; other = nextLength(counts + 132, other)) {
      const a = ip & maskOf(<u32>first);
      const hasAddress = (parts & (IPSET_HAS_IP2 | IPSET_HAS_NET2)) != 0;
      const c = hasAddress ? second & maskOf(<u32>other) : second;
      const d = high | (<u32>first) | ((<u32>other) << 8);
      const at = slotOf(set, a, port, c, d, iface);
      if (isThere(at)) return at;
      if ((parts & IPSET_HAS_IFACE) != 0 && load<u32>(slotOf(set, a, 0, 0, d, NONE)) != 0) return 0;
    }
  }
  return 0;
}

/** The entry that makes the packet a member of the set; 0: it is none. */
function find(number: u32, packet: usize, how: u32): usize {
  const set = setOf(number);
  const parts = load<u32>(set, IPSET_PARTS);
  if ((parts & IPSET_LIST) != 0) {
    const members = <usize>load<u32>(set, IPSET_MEMBERS);
    for (let i: u32 = 0; i < load<u32>(set, IPSET_MEMBER_COUNT); i++) {
      const found = find(load<u32>(members + ((<usize>i) << 2)), packet, how);
      if (found != 0) return found;
    }
    return 0;
  }
  if (!show(set, packet, how)) return 0;
  const at = search(set);
  if (at == 0 || (parts & (IPSET_HAS_NET | IPSET_HAS_NET2)) == 0) return at;
  return ((load<u32>(at) & MEMBER_NOMATCH) != 0) == ((how & SHOW_NOMATCH) != 0) ? at : 0;
}

export function inIpset(number: u32, packet: usize, how: u32): bool {
  return find(number, packet, how) != 0;
}

// -- changes

/** What is added or deleted has the narrowest lengths that the set has. */
function narrowest(set: usize): void {
  const parts = load<u32>(set, IPSET_PARTS);
  const counts = <usize>load<u32>(set, IPSET_LENGTHS);
  let first = lengths & 63;
  let other = (lengths >> 8) & 63;
  if ((parts & IPSET_HAS_NET) != 0 && nextLength(counts, 33) >= 0) first = <u32>nextLength(counts, 33);
  if ((parts & IPSET_HAS_NET2) != 0 && nextLength(counts + 132, 33) >= 0) {
    other = <u32>nextLength(counts + 132, 33);
    second &= maskOf(other);
  }
  ip &= first == 0 ? 0 : maskOf(first);
  lengths = (lengths & 0xffff0000) | first | (other << 8);
}

/** Frees what has expired; false: the set is full all the same. */
function makeRoom(set: usize): bool {
  const most = load<u32>(set, IPSET_MOST);
  const entries = <usize>load<u32>(set, IPSET_ENTRIES);
  let moved = true;
  while (moved) {
    moved = false;
    for (let slot: u32 = 0; slot <= load<u32>(set, IPSET_MASK); slot++) {
      const at = entries + <usize>slot * MEMBER_BYTES;
      while (load<u32>(at) != 0 && !isThere(at)) {
        remove(set, at);
        moved = true;
      }
    }
  }
  return load<u32>(set, IPSET_COUNT) < most;
}

/** ip_set_add() or ip_set_del(); false where nothing was done. */
function changeSet(number: u32, packet: usize, how: u32, timeout: u32): bool {
  const set = setOf(number);
  if ((load<u32>(set, IPSET_PARTS) & IPSET_LIST) != 0) {
    const members = <usize>load<u32>(set, IPSET_MEMBERS);
    for (let i: u32 = 0; i < load<u32>(set, IPSET_MEMBER_COUNT); i++) {
      if (changeSet(load<u32>(members + ((<usize>i) << 2)), packet, how, timeout)) return true;
    }
    return false;
  }
  if (!show(set, packet, how)) return false;
  narrowest(set);
  const op = how & IPSET_MAP;
  const known = slotOf(set, ip, port, second, lengths, iface);
  if (op == IPSET_DELETE) {
    if (!isThere(known)) return false;
    remove(set, known);
    return true;
  }
  if (isThere(known) && op != IPSET_RENEW) return false;
  if (load<u32>(known) != 0) remove(set, known);
  else if (load<u32>(set, IPSET_COUNT) >= load<u32>(set, IPSET_MOST) && !makeRoom(set)) return false;
  const own = load<u32>(set, IPSET_TIMEOUT);
  const seconds = own == <u32>NONE ? 0 : timeout == <u32>NONE ? own : timeout;
  insert(set, MEMBER_THERE, seconds == 0 ? 0 : now + <f64>seconds, ip, port, second, lengths, iface);
  return true;
}

/** What target SET does to a set, or by it to the packet. */
export function changeIpset(number: u32, packet: usize, how: u32, timeout: u32): void {
  if ((how & IPSET_MAP) != IPSET_MAP) {
    changeSet(number, packet, how, timeout);
    return;
  }
  const at = find(number, packet, how);
  if (at == 0) return;
  const mark = load<u32>(packet, FIELD_MARK * 4);
  store<u32>(packet, (mark & ~load<u32>(at, MEMBER_MARK_MASK)) ^ load<u32>(at, MEMBER_MARK), FIELD_MARK * 4);
}
