// The reference is right: it says what the Linux kernel says, of random worlds, where the kernel's oracle is at hand.

import { test } from "node:test";
import { assertRight, referenceIsRight } from "./support/agree.ts";
import { forAll, world } from "./support/arbitrary.ts";
import { noKernel } from "./support/oracle.ts";
import { KERNEL_WORLD } from "./support/worlds.ts";

const WORLDS = 20;
const SEED = 1;
/** Each is a process: a failure may take a minute to shrink. */
const TRIES = 200;

test("the reference says what the kernel says", { skip: noKernel() }, () => {
  forAll(world(KERNEL_WORLD), { runs: WORLDS, seed: SEED }, (drawn) => {
    assertRight(drawn, referenceIsRight, TRIES);
  });
});
