// What is said of a packet: the same words from the reference and from the engine, so that they can be compared whole.

import { describe, fragmentsOf } from "./packet/describe.ts";
import type { Arrival } from "./packet/packet.ts";
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
  /** Of ICMP queries and their answers; 0 for everything else. NAT translates it where it would translate ports. */
  readonly icmpId: number;
  readonly ttl: number;
  readonly tos: number;
  readonly mark: number;
}

/** The answer about the whole way of a packet through the host. */
export interface Outcome {
  readonly verdict: "forwarded" | "sent" | "delivered" | "dropped" | "rejected";
  /**
   * Where a dropped or rejected packet ended; null for the others. `before-netfilter`: a frame for another host, or a
   * malformed header. `transmit`: behind POSTROUTING.
   */
  readonly where: Hook | "routing" | "before-netfilter" | "transmit" | null;
  /**
   * The rule or policy that decided. Of a packet that ended in a hook: what dropped or rejected it, in whatever table
   * (also a rule one of whose matches dropped the packet); null where no rule did (NAT without a free port, no route
   * after OUTPUT). Of a packet that left or was delivered: the ACCEPT that ended the last built-in chain of filter it
   * passed; null without a filter table. Null for all others.
   */
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
  /** The rules whose NAT targets were reached for destination and source, even if they changed nothing; null: none. */
  readonly dnatRule: RuleRef | null;
  readonly snatRule: RuleRef | null;
  /** The kernel would have drawn lots (a free port): what stands here is drawn from the seed. */
  readonly chosen: boolean;
  /** Present only where the host's own sending failed: ENETUNREACH, EPERM, ... */
  readonly errno?: string;
  /** Present only where the packet left in several fragments: the MTU that they fit. */
  readonly mtu?: number;
}

/** Rules that matched and policies that were reached, in order. */
export type Trace = readonly RuleRef[];

/** What a rule or policy has counted. */
export interface RuleCounter {
  readonly ref: RuleRef;
  readonly packets: number;
  readonly bytes: number;
}

/** A trace, and how to print what it names: of a rule all behind `-A CHAIN `, of a policy its verdict. */
export interface PrintedTrace {
  readonly trace: Trace;
  printed(ref: RuleRef): string;
}

/** The answer as a JSON object in the shape and key order of the verdict lines of kernel_oracle.py. */
export function toAnswer(
  arrival: Arrival,
  outcome: Outcome,
  tracing?: PrintedTrace,
): Readonly<Record<string, unknown>> {
  const { verdict, path, errno, reply, ctState } = outcome;
  return {
    id: arrival.id,
    verdict,
    ...endOf(arrival, outcome),
    path,
    ...(errno === undefined ? {} : { errno }),
    ...(reply === null ? {} : { reply }),
    ...(ctState === undefined ? {} : { ct_state: ctState }),
    ...(outcome.chosen ? { chosen: true } : {}),
    ...(tracing === undefined ? {} : { trace: tracing.trace.map((ref) => stepOf(ref, tracing.printed(ref))) }),
  };
}

function endOf({ packet: sent }: Arrival, outcome: Outcome): object {
  const { verdict, where, iface } = outcome;
  if (verdict === "dropped" || verdict === "rejected") return { where };
  const { mark, ...changed } = outcome.packet;
  const left = { ...sent, ...changed };
  const [first, ...more] = outcome.mtu === undefined ? [left] : fragmentsOf(left, outcome.mtu);
  const also = more.map((fragment) => ({ out: iface, packet: describe(fragment) }));
  return {
    ...(verdict === "delivered" ? { in: iface } : { out: iface }),
    packet: { ...describe(first!), mark },
    ...(also.length === 0 ? {} : { also }),
  };
}

function stepOf({ table, chain, number }: RuleRef, printed: string): object {
  return number === "policy" ? { table, chain, policy: printed } : { table, chain, rule: number, spec: printed };
}
