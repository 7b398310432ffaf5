// Whether a rule holds for a packet: the header test first, then the matches from left to right, up to the first that
// does not.
//
// ip_packet_match() in net/ipv4/netfilter/ip_tables.c, and the match functions of net/netfilter/xt_*.c.

import type { Route } from "../host/host.ts";
import { contains } from "../net/range.ts";
import type { RuleRef } from "../classifier.ts";
import type { Arrival } from "../packet/packet.ts";
import { TCP_FLAGS } from "../packet/packet.ts";
import { mssAsked } from "../packet/tcp.ts";
import type {
  AddressTest,
  AddressType,
  AddrtypeMatch,
  Chain,
  EcnMatch,
  Header,
  InterfaceTest,
  Match,
  MultiportMatch,
  NegatableRange,
  OwnerMatch,
  RpfilterMatch,
  Rule,
  TableName,
  TtlMatch,
} from "../rules/ruleset.ts";
import { modelledMatch } from "../rules/modelled.ts";
import { meetsBpf, meetsString, meetsU32 } from "./bytes.ts";
import { meetsConnlimit } from "./connlimit.ts";
import { meetsCluster, meetsConnbytes, meetsConnmark, meetsConntrack, meetsState } from "./connmatch.ts";
import type { Tuple } from "../classifier.ts";
import type { Connection, Zone } from "./connection.ts";
import { isCompared, meetsBytes, meetsDccp, meetsSctp, meetsSpi, meetsTcpOption, shows } from "./payload.ts";
import type { MatchPlace, Memory } from "./memory.ts";
import { isMulticast } from "./routing.ts";
import type { Skb } from "./skb.ts";
import type { Flow } from "./tables.ts";
import { meetsTime } from "./time.ts";

/** What rules ask of the world around the packet. */
export interface World {
  /** Where an address leads that is asked for as if by the host; null: there is no route. */
  routeTo(flow: Omit<Flow, "iif" | "oif">): (Pick<Route, "type"> & { readonly out: string | null }) | null;
  readonly memory: Memory;
  readonly backend: "legacy" | "nft";
  /** As seen by one interface; null: by the host. */
  addressType(address: number, iface: string | null): AddressType;
  /** MTU of the route to an address that the host would take; null: there is none. */
  mtuTo(address: number): number | null;
  /** The connection to which this tuple belongs; null: none. */
  connection(tuple: Tuple, zone: Zone): Connection | null;
  /** Is told of every rule that is asked. */
  readonly watch?: Watch;
}

/** Sees how a packet goes through chains. What it is given changes afterwards: it must take what it wants to keep. */
export interface Watch {
  enters(table: TableName, chain: Chain, skb: Readonly<Skb>): void;
  /** @param at index of the match that did not hold, -1: the header did not; the number of matches: all hold */
  asks(ref: RuleRef, rule: Rule, skb: Readonly<Skb>, result: Holds, at: number): void;
  /** The end of a user chain was reached: the number is one more than that of its last rule. */
  falls(ref: RuleRef, skb: Readonly<Skb>): void;
  ends(ref: RuleRef, target: string, skb: Readonly<Skb>): void;
}

/** "drop": a match found the packet broken and drops it at once (hotdrop). */
export type Holds = boolean | "drop";

const TCP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const ICMP_HEADER_BYTES = 8;
const PORTS_BYTES = 4;

/** @param stopped is told at which match it ended, -1: at the header */
export function holds(rule: Rule, skb: Skb, world: World, stopped?: (at: number) => void): Holds {
  if (!meetsHeader(rule.header, skb)) {
    stopped?.(-1);
    return false;
  }
  for (const [index, match] of rule.matches.entries()) {
    const result = meets(match, { rule, index }, skb, world);
    if (result !== true) {
      stopped?.(index);
      return result;
    }
  }
  return true;
}

function meetsHeader(header: Header, { packet, inIface, outIface }: Skb): boolean {
  if (header.src !== null && !meetsAddress(header.src, packet.src)) return false;
  if (header.dst !== null && !meetsAddress(header.dst, packet.dst)) return false;
  if (header.inIface !== null && !meetsInterface(header.inIface, inIface)) return false;
  if (header.outIface !== null && !meetsInterface(header.outIface, outIface)) return false;
  if (header.proto !== null && (header.proto.proto === packet.proto) === header.proto.negated) return false;
  if (header.fragment !== null && packet.fragmentOffset > 0 === header.fragment.negated) return false;
  return true;
}

function meetsAddress(test: AddressTest, address: number): boolean {
  return ((address & test.mask) >>> 0 === test.address) !== test.negated;
}

/** Where there is no interface its name is empty. */
function meetsInterface(test: InterfaceTest, iface: string | null): boolean {
  const name = iface ?? "";
  return (test.wildcard ? name.startsWith(test.name) : name === test.name) !== test.negated;
}

function meets(given: Match, place: MatchPlace, skb: Skb, world: World): Holds {
  const { packet } = skb;
  const match = modelledMatch(given);
  switch (match.kind) {
    case "tcp": {
      if (world.backend === "nft" && isCompared(match)) return meetsBytes(match, packet);
      // a fragment that begins inside the header could overwrite what the first one showed
      if (packet.fragmentOffset === 1) return "drop";
      const shown = shows(packet, TCP_HEADER_BYTES);
      if (shown !== true) return shown;
      if (!meetsPort(match.sport, packet.sport) || !meetsPort(match.dport, packet.dport)) return false;
      const { flags, option } = match;
      if (flags !== null && ((packet.tcpFlags & flags.mask) === flags.comp) === flags.negated) return false;
      return option === null || meetsTcpOption(option, packet);
    }
    case "udp": {
      if (world.backend === "nft" && isCompared(match)) return meetsBytes(match, packet);
      const shown = shows(packet, UDP_HEADER_BYTES);
      if (shown !== true) return shown;
      return meetsPort(match.sport, packet.sport) && meetsPort(match.dport, packet.dport);
    }
    case "icmp": {
      const shown = shows(packet, ICMP_HEADER_BYTES);
      if (shown !== true) return shown;
      const same = match.type === 255 || (match.type === packet.icmpType && contains(match.code, packet.icmpCode));
      return same !== match.negated;
    }
    case "multiport": {
      const shown = shows(packet, PORTS_BYTES);
      if (shown !== true) return shown;
      return meetsPorts(match, packet.sport, packet.dport);
    }
    case "conntrack":
      return meetsConntrack(match, skb, world.memory.seconds);
    case "state":
      return meetsState(match, skb);
    case "addrtype":
      return meetsAddressTypes(match, skb, world);
    case "mark":
      return ((skb.mark & match.mask) >>> 0 === match.value) !== match.negated;
    case "iprange":
      return meetsRange(match.src, packet.src) && meetsRange(match.dst, packet.dst);
    case "limit":
      return world.backend === "nft" ? world.memory.nftLimit(place, match) : world.memory.limit(place, match);
    case "statistic":
      return world.memory.statistic(place, match);
    case "comment":
      return true;
    case "length":
      return meetsRange(match, packet.length);
    case "ttl":
      return meetsTtl(match, packet.ttl);
    case "tos":
      return ((packet.tos & match.mask) === match.value) !== match.negated;
    case "dscp":
      return (packet.tos >>> 2 === match.dscp) !== match.negated;
    case "ecn":
      return meetsEcn(match, skb);
    case "tcpmss": {
      const mss = mssAsked(packet);
      if (mss === "broken") return "drop";
      return (mss !== null && contains(match, mss)) !== match.negated;
    }
    case "pkttype":
      return (FRAMES[match.type] === frameOf(skb)) !== match.negated;
    case "mac":
      // only Ethernet has it, and lo is none
      if (skb.srcMac == null || skb.inIface === null || skb.inIface === "lo") return false;
      return (skb.srcMac === match.mac) !== match.negated;
    case "owner":
      return meetsOwner(match, skb);
    case "recent": {
      const address = match.side === "src" ? packet.src : packet.dst;
      // as it was before forwarding
      const ttl = packet.ttl + (skb.outIface !== null && skb.socket == null ? 1 : 0);
      return world.memory.history.recent(match, address, ttl);
    }
    case "quota":
      return world.memory.history.quota(place, match, packet.length);
    case "rpfilter":
      return hasWayBack(match, skb, world) !== match.invert;
    case "time":
      return meetsTime(match, world.memory.seconds);
    case "string":
      return meetsString(match, skb);
    case "u32":
      return meetsU32(match, skb);
    case "bpf":
      return meetsBpf(match, skb);
    case "hashlimit":
      return world.memory.hashTables.meets(match, packet);
    case "physdev":
      // no packet here comes or goes by a port of a bridge
      return [match.isBridged, match.isIn, match.isOut, match.in, match.out].every((test) => test?.negated ?? true);
    case "realm":
      // no route of a host here has a realm
      return (match.value === 0) !== match.negated;
    case "devgroup":
      // all interfaces of a host here are in group 0
      return [match.src, match.dst].every((test) => test === null || ((test.value & test.mask) === 0) !== test.negated);
    case "set":
      return world.memory.sets.meets(match, skb);
    case "assumed":
      return match.holds;
    case "connmark":
      return meetsConnmark(match, skb);
    case "cluster":
      return meetsCluster(match, skb);
    case "connbytes":
      return meetsConnbytes(match, skb);
    case "connlimit":
      return meetsConnlimit(match, place, skb, world);
    case "esp":
    case "ah":
    case "ipcomp":
      return meetsSpi(match, packet);
    case "sctp":
      return meetsSctp(match, packet);
    case "dccp":
      return meetsDccp(match, packet);
    case "policy":
      // no packet here has come or goes by IPsec
      return match.none;
    case "socket":
      // no process here has one open
      return false;
  }
}

/** rpfilter_mt() in net/ipv4/netfilter/ipt_rpfilter.c. */
function hasWayBack({ loose, validMark, acceptLocal }: RpfilterMatch, skb: Skb, world: World): boolean {
  const { src, dst } = skb.packet;
  if (skb.frame === "loopback" || skb.inIface === "lo") return true;
  if (src === 0 && (dst === 0xffffffff || dst >>> 8 === 0xe00000)) return true;
  const from = isMulticast(dst) || dst === 0xffffffff ? 0 : dst;
  const route = world.routeTo({ dst: src, src: from, mark: validMark ? skb.mark : 0 });
  if (route?.type !== "unicast" && (route?.type !== "local" || !acceptLocal)) return false;
  return loose || route.out === skb.inIface;
}

function meetsPort(range: NegatableRange | null, port: number): boolean {
  return range === null || contains(range, port) !== range.negated;
}

function meetsRange(range: NegatableRange | null, value: number): boolean {
  return range === null || contains(range, value) !== range.negated;
}

function meetsTtl({ op, ttl, negated }: TtlMatch, value: number): boolean {
  switch (op) {
    case "eq":
      return (value === ttl) !== negated;
    case "lt":
      return value < ttl;
    case "gt":
      return value > ttl;
  }
}

/** ecn_mt4() in net/netfilter/xt_ecn.c. */
function meetsEcn({ ece, cwr, ect }: EcnMatch, skb: Skb): boolean {
  const { tcpFlags, tos } = skb.packet;
  if (ect !== null && ((tos & 3) === ect.ect) === ect.negated) return false;
  if (ece === null && cwr === null) return true;
  if (shows(skb.packet, TCP_HEADER_BYTES) !== true) return false;
  const meets = (test: EcnMatch["ece"], bit: number): boolean =>
    test === null || ((tcpFlags & bit) !== 0) !== test.negated;
  return meets(ece, TCP_FLAGS.ECE) && meets(cwr, TCP_FLAGS.CWR);
}

/** A copy of what the host has sent counts as what it was sent to. */
function frameOf({ frame = "host", packet }: Skb): Arrival["frame"] {
  if (frame !== "loopback") return frame;
  return packet.dst >>> 28 === 14 ? "multicast" : "broadcast";
}

const FRAMES = { unicast: "host", broadcast: "broadcast", multicast: "multicast", otherhost: "otherhost" } as const;

/** owner_mt() in net/netfilter/xt_owner.c. */
function meetsOwner({ socketExists, uid, gid }: OwnerMatch, { socket }: Skb): boolean {
  const asked = [socketExists, uid, gid].filter((test) => test !== null);
  if (socket == null) return asked.every(({ negated }) => negated);
  if (socketExists?.negated === true) return false;
  // a socket of the kernel has no file, and so no owner
  if (socket === "kernel") return [uid, gid].every((test) => test === null || test.negated);
  return meetsRange(uid, socket.uid) && meetsRange(gid, socket.gid);
}

function meetsPorts(match: MultiportMatch, sport: number, dport: number): boolean {
  const among = (port: number): boolean => match.ports.some((range) => contains(range, port));
  switch (match.which) {
    case "sports":
      return among(sport) !== match.negated;
    case "dports":
      return among(dport) !== match.negated;
    case "ports":
      return (among(sport) || among(dport)) !== match.negated;
  }
}

/** addrtype_mt_v1() in net/netfilter/xt_addrtype.c. */
function meetsAddressTypes(match: AddrtypeMatch, skb: Skb, world: World): boolean {
  const iface = match.limitIface === "in" ? skb.inIface : match.limitIface === "out" ? skb.outIface : null;
  const meetsSide = (side: AddrtypeMatch["srcTypes"], address: number): boolean =>
    side === null || side.types.includes(world.addressType(address, iface)) !== side.negated;
  return meetsSide(match.srcTypes, skb.packet.src) && meetsSide(match.dstTypes, skb.packet.dst);
}
