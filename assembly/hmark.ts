// The mark that HMARK gives: a hash of the packet's addresses and ports, or of those of its connection.
//
// hmark_tg_v4() in net/netfilter/xt_HMARK.c. What an ICMP error quotes stands in bytes, which the embedder lays down.

import {
  FACT_MORE_FRAGMENTS,
  FIELD_DST,
  FIELD_FACTS,
  FIELD_ICMP,
  FIELD_MARK,
  FIELD_PROTO,
  FIELD_SRC,
  FIELD_TRANSPORT,
  HMARK_CT,
  HMARK_DST_MASK,
  HMARK_FLAGS,
  HMARK_MODULUS,
  HMARK_OFFSET,
  HMARK_PORT_MASK,
  HMARK_PORT_SET,
  HMARK_PROTO_MASK,
  HMARK_SEED,
  HMARK_SRC_MASK,
  LAID_AT,
  LAID_BYTES,
  TRANSPORT_OFFSET_1,
  UNMODELLED_PAYLOAD,
  UNMODELLED_WHOLE,
} from "../src/layout";
import { ct } from "./conntrack";
import { portsOf, protoOf, srcOf } from "./flow";
import { hashOfThree, scaled } from "./hash";
import { isUnmodelled, unmodelled } from "./log";
import { origin } from "./origin";
import { detail } from "./packet";
import { lay } from "./pieces";
import { placeOfPorts, shownPorts, showPorts } from "./ports";
import { ICMP } from "./protocol";

const RESULT = memory.data(12, 16);

const IP_HEADER_BYTES: u32 = 20;
const ICMP_HEADER_BYTES: u32 = 8;
/** MF and the offset. */
const FRAGMENT_MASK: u32 = 0x3fff;

// what is hashed, before it is masked
let src: u32 = 0;
let dst: u32 = 0;
let proto: u32 = 0;
let ports: u32 = 0;
let hasPorts = false;

/** False: its bytes, which are asked, are not known. */
export function setHashMark(packet: usize, record: usize): bool {
  if ((load<u32>(record, HMARK_FLAGS) & HMARK_CT) != 0) {
    if (ct == 0) return true;
    readConnection();
  } else if (!readPacket(packet)) {
    return !isUnmodelled();
  }
  const one = src & load<u32>(record, HMARK_SRC_MASK);
  const other = dst & load<u32>(record, HMARK_DST_MASK);
  const both = (ports & load<u32>(record, HMARK_PORT_MASK)) | load<u32>(record, HMARK_PORT_SET);
  const inOrder = both >> 16 < (both & 0xffff) ? rotl(both, 16) : both;
  const seed = load<u32>(record, HMARK_SEED);
  const hash = hashOfThree(min(one, other), max(one, other), hasPorts ? inOrder : 0, seed);
  const number = scaled(hash ^ (proto & load<u32>(record, HMARK_PROTO_MASK)), load<u32>(record, HMARK_MODULUS));
  store<u32>(packet, number + load<u32>(record, HMARK_OFFSET), FIELD_MARK * 4);
  return true;
}

function readConnection(): void {
  src = srcOf(ct, 0);
  dst = srcOf(ct, 1);
  proto = protoOf(ct);
  ports = (portsOf(ct, 0) << 16) | (portsOf(ct, 1) & 0xffff);
  hasPorts = proto != ICMP;
}

/** False: there is not all that is asked. */
function readPacket(packet: usize): bool {
  src = load<u32>(packet, FIELD_SRC * 4);
  dst = load<u32>(packet, FIELD_DST * 4);
  proto = load<u32>(packet, FIELD_PROTO * 4);
  hasPorts = false;
  const transport = load<u32>(packet, FIELD_TRANSPORT * 4);
  const isLater = transport >= <u32>TRANSPORT_OFFSET_1;
  if (proto == ICMP) {
    if (!isLater && transport < ICMP_HEADER_BYTES) return true;
    if (!isLater && !isError(load<u32>(packet, FIELD_ICMP * 4) >> 8)) return true;
    return readQuoted(packet);
  }
  if (isLater || (load<u32>(packet, FIELD_FACTS * 4) & FACT_MORE_FRAGMENTS) != 0) return true;
  if (placeOfPorts(proto) < 0) return true;
  hasPorts = showPorts(packet);
  ports = shownPorts;
  return !isUnmodelled();
}

function isError(type: u32): bool {
  return (type >= 3 && type <= 5) || type == 11 || type == 12;
}

/** Of an ICMP error, or of a later fragment that may begin like one. */
function readQuoted(packet: usize): bool {
  lay(packet, detail(), origin, RESULT);
  const bytes = <usize>load<u32>(RESULT, LAID_AT);
  const size = load<u32>(RESULT, LAID_BYTES);
  if (bytes <= 1) return unmodelled(bytes == 0 ? UNMODELLED_PAYLOAD : UNMODELLED_WHOLE);
  if (size < IP_HEADER_BYTES + ICMP_HEADER_BYTES || !isError(load<u8>(bytes + <usize>IP_HEADER_BYTES))) return true;
  const quoted = bytes + <usize>(IP_HEADER_BYTES + ICMP_HEADER_BYTES);
  const left = size - (IP_HEADER_BYTES + ICMP_HEADER_BYTES);
  if (left < IP_HEADER_BYTES) return false;
  src = bswap<u32>(load<u32>(quoted, 12));
  dst = bswap<u32>(load<u32>(quoted, 16));
  proto = load<u8>(quoted, 9);
  const place = placeOfPorts(proto);
  if (place < 0 || ((<u32>bswap<u16>(load<u16>(quoted, 6))) & FRAGMENT_MASK) != 0) return true;
  const at = (((<u32>load<u8>(quoted)) & 15) << 2) + <u32>place;
  if (at + 4 > left) return true;
  ports = bswap<u32>(load<u32>(quoted + <usize>at));
  hasPorts = true;
  return true;
}
