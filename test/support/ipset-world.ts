// Random sets of ipset, rules that ask and change them, and packets from a few addresses: all of it as text.

import { Draw } from "./draw.ts";
import type { Json } from "./oracle.ts";

export interface SetWorld {
  readonly rules: string;
  readonly sets: string;
  readonly host: Json;
  readonly packets: readonly Json[];
}

/** Types by how many sides a rule names for them. */
const TYPES = [
  ["hash:ip", 1],
  ["hash:net", 1],
  ["bitmap:ip", 1],
  ["bitmap:port", 1],
  ["hash:ip,port", 2],
  ["hash:net,port", 2],
  ["hash:net,iface", 2],
  ["hash:ip,port,ip", 3],
  ["hash:ip,port,net", 3],
] as const;

/** Those that the kernel here may lack. */
const RARE = [
  ["hash:ip,mark", 2],
  ["hash:net,net", 2],
  ["hash:net,port,net", 3],
] as const;

const HOST = {
  interfaces: [
    { name: "eth0", addresses: ["10.1.0.1/16"] },
    { name: "eth1", addresses: ["10.2.0.1/16"] },
    { name: "lan0", addresses: ["10.3.0.1/16"] },
  ],
  routes: [],
  rules: [],
  sysctl: {},
};

/** @param rare whether types come that many kernels lack */
export function drawSetWorld(seed: number, packetCount: number, rare: boolean): SetWorld {
  const draw = new Draw(seed);
  const address = (): string => `10.${draw.between(1, 3)}.${draw.below(3)}.${draw.between(1, 5)}`;
  const network = (): string =>
    `10.${draw.between(1, 3)}.${draw.below(3)}.0/${draw.pick([8, 12, 15, 16, 23, 24, 30, 31])}`;
  const range = (): string => {
    const first = draw.between(1, 5);
    return `10.${draw.between(1, 3)}.0.${first}-10.3.1.${draw.between(1, 5)}`.replace(
      /10\.(\d)\.0\.(\d)-10\.3\.1/,
      "10.$1.0.$2-10.$1.1",
    );
  };
  const port = (): string =>
    draw.weighted([
      [4, `tcp:${draw.between(1, 4)}`],
      [2, `udp:${draw.between(1, 4)}`],
      [1, `tcp:${draw.between(1, 3)}-4`],
      [1, `icmp:8/0`],
      [1, "gre:0"],
      [1, `${draw.between(1, 4)}`],
    ]);
  const iface = (): string => draw.pick(["eth0", "eth1", "lan0", "away0"]);

  const lines: string[] = [];
  const names: { name: string; sides: number }[] = [];
  const plain: string[] = [];
  const count = draw.between(2, 5);
  for (let i = 0; i < count; i++) {
    const [type, sides] = draw.pick<readonly [string, number]>(rare && draw.chance(0.3) ? RARE : TYPES);
    const name = `s${i}`;
    const timed = draw.chance(0.25);
    const options = [
      type === "bitmap:ip" ? "range 10.2.0.0-10.2.255.255" : "",
      type === "bitmap:port" ? "range 2-9" : "",
      timed ? `timeout ${draw.pick([0, 100])}` : "",
      type === "hash:ip" && draw.chance(0.2) ? "netmask 24" : "",
      draw.chance(0.1) ? "counters" : "",
      draw.chance(0.15) && !type.startsWith("bitmap") ? "skbinfo" : "",
    ];
    if (type !== "bitmap:ip" || draw.chance(0.5)) {
      lines.push(`create ${name} ${type} ${options.join(" ")} ${type.startsWith("bitmap") ? "" : "maxelem 65536"}`);
    } else lines.push(`create ${name} ${type} range 10.0.0.0-10.3.255.255 netmask 24`);
    const isWide = lines.at(-1)!.includes("netmask");
    const isTimed = lines.at(-1)!.includes("timeout");
    const marks = lines.at(-1)!.includes("skbinfo");
    names.push({ name, sides });
    plain.push(name);
    const elements = new Map<string, string>();
    for (let j = draw.between(0, 9); j > 0; j--) {
      const parts: Readonly<Record<string, () => string>> = {
        "hash:ip": () => (draw.chance(0.8) ? address() : `10.${draw.between(1, 3)}.1.0/30`),
        "hash:net": () => (draw.chance(0.9) ? network() : range()),
        "bitmap:ip": () => (isWide ? address() : address().replace(/^10\.\d/, "10.2")),
        "bitmap:port": () => (draw.chance(0.7) ? `${draw.between(2, 4)}` : "3-5"),
        "hash:ip,port": () => `${address()},${port()}`,
        "hash:net,port": () => `${network()},${port()}`,
        "hash:net,iface": () => `${draw.chance(0.1) ? "0.0.0.0/0" : network()},${iface()}`,
        "hash:ip,port,ip": () => `${address()},${port()},${address()}`,
        "hash:ip,port,net": () => `${address()},${port()},${network()}`,
        "hash:ip,mark": () => `${address()},0x${draw.below(3)}`,
        "hash:net,net": () => `${network()},${network()}`,
        "hash:net,port,net": () => `${network()},${port()},${network()}`,
      };
      const element = parts[type]!();
      const more = [
        type.includes("net") && draw.chance(0.25) ? " nomatch" : "",
        isTimed && draw.chance(0.5) ? ` timeout ${draw.pick([0, 50, 1000])}` : "",
        marks && draw.chance(0.6) ? ` skbmark 0x${draw.between(1, 7)}/0x${draw.pick(["f", "3", "ffffffff"])}` : "",
      ];
      elements.set(element, `add ${name} ${element}${more.join("")} -exist`);
    }
    lines.push(...elements.values());
  }
  if (draw.chance(0.4)) {
    lines.push("create all list:set size 8");
    for (const name of draw.shuffled(plain).slice(0, 3)) lines.push(`add all ${name}`);
    names.push({ name: "all", sides: draw.between(1, 3) });
  }

  const sidesOf = (sides: number): string =>
    Array.from({ length: Math.max(1, sides + draw.pick([0, 0, 0, 0, 1, -1])) }, () => draw.pick(["src", "dst"])).join(
      ",",
    );
  const asks = (): string => {
    const { name, sides } = draw.pick(names);
    const nomatch = draw.chance(0.15) ? " --return-nomatch" : "";
    return ` -m set ${draw.chance(0.25) ? "! " : ""}--match-set ${name} ${sidesOf(sides)}${nomatch}`;
  };
  const target = (mangle: boolean): string => {
    const { name, sides } = draw.pick(names);
    return draw.weighted([
      [4, " -j ACCEPT"],
      [4, " -j DROP"],
      [2, " -j RETURN"],
      [2, ""],
      [2, ` -j SET --add-set ${name} ${sidesOf(sides)}${draw.chance(0.4) ? " --exist" : ""}`],
      [1, ` -j SET --del-set ${name} ${sidesOf(sides)}`],
      [mangle ? 4 : 0, ` -j SET --map-set ${name} ${sidesOf(sides)} --map-mark`],
      [1, ` -j SET --add-set ${name} ${sidesOf(sides)} --del-set ${draw.pick(names).name} src,dst`],
      [1, " -m mark --mark 0x1/0x1 -j ACCEPT"],
    ]);
  };
  const chain = (name: string, rules: number, mangle = false): string[] =>
    Array.from({ length: rules }, () => {
      const sets = draw.weighted([
        [6, asks()],
        [2, asks() + asks()],
        [2, ""],
      ]);
      return `-A ${name}${draw.chance(0.2) ? " -p tcp" : ""}${sets}${target(mangle)}`;
    });
  const rules = [
    ...["*raw", ":PREROUTING ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ...chain("PREROUTING", 4), "COMMIT"],
    ...["*mangle", ":PREROUTING ACCEPT [0:0]", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"],
    ...[":POSTROUTING ACCEPT [0:0]", ...chain("PREROUTING", 3, true), ...chain("FORWARD", 2, true), "COMMIT"],
    ...["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":user - [0:0]"],
    ...[
      ...chain("FORWARD", 6),
      `-A FORWARD${asks()} -j user`,
      ...chain("FORWARD", 2),
      ...chain("INPUT", 3),
      ...chain("user", 4),
      "COMMIT",
    ],
  ];
  const packets = Array.from({ length: packetCount }, (): Json => {
    const net = draw.between(1, 3);
    const proto = draw.weighted([
      [5, "tcp"],
      [3, "udp"],
      [1, "icmp"],
      [1, "gre"],
    ]);
    return {
      in: ["eth0", "eth1", "lan0"][net - 1]!,
      src: `10.${net}.${draw.below(3)}.${draw.between(2, 5)}`,
      dst: `10.${draw.between(1, 3)}.${draw.below(3)}.${draw.between(1, 5)}`,
      proto,
      ...(proto === "tcp" || proto === "udp" ? { sport: draw.between(1, 4), dport: draw.between(1, 4) } : {}),
    };
  });
  return { rules: `${rules.join("\n")}\n`, sets: `${lines.join("\n")}\n`, host: HOST, packets };
}
