// A place -> the packets that end there, as they come in from outside: rules, routing and translations put together.
//
// The way is gone backwards. A set of packets is a diagram (diagram.ts), and what a chain does to packets is another, from
// packets to outcomes (program.ts): what goes in to come out in the set is, for each outcome that lets pass, the packets
// with this outcome whose changed selves lie in the set. Routing is a table of pieces: no route, policy rule or address
// tells two addresses of a piece apart, and what becomes of a packet from one piece to another the reference says. DNAT
// puts its address in the place of each bit of the destination. So the regions are of packets before anything was done.
//
// Told are whole packets of TCP, UDP and ICMP that are the first of their connection, or belong to none, and short enough
// for every interface. A packet of each region is sent its way through the reference before it is told.

import { needsTracking } from "../compile/tracking.ts";
import type { Host, Interface } from "../host/host.ts";
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP } from "../net/protocol.ts";
import { TCP_FLAGS } from "../packet/packet.ts";
import { UnsupportedError } from "../reference/error.ts";
import { Routing } from "../reference/routing.ts";
import { hasValidFlags } from "../reference/tcp.ts";
import { RuleError } from "../rules/error.ts";
import type { Chain, Hook, NatRange, Rule, Ruleset, TableName } from "../rules/ruleset.ts";
import { align, tableOf } from "./alignment.ts";
import type { AlignedSide } from "./alignment.ts";
import { refuseWhatIsChanged } from "./compare.ts";
import { TYPE_NUMBERS } from "./condition.ts";
import { BudgetError, Diagram, FALSE, TRUE } from "./diagram.ts";
import type { DiagramBudget, Node } from "./diagram.ts";
import { Guards } from "./guards.ts";
import { Notes } from "./notes.ts";
import { keyOfEffects, NO_EFFECTS, Outcomes, UNTRACKED } from "./outcome.ts";
import type { Effects } from "./outcome.ts";
import { freshContext, ProgramBuilder } from "./program.ts";
import { FIELD, HEADER, InterfaceClasses, Space } from "./space.ts";
import type { FieldName, Ranges } from "./space.ts";

/** Where packets are to end; what is left out is free. */
export interface Place {
  readonly dst?: Ranges;
  readonly dport?: Ranges;
  readonly proto?: number;
  /** By which interfaces they come in; every one but lo. */
  readonly in?: readonly string[];
}

export interface Toward {
  readonly space: Space;
  readonly guards: Guards;
  /** What a packet may be at all, field by field: what regions need not tell. */
  readonly fields: ReadonlyMap<FieldName, Node>;
  readonly universe: Node;
  /** The packets. */
  readonly packets: Node;
}

const LOOPBACK = "lo";

/** Pairs of pieces that routing is asked about. */
const MOST_ROUTES = 2_000_000;

const PROTOCOLS = [PROTO_ICMP, PROTO_TCP, PROTO_UDP];
/** Requests that begin a connection (icmp_new() in net/netfilter/nf_conntrack_proto_icmp.c). */
const REQUESTS = [8, 13, 15, 17];

/** Throws BudgetError, and RuleError for what is not followed. */
export function packetsToward(
  { dst, dport, proto, in: ifaces }: Place,
  ruleset: Ruleset,
  host: Host,
  budget: DiagramBudget,
): Toward {
  const context = contextOf([ruleset], host, budget);
  const { diagram, space } = context;
  const there = [
    dst === undefined ? TRUE : space.among("dst", dst),
    proto === undefined ? TRUE : space.is("proto", proto),
    dport === undefined ? TRUE : diagram.and(ported(space), space.among("dport", dport)),
  ].reduceRight((a, b) => diagram.and(a, b), TRUE);
  const sides = (name: TableName): AlignedSide => align(tableOf(ruleset, name), tableOf(ruleset, name)).old;
  const ends = { delivered: there, forwarded: there, rejected: () => FALSE, destined: keep, sourced: keep };
  const backwards = new Backwards(ruleset, sides, host, context, ifaces);
  const { fields, universe } = backwards.arriving();
  return { space, guards: context.guards, fields, universe, packets: diagram.and(backwards.from(ends), universe) };
}

function keep(_target: unknown, set: Node): Node {
  return set;
}

/** What rule sets that are looked at together share. */
export interface WayContext {
  readonly diagram: Diagram;
  readonly space: Space;
  readonly guards: Guards;
  readonly notes: Notes;
  readonly outcomes: Outcomes;
}

export function contextOf(rulesets: readonly Ruleset[], host: Host, budget: DiagramBudget): WayContext {
  const diagram = new Diagram(budget);
  const names = host.interfaces.map(({ name }) => name);
  const space = new Space(diagram, new InterfaceClasses(rulesets, names));
  return {
    ...{ diagram, space, guards: new Guards(diagram, rulesets), notes: new Notes(rulesets) },
    outcomes: new Outcomes(diagram),
  };
}

/** The packet has ports. */
export function ported(space: Space): Node {
  return space.among("proto", [
    [PROTO_TCP, PROTO_TCP],
    [PROTO_UDP, PROTO_UDP],
  ]);
}

/**
 * What is asked of packets at the end of their way: functions that are FALSE where they end before it. Sets of packets
 * are such functions, and so is what becomes of them, by leaves other than FALSE and TRUE.
 */
export interface Ends {
  readonly delivered: Node;
  readonly forwarded: Node;
  rejected(with_: string): Node;
  /** `node` for packets whose destination a rule has made this one. */
  destined(to: Destination, node: Node): Node;
  /** ... whose source the rule translates. */
  sourced(rule: Rule, node: Node): Node;
}

/** null: it stays. */
export interface Destination {
  readonly address: number | null;
  readonly port: number | null;
}

export class Backwards {
  readonly #ruleset: Ruleset;
  readonly #sideOf: (table: TableName) => AlignedSide;
  readonly #host: Host;
  readonly #outside: readonly Interface[];
  readonly #diagram: Diagram;
  readonly #space: Space;
  readonly #guards: Guards;
  readonly #notes: Notes;
  readonly #outcomes: Outcomes;
  readonly #routing: Routing;
  readonly #pieces: readonly (readonly [lo: number, hi: number])[];
  readonly #types: ReadonlyMap<number, Node>;

  /** @param ifaces by which packets come in; every one but lo */
  constructor(
    ruleset: Ruleset,
    sideOf: (table: TableName) => AlignedSide,
    host: Host,
    { diagram, space, guards, notes, outcomes }: WayContext,
    ifaces?: readonly string[],
  ) {
    if (host.rules.some(({ fwmark }) => fwmark !== null))
      throw new UnsupportedError("policy rules that ask for marks are not followed from behind", null);
    this.#ruleset = ruleset;
    this.#sideOf = sideOf;
    this.#host = host;
    this.#outside = host.interfaces.slice(1).filter(({ name, up }) => up && (ifaces?.includes(name) ?? true));
    this.#diagram = diagram;
    this.#space = space;
    this.#guards = guards;
    this.#notes = notes;
    this.#outcomes = outcomes;
    this.#routing = new Routing(host);
    this.#pieces = piecesOf(host);
    this.#types = this.#addressTypes();
  }

  /** What packets may be at all as they come in. */
  arriving(): Pick<Toward, "fields" | "universe"> {
    const space = this.#space;
    const shortest = Math.min(
      ...this.#host.interfaces.map(({ mtu }) => mtu),
      ...this.#host.routes.map(({ mtu }) => mtu ?? Infinity),
    );
    const ifaces = this.#outside.map(({ name }) => this.#pairOf(name));
    const protocols = PROTOCOLS.map((each) => [each, each] as const);
    const fields = new Map<FieldName, Node>([
      ["in", space.among("in", ifaces)],
      ["header", space.is("header", HEADER.whole)],
      ["proto", space.among("proto", protocols)],
      ["len", space.range("len", 40, shortest)],
      ["ct_state", this.#isNew()],
      ...[...UNSET, "out" as const].map((name) => [name, space.is(name, 0)] as const),
    ]);
    return { fields, universe: [...fields.values()].reduceRight((a, b) => this.#diagram.and(a, b), TRUE) };
  }

  /** What `ends` says of packets, as a function of the packets as they come in. */
  from(ends: Ends): Node {
    const before = this.#conntrack(this.#translating(this.#routed(ends), ends), ends);
    // nothing has marked it yet, and no socket has sent it
    return this.#set(before, UNSET, this.#frames());
  }

  #pairOf(name: string): readonly [number, number] {
    const number = this.#space.interfaces.classOf(name);
    return [number, number];
  }

  /**
   * What comes in and passes the chain such that it lies in `set` then; without the table everything passes.
   *
   * @param set or a function of what has passed, as Ends says
   * @param translated what a target that is none of those which every table has makes of it
   * @param functionsOf the bits of the packet behind the chain
   */
  #behind(
    tableName: TableName,
    hook: Hook,
    set: Node,
    ends: Ends,
    translated = (rule: Rule): Node => {
      throw refused(rule, `target ${rule.target!.kind} is not followed`);
    },
    functionsOf = (effects: Effects): ReadonlyMap<number, Node> => this.#outcomes.functionsOf(effects),
  ): Node {
    const diagram = this.#diagram;
    if (!this.#ruleset.tables.some(({ name }) => name === tableName)) return set;
    const table = tableOf(this.#ruleset, tableName);
    const side = this.#sideOf(tableName);
    const rules = table.chains.flatMap((chain) => chain.rules);
    refuseWhatIsChanged(rules);
    const ruleOf = new Map(rules.map((rule) => [side.numberOf(rule), rule]));
    const context = { space: this.#space, outcomes: this.#outcomes, guards: this.#guards, notes: this.#notes };
    const whole = freshContext(context);
    const chain = table.chains.find(({ name }): boolean => name === hook) as Chain;
    const program = new ProgramBuilder(whole, side, TRUE).builtin(chain, `${tableName} ${hook}`);
    // what kind of address it is has its own function
    const typed = diagram.substitute(program, (bit) => this.#types.get(bit), same);
    const groups = new Map<
      string,
      { readonly effects: Effects; readonly target: Rule | null; readonly leaves: Set<Node> }
    >();
    let packets: Node = FALSE;
    for (const leaf of diagram.leavesOf(typed)) {
      const { ending, effects, by } = this.#outcomes.of(leaf);
      if (ending.kind === "REJECT")
        packets = diagram.or(packets, diagram.and(diagram.where(typed, leaf), ends.rejected(ending.with)));
      if (ending.kind === "DROP" || ending.kind === "REJECT") continue;
      const target = ending.kind === "target" ? ruleOf.get(by)! : null;
      const key = `${target === null ? "" : by} ${keyOfEffects({ ...effects, logs: [], notes: [], others: [] })}`;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { effects, target, leaves: new Set([leaf]) });
      else group.leaves.add(leaf);
    }
    for (const { effects, target, leaves } of groups.values()) {
      const here = diagram.map(typed, (leaf) => (leaves.has(leaf) ? TRUE : FALSE));
      const functions = functionsOf(effects);
      const passed = diagram.substitute(target === null ? set : translated(target), (bit) => functions.get(bit), same);
      packets = diagram.or(packets, diagram.and(here, passed));
    }
    return packets;
  }

  /** Behind routing until the end, and what of it routing lets through. */
  #routed(ends: Ends): Node {
    const diagram = this.#diagram;
    const space = this.#space;
    let forwarded = this.#sourceNat("POSTROUTING", ends.forwarded, ends);
    forwarded = this.#behind("mangle", "POSTROUTING", forwarded, ends);
    for (const table of ["security", "filter", "mangle"] as const)
      forwarded = this.#behind(table, "FORWARD", forwarded, ends);
    // the host has taken one from its TTL
    const hop = this.#outcomes.functionsOf({ ...NO_EFFECTS, ttl: { by: -1, lo: 0, hi: 255 } });
    forwarded = diagram.and(
      diagram.substitute(forwarded, (bit) => hop.get(bit), same),
      diagram.and(space.range("ttl", 2, 255), space.is("frame", 0)),
    );
    let delivered = this.#sourceNat("INPUT", ends.delivered, ends);
    for (const table of ["security", "filter", "mangle"] as const)
      delivered = this.#behind(table, "INPUT", delivered, ends);

    let packets: Node = FALSE;
    for (const [out, ways] of this.#ways()) {
      const ended = out === null ? delivered : forwarded;
      const number = out === null ? 0 : space.interfaces.classOf(out);
      packets = diagram.or(packets, diagram.and(ways, this.#set(ended, ["out"], this.#value("out", number))));
    }
    return packets;
  }

  /** For each interface that packets leave by, and for the host itself (null), the packets that routing sends there. */
  #ways(): ReadonlyMap<string | null, Node> {
    const diagram = this.#diagram;
    const space = this.#space;
    if (this.#pieces.length ** 2 * this.#outside.length > MOST_ROUTES)
      throw new BudgetError(`more than ${MOST_ROUTES} pairs of addresses that routes tell apart`);
    const ways = new Map<string | null, Node>();
    for (const iface of this.#outside) {
      const here = space.among("in", [this.#pairOf(iface.name)]);
      for (const to of this.#pieces) {
        const sources = new Map<string | null, (readonly [number, number])[]>();
        for (const from of this.#pieces) {
          const arriving = this.#routing.input(from[0], to[0], 0, iface);
          if (arriving.kind !== "local" && arriving.kind !== "forward") continue;
          if (arriving.kind === "local" && !arriving.path.local) continue;
          const out = arriving.kind === "local" ? null : arriving.path.out.name;
          if (out === LOOPBACK)
            throw new UnsupportedError("routes by lo, on which packets come in once more, are not followed", null);
          const ranges = sources.get(out);
          if (ranges === undefined) sources.set(out, [from]);
          else ranges.push(from);
        }
        for (const [out, ranges] of sources) {
          const way = diagram.and(here, diagram.and(space.among("src", ranges), space.among("dst", [to])));
          ways.set(out, diagram.or(ways.get(out) ?? FALSE, way));
        }
      }
    }
    return ways;
  }

  /** Sources are changed, for which nothing asks behind it. */
  #sourceNat(hook: Hook, set: Node, ends: Ends): Node {
    return this.#diagram.choose(
      this.#isNew(),
      this.#behind("nat", hook, set, ends, (rule) => ends.sourced(rule, set)),
      set,
    );
  }

  /** nat, and before it mangle. */
  #translating(set: Node, ends: Ends): Node {
    const translated = this.#behind("nat", "PREROUTING", set, ends, (rule) => this.#translated(rule, set, ends));
    return this.#behind("mangle", "PREROUTING", this.#diagram.choose(this.#isNew(), translated, set), ends);
  }

  #translated(rule: Rule, set: Node, ends: Ends): Node {
    const { target } = rule;
    if (target?.kind === "DNAT")
      return this.#withDestination(rule, target.range, target.range.addresses?.lo ?? null, set, ends);
    if (target?.kind !== "REDIRECT") throw refused(rule, `target ${target!.kind} is not followed`);
    const diagram = this.#diagram;
    return this.#outside.reduce((packets, { name, addresses }) => {
      const [first] = addresses;
      if (first === undefined) return packets;
      const here = this.#space.among("in", [this.#pairOf(name)]);
      const there = this.#withDestination(rule, { ...target.range, addresses: null }, first.address, set, ends);
      return diagram.or(packets, diagram.and(here, there));
    }, FALSE);
  }

  /** The destination becomes this one. */
  #withDestination(rule: Rule, { addresses, ports }: NatRange, address: number | null, set: Node, ends: Ends): Node {
    if ((addresses !== null && addresses.lo !== addresses.hi) || (ports !== null && ports.lo !== ports.hi))
      throw refused(rule, "translation to one of several addresses or ports is not followed");
    const diagram = this.#diagram;
    const space = this.#space;
    const functions = new Map<number, Node>();
    let stays: Node = TRUE;
    if (address !== null) {
      for (const [bit, value] of this.#value("dst", address)) functions.set(bit, value);
      stays = diagram.and(stays, space.is("dst", address));
    }
    if (ports !== null) {
      const withPorts = ported(space);
      for (const [bit, value] of this.#value("dport", ports.lo))
        functions.set(bit, diagram.choose(withPorts, value, diagram.bit(bit)));
      stays = diagram.and(stays, diagram.or(diagram.not(withPorts), space.is("dport", ports.lo)));
    }
    // that it was translated stands in its state, if it was
    functions.set(FIELD.ct_state.end - 2, diagram.not(stays));
    const translated = diagram.substitute(set, (bit) => functions.get(bit), same);
    return ends.destined({ address, port: ports?.lo ?? null }, translated);
  }

  /** The bits of `frame`, as a neighbour would send the packet (eth_type_trans() in net/ethernet/eth.c). */
  #frames(): ReadonlyMap<number, Node> {
    const diagram = this.#diagram;
    const space = this.#space;
    let broadcast = space.is("dst", 0xffffffff);
    for (const { name, addresses } of this.#outside) {
      const own = addresses.flatMap(({ broadcast: each, peer }) =>
        each === null || peer !== undefined ? [] : [[each, each] as const],
      );
      broadcast = diagram.or(broadcast, diagram.and(space.among("in", [this.#pairOf(name)]), space.among("dst", own)));
    }
    const multicast = diagram.and(space.masked("dst", 0xf0000000, 0xe0000000), diagram.not(broadcast));
    const { end } = FIELD.frame;
    return new Map([
      [end - 1, broadcast],
      [end - 2, multicast],
    ]);
  }

  #isNew(): Node {
    return this.#space.among("ct_state", [[4, 7]]);
  }

  /** raw, and behind it what conntrack makes of the packet. */
  #conntrack(set: Node, ends: Ends): Node {
    const diagram = this.#diagram;
    const { first, end } = FIELD.ct_state;
    const begins = needsTracking(this.#ruleset) || this.#host.conntrack ? this.#begins() : FALSE;
    const state = new Map<number, Node>();
    for (let bit = first; bit < end; bit++) state.set(bit, bit === end - 3 ? begins : FALSE);
    const tracked = this.#behind("raw", "PREROUTING", set, ends, undefined, (effects) => {
      const functions = this.#outcomes.functionsOf(effects);
      return effects.tracking === UNTRACKED ? functions : new Map([...state, ...functions]);
    });
    const untracked = diagram.substitute(set, (bit) => state.get(bit), same);
    const passed = this.#ruleset.tables.some(({ name }) => name === "raw") ? tracked : untracked;
    // in raw nothing is known of it
    return this.#set(passed, ["ct_state"], this.#value("ct_state", 0));
  }

  /** A connection begins with it. */
  #begins(): Node {
    const diagram = this.#diagram;
    const space = this.#space;
    const { SYN, ACK, RST, FIN } = TCP_FLAGS;
    const opening = Array.from({ length: 256 }, (_, flags) => flags).filter((flags) => {
      const kind = flags & (SYN | ACK | RST | FIN);
      return hasValidFlags(flags) && (kind === SYN || (kind === ACK && this.#host.tcpLoose));
    });
    const tcp = diagram.and(
      space.is("proto", PROTO_TCP),
      space.among(
        "flags",
        opening.map((each) => [each, each] as const),
      ),
    );
    const requests = REQUESTS.map((type) => [type << 8, (type << 8) | 0xff] as const);
    const icmp = diagram.and(space.is("proto", PROTO_ICMP), space.among("icmp", requests));
    return [tcp, icmp, space.is("proto", PROTO_UDP)].reduce((a, b) => diagram.or(a, b));
  }

  /** Bits of the fields as these say, 0 where they say nothing. */
  #set(node: Node, names: readonly FieldName[], values: ReadonlyMap<number, Node>): Node {
    const fields = names.map((name) => FIELD[name]);
    return this.#diagram.substitute(
      node,
      (bit) => (fields.some(({ first, end }) => bit >= first && bit < end) ? (values.get(bit) ?? FALSE) : undefined),
      same,
    );
  }

  #value(name: FieldName, value: number): ReadonlyMap<number, Node> {
    const { first, end } = FIELD[name];
    const bits = Array.from({ length: end - first }, (_, index) => index);
    return new Map(
      bits.map((index) => [first + index, Math.floor(value / 2 ** (end - first - 1 - index)) % 2 === 1 ? TRUE : FALSE]),
    );
  }

  /** The bits of src_type and dst_type, as functions of the addresses. */
  #addressTypes(): ReadonlyMap<number, Node> {
    const functions = new Map<number, Node>();
    for (const [name, type] of [
      ["src", "src_type"],
      ["dst", "dst_type"],
    ] as const) {
      const { first, end } = FIELD[type];
      for (let bit = first; bit < end; bit++) {
        const ranges = this.#pieces.filter(
          ([address]) => (TYPE_NUMBERS[this.#routing.tables.addressType(address, null)] >> (end - 1 - bit)) % 2 === 1,
        );
        functions.set(bit, this.#space.among(name, ranges));
      }
    }
    return functions;
  }
}

/** Fields that say nothing yet of a packet that comes in. */
const UNSET: readonly FieldName[] = ["mark", "connmark", "frame", "socket", "uid", "gid"];

function same(leaf: Node): Node {
  return leaf;
}

function refused({ position, text }: Rule, reason: string): RuleError {
  return new RuleError(reason, position, text, text.length);
}

/** What the kernel itself tells apart. */
const SPECIAL: readonly (readonly [number, number])[] = [
  [0, 8],
  [0, 32],
  [0x7f000000, 8],
  [0xe0000000, 4],
  [0xe0000001, 32],
  [0xe0000000, 24],
  [0xf0000000, 4],
  [0xffffffff, 32],
];

/** Addresses in runs of which no route and no policy rule tells one from another. */
function piecesOf({ routes, rules, interfaces }: Host): readonly (readonly [number, number])[] {
  const prefixes = [
    ...SPECIAL,
    ...routes.map(({ dst, prefixLength }) => [dst, prefixLength] as const),
    ...interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => [address, 32] as const)),
    ...rules.flatMap(({ from, to }) =>
      [from, to].flatMap((each) => (each === null ? [] : [[each.address, each.prefixLength] as const])),
    ),
  ];
  const starts = new Set(prefixes.flatMap(([prefix, length]) => [prefix, prefix + 2 ** (32 - length)]));
  const rising = [0, ...starts].filter((start) => start < 2 ** 32).sort((a, b) => a - b);
  return [...new Set(rising)].map((start, index, all) => [start, (all[index + 1] ?? 2 ** 32) - 1]);
}
