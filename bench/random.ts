// A seed -> numbers, the same on every machine.

export interface Random {
  /** A u32. */
  word(): number;
  /** In [0, 1). */
  share(): number;
  /** An integer of 0..n-1. */
  below(n: number): number;
  /** An integer; both ends belong to the range. */
  between(lo: number, hi: number): number;
  pick<T>(list: readonly T[]): T;
  /** Each as often as its weight says. */
  weighted<T>(list: readonly (readonly [number, T])[]): T;
}

export function random(seed: number): Random {
  let state = seed >>> 0;
  // mulberry32
  const word = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return (z ^ (z >>> 14)) >>> 0;
  };
  const share = (): number => word() / 2 ** 32;
  const between = (lo: number, hi: number): number => lo + Math.floor(share() * (hi - lo + 1));
  const below = (n: number): number => between(0, n - 1);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const weighted = <T>(list: readonly (readonly [number, T])[]): T => {
    let rest = share() * list.reduce((sum, [weight]) => sum + weight, 0);
    return (list.find(([weight]) => (rest -= weight) < 0) ?? list.at(-1)!)[1];
  };
  return { word, share, below, between, pick, weighted };
}

/** A u32 that looks random, of words. */
export function hash(...words: readonly number[]): number {
  let state = 0;
  for (const word of words) {
    state ^= Math.imul((word + 1) | 0, 0x9e3779b1);
    state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
    state ^= state >>> 16;
  }
  return state >>> 0;
}
