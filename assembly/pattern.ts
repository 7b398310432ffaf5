// Intervals against patterns. A region of the tree is, in each field, a pattern: the bits in `mask` are known to be those
// of `value` (which is 0 elsewhere). Cutting on bits at any position keeps it one; these three questions stay exact.

/** Some number of the pattern lies in lo..hi. */
export function meets(lo: u32, hi: u32, mask: u32, value: u32): bool {
  const wrong = (lo ^ value) & mask;
  if (wrong == 0) return true;
  // the least number >= lo of the pattern: agree with lo above bit p, exceed it there
  let p = <u32>31 - clz(wrong);
  if (((value >> p) & 1) == 0) {
    // lo has 1 where the pattern has 0: exceed at the lowest free bit above p where lo has 0
    const free = ~mask & ~lo & ~(((<u32>2) << p) - 1);
    if (p == 31 || free == 0) return false;
    p = ctz(free);
  }
  const below = ((<u32>1) << p) - 1;
  const least = (lo & ~below & ~((<u32>1) << p)) | ((<u32>1) << p) | (value & below);
  return least <= hi;
}

/** All numbers of the pattern lie in lo..hi. */
export function covers(lo: u32, hi: u32, mask: u32, value: u32): bool {
  return lo <= value && (value | ~mask) <= hi;
}

/** Returned by `windowValues`: every value of the window. */
export const ALL_VALUES: u32 = 0xffffffff;

/**
 * Values that the window of `bits` bits from `shift` up takes where a number of the pattern lies in lo..hi, ascending,
 * as u32 at `out`; returns how many, or ALL_VALUES and writes nothing. The window's bits are unknown in the pattern.
 */
export function windowValues(lo: u32, hi: u32, mask: u32, value: u32, shift: u32, bits: u32, out: usize): u32 {
  const size = (<u32>1) << bits;
  const inside = size - 1;
  if (lo == hi) {
    store<u32>(out, (lo >> shift) & inside);
    return 1;
  }
  if (covers(lo, hi, mask, value)) return ALL_VALUES;
  const span = hi - lo;
  let count: u32 = 0;
  if ((span & (span + 1)) == 0 && (lo & span) == 0) {
    // a prefix: its bits are fixed above the span and free below
    if (span >> shift >= inside) return ALL_VALUES;
    const first = (lo >> shift) & inside;
    const last = (hi >> shift) & inside;
    for (let w = first; w <= last; w++, count++) store<u32>(out + (count << 2), w);
    return count;
  }
  const known = mask | (inside << shift);
  // as far as numbers of the pattern go at all
  const least = max(lo, value);
  const most = min(hi, value | ~mask);
  if (!meets(lo, hi, mask, value)) return 0;
  let first: u32 = 0;
  let last = inside;
  // if nothing above the window differs in it, what lies between the ends is there whole
  const whole = shift + bits >= 32 || (least ^ most) >> (shift + bits) == 0;
  if (whole) {
    first = (least >> shift) & inside;
    last = (most >> shift) & inside;
  }
  for (let w = first; w <= last; w++) {
    if ((whole && w != first && w != last) || meets(lo, hi, known, value | (w << shift))) {
      store<u32>(out + (count << 2), w);
      count++;
    }
  }
  return count == size ? ALL_VALUES : count;
}
