// SCTP associations: nf_conntrack_sctp_packet() in net/netfilter/nf_conntrack_proto_sctp.c.
//
// The chunks of a packet stand in its detail record as four bits each, those that change nothing left out: their one
// effect, that no association begins with them, is a bit beside. So a packet is judged without its bytes.

import {
  ASSOCIATION_INIT,
  ASSOCIATION_STRAY,
  DETAIL_CHUNK_FLAGS,
  DETAIL_CHUNKS,
  DETAIL_DATA,
  DETAIL_FACTS,
  DETAIL_ILL_MADE,
  DETAIL_INIT_TAG,
  DETAIL_MOST_CHUNKS,
  DETAIL_NO_INIT_TAG,
  DETAIL_OTHER_CHUNKS,
  DETAIL_TAG,
  FLOW_ASSOCIATION,
  FLOW_TAGS,
  FLOW_TCP_STATE,
  SCTP_ABORT,
  SCTP_CLOSED,
  SCTP_COOKIE_ACK,
  SCTP_COOKIE_ECHO,
  SCTP_COOKIE_ECHOED,
  SCTP_COOKIE_WAIT,
  SCTP_ESTABLISHED,
  SCTP_HEARTBEAT,
  SCTP_HEARTBEAT_ACK,
  SCTP_HEARTBEAT_SENT,
  SCTP_INIT,
  SCTP_INIT_ACK,
  SCTP_NONE,
  SCTP_SHUTDOWN_ACK,
  SCTP_SHUTDOWN_ACK_SENT,
  SCTP_SHUTDOWN_COMPLETE,
  SCTP_SHUTDOWN_RECD,
  SCTP_SHUTDOWN_SENT,
  STATUS_ASSURED,
  STATUS_CHANGED,
  STATUS_CONFIRMED,
  TIMEOUT_SCTP,
} from "../src/layout";
import { refresh, timeoutOf } from "./conntrack";
import { addStatus, statusOf } from "./flow";
import { PACKET_ACCEPTED, PACKET_INVALID, PACKET_PASSED } from "./tcp";

const CL: u8 = <u8>SCTP_CLOSED;
const CW: u8 = <u8>SCTP_COOKIE_WAIT;
const CE: u8 = <u8>SCTP_COOKIE_ECHOED;
const ES: u8 = <u8>SCTP_ESTABLISHED;
const SS: u8 = <u8>SCTP_SHUTDOWN_SENT;
const SR: u8 = <u8>SCTP_SHUTDOWN_RECD;
const SA: u8 = <u8>SCTP_SHUTDOWN_ACK_SENT;
const HS: u8 = <u8>SCTP_HEARTBEAT_SENT;
/** Invalid. */
const IV: u8 = 15;

/** By direction and chunk (SCTP_, from SCTP_INIT on) the state that follows each of the nine. */
// prettier-ignore
const TRANSITIONS = memory.data<u8>([
  // original
  CL, CL, CW, CE, ES, CL, CL, SA, CW,
  CL, CL, CW, CE, ES, SS, SR, SA, CL,
  CL, CL, CL, CL, CL, CL, CL, CL, CL,
  CL, CL, CW, CE, SS, SS, SR, SA, CL,
  SA, CL, CW, CE, ES, SA, SA, SA, SA,
  CL, CL, CW, CE, ES, SS, SR, SA, CL,
  CL, CL, CE, CE, ES, SS, SR, SA, CL,
  CL, CL, CW, ES, ES, SS, SR, SA, CL,
  CL, CL, CW, CE, ES, SS, SR, CL, CL,
  HS, CL, CW, CE, ES, SS, SR, SA, HS,
  CL, CL, CW, CE, ES, SS, SR, SA, HS,
  // reply
  IV, CL, CW, CE, ES, SS, SR, SA, IV,
  IV, CW, CW, CE, ES, SS, SR, SA, IV,
  IV, CL, CL, CL, CL, CL, CL, CL, IV,
  IV, CL, CW, CE, SR, SS, SR, SA, IV,
  IV, CL, CW, CE, ES, SA, SA, SA, IV,
  IV, CL, CW, CL, ES, SS, SR, SA, IV,
  IV, CL, CE, CE, ES, SS, SR, SA, IV,
  IV, CL, CW, ES, ES, SS, SR, SA, IV,
  IV, CL, CW, CE, ES, SS, SR, CL, IV,
  IV, CL, CW, CE, ES, SS, SR, SA, HS,
  IV, CL, CW, CE, ES, SS, SR, SA, ES,
]);

/** Chunks whose tags have rules of their own, and those with which nothing begins. */
const OWN_TAG_RULES: u32 =
  (1 << SCTP_INIT) |
  (1 << SCTP_SHUTDOWN_COMPLETE) |
  (1 << SCTP_COOKIE_ECHO) |
  (1 << SCTP_ABORT) |
  (1 << SCTP_SHUTDOWN_ACK) |
  (1 << SCTP_HEARTBEAT) |
  (1 << SCTP_HEARTBEAT_ACK);
const NEVER_FIRST: u32 = (1 << SCTP_ABORT) | (1 << SCTP_SHUTDOWN_COMPLETE) | (1 << SCTP_COOKIE_ACK);

function word(detail: usize, at: i32): u32 {
  return load<u32>(detail + ((<usize>at) << 2));
}

function chunkOf(detail: usize, at: u32): u32 {
  return (word(detail, DETAIL_CHUNKS + <i32>(at >> 3)) >> ((at & 7) << 2)) & 15;
}

function tagOf(flow: usize, direction: u32): u32 {
  return load<u32>(flow + FLOW_TAGS + ((<usize>direction) << 2));
}

function setTag(flow: usize, direction: u32, tag: u32): void {
  store<u32>(flow + FLOW_TAGS + ((<usize>direction) << 2), tag);
}

/** PACKET_. The checksum is right, or nobody asks. */
export function followSctp(flow: usize, reply: u32, detail: usize): i32 {
  const facts = word(detail, DETAIL_FACTS);
  if ((facts & DETAIL_ILL_MADE) != 0) return PACKET_INVALID;
  let seen: u32 = 0;
  let count: u32 = 0;
  for (; count < <u32>DETAIL_MOST_CHUNKS; count++) {
    const chunk = chunkOf(detail, count);
    if (chunk == 0) break;
    seen |= 1 << chunk;
  }
  const tag = word(detail, DETAIL_TAG);
  const isConfirmed = (statusOf(flow) & STATUS_CONFIRMED) != 0;
  if (!isConfirmed && ((seen & NEVER_FIRST) != 0 || !begin(flow, detail, seen, facts, tag))) return PACKET_INVALID;
  if ((seen & OWN_TAG_RULES) == 0 && tag != tagOf(flow, reply)) return PACKET_INVALID;

  let isFollowed = true;
  for (let at: u32 = 0; at < count; at++) {
    const chunk = chunkOf(detail, at);
    const hasFlag = ((word(detail, DETAIL_CHUNK_FLAGS) >> at) & 1) != 0;
    const verdict = judge(flow, reply, chunk, hasFlag, tag, isFollowed && (facts & DETAIL_DATA) == 0);
    if (verdict == TAG_INVALID) return PACKET_INVALID;
    if (verdict == TAG_STRAY) {
      isFollowed = false;
      continue;
    }
    const old = <u32>load<u8>(flow, FLOW_TCP_STATE);
    const next = load<u8>(TRANSITIONS + (reply * 11 + (chunk - 1)) * 9 + old);
    if (next == IV) return PACKET_INVALID;
    if (chunk <= <u32>SCTP_INIT_ACK && !takeInitTag(flow, reply, chunk, old, facts, word(detail, DETAIL_INIT_TAG))) {
      return PACKET_INVALID;
    }
    if (chunk == SCTP_INIT && old == SCTP_CLOSED && next == SCTP_CLOSED && isConfirmed) isFollowed = false;
    store<u8>(flow, next, FLOW_TCP_STATE);
    if (old == next) continue;
    addStatus(flow, next == SCTP_ESTABLISHED ? STATUS_CHANGED | STATUS_ASSURED : STATUS_CHANGED);
  }
  if (!isFollowed) return PACKET_PASSED;
  refresh(flow, timeoutOf(<u32>TIMEOUT_SCTP - SCTP_CLOSED + load<u8>(flow, FLOW_TCP_STATE)));
  return PACKET_ACCEPTED;
}

/** sctp_new(); false: no association begins so. */
function begin(flow: usize, detail: usize, seen: u32, facts: u32, tag: u32): bool {
  if ((facts & DETAIL_OTHER_CHUNKS) != 0) return false;
  const opens = (seen & (1 << SCTP_INIT)) != 0;
  if (opens && (tag != 0 || (facts & DETAIL_NO_INIT_TAG) != 0)) return false;
  setTag(flow, 0, (seen & (1 << SCTP_HEARTBEAT)) != 0 ? tag : 0);
  const answered: u32 = (seen & (1 << SCTP_SHUTDOWN_ACK)) != 0 ? tag : 0;
  setTag(flow, 1, opens ? word(detail, DETAIL_INIT_TAG) : answered);
  store<u32>(flow, 0, FLOW_ASSOCIATION);
  store<u8>(flow, SCTP_NONE, FLOW_TCP_STATE);
  return true;
}

const TAG_VALID: i32 = 0;
const TAG_INVALID: i32 = 1;
/** The chunk is allowed, and tells nothing. */
const TAG_STRAY: i32 = 2;

/** Whether the packet's tag allows the chunk. */
function judge(flow: usize, reply: u32, chunk: u32, hasFlag: bool, tag: u32, mayBeStray: bool): i32 {
  const other = reply ^ 1;
  const own = tagOf(flow, reply);
  if (chunk == SCTP_INIT) return tag == 0 ? TAG_VALID : TAG_INVALID;
  if (chunk == SCTP_ABORT || chunk == SCTP_SHUTDOWN_COMPLETE) {
    return tag == (hasFlag ? tagOf(flow, other) : own) ? TAG_VALID : TAG_INVALID;
  }
  if (chunk == SCTP_COOKIE_ECHO) return tag == own ? TAG_VALID : TAG_INVALID;
  const bits = load<u32>(flow, FLOW_ASSOCIATION);
  if (chunk == SCTP_COOKIE_ACK) {
    store<u32>(flow, bits & ~(ASSOCIATION_INIT * 3), FLOW_ASSOCIATION);
    return TAG_VALID;
  }
  if (chunk != SCTP_HEARTBEAT && chunk != SCTP_HEARTBEAT_ACK) return TAG_VALID;
  if (own == 0) {
    setTag(flow, reply, tag);
    return TAG_VALID;
  }
  const settled = bits & ~(ASSOCIATION_STRAY * 3);
  if (tag == own) {
    store<u32>(flow, settled, FLOW_ASSOCIATION);
    return TAG_VALID;
  }
  if (!mayBeStray) return TAG_INVALID;
  if (chunk == SCTP_HEARTBEAT) {
    store<u32>(flow, settled | (ASSOCIATION_STRAY << reply), FLOW_ASSOCIATION);
    return TAG_STRAY;
  }
  // the other side may have begun anew, with other tags
  if ((bits & (ASSOCIATION_STRAY << other)) == 0) return TAG_INVALID;
  store<u32>(flow, settled, FLOW_ASSOCIATION);
  setTag(flow, reply, tag);
  setTag(flow, other, 0);
  return TAG_VALID;
}

/** What INIT and INIT ACK tell of the other side's tag; false: they contradict what is known. */
function takeInitTag(flow: usize, reply: u32, chunk: u32, old: u32, facts: u32, given: u32): bool {
  if ((facts & DETAIL_NO_INIT_TAG) != 0) return false;
  const other = reply ^ 1;
  const known = tagOf(flow, other);
  const bits = load<u32>(flow, FLOW_ASSOCIATION);
  const both = (bits & (ASSOCIATION_INIT * 3)) == ASSOCIATION_INIT * 3;
  if (chunk == SCTP_INIT) {
    // it says nothing new if it comes late or again
    if (old != SCTP_NONE && known == given) return true;
    const kept = both ? bits & ~(ASSOCIATION_INIT << other) : bits;
    store<u32>(flow, kept | (ASSOCIATION_INIT << reply), FLOW_ASSOCIATION);
  } else if (known != given && (both || (known != 0 && (bits & (ASSOCIATION_INIT << other)) == 0))) {
    return false;
  }
  setTag(flow, other, given);
  return true;
}
