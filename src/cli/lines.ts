// Packet lines of packets that did not come from one: synthetic packets carry the state of their connection, and their
// lines tell it by a key of their own, `ct_state`.

import type { Host } from "../host/host.ts";
import { parseArrival } from "../packet/line.ts";
import type { Arrival } from "../packet/packet.ts";
import { arrivalToLine } from "../packet/print.ts";
import type { PacketLine } from "../packet/print.ts";

export function lineOf({ ctState, ...arrival }: Arrival, host: Host): PacketLine {
  const line = arrivalToLine(arrival, host);
  return ctState === undefined ? line : { ...line, ct_state: ctState };
}

/** null for a line that means no packet. */
export function arrivalOf({ ct_state: ctState, ...line }: PacketLine, host: Host): Arrival | null {
  try {
    const arrival = parseArrival(JSON.stringify(line), "", 1, host);
    return ctState === undefined ? arrival : { ...arrival, ctState: ctState as NonNullable<Arrival["ctState"]> };
  } catch {
    return null;
  }
}
