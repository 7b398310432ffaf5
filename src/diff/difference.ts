// Two outcomes of one packet -> whether they differ, and in what.

import { FALSE, TRUE } from "./diagram.ts";
import type { Node } from "./diagram.ts";
import { lastingNotes } from "./notes.ts";
import { keyOfEnding } from "./outcome.ts";
import type { Effects, Outcome, Outcomes } from "./outcome.ts";
import { FIELD } from "./space.ts";
import type { FieldName, Space } from "./space.ts";

export const DIFFERENCE_KINDS = ["verdict", "nat", "reject", "mark", "change", "log", "note", "probability"] as const;
/** `change`: of TOS, TTL, flags, or by another target that goes on. `note`: in what later packets are held to. */
export type DifferenceKind = (typeof DIFFERENCE_KINDS)[number];

/** In what they differ, and for which packets; where several differ, the first counts. */
export function differencesBetween(
  old: Outcome,
  other: Outcome,
  outcomes: Outcomes,
  space: Space,
): readonly { readonly kind: DifferenceKind; readonly where: Node }[] {
  if (keyOfEnding(old.ending) !== keyOfEnding(other.ending)) return [{ kind: kindOf(old, other), where: TRUE }];
  const gone = old.ending.kind === "DROP" || old.ending.kind === "REJECT";
  const [before, after] = [old.effects, other.effects];
  const unless = (equal: boolean): Node => (equal ? FALSE : TRUE);
  const differs = (names: readonly FieldName[]): Node => bitsDiffer(before, after, names, outcomes, space);
  const changes = (): Node =>
    same(before.others, after.others) && before.tracking === after.tracking ? differs(["tos", "ttl", "flags"]) : TRUE;
  const all = [
    { kind: "mark", where: differs(gone ? ["connmark"] : ["mark", "connmark"]) },
    { kind: "change", where: gone ? FALSE : changes() },
    { kind: "log", where: unless(same(before.logs, after.logs)) },
    { kind: "note", where: unless(same(lastingNotes(before.notes), lastingNotes(after.notes))) },
  ] as const;
  return all.filter(({ where }) => where !== FALSE);
}

function bitsDiffer(a: Effects, b: Effects, names: readonly FieldName[], outcomes: Outcomes, space: Space): Node {
  if (a === b) return FALSE;
  const { diagram } = space;
  const [left, right] = [outcomes.functionsOf(a), outcomes.functionsOf(b)];
  let node: Node = FALSE;
  for (const name of names) {
    for (let bit = FIELD[name].first; bit < FIELD[name].end; bit++) {
      const [one, other] = [left.get(bit), right.get(bit)];
      if (one === other) continue;
      node = diagram.or(node, diagram.xor(one ?? diagram.bit(bit), other ?? diagram.bit(bit)));
    }
  }
  return node;
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}

function kindOf(old: Outcome, other: Outcome): DifferenceKind {
  const kinds = [old.ending.kind, other.ending.kind];
  if (kinds.every((kind) => kind === "REJECT")) return "reject";
  const passes = (kind: string): boolean => kind === "ACCEPT" || kind === "target";
  return kinds.every(passes) ? "nat" : "verdict";
}
