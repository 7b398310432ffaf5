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
  readonly clock: boolean;
}

/** @param clock time passes from packet to packet, for which the kernel would have to wait */
export function drawKernelWords(seed: number, packetCount: number, clock = false): KernelWorld {
  const draw = new Draw(seed);
  const host = drawHost(draw);
  const tables = (Object.keys(CHAINS) as TableName[]).filter((table) => table === "mangle" || draw.chance(0.6));
  const rules = tables.map((table) => drawTable(draw, table, clock)).join("");
  const packets = Array.from({ length: packetCount }, () => {
    const packet = drawPacket(draw, host);
    return clock && draw.chance(0.5) ? { ...packet, wait: draw.pick(WAITS) } : packet;
  });
  return { rules, host, packets, args: ["--stateless", "--trace"] };
}

/** Seconds. */
const WAITS = [0.001, 0.2, 0.25, 0.5, 1, 2, 10, 60, 700, 4000, 90000];

function drawTable(draw: Draw, table: TableName, clock: boolean): string {
  const hooks = CHAINS[table];
  const chains = hooks.map((hook) => `:${hook} ACCEPT [0:0]`);
  const rules = hooks.flatMap((hook) =>
    Array.from({ length: draw.between(0, 4) }, () => `-A ${hook} ${drawRule(draw, { table, hook, clock })}`),
  );
  return `*${table}\n${[...chains, ...rules].join("\n")}\nCOMMIT\n`;
}

function drawRule(draw: Draw, site: Site): string {
  const first = draw.chance(0.7) ? drawHeader(draw) : drawEverywhere(draw, site);
  const proto = first.startsWith("-p");
  const more = draw.chance(0.2) ? ` ${drawEverywhere(draw, site)}` : "";
  return `${first}${more}${drawTarget(draw, site, proto)}`;
}

function not(draw: Draw): string {
  return draw.chance(0.3) ? "! " : "";
}

/** A match on a transport header, with its protocol. */
function drawHeader(draw: Draw): string {
  const spi = (): string => draw.pick(["1", "256:300", "0:255", "65536:4294967295", "16909060"]);
  const ports = (): string =>
    [
      ...(draw.chance(0.3) ? [` ${not(draw)}--sport ${draw.pick(PORTS)}`] : []),
      ...(draw.chance(0.3) ? [` ${not(draw)}--dport ${draw.pick(PORTS)}`] : []),
    ].join("");
  const chunks = (): string => {
    const which = draw.pick(["any", "all", "only"]);
    const types = draw.some(["DATA", "INIT", "SACK", "ABORT:T", "DATA:Be", "HEARTBEAT", "ABORT:t"], draw.between(1, 3));
    const list = draw.chance(0.1) ? draw.pick(["ALL", "NONE"]) : types.join(",");
    return `${not(draw)}--chunk-types ${which} ${list}`;
  };
  const types = (): string => draw.some(["REQUEST", "RESPONSE", "DATA", "ACK", "RESET", "INVALID"], 2).join(",");
  return draw.weighted<() => string>([
    [2, () => `-p esp -m esp ${not(draw)}--espspi ${spi()}`],
    [2, () => `-p ah -m ah ${not(draw)}--ahspi ${spi()}`],
    [1, () => `-p ipcomp -m ipcomp ${not(draw)}--ipcompspi ${draw.pick(["1", "258", "256:772"])}`],
    [6, () => `-p sctp -m sctp${ports()} ${chunks()}`],
    [1, () => `-p sctp -m sctp${ports()}`],
    [2, () => `-p dccp -m dccp${ports()} ${not(draw)}--dccp-types ${types()}`],
    [2, () => `-p dccp -m dccp${ports()} ${not(draw)}--dccp-option ${draw.pick([1, 2, 4, 34])}`],
    [5, () => `-p tcp -m tcp${ports()} ${not(draw)}--tcp-option ${draw.pick([1, 2, 3, 4, 5, 8, 64])}`],
  ])();
}

const PORTS = ["80", "0:1023", "1024:65535", "5000"];

/** Goes with every protocol. */
function drawEverywhere(draw: Draw, { hook, clock }: Site): string {
  const incoming = ["PREROUTING", "INPUT", "FORWARD"].includes(hook);
  const policy = `-m policy --dir ${incoming ? "in" : "out"}`;
  return draw.weighted<() => string>([
    [6, () => drawHashlimit(draw, clock)],
    [2, () => `${policy} --pol ${draw.pick(["none", "ipsec", "ipsec --proto esp"])}`],
    [["PREROUTING", "INPUT"].includes(hook) ? 2 : 0, () => `-m socket${draw.pick(["", " --transparent"])}`],
  ])();
}

/** Without a clock nothing comes back while the packets are sent. Rules of one name share what the first one says. */
function drawHashlimit(draw: Draw, clock: boolean): string {
  const by = draw.some(["srcip", "srcport", "dstip", "dstport"], draw.between(0, 4)).join(",");
  const number = draw.below(4);
  const slow = ["20/day", "12/hour", "3/hour"];
  const rate = [
    () => `${draw.pick(clock ? ["10/sec", "1/sec", "40/min", ...slow] : slow)} --hashlimit-burst ${draw.between(1, 6)}`,
    () => `${draw.pick(["16b/s", ...(clock ? ["50b/s", "100b/s"] : [])])}${draw.pick(["", " --hashlimit-burst 200b"])}`,
    () => `${draw.pick(["1/hour", "100/hour", "6000/min"])} --hashlimit-rate-match${interval()}`,
    () => `${draw.pick(["16b/s", "64b/s"])} --hashlimit-rate-match${interval()}`,
  ][number]!;
  const interval = (): string => ` --hashlimit-rate-interval ${clock ? draw.pick([1, 2, 60]) : 600}`;
  return [
    `-m hashlimit --hashlimit-${draw.pick(["upto", "above"])} ${rate()}`,
    ...(by === "" ? [] : [`--hashlimit-mode ${by}`]),
    `--hashlimit-name words${number}${draw.pick(["", "", "a"])}`,
    `--hashlimit-htable-expire ${clock ? draw.pick([1, 700, 1000, 60000]) : 600000}`,
    ...(clock && draw.chance(0.5) ? [`--hashlimit-htable-gcinterval ${draw.pick([1, 333, 5000])}`] : []),
    ...(draw.chance(0.3) ? [`--hashlimit-srcmask ${draw.pick([0, 8, 24, 31])}`] : []),
    ...(draw.chance(0.3) ? [`--hashlimit-dstmask ${draw.pick([0, 8, 24, 31])}`] : []),
    ...(draw.chance(0.3) ? [`--hashlimit-htable-size ${draw.pick([1, 5])} --hashlimit-htable-max 5`] : []),
  ].join(" ");
}

/** @param proto the rule has one already */
function drawTarget(draw: Draw, { table, hook }: Site, proto: boolean): string {
  const mayHand = table === "mangle" && hook === "PREROUTING" && !proto;
  return draw.weighted<() => string>([
    [12, () => ""],
    [1, () => ` -j ${draw.pick(["ACCEPT", "DROP", "RETURN"])}`],
    [2, () => ` -j NFQUEUE --queue-num ${draw.below(3)}${draw.pick(["", " --queue-bypass", " --queue-bypass"])}`],
    [1, () => ` -j AUDIT --type ${draw.pick(["accept", "drop"])}`],
    [1, () => " -j IDLETIMER --timeout 600 --label words"],
    [mayHand ? 2 : 0, () => ` -p ${draw.pick(["tcp", "udp"])} -j TPROXY --on-port 80`],
  ])();
}

/** Half of them are of the protocols that rules ask for here. */
function drawPacket(draw: Draw, host: Json): Json {
  const packet = drawKernelPacket(draw, host, false);
  if (draw.chance(0.5) || "inner" in packet) return packet;
  const [proto, payload] = draw.weighted<() => readonly [number, string]>([
    [2, () => [50, draw.pick(["00000001", "0000010000000001", "0102030400000000ff", "0001000000000000"])]],
    [2, () => [51, draw.pick(["0604000000000001", "060400000000010000000001", "060400000102030400000000ff"])]],
    [1, () => [108, draw.pick(["0600", "06000001", "0600010200000000", "06000304"])]],
    [4, () => [132, drawAssociation(draw)]],
    [3, () => [33, drawDatagram(draw)]],
  ])();
  const { in: iface, src, dst, ttl } = packet;
  return { in: iface, src, dst, ttl, proto, payload_hex: payload };
}

/** Chunks of SCTP, perhaps broken. */
function drawAssociation(draw: Draw): string {
  const chunks = Array.from({ length: draw.between(0, 4) }, () =>
    draw.pick([
      "0003000401020304",
      "00020004",
      "0100001400000011",
      "0300000501000000",
      "0600000401000004",
      "0601000400000004",
    ]),
  ).map((chunk) => (draw.chance(0.15) ? chunk.slice(0, 6) : chunk));
  const end = draw.pick(["", "", "", "00", "0000", "00000000", "04000003", "ff01000400"]);
  return `${draw.pick(["0050", "1388"])}${draw.pick(["0050", "1388"])}0000000000000000${chunks.join("")}${end}`;
}

/** Of DCCP: type, length of the header, options. */
function drawDatagram(draw: Draw): string {
  const type = draw.pick([0, 1, 2, 3, 7, 10, 15]);
  const byte = (value: number): string => value.toString(16).padStart(2, "0");
  const [words, more] = [draw.between(3, 9), draw.pick(["", "00000000", "0101020022030400", "2202040101000000"])];
  const start = `${draw.pick(["0050", "1388"])}0050${byte(words)}000000${byte(type * 2 + draw.below(2))}000000`;
  return `${start}${"00".repeat(draw.pick([0, 4, 8, 12, 16]))}${more}`;
}
