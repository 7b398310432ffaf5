// Routing: ip_route_input_slow(), ip_route_output_key_hash_rcu() and fib_validate_source() in net/ipv4, over the look-up
// program that compile/routes.ts made of the host's tables.

import {
  CLAUSE_ARG,
  FIELD_DST,
  FIELD_IN_IFACE,
  FIELD_MARK,
  FIELD_OUT_IFACE,
  FIELD_SRC,
  FIREWALL_FLAGS,
  FIREWALL_IFACES,
  FIREWALL_LO,
  FIREWALL_MASQUERADE,
  FIREWALL_OWN,
  FIREWALL_OWN_COUNT,
  FIREWALL_ROUTE_RECORDS,
  FIREWALL_ROUTES,
  FIREWALL_ROUTES_BOUND,
  FIREWALL_VALIDATE,
  IFACE_ACCEPT_LOCAL,
  IFACE_ADDRESS,
  IFACE_BYTES,
  IFACE_FLAGS,
  IFACE_ROUTE_LOCALNET,
  IFACE_RP_FILTER,
  IFACE_SEND_REDIRECTS,
  IFACE_SRC_VALID_MARK,
  NONE,
  ROUTE_BYTES,
  ROUTE_IFACE,
  ROUTE_LOCAL,
  ROUTE_SCOPE,
  ROUTE_TYPE,
  ROUTE_UNICAST,
  ROUTE_VIA,
} from "../src/layout";
import { run } from "./look-up";

/** What is looked up, as a packet record: dst, src, inIface (lo for the host's own), outIface (a bound socket), mark. */
const FLOW = memory.data(64, 16);

export function isMulticast(address: u32): bool {
  return address >> 28 == 14;
}

export function isLoopback(address: u32): bool {
  return address >> 24 == 127;
}

export const LIMITED_BROADCAST: u32 = 0xffffffff;

export function ifaceFlags(firewall: usize, iface: u32): u32 {
  return load<u32>(<usize>load<u32>(firewall, FIREWALL_IFACES) + iface * IFACE_BYTES, IFACE_FLAGS);
}

/** Route record for the flow. */
export function lookUp(firewall: usize, dst: u32, src: u32, inIface: u32, bound: u32, mark: u32): usize {
  store<u32>(FLOW, dst, FIELD_DST * 4);
  store<u32>(FLOW, src, FIELD_SRC * 4);
  store<u32>(FLOW, inIface, FIELD_IN_IFACE * 4);
  store<u32>(FLOW, bound, FIELD_OUT_IFACE * 4);
  store<u32>(FLOW, mark, FIELD_MARK * 4);
  const program = <usize>(bound == 0 ? load<u32>(firewall, FIREWALL_ROUTES) : load<u32>(firewall, FIREWALL_ROUTES_BOUND));
  const clause = run(program, FLOW);
  return <usize>load<u32>(firewall, FIREWALL_ROUTE_RECORDS) + load<u32>(clause, CLAUSE_ARG) * ROUTE_BYTES;
}

/** inet_select_addr() for a global scope towards the next hop; 0: no address. */
export function selectAddress(firewall: usize, outIface: u32, nextHop: u32): u32 {
  store<u32>(FLOW, nextHop, FIELD_DST * 4);
  store<u32>(FLOW, outIface, FIELD_OUT_IFACE * 4);
  return load<u32>(run(<usize>load<u32>(firewall, FIREWALL_MASQUERADE), FLOW), CLAUSE_ARG);
}

export function nextHop(route: usize, dst: u32): u32 {
  const via = load<u32>(route, ROUTE_VIA);
  return via == NONE ? dst : via;
}

/** One of the host's own addresses. */
export function isOwn(firewall: usize, address: u32): bool {
  const own = <usize>load<u32>(firewall, FIREWALL_OWN);
  let lo: u32 = 0;
  let hi = load<u32>(firewall, FIREWALL_OWN_COUNT);
  while (lo < hi) {
    const middle = (lo + hi) >> 1;
    const value = load<u32>(own + (middle << 2));
    if (value == address) return true;
    if (value < address) lo = middle + 1;
    else hi = middle;
  }
  return false;
}

/** fib_validate_source(): the source may come in by this interface. `outIface`: where the packet will leave, or 0. */
export function validSource(firewall: usize, src: u32, dst: u32, inIface: u32, outIface: u32, mark: u32): bool {
  const iface = <usize>load<u32>(firewall, FIREWALL_IFACES) + inIface * IFACE_BYTES;
  const flags = load<u32>(iface, IFACE_FLAGS);
  const filter = load<u32>(iface, IFACE_RP_FILTER);
  const acceptLocal = (flags & IFACE_ACCEPT_LOCAL) != 0;
  if (filter == 0 && (inIface != outIface || (flags & IFACE_SEND_REDIRECTS) == 0)) {
    if (acceptLocal) return true;
    if ((load<u32>(firewall, FIREWALL_FLAGS) & FIREWALL_VALIDATE) == 0) return !isOwn(firewall, src);
  }
  const lo = load<u32>(firewall, FIREWALL_LO);
  const back = lookUp(firewall, src, dst, outIface == 0 ? lo : outIface, 0, (flags & IFACE_SRC_VALID_MARK) != 0 ? mark : 0);
  const type = load<u32>(back, ROUTE_TYPE);
  if (type == ROUTE_UNICAST || type == ROUTE_LOCAL || type == 3 || type == 5) {
    if (type != ROUTE_UNICAST && (type != ROUTE_LOCAL || !acceptLocal)) return false;
    if (load<u32>(back, ROUTE_IFACE) == inIface) return true;
    if (load<u32>(iface, IFACE_ADDRESS) == NONE) return filter == 0;
    return filter != 1;
  }
  return filter == 0;
}

/** The scope of the route's next hop is the host itself. */
export function isHostScope(route: usize): bool {
  return load<u32>(route, ROUTE_SCOPE) >= 254;
}

export function routesLocalnet(firewall: usize, iface: u32): bool {
  return (ifaceFlags(firewall, iface) & IFACE_ROUTE_LOCALNET) != 0;
}
