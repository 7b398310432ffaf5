// The kernel's objections to a whole table: jump loops, and targets and matches in hooks where they may not stand.
//
// Follows mark_source_chains() in net/ipv4/netfilter/ip_tables.c, which walks each hook's chain as far as a packet can
// get and gives every rule the set of hooks that reach it, and the checkentry functions. Rules that no hook reaches
// are not asked, and a loop among unreachable chains is accepted.

import { RuleError } from "./error.ts";
import { Line } from "./line.ts";
import { matchNamed } from "./matches.ts";
import { BUILTIN_CHAINS, type Chain, type Family, type Hook, type Rule, type Table } from "./ruleset.ts";
import { targetNamed } from "./targets.ts";

/** The hooks from which each chain can be entered. Jump loops and what is forbidden there throw RuleError. */
export function checkTable(table: Table, family: Family, idleTests: ReadonlySet<Rule>): void {
  const chains = new Map(table.chains.map((chain) => [chain.name, new Walk(chain, idleTests)]));
  for (const chain of table.chains) {
    if (chain.policy !== null) walk(chains, chain.name as Hook);
  }
  for (const { chain, reached, hooks } of chains.values()) {
    if (hooks.size === 0) continue;
    for (let i = 0; i < reached; i++) checkRule(table, family, chain.rules[i]!, hooks);
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
  const { src, dst, v6, inIface, outIface, proto, fragment } = header;
  return matches.length === 0 && !src && !dst && !v6 && !inIface && !outIface && !proto && !fragment;
}

/** Chains of a loop that a message names. */
const MOST_SHOWN = 8;

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
  const shown = names.length > MOST_SHOWN ? [...names.slice(0, MOST_SHOWN), "..."] : names;
  const loop = [...shown, called.chain.name].join(" -> ");
  return fail(rule, `the chains call each other without end: ${loop}`, called.chain.name);
}

function checkRule(table: Table, family: Family, rule: Rule, hooks: ReadonlySet<Hook>): void {
  for (const match of rule.matches) {
    const name = match.kind === "opaque" ? match.name : match.kind;
    const extension = matchNamed(name, family);
    const allowed = extension?.hooks?.(match);
    if (allowed) checkHooks(table, rule, hooks, name, allowed);
  }
  const { target } = rule;
  if (target === null) return;
  const name = target.kind === "opaque" ? target.name : target.kind;
  const allowed = targetNamed(name, family)?.hooks?.(target);
  if (allowed) checkHooks(table, rule, hooks, name, allowed);
}

function checkHooks(table: Table, rule: Rule, hooks: ReadonlySet<Hook>, name: string, allowed: readonly Hook[]): void {
  const wrong = [...hooks].find((hook) => !allowed.includes(hook));
  if (wrong === undefined) return;
  const places = BUILTIN_CHAINS[table.name].filter((hook) => allowed.includes(hook));
  const where = places.length === 0 ? `not in table ${table.name}` : `only in ${table.name} ${places.join(" and ")}`;
  fail(rule, `${name} is allowed ${where} as it stands here; it is reached from ${wrong}`, name);
}

/** @param word the caret stands under the last such word, or under the first word */
function fail(rule: Rule, reason: string, word: string): never {
  const { file, line: number, column } = rule.position;
  const line = new Line(file).read(number, rule.text, column - 1);
  const index = line.lastIndexOf(word);
  if (index >= 0) return line.fail(reason, index);
  throw new RuleError(reason, rule.position, rule.text, line.word(0)?.length ?? 1);
}
