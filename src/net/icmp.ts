// ICMP type names -> type and code range, as iptables lists them (`iptables -p icmp -h`; extensions/libxt_icmp.h).

import type { Range } from "./range.ts";

export interface IcmpType {
  /** 255: any type. */
  readonly type: number;
  readonly code: Range;
}

const ANY_CODE: Range = { lo: 0, hi: 255 };

/** Matches every type and code; 255 is no type to the icmp match. */
export const ANY_ICMP: IcmpType = { type: 255, code: ANY_CODE };

function every(type: number): IcmpType {
  return { type, code: ANY_CODE };
}

function one(type: number, code: number): IcmpType {
  return { type, code: { lo: code, hi: code } };
}

/** Names are compared without regard to case. */
export const ICMP_TYPES: readonly (readonly [string, IcmpType])[] = [
  ["any", ANY_ICMP],
  ["echo-reply", every(0)],
  ["pong", every(0)],
  ["destination-unreachable", every(3)],
  ["network-unreachable", one(3, 0)],
  ["host-unreachable", one(3, 1)],
  ["protocol-unreachable", one(3, 2)],
  ["port-unreachable", one(3, 3)],
  ["fragmentation-needed", one(3, 4)],
  ["source-route-failed", one(3, 5)],
  ["network-unknown", one(3, 6)],
  ["host-unknown", one(3, 7)],
  ["network-prohibited", one(3, 9)],
  ["host-prohibited", one(3, 10)],
  ["TOS-network-unreachable", one(3, 11)],
  ["TOS-host-unreachable", one(3, 12)],
  ["communication-prohibited", one(3, 13)],
  ["host-precedence-violation", one(3, 14)],
  ["precedence-cutoff", one(3, 15)],
  ["source-quench", every(4)],
  ["redirect", every(5)],
  ["network-redirect", one(5, 0)],
  ["host-redirect", one(5, 1)],
  ["TOS-network-redirect", one(5, 2)],
  ["TOS-host-redirect", one(5, 3)],
  ["echo-request", every(8)],
  ["ping", every(8)],
  ["router-advertisement", every(9)],
  ["router-solicitation", every(10)],
  ["time-exceeded", every(11)],
  ["ttl-exceeded", every(11)],
  ["ttl-zero-during-transit", one(11, 0)],
  ["ttl-zero-during-reassembly", one(11, 1)],
  ["parameter-problem", every(12)],
  ["ip-header-bad", one(12, 0)],
  ["required-option-missing", one(12, 1)],
  ["timestamp-request", every(13)],
  ["timestamp-reply", every(14)],
  ["address-mask-request", every(17)],
  ["address-mask-reply", every(18)],
];

/** Every entry whose name begins with `prefix`, whatever its case: iptables takes an abbreviation that fits only one. */
export function icmpTypesByName(prefix: string): readonly (readonly [string, IcmpType])[] {
  const wanted = prefix.toLowerCase();
  return ICMP_TYPES.filter(([name]) => name.toLowerCase().startsWith(wanted));
}
