// npm run test:kernel -- [--minutes 10] [--first 1000]: kernel, reference and engine on random worlds and sequences, in turns.
//
// The seed of every world is told as it goes on, so that a run can be taken up where it ended. Needs what
// test/oracle/README.md says; exit 1 with the smallest world at the first difference.

import { parseArgs } from "node:util";
import { drawKernelWorld } from "../support/kernel-arbitrary.ts";
import { runWorlds } from "../support/kernel-run.ts";
import { drawKernelSequence } from "../support/kernel-sequence.ts";
import { noKernel } from "../support/oracle.ts";

/** Worlds between two lines of progress. */
const PORTION = 10;

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "10" }, first: { type: "string", default: "1000" } },
});
const missing = noKernel();
if (missing !== false) throw new Error(missing);

const end = Date.now() + Number(values.minutes) * 60_000;
const total = { worlds: 0, compared: 0, unmodelled: 0, byEngine: 0 };
for (let first = Number(values.first); Date.now() < end; first += PORTION) {
  const draws = [
    (seed: number) => drawKernelWorld(seed, 200),
    (seed: number) => drawKernelSequence(seed, 300, seed % 2 === 0),
  ];
  for (const draw of draws) {
    const run = runWorlds(draw, { first, least: PORTION, seconds: 0 });
    for (const key of ["worlds", "compared", "unmodelled", "byEngine"] as const) total[key] += run[key];
  }
  console.log(
    `up to seed ${first + PORTION - 1}: ${total.worlds} worlds, ${total.compared} packets equal, ` +
      `${total.byEngine} by the engine too, ${total.unmodelled} not modelled, 0 differences`,
  );
}
