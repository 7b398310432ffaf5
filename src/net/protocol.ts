// IP protocol names <-> numbers, as iptables reads and prints them.
//
// xtables_chain_protos in libxtables/xtables.c goes first, then /etc/protocols; the latter as Debian 12 has it.

import { parseNumber } from "./number.ts";

export const PROTO_ICMP = 1;
export const PROTO_TCP = 6;
export const PROTO_UDP = 17;
export const PROTO_DCCP = 33;
export const PROTO_ESP = 50;
export const PROTO_AH = 51;
export const PROTO_IPCOMP = 108;
export const PROTO_SCTP = 132;
export const PROTO_UDPLITE = 136;

/** Their headers begin with ports. */
export const PORT_PROTOCOLS: readonly number[] = [PROTO_TCP, PROTO_UDP, PROTO_UDPLITE, PROTO_SCTP, PROTO_DCCP];

/** The first name of a number is the one that is printed. */
const NAMES: readonly (readonly [string, number])[] = [
  ["tcp", 6],
  ["sctp", 132],
  ["udp", 17],
  ["udplite", 136],
  ["icmp", 1],
  ["ipv6-icmp", 58],
  ["icmpv6", 58],
  ["esp", 50],
  ["ah", 51],
  ["mobility-header", 135],
  ["ipv6-mh", 135],
  ["mh", 135],
  ["all", 0],
  // /etc/protocols
  ["ip", 0],
  ["hopopt", 0],
  ["igmp", 2],
  ["ggp", 3],
  ["ipencap", 4],
  ["st", 5],
  ["egp", 8],
  ["igp", 9],
  ["pup", 12],
  ["hmp", 20],
  ["xns-idp", 22],
  ["rdp", 27],
  ["iso-tp4", 29],
  ["dccp", 33],
  ["xtp", 36],
  ["ddp", 37],
  ["idpr-cmtp", 38],
  ["ipv6", 41],
  ["ipv6-route", 43],
  ["ipv6-frag", 44],
  ["idrp", 45],
  ["rsvp", 46],
  ["gre", 47],
  ["skip", 57],
  ["ipv6-nonxt", 59],
  ["ipv6-opts", 60],
  ["rspf", 73],
  ["vmtp", 81],
  ["eigrp", 88],
  ["ospf", 89],
  ["ax.25", 93],
  ["ipip", 94],
  ["etherip", 97],
  ["encap", 98],
  ["pim", 103],
  ["ipcomp", 108],
  ["vrrp", 112],
  ["l2tp", 115],
  ["isis", 124],
  ["fc", 133],
  ["mpls-in-ip", 137],
  ["manet", 138],
  ["hip", 139],
  ["shim6", 140],
  ["wesp", 141],
  ["rohc", 142],
  ["ethernet", 143],
];

const numberOf = new Map(NAMES);
const nameOf = new Map<number, string>();
for (const [name, proto] of NAMES) if (!nameOf.has(proto)) nameOf.set(proto, name);

/** Of a name in any case or a number 0..255; 0 for `all`; null for anything else. */
export function parseProtocol(text: string): number | null {
  return parseNumber(text, 255) ?? numberOf.get(text.toLowerCase()) ?? null;
}

/** The name that iptables prints, or the number where there is none. */
export function formatProtocol(proto: number): string {
  return nameOf.get(proto) ?? String(proto);
}
