// One table -> its rules that do nothing, each proved: never asked for, taken away by others, or done by others as well.
//
// A chain is walked once from the front and once from behind. From the front: `reach`, the packets that come to each rule,
// is what comes into the chain without what rules before have ended; it may be too large (what targets change of a packet
// is forgotten, and so is what would be too much to hand on to a called chain), never too small. From behind: `rest`, the
// diagram of what becomes of a packet behind each rule (program.ts). It is asked only for packets that the rule does
// something to: so rests are handed down from the whole chain to its halves, each as far as the rules of the half are
// concerned, and no rule costs what all that stand behind it do. A rule whose removal leaves `rest` as it is, for all of
// `reach`, does nothing: both are functions with one shape, so that the question costs no more than the rule's own
// condition. What comes into a called chain is what its callers send there.
//
// What a rule of another chain would do as well is seen only where the chain itself answers: nothing is told then. Each
// finding holds for its rule alone: of two rules that do the same, either may go, not both.

import type { RuleRef } from "../classifier.ts";
import { needsTracking } from "../compile/tracking.ts";
import { align } from "../diff/alignment.ts";
import type { Alignment } from "../diff/alignment.ts";
import { refuseWhatIsChanged, universeOf } from "../diff/compare.ts";
import { conditionOf } from "../diff/condition.ts";
import { Diagram, FALSE, TRUE } from "../diff/diagram.ts";
import type { DiagramBudget, Node, Operation } from "../diff/diagram.ts";
import { differencesBetween } from "../diff/difference.ts";
import { Guards } from "../diff/guards.ts";
import { Notes } from "../diff/notes.ts";
import { NO_EFFECTS, Outcomes } from "../diff/outcome.ts";
import type { Outcome } from "../diff/outcome.ts";
import { freshContext, ProgramBuilder } from "../diff/program.ts";
import { changedBits, whereActive } from "../diff/reach.ts";
import { InterfaceClasses, Space } from "../diff/space.ts";
import { rulesOf } from "../rules/ruleset.ts";
import type { Chain, Hook, Rule, Ruleset, Table } from "../rules/ruleset.ts";

export type IdleKind = "never" | "shadowed" | "redundant" | "nowhere" | "unreachable";

/** Something that could go. */
export interface Idle {
  readonly kind: IdleKind;
  readonly chain: Chain;
  /** null: the whole chain. */
  readonly rule: RuleRef | null;
  /** Rules that take its packets before it, or do the same behind it. */
  readonly by: readonly RuleRef[];
}

/** Rules that stand behind one another. */
interface Row {
  /** What they do. */
  readonly node: Node;
  /** Packets that they may do something to, whatever is changed of them meanwhile. */
  readonly active: Node;
  readonly halves: readonly [Row, Row] | null;
}

/** Nodes of what is known of packets that come into a chain: every rule there is asked for all of them. */
const MOST_HANDED_ON = 2_000;

/** Rules that a finding names. */
const MOST_NAMED = 10;

const FIRST_VALUE = 16;

export class TableLint {
  /** In the order in which they are to be asked: callers before what they call. */
  readonly chains: readonly Chain[];
  readonly #byName: ReadonlyMap<string, Chain>;
  readonly #alignment: Alignment;
  readonly #space: Space;
  readonly #guards: Guards;
  readonly #notes: Notes;
  readonly #outcomes: Outcomes;
  readonly #builder: ProgramBuilder;
  readonly #isChanged: (bit: number) => boolean;
  /** What comes into each chain, as far as its callers have been asked. */
  readonly #entries = new Map<Chain, Node>();
  readonly #meet: Operation;
  readonly #met: (readonly [Node, Node])[] = [];

  /** Throws RuleError for what is not compared. */
  constructor(ruleset: Ruleset, table: Table, budget: DiagramBudget) {
    const diagram = new Diagram(budget);
    const rules = rulesOf({ tables: [table] });
    refuseWhatIsChanged(rules);
    this.#byName = new Map(table.chains.map((chain) => [chain.name, chain]));
    this.#alignment = align(table, table);
    this.#space = new Space(diagram, new InterfaceClasses([ruleset]));
    this.#guards = new Guards(diagram, [ruleset]);
    this.#notes = new Notes([ruleset]);
    this.#outcomes = new Outcomes(diagram);
    this.#isChanged = changedBits(table);
    const context = { space: this.#space, outcomes: this.#outcomes, guards: this.#guards, notes: this.#notes };
    const whole = freshContext(context);
    this.#builder = new ProgramBuilder(whole, this.#alignment.old, TRUE);
    this.chains = callersFirst(table.chains, this.#byName);
    const tracked = needsTracking(ruleset);
    for (const chain of table.chains) {
      if (chain.policy === null) continue;
      this.#entries.set(chain, universeOf(table.name, chain.name as Hook, rules, tracked, this.#space).universe);
    }
    const numbers = new Map<string, Node>();
    this.#meet = diagram.operation((a, b) => {
      if (a === b) return FALSE;
      if (!diagram.isLeaf(a) || !diagram.isLeaf(b)) return -1;
      const key = `${a} ${b}`;
      let leaf = numbers.get(key);
      if (leaf === undefined) {
        leaf = diagram.leaf(FIRST_VALUE + this.#met.length);
        this.#met.push([a, b]);
        numbers.set(key, leaf);
      }
      return leaf;
    });
  }

  /** All that is proved of the next chain. Throws BudgetError. */
  idleIn(chain: Chain): readonly Idle[] {
    const entry = this.#entries.get(chain) ?? FALSE;
    if (entry === FALSE) return [{ kind: "unreachable", chain, rule: null, by: [] }];
    const { diagram } = this.#space;
    const found: Idle[] = [];
    const conditions = chain.rules.map((rule) =>
      conditionOf(rule, this.#space, (match, at, part = "") =>
        this.#guards.bitOf(match, at, part, `/${this.#alignment.old.numberOf(rule)}`),
      ),
    );
    const actives = chain.rules.map((rule, index) => whereActive(rule, conditions[index]!, this.#space, this.#notes));
    const rests = this.#restsOf(chain, actives);
    // of bits that may have been changed since nothing is known
    let reach = diagram.exists(entry, this.#isChanged);
    let taken: Node = FALSE;
    chain.rules.forEach((rule, index) => {
      const active = actives[index]!;
      const here = diagram.and(reach, active);
      const tell = (kind: IdleKind, by: readonly RuleRef[] = []): void => {
        found.push({ kind, chain, rule: this.#refOf(rule), by });
      };
      if (here === FALSE) {
        const before = diagram.leavesOf(diagram.only(diagram.and(entry, active), taken));
        const by = before
          .filter((leaf) => leaf !== FALSE)
          .map((leaf) => chain.rules[diagram.valueOf(leaf) - FIRST_VALUE]!);
        if (by.length === 0) tell("never");
        else
          tell(
            "shadowed",
            by
              .map((each) => this.#refOf(each))
              .sort(byNumber)
              .slice(0, MOST_NAMED),
          );
        return;
      }
      this.#enter(rule, conditions[index]!.holds, [reach, entry]);
      const rest = rests[index]!;
      const own = this.#ending(this.#builder.rule(rule, "", true), chain);
      if (!this.#differs(this.#builder.followed(own, rest), rest, here, chain))
        tell(this.#isToNowhere(rule) ? "nowhere" : "redundant", this.#decidersOf(diagram.only(here, rest)));
      const through = diagram.map(own, (leaf) => (this.#outcomes.of(leaf).ending.kind === "through" ? TRUE : FALSE));
      if (through === TRUE) return;
      taken = diagram.choose(diagram.and(reach, diagram.not(through)), diagram.leaf(FIRST_VALUE + index), taken);
      reach = diagram.and(reach, diagram.exists(through, this.#isChanged));
    });
    return found;
  }

  /** What becomes of a packet behind each rule, as far as the rule is of any consequence to it; FALSE elsewhere. */
  #restsOf(chain: Chain, actives: readonly Node[]): readonly Node[] {
    const { diagram } = this.#space;
    const rests: Node[] = [];
    /** `rest` is what comes behind the rules, for all packets that they may do something to. */
    const go = (rules: Row, rest: Node): void => {
      if (rules.halves === null) {
        rests.push(rest);
        return;
      }
      const [first, second] = rules.halves;
      const between = this.#builder.followed(diagram.only(first.active, second.node), diagram.only(first.active, rest));
      go(first, between);
      go(second, diagram.only(second.active, rest));
    };
    const rows = chain.rules.map((rule, index): Row => {
      const node = this.#ending(this.#builder.rule(rule, ""), chain);
      // what is changed of a packet leads it nowhere else
      return { node, active: diagram.exists(actives[index]!, this.#isChanged), halves: null };
    });
    const end = this.#ending(this.#outcomes.leaf({ ending: { kind: "return" }, by: 0, effects: NO_EFFECTS }), chain);
    const [whole] = this.#inPairs(rows);
    if (whole !== undefined) go(whole, diagram.only(whole.active, end));
    return rests;
  }

  /** One row of all, or none. */
  #inPairs(rows: readonly Row[]): readonly Row[] {
    if (rows.length < 2) return rows;
    const pairs: Row[] = [];
    for (let i = 0; i < rows.length; i += 2) {
      const [first, second] = rows.slice(i, i + 2);
      if (second === undefined) pairs.push(first!);
      else
        pairs.push({
          node: this.#builder.followed(first!.node, second.node),
          active: this.#space.diagram.or(first!.active, second.active),
          halves: [first!, second],
        });
    }
    return this.#inPairs(pairs);
  }

  /** To come back from a built-in chain is its policy. */
  #ending(node: Node, chain: Chain): Node {
    if (chain.policy === null) return node;
    const [kind, by] = [chain.policy, this.#alignment.old.policyNumberOf(chain)];
    return this.#space.diagram.map(node, (leaf) => {
      const { ending, effects } = this.#outcomes.of(leaf);
      return ending.kind === "return" ? this.#outcomes.leaf({ ending: { kind }, by, effects }) : leaf;
    });
  }

  /** Some packet of `where` is treated otherwise by the one than by the other. */
  #differs(a: Node, b: Node, where: Node, chain: Chain): boolean {
    const { diagram } = this.#space;
    const meeting = diagram.apply(this.#meet, diagram.only(where, a), diagram.only(where, b));
    return diagram.leavesOf(meeting).some((leaf) => {
      if (leaf === FALSE) return false;
      const sides = this.#met[diagram.valueOf(leaf) - FIRST_VALUE]!.map((each) => this.#comingBack(each, chain));
      const kinds = differencesBetween(sides[0]!, sides[1]!, this.#outcomes, this.#space);
      return kinds.some((each) => diagram.and(diagram.and(each.where, diagram.where(meeting, leaf)), where) !== FALSE);
    });
  }

  /** Whoever calls a chain goes on, whether it came to its end or to a RETURN. */
  #comingBack(leaf: Node, { policy }: Chain): Outcome {
    const outcome = this.#outcomes.of(leaf);
    return policy === null && outcome.ending.kind === "return" ? { ...outcome, ending: { kind: "through" } } : outcome;
  }

  /** @param from what comes to the rule, and sets that are larger but not made of as much */
  #enter({ target }: Rule, holds: Node, from: readonly Node[]): void {
    if (target?.kind !== "jump" && target?.kind !== "goto") return;
    const { diagram } = this.#space;
    const callee = this.#byName.get(target.chain)!;
    const packets = from.map((each) => diagram.and(each, holds)).find((each) => !this.#isLarge(each)) ?? holds;
    const sent = diagram.exists(packets, this.#isChanged);
    this.#entries.set(callee, diagram.or(this.#entries.get(callee) ?? FALSE, sent));
  }

  #isLarge(node: Node): boolean {
    return [...this.#space.diagram.nodesOf(node)].length > MOST_HANDED_ON;
  }

  #isToNowhere({ target }: Rule): boolean {
    return target?.kind === "jump" && this.#byName.get(target.chain)!.rules.length === 0;
  }

  #refOf(rule: Rule): RuleRef {
    return this.#alignment.deciderOf(this.#alignment.old.numberOf(rule)).old!;
  }

  #decidersOf(node: Node): readonly RuleRef[] {
    const numbers = this.#space.diagram
      .leavesOf(node)
      .flatMap((leaf) => (leaf === FALSE ? [] : [this.#outcomes.of(leaf).by]))
      .filter((by) => by !== 0);
    const rising = [...new Set(numbers)].sort((a, b) => a - b);
    return rising.slice(0, MOST_NAMED).map((by) => this.#alignment.deciderOf(by).old!);
  }
}

function byNumber(a: RuleRef, b: RuleRef): number {
  return Number(a.number) - Number(b.number);
}

/** Those of a loop, which no packet enters, in some order. */
function callersFirst(chains: readonly Chain[], byName: ReadonlyMap<string, Chain>): readonly Chain[] {
  const order: Chain[] = [];
  const seen = new Set<Chain>();
  const path: { readonly chain: Chain; next: number }[] = [];
  // the last called first, so that the whole is the order turned round
  for (const start of [...chains].reverse()) {
    if (!seen.has(start)) path.push({ chain: start, next: 0 });
    seen.add(start);
    for (let here = path.at(-1); here !== undefined; here = path.at(-1)) {
      const rule = here.chain.rules[here.next++];
      if (rule === undefined) {
        order.push(here.chain);
        path.pop();
        continue;
      }
      const { target } = rule;
      const callee = target?.kind === "jump" || target?.kind === "goto" ? byName.get(target.chain)! : null;
      if (callee === null || seen.has(callee)) continue;
      seen.add(callee);
      path.push({ chain: callee, next: 0 });
    }
  }
  return order.reverse();
}
