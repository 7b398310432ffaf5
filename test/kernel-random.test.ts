// Random rule sets, hosts and packets: the reference answers as the kernel does, field for field and rule for rule.
//
// VERDICTREE_KERNEL_SECONDS says how long to go on (40); VERDICTREE_KERNEL_SEED where to begin. Every difference that
// turns up becomes a case in test/oracle/cases before it is mended.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { drawKernelWorld } from "./support/kernel-arbitrary.ts";
import { compareWorld, showWorld, shrinkWorld } from "./support/kernel-world.ts";
import { noKernel } from "./support/oracle.ts";

const SECONDS = Number(process.env["VERDICTREE_KERNEL_SECONDS"] ?? 40);
const SEED = Number(process.env["VERDICTREE_KERNEL_SEED"] ?? 1);
const PACKETS = 150;
const SHRINK_SECONDS = 40;

test("kernel and reference say the same of random worlds", { skip: noKernel() }, (context) => {
  const end = Date.now() + SECONDS * 1000;
  let worlds = 0;
  let compared = 0;
  let unmodelled = 0;
  fc.assert(
    fc.property(fc.noShrink(fc.integer({ min: 0, max: 0xffff_ffff })), (number) => {
      const world = drawKernelWorld(number, PACKETS);
      const result = compareWorld(world);
      worlds++;
      compared += result.compared;
      unmodelled += result.unmodelled;
      if (result.difference === null) return;
      const smallest = shrinkWorld(world, Date.now() + SHRINK_SECONDS * 1000);
      const { text } = compareWorld(smallest).difference!;
      assert.fail(`world ${number}: ${text}\n\n${showWorld(smallest)}`);
    }),
    {
      seed: SEED,
      numRuns: Number.MAX_SAFE_INTEGER,
      interruptAfterTimeLimit: end - Date.now(),
      endOnFailure: true,
      includeErrorInReport: true,
    },
  );
  context.diagnostic(`${worlds} worlds, ${compared} packets equal, ${unmodelled} not modelled`);
  assert.ok(compared > worlds * 10, "most packets are modelled");
  assert.ok(unmodelled < compared / 20, "few packets are not modelled");
});
