// Which worlds the tests try, and how many.

import type { WorldOptions } from "./arbitrary.ts";

/** Everything that classifiers can be asked. */
export const WORLD: WorldOptions = { packets: 200, clock: true, chance: true, local: true, guardsInForwardOnly: false };

/** What the kernel answers the same way each time, as fast as it can. */
export const KERNEL_WORLD: WorldOptions = {
  packets: 100,
  clock: false,
  chance: false,
  local: true,
  guardsInForwardOnly: true,
};

/** Worlds in one run of the tests; the faults are content with fewer. */
export const WORLDS = Number(process.env["VERDICTREE_WORLDS"] ?? 3000);
