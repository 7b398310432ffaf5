// Writes a seeded rule set, and for a filter set a trace of packets, as files.
//
//     npx tsx bench/generate.ts fw 10000 --seed 2 --trace fw2.trace --packets 200000 > fw2.rules
//     npx tsx bench/generate.ts kube 5000 > kube.v4
//
// Filter sets (acl, fw, ipc) have the form of ClassBench, and their seeds are different kinds: see filterset.ts. The others
// (docker, kube, cluster, deep) are iptables-save output.

import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { drawChainSet, KINDS } from "./chains.ts";
import { drawFilterSet, drawTrace, FAMILIES, formatRule } from "./filterset.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string", default: "1" },
    trace: { type: "string" },
    packets: { type: "string", default: "100000" },
  },
});
const [name, size] = positionals;
const [count, seed, packets] = [Number(size), Number(values.seed), Number(values.packets)];
const family = FAMILIES.find((each) => each === name);
const kind = KINDS.find((each) => each === name);
if (
  ![count, seed, packets].every((n) => Number.isInteger(n) && n > 0) ||
  (family === undefined && (kind === undefined || values.trace !== undefined))
) {
  process.stderr.write(
    `usage: npx tsx bench/generate.ts ${FAMILIES.join("|")} COUNT [--seed N] [--trace FILE [--packets N]] > RULES\n` +
      `       npx tsx bench/generate.ts ${KINDS.join("|")} COUNT [--seed N] > RULES\n`,
  );
  process.exit(2);
}
if (kind !== undefined) process.stdout.write(drawChainSet(kind, count, seed).text);
if (family !== undefined) {
  const rules = drawFilterSet(family, count, seed);
  process.stdout.write(`${rules.map(formatRule).join("\n")}\n`);
  if (values.trace !== undefined) {
    const lines = drawTrace(rules, packets, seed).map((packet) => packet.join(" "));
    writeFileSync(values.trace, `${lines.join("\n")}\n`);
  }
}
