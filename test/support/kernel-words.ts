// Worlds whose rules ask one another of everything that is seldom asked: the payload, the clock, sockets and policies.
//
// Rules stand in built-in chains alone, so that each match is legal where it stands; most only count, so that a trace
// tells of every match whether it held.

import { Draw } from "./draw.ts";
import { drawHost, drawKernelPacket } from "./kernel-arbitrary.ts";
import type { KernelWorld } from "./kernel-arbitrary.ts";
import type { Json } from "./oracle.ts";

const CHAINS = {
  raw: ["PREROUTING", "OUTPUT"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
} as const;
type TableName = keyof typeof CHAINS;

/** Where a rule stands. */
interface Site {
  readonly table: TableName;
  readonly hook: string;
}

export function drawKernelWords(seed: number, packetCount: number): KernelWorld {
  const draw = new Draw(seed);
  const host = drawHost(draw);
  const tables = (Object.keys(CHAINS) as TableName[]).filter((table) => table === "mangle" || draw.chance(0.6));
  const rules = tables.map((table) => drawTable(draw, table)).join("");
  const packets = Array.from({ length: packetCount }, () => drawPacket(draw, host));
  return { rules, host, packets, args: ["--stateless", "--trace"] };
}

function drawTable(draw: Draw, table: TableName): string {
  const hooks = CHAINS[table];
  const chains = hooks.map((hook) => `:${hook} ACCEPT [0:0]`);
  const rules = hooks.flatMap((hook) =>
    Array.from({ length: draw.between(0, 4) }, () => `-A ${hook} ${drawRule(draw, { table, hook })}`),
  );
  return `*${table}\n${[...chains, ...rules].join("\n")}\nCOMMIT\n`;
}

function drawRule(draw: Draw, site: Site): string {
  const more = draw.chance(0.2) ? ` ${drawEverywhere(draw, site)}` : "";
  return `${drawEverywhere(draw, site)}${more}${drawTarget(draw, site)}`;
}

/** Goes with every protocol. */
function drawEverywhere(draw: Draw, { hook }: Site): string {
  const incoming = ["PREROUTING", "INPUT", "FORWARD"].includes(hook);
  const policy = `-m policy --dir ${incoming ? "in" : "out"}`;
  return draw.weighted<() => string>([
    [2, () => `${policy} --pol ${draw.pick(["none", "ipsec", "ipsec --proto esp"])}`],
    [["PREROUTING", "INPUT"].includes(hook) ? 2 : 0, () => `-m socket${draw.pick(["", " --transparent"])}`],
  ])();
}

function drawTarget(draw: Draw, { table, hook }: Site): string {
  const raw = table === "mangle" && hook === "PREROUTING";
  return draw.weighted<() => string>([
    [12, () => ""],
    [1, () => ` -j ${draw.pick(["ACCEPT", "DROP", "RETURN"])}`],
    [2, () => ` -j NFQUEUE --queue-num ${draw.below(3)}${draw.pick(["", " --queue-bypass", " --queue-bypass"])}`],
    [1, () => ` -j AUDIT --type ${draw.pick(["accept", "drop"])}`],
    [1, () => " -j IDLETIMER --timeout 600 --label words"],
    [raw ? 2 : 0, () => ` -p ${draw.pick(["tcp", "udp"])} -j TPROXY --on-port 80`],
  ])();
}

function drawPacket(draw: Draw, host: Json): Json {
  return drawKernelPacket(draw, host, false);
}
