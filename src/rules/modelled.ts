// What is parsed and not modelled yet: running such rules is refused, never guessed.

import { RuleError } from "./error.ts";
import type { Match, Rule, Ruleset, Target } from "./ruleset.ts";

/** Throws a RuleError that names the first rule, in the order of the set, of which it cannot be told what it does. */
export function refuseUnmodelled(ruleset: Ruleset): void {
  for (const { chains } of ruleset.tables) {
    for (const { rules } of chains) {
      for (const rule of rules) {
        if (ruleset.family === 6) refuse(rule, "rules of IPv6 are parsed and printed, they cannot be run yet");
        const unknown = whatOfMatches(rule.matches) ?? (rule.target === null ? null : whatOfTarget(rule.target));
        if (unknown !== null) refuse(rule, `${unknown} is not modelled yet`);
      }
    }
  }
  const [first] = ruleset.tables;
  if (ruleset.family === 6 && first !== undefined) {
    throw new RuleError(
      "rules of IPv6 are parsed and printed, they cannot be run yet",
      first.position,
      `*${first.name}`,
    );
  }
}

function refuse(rule: Rule, reason: string): never {
  throw new RuleError(reason, rule.position, rule.text, rule.text.length);
}

function whatOfMatches(matches: readonly Match[]): string | null {
  for (const match of matches) {
    const what = whatOfMatch(match);
    if (what !== null) return what;
  }
  return null;
}

/** Of what it is that it cannot be run; null: it can. */
function whatOfMatch(match: Match): string | null {
  switch (match.kind) {
    case "opaque":
      return `match ${match.name}`;
    case "connbytes":
    case "connlimit":
    case "time":
    case "rpfilter":
    case "hashlimit":
    case "sctp":
    case "dccp":
    case "esp":
    case "ah":
    case "ipcomp":
    case "string":
    case "u32":
    case "bpf":
    case "cluster":
    case "policy":
    case "socket":
      return `match ${match.kind}`;
    case "owner":
      return match.supplGroups ? "option --suppl-groups of match owner" : null;
    case "tcp":
      return match.option === null ? null : "option --tcp-option of match tcp";
    default:
      return null;
  }
}

function whatOfTarget(target: Target): string | null {
  switch (target.kind) {
    case "opaque":
      return `target ${target.name}`;
    case "TCPOPTSTRIP":
    case "TPROXY":
    case "QUEUE":
    case "NFQUEUE":
    case "AUDIT":
    case "CONNSECMARK":
    case "IDLETIMER":
    case "LED":
    case "RATEEST":
    case "SECMARK":
    case "ULOG":
    case "HMARK":
      return `target ${target.kind}`;
    case "CT":
      if (target.helper !== null || target.timeout !== null) return "helper or timeout policy of target CT";
      if (target.events.length + target.expEvents.length > 0) return "a choice of events in target CT";
      return null;
    default:
      return null;
  }
}
