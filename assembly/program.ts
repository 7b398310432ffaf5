// An encoded program in memory (layout.ts), and the tree that build.ts writes for it (for look-ups one by one; of first-match trees first-build.ts tells).
//
// Tree: u32 partCount, u32 (zero), then the root node of each of four parts, then u32 the first clause of each.
//
// Node, 8 bytes: u32 cut, u32 child.
//   inner: the child number is up to two windows of bits, from any two fields of the packet record, side by side.
//     cut bits 0-3 width of window 1, 4-8 its shift, 9-12 its field; 13-16, 17-21, 22-25 the same of window 2 (0 wide: none)
//     child: address of child 0, the others follow
//   leaf: bit 31 set, bits 0-15 the fields that its blocks test; child: address of the leaf
//
// Leaf: u32 blockCount, 12 bytes (zero), then blocks of four boxes in the order of their clauses:
//   u32x4 clause (NONE where there is no box), then for each tested field u32x4 lo, u32x4 span.
//   A box holds where packet - lo <= span, unsigned, in every tested field. What the way to the leaf has decided is not tested.

import {
  PROGRAM_BOX_COUNT,
  PROGRAM_BOXES,
  PROGRAM_CLAUSE_COUNT,
  PROGRAM_CLAUSES,
  PROGRAM_CUT_MASK,
  PROGRAM_DATA,
  PROGRAM_FIELD_MASK,
  PROGRAM_FLAGS,
  PROGRAM_TREE,
} from "../src/layout";

export const LEAF: u32 = 0x80000000;
export const LEAF_HEADER: usize = 16;
export const TREE_PARTS: usize = 8;
export const PART_BYTES: usize = 8;
export const MOST_PARTS: usize = 4;
export const TREE_FIRSTS: usize = TREE_PARTS + MOST_PARTS * PART_BYTES;
export const TREE_BYTES: usize = TREE_FIRSTS + MOST_PARTS * 4;

export function fieldMaskOf(program: usize): u32 {
  return load<u32>(program, PROGRAM_FIELD_MASK);
}

export function cutMaskOf(program: usize): u32 {
  return load<u32>(program, PROGRAM_CUT_MASK);
}

export function boxCountOf(program: usize): u32 {
  return load<u32>(program, PROGRAM_BOX_COUNT);
}

export function boxesOf(program: usize): usize {
  return program + load<u32>(program, PROGRAM_BOXES);
}

export function clausesOf(program: usize): usize {
  return program + load<u32>(program, PROGRAM_CLAUSES);
}

export function clauseCountOf(program: usize): u32 {
  return load<u32>(program, PROGRAM_CLAUSE_COUNT);
}

export function dataOf(program: usize): usize {
  return program + load<u32>(program, PROGRAM_DATA);
}

export function treeOf(program: usize): usize {
  return load<u32>(program, PROGRAM_TREE);
}

export function flagsOf(program: usize): u32 {
  return load<u32>(program, PROGRAM_FLAGS);
}
