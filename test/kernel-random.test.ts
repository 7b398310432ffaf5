// Random rule sets, hosts and packets: the reference answers as the kernel does, and the engine as the reference, field for
// field and rule for rule, each packet alone and whole sequences of them. `npm run test:kernel -- --minutes N` goes on for longer.
//
// Every difference that turns up becomes a case in test/oracle/cases before it is mended.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Question } from "./support/compare.ts";
import { drawKernelWorld } from "./support/kernel-arbitrary.ts";
import { runWorlds } from "./support/kernel-run.ts";
import type { KernelRun } from "./support/kernel-run.ts";
import { drawKernelSequence } from "./support/kernel-sequence.ts";
import { drawKernelWords } from "./support/kernel-words.ts";
import { noKernel } from "./support/oracle.ts";

const WORLDS = 150;

test("kernel and reference say the same of random worlds", { skip: noKernel() }, (context) => {
  const run = runWorlds((seed) => drawKernelWorld(seed, 200), 1, WORLDS);
  context.diagnostic(summary(run));
  assert.ok(run.unmodelled < run.compared / 200, "few packets are not modelled");
});

test("kernel and reference say the same of random sequences", { skip: noKernel() }, (context) => {
  const run = runWorlds((seed) => drawKernelSequence(seed, 300, seed % 2 === 0), 1, WORLDS);
  context.diagnostic(summary(run));
  assert.ok(run.compared > WORLDS * 100, "sequences are long");
});

test(
  "kernel and reference say the same of matches and targets that are seldom used",
  { skip: noKernel() },
  (context) => {
    const run = runWorlds((seed) => drawKernelWords(seed, 200), 1, WORLDS / 3);
    context.diagnostic(summary(run));
    assert.ok(run.unmodelled < run.compared / 20, "few packets are not modelled");
  },
);

test("kernel and reference say the same of iptables-nft", { skip: noKernel() }, (context) => {
  const draws = [
    (seed: number): Question => drawKernelWorld(seed, 200),
    (seed: number): Question => drawKernelSequence(seed, 300, seed % 2 === 0),
    (seed: number): Question => drawKernelWords(seed, 200),
  ];
  const run = runWorlds((seed) => underNft(draws[seed % draws.length]!(seed)), 1, WORLDS / 3);
  context.diagnostic(summary(run));
  assert.ok(run.unmodelled < run.compared / 50, "few packets are not modelled");
});

/** Where a rule has two `-m tcp` iptables-nft lists them as one: of such rule sets no trace is compared. */
function underNft(world: Question): Question {
  const args = world.args.filter((arg) => arg !== "--trace" || !/-m tcp .*-m tcp /.test(world.rules));
  return { ...world, args: [...args, "--backend", "nft"] };
}

function summary({ worlds, compared, unmodelled, byEngine }: KernelRun): string {
  return `${worlds} worlds, ${compared} packets equal, ${byEngine} by the engine too, ${unmodelled} not modelled`;
}
