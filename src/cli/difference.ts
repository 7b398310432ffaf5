// Two answers about one packet: whether they are the same in every field, and how to show that they are not.

import { isDeepStrictEqual } from "node:util";
import type { Host } from "../host/host.ts";
import type { Arrival } from "../packet/packet.ts";
import { arrivalToLine } from "../packet/print.ts";

/** Plain data both; a field that is left out and one that is undefined say the same. */
export function sameAnswer(one: object, other: object): boolean {
  const [left, right] = [JSON.stringify(one), JSON.stringify(other)];
  // texts differ for equal answers only where keys stand in another order
  return left === right || isDeepStrictEqual(JSON.parse(left), JSON.parse(right));
}

/** The packet line and both answers, for people who look for the bug. */
export function describeDifference(arrival: Arrival, host: Host, engine: object, reference: object): string {
  return [
    `packet:    ${JSON.stringify(arrivalToLine(arrival, host))}`,
    `engine:    ${JSON.stringify(engine)}`,
    `reference: ${JSON.stringify(reference)}`,
  ].join("\n");
}
