// A seed -> a rule set as text, a host and packets that the kernel takes, made to meet each other at odd places.
//
// Everything comes from small pools, so that rules, routes and packets speak of the same few addresses, ports and marks.
// What the kernel draws lots for, or what hangs on the clock, is kept out.

import { HostError } from "../../src/host/error.ts";
import { parseHost } from "../../src/host/parse.ts";
import { Draw } from "./draw.ts";
import { drawChange, drawFacts, drawFieldMatch, drawRecent } from "./kernel-vocabulary.ts";
import type { Json } from "./oracle.ts";

export interface KernelWorld {
  readonly rules: string;
  readonly host: Json;
  readonly packets: readonly Json[];
  readonly args: readonly string[];
}

const IFACES = ["eth0", "eth1", "eth1.5", "docker0"] as const;
/** Addresses that an interface may have, the first more often. */
const SUBNETS = [
  ["10.0.0.1/24", "10.0.0.1/24", "10.0.0.2/24", "192.0.2.1/25", "10.0.9.1/16", "198.51.100.7/32"],
  ["10.0.1.1/24", "10.0.1.1/24", "10.0.1.9/24", "10.0.0.3/24", "192.0.2.129/30", "10.77.0.0/31"],
  ["172.16.0.1/16", "172.16.0.1/16", "172.16.5.1/24", "10.0.0.1/24"],
  ["192.168.7.1/24", "192.168.7.1/24", "192.168.7.200/24", "203.0.113.1/28"],
] as const;
const OWN = ["10.0.0.1", "10.0.1.1", "172.16.0.1", "192.168.7.1", "10.0.0.2", "192.0.2.1", "198.51.100.7"];
const NEAR = ["10.0.0.5", "10.0.0.9", "10.0.1.5", "10.0.1.6", "172.16.3.4", "172.16.5.9", "192.168.7.5", "192.0.2.5"];
const FAR = ["8.8.8.8", "9.9.9.9", "100.64.1.1", "100.64.2.2", "198.18.0.1", "203.0.113.5", "1.2.3.4", "10.5.1.7"];
const GROUPS = ["10.0.0.255", "10.0.1.255", "172.16.255.255", "192.168.7.255", "255.255.255.255", "224.0.0.1"];
const ODD = ["127.0.0.1", "127.0.0.9", "0.0.0.0", "239.1.2.3", "240.0.0.1", "10.0.0.0", "0.1.2.3", "169.254.1.1"];
const PORTS = [1, 22, 53, 79, 80, 81, 443, 511, 512, 1023, 1024, 5000, 5001, 8000, 8005, 65535];
const MARKS = ["0x1", "0x2", "0x10", "0xff00", "0x80000000"];
const TABLES = { raw: 0.35, mangle: 0.5, nat: 0.75, filter: 1, security: 0.3 } as const;
const BUILTIN = {
  raw: ["PREROUTING", "OUTPUT"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
  security: ["INPUT", "FORWARD", "OUTPUT"],
} as const;
type TableName = keyof typeof TABLES;

export function drawKernelWorld(seed: number, packetCount: number, connections = false): KernelWorld {
  const draw = new Draw(seed);
  const host = drawHost(draw);
  // how many redirects a sender gets hangs on milliseconds: there each packet comes from another one
  const redirects = packetCount > 0 && draw.chance(0.15);
  if (redirects) Object.assign(host["sysctl"] as object, { "net/ipv4/conf/all/send_redirects": 1 });
  const drawn = drawRules(draw, draw.chance(0.2), connections);
  // what goes round over lo comes to an end only as long as nothing sets its TTL, and passes FORWARD more than once
  const rules = JSON.stringify(host).includes("dev lo")
    ? drawn.replaceAll(/--ttl-(set|inc)/g, "--ttl-dec").replaceAll(/-m connlimit .*?-[sd]addr/g, "")
    : drawn;
  const tracking =
    host["conntrack"] === true ||
    /conntrack|--state|conn(mark|bytes|limit)|-j (DNAT|SNAT|MASQUERADE|REDIRECT|NETMAP|CT|NOTRACK|CONNMARK)/.test(
      rules,
    );
  const packets: Json[] = [];
  while (packets.length < packetCount) {
    const plain = drawKernelPacket(draw, host, tracking);
    const packet = redirects ? fromAnother(plain, packets.length) : plain;
    packets.push(...(draw.chance(0.04) ? inFragments(draw, packet, packets.length) : [packet]));
  }
  return { rules, host, packets, args: ["--stateless", "--trace"] };
}

/** From the neighbour or the stranger of this number, if it is one. */
function fromAnother(packet: Json, number: number): Json {
  const src = packet["src"];
  if (typeof src !== "string" || ![...NEAR, ...FAR].includes(src)) return packet;
  return { ...packet, src: src.replace(/\d+$/, String(10 + (number % 240))) };
}

// Host

interface HostDraft {
  interfaces: { name: string; addresses: string[]; mtu?: number; up?: boolean }[];
  routes: string[];
  rules: string[];
  sysctl: Record<string, number>;
  conntrack: "auto" | true;
}

/** `anyRoute`: routes that the kernel refuses may stand in it. */
export function drawHost(draw: Draw, anyRoute = false): Json {
  const names = draw.some(
    IFACES,
    draw.weighted([
      [1, 1],
      [5, 2],
      [5, 3],
      [2, 4],
    ]),
  );
  const host: HostDraft = {
    interfaces: names.map((name) => drawInterface(draw, name)),
    routes: [],
    rules: [],
    sysctl: {},
    conntrack: draw.chance(0.5) ? true : "auto",
  };
  if (draw.chance(0.15)) host.interfaces.push({ name: "lo", addresses: [draw.pick(["10.5.0.1/16", "10.6.6.6/32"])] });
  const own = host.interfaces.flatMap(({ addresses }) => addresses.map((text) => text.split("/")[0]!));
  // each is kept if the kernel would take it
  const tries = draw.between(1, 7);
  for (let count = 0; count < tries; count++) {
    const route = drawRoute(draw, names, own);
    if (anyRoute) host.routes.push(route);
    else keep(host, "routes", route);
  }
  if (draw.chance(0.4)) {
    const more = draw.between(1, 3);
    for (let count = 0; count < more; count++) keep(host, "rules", drawPolicy(draw, names));
  }
  drawSysctls(draw, host.sysctl, names);
  return { ...host };
}

function drawInterface(draw: Draw, name: (typeof IFACES)[number]): HostDraft["interfaces"][number] {
  const subnets = SUBNETS[IFACES.indexOf(name)]!;
  const count = draw.weighted([
    [1, 0],
    [14, 1],
    [5, 2],
    [2, 3],
  ]);
  const addresses = [...new Set(Array.from({ length: count }, () => draw.pick(subnets)))];
  return {
    name,
    addresses,
    ...(draw.chance(0.15) ? { mtu: draw.pick([576, 1280, 9000]) } : {}),
    ...(draw.chance(0.03) ? { up: false } : {}),
  };
}

function keep(host: HostDraft, key: "routes" | "rules", line: string): void {
  host[key].push(line);
  try {
    parseHost(JSON.stringify(host), "");
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    host[key].pop();
  }
}

const PREFIXES = ["default", "default", "default", "8.8.8.8", "9.0.0.0/8", "100.64.0.0/10", "100.64.2.0/24"];
const MORE_PREFIXES = ["198.18.0.0/15", "10.5.1.0/24", "10.0.0.8/29", "1.2.3.4", "128.0.0.0/1", "172.16.5.0/24"];

function drawRoute(draw: Draw, names: readonly string[], own: readonly string[]): string {
  const dst = draw.pick([...PREFIXES, ...MORE_PREFIXES]);
  const options = [
    ...(draw.chance(0.25) ? [`table ${draw.pick(["100", "200", "default"])}`] : []),
    ...(draw.chance(0.2) ? [`metric ${draw.pick([1, 100])}`] : []),
  ];
  const src = draw.chance(0.15) && own.length > 0 ? [`src ${draw.pick(own)}`] : [];
  const mtu = draw.chance(0.06) ? ["mtu 1000"] : [];
  const dev = `dev ${draw.pick(names)}`;
  const words = draw.weighted<() => string[]>([
    [10, () => [dst, `via ${draw.pick(NEAR)}`, ...(draw.chance(0.5) ? [dev] : []), ...src, ...mtu]],
    [5, () => [dst, dev, ...src, ...mtu]],
    [1, () => [dst, `via ${draw.pick([...FAR, ...NEAR])} ${dev} onlink`]],
    [2, () => [draw.pick(["unreachable", "prohibit", "blackhole", "throw"]), dst]],
    [1, () => [draw.pick(["198.18.0.0/15", "1.2.3.4"]), "dev lo"]],
    [1, () => ["local", draw.pick(["198.18.0.0/15", "100.64.2.0/24", "1.2.3.4"]), draw.pick(["dev lo", dev])]],
  ])();
  return [...words, ...options].join(" ");
}

function drawPolicy(draw: Draw, names: readonly string[]): string {
  const selector = draw.weighted<() => string>([
    [5, () => `fwmark ${draw.pick(MARKS)}${draw.chance(0.4) ? "/0xff" : ""}`],
    [3, () => `from ${draw.pick([...NEAR, ...OWN, "10.0.0.0/24", "10.0.1.0/24"])}`],
    [2, () => `to ${draw.pick([...FAR, "100.64.0.0/10"])}`],
    [2, () => `iif ${draw.pick([...names, "lo", "nowhere"])}`],
    [1, () => `oif ${draw.pick(names)}`],
    [1, () => "from all"],
  ])();
  const action = draw.weighted([
    [8, "table 100"],
    [4, "lookup 200"],
    [1, "blackhole"],
    [1, "unreachable"],
    [1, "prohibit"],
  ]);
  const priority = draw.chance(0.5) ? [`priority ${draw.pick([10, 100, 40000])}`] : [];
  return [...(draw.chance(0.1) ? ["not"] : []), selector, action, ...priority].join(" ");
}

function drawSysctls(draw: Draw, sysctl: Record<string, number>, names: readonly string[]): void {
  const place = (): string => draw.pick(["all", "default", ...names]);
  const conf = (key: string): string => `net/ipv4/conf/${place()}/${key}`;
  if (draw.chance(0.25)) sysctl[conf("rp_filter")] = draw.between(1, 2);
  if (draw.chance(0.1)) sysctl[conf("rp_filter")] = draw.between(0, 2);
  if (draw.chance(0.15)) sysctl[conf("route_localnet")] = 1;
  if (draw.chance(0.15)) sysctl[conf("accept_local")] = 1;
  if (draw.chance(0.05)) sysctl[conf("src_valid_mark")] = 1;
  if (draw.chance(0.1)) sysctl["net/ipv4/ip_default_ttl"] = draw.pick([1, 32, 128, 255]);
  if (draw.chance(0.04)) sysctl[conf("forwarding")] = 0;
  if (draw.chance(0.03)) sysctl["net.ipv4.ip_forward"] = 0;
  if (draw.chance(0.1)) sysctl["net.netfilter.nf_conntrack_tcp_loose"] = 0;
  if (draw.chance(0.1)) sysctl["net.netfilter.nf_conntrack_checksum"] = 0;
}

// Rules

/** What may stand in a chain: where it can be reached from. */
interface ChainKind {
  readonly table: TableName;
  /** A built-in chain's name, or of a user chain the hooks it is reached from. */
  readonly hooks: readonly string[];
  readonly builtin: boolean;
  /** User chains that may be called. */
  readonly below: readonly string[];
  /** Rules may count packets. */
  readonly memory: boolean;
  /** Rules may ask of connections more than their state, and write there. */
  readonly connections: boolean;
}

function drawRules(draw: Draw, memory: boolean, connections: boolean): string {
  const tables = (Object.keys(TABLES) as TableName[]).filter((name) => draw.chance(TABLES[name]));
  return tables.map((name) => drawTable(draw, name, memory, connections)).join("");
}

function drawTable(draw: Draw, table: TableName, memory: boolean, connections: boolean): string {
  const builtin: readonly string[] = BUILTIN[table];
  // in nat a chain serves either destinations or sources
  const sides =
    table === "nat"
      ? [
          ["PREROUTING", "OUTPUT"],
          ["INPUT", "POSTROUTING"],
        ]
      : [builtin];
  const users = sides.flatMap((hooks, side) =>
    Array.from({ length: draw.between(0, 3) }, (_, index) => ({ name: `${"DS"[side]!}${index}`, hooks })),
  );
  const chains: string[] = [];
  const rules: string[] = [];
  for (const name of builtin) {
    const policy = table !== "nat" && draw.chance(table === "filter" ? 0.3 : 0.08) ? "DROP" : "ACCEPT";
    chains.push(`:${name} ${policy} [0:0]`);
    const below = users.filter((user) => user.hooks.includes(name)).map((user) => user.name);
    rules.push(...drawChain(draw, name, { table, hooks: [name], builtin: true, below, memory, connections }));
  }
  users.forEach(({ name, hooks }, index) => {
    chains.push(`:${name} - [0:0]`);
    const below = users
      .slice(index + 1)
      .filter((user) => user.hooks === hooks)
      .map((user) => user.name);
    rules.push(...drawChain(draw, name, { table, hooks, builtin: false, below, memory, connections }));
  });
  return `*${table}\n${[...chains, ...rules].join("\n")}\nCOMMIT\n`;
}

function drawChain(draw: Draw, name: string, kind: ChainKind): string[] {
  const count = draw.weighted([
    [2, 0],
    [3, 1],
    [4, 2],
    [4, 3],
    [3, 5],
    [1, 8],
  ]);
  return Array.from({ length: count }, () => `-A ${name} ${drawRule(draw, kind)}`.trim());
}

function drawRule(draw: Draw, kind: ChainKind): string {
  const proto = draw.weighted([
    [6, ""],
    [6, "tcp"],
    [4, "udp"],
    [2, "icmp"],
    [1, "sctp"],
  ]);
  const negatedProto = proto === "" && draw.chance(0.05) ? [`! -p ${draw.pick(["tcp", "udp", "icmp"])}`] : [];
  const header = [
    ...(draw.chance(0.25) ? [`${not(draw)}-s ${drawPrefix(draw)}`] : []),
    ...(draw.chance(0.25) ? [`${not(draw)}-d ${drawPrefix(draw)}`] : []),
    ...drawInterfaceTests(draw, kind),
    ...(proto === "" ? negatedProto : [`-p ${proto}`]),
    ...(draw.chance(0.03) ? [`${not(draw)}-f`] : []),
  ];
  const matches = [
    ...(kind.memory && draw.chance(0.25) ? [drawMemory(draw)] : []),
    ...(draw.chance(0.7) ? drawTransport(draw, proto) : []),
    ...(draw.chance(0.3) ? [drawMatch(draw, kind)] : []),
    ...(draw.chance(0.2) ? [drawFieldMatch(draw, kind.hooks, proto)] : []),
  ];
  return [...header, ...matches, drawTarget(draw, kind, proto)].filter((word) => word !== "").join(" ");
}

function not(draw: Draw): string {
  return draw.chance(0.2) ? "! " : "";
}

function drawPrefix(draw: Draw): string {
  const address = draw.pick([...OWN, ...NEAR, ...FAR, ...GROUPS, ...ODD]);
  return draw.weighted([
    [4, address],
    [3, `${address}/24`],
    [2, `${address}/8`],
    [1, `${address}/255.0.0.255`],
  ]);
}

function drawInterfaceTests(draw: Draw, { hooks, builtin }: ChainKind): string[] {
  const name = (): string => draw.pick([...IFACES, "lo", "eth+", "e+", "+", "wlan0"]);
  const noIn = builtin && ["OUTPUT", "POSTROUTING"].includes(hooks[0]!);
  const noOut = builtin && ["PREROUTING", "INPUT"].includes(hooks[0]!);
  return [
    ...(!noIn && draw.chance(0.25) ? [`${not(draw)}-i ${name()}`] : []),
    ...(!noOut && draw.chance(0.25) ? [`${not(draw)}-o ${name()}`] : []),
  ];
}

/** Deterministic whatever the clock says. */
function drawMemory(draw: Draw): string {
  return draw.weighted<() => string>([
    [3, () => `-m limit --limit 1/hour --limit-burst ${draw.between(1, 9)}`],
    [3, () => `-m statistic --mode nth --every ${draw.between(2, 5)} --packet ${draw.below(2)}`],
    [1, () => `-m statistic --mode random ${not(draw)}--probability ${draw.pick([0, 1])}`],
    [5, () => drawRecent(draw)],
  ])();
}

function drawRange(draw: Draw): string {
  const [one, other] = [draw.pick(PORTS), draw.pick(PORTS)];
  return one === other || draw.chance(0.6) ? String(one) : `${Math.min(one, other)}:${Math.max(one, other)}`;
}

function drawTransport(draw: Draw, proto: string): string[] {
  if (proto === "icmp") {
    return [
      `-m icmp ${not(draw)}--icmp-type ${draw.pick(["any", "0", "3", "3/1", "8", "8/0", "11", "13", "echo-request"])}`,
    ];
  }
  if (proto !== "tcp" && proto !== "udp" && proto !== "sctp") return [];
  if (proto === "sctp" || draw.chance(0.2)) {
    const ports = Array.from({ length: draw.between(1, 4) }, () => drawRange(draw)).join(",");
    return [`-m multiport ${not(draw)}--${draw.pick(["sports", "dports", "ports"])} ${ports}`];
  }
  const flags = ["--syn", "--tcp-flags SYN,ACK SYN", "--tcp-flags ALL NONE", "--tcp-flags FIN,RST RST"];
  return [
    [
      `-m ${proto}`,
      ...(draw.chance(0.3) ? [`${not(draw)}--sport ${drawRange(draw)}`] : []),
      ...(draw.chance(0.7) ? [`${not(draw)}--dport ${drawRange(draw)}`] : []),
      ...(proto === "tcp" && draw.chance(0.2) ? [`${not(draw)}${draw.pick(flags)}`] : []),
    ].join(" "),
  ];
}

const STATES = ["NEW", "INVALID", "ESTABLISHED,RELATED", "NEW,INVALID", "UNTRACKED", "DNAT", "SNAT", "INVALID,DNAT"];
const TYPES = ["LOCAL", "UNICAST", "BROADCAST", "MULTICAST", "LOCAL,BROADCAST", "UNREACHABLE", "BLACKHOLE"];

function drawMatch(draw: Draw, kind: ChainKind): string {
  const { hooks, connections } = kind;
  if (connections && draw.chance(0.4)) return drawConnectionMatch(draw, kind);
  const limits = [
    ...(hooks.every((hook) => ["PREROUTING", "INPUT", "FORWARD"].includes(hook)) ? [" --limit-iface-in"] : []),
    ...(hooks.every((hook) => ["FORWARD", "OUTPUT", "POSTROUTING"].includes(hook)) ? [" --limit-iface-out"] : []),
  ];
  const limit = limits.length > 0 && draw.chance(0.3) ? draw.pick(limits) : "";
  const type = (side: string): string => `${not(draw)}--${side}-type ${draw.pick(TYPES)}`;
  return draw.weighted<() => string>([
    [4, () => `-m conntrack ${not(draw)}--ctstate ${draw.pick(STATES)}`],
    [1, () => `-m state ${not(draw)}--state ${draw.pick(["NEW", "INVALID", "RELATED,ESTABLISHED"])}`],
    [3, () => `-m mark ${not(draw)}--mark ${draw.pick(MARKS)}${draw.chance(0.4) ? "/0xff" : ""}`],
    [2, () => `-m addrtype ${type("src")}${limit}`],
    [3, () => `-m addrtype ${type("dst")}${limit}`],
    [1, () => `-m addrtype ${type("src")} ${type("dst")}`],
    [1, () => `-m iprange ${not(draw)}--src-range 10.0.0.0-10.0.1.5`],
    [1, () => `-m iprange ${not(draw)}--dst-range 8.0.0.0-10.0.0.5`],
  ])();
}

function drawConnectionMatch(draw: Draw, { builtin, hooks }: ChainKind): string {
  const address = (): string => draw.pick([...NEAR, ...OWN, "10.0.0.0/24", "8.8.8.8"]);
  const side = (): string => draw.pick(["orig", "repl"]);
  const word = draw.weighted<() => string>([
    [2, () => `${not(draw)}--ct${side()}${draw.pick(["src", "dst"])} ${address()}`],
    [2, () => `${not(draw)}--ct${side()}${draw.pick(["srcport", "dstport"])} ${drawRange(draw)}`],
    [1, () => `${not(draw)}--ctproto ${draw.pick(["tcp", "udp", "1", "47"])}`],
    [
      2,
      () => `${not(draw)}--ctstatus ${draw.pick(["NONE", "SEEN_REPLY", "ASSURED", "CONFIRMED", "EXPECTED,ASSURED"])}`,
    ],
    [1, () => `--ctdir ${draw.pick(["ORIGINAL", "REPLY"])}`],
    [1, () => `${not(draw)}--ctexpire ${draw.pick(["0", "1:100", "200:5000", "100000:"])}`],
  ]);
  const state = draw.chance(0.3) ? `--ctstate ${draw.pick(STATES)} ` : "";
  return draw.weighted<() => string>([
    [5, () => `-m conntrack ${state}${word()}`],
    [3, () => `-m connmark ${not(draw)}--mark ${draw.pick(MARKS)}${draw.chance(0.4) ? "/0xff" : ""}`],
    [2, () => drawConnbytes(draw)],
    // a packet passes FORWARD once; asked again within 4 ms the kernel does not look through its list
    [builtin && hooks.every((hook) => hook === "FORWARD") ? 3 : 0, () => drawConnlimit(draw)],
  ])();
}

function drawConnbytes(draw: Draw): string {
  const range = draw.pick(["0", "1:1", "2", "1:3", "40:60", "41", "80:200", "0:79"]);
  const mode = draw.pick(["packets", "packets", "bytes", "avgpkt"]);
  const dir = draw.pick(["original", "reply", "both"]);
  return `-m connbytes ${not(draw)}--connbytes ${range} --connbytes-mode ${mode} --connbytes-dir ${dir}`;
}

function drawConnlimit(draw: Draw): string {
  const limit = `${not(draw)}--connlimit-${draw.pick(["upto", "above"])} ${draw.pick([0, 1, 2, 3, 5])}`;
  const side = draw.pick(["saddr", "daddr"]);
  return `-m connlimit ${limit} --connlimit-mask ${draw.pick([0, 8, 24, 31, 32])} --connlimit-${side}`;
}

function drawConnectionTarget(draw: Draw, { table }: ChainKind): string {
  const mark = draw.pick(MARKS);
  if (table === "raw") {
    const zone = `${draw.pick(["--zone", "--zone-orig", "--zone-reply"])} ${draw.pick(["1", "2", "mark"])}`;
    return draw.pick(["-j NOTRACK", `-j CT ${zone}`, "-j CT --notrack"]);
  }
  const connmark = [
    `-j CONNMARK --set-xmark ${mark}/${draw.pick(["0xff", "0xffffffff"])}`,
    `-j CONNMARK --save-mark${draw.chance(0.4) ? " --nfmask 0xff --ctmask 0xff00" : ""}`,
    `-j CONNMARK --restore-mark${draw.chance(0.4) ? " --nfmask 0xff --ctmask 0xffff" : ""}`,
  ];
  if (table !== "nat") return draw.pick(connmark);
  return draw.pick([...connmark, `-j NETMAP --to ${draw.pick(["10.0.0.0/24", "172.16.3.0/28", "192.0.2.77"])}`]);
}

function drawTarget(draw: Draw, kind: ChainKind, proto: string): string {
  const { table, hooks, builtin, below } = kind;
  if (kind.connections && draw.chance(table === "raw" ? 0.3 : 0.15)) return drawConnectionTarget(draw, kind);
  const calls: [number, () => string][] =
    below.length === 0
      ? []
      : [
          [5, () => `-j ${draw.pick(below)}`],
          [2, () => `-g ${draw.pick(below)}`],
        ];
  const common: [number, () => string][] = [
    [4, () => "-j ACCEPT"],
    [builtin ? 1 : 3, () => "-j RETURN"],
    [1, () => ""],
    [1, () => '-j LOG --log-prefix "x "'],
    [table === "mangle" || table === "raw" ? 5 : 1, () => drawMark(draw)],
    [table === "mangle" ? 7 : 1, () => drawChange(draw, table, hooks, proto)],
    ...calls,
  ];
  if (table === "nat") {
    const destination = hooks.includes("PREROUTING") || hooks.includes("OUTPUT");
    const masquerade = hooks.length === 1 && hooks[0] === "POSTROUTING";
    return draw.weighted<() => string>([
      ...common,
      [12, () => (destination ? drawDnat(draw, proto) : drawSnat(draw, proto, masquerade))],
    ])();
  }
  const kinds = ["", "icmp-net-unreachable", "icmp-host-prohibited", "icmp-admin-prohibited", "icmp-proto-unreachable"];
  const reset = proto === "tcp" && draw.chance(0.5);
  const how = reset ? "tcp-reset" : draw.pick(kinds);
  return draw.weighted<() => string>([
    ...common,
    [table === "filter" ? 3 : 1, () => "-j DROP"],
    [table === "filter" ? 5 : 0, () => `-j REJECT${how === "" ? "" : ` --reject-with ${how}`}`],
  ])();
}

function drawMark(draw: Draw): string {
  const option = draw.pick(["--set-mark", "--set-xmark", "--or-mark", "--and-mark", "--xor-mark"]);
  const mask = option.startsWith("--set") && draw.chance(0.4) ? "/0xff" : "";
  return `-j MARK ${option} ${draw.pick(MARKS)}${mask}`;
}

function hasPorts(proto: string): boolean {
  return proto === "tcp" || proto === "udp";
}

function drawDnat(draw: Draw, proto: string): string {
  const address = draw.pick([
    ...NEAR,
    ...NEAR,
    ...OWN,
    "10.0.0.5-10.0.0.9",
    "172.16.0.1-172.16.255.254",
    "127.0.0.1",
    "8.8.8.8",
  ]);
  const port = hasPorts(proto) ? draw.pick(["", ":80", ":8000-8010", ":5000-5010/3000"]) : "";
  const persistent = draw.chance(0.2) ? " --persistent" : "";
  const redirect = hasPorts(proto) ? draw.pick(["", " --to-ports 8000", " --to-ports 5000-5010"]) : "";
  return draw.weighted([
    [3, `-j DNAT --to-destination ${address}${port}${persistent}`],
    [1, hasPorts(proto) ? "-j DNAT --to-destination :443" : `-j DNAT --to-destination ${address}`],
    [1, `-j REDIRECT${redirect}`],
  ]);
}

function drawSnat(draw: Draw, proto: string, masquerade: boolean): string {
  const address = draw.pick(["10.0.0.1", "192.0.2.77", "192.0.2.8-192.0.2.15", "10.0.0.0-10.0.0.9", "172.16.3.4"]);
  const port = hasPorts(proto) ? draw.pick(["", ":4000", ":79-81", ":1024-65535"]) : "";
  const flags = draw.pick(["", "", "", " --persistent", " --random"]);
  const toPorts =
    hasPorts(proto) || proto === "icmp" ? draw.pick(["", "", " --to-ports 4000", " --to-ports 1024-2048"]) : "";
  if (masquerade && draw.chance(0.6))
    return `-j MASQUERADE${toPorts}${draw.pick(["", "", " --random", " --random-fully"])}`;
  return `-j SNAT --to-source ${address}${port}${flags}`;
}

// Packets

const FLAGS = [
  "S",
  "S",
  "S",
  "A",
  "SA",
  "PA",
  "R",
  "RA",
  "F",
  "FA",
  "SF",
  "NONE",
  "P",
  "FPU",
  "SEC",
  "UA",
  "SU",
  "SAP",
];
const PROTOCOLS = [2, 4, 33, 47, 50, 89, 99, 132, 136, 0, 255];

/** `whole`: none comes in fragments. */
export function drawKernelPacket(draw: Draw, host: Json, whole: boolean): Json {
  const interfaces = host["interfaces"] as HostDraft["interfaces"];
  const names = interfaces.map(({ name }) => name);
  const local = draw.chance(0.3);
  const iface = draw.chance(0.02) ? "lo" : draw.pick(names);
  const own = interfaces.flatMap(({ addresses }) => addresses.map((text) => text.split("/")[0]!));
  const proto = draw.weighted<string | number>([
    [9, "tcp"],
    [6, "udp"],
    [4, "icmp"],
    [2, draw.pick(PROTOCOLS)],
  ]);
  const packet = {
    in: local ? "local" : iface,
    ...drawAddresses(draw, own, local),
    proto,
    ...drawHeader(draw, proto),
    ...drawOddities(draw, local, names),
    ...(!whole && draw.chance(0.08) ? { frag: drawFragment(draw) } : {}),
  };
  return { ...packet, ...drawFacts(draw, packet) };
}

function drawAddresses(draw: Draw, own: readonly string[], local: boolean): Json {
  const pick = (weights: readonly [number, number, number, number, number]): string =>
    draw.pick(
      draw.weighted<readonly string[]>([
        [weights[0], own.length > 0 ? own : OWN],
        [weights[1], NEAR],
        [weights[2], FAR],
        [weights[3], GROUPS],
        [weights[4], ODD],
      ]),
    );
  const dst = pick(local ? [10, 12, 10, 2, 4] : [6, 6, 6, 1, 1]);
  if (local && draw.chance(0.5)) return { dst };
  return { src: pick(local ? [12, 1, 1, 0, 1] : [1, 9, 6, 0, 1]), dst };
}

function drawHeader(draw: Draw, proto: string | number): Json {
  if (proto === "icmp") {
    const type = draw.weighted([
      [6, 8],
      [2, 0],
      [1, 13],
      [1, 17],
      [1, 42],
      [1, 10],
      [1, 5],
      [2, 3],
      [1, 11],
    ]);
    const error = [3, 5, 11].includes(type);
    const inner = {
      src: draw.pick([...NEAR, ...FAR]),
      dst: draw.pick([...NEAR, ...FAR]),
      proto: "udp",
      sport: 53,
      dport: 53,
    };
    return { icmp_type: type, icmp_code: draw.below(3), icmp_id: draw.below(9), ...(error ? { inner } : {}) };
  }
  if (proto === "tcp" || proto === "udp") {
    const ports = { sport: draw.pick(PORTS), dport: draw.pick(PORTS) };
    return proto === "udp" ? ports : { ...ports, flags: draw.pick(FLAGS) };
  }
  if (!draw.chance(0.5)) return {};
  return {
    payload_hex: draw.pick([
      "",
      "00",
      "00000000",
      "0050005000000000",
      "3001880b00000000",
      "ffff0000",
      "2001080000000000",
    ]),
  };
}

function drawOddities(draw: Draw, local: boolean, names: readonly string[]): Json {
  const odd: Record<string, unknown> = {};
  if (draw.chance(0.12)) odd["ttl"] = draw.pick([0, 1, 1, 2, 255]);
  if (draw.chance(0.08)) odd["tos"] = draw.pick([0x10, 0xb8, 3]);
  if (draw.chance(0.05)) odd["len"] = draw.pick([100, 577, 1001, 1281, 1400, 1500, 1501, 3000]);
  if (draw.chance(0.2)) odd["df"] = true;
  if (draw.chance(0.04)) odd["bad_checksum"] = true;
  if (!local && draw.chance(0.04))
    odd["ip_options_hex"] = draw.pick(["01010101", "83070408080808", "940400000000", "0000"]);
  if (!local && draw.chance(0.05)) {
    odd["dst_mac"] = draw.pick(["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "02:aa:aa:aa:aa:aa"]);
  }
  if (local && draw.chance(0.2)) odd["mark"] = Number(draw.pick(MARKS));
  if (local && draw.chance(0.05)) odd["oif"] = draw.pick(names);
  return odd;
}

/** The whole datagram, its fragments in any order; perhaps one is missing or comes twice. */
export function inFragments(draw: Draw, packet: Json, number: number): readonly Json[] {
  if (["hex", "len", "inner", "payload_hex"].some((key) => key in packet)) return [packet];
  const whole = { ...packet, payload: "fragments of one datagram, all of them", ip_id: 40000 + number };
  const cuts = draw.pick([[16], [8, 24], [16, 32]]);
  const pieces = [0, ...cuts].map((offset, index) => {
    const next = cuts[index];
    return { ...whole, frag: { offset, ...(next === undefined ? {} : { length: next - offset }) } };
  });
  const sent = draw.chance(0.5) ? pieces : draw.shuffled(pieces);
  if (draw.chance(0.1)) return sent.slice(1);
  return draw.chance(0.1) ? [sent[0]!, ...sent] : sent;
}

function drawFragment(draw: Draw): Json {
  return draw.pick([
    { offset: 0, length: 8 },
    { offset: 8, length: 8 },
    { offset: 16 },
    { offset: 8 },
    { offset: 0, length: 16 },
  ]);
}
