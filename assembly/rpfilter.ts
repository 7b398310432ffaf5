// -m rpfilter: rpfilter_mt() in net/ipv4/netfilter/ipt_rpfilter.c.

import {
  FIELD_DST,
  FIELD_IN_IFACE,
  FIELD_MARK,
  FIELD_SRC,
  FIREWALL_LO,
  ROUTE_IFACE,
  ROUTE_LOCAL,
  ROUTE_TYPE,
  ROUTE_UNICAST,
  RPFILTER_ACCEPT_LOCAL,
  RPFILTER_LOOSE,
  RPFILTER_VALID_MARK,
} from "../src/layout";
import { resume, suspend } from "./look-up";
import { is, IS_ORPHAN } from "./packet";
import { isMulticast, LIMITED_BROADCAST, lookUp } from "./route";
import { firewall } from "./way";

/** @param flags RPFILTER_ bits */
export function hasWayBack(packet: usize, flags: u32): bool {
  const iface = load<u32>(packet, FIELD_IN_IFACE * 4);
  const lo = load<u32>(firewall, FIREWALL_LO);
  // a copy of what the host has sent to a group counts as what lo brings
  if (iface == lo || is(IS_ORPHAN)) return true;
  const src = load<u32>(packet, FIELD_SRC * 4);
  const dst = load<u32>(packet, FIELD_DST * 4);
  if (src == 0 && (dst == LIMITED_BROADCAST || dst >> 8 == 0xe00000)) return true;
  const to = isMulticast(dst) || dst == LIMITED_BROADCAST ? 0 : dst;
  const mark = (flags & RPFILTER_VALID_MARK) != 0 ? load<u32>(packet, FIELD_MARK * 4) : 0;
  suspend();
  const route = lookUp(firewall, src, to, lo, 0, mark);
  resume();
  const type = load<u32>(route, ROUTE_TYPE);
  if (type != ROUTE_UNICAST && (type != ROUTE_LOCAL || (flags & RPFILTER_ACCEPT_LOCAL) == 0)) return false;
  return (flags & RPFILTER_LOOSE) != 0 || load<u32>(route, ROUTE_IFACE) == iface;
}
