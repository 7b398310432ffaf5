// How the tracker follows a TCP connection: a state, and for each side what it may send and acknowledge.
//
// Follows net/netfilter/nf_conntrack_proto_tcp.c: tcp_conntracks[], tcp_new(), tcp_in_window(), nf_tcp_handle_invalid() and
// nf_conntrack_tcp_packet(); the numbers of the states are those of enum tcp_conntrack. Sequence numbers are compared
// modulo 2^32.

import type { Packet } from "../packet/packet.ts";
import { TCP_FLAGS } from "../packet/packet.ts";
import { u32At } from "../packet/bytes.ts";
import type { Timeouts } from "../host/timeouts.ts";
import type { Connection, Connections, Direction } from "./connection.ts";
import { opposite } from "./connection.ts";

export const TCP_STATE_NAMES = [
  ...["NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE"],
  "SYN_SENT2",
] as const;

const NONE = 0;
const SYN_SENT = 1;
const SYN_RECV = 2;
const ESTABLISHED = 3;
const FIN_WAIT = 4;
const CLOSE_WAIT = 5;
const LAST_ACK = 6;
const TIME_WAIT = 7;
const CLOSE = 8;
const SYN_SENT2 = 9;
const INVALID = 10;
const IGNORED = 11;

type Kind = "syn" | "synack" | "fin" | "ack" | "rst" | "none";

/** From state (by column) to state, for what the client and what the server sends. */
const [iv, ig] = [INVALID, IGNORED];
const TRANSITIONS: Readonly<Record<Direction, Readonly<Record<Kind, readonly number[]>>>> = {
  original: {
    syn: [1, 1, ig, ig, ig, ig, ig, 1, 1, 9],
    synack: [iv, iv, 2, iv, iv, iv, iv, iv, iv, 2],
    fin: [iv, iv, 4, 4, 6, 6, 6, 7, 8, iv],
    ack: [3, iv, 3, 3, 5, 5, 7, 7, 8, iv],
    rst: [iv, 8, 8, 8, 8, 8, 8, 8, 8, 8],
    none: [iv, iv, iv, iv, iv, iv, iv, iv, iv, iv],
  },
  reply: {
    syn: [iv, 9, iv, iv, iv, iv, iv, 1, iv, 9],
    synack: [iv, 2, ig, ig, ig, ig, ig, ig, ig, 2],
    fin: [iv, iv, 4, 4, 6, 6, 6, 7, 8, iv],
    ack: [iv, ig, 2, 3, 5, 5, 7, 7, 8, ig],
    rst: [iv, 8, 8, 8, 8, 8, 8, 8, 8, 8],
    none: [iv, iv, iv, iv, iv, iv, iv, iv, iv, iv],
  },
};

/** What is known of one side (struct ip_ct_tcp_state). */
interface Side {
  /** Behind the last byte it sent. */
  end: number;
  /** Behind the last byte it may send. */
  maxEnd: number;
  /** The largest window it has offered; 0: nothing was seen of it. */
  maxWindow: number;
  maxAck: number | null;
  scale: number;
  scales: boolean;
  sacks: boolean;
  /** It was first to close. */
  closes: boolean;
  liberal: boolean;
  /** It has sent what nobody has acknowledged. */
  unacknowledged: boolean;
}

export interface TcpState {
  state: number;
  readonly sides: Record<Direction, Side>;
  /** The last packet that counted, or was let through although it did not fit. `end`: of the last ACK, or of what was let through. */
  last: { kind: Kind; direction: Direction; seq: number; ack: number; end: number; window: number };
  /** Options of a SYN that was let through although it did not fit. */
  lastOptions: { scale: number; scales: boolean; sacks: boolean };
  repeats: number;
  simultaneousOpen: boolean;
  expectsChallenge: boolean;
}

const SMALLEST_ACK_WINDOW = 66000;
const MOST_REPEATS = 3;
const MOST_SCALE = 14;
const CLOSE_SECONDS = 120;

const before = (one: number, other: number): boolean => ((one - other) | 0) < 0;
const after = (one: number, other: number): boolean => before(other, one);
const u32 = (value: number): number => value >>> 0;

/** A packet that conntrack takes at all (tcp_error()): ECE, CWR and PSH may stand in any. */
export function hasValidFlags(flags: number): boolean {
  const { FIN, SYN, RST, ACK, URG, ECE, CWR, PSH } = TCP_FLAGS;
  const counted = flags & ~(ECE | CWR | PSH);
  const valid = [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];
  return valid.includes(counted);
}

/** tcp_new(). False: no connection begins so. */
export function beginTcp(connection: Connection, packet: Packet, loose: boolean): boolean {
  const next = TRANSITIONS.original[kindOf(packet)][NONE]!;
  if (next >= INVALID || (next !== SYN_SENT && !loose)) return false;
  const [client, server] = [unseen(), unseen()];
  client.end = endOf(packet);
  client.maxWindow = Math.max(1, packet.window);
  client.maxEnd = client.end;
  if (next === SYN_SENT) {
    Object.assign(client, optionsOf(packet) ?? {});
  } else {
    // picked up in the middle
    client.maxEnd = u32(client.end + client.maxWindow);
    for (const side of [client, server]) {
      side.sacks = true;
      side.liberal = true;
    }
  }
  connection.tcp = {
    state: NONE,
    sides: { original: client, reply: server },
    last: { kind: "none", direction: "original", seq: 0, ack: 0, end: 0, window: 0 },
    lastOptions: { scale: 0, scales: false, sacks: false },
    ...{ repeats: 0, simultaneousOpen: false, expectsChallenge: false },
  };
  return true;
}

/** "again": the connection is gone, and the packet is looked up once more. */
export type TcpVerdict = "valid" | "invalid" | "again";

export function followTcp(
  connection: Connection,
  packet: Packet,
  direction: Direction,
  connections: Connections,
  timeouts: Timeouts,
): TcpVerdict {
  const tcp = connection.tcp!;
  const kind = kindOf(packet);
  let old = tcp.state;
  let next = TRANSITIONS[direction][kind][old]!;
  const { sides, last } = tcp;
  let checked = false;

  if (next === SYN_SENT && old >= TIME_WAIT) {
    // a closed connection opened again
    if (sides.original.closes || sides.reply.closes || (last.direction === direction && last.kind === "rst")) {
      connections.kill(connection);
      return "again";
    }
    next = IGNORED;
  }
  if (next === IGNORED) {
    const answersLast = kind === "synack" && last.kind === "syn" && last.direction !== direction;
    if (!answersLast || packet.ack !== last.end) {
      letThrough(tcp, packet, kind, direction);
      return "valid";
    }
    // the answer to a SYN that was let through: client and server are in step, and so are we
    old = SYN_SENT;
    next = SYN_RECV;
    const sender = sides[last.direction];
    sender.end = last.end;
    sender.maxEnd = last.end;
    sender.maxWindow = Math.max(1, last.window);
    tcp.expectsChallenge = false;
    Object.assign(sender, unflagged(), tcp.lastOptions);
    const { liberal } = sides[direction];
    Object.assign(sides[direction], unseen(), { liberal });
  } else if (next === INVALID) {
    return "invalid";
  } else if (next === TIME_WAIT && old === LAST_ACK && kind === "ack") {
    if (last.direction !== direction && last.kind === "syn" && tcp.expectsChallenge) {
      tcp.expectsChallenge = false;
      return "valid";
    }
  } else if (next === SYN_SENT2) {
    tcp.simultaneousOpen = true;
  } else if (next === SYN_RECV && direction === "reply" && kind === "ack" && tcp.simultaneousOpen) {
    next = ESTABLISHED;
  } else if (next === CLOSE && kind === "rst") {
    const reset = judgeReset(connection, packet, direction);
    if (reset === "invalid") return "invalid";
    if (reset === "keeps") next = old;
    checked = reset === "unchecked" || (reset !== "fits" && answersIgnored(connection, packet, direction));
  }

  if (!checked) {
    const fits = inWindow(tcp, packet, kind, direction);
    if (fits === "ignored") return "valid";
    if (fits === "invalid") {
      lowerTimeout(connection, kind, direction, connections, timeouts);
      return "invalid";
    }
  }
  last.kind = kind;
  last.direction = direction;
  tcp.state = next;
  if (old !== next && next === FIN_WAIT) sides[direction].closes = true;
  let timeout = timeoutOf(tcp, kind, next, timeouts);
  if (next !== old) connection.news.add("protocol");

  if (!connection.seenReply) {
    // nobody but a reset has answered
    if (kind === "rst") {
      connections.account(connection, direction, packet);
      connections.kill(connection);
      return "valid";
    }
    if (kind === "syn" && old === SYN_SENT) return "valid";
    if (next === ESTABLISHED) timeout = Math.min(timeout, timeouts.tcp.UNACK);
  } else if (!connection.assured && (old === SYN_RECV || old === ESTABLISHED) && next === ESTABLISHED) {
    connection.assured = true;
    connection.news.add("assured");
  }
  connections.refresh(connection, timeout);
  connections.account(connection, direction, packet);
  return "valid";
}

/** The host has reset it (nf_conntrack_tcp_set_closing()). */
export function closeTcp(connection: Connection, connections: Connections, timeouts: Timeouts): void {
  const { tcp } = connection;
  if (tcp === null || !connection.confirmed) return;
  const old = tcp.state;
  tcp.state = CLOSE;
  if (old === CLOSE) return;
  connections.refresh(connection, timeouts.tcp.CLOSE);
  connection.news.add("protocol");
}

function kindOf({ tcpFlags }: Packet): Kind {
  const has = (flag: number): boolean => (tcpFlags & flag) !== 0;
  if (has(TCP_FLAGS.RST)) return "rst";
  if (has(TCP_FLAGS.SYN)) return has(TCP_FLAGS.ACK) ? "synack" : "syn";
  if (has(TCP_FLAGS.FIN)) return "fin";
  return has(TCP_FLAGS.ACK) ? "ack" : "none";
}

function unflagged(): Pick<Side, "scales" | "sacks" | "closes" | "liberal" | "unacknowledged" | "maxAck"> {
  return { scales: false, sacks: false, closes: false, liberal: false, unacknowledged: false, maxAck: null };
}

function unseen(): Side {
  return { end: 0, maxEnd: 0, maxWindow: 0, scale: 0, ...unflagged() };
}

function headerBytes({ payload }: Packet): number {
  return payload === null ? 20 : (payload[12]! >>> 4) * 4;
}

/** Behind the last byte of the segment; SYN and FIN count as one. */
function endOf(packet: Packet): number {
  const { seq, length, headerLength, tcpFlags } = packet;
  const flags = [TCP_FLAGS.SYN, TCP_FLAGS.FIN].filter((flag) => (tcpFlags & flag) !== 0).length;
  return u32(seq + length - headerLength - headerBytes(packet) + flags);
}

function letThrough(tcp: TcpState, packet: Packet, kind: Kind, direction: Direction): void {
  const { seq, window } = packet;
  tcp.last = { ...tcp.last, kind, direction, seq, end: endOf(packet), window };
  if (kind === "syn" && direction === "original") {
    const options = optionsOf(packet);
    tcp.lastOptions = {
      scale: options?.scales === true ? options.scale : 0,
      scales: options?.scales === true,
      sacks: options?.sacks === true,
    };
    tcp.simultaneousOpen = false;
    tcp.expectsChallenge = tcp.state === LAST_ACK;
  }
  if (tcp.state === SYN_SENT && kind === "ack" && direction === "reply") tcp.last.ack = packet.ack;
}

/**
 * What a reset does: "unchecked": it closes, wherever it stands; "keeps": it may be answered, the state stays; "fits":
 * the window alone decides.
 */
function judgeReset(
  { tcp, assured }: Connection,
  { seq }: Packet,
  direction: Direction,
): "unchecked" | "invalid" | "keeps" | "fits" | "asked" {
  const { state, sides, last } = tcp!;
  if ([FIN_WAIT, LAST_ACK, TIME_WAIT, CLOSE, CLOSE_WAIT].includes(state)) return "unchecked";
  const { maxAck } = sides[opposite(direction)];
  if (maxAck === null || last.kind === "syn") return "asked";
  // nf_conntrack_tcp_established()
  const established = state === ESTABLISHED && assured;
  if (seq === 0 && !established) return "fits";
  if (before(seq, maxAck)) return "invalid";
  if (!established || seq === maxAck) return "fits";
  if (last.kind === "ack" && last.direction === direction && seq === last.end) return "fits";
  return "keeps";
}

/** A reset that answers a SYN or an ACK which was let through although it did not fit. */
function answersIgnored({ tcp, assured, seenReply }: Connection, packet: Packet, direction: Direction): boolean {
  const { last, state } = tcp!;
  // who sent the SYN does not answer it
  const isAnswer = seenReply && last.kind === "syn" && last.direction !== direction;
  const known = isAnswer || (!assured && last.kind === "ack");
  if (known && packet.ack === last.end) return true;
  return state === SYN_SENT && last.kind === "ack" && last.direction === "reply" && packet.seq === last.ack;
}

function initSender(sender: Side, receiver: Side, packet: Packet, end: number, direction: Direction): void {
  sender.end = end;
  sender.maxEnd = end;
  sender.maxWindow = Math.max(1, packet.window);
  const options = optionsOf(packet);
  if (options !== null) {
    // the options of this SYN alone count
    const { liberal } = sender;
    Object.assign(sender, unflagged(), { liberal }, options);
  }
  if (direction === "reply" && !(sender.scales && receiver.scales)) {
    sender.scale = 0;
    receiver.scale = 0;
  }
}

/** tcp_in_window(). "ignored": it does not fit, but goes through as part of the connection. */
function inWindow(tcp: TcpState, packet: Packet, kind: Kind, direction: Direction): "fits" | "invalid" | "ignored" {
  const sender = tcp.sides[direction];
  const receiver = tcp.sides[opposite(direction)];
  const flag = (bit: number): boolean => (packet.tcpFlags & bit) !== 0;
  const syn = flag(TCP_FLAGS.SYN);
  const isAck = flag(TCP_FLAGS.ACK);
  const rst = flag(TCP_FLAGS.RST);
  let { seq, ack } = packet;
  let window = packet.window;
  let end = endOf(packet);
  let sack = receiver.sacks ? highestSack(packet) : ack;

  if (sender.maxWindow === 0) {
    if (syn) {
      initSender(sender, receiver, packet, end, direction);
      if (!isAck) return "fits";
    } else {
      // the history of the connection is lost
      sender.end = end;
      sender.maxWindow = Math.max(1, window * 2 ** sender.scale);
      sender.maxEnd = u32(end + sender.maxWindow);
      if (receiver.maxWindow === 0) {
        receiver.end = sack;
        receiver.maxEnd = sack;
      } else if (sack === u32(receiver.end + 1)) {
        receiver.end = u32(receiver.end + 1);
      }
    }
  } else if (syn && after(end, sender.end) && (tcp.state === SYN_SENT || tcp.state === SYN_RECV)) {
    initSender(sender, receiver, packet, end, direction);
    if (direction === "reply" && !isAck) return "fits";
  }

  if (!isAck || (rst && ack === 0)) {
    ack = receiver.end;
    sack = receiver.end;
  }
  if (rst && seq === 0 && tcp.state === SYN_SENT) {
    seq = sender.end;
    end = sender.end;
  }

  const ackWindow = Math.max(sender.maxWindow, SMALLEST_ACK_WINDOW);
  const ackedEnough = after(sack, receiver.end - ackWindow - 1);
  const notTooOld = after(end, sender.end - receiver.maxWindow - 1);
  const ackedSent = before(sack, receiver.end + 1);
  const otherwise = (verdict: "invalid" | "ignored"): "fits" | "invalid" | "ignored" =>
    sender.liberal ? "fits" : verdict;
  if (!before(seq, sender.maxEnd + 1)) {
    const overshot = u32(end - sender.maxEnd + 1);
    const near = receiver.maxWindow !== 0 && notTooOld && ackedEnough && overshot <= receiver.maxWindow && ackedSent;
    if (!near) return otherwise("invalid");
    sender.end = end;
    sender.unacknowledged = true;
    return otherwise("ignored");
  }
  if (!ackedSent) return otherwise("invalid");
  if (receiver.maxWindow !== 0 && !notTooOld) return otherwise("ignored");
  if (!ackedEnough) return otherwise("ignored");

  if (!syn) window *= 2 ** sender.scale;
  sender.maxWindow = Math.max(sender.maxWindow, u32(window + (sack - ack)));
  if (after(end, sender.end)) {
    sender.end = end;
    sender.unacknowledged = true;
  }
  if (isAck && (sender.maxAck === null || after(ack, sender.maxAck))) sender.maxAck = ack;
  if (receiver.maxWindow !== 0 && after(end, sender.maxEnd)) {
    receiver.maxWindow = u32(receiver.maxWindow + end - sender.maxEnd);
  }
  if (after(u32(sack + window), receiver.maxEnd - 1)) {
    receiver.maxEnd = u32(sack + window + (window === 0 ? 1 : 0));
  }
  if (ack === receiver.end) receiver.unacknowledged = false;
  if (kind === "ack") countRepeats(tcp, direction, { seq, ack, end, window: packet.window });
  return "fits";
}

function countRepeats(
  tcp: TcpState,
  direction: Direction,
  now: { seq: number; ack: number; end: number; window: number },
): void {
  const { last } = tcp;
  const same = (["seq", "ack", "end", "window"] as const).every((key) => last[key] === now[key]);
  if (same && last.direction === direction) {
    tcp.repeats++;
  } else {
    Object.assign(last, now, { direction });
    tcp.repeats = 0;
  }
}

function timeoutOf(tcp: TcpState, kind: Kind, next: number, { tcp: seconds }: Timeouts): number {
  const usual = seconds[TCP_STATE_NAMES[next] as keyof Timeouts["tcp"]];
  const { original, reply } = tcp.sides;
  if (tcp.repeats >= MOST_REPEATS && usual > seconds.RETRANS) return seconds.RETRANS;
  if (kind === "rst") return seconds.CLOSE;
  if ((original.unacknowledged || reply.unacknowledged) && usual > seconds.UNACK) return seconds.UNACK;
  if (tcp.last.window === 0 && usual > seconds.RETRANS) return seconds.RETRANS;
  return usual;
}

/** nf_tcp_handle_invalid(): both sides seem to close, but we are out of step. */
function lowerTimeout(
  connection: Connection,
  kind: Kind,
  direction: Direction,
  connections: Connections,
  timeouts: Timeouts,
): void {
  if (!connection.assured || (kind !== "rst" && kind !== "fin")) return;
  const { last } = connection.tcp!;
  if (last.direction !== direction && (last.kind === "fin" || last.kind === "rst")) {
    const left = connection.expires - connections.now;
    if (left >= CLOSE_SECONDS && left > timeouts.tcp.UNACK) connections.refresh(connection, timeouts.tcp.UNACK);
  } else {
    last.kind = kind;
    last.direction = direction;
  }
}

const OPTION_END = 0;
const OPTION_NOOP = 1;
const OPTION_SCALE = 3;
const OPTION_SACK_PERMITTED = 4;
const OPTION_SACK = 5;

/** tcp_options(). null: the segment has none, and what is known of the side stays. */
function optionsOf(packet: Packet): { scale: number; scales: boolean; sacks: boolean } | null {
  const found = { scale: 0, scales: false, sacks: false };
  const bytes = optionBytes(packet);
  if (bytes.length === 0) return null;
  for (const { kind, data } of options(bytes)) {
    if (kind === OPTION_SACK_PERMITTED && data.length === 0) found.sacks = true;
    if (kind === OPTION_SCALE && data.length === 1) {
      found.scale = Math.min(data[0]!, MOST_SCALE);
      found.scales = true;
    }
  }
  return found;
}

/** tcp_sack(): the right edge of the last block that is acknowledged. */
function highestSack(packet: Packet): number {
  let highest = packet.ack;
  for (const { kind, data } of options(optionBytes(packet))) {
    if (kind !== OPTION_SACK || data.length < 8 || data.length % 8 !== 0) continue;
    for (let at = 4; at < data.length; at += 8) if (after(u32At(data, at), highest)) highest = u32At(data, at);
    break;
  }
  return highest;
}

function optionBytes(packet: Packet): Uint8Array {
  return packet.payload === null ? new Uint8Array(0) : packet.payload.subarray(20, headerBytes(packet));
}

/** Up to the first that is malformed. */
function* options(bytes: Uint8Array): Iterable<{ kind: number; data: Uint8Array }> {
  for (let at = 0; at < bytes.length;) {
    const kind = bytes[at]!;
    if (kind === OPTION_END) return;
    if (kind === OPTION_NOOP) {
      at++;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (length < 2 || at + length > bytes.length) return;
    yield { kind, data: bytes.subarray(at + 2, at + length) };
    at += length;
  }
}
