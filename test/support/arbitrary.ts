// What fast-check draws: worlds, each a rule set, a host and packets made for one another.
//
// A world comes from one number, so that fast-check need not shrink it: shrink.ts takes a failing world apart itself,
// with its packets kept, where drawing anew would make other packets.

import fc from "fast-check";
import { rulesOf } from "../../src/rules/ruleset.ts";
import type { Match, Ruleset } from "../../src/rules/ruleset.ts";
import { drawHost, type HostJson } from "./arbitrary-host.ts";
import { drawPackets, type PacketJson } from "./arbitrary-packets.ts";
import { drawRuleset } from "./arbitrary-rules.ts";
import { Draw } from "./draw.ts";

export interface World {
  readonly ruleset: Ruleset;
  readonly host: HostJson;
  readonly packets: readonly PacketJson[];
}

export interface WorldOptions {
  /** Packets in each world. */
  readonly packets: number;
  /** What depends on the clock may come: packets that wait, limits at rates that matter. */
  readonly clock: boolean;
  /** What the kernel draws lots for may come. */
  readonly chance: boolean;
  /** Packets sent by the host itself may come. */
  readonly local: boolean;
  /** Guards only where none of the host's own answers pass. */
  readonly guardsInForwardOnly: boolean;
}

/** A world. */
export function world(options: WorldOptions): fc.Arbitrary<World> {
  return seed().map((number) => drawWorld(number, options));
}

/** A rule set without anything around it. */
export function ruleset(): fc.Arbitrary<Ruleset> {
  return seed().map((number) => {
    const draw = new Draw(number);
    return drawRuleset(draw, drawHost(draw).surroundings, { clock: true, chance: true, guardsInForwardOnly: false });
  });
}

/** Throws what `check` throws first, and with which seed it can be had again. */
export function forAll<T>(
  drawn: fc.Arbitrary<T>,
  { runs, seed }: { runs: number; seed: number },
  check: (value: T) => void,
): void {
  const details = fc.check(fc.property(drawn, check), { numRuns: runs, seed });
  if (!details.failed) return;
  const { errorInstance, counterexamplePath } = details;
  const message = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
  throw new Error(`seed ${seed}, path ${counterexamplePath ?? ""}: ${message}`, { cause: errorInstance });
}

function seed(): fc.Arbitrary<number> {
  return fc.noBias(fc.noShrink(fc.integer({ min: 0, max: 0xffff_ffff })));
}

export function drawWorld(number: number, options: WorldOptions): World {
  const draw = new Draw(number);
  const { host, surroundings } = drawHost(draw);
  const rules = drawRuleset(draw, surroundings, options);
  const untracked = !tracks(rules, host);
  const packets = drawPackets(draw, rules, surroundings, { ...options, untracked }, options.packets);
  return { ruleset: rules, host, packets };
}

const TRACKING: readonly Match["kind"][] = ["conntrack", "state", "connbytes", "connlimit"];

/** Some rule needs connection tracking, or the host has it on. */
function tracks(rules: Ruleset, host: HostJson): boolean {
  if (host.conntrack === true) return true;
  const all = rulesOf(rules);
  return all.some(
    ({ matches, target }) =>
      matches.some(({ kind }) => TRACKING.includes(kind)) ||
      (target !== null && ["DNAT", "SNAT", "MASQUERADE", "REDIRECT"].includes(target.kind)),
  );
}
