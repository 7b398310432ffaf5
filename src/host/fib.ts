// Routes that are added one by one -> the kernel's tables, with what it adds by itself, and what it refuses.
//
// Kernel: fib_add_ifaddr() in net/ipv4/fib_frontend.c, fib_create_info() and fib_check_nh() in fib_semantics.c,
// fib_table_insert() in fib_trie.c.

import { prefixMask } from "../net/address.ts";
import { RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN } from "./host.ts";
import type { Route, RouteType } from "./host.ts";
import { sameSubnet } from "./interface.ts";
import type { AddedAddress, Link } from "./interface.ts";

/** Higher numbers reach less far (RT_SCOPE_). */
export const SCOPE_NUMBERS = { global: 0, link: 253, host: 254 } as const;

const INVALID_GATEWAY = "Nexthop has invalid gateway: it is not reached directly by an interface";

export interface NewRoute extends Route {
  /** The gateway need not be known to be on the link. */
  readonly onlink: boolean;
}

export class Fib {
  readonly #links: readonly Link[];
  readonly #routes: Route[] = [];
  #customLocalRoutes = false;

  /** With the routes of the interfaces' own addresses. */
  constructor(links: readonly Link[]) {
    this.#links = links;
    links.forEach((link, iface) => {
      for (const address of link.added) this.#addAddress(link, iface, address);
    });
  }

  get customLocalRoutes(): boolean {
    return this.#customLocalRoutes;
  }

  /** In the order that Host.routes promises. */
  routes(): readonly Route[] {
    const order = (one: Route, other: Route): number =>
      one.table - other.table || other.prefixLength - one.prefixLength || one.metric - other.metric;
    return this.#routes.toSorted(order);
  }

  /** A sentence if the kernel would refuse the route. */
  add({ onlink, ...route }: NewRoute): string | null {
    const { dst, prefixLength, type, via, table, metric } = route;
    if ((dst & ~prefixMask(prefixLength)) !== 0) return "the address has bits behind the prefix";
    let { iface } = route;
    if (leadsNowhere(type)) {
      if (iface !== null || via !== null) return `a route of type ${type} has neither gateway nor interface`;
    } else if (via === null) {
      if (iface === null) return "the interface is missing";
      if (route.scope !== "host" && !this.#links[iface]!.up) return `interface "${this.#links[iface]!.name}" is down`;
    } else {
      const found = this.#gateway(route, onlink);
      if (typeof found === "string") return found;
      iface = found;
    }
    if (route.src !== null && !this.#isLocal(route.src, table)) return "src is no address of the host";
    const taken = this.#routes.some(
      (other) =>
        other.table === table && other.dst === dst && other.prefixLength === prefixLength && other.metric === metric,
    );
    if (taken) return "there is such a route already (same table, destination and metric)";
    this.#routes.push({ ...route, iface });
    if (type === "local") this.#customLocalRoutes = true;
    return null;
  }

  #addAddress(link: Link, iface: number, { plain: one, moreBroadcast }: AddedAddress): void {
    const mask = prefixMask(one.prefixLength);
    const subnet = ((one.peer ?? one.address) & mask) >>> 0;
    // routes of a secondary address name the primary one as source
    const primary = one.secondary ? link.addresses.find((other) => sameSubnet(other, one))! : one;
    const own = {
      table: RT_TABLE_LOCAL,
      prefixLength: 32,
      iface,
      via: null,
      metric: 0,
      src: primary.address,
      mtu: null,
    };
    this.#append({ ...own, dst: one.address, type: "local", scope: "host" });
    if (!link.up) return;
    const broadcast = { ...own, type: "broadcast", scope: "link" } as const;
    if (moreBroadcast !== null && moreBroadcast !== 0xffffffff) {
      this.#append({ ...broadcast, dst: moreBroadcast });
    }
    if (subnet === 0 || one.secondary || (subnet === one.address && one.prefixLength === 32)) return;
    const connected = { ...own, dst: subnet, prefixLength: one.prefixLength };
    if (link.name === "lo") this.#append({ ...connected, type: "local", scope: "host" });
    else this.#append({ ...connected, table: RT_TABLE_MAIN, type: "unicast", scope: "link" });
    if (one.broadcast !== null) this.#append({ ...broadcast, dst: one.broadcast });
  }

  /** The same route twice is one. */
  #append(route: Route): void {
    const keys = Object.keys(route) as (keyof Route)[];
    if (!this.#routes.some((other) => keys.every((key) => other[key] === route[key]))) this.#routes.push(route);
  }

  /** The interface that leads to the gateway, or a sentence. */
  #gateway({ via, iface, table, scope }: Route, onlink: boolean): number | string {
    if (onlink) {
      if (iface === null) return "onlink needs an interface";
      if (!this.#links[iface]!.up) return `interface "${this.#links[iface]!.name}" is down`;
      return this.#isUnicast(via!) ? iface : INVALID_GATEWAY;
    }
    const wanted = Math.max(SCOPE_NUMBERS[scope] + 1, SCOPE_NUMBERS.link);
    const found =
      (table === RT_TABLE_MAIN ? null : this.#lookUp(via!, [table], wanted, iface)) ??
      this.#lookUp(via!, [RT_TABLE_MAIN], wanted, iface) ??
      this.#lookUp(via!, [RT_TABLE_DEFAULT], wanted, iface);
    if (found === null || (found.type !== "unicast" && found.type !== "local")) return INVALID_GATEWAY;
    const link = this.#links[found.iface!]!;
    return link.up ? found.iface! : `interface "${link.name}" is down`;
  }

  #isLocal(address: number, table: number): boolean {
    const tables = table === RT_TABLE_MAIN || table === RT_TABLE_LOCAL ? [RT_TABLE_LOCAL] : [table, RT_TABLE_LOCAL];
    return tables.some((one) => this.#lookUp(address, [one], 0, null)?.type === "local");
  }

  #isUnicast(address: number): boolean {
    if (address >>> 28 === 14 || address === 0 || address === 0xffffffff) return false;
    const found = this.#lookUp(address, [RT_TABLE_LOCAL], 0, null);
    return found === null || leadsNowhere(found.type) || found.type === "unicast";
  }

  /** The longest prefix; local and main are one table as long as there are no policy rules, and those come later. */
  #lookUp(address: number, tables: readonly number[], scope: number, iface: number | null): Route | null {
    const merged = tables.some((table) => table === RT_TABLE_MAIN || table === RT_TABLE_LOCAL)
      ? [RT_TABLE_LOCAL, RT_TABLE_MAIN]
      : tables;
    const fits = this.#routes
      .filter((route) => merged.includes(route.table))
      .filter((route) => ((address ^ route.dst) & prefixMask(route.prefixLength)) === 0)
      .filter((route) => SCOPE_NUMBERS[route.scope] >= scope)
      .filter((route) => leadsNowhere(route.type) || iface === null || route.iface === iface)
      .sort(
        (one, other) => other.prefixLength - one.prefixLength || other.table - one.table || one.metric - other.metric,
      );
    return fits[0] ?? null;
  }
}

export function leadsNowhere(type: RouteType): boolean {
  return type === "unreachable" || type === "blackhole" || type === "prohibit" || type === "throw";
}
