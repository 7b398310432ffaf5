// A rule set on a host, in the engine's memory: programs of every chain, routes, interfaces (the FIREWALL_ record).

import { lowerChains } from "../compile/lower.ts";
import type { LowerContext } from "../compile/lower.ts";
import {
  lowerAddressTypes,
  lowerMasquerade,
  lowerOwners,
  lowerRoutes,
  onlyOwnRules,
  selectAddress,
} from "../compile/routes.ts";
import type { InterfaceTable } from "../compile/interfaces.ts";
import type { Program } from "../compile/program.ts";
import { SCTP_TIMEOUTS } from "../host/timeouts.ts";
import type { Host, Interface, Route } from "../host/host.ts";
import * as layout from "../layout.ts";
import { BUILTIN_CHAINS, TABLES } from "../rules/ruleset.ts";
import type { Hook, Ruleset, TableName } from "../rules/ruleset.ts";
import type { Instance } from "./instance.ts";
import { Loader, loadProgram } from "./program.ts";

export const HOOKS: readonly Hook[] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/** What the way must know of the rules beside the chains. */
export interface TableFacts {
  readonly tracking: boolean;
  /** Fragments are put together in front of all rules. */
  readonly datagrams: boolean;
  readonly nat: boolean;
  readonly nft: boolean;
  /** Number of the memory for what nat draws where no rule does. */
  readonly draws: number;
}

/** Seconds that connections live, by TIMEOUT_ and TCP_ numbers. */
function timeoutsOf({ timeouts }: Host): readonly (readonly [number, number])[] {
  const { tcp } = timeouts;
  return [
    [layout.TCP_SYN_SENT, tcp.SYN_SENT],
    [layout.TCP_SYN_RECV, tcp.SYN_RECV],
    [layout.TCP_ESTABLISHED, tcp.ESTABLISHED],
    [layout.TCP_FIN_WAIT, tcp.FIN_WAIT],
    [layout.TCP_CLOSE_WAIT, tcp.CLOSE_WAIT],
    [layout.TCP_LAST_ACK, tcp.LAST_ACK],
    [layout.TCP_TIME_WAIT, tcp.TIME_WAIT],
    [layout.TCP_CLOSE, tcp.CLOSE],
    [layout.TCP_SYN_SENT2, tcp.SYN_SENT2],
    [layout.TIMEOUT_RETRANSMITTED, tcp.RETRANS],
    [layout.TIMEOUT_UNACKNOWLEDGED, tcp.UNACK],
    [layout.TIMEOUT_UDP, timeouts.udp],
    [layout.TIMEOUT_UDP_STREAM, timeouts.udpStream],
    [layout.TIMEOUT_ICMP, timeouts.icmp],
    [layout.TIMEOUT_GRE, timeouts.gre],
    [layout.TIMEOUT_GRE_STREAM, timeouts.greStream],
    [layout.TIMEOUT_GENERIC, timeouts.generic],
    ...SCTP_TIMEOUTS.map((state, at) => [layout.TIMEOUT_SCTP + at, timeouts.sctp[state]] as const),
  ];
}

/** Loads everything but the programs of chains; gives the address of the record. */
export function loadHost(instance: Instance, host: Host, interfaces: InterfaceTable, tables: TableFacts): number {
  const firewall = instance.allocateZeroed(layout.FIREWALL_BYTES);
  const put = (offset: number, value: number): void => {
    instance.view().setUint32(firewall + offset, value, true);
  };
  const { program, records } = lowerRoutes(host, interfaces, false);
  put(layout.FIREWALL_ROUTES, loadProgram(instance, program).at);
  put(layout.FIREWALL_ROUTES_BOUND, loadProgram(instance, lowerRoutes(host, interfaces, true).program).at);
  put(layout.FIREWALL_ADDRESS_TYPES, loadProgram(instance, lowerAddressTypes(host)).at);
  put(layout.FIREWALL_OWNERS, loadProgram(instance, lowerOwners(host, interfaces)).at);
  put(layout.FIREWALL_MASQUERADE, loadProgram(instance, lowerMasquerade(host, interfaces)).at);

  const routes = instance.allocateZeroed(records.length * layout.ROUTE_BYTES);
  put(layout.FIREWALL_ROUTE_RECORDS, routes);
  records.forEach(({ type, route }, i) => {
    const words = instance.words(routes + i * layout.ROUTE_BYTES, layout.ROUTE_BYTES / 4);
    const iface = route?.iface == null ? null : host.interfaces[route.iface]!;
    words[layout.ROUTE_TYPE / 4] = type;
    words[layout.ROUTE_IFACE / 4] = interfaces.numberOf(iface?.name ?? null);
    words[layout.ROUTE_VIA / 4] = route?.via ?? layout.NONE;
    words[layout.ROUTE_MTU / 4] = route?.mtu ?? iface?.mtu ?? 0;
    words[layout.ROUTE_SRC / 4] = sourceOf(host, route, iface) ?? layout.NONE;
  });

  const ifaces = instance.allocateZeroed((interfaces.names.length + 1) * layout.IFACE_BYTES);
  put(layout.FIREWALL_IFACES, ifaces);
  put(layout.FIREWALL_IFACE_COUNT, interfaces.names.length);
  for (const iface of host.interfaces) {
    const at = ifaces + interfaces.numberOf(iface.name) * layout.IFACE_BYTES;
    const words = instance.words(at, layout.IFACE_BYTES / 4);
    words[layout.IFACE_MTU / 4] = iface.mtu;
    words[layout.IFACE_FLAGS / 4] =
      (iface.up ? layout.IFACE_UP : 0) |
      (iface.acceptLocal ? layout.IFACE_ACCEPT_LOCAL : 0) |
      (iface.routeLocalnet ? layout.IFACE_ROUTE_LOCALNET : 0) |
      (iface.forwarding ? layout.IFACE_FORWARDING : 0) |
      (iface.sendRedirects ? layout.IFACE_SEND_REDIRECTS : 0) |
      (iface.acceptSourceRoute ? layout.IFACE_SOURCE_ROUTE : 0) |
      (iface.srcValidMark ? layout.IFACE_SRC_VALID_MARK : 0);
    words[layout.IFACE_RP_FILTER / 4] = iface.rpFilter;
    words[layout.IFACE_ADDRESS / 4] = iface.addresses[0]?.address ?? layout.NONE;
    words[layout.IFACE_SELECT_GLOBAL / 4] = selectAddress(host, iface, 0, "global");
    words[layout.IFACE_SELECT_LINK / 4] = selectAddress(host, iface, 0, "link");
    words[layout.IFACE_SELECT_HOST / 4] = selectAddress(host, iface, 0, "host");
  }

  // by fours, the first one repeated
  const own = [...new Set(host.interfaces.flatMap((iface) => iface.addresses.map((each) => each.address)))];
  while (own.length % 4 !== 0) own.push(own[0]!);
  const ownAt = instance.allocate(Math.max(16, own.length * 4));
  instance.words(ownAt, own.length).set(own);
  put(layout.FIREWALL_OWN, ownAt);
  put(layout.FIREWALL_OWN_COUNT, own.length);
  put(layout.FIREWALL_LO, interfaces.numberOf("lo"));
  put(
    layout.FIREWALL_FLAGS,
    (tables.tracking ? layout.FIREWALL_TRACKING : 0) |
      (tables.nat ? layout.FIREWALL_NAT : 0) |
      (tables.datagrams ? layout.FIREWALL_DATAGRAMS : 0) |
      (tables.nft ? layout.FIREWALL_NFT : 0) |
      (host.tcpLoose ? layout.FIREWALL_TCP_LOOSE : 0) |
      (host.conntrackChecksum ? layout.FIREWALL_CHECKSUM : 0) |
      (host.customLocalRoutes || !onlyOwnRules(host.rules) ? layout.FIREWALL_VALIDATE : 0),
  );
  put(layout.FIREWALL_DRAWS, tables.draws);
  put(layout.FIREWALL_TTL, host.defaultTtl);
  const timeouts = instance.allocate(layout.TIMEOUT_COUNT * 8);
  for (const [number, seconds] of timeoutsOf(host)) instance.view().setFloat64(timeouts + number * 8, seconds, true);
  put(layout.FIREWALL_TIMEOUTS, timeouts);
  return firewall;
}

/** The source that a packet takes which has none (fib_result_prefsrc()); null: the destination itself. */
function sourceOf(host: Host, route: Route | null, iface: Interface | null): number | null {
  if (route === null) return 0;
  if (route.src !== null) return route.src;
  if (route.type === "local" || iface === null) return null;
  return selectAddress(host, iface, route.via ?? 0, route.scope);
}

export interface LoadedChain {
  readonly table: TableName;
  readonly hook: Hook;
  /** As lowered. */
  readonly program: Program;
  readonly treeBytes: number;
}

/** Loads the programs of all built-in chains, for regular or for odd packets. */
export function loadChains(
  instance: Instance,
  firewall: number,
  ruleset: Ruleset,
  context: LowerContext,
): readonly LoadedChain[] {
  const chains: LoadedChain[] = [];
  for (const table of ruleset.tables) {
    const loader = new Loader(instance);
    const builtin = BUILTIN_CHAINS[table.name].flatMap((hook) => table.chains.filter(({ name }) => name === hook));
    lowerChains(table, builtin, context).forEach((program, i) => {
      const hook = builtin[i]!.name as Hook;
      const loaded = loader.load(program);
      chains.push({ table: table.name, hook, program, treeBytes: loaded.treeBytes });
      const number = TABLES.indexOf(table.name) * 5 + HOOKS.indexOf(hook);
      const at = firewall + (context.odd ? layout.FIREWALL_ODD : layout.FIREWALL_PROGRAMS) + number * 4;
      instance.view().setUint32(at, loaded.at, true);
    });
  }
  return chains;
}
