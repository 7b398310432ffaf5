// What a TCP segment does to its connection: nf_conntrack_tcp_packet() and tcp_in_window() in
// net/netfilter/nf_conntrack_proto_tcp.c.
//
// States follow a table of direction, flags and state. Beside that each direction has a window: how far its sender has
// come, how far it may go, and how far it has acknowledged the other. A segment far outside is INVALID and changes nothing.

import {
  DETAIL_ACK,
  DETAIL_HAS_OPTIONS,
  DETAIL_OPTIONS,
  DETAIL_SACK,
  DETAIL_SACK_PERMITTED,
  DETAIL_SCALED,
  DETAIL_SEGMENT,
  DETAIL_SEQ,
  DETAIL_WINDOW,
  FLOW_EXPIRES,
  FLOW_LAST,
  FLOW_LAST_ACK,
  FLOW_LAST_END,
  FLOW_LAST_FLAGS,
  FLOW_LAST_SEQ,
  FLOW_LAST_WINDOW,
  FLOW_RETRANSMISSIONS,
  FLOW_SCALES,
  FLOW_SEEN,
  FLOW_SEEN_BYTES,
  FLOW_SEEN_END,
  FLOW_SEEN_FLAGS,
  FLOW_SEEN_MAX_ACK,
  FLOW_SEEN_MAX_END,
  FLOW_SEEN_MAX_WINDOW,
  FLOW_TCP_STATE,
  STATUS_ASSURED,
  STATUS_CHANGED,
  STATUS_CONFIRMED,
  STATUS_SEEN_REPLY,
  STATUS_STATE,
  TCP_CLOSE,
  TCP_ESTABLISHED,
  TCP_FIN_WAIT,
  TCP_LAST_ACK,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
  TCP_SYN_SENT2,
  TCP_TIME_WAIT,
  TIMEOUT_RETRANSMITTED,
  TIMEOUT_UNACKNOWLEDGED,
} from "../src/layout";
import { kill, refresh, timeoutOf } from "./conntrack";
import { addStatus, now, statusOf } from "./flow";
import { ACK, FIN, RST, SYN } from "./protocol";

export const PACKET_INVALID: i32 = 0;
export const PACKET_ACCEPTED: i32 = 1;
/** The connection has ended, and the segment opens another. */
export const PACKET_AGAIN: i32 = 2;
/** Let through without being followed: it does not count as one of the connection's. */
export const PACKET_PASSED: i32 = 3;

// kinds of segments
const INDEX_SYN: u32 = 0;
const INDEX_SYNACK: u32 = 1;
const INDEX_FIN: u32 = 2;
const INDEX_ACK: u32 = 3;
const INDEX_RST: u32 = 4;
const INDEX_NONE: u32 = 5;

// SEEN_ bits of a direction, and of the last segment
const SEEN_SCALED: u32 = 1;
const SEEN_SACK: u32 = 2;
const SEEN_CLOSE_INIT: u32 = 4;
const SEEN_LIBERAL: u32 = 8;
const SEEN_UNACKNOWLEDGED: u32 = 16;
const SEEN_MAX_ACK: u32 = 32;
const LAST_CHALLENGE: u32 = 64;
const LAST_SIMULTANEOUS: u32 = 128;

/** No change, but pass. */
const IG: u8 = 10;
const IV: u8 = 11;
/** State by direction, kind of segment and old state: none, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, ... */
// prettier-ignore
const STATES = memory.data<u8>([
  // original: SYN, SYN/ACK, FIN, ACK, RST, none
  1, 1, 10, 10, 10, 10, 10, 1, 1, 9,
  11, 11, 2, 11, 11, 11, 11, 11, 11, 2,
  11, 11, 4, 4, 6, 6, 6, 7, 8, 11,
  3, 11, 3, 3, 5, 5, 7, 7, 8, 11,
  11, 8, 8, 8, 8, 8, 8, 8, 8, 8,
  11, 11, 11, 11, 11, 11, 11, 11, 11, 11,
  // replies
  11, 9, 11, 11, 11, 11, 11, 1, 11, 9,
  11, 2, 10, 10, 10, 10, 10, 10, 10, 2,
  11, 11, 4, 4, 6, 6, 6, 7, 8, 11,
  11, 10, 2, 3, 5, 5, 7, 7, 8, 10,
  11, 8, 8, 8, 8, 8, 8, 8, 8, 8,
  11, 11, 11, 11, 11, 11, 11, 11, 11, 11,
]);

/** Retransmissions after which a connection is kept no longer than TIMEOUT_RETRANSMITTED (nf_conntrack_tcp_max_retrans). */
const MAX_RETRANSMISSIONS: u32 = 3;
/** How far an acknowledgement may lie behind (MAXACKWINCONST). */
const ACK_WINDOW: u32 = 66000;

function indexOf(flags: u32): u32 {
  if ((flags & RST) != 0) return INDEX_RST;
  if ((flags & SYN) != 0) return (flags & ACK) != 0 ? INDEX_SYNACK : INDEX_SYN;
  if ((flags & FIN) != 0) return INDEX_FIN;
  return (flags & ACK) != 0 ? INDEX_ACK : INDEX_NONE;
}

/** PSH, ECE and CWR may always be set (tcp_valid_flags). */
export function isValid(flags: u32): bool {
  const counted = flags & 0x37;
  if (counted == 0x02 || counted == 0x22 || counted == 0x12) return true;
  if (counted == 0x04 || counted == 0x14) return true;
  return counted == 0x11 || counted == 0x31 || counted == 0x10 || counted == 0x30;
}

// -- the record

function detailOf(detail: usize, word: i32): u32 {
  return load<u32>(detail + ((<usize>word) << 2));
}

/** Where the direction's window stands. */
function seenOf(flow: usize, reply: u32): usize {
  return flow + reply * FLOW_SEEN_BYTES;
}

function flagsOf(flow: usize, reply: u32): u32 {
  return load<u8>(flow + reply, FLOW_SEEN_FLAGS);
}

function setFlags(flow: usize, reply: u32, flags: u32): void {
  store<u8>(flow + reply, <u8>flags, FLOW_SEEN_FLAGS);
}

function scaleOf(flow: usize, reply: u32): u32 {
  return (load<u8>(flow, FLOW_SCALES) >> (reply << 2)) & 15;
}

function setScale(flow: usize, reply: u32, scale: u32): void {
  const others = load<u8>(flow, FLOW_SCALES) & (reply != 0 ? 0x0f : 0xf0);
  store<u8>(flow, others | (<u8>(scale << (reply << 2))), FLOW_SCALES);
}

function lastIndex(flow: usize): u32 {
  return load<u8>(flow, FLOW_LAST) & 7;
}

function lastReply(flow: usize): u32 {
  return (load<u8>(flow, FLOW_LAST) >> 3) & 1;
}

function setLast(flow: usize, index: u32, reply: u32): void {
  store<u8>(flow, (load<u8>(flow, FLOW_LAST) & 0xf0) | (<u8>(index | (reply << 3))), FLOW_LAST);
}

function before(a: u32, b: u32): bool {
  return <i32>(a - b) < 0;
}

function after(a: u32, b: u32): bool {
  return <i32>(b - a) < 0;
}

/** One behind the segment's last byte; SYN and FIN count as one each. */
function endOf(detail: usize, flags: u32): u32 {
  return (
    detailOf(detail, DETAIL_SEQ) + detailOf(detail, DETAIL_SEGMENT) + u32((flags & SYN) != 0) + u32((flags & FIN) != 0)
  );
}

/** tcp_options(): without options nothing changes. */
function readOptions(flow: usize, reply: u32, detail: usize): void {
  const options = detailOf(detail, DETAIL_OPTIONS);
  if ((options & DETAIL_HAS_OPTIONS) == 0) return;
  let flags = flagsOf(flow, reply) & SEEN_LIBERAL;
  let scale: u32 = 0;
  if ((options & DETAIL_SACK_PERMITTED) != 0) flags |= SEEN_SACK;
  if ((options & DETAIL_SCALED) != 0) {
    flags |= SEEN_SCALED;
    scale = options & 15;
  }
  setFlags(flow, reply, flags);
  setScale(flow, reply, scale);
}

// -- a first segment

/** tcp_new(): the record is fresh and zeroed. */
function open(flow: usize, flags: u32, detail: usize, loose: bool): bool {
  const state = load<u8>(STATES + indexOf(flags) * 10);
  if (state >= IG) return false;
  const seen = seenOf(flow, 0);
  const end = endOf(detail, flags);
  const window = max<u32>(detailOf(detail, DETAIL_WINDOW), 1);
  if (state == TCP_SYN_SENT) {
    store<u32>(seen, end, FLOW_SEEN_MAX_END);
    readOptions(flow, 0, detail);
  } else {
    if (!loose) return false;
    store<u32>(seen, end + window, FLOW_SEEN_MAX_END);
    // picked up in the middle: what was agreed on is not known
    setFlags(flow, 0, SEEN_SACK | SEEN_LIBERAL);
    setFlags(flow, 1, SEEN_SACK | SEEN_LIBERAL);
  }
  store<u32>(seen, end, FLOW_SEEN_END);
  store<u32>(seen, window, FLOW_SEEN_MAX_WINDOW);
  setLast(flow, INDEX_NONE, 0);
  return true;
}

// -- every segment

/** PACKET_. `flags`: of the TCP header, isValid. */
export function segment(flow: usize, reply: u32, flags: u32, detail: usize, loose: bool): i32 {
  if ((statusOf(flow) & STATUS_CONFIRMED) == 0 && !open(flow, flags, detail, loose)) return PACKET_INVALID;
  let old: u32 = load<u8>(flow, FLOW_TCP_STATE);
  const index = indexOf(flags);
  let state: u32 = load<u8>(STATES + reply * 60 + index * 10 + old);
  const seq = detailOf(detail, DETAIL_SEQ);
  const ack = detailOf(detail, DETAIL_ACK);
  const other = reply ^ 1;
  let checks = true;

  if (state == TCP_SYN_SENT && old >= <u32>TCP_TIME_WAIT) {
    // a closed or aborted connection is opened anew
    const closing = (flagsOf(flow, 0) | flagsOf(flow, 1)) & SEEN_CLOSE_INIT;
    if (closing != 0 || (lastReply(flow) == reply && lastIndex(flow) == INDEX_RST)) {
      kill(flow);
      return PACKET_AGAIN;
    }
    state = IG;
  }
  if (state == IV) return PACKET_INVALID;
  if (state == IG) {
    if (
      index == INDEX_SYNACK &&
      lastIndex(flow) == INDEX_SYN &&
      lastReply(flow) != reply &&
      ack == load<u32>(flow, FLOW_LAST_END)
    ) {
      // it answers a SYN that was ignored: both sides are in step, and only we were not
      old = TCP_SYN_SENT;
      state = TCP_SYN_RECV;
      const seen = seenOf(flow, other);
      const end = load<u32>(flow, FLOW_LAST_END);
      store<u32>(seen, end, FLOW_SEEN_END);
      store<u32>(seen, end, FLOW_SEEN_MAX_END);
      store<u32>(seen, max<u32>(load<u16>(flow, FLOW_LAST_WINDOW), 1), FLOW_SEEN_MAX_WINDOW);
      setScale(flow, other, load<u8>(flow, FLOW_LAST) >> 4);
      const lastFlags = load<u8>(flow, FLOW_LAST_FLAGS) & ~(<u8>LAST_CHALLENGE);
      store<u8>(flow, lastFlags, FLOW_LAST_FLAGS);
      setFlags(flow, other, lastFlags);
      const own = seenOf(flow, reply);
      v128.store(own, i64x2.splat(0), FLOW_SEEN);
      setScale(flow, reply, 0);
      setFlags(flow, reply, flagsOf(flow, reply) & SEEN_LIBERAL);
    } else {
      ignore(flow, reply, index, flags, detail, old);
      return PACKET_PASSED;
    }
  } else if (state == TCP_TIME_WAIT) {
    const lastFlags = load<u8>(flow, FLOW_LAST_FLAGS);
    if (
      old == TCP_LAST_ACK &&
      index == INDEX_ACK &&
      lastReply(flow) != reply &&
      lastIndex(flow) == INDEX_SYN &&
      (lastFlags & LAST_CHALLENGE) != 0
    ) {
      // it answers a stray SYN, and acknowledges no FIN (RFC 5961)
      store<u8>(flow, lastFlags & ~(<u8>LAST_CHALLENGE), FLOW_LAST_FLAGS);
      return PACKET_PASSED;
    }
  } else if (state == TCP_SYN_SENT2) {
    store<u8>(flow, load<u8>(flow, FLOW_LAST_FLAGS) | (<u8>LAST_SIMULTANEOUS), FLOW_LAST_FLAGS);
  } else if (state == TCP_SYN_RECV) {
    if (reply != 0 && index == INDEX_ACK && (load<u8>(flow, FLOW_LAST_FLAGS) & LAST_SIMULTANEOUS) != 0) {
      state = TCP_ESTABLISHED;
    }
  } else if (state == TCP_CLOSE && index == INDEX_RST) {
    const judged = judgeReset(flow, reply, old, seq, ack);
    if (judged == RESET_INVALID) return PACKET_INVALID;
    if (judged == RESET_KEEPS) state = old;
    checks = judged == RESET_KEEPS ? !resetsIgnored(flow, reply, old, seq, ack) : judged == RESET_CHECKED;
  }

  if (checks) {
    const judged = inWindow(flow, reply, index, flags, detail);
    if (judged == WINDOW_IGNORED) return PACKET_PASSED;
    if (judged == WINDOW_INVALID) {
      handleInvalid(flow, reply, index);
      return PACKET_INVALID;
    }
  }
  setLast(flow, index, reply);
  store<u8>(flow, <u8>state, FLOW_TCP_STATE);
  if (old != state && state == TCP_FIN_WAIT) setFlags(flow, reply, flagsOf(flow, reply) | SEEN_CLOSE_INIT);

  let timeout = timeoutOf(state);
  const retransmitted = timeoutOf(TIMEOUT_RETRANSMITTED);
  const unacknowledged = timeoutOf(TIMEOUT_UNACKNOWLEDGED);
  if (load<u8>(flow, FLOW_RETRANSMISSIONS) >= <u8>MAX_RETRANSMISSIONS && timeout > retransmitted) {
    timeout = retransmitted;
  } else if (index == INDEX_RST) {
    timeout = timeoutOf(TCP_CLOSE);
  } else if (((flagsOf(flow, 0) | flagsOf(flow, 1)) & SEEN_UNACKNOWLEDGED) != 0 && timeout > unacknowledged) {
    timeout = unacknowledged;
  } else if (load<u16>(flow, FLOW_LAST_WINDOW) == 0 && timeout > retransmitted) {
    timeout = retransmitted;
  }

  const status = statusOf(flow);
  if (state != old) addStatus(flow, STATUS_CHANGED | STATUS_STATE);
  if ((status & STATUS_SEEN_REPLY) == 0) {
    // nothing but a reset was answered: there is no connection
    if (index == INDEX_RST) {
      kill(flow);
      return PACKET_ACCEPTED;
    }
    // a repeated SYN does not prolong the wait
    if (index == INDEX_SYN && old == TCP_SYN_SENT) return PACKET_PASSED;
    if (state == TCP_ESTABLISHED && timeout > unacknowledged) timeout = unacknowledged;
  } else if (
    (status & STATUS_ASSURED) == 0 &&
    (old == TCP_SYN_RECV || old == TCP_ESTABLISHED) &&
    state == TCP_ESTABLISHED
  ) {
    addStatus(flow, STATUS_ASSURED | STATUS_CHANGED);
  }
  refresh(flow, timeout);
  return PACKET_ACCEPTED;
}

/** A segment that may be right or wrong: what it says is kept, in case the other side agrees to it. */
function ignore(flow: usize, reply: u32, index: u32, flags: u32, detail: usize, old: u32): void {
  setLast(flow, index, reply);
  store<u32>(flow, detailOf(detail, DETAIL_SEQ), FLOW_LAST_SEQ);
  store<u32>(flow, endOf(detail, flags), FLOW_LAST_END);
  store<u16>(flow, <u16>detailOf(detail, DETAIL_WINDOW), FLOW_LAST_WINDOW);
  if (index == INDEX_SYN && reply == 0) {
    const options = detailOf(detail, DETAIL_OPTIONS);
    let kept: u32 = 0;
    let scale: u32 = 0;
    if ((options & DETAIL_SCALED) != 0) {
      kept |= SEEN_SCALED;
      scale = options & 15;
    }
    if ((options & DETAIL_SACK_PERMITTED) != 0) kept |= SEEN_SACK;
    if (old == TCP_LAST_ACK) kept |= LAST_CHALLENGE;
    store<u8>(flow, <u8>kept, FLOW_LAST_FLAGS);
    store<u8>(flow, (load<u8>(flow, FLOW_LAST) & 15) | (<u8>(scale << 4)), FLOW_LAST);
  }
  if (old == TCP_SYN_SENT && index == INDEX_ACK && reply != 0)
    store<u32>(flow, detailOf(detail, DETAIL_ACK), FLOW_LAST_ACK);
}

const RESET_CHECKED: i32 = 0;
const RESET_UNCHECKED: i32 = 1;
const RESET_INVALID: i32 = 2;
/** The state stays, for a challenge ACK. */
const RESET_KEEPS: i32 = 3;

/** Whether a reset is believed, and whether its place in the window is asked. */
function judgeReset(flow: usize, reply: u32, old: u32, seq: u32, ack: u32): i32 {
  // the connection is closing, and its tuple may be in use again
  if (old >= <u32>TCP_FIN_WAIT && old <= <u32>TCP_CLOSE) return RESET_UNCHECKED;
  const last = lastIndex(flow);
  if ((flagsOf(flow, reply ^ 1) & SEEN_MAX_ACK) != 0 && last != INDEX_SYN) {
    const established = old == TCP_ESTABLISHED && (statusOf(flow) & STATUS_ASSURED) != 0;
    const maxAck = load<u32>(seenOf(flow, reply ^ 1), FLOW_SEEN_MAX_ACK);
    if (seq == 0 && !established) return RESET_CHECKED;
    if (before(seq, maxAck)) return RESET_INVALID;
    if (!established || seq == maxAck) return RESET_CHECKED;
    if (last == INDEX_ACK && lastReply(flow) == reply && seq == load<u32>(flow, FLOW_LAST_END)) return RESET_CHECKED;
    return RESET_KEEPS;
  }
  return resetsIgnored(flow, reply, old, seq, ack) ? RESET_UNCHECKED : RESET_CHECKED;
}

/** It answers a segment that was let through unseen. */
function resetsIgnored(flow: usize, reply: u32, old: u32, seq: u32, ack: u32): bool {
  const status = statusOf(flow);
  const last = lastIndex(flow);
  // who sent the SYN does not answer it
  const answered =
    ((status & STATUS_SEEN_REPLY) != 0 && last == INDEX_SYN && lastReply(flow) != reply) ||
    ((status & STATUS_ASSURED) == 0 && last == INDEX_ACK);
  if (answered && ack == load<u32>(flow, FLOW_LAST_END)) return true;
  return old == TCP_SYN_SENT && last == INDEX_ACK && lastReply(flow) != 0 && seq == load<u32>(flow, FLOW_LAST_ACK);
}

// -- the window

const WINDOW_INVALID: i32 = 0;
const WINDOW_ACCEPTED: i32 = 1;
const WINDOW_IGNORED: i32 = 2;

/** tcp_init_sender(). */
function startSender(flow: usize, reply: u32, detail: usize, end: u32, window: u32): void {
  const sender = seenOf(flow, reply);
  store<u32>(sender, end, FLOW_SEEN_END);
  store<u32>(sender, end, FLOW_SEEN_MAX_END);
  store<u32>(sender, max<u32>(window, 1), FLOW_SEEN_MAX_WINDOW);
  readOptions(flow, reply, detail);
  // both must offer to scale
  if (reply != 0 && (flagsOf(flow, 0) & flagsOf(flow, 1) & SEEN_SCALED) == 0) store<u8>(flow, 0, FLOW_SCALES);
}

function inWindow(flow: usize, reply: u32, index: u32, flags: u32, detail: usize): i32 {
  const state = load<u8>(flow, FLOW_TCP_STATE);
  const sender = seenOf(flow, reply);
  const receiver = seenOf(flow, reply ^ 1);
  const isLiberal = (flagsOf(flow, reply) & SEEN_LIBERAL) != 0;
  let seq = detailOf(detail, DETAIL_SEQ);
  let ack = detailOf(detail, DETAIL_ACK);
  let sack = (flagsOf(flow, reply ^ 1) & SEEN_SACK) != 0 ? detailOf(detail, DETAIL_SACK) : ack;
  const rawWindow = detailOf(detail, DETAIL_WINDOW);
  let window = rawWindow;
  let end = endOf(detail, flags);
  const isSyn = (flags & SYN) != 0;
  const acknowledges = (flags & ACK) != 0;

  if (load<u32>(sender, FLOW_SEEN_MAX_WINDOW) == 0) {
    if (isSyn) {
      startSender(flow, reply, detail, end, window);
      // both sides open at once
      if (!acknowledges) return WINDOW_ACCEPTED;
    } else {
      // the history is lost: the segment is taken at its word
      const scaled = max<u32>(window << scaleOf(flow, reply), 1);
      store<u32>(sender, end, FLOW_SEEN_END);
      store<u32>(sender, scaled, FLOW_SEEN_MAX_WINDOW);
      store<u32>(sender, end + scaled, FLOW_SEEN_MAX_END);
      if (load<u32>(receiver, FLOW_SEEN_MAX_WINDOW) == 0) {
        store<u32>(receiver, sack, FLOW_SEEN_END);
        store<u32>(receiver, sack, FLOW_SEEN_MAX_END);
      } else if (sack == load<u32>(receiver, FLOW_SEEN_END) + 1) {
        // answers a keepalive
        store<u32>(receiver, sack, FLOW_SEEN_END);
      }
    }
  } else if (
    isSyn &&
    after(end, load<u32>(sender, FLOW_SEEN_END)) &&
    (state == TCP_SYN_SENT || state == TCP_SYN_RECV)
  ) {
    startSender(flow, reply, detail, end, window);
    if (reply != 0 && !acknowledges) return WINDOW_ACCEPTED;
  }

  const receiverEnd = load<u32>(receiver, FLOW_SEEN_END);
  if (!acknowledges || ((flags & RST) != 0 && ack == 0)) ack = sack = receiverEnd;
  const senderEnd = load<u32>(sender, FLOW_SEEN_END);
  if ((flags & RST) != 0 && seq == 0 && state == TCP_SYN_SENT) seq = end = senderEnd;

  const senderMaxEnd = load<u32>(sender, FLOW_SEEN_MAX_END);
  const senderWindow = load<u32>(sender, FLOW_SEEN_MAX_WINDOW);
  const receiverWindow = load<u32>(receiver, FLOW_SEEN_MAX_WINDOW);
  const acksEnough = after(sack, receiverEnd - max<u32>(senderWindow, ACK_WINDOW) - 1);
  if (!before(seq, senderMaxEnd + 1)) {
    const overshot = end - senderMaxEnd + 1;
    const isNear = receiverWindow != 0 && after(end, senderEnd - receiverWindow - 1);
    if (isNear && acksEnough && overshot <= receiverWindow && before(sack, receiverEnd + 1)) {
      // more than the receiver allowed, but it may take it all the same
      store<u32>(sender, end, FLOW_SEEN_END);
      setFlags(flow, reply, flagsOf(flow, reply) | SEEN_UNACKNOWLEDGED);
      return isLiberal ? WINDOW_ACCEPTED : WINDOW_IGNORED;
    }
    return isLiberal ? WINDOW_ACCEPTED : WINDOW_INVALID;
  }
  if (!before(sack, receiverEnd + 1)) return isLiberal ? WINDOW_ACCEPTED : WINDOW_INVALID;
  const isInWindow = receiverWindow == 0 || after(end, senderEnd - receiverWindow - 1);
  if (!isInWindow || !acksEnough) return isLiberal ? WINDOW_ACCEPTED : WINDOW_IGNORED;

  if (!isSyn) window <<= scaleOf(flow, reply);
  const reach = window + (sack - ack);
  if (senderWindow < reach) store<u32>(sender, reach, FLOW_SEEN_MAX_WINDOW);
  let senderFlags = flagsOf(flow, reply);
  if (after(end, senderEnd)) {
    store<u32>(sender, end, FLOW_SEEN_END);
    senderFlags |= SEEN_UNACKNOWLEDGED;
  }
  if (acknowledges) {
    if ((senderFlags & SEEN_MAX_ACK) == 0) {
      store<u32>(sender, ack, FLOW_SEEN_MAX_ACK);
      senderFlags |= SEEN_MAX_ACK;
    } else if (after(ack, load<u32>(sender, FLOW_SEEN_MAX_ACK))) {
      store<u32>(sender, ack, FLOW_SEEN_MAX_ACK);
    }
  }
  setFlags(flow, reply, senderFlags);
  if (receiverWindow != 0 && after(end, senderMaxEnd)) {
    store<u32>(receiver, receiverWindow + end - senderMaxEnd, FLOW_SEEN_MAX_WINDOW);
  }
  if (after(sack + window, load<u32>(receiver, FLOW_SEEN_MAX_END) - 1)) {
    store<u32>(receiver, sack + window + u32(window == 0), FLOW_SEEN_MAX_END);
  }
  if (ack == receiverEnd) setFlags(flow, reply ^ 1, flagsOf(flow, reply ^ 1) & ~SEEN_UNACKNOWLEDGED);

  if (index == INDEX_ACK) {
    if (
      lastReply(flow) == reply &&
      load<u32>(flow, FLOW_LAST_SEQ) == seq &&
      load<u32>(flow, FLOW_LAST_ACK) == ack &&
      load<u32>(flow, FLOW_LAST_END) == end &&
      load<u16>(flow, FLOW_LAST_WINDOW) == <u16>rawWindow
    ) {
      store<u8>(flow, load<u8>(flow, FLOW_RETRANSMISSIONS) + 1, FLOW_RETRANSMISSIONS);
    } else {
      setLast(flow, lastIndex(flow), reply);
      store<u32>(flow, seq, FLOW_LAST_SEQ);
      store<u32>(flow, ack, FLOW_LAST_ACK);
      store<u32>(flow, end, FLOW_LAST_END);
      store<u16>(flow, <u16>rawWindow, FLOW_LAST_WINDOW);
      store<u8>(flow, 0, FLOW_RETRANSMISSIONS);
    }
  }
  return WINDOW_ACCEPTED;
}

/** nf_tcp_handle_invalid(): an end that was not believed twice shortens the wait. */
function handleInvalid(flow: usize, reply: u32, index: u32): void {
  if ((statusOf(flow) & STATUS_ASSURED) == 0) return;
  if (index != INDEX_RST && index != INDEX_FIN) return;
  const last = lastIndex(flow);
  if (lastReply(flow) != reply && (last == INDEX_FIN || last == INDEX_RST)) {
    const left = load<f64>(flow, FLOW_EXPIRES) - now;
    const timeout = timeoutOf(TIMEOUT_UNACKNOWLEDGED);
    if (left >= 120 && left > timeout) refresh(flow, timeout);
  } else {
    setLast(flow, index, reply);
  }
}

/** nf_conntrack_tcp_set_closing(): the host itself has reset the connection. */
export function close(flow: usize): void {
  if ((statusOf(flow) & STATUS_CONFIRMED) == 0) return;
  const old = load<u8>(flow, FLOW_TCP_STATE);
  store<u8>(flow, TCP_CLOSE, FLOW_TCP_STATE);
  if (old == TCP_CLOSE) return;
  refresh(flow, timeoutOf(TCP_CLOSE));
  addStatus(flow, STATUS_CHANGED | STATUS_STATE);
}
