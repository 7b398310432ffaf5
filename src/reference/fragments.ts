// Fragments that wait for the others of their datagram.
//
// Follows ip_frag_queue(), ip_frag_too_far() and ip_frag_reasm() in net/ipv4/ip_fragment.c, inet_frag_queue_insert() in
// net/ipv4/inet_fragment.c. Differs: where the kernel gives a datagram up it tells the sender.

import { decode } from "../packet/decode.ts";
import { encode } from "../packet/encode.ts";
import type { Packet } from "../packet/packet.ts";

/** Who puts datagrams together: conntrack for what comes in and what the host sends, the host for what it receives. */
export type Gatherer = "incoming" | "outgoing" | "delivery";

export interface Whole<Bearer> {
  readonly packet: Packet;
  /** Of the first fragment: what is known of that holds for the whole (skb_morph() in inet_frag_reasm_prepare()). */
  readonly bearer: Bearer;
  /** Bytes of payload of the fragments, in the order of their offsets. */
  readonly sizes: readonly number[];
  /** Bytes of the longest fragment. */
  readonly longest: number;
}

const MOST_BYTES = 65535;
/** With more fragments of one sender between two of a datagram, what there was of it is given up (ipfrag_max_dist). */
const MOST_BETWEEN = 64;

/** Neighbouring fragments that came one behind the other. */
interface Run {
  readonly start: number;
  end: number;
}

interface Queue<Bearer> {
  readonly began: number;
  /** What had come of the sender with its last fragment. */
  seen: number;
  readonly fragments: Packet[];
  first: Bearer | null;
  readonly runs: Run[];
  /** Bytes of payload of the whole, as far as is known. */
  length: number;
  lastIn: boolean;
}

/** @typeParam Bearer what is kept beside a fragment */
export class Fragments<Bearer> {
  readonly #queues = new Map<string, Queue<Bearer>>();
  /** By sender, all fragments so far. */
  readonly #seen = new Map<number, number>();
  readonly #seconds: number;

  /** @param seconds that fragments wait for the others */
  constructor(seconds: number) {
    this.#seconds = seconds;
  }

  /** null: others are missing, or the fragment fits nowhere. */
  gather(gatherer: Gatherer, fragment: Packet, bearer: Bearer, now: number): Whole<Bearer> | null {
    const { src, dst, proto, ipId } = fragment;
    const key = `${gatherer} ${src} ${dst} ${proto} ${ipId}`;
    this.#forgetBefore(now);
    const seen = (this.#seen.get(src) ?? 0) + 1;
    this.#seen.set(src, seen);
    const known = this.#queues.get(key);
    const isFar = known !== undefined && known.fragments.length > 0 && seen - known.seen > MOST_BETWEEN;
    if (isFar) this.#queues.delete(key);
    const queue: Queue<Bearer> =
      known === undefined || isFar
        ? { began: now, seen, fragments: [], first: null, runs: [], length: 0, lastIn: false }
        : known;
    queue.seen = seen;
    this.#queues.set(key, queue);
    const state = insert(queue, fragment, bearer);
    if (state === "corrupt") this.#queues.delete(key);
    if (state !== "complete") return null;
    this.#queues.delete(key);
    return { ...joined(queue.fragments), bearer: queue.first! };
  }

  /** The map keeps the order in which datagrams began. */
  #forgetBefore(now: number): void {
    for (const [key, { began }] of this.#queues) {
      if (now < began + this.#seconds) return;
      this.#queues.delete(key);
    }
  }
}

function startOf({ fragmentOffset }: Packet): number {
  return fragmentOffset * 8;
}

function insert<Bearer>(queue: Queue<Bearer>, fragment: Packet, bearer: Bearer): "waiting" | "complete" | "corrupt" {
  const { moreFragments, headerLength } = fragment;
  const start = startOf(fragment);
  let end = start + fragment.length - headerLength;
  if (moreFragments) {
    end -= end % 8;
    if (end > queue.length && queue.lastIn) return "corrupt";
    queue.length = Math.max(queue.length, end);
  } else {
    if (end < queue.length || (queue.lastIn && end !== queue.length)) return "corrupt";
    queue.lastIn = true;
    queue.length = end;
  }
  if (end <= start) return "corrupt";
  const fits = place(queue.runs, start, end);
  if (fits === "overlaps") return "corrupt";
  if (fits === "twice") return "waiting";
  const cut = {
    ...fragment,
    length: headerLength + end - start,
    payload: fragment.payload?.subarray(0, end - start) ?? null,
  };
  queue.fragments.push(cut);
  if (start === 0) queue.first = bearer;
  const there = queue.fragments.reduce((bytes, one) => bytes + one.length - one.headerLength, 0);
  if (queue.first === null || !queue.lastIn || there !== queue.length) return "waiting";
  const header = queue.fragments.find(({ fragmentOffset }) => fragmentOffset === 0)!.headerLength;
  return header + queue.length > MOST_BYTES ? "corrupt" : "complete";
}

/** A fragment within a run has been seen; one that overlaps spoils the datagram. */
function place(runs: Run[], start: number, end: number): "fits" | "twice" | "overlaps" {
  const last = runs.at(-1);
  if (last !== undefined && last.end < end) {
    if (start < last.end) return "overlaps";
    if (start === last.end) last.end = end;
    else runs.push({ start, end });
    return "fits";
  }
  if (runs.some((run) => start >= run.start && end <= run.end)) return "twice";
  if (runs.some((run) => start < run.end && end > run.start)) return "overlaps";
  runs.push({ start, end });
  runs.sort((one, other) => one.start - other.start);
  return "fits";
}

function joined(fragments: readonly Packet[]): Omit<Whole<unknown>, "bearer"> {
  const inOrder = fragments.toSorted((one, other) => one.fragmentOffset - other.fragmentOffset);
  const [first] = inOrder;
  const sizes = inOrder.map(({ length, headerLength }) => length - headerLength);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const payload = new Uint8Array(bytes);
  for (const one of inOrder) payload.set(one.payload!, startOf(one));
  const longest = Math.max(...fragments.map(({ length }) => length));
  const longestUndivided = Math.max(0, ...fragments.filter(({ df }) => df).map(({ length }) => length));
  const header: Packet = {
    ...first!,
    length: first!.headerLength + bytes,
    moreFragments: false,
    // only if the longest fragment had it
    df: longestUndivided === longest,
  };
  return { packet: { ...decode(encode(header, payload)), scattered: true }, sizes, longest };
}

export function isFragment({ moreFragments, fragmentOffset }: Packet): boolean {
  return moreFragments || fragmentOffset > 0;
}
