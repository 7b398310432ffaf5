// Does the rule set make the kernel track connections? It does so only where a loaded rule needs it (nf_ct_netns_get()).

import { rulesOf } from "../rules/ruleset.ts";
import { nameOfMatch } from "../rules/names.ts";
import type { Ruleset, Target } from "../rules/ruleset.ts";

const MATCHES = [
  ...["conntrack", "state", "connmark", "connbytes", "connlimit", "cluster"],
  // which may be assumed
  ...["connlabel", "helper"],
];
const TARGETS: readonly Target["kind"][] = [
  ...(["DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP"] as const),
  ...(["CT", "NOTRACK", "CONNMARK", "CONNSECMARK"] as const),
];

/** Are fragments put together in front of all rules though connections may not be tracked (nf_defrag_ipv4_enable())? */
export function needsDatagrams(ruleset: Ruleset): boolean {
  return rulesOf(ruleset).some(
    ({ matches, target }) => target?.kind === "TPROXY" || matches.some(({ kind }) => kind === "socket"),
  );
}

/** Is counted what connections carry? A rule that asks switches it on. */
export function countsCarried(ruleset: Ruleset): boolean {
  return rulesOf(ruleset).some(({ matches }) => matches.some(({ kind }) => kind === "connbytes"));
}

export function needsTracking(ruleset: Ruleset): boolean {
  return ruleset.tables.some((table) =>
    table.chains.some((chain) =>
      chain.rules.some((rule) => {
        if (rule.target !== null && TARGETS.includes(rule.target.kind)) return true;
        return rule.matches.some((match) => MATCHES.includes(nameOfMatch(match)));
      }),
    ),
  );
}
