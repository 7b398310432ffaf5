// SCTP associations as connection tracking follows them.
//
// Follows nf_conntrack_sctp_packet() and sctp_new() in net/netfilter/nf_conntrack_proto_sctp.c of Linux 6.18.44; before
// 6.18 every INIT counted, also one that says nothing new.

import type { Timeouts } from "../host/timeouts.ts";
import type { Packet } from "../packet/packet.ts";
import { readSctp } from "../packet/sctp.ts";
import type { SctpChunk, SctpPacket } from "../packet/sctp.ts";
import type { Connection, Connections, Direction } from "./connection.ts";
import { opposite } from "./connection.ts";

/** enum sctp_conntrack. */
export const SCTP_STATES = [
  ...["NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD"],
  ...["SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT"],
] as const;
type State = (typeof SCTP_STATES)[number];

export interface SctpState {
  state: State;
  /** The verification tag that packets of a direction bear; 0: not known. */
  readonly tags: Record<Direction, number>;
  /** Has sent an INIT. */
  readonly inits: Record<Direction, boolean>;
  /** The direction of a heartbeat with another tag, which an answer has not confirmed. */
  strayHeartbeat: Direction | null;
}

const DATA = 0;
const INIT = 1;
const INIT_ACK = 2;
const HEARTBEAT = 4;
const HEARTBEAT_ACK = 5;
const ABORT = 6;
const SHUTDOWN = 7;
const SHUTDOWN_ACK = 8;
const ERROR = 9;
const COOKIE_ECHO = 10;
const COOKIE_ACK = 11;
const SHUTDOWN_COMPLETE = 14;
/** The tag is the sender's own: it knows no other. */
const FLAG_T = 1;

/** Alone in their packet. */
const ALONE: readonly number[] = [INIT, INIT_ACK, SHUTDOWN_COMPLETE];
/** First in their packet. */
const FIRST: readonly number[] = [COOKIE_ACK, COOKIE_ECHO];
/** No association begins with them. */
const NEVER_FIRST: readonly number[] = [ABORT, SHUTDOWN_COMPLETE, COOKIE_ACK];
/** Their tags have rules of their own. */
const OWN_TAG_RULES: readonly number[] = [
  ...[INIT, SHUTDOWN_COMPLETE, COOKIE_ECHO, ABORT, SHUTDOWN_ACK, HEARTBEAT, HEARTBEAT_ACK],
];

const STATES_BY_LETTERS: Readonly<Record<string, State>> = {
  CL: "CLOSED",
  CW: "COOKIE_WAIT",
  CE: "COOKIE_ECHOED",
  ES: "ESTABLISHED",
  SS: "SHUTDOWN_SENT",
  SR: "SHUTDOWN_RECD",
  SA: "SHUTDOWN_ACK_SENT",
  HS: "HEARTBEAT_SENT",
};

/** By direction and chunk: the state that follows each of SCTP_STATES; `--`: the packet is invalid. */
const TRANSITIONS: Readonly<Record<Direction, Readonly<Record<number, string>>>> = {
  original: {
    [INIT]: "CL CL CW CE ES CL CL SA CW",
    [INIT_ACK]: "CL CL CW CE ES SS SR SA CL",
    [ABORT]: "CL CL CL CL CL CL CL CL CL",
    [SHUTDOWN]: "CL CL CW CE SS SS SR SA CL",
    [SHUTDOWN_ACK]: "SA CL CW CE ES SA SA SA SA",
    [ERROR]: "CL CL CW CE ES SS SR SA CL",
    [COOKIE_ECHO]: "CL CL CE CE ES SS SR SA CL",
    [COOKIE_ACK]: "CL CL CW ES ES SS SR SA CL",
    [SHUTDOWN_COMPLETE]: "CL CL CW CE ES SS SR CL CL",
    [HEARTBEAT]: "HS CL CW CE ES SS SR SA HS",
    [HEARTBEAT_ACK]: "CL CL CW CE ES SS SR SA HS",
  },
  reply: {
    [INIT]: "-- CL CW CE ES SS SR SA --",
    [INIT_ACK]: "-- CW CW CE ES SS SR SA --",
    [ABORT]: "-- CL CL CL CL CL CL CL --",
    [SHUTDOWN]: "-- CL CW CE SR SS SR SA --",
    [SHUTDOWN_ACK]: "-- CL CW CE ES SA SA SA --",
    [ERROR]: "-- CL CW CL ES SS SR SA --",
    [COOKIE_ECHO]: "-- CL CE CE ES SS SR SA --",
    [COOKIE_ACK]: "-- CL CW ES ES SS SR SA --",
    [SHUTDOWN_COMPLETE]: "-- CL CW CE ES SS SR CL --",
    [HEARTBEAT]: "-- CL CW CE ES SS SR SA HS",
    [HEARTBEAT_ACK]: "-- CL CW CE ES SS SR SA ES",
  },
};

/** Chunks that are not in the table change nothing; null: invalid. */
function stateAfter(direction: Direction, state: State, type: number): State | null {
  const row = TRANSITIONS[direction][type];
  if (row === undefined) return state;
  return STATES_BY_LETTERS[row.split(" ")[SCTP_STATES.indexOf(state)]!] ?? null;
}

/** `checked`: the checksum must be right. */
export function followSctp(
  connection: Connection,
  packet: Packet,
  direction: Direction,
  checked: boolean,
  connections: Connections,
  timeouts: Timeouts,
): "valid" | "invalid" {
  const sctp = packet.payload === null ? null : readSctp(packet.payload);
  if (sctp === null || (checked && sctp.badChecksum) || !isWellMade(sctp.chunks)) return "invalid";
  const types = sctp.chunks.map(({ type }) => type);
  if (!connection.confirmed) {
    if (types.some((type) => NEVER_FIRST.includes(type))) return "invalid";
    const begun = beginSctp(sctp);
    if (begun === null) return "invalid";
    connection.sctp = begun;
  }
  const own = connection.sctp!;
  if (!types.some((type) => OWN_TAG_RULES.includes(type)) && sctp.tag !== own.tags[direction]) return "invalid";

  let isFollowed = true;
  for (const chunk of sctp.chunks) {
    const tag = judgeTag(own, sctp, chunk, direction, isFollowed);
    if (tag === "invalid") return "invalid";
    if (tag === "stray") {
      isFollowed = false;
      continue;
    }
    const old = own.state;
    const next = stateAfter(direction, old, chunk.type);
    if (next === null) return "invalid";
    if (ALONE.includes(chunk.type) && !takeInitTag(own, chunk, direction)) return "invalid";
    // nobody keeps an entry alive by opening again and again
    if (chunk.type === INIT && old === "CLOSED" && next === "CLOSED" && connection.confirmed) isFollowed = false;
    own.state = next;
    if (old === next) continue;
    connection.news.add("protocol");
    if (next === "ESTABLISHED" && !connection.assured) {
      connection.assured = true;
      connection.news.add("assured");
    }
  }
  if (isFollowed) {
    connections.refresh(connection, timeouts.sctp[own.state as keyof Timeouts["sctp"]]);
    connections.account(connection, direction, packet);
  }
  return "valid";
}

/** do_basic_checks(). */
function isWellMade(chunks: readonly SctpChunk[]): boolean {
  const alone = chunks.findIndex(({ type }) => ALONE.includes(type));
  return (
    chunks.length > 0 &&
    chunks.every(({ type, length }, at) => {
      const mustBeFirst = FIRST.includes(type) || (alone >= 0 && at >= alone);
      return length > 0 && (at === 0 || !mustBeFirst);
    })
  );
}

/** sctp_new(); null: no association begins so. */
function beginSctp({ tag, chunks }: SctpPacket): SctpState | null {
  const tags = { original: 0, reply: 0 };
  for (const { type, initTag } of chunks) {
    if (!(type in TRANSITIONS.original)) return null;
    if (type === INIT) {
      if (tag !== 0 || initTag === null) return null;
      tags.reply = initTag;
    } else if (type === HEARTBEAT) {
      tags.original = tag;
    } else if (type === SHUTDOWN_ACK) {
      tags.reply = tag;
    }
  }
  return { state: "NONE", tags, inits: { original: false, reply: false }, strayHeartbeat: null };
}

/** Whether the packet's tag allows the chunk; "stray": it does, but the chunk tells nothing. */
function judgeTag(
  own: SctpState,
  { tag, chunks }: SctpPacket,
  { type, flags }: SctpChunk,
  direction: Direction,
  isFollowed: boolean,
): "valid" | "invalid" | "stray" {
  const other = opposite(direction);
  const isOwn = tag === own.tags[direction];
  const mayBeStray = isFollowed && !chunks.some((one) => one.type === DATA);
  switch (type) {
    case INIT:
      return tag === 0 ? "valid" : "invalid";
    case ABORT:
    case SHUTDOWN_COMPLETE:
      return tag === own.tags[(flags & FLAG_T) === 0 ? direction : other] ? "valid" : "invalid";
    case COOKIE_ECHO:
      return isOwn ? "valid" : "invalid";
    case COOKIE_ACK:
      own.inits.original = false;
      own.inits.reply = false;
      return "valid";
    case HEARTBEAT:
      if (own.tags[direction] === 0) own.tags[direction] = tag;
      else if (isOwn) own.strayHeartbeat = null;
      else if (!mayBeStray) return "invalid";
      else {
        own.strayHeartbeat = direction;
        return "stray";
      }
      return "valid";
    case HEARTBEAT_ACK:
      if (own.tags[direction] === 0) own.tags[direction] = tag;
      else if (isOwn) own.strayHeartbeat = null;
      else {
        // the other side may have begun anew, with other tags
        if (!mayBeStray || own.strayHeartbeat !== other) return "invalid";
        own.strayHeartbeat = null;
        own.tags[direction] = tag;
        own.tags[other] = 0;
      }
      return "valid";
    default:
      return "valid";
  }
}

/** What INIT and INIT ACK tell of the other side's tag; false: they contradict what is known. */
function takeInitTag({ state, tags, inits }: SctpState, { type, initTag }: SctpChunk, direction: Direction): boolean {
  if (type === SHUTDOWN_COMPLETE) return true;
  if (initTag === null) return false;
  const other = opposite(direction);
  if (type === INIT) {
    // it says nothing new if it comes late or again
    if (state !== "NONE" && tags[other] === initTag) return true;
    if (inits[direction] && inits[other]) inits[other] = false;
    inits[direction] = true;
  } else {
    const known = tags[other];
    if (!inits[other] && known !== 0 && known !== initTag) return false;
    if (inits[direction] && inits[other] && known !== initTag) return false;
  }
  tags[other] = initTag;
  return true;
}
