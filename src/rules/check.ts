// The kernel's objections to a whole table: jump loops, and targets and matches in hooks where they may not stand.
//
// Follows mark_source_chains() in net/ipv4/netfilter/ip_tables.c, which walks each hook's chain as far as a packet can
// get and gives every rule the set of hooks that reach it, and the checkentry functions. Rules that no hook reaches
// are not asked, and a loop among unreachable chains is accepted.

import { RuleError } from "./error.ts";
import { Line } from "./line.ts";
import type { Chain, Hook, Rule, Table } from "./ruleset.ts";

/** The hooks from which each chain can be entered. Jump loops and what is forbidden there throw RuleError. */
export function checkTable(table: Table, idleTests: ReadonlySet<Rule>): void {
  const chains = new Map(table.chains.map((chain) => [chain.name, new Walk(chain, idleTests)]));
  for (const chain of table.chains) {
    if (chain.policy !== null) walk(chains, chain.name as Hook);
  }
  for (const { chain, reached, hooks } of chains.values()) {
    if (hooks.size === 0) continue;
    for (let i = 0; i < reached; i++) checkRule(table, chain.rules[i]!, hooks);
  }
}

/** A chain on the walk. */
class Walk {
  readonly chain: Chain;
  /** How many rules a packet can reach: all up to the first that always matches and ends the chain. */
  readonly reached: number;
  readonly hooks = new Set<Hook>();
  /** On the way from the hook to where the walk stands; the rule that is being looked at. */
  next = -1;

  constructor(chain: Chain, idleTests: ReadonlySet<Rule>) {
    this.chain = chain;
    const last = chain.rules.findIndex((rule) => endsChain(rule) && !idleTests.has(rule));
    this.reached = last < 0 ? chain.rules.length : last + 1;
  }
}

/** unconditional() and a verdict. */
function endsChain({ header, matches, target }: Rule): boolean {
  if (target?.kind !== "ACCEPT" && target?.kind !== "DROP" && target?.kind !== "RETURN") return false;
  const { src, dst, inIface, outIface, proto, fragment } = header;
  return matches.length === 0 && !src && !dst && !inIface && !outIface && !proto && !fragment;
}

/** Depth first, without recursion: chains may be thousands deep. */
function walk(chains: ReadonlyMap<string, Walk>, hook: Hook): void {
  const path = [chains.get(hook)!];
  path[0]!.hooks.add(hook);
  path[0]!.next = 0;
  while (path.length > 0) {
    const here = path[path.length - 1]!;
    if (here.next === here.reached) {
      here.next = -1;
      path.pop();
      continue;
    }
    const rule = here.chain.rules[here.next++]!;
    const { target } = rule;
    if (target?.kind !== "jump" && target?.kind !== "goto") continue;
    const called = chains.get(target.chain);
    if (called === undefined) throw new Error(`jump to an unknown chain ${target.chain}`);
    if (called.next >= 0) refuseLoop(path, called, rule);
    if (called.hooks.has(hook)) continue;
    called.hooks.add(hook);
    called.next = 0;
    path.push(called);
  }
}

function refuseLoop(path: readonly Walk[], called: Walk, rule: Rule): never {
  const names = path.slice(path.indexOf(called)).map(({ chain }) => chain.name);
  const loop = [...names, called.chain.name].join(" -> ");
  return fail(rule, `the chains call each other without end: ${loop}`, called.chain.name);
}

/** Hooks in which a target may stand (struct xt_target, .hooks). */
const TARGET_HOOKS: Readonly<Record<"DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT", readonly Hook[]>> = {
  DNAT: ["PREROUTING", "OUTPUT"],
  REDIRECT: ["PREROUTING", "OUTPUT"],
  SNAT: ["POSTROUTING", "INPUT"],
  MASQUERADE: ["POSTROUTING"],
};

/** Hooks without an interface of that direction (addrtype_mt_checkentry_v1()). */
const NO_INTERFACE: Readonly<Record<"in" | "out", readonly Hook[]>> = {
  in: ["OUTPUT", "POSTROUTING"],
  out: ["PREROUTING", "INPUT"],
};

function checkRule(table: Table, rule: Rule, hooks: ReadonlySet<Hook>): void {
  const { target } = rule;
  switch (target?.kind) {
    case "DNAT":
    case "SNAT":
    case "MASQUERADE":
    case "REDIRECT": {
      const allowed = TARGET_HOOKS[target.kind];
      const wrong = [...hooks].find((hook) => !allowed.includes(hook));
      if (wrong === undefined) break;
      const where = `it is reached from ${wrong}`;
      fail(rule, `${target.kind} is allowed only in ${table.name} ${allowed.join(" and ")}; ${where}`, target.kind);
    }
  }
  for (const match of rule.matches) {
    if (match.kind !== "addrtype" || match.limitIface === null) continue;
    const wrong = NO_INTERFACE[match.limitIface].find((hook) => hooks.has(hook));
    if (wrong === undefined) continue;
    const option = `--limit-iface-${match.limitIface}`;
    fail(rule, `${option} has no meaning in ${wrong}, from which this rule is reached`, option);
  }
}

/** @param word the caret stands under the last such word, or under the first word */
function fail(rule: Rule, reason: string, word: string): never {
  const { file, line: number, column } = rule.position;
  const line = new Line(file).read(number, rule.text, column - 1);
  const index = line.lastIndexOf(word);
  if (index >= 0) return line.fail(reason, index);
  throw new RuleError(reason, rule.position, rule.text, line.word(0)?.length ?? 1);
}
