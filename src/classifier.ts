// What is said of a packet: the same words from the reference and from the engine, so that they can be compared whole.

import type { CtStateName, Hook, TableName } from "./rules/ruleset.ts";

/** A rule by its place: `number` counts from 1 as in `iptables -L --line-numbers`; "policy" is the chain's policy. */
export interface RuleRef {
  readonly table: TableName;
  readonly chain: string;
  readonly number: number | "policy";
}

/** State of the packet's connection as the rules see it. */
export type CtState = Exclude<CtStateName, "SNAT" | "DNAT">;

/** The answer about one chain alone, asked without a host. */
export interface ChainDecision {
  /** ACCEPT: the packet goes on to the next table. */
  readonly verdict: "ACCEPT" | "DROP" | "REJECT" | "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT";
  readonly rule: RuleRef;
  /** skb mark when the chain was left. */
  readonly mark: number;
}

/** The header of a packet as it leaves, is delivered, or was when it ended. */
export interface FinalPacket {
  readonly src: number;
  readonly dst: number;
  readonly sport: number;
  readonly dport: number;
  readonly ttl: number;
  readonly tos: number;
  readonly mark: number;
}

/** The answer about the whole way of a packet through the host. */
export interface Outcome {
  readonly verdict: "forwarded" | "sent" | "delivered" | "dropped" | "rejected";
  /** Where a dropped or rejected packet ended; null for the others. */
  readonly where: Hook | "routing" | null;
  /** The filter rule or policy that decided (DROP, REJECT, or the ACCEPT that ended the last chain of filter); null where no rule did. */
  readonly rule: RuleRef | null;
  /** Where it left (forwarded, sent) or came in (delivered: `lo` for the host to itself); null otherwise. */
  readonly iface: string | null;
  readonly packet: FinalPacket;
  /** Hooks entered, in order. */
  readonly path: readonly Hook[];
  /** null: the packet did not reach connection tracking; undefined: connections are not tracked. */
  readonly ctState: CtState | null | undefined;
  /** What the host answered: `tcp-reset` or `icmp TYPE/CODE`; null: nothing. */
  readonly reply: string | null;
  /** The nat rules that translated destination and source; null: no rule did. */
  readonly dnatRule: RuleRef | null;
  readonly snatRule: RuleRef | null;
  /** The kernel would have drawn lots (a free port): what stands here is drawn from the seed. */
  readonly chosen: boolean;
}

/** Rules that matched and policies that were reached, in order. */
export type Trace = readonly RuleRef[];
