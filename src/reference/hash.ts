// The hash that NAT, cluster and HMARK choose by: include/linux/jhash.h.

/** The word as it lies in the memory of a little-endian machine. */
export function inMemory(address: number): number {
  return ((address >>> 24) | ((address >>> 8) & 0xff00) | ((address << 8) & 0xff0000) | (address << 24)) >>> 0;
}

/** jhash2() over the four words [word, 0, 0, 0]. */
export function hashOfFour(word: number, initial: number): number {
  const start = (0xdeadbeef + (4 << 2) + initial) | 0;
  let [a, b, c] = [start + word, start, start].map((value) => value | 0) as [number, number, number];
  // __jhash_mix()
  a = (a - c) ^ rotate(c, 4);
  c = (c + b) | 0;
  b = (b - a) ^ rotate(a, 6);
  a = (a + c) | 0;
  c = (c - b) ^ rotate(b, 8);
  b = (b + a) | 0;
  a = (a - c) ^ rotate(c, 16);
  c = (c + b) | 0;
  b = (b - a) ^ rotate(a, 19);
  a = (a + c) | 0;
  c = (c - b) ^ rotate(b, 4);
  b = (b + a) | 0;
  // the last word is 0
  return final(a, b, c);
}

/** jhash_1word(), jhash_2words() and jhash_3words(). */
export function hashOf(words: readonly number[], initial: number): number {
  const start = 0xdeadbeef + (words.length << 2) + initial;
  const [a, b, c] = [0, 1, 2].map((at) => (start + (words[at] ?? 0)) | 0) as [number, number, number];
  return final(a, b, c);
}

/** reciprocal_scale(): 0 to `size` - 1. */
export function scaled(hash: number, size: number): number {
  return Number((BigInt(hash) * BigInt(size)) >> 32n);
}

/** __jhash_final(). */
function final(a: number, b: number, c: number): number {
  c = ((c ^ b) - rotate(b, 14)) | 0;
  a = ((a ^ c) - rotate(c, 11)) | 0;
  b = ((b ^ a) - rotate(a, 25)) | 0;
  c = ((c ^ b) - rotate(b, 16)) | 0;
  a = ((a ^ c) - rotate(c, 4)) | 0;
  b = ((b ^ a) - rotate(a, 14)) | 0;
  c = ((c ^ b) - rotate(b, 24)) | 0;
  return c >>> 0;
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
