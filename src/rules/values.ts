// Arguments of options that several modules share: ports, marks, addresses, interfaces. Each throws RuleError.

import { formatAddress, parseMask, parseNetwork } from "../net/address.ts";
import { parseAddress6, prefixMask6 } from "../net/address6.ts";
import { parseDecimal, parseNumber } from "../net/number.ts";
import { servicePort } from "../net/service.ts";
import type { Line } from "./line.ts";
import { OLD_NEGATION } from "./names.ts";
import type { Address6Test, AddressTest, Family, InterfaceTest, Range } from "./ruleset.ts";

/** A number as C writes it, decimal, octal or hexadecimal. */
export function readNumber(line: Line, word: number, text: string, min: number, max: number): number {
  const value = parseNumber(text, max);
  if (value !== null && value >= min) return value;
  return line.failPart(`"${text}" is no whole number in ${min}..${max}`, word, text);
}

/** @param read how iptables reads a number here; null if it is none, or too large */
function readPort(
  line: Line,
  word: number,
  text: string,
  proto: number | undefined,
  read: (text: string, max: number) => number | null,
): number {
  const port = read(text, 65535) ?? servicePort(text, proto);
  if (port !== null) return port;
  if (/^\d+$/.test(text)) return line.failPart(`port ${text} is out of range 0..65535`, word, text);
  if (text === "!") return line.failPart(OLD_NEGATION, word, text);
  return line.failPart(
    `"${text}" is no port number, nor the name of a service that Debian's /etc/services has for this protocol`,
    word,
    text,
  );
}

/** A port or the name of a service of `proto`; of any protocol without it (xtables_parse_port()). */
export function readCPort(line: Line, word: number, text: string, proto?: number): number {
  return readPort(line, word, text, proto, parseNumber);
}

/** `80`, `80:90`, `:80`, `1024:` as the tcp match reads it: numbers as in C, services of TCP. */
export function readTcpPorts(line: Line, word: number, text: string): Range {
  const range = readPorts(line, word, text, (port) => readPort(line, word, port, 6, parseNumber));
  if (range.lo > range.hi) line.fail(`the range ${text} is empty: ${range.lo} is above ${range.hi}`, word);
  return range;
}

/** The same as the udp match reads it (XTTYPE_PORTRC): decimal numbers, services of any protocol. May be empty. */
export function readUdpPorts(line: Line, word: number, text: string): Range {
  return readPorts(line, word, text, (port) => readPort(line, word, port, undefined, parseDecimal));
}

function readPorts(line: Line, word: number, text: string, read: (text: string) => number): Range {
  const parts = text.split(":");
  if (parts.length > 2) line.fail(`"${text}" is no port or range of ports; a range is LO:HI`, word);
  const [first = "", last = first] = parts;
  const range = {
    lo: first === "" && parts.length === 2 ? 0 : read(first),
    hi: last === "" && parts.length === 2 ? 65535 : read(last),
  };
  return range;
}

/** The argument of `-s` or `-d`: one address with or without mask, or a list of them. */
export function readAddresses(line: Line, word: number, text: string, negated: boolean): readonly AddressTest[] {
  return itemsOf(line, text, 4).map((item) => readAddress(line, word, item, negated));
}

/** The members of a list, with the addresses of a host in place of its name. */
function itemsOf(line: Line, text: string, family: Family): readonly string[] {
  return text.split(",").flatMap((item) => {
    const [, name = "", mask = ""] = /^\s*([^/]*)(.*)$/.exec(item)!;
    const addresses = line.addressesOf(name, family);
    return addresses.length === 0 ? [item.trimStart()] : addresses.map((address) => address + mask);
  });
}

function readAddress(line: Line, word: number, text: string, negated: boolean): AddressTest {
  if (text.includes(":")) line.failPart(`${text} is an IPv6 address, and these rules are of IPv4`, word, text);
  const slash = text.lastIndexOf("/");
  const mask = slash < 0 ? 0xffffffff : parseMask(text.slice(slash + 1));
  if (mask === null) {
    return line.failPart(`"${text.slice(slash + 1)}" is no mask: write 0..32 or four parts`, word, text);
  }
  // a mask of zero: iptables does not even read the address
  if (mask === 0) return { address: 0, mask: 0, negated };
  const name = slash < 0 ? text : text.slice(0, slash);
  const address = parseNetwork(name);
  if (address !== null) return { address: (address & mask) >>> 0, mask, negated };
  if (name === "!") line.failPart(OLD_NEGATION, word, name);
  if (/^[\d.]*$/.test(name)) line.failPart(`"${name}" is no IPv4 address`, word, name);
  return line.failPart(
    `"${name}" is a host name, which is not looked up here: write the address, or --resolve ${name}=ADDRESS`,
    word,
    name,
  );
}

/** The same of IPv6 (xtables_ip6parse_multiple()). */
export function readAddresses6(line: Line, word: number, text: string, negated: boolean): readonly Address6Test[] {
  return itemsOf(line, text, 6).map((item) => readAddress6(line, word, item, negated));
}

function readAddress6(line: Line, word: number, text: string, negated: boolean): Address6Test {
  const slash = text.lastIndexOf("/");
  const length = slash < 0 ? "128" : text.slice(slash + 1);
  const bits = parseNumber(length, 128);
  const mask = bits === null ? parseAddress6(length) : prefixMask6(bits);
  if (mask === null) return line.failPart(`"${length}" is no mask: write 0..128 or the form of an address`, word, text);
  if (mask === 0n) return { address: 0n, mask, negated };
  const name = slash < 0 ? text : text.slice(0, slash);
  const address = parseAddress6(name);
  if (address !== null) return { address: address & mask, mask, negated };
  if (name === "!") line.failPart(OLD_NEGATION, word, name);
  if (/^[\d.]+$/.test(name)) line.failPart(`${name} is an IPv4 address, and these rules are of IPv6`, word, name);
  return line.failPart(
    `"${name}" is no IPv6 address; host names are not looked up here: --resolve ${name}=ADDRESS`,
    word,
    name,
  );
}

/** The argument of `-i` or `-o`. */
export function readInterface(line: Line, word: number, text: string, negated: boolean): InterfaceTest {
  if (text === "") line.fail("the name of the interface is empty", word);
  if (text === "!") line.fail(OLD_NEGATION, word);
  if (text.length > 15) line.fail(`"${text}" is too long: an interface has 15 characters at most`, word);
  const wildcard = text.endsWith("+");
  return { name: wildcard ? text.slice(0, -1) : text, wildcard, negated };
}

/** `LO-HI` or one address (xtables_numeric_to_ipaddr()). */
export function readAddressRange(line: Line, word: number, text: string): Range {
  const dash = text.indexOf("-");
  const ends = dash < 0 ? [text, text] : [text.slice(0, dash), text.slice(dash + 1)];
  const [lo, hi] = ends.map((end) => {
    if (end === "!") line.fail(OLD_NEGATION, word);
    return parseNetwork(end) ?? line.failPart(`"${end}" is no IPv4 address`, word, end);
  });
  if (lo! > hi!) {
    line.fail(`the range is empty: ${formatAddress(lo!)} is above ${formatAddress(hi!)}`, word);
  }
  return { lo: lo!, hi: hi! };
}

/**
 * The members of a list such as `NEW,ESTABLISHED`, in the order of `names`. Any case; an abbreviation means the first
 * of `names` that begins with it, as strncasecmp() has it in iptables.
 */
export function readNames<T extends string>(
  line: Line,
  word: number,
  text: string,
  names: readonly T[],
  what: string,
): readonly T[] {
  const found = new Set<T>();
  for (const item of text.split(",")) {
    if (item === "!") line.fail(OLD_NEGATION, word);
    const name = item === "" ? undefined : names.find((name) => name.startsWith(item.toUpperCase()));
    if (name === undefined) return line.failPart(`"${item}" is no ${what}: ${names.join(", ")}`, word, item);
    found.add(name);
  }
  return names.filter((name) => found.has(name));
}
