// A seed and the surroundings of a host -> a Ruleset that the kernel would load.
//
// All rules of a set speak of a few addresses, ports, names and marks, so that rules and packets meet. A user chain is
// drawn with the hooks from which it may be reached; only chains that stand after the calling one, and that may be
// reached from wherever that one is, are called: so there is no loop, and every match and target is legal in its place
// (checkentry functions in net/netfilter and net/ipv4/netfilter; iptables-extensions(8)).

import {
  type AddressType,
  BUILTIN_CHAINS,
  CONNBYTES_END,
  CT_STATES,
  REJECT_KINDS,
  TABLES,
  type AddressTest,
  type Chain,
  type ConntrackMatch,
  type CtStateName,
  type Header,
  type Hook,
  type InterfaceTest,
  type Match,
  type NatRange,
  type NegatableRange,
  type Range,
  type Rule,
  type Ruleset,
  type Table,
  type TableName,
  type Target,
} from "../../src/rules/ruleset.ts";
import { bytes, type Surroundings } from "./arbitrary-host.ts";
import type { Draw } from "./draw.ts";

export interface RuleOptions {
  /** Matches whose answer depends on the clock may come: `limit` at rates that matter. */
  readonly clock: boolean;
  /** Targets and matches that draw lots may come. */
  readonly chance: boolean;
  /** Guards only where none of the host's own answers pass, which would be counted too. */
  readonly guardsInForwardOnly: boolean;
}

export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;
const WITH_PORTS = [TCP, UDP, 33, 132, 136];
/** NAT to a port: of ICMP the id stands for it. */
const NAT_WITH_PORTS = [TCP, UDP, 33, 132, ICMP];
const ALL_PROTOCOLS = [TCP, UDP, ICMP, 33, 132, 136, 47, 50, 99];
const CHAIN_NAMES = ["X", "DOCKER", "in-lan", "LOG_DROP", "a.b", "sub-1", "sub-2", "KUBE-SVC-4", "loop", "zz"];

/** What the rules of one set speak of. */
interface Words {
  readonly addresses: readonly { readonly address: number; readonly mask: number }[];
  readonly single: readonly number[];
  readonly ports: readonly Range[];
  readonly ifaces: readonly { readonly name: string; readonly wildcard: boolean }[];
  readonly marks: readonly { readonly value: number; readonly mask: number }[];
  readonly counters: boolean;
}

/** Where a rule stands. */
interface Site {
  readonly table: TableName;
  readonly chain: string;
  /** From where it may be reached. */
  readonly hooks: readonly Hook[];
  readonly builtin: boolean;
  /** Chains it may call, the nearest first. */
  readonly callees: readonly string[];
}

/** A rule on the way. */
interface Draft {
  header: { -readonly [Key in keyof Header]: Header[Key] };
  matches: Match[];
}

export function drawRuleset(draw: Draw, surroundings: Surroundings, options: RuleOptions): Ruleset {
  const words = drawWords(draw, surroundings);
  const share: Record<TableName, number> = { raw: 0.25, mangle: 0.5, nat: 0.65, filter: 0.95, security: 0.15 };
  let names = TABLES.filter((name) => draw.chance(share[name]));
  if (names.length === 0) names = ["filter"];
  return { family: 4, tables: draw.shuffled(names).map((name) => drawTable(draw, name, words, options)), notes: [] };
}

function drawWords(draw: Draw, { ifaces, own, near, far, marks }: Surroundings): Words {
  const hosts = [...draw.some(own, 1), ...draw.some(near, 2), ...draw.some(far, 1)].map((place) => place.address);
  const masks = [
    [10, 0xffff_ffff],
    [3, 0xffff_ff00],
    [2, 0xffff_0000],
    [1, 0xffff_fffe],
    [1, 0xff00_0000],
    [1, 0xff00_00ff],
    [1, 0xffff_ff01],
  ] as const;
  const prefixes = ifaces.map((name) => name.slice(0, draw.between(1, name.length)));
  return {
    addresses: hosts.map((host) => {
      const mask = draw.weighted(masks);
      return { address: (host & mask) >>> 0, mask };
    }),
    single: hosts,
    ports: draw.some(PORTS, draw.between(3, 5)),
    ifaces: [
      ...ifaces.map((name) => ({ name, wildcard: false })),
      { name: draw.pick(prefixes), wildcard: true },
      { name: draw.pick(["ppp0", "et", "eth11"]), wildcard: false },
    ],
    marks: [
      ...marks.map((value) => ({ value, mask: 0xffff_ffff })),
      ...marks.map((value) => ({ value, mask: value })),
      { value: 0, mask: draw.pick([0xffff_ffff, ...marks]) },
      { value: draw.pick([3, 0x12]), mask: draw.pick([0xff, 0x13]) },
    ],
    counters: draw.chance(0.2),
  };
}

const PORTS: readonly Range[] = [
  { lo: 80, hi: 80 },
  { lo: 443, hi: 443 },
  { lo: 53, hi: 53 },
  { lo: 22, hi: 22 },
  { lo: 80, hi: 90 },
  { lo: 1024, hi: 65535 },
  { lo: 0, hi: 1023 },
  { lo: 0, hi: 0 },
  { lo: 65535, hi: 65535 },
  { lo: 8000, hi: 8010 },
];

function drawTable(draw: Draw, name: TableName, words: Words, options: RuleOptions): Table {
  const hooks = BUILTIN_CHAINS[name];
  const userChains = draw.shuffled(CHAIN_NAMES).slice(0, draw.pick([0, 1, 2, 2, 3, 3, 4, 5, 6]));
  const reach = userChains.map(() => drawReach(draw, name));
  const calleesOf = (from: number, caller: readonly Hook[]): string[] =>
    userChains.filter((_, index) => index > from && caller.every((hook) => reach[index]!.includes(hook)));

  const builtin = hooks.map((hook): Chain => {
    const site = { table: name, chain: hook, hooks: [hook], builtin: true, callees: calleesOf(-1, [hook]) };
    return {
      name: hook,
      policy: name === "nat" || draw.chance(0.82) ? "ACCEPT" : "DROP",
      counters: drawCounters(draw, words),
      rules: drawRules(draw, site, words, options),
    };
  });
  const user = userChains.map((chain, index): Chain => {
    const site = { table: name, chain, hooks: reach[index]!, builtin: false, callees: calleesOf(index, reach[index]!) };
    const counters = words.counters ? { packets: 0n, bytes: 0n } : null;
    return { name: chain, policy: null, counters, rules: drawRules(draw, site, words, options) };
  });
  return {
    name,
    chains: [...builtin, ...user.sort((a, b) => (a.name < b.name ? -1 : 1))],
    position: { file: "drawn", line: 1, column: 1 },
  };
}

/** Hooks from which a user chain may be reached: most often several. */
function drawReach(draw: Draw, table: TableName): readonly Hook[] {
  const hooks = BUILTIN_CHAINS[table];
  if (table !== "nat") return draw.chance(0.75) ? hooks : draw.some(hooks, draw.between(1, 2));
  return draw.weighted<readonly Hook[]>([
    [5, ["PREROUTING", "OUTPUT"]],
    [3, ["POSTROUTING"]],
    [2, ["INPUT", "POSTROUTING"]],
    [1, hooks],
  ]);
}

function drawRules(draw: Draw, site: Site, words: Words, options: RuleOptions): Rule[] {
  const rules: Rule[] = [];
  const count = draw.chance(0.12) ? 0 : draw.between(1, 5);
  for (let index = 0; index < count; index++) {
    if (draw.chance(0.12)) rules.push(...drawMotif(draw, site, words, options));
    else rules.push(drawRule(draw, site, words, options));
  }
  // a last word, that hides what follows unless something skipped past it
  if (count > 0 && draw.chance(0.25)) rules.push(finish(draw, blank(), drawTerminal(draw, site), words));
  return rules;
}

/** Rules that are hard together, and seldom come together by chance. */
function drawMotif(draw: Draw, site: Site, words: Words, options: RuleOptions): Rule[] {
  const mark = draw.pick(words.marks);
  const set = finish(draw, drawDraft(draw, site, words, options, 1), { kind: "MARK", ...mark }, words);
  const asked: Match = { kind: "mark", value: mark.value, mask: mark.mask, negated: draw.chance(0.25) };
  const call = site.callees.length > 0 ? drawCall(draw, site) : drawTerminal(draw, site);
  return draw.weighted<() => Rule[]>([
    // a mark set, then asked by a rule that decides, or that calls
    [2, () => [set, finish(draw, { ...blank(), matches: [asked] }, drawTerminal(draw, site), words)]],
    [2, () => [set, finish(draw, { ...blank(), matches: [asked] }, call, words)]],
    // a mark asked, then changed behind the jump
    [1, () => [finish(draw, { ...blank(), matches: [asked] }, call, words), set]],
    // a cover past which a RETURN skips
    [
      2,
      () => [
        finish(draw, drawDraft(draw, site, words, options, 1), { kind: "RETURN" }, words),
        finish(draw, blank(), drawTerminal(draw, site), words),
      ],
    ],
    // a guard before a call
    [
      mayGuard(site, options) ? 2 : 0,
      () => [finish(draw, { ...blank(), matches: [drawGuard(draw, options)] }, call, words)],
    ],
    // one rule twice
    [
      1,
      () => {
        const rule = drawRule(draw, site, words, options);
        return [rule, { ...rule }];
      },
    ],
  ])();
}

function drawRule(draw: Draw, site: Site, words: Words, options: RuleOptions): Rule {
  const target = drawTarget(draw, site, options);
  const passes = target === null || ["jump", "goto", "LOG", "MARK", "TOS", "DSCP", "TTL", "ECN"].includes(target.kind);
  const conditions = draw.weighted([
    [passes ? 5 : 1, 0],
    [9, 1],
    [7, 2],
    [3, 3],
    [1, 5],
  ]);
  const draft = drawDraft(draw, site, words, options, conditions);
  return finish(draw, draft, fit(draw, target, draft, words, options), words);
}

function finish(draw: Draw, draft: Draft, target: Target | null, words: Words): Rule {
  return {
    header: draft.header,
    matches: draw.shuffled(draft.matches),
    target,
    counters: drawCounters(draw, words),
    position: { file: "drawn", line: 1, column: 1 },
    text: "",
  };
}

function drawCounters(draw: Draw, words: Words): Rule["counters"] {
  if (!words.counters) return null;
  const packets = BigInt(draw.word());
  return draw.chance(0.5) ? { packets: 0n, bytes: 0n } : { packets, bytes: packets * 1500n };
}

function blank(): Draft {
  return {
    header: { src: null, dst: null, v6: null, inIface: null, outIface: null, proto: null, fragment: null },
    matches: [],
  };
}

// Conditions

function drawDraft(draw: Draw, site: Site, words: Words, options: RuleOptions, conditions: number): Draft {
  const draft = blank();
  for (let index = 0; index < conditions; index++) addCondition(draw, draft, site, words, options);
  if (draw.chance(0.04)) draft.matches.push({ kind: "comment", comment: draw.pick(COMMENTS) });
  return draft;
}

const COMMENTS = ["x", "two words", 'a "quoted" word', "back\\slash", "-A INPUT", "it's", "", "# no comment"];

function addCondition(draw: Draw, draft: Draft, site: Site, words: Words, options: RuleOptions): void {
  const { header, matches } = draft;
  const negated = draw.chance(0.15);
  const mayAskIn = !site.builtin || !["OUTPUT", "POSTROUTING"].includes(site.chain);
  const mayAskOut = !site.builtin || !["PREROUTING", "INPUT"].includes(site.chain);
  draw.weighted<() => void>([
    [10, () => (header.src = { ...draw.pick(words.addresses), negated } satisfies AddressTest)],
    [11, () => (header.dst = { ...draw.pick(words.addresses), negated } satisfies AddressTest)],
    [mayAskIn ? 9 : 0, () => (header.inIface = { ...draw.pick(words.ifaces), negated } satisfies InterfaceTest)],
    [mayAskOut ? 9 : 0, () => (header.outIface = { ...draw.pick(words.ifaces), negated } satisfies InterfaceTest)],
    [1, () => (header.fragment = { negated })],
    [
      26,
      () => {
        addTransport(draw, draft, words, negated);
      },
    ],
    [5, () => matches.push(conntrackOf({ states: drawStates(draw, CT_STATES), negated }))],
    [2, () => matches.push(drawConnbytes(draw, negated))],
    [3, () => matches.push({ kind: "state", states: drawStates(draw, CT_STATES.slice(0, 5)), negated })],
    [6, () => matches.push(drawAddrtype(draw, site))],
    [9, () => matches.push({ kind: "mark", ...draw.pick(words.marks), negated })],
    [4, () => matches.push(drawIprange(draw, words))],
    [mayGuard(site, options) ? 6 : 0, () => matches.push(drawGuard(draw, options))],
    [5, () => matches.push(drawFact(draw, site, negated))],
  ])();
}

/** A match on a single fact of the packet. */
function drawFact(draw: Draw, { hooks }: Site, negated: boolean): Match {
  const within = (...allowed: Hook[]): boolean => hooks.every((hook) => allowed.includes(hook));
  const lo = draw.pick([20, 28, 40, 44]);
  return draw.weighted<() => Match>([
    [3, () => ({ kind: "length", lo, hi: lo + draw.pick([0, 8, 1460]), negated })],
    [
      3,
      () => ({
        kind: "ttl",
        op: draw.pick(["eq", "lt", "gt"] as const),
        ttl: draw.pick([0, 1, 63, 64, 255]),
        negated: false,
      }),
    ],
    [2, () => ({ kind: "tos", value: draw.pick([0, 8, 0x10]), mask: draw.pick([0xff, 0x3f, 0x18]), negated })],
    [2, () => ({ kind: "dscp", dscp: draw.pick([0, 2, 46]), negated })],
    [1, () => ({ kind: "ecn", ece: null, cwr: null, ect: { ect: draw.below(4), negated } })],
    [2, () => ({ kind: "pkttype", type: draw.pick(["unicast", "broadcast", "multicast"] as const), negated })],
    [within("PREROUTING", "INPUT", "FORWARD") ? 2 : 0, () => ({ kind: "mac", mac: 0x02ff00000001, negated })],
    [
      within("OUTPUT", "POSTROUTING") ? 4 : 0,
      () => ({ kind: "owner", socketExists: null, uid: { lo: 0, hi: 0, negated }, gid: null, supplGroups: false }),
    ],
  ])();
}

/** A protocol, or a match of the protocol that stands there already. */
function addTransport(draw: Draw, { header, matches }: Draft, words: Words, negated: boolean): void {
  if (header.proto === null) {
    const proto = draw.weighted([
      [10, TCP],
      [7, UDP],
      [4, ICMP],
      [2, draw.pick(ALL_PROTOCOLS)],
    ]);
    header.proto = { proto, negated: negated && draw.chance(0.3) };
    if (header.proto.negated || draw.chance(0.15)) return;
  }
  if (header.proto.negated) return;
  switch (header.proto.proto) {
    case TCP:
      if (draw.chance(0.3)) matches.push(drawMultiport(draw, words, negated));
      else matches.push(drawTcp(draw, words, negated));
      return;
    case UDP:
      if (draw.chance(0.3)) matches.push(drawMultiport(draw, words, negated));
      else matches.push({ kind: "udp", ...drawPorts(draw, words, negated) });
      return;
    case ICMP:
      matches.push({ kind: "icmp", ...draw.pick(ICMP_TYPES), negated });
      return;
    default:
      if (WITH_PORTS.includes(header.proto.proto)) matches.push(drawMultiport(draw, words, negated));
  }
}

const ICMP_TYPES: readonly { readonly type: number; readonly code: Range }[] = [
  { type: 8, code: { lo: 0, hi: 255 } },
  { type: 8, code: { lo: 0, hi: 255 } },
  { type: 0, code: { lo: 0, hi: 255 } },
  { type: 3, code: { lo: 0, hi: 255 } },
  { type: 3, code: { lo: 1, hi: 1 } },
  { type: 11, code: { lo: 0, hi: 0 } },
  { type: 13, code: { lo: 0, hi: 255 } },
  { type: 255, code: { lo: 0, hi: 255 } },
];

function drawTcp(draw: Draw, words: Words, negated: boolean): Match {
  const asksFlags = draw.chance(0.3);
  const ports = asksFlags && draw.chance(0.6) ? { sport: null, dport: null } : drawPorts(draw, words, negated);
  const mask = draw.pick([0x17, 0x17, 0x3f, 0x06, 0x12, 0x01]);
  const comp = mask & draw.pick([0x02, 0x02, 0x12, 0x10, 0x04, 0x00, 0x3f]);
  return { kind: "tcp", ...ports, flags: asksFlags ? { mask, comp, negated: draw.chance(0.25) } : null, option: null };
}

function drawPorts(
  draw: Draw,
  words: Words,
  negated: boolean,
): { readonly sport: NegatableRange | null; readonly dport: NegatableRange | null } {
  const which = draw.below(10);
  const range = (): NegatableRange => ({ ...draw.pick(words.ports), negated });
  return { sport: which < 3 ? range() : null, dport: which > 1 && which < 10 ? range() : null };
}

function drawMultiport(draw: Draw, words: Words, negated: boolean): Match {
  const ports: Range[] = [];
  let slots = 15;
  for (let left = draw.pick([1, 2, 3, 3, 4, 9]); left > 0; left--) {
    const range = draw.chance(0.7) ? draw.pick(words.ports) : draw.pick(PORTS);
    slots -= range.lo === range.hi ? 1 : 2;
    if (slots >= 0) ports.push(range);
  }
  return { kind: "multiport", which: draw.pick(["sports", "dports", "ports", "ports"] as const), ports, negated };
}

function conntrackOf(state: ConntrackMatch["state"]): ConntrackMatch {
  return {
    kind: "conntrack",
    state,
    proto: null,
    origSrc: null,
    origDst: null,
    replSrc: null,
    replDst: null,
    origSrcPort: null,
    origDstPort: null,
    replSrcPort: null,
    replDstPort: null,
    status: null,
    expire: null,
    dir: null,
  };
}

function drawConnbytes(draw: Draw, negated: boolean): Match {
  const [lo, hi] = draw.pick<readonly [bigint, bigint]>([
    [0n, 0n],
    [0n, CONNBYTES_END],
    [1n, 1n],
    [1n, CONNBYTES_END],
    [30n, 60n],
    [41n, CONNBYTES_END],
  ]);
  const mode = draw.pick(["packets", "packets", "bytes", "avgpkt"] as const);
  return {
    kind: "connbytes",
    lo,
    hi,
    mode,
    dir: draw.pick(["original", "reply", "both"] as const),
    negated: negated && lo !== hi,
  };
}

function drawConnlimit(draw: Draw): Match {
  return {
    kind: "connlimit",
    limit: draw.pick([0, 1, 1, 2, 5]),
    above: draw.chance(0.5),
    prefixLength: draw.pick([0, 8, 24, 31, 32]),
    of: draw.pick(["saddr", "daddr"] as const),
  };
}

function drawStates(draw: Draw, states: readonly CtStateName[]): CtStateName[] {
  const chosen = draw.some(states, draw.between(1, 3));
  return draw.chance(0.5) && !chosen.includes("NEW") ? states.filter((s) => s === "NEW" || chosen.includes(s)) : chosen;
}

function drawAddrtype(draw: Draw, site: Site): Match {
  const test = (): { types: AddressType[]; negated: boolean } => ({
    types: draw.chance(0.5)
      ? ["LOCAL"]
      : draw.some(["UNICAST", "LOCAL", "BROADCAST", "MULTICAST", "BLACKHOLE"] as const, draw.between(1, 2)),
    negated: draw.chance(0.2),
  });
  const which = draw.below(6);
  const limits: ("in" | "out")[] = [];
  if (site.hooks.every((hook) => ["PREROUTING", "INPUT", "FORWARD"].includes(hook))) limits.push("in");
  if (site.hooks.every((hook) => ["FORWARD", "OUTPUT", "POSTROUTING"].includes(hook))) limits.push("out");
  return {
    kind: "addrtype",
    srcTypes: which < 2 ? test() : null,
    dstTypes: which > 0 ? test() : null,
    limitIface: limits.length > 0 && draw.chance(0.25) ? draw.pick(limits) : null,
  };
}

function drawIprange(draw: Draw, words: Words): Match {
  const range = (): NegatableRange => {
    const base = draw.pick(words.single);
    const lo = Math.max(0, base - draw.below(3));
    return { lo, hi: Math.min(0xffff_ffff, base + draw.pick([0, 1, 2, 255])), negated: draw.chance(0.2) };
  };
  const which = draw.below(3);
  return { kind: "iprange", src: which !== 1 ? range() : null, dst: which !== 0 ? range() : null };
}

/** Time between tokens in 1/10,000 s of: 100/sec, 1/sec, 10/min, 5/min, 3/hour. */
const AVERAGES = [100, 10_000, 60_000, 120_000, 12_000_000];
const SLOW = 12_000_000;

function mayGuard({ hooks }: Site, { guardsInForwardOnly }: RuleOptions): boolean {
  return !guardsInForwardOnly || hooks.every((hook) => hook === "FORWARD");
}

function drawGuard(draw: Draw, options: RuleOptions): Match {
  const negated = draw.chance(0.15);
  if (draw.chance(0.45)) {
    return { kind: "limit", average: options.clock ? draw.pick(AVERAGES) : SLOW, burst: draw.pick([1, 1, 2, 5, 20]) };
  }
  if (options.chance && draw.chance(0.5)) {
    const probability = draw.pick([0, 1, 0x4000_0000, 0x4000_0000, 0x2aaa_aaab, 0x7fff_ffff, 0x8000_0000]);
    return { kind: "statistic", mode: "random", probability, negated };
  }
  // asked twice within 4 ms the kernel answers otherwise
  if (options.clock && draw.chance(0.3)) return drawConnlimit(draw);
  const every = draw.between(1, 4);
  return { kind: "statistic", mode: "nth", every, packet: draw.below(every), negated };
}

// Targets

const ACCEPT: Target = { kind: "ACCEPT" };
const DROP: Target = { kind: "DROP" };

function drawTerminal(draw: Draw, { table }: Site): Target {
  if (table === "nat") return draw.pick([ACCEPT, { kind: "RETURN" } as const]);
  return draw.pick([ACCEPT, ACCEPT, DROP, { kind: "RETURN" } as const]);
}

function drawCall(draw: Draw, site: Site): Target {
  // the nearest makes calls deep, the last is called from many places
  const chain = draw.weighted([
    [5, site.callees[0]!],
    [3, site.callees.at(-1)!],
    [2, draw.pick(site.callees)],
  ]);
  return { kind: draw.chance(0.3) ? "goto" : "jump", chain };
}

function drawTarget(draw: Draw, site: Site, options: RuleOptions): Target | null {
  const { table, hooks } = site;
  const within = (...allowed: Hook[]): boolean => table === "nat" && hooks.every((hook) => allowed.includes(hook));
  return draw.weighted<() => Target | null>([
    [site.callees.length > 0 ? 34 : 0, () => drawCall(draw, site)],
    [table === "nat" ? 5 : 12, () => ACCEPT],
    [table === "nat" ? 0 : table === "filter" ? 9 : 5, () => DROP],
    [8, () => ({ kind: "RETURN" })],
    [7, () => null],
    [6, () => drawLog(draw)],
    [11, () => ({ kind: "MARK", value: 0, mask: 0 })],
    [table === "mangle" ? 8 : 0, () => drawChange(draw)],
    [table === "filter" ? 9 : 0, () => ({ kind: "REJECT", with: draw.pick(REJECT_KINDS) })],
    [within("PREROUTING", "OUTPUT") ? 16 : 0, () => ({ kind: "DNAT", range: drawRange(draw, options) })],
    [within("PREROUTING", "OUTPUT") ? 7 : 0, () => ({ kind: "REDIRECT", range: drawRange(draw, options) })],
    [within("POSTROUTING", "INPUT") ? 14 : 0, () => ({ kind: "SNAT", range: drawRange(draw, options) })],
    [within("POSTROUTING") ? 20 : 0, () => ({ kind: "MASQUERADE", range: drawRange(draw, options) })],
  ])();
}

/** A target of mangle that changes the header. */
function drawChange(draw: Draw): Target {
  return draw.pick<() => Target>([
    () => ({ kind: "TOS", value: draw.pick([0, 8, 0x10]), mask: draw.pick([0xff, 0x3f, 0]) }),
    () => ({ kind: "DSCP", dscp: draw.pick([0, 2, 46]) }),
    () => ({ kind: "TTL", op: draw.pick(["set", "inc", "dec"] as const), ttl: draw.pick([1, 2, 63, 200]) }),
    () => ({ kind: "ECN", ece: null, cwr: null, ect: draw.below(4) }),
  ])();
}

function drawLog(draw: Draw): Target {
  return {
    kind: "LOG",
    level: draw.pick([4, 4, 4, 0, 7]),
    prefix: draw.pick(["", "drop: ", 'a "b"', "IN\\OUT "]),
    tcpSequence: draw.chance(0.1),
    tcpOptions: draw.chance(0.1),
    ipOptions: draw.chance(0.1),
    uid: draw.chance(0.1),
    macdecode: draw.chance(0.1),
  };
}

function drawRange(draw: Draw, options: RuleOptions): NatRange {
  return {
    addresses: null,
    ports: null,
    basePort: null,
    random: options.chance && draw.chance(0.06),
    randomFully: false,
    persistent: false,
  };
}

/** Gives a target what depends on the rule's words and conditions: a port needs its protocol, and so does a reset. */
function fit(draw: Draw, target: Target | null, draft: Draft, words: Words, options: RuleOptions): Target | null {
  if (target === null) return null;
  const { proto } = draft.header;
  const hasPorts = proto !== null && !proto.negated && NAT_WITH_PORTS.includes(proto.proto);
  const isTcp = proto !== null && !proto.negated && proto.proto === TCP;
  switch (target.kind) {
    case "MARK":
      return { kind: "MARK", ...draw.pick(words.marks) };
    case "REJECT":
      return target.with === "tcp-reset" && !isTcp ? { kind: "REJECT", with: "icmp-port-unreachable" } : target;
    case "DNAT": {
      const ports = hasPorts && draw.chance(0.6) ? drawNatPorts(draw, options) : null;
      const addresses = ports !== null && draw.chance(0.15) ? null : drawNatAddresses(draw, words);
      const wide = ports !== null && ports.lo < ports.hi;
      return {
        kind: "DNAT",
        range: {
          ...target.range,
          addresses,
          ports,
          basePort: wide && addresses !== null && draw.chance(0.3) ? draw.pick([80, 8000, 3000]) : null,
          random: target.range.random && ports !== null,
          persistent: addresses !== null && addresses.lo < addresses.hi && draw.chance(0.3),
        },
      };
    }
    case "SNAT": {
      const addresses = drawNatAddresses(draw, words);
      const ports = hasPorts && draw.chance(0.3) ? drawNatPorts(draw, options) : null;
      const persistent = addresses.lo < addresses.hi && draw.chance(0.3);
      return { kind: "SNAT", range: { ...target.range, addresses, ports, persistent } };
    }
    case "MASQUERADE":
    case "REDIRECT":
      return {
        ...target,
        range: { ...target.range, ports: hasPorts && draw.chance(0.4) ? drawNatPorts(draw, options) : null },
      };
    default:
      return target;
  }
}

function drawNatAddresses(draw: Draw, words: Words): Range {
  const lo = draw.chance(0.85) ? draw.pick(words.single) : bytes(10, 77, 0, 1);
  return { lo, hi: Math.min(0xffff_ffff, lo + draw.pick([0, 0, 0, 0, 1, 6])) };
}

function drawNatPorts(draw: Draw, options: RuleOptions): Range {
  const ranges = [
    { lo: 80, hi: 80 },
    { lo: 4000, hi: 4000 },
    { lo: 65535, hi: 65535 },
  ];
  // out of a range the kernel draws lots
  if (options.chance) ranges.push({ lo: 8000, hi: 8010 }, { lo: 1024, hi: 65535 });
  return draw.pick(ranges);
}
