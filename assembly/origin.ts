// What rules ask of a packet beside its record: its frame, its socket, the options of its TCP header.

import {
  FACT_BAD_CHECKSUM,
  FIELD_FACTS,
  FIELD_LENGTH,
  FIELD_SRC,
  FIELD_TRANSPORT,
  MSS_BROKEN,
  MSS_KNOWN,
  ORIGIN_BYTES,
  ORIGIN_FLAGS,
  ORIGIN_HAS_SOCKET,
  ORIGIN_MSS,
  ORIGIN_ODD_OPTION,
  ORIGIN_OPTION,
  ORIGIN_ROOM,
  ORIGIN_SUM,
  TRANSPORT_OFFSET_1,
} from "../src/layout";
import { resume, suspend } from "./look-up";
import { detail } from "./packet";
import { forgetPieces, showHeader, strip } from "./pieces";
import { output, pathMtu } from "./route";
import { firewall, wayMtu } from "./way";

/** Of a packet of which nothing more is known, and of those that the host makes. */
const BLANK = memory.data(ORIGIN_BYTES, 16);
const KERNEL = memory.data(ORIGIN_BYTES, 16);

let origins: usize = 0;
let first: u32 = 0;
/** The record of the packet that is on its way. */
export let origin: usize = BLANK;

/** Records of the packets that come next, from number `firstIndex` on; 0: there are none. */
export function setOrigins(at: usize, firstIndex: u32): void {
  origins = at;
  first = firstIndex;
}

/** @param index as the packet is numbered in the run */
export function startOrigin(index: u32): void {
  origin = origins == 0 ? BLANK : origins + <usize>(index - first) * ORIGIN_BYTES;
}

export function setOrigin(at: usize): void {
  origin = at;
}

/** What the host makes by itself has no frame and no options, and ICMP errors come from a socket of the kernel. */
export function originOfAnswer(error: bool): void {
  store<u32>(KERNEL, ORIGIN_HAS_SOCKET, ORIGIN_FLAGS);
  origin = error ? KERNEL : BLANK;
}

/** A reset of the host's own. */
export function isMade(): bool {
  return origin == BLANK;
}

/** IPv4 and TCP header without options. */
const HEADER_BYTES: u32 = 40;
/** RFC 879: what fits everywhere. */
const DEFAULT_MSS: u32 = 536;
const OPTION_BYTES: u32 = 4;

/** tcpmss_tg4() in net/netfilter/xt_TCPMSS.c; `mss` NONE: what the routes take. False: the packet is dropped. */
export function clampMss(packet: usize, mss: u32): bool {
  const transport = load<u32>(packet, FIELD_TRANSPORT * 4);
  if (transport >= <u32>TRANSPORT_OFFSET_1) return true;
  forgetPieces();
  const option = load<u32>(origin, ORIGIN_OPTION);
  if (option == MSS_BROKEN || transport < 20) return false;
  if (mss == 0xffffffff) {
    const mtu = min(wayMtu(), mtuBack(load<u32>(packet, FIELD_SRC * 4)));
    if (mtu <= HEADER_BYTES) return false;
    mss = (mtu - HEADER_BYTES) & 0xffff;
  }
  if ((option & MSS_KNOWN) != 0) {
    const before = option & 0xffff;
    if (before > mss) lowerMss(packet, before, mss);
  } else if (load<u32>(origin, ORIGIN_ROOM) != 0) {
    mss = min(mss, DEFAULT_MSS);
    setMss(mss);
    store<u32>(packet, load<u32>(packet, FIELD_LENGTH * 4) + OPTION_BYTES, FIELD_LENGTH * 4);
    store<u32>(packet, min(transport + OPTION_BYTES, 255), FIELD_TRANSPORT * 4);
  }
  return true;
}

/** tcpoptstrip_tg4() in net/netfilter/xt_TCPOPTSTRIP.c; `kinds`: bits of options. False: the packet is dropped. */
export function stripOptions(packet: usize, kinds: usize): bool {
  const transport = load<u32>(packet, FIELD_TRANSPORT * 4);
  if (transport >= <u32>TRANSPORT_OFFSET_1) return true;
  if (load<u32>(origin, ORIGIN_OPTION) == MSS_BROKEN || transport < 20) return false;
  if (strip(packet, detail(), origin, kinds)) forgetPieces();
  else showHeader();
  return true;
}

/** The kernel mends the checksum as if the option stood at an even byte, which makes it wrong where that is odd. */
function lowerMss(packet: usize, before: u32, after: u32): void {
  if ((load<u32>(origin, ORIGIN_FLAGS) & ORIGIN_ODD_OPTION) != 0) addToSum(255 * (0xffff + after - before));
  const facts = load<u32>(packet, FIELD_FACTS * 4) & ~FACT_BAD_CHECKSUM;
  store<u32>(packet, facts | (load<u32>(origin, ORIGIN_SUM) == 0 ? 0 : FACT_BAD_CHECKSUM), FIELD_FACTS * 4);
  setMss(after);
}

/** What the checksum covers has grown by so much, and it has not. */
export function addToSum(more: u32): void {
  store<u32>(origin, (load<u32>(origin, ORIGIN_SUM) + more) % 0xffff, ORIGIN_SUM);
}

function setMss(mss: u32): void {
  store<u32>(origin, MSS_KNOWN | mss, ORIGIN_OPTION);
  store<u32>(origin, MSS_KNOWN | mss, ORIGIN_MSS);
}

/** tcpmss_reverse_mtu(): of the route that the host would take to the sender; as if there were no limit if it has none. */
function mtuBack(src: u32): u32 {
  suspend();
  const mtu = output(firewall, 0, src, 0, 0, false) == 0 ? pathMtu : 0xffffffff;
  resume();
  return mtu;
}
