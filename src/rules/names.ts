// What several parts of the parser say and call things.

import type { Match } from "./ruleset.ts";

/** The sentence for a mistake that old rule files make. */
export const OLD_NEGATION =
  "the ! stands in front of the option since iptables 1.4.3: `! -s ADDRESS`, not `-s ! ADDRESS`";

/** What stands behind `-m`. */
export function nameOfMatch(match: Match): string {
  if (match.kind === "assumed") return nameOfMatch(match.of);
  return match.kind === "opaque" ? match.name : match.kind;
}
