// IPv6 addresses and masks: bigints in host byte order <-> text, as inet_pton(3) and inet_ntop(3) have it.

import { formatAddress, parseAddress } from "./address.ts";

const GROUPS = 8;
const ALL = (1n << 128n) - 1n;

/** null for anything that is none. */
export function parseAddress6(text: string): bigint | null {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (dotted !== null) {
    const low = parseAddress(dotted[2]!);
    return low === null
      ? null
      : parseAddress6(`${dotted[1]!}${(low >>> 16).toString(16)}:${(low & 0xffff).toString(16)}`);
  }
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [head = [], tail = []] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const groups = [...head, ...tail];
  if (!groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return null;
  const missing = GROUPS - groups.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const filled = [...head, ...new Array<string>(missing).fill("0"), ...tail];
  return BigInt(`0x${filled.map((group) => group.padStart(4, "0")).join("")}`);
}

/** The longest run of zero groups, of two at least, becomes `::`; the last 32 bits of `::a.b.c.d` are dotted. */
export function formatAddress6(address: bigint): string {
  const groups = Array.from({ length: GROUPS }, (_, i) => Number((address >> BigInt(16 * (7 - i))) & 0xffffn));
  let start = -1;
  let length = 1;
  for (let i = 0; i < GROUPS; i++) {
    let end = i;
    while (end < GROUPS && groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
  }
  const embeds = start === 0 && (length === 6 || (length === 5 && groups[5] === 0xffff));
  const texts = groups.map((group) => group.toString(16));
  if (embeds) texts.splice(6, 2, formatAddress(Number(address & 0xffff_ffffn)));
  if (start < 0) return texts.join(":");
  return `${texts.slice(0, start).join(":")}::${texts.slice(start + length).join(":")}`;
}

/** The mask of a prefix of `length` bits, 0 to 128. */
export function prefixMask6(length: number): bigint {
  return (ALL << BigInt(128 - length)) & ALL;
}

/** The prefix length of a mask; null if its one bits do not stand together at the top. */
export function prefixLength6(mask: bigint): number | null {
  for (let length = 0; length <= 128; length++) if (prefixMask6(length) === mask) return length;
  return null;
}

/** `64`, or the form of an address for a mask that is no prefix. */
export function formatMask6(mask: bigint): string {
  return String(prefixLength6(mask) ?? formatAddress6(mask));
}
