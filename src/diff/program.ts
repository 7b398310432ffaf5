// A built-in chain and all it calls -> one diagram: what becomes of every packet that comes in.
//
// A rule is a function of the packet: its target's outcome where it holds, "through" elsewhere. Two rules in a row are
// the first, with the second in the place of every "through"; a chain is its rules in a row, put together in pairs, so
// that each part is walked as often as the number of halvings tells and not once for each rule. A jump is the called
// chain's own diagram in the place of a target, made once however often it is called. RETURN is an ending of its own
// that becomes "through" at the end of its chain; a goto turns the "through" of what it enters into one.
//
// Where a target has changed what later rules ask (marks, TOS, TTL), these are asked about the changed packet: their
// bits are replaced by what they have become (Outcomes.after).
//
// Follows ipt_do_table() in net/ipv4/netfilter/ip_tables.c.

import { RuleError } from "../rules/error.ts";
import { printTarget } from "../rules/print.ts";
import type { Chain, ConnmarkTarget, EcnTarget, Rule, Table, Target } from "../rules/ruleset.ts";
import { conditionOf, hasConnection } from "./condition.ts";
import type { Condition } from "./condition.ts";
import { BudgetError, FALSE } from "./diagram.ts";
import type { Node, Operation } from "./diagram.ts";
import type { Guards } from "./guards.ts";
import { notesOfSet } from "./notes.ts";
import type { Notes } from "./notes.ts";
import { NO_EFFECTS, UNTRACKED } from "./outcome.ts";
import type { BitChange, Effects, Ending, Outcomes } from "./outcome.ts";
import { FIELD, HEADER } from "./space.ts";
import type { Field, FieldName, Space } from "./space.ts";

export interface ProgramContext {
  readonly space: Space;
  readonly outcomes: Outcomes;
  readonly guards: Guards;
  readonly notes: Notes;
  /** Diagrams of chains that stand in both rule sets alike, by name. */
  readonly shared: Map<string, Node>;
  /** Diagrams of rules in a row that stand in both rule sets alike, by the first, the last and the place. */
  readonly rows: Map<string, Node>;
  /** Is given the numbers of all rules that hold or drop somewhere in the region. */
  readonly concerned: Set<number>;
  /** Outcomes tell what becomes of a packet, and not who decides it: much smaller where many rules do alike. */
  readonly nameless: boolean;
}

/** Of programs that are yet to be built. */
export function freshContext(
  parts: Pick<ProgramContext, "space" | "outcomes" | "guards" | "notes">,
  nameless = false,
): ProgramContext {
  return { ...parts, shared: new Map(), rows: new Map(), concerned: new Set(), nameless };
}

/** One of the rule sets that are compared. */
export interface Side {
  readonly table: Table;
  /** The number of a rule, the same in both rule sets for rules that correspond. */
  numberOf(rule: Rule): number;
  /** The rule stands in both rule sets. */
  isCommon(rule: Rule): boolean;
  /** It is, and so is the rule before it, behind which it stands in both. */
  isFollowing(rule: Rule): boolean;
  policyNumberOf(chain: Chain): number;
  /** The chain, and all it calls, stands in both rule sets word for word. */
  isShared(chain: Chain): boolean;
}

/** Rules in a row. */
interface Part {
  readonly node: Node;
  readonly length: number;
}

/** Of outcomes that no rule is told of. */
const NOBODY = 0;

/** Chains that call one another further down than this are not compared. */
const MOST_LEVELS = 1_000;

export class ProgramBuilder {
  readonly #context: ProgramContext;
  readonly #side: Side;
  readonly #chains: ReadonlyMap<string, Chain>;
  readonly #made = new Map<string, Node>();
  readonly #changing = new Map<Node, ReadonlySet<number>>();
  readonly #sequence: Operation;
  readonly #region: Node;
  /** Addresses of packets of the region, each side apart: most rules ask for others, which is seen at once. */
  readonly #addresses: { readonly src: Node; readonly dst: Node };
  #level = 0;

  /** @param region the packets that matter: for others the diagram may say anything */
  constructor(context: ProgramContext, side: Side, region: Node) {
    this.#context = context;
    this.#side = side;
    this.#region = region;
    this.#chains = new Map(side.table.chains.map((chain) => [chain.name, chain]));
    const { diagram } = context.space;
    const { outcomes } = context;
    const alone = ({ first, end }: Field): Node => diagram.exists(region, (bit) => bit < first || bit >= end);
    this.#addresses = { src: alone(FIELD.src), dst: alone(FIELD.dst) };
    this.#sequence = diagram.operation((a, b) => {
      if (a === FALSE) return FALSE;
      if (!diagram.isLeaf(a)) return -1;
      const { ending, effects } = outcomes.of(a);
      return ending.kind === "through" ? outcomes.after(effects, b) : a;
    });
  }

  /** Leaves are outcomes; throws BudgetError, and RuleError for what cannot be compared. @param place that facts of its rules are told by */
  builtin(chain: Chain, place = ""): Node {
    const { outcomes } = this.#context;
    const ending: Ending = { kind: chain.policy! };
    const by = this.#context.nameless ? NOBODY : this.#side.policyNumberOf(chain);
    return this.#ended(this.#rules(chain, place), ["through", "return"], (effects) =>
      outcomes.leaf({ ending, by, effects }),
    );
  }

  /** What a rule does, and what rules behind it do then; FALSE, which is nothing to anybody, stays where it is. */
  followed(node: Node, rest: Node): Node {
    return this.#inARow(node, rest);
  }

  /** What calls it goes on at every "through". */
  #chain(chain: Chain, place: string): Node {
    const { outcomes, shared } = this.#context;
    const local = this.#context.guards.isLocalChain(chain, this.#chains);
    const key = local ? `${chain.name} ${place}` : chain.name;
    const known = this.#side.isShared(chain) ? shared : this.#made;
    const before = known.get(key);
    if (before !== undefined) return before;
    if (++this.#level > MOST_LEVELS) throw new BudgetError(`more than ${MOST_LEVELS} chains that call one another`);
    const node = this.#ended(this.#rules(chain, local ? place : ""), ["return"], (effects) =>
      outcomes.leaf({ ending: { kind: "through" }, by: 0, effects }),
    );
    this.#level--;
    known.set(key, node);
    return node;
  }

  #ended(node: Node, kinds: readonly Ending["kind"][], leafFor: (effects: Effects) => Node): Node {
    const { outcomes, space } = this.#context;
    return space.diagram.map(node, (leaf) => {
      const { ending, effects } = outcomes.of(leaf);
      return kinds.includes(ending.kind) ? leafFor(effects) : leaf;
    });
  }

  /** What stands in a row in both rule sets is made once. */
  #rules(chain: Chain, place: string): Node {
    const { rows } = this.#context;
    const parts: Part[] = [];
    const { rules } = chain;
    for (let from = 0; from < rules.length;) {
      let to = from + 1;
      const alike = this.#isAlike(rules[from]!);
      while (alike && to < rules.length && this.#side.isFollowing(rules[to]!) && this.#isAlike(rules[to]!)) to++;
      const key = `${this.#side.numberOf(rules[from]!)}-${this.#side.numberOf(rules[to - 1]!)} ${place}`;
      let node = alike ? rows.get(key) : undefined;
      if (node === undefined) {
        node = this.#joined(rules.slice(from, to).map((rule) => ({ node: this.rule(rule, place), length: 1 })));
        if (alike) rows.set(key, node);
      }
      parts.push({ node, length: to - from });
      from = to;
    }
    return this.#joined(parts);
  }

  /** It does the same in both rule sets. */
  #isAlike(rule: Rule): boolean {
    if (!this.#side.isCommon(rule)) return false;
    const { target } = rule;
    return (target?.kind !== "jump" && target?.kind !== "goto") || this.#side.isShared(this.#chainNamed(target.chain));
  }

  /** In pairs: parts of equal length are put together, the later ones first. */
  #joined(parts: readonly Part[]): Node {
    const { outcomes } = this.#context;
    const runs: Part[] = [];
    const join = (): void => {
      const second = runs.pop()!;
      const first = runs.pop()!;
      runs.push({ node: this.#inARow(first.node, second.node), length: first.length + second.length });
    };
    for (const part of parts) {
      if (part.node === outcomes.through) continue;
      runs.push(part);
      while (runs.length > 1 && runs.at(-1)!.length >= runs.at(-2)!.length) join();
    }
    while (runs.length > 1) join();
    return runs[0]?.node ?? outcomes.through;
  }

  #inARow(first: Node, second: Node): Node {
    const { outcomes, space } = this.#context;
    const { diagram } = space;
    if (!this.#substitutes(first, second)) return diagram.apply(this.#sequence, first, second);
    // what the first has changed must be put in place of it whole, not path by path
    let node = first;
    for (const leaf of diagram.leavesOf(first)) {
      if (leaf === FALSE) continue;
      const { ending, effects } = outcomes.of(leaf);
      if (ending.kind !== "through") continue;
      const here = diagram.where(first, leaf);
      node = diagram.choose(
        here,
        changesBits(effects) ? this.#behind(here, effects, second) : outcomes.after(effects, second),
        node,
      );
    }
    return node;
  }

  /** `second` for packets of `here` that were changed: only what they can have become is looked at. */
  #behind(here: Node, effects: Effects, second: Node): Node {
    const { outcomes, space } = this.#context;
    const changed = outcomes.functionsOf(effects);
    const become = space.diagram.exists(here, (bit) => changed.has(bit));
    return outcomes.after(effects, space.diagram.only(become, second));
  }

  /** Some bit that `second` asks may have been changed of packets that go through `first`. */
  #substitutes(first: Node, second: Node): boolean {
    const { diagram } = this.#context.space;
    const changed = this.#changedBy(first);
    if (changed.size === 0) return false;
    for (const node of diagram.nodesOf(second)) if (changed.has(diagram.bitOf(node))) return true;
    return false;
  }

  /** Bits of packets that go through it. */
  #changedBy(node: Node): ReadonlySet<number> {
    let bits = this.#changing.get(node);
    if (bits === undefined) {
      const { outcomes, space } = this.#context;
      bits = new Set(
        space.diagram.leavesOf(node).flatMap((leaf) => {
          if (leaf === FALSE) return [];
          const { ending, effects } = outcomes.of(leaf);
          return ending.kind === "through" && changesBits(effects) ? [...outcomes.functionsOf(effects).keys()] : [];
        }),
      );
      this.#changing.set(node, bits);
    }
    return bits;
  }

  /** Nothing in the region has its addresses. */
  #isElsewhere({ header }: Rule): boolean {
    const { space } = this.#context;
    return (["src", "dst"] as const).some((name) => {
      const test = header[name];
      return test !== null && !test.negated && !space.meets(this.#addresses[name], name, test.mask, test.address);
    });
  }

  #conditionOf(rule: Rule, place: string): Condition {
    const { guards, space } = this.#context;
    const { diagram } = space;
    const number = this.#side.numberOf(rule);
    const { holds, drops, asked } = conditionOf(rule, space, (match, index, part = "") =>
      guards.bitOf(match, index, part, `${place}/${number}`),
    );
    return { holds: diagram.and(holds, this.#region), drops: diagram.and(drops, this.#region), asked };
  }

  /** What it does alone; "through" elsewhere. @param place on which it is met @param removed its own memory is gone too */
  rule(rule: Rule, place: string, removed = false): Node {
    const { outcomes, space } = this.#context;
    const { diagram } = space;
    const { through } = outcomes;
    if (this.#isElsewhere(rule)) return through;
    const { holds, drops, asked } = this.#conditionOf(rule, place);
    const number = this.#side.numberOf(rule);
    const by = this.#context.nameless ? NOBODY : number;
    if (holds !== FALSE || drops !== FALSE) this.#context.concerned.add(number);
    let node: Node = through;
    if (holds !== FALSE && rule.target !== null)
      node = diagram.choose(holds, this.#target(rule.target, rule, by, `${place}/${number}`), through);
    if (drops !== FALSE)
      node = diagram.choose(drops, outcomes.leaf({ ending: { kind: "DROP" }, by, effects: NO_EFFECTS }), node);
    return this.#noted(rule, removed || !this.#side.isCommon(rule) ? null : number, asked, node);
  }

  /** What the matches note comes before what becomes of the packet. */
  #noted(rule: Rule, number: number | null, asked: readonly Node[], node: Node): Node {
    const { notes, outcomes, space } = this.#context;
    return asked.reduceRight((rest, where, index) => {
      const note = notes.ofMatch(rule.matches[index]!, index, number);
      if (note === null) return rest;
      const leaf = outcomes.leaf({ ending: { kind: "through" }, by: 0, effects: { ...NO_EFFECTS, notes: [note] } });
      const here = space.diagram.and(where, this.#region);
      return this.#inARow(space.diagram.choose(here, leaf, outcomes.through), rest);
    }, node);
  }

  #target(target: Target, rule: Rule, by: number, way: string): Node {
    const { outcomes, space } = this.#context;
    const { diagram } = space;
    const end = (ending: Ending): Node => outcomes.leaf({ ending, by, effects: NO_EFFECTS });
    const go = (effects: Partial<Effects>): Node =>
      outcomes.leaf({ ending: { kind: "through" }, by: 0, effects: { ...NO_EFFECTS, ...effects } });
    switch (target.kind) {
      case "ACCEPT":
      case "DROP":
        return end({ kind: target.kind });
      case "REJECT":
        return end({ kind: "REJECT", with: target.with });
      case "RETURN":
        return outcomes.leaf({ ending: { kind: "return" }, by: 0, effects: NO_EFFECTS });
      case "jump":
        return this.#chain(this.#chainNamed(target.chain), way);
      case "goto":
        return this.#ended(this.#chain(this.#chainNamed(target.chain), way), ["through"], (effects) =>
          outcomes.leaf({ ending: { kind: "return" }, by: 0, effects }),
        );
      case "MARK":
        return go({ bits: maskedChange("mark", target.mask, target.value) });
      case "TOS":
        return go({ bits: maskedChange("tos", target.mask, target.value) });
      case "DSCP":
        return go({ bits: maskedChange("tos", 0xfc, target.dscp << 2) });
      case "TTL": {
        const by = target.op === "inc" ? target.ttl : target.op === "dec" ? -target.ttl : 0;
        const [lo, hi] = target.op === "set" ? [target.ttl, target.ttl] : [0, 255];
        return go({ ttl: { by, lo, hi } });
      }
      case "ECN":
        return diagram.choose(
          target.ece === null && target.cwr === null ? this.#everything() : space.is("header", HEADER.whole),
          go({ bits: ecnChange(target) }),
          end({ kind: "DROP" }),
        );
      case "CONNMARK":
        return diagram.choose(hasConnection(space), go({ bits: connmarkChange(target) }), outcomes.through);
      case "CT":
      case "NOTRACK": {
        const tracking = target.kind === "NOTRACK" || target.notrack ? UNTRACKED : printTarget(target, 4);
        // it does nothing where a connection is known already
        const open = space.among("ct_state", [[0, 3]]);
        return diagram.choose(open, go({ tracking }), outcomes.through);
      }
      case "SET":
        if (target.map !== null)
          throw new RuleError("target SET with --map-set is not compared", rule.position, rule.text, rule.text.length);
        return go({ notes: notesOfSet(target) });
      default: {
        const printed = printTarget(target, 4).replace(/^ -j /, "");
        const name = printed.replace(/ .*/, "");
        if (TELLING.has(name)) return go({ logs: [printed] });
        if (CHANGING.has(name)) return go({ others: [printed] });
        if (ENDING.has(name)) return end({ kind: "target", name, options: printed.slice(name.length) });
        throw new RuleError(`target ${name} is not compared`, rule.position, rule.text, rule.text.length);
      }
    }
  }

  #everything(): Node {
    return this.#context.space.diagram.not(FALSE);
  }

  #chainNamed(name: string): Chain {
    return this.#chains.get(name)!;
  }
}

/** Targets that go on, and tell somebody. */
const TELLING: ReadonlySet<string> = new Set([
  "LOG",
  "NFLOG",
  "TRACE",
  "ULOG",
  "AUDIT",
  "TEE",
  "IDLETIMER",
  "LED",
  "RATEEST",
]);

/** ... and change or keep something that no rule of the comparison asks for. */
const CHANGING: ReadonlySet<string> = new Set([
  "CHECKSUM",
  "CLASSIFY",
  "TCPMSS",
  "TCPOPTSTRIP",
  "SECMARK",
  "CONNSECMARK",
]);

const ENDING: ReadonlySet<string> = new Set([
  "DNAT",
  "SNAT",
  "MASQUERADE",
  "REDIRECT",
  "NETMAP",
  "NFQUEUE",
  "QUEUE",
  "TPROXY",
  "SYNPROXY",
]);

function changesBits({ bits, ttl, tracking }: Effects): boolean {
  return bits.size > 0 || ttl !== null || tracking === UNTRACKED;
}

/** The bit of a field that weighs 2^weight. */
function bitOf(name: FieldName, weight: number): number {
  return FIELD[name].end - 1 - weight;
}

/** field = (field & ~mask) ^ value. */
function maskedChange(name: FieldName, mask: number, value: number): ReadonlyMap<number, BitChange> {
  const bits = new Map<number, BitChange>();
  const width = FIELD[name].end - FIELD[name].first;
  for (let weight = 0; weight < width; weight++) {
    const cleared = ((mask >>> weight) & 1) === 1;
    const inverted = ((value >>> weight) & 1) === 1;
    const bit = bitOf(name, weight);
    if (cleared) bits.set(bit, { of: [], inverted });
    else if (inverted) bits.set(bit, { of: [bit], inverted });
  }
  return bits;
}

const ECE_WEIGHT = 6;
const CWR_WEIGHT = 7;

function ecnChange({ ect, ece, cwr }: EcnTarget): ReadonlyMap<number, BitChange> {
  const bits = new Map(ect === null ? [] : maskedChange("tos", 3, ect));
  if (ece !== null) bits.set(bitOf("flags", ECE_WEIGHT), { of: [], inverted: ece === 1 });
  if (cwr !== null) bits.set(bitOf("flags", CWR_WEIGHT), { of: [], inverted: cwr === 1 });
  return bits;
}

/** connmark_tg_shift() in net/netfilter/xt_connmark.c. */
function connmarkChange(target: ConnmarkTarget): ReadonlyMap<number, BitChange> {
  const { dir, bits: by } = target.shift;
  /** Where the bit of this weight comes from, of what is shifted. */
  const source = (weight: number): number => (by === 32 ? weight : dir === "left" ? weight - by : weight + by);
  const has = (word: number, weight: number): boolean => weight >= 0 && weight < 32 && ((word >>> weight) & 1) === 1;
  const bits = new Map<number, BitChange>();
  for (let weight = 0; weight < 32; weight++) {
    const from = source(weight);
    const inside = from >= 0 && from < 32;
    switch (target.op) {
      case "set": {
        const kept = inside && !has(target.mask, from) ? [bitOf("connmark", from)] : [];
        setBit("connmark", weight, kept, inside && has(target.value, from));
        break;
      }
      case "save":
        setBit("connmark", weight, [
          ...(has(target.ctmask, weight) ? [] : [bitOf("connmark", weight)]),
          ...(has(target.nfmask, from) ? [bitOf("mark", from)] : []),
        ]);
        break;
      case "restore":
        setBit("mark", weight, [
          ...(has(target.nfmask, weight) ? [] : [bitOf("mark", weight)]),
          ...(has(target.ctmask, from) ? [bitOf("connmark", from)] : []),
        ]);
        break;
    }
  }
  return bits;

  function setBit(name: "mark" | "connmark", weight: number, of: readonly number[], inverted = false): void {
    const bit = bitOf(name, weight);
    if (of.length === 1 && of[0] === bit && !inverted) return;
    bits.set(bit, { of, inverted });
  }
}
