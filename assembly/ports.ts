// What stands where ports would: proto_ports_offset() in include/net/ip.h.

import {
  FIELD_DPORT,
  FIELD_PROTO,
  FIELD_SPORT,
  FIELD_TRANSPORT,
  ORIGIN_PAYLOAD,
  ORIGIN_PAYLOAD_BYTES,
  TRANSPORT_OFFSET_1,
  UNMODELLED_PAYLOAD,
} from "../src/layout";
import { hasPorts } from "./conntrack";
import { unmodelled } from "./log";
import { origin } from "./origin";
import { AH, DCCP, ESP } from "./protocol";

/** What showPorts() has found: the source port in the upper half. */
export let shownPorts: u32 = 0;

/** Bytes behind the IP header; -1: the protocol has nothing like that. */
export function placeOfPorts(proto: u32): i32 {
  if (proto == AH) return 4;
  return proto == ESP || proto == DCCP || hasPorts(proto) ? 0 : -1;
}

/** Of a later fragment, too; the protocol has a place of them. False: it is cut off, or not known. */
export function showPorts(packet: usize): bool {
  const proto = load<u32>(packet, FIELD_PROTO * 4);
  const transport = load<u32>(packet, FIELD_TRANSPORT * 4);
  const first = transport < <u32>TRANSPORT_OFFSET_1;
  const at: usize = <usize>placeOfPorts(proto);
  if (first && transport < <u32>at + 4) return false;
  if (first && proto != ESP && proto != AH) {
    shownPorts = (load<u32>(packet, FIELD_SPORT * 4) << 16) | load<u32>(packet, FIELD_DPORT * 4);
    return true;
  }
  const payload = <usize>load<u32>(origin, ORIGIN_PAYLOAD);
  if (payload == 0) return unmodelled(UNMODELLED_PAYLOAD);
  if (load<u32>(origin, ORIGIN_PAYLOAD_BYTES) < <u32>at + 4) return false;
  shownPorts = bswap<u32>(load<u32>(payload + at));
  return true;
}
