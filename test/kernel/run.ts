// npm run test:kernel -- [--minutes 10] [--first 1000] [--packets 1000] [--kind worlds|sequences|words|all] [--out FOLDER]:
// kernel, reference and engine on random worlds (each packet alone), sequences, and worlds of seldom words, in turns.
//
// Seeds go up from the first and are told, so that a run can be taken up where it ended. The smallest world of each
// difference is written to the folder, else printed, and the run goes on; at the end exit 1 if there was any. Needs what
// test/oracle/README.md says.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { drawKernelWorld } from "../support/kernel-arbitrary.ts";
import { emptyRun, runWorld } from "../support/kernel-run.ts";
import type { KernelRun } from "../support/kernel-run.ts";
import { drawKernelSequence } from "../support/kernel-sequence.ts";
import { drawKernelWords } from "../support/kernel-words.ts";
import { noKernel, OracleError } from "../support/oracle.ts";

/** Seeds between two lines of progress. */
const PORTION = 20;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    first: { type: "string", default: "1000" },
    packets: { type: "string", default: "1000" },
    kind: { type: "string", default: "all" },
    out: { type: "string" },
  },
});
const missing = noKernel();
if (missing !== false) throw new Error(missing);

const packets = Number(values.packets);
const draws = {
  worlds: (seed: number) => drawKernelWorld(seed, packets),
  sequences: (seed: number) => drawKernelSequence(seed, packets, seed % 2 === 0),
  words: (seed: number) => drawKernelWords(seed, packets),
};
type Kind = keyof typeof draws;
const kinds = (Object.keys(draws) as Kind[]).filter((kind) => values.kind === "all" || values.kind === kind);
if (kinds.length === 0) throw new Error(`--kind ${values.kind}: worlds, sequences, words or all is wanted`);
const runs: Record<Kind, KernelRun> = { worlds: emptyRun(), sequences: emptyRun(), words: emptyRun() };
const end = Date.now() + Number(values.minutes) * 60_000;
let differences = 0;
let lost = 0;
let seed = Number(values.first);
for (; Date.now() < end; seed++) {
  for (const kind of kinds) {
    try {
      tell(kind, seed, runWorld(draws[kind](seed), runs[kind]));
    } catch (error) {
      // of packets that go round many times the kernel may tell more than is read in time
      if (!(error instanceof OracleError) || !error.message.includes("messages were lost")) throw error;
      lost++;
    }
  }
  if ((seed + 1) % PORTION === 0) progress(seed);
}
progress(seed - 1);
for (const kind of kinds) console.log(`${kind} by kind: ${JSON.stringify(sorted(runs[kind].kinds))}`);
process.exitCode = differences > 0 ? 1 : 0;

function tell(kind: Kind, seed: number, found: string | null): void {
  if (found === null) return;
  differences++;
  const text = `${kind}, seed ${seed}: ${found}\n`;
  if (values.out === undefined) {
    console.log(text);
    return;
  }
  mkdirSync(values.out, { recursive: true });
  writeFileSync(join(values.out, `${kind}-${seed}.txt`), text);
}

function progress(last: number): void {
  const parts = kinds.map((kind) => {
    const { worlds, compared, byEngine, unmodelled, unsteady } = runs[kind];
    return `${worlds} ${kind}: ${compared} packets equal, ${byEngine} by the engine too, ${unmodelled} not modelled, ${unsteady} unsteady`;
  });
  console.log(`up to seed ${last}: ${parts.join("; ")}; ${lost} lost; ${differences} differences`);
}

function sorted(counts: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(counts).sort(([, one], [, other]) => other - one));
}
