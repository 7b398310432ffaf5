// A seed -> a rule set that the compiler treats otherwise because it is large.
//
// Random worlds are small: their programs fit in one tree, and every chain is folded. Here are chains of hundreds of rules
// that are sharp in one address and wild in the other, which are divided into parts, and chains that call one another so
// often that folding them all is out of the question, or that several hooks call and that are large, which become programs of
// their own.

import type { Chain, Header, Hook, Match, Rule, Ruleset, Target } from "../../src/rules/ruleset.ts";
import { formatAddress } from "../../src/net/address.ts";
import { bytes, type HostJson } from "./arbitrary-host.ts";
import type { PacketJson } from "./arbitrary-packets.ts";
import type { World } from "./arbitrary.ts";
import { Draw } from "./draw.ts";

const HOST: HostJson = {
  interfaces: [
    { name: "eth0", addresses: ["10.0.0.1/8"] },
    { name: "eth1", addresses: ["172.16.0.1/12"] },
  ],
  routes: [],
  rules: [],
  sysctl: {},
  conntrack: "auto",
};
const HOOKS: readonly Hook[] = ["INPUT", "FORWARD", "OUTPUT"];
const POSITION = { file: "drawn", line: 1, column: 1 };
const UDP = 17;

/** FORWARD of many rules, each sharp in source, destination, both or neither; most mark or call, few decide. */
export function drawWide(number: number, packets: number): World {
  const draw = new Draw(number);
  const host = (network: number): number => (network | draw.below(32)) >>> 0;
  const rules = Array.from({ length: draw.between(550, 900) }, (): Rule => {
    const kind = draw.below(10);
    const src = kind < 4 || kind > 7 ? address(draw, host(bytes(10, 1, 0, 0))) : null;
    const dst = kind >= 4 ? address(draw, host(bytes(172, 17, 0, 0))) : null;
    const port = draw.below(4);
    const asksMark = draw.chance(0.1);
    const matches: Match[] = [
      ...(draw.chance(0.4)
        ? [{ kind: "udp" as const, sport: null, dport: { lo: port, hi: port + 1, negated: false } }]
        : []),
      ...(asksMark ? [{ kind: "mark" as const, value: 1, mask: 1, negated: draw.chance(0.5) }] : []),
    ];
    return rule({ src, dst }, matches, drawTarget(draw, draw.chance(0.25) ? ["X", "Y"] : []));
  });
  const users = ["X", "Y"].map((name) => chain(name, null, drawBody(draw, 4)));
  return world(draw, [...builtins(rules), ...users], packets, () => ({
    src: host(bytes(10, 1, 0, 0)),
    dst: host(bytes(172, 17, 0, 0)),
    dport: draw.below(6),
  }));
}

/** Three levels of chains, each calling the next from half a hundred places. */
export function drawCalled(number: number, packets: number): World {
  const draw = new Draw(number);
  const names = ["A", "B", "C"];
  // ports part the calls, so that a packet runs through few of them
  const calls = (callee: string): Rule[] =>
    Array.from({ length: draw.between(60, 70) }, () => {
      const port = draw.below(64);
      const dport = { lo: port, hi: port + draw.below(3), negated: false };
      const target: Target =
        draw.chance(0.85) || callee === ""
          ? { kind: draw.chance(0.2) ? "goto" : "jump", chain: callee }
          : { kind: "MARK", value: 1 << draw.below(4), mask: 0 };
      const matches: Match[] = [{ kind: "udp", sport: null, dport }];
      if (draw.chance(0.15)) matches.push({ kind: "mark", value: 1, mask: 1, negated: draw.chance(0.5) });
      return rule({}, matches, target);
    });
  const users = [chain("A", null, calls("B")), chain("B", null, calls("C")), chain("C", null, [...drawBody(draw, 60)])];
  const forward = [...calls(names[0]!), ...drawBody(draw, 3)];
  return world(draw, [...builtins(forward), ...users], packets, () => ({
    src: bytes(10, 1, 0, draw.below(8)),
    dst: bytes(172, 17, 0, 1),
    dport: draw.below(68),
  }));
}

/** A chain of thousands of rules that INPUT and FORWARD call, each in its way. */
export function drawShared(number: number, packets: number): World {
  const draw = new Draw(number);
  const port = draw.below(64);
  const dport = { lo: port, hi: 63, negated: true };
  const calls = [
    ...drawBody(draw, 2),
    rule({}, [{ kind: "udp", sport: null, dport }], { kind: draw.chance(0.3) ? "goto" : "jump", chain: "LARGE" }),
  ];
  const input = chain("INPUT", "DROP", [rule({}, [], { kind: "jump", chain: "LARGE" }), ...drawBody(draw, 2)]);
  const large = [...drawBody(draw, 1000), rule({}, [], { kind: "jump", chain: "X" }), ...drawBody(draw, 1100)];
  const users = [chain("LARGE", null, large), chain("X", null, drawBody(draw, 4))];
  return world(draw, [input, ...builtins(calls).slice(1), ...users], packets, () => ({
    src: bytes(10, 1, 0, draw.below(64)),
    dst: draw.chance(0.3) ? bytes(10, 0, 0, 1) : bytes(172, 17, 0, 1),
    dport: draw.below(68),
  }));
}

function world(
  draw: Draw,
  chains: readonly Chain[],
  count: number,
  aim: () => { readonly src: number; readonly dst: number; readonly dport: number },
): World {
  const packets = Array.from({ length: count }, (_, index): PacketJson => {
    const { src, dst, dport } = aim();
    const proto = draw.chance(0.05) ? "tcp" : "udp";
    return { id: index + 1, in: "eth0", src: formatAddress(src), dst: formatAddress(dst), proto, sport: 9, dport };
  });
  const ruleset: Ruleset = { family: 4, tables: [{ name: "filter", chains, position: POSITION }], notes: [] };
  return { ruleset, host: HOST, packets };
}

function builtins(forward: readonly Rule[]): Chain[] {
  return HOOKS.map((hook) => chain(hook, "ACCEPT", hook === "FORWARD" ? forward : []));
}

function chain(name: string, policy: Chain["policy"], rules: readonly Rule[]): Chain {
  return { name, policy, counters: null, rules };
}

function rule(header: Partial<Header>, matches: readonly Match[], target: Target | null): Rule {
  const asksPorts = matches.some(({ kind }) => kind === "udp");
  const proto = asksPorts ? { proto: UDP, negated: false } : null;
  const whole = { src: null, dst: null, v6: null, inIface: null, outIface: null, fragment: null, ...header, proto };
  return { header: whole, matches, target, counters: null, position: POSITION, text: "" };
}

function address(draw: Draw, value: number): Header["src"] {
  const mask = draw.pick([0xffff_ffff, 0xffff_fffc, 0xffff_fff0, 0xffff_fff0]);
  return { address: (value & mask) >>> 0, mask, negated: false };
}

function drawBody(draw: Draw, count: number): Rule[] {
  return Array.from({ length: count }, () => {
    const src = draw.chance(0.5) ? address(draw, bytes(10, 1, 0, draw.below(32))) : null;
    const port = draw.below(64);
    const matches: Match[] = draw.chance(0.8)
      ? [{ kind: "udp", sport: null, dport: { lo: port, hi: port + draw.below(2), negated: draw.chance(0.05) } }]
      : [];
    return rule({ src }, matches, drawTarget(draw, []));
  });
}

/** Mostly such as go on: each packet is to meet many rules. */
function drawTarget(draw: Draw, callees: readonly string[]): Target | null {
  if (callees.length > 0) return { kind: draw.chance(0.3) ? "goto" : "jump", chain: draw.pick(callees) };
  return draw.weighted<Target | null>([
    [16, { kind: "MARK", value: 1 << draw.below(4), mask: 0 }],
    [6, null],
    [2, { kind: "RETURN" }],
    [1, { kind: "DROP" }],
    [1, { kind: "ACCEPT" }],
  ]);
}
