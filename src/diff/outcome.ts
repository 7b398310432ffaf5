// What a chain does to a packet: how it ends there, by which rule, and what has been changed or told on the way.
//
// Outcomes are the leaves of a chain's diagram. Each is kept once and has a number, so that equal ones are one leaf.

import type { Diagram, Node } from "./diagram.ts";
import { FALSE, TRUE } from "./diagram.ts";
import { notesTogether } from "./notes.ts";
import type { Note } from "./notes.ts";
import { FIELD } from "./space.ts";

/** A bit after a change: some bits from before, all XORed, and a constant. */
export interface BitChange {
  readonly of: readonly number[];
  readonly inverted: boolean;
}

/** ttl becomes min(hi, max(lo, ttl + by)). */
export interface TtlChange {
  readonly by: number;
  readonly lo: number;
  readonly hi: number;
}

/** What targets that go on have done, in the words of the packet as it came in. */
export interface Effects {
  readonly bits: ReadonlyMap<number, BitChange>;
  readonly ttl: TtlChange | null;
  /** LOG, NFLOG, TRACE as printed, in order. */
  readonly logs: readonly string[];
  /** Everything else, as printed, in order. */
  readonly others: readonly string[];
  /** What is written down for later packets. */
  readonly notes: readonly Note[];
  /** How raw wants it tracked: the first counts; null: as usual. */
  readonly tracking: string | null;
}

export const NO_EFFECTS: Effects = { bits: new Map(), ttl: null, logs: [], others: [], notes: [], tracking: null };

export type Ending =
  | { readonly kind: "ACCEPT" | "DROP" }
  | { readonly kind: "REJECT"; readonly with: string }
  /** Any other target that ends the chain, with its options as printed. */
  | { readonly kind: "target"; readonly name: string; readonly options: string }
  /** The end of the chain, or a RETURN: what calls it goes on. */
  | { readonly kind: "through" }
  | { readonly kind: "return" };

export interface Outcome {
  readonly ending: Ending;
  /** The number of the rule or policy that decided; 0 where none has. */
  readonly by: number;
  readonly effects: Effects;
}

/** The first leaf of an outcome: 0 and 1 are FALSE and TRUE. */
const FIRST_VALUE = 16;

export class Outcomes {
  readonly #diagram: Diagram;
  readonly #list: Outcome[] = [];
  readonly #numbers = new Map<string, number>();
  /** Composed with what stands before: `number of effects * 2^26 + node`. */
  readonly #after = new Map<string, Map<Node, Node>>();
  readonly through: Node;

  constructor(diagram: Diagram) {
    this.#diagram = diagram;
    this.through = this.leaf({ ending: { kind: "through" }, by: 0, effects: NO_EFFECTS });
  }

  leaf(outcome: Outcome): Node {
    const key = `${keyOfEnding(outcome.ending)} ${outcome.by} ${keyOfEffects(outcome.effects)}`;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#list.length;
      this.#list.push(outcome);
      this.#numbers.set(key, number);
    }
    return this.#diagram.leaf(FIRST_VALUE + number);
  }

  of(leaf: Node): Outcome {
    const outcome = this.#list[this.#diagram.valueOf(leaf) - FIRST_VALUE];
    if (outcome === undefined) throw new Error(`leaf ${leaf} is no outcome`);
    return outcome;
  }

  /** `node` for packets to which `effects` were done before, asked about the packet as it is then. FALSE stays where it is. */
  after(effects: Effects, node: Node): Node {
    const key = keyOfEffects(effects);
    if (key === NOTHING) return node;
    const known = this.#after.get(key) ?? new Map<Node, Node>();
    this.#after.set(key, known);
    const before = known.get(node);
    if (before !== undefined) return before;
    const leafFor = (leaf: Node): Node => {
      if (leaf === FALSE) return FALSE;
      const outcome = this.of(leaf);
      return this.leaf({ ...outcome, effects: together(effects, outcome.effects) });
    };
    const changes = this.functionsOf(effects);
    const answer =
      changes.size === 0
        ? this.#diagram.map(node, leafFor)
        : this.#diagram.substitute(node, (bit) => changes.get(bit), leafFor);
    known.set(node, answer);
    return answer;
  }

  /** Each bit that the effects may have changed, as a function of the packet as it came. */
  functionsOf(effects: Effects): ReadonlyMap<number, Node> {
    const functions = new Map<number, Node>();
    for (const [bit, change] of effects.bits) functions.set(bit, this.#functionOf(change));
    if (effects.ttl !== null) {
      const { first, end } = FIELD.ttl;
      for (let bit = first; bit < end; bit++) functions.set(bit, this.#ttlBit(effects.ttl, end - 1 - bit));
    }
    if (effects.tracking === UNTRACKED) {
      const { first } = FIELD.ct_state;
      // UNTRACKED is 4, without translations
      [1, 0, 0, 0, 0].forEach((value, index) => functions.set(first + index, value === 1 ? TRUE : FALSE));
    }
    return functions;
  }

  #functionOf({ of, inverted }: BitChange): Node {
    const sum = of.map((bit) => this.#diagram.bit(bit)).reduce((a, b) => this.#diagram.xor(a, b), FALSE);
    return inverted ? this.#diagram.not(sum) : sum;
  }

  /** Where the bit of this weight is 1 in the TTL after the change. */
  #ttlBit(change: TtlChange, weight: number): Node {
    const { first, end } = FIELD.ttl;
    const build = (bit: number, value: number): Node => {
      if (bit === end) return ((ttlAfter(change, value) >> weight) & 1) === 1 ? TRUE : FALSE;
      return this.#diagram.node(bit, build(bit + 1, value * 2), build(bit + 1, value * 2 + 1));
    };
    return build(first, 0);
  }
}

export const UNTRACKED = "NOTRACK";

function ttlAfter({ by, lo, hi }: TtlChange, ttl: number): number {
  return Math.min(hi, Math.max(lo, ttl + by));
}

/** First the one, then the other, whose bits are those behind the first. */
export function together(first: Effects, then: Effects): Effects {
  if (first === NO_EFFECTS) return then;
  const bits = new Map(first.bits);
  for (const [bit, change] of then.bits) {
    let inverted = change.inverted;
    const of = new Set<number>();
    for (const source of change.of) {
      const before = first.bits.get(source) ?? { of: [source], inverted: false };
      inverted = inverted !== before.inverted;
      for (const each of before.of) if (!of.delete(each)) of.add(each);
    }
    const sources = [...of].sort((a, b) => a - b);
    if (sources.length === 1 && sources[0] === bit && !inverted) bits.delete(bit);
    else bits.set(bit, { of: sources, inverted });
  }
  return {
    bits,
    ttl: ttlTogether(first.ttl, then.ttl),
    logs: [...first.logs, ...then.logs],
    others: [...first.others, ...then.others],
    notes: notesTogether(first.notes, then.notes),
    tracking: first.tracking ?? then.tracking,
  };
}

function ttlTogether(first: TtlChange | null, then: TtlChange | null): TtlChange | null {
  if (first === null || then === null) return first ?? then;
  const clamp = (value: number): number => Math.min(then.hi, Math.max(then.lo, value + then.by));
  return { by: first.by + then.by, lo: clamp(first.lo), hi: clamp(first.hi) };
}

export function keyOfEnding(ending: Ending): string {
  if (ending.kind === "REJECT") return `REJECT ${ending.with}`;
  return ending.kind === "target" ? `${ending.name}${ending.options}` : ending.kind;
}

const NOTHING = "";

/** Empty for none. */
export function keyOfEffects({ bits, ttl, logs, others, notes, tracking }: Effects): string {
  if (bits.size + logs.length + others.length + notes.length === 0 && ttl === null && tracking === null) return NOTHING;
  const changed = [...bits].sort((a, b) => a[0] - b[0]).map(([bit, { of, inverted }]) => [bit, of, inverted]);
  return JSON.stringify([changed, ttl, logs, others, notes, tracking]);
}
