// Protocol names of packet lines and answers <-> numbers: those of kernel_oracle.py; other names are read as iptables
// knows them.

import { parseProtocol } from "../net/protocol.ts";

const NAMES: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  tcp: 6,
  udp: 17,
  gre: 47,
  esp: 50,
  ah: 51,
  sctp: 132,
  udplite: 136,
};

const NUMBERS = new Map(Object.entries(NAMES).map(([name, proto]) => [proto, name]));

/** null for what is neither a name nor a number up to 255. */
export function protocolOf(text: string): number | null {
  return NAMES[text] ?? parseProtocol(text);
}

/** The name, or the number where there is none. */
export function protocolName(proto: number): string | number {
  return NUMBERS.get(proto) ?? proto;
}
