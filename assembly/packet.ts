// The packet on its way, with what the kernel keeps beside it (struct sk_buff); packets put aside while an answer goes its
// way, and packets that have left by lo and have not come in yet.
//
// A packet's record and all that is known of it lie in 128 bytes at one address, so that putting it aside is a copy of
// eight vectors, and reading a word of it is a load from a constant address.
//
// What leaves by lo waits in a queue until the kernel has time for it: at once where the host itself is sending, behind
// the packet that is being received otherwise (netif_rx() in net/core/dev.c).

import { DETAIL_BYTES, FIELD_CT_STATE, ORIGIN_BYTES } from "../src/layout";
import { ct, ctReply, natBits, setConnection } from "./conntrack";
import { markTrace } from "./look-up";
import { copyRecord } from "./memory";
import { origin, setOrigin } from "./origin";

/** The packet's record, then SKB_ words. */
export const CURRENT = memory.data(128, 16);
const CONTEXT_BYTES: usize = 128;

/** u32: its decision record. */
export const SKB_OUT: usize = 64;
/** u32: its detail record. */
export const SKB_DETAIL: usize = 68;
/** The way it has: u32 interface, gateway or NONE, MTU. */
export const SKB_IFACE: usize = 72;
export const SKB_VIA: usize = 76;
export const SKB_MTU: usize = 80;
/** u32: state of its connection as the record brings it, or CT_FIRST. */
export const SKB_TOLD: usize = 84;
/** u32: interface of the socket that sent it, or 0. */
export const SKB_BOUND: usize = 88;
/** u32: 0: it came or was sent; 1: it answers that, and so on. */
export const SKB_LEVEL: usize = 92;
/** u32: IS_ bits. */
export const SKB_BITS: usize = 96;
const SKB_CT: usize = 100;
const SKB_CT_REPLY: usize = 104;
/** u32: its origin record, while it is put aside. */
const SKB_ORIGIN: usize = 108;
/** u32: bytes of the longest of the fragments that it came in; 0: it came whole, or is delivered. */
export const SKB_LONGEST: usize = 112;

/** It has a way; what follows says which. */
export const IS_ROUTED: u32 = 1;
/** ... that ends at the host, or leads there too. */
export const IS_LOCAL: u32 = 2;
export const IS_BROADCAST: u32 = 4;
export const IS_MULTICAST: u32 = 8;
/** ... through the host. */
export const IS_FORWARDED: u32 = 16;
/** Conntrack has seen it, and over lo does not look again. */
export const IS_TRACKED: u32 = 32;
/** No socket has sent it: a copy, or it has come in by lo (skb_clone(), loopback_xmit()). */
export const IS_ORPHAN: u32 = 64;
/** It is a whole that may leave in the fragments that it came in. */
export const IS_AS_IT_CAME: u32 = 256;
/** ... of which the first holds less than the transport header. */
export const IS_SHORT: u32 = 512;
/** Conntrack has summed it up, and it was right. */
export const IS_SUMMED: u32 = 128;

/** It answers a packet that is not tracked: RELATED to no connection, which looks INVALID (nf_conntrack_attach()). */
export const IS_ANSWER_TO_UNTRACKED: u32 = 1024;

export function get(field: i32): u32 {
  return load<u32>(CURRENT + ((<usize>field) << 2));
}

export function set(field: i32, value: u32): void {
  store<u32>(CURRENT + ((<usize>field) << 2), value);
}

export function out(): usize {
  return load<u32>(CURRENT, SKB_OUT);
}

export function detail(): usize {
  return load<u32>(CURRENT, SKB_DETAIL);
}

export function level(): u32 {
  return load<u32>(CURRENT, SKB_LEVEL);
}

export function is(bits: u32): bool {
  return (load<u32>(CURRENT, SKB_BITS) & bits) != 0;
}

export function setBits(bits: u32): void {
  store<u32>(CURRENT, load<u32>(CURRENT, SKB_BITS) | bits, SKB_BITS);
}

/** What is sent again has no socket, and was not put together. */
export function orphan(): void {
  setBits(IS_ORPHAN);
  clearBits(IS_AS_IT_CAME | IS_SHORT);
  store<u32>(CURRENT, 0, SKB_LONGEST);
  store<u32>(CURRENT, 0, SKB_BOUND);
}

export function clearBits(bits: u32): void {
  store<u32>(CURRENT, load<u32>(CURRENT, SKB_BITS) & ~bits, SKB_BITS);
}

/** All but the packet's record: a packet that has gone nowhere. */
export function beginSkb(decision: usize, details: usize, told: u32, bound: u32, ofLevel: u32): void {
  store<u32>(CURRENT, <u32>decision, SKB_OUT);
  store<u32>(CURRENT, <u32>details, SKB_DETAIL);
  store<u32>(CURRENT, told, SKB_TOLD);
  store<u32>(CURRENT, bound, SKB_BOUND);
  store<u32>(CURRENT, ofLevel, SKB_LEVEL);
  store<u32>(CURRENT, 0, SKB_BITS);
  store<u32>(CURRENT, 0, SKB_LONGEST);
}

export function saveContext(to: usize): void {
  store<u32>(CURRENT, <u32>ct, SKB_CT);
  store<u32>(CURRENT, ctReply, SKB_CT_REPLY);
  store<u32>(CURRENT, <u32>origin, SKB_ORIGIN);
  copyRecord(to, CURRENT);
  copyRecord(to + 64, CURRENT + 64);
}

export function loadContext(from: usize): void {
  const before = level();
  copyRecord(CURRENT, from);
  copyRecord(CURRENT + 64, from + 64);
  setConnection(load<u32>(CURRENT, SKB_CT), load<u32>(CURRENT, SKB_CT_REPLY));
  setOrigin(load<u32>(CURRENT, SKB_ORIGIN));
  if (level() != before) markTrace(level());
}

// -- records of its own

/** A detail record and an origin record. */
const RECORD_BYTES: usize = DETAIL_BYTES + ORIGIN_BYTES;

function copyRecords(to: usize): void {
  const details = detail();
  copyRecord(to, details);
  copyRecord(to + 64, details + 64);
  copyRecord(to + DETAIL_BYTES, origin);
}

/** From now on the packet changes records at `to`, and those that it had are another's. */
function ownRecords(to: usize): void {
  copyRecords(to);
  store<u32>(CURRENT, <u32>to, SKB_DETAIL);
  setOrigin(to + DETAIL_BYTES);
}

/** By level: of a packet that goes on when its copy has gone its way, and of that. */
const TWINS = memory.data(2048, 16);

/** The packet is put aside, and a copy of it is the current one, until takeBack(). What rules change is each one's own. */
export function fork(): void {
  const at = TWINS + <usize>level() * (2 * RECORD_BYTES);
  ownRecords(at);
  split(at + RECORD_BYTES);
}

const PIECES = memory.data(1024, 16);

/** As fork(), and the packet that is put aside does not go on. */
export function splitOff(): void {
  split(PIECES + <usize>level() * RECORD_BYTES);
}

function split(to: usize): void {
  putAside();
  ownRecords(to);
}

// -- aside

/** Levels of answers, packets from the queue and what is cut between them. */
const ASIDE = memory.data(4096, 16);
let asideTop: usize = 0;

export function putAside(): void {
  saveContext(ASIDE + asideTop);
  asideTop += CONTEXT_BYTES;
}

export function takeBack(): void {
  asideTop -= CONTEXT_BYTES;
  loadContext(ASIDE + asideTop);
  // its copy or its answer may have translated the connection of both
  if (ct != 0) set(FIELD_CT_STATE, (get(FIELD_CT_STATE) & ~3) | natBits(ct));
}

// -- the queue of lo

/** Context and records of each. */
const QUEUE = memory.data(327680, 16);
const QUEUE_BYTES: usize = CONTEXT_BYTES + RECORD_BYTES;
/** More than ever comes in again (MOST_ROUNDS of way.ts). */
const MOST_QUEUED: u32 = 1024;
let queueFirst: u32 = 0;
let queueEnd: u32 = 0;

/** Puts the packet, as it is, into the queue. The slot before the first is that of the packet being received. */
export function queue(): void {
  const at = QUEUE + <usize>(queueEnd % MOST_QUEUED) * QUEUE_BYTES;
  queueEnd++;
  saveContext(at);
  const records = at + CONTEXT_BYTES;
  copyRecords(records);
  store<u32>(at, <u32>records, SKB_DETAIL);
  store<u32>(at, <u32>(records + DETAIL_BYTES), SKB_ORIGIN);
}

/** Makes the next packet of the queue the current one; false: there is none. */
export function unqueue(): bool {
  if (queueFirst == queueEnd) return false;
  loadContext(QUEUE + <usize>(queueFirst % MOST_QUEUED) * QUEUE_BYTES);
  queueFirst++;
  return true;
}

export function isQueueEmpty(): bool {
  return queueFirst == queueEnd;
}
