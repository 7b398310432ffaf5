// The hash that NAT, cluster and HMARK choose by: include/linux/jhash.h.

const START: u32 = 0xdeadbeef;

/** jhash2() of four words of which all but the first are 0. Addresses are hashed as they lie in the kernel's memory: swapped. */
export function hashOfFour(word: u32, initial: u32): u32 {
  let a: u32 = START + 16 + initial;
  let b = a;
  let c = a;
  a += word;
  a -= c;
  a ^= rotl(c, 4);
  c += b;
  b -= a;
  b ^= rotl(a, 6);
  a += c;
  c -= b;
  c ^= rotl(b, 8);
  b += a;
  a -= c;
  a ^= rotl(c, 16);
  c += b;
  b -= a;
  b ^= rotl(a, 19);
  a += c;
  c -= b;
  c ^= rotl(b, 4);
  b += a;
  return finish(a, b, c);
}

/** jhash_1word(). */
export function hashOfOne(word: u32, initial: u32): u32 {
  const start = START + 4 + initial;
  return finish(start + word, start, start);
}

/** jhash_3words(). */
export function hashOfThree(one: u32, two: u32, three: u32, initial: u32): u32 {
  const start = START + 12 + initial;
  return finish(start + one, start + two, start + three);
}

/** __jhash_final(). */
function finish(a: u32, b: u32, c: u32): u32 {
  c ^= b;
  c -= rotl(b, 14);
  a ^= c;
  a -= rotl(c, 11);
  b ^= a;
  b -= rotl(a, 25);
  c ^= b;
  c -= rotl(b, 16);
  a ^= c;
  a -= rotl(c, 4);
  b ^= a;
  b -= rotl(a, 14);
  c ^= b;
  c -= rotl(b, 24);
  return c;
}

/** reciprocal_scale(): 0 to `size` - 1. */
export function scaled(hash: u32, size: u32): u32 {
  return <u32>((<u64>hash * <u64>size) >> 32);
}
