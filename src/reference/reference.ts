// The obvious interpreter: it walks the Ruleset as written, packet by packet, each its whole way before the next.

import type {
  ChainDecision,
  ConnectionEvent,
  FinalPacket,
  Generated,
  Outcome,
  RuleCounter,
  RuleRef,
  Trace,
  Tuple,
} from "../classifier.ts";
import type { Host } from "../host/host.ts";
import { wordOf } from "../packet/made.ts";
import type { Arrival, Packet } from "../packet/packet.ts";
import { endpointsOf, rewrite } from "../packet/rewrite.ts";
import type { Endpoints } from "../packet/rewrite.ts";
import { hasOtherOptions, mssOf } from "../packet/tcp.ts";
import type { Flow } from "./tables.ts";
import { refuseUnmodelled } from "../rules/modelled.ts";
import type { AddressType, Hook, Ruleset, TableName } from "../rules/ruleset.ts";
import { walk } from "./chain.ts";
import { Connections } from "./connection.ts";
import type { Connection, Zone } from "./connection.ts";
import { defragments, tracks } from "./conntrack.ts";
import { Counters } from "./counters.ts";
import { UnsupportedError } from "./error.ts";
import { Fragments } from "./fragments.ts";
import type { Log } from "./log.ts";
import type { Watch, World } from "./match.ts";
import { Memory } from "./memory.ts";
import { Peers } from "./peers.ts";
import { Routing } from "./routing.ts";
import type { Skb } from "./skb.ts";
import { Way } from "./way.ts";
import type { Surroundings, Traveller } from "./way.ts";

export interface ReferenceOptions {
  /** Connections are forgotten after every packet: each is the first of its own. */
  readonly stateless: boolean;
  /** Of everything that is drawn by lot; 0 by default. */
  readonly seed?: number;
  /**
   * Routing errors and redirects come as the kernel rations them: five errors at once to a sender, then one a second.
   * Without it each packet gets its own, so that answers do not hang on the packets before.
   */
  readonly limitErrors?: boolean;
  /** Which iptables has loaded the rules; legacy by default. */
  readonly backend?: "legacy" | "nft";
  /** Sees every rule that packets are held to. */
  readonly watch?: Watch;
}

export interface ReferenceAnswer {
  readonly outcome: Outcome;
  readonly trace: Trace;
  /** The rules and policies that packets met which the host made. */
  readonly generatedTrace: Trace;
  /** The connections that were made, changed or ended. */
  readonly connections: readonly ConnectionEvent[];
}

/** Answers packets in order; connections, fragments and rules with memory (limit, nth) remember the ones before. */
export class Reference {
  readonly #around: Surroundings & { readonly world: { readonly memory: Memory } };
  readonly #stateless: boolean;
  #packets = 0;

  /** Throws UnsupportedError for a host that is not modelled. */
  constructor(ruleset: Ruleset, host: Host, options: ReferenceOptions) {
    refuseUnmodelled(ruleset);
    if (host.hostStack)
      throw new UnsupportedError("answers of the host's own stack (host_stack) are not modelled", null);
    const routing = new Routing(host);
    this.#stateless = options.stateless;
    const connections = tracks(ruleset, host) ? new Connections() : null;
    this.#around = {
      ...{ ruleset, host, routing, fragments: new Fragments<Traveller>(host.fragmentSeconds) },
      defragments: defragments(ruleset, host),
      world: {
        ...(options.watch === undefined ? {} : { watch: options.watch }),
        backend: options.backend ?? "legacy",
        memory: new Memory(ruleset, options.seed ?? 0),
        addressType: (address: number, iface: string | null): AddressType => routing.tables.addressType(address, iface),
        routeTo(flow: Omit<Flow, "iif" | "oif">) {
          const route = routing.tables.lookUp({ ...flow, iif: "lo", oif: null });
          if (typeof route === "string") return null;
          return { type: route.type, out: route.iface === null ? null : host.interfaces[route.iface]!.name };
        },
        mtuTo(address: number): number | null {
          const path = routing.output({ src: 0, dst: address, mark: 0, oif: null }, false);
          return typeof path === "string" ? null : path.mtu;
        },
        connection: (tuple: Tuple, zone: Zone): Connection | null => connections?.find(tuple, zone)?.connection ?? null,
      },
      connections,
      peers: options.limitErrors === true ? new Peers() : null,
      counters: new Counters(ruleset),
    };
  }

  /** Packets and bytes counted so far: tables in the kernel's order, chains, rules, then the policy. */
  counters(): readonly RuleCounter[] {
    return this.#around.counters.list();
  }

  /** @param index of the packet in the run, from 0, by which lots are drawn; counted by itself if it is not given */
  run(arrival: Arrival, index = this.#packets): ReferenceAnswer {
    this.#packets = index + 1;
    const { world, connections } = this.#around;
    world.memory.start(index, arrival.time);
    connections?.start(arrival.time);
    const way = new Way(this.#around, arrival);
    try {
      way.go();
    } finally {
      connections?.end();
      if (this.#stateless) connections?.clear();
    }
    const { log, made, madeTrace } = way;
    return {
      outcome: outcomeOf(arrival, log, made, connections !== null),
      trace: log.trace,
      generatedTrace: madeTrace,
      connections: connections?.events ?? [],
    };
  }
}

function outcomeOf(arrival: Arrival, log: Log, made: readonly Log[], tracking: boolean): Outcome {
  const { journey, packet, mark } = log.end();
  const { verdict, where } = journey;
  const generated = made.map(generatedOf);
  const [first] = generated;
  const inHook = where !== null && !["routing", "before-netfilter", "transmit"].includes(where);
  const rejected = first !== undefined && verdict === "dropped" && inHook;
  // where the host could not even send, nothing was seen
  const unsent = where === "before-netfilter" && log.errno !== null;
  const whole = verdict === "held" ? null : verdict === "sent" ? log.datagram : (log.datagram ?? log.delivered);
  const came = whole ?? arrival.packet;
  const final = finalOf(packet, mark, came);
  const { mark: _mark, ...header } = final;
  const datagram = hasOtherOptions(packet, rewrite(came, header)) ? packet : whole;
  return {
    ...journey,
    ...(rejected ? { verdict: "rejected" } : {}),
    ...(unsent ? { where: "routing" } : {}),
    rule: where === null ? log.accepted : inHook && verdict !== "held" ? log.refused : null,
    packet: final,
    ...(datagram === null ? {} : { datagram }),
    ctState: tracking ? log.ctState : undefined,
    reply: first === undefined ? null : wordOf(first.packet),
    generated,
    dnatRule: log.natRules.destination,
    snatRule: log.natRules.source,
    chosen: log.chosen,
    ...(log.errno === null || verdict !== "dropped" ? {} : { errno: log.errno }),
  };
}

function generatedOf(log: Log): Generated {
  const { journey, packet, mark } = log.end();
  if (journey.where === null) return { ...journey, packet, mark };
  return { ...journey, packet: log.lastSeen.packet, mark: log.lastSeen.mark };
}

function finalOf(packet: Packet, mark: number, came: Packet): FinalPacket {
  const { src, dst, sport, dport, icmpId, ttl, tos, tcpFlags, inner } = packet;
  const mss = mssOf(packet);
  const quoted = inner === null ? null : endpointsOf(inner);
  const rewritten = quoted !== null && !isSame(quoted, endpointsOf(came.inner!));
  return {
    ...{ src, dst, sport, dport, icmpId, ttl, tos, mark },
    ...(tcpFlags === came.tcpFlags ? {} : { tcpFlags }),
    ...(mss === null || mss === mssOf(came) ? {} : { mss }),
    ...(rewritten ? { inner: quoted } : {}),
  };
}

function isSame(one: Endpoints, other: Endpoints): boolean {
  return (Object.keys(one) as (keyof Endpoints)[]).every((key) => one[key] === other[key]);
}

/** A packet as one chain sees it: interfaces by name, its connection's state given. */
export type ChainQuery = Readonly<Skb>;

/** What rules ask of the world when there is no host. */
export class ChainWorld implements World {
  readonly memory: Memory;
  readonly backend = "legacy";

  constructor(ruleset: Ruleset, seed = 0) {
    this.memory = new Memory(ruleset, seed);
  }

  addressType(): never {
    throw new UnsupportedError("match addrtype asks for the host's own addresses: give a host", null);
  }

  connection(): never {
    throw new UnsupportedError("match connlimit asks for connections: give a host", null);
  }

  routeTo(): never {
    throw new UnsupportedError("match rpfilter asks for the host's routes: give a host", null);
  }

  mtuTo(): never {
    throw new UnsupportedError("target TCPMSS asks for the host's routes: give a host", null);
  }
}

/** The decision of one built-in chain alone. `world` holds what rules remember from one query to the next. */
export function runChain(
  ruleset: Ruleset,
  tableName: TableName,
  hook: Hook,
  query: ChainQuery,
  world: World = new ChainWorld(ruleset),
  trace: RuleRef[] = [],
): ChainDecision {
  const table = ruleset.tables.find(({ name }) => name === tableName);
  const chain = table?.chains.find(({ name }) => name === hook);
  if (table === undefined || chain?.policy == null) throw new Error(`there is no built-in chain ${tableName} ${hook}`);
  const skb: Skb = { ...query };
  const { ref, target } = walk(table, chain, skb, world, (met) => trace.push(met));
  const verdict = "bypass" in target ? (target.bypass ? "ACCEPT" : "DROP") : target.kind;
  return { verdict, rule: ref, mark: skb.mark };
}
