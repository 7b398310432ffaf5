// A rule's header and matches -> the packets for which it holds, and those that one of its matches drops.
//
// Follows src/reference/match.ts sentence by sentence, for all packets at once. What no field says is a guard: a bit of its
// own, whose meaning the caller knows.

import { TCP_FLAGS } from "../packet/packet.ts";
import type {
  AddressTest,
  AddressType,
  CtStateName,
  Match,
  MultiportMatch,
  NegatableRange,
  Rule,
} from "../rules/ruleset.ts";
import { FALSE, TRUE } from "./diagram.ts";
import type { Node } from "./diagram.ts";
import { CT_STATE_NAMES, HEADER, SOCKET } from "./space.ts";
import type { FieldName, Space } from "./space.ts";

export interface Condition {
  readonly holds: Node;
  /** Where a match finds the packet broken and drops it (hotdrop). */
  readonly drops: Node;
  /** For each match where it is asked: those before it hold. */
  readonly asked: readonly Node[];
}

/** The bit that says whether match `index` of the rule holds; `part` names one of several facts of it. */
export type GuardOf = (match: Match, index: number, part?: string) => Node;

export function conditionOf(rule: Rule, space: Space, guardOf: GuardOf): Condition {
  const { diagram } = space;
  let holds = headerOf(rule, space);
  let drops: Node = FALSE;
  const asked: Node[] = [];
  rule.matches.forEach((match, index) => {
    asked.push(holds);
    if (holds === FALSE) return;
    const needed = bytesNeeded(match);
    if (needed !== null) {
      drops = diagram.or(drops, diagram.and(holds, cutShort(match, needed, space)));
      holds = diagram.and(holds, space.range("header", HEADER.whole, needed));
    }
    holds = diagram.and(
      holds,
      meets(match, space, (part) => guardOf(match, index, part)),
    );
  });
  return { holds, drops, asked };
}

function headerOf({ header }: Rule, space: Space): Node {
  const { diagram } = space;
  const parts: Node[] = [];
  if (header.inIface !== null) parts.push(space.interface("in", header.inIface));
  if (header.src !== null) parts.push(address("src", header.src, space));
  if (header.outIface !== null) parts.push(space.interface("out", header.outIface));
  if (header.dst !== null) parts.push(address("dst", header.dst, space));
  if (header.fragment !== null) {
    const later = space.range("header", HEADER.offset8, HEADER.later);
    parts.push(header.fragment.negated ? diagram.not(later) : later);
  }
  if (header.proto !== null)
    parts.push(space.range("proto", header.proto.proto, header.proto.proto, header.proto.negated));
  // from the last field to the first: each step only puts nodes on top
  return parts.reverse().reduce((a, b) => diagram.and(a, b), TRUE);
}

function address(name: "src" | "dst", { mask, address, negated }: AddressTest, space: Space): Node {
  return space.masked(name, mask, address, negated);
}

/** The last class of headers that show enough for the match; null: it asks for none. */
function bytesNeeded(match: Match): number | null {
  switch (match.kind) {
    case "tcp":
      return HEADER.whole;
    case "udp":
    case "icmp":
      return HEADER.from8;
    case "multiport":
      return HEADER.from4;
    default:
      return null;
  }
}

/** A header cut short; of TCP also a fragment that could overwrite what the first one showed. */
function cutShort(match: Match, needed: number, space: Space): Node {
  return space.range("header", needed + 1, match.kind === "tcp" ? HEADER.offset8 : HEADER.from0);
}

function meets(match: Match, space: Space, guard: (part?: string) => Node): Node {
  const { diagram } = space;
  const all = (...nodes: Node[]): Node => nodes.reduce((a, b) => diagram.and(a, b), TRUE);
  const range = (name: FieldName, test: NegatableRange | null): Node =>
    test === null ? TRUE : space.range(name, test.lo, test.hi, test.negated);
  switch (match.kind) {
    case "comment":
      return TRUE;
    case "tcp":
      return all(
        range("sport", match.sport),
        range("dport", match.dport),
        match.flags === null ? TRUE : space.masked("flags", match.flags.mask, match.flags.comp, match.flags.negated),
        match.option === null ? TRUE : guard("option"),
      );
    case "udp":
      return all(range("sport", match.sport), range("dport", match.dport));
    case "icmp": {
      const type = match.type << 8;
      const set = match.type === 255 ? TRUE : space.range("icmp", type | match.code.lo, type | match.code.hi);
      return match.negated ? diagram.not(set) : set;
    }
    case "multiport":
      return multiport(match, space);
    case "state":
      return states(match.states, match.negated, space);
    case "conntrack": {
      const { kind: _kind, state, ...others } = match;
      const stated = state === null ? TRUE : states(state.states, state.negated, space);
      if (Object.values(others).every((test) => test === null)) return stated;
      // without a connection nothing else is asked
      const otherwise = state === null ? FALSE : TRUE;
      return all(stated, diagram.choose(hasConnection(space), guard("others"), otherwise));
    }
    case "mark":
      return space.masked("mark", match.mask, match.value, match.negated);
    case "connmark":
      return all(hasConnection(space), space.masked("connmark", match.mask, match.value, match.negated));
    case "iprange":
      return all(range("src", match.src), range("dst", match.dst));
    case "addrtype": {
      if (match.limitIface !== null) return guard();
      const side = (name: "src_type" | "dst_type", test: typeof match.srcTypes): Node => {
        if (test === null) return TRUE;
        const set = space.among(
          name,
          test.types.map((type) => [TYPE_NUMBERS[type], TYPE_NUMBERS[type]] as const),
        );
        return test.negated ? diagram.not(set) : set;
      };
      return all(side("src_type", match.srcTypes), side("dst_type", match.dstTypes));
    }
    case "length":
      return range("len", match);
    case "ttl":
      if (match.op === "eq") return space.range("ttl", match.ttl, match.ttl, match.negated);
      if (match.op === "lt") return match.ttl === 0 ? FALSE : space.range("ttl", 0, match.ttl - 1);
      return match.ttl === 255 ? FALSE : space.range("ttl", match.ttl + 1, 255);
    case "tos":
      return space.masked("tos", match.mask, match.value, match.negated);
    case "dscp":
      return space.masked("tos", 0xfc, match.dscp << 2, match.negated);
    case "ecn": {
      const bit = (test: typeof match.ece, mask: number): Node =>
        test === null ? TRUE : space.masked("flags", mask, mask, test.negated);
      const ect = match.ect === null ? TRUE : space.masked("tos", 3, match.ect.ect, match.ect.negated);
      if (match.ece === null && match.cwr === null) return ect;
      return all(space.is("header", HEADER.whole), bit(match.ece, TCP_FLAGS.ECE), bit(match.cwr, TCP_FLAGS.CWR), ect);
    }
    case "pkttype":
      return space.range("frame", FRAMES[match.type], FRAMES[match.type], match.negated);
    case "mac": {
      // only Ethernet has it, and lo is none
      const lo = space.interface("in", { name: "lo", wildcard: false, negated: false });
      const frame = all(diagram.not(space.is("in", 0)), diagram.not(lo));
      return all(frame, space.range("src_mac", match.mac, match.mac, match.negated));
    }
    case "owner": {
      if (match.supplGroups) return guard();
      const user = space.is("socket", SOCKET.user);
      const some = space.range("socket", SOCKET.kernel, SOCKET.user);
      const owned = (name: "uid" | "gid", test: NegatableRange | null): Node =>
        test === null ? TRUE : diagram.choose(user, range(name, test), test.negated ? TRUE : FALSE);
      const exists = match.socketExists === null ? TRUE : match.socketExists.negated ? diagram.not(some) : some;
      return all(exists, owned("uid", match.uid), owned("gid", match.gid));
    }
    case "physdev":
      return [match.isBridged, match.isIn, match.isOut, match.in, match.out].every((test) => test?.negated ?? true)
        ? TRUE
        : FALSE;
    case "realm":
      return (match.value === 0) !== match.negated ? TRUE : FALSE;
    case "devgroup":
      return [match.src, match.dst].every((test) => test === null || ((test.value & test.mask) === 0) !== test.negated)
        ? TRUE
        : FALSE;
    case "recent":
      return match.op === "set" ? (match.negated ? FALSE : TRUE) : guard();
    case "assumed":
      return match.holds ? TRUE : FALSE;
    default:
      return guard();
  }
}

const FRAMES = { unicast: 0, broadcast: 1, multicast: 2, otherhost: 3 } as const;

export const TYPE_NUMBERS: Readonly<Record<AddressType, number>> = {
  UNSPEC: 0,
  UNICAST: 1,
  LOCAL: 2,
  BROADCAST: 3,
  ANYCAST: 4,
  MULTICAST: 5,
  BLACKHOLE: 6,
  UNREACHABLE: 7,
  PROHIBIT: 8,
  THROW: 9,
  NAT: 10,
  XRESOLVE: 11,
};

/** The packet belongs to a connection. */
export function hasConnection(space: Space): Node {
  return states(["NEW", "ESTABLISHED", "RELATED"], false, space);
}

function states(names: readonly CtStateName[], negated: boolean, space: Space): Node {
  const numbers = Array.from({ length: CT_STATE_NAMES.length * 4 }, (_, number) => number).filter((number) => {
    const any = names.some((name) => {
      if (name === "SNAT") return (number & 1) !== 0;
      if (name === "DNAT") return (number & 2) !== 0;
      return CT_STATE_NAMES[number >> 2] === name;
    });
    return any !== negated;
  });
  return space.among(
    "ct_state",
    numbers.map((number) => [number, number] as const),
  );
}

function multiport({ which, ports, negated }: MultiportMatch, space: Space): Node {
  const { diagram } = space;
  const among = (name: "sport" | "dport"): Node =>
    ports.map(({ lo, hi }) => space.range(name, lo, hi)).reduce((a, b) => diagram.or(a, b), FALSE);
  const set =
    which === "sports"
      ? among("sport")
      : which === "dports"
        ? among("dport")
        : diagram.or(among("sport"), among("dport"));
  return negated ? diagram.not(set) : set;
}
