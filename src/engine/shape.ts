// A built tree in the engine's memory -> what it is like, and the way that a packet takes through it.
//
// Nothing here is asked for an answer: it reads what build.ts, first-build.ts and few.ts of assembly/ have written (layout.ts),
// so that people can see where the work of a look-up goes. Nodes that several ways lead to count once.

import * as layout from "../layout.ts";
import type { Program } from "../compile/program.ts";
import type { Instance } from "./instance.ts";

/** Bits of the packet that a node asks, or bounds of a field. */
export interface Asked {
  /** FIELD_. */
  readonly field: number;
  /** Bits of its word, 31 the highest. */
  readonly bits: readonly number[];
}

export interface PartShape {
  /** Nodes that ask bits, and the cells they lead to. */
  readonly nodes: number;
  readonly cells: number;
  /** Different leaves, and the clauses in all of them. */
  readonly leaves: number;
  readonly leafClauses: number;
  readonly longestLeaf: number;
  /** Leaves below so many nodes, at the least. */
  readonly depths: readonly number[];
}

/** The tree of a chain, or of one that it calls and that is not written out in it. */
export interface TreeShape {
  /** few: tables, for programs of few boxes; first: the first box is the answer; clauses: they are gone through one by one. */
  readonly kind: "few" | "first" | "clauses";
  readonly clauses: number;
  readonly boxes: number;
  /** Of few boxes: fields that are looked up. */
  readonly fields: readonly number[];
  /** Few boxes are one part that is nothing but a leaf. */
  readonly parts: readonly PartShape[];
  /** Clauses that stand in most leaves, most first. */
  readonly replicated: readonly { readonly clause: number; readonly leaves: number }[];
}

/** How a packet finds its answer. */
export interface Walk {
  /** In the order in which it looks into them; a chain may be called several times. */
  readonly parts: readonly PartWalk[];
  /** The clause that ends it, if clauses with tests are taken not to hold; null: none does. */
  readonly end: { readonly tree: number; readonly clause: number } | null;
}

export interface PartWalk {
  readonly tree: number;
  readonly part: number;
  /** Names of the nodes gone through, the root first. */
  readonly nodes: readonly number[];
  /** Boxes compared, and clauses of which one held. */
  readonly compared: number;
  readonly held: number;
}

/** Trees of a chain: its own, then those of the chains that it calls. */
export class Trees {
  readonly shapes: readonly TreeShape[];
  readonly #programs: readonly Program[];
  readonly #readers: readonly TreeReader[];

  /** `at`: where the program stands in memory. */
  constructor(instance: Instance, program: Program, at: number, firstMatch: boolean) {
    const view = instance.view();
    const list = view.getUint32(at + layout.PROGRAM_SUBS, true);
    const places = [at, ...program.subs.map((_, i) => view.getUint32(list + i * 4, true))];
    this.#programs = [program, ...program.subs];
    this.#readers = this.#programs.map((each, i) => readerOf(view, each, places[i]!, firstMatch));
    this.shapes = this.#readers.map((reader) => reader.shape());
  }

  /** @param packet FIELD_COUNT words */
  walk(packet: Uint32Array): Walk {
    const parts: PartWalk[] = [];
    const callers: { readonly tree: number; readonly from: number }[] = [];
    let here = { tree: 0, from: 0 };
    for (;;) {
      const { tree, from } = here;
      const looked = this.#readers[tree]!.look(packet, from);
      for (const part of looked.parts) parts.push({ tree, ...part });
      if (looked.clause === null) return { parts, end: null };
      const { action, arg } = this.#programs[tree]!.clauses[looked.clause]!;
      if (action === layout.ACTION_CALL) {
        callers.push({ tree, from: looked.clause + 1 });
        here = { tree: 1 + arg, from: 0 };
      } else if (action === layout.ACTION_BACK) {
        here = callers.pop()!;
      } else {
        return { parts, end: { tree, clause: looked.clause } };
      }
    }
  }

  /** What a node on a walk asks. */
  askedAt(tree: number, node: number): readonly Asked[] {
    return this.#readers[tree]!.askedAt(node);
  }
}

/** A look into one tree, to the first clause that ends it, calls, or goes back. */
interface Looked {
  readonly parts: readonly Omit<PartWalk, "tree">[];
  readonly clause: number | null;
}

interface TreeReader {
  shape(): TreeShape;
  look(packet: Uint32Array, from: number): Looked;
  askedAt(node: number): readonly Asked[];
}

function readerOf(view: DataView, program: Program, at: number, firstMatch: boolean): TreeReader {
  const tree = view.getUint32(at + layout.PROGRAM_TREE, true);
  if (firstMatch) return new FirstReader(view, program, tree);
  const few = view.getUint32(at + layout.PROGRAM_FEW, true);
  return few === 0 ? new ClausesReader(view, program, tree) : new FewReader(view, program, few);
}

const REPLICATED = 10;

// -- trees

interface Leaf {
  /** Its name: equal leaves have one. */
  readonly name: number;
  readonly clauses: readonly number[];
}

/** What both kinds of trees have: cells of 8 bytes that are leaves or lead to others. */
abstract class CellReader implements TreeReader {
  protected readonly view: DataView;
  protected readonly tree: number;
  protected readonly program: Program;
  readonly #kind: TreeShape["kind"];

  protected constructor(view: DataView, program: Program, tree: number, kind: TreeShape["kind"]) {
    this.view = view;
    this.tree = tree;
    this.program = program;
    this.#kind = kind;
  }

  shape(): TreeShape {
    const replicas = new Map<number, number>();
    const parts = Array.from({ length: this.partCount }, (_, part) => this.#partShape(this.rootOf(part), replicas));
    const replicated = [...replicas].map(([clause, leaves]) => ({ clause, leaves }));
    replicated.sort((a, b) => b.leaves - a.leaves || a.clause - b.clause);
    return {
      ...{ kind: this.#kind, clauses: this.program.clauses.length, boxes: this.program.boxCount, fields: [], parts },
      replicated: replicated.slice(0, REPLICATED),
    };
  }

  protected get partCount(): number {
    return this.word(this.tree);
  }

  abstract look(packet: Uint32Array, from: number): Looked;
  abstract askedAt(node: number): readonly Asked[];
  protected abstract rootOf(part: number): number;
  /** Address of the first child and how many there are; null: the cell is a leaf. */
  protected abstract childrenOf(cell: number): { readonly first: number; readonly count: number } | null;
  protected abstract leafAt(cell: number): Leaf;

  protected word(at: number): number {
    return this.view.getUint32(at, true);
  }

  /** Level by level, so that each node and leaf is met first where it stands highest. */
  #partShape(root: number, replicas: Map<number, number>): PartShape {
    const seen = new Set<number>();
    const leaves = new Set<number>();
    const depths: number[] = [];
    const shape = { nodes: 0, cells: 0, leafClauses: 0, longestLeaf: 0 };
    for (let level = [root], depth = 0; level.length > 0; depth++) {
      const below: number[] = [];
      depths[depth] = 0;
      for (const cell of level) {
        const children = this.childrenOf(cell);
        if (children === null) {
          const leaf = this.leafAt(cell);
          if (leaves.has(leaf.name)) continue;
          leaves.add(leaf.name);
          depths[depth]!++;
          shape.leafClauses += leaf.clauses.length;
          shape.longestLeaf = Math.max(shape.longestLeaf, leaf.clauses.length);
          for (const clause of new Set(leaf.clauses)) replicas.set(clause, (replicas.get(clause) ?? 0) + 1);
        } else if (!seen.has(children.first)) {
          seen.add(children.first);
          shape.nodes++;
          shape.cells += children.count;
          for (let i = 0; i < children.count; i++) below.push(children.first + i * 8);
        }
      }
      level = below;
    }
    return { ...shape, leaves: leaves.size, depths };
  }
}

/** The leaf that a packet comes to in a part, and the clauses there of which a box holds. */
interface LeafLook {
  readonly part: number;
  readonly nodes: readonly number[];
  readonly clauses: readonly number[];
  readonly hits: readonly number[];
}

const LEAVES: readonly number[] = [layout.ACTION_CALL, layout.ACTION_BACK];

/** The way through clauses that hold, as look-up.ts goes it; clauses with tests do not hold. */
class Course {
  /** What ended it, calls, or goes back. */
  clause: number | null = null;
  readonly #program: Program;
  #from: number;

  constructor(program: Program, from: number) {
    this.#program = program;
    this.#from = from;
  }

  /** The first of these that may be next; Infinity: none. */
  nextOf(hits: readonly number[]): number {
    return hits.reduce((least, hit) => (hit >= this.#from ? Math.min(least, hit) : least), Infinity);
  }

  endsAt(next: number): boolean {
    const clause = this.#program.clauses[next];
    if (clause === undefined) return true;
    this.#from = next + 1;
    if (clause.tests.length > 0) return false;
    if (clause.action === layout.ACTION_SKIP) this.#from = clause.arg;
    if (!LEAVES.includes(clause.action) && clause.action < layout.ACTION_ENDS) return false;
    this.clause = next;
    return true;
  }
}

/** Trees of build.ts: leaves are blocks of four boxes. */
class ClausesReader extends CellReader {
  constructor(view: DataView, program: Program, tree: number) {
    super(view, program, tree, "clauses");
  }

  protected rootOf(part: number): number {
    return this.tree + layout.TREE_PARTS + part * layout.PART_BYTES;
  }

  protected childrenOf(cell: number): { first: number; count: number } | null {
    const cut = this.word(cell);
    if (cut >>> 31 !== 0) return null;
    return { first: this.word(cell + 4), count: 1 << ((cut & 15) + ((cut >>> 13) & 15)) };
  }

  protected leafAt(cell: number): Leaf {
    const name = this.word(cell + 4);
    const bytes = this.#blockBytes(cell);
    const clauses = Array.from({ length: this.word(name + 4) }, (_, i) =>
      this.word(name + layout.LEAF_HEADER + (i >>> 2) * bytes + (i & 3) * 4),
    );
    return { name, clauses };
  }

  askedAt(node: number): readonly Asked[] {
    const cut = this.word(node);
    const window = (width: number, shift: number, field: number): Asked[] =>
      width === 0 ? [] : [{ field, bits: Array.from({ length: width }, (_, i) => shift + width - 1 - i) }];
    return [
      ...window(cut & 15, (cut >>> 4) & 31, (cut >>> 9) & 15),
      ...window((cut >>> 13) & 15, (cut >>> 17) & 31, (cut >>> 22) & 15),
    ];
  }

  /** A part is looked at when the first of its clauses would be next. */
  look(packet: Uint32Array, from: number): Looked {
    const firsts = Array.from({ length: this.partCount }, (_, part) =>
      this.word(this.tree + layout.TREE_FIRSTS + part * 4),
    );
    const leaves = new Map<number, LeafLook>();
    const open = (): number => Math.min(...firsts.filter((_, part) => !leaves.has(part)));
    const course = new Course(this.program, from);
    for (;;) {
      const next = course.nextOf([...leaves.values()].flatMap(({ hits }) => hits));
      if (open() <= next) {
        const part = firsts.findIndex((first, i) => !leaves.has(i) && first === open());
        leaves.set(part, this.#leafOf(part, packet));
      } else if (course.endsAt(next)) {
        // boxes are compared by fours
        const parts = [...leaves.values()].map(({ part, nodes, clauses, hits }) => ({
          ...{ part, nodes },
          compared: Math.min(clauses.length, Math.ceil(clauses.filter((each) => each <= next).length / 4) * 4),
          held: new Set(hits.filter((each) => each <= next)).size,
        }));
        return { parts, clause: course.clause };
      }
    }
  }

  #leafOf(part: number, packet: Uint32Array): LeafLook {
    const nodes: number[] = [];
    let cell = this.rootOf(part);
    for (let children = this.childrenOf(cell); children !== null; children = this.childrenOf(cell)) {
      nodes.push(cell);
      const cut = this.word(cell);
      const low = cut & 15;
      const first = (packet[(cut >>> 9) & 15]! >>> ((cut >>> 4) & 31)) & ((1 << low) - 1);
      const second = (packet[(cut >>> 22) & 15]! >>> ((cut >>> 17) & 31)) & ((1 << ((cut >>> 13) & 15)) - 1);
      cell = children.first + (first | (second << low)) * 8;
    }
    const { clauses } = this.leafAt(cell);
    return { part, nodes, clauses, hits: clauses.filter((_, i) => this.#holds(cell, i, packet)) };
  }

  #blockBytes(cell: number): number {
    return 16 + 32 * bitsOf(this.word(cell) & 0xffff).length;
  }

  #holds(cell: number, i: number, packet: Uint32Array): boolean {
    let at = this.word(cell + 4) + layout.LEAF_HEADER + (i >>> 2) * this.#blockBytes(cell) + 16 + (i & 3) * 4;
    for (const field of bitsOf(this.word(cell) & 0xffff)) {
      if ((packet[field]! - this.word(at)) >>> 0 > this.word(at + 16)) return false;
      at += 32;
    }
    return true;
  }
}

/** Trees of first-build.ts: leaves are lists of boxes with equal tails. */
class FirstReader extends CellReader {
  constructor(view: DataView, program: Program, tree: number) {
    super(view, program, tree, "first");
  }

  protected rootOf(part: number): number {
    return this.tree + layout.FIRST_HEADER + part * layout.ROOT_BYTES;
  }

  protected childrenOf(cell: number): { first: number; count: number } | null {
    const cut = this.word(cell);
    if ((cut & 1) !== 0) return null;
    let bits = 0;
    while (bits < 16 && this.view.getUint8(cut + 16 + bits) !== 0) bits++;
    return { first: this.word(cell + 4), count: 1 << bits };
  }

  protected leafAt(cell: number): Leaf {
    const clauses: number[] = [];
    let [first, second] = [this.word(cell), this.word(cell + 4)];
    // a leaf without boxes says the answer twice
    if (first === second) {
      if (first >> 1 >= 0) clauses.push(this.#clauseOf(first >> 1));
      return { name: -first, clauses };
    }
    const name = first * 0x1_0000_0000 + second;
    for (;;) {
      clauses.push(this.#clauseOf(first >> 1));
      if ((second & 1) !== 0) break;
      [first, second] = [this.word(second), this.word(second + 4)];
    }
    if (second >> 1 >= 0) clauses.push(this.#clauseOf(second >> 1));
    return { name, clauses };
  }

  askedAt(node: number): readonly Asked[] {
    const cut = this.word(node);
    const byField = new Map<number, number[]>();
    for (let i = 0; i < 16; i++) {
      const mask = this.view.getUint8(cut + 16 + i);
      if (mask === 0) break;
      const byte = this.view.getUint8(cut + i);
      const at = this.word(this.tree + layout.FIRST_LANE_AT + (byte >>> 1) * 4);
      const bit = (at & 3) * 8 + (byte & 1) * 8 + 31 - Math.clz32(mask);
      byField.set(at >>> 2, [...(byField.get(at >>> 2) ?? []), bit]);
    }
    return [...byField].map(([field, bits]) => ({ field, bits: bits.sort((a, b) => b - a) }));
  }

  look(packet: Uint32Array): Looked {
    const halves = new Uint16Array(packet.buffer, packet.byteOffset, packet.length * 2);
    const lanes = Array.from(
      { length: this.word(this.tree + layout.FIRST_LANES) },
      (_, lane) => halves[this.word(this.tree + layout.FIRST_LANE_AT + lane * 4) >>> 1]!,
    );
    const parts: Looked["parts"][number][] = [];
    let best = layout.NONE;
    for (let part = 0; part < this.partCount; part++) {
      const root = this.rootOf(part);
      if (part > 0 && best <= this.word(root + layout.ROOT_LOWEST)) continue;
      const nodes: number[] = [];
      let cell = root;
      for (let children = this.childrenOf(cell); children !== null; children = this.childrenOf(cell)) {
        nodes.push(cell);
        cell = children.first + this.#childNumber(this.word(cell), lanes) * 8;
      }
      let compared = 0;
      let held = 0;
      for (;;) {
        const box = (this.word(cell) >> 1) >>> 0;
        const next = this.word(cell + 4);
        if (compared > 0 && box >= best) break;
        compared++;
        if (this.#holds(box, lanes)) {
          held++;
          best = Math.min(best, box);
          break;
        }
        if ((next & 1) !== 0) {
          best = Math.min(best, (next >> 1) >>> 0);
          break;
        }
        cell = next;
      }
      parts.push({ part, nodes, compared, held });
    }
    return { parts, clause: best === layout.NONE ? null : this.#clauseOf(best) };
  }

  #childNumber(cut: number, lanes: readonly number[]): number {
    let number = 0;
    for (let i = 0; i < 16; i++) {
      const byte = this.view.getUint8(cut + i);
      const value = ((lanes[byte >>> 1] ?? 0) >>> ((byte & 1) * 8)) & 0xff;
      if ((value & this.view.getUint8(cut + 16 + i)) !== 0) number |= 1 << i;
    }
    return number;
  }

  #holds(box: number, lanes: readonly number[]): boolean {
    if (box === layout.NONE) return false;
    const record = this.word(this.tree + layout.FIRST_RECORDS) + box * 2 ** this.word(this.tree + layout.FIRST_SHIFT);
    return lanes.every((value, lane) => {
      const at = record + (lane >>> 3) * 32 + (lane & 7) * 2;
      return ((value - this.view.getUint16(at, true)) & 0xffff) <= this.view.getUint16(at + 16, true);
    });
  }

  #clauseOf(box: number): number {
    const clauses = this.word(this.tree + layout.FIRST_CLAUSES);
    return clauses === 0 ? box : this.word(clauses + box * 4);
  }
}

// -- few boxes

/** The form of few.ts: a table for each field. */
class FewReader implements TreeReader {
  readonly #view: DataView;
  readonly #program: Program;
  readonly #few: number;

  constructor(view: DataView, program: Program, few: number) {
    this.#view = view;
    this.#program = program;
    this.#few = few;
  }

  shape(): TreeShape {
    const { clauses, boxCount: boxes } = this.#program;
    const fields = this.#entries().map(({ field }) => field);
    const part = { nodes: 0, cells: 0, leaves: 1, leafClauses: boxes, longestLeaf: boxes, depths: [1] };
    return { kind: "few", clauses: clauses.length, boxes, fields, parts: [part], replicated: [] };
  }

  /** All boxes are compared at once. */
  look(packet: Uint32Array, from: number): Looked {
    let set = this.#view.getBigUint64(this.#few + layout.FEW_ALL, true);
    for (const { field, byNumber, last, table } of this.#entries()) {
      const value = packet[field]!;
      let place = Math.min(value, last);
      if (!byNumber) {
        place = 0;
        for (let bound = last; bound < table; bound += 4) if (value >= this.#word(bound)) place++;
      }
      set &= this.#view.getBigUint64(table + place * 8, true);
    }
    const hits = new Set<number>();
    for (let box = 0; set !== 0n; box++, set >>= 1n) {
      if ((set & 1n) !== 0n) hits.add(this.#word(this.#few + layout.FEW_CLAUSES + box * 4));
    }
    const course = new Course(this.#program, from);
    while (!course.endsAt(course.nextOf([...hits])));
    const part = { part: 0, nodes: [], compared: this.#program.boxCount, held: hits.size };
    return { parts: [part], clause: course.clause };
  }

  askedAt(): readonly Asked[] {
    return [];
  }

  #word(at: number): number {
    return this.#view.getUint32(at, true);
  }

  #entries(): readonly { field: number; byNumber: boolean; last: number; table: number }[] {
    const entries = [];
    const byNumberEnd = this.#word(this.#few + layout.FEW_BY_NUMBER_END);
    const end = this.#word(this.#few + layout.FEW_BY_BOUNDS_END);
    for (let at = this.#few + layout.FEW_ENTRIES; at < end; at += layout.FEW_ENTRY_BYTES) {
      const field = this.#word(at) / 4;
      entries.push({ field, byNumber: at < byNumberEnd, last: this.#word(at + 4), table: this.#word(at + 8) });
    }
    return entries;
  }
}

function bitsOf(mask: number): readonly number[] {
  return Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => (mask >>> bit) & 1);
}
