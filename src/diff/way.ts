// Two rule sets and a host -> which packets from outside end otherwise, over the whole way: delivered, forwarded, refused or
// lost, with another destination or another source.
//
// Both ways are gone backwards (toward.ts), from what becomes of packets at their end; the product of the two functions is
// what differs, as regions of packets as they come in. A translation is told by what it puts in place, so that two of them
// are equal where the packet has that already. The reference takes a packet of each region the whole way through both.
//
// Not decided: answers that hang on guards, what no field tells (limit, recent, string, ...), since what other packets leave
// there, or what a translation has changed, may differ; and sources for which the kernel chooses among the same addresses
// by targets of different kinds. Whether the answer of a REJECT gets through is not followed.

import type { Outcome } from "../classifier.ts";
import type { Host } from "../host/host.ts";
import { formatAddress } from "../net/address.ts";
import { UnsupportedError } from "../reference/error.ts";
import { RuleError } from "../rules/error.ts";
import { printTarget } from "../rules/print.ts";
import type { Rule, Ruleset, TableName, Target } from "../rules/ruleset.ts";
import { align, tableOf } from "./alignment.ts";
import type { Alignment } from "./alignment.ts";
import { outcomeOf, regionsOf, TOO_MANY_REGIONS } from "./arrivals.ts";
import { BudgetError, FALSE, TRUE } from "./diagram.ts";
import type { Diagram, DiagramBudget, Node } from "./diagram.ts";
import { DEFAULT_BUDGET } from "./diff.ts";
import type { Region } from "./region.ts";
import { FIRST_GUARD_BIT } from "./space.ts";
import type { FieldName, Ranges, Space } from "./space.ts";
import { Backwards, contextOf, ported } from "./toward.ts";
import type { Destination, Ends, WayContext } from "./toward.ts";

/** How a packet ends. */
export interface WayEnd {
  readonly verdict: "delivered" | "forwarded" | "rejected" | "dropped";
  /** By which it leaves. */
  readonly out?: string;
  readonly with?: string;
  /** What DNAT or REDIRECT has made its destination. */
  readonly to?: { readonly address: string | null; readonly port: number | null };
  /** The target that translates its source. */
  readonly source?: string;
}

export interface WayDifference {
  readonly found: "difference";
  readonly kind: "verdict" | "reject" | "nat";
  readonly old: WayEnd;
  readonly new: WayEnd;
  readonly region: Region;
  /** A packet line. */
  readonly witness: Readonly<Record<string, unknown>>;
  /** What the reference says of it. */
  readonly outcomes: readonly [old: Outcome, new: Outcome];
}

export interface WayOptions {
  readonly budget?: DiagramBudget;
  readonly signal?: AbortSignal;
}

/** Disjoint regions, and together all; what is not followed is undecided. */
export async function* diffWays(
  rulesets: readonly [old: Ruleset, new: Ruleset],
  host: Host,
  { budget = DEFAULT_BUDGET, signal }: WayOptions = {},
): AsyncGenerator<WayDifference | { readonly found: "undecided"; readonly reason: string }> {
  try {
    const comparison = compareWays(rulesets, host, budget);
    for (const reason of comparison.undecided) yield { found: "undecided", reason };
    for (const { old, new: other, where } of comparison.pairs) {
      const regions = regionsOf(where, comparison);
      if (regions === null) {
        yield { found: "undecided", reason: TOO_MANY_REGIONS };
        continue;
      }
      for (const { region, witness } of regions) {
        const outcomes = [outcomeOf(witness, rulesets[0], host), outcomeOf(witness, rulesets[1], host)] as const;
        [old, other].forEach((end, side) => {
          confirm(end, outcomes[side]!, witness);
        });
        yield { found: "difference", kind: kindOf(old, other), old, new: other, region, witness, outcomes };
        await new Promise((resolve) => setTimeout(resolve, 0));
        if (signal?.aborted === true) return;
      }
    }
  } catch (error) {
    if (error instanceof RuleError) {
      const { position, reason } = error;
      yield { found: "undecided", reason: `${position.file}:${position.line}: ${reason}` };
    } else if (error instanceof BudgetError || error instanceof UnsupportedError)
      yield { found: "undecided", reason: error.message };
    else throw error;
  }
}

export interface WayComparison extends WayContext {
  readonly fields: ReadonlyMap<FieldName, Node>;
  readonly universe: Node;
  readonly pairs: readonly WayPair[];
  /** Why there may be other differences. */
  readonly undecided: readonly string[];
}

export interface WayPair {
  readonly old: WayEnd;
  readonly new: WayEnd;
  readonly where: Node;
}

/** Throws BudgetError, and RuleError and UnsupportedError for what is not followed. */
export function compareWays(
  rulesets: readonly [old: Ruleset, new: Ruleset],
  host: Host,
  budget: DiagramBudget,
): WayComparison {
  const context = contextOf(rulesets, host, budget);
  const { diagram, space } = context;
  const alignments = new Map<TableName, Alignment>();
  const alignmentOf = (name: TableName): Alignment => {
    let alignment = alignments.get(name);
    if (alignment === undefined)
      alignments.set(name, (alignment = align(tableOf(rulesets[0], name), tableOf(rulesets[1], name))));
    return alignment;
  };
  const registry = new EndRegistry(diagram, space, host);
  const [before, after] = (["old", "new"] as const).map(
    (side, index) => new Backwards(rulesets[index]!, (name) => alignmentOf(name)[side], host, context),
  ) as [Backwards, Backwards];
  const { fields, universe } = before.arriving();
  const sides = [before, after].map((backwards) => diagram.and(backwards.from(registry), universe));
  const product = new Map<Node, readonly [number, number]>();
  const numbers = new Map<string, number>();
  const pairing = diagram.operation((a, b) => {
    if (a === b) return FALSE;
    if (!diagram.isLeaf(a) || !diagram.isLeaf(b)) return -1;
    const key = `${a} ${b}`;
    if (!numbers.has(key)) numbers.set(key, FIRST_VALUE + numbers.size);
    const leaf = diagram.leaf(numbers.get(key)!);
    product.set(leaf, [a, b]);
    return leaf;
  });
  const differing = diagram.apply(pairing, sides[0]!, sides[1]!);
  const pairs: WayPair[] = [];
  const undecided = new Set<string>();
  for (const side of sides) {
    const guard = guardIn(side, context);
    if (guard !== null) undecided.add(`what becomes of packets hangs on (${guard}), which no field tells`);
  }
  for (const leaf of diagram.leavesOf(differing)) {
    const ends = product.get(leaf);
    const where = diagram.where(differing, leaf);
    // what hangs on guards is undecided as it is
    if (ends === undefined || guardIn(where, context) !== null) continue;
    const [old, other] = ends.map((each) => registry.of(each)) as [End, End];
    const { equal, unknown } = registry.alike(old, other);
    if (diagram.and(where, unknown) !== FALSE)
      undecided.add(`the sources that${textOf(old)} and${textOf(other)} choose are not compared`);
    const differ = diagram.and(where, diagram.not(diagram.or(equal, unknown)));
    if (differ !== FALSE) pairs.push({ old: told(old), new: told(other), where: differ });
  }
  return {
    ...context,
    ...{ fields, universe, undecided: [...undecided] },
    pairs: pairs.sort((a, b) => rankOf(a) - rankOf(b)),
  };
}

const FIRST_VALUE = 16;

/** A guard that the function asks. */
function guardIn(node: Node, { diagram, guards }: WayContext): string | null {
  for (const each of diagram.nodesOf(node)) {
    const bit = diagram.bitOf(each);
    if (!diagram.isLeaf(each) && bit >= FIRST_GUARD_BIT) return guards.of(bit).text;
  }
  return null;
}

interface Source {
  /** As printed. */
  readonly text: string;
  /** What it may become. */
  readonly addresses: Ranges;
  /** One address, and the port stays where it can. */
  readonly plain: boolean;
}

interface End {
  readonly verdict: WayEnd["verdict"];
  readonly out: string | null;
  readonly with: string | null;
  readonly to: Destination | null;
  readonly source: Source | null;
}

const DROPPED: End = { verdict: "dropped", out: null, with: null, to: null, source: null };

/** Ends of the way as leaves; FALSE is that the packet is dropped. */
class EndRegistry implements Ends {
  readonly delivered: Node;
  readonly forwarded: Node;
  readonly #diagram: Diagram;
  readonly #space: Space;
  readonly #own: Ranges;
  readonly #leaves = new Map<string, Node>();
  readonly #ends = new Map<Node, End>([[FALSE, DROPPED]]);

  constructor(diagram: Diagram, space: Space, { interfaces }: Host) {
    this.#diagram = diagram;
    this.#space = space;
    this.#own = interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => [address, address] as const));
    this.delivered = this.#leaf({ ...DROPPED, verdict: "delivered" });
    this.forwarded = interfaces.slice(1).reduce((node, { name }) => {
      const here = space.is("out", space.interfaces.classOf(name));
      return diagram.choose(here, this.#leaf({ ...DROPPED, verdict: "forwarded", out: name }), node);
    }, FALSE);
  }

  rejected(with_: string): Node {
    return this.#leaf({ ...DROPPED, verdict: "rejected", with: with_ });
  }

  destined(to: Destination, node: Node): Node {
    return this.#passed(node, (end) => ({ ...end, to }));
  }

  sourced(rule: Rule, node: Node): Node {
    const source = this.#sourceOf(rule.target!);
    return this.#passed(node, (end) => ({ ...end, source }));
  }

  of(leaf: Node): End {
    return this.#ends.get(leaf)!;
  }

  /** Where two ends of a packet are the same, and where that is not known. */
  alike(a: End, b: End): { readonly equal: Node; readonly unknown: Node } {
    if (a.verdict !== b.verdict || a.out !== b.out || a.with !== b.with) return { equal: FALSE, unknown: FALSE };
    const diagram = this.#diagram;
    const space = this.#space;
    const address = this.#sameValue("dst", a.to?.address ?? null, b.to?.address ?? null);
    const port = this.#sameValue("dport", a.to?.port ?? null, b.to?.port ?? null);
    const there = diagram.and(address, diagram.or(diagram.not(ported(space)), port));
    const { equal, unknown } = this.#sameSource(a.source, b.source);
    return { equal: diagram.and(there, equal), unknown: diagram.and(there, unknown) };
  }

  /** null: the packet's own. */
  #sameValue(name: "src" | "dst" | "dport", a: number | null, b: number | null): Node {
    if (a === b) return TRUE;
    return a !== null && b !== null ? FALSE : this.#space.is(name, (a ?? b)!);
  }

  #sameSource(a: Source | null, b: Source | null): { readonly equal: Node; readonly unknown: Node } {
    if (a?.text === b?.text) return { equal: TRUE, unknown: FALSE };
    if ((a?.plain ?? true) && (b?.plain ?? true))
      return {
        equal: this.#sameValue("src", a?.addresses[0]![0] ?? null, b?.addresses[0]![0] ?? null),
        unknown: FALSE,
      };
    if (a === null || b === null) return { equal: FALSE, unknown: this.#space.among("src", (a ?? b)!.addresses) };
    const meet = a.addresses.some(([lo, hi]) => b.addresses.some(([from, to]) => lo <= to && from <= hi));
    return { equal: FALSE, unknown: meet ? TRUE : FALSE };
  }

  #sourceOf(target: Target): Source {
    const text = printTarget(target, 4);
    if (target.kind === "MASQUERADE") return { text, addresses: this.#own, plain: false };
    if (target.kind !== "SNAT") return { text, addresses: EVERYTHING, plain: false };
    const { addresses, ports } = target.range;
    if (addresses === null) return { text, addresses: EVERYTHING, plain: false };
    const { lo, hi } = addresses;
    const plain = lo === hi && ports === null && !target.range.random && !target.range.randomFully;
    return { text, addresses: [[lo, hi]], plain };
  }

  #passed(node: Node, change: (end: End) => End): Node {
    return this.#diagram.map(node, (leaf) => {
      const end = this.of(leaf);
      return end.verdict === "delivered" || end.verdict === "forwarded" ? this.#leaf(change(end)) : leaf;
    });
  }

  #leaf(end: End): Node {
    const key = JSON.stringify(end);
    let leaf = this.#leaves.get(key);
    if (leaf === undefined) {
      leaf = this.#diagram.leaf(FIRST_VALUE + this.#leaves.size);
      this.#leaves.set(key, leaf);
      this.#ends.set(leaf, end);
    }
    return leaf;
  }
}

const EVERYTHING: Ranges = [[0, 0xffffffff]];

function textOf({ source }: End): string {
  return source?.text ?? " nothing";
}

function told({ verdict, out, with: with_, to, source }: End): WayEnd {
  return {
    verdict,
    ...(out === null ? {} : { out }),
    ...(with_ === null ? {} : { with: with_ }),
    ...(to === null ? {} : { to: { address: to.address === null ? null : formatAddress(to.address), port: to.port } }),
    ...(source === null ? {} : { source: source.text.trim().replace(/^-j /, "") }),
  };
}

function kindOf(old: WayEnd, other: WayEnd): WayDifference["kind"] {
  const ended = ({ verdict }: WayEnd): boolean => verdict === "dropped" || verdict === "rejected";
  if (ended(old) && ended(other)) return "reject";
  return old.verdict === other.verdict ? "nat" : "verdict";
}

/** What passes now and did not first, then what no longer does. */
function rankOf({ old, new: other }: WayPair): number {
  const passes = ({ verdict }: WayEnd): boolean => verdict === "delivered" || verdict === "forwarded";
  if (passes(old) === passes(other)) return passes(old) ? 2 : 3;
  return passes(other) ? 0 : 1;
}

/** What does not show is a mistake of ours. */
function confirm({ verdict, out, to }: WayEnd, { verdict: said, iface, packet }: Outcome, line: object): void {
  const ends = verdict === said || (verdict === "rejected" && said === "dropped");
  const leaves = out === undefined || out === iface;
  const goes = (to?.address ?? null) === null || to!.address === formatAddress(packet.dst);
  if (!ends || !leaves || !goes) throw new Error(`the reference says that it ends otherwise: ${JSON.stringify(line)}`);
}
