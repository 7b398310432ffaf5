// Worlds drawn by number, asked of the kernel, the reference and the engine; a difference is made small first.

import assert from "node:assert/strict";
import type { Question } from "./compare.ts";
import { compareEngine } from "./kernel-engine.ts";
import { compareWorld, showWorld, shrinkWorld } from "./kernel-world.ts";
import type { Verdict } from "./oracle.ts";

export interface KernelRun {
  worlds: number;
  /** Packets that kernel and reference have answered in the same words. */
  compared: number;
  unmodelled: number;
  /** Packets that the engine has answered like the reference. */
  byEngine: number;
  /** Differences that did not show again when the kernel was asked a second time. */
  unsteady: number;
  /** Packets compared by what became of them, by protocol, by state, and by what the host answered. */
  readonly kinds: Record<string, number>;
}

const SHRINK_SECONDS = 40;

export function emptyRun(): KernelRun {
  return { worlds: 0, compared: 0, unmodelled: 0, byEngine: 0, unsteady: 0, kinds: {} };
}

/** Adds a world to the run; what differs there, and the smallest world that shows it; null: nothing does. */
export function runWorld(world: Question, run: KernelRun): string | null {
  const { compared, unmodelled, difference, kernel } = compareWorld(world);
  const engine = compareEngine(world);
  run.worlds++;
  run.byEngine += engine.compared;
  run.compared += compared;
  run.unmodelled += unmodelled;
  kernel.slice(0, compared).forEach((verdict, index) => {
    for (const kind of kindsOf(verdict, world.packets[index]!)) run.kinds[kind] = (run.kinds[kind] ?? 0) + 1;
  });
  if (engine.difference !== null) return showEngineDifference(world);
  if (difference === null) return null;
  if (compareWorld(world).difference === null) {
    run.unsteady++;
    return null;
  }
  const smallest = shrinkWorld(world, Date.now() + SHRINK_SECONDS * 1000);
  const text = compareWorld(smallest).difference?.text;
  if (text === undefined) {
    run.unsteady++;
    return null;
  }
  return `${text}\n\n${showWorld(smallest)}`;
}

/** One packet alone, if that shows it. */
function showEngineDifference(world: Question): string {
  const single = world.packets
    .map((packet) => ({ ...world, packets: [packet] }))
    .find((one) => compareEngine(one).difference !== null);
  const smallest = single ?? world;
  return `${compareEngine(smallest).difference!}\n\n${showWorld(smallest)}`;
}

function kindsOf(verdict: Verdict, { proto = "udp" }: Question["packets"][number]): readonly string[] {
  const { verdict: word, ct_state: state, reply } = verdict;
  const words = [word, `proto ${String(proto)}`, `state ${String(state)}`, ...(reply === undefined ? [] : [reply])];
  return words.map(String);
}

/** Asks this many worlds; fails at the first difference. */
export function runWorlds(draw: (seed: number) => Question, first: number, count: number): KernelRun {
  const run = emptyRun();
  for (let seed = first; seed < first + count; seed++) {
    const found = runWorld(draw(seed), run);
    if (found !== null) assert.fail(`seed ${seed}, after ${run.compared} packets: ${found}`);
  }
  assert.ok(run.unsteady <= count / 50, `${run.unsteady} differences did not show again`);
  return run;
}
