// Arrivals -> packet records, decision records -> Outcomes: the only place where names and numbers meet.

import type { CtState, Outcome, RuleRef } from "../classifier.ts";
import type { InterfaceTable } from "../compile/interfaces.ts";
import type { RuleTable } from "../compile/ruletable.ts";
import * as layout from "../layout.ts";
import type { Arrival, Packet } from "../packet/packet.ts";
import type { Hook } from "../rules/ruleset.ts";

const ICMP = 1;
const TCP = 6;
const UDP = 17;

/** Least bytes of the transport header that the matches of a protocol read. */
const HEADER_BYTES: ReadonlyMap<number, number> = new Map([
  [ICMP, 8],
  [TCP, 20],
  [UDP, 8],
  [33, 4],
  [132, 4],
  [136, 8],
]);

const FRAMES = {
  host: layout.FRAME_HOST,
  broadcast: layout.FRAME_BROADCAST,
  multicast: layout.FRAME_MULTICAST,
  otherhost: layout.FRAME_OTHERHOST,
} as const;

/** A later fragment, or a packet whose transport header is cut short. */
export function isOdd(packet: Packet): boolean {
  return packet.fragmentOffset > 0 || packet.length - packet.headerLength < (HEADER_BYTES.get(packet.proto) ?? 0);
}

/** Writes one record; `words` are FIELD_COUNT words. */
export function writeArrival(words: Uint32Array, arrival: Arrival, interfaces: InterfaceTable): void {
  const { packet } = arrival;
  words[layout.FIELD_SRC] = packet.src;
  words[layout.FIELD_DST] = packet.dst;
  words[layout.FIELD_SPORT] = packet.proto === ICMP ? packet.icmpId : packet.sport;
  words[layout.FIELD_DPORT] = packet.dport;
  words[layout.FIELD_PROTO] = packet.proto;
  words[layout.FIELD_IN_IFACE] = interfaces.numberOf(arrival.inIface);
  words[layout.FIELD_OUT_IFACE] = interfaces.numberOf(arrival.boundIface);
  words[layout.FIELD_CT_STATE] = layout.CT_FIRST;
  words[layout.FIELD_TCP_FLAGS] = packet.tcpFlags;
  words[layout.FIELD_ICMP] = (packet.icmpType << 8) | packet.icmpCode;
  words[layout.FIELD_MARK] = arrival.mark;
  words[layout.FIELD_TRANSPORT] = transportOf(packet);
  words[layout.FIELD_TTL] = packet.ttl;
  words[layout.FIELD_TOS] = packet.tos;
  words[layout.FIELD_LENGTH] = packet.length;
  words[layout.FIELD_FACTS] =
    (packet.df ? layout.FACT_DF : 0) |
    (packet.moreFragments ? layout.FACT_MORE_FRAGMENTS : 0) |
    (packet.badChecksum ? layout.FACT_BAD_CHECKSUM : 0) |
    (isMalformed(packet) ? layout.FACT_MALFORMED : 0) |
    (isOdd(packet) ? layout.FACT_ODD : 0) |
    (FRAMES[arrival.frame] << layout.FACT_FRAME_SHIFT) |
    (arrival.inIface === null ? layout.FACT_LOCAL : 0) |
    (arrival.chooseSource ? layout.FACT_CHOOSE_SOURCE : 0) |
    (packet.sourceRouted ? layout.FACT_SOURCE_ROUTED : 0) |
    (arrival.boundIface === null ? 0 : layout.FACT_BOUND);
}

function transportOf(packet: Packet): number {
  if (packet.fragmentOffset === 0) return Math.min(255, packet.length - packet.headerLength);
  return packet.fragmentOffset === 1 ? layout.TRANSPORT_OFFSET_1 : layout.TRANSPORT_LATER;
}

/** The header is not one that conntrack takes: tcp_error(), udp_error(), icmp_error() and those of other protocols. */
function isMalformed(packet: Packet): boolean {
  const available = packet.length - packet.headerLength;
  if (available < (HEADER_BYTES.get(packet.proto) ?? 0)) return true;
  const { payload } = packet;
  if (payload === null) return false;
  if (packet.proto === TCP) {
    const dataOffset = (payload[12]! >>> 4) * 4;
    return dataOffset < 20 || dataOffset > available;
  }
  if (packet.proto === UDP) {
    const length = (payload[4]! << 8) | payload[5]!;
    return length < 8 || length > available;
  }
  return false;
}

const HOOKS: readonly Hook[] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
const PLACES = [...HOOKS, "routing", "before-netfilter", "transmit"] as const;
const VERDICTS = ["forwarded", "sent", "delivered", "dropped", "rejected"] as const;
const CT_STATES: readonly CtState[] = ["INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED"];
const ERRNO_NAMES: ReadonlyMap<number, string> = new Map([
  [layout.ERRNO_EPERM, "EPERM"],
  [layout.ERRNO_EACCES, "EACCES"],
  [layout.ERRNO_EINVAL, "EINVAL"],
  [layout.ERRNO_ENETUNREACH, "ENETUNREACH"],
  [layout.ERRNO_EHOSTUNREACH, "EHOSTUNREACH"],
]);

export interface OutcomeContext {
  readonly interfaces: InterfaceTable;
  readonly rules: RuleTable;
  readonly tracking: boolean;
}

/** Of the decision record at `at`. */
export function readOutcome(view: DataView, at: number, proto: number, context: OutcomeContext): Outcome {
  const word = (offset: number): number => view.getUint32(at + offset, true);
  const ref = (offset: number): RuleRef | null => {
    const number = word(offset);
    return number === layout.NONE ? null : context.rules.refOf(number);
  };
  const verdict = VERDICTS[view.getUint8(at + layout.DECISION_VERDICT)]!;
  const ended = verdict === "dropped" || verdict === "rejected";
  const state = word(layout.DECISION_CT_STATE);
  const reply = word(layout.DECISION_REPLY);
  const sport = word(layout.DECISION_SPORT);
  const errno = ERRNO_NAMES.get(view.getUint8(at + layout.DECISION_ERRNO));
  const mtu = view.getUint16(at + layout.DECISION_MTU, true);
  return {
    verdict,
    where: ended ? PLACES[view.getUint8(at + layout.DECISION_WHERE)]! : null,
    rule: ref(layout.DECISION_RULE),
    iface: context.interfaces.nameOf(word(layout.DECISION_IFACE)),
    packet: {
      src: word(layout.DECISION_SRC),
      dst: word(layout.DECISION_DST),
      sport: proto === ICMP ? 0 : sport,
      dport: word(layout.DECISION_DPORT),
      icmpId: proto === ICMP ? sport : 0,
      ttl: view.getUint8(at + layout.DECISION_TTL),
      tos: view.getUint8(at + layout.DECISION_TOS),
      mark: word(layout.DECISION_MARK),
    },
    path: pathOf(word(layout.DECISION_PATH)),
    ctState: !context.tracking ? undefined : state === layout.NONE ? null : CT_STATES[state]!,
    reply: replyOf(reply),
    dnatRule: ref(layout.DECISION_DNAT_RULE),
    snatRule: ref(layout.DECISION_SNAT_RULE),
    chosen: (view.getUint8(at + layout.DECISION_FLAGS) & layout.DECISION_CHOSEN) !== 0,
    ...(errno === undefined ? {} : { errno }),
    ...(mtu === 0 ? {} : { mtu }),
  };
}

function pathOf(word: number): readonly Hook[] {
  const path: Hook[] = [];
  for (let rest = word; rest !== 0; rest >>>= 3) path.push(HOOKS[(rest & 7) - 1]!);
  return path;
}

function replyOf(word: number): string | null {
  if (word === layout.NONE) return null;
  return word === layout.REPLY_RESET ? "tcp-reset" : `icmp ${word >>> 8}/${word & 255}`;
}
