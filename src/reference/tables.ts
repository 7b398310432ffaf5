// Where an address leads: policy rules, then tables, the longest prefix first.
//
// Follows fib_lookup() in include/net/ip_fib.h, fib_rules_lookup() in net/core/fib_rules.c, fib_table_lookup() in
// net/ipv4/fib_trie.c, and inet_addr_type() in net/ipv4/fib_frontend.c.

import { prefixMask } from "../net/address.ts";
import { RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN } from "../host/host.ts";
import type { Host, PolicyRule, Route } from "../host/host.ts";
import type { AddressType } from "../rules/ruleset.ts";

/** What a look-up asks with (struct flowi4). */
export interface Flow {
  readonly dst: number;
  /** 0: not known yet. */
  readonly src: number;
  readonly mark: number;
  /** Name; `lo` for what the host sends. */
  readonly iif: string;
  /** Name of the interface it must leave by; null: any. */
  readonly oif: string | null;
}

/** Why there is no route, as the kernel's error numbers. */
export type NoRoute = "ENETUNREACH" | "EHOSTUNREACH" | "EACCES" | "EINVAL";

const KERNELS_OWN_RULES = 3;

export class RoutingTables {
  readonly #host: Host;
  /** Somebody has added policy rules: tables are asked one by one. */
  readonly hasCustomRules: boolean;
  /** Local and main in one, as the kernel keeps them without policy rules. */
  readonly #merged: readonly Route[];

  constructor(host: Host) {
    this.#host = host;
    this.hasCustomRules = host.rules.length > KERNELS_OWN_RULES;
    this.#merged = host.routes
      .filter(({ table }) => table === RT_TABLE_LOCAL || table === RT_TABLE_MAIN)
      .toSorted(
        (one, other) => other.prefixLength - one.prefixLength || other.table - one.table || one.metric - other.metric,
      );
  }

  lookUp(flow: Flow): Route | NoRoute {
    if (!this.hasCustomRules) return this.#lookUpMerged(flow);
    for (const rule of this.#host.rules) {
      if (!this.#meetsRule(rule, flow)) continue;
      const found = this.#act(rule, flow);
      if (found !== "none") return found;
    }
    return "ENETUNREACH";
  }

  /** By the local table alone; with an interface, as if it were the only one. */
  addressType(address: number, iface: string | null): AddressType {
    if (address === 0 || address === 0xffffffff) return "BROADCAST";
    if (address >>> 28 === 14) return "MULTICAST";
    const flow: Flow = { dst: address, src: 0, mark: 0, iif: "lo", oif: null };
    const found = this.#lookUpTable(RT_TABLE_LOCAL, flow);
    if (typeof found === "string") return "UNICAST";
    if (iface !== null && this.#nameOf(found) !== iface) return "UNICAST";
    return TYPES[found.type];
  }

  /** The route of type local that an address has in the local table; null: it has none. */
  localRoute(address: number): Route | null {
    const found = this.#lookUpTable(RT_TABLE_LOCAL, { dst: address, src: 0, mark: 0, iif: "lo", oif: null });
    return typeof found !== "string" && found.type === "local" ? found : null;
  }

  #lookUpMerged(flow: Flow): Route | NoRoute {
    const found = first(this.#merged, flow, this.#host);
    if (found !== "none") return found;
    const last = this.#lookUpTable(RT_TABLE_DEFAULT, flow);
    return last === "none" ? "ENETUNREACH" : last;
  }

  #lookUpTable(table: number, flow: Flow): Route | NoRoute | "none" {
    const shared = !this.hasCustomRules && (table === RT_TABLE_LOCAL || table === RT_TABLE_MAIN);
    const routes = shared ? this.#merged : this.#host.routes.filter((route) => route.table === table);
    return first(routes, flow, this.#host);
  }

  #act({ action }: PolicyRule, flow: Flow): Route | NoRoute | "none" {
    switch (action.kind) {
      case "table":
        return this.#lookUpTable(action.table, flow);
      case "unreachable":
        return "ENETUNREACH";
      case "prohibit":
        return "EACCES";
      case "blackhole":
        return "EINVAL";
    }
  }

  #meetsRule(rule: PolicyRule, flow: Flow): boolean {
    const within = (prefix: PolicyRule["from"], address: number): boolean =>
      prefix === null || ((address ^ prefix.address) & prefixMask(prefix.prefixLength)) === 0;
    const meets =
      (rule.iif === null || rule.iif === flow.iif) &&
      (rule.oif === null || rule.oif === flow.oif) &&
      (rule.fwmark === null || ((rule.fwmark.value ^ flow.mark) & rule.fwmark.mask) === 0) &&
      within(rule.from, flow.src) &&
      within(rule.to, flow.dst);
    return meets !== rule.negated;
  }

  #nameOf(route: Route): string | null {
    return route.iface === null ? null : this.#host.interfaces[route.iface]!.name;
  }
}

const TYPES: Readonly<Record<Route["type"], AddressType>> = {
  unicast: "UNICAST",
  local: "LOCAL",
  broadcast: "BROADCAST",
  multicast: "MULTICAST",
  unreachable: "UNREACHABLE",
  blackhole: "BLACKHOLE",
  prohibit: "PROHIBIT",
  throw: "THROW",
};

/** "none": nothing fits, or a throw route does. The routes are in the order of preference. */
function first(routes: readonly Route[], flow: Flow, host: Host): Route | NoRoute | "none" {
  for (const route of routes) {
    if (((flow.dst ^ route.dst) & prefixMask(route.prefixLength)) !== 0) continue;
    switch (route.type) {
      case "unreachable":
        return "EHOSTUNREACH";
      case "prohibit":
        return "EACCES";
      case "blackhole":
        return "EINVAL";
      case "throw":
        return "none";
      default:
        if (flow.oif === null || host.interfaces[route.iface!]!.name === flow.oif) return route;
    }
  }
  return "none";
}
