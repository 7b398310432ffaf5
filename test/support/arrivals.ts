// Packet lines -> arrivals, quickly: random tests read hundreds of thousands of them.
//
// Of the commonest packets no bytes are built; what packet/line.ts would read from them is written down at once. A test
// holds the two equal. All others take the long way.

import type { Host } from "../../src/host/host.ts";
import { parseHost } from "../../src/host/parse.ts";
import { parseAddress } from "../../src/net/address.ts";
import { parseArrival } from "../../src/packet/line.ts";
import type { Arrival } from "../../src/packet/packet.ts";
import type { HostJson } from "./arbitrary-host.ts";
import type { PacketJson } from "./arbitrary-packets.ts";
import { flagBits } from "./arbitrary-packets.ts";

const hosts = new WeakMap<HostJson, Host>();
const arrivals = new WeakMap<readonly PacketJson[], ReadWorld & { readonly exactly: boolean }>();

export interface ReadWorld {
  readonly host: Host;
  readonly arrivals: readonly Arrival[];
}

/** A host, and packets as they come to it; read once, however often they are asked for. `exactly` as below. */
export function readWorld(hostJson: HostJson, packets: readonly PacketJson[], exactly = false): ReadWorld {
  let host = hosts.get(hostJson);
  if (host === undefined) {
    host = parseHost(JSON.stringify(hostJson), "host.json");
    hosts.set(hostJson, host);
  }
  let read = arrivals.get(packets);
  if (read?.host !== host || read.exactly !== exactly) {
    read = { host, arrivals: readArrivals(packets, host, exactly), exactly };
    arrivals.set(packets, read);
  }
  return read;
}

/** In the order in which they come: each waits for the one before. `exactly` builds the bytes of all. */
export function readArrivals(packets: readonly PacketJson[], host: Host, exactly = false): Arrival[] {
  let time = 0;
  return packets.map((packet, index) => {
    const before = { packets: index, time };
    const arrival =
      (exactly ? null : quickly(packet, host, before)) ??
      parseArrival(JSON.stringify(packet), "packets.jsonl", index + 1, host, before);
    time = arrival.time;
    return arrival;
  });
}

/** Bytes of the packet by protocol, without IP options, with the payload that packet lines have by default. */
const LENGTHS: ReadonlyMap<string | number, number> = new Map<string | number, number>([
  ["tcp", 40],
  ["udp", 36],
  ["icmp", 36],
  [47, 28],
  [50, 28],
  [99, 28],
]);
const NUMBERS: ReadonlyMap<string | number, number> = new Map([
  ["tcp", 6],
  ["udp", 17],
  ["icmp", 1],
]);
const KEYS = new Set<keyof PacketJson>([
  ...(["id", "in", "src", "dst", "proto", "sport", "dport", "flags", "icmp_type", "icmp_code"] as const),
  ...(["ttl", "tos", "mark", "wait"] as const),
]);
/** Has a payload as long as that of other protocols. */
const GRE = 47;
const ICMP_WITH_ID = [0, 8, 13, 14, 15, 16, 17, 18];
const SYN = 2;
const ACK = 16;

/** One packet in so many is read exactly all the same: its bytes may matter. */
const EXACTLY = 16;

/** null: not one of the commonest. */
function quickly(packet: PacketJson, host: Host, before: { packets: number; time: number }): Arrival | null {
  const { proto } = packet;
  const length = LENGTHS.get(proto);
  if (length === undefined || Number(packet.id) % EXACTLY === 0) return null;
  for (const key in packet)
    if (!KEYS.has(key as keyof PacketJson) && !(proto === GRE && key === "payload_hex")) return null;

  const local = packet.in === "local";
  const src = packet.src === undefined ? 0 : parseAddress(packet.src)!;
  const dst = parseAddress(packet.dst)!;
  const hasPorts = proto === "tcp" || proto === "udp";
  const isTcp = proto === "tcp";
  const isIcmp = proto === "icmp";
  const tcpFlags = isTcp ? flagBits(packet.flags ?? "S") : 0;
  const icmpType = isIcmp ? (packet.icmp_type ?? 8) : 0;
  const hasId = isIcmp && ICMP_WITH_ID.includes(icmpType);
  return {
    id: packet.id,
    inIface: local ? null : packet.in,
    packet: {
      src,
      dst,
      proto: NUMBERS.get(proto) ?? (proto as number),
      sport: hasPorts ? (packet.sport ?? 1024) : 0,
      dport: hasPorts ? (packet.dport ?? 0) : 0,
      tcpFlags,
      icmpType,
      icmpCode: isIcmp ? (packet.icmp_code ?? 0) : 0,
      icmpId: hasId ? 1 : 0,
      icmpSeq: hasId ? 1 : 0,
      ttl: packet.ttl ?? 64,
      tos: packet.tos ?? 0,
      length,
      headerLength: 20,
      sourceRouted: false,
      ipId: before.packets + 1,
      df: false,
      moreFragments: false,
      fragmentOffset: 0,
      // the payload of an unknown protocol sums up to anything but right: REJECT does not answer it
      badChecksum: proto === 99,
      seq: isTcp ? ((tcpFlags & SYN) !== 0 ? 1000 : 1001) : 0,
      ack: (tcpFlags & ACK) !== 0 ? 1001 : 0,
      window: isTcp ? 65535 : 0,
      inner: null,
      payload: null,
    },
    chooseSource: local && src === 0,
    frame: local ? "host" : frameOf(packet.in, dst, host),
    srcMac: local ? null : 0x02ff_0000_0001,
    mark: packet.mark ?? 0,
    uid: 0,
    gid: 0,
    boundIface: null,
    time: before.time + (packet.wait ?? 0),
  };
}

function frameOf(name: string, dst: number, host: Host): Arrival["frame"] {
  const { addresses } = host.interfaces.find((iface) => iface.name === name)!;
  if (dst === 0xffff_ffff || addresses.some(({ broadcast }) => broadcast === dst)) return "broadcast";
  return dst >>> 28 === 14 ? "multicast" : "host";
}
