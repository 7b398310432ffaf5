// Rules that look at the bytes of a packet, from its IP header on; of a packet whose bytes are not known they are not answered.
//
// The match functions of net/netfilter/xt_string.c, xt_u32.c and xt_bpf.c; what classic BPF does is in
// Documentation/networking/filter.rst.

import {
  BPF_ALU,
  BPF_ANCILLARY,
  BPF_CLASS,
  BPF_JMP,
  BPF_LD,
  BPF_LDX,
  BPF_LINK,
  BPF_MARK,
  BPF_MISC,
  BPF_NETWORK,
  BPF_RET,
  BPF_ST,
} from "../net/bpf.ts";
import { contains } from "../net/range.ts";
import { u16At, u32At } from "../packet/bytes.ts";
import { encode } from "../packet/encode.ts";
import type { Packet } from "../packet/packet.ts";
import type { BpfInstruction, BpfMatch, StringMatch, U32Match, U32Test } from "../rules/ruleset.ts";
import { BYTES_NOT_KNOWN, UnsupportedError } from "./error.ts";
import { payloadOf } from "./payload.ts";
import type { Skb } from "./skb.ts";

const PLAIN_HEADER = 20;

/** From its IP header on, which has no options. Throws UnsupportedError where they are not known. */
export function bytesOf(packet: Packet): Uint8Array {
  if (packet.headerLength > PLAIN_HEADER) throw new UnsupportedError(BYTES_NOT_KNOWN, null);
  return encode(packet, payloadOf(packet));
}

/** Of the IP header. */
const ID = [4, 5];
const CHECKSUM = [10, 11];

/** Where the id is not known, the checksum is not either. */
function isHidden({ idUnknown }: Packet, at: number): boolean {
  return idUnknown === true && [...ID, ...CHECKSUM].includes(at);
}

/** Throws where one of these bytes is not known. */
function mustShow(packet: Packet, at: number, count: number): void {
  for (let i = 0; i < count; i++) if (isHidden(packet, at + i)) throw new UnsupportedError(BYTES_NOT_KNOWN, null);
}

export function meetsString(match: StringMatch, { packet }: Skb): boolean {
  const { pattern, algorithm, from, to, anyCase, negated } = match;
  const folded = (byte: number): number => (anyCase ? upper(byte) : byte);
  const bytes = bytesOf(packet).map(folded);
  const wanted = pattern.map(folded);
  let found = false;
  let mayStand = false;
  for (let at = from; at + wanted.length <= Math.min(to, bytes.length); at++) {
    found ||= wanted.every((byte, index) => bytes[at + index] === byte && !isHidden(packet, at + index));
    mayStand ||= wanted.every((byte, index) => bytes[at + index] === byte || isHidden(packet, at + index));
  }
  // bm does not find what lies across two blocks
  const mayMiss = algorithm === "bm" && packet.scattered === true && pattern.length > 1;
  if (found ? mayMiss : mayStand) throw new UnsupportedError(BYTES_NOT_KNOWN, null);
  return found !== negated;
}

/** toupper() of the kernel: Latin-1. */
function upper(byte: number): number {
  const isLower = (byte >= 0x61 && byte <= 0x7a) || (byte >= 0xdf && byte !== 0xf7);
  return isLower ? byte - 0x20 : byte;
}

export function meetsU32({ tests, negated }: U32Match, { packet }: Skb): boolean {
  const bytes = bytesOf(packet);
  return tests.every((test) => meetsU32Test(test, bytes, packet)) !== negated;
}

function meetsU32Test({ start, steps, ranges }: U32Test, bytes: Uint8Array, packet: Packet): boolean {
  if (start + 4 > bytes.length) return false;
  mustShow(packet, start, 4);
  let value = u32At(bytes, start);
  let base = 0;
  for (const { op, number } of steps) {
    switch (op) {
      case "&":
        value = (value & number) >>> 0;
        break;
      case "<<":
        value = (value << (number & 31)) >>> 0;
        break;
      case ">>":
        value >>>= number & 31;
        break;
      case "@":
        base += value;
        if (base + number + 4 > bytes.length) return false;
        mustShow(packet, base + number, 4);
        value = u32At(bytes, base + number);
    }
  }
  return ranges.some((range) => contains(range, value));
}

/** What the program leaves. */
export function meetsBpf({ program }: BpfMatch, skb: Skb): boolean {
  return runBpf(program, bytesOf(skb.packet), skb) !== 0;
}

interface Machine {
  a: number;
  x: number;
  readonly memory: Uint32Array;
}

function runBpf(program: readonly BpfInstruction[], bytes: Uint8Array, skb: Skb): number {
  const machine: Machine = { a: 0, x: 0, memory: new Uint32Array(16) };
  for (let at = 0; ; at++) {
    const { code, jt, jf, k } = program[at]!;
    const operand = (code & 0x08) === 0 ? k : machine.x;
    switch (code & BPF_CLASS) {
      case BPF_LD:
      case BPF_LDX: {
        const value = loaded(code, k, machine, bytes, skb);
        if (value === null) return 0;
        if ((code & BPF_CLASS) === BPF_LD) machine.a = value;
        else machine.x = value;
        break;
      }
      case BPF_ALU: {
        const value = calculated(code & 0xf0, machine.a, operand);
        if (value === null) return 0;
        machine.a = value >>> 0;
        break;
      }
      case BPF_JMP:
        if ((code & 0xf0) === 0) at += k;
        else at += jumps(code & 0xf0, machine.a, operand) ? jt : jf;
        break;
      case BPF_RET:
        return (code & 0x10) === 0 ? k : machine.a;
      case BPF_MISC:
        if ((code & 0x80) === 0) machine.x = machine.a;
        else machine.a = machine.x;
        break;
      default:
        machine.memory[k] = (code & BPF_CLASS) === BPF_ST ? machine.a : machine.x;
    }
  }
}

const IMMEDIATE = 0x00;
const ABSOLUTE = 0x20;
const INDIRECT = 0x40;
const MEMORY = 0x60;
const LENGTH = 0x80;

/** null: there is no such byte, and the program ends with 0. */
function loaded(code: number, k: number, { x, memory }: Machine, bytes: Uint8Array, skb: Skb): number | null {
  const size = (code & 0x18) === 0 ? 4 : (code & 0x18) === 8 ? 2 : 1;
  switch (code & 0xe0) {
    case IMMEDIATE:
      return k;
    case MEMORY:
      return memory[k]!;
    case LENGTH:
      return bytes.length;
    case ABSOLUTE:
      return k >= BPF_ANCILLARY ? ancillary(k - BPF_ANCILLARY, skb) : bytesAt(bytes, k, size, skb);
    case INDIRECT:
      return bytesAt(bytes, (x + k) % 2 ** 32, size, skb);
    default: {
      // four times the low half of a byte, as in the length of a header
      const byte = bytesAt(bytes, k, 1, skb);
      return byte === null ? null : (byte & 15) * 4;
    }
  }
}

function bytesAt(bytes: Uint8Array, offset: number, size: number, { packet }: Skb): number | null {
  if (offset >= BPF_LINK && offset < BPF_NETWORK) throw new UnsupportedError(BYTES_NOT_KNOWN, null);
  const at = offset >= BPF_NETWORK ? offset - BPF_NETWORK : offset;
  if (at + size > bytes.length) return null;
  mustShow(packet, at, size);
  return size === 4 ? u32At(bytes, at) : size === 2 ? u16At(bytes, at) : bytes[at]!;
}

const IPV4 = 0x0800;
/** Other numbers are refused with the rule. */
function ancillary(what: number, { mark }: Skb): number {
  return what === BPF_MARK ? mark : IPV4;
}

/** null: a division by zero, which ends the program with 0. */
function calculated(op: number, a: number, by: number): number | null {
  switch (op) {
    case 0x00:
      return a + by;
    case 0x10:
      return a - by;
    case 0x20:
      return Math.imul(a, by);
    case 0x30:
      return by === 0 ? null : Math.floor(a / by);
    case 0x40:
      return a | by;
    case 0x50:
      return a & by;
    case 0x60:
      return a << (by & 31);
    case 0x70:
      return a >>> (by & 31);
    case 0x80:
      return -a;
    case 0x90:
      return by === 0 ? null : a % by;
    default:
      return a ^ by;
  }
}

function jumps(op: number, a: number, by: number): boolean {
  switch (op) {
    case 0x10:
      return a === by;
    case 0x20:
      return a > by;
    case 0x30:
      return a >= by;
    default:
      return (a & by) !== 0;
  }
}
