// What `-m hashlimit` remembers: tables by name, with an entry for each combination of addresses and ports.
//
// hashlimit_mt_common() and what it calls in net/netfilter/xt_hashlimit.c.

import { prefixMask } from "../net/address.ts";
import {
  HASH_BYTE_CAP,
  HASH_BYTE_CREDITS,
  HASH_CREDITS,
  hashBucketOf,
  hashByteCost,
  hashByteCredits,
  hashClock,
  hashEntries,
  hashWindowOf,
} from "../net/limit.ts";
import { PORT_PROTOCOLS, PROTO_AH, PROTO_ESP } from "../net/protocol.ts";
import { u16At } from "../packet/bytes.ts";
import type { Packet } from "../packet/packet.ts";
import { rulesOf } from "../rules/ruleset.ts";
import type { HashlimitMatch, Ruleset } from "../rules/ruleset.ts";
import type { Holds } from "./match.ts";
import { payloadOf } from "./payload.ts";

interface Entry {
  /** Milliseconds: the first look for old entries from then on takes it away. */
  expires: number;
  /** When its credits were last reckoned, or its window began. */
  since: number;
  /** Credits, of packets or of bytes. */
  left: bigint;
  /** How often a bucket of bytes may yet be filled at once. */
  refills: number;
  /** What has come in the window, packets or bytes. */
  came: bigint;
  /** The window before was above the rate. */
  wasAbove: boolean;
}

interface Table {
  /** The first rule of that name. */
  readonly of: HashlimitMatch;
  readonly entries: Map<string, Entry>;
  /** When old entries were last looked for. */
  lookedAt: number;
}

export class HashTables {
  readonly #tables = new Map<string, Table>();
  #clock = 0;
  #started = false;

  constructor(ruleset: Ruleset) {
    for (const match of rulesOf(ruleset).flatMap(({ matches }) => matches)) {
      if (match.kind !== "hashlimit" || this.#tables.has(match.name)) continue;
      this.#tables.set(match.name, { of: match, entries: new Map(), lookedAt: 0 });
    }
  }

  start(seconds: number): void {
    this.#clock = hashClock(seconds);
    // the tables are as old as the rules, which are loaded when the first packet comes
    if (!this.#started) for (const table of this.#tables.values()) table.lookedAt = this.#clock;
    this.#started = true;
  }

  /** "drop": its ports are cut off, or the table has no room for it. */
  meets(match: HashlimitMatch, packet: Packet): Holds {
    const table = this.#tables.get(match.name)!;
    this.#forget(table);
    const key = keyOf(table.of, packet);
    if (key === null) return "drop";
    const known = table.entries.get(key);
    if (known === undefined && table.entries.size >= hashEntries(table.of.size, table.of.max)) return "drop";
    const entry = known ?? freshEntry(table.of, this.#clock);
    table.entries.set(key, entry);
    entry.expires = this.#clock + table.of.expire;
    return this.#isBelow(entry, table.of, packet.length) !== match.above;
  }

  /** htable_gc(): every so often, from when the table was made. */
  #forget(table: Table): void {
    table.lookedAt = this.#clock - ((this.#clock - table.lookedAt) % table.of.gcInterval);
    for (const [key, { expires }] of table.entries) if (expires <= table.lookedAt) table.entries.delete(key);
  }

  #isBelow(entry: Entry, of: HashlimitMatch, length: number): boolean {
    const passed = this.#clock - entry.since;
    if (of.rateMatch) {
      const { rate, burst } = hashWindowOf(of.average, of.burst, of.bytes);
      const interval = of.interval * 1000;
      if (passed >= interval) {
        entry.wasAbove = u64(entry.came * BigInt(interval)) > u64(BigInt(passed) * rate);
        entry.since = this.#clock;
        entry.came = 0n;
      }
      entry.came += of.bytes ? BigInt(length) : 1n;
      return !entry.wasAbove && entry.came <= burst;
    }
    entry.since = this.#clock;
    if (of.bytes) {
      entry.left = least(entry.left + BigInt(passed) * BigInt(HASH_BYTE_CREDITS), BigInt(HASH_BYTE_CAP));
      const cost = BigInt(hashByteCredits(hashByteCost(of.average), length));
      if (entry.left < cost && entry.refills > 0) {
        entry.refills--;
        entry.left = BigInt(HASH_BYTE_CAP);
      }
      return takes(entry, cost);
    }
    const { cost, cap } = hashBucketOf(of.average, of.burst);
    entry.left = least(u64(entry.left + BigInt(passed) * HASH_CREDITS), cap);
    return takes(entry, cost);
  }
}

function takes(entry: Entry, cost: bigint): boolean {
  if (entry.left < cost) return false;
  entry.left -= cost;
  return true;
}

/** rateinfo_init(). */
function freshEntry({ average, burst, bytes }: HashlimitMatch, clock: number): Entry {
  const left = bytes ? BigInt(HASH_BYTE_CAP) : hashBucketOf(average, burst).cap;
  return { expires: clock, since: clock, left, refills: burst, came: 0n, wasAbove: false };
}

/** hashlimit_init_dst(); null: its ports are cut off. */
function keyOf({ by, srcMask, dstMask }: HashlimitMatch, packet: Packet): string | null {
  const ports = by.includes("srcport") || by.includes("dstport") ? portsOf(packet) : [0, 0];
  if (ports === null) return null;
  const parts = {
    srcip: (packet.src & prefixMask(srcMask)) >>> 0,
    srcport: ports[0],
    dstip: (packet.dst & prefixMask(dstMask)) >>> 0,
    dstport: ports[1],
  };
  return by.map((part) => parts[part]).join(" ");
}

const PORTS_BYTES = 4;

/** What stands where ports would: of a later fragment, too. proto_ports_offset() knows two more protocols. */
function portsOf(packet: Packet): readonly [number, number] | null {
  const { proto, length, headerLength, fragmentOffset, sport, dport } = packet;
  const hasPorts = PORT_PROTOCOLS.includes(proto);
  if (!hasPorts && proto !== PROTO_ESP && proto !== PROTO_AH) return [0, 0];
  const at = proto === PROTO_AH ? 4 : 0;
  if (length - headerLength < at + PORTS_BYTES) return null;
  if (hasPorts && fragmentOffset === 0) return [sport, dport];
  const payload = payloadOf(packet);
  return [u16At(payload, at), u16At(payload, at + 2)];
}

function least(one: bigint, other: bigint): bigint {
  return one < other ? one : other;
}

function u64(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}
