// Ruleset -> text, as `iptables-save` 1.8.9 (legacy) prints it, without the comment lines.
//
// Follows print_rule4() in iptables/iptables.c and the save functions in extensions/.
// Differs: where iptables-save would forget a test that never holds (`! -i +`, `! --dport 0:65535`,
// `--tcp-flags NONE SYN`) or the end of a range of ICMP codes, it is printed, and where it would round a rate away
// another unit is taken, so that the text means the same.

import { formatAddress, formatMask } from "../net/address.ts";
import { formatProtocol } from "../net/protocol.ts";
import type {
  AddressTest,
  Chain,
  Counters,
  InterfaceTest,
  LimitMatch,
  LogTarget,
  Match,
  NatRange,
  NegatableRange,
  Range,
  Rule,
  Ruleset,
  Table,
  TableName,
  Target,
} from "./ruleset.ts";

export interface PrintOptions {
  /**
   * The counters of a rule, by its number from 1, or of the chain's policy. With it rules get theirs in front, as
   * `iptables-save -c` has it; without it rules have none and policies [0:0].
   */
  readonly counters?: (table: TableName, chain: string, number: number | "policy") => Counters;
}

/** Tables in the order of the rule set; ends in a newline. */
export function printRuleset(ruleset: Ruleset, options: PrintOptions = {}): string {
  return ruleset.tables.map((table) => printTable(table, options)).join("");
}

function printTable(table: Table, options: PrintOptions): string {
  const lines = [`*${table.name}`];
  for (const chain of table.chains) lines.push(printChain(table, chain, options));
  for (const chain of table.chains) {
    chain.rules.forEach((rule, index) => {
      const counters = options.counters?.(table.name, chain.name, index + 1);
      lines.push((counters === undefined ? "" : printCounters(counters) + " ") + printRule(chain.name, rule));
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

/** `-A CHAIN ...`, without counters and newline. */
export function printRule(chain: string, rule: Rule): string {
  const { src, dst, inIface, outIface, proto, fragment } = rule.header;
  let text = `-A ${chain}`;
  if (src !== null) text += printAddress("-s", src);
  if (dst !== null) text += printAddress("-d", dst);
  if (inIface !== null) text += printInterface("-i", inIface);
  if (outIface !== null) text += printInterface("-o", outIface);
  if (proto !== null) text += `${not(proto)} -p ${formatProtocol(proto.proto)}`;
  if (fragment !== null) text += `${not(fragment)} -f`;
  for (const match of rule.matches) text += ` -m ${match.kind}${printMatch(match)}`;
  if (rule.target !== null) text += printTarget(rule.target);
  return text;
}

function printAddress(option: string, test: AddressTest): string {
  return `${not(test)} ${option} ${formatAddress(test.address)}/${formatMask(test.mask)}`;
}

function printInterface(option: string, test: InterfaceTest): string {
  return `${not(test)} ${option} ${test.name}${test.wildcard ? "+" : ""}`;
}

function not({ negated }: { readonly negated: boolean }): string {
  return negated ? " !" : "";
}

/** The options alone, each with a blank before it. */
function printMatch(match: Match): string {
  switch (match.kind) {
    case "tcp":
      return printPorts("--sport", match.sport) + printPorts("--dport", match.dport) + printFlags(match.flags);
    case "udp":
      return printPorts("--sport", match.sport) + printPorts("--dport", match.dport);
    case "icmp":
      return `${not(match)} --icmp-type ${printIcmpType(match.type, match.code)}`;
    case "conntrack":
      return `${not(match)} --ctstate ${match.states.join(",")}`;
    case "state":
      return `${not(match)} --state ${match.states.join(",")}`;
    case "addrtype":
      return (
        printTypes("--src-type", match.srcTypes) +
        printTypes("--dst-type", match.dstTypes) +
        (match.limitIface === null ? "" : ` --limit-iface-${match.limitIface}`)
      );
    case "mark":
      return `${not(match)} --mark ${hex(match.value)}${match.mask === 0xffffffff ? "" : `/${hex(match.mask)}`}`;
    case "multiport":
      return `${not(match)} --${match.which} ${match.ports.map((ports) => printRange(ports, ":")).join(",")}`;
    case "comment":
      return ` --comment ${quote(match.comment)}`;
    case "iprange":
      return printAddressRange("--src-range", match.src) + printAddressRange("--dst-range", match.dst);
    case "limit":
      return ` --limit ${printRate(match)}${match.burst === 5 ? "" : ` --limit-burst ${match.burst}`}`;
    case "statistic":
      return match.mode === "random"
        ? ` --mode random${not(match)} --probability ${printProbability(match.probability)}`
        : ` --mode nth${not(match)} --every ${match.every} --packet ${match.packet}`;
  }
}

/** `%.11f`. */
function printProbability(probability: number): string {
  const value = probability / 0x80000000;
  // an odd multiple of 2^-12 lies in the middle of two such numbers: C takes the even one, toFixed() the upper
  const exact = value.toFixed(12);
  const tie = probability % 0x80000 === 0 && /[02468]5$/.test(exact);
  return tie ? exact.slice(0, -1) : value.toFixed(11);
}

function printPorts(option: string, ports: NegatableRange | null): string {
  return ports === null ? "" : `${not(ports)} ${option} ${printRange(ports, ":")}`;
}

function printRange({ lo, hi }: Range, between: string): string {
  return lo === hi ? String(lo) : `${lo}${between}${hi}`;
}

const FLAG_NAMES = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"] as const;

function printFlags(flags: { mask: number; comp: number; negated: boolean } | null): string {
  return flags === null ? "" : `${not(flags)} --tcp-flags ${flagNames(flags.mask)} ${flagNames(flags.comp)}`;
}

function flagNames(bits: number): string {
  return FLAG_NAMES.filter((_, bit) => (bits >> bit) & 1).join(",") || "NONE";
}

function printIcmpType(type: number, code: Range): string {
  if (type === 255) return "any";
  return code.lo === 0 && code.hi === 255 ? String(type) : `${type}/${printRange(code, ":")}`;
}

function printTypes(option: string, test: { types: readonly string[]; negated: boolean } | null): string {
  return test === null ? "" : `${not(test)} ${option} ${test.types.join(",")}`;
}

function printAddressRange(option: string, range: NegatableRange | null): string {
  if (range === null) return "";
  return `${not(range)} ${option} ${formatAddress(range.lo)}-${formatAddress(range.hi)}`;
}

/** Units of a rate, in 1/10,000 s. */
const RATE_UNITS = [
  ["day", 864_000_000],
  ["hour", 36_000_000],
  ["min", 600_000],
  ["sec", 10_000],
] as const;

/** The finest unit whose rounding is small, as print_rate() in libxt_limit.c chooses it. */
function printRate({ average }: LimitMatch): string {
  let chosen = 0;
  for (let i = 1; i < RATE_UNITS.length; i++) {
    const period = RATE_UNITS[i]![1];
    if (average > period || Math.floor(period / average) < period % average) break;
    chosen = i;
  }
  // a few rates would be read back as another one: 54003/day as 2250/hour
  const exact = [RATE_UNITS[chosen]!, ...RATE_UNITS].find(
    ([, period]) => Math.floor(period / Math.floor(period / average)) === average,
  );
  const [unit, period] = exact ?? RATE_UNITS[chosen]!;
  return `${Math.floor(period / average)}/${unit}`;
}

function printTarget(target: Target): string {
  switch (target.kind) {
    case "ACCEPT":
    case "DROP":
    case "RETURN":
      return ` -j ${target.kind}`;
    case "jump":
      return ` -j ${target.chain}`;
    case "goto":
      return ` -g ${target.chain}`;
    case "REJECT":
      return ` -j REJECT --reject-with ${target.with}`;
    case "LOG":
      return ` -j LOG${printLog(target)}`;
    case "MARK":
      return ` -j MARK --set-xmark ${hex(target.value)}/${hex(target.mask)}`;
    case "DNAT":
      return ` -j DNAT --to-destination ${printNatRange(target.range)}${printNatFlags(target.range)}`;
    case "SNAT":
      return ` -j SNAT --to-source ${printNatRange(target.range)}${printNatFlags(target.range)}`;
    case "MASQUERADE":
    case "REDIRECT":
      return ` -j ${target.kind}${printToPorts(target.range)}${printNatFlags(target.range)}`;
  }
}

function printLog(target: LogTarget): string {
  return (
    (target.prefix === "" ? "" : ` --log-prefix ${quote(target.prefix)}`) +
    (target.level === 4 ? "" : ` --log-level ${target.level}`) +
    (target.tcpSequence ? " --log-tcp-sequence" : "") +
    (target.tcpOptions ? " --log-tcp-options" : "") +
    (target.ipOptions ? " --log-ip-options" : "") +
    (target.uid ? " --log-uid" : "") +
    (target.macdecode ? " --log-macdecode" : "")
  );
}

function printNatRange({ addresses, ports, basePort }: NatRange): string {
  let text = "";
  if (addresses !== null) {
    text += formatAddress(addresses.lo);
    if (addresses.hi !== addresses.lo) text += `-${formatAddress(addresses.hi)}`;
  }
  if (ports !== null) text += `:${printRange(ports, "-")}`;
  return basePort === null ? text : `${text}/${basePort}`;
}

function printToPorts({ ports }: NatRange): string {
  return ports === null ? "" : ` --to-ports ${printRange(ports, "-")}`;
}

function printNatFlags({ random, randomFully, persistent }: NatRange): string {
  return (random ? " --random" : "") + (randomFully ? " --random-fully" : "") + (persistent ? " --persistent" : "");
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** Bare if it holds letters, digits, `_` and `-` alone (xtables_save_string()). */
function quote(text: string): string {
  return /^[\w-]+$/.test(text) ? text : `"${text.replace(/["\\']/g, "\\$&")}"`;
}
