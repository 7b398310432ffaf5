// Fragments -> datagrams: what waits, and for how long.
//
// ip_frag_queue() and ip_frag_reasm() in net/ipv4/ip_fragment.c, inet_frag_queue_insert() in net/ipv4/inet_fragment.c.

import { decode } from "../packet/decode.ts";
import { encode } from "../packet/encode.ts";
import type { Packet } from "../packet/packet.ts";

/** What has waited, with what was kept beside its first fragment. */
export interface Whole<Kept> {
  readonly packet: Packet;
  readonly kept: Kept;
  /** Bytes of payload of its fragments, in the order of their offsets. */
  readonly sizes: readonly number[];
  /** Bytes of the longest fragment. */
  readonly longest: number;
}

interface Part<Kept> {
  readonly packet: Packet;
  readonly kept: Kept;
  readonly start: number;
  readonly end: number;
}

interface Waiting<Kept> {
  readonly until: number;
  readonly parts: Part<Kept>[];
  /** What its sender had sent when its last one came. */
  count: number;
  /** Where parts lie that came each directly behind the one before: pairs start, end, in order. */
  runs: readonly (readonly [start: number, end: number])[];
  bytes: number;
  /** As far as is known. */
  end: number;
  ended: boolean;
}

const MOST_BYTES = 65535;
/** ipfrag_max_dist. */
const MOST_BETWEEN = 64;

export class Reassembly<Kept> {
  readonly #waiting = new Map<string, Waiting<Kept>>();
  /** Fragments by sender. */
  readonly #counts = new Map<number, number>();
  readonly #seconds: number;

  /** @param seconds that fragments wait for the others */
  constructor(seconds: number) {
    this.#seconds = seconds;
  }

  /** null: others are missing, or the fragment spoils its datagram, or has been seen. */
  add(gatherer: number, packet: Packet, kept: Kept, now: number): Whole<Kept> | null {
    const key = [gatherer, packet.src, packet.dst, packet.proto, packet.ipId].join();
    const count = (this.#counts.get(packet.src) ?? 0) + 1;
    this.#counts.set(packet.src, count);
    this.#expire(now);
    let waiting = this.#waiting.get(key);
    if (waiting !== undefined && waiting.parts.length > 0 && count > waiting.count + MOST_BETWEEN) {
      // so much of this sender came meanwhile that the number may be that of another datagram: ip_frag_too_far()
      this.#waiting.delete(key);
      waiting = undefined;
    }
    if (waiting === undefined) {
      waiting = { until: now + this.#seconds, count, parts: [], runs: [], bytes: 0, end: 0, ended: false };
      this.#waiting.set(key, waiting);
    }
    waiting.count = count;
    const part = partOf(packet, kept);
    const taken = isFitting(waiting, part) ? take(waiting, part) : "spoilt";
    if (taken === "taken" && !isWhole(waiting)) return null;
    if (taken === "seen") return null;
    this.#waiting.delete(key);
    return taken === "taken" ? join(waiting) : null;
  }

  /** What began first stands first in the map. */
  #expire(now: number): void {
    for (const [key, { until }] of this.#waiting) {
      if (until > now) break;
      this.#waiting.delete(key);
    }
  }
}

/** But for the last one, all have multiples of eight bytes. */
function partOf<Kept>(packet: Packet, kept: Kept): Part<Kept> {
  const start = packet.fragmentOffset * 8;
  const bytes = packet.length - packet.headerLength;
  return { packet, kept, start, end: start + (packet.moreFragments ? bytes & ~7 : bytes) };
}

/** Where the datagram ends is said once, and nothing lies behind. */
function isFitting<Kept>(waiting: Waiting<Kept>, { packet, start, end }: Part<Kept>): boolean {
  if (packet.moreFragments) {
    if (waiting.ended && end > waiting.end) return false;
    waiting.end = Math.max(waiting.end, end);
  } else {
    if (end < waiting.end || (waiting.ended && end > waiting.end)) return false;
    waiting.ended = true;
    waiting.end = end;
  }
  return end > start;
}

function take<Kept>(waiting: Waiting<Kept>, part: Part<Kept>): "taken" | "seen" | "spoilt" {
  const { runs } = waiting;
  const { start, end } = part;
  const last = runs.at(-1);
  const isBehind = last === undefined || start >= last[1];
  if (!isBehind) {
    // what reaches beyond the last run is not looked for in the others
    if (end > last[1]) return "spoilt";
    if (runs.some(([from, to]) => from <= start && end <= to)) return "seen";
    if (runs.some(([from, to]) => from < end && start < to)) return "spoilt";
  }
  if (isBehind && last?.[1] === start) waiting.runs = [...runs.slice(0, -1), [last[0], end]];
  else waiting.runs = [...runs, [start, end] as const].sort(([one], [other]) => one - other);
  waiting.parts.push(part);
  waiting.bytes += end - start;
  return "taken";
}

function isWhole<Kept>({ parts, bytes, end, ended }: Waiting<Kept>): boolean {
  return ended && bytes === end && parts.some(({ start }) => start === 0);
}

/** null: it is longer than a packet may be. */
function join<Kept>({ parts, bytes }: Waiting<Kept>): Whole<Kept> | null {
  parts.sort((one, other) => one.start - other.start);
  const { packet: first, kept } = parts[0]!;
  const length = first.headerLength + bytes;
  if (length > MOST_BYTES) return null;
  const payload = new Uint8Array(bytes);
  for (const { packet, start, end } of parts) payload.set(packet.payload!.subarray(0, end - start), start);
  const lengths = parts.map(({ packet, start, end }) => packet.headerLength + end - start);
  const longest = Math.max(...lengths);
  // it may not be cut if that was said of one of the longest
  const df = parts.some(({ packet }, index) => packet.df && lengths[index] === longest);
  return {
    packet: { ...decode(encode({ ...first, length, moreFragments: false, df }, payload)), scattered: true },
    kept,
    sizes: parts.map(({ start, end }) => end - start),
    longest,
  };
}
