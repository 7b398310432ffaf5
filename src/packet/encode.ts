// A packet -> its bytes. Of IP options nothing but their length and source routing is known; padding stands for them.

import { checksum, u16, u32 } from "./bytes.ts";
import type { Packet } from "./packet.ts";

const OPTION_NOOP = 1;
/** A loose source route that has been followed to its end. */
const SOURCE_ROUTE = [131, 3, 4];

/** @param payload everything behind the IP header */
export function encode(packet: Packet, payload: Uint8Array): Uint8Array {
  const flags = (packet.df ? 0x4000 : 0) | (packet.moreFragments ? 0x2000 : 0) | packet.fragmentOffset;
  const options = optionBytes(packet);
  const header = Uint8Array.from([
    ...[0x40 | (packet.headerLength / 4), packet.tos, ...u16(packet.length), ...u16(packet.ipId), ...u16(flags)],
    ...[packet.ttl, packet.proto, 0, 0, ...u32(packet.src), ...u32(packet.dst), ...options],
  ]);
  header.set(u16(checksum(header)), 10);
  const bytes = new Uint8Array(header.length + payload.length);
  bytes.set(header);
  bytes.set(payload, header.length);
  return bytes;
}

export function optionBytes(packet: Packet): Uint8Array {
  const options = new Uint8Array(packet.headerLength - 20).fill(OPTION_NOOP);
  if (packet.sourceRouted) options.set(SOURCE_ROUTE);
  return options;
}
