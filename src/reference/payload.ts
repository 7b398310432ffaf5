// What rules ask of the bytes behind the IP header; of a packet whose bytes are not known they are not answered.
//
// The match functions of net/netfilter/xt_esp.c, xt_ipcomp.c, xt_sctp.c, xt_dccp.c, xt_tcpudp.c and
// net/ipv4/netfilter/ipt_ah.c.

import { PROTO_TCP } from "../net/protocol.ts";
import { contains } from "../net/range.ts";
import { u16At, u32At } from "../packet/bytes.ts";
import type { Packet } from "../packet/packet.ts";
import type {
  DccpMatch,
  NegatableRange,
  SctpChunks,
  SctpMatch,
  SpiMatch,
  TcpMatch,
  UdpMatch,
} from "../rules/ruleset.ts";
import { BYTES_NOT_KNOWN, UnsupportedError } from "./error.ts";
import type { Holds } from "./match.ts";

const TCP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const PLAIN_HEADER = 20;
const FLAGS_OFFSET = 13;
const PORT_MAX = 0xffff;
const SCTP_HEADER_BYTES = 12;
const CHUNK_HEADER_BYTES = 4;
const DCCP_HEADER_BYTES = 12;
const SPI_BYTES = { esp: 8, ah: 12, ipcomp: 4 } as const;

/** A later fragment shows no header, a packet whose header is cut short is dropped. */
export function shows({ fragmentOffset, length, headerLength }: Packet, bytes: number): Holds {
  if (fragmentOffset > 0) return false;
  return length - headerLength >= bytes ? true : "drop";
}

/** Throws UnsupportedError if it is not known. */
export function payloadOf({ payload }: Packet): Uint8Array {
  if (payload === null) throw new UnsupportedError("its payload, which a rule asks, is not known", null);
  return payload;
}

function meetsRange(range: NegatableRange | null, value: number): boolean {
  return range === null || contains(range, value) !== range.negated;
}

/** add_nft_tcp() and add_nft_udp() of iptables/nft.c: without the kernel's match for the protocol. */
export function isCompared(match: TcpMatch | UdpMatch): boolean {
  const asksPorts = [match.sport, match.dport].some(asksPort);
  if (match.kind === "udp") return asksPorts;
  return match.option === null && (match.flags !== null || asksPorts);
}

function asksPort(range: NegatableRange | null): range is NegatableRange {
  return range !== null && (range.negated || range.lo > 0 || range.hi < PORT_MAX);
}

/**
 * iptables-nft compares the bytes where ports and flags would stand, whatever they are (nft_payload_eval() in
 * net/netfilter/nft_payload.c). What is not there does not hold, nor does its negation.
 */
export function meetsBytes(match: TcpMatch | UdpMatch, packet: Packet): boolean {
  const { sport, dport } = match;
  const flags = match.kind === "tcp" ? match.flags : null;
  if (isWhole(packet)) {
    const hasFlags = flags === null || ((packet.tcpFlags & flags.mask) === flags.comp) !== flags.negated;
    return hasFlags && meetsRange(sport, packet.sport) && meetsRange(dport, packet.dport);
  }
  if (packet.headerLength > PLAIN_HEADER) throw new UnsupportedError(BYTES_NOT_KNOWN, null);
  const bytes = payloadOf(packet);
  const meetsPort = (range: NegatableRange | null, at: number): boolean =>
    !asksPort(range) || (at + 2 <= bytes.length && meetsRange(range, u16At(bytes, at)));
  const byte = bytes[FLAGS_OFFSET];
  if (flags !== null && (byte === undefined || ((byte & flags.mask) === flags.comp) === flags.negated)) return false;
  return meetsPort(sport, 0) && meetsPort(dport, 2);
}

/** The header of a packet of TCP or UDP is all there. */
function isWhole({ proto, fragmentOffset, length, headerLength }: Packet): boolean {
  return fragmentOffset === 0 && length - headerLength >= (proto === PROTO_TCP ? TCP_HEADER_BYTES : UDP_HEADER_BYTES);
}

export function meetsSpi({ kind, spi }: SpiMatch, packet: Packet): Holds {
  const shown = shows(packet, SPI_BYTES[kind]);
  if (shown !== true || spi === null) return shown;
  const payload = payloadOf(packet);
  const value = kind === "esp" ? u32At(payload, 0) : kind === "ah" ? u32At(payload, 4) : u16At(payload, 2);
  return meetsRange(spi, value);
}

export function meetsSctp({ sport, dport, chunks }: SctpMatch, packet: Packet): Holds {
  const shown = shows(packet, SCTP_HEADER_BYTES);
  if (shown !== true) return shown;
  if (!meetsRange(sport, packet.sport) || !meetsRange(dport, packet.dport)) return false;
  if (chunks === null) return true;
  return negatable(meetsChunks(chunks, payloadOf(packet)), chunks.negated);
}

/** match_packet(); "drop": a chunk is cut short or has no length, and the walk came to it. */
function meetsChunks({ which, types }: SctpChunks, payload: Uint8Array): Holds {
  const left = new Set(types.map(({ type }) => type));
  let at = SCTP_HEADER_BYTES;
  do {
    if (at + CHUNK_HEADER_BYTES > payload.length) return "drop";
    const [type, flags, length] = [payload[at]!, payload[at + 1]!, u16At(payload, at + 2)];
    if (length === 0) return "drop";
    at += (length + 3) & ~3;
    const asked = types.find((one) => one.type === type);
    const holds = asked !== undefined && (flags & asked.mask) === asked.flags;
    if (which === "any" && holds) return true;
    if (which === "only" && !holds) return false;
    if (holds) left.delete(type);
  } while (at < payload.length);
  return which === "all" ? left.size === 0 : which === "only";
}

/** A broken packet that a negated test finds is dropped by the kernel after the rule has held. */
function negatable(result: Holds, negated: boolean): Holds {
  if (result === "drop" && negated) {
    throw new UnsupportedError("it is broken, and a negated test asks for what is broken: not modelled", null);
  }
  return result === "drop" ? "drop" : result !== negated;
}

export function meetsDccp({ sport, dport, types, option }: DccpMatch, packet: Packet): Holds {
  const shown = shows(packet, DCCP_HEADER_BYTES);
  if (shown !== true) return shown;
  if (!meetsRange(sport, packet.sport) || !meetsRange(dport, packet.dport)) return false;
  if (types === null && option === null) return true;
  const payload = payloadOf(packet);
  const type = (payload[8]! >>> 1) & 15;
  if (types !== null && ((types.mask >>> type) & 1) === Number(types.negated)) return false;
  return option === null || negatable(hasDccpOption(payload, type, option.option), option.negated);
}

/** Bytes behind the header that all packets have, by type; RESET and those that are not known: 12. */
const DCCP_TYPE_BYTES: readonly number[] = [4, 12, 0, 8, 8, 8, 8, 12, 8, 8];

/** dccp_find_option(). */
function hasDccpOption(payload: Uint8Array, type: number, option: number): Holds {
  const extended = (payload[8]! & 1) * 4;
  const start = DCCP_HEADER_BYTES + extended + (DCCP_TYPE_BYTES[type] ?? 12);
  const end = payload[4]! * 4;
  if (end < start) return "drop";
  if (end === start) return false;
  return end > payload.length ? "drop" : hasOption(payload.subarray(start, end), option);
}

/** tcp_find_option(). */
export function meetsTcpOption(option: NonNullable<TcpMatch["option"]>, packet: Packet): Holds {
  const payload = payloadOf(packet);
  const end = (payload[12]! >>> 4) * 4;
  if (end < TCP_HEADER_BYTES || end > payload.length) return "drop";
  return hasOption(payload.subarray(TCP_HEADER_BYTES, end), option.kind) !== option.negated;
}

/** Options 0 and 1 are a byte long, others say how long they are. */
function hasOption(options: Uint8Array, wanted: number): boolean {
  for (let at = 0; at < options.length;) {
    const option = options[at]!;
    if (option === wanted) return true;
    const length = options[at + 1] ?? 0;
    at += option < 2 || length === 0 ? 1 : length;
  }
  return false;
}
