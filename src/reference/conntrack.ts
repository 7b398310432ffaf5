// Which connection a packet belongs to, and what it makes of it.
//
// Follows nf_conntrack_in() in net/netfilter/nf_conntrack_core.c and the nf_conntrack_proto_*.c beside it.

import type { Host } from "../host/host.ts";
import type { Timeouts } from "../host/timeouts.ts";
import { PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE } from "../net/protocol.ts";
import { u16At } from "../packet/bytes.ts";
import { hasBadCoverage, ICMP_ERRORS } from "../packet/decode.ts";
import type { Packet } from "../packet/packet.ts";
import { rulesOf } from "../rules/ruleset.ts";
import { nameOfMatch } from "../rules/names.ts";
import type { Match, Ruleset, Target } from "../rules/ruleset.ts";
import type { Connection, Connections, Direction, Zone } from "./connection.ts";
import type { Attached } from "./skb.ts";
import { followSctp } from "./sctp.ts";
import { beginTcp, followTcp, hasValidFlags } from "./tcp.ts";
import { inverse, PROTO_GRE, tupleOf } from "./tuple.ts";

const PROTO_ICMPV6 = 58;
/** Echo, timestamp, information and address mask requests. */
const ICMP_REQUESTS: readonly number[] = [8, 13, 15, 17];
/** Higher ones nobody knows. */
const LAST_ICMP_TYPE = 18;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
/** Packets that are let through without being followed do not count there. */
const OWN_ACCOUNTS: readonly number[] = [PROTO_TCP, PROTO_SCTP];
/** An exchange of datagrams that lasts so long is a stream. */
const STREAM_SECONDS = 2;

const TRACKING_TARGETS = [
  "DNAT",
  "SNAT",
  "MASQUERADE",
  "REDIRECT",
  "NETMAP",
  "CT",
  "NOTRACK",
  "CONNMARK",
  "CONNSECMARK",
];

/** Connections are tracked if the host has it on, or any rule of any table needs it. */
export function tracks(ruleset: Ruleset, host: Host): boolean {
  return (
    host.conntrack || rulesOf(ruleset).some(({ matches, target }) => matches.some(matchTracks) || targetTracks(target))
  );
}

const TRACKING_MATCHES = ["conntrack", "state", "connmark", "connbytes", "connlimit", "cluster", "connlabel", "helper"];

/** Whatever is assumed of it. */
function matchTracks(match: Match): boolean {
  return TRACKING_MATCHES.includes(nameOfMatch(match));
}

function targetTracks(target: Target | null): boolean {
  return target !== null && TRACKING_TARGETS.includes(target.kind);
}

/** Fragments are put together in front of all rules: where connections are tracked, and where sockets are looked for. */
export function defragments(ruleset: Ruleset, host: Host): boolean {
  const asks = rulesOf(ruleset).some(
    ({ matches, target }) => target?.kind === "TPROXY" || matches.some(({ kind }) => kind === "socket"),
  );
  return asks || tracks(ruleset, host);
}

/** Where packets are looked up, and how long connections live. */
export interface Tracker {
  readonly connections: Connections;
  readonly host: Host;
}

/**
 * null: it belongs to none, and is INVALID. "unknown": the protocol is tracked in a way that is not modelled. `incoming`:
 * it comes by an interface (checksums are tested there alone).
 */
export function track(packet: Packet, incoming: boolean, zone: Zone, tracker: Tracker): Attached | null | "unknown" {
  const { host } = tracker;
  const checked = incoming && host.conntrackChecksum;
  if (packet.fragmentOffset > 0) return null;
  if (packet.proto === PROTO_ICMP) {
    if (shownBytes(packet) < 8 || (checked && packet.badChecksum) || packet.icmpType > LAST_ICMP_TYPE) return null;
    if (ICMP_ERRORS.includes(packet.icmpType)) return relatedTo(packet, zone, tracker.connections);
  }
  if (isUnknown(packet)) return "unknown";
  const tuple = tupleOf(packet);
  if (tuple === null) return null;
  for (;;) {
    const found = tracker.connections.find(tuple, zone);
    let attached: Attached;
    if (found === null) {
      const reply = inverse(tuple);
      if (reply === null) return null;
      const connection = tracker.connections.make(tuple, reply, zone);
      attached = { connection, direction: "original", state: "NEW" };
    } else {
      const { connection, direction } = found;
      const answered = direction === "reply" || connection.seenReply;
      attached = { connection, direction, state: answered ? "ESTABLISHED" : "NEW" };
    }
    const verdict = follow(packet, checked, attached, tracker);
    if (verdict === "again") continue;
    if (verdict === "invalid") return null;
    const { connection, direction } = attached;
    if (!OWN_ACCOUNTS.includes(packet.proto)) tracker.connections.account(connection, direction, packet);
    if (attached.state === "ESTABLISHED" && direction === "reply" && !connection.seenReply) {
      connection.seenReply = true;
      connection.news.add("reply");
    }
    return attached;
  }
}

function shownBytes({ length, headerLength }: Packet): number {
  return length - headerLength;
}

/** nf_conntrack_inet_error(): an error belongs to the connection of what it quotes, if it goes back where that came from. */
function relatedTo(packet: Packet, zone: Zone, connections: Connections): Attached | null {
  const { inner } = packet;
  if (inner === null) return null;
  const quoted = tupleOf(inner, inner.payload === null ? shownBytes(inner) : inner.payload.length);
  const tuple = quoted === null ? null : inverse(quoted);
  const found = tuple === null ? null : connections.find(tuple, zone);
  if (found === null || tuple === null || packet.dst !== tuple.dst) return null;
  return { ...found, state: "RELATED" };
}

/** Its protocol is one of those that look into the payload, and that is not known. */
function isUnknown(packet: Packet): boolean {
  if (packet.proto === PROTO_ICMPV6) return true;
  if (packet.proto === PROTO_SCTP) return packet.payload === null && shownBytes(packet) >= 12;
  return packet.proto === PROTO_UDPLITE && packet.payload === null;
}

/** nf_conntrack_handle_packet(). */
function follow(
  packet: Packet,
  checked: boolean,
  { connection, direction }: Attached,
  { connections, host }: Tracker,
): "valid" | "invalid" | "again" {
  const { timeouts } = host;
  switch (packet.proto) {
    case PROTO_TCP:
      if (!isWholeSegment(packet) || (checked && packet.badChecksum) || !hasValidFlags(packet.tcpFlags))
        return "invalid";
      if (!connection.confirmed && !beginTcp(connection, packet, host.tcpLoose)) return "invalid";
      return followTcp(connection, packet, direction, connections, timeouts);
    case PROTO_UDP:
      if (!isWholeDatagram(packet) || (checked && packet.badChecksum)) return "invalid";
      followUdp(connection, connections, timeouts);
      return "valid";
    case PROTO_UDPLITE:
      if (!isWholeLite(packet) || (checked && hasBadCoverage(packet))) return "invalid";
      followStream(connection, connections, timeouts.udp, timeouts.udpStream);
      return "valid";
    case PROTO_ICMP:
      if (!ICMP_REQUESTS.includes(connection.original.dport >>> 8)) return "invalid";
      connections.refresh(connection, timeouts.icmp);
      return "valid";
    case PROTO_GRE:
      followStream(connection, connections, timeouts.gre, timeouts.greStream);
      return "valid";
    case PROTO_SCTP:
      return followSctp(connection, packet, direction, checked, connections, timeouts);
    default:
      connections.refresh(connection, timeouts.generic);
      return "valid";
  }
}

/** The TCP header says no more than there is. */
function isWholeSegment(packet: Packet): boolean {
  const { payload } = packet;
  if (shownBytes(packet) < TCP_BYTES) return false;
  if (payload === null) return true;
  const headerLength = (payload[12]! >>> 4) * 4;
  return headerLength >= TCP_BYTES && headerLength <= shownBytes(packet);
}

/** The length in the UDP header is possible. */
function isWholeDatagram(packet: Packet): boolean {
  const { payload } = packet;
  if (shownBytes(packet) < UDP_BYTES) return false;
  if (payload === null) return true;
  const length = u16At(payload, 4);
  return length >= UDP_BYTES && length <= shownBytes(packet);
}

/** udplite_error(): what is covered must be there, and a checksum too. */
function isWholeLite(packet: Packet): boolean {
  const { payload } = packet;
  if (shownBytes(packet) < UDP_BYTES || payload === null) return false;
  const covered = u16At(payload, 4) === 0 ? shownBytes(packet) : u16At(payload, 4);
  return covered >= UDP_BYTES && covered <= shownBytes(packet) && u16At(payload, 6) !== 0;
}

/** nf_conntrack_udp_packet(). */
function followUdp(connection: Connection, connections: Connections, { udp, udpStream }: Timeouts): void {
  if (!connection.confirmed) connection.streamAt = connections.now + STREAM_SECONDS;
  const isStream = connection.seenReply && connections.now > connection.streamAt;
  connections.refresh(connection, isStream ? udpStream : udp);
  if (isStream) assure(connection);
}

/** An answer makes it a stream. */
function followStream(connection: Connection, connections: Connections, once: number, stream: number): void {
  connections.refresh(connection, connection.seenReply ? stream : once);
  if (connection.seenReply) assure(connection);
}

function assure(connection: Connection): void {
  if (connection.assured) return;
  connection.assured = true;
  connection.news.add("assured");
}

/** What the host answers to a packet belongs to the packet's connection (nf_conntrack_attach()). */
export function attachAnswer({ connection, direction }: Attached): Attached {
  const other: Direction = direction === "original" ? "reply" : "original";
  return { connection, direction: other, state: "RELATED" };
}
