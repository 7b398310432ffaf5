// One packet through one program: clauses in order, until an action ends the look-up.
//
// The way down the tree is walked once for each part; then the leaves are scanned. An action that goes on, or a skip,
// resumes the scan where it stands with a new least clause: the packet's place in the tree cannot have changed, since the
// tree does not cut on fields that actions change. A clause acts once, however many of its boxes hold.
//
// Programs of few boxes have no tree (few.ts), and most of their look-ups follow a path that has been gone before.

import {
  ACTION_BACK,
  ACTION_CALL,
  ACTION_CONNMARK,
  ACTION_CT,
  ACTION_ECN,
  ACTION_ENDS,
  ACTION_GO_ON,
  ACTION_HMARK,
  ACTION_IPSET,
  ACTION_SET,
  ACTION_SKIP,
  ACTION_TCPMSS,
  ACTION_TCPOPTSTRIP,
  ACTION_TTL,
  CLAUSE_ACTION,
  CLAUSE_ARG,
  CLAUSE_ARG2,
  CLAUSE_BYTE_COUNT,
  CLAUSE_BYTES,
  CLAUSE_COUNTS,
  CLAUSE_FIELD,
  CLAUSE_FLAGS,
  CLAUSE_PACKETS,
  CLAUSE_RULE,
  CLAUSE_TEST_COUNT,
  FIELD_LENGTH,
  FIELD_TCP_FLAGS,
  FIELD_TRANSPORT,
  FIELD_TTL,
  FIREWALL_NFT,
  LEAF_HEADER,
  NONE,
  ORIGIN_FLAGS_KNOWN,
  ORIGIN_TCP_FLAGS,
  PROGRAM_BEFORE,
  PROGRAM_FEW,
  PROGRAM_SUBS,
  TRACE_LEVEL,
  TRANSPORT_OFFSET_1,
  TREE_FIRSTS,
  TREE_PARTS,
  TTL_INC,
  TTL_SET,
} from "../src/layout";
import { connmark, setTemplate } from "./conntrack";
import { setHashMark } from "./hmark";
import { changeIpset } from "./ipset";
import { clampMss, origin, startOrigin, stripOptions } from "./origin";
import { is, IS_ANSWER_TO_UNTRACKED } from "./packet";
import { pull } from "./pieces";
import {
  boxesHolding,
  clauseOfBox,
  hasRoom,
  NO_PATH,
  PATH_BEFORE,
  PATH_BYTE_COUNT,
  PATH_CLAUSE,
  PATH_PACKETS,
  PATH_RULE_COUNT,
  PATH_RULES,
  SLOT_PATH,
  slotOf,
  writePath,
} from "./few";
import { DROPPED, holds, HOLDS, startPacket, templateMark } from "./guard";
import { clauseCountOf, clausesOf, dataOf, lastProgram, treeOf } from "./program";
import { flag } from "./way";

/** For each rule and policy u64 packets, u64 bytes. */
let counters: usize = 0;
/** Rule numbers that count are written here while `tracing`. */
let traceStart: usize = 0;
let traceEnd: usize = 0;
let traceTop: usize = 0;
let tracing = false;

/** Return stack of CALL: program, clause. One frame for each level of nesting, which the number of programs bounds. */
let stack: usize = 0;

export function setLookUp(countersAt: usize, stackAt: usize): void {
  counters = countersAt;
  stack = stackAt;
}

/** From here on traces are written to `bytes` bytes at `at`; 0: not any more. */
export function setTrace(at: usize, bytes: usize): void {
  traceStart = traceTop = at;
  traceEnd = at + bytes;
  tracing = at != 0;
}

/** What follows is of the packet itself (0), or of an answer. */
export function markTrace(level: u32): void {
  if (tracing && traceTop < traceEnd) {
    store<u32>(traceTop, TRACE_LEVEL | level);
    traceTop += 4;
  }
}

/** Words written since setTrace. */
export function traceCount(): u32 {
  return <u32>((traceTop - traceStart) >> 2);
}

export function beginPacket(index: u32, time: f64): void {
  startPacket(index, time);
  startOrigin(index);
}

/** A rule or policy is met. */
function meet(rule: u32): void {
  if (tracing && traceTop < traceEnd) {
    store<u32>(traceTop, rule);
    traceTop += 4;
  }
}

/** The rule that was met last, to be told later; NONE: no trace is written. */
export function withhold(): u32 {
  if (traceTop == traceStart || traceTop >= traceEnd) return NONE;
  traceTop -= 4;
  return load<u32>(traceTop);
}

export function tell(rule: u32): void {
  if (rule != NONE) meet(rule);
}

/** Adds to the counter of a rule or policy. */
function add(rule: u32, packets: u64, bytes: u64): void {
  const at = counters + ((<usize>rule) << 4);
  store<u64>(at, load<u64>(at) + packets);
  store<u64>(at, load<u64>(at, 8) + bytes, 8);
}

// -- paths

/** The path that was written last. */
let lastPath: usize = 0;
// the course that is being written down
let recording = false;
let recordedCount: u32 = 0;
const RECORDED = memory.data(256);
const MOST_RECORDED: u32 = 64;

function record(rule: u32): void {
  if (recordedCount == MOST_RECORDED) {
    recording = false;
    return;
  }
  store<u32>(RECORDED + (recordedCount << 2), rule);
  recordedCount++;
}

/** Counts what the path meets; gives the clause that ends it. */
function follow(path: usize, length: u32): usize {
  if (tracing) {
    const end = load<u32>(path, PATH_RULE_COUNT) << 2;
    for (let i: u32 = 0; i < end; i += 4) meet(load<u32>(path + i, PATH_RULES));
  }
  store<u64>(path, load<u64>(path, PATH_PACKETS) + 1, PATH_PACKETS);
  store<u64>(path, load<u64>(path, PATH_BYTE_COUNT) + <u64>length, PATH_BYTE_COUNT);
  return <usize>load<u32>(path, PATH_CLAUSE);
}

/** Adds what clauses and paths have counted to the counters of their rules. */
export function settleCounters(): void {
  for (let program = lastProgram; program != 0; program = <usize>load<u32>(program, PROGRAM_BEFORE)) {
    let clause = clausesOf(program);
    for (let left = clauseCountOf(program); left != 0; left--, clause += CLAUSE_BYTES) {
      const packets = load<u64>(clause, CLAUSE_PACKETS);
      if (packets == 0) continue;
      add(load<u32>(clause, CLAUSE_RULE), packets, load<u64>(clause, CLAUSE_BYTE_COUNT));
      store<u64>(clause, 0, CLAUSE_PACKETS);
      store<u64>(clause, 0, CLAUSE_BYTE_COUNT);
    }
  }
  for (let path = lastPath; path != 0; path = <usize>load<u32>(path, PATH_BEFORE)) {
    const packets = load<u64>(path, PATH_PACKETS);
    const bytes = load<u64>(path, PATH_BYTE_COUNT);
    const end = load<u32>(path, PATH_RULE_COUNT) << 2;
    for (let i: u32 = 0; i < end; i += 4) add(load<u32>(path + i, PATH_RULES), packets, bytes);
    store<u64>(path, 0, PATH_PACKETS);
    store<u64>(path, 0, PATH_BYTE_COUNT);
  }
}

// -- trees

/** The root of a part, followed to its leaf. */
function leafOf(node: usize, packet: usize): usize {
  let cut = load<u32>(node);
  while (<i32>cut >= 0) {
    const window1 =
      (load<u32>(packet + (((cut >> 9) & 15) << 2)) >> ((cut >> 4) & 31)) & (((<u32>1) << (cut & 15)) - 1);
    const bits2 = (cut >> 13) & 15;
    const window2 = (load<u32>(packet + (((cut >> 22) & 15) << 2)) >> ((cut >> 17) & 31)) & (((<u32>1) << bits2) - 1);
    node = load<u32>(node, 4) + ((window1 | (window2 << (cut & 15))) << 3);
    cut = load<u32>(node);
  }
  return node;
}

/** Bit for each of the block's four boxes: it holds. */
function blockMask(block: usize, fields: u32, packet: usize): u32 {
  let good = i32x4.splat(-1);
  let at = block + 16;
  while (fields != 0) {
    const value = v128.load32_splat(packet + (ctz(fields) << 2));
    good = v128.and(good, i32x4.le_u(i32x4.sub(value, v128.load(at)), v128.load(at, 16)));
    fields &= fields - 1;
    at += 32;
  }
  return <u32>i32x4.bitmask(good);
}

// Where the scan of each part stands (4 parts at the most): block (0: not yet begun), its end, fields, clause of the next box that
// holds (not yet begun: none before), bits of the block not yet looked at.
const PART_BLOCK = memory.data(16, 16);
const PART_END = memory.data(16);
const PART_FIELDS = memory.data(16);
const PART_HIT = memory.data(16, 16);
const PART_BITS = memory.data(16);

/** Moves the part's scan on to the first box that holds, of clause `from` or later. */
function seek(part: usize, packet: usize, from: u32): void {
  let block = <usize>load<u32>(PART_BLOCK + part);
  const end = <usize>load<u32>(PART_END + part);
  const fields = load<u32>(PART_FIELDS + part);
  let bits = load<u32>(PART_BITS + part);
  const bytes: usize = 16 + 32 * popcnt(fields);
  for (;;) {
    while (bits != 0) {
      const clause = load<u32>(block + (ctz(bits) << 2));
      if (clause >= from) {
        // NONE, which fills the last block up, is the end too
        store<u32>(PART_HIT + part, clause);
        store<u32>(PART_BITS + part, bits);
        store<u32>(PART_BLOCK + part, <u32>block);
        return;
      }
      bits &= bits - 1;
    }
    block += bytes;
    if (block >= end) break;
    bits = blockMask(block, fields, packet);
  }
  store<u32>(PART_HIT + part, NONE);
  store<u32>(PART_BITS + part, 0);
  store<u32>(PART_BLOCK + part, <u32>block);
}

/** What `act` says beside the clause to go on from: no clause has such a number. */
const ENDED: u32 = 0xffffffff;
const LEFT: u32 = 0xfffffffe;
const STOPPED: u32 = 0xfffffffd;

// where a CALL or BACK leads
let depth: usize = 0;
let next: usize = 0;
let nextFrom: u32 = 0;
/** The clause one of whose matches dropped the packet, when `run` gives 0. */
export let dropper: usize = 0;

/** A look-up that stands still while a clause of it asks for a route: PART_ of 16 bytes each, depth, next, nextFrom. */
const SUSPENDED = memory.data(96, 16);

export function suspend(): void {
  v128.store(SUSPENDED, v128.load(PART_BLOCK));
  v128.store(SUSPENDED, v128.load(PART_END), 16);
  v128.store(SUSPENDED, v128.load(PART_FIELDS), 32);
  v128.store(SUSPENDED, v128.load(PART_HIT), 48);
  v128.store(SUSPENDED, v128.load(PART_BITS), 64);
  store<u32>(SUSPENDED, <u32>depth, 80);
  store<u32>(SUSPENDED, <u32>next, 84);
  store<u32>(SUSPENDED, nextFrom, 88);
}

export function resume(): void {
  v128.store(PART_BLOCK, v128.load(SUSPENDED));
  v128.store(PART_END, v128.load(SUSPENDED, 16));
  v128.store(PART_FIELDS, v128.load(SUSPENDED, 32));
  v128.store(PART_HIT, v128.load(SUSPENDED, 48));
  v128.store(PART_BITS, v128.load(SUSPENDED, 64));
  depth = load<u32>(SUSPENDED, 80);
  next = load<u32>(SUSPENDED, 84);
  nextFrom = load<u32>(SUSPENDED, 88);
}

/** What targets do that are seldom used; false: the packet is dropped. */
function changes(program: usize, action: u32, clause: usize, packet: usize): bool {
  if (action == ACTION_TCPMSS) return clampMss(packet, load<u32>(clause, CLAUSE_ARG));
  if (action == ACTION_TCPOPTSTRIP) return stripOptions(packet, dataOf(program) + load<u32>(clause, CLAUSE_ARG));
  if (action == ACTION_HMARK) return setHashMark(packet, dataOf(program) + load<u32>(clause, CLAUSE_ARG));
  if (action == ACTION_ECN) {
    const transport = load<u32>(packet, FIELD_TRANSPORT * 4);
    if (transport < 20 || transport >= <u32>TRANSPORT_OFFSET_1) return false;
    const flags = load<u32>(packet, FIELD_TCP_FLAGS * 4);
    const after = (flags & ~load<u32>(clause, CLAUSE_ARG2)) ^ load<u32>(clause, CLAUSE_ARG);
    if (after != flags) pull();
    store<u32>(packet, after, FIELD_TCP_FLAGS * 4);
    store<u32>(origin, ORIGIN_FLAGS_KNOWN | after, ORIGIN_TCP_FLAGS);
  }
  if (action == ACTION_IPSET) {
    const how = load<u32>(clause, CLAUSE_FIELD);
    changeIpset(load<u32>(clause, CLAUSE_ARG), packet, how, load<u32>(clause, CLAUSE_ARG2));
  }
  if (action == ACTION_CONNMARK) {
    connmark(packet, load<u32>(clause, CLAUSE_FIELD), load<u32>(clause, CLAUSE_ARG), load<u32>(clause, CLAUSE_ARG2));
  }
  if (action == ACTION_CT && !is(IS_ANSWER_TO_UNTRACKED)) {
    setTemplate(packet, load<u32>(clause, CLAUSE_ARG), templateMark(load<u32>(clause, CLAUSE_ARG2)));
  }
  if (action == ACTION_TTL) {
    const how = load<u32>(clause, CLAUSE_ARG);
    const much = load<u32>(clause, CLAUSE_ARG2);
    const ttl = load<u32>(packet, FIELD_TTL * 4);
    const after = how == TTL_SET ? much : how == TTL_INC ? min<u32>(255, ttl + much) : ttl - min<u32>(ttl, much);
    store<u32>(packet, after, FIELD_TTL * 4);
  }
  return true;
}

/** Does what the clause says, if its tests hold; gives the least clause to go on with, or ENDED, LEFT, STOPPED. */
function act(program: usize, clause: usize, index: u32, packet: usize): u32 {
  if (load<u32>(clause, CLAUSE_TEST_COUNT) != 0) {
    recording = false;
    const held = holds(program, clause, packet);
    if (held != HOLDS) {
      if (held != DROPPED) return index + 1;
      // iptables-nft tells, but does not count, a rule one of whose matches has dropped the packet
      if (flag(FIREWALL_NFT)) meet(load<u32>(clause, CLAUSE_RULE));
      dropper = clause;
      return STOPPED;
    }
  }
  if ((load<u32>(clause, CLAUSE_FLAGS) & CLAUSE_COUNTS) != 0) {
    store<u64>(clause, load<u64>(clause, CLAUSE_PACKETS) + 1, CLAUSE_PACKETS);
    const bytes = load<u64>(clause, CLAUSE_BYTE_COUNT) + <u64>load<u32>(packet, FIELD_LENGTH * 4);
    store<u64>(clause, bytes, CLAUSE_BYTE_COUNT);
    if (tracing || recording) {
      const rule = load<u32>(clause, CLAUSE_RULE);
      meet(rule);
      if (recording) record(rule);
    }
  }
  const action = load<u32>(clause, CLAUSE_ACTION);
  if (action == ACTION_GO_ON) return index + 1;
  if (action >= <u32>ACTION_ENDS) return ENDED;
  if (action == ACTION_SKIP) return load<u32>(clause, CLAUSE_ARG);
  recording = false;
  if (action == ACTION_SET) {
    const field = packet + ((<usize>load<u32>(clause, CLAUSE_FIELD)) << 2);
    store<u32>(field, (load<u32>(field) & ~load<u32>(clause, CLAUSE_ARG2)) ^ load<u32>(clause, CLAUSE_ARG));
    return index + 1;
  }
  if (action == ACTION_CALL) {
    store<u32>(stack + (depth << 3), <u32>program);
    store<u32>(stack + (depth << 3), index + 1, 4);
    depth++;
    next = <usize>load<u32>(<usize>load<u32>(program, PROGRAM_SUBS) + (load<u32>(clause, CLAUSE_ARG) << 2));
    nextFrom = 0;
  } else if (action == ACTION_BACK) {
    depth--;
    next = <usize>load<u32>(stack + (depth << 3));
    nextFrom = load<u32>(stack + (depth << 3), 4);
  } else {
    if (changes(program, action, clause, packet)) return index + 1;
    dropper = clause;
    return STOPPED;
  }
  return LEFT;
}

/** The clause that ended the look-up; 0: a match dropped the packet (a transport header cut short). */
export function run(main: usize, packet: usize): usize {
  const few = <usize>load<u32>(main, PROGRAM_FEW);
  if (few == 0) return runThrough(main, packet);
  const set = boxesHolding(few, packet);
  const slot = slotOf(few, set);
  const path = <usize>load<u32>(slot, SLOT_PATH);
  if (path > NO_PATH) return follow(path, load<u32>(packet, FIELD_LENGTH * 4));
  if (path == NO_PATH || !hasRoom(few)) return runThrough(main, packet);
  recording = true;
  recordedCount = 0;
  const answer = runThrough(main, packet);
  lastPath = writePath(few, slot, set, recording ? answer : 0, RECORDED, recordedCount, lastPath);
  recording = false;
  return answer;
}

/** As run, clause by clause. */
function runThrough(main: usize, packet: usize): usize {
  depth = 0;
  next = main;
  nextFrom = 0;
  let answer: usize = LEFT;
  while (answer == LEFT) {
    if (load<u32>(next, PROGRAM_FEW) != 0) answer = runFew(next, packet);
    else answer = load<u32>(treeOf(next)) == 1 ? runTree(next, packet) : runParts(next, packet);
  }
  return answer;
}

/** A program of few boxes. Gives the clause that ended the look-up, 0, or LEFT. */
function runFew(program: usize, packet: usize): usize {
  const clauses = clausesOf(program);
  const few = <usize>load<u32>(program, PROGRAM_FEW);
  let from = nextFrom;
  for (let set = boxesHolding(few, packet); set != 0; set &= set - 1) {
    const index = clauseOfBox(few, <u32>ctz(set));
    if (index < from) continue;
    const clause = clauses + <usize>index * CLAUSE_BYTES;
    from = act(program, clause, index, packet);
    if (from >= STOPPED) return from == ENDED ? clause : from == LEFT ? LEFT : 0;
  }
  return 0;
}

/** As runFew, for a program whose tree has one part. */
function runTree(program: usize, packet: usize): usize {
  const clauses = clausesOf(program);
  const node = leafOf(treeOf(program) + TREE_PARTS, packet);
  const fields = load<u32>(node) & 0xffff;
  const bytes: usize = 16 + 32 * popcnt(fields);
  let block = <usize>load<u32>(node, 4) + LEAF_HEADER;
  let from = nextFrom;
  // the last box holds for every packet, so the leaf's end is never passed
  for (; ; block += bytes) {
    if (load<u32>(block, 12) < from) continue;
    let bits = blockMask(block, fields, packet);
    while (bits != 0) {
      const index = load<u32>(block + (ctz(bits) << 2));
      bits &= bits - 1;
      if (index < from) continue;
      const clause = clauses + <usize>index * CLAUSE_BYTES;
      from = act(program, clause, index, packet);
      if (from >= STOPPED) return from == ENDED ? clause : from == LEFT ? LEFT : 0;
    }
  }
  return 0;
}

/** Walks down a part's tree, and on to the first box that holds, of clause `from` or later. */
function openPart(tree: usize, part: usize, packet: usize, from: u32): void {
  const node = leafOf(tree + TREE_PARTS + (part << 1), packet);
  const fields = load<u32>(node) & 0xffff;
  const leaf = <usize>load<u32>(node, 4);
  const bytes: usize = 16 + 32 * popcnt(fields);
  const block = leaf + LEAF_HEADER;
  store<u32>(PART_FIELDS + part, fields);
  store<u32>(PART_END + part, <u32>(block + <usize>load<u32>(leaf) * bytes));
  store<u32>(PART_BLOCK + part, <u32>(block - bytes));
  store<u32>(PART_BITS + part, 0);
  seek(part, packet, from);
}

/**
 * As runTree, for a tree of several parts: the lowest clause that any of them finds is next. A part is not looked at before
 * the first of its clauses would be.
 */
function runParts(program: usize, packet: usize): usize {
  const tree = treeOf(program);
  const clauses = clausesOf(program);
  const parts = (<usize>load<u32>(tree)) << 2;
  let from = nextFrom;
  v128.store(PART_HIT, v128.load(tree, TREE_FIRSTS));
  v128.store(PART_BLOCK, i64x2.splat(0));
  for (;;) {
    let index = load<u32>(PART_HIT);
    let first: usize = 0;
    for (let part: usize = 4; part < parts; part += 4) {
      const hit = load<u32>(PART_HIT + part);
      if (hit >= index) continue;
      index = hit;
      first = part;
    }
    if (load<u32>(PART_BLOCK + first) == 0) {
      openPart(tree, first, packet, from);
      continue;
    }
    const clause = clauses + <usize>index * CLAUSE_BYTES;
    from = act(program, clause, index, packet);
    if (from >= STOPPED) return from == ENDED ? clause : from == LEFT ? LEFT : 0;
    // parts that stand before `from` seek again
    for (let part: usize = 0; part < parts; part += 4) {
      if (load<u32>(PART_HIT + part) < from && load<u32>(PART_BLOCK + part) != 0) seek(part, packet, from);
    }
  }
  return 0;
}
