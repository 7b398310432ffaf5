// A packet and how it comes to the host -> the shortest packet line that gives the same again.
//
// Every key that might be needed is written down, then each is left out if the line means the same without it. A packet
// that no keys give is written as `hex`. The IP id is left open, since no rule asks for it; so are IP options, but for
// their length and source routing.

import { formatAddress } from "../net/address.ts";
import type { Host } from "../host/host.ts";
import { toHex } from "./bytes.ts";
import { encode, optionBytes } from "./encode.ts";
import { parseArrival } from "./line.ts";
import type { Arrival, Packet } from "./packet.ts";
import { TCP_FLAGS } from "./packet.ts";
import { protocolName } from "./protocol.ts";

export type PacketLine = Readonly<Record<string, unknown>>;

/** A packet whose payload is not known (`payload` null) gets one of the right length. */
export function arrivalToLine(arrival: Arrival, host: Host): PacketLine {
  const { packet } = arrival;
  const keys = { ...placeKeys(arrival), ...packetKeys(packet) };
  const written = gives(keys, arrival, host) || packet.payload === null ? keys : hexKeys(arrival, packet.payload);
  let shortest: PacketLine = written;
  // from the end: a payload may be nothing but what the length asks for
  for (const key of Object.keys(written).reverse()) {
    const rest = Object.fromEntries(Object.entries(shortest).filter(([name]) => name !== key));
    if (gives(rest, arrival, host)) shortest = rest;
  }
  return shortest;
}

/** Whether the line means this arrival. */
function gives(line: PacketLine, arrival: Arrival, host: Host): boolean {
  try {
    const again = parseArrival(JSON.stringify(line), "", 1, host);
    const { ipId, payload } = arrival.packet;
    // synthetic packets have neither payload nor source MAC
    const known = payload === null ? { payload } : {};
    const srcMac = arrival.srcMac === null ? null : again.srcMac;
    return textOf({ ...again, srcMac, packet: { ...again.packet, ...known, ipId } }) === textOf(arrival);
  } catch {
    return false;
  }
}

/** The same for the same arrival, in whatever order its keys stand. */
function textOf(arrival: Arrival): string {
  return JSON.stringify(arrival, (_, value: unknown) => {
    if (value instanceof Uint8Array) return toHex(value);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)));
  });
}

function placeKeys(arrival: Arrival): PacketLine {
  const { id, inIface, time } = arrival;
  const told = arrival.ctState === undefined ? {} : { ct_state: arrival.ctState };
  if (inIface === null) {
    const { mark, uid, gid, boundIface } = arrival;
    return { id, in: "local", mark, uid, gid, ...(boundIface === null ? {} : { oif: boundIface }), time, ...told };
  }
  const frames = { broadcast: "ff:ff:ff:ff:ff:ff", multicast: "01:00:5e:00:00:01", otherhost: "02:ff:00:00:00:02" };
  const dstMac = arrival.frame === "host" ? {} : { dst_mac: frames[arrival.frame] };
  const srcMac = arrival.srcMac === null || inIface === "lo" ? {} : { src_mac: macText(arrival.srcMac) };
  return { id, in: inIface, ...srcMac, ...dstMac, time, ...told };
}

function macText(mac: number): string {
  return [40, 32, 24, 16, 8, 0]
    .map((shift) => (Math.floor(mac / 2 ** shift) % 256).toString(16).padStart(2, "0"))
    .join(":");
}

function packetKeys(packet: Packet): PacketLine {
  const { payload, inner } = packet;
  return {
    src: formatAddress(packet.src),
    dst: formatAddress(packet.dst),
    proto: protocolName(packet.proto),
    sport: packet.sport,
    dport: packet.dport,
    flags: flagLetters(packet.tcpFlags),
    ...(packet.proto === 6 ? { seq: packet.seq, ack: packet.ack, window: packet.window } : {}),
    icmp_type: packet.icmpType,
    icmp_code: packet.icmpCode,
    icmp_id: packet.icmpId,
    icmp_seq: packet.icmpSeq,
    ...(inner === null ? {} : { inner: packetKeys(inner) }),
    ttl: packet.ttl,
    tos: packet.tos,
    df: packet.df,
    bad_checksum: packet.badChecksum,
    ip_options_hex: toHex(optionBytes(packet)),
    len: packet.length,
    ...(payload === null ? {} : payloadKeys(packet, payload)),
  };
}

/** What stands behind the transport header, in hexadecimal digits. */
function payloadKeys({ proto, inner }: Packet, payload: Uint8Array): PacketLine {
  if (inner !== null) return {};
  const headers: Readonly<Record<number, number>> = { 1: 8, 6: ((payload[12] ?? 0) >>> 4) * 4, 17: 8 };
  const length = headers[proto] ?? 0;
  const options = proto === 6 ? { tcp_options_hex: toHex(payload.subarray(20, length)) } : {};
  return { ...options, payload_hex: toHex(payload.subarray(length)) };
}

function flagLetters(flags: number): string {
  const letters = { FIN: "F", SYN: "S", RST: "R", PSH: "P", ACK: "A", URG: "U", ECE: "E", CWR: "C" } as const;
  const names = Object.keys(TCP_FLAGS) as (keyof typeof TCP_FLAGS)[];
  const set = names.filter((name) => (flags & TCP_FLAGS[name]) !== 0).map((name) => letters[name]);
  return set.length === 0 ? "NONE" : set.join("");
}

function hexKeys(arrival: Arrival, payload: Uint8Array): PacketLine {
  return { ...placeKeys(arrival), hex: toHex(encode(arrival.packet, payload)) };
}
