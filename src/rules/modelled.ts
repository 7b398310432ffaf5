// What is parsed and not modelled yet: running such rules is refused, never guessed.

import { unknownLoad } from "../net/bpf.ts";
import { RuleError } from "./error.ts";
import { nameOfMatch } from "./names.ts";
import { rulesOf, SET_TYPES } from "./ruleset.ts";
import type {
  HashlimitMatch,
  IpSet,
  Match,
  OpaqueMatch,
  OpaqueTarget,
  Rule,
  Ruleset,
  SetRef,
  TableName,
  Target,
} from "./ruleset.ts";

/** What rules name and share. */
export interface Named {
  readonly sets: ReadonlyMap<string, IpSet>;
  /** Of each table of hashlimit the first rule, which makes it. */
  readonly hashTables: ReadonlyMap<string, HashlimitMatch>;
}

export function namedBy(ruleset: Ruleset): Named {
  const hashTables = new Map<string, HashlimitMatch>();
  for (const { matches } of rulesOf(ruleset)) {
    for (const match of matches) {
      if (match.kind === "hashlimit" && !hashTables.has(match.name)) hashTables.set(match.name, match);
    }
  }
  return { sets: new Map((ruleset.sets ?? []).map((set) => [set.name, set])), hashTables };
}

/** Throws a RuleError for the first rule, in the order of the set, of which it cannot be told what it does; it names the others. */
export function refuseUnmodelled(ruleset: Ruleset): void {
  const named = namedBy(ruleset);
  const unknown: Unknown[] = [];
  for (const { name: table, chains } of ruleset.tables) {
    for (const { name: chain, rules } of chains) {
      rules.forEach((rule, index) => {
        if (ruleset.family === 6) refuse(rule, NO_IPV6);
        const place = `${table} ${chain}:${index + 1}`;
        const match = rule.matches.find((each) => whatOfMatch(each, named) !== null);
        if (match !== undefined) {
          const name = nameOfMatch(match);
          unknown.push({ rule, place, what: whatOfMatch(match, named)!, name });
        } else if (rule.target !== null) {
          const what = whatOfTarget(rule.target, named, table);
          if (what !== null) unknown.push({ rule, place, what, name: null });
        }
      });
    }
  }
  refuseAll(unknown);
  const [first] = ruleset.tables;
  if (ruleset.family === 6 && first !== undefined) {
    throw new RuleError(NO_IPV6, first.position, `*${first.name}`);
  }
}

const NO_IPV6 = "rules of IPv6 are parsed and printed, they cannot be run yet";

/** Something of a rule that cannot be told. */
interface Unknown {
  readonly rule: Rule;
  /** `filter INPUT:3`. */
  readonly place: string;
  readonly what: string;
  /** Of the match; null: it is the target, which cannot be assumed. */
  readonly name: string | null;
}

/** Rules that one message names. */
const MOST_NAMED = 10;

function refuseAll(unknown: readonly Unknown[]): void {
  const [first, ...others] = unknown;
  if (first === undefined) return;
  const { rule, what, name } = first;
  const advice = name === null ? "" : `; say what it counts as: --assume '${name}=match' or '${name}=no-match'`;
  const named = others.slice(0, MOST_NAMED).map(({ place, what }) => `${place} (${what})`);
  const more = others.length > MOST_NAMED ? ` and ${others.length - MOST_NAMED} more` : "";
  const rest = others.length === 0 ? "" : `; so it is in ${named.join(", ")}${more}`;
  refuse(rule, `${what} is not modelled${advice}${rest}`);
}

function refuse(rule: Rule, reason: string): never {
  throw new RuleError(reason, rule.position, rule.text, rule.text.length);
}

/** What reference and engine know. */
export type ModelledMatch = Exclude<Match, OpaqueMatch>;
export type ModelledTarget = Exclude<Target, OpaqueTarget>;

/** The match itself, of a rule set that was not refused. */
export function modelledMatch(match: Match): ModelledMatch {
  if (match.kind === "opaque") throw new Error(`match ${match.name} was to be refused`);
  return match;
}

export function modelledTarget(target: Target): ModelledTarget {
  if (target.kind === "opaque") throw new Error(`target ${target.name} was to be refused`);
  return target;
}

/** Matches on bytes of a packet, which need not be given. */
const ASK_BYTES: readonly Match["kind"][] = ["string", "u32", "bpf"];

/** What the match asks cannot be known, or not of every packet. */
export function isUnknown(match: Match, named: Named): boolean {
  return whatOfMatch(match, named) !== null || ASK_BYTES.includes(match.kind);
}

/** Of what it is that it cannot be run; null: it can. */
function whatOfMatch(match: Match, { sets, hashTables }: Named): string | null {
  switch (match.kind) {
    case "opaque":
      return `match ${match.name}`;
    case "set": {
      const set = sets.get(match.name);
      if (set === undefined) return `set ${match.name}, which is not loaded (--ipset),`;
      return set.counters && (match.packets !== null || match.bytes !== null)
        ? "what an element of a set counted"
        : null;
    }
    case "hashlimit": {
      const table = hashTables.get(match.name)!;
      const same = match.bytes === table.bytes && match.rateMatch === table.rateMatch;
      return same ? null : `table ${match.name} of match hashlimit, which another rule fills by another measure,`;
    }
    case "time":
      return match.localZone ? "option --kerneltz of match time: the zone of the kernel's clock" : null;
    case "string":
      if (match.algorithm === "fsm") return "option --algo fsm of match string";
      // its table of shifts knows these in one case alone
      return match.algorithm === "bm" &&
        match.anyCase &&
        match.pattern.some((byte) => [0xbf, 0xdf, 0xff].includes(byte))
        ? "option --icase of match string with --algo bm for this pattern"
        : null;
    case "bpf": {
      const load = unknownLoad(match.program);
      return load === null ? null : `match bpf that asks for ${load}, which is no place in the packet,`;
    }
    case "owner":
      return match.supplGroups ? "option --suppl-groups of match owner" : null;
    default:
      return null;
  }
}

/** Frames tell whom they are from; a set may ask whom they are to, or wait for the first of an address. */
function whatOfFrame({ name, sides }: SetRef, sets: Named["sets"]): string | null {
  const { type, elements } = sets.get(name)!;
  if (type === "list:set") {
    return elements.reduce<string | null>(
      (what, { member }) => what ?? whatOfFrame({ name: member, sides }, sets),
      null,
    );
  }
  const place = SET_TYPES[type].findIndex((part) => part === "mac");
  if (place >= 0 && sides[place] === "dst") return `the address that a frame is sent to, asked by set ${name},`;
  const waits = place >= 0 && elements.some(({ mac }) => mac < 0);
  return waits ? `an element of set ${name} without a MAC address` : null;
}

/** Of targets, why they never will be. */
const WHY_NOT: Readonly<Record<string, string>> = {
  SYNPROXY: ", whose cookies are a secret of the host,",
  CLUSTERIP: ", which kernels no longer have,",
};

function whatOfTarget(target: Target, { sets }: Named, table: TableName): string | null {
  switch (target.kind) {
    case "opaque":
      return `target ${target.name}${WHY_NOT[target.name] ?? ""}`;
    case "SET": {
      const refs = [target.add, target.del, target.map].filter((ref) => ref !== null);
      const missing = refs.find(({ name }) => !sets.has(name));
      if (missing !== undefined) return `set ${missing.name}, which is not loaded (--ipset),`;
      // a full set makes room by lot
      if (refs.some(({ name }) => sets.get(name)!.forceadd)) return "a set with forceadd as that of target SET";
      return refs.reduce<string | null>((what, ref) => what ?? whatOfFrame(ref, sets), null);
    }
    case "NFQUEUE":
      // the connection would go on without a binding
      return target.bypass && table === "nat" ? "target NFQUEUE with --queue-bypass in table nat" : null;
    case "CT":
      if (target.helper !== null || target.timeout !== null) return "helper or timeout policy of target CT";
      if (target.events.length + target.expEvents.length > 0) return "a choice of events in target CT";
      return null;
    default:
      return null;
  }
}
