// Sets of ipset in the engine's memory: records, and the slots of those that are looked up by hashing (assembly/ipset.ts).

import type { InterfaceTable } from "../compile/interfaces.ts";
import type { IpsetTable } from "../compile/sets.ts";
import * as layout from "../layout.ts";
import { NONE } from "../layout.ts";
import { SET_TYPES } from "../rules/ruleset.ts";
import type { IpSet, SetElement, SetPart } from "../rules/ruleset.ts";
import type { Instance } from "./instance.ts";

/** Throws an EngineError where memory does not suffice. */
export function loadIpsets(instance: Instance, table: IpsetTable, interfaces: InterfaceTable): void {
  const { sets } = table;
  if (sets.length === 0) return;
  const records = instance.allocateZeroed(sets.length * layout.IPSET_BYTES);
  instance.exports.setIpsets(records);
  sets.forEach((set, number) => {
    const elements = table.hashed.has(set) ? set.elements : [];
    writeRecord(instance, records + number * layout.IPSET_BYTES, set, table, elements.length);
    for (const element of elements) insert(instance, number, set, element, interfaces);
  });
}

const PART_BITS: Readonly<Record<SetPart, number>> = {
  ip: layout.IPSET_HAS_IP,
  net: layout.IPSET_HAS_NET,
  port: layout.IPSET_HAS_PORT,
  ip2: layout.IPSET_HAS_IP2,
  net2: layout.IPSET_HAS_NET2,
  mark: layout.IPSET_HAS_MARK,
  mac: layout.IPSET_HAS_MAC,
  iface: layout.IPSET_HAS_IFACE,
  set: layout.IPSET_LIST,
};

const LEAST_SLOTS = 16;
const LENGTHS_BYTES = 2 * 33 * 4;

function writeRecord(instance: Instance, at: number, set: IpSet, table: IpsetTable, count: number): void {
  const parts: readonly SetPart[] = SET_TYPES[set.type];
  // an element may need a second slot, which counts the interfaces of its network
  const entries = 2 * (table.growing.has(set) ? Math.max(count, set.range === null ? set.most : spanOf(set)) : count);
  let slots = LEAST_SLOTS;
  while (slots < 2 * entries) slots *= 2;
  const members = set.elements.filter(({ member }) => member !== "").map(({ member }) => table.numberOf(member));
  const slotsAt = instance.allocateZeroed(slots * layout.MEMBER_BYTES);
  const lengthsAt = instance.allocateZeroed(LENGTHS_BYTES);
  const membersAt = instance.allocate(members.length * 4 + 4);
  instance.words(membersAt, members.length).set(members);
  const view = instance.view();
  const put = (offset: number, value: number): void => {
    view.setUint32(at + offset, value, true);
  };
  const anyFamily = set.type === "bitmap:port" || set.type === "hash:mac" || set.type === "list:set";
  put(
    layout.IPSET_PARTS,
    parts.reduce((bits, part) => bits | PART_BITS[part], 0) |
      (set.type === "bitmap:port" ? layout.IPSET_PORTS_ALONE : 0) |
      (set.type === "hash:ip" ? layout.IPSET_NO_ZERO : 0) |
      (set.family === 6 && !anyFamily ? layout.IPSET_IPV6 : 0),
  );
  put(layout.IPSET_PART_COUNT, parts.length);
  put(layout.IPSET_NETMASK, set.netmask);
  put(layout.IPSET_MARKMASK, set.markmask);
  put(layout.IPSET_LO, set.range?.lo ?? 0);
  put(layout.IPSET_HI, set.range?.hi ?? NONE);
  put(layout.IPSET_TIMEOUT, set.timeout ?? NONE);
  put(layout.IPSET_MOST, set.range === null ? set.most : NONE);
  put(layout.IPSET_ENTRIES, slotsAt);
  put(layout.IPSET_MASK, slots - 1);
  put(layout.IPSET_LENGTHS, lengthsAt);
  put(layout.IPSET_MEMBERS, membersAt);
  put(layout.IPSET_MEMBER_COUNT, members.length);
}

function spanOf({ range }: IpSet): number {
  return range === null ? 0 : range.hi - range.lo + 1;
}

function insert(instance: Instance, number: number, set: IpSet, element: SetElement, interfaces: InterfaceTable): void {
  const { ip, cidr, port, proto, ip2, cidr2, mark, mac, nomatch, timeout, skbmark } = element;
  const high = mac < 0 ? 0 : Math.floor(mac / 2 ** 32);
  const second = mac < 0 ? ip2 || mark : mac % 2 ** 32;
  const lengths = (cidr | (cidr2 << 8) | (high << 16)) >>> 0;
  for (const iface of ifacesOf(set, element, interfaces)) {
    const key = [ip, (port | (proto << 16)) >>> 0, second, lengths, iface] as const;
    const at = instance.exports.insertMember(number, ...key, timeout ?? 0, Number(nomatch)) >>> 0;
    if (skbmark === null) continue;
    instance.view().setUint32(at + layout.MEMBER_MARK, skbmark.value, true);
    instance.view().setUint32(at + layout.MEMBER_MARK_MASK, skbmark.mask, true);
  }
}

/** Interfaces that the host does not have have no packets, but their networks hide wider ones. */
function ifacesOf(set: IpSet, { iface, wildcard }: SetElement, interfaces: InterfaceTable): readonly number[] {
  if (set.type !== "hash:net,iface") return [0];
  const named = interfaces.names.flatMap((name, index) =>
    (wildcard ? name.startsWith(iface) : name === iface) ? [index + 1] : [],
  );
  return named.length === 0 ? [NO_INTERFACE] : named;
}

const NO_INTERFACE = 0xfffffffe;
