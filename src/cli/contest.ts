// Two ways to answer packets -> the first packet on which they disagree, as small as it can be made.
//
// Either the engine and the reference, which must agree on every field and on the trace, or the engine with two rule
// sets, which must agree on what becomes of the packet.

import { compileFirewall } from "../firewall.ts";
import type { Answer, Firewall } from "../firewall.ts";
import type { Outcome } from "../classifier.ts";
import type { Host } from "../host/host.ts";
import { PacketError } from "../packet/error.ts";
import { parseArrival } from "../packet/line.ts";
import type { Arrival } from "../packet/packet.ts";
import { arrivalToLine } from "../packet/print.ts";
import type { PacketLine } from "../packet/print.ts";
import { UnsupportedError } from "../reference/error.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import { sameAnswer } from "./difference.ts";
import { referenceDecider, remembers, wasmDecider } from "./engine.ts";
import type { Decider, DeciderOptions } from "./engine.ts";
import { shrinkLine } from "./shrink.ts";

/** Packets that are searched at once. */
export const PORTION = 4096;

interface Pair {
  readonly left: Answer;
  readonly right: Answer;
}

export interface Finding extends Pair {
  /** The smallest packet found; the one met first if it shows nothing when it is asked alone. */
  readonly line: PacketLine;
  readonly arrival: Arrival;
  /** false: as the first packet of a run it shows nothing, because of what rules remember or draw by lot. */
  readonly alone: boolean;
  /** Of two rule sets: the reference gives the same two answers. */
  readonly confirmed: boolean;
}

interface Sides {
  readonly left: Decider;
  readonly right: Decider;
}

/** Plain data, which a thread can be sent. */
export interface ContestOptions {
  readonly left: Ruleset;
  /** null: the reference plays against the engine. */
  readonly right: Ruleset | null;
  readonly host: Host;
  readonly seed: number;
}

export class Contest {
  readonly #left: Ruleset;
  readonly #right: Ruleset | null;
  readonly #host: Host;
  readonly #seed: number;
  /** Whose rules packets are drawn for, in turn. */
  readonly #sources: readonly Firewall[];
  /** Answers hang on the packets before: every portion and every trial needs sides that have seen nothing. */
  readonly #ordered: boolean;
  #sides: Sides;

  constructor({ left, right, host, seed }: ContestOptions) {
    this.#left = left;
    this.#right = right;
    this.#host = host;
    this.#seed = seed;
    this.#ordered = remembers(left) || (right !== null && remembers(right));
    this.#sources = [left, ...(right === null ? [] : [right])].map((ruleset) =>
      compileFirewall(ruleset, host, { seed }),
    );
    this.#sides = this.#freshSides();
  }

  /**
   * Looks at the first `count` packets of a portion, at the edges of the rules of one side: the index of the first on which
   * the sides disagree, and what is found about it; null: they agree on all. Packets that are not modelled are passed over.
   * The answer hangs on the portion's number and the seed alone.
   */
  search(portion: number, count: number): { readonly index: number; readonly finding: Finding } | null {
    const source = this.#sources[portion % this.#sources.length]!;
    const first = Math.floor(portion / this.#sources.length) * PORTION;
    const arrivals = source.draw(first, count, { seed: this.#seed, traffic: "edges" });
    if (this.#ordered) this.#sides = this.#freshSides();
    for (const [index, arrival] of arrivals.entries()) {
      const place = portion * PORTION + index;
      const answers = this.#answersOf(arrival, place, this.#sides);
      if (answers === null || this.#agree(answers.left, answers.right)) continue;
      return { index, finding: this.#shrink(arrival, place, answers) };
    }
    return null;
  }

  /** The disagreement on this packet, made as small as it can be; @param place its index in the run */
  #shrink(arrival: Arrival, place: number, answers: Pair): Finding {
    const line = arrivalToLine(arrival, this.#host);
    const at = [0, place].find((each) => this.#disagreesOn(line, each));
    if (at === undefined) return { line, arrival, ...answers, alone: false, confirmed: false };
    const smallest = shrinkLine(line, (candidate) => this.#disagreesOn(candidate, at));
    const shown = arrivalFrom(smallest, this.#host)!;
    const pair = this.#answersAt(shown, at)!;
    return { line: smallest, arrival: shown, ...pair, alone: at === 0, confirmed: this.#confirms(shown, at, pair) };
  }

  #confirms(arrival: Arrival, place: number, { left, right }: Pair): boolean {
    if (this.#right === null) return false;
    const judged = [this.#left, this.#right].map(
      (ruleset) => referenceDecider(ruleset, this.#host, this.#options).answer([arrival], place).answers[0],
    );
    return [left, right].every((answer, side) => judged[side] !== undefined && sameAnswer(answer, judged[side]));
  }

  #disagreesOn(line: PacketLine, place: number): boolean {
    const arrival = arrivalFrom(line, this.#host);
    const answers = arrival === null ? null : this.#answersAt(arrival, place);
    return answers !== null && !this.#agree(answers.left, answers.right);
  }

  /** As if no packet had come before. */
  #answersAt(arrival: Arrival, place: number): Pair | null {
    return this.#answersOf(arrival, place, this.#ordered ? this.#freshSides() : this.#sides);
  }

  /** null for a packet that is not modelled. */
  #answersOf(arrival: Arrival, place: number, sides: Sides): Pair | null {
    const [left, right] = [sides.left.answer([arrival], place), sides.right.answer([arrival], place)];
    for (const { failure } of [left, right]) {
      if (failure !== null && !(failure instanceof UnsupportedError)) throw failure;
    }
    if (left.failure !== null || right.failure !== null) return null;
    return { left: left.answers[0]!, right: right.answers[0]! };
  }

  #agree(left: Answer, right: Answer): boolean {
    if (this.#right === null) return sameAnswer(left, right);
    const lots = left.outcome.chosen && right.outcome.chosen;
    return sameAnswer(behaviourOf(left.outcome, lots), behaviourOf(right.outcome, lots));
  }

  get #options(): DeciderOptions {
    return { seed: this.#seed, stateless: true, trace: true, backend: "legacy", limitErrors: false };
  }

  #freshSides(): Sides {
    const left = wasmDecider(this.#left, this.#host, this.#options);
    if (this.#right === null) return { left, right: referenceDecider(this.#left, this.#host, this.#options) };
    return { left, right: wasmDecider(this.#right, this.#host, this.#options) };
  }
}

/** What becomes of a packet, whatever rules made it so. @param lots ports were drawn by lot on both sides */
function behaviourOf(
  { verdict, where, iface, packet, reply, errno, fragments, delivered }: Outcome,
  lots: boolean,
): object {
  if (where !== null) return { verdict, where, reply, errno };
  const { sport, dport, icmpId, ...header } = packet;
  return { verdict, iface, header, ...(lots ? {} : { sport, dport, icmpId }), reply, fragments, delivered };
}

/** null for a line that means no packet. */
function arrivalFrom(line: PacketLine, host: Host): Arrival | null {
  try {
    return parseArrival(JSON.stringify(line), "", 1, host);
  } catch (error) {
    if (error instanceof PacketError) return null;
    throw error;
  }
}
