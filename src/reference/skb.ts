// A packet on its way, with what the kernel keeps beside it (struct sk_buff).

import type { CtState } from "../classifier.ts";
import type { Arrival, Packet } from "../packet/packet.ts";
import type { Connection, Direction, Zone } from "./connection.ts";

/** What a rule can ask, and what its target can change. */
export interface Skb {
  /** One for all copies of a packet; absent outside of a way. */
  readonly log?: object;
  /** As it is now, NAT and TTL done so far; replaced when it changes. */
  packet: Packet;
  mark: number;
  /** null where the hook has none. */
  inIface: string | null;
  outIface: string | null;
  /** INVALID where there is no connection: before it was looked for, too. */
  readonly ctState: CtState;
  /** The connection's source or destination has been translated (`--ctstate SNAT`, `DNAT`). */
  readonly sourceTranslated: boolean;
  readonly destinationTranslated: boolean;
  /** How the frame came; `loopback`: a copy of what the host has sent to a group; absent: to this host alone. */
  frame?: Arrival["frame"] | "loopback";
  /** Its source address; absent or null: there is no frame. */
  readonly srcMac?: number | null;
  /** The socket that sent it; `kernel`: one of the kernel's own; absent or null: none of this host. */
  readonly socket?: Pick<Arrival, "uid" | "gid"> | "kernel" | null;
  /** MTU of the route that it has now; absent: it has none. */
  readonly routeMtu?: number | undefined;
  /** Absent or null: it belongs to no connection. */
  readonly attached?: Attached | null;
  /** So many bytes behind the IP header have been made writable by targets (skb_ensure_writable()). */
  writable?: number;
  /** A rule of raw has said that it is not to be tracked, or how. */
  untracked?: boolean;
  /** It answers a packet that is not tracked: RELATED to no connection, which looks INVALID (nf_conntrack_attach()). */
  answersUntracked?: boolean;
  template?: Template | null;
}

/** The connection that a packet belongs to, and how. */
export interface Attached {
  readonly connection: Connection;
  readonly direction: Direction;
  readonly state: "NEW" | "ESTABLISHED" | "RELATED";
}

/** How a rule of raw wants a packet to be tracked. */
export interface Template {
  /** Stands for the packet's connection until that is looked for. */
  readonly connection: Connection;
  /** `mark`: the packet's mark when it is tracked, its low 16 bits; null: the default. */
  readonly zone: { readonly id: number | "mark"; readonly direction: Zone["direction"] } | null;
}
