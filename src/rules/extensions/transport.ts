// Matches on transport headers that nearly all rule sets have: tcp, udp, icmp, multiport.
//
// Follows libxt_tcp.c, libxt_udp.c, libipt_icmp.c and libxt_multiport.c of iptables 1.8.9.
// An empty range of UDP ports (5:3) is taken, and never matches. Differs: a UDP port above 65535 is refused, which iptables
// takes modulo 65536. Where iptables-save would forget a test that never holds
// (`! --dport 0:65535`, `--tcp-flags NONE SYN`) or the end of a range of ICMP codes, it is printed.

import { ANY_ICMP, icmpTypesByName } from "../../net/icmp.ts";
import { parseNumber } from "../../net/number.ts";
import { PORT_PROTOCOLS, PROTO_ICMP, PROTO_TCP, PROTO_UDP } from "../../net/protocol.ts";
import { optionsOf, type Extension, type Given, type Setting } from "../extension.ts";
import type { Line } from "../line.ts";
import { OLD_NEGATION } from "../names.ts";
import type { IcmpMatch, Match, MultiportMatch, NegatableRange, Range, TcpMatch, UdpMatch } from "../ruleset.ts";
import { integer, not, printRange, printTest, U8_MAX } from "../types.ts";
import { readCPort, readTcpPorts, readUdpPorts } from "../values.ts";

const PORT_OPTIONS = [
  { names: "sport source-port", negatable: true },
  { names: "dport destination-port", negatable: true },
];

const tcp: Extension<TcpMatch> = {
  name: "tcp",
  protos: [PROTO_TCP],
  options: optionsOf([
    ...PORT_OPTIONS,
    { names: "syn", args: 0, negatable: true },
    { names: "tcp-flags", args: 2, negatable: true },
    { names: "tcp-option", negatable: true },
  ]),
  read(given) {
    const { line } = given;
    const syn = given.find("syn");
    const flags = given.find("tcp-flags");
    if (syn !== undefined && flags !== undefined) {
      line.fail("--syn and --tcp-flags cannot stand together in one tcp match", flags.word);
    }
    return {
      kind: "tcp",
      sport: readPortTest(line, given.find("sport"), readTcpPorts),
      dport: readPortTest(line, given.find("dport"), readTcpPorts),
      flags: syn !== undefined ? { ...SYN, negated: syn.negated } : flags !== undefined ? readFlags(line, flags) : null,
      option: readOption(given),
    };
  },
  print: (match) =>
    printPorts(match) +
    printTest("tcp-option", match.option, ({ kind }) => String(kind)) +
    printTest("tcp-flags", match.flags, ({ mask, comp }) => `${flagNames(mask)} ${flagNames(comp)}`),
};

const TCP_OPTION = integer(U8_MAX, 1);

function readOption(given: Given): TcpMatch["option"] {
  const kind = given.get("tcp-option", TCP_OPTION);
  return kind === undefined ? null : { kind, negated: given.negated("tcp-option") };
}

function printPorts({ sport, dport }: UdpMatch | TcpMatch): string {
  const print = (ports: NegatableRange): string => printRange(ports, ":");
  return printTest("sport", sport, print) + printTest("dport", dport, print);
}

const FLAG_NAMES = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"] as const;

function flagNames(bits: number): string {
  return FLAG_NAMES.filter((_, bit) => (bits >> bit) & 1).join(",") || "NONE";
}

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
  protos: [PROTO_UDP],
  options: optionsOf(PORT_OPTIONS),
  read: (given) => ({
    kind: "udp",
    sport: readPortTest(given.line, given.find("sport"), readUdpPorts),
    dport: readPortTest(given.line, given.find("dport"), readUdpPorts),
  }),
  print: printPorts,
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
  family: 4,
  protos: [PROTO_ICMP],
  options: optionsOf([{ names: "icmp-type", negatable: true }]),
  read(given) {
    const { word, argument, negated } = given.need("icmp-type");
    return { kind: "icmp", ...readIcmpType(given.line, word, argument), negated };
  },
  print: (match) => `${not(match)} --icmp-type ${printIcmpType(match.type, match.code)}`,
};

function printIcmpType(type: number, code: Range): string {
  if (type === 255) return "any";
  return code.lo === 0 && code.hi === 255 ? String(type) : `${type}/${printRange(code, ":")}`;
}

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

/** Protocols with ports; multiport works with these alone. */

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
  read({ settings, line, word }) {
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
  print: (match) => `${not(match)} --${match.which} ${match.ports.map((ports) => printRange(ports, ":")).join(",")}`,
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

export const MATCHES: readonly Extension<Match>[] = [tcp, udp, icmp, multiport];
