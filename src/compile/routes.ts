// Host -> programs: a routing look-up, MASQUERADE's choice of an address, and the address types that `addrtype` asks.
//
// A routing table is an ordered list of clauses, longest prefix first; policy rules put tables one behind the other, and
// a table without an answer goes on to the next (fib_rules_lookup(), fib_table_lookup() in net/ipv4). As long as only
// the kernel's own rules stand, local and main are one table (fib_trie_unmerge()).

import {
  ACTION_DECIDE,
  ACTION_SKIP,
  FIELD_DST,
  FIELD_IN_IFACE,
  FIELD_MARK,
  FIELD_OUT_IFACE,
  FIELD_SRC,
  ROUTE_BLACKHOLE,
  ROUTE_BROADCAST,
  ROUTE_LOCAL,
  ROUTE_MULTICAST,
  ROUTE_NONE,
  ROUTE_PROHIBIT,
  ROUTE_UNICAST,
  ROUTE_UNREACHABLE,
  TEST_MASKED,
} from "../layout.ts";
import { RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN } from "../host/host.ts";
import type { Host, Interface, PolicyRule, Route } from "../host/host.ts";
import type { AddressType } from "../rules/ruleset.ts";
import type { InterfaceTable } from "./interfaces.ts";
import { complement, EMPTY, intersect, unionOf } from "./intervals.ts";
import type { Intervals } from "./intervals.ts";
import { intersectBoxes, newLabel, ProgramBuilder, WHOLE } from "./program.ts";
import type { Box, Program, Test } from "./program.ts";

/** What a routing look-up answers; the number of the record is the answer of the clause. */
export interface RouteRecord {
  /** ROUTE_ */
  readonly type: number;
  /** The route; null for the actions of policy rules and for no route. */
  readonly route: Route | null;
}

const ROUTE_TYPES: Readonly<Record<Exclude<Route["type"], "throw">, number>> = {
  unicast: ROUTE_UNICAST,
  local: ROUTE_LOCAL,
  broadcast: ROUTE_BROADCAST,
  multicast: ROUTE_MULTICAST,
  blackhole: ROUTE_BLACKHOLE,
  unreachable: ROUTE_UNREACHABLE,
  prohibit: ROUTE_PROHIBIT,
};

/** Of a policy rule; `unreachable` is "no route" there (fib4_rule_action()). */
const RULE_TYPES = { blackhole: ROUTE_BLACKHOLE, unreachable: ROUTE_NONE, prohibit: ROUTE_PROHIBIT } as const;

export function prefixSpan(prefixLength: number): number {
  return prefixLength === 0 ? 0xffffffff : (2 ** (32 - prefixLength) - 1) >>> 0;
}

export interface RouteProgram {
  readonly program: Program;
  readonly records: readonly RouteRecord[];
}

/** @param bound look up for a socket bound to an interface (outIface): other interfaces' routes do not count. */
export function lowerRoutes(host: Host, interfaces: InterfaceTable, bound: boolean): RouteProgram {
  const builder = new ProgramBuilder();
  const records: RouteRecord[] = [];
  const numbers = new Map<Route, number>();
  const numberOf = (route: Route): number => {
    let number = numbers.get(route);
    if (number === undefined) {
      if (route.type === "throw") throw new Error("a throw route answers nothing");
      number = records.push({ type: ROUTE_TYPES[route.type], route }) - 1;
      numbers.set(route, number);
    }
    return number;
  };
  const ifaceNumber = (index: number): number => interfaces.numberOf(host.interfaces[index]!.name);

  const addTable = (routes: readonly Route[], region: readonly Box[], next = newLabel()): void => {
    for (const route of routes) {
      let boxes = intersectBoxes(region, [
        boxOf(FIELD_DST, route.dst, (route.dst + prefixSpan(route.prefixLength)) >>> 0),
      ]);
      if (bound && route.iface !== null) {
        const own = ifaceNumber(route.iface);
        boxes = intersectBoxes(boxes, [boxOf(FIELD_OUT_IFACE, own, own)]);
      }
      if (route.type === "throw") builder.add(boxes, ACTION_SKIP, { to: next });
      else builder.add(boxes, ACTION_DECIDE, { arg: numberOf(route) });
    }
    builder.place(next);
  };

  const tableOf = (table: number): readonly Route[] => host.routes.filter((route) => route.table === table);
  if (onlyOwnRules(host.rules)) {
    addTable(mergedTable(host), [WHOLE]);
    addTable(tableOf(RT_TABLE_DEFAULT), [WHOLE]);
  } else {
    for (const rule of host.rules) {
      const next = newLabel();
      const { boxes, tests } = selectorOf(rule, interfaces);
      let region: readonly Box[] = boxes;
      if (rule.negated) {
        builder.add(boxes, ACTION_SKIP, { tests, to: next });
        region = [WHOLE];
      } else if (tests.length > 0) {
        const inside = newLabel();
        builder.add(boxes, ACTION_SKIP, { tests, to: inside });
        builder.add([WHOLE], ACTION_SKIP, { to: next });
        builder.place(inside);
      }
      if (rule.action.kind === "table") addTable(tableOf(rule.action.table), region, next);
      else {
        builder.add(region, ACTION_DECIDE, {
          arg: records.push({ type: RULE_TYPES[rule.action.kind], route: null }) - 1,
        });
        builder.place(next);
      }
    }
  }
  builder.add([WHOLE], ACTION_DECIDE, { arg: records.push({ type: ROUTE_NONE, route: null }) - 1 });
  return { program: builder.finish(0), records };
}

/** Local and main as one table: local stands first among equals. */
function mergedTable(host: Host): readonly Route[] {
  return host.routes
    .filter(({ table }) => table === RT_TABLE_LOCAL || table === RT_TABLE_MAIN)
    .sort((a, b) => b.prefixLength - a.prefixLength || b.table - a.table || a.metric - b.metric);
}

function isError(route: Route): boolean {
  return route.type === "unreachable" || route.type === "prohibit" || route.type === "blackhole";
}

/** Nobody has added policy rules. */
export function onlyOwnRules(rules: readonly PolicyRule[]): boolean {
  return rules.length <= 3;
}

function selectorOf(rule: PolicyRule, interfaces: InterfaceTable): { boxes: readonly Box[]; tests: readonly Test[] } {
  let boxes: readonly Box[] = [WHOLE];
  const tests: Test[] = [];
  const prefix = (field: number, side: PolicyRule["from"]): void => {
    if (side !== null && side.prefixLength > 0) {
      boxes = intersectBoxes(boxes, [boxOf(field, side.address, (side.address + prefixSpan(side.prefixLength)) >>> 0)]);
    }
  };
  const iface = (field: number, name: string | null): void => {
    if (name === null) return;
    boxes = interfaces.has(name)
      ? intersectBoxes(boxes, [boxOf(field, interfaces.numberOf(name), interfaces.numberOf(name))])
      : [];
  };
  prefix(FIELD_SRC, rule.from);
  prefix(FIELD_DST, rule.to);
  iface(FIELD_IN_IFACE, rule.iif);
  iface(FIELD_OUT_IFACE, rule.oif);
  if (rule.fwmark !== null) {
    const { mask } = rule.fwmark;
    // bits outside of the mask say nothing
    const value = (rule.fwmark.value & mask) >>> 0;
    if (mask === 0xffffffff) boxes = intersectBoxes(boxes, [boxOf(FIELD_MARK, value, value)]);
    else if (mask !== 0) tests.push({ kind: TEST_MASKED, field: FIELD_MARK, mask, value, negated: false });
  }
  return { boxes, tests };
}

function boxOf(field: number, lo: number, hi: number): Box {
  const box = WHOLE.slice();
  box[2 * field] = lo;
  box[2 * field + 1] = hi;
  return box;
}

/**
 * inet_select_addr() in net/ipv4/devinet.c for a global scope: of the out interface's primary addresses the first whose
 * subnet holds the next hop, else the first; of an interface without one, the first of any other.
 */
export function lowerMasquerade(host: Host, interfaces: InterfaceTable): Program {
  const builder = new ProgramBuilder();
  for (const iface of host.interfaces) {
    const number = interfaces.numberOf(iface.name);
    const own = [boxOf(FIELD_OUT_IFACE, number, number)];
    const primary = iface.addresses.filter((each) => !each.secondary && each.scope === "global");
    for (const each of primary) {
      const span = prefixSpan(each.prefixLength);
      const net = ((each.peer ?? each.address) & ~span) >>> 0;
      builder.add(intersectBoxes(own, [boxOf(FIELD_DST, net, (net | span) >>> 0)]), ACTION_DECIDE, {
        arg: each.address,
      });
    }
    if (primary.length > 0) builder.add(own, ACTION_DECIDE, { arg: primary[0]!.address });
  }
  const any = host.interfaces
    .flatMap((iface) => iface.addresses)
    .find((each) => !each.secondary && each.scope === "global");
  builder.add([WHOLE], ACTION_DECIDE, { arg: any?.address ?? 0 });
  return builder.finish(0);
}

/** inet_select_addr() towards no next hop in particular, or `dst`; 0: there is none. */
export function selectAddress(host: Host, iface: Interface, dst: number, scope: Route["scope"]): number {
  const usable = iface.addresses.filter(
    // with route_localnet an address of scope host is as good as one of scope link
    (each) =>
      !each.secondary && Math.min(SCOPES[each.scope], iface.routeLocalnet ? SCOPES.link : SCOPES.host) <= SCOPES[scope],
  );
  const near = usable.find((each) => {
    const span = prefixSpan(each.prefixLength);
    return dst === 0 || (((each.peer ?? each.address) ^ dst) & ~span) >>> 0 === 0;
  });
  const found =
    near ??
    usable[0] ??
    host.interfaces
      .flatMap((other) => other.addresses)
      .find((each) => !each.secondary && each.scope !== "link" && SCOPES[each.scope] <= SCOPES[scope]);
  return found?.address ?? 0;
}

const SCOPES = { global: 0, link: 253, host: 254 } as const;

/** What the local table says of an address; as long as there are no policy rules, main's routes stand in it too. */
function localTable(host: Host): readonly Route[] {
  const routes = onlyOwnRules(host.rules)
    ? mergedTable(host)
    : host.routes.filter((route) => route.table === RT_TABLE_LOCAL);
  return routes;
}

/** What is found there in the end: errors and throw routes are no answer, and no answer is unicast. */
function typeOf(route: Route): "unicast" | "local" | "broadcast" | "multicast" {
  return route.type === "throw" || isError(route)
    ? "unicast"
    : (route.type as "unicast" | "local" | "broadcast" | "multicast");
}

/** ROUTE_ type of an address (inet_addr_type()), a program over dst. */
export function lowerAddressTypes(host: Host): Program {
  const builder = new ProgramBuilder();
  const decide = (boxes: readonly Box[], type: number): void => {
    builder.add(boxes, ACTION_DECIDE, { arg: type });
  };
  decide([boxOf(FIELD_DST, 0, 0), boxOf(FIELD_DST, 0xffffffff, 0xffffffff)], ROUTE_BROADCAST);
  decide([boxOf(FIELD_DST, 0xe0000000, 0xefffffff)], ROUTE_MULTICAST);
  for (const route of localTable(host)) decide([destinationOf(route)], ROUTE_TYPES[typeOf(route)]);
  decide([WHOLE], ROUTE_UNICAST);
  return builder.finish(0);
}

/** The interface that has an address, the last that got it (__ip_dev_find()), a program over dst; 0: none. */
export function lowerOwners(host: Host, interfaces: InterfaceTable): Program {
  const builder = new ProgramBuilder();
  for (const iface of host.interfaces.toReversed()) {
    for (const { address } of iface.addresses) {
      builder.add([boxOf(FIELD_DST, address, address)], ACTION_DECIDE, { arg: interfaces.numberOf(iface.name) });
    }
  }
  for (const route of localTable(host)) {
    const owner = route.type === "local" && route.iface !== null ? host.interfaces[route.iface]!.name : null;
    builder.add([destinationOf(route)], ACTION_DECIDE, { arg: interfaces.numberOf(owner) });
  }
  builder.add([WHOLE], ACTION_DECIDE, { arg: 0 });
  return builder.finish(0);
}

function destinationOf(route: Route): Box {
  return boxOf(FIELD_DST, route.dst, (route.dst + prefixSpan(route.prefixLength)) >>> 0);
}

/**
 * Addresses of the given types as inet_addr_type_dev_table() sees them: 0.0.0.0 and 255.255.255.255 as broadcast, 224/4
 * as multicast, others as the local table says. With an interface, other interfaces' entries are unicast.
 */
export function addressTypes(
  host: Host,
  interfaces: InterfaceTable,
): (types: readonly AddressType[], iface: number | null) => Intervals {
  const local = localTable(host);
  const memo = new Map<string, Intervals>();
  return (types, iface) => {
    const key = `${types.join(",")}/${iface ?? ""}`;
    let set = memo.get(key);
    if (set === undefined) {
      set = unionOf(types.flatMap((type) => pairsOf(typeSet(local, host, interfaces, type, iface))));
      memo.set(key, set);
    }
    return set;
  };
}

const SPECIAL: ReadonlyMap<AddressType, Intervals> = new Map([
  ["BROADCAST", [0, 0, 0xffffffff, 0xffffffff]],
  ["MULTICAST", [0xe0000000, 0xefffffff]],
]);
const ORDINARY = complement([0, 0, 0xe0000000, 0xefffffff, 0xffffffff, 0xffffffff]);

function typeSet(
  local: readonly Route[],
  host: Host,
  interfaces: InterfaceTable,
  type: AddressType,
  iface: number | null,
): Intervals {
  const pairs: [number, number][] = [];
  let seen: Intervals = EMPTY;
  // an address belongs to the first route that holds it
  for (const route of local) {
    const span: Intervals = [route.dst, (route.dst + prefixSpan(route.prefixLength)) >>> 0];
    const own = route.iface === null ? null : interfaces.numberOf(host.interfaces[route.iface]!.name);
    const found = iface === null || own === iface ? typeOf(route) : "unicast";
    if (found.toUpperCase() === type) pairs.push(...pairsOf(intersect(span, complement(seen))));
    seen = unionOf([...pairsOf(seen), ...pairsOf(span)]);
  }
  if (type === "UNICAST") pairs.push(...pairsOf(complement(seen)));
  return unionOf([...pairsOf(intersect(unionOf(pairs), ORDINARY)), ...pairsOf(SPECIAL.get(type) ?? EMPTY)]);
}

function pairsOf(set: Intervals): [number, number][] {
  const out: [number, number][] = [];
  for (let i = 0; i < set.length; i += 2) out.push([set[i]!, set[i + 1]!]);
  return out;
}
