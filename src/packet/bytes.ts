// Bytes as on the wire: numbers in network byte order, the Internet checksum (RFC 1071), hexadecimal text.

export function u16At(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

export function u32At(bytes: Uint8Array, offset: number): number {
  return u16At(bytes, offset) * 65536 + u16At(bytes, offset + 2);
}

export function u16(value: number): readonly number[] {
  return [value >>> 8, value & 255];
}

export function u32(value: number): readonly number[] {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}

/** The sum of all 16-bit words, folded but not inverted; an odd last byte is a high one. */
export function onesSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let at = 0; at + 1 < bytes.length; at += 2) sum += u16At(bytes, at);
  if (bytes.length % 2 === 1) sum += bytes.at(-1)! << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return sum;
}

/** What stands in the checksum field so that the whole sums up to 0xffff. */
export function checksum(bytes: Uint8Array, start = 0): number {
  return ~onesSum(bytes, start) & 0xffff;
}

/** The sum over the pseudo header of TCP and UDP (RFC 9293, section 3.1). */
export function pseudoSum(src: number, dst: number, proto: number, length: number): number {
  return (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff) + proto + length;
}

/** RFC 1624. Beyond the end of the bytes there is nothing to mend. */
export function mend(
  bytes: Uint8Array,
  offset: number,
  changes: readonly (readonly [from: number, to: number])[],
): void {
  if (changes.length === 0 || offset + 2 > bytes.length) return;
  let sum = ~u16At(bytes, offset) & 0xffff;
  for (const [from, to] of changes) sum += (~from & 0xffff) + to;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  bytes.set(u16(~sum & 0xffff), offset);
}

/** null for anything but pairs of hexadecimal digits; blanks may stand between them. */
export function fromHex(text: string): Uint8Array | null {
  const pairs = text.replace(/\s+/g, "");
  if (pairs.length % 2 === 1 || !/^[0-9a-fA-F]*$/.test(pairs)) return null;
  return Uint8Array.from({ length: pairs.length / 2 }, (_, index) =>
    parseInt(pairs.slice(2 * index, 2 * index + 2), 16),
  );
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
