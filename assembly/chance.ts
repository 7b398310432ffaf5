// Where the kernel draws lots: src/net/chance.ts in AssemblyScript.

const SPREAD: u32 = 0x9e3779b1;

function absorb(state: u32, word: u32): u32 {
  let mixed = state ^ ((word + 1) * SPREAD);
  mixed = (mixed ^ (mixed >> 16)) * 0x85ebca6b;
  mixed = (mixed ^ (mixed >> 13)) * 0xc2b2ae35;
  return mixed ^ (mixed >> 16);
}

export function chance(seed: u32, rule: u32, packet: u32, draw: u32): u32 {
  return absorb(absorb(absorb(absorb(0, seed), rule), packet), draw);
}
