// Does the rule set make the kernel track connections? It does so only where a loaded rule needs it (nf_ct_netns_get()).

import type { Ruleset } from "../rules/ruleset.ts";

export function needsTracking(ruleset: Ruleset): boolean {
  return ruleset.tables.some((table) =>
    table.chains.some((chain) =>
      chain.rules.some((rule) => {
        const target = rule.target?.kind;
        if (target === "DNAT" || target === "SNAT" || target === "MASQUERADE" || target === "REDIRECT") return true;
        return rule.matches.some((match) => match.kind === "conntrack" || match.kind === "state");
      }),
    ),
  );
}
