// Two rule sets, one built-in chain -> every packet for which the chain does something else, by the rules that decide.
//
// Both chains become diagrams over the same bits (program.ts), as far as packets may reach a rule that is not in both
// (alignment.ts, reach.ts). The product of the two is a third diagram, whose leaves say what differs; where both have the
// same node, nothing does, and the product does not look further. It is walked once, and is complete.
//
// That is done twice: first with outcomes that do not tell which rule decides, then with rules, where the first product
// has found something. A function that only says ACCEPT or DROP is often smaller by far than one that tells ten thousand
// rules apart, and what differs is mostly little.
//
// Chance: where the answers hang on `statistic`, the shares of all outcomes are compared first. The same outcomes in other
// shares are a difference in probability; shares that differ by less than a millionth are equal, since chained n-ths are
// rounded to 31 bits.

import type { RuleRef } from "../classifier.ts";
import { rulesOf } from "../rules/ruleset.ts";
import type { Chain, Hook, Match, Rule, Ruleset, Table, TableName } from "../rules/ruleset.ts";
import { needsTracking } from "../compile/tracking.ts";
import { RuleError } from "../rules/error.ts";
import { align, tableOf } from "./alignment.ts";
import type { Alignment } from "./alignment.ts";
import { BudgetError, Diagram, FALSE, TRUE } from "./diagram.ts";
import type { DiagramBudget, Node } from "./diagram.ts";
import { Guards } from "./guards.ts";
import { DIFFERENCE_KINDS, differencesBetween } from "./difference.ts";
import type { DifferenceKind } from "./difference.ts";
import { harmlessMoves, sharesMemory } from "./moves.ts";
import { lastingNotes, Notes } from "./notes.ts";
import { keyOfEffects, keyOfEnding, NO_EFFECTS, Outcomes } from "./outcome.ts";
import type { Effects, Outcome } from "./outcome.ts";
import { freshContext, ProgramBuilder } from "./program.ts";
import type { ProgramContext } from "./program.ts";
import { changedBits, openConditions, reachOfChanges } from "./reach.ts";
import { boxesOf, MOST_REGIONS } from "./region.ts";
import { InterfaceClasses, Space } from "./space.ts";
import type { FieldName } from "./space.ts";

/** What differs, and by which rules: all packets of one leaf of the product. */
export interface Pair {
  readonly kind: DifferenceKind;
  readonly old: Decided;
  readonly new: Decided;
  /** Where, as far as packets can come into the chain: a diagram over packets and guards. */
  readonly where: Node;
  /** Of all packets that can come into the chain; of guards each value counts alike. */
  readonly share: number;
}

export interface Decided {
  readonly outcome: Outcome;
  readonly rule: RuleRef;
}

export interface ChainComparison {
  readonly table: TableName;
  readonly hook: Hook;
  readonly alignment: Alignment;
  readonly space: Space;
  readonly guards: Guards;
  readonly outcomes: Outcomes;
  /** What comes into the chain at all, and what of it each field may be. */
  readonly universe: Node;
  readonly fields: ReadonlyMap<FieldName, Node>;
  /** Numbers of the rules that may hold for a packet that is treated otherwise. */
  readonly concerned: ReadonlySet<number>;
  /** DROP to ACCEPT first. */
  readonly pairs: readonly Pair[];
}

export interface CompareOptions {
  readonly budget: DiagramBudget;
}

/** Throws BudgetError where it would be too much, RuleError for what is not compared. */
export function compareChain(
  oldRuleset: Ruleset,
  newRuleset: Ruleset,
  tableName: TableName,
  hook: Hook,
  { budget }: CompareOptions,
): ChainComparison {
  const rulesets = [oldRuleset, newRuleset];
  const diagram = new Diagram(budget);
  const space = new Space(diagram, new InterfaceClasses(rulesets));
  const guards = new Guards(diagram, rulesets);
  const notes = new Notes(rulesets);
  const outcomes = new Outcomes(diagram);
  const tables = [oldRuleset, newRuleset].map((ruleset) => tableOf(ruleset, tableName)) as [Table, Table];
  const rules = rulesOf({ tables });
  refuseWhatIsChanged(rules);

  const { fields, ties, universe } = universeOf(tableName, hook, rules, rulesets.every(needsTracking), space);

  const [oldChain, newChain] = tables.map(({ chains }) => chainOf(chains, hook)) as [Chain, Chain];
  const { alignment, reach } = reachOf(tables, [oldChain, newChain], space, notes);
  const product = new Product(space, guards, outcomes, alignment);
  const parts = { space, outcomes, guards, notes };
  const programs = (context: ProgramContext, region: Node): readonly [Node, Node] => [
    new ProgramBuilder(context, alignment.old, region).builtin(oldChain),
    new ProgramBuilder(context, alignment.new, region).builtin(newChain),
  ];
  const context = freshContext(parts);
  let region = diagram.and(universe, reach);
  let pairs: readonly Pair[] = [];
  // first where, which costs less to find without the rules that decide, then by which rules
  if (region !== FALSE) {
    const differing = product.differing(...programs(freshContext(parts, true), region), region);
    const isChanged = tables.map(changedBits);
    const forgotten = (bit: number): boolean => guards.isGuard(bit) || isChanged.some((is) => is(bit));
    region = diagram.and(region, diagram.exists(differing, forgotten));
    if (boxesOf(diagram.simplify(differing, ties), space, MOST_REGIONS) === null) {
      const share = ((100 * diagram.density(differing)) / diagram.density(universe)).toPrecision(3);
      throw new BudgetError(`${share} % of what may come is treated otherwise, in more than ${MOST_REGIONS} regions`);
    }
  }
  if (region !== FALSE)
    pairs = product
      .pairs(...programs(context, region), region, diagram.density(universe))
      .map((pair) => ({ ...pair, where: diagram.simplify(pair.where, ties) }));
  return {
    table: tableName,
    hook,
    alignment,
    space,
    guards,
    outcomes,
    universe,
    fields,
    concerned: context.concerned,
    pairs,
  };
}

/**
 * What comes into a built-in chain at all: what each field may be, and what ties one to another.
 *
 * @param rules of the table @param tracked connections are tracked, whichever rule set is loaded
 */
export function universeOf(
  table: TableName,
  hook: Hook,
  rules: readonly Rule[],
  tracked: boolean,
  space: Space,
): { readonly fields: ReadonlyMap<FieldName, Node>; readonly ties: Node; readonly universe: Node } {
  const { diagram } = space;
  const fields = space.fieldsAt(hook, table, tracked);
  const free = [...fields.values()].reduceRight((a, b) => diagram.and(a, b), TRUE);
  let ties: Node = TRUE;
  if (tracked && table !== "raw") ties = space.brokenAreInvalid();
  if (rules.some(({ matches }) => matches.some(({ kind }) => kind === "length")))
    ties = diagram.and(ties, space.lengths());
  return { fields, ties, universe: diagram.and(free, ties) };
}

function chainOf(chains: readonly Chain[], hook: Hook): Chain {
  return chains.find(({ name }) => name === hook)!;
}

/** Which rules correspond, and which packets may come to one that has no other, or stands elsewhere and may matter there. */
function reachOf(
  [oldTable, newTable]: readonly [Table, Table],
  [oldChain, newChain]: readonly [Chain, Chain],
  space: Space,
  notes: Notes,
): { readonly alignment: Alignment; readonly reach: Node } {
  const oldOpen = openConditions(oldTable, space, notes);
  const newOpen = openConditions(newTable, space, notes);
  let alignment = align(oldTable, newTable);
  const harmless = harmlessMoves(alignment, oldOpen, space, notes);
  // what is common to many rules and was moved past one of them, two rules ask for and not one
  const moved = [...alignment.old.changed.values()].flat();
  const apart = moved.filter((rule) => !harmless.has(rule) && sharesMemory(rule));
  if (apart.length > 0) alignment = align(oldTable, newTable, new Set(apart));
  if (oldChain.policy !== newChain.policy) return { alignment, reach: TRUE };
  const settled = new Set([...harmless].map((rule) => alignment.old.numberOf(rule)));
  const reach = space.diagram.or(
    reachOfChanges(alignment.old, oldChain, settled, oldOpen, space),
    reachOfChanges(alignment.new, newChain, settled, newOpen, space),
  );
  return { alignment, reach };
}

/** The option that TCPMSS adds makes the packet longer, and cluster takes a frame to a group for one to the host. */
export function refuseWhatIsChanged(rules: readonly Rule[]): void {
  const asking = (kind: Match["kind"]): Rule | undefined =>
    rules.find(({ matches }) => matches.some((match) => match.kind === kind));
  const refuse = (rule: Rule | undefined, words: string): void => {
    if (rule !== undefined) {
      throw new RuleError(`${words} is not compared`, rule.position, rule.text, rule.text.length);
    }
  };
  if (rules.some(({ target }) => target?.kind === "TCPMSS"))
    refuse(asking("length"), "match length beside target TCPMSS");
  if (asking("cluster") !== undefined) refuse(asking("pkttype"), "match pkttype beside match cluster");
}

interface Leaf {
  readonly kind: DifferenceKind;
  readonly old: Outcome;
  readonly new: Outcome;
}

/** Shares of outcomes, by what they do; behind them one outcome that does it. */
type Shares = ReadonlyMap<string, { readonly share: number; readonly outcome: Outcome }>;

const FIRST_VALUE = 16;

/** Shares that are closer than this are equal. */
const SMALLEST_SHARE = 1e-6;

class Product {
  readonly #space: Space;
  readonly #guards: Guards;
  readonly #outcomes: Outcomes;
  readonly #alignment: Alignment;
  readonly #leaves: Leaf[] = [];
  readonly #numbers = new Map<string, Node>();
  readonly #shares: Shares[] = [];
  readonly #sharesByKey = new Map<string, Node>();

  constructor(space: Space, guards: Guards, outcomes: Outcomes, alignment: Alignment) {
    this.#space = space;
    this.#guards = guards;
    this.#outcomes = outcomes;
    this.#alignment = alignment;
  }

  /** Where outcomes differ, whatever chances they have. */
  differing(before: Node, after: Node, region: Node): Node {
    const { diagram } = this.#space;
    return diagram.map(diagram.only(region, this.#product(before, after)), (leaf) => (leaf === FALSE ? FALSE : TRUE));
  }

  pairs(before: Node, after: Node, region: Node, universeShare: number): readonly Pair[] {
    const { diagram } = this.#space;
    const product = this.#withoutChance(diagram.only(region, this.#product(before, after)), before, after);
    const pairs = diagram.wheres(product).map(([leaf, where]): Pair => {
      const { kind, old, new: other } = this.#leaves[diagram.valueOf(leaf) - FIRST_VALUE]!;
      const share = diagram.density(where) / universeShare;
      const decided = (side: "old" | "new", outcome: Outcome): Decided => ({
        outcome,
        rule: this.#alignment.deciderOf(outcome.by)[side]!,
      });
      return { kind, old: decided("old", old), new: decided("new", other), where, share };
    });
    return pairs.sort((a, b) => rank(a) - rank(b) || b.share - a.share);
  }

  /** First the pairs of outcomes that meet, as leaves; then in their place what differs, which may ask bits anew. */
  #product(before: Node, after: Node): Node {
    const { diagram } = this.#space;
    const met: [Node, Node][] = [];
    const numbers = new Map<string, Node>();
    const meet = diagram.operation((a, b) => {
      if (a === b) return FALSE;
      if (!diagram.isLeaf(a) || !diagram.isLeaf(b)) return -1;
      const key = `${a} ${b}`;
      let leaf = numbers.get(key);
      if (leaf === undefined) {
        leaf = diagram.leaf(FIRST_VALUE + met.length);
        met.push([a, b]);
        numbers.set(key, leaf);
      }
      return leaf;
    });
    const meeting = diagram.apply(meet, before, after);
    const byBits: [Node, Node][] = [];
    let product = diagram.map(meeting, (leaf) => {
      if (leaf === FALSE) return FALSE;
      const difference = this.#difference(...met[diagram.valueOf(leaf) - FIRST_VALUE]!);
      if (diagram.isLeaf(difference)) return difference;
      byBits.push([leaf, difference]);
      return FALSE;
    });
    for (const [leaf, difference] of byBits)
      product = diagram.choose(diagram.where(meeting, leaf), difference, product);
    return product;
  }

  #leaf(leaf: Leaf): Node {
    const side = ({ by, ending, effects }: Outcome): string =>
      `${by} ${keyOfEnding(ending)} ${told(leaf.kind, effects)}`;
    const key = `${leaf.kind}|${side(leaf.old)}|${side(leaf.new)}`;
    let node = this.#numbers.get(key);
    if (node === undefined) {
      node = this.#space.diagram.leaf(FIRST_VALUE + this.#leaves.length);
      this.#leaves.push(leaf);
      this.#numbers.set(key, node);
    }
    return node;
  }

  /** Where two outcomes differ, and in what: a leaf, or by the bits of the packet. */
  #difference(a: Node, b: Node): Node {
    const { diagram } = this.#space;
    const old = this.#outcomes.of(a);
    const other = this.#outcomes.of(b);
    return differencesBetween(old, other, this.#outcomes, this.#space).reduceRight(
      (node, { kind, where }) => diagram.choose(where, this.#leaf({ kind, old, new: other }), node),
      FALSE,
    );
  }

  /** The product, with what differs in shares alone told as such, and what does not even differ in those left out. */
  #withoutChance(product: Node, before: Node, after: Node): Node {
    const { diagram } = this.#space;
    const isChance = (bit: number): boolean => this.#guards.isGuard(bit) && this.#guards.of(bit).chance !== null;
    if (![...diagram.nodesOf(product)].some((node) => !diagram.isLeaf(node) && isChance(diagram.bitOf(node)))) {
      return product;
    }
    const any = diagram.map(product, (leaf) => (leaf === FALSE ? FALSE : TRUE));
    const where = diagram.exists(any, isChance);
    const sharesOf = (node: Node): Node => this.#sharesOf(diagram.only(where, node));
    // FALSE: equal; TRUE: other outcomes; else the pair whose shares differ
    const compare = diagram.operation((a, b) => {
      if (a === b) return FALSE;
      return diagram.isLeaf(a) && diagram.isLeaf(b) ? this.#compareShares(a, b) : -1;
    });
    const judged = diagram.only(where, diagram.apply(compare, sharesOf(before), sharesOf(after)));
    const others = diagram.where(judged, TRUE);
    return diagram.choose(others, product, judged);
  }

  /** The same function without the bits of chance; leaves are shares of outcomes. */
  #sharesOf(node: Node): Node {
    const { diagram } = this.#space;
    const leafOf = (shares: Shares): Node => {
      const key = JSON.stringify([...shares].map(([name, { share }]) => [name, share.toFixed(9)]).sort());
      let leaf = this.#sharesByKey.get(key);
      if (leaf === undefined) {
        leaf = diagram.leaf(FIRST_VALUE + this.#shares.length);
        this.#shares.push(shares);
        this.#sharesByKey.set(key, leaf);
      }
      return leaf;
    };
    const known = new Map<number, (a: Node, b: Node) => Node>();
    const mixing = (chance: number): ((a: Node, b: Node) => Node) => {
      let mix = known.get(chance);
      if (mix === undefined) {
        // a: it does not hold; b: it does
        const operation = diagram.operation((a, b) => {
          if (a === b) return a;
          if (!diagram.isLeaf(a) || !diagram.isLeaf(b)) return -1;
          return leafOf(mixed(this.#sharesAt(a), this.#sharesAt(b), chance));
        });
        mix = (a, b) => diagram.apply(operation, a, b);
        known.set(chance, mix);
      }
      return mix;
    };
    const seen = new Map<Node, Node>();
    const go = (here: Node): Node => {
      const before = seen.get(here);
      if (before !== undefined) return before;
      let answer: Node;
      if (diagram.isLeaf(here)) {
        if (here === FALSE) answer = FALSE;
        else {
          const outcome = this.#outcomes.of(here);
          const name = `${keyOfEnding(outcome.ending)} ${keyOfEffects(outcome.effects)}`;
          answer = leafOf(new Map([[name, { share: 1, outcome }]]));
        }
      } else {
        const bit = diagram.bitOf(here);
        const low = go(diagram.lowOf(here));
        const high = go(diagram.highOf(here));
        const chance = this.#guards.isGuard(bit) ? this.#guards.of(bit).chance : null;
        answer = chance === null ? diagram.node(bit, low, high) : mixing(chance)(low, high);
      }
      seen.set(here, answer);
      return answer;
    };
    return go(node);
  }

  #sharesAt(leaf: Node): Shares {
    return leaf === FALSE ? new Map() : this.#shares[this.#space.diagram.valueOf(leaf) - FIRST_VALUE]!;
  }

  #compareShares(a: Node, b: Node): Node {
    const [left, right] = [this.#sharesAt(a), this.#sharesAt(b)];
    const names = new Set([...left.keys(), ...right.keys()]);
    let [most, at] = [0, ""];
    for (const name of names) {
      const [one, other] = [left.get(name), right.get(name)];
      if (one === undefined || other === undefined) {
        if ((one ?? other)!.share > 0) return TRUE;
        continue;
      }
      const apart = Math.abs(one.share - other.share);
      if (apart > most) [most, at] = [apart, name];
    }
    if (most < SMALLEST_SHARE) return FALSE;
    return this.#leaf({ kind: "probability", old: left.get(at)!.outcome, new: right.get(at)!.outcome });
  }
}

function mixed(low: Shares, high: Shares, chance: number): Shares {
  const shares = new Map<string, { share: number; outcome: Outcome }>();
  const add = (from: Shares, weight: number): void => {
    if (weight === 0) return;
    for (const [name, { share, outcome }] of from) {
      const before = shares.get(name);
      shares.set(name, { outcome: before?.outcome ?? outcome, share: (before?.share ?? 0) + share * weight });
    }
  };
  add(low, 1 - chance);
  add(high, chance);
  return shares;
}

/** What of the effects tells one pair of a kind from another. */
function told(kind: DifferenceKind, { bits, ttl, logs, others, notes, tracking }: Effects): string {
  switch (kind) {
    case "mark":
      return keyOfEffects({ ...NO_EFFECTS, bits });
    case "change":
      return keyOfEffects({ ...NO_EFFECTS, bits, ttl, others, tracking });
    case "note":
      return lastingNotes(notes).join();
    case "log":
      return keyOfEffects({ ...NO_EFFECTS, logs });
    default:
      return "";
  }
}

/** What opens is told before what closes. */
function rank({ kind, old, new: other }: Pair): number {
  const opens = old.outcome.ending.kind === "DROP" || old.outcome.ending.kind === "REJECT";
  const lets = other.outcome.ending.kind === "ACCEPT" || other.outcome.ending.kind === "target";
  return DIFFERENCE_KINDS.indexOf(kind) * 2 + (opens && lets ? 0 : 1);
}
