// What NAT makes of the first packet of a connection, and then of all its packets.
//
// Follows net/netfilter/nf_nat_core.c (get_unique_tuple() and what it calls, nf_nat_setup_info()) and nf_nat_proto.c
// (nf_nat_manip_pkt(), nf_nat_icmp_reply_translation()).

import type { Tuple } from "../classifier.ts";
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE } from "../net/protocol.ts";
import { contains } from "../net/range.ts";
import type { Range } from "../net/range.ts";
import type { Packet } from "../packet/packet.ts";
import { endpointsOf, rewrite } from "../packet/rewrite.ts";
import type { Endpoints } from "../packet/rewrite.ts";
import type { NatRange } from "../rules/ruleset.ts";
import type { Connection, Connections } from "./connection.ts";
import { opposite, tupleIn } from "./connection.ts";
import { hashOfFour, inMemory, scaled } from "./hash.ts";
import type { Attached } from "./skb.ts";
import { TCP_STATE_NAMES } from "./tcp.ts";
import { inverse, PORT_PROTOCOLS, PROTO_GRE, sameTuple } from "./tuple.ts";

export type Side = "source" | "destination";

/** Gives 32 bits by lot. */
export type Lots = () => number;

const ICMP_REDIRECT = 5;
const GRE_VERSION_MASK = 7;
const GRE_SHOWN_BYTES = 8;
const TRANSPORT_BYTES = 8;
const MOST_TRIES = 128;
/** With so few tries left a closed connection has to make room. */
const LAST_TRIES = 32;
const FEWEST_TRIES = 16;

/** nf_nat_setup_info(). */
export function setUp(connection: Connection, side: Side, range: NatRange, connections: Connections, lots: Lots): void {
  if (connection.confirmed) return;
  const current = inverse(connection.reply)!;
  const { tuple, drawn } = uniqueTuple(current, side, range, connection, connections, lots);
  if (!sameTuple(tuple, current)) {
    connection.reply = inverse(tuple)!;
    if (side === "source") connection.sourceNat = true;
    else connection.destinationNat = true;
  }
  if (side === "source") {
    connection.sourceDone = true;
    connections.addSource(connection);
  } else {
    connection.destinationDone = true;
  }
  connection.drawn ||= drawn;
}

/** No rule has said anything: everything stays, if no other connection has it (nf_nat_alloc_null_binding()). */
export function nullRange(connection: Connection, side: Side): NatRange {
  const address = side === "source" ? connection.reply.dst : connection.reply.src;
  const addresses = { lo: address, hi: address };
  return { addresses, ports: null, basePort: null, random: false, randomFully: false, persistent: false };
}

interface Unique {
  readonly tuple: Tuple;
  /** By lot, now or for the connection whose mapping it is. */
  readonly drawn: boolean;
}

function uniqueTuple(
  original: Tuple,
  side: Side,
  range: NatRange,
  own: Connection,
  connections: Connections,
  lots: Lots,
): Unique {
  const isUsed = (tuple: Tuple): boolean => connections.isTaken(inverse(tuple)!, own);
  const anyPort = range.random || range.randomFully;

  if (side === "source" && !anyPort) {
    if (isInRange(original, range)) {
      if (!isUsed(original) || crosses(original, own, connections)) return { tuple: original, drawn: false };
    } else {
      const mapped = mappingOf(original, range, own, connections);
      if (mapped !== null && !isUsed(mapped.tuple)) return mapped;
    }
  }
  const tuple = readdressed(original, side, range, own.zone.id);
  if (!anyPort) {
    if (range.ports === null) {
      if (!isUsed(tuple)) return { tuple, drawn: false };
    } else if (range.basePort === null && portFits(tuple, side, range.ports)) {
      if (range.ports.lo === range.ports.hi || !isUsed(tuple)) return { tuple, drawn: false };
    }
  }
  return withUniquePort(tuple, side, range, own, connections, lots);
}

/**
 * The connection that is in the way looks like one that came from the other side at the same moment: then nothing is changed,
 * and the packet is dropped where the connection is confirmed (nf_nat_used_tuple_new()). Zones of one direction alone bring it about.
 */
function crosses(tuple: Tuple, own: Connection, connections: Connections): boolean {
  if (tuple.proto !== PROTO_UDP && tuple.proto !== PROTO_UDPLITE) return false;
  const found = connections.find(tuple, own.zone) ?? connections.find(inverse(tuple)!, own.zone);
  if (found === null) return true;
  const { original, sourceNat, destinationNat } = found.connection;
  return !sourceNat && !destinationNat && sameTuple(original, own.reply);
}

/** As a source would be seen, address and port. */
function isInRange(tuple: Tuple, { addresses, ports }: NatRange): boolean {
  if (addresses !== null && !contains(addresses, tuple.src)) return false;
  return ports === null || portFits(tuple, "source", ports);
}

/** What another connection of the same client socket was given (find_appropriate_src()). */
function mappingOf(original: Tuple, range: NatRange, own: Connection, connections: Connections): Unique | null {
  for (const { reply, drawn } of connections.fromSource(original, own.zone)) {
    const seen = inverse(reply)!;
    const tuple = { ...original, src: seen.src, sport: seen.sport };
    if (isInRange(tuple, range)) return { tuple, drawn };
  }
  return null;
}

type PortKey = "sport" | "dport";

/** null: the protocol has nothing there that can be changed. */
function portKey(proto: number, side: Side): PortKey | null {
  if (proto === PROTO_ICMP) return "sport";
  if (!PORT_PROTOCOLS.includes(proto)) return null;
  return side === "source" ? "sport" : "dport";
}

function portFits(tuple: Tuple, side: Side, ports: Range): boolean {
  if (tuple.proto === PROTO_GRE) return contains(ports, side === "source" ? tuple.sport : tuple.dport);
  const key = portKey(tuple.proto, side);
  return key === null || contains(ports, tuple[key]);
}

function withUniquePort(
  tuple: Tuple,
  side: Side,
  range: NatRange,
  own: Connection,
  connections: Connections,
  lots: Lots,
): Unique {
  const key = portKey(tuple.proto, side);
  if (key === null) return { tuple, drawn: false };
  const ports = range.ports ?? freePorts(tuple.proto, side, tuple[key]);
  if (ports === null) return { tuple, drawn: false };
  const size = ports.hi - ports.lo + 1;
  const draw = (): number => lots() & 0xffff;
  const byLot = range.basePort === null && (range.random || range.randomFully || side === "source");
  let offset = range.basePort !== null ? (tuple[key] - range.basePort) & 0xffff : byLot ? draw() : 0;
  let tried = tuple;
  for (let tries = Math.min(size, MOST_TRIES); ; tries = Math.floor(tries / 2), offset = draw()) {
    for (let count = 0; count < tries; count++, offset = (offset + 1) & 0xffff) {
      tried = { ...tuple, [key]: ports.lo + (offset % size) };
      if (!isUsedYet(tried, own, connections, tries - count)) return { tuple: tried, drawn: byLot && size > 1 };
    }
    // all are taken: the packet will be dropped where the connection is confirmed
    if (tries >= size || tries < FEWEST_TRIES) return { tuple: tried, drawn: byLot && size > 1 };
  }
}

/** nf_nat_used_tuple_harder(): at last a TCP connection that has been closed makes room. */
function isUsedYet(tuple: Tuple, own: Connection, connections: Connections, triesLeft: number): boolean {
  const reply = inverse(tuple)!;
  const opens = tuple.proto === PROTO_TCP && own.tcp !== null && TCP_STATE_NAMES[own.tcp.state] === "SYN_SENT";
  if (triesLeft > LAST_TRIES || !opens) return connections.isTaken(reply, own);
  const found = connections.find(reply, own.zone);
  if (found === null) return false;
  if (found.direction !== "reply") return true;
  const { connection } = found;
  if (!["TIME_WAIT", "CLOSE", "SYN_SENT2"].includes(TCP_STATE_NAMES[connection.tcp!.state]!)) return true;
  if (!connection.sourceNat) return true;
  const advanced = (own.tcp!.sides.original.end - connection.tcp!.sides.original.end) | 0;
  if (advanced <= 0) return true;
  connections.kill(connection);
  return false;
}

/** Where a port is drawn if the rule names no range; null: it stays. */
function freePorts(proto: number, side: Side, port: number): Range | null {
  if (proto === PROTO_ICMP) return { lo: 0, hi: 65535 };
  if (side === "destination") return null;
  if (port < 512) return { lo: 1, hi: 511 };
  return port < 1024 ? { lo: 600, hi: 1023 } : { lo: 1024, hi: 65535 };
}

function readdressed(tuple: Tuple, side: Side, { addresses, persistent }: NatRange, zone: number): Tuple {
  if (addresses === null) return tuple;
  const address = chooseAddress(tuple, addresses, persistent, zone);
  return side === "source" ? { ...tuple, src: address } : { ...tuple, dst: address };
}

/** By a hash, so that a client keeps its address (towards a destination, or `persistent` towards all). */
function chooseAddress({ src, dst }: Tuple, { lo, hi }: Range, persistent: boolean, zone: number): number {
  if (lo === hi) return lo;
  const hash = hashOfFour(inMemory(src), persistent ? 0 : (inMemory(dst) ^ zone) >>> 0);
  // of 2^32 addresses the kernel counts 0
  const size = (hi - lo + 1) % 2 ** 32;
  return lo + scaled(hash, size);
}

// Packets

/** The packet as its connection has it; null: it cannot be written, and is dropped (nf_nat_packet()). */
export function translate(packet: Packet, side: Side, { connection, direction }: Attached): Packet | null {
  if (!isChanged(connection, side, direction)) return packet;
  const target = inverse(tupleIn(connection, opposite(direction)))!;
  return isWritable(packet, side) ? rewrite(packet, endpointsOn(packet, side, target)) : null;
}

/**
 * An ICMP error about a translated packet: what it quotes is translated back, and so is the address that it bears;
 * null: it is dropped (nf_nat_icmp_reply_translation()).
 */
export function translateError(packet: Packet, side: Side, { connection, direction }: Attached): Packet | null {
  if (packet.badChecksum) return null;
  if (packet.icmpType === ICMP_REDIRECT) {
    if (!connection.sourceDone || !connection.destinationDone) return null;
    if (connection.sourceNat || connection.destinationNat) return null;
  }
  if (!isChanged(connection, side, direction)) return packet;
  const { inner } = packet;
  if (inner === null || !isWritable(inner, otherSide(side))) return null;
  const quoted = tupleIn(connection, opposite(direction));
  const target = inverse(quoted)!;
  return rewrite(packet, {
    ...(side === "source" ? { src: target.src } : { dst: target.dst }),
    inner: { ...endpointsOf(inner), ...endpointsOn(inner, otherSide(side), quoted) },
  });
}

function otherSide(side: Side): Side {
  return side === "source" ? "destination" : "source";
}

function isChanged(connection: Connection, side: Side, direction: Attached["direction"]): boolean {
  const forwards = direction === "original" ? side : otherSide(side);
  return forwards === "source" ? connection.sourceNat : connection.destinationNat;
}

function endpointsOn(packet: Packet, side: Side, target: Tuple): Partial<Endpoints> {
  const address = side === "source" ? { src: target.src } : { dst: target.dst };
  if (packet.proto === PROTO_ICMP) return hasId(packet) ? { ...address, icmpId: target.sport } : address;
  if (!PORT_PROTOCOLS.includes(packet.proto)) return address;
  return { ...address, ...(side === "source" ? { sport: target.sport } : { dport: target.dport }) };
}

function hasId({ icmpType }: Packet): boolean {
  return [0, 8, 13, 14, 15, 16, 17, 18].includes(icmpType);
}

/** Whether the kernel can write into the transport header (l4proto_manip_pkt() in net/netfilter/nf_nat_proto.c). */
function isWritable({ proto, payload }: Packet, side: Side): boolean {
  if (payload === null) return true;
  if (proto === PROTO_ICMP || PORT_PROTOCOLS.includes(proto)) return payload.length >= TRANSPORT_BYTES;
  if (proto !== PROTO_GRE) return true;
  const version = (payload[1] ?? 0) & GRE_VERSION_MASK;
  return payload.length >= GRE_SHOWN_BYTES && (side === "source" || version <= 1);
}
