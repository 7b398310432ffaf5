// What connection tracking asks of a packet beside its record -> a detail record (layout.ts).

import * as layout from "../layout.ts";
import { PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDPLITE } from "../net/protocol.ts";
import { u16At, u32At } from "../packet/bytes.ts";
import { hasBadCoverage } from "../packet/decode.ts";
import type { Packet } from "../packet/packet.ts";
import { readSctp } from "../packet/sctp.ts";
import type { SctpChunk } from "../packet/sctp.ts";
import { greFacts } from "./records.ts";

const PROTO_GRE = 47;
const TCP_HEADER_BYTES = 20;
const OPTION_END = 0;
const OPTION_NOOP = 1;
const OPTION_SCALE = 3;
const OPTION_SACK_PERMITTED = 4;
const OPTION_SACK = 5;
/** RFC 7323. */
const MOST_SCALE = 14;

/** `words` are DETAIL_COUNT words. */
export function writeDetails(words: Uint32Array, packet: Packet): void {
  words.fill(0);
  if (packet.proto === PROTO_TCP) writeSegment(words, packet);
  if (packet.proto === PROTO_SCTP) writeChunks(words, packet);
  if (packet.proto === PROTO_UDPLITE && packet.payload !== null) {
    words[layout.DETAIL_FACTS] = layout.DETAIL_SHOWN | (hasBadCoverage(packet) ? layout.DETAIL_BAD_SUM : 0);
  }
  words[layout.DETAIL_KEY] = greKey(packet);
  if (packet.inner !== null) writeQuoted(words, packet.inner);
}

/** Types of the chunks that connection tracking follows, at their SCTP_ numbers. */
const CHUNKS: readonly (number | null)[] = [null, 1, 2, 6, 7, 8, 9, 10, 11, 14, 4, 5];
/** INIT, INIT ACK, SHUTDOWN COMPLETE; COOKIE ECHO, COOKIE ACK. */
const ALONE: readonly number[] = [1, 2, 14];
const FIRST: readonly number[] = [10, 11];

function writeChunks(words: Uint32Array, { payload }: Packet): void {
  const sctp = payload === null ? null : readSctp(payload);
  if (sctp === null) return;
  const { tag, badChecksum, chunks } = sctp;
  const followed = chunks.filter(({ type }) => CHUNKS.includes(type));
  const opening = chunks.find(({ type }) => type === 1 || type === 2);
  followed.slice(0, layout.DETAIL_MOST_CHUNKS).forEach(({ type, flags }, at) => {
    words[layout.DETAIL_CHUNKS + (at >>> 3)]! |= CHUNKS.indexOf(type) << ((at & 7) * 4);
    words[layout.DETAIL_CHUNK_FLAGS]! |= (flags & 1) << at;
  });
  const facts = [
    [layout.DETAIL_SHOWN, true],
    [layout.DETAIL_BAD_SUM, badChecksum],
    [layout.DETAIL_ILL_MADE, !isWellMade(chunks)],
    [layout.DETAIL_DATA, chunks.some(({ type }) => type === 0)],
    [layout.DETAIL_OTHER_CHUNKS, followed.length < chunks.length],
    [layout.DETAIL_NO_INIT_TAG, opening?.initTag === null],
    [layout.DETAIL_CHUNKS_CUT, followed.length > layout.DETAIL_MOST_CHUNKS],
  ] as const;
  words[layout.DETAIL_TAG] = tag;
  words[layout.DETAIL_INIT_TAG] = opening?.initTag ?? 0;
  words[layout.DETAIL_FACTS] = facts.reduce((sum, [bit, holds]) => sum + (holds ? bit : 0), 0);
}

/** do_basic_checks() in net/netfilter/nf_conntrack_proto_sctp.c. */
function isWellMade(chunks: readonly SctpChunk[]): boolean {
  if (chunks.length === 0 || chunks.some(({ length }) => length === 0)) return false;
  const others = chunks.slice(1).map(({ type }) => type);
  return !ALONE.includes(chunks[0]!.type)
    ? !others.some((type) => ALONE.includes(type) || FIRST.includes(type))
    : others.length === 0;
}

function writeSegment(words: Uint32Array, { payload, seq, ack, window, length, headerLength }: Packet): void {
  const ownLength = payload === null || payload.length < 13 ? TCP_HEADER_BYTES : (payload[12]! >>> 4) * 4;
  words[layout.DETAIL_SEQ] = seq;
  words[layout.DETAIL_ACK] = ack;
  words[layout.DETAIL_WINDOW] = window;
  words[layout.DETAIL_SEGMENT] = length - headerLength - ownLength;
  words[layout.DETAIL_SACK] = ack;
  if (payload === null || ownLength <= TCP_HEADER_BYTES || payload.length < ownLength) return;
  words[layout.DETAIL_OPTIONS] = layout.DETAIL_HAS_OPTIONS;
  let at = TCP_HEADER_BYTES;
  // tcp_options() and tcp_sack() in net/netfilter/nf_conntrack_proto_tcp.c
  while (at < ownLength && payload[at] !== OPTION_END) {
    if (payload[at] === OPTION_NOOP) {
      at++;
      continue;
    }
    const size = at + 1 < ownLength ? payload[at + 1]! : 0;
    if (size < 2 || at + size > ownLength) return;
    readOption(words, payload.subarray(at, at + size));
    at += size;
  }
}

function readOption(words: Uint32Array, option: Uint8Array): void {
  const kind = option[0]!;
  if (kind === OPTION_SACK_PERMITTED && option.length === 2) {
    words[layout.DETAIL_OPTIONS]! |= layout.DETAIL_SACK_PERMITTED;
  } else if (kind === OPTION_SCALE && option.length === 3) {
    const scale = Math.min(MOST_SCALE, option[2]!);
    words[layout.DETAIL_OPTIONS] = (words[layout.DETAIL_OPTIONS]! & ~15) | layout.DETAIL_SCALED | scale;
  } else if (kind === OPTION_SACK && option.length >= 10 && option.length % 8 === 2) {
    if ((words[layout.DETAIL_OPTIONS]! & SACK_READ) !== 0) return;
    // the first of them is the last that is read
    words[layout.DETAIL_OPTIONS]! |= SACK_READ;
    for (let at = 6; at < option.length; at += 8) {
      const edge = u32At(option, at);
      if (((edge - words[layout.DETAIL_SACK]!) | 0) > 0) words[layout.DETAIL_SACK] = edge;
    }
  }
}

/** A SACK option has been read; the engine does not ask. */
const SACK_READ = 128;

/** The call id of PPTP, which stands where others have a destination port: gre_pkt_to_tuple(). */
function greKey({ proto, payload, fragmentOffset }: Packet): number {
  if (proto !== PROTO_GRE || payload === null || fragmentOffset > 0 || payload.length < 8) return 0;
  return (payload[1]! & 7) === 1 ? u16At(payload, 6) : 0;
}

/** nf_ct_get_tuplepr(): what shows too little of its transport header has no tuple. */
function writeQuoted(words: Uint32Array, inner: Packet): void {
  if (inner.fragmentOffset > 0) return;
  const { proto } = inner;
  const bytes = inner.payload?.length ?? 0;
  const ported = PORT_PROTOCOLS.includes(proto);
  if (bytes < (proto === PROTO_ICMP ? 8 : ported ? 4 : 0)) return;
  words[layout.DETAIL_QUOTED] = writableOf(inner, bytes);
  words[layout.DETAIL_QUOTED_SRC] = inner.src;
  words[layout.DETAIL_QUOTED_DST] = inner.dst;
  words[layout.DETAIL_QUOTED_PROTO] = proto;
  words[layout.DETAIL_QUOTED_SPORT] = proto === PROTO_ICMP ? inner.icmpId : ported ? inner.sport : 0;
  words[layout.DETAIL_QUOTED_DPORT] =
    proto === PROTO_ICMP ? (inner.icmpType << 8) | inner.icmpCode : ported ? inner.dport : greKey(inner);
}

/** As QUOTED_: l4proto_manip_pkt() in net/netfilter/nf_nat_proto.c. */
function writableOf(inner: Packet, bytes: number): number {
  const { proto } = inner;
  if ((PORT_PROTOCOLS.includes(proto) || proto === PROTO_GRE) && bytes < 8) return layout.QUOTED_SHORT;
  return (greFacts(inner) & layout.FACT_FIXED_DESTINATION) !== 0
    ? layout.QUOTED_FIXED_DESTINATION
    : layout.QUOTED_WHOLE;
}

/** TCP, UDP, SCTP, UDP-Lite: protocols whose ports connection tracking knows. */
export const PORT_PROTOCOLS: readonly number[] = [6, 17, 132, 136];
