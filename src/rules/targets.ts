// The target modules: options -> Target. print.ts is the inverse.
//
// Follows the parse functions in extensions/ of iptables 1.8.9. Where in the tables a target may stand is the
// kernel's question: check.ts.

import { parseAddress } from "../net/address.ts";
import { parseNumber } from "../net/number.ts";
import { PROTO_DCCP, PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP } from "../net/protocol.ts";
import { servicePort } from "../net/service.ts";
import { optionsOf, type Extension, type Place, type Setting } from "./extension.ts";
import type { Line } from "./line.ts";
import { truncate } from "./matches.ts";
import type { LogTarget, MarkTarget, NatRange, Range, RejectKind, Target } from "./ruleset.ts";
import { readMark, readNumber } from "./values.ts";

const log: Extension<LogTarget> = {
  name: "LOG",
  options: optionsOf([
    { names: "log-level" },
    { names: "log-prefix" },
    { names: "log-tcp-sequence", args: 0 },
    { names: "log-tcp-options", args: 0 },
    { names: "log-ip-options", args: 0 },
    { names: "log-uid", args: 0 },
    { names: "log-macdecode", args: 0 },
  ]),
  read(settings, { line }) {
    const level = find(settings, "log-level");
    const prefix = find(settings, "log-prefix");
    if (prefix?.argument === "") line.fail("the prefix is empty; leave --log-prefix out", prefix.word);
    const has = (key: string) => find(settings, key) !== undefined;
    return {
      kind: "LOG",
      level: level === undefined ? DEFAULT_LEVEL : readLevel(line, level.word, level.argument),
      prefix: truncate(prefix?.argument ?? "", PREFIX_BYTES),
      tcpSequence: has("log-tcp-sequence"),
      tcpOptions: has("log-tcp-options"),
      ipOptions: has("log-ip-options"),
      uid: has("log-uid"),
      macdecode: has("log-macdecode"),
    };
  },
};

/** struct xt_log_info has 30 bytes for the prefix, the last one zero; iptables cuts without a word. */
const PREFIX_BYTES = 29;

const LOG_LEVELS: ReadonlyMap<string, number> = new Map([
  ["emerg", 0],
  ["panic", 0],
  ["alert", 1],
  ["crit", 2],
  ["error", 3],
  ["warning", 4],
  ["notice", 5],
  ["info", 6],
  ["debug", 7],
]);

/** LOG_WARNING */
export const DEFAULT_LEVEL = 4;

function readLevel(line: Line, word: number, text: string): number {
  const level = parseNumber(text, 7) ?? LOG_LEVELS.get(text);
  return level ?? line.fail(`"${text}" is no level: 0..7, ${[...LOG_LEVELS.keys()].join(", ")}`, word);
}

const mark: Extension<MarkTarget> = {
  name: "MARK",
  options: optionsOf([
    { names: "set-xmark" },
    { names: "set-mark" },
    { names: "and-mark" },
    { names: "or-mark" },
    { names: "xor-mark" },
  ]),
  read(settings, { line, word }) {
    const [setting, another] = settings;
    if (setting === undefined)
      return line.fail("MARK needs --set-xmark, --set-mark, --and-, --or- or --xor-mark", word);
    if (another !== undefined) line.fail("MARK takes one option", another.word);
    if (setting.key === "set-xmark" || setting.key === "set-mark") {
      const { value, mask } = readMark(line, setting.word, setting.argument);
      return { kind: "MARK", value, mask: setting.key === "set-mark" ? (mask | value) >>> 0 : mask };
    }
    const bits = readNumber(line, setting.word, setting.argument, 0, 0xffffffff);
    if (setting.key === "and-mark") return { kind: "MARK", value: 0, mask: ~bits >>> 0 };
    return { kind: "MARK", value: bits, mask: setting.key === "or-mark" ? bits : 0 };
  },
};

const reject: Extension<Target> = {
  name: "REJECT",
  options: optionsOf([{ names: "reject-with" }]),
  read(settings, { line }) {
    const setting = find(settings, "reject-with");
    if (setting === undefined) return { kind: "REJECT", with: "icmp-port-unreachable" };
    const wanted = setting.argument.toLowerCase();
    const found = REJECT_NAMES.find(([name, alias]) => name.startsWith(wanted) || alias.startsWith(wanted));
    if (found === undefined || wanted === "") {
      const names = REJECT_NAMES.map(([name]) => name).join(", ");
      return line.fail(`"${setting.argument}" is no answer: ${names}`, setting.word);
    }
    return { kind: "REJECT", with: found[0] };
  },
};

/** With the short forms; an abbreviation means the first that fits. */
const REJECT_NAMES: readonly (readonly [RejectKind, string])[] = [
  ["icmp-net-unreachable", "net-unreach"],
  ["icmp-host-unreachable", "host-unreach"],
  ["icmp-proto-unreachable", "proto-unreach"],
  ["icmp-port-unreachable", "port-unreach"],
  ["icmp-net-prohibited", "net-prohib"],
  ["icmp-host-prohibited", "host-prohib"],
  ["tcp-reset", "tcp-rst"],
  ["icmp-admin-prohibited", "admin-prohib"],
];

const dnat: Extension<Target> = {
  name: "DNAT",
  asksProto: true,
  options: optionsOf([{ names: "to-destination" }, { names: "random", args: 0 }, { names: "persistent", args: 0 }]),
  read(settings, place) {
    const to = find(settings, "to-destination") ?? place.line.fail("DNAT needs --to-destination", place.word);
    return { kind: "DNAT", range: { ...readFlags(settings), ...readTo(place.line, to, true) } };
  },
};

const snat: Extension<Target> = {
  name: "SNAT",
  asksProto: true,
  options: optionsOf([
    { names: "to-source" },
    { names: "random", args: 0 },
    { names: "random-fully", args: 0 },
    { names: "persistent", args: 0 },
  ]),
  read(settings, place) {
    const to = find(settings, "to-source") ?? place.line.fail("SNAT needs --to-source", place.word);
    return { kind: "SNAT", range: { ...readFlags(settings), ...readTo(place.line, to, false) } };
  },
};

const masquerade: Extension<Target> = {
  name: "MASQUERADE",
  asksProto: true,
  options: optionsOf([{ names: "to-ports" }, { names: "random", args: 0 }, { names: "random-fully", args: 0 }]),
  read: (settings, place) => ({ kind: "MASQUERADE", range: readToPorts(settings, place) }),
};

const redirect: Extension<Target> = {
  name: "REDIRECT",
  asksProto: true,
  options: optionsOf([{ names: "to-ports" }, { names: "random", args: 0 }]),
  read: (settings, place) => ({ kind: "REDIRECT", range: readToPorts(settings, place) }),
};

type Flags = Pick<NatRange, "random" | "randomFully" | "persistent">;
type PortMap = Pick<NatRange, "ports" | "basePort">;

function readFlags(settings: readonly Setting[]): Flags {
  return {
    random: find(settings, "random") !== undefined,
    randomFully: find(settings, "random-fully") !== undefined,
    persistent: find(settings, "persistent") !== undefined,
  };
}

function readToPorts(settings: readonly Setting[], { line }: Place): NatRange {
  const to = find(settings, "to-ports");
  const map = to === undefined ? NO_PORTS : readPortMap(line, to, to.argument, false);
  return { ...readFlags(settings), addresses: null, ...map };
}

const NO_PORTS: PortMap = { ports: null, basePort: null };

/** `ADDRESS[-ADDRESS][:PORTS]` or `:PORTS` (parse_to() in libxt_NAT.c). */
function readTo(line: Line, to: Setting, shift: boolean): PortMap & { addresses: Range | null } {
  const text = to.argument;
  if (text.includes("[") || text.indexOf(":") !== text.lastIndexOf(":")) {
    line.fail(`"${text}" holds an IPv6 address; IPv6 is not modelled yet`, to.word);
  }
  const colon = text.indexOf(":");
  const map = colon < 0 ? NO_PORTS : readPortMap(line, to, text.slice(colon + 1), shift);
  if (colon === 0) return { addresses: null, ...map };

  const host = colon < 0 ? text : text.slice(0, colon);
  const dash = host.indexOf("-");
  const [lo, hi] = (dash < 0 ? [host, host] : [host.slice(0, dash), host.slice(dash + 1)]).map(
    (address) => parseAddress(address) ?? line.failPart(`"${address}" is no IPv4 address`, to.word, address),
  );
  if (lo! > hi!) line.failPart(`the range ${host} is empty`, to.word, host);
  return { addresses: { lo: lo!, hi: hi! }, ...map };
}

/** Protocols whose ports (for ICMP: ids) can be mapped. The option asks what `-p` has said before it, negated or not. */
const MAPPED_PROTOCOLS: readonly number[] = [PROTO_TCP, PROTO_UDP, PROTO_SCTP, PROTO_DCCP, PROTO_ICMP];

/** `PORT`, `LO-HI`, and for DNAT `LO-HI/BASE` (parse_ports() in libxt_NAT.c). */
function readPortMap(line: Line, setting: Setting, text: string, shift: boolean): PortMap {
  const { word } = setting;
  if (!MAPPED_PROTOCOLS.includes(setting.proto)) {
    line.fail("ports need -p tcp, udp, sctp, dccp or icmp in front of this option", word);
  }
  const service = servicePort(text);
  if (service !== null) return { ports: { lo: service, hi: service }, basePort: null };
  // no service names in a range, but for the base
  const [, first = "", last = first, base] = /^(\w+)(?:-(\w+)(?:\/([\w-]+))?)?$/.exec(text) ?? [];
  const lo = parseNumber(first, 65535);
  const hi = parseNumber(last, 65535);
  if (lo === null || hi === null) {
    return line.failPart(`"${text}" is no port and no range: PORT or LO-HI, 0..65535`, word, text);
  }
  if (lo > hi) line.failPart(`the range ${text} is empty`, word, text);
  if (base === undefined) return { ports: { lo, hi }, basePort: null };
  if (!shift) line.failPart("only DNAT shifts ports by /BASE", word, text);
  const port = parseNumber(base, 65535) ?? servicePort(base);
  if (port === null || port === 0) return line.failPart(`"${base}" is no port in 1..65535`, word, base);
  return { ports: { lo, hi }, basePort: port };
}

function find(settings: readonly Setting[], key: string): Setting | undefined {
  return settings.find((setting) => setting.key === key);
}

/** By name. */
export const TARGETS: ReadonlyMap<string, Extension<Target>> = new Map(
  [log, mark, reject, dnat, snat, masquerade, redirect].map((extension: Extension<Target>) => [
    extension.name,
    extension,
  ]),
);
