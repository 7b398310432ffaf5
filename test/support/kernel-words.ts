// Worlds whose rules ask one another of everything that is seldom asked: the payload, the clock, sockets and policies.
//
// Rules stand in built-in chains alone, so that each match is legal where it stands; most only count, so that a trace
// tells of every match whether it held.

import { Draw } from "./draw.ts";
import { drawHost, drawKernelPacket } from "./kernel-arbitrary.ts";
import type { KernelWorld } from "./kernel-arbitrary.ts";
import { drawStripped } from "./kernel-vocabulary.ts";
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
function drawEverywhere(draw: Draw, { table, hook, clock }: Site): string {
  const incoming = ["PREROUTING", "INPUT", "FORWARD"].includes(hook);
  const policy = `-m policy --dir ${incoming ? "in" : "out"}`;
  return draw.weighted<() => string>([
    [3, () => drawHashlimit(draw, clock)],
    [4, () => drawTime(draw)],
    [hook === "PREROUTING" && table !== "filter" ? 12 : 0, () => drawRpfilter(draw)],
    [5, () => drawString(draw)],
    [4, () => `-m u32 ${not(draw)}--u32 "${drawU32(draw)}"`],
    [4, () => `-m bpf --bytecode "${drawBpf(draw)}"`],
    [3, () => `-m cluster ${drawCluster(draw)}`],
    [2, () => `${policy} --pol ${draw.pick(["none", "ipsec", "ipsec --proto esp"])}`],
    [["PREROUTING", "INPUT"].includes(hook) ? 2 : 0, () => `-m socket${draw.pick(["", " --transparent"])}`],
  ])();
}

/** Patterns of which something stands in packets that are drawn: the payload that nobody chose is `oracle..`. */
function drawString(draw: Draw): string {
  const pattern = draw.pick([
    ...["--string oracle", "--string ORACLE", "--string cle..", "--string racy", '--string "a"', "--string E"],
    ...['--hex-string "|0050|"', '--hex-string "|00|"', '--hex-string "|45 00 00|"', '--hex-string "o|72|acle"'],
    ...['--hex-string "|0303000501|"', '--hex-string "|4000|"', '--hex-string "|e1|c"'],
  ]);
  const from = draw.pick([0, 0, 0, 4, 20, 28, 40]);
  return [
    `-m string ${not(draw)}${pattern} --algo ${draw.pick(["bm", "kmp"])}`,
    ...(from === 0 ? [] : [`--from ${from}`]),
    ...(draw.chance(0.3) ? [`--to ${from + draw.pick([0, 1, 6, 7, 20, 36])}`] : []),
    ...(draw.chance(0.4) ? ["--icase"] : []),
  ].join(" ");
}

function drawCluster(draw: Draw): string {
  const nodes = draw.pick([1, 2, 3, 16, 32]);
  const local = draw.chance(0.5)
    ? `--cluster-local-node ${draw.between(1, nodes)}`
    : `--cluster-local-nodemask ${draw.between(1, Math.min(32, 2 ** nodes - 1))}`;
  return `--cluster-total-nodes ${nodes} ${not(draw)}${local} --cluster-hash-seed ${draw.pick([0, 7, 0xdeadbeef])}`;
}

function drawHmark(draw: Draw): string {
  const parts = draw.some(["src", "dst", "sport", "dport", "proto"], draw.between(1, 5));
  const masks = draw.pick([
    "--hmark-src-prefix 24",
    "--hmark-dst-prefix 9",
    "--hmark-sport-mask 0xff00",
    "--hmark-proto-mask 1",
  ]);
  return [
    draw.chance(0.7) ? `--hmark-tuple ${draw.chance(0.4) ? "ct," : ""}${parts.join(",")}` : masks,
    ...(draw.chance(0.3)
      ? [`--hmark-${draw.pick(["sport", "dport"])} ${draw.pick(["0x0001", "0xffff", "0x0100"])}`]
      : []),
    `--hmark-mod ${draw.pick([1, 2, 10, 4294967295])} --hmark-rnd ${draw.pick([0, 1, 0xfeedbeef])}`,
    ...(draw.chance(0.5) ? [`--hmark-offset ${draw.pick([1, 100])}`] : []),
  ].join(" ");
}

function drawU32(draw: Draw): string {
  const test = (): string =>
    draw.pick([
      "0>>22&0x3C@0>>16=0x50,1388",
      "0>>22&0x3C@12>>26&0x3C@0=0:0x7fffffff",
      "6&0xFF=1,6,17,132",
      "8>>24=64",
      "8>>24=0:63,65:255",
      "4&0x3FFF=0",
      "4>>16=1:100",
      "12=0x0a000000:0x0affffff",
      "16&0xff<<8=0:0x4000",
      "0&0xFFFF=0:36",
      "0>>22&0x3C@0@0=1",
      "0>>22&0x3C@4=0x6f726163,0:100",
      "40=0:0xffffffff",
      "0xfffffffe=0:0xffffffff",
    ]);
  return draw.chance(0.3) ? `${test()}&&${test()}` : test();
}

/** Loads, something done with them, a jump and returns. */
function drawBpf(draw: Draw): string {
  const offset = (): number => draw.pick([0, 1, 2, 8, 9, 12, 16, 20, 22, 24, 27, 28, 36, 60]);
  const load = (): string => {
    const k = draw.chance(0.15) ? 0xfff00000 + offset() : offset();
    return draw.pick([
      `${draw.pick([32, 40, 48, 64, 72, 80])} 0 0 ${k}`,
      `${draw.pick([32, 40])} 0 0 ${draw.pick([0xfffff000, 0xfffff014])}`,
      ...["128 0 0 0", "129 0 0 0", `177 0 0 ${k}`, `0 0 0 ${offset()}`, `1 0 0 ${offset()}`, "96 0 0 3", "97 0 0 3"],
    ]);
  };
  const change = (): string => {
    const op = draw.pick([0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x94, 0xa4]);
    return draw.pick([
      `${op} 0 0 ${draw.pick([1, 2, 7, 16])}`,
      ...[`${op + 8} 0 0 0`, "132 0 0 0", "7 0 0 0", "135 0 0 0", "2 0 0 3", "3 0 0 3", load()],
    ]);
  };
  const jump = draw.pick([0x15, 0x25, 0x35, 0x45, 0x1d, 0x2d, 0x3d, 0x4d]);
  const value = draw.pick([0, 1, 4, 6, 17, 64, 0x50, 0x1388, 0x0a000000]);
  const instructions = [
    ...["2 0 0 3", load(), ...Array.from({ length: draw.between(0, 3) }, change)],
    ...[`${jump} 1 0 ${value}`, "22 0 0 0", draw.pick(["6 0 0 1", "6 0 0 0", "22 0 0 0"])],
  ];
  return `${instructions.length},${instructions.join(",")}`;
}

function drawRpfilter(draw: Draw): string {
  const options = draw.some(["--loose", "--validmark", "--accept-local", "--invert"], draw.between(0, 4));
  return ["-m rpfilter", ...options].join(" ");
}

function drawTime(draw: Draw): string {
  const hours = ["00:00", "00:00:59", "03:30", "06:00", "11:59:59", "12:00", "17:10", "21:00", "23:59"];
  const days = draw.some(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], draw.between(1, 5)).join(",");
  const monthdays = draw.some([1, 2, 3, 10, 15, 24, 25, 26, 28, 29, 30, 31], draw.between(1, 8)).join(",");
  const [start, stop] = [draw.below(hours.length), draw.below(hours.length)];
  const night = stop < start && draw.chance(0.5) ? " --contiguous" : "";
  return [
    "-m time",
    ...(draw.chance(0.7) ? [`--timestart ${hours[start]!} --timestop ${hours[stop]!}${night}`] : []),
    ...(draw.chance(0.5) ? [`${not(draw)}--weekdays ${days}`] : []),
    ...(draw.chance(0.4) ? [`${not(draw)}--monthdays ${monthdays}`] : []),
    ...(draw.chance(0.2) ? [`--datestart ${draw.pick(["1970-01-02", "2025", "2037-12-31T10:00"])}`] : []),
    ...(draw.chance(0.2) ? [`--datestop ${draw.pick(["1970-01-20", "2031", "2037"])}`] : []),
  ].join(" ");
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
    [4, () => ` -j HMARK ${drawHmark(draw)}`],
    [1, () => " -j IDLETIMER --timeout 600 --label words"],
    [table === "mangle" && !proto ? 5 : 0, () => ` -p tcp -j TCPOPTSTRIP ${drawStripped(draw)}`],
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
