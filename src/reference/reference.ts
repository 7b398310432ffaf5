// The obvious interpreter: it walks the Ruleset as written, packet by packet, each its whole way before the next.
//
// Differs: the host's own answers do not pass OUTPUT and POSTROUTING, so that rules with memory there do not count them.

import type { ChainDecision, Outcome, RuleRef, Trace } from "../classifier.ts";
import type { Host } from "../host/host.ts";
import type { Arrival } from "../packet/packet.ts";
import { refuseUnmodelled } from "../rules/modelled.ts";
import type { AddressType, Hook, Ruleset, TableName } from "../rules/ruleset.ts";
import { walk } from "./chain.ts";
import { tracks } from "./conntrack.ts";
import { UnsupportedError } from "./error.ts";
import type { World } from "./match.ts";
import { Memory } from "./memory.ts";
import { Peers } from "./peers.ts";
import { Routing } from "./routing.ts";
import type { Skb } from "./skb.ts";
import { Way } from "./way.ts";
import type { Surroundings } from "./way.ts";

export interface ReferenceOptions {
  /** Every packet is the first of its connection. (Sequences are not modelled yet.) */
  readonly stateless: true;
  /** Of everything that is drawn by lot; 0 by default. */
  readonly seed?: number;
  /**
   * Routing errors and redirects come as the kernel rations them: five errors at once to a sender, then one a second.
   * Without it each packet gets its own, so that answers do not hang on the packets before.
   */
  readonly limitErrors?: boolean;
}

export interface ReferenceAnswer {
  readonly outcome: Outcome;
  readonly trace: Trace;
  /** The rules and policies that packets met which the host made. */
  readonly generatedTrace: Trace;
}

/** Answers packets in order; rules with memory (limit, nth) remember the ones before. */
export class Reference {
  readonly #around: Surroundings & { readonly world: { readonly memory: Memory } };
  #packets = 0;

  /** Throws UnsupportedError for a host that is not modelled. */
  constructor(ruleset: Ruleset, host: Host, options: ReferenceOptions) {
    refuseUnmodelled(ruleset);
    if (host.hostStack)
      throw new UnsupportedError("answers of the host's own stack (host_stack) are not modelled", null);
    const routing = new Routing(host);
    const world = {
      memory: new Memory(ruleset, options.seed ?? 0),
      addressType: (address: number, iface: string | null): AddressType => routing.tables.addressType(address, iface),
      mtuTo(address: number): number | null {
        const path = routing.output({ src: 0, dst: address, mark: 0, oif: null }, false);
        return typeof path === "string" ? null : path.mtu;
      },
    };
    const peers = options.limitErrors === true ? new Peers() : null;
    this.#around = { ruleset, host, routing, world, tracking: tracks(ruleset, host), peers };
  }

  /** @param index of the packet in the run, from 0, by which lots are drawn; counted by itself if it is not given */
  run(arrival: Arrival, index = this.#packets): ReferenceAnswer {
    this.#packets = index + 1;
    this.#around.world.memory.start(index, arrival.time);
    const way = new Way(this.#around, arrival);
    const outcome = way.go();
    return { outcome, trace: way.trace, generatedTrace: [] };
  }
}

/** A packet as one chain sees it: interfaces by name, its connection's state given. */
export type ChainQuery = Readonly<Skb>;

/** What rules ask of the world when there is no host. */
export class ChainWorld implements World {
  readonly memory: Memory;

  constructor(ruleset: Ruleset, seed = 0) {
    this.memory = new Memory(ruleset, seed);
  }

  addressType(): never {
    throw new UnsupportedError("match addrtype asks for the host's own addresses: give a host", null);
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
  const { ref, target } = walk(table, chain, skb, world, trace);
  return { verdict: target.kind, rule: ref, mark: skb.mark };
}
