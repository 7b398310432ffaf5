// A box of packets -> one packet of it, as small as can be, and whether the reference says of it what the box says.
//
// Of every field the usual value if the box has it, as packet lines leave it out, else its smallest. What guards say in the
// box is written into copies of the rules: a match that is to hold is left out, one that is not is made one that never
// holds. So the reference walks the rules as they are written, but for what nobody can tell of one packet.

import type { ChainDecision } from "../classifier.ts";
import { formatAddress } from "../net/address.ts";
import { parseHost } from "../host/parse.ts";
import { PROTO_DCCP, PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE } from "../net/protocol.ts";
import { build } from "../packet/build.ts";
import { checksum, u16 } from "../packet/bytes.ts";
import { parseArrival } from "../packet/line.ts";
import type { Arrival } from "../packet/packet.ts";
import { TCP_FLAGS } from "../packet/packet.ts";
import { protocolName } from "../packet/protocol.ts";
import { makeConnection } from "../reference/connection.ts";
import { runChain } from "../reference/reference.ts";
import type { ChainQuery } from "../reference/reference.ts";
import type { World } from "../reference/match.ts";
import { Memory } from "../reference/memory.ts";
import { tupleOf } from "../reference/tuple.ts";
import { ADDRESS_TYPES } from "../rules/ruleset.ts";
import type { AddrtypeMatch, Chain, Hook, Match, Rule, Ruleset } from "../rules/ruleset.ts";
import { FALSE, TRUE } from "./diagram.ts";
import type { Node } from "./diagram.ts";
import type { Guards } from "./guards.ts";
import type { Side } from "./program.ts";
import type { Box } from "./region.ts";
import { ALL_FIELDS, CT_STATE_NAMES, HEADER, SOCKET } from "./space.ts";
import type { Field, FieldName, Space } from "./space.ts";

export type Point = Readonly<Record<FieldName, number>>;

/** What a packet line leaves out, and an address that may be anybody's. */
const USUAL: Point = {
  ...{ in: 1, out: 1, src: 0xc0000201, src_mac: 0x02ff00000001, dst: 0xc6336401, header: HEADER.whole },
  ...{ proto: PROTO_TCP, ct_state: 4, sport: 1024, dport: 0, flags: TCP_FLAGS.SYN, icmp: 0x0800, tos: 0, ttl: 64 },
  ...{ len: 0, mark: 0, connmark: 0, frame: 0, socket: SOCKET.user, uid: 0, gid: 0, src_type: 1, dst_type: 1 },
};

/** A point of the set; `draw` gives numbers from 0 up to 1 for one at random, without it the smallest is taken. */
export function pointOf(set: Node, { diagram }: Space, draw?: () => number): Point {
  if (set === FALSE) throw new Error("there is no packet in the set");
  const point = { ...USUAL };
  let node = set;
  /** Takes the wanted bits as long as they lead somewhere; others where `lenient`. */
  const walk = ({ first, end }: Field, wanted: (weight: number) => boolean, lenient: boolean): number | null => {
    let value = 0;
    let here = node;
    for (let bit = first; bit < end; bit++) {
      const weight = 2 ** (end - 1 - bit);
      let one = wanted(weight);
      if (diagram.bitOf(here) === bit) {
        const [low, high] = [diagram.lowOf(here), diagram.highOf(here)];
        if ((one ? high : low) === FALSE) {
          if (!lenient) return null;
          one = !one;
        }
        here = one ? high : low;
      }
      if (one) value += weight;
    }
    node = here;
    return value;
  };
  for (const field of ALL_FIELDS) {
    const usual = (weight: number): boolean => Math.floor(USUAL[field.name] / weight) % 2 === 1;
    point[field.name] =
      draw === undefined
        ? (walk(field, usual, false) ?? walk(field, () => false, true)!)
        : walk(field, () => draw() < 0.5, true)!;
  }
  return point;
}

export function has(set: Node, { first, end }: Field, value: number, { diagram }: Space): boolean {
  let node = set;
  for (let bit = first; bit < end && diagram.bitOf(node) < end; bit++) {
    if (diagram.bitOf(node) !== bit) continue;
    const one = Math.floor(value / 2 ** (end - 1 - bit)) % 2 === 1;
    node = one ? diagram.highOf(node) : diagram.lowOf(node);
  }
  return node === TRUE;
}

/** A packet line, and what only the place of the packet in the chain tells. */
export interface Witness {
  readonly line: Readonly<Record<string, unknown>>;
  readonly around: Readonly<Record<string, unknown>>;
  readonly query: ChainQuery;
  readonly arrival: Arrival;
  readonly point: Point;
}

const PORT_PROTOCOLS: readonly number[] = [PROTO_TCP, PROTO_UDP, PROTO_SCTP, PROTO_DCCP, PROTO_UDPLITE];

export function witnessOf(point: Point, space: Space, hook: Hook): Witness {
  const nameOf = (number: number): string | null => (number === 0 ? null : space.interfaces.names[number - 1]!);
  const inIface = nameOf(point.in);
  const line = { in: inIface ?? "local", ...packetLine(point), ...frameLine(point, inIface, hook) };
  const state = CT_STATE_NAMES[point.ct_state >> 2]!;
  const translated = { source: (point.ct_state & 1) !== 0, destination: (point.ct_state & 2) !== 0 };
  const around = {
    ...(hook === "FORWARD" || hook === "POSTROUTING" || hook === "OUTPUT" ? { out: nameOf(point.out) } : {}),
    ...(translated.source || translated.destination
      ? { translated: Object.entries(translated).flatMap(([side, is]) => (is ? [side] : [])) }
      : {}),
    ...(point.mark === 0 || inIface === null ? {} : { mark: point.mark }),
    ...(point.connmark === 0 ? {} : { connmark: point.connmark }),
  };
  const whole = { ...line, ct_state: state };
  const host = parseHost(JSON.stringify({ interfaces: space.interfaces.names.map((name) => ({ name })) }), "the chain");
  const arrival = parseArrival(JSON.stringify(whole), "witness", 1, host);
  const { packet } = arrival;
  const attached = ["NEW", "ESTABLISHED", "RELATED"].includes(state);
  const tuple = tupleOf(packet) ?? { src: packet.src, dst: packet.dst, proto: packet.proto, sport: 0, dport: 0 };
  const connection = makeConnection(tuple, tuple, { id: 0, direction: "both" });
  connection.mark = point.connmark;
  connection.sourceNat = translated.source;
  connection.destinationNat = translated.destination;
  return {
    line: whole,
    around,
    point,
    arrival,
    query: {
      ...{ packet, mark: point.mark, inIface, outIface: nameOf(point.out), ctState: state },
      ...{ sourceTranslated: translated.source, destinationTranslated: translated.destination },
      frame: (["host", "broadcast", "multicast", "otherhost"] as const)[point.frame]!,
      srcMac: inIface === null ? null : point.src_mac,
      socket: SOCKETS[point.socket]!(point),
      attached: attached ? { connection, direction: "original", state: state as "NEW" } : null,
    },
  };
}

const SOCKETS: readonly ((point: Point) => NonNullable<ChainQuery["socket"]> | null)[] = [
  () => null,
  () => "kernel",
  ({ uid, gid }) => ({ uid, gid }),
];

function frameLine(point: Point, inIface: string | null, hook: Hook): object {
  if (inIface === null) {
    const owner = hook === "INPUT" ? {} : { ...unless("uid", point.uid, 0), ...unless("gid", point.gid, 0) };
    return { ...unless("mark", point.mark, 0), ...owner };
  }
  const frames = [undefined, "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "02:ee:00:00:00:01"];
  return {
    ...(point.frame === 0 ? {} : { dst_mac: frames[point.frame] }),
    ...(point.src_mac === USUAL.src_mac
      ? {}
      : { src_mac: point.src_mac.toString(16).padStart(12, "0").match(/../g)!.join(":") }),
  };
}

function unless(name: string, value: number, usual: number): object {
  return value === usual ? {} : { [name]: value };
}

/** Two headers without options. */
const WHOLE_BYTES = 40;

function packetLine(point: Point): object {
  const { proto, header } = point;
  if (header !== HEADER.whole) return { hex: toHex(cutShort(point)) };
  const head = { src: formatAddress(point.src), dst: formatAddress(point.dst), proto: protocolName(proto) };
  const rest = {
    ...unless("tos", point.tos, 0),
    ...unless("ttl", point.ttl, 64),
    // 20 bytes behind the header: as much as any match asks for
    ...(point.len > WHOLE_BYTES ? { len: point.len } : proto === PROTO_TCP ? {} : { len: WHOLE_BYTES }),
  };
  if (proto === PROTO_ICMP) {
    return { ...head, icmp_type: point.icmp >> 8, icmp_code: point.icmp & 0xff, ...rest };
  }
  const ports = { sport: point.sport, dport: point.dport };
  if (proto === PROTO_TCP) return { ...head, ...ports, flags: flagsOf(point.flags), ...rest };
  if (proto === PROTO_UDP) return { ...head, ...ports, ...rest };
  if (!PORT_PROTOCOLS.includes(proto)) return { ...head, ...rest };
  return {
    ...head,
    ...rest,
    payload_hex: toHex(Uint8Array.from([...u16(point.sport), ...u16(point.dport), ...ZEROS])),
  };
}

const ZEROS: readonly number[] = Array.from({ length: 16 }, () => 0);

function flagsOf(flags: number): string | number {
  return flags === TCP_FLAGS.SYN ? "SYN" : flags;
}

/** Least and most bytes behind the IP header of each class. */
const SHOWN: readonly (readonly [number, number])[] = [
  [20, 0xffff],
  [8, 19],
  [4, 7],
  [0, 3],
  [8, 0xffff],
  [8, 0xffff],
];
const MOST_OPTIONS = 40;
const OPTION_NOOP = 1;

/** IP options fill up what the packet is longer than it shows. */
function cutShort(point: Point): Uint8Array {
  const { header, proto } = point;
  const [least, most] = SHOWN[header]!;
  const rest = Math.max(least, point.len - 20);
  const options = Math.min(MOST_OPTIONS, Math.max(0, Math.ceil((rest - most) / 4)) * 4);
  const shown = Math.min(most, Math.max(least, rest - options));
  const spec = {
    ...{ src: point.src, dst: point.dst, proto, sport: point.sport, dport: point.dport, flags: point.flags },
    ...{ seq: undefined, ack: undefined, window: 0, icmpType: point.icmp >> 8, icmpCode: point.icmp & 0xff },
    ...{ icmpId: 1, icmpSeq: 1, inner: undefined, gateway: 0, ttl: point.ttl, tos: point.tos, df: false, ipId: 1 },
    ...{ length: undefined, tcpOptions: NOTHING, fragment: undefined, badChecksum: false },
    ipOptions: new Uint8Array(options).fill(OPTION_NOOP),
    payload: new Uint8Array([...u16(point.sport), ...u16(point.dport), ...ZEROS]),
  };
  const whole = build(spec) as Uint8Array;
  const head = 20 + options;
  const bytes = new Uint8Array(head + shown);
  bytes.set(whole.subarray(0, Math.min(whole.length, bytes.length)));
  bytes.set(u16(bytes.length), 2);
  if (header >= HEADER.offset8) bytes.set(u16(header === HEADER.offset8 ? 1 : 2), 6);
  bytes.set([0, 0], 10);
  bytes.set(u16(checksum(bytes.subarray(0, head))), 10);
  return bytes;
}

const NOTHING = new Uint8Array(0);

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A world of its own remembers what rules write down; no rule reads it, since guards are decided. */
interface Ruled {
  readonly ruleset: Ruleset;
  readonly world: World;
}

/** Says what the reference decides about packets of a chain, guards being what a box says. */
export class Judge {
  readonly #side: Side;
  readonly #hook: Hook;
  readonly #guards: Guards;
  readonly #chains: ReadonlyMap<string, Chain>;
  readonly #ruled = new Map<string, Ruled>();

  constructor(side: Side, hook: Hook, guards: Guards) {
    this.#side = side;
    this.#hook = hook;
    this.#guards = guards;
    this.#chains = new Map(side.table.chains.map((chain) => [chain.name, chain]));
  }

  decide({ query, point }: Witness, box: Box): ChainDecision & { readonly connmark: number } {
    const { ruleset, world } = this.#rulesetFor(box, query.attached != null, point);
    // what rules write into the connection is not for others to read
    const connection = query.attached == null ? null : { ...query.attached.connection };
    const own = connection === null ? query : { ...query, attached: { ...query.attached!, connection } };
    const { name } = this.#side.table;
    const { rule, ...decision } = runChain(ruleset, name, this.#hook, own, world);
    const chain = rule.chain.split(COPY, 1)[0]!;
    return { ...decision, rule: { ...rule, chain }, connmark: connection?.mark ?? 0 };
  }

  /** The table alone, with guards as the box says; those of which it says nothing do not hold. */
  #rulesetFor({ guards }: Box, connected: boolean, point: Point): Ruled {
    const key = JSON.stringify([guards, connected, point.src_type, point.dst_type]);
    let ruled = this.#ruled.get(key);
    if (ruled === undefined) {
      if (this.#ruled.size > 100) this.#ruled.clear();
      const ruleset = this.#rulesetWhere(guards, connected, point);
      this.#ruled.set(key, (ruled = { ruleset, world: worldOf(ruleset) }));
    }
    return ruled;
  }

  #rulesetWhere(guards: Box["guards"], connected: boolean, point: Point): Ruleset {
    const said = new Map<string, boolean>();
    const ways = new Set<string>();
    for (const [bit, holds] of guards) {
      const { place, index, part, text } = this.#guards.of(bit);
      said.set(place === null ? `${part}|${text}` : `${place}|${index}|${part}`, holds);
      // each chain on the way there gets a copy of its own
      for (let at = place?.lastIndexOf("/") ?? 0; at > 0; at = place!.lastIndexOf("/", at - 1))
        ways.add(place!.slice(0, at));
    }
    const chains = this.#side.table.chains.map((chain) => ({ chain, name: chain.name, place: "" }));
    const out: Chain[] = [];
    for (let next = chains.shift(); next !== undefined; next = chains.shift()) {
      const { chain, name, place } = next;
      const local = chain.policy !== null || place !== "";
      const rules = chain.rules.map((rule): Rule => {
        const here = `${place}/${this.#side.numberOf(rule)}`;
        const decided = this.#decided(rule, here, said, connected, point);
        const { target } = decided;
        if (!local || !ways.has(here) || (target?.kind !== "jump" && target?.kind !== "goto")) return decided;
        const copy = `${target.chain}${COPY}${here}`;
        chains.push({ chain: this.#chains.get(target.chain)!, name: copy, place: here });
        return { ...decided, target: { ...target, chain: copy } };
      });
      out.push({ ...chain, name, rules });
    }
    return { family: 4, tables: [{ ...this.#side.table, chains: out }], notes: [] };
  }

  #decided(rule: Rule, place: string, said: ReadonlyMap<string, boolean>, connected: boolean, point: Point): Rule {
    if (!isDecided(rule, this.#guards)) return rule;
    const matches = rule.matches.flatMap((match, index): readonly Match[] => {
      const part = this.#guards.partOf(match);
      if (part === null) return match.kind === "addrtype" ? (meetsTypes(match, point) ? [] : [NEVER]) : [match];
      const key = this.#guards.isLocal(match) ? `${place}|${index}|${part}` : `${part}|${this.#guards.textOf(match)}`;
      const holds = said.get(key) ?? false;
      if (match.kind === "conntrack") {
        // without a connection only the state is asked
        const rest: Match[] = match.state === null ? [] : [{ kind: "state", ...match.state }];
        return connected ? (holds ? rest : [...rest, NEVER]) : match.state === null ? [NEVER] : rest;
      }
      if (match.kind === "tcp") return holds ? [{ ...match, option: null }] : [{ ...match, option: null }, NEVER];
      return holds ? [] : [NEVER];
    });
    return { ...rule, matches, target: goesOn(rule.target) ? null : rule.target };
  }
}

/** Between the name of a chain and the way on which its copy is met: it stands in no name. */
const COPY = " ";

const NEVER: Match = { kind: "mark", value: 1, mask: 0, negated: false };

function isDecided(rule: Rule, guards: Guards): boolean {
  return guards.isGuarded(rule) || rule.matches.some(({ kind }) => kind === "addrtype") || goesOn(rule.target);
}

/** What the reference does not do, or not without the memory of its world, and what decides nothing. */
const GOING_ON: ReadonlySet<string> = new Set([
  ...["SET", "TCPOPTSTRIP", "AUDIT", "CONNSECMARK", "IDLETIMER", "LED", "RATEEST", "SECMARK", "ULOG", "opaque"],
]);

function goesOn(target: Rule["target"]): boolean {
  return target !== null && GOING_ON.has(target.kind);
}

function meetsTypes({ srcTypes, dstTypes }: AddrtypeMatch, point: Point): boolean {
  const meets = (side: AddrtypeMatch["srcTypes"], type: number): boolean =>
    side === null || side.types.includes(ADDRESS_TYPES[type]!) !== side.negated;
  return meets(srcTypes, point.src_type) && meets(dstTypes, point.dst_type);
}

function worldOf(ruleset: Ruleset): World {
  const memory = new Memory(ruleset, 0);
  memory.start(0, 0);
  return {
    memory,
    backend: "legacy",
    addressType: (): never => {
      throw new Error("types of addresses were to be decided");
    },
    connection: () => null,
    routeTo: () => null,
    mtuTo: () => ETHERNET_MTU,
  };
}

const ETHERNET_MTU = 1500;
