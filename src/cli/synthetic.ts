// run --synthetic: packets made and classified in WASM by the million, counted, and some of them checked: one in a hundred,
// or where connections are followed the first of all, one after the other.

import type { RuleCounter } from "../classifier.ts";
import { compileFirewall } from "../firewall.ts";
import type { Tally } from "../firewall.ts";
import type { Host } from "../host/host.ts";
import { Reference } from "../reference/reference.ts";
import { rulesOf } from "../rules/ruleset.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import type { TrafficKind } from "../traffic/traffic.ts";
import { Check } from "./check.ts";
import { printCounters } from "./counts.ts";
import { referenceFor, remembers } from "./engine.ts";
import { UsageError } from "./errors.ts";
import { Interrupt } from "./interrupt.ts";
import { grouped } from "./numbers.ts";
import { Origins } from "./origins.ts";
import { Progress } from "./progress.ts";
import { reportForPeople, reportLine } from "./report.ts";
import { streamInThreads } from "./streamers.ts";
import type { PortionDone } from "./streamers.ts";

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
  readonly threads: number;
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
  readonly threads: number;
  /** Milliseconds spent making the packets, and sending them their way; of several threads what each spends. */
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
  refuseSharedState(ruleset, options);
  const progress = new Progress("packets", options.packets, options.quiet !== undefined);
  const interrupt = new Interrupt();
  let streamed: Streamed;
  try {
    streamed = await (options.threads === 1 ? streamHere : streamShared)(ruleset, host, options, progress, interrupt);
  } finally {
    progress.stop();
    interrupt.release();
  }
  const { traffic = "edges", seed, threads, assume: assumed } = options;
  const summary: Summary = { ruleset, traffic, seed, threads, ...streamed, assumed };
  process.stdout.write(textOf(summary, options));
  if (streamed.first !== null) process.stderr.write(`${streamed.first}\nengine and reference differ\n`);
  if (summary.disagreements > 0) return 1;
  return interrupt.signal.aborted ? 130 : 0;
}

/** What packets leave behind for later ones hangs on their order, which several threads do not keep. */
function refuseSharedState(ruleset: Ruleset, { traffic, threads }: SyntheticOptions): void {
  if (threads === 1) return;
  if (traffic === "flows") {
    throw new UsageError(
      "--threads: --traffic flows follows connections, which all packets share; it takes one thread",
    );
  }
  if (remembers(ruleset)) {
    throw new UsageError("--threads: some rule remembers what came before; such rules take one thread");
  }
}

interface Streamed extends Omit<Summary, "ruleset" | "traffic" | "seed" | "threads" | "assumed"> {
  /** The first disagreement, told at length. */
  readonly first: string | null;
}

async function streamHere(
  ruleset: Ruleset,
  host: Host,
  options: SyntheticOptions,
  progress: Progress,
  interrupt: Interrupt,
): Promise<Streamed> {
  const { packets, seed, traffic = "edges" } = options;
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
  const done = { packets: 0, generateMs: 0, wayMs: 0 };
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
    if (await interrupt.pressed()) break;
  }
  const { checked, disagreements, first } = check;
  return {
    ...{ ...done, origins, checked, disagreements, first },
    tally: firewall.tally(),
    counters: firewall.counters(),
    flows: follows ? firewall.flowCount : null,
  };
}

async function streamShared(
  ruleset: Ruleset,
  host: Host,
  { packets, seed, threads, traffic = "edges" }: SyntheticOptions,
  progress: Progress,
  interrupt: Interrupt,
): Promise<Streamed> {
  const origins = new Origins();
  const done = { packets: 0, generateMs: 0, wayMs: 0, checked: 0, disagreements: 0 };
  let first: string | null = null;
  const take = (portion: PortionDone): void => {
    done.packets += portion.packets;
    done.generateMs += portion.generateMs / threads;
    done.wayMs += portion.wayMs / threads;
    done.checked += portion.checked;
    done.disagreements += portion.disagreements;
    first ??= portion.first;
    for (const { arrival, outcome } of portion.translated) origins.add(arrival, outcome);
    progress.update(done.packets, `| ${grouped(rateOf(done))}/s`);
  };
  const totals = await streamInThreads(
    { ruleset, host, seed, traffic, sampleEvery: checkedOf(packets, ruleset) },
    { packets, threads },
    () => interrupt.pressed(),
    take,
  );
  return { ...done, ...totals, origins, first, flows: null };
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

function textOf(summary: Summary, options: SyntheticOptions): string {
  if (options.counters !== undefined) return printCounters(summary.ruleset, summary.counters);
  return options.json === undefined ? reportForPeople(summary) : `${JSON.stringify(reportLine(summary))}\n`;
}
