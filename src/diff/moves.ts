// Rules that stand elsewhere in their chain -> those of which the new place makes no difference.
//
// Two rules may be exchanged if no packet meets both, whatever guards say and whatever targets have changed of it, or if
// both end it alike and neither writes anything down. If that holds for a moved rule and every rule that it has passed, on
// either side, the row without it and the row with it are the same function: rows of which only such pairs stand the other
// way round can be turned into one another step by step.

import { printTarget } from "../rules/print.ts";
import type { Chain, Rule } from "../rules/ruleset.ts";
import type { Alignment } from "./alignment.ts";
import { conditionOf } from "./condition.ts";
import { FALSE, TRUE } from "./diagram.ts";
import type { Node } from "./diagram.ts";
import type { Notes } from "./notes.ts";
import type { Space } from "./space.ts";

/** Rules passed by rules, of one table; beyond it moved rules are looked at like others. */
const MOST_PASSED = 2_000_000;

/** @param open where a rule may do anything @returns moved rules, as they stand in the old table */
export function harmlessMoves(
  alignment: Alignment,
  open: (rule: Rule) => Node,
  space: Space,
  notes: Notes,
): ReadonlySet<Rule> {
  const harmless = new Set<Rule>();
  const newChains = new Map(alignment.new.table.chains.map((chain) => [chain.name, chain]));
  let left = MOST_PASSED;
  for (const [chain, changed] of alignment.old.changed) {
    const moved = changed.filter((rule) => alignment.old.isCommon(rule));
    if (moved.length === 0) continue;
    const rows = new Rows(alignment, chain, newChains.get(chain.name)!);
    for (const rule of moved) {
      const passed = rows.passedBy(rule, left);
      if (passed === null) return harmless;
      left -= passed.length;
      if (passed.every((other) => mayBeExchanged(rule, other, open, space, notes))) harmless.add(rule);
    }
  }
  return harmless;
}

/** It asks for what other rules may write. */
export function sharesMemory({ matches }: Rule): boolean {
  return matches.some(({ kind }) => kind === "recent" || kind === "hashlimit" || kind === "set" || kind === "opaque");
}

/** A chain in both rule sets: the rules that stand in both, in either order. */
class Rows {
  readonly #old: readonly Rule[];
  readonly #oldPlaces: ReadonlyMap<Rule, number>;
  /** Of the rules of `#old`, in the other rule set. */
  readonly #newPlaces: readonly number[];
  readonly #byNewPlace: readonly Rule[];

  constructor({ old, new: other }: Alignment, oldChain: Chain, newChain: Chain) {
    this.#old = oldChain.rules.filter((rule) => old.isCommon(rule));
    this.#oldPlaces = new Map(this.#old.map((rule, index) => [rule, index]));
    const ruleOf = new Map(this.#old.map((rule) => [old.numberOf(rule), rule]));
    this.#byNewPlace = newChain.rules
      .filter((rule) => other.isCommon(rule))
      .map((rule) => ruleOf.get(other.numberOf(rule))!);
    const newPlaceOf = new Map(this.#byNewPlace.map((rule, index) => [rule, index]));
    this.#newPlaces = this.#old.map((rule) => newPlaceOf.get(rule)!);
  }

  /** Those on the other side of which it stands now; null: finding them would take more than `most`. */
  passedBy(rule: Rule, most: number): readonly Rule[] | null {
    const oldPlace = this.#oldPlaces.get(rule)!;
    const newPlace = this.#newPlaces[oldPlace]!;
    if (this.#old.length > most) return null;
    // whoever was before it and is behind it now, and the other way round
    const before = this.#old.slice(0, oldPlace).filter((_, index) => this.#newPlaces[index]! > newPlace);
    const behind = this.#byNewPlace.slice(0, newPlace).filter((other) => this.#oldPlaces.get(other)! > oldPlace);
    return [...before, ...behind];
  }
}

function mayBeExchanged(a: Rule, b: Rule, open: (rule: Rule) => Node, space: Space, notes: Notes): boolean {
  return areApart(a, b) || space.diagram.and(open(a), open(b)) === FALSE || endAlike(a, b, space, notes);
}

/** Seen at once, and so often enough to look. */
function areApart({ header: a }: Rule, { header: b }: Rule): boolean {
  const addresses = (["src", "dst"] as const).some((name) => {
    const [one, other] = [a[name], b[name]];
    if (one === null || other === null || one.negated || other.negated) return false;
    return ((one.address ^ other.address) & one.mask & other.mask) !== 0;
  });
  const [one, other] = [a.proto, b.proto];
  return addresses || (one !== null && other !== null && !one.negated && !other.negated && one.proto !== other.proto);
}

const ENDING: ReadonlySet<string> = new Set(["ACCEPT", "DROP", "REJECT", "RETURN"]);

function endAlike(a: Rule, b: Rule, space: Space, notes: Notes): boolean {
  if (a.target === null || b.target === null || !ENDING.has(a.target.kind)) return false;
  if (printTarget(a.target, 4) !== printTarget(b.target, 4)) return false;
  if ([a, b].some(({ matches }) => matches.some((match, index) => notes.ofMatch(match, index, 0) !== null)))
    return false;
  const [one, other] = [a, b].map((rule) => conditionOf(rule, space, () => TRUE));
  const { diagram } = space;
  // what one drops as broken the other must not end otherwise
  return diagram.and(one!.drops, other!.holds) === FALSE && diagram.and(one!.holds, other!.drops) === FALSE;
}
