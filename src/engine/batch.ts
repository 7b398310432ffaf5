// One program and many packets: classification alone, without a host around it.

import { isFirstMatch } from "../compile/encode.ts";
import type { RecentList } from "../compile/memory.ts";
import type { InterfaceTable } from "../compile/interfaces.ts";
import type { Program } from "../compile/program.ts";
import type { IpsetTable } from "../compile/sets.ts";
import { FIELD_COUNT, PACKET_BYTES } from "../layout.ts";
import type { HashlimitMatch } from "../rules/ruleset.ts";
import { Instance } from "./instance.ts";
import { loadIpsets } from "./ipsets.ts";
import { loadHashTables } from "./hashtables.ts";
import { loadLists } from "./lists.ts";
import { loadFirstMatch, loadProgram } from "./program.ts";
import { Trees } from "./shape.ts";

const STATE_BYTES = 16;

export interface BatchOptions {
  /** Memories that the program's guards keep. */
  readonly stateCount?: number;
  /** Lists of `-m recent`. */
  readonly lists?: readonly RecentList[];
  /** Tables of `-m hashlimit`. */
  readonly hashTables?: readonly HashlimitMatch[];
  readonly ipsets?: { readonly table: IpsetTable; readonly interfaces: InterfaceTable };
  readonly seed?: number;
}

/** A batch of another thread: the memory with its tree, or the program to build one of. */
export interface BatchCopy {
  readonly program: Program;
  readonly options: BatchOptions;
  /** Null: the tree is built anew. */
  readonly memory: Uint8Array | null;
  readonly at: number;
  readonly treeBytes: number;
}

export class Batch {
  readonly instance = new Instance();
  readonly program: Program;
  /** Nodes and leaves. */
  readonly treeBytes: number;
  readonly #at: number;
  readonly #firstMatch: boolean;
  readonly #options: BatchOptions;
  /** Where the memory of the tree ends. */
  readonly #end: number;
  #packets = 0;
  /** What a filter set asks of the packets. */
  #keys = 0;
  /** The keys are those of the records as they are. */
  #packed = false;
  #answers = 0;
  #count = 0;
  /** Packets that there is room for: memory is never given back. */
  #room = 0;

  /** Throws an EngineError where memory does not suffice. */
  constructor(program: Program, options: BatchOptions = {}, copy: BatchCopy | null = null) {
    this.program = program;
    this.#options = options;
    if (copy?.memory != null) {
      this.#firstMatch = true;
      this.#at = copy.at;
      this.treeBytes = copy.treeBytes;
      this.instance.fill(copy.memory);
      this.#end = copy.memory.length;
      return;
    }
    const { exports } = this.instance;
    const states = this.instance.allocateZeroed((options.stateCount ?? 0) * STATE_BYTES);
    exports.setGuards(states, options.seed ?? 1);
    loadLists(this.instance, options.lists ?? []);
    loadHashTables(this.instance, options.hashTables ?? []);
    if (options.ipsets !== undefined) loadIpsets(this.instance, options.ipsets.table, options.ipsets.interfaces);
    exports.setLookUp(0, this.instance.allocate((program.subs.length + 1) * 8));
    this.#firstMatch = isFirstMatch(program);
    const loaded = this.#firstMatch ? loadFirstMatch(this.instance, program) : loadProgram(this.instance, program);
    this.#at = loaded.at;
    this.treeBytes = loaded.treeBytes;
    this.#end = exports.mark() >>> 0;
  }

  static ofCopy(copy: BatchCopy): Batch {
    return new Batch(copy.program, copy.options, copy);
  }

  /** For another thread. The memory of a filter set's tree is all there is to know of it. */
  copy(): BatchCopy {
    const memory = this.#firstMatch ? this.instance.bytes(0, this.#end).slice() : null;
    const program = memory === null ? this.program : { ...this.program, clauses: [], boxes: new Uint32Array(0) };
    return { program, options: this.#options, memory, at: this.#at, treeBytes: this.treeBytes };
  }

  get memoryBytes(): number {
    return this.instance.memoryBytes;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * Makes room for packets in the place of those before; gives the address of their records, zeroed, to be written before
   * `classify`. Throws an EngineError where memory does not suffice.
   */
  reserve(count: number): number {
    const { exports } = this.instance;
    if (count > this.#room) {
      this.#packets = this.instance.allocate(count * PACKET_BYTES);
      if (this.#firstMatch) this.#keys = this.instance.allocate(count * exports.keyBytes(this.#at));
      this.#answers = this.instance.allocate(count * 4);
      this.#room = count;
    }
    this.instance.bytes(this.#packets, count * PACKET_BYTES).fill(0);
    this.#packed = false;
    this.#count = count;
    return this.#packets;
  }

  /** `count * FIELD_COUNT` words. */
  load(records: Uint32Array): void {
    const count = records.length / FIELD_COUNT;
    const at = this.reserve(count);
    this.instance.words(at, records.length).set(records);
  }

  /** The packets, FIELD_COUNT words each, which may be changed. Valid until the next call. */
  records(): Uint32Array {
    this.#packed = false;
    return this.instance.words(this.#packets, this.#count * FIELD_COUNT);
  }

  /** Classifies all packets anew, in order. What a filter set asks of their records is taken out of them once. */
  classify(): void {
    const { exports } = this.instance;
    if (!this.#firstMatch) {
      exports.decide(this.#at, this.#packets, this.#count, this.#answers);
      return;
    }
    if (!this.#packed) exports.pack(this.#at, this.#packets, this.#count, this.#keys);
    this.#packed = true;
    exports.classify(this.#at, this.#keys, this.#count, this.#answers);
  }

  /** For each packet what `ruleOf` turns into a rule, or NONE. Valid until the next call. */
  answers(): Uint32Array {
    return this.instance.words(this.#answers, this.#count);
  }

  /** What its trees are like. Valid until the next call. */
  trees(): Trees {
    return new Trees(this.instance, this.program, this.#at, this.#firstMatch);
  }

  /** The number of the rule or policy that decided. */
  ruleOf(answer: number): number {
    return this.#firstMatch ? this.program.clauses[answer]!.rule : answer;
  }
}
