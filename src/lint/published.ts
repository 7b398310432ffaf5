// Ports that DNAT sends elsewhere -> those that INPUT would not have let in.
//
// What DNAT gives another host's address is forwarded: INPUT, where most rule sets close their ports, never sees it. Each
// finding is shown by a packet that the reference lets through, and which INPUT ends where the rule of nat is not there.

import type { RuleRef } from "../classifier.ts";
import { needsTracking } from "../compile/tracking.ts";
import { align, tableOf } from "../diff/alignment.ts";
import type { Alignment } from "../diff/alignment.ts";
import { universeOf } from "../diff/compare.ts";
import { Diagram, FALSE, TRUE } from "../diff/diagram.ts";
import type { DiagramBudget, Node } from "../diff/diagram.ts";
import { Guards } from "../diff/guards.ts";
import { Notes } from "../diff/notes.ts";
import { Outcomes } from "../diff/outcome.ts";
import type { Outcome } from "../diff/outcome.ts";
import { freshContext, ProgramBuilder } from "../diff/program.ts";
import { InterfaceClasses, Space } from "../diff/space.ts";
import { pointOf, witnessOf } from "../diff/witness.ts";
import type { Host } from "../host/host.ts";
import { parseArrival } from "../packet/line.ts";
import { Reference } from "../reference/reference.ts";
import { rulesOf } from "../rules/ruleset.ts";
import type { Hook, Ruleset, TableName } from "../rules/ruleset.ts";

export interface Published {
  readonly rule: RuleRef;
  /** The rule or policy that ends the packet where the rule is not there. */
  readonly by: RuleRef;
  /** A packet line. */
  readonly witness: Readonly<Record<string, unknown>>;
}

/** Throws BudgetError, and RuleError and UnsupportedError for what is not modelled. */
export function publishedPorts(ruleset: Ruleset, host: Host, budget: DiagramBudget): readonly Published[] {
  const diagram = new Diagram(budget);
  const space = new Space(diagram, new InterfaceClasses([ruleset]));
  const outcomes = new Outcomes(diagram);
  const context = { space, outcomes, guards: new Guards(diagram, [ruleset]), notes: new Notes([ruleset]) };
  const programOf = (name: TableName, hook: Hook): { readonly program: Node; readonly alignment: Alignment } => {
    const table = tableOf(ruleset, name);
    const alignment = align(table, table);
    const whole = freshContext(context);
    const chain = table.chains.find((each) => each.name === hook)!;
    return { program: new ProgramBuilder(whole, alignment.old, TRUE).builtin(chain), alignment };
  };
  const where = (program: Node, meets: (outcome: Outcome) => boolean): Node =>
    diagram.map(program, (leaf) => (meets(outcomes.of(leaf)) ? TRUE : FALSE));

  const nat = programOf("nat", "PREROUTING");
  const input = programOf("filter", "INPUT");
  const closed = where(input.program, ({ ending }) => ending.kind === "DROP" || ending.kind === "REJECT");
  const rules = rulesOf(ruleset);
  const { universe } = universeOf("nat", "PREROUTING", rules, needsTracking(ruleset), space);
  const open = diagram.and(closed, universe);
  const senders = new Set(
    diagram
      .leavesOf(nat.program)
      .map((leaf) => outcomes.of(leaf))
      .filter(({ ending }) => ending.kind === "target" && ending.name === "DNAT")
      .map(({ by }) => by),
  );
  const found: Published[] = [];
  for (const number of [...senders].sort((a, b) => a - b)) {
    const rule = nat.alignment.deciderOf(number).old!;
    const sent = diagram.and(
      where(nat.program, ({ by }) => by === number),
      open,
    );
    for (const witness of witnessesIn(sent, space, host)) {
      const by = goesRound(ruleset, host, rule, witness);
      if (by === null) continue;
      found.push({ rule, by, witness });
      break;
    }
  }
  return found;
}

/** Packets to each address of the host, by each interface that has one: from far away, and from beside it. */
function* witnessesIn(set: Node, space: Space, host: Host): Generator<Readonly<Record<string, unknown>>> {
  const { diagram } = space;
  if (set === FALSE) return;
  for (const { name, up, addresses } of host.interfaces.slice(1)) {
    if (!up) continue;
    for (const { address, prefixLength } of addresses) {
      const here = diagram.and(
        diagram.and(set, space.is("in", space.interfaces.classOf(name))),
        space.is("dst", address),
      );
      const mask = prefixLength === 0 ? 0 : (-1 << (32 - prefixLength)) >>> 0;
      const beside = diagram.and(
        space.masked("src", mask, (address & mask) >>> 0),
        space.range("src", address, address, true),
      );
      for (const packets of [here, diagram.and(here, beside)]) {
        if (packets === FALSE) continue;
        const { ct_state: _state, ...line } = witnessOf(pointOf(packets, space), space, "PREROUTING").line;
        yield { ...line, in: name };
      }
    }
  }
}

/** What of INPUT ends the packet without the rule; null: nothing does, or it is not forwarded with it. */
function goesRound(ruleset: Ruleset, host: Host, rule: RuleRef, line: object): RuleRef | null {
  const arrival = parseArrival(JSON.stringify(line), "witness", 1, host);
  const outcomeOf = (rules: Ruleset): ReturnType<Reference["run"]>["outcome"] =>
    new Reference(rules, host, { stateless: true }).run(arrival).outcome;
  const { verdict, dnatRule } = outcomeOf(ruleset);
  if (verdict !== "forwarded" || dnatRule?.chain !== rule.chain || dnatRule.number !== rule.number) return null;
  const without = outcomeOf(withoutRule(ruleset, rule));
  return without.where === "INPUT" && without.rule?.table === "filter" ? without.rule : null;
}

export function withoutRule(ruleset: Ruleset, { table, chain, number }: RuleRef): Ruleset {
  const tables = ruleset.tables.map((each) => {
    if (each.name !== table) return each;
    const chains = each.chains.map((one) =>
      one.name === chain ? { ...one, rules: one.rules.filter((_, index) => index + 1 !== number) } : one,
    );
    return { ...each, chains };
  });
  return { ...ruleset, tables };
}
