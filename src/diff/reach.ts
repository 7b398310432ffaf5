// Which packets may come to a rule that stands in one rule set alone: a region that is never too small.
//
// A rule is reached by what its own condition and those of the calls on the way to it let through. Rules before it, and
// guards, are left out, and so are conditions on what targets of the table may have changed meanwhile.

import type { Chain, Rule, Table } from "../rules/ruleset.ts";
import type { AlignedSide } from "./alignment.ts";
import { conditionOf } from "./condition.ts";
import type { Condition } from "./condition.ts";
import { FALSE, TRUE } from "./diagram.ts";
import type { Node } from "./diagram.ts";
import type { Notes } from "./notes.ts";
import { FIELD } from "./space.ts";
import type { FieldName, Space } from "./space.ts";

/** More calls on the way to a chain than these, and all packets are taken to reach it. */
const MOST_CALLS = 20_000;

/** @param open where a rule may do anything @param settled numbers of rules that are left out */
export function reachOfChanges(
  side: AlignedSide,
  start: Chain,
  settled: ReadonlySet<number>,
  open: (rule: Rule) => Node,
  space: Space,
): Node {
  const changed = new Map(
    [...side.changed]
      .map(([chain, rules]) => [chain, rules.filter((rule) => !settled.has(side.numberOf(rule)))] as const)
      .filter(([, rules]) => rules.length > 0),
  );
  if (changed.size === 0) return FALSE;
  const { diagram } = space;
  const entries = entriesOf(side.table, start, [...changed.keys()], open, space);
  let reach: Node = FALSE;
  for (const [chain, rules] of changed) {
    const entry = entries.get(chain) ?? FALSE;
    if (entry === FALSE) continue;
    const any = union(rules.map(open), space);
    reach = diagram.or(reach, diagram.and(entry, any));
  }
  return reach;
}

/** In pairs, so that no function is walked more often than halvings tell. */
function union(nodes: readonly Node[], { diagram }: Space): Node {
  let rest = nodes;
  while (rest.length > 1) {
    const halved: Node[] = [];
    for (let i = 0; i < rest.length; i += 2)
      halved.push(i + 1 < rest.length ? diagram.or(rest[i]!, rest[i + 1]!) : rest[i]!);
    rest = halved;
  }
  return rest[0] ?? FALSE;
}

/** Where a rule may hold, drop or note something, whatever guards say and whatever has been changed. */
export function openConditions(table: Table, space: Space, notes: Notes): (rule: Rule) => Node {
  const isChanged = changedBits(table);
  const known = new Map<Rule, Node>();
  return (rule) => {
    let node = known.get(rule);
    if (node === undefined) {
      const condition = conditionOf(rule, space, () => TRUE);
      known.set(rule, (node = space.diagram.exists(whereActive(rule, condition, space, notes), isChanged)));
    }
    return node;
  };
}

/** Where a rule holds, drops or notes something. */
export function whereActive(rule: Rule, { holds, drops, asked }: Condition, { diagram }: Space, notes: Notes): Node {
  // matches are asked where those before them hold: the first that notes something is asked most often
  const first = rule.matches.findIndex((match, index) => notes.ofMatch(match, index, 0) !== null);
  return diagram.or(first < 0 ? holds : asked[first]!, drops);
}

/** Bits that targets of the table may change. */
export function changedBits(table: Table): (bit: number) => boolean {
  const changing = changedFields(table).map((name) => FIELD[name]);
  return (bit) => changing.some(({ first, end }) => bit >= first && bit < end);
}

function changedFields(table: Table): readonly FieldName[] {
  const fields = new Set<FieldName>();
  for (const { target } of table.chains.flatMap(({ rules }) => rules)) {
    switch (target?.kind) {
      case "MARK":
        fields.add("mark");
        break;
      case "CONNMARK":
        fields.add("mark").add("connmark");
        break;
      case "TOS":
      case "DSCP":
        fields.add("tos");
        break;
      case "TTL":
        fields.add("ttl");
        break;
      case "ECN":
        fields.add("tos").add("flags");
        break;
      case "CT":
      case "NOTRACK":
        fields.add("ct_state");
        break;
      default:
    }
  }
  return [...fields];
}

/** For each of the wanted chains what comes into it, as far as calls tell. */
function entriesOf(
  table: Table,
  start: Chain,
  wanted: readonly Chain[],
  open: (rule: Rule) => Node,
  space: Space,
): ReadonlyMap<Chain, Node> {
  const { diagram } = space;
  const chains = new Map(table.chains.map((chain) => [chain.name, chain]));
  const calls = new Map<Chain, { caller: Chain; rule: Rule }[]>();
  for (const caller of table.chains) {
    for (const rule of caller.rules) {
      if (rule.target?.kind !== "jump" && rule.target?.kind !== "goto") continue;
      const callee = chains.get(rule.target.chain)!;
      const into = calls.get(callee);
      if (into === undefined) calls.set(callee, [{ caller, rule }]);
      else into.push({ caller, rule });
    }
  }
  // callers before what they call
  const order: Chain[] = [];
  const seen = new Set<Chain>();
  const path = wanted.map((chain) => ({ chain, next: 0 }));
  for (let here = path.at(-1); here !== undefined; here = path.at(-1)) {
    const into = calls.get(here.chain) ?? [];
    if (here.next === 0 && seen.has(here.chain)) {
      path.pop();
      continue;
    }
    seen.add(here.chain);
    const caller = into[here.next++]?.caller;
    if (caller === undefined) {
      order.push(here.chain);
      path.pop();
    } else if (!seen.has(caller)) path.push({ chain: caller, next: 0 });
  }
  const entries = new Map<Chain, Node>([[start, TRUE]]);
  let left = MOST_CALLS;
  for (const chain of order) {
    if (chain.policy !== null) continue;
    const into = calls.get(chain) ?? [];
    left -= into.length;
    const ways = into.flatMap(({ caller, rule }) => {
      const entry = entries.get(caller) ?? FALSE;
      return entry === FALSE ? [] : [left < 0 ? entry : diagram.and(entry, open(rule))];
    });
    const entry = union(ways, space);
    if (entry !== FALSE) entries.set(chain, entry);
  }
  return entries;
}
