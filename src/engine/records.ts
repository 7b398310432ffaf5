// Arrivals -> packet records, decision records -> Outcomes: the only place where names and numbers meet.

import type { CtState, Generated, Journey, Outcome, RuleRef } from "../classifier.ts";
import type { InterfaceTable } from "../compile/interfaces.ts";
import type { RuleTable } from "../compile/ruletable.ts";
import * as layout from "../layout.ts";
import { PROTO_AH, PROTO_ESP, PROTO_IPCOMP } from "../net/protocol.ts";
import { isSummedWithAddresses } from "../packet/decode.ts";
import { fragmentSizes } from "../packet/describe.ts";
import type { Arrival, Packet } from "../packet/packet.ts";
import type { Endpoints } from "../packet/rewrite.ts";
import type { Hook } from "../rules/ruleset.ts";
import type { Datagrams } from "./datagrams.ts";

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const DCCP = 33;
const GRE = 47;
const SCTP = 132;
const UDPLITE = 136;
/** Protocol type of GRE version 1: PPTP. */
const GRE_PPTP = 0x880b;

/** Least bytes of the transport header that the matches of a protocol read. */
const HEADER_BYTES: ReadonlyMap<number, number> = new Map([
  [ICMP, 8],
  [TCP, 20],
  [UDP, 8],
  [DCCP, 12],
  [SCTP, 12],
  [PROTO_ESP, 8],
  [PROTO_AH, 12],
  [PROTO_IPCOMP, 4],
  [UDPLITE, 8],
]);

const FRAMES = {
  host: layout.FRAME_HOST,
  broadcast: layout.FRAME_BROADCAST,
  multicast: layout.FRAME_MULTICAST,
  otherhost: layout.FRAME_OTHERHOST,
} as const;

/** A later fragment, or a packet whose transport header is cut short for some match that asks for it. */
export function isOdd(packet: Packet): boolean {
  return packet.fragmentOffset > 0 || packet.length - packet.headerLength < (HEADER_BYTES.get(packet.proto) ?? 0);
}

/** Writes one record; `words` are FIELD_COUNT words. */
export function writeArrival(words: Uint32Array, arrival: Arrival, interfaces: InterfaceTable): void {
  words[layout.FIELD_IN_IFACE] = interfaces.numberOf(arrival.inIface);
  words[layout.FIELD_OUT_IFACE] = interfaces.numberOf(arrival.boundIface);
  words[layout.FIELD_CT_STATE] =
    arrival.ctState === undefined ? layout.CT_FIRST : CT_STATES.indexOf(arrival.ctState) << 2;
  words[layout.FIELD_MARK] = arrival.mark;
  words[layout.FIELD_FACTS] =
    (FRAMES[arrival.frame] << layout.FACT_FRAME_SHIFT) |
    (arrival.inIface === null ? layout.FACT_LOCAL : 0) |
    (arrival.chooseSource ? layout.FACT_CHOOSE_SOURCE : 0) |
    (arrival.boundIface === null ? 0 : layout.FACT_BOUND);
  writeHeader(words, arrival.packet);
}

/** Facts of the arrival, not of the packet. */
const ARRIVAL_FACTS =
  (3 << layout.FACT_FRAME_SHIFT) | layout.FACT_LOCAL | layout.FACT_CHOOSE_SOURCE | layout.FACT_BOUND;

/** Writes the words that are the packet's own. */
export function writeHeader(words: Uint32Array, packet: Packet): void {
  words[layout.FIELD_SRC] = packet.src;
  words[layout.FIELD_DST] = packet.dst;
  words[layout.FIELD_SPORT] = packet.proto === ICMP ? packet.icmpId : packet.sport;
  words[layout.FIELD_DPORT] = packet.dport;
  words[layout.FIELD_PROTO] = packet.proto;
  words[layout.FIELD_TCP_FLAGS] = packet.tcpFlags;
  words[layout.FIELD_ICMP] = (packet.icmpType << 8) | packet.icmpCode;
  words[layout.FIELD_TRANSPORT] = transportOf(packet);
  words[layout.FIELD_TTL] = packet.ttl;
  words[layout.FIELD_TOS] = packet.tos;
  words[layout.FIELD_LENGTH] = packet.length;
  words[layout.FIELD_FACTS] =
    (words[layout.FIELD_FACTS]! & ARRIVAL_FACTS) |
    (packet.df ? layout.FACT_DF : 0) |
    (packet.moreFragments ? layout.FACT_MORE_FRAGMENTS : 0) |
    (packet.badChecksum ? layout.FACT_BAD_CHECKSUM : 0) |
    (isMalformed(packet) ? layout.FACT_MALFORMED : 0) |
    (isOdd(packet) ? layout.FACT_ODD : 0) |
    (packet.sourceRouted ? layout.FACT_SOURCE_ROUTED : 0) |
    greFacts(packet) |
    (isSummedWithAddresses(packet) ? layout.FACT_SUMMED : 0);
}

/** gre_manip_pkt() in net/netfilter/nf_nat_proto.c. */
export function greFacts({ proto, payload }: Packet): number {
  if (proto !== GRE || payload === null) return 0;
  if (payload.length < 8) return layout.FACT_FIXED_DESTINATION | layout.FACT_FIXED_SOURCE;
  return (payload[1]! & 7) > 1 ? layout.FACT_FIXED_DESTINATION : 0;
}

function transportOf(packet: Packet): number {
  if (packet.fragmentOffset === 0) return Math.min(255, packet.length - packet.headerLength);
  return packet.fragmentOffset === 1 ? layout.TRANSPORT_OFFSET_1 : layout.TRANSPORT_LATER;
}

/** Least bytes that conntrack needs of a protocol's header. */
const TRACKED_BYTES: ReadonlyMap<number, number> = new Map([
  [ICMP, 8],
  [TCP, 20],
  [UDP, 8],
  [SCTP, 12],
  [UDPLITE, 8],
]);

/** The header is not one that conntrack takes: tcp_error(), udp_error(), icmp_error() and those of other protocols. */
function isMalformed(packet: Packet): boolean {
  const available = packet.length - packet.headerLength;
  if (available < (TRACKED_BYTES.get(packet.proto) ?? 0)) return true;
  const { payload } = packet;
  if (payload === null) return false;
  const u16 = (at: number): number => (payload[at]! << 8) | payload[at + 1]!;
  switch (packet.proto) {
    case TCP: {
      const dataOffset = (payload[12]! >>> 4) * 4;
      return dataOffset < 20 || dataOffset > available;
    }
    case UDP:
      return u16(4) < 8 || u16(4) > available;
    case UDPLITE: {
      const covered = u16(4) === 0 ? available : u16(4);
      return covered < 8 || covered > available || u16(6) === 0;
    }
    case GRE:
      return payload.length >= 8 && (payload[1]! & 7) === 1 && u16(2) !== GRE_PPTP;
    default:
      return false;
  }
}

/** The arrival that a synthetic record stands for. */
export function readArrival(words: Uint32Array, id: number, interfaces: InterfaceTable): Arrival {
  const proto = words[layout.FIELD_PROTO]!;
  const icmp = proto === ICMP;
  const facts = words[layout.FIELD_FACTS]!;
  const ctState = words[layout.FIELD_CT_STATE]!;
  return {
    id,
    inIface: interfaces.nameOf(words[layout.FIELD_IN_IFACE]!),
    chooseSource: false,
    frame: "host",
    srcMac: null,
    mark: words[layout.FIELD_MARK]!,
    uid: 0,
    gid: 0,
    boundIface: null,
    time: 0,
    ...(ctState === layout.CT_FIRST ? {} : { ctState: CT_STATES[ctState >>> 2]! }),
    packet: {
      src: words[layout.FIELD_SRC]!,
      dst: words[layout.FIELD_DST]!,
      proto,
      sport: icmp ? 0 : words[layout.FIELD_SPORT]!,
      dport: words[layout.FIELD_DPORT]!,
      tcpFlags: words[layout.FIELD_TCP_FLAGS]!,
      icmpType: words[layout.FIELD_ICMP]! >>> 8,
      icmpCode: words[layout.FIELD_ICMP]! & 255,
      icmpId: icmp ? words[layout.FIELD_SPORT]! : 0,
      icmpSeq: 0,
      ttl: words[layout.FIELD_TTL]!,
      tos: words[layout.FIELD_TOS]!,
      length: words[layout.FIELD_LENGTH]!,
      headerLength: 20,
      sourceRouted: false,
      ipId: 0,
      df: (facts & layout.FACT_DF) !== 0,
      moreFragments: false,
      fragmentOffset: 0,
      badChecksum: false,
      seq: 0,
      ack: 0,
      window: 0,
      inner: null,
      payload: null,
    },
  };
}

const HOOKS: readonly Hook[] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
export const PLACES = [...HOOKS, "routing", "before-netfilter", "transmit"] as const;
export const VERDICTS = ["forwarded", "sent", "delivered", "dropped", "rejected"] as const;
const CT_STATES: readonly CtState[] = ["INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED"];
const ERRNO_NAMES: ReadonlyMap<number, string> = new Map([
  [layout.ERRNO_EPERM, "EPERM"],
  [layout.ERRNO_EIO, "EIO"],
  [layout.ERRNO_EMSGSIZE, "EMSGSIZE"],
  [layout.ERRNO_EACCES, "EACCES"],
  [layout.ERRNO_EINVAL, "EINVAL"],
  [layout.ERRNO_ENETUNREACH, "ENETUNREACH"],
  [layout.ERRNO_EHOSTUNREACH, "EHOSTUNREACH"],
]);

/** Why the engine gives no answer; null: it does. */
export function unmodelled(view: DataView, at: number): string | null {
  if (view.getUint8(at + layout.DECISION_VERDICT) !== layout.VERDICT_UNMODELLED) return null;
  return REASONS.get(view.getUint8(at + layout.DECISION_WHERE))!;
}

const REASONS: ReadonlyMap<number, string> = new Map([
  [layout.UNMODELLED_SOURCE_ROUTE, "source routing is not modelled"],
  [
    layout.UNMODELLED_BYTES,
    "it is put together or cut within the host, and its bytes are not known, or not read as here",
  ],
  [layout.UNMODELLED_PROTOCOL, "connections of its protocol are not modelled"],
  [layout.UNMODELLED_PAYLOAD, "its payload, which a rule asks, is not known"],
  [layout.UNMODELLED_WHOLE, "its bytes, which a rule asks, are not all known"],
  [layout.UNMODELLED_BROKEN, "it is broken, and a negated test asks for what is broken: not modelled"],
  [layout.UNMODELLED_ENDLESS, "it comes in by lo again and again, without end"],
  [layout.UNMODELLED_ANSWERS, "the host answers it more often than the engine tells"],
]);

export interface OutcomeContext {
  readonly interfaces: InterfaceTable;
  readonly rules: RuleTable;
  readonly tracking: boolean;
  readonly datagrams: Pick<Datagrams, "sizesOf" | "pathBefore">;
}

/** Of the decision record at `at`, about a packet that is thus in the end. */
export function readJourney(view: DataView, at: number, packet: Packet, context: OutcomeContext): Journey {
  const word = (offset: number): number => view.getUint32(at + offset, true);
  const number = view.getUint8(at + layout.DECISION_VERDICT);
  const verdict = number === layout.VERDICT_HELD ? "held" : VERDICTS[number]!;
  const ended = number >= layout.VERDICT_DROPPED;
  const mtu = view.getUint16(at + layout.DECISION_MTU, true);
  const flags = view.getUint8(at + layout.DECISION_FLAGS);
  const iface = context.interfaces.nameOf(word(layout.DECISION_IFACE));
  return {
    verdict,
    where: ended ? PLACES[view.getUint8(at + layout.DECISION_WHERE)]! : null,
    iface,
    path: [
      ...context.datagrams.pathBefore(at),
      ...pathOf(view.getUint8(at + layout.DECISION_LOOPS), word(layout.DECISION_PATH)),
    ],
    ...((flags & layout.DECISION_DELIVERED) === 0 ? {} : { delivered: iface! }),
    ...(mtu === 0 ? {} : { fragments: context.datagrams.sizesOf(at) ?? fragmentSizes(packet, mtu) }),
  };
}

/**
 * Of the decision record at `at`, about this packet. `generated`: what the host made meanwhile; `inner`: what an ICMP error
 * quotes, if NAT has rewritten it.
 */
export function readOutcome(
  view: DataView,
  at: number,
  packet: Packet,
  context: OutcomeContext,
  generated: readonly Generated[] = [],
  inner: Endpoints | null = null,
): Outcome {
  const { proto } = packet;
  const word = (offset: number): number => view.getUint32(at + offset, true);
  const ref = (offset: number): RuleRef | null => {
    const number = word(offset);
    return number === layout.NONE ? null : context.rules.refOf(number);
  };
  const state = view.getUint8(at + layout.DECISION_CT_STATE);
  const reply = word(layout.DECISION_REPLY);
  const sport = word(layout.DECISION_SPORT);
  const errno = ERRNO_NAMES.get(view.getUint8(at + layout.DECISION_ERRNO));
  return {
    ...readJourney(view, at, packet, context),
    rule: ref(layout.DECISION_RULE),
    packet: {
      src: word(layout.DECISION_SRC),
      dst: word(layout.DECISION_DST),
      sport: proto === ICMP ? 0 : sport,
      dport: word(layout.DECISION_DPORT),
      icmpId: proto === ICMP ? sport : 0,
      ttl: view.getUint8(at + layout.DECISION_TTL),
      tos: view.getUint8(at + layout.DECISION_TOS),
      mark: word(layout.DECISION_MARK),
      ...(inner === null ? {} : { inner }),
    },
    ctState: !context.tracking ? undefined : (CT_STATES[state] ?? null),
    reply: replyOf(reply),
    generated,
    dnatRule: ref(layout.DECISION_DNAT_RULE),
    snatRule: ref(layout.DECISION_SNAT_RULE),
    chosen: (view.getUint8(at + layout.DECISION_FLAGS) & layout.DECISION_CHOSEN) !== 0,
    ...(errno === undefined ? {} : { errno }),
  };
}

/** What is forwarded to lo comes round. */
const LOOP: readonly Hook[] = ["PREROUTING", "FORWARD", "POSTROUTING"];

/** Of DECISION_LOOPS and DECISION_PATH. */
export function pathOf(loops: number, word: number): readonly Hook[] {
  const path = Array.from({ length: loops }, () => LOOP).flat();
  for (let rest = word; rest !== 0; rest >>>= 3) path.push(HOOKS[(rest & 7) - 1]!);
  return path;
}

function replyOf(word: number): string | null {
  if (word === layout.NONE) return null;
  return word === layout.REPLY_RESET ? "tcp-reset" : `icmp ${word >>> 8}/${word & 255}`;
}
