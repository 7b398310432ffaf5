// How many connections a network has, as each `-m connlimit` counts them for itself: connlimit_mt() in
// net/netfilter/xt_connlimit.c and __nf_conncount_add() in nf_conncount.c.
//
// A list of tuples for each network and zone of a rule, in the order in which they came, found by hashing. A list is looked
// through whenever it is asked: those that have gone are left out, but only so many in one go. So asking costs a look-up
// of the table of connections for each one that the network has, as in the kernel. Lists that nobody asks any more stay.

import {
  FACT_MALFORMED,
  FIELD_DST,
  FIELD_FACTS,
  FIELD_PROTO,
  FIELD_SRC,
  FIELD_TRANSPORT,
  FLOW_TCP_STATE,
  FLOW_ZONE,
  STATUS_ASSURED,
  TCP_CLOSE,
  TCP_TIME_WAIT,
  TRANSPORT_OFFSET_1,
} from "../src/layout";
import { ct, hasPorts, portsFrom, TEMPLATE } from "./conntrack";
import { dstOf, find, portsOf, protoOf, srcOf, statusOf, zonesOfFlow } from "./flow";
import { allocate } from "./memory";
import { detail } from "./packet";
import { GRE, ICMP, TCP } from "./protocol";

/** The packet belongs to no connection that could be counted: it is dropped. */
export const UNCOUNTED: i32 = -1;

/** So many that have gone are left out at once, and one more. */
const MOST_COLLECTED: u32 = 8;

/*
 * List: u32 next of its chain, network, rule's memory, zone, first, last, count. Entry: u32 next, src, dst, ports, proto, zones (as
 * of zonesOf). Cells of 32 bytes for both.
 */
const LIST_NETWORK: usize = 4;
const LIST_OWNER: usize = 8;
const LIST_ZONE: usize = 12;
const LIST_FIRST: usize = 16;
const LIST_LAST: usize = 20;
const LIST_COUNT: usize = 24;
const ENTRY_SRC: usize = 4;
const ENTRY_DST: usize = 8;
const ENTRY_PORTS: usize = 12;
const ENTRY_PROTO: usize = 16;
const ENTRY_ZONES: usize = 20;
const CELL_BYTES: usize = 32;
const CHUNK_CELLS: u32 = 128;

const HEAD_BITS: u32 = 18;
/** Made when the first list is; 0: not yet. */
let heads: usize = 0;
/** Cells that are free, chained. */
let free: usize = 0;

// what a packet counts as
let src: u32 = 0;
let dst: u32 = 0;
let ports: u32 = 0;
let proto: u32 = 0;
let zones: u32 = 0;
let zone: u32 = 0;

/** Connections that `network` has in the eyes of the rule with the memory `owner`, the packet's among them; or UNCOUNTED. */
export function countConnections(owner: u32, network: u32, packet: usize): i32 {
  const flow: usize = ct == TEMPLATE ? <usize>0 : ct;
  if (!identify(flow, packet)) return UNCOUNTED;
  const list = listOf(owner, network);
  // one that is assured is not put into a list that has others
  const asks = flow == 0 || (statusOf(flow) & STATUS_ASSURED) == 0 || load<u32>(list, LIST_COUNT) == 0;
  if (!refresh(list, asks) && asks) append(list);
  return load<i32>(list, LIST_COUNT);
}

/** False: nothing tells whose packet it is. */
function identify(flow: usize, packet: usize): bool {
  if (flow != 0) {
    src = srcOf(flow, 0);
    dst = dstOf(flow, 0);
    ports = portsOf(flow, 0);
    proto = protoOf(flow);
    zones = zonesOfFlow(flow);
    zone = load<u16>(flow, FLOW_ZONE);
    return true;
  }
  proto = load<u32>(packet, FIELD_PROTO * 4);
  const shown = load<u32>(packet, FIELD_TRANSPORT * 4);
  if (shown >= <u32>TRANSPORT_OFFSET_1) return false;
  if (hasPorts(proto) && shown < 4) return false;
  if (proto == ICMP && shown < 8) return false;
  if (proto == GRE && (load<u32>(packet, FIELD_FACTS * 4) & FACT_MALFORMED) != 0) return false;
  src = load<u32>(packet, FIELD_SRC * 4);
  dst = load<u32>(packet, FIELD_DST * 4);
  ports = portsFrom(packet, detail());
  zones = 0;
  zone = 0;
  return true;
}

/** Leaves out what has gone; true: the packet's connection was found among the others, and nothing behind it was looked at. */
function refresh(list: usize, asks: bool): bool {
  let before: usize = 0;
  let collected: u32 = 0;
  let entry = <usize>load<u32>(list, LIST_FIRST);
  while (entry != 0 && collected <= MOST_COLLECTED) {
    const next = <usize>load<u32>(entry);
    const found = connectionOf(entry);
    if (found != 0 && asks && isPackets(entry) && <u32>load<u16>(found, FLOW_ZONE) == zone) return true;
    if (found == 0 || isClosed(found)) {
      remove(list, before, entry, next);
      collected++;
    } else {
      before = entry;
    }
    entry = next;
  }
  return false;
}

function connectionOf(entry: usize): usize {
  return find(
    load<u32>(entry, ENTRY_SRC),
    load<u32>(entry, ENTRY_DST),
    load<u32>(entry, ENTRY_PORTS),
    load<u32>(entry, ENTRY_PROTO),
    load<u32>(entry, ENTRY_ZONES),
  );
}

function isPackets(entry: usize): bool {
  return (
    load<u32>(entry, ENTRY_SRC) == src &&
    load<u32>(entry, ENTRY_DST) == dst &&
    load<u32>(entry, ENTRY_PORTS) == ports &&
    load<u32>(entry, ENTRY_PROTO) == proto
  );
}

function isClosed(flow: usize): bool {
  if (protoOf(flow) != TCP) return false;
  const state = load<u8>(flow, FLOW_TCP_STATE);
  return state == TCP_TIME_WAIT || state == TCP_CLOSE;
}

// -- lists

/** The list of the network in the packet's zone, made if there is none. */
function listOf(owner: u32, network: u32): usize {
  if (heads == 0) {
    heads = allocate((<usize>4) << HEAD_BITS);
    if (heads == 0) unreachable();
    memory.fill(heads, 0, (<usize>4) << HEAD_BITS);
  }
  const key = (network ^ (((owner << 16) | zone) * 0x85ebca6b)) * 0x9e3779b1;
  const head = heads + ((<usize>(key >> (32 - HEAD_BITS))) << 2);
  for (let list = <usize>load<u32>(head); list != 0; list = <usize>load<u32>(list)) {
    if (load<u32>(list, LIST_NETWORK) != network || load<u32>(list, LIST_OWNER) != owner) continue;
    if (load<u32>(list, LIST_ZONE) == zone) return list;
  }
  const list = cell();
  store<u32>(list, load<u32>(head));
  store<u32>(head, <u32>list);
  store<u32>(list, network, LIST_NETWORK);
  store<u32>(list, owner, LIST_OWNER);
  store<u32>(list, zone, LIST_ZONE);
  store<u32>(list, 0, LIST_FIRST);
  store<u32>(list, 0, LIST_LAST);
  store<u32>(list, 0, LIST_COUNT);
  return list;
}

/** Puts the packet's connection at the end. */
function append(list: usize): void {
  const entry = cell();
  store<u32>(entry, 0);
  store<u32>(entry, src, ENTRY_SRC);
  store<u32>(entry, dst, ENTRY_DST);
  store<u32>(entry, ports, ENTRY_PORTS);
  store<u32>(entry, proto, ENTRY_PROTO);
  store<u32>(entry, zones, ENTRY_ZONES);
  const last = <usize>load<u32>(list, LIST_LAST);
  if (last == 0) store<u32>(list, <u32>entry, LIST_FIRST);
  else store<u32>(last, <u32>entry);
  store<u32>(list, <u32>entry, LIST_LAST);
  store<u32>(list, load<u32>(list, LIST_COUNT) + 1, LIST_COUNT);
}

function remove(list: usize, before: usize, entry: usize, next: usize): void {
  if (before == 0) store<u32>(list, <u32>next, LIST_FIRST);
  else store<u32>(before, <u32>next);
  if (next == 0) store<u32>(list, <u32>before, LIST_LAST);
  store<u32>(list, load<u32>(list, LIST_COUNT) - 1, LIST_COUNT);
  store<u32>(entry, <u32>free);
  free = entry;
}

function cell(): usize {
  if (free == 0) {
    const chunk = allocate(<usize>CHUNK_CELLS * CELL_BYTES);
    if (chunk == 0) unreachable();
    for (let i: u32 = CHUNK_CELLS; i > 0; i--) {
      const one = chunk + <usize>(i - 1) * CELL_BYTES;
      store<u32>(one, <u32>free);
      free = one;
    }
  }
  const one = free;
  free = <usize>load<u32>(one);
  return one;
}
