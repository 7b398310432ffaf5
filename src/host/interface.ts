// Interfaces and addresses of HOST.json -> interfaces in the kernel's order, with their addresses in its order.
//
// An address is what stands behind `ip address add`. Primary addresses of a wider scope come first, secondary ones
// last: __inet_insert_ifa() in net/ipv4/devinet.c.

import { parseAddress, parseMask, prefixLength, prefixMask } from "../net/address.ts";
import type { Field } from "./field.ts";
import type { InterfaceAddress } from "./host.ts";
import { Words } from "./words.ts";

/** An interface without its sysctls. */
export interface Link {
  readonly name: string;
  readonly addresses: readonly InterfaceAddress[];
  /** The same in the order in which they were added. */
  readonly added: readonly AddedAddress[];
  readonly mac: number | null;
  readonly mtu: number;
  readonly up: boolean;
}

export interface AddedAddress {
  readonly plain: InterfaceAddress;
  /** A broadcast address that was asked for, beside the subnet's own. */
  readonly moreBroadcast: number | null;
}

const NAME_BYTES = 15;
const ETHERNET_MTU = 1500;
const LOOPBACK_MTU = 65536;
const LOOPBACK: AddedAddress = {
  plain: { address: 0x7f000001, prefixLength: 8, broadcast: 0x7fffffff, secondary: false, scope: "host" },
  moreBroadcast: null,
};
/** Higher numbers reach less far (RT_SCOPE_). */
const SCOPES = { global: 0, link: 253, host: 254 } as const;

/** `lo` first, the others as written. */
export function readLinks(list: Field | undefined): readonly Link[] {
  const links = new Map<string, Link>([["lo", loopback([])]]);
  const seen = new Set<string>();
  list?.items().forEach((item, index) => {
    const members = item.membersOf(["name", "addresses", "mac", "mtu", "up", "comment"]);
    const name = readName(members.get("name") ?? item.fail('the key "name" is missing'));
    if (seen.has(name)) members.get("name")!.fail(`there are two interfaces "${name}"`);
    seen.add(name);
    const added = readAddresses(members.get("addresses"), name);
    if (name === "lo") {
      for (const key of ["mac", "mtu", "up"] as const)
        members.get(key)?.fail("the loopback interface has addresses alone");
      links.set("lo", loopback(added));
      return;
    }
    links.set(name, {
      name,
      addresses: inKernelOrder(added),
      added,
      // the oracle's default: numbered from 1
      mac: readMac(members.get("mac")) ?? 0x020000000000 + index + 1,
      mtu: members.get("mtu")?.integer(68, 65521) ?? ETHERNET_MTU,
      up: members.get("up")?.boolean() ?? true,
    });
  });
  return [...links.values()];
}

function loopback(more: readonly AddedAddress[]): Link {
  const added = [LOOPBACK, ...more];
  return { name: "lo", addresses: inKernelOrder(added), added, mac: null, mtu: LOOPBACK_MTU, up: true };
}

function readName(field: Field): string {
  const name = field.string();
  const length = new TextEncoder().encode(name).length;
  if (length > NAME_BYTES) field.fail(`"${name}" is longer than ${NAME_BYTES} bytes`);
  // dev_valid_name() in net/core/dev.c; % would ask the kernel for a number
  if (name === "" || name === "." || name === ".." || /[/:%\s]/.test(name))
    field.fail(`"${name}" is no interface name`);
  if (name === "local") field.fail('"local" means the host itself in packet lines');
  return name;
}

/** 6 bytes as a number. */
function readMac(field: Field | undefined): number | null {
  if (field === undefined) return null;
  const text = field.string();
  if (!/^[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}$/.test(text)) field.fail(`"${text}" is no MAC address`);
  const bytes = text.split(":").map((byte) => parseInt(byte, 16));
  if (bytes[0]! % 2 === 1 || bytes.every((byte) => byte === 0)) field.fail(`"${text}" is no address of one host`);
  return bytes.reduce((mac, byte) => mac * 256 + byte, 0);
}

function readAddresses(list: Field | undefined, name: string): readonly AddedAddress[] {
  const added: AddedAddress[] = name === "lo" ? [LOOPBACK] : [];
  for (const item of list?.items() ?? []) {
    const { plain, moreBroadcast } = readAddress(item);
    const subnet = added.map((other) => other.plain).filter((other) => sameSubnet(other, plain));
    if (subnet.some(({ address }) => address === plain.address)) item.fail("the interface has this address already");
    if (subnet.some(({ scope }) => scope !== plain.scope)) item.fail("an address of the same subnet has another scope");
    added.push({ plain: { ...plain, secondary: subnet.length > 0 }, moreBroadcast });
  }
  return name === "lo" ? added.slice(1) : added;
}

function readAddress(item: Field): AddedAddress {
  const words = new Words(item, ["address", "peer", "broadcast", "scope", "label"], ["address"]);
  const { address, prefixLength: ownLength } = readPrefix(words, "address");
  if (address === 0) words.fail("0.0.0.0 is no address of an interface");
  let length = ownLength ?? 32;
  let peer: number | undefined;
  let moreBroadcast: number | null = null;
  let scope: InterfaceAddress["scope"] = address >>> 24 === 127 ? "host" : "global";
  while (!words.atEnd()) {
    const word = words.take("a word");
    if (word === "peer" || word === "remote") {
      const other = readPrefix(words, "peer");
      if (ownLength !== null) words.fail("a prefix length stands behind the peer, not behind the address");
      peer = other.address;
      length = other.prefixLength ?? 32;
    } else if (word === "broadcast" || word === "brd") {
      // `+` is the subnet's own
      moreBroadcast = words.sees("+") ? null : words.address("broadcast address");
    } else if (word === "scope") {
      scope = scopes[words.take("scope")] ?? words.fail("a scope is global, link or host");
    } else if (word === "label") {
      words.take("label");
    } else {
      words.fail(`"${word}": unknown, or not modelled`);
    }
  }
  const subnet = peer ?? address;
  const plain: InterfaceAddress = {
    address,
    prefixLength: length,
    broadcast: length <= 30 ? (subnet | ~prefixMask(length)) >>> 0 : null,
    secondary: false,
    scope,
    ...(peer === undefined ? {} : { peer }),
  };
  return { plain, moreBroadcast };
}

const scopes: Readonly<Record<string, InterfaceAddress["scope"]>> = {
  global: "global",
  universe: "global",
  link: "link",
  host: "host",
};

function readPrefix(words: Words, what: string): { address: number; prefixLength: number | null } {
  const text = words.take(what);
  if (text.includes(":")) words.fail(`"${text}": IPv6 is not modelled`);
  const [left, right, ...more] = text.split("/");
  const address = parseAddress(left!);
  if (address === null || more.length > 0) return words.fail(`"${text}" is no IPv4 address with a prefix length`);
  if (right === undefined) return { address, prefixLength: null };
  const mask = parseMask(right);
  const length = mask === null ? null : prefixLength(mask);
  return length === null
    ? words.fail(`"${text}": the prefix length is a number from 0 to 32`)
    : { address, prefixLength: length };
}

export function sameSubnet(one: InterfaceAddress, other: InterfaceAddress): boolean {
  const mask = prefixMask(one.prefixLength);
  return (
    one.prefixLength === other.prefixLength &&
    (((one.peer ?? one.address) ^ (other.peer ?? other.address)) & mask) === 0
  );
}

function inKernelOrder(added: readonly AddedAddress[]): readonly InterfaceAddress[] {
  const addresses = added.map(({ plain }) => plain);
  const primary: InterfaceAddress[] = [];
  for (const one of addresses.filter(({ secondary }) => !secondary)) {
    const behind = primary.findLastIndex((other) => SCOPES[one.scope] <= SCOPES[other.scope]);
    primary.splice(behind + 1, 0, one);
  }
  return [...primary, ...addresses.filter(({ secondary }) => secondary)];
}
