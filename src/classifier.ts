// What is said of a packet: the same words from the reference and from the engine, so that they can be compared whole.

import { formatAddress } from "./net/address.ts";
import { PROTO_ICMP } from "./net/protocol.ts";
import { describe, fragmentsOf } from "./packet/describe.ts";
import type { Arrival, Packet } from "./packet/packet.ts";
import { protocolName } from "./packet/protocol.ts";
import { rewrite } from "./packet/rewrite.ts";
import type { Header } from "./packet/rewrite.ts";
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
  readonly verdict: "ACCEPT" | "DROP" | "REJECT" | "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT" | "NETMAP";
  readonly rule: RuleRef;
  /** skb mark when the chain was left. */
  readonly mark: number;
}

/**
 * The header of a packet as it leaves, is delivered, or was when it ended. `inner` stands there only where the packet
 * quotes another and NAT has rewritten that.
 */
export interface FinalPacket extends Header {
  readonly mark: number;
}

/** Where a packet's way led. */
export interface Journey {
  /** `held`: a fragment that waits for the others of its datagram. */
  readonly verdict: "forwarded" | "sent" | "delivered" | "dropped" | "rejected" | "held";
  /**
   * Where a packet that went no further was; null for the others. `before-netfilter`: a frame for another host, or a
   * malformed header. `transmit`: behind POSTROUTING.
   */
  readonly where: Hook | "routing" | "before-netfilter" | "transmit" | null;
  /** Where it left (forwarded, sent) or came in (delivered: `lo` for the host to itself); null otherwise. */
  readonly iface: string | null;
  /** Hooks entered, in order. */
  readonly path: readonly Hook[];
  /** Present only where the packet left in several fragments: bytes of payload in each. */
  readonly fragments?: readonly number[];
  /** Present only where a packet that left was delivered too (a broadcast of the host): by which interface. */
  readonly delivered?: string;
}

/**
 * The answer about the whole way of a packet through the host.
 *
 * Whoever interprets rules supplies nothing but these facts; how they are shown is said here once, in toAnswer(). Of the
 * arrival's packet that is: its header words at the end (FinalPacket), where it led (Journey), the errno. Of an answer
 * that the host made: `makeAnswer()` of src/packet/made.ts makes it from the packet that was refused, as `rewrite()` of
 * src/packet/rewrite.ts gives it with the header words of that moment; `rewrite()` again gives what it became. A decision
 * record therefore needs, for each answer: kind, type, code and info; whom it answers (the arrival's packet, or an
 * earlier answer); that one's header words at the moment; its own header words at the end, and those of what it quotes
 * (un-NATed); its Journey and mark.
 */
export interface Outcome extends Journey {
  /**
   * The rule or policy that decided. Of a packet that ended in a hook: what dropped or rejected it, in whatever table
   * (also a rule one of whose matches dropped the packet); null where no rule did (NAT without a free port, no route
   * after OUTPUT). Of a packet that left or was delivered: the ACCEPT that ended the last built-in chain of filter it
   * passed; null without a filter table. Null for all others.
   */
  readonly rule: RuleRef | null;
  readonly packet: FinalPacket;
  /**
   * Whose bytes it has in the end, if not those of the arrival: present only where that completed a datagram which came in
   * fragments (the whole, as it came), or where a target took options of TCP away (what it is then).
   */
  readonly datagram?: Packet;
  /** null: the packet did not reach connection tracking; undefined: connections are not tracked. */
  readonly ctState: CtState | null | undefined;
  /** What the host answered first: `tcp-reset` or `icmp TYPE/CODE`; null: nothing. */
  readonly reply: string | null;
  /** The packets that the host made meanwhile, in the order in which they entered OUTPUT. */
  readonly generated: readonly Generated[];
  /** The rules whose NAT targets were reached for destination and source, even if they changed nothing; null: none. */
  readonly dnatRule: RuleRef | null;
  readonly snatRule: RuleRef | null;
  /** The kernel would have drawn lots (a free port) for its connection: what stands here is drawn from the seed. */
  readonly chosen: boolean;
  /** Present only where the host's own sending failed: ENETUNREACH, EPERM, ... */
  readonly errno?: string;
}

/** A packet that the host made. */
export interface Generated extends Journey {
  /** As it left or was delivered; of one that was dropped, as it came into the hook where it ended. */
  readonly packet: Packet;
  readonly mark: number;
}

/** One direction of a connection: the packets that belong to it. */
export interface Tuple {
  readonly src: number;
  readonly dst: number;
  readonly proto: number;
  /** Of ICMP the id; 0 where the protocol has neither. GRE: 0 or the key of PPTP. */
  readonly sport: number;
  /** Of ICMP type << 8 | code. */
  readonly dport: number;
}

/** An entry of the connection table that was made, changed or ended. */
export interface ConnectionEvent {
  readonly event: "new" | "update" | "destroy";
  readonly orig: Tuple;
  readonly reply: Tuple;
  readonly status: readonly ("SEEN_REPLY" | "ASSURED" | "SRC_NAT" | "DST_NAT")[];
  /** null for all but TCP, and where it has not changed. */
  readonly tcpState: string | null;
  /** null: 0, and it has not been changed. */
  readonly mark: number | null;
  /** 0 also where it holds in one direction alone. */
  readonly zone: number;
}

/** Rules that matched and policies that were reached, in order. */
export type Trace = readonly RuleRef[];

/** What a rule or policy has counted. */
export interface RuleCounter {
  readonly ref: RuleRef;
  readonly packets: number;
  readonly bytes: number;
}

/** Traces, and how to print what they name: of a rule all behind `-A CHAIN `, of a policy its verdict. */
export interface PrintedTrace {
  readonly trace: Trace;
  /** Of all packets that the host made. */
  readonly generated: Trace;
  printed(ref: RuleRef): string;
}

/** What is shown of an answer only if it is asked for. */
export interface Shown {
  readonly traces?: PrintedTrace;
  readonly connections?: readonly ConnectionEvent[];
}

/** The answer as a JSON object in the shape and key order of the verdict lines of kernel_oracle.py. */
export function toAnswer(arrival: Arrival, outcome: Outcome, shown: Shown = {}): Readonly<Record<string, unknown>> {
  const { verdict, errno, reply, ctState, generated } = outcome;
  const { traces, connections } = shown;
  const { mark, ...header } = outcome.packet;
  const packet = rewrite(outcome.datagram ?? arrival.packet, header);
  const steps = (trace: Trace): object[] => trace.map((ref) => stepOf(ref, traces!.printed(ref)));
  return {
    id: arrival.id,
    verdict,
    ...showJourney(outcome, packet, mark),
    ...(errno === undefined ? {} : { errno }),
    ...(generated.length === 0 ? {} : { generated: generated.map(showGenerated) }),
    ...(reply === null ? {} : { reply }),
    ...(ctState === undefined ? {} : { ct_state: ctState }),
    ...(outcome.chosen ? { chosen: true } : {}),
    ...(connections === undefined ? {} : { conntrack: connections.map(showConnection) }),
    ...(traces === undefined ? {} : { trace: steps(traces.trace) }),
    ...(traces === undefined || traces.generated.length === 0 ? {} : { generated_trace: steps(traces.generated) }),
  };
}

function showGenerated(made: Generated): object {
  const { verdict, where, packet, mark } = made;
  const journey = showJourney(made, packet, mark);
  // of a packet that ended on its way the oracle shows what it saw last
  return { verdict, ...journey, ...(where === null ? {} : { packet: describe(packet) }) };
}

function showJourney(
  { where, verdict, iface, path, fragments, delivered }: Journey,
  packet: Packet,
  mark: number,
): object {
  if (where !== null) return { where, path };
  const [first, ...more] = fragments === undefined ? [packet] : fragmentsOf(packet, fragments);
  const also = [
    ...more.map((fragment) => ({ out: iface, packet: describe(fragment) })),
    ...(delivered === undefined ? [] : [{ delivered }]),
  ];
  return {
    ...(verdict === "delivered" ? { in: iface } : { out: iface }),
    packet: { ...describe(first!), mark },
    ...(also.length === 0 ? {} : { also }),
    path,
  };
}

function stepOf({ table, chain, number }: RuleRef, printed: string): object {
  return number === "policy" ? { table, chain, policy: printed } : { table, chain, rule: number, spec: printed };
}

function showConnection({ event, orig, reply, status, tcpState, mark, zone }: ConnectionEvent): object {
  return {
    event,
    orig: showTuple(orig),
    reply: showTuple(reply),
    status,
    ...(tcpState === null ? {} : { tcp_state: tcpState }),
    ...(mark === null ? {} : { mark }),
    ...(zone === 0 ? {} : { zone }),
  };
}

/** TCP, UDP, GRE, SCTP, UDP-Lite. */
const TRACKED_PORTS: readonly number[] = [6, 17, 47, 132, 136];

function showTuple({ src, dst, proto, sport, dport }: Tuple): object {
  const ends = { src: formatAddress(src), dst: formatAddress(dst), proto: protocolName(proto) };
  if (proto === PROTO_ICMP) return { ...ends, icmp_id: sport, icmp_type: dport >>> 8, icmp_code: dport & 255 };
  return TRACKED_PORTS.includes(proto) ? { ...ends, sport, dport } : ends;
}
