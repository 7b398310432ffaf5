// What becomes of a packet, in its decision record. Copies of one packet write into one record: what left outweighs what
// was delivered, and that outweighs what was dropped, of which the last counts.

import {
  ANSWER_PACKET,
  ANSWER_QUOTED,
  DECISION_ACCEPTED,
  DECISION_CHOSEN,
  DECISION_CT_STATE,
  DECISION_DELIVERED,
  DECISION_DNAT_RULE,
  DECISION_ERRNO,
  DECISION_FLAGS,
  DECISION_IFACE,
  DECISION_LOOPS,
  DECISION_MARK,
  DECISION_MTU,
  DECISION_PATH,
  DECISION_REPLY,
  DECISION_RULE,
  DECISION_SNAT_RULE,
  DECISION_SRC,
  DECISION_TOS,
  DECISION_TTL,
  DECISION_VERDICT,
  DECISION_WHERE,
  DETAIL_BODY,
  DETAIL_CHOSEN,
  DETAIL_QUOTED_DPORT,
  DETAIL_QUOTED_SRC,
  ERRNO_EPERM,
  FIELD_CT_STATE,
  FIELD_IN_IFACE,
  FIELD_MARK,
  FIELD_TOS,
  FIELD_TTL,
  HOOK_FORWARD,
  HOOK_POSTROUTING,
  HOOK_PREROUTING,
  NONE,
  ORIGIN_OPTION,
  ORIGIN_TCP_FLAGS,
  VERDICT_DELIVERED,
  VERDICT_DROPPED,
  VERDICT_HELD,
  VERDICT_REJECTED,
  VERDICT_UNMODELLED,
  WHERE_BEFORE_NETFILTER,
  WHERE_ROUTING,
  WHERE_TRANSMIT,
} from "../src/layout";
import { copyRecord } from "./memory";
import { origin } from "./origin";
import { spillPath } from "./pieces";
import { CURRENT, detail, get, is, IS_FORWARDED, level, out } from "./packet";

/** A decision record that says nothing yet. */
const BLANK = memory.data(64, 16);
/** Decision, detail and origin record of the packet that came. */
let home: usize = 0;
let homeDetail: usize = 0;
let homeOrigin: usize = 0;

export function prepareLog(): void {
  store<u8>(BLANK, VERDICT_DROPPED, DECISION_VERDICT);
  store<u8>(BLANK, WHERE_BEFORE_NETFILTER, DECISION_WHERE);
  store<u32>(BLANK, NONE, DECISION_RULE);
  store<u8>(BLANK, NO_STATE, DECISION_CT_STATE);
  store<u32>(BLANK, NONE, DECISION_REPLY);
  store<u32>(BLANK, NONE, DECISION_DNAT_RULE);
  store<u32>(BLANK, NONE, DECISION_SNAT_RULE);
  store<u32>(BLANK, NONE, DECISION_ACCEPTED);
}

/** In DECISION_CT_STATE: conntrack has not been reached. */
const NO_STATE: u8 = 0xff;

/** Of the current packet: it has gone nowhere. */
export function beginLog(): void {
  copyRecord(out(), BLANK);
  if (level() == 0) {
    home = out();
    homeDetail = detail();
    homeOrigin = origin;
  } else {
    keep();
  }
}

/** The packet that came has been everywhere. */
export function endLog(): void {
  const at = home;
  const verdict = load<u8>(at, DECISION_VERDICT);
  if (verdict < <u8>VERDICT_DROPPED) {
    store<u32>(at, load<u32>(at, DECISION_ACCEPTED), DECISION_RULE);
    store<u8>(at, 0, DECISION_ERRNO);
  } else if (verdict == VERDICT_HELD) {
    store<u32>(at, NONE, DECISION_RULE);
    store<u8>(at, 0, DECISION_ERRNO);
  } else if (verdict == VERDICT_DROPPED) {
    if (load<u8>(at, DECISION_WHERE) >= <u8>WHERE_ROUTING) store<u32>(at, NONE, DECISION_RULE);
    else if (load<u32>(at, DECISION_REPLY) != NONE) store<u8>(at, VERDICT_REJECTED, DECISION_VERDICT);
  }
}

/** The header as it is now. */
function write(): void {
  const at = out();
  // src, dst, sport and dport stand in both records in this order
  v128.store(at, v128.load(CURRENT), DECISION_SRC);
  store<u32>(at, get(FIELD_MARK), DECISION_MARK);
  store<u8>(at, <u8>get(FIELD_TTL), DECISION_TTL);
  store<u8>(at, <u8>get(FIELD_TOS), DECISION_TOS);
  if (level() != 0) {
    keep();
  } else if (detail() != homeDetail) {
    store<u32>(homeDetail, load<u32>(detail(), DETAIL_BODY * 4), DETAIL_BODY * 4);
    store<u32>(homeDetail, load<u32>(detail(), DETAIL_CHOSEN * 4), DETAIL_CHOSEN * 4);
    v128.store(homeDetail, v128.load(detail(), DETAIL_QUOTED_SRC * 4), DETAIL_QUOTED_SRC * 4);
    store<u32>(homeDetail, load<u32>(detail(), DETAIL_QUOTED_DPORT * 4), DETAIL_QUOTED_DPORT * 4);
    store<u32>(homeOrigin, load<u32>(origin, ORIGIN_OPTION), ORIGIN_OPTION);
    store<u32>(homeOrigin, load<u32>(origin, ORIGIN_TCP_FLAGS), ORIGIN_TCP_FLAGS);
  }
}

/** Of an answer: how it is now. */
function keep(): void {
  copyRecord(out() + ANSWER_PACKET, CURRENT);
  v128.store(out(), v128.load(detail(), DETAIL_QUOTED_SRC * 4), ANSWER_QUOTED);
  store<u32>(out(), load<u32>(detail(), DETAIL_QUOTED_DPORT * 4), ANSWER_QUOTED + 16);
}

const ONCE: u32 = (HOOK_PREROUTING + 1) | ((HOOK_FORWARD + 1) << 3) | ((HOOK_POSTROUTING + 1) << 6);

/** What a decision record has room for. */
const MOST_HOOKS: u32 = 10;

/** The packet enters a hook. */
export function enter(hook: i32): void {
  const at = out();
  let path = load<u32>(at, DECISION_PATH);
  if (path == ONCE && hook == HOOK_PREROUTING && is(IS_FORWARDED)) {
    // forwarded to lo it comes round until its time to live has run out
    store<u8>(at, load<u8>(at, DECISION_LOOPS) + 1, DECISION_LOOPS);
    path = 0;
  }
  let hooks = (34 - clz(path)) / 3;
  if (hooks == MOST_HOOKS || load<u8>(at, DECISION_LOOPS) == 255) {
    spillPath(at, load<u8>(at, DECISION_LOOPS), path);
    store<u8>(at, 0, DECISION_LOOPS);
    path = hooks = 0;
  }
  store<u32>(at, path | ((<u32>hook + 1) << (hooks * 3)), DECISION_PATH);
  if (level() != 0 && load<u8>(at, DECISION_VERDICT) >= <u8>VERDICT_DROPPED) keep();
}

/** PREROUTING or OUTPUT is over: from now on it is known what state the packet has. */
export function showState(): void {
  const at = out();
  if (load<u8>(at, DECISION_CT_STATE) == NO_STATE) store<u8>(at, <u8>(get(FIELD_CT_STATE) >> 2), DECISION_CT_STATE);
}

/** A filter chain has let it pass. */
export function accept(rule: u32): void {
  store<u32>(out(), rule, DECISION_ACCEPTED);
}

/** It leaves; `mtu`: in fragments that fit, 0: whole. */
export function depart(verdict: i32, iface: u32, mtu: u32): void {
  const at = out();
  if (load<u8>(at, DECISION_VERDICT) == VERDICT_DELIVERED) {
    store<u8>(at, load<u8>(at, DECISION_FLAGS) | DECISION_DELIVERED, DECISION_FLAGS);
  }
  store<u8>(at, <u8>verdict, DECISION_VERDICT);
  store<u32>(at, iface, DECISION_IFACE);
  store<u16>(at, <u16>mtu, DECISION_MTU);
  write();
}

export function arriveAt(iface: u32): void {
  const at = out();
  if (load<u8>(at, DECISION_VERDICT) < <u8>VERDICT_DELIVERED) {
    store<u8>(at, load<u8>(at, DECISION_FLAGS) | DECISION_DELIVERED, DECISION_FLAGS);
    return;
  }
  store<u8>(at, VERDICT_DELIVERED, DECISION_VERDICT);
  store<u32>(at, iface, DECISION_IFACE);
  write();
}

function ends(verdict: i32, where: i32, shows: bool = level() == 0): bool {
  const at = out();
  const before = load<u8>(at, DECISION_VERDICT);
  if (before < <u8>VERDICT_DROPPED || before == VERDICT_UNMODELLED) return false;
  store<u8>(at, <u8>verdict, DECISION_VERDICT);
  store<u8>(at, <u8>where, DECISION_WHERE);
  // of an answer that a hook drops stays what the hook saw
  if (shows) write();
  return false;
}

/** These give false: the packet does not go on. */
export function drop(where: i32): bool {
  return ends(VERDICT_DROPPED, where, level() == 0 || where == WHERE_ROUTING || where == WHERE_TRANSMIT);
}

export function hold(hook: i32): bool {
  return ends(VERDICT_HELD, hook);
}

/** It goes no further, and what has become of its copy is told, though not of what it had become itself. */
export function dropTwin(): bool {
  return ends(load<u8>(out(), DECISION_VERDICT), load<u8>(out(), DECISION_WHERE));
}

export function fail(where: i32, errno: i32): bool {
  store<u8>(out(), <u8>errno, DECISION_ERRNO);
  return drop(where);
}

/** A rule or policy says so, or NONE: nat; `told`: a sender on the host learns of it. */
export function refuse(hook: i32, rule: u32, told: bool = true): bool {
  const at = out();
  store<u32>(at, rule, DECISION_RULE);
  if (told && get(FIELD_IN_IFACE) == 0) store<u8>(at, ERRNO_EPERM, DECISION_ERRNO);
  return ends(VERDICT_DROPPED, hook);
}

export function unmodelled(reason: i32): bool {
  store<u8>(home, VERDICT_UNMODELLED, DECISION_VERDICT);
  store<u8>(home, <u8>reason, DECISION_WHERE);
  return false;
}

/** Nothing that happens now can be told. */
export function isUnmodelled(): bool {
  return load<u8>(home, DECISION_VERDICT) == VERDICT_UNMODELLED;
}

/** The first answer is what is told. */
export function showAnswer(reply: u32): void {
  const at = out();
  if (load<u32>(at, DECISION_REPLY) == NONE) store<u32>(at, reply, DECISION_REPLY);
}

export function showLot(): void {
  store<u8>(out(), load<u8>(out(), DECISION_FLAGS) | DECISION_CHOSEN, DECISION_FLAGS);
}
