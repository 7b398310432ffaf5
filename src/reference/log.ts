// Where a packet was seen on its way, as kernel_oracle.py sees it: at the start and the end of every hook, and when it
// left. From that, and nothing else, follows what became of it.

import type { CtState, Journey, RuleRef } from "../classifier.ts";
import type { Packet } from "../packet/packet.ts";
import type { Hook } from "../rules/ruleset.ts";

/** `behind defrag`: of PREROUTING and OUTPUT, before any table. */
type Point = "start" | "behind defrag" | "end";

interface Sighting {
  readonly hook: Hook;
  readonly point: Point;
  readonly packet: Packet;
  readonly mark: number;
  readonly inIface: string | null;
}

interface Departure {
  readonly iface: string;
  /** As it was before it was cut into fragments. */
  readonly packet: Packet;
  /** Bytes of payload of its fragments. */
  readonly fragments: readonly number[] | null;
}

/** What became of a packet. */
export interface End {
  readonly journey: Journey;
  /** As it left or was delivered, or was when it ended. */
  readonly packet: Packet;
  readonly mark: number;
}

export class Log {
  /** The packet was sent by the host. */
  readonly #local: boolean;
  readonly #sightings: Sighting[] = [];
  readonly #departures: Departure[] = [];
  readonly trace: RuleRef[];
  /** After PREROUTING or OUTPUT, the first of them. */
  ctState: CtState | null = null;
  readonly natRules: Record<"source" | "destination", RuleRef | null> = { source: null, destination: null };
  /** The last ACCEPT of filter; what dropped it last. */
  accepted: RuleRef | null = null;
  refused: RuleRef | null = null;
  chosen = false;
  errno: string | null = null;
  /** Put together from fragments: for conntrack; for the host to whom it is delivered, while fragments may go elsewhere. */
  datagram: Packet | null = null;
  delivered: Packet | null = null;
  /** As it was when it was dropped. */
  last: { readonly packet: Packet; readonly mark: number };

  constructor(local: boolean, packet: Packet, mark: number, trace: RuleRef[]) {
    this.#local = local;
    this.last = { packet, mark };
    this.trace = trace;
  }

  see(hook: Hook, point: Point, packet: Packet, mark: number, inIface: string | null): void {
    this.#sightings.push({ hook, point, packet, mark, inIface });
  }

  leave(departure: Departure): void {
    this.#departures.push(departure);
  }

  /** journey() of kernel_oracle.py. */
  end(): End {
    const seen = this.#sightings;
    const path = seen.filter(({ point }) => point === "start").map(({ hook }) => hook);
    const delivered = seen.findLast(({ hook, point }) => hook === "INPUT" && point === "end");
    const left = this.#departures[0];
    if (left !== undefined) {
      const verdict = this.#local ? "sent" : "forwarded";
      const behind = seen.findLast(({ hook, point }) => hook === "POSTROUTING" && point === "end");
      const fragments = left.fragments === null ? {} : { fragments: left.fragments };
      const back = delivered === undefined ? {} : { delivered: delivered.inIface! };
      const journey: Journey = { verdict, where: null, iface: left.iface, path, ...fragments, ...back };
      return { journey, packet: left.packet, mark: behind?.mark ?? 0 };
    }
    if (delivered !== undefined) {
      const journey: Journey = { verdict: "delivered", where: null, iface: delivered.inIface, path };
      return { journey, packet: delivered.packet, mark: delivered.mark };
    }
    return { journey: { ...endedAt(seen.at(-1)), iface: null, path }, ...this.last };
  }

  /** As it came into the hook where it ended. */
  get lastSeen(): { readonly packet: Packet; readonly mark: number } {
    return this.#sightings.at(-1)!;
  }
}

function endedAt(last: Sighting | undefined): Pick<Journey, "verdict" | "where"> {
  if (last === undefined) return { verdict: "dropped", where: "before-netfilter" };
  const { hook, point, packet } = last;
  if (point === "start" && (hook === "PREROUTING" || hook === "OUTPUT")) {
    const isFragment = packet.moreFragments || packet.fragmentOffset > 0;
    return { verdict: isFragment ? "held" : "dropped", where: hook };
  }
  if (point === "end") return { verdict: "dropped", where: hook === "POSTROUTING" ? "transmit" : "routing" };
  return { verdict: "dropped", where: hook };
}
