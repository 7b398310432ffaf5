// Classic BPF as the kernel takes it from user space: the codes of instructions, and which programs it refuses.
//
// bpf_check_classic(), chk_code_allowed() and check_load_and_stores() in net/core/filter.c.

/** What it says of an instruction: class, then size, mode, operation and operand within the class. */
export const BPF_CLASS = 0x07;
export const BPF_LD = 0x00;
export const BPF_LDX = 0x01;
export const BPF_ST = 0x02;
export const BPF_STX = 0x03;
export const BPF_ALU = 0x04;
export const BPF_JMP = 0x05;
export const BPF_RET = 0x06;
export const BPF_MISC = 0x07;

const WORDS = 16;

/** Codes that are allowed. */
const ALU = [0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xa0].flatMap((op) => [op | 0x04, op | 0x0c]);
const LOADS = [0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x00, 0x60];
const INDEXED_LOADS = [0x81, 0xb1, 0x01, 0x61];
const JUMPS = [0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d];
const ALLOWED: ReadonlySet<number> = new Set([
  ...[...ALU, 0x84, ...LOADS, ...INDEXED_LOADS, 0x02, 0x03, ...JUMPS, 0x06, 0x16, 0x07, 0x87],
]);

/** Above: no places in the packet. From the network header on, which is where a rule counts from anyway; in the frame. */
export const BPF_ANCILLARY = 0xfffff000;
export const BPF_NETWORK = 0xfff00000;
export const BPF_LINK = 0xffe00000;
const PROTOCOL = 0;
export const BPF_MARK = 20;
const KNOWN_ANCILLARIES: readonly number[] = [PROTOCOL, BPF_MARK];

interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** Why the kernel refuses the program; null: it takes it. */
export function faultOf(program: readonly Instruction[]): string | null {
  for (const [index, { code, jt, jf, k }] of program.entries()) {
    const fails = (reason: string): string => `instruction ${index + 1} of the program ${reason}`;
    if (!ALLOWED.has(code)) return fails("has a code that BPF does not know");
    const behind = program.length - index - 1;
    const divides = code === 0x34 || code === 0x94;
    if (divides && k === 0) return fails("divides by zero");
    if ((code === 0x64 || code === 0x74) && k >= 32) return fails("shifts by more than 31 bits");
    const memory = code === 0x60 || code === 0x61 || code === 0x02 || code === 0x03;
    if (memory && k >= WORDS) return fails("asks for memory beyond 16 words");
    if (code === 0x05 && k >= behind) return fails("jumps behind the end");
    if ((code & BPF_CLASS) === BPF_JMP && code !== 0x05 && Math.max(jt, jf) >= behind) {
      return fails("jumps behind the end");
    }
  }
  const last = program.at(-1)!;
  if (last.code !== 0x06 && last.code !== 0x16) return "the program does not end with a return";
  return unwrittenOf(program);
}

const ALL_WORDS = 0xffff;

/** check_load_and_stores(): a word of memory that is read was written on every way there. */
function unwrittenOf(program: readonly Instruction[]): string | null {
  const writtenAt = program.map(() => ALL_WORDS);
  let written = 0;
  for (const [index, { code, jt, jf, k }] of program.entries()) {
    written &= writtenAt[index]!;
    const comeWith = (place: number): void => {
      writtenAt[place]! &= written;
    };
    if (code === 0x02 || code === 0x03) written |= 1 << k;
    else if (code === 0x60 || code === 0x61) {
      if ((written & (1 << k)) === 0) return `instruction ${index + 1} of the program reads memory that is not written`;
    } else if ((code & BPF_CLASS) === BPF_JMP) {
      for (const over of code === 0x05 ? [k] : [jt, jf]) comeWith(index + 1 + over);
      written = ALL_WORDS;
    }
  }
  return null;
}

/** What it asks beside the packet's bytes, of which the model knows nothing (SKF_AD_); null: nothing. */
export function unknownLoad(program: readonly Instruction[]): number | null {
  const asks = program.find(({ code, k }) => {
    const absolute = code === 0x20 || code === 0x28 || code === 0x30;
    const ancillary = k >= BPF_ANCILLARY && !KNOWN_ANCILLARIES.includes(k - BPF_ANCILLARY);
    return absolute && (ancillary || (k >= BPF_LINK && k < BPF_NETWORK));
  });
  return asks?.k ?? null;
}
