// Two ways to answer packets -> the first packet on which they disagree, as small as it can be made.
//
// Either the engine and the reference, which must agree on every field and on the trace, or the engine with two rule
// sets, which must agree on what becomes of the packet.

import { compileFirewall } from "../firewall.ts";
import type { Answer } from "../firewall.ts";
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
import type { Decider } from "./engine.ts";
import { shrinkLine } from "./shrink.ts";

/** Packets answered between two looks at the clock. */
const PORTION = 4096;

interface Pair {
  readonly left: Answer;
  readonly right: Answer;
}

export interface Finding extends Pair {
  /** The smallest packet found; the one met first if it shows nothing when it is asked alone. */
  readonly line: PacketLine;
  readonly arrival: Arrival;
  /** false: only with the packets before it do they disagree. */
  readonly alone: boolean;
}

interface Sides {
  readonly left: Decider;
  readonly right: Decider;
}

export class Contest {
  readonly #left: Ruleset;
  /** null: the reference plays against the engine. */
  readonly #right: Ruleset | null;
  readonly #host: Host;
  readonly #seed: number;
  readonly #sides: Sides;
  /** Answers depend on what came before: every trial needs sides that have seen nothing. */
  readonly #remembers: boolean;

  constructor(left: Ruleset, right: Ruleset | null, host: Host, seed: number) {
    this.#left = left;
    this.#right = right;
    this.#host = host;
    this.#seed = seed;
    this.#remembers = remembers(left) || (right !== null && remembers(right));
    this.#sides = this.#freshSides();
  }

  /** Packets at the edges of the rules of either side, in portions. */
  *portions(packets: number): Generator<readonly Arrival[]> {
    const sources = [this.#left, ...(this.#right === null ? [] : [this.#right])].map((ruleset) =>
      compileFirewall(ruleset, this.#host, { seed: this.#seed }).stream({
        packets: Number.MAX_SAFE_INTEGER,
        seed: this.#seed,
        traffic: "edges",
        sampleEvery: 1,
      }),
    );
    for (let made = 0; ;) {
      for (const source of sources) {
        const step = source.next();
        if (step.done === true) return;
        const arrivals = step.value.samples.map(({ arrival }) => arrival);
        for (let first = 0; first < arrivals.length; first += PORTION) {
          const portion = arrivals.slice(first, Math.min(first + PORTION, first + packets - made));
          made += portion.length;
          yield portion;
          if (made >= packets) return;
        }
      }
    }
  }

  /** Its index; null: they agree on all. Packets that are not modelled are passed over. */
  firstDisagreement(arrivals: readonly Arrival[]): number | null {
    const index = arrivals.findIndex((arrival) => {
      const answers = this.#answersOf(arrival, this.#sides);
      return answers !== null && !this.#agree(answers.left, answers.right);
    });
    return index < 0 ? null : index;
  }

  /** The disagreement on this packet, made as small as it can be. */
  shrink(arrival: Arrival): Finding {
    const line = arrivalToLine(arrival, this.#host);
    const alone = this.#disagreesOn(line);
    const smallest = alone ? shrinkLine(line, (candidate) => this.#disagreesOn(candidate)) : line;
    const shown = arrivalFrom(smallest, this.#host) ?? arrival;
    return { line: smallest, arrival: shown, ...this.#answersAlone(shown)!, alone };
  }

  #disagreesOn(line: PacketLine): boolean {
    const arrival = arrivalFrom(line, this.#host);
    const answers = arrival === null ? null : this.#answersAlone(arrival);
    return answers !== null && !this.#agree(answers.left, answers.right);
  }

  /** As if no packet had come before. */
  #answersAlone(arrival: Arrival): Pair | null {
    return this.#answersOf(arrival, this.#remembers ? this.#freshSides() : this.#sides);
  }

  /** null for a packet that is not modelled. */
  #answersOf(arrival: Arrival, sides: Sides): Pair | null {
    const [left, right] = [sides.left([arrival]), sides.right([arrival])];
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

  #freshSides(): Sides {
    const left = wasmDecider(this.#left, this.#host, this.#seed, true);
    if (this.#right === null) return { left, right: referenceDecider(this.#left, this.#host, this.#seed) };
    return { left, right: wasmDecider(this.#right, this.#host, this.#seed, true) };
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
