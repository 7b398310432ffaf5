// A packet on its way, with what the kernel keeps beside it (struct sk_buff).

import type { CtState } from "../classifier.ts";
import type { Arrival, Packet } from "../packet/packet.ts";

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
  /** How the frame came; absent: to this host alone. */
  readonly frame?: Arrival["frame"];
  /** Its source address; absent or null: there is no frame. */
  readonly srcMac?: number | null;
  /** The socket that sent it; `kernel`: one of the kernel's own; absent or null: none of this host. */
  readonly socket?: Pick<Arrival, "uid" | "gid"> | "kernel" | null;
  /** MTU of the route that it has now. */
  routeMtu?: number;
}
