// A set of packets as a diagram -> disjoint boxes for people: each a product of sets, one for each field.
//
// Field by field from the top of the diagram: all values that lead to one and the same rest are one set. Boxes that differ
// in one field alone are put together afterwards, as long as there are any.

import { formatAddress } from "../net/address.ts";
import { TCP_FLAGS } from "../packet/packet.ts";
import { protocolName } from "../packet/protocol.ts";
import { TYPE_NUMBERS } from "./condition.ts";
import { FALSE, TRUE } from "./diagram.ts";
import type { Node } from "./diagram.ts";
import type { Guards } from "./guards.ts";
import { ALL_FIELDS, CT_STATE_NAMES, FIELD, HEADER, SOCKET } from "./space.ts";
import type { Field, FieldName, Space } from "./space.ts";

/** A product of sets. */
export interface Box {
  /** For each of ALL_FIELDS a diagram over its bits. */
  readonly sets: readonly Node[];
  /** Guards and what they say, by rising bit. */
  readonly guards: readonly (readonly [bit: number, holds: boolean])[];
}

/** Fields by name, each with its values as text; a field that is absent is free. */
export type Region = Readonly<Partial<Record<FieldName, readonly string[]>>>;

/** More regions are not told: of one kind, of one pair of rules, of one chain. */
export const MOST_REGIONS = 50_000;

/** Boxes are put together as long as there are no more than these. */
const MOST_MERGED = 20_000;

/** Disjoint, and together all of `node`, which is no more than `limit` boxes long; null: it is. */
export function boxesOf(node: Node, space: Space, limit: number): readonly Box[] | null {
  const boxes: Box[] = [];
  const sets: Node[] = [];
  const guards: (readonly [number, boolean])[] = [];
  const splits = new Map<string, ReadonlyMap<Node, Node>>();
  const { diagram } = space;
  const overGuards = (here: Node): boolean => {
    if (here === FALSE) return true;
    if (here === TRUE) {
      if (boxes.length === limit) return false;
      boxes.push({ sets: [...sets], guards: [...guards] });
      return true;
    }
    for (const holds of [false, true]) {
      guards.push([diagram.bitOf(here), holds]);
      const fits = overGuards(holds ? diagram.highOf(here) : diagram.lowOf(here));
      guards.pop();
      if (!fits) return false;
    }
    return true;
  };
  const overFields = (here: Node, index: number): boolean => {
    const field = ALL_FIELDS[index];
    if (field === undefined) return overGuards(here);
    if (here !== FALSE && diagram.bitOf(here) >= field.end) {
      sets.push(TRUE);
      const fits = overFields(here, index + 1);
      sets.pop();
      return fits;
    }
    const key = `${here} ${index}`;
    let parts = splits.get(key);
    if (parts === undefined) splits.set(key, (parts = split(here, field, space)));
    for (const [rest, set] of parts) {
      if (rest === FALSE) continue;
      sets.push(set);
      const fits = overFields(rest, index + 1);
      sets.pop();
      if (!fits) return false;
    }
    return true;
  };
  if (!overFields(node, 0)) return null;
  return boxes.length > MOST_MERGED ? boxes : merged(boxes, space);
}

/** What is left behind the field, and the values that lead to it. */
function split(node: Node, { end }: Field, { diagram }: Space): ReadonlyMap<Node, Node> {
  const seen = new Map<Node, ReadonlyMap<Node, Node>>();
  const go = (here: Node): ReadonlyMap<Node, Node> => {
    const bit = diagram.bitOf(here);
    if (bit >= end) return new Map([[here, TRUE]]);
    const before = seen.get(here);
    if (before !== undefined) return before;
    const low = go(diagram.lowOf(here));
    const high = go(diagram.highOf(here));
    const parts = new Map<Node, Node>();
    for (const [rest, set] of low) parts.set(rest, diagram.node(bit, set, high.get(rest) ?? FALSE));
    for (const [rest, set] of high) if (!low.has(rest)) parts.set(rest, diagram.node(bit, FALSE, set));
    seen.set(here, parts);
    return parts;
  };
  return go(node);
}

function merged(boxes: readonly Box[], { diagram }: Space): readonly Box[] {
  let rest = boxes;
  for (let before = Infinity; rest.length < before;) {
    before = rest.length;
    // the last fields first: those before them were cut first
    for (let field = ALL_FIELDS.length - 1; field >= 0; field--) {
      const groups = new Map<string, Box>();
      for (const box of rest) {
        const key = JSON.stringify([box.sets.filter((_, index) => index !== field), box.guards]);
        const other = groups.get(key);
        if (other === undefined) groups.set(key, box);
        else {
          const sets = [...box.sets];
          sets[field] = diagram.or(box.sets[field]!, other.sets[field]!);
          groups.set(key, { ...box, sets });
        }
      }
      rest = [...groups.values()];
    }
  }
  return rest;
}

/** The packets of a box, guards left out. */
export function nodeOf(box: Box, { diagram }: Space): Node {
  return box.sets.reduceRight((rest, set) => diagram.and(set, rest), TRUE);
}

/**
 * `universe` says which values there are of a field at all: one that has all of them is free.
 *
 * @param packets of the box, as far as there are such: values that other fields rule out are not told
 */
export function describe(box: Box, packets: Node, space: Space, universe: ReadonlyMap<FieldName, Node>): Region {
  const { diagram } = space;
  const region: Partial<Record<FieldName, readonly string[]>> = {};
  ALL_FIELDS.forEach((field, index) => {
    const all = universe.get(field.name) ?? TRUE;
    if (diagram.and(box.sets[index]!, all) === all) return;
    const set = diagram.exists(packets, (bit) => bit < field.first || bit >= field.end);
    const words = WORDS[field.name](set, space, all);
    if (words !== null) region[field.name] = words;
  });
  // ports and flags tell that the header is there
  const { header, ...others } = region;
  if (header?.[0] !== "whole") return region;
  return ["sport", "dport", "flags", "icmp"].some((name) => name in others) ? others : region;
}

/** Ranges that a list may have. */
const MOST_RANGES = 4_096;

/** Rising; null: they are too many. */
export function rangesOf(
  set: Node,
  { first, end }: Field,
  space: Space,
): readonly (readonly [number, number])[] | null {
  const { diagram } = space;
  const ranges: [number, number][] = [];
  const go = (here: Node, bit: number, lo: number): boolean => {
    if (here === FALSE) return true;
    const size = 2 ** (end - bit);
    if (here === TRUE) {
      const last = ranges.at(-1);
      if (last?.[1] === lo - 1) last[1] = lo + size - 1;
      else ranges.push([lo, lo + size - 1]);
      return ranges.length <= MOST_RANGES;
    }
    const asks = diagram.bitOf(here) === bit;
    return (
      go(asks ? diagram.lowOf(here) : here, bit + 1, lo) &&
      go(asks ? diagram.highOf(here) : here, bit + 1, lo + size / 2)
    );
  };
  return go(set, first, 0) ? ranges : null;
}

/** value and mask of each path: those bits that it asks. */
function cubesOf(set: Node, { end }: Field, space: Space): readonly (readonly [value: number, mask: number])[] {
  const { diagram } = space;
  const cubes: (readonly [number, number])[] = [];
  const go = (here: Node, value: number, mask: number): void => {
    if (here === FALSE) return;
    if (here === TRUE) {
      cubes.push([value, mask]);
      return;
    }
    const weight = 2 ** (end - 1 - diagram.bitOf(here));
    go(diagram.lowOf(here), value, mask + weight);
    go(diagram.highOf(here), value + weight, mask + weight);
  };
  go(set, 0, 0);
  return cubes;
}

type Words = (set: Node, space: Space, all: Node) => readonly string[] | null;

function byRanges(name: FieldName, word: (lo: number, hi: number) => readonly string[]): Words {
  const field = FIELD[name];
  return (set, space) => {
    const ranges = rangesOf(set, field, space);
    if (ranges !== null) return ranges.flatMap(([lo, hi]) => word(lo, hi));
    return cubesOf(set, field, space).map(([value, mask]) => `${word(value, value).join()}/${word(mask, mask).join()}`);
  };
}

/** As value/mask, or what is not. */
function byBits(name: FieldName, word: (value: number, mask: number) => string): Words {
  const field = FIELD[name];
  return (set, space) => {
    const cubes = cubesOf(set, field, space);
    const others = cubesOf(space.diagram.not(set), field, space);
    if (others.length === 1 && cubes.length > 1) return [`!${word(...others[0]!)}`];
    return cubes.map(([value, mask]) => word(value, mask));
  };
}

function numbers(name: FieldName): Words {
  return byRanges(name, (lo, hi) => [lo === hi ? String(lo) : `${lo}-${hi}`]);
}

function addresses(name: "src" | "dst"): Words {
  return byRanges(name, (lo, hi) => {
    const size = hi - lo + 1;
    if (size === 1) return [formatAddress(lo)];
    const length = 32 - Math.log2(size);
    return Number.isInteger(length) && lo % size === 0
      ? [`${formatAddress(lo)}/${length}`]
      : [`${formatAddress(lo)}-${formatAddress(hi)}`];
  });
}

function named(name: FieldName, nameOf: (value: number) => string): Words {
  return byRanges(name, (lo, hi) => Array.from({ length: hi - lo + 1 }, (_, i) => nameOf(lo + i)));
}

/** Names and wildcards; with the others among them, the names that are not. */
function interfaces(name: "in" | "out"): Words {
  return (set, space, all) => {
    const { names, labels } = space.interfaces;
    const field = FIELD[name];
    const numbersIn = (node: Node): readonly number[] =>
      rangesOf(node, field, space)!.flatMap(([lo, hi]) => Array.from({ length: hi - lo + 1 }, (_, i) => lo + i));
    const word = (number: number): string => (number === 0 ? "local" : labels[number - 1]!);
    const there = numbersIn(set);
    if (!there.includes(names.length)) return there.map(word);
    const missing = numbersIn(space.diagram.and(all, space.diagram.not(set)));
    return missing.map((number) => `!${word(number)}`);
  };
}

const HEADER_WORDS = ["whole", "8-19 bytes", "4-7 bytes", "0-3 bytes", "fragment at offset 8", "later fragment"];

function flagWord(value: number, mask: number): string {
  const names = (bits: number): string =>
    Object.entries(TCP_FLAGS)
      .filter(([, bit]) => (bits & bit) !== 0)
      .map(([flag]) => flag)
      .join(",") || "NONE";
  return mask === 0xff ? names(value) : `${names(mask)} ${names(value)}`;
}

function hexWord(value: number, mask: number): string {
  return mask === 0xffff_ffff ? `0x${value.toString(16)}` : `0x${value.toString(16)}/0x${mask.toString(16)}`;
}

function icmpWord(lo: number, hi: number): readonly string[] {
  const whole = (lo & 0xff) === 0 && (hi & 0xff) === 0xff;
  if (!whole) {
    const [first, last] = [`${lo >> 8}/${lo & 0xff}`, `${hi >> 8}/${hi & 0xff}`];
    return [first === last ? first : `${first}-${last}`];
  }
  return [lo >> 8 === hi >> 8 ? String(lo >> 8) : `${lo >> 8}-${hi >> 8}`];
}

/** A state alone stands for all its translations. */
function stateWords(set: Node, space: Space): readonly string[] {
  const there = new Set(
    rangesOf(set, FIELD.ct_state, space)!.flatMap(([lo, hi]) => Array.from({ length: hi - lo + 1 }, (_, i) => lo + i)),
  );
  return CT_STATE_NAMES.flatMap((name, state) => {
    const kinds = [0, 1, 2, 3].filter((nat) => there.has(state * 4 + nat));
    if (kinds.length === 4) return [name];
    return kinds.map((nat) => name + ["", "+SNAT", "+DNAT", "+SNAT+DNAT"][nat]!);
  });
}

const TYPE_NAMES = Object.entries(TYPE_NUMBERS).map(([name]) => name);

function macWord(lo: number, hi: number): readonly string[] {
  const text = (mac: number): string => mac.toString(16).padStart(12, "0").match(/../g)!.join(":");
  return [lo === hi ? text(lo) : `${text(lo)}-${text(hi)}`];
}

const WORDS: Readonly<Record<FieldName, Words>> = {
  header: named("header", (value) => HEADER_WORDS[value] ?? "?"),
  proto: (set, space) => {
    const ranges = rangesOf(set, FIELD.proto, space)!;
    return ranges.flatMap(([lo, hi]) => (lo === hi ? [protocolName(lo)].map(String) : [`${lo}-${hi}`]));
  },
  in: interfaces("in"),
  out: interfaces("out"),
  ct_state: stateWords,
  src: addresses("src"),
  dst: addresses("dst"),
  sport: numbers("sport"),
  dport: numbers("dport"),
  flags: byBits("flags", flagWord),
  icmp: byRanges("icmp", icmpWord),
  tos: byBits("tos", (value, mask) =>
    mask === 0xff ? `0x${value.toString(16)}` : `0x${value.toString(16)}/0x${mask.toString(16)}`,
  ),
  ttl: numbers("ttl"),
  len: numbers("len"),
  mark: byBits("mark", hexWord),
  connmark: byBits("connmark", hexWord),
  frame: named("frame", (value) => ["unicast", "broadcast", "multicast", "otherhost"][value]!),
  src_mac: byRanges("src_mac", macWord),
  socket: named("socket", (value) => Object.keys(SOCKET)[value] ?? "?"),
  uid: numbers("uid"),
  gid: numbers("gid"),
  src_type: named("src_type", (value) => TYPE_NAMES[value] ?? "?"),
  dst_type: named("dst_type", (value) => TYPE_NAMES[value] ?? "?"),
};

/** The guards of a box in words: `limit --limit 5/min` holds or does not. */
export function guardWords(box: Box, guards: Guards): readonly { readonly guard: string; readonly holds: boolean }[] {
  return box.guards.map(([bit, holds]) => ({ guard: guards.of(bit).text, holds }));
}

export { HEADER };
