// What the host answers to a packet that it refuses: a TCP reset, or an ICMP error; and when it says nothing.
//
// Follows __icmp_send() in net/ipv4/icmp.c, nf_send_unreach() and nf_send_reset() in
// net/ipv4/netfilter/nf_reject_ipv4.c.

import {
  ANSWER_ANSWERED,
  ANSWER_BYTES,
  ANSWER_INFO,
  ANSWER_KIND,
  ANSWER_MTU,
  ANSWER_OPTION,
  ANSWER_REFUSED,
  ANSWER_SRC,
  BODY_ANSWER,
  CT_FIRST,
  CT_INVALID,
  CT_RELATED,
  CT_UNTRACKED,
  DETAIL_ACK,
  DETAIL_BODY,
  DETAIL_BYTES,
  DETAIL_CHOSEN,
  DETAIL_KEY,
  DETAIL_OPTIONS,
  DETAIL_QUOTED,
  DETAIL_QUOTED_DPORT,
  DETAIL_QUOTED_DST,
  DETAIL_QUOTED_PROTO,
  DETAIL_QUOTED_SPORT,
  DETAIL_QUOTED_SRC,
  DETAIL_SACK,
  DETAIL_SEGMENT,
  DETAIL_SEQ,
  DETAIL_WINDOW,
  FACT_BAD_CHECKSUM,
  FACT_DF,
  FACT_FRAME_SHIFT,
  FACT_FIXED_DESTINATION,
  FACT_FIXED_SOURCE,
  FACT_LOCAL,
  FIELD_CT_STATE,
  FIELD_DPORT,
  FIELD_DST,
  FIELD_FACTS,
  FIELD_ICMP,
  FIELD_IN_IFACE,
  FIELD_LENGTH,
  FIELD_MARK,
  FIELD_PROTO,
  FIELD_SPORT,
  FIELD_SRC,
  FIELD_TCP_FLAGS,
  FIELD_TOS,
  FIELD_TRANSPORT,
  FIELD_TTL,
  FIREWALL_TTL,
  FRAME_HOST,
  ORIGIN_OPTION,
  QUOTED_NONE,
  QUOTED_FIXED_DESTINATION,
  QUOTED_SHORT,
  QUOTED_WHOLE,
  REJECT_TCP_RESET,
  REPLY_RESET,
  TRANSPORT_OFFSET_1,
  UNMODELLED_ANSWERS,
} from "../src/layout";
import { ct, ctReply, hasPorts, natBits, setConnection } from "./conntrack";
import { protoOf } from "./flow";
import { beginLog, showAnswer, unmodelled } from "./log";
import { markTrace } from "./look-up";
import { copyRecord } from "./memory";
import { origin, originOfAnswer } from "./origin";
import {
  beginSkb,
  CURRENT,
  detail,
  get,
  is,
  IS_ANSWER_TO_UNTRACKED,
  IS_BROADCAST,
  IS_FORWARDED,
  IS_LOCAL,
  IS_MULTICAST,
  IS_SUMMED,
  IS_TRACKED,
  level,
  out,
  putAside,
  set,
  setBits,
  SKB_BOUND,
  SKB_TOLD,
  takeBack,
} from "./packet";
import { ICMP, TCP } from "./protocol";
import { asSource, isMulticast, output, pathMtu, pathSrc } from "./route";
import { close } from "./tcp";
import { answerOut, takePath } from "./way";

/** An answer to an answer to an answer is the last: it is an ICMP error. */
const MOST_LEVELS: u32 = 3;
/** Details of answers, by level. */
const DETAILS = memory.data(512, 16);
/** The record of an answer that nobody asks for. */
const UNASKED = memory.data(256, 16);

// -- records

let answersAt: usize = 0;
let answerTop: usize = 0;
let answerEnd: usize = 0;

/** From here on records of answers are written to `bytes` bytes at `at`; 0: not any more. */
export function setAnswers(at: usize, bytes: usize): void {
  answersAt = answerTop = at;
  answerEnd = at + bytes;
}

/** Records written since setAnswers. */
export function answerCount(): u32 {
  return <u32>((answerTop - answersAt) / ANSWER_BYTES);
}

// -- whether there is one

export function frame(): u32 {
  return (get(FIELD_FACTS) >> FACT_FRAME_SHIFT) & 3;
}

/** __icmp_send() of the error `type << 8 | code`, if one may be sent. `info`: the MTU, or the gateway of a redirect. */
export function icmpError(firewall: usize, reply: u32, info: u32): void {
  if (frame() != FRAME_HOST || is(IS_BROADCAST | IS_MULTICAST)) return;
  const transport = get(FIELD_TRANSPORT);
  if (transport >= <u32>TRANSPORT_OFFSET_1) return;
  if (get(FIELD_PROTO) == ICMP) {
    // only to what is surely no error itself
    const type = get(FIELD_ICMP) >> 8;
    if (transport == 0 || !(type == 0 || type == 8 || (type >= 13 && type <= 18))) return;
  }
  if (output(firewall, is(IS_LOCAL) ? get(FIELD_DST) : 0, get(FIELD_SRC), 0, 0, false) != 0) return;
  if (pathMtu <= HEADERS_BYTES + 20) return;
  respond(firewall, reply, info);
}

/** reject_tg(). `kind`: REJECT_. */
export function reject(firewall: usize, kind: u32): void {
  const facts = get(FIELD_FACTS);
  const transport = get(FIELD_TRANSPORT);
  if (transport >= <u32>TRANSPORT_OFFSET_1) return;
  // what was found to be right is not summed up again, but for the reset of a packet that is forwarded: skb_forward_csum()
  const trusted = is(IS_SUMMED) && (kind != REJECT_TCP_RESET || !is(IS_FORWARDED));
  if ((facts & FACT_BAD_CHECKSUM) != 0 && !trusted) return;
  if (kind != REJECT_TCP_RESET) {
    icmpError(firewall, (3 << 8) | kind, 0);
    return;
  }
  if (get(FIELD_PROTO) != TCP || transport < 20 || (get(FIELD_TCP_FLAGS) & 4) != 0) return;
  if (is(IS_BROADCAST | IS_MULTICAST)) return;
  const src = asSource(firewall, get(FIELD_DST));
  if (output(firewall, src, get(FIELD_SRC), 0, load<u32>(CURRENT, SKB_BOUND), true) != 0) return;
  respond(firewall, REPLY_RESET, 0);
}

// -- its way

/** Puts the packet aside, sends the answer its way (that `output` has found), and goes on. */
function respond(firewall: usize, reply: u32, info: u32): void {
  showAnswer(reply);
  const ofLevel = level() + 1;
  if (ofLevel > MOST_LEVELS) return;
  putAside();
  markTrace(ofLevel);
  const record = makeRecord(reply, info);
  originOfAnswer(reply != REPLY_RESET);
  const told = toldOf();
  const toUntracked = get(FIELD_CT_STATE) >> 2 == CT_UNTRACKED;
  const details = DETAILS + <usize>(ofLevel - 1) * DETAIL_BYTES;
  if (reply == REPLY_RESET) writeReset(details, firewall);
  else writeError(reply, details, firewall);
  put(details, DETAIL_BODY, record == UNASKED ? 0 : BODY_ANSWER + numberOf(record));
  put(details, DETAIL_CHOSEN, 0);
  beginSkb(record, details, told, 0, ofLevel);
  beginLog();
  if (ct != 0) {
    // in the direction opposite to the packet's: nf_conntrack_attach()
    setConnection(ct, ctReply ^ 1);
    setBits(IS_TRACKED);
    set(FIELD_CT_STATE, (CT_RELATED << 2) | natBits(ct));
    if (reply == REPLY_RESET && protoOf(ct) == TCP) close(ct);
  }
  if (toUntracked) setBits(IS_ANSWER_TO_UNTRACKED);
  takePath();
  answerOut(reply == REPLY_RESET);
  takeBack();
}

function makeRecord(reply: u32, info: u32): usize {
  if (answerTop + ANSWER_BYTES > answerEnd) {
    if (answersAt != 0) unmodelled(UNMODELLED_ANSWERS);
    return UNASKED;
  }
  const record = answerTop;
  answerTop += ANSWER_BYTES;
  copyRecord(record + ANSWER_REFUSED, CURRENT);
  store<u32>(record, reply, ANSWER_KIND);
  store<u32>(record, info, ANSWER_INFO);
  store<u32>(record, ownSource(), ANSWER_SRC);
  store<u32>(record, pathMtu, ANSWER_MTU);
  store<u32>(record, detailOf(detail(), DETAIL_BODY), ANSWER_ANSWERED);
  store<u32>(record, load<u32>(origin, ORIGIN_OPTION), ANSWER_OPTION);
  return record;
}

function numberOf(record: usize): u32 {
  return <u32>((record - answersAt) / ANSWER_BYTES);
}

/** What is told of the answer's connection: if nothing is told of the packet's, nothing. */
function toldOf(): u32 {
  const told = load<u32>(CURRENT, SKB_TOLD);
  if (told == CT_FIRST || told >> 2 == CT_INVALID || told >> 2 == CT_UNTRACKED) return CT_FIRST;
  return is(IS_TRACKED) ? CT_RELATED << 2 : CT_FIRST;
}

/** A host without an address has one for ICMP errors: INADDR_DUMMY. */
function ownSource(): u32 {
  return pathSrc == 0 ? 0xc0000008 : pathSrc;
}

// -- what it says

/** The longest ICMP error. */
const ERROR_BYTES: u32 = 576;
const HEADERS_BYTES: u32 = 28;

/** The packet becomes its own answer; details go to `details`. */
function writeReset(details: usize, firewall: usize): void {
  const answered = detail();
  const flags = get(FIELD_TCP_FLAGS);
  const acknowledges = (flags & 16) != 0;
  const segment = detailOf(answered, DETAIL_SEGMENT) + (flags & 1) + ((flags >> 1) & 1);
  const ack = acknowledges ? 0 : detailOf(answered, DETAIL_SEQ) + segment;
  put(details, DETAIL_SEQ, acknowledges ? detailOf(answered, DETAIL_ACK) : 0);
  put(details, DETAIL_ACK, ack);
  put(details, DETAIL_SACK, ack);
  put(details, DETAIL_WINDOW, 0);
  put(details, DETAIL_SEGMENT, 0);
  put(details, DETAIL_OPTIONS, 0);
  put(details, DETAIL_QUOTED, QUOTED_NONE);
  turn(firewall);
  set(FIELD_TCP_FLAGS, acknowledges ? 4 : 20);
  set(FIELD_TRANSPORT, 20);
  set(FIELD_TOS, 0);
  set(FIELD_LENGTH, 40);
  set(FIELD_FACTS, FACT_LOCAL | FACT_DF);
}

function writeError(reply: u32, details: usize, firewall: usize): void {
  const src = get(FIELD_SRC);
  const proto = get(FIELD_PROTO);
  const transport = get(FIELD_TRANSPORT);
  const ported = hasPorts(proto);
  let quoted: u32 = QUOTED_WHOLE;
  if (ported ? transport < 4 : proto == ICMP && transport < 8) quoted = QUOTED_NONE;
  else if ((ported && transport < 8) || (get(FIELD_FACTS) & FACT_FIXED_SOURCE) != 0) quoted = QUOTED_SHORT;
  else if ((get(FIELD_FACTS) & FACT_FIXED_DESTINATION) != 0) quoted = QUOTED_FIXED_DESTINATION;
  put(details, DETAIL_QUOTED, quoted);
  put(details, DETAIL_QUOTED_SRC, src);
  put(details, DETAIL_QUOTED_DST, get(FIELD_DST));
  put(details, DETAIL_QUOTED_PROTO, proto);
  put(details, DETAIL_QUOTED_SPORT, ported || proto == ICMP ? get(FIELD_SPORT) : 0);
  const key = detailOf(detail(), DETAIL_KEY);
  put(details, DETAIL_QUOTED_DPORT, ported ? get(FIELD_DPORT) : proto == ICMP ? get(FIELD_ICMP) : key);
  const length = min(get(FIELD_LENGTH), min(ERROR_BYTES, pathMtu) - HEADERS_BYTES) + HEADERS_BYTES;
  turn(firewall);
  set(FIELD_SRC, ownSource());
  // to nobody is to oneself
  if (src == 0) set(FIELD_DST, ownSource());
  set(FIELD_SPORT, 0);
  set(FIELD_DPORT, 0);
  set(FIELD_PROTO, ICMP);
  // an error to a group goes no further than the link
  if (isMulticast(src)) set(FIELD_TTL, 1);
  set(FIELD_TCP_FLAGS, 0);
  set(FIELD_ICMP, reply);
  set(FIELD_TRANSPORT, min<u32>(255, length - 20));
  set(FIELD_TOS, (get(FIELD_TOS) & 0x1e) | 0xc0);
  set(FIELD_LENGTH, length);
  set(FIELD_FACTS, FACT_LOCAL);
}

/** The way back, from nowhere but the host. */
function turn(firewall: usize): void {
  const src = get(FIELD_SRC);
  const sport = get(FIELD_SPORT);
  set(FIELD_SRC, get(FIELD_DST));
  set(FIELD_SPORT, get(FIELD_DPORT));
  set(FIELD_DST, src);
  set(FIELD_DPORT, sport);
  set(FIELD_IN_IFACE, 0);
  set(FIELD_MARK, 0);
  set(FIELD_TTL, load<u32>(firewall, FIREWALL_TTL));
}

function detailOf(details: usize, word: i32): u32 {
  return load<u32>(details + ((<usize>word) << 2));
}

function put(details: usize, word: i32, value: u32): void {
  store<u32>(details + ((<usize>word) << 2), value);
}
