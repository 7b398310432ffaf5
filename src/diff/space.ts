// The bits of a packet: which fields there are, where their bits stand in a diagram, and sets of values as diagrams.
//
// A field is asked from its highest bit down, so that a range of values is a narrow diagram. What the host around a single
// chain would tell (types of addresses, who owns the socket) is a field like any other. Guards are bits behind all fields.

import { PROTO_ICMP, PROTO_TCP, PROTO_UDP } from "../net/protocol.ts";
import { ADDRESS_TYPES, rulesOf } from "../rules/ruleset.ts";
import type { Hook, InterfaceTest, Ruleset, TableName } from "../rules/ruleset.ts";
import { FALSE, TRUE } from "./diagram.ts";
import type { Diagram, Node } from "./diagram.ts";

/** Names and bits of the fields, in the order in which they are asked. The names are those of regions in answers. */
const FIELDS = [
  ["in", 15],
  ["src", 32],
  // beside the source, which rules tie to it: apart from it each source would have a diagram of its own in between
  ["src_mac", 48],
  ["out", 15],
  ["dst", 32],
  // few values that most rules ask: above, they would multiply what stands below
  ["header", 3],
  ["proto", 8],
  ["ct_state", 5],
  ["sport", 16],
  ["dport", 16],
  ["flags", 8],
  ["icmp", 16],
  ["tos", 8],
  ["ttl", 8],
  ["len", 16],
  ["mark", 32],
  ["connmark", 32],
  ["frame", 2],
  ["socket", 2],
  ["uid", 32],
  ["gid", 32],
  ["src_type", 4],
  ["dst_type", 4],
] as const;

export type FieldName = (typeof FIELDS)[number][0];

export interface Field {
  readonly name: FieldName;
  readonly first: number;
  /** Behind its last bit. */
  readonly end: number;
}

function placed(): readonly Field[] {
  let first = 0;
  return FIELDS.map(([name, bits]) => {
    const field = { name, first, end: first + bits };
    first = field.end;
    return field;
  });
}

export const ALL_FIELDS: readonly Field[] = placed();
export const FIELD: Readonly<Record<FieldName, Field>> = Object.fromEntries(
  ALL_FIELDS.map((field) => [field.name, field]),
) as Record<FieldName, Field>;

/** Guards begin here. */
export const FIRST_GUARD_BIT = ALL_FIELDS.at(-1)!.end;

/** How much of its transport header a packet shows: bytes of it at fragment offset 0, or where it was cut out. */
export const HEADER = { whole: 0, from8: 1, from4: 2, from0: 3, offset8: 4, later: 5 } as const;

export const SOCKET = { none: 0, kernel: 1, user: 2 } as const;

/** Of ct_state: state * 4 + (1: source translated) + (2: destination translated). */
export const CT_STATE_NAMES = ["INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED"] as const;

const INVALID = [0, 3] as const;
const NEW = [4, 7] as const;
const RELATED = [12, 15] as const;
const UNTRACKED = [16, 19] as const;

/** Sorted pairs [lo, hi], disjoint. */
export type Ranges = readonly (readonly [number, number])[];

export class Space {
  readonly diagram: Diagram;
  readonly interfaces: InterfaceClasses;

  constructor(diagram: Diagram, interfaces: InterfaceClasses) {
    this.diagram = diagram;
    this.interfaces = interfaces;
  }

  /** Packets whose field lies in one of the ranges, in any order. */
  among(name: FieldName, ranges: Ranges): Node {
    const { first, end } = FIELD[name];
    const sorted = [...ranges].sort((a, b) => a[0] - b[0]);
    return this.#among(first, end, 0, 2 ** (end - first) - 1, sorted, 0, sorted.length);
  }

  /** `ranges[from..to)` are those that may meet lo..hi. */
  #among(bit: number, end: number, lo: number, hi: number, ranges: Ranges, from: number, to: number): Node {
    let first = from;
    while (first < to && ranges[first]![1] < lo) first++;
    let last = to;
    while (last > first && ranges[last - 1]![0] > hi) last--;
    if (first === last) return FALSE;
    if (ranges[first]![0] <= lo && ranges[first]![1] >= hi) return TRUE;
    if (bit === end) return TRUE;
    const half = lo + (hi - lo + 1) / 2;
    return this.diagram.node(
      bit,
      this.#among(bit + 1, end, lo, half - 1, ranges, first, last),
      this.#among(bit + 1, end, half, hi, ranges, first, last),
    );
  }

  range(name: FieldName, lo: number, hi: number, negated = false): Node {
    const set = lo > hi ? FALSE : this.among(name, [[lo, hi]]);
    return negated ? this.diagram.not(set) : set;
  }

  is(name: FieldName, value: number): Node {
    return this.among(name, [[value, value]]);
  }

  /** (field & mask) == value, for fields of up to 32 bits; nothing if `value` has other bits. */
  masked(name: FieldName, mask: number, value: number, negated = false): Node {
    const { first, end } = FIELD[name];
    let node: Node = (value & ~mask) === 0 ? TRUE : FALSE;
    for (let bit = end - 1; bit >= first && node !== FALSE; bit--) {
      const weight = end - 1 - bit;
      if (((mask >>> weight) & 1) === 0) continue;
      const one = ((value >>> weight) & 1) === 1;
      node = this.diagram.node(bit, one ? FALSE : node, one ? node : FALSE);
    }
    return negated ? this.diagram.not(node) : node;
  }

  /** (field & mask) == value for some value of the field in the set, which asks nothing else. */
  meets(set: Node, name: FieldName, mask: number, value: number): boolean {
    const { end } = FIELD[name];
    const go = (node: Node): boolean => {
      if (this.diagram.isLeaf(node)) return node === TRUE;
      const weight = end - 1 - this.diagram.bitOf(node);
      const [low, high] = [this.diagram.lowOf(node), this.diagram.highOf(node)];
      if (((mask >>> weight) & 1) === 0) return go(low) || go(high);
      return go(((value >>> weight) & 1) === 1 ? high : low);
    };
    return go(set);
  }

  interface(name: "in" | "out", test: InterfaceTest): Node {
    return this.among(
      name,
      this.interfaces.numbersOf(test).map((number) => [number, number] as const),
    );
  }

  /**
   * What each field may be where packets come into a built-in chain; all others are free.
   *
   * @param tracked connections are tracked, whichever rule set is loaded
   */
  fieldsAt(hook: Hook, table: TableName, tracked: boolean): ReadonlyMap<FieldName, Node> {
    const count = this.interfaces.names.length;
    const out = hook === "PREROUTING" || hook === "INPUT" ? this.is("out", 0) : this.range("out", 1, count);
    const from = hook === "OUTPUT" ? [0, 0] : hook === "POSTROUTING" ? [0, count] : [1, count];
    // the nat table sees the first packets of connections alone
    const states: Ranges = table === "nat" ? [NEW, RELATED] : [[0, 4 * CT_STATE_NAMES.length - 1]];
    // an owner has only what a socket of a process has sent
    const sent = hook === "OUTPUT" || hook === "POSTROUTING";
    return new Map<FieldName, Node>([
      // what is tracked comes as whole datagrams
      ["header", this.range("header", 0, tracked ? HEADER.from0 : HEADER.later)],
      ["in", this.range("in", from[0]!, from[1]!)],
      ["out", out],
      // frames for other hosts go no further than the interface, those for many are not forwarded
      ["frame", this.range("frame", 0, hook === "PREROUTING" || hook === "INPUT" ? 2 : 0)],
      ["ct_state", this.among("ct_state", states)],
      ["socket", this.range("socket", 0, sent ? SOCKET.user : SOCKET.none)],
      ["src_type", this.range("src_type", 0, ADDRESS_TYPES.length - 1)],
      ["dst_type", this.range("dst_type", 0, ADDRESS_TYPES.length - 1)],
    ]);
  }

  /** Tables behind connection tracking see a header cut short as INVALID, those of nat not at all. */
  brokenAreInvalid(): Node {
    const { diagram } = this;
    const cut = (proto: number, last: number): Node =>
      diagram.and(this.is("proto", proto), this.range("header", last + 1, HEADER.from0));
    const broken = [cut(PROTO_TCP, HEADER.whole), cut(PROTO_UDP, HEADER.from8), cut(PROTO_ICMP, HEADER.from8)];
    const unknown = this.among("ct_state", [INVALID, UNTRACKED]);
    return diagram.or(diagram.not(broken.reduce((a, b) => diagram.or(a, b))), unknown);
  }

  /** What the header shows and how long the packet is, IP options of up to 40 bytes allowed for. */
  lengths(): Node {
    const { diagram } = this;
    const longest = 0xffff;
    const lengths: readonly (readonly [number, number, number])[] = [
      [HEADER.whole, 40, longest],
      [HEADER.from8, 28, 79],
      [HEADER.from4, 24, 67],
      [HEADER.from0, 20, 63],
      [HEADER.offset8, 21, longest],
      [HEADER.later, 21, longest],
    ];
    return lengths
      .map(([header, lo, hi]) => diagram.and(this.is("header", header), this.range("len", lo, hi)))
      .reduce((a, b) => diagram.or(a, b));
  }
}

/**
 * Interfaces as far as rules tell them apart: each name that is written, for each wildcard the names that only it matches,
 * and all others. 0 is no interface, whose name is empty to rules (ip_packet_match() in net/ipv4/netfilter/ip_tables.c).
 */
export class InterfaceClasses {
  /** names[n - 1] stands for class n: one of its members. */
  readonly names: readonly string[];
  /** How the class is written in a region: a name, `eth+`; null for the others. */
  readonly labels: readonly (string | null)[];
  readonly #wildcards: readonly string[];
  readonly #others: number;

  /** @param others names that no rule writes and that are to be told apart all the same */
  constructor(rulesets: readonly Ruleset[], others: readonly string[] = []) {
    const tests = rulesets
      .flatMap(rulesOf)
      .flatMap(({ header }) => [header.inIface, header.outIface])
      .filter((test) => test !== null);
    const exact = new Set([...tests.filter(({ wildcard }) => !wildcard).map(({ name }) => name), ...others]);
    const wildcards = new Set(tests.filter(({ wildcard, name }) => wildcard && name !== "").map(({ name }) => name));
    const taken = new Set(exact);
    // a member that no longer wildcard takes, and no name
    const member = (prefix: string, tails: readonly string[]): string | null => {
      const free = tails
        .map((tail) => prefix + tail)
        .find((name) => {
          if (name.length > LONGEST_NAME || taken.has(name)) return false;
          return ![...wildcards].some((other) => other.length > prefix.length && name.startsWith(other));
        });
      if (free !== undefined) taken.add(free);
      return free ?? null;
    };
    const names: string[] = [...exact].sort();
    const labels: (string | null)[] = [...names];
    for (const prefix of [...wildcards].sort()) {
      const name = member(prefix, TAILS);
      if (name === null) continue;
      names.push(name);
      labels.push(`${prefix}+`);
    }
    const other = member("", OTHERS);
    if (other === null) throw new Error("the rules leave no name for another interface");
    names.push(other);
    labels.push(null);
    this.names = names;
    this.labels = labels;
    this.#wildcards = [...wildcards];
    this.#others = names.length;
  }

  /** The class of all names that no rule tells from others. */
  get others(): number {
    return this.#others;
  }

  /** The class of a name. */
  classOf(name: string): number {
    const exact = this.names.indexOf(name);
    if (exact >= 0 && this.labels[exact] === name) return exact + 1;
    const [longest] = this.#wildcards.filter((prefix) => name.startsWith(prefix)).sort((a, b) => b.length - a.length);
    return longest === undefined ? this.#others : this.labels.indexOf(`${longest}+`) + 1;
  }

  get wildcards(): readonly string[] {
    return this.#wildcards;
  }

  numbersOf(test: InterfaceTest): readonly number[] {
    return ["", ...this.names].flatMap((name, number) => {
      const same = test.wildcard ? name.startsWith(test.name) : name === test.name;
      return same !== test.negated ? [number] : [];
    });
  }
}

const LONGEST_NAME = 15;
const LETTERS = Array.from("0123456789abcdefghijklmnopqrstuvwxyz");
const TAILS: readonly string[] = ["", ...LETTERS, ...LETTERS.flatMap((a) => LETTERS.map((b) => a + b))];
const OTHERS: readonly string[] = ["eth", "net", "if", "dev", "other", "z", "~"].flatMap((prefix) =>
  TAILS.slice(1).map((tail) => prefix + tail),
);
