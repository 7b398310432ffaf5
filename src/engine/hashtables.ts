// The tables of `-m hashlimit` in the engine's memory.

import * as layout from "../layout.ts";
import { prefixMask } from "../net/address.ts";
import { hashBucketOf, hashByteCost, hashEntries, hashWindowOf } from "../net/limit.ts";
import type { HashlimitMatch } from "../rules/ruleset.ts";
import type { Instance } from "./instance.ts";

const PARTS: Readonly<Record<HashlimitMatch["by"][number], number>> = {
  srcip: layout.HASH_BY_SRC,
  srcport: layout.HASH_BY_SPORT,
  dstip: layout.HASH_BY_DST,
  dstport: layout.HASH_BY_DPORT,
};

/** Makes them, empty, and tells the engine where they are. Throws an EngineError where memory does not suffice. */
export function loadHashTables(instance: Instance, tables: readonly HashlimitMatch[]): void {
  if (tables.length === 0) return;
  const records = instance.allocateZeroed(tables.length * layout.HASHLIMIT_BYTES);
  const view = instance.view();
  tables.forEach((table, number) => {
    writeRecord(view, records + number * layout.HASHLIMIT_BYTES, table);
  });
  instance.exports.setHashTables(records);
}

function writeRecord(view: DataView, at: number, of: HashlimitMatch): void {
  const parts =
    of.by.reduce((bits, part) => bits | PARTS[part], 0) |
    (of.bytes ? layout.HASH_OF_BYTES : 0) |
    (of.rateMatch ? layout.HASH_OF_WINDOWS : 0);
  view.setUint32(at + layout.HASHLIMIT_PARTS, parts, true);
  view.setUint32(at + layout.HASHLIMIT_SRC_MASK, prefixMask(of.srcMask), true);
  view.setUint32(at + layout.HASHLIMIT_DST_MASK, prefixMask(of.dstMask), true);
  view.setUint32(at + layout.HASHLIMIT_MOST, hashEntries(of.size, of.max), true);
  view.setFloat64(at + layout.HASHLIMIT_EXPIRE, of.expire, true);
  view.setFloat64(at + layout.HASHLIMIT_GC, of.gcInterval, true);
  view.setFloat64(at + layout.HASHLIMIT_INTERVAL, of.interval * 1000, true);
  const { cost, cap } = costsOf(of);
  view.setBigUint64(at + layout.HASHLIMIT_COST, cost, true);
  view.setBigUint64(at + layout.HASHLIMIT_CAP, cap, true);
}

function costsOf({ average, burst, bytes, rateMatch }: HashlimitMatch): {
  readonly cost: bigint;
  readonly cap: bigint;
} {
  if (rateMatch) {
    const window = hashWindowOf(average, burst, bytes);
    return { cost: window.rate, cap: window.burst };
  }
  return bytes ? { cost: BigInt(hashByteCost(average)), cap: BigInt(burst) } : hashBucketOf(average, burst);
}
