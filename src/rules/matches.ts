// The match modules: options -> Match. print.ts is the inverse.
//
// Follows the parse functions in extensions/ of iptables 1.8.9 and the checkentry functions of the kernel's modules.
// Differs: empty ranges (5:3) are refused, of which iptables takes some, and they never match; so is a UDP port above
// 65535, which iptables takes modulo 65536.

import { ANY_ICMP, icmpTypesByName } from "../net/icmp.ts";
import { bucketOf } from "../net/limit.ts";
import { parseNumber } from "../net/number.ts";
import {
  formatProtocol,
  PROTO_DCCP,
  PROTO_ICMP,
  PROTO_SCTP,
  PROTO_TCP,
  PROTO_UDP,
  PROTO_UDPLITE,
} from "../net/protocol.ts";
import { optionsOf, type Extension, type Place, type Setting } from "./extension.ts";
import type { Line } from "./line.ts";
import {
  ADDRESS_TYPES,
  CT_STATES,
  type AddrtypeMatch,
  type CommentMatch,
  type ConntrackMatch,
  type CtStateName,
  type IcmpMatch,
  type IprangeMatch,
  type LimitMatch,
  type MarkMatch,
  type Match,
  type MultiportMatch,
  type NegatableRange,
  type Range,
  type StateMatch,
  type StatisticMatch,
  type TcpMatch,
  type UdpMatch,
} from "./ruleset.ts";
import {
  OLD_NEGATION,
  readAddressRange,
  readCPort,
  readMark,
  readNames,
  readNumber,
  readTcpPorts,
  readUdpPorts,
} from "./values.ts";

const PORT_OPTIONS = [
  { names: "sport source-port", negatable: true },
  { names: "dport destination-port", negatable: true },
];

const tcp: Extension<TcpMatch> = {
  name: "tcp",
  proto: PROTO_TCP,
  options: optionsOf([
    ...PORT_OPTIONS,
    { names: "syn", args: 0, negatable: true },
    { names: "tcp-flags", args: 2, negatable: true },
    { names: "tcp-option", negatable: true, modelled: false },
  ]),
  read(settings, { line }) {
    const syn = find(settings, "syn");
    const flags = find(settings, "tcp-flags");
    if (syn !== undefined && flags !== undefined) {
      line.fail("--syn and --tcp-flags cannot stand together in one tcp match", flags.word);
    }
    return {
      kind: "tcp",
      sport: readPortTest(line, find(settings, "sport"), readTcpPorts),
      dport: readPortTest(line, find(settings, "dport"), readTcpPorts),
      flags: syn !== undefined ? { ...SYN, negated: syn.negated } : flags !== undefined ? readFlags(line, flags) : null,
    };
  },
};

/** Bits of the names that --tcp-flags takes. */
const FLAG_BITS: ReadonlyMap<string, number> = new Map([
  ["FIN", 1],
  ["SYN", 2],
  ["RST", 4],
  ["PSH", 8],
  ["ACK", 16],
  ["URG", 32],
  ["ALL", 63],
  ["NONE", 0],
]);

/** `--syn` is `--tcp-flags FIN,SYN,RST,ACK SYN`. */
const SYN = { mask: 1 | 2 | 4 | 16, comp: 2 };

function readFlags(line: Line, setting: Setting): TcpMatch["flags"] {
  const mask = readFlagNames(line, setting.word, setting.argument);
  const comp = readFlagNames(line, setting.word + 1, setting.second);
  // no bit asked and none wanted: always true, and iptables-save forgets it
  return mask === 0 && comp === 0 && !setting.negated ? null : { mask, comp, negated: setting.negated };
}

function readFlagNames(line: Line, word: number, text: string): number {
  let bits = 0;
  for (const name of text.split(",").filter((name) => name !== "")) {
    const bit = FLAG_BITS.get(name.toUpperCase());
    if (name === "!") line.fail(OLD_NEGATION, word);
    if (bit === undefined) {
      return line.failPart(`"${name}" is no TCP flag: ${[...FLAG_BITS.keys()].join(", ")}`, word, name);
    }
    bits |= bit;
  }
  return bits;
}

const udp: Extension<UdpMatch> = {
  name: "udp",
  proto: PROTO_UDP,
  options: optionsOf(PORT_OPTIONS),
  read: (settings, { line }) => ({
    kind: "udp",
    sport: readPortTest(line, find(settings, "sport"), readUdpPorts),
    dport: readPortTest(line, find(settings, "dport"), readUdpPorts),
  }),
};

/** null for no test and for all ports, which iptables-save forgets. */
function readPortTest(
  line: Line,
  setting: Setting | undefined,
  read: (line: Line, word: number, text: string) => Range,
): NegatableRange | null {
  if (setting === undefined) return null;
  const { lo, hi } = read(line, setting.word, setting.argument);
  if (lo === 0 && hi === 65535 && !setting.negated) return null;
  return { lo, hi, negated: setting.negated };
}

const icmp: Extension<IcmpMatch> = {
  name: "icmp",
  proto: PROTO_ICMP,
  options: optionsOf([{ names: "icmp-type", negatable: true }]),
  read(settings, place) {
    const { word, argument, negated } = need(settings, "icmp-type", place);
    return { kind: "icmp", ...readIcmpType(place.line, word, argument), negated };
  },
};

function readIcmpType(line: Line, word: number, text: string): { type: number; code: Range } {
  if (text === "!") line.fail(OLD_NEGATION, word);
  const named = icmpTypesByName(text);
  if (named.length > 1) {
    line.fail(`"${text}" may be ${named.map(([name]) => name).join(" or ")}`, word);
  }
  if (named[0] !== undefined) return named[0][1];

  const slash = text.indexOf("/");
  const type = readIcmpNumbers(line, word, slash < 0 ? text : text.slice(0, slash));
  const code = slash < 0 ? ANY_ICMP.code : readIcmpNumbers(line, word, text.slice(slash + 1));
  if (type.lo !== type.hi) line.fail("a range of ICMP types is not supported by iptables", word);
  return type.lo === ANY_ICMP.type ? ANY_ICMP : { type: type.lo, code };
}

/** `3` or `1:4`. */
function readIcmpNumbers(line: Line, word: number, text: string): Range {
  const [first = "", last = first, more] = text.split(":");
  const lo = parseNumber(first, 255);
  const hi = parseNumber(last, 255);
  if (lo === null || hi === null || more !== undefined) {
    return line.failPart(
      `"${text}" is no ICMP type or code: a name that iptables knows, TYPE or TYPE/CODE`,
      word,
      text,
    );
  }
  if (lo > hi) line.failPart(`the range ${text} is empty`, word, text);
  return { lo, hi };
}

const conntrack: Extension<ConntrackMatch> = {
  name: "conntrack",
  options: optionsOf([
    { names: "ctstate", negatable: true },
    ...[
      "ctproto",
      "ctorigsrc",
      "ctorigdst",
      "ctreplsrc",
      "ctrepldst",
      "ctorigsrcport",
      "ctorigdstport",
      "ctreplsrcport",
      "ctrepldstport",
      "ctstatus",
      "ctexpire",
      "ctdir",
    ].map((names) => ({ names, negatable: true, modelled: false })),
  ]),
  read(settings, place) {
    const { word, argument, negated } = need(settings, "ctstate", place);
    const states = readNames(place.line, word, argument, CT_STATES, "connection state");
    return { kind: "conntrack", states, negated };
  },
};

/** The states that `-m state` takes. */
const PLAIN_STATES: readonly CtStateName[] = CT_STATES.filter((state) => state !== "SNAT" && state !== "DNAT");

const state: Extension<StateMatch> = {
  name: "state",
  options: optionsOf([{ names: "state", negatable: true }]),
  read(settings, place) {
    const { word, argument, negated } = need(settings, "state", place);
    return { kind: "state", states: readNames(place.line, word, argument, PLAIN_STATES, "connection state"), negated };
  },
};

const addrtype: Extension<AddrtypeMatch> = {
  name: "addrtype",
  options: optionsOf([
    { names: "src-type", negatable: true },
    { names: "dst-type", negatable: true },
    { names: "limit-iface-in", args: 0 },
    { names: "limit-iface-out", args: 0 },
  ]),
  read(settings, { line, word }) {
    const [src, dst] = ["src-type", "dst-type"].map((key) => {
      const setting = find(settings, key);
      if (setting === undefined) return null;
      const types = readNames(line, setting.word, setting.argument, ADDRESS_TYPES, "address type");
      return { types, negated: setting.negated };
    });
    if (!src && !dst) line.fail("addrtype needs --src-type or --dst-type", word);
    const limitIn = find(settings, "limit-iface-in");
    const limitOut = find(settings, "limit-iface-out");
    if (limitIn && limitOut) {
      line.fail("--limit-iface-in and --limit-iface-out cannot stand together", Math.max(limitIn.word, limitOut.word));
    }
    return {
      kind: "addrtype",
      srcTypes: src ?? null,
      dstTypes: dst ?? null,
      limitIface: limitIn ? "in" : limitOut ? "out" : null,
    };
  },
};

const mark: Extension<MarkMatch> = {
  name: "mark",
  options: optionsOf([{ names: "mark", negatable: true }]),
  read(settings, place) {
    const { word, argument, negated } = need(settings, "mark", place);
    return { kind: "mark", ...readMark(place.line, word, argument), negated };
  },
};

/** Protocols with ports; multiport works with these alone. */
const PORT_PROTOCOLS: readonly number[] = [PROTO_TCP, PROTO_UDP, PROTO_UDPLITE, PROTO_SCTP, PROTO_DCCP];

/** XT_MULTI_PORTS: a range counts two. */
const MULTIPORT_COUNT = 15;

const multiport: Extension<MultiportMatch> = {
  name: "multiport",
  asksProto: true,
  options: optionsOf([
    { names: "sports source-ports", negatable: true },
    { names: "dports destination-ports", negatable: true },
    { names: "ports", negatable: true },
  ]),
  read(settings, { line, word }) {
    const [setting, another] = settings;
    if (setting === undefined) return line.fail("multiport needs --sports, --dports or --ports", word);
    if (another !== undefined)
      line.fail("multiport takes one list; write -m multiport again for another", another.word);
    if (setting.proto === 0) {
      line.fail("multiport needs -p tcp, udp, udplite, sctp or dccp in front of it", setting.word);
    }
    if (setting.protoNegated || !PORT_PROTOCOLS.includes(setting.proto)) {
      line.fail("multiport works only with -p tcp, udp, udplite, sctp or dccp, not negated", setting.word);
    }
    return {
      kind: "multiport",
      which: setting.key as MultiportMatch["which"],
      ports: readPortList(line, setting.word, setting.argument, setting.proto),
      negated: setting.negated,
    };
  },
};

function readPortList(line: Line, word: number, text: string, proto: number): readonly Range[] {
  let count = 0;
  return text.split(",").map((item) => {
    const colon = item.indexOf(":");
    count += colon < 0 ? 1 : 2;
    if (count > MULTIPORT_COUNT) {
      line.fail(`too many ports: multiport takes ${MULTIPORT_COUNT}, and a range counts two`, word);
    }
    const lo = readCPort(line, word, colon < 0 ? item : item.slice(0, colon), proto);
    if (colon < 0) return { lo, hi: lo };
    const hi = readCPort(line, word, item.slice(colon + 1), proto);
    if (lo >= hi) line.failPart(`the range ${item} must rise; for one port write it alone`, word, item);
    return { lo, hi };
  });
}

/** XT_MAX_COMMENT_LEN less the NUL. */
const COMMENT_BYTES = 255;

const comment: Extension<CommentMatch> = {
  name: "comment",
  options: optionsOf([{ names: "comment" }]),
  read: (settings, place) => ({
    kind: "comment",
    comment: truncate(need(settings, "comment", place).argument, COMMENT_BYTES),
  }),
};

/** The first `bytes` bytes of the text in UTF-8: what the kernel's buffer holds. Whole characters only. */
export function truncate(text: string, bytes: number): string {
  // a UTF-16 unit takes at most three bytes
  if (text.length * 3 <= bytes) return text;
  const buffer = new Uint8Array(bytes);
  const { read } = new TextEncoder().encodeInto(text, buffer);
  return text.slice(0, read);
}

const iprange: Extension<IprangeMatch> = {
  name: "iprange",
  options: optionsOf([
    { names: "src-range", negatable: true },
    { names: "dst-range", negatable: true },
  ]),
  read(settings, { line, word }) {
    if (settings.length === 0) line.fail("iprange needs --src-range or --dst-range", word);
    const [src, dst] = ["src-range", "dst-range"].map((key) => {
      const setting = find(settings, key);
      if (setting === undefined) return null;
      return { ...readAddressRange(line, setting.word, setting.argument), negated: setting.negated };
    });
    return { kind: "iprange", src: src ?? null, dst: dst ?? null };
  },
};

const limit: Extension<LimitMatch> = {
  name: "limit",
  options: optionsOf([{ names: "limit" }, { names: "limit-burst" }]),
  read(settings, { line, word }) {
    const rate = find(settings, "limit");
    const burst = find(settings, "limit-burst");
    const match: LimitMatch = {
      kind: "limit",
      average: rate === undefined ? DEFAULT_AVERAGE : readRate(line, rate.word, rate.argument),
      burst: burst === undefined ? 5 : readNumber(line, burst.word, burst.argument, 1, 10000),
    };
    const { cost, cap } = bucketOf(match.average, match.burst);
    if (cap < cost) {
      line.fail("the kernel refuses this limit: so many tokens at so slow a rate overflow its counter", word);
    }
    return match;
  },
};

/** XT_LIMIT_SCALE: units of `average` in a second. */
const LIMIT_SCALE = 10_000;

/** 3/hour */
const DEFAULT_AVERAGE = (LIMIT_SCALE * 3600) / 3;

/** Seconds of the units, each of which may be abbreviated to one letter. */
const RATE_UNITS = [
  ["second", 1],
  ["minute", 60],
  ["hour", 3600],
  ["day", 86400],
] as const;

/** `5`, `5/s`, `5/minute` (parse_rate() in libxt_limit.c). */
function readRate(line: Line, word: number, text: string): number {
  const [, count = "", slash, unit = ""] = /^(\d+)(\/(.*))?$/.exec(text) ?? [];
  const seconds =
    slash === undefined ? 1 : RATE_UNITS.find(([name]) => unit !== "" && name.startsWith(unit.toLowerCase()))?.[1];
  const rate = Number(count);
  if (count === "" || seconds === undefined || rate === 0 || rate > 0x7fffffff) {
    return line.fail(`"${text}" is no rate: NUMBER, or NUMBER/second, minute, hour or day`, word);
  }
  const average = Math.floor((LIMIT_SCALE * seconds) / rate);
  if (average === 0) line.fail(`the rate ${text} is too fast: 10000 a second is the most`, word);
  return average;
}

const statistic: Extension<StatisticMatch> = {
  name: "statistic",
  options: optionsOf([
    { names: "mode" },
    { names: "probability", negatable: true },
    { names: "every", negatable: true },
    { names: "packet" },
  ]),
  read(settings, place) {
    const { line } = place;
    const mode = need(settings, "mode", place);
    const probability = find(settings, "probability");
    const every = find(settings, "every");
    const packet = find(settings, "packet");
    if (mode.argument === "random") {
      const stray = every ?? packet;
      if (stray !== undefined) line.fail("--every and --packet belong to --mode nth", stray.word);
      if (probability === undefined) return line.fail("--mode random needs --probability", mode.word);
      return {
        kind: "statistic",
        mode: "random",
        probability: readProbability(line, probability.word, probability.argument),
        negated: probability.negated,
      };
    }
    if (mode.argument !== "nth") line.fail(`"${mode.argument}" is no mode: random or nth`, mode.word);
    if (probability !== undefined) line.fail("--probability belongs to --mode random", probability.word);
    if (every === undefined || packet === undefined) {
      return line.fail("--mode nth needs --every and --packet", mode.word);
    }
    const n = readNumber(line, every.word, every.argument, 1, 0xffffffff);
    return {
      kind: "statistic",
      mode: "nth",
      every: n,
      packet: readNumber(line, packet.word, packet.argument, 0, n - 1),
      negated: every.negated,
    };
  },
};

/** In units of 2^-31, to the nearest (lround()). */
function readProbability(line: Line, word: number, text: string): number {
  const value = /^(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) ? Number(text) : NaN;
  if (!(value >= 0 && value <= 1)) return line.fail(`"${text}" is no probability: 0 to 1`, word);
  return Math.round(0x80000000 * value);
}

function find(settings: readonly Setting[], key: string): Setting | undefined {
  return settings.find((setting) => setting.key === key);
}

function need(settings: readonly Setting[], key: string, { line, word }: Place): Setting {
  return find(settings, key) ?? line.fail(`this match needs --${key}`, word);
}

/** By name. */
export const MATCHES: ReadonlyMap<string, Extension<Match>> = new Map(
  [tcp, udp, icmp, conntrack, state, addrtype, mark, multiport, comment, iprange, limit, statistic].map((extension) => [
    extension.name,
    extension,
  ]),
);

/** The sentence for a match whose protocol the rule does not ask. */
export function protocolMissing(extension: Extension<Match>): string {
  return `match ${extension.name} needs -p ${formatProtocol(extension.proto ?? 0)}, not negated`;
}
