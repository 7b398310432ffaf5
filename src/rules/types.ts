// Arguments of options, by kind: text <-> value. What xtoptions.c calls XTTYPE_.
//
// Differs: ranges that are empty (4:3), of which iptables takes some, are refused: they never match.

import { parseAddress6, formatAddress6, prefixMask6, formatMask6 } from "../net/address6.ts";
import { formatAddress, formatMask, parseAddress, parseNetwork, prefixMask } from "../net/address.ts";
import { parseNumber, parseNumber64 } from "../net/number.ts";
import { parseProtocol } from "../net/protocol.ts";
import { servicePort } from "../net/service.ts";
import type { Line } from "./line.ts";
import { OLD_NEGATION } from "./names.ts";
import type { Family, MaskedValue, Range } from "./ruleset.ts";

/** A kind of argument. */
export interface Value<T> {
  /** Throws RuleError. */
  read(line: Line, word: number, text: string, family: Family): T;
  /** As iptables-save prints it. */
  print(value: T, family: Family): string;
  /** What is printed of a value that says nothing; then, unless it is negated, the option is not printed at all. */
  readonly idle?: string;
}

/** A whole number as C writes it, up to 2^53. */
export function integer(max: number, min = 0, print: (value: number) => string = String): Value<number> {
  return {
    read(line, word, text) {
      const value = parseNumber(text, max);
      if (value !== null && value >= min) return value;
      return refuse(line, word, text, `"${text}" is no whole number in ${min}..${max}`);
    },
    print,
  };
}

export const U8_MAX = 0xff;
export const U16_MAX = 0xffff;
export const U32_MAX = 0xffffffff;
export const u8: Value<number> = integer(U8_MAX);
export const u16: Value<number> = integer(U16_MAX);
export const u32: Value<number> = integer(U32_MAX);
export const hex32: Value<number> = integer(U32_MAX, 0, hex);

export const U64_MAX = 0xffff_ffff_ffff_ffffn;

export const u64: Value<bigint> = {
  read: (line, word, text) =>
    parseNumber64(text) ?? refuse(line, word, text, `"${text}" is no whole number of 64 bits`),
  print: String,
};

/** `LO`, `LO:HI`, `:HI`, `LO:`. */
export function rangeOf(max: number): Value<Range> {
  return {
    read(line, word, text) {
      const parts = text.split(":");
      if (parts.length > 2) refuse(line, word, text, `"${text}" is no number and no range LO:HI`);
      const [first = "", last] = parts;
      const lo = first === "" && last !== undefined ? 0 : parseNumber(first, max);
      const hi = last === undefined ? lo : last === "" ? max : parseNumber(last, max);
      if (lo === null || hi === null) {
        return refuse(line, word, text, `"${text}" is no whole number and no range LO:HI in 0..${max}`);
      }
      if (lo > hi) refuse(line, word, text, `the range ${text} is empty: ${lo} is above ${hi}`);
      return { lo, hi };
    },
    print: (range) => printRange(range, ":"),
  };
}

export function printRange(
  { lo, hi }: { readonly lo: number | bigint; readonly hi: number | bigint },
  between: string,
): string {
  return lo === hi ? String(lo) : `${lo}${between}${hi}`;
}

/** Ports by number or by the name of a service of any protocol. */
export const port: Value<number> = {
  read(line, word, text) {
    const value = parseNumber(text, U16_MAX) ?? servicePort(text);
    return (
      value ??
      refuse(line, word, text, `"${text}" is no port, nor the name of a service that Debian's /etc/services has`)
    );
  },
  print: String,
};

/** `PORT`, `LO:HI`, `:HI`, `LO:`. */
export const portRange: Value<Range> = {
  read(line, word, text, family) {
    const [first = "", last, more] = text.split(":");
    if (more !== undefined) refuse(line, word, text, `"${text}" is no port and no range LO:HI`);
    if (last === undefined && first === "") refuse(line, word, text, "a port is missing");
    const lo = first === "" ? 0 : port.read(line, word, first, family);
    const hi = last === undefined ? lo : last === "" ? U16_MAX : port.read(line, word, last, family);
    if (lo > hi) refuse(line, word, text, `the range ${text} is empty: ${lo} is above ${hi}`);
    return { lo, hi };
  },
  print: (range) => printRange(range, ":"),
};

/** `VALUE` or `VALUE/MASK`; the mask is all ones if left out. */
export const mark: Value<MaskedValue> = {
  read(line, word, text, family) {
    if (text === "!") line.fail(OLD_NEGATION, word);
    const [value = "", mask, more] = text.split("/");
    if (more !== undefined) refuse(line, word, text, `"${text}" is no VALUE/MASK`);
    return {
      value: u32.read(line, word, value, family),
      mask: mask === undefined ? U32_MAX : u32.read(line, word, mask, family),
    };
  },
  print: ({ value, mask }) => (mask === U32_MAX ? hex(value) : `${hex(value)}/${hex(mask)}`),
};

const TOS_NAMES: ReadonlyMap<string, number> = new Map([
  ["minimize-delay", 0x10],
  ["maximize-throughput", 0x08],
  ["maximize-reliability", 0x04],
  ["minimize-cost", 0x02],
  ["normal-service", 0],
]);

/** `VALUE`, `VALUE/MASK` or a name, which means the six upper bits that names speak of. */
export const tos: Value<MaskedValue> = {
  read(line, word, text, family) {
    const named = TOS_NAMES.get(text.toLowerCase());
    if (named !== undefined) return { value: named, mask: 0x3f };
    const [value = "", mask, more] = text.split("/");
    if (more !== undefined) refuse(line, word, text, `"${text}" is no VALUE/MASK and no name of a type of service`);
    return {
      value: u8.read(line, word, value, family),
      mask: mask === undefined ? U8_MAX : u8.read(line, word, mask, family),
    };
  },
  print: ({ value, mask }) => `${hexByte(value)}/${hexByte(mask)}`,
};

export const DSCP_MAX = 0x3f;

/** `CS1`, `AF21`, `EF`, `BE`. */
export const dscpClass: Value<number> = {
  read(line, word, text) {
    const name = text.toUpperCase();
    const [, kind, first = 0, second = 0] = /^(CS|AF)([0-7])([1-3])?$/.exec(name) ?? [];
    if (name === "EF") return 0x2e;
    if (name === "BE") return 0;
    if (kind === "CS" && second === 0) return Number(first) * 8;
    const low = Number(first);
    if (kind === "AF" && low >= 1 && low <= 4 && second !== 0) return low * 8 + Number(second) * 2;
    return refuse(line, word, text, `"${text}" is no class: BE, EF, CS0 to CS7, AF11 to AF43`);
  },
  print: hexByte,
};

/** Any text of `min` to `max` bytes. */
export function string(max = Number.POSITIVE_INFINITY, min = 0): Value<string> {
  return {
    read(line, word, text) {
      const { length } = new TextEncoder().encode(text);
      if (length < min) refuse(line, word, text, `"${text}" is too short: ${min} bytes at least`);
      if (length > max) refuse(line, word, text, `"${text}" is too long: ${max} bytes at most`);
      return text;
    },
    print: quote,
  };
}

/** One of a few words. Any case, if `anyCase`. */
export function oneOf<T extends string>(words: readonly T[], anyCase = false): Value<T> {
  return {
    read(line, word, text) {
      const found = words.find((each) => each === text || (anyCase && each.toLowerCase() === text.toLowerCase()));
      return found ?? refuse(line, word, text, `"${text}" is none of ${words.join(", ")}`);
    },
    print: (value) => value,
  };
}

export const protocol: Value<number> = {
  read: (line, word, text) =>
    parseProtocol(text) ??
    refuse(line, word, text, `"${text}" is no protocol: 0..255 or a name of /etc/protocols, as Debian has it`),
  print: String,
};

/** An address of the rule set's family: a number, IPv6 a bigint. */
export type AnyAddress = number | bigint;

export const host: Value<AnyAddress> = {
  read(line, word, name, family) {
    const [text = name, more] = line.addressesOf(name, family);
    if (more !== undefined) line.failPart(`host ${name} has several addresses; one is wanted here`, word, name);
    const address = family === 6 ? parseAddress6(text) : (parseAddress(text) ?? parseNetwork(text));
    return address ?? refuse(line, word, text, `"${text}" is no IPv${family} address; host names are not looked up`);
  },
  print: printAddress,
};

function printAddress(address: AnyAddress): string {
  return typeof address === "bigint" ? formatAddress6(address) : formatAddress(address);
}

export interface MaskedAddress {
  readonly address: AnyAddress;
  readonly mask: AnyAddress;
}

/** `ADDRESS` or `ADDRESS/MASK`; the mask a length or an address. The address is not masked. */
export const hostMask: Value<MaskedAddress> = {
  read(line, word, text, family) {
    const slash = text.indexOf("/");
    if (slash < 0)
      return { address: host.read(line, word, text, family), mask: prefixOf(family === 6 ? 128 : 32, family) };
    return {
      address: host.read(line, word, text.slice(0, slash), family),
      mask: mask.read(line, word, text.slice(slash + 1), family),
    };
  },
  print({ address, mask }, family) {
    const length = printMask(mask);
    const all = family === 6 ? "128" : "32";
    return length === all ? printAddress(address) : `${printAddress(address)}/${length}`;
  },
};

/** A length, or a mask in the form of an address. */
export const mask: Value<AnyAddress> = {
  read(line, word, text, family) {
    const most = family === 6 ? 128 : 32;
    const length = parseNumber(text, most);
    if (length !== null) return prefixOf(length, family);
    const mask = family === 6 ? parseAddress6(text) : parseAddress(text);
    return mask ?? refuse(line, word, text, `"${text}" is no mask: 0..${most} or the form of an address`);
  },
  print: printMask,
};

function prefixOf(length: number, family: Family): AnyAddress {
  return family === 6 ? prefixMask6(length) : prefixMask(length);
}

function printMask(mask: AnyAddress): string {
  return typeof mask === "bigint" ? formatMask6(mask) : formatMask(mask);
}

/** `01:02:03:04:05:06` as 6 bytes of a number. */
export const mac: Value<number> = {
  read(line, word, text) {
    const parts = text.split(":");
    if (parts.length !== 6 || !parts.every((part) => /^[0-9a-fA-F]{1,2}$/.test(part))) {
      return refuse(line, word, text, `"${text}" is no MAC address: six hexadecimal bytes with colons between them`);
    }
    return parts.reduce((sum, part) => sum * 256 + parseInt(part, 16), 0);
  },
  print(value) {
    const digits = value.toString(16).padStart(12, "0");
    return digits.match(/../g)!.join(":");
  },
};

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** `0x0f`, as `0x%02x` has it. */
export function hexByte(value: number): string {
  return `0x${value.toString(16).padStart(2, "0")}`;
}

/** Bare if it holds letters, digits, `_` and `-` alone (xtables_save_string()). */
export function quote(text: string): string {
  return /^[\w-]+$/.test(text) ? text : `"${text.replace(/["\\']/g, "\\$&")}"`;
}

/** The first `bytes` bytes of the text in UTF-8: what the kernel's buffer holds. Whole characters only. */
export function truncate(text: string, bytes: number): string {
  // a UTF-16 unit takes at most three bytes
  if (text.length * 3 <= bytes) return text;
  const buffer = new Uint8Array(bytes);
  const { read } = new TextEncoder().encodeInto(text, buffer);
  return text.slice(0, read);
}

/** ` !` before a negated option. */
export function not({ negated }: { readonly negated: boolean }): string {
  return negated ? " !" : "";
}

/** ` [!] --NAME VALUE`, or nothing. */
export function printTest<T extends { readonly negated: boolean }>(
  name: string,
  test: T | null,
  print: (test: T) => string,
): string {
  return test === null ? "" : `${not(test)} --${name} ${print(test)}`;
}

function refuse(line: Line, word: number, text: string, reason: string): never {
  if (text === "!") return line.fail(OLD_NEGATION, word);
  return line.failPart(reason, word, text);
}
