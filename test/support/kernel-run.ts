// Worlds drawn by number, asked of the kernel and the reference, until the time is up; a difference is made small first.

import assert from "node:assert/strict";
import type { KernelWorld } from "./kernel-arbitrary.ts";
import { compareEngine } from "./kernel-engine.ts";
import { compareWorld, showWorld, shrinkWorld } from "./kernel-world.ts";

export interface KernelRun {
  readonly worlds: number;
  /** Packets that both have answered, in the same words. */
  readonly compared: number;
  readonly unmodelled: number;
  /** Packets that the engine has answered like the reference. */
  readonly byEngine: number;
}

const SHRINK_SECONDS = 40;

/**
 * Fails with the smallest world on which they differ.
 *
 * @param least worlds that are asked even if the time is up
 */
export function runWorlds(
  draw: (seed: number) => KernelWorld,
  { first, least, seconds }: { readonly first: number; readonly least: number; readonly seconds: number },
): KernelRun {
  const end = Date.now() + seconds * 1000;
  const run = { worlds: 0, compared: 0, unmodelled: 0, byEngine: 0 };
  for (let seed = first; run.worlds < least || Date.now() < end; seed++) {
    const world = draw(seed);
    const { compared, unmodelled, difference } = compareWorld(world);
    const engine = compareEngine(world);
    run.byEngine += engine.compared;
    if (engine.difference !== null) assert.fail(`seed ${seed}: ${engine.difference}\n\n${showWorld(world)}`);
    run.worlds++;
    run.compared += compared;
    run.unmodelled += unmodelled;
    if (difference === null) continue;
    const smallest = shrinkWorld(world, Date.now() + SHRINK_SECONDS * 1000);
    const text = compareWorld(smallest).difference?.text ?? `${difference.text}\n(it does not show again)`;
    assert.fail(`seed ${seed}, after ${run.compared} packets: ${text}\n\n${showWorld(smallest)}`);
  }
  return run;
}
