// Seeded rule sets of three families, and packets for them: the same bytes on every machine.
//
//   acl   sharp destinations, some sources, single ports: access lists
//   fw    wild addresses on one side, port ranges: firewalls, the hardest for decision trees
//   host  pairs of networks with services: lists close to what hosts have

import type { ClassbenchRule } from "../src/rules/classbench.ts";

export const FAMILIES = ["acl", "fw", "host"] as const;
export type Family = (typeof FAMILIES)[number];

const WELL_KNOWN = [22, 25, 53, 80, 110, 143, 161, 443, 993, 1433, 3306, 5060, 8080];
const MAX = 0xffffffff;

export function drawRules(family: Family, count: number, seed: number): readonly ClassbenchRule[] {
  const random = generator(seed);
  const below = (n: number): number => random() % n;
  // networks come in clusters, as they do where people number them
  const sites = Array.from({ length: Math.max(4, Math.ceil(Math.sqrt(count))) }, () => (random() & 0xffff0000) >>> 0);
  const network = (shortest: number, longest: number): { lo: number; hi: number } => {
    const length = shortest + below(longest - shortest + 1);
    const span = length === 0 ? MAX : 2 ** (32 - length) - 1;
    const address = (sites[below(sites.length)]! | below(65_536)) >>> 0;
    const lo = (address & ~span) >>> 0;
    return { lo, hi: (lo | span) >>> 0 };
  };
  const anywhere = { lo: 0, hi: MAX };
  const port = (): { lo: number; hi: number } => {
    const one = WELL_KNOWN[below(WELL_KNOWN.length)]!;
    if (below(4) > 0) return { lo: one, hi: one };
    const lo = below(60_000);
    return { lo, hi: Math.min(65_535, lo + below(5000)) };
  };
  const anyPort = { lo: 0, hi: 65_535 };
  const rules = Array.from({ length: count - 1 }, () => {
    const chance = below(10);
    const src =
      family === "acl"
        ? chance < 6
          ? network(16, 32)
          : anywhere
        : family === "fw" && chance < 4
          ? anywhere
          : network(24, 32);
    const dst = family === "fw" && chance >= 6 ? anywhere : network(family === "acl" ? 28 : 20, 32);
    const sport = family === "fw" && below(3) === 0 ? port() : anyPort;
    const dport = below(8) === 0 ? anyPort : port();
    const proto = below(3) === 0 ? 17 : 6;
    return rule(src, dst, sport, dport, proto, proto);
  });
  return [...rules, rule(anywhere, anywhere, anyPort, anyPort, 0, 255)];
}

/** `count` records of five words; nine in ten lie in a rule drawn at random. */
export function drawPackets(rules: readonly ClassbenchRule[], count: number, seed: number): readonly number[][] {
  const random = generator(seed);
  const within = (lo: number, hi: number): number => lo + (hi - lo === MAX ? random() : random() % (hi - lo + 1));
  return Array.from({ length: count }, () => {
    const r = rules[random() % rules.length]!;
    if (random() % 10 === 0) return [random(), random(), random() & 0xffff, random() & 0xffff, random() & 0xff];
    return [
      within(r.srcLo, r.srcHi),
      within(r.dstLo, r.dstHi),
      within(r.sportLo, r.sportHi),
      within(r.dportLo, r.dportHi),
      within(r.protoLo, r.protoHi),
    ];
  });
}

interface Ends {
  readonly lo: number;
  readonly hi: number;
}

function rule(src: Ends, dst: Ends, sport: Ends, dport: Ends, protoLo: number, protoHi: number): ClassbenchRule {
  return {
    srcLo: src.lo,
    srcHi: src.hi,
    dstLo: dst.lo,
    dstHi: dst.hi,
    sportLo: sport.lo,
    sportHi: sport.hi,
    dportLo: dport.lo,
    dportHi: dport.hi,
    protoLo,
    protoHi,
  };
}

/** mulberry32. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return (z ^ (z >>> 14)) >>> 0;
  };
}
