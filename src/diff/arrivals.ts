// A place -> regions of packets that end there, each shown by one that the reference has sent its way.

import type { Outcome } from "../classifier.ts";
import type { Host } from "../host/host.ts";
import { parseArrival } from "../packet/line.ts";
import { Reference } from "../reference/reference.ts";
import type { Ruleset } from "../rules/ruleset.ts";
import { BudgetError, FALSE } from "./diagram.ts";
import type { DiagramBudget, Node } from "./diagram.ts";
import { DEFAULT_BUDGET } from "./diff.ts";
import { boxesOf, describe, guardWords, MOST_REGIONS, nodeOf } from "./region.ts";
import type { Box, Region } from "./region.ts";
import type { FieldName, Space } from "./space.ts";
import { packetsToward } from "./toward.ts";
import type { Place } from "./toward.ts";
import { pointOf, witnessOf } from "./witness.ts";

export interface ReachOptions {
  readonly budget?: DiagramBudget;
  readonly signal?: AbortSignal;
}

/** Packets as they come in, which all end at the place. */
export interface Reaching {
  readonly found: "region";
  readonly region: Region;
  /** What matches say that no field tells. */
  readonly guards: readonly { readonly guard: string; readonly holds: boolean }[];
  /** A packet line. */
  readonly witness: Readonly<Record<string, unknown>>;
  /** What the reference says of it; null: it hangs on guards. */
  readonly outcome: Outcome | null;
}

export const TOO_MANY_REGIONS = `more than ${MOST_REGIONS} regions`;

/** A region of packets as they come in. */
export interface ArrivingRegion extends Pick<Reaching, "region" | "witness"> {
  readonly box: Box;
}

interface Within {
  readonly space: Space;
  readonly fields: ReadonlyMap<FieldName, Node>;
  readonly universe: Node;
}

/** The packets of the set, as disjoint regions; null: TOO_MANY_REGIONS. */
export function regionsOf(packets: Node, within: Within): Iterable<ArrivingRegion> | null {
  const { space, universe } = within;
  const boxes = boxesOf(space.diagram.simplify(packets, universe), space, MOST_REGIONS);
  return boxes === null ? null : shownOf(boxes, within);
}

function* shownOf(boxes: readonly Box[], { space, fields, universe }: Within): Generator<ArrivingRegion> {
  for (const box of boxes) {
    const here = space.diagram.and(nodeOf(box, space), universe);
    // what no packet can be was left free
    if (here === FALSE) continue;
    const { ct_state: _state, ...witness } = witnessOf(pointOf(here, space), space, "PREROUTING").line;
    yield { box, region: describe(box, here, space, fields), witness };
  }
}

/** Disjoint, and together all; throws RuleError and UnsupportedError for what is not followed. */
export async function* reach(
  place: Place,
  ruleset: Ruleset,
  host: Host,
  { budget = DEFAULT_BUDGET, signal }: ReachOptions = {},
): AsyncGenerator<Reaching | { readonly found: "undecided"; readonly reason: string }> {
  let toward: ReturnType<typeof packetsToward>;
  try {
    toward = packetsToward(place, ruleset, host, budget);
  } catch (error) {
    if (!(error instanceof BudgetError)) throw error;
    yield { found: "undecided", reason: error.message };
    return;
  }
  const { guards, packets } = toward;
  const regions = regionsOf(packets, toward);
  if (regions === null) {
    yield { found: "undecided", reason: TOO_MANY_REGIONS };
    return;
  }
  for (const { box, region, witness } of regions) {
    const outcome = box.guards.length > 0 ? null : outcomeOf(witness, ruleset, host);
    if (outcome !== null && !endsAt(outcome, place))
      throw new Error(`the reference says that it ends elsewhere: ${JSON.stringify(witness)}`);
    yield { found: "region", region, guards: guardWords(box, guards), witness, outcome };
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (signal?.aborted === true) return;
  }
}

/** What the reference says of a packet line, the first of its connection. */
export function outcomeOf(line: object, ruleset: Ruleset, host: Host): Outcome {
  const arrival = parseArrival(JSON.stringify(line), "witness", 1, host);
  return new Reference(ruleset, host, { stateless: true }).run(arrival).outcome;
}

/** Its protocol stays what it was. */
export function endsAt({ verdict, packet }: Outcome, { dst, dport }: Place): boolean {
  const among = (ranges: Place["dst"], value: number): boolean =>
    ranges?.some(([lo, hi]) => lo <= value && value <= hi) ?? true;
  return (verdict === "forwarded" || verdict === "delivered") && among(dst, packet.dst) && among(dport, packet.dport);
}
