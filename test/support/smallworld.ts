// Rule sets so small that all of them can be tried, with every packet there is.
//
// A world is the table filter with one built-in chain, one user chain X, and packets that differ in a few bits. What is
// asked of these bits, and what is done then, is the whole of the language of chains: jump, goto, RETURN, a mark turned
// over, ACCEPT, DROP, and nothing.

import type { Chain, Header, Hook, Match, Rule, Ruleset, Table, TableName, Target } from "../../src/rules/ruleset.ts";
import { formatAddress } from "../../src/net/address.ts";
import type { HostJson } from "./arbitrary-host.ts";
import type { PacketJson } from "./arbitrary-packets.ts";
import type { Draw } from "./draw.ts";

/** The rules of a built-in chain, and of the user chain X. */
interface SmallRuleset {
  readonly builtin: readonly Rule[];
  readonly x: readonly Rule[];
}

/** All packets come to this host, or are sent by it. */
export const HOST: HostJson = {
  interfaces: [
    { name: "eth0", addresses: ["10.0.0.1/24"] },
    { name: "eth1", addresses: ["10.0.1.1/24"] },
  ],
  routes: [],
  rules: [],
  sysctl: {},
  conntrack: "auto",
};

const UDP = 17;
/** 10.0.0.8: three bits are free below. */
const SRC = 0x0a00_0008;

/** All rule sets of up to two rules over two bits, the destination port and the mark. */
export function* upToTwoRules(): Generator<SmallRuleset> {
  const builtin = rules(CONDITIONS, [...TARGETS, ...CALLS]);
  const x = rules(CONDITIONS, TARGETS);
  yield { builtin: [], x: [] };
  for (const rule of builtin) yield { builtin: [rule], x: [] };
  for (const rule of x) yield { builtin: [], x: [rule] };
  for (const first of builtin) {
    for (const second of builtin) yield { builtin: [first, second], x: [] };
    for (const second of x) yield { builtin: [first], x: [second] };
  }
  for (const first of x) for (const second of x) yield { builtin: [], x: [first, second] };
}

/** A call, two rules in what it calls, and one behind it: enough for a RETURN that skips past a cover. */
export function* callsWithBodies(): Generator<SmallRuleset> {
  const few = [CONDITIONS[0]!, DPORT_1, MARK_1];
  const body = rules(few, TARGETS);
  for (const call of rules(few, CALLS)) {
    for (const first of body) {
      for (const second of body) {
        for (const behind of rules([DPORT_1], TARGETS)) yield { builtin: [call, behind], x: [first, second] };
      }
    }
  }
}

/**
 * Three rule sets at a time as one, since making a firewall of any costs more than asking it: the first for INPUT, the
 * second for FORWARD, the third for OUTPUT, each with an X of its own. The last may have fewer.
 */
export function* byThrees(small: Iterable<SmallRuleset>): Generator<Ruleset> {
  let three: SmallRuleset[] = [];
  for (const each of small) {
    three.push(each);
    if (three.length < HOOKS.length) continue;
    yield together(three);
    three = [];
  }
  if (three.length > 0) yield together(three);
}

/** One of them for INPUT, without the marks that raw gives. */
export function alone({ builtin, x }: SmallRuleset): Ruleset {
  return filter(builtinChain("INPUT", "DROP", builtin), [userChain("X", x)]);
}

/** Every packet of two bits, for each hook. The host's own come with a mark, those of 10.0.0.9 get theirs in raw. */
export const TWO_BITS: readonly PacketJson[] = ["10.0.0.1", "10.0.1.7", "local"].flatMap((dst) =>
  [0, 1, 2, 3].map((bits): PacketJson => {
    const packet = { id: `${dst} ${bits}`, proto: "udp", sport: 0, dport: bits & 1 };
    if (dst === "local") return { ...packet, in: "local", dst: "10.0.0.9", mark: bits >> 1 };
    return { ...packet, in: "eth0", src: bits >> 1 === 1 ? "10.0.0.9" : "10.0.0.8", dst };
  }),
);

/** Every packet of three fields of three bits. */
export const NINE_BITS: readonly PacketJson[] = Array.from({ length: 512 }, (_, bits) => ({
  id: bits,
  in: "eth0",
  src: formatAddress(SRC + (bits & 7)),
  dst: "10.0.0.1",
  proto: "udp",
  sport: (bits >> 3) & 7,
  dport: bits >> 6,
}));

/** Rules over three fields of three bits: ranges, masks with holes, negations, lists, and chains that call. */
export function drawNineBits(draw: Draw): Ruleset {
  const names = ["X", "Y", "Z"];
  const drawn = (callees: readonly string[]): Rule[] =>
    Array.from({ length: draw.between(1, 5) }, () => drawNineBitRule(draw, callees));
  const builtin = builtinChain("INPUT", draw.pick(["ACCEPT", "DROP"] as const), drawn(names));
  const user = names.map((name, index) => userChain(name, drawn(names.slice(index + 1))));
  return filter(builtin, user);
}

const POSITION = { file: "small", line: 1, column: 1 };
const HOOKS: readonly Hook[] = ["INPUT", "FORWARD", "OUTPUT"];

function together(small: readonly SmallRuleset[]): Ruleset {
  const builtin = HOOKS.map((hook, index) => builtinChain(hook, "DROP", renamed(small[index]?.builtin ?? [], hook)));
  const user = HOOKS.map((hook, index) => userChain(`X-${hook}`, renamed(small[index]?.x ?? [], hook)));
  return { family: 4, tables: [MARKS, table("filter", [...builtin, ...user])], notes: [] };
}

function renamed(rules: readonly Rule[], hook: Hook): Rule[] {
  return rules.map((rule) => {
    const { target } = rule;
    return target !== null && "chain" in target ? { ...rule, target: { ...target, chain: `X-${hook}` } } : rule;
  });
}

/** The other built-in chains are empty. */
function filter(builtin: Chain, user: readonly Chain[]): Ruleset {
  const chains = HOOKS.map((hook) => (hook === builtin.name ? builtin : builtinChain(hook, "ACCEPT", [])));
  return { family: 4, tables: [table("filter", [...chains, ...user])], notes: [] };
}

function table(name: TableName, chains: readonly Chain[]): Table {
  return { name, chains, position: POSITION };
}

function builtinChain(name: Hook, policy: "ACCEPT" | "DROP", rules: readonly Rule[]): Chain {
  return { name, policy, counters: null, rules };
}

function userChain(name: string, rules: readonly Rule[]): Chain {
  return { name, policy: null, counters: null, rules };
}

// Two bits

interface Condition {
  readonly header: Partial<Header>;
  readonly matches: readonly Match[];
}

const TARGETS: readonly (Target | null)[] = [
  { kind: "ACCEPT" },
  { kind: "DROP" },
  { kind: "RETURN" },
  // turned over, so that doing it twice shows
  { kind: "MARK", value: 1, mask: 0 },
  null,
];
const CALLS: readonly Target[] = [
  { kind: "jump", chain: "X" },
  { kind: "goto", chain: "X" },
];
const CONDITIONS: readonly Condition[] = [null, 0, 1].flatMap((port) =>
  [null, 0, 1].map((mark) => condition(port, mark)),
);
const DPORT_1 = condition(1, null);
const MARK_1 = condition(null, 1);

function condition(port: number | null, mark: number | null): Condition {
  const matches: Match[] = [];
  if (port !== null) matches.push({ kind: "udp", sport: null, dport: { lo: port, hi: port, negated: false } });
  if (mark !== null) matches.push({ kind: "mark", value: mark, mask: 0xffff_ffff, negated: false });
  return { header: port === null ? {} : { proto: { proto: UDP, negated: false } }, matches };
}

function rules(conditions: readonly Condition[], targets: readonly (Target | null)[]): Rule[] {
  return conditions.flatMap(({ header, matches }) => targets.map((target) => rule(header, matches, target)));
}

const MARKS = table("raw", [
  builtinChain("PREROUTING", "ACCEPT", [
    rule({ src: { address: 0x0a00_0009, mask: 0xffff_ffff, negated: false } }, [], { kind: "MARK", value: 1, mask: 1 }),
  ]),
  builtinChain("OUTPUT", "ACCEPT", []),
]);

function rule(header: Partial<Header>, matches: readonly Match[], target: Target | null): Rule {
  const anything = { src: null, dst: null, v6: null, inIface: null, outIface: null, proto: null, fragment: null };
  return { header: { ...anything, ...header }, matches, target, counters: null, position: POSITION, text: "" };
}

// Three fields of three bits

function drawNineBitRule(draw: Draw, callees: readonly string[]): Rule {
  const matches: Match[] = [];
  const header: { -readonly [Key in keyof Header]?: Header[Key] } = { proto: { proto: UDP, negated: false } };
  const range = (): { lo: number; hi: number; negated: boolean } => {
    const lo = draw.below(8);
    return { lo, hi: draw.between(lo, 7), negated: draw.chance(0.2) };
  };
  const asksSource = draw.below(3);
  if (asksSource === 0) {
    const mask = (0xffff_fff8 | draw.below(8)) >>> 0;
    header.src = { address: ((SRC + draw.below(8)) & mask) >>> 0, mask, negated: draw.chance(0.2) };
  } else if (asksSource === 1) {
    const { lo, hi, negated } = range();
    matches.push({ kind: "iprange", src: { lo: SRC + lo, hi: SRC + hi, negated }, dst: null });
  }
  if (draw.chance(0.5)) {
    matches.push({ kind: "udp", sport: draw.chance(0.5) ? range() : null, dport: draw.chance(0.7) ? range() : null });
  }
  if (draw.chance(0.3)) {
    const ports = Array.from({ length: draw.between(1, 3) }, range).map(({ lo, hi }) => ({ lo, hi }));
    const which = draw.pick(["sports", "dports", "ports"] as const);
    matches.push({ kind: "multiport", which, ports, negated: draw.chance(0.3) });
  }
  if (draw.chance(0.15)) {
    matches.push({ kind: "mark", value: draw.below(2), mask: draw.pick([1, 0xffff_ffff]), negated: draw.chance(0.3) });
  }
  const calls = callees.map((chain): Target => ({ kind: draw.chance(0.3) ? "goto" : "jump", chain }));
  return rule(header, draw.shuffled(matches), draw.pick([...TARGETS, ...calls, ...calls]));
}
