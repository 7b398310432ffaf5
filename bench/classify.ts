// Classification beside a linear scan of the same rules, for each family and size: `npm run bench`.
//
// One operation is one pass over all packets. The scan is plain TypeScript over typed arrays: what one would write first.

import Benchmark from "benchmark";
import { cpus } from "node:os";
import { FIELD_COUNT } from "../src/layout.ts";
import { benchClassbench } from "../src/firewall.ts";
import type { ClassbenchRule } from "../src/rules/classbench.ts";
import { drawPackets, drawRules, FAMILIES } from "./workloads.ts";

const PACKETS = 100_000;
/** The scan is given fewer: it is slow. */
const SCANNED = 1000;
const SIZES = [100, 1000, 10_000];

console.log(`${cpus()[0]?.model ?? "unknown CPU"}, Node ${process.version}, one core; million packets/s`);
console.log("family    rules  build ms  tree KiB      tree      scan     ratio");
for (const family of FAMILIES) {
  for (const size of SIZES) {
    const rules = drawRules(family, size, 1);
    const packets = drawPackets(rules, PACKETS, 2);
    const began = performance.now();
    const batch = benchClassbench(rules);
    const buildMs = performance.now() - began;
    const records = new Uint32Array(PACKETS * FIELD_COUNT);
    packets.forEach((packet, i) => {
      records.set(packet, i * FIELD_COUNT);
    });
    batch.load(records);
    batch.classify();
    const answers = batch.answers().slice();
    for (let i = 0; i < SCANNED; i++) {
      if (answers[i] !== scan(rules, packets[i]!))
        throw new Error(`${family} ${size}: packet ${i} differs from the scan`);
    }
    const tree = rate(PACKETS, () => {
      batch.classify();
    });
    const linear = rate(SCANNED, () => {
      for (let i = 0; i < SCANNED; i++) scan(rules, packets[i]!);
    });
    const cells = [
      buildMs.toFixed(1),
      (batch.treeBytes / 1024).toFixed(0),
      tree.toFixed(2),
      linear.toFixed(3),
      (tree / linear).toFixed(0),
    ];
    console.log(`${family.padEnd(5)}${String(size).padStart(10)}${cells.map((cell) => cell.padStart(10)).join("")}`);
  }
}

/** Million packets a second: the median of Benchmark's samples. */
function rate(packets: number, pass: () => void): number {
  const bench = new Benchmark(pass, { maxTime: 1, minSamples: 9 });
  bench.run();
  const samples = [...(bench.stats.sample as number[])].sort((a, b) => a - b);
  return packets / samples[samples.length >> 1]! / 1e6;
}

function scan(rules: readonly ClassbenchRule[], [src, dst, sport, dport, proto]: readonly number[]): number {
  return rules.findIndex(
    (r) =>
      r.srcLo <= src! &&
      src! <= r.srcHi &&
      r.dstLo <= dst! &&
      dst! <= r.dstHi &&
      r.sportLo <= sport! &&
      sport! <= r.sportHi &&
      r.dportLo <= dport! &&
      dport! <= r.dportHi &&
      r.protoLo <= proto! &&
      proto! <= r.protoHi,
  );
}
