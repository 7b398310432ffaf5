// run --synthetic: packets made and classified in WASM by the million, counted, and some of them checked: one in a hundred,
// or where connections are followed the first of all, one after the other.

import type { Outcome, RuleCounter } from "../classifier.ts";
import { compileFirewall } from "../firewall.ts";
import type { StreamStep, Tally } from "../firewall.ts";
import type { Host } from "../host/host.ts";
import type { Arrival } from "../packet/packet.ts";
import { UnsupportedError } from "../reference/error.ts";
import { Reference } from "../reference/reference.ts";
import { rulesOf } from "../rules/ruleset.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import type { TrafficKind } from "../traffic/traffic.ts";
import { printCounters } from "./counts.ts";
import { describeDifference, sameAnswer } from "./difference.ts";
import { referenceFor, remembers } from "./engine.ts";
import { Interrupt } from "./interrupt.ts";
import { grouped } from "./numbers.ts";
import { Origins } from "./origins.ts";
import { Progress } from "./progress.ts";
import { reportForPeople, reportLine } from "./report.ts";

/** One packet in so many is answered by the reference too. */
const CHECKED_OF = 100;
/** ... or fewer, where the reference would have to look at more rules than these in all: it walks every one. */
const MOST_RULES_WALKED = 20_000_000;
/** Where connections are followed the first so many are. */
const CHECKED_FIRST = 10_000;
/** Connections alive at once, about, unless they are told. */
const FLOWS = 100_000;
/** Of connections in the table those that are still talked on: the others wait for their time to pass. */
const TALKED_ON = 0.7;

export interface SyntheticOptions {
  readonly packets: number;
  readonly traffic?: TrafficKind;
  readonly flows?: number;
  readonly seed: number;
  readonly json?: true;
  readonly counters?: true;
  readonly quiet?: true;
  /** As given, to be told with the results. */
  readonly assume?: readonly string[];
}

/** All that a stream came to. */
export interface Summary {
  readonly ruleset: Ruleset;
  readonly traffic: TrafficKind;
  readonly seed: number;
  readonly packets: number;
  /** Milliseconds spent making the packets, and sending them their way. */
  readonly generateMs: number;
  readonly wayMs: number;
  readonly tally: Tally;
  readonly counters: readonly RuleCounter[];
  readonly origins: Origins;
  /** null: the reference could not be asked, because rules remember what came before. */
  readonly checked: number | null;
  readonly disagreements: number;
  /** Connections at the end; null: none are followed. */
  readonly flows: number | null;
  readonly assumed: readonly string[] | undefined;
}

/** The exit code: 1 if engine and reference differ, 130 after ^C. */
export async function streamSynthetic(ruleset: Ruleset, host: Host, options: SyntheticOptions): Promise<number> {
  const traffic = options.traffic ?? "edges";
  const { packets, seed } = options;
  const follows = traffic === "flows";
  const flows = options.flows ?? FLOWS;
  const firewall = compileFirewall(ruleset, host, { seed, flows });
  const reference = follows
    ? new Reference(ruleset, host, { seed, stateless: false })
    : remembers(ruleset)
      ? null
      : referenceFor(ruleset, host, seed);
  const check = new Check(host, reference, follows);
  const origins = new Origins();
  const progress = new Progress("packets", packets, options.quiet !== undefined);
  const interrupt = new Interrupt();

  const done = { packets: 0, generateMs: 0, wayMs: 0 };
  let interrupted = false;
  try {
    const steps = follows
      ? firewall.converse({
          ...{ packets, seed, sampled: Math.min(packets, checkedFirst(ruleset)) },
          conversations: Math.max(1, Math.floor(flows * TALKED_ON)),
        })
      : firewall.stream({ packets, seed, traffic, sampleEvery: checkedOf(packets, ruleset) });
    for (const step of steps) {
      done.packets += step.packets;
      done.generateMs += step.generateMs;
      done.wayMs += step.wayMs;
      for (const { arrival, outcome } of step.samples) if (outcome !== null) origins.add(arrival, outcome);
      check.add(step.samples);
      progress.update(done.packets, `| ${grouped(rateOf(done))}/s`);
      interrupted = await interrupt.pressed();
      if (interrupted) break;
    }
  } finally {
    progress.stop();
    interrupt.release();
  }

  const summary: Summary = {
    ...{ ruleset, traffic, seed, ...done, origins },
    tally: firewall.tally(),
    counters: firewall.counters(),
    checked: check.checked,
    disagreements: check.disagreements,
    flows: follows ? firewall.flowCount : null,
    assumed: options.assume,
  };
  process.stdout.write(textOf(summary, options));
  if (check.first !== null) process.stderr.write(`${check.first}\nengine and reference differ\n`);
  if (check.disagreements > 0) return 1;
  return interrupted ? 130 : 0;
}

/** One packet in so many is checked. */
function checkedOf(packets: number, ruleset: Ruleset): number {
  return Math.max(CHECKED_OF, Math.ceil((packets * rulesOf(ruleset).length) / MOST_RULES_WALKED));
}

/** So many packets are checked, the first of all. */
function checkedFirst(ruleset: Ruleset): number {
  return Math.min(CHECKED_FIRST, Math.ceil(MOST_RULES_WALKED / Math.max(1, rulesOf(ruleset).length)));
}

/** Packets a second over the whole way; the time it takes to make them is told beside it. */
export function rateOf({ packets, wayMs }: Pick<Summary, "packets" | "wayMs">): number {
  return packets / Math.max(1e-9, wayMs / 1000);
}

/** Asks the reference about the samples of a stream. */
class Check {
  checked: number | null;
  disagreements = 0;
  /** The first disagreement, told at length. */
  first: string | null = null;
  readonly #host: Host;
  /** null: it cannot be asked, or not any more. */
  #reference: Reference | null;
  readonly #follows: boolean;

  /** `follows`: what it says of a packet hangs on all those before. */
  constructor(host: Host, reference: Reference | null, follows: boolean) {
    this.#host = host;
    this.#reference = reference;
    this.#follows = follows;
    this.checked = reference === null ? null : 0;
  }

  add(samples: StreamStep["samples"]): void {
    for (const { arrival, outcome } of samples) {
      if (this.#reference === null) return;
      const wanted = this.#answer(arrival);
      if (outcome === null || wanted === null) {
        // a packet that one of them does not model may have changed what the other remembers
        if (this.#follows) this.#reference = null;
        continue;
      }
      this.checked!++;
      if (sameAnswer(outcome, wanted)) continue;
      this.disagreements++;
      this.first ??= describeDifference(arrival, this.#host, outcome, wanted);
      if (this.#follows) this.#reference = null;
    }
  }

  /** null for a packet that is not modelled. */
  #answer(arrival: Arrival): Outcome | null {
    try {
      // the packet's number in the stream, by which lots are drawn, is its id
      return this.#reference!.run(arrival, Number(arrival.id)).outcome;
    } catch (error) {
      if (error instanceof UnsupportedError) return null;
      throw error;
    }
  }
}

function textOf(summary: Summary, options: SyntheticOptions): string {
  if (options.counters !== undefined) return printCounters(summary.ruleset, summary.counters);
  return options.json === undefined ? reportForPeople(summary) : `${JSON.stringify(reportLine(summary))}\n`;
}
