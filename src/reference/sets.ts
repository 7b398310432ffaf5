// Sets of ipset: whether a packet is in one, and what the target SET changes of it.
//
// ip_set_test(), ip_set_add(), ip_set_del() in net/netfilter/ipset/ip_set_core.c, the kadt functions of the types, and
// mtype_test_cidrs() in ip_set_hash_gen.h: of the networks in a set the narrowest that holds the address decides.

import { prefixMask } from "../net/address.ts";
import { PROTO_DCCP, PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE } from "../net/protocol.ts";
import { SET_TYPES } from "../rules/ruleset.ts";
import type { IpSet, Ruleset, SetElement, SetMatch, SetRef, SetSide, SetTarget } from "../rules/ruleset.ts";
import type { Skb } from "./skb.ts";

/** What the packet shows a set; the lengths are those of its networks. */
type Shown = Pick<SetElement, "ip" | "cidr" | "port" | "proto" | "ip2" | "cidr2" | "mark" | "mac" | "iface">;

interface Entry extends Shown {
  readonly wildcard: boolean;
  readonly nomatch: boolean;
  readonly skbmark: SetElement["skbmark"];
  /** Seconds on the packets' clock; Infinity: never. */
  readonly expires: number;
}

/** Entries with the same key differ in the interface alone. */
type Entries = Map<string, Entry[]>;

/** "nomatch": the element that decides is an exception. */
type Found = Entry | "nomatch" | null;

export class SetTable {
  readonly #sets = new Map<string, { readonly set: IpSet; readonly entries: Entries }>();
  readonly #ruleset: Ruleset;
  #now = 0;

  constructor(ruleset: Ruleset) {
    this.#ruleset = ruleset;
  }

  /** To be called for each packet. The sets were loaded when the first one came. */
  start(seconds: number): void {
    this.#now = seconds;
    if (this.#sets.size > 0) return;
    for (const set of this.#ruleset.sets ?? []) {
      const entries: Entries = new Map();
      this.#sets.set(set.name, { set, entries });
      for (const element of set.elements) insert(entries, { ...element, expires: this.#expiry(element.timeout) });
    }
  }

  #expiry(timeout: number | null): number {
    return timeout === null || timeout === 0 ? Infinity : this.#now + timeout;
  }

  meets(match: SetMatch, skb: Skb): boolean {
    return (this.#find(match, match.returnNomatch, skb) !== null) !== match.negated;
  }

  /** set_target_v3() in net/netfilter/xt_set.c. */
  change(target: SetTarget, skb: Skb): void {
    if (target.add !== null) this.#add(target.add, target, skb);
    if (target.del !== null) this.#delete(target.del, skb);
    const mapped = target.map === null ? null : this.#find(target.map, false, skb);
    if (mapped !== null && target.mapMark && mapped !== "nomatch" && mapped.skbmark !== null) {
      skb.mark = ((skb.mark & ~mapped.skbmark.mask) ^ mapped.skbmark.value) >>> 0;
    }
  }

  #find({ name, sides }: SetRef, returnNomatch: boolean, skb: Skb): Found {
    const { set, entries } = this.#sets.get(name)!;
    if (set.type === "list:set") {
      for (const { member } of set.elements) {
        const found = this.#find({ name: member, sides }, returnNomatch, skb);
        if (found !== null) return found;
      }
      return null;
    }
    const shown = show(set, sides, skb);
    if (shown === null) return null;
    const found = this.#search(set, entries, shown);
    if (!SET_TYPES[set.type].some((part) => part === "net" || part === "net2")) return found;
    if (returnNomatch) return found === "nomatch" ? found : null;
    return found === "nomatch" ? null : found;
  }

  /** Narrow networks before wide ones, in the first address before the second. */
  #search(set: IpSet, entries: Entries, shown: Shown): Found {
    for (const cidr of lengths(set, entries, "cidr")) {
      for (const cidr2 of lengths(set, entries, "cidr2")) {
        const bucket = entries.get(keyOf(masked(shown, cidr, cidr2))) ?? [];
        for (const entry of bucket) {
          const named = entry.wildcard ? shown.iface.startsWith(entry.iface) : entry.iface === shown.iface;
          if (named && this.#now <= entry.expires) return entry.nomatch ? "nomatch" : entry;
        }
        // the network is there, for another interface: wider ones are not looked at
        if (set.type === "hash:net,iface" && bucket.length > 0) return null;
      }
    }
    return null;
  }

  /** False if it was not added. */
  #add(ref: SetRef, target: SetTarget, skb: Skb): boolean {
    const { set, entries } = this.#sets.get(ref.name)!;
    if (set.type === "list:set") {
      return set.elements.some(({ member }) => this.#add({ ...ref, name: member }, target, skb));
    }
    const shown = this.#shownTo(set, entries, ref.sides, skb);
    if (shown === null) return false;
    const known = this.#named(entries, shown);
    if (known !== null && this.#now <= known.expires && !target.exist) return false;
    if (known !== null) remove(entries, known);
    else if (set.range === null && !this.#hasRoom(set, entries)) return false;
    const timeout = set.timeout === null ? null : (target.timeout ?? set.timeout);
    insert(entries, { ...shown, wildcard: false, nomatch: false, skbmark: null, expires: this.#expiry(timeout) });
    return true;
  }

  #delete(ref: SetRef, skb: Skb): boolean {
    const { set, entries } = this.#sets.get(ref.name)!;
    if (set.type === "list:set") {
      return set.elements.some(({ member }) => this.#delete({ ...ref, name: member }, skb));
    }
    const shown = this.#shownTo(set, entries, ref.sides, skb);
    const known = shown === null ? null : this.#named(entries, shown);
    if (known === null || this.#now > known.expires) return false;
    remove(entries, known);
    return true;
  }

  /** What is added or deleted: networks have the narrowest length that the set has. */
  #shownTo(set: IpSet, entries: Entries, sides: readonly SetSide[], skb: Skb): Shown | null {
    const shown = show(set, sides, skb);
    if (shown === null) return null;
    return masked(shown, lengths(set, entries, "cidr")[0] ?? 32, lengths(set, entries, "cidr2")[0] ?? 32);
  }

  #named(entries: Entries, shown: Shown): Entry | null {
    return entries.get(keyOf(shown))?.find(({ iface, wildcard }) => iface === shown.iface && !wildcard) ?? null;
  }

  /** Where it is full, expired ones make room. */
  #hasRoom(set: IpSet, entries: Entries): boolean {
    const all = [...entries.values()].flat();
    if (all.length < set.most) return true;
    const expired = all.filter(({ expires }) => this.#now > expires);
    for (const entry of expired) remove(entries, entry);
    return all.length - expired.length < set.most;
  }
}

/** What the set asks of the packet; null: the packet does not show it, or the set is of IPv6 or has more parts than the rule. */
function show(set: IpSet, sides: readonly SetSide[], { packet, mark, srcMac, inIface, outIface }: Skb): Shown | null {
  const parts = SET_TYPES[set.type];
  if (sides.length < parts.length) return null;
  if (set.family === 6 && set.type !== "bitmap:port" && set.type !== "hash:mac") return null;
  let shown: Shown = { ip: 0, cidr: 0, port: 0, proto: 0, ip2: 0, cidr2: 0, mark: 0, mac: -1, iface: "" };
  for (const [index, part] of parts.entries()) {
    const source = sides[index] === "src";
    const address = source ? packet.src : packet.dst;
    switch (part) {
      case "ip": {
        const ip = (address & set.netmask) >>> 0;
        if (ip === 0 && set.type === "hash:ip") return null;
        if (set.range !== null && (address < set.range.lo || address > set.range.hi)) return null;
        shown = { ...shown, ip, cidr: 32 };
        break;
      }
      case "net":
        shown = { ...shown, ip: address, cidr: 32 };
        break;
      case "ip2":
      case "net2":
        shown = { ...shown, ip2: address, cidr2: 32 };
        break;
      case "port": {
        const port = portOf(packet, source);
        if (port === null) return null;
        if (set.type !== "bitmap:port") shown = { ...shown, port, proto: packet.proto };
        else if (packet.proto !== PROTO_TCP && packet.proto !== PROTO_UDP) return null;
        else if (port < set.range!.lo || port > set.range!.hi) return null;
        else shown = { ...shown, port };
        break;
      }
      case "mark":
        shown = { ...shown, mark: (mark & set.markmask) >>> 0 };
        break;
      case "mac":
        if (srcMac == null || srcMac === 0) return null;
        shown = { ...shown, mac: srcMac };
        break;
      case "iface": {
        const iface = source ? inIface : outIface;
        if (iface === null || iface === "") return null;
        shown = { ...shown, iface };
        break;
      }
      case "set":
        throw new Error("a list of sets asks nothing itself");
    }
  }
  return shown;
}

const HEADER_BYTES: ReadonlyMap<number, number> = new Map([
  [PROTO_TCP, 20],
  [PROTO_UDP, 8],
  [PROTO_UDPLITE, 8],
  [PROTO_SCTP, 12],
  [PROTO_ICMP, 8],
]);

/** get_port() in ip_set_getport.c: of ICMP type and code; 0 where the protocol has no ports; null: it is not shown. */
function portOf(packet: Skb["packet"], source: boolean): number | null {
  const { proto, fragmentOffset, length, headerLength, sport, dport, icmpType, icmpCode } = packet;
  if (proto === 0) return null;
  const bytes = HEADER_BYTES.get(proto);
  if (bytes === undefined || proto === PROTO_DCCP) return 0;
  if (fragmentOffset > 0 || length - headerLength < bytes) return null;
  if (proto === PROTO_ICMP) return (icmpType << 8) | icmpCode;
  return source ? sport : dport;
}

/** Lengths of the networks in a set, the narrowest first; where it holds addresses, their one length. */
function lengths(set: IpSet, entries: Entries, which: "cidr" | "cidr2"): readonly number[] {
  const parts: readonly string[] = SET_TYPES[set.type];
  const [address, network] = which === "cidr" ? ["ip", "net"] : ["ip2", "net2"];
  if (parts.includes(address)) return [32];
  if (!parts.includes(network)) return [0];
  let found = lengthsOf.get(entries)?.[which];
  if (found === undefined) {
    found = [...new Set([...entries.values()].flat().map((entry) => entry[which]))].sort((a, b) => b - a);
    lengthsOf.set(entries, { ...lengthsOf.get(entries), [which]: found });
  }
  return found;
}

/** Known until the entries change. */
const lengthsOf = new WeakMap<Entries, { readonly cidr?: readonly number[]; readonly cidr2?: readonly number[] }>();

function masked(shown: Shown, cidr: number, cidr2: number): Shown {
  const ip = (shown.ip & prefixMask(cidr)) >>> 0;
  const ip2 = (shown.ip2 & prefixMask(cidr2)) >>> 0;
  return { ...shown, ip, cidr, ip2, cidr2 };
}

function keyOf({ ip, cidr, port, proto, ip2, cidr2, mark, mac }: Shown): string {
  return [ip, cidr, port, proto, ip2, cidr2, mark, mac].join();
}

function insert(entries: Entries, entry: Entry): void {
  const key = keyOf(entry);
  entries.set(key, [...(entries.get(key) ?? []), entry]);
  lengthsOf.delete(entries);
}

function remove(entries: Entries, entry: Entry): void {
  const key = keyOf(entry);
  const left = entries.get(key)!.filter((each) => each !== entry);
  if (left.length === 0) entries.delete(key);
  else entries.set(key, left);
  lengthsOf.delete(entries);
}
