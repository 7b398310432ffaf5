// An explanation -> lines such as the kernel writes for packets that are traced.
//
// trace_packet() in net/ipv4/netfilter/ip_tables.c and nf_log_ip_packet() in net/netfilter/nf_log_syslog.c. A RETURN or a
// verdict without a condition is written as "return" at the end of a user chain alone; rules that hold are "rule".
//
// Differs: no MAC header is written behind `MAC=`, since packets here come without one.

import { formatAddress } from "../net/address.ts";
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP } from "../net/protocol.ts";
import { TCP_FLAGS } from "../packet/packet.ts";
import type { ChainVisit, Explanation, Seen } from "./explain.ts";

/** Ends in a newline unless it is empty. */
export function traceLines({ chains }: Explanation): string {
  return chains.flatMap(linesOf).join("");
}

function linesOf(visit: ChainVisit): readonly string[] {
  const { table, chain, steps, end } = visit;
  const lines = steps
    .filter(({ kind }) => kind === "matched" || kind === "end")
    .map(({ ref, kind, seen }) =>
      line(`${table}:${ref.chain}:${kind === "end" ? "return" : "rule"}:${ref.number}`, seen),
    );
  if (end.ref.number !== "policy") return lines;
  return [...lines, line(`${table}:${chain}:policy:${visit.rules + 1}`, steps.at(-1)?.seen ?? visit.seen)];
}

function line(what: string, seen: Seen): string {
  return `TRACE: ${what} ${headerOf(seen)}\n`;
}

function headerOf({ packet, mark, inIface, outIface }: Seen): string {
  const words = [
    `IN=${inIface ?? ""}`,
    `OUT=${outIface ?? ""}`,
    ...(inIface === null || outIface !== null ? [] : ["MAC="]),
    `SRC=${formatAddress(packet.src)}`,
    `DST=${formatAddress(packet.dst)}`,
    `LEN=${packet.length}`,
    `TOS=0x${hexByte(packet.tos & 0x1e)}`,
    `PREC=0x${hexByte(packet.tos & 0xe0)}`,
    `TTL=${packet.ttl}`,
    `ID=${packet.ipId}`,
    ...(packet.df ? ["DF"] : []),
    ...(packet.moreFragments ? ["MF"] : []),
    ...(packet.fragmentOffset > 0 ? [`FRAG:${packet.fragmentOffset}`] : []),
    ...transportOf(packet),
    ...(mark === 0 ? [] : [`MARK=0x${mark.toString(16)}`]),
  ];
  return words.join(" ");
}

function hexByte(value: number): string {
  return value.toString(16).toUpperCase().padStart(2, "0");
}

function transportOf(packet: Seen["packet"]): readonly string[] {
  switch (packet.proto) {
    case PROTO_TCP:
      if (packet.fragmentOffset > 0) return ["PROTO=TCP"];
      return [
        ...["PROTO=TCP", `SPT=${packet.sport}`, `DPT=${packet.dport}`, `WINDOW=${packet.window}`, "RES=0x00"],
        ...FLAG_ORDER.filter((name) => (packet.tcpFlags & TCP_FLAGS[name]) !== 0),
        "URGP=0",
      ];
    case PROTO_UDP:
      if (packet.fragmentOffset > 0) return ["PROTO=UDP"];
      return ["PROTO=UDP", `SPT=${packet.sport}`, `DPT=${packet.dport}`, `LEN=${packet.length - packet.headerLength}`];
    case PROTO_ICMP:
      if (packet.fragmentOffset > 0) return ["PROTO=ICMP"];
      return [
        ...["PROTO=ICMP", `TYPE=${packet.icmpType}`, `CODE=${packet.icmpCode}`],
        ...(packet.icmpType === 0 || packet.icmpType === 8 ? [`ID=${packet.icmpId}`, `SEQ=${packet.icmpSeq}`] : []),
      ];
    default:
      return [`PROTO=${packet.proto}`];
  }
}

const FLAG_ORDER = ["CWR", "ECE", "URG", "ACK", "PSH", "RST", "SYN", "FIN"] as const;
