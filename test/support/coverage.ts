// Worlds and what was answered in them -> what the tests have really tried.
//
// Random tests are worth what they reach. Counted here, by the traces of the judge, is how much of the rules was hit,
// what decided, and how often the hard things happened: see the numbers that property-worlds.test.ts asks for.

import type { RuleRef } from "../../src/classifier.ts";
import type { Match, Rule, Ruleset, TableName, Target } from "../../src/rules/ruleset.ts";
import type { Answer } from "./classifiers.ts";

/** `none` is a rule without a target. */
export type TargetKind = Target["kind"] | "none" | "policy";

export class Coverage {
  packets = 0;
  rules = 0;
  rulesHit = 0;
  /** Packets that met such a target, whatever came then; for `policy` those that reached one. */
  readonly met = new Map<TargetKind, number>();
  /** Packets by verdict and place. */
  readonly ended = new Map<string, number>();
  /** Rules with such a match that held for some packet. */
  readonly held = new Map<Match["kind"], number>();
  /** Packets of which each was true at least once. */
  readonly seen = new Map<Happening, number>();

  add(ruleset: Ruleset, answers: readonly Answer[]): void {
    const index = new RuleIndex(ruleset);
    const hit = new Set<Rule>();
    for (const { outcome, trace } of answers) {
      this.packets++;
      count(this.ended, outcome.where === null ? outcome.verdict : `${outcome.verdict} ${outcome.where}`);
      const steps = trace.map((ref) => ({ ref, rule: index.ruleOf(ref) }));
      for (const { rule } of steps) if (rule !== null) hit.add(rule);
      for (const kind of new Set(steps.map(({ rule }) => kindOf(rule)))) count(this.met, kind);
      for (const happening of happenings(steps)) count(this.seen, happening);
    }
    this.rules += index.count;
    this.rulesHit += hit.size;
    for (const rule of hit) for (const kind of new Set(rule.matches.map((match) => match.kind))) count(this.held, kind);
  }

  share(map: ReadonlyMap<string, number>, key: string): number {
    return (map.get(key) ?? 0) / this.packets;
  }
}

/** What is hard for a compiler. */
export type Happening =
  /** RETURN in a user chain, and a rule of a caller behind it. */
  | "returned"
  /** RETURN in a built-in chain. */
  | "returned from built-in"
  /** A goto, and next a rule or policy of another chain than the one it led to. */
  | "went"
  /** Four chains deep. */
  | "deep"
  /** A rule met twice: its chain is called from two places. */
  | "called twice"
  /** A mark match held behind a MARK of the same table; where the rule calls, it is a volatile call. */
  | "volatile"
  | "volatile call"
  /** A limit or statistic held. */
  | "guard"
  | "guarded call"
  /** A negated destination port held. */
  | "negated port"
  /** A `--ports` held. */
  | "both ports";

interface Step {
  readonly ref: RuleRef;
  readonly rule: Rule | null;
}

function happenings(steps: readonly Step[]): Set<Happening> {
  const found = new Set<Happening>();
  const marked = new Set<TableName>();
  const met = new Set<Rule>();
  steps.forEach(({ ref, rule }, index) => {
    if (rule === null) return;
    const { target, matches } = rule;
    const calls = target?.kind === "jump" || target?.kind === "goto";
    const next = steps[index + 1]?.ref;
    const asksMark = matches.some(({ kind }) => kind === "mark");
    const guarded = matches.some(({ kind }) => kind === "limit" || kind === "statistic");
    if (guarded) found.add(calls ? "guarded call" : "guard");
    if (asksMark && marked.has(ref.table)) found.add(calls ? "volatile call" : "volatile");
    if (target?.kind === "MARK") marked.add(ref.table);
    if (target?.kind === "RETURN") {
      const builtin = ref.chain === ref.chain.toUpperCase() && next?.chain === ref.chain && next.number === "policy";
      if (builtin) found.add("returned from built-in");
      else if (next?.table === ref.table && next.number !== "policy") found.add("returned");
    }
    if (target?.kind === "goto" && next?.table === ref.table && next.chain !== target.chain) found.add("went");
    if (met.has(rule)) found.add("called twice");
    met.add(rule);
    if (matches.some((match) => match.kind === "multiport" && match.which === "ports")) found.add("both ports");
    if (matches.some((match) => (match.kind === "tcp" || match.kind === "udp") && match.dport?.negated === true)) {
      found.add("negated port");
    }
  });
  if (depth(steps) >= 4) found.add("deep");
  return found;
}

/** The most calls in a row, each into the chain of the next rule. */
function depth(steps: readonly Step[]): number {
  let most = 0;
  let now = 0;
  steps.forEach(({ rule }, index) => {
    const target = rule?.target;
    const enters = (target?.kind === "jump" || target?.kind === "goto") && steps[index + 1]?.ref.chain === target.chain;
    if (enters) most = Math.max(most, ++now);
    else if (target === undefined || target === null || !["LOG", "MARK"].includes(target.kind)) now = 0;
  });
  return most + 1;
}

function kindOf(rule: Rule | null): TargetKind {
  return rule === null ? "policy" : (rule.target?.kind ?? "none");
}

function count<Key>(map: Map<Key, number>, key: Key): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}

class RuleIndex {
  readonly count: number;
  readonly #chains = new Map<string, readonly Rule[]>();

  constructor(ruleset: Ruleset) {
    for (const table of ruleset.tables) {
      for (const chain of table.chains) this.#chains.set(`${table.name} ${chain.name}`, chain.rules);
    }
    this.count = [...this.#chains.values()].reduce((sum, rules) => sum + rules.length, 0);
  }

  /** null: a policy. */
  ruleOf({ table, chain, number }: RuleRef): Rule | null {
    return number === "policy" ? null : this.#chains.get(`${table} ${chain}`)![number - 1]!;
  }
}
