// An encoded program in memory (layout.ts), and the tree that build.ts writes for it (for look-ups one by one; of first-match trees first-build.ts tells).

import {
  PROGRAM_BEFORE,
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

export function fieldMaskOf(program: usize): u32 {
  return load<u32>(program, PROGRAM_FIELD_MASK);
}

export function cutMaskOf(program: usize): u32 {
  return load<u32>(program, PROGRAM_CUT_MASK);
}

/** The program that was built last, from which PROGRAM_BEFORE leads to all others; 0: none was. */
export let lastProgram: usize = 0;

export function enlist(program: usize): void {
  store<u32>(program, <u32>lastProgram, PROGRAM_BEFORE);
  lastProgram = program;
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
