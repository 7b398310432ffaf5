// Ruleset -> text, as `iptables-save` 1.8.9 (legacy) prints it, without the comment lines.
//
// Follows print_rule4() in iptables/iptables.c; each module prints its own options (extensions/).
// Differs: where iptables-save would forget a test that never holds (`! -i +`), it is printed.

import { formatAddress, formatMask } from "../net/address.ts";
import { formatAddress6, formatMask6 } from "../net/address6.ts";
import { formatProtocol } from "../net/protocol.ts";
import { matchNamed } from "./matches.ts";
import type {
  Address6Test,
  AddressTest,
  Chain,
  Counters,
  Family,
  InterfaceTest,
  Match,
  Rule,
  Ruleset,
  Table,
  TableName,
  Target,
} from "./ruleset.ts";
import { targetNamed } from "./targets.ts";
import { not } from "./types.ts";

export interface PrintOptions {
  /**
   * The counters of a rule, by its number from 1, or of the chain's policy. With it rules get theirs in front, as
   * `iptables-save -c` has it; without it rules have none and policies [0:0].
   */
  readonly counters?: (table: TableName, chain: string, number: number | "policy") => Counters;
}

/** Tables in the order of the rule set; ends in a newline. */
export function printRuleset(ruleset: Ruleset, options: PrintOptions = {}): string {
  return ruleset.tables.map((table) => printTable(table, ruleset.family, options)).join("");
}

function printTable(table: Table, family: Family, options: PrintOptions): string {
  const lines = [`*${table.name}`];
  for (const chain of table.chains) lines.push(printChain(table, chain, options));
  for (const chain of table.chains) {
    chain.rules.forEach((rule, index) => {
      const counters = options.counters?.(table.name, chain.name, index + 1);
      lines.push((counters === undefined ? "" : printCounters(counters) + " ") + printRule(chain.name, rule, family));
    });
  }
  return lines.join("\n") + "\nCOMMIT\n";
}

function printChain(table: Table, chain: Chain, options: PrintOptions): string {
  const counters = chain.policy === null ? undefined : options.counters?.(table.name, chain.name, "policy");
  return `:${chain.name} ${chain.policy ?? "-"} ${counters === undefined ? "[0:0]" : printCounters(counters)}`;
}

function printCounters({ packets, bytes }: Counters): string {
  return `[${packets}:${bytes}]`;
}

/** `-A CHAIN ...`, without counters and newline. `family` is that of the rule set. */
export function printRule(chain: string, rule: Rule, family: Family = 4): string {
  const { src, dst, v6, inIface, outIface, proto, fragment } = rule.header;
  let text = `-A ${chain}`;
  if (src !== null) text += printAddress("-s", src);
  if (dst !== null) text += printAddress("-d", dst);
  if (v6 !== null) text += printAddress6("-s", v6.src) + printAddress6("-d", v6.dst);
  if (inIface !== null) text += printInterface("-i", inIface);
  if (outIface !== null) text += printInterface("-o", outIface);
  if (proto !== null) text += `${not(proto)} -p ${formatProtocol(proto.proto)}`;
  if (fragment !== null) text += `${not(fragment)} -f`;
  for (const match of rule.matches) text += printMatch(match, family);
  if (rule.target !== null) text += printTarget(rule.target, family);
  return text;
}

function printAddress(option: string, test: AddressTest): string {
  return `${not(test)} ${option} ${formatAddress(test.address)}/${formatMask(test.mask)}`;
}

function printAddress6(option: string, test: Address6Test | null): string {
  return test === null ? "" : `${not(test)} ${option} ${formatAddress6(test.address)}/${formatMask6(test.mask)}`;
}

function printInterface(option: string, test: InterfaceTest): string {
  return `${not(test)} ${option} ${test.name}${test.wildcard ? "+" : ""}`;
}

/** ` -m NAME ...`. */
export function printMatch(match: Match, family: Family): string {
  if (match.kind === "assumed") return printMatch(match.of, family);
  if (match.kind === "opaque") return ` -m ${match.name}${match.options}`;
  return ` -m ${match.kind}${matchNamed(match.kind, family)!.print(match)}`;
}

/** ` -j NAME ...`, ` -g CHAIN`. */
export function printTarget(target: Target, family: Family): string {
  switch (target.kind) {
    case "ACCEPT":
    case "DROP":
    case "RETURN":
      return ` -j ${target.kind}`;
    case "jump":
      return ` -j ${target.chain}`;
    case "goto":
      return ` -g ${target.chain}`;
    case "opaque":
      return ` -j ${target.name}${target.options}`;
    default:
      return ` -j ${target.kind}${targetNamed(target.kind, family)!.print(target)}`;
  }
}
