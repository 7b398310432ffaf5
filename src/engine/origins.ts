// Arrivals -> origin records, and what targets have changed of them.

import * as layout from "../layout.ts";
import { checksumError } from "../packet/decode.ts";
import type { Arrival, Packet } from "../packet/packet.ts";
import type { Header } from "../packet/rewrite.ts";
import { clamped, mssAsked, mssOf, mssPlaceOf } from "../packet/tcp.ts";

const TCP = 6;

/** Writes one record, ORIGIN_BYTES / 4 words. `payload`: where the packet's lies in the engine's memory; 0: nowhere. */
export function writeOrigin(words: Uint32Array, arrival: Arrival, payload: number): void {
  const { packet, srcMac, inIface, uid, gid } = arrival;
  const local = inIface === null;
  const put = (offset: number, value: number): void => {
    words[offset / 4] = value;
  };
  put(
    layout.ORIGIN_FLAGS,
    (srcMac === null ? 0 : layout.ORIGIN_HAS_MAC) | (local ? layout.ORIGIN_HAS_SOCKET | layout.ORIGIN_HAS_OWNER : 0),
  );
  put(layout.ORIGIN_MAC_HIGH, Math.floor((srcMac ?? 0) / 2 ** 32));
  put(layout.ORIGIN_MAC_LOW, (srcMac ?? 0) % 2 ** 32);
  put(layout.ORIGIN_UID, uid);
  put(layout.ORIGIN_GID, gid);
  put(layout.ORIGIN_TCP_FLAGS, 0);
  writeOptions(words, packet, payload);
}

/** What its record says of the packet's TCP header and payload. */
export function writeOptions(words: Uint32Array, packet: Packet, payload: number): void {
  const put = (offset: number, value: number): void => {
    words[offset / 4] = value;
  };
  const isOdd = (mssPlaceOf(packet) ?? 0) % 2 === 1;
  const others = words[layout.ORIGIN_FLAGS / 4]! & ~layout.ORIGIN_ODD_OPTION;
  put(layout.ORIGIN_FLAGS, others | (isOdd ? layout.ORIGIN_ODD_OPTION : 0));
  const asked = packet.proto === TCP ? mssAsked(packet) : null;
  const broken = packet.proto === TCP && clamped(packet, 0xffff) === "drop";
  put(layout.ORIGIN_MSS, asked === "broken" ? layout.MSS_BROKEN : wordOf(asked));
  put(layout.ORIGIN_OPTION, broken ? layout.MSS_BROKEN : wordOf(mssOf(packet)));
  const added = packet.proto === TCP && mssOf(packet) === null ? clamped(packet, 0) : packet;
  put(layout.ORIGIN_ROOM, Number(added !== packet && added !== "drop"));
  put(layout.ORIGIN_PAYLOAD, payload);
  put(layout.ORIGIN_PAYLOAD_BYTES, packet.payload?.length ?? 0);
  put(layout.ORIGIN_SUM, packet.proto === TCP ? checksumError(packet) : 0);
}

function wordOf(mss: number | null): number {
  return mss === null ? 0 : layout.MSS_KNOWN | mss;
}

/** What targets have changed, and the decision record does not tell. */
export function changedBy(words: Uint32Array, packet: Packet): Pick<Header, "mss" | "tcpFlags"> {
  const flags = words[layout.ORIGIN_TCP_FLAGS / 4]!;
  const tcpFlags = flags & 0xff;
  return {
    ...(flags === 0 || tcpFlags === packet.tcpFlags ? {} : { tcpFlags }),
    ...mssChanged(words[layout.ORIGIN_OPTION / 4]!, packet),
  };
}

/** `option`: ORIGIN_OPTION, of what has become of the packet. */
export function mssChanged(option: number, packet: Packet): Pick<Header, "mss"> {
  const mss = option & 0xffff;
  return (option & layout.MSS_KNOWN) === 0 || mss === mssOf(packet) ? {} : { mss };
}
