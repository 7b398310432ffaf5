// Seeded filter sets like those of ClassBench: access lists (acl), firewalls (fw), IP chains (ipc).
//
// ClassBench (D. E. Taylor, J. S. Turner) draws rules from statistics of twelve real sets, its seeds. What makes a set hard is
// how these differ from one another, so a family here is a few *styles*, each after what one kind of real set looks like,
// and the seed picks the style (seed 1 the first, 2 the second, …) and then bends every share in it up to twofold. A style says
//
//   protocols   with which the rules come; some real sets ask ports of protocols that have none
//   ports       classes of source and destination port: any, high (1024-65535), low (0-1023), range, one
//   lengths     of source and destination prefix together: a host and anywhere is another rule than two networks
//   bushy       how many different addresses there are for each rule; real sets reach from a hundredth to one
//   alike       the chance that a destination goes on as its source does, for each bit
//
// Addresses are walks down a binary tree that is never stored: whether a node has one child or two, and how unevenly packets
// of rules are shared between them, is a hash of its path. So networks lie in networks, and some are met far more often than
// others. Branches are many near the root and below /20, few between, as where people number networks. Lengths are smeared
// downwards by up to two bits, as ClassBench does on a smoothness of 2. Rules that ask most come first, exact doubles are
// dropped, and the last rule matches everything.

import { formatAddress } from "../src/net/address.ts";
import type { ClassbenchRule } from "../src/rules/classbench.ts";
import { hash, random } from "./random.ts";
import type { Random } from "./random.ts";

export const FAMILIES = ["acl", "fw", "ipc"] as const;
export type Family = (typeof FAMILIES)[number];

type PortClass = "any" | "high" | "low" | "range" | "one";

interface Style {
  /** Null: any protocol. */
  readonly protocols: readonly (readonly [number, number | null])[];
  /** Of rules whose protocol is asked to have ports; the others ask none. */
  readonly ports: readonly (readonly [number, `${PortClass} ${PortClass}`])[];
  /** Protocols beside TCP and UDP that ask ports nevertheless. */
  readonly oddPorts: boolean;
  readonly lengths: readonly (readonly [number, `${number} ${number}`])[];
  readonly bushy: { readonly src: number; readonly dst: number };
  readonly alike: number;
  /** How many different ports and ranges there are to ask. */
  readonly portCount: number;
}

const STYLES: Readonly<Record<Family, readonly Style[]>> = {
  acl: [
    {
      // hosts on both sides, databases
      protocols: [
        [85, 6],
        [8, null],
        [4, 1],
        [3, 17],
      ],
      ports: [
        [60, "any one"],
        [25, "any any"],
        [15, "any range"],
      ],
      oddPorts: false,
      lengths: [
        [70, "32 32"],
        [8, "32 23"],
        [8, "23 32"],
        [4, "31 22"],
        [4, "23 16"],
        [3, "30 30"],
        [2, "23 28"],
        [1, "0 14"],
      ],
      bushy: { src: 1, dst: 0.03 },
      alike: 0.5,
      portCount: 100,
    },
    {
      // networks in networks on both sides, mostly of any protocol
      protocols: [
        [45, null],
        [43, 6],
        [9, 17],
        [2, 1],
        [1, 88],
      ],
      ports: [
        [45, "any any"],
        [40, "any one"],
        [12, "any range"],
        [3, "any high"],
      ],
      oddPorts: false,
      lengths: [
        [14, "32 32"],
        [12, "16 32"],
        [8, "12 32"],
        [8, "32 24"],
        [8, "24 32"],
        [7, "32 16"],
        [6, "24 16"],
        [4, "0 0"],
        [6, "0 24"],
        [4, "32 0"],
        [5, "0 32"],
        [5, "24 24"],
        [6, "24 12"],
        [4, "16 24"],
        [3, "20 20"],
      ],
      bushy: { src: 0.3, dst: 0.3 },
      alike: 0.75,
      portCount: 30,
    },
    {
      // services of hosts, asked by networks of every length
      protocols: [
        [65, 6],
        [26, 17],
        [5, null],
        [4, 1],
      ],
      ports: [
        [70, "any one"],
        [14, "any high"],
        [12, "any range"],
        [4, "any any"],
      ],
      oddPorts: false,
      lengths: [
        [26, "32 32"],
        [12, "24 32"],
        [8, "0 32"],
        [6, "27 32"],
        [6, "16 32"],
        [5, "26 32"],
        [4, "27 27"],
        [5, "24 0"],
        [4, "23 32"],
        [9, "19 30"],
        [6, "29 32"],
        [5, "13 31"],
        [4, "25 27"],
      ],
      bushy: { src: 0.15, dst: 0.4 },
      alike: 0.55,
      portCount: 200,
    },
  ],
  fw: [
    {
      // anywhere to a host or back
      protocols: [
        [56, 6],
        [34, 17],
        [4, 1],
        [4, 47],
        [2, null],
      ],
      ports: [
        [60, "any one"],
        [14, "any any"],
        [13, "one any"],
        [5, "high high"],
        [3, "one one"],
        [2, "high one"],
        [2, "one high"],
        [1, "high range"],
      ],
      oddPorts: false,
      lengths: [
        [55, "0 32"],
        [16, "32 0"],
        [9, "0 0"],
        [4, "32 32"],
        [4, "22 0"],
        [4, "32 22"],
        [3, "28 30"],
        [3, "30 0"],
        [2, "0 28"],
      ],
      bushy: { src: 0.3, dst: 0.7 },
      alike: 0.8,
      portCount: 40,
    },
    {
      // networks to anywhere by source port, whatever the protocol
      protocols: [
        [27, null],
        [25, 1],
        [34, 2],
        [2, 3],
        [12, 4],
      ],
      ports: [
        [65, "one any"],
        [25, "high any"],
        [10, "any any"],
      ],
      oddPorts: true,
      lengths: [
        [43, "24 0"],
        [23, "32 32"],
        [12, "0 24"],
        [8, "32 0"],
        [6, "16 0"],
        [4, "24 32"],
        [3, "0 0"],
        [1, "16 24"],
      ],
      bushy: { src: 0.6, dst: 0.4 },
      alike: 0.3,
      portCount: 8,
    },
    {
      // both ports asked, often as ranges
      protocols: [
        [62, 7],
        [15, 8],
        [14, 6],
        [7, null],
        [1, 1],
        [1, 2],
      ],
      ports: [
        [32, "high one"],
        [22, "one one"],
        [12, "one high"],
        [11, "low one"],
        [8, "any any"],
        [7, "high high"],
        [2, "high any"],
        [3, "high range"],
        [2, "one low"],
        [1, "range any"],
      ],
      oddPorts: true,
      lengths: [
        [24, "0 24"],
        [22, "32 32"],
        [15, "0 0"],
        [12, "0 32"],
        [11, "32 0"],
        [10, "0 24"],
        [3, "24 0"],
        [2, "24 24"],
        [1, "8 0"],
      ],
      bushy: { src: 0.4, dst: 0.4 },
      alike: 0.9,
      portCount: 50,
    },
  ],
  ipc: [
    {
      // every length, either port
      protocols: [
        [38, 17],
        [34, null],
        [26, 6],
        [1, 1],
        [1, 50],
      ],
      ports: [
        [55, "any one"],
        [22, "one any"],
        [10, "any high"],
        [4, "any range"],
        [3, "range any"],
        [5, "any any"],
        [1, "one one"],
      ],
      oddPorts: false,
      lengths: [
        [24, "32 32"],
        [10, "24 24"],
        [9, "24 32"],
        [6, "32 24"],
        [5, "0 32"],
        [8, "23 24"],
        [4, "24 16"],
        [3, "24 0"],
        [3, "32 26"],
        [3, "0 24"],
        [4, "24 26"],
        [4, "16 24"],
        [3, "32 0"],
        [3, "16 32"],
        [11, "20 20"],
      ],
      bushy: { src: 0.7, dst: 0.8 },
      alike: 0.7,
      portCount: 50,
    },
    {
      // anywhere to hosts, few ports
      protocols: [
        [36, 1],
        [27, null],
        [26, 17],
        [11, 6],
      ],
      ports: [
        [42, "one one"],
        [30, "one any"],
        [28, "any one"],
      ],
      oddPorts: false,
      lengths: [
        [53, "0 32"],
        [26, "32 32"],
        [11, "32 0"],
        [5, "23 32"],
        [5, "24 32"],
      ],
      bushy: { src: 0.5, dst: 0.9 },
      alike: 0.8,
      portCount: 3,
    },
  ],
};

/** Ports that real sets ask most. */
const KNOWN_PORTS = [
  80, 53, 22, 25, 123, 443, 161, 21, 23, 110, 20, 1521, 514, 69, 137, 139, 135, 113, 119, 143, 750, 162,
];

/** At most `count` rules, fewer where the style holds no more different ones. */
export function drawFilterSet(family: Family, count: number, seed: number): readonly ClassbenchRule[] {
  const draw = random(hash(FAMILIES.indexOf(family), seed));
  const styles = STYLES[family];
  const style = bend(styles[(seed + styles.length - 1) % styles.length]!, draw);
  const tree = {
    src: addressTree(draw.word(), Math.max(30, count * style.bushy.src)),
    dst: addressTree(draw.word(), Math.max(30, count * style.bushy.dst)),
  };
  const ports = { src: portList(style.portCount, draw), dst: portList(style.portCount, draw) };
  const seen = new Set([formatRule(EVERYTHING)]);
  const drawn: { readonly rule: ClassbenchRule; readonly rank: number }[] = [];
  for (let tries = 0; drawn.length < count - 1 && tries < 3 * count; tries++) {
    const proto = draw.weighted(style.protocols);
    const asksPorts = proto === 6 || proto === 17 || (proto !== null && style.oddPorts);
    const [sportClass, dportClass] = (asksPorts ? draw.weighted(style.ports) : "any any").split(" ") as PortClass[];
    const lengths = draw.weighted(style.lengths).split(" ").map(Number);
    const srcLength = smear(lengths[0]!, draw);
    const dstLength = smear(lengths[1]!, draw);
    const src = walk(tree.src, srcLength, 0, 0, draw);
    let alike = 0;
    while (alike < Math.min(srcLength, dstLength) && draw.share() < style.alike) alike++;
    const dst = walk(tree.dst, dstLength, prefix(src, alike), alike, draw);
    const sport = portRange(sportClass!, ports.src, draw);
    const dport = portRange(dportClass!, ports.dst, draw);
    const rule = {
      ...{ srcLo: src, srcHi: src + 2 ** (32 - srcLength) - 1, dstLo: dst, dstHi: dst + 2 ** (32 - dstLength) - 1 },
      ...{ sportLo: sport.lo, sportHi: sport.hi, dportLo: dport.lo, dportHi: dport.hi },
      ...{ protoLo: proto ?? 0, protoHi: proto ?? 255 },
    };
    const key = formatRule(rule);
    if (seen.has(key)) continue;
    seen.add(key);
    drawn.push({
      rule,
      rank: SHARPNESS[sportClass!] + SHARPNESS[dportClass!] + srcLength + dstLength + 6 * draw.share(),
    });
  }
  drawn.sort((a, b) => b.rank - a.rank);
  return [...drawn.map(({ rule }) => rule), EVERYTHING];
}

/** What a port class weighs in the order of rules, beside bits of prefix. */
const SHARPNESS: Readonly<Record<PortClass, number>> = { one: 24, range: 20, low: 14, high: 12, any: 0 };

export const EVERYTHING: ClassbenchRule = {
  ...{ srcLo: 0, srcHi: 0xffffffff, dstLo: 0, dstHi: 0xffffffff },
  ...{ sportLo: 0, sportHi: 65535, dportLo: 0, dportHi: 65535, protoLo: 0, protoHi: 255 },
};

/** A line of a filter set. */
export function formatRule(rule: ClassbenchRule): string {
  const cidr = (lo: number, hi: number): string => `${formatAddress(lo)}/${32 - Math.log2(hi - lo + 1)}`;
  const hex = (value: number): string => `0x${value.toString(16).padStart(2, "0")}`;
  return [
    `@${cidr(rule.srcLo, rule.srcHi)}`,
    cidr(rule.dstLo, rule.dstHi),
    `${rule.sportLo} : ${rule.sportHi}`,
    `${rule.dportLo} : ${rule.dportHi}`,
    `${hex(rule.protoLo)}/${rule.protoLo === rule.protoHi ? "0xFF" : "0x00"}`,
  ].join("\t");
}

/**
 * Packets as five numbers: src dst sport dport proto. Nine draws in ten are points of a rule drawn evenly, the others of the
 * whole space; each is repeated as in a ClassBench trace of a Pareto burst (a = 1, b = 0.1), so that about a third repeat the
 * packet before.
 */
export function drawTrace(
  rules: readonly ClassbenchRule[],
  count: number,
  seed: number,
): readonly (readonly number[])[] {
  const draw = random(seed);
  const packets: (readonly number[])[] = [];
  while (packets.length < count) {
    const rule = draw.share() < 0.9 ? draw.pick(rules) : EVERYTHING;
    const anyProto = rule.protoLo !== rule.protoHi;
    const packet = [
      draw.between(rule.srcLo, rule.srcHi),
      draw.between(rule.dstLo, rule.dstHi),
      draw.between(rule.sportLo, rule.sportHi),
      draw.between(rule.dportLo, rule.dportHi),
      anyProto && rule !== EVERYTHING
        ? draw.pick([6, 17, 1, draw.below(256)])
        : draw.between(rule.protoLo, rule.protoHi),
    ];
    const times = Math.min(64, Math.ceil(0.1 / (1 - draw.share())));
    for (let i = 0; i < times && packets.length < count; i++) packets.push(packet);
  }
  return packets;
}

/** The same style with every share of it up to doubled or halved. */
function bend(style: Style, draw: Random): Style {
  const bent = <T>(list: readonly (readonly [number, T])[]): readonly (readonly [number, T])[] =>
    list.map(([weight, value]) => [weight * 2 ** (2 * draw.share() - 1), value]);
  return { ...style, protocols: bent(style.protocols), ports: bent(style.ports), lengths: bent(style.lengths) };
}

/** A length of 32 becomes 32, 31 or 30; one of 0 becomes 0, 1 or 2; others go either way. */
function smear(length: number, draw: Random): number {
  const by = draw.weighted([
    [10, 0],
    [6, 1],
    [1, 2],
  ] as const);
  if (length === 0) return by;
  if (length === 32) return 32 - by;
  return Math.max(0, Math.min(32, length + (draw.share() < 0.5 ? by : -by)));
}

interface AddressTree {
  readonly key: number;
  /** The chance that a node has two children, by its depth. */
  readonly twoChildren: readonly number[];
}

/** A tree of about so many leaves. */
function addressTree(key: number, leaves: number): AddressTree {
  const density = Array.from({ length: 32 }, (_, depth) => (depth < 8 || depth >= 20 ? 1 : 0.25));
  const grown = (factor: number): number[] => density.map((each) => Math.min(1, each * factor));
  let factor = 0.05;
  while (factor < 4 && grown(factor).reduce((product, each) => product * (1 + each), 1) < 12 * leaves) factor *= 1.02;
  return { key, twoChildren: grown(factor) };
}

/** The prefix of `length` bits on a way down that begins with `depth` bits of `from`. */
function walk(tree: AddressTree, length: number, from: number, depth: number, draw: Random): number {
  let path = from;
  for (; depth < length; depth++) {
    const node = hash(tree.key, depth, path);
    const heavy = node & 1;
    const two = (node >>> 8) / 2 ** 24 < tree.twoChildren[depth]!;
    // the lighter child of two has a share of up to a half
    const light = two && draw.share() < (hash(node) >>> 8) / 2 ** 25;
    if ((light ? 1 - heavy : heavy) === 1) path = (path | (1 << (31 - depth))) >>> 0;
  }
  return path;
}

function prefix(address: number, length: number): number {
  return length === 0 ? 0 : (address & (-1 << (32 - length))) >>> 0;
}

interface PortList {
  readonly ones: readonly (readonly [number, number])[];
  readonly ranges: readonly (readonly [number, { readonly lo: number; readonly hi: number }])[];
}

/** A few are asked often, most hardly. */
function portList(count: number, draw: Random): PortList {
  const weight = (index: number): number => 1 / (index + 1);
  const known = [...KNOWN_PORTS].sort(() => draw.share() - 0.5);
  const ones = Array.from({ length: count }, (_, index) => {
    const port = known[index] ?? (draw.share() < 0.6 ? draw.between(1024, 9999) : draw.between(1, 65535));
    return [weight(index), port] as const;
  });
  const ranges = Array.from({ length: Math.max(1, count >> 2) }, (_, index) => {
    const lo = draw.share() < 0.3 ? draw.between(1, 1023) : draw.between(1024, 40_000);
    const width = draw.weighted([
      [5, draw.between(1, 9)],
      [4, draw.between(10, 150)],
      [1, draw.between(151, 25_000)],
    ] as const);
    return [weight(index), { lo, hi: Math.min(65535, lo + width) }] as const;
  });
  return { ones, ranges };
}

function portRange(kind: PortClass, list: PortList, draw: Random): { readonly lo: number; readonly hi: number } {
  switch (kind) {
    case "any":
      return { lo: 0, hi: 65535 };
    case "high":
      return { lo: 1024, hi: 65535 };
    case "low":
      return { lo: 0, hi: 1023 };
    case "range":
      return draw.weighted(list.ranges);
    case "one": {
      const port = draw.weighted(list.ones);
      return { lo: port, hi: port };
    }
  }
}
