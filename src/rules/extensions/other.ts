// Modules that are parsed, checked and printed, and not modelled.

import type { Extension } from "../extension.ts";
import { opaqueMatch, opaqueTarget } from "../opaque.ts";
import type { Match, Target } from "../ruleset.ts";
import { oneOf, string } from "../types.ts";

const PLAIN_MATCHES = [
  opaqueMatch({ name: "helper", options: [{ names: "helper", negatable: true, required: true, value: string(29) }] }),
];

const PLAIN_TARGETS = [
  opaqueTarget({
    name: "AUDIT",
    options: [{ names: "type", required: true, value: oneOf(["accept", "drop", "reject"]) }],
  }),
];

export const MATCHES: readonly Extension<Match>[] = PLAIN_MATCHES;
export const TARGETS: readonly Extension<Target>[] = PLAIN_TARGETS;
