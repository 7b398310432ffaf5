// Synthetic packets that belong together: clients and servers that talk through the host, for connections to be followed.
//
// A conversation is drawn as a first packet is (traffic.ts), aimed at the rules. From then on client and server speak in
// turn or out of turn, and the server says what one would say who sees the client's packets as they left the host: so its
// answers go to the translated address. For that the decisions of each batch are listened to before the next is made.
//
// Conversations open (TCP: three segments; some are refused, by a reset or an ICMP error, or vanish unanswered), go on in
// both directions for a while, with a segment out of the window or an error of some router now and then, and close (FIN
// from both sides, or a reset). One in sixteen takes the server and the source port of its neighbour: behind one address
// of MASQUERADE these clash. Some are the host's own, and what is delivered to the host the host answers.
//
// Each packet belongs to a conversation drawn at random, none twice in a batch, so that what is said hangs on what was
// heard. They are drawn for the whole batch at first: their records lie nowhere near the cache, and so the loads overlap.

import {
  CONVERSATION_BATCH,
  CONVERSATION_BYTES,
  CONVERSATION_CLIENT_IFACE,
  CONVERSATION_CLIENT_SEQ,
  CONVERSATION_IS_SEEN,
  CONVERSATION_LEFT,
  CONVERSATION_PHASE,
  CONVERSATION_PROTO,
  CONVERSATION_SEEN_AS,
  CONVERSATION_SERVER_IFACE,
  CONVERSATION_SERVER_SEQ,
  CT_FIRST,
  DECISION_BYTES,
  DECISION_IFACE,
  DECISION_SRC,
  DECISION_VERDICT,
  DETAIL_ACK,
  DETAIL_BYTES,
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
  FACT_DF,
  FACT_LOCAL,
  FIELD_CT_STATE,
  FIELD_DPORT,
  FIELD_DST,
  FIELD_FACTS,
  FIELD_ICMP,
  FIELD_IN_IFACE,
  FIELD_LENGTH,
  FIELD_PROTO,
  FIELD_SPORT,
  FIELD_SRC,
  FIELD_TCP_FLAGS,
  FIELD_TRANSPORT,
  FIELD_TTL,
  PACKET_BYTES,
  QUOTED_WHOLE,
  TRAFFIC_BATCH,
  TRAFFIC_CLOCK,
  TRAFFIC_CONVERSATION_COUNT,
  TRAFFIC_CONVERSATIONS,
  TRAFFIC_HOST_SPEAKS,
  TRAFFIC_OWN,
  TRAFFIC_OWN_COUNT,
  TRAFFIC_PACE,
  TRAFFIC_SEED,
  TRAFFIC_WAY_COUNT,
  TRAFFIC_WAYS,
  VERDICT_DELIVERED,
  VERDICT_FORWARDED,
  VERDICT_SENT,
  WAY_BYTES,
} from "../src/layout";
import { ACK, FIN, ICMP, PSH, RST, SYN, TCP, UDP } from "./protocol";
import { aimed, behind, below, draw, drawFrom, start, traffic, wayFor } from "./traffic";

const WINDOW: u32 = 0xffff;
const ECHO: u32 = 8 << 8;
const UNREACHABLE_HOST: u32 = (3 << 8) | 1;
const UNREACHABLE_PORT: u32 = (3 << 8) | 3;
const TIME_EXCEEDED: u32 = 11 << 8;
const ERROR_BYTES: u32 = 56;

/** Packets of an open conversation, on average. */
const LENGTH: u32 = 48;

// phases
const SILENT: u32 = 0;
const OPENING: u32 = 1;
/** The server has sent SYN and ACK. */
const ANSWERED: u32 = 2;
const TALKING: u32 = 3;
/** The client has sent FIN; the server has too. */
const CLOSING: u32 = 4;
const LAST: u32 = 5;

/** Conversation of each packet of the batch; bit 0: its client has spoken. */
const PICKED = memory.data(4096);

// the packet being made, and its conversation
let packet: usize = 0;
let detail: usize = 0;
let talk: usize = 0;

/**
 * Writes `count` (1,024 at most, and no more than half of the conversations) packet and detail records, those with the
 * numbers from `first` on, and for each f64 seconds at `times`.
 */
export function converse(trafficAt: usize, packets: usize, details: usize, times: usize, count: u32, first: u32): void {
  drawFrom(trafficAt);
  const seed = load<u32>(traffic, TRAFFIC_SEED);
  const conversations = <usize>load<u32>(traffic, TRAFFIC_CONVERSATIONS);
  // few at first, so that conversations have come to their ends before all have begun
  const talking = min(load<u32>(traffic, TRAFFIC_CONVERSATION_COUNT), max(2 * count, first >> 2));
  const end = conversations + <usize>talking * CONVERSATION_BYTES;
  const batch = load<u32>(traffic, TRAFFIC_BATCH) + 1;
  store<u32>(traffic, batch, TRAFFIC_BATCH);
  start(seed ^ 0x2545f491, first);
  for (let i: u32 = 0; i < count; i++) {
    talk = conversations + <usize>below(talking) * CONVERSATION_BYTES;
    while (load<u32>(talk, CONVERSATION_BATCH) == batch) {
      talk += CONVERSATION_BYTES;
      if (talk == end) talk = conversations;
    }
    store<u32>(talk, batch, CONVERSATION_BATCH);
    store<u32>(PICKED + ((<usize>i) << 2), <u32>talk);
  }
  let clock = load<f64>(traffic, TRAFFIC_CLOCK);
  const pace = load<f64>(traffic, TRAFFIC_PACE);
  for (let i: u32 = 0; i < count; i++) {
    packet = packets + <usize>i * PACKET_BYTES;
    detail = details + <usize>i * DETAIL_BYTES;
    talk = load<u32>(PICKED + ((<usize>i) << 2));
    start(seed, first + i);
    const client = speak();
    store<u32>(PICKED + ((<usize>i) << 2), (<u32>talk) | (<u32>client));
    store<f64>(times + ((<usize>i) << 3), clock);
    clock += pace;
  }
  store<f64>(traffic, clock, TRAFFIC_CLOCK);
}

/** What became of the `count` packets that `converse` has made: servers see what clients have sent. */
export function listen(decisions: usize, count: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    const picked = load<u32>(PICKED + ((<usize>i) << 2));
    if ((picked & 1) == 0) continue;
    talk = <usize>(picked ^ 1);
    const decision = decisions + <usize>i * DECISION_BYTES;
    const verdict = load<u8>(decision, DECISION_VERDICT);
    const left = verdict == VERDICT_FORWARDED || verdict == VERDICT_SENT;
    if (left || (verdict == VERDICT_DELIVERED && load<u32>(traffic, TRAFFIC_HOST_SPEAKS) != 0)) {
      v128.store(talk, v128.load(decision, DECISION_SRC), CONVERSATION_SEEN_AS);
      store<u32>(talk, left ? load<u32>(decision, DECISION_IFACE) : 0, CONVERSATION_SERVER_IFACE);
      store<u8>(talk, 1, CONVERSATION_IS_SEEN);
    }
  }
}

// -- who speaks, and what

/** Makes the next packet of the conversation; true: its client sends it. */
function speak(): bool {
  const phase: u32 = load<u8>(talk, CONVERSATION_PHASE);
  const dice = draw() >> 24;
  if (phase == TALKING) return goOn(dice);
  if (phase == OPENING) return begin(dice);
  if (phase == ANSWERED) {
    setPhase(TALKING);
    return segment(true, dice < 8 ? RST | ACK : ACK, 0);
  }
  if (phase == CLOSING) {
    setPhase(LAST);
    return segment(false, FIN | ACK, 0);
  }
  if (phase == LAST) {
    setPhase(SILENT);
    return segment(true, ACK, 0);
  }
  return open();
}

function begin(dice: u32): bool {
  if (load<u8>(talk, CONVERSATION_IS_SEEN) == 0) return (dice & 1) != 0 ? ask() : open();
  if (dice < 10) return ask();
  if (dice < 20) return open();
  const tcp = isTcp();
  if (dice < 32 && load<u32>(talk, CONVERSATION_SERVER_IFACE) != 0) {
    setPhase(SILENT);
    return error((dice & 1) != 0 ? UNREACHABLE_HOST : TIME_EXCEEDED, false);
  }
  if (dice < 44) {
    setPhase(SILENT);
    return tcp ? segment(false, RST | ACK, 0) : error(UNREACHABLE_PORT, true);
  }
  store<u32>(talk, 2 + below(2 * LENGTH), CONVERSATION_LEFT);
  setPhase(tcp ? ANSWERED : TALKING);
  return tcp ? segment(false, SYN | ACK, 0) : datagram(false);
}

function goOn(dice: u32): bool {
  const tcp = isTcp();
  const left = load<u32>(talk, CONVERSATION_LEFT);
  const client = (dice & 1) != 0;
  if (left == 0) {
    if (!tcp) return open();
    setPhase(dice < 32 ? SILENT : CLOSING);
    return dice < 32 ? segment(client, RST | ACK, 0) : segment(true, FIN | ACK, 0);
  }
  store<u32>(talk, left - 1, CONVERSATION_LEFT);
  if (dice < 2 && load<u32>(talk, CONVERSATION_SERVER_IFACE) != 0) return error(TIME_EXCEEDED, false);
  if (!tcp) return datagram(client);
  if (dice < 4) return stray(client);
  return segment(client, dice < 64 ? ACK : PSH | ACK, dice < 64 ? 0 : draw() >> 22);
}

function isTcp(): bool {
  return load<u8>(talk, CONVERSATION_PROTO) == <u8>TCP;
}

function setPhase(phase: u32): void {
  store<u8>(talk, <u8>phase, CONVERSATION_PHASE);
}

// -- packets

function put(field: i32, value: u32): void {
  store<u32>(packet + ((<usize>field) << 2), value);
}

function get(field: i32): u32 {
  return load<u32>(packet + ((<usize>field) << 2));
}

function tell(word: i32, value: u32): void {
  store<u32>(detail + ((<usize>word) << 2), value);
}

function blank(): void {
  const zero = i64x2.splat(0);
  for (let at: usize = 0; at < <usize>PACKET_BYTES; at += 16) v128.store(packet + at, zero);
  put(FIELD_CT_STATE, CT_FIRST);
  put(FIELD_TTL, 64);
  blankDetail();
}

function blankDetail(): void {
  const zero = i64x2.splat(0);
  for (let at: usize = 0; at < <usize>DETAIL_BYTES; at += 16) v128.store(detail + at, zero);
}

/** Where it comes from and goes to. */
function address(client: bool): void {
  blank();
  const proto: u32 = load<u8>(talk, CONVERSATION_PROTO);
  put(FIELD_PROTO, proto);
  let iface: u32;
  if (client) {
    v128.store(packet, v128.load(talk));
    iface = load<u32>(talk, CONVERSATION_CLIENT_IFACE);
  } else {
    const seen = talk + CONVERSATION_SEEN_AS;
    put(FIELD_SRC, load<u32>(seen, 4));
    put(FIELD_DST, load<u32>(seen));
    // an ICMP id is the same both ways
    put(FIELD_SPORT, load<u32>(seen + (proto == ICMP ? 8 : 12)));
    put(FIELD_DPORT, proto == ICMP ? 0 : load<u32>(seen, 8));
    iface = load<u32>(talk, CONVERSATION_SERVER_IFACE);
  }
  put(FIELD_IN_IFACE, iface);
  put(FIELD_FACTS, iface == 0 ? FACT_LOCAL : 0);
}

function measure(length: u32): void {
  put(FIELD_LENGTH, length);
  put(FIELD_TRANSPORT, min<u32>(255, length - 20));
}

/** `bytes` of payload; gives `client`. */
function segment(client: bool, flags: u32, bytes: u32): bool {
  address(client);
  put(FIELD_TCP_FLAGS, flags);
  put(FIELD_FACTS, get(FIELD_FACTS) | FACT_DF);
  measure(40 + bytes);
  const own: usize = talk + (client ? CONVERSATION_CLIENT_SEQ : CONVERSATION_SERVER_SEQ);
  const seq = load<u32>(own);
  store<u32>(own, seq + bytes + (flags & FIN) + ((flags & SYN) >> 1));
  const other: usize = talk + (client ? CONVERSATION_SERVER_SEQ : CONVERSATION_CLIENT_SEQ);
  const ack = (flags & ACK) != 0 ? load<u32>(other) : 0;
  tell(DETAIL_SEQ, seq);
  tell(DETAIL_ACK, ack);
  tell(DETAIL_SACK, ack);
  tell(DETAIL_WINDOW, WINDOW);
  tell(DETAIL_SEGMENT, bytes);
  return client;
}

/** A segment far outside the window. */
function stray(client: bool): bool {
  segment(client, ACK, 0);
  tell(DETAIL_SEQ, load<u32>(detail, DETAIL_SEQ * 4) + 0x10000000);
  return client;
}

function datagram(client: bool): bool {
  address(client);
  if (get(FIELD_PROTO) == ICMP) {
    put(FIELD_ICMP, client ? ECHO : 0);
    measure(84);
  } else {
    measure(28 + (draw() >> 22));
  }
  return client;
}

/** An ICMP error about what the server has seen last, from the server itself or from a router before it. */
function error(type: u32, itself: bool): bool {
  address(false);
  const seen = talk + CONVERSATION_SEEN_AS;
  const proto = get(FIELD_PROTO);
  const way = itself ? 0 : wayFor(get(FIELD_IN_IFACE));
  if (way != 0) put(FIELD_SRC, behind(way));
  put(FIELD_SPORT, 0);
  put(FIELD_DPORT, 0);
  put(FIELD_PROTO, ICMP);
  put(FIELD_ICMP, type);
  measure(ERROR_BYTES);
  tell(DETAIL_QUOTED, QUOTED_WHOLE);
  tell(DETAIL_QUOTED_SRC, load<u32>(seen));
  tell(DETAIL_QUOTED_DST, load<u32>(seen, 4));
  tell(DETAIL_QUOTED_PROTO, proto);
  tell(DETAIL_QUOTED_SPORT, load<u32>(seen, 8));
  tell(DETAIL_QUOTED_DPORT, proto == ICMP ? ECHO : load<u32>(seen, 12));
  return false;
}

/** The first packet, once more. */
function ask(): bool {
  if (!isTcp()) return datagram(true);
  store<u32>(talk, load<u32>(talk, CONVERSATION_CLIENT_SEQ) - 1, CONVERSATION_CLIENT_SEQ);
  return segment(true, SYN, 0);
}

/** Another conversation in place of this one. */
function open(): bool {
  aimed(packet);
  let proto = get(FIELD_PROTO);
  let sport = get(FIELD_SPORT);
  let dport = get(FIELD_DPORT);
  if (proto == ICMP) {
    dport = 0;
  } else if (proto != TCP && proto != UDP) {
    proto = UDP;
    sport = 1024 + below(64512);
    dport = below(65536);
  }
  let src = get(FIELD_SRC);
  let dst = get(FIELD_DST);
  let iface = get(FIELD_IN_IFACE);
  const own = load<u32>(traffic, TRAFFIC_OWN_COUNT);
  const dice = draw();
  if ((dice & 15) == 0) {
    const neighbour = talk == <usize>load<u32>(traffic, TRAFFIC_CONVERSATIONS) ? talk : talk - CONVERSATION_BYTES;
    if (load<u8>(neighbour, CONVERSATION_PROTO) == <u8>proto) {
      dst = load<u32>(neighbour, FIELD_DST * 4);
      sport = load<u32>(neighbour, FIELD_SPORT * 4);
      dport = load<u32>(neighbour, FIELD_DPORT * 4);
    }
  } else if ((dice & 15) == 1 && own != 0 && load<u32>(traffic, TRAFFIC_HOST_SPEAKS) != 0) {
    src = load<u32>(load<u32>(traffic, TRAFFIC_OWN) + (below(own) << 3));
    dst = behind(<usize>load<u32>(traffic, TRAFFIC_WAYS) + below(load<u32>(traffic, TRAFFIC_WAY_COUNT)) * WAY_BYTES);
    iface = 0;
  }
  store<u32>(talk, src);
  store<u32>(talk, dst, FIELD_DST * 4);
  store<u32>(talk, sport, FIELD_SPORT * 4);
  store<u32>(talk, dport, FIELD_DPORT * 4);
  store<u8>(talk, <u8>proto, CONVERSATION_PROTO);
  store<u8>(talk, <u8>OPENING, CONVERSATION_PHASE);
  store<u8>(talk, 0, CONVERSATION_IS_SEEN);
  store<u32>(talk, iface, CONVERSATION_CLIENT_IFACE);
  if (proto != TCP) return datagram(true);
  store<u32>(talk, draw(), CONVERSATION_CLIENT_SEQ);
  store<u32>(talk, draw(), CONVERSATION_SERVER_SEQ);
  return segment(true, SYN, 0);
}
