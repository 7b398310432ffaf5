// A failing rule set with its packets -> a small one that fails still.
//
// Each step leaves something out and keeps the rest as it was, packets above all: a packet that is drawn anew from
// smaller rules is another packet. First the packets go, then tables, chains, rules, and parts of rules, then parts of
// the host, until nothing more can go.

import type { Chain, Rule, Ruleset, Table } from "../../src/rules/ruleset.ts";
import type { HostJson } from "./arbitrary-host.ts";
import type { PacketJson } from "./arbitrary-packets.ts";
import type { World } from "./arbitrary.ts";

/** A world no larger than `world` that fails as it does, after at most `mostTries` questions. */
export function shrink(world: World, fails: (world: World) => boolean, mostTries: number): World {
  let best = world;
  let tries = 0;
  for (;;) {
    const before = best;
    for (const smaller of [fewerPackets, smallerRulesets, smallerHosts]) {
      let found: World | undefined;
      do {
        found = undefined;
        for (const candidate of smaller(best)) {
          if (++tries > mostTries) return best;
          if (!fails(candidate)) continue;
          found = candidate;
          best = candidate;
          break;
        }
      } while (found !== undefined);
    }
    if (best === before) return best;
  }
}

/** Halves first, then single ones. */
function* without<T>(list: readonly T[]): Generator<readonly T[]> {
  for (let size = Math.ceil(list.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < list.length; from += size) yield [...list.slice(0, from), ...list.slice(from + size)];
  }
}

function* fewerPackets(world: World): Generator<World> {
  for (const packets of without(world.packets)) if (packets.length > 0) yield { ...world, packets };
  for (const [index, packet] of world.packets.entries()) {
    for (const key of [
      "ttl",
      "tos",
      "frag",
      "payload",
      "payload_hex",
      "bad_checksum",
      "mark",
      "wait",
      "flags",
    ] as const) {
      if (!(key in packet)) continue;
      const rest = Object.fromEntries(Object.entries(packet).filter(([name]) => name !== key)) as unknown as PacketJson;
      yield { ...world, packets: world.packets.with(index, rest) };
    }
  }
}

function* smallerRulesets(world: World): Generator<World> {
  for (const ruleset of rulesetsBelow(world.ruleset)) yield { ...world, ruleset };
}

function* rulesetsBelow(ruleset: Ruleset): Generator<Ruleset> {
  for (const tables of without(ruleset.tables)) if (tables.length > 0) yield { ...ruleset, tables };
  for (const [index, table] of ruleset.tables.entries()) {
    for (const smaller of tablesBelow(table)) yield { ...ruleset, tables: ruleset.tables.with(index, smaller) };
  }
}

function* tablesBelow(table: Table): Generator<Table> {
  const called = new Set(table.chains.flatMap((chain) => chain.rules.flatMap(calleeOf)));
  const needed = table.chains.filter((chain) => chain.policy !== null || called.has(chain.name));
  if (needed.length < table.chains.length) yield { ...table, chains: needed };
  for (const [index, chain] of table.chains.entries()) {
    for (const smaller of chainsBelow(chain)) yield { ...table, chains: table.chains.with(index, smaller) };
  }
}

function calleeOf({ target }: Rule): string[] {
  return target?.kind === "jump" || target?.kind === "goto" ? [target.chain] : [];
}

function* chainsBelow(chain: Chain): Generator<Chain> {
  for (const rules of without(chain.rules)) yield { ...chain, rules };
  if (chain.policy === "DROP") yield { ...chain, policy: "ACCEPT" };
  for (const [index, rule] of chain.rules.entries()) {
    for (const smaller of rulesBelow(rule)) yield { ...chain, rules: chain.rules.with(index, smaller) };
  }
}

function* rulesBelow(rule: Rule): Generator<Rule> {
  for (const matches of without(rule.matches)) yield { ...rule, matches };
  for (const key of ["src", "dst", "inIface", "outIface", "fragment"] as const) {
    if (rule.header[key] !== null) yield { ...rule, header: { ...rule.header, [key]: null } };
  }
  const needsProtocol = rule.matches.some(({ kind }) => ["tcp", "udp", "icmp", "multiport"].includes(kind));
  if (rule.header.proto !== null && !needsProtocol && !natsPorts(rule)) {
    yield { ...rule, header: { ...rule.header, proto: null } };
  }
  for (const [index, match] of rule.matches.entries()) {
    if (match.kind !== "multiport") continue;
    for (const ports of without(match.ports)) {
      if (ports.length > 0) yield { ...rule, matches: rule.matches.with(index, { ...match, ports }) };
    }
  }
  if (rule.target !== null && rule.target.kind !== "ACCEPT") yield { ...rule, target: { kind: "ACCEPT" } };
}

function natsPorts({ target }: Rule): boolean {
  return target !== null && "range" in target && target.range.ports !== null;
}

function* smallerHosts(world: World): Generator<World> {
  for (const host of hostsBelow(world.host)) yield { ...world, host };
}

function* hostsBelow(host: HostJson): Generator<HostJson> {
  for (const rules of without(host.rules)) yield { ...host, rules };
  for (const routes of without(host.routes)) yield { ...host, routes };
  for (const sysctl of without(Object.entries(host.sysctl))) yield { ...host, sysctl: Object.fromEntries(sysctl) };
  for (const interfaces of without(host.interfaces)) if (interfaces.length > 0) yield { ...host, interfaces };
  for (const [index, { name, addresses }] of host.interfaces.entries()) {
    for (const fewer of without(addresses)) {
      yield { ...host, interfaces: host.interfaces.with(index, { name, addresses: fewer }) };
    }
  }
  if (host.conntrack === true) yield { ...host, conntrack: "auto" };
}
