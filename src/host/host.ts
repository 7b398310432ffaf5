// The machine around the tables, as data: interfaces, routes, policy rules, sysctls.
//
// Routes hold what the kernel adds by itself too (local, broadcast and connected routes of every address:
// fib_add_ifaddr() in net/ipv4/fib_frontend.c), so that who reads them need not know.

import type { Timeouts } from "./timeouts.ts";

export const RT_TABLE_DEFAULT = 253;
export const RT_TABLE_MAIN = 254;
export const RT_TABLE_LOCAL = 255;

export interface InterfaceAddress {
  readonly address: number;
  /** 0 to 32. */
  readonly prefixLength: number;
  /** The highest address of the subnet; null where the prefix is longer than 30. */
  readonly broadcast: number | null;
  /** Another address of the same subnet came first on this interface (IFA_F_SECONDARY). */
  readonly secondary: boolean;
  readonly scope: "global" | "link" | "host";
  /** Present only where `peer` was given: the address whose subnet is on the link, in place of `address`. */
  readonly peer?: number;
}

export interface Interface {
  /** At most 15 characters. */
  readonly name: string;
  readonly addresses: readonly InterfaceAddress[];
  /** 6 bytes as a number; null for lo. */
  readonly mac: number | null;
  readonly mtu: number;
  readonly up: boolean;
  /** Effective values: those of `all` and of the interface combined as the kernel does. */
  readonly rpFilter: 0 | 1 | 2;
  readonly acceptLocal: boolean;
  readonly routeLocalnet: boolean;
  readonly forwarding: boolean;
  readonly sendRedirects: boolean;
  readonly acceptSourceRoute: boolean;
  /** The packet's mark counts in the route back to its source (src_valid_mark). */
  readonly srcValidMark: boolean;
}

export type RouteType =
  "unicast" | "local" | "broadcast" | "multicast" | "unreachable" | "blackhole" | "prohibit" | "throw";

export interface Route {
  readonly table: number;
  readonly dst: number;
  /** 0 to 32. */
  readonly prefixLength: number;
  readonly type: RouteType;
  /** Index into Host.interfaces; null for routes that lead nowhere. */
  readonly iface: number | null;
  /** Gateway; null where the destination is on the link. */
  readonly via: number | null;
  readonly metric: number;
  /** Preferred source; null: chosen from the interface. */
  readonly src: number | null;
  readonly scope: "global" | "link" | "host";
  /** null: that of the interface. */
  readonly mtu: number | null;
}

export interface PolicyRule {
  readonly priority: number;
  readonly negated: boolean;
  readonly from: { readonly address: number; readonly prefixLength: number } | null;
  readonly to: { readonly address: number; readonly prefixLength: number } | null;
  /** Name: it may be no interface of the host. */
  readonly iif: string | null;
  readonly oif: string | null;
  readonly fwmark: { readonly value: number; readonly mask: number } | null;
  readonly action:
    { readonly kind: "table"; readonly table: number } | { readonly kind: "blackhole" | "unreachable" | "prohibit" };
}

export interface Host {
  /** `lo` is first. Others as in the file. */
  readonly interfaces: readonly Interface[];
  /** Of all tables; in one table, longer prefixes first, then lower metrics, then older ones. */
  readonly routes: readonly Route[];
  /**
   * By priority; the kernel's own three (0 local, 32766 main, 32767 default) included. As long as there are no others
   * the kernel looks into local and main at once, and the longest prefix of both wins (fib_trie_unmerge() in
   * net/ipv4/fib_trie.c); with others it goes rule by rule.
   */
  readonly rules: readonly PolicyRule[];
  /** Somebody has added a route of type local; then sources are always validated by a look-up (fib_validate_source()). */
  readonly customLocalRoutes: boolean;
  readonly ipForward: boolean;
  /** Track connections whatever the rules say. */
  readonly conntrack: boolean;
  readonly hostStack: boolean;
  /** TCP connections may be picked up in the middle (nf_conntrack_tcp_loose). */
  readonly tcpLoose: boolean;
  /** A wrong checksum makes a packet INVALID (nf_conntrack_checksum). */
  readonly conntrackChecksum: boolean;
  /** Of the answers that the host makes (ip_default_ttl). */
  readonly defaultTtl: number;
  /** Seconds that fragments wait for the others (ipfrag_time). */
  readonly fragmentSeconds: number;
  /** How long connections live. */
  readonly timeouts: Timeouts;
}
