// An explanation -> packets around the one explained that surely get the same answer for the same reasons.
//
// A product of sets, one for each field, never too wide: each rule that held takes all its conditions, each that did not
// the part that failed alone; what a range cannot say keeps the packet's own value. Addresses stay between the ends of all
// routes, so that routing and the types of addresses are the same. Where NAT has put a constant in place of a field, later
// conditions on it say nothing of the packet that came.

import { complement, intersect, unionOf } from "../compile/intervals.ts";
import type { Intervals } from "../compile/intervals.ts";
import type { Host } from "../host/host.ts";
import { formatAddress } from "../net/address.ts";
import { PROTO_ICMP, PROTO_TCP } from "../net/protocol.ts";
import type { Arrival } from "../packet/packet.ts";
import { TCP_FLAGS } from "../packet/packet.ts";
import { protocolName } from "../packet/protocol.ts";
import { printMatch } from "../rules/print.ts";
import type { Header, Match, NegatableRange, Rule, Ruleset, Target } from "../rules/ruleset.ts";
import type { Explanation, Seen, Step } from "./explain.ts";

const FIELDS = ["src", "dst", "proto", "sport", "dport", "flags", "icmp", "tos", "ttl", "len"] as const;
type FieldName = (typeof FIELDS)[number];

const MAX: Readonly<Record<FieldName, number>> = {
  ...{ src: 0xffffffff, dst: 0xffffffff, proto: 255, sport: 65535, dport: 65535 },
  ...{ flags: 255, icmp: 65535, tos: 255, ttl: 255, len: 65535 },
};

export interface SureRegion {
  /** Sets of values; a field that is absent is free. */
  readonly fields: Readonly<Partial<Record<FieldName, Intervals>>>;
  /** Of which interface all of it comes; "local": of the host itself. */
  readonly in: string;
  /** What else must be as it was: matches that no field tells. */
  readonly also: readonly string[];
}

/** `ruleset` and `host` are those of the explanation. */
export function sureRegion(explanation: Explanation, arrival: Arrival, ruleset: Ruleset, host: Host): SureRegion {
  const region = new Region(arrival);
  const { packet } = arrival;
  const { chains, outcome, first } = explanation;
  for (const name of ["src", "dst"] as const) region.keep(name, sameRoutes(packet[name], host));
  for (const visit of chains) {
    if (!visit.own) region.exactly();
    for (const step of visit.steps) {
      if (step.kind !== "end") region.learn(step, ruleOf(ruleset, step));
    }
    const end = visit.end.ref.number === "policy" ? null : ruleOf(ruleset, { ref: visit.end.ref });
    region.translate(end);
  }
  // what conntrack makes of a packet hangs on its flags, what it finds on its tuple
  if (outcome.ctState !== undefined) {
    region.exact("proto");
    if (packet.proto === PROTO_TCP) region.exact("flags");
    if (packet.proto === PROTO_ICMP) region.exact("icmp");
    // others may belong to connections of packets before
    if (!first || (outcome.ctState !== "NEW" && outcome.ctState !== "UNTRACKED")) region.exactly();
  }
  if (outcome.generated.length > 0 || packet.inner !== null || packet.fragmentOffset > 0 || packet.moreFragments)
    region.exactly();
  if (outcome.path.includes("FORWARD")) region.keep("ttl", [2, 255]);
  const smallest = Math.min(...host.interfaces.map(({ mtu }) => mtu), ...host.routes.map(({ mtu }) => mtu ?? 65535));
  if (packet.length <= smallest) region.keep("len", [20, smallest]);
  else region.exact("len");
  return region.finish();
}

function ruleOf(ruleset: Ruleset, { ref }: Pick<Step, "ref">): Rule {
  const table = ruleset.tables.find(({ name }) => name === ref.table)!;
  return table.chains.find(({ name }) => name === ref.chain)!.rules[(ref.number as number) - 1]!;
}

/** Addresses around one that no route and no policy rule tells from it. */
function sameRoutes(address: number, { routes, rules }: Host): Intervals {
  const prefixes = [
    ...routes.map(({ dst, prefixLength }) => [dst, prefixLength] as const),
    ...rules.flatMap(({ from, to }) =>
      [from, to].flatMap((each) => (each === null ? [] : [[each.address, each.prefixLength] as const])),
    ),
    ...SPECIAL,
  ];
  let [lo, hi] = [0, MAX.src];
  for (const [prefix, length] of prefixes) {
    const last = prefix + 2 ** (32 - length) - 1;
    if (address < prefix) hi = Math.min(hi, prefix - 1);
    else if (address > last) lo = Math.max(lo, last + 1);
    else [lo, hi] = [Math.max(lo, prefix), Math.min(hi, last)];
  }
  return [lo, hi];
}

/** What the kernel itself tells apart. */
const SPECIAL: readonly (readonly [number, number])[] = [
  [0, 8],
  [0, 32],
  [0x7f000000, 8],
  [0xe0000000, 4],
  [0xe0000000, 24],
  [0xf0000000, 4],
  [0xffffffff, 32],
];

class Region {
  readonly #arrival: Arrival;
  readonly #sets = new Map<FieldName, Intervals>();
  readonly #also = new Set<string>();
  /** Fields in whose place something else stands now. */
  readonly #replaced = new Set<FieldName>();

  constructor(arrival: Arrival) {
    this.#arrival = arrival;
  }

  keep(name: FieldName, set: Intervals): void {
    if (this.#replaced.has(name)) return;
    this.#sets.set(name, intersect(this.#sets.get(name) ?? [0, MAX[name]], set));
  }

  exact(name: FieldName): void {
    const value = valueOf(this.#arrival, name);
    this.#sets.set(name, [value, value]);
  }

  exactly(): void {
    for (const name of FIELDS) this.exact(name);
  }

  /** The rule held, with all its parts, or one of them did not. */
  learn({ kind, failed, seen }: Step, rule: Rule): void {
    const parts = partsOf(rule);
    if (kind === "dropped") this.exactly();
    else if (kind === "matched") {
      for (const part of parts) this.#hold(part);
      for (const field of askedBy(rule.target)) this.exact(field);
      // with an option more, perhaps
      if (rule.target?.kind === "TCPMSS") this.#replaced.add("len");
    } else this.#fail(parts, failed, rule, seen);
  }

  #hold({ field, set, text }: Part): void {
    if (field === null) return void this.#also.add(text);
    if (set === null) this.exact(field);
    else this.keep(field, set);
  }

  /** The first part that excludes the packet. */
  #fail(parts: readonly Part[], failed: string, rule: Rule, seen: Seen): void {
    const excludes = ({ field, set }: Part): boolean =>
      field !== null && set !== null && intersect(set, pointOf(seenValue(seen, field))).length === 0;
    const part = parts.find(excludes);
    if (part !== undefined) this.keep(part.field!, complement(part.set!, MAX[part.field!]));
    else if (failed.startsWith("-m")) this.#failMatch(rule, failed);
    else if (!/^(! )?-[io] /.test(failed)) this.exactly();
  }

  /** A match did not hold, and no range of it says why. */
  #failMatch({ matches }: Rule, failed: string): void {
    const match = matches.find((each) => printMatch(each, 4).trim() === failed)!;
    const parts = matchParts(match);
    for (const { field } of parts) if (field !== null) this.exact(field);
    if (parts.some(({ field }) => field === null)) this.#also.add(`not ${failed}`);
  }

  /** What the end of a nat chain has put in place of addresses and ports; a choice hangs on the packet. */
  translate(rule: Rule | null): void {
    const target = rule?.target;
    switch (target?.kind) {
      case "DNAT":
      case "SNAT": {
        const { addresses, ports, basePort } = target.range;
        const [address, port] = target.kind === "DNAT" ? (["dst", "dport"] as const) : (["src", "sport"] as const);
        if (addresses !== null && addresses.lo !== addresses.hi)
          for (const name of ["src", "dst"] as const) this.exact(name);
        if (ports !== null && (ports.lo !== ports.hi || basePort !== null)) this.exact(port);
        if (addresses !== null) this.#replaced.add(address);
        if (ports !== null) this.#replaced.add(port);
        return;
      }
      case "REDIRECT":
      case "NETMAP":
        for (const name of ["src", "dst", "dport"] as const) this.exact(name);
        this.#replaced.add("dst").add("dport");
        return;
      default:
    }
  }

  finish(): SureRegion {
    const fields = Object.fromEntries(
      [...this.#sets].filter(([name, set]) => !(set.length === 2 && set[0] === 0 && set[1] === MAX[name])),
    );
    return { fields, in: this.#arrival.inIface ?? "local", also: [...this.#also] };
  }
}

function pointOf(value: number): Intervals {
  return [value, value];
}

function valueOf({ packet }: Arrival, name: FieldName): number {
  switch (name) {
    case "flags":
      return packet.tcpFlags;
    case "icmp":
      return (packet.icmpType << 8) | packet.icmpCode;
    case "len":
      return packet.length;
    default:
      return packet[name];
  }
}

function seenValue({ packet }: Seen, name: FieldName): number {
  return valueOf({ packet } as Arrival, name);
}

const TUPLE: readonly FieldName[] = ["src", "dst", "proto", "sport", "dport", "icmp"];

/** Fields of the packet that what the target changes hangs on, where later rules and the way may ask for that. */
function askedBy(target: Target | null): readonly FieldName[] {
  switch (target?.kind) {
    case "TTL":
      return target.op === "set" ? [] : ["ttl"];
    case "TCPMSS":
      return ["len"];
    case "HMARK":
    case "SET":
      return TUPLE;
    default:
      return [];
  }
}

/** A condition; without a set it is one that no range says, without a field one that the packet's line does not tell. */
interface Part {
  readonly field: FieldName | null;
  readonly set: Intervals | null;
  readonly text: string;
}

function partsOf({ header, matches }: Rule): readonly Part[] {
  return [...headerParts(header), ...matches.flatMap((match) => matchParts(match))];
}

function part(field: FieldName | null, set: Intervals | null, text = ""): Part {
  return { field, set, text };
}

function headerParts({ src, dst, proto, fragment }: Header): readonly Part[] {
  const parts: Part[] = [];
  for (const [name, test] of [
    ["src", src],
    ["dst", dst],
  ] as const) {
    if (test === null) continue;
    const span = ~test.mask >>> 0;
    const contiguous = (span & (span + 1)) === 0;
    const set: Intervals = [test.address, (test.address | span) >>> 0];
    parts.push(part(name, contiguous ? (test.negated ? complement(set) : set) : null));
  }
  if (proto !== null) {
    const set: Intervals = [proto.proto, proto.proto];
    parts.push(part("proto", proto.negated ? complement(set, 255) : set));
  }
  if (fragment !== null) parts.push(part("len", null));
  return parts;
}

function range(field: FieldName, test: NegatableRange | null): readonly Part[] {
  if (test === null) return [];
  const set: Intervals = [test.lo, test.hi];
  return [part(field, test.negated ? complement(set, MAX[field]) : set)];
}

function matchParts(match: Match): readonly Part[] {
  switch (match.kind) {
    case "comment":
    case "state":
    case "mark":
    case "pkttype":
      // the state follows from what is kept exact, marks and frames are what they were
      return [];
    case "conntrack": {
      // so do status and direction; its tuple is the packet's
      const { kind: _kind, state: _state, status: _status, dir: _dir, ...tuple } = match;
      return Object.values(tuple).some((test) => test !== null) ? TUPLE.map((field) => part(field, null)) : [];
    }
    case "tcp":
      return [
        ...range("sport", match.sport),
        ...range("dport", match.dport),
        ...(match.flags === null ? [] : [part("flags", null)]),
        ...(match.option === null ? [] : [part(null, null, "the TCP options")]),
      ];
    case "udp":
      return [...range("sport", match.sport), ...range("dport", match.dport)];
    case "icmp":
      return [part("icmp", null)];
    case "multiport": {
      const set = unionOf(match.ports.map(({ lo, hi }) => [lo, hi] as const));
      if (match.which === "ports") return [part("sport", null), part("dport", null)];
      const field = match.which === "sports" ? "sport" : "dport";
      return [part(field, match.negated ? complement(set, 65535) : set)];
    }
    case "iprange":
      return [...range("src", match.src), ...range("dst", match.dst)];
    case "length":
      return range("len", match);
    case "ttl":
      return [part("ttl", null)];
    case "tos":
    case "dscp":
      return [part("tos", null)];
    case "ecn":
      return [part("tos", null), part("flags", null)];
    case "addrtype":
      // addresses stay where all have one type
      return [];
    default:
      return [part(null, null, match.kind === "opaque" ? match.name : match.kind)];
  }
}

/** Each field with its sets in words. */
export function regionWords({ fields, in: iface, also }: SureRegion): Readonly<Record<string, readonly string[]>> {
  const words: Record<string, readonly string[]> = { in: [iface] };
  for (const [name, set] of Object.entries(fields)) {
    const pairs = Array.from({ length: set.length / 2 }, (_, i) => [set[2 * i]!, set[2 * i + 1]!] as const);
    words[name] = pairs.flatMap(([lo, hi]) => WORDS[name as FieldName]?.(lo, hi) ?? numberWords(lo, hi));
  }
  return also.length === 0 ? words : { ...words, also };
}

function numberWords(lo: number, hi: number): readonly string[] {
  return [lo === hi ? String(lo) : `${lo}-${hi}`];
}

function addressWords(lo: number, hi: number): readonly string[] {
  if (lo === hi) return [formatAddress(lo)];
  const length = 32 - Math.log2(hi - lo + 1);
  const aligned = Number.isInteger(length) && lo % (hi - lo + 1) === 0;
  return [aligned ? `${formatAddress(lo)}/${length}` : `${formatAddress(lo)}-${formatAddress(hi)}`];
}

function flagWords(lo: number, hi: number): readonly string[] {
  if (lo !== hi) return numberWords(lo, hi);
  const names = Object.entries(TCP_FLAGS).flatMap(([name, bit]) => ((lo & bit) === 0 ? [] : [name]));
  return names.length === 0 ? ["NONE"] : names;
}

const WORDS: Partial<Record<FieldName, (lo: number, hi: number) => readonly string[]>> = {
  src: addressWords,
  dst: addressWords,
  proto: (lo, hi) => (lo === hi ? [String(protocolName(lo))] : numberWords(lo, hi)),
  flags: flagWords,
  icmp: (lo, hi) => (lo === hi ? [`${lo >> 8}/${lo & 255}`] : numberWords(lo, hi)),
};
