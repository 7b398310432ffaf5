// A synthetic packet of a conversation, as the engine has made it (assembly/conversation.ts) -> the arrival that it stands for.
//
// It is written as a packet line and read back, so that it has what a packet on the wire would have; but what it carries is
// not told, as of all synthetic packets.

import type { InterfaceTable } from "../compile/interfaces.ts";
import type { Host } from "../host/host.ts";
import * as layout from "../layout.ts";
import { formatAddress } from "../net/address.ts";
import { parseArrival } from "../packet/line.ts";
import type { Arrival } from "../packet/packet.ts";

const ICMP = 1;

/** `packet` are the FIELD_COUNT words of its record, `detail` those of its detail record; `time` in seconds. */
export function readSpoken(
  packet: Uint32Array,
  detail: Uint32Array,
  time: number,
  number: number,
  host: Host,
  interfaces: InterfaceTable,
): Arrival {
  const icmp = packet[layout.FIELD_PROTO] === ICMP;
  const quotes = detail[layout.DETAIL_QUOTED] !== layout.QUOTED_NONE;
  const line = {
    id: number,
    in: interfaces.nameOf(packet[layout.FIELD_IN_IFACE]!) ?? "local",
    src: formatAddress(packet[layout.FIELD_SRC]!),
    dst: formatAddress(packet[layout.FIELD_DST]!),
    proto: packet[layout.FIELD_PROTO]!,
    ...(icmp
      ? {
          icmp_type: packet[layout.FIELD_ICMP]! >>> 8,
          icmp_code: packet[layout.FIELD_ICMP]! & 255,
          icmp_id: packet[layout.FIELD_SPORT]!,
        }
      : { sport: packet[layout.FIELD_SPORT]!, dport: packet[layout.FIELD_DPORT]! }),
    flags: packet[layout.FIELD_TCP_FLAGS]!,
    seq: detail[layout.DETAIL_SEQ]!,
    ack: detail[layout.DETAIL_ACK]!,
    window: detail[layout.DETAIL_WINDOW]!,
    ttl: packet[layout.FIELD_TTL]!,
    df: (packet[layout.FIELD_FACTS]! & layout.FACT_DF) !== 0,
    ip_id: 0,
    time,
    ...(quotes ? { inner: quotedBy(detail) } : { len: packet[layout.FIELD_LENGTH]! }),
  };
  const arrival = parseArrival(JSON.stringify(line), "synthetic", number + 1, host);
  return { ...arrival, frame: "host", srcMac: null, packet: { ...arrival.packet, payload: null } };
}

function quotedBy(detail: Uint32Array): object {
  const proto = detail[layout.DETAIL_QUOTED_PROTO]!;
  const [sport, dport] = [detail[layout.DETAIL_QUOTED_SPORT]!, detail[layout.DETAIL_QUOTED_DPORT]!];
  return {
    src: formatAddress(detail[layout.DETAIL_QUOTED_SRC]!),
    dst: formatAddress(detail[layout.DETAIL_QUOTED_DST]!),
    proto,
    ...(proto === ICMP ? { icmp_type: dport >>> 8, icmp_code: dport & 255, icmp_id: sport } : { sport, dport }),
  };
}
