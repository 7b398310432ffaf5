// Sampling on the command line, for chains of which nothing could be proved.

import { sampleChain } from "../diff/sample.ts";
import type { Sampled } from "../diff/sample.ts";
import type { Undecided } from "../diff/diff.ts";
import { UnsupportedError } from "../reference/error.ts";
import { RuleError } from "../rules/error.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import { Interrupt } from "./interrupt.ts";
import { Progress } from "./progress.ts";

export interface SampleSettings {
  readonly samples: number;
  readonly seed: number;
  readonly quiet?: true;
}

/** The packets are shared out to the chains. */
export async function sampleInstead(
  old: Ruleset,
  other: Ruleset,
  undecided: readonly Undecided[],
  { samples, seed, quiet }: SampleSettings,
): Promise<Sampled> {
  const chains = new Map(undecided.map((each) => [`${each.table} ${each.chain}`, each]));
  const progress = new Progress("packets", samples, quiet !== undefined);
  const interrupt = new Interrupt();
  let packets = 0;
  try {
    for (const { table, chain } of chains.values()) {
      const before = packets;
      const sampled = await unlessRefused(`${table} ${chain}`, () =>
        sampleChain(old, other, table, chain, {
          packets: Math.ceil(samples / chains.size),
          seed,
          signal: interrupt.signal,
          progress: (done) => {
            progress.update(before + done);
          },
        }),
      );
      packets += sampled.packets;
      if (sampled.witness !== null) return { packets, witness: sampled.witness };
    }
  } finally {
    progress.stop();
    interrupt.release();
  }
  return { packets, witness: null };
}

/** What the engine does not model is not sampled, and said. */
async function unlessRefused(place: string, sample: () => Promise<Sampled>): Promise<Sampled> {
  try {
    return await sample();
  } catch (error) {
    if (!(error instanceof RuleError || error instanceof UnsupportedError)) throw error;
    process.stderr.write(`note: ${place} was not sampled: ${error.message.split("\n")[0]!}\n`);
    return { packets: 0, witness: null };
  }
}
