// A seed -> a host as HOST.json tells it, and the addresses worth sending packets from and to.

import { formatAddress } from "../../src/net/address.ts";
import type { Draw } from "./draw.ts";

/** What host/parse.ts reads. */
export interface HostJson {
  readonly interfaces: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  readonly routes: readonly string[];
  readonly rules: readonly string[];
  readonly sysctl: Readonly<Record<string, number>>;
  readonly conntrack: "auto" | true;
}

/** An address and the interface that leads to it, or that has it. */
export interface Place {
  readonly address: number;
  readonly iface: string;
}

export interface Surroundings {
  readonly ifaces: readonly string[];
  /** The host's own addresses. */
  readonly own: readonly Place[];
  /** Neighbours on the links. */
  readonly near: readonly Place[];
  /** Behind the routes, those that lead nowhere (`iface` empty) too. */
  readonly far: readonly Place[];
  /** Broadcast, multicast, loopback and other addresses that routing treats apart. */
  readonly odd: readonly number[];
  /** Marks that policy rules ask for; never empty. */
  readonly marks: readonly number[];
}

const NAMES = ["eth0", "eth1", "docker0", "eth1.5", "br-lan", "wlan0", "tun3", "eth"] as const;
/** Each makes a subnet of its own for each number of an interface. */
const SUBNETS: readonly ((index: number) => Subnet)[] = [
  (index) => ({ address: bytes(10, 0, index, 1), prefixLength: 24 }),
  (index) => ({ address: bytes(172, 16 + index, 0, 1), prefixLength: 16 }),
  (index) => ({ address: bytes(192, 168, index, 10), prefixLength: 24 }),
  (index) => ({ address: bytes(203, 0, 113, 16 * index + 1), prefixLength: 28 }),
  (index) => ({ address: bytes(10, 20, index, 1), prefixLength: 30 }),
];
const FAR: readonly Subnet[] = [
  { address: bytes(100, 64, 0, 0), prefixLength: 16 },
  { address: bytes(198, 18, 0, 0), prefixLength: 15 },
  { address: bytes(9, 9, 9, 0), prefixLength: 24 },
  { address: bytes(8, 8, 8, 8), prefixLength: 32 },
];
const ODD = [
  bytes(255, 255, 255, 255),
  bytes(224, 0, 0, 1),
  bytes(239, 1, 2, 3),
  bytes(127, 0, 0, 1),
  bytes(127, 1, 2, 3),
  bytes(0, 0, 0, 0),
  bytes(240, 0, 0, 1),
];

interface Subnet {
  readonly address: number;
  readonly prefixLength: number;
}

export function bytes(a: number, b: number, c: number, d: number): number {
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/** One to five interfaces with their addresses; routes, policy rules and sysctls that a packet can feel. */
export function drawHost(draw: Draw): { readonly host: HostJson; readonly surroundings: Surroundings } {
  const own: Place[] = [];
  const near: Place[] = [];
  const odd = [...ODD];
  const interfaces = draw.some(draw.shuffled(NAMES), draw.between(1, 5)).map((name, index) => {
    const subnets = drawSubnets(draw, index);
    const neighbours = subnets.flatMap((subnet) => neighboursOf(subnet, own.length));
    own.push(...subnets.map(({ address }) => ({ address, iface: name })));
    near.push(...neighbours.map((address) => ({ address, iface: name })));
    odd.push(...subnets.flatMap((subnet) => (subnet.prefixLength < 31 ? edgesOf(subnet) : [])));
    return { name, addresses: subnets.map(({ address, prefixLength }) => `${formatAddress(address)}/${prefixLength}`) };
  });
  const free = near.filter(({ address }) => own.every((place) => place.address !== address));

  const marks = [1, 2, 0x10, 0xff00, 0x8000_0000].slice(draw.below(3)).slice(0, 3);
  const far: Place[] = [];
  const routes = drawRoutes(draw, free, far, interfaces);
  const rules = draw.chance(0.35) ? drawPolicy(draw, free, own, marks, routes, interfaces) : [];
  const sysctl = drawSysctls(draw, interfaces);
  return {
    host: { interfaces, routes, rules, sysctl, conntrack: draw.chance(0.6) ? true : "auto" },
    surroundings: { ifaces: interfaces.map(({ name }) => name), own, near: free, far, odd, marks },
  };
}

function drawSubnets(draw: Draw, index: number): Subnet[] {
  const kinds = draw.shuffled(SUBNETS);
  // an interface without an address: MASQUERADE looks for one elsewhere, REDIRECT drops
  if (index > 0 && draw.chance(0.05)) return [];
  const first = index === 0 ? SUBNETS[draw.pick([0, 1, 2])]!(index) : kinds[0]!(index);
  const subnets = [first];
  if (first.prefixLength < 30 && draw.chance(0.25)) subnets.push({ ...first, address: first.address + 1 });
  if (draw.chance(0.25)) subnets.push(kinds[1]!(index + 8));
  if (draw.chance(0.1)) subnets.push({ address: bytes(198, 51, 100, index + 1), prefixLength: 32 });
  return subnets;
}

function neighboursOf({ address, prefixLength }: Subnet, salt: number): number[] {
  if (prefixLength === 32) return [];
  if (prefixLength === 30) return [address + 1];
  return [address + 1, address + 2, address + 5 + (salt % 3)];
}

function edgesOf({ address, prefixLength }: Subnet): number[] {
  const hostBits = 2 ** (32 - prefixLength) - 1;
  return [(address & ~hostBits) >>> 0, (address | hostBits) >>> 0];
}

function drawRoutes(
  draw: Draw,
  near: readonly Place[],
  far: Place[],
  interfaces: readonly { readonly name: string }[],
): string[] {
  const routes: string[] = [];
  const gateway = draw.pick(near);
  if (draw.chance(0.85)) {
    routes.push(`default via ${formatAddress(gateway.address)} dev ${gateway.iface}`);
    far.push({ address: bytes(93, 184, 216, 34), iface: gateway.iface });
  }
  if (draw.chance(0.1)) {
    const other = draw.pick(near);
    routes.push(`default via ${formatAddress(other.address)} dev ${other.iface} metric 100`);
  }
  for (const { address, prefixLength } of draw.some(FAR, draw.between(0, 3))) {
    const dst = `${formatAddress(address)}/${prefixLength}`;
    const inside = prefixLength === 32 ? address : address + 7;
    const via = draw.pick(near);
    const link = draw.pick(interfaces).name;
    routes.push(
      draw.weighted<() => string>([
        [8, () => `${dst} via ${formatAddress(via.address)} dev ${via.iface}`],
        [3, () => `${dst} dev ${link}`],
        [1, () => `blackhole ${dst}`],
        [1, () => `unreachable ${dst}`],
        [1, () => `prohibit ${dst}`],
      ])(),
    );
    const iface = / dev (\S+)/.exec(routes.at(-1)!)?.[1] ?? "";
    far.push({ address: inside, iface }, { address: prefixLength === 32 ? address : address + 200, iface });
  }
  return routes;
}

/** Adds to `routes` what the tables of the rules hold. */
function drawPolicy(
  draw: Draw,
  near: readonly Place[],
  own: readonly Place[],
  marks: readonly number[],
  routes: string[],
  interfaces: readonly { readonly name: string }[],
): string[] {
  const via = draw.pick(near);
  routes.push(`default via ${formatAddress(via.address)} dev ${via.iface} table 200`);
  if (draw.chance(0.3)) routes.push(`blackhole ${formatAddress(bytes(9, 9, 9, 0))}/24 table 200`);
  const mark = draw.pick(marks);
  const selectors = [
    () => `fwmark 0x${mark.toString(16)}/0x${draw.pick([mark, 0xffff_ffff]).toString(16)}`,
    () => `fwmark 0x${mark.toString(16)}`,
    () => `from ${formatAddress(draw.pick([...near, ...own]).address)}`,
    () => `iif ${draw.pick(interfaces).name}`,
  ];
  const count = draw.weighted([
    [3, 1],
    [1, 2],
  ]);
  return Array.from({ length: count }, (_, index) => {
    const selector = draw.weighted([
      [4, selectors[0]!],
      [3, selectors[1]!],
      [1, selectors[2]!],
      [1, selectors[3]!],
    ])();
    return `${selector} table 200 priority ${100 + index}`;
  });
}

function drawSysctls(draw: Draw, interfaces: readonly { readonly name: string }[]): Record<string, number> {
  const sysctl: Record<string, number> = {};
  const place = (): string => draw.pick(["all", draw.pick(interfaces).name]);
  // slashes, since a name may hold a dot
  if (draw.chance(0.2)) sysctl[`net/ipv4/conf/${place()}/rp_filter`] = draw.between(1, 2);
  if (draw.chance(0.15)) sysctl[`net/ipv4/conf/${place()}/route_localnet`] = 1;
  if (draw.chance(0.1)) sysctl[`net/ipv4/conf/${place()}/accept_local`] = 1;
  if (draw.chance(0.03)) sysctl["net/ipv4/ip_forward"] = 0;
  return sysctl;
}
