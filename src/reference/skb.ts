// A packet on its way, with what the kernel keeps beside it (struct sk_buff).

import type { CtState } from "../classifier.ts";
import type { Packet } from "../packet/packet.ts";

/** What a rule can ask, and what its target can change. */
export interface Skb {
  /** As it is now, NAT and TTL done so far; replaced when it changes. */
  packet: Packet;
  mark: number;
  /** null where the hook has none. */
  inIface: string | null;
  outIface: string | null;
  /** INVALID where there is no connection: before it was looked for, too. */
  ctState: CtState;
  /** The connection's source or destination has been translated (`--ctstate SNAT`, `DNAT`). */
  sourceTranslated: boolean;
  destinationTranslated: boolean;
}
