// Classification beside a linear scan of the same rules, for each family and size: `npm run bench`.
//
//     npm run bench -- [--json] [--sizes 1000,10000] [--data FOLDER]
//
// Filter sets and chains are drawn from seeds (filterset.ts, chains.ts); with --data the filter sets of a folder, each
// NAME.rules.gz with NAME.trace.gz, are measured too. One operation is one pass over all packets. The scan of a filter set is
// plain TypeScript over a typed array, that of a chain is the reference. Both are given fewer
// packets, they are slow; on these the answers are compared.

import Benchmark from "benchmark";
import { readdirSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";
import type { Batch } from "../src/engine/batch.ts";
import { readArrival } from "../src/engine/records.ts";
import { benchChain, benchClassbench } from "../src/firewall.ts";
import {
  CT_DNAT_BIT,
  CT_SNAT_BIT,
  FIELD_COUNT,
  FIELD_CT_STATE,
  FIELD_DPORT,
  FIELD_DST,
  FIELD_OUT_IFACE,
  FIELD_PROTO,
  FIELD_SPORT,
  FIELD_SRC,
  NONE,
} from "../src/layout.ts";
import { ChainWorld, runChain } from "../src/reference/reference.ts";
import { parseClassbench } from "../src/rules/classbench.ts";
import type { ClassbenchRule } from "../src/rules/classbench.ts";
import { parseRuleset } from "../src/rules/parse.ts";
import { drawChainSet, KINDS } from "./chains.ts";
import type { ChainSet } from "./chains.ts";
import { drawFilterSet, drawTrace, FAMILIES } from "./filterset.ts";

const PACKETS = 100_000;
/** Rules times packets that one pass of a scan may look at. */
const SCANNED_PAIRS = 10_000_000;
/** Larger chains take the reference minutes. */
const MOST_CHAIN_RULES = 10_000;
const SEED = 1;

const { values: options } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    sizes: { type: "string", default: "1000,10000,100000" },
    data: { type: "string" },
  },
});

/** The columns of a trace. */
const FIELDS = [FIELD_SRC, FIELD_DST, FIELD_SPORT, FIELD_DPORT, FIELD_PROTO];

/** What is measured: packets stand in the batch, `scan` answers the same for one of them. */
interface Subject {
  readonly name: string;
  readonly rules: number;
  readonly buildMs: number;
  readonly batch: Batch;
  readonly answerOf: (packet: number) => string | number;
  readonly scan: (packet: number) => string | number;
  /** What the scan remembers is forgotten. */
  readonly restart: () => void;
}

function* subjects(): Generator<Subject> {
  const sizes = options.sizes.split(",").map(Number);
  for (const family of FAMILIES) {
    for (const size of sizes) {
      const rules = drawFilterSet(family, size, SEED);
      yield ofFilterSet(`${family} ${size}`, rules, drawTrace(rules, PACKETS, SEED));
    }
  }
  for (const kind of KINDS) {
    for (const size of sizes) {
      if (size <= MOST_CHAIN_RULES) yield ofChain(`${kind} ${size}`, drawChainSet(kind, size, SEED));
    }
  }
  const files =
    options.data === undefined ? [] : readdirSync(options.data).filter((name) => name.endsWith(".rules.gz"));
  for (const file of files) {
    const name = file.slice(0, -".rules.gz".length);
    const text = (ending: string): string =>
      gunzipSync(readFileSync(`${options.data!}/${name}.${ending}.gz`)).toString();
    const trace = text("trace").trim().split("\n");
    const packets = trace.map((line) => line.split(" ", 5).map(Number));
    yield ofFilterSet(name, parseClassbench(text("rules"), file), packets);
  }
}

function ofFilterSet(name: string, rules: readonly ClassbenchRule[], packets: readonly (readonly number[])[]): Subject {
  const began = performance.now();
  const batch = benchClassbench(rules);
  const buildMs = performance.now() - began;
  const records = new Uint32Array(packets.length * FIELD_COUNT);
  packets.forEach((packet, i) => {
    FIELDS.forEach((field, column) => {
      records[i * FIELD_COUNT + field] = packet[column]!;
    });
  });
  batch.load(records);
  const bounds = flatten(rules);
  return {
    ...{ name, rules: rules.length, buildMs, batch },
    answerOf: (packet) => (batch.answers()[packet] === NONE ? -1 : batch.answers()[packet]!),
    scan: (packet) => firstOf(bounds, packets[packet]!),
    restart: () => undefined,
  };
}

function ofChain(name: string, { text, table, hook }: ChainSet): Subject {
  const ruleset = parseRuleset(text, { file: name });
  const began = performance.now();
  const { batch, rules, interfaces, draw } = benchChain(ruleset, table, hook);
  const buildMs = performance.now() - began;
  draw(PACKETS);
  const records = batch.records().slice();
  let world = new ChainWorld(ruleset, SEED);
  return {
    ...{ name, rules: rules.ruleCount, buildMs, batch },
    answerOf: (packet) => {
      const { chain, number } = rules.refOf(batch.ruleOf(batch.answers()[packet]!));
      return `${chain}:${number}`;
    },
    scan: (packet) => {
      const words = records.subarray(packet * FIELD_COUNT, (packet + 1) * FIELD_COUNT);
      const arrival = readArrival(words, packet, interfaces);
      world.memory.start(packet, 0);
      const { rule } = runChain(
        ruleset,
        table,
        hook,
        {
          packet: arrival.packet,
          mark: arrival.mark,
          inIface: arrival.inIface,
          outIface: interfaces.nameOf(words[FIELD_OUT_IFACE]!),
          ctState: arrival.ctState ?? "NEW",
          sourceTranslated: (words[FIELD_CT_STATE]! & CT_SNAT_BIT) !== 0,
          destinationTranslated: (words[FIELD_CT_STATE]! & CT_DNAT_BIT) !== 0,
        },
        world,
      );
      return `${rule.chain}:${rule.number}`;
    },
    restart: () => {
      world = new ChainWorld(ruleset, SEED);
    },
  };
}

interface Result {
  readonly set: string;
  readonly rules: number;
  readonly build_ms: number;
  readonly tree_bytes: number;
  readonly memory_bytes: number;
  /** Million packets/s. */
  readonly tree: number;
  readonly scan: number;
}

function measure({ name, rules, buildMs, batch, answerOf, scan, restart }: Subject): Result {
  const scanned = Math.max(20, Math.min(batch.count, Math.floor(SCANNED_PAIRS / rules)));
  batch.classify();
  for (let i = 0; i < scanned; i++) {
    const right = scan(i);
    if (answerOf(i) !== right) throw new Error(`${name}: packet ${i} is ${answerOf(i)}, by the scan ${right}`);
  }
  const tree = rate(batch.count, () => {
    batch.classify();
  });
  const linear = rate(scanned, () => {
    restart();
    for (let i = 0; i < scanned; i++) scan(i);
  });
  return {
    set: name,
    rules,
    build_ms: Math.round(buildMs * 10) / 10,
    tree_bytes: batch.treeBytes,
    memory_bytes: batch.memoryBytes,
    tree: Math.round(tree * 100) / 100,
    scan: Math.round(linear * 1e6) / 1e6,
  };
}

/** Million packets a second: the median of Benchmark's samples. */
function rate(packets: number, pass: () => void): number {
  const bench = new Benchmark(pass, { maxTime: 1, minSamples: 9 });
  bench.run();
  const samples = [...(bench.stats.sample as number[])].sort((a, b) => a - b);
  return packets / samples[samples.length >> 1]! / 1e6;
}

/** Ten words a rule: lo and hi of each column of a trace. */
function flatten(rules: readonly ClassbenchRule[]): Uint32Array {
  return Uint32Array.from(
    rules.flatMap((r) => [
      r.srcLo,
      r.srcHi,
      r.dstLo,
      r.dstHi,
      r.sportLo,
      r.sportHi,
      r.dportLo,
      r.dportHi,
      r.protoLo,
      r.protoHi,
    ]),
  );
}

function firstOf(bounds: Uint32Array, [src, dst, sport, dport, proto]: readonly number[]): number {
  for (let at = 0; at < bounds.length; at += 10) {
    if (
      bounds[at]! <= src! &&
      src! <= bounds[at + 1]! &&
      bounds[at + 2]! <= dst! &&
      dst! <= bounds[at + 3]! &&
      bounds[at + 4]! <= sport! &&
      sport! <= bounds[at + 5]! &&
      bounds[at + 6]! <= dport! &&
      dport! <= bounds[at + 7]! &&
      bounds[at + 8]! <= proto! &&
      proto! <= bounds[at + 9]!
    )
      return at / 10;
  }
  return -1;
}

const COLUMNS: readonly (readonly [string, (result: Result) => string])[] = [
  ["rules", ({ rules }) => String(rules)],
  ["build ms", (result) => result.build_ms.toFixed(0)],
  ["tree KiB", (result) => (result.tree_bytes / 1024).toFixed(0)],
  ["memory MiB", (result) => (result.memory_bytes / 2 ** 20).toFixed(0)],
  ["tree", ({ tree }) => tree.toFixed(2)],
  ["scan", ({ scan }) => scan.toFixed(5)],
  ["ratio", ({ tree, scan }) => (tree / scan).toFixed(0)],
];
const machine = { cpu: cpus()[0]?.model ?? "unknown CPU", node: process.version };
const line = (name: string, cells: readonly string[]): string =>
  name.padEnd(12) + cells.map((cell) => cell.padStart(11)).join("");
if (!options.json) {
  console.log(`${machine.cpu}, Node ${machine.node}, one core; million packets/s by the tree and by a scan`);
  console.log(
    line(
      "set",
      COLUMNS.map(([title]) => title),
    ),
  );
}
for (const subject of subjects()) {
  const result = measure(subject);
  if (options.json) console.log(JSON.stringify({ ...result, ...machine }));
  else
    console.log(
      line(
        result.set,
        COLUMNS.map(([, cell]) => cell(result)),
      ),
    );
}
