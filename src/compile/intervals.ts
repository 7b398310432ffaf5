// Sets of u32 as sorted, disjoint, non-adjacent intervals: flat pairs [lo, hi, lo, hi, ...], both ends included.

export type Intervals = readonly number[];

export const MAX_U32 = 0xffffffff;
export const ALL: Intervals = [0, MAX_U32];
export const EMPTY: Intervals = [];

export function isAll(set: Intervals): boolean {
  return set.length === 2 && set[0] === 0 && set[1] === MAX_U32;
}

/** The union of any pairs, in any order. */
export function unionOf(pairs: readonly (readonly [number, number])[]): Intervals {
  const sorted = [...pairs].sort((a, b) => a[0] - b[0]);
  const out: number[] = [];
  for (const [lo, hi] of sorted) {
    const last = out.length - 1;
    if (last >= 0 && lo <= out[last]! + 1) out[last] = Math.max(out[last]!, hi);
    else out.push(lo, hi);
  }
  return out;
}

/** What lies in 0..max and not in `set`. */
export function complement(set: Intervals, max = MAX_U32): Intervals {
  const out: number[] = [];
  let next = 0;
  for (let i = 0; i < set.length; i += 2) {
    if (set[i]! > next) out.push(next, set[i]! - 1);
    next = set[i + 1]! + 1;
  }
  if (next <= max) out.push(next, max);
  return out;
}

export function intersect(a: Intervals, b: Intervals): Intervals {
  const out: number[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const lo = Math.max(a[i]!, b[j]!);
    const hi = Math.min(a[i + 1]!, b[j + 1]!);
    if (lo <= hi) out.push(lo, hi);
    if (a[i + 1]! < b[j + 1]!) i += 2;
    else j += 2;
  }
  return out;
}
