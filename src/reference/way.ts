// The whole way of one packet through the host, and of the packets that the host makes meanwhile.
//
//   in --> PREROUTING --> route --+--> INPUT --> delivered
//                                 +--> TTL, MTU --> FORWARD --+
//   local --> route --> OUTPUT (re-routed) -------------------+--> POSTROUTING --> out
//                                                                  (out by lo: in by lo again)
//
// Follows ip_rcv_finish_core() and ip_local_deliver() in net/ipv4/ip_input.c, ip_forward() in ip_forward.c,
// raw_send_hdrinc() in raw.c, ip_output(), ip_mc_output() and ip_fragment() in ip_output.c, nf_nat_inet_fn() in
// net/netfilter/nf_nat_core.c.

import type { CtState, RuleRef } from "../classifier.ts";
import type { Host, Interface } from "../host/host.ts";
import { isSummedWithAddresses } from "../packet/decode.ts";
import { fragmentSizes, fragmentsOf, pulledSizes } from "../packet/describe.ts";
import type { AnswerKind } from "../packet/made.ts";
import type { Arrival, Packet } from "../packet/packet.ts";
import { PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP } from "../net/protocol.ts";
import type { Hook, NatRange, QueueTarget, Ruleset, TableName } from "../rules/ruleset.ts";
import { icmpError, rejection } from "./answer.ts";
import type { Answer, Refused, Summed } from "./answer.ts";
import { walk } from "./chain.ts";
import type { ChainEnd, NatTarget } from "./chain.ts";
import type { Connection, Connections, Zone } from "./connection.ts";
import { DEFAULT_ZONE, makeConnection } from "./connection.ts";
import { attachAnswer, track } from "./conntrack.ts";
import type { Counters } from "./counters.ts";
import { UnsupportedError } from "./error.ts";
import { isFragment } from "./fragments.ts";
import type { Fragments, Gatherer } from "./fragments.ts";
import { Log } from "./log.ts";
import type { World } from "./match.ts";
import { nullRange, setUp, translate, translateError } from "./nat.ts";
import type { Side } from "./nat.ts";
import type { Peers } from "./peers.ts";
import type { Path, Routing } from "./routing.ts";
import type { Attached, Skb, Template } from "./skb.ts";
import type { NoRoute } from "./tables.ts";
import { closeTcp } from "./tcp.ts";
import { inverse, tupleOf } from "./tuple.ts";

/** Everything around the packet. */
export interface Surroundings {
  readonly ruleset: Ruleset;
  readonly host: Host;
  readonly routing: Routing;
  readonly world: World;
  /** null: connections are not tracked. */
  readonly connections: Connections | null;
  readonly fragments: Fragments<Traveller>;
  readonly defragments: boolean;
  /** null: every sender gets every error. */
  readonly peers: Peers | null;
  readonly counters: Counters;
}

const LOOPBACK = 0x7f000001;
const LOOPBACK_NAME = "lo";
/** More than any TTL lasts: rules set it anew in every round. */
const MOST_ROUNDS = 1000;
const SCTP_BYTES = 12;
/** Of transport headers that are longer than the shortest fragment. */
const HEADER_BYTES: ReadonlyMap<number, number> = new Map([
  [PROTO_TCP, 20],
  [PROTO_SCTP, SCTP_BYTES],
]);
/** ICMP header, the header that it quotes, and the ports behind that. */
const QUOTING_BYTES = 36;
const UNREACHABLE_CODES: Readonly<Record<NoRoute, number | null>> = {
  ENETUNREACH: 0,
  EHOSTUNREACH: 1,
  EACCES: 13,
  EINVAL: null,
};

/** How a packet came: the sizes of its fragments, as long as they are known, and the length of the longest. */
interface Pieces {
  readonly sizes: readonly number[] | null;
  readonly longest: number;
}

/** The packet goes on, or its way has ended here. */
type Step = "on" | "ended";

/** A packet on its way (struct sk_buff). */
export class Traveller implements Skb {
  packet: Packet;
  mark: number;
  inIface: string | null = null;
  outIface: string | null = null;
  attached: Attached | null = null;
  untracked = false;
  answersUntracked = false;
  /** What the line says of its connection; undefined: it is to be found out. */
  told: Arrival["ctState"] = undefined;
  template: Template | null = null;
  /** The route it has now, and where that leads what comes in with it; null before it has one. */
  path: Path | null = null;
  forwards = false;
  frame: Refused["frame"];
  /** How it was put together from fragments; null: it was not. */
  whole: Pieces | null = null;
  srcMac: number | null = null;
  summed: Summed = "unknown";
  writable = 0;
  socket: NonNullable<Skb["socket"]> | null = null;
  boundIface: string | null;
  readonly log: Log;

  constructor(packet: Packet, mark: number, frame: Refused["frame"], boundIface: string | null, log: Log) {
    this.packet = packet;
    this.mark = mark;
    this.frame = frame;
    this.boundIface = boundIface;
    this.log = log;
  }

  get routeMtu(): number | undefined {
    return this.path?.mtu;
  }

  /** Another one in the same place, which no socket has sent (skb_clone(), loopback_xmit() in drivers/net/loopback.c). */
  copy(packet = this.packet): Traveller {
    return Object.assign(new Traveller(packet, this.mark, this.frame, null, this.log), {
      ...{ inIface: this.inIface, outIface: this.outIface, attached: this.attached },
      ...{ untracked: this.untracked, answersUntracked: this.answersUntracked },
      ...{ told: this.told, unfollowed: this.unfollowed },
      ...{ path: this.path, forwards: this.forwards, summed: this.summed },
    });
  }

  get ctState(): CtState {
    if (this.untracked) return "UNTRACKED";
    return this.attached?.state ?? this.unfollowed ?? (this.template === null ? "INVALID" : "NEW");
  }

  /** The state of a connection of which nothing else is known. */
  unfollowed: CtState | null = null;

  get sourceTranslated(): boolean {
    return this.attached?.connection.sourceNat ?? false;
  }

  get destinationTranslated(): boolean {
    return this.attached?.connection.destinationNat ?? false;
  }
}

export class Way {
  readonly #around: Surroundings;
  readonly #arrival: Arrival;
  readonly log: Log;
  /** Of the packets that the host made, in the order in which they entered OUTPUT. */
  readonly made: Log[] = [];
  readonly madeTrace: RuleRef[] = [];
  /** What has left by lo and has not come in yet. */
  readonly #backlog: { readonly skb: Traveller; readonly iface: Interface }[] = [];
  #busy = false;
  /** How often something has left by lo. */
  #rounds = 0;

  constructor(around: Surroundings, arrival: Arrival) {
    this.#around = around;
    this.#arrival = arrival;
    this.log = new Log(arrival.inIface === null, arrival.packet, arrival.mark, []);
  }

  /** To be called once. Throws UnsupportedError. */
  go(): void {
    const { inIface, frame, packet, mark, boundIface, srcMac, uid, gid } = this.#arrival;
    const skb = new Traveller(packet, mark, frame, boundIface, this.log);
    skb.srcMac = srcMac;
    skb.told = this.#arrival.ctState;
    if (inIface === null) {
      skb.socket = { uid, gid };
      this.#send(skb);
    } else {
      const iface = this.#ifaceOf(inIface);
      // a device that is down takes no frame
      if (!iface.up) this.log.errno = "EIO";
      else if (frame !== "otherhost")
        this.#inSoftirq(() => {
          this.#receive(skb, iface);
        });
    }
    this.#drain();
  }

  /** What leaves by lo meanwhile waits until this is done. */
  #inSoftirq(act: () => void): void {
    this.#busy = true;
    act();
    this.#busy = false;
  }

  #drain(): void {
    if (this.#busy) return;
    for (let next = this.#backlog.shift(); next !== undefined; next = this.#backlog.shift()) {
      const { skb, iface } = next;
      this.#inSoftirq(() => {
        this.#receive(skb, iface);
      });
    }
  }

  #ifaceOf(name: string): Interface {
    return this.#around.host.interfaces.find((one) => one.name === name)!;
  }

  // In

  #receive(skb: Traveller, iface: Interface): void {
    skb.inIface = iface.name;
    skb.outIface = null;
    const ended =
      this.#enter(skb, "PREROUTING") === "ended" ||
      this.#filter(skb, "raw", "PREROUTING") === "ended" ||
      this.#track(skb, true) === "ended" ||
      this.#filter(skb, "mangle", "PREROUTING") === "ended" ||
      this.#natPrerouting(skb) === "ended";
    if (ended) return;
    this.#leave(skb, "PREROUTING");

    // what the host has sent keeps its route
    if (skb.path === null && !this.#route(skb, iface)) return;
    if (skb.forwards) this.#forward(skb, false);
    else if (skb.path!.local) this.#deliver(skb);
    else this.#drop(skb);
  }

  #natPrerouting(skb: Traveller): Step {
    const { dst } = skb.packet;
    const step = this.#nat(skb, "PREROUTING", "destination");
    if (skb.packet.dst !== dst) skb.path = null;
    return step;
  }

  /** False: the way has ended. Forwarding begins here, since only here a redirect may be due. */
  #route(skb: Traveller, iface: Interface): boolean {
    const { packet } = skb;
    // tcp_v4_early_demux() in net/ipv4/tcp_ipv4.c
    if (packet.proto === PROTO_TCP) pull(skb, headerBytes(packet));
    const arriving = this.#around.routing.input(packet.src, packet.dst, skb.mark, iface);
    if (arriving.kind === "refused") return this.#drop(skb);
    if (packet.sourceRouted) {
      if (!iface.acceptSourceRoute) return this.#drop(skb);
      throw this.#unsupported("source routing is not modelled");
    }
    switch (arriving.kind) {
      case "unroutable":
        this.#routingError(skb, arriving.error, iface);
        return this.#drop(skb);
      case "local":
        skb.path = arriving.path;
        return true;
      case "forward":
        skb.path = arriving.path;
        skb.forwards = true;
        if (arriving.redirect) {
          this.#forward(skb, true);
          return false;
        }
        return true;
    }
  }

  #routingError(skb: Traveller, error: NoRoute, iface: Interface): void {
    const { peers } = this.#around;
    const code = UNREACHABLE_CODES[error];
    if (!iface.forwarding || code === null) return;
    if (peers !== null && !peers.takeError(skb.packet.src, this.#arrival.time)) return;
    this.#answerError(skb, { kind: "icmp", type: 3, code, info: 0 });
  }

  #deliver(skb: Traveller): void {
    if (isFragment(skb.packet) && !this.#gather(skb, "delivery")) return;
    const { backend } = this.#around.world;
    const ended =
      this.#enter(skb, "INPUT") === "ended" ||
      this.#filter(skb, "mangle", "INPUT") === "ended" ||
      this.#filter(skb, "filter", "INPUT") === "ended" ||
      (backend === "nft" && this.#nat(skb, "INPUT", "source") === "ended") ||
      this.#filter(skb, "security", "INPUT") === "ended" ||
      (backend === "legacy" && this.#nat(skb, "INPUT", "source") === "ended") ||
      this.#confirm(skb) === "ended";
    if (!ended) this.#leave(skb, "INPUT");
  }

  #forward(skb: Traveller, redirect: boolean): void {
    const { peers } = this.#around;
    const path = skb.path!;
    if (skb.frame !== "host") return void this.#drop(skb);
    if (skb.packet.ttl <= 1) {
      this.#answerError(skb, { kind: "icmp", type: 11, code: 0, info: 0 });
      return void this.#drop(skb);
    }
    if (exceeds(skb, path.mtu)) {
      this.#answerError(skb, { kind: "icmp", type: 3, code: 4, info: path.mtu });
      return void this.#drop(skb);
    }
    if (skb.summed === "right") skb.summed = "forwarded";
    skb.packet = { ...skb.packet, ttl: skb.packet.ttl - 1 };
    if (redirect && (peers === null || peers.takeRedirect(skb.packet.src, this.#arrival.time))) {
      this.#answerError(skb, { kind: "icmp", type: 5, code: 1, info: path.via ?? skb.packet.dst });
    }
    skb.outIface = path.out.name;
    const ended =
      this.#enter(skb, "FORWARD") === "ended" ||
      this.#filter(skb, "mangle", "FORWARD") === "ended" ||
      this.#filter(skb, "filter", "FORWARD") === "ended" ||
      this.#filter(skb, "security", "FORWARD") === "ended";
    if (ended) return;
    this.#leave(skb, "FORWARD");
    if (this.#postrouting(skb) === "on") this.#transmit(skb);
  }

  // Out

  /** Of a raw socket that brings its own header. */
  #send(skb: Traveller): void {
    const { log } = skb;
    const { mark, boundIface } = this.#arrival;
    // it is routed without its source
    const path = this.#around.routing.output({ src: 0, dst: skb.packet.dst, mark, oif: boundIface }, true);
    if (typeof path === "string") {
      log.errno = path;
      return;
    }
    if (skb.packet.length > path.out.mtu) {
      log.errno = "EMSGSIZE";
      return;
    }
    if (skb.packet.src === 0 && path.src !== 0) skb.packet = withSource(skb.packet, path.src);
    skb.path = path;
    this.#localOut(skb);
  }

  #localOut(skb: Traveller): void {
    skb.inIface = null;
    skb.outIface = skb.path!.out.name;
    const ended =
      this.#enter(skb, "OUTPUT") === "ended" ||
      this.#filter(skb, "raw", "OUTPUT") === "ended" ||
      this.#track(skb, false) === "ended" ||
      this.#mangleOutput(skb) === "ended" ||
      this.#natOutput(skb) === "ended" ||
      this.#filter(skb, "filter", "OUTPUT") === "ended" ||
      this.#filter(skb, "security", "OUTPUT") === "ended";
    if (ended) return;
    this.#leave(skb, "OUTPUT");
    this.#output(skb);
  }

  /** What goes to a group comes back to the host as well, if it belongs to the group. */
  #output(skb: Traveller): void {
    const { group, broadcast, local, out } = skb.path!;
    if (group && local && out.name !== LOOPBACK_NAME) {
      const back = skb.copy();
      const { errno } = skb.log;
      // what waits for a device that is down is dropped: enqueue_to_backlog() in net/core/dev.c
      if (this.#postrouting(back) === "on" && out.up) {
        back.frame = "loopback";
        this.#loop(back, out);
      }
      // the sender learns nothing of what becomes of the copy
      skb.log.errno = errno;
      // a multicast without life goes no further than the host
      if (!broadcast && skb.packet.ttl === 0) return void this.#drop(skb);
    }
    if (this.#postrouting(skb) === "on") this.#transmit(skb);
  }

  /** ipt_mangle_out() in net/ipv4/netfilter/iptable_mangle.c. */
  #mangleOutput(skb: Traveller): Step {
    const { mark } = skb;
    const { src, dst, tos } = skb.packet;
    if (this.#filter(skb, "mangle", "OUTPUT") === "ended") return "ended";
    const { packet } = skb;
    const changed = skb.mark !== mark || packet.src !== src || packet.dst !== dst || packet.tos !== tos;
    return changed ? this.#reroute(skb) : "on";
  }

  /** nf_nat_ipv4_local_fn() in net/netfilter/nf_nat_proto.c. */
  #natOutput(skb: Traveller): Step {
    if (this.#nat(skb, "OUTPUT", "destination") === "ended") return "ended";
    if (skb.attached === null || !this.#hasNat()) return "on";
    const { connection, direction } = skb.attached;
    const { original, reply } = connection;
    const translated = direction === "original" ? original.dst !== reply.src : reply.dst !== original.src;
    return translated ? this.#reroute(skb) : "on";
  }

  /** ip_route_me_harder() in net/ipv4/netfilter.c. The rest of OUTPUT goes on seeing the old interface. */
  #reroute(skb: Traveller): Step {
    const { routing } = this.#around;
    const { packet, mark } = skb;
    const type = routing.tables.addressType(packet.src, null);
    const src = type === "LOCAL" || type === "UNICAST" ? packet.src : 0;
    const path = routing.output({ src, dst: packet.dst, mark, oif: skb.boundIface }, true);
    if (typeof path === "string") {
      this.#drop(skb);
      skb.log.errno = path;
      return "ended";
    }
    skb.path = path;
    return "on";
  }

  #postrouting(skb: Traveller): Step {
    skb.outIface = skb.path!.out.name;
    const ended =
      this.#enter(skb, "POSTROUTING") === "ended" ||
      this.#filter(skb, "mangle", "POSTROUTING") === "ended" ||
      this.#nat(skb, "POSTROUTING", "source") === "ended" ||
      this.#confirm(skb) === "ended";
    if (ended) return "ended";
    this.#leave(skb, "POSTROUTING");
    return "on";
  }

  #transmit(skb: Traveller): void {
    const { out, mtu } = skb.path!;
    const { packet, whole } = skb;
    if (packet.length <= mtu && whole === null) {
      this.#departs(skb, out, null);
      return;
    }
    if (packet.df && (whole === null || whole.longest > mtu)) {
      this.#answerError(skb, { kind: "icmp", type: 3, code: 4, info: mtu });
      this.#drop(skb);
      if (skb.inIface === null) skb.log.errno = "EMSGSIZE";
      return;
    }
    const sizes = whole === null ? fragmentSizes(packet, mtu) : fragmentedAgain(packet, whole, mtu);
    this.#departs(skb, out, sizes);
  }

  #departs(skb: Traveller, out: Interface, sizes: readonly number[] | null): void {
    if (!out.up) return void this.#drop(skb);
    if (out.name !== LOOPBACK_NAME) {
      skb.log.leave({ iface: out.name, packet: skb.packet, fragments: sizes });
      return;
    }
    const pieces = sizes === null ? [skb.packet] : fragmentsOf(skb.packet, sizes);
    for (const packet of pieces) {
      const back = skb.copy(packet);
      back.frame = skb.path!.group && !skb.path!.broadcast ? "multicast" : "host";
      this.#loop(back, out);
    }
  }

  #loop(skb: Traveller, iface: Interface): void {
    if (++this.#rounds > MOST_ROUNDS) throw this.#unsupported("it comes in by lo again and again, without end");
    this.#backlog.push({ skb, iface });
    this.#drain();
  }

  // A hook

  #enter(skb: Traveller, hook: Hook): Step {
    const { log, mark, inIface } = skb;
    log.see(hook, "start", skb.packet, mark, inIface);
    if (hook !== "PREROUTING" && hook !== "OUTPUT") return "on";
    // ipv4_conntrack_defrag() in net/ipv4/netfilter/nf_defrag_ipv4.c
    if (this.#around.defragments && isFragment(skb.packet) && !skb.untracked) {
      if (!this.#gather(skb, hook === "OUTPUT" ? "outgoing" : "incoming")) return "ended";
    }
    log.see(hook, "behind defrag", skb.packet, skb.mark, inIface);
    return "on";
  }

  /** False: others are missing. */
  #gather(skb: Traveller, gatherer: Gatherer): boolean {
    if (skb.packet.payload === null) throw this.#unsupported("the bytes of its fragments are not known");
    const whole = this.#around.fragments.gather(gatherer, skb.packet, skb, this.#arrival.time);
    if (whole === null) return this.#drop(skb);
    const { mark, frame, srcMac, path, forwards } = whole.bearer;
    Object.assign(skb, { packet: whole.packet, mark, frame, srcMac, path, forwards });
    // what is delivered is not cut apart again
    if (gatherer !== "delivery") skb.whole = whole;
    if (gatherer === "delivery") skb.log.delivered ??= whole.packet;
    else skb.log.datagram ??= whole.packet;
    return true;
  }

  #leave(skb: Traveller, hook: Hook): void {
    const { log } = skb;
    log.see(hook, "end", skb.packet, skb.mark, skb.inIface);
    const opens = hook === "PREROUTING" || hook === "OUTPUT";
    if (opens && this.#around.connections !== null) log.ctState ??= skb.ctState;
  }

  /** Any table but nat. */
  #filter(skb: Traveller, name: TableName, hook: Hook): Step {
    const end = this.#walk(skb, name, hook);
    if (end === null) return "on";
    const { target, ref } = end;
    switch (target.kind) {
      case "ACCEPT":
        if (name === "filter") skb.log.accepted = ref;
        return "on";
      case "DROP":
        return this.#refuse(skb, ref);
      case "REJECT": {
        // iptables-nft tells of a rule when its target is through
        const later = this.#around.world.backend === "nft" ? skb.log.trace.splice(-1) : [];
        const answer = rejection(target.with, refusedOf(skb), this.#around.routing);
        if (answer !== null) this.#answer(skb, answer, target.with === "tcp-reset");
        skb.log.trace.push(...later);
        return this.#refuse(skb, ref);
      }
      case "QUEUE":
      case "NFQUEUE":
        return this.#queue(skb, target, ref, name);
      default:
        throw new Error(`${name} ${hook}: ${target.kind} stands outside of nat`);
    }
  }

  /** nf_queue() in net/netfilter/nf_queue.c: no process listens, and who sent it is told of no error. */
  #queue(skb: Traveller, { bypass }: QueueTarget, ref: RuleRef, name: TableName): Step {
    if (bypass) {
      if (name === "filter") skb.log.accepted = ref;
      return "on";
    }
    this.#drop(skb);
    skb.log.refused = ref;
    return "ended";
  }

  #walk(skb: Traveller, name: TableName, hook: Hook): ChainEnd | null {
    const { ruleset, world, counters } = this.#around;
    const table = ruleset.tables.find((one) => one.name === name);
    const chain = table?.chains.find((one) => one.name === hook);
    if (table === undefined || chain === undefined) return null;
    const end = walk(table, chain, skb, world, (ref, counts) => {
      skb.log.trace.push(ref);
      if (counts) counters.count(ref, skb.packet.length);
    });
    pull(skb, skb.writable);
    return end;
  }

  #track(skb: Traveller, incoming: boolean): Step {
    const { connections, host } = this.#around;
    // over lo it comes with the connection that OUTPUT gave it
    if (connections === null || skb.attached !== null || skb.untracked) return "on";
    const zone = zoneOf(skb);
    skb.template = null;
    if (skb.told !== undefined) return this.#believe(skb, skb.told);
    if (incoming && host.conntrackChecksum) {
      if (isSummedUp(skb.packet)) skb.summed = "right";
      // sctp_error() makes the header writable
      const { proto, length, headerLength } = skb.packet;
      if (proto === PROTO_SCTP && length - headerLength >= SCTP_BYTES) pull(skb, SCTP_BYTES);
    }
    const attached = track(skb.packet, incoming, zone, { connections, host });
    if (attached === "unknown") throw this.#unsupported("connections of its protocol are not modelled");
    skb.attached = attached;
    // an ICMP error of which conntrack finds no connection keeps what it has
    if (skb.packet.proto !== PROTO_ICMP) skb.answersUntracked = false;
    return "on";
  }

  /** Of a connection that is new there is as much as NAT asks for; of another its state alone. */
  #believe(skb: Traveller, told: NonNullable<Arrival["ctState"]>): "on" {
    if (told === "UNTRACKED") skb.untracked = true;
    else if (told === "NEW")
      skb.attached = { connection: unknownConnection(skb.packet), direction: "original", state: told };
    else skb.unfollowed = told;
    return "on";
  }

  /** nf_conntrack_confirm(): the packet has come to the end of its way, and its connection is one from now on. */
  #confirm(skb: Traveller): Step {
    const { connections } = this.#around;
    if (connections === null || skb.attached === null) return "on";
    const { connection, direction } = skb.attached;
    if (this.#arrival.ctState !== undefined) return "on";
    if (!connection.confirmed && direction === "original" && !connections.confirm(connection)) {
      return this.#refuse(skb, null);
    }
    connections.tell(connection);
    return "on";
  }

  // NAT

  /** The kernel knows of NAT once there is a nat table. */
  #hasNat(): boolean {
    return this.#around.ruleset.tables.some(({ name }) => name === "nat");
  }

  #nat(skb: Traveller, hook: Hook, side: Side): Step {
    const { attached, packet } = skb;
    if (attached === null || !this.#hasNat()) return "on";
    const { connection } = attached;
    if (attached.state === "RELATED" && packet.proto === PROTO_ICMP) {
      skb.log.chosen ||= connection.drawn;
      return this.#becomes(skb, translateError(packet, side, attached));
    }
    const done = side === "source" ? connection.sourceDone : connection.destinationDone;
    if (attached.state !== "ESTABLISHED" && !done) {
      if (this.#setUp(skb, attached, hook, side) === "ended") return "ended";
    } else if (this.#leavesElsewhere(skb, attached, hook)) {
      this.#around.connections!.kill(connection);
      return this.#refuse(skb, null);
    }
    skb.log.chosen ||= connection.drawn;
    // a rule of nat may have changed the packet
    return this.#becomes(skb, translate(skb.packet, side, attached));
  }

  #becomes(skb: Traveller, packet: Packet | null): Step {
    if (packet === null) return this.#refuse(skb, null);
    if (packet !== skb.packet) pull(skb, headerBytes(packet));
    skb.packet = packet;
    return "on";
  }

  /** The interface that MASQUERADE was made for is not the one by which the packet leaves (nf_nat_oif_changed()). */
  #leavesElsewhere(skb: Traveller, { connection, direction }: Attached, hook: Hook): boolean {
    const { masqueradedOn } = connection;
    if (hook !== "POSTROUTING" || direction !== "original" || masqueradedOn === null) return false;
    return masqueradedOn !== skb.outIface;
  }

  #setUp(skb: Traveller, { connection }: Attached, hook: Hook, side: Side): Step {
    const connections = this.#around.connections!;
    const { memory } = this.#around.world;
    const end = this.#walk(skb, "nat", hook);
    const { log } = skb;
    if (end !== null && end.target.kind !== "ACCEPT") {
      const { ref, rule, target } = end;
      if (target.kind === "DROP" || target.kind === "REJECT") return this.#refuse(skb, ref);
      if ("bypass" in target) return this.#queue(skb, target, ref, "nat");
      // who has no address yet keeps none: nf_nat_masquerade_ipv4() in net/netfilter/nf_nat_masquerade.c
      if (target.kind !== "MASQUERADE" || connection.original.src !== 0) {
        const range = this.#rangeOf(skb, target, hook);
        if (range === null) return this.#refuse(skb, ref);
        log.natRules[side] = ref;
        if (target.kind === "MASQUERADE") connection.masqueradedOn = skb.outIface;
        setUp(connection, side, range, connections, () => memory.draw(rule));
        return "on";
      }
      log.natRules[side] = ref;
    }
    const range = nullRange(connection, side);
    setUp(connection, side, range, connections, () => memory.draw(null));
    return "on";
  }

  /** null: there is no address to translate to, and the packet is dropped. */
  #rangeOf(skb: Traveller, target: NatTarget, hook: Hook): NatRange | null {
    const { host, routing } = this.#around;
    switch (target.kind) {
      case "DNAT":
      case "SNAT":
        return target.range;
      case "REDIRECT": {
        const iface = host.interfaces.find(({ name }) => name === skb.inIface);
        const address = hook === "OUTPUT" ? LOOPBACK : iface?.addresses[0]?.address;
        return address === undefined ? null : { ...target.range, addresses: { lo: address, hi: address } };
      }
      case "NETMAP": {
        const { address, mask } = target;
        const host = hook === "PREROUTING" || hook === "OUTPUT" ? skb.packet.dst : skb.packet.src;
        const mapped = ((host & ~mask) | address) >>> 0;
        return {
          addresses: { lo: mapped, hi: mapped },
          ...{ ports: null, basePort: null, random: false, randomFully: false, persistent: false },
        };
      }
      case "MASQUERADE": {
        const { out, via } = skb.path!;
        const address = routing.selectAddress(out, via ?? skb.packet.dst, "global");
        return address === 0 ? null : { ...target.range, addresses: { lo: address, hi: address } };
      }
    }
  }

  // Answers

  #answerError(skb: Traveller, kind: AnswerKind): void {
    const answer = icmpError(kind, refusedOf(skb), this.#around.routing);
    if (answer !== null) this.#answer(skb, answer, false);
  }

  /** Sends a packet of the host, which belongs to the connection of what it answers. */
  #answer(skb: Traveller, { packet, path }: Answer, resets: boolean): void {
    const { connections, host } = this.#around;
    const log = new Log(true, packet, 0, this.madeTrace);
    const made = new Traveller(packet, 0, "host", null, log);
    made.path = path;
    if (!resets) made.socket = "kernel";
    if (skb.attached !== null) {
      made.attached = attachAnswer(skb.attached);
      if (resets) closeTcp(skb.attached.connection, connections!, host.timeouts);
    } else if (skb.unfollowed === "ESTABLISHED" || skb.unfollowed === "RELATED") {
      made.told = "RELATED";
    }
    made.answersUntracked = skb.untracked;
    this.made.push(log);
    this.#answerOut(made, resets);
  }

  /**
   * What leaves by lo meanwhile comes in only when the answer is out: __icmp_send() and ipt_do_table() disable bottom halves.
   * Resets of iptables-nft are sent without that.
   */
  #answerOut(made: Traveller, resets: boolean): void {
    const before = this.#busy;
    this.#busy ||= !resets || this.#around.world.backend === "legacy";
    this.#localOut(made);
    this.#busy = before;
    this.#drain();
  }

  // The end

  #drop(skb: Traveller): false {
    skb.log.last = { packet: skb.packet, mark: skb.mark };
    return false;
  }

  #refuse(skb: Traveller, rule: RuleRef | null): "ended" {
    this.#drop(skb);
    const { log } = skb;
    log.refused = rule;
    if (skb.inIface === null) log.errno = "EPERM";
    return "ended";
  }

  #unsupported(reason: string): UnsupportedError {
    return new UnsupportedError(reason, this.#arrival.id);
  }
}

/** nf_ct_zone_tmpl() in include/net/netfilter/nf_conntrack_zones.h. */
function zoneOf({ template, mark }: Traveller): Zone {
  const zone = template?.zone ?? DEFAULT_ZONE;
  return { id: zone.id === "mark" ? mark & 0xffff : zone.id, direction: zone.direction };
}

/** The connection that a packet would open, whatever it is. */
function unknownConnection(packet: Packet): Connection {
  const { src, dst, proto } = packet;
  const tuple = tupleOf(packet) ?? { src, dst, proto, sport: 0, dport: 0 };
  const reply = inverse(tuple) ?? { ...tuple, src: dst, dst: src };
  return makeConnection(tuple, reply, DEFAULT_ZONE);
}

function refusedOf({ packet, frame, path, boundIface, summed }: Traveller): Refused {
  return { packet, frame, path, boundIface, summed };
}

/** Conntrack sums these up where they come in. */
function isSummedUp({ proto, badChecksum }: Packet): boolean {
  return !badChecksum && (proto === PROTO_TCP || proto === PROTO_UDP || proto === PROTO_ICMP);
}

/**
 * Who wants so many bytes behind the IP header in one piece gets them; if the first fragment had fewer, the others are shorter
 * then (pskb_may_pull()).
 */
function pull(skb: Traveller, bytes: number): void {
  const { whole } = skb;
  if (whole?.sizes != null) skb.whole = { ...whole, sizes: pulledSizes(whole.sizes, bytes) };
}

/** What routing and NAT want to see of it. */
function headerBytes({ proto, inner }: Packet): number {
  return inner === null ? (HEADER_BYTES.get(proto) ?? 0) : QUOTING_BYTES;
}

/** ip_exceeds_mtu() in net/ipv4/ip_forward.c. */
function exceeds({ packet, whole }: Traveller, mtu: number): boolean {
  if (packet.length <= mtu || !packet.df) return false;
  return whole === null || whole.longest > mtu;
}

/** As it came, if that fits: ip_do_fragment() in net/ipv4/ip_output.c. */
function fragmentedAgain(packet: Packet, { sizes, longest }: Pieces, mtu: number): readonly number[] {
  const most = Math.min(mtu, longest);
  const room = most - packet.headerLength;
  if (sizes === null) return fragmentSizes(packet, most);
  const fits = sizes.every((size, index) => size <= room && (size % 8 === 0 || index + 1 === sizes.length));
  return fits ? sizes : fragmentSizes(packet, most);
}

/** The kernel does not sum up again. */
function withSource(packet: Packet, src: number): Packet {
  return { ...packet, src, badChecksum: packet.badChecksum || isSummedWithAddresses(packet) };
}
