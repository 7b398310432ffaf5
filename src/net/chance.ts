// Where the kernel draws lots, we hash: (seed, rule, packet, draw) -> 32 bits that look random.
//
// So neither the order nor the size of batches changes an answer, and every classifier draws the same. Words go in one
// by one: multiplied, to spread small numbers over all bits, then mixed by the finalizer of MurmurHash3.
// 32-bit integer arithmetic alone, so that AssemblyScript can say the same.

const SPREAD = 0x9e3779b1; // 2^32 divided by the golden ratio, odd

/**
 * A u32.
 *
 * @param rule how many rules stand before it: tables in the order of TABLES, then chains, then rules
 * @param packet its index in the run, from 0
 * @param draw how often this rule has drawn for this packet before
 */
export function chance(seed: number, rule: number, packet: number, draw: number): number {
  return absorb(absorb(absorb(absorb(0, seed), rule), packet), draw);
}

function absorb(state: number, word: number): number {
  let mixed = state ^ Math.imul(word + 1, SPREAD);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
