// For as long as told: random worlds through engine, reference and kernel, and damaged rule files through the parser.
//
//     npm run test:deep
//
// VERDICTREE_DEEP_MINUTES says how long (60); VERDICTREE_DEEP_SEED where to begin (the clock). A difference is made small,
// printed as a case to paste, and ends the run with exit 1. Ctrl-C ends it too, and what was tried is told.

import { agreesWithReference, assertRight, referenceIsRight, type Question } from "../support/agree.ts";
import { drawCalled, drawWide } from "../support/arbitrary-large.ts";
import { drawWorld, type World } from "../support/arbitrary.ts";
import { DECIDING_ENGINE, ENGINE } from "../support/classifiers.ts";
import { checkDamage, rulesToDamage } from "../support/damage.ts";
import { Draw } from "../support/draw.ts";
import { noKernel } from "../support/oracle.ts";
import { drawNineBits, HOST, NINE_BITS } from "../support/smallworld.ts";
import { KERNEL_WORLD, WORLD } from "../support/worlds.ts";

const MINUTES = Number(process.env["VERDICTREE_DEEP_MINUTES"] ?? 60);
const SEED = Number(process.env["VERDICTREE_DEEP_SEED"] ?? Date.now() % 0x1_0000_0000);
const DAMAGED = 10_000;
/** Progress is told so often. */
const REPORT_MS = 60_000;
/** Steps in making a difference small. */
const TRIES = 1000;

const kernelIsMissing = noKernel();
const agrees = agreesWithReference(ENGINE);
const agreesDeciding = agreesWithReference(DECIDING_ENGINE);

interface Trial {
  readonly name: string;
  /** How often it is tried beside the others. */
  readonly weight: number;
  readonly draw: (number: number) => World;
  readonly question: Question;
}

const TRIALS: readonly Trial[] = [
  { name: "worlds", weight: 60, draw: (number) => drawWorld(number, WORLD), question: agrees },
  { name: "deciding", weight: 10, draw: (number) => drawWorld(number, WORLD), question: agreesDeciding },
  { name: "long runs", weight: 5, draw: (number) => drawWorld(number, { ...WORLD, packets: 2000 }), question: agrees },
  { name: "parts", weight: 5, draw: (number) => drawWide(number, 1000), question: agrees },
  { name: "calls", weight: 5, draw: (number) => drawCalled(number, 300), question: agrees },
  { name: "nine bits", weight: 10, draw: nineBits, question: agrees },
  {
    name: "kernel",
    weight: kernelIsMissing === false ? 5 : 0,
    draw: (number) => drawWorld(number, KERNEL_WORLD),
    question: referenceIsRight,
  },
];

const counts = new Map<string, { worlds: number; packets: number }>();
const start = performance.now();
const stop = new AbortController();
process.once("SIGINT", () => {
  stop.abort();
});

console.log(`seed ${SEED}, ${MINUTES} minutes${kernelIsMissing === false ? "" : `; ${kernelIsMissing}`}`);
for (const which of ["fixtures", "collected"] as const) {
  const texts = rulesToDamage(which);
  if (texts.length === 0) continue;
  const { parsed, refused } = checkDamage(texts, DAMAGED, SEED);
  console.log(`${DAMAGED} damaged rule files (${which}): ${parsed} parsed whole, ${refused} refused at a line`);
}

const draw = new Draw(SEED);
let told = performance.now();
while (!stop.signal.aborted && performance.now() - start < MINUTES * 60_000) {
  const trial = draw.weighted(TRIALS.map((each) => [each.weight, each] as const));
  const number = draw.word();
  try {
    const world = trial.draw(number);
    assertRight(world, trial.question, TRIES);
    const count = counts.get(trial.name) ?? { worlds: 0, packets: 0 };
    counts.set(trial.name, { worlds: count.worlds + 1, packets: count.packets + world.packets.length });
  } catch (error) {
    console.log(`${trial.name}, number ${number}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
    break;
  }
  if (performance.now() - told > REPORT_MS) {
    told = performance.now();
    report();
  }
  // lets a signal in
  await new Promise((resolve) => setImmediate(resolve));
}
report();
if (stop.signal.aborted) process.exitCode = 130;

function nineBits(number: number): World {
  return { ruleset: drawNineBits(new Draw(number)), host: HOST, packets: NINE_BITS };
}

function report(): void {
  const minutes = ((performance.now() - start) / 60_000).toFixed(1);
  const shown = [...counts].map(([name, { worlds, packets }]) => `${name} ${worlds} x ${Math.round(packets / worlds)}`);
  console.log(`${minutes} min, ${process.exitCode === 1 ? "1 difference" : "0 differences"}: ${shown.join(", ")}`);
}
