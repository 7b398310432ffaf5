// The whole way of one packet through the host, as the first of its connection.
//
//   in --> PREROUTING --> route --+--> INPUT --> delivered
//                                 +--> TTL, MTU --> FORWARD --+
//   local --> route --> OUTPUT (re-routed) -------------------+--> POSTROUTING --> out
//                                                                  (out by lo: in by lo again)
//
// Follows ip_rcv_finish_core() and ip_local_deliver() in net/ipv4/ip_input.c, ip_forward() in ip_forward.c,
// raw_send_hdrinc() in raw.c, ip_output() in ip_output.c, nf_nat_inet_fn() in net/netfilter/nf_nat_core.c.

import type { FinalPacket, Outcome, RuleRef } from "../classifier.ts";
import type { Host, Interface } from "../host/host.ts";
import { isSummedWithAddresses } from "../packet/decode.ts";
import { fragmentSizes } from "../packet/describe.ts";
import type { Arrival, Packet } from "../packet/packet.ts";
import { mssOf } from "../packet/tcp.ts";
import type { Hook, NatRange, Rule, Ruleset, TableName } from "../rules/ruleset.ts";
import { icmpError, rejection } from "./answer.ts";
import { walk } from "./chain.ts";
import type { ChainEnd, NatTarget } from "./chain.ts";
import { firstState } from "./conntrack.ts";
import { UnsupportedError } from "./error.ts";
import type { World } from "./match.ts";
import { isWritable, translate } from "./nat.ts";
import type { Side } from "./nat.ts";
import type { Peers } from "./peers.ts";
import type { Path, Routing } from "./routing.ts";
import type { Skb } from "./skb.ts";
import type { NoRoute } from "./tables.ts";

/** Everything around the packet. */
export interface Surroundings {
  readonly ruleset: Ruleset;
  readonly host: Host;
  readonly routing: Routing;
  readonly world: World;
  /** Connections are tracked. */
  readonly tracking: boolean;
  /** null: every sender gets every error. */
  readonly peers: Peers | null;
}

/** Where and how the way ended. */
type End = Pick<Outcome, "verdict" | "where" | "rule" | "iface" | "reply"> &
  Partial<Pick<Outcome, "errno" | "fragments">>;

const LOOPBACK = 0x7f000001;
const UNREACHABLE_CODES: Readonly<Record<NoRoute, number | null>> = {
  ENETUNREACH: 0,
  EHOSTUNREACH: 1,
  EACCES: 13,
  EINVAL: null,
};

export class Way {
  readonly trace: RuleRef[] = [];
  readonly #around: Surroundings;
  readonly #arrival: Arrival;
  readonly #skb: Skb;
  /** The route it has now; null before it has one. */
  #path: Path | null = null;
  readonly #hooks: Hook[] = [];
  /** What the rules of PREROUTING or OUTPUT left it with, the first of them. */
  #ctState: Outcome["ctState"];
  /** Has a connection of its own, not yet known. */
  #isNew = false;
  /** The sides for which nat has been asked. */
  readonly #setUp: Record<Side, boolean> = { source: false, destination: false };
  readonly #natRules: Record<Side, RuleRef | null> = { source: null, destination: null };
  #chosen = false;
  #redirect: string | null = null;
  #accepted: RuleRef | null = null;

  constructor(around: Surroundings, arrival: Arrival) {
    this.#around = around;
    this.#arrival = arrival;
    this.#ctState = around.tracking ? null : undefined;
    this.#skb = {
      packet: arrival.packet,
      mark: arrival.mark,
      inIface: null,
      outIface: null,
      ctState: "INVALID",
      sourceTranslated: false,
      destinationTranslated: false,
      frame: arrival.frame,
      srcMac: arrival.srcMac,
      socket: arrival.inIface === null ? { uid: arrival.uid, gid: arrival.gid } : null,
    };
  }

  /** To be called once. Throws UnsupportedError. */
  go(): Outcome {
    const { inIface, frame } = this.#arrival;
    if (inIface === null) return this.#outcome(this.#send());
    const iface = this.#around.host.interfaces.find(({ name }) => name === inIface)!;
    // a device that is down takes no frame
    if (!iface.up) return this.#outcome({ ...this.#dropped("routing", null), errno: "EIO" });
    if (frame === "otherhost") return this.#outcome(this.#dropped("before-netfilter", null));
    return this.#outcome(this.#receive(iface));
  }

  #outcome({ verdict, where, rule, iface, reply, errno, fragments }: End): Outcome {
    return {
      verdict,
      where,
      rule,
      iface,
      packet: finalOf(this.#skb, this.#arrival.packet),
      path: this.#hooks,
      ctState: this.#ctState,
      reply,
      generated: [],
      dnatRule: this.#natRules.destination,
      snatRule: this.#natRules.source,
      chosen: this.#chosen,
      ...(errno === undefined ? {} : { errno }),
      ...(fragments === undefined ? {} : { fragments }),
    };
  }

  // In

  #receive(iface: Interface): End {
    const { routing } = this.#around;
    const skb = this.#skb;
    skb.inIface = iface.name;
    skb.outIface = null;
    this.#enter("PREROUTING");
    const ended =
      this.#filter("raw", "PREROUTING") ??
      this.#track(true) ??
      this.#filter("mangle", "PREROUTING") ??
      this.#nat("PREROUTING", "destination");
    if (ended !== null) return ended;
    this.#leave();

    // what the host sent to itself keeps its route
    if (this.#path !== null) return this.#deliver();
    const { packet } = skb;
    const arriving = routing.input(packet.src, packet.dst, skb.mark, iface);
    if (arriving.kind === "refused") return this.#dropped("routing", null);
    if (packet.sourceRouted) {
      if (!iface.acceptSourceRoute) return this.#dropped("routing", null);
      throw this.#unsupported("source routing is not modelled");
    }
    switch (arriving.kind) {
      case "unroutable":
        return this.#dropped("routing", this.#routingError(arriving.error, iface));
      case "local":
        this.#path = arriving.path;
        skb.routeMtu = arriving.path.mtu;
        return this.#deliver();
      case "forward":
        this.#path = arriving.path;
        skb.routeMtu = arriving.path.mtu;
        return this.#forward(arriving.path, arriving.redirect);
    }
  }

  #routingError(error: NoRoute, iface: Interface): string | null {
    const { peers } = this.#around;
    const code = UNREACHABLE_CODES[error];
    if (!iface.forwarding || code === null) return null;
    if (peers !== null && !peers.takeError(this.#skb.packet.src, this.#arrival.time)) return null;
    return this.#icmpError(3, code);
  }

  #deliver(): End {
    const { packet } = this.#skb;
    if (isFragment(packet)) {
      throw this.#unsupported("a fragment for the host itself waits for the others: that is not modelled");
    }
    this.#enter("INPUT");
    const ended =
      this.#filter("mangle", "INPUT") ??
      this.#filter("filter", "INPUT") ??
      this.#filter("security", "INPUT") ??
      this.#nat("INPUT", "source");
    if (ended !== null) return ended;
    return { verdict: "delivered", where: null, rule: this.#accepted, iface: this.#skb.inIface, reply: null };
  }

  #forward(path: Path, redirect: boolean): End {
    const { peers } = this.#around;
    const skb = this.#skb;
    if (this.#arrival.frame !== "host") return this.#dropped("routing", null);
    const { packet } = skb;
    if (packet.ttl <= 1) return this.#dropped("routing", this.#icmpError(11, 0));
    if (packet.length > path.mtu && packet.df) return this.#dropped("routing", this.#icmpError(3, 4));
    if (path.out.name === "lo") throw this.#unsupported("forwarding to the loopback interface is not modelled");
    skb.packet = { ...packet, ttl: packet.ttl - 1 };
    if (redirect && (peers === null || peers.takeRedirect(packet.src, this.#arrival.time))) {
      this.#redirect = this.#icmpError(5, 1);
    }
    skb.outIface = path.out.name;
    this.#enter("FORWARD");
    const ended =
      this.#filter("mangle", "FORWARD") ??
      this.#filter("filter", "FORWARD") ??
      this.#filter("security", "FORWARD") ??
      this.#postrouting();
    return ended ?? this.#transmit("forwarded", path);
  }

  // Out

  #send(): End {
    const skb = this.#skb;
    const { mark, boundIface } = this.#arrival;
    // a raw socket that brings its own header is routed without its source
    const path = this.#around.routing.output({ src: 0, dst: skb.packet.dst, mark, oif: boundIface }, true);
    if (typeof path === "string") return { ...this.#dropped("routing", null), errno: path };
    if (skb.packet.length > path.out.mtu) return { ...this.#dropped("routing", null), errno: "EMSGSIZE" };
    if (skb.packet.src === 0 && path.src !== 0) skb.packet = withSource(skb.packet, path.src);
    this.#take(path);
    skb.outIface = path.out.name;
    this.#enter("OUTPUT");
    const ended =
      this.#filter("raw", "OUTPUT") ??
      this.#track(false) ??
      this.#mangleOutput() ??
      this.#natOutput() ??
      this.#filter("filter", "OUTPUT") ??
      this.#filter("security", "OUTPUT");
    if (ended !== null) return ended;
    this.#leave();
    return this.#postrouting() ?? this.#transmit("sent", this.#path!);
  }

  /** ipt_mangle_out() in net/ipv4/netfilter/iptable_mangle.c. */
  #mangleOutput(): End | null {
    const { mark, packet } = this.#skb;
    const ended = this.#filter("mangle", "OUTPUT");
    const same = this.#skb.mark === mark && this.#skb.packet.tos === packet.tos;
    return ended ?? (same ? null : this.#reroute());
  }

  #natOutput(): End | null {
    const { dst } = this.#skb.packet;
    return this.#nat("OUTPUT", "destination") ?? (this.#skb.packet.dst === dst ? null : this.#reroute());
  }

  /** ip_route_me_harder() in net/ipv4/netfilter.c. The rest of OUTPUT goes on seeing the old interface. */
  #reroute(): End | null {
    const { routing } = this.#around;
    const { packet, mark } = this.#skb;
    const type = routing.tables.addressType(packet.src, null);
    const src = type === "LOCAL" || type === "UNICAST" ? packet.src : 0;
    const path = routing.output({ src, dst: packet.dst, mark, oif: this.#arrival.boundIface }, true);
    if (typeof path === "string") return { ...this.#dropped("OUTPUT", null), errno: path };
    this.#take(path);
    return null;
  }

  #take(path: Path): void {
    if (path.group) throw this.#unsupported("broadcasts and multicasts of the host itself are not modelled");
    this.#path = path;
    this.#skb.routeMtu = path.mtu;
  }

  #postrouting(): End | null {
    this.#skb.outIface = this.#path!.out.name;
    this.#enter("POSTROUTING");
    return this.#filter("mangle", "POSTROUTING") ?? this.#nat("POSTROUTING", "source");
  }

  #transmit(verdict: "forwarded" | "sent", { out, mtu }: Path): End {
    const { packet } = this.#skb;
    const fits = packet.length <= mtu;
    if (!fits && packet.df) {
      return { ...this.#dropped("transmit", this.#icmpError(3, 4)), errno: "EMSGSIZE" };
    }
    if (out.name === "lo") {
      if (!fits) throw this.#unsupported("fragments over the loopback interface are not modelled");
      return this.#receive(out);
    }
    const left = { verdict, where: null, rule: this.#accepted, iface: out.name, reply: this.#redirect };
    return fits ? left : { ...left, fragments: fragmentSizes(packet, mtu) };
  }

  // A hook

  #enter(hook: Hook): void {
    const opens = hook === "PREROUTING" || hook === "OUTPUT";
    if (opens && this.#around.tracking && isFragment(this.#skb.packet)) {
      throw this.#unsupported(
        "a fragment is held until its datagram is whole where connections are tracked: not modelled",
      );
    }
    this.#hooks.push(hook);
  }

  /** PREROUTING or OUTPUT is over: what state the packet has is known from now on. */
  #leave(): void {
    if (this.#around.tracking) this.#ctState ??= this.#skb.ctState;
  }

  /** Any table but nat; null: the packet goes on. */
  #filter(name: TableName, hook: Hook): End | null {
    const end = this.#walk(name, hook);
    if (end === null) return null;
    const { target } = end;
    switch (target.kind) {
      case "ACCEPT":
        if (name === "filter") this.#accepted = end.ref;
        return null;
      case "DROP":
        return this.#refuse(hook, end.ref, null);
      case "REJECT":
        return this.#refuse(hook, end.ref, rejection(target.with, this.#refused(), this.#around.routing));
      default:
        throw new Error(`${name} ${hook}: ${target.kind} stands outside of nat`);
    }
  }

  #walk(name: TableName, hook: Hook): ChainEnd | null {
    const { ruleset, world } = this.#around;
    const table = ruleset.tables.find((one) => one.name === name);
    const chain = table?.chains.find((one) => one.name === hook);
    return table === undefined || chain === undefined ? null : walk(table, chain, this.#skb, world, this.trace);
  }

  #track(incoming: boolean): null {
    const { tracking, host } = this.#around;
    // over lo it comes with the connection that OUTPUT gave it
    if (!tracking || this.#isNew) return null;
    const state = this.#arrival.ctState ?? firstState(this.#skb.packet, incoming, host);
    if (state === "unknown") throw this.#unsupported("connections of its protocol are not modelled");
    this.#isNew = state === "NEW";
    this.#skb.ctState = state;
    return null;
  }

  /** nat sees a new connection once for each side. */
  #nat(hook: Hook, side: Side): End | null {
    if (!this.#isNew || this.#setUp[side]) return null;
    const end = this.#walk("nat", hook);
    if (end === null) return null;
    const { ref, rule, target } = end;
    if (target.kind === "ACCEPT") {
      this.#setUp[side] = true;
      return null;
    }
    if (target.kind === "DROP" || target.kind === "REJECT") return this.#refuse(hook, ref, null);
    const range = this.#rangeOf(target, hook);
    if (range === null) return this.#refuse(hook, ref, null);
    this.#natRules[side] = ref;
    this.#setUp[side] = true;
    return this.#translate(side, range, rule!) ? null : this.#refuse(hook, ref, null);
  }

  /** null: there is no address to translate to, and the packet is dropped. */
  #rangeOf(target: NatTarget, hook: Hook): NatRange | null {
    const { host, routing } = this.#around;
    switch (target.kind) {
      case "DNAT":
      case "SNAT":
        return target.range;
      case "REDIRECT": {
        const iface = host.interfaces.find(({ name }) => name === this.#skb.inIface);
        const address = hook === "OUTPUT" ? LOOPBACK : iface?.addresses[0]?.address;
        return address === undefined ? null : { ...target.range, addresses: { lo: address, hi: address } };
      }
      case "MASQUERADE": {
        const { out, via } = this.#path!;
        const address = routing.selectAddress(out, via ?? this.#skb.packet.dst, "global");
        return address === 0 ? null : { ...target.range, addresses: { lo: address, hi: address } };
      }
    }
  }

  /** False if it cannot be done. */
  #translate(side: Side, range: NatRange, rule: Rule): boolean {
    const before = this.#skb.packet;
    const { packet, chosen } = translate(before, side, range, () => this.#around.world.memory.draw(rule));
    const changed = (["src", "dst", "sport", "dport", "icmpId"] as const).some((key) => packet[key] !== before[key]);
    if (changed && !isWritable(packet, side)) return false;
    this.#skb.packet = packet;
    this.#chosen ||= chosen;
    if (side === "source") this.#skb.sourceTranslated = changed;
    else this.#skb.destinationTranslated = changed;
    return true;
  }

  // The end

  #dropped(where: Outcome["where"], reply: string | null): End {
    return { verdict: "dropped", where, rule: null, iface: null, reply };
  }

  #refuse(hook: Hook, rule: RuleRef, answer: string | null): End {
    // an earlier redirect counts as the answer
    const reply = this.#redirect ?? answer;
    const own = this.#arrival.inIface === null && this.#skb.inIface === null;
    const end: End = { verdict: reply === null ? "dropped" : "rejected", where: hook, rule, iface: null, reply };
    return own ? { ...end, errno: "EPERM" } : end;
  }

  #icmpError(type: number, code: number): string | null {
    return icmpError(type, code, this.#refused(), this.#around.routing);
  }

  #refused(): Parameters<typeof icmpError>[2] {
    const { frame, boundIface } = this.#arrival;
    return { packet: this.#skb.packet, frame, path: this.#path, boundIface };
  }

  #unsupported(reason: string): UnsupportedError {
    return new UnsupportedError(reason, this.#arrival.id);
  }
}

function isFragment(packet: Packet): boolean {
  return packet.moreFragments || packet.fragmentOffset > 0;
}

/** The kernel does not sum up again. */
function withSource(packet: Packet, src: number): Packet {
  return { ...packet, src, badChecksum: packet.badChecksum || isSummedWithAddresses(packet) };
}

function finalOf({ packet, mark }: Skb, before: Packet): FinalPacket {
  const { src, dst, sport, dport, icmpId, ttl, tos, tcpFlags } = packet;
  const mss = mssOf(packet);
  return {
    ...{ src, dst, sport, dport, icmpId, ttl, tos, mark },
    ...(tcpFlags === before.tcpFlags ? {} : { tcpFlags }),
    ...(mss === null || mss === mssOf(before) ? {} : { mss }),
  };
}
