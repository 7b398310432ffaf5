// A seed, a rule set and its surroundings -> packet lines, drawn from the edges of the rules.
//
// Most packets aim at a rule: one is chosen, with a way of calls that leads to it, and each field is taken from the
// values that all tests on that way let pass. Values are the bounds of what the rules ask (lo - 1, lo, hi, hi + 1), the
// host's addresses, its neighbours and what lies behind its routes. Then a field may be drawn anew, so that tests fail too.

import { formatAddress } from "../../src/net/address.ts";
import { rulesOf } from "../../src/rules/ruleset.ts";
import type { Hook, NegatableRange, Range, Rule, Ruleset, Table } from "../../src/rules/ruleset.ts";
import type { Place, Surroundings } from "./arbitrary-host.ts";
import { ICMP, TCP, UDP } from "./arbitrary-rules.ts";
import type { Draw } from "./draw.ts";

/** What packet/line.ts reads; the keys are those of a packet line. */
export interface PacketJson {
  id: number | string;
  in: string;
  src?: string;
  dst: string;
  proto: string | number;
  sport?: number;
  dport?: number;
  flags?: string;
  icmp_type?: number;
  icmp_code?: number;
  ttl?: number;
  tos?: number;
  payload?: string;
  payload_hex?: string;
  frag?: { offset: number; length: number };
  bad_checksum?: boolean;
  mark?: number;
  wait?: number;
}

export interface PacketOptions {
  /** Some packets come later than the one before. */
  readonly clock: boolean;
  /** The host does not track connections: fragments may come, and protocols whose connections are not modelled. */
  readonly untracked: boolean;
  /** Packets sent by the host itself may come. */
  readonly local: boolean;
}

const AIMED = 0.75;
const MISSED = 0.25;
const OTHER_PROTOCOLS = [47, 50, 99];
const FLAGS = ["S", "S", "S", "A", "SA", "R", "FA", "PA", "NONE", "FPU", "RA", "SF", "SE"];
const NEW_FLAGS = new Set(["S", "A", "PA", "SE"]);
/** Of packets that nat is to see. */
const BEGINNINGS = ["S", "S", "S", "A"];
const QUERIES: readonly Range[] = [
  { lo: 8, hi: 0 },
  { lo: 8, hi: 0 },
  { lo: 13, hi: 0 },
];
const FLAG_BITS: Readonly<Record<string, number>> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32, E: 64, C: 128 };

/** All that packets may be made of. */
interface Stock {
  readonly rules: readonly Aim[];
  readonly sources: readonly number[];
  readonly own: readonly number[];
  /** By what becomes of a packet to them: delivered here, sent on, anything at all. `iface` is empty but in `through`. */
  readonly here: readonly Place[];
  readonly through: readonly Place[];
  readonly anywhere: readonly Place[];
  readonly ports: readonly number[];
  readonly icmpTypes: readonly Range[];
  readonly ifaces: readonly string[];
  /** For sockets: SO_MARK is a signed number. */
  readonly marks: readonly number[];
  readonly isOwn: (address: number) => boolean;
  /** Addresses to which the host itself sends nothing here: groups and broadcasts. */
  readonly isGroup: (address: number) => boolean;
}

/** A rule and a way to it: rules to pass, from the built-in chain on, the aimed one last. */
interface Aim {
  /** Only packets that begin a connection come to nat. */
  readonly nat: boolean;
  readonly hook: Hook;
  readonly way: readonly Rule[];
}

export function drawPackets(
  draw: Draw,
  ruleset: Ruleset,
  surroundings: Surroundings,
  options: PacketOptions,
  count: number,
): PacketJson[] {
  const stock = takeStock(draw, ruleset, surroundings, options);
  return Array.from({ length: count }, (_, index) => {
    const aim = stock.rules.length > 0 && draw.chance(AIMED) ? draw.pick(stock.rules) : noAim(draw, options);
    return drawPacket(draw, stock, aim, options, index + 1);
  });
}

function noAim(draw: Draw, options: PacketOptions): Aim {
  const hooks: Hook[] = ["PREROUTING", "FORWARD", "INPUT"];
  if (options.local) hooks.push("OUTPUT");
  return { nat: false, hook: draw.pick(hooks), way: [] };
}

function takeStock(draw: Draw, ruleset: Ruleset, surroundings: Surroundings, options: PacketOptions): Stock {
  const { ifaces, own, near, far, odd, marks } = surroundings;
  const rules = rulesOf(ruleset);
  const edges = [...new Set(rules.flatMap(addressEdges))];
  const onWay: Place[] = [...near, ...far];
  const leadsTo = new Map(onWay.map(({ address, iface }) => [address, iface]));
  const ownAddresses = new Set(own.map((place) => place.address));
  const groups = new Set(odd.filter((address) => address >>> 24 !== 127));
  const place = (address: number): Place => ({ address, iface: leadsTo.get(address) ?? "" });
  const here = [...ownAddresses].map((address) => ({ address, iface: "" }));
  const foreign = edges.filter((address) => !ownAddresses.has(address));
  const through = [...onWay, ...onWay, ...foreign.map(place)].filter(({ iface }) => iface !== "");
  return {
    rules: ruleset.tables
      .flatMap((table) => aimsOf(draw, table))
      .filter(({ hook }) => options.local || hook !== "OUTPUT"),
    sources: [...onWay, ...onWay, ...onWay].map(({ address }) => address).concat(foreign, foreign, odd.slice(0, 2)),
    own: [...ownAddresses],
    here,
    through: through.length > 0 ? through : here,
    anywhere: [...here, ...onWay, ...edges.map(place), ...odd.map(place)],
    ports: [...new Set([...rules.flatMap(portEdges), 1024, 40000])],
    icmpTypes: [{ lo: 8, hi: 0 }, ...rules.flatMap(icmpEdges)],
    ifaces,
    marks: marks.filter((mark) => mark <= 0x7fff_ffff),
    isOwn: (address) => ownAddresses.has(address),
    isGroup: (address) => groups.has(address),
  };
}

/** Every rule that can be reached, with one way to it. */
function aimsOf(draw: Draw, table: Table): Aim[] {
  const aims: Aim[] = [];
  const follow = (name: string, hook: Hook, way: readonly Rule[]): void => {
    const chain = table.chains.find((one) => one.name === name);
    for (const rule of chain?.rules ?? []) {
      aims.push({ nat: table.name === "nat", hook, way: [...way, rule] });
      const { target } = rule;
      // the deeper, the fewer ways are followed: chains may be called from very many places
      const calls = target?.kind === "jump" || target?.kind === "goto";
      if (calls && draw.chance(1 / (1 + way.length / 4)) && aims.length < 1000) {
        follow(target.chain, hook, [...way, rule]);
      }
    }
  };
  for (const chain of table.chains) if (chain.policy !== null) follow(chain.name, chain.name as Hook, []);
  return aims;
}

// Edges

function around({ lo, hi }: Range, highest: number): number[] {
  return [lo - 1, lo, hi, hi + 1].filter((value) => value >= 0 && value <= highest);
}

function addressEdges({ header, matches }: Rule): number[] {
  const tests = [header.src, header.dst].filter((test) => test !== null);
  const ranges = matches.flatMap((match) => (match.kind === "iprange" ? [match.src, match.dst] : []));
  return [
    ...tests.flatMap(({ address, mask }) => {
      const free = ~mask >>> 0;
      const filled = (address | free) >>> 0;
      // a hole in the mask: the lowest asked bit turned is a miss, whatever the rest
      return [...around({ lo: address, hi: filled }, 0xffff_ffff), (address ^ (mask & -mask)) >>> 0];
    }),
    ...ranges.filter((range) => range !== null).flatMap((range) => around(range, 0xffff_ffff)),
  ];
}

function portEdges({ matches }: Rule): number[] {
  return matches.flatMap((match) => {
    if (match.kind === "multiport") return match.ports.flatMap((range) => around(range, 65535));
    if (match.kind !== "tcp" && match.kind !== "udp") return [];
    return [match.sport, match.dport].flatMap((range) => (range === null ? [] : around(range, 65535)));
  });
}

/** Type as `lo`, code as `hi`. */
function icmpEdges({ matches }: Rule): Range[] {
  return matches.flatMap((match) => {
    if (match.kind !== "icmp") return [];
    const { type, code } = match;
    return [
      ...around(code, 255).map((value) => ({ lo: type, hi: value })),
      ...around({ lo: type, hi: type }, 255).map((value) => ({ lo: value, hi: code.lo })),
    ];
  });
}

// Packets

function drawPacket(draw: Draw, stock: Stock, aim: Aim, options: PacketOptions, id: number): PacketJson {
  const { hook, way } = aim;
  const missed = draw.chance(MISSED) ? draw.below(7) : -1;
  const asked = (field: number): readonly Rule[] => (field === missed ? [] : way);
  const local = hook === "OUTPUT" || (options.local && hook === "POSTROUTING" && draw.chance(0.3));

  const proto = drawProtocol(draw, asked(0), options);
  const dst = drawDestination(draw, stock, hook, local, asked(2));
  const packet: PacketJson = {
    id,
    in: local ? "local" : choose(draw, stock.ifaces, asked(1), enters),
    dst: formatAddress(dst),
    proto: NAMES[proto] ?? proto,
  };
  const src = drawSource(draw, stock, local, asked(3));
  if (src !== null) packet.src = formatAddress(src);

  if (proto === ICMP) {
    const types = aim.nat && draw.chance(0.8) ? QUERIES : stock.icmpTypes;
    const { lo, hi } = choose(draw, types, asked(4), isAsked);
    packet.icmp_type = lo;
    packet.icmp_code = hi;
  } else if (proto in PORTED) {
    packet.sport = choose(draw, stock.ports, asked(4), leaves);
    packet.dport = choose(draw, stock.ports, asked(5), comes);
  }
  if (proto === TCP) packet.flags = choose(draw, aim.nat ? BEGINNINGS : FLAGS, asked(6), isFlagged);
  if (proto === GRE) packet.payload_hex = GRE_HEADER;
  if (proto in BY_PAYLOAD) {
    // packet lines have ports for TCP and UDP alone
    const ports = [packet.sport!, packet.dport!].map((port) => port.toString(16).padStart(4, "0"));
    packet.payload_hex = `${ports.join("")}${"0".repeat(24)}`;
    delete packet.sport;
    delete packet.dport;
  }
  drawOddities(draw, packet, stock, dst, local, options);
  return packet;
}

const NAMES: Readonly<Record<number, string>> = { [TCP]: "tcp", [UDP]: "udp", [ICMP]: "icmp" };
const GRE = 47;
/** Version 0, carrying IPv4. */
const GRE_HEADER = "0000080000000000";
const BY_PAYLOAD: Readonly<Record<number, true>> = { 33: true, 132: true, 136: true };
const PORTED: Readonly<Record<number, true>> = { [TCP]: true, [UDP]: true, ...BY_PAYLOAD };

/** How many values are tried before all of them are. */
const TRIES = 8;

/**
 * A value that every rule on the way lets pass. Where there is none, rules are left out, the aimed one last: it is worth
 * most.
 */
function choose<T>(
  draw: Draw,
  values: readonly T[],
  way: readonly Rule[],
  passes: (value: T, rule: Rule) => boolean,
): T {
  for (let tried = 0; tried < TRIES; tried++) {
    const value = draw.pick(values);
    if (way.every((rule) => passes(value, rule))) return value;
  }
  let left = values;
  for (let index = way.length - 1; index >= 0; index--) {
    const kept = left.filter((value) => passes(value, way[index]!));
    if (kept.length > 0) left = kept;
  }
  return draw.pick(left);
}

const PROTOCOLS = [TCP, TCP, TCP, UDP, UDP, ICMP];

function drawProtocol(draw: Draw, way: readonly Rule[], { untracked }: PacketOptions): number {
  const others = untracked ? [...OTHER_PROTOCOLS, 33, 132, 136] : OTHER_PROTOCOLS;
  const values = [...PROTOCOLS, draw.pick(others)];
  for (const { header } of way) {
    if (header.proto !== null && (untracked || !(header.proto.proto in BY_PAYLOAD))) values.push(header.proto.proto);
  }
  return choose(draw, values, way, (value, { header: { proto } }) => {
    return proto === null || (proto.proto === value) !== proto.negated;
  });
}

function drawDestination(draw: Draw, stock: Stock, hook: Hook, local: boolean, way: readonly Rule[]): number {
  const { isOwn, isGroup } = stock;
  const wanted =
    hook === "INPUT"
      ? [0.95, stock.here]
      : hook === "PREROUTING"
        ? [0.9, draw.chance(0.4) ? stock.here : stock.through]
        : [local ? 0.8 : 0.97, stock.through];
  const [share, places] = wanted as [number, readonly Place[]];
  const passes = ({ address, iface }: Place, { header, matches }: Rule): boolean => {
    const { dst, outIface } = header;
    if (outIface !== null && iface !== "" && named(iface, outIface) === outIface.negated) return false;
    if (dst !== null && holds(address, dst) === dst.negated) return false;
    return matches.every((match) => {
      if (match.kind === "iprange") return match.dst === null || within(address, match.dst);
      if (match.kind !== "addrtype" || match.dstTypes === null) return true;
      return match.dstTypes.types.includes(isOwn(address) ? "LOCAL" : "UNICAST") !== match.dstTypes.negated;
    });
  };
  const { address } = choose(draw, draw.chance(share) ? places : stock.anywhere, way, passes);
  return local && isGroup(address) ? draw.pick(stock.through).address : address;
}

/** null: the kernel chooses. */
function drawSource(draw: Draw, stock: Stock, local: boolean, way: readonly Rule[]): number | null {
  if (local && draw.chance(0.4)) return null;
  return choose(draw, local || draw.chance(0.01) ? stock.own : stock.sources, way, (address, { header, matches }) => {
    if (header.src !== null && holds(address, header.src) === header.src.negated) return false;
    return matches.every((match) => match.kind !== "iprange" || match.src === null || within(address, match.src));
  });
}

function drawOddities(
  draw: Draw,
  packet: PacketJson,
  stock: Stock,
  dst: number,
  local: boolean,
  options: PacketOptions,
): void {
  if (draw.chance(0.08)) packet.ttl = draw.pick([0, 1, 1, 2, 2, 255]);
  if (draw.chance(0.03)) packet.tos = draw.pick([0x10, 0xb8, 3]);
  if (draw.chance(0.01)) packet.bad_checksum = true;
  if (local && stock.marks.length > 0 && draw.chance(0.3)) packet.mark = draw.pick(stock.marks);
  if (options.clock && draw.chance(0.1)) packet.wait = draw.pick([0.001, 0.01, 0.5, 1, 6, 60]);
  // the host waits for the others of a datagram that is for itself
  const passesOn = stock.through.some(({ address }) => address === dst);
  if (!options.untracked || !draw.chance(0.03) || stock.isOwn(dst) || !passesOn) return;
  if (packet.payload_hex === undefined) packet.payload = "four-and-twenty.bytes..!";
  packet.frag = draw.pick(FRAGMENTS);
}

/** The first ones hold less than a TCP header, all of it, or of ICMP and UDP just theirs; the last one ends the datagram. */
const FRAGMENTS = [
  { offset: 0, length: 8 },
  { offset: 0, length: 16 },
  { offset: 0, length: 24 },
  { offset: 8, length: 8 },
  { offset: 8, length: 16 },
  { offset: 24, length: 8 },
  { offset: 24, length: 64 },
];

// Whether a value passes one test: enough to aim by, no more.

function enters(name: string, { header }: Rule): boolean {
  return header.inIface === null || named(name, header.inIface) !== header.inIface.negated;
}

function named(name: string, test: { readonly name: string; readonly wildcard: boolean }): boolean {
  return test.wildcard ? name.startsWith(test.name) : name === test.name;
}

function holds(address: number, test: { readonly address: number; readonly mask: number }): boolean {
  return (address & test.mask) >>> 0 === test.address;
}

function within(value: number, range: NegatableRange): boolean {
  return (value >= range.lo && value <= range.hi) !== range.negated;
}

function leaves(port: number, { matches }: Rule): boolean {
  return matches.every((match) => {
    if (match.kind === "tcp" || match.kind === "udp") return match.sport === null || within(port, match.sport);
    if (match.kind !== "multiport" || match.which === "dports") return true;
    // one of the two is enough for `--ports`, and neither may be there for its negation
    if (match.which === "ports" && !match.negated) return true;
    return match.ports.some((range) => port >= range.lo && port <= range.hi) !== match.negated;
  });
}

function comes(port: number, { matches }: Rule): boolean {
  return matches.every((match) => {
    if (match.kind === "tcp" || match.kind === "udp") return match.dport === null || within(port, match.dport);
    if (match.kind !== "multiport" || match.which === "sports") return true;
    return match.ports.some((range) => port >= range.lo && port <= range.hi) !== match.negated;
  });
}

function isFlagged(flags: string, { matches }: Rule): boolean {
  return matches.every((match) => {
    const state = match.kind === "conntrack" ? match.state : match.kind === "state" ? match : null;
    if (state !== null) {
      // without connections before it a packet is NEW or INVALID, and its flags say which
      return state.states.includes(NEW_FLAGS.has(flags) ? "NEW" : "INVALID") !== state.negated;
    }
    if (match.kind !== "tcp" || match.flags === null) return true;
    return ((flagBits(flags) & match.flags.mask) === match.flags.comp) !== match.flags.negated;
  });
}

/** `SA` is 0x12; `NONE` is 0. */
export function flagBits(flags: string): number {
  return flags === "NONE" ? 0 : Array.from(flags).reduce((sum, letter) => sum | FLAG_BITS[letter]!, 0);
}

/** Type as `lo`, code as `hi`. */
function isAsked({ lo, hi }: Range, { matches }: Rule): boolean {
  return matches.every((match) => {
    if (match.kind !== "icmp") return true;
    const same = match.type === 255 || (match.type === lo && hi >= match.code.lo && hi <= match.code.hi);
    return same !== match.negated;
  });
}
