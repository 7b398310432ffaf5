// Programs in the engine's memory: encoded, with their trees built and their sub-programs beside them.

import { encode } from "../compile/encode.ts";
import type { Program } from "../compile/program.ts";
import { PROGRAM_SUBS } from "../layout.ts";
import { EngineError } from "./instance.ts";
import type { Instance } from "./instance.ts";

export interface LoadedProgram {
  /** Where it stands. */
  readonly at: number;
  /** Nodes and leaves. */
  readonly treeBytes: number;
}

/** Programs that others CALL, in memory once, however many do. */
export class Loader {
  readonly #instance: Instance;
  /** Where the addresses of the sub-programs stand, by their list. */
  readonly #lists = new Map<Program["subs"], number>();

  constructor(instance: Instance) {
    this.#instance = instance;
  }

  /** Gives the bytes of the sub-programs' trees to the first that has them. Throws an EngineError where memory does not suffice. */
  load(program: Program): LoadedProgram {
    const instance = this.#instance;
    let treeBytes = 0;
    let list = this.#lists.get(program.subs);
    if (list === undefined) {
      list = instance.allocate(Math.max(4, program.subs.length * 4));
      this.#lists.set(program.subs, list);
      const subs: number[] = [];
      for (const sub of program.subs) {
        const loaded = loadOne(instance, sub, list);
        subs.push(loaded.at);
        treeBytes += loaded.treeBytes;
      }
      instance.words(list, subs.length).set(subs);
    }
    const main = loadOne(instance, program, list);
    return { at: main.at, treeBytes: main.treeBytes + treeBytes };
  }
}

/** Throws an EngineError where memory does not suffice. */
export function loadProgram(instance: Instance, program: Program): LoadedProgram {
  return new Loader(instance).load(program);
}

/** A program whose first box that holds is the answer (PROGRAM_FIRST_MATCH), for many packets at once. */
export function loadFirstMatch(instance: Instance, program: Program): LoadedProgram {
  const at = instance.put(encode(program));
  if (instance.exports.buildFirst(at) === 0) throw tooLarge(program);
  return { at, treeBytes: Number(instance.exports.firstBytes.value) >>> 0 };
}

function loadOne(instance: Instance, program: Program, subs: number): LoadedProgram {
  const at = instance.put(encode(program));
  if (instance.exports.build(at) === 0) throw tooLarge(program);
  instance.view().setUint32(at + PROGRAM_SUBS, subs, true);
  return { at, treeBytes: Number(instance.exports.treeBytes.value) >>> 0 };
}

function tooLarge(program: Program): EngineError {
  return new EngineError(`the engine's memory (4 GiB) does not hold the tree of ${program.boxCount} boxes`);
}
