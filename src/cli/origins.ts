// Sampled packets -> what each nat rule translated from, for every address it translated to.

import type { Outcome, RuleRef } from "../classifier.ts";
import { formatAddress, formatMask, prefixMask } from "../net/address.ts";
import type { Arrival } from "../packet/packet.ts";
import { nameOfRule } from "./places.ts";

/** So many addresses are named; of more, the prefix that holds them all. */
const NAMED = 4;
/** Addresses counted apart, at most. */
const COUNTED = 4096;

/** Addresses and ports seen, as far as they will be told. */
class Seen {
  readonly #addresses = new Map<number, number>();
  readonly #ports = new Set<number>();
  #samples = 0;
  #first: number | null = null;
  /** One bits where all addresses agree. */
  #same = 0xffffffff;

  add(address: number, port: number): void {
    this.#samples++;
    this.#first ??= address;
    this.#same = (this.#same & ~(address ^ this.#first)) >>> 0;
    const count = this.#addresses.get(address);
    if (count !== undefined || this.#addresses.size < COUNTED) this.#addresses.set(address, (count ?? 0) + 1);
    if (this.#ports.size <= 1) this.#ports.add(port);
  }

  toString(): string {
    const [port] = this.#ports;
    const behind = this.#ports.size === 1 && port !== 0 ? `:${port}` : "";
    const hottest = [...this.#addresses].sort((a, b) => b[1] - a[1]).slice(0, NAMED);
    const named = hottest.map(([address]) => formatAddress(address) + behind).join(", ");
    if (this.#addresses.size <= NAMED) return named;
    // a few that stand for nearly all say more than a prefix
    const samples = hottest.reduce((sum, [, count]) => sum + count, 0);
    if (samples >= this.#samples / 2) return `${named} and others`;
    const mask = prefixMask(Math.clz32(~this.#same));
    return `${formatAddress((this.#first! & mask) >>> 0)}/${formatMask(mask)}${behind}`;
  }
}

/** Remembers what the samples looked like before they were translated. */
export class Origins {
  readonly #seen = new Map<string, Seen>();

  add({ packet }: Arrival, { dnatRule, snatRule, packet: final }: Outcome): void {
    if (dnatRule !== null) this.#at(dnatRule, final.dst, final.dport).add(packet.dst, packet.dport);
    if (snatRule !== null) this.#at(snatRule, final.src, 0).add(packet.src, 0);
  }

  /** `10.10.10.101:32768`, `172.17.0.0/16`; empty if no sample was translated so. `port` is 0 for sources. */
  of(rule: RuleRef, address: number, port: number): string {
    return this.#seen.get(keyOf(rule, address, port))?.toString() ?? "";
  }

  #at(rule: RuleRef, address: number, port: number): Seen {
    const key = keyOf(rule, address, port);
    const seen = this.#seen.get(key) ?? new Seen();
    this.#seen.set(key, seen);
    return seen;
  }
}

function keyOf(rule: RuleRef, address: number, port: number): string {
  return `${nameOfRule(rule)} ${address} ${port}`;
}
