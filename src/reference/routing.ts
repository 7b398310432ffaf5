// Where a packet goes: in to the host, on to a neighbour, or nowhere.
//
// Follows ip_route_input_rcu(), ip_route_input_slow(), __mkroute_input(), ip_route_output_key_hash_rcu() and
// __mkroute_output() in net/ipv4/route.c, fib_validate_source() in net/ipv4/fib_frontend.c, and inet_select_addr() in
// net/ipv4/devinet.c.

import { prefixMask } from "../net/address.ts";
import type { Host, Interface, Route } from "../host/host.ts";
import { RoutingTables } from "./tables.ts";
import type { Flow, NoRoute } from "./tables.ts";

export type Scope = Route["scope"];

/** A way that was found (struct rtable). */
export interface Path {
  /** `lo` for what goes to the host itself. */
  readonly out: Interface;
  /** Gateway; null where the destination is on the link. */
  readonly via: number | null;
  readonly mtu: number;
  /** The source for who has none yet. */
  readonly src: number;
  /** Ends at the host: RTCF_LOCAL. */
  readonly local: boolean;
  /** To a broadcast or a multicast address. */
  readonly group: boolean;
  /** To a broadcast address. */
  readonly broadcast: boolean;
}

/** What becomes of a packet that has come in. */
export type Arriving =
  | { readonly kind: "local"; readonly path: Path }
  | { readonly kind: "forward"; readonly path: Path; readonly redirect: boolean }
  /** Nothing is said to the sender. */
  | { readonly kind: "refused" }
  /** The sender may be told (ip_error()). */
  | { readonly kind: "unroutable"; readonly error: NoRoute };

const SCOPES: Readonly<Record<Scope, number>> = { global: 0, link: 253, host: 254 };
const LIMITED_BROADCAST = 0xffffffff;
/** Every host is in it; other groups nobody has joined. */
const ALL_HOSTS = 0xe0000001;
const LOOPBACK = 0x7f000001;
const REFUSED: Arriving = { kind: "refused" };

export class Routing {
  readonly tables: RoutingTables;
  readonly #host: Host;
  readonly #loopback: Interface;
  readonly #ownAddresses: ReadonlySet<number>;

  constructor(host: Host) {
    this.#host = host;
    this.tables = new RoutingTables(host);
    this.#loopback = host.interfaces[0]!;
    this.#ownAddresses = new Set(host.interfaces.flatMap((one) => one.addresses.map(({ address }) => address)));
  }

  /** Of what the host sends (ip_default_ttl). */
  get defaultTtl(): number {
    return this.#host.defaultTtl;
  }

  /** Of a packet that came by `iface`; `mark` as PREROUTING left it. */
  input(src: number, dst: number, mark: number, iface: Interface): Arriving {
    if (isMulticast(dst)) return this.#multicast(src, dst, mark, iface);
    if (isMulticast(src) || src === LIMITED_BROADCAST) return REFUSED;
    if (dst === LIMITED_BROADCAST || (src === 0 && dst === 0)) return this.#broadcast(src, mark, iface);
    if (src === 0 || dst === 0) return REFUSED;
    if ((isLoopback(dst) || isLoopback(src)) && !iface.routeLocalnet) return REFUSED;

    const flow: Flow = { dst, src, mark, iif: iface.name, oif: null };
    const route = this.tables.lookUp(flow);
    if (typeof route === "string") {
      return { kind: "unroutable", error: iface.forwarding ? route : "EHOSTUNREACH" };
    }
    if (route.type === "broadcast") return this.#broadcast(src, mark, iface);
    if (route.type === "local") {
      const valid = this.#validateSource(src, dst, mark, iface, null) !== "refused";
      return valid ? { kind: "local", path: this.#ownPath(false) } : REFUSED;
    }
    if (!iface.forwarding) return { kind: "unroutable", error: "EHOSTUNREACH" };
    if (route.type !== "unicast") return REFUSED;

    const path = { ...this.#pathOf(route), local: false };
    const source = this.#validateSource(src, dst, mark, iface, path.out);
    if (source === "refused") return REFUSED;
    return { kind: "forward", path, redirect: path.out === iface && source === "on link" && iface.sendRedirects };
  }

  /**
   * Of a packet that the host sends. `src` 0: to be chosen. `anySource`: it need not be an address of the host. `oif`:
   * the interface that the socket is bound to.
   */
  output(flow: Omit<Flow, "iif">, anySource: boolean): Path | NoRoute {
    let { src, dst, oif } = flow;
    if (src !== 0) {
      if (isMulticast(src) || src === LIMITED_BROADCAST) return "EINVAL";
      if (oif === null && (isMulticast(dst) || dst === LIMITED_BROADCAST)) {
        // multicast leaves by the interface of its source
        const owner = this.#interfaceOf(src);
        if (owner === null) return "ENETUNREACH";
        return this.#make(null, owner, src, dst);
      }
      if (!anySource && this.#interfaceOf(src) === null) return "ENETUNREACH";
    }
    const bound = oif === null ? null : this.#host.interfaces.find(({ name }) => name === oif)!;
    if (bound !== null) {
      if (!bound.up) return "ENETUNREACH";
      if (dst >>> 8 === 0xe00000 || dst === LIMITED_BROADCAST) {
        return this.#make(null, bound, src === 0 ? this.selectAddress(bound, 0, "link") : src, dst);
      }
      if (src === 0 && isMulticast(dst)) src = this.selectAddress(bound, 0, "global");
      else if (src === 0 && dst === 0) src = this.selectAddress(bound, 0, "host");
    }
    if (dst === 0) {
      dst = src === 0 ? LOOPBACK : src;
      oif = "lo";
      return this.#make(null, this.#loopback, src === 0 ? LOOPBACK : src, dst);
    }
    const route = this.tables.lookUp({ ...flow, src, dst, iif: "lo" });
    if (typeof route === "string") {
      // who is bound to an interface takes everything to be on its link
      if (bound === null) return route;
      return this.#make(null, bound, src === 0 ? this.selectAddress(bound, 0, "link") : src, dst);
    }
    if (route.type === "local") return this.#make(null, this.#loopback, src === 0 ? (route.src ?? dst) : src, dst);
    return this.#make(route, this.#host.interfaces[route.iface!]!, src === 0 ? this.#preferredSource(route) : src, dst);
  }

  /** 0: there is none. `dst` 0: any subnet will do. Only addresses of at least this scope. */
  selectAddress(iface: Interface, dst: number, scope: Scope): number {
    // with route_localnet an address of scope host is as good as one of scope link
    const widest = iface.routeLocalnet ? SCOPES.link : SCOPES.host;
    const usable = iface.addresses.filter(
      (one) => !one.secondary && Math.min(SCOPES[one.scope], widest) <= SCOPES[scope],
    );
    const inSubnet = usable.find(
      (one) => dst === 0 || (((one.peer ?? one.address) ^ dst) & prefixMask(one.prefixLength)) === 0,
    );
    const chosen = inSubnet ?? usable[0];
    if (chosen !== undefined) return chosen.address;
    // another interface's, those of lo first
    for (const other of this.#host.interfaces) {
      const found = other.addresses.find(
        (one) => !one.secondary && one.scope !== "link" && SCOPES[one.scope] <= SCOPES[scope],
      );
      if (found !== undefined) return found.address;
    }
    return 0;
  }

  #multicast(src: number, dst: number, mark: number, iface: Interface): Arriving {
    if (dst !== ALL_HOSTS) return REFUSED;
    if (isMulticast(src) || src === LIMITED_BROADCAST) return REFUSED;
    if (isLoopback(src) && !iface.routeLocalnet) return REFUSED;
    if (src !== 0 && this.#validateSource(src, 0, mark, iface, null) === "refused") return REFUSED;
    return { kind: "local", path: this.#ownPath(true) };
  }

  #broadcast(src: number, mark: number, iface: Interface): Arriving {
    if (src !== 0 && this.#validateSource(src, 0, mark, iface, null) === "refused") return REFUSED;
    return { kind: "local", path: this.#ownPath(true) };
  }

  /** Whether a packet from `src` may come by `iface`, and if the way back to it is on the link there. */
  #validateSource(
    src: number,
    dst: number,
    mark: number,
    iface: Interface,
    out: Interface | null,
  ): "refused" | "valid" | "on link" {
    const strictness = iface.rpFilter;
    if (strictness === 0 && (out !== iface || !iface.sendRedirects)) {
      if (iface.acceptLocal) return "valid";
      if (!this.#host.customLocalRoutes && !this.tables.hasCustomRules) {
        return this.#ownAddresses.has(src) ? "refused" : "valid";
      }
    }
    const back: Flow = {
      dst: src,
      src: dst,
      mark: iface.srcValidMark ? mark : 0,
      iif: out === null ? "lo" : out.name,
      oif: null,
    };
    const withoutWay = strictness === 0 ? "valid" : "refused";
    const route = this.tables.lookUp(back);
    if (typeof route === "string") return withoutWay;
    if (route.type !== "unicast" && (route.type !== "local" || !iface.acceptLocal)) return "refused";
    const leads = this.#host.interfaces[route.iface!]!;
    if (leads === iface || (route.type === "local" && iface === this.#loopback)) return linkOf(route);
    if (iface.addresses.length === 0) return withoutWay;
    if (strictness === 1) return "refused";
    const again = this.tables.lookUp({ ...back, oif: iface.name });
    return typeof again !== "string" && again.type === "unicast" ? linkOf(again) : "valid";
  }

  #make(route: Route | null, out: Interface, src: number, dst: number): Path | NoRoute {
    if (isLoopback(src) && out !== this.#loopback && !out.routeLocalnet) return "EINVAL";
    const broadcast = dst === LIMITED_BROADCAST || route?.type === "broadcast";
    const group = broadcast || isMulticast(dst);
    if (route !== null && !group) return { ...this.#pathOf(route), src };
    // an interface that is down has left all groups
    const local = isMulticast(dst) ? dst === ALL_HOSTS && out.up : group || out === this.#loopback;
    return { out, via: null, mtu: out.mtu, src, local, group, broadcast };
  }

  #pathOf(route: Route): Path {
    const out = this.#host.interfaces[route.iface!]!;
    const { via } = route;
    return {
      out,
      via,
      mtu: route.mtu ?? out.mtu,
      src: 0,
      local: out === this.#loopback,
      group: false,
      broadcast: false,
    };
  }

  #ownPath(group: boolean): Path {
    return { out: this.#loopback, via: null, mtu: this.#loopback.mtu, src: 0, local: true, group, broadcast: false };
  }

  /** Where the route has none, one of its interface's, of the gateway's subnet if there is one. */
  #preferredSource(route: Route): number {
    return route.src ?? this.selectAddress(this.#host.interfaces[route.iface!]!, route.via ?? 0, route.scope);
  }

  /** The interface that has the address, the last that got it (__ip_dev_find()); null: it is none of the host's. */
  #interfaceOf(address: number): Interface | null {
    const owner = this.#host.interfaces.findLast((one) => one.addresses.some((each) => each.address === address));
    if (owner !== undefined) return owner;
    const route = this.tables.localRoute(address);
    return route === null ? null : this.#host.interfaces[route.iface!]!;
  }
}

/** Gateways have a scope of their own; a destination on the link has not. */
function linkOf(route: Route): "valid" | "on link" {
  return route.via === null ? "on link" : "valid";
}

export function isMulticast(address: number): boolean {
  return address >>> 28 === 14;
}

export function isLoopback(address: number): boolean {
  return address >>> 24 === 127;
}
