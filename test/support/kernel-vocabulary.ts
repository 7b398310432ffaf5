// Matches and targets beyond the commonest, as text, and packets that tell them apart.

import type { Draw } from "./draw.ts";
import type { Json } from "./oracle.ts";

const MACS = ["02:ff:00:00:00:01", "02:00:00:00:00:07", "aa:bb:cc:dd:ee:ff"];
const UIDS = [0, 33, 1000];
const LENGTHS = [20, 28, 36, 40, 44, 60, 100];
const TTLS = [0, 1, 2, 63, 64, 65, 255];
const TOSES = [0, 0x10, 0x08, 0x28, 0xb8, 0x03, 0xff];
const TCP_OPTIONS = [
  "",
  "020405b4",
  "02040218",
  "0101020405b4",
  "0402080a0000000100000002",
  "0204000a",
  "020305b4",
  "00020405b4",
  "0103030702040400",
  "01020405b4",
  "03030702040505",
];

function not(draw: Draw): string {
  return draw.chance(0.25) ? "! " : "";
}

function range(draw: Draw, values: readonly number[]): string {
  const [one, other] = [draw.pick(values), draw.pick(values)];
  if (draw.chance(0.5)) return String(one);
  return `${Math.min(one, other)}:${Math.max(one, other)}`;
}

/** @param hooks from where the rule may be reached */
export function drawFieldMatch(draw: Draw, hooks: readonly string[], proto: string): string {
  const within = (...allowed: string[]): boolean => hooks.every((hook) => allowed.includes(hook));
  const incoming = within("PREROUTING", "INPUT", "FORWARD");
  return draw.weighted<() => string>([
    [3, () => `-m length ${not(draw)}--length ${range(draw, LENGTHS)}`],
    [3, () => `-m ttl ${draw.pick(["--ttl-eq", "! --ttl-eq", "--ttl-lt", "--ttl-gt"])} ${draw.pick(TTLS)}`],
    [2, () => `-m tos ${not(draw)}--tos ${draw.pick(TOSES)}${draw.pick(["", "/0xff", "/0x3f", "/0x08"])}`],
    [2, () => `-m dscp ${not(draw)}--dscp ${draw.pick([0, 4, 10, 46, 63])}`],
    [2, () => `-m ecn ${not(draw)}--ecn-ip-ect ${draw.below(4)}`],
    [proto === "tcp" ? 4 : 0, () => `-m ecn ${not(draw)}--ecn-tcp-ece ${not(draw)}--ecn-tcp-cwr`],
    [proto === "tcp" ? 6 : 0, () => `-m tcpmss ${not(draw)}--mss ${range(draw, [10, 536, 537, 1024, 1460, 1461])}`],
    [2, () => `-m pkttype ${not(draw)}--pkt-type ${draw.pick(["unicast", "broadcast", "multicast", "otherhost"])}`],
    [incoming ? 4 : 0, () => `-m mac ${not(draw)}--mac-source ${draw.pick(MACS)}`],
    [within("OUTPUT", "POSTROUTING") ? 6 : 0, () => drawOwner(draw)],
    [
      within("INPUT", "FORWARD", "OUTPUT", "POSTROUTING") ? 1 : 0,
      () => `-m realm ${not(draw)}--realm ${draw.below(2)}`,
    ],
    [1, () => `-m physdev ${not(draw)}--physdev-is-in ${not(draw)}--physdev-in eth0`],
    [incoming ? 1 : 0, () => `-m devgroup ${not(draw)}--src-group ${draw.below(2)}`],
  ])();
}

/** Lists are shared by all rules of a set. */
export function drawRecent(draw: Draw): string {
  const list = `--name ${draw.pick(["a", "b"])} --mask ${draw.pick(["255.255.255.255", "255.255.0.0", "0.0.0.0"])}`;
  const side = draw.pick(["", " --rsource", " --rdest"]);
  const asks = `${draw.chance(0.5) ? `--hitcount ${draw.between(1, 5)} ` : ""}${draw.chance(0.3) ? "--rttl " : ""}`;
  return draw.weighted<() => string>([
    [4, () => `-m recent ${not(draw)}--set ${list}${side}`],
    [3, () => `-m recent ${not(draw)}--rcheck ${asks}${list}${side}`],
    [3, () => `-m recent ${not(draw)}--update ${asks}${list}${side}`],
    [1, () => `-m recent ${not(draw)}--remove ${list}${side}`],
    [2, () => `-m quota ${not(draw)}--quota ${draw.pick([0, 60, 200, 1000])}`],
  ])();
}

function drawOwner(draw: Draw): string {
  const ids = (): string => draw.pick(["0", "33", "1000", "1-999", "0-33"]);
  return [
    "-m owner",
    ...(draw.chance(0.3) ? [`${not(draw)}--socket-exists`] : []),
    `${not(draw)}--uid-owner ${ids()}`,
    ...(draw.chance(0.3) ? [`${not(draw)}--gid-owner ${ids()}`] : []),
  ].join(" ");
}

/** Options of TCP to be taken away. */
export function drawStripped(draw: Draw): string {
  return `--strip-options ${draw.some([2, 3, 4, 5, 8, 255], draw.between(1, 3)).join(",")}`;
}

/** A target that goes on. */
export function drawChange(draw: Draw, table: string, hooks: readonly string[], proto: string): string {
  const mangle = table === "mangle";
  const leaving = hooks.every((hook) => ["FORWARD", "OUTPUT", "POSTROUTING"].includes(hook));
  return draw.weighted<() => string>([
    [1, () => `-j NFLOG --nflog-group ${draw.between(40, 50)}`],
    [table === "raw" ? 1 : 0, () => "-j TRACE"],
    [leaving ? 1 : 0, () => "-j CLASSIFY --set-class 1:2"],
    [
      mangle ? 5 : 0,
      () => `-j TOS ${draw.pick(["--set-tos", "--or-tos", "--and-tos", "--xor-tos"])} ${draw.pick(TOSES)}`,
    ],
    [mangle ? 3 : 0, () => `-j DSCP --set-dscp ${draw.pick([0, 4, 10, 46, 63])}`],
    [
      mangle ? 5 : 0,
      () => `-j TTL ${draw.pick(["--ttl-set", "--ttl-inc", "--ttl-dec"])} ${draw.pick([1, 2, 63, 200])}`,
    ],
    [mangle ? 1 : 0, () => "-j CHECKSUM --checksum-fill"],
    [mangle ? 2 : 0, () => `-j ECN --ecn-ip-ect ${draw.below(4)}`],
    [
      mangle && proto === "tcp" ? 6 : 0,
      () => `-j ECN ${draw.pick(["--ecn-tcp-remove", "--ecn-tcp-ece 1 --ecn-tcp-cwr 0"])}`,
    ],
    [
      proto === "tcp" ? 6 : 0,
      () => `-m tcp --tcp-flags SYN SYN -j TCPMSS --set-mss ${draw.pick([10, 500, 1000, 1460])}`,
    ],
    [proto === "tcp" && leaving ? 6 : 0, () => "-m tcp --tcp-flags SYN SYN -j TCPMSS --clamp-mss-to-pmtu"],
    [mangle && proto === "tcp" ? 3 : 0, () => `-j TCPOPTSTRIP ${drawStripped(draw)}`],
  ])();
}

/** More keys of a packet line. */
export function drawFacts(draw: Draw, packet: Json): Json {
  const local = packet["in"] === "local";
  return {
    ...(draw.chance(0.3) ? { tos: draw.pick(TOSES) } : {}),
    ...(draw.chance(0.15) ? { ttl: draw.pick(TTLS) } : {}),
    ...(packet["proto"] === "tcp" && draw.chance(0.5) ? { tcp_options_hex: draw.pick(TCP_OPTIONS) } : {}),
    ...(packet["proto"] === "tcp" && draw.chance(0.2) ? { flags: draw.pick(["SE", "SC", "SEC", "AC", "AE"]) } : {}),
    ...(local && draw.chance(0.5) ? { uid: draw.pick(UIDS), gid: draw.pick(UIDS) } : {}),
    ...(!local && draw.chance(0.3) ? { src_mac: draw.pick(MACS) } : {}),
  };
}
