// Tests of the bytes behind the IP header, which lie where the origin record says.
//
// Nothing on a packet's way changes what is asked here but TCPMSS, which puts an option in front of the others. Where the
// bytes are not known the packet is not modelled; what the host makes has no options. Headers are whole: TEST_INTACT.

import {
  CHUNKS_ALL,
  CHUNKS_ANY,
  MSS_KNOWN,
  ORIGIN_OPTION,
  ORIGIN_PAYLOAD,
  ORIGIN_PAYLOAD_BYTES,
  ORIGIN_ROOM,
  TEST_A,
  TEST_B,
  TEST_C,
  TEST_CHUNKS,
  TEST_DCCP_OPTION,
  TEST_DCCP_TYPES,
  TEST_FIELD,
  TEST_KIND,
  TEST_NEGATED,
  TEST_SPI,
  UNMODELLED_BROKEN,
  UNMODELLED_PAYLOAD,
} from "../src/layout";
import { DROPPED, FAILS, HOLDS } from "./guard";
import { unmodelled } from "./log";
import { isMade, origin } from "./origin";

const TCP_HEADER_BYTES: u32 = 20;
const SCTP_HEADER_BYTES: u32 = 12;
const CHUNK_HEADER_BYTES: u32 = 4;
const DCCP_HEADER_BYTES: u32 = 12;
const MSS_KIND: u32 = 2;

/** The payload of the packet that is on its way. */
let payload: usize = 0;
let size: u32 = 0;

/** One of the tests that ask for bytes. `data`: of the program. */
export function asksBytes(test: usize, data: usize): u32 {
  payload = <usize>load<u32>(origin, ORIGIN_PAYLOAD);
  size = load<u32>(origin, ORIGIN_PAYLOAD_BYTES);
  const kind = load<u32>(test, TEST_KIND);
  const a = load<u32>(test, TEST_A);
  const negated = load<u32>(test, TEST_NEGATED);
  if (payload == 0) {
    if (isMade() && kind != <u32>TEST_SPI && kind != <u32>TEST_CHUNKS) return negated;
    unmodelled(UNMODELLED_PAYLOAD);
    return DROPPED;
  }
  if (kind == TEST_SPI) {
    const value = wordAt(load<u32>(test, TEST_FIELD)) & load<u32>(test, TEST_C);
    return (<u32>(value - a <= load<u32>(test, TEST_B) - a)) ^ negated;
  }
  if (kind == TEST_CHUNKS) {
    return negatable(chunks(data + a, load<u32>(test, TEST_B), load<u32>(test, TEST_C)), negated);
  }
  if (kind == TEST_DCCP_TYPES) return ((a >> dccpType()) & 1) ^ negated;
  if (kind == TEST_DCCP_OPTION) return negatable(dccpOption(a), negated);
  return tcpOption(a, negated);
}

function byteAt(at: u32): u32 {
  return <u32>load<u8>(payload + <usize>at);
}

function wordAt(at: u32): u32 {
  return bswap<u32>(load<u32>(payload + <usize>at));
}

/** A broken packet that a negated test finds is dropped by the kernel only after the rule has held. */
function negatable(result: u32, negated: u32): u32 {
  if (result != DROPPED) return result ^ negated;
  if (negated != 0) unmodelled(UNMODELLED_BROKEN);
  return DROPPED;
}

/** match_packet() in net/netfilter/xt_sctp.c; `asked`: `count` words of type, mask and flags. */
function chunks(asked: usize, count: u32, which: u32): u32 {
  let found: u32 = 0;
  // "all" counts the types that came, each once: the first chunk of each that holds
  let at = SCTP_HEADER_BYTES;
  do {
    if (at + CHUNK_HEADER_BYTES > size) return DROPPED;
    const length = ((byteAt(at + 2) << 8) | byteAt(at + 3)) as u32;
    if (length == 0) return DROPPED;
    const good = isAsked(asked, count, at);
    if (which == CHUNKS_ANY) {
      if (good) return HOLDS;
    } else if (which == CHUNKS_ALL) {
      if (good && !cameBefore(asked, count, at)) found++;
    } else if (!good) {
      return FAILS;
    }
    at += (length + 3) & ~3;
  } while (at < size);
  if (which == CHUNKS_ALL) return <u32>(found == count);
  return which == CHUNKS_ANY ? FAILS : HOLDS;
}

/** The chunk is of a type that is asked, with the flags that it must have. */
function isAsked(asked: usize, count: u32, at: u32): bool {
  const type = byteAt(at);
  const flags = byteAt(at + 1);
  for (let i: u32 = 0; i < count; i++) {
    const one = load<u32>(asked + ((<usize>i) << 2));
    if ((one & 0xff) == type) return (flags & ((one >> 8) & 0xff)) == one >> 16;
  }
  return false;
}

/** A chunk of the same type that was asked for stands before this one. */
function cameBefore(asked: usize, count: u32, end: u32): bool {
  for (let at = SCTP_HEADER_BYTES; at < end;) {
    if (byteAt(at) == byteAt(end) && isAsked(asked, count, at)) return true;
    at += (((byteAt(at + 2) << 8) | byteAt(at + 3)) + 3) & ~3;
  }
  return false;
}

function dccpType(): u32 {
  return (byteAt(8) >> 1) & 15;
}

/** __dccp_hdr_len(). */
function dccpHeaderBytes(): u32 {
  const type = dccpType();
  const extended = (byteAt(8) & 1) << 2;
  let more: u32 = 12;
  if (type == 0) more = 4;
  else if (type == 2) more = 0;
  else if ((type >= 3 && type <= 6) || type == 8 || type == 9) more = 8;
  return DCCP_HEADER_BYTES + extended + more;
}

/** dccp_find_option() in net/netfilter/xt_dccp.c. */
function dccpOption(option: u32): u32 {
  const start = dccpHeaderBytes();
  const end = byteAt(4) << 2;
  if (end < start) return DROPPED;
  if (end == start) return FAILS;
  if (end > size) return DROPPED;
  return <u32>hasOption(start, end, option);
}

/** tcp_find_option() in net/netfilter/xt_tcpudp.c. */
function tcpOption(option: u32, negated: u32): u32 {
  const end = (byteAt(12) >> 4) << 2;
  if (end < TCP_HEADER_BYTES || end > size) return DROPPED;
  const added = load<u32>(origin, ORIGIN_ROOM) != 0 && (load<u32>(origin, ORIGIN_OPTION) & MSS_KNOWN) != 0;
  if (added && option == MSS_KIND) return 1 ^ negated;
  return (<u32>hasOption(TCP_HEADER_BYTES, end, option)) ^ negated;
}

/** Options 0 and 1 are a byte long, others say how long they are. */
function hasOption(start: u32, end: u32, wanted: u32): bool {
  for (let at = start; at < end;) {
    const option = byteAt(at);
    if (option == wanted) return true;
    const length: u32 = at + 1 < end ? byteAt(at + 1) : 0;
    at += option < 2 || length == 0 ? 1 : length;
  }
  return false;
}
