// A rule's header and matches -> stages, each a union of boxes and a list of tests.
//
// A rule's matches run left to right and stop at the first that is false. For matches that only look this order does
// not matter, and they become boxes (or pure tests, where no box can say it). A match that remembers (limit, statistic)
// or that drops the packet (a transport match on a header cut short) must be evaluated exactly when it is reached: it
// closes a stage, and what stands behind it opens the next one. Nearly all rules have one stage.

import {
  CONNBYTES_AVERAGE,
  CONNBYTES_BYTES,
  CONNBYTES_ORIGINAL,
  CONNBYTES_PACKETS,
  CONNBYTES_REPLY,
  CONNECTION_DIRECTION,
  CONNECTION_EXPIRES,
  CONNECTION_MARK,
  CONNECTION_ORIGINAL_DPORT,
  CONNECTION_ORIGINAL_DST,
  CONNECTION_ORIGINAL_SPORT,
  CONNECTION_ORIGINAL_SRC,
  CONNECTION_PROTO,
  CONNECTION_REPLY_DPORT,
  CONNECTION_REPLY_DST,
  CONNECTION_REPLY_SPORT,
  CONNECTION_REPLY_SRC,
  CONNECTION_STATUS,
  CT_DNAT_BIT,
  CT_ESTABLISHED,
  CT_INVALID,
  CT_NEW,
  CT_RELATED,
  CT_SNAT_BIT,
  CT_UNTRACKED,
  FACT_FRAME_SHIFT,
  FIELD_COUNT,
  FIELD_CT_STATE,
  FIELD_DPORT,
  FIELD_DST,
  FIELD_FACTS,
  FIELD_ICMP,
  FIELD_IN_IFACE,
  FIELD_LENGTH,
  FIELD_MARK,
  FIELD_OUT_IFACE,
  FIELD_PROTO,
  FIELD_SPORT,
  FIELD_SRC,
  FIELD_TCP_FLAGS,
  FIELD_TOS,
  FIELD_TRANSPORT,
  FIELD_TTL,
  FRAME_BROADCAST,
  FRAME_HOST,
  FRAME_MULTICAST,
  FRAME_OTHERHOST,
  ORIGIN_GID,
  ORIGIN_UID,
  CHUNKS_ALL,
  CHUNKS_ANY,
  CHUNKS_ONLY,
  RECENT_DST,
  RECENT_RCHECK,
  RECENT_REAP,
  RECENT_REMOVE,
  RECENT_RTTL,
  RECENT_SET,
  RECENT_UPDATE,
  SHOW_NOMATCH,
  SHOW_PARTS_SHIFT,
  RPFILTER_ACCEPT_LOCAL,
  RPFILTER_LOOSE,
  RPFILTER_VALID_MARK,
  STATUS_ASSURED,
  STATUS_CONFIRMED,
  STATUS_SEEN_REPLY,
  STRING_ANY_CASE,
  STRING_MAY_MISS,
  TEST_BPF,
  TEST_CHUNKS,
  TEST_CLUSTER,
  TEST_CONNBYTES,
  TEST_CONNECTION,
  TEST_CONNLIMIT,
  TEST_DCCP_OPTION,
  TEST_DCCP_TYPES,
  TEST_HASHLIMIT,
  TEST_INTACT,
  TEST_IPSET,
  TEST_LIMIT,
  TEST_MAC,
  TEST_MASKED,
  TEST_MSS,
  TEST_NFT_LIMIT,
  TEST_NTH,
  TEST_OWNER,
  TEST_QUOTA,
  TEST_RANDOM,
  TEST_RECENT,
  TEST_SET,
  TEST_SOCKET,
  TEST_SPI,
  TEST_STRING,
  TEST_TCP_OPTION,
  TEST_RPFILTER,
  TEST_TIME,
  TEST_U32,
  TRANSPORT_LATER,
  TRANSPORT_OFFSET_1,
} from "../layout.ts";
import { prefixMask } from "../net/address.ts";
import { bucketOf, nftTokenOf } from "../net/limit.ts";
import { TCP_FLAGS } from "../packet/packet.ts";
import { RuleError } from "../rules/error.ts";
import { modelledMatch } from "../rules/modelled.ts";
import type {
  AddressTest,
  AddressType,
  ConntrackMatch,
  CtStateName,
  Match,
  NegatableRange,
  Rule,
  SetSide,
  TcpMatch,
  UdpMatch,
} from "../rules/ruleset.ts";
import type { InterfaceTable } from "./interfaces.ts";
import { ALL, complement, EMPTY, intersect, isAll, MAX_U32, unionOf } from "./intervals.ts";
import type { Intervals } from "./intervals.ts";
import { remembers, WHOLE } from "./program.ts";
import type { Box, Test } from "./program.ts";
import type { IpsetTable } from "./sets.ts";

export interface Stage {
  /** Union; empty: never holds. */
  readonly boxes: readonly Box[];
  readonly tests: readonly Test[];
}

/** What lowering a rule needs to know beside the rule. */
export interface ConditionContext {
  readonly interfaces: InterfaceTable;
  /** Bits of fields that actions of this chain's program change. */
  readonly volatileFields: number;
  /** Lower for packets that are later fragments or cut short (FACT_ODD). */
  readonly odd: boolean;
  /** Lower as iptables-nft does. */
  readonly nft: boolean;
  /** The addresses of these types, all of them or as one interface sees them; null without a host. */
  readonly addressesOf: ((types: readonly AddressType[], iface: number | null) => Intervals) | null;
  /** Number of the memory that belongs to match `match` of rule number `rule`, or to what the rule draws (DRAWS). */
  stateOf(rule: number, match: number): number;
  /** Number of a list of `-m recent`. */
  listOf(name: string): number;
  /** Number of a table of `-m hashlimit`. */
  hashTableOf(name: string): number;
  readonly ipsets: IpsetTable;
  /** Boxes that one rule may become by a set of ipset; larger sets are tested. */
  readonly mostSetBoxes: number;
}

/** In the place of a match: the rule's own memory of how often it has drawn for a packet. */
export const DRAWS = -1;

/** More boxes than these for one rule, and its largest sets become tests. */
const MOST_BOXES = 16;

/** Longer lists of `--ports` are tested: n ranges would be n * (n + 2) boxes. */
const MOST_EITHER_PORTS = 3;

const PORT_MAX = 0xffff;
const TCP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const ICMP_HEADER_BYTES = 8;
const PLAIN_HEADER_BYTES = 20;
const U32_BYTES = 4;
/** Where these fields end behind the IP header. */
const SPORT_END = 2;
const DPORT_END = 4;
const TCP_FLAGS_END = 14;
const PORTS_BYTES = 4;
const SCTP_HEADER_BYTES = 12;
const DCCP_HEADER_BYTES = 12;
const SPI_BYTES = { esp: 8, ah: 12, ipcomp: 4 } as const;
/** Where the word stands, and which of its bits count. */
const SPI_WORDS = { esp: [0, MAX_U32], ah: [4, MAX_U32], ipcomp: [0, 0xffff] } as const;
const CHUNKS_CODES = { any: CHUNKS_ANY, all: CHUNKS_ALL, only: CHUNKS_ONLY } as const;

/** A union of products of interval sets; an absent set is ALL. */
type Product = (Intervals | undefined)[];

/** Throws a RuleError for what needs a host where there is none. */
export function stagesOf(rule: Rule, ruleNumber: number, context: ConditionContext): readonly Stage[] {
  const stages: Stage[] = [];
  let products: Product[] = [[]];
  let tests: Test[] = [];
  const most = rule.matches.some(({ kind }) => kind === "set")
    ? Math.max(MOST_BOXES, context.mostSetBoxes)
    : MOST_BOXES;

  const both = (field: number, set: Intervals): void => {
    if (isAll(set)) return;
    for (const product of products) restrict(product, field, set);
  };
  const either = (alternatives: readonly (readonly [number, Intervals])[][]): void => {
    products = products.flatMap((product) =>
      alternatives.map((alternative) => {
        const narrowed = product.slice();
        for (const [field, set] of alternative) restrict(narrowed, field, set);
        return narrowed;
      }),
    );
  };
  const guard = (test: Test): void => {
    tests.push(test);
  };
  const pure = (): void => {
    // what only looks, behind something that remembers: a new stage
    if (tests.length > 0 && remembers(tests[tests.length - 1]!)) {
      stages.push(closed(products, tests, most));
      products = [[]];
      tests = [];
    }
  };
  const intact = (bytes: number): void => {
    if (context.odd) guard({ kind: TEST_INTACT, bytes });
    pure();
  };
  const masked = (field: number, mask: number, value: number, negated: boolean): void => {
    if (mask === 0) {
      if ((value === 0) === negated) both(field, EMPTY);
    } else {
      tests.push({ kind: TEST_MASKED, field, mask, value, negated });
    }
  };
  const among = (field: number, set: Intervals): void => {
    if ((context.volatileFields >>> field) & 1) tests.push({ kind: TEST_SET, field, orField: 0, set });
    else both(field, set);
  };
  const maskedField = (field: number, mask: number, value: number, negated: boolean): void => {
    const fixed = (context.volatileFields >>> field) & 1;
    if (mask === 0xffffffff && !fixed) both(field, negatedIf([value, value], negated));
    else masked(field, mask, value, negated);
  };
  const ports = (field: number, range: NegatableRange | null): void => {
    if (range === null) return;
    const set = range.lo > range.hi ? EMPTY : [range.lo, range.hi];
    both(field, negatedIf(set, range.negated, PORT_MAX));
  };
  /** iptables-nft compares bytes of the packet: what is not there does not hold, and nothing is dropped. */
  const compared = (end: number, mask: number, set: Intervals): void => {
    const ranges = Array.from({ length: set.length / 2 }, (_, at) => ({ lo: set[2 * at]!, hi: set[2 * at + 1]! }));
    const test = { start: PLAIN_HEADER_BYTES + end - U32_BYTES, steps: [{ op: "&", number: mask }], ranges } as const;
    guard({ kind: TEST_U32, tests: [test], negated: false });
  };
  const comparedPorts = (end: number, range: NegatableRange | null): void => {
    if (asksPort(range)) compared(end, PORT_MAX, negatedIf([range.lo, range.hi], range.negated, PORT_MAX));
  };
  /** False: the kernel's match for the protocol is asked. */
  const comparesBytes = (match: TcpMatch | UdpMatch): boolean => {
    if (!context.odd || !context.nft || !isCompared(match)) return false;
    const flags = match.kind === "tcp" ? match.flags : null;
    if (flags !== null)
      compared(TCP_FLAGS_END, flags.mask, negatedIf([flags.comp, flags.comp], flags.negated, flags.mask));
    comparedPorts(SPORT_END, match.sport);
    comparedPorts(DPORT_END, match.dport);
    return true;
  };
  const address = (field: number, test: AddressTest | null): void => {
    if (test === null) return;
    const span = ~test.mask >>> 0;
    if ((span & (span + 1)) === 0) both(field, negatedIf([test.address, (test.address | span) >>> 0], test.negated));
    else masked(field, test.mask, test.address, test.negated);
  };

  const { header } = rule;
  address(FIELD_SRC, header.src);
  address(FIELD_DST, header.dst);
  if (header.inIface !== null) both(FIELD_IN_IFACE, context.interfaces.numbersOf(header.inIface));
  if (header.outIface !== null) both(FIELD_OUT_IFACE, context.interfaces.numbersOf(header.outIface));
  if (header.proto !== null)
    both(FIELD_PROTO, negatedIf([header.proto.proto, header.proto.proto], header.proto.negated, 255));
  if (header.fragment !== null) {
    const later: Intervals = context.odd ? [TRANSPORT_OFFSET_1, TRANSPORT_LATER] : EMPTY;
    both(FIELD_TRANSPORT, header.fragment.negated ? complement(later) : later);
  }

  rule.matches.forEach((given, index) => {
    const match = modelledMatch(given);
    if (match.kind === "comment") return;
    const state = (): number => context.stateOf(ruleNumber, index);
    switch (match.kind) {
      case "set": {
        pure();
        const { ipsets } = context;
        const set = ipsets.intervalsOf(match.name, match.returnNomatch);
        const [side] = match.sides;
        if (set !== null) both(side === "src" ? FIELD_SRC : FIELD_DST, negatedIf(set, match.negated));
        else {
          const show = showOf(match.sides) | (match.returnNomatch ? SHOW_NOMATCH : 0);
          tests.push({ kind: TEST_IPSET, set: ipsets.numberOf(match.name), show, negated: match.negated });
        }
        return;
      }
      case "assumed":
        pure();
        if (!match.holds) both(FIELD_SRC, EMPTY);
        return;
      case "tcp":
        if (comparesBytes(match)) return;
        intact(TCP_HEADER_BYTES);
        ports(FIELD_SPORT, match.sport);
        ports(FIELD_DPORT, match.dport);
        if (match.flags !== null) masked(FIELD_TCP_FLAGS, match.flags.mask, match.flags.comp, match.flags.negated);
        if (match.option !== null)
          guard({ kind: TEST_TCP_OPTION, option: match.option.kind, negated: match.option.negated });
        return;
      case "esp":
      case "ah":
      case "ipcomp": {
        intact(SPI_BYTES[match.kind]);
        const [offset, bits] = SPI_WORDS[match.kind];
        if (match.spi !== null) guard({ kind: TEST_SPI, offset, bits, ...match.spi });
        return;
      }
      case "sctp":
        intact(SCTP_HEADER_BYTES);
        ports(FIELD_SPORT, match.sport);
        ports(FIELD_DPORT, match.dport);
        if (match.chunks !== null) {
          const { which, types, negated } = match.chunks;
          guard({ kind: TEST_CHUNKS, which: CHUNKS_CODES[which], chunks: types, negated });
        }
        return;
      case "dccp":
        intact(DCCP_HEADER_BYTES);
        ports(FIELD_SPORT, match.sport);
        ports(FIELD_DPORT, match.dport);
        if (match.types !== null) guard({ kind: TEST_DCCP_TYPES, ...match.types });
        if (match.option !== null) guard({ kind: TEST_DCCP_OPTION, ...match.option });
        return;
      case "udp":
        if (comparesBytes(match)) return;
        intact(UDP_HEADER_BYTES);
        ports(FIELD_SPORT, match.sport);
        ports(FIELD_DPORT, match.dport);
        return;
      case "icmp":
        intact(ICMP_HEADER_BYTES);
        both(FIELD_ICMP, icmpSet(match));
        return;
      case "multiport": {
        intact(PORTS_BYTES);
        const set = unionOf(match.ports.map((range) => [range.lo, range.hi] as const));
        const others = complement(set, PORT_MAX);
        if (match.which === "sports") both(FIELD_SPORT, match.negated ? others : set);
        else if (match.which === "dports") both(FIELD_DPORT, match.negated ? others : set);
        else if (match.negated)
          either([
            [
              [FIELD_SPORT, others],
              [FIELD_DPORT, others],
            ],
          ]);
        else if (set.length > 2 * MOST_EITHER_PORTS)
          tests.push({ kind: TEST_SET, field: FIELD_SPORT, orField: FIELD_DPORT, set });
        else
          either([
            [[FIELD_SPORT, set]],
            [
              [FIELD_SPORT, others],
              [FIELD_DPORT, set],
            ],
          ]);
        return;
      }
      case "conntrack":
        pure();
        if (match.state !== null) among(FIELD_CT_STATE, stateSet(match.state.states, match.state.negated));
        tests.push(...connectionTests(match));
        return;
      case "connmark":
        pure();
        tests.push({
          kind: TEST_CONNECTION,
          ...{ what: CONNECTION_MARK, a: match.mask, b: match.value, without: false, negated: match.negated },
        });
        return;
      case "state":
        pure();
        among(FIELD_CT_STATE, stateSet(match.states, match.negated));
        return;
      case "mark":
        pure();
        maskedField(FIELD_MARK, match.mask, match.value, match.negated);
        return;
      case "iprange":
        pure();
        if (match.src !== null) both(FIELD_SRC, negatedIf([match.src.lo, match.src.hi], match.src.negated));
        if (match.dst !== null) both(FIELD_DST, negatedIf([match.dst.lo, match.dst.hi], match.dst.negated));
        return;
      case "addrtype":
        pure();
        addrtype(match, rule, context, both, either);
        return;
      case "length":
        pure();
        among(FIELD_LENGTH, negatedIf([match.lo, match.hi], match.negated));
        return;
      case "ttl":
        pure();
        among(FIELD_TTL, ttlSet(match));
        return;
      case "tos":
        pure();
        masked(FIELD_TOS, match.mask, match.value, match.negated);
        return;
      case "dscp":
        pure();
        masked(FIELD_TOS, DSCP_MASK, match.dscp << 2, match.negated);
        return;
      case "ecn":
        pure();
        if (match.ect !== null) masked(FIELD_TOS, ECT_MASK, match.ect.ect, match.ect.negated);
        if (match.ece === null && match.cwr === null) return;
        if (context.odd) both(FIELD_TRANSPORT, [TCP_HEADER_BYTES, TRANSPORT_OFFSET_1 - 1]);
        if (match.ece !== null) masked(FIELD_TCP_FLAGS, TCP_FLAGS.ECE, TCP_FLAGS.ECE, match.ece.negated);
        if (match.cwr !== null) masked(FIELD_TCP_FLAGS, TCP_FLAGS.CWR, TCP_FLAGS.CWR, match.cwr.negated);
        return;
      case "tcpmss":
        guard({ kind: TEST_MSS, lo: match.lo, hi: match.hi, negated: match.negated });
        return;
      case "pkttype":
        pure();
        masked(FIELD_FACTS, 3 << FACT_FRAME_SHIFT, FRAMES[match.type] << FACT_FRAME_SHIFT, match.negated);
        return;
      case "mac":
        pure();
        tests.push({
          kind: TEST_MAC,
          mac: match.mac,
          loIface: context.interfaces.has("lo") ? context.interfaces.numberOf("lo") : 0,
          negated: match.negated,
        });
        return;
      case "owner":
        pure();
        if (match.socketExists !== null) tests.push({ kind: TEST_SOCKET, negated: match.socketExists.negated });
        if (match.uid !== null) tests.push({ kind: TEST_OWNER, which: ORIGIN_UID, ...match.uid });
        if (match.gid !== null) tests.push({ kind: TEST_OWNER, which: ORIGIN_GID, ...match.gid });
        return;
      case "recent":
        guard({
          kind: TEST_RECENT,
          list: context.listOf(match.name),
          flags:
            RECENT_CODES[match.op] |
            (match.reap ? RECENT_REAP : 0) |
            (match.rttl ? RECENT_RTTL : 0) |
            (match.side === "dst" ? RECENT_DST : 0),
          seconds: match.seconds,
          hits: match.hitcount,
          negated: match.negated,
        });
        return;
      case "quota":
        guard({ kind: TEST_QUOTA, state: state(), quota: match.quota, negated: match.negated });
        return;
      case "rpfilter": {
        if (context.addressesOf === null) {
          throw new RuleError("match rpfilter asks for the host's routes: give a host", rule.position, rule.text);
        }
        pure();
        const flags =
          (match.loose ? RPFILTER_LOOSE : 0) |
          (match.validMark ? RPFILTER_VALID_MARK : 0) |
          (match.acceptLocal ? RPFILTER_ACCEPT_LOCAL : 0);
        tests.push({ kind: TEST_RPFILTER, flags, negated: match.invert });
        return;
      }
      case "time":
        pure();
        tests.push({ kind: TEST_TIME, time: match });
        return;
      case "string": {
        const { pattern, algorithm, from, to, anyCase, negated } = match;
        const flags =
          (anyCase ? STRING_ANY_CASE : 0) | (algorithm === "bm" && pattern.length > 1 ? STRING_MAY_MISS : 0);
        guard({ kind: TEST_STRING, flags, pattern: anyCase ? pattern.map(upper) : pattern, from, to, negated });
        return;
      }
      case "u32":
        guard({ kind: TEST_U32, tests: match.tests, negated: match.negated });
        return;
      case "bpf":
        guard({ kind: TEST_BPF, program: match.program });
        return;
      case "hashlimit":
        guard({ kind: TEST_HASHLIMIT, table: context.hashTableOf(match.name), negated: match.above });
        return;
      case "physdev": {
        pure();
        const tests = [match.isBridged, match.isIn, match.isOut, match.in, match.out];
        if (tests.some((test) => test?.negated === false)) both(FIELD_SRC, EMPTY);
        return;
      }
      case "realm":
        pure();
        if ((match.value === 0) === match.negated) both(FIELD_SRC, EMPTY);
        return;
      case "devgroup":
        pure();
        for (const test of [match.src, match.dst]) {
          if (test !== null && ((test.value & test.mask) === 0) === test.negated) both(FIELD_SRC, EMPTY);
        }
        return;
      case "policy":
        pure();
        if (!match.none) both(FIELD_SRC, EMPTY);
        return;
      case "socket":
        pure();
        both(FIELD_SRC, EMPTY);
        return;
      case "cluster":
        guard({ ...match, kind: TEST_CLUSTER });
        return;
      case "connbytes": {
        pure();
        const { lo, hi, mode, dir, negated } = match;
        guard({ kind: TEST_CONNBYTES, what: CONNBYTES_MODES[mode] | CONNBYTES_DIRECTIONS[dir], lo, hi, negated });
        return;
      }
      case "connlimit":
        guard({
          kind: TEST_CONNLIMIT,
          state: state(),
          field: match.of === "saddr" ? FIELD_SRC : FIELD_DST,
          mask: prefixMask(match.prefixLength),
          most: match.limit,
          negated: match.above,
        });
        return;
      case "limit":
        if (context.nft)
          guard({ kind: TEST_NFT_LIMIT, state: state(), cost: nftTokenOf(match.average), burst: match.burst });
        else guard({ kind: TEST_LIMIT, state: state(), ...bucketOf(match.average, match.burst) });
        return;
      case "statistic":
        if (match.mode === "nth") {
          guard({ kind: TEST_NTH, state: state(), every: match.every, packet: match.packet, negated: match.negated });
        } else {
          guard({
            kind: TEST_RANDOM,
            rule: ruleNumber,
            state: context.stateOf(ruleNumber, DRAWS),
            probability: match.probability,
            negated: match.negated,
          });
        }
        return;
    }
  });

  stages.push(closed(products, tests, most));
  return stages;
}

/** SHOW_ bits of the sides that a rule names for a set. */
export function showOf(sides: readonly SetSide[]): number {
  return sides.reduce((bits, side, n) => bits | (side === "src" ? 1 << n : 0), sides.length << SHOW_PARTS_SHIFT);
}

/** add_nft_tcp() and add_nft_udp() of iptables/nft.c: without the kernel's match for the protocol. */
function isCompared(match: TcpMatch | UdpMatch): boolean {
  const asksFlags = match.kind === "tcp" && match.flags !== null;
  const asksOption = match.kind === "tcp" && match.option !== null;
  return !asksOption && (asksFlags || asksPort(match.sport) || asksPort(match.dport));
}

function asksPort(range: NegatableRange | null): range is NegatableRange {
  return range !== null && (range.negated || range.lo > 0 || range.hi < PORT_MAX);
}

function negatedIf(set: Intervals, negated: boolean, max?: number): Intervals {
  return negated ? complement(set, max) : set;
}

function restrict(product: Product, field: number, set: Intervals): void {
  const before = product[field];
  product[field] = before === undefined ? set : intersect(before, set);
}

const RECENT_CODES = {
  set: RECENT_SET,
  rcheck: RECENT_RCHECK,
  update: RECENT_UPDATE,
  remove: RECENT_REMOVE,
} as const;

const CONNBYTES_MODES = {
  packets: CONNBYTES_PACKETS,
  bytes: CONNBYTES_BYTES,
  avgpkt: CONNBYTES_AVERAGE,
} as const;

const CONNBYTES_DIRECTIONS = {
  original: CONNBYTES_ORIGINAL,
  reply: CONNBYTES_REPLY,
  both: CONNBYTES_ORIGINAL | CONNBYTES_REPLY,
} as const;

/** toupper() of the kernel: Latin-1. */
function upper(byte: number): number {
  const isLower = (byte >= 0x61 && byte <= 0x7a) || (byte >= 0xdf && byte <= 0xff && byte !== 0xf7);
  return isLower ? byte - 0x20 : byte;
}

const DSCP_MASK = 0xfc;
const ECT_MASK = 3;

const FRAMES = {
  unicast: FRAME_HOST,
  broadcast: FRAME_BROADCAST,
  multicast: FRAME_MULTICAST,
  otherhost: FRAME_OTHERHOST,
} as const;

function ttlSet({ op, ttl, negated }: Extract<Match, { kind: "ttl" }>): Intervals {
  if (op === "eq") return negatedIf([ttl, ttl], negated, TTL_MAX);
  if (op === "lt") return ttl === 0 ? EMPTY : [0, ttl - 1];
  return ttl === TTL_MAX ? EMPTY : [ttl + 1, TTL_MAX];
}

const TTL_MAX = 255;

function icmpSet(match: Extract<Match, { kind: "icmp" }>): Intervals {
  const any = match.type === 255;
  const set: Intervals = any ? [0, PORT_MAX] : [(match.type << 8) | match.code.lo, (match.type << 8) | match.code.hi];
  return negatedIf(set, match.negated, PORT_MAX);
}

const CT_STATE_NUMBERS = {
  INVALID: CT_INVALID,
  NEW: CT_NEW,
  ESTABLISHED: CT_ESTABLISHED,
  RELATED: CT_RELATED,
  UNTRACKED: CT_UNTRACKED,
} as const;

/** conntrack_mt() in net/netfilter/xt_conntrack.c: any of the named states and translations suffices. */
function stateSet(states: readonly CtStateName[], negated: boolean): Intervals {
  const words: [number, number][] = [];
  for (let state = CT_INVALID; state <= CT_UNTRACKED; state++) {
    for (let nat = 0; nat < 4; nat++) {
      const holds = states.some((name) => {
        if (name === "SNAT") return (nat & CT_SNAT_BIT) !== 0;
        if (name === "DNAT") return (nat & CT_DNAT_BIT) !== 0;
        return CT_STATE_NUMBERS[name] === state;
      });
      if (holds !== negated) words.push([state * 4 + nat, state * 4 + nat]);
    }
  }
  return unionOf(words);
}

/** What `-m conntrack` asks beside the state; without a connection only the state is asked, if it is. */
function connectionTests(match: ConntrackMatch): readonly Test[] {
  const without = match.state !== null;
  const tests: Test[] = [];
  const ask = (what: number, a: number, b: number, negated: boolean): void => {
    tests.push({ kind: TEST_CONNECTION, what, a, b, without, negated });
  };
  const addresses = [
    [CONNECTION_ORIGINAL_SRC, match.origSrc],
    [CONNECTION_ORIGINAL_DST, match.origDst],
    [CONNECTION_REPLY_SRC, match.replSrc],
    [CONNECTION_REPLY_DST, match.replDst],
  ] as const;
  for (const [what, test] of addresses) if (test !== null) ask(what, test.mask, test.address, test.negated);
  const ranges = [
    [CONNECTION_ORIGINAL_SPORT, match.origSrcPort],
    [CONNECTION_ORIGINAL_DPORT, match.origDstPort],
    [CONNECTION_REPLY_SPORT, match.replSrcPort],
    [CONNECTION_REPLY_DPORT, match.replDstPort],
    [CONNECTION_EXPIRES, match.expire],
  ] as const;
  for (const [what, range] of ranges) if (range !== null) ask(what, range.lo, range.hi, range.negated);
  if (match.proto !== null) ask(CONNECTION_PROTO, match.proto.proto, match.proto.proto, match.proto.negated);
  if (match.dir !== null)
    ask(CONNECTION_DIRECTION, Number(match.dir === "REPLY"), Number(match.dir === "REPLY"), false);
  if (match.status !== null) {
    const bits = match.status.statuses.reduce((mask, status) => mask | STATUS_BITS[status], 0);
    ask(CONNECTION_STATUS, bits, 0, match.status.negated);
  }
  return tests;
}

/** A connection is expected by a helper alone, and there is none. */
const STATUS_BITS = {
  EXPECTED: 0,
  SEEN_REPLY: STATUS_SEEN_REPLY,
  ASSURED: STATUS_ASSURED,
  CONFIRMED: STATUS_CONFIRMED,
} as const;

function addrtype(
  match: Extract<Match, { kind: "addrtype" }>,
  rule: Rule,
  context: ConditionContext,
  both: (field: number, set: Intervals) => void,
  either: (alternatives: readonly (readonly [number, Intervals])[][]) => void,
): void {
  const { addressesOf } = context;
  if (addressesOf === null) {
    throw new RuleError("match addrtype asks for the host's own addresses: give a host", rule.position, rule.text);
  }
  const sides = [
    [FIELD_SRC, match.srcTypes],
    [FIELD_DST, match.dstTypes],
  ] as const;
  const seenBy = (iface: number | null): (readonly [number, Intervals])[] =>
    sides.flatMap(([field, side]) =>
      side === null ? [] : [[field, negatedIf(addressesOf(side.types, iface), side.negated)] as const],
    );
  if (match.limitIface === null) {
    for (const [field, set] of seenBy(null)) both(field, set);
  } else {
    const field = match.limitIface === "in" ? FIELD_IN_IFACE : FIELD_OUT_IFACE;
    either(context.interfaces.names.map((_, i) => [[field, [i + 1, i + 1]], ...seenBy(i + 1)]));
  }
}

function closed(products: readonly Product[], tests: Test[], mostBoxes: number): Stage {
  const boxes: Box[] = [];
  const sets: Test[] = [];
  const most = products.length === 1 ? mostBoxes : Number.POSITIVE_INFINITY;
  for (const product of products) {
    const small = product.slice();
    let count = small.reduce((boxesSoFar, set) => boxesSoFar * (set === undefined ? 1 : set.length / 2), 1);
    while (count > most) {
      // the largest set becomes a test, its span stays in the box
      const field = largestSet(small);
      const set = small[field]!;
      sets.push({ kind: TEST_SET, field, orField: 0, set });
      small[field] = [set[0]!, set[set.length - 1]!];
      count = (count * 2) / set.length;
    }
    // whoever compares with WHOLE compares objects
    if (small.length === 0) boxes.push(WHOLE);
    else expand(small, 0, WHOLE.slice(), boxes);
  }
  return { boxes, tests: [...sets, ...tests] };
}

function largestSet(product: Product): number {
  let largest = 0;
  for (let field = 1; field < FIELD_COUNT; field++) {
    if ((product[field] ?? ALL).length > (product[largest] ?? ALL).length) largest = field;
  }
  return largest;
}

/** @param box what is chosen in the fields before `from` */
function expand(product: Product, from: number, box: number[], out: Box[]): void {
  let field = from;
  while (field < FIELD_COUNT && product[field] === undefined) field++;
  if (field >= FIELD_COUNT) {
    out.push(box.slice());
    return;
  }
  const set = product[field]!;
  for (let i = 0; i < set.length; i += 2) {
    box[2 * field] = set[i]!;
    box[2 * field + 1] = set[i + 1]!;
    expand(product, field + 1, box, out);
  }
  box[2 * field] = 0;
  box[2 * field + 1] = MAX_U32;
}
