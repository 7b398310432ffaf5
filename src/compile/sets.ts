// Sets of ipset, as rules ask them: addresses alone that nothing changes are intervals, all others are looked up by hashing.

import { prefixMask } from "../net/address.ts";
import { rulesOf, SET_TYPES } from "../rules/ruleset.ts";
import type { IpSet, Ruleset, SetElement } from "../rules/ruleset.ts";
import { complement, EMPTY, intersect, unionOf } from "./intervals.ts";
import type { Intervals } from "./intervals.ts";

export class IpsetTable {
  /** In the order in which they are numbered. */
  readonly sets: readonly IpSet[];
  /** Those to which some rule adds. */
  readonly growing: ReadonlySet<IpSet>;
  /** Those that are looked up by hashing. */
  readonly hashed: ReadonlySet<IpSet>;
  /** Rules that ask sets. */
  readonly askers: number;
  readonly #byName: ReadonlyMap<string, IpSet>;
  readonly #changed = new Set<IpSet>();
  readonly #intervals = new Map<string, Intervals | null>();

  constructor(ruleset: Ruleset) {
    this.sets = ruleset.sets ?? [];
    this.#byName = new Map(this.sets.map((set) => [set.name, set]));
    const growing = new Set<IpSet>();
    let askers = 0;
    for (const { matches, target } of this.sets.length === 0 ? [] : rulesOf(ruleset)) {
      if (matches.some(({ kind }) => kind === "set")) askers++;
      if (target?.kind !== "SET") continue;
      for (const ref of [target.add, target.del]) {
        for (const set of ref === null ? [] : this.#partsOf(ref.name)) this.#changed.add(set);
      }
      for (const set of target.add === null ? [] : this.#partsOf(target.add.name)) growing.add(set);
    }
    this.growing = growing;
    this.askers = askers;
    // all of a list, if one of its members is; and those that give marks
    const hashed = new Set(this.sets.filter((set) => this.#changed.has(set) || set.elements.some(marks)));
    for (const { name } of this.sets) {
      if (this.intervalsOf(name, false) === null) for (const set of this.#partsOf(name)) hashed.add(set);
    }
    this.hashed = hashed;
  }

  numberOf(name: string): number {
    return this.sets.indexOf(this.#setNamed(name));
  }

  #setNamed(name: string): IpSet {
    const set = this.#byName.get(name);
    if (set === undefined) throw new Error(`there is no set ${name}`);
    return set;
  }

  /** The set, or the members of the list. */
  #partsOf(name: string): readonly IpSet[] {
    const set = this.#byName.get(name);
    if (set?.type !== "list:set") return set === undefined ? [] : [set];
    return set.elements.map(({ member }) => this.#setNamed(member));
  }

  /**
   * The addresses, of the rule's first side, for which the set holds; of its exceptions with `nomatch`. null: it asks more of
   * the packet, or changes.
   */
  intervalsOf(name: string, nomatch: boolean): Intervals | null {
    const key = `${nomatch ? "!" : ""}${name}`;
    let known = this.#intervals.get(key);
    if (known === undefined) {
      const parts = this.#partsOf(name).map((set) => (this.#changed.has(set) ? null : addressesOf(set, nomatch)));
      const pairs = parts.some((part) => part === null) ? null : parts.flatMap((part) => pairsOf(part!));
      known = pairs === null ? null : unionOf(pairs);
      this.#intervals.set(key, known);
    }
    return known;
  }
}

function marks({ skbmark }: SetElement): boolean {
  return skbmark !== null;
}

function pairsOf(set: Intervals): (readonly [number, number])[] {
  return Array.from({ length: set.length / 2 }, (_, i) => [set[2 * i]!, set[2 * i + 1]!] as const);
}

/** null for a set of more than addresses, of elements that time out, or with a mask that is no prefix. */
function addressesOf(set: IpSet, nomatch: boolean): Intervals | null {
  const [part, ...others] = SET_TYPES[set.type];
  const span = ~set.netmask >>> 0;
  if ((part !== "ip" && part !== "net") || others.length > 0 || (span & (span + 1)) !== 0) return null;
  if (set.elements.some(({ timeout }) => timeout !== null && timeout > 0)) return null;
  if (set.family === 6) return EMPTY;
  if (part === "net") return networksOf(set.elements, nomatch);
  const all = unionOf(set.elements.map(({ ip }) => [ip, (ip | span) >>> 0] as const));
  return set.range === null ? all : intersect(all, [set.range.lo, set.range.hi]);
}

/** Wide networks before narrow ones: the last that holds an address decides. */
function networksOf(elements: readonly SetElement[], nomatch: boolean): Intervals {
  const pair = ({ ip, cidr }: SetElement): readonly [number, number] => [ip, (ip | ~prefixMask(cidr)) >>> 0];
  if (elements.every((element) => !element.nomatch)) return nomatch ? EMPTY : unionOf(elements.map(pair));
  const lengths = [...new Set(elements.map(({ cidr }) => cidr))].sort((a, b) => a - b);
  let held: Intervals = EMPTY;
  for (const length of lengths) {
    const level = elements.filter(({ cidr }) => cidr === length);
    const yes = unionOf(level.filter((element) => element.nomatch === nomatch).map(pair));
    const no = unionOf(level.filter((element) => element.nomatch !== nomatch).map(pair));
    held = unionOf([...pairsOf(intersect(held, complement(no))), ...pairsOf(yes)]);
  }
  return held;
}
