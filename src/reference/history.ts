// What `-m recent` and `-m quota` remember: lists by name, what is left of a quota by rule.
//
// recent_mt() and what it calls in net/netfilter/xt_recent.c; quota_mt() in xt_quota.c.

import { RECENT_ENTRIES, recentClock, stampsKept } from "../net/recent.ts";
import { rulesOf } from "../rules/ruleset.ts";
import type { QuotaMatch, RecentMatch, Ruleset } from "../rules/ruleset.ts";
import type { MatchPlace } from "./memory.ts";

interface Entry {
  readonly address: number;
  ttl: number;
  /** Milliseconds; the place that is written next. */
  readonly stamps: number[];
  next: number;
}

interface List {
  /** Of the first rule that names the list. */
  readonly mask: number;
  /** The most that any of its rules needs. */
  kept: number;
  /** In the order in which they came. */
  entries: Entry[];
  /** The one not seen for longest first. */
  seen: Entry[];
}

export class History {
  readonly #lists = new Map<string, List>();
  readonly #left = new Map<MatchPlace["rule"], Map<number, bigint>>();
  #clock = 0;

  constructor(ruleset: Ruleset) {
    for (const { matches } of rulesOf(ruleset)) {
      for (const match of matches) {
        if (match.kind !== "recent") continue;
        const kept = stampsKept(match.hitcount);
        const list = this.#lists.get(match.name);
        if (list === undefined) this.#lists.set(match.name, { mask: match.mask, kept, entries: [], seen: [] });
        else list.kept = Math.max(list.kept, kept);
      }
    }
  }

  start(seconds: number): void {
    this.#clock = recentClock(seconds);
  }

  /** @param ttl as it was before forwarding */
  recent(match: RecentMatch, whole: number, ttl: number): boolean {
    const list = this.#lists.get(match.name)!;
    const address = (whole & list.mask) >>> 0;
    const asks = match.rttl ? ttl : 0;
    const entry = list.entries.find(
      (one) => one.address === address && (asks === 0 || one.ttl === 0 || one.ttl === asks),
    );
    if (entry === undefined) {
      if (match.op !== "set") return match.negated;
      if (list.entries.length >= RECENT_ENTRIES) remove(list, list.seen[0]!);
      const fresh: Entry = { address, ttl, stamps: [this.#clock], next: 1 };
      list.entries.push(fresh);
      list.seen.push(fresh);
      return !match.negated;
    }
    switch (match.op) {
      case "set":
        this.#update(list, entry, ttl);
        return !match.negated;
      case "remove":
        remove(list, entry);
        return !match.negated;
      case "rcheck":
      case "update": {
        const since = this.#clock - match.seconds * 1000;
        const hits = entry.stamps.filter((stamp) => match.seconds === 0 || stamp >= since).length;
        const holds = hits >= Math.max(1, match.hitcount) !== match.negated;
        const updates = match.op === "update" && holds;
        if (match.reap) reap(list, since, updates ? entry : null);
        if (updates) this.#update(list, entry, ttl);
        return holds;
      }
    }
  }

  #update(list: List, entry: Entry, ttl: number): void {
    const place = entry.next % list.kept;
    entry.stamps[place] = this.#clock;
    entry.next = place + 1;
    entry.ttl = ttl;
    list.seen = [...list.seen.filter((one) => one !== entry), entry];
  }

  quota({ rule, index }: MatchPlace, { quota, negated }: QuotaMatch, length: number): boolean {
    const ofRule = this.#left.get(rule) ?? new Map<number, bigint>();
    this.#left.set(rule, ofRule);
    const left = ofRule.get(index) ?? quota;
    const fits = left >= BigInt(length);
    // not even a small one from now on
    ofRule.set(index, fits ? left - BigInt(length) : 0n);
    return fits !== negated;
  }
}

function remove(list: List, entry: Entry): void {
  list.entries = list.entries.filter((one) => one !== entry);
  list.seen = list.seen.filter((one) => one !== entry);
}

/** The one not seen for longest goes if even its last time is too old; not one that is going to be updated. */
function reap(list: List, since: number, updated: Entry | null): void {
  const oldest = list.seen[0];
  if (oldest === undefined || oldest === updated) return;
  if (oldest.stamps[oldest.next - 1]! < since) remove(list, oldest);
}
