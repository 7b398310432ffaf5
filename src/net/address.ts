// IPv4 addresses and masks: numbers in host byte order <-> text.
//
// iptables reads addresses of -s and -d by its own rules (xtables_ipparse_multiple() in libxtables/xtables.c: short
// forms, octal, hexadecimal) and those of NAT targets by inet_pton(3); both are here.

import { parseDecimal, parseNumber } from "./number.ts";

/** `10.0.0.1` for 0x0a000001. */
export function formatAddress(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** The mask of a prefix of `length` bits, 0 to 32. */
export function prefixMask(length: number): number {
  return length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
}

/** The prefix length of a mask; null if its one bits do not stand together at the top. */
export function prefixLength(mask: number): number | null {
  const length = Math.clz32(~mask);
  return prefixMask(length) === mask ? length : null;
}

/** `24` for 255.255.255.0, the dotted form for a mask that is no prefix. */
export function formatMask(mask: number): string {
  return String(prefixLength(mask) ?? formatAddress(mask));
}

/** Four decimal parts without leading zeros, as inet_pton(3) has it; null for anything else. */
export function parseAddress(text: string): number | null {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  let address = 0;
  for (const part of parts) {
    const byte = parseDecimal(part, 255);
    if (byte === null || (part.length > 1 && part.startsWith("0"))) return null;
    address = address * 256 + byte;
  }
  return address;
}

/**
 * One to four parts, missing ones are zero at the end: `10` and `10.0` are 10.0.0.0. A part may be octal or
 * hexadecimal, as in C. Null for anything else.
 */
export function parseNetwork(text: string): number | null {
  const parts = text.split(".");
  if (parts.length > 4) return null;
  let address = 0;
  for (let i = 0; i < 4; i++) {
    const part = parts[i];
    const byte = part === undefined ? 0 : parseNumber(part, 255);
    if (byte === null) return null;
    address = address * 256 + byte;
  }
  return address;
}

/** A prefix length or four dotted parts, not necessarily contiguous; null for anything else. */
export function parseMask(text: string): number | null {
  if (text.includes(".")) return text.split(".").length === 4 ? parseNetwork(text) : null;
  const length = parseNumber(text, 32);
  return length === null ? null : prefixMask(length);
}

export interface Network {
  /** Masked. */
  readonly address: number;
  readonly mask: number;
}

/** `A.B.C.D/LENGTH` in decimal without leading zeros, as iptables prints it; null for every other form. Fast. */
export function parsePrintedNetwork(text: string): Network | null {
  let address = 0;
  let part = -1;
  let parts = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= ZERO && code <= NINE) {
      if (part === 0) return null;
      part = part < 0 ? code - ZERO : part * 10 + code - ZERO;
      continue;
    }
    parts++;
    if (code !== (parts === 4 ? SLASH : DOT) || part < 0 || part > 255) return null;
    address = address * 256 + part;
    part = -1;
  }
  if (parts !== 4 || part < 0 || part > 32) return null;
  const mask = prefixMask(part);
  return { address: (address & mask) >>> 0, mask };
}

const ZERO = 0x30;
const NINE = 0x39;
const DOT = 0x2e;
const SLASH = 0x2f;
