// Does the rule set ask more of a packet than its record tells: its frame, its socket, its TCP options?

import type { Ruleset } from "../rules/ruleset.ts";

export function needsOrigins(ruleset: Ruleset): boolean {
  if (ruleset.sets?.some(({ type }) => type.includes("mac")) === true) return true;
  return ruleset.tables.some((table) =>
    table.chains.some((chain) =>
      chain.rules.some(
        ({ matches, target }) =>
          target?.kind === "TCPMSS" ||
          target?.kind === "ECN" ||
          matches.some(({ kind }) => kind === "recent" || kind === "mac" || kind === "owner" || kind === "tcpmss"),
      ),
    ),
  );
}
