// Packets in the regions of reach and around them, drawn by number.

import { FALSE, TRUE } from "../../src/diff/diagram.ts";
import type { Node } from "../../src/diff/diagram.ts";
import { ALL_FIELDS, FIRST_GUARD_BIT } from "../../src/diff/space.ts";
import type { Space } from "../../src/diff/space.ts";
import type { Toward } from "../../src/diff/toward.ts";
import { pointOf, witnessOf } from "../../src/diff/witness.ts";
import type { Point } from "../../src/diff/witness.ts";
import { pointAt } from "./diff-brute.ts";
import type { Draw } from "./draw.ts";
import type { Json } from "./oracle.ts";

export interface DrawnPacket {
  /** The packet as it comes in. */
  readonly line: Json;
  readonly point: Point;
  /** Whether it lies in a region. */
  readonly inside: boolean;
}

/** Of so many tries those that are packets of the universe, and hang on no guards. */
export function* packetsAround(
  { space, universe, packets }: Pick<Toward, "space" | "universe" | "packets">,
  draw: Draw,
  tries: number,
): Generator<DrawnPacket> {
  for (const point of pointsAround({ space, universe, packets }, draw, tries)) {
    const leaf = leafAt(packets, point, space);
    if (leaf === null || pointAt(universe, point, [], { space }) === FALSE) continue;
    const { ct_state: _state, ...line } = witnessOf(point, space, "PREROUTING").line;
    yield { line, point, inside: leaf === TRUE };
  }
}

/** Some of them, others that one field of another packet leads out of them, and any. */
function* pointsAround(
  { space, universe, packets }: Pick<Toward, "space" | "universe" | "packets">,
  draw: Draw,
  tries: number,
): Generator<Point> {
  // where nothing can come in
  if (universe === FALSE) return;
  const { diagram } = space;
  const sets = [universe];
  const some = diagram.exists(packets, (bit) => bit >= FIRST_GUARD_BIT);
  if (diagram.and(some, universe) !== FALSE) sets.push(diagram.and(some, universe));
  const drawn = (set: Node): Point => pointOf(set, space, () => draw.word() / 2 ** 32);
  for (let n = 0; n < tries; n++) {
    const point = drawn(sets.at(draw.chance(0.8) ? -1 : 0)!);
    if (draw.chance(0.5)) yield point;
    else {
      const { name } = draw.pick(ALL_FIELDS);
      yield { ...point, [name]: drawn(universe)[name] };
    }
  }
}

/** null: it hangs on guards. */
function leafAt(node: Node, point: Point, { diagram }: Space): Node | null {
  let here = node;
  while (!diagram.isLeaf(here)) {
    const bit = diagram.bitOf(here);
    const field = ALL_FIELDS.find(({ first, end }) => first <= bit && bit < end);
    if (field === undefined) return null;
    const one = Math.floor(point[field.name] / 2 ** (field.end - 1 - bit)) % 2 === 1;
    here = one ? diagram.highOf(here) : diagram.lowOf(here);
  }
  return here;
}
