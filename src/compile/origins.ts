// Does the rule set ask more of a packet than its record tells: its frame, its socket, its TCP options?

import { rulesOf } from "../rules/ruleset.ts";
import type { Match, Ruleset } from "../rules/ruleset.ts";

/** A match asks for bytes behind the IP header. */
export function asksPayload(match: Match): boolean {
  switch (match.kind) {
    case "tcp":
      return match.option !== null;
    case "esp":
    case "ah":
    case "ipcomp":
      return match.spi !== null;
    case "sctp":
      return match.chunks !== null;
    case "dccp":
      return match.types !== null || match.option !== null;
    default:
      return false;
  }
}

export function needsPayload(ruleset: Ruleset): boolean {
  return rulesOf(ruleset).some(({ matches }) => matches.some(asksPayload));
}

export function needsOrigins(ruleset: Ruleset): boolean {
  if (needsPayload(ruleset)) return true;
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
