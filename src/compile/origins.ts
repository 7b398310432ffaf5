// Does the rule set ask more of a packet than its record tells: its frame, its socket, its TCP options?

import { rulesOf } from "../rules/ruleset.ts";
import { PROTO_AH, PROTO_ESP, PROTO_ICMP } from "../net/protocol.ts";
import type { Match, Rule, Ruleset, Target } from "../rules/ruleset.ts";

/** The rule asks for bytes behind the IP header, of packets in one piece too. */
export function asksPayload({ header: { proto }, matches, target }: Rule): boolean {
  const hasPorts = proto !== null && !proto.negated && proto.proto !== PROTO_ESP && proto.proto !== PROTO_AH;
  if (hashesBytes(target) && !(hasPorts && proto.proto !== PROTO_ICMP)) return true;
  return matches.some((match) => matchAsksPayload(match) || (asksPorts(match) && !hasPorts));
}

/** ... and what ICMP errors quote. */
function hashesBytes(target: Target | null): boolean {
  return target?.kind === "HMARK" && !target.ct;
}

/** Of ESP, AH and later fragments it reads what stands where ports would. */
function asksPorts(match: Match): boolean {
  return match.kind === "hashlimit" && (match.by.includes("srcport") || match.by.includes("dstport"));
}

function matchAsksPayload(match: Match): boolean {
  switch (match.kind) {
    case "string":
    case "u32":
    case "bpf":
      return true;
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
  return rulesOf(ruleset).some(
    ({ matches, target }) =>
      hashesBytes(target) || matches.some((match) => matchAsksPayload(match) || asksPorts(match)),
  );
}

export function needsOrigins(ruleset: Ruleset): boolean {
  if (needsPayload(ruleset)) return true;
  if (ruleset.sets?.some(({ type }) => type.includes("mac")) === true) return true;
  return ruleset.tables.some((table) =>
    table.chains.some((chain) =>
      chain.rules.some(
        ({ matches, target }) =>
          target?.kind === "TCPMSS" ||
          target?.kind === "TCPOPTSTRIP" ||
          target?.kind === "ECN" ||
          matches.some(({ kind }) => kind === "recent" || kind === "mac" || kind === "owner" || kind === "tcpmss"),
      ),
    ),
  );
}
