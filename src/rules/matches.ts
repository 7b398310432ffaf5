// The match modules by name, for each family.

import { formatProtocol } from "../net/protocol.ts";
import type { Extension } from "./extension.ts";
import * as connection from "./extensions/connection.ts";
import * as fields from "./extensions/fields.ts";
import * as history from "./extensions/history.ts";
import * as header from "./extensions/header.ts";
import * as ipv6 from "./extensions/ipv6.ts";
import * as memory from "./extensions/memory.ts";
import * as other from "./extensions/other.ts";
import * as payload from "./extensions/payload.ts";
import * as protocols from "./extensions/protocols.ts";
import * as sets from "./extensions/sets.ts";
import * as transport from "./extensions/transport.ts";
import type { Family, Match } from "./ruleset.ts";

const ALL: readonly Extension<Match>[] = [
  transport,
  connection,
  header,
  fields,
  memory,
  history,
  protocols,
  payload,
  ipv6,
  other,
  sets,
].flatMap(({ MATCHES }) => MATCHES);

/** Other names of some. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ["icmpv6", "icmp6"],
  ["ipv6-icmp", "icmp6"],
]);

const BY_NAME: Readonly<Record<Family, ReadonlyMap<string, Extension<Match>>>> = {
  4: byName(4),
  6: byName(6),
};

function byName(family: Family): ReadonlyMap<string, Extension<Match>> {
  const own = ALL.filter((extension) => (extension.family ?? family) === family);
  return new Map(own.map((extension) => [extension.name, extension]));
}

export function matchNamed(name: string, family: Family): Extension<Match> | undefined {
  return BY_NAME[family].get(ALIASES.get(name) ?? name);
}

export function matchesOf(family: Family): Iterable<Extension<Match>> {
  return BY_NAME[family].values();
}

/** A match of iptables or ip6tables is called so. */
export function isMatchName(name: string): boolean {
  return BY_NAME[4].has(name) || BY_NAME[6].has(name);
}

/** The sentence for a match whose protocol the rule does not ask. */
export function protocolMissing(name: string, protos: readonly number[]): string {
  const [last = "", ...others] = protos.map(formatProtocol).reverse();
  return `${name} needs -p ${[others.reverse().join(", "), last].filter((text) => text !== "").join(" or ")}, not negated`;
}
