// Answer records -> the packets that the host made, built anew from what was refused.

import type { Generated } from "../classifier.ts";
import * as layout from "../layout.ts";
import { makeAnswer } from "../packet/made.ts";
import type { AnswerKind } from "../packet/made.ts";
import type { Packet } from "../packet/packet.ts";
import { endpointsOf, rewrite } from "../packet/rewrite.ts";
import type { Endpoints, Header } from "../packet/rewrite.ts";
import { PORT_PROTOCOLS } from "./details.ts";
import { mssChanged } from "./origins.ts";
import { readJourney } from "./records.ts";
import type { OutcomeContext } from "./records.ts";

const TCP = 6;

/** Bytes by their number (DETAIL_BODY), as they were when the packet was made; null: nobody knows them. */
export type BytesOf = (body: number) => Packet | null;

/** `count` records at `at`. */
export function readGenerated(
  view: DataView,
  at: number,
  count: number,
  bytesOf: BytesOf,
  context: OutcomeContext,
): readonly Generated[] {
  const generated: Generated[] = [];
  for (let i = 0; i < count; i++) {
    const record = at + i * layout.ANSWER_BYTES;
    const word = (offset: number): number => view.getUint32(record + offset, true);
    const made = answerMade(view, record, bytesOf)!;
    const header = headerOf(view, record + layout.ANSWER_PACKET, made);
    const inner = quotedOf(word, layout.ANSWER_QUOTED, made);
    const became = rewrite(made, inner === null ? header : { ...header, inner });
    generated.push({
      ...readJourney(view, record, became, context),
      packet: became,
      mark: view.getUint32(record + layout.ANSWER_PACKET + layout.FIELD_MARK * 4, true),
    });
  }
  return generated;
}

/** As the answer was made that a record tells of; null: to what nobody knows. */
export function answerMade(view: DataView, record: number, bytesOf: BytesOf): Packet | null {
  const word = (offset: number): number => view.getUint32(record + offset, true);
  const answered = bytesOf(word(layout.ANSWER_ANSWERED));
  if (answered === null) return null;
  const header = headerOf(view, record + layout.ANSWER_REFUSED, answered);
  const refused = rewrite(answered, { ...mssChanged(word(layout.ANSWER_OPTION), answered), ...header });
  const ttl = word(layout.ANSWER_PACKET + layout.FIELD_TTL * 4);
  return makeAnswer(refused, kindOf(word), word(layout.ANSWER_SRC), word(layout.ANSWER_MTU), ttl);
}

function kindOf(word: (offset: number) => number): AnswerKind {
  const kind = word(layout.ANSWER_KIND);
  if (kind === layout.REPLY_RESET) return { kind: "tcp-reset" };
  return { kind: "icmp", type: kind >>> 8, code: kind & 255, info: word(layout.ANSWER_INFO) };
}

/** Of a packet record. */
export function headerOf(view: DataView, at: number, { icmpId, sport, dport, proto }: Packet): Header {
  const word = (field: number): number => view.getUint32(at + field * 4, true);
  const isIcmp = proto === layout.PROTO_ICMP;
  return {
    src: word(layout.FIELD_SRC),
    dst: word(layout.FIELD_DST),
    sport: isIcmp ? sport : word(layout.FIELD_SPORT),
    dport: isIcmp ? dport : word(layout.FIELD_DPORT),
    icmpId: isIcmp ? word(layout.FIELD_SPORT) : icmpId,
    ttl: word(layout.FIELD_TTL),
    tos: word(layout.FIELD_TOS),
    ...(proto === TCP ? { tcpFlags: word(layout.FIELD_TCP_FLAGS) } : {}),
  };
}

/**
 * What the packet quotes, from five words: src, dst, proto, sport, dport; null: as before. What shows too little for NAT
 * has no words.
 */
export function quotedOf(word: (offset: number) => number, at: number, { inner }: Packet): Endpoints | null {
  if (inner === null) return null;
  const isIcmp = inner.proto === layout.PROTO_ICMP;
  const isPorted = PORT_PROTOCOLS.includes(inner.proto);
  const before = endpointsOf(inner);
  const sport = word(at + 12);
  const dport = word(at + 16);
  const after = {
    src: word(at),
    dst: word(at + 4),
    sport: isPorted ? sport : before.sport,
    dport: isPorted ? dport : before.dport,
    icmpId: isIcmp ? sport : before.icmpId,
  };
  const keys = ["src", "dst", "sport", "dport", "icmpId"] as const;
  return keys.every((key) => before[key] === after[key]) ? null : after;
}
