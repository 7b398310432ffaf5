// Routing: ip_route_input_slow(), ip_route_output_key_hash_rcu() and fib_validate_source() in net/ipv4, over the look-up
// program that compile/routes.ts made of the host's tables.

import {
  CLAUSE_ARG,
  ERRNO_EACCES,
  ERRNO_EHOSTUNREACH,
  ERRNO_EINVAL,
  ERRNO_ENETUNREACH,
  FIELD_DST,
  FIELD_IN_IFACE,
  FIELD_MARK,
  FIELD_OUT_IFACE,
  FIELD_SRC,
  FIREWALL_ADDRESS_TYPES,
  FIREWALL_FLAGS,
  FIREWALL_IFACES,
  FIREWALL_LO,
  FIREWALL_MASQUERADE,
  FIREWALL_OWN,
  FIREWALL_OWNERS,
  FIREWALL_OWN_COUNT,
  FIREWALL_ROUTES,
  FIREWALL_ROUTES_BOUND,
  FIREWALL_ROUTE_RECORDS,
  FIREWALL_VALIDATE,
  IFACE_ACCEPT_LOCAL,
  IFACE_ADDRESS,
  IFACE_BYTES,
  IFACE_FLAGS,
  IFACE_MTU,
  IFACE_ROUTE_LOCALNET,
  IFACE_RP_FILTER,
  IFACE_SELECT_GLOBAL,
  IFACE_SELECT_HOST,
  IFACE_SELECT_LINK,
  IFACE_SEND_REDIRECTS,
  IFACE_SRC_VALID_MARK,
  IFACE_UP,
  NONE,
  ROUTE_BLACKHOLE,
  ROUTE_BROADCAST,
  ROUTE_BYTES,
  ROUTE_IFACE,
  ROUTE_LOCAL,
  ROUTE_MTU,
  ROUTE_MULTICAST,
  ROUTE_PROHIBIT,
  ROUTE_SRC,
  ROUTE_TYPE,
  ROUTE_UNICAST,
  ROUTE_UNREACHABLE,
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
/** The only group that is joined. */
export const ALL_HOSTS: u32 = 0xe0000001;

/** Interface record. */
export function ifaceOf(firewall: usize, iface: u32): usize {
  return <usize>load<u32>(firewall, FIREWALL_IFACES) + <usize>iface * IFACE_BYTES;
}

export function ifaceFlags(firewall: usize, iface: u32): u32 {
  return load<u32>(ifaceOf(firewall, iface), IFACE_FLAGS);
}

/** Route record for the flow. */
export function lookUp(firewall: usize, dst: u32, src: u32, inIface: u32, bound: u32, mark: u32): usize {
  store<u32>(FLOW, dst, FIELD_DST * 4);
  store<u32>(FLOW, src, FIELD_SRC * 4);
  store<u32>(FLOW, inIface, FIELD_IN_IFACE * 4);
  store<u32>(FLOW, bound, FIELD_OUT_IFACE * 4);
  store<u32>(FLOW, mark, FIELD_MARK * 4);
  const program = <usize>(
    (bound == 0 ? load<u32>(firewall, FIREWALL_ROUTES) : load<u32>(firewall, FIREWALL_ROUTES_BOUND))
  );
  const clause = run(program, FLOW);
  return <usize>load<u32>(firewall, FIREWALL_ROUTE_RECORDS) + load<u32>(clause, CLAUSE_ARG) * ROUTE_BYTES;
}

/** inet_select_addr() for a global scope towards the next hop; 0: no address. */
export function selectAddress(firewall: usize, outIface: u32, nextHop: u32): u32 {
  store<u32>(FLOW, nextHop, FIELD_DST * 4);
  store<u32>(FLOW, outIface, FIELD_OUT_IFACE * 4);
  return load<u32>(run(<usize>load<u32>(firewall, FIREWALL_MASQUERADE), FLOW), CLAUSE_ARG);
}

/** One of the host's own addresses. Four at a time: a host has few, and a search would guess wrong at each step. */
export function isOwn(firewall: usize, address: u32): bool {
  const own = <usize>load<u32>(firewall, FIREWALL_OWN);
  const end = own + ((<usize>load<u32>(firewall, FIREWALL_OWN_COUNT)) << 2);
  const wanted = i32x4.splat(address);
  for (let at = own; at < end; at += 16) {
    if (v128.any_true(i32x4.eq(v128.load(at), wanted))) return true;
  }
  return false;
}

/** Answers of validSource. */
export const SOURCE_REFUSED: u32 = 0;
export const SOURCE_VALID: u32 = 1;
/** ... and the way back is on the link of the in interface. */
export const SOURCE_ON_LINK: u32 = 2;

/** fib_validate_source(): the source may come in by this interface. `outIface`: where the packet will leave, or 0. */
export function validSource(firewall: usize, src: u32, dst: u32, inIface: u32, outIface: u32, mark: u32): u32 {
  const iface = ifaceOf(firewall, inIface);
  const flags = load<u32>(iface, IFACE_FLAGS);
  const filter = load<u32>(iface, IFACE_RP_FILTER);
  const acceptLocal = (flags & IFACE_ACCEPT_LOCAL) != 0;
  if (filter == 0 && (inIface != outIface || (flags & IFACE_SEND_REDIRECTS) == 0)) {
    if (acceptLocal) return SOURCE_VALID;
    if ((load<u32>(firewall, FIREWALL_FLAGS) & FIREWALL_VALIDATE) == 0) {
      return isOwn(firewall, src) ? SOURCE_REFUSED : SOURCE_VALID;
    }
  }
  const from = outIface == 0 ? load<u32>(firewall, FIREWALL_LO) : outIface;
  const counted = (flags & IFACE_SRC_VALID_MARK) != 0 ? mark : 0;
  const withoutWay = filter == 0 ? SOURCE_VALID : SOURCE_REFUSED;
  const back = lookUp(firewall, src, dst, from, 0, counted);
  const type = load<u32>(back, ROUTE_TYPE);
  if (!leads(type)) return withoutWay;
  if (type != ROUTE_UNICAST && (type != ROUTE_LOCAL || !acceptLocal)) return SOURCE_REFUSED;
  const isLo = inIface == load<u32>(firewall, FIREWALL_LO);
  if (load<u32>(back, ROUTE_IFACE) == inIface || (type == ROUTE_LOCAL && isLo)) return linkOf(back);
  if (load<u32>(iface, IFACE_ADDRESS) == NONE) return withoutWay;
  if (filter == 1) return SOURCE_REFUSED;
  const again = lookUp(firewall, src, dst, from, inIface, counted);
  return load<u32>(again, ROUTE_TYPE) == ROUTE_UNICAST ? linkOf(again) : SOURCE_VALID;
}

function linkOf(route: usize): u32 {
  return load<u32>(route, ROUTE_VIA) == NONE ? SOURCE_ON_LINK : SOURCE_VALID;
}

/** A packet can be sent by a route of this type. */
function leads(type: u32): bool {
  return type == ROUTE_UNICAST || type == ROUTE_LOCAL || type == ROUTE_BROADCAST || type == ROUTE_MULTICAST;
}

export function routesLocalnet(firewall: usize, iface: u32): bool {
  return (ifaceFlags(firewall, iface) & IFACE_ROUTE_LOCALNET) != 0;
}

// -- out

// the way that `output` found (struct rtable)
export let pathIface: u32 = 0;
/** Next hop; NONE: the destination is on the link. */
export let pathVia: u32 = NONE;
export let pathMtu: u32 = 0;
/** The source for who has none yet. */
export let pathSrc: u32 = 0;
/** Ends at the host itself. */
export let pathLocal = false;
/** To a broadcast or multicast address. */
export let pathGroup = false;

/**
 * ip_route_output_key_hash_rcu(); 0, or an ERRNO_. `src` 0: to be chosen; `anySource`: it need not be an address of the
 * host; `bound`: the interface of the socket, or 0.
 */
export function output(firewall: usize, src: u32, dst: u32, mark: u32, bound: u32, anySource: bool): i32 {
  const lo = load<u32>(firewall, FIREWALL_LO);
  if (src != 0) {
    if (isMulticast(src) || src == LIMITED_BROADCAST) return ERRNO_EINVAL;
    if (bound == 0 && (isMulticast(dst) || dst == LIMITED_BROADCAST)) {
      const owner = ownerOf(firewall, src);
      return owner == 0 ? ERRNO_ENETUNREACH : onLink(firewall, owner, src, dst);
    }
    if (!anySource && ownerOf(firewall, src) == 0) return ERRNO_ENETUNREACH;
  }
  const iface = ifaceOf(firewall, bound);
  if (bound != 0) {
    if ((load<u32>(iface, IFACE_FLAGS) & IFACE_UP) == 0) return ERRNO_ENETUNREACH;
    if (dst >> 8 == 0xe00000 || dst == LIMITED_BROADCAST) {
      return onLink(firewall, bound, src == 0 ? load<u32>(iface, IFACE_SELECT_LINK) : src, dst);
    }
    if (src == 0 && isMulticast(dst)) src = load<u32>(iface, IFACE_SELECT_GLOBAL);
    else if (src == 0 && dst == 0) src = load<u32>(iface, IFACE_SELECT_HOST);
  }
  if (dst == 0) {
    if (src == 0) src = 0x7f000001;
    return onLink(firewall, lo, src, src);
  }
  const route = lookUp(firewall, dst, src, lo, bound, mark);
  const type = load<u32>(route, ROUTE_TYPE);
  if (!leads(type)) {
    if (bound != 0) return onLink(firewall, bound, src == 0 ? load<u32>(iface, IFACE_SELECT_LINK) : src, dst);
    return type == ROUTE_UNREACHABLE
      ? ERRNO_EHOSTUNREACH
      : type == ROUTE_PROHIBIT
        ? ERRNO_EACCES
        : type == ROUTE_BLACKHOLE
          ? ERRNO_EINVAL
          : ERRNO_ENETUNREACH;
  }
  if (src == 0) {
    src = load<u32>(route, ROUTE_SRC);
    if (src == NONE) src = dst;
  }
  if (type == ROUTE_LOCAL) return onLink(firewall, lo, src, dst);
  const out = load<u32>(route, ROUTE_IFACE);
  const refused = onLink(firewall, out, src, dst);
  if (refused != 0) return refused;
  if (type == ROUTE_BROADCAST) pathGroup = true;
  if (!pathGroup) {
    pathVia = load<u32>(route, ROUTE_VIA);
    pathMtu = load<u32>(route, ROUTE_MTU);
  } else if (type == ROUTE_BROADCAST) {
    pathLocal = true;
  }
  return 0;
}

/** __mkroute_output() for a destination that the interface reaches by itself. */
function onLink(firewall: usize, iface: u32, src: u32, dst: u32): i32 {
  const lo = load<u32>(firewall, FIREWALL_LO);
  if (isLoopback(src) && iface != lo && !routesLocalnet(firewall, iface)) return ERRNO_EINVAL;
  pathIface = iface;
  pathVia = NONE;
  pathMtu = load<u32>(ifaceOf(firewall, iface), IFACE_MTU);
  pathSrc = src;
  pathGroup = dst == LIMITED_BROADCAST || isMulticast(dst);
  // of what goes to other groups the host is no member, on lo neither, nor of any by an interface that is down
  pathLocal = isMulticast(dst) ? dst == ALL_HOSTS && isUp(firewall, iface) : iface == lo || dst == LIMITED_BROADCAST;
  return 0;
}

export function isUp(firewall: usize, iface: u32): bool {
  return (load<u32>(ifaceOf(firewall, iface), IFACE_FLAGS) & IFACE_UP) != 0;
}

function ownerOf(firewall: usize, address: u32): u32 {
  store<u32>(FLOW, address, FIELD_DST * 4);
  return load<u32>(run(<usize>load<u32>(firewall, FIREWALL_OWNERS), FLOW), CLAUSE_ARG);
}

/** ROUTE_ type of the address as the local table has it. */
export function addressType(firewall: usize, address: u32): u32 {
  store<u32>(FLOW, address, FIELD_DST * 4);
  return load<u32>(run(<usize>load<u32>(firewall, FIREWALL_ADDRESS_TYPES), FLOW), CLAUSE_ARG);
}

/** The address for a reply that must come from where the packet went, if that can be a source at all; else 0. */
export function asSource(firewall: usize, address: u32): u32 {
  const type = addressType(firewall, address);
  return type == ROUTE_LOCAL || type == ROUTE_UNICAST ? address : 0;
}
