// run --synthetic by several threads: what they come to is the same for any number of them.
//
// Each packet of a stream is made from its number, and here nothing that it leaves behind is seen by another. So portions are
// handed out in order to threads that have an engine each, which counts on; what the engines have counted is added up in
// the end. What is told of samples is taken in the order of the portions.

import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import type { Outcome, RuleCounter } from "../classifier.ts";
import { PLACES, VERDICTS } from "../engine/records.ts";
import { compileFirewall } from "../firewall.ts";
import type { Firewall, Tally } from "../firewall.ts";
import type { Host } from "../host/host.ts";
import type { Arrival } from "../packet/packet.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import type { TrafficKind } from "../traffic/traffic.ts";
import { Check } from "./check.ts";
import { referenceFor } from "./engine.ts";

/** Packets that a thread takes at a time. */
const PORTION = 1 << 16;

export interface StreamShare {
  readonly ruleset: Ruleset;
  readonly host: Host;
  readonly seed: number;
  readonly traffic: TrafficKind;
  /** One packet in so many is checked. */
  readonly sampleEvery: number;
}

export interface PortionDone {
  readonly packets: number;
  readonly generateMs: number;
  readonly wayMs: number;
  readonly checked: number;
  readonly disagreements: number;
  /** The first disagreement, told at length. */
  readonly first: string | null;
  /** Samples that NAT has changed. */
  readonly translated: readonly { readonly arrival: Arrival; readonly outcome: Outcome }[];
}

export interface Totals {
  readonly tally: Tally;
  readonly counters: readonly RuleCounter[];
}

/** A portion of packets, or null: tell the totals. */
type Order = { readonly first: number; readonly count: number } | null;

/** @param stopped asked between portions @param take gets what was done, in the order of the stream */
export async function streamInThreads(
  share: StreamShare,
  { packets, threads }: { readonly packets: number; readonly threads: number },
  stopped: () => Promise<boolean>,
  take: (done: PortionDone) => void,
): Promise<Totals> {
  const own = new Streamer(share);
  const workers = Array.from(
    { length: threads - 1 },
    () => new Worker(new URL(import.meta.url), { workerData: { share } }),
  );
  let next = 0;
  let taken = 0;
  let ended = false;
  const waiting = new Map<number, PortionDone>();

  const work = async (send: (order: Order) => unknown): Promise<Totals> => {
    while (!ended && next * PORTION < packets) {
      const portion = next++;
      const first = portion * PORTION;
      const done = (await send({ first, count: Math.min(PORTION, packets - first) })) as PortionDone;
      waiting.set(portion, done);
      for (let ready = waiting.get(taken); ready !== undefined; ready = waiting.get(taken)) {
        waiting.delete(taken++);
        take(ready);
      }
      ended ||= await stopped();
    }
    return (await send(null)) as Totals;
  };
  try {
    const totals = await Promise.all([
      work((order) => own.obey(order)),
      ...workers.map((worker) => work((order) => askWorker(worker, order))),
    ]);
    return totals.reduce(add);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

class Streamer {
  readonly #share: StreamShare;
  readonly #firewall: Firewall;

  constructor(share: StreamShare) {
    this.#share = share;
    this.#firewall = compileFirewall(share.ruleset, share.host, { seed: share.seed });
  }

  obey(order: Order): PortionDone | Totals {
    if (order === null) return { tally: this.#firewall.tally(), counters: this.#firewall.counters() };
    const { ruleset, host, seed, traffic, sampleEvery } = this.#share;
    const check = new Check(host, referenceFor(ruleset, host, seed), false);
    const translated: PortionDone["translated"][number][] = [];
    const done = { packets: 0, generateMs: 0, wayMs: 0 };
    for (const step of this.#firewall.stream({
      packets: order.count,
      first: order.first,
      seed,
      traffic,
      sampleEvery,
    })) {
      done.packets += step.packets;
      done.generateMs += step.generateMs;
      done.wayMs += step.wayMs;
      check.add(step.samples);
      for (const { arrival, outcome } of step.samples) {
        if (outcome !== null && (outcome.dnatRule !== null || outcome.snatRule !== null)) {
          translated.push({ arrival, outcome });
        }
      }
    }
    return { ...done, checked: check.checked!, disagreements: check.disagreements, first: check.first, translated };
  }
}

/** One order at a time. Throws what the thread throws. */
function askWorker(worker: Worker, order: Order): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.once("message", (answer: unknown) => {
      worker.off("error", reject);
      resolve(answer);
    });
    worker.postMessage(order);
  });
}

function add(a: Totals, b: Totals): Totals {
  const verdictKey = ({ verdict, where }: Tally["verdicts"][number]): string => `${verdict} ${where ?? ""}`;
  const natKey = ({ rule, kind, address, port }: Tally["nat"][number]): string =>
    [rule.table, rule.chain, rule.number, kind, address, port].join(" ");
  return {
    tally: {
      verdicts: addPackets(a.tally.verdicts, b.tally.verdicts, verdictKey).sort(
        (one, other) => placeOf(one) - placeOf(other),
      ),
      unmodelled: a.tally.unmodelled + b.tally.unmodelled,
      nat: addPackets(a.tally.nat, b.tally.nat, natKey),
      natOthers: a.tally.natOthers + b.tally.natOthers,
    },
    counters: a.counters.map(({ ref, packets, bytes }, i) => ({
      ref,
      packets: packets + b.counters[i]!.packets,
      bytes: bytes + b.counters[i]!.bytes,
    })),
  };
}

/** As the tally of one engine orders them. */
function placeOf({ verdict, where }: Tally["verdicts"][number]): number {
  return VERDICTS.findIndex((each) => each === verdict) * PLACES.length + (where === null ? 0 : PLACES.indexOf(where));
}

/** Entries that have the same key become one. */
function addPackets<T extends { readonly packets: number }>(
  a: readonly T[],
  b: readonly T[],
  keyOf: (entry: T) => string,
): T[] {
  const sums = new Map<string, T>();
  for (const entry of [...a, ...b]) {
    const known = sums.get(keyOf(entry));
    sums.set(keyOf(entry), known === undefined ? entry : { ...entry, packets: known.packets + entry.packets });
  }
  return [...sums.values()];
}

const given = workerData as { readonly share?: StreamShare } | null;
if (!isMainThread && parentPort !== null && given?.share !== undefined) {
  const port = parentPort;
  const streamer = new Streamer(given.share);
  port.on("message", (order: Order) => {
    port.postMessage(streamer.obey(order));
  });
}
