// Where a proof would cost too much: packets by the million through one chain of both rule sets. No proof of anything.
//
// Packets are drawn at the edges of the rules of one side and the other in turn; both engines answer each portion.

import { readArrival } from "../engine/records.ts";
import { benchChain } from "../firewall.ts";
import type { BenchChain } from "../firewall.ts";
import { parseHost } from "../host/parse.ts";
import { FIELD_COUNT, FIELD_IN_IFACE, FIELD_OUT_IFACE } from "../layout.ts";
import { arrivalToLine } from "../packet/print.ts";
import { printTarget } from "../rules/print.ts";
import type { Hook, Ruleset, TableName } from "../rules/ruleset.ts";
import { tableOf } from "./alignment.ts";
import { standIn } from "./engine.ts";

export interface SampleOptions {
  readonly packets: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
  readonly progress?: (packets: number) => void;
}

export interface Sampled {
  readonly packets: number;
  /** A packet line on which they differ; null: none was found. */
  readonly witness: Readonly<Record<string, unknown>> | null;
}

const PORTION = 1 << 18;

/** Throws a RuleError or an UnsupportedError for what the engine does not model. */
export async function sampleChain(
  oldRuleset: Ruleset,
  newRuleset: Ruleset,
  tableName: TableName,
  hook: Hook,
  options: SampleOptions,
): Promise<Sampled> {
  const sides = [oldRuleset, newRuleset].map((ruleset) => {
    const alone = { ...ruleset, tables: [tableOf(ruleset, tableName)] };
    return {
      ruleset: alone,
      bench: benchChain(alone, tableName, hook, { seed: options.seed }),
      doings: doingsOf(alone),
    };
  });
  let packets = 0;
  for (let portion = 0; packets < options.packets && options.signal?.aborted !== true; portion++) {
    const [drawn, other] = portion % 2 === 0 ? [sides[0]!, sides[1]!] : [sides[1]!, sides[0]!];
    const count = Math.min(PORTION, options.packets - packets);
    drawn.bench.draw(count, { seed: (options.seed + portion) >>> 0, traffic: portion % 4 < 2 ? "edges" : "uniform" });
    const records = drawn.bench.batch.records().slice();
    other.bench.batch.load(renumbered(records, drawn.bench, other));
    const does = [drawn, other].map(({ bench, doings }) => {
      bench.batch.classify();
      return Array.from(bench.batch.answers(), (answer) => doings[bench.batch.ruleOf(answer)]);
    });
    const at = does[0]!.findIndex((each, index) => each !== does[1]![index]);
    if (at >= 0) return { packets: packets + at + 1, witness: lineOf(records, at, drawn.bench) };
    packets += count;
    options.progress?.(packets);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return { packets, witness: null };
}

/** What each rule, and behind them each policy, does to a packet whose way ends with it. */
function doingsOf(ruleset: Ruleset): readonly string[] {
  const chains = ruleset.tables.flatMap((table) => table.chains);
  const rules = chains.flatMap((chain) => chain.rules);
  const policies = chains.filter(({ policy }) => policy !== null);
  return [
    ...rules.map(({ target }) => (target === null ? "" : printTarget(target, 4))),
    ...policies.map(({ policy }) => ` -j ${policy}`),
  ];
}

function renumbered(
  records: Uint32Array<ArrayBuffer>,
  from: BenchChain,
  { ruleset, bench }: { readonly ruleset: Ruleset; readonly bench: BenchChain },
): Uint32Array<ArrayBuffer> {
  const numbers = ["", ...from.interfaces.names].map((name, number) =>
    number === 0 ? 0 : bench.interfaces.numberOf(standIn(name, ruleset, bench.interfaces)),
  );
  const own = records.slice();
  for (let at = 0; at < own.length; at += FIELD_COUNT) {
    own[at + FIELD_IN_IFACE] = numbers[own[at + FIELD_IN_IFACE]!]!;
    own[at + FIELD_OUT_IFACE] = numbers[own[at + FIELD_OUT_IFACE]!]!;
  }
  return own;
}

function lineOf(records: Uint32Array<ArrayBuffer>, at: number, { interfaces }: BenchChain): Sampled["witness"] {
  const words = records.slice(at * FIELD_COUNT, (at + 1) * FIELD_COUNT);
  const arrival = readArrival(words, at, interfaces);
  const host = parseHost(JSON.stringify({ interfaces: interfaces.names.map((name) => ({ name })) }), "the chain");
  return { ...arrivalToLine(arrival, host) };
}
