// A chain and all it calls -> Program: one ordered list of clauses, so that no stack is needed.
//
// A jump whose condition is boxes alone is folded: the clauses of the called chain stand where the jump stands, each
// narrowed by the jump's boxes. That is exact because what boxes ask never changes while the chain runs. A jump that has
// tests (a guard, a mask, a field that an earlier target may change) must be evaluated once, when it is reached:
//
//     i    condition      skip to i+2
//     i+1  always         skip behind the body
//     i+2  the body, narrowed by the pure part of the condition
//
// RETURN is a skip to where the caller goes on. The end of a body entered by goto is a skip to the return point of the
// chain that holds the goto: its condition is never tested a second time. In a built-in chain the return point is the
// policy's clause, the last one, which holds for every packet.
//
// Folding can multiply. What a full expansion would cost is counted before (expansion below); chains that pass the
// budget become programs of their own, lowered once for any packet, which a CALL runs and which BACK leaves. So do chains
// at every so many levels, that lowering one into another has an end before the stack of the machine has. And so does a
// large chain that several built-in chains of its table reach (kube-proxy's KUBE-SERVICES, from PREROUTING and OUTPUT): they
// CALL the same program, whose tree is built once.
//
// Follows ipt_do_table() in net/ipv4/netfilter/ip_tables.c.

import {
  ACTION_CONNMARK,
  ACTION_CT,
  ACTION_NETMAP,
  CONNMARK_RESTORE,
  CONNMARK_SAVE,
  CONNMARK_SET,
  FIELD_CT_STATE,
  TEMPLATE_DIRECTION_SHIFT,
  TEMPLATE_GIVEN,
  TEMPLATE_MARK,
  ACTION_ACCEPT,
  ACTION_BACK,
  ACTION_CALL,
  ACTION_DNAT,
  ACTION_DROP,
  ACTION_ECN,
  ACTION_GO_ON,
  ACTION_HMARK,
  ACTION_IPSET,
  ACTION_MASQUERADE,
  ACTION_REDIRECT,
  ACTION_REJECT,
  ACTION_SET,
  ACTION_SKIP,
  ACTION_SNAT,
  ACTION_TCPMSS,
  ACTION_TCPOPTSTRIP,
  ACTION_TTL,
  DROP_UNTOLD,
  FIELD_LENGTH,
  FIELD_MARK,
  FIELD_TCP_FLAGS,
  FIELD_TOS,
  FIELD_TRANSPORT,
  FIELD_TTL,
  HMARK_CT,
  NAT_ADDRESS_HI,
  NAT_ADDRESS_LO,
  NAT_ADDRESSES,
  NAT_BASE_PORT,
  NAT_BYTES,
  NAT_FLAGS,
  NAT_PERSISTENT,
  NAT_PORT_HI,
  NAT_PORT_LO,
  NAT_PORTS,
  NAT_RANDOM,
  NAT_SHIFT,
  IPSET_ADD,
  IPSET_DELETE,
  IPSET_MAP,
  IPSET_RENEW,
  NONE,
  REJECT_TCP_RESET,
  TTL_DEC,
  TTL_INC,
  TTL_SET,
} from "../layout.ts";
import { TCP_FLAGS } from "../packet/packet.ts";
import { RuleError } from "../rules/error.ts";
import { modelledTarget } from "../rules/modelled.ts";
import type {
  Chain,
  ConnmarkTarget,
  CtTarget,
  HmarkTarget,
  NatRange,
  RejectKind,
  Rule,
  SetRef,
  EcnTarget,
  SetTarget,
  Table,
  Target,
} from "../rules/ruleset.ts";
import { DRAWS, showOf, stagesOf } from "./condition.ts";
import type { ConditionContext, Stage } from "./condition.ts";
import { intersectBoxes, newLabel, ProgramBuilder, remembers, WHOLE } from "./program.ts";
import type { Box, Label, Program } from "./program.ts";
import type { RuleTable } from "./ruletable.ts";

export interface LowerContext extends Omit<ConditionContext, "volatileFields"> {
  readonly rules: RuleTable;
  /** One clause for every rule, for counters and traces; otherwise clauses without effect are dropped. */
  readonly counting: boolean;
}

/** Clauses that folding may make of one built-in chain before chains are shared instead; a chain of more stands in the program of one alone. */
const FOLD_BUDGET = 2_000;
/** ... or this many times the rules that are there, if that is more. */
const FOLD_FACTOR = 4;
/** Chains that call one another further down than this are shared. */
const MOST_LEVELS = 200;
/** A jump with more boxes than these is not folded: each clause of the body would be multiplied by them. */
const MOST_FOLDED_BOXES = 4;
/** A program of more boxes is refused. */
const MOST_BOXES = 8_000_000;

/** Throws a RuleError where the program would pass any bound. */
export function lowerChain(table: Table, chain: Chain, context: LowerContext): Program {
  return lowerChains(table, [chain], context)[0]!;
}

/** Built-in chains of one table, whose programs have the programs that they CALL in common. Throws as lowerChain does. */
export function lowerChains(table: Table, starts: readonly Chain[], context: LowerContext): readonly Program[] {
  const { chains } = table;
  // chains are numbers here: there may be hundreds of thousands
  const numbers = new Map(chains.map(({ name }, number) => [name, number]));
  const calls = chains.map((chain) => callees(chain, numbers));
  const each = starts.map((start) => reachedFrom([numbers.get(start.name)!], calls));
  const all =
    each.length === 1
      ? each[0]!
      : reachedFrom(
          starts.map(({ name }) => numbers.get(name)!),
          calls,
        );
  const lengths = chains.map(({ rules }) => rules.length);
  const changed = chains.map(fieldsChangedBy);
  const budget = each.reduce((sum, reached) => {
    const rules = reached.reduce((count, chain) => count + lengths[chain]!, 0);
    return sum + Math.max(FOLD_BUDGET, FOLD_FACTOR * rules);
  }, 0);
  const sharing = chainsToShare(
    each.map(([start]) => start!),
    all,
    calls,
    lengths,
    budget,
  );
  const { shared } = sharing;
  const lowering = (reached: readonly number[]): Lowering => {
    const volatileFields = reached.reduce((fields, chain) => fields | changed[chain]!, 0);
    return new Lowering({ ...context, volatileFields }, chains, numbers, sharing);
  };
  const subs = shared.size === 0 ? [] : lowering(all).subs();
  return each.map((reached) =>
    lowering(reached).program(reached[0]!, reached.some((chain) => shared.has(chain)) ? subs : []),
  );
}

function fieldsChangedBy({ rules }: Chain): number {
  let fields = 0;
  for (const { target } of rules) if (target !== null) fields |= fieldsChanged(target);
  return fields;
}

/** Bits of the fields that a target changes before the chain goes on. */
function fieldsChanged(target: Target): number {
  switch (target.kind) {
    case "MARK":
    case "HMARK":
      return 1 << FIELD_MARK;
    case "CONNMARK":
      return target.op === "restore" ? 1 << FIELD_MARK : 0;
    case "SET":
      return target.mapMark ? 1 << FIELD_MARK : 0;
    case "NOTRACK":
    case "CT":
      return 1 << FIELD_CT_STATE;
    case "TOS":
    case "DSCP":
      return 1 << FIELD_TOS;
    case "TTL":
      return 1 << FIELD_TTL;
    case "ECN":
      return (1 << FIELD_TOS) | (1 << FIELD_TCP_FLAGS);
    case "TCPMSS":
      return (1 << FIELD_LENGTH) | (1 << FIELD_TRANSPORT);
    default:
      return 0;
  }
}

/** What the clause of a rule that counts has beside its boxes. */
interface Counted {
  readonly rule: number;
  readonly tests: Stage["tests"];
  readonly counts: boolean;
}

class Lowering {
  readonly #context: LowerContext & ConditionContext;
  readonly #chains: readonly Chain[];
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #shared: Sharing["shared"];
  readonly #copies: Sharing["copies"];
  /** By the rule's number, of rules that are written out more than once. */
  readonly #stages = new Map<number, readonly Stage[]>();
  #builder = new ProgramBuilder();

  constructor(
    context: LowerContext & ConditionContext,
    chains: readonly Chain[],
    numbers: ReadonlyMap<string, number>,
    { shared, copies }: Sharing,
  ) {
    this.#context = context;
    this.#chains = chains;
    this.#numbers = numbers;
    this.#shared = shared;
    this.#copies = copies;
  }

  /** The programs of the shared chains. */
  subs(): readonly Program[] {
    return [...this.#shared.keys()].map((each) => {
      this.#builder = new ProgramBuilder();
      const end = newLabel();
      this.#chain(each, [WHOLE], end);
      this.#builder.place(end);
      this.#builder.add([WHOLE], ACTION_BACK);
      return this.#builder.finish(this.#context.volatileFields);
    });
  }

  program(start: number, subs: readonly Program[]): Program {
    const chain = this.#chains[start]!;
    this.#builder = new ProgramBuilder();
    const policy = newLabel();
    this.#chain(start, [WHOLE], policy);
    this.#builder.place(policy);
    this.#builder.add([WHOLE], chain.policy === "DROP" ? ACTION_DROP : ACTION_ACCEPT, {
      rule: this.#context.rules.policyOf(chain),
      counts: this.#context.counting,
    });
    return this.#builder.finish(this.#context.volatileFields, subs);
  }

  /** The clauses of a chain for packets of `region`; RETURN leads to `end`, and so must what stands behind. */
  #chain(number: number, region: readonly Box[], end: Label): void {
    const chain = this.#chains[number]!;
    const first = this.#context.rules.firstOf(chain);
    const again = this.#copies[number]! > 1;
    chain.rules.forEach((rule, index) => {
      this.#rule(rule, this.#stagesOf(rule, first + index, again), first + index, region, end);
      if (this.#builder.boxCount > MOST_BOXES) {
        throw new RuleError(
          `chain ${chain.name} takes the program over ${MOST_BOXES} boxes: too many alternatives multiply here`,
          rule.position,
          rule.text,
        );
      }
    });
  }

  /** @param again they will be asked for again: kept, they need not be made anew. (Of all rules they are too many to keep.) */
  #stagesOf(rule: Rule, number: number, again: boolean): readonly Stage[] {
    const known = this.#stages.get(number);
    if (known !== undefined) return known;
    const stages = stagesOf(rule, number, this.#context);
    if (again) this.#stages.set(number, stages);
    return stages;
  }

  #rule(rule: Rule, stages: readonly Stage[], number: number, region: readonly Box[], end: Label): void {
    // stages before the last: hold -> next stage, else -> next rule
    const next = newLabel();
    let boxes = region;
    for (const stage of stages.slice(0, -1)) {
      const inside = newLabel();
      boxes = intersectBoxes(boxes, stage.boxes);
      if (boxes.length === 0) {
        this.#builder.place(next);
        return;
      }
      this.#builder.add(boxes, ACTION_SKIP, { rule: number, tests: stage.tests, to: inside });
      this.#builder.add(region, ACTION_SKIP, { to: next });
      this.#builder.place(inside);
    }
    const last = stages[stages.length - 1]!;
    boxes = intersectBoxes(boxes, last.boxes);
    if (boxes.length > 0) this.#target(rule, number, { boxes, tests: last.tests }, region, end);
    this.#builder.place(next);
  }

  #target(rule: Rule, number: number, stage: Stage, region: readonly Box[], end: Label): void {
    const { boxes, tests } = stage;
    const counts = this.#context.counting;
    const options = { rule: number, tests, counts };
    const target = rule.target === null ? null : modelledTarget(rule.target);
    const nat = (range: NatRange) => ({ record: natRecord(range), arg2: this.#context.stateOf(number, DRAWS) });
    if (target === null) {
      this.#passing(boxes, options);
      return;
    }
    switch (target.kind) {
      case "ACCEPT": {
        this.#builder.add(boxes, ACTION_ACCEPT, options);
        return;
      }
      case "DROP": {
        this.#builder.add(boxes, ACTION_DROP, options);
        return;
      }
      case "REJECT": {
        this.#builder.add(boxes, ACTION_REJECT, { ...options, arg: REJECT_CODES[target.with] });
        return;
      }
      case "RETURN": {
        this.#builder.add(boxes, ACTION_SKIP, { ...options, to: end });
        return;
      }
      case "MARK": {
        this.#builder.add(boxes, ACTION_SET, { ...options, field: FIELD_MARK, arg: target.value, arg2: target.mask });
        return;
      }
      case "TOS": {
        this.#builder.add(boxes, ACTION_SET, { ...options, field: FIELD_TOS, arg: target.value, arg2: target.mask });
        return;
      }
      case "DSCP": {
        const bits = { field: FIELD_TOS, arg: target.dscp << 2, arg2: DSCP_MASK };
        this.#builder.add(boxes, ACTION_SET, { ...options, ...bits });
        return;
      }
      case "TTL": {
        this.#builder.add(boxes, ACTION_TTL, { ...options, arg: TTL_CODES[target.op], arg2: target.ttl });
        return;
      }
      case "TCPMSS": {
        this.#builder.add(boxes, ACTION_TCPMSS, { ...options, arg: target.mss === "pmtu" ? NONE : target.mss });
        return;
      }
      case "TCPOPTSTRIP": {
        this.#builder.add(boxes, ACTION_TCPOPTSTRIP, { ...options, record: bitsOf(target.options) });
        return;
      }
      case "HMARK": {
        this.#builder.add(boxes, ACTION_HMARK, { ...options, record: hmarkRecord(target) });
        return;
      }
      case "ECN": {
        this.#ecn(target, boxes, options, region);
        return;
      }
      case "DNAT": {
        this.#builder.add(boxes, ACTION_DNAT, { ...options, ...nat(target.range) });
        return;
      }
      case "SNAT": {
        this.#builder.add(boxes, ACTION_SNAT, { ...options, ...nat(target.range) });
        return;
      }
      case "MASQUERADE": {
        this.#builder.add(boxes, ACTION_MASQUERADE, { ...options, ...nat(target.range) });
        return;
      }
      case "REDIRECT": {
        this.#builder.add(boxes, ACTION_REDIRECT, { ...options, ...nat(target.range) });
        return;
      }
      case "NETMAP": {
        const addresses = { lo: target.address, hi: target.mask };
        this.#builder.add(boxes, ACTION_NETMAP, { ...options, ...nat({ ...NO_RANGE, addresses }) });
        return;
      }
      case "SET": {
        this.#set(target, boxes, options, region);
        return;
      }
      case "CONNMARK": {
        this.#builder.add(boxes, ACTION_CONNMARK, { ...options, ...connmarkOf(target) });
        return;
      }
      case "NOTRACK":
      case "CT": {
        const arg2 = target.kind === "CT" ? this.#context.stateOf(number, DRAWS) : 0;
        this.#builder.add(boxes, ACTION_CT, { ...options, arg: templateOf(target), arg2 });
        return;
      }
      case "LOG":
      case "NFLOG":
      case "TRACE":
      case "CHECKSUM":
      case "CLASSIFY":
      case "AUDIT":
      case "CONNSECMARK":
      case "IDLETIMER":
      case "LED":
      case "RATEEST":
      case "SECMARK":
      case "ULOG": {
        this.#passing(boxes, options);
        return;
      }
      case "TPROXY": {
        this.#builder.add(boxes, ACTION_DROP, options);
        return;
      }
      case "QUEUE":
      case "NFQUEUE": {
        if (target.bypass) this.#builder.add(boxes, ACTION_ACCEPT, options);
        else this.#builder.add(boxes, ACTION_DROP, { ...options, arg: DROP_UNTOLD });
        return;
      }
      case "jump":
      case "goto": {
        this.#call(target, options, stage, region, end);
        return;
      }
    }
  }

  /** Has no effect on the answer. */
  #passing(boxes: readonly Box[], options: Counted): void {
    if (options.counts || options.tests.some(remembers)) this.#builder.add(boxes, ACTION_GO_ON, options);
  }

  #set(
    { add, del, map, exist, timeout, mapMark }: SetTarget,
    boxes: readonly Box[],
    options: Counted,
    region: readonly Box[],
  ): void {
    this.#within(boxes, options, region, () => {
      const change = (ref: SetRef | null, op: number): void => {
        if (ref === null) return;
        const arg = this.#context.ipsets.numberOf(ref.name);
        this.#builder.add(boxes, ACTION_IPSET, { arg, arg2: timeout ?? NONE, field: op | showOf(ref.sides) });
      };
      change(add, exist ? IPSET_RENEW : IPSET_ADD);
      change(del, IPSET_DELETE);
      if (mapMark) change(map, IPSET_MAP);
    });
  }

  #ecn({ ect, ece, cwr }: EcnTarget, boxes: readonly Box[], options: Counted, region: readonly Box[]): void {
    this.#within(boxes, options, region, () => {
      if (ect !== null) this.#builder.add(boxes, ACTION_SET, { field: FIELD_TOS, arg: ect, arg2: ECT_MASK });
      const arg = (ece ?? 0) * TCP_FLAGS.ECE + (cwr ?? 0) * TCP_FLAGS.CWR;
      const arg2 = (ece === null ? 0 : TCP_FLAGS.ECE) + (cwr === null ? 0 : TCP_FLAGS.CWR);
      if (arg2 !== 0) this.#builder.add(boxes, ACTION_ECN, { rule: options.rule, arg, arg2 });
    });
  }

  /** One clause that counts and says whether it holds, then what `effects` adds, all in the same boxes. */
  #within(boxes: readonly Box[], options: Counted, region: readonly Box[], effects: () => void): void {
    const inside = newLabel();
    const after = newLabel();
    this.#builder.add(boxes, ACTION_SKIP, { ...options, to: inside });
    this.#builder.add(region, ACTION_SKIP, { to: after });
    this.#builder.place(inside);
    effects();
    this.#builder.place(after);
  }

  #call(
    target: Extract<Target, { kind: "jump" | "goto" }>,
    options: Counted,
    stage: Stage,
    region: readonly Box[],
    end: Label,
  ): void {
    const callee = this.#numbers.get(target.chain)!;
    const after = newLabel();
    const leave = target.kind === "goto" ? end : after;
    const sub = this.#shared.get(callee);
    const foldable = stage.tests.length === 0 && (stage.boxes.length <= MOST_FOLDED_BOXES || stage.boxes === region);

    if (sub !== undefined && target.kind === "jump") {
      this.#builder.add(stage.boxes, ACTION_CALL, { ...options, arg: sub });
      this.#builder.place(after);
      return;
    }
    let body = stage.boxes;
    if (foldable) {
      if (options.counts) this.#builder.add(stage.boxes, ACTION_GO_ON, options);
    } else {
      const inside = newLabel();
      this.#builder.add(stage.boxes, ACTION_SKIP, { ...options, to: inside });
      this.#builder.add(region, ACTION_SKIP, { to: after });
      this.#builder.place(inside);
      if (body.length > MOST_FOLDED_BOXES) body = region;
    }
    if (sub !== undefined) this.#builder.add(body, ACTION_CALL, { arg: sub });
    else this.#chain(callee, body, leave);
    if (target.kind === "goto") this.#builder.add(body, ACTION_SKIP, { to: end });
    this.#builder.place(after);
  }
}

function connmarkOf(target: ConnmarkTarget): { field: number; arg: number; arg2: number } {
  const shift = ((target.shift.dir === "right" ? 1 : 0) << 8) | (target.shift.bits << 16);
  if (target.op === "set") return { field: CONNMARK_SET | shift, arg: target.value, arg2: target.mask };
  const op = target.op === "save" ? CONNMARK_SAVE : CONNMARK_RESTORE;
  return { field: op | shift, arg: target.ctmask, arg2: target.nfmask };
}

/** TEMPLATE_ bits; 0: not to be tracked. */
function templateOf(target: CtTarget | { readonly kind: "NOTRACK" }): number {
  if (target.kind === "NOTRACK" || target.notrack) return 0;
  const { zone } = target;
  if (zone === null) return TEMPLATE_GIVEN;
  const direction = DIRECTION_CODES[zone.dir] << TEMPLATE_DIRECTION_SHIFT;
  return TEMPLATE_GIVEN | direction | (zone.id === "mark" ? TEMPLATE_MARK : zone.id);
}

const DIRECTION_CODES = { both: 0, ORIGINAL: 1, REPLY: 2 } as const;

const DSCP_MASK = 0xfc;
const ECT_MASK = 3;
const TTL_CODES = { set: TTL_SET, inc: TTL_INC, dec: TTL_DEC } as const;

const REJECT_CODES: Readonly<Record<RejectKind, number>> = {
  "icmp-net-unreachable": 0,
  "icmp-host-unreachable": 1,
  "icmp-proto-unreachable": 2,
  "icmp-port-unreachable": 3,
  "icmp-net-prohibited": 9,
  "icmp-host-prohibited": 10,
  "icmp-admin-prohibited": 13,
  "tcp-reset": REJECT_TCP_RESET,
};

/** Of NETMAP, what is not the network. */
const NO_RANGE = { addresses: null, ports: null, basePort: null, random: false, randomFully: false, persistent: false };

function natRecord(range: NatRange): readonly number[] {
  const words = new Array<number>(NAT_BYTES / 4).fill(0);
  words[NAT_FLAGS / 4] =
    (range.addresses === null ? 0 : NAT_ADDRESSES) |
    (range.ports === null ? 0 : NAT_PORTS) |
    (range.basePort === null ? 0 : NAT_SHIFT) |
    (range.random || range.randomFully ? NAT_RANDOM : 0) |
    (range.persistent ? NAT_PERSISTENT : 0);
  words[NAT_ADDRESS_LO / 4] = range.addresses?.lo ?? 0;
  words[NAT_ADDRESS_HI / 4] = range.addresses?.hi ?? 0;
  words[NAT_PORT_LO / 4] = range.ports?.lo ?? 0;
  words[NAT_PORT_HI / 4] = range.ports?.hi ?? 0;
  words[NAT_BASE_PORT / 4] = range.basePort ?? 0;
  return words;
}

function hmarkRecord(target: HmarkTarget): readonly number[] {
  const { ct, srcMask, dstMask, portMask, portSet, protoMask, seed, modulus, offset } = target;
  return [ct ? HMARK_CT : 0, srcMask, dstMask, portMask, portSet, protoMask, seed, modulus, offset];
}

/** Of numbers 0 to 255 a bit each. */
function bitsOf(numbers: readonly number[]): readonly number[] {
  const words = new Array<number>(8).fill(0);
  for (const number of numbers) words[number >>> 5] = (words[number >>> 5]! | (1 << (number & 31))) >>> 0;
  return words;
}

/** Of each chain those that it calls, as often as it does. */
type Calls = readonly (readonly number[])[];

/** The chains and all they call, callers before what they call; they may be thousands deep. Loops are refused by the parser. */
function reachedFrom(starts: readonly number[], calls: Calls): readonly number[] {
  const seen = new Uint8Array(calls.length);
  for (const start of starts) seen[start] = 1;
  const order: number[] = [];
  const path = [...starts];
  const rests = path.map((chain) => calls[chain]!.length);
  while (path.length > 0) {
    const top = path.length - 1;
    const chain = path[top]!;
    if (rests[top] === 0) {
      order.push(chain);
      path.pop();
      rests.pop();
      continue;
    }
    const callee = calls[chain]![--rests[top]!]!;
    if (seen[callee] === 1) continue;
    seen[callee] = 1;
    path.push(callee);
    rests.push(calls[callee]!.length);
  }
  return order.reverse();
}

function callees({ rules }: Chain, numbers: ReadonlyMap<string, number>): readonly number[] {
  const out: number[] = [];
  for (const { target } of rules) {
    if (target?.kind === "jump" || target?.kind === "goto") out.push(numbers.get(target.chain)!);
  }
  return out;
}

interface Sharing {
  /** Chains to lower once and CALL -> index among the sub-programs. */
  readonly shared: ReadonlyMap<number, number>;
  /** How often each chain is written out. */
  readonly copies: ArrayLike<number>;
}

/**
 * Shared are the deepest chains, large ones that several hooks reach, and where folding every call would pass
 * the budget, those of largest gain.
 */
function chainsToShare(
  starts: readonly number[],
  reached: readonly number[],
  calls: Calls,
  lengths: readonly number[],
  budget: number,
): Sharing {
  const shared = new Map<number, number>();
  const levels = new Uint32Array(calls.length);
  for (const chain of reached) {
    if (levels[chain]! > MOST_LEVELS) {
      shared.set(chain, shared.size);
      levels[chain] = 0;
    }
    for (const callee of calls[chain]!) levels[callee] = Math.max(levels[callee]!, levels[chain]! + 1);
  }
  /** Clauses of one copy of each chain. */
  const sizes = (): Float64Array => {
    const size = new Float64Array(calls.length);
    for (let i = reached.length - 1; i >= 0; i--) {
      const chain = reached[i]!;
      size[chain] = lengths[chain]! + 1;
      for (const callee of calls[chain]!) size[chain] += shared.has(callee) ? 1 : size[callee]!;
    }
    return size;
  };
  /** How often each chain would be written out. */
  const copiesOf = (): Float64Array => {
    const copies = new Float64Array(calls.length);
    for (const start of starts) copies[start] = 1;
    for (const chain of reached) {
      if (shared.has(chain)) copies[chain] = 1;
      for (const callee of calls[chain]!) copies[callee]! += copies[chain]!;
    }
    return copies;
  };
  // a bit for each hook in whose program the chain would stand, and one for those of shared chains
  const programs = new Uint32Array(calls.length);
  starts.forEach((start, hook) => (programs[start] = 1 << hook));
  const whole = sizes();
  for (const chain of reached) {
    const several = (programs[chain]! & (programs[chain]! - 1)) !== 0;
    if (several && whole[chain]! > FOLD_BUDGET && !shared.has(chain)) shared.set(chain, shared.size);
    if (shared.has(chain)) programs[chain] = 1 << starts.length;
    for (const callee of calls[chain]!) programs[callee]! |= programs[chain]!;
  }
  for (;;) {
    const copies = copiesOf();
    const total = reached.reduce((sum, chain) => sum + copies[chain]! * (lengths[chain]! + 1), 0);
    if (total <= budget) return { shared, copies };
    const size = sizes();
    const gain = (chain: number): number => (copies[chain]! - 1) * size[chain]!;
    const costly = reached.filter((chain) => !shared.has(chain) && gain(chain) > 0);
    costly.sort((a, b) => gain(b) - gain(a));
    if (costly.length === 0) return { shared, copies };
    for (const chain of costly.slice(0, Math.max(1, costly.length >> 3))) shared.set(chain, shared.size);
  }
}
