// What rules ask of a packet's connection, and what they write there.
//
// conntrack_mt() in net/netfilter/xt_conntrack.c, connmark_mt() and connmark_tg_shift() in xt_connmark.c, xt_ct_target()
// and notrack_tg() in xt_CT.c.

import { contains } from "../net/range.ts";
import type { Range } from "../net/range.ts";
import type {
  AddressTest,
  ClusterMatch,
  ConnbytesMatch,
  ConnmarkMatch,
  ConnmarkTarget,
  ConntrackMatch,
  CtStatusName,
  CtTarget,
  NegatableRange,
  Rule,
  StateMatch,
} from "../rules/ruleset.ts";
import type { Connection, Direction } from "./connection.ts";
import { hashOf, inMemory, scaled } from "./hash.ts";
import type { Memory } from "./memory.ts";
import { isMulticast } from "./routing.ts";
import type { Skb } from "./skb.ts";

/** @param now seconds on the packets' clock */
export function meetsConntrack(match: ConntrackMatch, skb: Skb, now: number): boolean {
  if (match.state !== null && !meetsState(match.state, skb)) return false;
  // without a connection nothing else is asked
  const seen = seenOn(skb);
  if (seen === null) return match.state !== null;
  const { connection, direction } = seen;
  const { original, reply } = connection;
  if (match.dir !== null && match.dir !== direction.toUpperCase()) return false;
  if (match.proto !== null && (match.proto.proto === original.proto) === match.proto.negated) return false;
  const addresses: readonly [AddressTest | null, number][] = [
    [match.origSrc, original.src],
    [match.origDst, original.dst],
    [match.replSrc, reply.src],
    [match.replDst, reply.dst],
  ];
  const numbers: readonly [NegatableRange | null, number][] = [
    [match.origSrcPort, original.sport],
    [match.origDstPort, original.dport],
    [match.replSrcPort, reply.sport],
    [match.replDstPort, reply.dport],
    [match.expire, secondsLeft(connection, now)],
  ];
  return (
    addresses.every(([test, address]) => test === null || meetsAddress(test, address)) &&
    numbers.every(([range, number]) => range === null || meetsRange(range, number)) &&
    (match.status === null || match.status.statuses.some((status) => has(connection, status)) !== match.status.negated)
  );
}

/** What rules take for the packet's connection: in raw, behind CT, that is the template. */
export function seenOn({ attached, template }: Skb): { connection: Connection; direction: Direction } | null {
  if (attached != null) return attached;
  return template == null ? null : { connection: template.connection, direction: "original" };
}

/** Any of the named states and translations is enough. */
export function meetsState({ states, negated }: Pick<StateMatch, "states" | "negated">, skb: Skb): boolean {
  const any = states.some((state) => {
    if (state === "SNAT") return skb.sourceTranslated;
    if (state === "DNAT") return skb.destinationTranslated;
    return state === skb.ctState;
  });
  return any !== negated;
}

export function meetsConnmark({ value, mask, negated }: ConnmarkMatch, skb: Skb): boolean {
  const seen = seenOn(skb);
  return seen !== null && ((seen.connection.mark & mask) >>> 0 === value) !== negated;
}

/** connbytes_mt() in net/netfilter/xt_connbytes.c; a rule with it switches counting on. */
export function meetsConnbytes({ lo, hi, negated, mode, dir }: ConnbytesMatch, { attached }: Skb): boolean {
  if (attached == null) return false;
  const { original, reply } = attached.connection.counted;
  const counted = dir === "both" ? [original, reply] : [dir === "original" ? original : reply];
  const packets = counted.reduce((sum, one) => sum + one.packets, 0);
  const bytes = counted.reduce((sum, one) => sum + one.bytes, 0);
  const average = packets === 0 ? 0 : Math.floor(bytes / packets);
  const value = BigInt({ packets, bytes, avgpkt: average }[mode]);
  return (lo <= value && value <= hi) !== negated;
}

/** xt_cluster_mt() in net/netfilter/xt_cluster.c. A frame to a group brings it to all nodes; each takes it for one to itself. */
export function meetsCluster({ nodes, mask, seed, negated }: ClusterMatch, skb: Skb): boolean {
  if (skb.frame === "multicast" && !isMulticast(skb.packet.dst)) skb.frame = "host";
  const { attached, template } = skb;
  if (attached == null && template == null) return false;
  // a template has no addresses
  const hash = attached == null ? 0 : hashOf([inMemory(attached.connection.original.src)], seed);
  return (((mask >>> scaled(hash, nodes)) & 1) === 1) !== negated;
}

export function setConnmark(target: ConnmarkTarget, skb: Skb): void {
  const connection = seenOn(skb)?.connection;
  if (connection === undefined) return;
  switch (target.op) {
    case "set":
      mark(connection, shifted((connection.mark & ~target.mask) ^ target.value, target.shift));
      return;
    case "save":
      mark(connection, (connection.mark & ~target.ctmask) ^ shifted(skb.mark & target.nfmask, target.shift));
      return;
    case "restore":
      skb.mark = ((skb.mark & ~target.nfmask) ^ shifted(connection.mark & target.ctmask, target.shift)) >>> 0;
  }
}

/** The first that takes effect counts, and none does on what is attached already. */
export function setTemplate(
  target: CtTarget | { readonly kind: "NOTRACK" },
  rule: Rule,
  skb: Skb,
  memory: Memory,
): void {
  if (skb.attached != null || skb.answersUntracked === true) return;
  if (skb.untracked === true || skb.template != null) return;
  if (target.kind === "NOTRACK" || target.notrack) {
    skb.untracked = true;
    return;
  }
  const { zone } = target;
  const directions = { both: "both", ORIGINAL: "original", REPLY: "reply" } as const;
  skb.template = {
    zone: zone === null ? null : { id: zone.id, direction: directions[zone.dir] },
    connection: memory.template(rule),
  };
}

/** Nobody counts down what is not confirmed. */
function secondsLeft({ confirmed, expires }: Connection, now: number): number {
  return confirmed ? Math.max(0, Math.floor(expires - now)) : 0;
}

function has(connection: Connection, status: CtStatusName): boolean {
  switch (status) {
    case "EXPECTED":
      return false;
    case "SEEN_REPLY":
      return connection.seenReply;
    case "ASSURED":
      return connection.assured;
    case "CONFIRMED":
      return connection.confirmed;
  }
}

function meetsAddress({ address, mask, negated }: AddressTest, value: number): boolean {
  return ((value & mask) >>> 0 === address) !== negated;
}

function meetsRange(range: Range & { readonly negated: boolean }, value: number): boolean {
  return contains(range, value) !== range.negated;
}

function mark(connection: Connection, value: number): void {
  if (connection.mark === value >>> 0) return;
  connection.mark = value >>> 0;
  connection.news.add("mark");
}

/** By so many bits as a machine shifts 32-bit words. */
function shifted(value: number, { dir, bits }: ConnmarkTarget["shift"]): number {
  return dir === "left" ? (value << bits) >>> 0 : value >>> bits;
}
