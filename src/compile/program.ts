// Program: ordered clauses over boxes. What a chain, a routing table and a choice of addresses lower to alike.
//
// A *box* is a product of intervals, one for each field. A clause holds where one of its boxes holds and all its tests
// do; boxes of a clause may overlap, the clause acts once all the same. Clauses are taken in order: an action goes on,
// skips forward, or ends the look-up. The last clause ends it for every packet.

import type {
  ORIGIN_GID,
  ORIGIN_UID,
  TEST_CONNBYTES,
  TEST_CONNECTION,
  TEST_MAC,
  TEST_MASKED,
  TEST_OWNER,
  TEST_IPSET,
  TEST_SET,
  TEST_RPFILTER,
  TEST_SOCKET,
  TEST_TIME,
} from "../layout.ts";
import {
  CLAUSE_COUNTS,
  FIELD_COUNT,
  NONE,
  TEST_BPF,
  TEST_CHUNKS,
  TEST_CLUSTER,
  TEST_CONNLIMIT,
  TEST_DCCP_OPTION,
  TEST_DCCP_TYPES,
  TEST_HASHLIMIT,
  TEST_INTACT,
  TEST_LIMIT,
  TEST_MSS,
  TEST_NFT_LIMIT,
  TEST_NTH,
  TEST_QUOTA,
  TEST_RANDOM,
  TEST_RECENT,
  TEST_SPI,
  TEST_STRING,
  TEST_TCP_OPTION,
  TEST_U32,
} from "../layout.ts";
import type { BpfInstruction, TimeMatch, U32Test } from "../rules/ruleset.ts";
import { MAX_U32 } from "./intervals.ts";
import type { Intervals } from "./intervals.ts";

/** FIELD_COUNT pairs (lo, hi), flat. */
export type Box = readonly number[];

export const WHOLE: Box = Array.from({ length: 2 * FIELD_COUNT }, (_, i) => (i % 2 === 0 ? 0 : MAX_U32));

/** A condition that is no box, tested in the leaf, in order. */
export type Test =
  | {
      readonly kind: typeof TEST_MASKED;
      readonly field: number;
      readonly mask: number;
      readonly value: number;
      readonly negated: boolean;
    }
  | {
      readonly kind: typeof TEST_SET;
      readonly field: number;
      /** Another field that may lie in the set instead; 0: none. */
      readonly orField: number;
      readonly set: Intervals;
    }
  | {
      readonly kind: typeof TEST_IPSET;
      /** Its number. */
      readonly set: number;
      /** SHOW_ bits. */
      readonly show: number;
      readonly negated: boolean;
    }
  | { readonly kind: typeof TEST_LIMIT; readonly state: number; readonly cost: number; readonly cap: number }
  | { readonly kind: typeof TEST_NFT_LIMIT; readonly state: number; readonly cost: number; readonly burst: number }
  | {
      readonly kind: typeof TEST_NTH;
      readonly state: number;
      readonly every: number;
      readonly packet: number;
      readonly negated: boolean;
    }
  | {
      readonly kind: typeof TEST_RANDOM;
      readonly rule: number;
      readonly state: number;
      readonly probability: number;
      readonly negated: boolean;
    }
  | { readonly kind: typeof TEST_INTACT; readonly bytes: number }
  | { readonly kind: typeof TEST_MAC; readonly mac: number; readonly loIface: number; readonly negated: boolean }
  | {
      readonly kind: typeof TEST_OWNER;
      readonly which: typeof ORIGIN_UID | typeof ORIGIN_GID;
      readonly lo: number;
      readonly hi: number;
      readonly negated: boolean;
    }
  | {
      readonly kind: typeof TEST_RECENT;
      readonly list: number;
      readonly flags: number;
      readonly seconds: number;
      readonly hits: number;
      readonly negated: boolean;
    }
  | {
      readonly kind: typeof TEST_CONNECTION;
      /** CONNECTION_. */
      readonly what: number;
      readonly a: number;
      readonly b: number;
      /** What it says of a packet without a connection. */
      readonly without: boolean;
      readonly negated: boolean;
    }
  | {
      readonly kind: typeof TEST_CONNBYTES;
      /** CONNBYTES_. */
      readonly what: number;
      readonly lo: bigint;
      readonly hi: bigint;
      readonly negated: boolean;
    }
  | {
      readonly kind: typeof TEST_CONNLIMIT;
      readonly state: number;
      /** Whose network. */
      readonly field: number;
      readonly mask: number;
      readonly most: number;
      readonly negated: boolean;
    }
  | { readonly kind: typeof TEST_QUOTA; readonly state: number; readonly quota: bigint; readonly negated: boolean }
  | { readonly kind: typeof TEST_HASHLIMIT; readonly table: number; readonly negated: boolean }
  | {
      readonly kind: typeof TEST_STRING;
      readonly flags: number;
      readonly pattern: readonly number[];
      readonly from: number;
      readonly to: number;
      readonly negated: boolean;
    }
  | { readonly kind: typeof TEST_U32; readonly tests: readonly U32Test[]; readonly negated: boolean }
  | { readonly kind: typeof TEST_TIME; readonly time: TimeMatch }
  | { readonly kind: typeof TEST_RPFILTER; readonly flags: number; readonly negated: boolean }
  | { readonly kind: typeof TEST_BPF; readonly program: readonly BpfInstruction[] }
  | {
      readonly kind: typeof TEST_CLUSTER;
      readonly nodes: number;
      readonly mask: number;
      readonly seed: number;
      readonly negated: boolean;
    }
  | { readonly kind: typeof TEST_SOCKET; readonly negated: boolean }
  | {
      readonly kind: typeof TEST_SPI;
      readonly offset: number;
      readonly bits: number;
      readonly lo: number;
      readonly hi: number;
      readonly negated: boolean;
    }
  | {
      readonly kind: typeof TEST_CHUNKS;
      /** CHUNKS_. */
      readonly which: number;
      readonly chunks: readonly { readonly type: number; readonly mask: number; readonly flags: number }[];
      readonly negated: boolean;
    }
  | { readonly kind: typeof TEST_DCCP_TYPES; readonly mask: number; readonly negated: boolean }
  | {
      readonly kind: typeof TEST_DCCP_OPTION | typeof TEST_TCP_OPTION;
      readonly option: number;
      readonly negated: boolean;
    }
  | { readonly kind: typeof TEST_MSS; readonly lo: number; readonly hi: number; readonly negated: boolean };

/** TEST_MSS, TEST_INTACT and those that ask for the payload drop broken packets; TEST_CLUSTER changes what the frame is taken for. */
const REMEMBERING: readonly Test["kind"][] = [
  TEST_CLUSTER,
  TEST_LIMIT,
  TEST_NFT_LIMIT,
  TEST_NTH,
  TEST_RANDOM,
  TEST_INTACT,
  TEST_MSS,
  TEST_RECENT,
  TEST_QUOTA,
  TEST_CONNLIMIT,
  TEST_HASHLIMIT,
  TEST_SPI,
  TEST_CHUNKS,
  TEST_DCCP_TYPES,
  TEST_DCCP_OPTION,
  TEST_TCP_OPTION,
  TEST_STRING,
  TEST_U32,
  TEST_BPF,
];

/** Tests whose evaluation leaves a trace behind: a rule that has one is evaluated even if it does nothing else. */
export function remembers(test: Test): boolean {
  return REMEMBERING.includes(test.kind);
}

export interface Clause {
  readonly action: number;
  /** NONE: no rule. */
  readonly rule: number;
  readonly arg: number;
  readonly arg2: number;
  readonly tests: readonly Test[];
  readonly counts: boolean;
  /** Words in the program's data, to which `arg` then leads. */
  readonly record: readonly number[] | null;
  /** Of ACTION_SET. */
  readonly field: number;
}

/** A place in the program not yet known: clauses may skip to it before it stands. */
export interface Label {
  index: number;
}

export interface Program {
  readonly clauses: readonly Clause[];
  /** Clause number, then 2 * FIELD_COUNT bounds; sorted by clause. */
  readonly boxes: Uint32Array;
  readonly boxCount: number;
  /** Fields that some action changes: the tree may not cut on them. */
  readonly volatileFields: number;
  /** Programs that clauses CALL by index; the same list for all programs of one chain. */
  readonly subs: readonly Program[];
}

const BOX_WORDS = 1 + 2 * FIELD_COUNT;

/** Collects clauses and boxes; labels are resolved by `finish`. */
export class ProgramBuilder {
  readonly #clauses: Clause[] = [];
  /** Clauses whose `arg` is to be known by `finish`. */
  readonly #skips: { readonly clause: { arg: number }; readonly label: Label }[] = [];
  #boxes = new Uint32Array(64 * BOX_WORDS);
  #boxCount = 0;

  get clauseCount(): number {
    return this.#clauses.length;
  }

  get boxCount(): number {
    return this.#boxCount;
  }

  /** A clause that holds in the union of `boxes`. A clause without boxes never holds and is left out. */
  add(
    boxes: readonly Box[],
    action: number,
    options: {
      rule?: number;
      arg?: number;
      arg2?: number;
      tests?: readonly Test[];
      counts?: boolean;
      record?: readonly number[];
      field?: number;
      to?: Label;
    } = {},
  ): void {
    if (boxes.length === 0) return;
    const index = this.#clauses.length;
    const clause = {
      action,
      rule: options.rule ?? NONE,
      arg: options.arg ?? 0,
      arg2: options.arg2 ?? 0,
      tests: options.tests ?? NO_TESTS,
      counts: options.counts ?? false,
      record: options.record ?? null,
      field: options.field ?? 0,
    };
    if (options.to !== undefined) this.#skips.push({ clause, label: options.to });
    this.#clauses.push(clause);
    for (const box of boxes) this.#addBox(index, box);
  }

  /** Puts the label before the next clause. */
  place(label: Label): void {
    label.index = this.#clauses.length;
  }

  finish(volatileFields: number, subs: readonly Program[] = []): Program {
    for (const { clause, label } of this.#skips) {
      if (label.index < 0) throw new Error("a skip leads to a label that was never placed");
      clause.arg = label.index;
    }
    return {
      clauses: this.#clauses,
      boxes: this.#boxes.subarray(0, this.#boxCount * BOX_WORDS),
      boxCount: this.#boxCount,
      volatileFields,
      subs,
    };
  }

  #addBox(clause: number, box: Box): void {
    const at = this.#boxCount * BOX_WORDS;
    if (at + BOX_WORDS > this.#boxes.length) {
      const grown = new Uint32Array(this.#boxes.length * 2);
      grown.set(this.#boxes);
      this.#boxes = grown;
    }
    this.#boxes[at] = clause;
    for (let i = 0; i < 2 * FIELD_COUNT; i++) this.#boxes[at + 1 + i] = box[i]!;
    this.#boxCount++;
  }
}

const NO_TESTS: readonly Test[] = [];

export function newLabel(): Label {
  return { index: -1 };
}

/** The common part of two unions of boxes. */
export function intersectBoxes(a: readonly Box[], b: readonly Box[]): readonly Box[] {
  if (a.length === 1 && a[0] === WHOLE) return b;
  if (b.length === 1 && b[0] === WHOLE) return a;
  const out: Box[] = [];
  for (const left of a) {
    for (const right of b) {
      const box = intersectBox(left, right);
      if (box !== null) out.push(box);
    }
  }
  return out;
}

function intersectBox(a: Box, b: Box): Box | null {
  const out = new Array<number>(2 * FIELD_COUNT);
  for (let i = 0; i < 2 * FIELD_COUNT; i += 2) {
    const lo = Math.max(a[i]!, b[i]!);
    const hi = Math.min(a[i + 1]!, b[i + 1]!);
    if (lo > hi) return null;
    out[i] = lo;
    out[i + 1] = hi;
  }
  return out;
}

export { BOX_WORDS, CLAUSE_COUNTS };
